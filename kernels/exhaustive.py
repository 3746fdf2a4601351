"""The exhaustive search: every order of every candidate spatial mapping, every allocation that fits, costed, reduced.

The mappings of a space are numbered: candidate by candidate, within one by the rank of the order. A call works
through a range of orders, so that any split of the space over threads and calls gives the same result.

An order's allocations are the combinations of one allocation for each operand. What an operand alone decides (energy,
periods, windows, bits held) is computed once for each of its allocations; a combination adds what the operands share:
capacities, double buffers, ports. Cuts that a run of irrelevant loops moves to the same boundary are one and the same
schedule: it is costed once and counted as often as it occurs.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .allocate import cut_bits, fits
from .cost import LATENCY_CYCLES, N_COSTS, TOTAL_PJ, fill_latency, mapping_cost, place_operand
from .lattice import (
    allowed_states,
    count_completions,
    count_states,
    fill_lattice,
    lattice_items,
    next_path,
    unrank_path,
)
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, MAX_MEMORIES, O, unroll
from .reduce import COSTED, EVALUATED, offer
from .rules import cuts_even, factors_allowed, reuse_allowed
from .traffic import CYCLES, N_STATE, N_TRAFFIC, REDUCES_ABOVE, fill_tables

STOP_EVERY = 64  # orders between two looks at the stop flag

# What the store of operand allocations holds for each row, float64.
PERIOD, SINGLE_WINDOW, COUNT, EFFECTIVE_USE, COLUMN = range(5)
N_PART = 5


@kernel
def combinations(n, k):
    """Ways to choose k of n, exactly."""
    result = np.int64(1)
    for i in range(k):
        result = result * (n - i) // (i + 1)
    return result


@kernel
def allocations_of_order(problem, n):
    """Number of allocations of n loops, whether they fit or not: non-decreasing cuts of each operand's lower levels."""
    total = np.int64(1)
    for o in range(3):
        total *= combinations(n + problem.levels[o] - 1, problem.levels[o] - 1)
    return total


@kernel
def _choices(problem, rules, states, state_at, loop_dim, n, o, cut, size):
    """Cuts that an allocation of the operand can choose from at each level.

    Cuts before and within a run of irrelevant loops lead to the same boundary, behind it; they form one choice. For the
    output, the cut behind a run that completes the sums is another one: what follows holds complete outputs.

    Args:
        cut: int64[n + 1], filled: the smallest cut of each choice.
        size: int64[n + 1], filled: how many cuts it stands for.

    Returns:
        Number of choices.
    """
    each = rules.bounded[o] != 0 or rules.even != 0
    choices = 0
    p = 0
    while p <= n:
        end = p
        while not each and end < n and problem.relevance[o, loop_dim[end]] == IRRELEVANT:
            end += 1
        if o == O and end > p and states[state_at[end], REDUCES_ABOVE] == 0.0:
            cut[choices], size[choices] = p, end - p
            choices += 1
            p = end
        cut[choices], size[choices] = p, end - p + 1
        choices += 1
        p = end + 1
    return choices


@kernel
def operand_allocations(
    problem,
    rules,
    unrolling,
    states,
    content,
    traffic,
    state_at,
    loop_dim,
    loop_size,
    n,
    o,
    scratch,
    cuts,
    choice_cut,
    choice_size,
    index,
    held,
    parts,
    energy_pj,
    weight,
    code,
    bits,
    own_cuts,
):
    """Enumerate the allocations of one operand that fit its memories and the rules on it, and compute its part of each.

    Args:
        index: int64[L], held: float64[L], working memory.
        parts: float64[J, L + 1, N_PART], energy_pj: float64[J], weight, code: int64[J], bits: float64[J, M], own_cuts:
            int64[J, L], the store of this operand, filled. ``code``: its cuts as digits to the base n + 1.

    Returns:
        Number of allocations; -1 when the store has no room for them.
    """
    levels = problem.levels[o]
    first = problem.first_row[o]
    n_choices = _choices(problem, rules, states, state_at, loop_dim, n, o, choice_cut, choice_size)
    found = 0
    level = 0
    index[0] = 0
    cuts[o, levels - 1] = n
    while level >= 0:
        top = level == levels - 1
        if not top and index[level] >= n_choices:
            level -= 1
            if level >= 0:
                index[level] += 1
            continue
        start = choice_cut[index[level - 1]] if level > 0 else 0
        end = n if top else choice_cut[index[level]]
        memory = problem.chain[o, level]
        held[level] = cut_bits(problem, unrolling, states, content, o, level, state_at[start], state_at[end])
        if not fits(held[level], problem.memory_size[memory]):
            if not top and problem.memory_double_buffered[memory] != 0:
                index[level] += 1  # the last cut needs no second buffer
            else:
                level -= 1
                if level >= 0:
                    index[level] += 1
            continue
        cuts[o, level] = end
        if not top:
            level += 1
            if level < levels - 1:
                index[level] = index[level - 1]
            continue
        if found == energy_pj.size:
            return -1
        free = states.shape[0] + found
        energy_pj[found] = place_operand(
            problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, cuts, free, scratch
        )
        if (rules.bounded[o] == 0 or factors_allowed(rules, states, state_at, o, levels, cuts)) and reuse_allowed(
            problem, rules, loop_dim, n, o, scratch.position
        ):
            for k in range(levels + 1):
                parts[found, k, PERIOD] = scratch.period[first + k]
                parts[found, k, SINGLE_WINDOW] = scratch.single_window[first + k]
                parts[found, k, COUNT] = scratch.count[first + k]
                parts[found, k, EFFECTIVE_USE] = scratch.effective_use[first + k]
                parts[found, k, COLUMN] = scratch.column[first + k]
            weight[found] = 1
            code[found] = 0
            repeats = 0
            for m in range(levels - 1):
                bits[found, problem.chain[o, m]] = held[m]
                own_cuts[found, m] = cuts[o, m]
                code[found] = code[found] * (n + 1) + cuts[o, m]
                repeats = repeats + 1 if m > 0 and index[m] == index[m - 1] else 1
                if m == levels - 2 or index[m + 1] != index[m]:
                    weight[found] *= combinations(choice_size[index[m]] + repeats - 1, repeats)
            bits[found, memory] = held[level]
            own_cuts[found, level] = n
            found += 1
        level -= 1
        if level >= 0:
            index[level] += 1
    return found


@kernel
def _load(problem, o, part, scratch):
    """Put one allocation of an operand where the latency expects it."""
    first = problem.first_row[o]
    for k in range(problem.levels[o] + 1):
        scratch.period[first + k] = part[k, PERIOD]
        scratch.single_window[first + k] = part[k, SINGLE_WINDOW]
        scratch.count[first + k] = part[k, COUNT]
        scratch.effective_use[first + k] = part[k, EFFECTIVE_USE]
        scratch.column[first + k] = np.int64(part[k, COLUMN])


@kernel
def search_range(
    problem,
    rules,
    unrolling,
    scratch,
    array_dim,
    loop_dim,
    candidates,
    array_pj,
    offsets,
    start,
    stop,
    best,
    front,
    used,
    histogram,
    joint,
    totals,
    control,
    progress,
):
    """Cost all mappings of the orders start..stop-1 and reduce them.

    Args:
        array_pj: float64[S], energy of the array for each candidate.
        offsets: int64[S + 1], number of the first order of each candidate.
        best, front, used, histogram, joint, totals: ``Reductions``.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the orders done.

    Returns:
        The number of the first order not done, ``stop`` unless stopped; the front, in another array if it grew.
    """
    cost = np.empty(N_COSTS)
    cuts = np.zeros((3, MAX_LEVELS), np.int64)
    failure = np.empty(3)
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    order = np.empty(MAX_LOOPS, np.int64)
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    state_at = np.zeros(MAX_LOOPS + 1, np.int64)
    choice_cut, choice_size = np.empty(MAX_LOOPS + 1, np.int64), np.empty(MAX_LOOPS + 1, np.int64)
    index, held = np.empty(MAX_LEVELS, np.int64), np.empty(MAX_LEVELS)
    found = np.empty(3, np.int64)
    shared = np.empty(MAX_MEMORIES, np.int64)
    n_shared = 0
    for memory in range(problem.memories):
        if problem.memory_operands[memory, 1] >= 0:
            shared[n_shared] = memory
            n_shared += 1
    room = 256
    number = start
    i = np.searchsorted(offsets, start, side="right") - 1
    while number < stop:
        if control[0] != 0:
            return number, front
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        items, n = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
        states = np.empty((count_states(rules, items, item_count), N_STATE))
        successor = np.empty((states.shape[0], items), np.int64)
        allowed = np.empty(states.shape[0], np.bool_)
        completions = np.empty(states.shape[0], np.int64)
        fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
        allowed_states(rules, states, allowed)
        count_completions(successor, allowed, completions)
        content = np.empty((problem.rows, states.shape[0]))
        traffic = np.empty((problem.rows, states.shape[0] + (room if unrolling.fractional else 1), N_TRAFFIC))
        fill_tables(problem, unrolling, states, scratch, content, traffic)
        total_cycles = states[states.shape[0] - 1, CYCLES]
        allocations = allocations_of_order(problem, n)
        rank = number - offsets[i]
        last = min(stop, offsets[i + 1]) - offsets[i]
        unrank_path(successor, completions, n, rank, order, state_at)
        parts = np.empty((3, room, MAX_LEVELS + 1, N_PART))
        energy_pj, bits = np.empty((3, room)), np.zeros((3, room, MAX_MEMORIES))
        weight, code = np.empty((3, room), np.int64), np.empty((3, room), np.int64)
        own_cuts = np.empty((3, room, MAX_LEVELS), np.int64)
        changed = 0
        while rank < last:
            for p in range(changed, n):
                nest_dim[p] = item_dim[order[p]]
                nest_size[p] = item_size[order[p]]
            totals[EVALUATED] += 1 if rules.greedy != 0 else allocations
            if rules.greedy != 0:
                if mapping_cost(
                    problem,
                    unrolling,
                    states,
                    content,
                    traffic,
                    state_at,
                    nest_dim,
                    nest_size,
                    n,
                    changed if rank > number - offsets[i] else -1,
                    True,
                    cuts,
                    scratch,
                    cost,
                    failure,
                ) and _greedy_allowed(problem, rules, states, state_at, nest_dim, n, scratch, cuts):
                    totals[COSTED] += 1
                    front = offer(
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
                        allocation_code(problem, n, cuts),
                        1,
                    )
            else:
                enough = True
                for o in range(3):
                    found[o] = operand_allocations(
                        problem,
                        rules,
                        unrolling,
                        states,
                        content,
                        traffic,
                        state_at,
                        nest_dim,
                        nest_size,
                        n,
                        o,
                        scratch,
                        cuts,
                        choice_cut,
                        choice_size,
                        index,
                        held,
                        parts[o],
                        energy_pj[o],
                        weight[o],
                        code[o],
                        bits[o],
                        own_cuts[o],
                    )
                    if found[o] <= 0:
                        enough = found[o] == 0
                        break
                if not enough:  # the store is too small: once more with a larger one
                    totals[EVALUATED] -= allocations
                    room *= 2
                    break
                if found[o] > 0:
                    base_i = (n + 1) ** (problem.levels[1] - 1)
                    base_o = (n + 1) ** (problem.levels[2] - 1)
                    for a in range(found[0]):
                        _load(problem, 0, parts[0, a], scratch)
                        for b in range(found[1]):
                            if not _room_left(problem, shared, n_shared, bits[0, a], bits[1, b]):
                                continue
                            _load(problem, 1, parts[1, b], scratch)
                            for c in range(found[2]):
                                together = True
                                for j in range(n_shared):
                                    m = shared[j]
                                    together &= fits(
                                        bits[0, a, m] + bits[1, b, m] + bits[2, c, m], problem.memory_size[m]
                                    )
                                if not together:
                                    continue
                                if rules.even != 0:
                                    cuts[0, :] = own_cuts[0, a]
                                    cuts[1, :] = own_cuts[1, b]
                                    cuts[2, :] = own_cuts[2, c]
                                    if not cuts_even(problem, cuts):
                                        continue
                                _load(problem, 2, parts[2, c], scratch)
                                fill_latency(problem, total_cycles, traffic, scratch, cost)
                                totals[COSTED] += 1
                                energy = energy_pj[0, a] + energy_pj[1, b] + energy_pj[2, c]
                                front = offer(
                                    best,
                                    front,
                                    used,
                                    histogram,
                                    joint,
                                    totals,
                                    energy + array_pj[i],
                                    cost[LATENCY_CYCLES],
                                    i,
                                    rank,
                                    (code[0, a] * base_i + code[1, b]) * base_o + code[2, c] + 1,
                                    weight[0, a] * weight[1, b] * weight[2, c],
                                )
            rank += 1
            progress[0] += 1
            if rank % STOP_EVERY == 0 and control[0] != 0:
                return offsets[i] + rank, front
            if rank < last:
                changed = next_path(successor, completions, n, order, state_at)
        number = offsets[i] + rank
        if number == offsets[i + 1]:
            i += 1
    return number, front


@kernel
def _room_left(problem, shared, n_shared, bits_w, bits_i):
    """Do the tiles of W and I leave room at all in the memories that they share?"""
    for j in range(n_shared):
        if not fits(bits_w[shared[j]] + bits_i[shared[j]], problem.memory_size[shared[j]]):
            return False
    return True


@kernel
def _greedy_allowed(problem, rules, states, state_at, loop_dim, n, scratch, cuts):
    """Do the rules admit ZigZag's allocation of this order?"""
    for o in range(3):
        if not reuse_allowed(problem, rules, loop_dim, n, o, scratch.position):
            return False
        if rules.bounded[o] != 0 and not factors_allowed(rules, states, state_at, o, problem.levels[o], cuts):
            return False
    return True


@kernel
def allocation_code(problem, n, cuts):
    """An allocation as one integer above 0: its cuts below each top memory are digits to the base n + 1."""
    code = np.int64(0)
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            code = code * (n + 1) + cuts[o, level]
    return code + 1
