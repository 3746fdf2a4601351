"""Brute force on top of the reference cost model: every order of the temporal loops, every allocation that fits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .cost import Cuts, DoesNotFit, evaluate, fitting_allocations, spatial_loops
from .problem import parse_hardware, parse_layer

Factor = tuple[str, int]

OBJECTIVES = ("energy", "latency", "edp")


def remaining_sizes(layer: dict, hw: dict, spatial: list) -> dict[str, int]:
    """Iterations of every dimension that are left to do in time, those that are unrolled completely left out.

    Every unrolled loop (d, f) of the first input operand divides what is left of d, rounded up. The balanced factor is
    f = L / q, and L / f may come out as slightly more than q in floating point: then one iteration too many is left
    (34 on 5 columns: 34 / (34 / 7) rounds up to 8). A dimension that has come down to 1 ignores further loops.
    """
    the_layer, the_hw = parse_layer(layer), parse_hardware(hw)
    sizes = dict(the_layer.sizes)
    for loops in spatial_loops(the_layer, the_hw, spatial, integer=False)[the_layer.inputs[0]]:
        for dim, factor in loops:
            if dim in sizes:
                sizes[dim] = math.ceil(sizes[dim] / factor)
                if sizes[dim] == 1:
                    del sizes[dim]
    return {dim: n for dim, n in sizes.items() if n > 1}


def prime_factors(n: int) -> list[int]:
    """Prime factors in rising order, by trial division."""
    factors = []
    divisor = 2
    while n > 1:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return factors


def loop_factors(layer: dict, hw: dict, spatial: list, limit: int | None = None) -> list[Factor]:
    """The temporal loops to be ordered: prime factors of the remaining sizes, merged down to ``limit`` (None: not).

    The limit is at least the number of dimensions. While there are more factors, the two smallest of the dimension with
    the most factors (the first such) become one. If no iteration is left there is one loop, the first dimension once.
    """
    sizes = remaining_sizes(layer, hw, spatial)
    if not sizes:
        return [(layer["loop_dims"][0], 1)]
    factors = {dim: prime_factors(n) for dim, n in sizes.items()}
    limit = math.inf if limit is None else max(limit, len(sizes))
    while sum(map(len, factors.values())) > limit:
        longest = max(factors.values(), key=len)
        smallest, second = longest[:2]
        longest[:] = sorted([smallest * second, *longest[2:]])
    return [(dim, n) for dim, numbers in factors.items() for n in numbers]


def orders(factors: list[Factor]) -> Iterator[list[Factor]]:
    """All distinct permutations, innermost loop first, in lexicographic order.

    The alphabet is in the order in which the different factors first appear in ``factors``.
    """
    left = Counter(factors)

    def extend(prefix: list[Factor]) -> Iterator[list[Factor]]:
        if len(prefix) == len(factors):
            yield list(prefix)
        for factor in left:
            if left[factor]:
                left[factor] -= 1
                yield from extend([*prefix, factor])
                left[factor] += 1

    return extend([])


def count_orders(factors: list[Factor]) -> int:
    """How many distinct permutations there are: n! over the factorials of the multiplicities."""
    repeats = math.prod(math.factorial(n) for n in Counter(factors).values())
    return math.factorial(len(factors)) // repeats


def allocations(layer: dict, hw: dict, spatial: list, temporal: list) -> Iterator[Cuts]:
    """Every allocation of the ordered loops that fits: operand -> number of loops at or below each memory level."""
    the_layer, the_hw = parse_layer(layer), parse_hardware(hw)
    levels = spatial_loops(the_layer, the_hw, spatial, integer=False)
    return fitting_allocations(the_layer, the_hw, levels, [(dim, n) for dim, n in temporal])


@dataclass(frozen=True)
class Found:
    """A best mapping: what it achieves, its order, its allocation, and everything about it."""

    value: float
    order: list[Factor]
    allocation: Cuts
    result: dict


def ranking(objective: str, result: dict) -> tuple[float, ...]:
    """What is minimised: energy, ties by latency; latency, ties by energy; or their product (pJ * cycles)."""
    energy, latency = result["energy_total"], result["latency_total2"]
    return {"energy": (energy, latency), "latency": (latency, energy), "edp": (energy * latency,)}[objective]


def cuts_of(result: dict) -> Cuts:
    """The allocation of an evaluated mapping, from its loops per level."""
    cuts: Cuts = {}
    for operand, levels in result["temporal_allocated"].items():
        cuts[operand] = []
        for loops in levels:
            cuts[operand].append(len(loops) + (cuts[operand][-1] if cuts[operand] else 0))
    return cuts


def best(
    layer: dict, hw: dict, spatial: list, limit: int | None = None, every_allocation: bool = False
) -> dict[str, Found]:
    """The best mappings of a spatial mapping, one for each of :data:`OBJECTIVES`, over all orders of the loop factors.

    Each order is allocated greedily, or, with ``every_allocation``, in all ways that fit. Of equal mappings the first
    wins. Raises :class:`DoesNotFit` when no order fits.
    """
    found: dict[str, Found] = {}
    failure = None
    for order in orders(loop_factors(layer, hw, spatial, limit)):
        for allocation in allocations(layer, hw, spatial, order) if every_allocation else [None]:
            try:
                result = evaluate(layer, hw, spatial, order, allocation)
            except DoesNotFit as error:
                failure = error
                continue
            for objective in OBJECTIVES:
                rank = ranking(objective, result)
                if objective not in found or rank < ranking(objective, found[objective].result):
                    found[objective] = Found(rank[0], order, cuts_of(result), result)
    if not found:
        raise failure or DoesNotFit("every memory", tuple(parse_layer(layer).operands), math.inf, 0)
    return found
