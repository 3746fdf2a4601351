"""What one boundary of one operand costs, as a function of the tile below it: a row of tables over loop-order states.

Everything here depends only on *which* loops lie below the boundary, never on their order. So a search fills one table per
boundary over all states once, and the cost of a mapping is a handful of look-ups. Evaluating one mapping fills just the
entries that it needs, through the same functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._jit import kernel
from .problem import (
    FRACTIONAL,
    IRRELEVANT,
    N_DIMS,
    READ_DOWN,
    READ_UP,
    RELEVANT,
    WRITE_FROM_ABOVE,
    WRITE_FROM_BELOW,
    O,
    W,
    tensor_size,
)


class Traffic(NamedTuple):
    """Tables over (row, state). Directions of a boundary: 0, 1 at the low side of the memory above it (read down, write from
    below), 2, 3 at the high side of the memory below it (read up, write from above).
    """

    content: np.ndarray  # float64[R, S]: elements of the tile, fractional, not rounded (allocation)
    content_bits: np.ndarray  # float64[2, R, S]: bits of the tile, rounded elements
    energy_pj: np.ndarray  # float64[R, S]: all accesses of the boundary
    accesses: np.ndarray  # float64[R, S, 4]: accesses of the full bandwidth
    transfer_cycles: np.ndarray  # float64[R, S, 4]: of one period
    average_bandwidth: np.ndarray  # float64[R, S, 4]: bits per cycle
    active: np.ndarray  # bool[R, S, 4]: data moves in this direction


class States(NamedTuple):
    """Sets of loops that may lie below a boundary."""

    cycles: np.ndarray  # float64[S]: iterations of these loops
    size: np.ndarray  # float64[S, 8]: their iterations per dimension
    reduces_above: np.ndarray  # bool[S]: some loop outside the set is irrelevant to the output
    total_cycles: float


@kernel
def empty_traffic(rows, states):
    """Uninitialised tables."""
    return Traffic(
        np.empty((rows, states)),
        np.empty((2, rows, states)),
        np.empty((rows, states)),
        np.empty((rows, states, 4)),
        np.empty((rows, states, 4)),
        np.empty((rows, states, 4)),
        np.empty((rows, states, 4), np.bool_),
    )


@kernel
def side(direction):
    """Offset from row k to the memory level on whose port the direction lies: level k (low side) or k - 1 (high side)."""
    return 0 if direction < READ_UP else -1


@kernel
def element_bits(problem, o, partial):
    """Precision of an element: the output is narrower once its sum is complete."""
    if o != O:
        return problem.bits[o]
    return problem.bits[2] if partial else problem.bits[3]


@kernel
def word_accesses(amount, bits, bandwidth_min, bandwidth_max, periods, instances):
    """Accesses of the full bandwidth, in units of minimum-width words, truncated (ZigZag 3.9.1, cost_model)."""
    if amount == 0.0 or bits == 0.0:
        return 0.0
    words = np.ceil(amount * bits / bandwidth_min)
    return np.trunc(words * (bandwidth_min / bandwidth_max) * periods * instances)


@kernel
def fill_content(problem, unrolling, states, o, k, s, traffic):
    """Size of the tile below boundary k: what level k - 1 must hold."""
    row = problem.first_row[o] + k
    size = np.empty(N_DIMS)
    for d in range(N_DIMS):
        size[d] = states.size[s, d] * unrolling.below[FRACTIONAL, row, d]
    traffic.content[row, s] = tensor_size(problem, o, size)


@kernel
def fill_boundary(problem, unrolling, states, o, k, s, tile, period, traffic):
    """Everything else of boundary (o, k) at state s.

    Args:
        tile: float64[2, 8], iterations below the boundary per dimension, temporal times spatial, in both versions.
        period: array operations between two transfers across the boundary.
    """
    row = problem.first_row[o] + k
    periods = np.trunc(states.total_cycles / period)
    moves = np.zeros(4, np.bool_)
    bits = np.zeros(4)
    for version in range(2):
        partial_sum, partial_bits = False, False
        if o == O and k < problem.levels[O]:
            partial_sum = states.reduces_above[s] or _reduces(problem, unrolling, version, k)
            partial_bits = _partial_width(problem, unrolling, states, version, k, s)
        elements = np.rint(tensor_size(problem, o, tile[version]))
        held_bits = elements * element_bits(problem, o, partial_sum)
        traffic.content_bits[version, row, s] = held_bits
        if k == problem.levels[o]:  # the content of the top memory: nothing moves above it
            moves[:] = False
        elif o == O:
            moves[WRITE_FROM_BELOW] = moves[READ_UP] = True
            moves[READ_DOWN] = moves[WRITE_FROM_ABOVE] = partial_sum
            bits[WRITE_FROM_BELOW] = bits[READ_UP] = element_bits(problem, O, partial_bits)
            bits[READ_DOWN] = bits[WRITE_FROM_ABOVE] = problem.bits[O] if partial_bits else 0.0
        else:
            moves[READ_DOWN] = moves[WRITE_FROM_ABOVE] = True
            bits[:] = problem.bits[o]

        energy_pj = weight_change_pj(problem, unrolling, periods) if o == W and k == 0 else 0.0
        for direction in range(4):
            level = k + side(direction)
            moving = level >= 0 and moves[direction]
            accesses, cycles, average = 0.0, 0.0, 0.0
            if moving:
                port = problem.port[o, level, direction]
                multicast = unrolling.multicast[version, row] if side(direction) == 0 else 1.0
                if version == FRACTIONAL:
                    accesses = word_accesses(
                        elements * multicast,
                        bits[direction],
                        problem.port_bandwidth[port, 0],
                        problem.port_bandwidth[port, 1],
                        periods,
                        unrolling.instances[FRACTIONAL, problem.first_row[o] + level],
                    )
                    energy_pj += accesses * problem.memory_energy[problem.chain[o, level], direction % 2]
                else:
                    cycles = np.ceil(elements * multicast * bits[direction] / problem.port_bandwidth[port, 1])
                    average = np.trunc(held_bits / period * multicast)
            if version == FRACTIONAL:
                traffic.accesses[row, s, direction] = accesses
            else:
                traffic.transfer_cycles[row, s, direction] = cycles
                traffic.average_bandwidth[row, s, direction] = average
                traffic.active[row, s, direction] = moving
        if version == FRACTIONAL:
            traffic.energy_pj[row, s] = energy_pj if k < problem.levels[o] else 0.0


@kernel
def weight_change_pj(problem, unrolling, periods):
    """Precharging the bit lines of cell groups: once per weight read out of the cells and kept while it is stationary."""
    row = problem.first_row[W]
    weights = unrolling.multicast[FRACTIONAL, row] * unrolling.instances[FRACTIONAL, row]
    return problem.weight_change_pj * periods * weights


@kernel
def _partial_width(problem, unrolling, states, version, k, s):
    """Does the output cross boundary k at partial-sum width? ZigZag asks int(E (c - 1)) != 0 for E output elements and c
    reducing iterations above.
    """
    reduction = unrolling.reduction_above[version, problem.first_row[O] + k]
    elements = 1.0
    for d in range(N_DIMS):
        if problem.relevance[O, d] == IRRELEVANT:
            reduction *= unrolling.remaining[d] / states.size[s, d]
        elif problem.relevance[O, d] == RELEVANT:
            elements *= problem.loop_size[d]
    return np.trunc(elements * (reduction - 1.0)) != 0.0


@kernel
def _reduces(problem, unrolling, version, k):
    """Is some spatial loop above boundary k of the output irrelevant to it (a factor above 1)?"""
    first = problem.first_row[O]
    for j in range(k + 1, problem.levels[O] + 1):
        for d in range(N_DIMS):
            if problem.relevance[O, d] == IRRELEVANT and unrolling.entry[version, first + j, d] > 1.0:
                return True
    return False


@kernel
def fill_tables(problem, unrolling, states, traffic):
    """Fill every (row, state). The boundary inside level 0 moves single elements, whatever the state: only its period counts."""
    tile = np.ones((2, N_DIMS))
    single = np.ones((2, N_DIMS))
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            row = problem.first_row[o] + k
            for s in range(states.cycles.size):
                fill_content(problem, unrolling, states, o, k, s, traffic)
                if k == 0:
                    fill_boundary(problem, unrolling, states, o, k, s, single, states.cycles[s], traffic)
                    continue
                for version in range(2):
                    for d in range(N_DIMS):
                        tile[version, d] = states.size[s, d] * unrolling.below[version, row, d]
                fill_boundary(problem, unrolling, states, o, k, s, tile, states.cycles[s], traffic)
