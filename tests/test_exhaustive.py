"""The enumeration of complete spaces adds up partial sums of the operands: every mapping, found by it or picked at
random, costs what ``fastmap.evaluate`` says, and is counted once.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from fastmap import evaluate
from fastmap.dimensions import OPERANDS
from fastmap.errors import FastmapError, MappingError
from fastmap.exploration import Options, search_space
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace, encode_allocation
from fastmap.result import Points, SearchResult

from . import problems

TOLERANCE = 1e-12
TOP = 20_000

LAYERS = {
    "convolution": Layer(name="convolution", K=8, C=6, OX=6, OY=2, FX=3, FY=1),
    "strided": Layer(name="strided", K=5, C=3, OX=7, OY=4, FX=3, FY=3, stride_x=2, stride_y=2),
    "depthwise": Layer(name="depthwise", G=6, OX=8, OY=4, FX=3, FY=3),
    "pointwise": Layer(name="pointwise", K=96, C=160, OX=12, OY=4),
    "dense": Layer(name="dense", K=600, C=640),
    "batch": Layer(name="batch", B=6, K=300, C=260),
    "fractional": Layer(name="fractional", K=385, C=4, OX=9, OY=2),
}
ZOO = ("aimc", "dimc", "aimc_4level", "dimc_cellgroups")


def enumerated(space: Mapspace, threads: int = 1, top: int = TOP) -> SearchResult:
    return search_space(space, Options("energy", "exhaustive", top=top, threads=threads))


def space_of(layer: Layer, architecture: str, model: str) -> Mapspace:
    """A few spatial mappings, and loops merged so that there are few enough distinct costs."""
    return Mapspace.build(
        layer, load_architecture(architecture), Constraints(max_spatial_mappings=2, loop_factor_limit=5), model
    )


def costs_of(space: Mapspace, spatial: int, rank: int, code: int) -> tuple[float, float] | None:
    """What ``evaluate`` says, None where the mapping does not fit."""
    try:
        cost = evaluate(space.layer, space.architecture, space.decode(spatial, rank, code), space.cost_model)
    except MappingError:
        return None
    return cost.energy_pj.total, cost.latency_cycles.total


def close(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return all(math.isclose(x, y, rel_tol=TOLERANCE) for x, y in zip(a, b, strict=True))


def contains(points: Points, cost: tuple[float, float]) -> bool:
    return bool(
        np.any(
            np.isclose(points.energy_pj, cost[0], rtol=TOLERANCE, atol=0.0)
            & np.isclose(points.latency_cycles, cost[1], rtol=TOLERANCE, atol=0.0)
        )
    )


def random_code(pick: random.Random, space: Mapspace, loops: int) -> int:
    """Cuts that tend to be low, as those of small memories are."""
    allocation = {}
    for o, operand in enumerate(OPERANDS):
        most = pick.choice((0, 1, loops // 2, loops))
        lower = sorted(pick.randint(0, most) for _ in range(int(space.problem["levels"][o]) - 1))
        allocation[operand] = (*lower, loops)
    return encode_allocation(allocation, loops)


@pytest.mark.parametrize("architecture", ZOO)
@pytest.mark.parametrize("name", LAYERS)
def test_mappings_cost_what_evaluate_says(name: str, architecture: str) -> None:
    model = "zigzag" if name in ("strided", "pointwise", "fractional") else "corrected"
    space = space_of(LAYERS[name], architecture, model)
    points = enumerated(space).points["energy"]
    pick = random.Random(f"{name} {architecture}")
    for number in pick.sample(range(len(points.energy_pj)), min(100, len(points.energy_pj))):
        cost = costs_of(space, *(int(part) for part in points.mapping_id[number]))
        assert cost is not None
        assert close(cost, (points.energy_pj[number], points.latency_cycles[number])), points.mapping_id[number]
    if len(points.energy_pj) == TOP:
        return  # not all distinct costs are there
    fitting = 0
    for _ in range(2000):
        spatial = pick.randrange(len(space.orders))
        rank, code = pick.randrange(space.orders[spatial]), random_code(pick, space, int(space.loops[spatial]))
        cost = costs_of(space, spatial, rank, code)
        if cost is not None:
            fitting += 1
            assert contains(points, cost), (spatial, rank, code, cost)
            if fitting == 100:
                break
    assert fitting > 0


@cache
def small_space(seed: int) -> Mapspace | None:
    """A random layer on a random accelerator, if it has few mappings."""
    pick = random.Random(f"exhaustive {seed}").choice
    hw = problems.hardware(pick)
    for memory in hw["memories"].values():
        memory["size"] *= pick((1, 2, 8))
    layer = problems.random_layer(pick, hw, (1, 1, 1, 2, 2, 3, 4))
    try:
        space = Mapspace.build(
            problems.read_layer(layer),
            problems.read_architecture(hw),
            Constraints(max_spatial_mappings=2),
            pick(("corrected", "zigzag")),
        )
    except FastmapError:
        return None
    return space if 50 <= space.size <= 3000 else None


def every_cost(space: Mapspace) -> Iterator[tuple[float, float]]:
    """The costs of all mappings that fit, one by one."""
    for spatial, orders in enumerate(space.orders):
        loops = int(space.loops[spatial])
        lower = [
            list(itertools.combinations_with_replacement(range(loops + 1), int(levels) - 1))
            for levels in space.problem["levels"]
        ]
        for rank in range(orders):
            for cuts in itertools.product(*lower):
                allocation = {operand: (*each, loops) for operand, each in zip(OPERANDS, cuts, strict=True)}
                cost = costs_of(space, spatial, rank, encode_allocation(allocation, loops))
                if cost is not None:
                    yield cost


def test_every_mapping_is_counted_once() -> None:
    """Histograms and the list of distinct costs of whole spaces, whatever the orders that a call works through."""
    compared = 0
    for seed in range(200):
        space = small_space(seed)
        if space is None:
            continue
        costs = list(every_cost(space))
        if not costs:
            continue
        found = enumerated(space, threads=2)
        assert found.statistics["mappings_fitting"] == len(costs), seed
        for name, values in (
            ("energy_pj", [energy for energy, _ in costs]),
            ("latency_cycles", [cycles for _, cycles in costs]),
        ):
            histogram = found.histograms[name]
            counts = np.histogram(values, histogram.edges)[0]
            assert counts.tolist() == histogram.counts.tolist(), (seed, name)
        assert all(contains(found.points["energy"], cost) for cost in costs), seed
        compared += 1
    assert compared >= 20
