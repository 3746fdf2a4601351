"""Evaluation of one given mapping, in ZigZag's own order of floating-point products."""

from __future__ import annotations

from ._jit import kernel
from .allocate import allocate_greedy, check_allocation
from .cost import mapping_cost, place_boundaries
from .problem import IRRELEVANT, N_DIMS, O
from .traffic import CYCLES, CYCLES_ABOVE, N_STATE, REDUCES_ABOVE, SIZE, fill_boundary


@kernel
def prefix_states(problem, unrolling, loop_dim, loop_size, states):
    """One state per prefix of a given order (float64[n + 1, N_STATE], filled); ``unrolling.remaining`` becomes the
    order's own iterations, which may do without ZigZag's superfluous one.
    """
    n = loop_dim.size
    for d in range(N_DIMS):
        unrolling.remaining[d] = 1
    for column in range(N_STATE):
        states[0, column] = 1.0
    for p in range(n):
        unrolling.remaining[loop_dim[p]] *= loop_size[p]
        for column in range(N_STATE):
            states[p + 1, column] = states[p, column]
        states[p + 1, CYCLES] *= loop_size[p]
        states[p + 1, SIZE + loop_dim[p]] *= loop_size[p]
    for p in range(n + 1):
        reduces = False
        for d in range(N_DIMS):
            reduces |= problem.relevance[O, d] == IRRELEVANT and states[p, SIZE + d] < unrolling.remaining[d]
        states[p, CYCLES_ABOVE] = states[n, CYCLES] / states[p, CYCLES]
        states[p, REDUCES_ABOVE] = 1.0 if reduces else 0.0


@kernel
def walk_tile(problem, unrolling, loop_dim, loop_size, scratch, o, k, tile):
    """Iterations below boundary (o, k), multiplied level by level: temporal loops, then the level's unrolling.

    A truncated fractional extent may depend on this order (by one unit of the last place), and ZigZag's is this one.
    """
    for version in range(2):
        for d in range(N_DIMS):
            tile[version, d] = 1.0
    start = 0
    for j in range(k):
        row = problem.first_row[o] + j
        end = scratch.position[row + 1]
        for version in range(2):
            for p in range(start, end):
                tile[version, loop_dim[p]] *= loop_size[p]
            for d in range(N_DIMS):
                tile[version, d] *= unrolling.entry[version, row, d]
        start = end


@kernel
def evaluate_mapping(
    problem, unrolling, loop_dim, loop_size, cuts, greedy, state_at, states, content, traffic, scratch, cost, failure
):
    """Allocate (or check the given cuts), fill the traffic of this mapping's boundaries, and cost it.

    Args:
        unrolling: its ``remaining`` becomes the order's own iterations.
        cuts: int64[3, L]; filled when ``greedy``.
        state_at: int64[n + 1], filled with 0..n: states are positions.
        states, content, traffic: tables of at least n + 1 states; ``traffic`` is filled at the boundaries' positions.
        failure: float64[3]: memory, bits needed, bits available, when the mapping does not fit.

    Returns:
        Whether the mapping fits.
    """
    n = loop_dim.size
    prefix_states(problem, unrolling, loop_dim, loop_size, states)
    for p in range(n + 1):
        state_at[p] = p
    if greedy:
        fits = allocate_greedy(
            problem, unrolling, states, content, state_at, loop_dim, loop_size, n, True, scratch, cuts, failure
        )
    else:
        fits = check_allocation(problem, unrolling, states, content, loop_dim, loop_size, n, scratch, cuts, failure)
    if not fits:
        return False
    place_boundaries(problem, state_at, loop_dim, n, cuts, scratch)
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            p = scratch.position[problem.first_row[o] + k]
            walk_tile(problem, unrolling, loop_dim, loop_size, scratch, o, k, scratch.tile)
            fill_boundary(problem, unrolling, states, states[n, CYCLES], o, k, p, scratch.tile, traffic)
    mapping_cost(problem, states, traffic, state_at, n, loop_dim, loop_size, cuts, scratch, cost)
    return True
