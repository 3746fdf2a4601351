"""The exhaustive search: every order of every candidate spatial mapping, allocated greedily, costed and reduced.

The mappings of a space are numbered: candidate by candidate, within one by the rank of the order. A call works
through a range of numbers, so that any split of the space over threads and calls gives the same result.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .cost import LATENCY_CYCLES, N_COSTS, TOTAL_PJ, mapping_cost
from .evaluate import prefix_tables
from .orders import loop_items, next_order, unrank_order
from .problem import (
    FRACTIONAL,
    IRRELEVANT,
    MAX_LEVELS,
    MAX_LOOPS,
    N_DIMS,
    O,
    tensor_size,
    unroll,
)
from .reduce import EVALUATED, offer
from .traffic import CYCLES, CYCLES_ABOVE, N_STATE, N_TRAFFIC, REDUCES_ABOVE, SIZE, element_bits, fill_tables

STOP_EVERY = 512  # mappings between two looks at the stop flag


@kernel
def lattice_states(problem, items, item_dim, item_size, item_count, stride):
    """All states of a multiset of loops: how many of each item lie below. Item i counts in steps of ``stride[i]``
    (filled).
    """
    total = 1
    for i in range(items):
        stride[i] = total
        total *= item_count[i] + 1
    states = np.ones((total, N_STATE))
    for s in range(total):
        states[s, REDUCES_ABOVE] = 0.0
        for i in range(items):
            below = (s // stride[i]) % (item_count[i] + 1)
            for _ in range(below):
                states[s, CYCLES] *= item_size[i]
                states[s, SIZE + item_dim[i]] *= item_size[i]
            if below < item_count[i] and item_size[i] > 1 and problem.relevance[O, item_dim[i]] == IRRELEVANT:
                states[s, REDUCES_ABOVE] = 1.0
    for s in range(total):
        states[s, CYCLES_ABOVE] = states[total - 1, CYCLES] / states[s, CYCLES]
    return states


@kernel
def candidate_orders(problem, unrolling, array_dim, loop_dim, candidates, limit, remaining, loops, counts):
    """Temporal iterations, loops and multiplicities of every candidate, for counting its orders exactly.

    Args:
        candidates: int64[S, n], factors of the spatial loops (array_dim, loop_dim).
        limit: largest number of loops, 0 for none.
        remaining: int64[S, 8], filled.
        loops: int64[S], filled; -1 where the loops are too many.
        counts: int64[S, MAX_LOOPS], filled with the multiplicities, 0 beyond.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    counts[:] = 0
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        for d in range(N_DIMS):
            remaining[i, d] = unrolling.remaining[d]
        items, loops[i] = loop_items(
            unrolling.remaining, problem.dimension_order[: problem.dimensions], limit, item_dim, item_size, item_count
        )
        counts[i, :items] = item_count[:items]


@kernel
def search_range(
    problem,
    unrolling,
    scratch,
    array_dim,
    loop_dim,
    candidates,
    array_pj,
    offsets,
    limit,
    fixed,
    start,
    stop,
    reductions,
    control,
    progress,
):
    """Cost the mappings start..stop-1 and reduce them.

    Args:
        array_pj: float64[S], energy of the array for each candidate.
        offsets: int64[S + 1], number of the first mapping of each candidate.
        limit: largest number of loops, 0 for none.
        fixed: int64[n, 2], the one order to cost, (loop dimension, size) innermost first; n = 0: all orders.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the mappings done.

    Returns:
        The number of the first mapping not done: ``stop``, or less after a stop or when the front of ``reductions``
        is full.
    """
    best, front, used = reductions.best, reductions.front, reductions.used
    histogram, joint, totals = reductions.histogram, reductions.joint, reductions.totals
    cost = np.empty(N_COSTS)
    cuts = np.empty((3, MAX_LEVELS), np.int64)
    failure = np.empty(3)
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count, stride = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    order = np.empty(MAX_LOOPS, np.int64)
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    state_at = np.empty(MAX_LOOPS + 1, np.int64)
    number = start
    i = np.searchsorted(offsets, start, side="right") - 1
    while number < stop:
        if control[0] != 0:
            return number
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        if fixed.shape[0] > 0:
            items = loops = fixed.shape[0]
            for p in range(loops):
                item_dim[p], item_size[p], stride[p], order[p] = fixed[p, 0], fixed[p, 1], 1, p
            states = np.empty((loops + 1, N_STATE))
        else:
            items, loops = loop_items(
                unrolling.remaining,
                problem.dimension_order[: problem.dimensions],
                limit,
                item_dim,
                item_size,
                item_count,
            )
            states = lattice_states(problem, items, item_dim, item_size, item_count, stride)
        content = np.empty((problem.rows, states.shape[0]))
        traffic = np.empty((problem.rows, states.shape[0] + 1, N_TRAFFIC))
        orders = offsets[i + 1] - offsets[i]
        rank = number - offsets[i]
        if fixed.shape[0] > 0:
            dims, sizes = item_dim[:loops], item_size[:loops]
            prefix_tables(problem, unrolling, dims, sizes, scratch, states, content, traffic)
        else:
            fill_tables(problem, unrolling, states, scratch, content, traffic)
            unrank_order(items, item_count, loops, orders, rank, order)
        state_at[0] = 0
        changed = 0
        kept = -1
        while number < stop and rank < orders:
            for p in range(changed, loops):
                item = order[p]
                nest_dim[p] = item_dim[item]
                nest_size[p] = item_size[item]
                state_at[p + 1] = state_at[p] + stride[item]
            fits = mapping_cost(
                problem,
                unrolling,
                states,
                content,
                traffic,
                state_at,
                nest_dim,
                nest_size,
                loops,
                kept,
                True,
                cuts,
                scratch,
                cost,
                failure,
            )
            if fits and not offer(
                best,
                front,
                used,
                histogram,
                joint,
                totals,
                cost[TOTAL_PJ] + array_pj[i],
                cost[LATENCY_CYCLES],
                i,
                rank,
            ):
                return number
            totals[EVALUATED] += 1
            number += 1
            rank += 1
            progress[0] += 1
            if number % STOP_EVERY == 0 and control[0] != 0:
                return number
            changed = kept = next_order(order, loops)
        i += 1
    return number


@kernel
def unrolling_fits(problem, unrolling, scratch, array_dim, loop_dim, candidates, fits):
    """Which candidates fit every memory before any temporal loop is placed (bool[S], filled).

    Whole units count here, 2 rather than 50 / 26 = 1.92: ZigZag truncates such a factor of a sliding dimension to 1,
    and so lets a register feed two output positions with different inputs.
    """
    for c in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[c], unrolling)
        fits[c] = True
        for memory in range(problem.memories):
            needed = 0.0
            for i in range(3):
                o = problem.memory_operands[memory, i]
                if o < 0:
                    break
                first = problem.first_row[o]
                for d in range(N_DIMS):
                    scratch.size[d] = 1.0
                    for k in range(problem.memory_level[memory, o] + 1):
                        scratch.size[d] *= np.ceil(unrolling.entry[FRACTIONAL, first + k, d] - 1e-9)
                needed += tensor_size(problem, o, scratch.size) * element_bits(problem, o, False)
            if needed > problem.memory_size[memory]:
                fits[c] = False
