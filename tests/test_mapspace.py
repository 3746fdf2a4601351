"""The mapping space against brute-force enumeration: spatial candidates, orders, identities and constraints."""

from __future__ import annotations

import itertools
import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import MappingError, SearchError
from fastmap.evaluation import evaluate
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Constraints, Mapping, SpatialMapping, remaining_iterations
from fastmap.mapspace import (
    PRIMES,
    Mapspace,
    decode_allocation,
    default_allowed,
    encode_allocation,
    unroll_factors,
    whole_number,
)

from .problems import hardware, mapping_of, ordered_by_size, random_layer, read_architecture, read_layer
from .reference import search as slow
from .reference.array import active_rows, parse_array
from .reference.problem import REPAIRS, convert_spatial, parse_hardware, parse_layer, product, spatial_levels


def greedy_space(layer, architecture, constraints, model):
    """The space with one allocation of each order."""
    greedy = constraints.model_copy(update={"allocation": "greedy"})
    return Mapspace.build(layer, architecture, greedy, model)


def zigzag_space(layer, architecture, constraints):
    """ZigZag's space."""
    return greedy_space(layer, architecture, constraints, "zigzag")


AIMC = load_architecture("aimc")
LAYER = Layer(name="conv", K=8, C=4, OX=6, OY=2, FX=3)


# ----------------------------------------------------------------------------------------------------------------------
# Spatial candidates
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7, 16, 100])
def test_unroll_factors_are_the_smallest_for_each_number_of_iterations(limit):
    for size in range(1, 80):
        factors = unroll_factors(size, limit)
        iterations = [math.ceil(size / factor) for factor in factors]
        assert factors == sorted(factors, reverse=True)
        assert len(set(iterations)) == len(iterations)
        for factor in range(1, min(size, limit) + 1):
            smallest = factors[iterations.index(math.ceil(size / factor))]
            assert smallest <= factor
            assert factor == smallest or math.ceil(size / (factor - 1)) == math.ceil(size / factor)
    assert unroll_factors(64, 48) == [32, 22, 16, 13, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1]


def small_problem(seed, regular=True):
    """A layer and an accelerator with few spatial mappings, in the format of the reference."""
    pick = random.Random(f"mapspace {seed}").choice
    while True:
        hw = hardware(pick, regular)
        array = hw["operational_array"]
        array["sizes"] = [min(size, 6 if index < 2 else 3) for index, size in enumerate(array["sizes"])]
        if array["imc_type"] == "digital":
            array["sizes"][1] = 4
        layer = random_layer(pick, hw, (1, 2, 3, 4, 5))
        for name in hw["memories"]:
            if name != "cells" and pick((True, True, False)):
                hw["memories"][name]["size"] *= 4
        ordered_by_size(hw["memories"])
        if len(array["sizes"]) < 4 and sum(size > 1 for size in layer["loop_sizes"]) < 6:
            return layer, hw


def brute_force(layer, hw, allowed=None, repairs=()):
    """Every admitted unrolling {(array dimension, loop dimension): factor} without factors of 1, as a set.

    Written for clarity: all whole factors are tried.
    """
    the_layer, architecture = read_layer(layer), read_architecture(hw)
    sizes = architecture.array.dimensions
    per_array_dim = allowed or default_allowed(architecture)
    places = [(name, dim) for name in sizes for dim in per_array_dim.get(name, ()) if the_layer.size(dim) > 1]
    ranges = [range(1, min(the_layer.size(dim), sizes[name]) + 1) for name, dim in places]
    found = set()
    for factors in itertools.product(*ranges):
        chosen = {place: factor for place, factor in zip(places, factors, strict=True) if factor > 1}
        if (
            all(product(f for (name, _), f in chosen.items() if name == each) <= sizes[each] for each in sizes)
            and not any(wasteful(the_layer, chosen, place) for place in chosen)
            and is_physical(chosen)
            and rows_used(layer, hw, chosen) <= architecture.array.rows
            and fits_one_cycle(layer, hw, chosen, repairs)
        ):
            found.add(frozenset(chosen.items()))
    return found


def wasteful(layer, chosen, place):
    """Whether a smaller factor there leaves as few iterations, alone or beside what earlier array dimensions unroll."""
    size, factor = layer.size(place[1]), chosen[place]
    earlier = product(f for (name, dim), f in chosen.items() if dim == place[1] and name < place[0])
    alone = math.ceil(size / (factor - 1)) == math.ceil(size / factor)
    return alone or factor > math.ceil(size / earlier)


def is_physical(chosen):
    """Output positions share the word lines only beside the filter dimension on the bit lines."""
    partner = {"OX": "FX", "OY": "FY"}
    return all(name != "D1" or dim not in partner or ("D2", partner[dim]) in chosen for name, dim in chosen)


def pairs_of(layer, chosen):
    """An unrolling as the reference takes it, in the order in which fastmap lists loops."""
    names = {}
    for original in layer["loop_dims"]:
        names[read_layer(layer).aliases.get(original, original)] = original
    spatial = {}
    for name, dim in chosen:
        spatial.setdefault(name, []).append([names[dim], chosen[name, dim]])
    return [[name, spatial[name]] for name in sorted(spatial)]


def rows_used(layer, hw, chosen):
    return active_rows(parse_array(parse_hardware(hw)), parse_layer(layer, REPAIRS), pairs_of(layer, chosen))


def fits_one_cycle(layer, hw, chosen, repairs=()):
    """Whether every memory has room for what the array works on in one cycle, in whole units, outputs finished."""
    the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
    converted = convert_spatial(the_layer, the_hw, pairs_of(layer, chosen), integer=False)
    needed = dict.fromkeys(hw["memories"], 0)
    for o in the_layer.operands:
        below = {}
        for memory, loops in zip(the_hw.chain(o), spatial_levels(the_hw, o, converted)[:-1], strict=True):
            for dim, factor in loops:
                below[dim] = below.get(dim, 1) * math.ceil(factor - 1e-9)
            bits = the_layer.final_precision if o == "O" else the_layer.precision[o]
            needed[memory.name] += the_layer.tensor_size(o, below) * bits
    return all(needed[memory.name] <= memory.size for memory in the_hw.memories)


def candidates_of(space):
    return [
        frozenset(
            ((name, dim), f) for name, factors in space.spatial(i).unrolling.items() for dim, f in factors.items()
        )
        for i in range(len(space.orders))
    ]


def build(layer, hw, model="zigzag", **constraints):
    """The space with one allocation of each order, or None where no spatial mapping fits."""
    try:
        return greedy_space(read_layer(layer), read_architecture(hw), Constraints(**constraints), model)
    except SearchError as error:
        if "no admitted spatial mapping leaves room" not in str(error):
            raise
        return None


@pytest.mark.parametrize("model", ["zigzag", "corrected"])
@pytest.mark.parametrize("stream", range(3))
def test_spatial_candidates_equal_a_brute_force_enumeration(stream, model):
    """With banks and diagonals; none twice, the busiest first."""
    seen = {"candidates": 0, "banks": 0, "diagonals": 0, "on two": 0}
    for seed in range(stream, 90, 3):
        layer, hw = small_problem(seed)
        expected = brute_force(layer, hw, repairs=REPAIRS if model == "corrected" else ())
        space = build(layer, hw, model)
        if space is None:
            assert not expected
            continue
        found = candidates_of(space)
        assert len(set(found)) == len(found)
        assert set(found) == expected, (layer, hw)
        iterations = [math.prod(space.remaining[i].tolist()) for i in range(len(found))]
        assert iterations == sorted(iterations)
        seen["candidates"] += len(found)
        for each in found:
            dims = [dim for (_, dim), _ in each]
            seen["banks"] += any(name == "D3" for (name, _), _ in each)
            seen["diagonals"] += any(name == "D1" and dim in ("OX", "OY") for (name, dim), _ in each)
            seen["on two"] += len(set(dims)) < len(dims)
    assert all(n >= 3 for n in seen.values()), seen


def test_every_spatial_mapping_that_saves_iterations_is_a_candidate():
    """No unrolling beside the candidates leaves fewer iterations in some loop without leaving more in another."""
    for seed in range(40):
        layer, hw = small_problem(f"saving {seed}")
        space = build(layer, hw)
        if space is None:
            continue
        the_layer, architecture = read_layer(layer), read_architecture(hw)
        sizes = architecture.array.dimensions
        allowed = default_allowed(architecture)
        kept = {tuple(row) for row in space.remaining.tolist()}
        places = [(name, dim) for name in sizes for dim in allowed[name] if the_layer.size(dim) > 1]
        pick = random.Random(f"saving {seed}")
        for _ in range(60):
            room, chosen = dict(sizes), {}
            for name, dim in pick.sample(places, len(places)):
                factor = pick.randint(1, min(room[name], the_layer.size(dim)))
                room[name] //= factor
                if factor > 1:
                    chosen[name, dim] = factor
            chosen = {place: chosen[place] for place in places if place in chosen}
            legal = (
                len({dim for _, dim in chosen}) == len(chosen)
                and is_physical(chosen)
                and rows_used(layer, hw, chosen) <= sizes["D2"]
                and fits_one_cycle(layer, hw, chosen)
            )
            if legal:
                unrolling = {name: {} for name, _ in chosen}
                for (name, dim), factor in chosen.items():
                    unrolling[name][dim] = factor
                left = remaining_iterations(the_layer, architecture, SpatialMapping(unrolling=unrolling))
                wanted = [left.get(dim, 1) for dim in LOOP_DIMENSIONS]
                assert any(all(a <= b for a, b in zip(row, wanted, strict=True)) for row in kept), (layer, hw, chosen)


@pytest.mark.parametrize(
    "allowed",
    [
        {"D1": ("C", "K"), "D2": ("K",), "D3": ("OX",)},
        {"D1": ("OX", "K", "OY"), "D2": ("FX", "C"), "D3": ("OY",)},
        {"D1": ("OX", "OY"), "D2": ("FY", "FX")},
    ],
)
def test_allowed_loops_replace_the_usual_ones(allowed):
    """But for the output positions along the word lines, which still need their diagonal."""
    for seed in range(40):
        layer, hw = small_problem(f"allowed {seed}")
        chosen = {name: dims for name, dims in allowed.items() if name in hw["operational_array"]["dimensions"]}
        space = build(layer, hw, allowed=chosen)
        expected = brute_force(layer, hw, chosen)
        assert set(candidates_of(space) if space else ()) == expected


#: Its register has room for the inputs of diagonals.
DIAGONAL = AIMC.model_copy(
    update={
        "memories": tuple(
            memory.model_copy(update={"size_bits": 1024}) if memory.name == "rf_1B" else memory
            for memory in AIMC.memories
        )
    }
)
WINDOW = Layer(name="window", K=8, C=64, OX=16, OY=4, FX=3, FY=3)


def rows_of(unrolling):
    """Rows with an input of their own, counted one by one."""
    columns, rows = unrolling.get("D1", {}), unrolling.get("D2", {})
    count = 1
    for position, window in (("OX", "FX"), ("OY", "FY")):
        count *= len({x + fx for x in range(columns.get(position, 1)) for fx in range(rows.get(window, 1))})
    return count * rows.get("C", 1)


@pytest.mark.parametrize("model", ["zigzag", "corrected"])
@pytest.mark.parametrize(
    "constraints",
    [
        {},
        {"allowed": {"D1": ["K", "OX", "OY"], "D2": ["C", "FX", "FY"]}},
        {"allowed": {"D1": ["OX"], "D2": ["C"]}},
        {"spatial_factors": {"D1": {"OX": [8, 16]}}},
        {"spatial": {"D1": {"K": 8, "OX": 8}}, "allowed": {"D2": ["C", "FX"]}},
        {"spatial": {"D1": {"K": 8, "OX": 8}}, "spatial_factors": {"D2": {"C": [4, 8, 16, 32, 64]}}},
        {"spatial": {"D2": {"C": 32}}, "allowed": {"D1": ["OX"], "D2": ["C", "FX"]}},
        {"spatial": {"D1": {"OX": 16, "OY": 4}, "D2": {"C": 2}}},
    ],
)
def test_every_input_of_a_diagonal_has_a_row(constraints, model):
    space = Mapspace.build(WINDOW, DIAGONAL, Constraints(**constraints), model)
    given = constraints.get("spatial", {}).get("D1", {})
    diagonals = 0
    for index in range(len(space.orders)):
        unrolling = space.spatial(index).unrolling
        assert rows_of(unrolling) <= 128
        columns = {dim for dim in unrolling.get("D1", {}) if dim in ("OX", "OY")}
        assert all(dim in given or dim.replace("O", "F") in unrolling.get("D2", {}) for dim in columns)
        diagonals += bool(columns)
        evaluate(WINDOW, DIAGONAL, space.decode(index, 0), model)
    assert bool(diagonals) == (constraints != {"allowed": {"D1": ["OX"], "D2": ["C"]}})


def test_evaluate_refuses_a_diagonal_without_rows():
    """By the model of ZigZag, which does not ask, it has a cost."""
    spatial = {"D1": {"K": 8, "OX": 16}, "D2": {"C": 16, "FX": 3}}
    mapping = Mapping.from_dict({"spatial": spatial, "temporal": [["FY", 3], ["C", 4], ["OY", 4]]})
    sentence = (
        "mapping of window on aimc, spatial: 288 rows are needed for the inputs of OX 16 on D1 and C 16 * FX 3 on D2 "
        "(a diagonal), and the array has 128"
    )
    with pytest.raises(MappingError, match=re.escape(sentence)):
        evaluate(WINDOW, DIAGONAL, mapping)
    assert evaluate(WINDOW, DIAGONAL, mapping, "zigzag").energy_pj.total > 0


def test_a_factor_of_a_diagonal_that_has_no_partner():
    sentence = (
        "window on aimc: no spatial mapping satisfies spatial_factors: OX and OY on D1 need FX and FY beside them on "
        "D2, and rows for all inputs (a diagonal)"
    )
    with pytest.raises(SearchError, match=re.escape(sentence)):
        Mapspace.build(WINDOW, DIAGONAL, Constraints(spatial_factors={"D1": {"OX": [4]}, "D2": {"FX": [1]}}))


def test_factors_open_an_array_dimension_that_is_not_fixed():
    space = constrained(spatial={"D1": {"K": 8}}, spatial_factors={"D2": {"C": [1, 4]}})
    assert [space.spatial(i).unrolling for i in range(2)] == [{"D1": {"K": 8}, "D2": {"C": 4}}, {"D1": {"K": 8}}]


def test_no_loops_allowed_leaves_the_one_mapping_without_unrolling():
    space = zigzag_space(LAYER, AIMC, Constraints(allowed={}))
    assert candidates_of(space) == [frozenset()]
    assert space.spatial(0) == SpatialMapping()


def test_what_is_allowed_by_default():
    assert default_allowed(AIMC) == {"D1": ("K", "OX", "OY"), "D2": ("C", "FX", "FY")}
    banks = default_allowed(load_architecture("dimc_64x64_4banks"))
    assert banks["D3"] == LOOP_DIMENSIONS


# ----------------------------------------------------------------------------------------------------------------------
# Orders and identities
# ----------------------------------------------------------------------------------------------------------------------


def test_the_exact_count_is_the_length_of_the_list_of_orders():
    counted = 0
    for seed in range(60):
        layer, hw = small_problem(f"count {seed}")
        limit = (None, 3, 5)[seed % 3]
        space = build(layer, hw, loop_factor_limit=limit)
        for index in range(len(space.orders) if space else 0):
            factors = slow.loop_factors(layer, hw, pairs_of(layer, dict(candidates_of(space)[index])), limit)
            assert space.orders[index] == slow.count_orders(factors)
            if space.orders[index] < 200:
                assert space.orders[index] == sum(1 for _ in slow.orders(factors))
            counted += 1
            if index == 12:
                break
    assert counted > 300


def test_decoding_is_a_bijection():
    """Every identity gives another mapping, together they are all orders of all candidates, and each is legal."""
    for seed in range(60):
        layer, hw = small_problem(f"decode {seed}")
        space = build(layer, hw)
        if space is None or space.size > 1500:
            continue
        mappings = [space.decode(i, rank) for i, count in enumerate(space.orders) for rank in range(count)]
        assert len(set(mappings)) == len(mappings) == space.size
        expected = set()
        for each in candidates_of(space):
            spatial = pairs_of(layer, {place: dict(each)[place] for place in sorted(dict(each), key=listing(space))})
            for order in slow.orders(slow.loop_factors(layer, hw, spatial)):
                expected.add(mapping_of(layer, spatial, order))
        assert set(mappings) == expected
        for mapping in mappings[:: max(1, len(mappings) // 50)]:
            mapping.check(space.layer, space.architecture)
        assert space.offsets().tolist() == [0, *itertools.accumulate(space.orders)]


def listing(space):
    """The order in which the space lists its spatial loops."""
    names = list(space.architecture.array.dimensions)
    loops = [(names[a], LOOP_DIMENSIONS[d]) for a, d in zip(space.array_dim, space.loop_dim, strict=True)]
    return loops.index


def test_orders_are_ranked_lexicographically():
    space = zigzag_space(LAYER, AIMC, Constraints(spatial={"unrolling": {"D1": {"K": 8}, "D2": {"C": 4}}}))
    alphabet = [("OX", 2), ("OX", 3), ("OY", 2), ("FX", 3)]
    nests = [[alphabet.index(loop) for loop in space.decode(0, rank).temporal] for rank in range(space.size)]
    assert nests == [list(each) for each in itertools.permutations(range(4))]


RULES = [
    {},
    {"allocation": "even"},
    {"innermost": [["OX", 6]]},
    {"innermost": [["FX", 3]], "outermost": [["OX", 2]]},
    {"outermost": [["OX", 2], ["OY", 2]]},
    {"outermost": [["OX", 6]]},
    {"inside": [["FX", "OX"]]},
    {"inside": [["OX", "OY"]], "innermost": [["OX", 3]]},
    {"temporal": [["FX", 3], ["OX", 6], ["OY", 2]]},
]


@pytest.mark.parametrize("rules", RULES)
def test_orders_are_those_that_satisfy_the_rules(rules):
    """Each under one rank, in lexicographic order, which the mapspace inverts; every allocation of each counts."""
    space = Mapspace.build(LAYER, AIMC, Constraints(spatial={"D1": {"K": 8}, "D2": {"C": 4}}, **rules))
    items = [("OX", 2), ("OX", 3), ("OY", 2), ("FX", 3)]
    loops = {key: [tuple(each) for each in value] for key, value in rules.items() if key != "allocation"}
    expected = [
        list(order)
        for order in itertools.permutations(items)
        if slow.starts_with(order, loops.get("innermost", []))
        and slow.starts_with(order[::-1], loops.get("outermost", [])[::-1])
        and all(slow.lies_inside(order, *pair) for pair in loops.get("inside", []))
    ]
    if "temporal" in loops:
        expected = [loops["temporal"]]
    lattice = space.lattice(0)
    assert space.orders == (len(expected),)
    assert [list(lattice.unrank(rank)) for rank in range(len(expected))] == expected
    assert [lattice.rank(order) for order in expected] == list(range(len(expected)))
    n = len(expected[0])
    assert space.allocations == (math.comb(n + 1, 1) * math.comb(n + 2, 2) ** 2,)
    assert space.size == len(expected) * space.allocations[0]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"innermost": [["K", 4]]}, {4, 8}),
        ({"outermost": [["K", 8]]}, {8}),
        ({"innermost": [["K", 2], ["C", 2]]}, {2, 4, 8}),
    ],
)
def test_the_loops_of_a_part_of_the_order_are_all_there(rules, left):
    """Also where it could be all of the order, and where nothing is left."""
    space = Mapspace.build(Layer(K=8, C=2), AIMC, Constraints.from_dict(rules))
    kept = {(row[LOOP_DIMENSIONS.index("K")], row[LOOP_DIMENSIONS.index("C")]) for row in space.remaining.tolist()}
    assert {k for k, _ in kept} == left
    assert {c for _, c in kept} == ({2} if ["C", 2] in rules.get("innermost", []) else {1, 2})


@pytest.mark.parametrize("model", ["zigzag", "corrected"])
def test_every_mapping_of_the_complete_space_has_an_identity(model):
    """Together with its spatial mapping, order and allocation; the reference lists as many."""
    spaces = mappings = 0
    for seed in range(400):
        layer, hw = small_problem(f"identity {seed}")
        constraints = Constraints(loop_factor_limit=3, max_spatial_mappings=4)
        try:
            space = Mapspace.build(read_layer(layer), read_architecture(hw), constraints, model)
        except SearchError:
            continue
        if space.size > 4000:
            continue
        spaces += 1
        for index, each in enumerate(candidates_of(space)):
            spatial = pairs_of(layer, {place: dict(each)[place] for place in sorted(dict(each), key=listing(space))})
            codes, found = {}, set()
            repairs = REPAIRS if model == "corrected" else ()
            for order, cuts, _ in slow.mappings(layer, hw, spatial, repairs, limit=3):
                mapping = mapping_of(layer, spatial, order, cuts)
                identity = space.identify(index, mapping)
                assert space.decode(*identity) == mapping
                codes.setdefault(identity[1], set()).add(identity[2])
                found.add(identity)
            assert sorted(codes) == list(range(space.orders[index]))
            assert {len(each) for each in codes.values()} == {space.allocations[index]}
            mappings += len(found)
        assert space.size == sum(a * b for a, b in zip(space.orders, space.allocations, strict=True))
        if spaces == 25:
            break
    assert spaces == 25
    assert mappings > 5000


def test_whole_numbers_are_put_together_from_their_remainders():
    pick = random.Random("whole numbers")
    for _ in range(300):
        number = pick.randrange(10 ** pick.randint(0, 74))
        assert whole_number([number % prime for prime in PRIMES]) == number
    assert all(prime % 2 and prime < 2**62 for prime in PRIMES)
    assert math.prod(PRIMES) > 10**74


def test_the_orders_of_a_huge_space_are_counted_exactly():
    """Under rules they are counted by remainders, beyond 64 bits."""
    large = Constraints(allowed={}, inside=[("K", "C")])
    space = Mapspace.build(LARGE, AIMC, large)
    assert space.orders == (math.comb(52, 12),)  # K inside C leaves one order of both
    rank = space.orders[0] - 1
    assert space.lattice(0).rank(space.lattice(0).unrank(rank)) == rank
    free = Mapspace.build(LARGE, AIMC, Constraints(allowed={}, inside=[("FX", "C")]))
    assert free.orders == Mapspace.build(LARGE, AIMC, Constraints(allowed={})).orders
    assert free.orders[0] > 2**64
    for rank in (0, free.orders[0] // 3, free.orders[0] - 1):
        assert free.lattice(0).rank(free.lattice(0).unrank(rank)) == rank


@given(st.data())
def test_allocation_codes_are_reversible(data):
    loops = data.draw(st.integers(0, 12))
    levels = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    cut = st.integers(0, loops)
    allocation = {
        o: (*sorted(data.draw(st.lists(cut, min_size=n - 1, max_size=n - 1))), loops)
        for o, n in zip(OPERANDS, levels, strict=True)
    }
    code = encode_allocation(allocation, loops)
    assert code >= 1
    assert decode_allocation(code, loops, levels) == allocation


def test_allocation_codes_differ():
    cuts = [(a, b, 3) for a in range(4) for b in range(a, 4)]
    codes = {encode_allocation({"W": w, "I": i, "O": o}, 3) for w, i, o in itertools.product(cuts, repeat=3)}
    assert len(codes) == len(cuts) ** 3
    assert decode_allocation(1, 3, (1, 2, 1)) == {"W": (3,), "I": (0, 3), "O": (3,)}


def test_decode_with_an_allocation_code():
    space = zigzag_space(LAYER, AIMC, Constraints(spatial={"unrolling": {"D1": {"K": 8}, "D2": {"C": 4}}}))
    allocation = {"W": (0, 4), "I": (0, 2, 4), "O": (1, 3, 4)}
    mapping = space.decode(0, 5, encode_allocation(allocation, 4))
    assert mapping.allocation == allocation
    assert mapping.model_copy(update={"allocation": None}) == space.decode(0, 5)
    mapping.check(LAYER, AIMC)


# ----------------------------------------------------------------------------------------------------------------------
# Constraints
# ----------------------------------------------------------------------------------------------------------------------


def constrained(layer=LAYER, architecture=AIMC, **constraints):
    return zigzag_space(layer, architecture, Constraints.from_dict(constraints))


def test_a_fixed_spatial_mapping():
    space = constrained(spatial={"D2": {"FX": 3, "C": 2}, "D1": {"K": 3}})
    assert len(space.orders) == 1
    assert space.spatial(0).unrolling == {"D1": {"K": 3}, "D2": {"FX": 3, "C": 2}}
    assert list(space.spatial(0).unrolling["D2"]) == ["FX", "C"]  # diagonals depend on it
    assert space.remaining[0].tolist() == [1, 1, 3, 2, 2, 6, 1, 1]
    assert space.orders == (math.factorial(5),)


def test_a_fixed_mapping_of_some_array_dimensions():
    """Loops allowed on the others are free there; none are, unless allowed."""
    space = constrained(spatial={"D2": {"C": 4}}, allowed={"D1": ["K"]})
    unrollings = [space.spatial(i).unrolling for i in range(len(space.orders))]
    assert sorted(each.get("D1", {}).get("K", 1) for each in unrollings) == [1, 2, 3, 4, 8]
    assert all(each["D2"] == {"C": 4} for each in unrollings)
    assert len(constrained(spatial={"D2": {"C": 4}}).orders) == 1


def test_a_loop_of_factor_1_stays_where_it_is_written():
    """It can count: in a diagonal, or as a reduction above a memory."""
    space = constrained(spatial={"D1": {"K": 4, "OX": 2}, "D2": {"C": 1, "FX": 3}})
    assert space.spatial(0).unrolling == {"D1": {"K": 4, "OX": 2}, "D2": {"C": 1, "FX": 3}}


def test_the_busiest_spatial_mappings_come_first():
    everything = constrained()
    few = constrained(max_spatial_mappings=5)
    assert (few.candidates == everything.candidates[:5]).all()
    assert few.orders == everything.orders[:5]
    assert constrained(max_spatial_mappings=10**9).size == everything.size


def test_a_minimum_utilization():
    everything = constrained()
    units = 128 * 128
    utilization = LAYER.macs / units / everything.remaining.prod(axis=1)
    for least in (utilization.max(), utilization[3], utilization.min(), 1e-9):
        space = constrained(min_array_utilization=float(least))
        kept = utilization >= least * (1 - 1e-12)
        assert (space.candidates == everything.candidates[kept]).all()
    assert constrained(min_array_utilization=1.0, layer=Layer(K=128, C=128, OX=3)).size == 1


def test_a_limit_on_loop_factors():
    layer = Layer(K=64, C=16, OX=16, OY=16)
    spatial = {"D1": {"K": 64}, "D2": {"C": 16}}
    assert constrained(layer, spatial=spatial).size == math.comb(8, 4)
    space = constrained(layer, spatial=spatial, loop_factor_limit=4)
    assert list(space.decode(0, 0).temporal) == [("OX", 4), ("OX", 4), ("OY", 4), ("OY", 4)]
    assert space.size == 6
    assert constrained(layer, spatial=spatial, loop_factor_limit=1).size == 2


def test_a_fixed_order():
    order = [["OX", 2], ["FX", 3], ["OX", 3], ["OY", 2]]
    space = constrained(temporal=order, spatial={"D1": {"K": 8}, "D2": {"C": 4}})
    assert space.size == 1
    assert space.decode(0, 0).temporal == tuple(map(tuple, order))
    free = constrained(temporal=order)
    for index in range(len(free.orders)):
        assert free.decode(index, 0).temporal == tuple(map(tuple, order))
        free.decode(index, 0).check(LAYER, AIMC)
    assert len(free.orders) == sum(row.tolist() == [1, 1, 1, 1, 2, 6, 1, 3] for row in constrained().remaining)


def test_a_layer_that_is_unrolled_completely():
    space = constrained(Layer(K=8, C=4), spatial={"D1": {"K": 8}, "D2": {"C": 4}})
    assert space.size == 1
    assert space.decode(0, 0).temporal == ()
    space = constrained(Layer(K=8, C=4), spatial={"D1": {"K": 8}, "D2": {"C": 4}}, temporal=[])
    assert space.size == 1
    assert space.decode(0, 0).temporal == ()


def test_a_restored_space_has_the_same_mappings():
    space = constrained(max_spatial_mappings=4)
    again = Mapspace.restore(
        space.layer,
        space.architecture,
        space.constraints,
        array_dim=space.array_dim,
        loop_dim=space.loop_dim,
        candidates=space.candidates,
        orders=space.orders,
        cost_model=space.cost_model,
    )
    for index, count in enumerate(space.orders):
        for rank in (0, count // 2, count - 1):
            assert again.decode(index, rank) == space.decode(index, rank)


NARROW = Layer(K=8, C=8, weight_bits=16)  # weights of twice the width of a cell
LARGE = Layer(name="large", K=2**20, C=2**20, OX=2**12)


@pytest.mark.parametrize(
    ("layer", "constraints", "sentence"),
    [
        (NARROW, {}, "layer fits nowhere on aimc: no admitted spatial mapping leaves room for a single element"),
        (LAYER, {"allowed": {"D9": ["K"]}}, "aimc has no array dimension 'D9' to constrain (it has D1, D2)"),
        (LAYER, {"spatial": {"D1": {"K": 9}}}, "conv on aimc, spatial.D1.K: the factor 9 is larger than the loop"),
        (Layer(K=200), {"spatial": {"D1": {"K": 129}}}, "K 129 = 129 units are needed, and the array has 128"),
        (LAYER, {"spatial": {"D7": {"K": 2}}}, "aimc has no such array dimension"),
        (
            LAYER,
            {"min_array_utilization": 0.9},
            "min_array_utilization = 0.9 of the array; the most that any uses is 0.00",
        ),
        (LAYER, {"temporal": [["OX", 5]]}, "the fixed temporal order does not multiply to what any admitted spatial"),
    ],
)
def test_sentences(layer, constraints, sentence):
    with pytest.raises(SearchError) as caught:
        constrained(layer, **constraints)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_mappings_to_number_are_counted_nevertheless():
    space = constrained(LARGE, allowed={})
    assert space.size == math.factorial(52) // (math.factorial(20) ** 2 * math.factorial(12))
    with pytest.raises(SearchError, match=r"large on aimc: \d\.\d+e\+\d+ mappings are too many to enumerate"):
        space.offsets()
