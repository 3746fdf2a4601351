"""Questions to result files give what one gets from all rows in memory, with NumPy and pandas as oracles."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastmap as fm
from fastmap import mine, parts, recorded
from fastmap.check import check_file
from fastmap.cli import main
from fastmap.columns import COSTS, IDENTITY, WEIGHT
from fastmap.errors import FastmapError
from fastmap.keep import Keep
from fastmap.mapping import Constraints
from fastmap.result import SearchResult
from fastmap.store import ResultFile, load_result

pandas = pytest.importorskip("pandas")

SPACE = Constraints(max_spatial_mappings=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files with rows: one layer on two architectures; and one without rows."""
    folder = tmp_path_factory.mktemp("mined")
    layer = fm.load_workload("ds_cnn")["conv1"]
    keep = Keep.of(["all", "sample"], sample_size=500, columns=["stall_cycles"])
    with pytest.MonkeyPatch.context() as patch:  # many chunks, many parts
        patch.setattr(parts, "CHUNK", 1 << 10)
        patch.setattr(recorded, "SMALLEST_UNIT_COSTS", 3000)
        for name in ("aimc", "dimc"):
            fm.search(
                layer, fm.load_architecture(name), strategy="exhaustive", constraints=SPACE,
                keep=keep, output=folder / f"{name}.h5",
            )  # fmt: skip
    fm.search(layer, fm.load_architecture("aimc"), objective="pareto").save(folder / "optimal.h5")
    return folder


@pytest.fixture
def aimc(folder: Path) -> list[mine.Source]:
    return mine.open_sources([folder / "aimc.h5"])


@pytest.fixture
def both(folder: Path) -> list[mine.Source]:
    return mine.open_sources([folder / "aimc.h5", folder / "dimc.h5"])


def frame_of(source: mine.Source) -> Any:
    """All rows, with columns worked out by ``evaluate``'s formulas."""
    with h5py.File(source.file) as file:
        group = file[source.architecture][source.layer]["mappings"]
        columns = {name: group[name][...] for name in group if name not in ("row", "part", "parts", "part_rows")}
    frame = pandas.DataFrame(columns)
    clock = source.columns.clock_ns
    frame["latency_ns"] = frame["latency_cycles"] * clock
    frame["edp_pj_ns"] = frame["energy_pj"] * frame["latency_ns"]
    space = source.result.space
    frame["spatial"] = np.array([fm_text(space, i) for i in range(len(space.candidates))], object)[
        frame["spatial_index"].to_numpy()
    ]
    return frame


def fm_text(space: Any, index: int) -> str:
    return ", ".join(
        f"{name}: " + " ".join(f"{d}{f}" for d, f in factors.items())
        for name, factors in space.spatial(index).unrolling.items()
        if factors
    )


def test_rows_are_many(aimc: list[mine.Source]) -> None:
    assert aimc[0].rows > 20_000
    assert len(aimc[0].result.kept.parts) > 5


def test_select_filters_in_order(aimc: list[mine.Source]) -> None:
    frame = frame_of(aimc[0])
    inside = frame["energy_pj"] < 2 * frame["energy_pj"].min()
    middle = frame["latency_cycles"][inside].median()
    expected = frame[inside & (frame["latency_cycles"] <= middle)]
    where = f"energy_pj < 2 * best and latency_cycles <= {float(middle)}"
    found = mine.select(aimc, ["energy_pj", *IDENTITY], where)
    assert len(frame) > len(found) == len(expected) > 10
    for name in found.columns:
        assert found.columns[name].tolist() == expected[name].tolist()
    few = mine.select(aimc, ["energy_pj"], where, limit=7)
    assert few.columns["energy_pj"].tolist() == expected["energy_pj"].tolist()[:7]


@pytest.mark.parametrize("limit", [1, 50, 5000, None])
@pytest.mark.parametrize("descending", [False, True])
def test_select_sorts(aimc: list[mine.Source], limit: int | None, descending: bool) -> None:
    frame = frame_of(aimc[0])
    expected = frame.sort_values("edp_pj_ns", kind="stable", ascending=not descending)
    found = mine.select(aimc, ["edp_pj_ns", "spatial"], sort="edp_pj_ns", descending=descending, limit=limit)
    assert found.columns["edp_pj_ns"].tolist() == expected["edp_pj_ns"].tolist()[:limit]
    if not descending:
        assert found.plain()["spatial"].tolist() == expected["spatial"].tolist()[:limit]


def test_select_over_files(both: list[mine.Source]) -> None:
    frames = [frame_of(source).assign(architecture=source.architecture) for source in both]
    expected = pandas.concat(frames).sort_values("latency_ns", kind="stable")[:300]
    found = mine.select(both, ["latency_ns", "architecture"], sort="latency_ns", limit=300)
    assert found.columns["latency_ns"].tolist() == expected["latency_ns"].tolist()
    assert found.plain()["architecture"].tolist() == expected["architecture"].tolist()


def test_distinct_costs(aimc: list[mine.Source]) -> None:
    frame = frame_of(aimc[0]).sort_values("energy_pj", kind="stable").drop_duplicates(list(COSTS))
    found = mine.select(aimc, [*COSTS, *IDENTITY], sort="energy_pj", limit=100, distinct=True)
    for name in found.columns:
        assert found.columns[name].tolist() == frame[name].tolist()[:100]


def test_group(both: list[mine.Source]) -> None:
    frame = pandas.concat([frame_of(source).assign(architecture=source.architecture) for source in both])
    asked = [
        "count",
        "mappings",
        "min:edp_pj_ns",
        "max:energy_pj",
        "mean:latency_ns",
        "median:energy_pj",
        "q10:energy_pj",
    ]
    found = mine.group(both, ["architecture", "spatial"], asked).to_pandas()
    groups = frame.groupby(["architecture", "spatial"])
    assert len(found) == len(groups) > 20
    assert found["min:edp_pj_ns"].is_monotonic_increasing
    for row in found.to_dict("records"):
        own = groups.get_group((row["architecture"], row["spatial"]))
        weight = own[WEIGHT].astype(np.int64)
        assert row["count"] == len(own)
        assert row["mappings"] == weight.sum()
        assert row["min:edp_pj_ns"] == own["edp_pj_ns"].min()
        assert row["max:energy_pj"] == own["energy_pj"].max()
        assert row["mean:latency_ns"] == pytest.approx((own["latency_ns"] * weight).sum() / weight.sum(), rel=1e-12)
        ordered = own.sort_values("energy_pj")
        total = ordered[WEIGHT].astype(np.int64).cumsum().to_numpy()
        for share, name in ((0.5, "median:energy_pj"), (0.1, "q10:energy_pj")):
            exact = ordered["energy_pj"].to_numpy()[np.searchsorted(total, share * total[-1])]
            assert row[name] == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("by", [["stationary"], ["innermost", "outermost"], ["dataflow"], ["D1.K"], ["utilization"]])
def test_group_by_what_is_worked_out(aimc: list[mine.Source], by: list[str]) -> None:
    found = mine.group(aimc, by, ["count", "min:energy_pj"])
    rows = (
        mine.select(aimc, [*by, "energy_pj"]).to_pandas().groupby(by, observed=True)["energy_pj"].agg(["count", "min"])
    )
    assert len(found) == len(rows)
    for record in found.records():
        own = rows.loc[tuple(record[name] for name in by) if len(by) > 1 else record[by[0]]]
        assert (record["count"], record["min:energy_pj"]) == (own["count"], own["min"])


def test_columns_are_what_evaluate_says(both: list[mine.Source]) -> None:
    names = ["utilization", "innermost", "outermost", "mac_pj", "memory_pj", "O.energy_pj", "edp_pj_ns_mm2",
             "compute_cycles", "stall_cycles", "onload_cycles", "offload_cycles", "sram_256KB.O.energy_pj",
             "sram_256KB.I.OX", "D2.FY", "energy_pj"]  # fmt: skip
    for source in both:
        table = mine.select([source], [*names, *IDENTITY])
        for row in range(0, len(table), len(table) // 25):
            one = {name: values[0] for name, values in table.rows(slice(row, row + 1)).plain().items()}
            cost = mine.evaluation(source, [one[name] for name in IDENTITY])
            mapping = cost.mapping
            levels = {each["memory"]: each for each in cost.energy_pj.memory_breakdown["O"]}
            pj = {memory: sum(v for k, v in each.items() if k != "memory") for memory, each in levels.items()}
            chain = [each["memory"] for each in cost.energy_pj.memory_breakdown["I"]]
            place = chain.index("sram_256KB")
            cuts = mapping.allocation["I"]
            loops = mapping.temporal[cuts[place - 1] if place else 0 : cuts[place]]
            expected = {
                "utilization": cost.utilization.array, "mac_pj": cost.energy_pj.mac, "memory_pj": cost.energy_pj.memory,
                "innermost": mapping.temporal[0][0], "outermost": mapping.temporal[-1][0],
                "O.energy_pj": sum(pj.values()),
                "edp_pj_ns_mm2": cost.edp_pj_ns * cost.area_mm2.total, "compute_cycles": cost.latency_cycles.spatial,
                "stall_cycles": cost.latency_cycles.stall, "onload_cycles": cost.latency_cycles.onload,
                "offload_cycles": cost.latency_cycles.offload, "sram_256KB.O.energy_pj": pj["sram_256KB"],
                "sram_256KB.I.OX": np.prod([n for d, n in loops if d == "OX"]), "energy_pj": cost.energy_pj.total,
                "D2.FY": mapping.spatial.unrolling.get("D2", {}).get("FY", 1),
            }  # fmt: skip
            for name, value in expected.items():
                assert one[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-6)), (
                    name
                )


@pytest.mark.parametrize(("x", "y"), [("energy_pj", "latency_ns"), ("energy_pj", "-order_rank")])
def test_pareto_across_files(both: list[mine.Source], x: str, y: str) -> None:
    points = []
    for source in both:
        frame = frame_of(source)
        second = -frame["order_rank"].astype(float) if y == "-order_rank" else frame[y]
        points += list(zip(frame[x], second, [source.architecture] * len(frame), strict=True))
    front, least = [], np.inf
    for point in sorted(points):
        if point[1] < least:
            front.append(point)
            least = point[1]
    found = mine.pareto(both, x, y, columns=[x, y.removeprefix("-"), "architecture"]).plain()
    assert found[x].tolist() == [point[0] for point in front]
    assert found[y.removeprefix("-")].astype(float).tolist() == [abs(point[1]) for point in front]
    assert found["architecture"].tolist() == [point[2] for point in front]
    if y == "-order_rank":
        assert len(front) > 3


def test_rank(aimc: list[mine.Source]) -> None:
    frame = frame_of(aimc[0])
    weight = frame[WEIGHT].astype(np.int64)
    value = float(frame["edp_pj_ns"].to_numpy()[12345])
    found = mine.rank(aimc[0], value)
    assert found.mappings == weight.sum()
    assert found.better == pytest.approx(weight[frame["edp_pj_ns"] < value * (1 - 1e-12)].sum() / weight.sum())
    assert found.equal == pytest.approx(weight[np.isclose(frame["edp_pj_ns"], value, rtol=1e-12)].sum() / weight.sum())
    assert (found.best, found.worst) == (frame["edp_pj_ns"].min(), frame["edp_pj_ns"].max())
    assert mine.rank(aimc[0], 0.0).better == 0
    assert mine.rank(aimc[0], 1e300).better == 1


def test_near(aimc: list[mine.Source]) -> None:
    found = mine.near(aimc, "energy_pj", 0.05, 10)
    optimum = aimc[0].result.points["energy"]
    assert [found.columns[name][0] for name in COSTS] == [optimum.energy_pj[0], optimum.latency_cycles[0]]
    frame = frame_of(aimc[0]).drop_duplicates(list(COSTS)).sort_values("energy_pj", kind="stable")
    inside = frame[frame["energy_pj"] <= 1.05 * frame["energy_pj"].min()]
    assert found.columns["energy_pj"].tolist() == inside["energy_pj"].tolist()[:10]
    assert found.columns["differs"][0] == "the optimum"
    assert all(found.columns["above"] <= 0.05)
    assert {part for text in found.columns["differs"][1:] for part in text.split(", ")} <= {
        "spatial mapping",
        "order",
        "allocation",
    }


def test_common(aimc: list[mine.Source]) -> None:
    """Shares of factors of the spatial mapping, counted anew."""
    source = aimc[0]
    found = mine.common(source, 0.02, "energy_pj").to_pandas()
    frame = frame_of(source).sort_values("energy_pj", kind="stable")
    weight = frame[WEIGHT].astype(float).to_numpy()
    last = np.searchsorted(np.cumsum(weight), 0.02 * weight.sum())
    limit = frame["energy_pj"].to_numpy()[last]
    factors = {name: values[frame["spatial_index"].to_numpy()] for name, values in source.columns.factors.items()}
    compared = 0
    for row in found.to_dict("records"):
        assert row["lift"] == pytest.approx(row["among_best"] / row["among_all"])
        assert row["lift"] > 1
        if row["feature"] in factors:
            has = factors[row["feature"]] == int(row["value"])
            best = frame["energy_pj"].to_numpy() <= limit * 1.001
            assert row["among_all"] == pytest.approx(weight[has].sum() / weight.sum(), rel=1e-9)
            assert row["among_best"] == pytest.approx(weight[has & best].sum() / weight[best].sum(), rel=0.05)
            compared += 1
    assert compared > 1


def test_files_without_rows_and_samples_answer_too(folder: Path) -> None:
    points = mine.open_sources([folder / "optimal.h5"])
    assert points[0].kind == "points"
    assert mine.pareto(points, columns=list(COSTS)).columns["energy_pj"].tolist() == sorted(
        points[0].result.points["pareto"].energy_pj.tolist()
    )
    sample = mine.open_sources([folder / "aimc.h5"], kind="sample")
    assert sample[0].rows == 500
    assert mine.group(sample, ["spatial"], ["count"]).columns["count"].sum() == 500


def test_diff(folder: Path, tmp_path: Path) -> None:
    layer = fm.load_workload("ds_cnn")["conv1"]
    spatial = fm.SpatialMapping(unrolling={"D1": {"K": 16}})
    worse = fm.search(layer, fm.load_architecture("aimc"), constraints=Constraints(spatial=spatial))
    best = load_result(folder / "optimal.h5")
    worse.save(tmp_path / "worse.h5")
    table = mine.diff(folder / "optimal.h5", tmp_path / "worse.h5")
    (row,) = table.records()
    before, after = best.top("edp")[0], worse.best[0]
    assert (row["before"], row["after"]) == (before.edp_pj_ns, after.edp_pj_ns)
    assert row["change"] == pytest.approx(after.edp_pj_ns / before.edp_pj_ns - 1)
    assert row["energy"] == pytest.approx(after.energy_pj.total / before.energy_pj.total - 1)
    assert row["moved"] != "nothing"
    assert "spatial mapping" in row["mapping"]
    (same,) = mine.diff(folder / "optimal.h5", folder / "optimal.h5").records()
    assert (same["change"], same["moved"], same["mapping"]) == (0.0, "nothing", "the same")


def test_exports(folder: Path, aimc: list[mine.Source], tmp_path: Path) -> None:
    expected = mine.select(aimc, ["energy_pj", "spatial", *IDENTITY], "energy_pj < 1.1 * best").to_pandas()

    def tables() -> Any:
        return mine.blocks(aimc, ["energy_pj", "spatial", *IDENTITY], "energy_pj < 1.1 * best")

    assert mine.export(tables(), tmp_path / "r.csv") == len(expected)
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["energy_pj"]) for row in rows] == expected["energy_pj"].tolist()
    assert [row["spatial"] for row in rows] == expected["spatial"].astype(str).tolist()
    with pytest.raises(FastmapError, match="exists already"):
        mine.export(tables(), tmp_path / "r.csv")
    with pytest.raises(FastmapError, match="must end in"):
        mine.export(tables(), tmp_path / "r.txt")
    if pytest.importorskip("pyarrow", reason="an extra"):
        assert mine.export(tables(), tmp_path / "r.parquet") == len(expected)
        read = pandas.read_parquet(tmp_path / "r.parquet")
        assert read["energy_pj"].tolist() == expected["energy_pj"].tolist()
    data = mine.select(aimc, limit=5).to_xarray()
    assert data.sizes["row"] == 5
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r.csv", "r.parquet"]


def test_different_cost_models_and_versions_are_named(folder: Path, tmp_path: Path) -> None:
    layer = fm.load_workload("ds_cnn")["conv1"]
    fm.search(layer, fm.load_architecture("aimc"), cost_model="zigzag").save(tmp_path / "z.h5")
    assert not mine.warnings(mine.open_sources([folder / "aimc.h5", folder / "dimc.h5"]))
    (text,) = mine.warnings(mine.open_sources([folder / "optimal.h5", tmp_path / "z.h5"]))
    assert "different cost models" in text
    assert "corrected: " in text
    assert f"zigzag: {tmp_path / 'z.h5'}" in text


# ---------------------------------------------------------------------------------------------------- the validator


def test_sound_files(folder: Path) -> None:
    for name in ("aimc.h5", "dimc.h5", "optimal.h5"):
        assert check_file(folder / name) == []


def copied(folder: Path, target: Path) -> Path:
    """A copy of a file with rows, of its own."""
    subprocess.run(["cp", "-r", f"{folder}/aimc.h5", f"{folder}/aimc.h5.parts", str(target)], check=True)
    return target / "aimc.h5"


def part_of(path: Path) -> Path:
    return sorted(path.parent.glob("aimc.h5.parts/*/*/*.h5"))[1]


def change(path: Path, name: str, value: Callable[[Any], Any]) -> None:
    with h5py.File(path, "r+") as file:
        file[name][...] = value(file[name][...])


def flip(path: Path) -> None:
    """Damage what a chunk holds."""
    with h5py.File(path) as file:
        where = file["rows/energy_pj"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[where + 20 : where + 40] = b"\xff" * 20
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing part": (lambda path: part_of(path).unlink(), "is missing, damaged"),
    "short part": (lambda path: os.truncate(part_of(path), 5000), "is missing, damaged"),
    "flipped bytes": (lambda path: flip(part_of(path)), "is damaged"),
    "other energies": (lambda path: change(part_of(path), "rows/energy_pj", lambda x: x * 1.001), "costs"),
    "negative costs": (lambda path: change(part_of(path), "rows/latency_cycles", lambda x: -x), "must be positive"),
    "other identities": (lambda path: change(part_of(path), "rows/spatial_index", lambda x: x + 100), "out of range"),
    "lost mappings": (lambda path: change(part_of(path), "rows/mappings", lambda x: x + 1), "its rows stand for"),
    "best": (
        lambda path: change(path, "aimc/conv1/best/edp/energy_pj", lambda x: x * 2),
        "edp: row 0 has energy_pj",
    ),
    "histogram": (
        lambda path: change(path, "aimc/conv1/histogram/energy_pj", lambda x: x + 1),
        "histogram energy_pj: has",
    ),
    "no command": (lambda path: delete(path, "command"), "the attribute command is missing"),
    "sample": (lambda path: change(path, "aimc/conv1/sample/energy_pj", lambda x: x * 3), "sample: the mapping"),
}


def delete(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs[name]


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found(folder: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied(folder, tmp_path)
    damage, expected = DAMAGE[what]
    damage(path)
    problems = check_file(path)
    assert any(expected in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)
    assert main(["mine", str(path), "--check"]) == 2
    assert str(path) in capsys.readouterr().out


def test_a_missing_part_is_a_sentence_for_every_question(folder: Path, tmp_path: Path) -> None:
    path = copied(folder, tmp_path)
    part_of(path).unlink()
    sources = mine.open_sources([path])
    for question in (mine.select, lambda s: mine.group(s, ["spatial"]), mine.pareto, lambda s: mine.rank(s[0], 1.0)):
        with pytest.raises(FastmapError, match="is missing, and with it a part of the rows"):
            question(sources)


# ----------------------------------------------------------------------------------------------- the command line


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["mine", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "aimc.h5")
    other = str(folder / "dimc.h5")
    names = answer(capsys, file, other, "--names")
    assert [each["architecture"] for each in names] == ["aimc", "dimc"]
    rows = answer(capsys, file, "--where", "edp_pj_ns < 1.1 * best", "--sort", "energy_pj", "--limit", "3")
    assert len(rows) == 3
    best = rows[0]
    cost = answer(capsys, file, "--id", *(str(best[name]) for name in IDENTITY))
    assert cost["energy_pj"]["total"] == pytest.approx(best["energy_pj"])
    groups = answer(capsys, file, other, "--by", "architecture", "--aggregates", "count", "min:energy_pj_mm2")
    assert {each["architecture"] for each in groups} == {"aimc", "dimc"}
    assert answer(capsys, file, other, "--pareto", "energy_pj", "latency_ns")
    assert answer(capsys, file, "--near", "0.1", "--of", "energy_pj")[0]["above"] == 0
    assert answer(capsys, file, "--common", "1%")[0]["lift"] > 1
    assert answer(capsys, file, "--rank", "0", "--of", "energy_pj")[0]["better"] == 0
    (tmp_path / "m.json").write_text(json.dumps(cost["mapping"]))
    ranked = answer(capsys, file, "--rank", str(tmp_path / "m.json"), "--of", "energy_pj")[0]
    assert ranked["value"] == pytest.approx(best["energy_pj"])
    assert answer(capsys, file, file, "--diff")[0]["moved"] == "nothing"
    assert answer(capsys, file, "--check") == {file: []}
    exported = answer(capsys, file, "--export", str(tmp_path / "all.csv"), "--columns", "energy_pj")
    assert exported["rows"] == mine.open_sources([file])[0].rows
    assert main(["mine", file, "--by", "spatial"]) == 0
    assert "min:edp_pj_ns" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing.h5"], "no such file"),
        (["{aimc}", "--where", "energy < 1"], "there is no column energy; did you mean energy_pj?"),
        (["{aimc}", "--where", "__import__('os')"], "is not allowed"),
        (["{aimc}", "--columns", "area"], "has no column area"),
        (["{aimc}", "--by", "spatal"], "did you mean spatial?"),
        (["{aimc}", "--by", "spatial", "--aggregates", "sum:energy_pj"], "is no aggregate"),
        (["{aimc}", "--layer", "conv9"], "there is no such result (results: aimc/conv1)"),
        (["{aimc}", "--kind", "rows"], "kind must be one of mappings, sample, points"),
        (["{optimal}", "--kind", "mappings"], "there is no such result with mappings"),
        (["{aimc}", "--id", "900", "0", "1"], "the spatial index must lie in 0..29, not 900"),
        (["{aimc}", "--id", "0", "99999999", "1"], "the order rank must lie in 0.."),
        (["{aimc}", "--id", "0", "0", "0"], "the allocation code must lie in 1.."),
        (["{aimc}", "--diff"], "--diff needs two files, not 1"),
        (["{aimc}", "--near", "1%", "--where", "energy_pj < 1"], "--where does not go with --near"),
        (["{aimc}", "--aggregates", "count"], "--aggregates does not go with rows of mappings"),
        (["{aimc}", "{dimc}", "--diff", "--layer", "conv1"], "--layer does not go with --diff"),
        (["{aimc}", "--limit", "0"], "--limit must be a positive integer"),
        (["{aimc}", "--descending"], "--descending needs --sort"),
        (["{aimc}", "--distinct"], "need an expression to sort by"),
        (["{aimc}", "--sort", "spatial"], "must be a number"),
        (["{aimc}", "--common", "2"], "common needs a share above 0 and below 1"),
        (["{aimc}", "--near", "x"], "--near must be a share such as 1% or 0.01, not 'x'"),
        (["{aimc}", "--near=-1"], "near needs a share of at least 0"),
        (["{aimc}", "--near", "0.1", "--of", "mac_pj"], "near must be of one of"),
        (["{aimc}", "--pareto", "energy_pj"], "--pareto needs two expressions, not 1"),
        (["{aimc}", "--rank", "nowhere.yaml"], "nowhere.yaml"),
        (["{aimc}", "{dimc}", "--common", "0.1"], "--common is of one result; say which"),
        (["{aimc}", "--export", "x.xls"], "must end in .csv or .parquet"),
        (["{aimc}", "--where", "energy_pj < 0", "--rank", "1"], "no mapping satisfies"),
    ],
)
def test_sentences(
    folder: Path,
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    filled = [each.format(aimc="aimc.h5", dimc="dimc.h5", optimal="optimal.h5") for each in arguments]
    assert main(["mine", *filled]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastmap: ")
    assert expected in error
    assert error.count("\n") == 1


def test_a_file_that_the_same_process_has_open(folder: Path) -> None:
    """As in a notebook; HDF5 refuses to open a file with and without a lock at once."""
    file = folder / "aimc.h5"
    with h5py.File(file, "r") as opened:
        assert opened["aimc/conv1/mappings/energy_pj"][0] > 0
        assert mine.select(mine.open_sources([file]), limit=1).records()
        assert check_file(file) == []


def test_a_difference_of_cost_models_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer, on = fm.load_workload("ds_cnn")["conv1"], fm.load_architecture("aimc")
    fm.search(layer, on, cost_model="zigzag").save(tmp_path / "z.h5")
    assert main(["mine", str(folder / "optimal.h5"), str(tmp_path / "z.h5"), "--diff"]) == 0
    assert "warning: the results are of different cost models (corrected: " in capsys.readouterr().err


def test_foreign_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"] = 1
    assert main(["mine", str(tmp_path / "f.h5")]) == 2
    assert "is an HDF5 file, but not a result of fastmap" in capsys.readouterr().err


def test_a_file_of_version_2_is_read_and_migrated(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    path.write_bytes((folder / "optimal.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 2
        del file.attrs["run"]
    assert check_file(path) == []
    before = SearchResult.load(path)
    with ResultFile.create(path, resume=True) as file:
        file.write(load_result(folder / "aimc.h5"), "another")
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == 3
    assert SearchResult.load(path, layer="conv1").points["pareto"].energy_pj.tolist() == (
        before.points["pareto"].energy_pj.tolist()
    )


def test_memory_stays_small(folder: Path) -> None:
    """A scan holds a few chunks, however many rows there are."""
    script = (
        "import sys, tracemalloc\n"
        "from fastmap import mine\n"
        "sources = mine.open_sources([sys.argv[1]])\n"
        "tracemalloc.start()\n"
        "total = sum(mine.scan(sources[0], len))\n"
        "print(total, tracemalloc.get_traced_memory()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder / "aimc.h5")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, peak = map(int, done.stdout.split())
    assert rows > 20_000
    assert peak < 50e6
