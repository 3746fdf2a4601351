"""The mapping space of a layer on an architecture: which spatial mappings, how many orders, and which number is
which mapping.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmap.architecture import Architecture
from fastmap.constraints import check_constraints
from fastmap.dimensions import DIAGONAL_PARTNER, LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import EmptySpaceError, SearchError
from fastmap.kernels.array import fill_rows_needed
from fastmap.kernels.lattice import allowed_states, count_states, fill_lattice, lattice_items
from fastmap.kernels.problem import MAX_LOOPS, SCRATCH, UNROLLING
from fastmap.kernels.space import count_orders, describe_candidates
from fastmap.kernels.traffic import N_STATE
from fastmap.layer import Layer
from fastmap.lowering import lower, new_record
from fastmap.mapping import Constraints, Loop, Mapping, SpatialMapping
from fastmap.rules import lower_rules
from fastmap.zigzag_spatial import zigzag_spatial_mappings

IntArray = npt.NDArray[np.int64]

#: Most orders that can be enumerated: their numbers stay exact in 64 bits.
MAX_ORDERS = 2**62

#: What the kernels give as number of loops where a fixed order does not multiply to the remaining iterations.
NO_MULTIPLE = -2

#: The largest primes below 2**62; counts up to their product, 10**74, are put together from remainders.
PRIMES = (4611686018427387847, 4611686018427387817, 4611686018427387787, 4611686018427387761)

#: Spatial mappings that ZigZag evaluates for each layer.
ZIGZAG_SPATIAL_MAPPINGS = 3

#: Most spatial mappings that are worked with at a time.
MAX_CANDIDATES = 5_000_000


def default_allowed(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """Loop dimensions that each array dimension can unroll.

    In an in-memory-computing array the columns share their inputs and the rows add up: output channels go along the
    word lines, reduction loops along the bit lines, and output positions join the word lines where a filter dimension
    on the bit lines lets them share inputs (a diagonal). Banks, and the dimensions of a plain MAC array, take any loop.
    """
    names = list(architecture.array.dimensions)
    if architecture.array.kind == "mac":
        return dict.fromkeys(names, LOOP_DIMENSIONS)
    allowed = {names[0]: ("K", "OX", "OY"), names[1]: ("C", "FX", "FY")}
    return allowed | dict.fromkeys(names[2:], LOOP_DIMENSIONS)


def unroll_factors(size: int, limit: int) -> list[int]:
    """Every factor worth unrolling, largest first: the smallest one for each distinct number of remaining iterations.

    They need not divide the loop: 64 channels on 48 columns may take 2 x 32, 3 x 22 or 4 x 16 iterations x columns.

    By the cost model ``corrected``, factors of a loop on one array dimension that leave as many iterations cost the
    same, and the smallest leaves most room for others. ZigZag's array energy rewards larger ones (it counts activations
    by the factors as written): by how much depends on the other loops of the array dimension and, along digital bit
    lines, on the shape of the adder tree, so that the space of the model ``zigzag`` may lack ZigZag's cheapest
    unrolling.
    """
    smallest: dict[int, int] = {}
    for factor in range(min(size, limit), 0, -1):
        smallest[math.ceil(size / factor)] = factor
    return sorted(smallest.values(), reverse=True)


@dataclass(frozen=True)
class Mapspace:
    """All mappings of a layer on an architecture that the constraints admit.

    Mappings are identified by (spatial index, order rank, allocation code): the spatial mappings that keep the array
    busiest come first (ZigZag's candidates keep its order), orders are ranked lexicographically.
    """

    layer: Layer
    architecture: Architecture
    constraints: Constraints
    cost_model: str
    problem: Any  #: the record of ``lowering.lower``
    rules: Any  #: the record of ``rules.lower_rules``
    array_dim: IntArray  #: int64[n], array dimension of each spatial loop
    loop_dim: IntArray  #: int64[n], loop dimension of each spatial loop
    candidates: IntArray  #: int64[S, n], factors of each spatial mapping, 0 for a loop that it lacks
    remaining: IntArray  #: int64[S, 8], temporal iterations of each loop dimension
    loops: IntArray  #: int64[S], temporal loops
    orders: tuple[int, ...]  #: exact number of orders of each spatial mapping

    @classmethod
    def build(
        cls,
        layer: Layer,
        architecture: Architecture,
        constraints: Constraints | None = None,
        cost_model: str = "corrected",
    ) -> Mapspace:
        """Enumerate the spatial mappings and count the orders.

        Raises:
            EmptySpaceError: the constraints admit nothing.
            SearchError: there is too much to work with.
        """
        constraints = constraints or Constraints()
        check_constraints(constraints, layer, architecture)
        problem = lower(layer, architecture, cost_model)
        rules = lower_rules(constraints, architecture)
        as_zigzag = constraints.spatial_candidates == "zigzag"
        if as_zigzag:
            array_dim, loop_dim, candidates = _zigzag_candidates(layer, architecture, constraints)
        else:
            array_dim, loop_dim, candidates = _spatial_candidates(layer, architecture, constraints)
        usable, remaining, loops, multiplicity = _describe(problem, rules, array_dim, loop_dim, candidates)
        if constraints.spatial is not None and len(candidates) == 1 and not as_zigzag:
            usable[:] = True  # whether the one that is given fits a memory is for the cost model to say
        chosen = np.flatnonzero(usable)
        where = f"{layer.name} on {architecture.name}"
        if not len(chosen):
            raise EmptySpaceError(
                f"{layer.name} fits nowhere on {architecture.name}: no admitted spatial mapping leaves room for a "
                "single element of each operand in every memory"
            )
        iterations = np.prod(remaining, axis=1, dtype=float)
        if not as_zigzag:
            chosen = chosen[np.argsort(iterations[chosen], kind="stable")]
        if constraints.min_array_utilization is not None:
            units = math.prod(architecture.array.dimensions.values())
            utilization = layer.macs / units / iterations
            kept = chosen[utilization[chosen] >= constraints.min_array_utilization * (1 - 1e-12)]
            if not len(kept):
                raise EmptySpaceError(
                    f"{where}: no spatial mapping uses min_array_utilization = "
                    f"{constraints.min_array_utilization:g} of the array; the most that any uses is "
                    f"{utilization[chosen].max():.4g}"
                )
            chosen = kept
        chosen = chosen[loops[chosen] != NO_MULTIPLE]
        if not len(chosen):
            raise EmptySpaceError(
                f"{where}: the fixed temporal order does not multiply to what any admitted spatial mapping leaves"
            )
        if np.any(loops[chosen] < 0):
            raise SearchError(f"{layer.name}: the layer splits into more than {MAX_LOOPS} prime factors")
        if constraints.temporal is not None:
            orders: tuple[int, ...] = (1,) * len(chosen)
        elif constraints.innermost or constraints.outermost or constraints.inside:
            orders = _count_orders(problem, rules, array_dim, loop_dim, candidates[chosen])
            whole = _has_all(remaining[chosen], (constraints.innermost, constraints.outermost))
            orders = tuple(count if fits else 0 for count, fits in zip(orders, whole.tolist(), strict=True))
            if not any(orders):
                named = [name for name in ("innermost", "outermost", "inside") if getattr(constraints, name)]
                raise EmptySpaceError(
                    f"{where}: no order of the loops that any admitted spatial mapping leaves satisfies "
                    f"{' and '.join(named)}"
                )
            chosen = chosen[np.array([count > 0 for count in orders])]
            orders = tuple(count for count in orders if count)
        else:
            orders = _multinomials(multiplicity[chosen])
        if constraints.max_spatial_mappings is not None:
            chosen, orders = chosen[: constraints.max_spatial_mappings], orders[: constraints.max_spatial_mappings]
        return cls(
            layer,
            architecture,
            constraints,
            cost_model,
            problem,
            rules,
            array_dim,
            loop_dim,
            candidates[chosen],
            remaining[chosen],
            loops[chosen],
            orders,
        )

    @classmethod
    def restore(
        cls,
        layer: Layer,
        architecture: Architecture,
        constraints: Constraints,
        cost_model: str,
        *,
        array_dim: IntArray,
        loop_dim: IntArray,
        candidates: IntArray,
        orders: tuple[int, ...],
    ) -> Mapspace:
        """Put a stored space together again, so that its mappings keep their identities whatever is enumerated
        today.
        """
        problem = lower(layer, architecture, cost_model)
        rules = lower_rules(constraints, architecture)
        _, remaining, loops, _ = _describe(problem, rules, array_dim, loop_dim, candidates)
        return cls(
            layer,
            architecture,
            constraints,
            cost_model,
            problem,
            rules,
            array_dim,
            loop_dim,
            candidates,
            remaining,
            loops,
            orders,
        )

    @cached_property
    def allocations(self) -> tuple[int, ...]:
        """Number of allocations of an order of each spatial mapping, whether they fit or not."""
        if self.constraints.allocation == "greedy":
            return (1,) * len(self.loops)
        lower_levels = [int(levels) - 1 for levels in self.problem["levels"]]
        known = {
            n: math.prod(math.comb(n + levels, levels) for levels in lower_levels) for n in set(self.loops.tolist())
        }
        return tuple(known[n] for n in self.loops.tolist())

    @cached_property
    def size(self) -> int:
        """Exact number of mappings, whether they fit or not: orders times allocations."""
        return sum(orders * each for orders, each in zip(self.orders, self.allocations, strict=True))

    def offsets(self) -> IntArray:
        """Number of the first order of each spatial mapping, and last that of all orders: int64[S + 1].

        Raises:
            SearchError: the space is too large for its orders to be numbered.
        """
        if sum(self.orders) >= MAX_ORDERS:
            raise SearchError(
                f"{self.layer.name} on {self.architecture.name}: {self.size:.3e} mappings are too many to enumerate; "
                "search with the strategy optimal, or narrow the space with constraints"
            )
        return np.concatenate([[0], np.cumsum(np.array(self.orders, np.int64))]).astype(np.int64)

    def spatial(self, index: int) -> SpatialMapping:
        """Return a spatial mapping by its index."""
        names = list(self.architecture.array.dimensions)
        unrolling: dict[str, dict[str, int]] = {}
        for a, d, factor in zip(self.array_dim, self.loop_dim, self.candidates[index], strict=True):
            if factor > 0:
                unrolling.setdefault(names[int(a)], {})[LOOP_DIMENSIONS[int(d)]] = int(factor)
        return SpatialMapping(unrolling=unrolling)

    def lattice(self, index: int) -> Lattice:
        """Return the lattice of loop orders of a spatial mapping."""
        if index not in self._lattices:
            self._lattices[index] = Lattice.build(self.problem, self.rules, self.remaining[index])
        return self._lattices[index]

    @cached_property
    def _lattices(self) -> dict[int, Lattice]:
        return {}

    def decode(self, spatial_index: int, order_rank: int, allocation_code: int = 0) -> Mapping:
        """Rebuild a mapping from its identity; without an allocation code, the allocation is left to the evaluator."""
        temporal = self.lattice(spatial_index).unrank(order_rank)
        allocation = None
        if allocation_code:
            allocation = decode_allocation(allocation_code, len(temporal), self.problem["levels"])
        return Mapping(spatial=self.spatial(spatial_index), temporal=temporal, allocation=allocation)

    def identify(self, spatial_index: int, mapping: Mapping) -> tuple[int, int, int]:
        """The identity of a mapping, with its allocation, of one of the spatial mappings; inverse of ``decode``."""
        assert mapping.allocation is not None
        rank = self.lattice(spatial_index).rank(mapping.temporal)
        return spatial_index, rank, encode_allocation(mapping.allocation, len(mapping.temporal))


@dataclass(frozen=True)
class Lattice:
    """The loop orders that one spatial mapping leaves, and their ranks, in whole numbers of any size."""

    items: tuple[tuple[str, int], ...]  #: (loop dimension, factor)
    loops: int  #: length of an order
    successor: IntArray  #: int64[S, items], see ``kernels.lattice``
    completions: tuple[int, ...]  #: orders from each state on

    @classmethod
    def build(cls, problem: Any, rules: Any, remaining: IntArray) -> Lattice:
        """Build the lattice of these remaining iterations."""
        dim, size, count = (np.empty(MAX_LOOPS, np.int64) for _ in range(3))
        items, loops = lattice_items(problem, rules, remaining, dim, size, count)
        states = np.empty((count_states(rules, items, count), N_STATE))
        successor = np.empty((len(states), items), np.int64)
        allowed = np.empty(len(states), np.bool_)
        fill_lattice(problem, rules, items, dim, size, count, states, successor)
        allowed_states(rules, states, allowed)
        completions = [0] * len(states)
        for s in range(len(states) - 1, -1, -1):
            if allowed[s]:
                last = s == len(states) - 1
                completions[s] = last + sum(completions[t] for t in successor[s].tolist() if t >= 0)
        names = tuple((LOOP_DIMENSIONS[int(d)], int(n)) for d, n in zip(dim[:items], size[:items], strict=True))
        return cls(names, loops, successor, tuple(completions))

    def unrank(self, rank: int) -> tuple[tuple[str, int], ...]:
        """The order of a rank, innermost loop first."""
        state, order = 0, []
        for _ in range(self.loops):
            for item, following in enumerate(self.successor[state].tolist()):
                count = self.completions[following] if following >= 0 else 0
                if rank < count:
                    order.append(self.items[item])
                    state = following
                    break
                rank -= count
        return tuple(order)

    def rank(self, order: Iterable[tuple[str, int]]) -> int:
        """The rank of an order; the inverse of ``unrank``."""
        rank, state = 0, 0
        for loop in order:
            for item, following in enumerate(self.successor[state].tolist()):
                if self.items[item] == loop and following >= 0:
                    state = following
                    break
                rank += self.completions[following] if following >= 0 else 0
        return rank


def _describe(
    problem: Any, rules: Any, array_dim: IntArray, loop_dim: IntArray, candidates: IntArray
) -> tuple[npt.NDArray[np.bool_], IntArray, IntArray, IntArray]:
    """What ``describe_candidates`` fills; the rows that diagonals take are not looked at."""
    count = len(candidates)
    usable = np.ones(count, np.bool_)
    remaining, loops = np.empty((count, len(LOOP_DIMENSIONS)), np.int64), np.empty(count, np.int64)
    multiplicity = np.empty((count, MAX_LOOPS), np.int64)
    unrolling, scratch = new_record(UNROLLING), new_record(SCRATCH)
    describe_candidates(
        problem, rules, unrolling, scratch, array_dim, loop_dim, candidates, usable, remaining, loops, multiplicity
    )
    return usable, remaining, loops, multiplicity


def _count_orders(
    problem: Any, rules: Any, array_dim: IntArray, loop_dim: IntArray, candidates: IntArray
) -> tuple[int, ...]:
    """Exact number of orders of each candidate under the rules, put together from its remainders by several primes."""
    residues = np.empty((len(candidates), len(PRIMES)), np.int64)
    unrolling = new_record(UNROLLING)
    count_orders(problem, rules, unrolling, array_dim, loop_dim, candidates, np.array(PRIMES), residues)
    return tuple(whole_number(row) for row in residues.tolist())


def _has_all(remaining: IntArray, parts: Iterable[tuple[Loop, ...] | None]) -> npt.NDArray[np.bool_]:
    """Which remaining iterations (int64[S, 8]) have all loops of each part: an order might end within one."""
    found = np.ones(len(remaining), np.bool_)
    for part in parts:
        for d, name in enumerate(LOOP_DIMENSIONS):
            found &= remaining[:, d] % math.prod(factor for dim, factor in part or () if dim == name) == 0
    return found


def whole_number(residues: Sequence[int]) -> int:
    """The smallest non-negative number with these remainders by ``PRIMES`` (Chinese remainder theorem)."""
    number, modulus = 0, 1
    for residue, prime in zip(residues, PRIMES, strict=True):
        number += modulus * ((residue - number) * pow(modulus, -1, prime) % prime)
        modulus *= prime
    return number


def encode_allocation(allocation: MappingABC[str, Sequence[int]], loops: int) -> int:
    """Write an allocation as one integer above 0: its cuts below each top memory are digits to the base loops + 1."""
    code = 0
    for operand in OPERANDS:
        for cut in allocation[operand][:-1]:
            code = code * (loops + 1) + cut
    return code + 1


def decode_allocation(code: int, loops: int, levels: Sequence[int] | IntArray) -> dict[str, tuple[int, ...]]:
    """The inverse of ``encode_allocation``; ``levels`` counts the memory levels of W, I and O."""
    digits = code - 1
    allocation: dict[str, tuple[int, ...]] = {}
    for operand, count in zip(reversed(OPERANDS), reversed(list(levels)), strict=True):
        cuts = [loops]
        for _ in range(int(count) - 1):
            digits, cut = divmod(digits, loops + 1)
            cuts.append(cut)
        allocation[operand] = tuple(reversed(cuts))
    return {operand: allocation[operand] for operand in OPERANDS}


def _zigzag_candidates(
    layer: Layer, architecture: Architecture, constraints: Constraints
) -> tuple[IntArray, IntArray, IntArray]:
    """Return ZigZag's spatial mappings as factors of common loops, 0 where a mapping lacks one."""
    names = list(architecture.array.dimensions)
    count = constraints.max_spatial_mappings or ZIGZAG_SPATIAL_MAPPINGS
    mappings = zigzag_spatial_mappings(layer, architecture, constraints.allowed or {}, count, constraints.spatial)
    if not mappings:
        raise EmptySpaceError(f"{layer.name} on {architecture.name}: ZigZag has no spatial mapping that fits the array")
    written = [[(name, dim) for name in names for dim in mapping.unrolling.get(name, {})] for mapping in mappings]
    loops: list[tuple[str, str]] = []
    for each in written:
        place = 0
        for loop in each:
            if loop not in loops:
                place = max(place, sum(names.index(other) < names.index(loop[0]) for other, _ in loops))
                loops.insert(place, loop)
            place = loops.index(loop) + 1
    if any([loop for loop in loops if loop in each] != each for each in written):
        raise SearchError(
            f"{layer.name} on {architecture.name}: ZigZag's spatial mappings write the same loops in different orders; "
            "search them one by one, each as the fixed spatial mapping"
        )
    table = [[mapping.unrolling.get(name, {}).get(dim, 0) for name, dim in loops] for mapping in mappings]
    return (
        np.array([names.index(name) for name, _ in loops], np.int64),
        np.array([LOOP_DIMENSIONS.index(dim) for _, dim in loops], np.int64),
        np.array(table, np.int64).reshape(len(mappings), len(loops)),
    )


def _spatial_candidates(
    layer: Layer, architecture: Architecture, constraints: Constraints
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the spatial loops (array dimension, loop dimension) and all combinations of their factors, 0 for none.

    A fixed spatial mapping settles the array dimensions that it names, and all of them unless loops are allowed on
    others.
    """
    sizes = architecture.array.dimensions
    fixed: MappingABC[str, MappingABC[str, int]] = {}
    if constraints.spatial is not None:
        fixed = constraints.spatial.unrolling
        problems = constraints.spatial.problems(layer, architecture)
        if problems:
            raise EmptySpaceError(f"{layer.name} on {architecture.name}, {problems[0]}")
    allowed: MappingABC[str, tuple[str, ...]] = constraints.allowed or {}
    if constraints.allowed is None and constraints.spatial is None:
        allowed = default_allowed(architecture)
    factors_of = constraints.spatial_factors or {}
    loops: list[tuple[int, str]] = []
    choices: list[list[int]] = []
    free: list[bool] = []
    for a, name in enumerate(sizes):
        for dim, factor in fixed.get(name, {}).items():
            loops.append((a, dim))
            choices.append([factor])
            free.append(False)
        open_dims = allowed.get(name, ())
        if name not in fixed and name in factors_of and constraints.allowed is None:
            open_dims = (*open_dims, *(dim for dim in factors_of[name] if dim not in open_dims))
        for dim in open_dims:
            if layer.size(dim) > 1 and sizes[name] > 1 and dim not in fixed.get(name, {}):
                loops.append((a, dim))
                factors = unroll_factors(layer.size(dim), sizes[name])
                if dim in factors_of.get(name, {}):
                    factors = sorted({min(f, layer.size(dim)) for f in factors_of[name][dim]}, reverse=True)
                choices.append([f if f > 1 else 0 for f in factors if f <= sizes[name]])
                free.append(True)
    table = np.ones((1, 0), np.int64)
    names = list(sizes)
    for position, ((a, dim), factors) in enumerate(zip(loops, choices, strict=True)):
        if len(table) * len(factors) > MAX_CANDIDATES:
            raise SearchError(
                f"{layer.name} on {architecture.name}: more than {MAX_CANDIDATES:,} spatial mappings; say which loop "
                "dimensions are allowed on each array dimension"
            )
        table = np.hstack([np.repeat(table, len(factors), axis=0), np.tile(factors, len(table))[:, None]])
        units = np.maximum(table, 1)
        same_array = [i for i in range(position + 1) if loops[i][0] == a]
        same_dim = [i for i in range(position) if loops[i][1] == dim]
        fits = np.prod(units[:, same_array], axis=1) <= sizes[names[a]]
        if same_dim and free[position]:  # what other array dimensions already cover needs no more units
            left = np.ceil(layer.size(dim) / np.prod(units[:, same_dim], axis=1))
            fits &= units[:, position] <= left
        table = table[fits]
    array_dim = np.array([a for a, _ in loops], np.int64)
    loop_dim = np.array([LOOP_DIMENSIONS.index(dim) for _, dim in loops], np.int64)
    why = ""
    if architecture.array.kind != "mac" and len(table):
        needed = np.empty(len(table))
        fill_rows_needed(array_dim, loop_dim, table, needed)
        table = table[_has_partners(loops, free, table) & (needed <= architecture.array.rows)]
        columns, rows = names[:2]
        why = f": OX and OY on {columns} need FX and FY beside them on {rows}, and rows for all inputs (a diagonal)"
    if not len(table):
        raise EmptySpaceError(
            f"{layer.name} on {architecture.name}: no spatial mapping satisfies "
            f"{' and '.join(name for name in ('spatial', 'allowed', 'spatial_factors') if getattr(constraints, name))}"
            f"{why}"
        )
    return array_dim, loop_dim, table


def _has_partners(loops: list[tuple[int, str]], free: list[bool], table: IntArray) -> npt.NDArray[np.bool_]:
    """Which candidates have, for each output position that is free to join the columns, its filter dimension on the
    rows, which lets the columns share inputs.
    """
    fits = np.ones(len(table), np.bool_)
    for position, (a, dim) in enumerate(loops):
        if a == 0 and dim in DIAGONAL_PARTNER and free[position]:
            partner = (1, DIAGONAL_PARTNER[dim])
            fits &= (table[:, position] <= 1) | (table[:, loops.index(partner)] > 0 if partner in loops else False)
    return fits


def _multinomials(multiplicity: IntArray) -> tuple[int, ...]:
    """Exact number of distinct permutations for each row of multiplicities."""
    known: dict[bytes, int] = {}
    counts = []
    for row in np.sort(multiplicity, axis=1):
        key = row.tobytes()
        if key not in known:
            known[key] = math.factorial(int(row.sum())) // math.prod(math.factorial(int(each)) for each in row)
        counts.append(known[key])
    return tuple(counts)
