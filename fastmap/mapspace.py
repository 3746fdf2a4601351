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
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import SearchError
from fastmap.kernels.array import array_use
from fastmap.kernels.orders import loop_items, unrank_order
from fastmap.kernels.problem import MAX_LOOPS, SCRATCH, UNROLLING
from fastmap.kernels.search import candidate_orders, unrolling_fits
from fastmap.layer import Layer
from fastmap.lowering import lower, new_record
from fastmap.mapping import Constraints, Mapping, SpatialMapping
from fastmap.zigzag_spatial import zigzag_spatial_mappings

IntArray = npt.NDArray[np.int64]

#: Largest number of orders of one spatial mapping that can be enumerated: ranks stay exact in 64 bits.
MAX_ORDERS = 2**57

#: Spatial mappings that ZigZag evaluates for each layer.
ZIGZAG_SPATIAL_MAPPINGS = 3

#: Most spatial mappings that are worked with at a time.
MAX_CANDIDATES = 5_000_000

#: Output dimension along the word lines -> filter dimension along the bit lines with which it forms a diagonal.
DIAGONAL_PARTNER = {"OX": "FX", "OY": "FY"}


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
    """
    smallest: dict[int, int] = {}
    for factor in range(min(size, limit), 0, -1):
        smallest[math.ceil(size / factor)] = factor
    return sorted(smallest.values(), reverse=True)


@dataclass(frozen=True)
class Mapspace:
    """All mappings of a layer on an architecture that the constraints admit, each order with its greedy allocation.

    Mappings are identified by (spatial index, order rank): the spatial mappings that keep the array busiest come
    first (ZigZag's candidates keep its order), orders are ranked lexicographically.
    """

    layer: Layer
    architecture: Architecture
    constraints: Constraints
    cost_model: str
    problem: Any  #: the record of ``lowering.lower``
    array_dim: IntArray  #: int64[n], array dimension of each spatial loop
    loop_dim: IntArray  #: int64[n], loop dimension of each spatial loop
    candidates: IntArray  #: int64[S, n], factors of each spatial mapping, 0 for a loop that it lacks
    remaining: IntArray  #: int64[S, 8], temporal iterations of each loop dimension
    orders: tuple[int, ...]  #: exact number of orders of each spatial mapping

    @classmethod
    def build(
        cls,
        layer: Layer,
        architecture: Architecture,
        constraints: Constraints | None = None,
        cost_model: str = "zigzag",
    ) -> Mapspace:
        """Enumerate the spatial mappings and count the orders.

        Raises:
            SearchError: the constraints admit nothing; the sentence says which one is to blame.
        """
        constraints = constraints or Constraints()
        problem = lower(layer, architecture, cost_model)
        unrolling = new_record(UNROLLING)
        as_zigzag = constraints.spatial_candidates == "zigzag"
        if as_zigzag:
            array_dim, loop_dim, candidates = _zigzag_candidates(layer, architecture, constraints)
        else:
            array_dim, loop_dim, candidates = _spatial_candidates(layer, architecture, problem, constraints)
        fits = np.ones(len(candidates), np.bool_)
        if constraints.spatial is None or as_zigzag:
            scratch = new_record(SCRATCH)
            unrolling_fits(problem, unrolling, scratch, array_dim, loop_dim, candidates, fits)
        candidates = candidates[fits]
        if not len(candidates):
            raise SearchError(
                f"{layer.name} fits nowhere on {architecture.name}: no admitted spatial mapping leaves room for a "
                "single element of each operand in every memory"
            )
        limit = constraints.loop_factor_limit or 0
        count = len(candidates)
        remaining = np.empty((count, len(LOOP_DIMENSIONS)), np.int64)
        loops = np.empty(count, np.int64)
        multiplicity = np.empty((count, MAX_LOOPS), np.int64)
        candidate_orders(problem, unrolling, array_dim, loop_dim, candidates, limit, remaining, loops, multiplicity)

        iterations = np.prod(remaining, axis=1, dtype=float)
        chosen = np.arange(count) if as_zigzag else np.argsort(iterations, kind="stable")
        if constraints.min_array_utilization is not None:
            units = math.prod(architecture.array.dimensions.values())
            utilization = layer.macs / units / iterations
            kept = chosen[utilization[chosen] >= constraints.min_array_utilization * (1 - 1e-12)]
            if not len(kept):
                raise SearchError(
                    f"{layer.name} on {architecture.name}: no spatial mapping uses min_array_utilization = "
                    f"{constraints.min_array_utilization:g} of the array; the most that any uses is "
                    f"{utilization.max():.4g}"
                )
            chosen = kept
        if constraints.temporal is not None:
            chosen = chosen[_covers(remaining[chosen], constraints.temporal)]
            if not len(chosen):
                raise SearchError(
                    f"{layer.name} on {architecture.name}: the fixed temporal order does not multiply to what any "
                    "admitted spatial mapping leaves"
                )
        if constraints.max_spatial_mappings is not None:
            chosen = chosen[: constraints.max_spatial_mappings]
        if np.any(loops[chosen] < 0):
            raise SearchError(f"{layer.name}: the layer splits into more than {MAX_LOOPS} prime factors")
        if constraints.temporal is not None:
            orders = (1,) * len(chosen)
        else:
            orders = _multinomials(multiplicity[chosen])
        return cls(
            layer,
            architecture,
            constraints,
            cost_model,
            problem,
            array_dim,
            loop_dim,
            candidates[chosen],
            remaining[chosen],
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
        remaining: IntArray,
        orders: tuple[int, ...],
    ) -> Mapspace:
        """Put a stored space together again, so that its mappings keep their identities whatever is enumerated
        today.
        """
        problem = lower(layer, architecture, cost_model)
        return cls(
            layer, architecture, constraints, cost_model, problem, array_dim, loop_dim, candidates, remaining, orders
        )

    @cached_property
    def size(self) -> int:
        """Exact number of mappings."""
        return sum(self.orders)

    @property
    def loop_limit(self) -> int:
        """Largest number of temporal loops, 0 for none."""
        return self.constraints.loop_factor_limit or 0

    @property
    def _dimension_order(self) -> IntArray:
        order: IntArray = self.problem["dimension_order"][: self.problem["dimensions"]]
        return order

    @property
    def fixed_order(self) -> IntArray:
        """The one order to cost as int64[n, 2] (loop dimension, size), n = 0 where orders are free."""
        loops = [(LOOP_DIMENSIONS.index(dim), size) for dim, size in self.constraints.temporal or () if size > 1]
        if self.constraints.temporal is not None and not loops:
            loops = [(int(self._dimension_order[0]), 1)]
        return np.array(loops, np.int64).reshape(-1, 2)

    def offsets(self) -> IntArray:
        """Number of the first mapping of each spatial mapping, and last the size: int64[S + 1].

        Raises:
            SearchError: the space is too large for its mappings to be numbered.
        """
        if self.size >= 2**62 or max(self.orders, default=0) >= MAX_ORDERS:
            raise SearchError(
                f"{self.layer.name} on {self.architecture.name}: {self.size:.3e} mappings are too many to enumerate"
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

    def decode(self, spatial_index: int, order_rank: int, allocation_code: int = 0) -> Mapping:
        """Rebuild a mapping from its identity; without an allocation code, the allocation is left to the evaluator."""
        if self.constraints.temporal is not None:
            temporal = tuple((dim, size) for dim, size in self.constraints.temporal if size > 1)
        else:
            dim, size, count, order = (np.empty(MAX_LOOPS, np.int64) for _ in range(4))
            items, loops = loop_items(
                self.remaining[spatial_index], self._dimension_order, self.loop_limit, dim, size, count
            )
            unrank_order(items, count, loops, self.orders[spatial_index], order_rank, order)
            temporal = tuple(
                (LOOP_DIMENSIONS[int(dim[item])], int(size[item])) for item in order[:loops] if size[item] > 1
            )
        allocation = None
        if allocation_code:
            allocation = decode_allocation(allocation_code, len(temporal), self.problem["levels"])
        return Mapping(spatial=self.spatial(spatial_index), temporal=temporal, allocation=allocation)


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
    _check_array_dimensions(architecture, constraints.allowed or {})
    _check_array_dimensions(architecture, constraints.spatial.unrolling if constraints.spatial is not None else {})
    count = constraints.max_spatial_mappings or ZIGZAG_SPATIAL_MAPPINGS
    mappings = zigzag_spatial_mappings(layer, architecture, constraints.allowed or {}, count, constraints.spatial)
    if not mappings:
        raise SearchError(f"{layer.name} on {architecture.name}: ZigZag has no spatial mapping that fits the array")
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


def _check_array_dimensions(architecture: Architecture, named: Iterable[str]) -> None:
    sizes = architecture.array.dimensions
    for name in named:
        if name not in sizes:
            raise SearchError(
                f"{architecture.name} has no array dimension {name!r} to constrain (it has {', '.join(sizes)})"
            )


def _spatial_candidates(
    layer: Layer, architecture: Architecture, problem: Any, constraints: Constraints
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the spatial loops (array dimension, loop dimension) and all combinations of their factors, 0 for none.

    A fixed spatial mapping settles the array dimensions that it names, and all of them unless loops are allowed on
    others.
    """
    sizes = architecture.array.dimensions
    _check_array_dimensions(architecture, constraints.allowed or {})
    fixed: MappingABC[str, MappingABC[str, int]] = {}
    if constraints.spatial is not None:
        fixed = constraints.spatial.unrolling
        problems = constraints.spatial.problems(layer, architecture)
        if problems:
            raise SearchError(f"{layer.name} on {architecture.name}, {problems[0]}")
    allowed: MappingABC[str, tuple[str, ...]] = constraints.allowed or {}
    if constraints.allowed is None and constraints.spatial is None:
        allowed = default_allowed(architecture)
    loops: list[tuple[int, str]] = []
    choices: list[list[int]] = []
    for a, name in enumerate(sizes):
        if name in fixed:
            loops += [(a, dim) for dim in fixed[name]]
            choices += [[factor] for factor in fixed[name].values()]
            continue
        for dim in allowed.get(name, ()):
            if layer.size(dim) > 1 and sizes[name] > 1:
                loops.append((a, dim))
                choices.append([f if f > 1 else 0 for f in unroll_factors(layer.size(dim), sizes[name])])
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
        if same_dim and names[a] not in fixed:  # what other array dimensions already cover needs no more units
            left = np.ceil(layer.size(dim) / np.prod(units[:, same_dim], axis=1))
            fits &= units[:, position] <= left
        table = table[fits]
    array_dim = np.array([a for a, _ in loops], np.int64)
    loop_dim = np.array([LOOP_DIMENSIONS.index(dim) for _, dim in loops], np.int64)
    if architecture.array.kind != "mac" and constraints.spatial is None:
        needs_partner = constraints.allowed is None
        table = table[_diagonal_fits(architecture, problem, loops, array_dim, loop_dim, table, needs_partner)]
    return array_dim, loop_dim, table


def _diagonal_fits(
    architecture: Architecture,
    problem: Any,
    loops: list[tuple[int, str]],
    array_dim: IntArray,
    loop_dim: IntArray,
    table: IntArray,
    needs_partner: bool,
) -> npt.NDArray[np.bool_]:
    """Which candidates' diagonals fit the rows; output positions need their filter dimension on the bit lines."""
    fits = np.ones(len(table), np.bool_)
    diagonal = np.zeros(len(table), np.bool_)
    for position, (a, dim) in enumerate(loops):
        if a != 0 or dim not in DIAGONAL_PARTNER:
            continue
        used = table[:, position] > 1
        diagonal |= used
        if needs_partner:
            partner = (1, DIAGONAL_PARTNER[dim])
            fits &= ~used | (table[:, loops.index(partner)] > 1 if partner in loops else False)
    for i in np.flatnonzero(diagonal & fits):
        fits[i] = array_use(problem, array_dim, loop_dim, table[i])[0] <= architecture.array.rows
    return fits


def _covers(remaining: IntArray, temporal: tuple[tuple[str, int], ...]) -> npt.NDArray[np.bool_]:
    """Which candidates leave exactly the iterations of a fixed order."""
    given = np.ones(len(LOOP_DIMENSIONS), np.int64)
    for dim, size in temporal:
        given[LOOP_DIMENSIONS.index(dim)] *= size
    return np.asarray(np.all(remaining == given, axis=1))


def _multinomials(multiplicity: IntArray) -> tuple[int, ...]:
    """Exact number of distinct permutations for each row of multiplicities."""
    signatures, inverse = np.unique(np.sort(multiplicity, axis=1), axis=0, return_inverse=True)
    counts = [
        math.factorial(int(row.sum())) // math.prod(math.factorial(int(each)) for each in row) for row in signatures
    ]
    return tuple(counts[i] for i in inverse.ravel())
