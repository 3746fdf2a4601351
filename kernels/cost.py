"""The cost of one mapping: the one function behind the evaluator and every search."""

from __future__ import annotations

from ._jit import kernel
from .allocate import allocate_greedy, check_allocation
from .latency import (
    fill_double_buffers,
    fill_loading,
    fill_windows,
    offload_cycles,
    onload_cycles,
    port_stall,
)
from .problem import (
    FRACTIONAL,
    FX,
    FY,
    INTEGER,
    IRRELEVANT,
    N_DIMS,
    OX,
    OY,
    PARTIAL_X,
    PARTIAL_Y,
    RELEVANT,
    O,
    extent,
    tensor_size,
)
from .traffic import CYCLES, ENERGY_PJ, SIZE, fill_boundary, tile_elements

# Columns of the result of ``mapping_cost``.
TOTAL_PJ, COMPUTE_CYCLES, STALL_CYCLES, ONLOAD_CYCLES, OFFLOAD_CYCLES, LATENCY_CYCLES = range(6)
N_COSTS = 6


@kernel
def mapping_cost(
    problem,
    unrolling,
    states,
    content,
    traffic,
    state_at,
    loop_dim,
    loop_size,
    n,
    kept,
    greedy,
    cuts,
    scratch,
    cost,
    failure,
):
    """Allocate one order (or check the given cuts); energy of the memories and of precharging, and latency.

    Args:
        states, content, traffic: tables filled by ``fill_tables``, with every prefix of the order among the states.
        state_at: int64[n + 1], state of each prefix.
        loop_dim, loop_size: int64[n], the order, innermost first.
        kept: innermost loops in common with the last order allocated with the same unrolling, scratch and cuts, or -1.
        greedy: choose ``cuts`` as ZigZag does; else they are given.
        cuts: int64[3, L], the allocation: loops at or below each level.
        scratch: holds the breakdown of the latency afterwards.
        cost: float64[N_COSTS], filled: pJ and cycles of the array clock.
        failure: float64[3], filled when the mapping does not fit: memory, bits needed, bits available.

    Returns:
        Whether the mapping fits.
    """
    if greedy:
        fits = allocate_greedy(
            problem, unrolling, states, content, state_at, loop_dim, loop_size, n, kept, scratch, cuts, failure
        )
    else:
        fits = check_allocation(
            problem, unrolling, states, content, state_at, loop_dim, loop_size, n, scratch, cuts, failure
        )
    if not fits:
        return False
    energy_pj = 0.0
    free = traffic.shape[1] - 1
    for o in range(3):
        energy_pj += place_operand(
            problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, cuts, free, scratch
        )
    cost[TOTAL_PJ] = energy_pj
    fill_latency(problem, states[state_at[n], CYCLES], traffic, scratch, cost)
    return True


@kernel
def place_operand(
    problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, cuts, free, scratch
):
    """What one operand alone decides: positions, periods and windows of its boundaries (rows of ``scratch``).

    A boundary lies where the cut moves to past the loops that are irrelevant to the operand: while only such loops
    turn, the tile below stays in place (ZigZag merges these loops into the level below). The boundary inside level 0
    of an input moves past them too; that of the output does not (every cycle writes its sum).

    Args:
        free: column of ``traffic`` for the values of this mapping alone.

    Returns:
        Energy of all transfers of the operand, pJ.
    """
    first = problem.first_row[o]
    for k in range(problem.levels[o] + 1):
        p = cuts[o, k - 1] if k > 0 else 0
        if k > 0 or o != O:
            while p < n and problem.relevance[o, loop_dim[p]] == IRRELEVANT:
                p += 1
        scratch.position[first + k] = p
        scratch.column[first + k] = state_at[p]
    if unrolling.fractional and unrolling.fractional_operand[o] != 0:
        refine(problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, free, scratch)
    energy_pj = 0.0
    for k in range(problem.levels[o]):
        energy_pj += traffic[first + k, scratch.column[first + k], ENERGY_PJ]
    fill_windows(problem, states, traffic, state_at, loop_dim, loop_size, o, scratch)
    return energy_pj


@kernel
def fill_latency(problem, total_cycles, traffic, scratch, cost):
    """What the operands decide together: double buffers, stalls, first loading and last off-loading."""
    fill_double_buffers(problem, scratch)
    stall = 0.0
    for port in range(problem.ports):
        scratch.port_stall[port] = port_stall(problem, traffic, port, scratch)
        stall = max(stall, scratch.port_stall[port])
    fill_loading(problem, total_cycles, traffic, stall, scratch)
    cost[COMPUTE_CYCLES] = total_cycles * problem.cycles_per_operation
    cost[STALL_CYCLES] = stall
    cost[ONLOAD_CYCLES] = onload_cycles(problem, scratch)
    cost[OFFLOAD_CYCLES] = offload_cycles(problem, scratch)
    cost[LATENCY_CYCLES] = cost[COMPUTE_CYCLES] + stall + cost[ONLOAD_CYCLES] + cost[OFFLOAD_CYCLES]


@kernel
def refine(problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, free, scratch):
    """Recompute the traffic of boundaries whose number of elements depends on the order of multiplication.

    ZigZag multiplies a fractional tile level by level, loop by loop, and rounds the result to whole elements, of which
    truncated extents are part. Where the last digit of the table's product differs, that may come out differently; such
    a boundary gets the free column of the table.
    """
    first = problem.first_row[o]
    for d in range(N_DIMS):
        scratch.size[d] = 1.0
    elements = 1.0
    start = 0
    spatial = 0
    for k in range(1, problem.levels[o] + 1):
        row = first + k
        end = scratch.position[row]
        growth = 1.0  # of this level
        for p in range(start, end):
            growth *= _grow(problem, o, loop_dim[p], loop_size[p], scratch.size)
        while spatial < unrolling.n_loops[o] and unrolling.loops[o, spatial, 0] == k - 1:
            d = unrolling.loops[o, spatial, 1]
            growth *= _grow(problem, o, d, unrolling.entry[FRACTIONAL, row - 1, d], scratch.size)
            spatial += 1
        elements *= growth
        start = end
        state = state_at[end]
        elements_below = tile_elements(problem.repairs, elements)
        if elements_below == tile_elements(problem.repairs, content[row, state]):
            continue
        scratch.elements[FRACTIONAL] = elements_below
        for d in range(N_DIMS):
            scratch.tile[d] = states[state, SIZE + d] * unrolling.below[INTEGER, row, d]
        scratch.elements[INTEGER] = tile_elements(problem.repairs, tensor_size(problem, o, scratch.tile))
        total_cycles = states[state_at[n], CYCLES]
        fill_boundary(problem, unrolling, states, total_cycles, o, k, state, scratch.elements, traffic, free)
        scratch.column[row] = free


@kernel
def _grow(problem, o, d, factor, size):
    """Factor by which one more loop multiplies an operand's tile; ``size`` grows with it."""
    relevance = problem.relevance[o, d]
    if relevance == RELEVANT:
        return factor
    if relevance == PARTIAL_X or relevance == PARTIAL_Y:
        axis, outer, inner = (0, OX, FX) if relevance == PARTIAL_X else (1, OY, FY)
        before = extent(problem, axis, size[outer], size[inner])
        size[d] *= factor
        return extent(problem, axis, size[outer], size[inner]) / before
    return 1.0
