"""Proven optima, costed by zigzag-dse itself: its cost model is given the mapping with its allocation, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import fastmap as fm
from benchmarks import zigzag_search
from fastmap.repair_effects import repairs

from .problems import deviation
from .reference import zigzag_live

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(bool(zigzag_live.missing()), reason=zigzag_live.missing() or "zigzag-dse is there"),
]

TOLERANCE = 1e-9
#: Some strided layers take longer; what they have by then is compared as well, but is not counted as an optimum.
SECONDS = 1.0
OBJECTIVES = ("energy", "latency", "edp")
ARCHITECTURES = ("aimc", "dimc", "aimc_4level")
#: Convolutions, the first of a network and strided ones among them; point-wise, depth-wise and dense layers.
LAYERS = (
    ("resnet8", "conv1"),
    ("resnet8", "conv4"),
    ("resnet8", "fc"),
    ("ds_cnn", "conv1"),
    ("ds_cnn", "dw1"),
    ("ds_cnn", "pw1"),
    ("mobilenet_v1_025", "dw2"),
    ("mobilenet_v1_025", "pw1"),
    ("autoencoder", "fc1"),
)


def by_zigzag(layer: fm.Layer, architecture: fm.Architecture, mapping: fm.Mapping) -> tuple[float, float]:
    """Energy in pJ and latency in cycles, by ZigZag."""
    (entry,) = zigzag_search.workload(layer)
    assert mapping.allocation is not None
    cost = zigzag_live.evaluate_with_zigzag(
        {key: value for key, value in entry.items() if key not in ("id", "operand_source", "operator_type")},
        accelerator(architecture.name),
        {name: dict(factors) for name, factors in mapping.spatial.unrolling.items()},
        mapping.temporal,
        mapping.allocation,
    )
    return float(cost["energy_total"]), float(cost["latency_total2"])


@functools.cache
def accelerator(name: str) -> dict[str, Any]:
    """ZigZag's own file where there is one."""
    path = zigzag_search.HARDWARE / f"{name}.yaml"
    if path.exists():
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    return zigzag_search.accelerator(fm.load_architecture(name))


def optima(architecture: fm.Architecture, cost_model: str) -> Iterator[tuple[str, fm.Layer, fm.Mapping, bool]]:
    """A name, the layer, the best mapping of all, and whether it is proven."""
    for network, name in LAYERS:
        layer = fm.load_workload(network)[name]
        for objective in OBJECTIVES:
            found = fm.search(layer, architecture, objective, cost_model=cost_model, time_limit=SECONDS)
            yield f"{network} {name}, {objective}", layer, found.best[0].mapping, found.optimal


def compare(name: str, layer: fm.Layer, architecture: fm.Architecture, mapping: fm.Mapping, cost_model: str) -> None:
    """Fail where ZigZag's energy or latency is not ours."""
    ours = fm.evaluate(layer, architecture, mapping, cost_model)
    energy, cycles = by_zigzag(layer, architecture, mapping)
    assert deviation(ours.energy_pj.total, energy) <= TOLERANCE, name
    assert deviation(ours.latency_cycles.total, cycles) <= TOLERANCE, name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_optima_of_zigzags_model_cost_in_zigzag_what_is_claimed(name):
    architecture, proven = fm.load_architecture(name), 0
    for case, layer, mapping, optimal in optima(architecture, "zigzag"):
        compare(case, layer, architecture, mapping, "zigzag")
        proven += optimal
    assert proven >= len(LAYERS), "a third of the optima or more is to be proven"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_optima_of_the_corrected_model_cost_the_same_where_nothing_is_repaired(name):
    """Where a repair changes the mapping's cost, ZigZag's numbers are at least those of the model ``zigzag``."""
    architecture, unrepaired = fm.load_architecture(name), 0
    for case, layer, mapping, optimal in optima(architecture, "corrected"):
        changed = any(repair.applies for repair in repairs(layer, architecture, mapping))
        compare(case, layer, architecture, mapping, "zigzag" if changed else "corrected")
        unrepaired += optimal and not changed
    assert unrepaired, "some proven optimum is to need no repair"
