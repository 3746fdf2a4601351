"""The corrected cost model and the brute force of the complete space, in the reference; the kernels against them."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest

from fastmap import evaluate
from fastmap.errors import MappingError
from fastmap.evaluation import evaluate_repaired
from fastmap.kernels import problem as kernels
from fastmap.lowering import LOOP_DIMENSIONS, lower, lower_spatial, new_record

from .problems import hardware, loop_name, mapping_of, problem, random_layer, read_architecture, read_layer
from .problems import spatial_mapping as random_spatial
from .reference import cost, search
from .reference.problem import (
    ALL_ACCESSES,
    EXACT_TILES,
    EXACT_UNITS,
    REPAIRS,
    TRUE_EXTENTS,
    TRUE_WIDTHS,
    WHOLE_ITERATIONS,
    Relation,
    average_extent,
    convert_spatial,
    parse_hardware,
    parse_layer,
    spatial_levels,
)
from .test_parity import Worst
from .test_reference import TINY_ORDER, TINY_SPATIAL, memory, port, tiny_hardware, tiny_layer

RANDOM_PROBLEMS = 800

#: Loops that leave something to order on the tiny hardware.
SPATIAL = [["D1", [["K", 4]]], ["D2", [["C", 2]]]]


# ----------------------------------------------------------------------------------------------------------------------
# The corrected model of the kernels
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regular", [False, True])
def test_every_number_of_random_problems(regular, record_property):
    """Greedy and given allocations, of fractional unrollings, dilated windows and narrow words."""
    worst, accepted = Worst(), 0
    for seed in range(RANDOM_PROBLEMS // 2):
        each = problem(random.Random(f"corrected {seed}").choice, regular)
        layer, architecture, mapping = each.fastmap()
        if mapping.spatial.diagonal_problem(architecture):
            with pytest.raises(MappingError, match=r"rows are needed .* \(a diagonal\)"):
                evaluate(layer, architecture, mapping, "corrected")
            continue
        ours = theirs = None
        try:
            theirs = cost.evaluate(*each.reference(), REPAIRS)
        except cost.DoesNotFit:
            with pytest.raises(MappingError, match="does not fit"):
                evaluate(*each.fastmap(), "corrected")
            continue
        ours = evaluate(*each.fastmap(), "corrected")
        worst.compare(f"seed {seed}", ours, theirs, each.layer)
        accepted += 1
    worst.check(record_property, "corrected", accepted)
    assert accepted > RANDOM_PROBLEMS // 6


def test_every_number_under_any_of_the_repairs(record_property):
    """Single repairs and random sets of them. Exact units or tiles without all accesses are left out: there the last
    digit of an average decides what is truncated."""
    worst, seen = Worst(), Counter()
    for seed in range(RANDOM_PROBLEMS):
        pick = random.Random(f"some {seed}")
        each = problem(pick.choice)
        # ZigZag may reserve room for the partial sums of a loop of one iteration, which a mapping does not write.
        if all(n == 1 for _, n in each.temporal):
            continue
        count = pick.choice((1, 1, 3, 5, 8))
        repairs = set(pick.sample(sorted(REPAIRS), count))
        if repairs & {EXACT_UNITS, EXACT_TILES}:
            repairs.add(ALL_ACCESSES)
        try:
            theirs = cost.evaluate(*each.reference(), repairs)
        except cost.DoesNotFit:
            with pytest.raises(MappingError, match="does not fit"):
                evaluate_repaired(*each.fastmap(), repairs)
            continue
        worst.compare((seed, repairs), evaluate_repaired(*each.fastmap(), repairs), theirs, each.layer)
        seen.update(repairs)
    worst.check(record_property, "some repairs", sum(seen.values()))
    assert min(seen[repair] for repair in REPAIRS) > 50


def repeated_unrollings():
    """Random problems in which several array dimensions unroll the same loop."""
    for seed in range(3000):
        pick = random.Random(f"repeated {seed}").choice
        hw = hardware(pick)
        layer = random_layer(pick, hw)
        spatial = random_spatial(pick, layer, hw, regular=False)
        dims = [dim for _, loops in spatial for dim, _ in loops]
        if len(set(dims)) < len(dims):
            yield layer, hw, spatial


def exact_iterations(layer, spatial):
    """Of each dimension: its size over all its unrolling together, rounded up once."""
    left = dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True))
    for dim in left:
        left[dim] = -(-left[dim] // math.prod(f for _, loops in spatial for other, f in loops if other == dim))
    return {dim: n for dim, n in left.items() if n > 1}


def test_the_kernels_leave_no_iteration_too_many():
    for layer, hw, spatial in repeated_unrollings():
        architecture = read_architecture(hw)
        record, unrolling = lower(read_layer(layer), architecture, "corrected"), new_record(kernels.UNROLLING)
        unrolled = mapping_of(layer, spatial, []).spatial.unrolling
        kernels.unroll(record, *lower_spatial(architecture, unrolled), unrolling)
        remaining = dict(zip(LOOP_DIMENSIONS, unrolling["remaining"].tolist(), strict=True))
        expected = {loop_name(layer, dim): n for dim, n in exact_iterations(layer, spatial).items()}
        assert {dim: n for dim, n in remaining.items() if n > 1} == expected


# ----------------------------------------------------------------------------------------------------------------------
# The repairs of the reference, one by one
# ----------------------------------------------------------------------------------------------------------------------


def numbers_of(layer, hw, spatial, order, allocation=None, repairs=()):
    result = cost.evaluate(layer, hw, spatial, order, allocation, repairs)
    return result["energy_total"], result["latency_total2"]


def test_unknown_repairs():
    with pytest.raises(ValueError, match="unknown repairs"):
        parse_layer(tiny_layer(), ["everything"])


def test_nothing_changes_where_no_accident_happens():
    """Unrollings that divide the loops, no dilation, words of the full width of each port."""
    hw = tiny_hardware()
    for each in hw["memories"].values():
        for one in each["ports"]:
            one["bandwidth_min"] = one["bandwidth_max"]
    for order in itertools.permutations(TINY_ORDER):
        plain = cost.evaluate(tiny_layer(), hw, TINY_SPATIAL, list(order))
        assert cost.evaluate(tiny_layer(), hw, TINY_SPATIAL, list(order), None, REPAIRS) == plain


def test_whole_iterations():
    """34 on 5 columns are 7 iterations; no size has one too many."""
    layer, hw = tiny_layer(), tiny_hardware()
    hw["operational_array"]["sizes"] = [64, 4]
    hazards = 0
    for size in range(2, 130):
        layer["loop_sizes"][0] = size
        for factor in range(2, min(size, 64) + 1):
            spatial = [["D1", [["K", factor]]]]
            assert search.remaining_sizes(layer, hw, spatial, {WHOLE_ITERATIONS}).get("K", 1) == -(-size // factor)
            hazards += search.remaining_sizes(layer, hw, spatial).get("K", 1) != -(-size // factor)
    assert hazards > 5


def test_joint_coverage_covers_a_loop_once():
    """All unrolling of a dimension, times its iterations, is its size; ZigZag's is often more."""
    seen = beyond = 0
    for layer, hw, spatial in repeated_unrollings():
        sizes = dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True))
        covered = {}
        for repairs in ((), REPAIRS):
            the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
            left = search.remaining_sizes(layer, hw, spatial, repairs)
            for o in the_layer.operands:
                entries = spatial_levels(the_hw, o, convert_spatial(the_layer, the_hw, spatial, integer=False))
                for dim in sizes:
                    unrolled = math.prod(f for entry in entries for other, f in entry if other == dim)
                    covered[bool(repairs), dim] = left.get(dim, 1) * unrolled
        for dim, size in sizes.items():
            assert covered[True, dim] == pytest.approx(size, rel=1e-12)
            beyond += covered[False, dim] > 1.01 * size
            seen += 1
        assert search.remaining_sizes(layer, hw, spatial, REPAIRS) == exact_iterations(layer, spatial)
    assert seen > 500
    assert beyond > 20


def test_true_extents_are_those_of_an_average_tile():
    """50 columns in 26 iterations are 24 tiles of 2 and 2 of 1; dilated windows that barely move leave gaps."""
    relation = Relation("IX", 1, "OX", 1, "FX")
    for taps in (1, 2, 3):
        tiles = [len({i + j for i in range(n) for j in range(taps)}) for n in [2] * 24 + [1] * 2]
        assert average_extent(relation, 50 / 26, taps) == pytest.approx(sum(tiles) / 26)
    assert average_extent(Relation("IX", 1, "OX", 2, "FX"), 1, 3) == 3
    layer = tiny_layer() | {"loop_sizes": [4, 4, 50, 3]}
    sizes = {"OX": 50 / 26, "C": 4}
    assert parse_layer(layer).tensor_size("I", sizes) == 4
    assert parse_layer(layer, {TRUE_EXTENTS}).tensor_size("I", sizes) == pytest.approx(4 * 50 / 26)


def test_all_accesses():
    """One word of 4 bits at a port of 64 is a sixteenth of an access, for each of 18 * 4 transfers."""
    hw = tiny_hardware()
    hw["memories"]["cells"] = memory(4, 0, 0.1, ["I2"], [], port("rw", 4, 4096, "I2, fh", "I2, tl"))
    plain = cost.evaluate(tiny_layer(), hw, TINY_SPATIAL, TINY_ORDER)
    repaired = cost.evaluate(tiny_layer(), hw, TINY_SPATIAL, TINY_ORDER, None, {ALL_ACCESSES})
    assert plain["word_accesses"]["W"][0]["wr_in_by_high"] == 0
    assert repaired["word_accesses"]["W"][0]["wr_in_by_high"] == 96 * 4 / 4096


@pytest.mark.parametrize("repair", sorted(REPAIRS - {WHOLE_ITERATIONS, TRUE_WIDTHS}))
def test_every_repair_changes_the_cost_of_some_mapping(repair):
    """On its own. Whole iterations change the loops instead."""
    for seed in range(4000):
        each = problem(random.Random(f"each {seed}").choice)
        results = []
        for repairs in (set(), {repair}):
            try:
                results.append(numbers_of(*each.reference(), repairs))
            except cost.DoesNotFit:
                results.append("does not fit")
        if results[0] != results[1]:
            return
    pytest.fail("it changed nothing")


def test_true_widths_of_single_outputs():
    """One output, over 3 or more input channels on fractional units: only then can ZigZag miss a partial sum."""
    changed = compared = 0
    for seed in range(1500):
        pick = random.Random(f"widths {seed}").choice
        hw = hardware(pick)
        layer = tiny_layer() | {"loop_sizes": [1, pick((3, 5, 7)), 1, 1]}
        array = hw["operational_array"]
        names = [n for n, size in zip(array["dimensions"], array["sizes"], strict=True) if size > 1]
        spatial = [[name, [["C", 2]]] for name in names[-1:]]
        loops = search.loop_factors(layer, hw, spatial)
        results = []
        for repairs in ([ALL_ACCESSES], [ALL_ACCESSES, TRUE_WIDTHS]):
            try:
                theirs = cost.evaluate(layer, hw, spatial, loops, None, repairs)
            except (cost.DoesNotFit, ValueError):
                break
            ours = evaluate_repaired(
                read_layer(layer), read_architecture(named(hw)), mapping_of(layer, spatial, loops), repairs
            )
            assert ours.energy_pj.total == pytest.approx(theirs["energy_total"], rel=1e-9)
            assert ours.latency_cycles.total == pytest.approx(theirs["latency_total2"], rel=1e-9)
            results.append(theirs["energy_total"])
        compared += len(results) == 2
        changed += len(results) == 2 and results[0] < results[1]
    assert compared > 200
    assert changed > 3


# ----------------------------------------------------------------------------------------------------------------------
# What fits
# ----------------------------------------------------------------------------------------------------------------------


def test_what_fits_depends_on_the_loops_below_a_cut_only():
    """Orders of the same loops below every cut fit alike, and by no more than the tolerance."""
    layer, hw = tiny_layer(), tiny_hardware()
    layer["loop_sizes"] = [7, 4, 6, 3]
    spatial = [["D1", [["K", 3]]], ["D2", [["C", 4]]]]  # 3 iterations of 7 / 3
    cuts = {"O": [0, 4, 4], "W": [0, 4], "I": [0, 2, 4]}
    needed = 7 * 6 * 8 + 4 * 3 * 4  # partial sums of all outputs, and the inputs of 3 columns in 4 channels
    for order in ([("OX", 3), ("K", 3), ("FX", 3), ("OX", 2)], [("K", 3), ("OX", 3), ("OX", 2), ("FX", 3)]):
        for size, fitting in ((needed, True), (needed * (1 - 5e-10), True), (needed * (1 - 2e-9), False)):
            hw["memories"]["sram"]["size"] = size
            assert (cuts in list(search.allocations(layer, hw, spatial, order))) is fitting
            if fitting:
                cost.evaluate(layer, hw, spatial, order, cuts)
            else:
                with pytest.raises(cost.DoesNotFit):
                    cost.evaluate(layer, hw, spatial, order, cuts)


@pytest.mark.parametrize("repairs", [(), REPAIRS])
def test_what_the_greedy_allocator_chooses_is_accepted(repairs):
    seen = 0
    for seed in range(300):
        each = problem(random.Random(f"greedy {seed}").choice)
        mapping = (each.layer, each.hw, each.spatial, each.temporal)
        try:
            greedy = cost.evaluate(*mapping, None, repairs)
        except cost.DoesNotFit:
            continue
        assert cost.evaluate(*mapping, search.cuts_of(greedy), repairs) == greedy
        seen += 1
    assert seen > 50


def fully_unrolled():
    """A layer without temporal loops."""
    layer = tiny_layer() | {"loop_sizes": [4, 4, 1, 1]}
    return layer, tiny_hardware(), TINY_SPATIAL


@pytest.mark.parametrize("repairs", [(), REPAIRS])
def test_no_loops_at_all(repairs):
    """A layer unrolled completely costs the same with no loop as with one of one iteration."""
    layer, hw, spatial = fully_unrolled()
    assert numbers_of(layer, hw, spatial, [], None, repairs) == numbers_of(
        layer, hw, spatial, [("K", 1)], None, repairs
    )
    (only,) = search.complete_space(layer, hw, spatial, repairs)
    assert (only.order, only.cuts, only.fits) == ([], {"O": [0, 0, 0], "W": [0, 0], "I": [0, 0, 0]}, True)
    assert (only.energy, only.latency) == numbers_of(layer, hw, spatial, [], only.cuts, repairs)
    assert search.counts(layer, hw, spatial, repairs) == (1, 1)
    model = "corrected" if repairs else "zigzag"
    ours = evaluate(read_layer(layer), read_architecture(named(hw)), mapping_of(layer, spatial, [], only.cuts), model)
    assert (ours.energy_pj.total, ours.latency_cycles.total) == pytest.approx((only.energy, only.latency), rel=1e-9)


def named(hw):
    """The accelerator with all that fastmap's reader asks for."""
    hw = {"name": "tiny", **hw, "operational_array": {"is_imc": True, **hw["operational_array"]}}
    for each in hw["memories"].values():
        each.setdefault("latency", 1)
        for one in each["ports"]:
            reads = {allocation.split(", ")[1] in ("tl", "th") for allocation in one["allocation"]}
            one["type"] = "_".join(word for word, is_read in (("read", True), ("write", False)) if is_read in reads)
    return hw


# ----------------------------------------------------------------------------------------------------------------------
# The complete space
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repairs", [(), REPAIRS])
def test_the_complete_space_is_every_order_and_every_allocation(repairs):
    """None twice, none missing; each costs what ``evaluate`` says, and fits if ``evaluate`` does not object."""
    space = (tiny_layer(), tiny_hardware(), SPATIAL)
    factors = search.loop_factors(*space, repairs=repairs)
    points = list(search.complete_space(*space, repairs))
    pairs = math.comb(len(factors) + 2, 2)
    assert len(points) == search.count_orders(factors) * pairs * (len(factors) + 1) * pairs
    assert len({repr((p.order, p.cuts)) for p in points}) == len(points)
    assert search.counts(*space, repairs) == (len(points), sum(p.fits for p in points))
    for order in search.orders(factors):
        fitting = [p.cuts for p in points if p.order == order and p.fits]
        assert fitting == list(search.allocations(*space, order, repairs))
    for point in random.Random(0).sample(points, 300):
        mapping = (*space, point.order, point.cuts, repairs)
        if point.fits:
            assert (point.energy, point.latency) == numbers_of(*mapping)
        else:
            assert point.energy is point.latency is None
            with pytest.raises(cost.DoesNotFit):
                cost.evaluate(*mapping)


@pytest.mark.parametrize("seed", range(12))
def test_the_complete_space_of_random_problems(seed):
    """Its size, and the costs of some of it."""
    pick = random.Random(f"complete {seed}")
    each = problem(pick.choice)
    space = (each.layer, each.hw, each.spatial, REPAIRS)
    loops = [loop for loop in search.loop_factors(*space[:3], 3, REPAIRS) if loop[1] > 1]
    levels = [len(parse_hardware(each.hw).chain(o)) for o in "OWI"]
    size = search.count_orders(loops) * math.prod(math.comb(len(loops) + n - 1, n - 1) for n in levels)
    if size > 20_000:
        return
    points = list(search.complete_space(*space, limit=3))
    assert len(points) == size
    for point in pick.sample(points, min(20, size)):
        if point.fits:
            assert (point.energy, point.latency) == numbers_of(*space[:3], point.order, point.cuts, REPAIRS)


def test_pareto():
    assert search.pareto([]) == set()
    assert search.pareto([(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (1, 5), (1, 6)]) == {(1, 5), (2, 3), (4, 1)}
    points = [(random.Random(seed).randrange(9), random.Random(-seed - 1).randrange(9)) for seed in range(40)]
    for point in points:
        beaten = any(all(a <= b for a, b in zip(q, point, strict=True)) and q != point for q in points)
        assert (point in search.pareto(points)) is not beaten


# ----------------------------------------------------------------------------------------------------------------------
# Constraints
# ----------------------------------------------------------------------------------------------------------------------

ORDER = [("OX", 3), ("C", 2), ("FX", 3), ("OX", 2)]
CUTS = {"O": [0, 2, 4], "W": [1, 4], "I": [0, 1, 4]}


def satisfied(cuts=None, order=None, **constraints):
    """Whether a mapping of the tiny layer satisfies constraints."""
    layer, hw = parse_layer(tiny_layer()), parse_hardware(tiny_hardware())
    return search.satisfies(layer, hw, order or ORDER, CUTS | (cuts or {}), search.Constraints(**constraints))


def test_constraints_on_the_order():
    assert satisfied()
    assert satisfied(innermost=[("OX", 3), ("C", 2)])
    assert not satisfied(innermost=[("OX", 2)])
    assert not satisfied(innermost=[("OX", 6)])
    assert satisfied(outermost=[("OX", 2)])
    assert satisfied(outermost=[("FX", 3), ("OX", 2)])
    assert not satisfied(outermost=[("OX", 2), ("FX", 3)])
    split = [("OX", 3), ("OX", 2), ("C", 2), ("FX", 3)]
    assert satisfied(order=split, innermost=[("OX", 6), ("C", 2)])
    assert satisfied(order=split, outermost=[("OX", 2), ("C", 2), ("FX", 3)])
    assert satisfied(order=split, inside=[("OX", "C"), ("C", "FX")])
    assert not satisfied(inside=[("OX", "C")])
    assert satisfied(inside=[("C", "FX"), ("K", "C")])


def test_constraints_on_levels():
    # rf_I 0..0, sram: I 0..1 (OX 3), O 0..2 (OX 3, C 2); dram: the rest
    assert satisfied(forbidden={"sram": ["FX"], "rf_I": ["OX", "C", "FX"]})
    assert not satisfied(forbidden={"sram": ["C"]})
    assert satisfied(forbidden={"sram.I": ["C"]})
    assert satisfied(factors={"sram": {"OX": 3}, "sram.O": {"C": 2}, "dram": {"OX": 2, "FX": 3}, "rf_O": {"C": 1}})
    assert not satisfied(factors={"sram": {"OX": 3, "C": 2}})
    assert satisfied(factors={"sram": {"C": {"min": 1, "max": 2}}})
    assert not satisfied(factors={"sram": {"C": {"min": 2}}})
    assert not satisfied(factors={"sram": {"C": {"max": 1}}})
    with pytest.raises(ValueError, match="there is no rf_O"):
        satisfied(forbidden={"rf_O.W": ["C"]})


def test_stationary():
    assert satisfied(stationary={"cells": "W"})  # OX 3 keeps the weights
    assert not satisfied({"W": [2, 4]}, stationary={"cells": "W"})  # C 2 is the last below
    assert satisfied({"W": [3, 4]}, stationary={"cells": "W"})  # merged with OX 2
    assert satisfied({"W": [0, 4]}, stationary={"cells": "W"})  # merged with OX 3
    assert satisfied(stationary={"dram": "W"})  # OX 2 is outermost
    assert satisfied(stationary={"sram": "O"})  # C 2 and FX 3 keep the outputs
    assert not satisfied({"O": [0, 1, 4]}, order=[("OX", 3), ("OX", 2), ("C", 2), ("FX", 3)], stationary={"sram": "O"})
    assert not satisfied({"O": [0, 0, 4]}, stationary={"rf_O": "O"})


def test_even_allocation_and_weights_loaded_once():
    assert not satisfied(allocation="even")
    assert satisfied({"I": [0, 2, 4]}, allocation="even")
    assert not satisfied(weights_loaded_once=True)  # OX 2 outermost
    assert satisfied({"W": [3, 4]}, weights_loaded_once=True)
    assert satisfied(order=[("OX", 3), ("OX", 2), ("C", 2), ("FX", 3)], weights_loaded_once=True)


def test_constrained_spaces_are_parts_of_the_complete_one():
    """A constraint selects from the space what satisfies it, and leaves the rest as it is."""
    space = (tiny_layer(), tiny_hardware(), TINY_SPATIAL, REPAIRS)
    everything = {repr((p.order, p.cuts)): p for p in search.complete_space(*space)}
    for constraints in (
        search.Constraints(innermost=[("OX", 6)]),
        search.Constraints(allocation="even"),
        search.Constraints(weights_loaded_once=True, inside=[("FX", "OX")]),
        search.Constraints(temporal=TINY_ORDER),
    ):
        selected = list(search.complete_space(*space, constraints))
        assert 0 < len(selected) < len(everything)
        assert all(everything[repr((p.order, p.cuts))] == p for p in selected)
        assert search.counts(*space, constraints) == (len(selected), sum(p.fits for p in selected))
    whole = search.complete_space(*space, search.Constraints(temporal=[("FX", 3), ("OX", 6)]))
    assert sum(1 for _ in whole) == math.comb(4, 2) ** 2 * 3
