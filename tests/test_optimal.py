"""The optimal strategy equals the exhaustive one, and that equals brute force in the reference, on random problems."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastmap import optimal
from fastmap.architecture import Architecture
from fastmap.control import Control
from fastmap.errors import FastmapError, InputError, SearchError
from fastmap.exploration import Options, search, search_space
from fastmap.kernels.problem import SCRATCH, UNROLLING
from fastmap.layer import Layer
from fastmap.loading import load_architecture, load_workload
from fastmap.lowering import new_record
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.result import Points, SearchResult

from . import problems
from .reference import search as reference
from .reference.problem import REPAIRS, DoesNotFit

#: Layers whose spaces can be enumerated.
SMALL = (1, 1, 1, 2, 2, 3, 4, 6)
TINY = (1, 1, 1, 1, 2, 2, 3)
TOLERANCE = 1e-12


def random_problem(pick: problems.Pick, sizes: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer and an accelerator, as the reference takes them."""
    hw = problems.hardware(pick)
    larger = pick((1, 2, 8))
    for memory in hw["memories"].values():
        memory["size"] *= larger
    return problems.random_layer(pick, hw, sizes), hw


def fixed_spatial(pick: problems.Pick, layer: dict[str, Any], hw: dict[str, Any]) -> list[Any]:
    """An unrolling without loops of factor 1, which a search does not have."""
    spatial = problems.spatial_mapping(pick, layer, hw, regular=True)
    return [[name, loops] for name, loops in spatial if loops]


def random_rules(pick: problems.Pick, layer: Layer, architecture: Architecture) -> dict[str, Any]:
    """Any one or two kinds of constraints on orders and allocations; they may well contradict or admit nothing."""
    dims = [dim for dim in layer.dimension_order if layer.size(dim) > 1] or ["K"]
    memories = list(architecture.memories)

    def place() -> str:
        memory = pick(memories)
        return memory.name if pick((True, False)) else f"{memory.name}.{pick(memory.operands)}"

    def rule(kind: str) -> dict[str, Any]:
        dim, memory = pick(dims), pick(memories)
        factor = pick([n for n in range(1, layer.size(dim) + 1) if layer.size(dim) % n == 0])
        return {
            "innermost": {"innermost": [[dim, factor]]},
            "outermost": {"outermost": [[dim, factor]]},
            "inside": {"inside": [[dim, pick(dims)]]},
            "stationary": {"stationary": {memory.name: pick(memory.operands)}},
            "forbidden": {"forbidden": {place(): [dim]}},
            "factors": {"factors": {place(): {dim: pick((factor, {"min": factor}, {"max": factor}))}}},
            "even": {"allocation": "even"},
            "weights": {"weights_loaded_once": True},
        }[kind]

    kinds = ("innermost", "outermost", "inside", "stationary", "forbidden", "factors", "even", "weights")
    return rule(pick(kinds)) | (rule(pick(kinds)) if pick((True, False)) else {})


def outcome(space: Mapspace, options: Options) -> SearchResult | str:
    """The result, or the sentence that there is none."""
    try:
        return search_space(space, options)
    except SearchError as error:
        return str(error)


def points_of(points: Points) -> list[tuple[float, float]]:
    return list(zip(points.energy_pj.tolist(), points.latency_cycles.tolist(), strict=True))


def same_points(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a, b, rel_tol=TOLERANCE)
        for mine, other in zip(ours, theirs, strict=True)
        for a, b in zip(mine, other, strict=True)
    )


def check_optimal(space: Mapspace, everything: SearchResult | str, note: object) -> None:
    """Every objective of the optimal strategy against the enumeration of the space."""
    front = outcome(space, Options("pareto", threads=2))
    if isinstance(everything, str):
        assert isinstance(front, str), (note, everything)
        assert isinstance(outcome(space, Options("edp")), str), note
        return
    assert not isinstance(front, str), (note, front)
    whole = points_of(everything.points["pareto"])
    assert same_points(points_of(front.points["pareto"]), whole), (note, points_of(front.points["pareto"]), whole)
    values = {
        "energy": lambda e, c: e,
        "latency": lambda e, c: c,
        "edp": lambda e, c: e * c,
        "ed3p": lambda e, c: e * c**3,
    }
    for objective, value in values.items():
        found = search_space(space, Options(objective, threads=1))
        ((energy, cycles),) = points_of(found.points[objective])
        best = min(value(*point) for point in whole)
        assert math.isclose(value(energy, cycles), best, rel_tol=TOLERANCE), (note, objective, energy, cycles, whole)
        assert found.optimal
        assert found.best[0].energy_pj.total == pytest.approx(energy, rel=1e-12)
        assert found.best[0].latency_cycles.total == cycles
        assert found.certificate["lower_bound"] == found.certificate["value"]
    limit = whole[len(whole) // 2]
    bounded = search_space(space, Options("energy", max_latency_cycles=limit[1]))
    assert bounded.points["energy"].energy_pj[0] == pytest.approx(limit[0], rel=TOLERANCE), note
    bounded = search_space(space, Options("latency", max_energy_pj=limit[0] * (1 + 1e-9)))
    assert bounded.points["latency"].latency_cycles[0] == limit[1], note
    close = search_space(space, Options("edp", gap=0.1))
    assert close.gap is not None
    assert close.gap <= 0.1 + 1e-9
    best = min(energy * cycles for energy, cycles in whole)
    assert best <= points_of(close.points["edp"])[0][0] * points_of(close.points["edp"])[0][1] <= best * (1.1 + 1e-9), (
        note
    )


def build(layer: Layer, architecture: Architecture, constraints: dict[str, Any], model: str) -> Mapspace | None:
    """The space, or None where the constraints admit nothing or contradict."""
    try:
        return Mapspace.build(layer, architecture, Constraints.from_dict(constraints), model)
    except FastmapError:
        return None


@pytest.mark.parametrize("first_look", [1, 2000])
@pytest.mark.parametrize("block", range(4))
def test_optimal_equals_exhaustive(block: int, first_look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random layers on random accelerators, all spatial mappings, with and without rules, both cost models.

    Small spaces are seen to the end at the first look unless that is short.
    """
    monkeypatch.setattr("fastmap.optimal.FIRST_LOOK", first_look)
    monkeypatch.setattr("fastmap.optimal.LEAST_LOOK", min(first_look, 25))
    if first_look == 1:  # otherwise such spaces are searched before it pays to fill fronts
        monkeypatch.setattr("fastmap.optimal.POINTS_PER_CHAIN", 1e9)
    searched = 0
    for seed in range(block * 1000, block * 1000 + 150):
        pick = random.Random(seed).choice
        layer, architecture = (
            read(each)
            for read, each in zip(
                (problems.read_layer, problems.read_architecture), random_problem(pick, SMALL), strict=True
            )
        )
        rules = random_rules(pick, layer, architecture) if pick((True, False)) else {}
        space = build(
            layer, architecture, rules | {"max_spatial_mappings": 5}, pick(("corrected", "corrected", "zigzag"))
        )
        if space is None or space.size > 2_000_000:
            continue
        everything = outcome(space, Options("edp", "exhaustive", threads=1))
        check_optimal(space, everything, (seed, rules))
        searched += not isinstance(everything, str)
    assert searched > 50


def test_optimal_equals_exhaustive_under_several_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them a space whose first look stops within the last order of loops that it has left (seed 114812)."""
    searched = 0
    for seed in range(114800, 114900):
        pick = random.Random(seed).choice
        first_look = pick((1, 2000))
        monkeypatch.setattr("fastmap.optimal.FIRST_LOOK", first_look)
        monkeypatch.setattr("fastmap.optimal.LEAST_LOOK", min(first_look, 25))
        layer_data, hardware = random_problem(pick, SMALL)
        try:
            layer, architecture = problems.read_layer(layer_data), problems.read_architecture(hardware)
        except InputError:  # memories that are not listed innermost first
            continue
        rules: dict[str, Any] = {}
        for _ in range(pick((1, 2, 3))):
            for name, rule in random_rules(pick, layer, architecture).items():
                together = isinstance(rule, dict) and name in rules
                rules[name] = rules[name] | rule if together else rule
        space = build(
            layer, architecture, rules | {"max_spatial_mappings": 5}, pick(("corrected", "corrected", "zigzag"))
        )
        if space is None or space.size > 1_000_000:
            continue
        everything = outcome(space, Options("edp", "exhaustive", threads=1))
        check_optimal(space, everything, (seed, rules))
        searched += not isinstance(everything, str)
    assert searched > 30


def test_the_second_look_leaves_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the energy and latency of spatial mappings rank otherwise than the two together, which pruning goes by."""
    monkeypatch.setattr("fastmap.optimal.FIRST_LOOK", 1)
    monkeypatch.setattr("fastmap.optimal.LEAST_LOOK", 1)
    layer, hardware = random_problem(random.Random(1157).choice, SMALL)
    constraints = {"max_spatial_mappings": 5}
    space = build(problems.read_layer(layer), problems.read_architecture(hardware), constraints, "corrected")
    assert space is not None
    check_optimal(space, outcome(space, Options("edp", "exhaustive")), 1157)


@pytest.mark.parametrize("block", range(2))
def test_exhaustive_equals_brute_force(block: int) -> None:
    """Counts, best mappings and front of one spatial mapping against the reference, with and without rules."""
    compared = 0
    for seed in range(block * 1000, block * 1000 + 400):
        pick = random.Random(seed).choice
        layer, hw = random_problem(pick, TINY)
        spatial = fixed_spatial(pick, layer, hw)
        read_layer, architecture = problems.read_layer(layer), problems.read_architecture(hw)
        rules = random_rules(pick, read_layer, architecture) if pick((True, False)) else {}
        names = {problems.loop_name(layer, dim): dim for dim in layer["loop_dims"]}
        unrolling = problems.mapping_of(layer, spatial, []).spatial.unrolling
        space = build(read_layer, architecture, rules | {"spatial": dict(unrolling)}, "corrected")
        if space is None or space.size > 3000:
            continue
        constraints = reference_rules(rules, names)
        try:
            brute = list(reference.complete_space(layer, hw, spatial, REPAIRS, constraints))
        except DoesNotFit:
            brute = []
        fitting = [(point.energy, point.latency) for point in brute if point.fits]
        everything = outcome(space, Options("edp", "exhaustive", threads=1, top=1))
        note = (seed, rules, spatial)
        check_optimal(space, everything, note)
        if not fitting:
            assert isinstance(everything, str), note
            continue
        assert not isinstance(everything, str), (note, everything)
        assert everything.statistics["mappings_fitting"] == len(fitting), note
        whole = points_of(everything.points["pareto"])
        best = min(energy for energy, _ in fitting)
        assert whole[0][0] == pytest.approx(best, rel=1e-9), note
        for energy, cycles in fitting:  # nothing is better than the front, and the front is there
            assert any(e <= energy * (1 + 1e-9) and c <= cycles * (1 + 1e-9) for e, c in whole), note
        for e, c in whole:
            assert any(math.isclose(e, x, rel_tol=1e-9) and math.isclose(c, y, rel_tol=1e-9) for x, y in fitting), note
        compared += 1
    assert compared > 60


def reference_rules(rules: dict[str, Any], names: dict[str, str]) -> reference.Constraints:
    """The same rules for the reference, with its names of the loop dimensions."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {names.get(key, key): renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    return reference.Constraints(
        **{name: renamed(value) if name != "stationary" else value for name, value in rules.items()}
    )


@pytest.mark.parametrize(
    "limit", [{"max_energy_pj": 5.0}, {"max_latency_cycles": 5.0}, {"time_limit": 1.0}, {"gap": 0.1}], ids=str
)
def test_limits_are_not_ignored_with_greedy_allocation(limit: dict[str, float]) -> None:
    space = Mapspace.build(Layer(K=2, C=2), load_architecture("aimc"), Constraints(allocation="greedy"))
    with pytest.raises(InputError, match="needs all allocations"):
        search_space(space, Options("edp", **limit))


@pytest.mark.parametrize("gap", [0.02, 0.2])
def test_a_front_within_a_gap_is_near_every_point_of_the_whole(gap: float) -> None:
    layer = load_workload("resnet8")["conv2"]
    space = Mapspace.build(layer, load_architecture("aimc_4level"), None, "corrected")
    whole = search_space(space, Options("pareto"))
    near = search_space(space, Options("pareto", gap=gap))
    assert whole.gap == 0.0
    assert "gap" not in whole.certificate
    assert not near.optimal
    assert near.gap == near.certificate["gap"] == gap
    assert near.certificate["method"].endswith("is within the gap of some point of the front, in energy and in latency")
    points = near.points["pareto"]
    assert len(whole.points["pareto"]) > len(points) >= 1
    for energy, cycles in zip(whole.points["pareto"].energy_pj, whole.points["pareto"].latency_cycles, strict=True):
        assert any((points.energy_pj <= energy * (1 + gap)) & (points.latency_cycles <= cycles * (1 + gap)))


def test_a_value_within_a_gap_says_how_it_is_proven() -> None:
    space = Mapspace.build(Layer(name="conv", K=16, C=16, OX=16, FX=3), load_architecture("dimc"), None, "corrected")
    near = search_space(space, Options("energy", gap=0.1))
    assert near.gap == pytest.approx(0.1)
    assert near.certificate["method"].endswith("or its lower bound is within the gap of the value")


def test_top_needs_an_enumeration() -> None:
    layer, architecture = Layer(K=2, C=2), load_architecture("aimc")
    with pytest.raises(InputError, match=r"^top needs the strategy exhaustive"):
        search_space(Mapspace.build(layer, architecture, None, "corrected"), Options("edp", top=3))
    for constraints, strategy in ((Constraints(allocation="greedy"), "optimal"), (None, "exhaustive")):
        space = Mapspace.build(layer, architecture, constraints, "corrected")
        assert len(search_space(space, Options("edp", strategy, top=1)).best) == 1


@pytest.mark.parametrize("objective", ["energy", "latency", "edp", "pareto"])
@pytest.mark.parametrize(("network", "name"), [("resnet8", "conv4"), ("ds_cnn", "pw1"), ("autoencoder", "fc2")])
def test_the_mapping_found_does_not_depend_on_threads(network: str, name: str, objective: str) -> None:
    """Many mappings are equally good here."""
    layer = load_workload(network)[name]
    space = Mapspace.build(layer, load_architecture("aimc_4level"), None, "corrected")
    alone = search_space(space, Options(objective, threads=1))
    assert alone.optimal
    for threads in (2, 3, 8):
        found = search_space(space, Options(objective, threads=threads))
        assert found.points[objective].mapping_id.tolist() == alone.points[objective].mapping_id.tolist()
        assert found.points[objective].energy_pj.tolist() == alone.points[objective].energy_pj.tolist()


@pytest.mark.parametrize(
    ("network", "layer", "architecture"), [("resnet8", "conv5", "aimc"), ("ds_cnn", "fc", "aimc_4level")]
)
def test_equals_of_an_earlier_place_are_not_looked_for(
    network: str, layer: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of mappings that cost the same (but for rounding) that of the earlier place wins, whoever is faster.

    Equals are mirror images here, of which a search has only one.
    """
    monkeypatch.setattr(
        optimal, "distinct_candidates", lambda space: (np.arange(len(space.candidates)), np.ones(len(space.candidates)))
    )
    found = search(load_workload(network)[layer], load_architecture(architecture), "edp", threads=1)
    best = found.best[0]
    value = best.energy_pj.total * best.latency_cycles.total

    def second(running: set[int]) -> optimal.Solver:
        """Search the second spatial mapping; in the first, perhaps still ``running``, the best value was found."""
        solver = optimal.Solver(found.space, optimal._goal("edp", None, None, 0.0), Control(), workers=2)
        solver.looking = False
        solver.running = running
        solver.values[0] = solver.best_known[0] = value
        solver._search(
            1,
            new_record(UNROLLING),
            new_record(SCRATCH),
            optimal.new_workspace(0),
            solver._others(1, 1),
            solver._known(),
        )
        return solver

    assert second({0}).found == []
    (equal,) = second(set()).found
    assert equal.value == pytest.approx(value, rel=1e-12)
    first = replace(equal, value=value, place=0)
    assert first.wins(equal)
    assert not equal.wins(first)


def test_points_of_a_front_that_differ_by_rounding_are_those_of_the_earliest_place() -> None:
    found = search(load_workload("ds_cnn")["fc"], load_architecture("dimc"), "edp", threads=1)
    mapping = found.best[0].mapping

    def joined(order: tuple[int, ...]) -> list[tuple[int, float, float]]:
        solver = optimal.Solver(found.space, optimal._goal("pareto", None, None, 0.0), Control())
        points = [
            (2, 10.0, 5.0),
            (1, 10.0 * (1 + 1e-15), 5.0),
            (3, 9.0, 7.0),
            (4, 10.0 * (1 - 1e-15), 6.0),
            (0, 12.0, 4.0),
        ]
        for i in order:
            place, energy_pj, latency_cycles = points[i]
            solver._join([optimal.Best(0.0, place, energy_pj, latency_cycles, 0, mapping)])
        return [(each.place, each.energy_pj, each.latency_cycles) for each in solver.found]

    expected = [(3, 9.0, 7.0), (1, 10.0 * (1 + 1e-15), 5.0), (0, 12.0, 4.0)]
    for order in itertools.permutations(range(5)):
        assert joined(order) == expected


@pytest.mark.parametrize(
    ("constraints", "objective"),
    [
        ({"forbidden": {"sram_256KB": ["OX", "OY"]}}, "energy"),
        ({"forbidden": {"sram_256KB.O": ["K", "OX"]}}, "latency"),
        ({"stationary": {"rf_1B": "I"}}, "edp"),
        ({"stationary": {"rf_2B": "O"}}, "energy"),
        ({"factors": {"sram_256KB.O": {"OX": {"min": 2}}}}, "energy"),
        ({"weights_loaded_once": True}, "edp"),
    ],
)
def test_rules_on_levels_prune_before_orders_are_built(constraints: dict[str, Any], objective: str) -> None:
    layer = load_workload("resnet8")["conv5"]
    found = search(layer, load_architecture("aimc"), objective, constraints=Constraints.from_dict(constraints))
    assert found.optimal
    assert found.statistics["partial_mappings"] < 2e6
    assert found.statistics["mappings_evaluated"] < 2e5


@pytest.mark.parametrize("constraints", [{"rf_2B": "O"}, {"rf_1B": "I"}])
@pytest.mark.parametrize("objective", ["latency", "edp", "pareto"])
def test_an_operand_kept_against_its_nature(constraints: dict[str, Any], objective: str) -> None:
    """The weights then keep DRAM busy all the time; a bound that does not know which port that is proves nothing."""
    layer, rules = load_workload("resnet8")["conv5"], Constraints(stationary=constraints)
    found = search(layer, load_architecture("aimc"), objective, constraints=rules, time_limit=60)
    assert found.optimal
    assert found.statistics["partial_mappings"] < 1e6
    assert found.statistics["mappings_evaluated"] < 1e4


def test_a_double_buffer_may_hold_all_but_no_part_twice() -> None:
    """The bounds of spatial mappings took it for a memory that holds one tile only (found by a random problem)."""
    pick = random.Random(707234).choice
    for _ in range(2):  # as the search for such problems drew them
        pick((1, 2))
    layer, hardware = random_problem(pick, SMALL)
    space = build(
        problems.read_layer(layer), problems.read_architecture(hardware), {"max_spatial_mappings": 5}, "corrected"
    )
    assert space is not None
    assert any(memory.double_buffered for memory in space.architecture.memories)
    check_optimal(space, outcome(space, Options("edp", "exhaustive")), 707234)


@pytest.mark.parametrize(
    ("rules", "objective"),
    [
        ({"stationary": {"dram": "O"}}, "energy"),
        ({"stationary": {"input_register": "I"}}, "edp"),
        ({"forbidden": {"global_buffer.I": ["OX", "OY"]}}, "energy"),
        ({"allocation": "even"}, "edp"),
        ({"allocation": "even"}, "pareto"),
        ({"outermost": [["K", 2]]}, "latency"),
    ],
)
def test_rules_are_known_to_the_bounds(rules: dict[str, Any], objective: str) -> None:
    """Without it, each of these takes 2 million partial mappings or far more."""
    layer = load_workload("resnet18")["layer1_0_conv1"]
    if "outermost" in rules:
        layer = load_workload("mobilenet_v2")["block2_expand"]
    architecture = load_architecture("aimc_4level")
    found = search(layer, architecture, objective, constraints=Constraints.from_dict(rules), time_limit=60)
    assert found.complete
    assert found.statistics["partial_mappings"] < 1e6
