"""The tables of one given order, for the evaluation of a single mapping."""

from __future__ import annotations

from ._jit import kernel
from .problem import IRRELEVANT, N_DIMS, O
from .traffic import CYCLES, CYCLES_ABOVE, N_STATE, REDUCES_ABOVE, SIZE, fill_tables


@kernel
def prefix_tables(problem, unrolling, loop_dim, loop_size, scratch, states, content, traffic):
    """Fill the tables for the states that an order passes: one per prefix, numbered by its length.

    Args:
        loop_dim, loop_size: int64[n], the order. ``unrolling.remaining`` becomes its iterations, which may do without
            ZigZag's superfluous one.
        states, content, traffic: float64[n + 1, N_STATE], [R, n + 1], [R, n + 2, N_TRAFFIC].
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
    fill_tables(problem, unrolling, states, scratch, content, traffic)
