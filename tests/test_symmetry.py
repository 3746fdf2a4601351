"""Spatial mappings that mirror each other along x and y cost the same, and a search covers both with one of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fastmap import optimal
from fastmap.evaluation import evaluate
from fastmap.exploration import search
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Constraints, Mapping, SpatialMapping
from fastmap.mapspace import Mapspace
from fastmap.symmetry import distinct_candidates

IMAGE = {"OX": "OY", "OY": "OX", "FX": "FY", "FY": "FX"}
ARCHITECTURES = ("aimc", "dimc", "aimc_4level", "dimc_64x64_4banks")


def mirrored(mapping: Mapping) -> Mapping:
    """The same along the other axis."""
    spatial = SpatialMapping(
        unrolling={
            name: {IMAGE.get(dim, dim): factor for dim, factor in loops.items()}
            for name, loops in mapping.spatial.unrolling.items()
        }
    )
    temporal = tuple((IMAGE.get(dim, dim), size) for dim, size in mapping.temporal)
    return mapping.model_copy(update={"spatial": spatial, "temporal": temporal})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_images_cost_the_same(name: str) -> None:
    pick = random.Random(5)
    architecture = load_architecture(name)
    compared = 0
    for _ in range(12):
        side, window = pick.choice((4, 6, 7, 9)), pick.choice((1, 2, 3))
        stride, dilation, padding = pick.choice((1, 2)), pick.choice((1, 2)), pick.choice((0, 1)) if window > 1 else 0
        layer = Layer(
            sizes={"K": pick.choice((8, 33)), "C": pick.choice((3, 40)), "OX": side, "OY": side}
            | {"FX": window, "FY": window},
            stride_x=stride,
            stride_y=stride,
            dilation_x=dilation,
            dilation_y=dilation,
            padding_x=padding,
            padding_y=padding,
        )
        space = Mapspace.build(layer, architecture, Constraints())
        for _ in range(12):
            index = pick.randrange(len(space.orders))
            mapping = space.decode(index, pick.randrange(space.orders[index])).model_copy(update={"allocation": None})
            cost, image = evaluate(layer, architecture, mapping), evaluate(layer, architecture, mirrored(mapping))
            assert image.energy_pj.total == pytest.approx(cost.energy_pj.total, rel=1e-13)
            assert image.latency_cycles.total == pytest.approx(cost.latency_cycles.total, rel=1e-13)
            compared += mapping != mirrored(mapping)
    assert compared > 50


@pytest.mark.parametrize("rules", [{}, {"innermost": [["K", 2]]}, {"inside": [["FX", "OX"], ["FY", "OY"]]}])
@pytest.mark.parametrize("objective", ["energy", "latency", "edp", "pareto"])
def test_a_search_of_one_of_two_images_finds_the_same(
    objective: str, rules: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    constraints = Constraints.from_dict(rules)
    layer = Layer(K=24, C=10, OX=6, OY=6, FX=3, FY=3)
    for name in ARCHITECTURES[1:3]:
        architecture = load_architecture(name)
        one = search(layer, architecture, objective, constraints=constraints)
        assert one.statistics["spatial_mirrored"] > 0
        assert one.statistics["mappings_covered"] == one.statistics["mappings_total"]
        with monkeypatch.context() as patch:
            patch.setattr(
                optimal,
                "distinct_candidates",
                lambda space: (np.arange(len(space.candidates)), np.ones(len(space.candidates), int)),
            )
            both = search(layer, architecture, objective, constraints=constraints)
        assert both.statistics["spatial_mirrored"] == 0
        assert np.array_equal(one.points[objective].mapping_id, both.points[objective].mapping_id)
        assert np.array_equal(one.points[objective].energy_pj, both.points[objective].energy_pj)
        assert np.array_equal(one.points[objective].latency_cycles, both.points[objective].latency_cycles)


def test_what_tells_the_axes_apart() -> None:
    architecture = load_architecture("dimc")
    even = Layer(K=24, C=10, OX=6, OY=6, FX=3, FY=3)

    def mirrored_of(layer: Layer, rules: dict[str, object], model: str = "corrected") -> int:
        space = Mapspace.build(layer, architecture, Constraints.from_dict(rules), model)
        chosen, times = distinct_candidates(space)
        assert times.sum() == len(space.orders)
        return len(space.orders) - len(chosen)

    assert mirrored_of(even, {}) > 0
    assert mirrored_of(even, {"stationary": {"cells": "W"}}) > 0
    for layer in (
        Layer(K=24, C=10, OX=6, OY=5, FX=3, FY=3),
        Layer(K=24, C=10, OX=6, OY=6, FX=3, FY=1),
    ):
        assert mirrored_of(layer, {}) == 0
    for rules in ({"innermost": [["OX", 2]]}, {"inside": [["OX", "K"]]}, {"loop_factor_limit": 4}):
        assert mirrored_of(even, rules) == 0
