"""The command line: what it prints, its exit codes, and that a mistake costs one sentence and nothing else."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import yaml

import fastmap as fm
from fastmap import zoo
from fastmap.cli import Interrupt, main
from fastmap.store import ResultFile, contents

NARROW = ("--max-spatial-mappings", "3", "--loop-factor-limit", "5")
FASTMAP = (sys.executable, "-m", "fastmap")

MAPPING = """\
spatial: {D1: {K: 64}, D2: {FX: 4, FY: 10}}
temporal: [[OX, 5], [OY, 5], [OY, 5]]
"""
WITH_ALLOCATION = MAPPING + "allocation: {W: [3, 3], I: [0, 3, 3], O: [0, 3, 3]}\n"


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FASTMAP, *(str(each) for each in arguments)], capture_output=True, text=True, timeout=120, **options
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process; it must succeed. Returns what it prints."""

    def call(*arguments: object, code: int = 0) -> str:
        assert main([str(each) for each in arguments]) == code
        return capsys.readouterr().out

    return call


def parsed(text: str) -> Any:
    """JSON in the strict sense: NaN and Infinity are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


# ------------------------------------------------------------------------------------------------------- the start


def test_help_and_import_stay_light() -> None:
    """A shell completion or a script that only asks for help must not wait for the compiler."""
    script = """
import sys, time
{}
print(time.process_time(), *(name for name in ("numba", "h5py", "pydantic", "numpy", "yaml") if name in sys.modules))
"""
    with_help = """
from fastmap.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
"""
    for body in ("import fastmap; dir(fastmap)", with_help):
        done = subprocess.run([sys.executable, "-c", script.format(body)], capture_output=True, text=True, check=True)
        seconds, *loaded = done.stdout.splitlines()[-1].split()
        assert loaded == []
        assert float(seconds) < 0.5


def test_version_and_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["--help"], *([each, "--help"] for each in COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert fm.__version__ in printed or printed.startswith("usage: fastmap")


COMMANDS = ("search", "evaluate", "explain", "count", "macro", "validate", "peak", "memory", "plot", "report", "zoo")


def test_the_installed_command_is_the_module() -> None:
    command = Path(sys.executable).with_name("fastmap")
    if not command.exists():
        pytest.skip("fastmap is not installed")
    installed = subprocess.run([command, "zoo", "aimc"], capture_output=True, text=True, check=True)
    assert installed.stdout == run("zoo", "aimc").stdout == zoo.text("architecture", "aimc")


# ------------------------------------------------------------------------------------------------------------- zoo


def test_zoo(cli: Callable[..., str]) -> None:
    names = parsed(cli("zoo", "--json"))
    assert names == {kind: list(zoo.names(kind)) for kind in zoo.FOLDERS}
    table = cli("zoo")
    for kind, each in names.items():
        for name in each:
            assert re.search(rf"^{name} +{re.escape(zoo.description(kind, name))}$", table, re.MULTILINE)
            assert cli("zoo", name) == zoo.text(kind, name)
    assert fm.Architecture.model_validate(parsed(cli("zoo", "dimc", "--json"))) == fm.load_architecture("dimc")
    assert fm.Workload.model_validate(parsed(cli("zoo", "resnet8", "--json"))) == fm.load_workload("resnet8")


def test_a_printed_zoo_entry_is_a_file_to_start_from(cli: Callable[..., str], here: Path) -> None:
    (here / "mine.yaml").write_text(cli("zoo", "aimc"))
    assert fm.load_architecture("mine.yaml") == fm.load_architecture("aimc")


# ----------------------------------------------------------------------------------------------------------- macro


def test_macro(cli: Callable[..., str]) -> None:
    data = parsed(cli("macro", "aimc", "dimc", "--json"))
    assert list(data) == ["aimc", "dimc"]
    for report in data.values():
        assert report["variant"] == "zigzag"
        for breakdown in ("energy_per_cycle_pj", "clock_ns", "area_mm2"):
            parts = {**report[breakdown]}
            total = parts.pop("total")
            assert total > 0
            if breakdown != "clock_ns":
                assert sum(parts.values()) == pytest.approx(total)
    printed = cli("macro", "aimc", "dimc")
    assert f"{data['aimc']['tops_per_watt']:.4g} TOPS/W" in printed
    assert f"{data['dimc']['tops_per_mm2']:.4g} TOPS/mm2" in printed
    assert printed.startswith("aimc (zigzag model)\n")
    other = parsed(cli("macro", "aimc", "--variant", "zigzag-imc", "--json"))["aimc"]
    assert other["variant"] == "zigzag-imc"
    assert other["energy_per_cycle_pj"] != data["aimc"]["energy_per_cycle_pj"]


# -------------------------------------------------------------------------------------------------------- evaluate


CONTRACT = {
    "energy_pj": {"total", "mac", "memory", "mac_breakdown", "memory_breakdown"},
    "latency_cycles": {"total", "ideal", "spatial", "stall", "onload", "offload"},
    "area_mm2": {"total", "imc", "memory"},
    "utilization": {"array", "memory"},
}
NUMBERS = {"clock_ns", "latency_ns", "edp_pj_ns"}
#: What we give beyond the contract.
EXTRA = {"layer", "architecture", "cost_model", "accesses", "static_energy_pj"}


def check_contract(data: dict[str, Any], architecture: fm.Architecture) -> None:
    """Design section 5, key by key."""
    assert set(data) == {*CONTRACT, *NUMBERS, "mapping", *EXTRA}
    for name, keys in CONTRACT.items():
        assert set(data[name]) - {"stall_per_port"} == keys
    for name in NUMBERS:
        assert isinstance(data[name], float)
    energy, latency, area = data["energy_pj"], data["latency_cycles"], data["area_mm2"]
    for operand in "WIO":
        chain = [architecture.memories[index].name for index in architecture.chain(operand)]
        levels = energy["memory_breakdown"][operand]
        assert [level["memory"] for level in levels] == chain
        for level in levels:
            directions = {"rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high"}
            assert set(level) == {"memory"} | directions
        assert len(data["utilization"]["memory"][operand]) == len(chain)
        assert len(data["mapping"]["allocation"][operand]) == len(chain)
    parts = sum(
        value
        for levels in energy["memory_breakdown"].values()
        for level in levels
        for value in level.values()
        if not isinstance(value, str)
    )
    assert parts == pytest.approx(energy["memory"], rel=1e-12)
    assert sum(energy["mac_breakdown"].values()) == pytest.approx(energy["mac"], rel=1e-12)
    assert energy["mac"] + energy["memory"] == pytest.approx(energy["total"], rel=1e-12)
    cycles = latency["spatial"] + latency["stall"] + latency["onload"] + latency["offload"]
    assert latency["total"] == pytest.approx(cycles, rel=1e-12)
    assert data["latency_ns"] == pytest.approx(latency["total"] * data["clock_ns"], rel=1e-12)
    assert data["edp_pj_ns"] == pytest.approx(energy["total"] * data["latency_ns"], rel=1e-12)
    assert area["total"] == pytest.approx(area["imc"] + area["memory"], rel=1e-12)


def test_evaluate(cli: Callable[..., str], here: Path) -> None:
    (here / "m.yaml").write_text(WITH_ALLOCATION)
    call = ("evaluate", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--mapping", "m.yaml")
    data = parsed(cli(*call, "--json"))
    models, repairs = data["cost_models"], data["repairs"]
    check_contract(
        {key: data[key] for key in data if key not in ("cost_models", "repairs")}, fm.load_architecture("aimc")
    )
    assert models["corrected"]["energy_pj"] == pytest.approx(data["energy_pj"]["total"], rel=1e-12)
    assert models["corrected"]["latency_cycles"] == data["latency_cycles"]["total"]
    zigzag = parsed(cli(*call, "--json", "--cost-model", "zigzag"))
    assert models["zigzag"]["energy_pj"] == pytest.approx(zigzag["energy_pj"]["total"], rel=1e-12)
    assert models["zigzag"]["latency_cycles"] == zigzag["latency_cycles"]["total"]
    assert {"name", "description", "applies", "energy_pj", "latency_cycles"} < set(repairs[0])
    assert data["mapping"] == fm.Mapping.load("m.yaml").to_dict()
    best = fm.evaluate(fm.load_workload("ds_cnn")["conv1"], fm.load_architecture("aimc"), fm.Mapping.load("m.yaml"))
    assert data == parsed(json.dumps(best.to_dict())) | {"repairs": repairs, "cost_models": models}
    # What was printed can be fed back, as YAML or as JSON.
    (here / "again.json").write_text(json.dumps(data["mapping"]))
    assert parsed(cli(*call[:-1], "again.json", "--json")) == data

    short = cli(*call)
    assert short.startswith("conv1 on aimc\n")
    assert f"{data['latency_cycles']['total']:,.0f} cycles" in short
    long = cli(*call, "--explain")
    assert long.startswith(short.rstrip("\n"))
    assert "loop nest" in long
    assert "repair" in long
    assert "sram_256KB" in long


def test_evaluate_without_allocation_takes_the_greedy_one(cli: Callable[..., str], here: Path) -> None:
    (here / "m.yaml").write_text(MAPPING)
    data = parsed(cli("evaluate", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--mapping", "m.yaml", "--json"))
    assert set(data["mapping"]) == {"spatial", "temporal", "allocation"}


def test_compare_with_the_optimum(cli: Callable[..., str], here: Path) -> None:
    (here / "m.yaml").write_text(MAPPING.replace("K: 64", "K: 32").replace("temporal: [", "temporal: [[K, 2], "))
    call = ("evaluate", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--mapping", "m.yaml", "--compare")
    data = parsed(cli(*call, "--json"))
    best = parsed(cli("search", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--json", "--quiet"))
    value = best[0]["layers"]["conv1"]["best"][0]["edp_pj_ns"]
    assert data["comparison"]["gap"] == pytest.approx(data["edp_pj_ns"] / value - 1)
    assert data["comparison"]["gap"] > 0
    assert re.search(r"^conv1 on aimc: EDP .* the proven optimum$", cli(*call), re.MULTILINE)
    assert re.search(
        r"^conv1 on aimc: energy .* the proven optimum$", cli(*call, "--objective", "energy"), re.MULTILINE
    )


# --------------------------------------------------------------------------------------------------------- explain


def test_explain(cli: Callable[..., str]) -> None:
    call = ("explain", "resnet8", "--layer", "fc", "--arch", "aimc")
    data = parsed(cli(*call, "--json"))
    assert len(data) == 1
    printed = cli(*call)
    assert printed.startswith("fc on aimc: best EDP, proven optimal\n")
    for part in ("loop nest", "where the energy goes", "what twice as much would change", "other dataflows"):
        assert part in printed


# ----------------------------------------------------------------------------------------------------------- count


def test_count(cli: Callable[..., str]) -> None:
    data = parsed(cli("count", "ds_cnn", "--arch", "aimc", "dimc", *NARROW, "--json"))
    assert [each["architecture"] for each in data] == ["aimc", "dimc"]
    plain = cli("count", "ds_cnn", "--arch", "aimc", "dimc", *NARROW)
    for each in data:
        assert each["workload"] == "ds_cnn"
        assert list(each["layers"]) == [layer.name for layer in fm.load_workload("ds_cnn")]
        for name, counts in each["layers"].items():
            assert 0 < counts["spatial_mappings"] <= 4
            assert re.search(rf"^{name} .* {counts['mappings']:,} ", plain, re.MULTILINE)
        distinct = {name: each["layers"][name]["mappings"] for name in ("conv1", "dw1", "pw1", "fc")}
        assert each["mappings"] == sum(distinct.values())


def test_counts_beyond_every_machine_are_exact(cli: Callable[..., str]) -> None:
    data = parsed(cli("count", "resnet18", "--layer", "conv1", "--arch", "aimc", "--json"))
    assert data[0]["mappings"] > 1e12
    assert isinstance(data[0]["mappings"], int)
    assert "years" in cli("count", "resnet18", "--layer", "conv1", "--arch", "aimc")


# ---------------------------------------------------------------------------------------------------------- search


@pytest.mark.parametrize("strategy", ["optimal", "exhaustive"])
def test_search(cli: Callable[..., str], here: Path, strategy: str) -> None:
    call = ("search", "ds_cnn", "--arch", "aimc", "dimc", *NARROW, "--strategy", strategy, "--quiet")
    keys = {"best", "optimal", "gap", "certificate", "statistics"} | ({"pareto"} if strategy == "exhaustive" else set())
    data = parsed(cli(*call, "--json", "-o", "r.h5"))
    assert [each["architecture"] for each in data] == ["aimc", "dimc"]
    plain = cli(*call)
    for each in data:
        architecture = fm.load_architecture(each["architecture"])
        assert each["workload"] == "ds_cnn"
        assert each["complete"] is True
        names = [layer.name for layer in fm.load_workload("ds_cnn")]
        assert list(each["layers"]) == names
        best = {}
        for name, layer in each["layers"].items():
            assert set(layer) == keys
            assert layer["optimal"] is True
            assert layer["gap"] == 0
            for evaluation in layer["best"]:
                check_contract(evaluation, architecture)
            values = [evaluation["edp_pj_ns"] for evaluation in layer["best"]]
            assert values == sorted(values)
            assert layer["certificate"]["lower_bound"] == pytest.approx(values[0])
            check_front(layer.get("pareto", []))
            loaded = fm.SearchResult.load("r.h5", each["architecture"], name)
            assert [found.mapping.to_dict() for found in loaded.best] == [found["mapping"] for found in layer["best"]]
            best[name] = layer["best"][0]
            assert re.search(rf"^{name} .* {best[name]['latency_cycles']['total']:,.0f} ", plain, re.MULTILINE)
        totals = each["totals"]
        for key in ("energy_pj", "latency_cycles"):
            assert totals[key] == pytest.approx(sum(found[key]["total"] for found in best.values()))
        assert totals["edp_pj_ns"] == pytest.approx(totals["energy_pj"] * totals["latency_ns"])
    assert contents("r.h5") == [(arch, name) for arch in ("aimc", "dimc") for name in names]
    with h5py.File("r.h5", "r") as file:
        assert file["aimc/dw1"] == file["aimc/dw3"]
    assert list(here.iterdir()) == [here / "r.h5"]


def check_front(points: list[dict[str, float]]) -> None:
    """By rising energy and falling latency."""
    front = [(point["energy_pj"], point["latency_cycles"]) for point in points]
    assert front == sorted(set(front), key=lambda point: (point[0], -point[1]))
    assert all(one[1] > other[1] for one, other in itertools.pairwise(front))


def test_both_strategies_find_the_same(cli: Callable[..., str]) -> None:
    call = ("search", "resnet8", "--layer", "fc", "--arch", "aimc_4level", "--quiet", "--objective", "pareto")
    optimal = parsed(cli(*call, "--json"))[0]
    exhaustive = parsed(cli(*call, "--json", "--strategy", "exhaustive"))[0]
    assert "totals" not in optimal
    for name, layer in optimal["layers"].items():
        check_front(layer["pareto"])
        assert len(layer["pareto"]) > 1
        for one, other in zip(layer["pareto"], exhaustive["layers"][name]["pareto"], strict=True):
            assert one == pytest.approx(other, rel=1e-9)
        assert len(layer["best"]) == len(layer["pareto"])
    printed = cli(*call)
    assert printed.startswith("resnet8 on aimc_4level, Pareto front of energy and latency of each layer\n")


def test_limits_gap_and_time(cli: Callable[..., str]) -> None:
    call = ("search", "resnet8", "--layer", "conv1", "--arch", "aimc", "--quiet")

    def found(*more: object) -> dict[str, Any]:
        layer: dict[str, Any] = parsed(cli(*call, "--json", *more))[0]["layers"]["conv1"]
        return layer

    edp = found()
    fastest, frugal = found("--objective", "latency"), found("--objective", "energy")
    cycles = frugal["best"][0]["latency_cycles"]["total"]
    assert found("--objective", "energy", "--max-latency-cycles", cycles)["best"][0]["energy_pj"]["total"] == (
        pytest.approx(frugal["best"][0]["energy_pj"]["total"])
    )
    pj = fastest["best"][0]["energy_pj"]["total"]
    kept = found("--objective", "latency", "--max-energy-pj", pj * 1.001)["best"][0]
    assert kept["energy_pj"]["total"] <= pj * 1.001
    assert kept["latency_cycles"]["total"] == fastest["best"][0]["latency_cycles"]["total"]

    for share in ("5%", "0.05"):
        near = found("--gap", share)
        assert near["gap"] <= 0.05 + 1e-9
        assert near["best"][0]["edp_pj_ns"] <= edp["best"][0]["edp_pj_ns"] * 1.05 * (1 + 1e-9)
        assert near["certificate"]["lower_bound"] <= edp["best"][0]["edp_pj_ns"] * (1 + 1e-9)
    timely = found("--time-limit", 60)
    assert timely["optimal"] is True
    assert timely["best"] == edp["best"]
    hurried = found("--time-limit", 0.03)
    assert hurried["optimal"] is (hurried["gap"] == 0)
    assert hurried["best"][0]["edp_pj_ns"] >= edp["best"][0]["edp_pj_ns"]


def test_a_front_within_a_gap(cli: Callable[..., str]) -> None:
    call = (
        "search",
        "resnet8",
        "--layer",
        "conv1",
        "--arch",
        "aimc",
        "--quiet",
        "--objective",
        "pareto",
        "--gap",
        "5%",
    )
    printed = cli(*call)
    assert "(within 5 % of the front)" in printed
    assert printed.rstrip().split("\n")[-1].startswith("within 5 % of the front: ")
    (network,) = parsed(cli(*call, "--json"))
    assert network["complete"] is False
    assert (network["layers"]["conv1"]["optimal"], network["layers"]["conv1"]["gap"]) == (False, 0.05)


def test_an_objective_of_a_higher_power(cli: Callable[..., str], here: Path) -> None:
    call = ("search", "ds_cnn", "--layer", "pw1", "--arch", "aimc", "--quiet", "--objective", "ed2p")
    assert "best ED2P of each layer" in cli(*call)
    best = parsed(cli(*call, "--json"))[0]["layers"]["pw1"]["best"][0]
    (here / "m.json").write_text(json.dumps(best["mapping"]))
    mine = ("evaluate", *call[1:6], "--mapping", "m.json", "--compare", "--objective", "ed2p")
    printed = cli(*mine)
    assert "ED2P equal to the proven optimum" in printed
    assert re.search(r"^ED2P .*J s2 .*J s2$", printed, re.MULTILINE)
    compared = parsed(cli(*mine, "--json"))["comparison"]
    assert compared["optimum"] == pytest.approx(best["edp_pj_ns"] * best["latency_ns"])
    (explained,) = parsed(cli("explain", *call[1:6], "--objective", "ed2p", "--json"))
    assert explained["value"] == compared["optimum"]


@pytest.mark.parametrize(("objective", "key"), [("energy", "energy_pj"), ("latency", "latency_cycles")])
def test_search_for_another_objective(cli: Callable[..., str], objective: str, key: str) -> None:
    call = ("search", "ds_cnn", "--layer", "pw1", "--arch", "aimc", *NARROW, "--objective", objective)
    few = parsed(cli(*call, "--json", "--quiet"))[0]["layers"]["pw1"]
    call = (*call, "--strategy", "exhaustive", "--top", "4")
    layer = parsed(cli(*call, "--json", "--quiet"))[0]["layers"]["pw1"]
    assert len(few["best"]) == 1
    assert few["best"][0][key]["total"] == pytest.approx(layer["best"][0][key]["total"], rel=1e-12)
    assert len(layer["best"]) == 4
    values = [evaluation[key]["total"] for evaluation in layer["best"]]
    assert values == sorted(values)
    assert f"best {objective} of each layer" in cli(*call, "--quiet")


def test_explain_shows_identical_layers_once(cli: Callable[..., str]) -> None:
    printed = cli("search", "ds_cnn", "--arch", "aimc", *NARROW, "--explain", "--quiet")
    assert re.findall(r"^(\w+(?: \(and .*\))?) on aimc$", printed, re.MULTILINE) == [
        "conv1",
        "dw1 (and dw2, dw3, dw4)",
        "pw1 (and pw2, pw3, pw4)",
        "fc",
    ]


def test_constraints_from_a_file_and_from_options(cli: Callable[..., str], here: Path) -> None:
    (here / "c.yaml").write_text("allowed: {D1: [K], D2: [C]}\nlayers: {fc: {spatial: {D1: {K: 12}, D2: {C: 64}}}}\n")
    call = (
        "search",
        "ds_cnn",
        "--layer",
        "pw1",
        "fc",
        "--arch",
        "aimc",
        "--quiet",
        "--json",
        "--constraints",
        "c.yaml",
    )
    layers = parsed(cli(*call, "--loop-factor-limit", "3"))[0]["layers"]
    assert layers["fc"]["best"][0]["mapping"]["spatial"] == {"D1": {"K": 12}, "D2": {"C": 64}}
    for found in layers["pw1"]["best"]:
        assert set(found["mapping"]["spatial"].get("D2", {})) <= {"C"}
        assert len(found["mapping"]["temporal"]) <= 4


def test_zigzag_s_own_candidates(cli: Callable[..., str]) -> None:
    call = ("count", "ds_cnn", "--layer", "pw1", "--arch", "aimc", "--json")
    few = parsed(cli(*call, "--spatial-candidates", "zigzag"))[0]["layers"]["pw1"]["spatial_mappings"]
    assert 0 < few <= 3 < parsed(cli(*call))[0]["layers"]["pw1"]["spatial_mappings"]


def test_files_in_place_of_zoo_names(cli: Callable[..., str], here: Path) -> None:
    (here / "a.yaml").write_text(zoo.text("architecture", "aimc").replace("name: aimc\n", ""))
    (here / "w.yaml").write_text("layers: {one: {K: 8, C: 8, OX: 4, OY: 4}}\n")
    data = parsed(cli("search", "w.yaml", "--arch", "a.yaml", "--json", "--quiet"))[0]
    assert (data["workload"], data["architecture"], list(data["layers"])) == ("w", "a", ["one"])


def test_data_locality_changes_what_layers_cost(cli: Callable[..., str]) -> None:
    call = ("search", "ds_cnn", "--arch", "aimc", *NARROW, "--quiet", "--json")
    local = parsed(cli(*call, "--data-locality"))[0]["totals"]["energy_pj"]
    assert local < parsed(cli(*call))[0]["totals"]["energy_pj"]


def test_announcement_on_stderr_results_on_stdout(here: Path) -> None:
    call = ("search", "ds_cnn", "--layer", "conv1", "fc", "--arch", "aimc", "-o", "r.h5")
    done = run(*call, "--json")
    assert done.returncode == 0
    assert len(parsed(done.stdout)) == 1
    pattern = r"ds_cnn on aimc: [\d,]+ mappings of 2 distinct layers, about 100 kB to r.h5"
    assert re.fullmatch(pattern, done.stderr.strip())
    done = run("search", "ds_cnn", "--layer", "fc", "--arch", "aimc", *NARROW, "--strategy", "exhaustive")
    pattern = r"ds_cnn on aimc: [\d,]+ mappings of 1 distinct layer, less than 1 s to enumerate"
    assert re.fullmatch(pattern, done.stderr.strip())
    assert run(*call, "--json", "--quiet", "--force").stderr == ""
    size = (here / "r.h5").stat().st_size
    assert 50_000 < size < 200_000, "the announced size is about right"


def test_overwriting_takes_force(cli: Callable[..., str], here: Path) -> None:
    call = ("search", "ds_cnn", "--layer", "fc", "--arch", "aimc", "--quiet", "-o", "r.h5")
    assert cli(*call).endswith("stored in r.h5\n")
    cli(*call, code=2)
    cli(*call, "--force")


# --------------------------------------------------------------------------------------------------- users' mistakes

ARCHITECTURE = zoo.text("architecture", "aimc")
WORKLOAD = "layers: {conv: {K: 16, C: 4, OX: 8, OY: 8, FX: 3, FY: 3}}\n"


def edited(old: str, new: str) -> str:
    assert old in ARCHITECTURE
    return ARCHITECTURE.replace(old, new)


NO_OUTPUT = edited("[I, W, O]", "[I, W]").replace("[I, O]", "I").replace("operands: O", "operands: I")

#: (arguments; ARCH, WORK, MAP and CONS stand for files with the text given; what the sentence must hold)
SEARCH = ("search", "WORK", "--arch", "ARCH")
EVALUATE = ("evaluate", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--mapping", "MAP")
ZOO_SEARCH = ("search", "ds_cnn", "--arch", "aimc")
CONSTRAINED = ("search", "ds_cnn", "--layer", "conv1", "--arch", "aimc", "--constraints", "CONS")

IN_FILES: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    # architectures
    (SEARCH, {"ARCH": edited("size_kib: 32", "size_kb: 32")}, "memories.sram_256KB: unknown key size_kb; did you mean"),
    (
        SEARCH,
        {"ARCH": edited("    read_energy_pj: 416.16\n    write_energy_pj: 378.4\n", "    colour: red\n")},
        "colour",
    ),
    (SEARCH, {"ARCH": edited("  kind: analog\n", "")}, "array: the key kind is missing"),
    (SEARCH, {"ARCH": edited("  adc_bits: 8\n", "")}, "an analog array needs adc_bits"),
    (SEARCH, {"ARCH": edited("adc_bits: 8", "adc_bits: eight")}, "adc_bits: must be"),
    (SEARCH, {"ARCH": edited("size_kib: 32", "size_kib: 32 KiB")}, "size_kib: must be a positive integer, not 32 KiB"),
    (SEARCH, {"ARCH": edited("size_kib: 32", "size_kib: -1")}, "size_kib: must be a positive integer, not -1"),
    (SEARCH, {"ARCH": edited("D2: 128}", "D2: 0}")}, "must be a positive integer, not 0"),
    (SEARCH, {"ARCH": edited("bandwidth_bits: 16", "bandwidth_bits: 0")}, "bandwidth_bits: must be a positive integer"),
    (SEARCH, {"ARCH": NO_OUTPUT}, "memories: no memory stores O"),
    (SEARCH, {"ARCH": edited("operands: [I, O]", "operands: []")}, "operands"),
    (
        SEARCH,
        {"ARCH": edited("read_energy_pj: 700", "read_energy_pj: -700")},
        "must be a number of at least 0, not -700",
    ),
    (
        SEARCH,
        {"ARCH": edited("read_energy_pj: 700", "read_energy_pj: .nan")},
        "must be a number of at least 0, not nan",
    ),
    (
        SEARCH,
        {"ARCH": edited("read_energy_pj: 700", "read_energy_pj: 1e308")},
        "must be a number of at least 0 and at most 1e+15, not 1e+308",
    ),
    (SEARCH, {"ARCH": edited("read_energy_pj: 700", "read_energy_pj: '700'")}, "at least 0, not the text '700'"),
    (SEARCH, {"ARCH": edited("serves: D1", "serves: D7")}, "there is no array dimension D7"),
    (SEARCH, {"ARCH": "name: [\n"}, "ARCH, line"),
    (SEARCH, {"ARCH": ""}, "ARCH: is empty"),
    (SEARCH, {"ARCH": "just words\n"}, "must be a mapping"),
    (SEARCH, {"ARCH": edited("size_kib: 32", "size_bits: 8")}, "conv fits nowhere on aimc"),
    # workloads
    (SEARCH, {"WORK": "layers: {conv: {K: 16, Q: 4}}\n"}, "unknown key Q"),
    (SEARCH, {"WORK": "layers: {}\n"}, "lists no layers"),
    (SEARCH, {"WORK": "name: x\n"}, "the key layers is missing"),
    (SEARCH, {"WORK": "layers: {conv: {K: -16}}\n"}, "K: must be a positive integer, not -16"),
    (SEARCH, {"WORK": "layers: {conv: {K: '16'}}\n"}, "K: must be a positive integer, not the text '16'"),
    (SEARCH, {"WORK": "layers: {conv: {K: 99999999999999999999}}\n"}, "K: must be between 1 and 9007199254740992"),
    (SEARCH, {"WORK": "layers: {conv: {K: 1000003, C: 1000003, OX: 1000003}}\n"}, "MACs, more than 2**53"),
    (SEARCH, {"WORK": "layers: {conv: {K: 0}}\n"}, "K: must be a positive integer, not 0"),
    (SEARCH, {"WORK": "layers: {conv: {K: 2.5}}\n"}, "K: must be a positive integer, not 2.5"),
    (SEARCH, {"WORK": "layers: {a: {K: 2, from: b}}\n"}, "there is no layer b"),
    (SEARCH, {"WORK": "layers: {a: {skip: Relu}}\n"}, "has no layer that maps to an array"),
    (SEARCH, {"WORK": "layers: {conv: {K: 4, weight_bits: 0}}\n"}, "must be a number of bits between 1 and 4096"),
    # what fits nowhere
    (
        SEARCH,
        {"WORK": "layers: {conv: {K: 4, C: 4, OX: 8, OY: 8, FX: 3, FY: 3, input_bits: 16}}\n"},
        "conv fits nowhere on aimc",
    ),
    # mappings
    (EVALUATE, {"MAP": MAPPING.replace("K: 64", "K: 128")}, "the factor 128 is larger than the loop of size 64"),
    (EVALUATE, {"MAP": MAPPING.replace("FX: 4", "FX: 4, K: 8")}, "320 units are needed, and the array has 128"),
    (EVALUATE, {"MAP": MAPPING.replace("[OX, 5], ", "")}, "the factors of OX multiply to 1, and 5 are needed"),
    (EVALUATE, {"MAP": MAPPING.replace("D2", "D9")}, "aimc has no such array dimension"),
    (EVALUATE, {"MAP": MAPPING.replace("temporal", "tempral")}, "unknown key tempral; did you mean temporal?"),
    (EVALUATE, {"MAP": MAPPING.replace("[OX, 5]", "[OX, five]")}, "must be a positive integer, not five"),
    (EVALUATE, {"MAP": MAPPING.replace("[OX, 5]", "[QX, 5]")}, "QX"),
    (EVALUATE, {"MAP": "- name: default\n"}, "constraints of a search and not one mapping"),
    (EVALUATE, {"MAP": "spatial: {\n"}, "MAP, line"),
    (EVALUATE, {"MAP": WITH_ALLOCATION.replace("I: [0,", "I: [2,")}, "does not fit rf_1B: "),
    (EVALUATE, {"MAP": WITH_ALLOCATION.replace("I: [0,", "I: [2,")}, "200 bits there as allocated, 8 are available"),
    (EVALUATE, {"MAP": WITH_ALLOCATION.replace("W: [3, 3]", "W: [3]")}, "allocation.W: must have 2 numbers"),
    (EVALUATE, {"MAP": WITH_ALLOCATION.replace("W: [3, 3]", "W: [3, 2]")}, "allocation.W: must not decrease"),
    (EVALUATE, {"MAP": WITH_ALLOCATION.replace("W: [3, 3], ", "")}, "operand W is missing"),
    # constraints
    (CONSTRAINED, {"CONS": "max_spatial_mappings: 0\n"}, "max_spatial_mappings: must be a positive integer, not 0"),
    (CONSTRAINED, {"CONS": "max_mappings: 3\n"}, "unknown key max_mappings"),
    (CONSTRAINED, {"CONS": "allowed: {D5: [K]}\n"}, "no array dimension"),
    (CONSTRAINED, {"CONS": "spatial: {D1: {K: 100}}\n"}, "the factor 100 is larger than the loop of size 64"),
    (CONSTRAINED, {"CONS": "temporal: [[K, 3]]\n"}, "the fixed temporal order does not multiply"),
    (CONSTRAINED, {"CONS": "min_array_utilization: 0.9\n"}, "no spatial mapping uses min_array_utilization = 0.9"),
]

ENUMERATE = ("search", "resnet18", "--layer", "conv1", "--arch", "aimc", "--strategy", "exhaustive")

ON_THE_LINE: list[tuple[tuple[str, ...], str]] = [
    ((), "the following arguments are required: COMMAND"),
    (("serach",), "invalid choice: 'serach'"),
    (("search",), "the following arguments are required: WORKLOAD, --arch"),
    (("search", "ds_cnn"), "the following arguments are required: --arch"),
    ((*ZOO_SEARCH, "--sped"), "unrecognized arguments: --sped"),
    (("search", "ds_cn", "--arch", "aimc"), "there is no workload ds_cn; did you mean ds_cnn?"),
    (("search", "ds_cnn", "--arch", "aimcc"), "there is no architecture aimcc; did you mean aimc?"),
    (("search", "no/such.yaml", "--arch", "aimc"), "there is no file no/such.yaml"),
    (("search", "no/such.onnx", "--arch", "aimc"), "no/such.onnx"),
    (("search", "ds_cnn", "--arch", "aimc", "dimc", "aimc"), "two architectures have the same name"),
    ((*ZOO_SEARCH, "--layer", "conv2"), "ds_cnn has no layer conv2; did you mean conv1?"),
    ((*ZOO_SEARCH, "--objective", "speed"), "objective must be one of energy, latency, edp"),
    ((*ZOO_SEARCH, "--strategy", "guess"), "strategy must be one of"),
    ((*ZOO_SEARCH, "--cost-model", "mine"), "cost_model must be one of"),
    ((*ZOO_SEARCH, "--top", "0"), "top must be an integer from 1 to 100000, not 0"),
    ((*ZOO_SEARCH, "--top", "many"), "argument --top: invalid int value: 'many'"),
    ((*ZOO_SEARCH, "--top", "3"), "top needs the strategy exhaustive"),
    ((*ZOO_SEARCH, "--objective", "ed2p", "--strategy", "exhaustive"), "the objective ed2p needs the strategy optimal"),
    ((*ZOO_SEARCH, "--objective", "ed2p", "--allocation", "greedy"), "the objective ed2p needs all allocations"),
    ((*ZOO_SEARCH, "--gap", "1%", "--allocation", "greedy"), "gap needs all allocations"),
    ((*ZOO_SEARCH, "--objective", "ed10p"), "objective must be one of energy, latency, edp, ed2p"),
    ((*ZOO_SEARCH, "--objective", "ed02p"), "objective must be one of energy, latency, edp, ed2p"),
    ((*ZOO_SEARCH, "--objective", "ed0p"), "objective must be one of energy, latency, edp, ed2p"),
    ((*ZOO_SEARCH, "--gap", "2"), "gap must be a share of at least 0 and below 1, not 2.0"),
    ((*ZOO_SEARCH, "--gap", "100%"), "gap must be a share of at least 0 and below 1, not 1.0"),
    ((*ZOO_SEARCH, "--gap", "nan"), "gap must be a share of at least 0 and below 1, not nan"),
    ((*ZOO_SEARCH, "--gap", "little"), "--gap must be a share such as 1% or 0.01, not 'little'"),
    ((*ZOO_SEARCH, "--time-limit", "0"), "time_limit must be a positive number, not 0.0"),
    ((*ZOO_SEARCH, "--time-limit", "soon"), "argument --time-limit: invalid float value: 'soon'"),
    ((*ZOO_SEARCH, "--max-energy-pj", "-1"), "max_energy_pj must be a positive number, not -1.0"),
    ((*ZOO_SEARCH, "--max-latency-cycles", "nan"), "max_latency_cycles must be a positive number, not nan"),
    ((*ZOO_SEARCH, "--strategy", "exhaustive", "--gap", "0.1"), "gap needs the strategy optimal"),
    ((*ZOO_SEARCH, "--strategy", "exhaustive", "--time-limit", "3"), "time_limit needs the strategy optimal"),
    ((*ZOO_SEARCH, "--objective", "energy", "--max-energy-pj", "9"), "max_energy_pj makes no sense with"),
    ((*ZOO_SEARCH, "--layer", "fc", "--quiet", "--max-energy-pj", "9"), "no mapping keeps within max_energy_pj = 9"),
    ((*ZOO_SEARCH, "--allocation", "all"), "--allocation must be one of free, even, greedy, not all"),
    ((*ZOO_SEARCH, "--threads", "-2"), "threads must be an integer from 1 to 1024, not -2"),
    ((*ZOO_SEARCH, "--max-spatial-mappings", "0"), "--max-spatial-mappings must be a positive integer, not 0"),
    ((*ZOO_SEARCH, "--max-spatial-mappings", "-1"), "--max-spatial-mappings must be a positive integer, not -1"),
    ((*ZOO_SEARCH, "--min-array-utilization", "1.5"), "--min-array-utilization must be a number above 0 and at most 1"),
    ((*ZOO_SEARCH, "--min-array-utilization", "nan"), "--min-array-utilization must be a positive number"),
    ((*ZOO_SEARCH, "--loop-factor-limit", "0"), "--loop-factor-limit must be a positive integer"),
    ((*ZOO_SEARCH, "--spatial-candidates", "some"), "--spatial-candidates must be one of complete, zigzag, not some"),
    (
        (*ZOO_SEARCH, "--spatial-candidates", "zigzag", "--spatial-factors", "D1:K=2"),
        "ZigZag's generator takes no factors to choose from",
    ),
    ((*ZOO_SEARCH, "--spatial-factors", "D1:K=2", "--spatial", "D1:K=4"), "the factor 4 is not one of spatial_factors"),
    ((*ZOO_SEARCH, "--constraints", "there.h5"), "there.h5"),
    (("search", "there.h5", "--arch", "aimc"), "there.h5"),
    ((*ZOO_SEARCH, "-o", ""), "is a folder"),
    ((*ZOO_SEARCH, "-o", "notes.txt/r.h5"), "notes.txt/r.h5: the folder notes.txt does not exist"),
    ((*ZOO_SEARCH, "-o", "other.h5", "--force"), "other.h5: is not a result file of fastmap and is not overwritten"),
    (("explain", "ds_cnn", "--arch", "aimc", "--objective", "pareto"), "a Pareto front has no single best mapping"),
    (("macro", "aimc", "dimc", "aimc"), "macro: two architectures have the same name (aimc, dimc, aimc)"),
    ((*ZOO_SEARCH, "--constraints", "none.yaml"), "there is no file none.yaml"),
    ((*ZOO_SEARCH, "-o", "missing/r.h5"), "missing/r.h5: the folder missing does not exist"),
    ((*ZOO_SEARCH, "-o", "."), "is a folder"),
    ((*ZOO_SEARCH, "-o", "there.h5"), "there.h5: exists already"),
    ((*ZOO_SEARCH, "-o", "notes.txt", "--force"), "notes.txt: is not a result file of fastmap and is not overwritten"),
    ((*ENUMERATE, "-o", "r.h5"), "which would take about"),
    (("search", "resnet18", "--arch", "aimc", "-o", "there.h5"), "there.h5: exists already"),
    (("evaluate", "ds_cnn", "--arch", "aimc", "--mapping", "m.yaml"), "evaluate takes one layer"),
    (("evaluate", "ds_cnn", "--arch", "aimc", "--layer", "fc", "--mapping", "m.yaml"), "there is no file m.yaml"),
    (("evaluate", "ds_cnn", "--arch", "aimc", "--layer", "fc", "--mapping", "."), "is a directory"),
    (("evaluate", "ds_cnn", "--arch", "aimc", "--layer", "fc", "--mapping", "there.h5"), "there.h5"),
    (("evaluate", "ds_cnn", "--arch", "aimc", "--layer", "fc"), "the following arguments are required: --mapping"),
    (("count", "ds_cnn", "--arch", "nope"), "there is no architecture nope"),
    (("macro", "nope"), "there is no architecture nope"),
    (("macro", "ds_cnn"), "there is no architecture ds_cnn"),
    (("macro", "aimc", "--variant", "ideal"), "variant must be one of zigzag, zigzag-imc, paper"),
    (("zoo", "aimcc"), "the zoo has no aimcc; did you mean aimc?"),
]


def check_refused(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str, started: bool = False
) -> None:
    """One sentence on stderr, nothing on stdout, exit code 2, and not a byte of the folder changed. A search that has
    ``started`` may have locked its output meanwhile.
    """
    before = snapshot(here)
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    warnings_left_out = [line for line in captured.err.splitlines() if ": warning: " not in line]
    assert len(warnings_left_out) == 1, captured.err
    sentence = warnings_left_out[0]
    assert sentence.startswith("fastmap")
    assert expected in sentence
    assert "Traceback" not in sentence
    assert captured.out == ""
    assert code == 2
    after = snapshot(here)
    if started:
        before.pop(str(here))
        after.pop(str(here))
    assert after == before


@pytest.mark.parametrize(("arguments", "expected"), ON_THE_LINE)
def test_mistakes_on_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    with h5py.File(here / "there.h5", "w") as file:
        file.attrs["format"] = "fastmap"
    with h5py.File(here / "other.h5", "w") as file:
        file["precious"] = 1
    (here / "notes.txt").write_text("precious\n")
    check_refused(here, capsys, arguments, expected)


@pytest.mark.parametrize(("arguments", "files", "expected"), IN_FILES)
def test_mistakes_in_files(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    files: dict[str, str],
    expected: str,
) -> None:
    texts = {"ARCH": ARCHITECTURE, "WORK": WORKLOAD} | files
    for name in set(texts) & set(arguments):
        (here / name).write_text(texts[name])
    # A name without an ending would be looked up in the zoo.
    arguments = tuple(f"./{each}" if each in texts else each for each in arguments)
    if arguments[0] == "search":
        arguments += ("-o", "out.h5", "--quiet")
    check_refused(here, capsys, arguments, expected)


def test_a_time_limit_beyond_every_clock_is_none(cli: Callable[..., str]) -> None:
    for limit in ("inf", "1e300"):
        printed = cli("search", "ds_cnn", "--layer", "fc", "--arch", "aimc", "--quiet", "--time-limit", limit)
        assert "proven optimal" in printed


NO_ENERGY = """
name: free
array: {kind: mac, dimensions: {D1: 8, D2: 8}, activation_bits: 8, weight_bits: 8}
memories:
  cells: {size_bits: 8, operands: W, serves: [], bandwidth_bits: 8, read_energy_pj: 0, write_energy_pj: 0}
  dram: {size_kib: 4096, operands: [I, W, O], bandwidth_bits: 64, read_energy_pj: 0, write_energy_pj: 0}
"""


def test_an_architecture_without_energies(
    cli: Callable[..., str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is a share of nothing."""
    (here / "a.yaml").write_text(NO_ENERGY)
    (here / "w.yaml").write_text("layers: {one: {K: 8, C: 4, OX: 6}}\n")
    call = ("search", "w.yaml", "--arch", "a.yaml", "--quiet")
    for more in (("--strategy", "exhaustive"), ("--objective", "pareto"), ("--objective", "energy", "--gap", "1%")):
        assert "one  " in cli(*call, *more)
    best = parsed(cli(*call, "--json"))[0]["layers"]["one"]["best"][0]
    (here / "m.json").write_text(json.dumps(best["mapping"]))
    check_refused(here, capsys, ("explain", "w.yaml", "--arch", "a.yaml"), "costs no energy")
    mapping = ("--arch", "a.yaml", "--mapping", "m.json")
    check_refused(here, capsys, ("evaluate", "w.yaml", *mapping, "--compare"), "costs no energy")
    assert "one on free" in cli("evaluate", "w.yaml", *mapping, "--explain")


def test_the_table_has_every_kind_of_mistake() -> None:
    assert len(IN_FILES) + len(ON_THE_LINE) > 80


def test_a_layer_that_turns_out_to_fit_nowhere_leaves_no_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the search finds out: one weight fits the cells, but not all of them that the unrolling needs at once."""
    architecture = yaml.safe_load(ARCHITECTURE)
    architecture["memories"]["dram"]["size_bits"] = architecture["memories"]["sram_256KB"]["size_kib"] * 8192
    (here / "a.yaml").write_text(yaml.safe_dump(architecture, sort_keys=False))
    (here / "w.yaml").write_text("layers: {one: {K: 64, C: 1024, OX: 8, OY: 8}}\n")
    arguments = ("search", "w.yaml", "--arch", "a.yaml", "-o", "r.h5", "--quiet", "--loop-factor-limit", "4")
    check_refused(here, capsys, arguments, "none of its ", started=True)


def test_undecodable_and_odd_arguments(here: Path) -> None:
    for name in (b"\xff\xfe.yaml", "漢字.yaml".encode(), b"two\nlines.yaml"):
        done = subprocess.run(
            [*FASTMAP, "search", name, "--arch", "aimc"], capture_output=True, env={**os.environ, "LC_ALL": "C"}
        )
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"Traceback" not in done.stderr


def test_odd_characters_in_results_on_a_plain_terminal(here: Path) -> None:
    (here / "w.yaml").write_text("name: 漢字\nlayers: {größe→1: {K: 4, C: 4}}\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    name = os.fsdecode(b"\xff.h5")
    done = run("search", "w.yaml", "--arch", "aimc", "--quiet", "-o", name, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"gr\xf6\xdfe\u21921" in done.stdout
    assert contents(name) == [("aimc", "größe→1")]


# --------------------------------------------------------------------------------------------- pipes and full disks


def test_head_may_leave_early() -> None:
    command = " ".join(FASTMAP)
    for rest, reader in (
        ("zoo --json", "head -n 1"),
        ("zoo", "true"),
        ("--help", "true"),
        ("--help", "head -n 1"),
        ("count ds_cnn --arch aimc --json", "head -n 1"),
    ):
        script = f"set -o pipefail; {command} {rest} | {reader}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert done.stderr == "", script
        assert done.returncode == 0, script


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_at_stdout() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FASTMAP, "zoo"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "fastmap: cannot write the output: No space left on device\n"


def test_results_are_shown_when_they_cannot_be_stored(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastmap.errors import StoreError

    write = ResultFile.write

    def second_fails(self: ResultFile, result: fm.SearchResult, name: str | None = None) -> None:
        if name != "conv1":
            raise StoreError("r.h5: cannot be written: No space left on device")
        write(self, result, name)

    monkeypatch.setattr(ResultFile, "write", second_fails)
    assert main(["search", "ds_cnn", "--layer", "conv1", "fc", "--arch", "aimc", *NARROW, "--quiet", "-o", "r.h5"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "fastmap: r.h5: cannot be written: No space left on device\n"
    assert re.search("^conv1 ", captured.out, re.MULTILINE)
    assert re.search("^fc ", captured.out, re.MULTILINE)
    assert contents("r.h5") == [("aimc", "conv1")]


# ---------------------------------------------------------------------------------------------------------- Ctrl-C


def interrupted(arguments: tuple[str, ...], ready: Callable[[int], bool]) -> tuple[int, str, str, float]:
    """Run a command, press Ctrl-C once its process is ready; return code, stdout, stderr and how long it still took."""
    with subprocess.Popen([*FASTMAP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not ready(process.pid):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            out, err = process.communicate(timeout=30)
            return process.returncode, out, err, time.monotonic() - start
        finally:
            process.kill()


#: The first layer takes a moment, the second one minutes.
LONG = ("search", "resnet18", "--layer", "fc", "conv1", "--arch", "aimc", "--force", "--strategy", "exhaustive")


def test_ctrl_c_keeps_what_is_done(here: Path) -> None:
    path = here / "r.h5"
    limits = ("--max-spatial-mappings", "5", "-o", "r.h5")
    code, out, err, seconds = interrupted((*LONG, *limits), lambda _: path.exists())
    assert code == 130
    assert seconds < 3  # about one; the machine may be busy
    assert err.splitlines()[-1] == "fastmap: interrupted; what was done is stored, and --resume goes on"
    assert "Traceback" not in err
    assert re.search("^fc ", out, re.MULTILINE)
    assert contents(path)[0][1] == "fc"
    finished = fm.SearchResult.load(path, layer="fc")
    assert finished.complete
    if len(contents(path)) == 2:
        cut = fm.SearchResult.load(path, layer="conv1")
        assert not cut.complete
        assert cut.statistics["mappings_evaluated"] < cut.statistics["mappings_total"]
        assert cut.best[0].energy_pj.total > 0
        assert "(stopped early)" in out
    assert {each.name for each in here.iterdir()} <= {"r.h5", "r.h5.parts"}


def test_ctrl_c_with_json(here: Path) -> None:
    path = here / "r.h5"
    code, out, _, _ = interrupted(
        (*LONG, "--max-spatial-mappings", "5", "-o", "r.h5", "--json"), lambda _: path.exists()
    )
    assert code == 130
    data = parsed(out)
    assert data[0]["layers"]["fc"]["optimal"] is True
    if "conv1" in data[0]["layers"]:
        assert data[0]["complete"] is data[0]["layers"]["conv1"]["optimal"] is False


def test_ctrl_c_while_a_compiled_function_returns() -> None:
    """Python then says that the function "returned a result with an exception set"."""
    interrupt = Interrupt()
    with pytest.raises(SystemError), interrupt.noticed():
        raise SystemError
    interrupt.came = True
    with pytest.raises(KeyboardInterrupt), interrupt.noticed():
        raise SystemError


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
@pytest.mark.parametrize("hundredths", [*range(0, 120, 12)])
def test_ctrl_c_at_any_moment(here: Path, hundredths: int) -> None:
    """While modules are imported, kernels are loaded (where an exception may get lost), spaces counted, or searched."""
    started: list[float] = []

    def ready(process: int) -> bool:
        if not started and "numpy" in Path(f"/proc/{process}/maps").read_text():
            started.append(time.monotonic())
        return bool(started) and time.monotonic() > started[0] + hundredths / 100

    code, _, err, seconds = interrupted((*LONG, "-o", "r.h5"), ready)
    assert code == 130, err
    assert seconds < 3
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("fastmap: interrupted")
    assert {each.name for each in here.iterdir()} <= {"r.h5", "r.h5.parts"}
    if (here / "r.h5").exists():
        assert contents("r.h5")


def test_ctrl_c_while_a_kernel_is_loaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The compiler turns the KeyboardInterrupt into a SystemError; any other SystemError is ours."""

    def interrupted_loading(options: argparse.Namespace) -> int:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise SystemError("returned a result with an exception set")

    def broken(options: argparse.Namespace) -> int:
        raise SystemError("broken")

    monkeypatch.setattr("fastmap.cli._zoo", interrupted_loading)
    assert main(["zoo"]) == 130
    assert capsys.readouterr().err == "fastmap: interrupted\n"
    monkeypatch.setattr("fastmap.cli._zoo", broken)
    with pytest.raises(SystemError, match="broken"):
        main(["zoo"])


def test_the_exit_code_is_130_wherever_it_hits() -> None:
    """Inside exec (which dataclasses and named tuples use) Python would otherwise end by the signal."""
    script = """
import sys
import fastmap.cli
fastmap.cli._zoo = lambda options: exec("raise KeyboardInterrupt")
sys.exit(fastmap.cli.main(["zoo"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "fastmap: interrupted\n")


@pytest.mark.parametrize("strategy", ["optimal", "exhaustive"])
def test_an_interrupt_that_gets_lost_is_remembered(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """As it happens in a callback from compiled code, whose exceptions Python ignores."""
    import fastmap.optimal
    import fastmap.recorded

    module = {"optimal": fastmap.optimal, "exhaustive": fastmap.recorded}[strategy]
    compile_kernels = module.compile_kernels

    def deaf(space: object) -> float:
        seconds = compile_kernels(space)  # type: ignore[arg-type]
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return seconds

    monkeypatch.setattr(module, "compile_kernels", deaf)
    before = signal.getsignal(signal.SIGINT)
    assert main([*LONG[:-1], strategy, "-o", "r.h5", "--quiet"]) == 130
    assert capsys.readouterr().err == "fastmap: interrupted\n"
    assert list(here.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_counting_keeps_what_is_counted(cli: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    from fastmap import counting

    count_valid, calls = counting.count_valid, []

    def interrupted(*arguments: Any, **named: Any) -> int | None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return count_valid(*arguments, **named)

    monkeypatch.setattr(counting, "count_valid", interrupted)
    counted = parsed(cli("count", "ds_cnn", "--arch", "aimc", "--json", code=130))[0]
    numbers = [layer["valid_mappings"] for layer in counted["layers"].values()]
    assert numbers[0] > 0
    assert numbers[1] is None
