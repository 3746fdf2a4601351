"""The kernels one by one against obvious Python, and rules that all of their source files keep."""

from __future__ import annotations

import ast
import itertools
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastmap import kernels
from fastmap.dimensions import DEFAULT_ORDER, LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import MappingError
from fastmap.evaluation import evaluate
from fastmap.kernels import allocate, lattice, orders, reduce
from fastmap.kernels._bits import count_bits, highest_bit, lowest_bit
from fastmap.kernels._jit import allocating, kernel, leaf
from fastmap.kernels.cost import N_COSTS, mapping_cost
from fastmap.kernels.evaluate import prefix_tables
from fastmap.kernels.latency import COUNT, PERIOD, WINDOW, _union
from fastmap.kernels.problem import (
    FRACTIONAL,
    INTEGER,
    MAX_LEVELS,
    MAX_LOOPS,
    PROBLEM,
    SCRATCH,
    UNROLLING,
    balance,
    extent,
    unroll,
)
from fastmap.kernels.traffic import N_STATE, N_TRAFFIC, fill_tables
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.lowering import lower, lower_spatial, new_record
from fastmap.mapping import Constraints, Mapping, balanced_factors
from fastmap.mapspace import MAX_ORDERS
from fastmap.rules import lower_rules

from .problems import explicit_allocation, mapping_of, problem, read_architecture, read_layer, roomy
from .reference import cost, oracle
from .reference import search as slow
from .reference.cost import covered_cycles

AIMC = load_architecture("aimc")

INDEX = {dim: d for d, dim in enumerate(LOOP_DIMENSIONS)}


def int_array(n=MAX_LOOPS):
    return np.zeros(n, np.int64)


# ----------------------------------------------------------------------------------------------------------------------
# Orders
# ----------------------------------------------------------------------------------------------------------------------


def test_prime_factors():
    factors = int_array()
    for number in [*range(1, 2000), 2**40, 3 * 2**30, 999_983 * 1_000_003, 2**31 - 1]:
        n = orders.prime_factors(number, factors)
        found = factors[:n].tolist()
        assert found == sorted(found)
        assert math.prod(found) == number
        if number < 2000:
            assert found == slow.prime_factors(number)


def items_of(sizes, order=DEFAULT_ORDER, limit=0):
    """(items as (dimension, size, count), loops) of the remaining iterations."""
    remaining = np.array([sizes.get(dim, 1) for dim in LOOP_DIMENSIONS], np.int64)
    dimension_order = np.array([INDEX[dim] for dim in order], np.int64)
    dim, size, count = int_array(), int_array(), int_array()
    items, loops = orders.loop_items(remaining, dimension_order, limit, dim, size, count)
    return [(LOOP_DIMENSIONS[dim[i]], int(size[i]), int(count[i])) for i in range(items)], loops


def slow_factors(sizes, order, limit):
    """The reference's loops: it starts from a layer, here one without spatial mapping."""
    layer = {
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "loop_dims": list(order),
        "loop_sizes": [sizes.get(dim, 1) for dim in order],
        "dimension_relations": ["ix=ox+fx", "iy=oy+fy"],
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
    }
    return slow.loop_factors(layer, oracle.hardware("aimc"), [], limit or None)


def test_loop_items_are_the_prime_factors_merged_to_a_limit():
    pick = random.Random("loop items").choice
    numbers = (1, 1, 2, 3, 4, 6, 7, 8, 12, 16, 27, 30, 36, 56, 64, 100, 128, 210, 243)
    for _ in range(1500):
        order = list(DEFAULT_ORDER)
        random.Random(pick(range(100))).shuffle(order)
        sizes = {dim: pick(numbers) for dim in order}
        limit = pick((0, 0, 1, 3, 5, 6, 8, 12))
        items, loops = items_of(sizes, order, limit)
        listed = [(dim, size) for dim, size, count in items for _ in range(count)]
        assert listed == slow_factors(sizes, order, limit), (order, sizes, limit)
        assert loops == len(listed)
        assert len({(dim, size) for dim, size, _ in items}) == len(items), "an item stands twice"


def test_loop_items_of_special_sizes():
    assert items_of({}) == ([("B", 1, 1)], 1)
    assert items_of({}, ("K", "C")) == ([("K", 1, 1)], 1)
    assert items_of({"K": 2**40, "C": 2**24})[1] == 64
    assert items_of({"K": 2**40, "C": 2**25})[1] == -1
    assert items_of({"K": 2**40, "C": 2**25}, limit=60)[1] == 60


def multisets(seed, n, most=7):
    """Multiplicities of small random multisets."""
    pick = random.Random(seed).choice
    for _ in range(n):
        counts = [pick((1, 1, 2, 3)) for _ in range(pick((1, 2, 3, 4)))]
        while sum(counts) > most:
            counts.pop()
        yield counts


def lattice_of(counts):
    """(successor, orders from each state on) of a multiset of as many items, all orders allowed."""
    problem, architecture = lower(Layer(K=2), AIMC), AIMC
    rules = lower_rules(Constraints(), architecture)
    count, dim, size = np.array(counts, np.int64), int_array(), int_array()
    dim[: len(counts)], size[: len(counts)] = range(len(counts)), range(2, 2 + len(counts))
    states = np.empty((lattice.count_states(rules, len(counts), count), N_STATE))
    successor = np.empty((len(states), len(counts)), np.int64)
    lattice.fill_lattice(problem, rules, len(counts), dim, size, count, states, successor)
    completions = np.empty(len(states), np.int64)
    lattice.count_completions(successor, np.ones(len(states), np.bool_), completions)
    return successor, completions


def test_ranks_number_all_orders_in_lexicographic_order():
    """Unranking, ranking, stepping and counting agree with the permutations."""
    for counts in [*multisets("orders", 60), [7], [1], [4, 3], [1, 1, 1, 1, 1, 1]]:
        letters = [i for i, count in enumerate(counts) for _ in range(count)]
        expected = sorted(set(itertools.permutations(letters)))
        successor, completions = lattice_of(counts)
        loops = len(letters)
        assert completions[0] == len(expected)
        order, stepped = int_array(), int_array()
        state_at, steps = int_array(MAX_LOOPS + 1), int_array(MAX_LOOPS + 1)
        lattice.unrank_path(successor, completions, loops, 0, stepped, steps)
        for rank, wanted in enumerate(expected):
            lattice.unrank_path(successor, completions, loops, rank, order, state_at)
            assert tuple(order[:loops]) == tuple(stepped[:loops]) == wanted
            assert state_at[: loops + 1].tolist() == steps[: loops + 1].tolist()
            assert lattice.rank_path(successor, completions, loops, order) == rank
            changed = lattice.next_path(successor, completions, loops, stepped, steps)
            if rank + 1 < len(expected):
                following = expected[rank + 1]
                assert changed == next(p for p in range(loops) if wanted[p] != following[p])
            else:
                assert changed == -1


def slow_unrank(counts, rank):
    """The order of a rank, in whole numbers of any size."""
    left, order = list(counts), []
    while any(left):
        for i, n in enumerate(left):
            if not n:
                continue
            rest = [each - (j == i) for j, each in enumerate(left)]
            starting = math.factorial(sum(rest)) // math.prod(math.factorial(each) for each in rest)
            if rank < starting:
                order.append(i)
                left = rest
                break
            rank -= starting
    return order


@pytest.mark.parametrize("counts", [[30, 25], [30, 30], [62, 2], [5] * 5, [2] * 8])
def test_ranks_are_exact_in_large_spaces(counts):
    """Up to 2**57 orders, above what a float holds exactly."""
    loops = sum(counts)
    total = math.factorial(loops) // math.prod(map(math.factorial, counts))
    assert total < MAX_ORDERS
    successor, completions = lattice_of(counts)
    assert completions[0] == total
    order, state_at = int_array(), int_array(MAX_LOOPS + 1)
    pick = random.Random(loops)
    for rank in [0, 1, total // 2, total - 2, total - 1, *(pick.randrange(total) for _ in range(100))]:
        lattice.unrank_path(successor, completions, loops, rank, order, state_at)
        assert order[:loops].tolist() == slow_unrank(counts, rank)
        assert lattice.rank_path(successor, completions, loops, order) == rank


# ----------------------------------------------------------------------------------------------------------------------
# Reductions
# ----------------------------------------------------------------------------------------------------------------------

VALUE = {
    reduce.ENERGY: lambda energy, latency: energy,
    reduce.LATENCY: lambda energy, latency: latency,
    reduce.EDP: lambda energy, latency: energy * latency,
}


def new_reductions(top, front):
    fine, coarse = (reduce.OCTAVES * n for n in (reduce.BINS_PER_OCTAVE, reduce.JOINT_BINS_PER_OCTAVE))
    return reduce.Reductions(
        best=np.zeros((reduce.N_OBJECTIVES, top), reduce.POINT),
        front=np.zeros(front, reduce.POINT),
        used=int_array(4),
        barrier=np.full(reduce.BARRIER_BINS, np.inf),
        histogram=np.zeros((3, fine), np.int64),
        joint=np.zeros((coarse, coarse), np.int64),
        totals=int_array(3),
    )


def best_of(reductions, objective):
    """The best points as (energy, latency, spatial, rank, code)."""
    return reductions.best[objective, : reductions.used[objective]].tolist()


def front_of(reductions):
    return reductions.front[: reductions.used[reduce.FRONT]].tolist()


def offer_front(reductions, mapping):
    return reduce.offer_front(reductions.front, reductions.used, *mapping)


def random_mappings(seed, n, values):
    """Many mappings with few different energies and latencies, so that everything ties."""
    pick = random.Random(seed)
    numbers = pick.sample(range(10 * n), n)
    return [(float(pick.choice(values)), float(pick.choice(values)), i % 3, i // 3 % 7, i // 21) for i in numbers]


def representatives(mappings):
    """The distinct points, each under its smallest identity."""
    found = {}
    for energy, latency, *identity in mappings:
        known = found.get((energy, latency), tuple(identity))
        found[energy, latency] = min(known, tuple(identity))
    return [(*point, *identity) for point, identity in found.items()]


def slow_best(mappings, objective, size):
    value = VALUE[objective]
    return sorted(representatives(mappings), key=lambda m: (value(m[0], m[1]), m[0], m[1]))[:size]


def slow_front(mappings):
    points = representatives(mappings)

    def dominated(m):
        return any(p[0] <= m[0] and p[1] <= m[1] and p[:2] != m[:2] for p in points)

    return sorted(m for m in points if not dominated(m))


SAMPLES = [
    (seed, n, values)
    for seed in range(12)
    for n, values in ((1, (1,)), (40, range(1, 7)), (300, range(1, 13)), (300, range(1, 1000)), (60, (1, 2)))
]


@pytest.mark.parametrize("objective", VALUE)
@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_the_best_are_the_first_of_all_distinct_points(objective, size):
    for seed, n, values in SAMPLES:
        mappings = random_mappings(seed, n, values)
        kept = new_reductions(size, 1)
        for each in mappings:
            reduce.offer_best(kept.best, kept.used, objective, *each)
        assert best_of(kept, objective) == slow_best(mappings, objective, size)
        assert not any(kept.used[other] for other in range(4) if other != objective)


def test_the_front_is_what_nothing_dominates():
    for seed, n, values in SAMPLES:
        mappings = random_mappings(seed, n, values)
        kept = new_reductions(1, n)
        assert all(offer_front(kept, each) for each in mappings)
        assert front_of(kept) == slow_front(mappings)


def test_a_full_front_refuses_and_loses_nothing():
    kept = new_reductions(1, 3)
    assert all(offer_front(kept, (1.0 + i, 9.0 - i, 0, i, 0)) for i in range(3))
    before = front_of(kept)
    assert not offer_front(kept, (0.5, 10.0, 0, 3, 0))
    assert not offer_front(kept, (5.0, 1.0, 0, 3, 0))
    assert front_of(kept) == before
    assert offer_front(kept, (2.5, 8.5, 0, 4, 0))  # dominated: nothing to keep
    assert front_of(kept) == before
    assert offer_front(kept, (2.0, 7.5, 0, 5, 0))  # takes the place of another
    assert offer_front(kept, (1.0, 5.0, 0, 6, 0))  # takes the place of all
    assert front_of(kept) == [(1.0, 5.0, 0, 6, 0)]


def offer(reductions, mapping, weight=1):
    """Account for a mapping; returns the reductions, whose front may have grown."""
    batch = np.zeros(1, reduce.OFFER)
    batch[0] = (*mapping, weight)
    no_rows = np.empty(0, reduce.OFFER)
    front, _ = reduce.reduce_batch(*reductions, no_rows, np.zeros(1, np.int64), batch, 1)
    return reductions._replace(front=front)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_any_split_merges_to_the_same(parts):
    for seed, n, values in SAMPLES:
        mappings = random_mappings(seed, n, values)
        split = [new_reductions(5, n) for _ in range(parts)]
        for i, each in enumerate(mappings):
            split[i % parts] = offer(split[i % parts], each)
        for order in (split, split[::-1]):
            merged = new_reductions(5, 2 * n)
            for part in order:
                reduce.merge(merged.best, merged.front, merged.used, part.best, part.front, part.used)
            for objective in VALUE:
                assert best_of(merged, objective) == slow_best(mappings, objective, 5)
            assert front_of(merged) == slow_front(mappings)


def slow_bin(value, bins_per_octave):
    """Equal steps within each octave from 1 up; what lies outside goes to the first or last bin."""
    if value < 1:
        return 0
    fraction, exponent = math.frexp(value)  # value = fraction * 2**exponent, fraction in [0.5, 1)
    place = (exponent - 1) * bins_per_octave + int((2 * fraction - 1) * bins_per_octave)
    return min(place, reduce.OCTAVES * bins_per_octave - 1)


def test_histogram_bins():
    pick = random.Random("bins")
    values = [0.0, 1e-300, 0.5, 1 - 2**-53, 1.0, 1 + 2**-52, 2.0, 3.0, 1e30, 2.0**127, 2.0**128, 1e300, math.inf]
    values += [math.exp(pick.uniform(-5, 100)) for _ in range(3000)]
    values += [math.ldexp(1 + i / 16, octave) for octave in range(0, 128, 5) for i in range(16)]
    values += [math.nextafter(value, 0.0) for value in values]
    for value in values:
        wanted = slow_bin(value, reduce.BINS_PER_OCTAVE) if math.isfinite(value) else 128 * reduce.BINS_PER_OCTAVE - 1
        assert reduce.bin_of(value, reduce.SHIFT) == wanted, value
        wanted = slow_bin(value, reduce.JOINT_BINS_PER_OCTAVE) if math.isfinite(value) else 511
        assert reduce.bin_of(value, reduce.JOINT_SHIFT) == wanted, value


def test_offer_accounts_for_mappings_everywhere():
    mappings = random_mappings("offer", 200, range(1, 40))
    kept = new_reductions(4, 2)
    for each in mappings:
        kept = offer(kept, each, 3)
    for objective, value in VALUE.items():
        assert best_of(kept, objective) == slow_best(mappings, objective, 4)
        expected = np.zeros_like(kept.histogram[objective])
        for energy, latency, *_ in mappings:
            expected[slow_bin(value(energy, latency), reduce.BINS_PER_OCTAVE)] += 3
        assert (kept.histogram[objective] == expected).all()
    assert front_of(kept) == slow_front(mappings)
    joint = np.zeros_like(kept.joint)
    for energy, latency, *_ in mappings:
        joint[slow_bin(energy, reduce.JOINT_BINS_PER_OCTAVE), slow_bin(latency, reduce.JOINT_BINS_PER_OCTAVE)] += 3
    assert (kept.joint == joint).all()
    assert kept.totals[reduce.FITTING] == 3 * len(mappings)
    assert kept.totals[reduce.EVALUATED] == 0  # the caller counts these


# ----------------------------------------------------------------------------------------------------------------------
# Allocation
# ----------------------------------------------------------------------------------------------------------------------


def test_the_linear_choice_is_the_choice_among_all_combinations():
    """Where bits rise with the cut and sums are exact; costs are drawn from few values, so that they tie."""
    pick = random.Random("choice")
    scratch = new_record(SCRATCH)
    for _ in range(4000):
        held = pick.choice((1, 2, 3))
        for i in range(held):
            low = pick.randrange(4)
            high = low + pick.randrange(6)
            scratch["low"][i], scratch["high"][i] = low, high
            bits = sorted(pick.choice((1, 2, 3, 5, 8, 13, 40)) for _ in range(high + 1))
            scratch["candidate_bits"][i, : high + 1] = bits
            scratch["candidate_cost"][i, : high + 1] = [pick.choice((0, 1, 1, 2, 3, 7)) for _ in range(high + 1)]
        least = sum(scratch["candidate_bits"][i, scratch["low"][i]] for i in range(held))
        capacity = float(least + pick.choice((0, 1, 4, 10, 100)))
        if held == 1:  # the caller offers only candidates that fit on their own
            low, high = int(scratch["low"][0]), int(scratch["high"][0])
            scratch["high"][0] = max(p for p in range(low, high + 1) if scratch["candidate_bits"][0, p] <= capacity)
        chosen = []
        for choose in (allocate._choose_any, allocate._choose_monotone):
            scratch["choice"] = -1
            choose(held, capacity, scratch)
            chosen.append(scratch["choice"][:held].tolist())
        assert chosen[0] == slow_choice(scratch, held, capacity)
        assert chosen[1] == chosen[0]


def slow_choice(scratch, held, capacity):
    """The last cheapest combination that fits."""
    best, choice = math.inf, None
    ranges = [range(int(scratch["low"][i]), int(scratch["high"][i]) + 1) for i in range(held)]
    for places in itertools.product(*ranges):
        bits = sum(scratch["candidate_bits"][i, p] for i, p in enumerate(places))
        value = sum(scratch["candidate_cost"][i, p] for i, p in enumerate(places))
        if bits <= capacity and value <= best:
            best, choice = value, list(places)
    return choice


# ----------------------------------------------------------------------------------------------------------------------
# Tables of all states against those of one order
# ----------------------------------------------------------------------------------------------------------------------


class Workbench:
    """The kernels' view of one problem with a spatial mapping."""

    def __init__(self, layer, architecture, spatial):
        self.problem = lower(layer, architecture)
        self.unrolling, self.scratch = new_record(UNROLLING), new_record(SCRATCH)
        unroll(self.problem, *lower_spatial(architecture, spatial.unrolling), self.unrolling)
        self.rows = int(self.problem["rows"])
        self.remaining = self.unrolling["remaining"].copy()
        self.dim, self.size, self.count = int_array(), int_array(), int_array()
        dims = self.problem["dimension_order"][: self.problem["dimensions"]]
        self.items, self.n = orders.loop_items(self.remaining, dims, 0, self.dim, self.size, self.count)

    def all_states(self):
        """(steps of the items, states, content, traffic) over everything that may lie below a boundary."""
        rules = lower_rules(Constraints(), AIMC)
        states = np.empty((lattice.count_states(rules, self.items, self.count), N_STATE))
        successor = np.empty((len(states), self.items), np.int64)
        lattice.fill_lattice(self.problem, rules, self.items, self.dim, self.size, self.count, states, successor)
        stride = successor[0].copy()
        content, traffic = self.tables(len(states))
        fill_tables(self.problem, self.unrolling, states, self.scratch, content, traffic)
        return stride, states, content, traffic

    def tables(self, states):
        return np.zeros((self.rows, states)), np.zeros((self.rows, states + 1, N_TRAFFIC))

    def from_all_states(self, tables, order):
        """(cuts, cost) of an order of items; None if it does not fit."""
        stride, *tables = tables
        return self.cost(tables, np.concatenate([[0], np.cumsum(stride[order])]), order)

    def from_its_own(self, order):
        """The same from tables of the states that the order passes."""
        states = np.zeros((self.n + 1, N_STATE))
        tables = states, *self.tables(self.n + 1)
        prefix_tables(self.problem, self.unrolling, self.dim[order], self.size[order], self.scratch, *tables)
        self.unrolling["remaining"] = self.remaining
        return self.cost(tables, np.arange(self.n + 1), order)

    def cost(self, tables, state_at, order):
        cuts, found, failure = np.zeros((3, MAX_LEVELS), np.int64), np.zeros(N_COSTS), np.zeros(3)
        nest = state_at, self.dim[order], self.size[order], self.n
        if not mapping_cost(self.problem, self.unrolling, *tables, *nest, -1, True, cuts, self.scratch, found, failure):
            return None
        return cuts.tolist(), found.tolist()


def test_tables_of_all_states_cost_what_those_of_one_order_do():
    """To the last bit: the numbers are the same whether an order is searched or evaluated."""
    seen = Counter()
    for seed in range(700):
        pick = random.Random(f"tables {seed}")
        each = problem(pick.choice)
        bench = Workbench(read_layer(each.layer), read_architecture(each.hw), each.fastmap()[2].spatial)
        tables = bench.all_states()
        letters = [i for i in range(bench.items) for _ in range(bench.count[i])]
        for _ in range(6):
            pick.shuffle(letters)
            order = np.array(letters, np.int64)
            searched = bench.from_all_states(tables, order)
            assert searched == bench.from_its_own(order), (each, letters)
            seen["rejected" if searched is None else "fractional" if bench.unrolling["fractional"] else "whole"] += 1
    assert min(seen.values()) > 100, seen


# ----------------------------------------------------------------------------------------------------------------------
# Small parts
# ----------------------------------------------------------------------------------------------------------------------


def test_extent_counts_the_inputs_that_are_touched():
    record = new_record(PROBLEM)
    for stride, dilation, outer, inner in itertools.product(range(1, 5), range(1, 5), range(1, 8), range(1, 6)):
        if outer < dilation // math.gcd(stride, dilation):
            continue  # there the formula counts too many
        touched = len({stride * i + dilation * j for i in range(outer) for j in range(inner)})
        for axis, clip in itertools.product((0, 1), (1, touched - 1, touched, 10**6)):
            common = math.gcd(stride, dilation)
            record["window"][axis] = stride // common, dilation // common, max(1, clip)
            assert extent(record, axis, outer + 0.25, inner + 0.75) == min(touched, max(1, clip))


def test_balanced_factors_cover_the_loop_evenly():
    """In both versions, against the exact arithmetic of the mapping module."""
    pick = random.Random("balance")
    for _ in range(400):
        layer = Layer(K=pick.randint(1, 40), C=pick.randint(1, 40), OX=pick.randint(1, 9))
        spatial = {}
        for name in ("D1", "D2", "D3"):
            dims = pick.sample(("K", "C", "OX"), pick.randint(0, 3))
            spatial[name] = {dim: pick.randint(1, min(8, layer.size(dim))) for dim in dims}
        spatial = {name: factors for name, factors in spatial.items() if factors}
        loops = [(a, dim, f) for a, name in enumerate(spatial) for dim, f in spatial[name].items()]
        record = new_record(PROBLEM)
        record["loop_size"] = [layer.size(dim) for dim in LOOP_DIMENSIONS]
        array_dim, factor = np.array([a for a, _, _ in loops], np.int64), np.array([f for *_, f in loops], np.int64)
        loop_dim = np.array([INDEX[dim] for _, dim, _ in loops], np.int64)
        balanced = np.zeros((2, len(loops)))
        balance(record, array_dim, loop_dim, factor, balanced)
        mapping = Mapping(spatial=spatial, temporal=())
        wanted = [f for factors in balanced_factors(layer, mapping.spatial).values() for f in factors.values()]
        assert balanced[FRACTIONAL].tolist() == wanted, (layer, spatial)
        once = {dim for _, dim, _ in loops if sum(other == dim for _, other, _ in loops) == 1}
        for j, (_, dim, _) in enumerate(loops):
            if dim in once:
                assert balanced[INTEGER, j] == math.trunc(wanted[j])


def test_the_union_of_windows_counts_every_cycle_once():
    """Of activities whose periods divide each other, however many and in any order."""
    pick = random.Random("union")
    scratch = new_record(SCRATCH)
    for _ in range(3000):
        period, activities = pick.choice((1, 2, 3, 4)), []
        for _ in range(pick.randint(1, 6)):
            period *= pick.choice((1, 1, 2, 3, 5))
            activities.append((period, pick.randint(0, period)))
        longest = period
        pick.shuffle(activities)
        count = pick.randint(1, 9)
        for j, (period, window) in enumerate(activities):
            scratch["activity"][PERIOD, j], scratch["activity"][WINDOW, j] = period, window
            scratch["activity"][COUNT, j] = count * longest // period
        assert _union(len(activities), scratch) == covered_cycles(longest, activities) * count, activities


def test_any_allocation_is_checked_as_the_reference_checks_it():
    """All cuts of a few orders: what fits is what the reference lists."""
    checked = fitting = 0
    for seed in range(60):
        pick = random.Random(f"cuts {seed}").choice
        each = problem(pick)
        layer, architecture = read_layer(each.layer), read_architecture(each.hw)
        for _ in range(12):
            allocation = explicit_allocation(pick, each.hw, len(each.temporal))
            mapping = mapping_of(each.layer, each.spatial, each.temporal, allocation)
            try:
                cost.evaluate(each.layer, each.hw, each.spatial, each.temporal, allocation)
            except cost.DoesNotFit:
                with pytest.raises(MappingError, match="as allocated"):
                    evaluate(layer, architecture, mapping, "zigzag")
            else:
                found = evaluate(layer, architecture, mapping, "zigzag")
                assert {o: list(found.mapping.allocation[o]) for o in OPERANDS} == {
                    o: list(mapping.allocation[o]) for o in OPERANDS
                }
                fitting += 1
            checked += 1
    assert fitting > 50
    assert checked - fitting > 50


def test_roomy_memories_take_everything_at_once():
    """Where all loops fit the lowest memories, the greedy allocation leaves nothing for the higher ones."""
    for seed in range(30):
        each = problem(random.Random(f"roomy {seed}").choice, regular=True)
        each.hw["memories"]["cells"]["size"] *= 10_000
        layer, architecture, _ = each.fastmap()
        mapping = mapping_of(each.layer, each.spatial, each.temporal)
        found = evaluate(layer, read_architecture(roomy(each.hw)), mapping, "zigzag")
        assert all(set(cuts) == {len(mapping.temporal)} for cuts in found.mapping.allocation.values())
        assert architecture.name == found.architecture


# ----------------------------------------------------------------------------------------------------------------------
# The source files
# ----------------------------------------------------------------------------------------------------------------------

SOURCES = sorted(Path(kernels.__file__).parent.glob("*.py"))

#: Functions of the decorators' own module, which run in Python.
PLAIN_FUNCTIONS = {
    "_jit.py": {
        "_content_key",
        "_cache_folder",
        "kernel",
        "allocating",
        "formula",
        "leaf",
        "_compiled",
        "get_call_template",
        "_holds_array",
    },
    "_callee.py": {"finalize", "define_pipelines", "get_executable", "insert_user_function"},
    "_bits.py": {"lowest_bit", "highest_bit", "count_bits", "generate"},
}
#: What kernel files may import, beside each other.
IMPORTS = {"__future__", "math", "typing", "numpy"}
IMPORTS_OF_COMPILATION = IMPORTS | {
    "copy", "hashlib", "os", "collections.abc", "pathlib",
    "numba", "numba.core", "numba.core.types", "numba.core.codegen", "numba.core.compiler", "numba.extending"
}  # fmt: skip
DECORATORS = {"kernel", "allocating", "formula", "leaf"}
#: Words with which compilation is configured.
FLAGS = {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc", "jitclass", "prange", "config"}
OPTIONS = {"fastmath", "parallel", "cache", "nogil", "error_model", "boundscheck", "inline", "forceinline", "nopython"}


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_there_are_kernels():
    assert {path.name for path in SOURCES} >= {
        "_jit.py",
        "cost.py",
        "exhaustive.py",
        "optimal.py",
        "orders.py",
        "reduce.py",
        "macro.py",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_function_has_one_of_the_decorators(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in PLAIN_FUNCTIONS.get(path.name, ()):
                assert [ast.unparse(each) for each in node.decorator_list] in ([], ["intrinsic"])
                continue
            decorators = [ast.unparse(each) for each in node.decorator_list]
            assert decorators in ([each] for each in DECORATORS), (
                f"{path.name}: {node.name} is decorated with {decorators}"
            )
        assert not isinstance(node, ast.Lambda), f"{path.name}, line {node.lineno}: a lambda"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_kernels_import_only_each_other(path):
    allowed = IMPORTS_OF_COMPILATION if path.name in PLAIN_FUNCTIONS else IMPORTS
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed, f"{path.name}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom):
            beside = node.level == 1 and node.module is not None and "." not in node.module
            assert beside or (node.level == 0 and node.module in allowed), f"{path.name}: {ast.unparse(node)}"
            assert beside is False or (path.parent / f"{node.module}.py").exists()


KERNELS = [path for path in SOURCES if path.name not in PLAIN_FUNCTIONS]


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_no_kernel_configures_its_compilation(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Name):
            assert node.id not in FLAGS, f"{path.name}, line {node.lineno}: {node.id}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in FLAGS, f"{path.name}, line {node.lineno}: {node.attr}"
        if isinstance(node, ast.keyword):
            assert node.arg not in OPTIONS, f"{path.name}, line {node.value.lineno}: {node.arg}"


def test_kernels_call_none_that_allocates():
    """They count no references, so that what somebody allocates would never be freed."""
    decorated = {}  # (module, function): (decorator, what it calls)
    for path in KERNELS:
        tree = parsed(path)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        known = {node.name: (path.stem, node.name) for node in functions}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                known |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        for node in functions:
            called = {ast.unparse(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
            decorator = ast.unparse(node.decorator_list[0])
            decorated[path.stem, node.name] = decorator, {known[name] for name in called if name in known}
    assert {decorator for decorator, _ in decorated.values()} == DECORATORS
    for caller, (decorator, called) in decorated.items():
        for callee in called:
            allocates = decorated.get(callee, ("", ()))[0] == "allocating"
            assert decorator == "allocating" or not allocates, f"{caller} calls {callee}"


def test_a_kernel_returns_no_array():
    @kernel
    def same(values):
        return values, 1

    @allocating
    def caller(values):
        return same(values)[1]

    with pytest.raises(TypeError, match="kernel same returns an array"):
        caller(np.zeros(3))


def test_a_callee_is_compiled_as_part_of_its_caller_alone():
    @kernel
    def twice(x):
        return 2 * x

    @kernel
    def thrice(x):
        return twice(x) + x

    @kernel
    def caller(x):
        return thrice(x) + twice(5)

    assert caller(7) == 31
    assert caller(0.5) == 11.5
    assert not twice.overloads
    assert not thrice.overloads
    assert thrice(7) == 21
    assert len(thrice.overloads) == 1
    assert not twice.overloads


def test_a_leaf_remains_a_function_of_its_own():
    @leaf
    def total(values):
        result = 0.0
        for value in values:
            result += value
        return result

    @kernel
    def caller(values):
        return total(values) + total(values[1:])

    assert caller(np.arange(4.0)) == 12.0
    (code,) = caller.inspect_llvm().values()
    assert re.search(r"^ *%?.* = (?:tail )?call .*total", code, re.MULTILINE)


def test_bits():
    @kernel
    def bits(word):
        return lowest_bit(word), highest_bit(word), count_bits(word)

    for word in (1, 2, 3, 0b101000, 1 << 63, (1 << 64) - 1):
        digits = f"{word:b}"
        expected = (len(digits) - 1 - digits.rindex("1"), len(digits) - 1, digits.count("1"))
        assert bits(np.uint64(word)) == expected
