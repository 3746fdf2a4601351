"""Pictures show the numbers of the results: optima, clouds, parts of costs, rooflines and curves."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastmap as fm
from fastmap import comparison, explanation, mine, plots, views
from fastmap.cli import main
from fastmap.columns import IDENTITY
from fastmap.errors import InputError
from fastmap.keep import Keep
from fastmap.mapping import Constraints
from fastmap.store import ResultFile

from .reference import zigzag_live

pytest.importorskip("matplotlib", reason="needs the extra plot")

SPACE = Constraints(max_spatial_mappings=8)
RESNET8 = fm.load_workload("resnet8")
AIMC, DIMC = fm.load_architecture("aimc"), fm.load_architecture("dimc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with rows, with a sample, with distributions only, with fronts, and with optima."""
    folder = tmp_path_factory.mktemp("plots")
    fc, conv = RESNET8["fc"], fm.load_workload("ds_cnn")["conv1"]
    for name, layer, keep in (
        ("all", conv, Keep.of("all")),
        ("fc", fc, Keep.of(["all"])),
        ("sample", fc, Keep.of(sample_size=300)),
        ("none", fc, Keep.of(where="energy_pj < 0")),
        ("best", fc, Keep.of("best")),
    ):
        fm.search(layer, AIMC, strategy="exhaustive", constraints=SPACE, keep=keep, output=folder / f"{name}.h5")
    fm.search(conv, AIMC, strategy="exhaustive", constraints=SPACE).save(folder / "summaries.h5")
    with ResultFile.create(folder / "optimal.h5") as file:
        for on in (AIMC, DIMC):
            for name in ("conv9", "fc"):
                file.write(fm.search(RESNET8[name], on))
        file.write(fm.search(RESNET8["fc"].model_copy(update={"name": "fc_again"}), AIMC))
    fm.search(RESNET8["conv9"], AIMC, "pareto").save(folder / "front.h5")
    (folder / "mine.yaml").write_text("spatial: {D1: {K: 10}, D2: {C: 32}}\ntemporal: [[C, 2]]\n")
    return folder


def source_of(path: Path, architecture: str | None = None, layer: str | None = None) -> mine.Source:
    (source,) = views.open_results([path], architecture, layer)
    return source


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    from matplotlib.figure import Figure

    kept: list[Any] = []
    save = Figure.savefig

    def keep(figure: Any, *arguments: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


# -------------------------------------------------------------------------------------------------- numbers behind them


@pytest.mark.parametrize("objective", ["energy", "latency", "edp", "ed2p"])
def test_the_best_of_a_front_is_the_optimum(folder: Path, objective: str) -> None:
    source = source_of(folder / "front.h5")
    found = mine.evaluation(source, views.best_identity(source, objective))
    optimum = fm.search(RESNET8["conv9"], AIMC, objective).best[0]
    assert comparison.value_of(found, objective) == pytest.approx(comparison.value_of(optimum, objective), rel=1e-12)


def test_a_density_counts_every_mapping(folder: Path) -> None:
    by_rows, stored = (views.density(source_of(folder / name), 50) for name in ("all.h5", "summaries.h5"))
    assert by_rows is not None
    assert stored is not None
    fitting = source_of(folder / "all.h5").result.statistics["mappings_fitting"]
    assert by_rows.mappings.sum() == stored.mappings.sum() == fitting > 10_000
    # Mappings below any edge of one are as many as those that the rows themselves have there.
    with h5py.File(folder / "all.h5") as file:
        rows = file["aimc/conv1/mappings"]
        energy, weights = rows["energy_pj"][...], rows["mappings"][...].astype(int)
    for cloud in (by_rows, stored):
        place = len(cloud.energy_pj) // 3
        assert cloud.mappings[:place].sum() == weights[energy < cloud.energy_pj[place]].sum() > 0


def test_rows_without_mappings_leave_the_stored_distribution(folder: Path) -> None:
    cloud = views.density(source_of(folder / "none.h5"), 50)
    assert cloud is not None
    assert cloud.mappings.sum() == source_of(folder / "none.h5").result.statistics["mappings_fitting"]


def test_sampled_rows_are_rows_and_always_the_same(folder: Path) -> None:
    source = source_of(folder / "all.h5")
    some, again = views.sample_rows(source, 500), views.sample_rows(source, 500)
    rows = {tuple(row) for row in mine.select([source], [*IDENTITY, "energy_pj"]).to_pandas().itertuples(index=False)}
    chosen = list(zip(*(some[name].tolist() for name in (*IDENTITY, "energy_pj")), strict=True))
    assert len(set(chosen)) == len(chosen) == 500
    assert set(chosen) <= rows
    assert all(np.array_equal(some[name], again[name]) for name in some)
    assert len(views.sample_rows(source, source.rows)["energy_pj"]) == source.rows
    assert not len(views.sample_rows(source_of(folder / "none.h5"), 10)["energy_pj"])


def test_marks_stand_where_the_rows_say(folder: Path) -> None:
    """Counted among all rows: for every objective, whichever the search was for."""
    source = source_of(folder / "fc.h5")
    with h5py.File(folder / "fc.h5") as file:
        rows = file["aimc/fc/mappings"]
        energy, cycles, weights = (rows[name][...] for name in ("energy_pj", "latency_cycles", "mappings"))
    clock = source.columns.clock_ns
    for mark in views.marks(source, "energy", [folder / "mine.yaml"]):
        for objective, values in (("energy", energy), ("latency", cycles), ("edp", energy * (cycles * clock))):
            place = views.place_in_distribution(source.result, mark, objective)
            value = comparison.value_of(mark.cost, objective)
            better = weights[values < value * (1 - 1e-9)].sum() / weights.sum()
            assert place.low <= better <= place.high
    assert better > 0  # of the last mark, which is no optimum


def test_parts_add_up_to_what_evaluate_says(folder: Path) -> None:
    for source in views.open_results([folder / "optimal.h5"], "aimc"):
        (found,) = views.breakdowns([source], "edp")
        cost = source.result.best[0]
        for (memory, operand), pj in found.energy_pj.items():
            if operand:
                levels = [each for each in cost.energy_pj.memory_breakdown[operand] if each["memory"] == memory]
                expected = sum(value for level in levels for key, value in level.items() if key != "memory")
            else:
                expected = cost.energy_pj.mac
            assert pj == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert math.fsum(found.energy_pj.values()) == pytest.approx(cost.energy_pj.total, rel=1e-12)
        latency = cost.latency_cycles
        assert list(found.latency_cycles.values()) == pytest.approx(
            [latency.ideal, latency.spatial - latency.ideal, latency.stall, latency.onload, latency.offload]
        )
        assert found.count == (2 if source.layer == "fc" else 1)


def test_a_file_named_twice_counts_once(folder: Path) -> None:
    path = folder / "optimal.h5"
    once, twice = (views.open_results(files, "aimc") for files in ([path], [path, path]))
    assert [source.also for source in once] == [source.also for source in twice] == [[], ["fc_again"]]


def test_rows_alone_have_limits(folder: Path, tmp_path: Path) -> None:
    """Without a stored histogram, and of a part of the mappings."""
    where = "energy_pj < 2 * best_energy_pj"
    for number, keep in enumerate((Keep.of(["best", "all"]), Keep.of(where=where))):
        path = tmp_path / f"{number}.h5"
        fm.search(RESNET8["fc"], AIMC, strategy="exhaustive", constraints=SPACE, keep=keep, output=path)
        source = source_of(path)
        cloud = views.density(source, 30)
        rows = mine.select([source], ["energy_pj", "mappings"]).columns
        assert cloud is not None
        assert cloud.mappings.sum() == rows["mappings"].sum() > 0
        assert cloud.energy_pj[0] == pytest.approx(rows["energy_pj"].min())
        assert cloud.energy_pj[-1] == pytest.approx(rows["energy_pj"].max())


def test_a_roofline_by_hand(folder: Path) -> None:
    """On dimc, fc's best mapping moves each of its numbers through the DRAM port once, in words of 64 bits."""
    source = source_of(folder / "optimal.h5", "dimc", "fc")
    roof = views.roofline([source], "edp")
    weights, inputs, outputs = 10 * 64 * 8, 64 * 8, 128  # 80 bits are two words
    (layer,) = roof.layers
    cost = source.result.best[0]
    assert layer.macs_per_bit == pytest.approx(640 / (weights + inputs + outputs))
    assert layer.macs_per_ns == pytest.approx(640 / cost.latency_ns)
    assert roof.bandwidth_bits_per_ns == pytest.approx(64 / cost.clock_ns)
    assert roof.peak_macs_per_ns == pytest.approx(math.prod(DIMC.array.dimensions.values()) / 8 / cost.clock_ns)
    assert 0 < layer.of_roof(views.roofline([source], "edp", "cells")) < 1
    with pytest.raises(InputError, match="dimc has no memory drum; did you mean dram"):
        views.roofline([source], "edp", "drum")


def test_curves_agree_with_prices_and_only_gain_from_room() -> None:
    fc = RESNET8["fc"]
    curves = explanation.sensitivity(fc, DIMC, "edp")
    explained = explanation.explain(fc, DIMC, "edp")
    here, twice = explanation.FACTORS.index(1.0), explanation.FACTORS.index(2.0)
    prices = {(price.resource, price.memory, price.ports): price.value for price in explained.prices}
    assert {(curve.resource, curve.memory, curve.ports) for curve in curves} == set(prices)
    for curve in curves:
        assert curve.values[here] == explained.value
        assert curve.values[twice] == pytest.approx(prices[curve.resource, curve.memory, curve.ports], rel=1e-12)
        if curve.resource == "capacity" and curve.memory != "cells":  # what fits still fits, at the same cost
            known = [value for value in curve.values if value is not None]
            assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(known))
    # A register of 4 bits holds no operand of 8.
    assert next(curve for curve in curves if curve.name == "capacity of rf_1B").values[:2] == (None, None)


@pytest.mark.parity
@pytest.mark.skipif(bool(zigzag_live.missing()), reason=zigzag_live.missing() or "zigzag-dse is there")
@pytest.mark.parametrize(("network", "name"), [("resnet8", "fc"), ("resnet8", "conv9")])
def test_the_choice_of_zigzag_is_what_zigzag_chooses(network: str, name: str) -> None:
    from benchmarks import zigzag_search

    layer = fm.load_workload(network)[name]
    theirs = zigzag_search.search(layer, AIMC, zigzag_search.DEFAULT_LIMIT)
    ours = views.zigzag_choice(layer, AIMC, "zigzag")
    assert ours.edp_pj_ns / ours.clock_ns == pytest.approx(theirs.energy_pj * theirs.latency_cycles, rel=1e-9)
    corrected = views.zigzag_choice(layer, AIMC, "corrected")
    assert corrected.mapping.spatial == ours.mapping.spatial
    assert comparison.value_of(corrected, "edp") >= fm.search(layer, AIMC).value(0) * (1 - 1e-12)


# ------------------------------------------------------------------------------------------------------------- pictures

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
PICTURES = {
    "cloud": ("cloud", "fc.h5", "--mapping", "mine.yaml", "--zigzag"),
    "distribution": ("distribution", "fc.h5", "--mapping", "mine.yaml", "--objective", "energy"),
    "breakdown": ("breakdown", "optimal.h5", "--arch", "aimc"),
    "roofline": ("roofline", "optimal.h5", "--arch", "dimc"),
    "sensitivity": ("sensitivity", "optimal.h5", "--arch", "dimc", "--layer", "fc"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All are drawn in one format, one in all of them, and always the same to the last byte."""
    monkeypatch.chdir(folder)
    for suffix in MAGIC if kind == "cloud" else (".svg",):
        contents = []
        for number in range(2 if kind in ("cloud", "breakdown") else 1):
            target = tmp_path / f"{number}{suffix}"
            assert main(("plot", *PICTURES[kind], "-o", str(target))) == 0
            contents.append(target.read_bytes())
        assert contents[0].startswith(MAGIC[suffix])
        assert contents[0] == contents[-1]
    assert f"drawn in {target}" in capsys.readouterr().out


def test_a_cloud_shows_its_mappings(folder: Path, tmp_path: Path, figures: list[Any]) -> None:
    target = str(tmp_path / "x.png")
    assert main(("plot", "cloud", str(folder / "fc.h5"), "--mapping", str(folder / "mine.yaml"), "-o", target)) == 0
    axis = figures[0].axes[0]
    mesh, *marks = axis.collections
    source = source_of(folder / "fc.h5")
    assert mesh.get_array().sum() == source.result.statistics["mappings_fitting"]
    mine_cost = fm.evaluate(RESNET8["fc"], AIMC, fm.Mapping.load(folder / "mine.yaml"))
    for mark, cost in zip(marks, (source.result.best[0], mine_cost), strict=True):
        expected = [cost.energy_pj.total * 1e-12, cost.latency_ns * 1e-9]
        assert mark.get_offsets()[0].tolist() == pytest.approx(expected)
    (front,) = axis.lines
    assert front.get_xdata() == pytest.approx(source.result.points["pareto"].energy_pj * 1e-12)


def test_a_legend_is_no_wider_than_the_picture(folder: Path, tmp_path: Path, figures: list[Any]) -> None:
    files = [tmp_path / f"a_mapping_with_a_long_name_{number}.yaml" for number in range(3)]
    for file in files:
        file.write_bytes((folder / "mine.yaml").read_bytes())
    call = ["plot", "cloud", str(folder / "fc.h5"), "--mapping", *map(str, files), "-o", str(tmp_path / "x.png")]
    assert main(call) == 0
    (legend,) = figures[0].legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figures[0].bbox.width
    assert len(legend.get_texts()) == 5


def test_bars_add_up_to_the_network(folder: Path, tmp_path: Path, figures: list[Any]) -> None:
    target = str(tmp_path / "x.png")
    assert main(("plot", "breakdown", str(folder / "optimal.h5"), "--arch", "aimc", "-o", target)) == 0
    bars = [sum(patch.get_width() for patch in figures[0].axes[place].patches) for place in (2, 3)]
    best = {source.layer: source.result.best[0] for source in views.open_results([folder / "optimal.h5"], "aimc")}
    energy = best["conv9"].energy_pj.total + 2 * best["fc"].energy_pj.total
    latency = best["conv9"].latency_ns + 2 * best["fc"].latency_ns
    assert bars == pytest.approx([energy * 1e-12, latency * 1e-9])


def test_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "x.svg")
    assert main(("plot", "distribution", str(folder / "fc.h5"), "-o", target, "--json")) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["picture"] == target
    assert [mark["better"] for mark in data["marks"] if mark["objective"] == "edp"] == [0.0]


def test_names_are_no_formulas(tmp_path: Path, figures: list[Any]) -> None:
    layer = RESNET8["fc"].model_copy(update={"name": "$\\frac$ $x$"})
    architecture = DIMC.model_copy(update={"name": "_a$b"})
    fm.search(layer, architecture, "pareto").save(tmp_path / "r.h5")
    (tmp_path / "_$m$.yaml").write_text("spatial: {D1: {K: 10}, D2: {C: 32}}\ntemporal: [[C, 2]]\n")
    for kind, *more in (("cloud", "--mapping", str(tmp_path / "_$m$.yaml")), ("breakdown",), ("roofline",)):
        assert main(("plot", kind, str(tmp_path / "r.h5"), *more, "-o", str(tmp_path / "x.png"))) == 0
    assert " _\\$m\\$" in [entry.get_text() for entry in figures[0].legends[0].get_texts()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("cloude", "fc.h5"),
            "there is no picture cloude (there are cloud, distribution, breakdown, roofline, sensiti",
        ),
        (("cloud", "optimal.h5", "--layer", "conv9"), "holds single mappings only; search with --objective pareto"),
        (("distribution", "front.h5"), "holds no distribution; search with --strategy exhaustive"),
        (("distribution", "best.h5"), "search with --strategy exhaustive and --keep histogram"),
        (("breakdown", "best.h5", "--objective", "ed2p"), "the best mapping for ed2p is not known; the search was for"),
        (("cloud", "fc.h5", "--layer", "fcc"), "there is no layer fcc; did you mean fc? (there are fc)"),
        (("cloud", "fc.h5", "--arch", "amc"), "there is no architecture amc; did you mean aimc? (there are aimc)"),
        (("sensitivity", "optimal.h5"), "this picture is of one result; say which with --arch and --layer (aimc/conv9"),
        (("breakdown", "optimal.h5"), "this picture is of one file and architecture; say which with --arch (optimal"),
        (("breakdown", "fc.h5", "--zigzag"), "--zigzag goes with cloud and distribution, not with breakdown"),
        (("cloud", "fc.h5", "--memory", "dram"), "--memory goes with roofline, not with cloud"),
        (("cloud", "fc.h5", "--objective", "pareto"), "objective must be energy, latency, edp"),
        (("cloud", "fc.h5", "--mapping", *(7 * ["mine.yaml"])), "at most 6 mappings can be told apart"),
        (("cloud", "nothing.h5"), "nothing.h5: no such file"),
        (("roofline", "optimal.h5", "--arch", "aimc", "--memory", "x"), "aimc has no memory x"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...],
    sentence: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert main(("plot", *arguments, "-o", "x.png")) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not Path("x.png").exists()


def test_nothing_to_draw(tmp_path: Path) -> None:
    free = views.Breakdown("free", 1, {("array", ""): 0.0, ("sram", "I"): 0.0}, dict.fromkeys(views.LATENCY_PARTS, 1.0))
    with pytest.raises(InputError, match="cost no energy"):
        plots.draw_breakdown("x", [free], 1.0, tmp_path / "x.png")


def test_mistakes_of_the_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = ("plot", "cloud", str(folder / "fc.h5"), "-o")
    assert main((*plot, "x.gif")) == 2
    assert capsys.readouterr().err == "fastmap: x.gif: pictures are files of type .png, .svg, .pdf\n"
    assert main((*plot, "/nonexistent/x.png")) == 2
    assert "cannot write /nonexistent/x.png: No such file or directory\n" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main((*plot, "x.png")) == 2
    assert capsys.readouterr().err == "fastmap: pictures need matplotlib: pip install 'fastmap[plot]'\n"
