"""What every mapping of a spatial mapping costs at least, in closed form: without the lattice of its loop orders."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, formula, kernel
from .allocate import held_bits
from .bounds import boundary_window, fill_least, most_bits, narrowest_bits, recurring_cycles
from .paths import ROUNDING
from .problem import (
    ALL_ACCESSES,
    EXACT_TILES,
    FRACTIONAL,
    INTEGER,
    IRRELEVANT,
    MAX_MEMORIES,
    N_DIMS,
    PARTIAL_X,
    TRUE_EXTENTS,
    O,
    side,
    tensor_size,
    unroll,
)
from .traffic import (
    ACCESSES,
    ACTIVE,
    CYCLES,
    CYCLES_ABOVE,
    ENERGY_PJ,
    N_STATE,
    N_TRAFFIC,
    REDUCES_ABOVE,
    SIZE,
    fill_boundary,
    fill_traffic,
    tile_content,
)

# Rows of the table of states from which ``candidate_bounds`` works: no loop below; all that are irrelevant to an
# operand; one that is not; all.
EMPTY, STILL, PROBE, ALL = range(4)


@allocating
def candidate_bounds(problem, unrolling, scratch, array_dim, loop_dim, candidates, array_pj, bounds):
    """The least energy (pJ) and latency (cycles) of each candidate, from what every mapping must do: float64[S, 2].

    Each element crosses each boundary once. Where a memory has no room for more than the unrolling alone, no loop that
    is relevant to the operand lies below, and all others at most; none does unless the innermost loop is one of them.
    As a loop is irrelevant to one operand at most, the innermost one decides which operand stays while others change.
    """
    states = np.empty((ALL + 1, N_STATE))
    traffic = np.empty((problem.rows, ALL + 2, N_TRAFFIC))
    content, least = np.empty((problem.rows, ALL + 1)), np.empty((MAX_MEMORIES, 3))
    energy_pj = np.empty((3, 2))  # of each operand: moving in every iteration, or staying
    stalls = np.empty((3, 2, problem.ports, 2))  # BUSY and STALLED cycles of each port, likewise
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        iterations = 1.0
        for d in range(N_DIMS):
            iterations *= unrolling.remaining[d]
        _fill_content_ends(problem, unrolling, scratch, states, content)
        fill_least(problem, content, least)
        energy_pj[:] = 0.0
        stalls[:] = 0.0
        for o in range(3):
            _describe_ends(problem, unrolling, o, iterations, states)
            for k in range(problem.levels[o]):
                if _holds_one_tile(problem, unrolling, scratch, states, content, least, o, k):
                    for still in range(2):
                        s = STILL if still == 1 and not (o == O and k == 0) else EMPTY
                        fill_traffic(problem, unrolling, states, scratch, o, k, s, traffic)
                        energy_pj[o, still] += traffic[problem.first_row[o] + k, s, ENERGY_PJ]
                        _add_stalls(problem, states, traffic, o, k, s, stalls[o, still])
                else:
                    once_pj = _compulsory_pj(problem, unrolling, states, scratch, o, k, traffic)
                    energy_pj[o, 0] += once_pj
                    energy_pj[o, 1] += once_pj
        bounds[i, 0], bounds[i, 1] = np.inf, np.inf
        for d in range(N_DIMS):
            if unrolling.remaining[d] == 1 and iterations > 1.0:
                continue
            total_pj, stall = array_pj[i], 0.0
            for port in range(-1, problem.ports):
                busy, stalled = -iterations * np.ceil(problem.cycles_per_operation), 0.0
                for o in range(3):
                    still = 1 if problem.relevance[o, d] == IRRELEVANT else 0
                    if port < 0:
                        total_pj += energy_pj[o, still]
                    else:
                        busy += stalls[o, still, port, 0]
                        stalled += stalls[o, still, port, 1]
                stall = max(stall, busy, stalled)
            bounds[i, 0] = min(bounds[i, 0], total_pj)
            bounds[i, 1] = min(bounds[i, 1], iterations * problem.cycles_per_operation + stall)


@kernel
def _fill_content_ends(problem, unrolling, scratch, states, content):
    """Fill the content table at the states EMPTY and ALL."""
    for d in range(N_DIMS):
        states[EMPTY, SIZE + d] = 1.0
        states[ALL, SIZE + d] = unrolling.remaining[d]
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            row = problem.first_row[o] + k
            for s in (EMPTY, ALL):
                content[row, s] = tile_content(problem, unrolling, states, o, row, s, scratch.size)


@kernel
def _describe_ends(problem, unrolling, o, iterations, states):
    """Fill the states EMPTY, STILL and ALL of an operand."""
    states[:, CYCLES] = 1.0
    states[:, REDUCES_ABOVE] = 0.0
    states[:, SIZE : SIZE + N_DIMS] = 1.0
    for d in range(N_DIMS):
        states[ALL, SIZE + d] = unrolling.remaining[d]
        if problem.relevance[o, d] == IRRELEVANT:
            states[STILL, SIZE + d] = unrolling.remaining[d]
            states[STILL, CYCLES] *= unrolling.remaining[d]
            if o == O and unrolling.remaining[d] > 1:
                states[EMPTY, REDUCES_ABOVE] = 1.0
    states[ALL, CYCLES] = iterations
    for s in (EMPTY, STILL, ALL):
        states[s, CYCLES_ABOVE] = iterations / states[s, CYCLES]


@kernel
def _holds_one_tile(problem, unrolling, scratch, states, content, least, o, k):
    """Has the memory below boundary k no room for a loop that is relevant to the operand?

    Without a memory, as below boundary 0, there is none. Where the last digit of a product decides what moves, the cost
    of the boundary is not known from its state, and the answer is no.
    """
    if k == 0:
        return True
    if unrolling.fractional and unrolling.fractional_operand[o] != 0:
        return False
    if o == O and problem.bits[3] > problem.bits[2]:  # staying costs wider sums
        return False
    row = problem.first_row[o] + k
    limit = most_bits(problem, least, o, k)
    doubled = problem.memory_double_buffered[problem.chain[o, k - 1]] != 0
    bits, everything = narrowest_bits(problem, o), content[row, ALL]
    fits_once = held_bits(everything, everything, bits, False) <= limit  # where nothing is exchanged, once is enough
    for relevant in range(N_DIMS):
        if problem.relevance[o, relevant] == IRRELEVANT or unrolling.remaining[relevant] == 1:
            continue
        if fits_once:
            return False
        for d in range(N_DIMS):
            states[PROBE, SIZE + d] = 1.0
        states[PROBE, SIZE + relevant] = _smallest_factor(unrolling.remaining[relevant])
        elements = tile_content(problem, unrolling, states, o, row, PROBE, scratch.size)
        if held_bits(elements, everything, bits, doubled) <= limit:
            return False
    return True


@formula
def _smallest_factor(n):
    factor = 2
    while factor * factor <= n:
        if n % factor == 0:
            return factor
        factor += 1
    return n


@kernel
def _add_stalls(problem, states, traffic, o, k, s, stalls):
    """Add what the transfers across a boundary cost each port: float64[P, 2], BUSY and STALLED cycles."""
    run = np.ceil(states[ALL, CYCLES] * problem.cycles_per_operation)
    window = boundary_window(problem, states, traffic, o, k, s)
    for direction in range(4):
        level = k + side(direction)
        if level < 0 or traffic[problem.first_row[o] + k, s, ACTIVE + direction] == 0.0:
            continue
        count = states[s, CYCLES_ABOVE]
        busy, stalled, _ = recurring_cycles(problem, traffic, o, k, s, direction, count, window, run)
        port = problem.port[o, level, direction]
        stalls[port, 0] += busy
        stalls[port, 1] += stalled


@kernel
def _compulsory_pj(problem, unrolling, states, scratch, o, k, traffic):
    """Energy that boundary k > 0 needs at least, whatever its state: each element crosses it once.

    Without EXACT_TILES, a tile of a fractional unrolling is rounded to whole elements, possibly down; the elements
    counted here allow for that. Where the cost model zigzag truncates extents, the inputs are left out.

    Args:
        states: float64[4, N_STATE], see ``_describe_ends``.
        traffic: float64[R, 5, N_TRAFFIC], working memory.
    """
    row = problem.first_row[o] + k
    truncated, fractional = False, False
    for d in range(N_DIMS):
        scratch.size[d] = states[ALL, SIZE + d] * unrolling.below[FRACTIONAL, row, d]
        scratch.tile[d] = unrolling.below[FRACTIONAL, row, d]
        if problem.relevance[o, d] != IRRELEVANT:
            fractional |= scratch.tile[d] != np.floor(scratch.tile[d])
        if problem.relevance[o, d] >= PARTIAL_X and problem.repairs & TRUE_EXTENTS == 0:
            truncated |= scratch.tile[d] != np.floor(scratch.tile[d])
            truncated |= problem.window[0, 1] > 1.0 or problem.window[1, 1] > 1.0
    if truncated:
        return 0.0
    smallest = tensor_size(problem, o, scratch.tile)
    elements = tensor_size(problem, o, scratch.size)
    if problem.repairs & EXACT_TILES:
        elements *= 1.0 - ROUNDING
    else:
        if fractional:
            elements *= max(0.0, 1.0 - 0.5 / smallest)
        elements = np.floor(elements * (1.0 + ROUNDING))
    scratch.elements[FRACTIONAL], scratch.elements[INTEGER] = elements, 1.0
    fill_boundary(problem, unrolling, states, states[ALL, CYCLES], o, k, ALL, scratch.elements, traffic, ALL)
    energy_pj = traffic[row, ALL, ENERGY_PJ]
    if problem.repairs & ALL_ACCESSES == 0:  # a truncated fraction of an access
        for direction in range(4):
            if traffic[row, ALL, ACCESSES + direction] > 0.0:
                energy_pj -= problem.memory_energy[problem.chain[o, k + side(direction)], direction % 2]
    return energy_pj
