"""Evaluation of one given mapping, in ZigZag's own order of floating-point products."""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .allocate import allocate_greedy, check_allocation
from .cost import mapping_cost, place_boundaries
from .problem import IRRELEVANT, N_DIMS, O
from .traffic import States, fill_boundary

@kernel
def prefix_states(problem, unrolling, loop_dim, loop_size):
    """One state per prefix of a given order; ``unrolling.remaining`` becomes the order's own iterations."""
    n = loop_dim.size
    cycles = np.ones(n + 1)
    size = np.ones((n + 1, N_DIMS))
    unrolling.remaining[:] = 1  # the iterations of this order, which may do without ZigZag's superfluous one
    for p in range(n):
        unrolling.remaining[loop_dim[p]] *= loop_size[p]
        cycles[p + 1] = cycles[p] * loop_size[p]
        size[p + 1] = size[p]
        size[p + 1, loop_dim[p]] *= loop_size[p]
    reduces_above = np.zeros(n + 1, np.bool_)
    for p in range(n + 1):
        for d in range(N_DIMS):
            if problem.relevance[O, d] == IRRELEVANT and size[p, d] < unrolling.remaining[d]:
                reduces_above[p] = True
    return States(cycles, size, reduces_above, cycles[n])


@kernel
def walk_tile(problem, unrolling, loop_dim, loop_size, scratch, o, k, tile):
    """Iterations below boundary (o, k), multiplied level by level: temporal loops, then the level's unrolling.

    A truncated fractional extent may depend on this order (by one unit of the last place), and ZigZag's is this one.
    """
    tile[:] = 1.0
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
def evaluate_mapping(problem, unrolling, loop_dim, loop_size, cuts, greedy, traffic, scratch, cost, failure):
    """Allocate (or check the given cuts), fill the traffic of this mapping's boundaries, and cost it.

    Args:
        unrolling: its ``remaining`` becomes the order's own iterations.
        cuts: int64[3, L]; filled when ``greedy``.
        traffic: tables of at least n + 1 states, filled at the boundaries' positions.
        failure: float64[3]: memory, bits needed, bits available, when the mapping does not fit.

    Returns:
        Whether the mapping fits.
    """
    n = loop_dim.size
    states = prefix_states(problem, unrolling, loop_dim, loop_size)
    state_at = np.arange(n + 1)
    if greedy:
        fits = allocate_greedy(
            problem, unrolling, states, traffic, state_at, loop_dim, loop_size, n, True, scratch, cuts, failure
        )
    else:
        fits = check_allocation(problem, unrolling, states, traffic, loop_dim, loop_size, n, cuts, failure)
    if not fits:
        return False
    place_boundaries(problem, loop_dim, n, cuts, scratch)
    tile = np.ones((2, N_DIMS))
    for o in range(3):
        for k in range(problem.levels[o] + 1):
            p = scratch.position[problem.first_row[o] + k]
            walk_tile(problem, unrolling, loop_dim, loop_size, scratch, o, k, tile)
            fill_boundary(problem, unrolling, states, o, k, p, tile, states.cycles[p], traffic)
    mapping_cost(problem, states, traffic, state_at, n, loop_dim, loop_size, cuts, scratch, cost)
    return True
