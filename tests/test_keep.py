"""What an exhaustive search keeps row by row: every distinct cost once, the ones asked for, or a fair sample; the same
to the last bit whatever the threads, and whenever it was killed.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastmap as fm
from fastmap import exhaustive, exploration, parts, recorded
from fastmap.cli import main
from fastmap.columns import COSTS, IDENTITY, WEIGHT
from fastmap.control import Control
from fastmap.errors import FastmapError, InputError, StoreError
from fastmap.keep import Keep, Sample
from fastmap.kernels.reduce import EVALUATED, OFFER
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.result import SearchResult

from .test_exhaustive import every_cost, small_space
from .test_store import small_disk

__all__ = ["small_disk"]  # a fixture

NARROW = {"max_spatial_mappings": 8, "loop_factor_limit": 7}
WIDE = Constraints(max_spatial_mappings=60)


@pytest.fixture(scope="module")
def layer() -> fm.Layer:
    return fm.load_workload("ds_cnn")["conv1"]


@pytest.fixture(scope="module")
def aimc() -> fm.Architecture:
    return fm.load_architecture("aimc")


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small spaces, too, have many units, which hand over their rows in several goes."""
    monkeypatch.setattr(recorded, "SMALLEST_UNIT_COSTS", 300)
    monkeypatch.setattr(recorded, "ROWS_HELD", 200)


def run(layer: fm.Layer, architecture: fm.Architecture, output: Path, keep: Any = "all", **options: Any) -> Any:
    constraints = options.pop("constraints", Constraints(**NARROW))
    return fm.search(
        layer, architecture, strategy="exhaustive", constraints=constraints, keep=keep, output=output, **options
    )


def rows_of(path: Path, group: str = "mappings") -> dict[str, Any]:
    """All rows of the only result, read by plain h5py."""
    with h5py.File(path, "r") as file:
        (architecture,) = file
        (layer,) = file[architecture]
        found = file[architecture][layer][group]
        return {name: found[name][...] for name in found if name not in ("row", "part", "parts", "part_rows")}


def content(path: Path) -> dict[str, Any]:
    """Everything in a file that must not depend on when, where and how it was made."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        for key, value in item.attrs.items():
            if not key.startswith(("seconds", "threads", "DIMENSION", "REFERENCE")):
                found[f"{name}@{key}"] = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(item, h5py.Dataset) and item.name.rsplit("/", 1)[-1] not in ("parts",):
            found[name] = item[...].tolist()

    with h5py.File(path, "r") as file:
        for group in file:
            file[group].visititems(visit)
    return found


# ------------------------------------------------------------------------------------------------------ which rows


def test_rows_are_all_mappings(tmp_path: Path) -> None:
    """Every mapping that fits, costed one by one, is in some row; rows stand for as many as there are."""
    compared = 0
    for seed in range(30):
        space = small_space(seed)
        costs = [] if space is None else sorted(every_cost(space))
        if space is None or not costs:
            continue
        path = tmp_path / f"{seed}.h5"
        fm.search(
            space.layer, space.architecture, strategy="exhaustive", cost_model=space.cost_model,
            constraints=space.constraints, keep="all", output=path,
        )  # fmt: skip
        rows = rows_of(path)
        found = sorted(
            (energy, cycles)
            for energy, cycles, weight in zip(rows["energy_pj"], rows["latency_cycles"], rows[WEIGHT], strict=True)
            for _ in range(weight)
        )
        np.testing.assert_allclose(found, costs, rtol=1e-12)
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("constraints", [NARROW, {**NARROW, "allocation": "greedy"}, {**NARROW, "allocation": "even"}])
@pytest.mark.parametrize("architecture", ["aimc", "dimc_4level"])
def test_rows_agree_with_the_summaries_and_with_evaluate(
    tmp_path: Path, layer: fm.Layer, architecture: str, constraints: dict[str, Any]
) -> None:
    hardware = fm.load_architecture(architecture)
    path = tmp_path / "r.h5"
    found = run(layer, hardware, path, constraints=Constraints(**constraints))
    rows = rows_of(path)
    assert len(rows[WEIGHT]) == found.kept.rows > 20
    assert int(rows[WEIGHT].sum()) == found.statistics["mappings_fitting"]
    assert len(np.unique(np.stack([rows[name].astype(np.int64) for name in IDENTITY]), axis=1).T) == found.kept.rows
    for name in COSTS:
        counts = np.histogram(rows[name], found.histograms[name].edges, weights=rows[WEIGHT])[0]
        assert counts.tolist() == found.histograms[name].counts.tolist()
    assert rows["energy_pj"].min() == found.top("energy")[0].energy_pj.total or np.isclose(
        rows["energy_pj"].min(), found.top("energy")[0].energy_pj.total, rtol=1e-12
    )
    pick = random.Random(architecture)
    for row in pick.sample(range(found.kept.rows), 40):
        mapping = found.space.decode(*(int(rows[name][row]) for name in IDENTITY))
        cost = fm.evaluate(layer, hardware, mapping)
        assert cost.energy_pj.total == pytest.approx(rows["energy_pj"][row], rel=1e-12)
        assert cost.latency_cycles.total == pytest.approx(rows["latency_cycles"][row], rel=1e-12)


def test_the_search_finds_the_same_with_rows_and_without(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture
) -> None:
    with_rows = run(layer, aimc, tmp_path / "r.h5")
    without = fm.search(layer, aimc, strategy="exhaustive", constraints=Constraints(**NARROW))
    for name, points in without.points.items():
        assert points.mapping_id.tolist() == with_rows.points[name].mapping_id.tolist()
    for name, histogram in without.histograms.items():
        assert histogram.counts.tolist() == with_rows.histograms[name].counts.tolist()
    assert without.joint_histogram.counts.tolist() == with_rows.joint_histogram.counts.tolist()


@pytest.mark.parametrize("held", [1, 50, 10**6])
def test_rows_do_not_depend_on_where_the_kernel_hands_them_over(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """In the middle of an order, too, where that shares nothing with others."""
    monkeypatch.setattr(exhaustive, "ROW_SEGMENT_COMBINATIONS", 1)
    monkeypatch.setattr(recorded, "ROWS_HELD", held)
    found = run(layer, aimc, tmp_path / "r.h5")
    rows = rows_of(tmp_path / "r.h5")
    assert int(rows[WEIGHT].sum()) == found.statistics["mappings_fitting"]
    assert found.complete
    monkeypatch.setattr(recorded, "ROWS_HELD", 10**6)
    monkeypatch.setattr(recorded, "SMALLEST_UNIT_COSTS", 10**6)
    run(layer, aimc, tmp_path / "whole.h5")
    whole = rows_of(tmp_path / "whole.h5")
    assert all(rows[name].tolist() == whole[name].tolist() for name in rows)


def test_what_is_stored_does_not_depend_on_the_threads(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    keep = Keep.of(["filter", "sample"], "energy_pj < 2 * best", 500, 3, ["edp_pj_ns", "stall_cycles"])
    files = []
    for threads in (1, 2, 5):
        files.append(tmp_path / f"{threads}.h5")
        run(layer, aimc, files[-1], keep, threads=threads)
    assert content(files[0]) == content(files[1]) == content(files[2])
    assert any("mappings/stall_cycles" in name for name in content(files[0]))


def test_a_filter_keeps_what_satisfies_it(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    run(layer, aimc, tmp_path / "all.h5")
    everything = rows_of(tmp_path / "all.h5")
    best = everything["energy_pj"].min()
    keep = Keep.of(where="energy_pj < 1.5 * best and latency_cycles < 3e5", columns=["edp_pj_ns", "W.energy_pj"])
    found = run(layer, aimc, tmp_path / "some.h5", keep)
    rows = rows_of(tmp_path / "some.h5")
    chosen = (everything["energy_pj"] < 1.5 * best) & (everything["latency_cycles"] < 3e5)
    assert 0 < chosen.sum() < len(chosen)
    for name in everything:
        assert rows[name].tolist() == everything[name][chosen].tolist()
    for row in range(0, len(rows[WEIGHT]), max(1, len(rows[WEIGHT]) // 20)):
        cost = fm.evaluate(layer, aimc, found.space.decode(*(int(rows[name][row]) for name in IDENTITY)))
        assert cost.edp_pj_ns == pytest.approx(rows["edp_pj_ns"][row], rel=1e-12)
        weights = sum(
            v for level in cost.energy_pj.memory_breakdown["W"] for v in level.values() if v != level["memory"]
        )
        assert weights == pytest.approx(rows["W.energy_pj"][row], rel=1e-12)
    nothing = run(layer, aimc, tmp_path / "none.h5", Keep.of(where="energy_pj < best_energy_pj / 2"))
    assert nothing.kept.rows == 0
    assert all(len(values) == 0 for values in rows_of(tmp_path / "none.h5").values())


def test_a_sample_is_uniform(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    """Shares of mappings in the sample are those in the space, whatever rows they stand in."""
    size = 4000
    found = run(layer, aimc, tmp_path / "s.h5", Keep.of(sample_size=size, seed=7), constraints=WIDE)
    sample = rows_of(tmp_path / "s.h5", "sample")
    assert len(sample["energy_pj"]) == size
    edges, counts = found.histograms["energy_pj"].edges, found.histograms["energy_pj"].counts
    expected = size * counts / counts.sum()
    drawn = np.histogram(sample["energy_pj"], edges)[0]
    large = expected >= 10
    chi2 = float(((drawn - expected)[large] ** 2 / expected[large]).sum())
    degrees = int(large.sum())
    assert degrees > 5
    assert chi2 < degrees + 5 * np.sqrt(2 * degrees)
    run(layer, aimc, tmp_path / "t.h5", Keep.of(sample_size=size, seed=8), constraints=WIDE)
    assert rows_of(tmp_path / "t.h5", "sample")["energy_pj"].tolist() != sample["energy_pj"].tolist()


def test_a_sample_of_more_than_there_is_has_everything_once() -> None:
    offers = np.zeros(50, OFFER)
    offers["rank"], offers["weight"] = np.arange(50), np.arange(50) % 4 + 1
    sample = Sample(10_000, 1)
    sample.offer(offers)
    assert np.bincount(sample.draws["rank"]).tolist() == offers["weight"].tolist()
    split = Sample(60, 1)
    for each in offers.reshape(10, 5):
        split.offer(each)
    whole = Sample(60, 1)
    whole.offer(offers[::-1].copy())
    assert split.draws.tolist() == whole.draws.tolist() == sample.draws[:60].tolist()


@pytest.mark.parametrize(
    ("modes", "present", "points"),
    [
        ("best", set(), 1),
        ("top-k", set(), 10),
        ("pareto", {"pareto"}, 1),
        ("histogram", {"histogram"}, 1),
        (None, {"pareto", "histogram"}, 10),
    ],
)
def test_summaries(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, modes: Any, present: set, points: int
) -> None:
    path = tmp_path / "r.h5"
    run(layer, aimc, path, modes)
    loaded = SearchResult.load(path)
    assert len(loaded.best) == points
    with h5py.File(path) as file:
        assert set(file["aimc/conv1"]) == {"best", "space"} | present
    if "pareto" not in present:
        with pytest.raises(InputError, match="kept no Pareto front"):
            _ = loaded.pareto
    else:
        assert loaded.pareto
    assert not Path(f"{path}.parts").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"modes": "everything"}, "keep must be among best, top-k, pareto, histogram, filter, all, sample"),
        ({"modes": "filter"}, "keep filter needs an expression"),
        ({"modes": "all", "where": "energy_pj < 1"}, "exclude each other"),
        ({"sample_size": 0}, "sample_size must be an integer from 1 to"),
        ({"sample_size": 10, "seed": -1}, "seed must be an integer from 0 to"),
        ({"modes": "pareto", "columns": ["edp_pj_ns"]}, "columns are stored with rows"),
        ({"where": "energy_pj <"}, "is not an expression"),
    ],
)
def test_what_cannot_be_kept(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Keep.of(**arguments)


def test_sentences_of_a_search(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    def sentence(keep: Any, **options: Any) -> str:
        with pytest.raises(FastmapError) as caught:
            fm.search(layer, aimc, keep=keep, constraints=Constraints(**NARROW), **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    listed = sentence(Keep.of(where="energy < 1"), strategy="exhaustive", output=tmp_path / "r.h5")
    assert "there is no column energy; did you mean energy_pj?" in listed
    assert "columns: energy_pj, latency_cycles" in listed
    assert "D1.K" in listed
    assert "is no condition" in sentence(Keep.of(where="energy_pj"), strategy="exhaustive", output=tmp_path / "r.h5")
    assert "no column area to store" in sentence(
        Keep.of("all", columns=["area"]), strategy="exhaustive", output=tmp_path / "r.h5"
    )
    assert sentence("all", strategy="exhaustive") == "rows of mappings are kept in a file; say which (output)"
    assert "needs the strategy exhaustive" in sentence("all", output=tmp_path / "r.h5")
    assert "keep pareto as well" in sentence("best", strategy="exhaustive", objective="pareto")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_hold_it(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = recorded.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(recorded.shutil, "disk_usage", lambda path: usage._replace(free=5000))
    with pytest.raises(StoreError, match=r"would be written, but only 5 kB are free there; keep less"):
        run(layer, aimc, tmp_path / "r.h5")
    assert not list(tmp_path.iterdir())
    assert run(layer, aimc, tmp_path / "r.h5", force=True).complete


@pytest.mark.parametrize("keep", ["all", "filter"])
def test_the_forecast_is_about_right(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, keep: str) -> None:
    chosen = Keep.of("all") if keep == "all" else Keep.of(where="energy_pj < 3e7")
    space = Mapspace.build(layer, aimc, Constraints(max_spatial_mappings=2))
    expected = recorded.forecast(space, chosen, {})
    found = fm.search(
        layer, aimc, strategy="exhaustive", constraints=space.constraints, keep=chosen, output=tmp_path / "r.h5"
    )
    written = sum(path.stat().st_size for path, _ in found.kept.parts)
    assert 0.5 < expected.rows / found.kept.rows < 2
    assert 0.3 < expected.bytes / written < 3


@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_a_forecast_may_end_by_the_clock(layer: fm.Layer, aimc: fm.Architecture, seconds: float) -> None:
    """Even where the time is over before anything is costed."""
    space = Mapspace.build(layer, aimc, WIDE)
    expected = recorded.forecast(space, Keep(), {})
    assert recorded.forecast(space, Keep(), {}, probe_seconds=seconds).costs == pytest.approx(expected.costs, rel=0.9)


def test_a_short_look_at_huge_orders_says_the_same() -> None:
    """An order of which only a small part is costed counts as much as one that is costed whole."""
    space = Mapspace.build(fm.load_workload("resnet18")["layer3_0_downsample"], fm.load_architecture("aimc_4level"))
    short, long = (recorded.forecast(space, Keep(), {}, costs).costs_per_order for costs in (1 << 15, 1 << 20))
    assert short == pytest.approx(long, rel=0.1)


def test_a_space_is_refused_for_its_time_not_for_its_size(layer: fm.Layer, aimc: fm.Architecture) -> None:
    """Mappings that share their cost by construction take no time of their own."""
    space = Mapspace.build(layer, aimc)
    assert exhaustive.expected_seconds(space.size) > exhaustive.LONG_SECONDS
    assert recorded.seconds_to_enumerate(space, None) < exhaustive.LONG_SECONDS
    exhaustive.check_size(space, None, force=False)
    with pytest.raises(FastmapError, match=r"which would take about .* hours"):
        exhaustive.check_size(Mapspace.build(layer, fm.load_architecture("aimc_4level")), 1, force=False)


# ------------------------------------------------------------------------------------- readers of the plain layout


def test_xarray_reads_the_rows(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    xarray = pytest.importorskip("xarray")
    path = tmp_path / "odd %d name.h5"
    found = run(layer, aimc, path, Keep.of(["all", "sample"], sample_size=20))
    with xarray.open_dataset(path, engine="h5netcdf", group="aimc/conv1/mappings") as data:
        assert data.sizes["row"] == found.kept.rows
        assert float(data["energy_pj"].min()) == found.points["energy"].energy_pj[0]
    with xarray.open_dataset(path, engine="h5netcdf", group="aimc/conv1/sample") as data:
        assert data.sizes["row"] == 20


def test_a_moved_result_keeps_its_rows(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    (tmp_path / "a").mkdir()
    run(layer, aimc, tmp_path / "a" / "r.h5")
    before = rows_of(tmp_path / "a" / "r.h5")
    (tmp_path / "a").rename(tmp_path / "b")
    after = rows_of(tmp_path / "b" / "r.h5")
    assert all(before[name].tolist() == after[name].tolist() for name in before)
    assert SearchResult.load(tmp_path / "b" / "r.h5").kept.rows == len(before[WEIGHT])


def test_overwriting_removes_the_old_rows(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    path = tmp_path / "r.h5"
    run(layer, aimc, path)
    with pytest.raises(StoreError, match="exists already"):
        run(layer, aimc, path)
    first = [each.name for each in Path(f"{path}.parts").iterdir()]
    run(layer, aimc, path, force=True)
    second = [each.name for each in Path(f"{path}.parts").iterdir()]
    assert len(second) == 1
    assert first != second
    run(layer, aimc, path, "best", force=True)
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------------------------- killed and resumed

KEPT = {"rows": Keep.of(["all", "sample"], sample_size=300), "none": None}


def start(path: Path, keep: str, layer: fm.Layer, aimc: fm.Architecture) -> int:
    """Fork a process that searches, or goes on with what there is; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        run(layer, aimc, path, KEPT[keep], constraints=WIDE, resume=True, threads=2)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(("keep", "rounds"), [("rows", 8), ("none", 4)])
def test_killed_at_random_and_resumed(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, keep: str, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is killed again and again, some 50 times in all. Whatever the moment, the file, once there, opens and holds
    every unit that it names; in the end it is the same as that of a run that was left alone.
    """
    monkeypatch.setattr(recorded, "CHECKPOINT_SECONDS", 0.02)
    monkeypatch.setattr(recorded, "PUBLISH_SECONDS", 0.05)
    monkeypatch.setattr(exploration, "JOURNAL_SECONDS", 0.0)
    started = time.monotonic()
    run(layer, aimc, tmp_path / "whole.h5", KEPT[keep], constraints=WIDE, threads=2)
    takes = time.monotonic() - started
    expected = content(tmp_path / "whole.h5")
    chance = random.Random(keep)
    kills = took_over = 0
    for attempt in range(rounds):
        path = tmp_path / f"{attempt}.h5"
        longest = 0.4 * takes
        while True:
            child = start(path, keep, layer, aimc)
            time.sleep(chance.uniform(0.0, longest))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            kills += 1
            longest += 0.1 * takes  # so that it ends some time
            took_over += bool(list(tmp_path.glob(f"{attempt}.h5.parts/*/*/*.h5")))
            if path.exists():
                held = SearchResult.load(path)
                for part, rows in held.kept.parts:
                    with h5py.File(part, "r") as file:
                        assert len(file["rows/energy_pj"]) == rows
                if keep == "rows":
                    rows = rows_of(path)
                    assert np.isfinite(rows["energy_pj"]).all()
                    assert int(rows[WEIGHT].sum()) == held.statistics["mappings_fitting"]
        assert content(path) == expected
    assert kills >= (35 if keep == "rows" else 15)
    assert took_over > rounds


def test_a_result_never_names_rows_whose_figures_it_lacks(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published at the worst moment: a part is on disk, but not yet in the figures."""
    take = recorded._Run._take
    published = []

    def between(self: Any, reductions: Any, draws: Any, part: Any = None) -> None:
        if part is not None and self._merged.totals[EVALUATED] > 0:
            found = self.result("edp", {})
            rows = 0
            for path, _ in found.kept.parts:
                with h5py.File(path, "r") as file:
                    rows += int(file["rows"][WEIGHT][...].sum())
            published.append((rows, found.statistics["mappings_fitting"]))
        take(self, reductions, draws, part)

    monkeypatch.setattr(recorded._Run, "_take", between)
    run(layer, aimc, tmp_path / "r.h5", constraints=WIDE, threads=1)
    assert len(published) > 1
    assert all(rows == fitting for rows, fitting in published)


def stopped(layer: fm.Layer, aimc: fm.Architecture, path: Path, **options: Any) -> SearchResult:
    """A run that is stopped half-way."""
    control = Control()
    return run(
        layer, aimc, path, progress=lambda _: control.stop() if list(path.parent.glob("*.parts/*/*/*.h5")) else None,
        control=control, constraints=WIDE, **options,
    )  # fmt: skip


def test_a_stopped_run_is_resumed(tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture) -> None:
    path = tmp_path / "r.h5"
    found = stopped(layer, aimc, path)
    assert not found.complete
    rows = rows_of(path)
    assert len(rows[WEIGHT]) > 0
    assert not SearchResult.load(path).complete
    constraints = WIDE
    seen: list[int] = []
    again = run(layer, aimc, path, constraints=constraints, resume=True, progress=seen.append)
    assert again.complete
    assert sum(seen) == again.statistics["mappings_total"]
    run(layer, aimc, tmp_path / "whole.h5", constraints=constraints)
    assert content(path) == content(tmp_path / "whole.h5")
    before = path.stat().st_mtime_ns, content(path)
    assert run(layer, aimc, path, constraints=constraints, resume=True).complete  # nothing is left to do
    assert content(path) == before[1]


def test_another_search_is_not_resumed(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.h5"
    stopped(layer, aimc, path)
    constraints = WIDE
    for options, expected in (
        ({"constraints": Constraints(max_spatial_mappings=2)}, "differs in its constraints"),
        ({"constraints": constraints, "keep": "sample"}, "differs in its choice of what to keep"),
        ({"constraints": constraints, "top": 5}, "differs in its number of best points"),
    ):
        with pytest.raises(StoreError, match=expected):
            run(layer, aimc, path, resume=True, **options)
    monkeypatch.setattr(recorded.fastmap, "__version__", "0.0.1")
    with pytest.raises(StoreError, match="differs in its fastmap version"):
        run(layer, aimc, path, constraints=constraints, resume=True)


def test_a_second_writer_gets_a_sentence_and_readers_read(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.h5"
    seen: list[int] = []

    def progress(_: int) -> None:
        if path.exists():
            before = SearchResult.load(path).statistics["mappings_fitting"]
            rows = rows_of(path)
            # The file may be replaced between two looks at it.
            assert before <= int(rows[WEIGHT].sum()) <= SearchResult.load(path).statistics["mappings_fitting"]
            seen.append(len(rows[WEIGHT]))
        with pytest.raises(StoreError, match="is being written by another process"):
            run(layer, aimc, path, force=True)

    monkeypatch.setattr(recorded, "PUBLISH_SECONDS", 0.0)
    run(layer, aimc, path, progress=progress, constraints=WIDE)
    assert seen


def test_a_full_disk_loses_nothing(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.h5"
    constraints = WIDE
    publish = parts.RowWriter.publish
    count = iter(range(10**6))

    def fail(writer: parts.RowWriter) -> None:
        if next(count) >= 5:
            raise OSError(28, "No space left on device")
        publish(writer)

    monkeypatch.setattr(parts.RowWriter, "publish", fail)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        run(layer, aimc, path, constraints=constraints)
    left = list(tmp_path.glob("r.h5.parts/*/*/*"))
    assert len(left) == 5
    assert all(each.suffix == ".h5" for each in left)
    monkeypatch.undo()
    monkeypatch.setattr(recorded, "SMALLEST_UNIT_COSTS", 300)
    assert run(layer, aimc, path, constraints=constraints, resume=True).complete
    run(layer, aimc, tmp_path / "whole.h5", constraints=constraints)
    assert content(path) == content(tmp_path / "whole.h5")


def test_a_disk_that_really_is_full(
    small_disk: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 itself fails, in whatever it is doing; what was finished can be read."""
    monkeypatch.setattr(recorded, "SMALLEST_UNIT_COSTS", 1 << 16)
    path = small_disk / "r.h5"
    with pytest.raises(StoreError, match=r"cannot be written: No space left on device; .* --resume goes on with it$"):
        run(layer, aimc, path, constraints=Constraints(max_spatial_mappings=60), force=True)
    found = SearchResult.load(path)
    rows = rows_of(path)
    assert not found.complete
    assert int(rows[WEIGHT].sum()) == found.statistics["mappings_fitting"] > 0


def test_what_is_there_already_needs_no_room(
    tmp_path: Path, layer: fm.Layer, aimc: fm.Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.h5"
    run(layer, aimc, path, constraints=WIDE)
    path.unlink()
    usage = recorded.shutil.disk_usage(tmp_path)
    expected = recorded.forecast(Mapspace.build(layer, aimc, WIDE), Keep.of("all"), {})
    monkeypatch.setattr(recorded.shutil, "disk_usage", lambda path: usage._replace(free=expected.bytes - 1))
    with pytest.raises(StoreError, match="would be written, but only"):
        run(layer, aimc, tmp_path / "other.h5", constraints=WIDE)
    assert run(layer, aimc, path, constraints=WIDE, resume=True).complete


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.h5"
    call = ["search", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--max-spatial-mappings", "30", "--strategy"]
    call += ["exhaustive", "-o", str(path)]
    assert main([*call, "--keep", "all", "--sample", "50"]) == 0
    announced = capsys.readouterr().err
    first, second = announced.splitlines()
    assert re.fullmatch(r"ds_cnn on aimc: [\d,]+ mappings of 1 distinct layer, .* to enumerate, about .* to .*", first)
    assert re.fullmatch(
        r"keeping about [\d,]+ rows and 50 mappings drawn of each layer, [\d.]+ [kM]B \([\d.]+ [GT]B are free\)", second
    )
    before = content(path)
    assert main([*call, "--keep", "all", "--sample", "50"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*call, "--keep", "all", "--sample", "50", "--resume"]) == 0
    assert content(path) == before
    assert "MB of it are there already" in capsys.readouterr().err  # its units are small
    for more, expected in (
        (["--keep", "all", "--resume"], "differs in its choice of what to keep"),
        (["--keep", "every", "--force"], "keep must be among"),
        (["--where", "energy < 1", "--force"], "there is no column energy"),
        (["--columns", "edp_pj_ns", "--force"], "columns are stored with rows"),
    ):
        assert main([*call, *more]) == 2
        assert expected in capsys.readouterr().err
    assert main([*call[:-2], "--resume"]) == 2
    assert "--resume needs the file" in capsys.readouterr().err
    assert content(path) == before


def test_identical_layers_are_kept_once_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.h5"
    call = ["search", "ds_cnn", "--layer", "dw1", "dw2", "--arch", "aimc", "--max-spatial-mappings", "2", "--strategy"]
    call += ["exhaustive", "-o", str(path), "--keep", "all", "--loop-factor-limit", "6"]
    assert main(call) == 0
    with h5py.File(path) as file:
        assert file["aimc/dw1"] == file["aimc/dw2"]
    before = content(path)
    assert main([*call, "--resume"]) == 0
    assert content(path) == before
    with h5py.File(path) as file:
        assert file["aimc/dw1"] == file["aimc/dw2"]
    assert len(list(tmp_path.glob("r.h5.parts/*/*"))) == 1


def test_chunks_are_what_the_filters_of_hdf5_make(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=parts.CHUNK * 2 + 17)
    writer = parts.RowWriter(tmp_path / "p.h5", {"x": "float64"})
    for block in np.array_split(values, 5):
        writer.append({"x": block})
    writer.finish()
    writer.publish()
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["rows/x"][...].tobytes() == values.tobytes()
        assert (file["rows/x"].compression, file["rows/x"].shuffle) == ("gzip", True)
        _, data = file["rows/x"].id.read_direct_chunk((parts.CHUNK,))
        assert parts.decompress(data, values.dtype).tobytes() == values[parts.CHUNK : 2 * parts.CHUNK].tobytes()
