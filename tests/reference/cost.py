"""Reference cost model: energy, latency, clock and area of one mapping, slowly and obviously.

A re-implementation in plain Python of what ZigZag (zigzag-dse 3.9.1) computes for one layer on an in-memory-computing
core, written from a description of its formulas and importing nothing of the package under test. Where ZigZag fails
(cell groups, some diagonal mappings) it does what was meant, see :mod:`tests.reference.array`. On request it repairs
accidents of ZigZag's arithmetic, see :data:`tests.reference.problem.REPAIRS`.

The steps of :func:`evaluate`, one function each:

1. unrolled loops per memory level, twice: fractional factors for energy and capacity, truncated ones for timing;
2. allocation of the temporal loops to the memory levels, greedy or given, then merging of stationary loops downwards;
3. data sizes, and the data that moves in the four directions of every memory level;
4. word accesses and memory energy; array energy;
5. transfer cycles, double buffering, stalls, first loading and last off-loading; totals and utilisations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import array as imc
from .problem import (
    ALL_ACCESSES,
    DIRECTIONS,
    EXACT_TILES,
    EXACT_UNITS,
    FULL_TILES,
    ONE_UNROLLING,
    READ_HIGH,
    READ_LOW,
    TRUE_WIDTHS,
    WRITE_HIGH,
    WRITE_LOW,
    DoesNotFit,
    Factors,
    Hardware,
    Layer,
    Loop,
    Memory,
    Port,
    convert_spatial,
    decouple,
    neighbours,
    parse_hardware,
    parse_layer,
    product,
    spatial_levels,
    tidy,
    total,
    unit_counts,
)

__all__ = ["DoesNotFit", "allocate", "evaluate", "fitting_allocations"]

Cuts = dict[str, list[int]]
Levels = dict[str, list[list[Loop]]]

#: By how much of its size an explicit allocation may exceed a memory: for the last digits of fractional tiles.
TOLERANCE = 1e-9


def evaluate(
    layer: dict,
    hw: dict,
    spatial: list,
    temporal: list,
    allocation: Cuts | None = None,
    repairs: Iterable[str] = (),
) -> dict:
    """Cost of one mapping.

    ``layer``: ZigZag's workload fields; ``hw``: its accelerator YAML, parsed; ``spatial``: pairs of an array dimension
    and its ordered (dimension, factor) pairs, as a user writes them; ``temporal``: (dimension, iterations), innermost
    first; there may be none. ``allocation``: operand -> number of temporal loops at or below each of its memory levels;
    the greedy allocator chooses if it is missing. ``repairs``: which accidents of ZigZag's not to reproduce.

    The result has the keys and the nesting of the reference files. Raises :class:`DoesNotFit`.
    """
    the_layer, the_hw = parse_layer(layer, repairs), parse_hardware(hw)
    loops = [(dim, n) for dim, n in temporal]
    fractional = spatial_loops(the_layer, the_hw, spatial, integer=False)
    truncated = spatial_loops(the_layer, the_hw, spatial, integer=True)
    if allocation is None:
        allocation = allocate(the_layer, the_hw, fractional, loops)
    else:
        check_allocation(the_layer, the_hw, fractional, loops, allocation)
    allocated = {o: cut_loops(loops, allocation[o]) for o in the_layer.operands}
    merged = {o: merge_down(the_layer, o, allocated[o]) for o in the_layer.operands}

    energy_view = View.of(the_layer, the_hw, fractional, merged)
    timing_view = View.of(the_layer, the_hw, truncated, merged)
    return (
        {
            "status": "ok",
            "spatial_internal": fractional,
            "spatial_internal_int": truncated,
            "temporal_allocated": allocated,
            "temporal_merged": merged,
            "mem_levels": {o: [memory.name for memory in the_hw.chain(o)] for o in the_layer.operands},
            "unit_count": energy_view.count,
            "psum_flag": energy_view.partial_sums,
        }
        | energy_result(energy_view, spatial)
        | latency_result(energy_view, timing_view)
        | imc.array_result(imc.parse_array(the_hw), the_hw)
    )


def spatial_loops(layer: Layer, hw: Hardware, spatial: list, integer: bool) -> Levels:
    """Unrolled loops of every operand, by the memory level that they sit below (one more entry than levels)."""
    converted = convert_spatial(layer, hw, spatial, integer)
    return {o: spatial_levels(hw, o, converted) for o in layer.operands}


# ----------------------------------------------------------------------------------------------------------------------
# Allocation of temporal loops to memory levels
# ----------------------------------------------------------------------------------------------------------------------


def cut_loops(loops: list[Loop], cuts: list[int]) -> list[list[Loop]]:
    """The loops of every level, from the number of loops at or below it."""
    return [loops[low:high] for low, high in itertools.pairwise([0, *cuts])]


def storage_precision(layer: Layer, operand: str, spatial_above: list[list[Loop]], unallocated: list[Loop]) -> int:
    """Bits of an element that the allocator reserves at a level.

    Outputs take the width of partial sums if any loop not yet allocated *below* this level, or unrolled above it,
    reduces. It is decided before this level takes its own loops: a level that completes the sums still pays for partial
    ones.
    """
    if operand != "O":
        return layer.precision[operand]
    above = [dim for loops in [*spatial_above, unallocated] for dim, _ in loops]
    reduces = any(dim in layer.irrelevant["O"] for dim in above)
    return layer.precision["O"] if reduces else layer.final_precision


def tile_bits(layer: Layer, operand: str, loops: list[Loop], precision: int) -> float:
    """Bits of the operand's data that the loops run over."""
    sizes: dict[str, float] = {}
    for dim, n in loops:
        sizes[dim] = sizes.get(dim, 1) * n
    return layer.tensor_size(operand, to_hold(layer, sizes)) * precision


def to_hold(layer: Layer, sizes: dict[str, float]) -> dict[str, float]:
    """The iterations of which a memory must hold the data: with full tiles those of the largest tile. 5 channels in 2
    iterations are 3 and 2: 2.5 rounded up. (However many iterations a tile spans, even spreading adds less than one.)
    """
    return {dim: math.ceil(tidy(n)) for dim, n in sizes.items()} if FULL_TILES in layer.repairs else sizes


def needed_bits(
    layer: Layer, memory: Memory, o: str, spatial: list[list[Loop]], loops: list[Loop], level: int, cuts: list[int]
) -> float:
    """Bits that a memory needs for the operand of which it is level ``level``, given the cuts up to that level.

    Forced double buffering doubles the need as long as loops remain for higher levels and they bring new data.
    """
    start = cuts[level - 1] if level else 0
    below = [loop for entry in spatial[: level + 1] for loop in entry]
    precision = storage_precision(layer, o, spatial[level + 1 :], loops[start:])
    bits = tile_bits(layer, o, below + loops[: cuts[level]], precision)
    if memory.force_double_buffering and cuts[level] < len(loops):
        everything = tile_bits(layer, o, below + loops, precision)
        if bits < everything:
            bits *= 2
    return bits


def allocate(layer: Layer, hw: Hardware, spatial: Levels, loops: list[Loop]) -> Cuts:
    """Greedy allocation: each memory, innermost first, takes the loops that leave the least traffic for those above.

    For every operand a memory stores, candidate i takes the next i loops; candidates end at the first that is too large
    on its own. The operand's top memory takes as many as it can. Over all combinations that fit together, the cost is
    the sum of bits * iterations left to the levels above (0 at an operand's top); the *last* cheapest combination wins,
    the first operand varying slowest.
    """
    cuts: Cuts = {o: [] for o in layer.operands}
    for memory in hw.memories:
        operands = [o for o in memory.operands if o in layer.operands]
        candidates = [greedy_candidates(layer, hw, memory, o, spatial[o], loops, cuts[o]) for o in operands]
        for o, candidate in zip(operands, cheapest(memory, operands, candidates), strict=True):
            cuts[o].append(candidate.cut)
    return cuts


@dataclass(frozen=True)
class Candidate:
    """One choice of the greedy allocator for one operand at one memory."""

    cut: int
    bits: float
    cost: float


def greedy_candidates(
    layer: Layer, hw: Hardware, memory: Memory, o: str, spatial: list[list[Loop]], loops: list[Loop], cuts: list[int]
) -> list[Candidate]:
    """The choices that fit into the memory on their own, fewest loops first; at the top only the last of them."""
    level = len(cuts)
    top = memory is hw.chain(o)[-1]
    candidates = []
    for cut in range(cuts[-1] if cuts else 0, len(loops) + 1):
        bits = needed_bits(layer, memory, o, spatial, loops, level, [*cuts, cut])
        if bits > memory.size:
            break
        iterations_left = product(n for _, n in loops[cut:])
        candidates.append(Candidate(cut, bits, 0 if top else iterations_left * bits))
    if not candidates or (top and candidates[-1].cut < len(loops)):
        raise DoesNotFit(memory.name, (o,), bits, memory.size)
    return candidates[-1:] if top else candidates


def cheapest(memory: Memory, operands: list[str], candidates: list[list[Candidate]]) -> tuple[Candidate, ...]:
    """The last cheapest combination that fits; if the first one, the smallest loops of all, does not fit, none does."""
    best = ()
    best_cost = math.inf
    for index, combination in enumerate(itertools.product(*candidates)):
        bits = total(candidate.bits for candidate in combination)
        cost = total(candidate.cost for candidate in combination)
        if bits > memory.size:
            if index == 0:
                raise DoesNotFit(memory.name, tuple(operands), bits, memory.size)
        elif cost <= best_cost:
            best, best_cost = combination, cost
    return best


def table_bits(
    layer: Layer, memory: Memory, o: str, spatial: list[list[Loop]], loops: list[Loop], level: int, cuts: list[int]
) -> float:
    """What :func:`needed_bits` says, whatever the order of the loops below the cut.

    The iterations of each dimension are a product of whole numbers, those in time, times a product of the unrollings
    from the bottom up. The greedy allocator multiplies in the order of the loops, and with fractional unrollings the
    last digits may differ.
    """

    def bits_of(inside: list[Loop], precision: int) -> float:
        sizes: dict[str, float] = {}
        for entry in spatial[: level + 1]:
            for dim, n in entry:
                sizes[dim] = sizes.get(dim, 1) * n
        for dim in {dim for dim, _ in inside}:
            sizes[dim] = product(n for other, n in inside if other == dim) * sizes.get(dim, 1)
        return layer.tensor_size(o, to_hold(layer, sizes)) * precision

    start = cuts[level - 1] if level else 0
    precision = storage_precision(layer, o, spatial[level + 1 :], loops[start:])
    bits = bits_of(loops[: cuts[level]], precision)
    if memory.force_double_buffering and cuts[level] < len(loops) and bits < bits_of(loops, precision):
        bits *= 2
    return bits


def stored(layer: Layer, hw: Hardware, memory: Memory) -> list[tuple[str, int]]:
    """The layer's operands that a memory stores, and of which level of each it is."""
    return [(o, hw.chain(o).index(memory)) for o in memory.operands if o in layer.operands]


def check_allocation(layer: Layer, hw: Hardware, spatial: Levels, loops: list[Loop], cuts: Cuts) -> None:
    """Raise if an allocation makes no sense (ValueError) or exceeds a memory (DoesNotFit).

    What fits when it is multiplied as the greedy allocator does is accepted, too, so that its allocations always are.
    """
    for o in layer.operands:
        n_levels = len(hw.chain(o))
        if len(cuts[o]) != n_levels or list(cuts[o]) != sorted(cuts[o]) or cuts[o][-1] != len(loops):
            raise ValueError(f"allocation of {o} must be {n_levels} rising cuts that end with {len(loops)}: {cuts[o]}")
        if cuts[o][0] < 0:
            raise ValueError(f"allocation of {o} has a negative cut: {cuts[o]}")
    for memory in hw.memories:
        here = stored(layer, hw, memory)
        need = [table_bits(layer, memory, o, spatial[o], loops, level, cuts[o]) for o, level in here]
        in_order = [needed_bits(layer, memory, o, spatial[o], loops, level, cuts[o]) for o, level in here]
        if fits(memory, need) or total(in_order) <= memory.size:
            continue
        for (o, _), bits in zip(here, need, strict=True):
            if not fits(memory, [bits]):
                raise DoesNotFit(memory.name, (o,), bits, memory.size)
        raise DoesNotFit(memory.name, tuple(o for o, _ in here), total(need), memory.size)


def fits(memory: Memory, bits: list[float]) -> bool:
    """Whether so many bits of each of its operands fit into a memory together."""
    return total(bits) <= memory.size * (1 + TOLERANCE)


def every_allocation(layer: Layer, hw: Hardware, loops: list[Loop]) -> Iterator[Cuts]:
    """All rising cuts of all operands, whether they fit or not, in lexicographic order."""
    choices = [rising_cuts(len(hw.chain(o)), len(loops)) for o in layer.operands]
    for combination in itertools.product(*choices):
        yield dict(zip(layer.operands, combination, strict=True))


def rising_cuts(levels: int, loops: int) -> list[list[int]]:
    """All cuts of one operand: at its top level lie all loops or below."""
    return [[*inner, loops] for inner in itertools.combinations_with_replacement(range(loops + 1), levels - 1)]


def fitting_allocations(layer: Layer, hw: Hardware, spatial: Levels, loops: list[Loop]) -> Iterator[Cuts]:
    """Every allocation that fits by :func:`table_bits`, in lexicographic order."""
    for cuts in every_allocation(layer, hw, loops):
        if all(
            fits(
                memory,
                [
                    table_bits(layer, memory, o, spatial[o], loops, level, cuts[o])
                    for o, level in stored(layer, hw, memory)
                ],
            )
            for memory in hw.memories
        ):
            yield cuts


def merge_down(layer: Layer, operand: str, levels: list[list[Loop]]) -> list[list[Loop]]:
    """Move irrelevant loops that are innermost at a level to the end of the level below, until nothing moves.

    While such loops run, the level below keeps the same data, so they belong to it. Any other loop stops the run, also
    a neutral one.
    """
    merged = [list(loops) for loops in levels]
    moved = True
    while moved:
        moved = False
        for lower, upper in itertools.pairwise(merged):
            while upper and upper[0][0] in layer.irrelevant[operand]:
                lower.append(upper.pop(0))
                moved = True
    return merged


def leading_product(loops: list[Loop], dims: list[str]) -> float:
    """Product of the first loops, as long as they are over ``dims``."""
    return product(n for _, n in itertools.takewhile(lambda loop: loop[0] in dims, loops))


# ----------------------------------------------------------------------------------------------------------------------
# Data sizes and data movement
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Movement:
    """Data that one instance of a memory level moves in one direction: ``amount`` elements in each of ``count``
    periods, within ``window`` cycles of each if there is no double buffer. All zero if the direction is not used."""

    amount: float = 0
    precision: int = 0
    period: int = 0
    count: int = 0
    bandwidth: int = 0
    window: int = 0


class OperandView:
    """Sizes and movements of one operand for one version (fractional or truncated) of the spatial mapping.

    Lists indexed by entry start with the array at 0; memory level m is entry m + 1.

    * ``count``, ``boost``: instances and broadcast, see :func:`unit_counts`;
    * ``elements``: held by one instance; ``bits``: at the precision that holds there;
    * ``effective_bits``: bits over the product of the outermost relevant loops of the level, the part that a double
      buffer has to hold twice;
    * ``cycles``: of all loops up to memory level m; ``refill``: of the loops below which entry k keeps its data;
    * ``partial_sums``: whether outputs are still partial when they leave entry k (empty for inputs).
    """

    def __init__(self, layer: Layer, operand: str, spatial: list[list[Loop]], temporal: list[list[Loop]]):
        self.layer = layer
        self.operand = operand
        self.spatial = spatial
        self.temporal = temporal
        self.count, self.boost = unit_counts(decouple(layer, operand, spatial), EXACT_UNITS in layer.repairs)
        self.partial_sums = partial_sum_flags(self.decoupled_with_unrolling_above()) if operand == "O" else []
        self.elements = self.elements_held()
        if operand == "O":
            widths = (layer.precision["O"], layer.final_precision)
            self.precision = [widths[0] if partial else widths[1] for partial in self.partial_sums]
        else:
            self.precision = [layer.precision[operand] for _ in self.elements]
        self.bits = [tidy(n * p) for n, p in zip(self.elements, self.precision, strict=True)]
        top = [1] + [leading_product(loops[::-1], layer.relevant[operand]) for loops in temporal]
        self.effective_bits = [bits // part for bits, part in zip(self.bits, top, strict=True)]

        # The innermost entry, the array itself, keeps inputs while the irrelevant loops innermost at level 0 run;
        # outputs change in every cycle.
        irrelevant = layer.irrelevant[operand]
        own = [product(n for _, n in loops) for loops in temporal]
        self.cycles = [product(own[: m + 1]) for m in range(len(own))]
        stationary = 1 if operand == "O" else leading_product(temporal[0], irrelevant)
        self.refill = [stationary, *self.cycles]
        self.top_irrelevant = [1] + [leading_product(loops[::-1], irrelevant) for loops in temporal]
        self.total_cycles = self.cycles[-1]
        self.movement = output_movement(self) if operand == "O" else input_movement(self)

    def decoupled_with_unrolling_above(self) -> list[Factors]:
        """Entry 0: the loops unrolled below level 0; entry m + 1: the temporal loops of level m, then those unrolled
        above it. So entry k holds what happens between k - 1 and k as seen from the array."""
        entries = [self.spatial[0]]
        entries += [t + s for t, s in zip(self.temporal, self.spatial[1:], strict=True)]
        return decouple(self.layer, self.operand, entries)

    def decoupled_with_unrolling_below(self) -> list[Factors]:
        """Entry 0: nothing; entry m + 1: the temporal loops of level m, then those unrolled below it. So the entries up
        to m + 1 hold the data of one instance of memory level m."""
        entries = [[]]
        entries += [t + s for t, s in zip(self.temporal, self.spatial[:-1], strict=True)]
        return decouple(self.layer, self.operand, entries)

    def elements_held(self) -> list[float]:
        """Elements in one instance of every entry, rounded to whole ones but for exact tiles."""
        growth = [factors.r for factors in self.decoupled_with_unrolling_below()]
        rounded = tidy if EXACT_TILES in self.layer.repairs else round
        return [rounded(product(growth[: k + 1])) for k in range(len(growth))]


class View:
    """All operands for one version of the spatial mapping: what :class:`OperandView` has, by operand."""

    def __init__(self, layer: Layer, hw: Hardware, parts: dict[str, OperandView]):
        self.layer = layer
        self.hw = hw
        self.parts = parts
        self.temporal = {o: part.temporal for o, part in parts.items()}
        self.count = {o: part.count for o, part in parts.items()}
        self.bits = {o: part.bits for o, part in parts.items()}
        self.effective_bits = {o: part.effective_bits for o, part in parts.items()}
        self.movement = {o: part.movement for o, part in parts.items()}
        self.partial_sums = parts["O"].partial_sums
        multipliers = {part.count[0] for part in parts.values()}
        if any(not math.isclose(n, m, rel_tol=1e-9) for n in multipliers for m in multipliers):
            raise ValueError(f"the operands disagree on the multipliers in use: {multipliers}")
        (self.total_cycles,) = {part.total_cycles for part in parts.values()}

    @classmethod
    def of(cls, layer: Layer, hw: Hardware, spatial: Levels, temporal: Levels) -> View:
        return cls(layer, hw, {o: OperandView(layer, o, spatial[o], temporal[o]) for o in layer.operands})


def partial_sum_flags(factors: list[Factors]) -> list[bool]:
    """For every entry k of the output: does any loop from memory level k on (temporal, or unrolled above it) reduce?"""
    return [any(n > 1 for f in factors[k + 1 :] for n in f.irrelevant) for k in range(len(factors))]


def low_side(view: OperandView, m: int, precision: int) -> Movement:
    """Between memory level m and the level below (or the array): entry m is refilled, for all its copies at once."""
    amount = view.elements[m] * view.boost[m]
    period = view.refill[m]
    bandwidth = view.bits[m] / period * view.boost[m]
    return Movement(
        amount=amount,
        precision=precision,
        period=int(period),
        count=int(view.total_cycles // period),
        bandwidth=whole_bits(view, bandwidth),
        window=int(int(period) / view.top_irrelevant[m]),
    )


def high_side(view: OperandView, m: int, precision: int) -> Movement:
    """Between memory level m and the level above: this instance is refilled. Nothing at the operand's top."""
    if m == len(view.temporal) - 1:
        return Movement()
    period = view.refill[m + 1]
    bandwidth = view.bits[m + 1] / period
    return Movement(
        amount=view.elements[m + 1],
        precision=precision,
        period=int(period),
        count=int(view.total_cycles // period),
        bandwidth=whole_bits(view, bandwidth),
        window=int(int(period) / view.top_irrelevant[m + 1]),
    )


def whole_bits(view: OperandView, bandwidth: float) -> int:
    """An average bandwidth in whole bits, rounded down."""
    return int(tidy(bandwidth) if ONE_UNROLLING in view.layer.repairs else bandwidth)


def input_movement(view: OperandView) -> list[dict[str, Movement]]:
    """Inputs move downwards only."""
    precision = view.layer.precision[view.operand]
    return [
        {
            READ_LOW: low_side(view, m, precision),
            WRITE_LOW: Movement(),
            READ_HIGH: Movement(),
            WRITE_HIGH: high_side(view, m, precision),
        }
        for m in range(len(view.temporal))
    ]


def output_movement(view: OperandView) -> list[dict[str, Movement]]:
    """Outputs move upwards always, and back down wherever they are partial sums.

    A read-back moves as much as the write, the first (useless) read of every sum included. Whether the data on the way
    are partial sums is asked differently than for the sizes: does int(outputs * (reductions from there on - 1)) leave
    anything, with the reductions counted from entry m + 1 for the low and from m + 2 for the high side? With true
    widths it is not asked: they are partial sums where they are read back.
    """
    layer = view.layer
    outputs = product(layer.sizes[dim] for dim in layer.relevant["O"])
    reductions = [factors.ir for factors in view.decoupled_with_unrolling_above()]
    result = []
    for m in range(len(view.temporal)):
        partial_low = int(outputs * (product(reductions[m + 1 :]) - 1)) != 0
        partial_high = int(outputs * (product(reductions[m + 2 :]) - 1)) != 0
        psum_bits, final_bits = layer.precision["O"], layer.final_precision
        read_back_low = view.partial_sums[m]
        read_back_high = view.partial_sums[m + 1]
        if TRUE_WIDTHS in layer.repairs:
            partial_low, partial_high = read_back_low, read_back_high
        result.append(
            {
                READ_LOW: low_side(view, m, psum_bits if partial_low else 0) if read_back_low else Movement(),
                WRITE_LOW: low_side(view, m, psum_bits if partial_low else final_bits),
                READ_HIGH: high_side(view, m, psum_bits if partial_high else final_bits),
                WRITE_HIGH: high_side(view, m, psum_bits if partial_high else 0) if read_back_high else Movement(),
            }
        )
    return result


# ----------------------------------------------------------------------------------------------------------------------
# Energy
# ----------------------------------------------------------------------------------------------------------------------


def for_each_direction(part: OperandView, hw: Hardware, value) -> list[dict[str, float]]:
    """``value(level, memory, direction)`` for every memory level of an operand and every direction."""
    return [{d: value(m, memory, d) for d in DIRECTIONS} for m, memory in enumerate(hw.chain(part.operand))]


def word_accesses(part: OperandView, m: int, memory: Memory, direction: str) -> float:
    """Accesses of the full port width, over all instances of the level.

    A transfer takes whole words of the port's *minimal* width; each costs that part of an access which the minimal is
    of the maximal width. ZigZag truncates the sum, so that a small transfer may cost nothing. An amount that is not
    whole is one in turn with the other of the whole numbers around it.
    """
    move = part.movement[m][direction]
    if move.amount == 0 or move.precision == 0:
        return 0
    port = memory.port_of[part.operand].get(direction)
    if port is None:
        raise ValueError(f"{memory.name} has no port for {direction} of {part.operand}")
    words = total(share * math.ceil(n * move.precision / port.bw_min) for n, share in neighbours(move.amount))
    accesses = words * (port.bw_min / port.bw_max) * move.count * part.count[m + 1]
    return accesses if ALL_ACCESSES in part.layer.repairs else int(accesses)


def accesses_of(part: OperandView, hw: Hardware) -> list[dict[str, float]]:
    """Word accesses of one operand, by memory level and direction."""
    return for_each_direction(part, hw, lambda m, memory, direction: word_accesses(part, m, memory, direction))


def energies_of(part: OperandView, hw: Hardware, accesses: list[dict[str, float]]) -> list[dict[str, float]]:
    """Their energies. Reads cost r_cost, writes w_cost, each per access of the full port width."""

    def energy(m: int, memory: Memory, direction: str) -> float:
        return accesses[m][direction] * (memory.r_cost if direction in (READ_LOW, READ_HIGH) else memory.w_cost)

    return for_each_direction(part, hw, energy)


def array_energy(weights: OperandView, hw: Hardware, spatial: list) -> dict[str, float]:
    """Energy of the array by component. The innermost weight memory sends one weight per instance to the array for
    every change of weight."""
    move = weights.movement[0][READ_LOW]
    reads = move.amount * move.count * weights.count[1]
    filled = list(convert_spatial(weights.layer, hw, spatial, integer=False).items())
    return imc.array_energy(imc.parse_array(hw), weights.layer, spatial, filled, weights.total_cycles, reads)


def energy_result(view: View, spatial: list) -> dict:
    """Word accesses and energies."""
    hw = view.hw
    accesses = {o: accesses_of(part, hw) for o, part in view.parts.items()}
    four_way = {o: energies_of(part, hw, accesses[o]) for o, part in view.parts.items()}
    levels = {o: [total(directions.values()) for directions in energies] for o, energies in four_way.items()}
    mac_breakdown = array_energy(view.parts["W"], hw, spatial) if "W" in levels else {}
    mem_energy = total(total(energies) for energies in levels.values())
    mac_energy = total(mac_breakdown.values())
    return {
        "word_accesses": accesses,
        "mem_energy": mem_energy,
        "mem_energy_breakdown": levels,
        "mem_energy_4way": four_way,
        "mac_energy": mac_energy,
        "mac_energy_breakdown": mac_breakdown,
        "mapped_rows": imc.active_rows(imc.parse_array(hw), view.layer, spatial),
        "energy_total": mem_energy + mac_energy,
    }


# ----------------------------------------------------------------------------------------------------------------------
# Latency
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Activity:
    """What one operand does at one level in one direction of a port, in cycles of the array's clock."""

    operand: str
    level: int
    direction: str
    period: int
    count: int
    allowed: int
    real: int
    bandwidth: int


@dataclass(frozen=True)
class Timing:
    """The latency of a mapping and what it is made of."""

    effective: dict[str, list[float]]
    flags: dict[str, list[bool]]
    real: dict[str, list[dict[str, int]]]
    allowed: dict[str, list[dict[str, int]]]
    stalls: dict[tuple[str, str], float]
    stall: float
    onload: float
    offload: float
    latencies: tuple[float, float, float]


def timing(energy_view: View, timing_view: View) -> Timing:
    """Transfers, stalls, loading and totals.

    Transfers follow the truncated spatial mapping, capacities (and with them double buffers) the fractional one.
    """
    hw = timing_view.hw
    s = hw.cycles_per_op
    effective = utilization(energy_view, energy_view.effective_bits)
    flags = double_buffer_flags(energy_view, effective)
    real = {o: real_of(part, hw) for o, part in timing_view.parts.items()}
    allowed = {o: allowed_of(part, hw, flags[o]) for o, part in timing_view.parts.items()}

    ports = {
        (memory.name, port.name): activities(timing_view, memory, port, allowed, real)
        for memory in hw.memories
        for port in memory.ports
    }
    stalls = {key: port_stall(port_activities) for key, port_activities in ports.items()}
    stall = max(0, *stalls.values())

    remaining: dict[tuple[str, int, str], float] = {}
    for memory in hw.memories:
        for port in memory.ports:
            compute = math.ceil(timing_view.total_cycles * s) + stall
            remaining |= loading_cycles(timing_view, port, ports[memory.name, port.name], compute)
    onload = onloading(timing_view, remaining)
    offload = offloading(timing_view, remaining)
    latency0 = timing_view.total_cycles * s + stall
    latencies = (latency0, latency0 + onload, latency0 + onload + offload)
    return Timing(effective, flags, real, allowed, stalls, stall, onload, offload, latencies)


def latency_result(energy_view: View, timing_view: View) -> dict:
    """Latency, and utilisations of the memories and of the array."""
    hw = timing_view.hw
    s = hw.cycles_per_op
    times = timing(energy_view, timing_view)
    individual = utilization(energy_view, energy_view.bits)
    n = timing_view.total_cycles
    ideal = math.ceil(math.ceil(timing_view.layer.macs / product(hw.dims.values())) * s)
    latency0, latency1, latency2 = times.latencies
    return {
        "cycles_per_op": s,
        "total_cycle": n,
        "mem_utilization_individual": individual,
        "mem_utilization_shared": shared_utilization(energy_view, individual),
        "effective_mem_utilization_individual": times.effective,
        "double_buffer": times.flags,
        "real_cycles": times.real,
        "allowed_cycles": times.allowed,
        "stall_per_port": [
            {"mem": memory.name, "ports": {port.name: times.stalls[memory.name, port.name] for port in memory.ports}}
            for memory in hw.memories
        ],
        "stall_slack_comb": times.stall,
        "data_onloading_cycle": times.onload,
        "data_offloading_cycle": times.offload,
        "ideal_cycle": ideal,
        "ideal_temporal_cycle": n * s,
        "latency_total0": latency0,
        "latency_total1": latency1,
        "latency_total2": latency2,
        "mac_spatial_utilization": ideal / (n * s),
        "mac_utilization0": ideal / latency0,
        "mac_utilization1": ideal / latency1,
        "mac_utilization2": ideal / latency2,
    }


def utilization(view: View, bits: dict[str, list[int]]) -> dict[str, list[float]]:
    """Part of each memory that each operand fills."""
    return {o: [bits[o][m + 1] / memory.size for m, memory in enumerate(view.hw.chain(o))] for o in view.layer.operands}


def shared_utilization(view: View, individual: dict[str, list[float]]) -> dict[str, list[float]]:
    """Part of each memory that all operands in it fill together, listed for each operand."""
    filled = filling(view, individual)
    return {o: [filled[memory.name] for memory in view.hw.chain(o)] for o in view.layer.operands}


def filling(view: View, individual: dict[str, list[float]]) -> dict[str, float]:
    """Part of each memory that all operands in it fill together."""
    filled = {memory.name: 0 for memory in view.hw.memories}
    for memory in view.hw.memories:
        for o in memory.operands:
            if o in view.layer.operands:
                filled[memory.name] += individual[o][view.hw.chain(o).index(memory)]
    return filled


def double_buffer_flags(view: View, effective: dict[str, list[float]]) -> dict[str, list[bool]]:
    """Which operands can be double buffered where (the array itself cannot).

    They can while the effective data of all operands fill at most half of the memory. Otherwise operands get a second
    buffer first come, first served in what is left, and each second buffer is added to the filling.
    """
    filled = filling(view, effective)
    flags = {}
    for o in view.layer.operands:
        flags[o] = [False]
        for memory, own in zip(view.hw.chain(o), effective[o], strict=True):
            if filled[memory.name] <= 0.5:
                flags[o].append(True)
            elif own <= 1 - filled[memory.name]:
                flags[o].append(True)
                filled[memory.name] += own
            else:
                flags[o].append(False)
    return flags


def real_of(part: OperandView, hw: Hardware) -> list[dict[str, int]]:
    """Cycles that one transfer takes at the full width of its port, by level and direction."""

    def real(m: int, memory: Memory, direction: str) -> int:
        port = memory.port_of[part.operand].get(direction)
        move = part.movement[m][direction]
        return math.ceil(tidy(move.amount * move.precision) / port.bw_max) if port else 0

    return for_each_direction(part, hw, real)


def allowed_of(part: OperandView, hw: Hardware, flags: list[bool]) -> list[dict[str, int]]:
    """Cycles in which a transfer may happen without stalling: the whole period if the receiving or sending entry below
    (entry m on the low, m + 1 on the high side) is double buffered, else the window in which its data are not used."""

    def allowed(m: int, _: Memory, direction: str) -> int:
        move = part.movement[m][direction]
        buffered = flags[m] if direction in (READ_LOW, WRITE_LOW) else flags[m + 1]
        return math.ceil((move.period if buffered else move.window) * hw.cycles_per_op)

    return for_each_direction(part, hw, allowed)


def activities(view: View, memory: Memory, port: Port, allowed: dict, real: dict) -> list[Activity]:
    """What a port does: operands in the memory's order, directions in the order of the port's writing."""
    result = []
    for o in memory.operands:
        if o not in view.layer.operands:
            continue
        m = view.hw.chain(o).index(memory)
        for direction, serving in memory.port_of[o].items():
            move = view.movement[o][m][direction]
            if serving is port and move.count:
                period = math.ceil(move.period * view.hw.cycles_per_op)
                times = (allowed[o][m][direction], real[o][m][direction])
                result.append(Activity(o, m, direction, period, move.count, *times, move.bandwidth))
    return result


def port_stall(port_activities: list[Activity]) -> float:
    """Cycles for which a port makes the array wait; negative if it has time to spare.

    Each activity overruns (or underruns) its allowed cycles in every period but the first. One alone: that is it. Of
    several, the overruns add up, and the others stall as far as the windows that they need do not fit into the union of
    all windows in time.
    """
    overrun = [(a.real - a.allowed) * (a.count - 1) for a in port_activities]
    if len(overrun) <= 1:
        return total(overrun)
    windows = [a.allowed * (a.count - 1) for a in port_activities]
    slack = total(x for x in overrun if x <= 0) + total(windows) - union_of_windows(port_activities)
    return total(x for x in overrun if x > 0) + max(0, slack)


def union_of_windows(port_activities: list[Activity]) -> int:
    """Cycles in which at least one activity may transfer.

    If one may always, its whole time. Else the windows lie at the start of each period; count them over the longest
    period (the first of equal ones) and multiply by its count.
    """
    for a in port_activities:
        if a.period == a.allowed:
            return a.period * a.count
    longest = max(port_activities, key=lambda a: a.period)
    windows = [(a.period, a.allowed) for a in port_activities]
    return covered_cycles(longest.period, windows) * longest.count


def covered_cycles(length: int, windows: list[tuple[int, int]]) -> int:
    """How many t < length lie in a window: t mod period < allowed for any (period, allowed).

    Periods are cycles of nested loops, so each normally divides the next and the shorter ones can be counted within one
    period of the longest; if not, cycle by cycle.
    """
    windows = sorted(windows)
    if any(longer % shorter for (shorter, _), (longer, _) in itertools.pairwise(windows)):
        return sum(any(t % period < allowed for period, allowed in windows) for t in range(length))
    if not windows:
        return 0
    *shorter, (period, allowed) = windows

    def in_one_period(x: int) -> int:
        return min(x, allowed) + covered_cycles(x, shorter) - covered_cycles(min(x, allowed), shorter)

    periods, rest = divmod(length, period)
    return periods * in_one_period(period) + in_one_period(rest)


def loading_cycles(view: View, port: Port, port_activities: list[Activity], compute: float) -> dict:
    """Cycles of each activity of a port that count for loading the first inputs and storing the last outputs.

    Transfers that happen many times take what they take. Those that happen only once may overlap with the computation:
    the port has bandwidth left that the repeated ones do not need, and it is spent on the single ones, longest first,
    until each is down to one tile of the innermost memory. Outputs that are read back or written back do not matter.
    """
    s = view.hw.cycles_per_op
    relevant = [a for a in port_activities if a.operand != "O" or a.direction in (WRITE_LOW, READ_HIGH)]
    many = [a for a in relevant if a.count > 1]
    once = [a for a in relevant if a.count == 1]
    remaining = {(a.operand, a.level, a.direction): a.real for a in many}
    required = total(math.ceil(a.bandwidth / s) for a in many)
    surplus = max(0, (port.bw_max - required) / port.bw_max * compute)
    for a in sorted(once, key=lambda a: a.real, reverse=True):
        floor = math.ceil(view.bits[a.operand][1] / port.bw_max)
        reduction = min(max(0, a.real - floor), surplus)
        remaining[a.operand, a.level, a.direction] = a.real - reduction
        surplus -= reduction
    return remaining


def onloading(view: View, remaining: dict) -> float:
    """Cycles until the first inputs have reached the array.

    Between two levels the slower port counts. Transfers of the two inputs through ports that serve both are serial,
    those through ports of their own are parallel, and those with one port of each kind in between. Of the latter only
    the outermost of an operand counts: ZigZag assigns it where it adds the others. A single input counts its own ports
    only.
    """
    shared, half, own = {}, {}, {}
    for o in view.layer.inputs:
        shared[o], half[o], own[o] = 0, 0, 0
        chain = view.hw.chain(o)
        for level, (lower, upper) in enumerate(itertools.pairwise(chain)):
            write, read = lower.port_of[o].get(WRITE_HIGH), upper.port_of[o].get(READ_LOW)
            cycles = max(remaining.get((o, level, WRITE_HIGH), 0), remaining.get((o, level + 1, READ_LOW), 0))
            ports_shared = (write.shared, read.shared)
            if all(ports_shared):
                shared[o] += cycles
            elif any(ports_shared):
                half[o] = cycles
            else:
                own[o] += cycles
    if len(view.layer.inputs) == 1:
        return own[view.layer.inputs[0]]
    x, y = view.layer.inputs
    return min(
        shared[x] + max(shared[y] + half[y] + own[y], half[x] + own[x]),
        shared[y] + max(shared[x] + half[x] + own[x], half[y] + own[y]),
    )


def offloading(view: View, remaining: dict) -> float:
    """Cycles until the last outputs have left: between two levels the slower port counts, level after level."""
    levels = range(len(view.temporal["O"]) - 1)
    return total(max(remaining.get(("O", m, READ_HIGH), 0), remaining.get(("O", m + 1, WRITE_LOW), 0)) for m in levels)
