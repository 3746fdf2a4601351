"""Brute force on top of the reference cost model: every order of the temporal loops, every allocation that fits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from .cost import (
    Cuts,
    DoesNotFit,
    OperandView,
    View,
    accesses_of,
    array_energy,
    cut_loops,
    energies_of,
    evaluate,
    every_allocation,
    fits,
    fitting_allocations,
    merge_down,
    spatial_loops,
    stored,
    table_bits,
    timing,
)
from .problem import (
    JOINT_COVERAGE,
    WHOLE_ITERATIONS,
    Hardware,
    Layer,
    convert_spatial,
    parse_hardware,
    parse_layer,
    product,
    spatial_levels,
    total,
)

Factor = tuple[str, int]

OBJECTIVES = ("energy", "latency", "edp")


def remaining_sizes(layer: dict, hw: dict, spatial: list, repairs: Iterable[str] = ()) -> dict[str, int]:
    """Iterations of every dimension that are left to do in time, those that are unrolled completely left out.

    Every unrolled loop (d, f) of the first input operand divides what is left of d, rounded up. The balanced factor is
    f = L / q, and L / f may come out as slightly more than q in floating point: then one iteration too many is left
    (34 on 5 columns: 34 / (34 / 7) rounds up to 8). A dimension that has come down to 1 ignores further loops.

    The repairs: whole iterations are calculated in fractions; joint coverage divides by all unrolling of d at once, so
    that rounding up happens once.
    """
    the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
    number = Fraction if WHOLE_ITERATIONS in the_layer.repairs else float
    converted = convert_spatial(the_layer, the_hw, spatial, integer=False, number=number)
    loops = [loop for entry in spatial_levels(the_hw, the_layer.inputs[0], converted) for loop in entry]
    if JOINT_COVERAGE in the_layer.repairs:
        loops = [(dim, product(f for other, f in loops if other == dim)) for dim in dict(loops)]
    sizes = dict(the_layer.sizes)
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


def loop_factors(
    layer: dict, hw: dict, spatial: list, limit: int | None = None, repairs: Iterable[str] = ()
) -> list[Factor]:
    """The temporal loops to be ordered: prime factors of the remaining sizes, merged down to ``limit`` (None: not).

    The limit is at least the number of dimensions. While there are more factors, the two smallest of the dimension with
    the most factors (the first such) become one. If no iteration is left there is one loop, the first dimension once.
    """
    sizes = remaining_sizes(layer, hw, spatial, repairs)
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


def allocations(layer: dict, hw: dict, spatial: list, temporal: list, repairs: Iterable[str] = ()) -> Iterator[Cuts]:
    """Every allocation of the ordered loops that fits: operand -> number of loops at or below each memory level."""
    the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
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


# ----------------------------------------------------------------------------------------------------------------------
# The complete space
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constraints:
    """What a mapping of the complete space must satisfy; everything left out is free.

    Loops are innermost first. A *place* is the name of a memory, for every operand that it stores, or "memory.O" for
    one of them. Layer dimensions have the names that they have in the layer.
    """

    #: The complete order, with loops that need not be prime.
    temporal: list[Factor] | None = None
    #: The order starts, or ends, with these loops; each may be made of several adjacent ones.
    innermost: list[Factor] = field(default_factory=list)
    outermost: list[Factor] = field(default_factory=list)
    #: Pairs (A, B): every loop of A lies closer to the array than every loop of B.
    inside: list[tuple[str, str]] = field(default_factory=list)
    #: Memory -> operand whose tile there is used again: the next loop in is irrelevant to it.
    stationary: dict[str, str] = field(default_factory=dict)
    #: Place -> dimensions that have no temporal loop there.
    forbidden: dict[str, list[str]] = field(default_factory=dict)
    #: Place -> dimension -> the product of its temporal loops there, or its bounds {"min": a, "max": b}.
    factors: dict[str, dict[str, int | dict[str, int]]] = field(default_factory=dict)
    #: "even": operands that share a memory have the same cut there.
    allocation: str = "free"
    #: Every weight is written once into the lowest memory of the weights.
    weights_loaded_once: bool = False


FREE = Constraints()


@dataclass(frozen=True)
class Point:
    """One mapping of the complete space. Energy and latency are missing if it does not fit."""

    order: list[Factor]
    cuts: Cuts
    fits: bool
    energy: float | None = None
    latency: float | None = None

    def __iter__(self) -> Iterator:
        return iter((self.order, self.cuts, self.fits, self.energy, self.latency))


def complete_space(
    layer: dict,
    hw: dict,
    spatial: list,
    repairs: Iterable[str] = (),
    constraints: Constraints = FREE,
    limit: int | None = None,
) -> Iterator[Point]:
    """Every mapping of one spatial mapping that satisfies the constraints, whether it fits or not, with its cost."""
    pricing = Pricing(layer, hw, spatial, repairs)
    for order, cuts, fitting in mappings(layer, hw, spatial, repairs, constraints, limit):
        if fitting:
            yield Point(order, cuts, True, *pricing.cost(order, cuts))
        else:
            yield Point(order, cuts, False)


def counts(
    layer: dict,
    hw: dict,
    spatial: list,
    repairs: Iterable[str] = (),
    constraints: Constraints = FREE,
    limit: int | None = None,
) -> tuple[int, int]:
    """How many mappings satisfy the constraints, and how many of them fit."""
    fitting = Counter(fitting for _, _, fitting in mappings(layer, hw, spatial, repairs, constraints, limit))
    return fitting[True] + fitting[False], fitting[True]


def mappings(
    layer: dict,
    hw: dict,
    spatial: list,
    repairs: Iterable[str] = (),
    constraints: Constraints = FREE,
    limit: int | None = None,
) -> Iterator[tuple[list[Factor], Cuts, bool]]:
    """Every order and allocation that satisfies the constraints, and whether all of it fits.

    Loops of one iteration do not exist here: a layer that is unrolled completely has one order, of no loops.
    """
    the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
    levels = spatial_loops(the_layer, the_hw, spatial, integer=False)
    here = [(memory, stored(the_layer, the_hw, memory)) for memory in the_hw.memories]
    loops = [loop for loop in loop_factors(layer, hw, spatial, limit, repairs) if loop[1] > 1]
    all_orders = orders(loops) if constraints.temporal is None else [list(constraints.temporal)]
    for order in all_orders:
        bits: dict[tuple, float] = {}  # of the order: the same level with the same cuts holds the same

        def bits_at(memory, o, level, cuts, order=order, bits=bits):
            key = (o, level, *cuts[o][max(0, level - 1) : level + 1])
            if key not in bits:
                bits[key] = table_bits(the_layer, memory, o, levels[o], order, level, cuts[o])
            return bits[key]

        for cuts in every_allocation(the_layer, the_hw, order):
            if satisfies(the_layer, the_hw, order, cuts, constraints):
                fitting = all(
                    fits(memory, [bits_at(memory, o, level, cuts) for o, level in operands])
                    for memory, operands in here
                )
                yield order, cuts, fitting


class Pricing:
    """Energy and latency of many mappings that share a spatial mapping: what :func:`evaluate` says, with less work.

    All that happens to an operand follows from its own loops, merged down; so that is done once for each of them.
    """

    def __init__(self, layer: dict, hw: dict, spatial: list, repairs: Iterable[str] = ()):
        self.layer, self.hw = parse_layer(layer, repairs), parse_hardware(hw)
        self.spatial = spatial
        self.fractional = spatial_loops(self.layer, self.hw, spatial, integer=False)
        self.truncated = spatial_loops(self.layer, self.hw, spatial, integer=True)
        self.order: list[Factor] = []
        self.merged: dict[tuple, tuple] = {}
        self.parts: dict[tuple, tuple[OperandView, OperandView, float, float]] = {}
        self.costs: dict[tuple, tuple[float, float]] = {}

    def cost(self, order: list[Factor], cuts: Cuts) -> tuple[float, float]:
        """(energy, latency), without a look at whether the mapping fits."""
        if order != self.order:
            self.order = order
            self.merged, self.parts, self.costs = {}, {}, {}
        levels = tuple(self.merge(o, tuple(cuts[o])) for o in self.layer.operands)
        if levels not in self.costs:
            self.costs[levels] = self.price(levels)
        return self.costs[levels]

    def merge(self, o: str, cuts: tuple[int, ...]) -> tuple:
        """The loops of every level after merging."""
        if (o, cuts) not in self.merged:
            merged = merge_down(self.layer, o, cut_loops(self.order, list(cuts)))
            self.merged[o, cuts] = tuple(tuple(loops) for loops in merged)
        return self.merged[o, cuts]

    def part(self, o: str, levels: tuple) -> tuple[OperandView, OperandView, float, float]:
        """Both views of an operand, its memory energy, and the energy of the array if it is the weights."""
        if (o, levels) not in self.parts:
            loops = [list(level) for level in levels]
            energy_part = OperandView(self.layer, o, self.fractional[o], loops)
            timing_part = OperandView(self.layer, o, self.truncated[o], loops)
            four_way = energies_of(energy_part, self.hw, accesses_of(energy_part, self.hw))
            memory = total(total(directions.values()) for directions in four_way)
            array = total(array_energy(energy_part, self.hw, self.spatial).values()) if o == "W" else 0
            self.parts[o, levels] = (energy_part, timing_part, memory, array)
        return self.parts[o, levels]

    def price(self, levels: tuple) -> tuple[float, float]:
        """(energy, latency) of merged loops."""
        parts = {o: self.part(o, of_one) for o, of_one in zip(self.layer.operands, levels, strict=True)}
        energy_view = View(self.layer, self.hw, {o: part[0] for o, part in parts.items()})
        timing_view = View(self.layer, self.hw, {o: part[1] for o, part in parts.items()})
        energy = total(part[2] for part in parts.values()) + total(part[3] for part in parts.values())
        return energy, timing(energy_view, timing_view).latencies[-1]


def pareto(points: Iterable[tuple[float, float]]) -> set[tuple[float, float]]:
    """The points (energy, latency) for which no other is as good in both and better in one."""
    front = set()
    best_latency = math.inf
    for energy, latency in sorted(set(points)):
        if latency < best_latency:
            front.add((energy, latency))
            best_latency = latency
    return front


# ----------------------------------------------------------------------------------------------------------------------
# Constraints, one finished mapping at a time
# ----------------------------------------------------------------------------------------------------------------------


def satisfies(layer: Layer, hw: Hardware, order: list[Factor], cuts: Cuts, constraints: Constraints) -> bool:
    """Whether one order with one allocation satisfies every constraint."""
    return (
        starts_with(order, constraints.innermost)
        and starts_with(order[::-1], constraints.outermost[::-1])
        and all(lies_inside(order, a, b) for a, b in constraints.inside)
        and all(is_stationary(layer, hw, order, cuts, memory, o) for memory, o in constraints.stationary.items())
        and all(has_none(layer, hw, order, cuts, place, dims) for place, dims in constraints.forbidden.items())
        and all(has_factors(layer, hw, order, cuts, place, wanted) for place, wanted in constraints.factors.items())
        and (constraints.allocation == "free" or is_even(layer, hw, cuts))
        and (not constraints.weights_loaded_once or loads_weights_once(layer, order, cuts))
    )


def starts_with(order: list[Factor], wanted: list[Factor]) -> bool:
    """Whether the first loops multiply up to each of the wanted ones in turn."""
    left = list(order)
    for dim, factor in wanted:
        n = 1
        while n < factor and left and left[0][0] == dim:
            n *= left.pop(0)[1]
        if n != factor:
            return False
    return True


def lies_inside(order: list[Factor], a: str, b: str) -> bool:
    """Whether every loop of ``a`` comes before every loop of ``b``."""
    places_a = [p for p, (dim, _) in enumerate(order) if dim == a]
    places_b = [p for p, (dim, _) in enumerate(order) if dim == b]
    return all(p < q for p in places_a for q in places_b)


def boundary(layer: Layer, order: list[Factor], o: str, cut: int) -> int:
    """Where the tile below a cut really ends: beyond the loops that follow and are irrelevant to the operand."""
    while cut < len(order) and order[cut][0] in layer.irrelevant[o]:
        cut += 1
    return cut


def is_stationary(layer: Layer, hw: Hardware, order: list[Factor], cuts: Cuts, memory: str, o: str) -> bool:
    """Whether the loop just below the boundary above this memory is irrelevant to the operand."""
    level = [each.name for each in hw.chain(o)].index(memory)
    end = boundary(layer, order, o, cuts[o][level])
    return end >= 1 and order[end - 1][0] in layer.irrelevant[o]


def loops_at(layer: Layer, hw: Hardware, order: list[Factor], cuts: Cuts, place: str) -> list[list[Factor]]:
    """The temporal loops at a place, for each operand that it stands for."""
    name, operands = place, list(layer.operands)
    if place not in [memory.name for memory in hw.memories]:
        name, operand = place.rsplit(".", 1)
        operands = [operand]
    found = []
    for o in operands:
        for memory, loops in zip(hw.chain(o), cut_loops(order, cuts[o]), strict=True):
            if memory.name == name:
                found.append(loops)
    if not found:
        raise ValueError(f"there is no {place}")
    return found


def has_none(layer: Layer, hw: Hardware, order: list[Factor], cuts: Cuts, place: str, dims: list[str]) -> bool:
    """Whether no loop of these dimensions is there."""
    return all(dim not in dims for loops in loops_at(layer, hw, order, cuts, place) for dim, _ in loops)


def has_factors(layer: Layer, hw: Hardware, order: list[Factor], cuts: Cuts, place: str, wanted: dict) -> bool:
    """Whether the loops of each dimension multiply up to what is wanted there."""
    for loops in loops_at(layer, hw, order, cuts, place):
        for dim, want in wanted.items():
            n = product(factor for other, factor in loops if other == dim)
            bounds = want if isinstance(want, dict) else {"min": want, "max": want}
            if not bounds.get("min", 1) <= n <= bounds.get("max", math.inf):
                return False
    return True


def is_even(layer: Layer, hw: Hardware, cuts: Cuts) -> bool:
    """Whether the operands of each memory have the same number of loops at or below it."""
    return all(len({cuts[o][level] for o, level in stored(layer, hw, memory)}) <= 1 for memory in hw.memories)


def loads_weights_once(layer: Layer, order: list[Factor], cuts: Cuts) -> bool:
    """Whether no loop that is irrelevant to the weights lies above the tile of their lowest memory."""
    above = order[boundary(layer, order, "W", cuts["W"][0]) :]
    return all(dim not in layer.irrelevant["W"] for dim, _ in above)
