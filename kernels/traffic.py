"""What one boundary of one operand costs, as a function of the tile below it: a row of tables over loop-order states.

Everything here depends only on *which* loops lie below the boundary, never on their order. So a search fills one
table per boundary over all states once, and the cost of a mapping is a handful of look-ups. Evaluating one mapping
fills just the entries that it needs, through the same functions.
"""

from __future__ import annotations

import numpy as np

from ._jit import formula, kernel
from .problem import (
    ALL_ACCESSES,
    EXACT_TILES,
    FRACTIONAL,
    FULL_TILES,
    INTEGER,
    IRRELEVANT,
    N_DIMS,
    ONE_UNROLLING,
    READ_DOWN,
    RELEVANT,
    TRUE_WIDTHS,
    WRITE_FROM_ABOVE,
    O,
    W,
    nearly_whole,
    side,
    tensor_size,
)

# A table of states, float64[S, N_STATE]: sets of loops that may lie below a boundary.
CYCLES = 0  # iterations of these loops
CYCLES_ABOVE = 1  # iterations of the other loops
REDUCES_ABOVE = 2  # 1 where one of the others is irrelevant to the output
SIZE = 3  # + dimension: iterations of these loops in each dimension
N_STATE = SIZE + N_DIMS

# The content table, float64[R, S]: elements for which the memory below each boundary must have room (for allocation):
# those of its average tile, not rounded, or of its largest (FULL_TILES).

# The traffic table, float64[R, S + 1, N_TRAFFIC]; the last column is free for one mapping's own values. Each group of
# four is indexed by direction: 0, 1 at the low side of the memory above the boundary (read down, write from below),
# 2, 3 at the high side of the memory below it (read up, write from above).
CONTENT_BITS = 0  # + version: bits of the tile (see ``tile_elements``)
ENERGY_PJ = 2  # all accesses of the boundary
ACCESSES = 3  # + direction: accesses of the full bandwidth
TRANSFER_CYCLES = 7  # + direction: of one period
AVERAGE_BANDWIDTH = 11  # + direction: bits per cycle
ACTIVE = 15  # + direction: 1 where data moves
N_TRAFFIC = 19


@formula
def element_bits(problem, o, partial):
    """Precision of an element: the output is narrower once its sum is complete."""
    if o != O:
        return problem.bits[o]
    return problem.bits[2] if partial else problem.bits[3]


@formula
def tile_elements(repairs, size):
    """Elements that a tile of this average size counts for: ZigZag rounds them (EXACT_TILES: the average itself)."""
    return nearly_whole(size) if repairs & EXACT_TILES else np.rint(size)


@kernel
def held_tile(problem, o, size):
    """Elements that a memory must hold of tiles of ``size`` iterations per dimension on average (rounded up here).

    Loops spread as evenly as they can be leave no tile more than its average, rounded up (FULL_TILES).
    """
    if problem.repairs & FULL_TILES:
        for j in range(problem.indices[o]):
            d = problem.index_dims[o, j]
            size[d] = np.ceil(nearly_whole(size[d]))
    return tensor_size(problem, o, size)


@formula
def word_accesses(repairs, amount, bits, bandwidth_min, bandwidth_max, periods, instances):
    """Accesses of the full bandwidth, in units of minimum-width words (ZigZag 3.9.1, cost_model).

    ZigZag truncates the sum, so that one word of an eighth of the bandwidth is free (ALL_ACCESSES). An amount that is
    not whole is an average (EXACT_UNITS, EXACT_TILES) of transfers of the whole amounts next to it: 2.5 elements are
    2 and 3 in turn, each in whole words.
    """
    if amount == 0.0 or bits == 0.0:
        return 0.0
    whole = np.floor(amount)
    words = np.ceil(whole * bits / bandwidth_min)
    if amount > whole:
        words += (amount - whole) * (np.ceil((whole + 1.0) * bits / bandwidth_min) - words)
    accesses = words * (bandwidth_min / bandwidth_max) * periods * instances
    return accesses if repairs & ALL_ACCESSES else np.trunc(accesses)


@kernel
def fill_boundary(problem, unrolling, states, total_cycles, o, k, s, elements_below, traffic, column):
    """What moves across boundary (o, k) at state s, into a column of the traffic table.

    Args:
        total_cycles: iterations of all temporal loops.
        elements_below: float64[2], elements of the tile below the boundary, in both versions.
    """
    row = problem.first_row[o] + k
    period = states[s, CYCLES]  # array operations between two transfers across the boundary
    periods = np.trunc(total_cycles / period)
    cell = traffic[row, column]
    for version in range(2):
        partial_sum, partial_bits = False, False
        if o == O and k < problem.levels[O]:
            partial_sum = states[s, REDUCES_ABOVE] != 0.0 or unrolling.reduces_above[version, row] != 0
            partial_bits = partial_sum
            if problem.repairs & TRUE_WIDTHS == 0:
                partial_bits = _partial_width(problem, unrolling, states, version, k, s)
        elements = elements_below[version]
        held_bits = nearly_whole(elements * element_bits(problem, o, partial_sum))
        cell[CONTENT_BITS + version] = held_bits
        bits = element_bits(problem, o, partial_bits)
        energy_pj = weight_change_pj(problem, unrolling, periods) if o == W and k == 0 else 0.0
        for direction in range(4):
            level = k + side(direction)
            if o == O:
                back = direction == READ_DOWN or direction == WRITE_FROM_ABOVE
                moving = partial_sum or not back
                if back and not partial_bits:
                    bits = 0.0
                else:
                    bits = element_bits(problem, O, partial_bits)
            else:
                moving = direction == READ_DOWN or direction == WRITE_FROM_ABOVE
            # Level -1 is the array itself; nothing moves above the top memory.
            moving = moving and level >= 0 and k < problem.levels[o]
            accesses, cycles, average = 0.0, 0.0, 0.0
            if moving:
                port = problem.port[o, level, direction]
                amount = elements * (unrolling.multicast[version, row] if level == k else 1.0)
                if version == FRACTIONAL:
                    accesses = word_accesses(
                        problem.repairs,
                        amount,
                        bits,
                        problem.port_bandwidth[port, 0],
                        problem.port_bandwidth[port, 1],
                        periods,
                        unrolling.instances[FRACTIONAL, problem.first_row[o] + level],
                    )
                    energy_pj += accesses * problem.memory_energy[problem.chain[o, level], direction % 2]
                else:
                    cycles = np.ceil(nearly_whole(amount * bits) / problem.port_bandwidth[port, 1])
                    average = held_bits / period
                    if level == k:
                        average *= unrolling.multicast[version, row]
                    if problem.repairs & ONE_UNROLLING:
                        average = nearly_whole(average)
                    average = np.trunc(average)
            if version == FRACTIONAL:
                cell[ACCESSES + direction] = accesses
            else:
                cell[TRANSFER_CYCLES + direction] = cycles
                cell[AVERAGE_BANDWIDTH + direction] = average
                cell[ACTIVE + direction] = 1.0 if moving else 0.0
        if version == FRACTIONAL:
            cell[ENERGY_PJ] = energy_pj if k < problem.levels[o] else 0.0


@formula
def weight_change_pj(problem, unrolling, periods):
    """Precharging the bit lines of cell groups: once per weight read out of the cells and kept while it is
    stationary.
    """
    row = problem.first_row[W]
    weights = unrolling.multicast[FRACTIONAL, row] * unrolling.instances[FRACTIONAL, row]
    return problem.weight_change_pj * periods * weights


@kernel
def _partial_width(problem, unrolling, states, version, k, s):
    """Does the output cross boundary k at partial-sum width? ZigZag asks int(E (c - 1)) != 0 for E output elements
    and c reducing iterations above, which 3 rows in 2 iterations do not pass for a single output (TRUE_WIDTHS).
    """
    reduction = unrolling.reduction_above[version, problem.first_row[O] + k]
    elements = 1.0
    for d in range(N_DIMS):
        if problem.relevance[O, d] == IRRELEVANT:
            reduction *= unrolling.remaining[d] / states[s, SIZE + d]
        elif problem.relevance[O, d] == RELEVANT:
            elements *= problem.loop_size[d]
    return np.trunc(elements * (reduction - 1.0)) != 0.0


@kernel
def tile_content(problem, unrolling, states, o, row, s, size):
    """Elements that a memory must hold of the tile below a boundary at a state; ``size``: float64[8], overwritten."""
    for d in range(N_DIMS):
        size[d] = states[s, SIZE + d] * unrolling.below[FRACTIONAL, row, d]
    return held_tile(problem, o, size)


@kernel
def fill_content(problem, unrolling, states, scratch, content):
    """Fill the content table: float64[R, S]. Temporal iterations first, then times the unrolling."""
    size = scratch.size
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            row = problem.first_row[o] + k
            below = unrolling.below[FRACTIONAL, row]
            whole = True
            for d in range(N_DIMS):
                whole &= below[d] == np.floor(below[d])
            for s in range(states.shape[0]):
                if whole:  # so are its multiples
                    for d in range(N_DIMS):
                        size[d] = states[s, SIZE + d] * below[d]
                    content[row, s] = tensor_size(problem, o, size)
                else:
                    content[row, s] = tile_content(problem, unrolling, states, o, row, s, size)


@kernel
def fill_traffic(problem, unrolling, states, scratch, o, k, s, traffic):
    """Fill one cell of the traffic table."""
    row = problem.first_row[o] + k
    scratch.elements[FRACTIONAL] = scratch.elements[INTEGER] = 1.0
    if k > 0:  # the boundary inside level 0 moves single elements, whatever the state: only its period counts
        for version in range(2):
            for d in range(N_DIMS):
                scratch.size[d] = states[s, SIZE + d] * unrolling.below[version, row, d]
            scratch.elements[version] = tile_elements(problem.repairs, tensor_size(problem, o, scratch.size))
    total_cycles = states[states.shape[0] - 1, CYCLES]
    fill_boundary(problem, unrolling, states, total_cycles, o, k, s, scratch.elements, traffic, s)


@kernel
def fill_tables(problem, unrolling, states, scratch, content, traffic):
    """Fill every (row, state); the last state is complete."""
    fill_content(problem, unrolling, states, scratch, content)
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            for s in range(states.shape[0]):
                # The top memory is filled once all loops are in; the output leaves the array below every loop.
                if (k == problem.levels[o] and s < states.shape[0] - 1) or (o == O and k == 0 and s > 0):
                    continue
                fill_traffic(problem, unrolling, states, scratch, o, k, s, traffic)
