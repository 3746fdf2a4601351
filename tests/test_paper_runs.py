"""The runs behind the paper's Fig. 10 to 12 against the authors' data (see data/paper/README.md)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fastmap import evaluate
from fastmap.architecture import Architecture
from fastmap.paper_runs import OPERATIONS, PARTS, PaperCost, PaperMapping, paper_cost, paper_layers, paper_search
from fastmap.paper_system import fits_buffer, paper_system
from fastmap.peak import peak_point

ROOT = Path(__file__).parent
RUNS: list[dict[str, Any]] = json.loads(gzip.decompress((ROOT / "data" / "paper" / "workloads.json.gz").read_bytes()))
IDS = [f"{run['network']}-{run['kind']}-{run['size']}" for run in RUNS]
#: The authors' count of adders for a number of rows that is not whole, see `fastmap.paper_runs`.
UNEVEN = ("autoencoder", "digital", 256, "fc1")


@cache
def system(kind: str, size: int) -> Architecture:
    return paper_system(kind, size)


@cache
def searched(kind: str, size: int, network: str, submitted: bool) -> tuple[PaperCost, ...]:
    known: dict[tuple[object, ...], PaperCost] = {}
    for layer in paper_layers(network):
        if layer.signature not in known:
            known[layer.signature] = paper_search(layer, system(kind, size), submitted)
    return tuple(known[layer.signature] for layer in paper_layers(network))


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_the_authors_mappings_cost_what_they_did(run: dict[str, Any]) -> None:
    """Every part of the energy of every layer, and the cycles, of the submitted version."""
    for layer, stored in zip(paper_layers(run["network"]), run["layers"], strict=True):
        assert {dim: layer.size(dim) for dim in stored["dims"]} == stored["dims"]
        mapping = PaperMapping(stored["spatial"], tuple((dim, count) for dim, count in stored["order"]))
        found = paper_cost(layer, system(run["kind"], run["size"]), mapping, submitted=True)
        uneven = (run["network"], run["kind"], run["size"], layer.name) == UNEVEN
        for part in PARTS:
            expected = pytest.approx(stored[f"{part}_pj"], rel=1e-9, abs=1e-9)
            assert found.energy_pj[part] == expected or (uneven and part == "array"), (layer.name, part)
        assert found.latency_cycles == pytest.approx(stored["cycles"], rel=1e-12)


@pytest.mark.parametrize("version", ["submitted", "published"])
@pytest.mark.parametrize("run", [run for run in RUNS if run["size"] in (32, 256)], ids=lambda run: run["network"])
def test_figure_12(run: dict[str, Any], version: str) -> None:
    """Networks from scratch, with the mappings that the authors' mapper finds."""
    found = searched(run["kind"], run["size"], run["network"], version == "submitted")
    energy_pj = sum(cost.total_pj for cost in found)
    delay_ns = sum(cost.latency_cycles for cost in found) * run["clock_ns"]
    operations = OPERATIONS[run["network"]]
    close = 3e-4 if (run["network"], run["kind"], run["size"]) == UNEVEN[:3] else 1e-9
    assert operations / energy_pj == pytest.approx(run[version]["tops_per_watt"], rel=close)
    assert operations / delay_ns / 1000 / run["area_mm2"] == pytest.approx(run[version]["tops_per_mm2"], rel=1e-9)


@pytest.mark.parametrize("run", RUNS[:24:3], ids=IDS[:24:3])
def test_clock_and_area(run: dict[str, Any]) -> None:
    point = peak_point(run["kind"], run["size"])
    assert point.macro.clock_ns["total"] == pytest.approx(run["clock_ns"], rel=1e-12)
    area = point.system.area_mm2
    assert area["macro"] + area["buffer"] == pytest.approx(run["area_mm2"], rel=1e-12)


@pytest.mark.parametrize("kind", ["analog", "digital"])
@pytest.mark.parametrize("spatial", [{"K": 8.0, "C": 64.0}, {"K": 4.0, "OX": 2.0, "C": 32.0}], ids=["plain", "two"])
def test_without_windows_the_present_model_agrees(kind: str, spatial: dict[str, float]) -> None:
    """Both models count alike what none of their differences touches: a pointwise layer that fills the array."""
    layer = next(layer for layer in paper_layers("mobilenet_v1_025") if layer.name == "pw5")
    left = {dim: int(layer.size(dim) / spatial.get(dim, 1.0)) for dim in ("OX", "OY", "K", "C")}
    mapping = PaperMapping(spatial, tuple((dim, count) for dim, count in left.items() if count > 1))
    on = system(kind, 64)
    theirs, ours = paper_cost(layer, on, mapping), evaluate(layer, on, mapping.to_mapping())
    spent = {"array": ours.energy_pj.mac}
    for operand, levels in ours.energy_pj.memory_breakdown.items():
        for level in levels:
            name = {"W": "", "I": "input_", "O": "output_"}[operand] + level["memory"].split("_")[-1]
            name = name.replace("register", "registers")
            spent[name] = sum(value for key, value in level.items() if key != "memory")
    assert spent == pytest.approx(theirs.energy_pj, rel=1e-12)


def test_all_layers_of_the_study_fit_the_buffer() -> None:
    assert all(fits_buffer(layer) for network in OPERATIONS for layer in paper_layers(network))


def test_the_results_in_the_repository_are_these() -> None:
    """Some of `python benchmarks/paper_networks.py` again."""
    stored = json.loads((ROOT.parent / "results" / "paper_networks.json").read_text(encoding="utf-8"))
    assert len(stored) == len(RUNS)
    for entry in stored:
        if entry["size"] != 32:
            continue
        for version in ("submitted", "published"):
            found = searched(entry["kind"], entry["size"], entry["network"], version == "submitted")
            figure = OPERATIONS[entry["network"]] / sum(cost.total_pj for cost in found)
            assert entry[version]["ours"]["tops_per_watt"] == pytest.approx(figure, rel=1e-9)
