"""The cost of one mapping: the one function behind the evaluator and every search."""

from __future__ import annotations

from ._jit import kernel
from .latency import fill_loading, fill_windows, offload_cycles, onload_cycles, port_stall
from .problem import IRRELEVANT, O
from .traffic import CYCLES, ENERGY_PJ

# Columns of the result of ``mapping_cost``.
TOTAL_PJ, COMPUTE_CYCLES, STALL_CYCLES, ONLOAD_CYCLES, OFFLOAD_CYCLES, LATENCY_CYCLES = range(6)
N_COSTS = 6


@kernel
def place_boundaries(problem, state_at, loop_dim, n, cuts, scratch):
    """Positions and states of all boundaries: each cut moves up past the loops that are irrelevant to its operand.

    While only such loops turn, the tile below stays in place (ZigZag merges these loops into the level below). The
    boundary inside level 0 of an input moves past them too; that of the output does not (every cycle writes its sum).
    """
    for o in range(3):
        first = problem.first_row[o]
        for k in range(problem.levels[o] + 1):
            p = cuts[o, k - 1] if k > 0 else 0
            if k > 0 or o != O:
                while p < n and problem.relevance[o, loop_dim[p]] == IRRELEVANT:
                    p += 1
            scratch.position[first + k] = p
            scratch.state[first + k] = state_at[p]


@kernel
def mapping_cost(problem, states, traffic, state_at, n, loop_dim, loop_size, cuts, scratch, cost):
    """Energy of the memories (and of precharging cell groups) and latency of one mapping.

    Args:
        state_at: int64[n + 1], state of each prefix of the order; ``traffic`` must be filled at every boundary's state.
        loop_dim, loop_size: int64[n], the order, innermost first.
        cuts: int64[3, L], the allocation; it must fit.
        cost: float64[N_COSTS], filled: pJ and cycles of the array clock.
    """
    place_boundaries(problem, state_at, loop_dim, n, cuts, scratch)
    total_cycles = states[state_at[n], CYCLES]
    energy_pj = 0.0
    for o in range(3):
        first = problem.first_row[o]
        for k in range(problem.levels[o]):
            energy_pj += traffic[first + k, scratch.state[first + k], ENERGY_PJ]
    fill_windows(problem, states, traffic, loop_dim, loop_size, scratch)
    stall = 0.0
    for port in range(problem.ports):
        scratch.port_stall[port] = port_stall(problem, traffic, port, scratch)
        stall = max(stall, scratch.port_stall[port])
    fill_loading(problem, total_cycles, traffic, stall, scratch)
    cost[TOTAL_PJ] = energy_pj
    cost[COMPUTE_CYCLES] = total_cycles * problem.cycles_per_operation
    cost[STALL_CYCLES] = stall
    cost[ONLOAD_CYCLES] = onload_cycles(problem, scratch)
    cost[OFFLOAD_CYCLES] = offload_cycles(problem, scratch)
    cost[LATENCY_CYCLES] = cost[COMPUTE_CYCLES] + stall + cost[ONLOAD_CYCLES] + cost[OFFLOAD_CYCLES]
