"""The exhaustive search: every order of every candidate spatial mapping, every allocation that fits, costed, reduced.

The mappings of a space are numbered: candidate by candidate, within one by the rank of the order. A call works
through a range of orders, so that any split of the space over threads and calls gives the same result.

An order's allocations are the combinations of one allocation for each operand. What an operand alone decides is
computed once for each of its allocations, a *class*; a combination adds what the operands share (see ``combine``). Two
kinds of mappings have the same cost as another one by construction; they are costed once and counted as often as they
occur:

* cuts that a run of irrelevant loops moves to the same boundary are one and the same schedule;
* the order of the loops above all boundaries means nothing. A combination that depends on the innermost p loops alone
  stands for all orders that begin with them. They follow each other; the first of them costs it.
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import cut_bits, fits
from .combine import (
    CLASS,
    buffer_sets,
    fill_class,
    fill_coupling,
    fill_short_loading,
    join_tallies,
    restore_all,
    room_for_all,
    room_left,
    variant_of,
)
from .cost import COMPUTE_CYCLES, LATENCY_CYCLES, N_COSTS, TOTAL_PJ, mapping_cost, place_operand
from .latency import busy_cycles, clear_tally, join_onload, offload_cycles, onload_cycles, port_stall
from .lattice import (
    allowed_states,
    count_completions,
    count_states,
    fill_lattice,
    lattice_items,
    next_path,
    unrank_path,
)
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, READ_UP, TALLY, I, O, W, unroll
from .reduce import BATCH, EVALUATED, OFFER, add_offer, reduce_batch
from .rules import cuts_even, factors_allowed, reuse_allowed
from .traffic import ACCESSES, CYCLES, N_STATE, N_TRAFFIC, REDUCES_ABOVE, fill_tables

STOP_EVERY = 64  # greedy orders between two looks at the stop flag
#: Orders between two looks at it otherwise, at most; orders beyond share nothing with those before.
SEGMENT_ORDERS = 1 << 12
#: Combinations between two looks at it, at most, unless a single order has more.
SEGMENT_COMBINATIONS = 1 << 24
ROOM = 16  # classes of an operand that there is room for at first
N_CYCLES = 4  # parts of the latency in ``replay_rows``
REPLAYED = N_CYCLES + 3 * MAX_LEVELS


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
def _choices(problem, rules, states, state_at, loop_dim, n, o, cut, size, boundary):
    """Cuts that an allocation of the operand can choose from at each level.

    Cuts before and within a run of irrelevant loops lead to the same boundary, behind it; they form one choice. For the
    output, the cut behind a run that completes the sums is another one: what follows holds complete outputs.

    Args:
        cut: int64[n + 1], filled: the smallest cut of each choice.
        size: int64[n + 1], filled: how many cuts it stands for.
        boundary: int64[n + 1], filled: the boundary that it leads to.

    Returns:
        Number of choices.
    """
    each = rules.bounded[o] != 0 or rules.even != 0
    choices = 0
    p = 0
    while p <= n:
        end = p
        while end < n and problem.relevance[o, loop_dim[end]] == IRRELEVANT:
            end += 1
        boundary[choices] = end
        last = p if each else end
        if o == O and last > p and states[state_at[last], REDUCES_ABOVE] == 0.0:
            cut[choices], size[choices] = p, last - p
            choices += 1
            boundary[choices] = end
            p = last
        cut[choices], size[choices] = p, last - p + 1
        choices += 1
        p = last + 1
    return choices


@kernel
def add_classes(
    problem,
    rules,
    unrolling,
    states,
    content,
    traffic,
    coupling,
    state_at,
    loop_dim,
    loop_size,
    n,
    o,
    changed,
    kept,
    scratch,
    cuts,
    choices,
    index,
    held,
    classes,
    tallies,
):
    """Enumerate the allocations of one operand that fit its memories and the rules on it, those last whose boundaries
    reach farthest out.

    Args:
        changed: innermost loops in common with the order before.
        kept: classes of that order which depend on these loops alone; they come first and stay.
        choices: int64[3, n + 1], index: int64[L], held: float64[L], working memory.
        classes: CLASS[J], tallies: TALLY[J, Q, 4], the store of this operand, filled.

    Returns:
        Number of classes; -1 when the store has no room for them.
    """
    levels = problem.levels[o]
    found = kept
    cuts[o, levels - 1] = n
    if levels == 1:
        held[0] = cut_bits(problem, unrolling, states, content, o, 0, state_at[0], state_at[n])
        if kept > 0 or not fits(held[0], problem.memory_size[problem.chain[o, 0]]):
            return kept
        level = 0
        n_choices = 1
        choices[:, 0] = n
    else:
        n_choices = _choices(problem, rules, states, state_at, loop_dim, n, o, choices[0], choices[1], choices[2])
        level = levels - 2
    index[level] = 0
    while choices[2, index[level]] < changed:
        index[level] += 1
    outermost = level
    while True:
        if index[level] >= (n_choices if level == outermost else index[level + 1] + 1):
            if level == outermost:
                return found
            level += 1
            index[level] += 1
            continue
        if levels > 1:
            cut = choices[0, index[level]]
            cuts[o, level] = cut
            held[level + 1] = cut_bits(
                problem, unrolling, states, content, o, level + 1, state_at[cut], state_at[cuts[o, level + 1]]
            )
            if not fits(held[level + 1], problem.memory_size[problem.chain[o, level + 1]]):
                index[level] += 1
                continue
            if level > 0:
                level -= 1
                index[level] = 0
                continue
            held[0] = cut_bits(problem, unrolling, states, content, o, 0, state_at[0], state_at[cut])
            memory = problem.chain[o, 0]
            if not fits(held[0], problem.memory_size[memory]):
                # What is larger fits neither, except that the last cut needs no second buffer.
                index[0] = index[0] + 1 if problem.memory_double_buffered[memory] != 0 else n_choices
                continue
        if found == classes.size:
            return -1
        free = states.shape[0] + found
        energy_pj = place_operand(
            problem, unrolling, states, content, traffic, state_at, loop_dim, loop_size, n, o, cuts, free, scratch
        )
        if (rules.bounded[o] == 0 or factors_allowed(rules, states, state_at, o, levels, cuts)) and reuse_allowed(
            problem, rules, loop_dim, n, o, scratch.position
        ):
            one = classes[found]
            one.energy_pj = energy_pj
            one.weight, one.code = 1, 0
            repeats = 0
            for m in range(levels - 1):
                one.code = one.code * (n + 1) + cuts[o, m]
                repeats = repeats + 1 if m > 0 and index[m] == index[m - 1] else 1
                if m == levels - 2 or index[m + 1] != index[m]:
                    one.weight *= combinations(choices[1, index[m]] + repeats - 1, repeats)
            for m in range(levels):
                one.bits[problem.chain[o, m]] = held[m]
                one.cuts[m] = cuts[o, m]
            fill_class(problem, traffic, coupling, o, scratch, one, tallies[found])
            found += 1
        index[0] += 1


@allocating
def _enlarged(classes, tallies):
    """The same stores with twice the room."""
    room = classes.shape[1] - 1
    more_classes = np.zeros((3, 2 * room + 1), CLASS)
    more_tallies = np.zeros((3, 2 * room + 1, tallies.shape[2], 4), TALLY)
    for o in range(3):
        for j in range(room):
            more_classes[o, j] = classes[o, j]
            for q in range(tallies.shape[2]):
                for variant in range(4):
                    more_tallies[o, j, q, variant] = tallies[o, j, q, variant]
    return more_classes, more_tallies


@allocating
def cost_combinations(
    problem,
    rules,
    coupling,
    total_cycles,
    traffic,
    classes,
    tallies,
    kept,
    found,
    n,
    stop_rank,
    segment,
    single,
    spatial,
    rank,
    array_pj,
    scratch,
    cuts,
    batch,
    waiting,
    best,
    front,
    used,
    barrier,
    histogram,
    joint,
    totals,
    rows,
    filled,
    full,
    position,
    control,
):
    """Cost all combinations of an order that the order before did not have.

    Args:
        kept, found: int64[3], how many classes of each operand the order before had, and how many there are.
        stop_rank: int64[n + 2], first rank whose order does not begin with the innermost p loops.
        segment: first rank that is to have combinations of its own.
        single: the order shares nothing with those before and behind it.
        batch: OFFER[BATCH], of which ``waiting`` wait to be reduced.
        position: int64[2], how many pairs of classes of I and O are done, and how many there are; filled. All are done
            on return, unless ``full`` or ``control`` (see ``search_range``) say to stop, which a single order can.

    Returns:
        (the front, the rows, number of offers that wait)
    """
    nothing = tallies[W, tallies.shape[1] - 1, 0, 0]
    clear_tally(nothing)
    nobody = classes[W, classes.shape[1] - 1]
    base_i = (n + 1) ** (problem.levels[I] - 1)
    base_o = (n + 1) ** (problem.levels[O] - 1)
    compute_cycles = total_cycles * problem.cycles_per_operation
    first = position[0] if single else 0
    position[0] = position[1] = found[I] * found[O]
    for b in range(first // max(found[O], 1), found[I]):
        i = classes[I, b]
        start_o = kept[O] if b < kept[I] and kept[W] == found[W] else 0
        for c in range(max(start_o, first - b * found[O]), found[O]):
            if single and (filled[0] >= full or control[0] != 0):
                position[0] = b * found[O] + c
                return front, rows, waiting
            o = classes[O, c]
            if not room_left(problem, coupling, i, o):
                continue
            _, early_i, early_o = buffer_sets(problem, coupling, 0, coupling.early_buffers, nobody, i, o)
            early_stall, early_busy = max(i.stall, o.stall), max(i.busy, o.busy)
            unsure = False
            for q in range(coupling.early_ports):
                cycles, known, busy = join_tallies(
                    problem.port_bandwidth[coupling.port[q], 1],
                    nothing,
                    tallies[I, b, q, variant_of(coupling, I, q, early_i)],
                    tallies[O, c, q, variant_of(coupling, O, q, early_o)],
                )
                early_busy = max(early_busy, busy)
                if known:
                    early_stall = max(early_stall, cycles)
                elif cycles > early_stall:
                    unsure = True
            pair_reach = max(i.reach, o.reach)
            for a in range(kept[W] if b < kept[I] and c < kept[O] else 0, found[W]):
                w = classes[W, a]
                if not room_for_all(problem, coupling, w, i, o):
                    continue
                if rules.even != 0:
                    for m in range(MAX_LEVELS):
                        cuts[W, m], cuts[I, m], cuts[O, m] = w.cuts[m], i.cuts[m], o.cuts[m]
                    if not cuts_even(problem, cuts):
                        continue
                set_w, set_i, set_o = buffer_sets(
                    problem, coupling, coupling.early_buffers, coupling.n_buffers, w, i, o
                )
                set_i, set_o = set_i | early_i, set_o | early_o
                stall, enough = max(early_stall, w.stall), max(early_busy, w.busy)
                uncertain = unsure
                for q in range(coupling.early_ports, coupling.n_ports):
                    cycles, known, busy = join_tallies(
                        problem.port_bandwidth[coupling.port[q], 1],
                        tallies[W, a, q, variant_of(coupling, W, q, set_w)],
                        tallies[I, b, q, variant_of(coupling, I, q, set_i)],
                        tallies[O, c, q, variant_of(coupling, O, q, set_o)],
                    )
                    enough = max(enough, busy)
                    if known:
                        stall = max(stall, cycles)
                    elif cycles > stall:
                        uncertain = True
                if uncertain:
                    restore_all(problem, w, i, o, scratch)
                    for q in range(coupling.n_ports):
                        stall = max(stall, port_stall(problem, traffic, coupling.port[q], scratch))
                busy = busy_cycles(problem, total_cycles, stall)
                if busy >= enough:
                    onload, offload = join_onload(w.both, w.one, w.own, i.both, i.one, i.own), o.offload
                else:
                    fill_short_loading(problem, traffic, coupling, busy, tallies, a, b, c, w, i, o, scratch)
                    onload, offload = onload_cycles(problem, scratch), offload_cycles(problem, scratch)
                add_offer(
                    batch,
                    waiting,
                    w.energy_pj + i.energy_pj + o.energy_pj + array_pj,
                    compute_cycles + stall + onload + offload,
                    spatial,
                    rank,
                    (w.code * base_i + i.code) * base_o + o.code + 1,
                    w.weight * i.weight * o.weight * (min(stop_rank[max(pair_reach, w.reach)], segment) - rank),
                )
                waiting += 1
                if waiting == BATCH:
                    front, rows = reduce_batch(
                        best, front, used, barrier, histogram, joint, totals, rows, filled, batch, waiting
                    )
                    waiting = 0
    return front, rows, waiting


@allocating
def _tables(problem, rules, unrolling, scratch, item_dim, item_size, item_count):
    """The lattice of orders that an unrolling leaves, and the tables of its states.

    Args:
        item_dim, item_size, item_count: int64[MAX_LOOPS], filled.

    Returns:
        (distinct items, loops, states, successor, completions, content, traffic)
    """
    items, n = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
    states = np.empty((count_states(rules, items, item_count), N_STATE))
    successor = np.empty((states.shape[0], items), np.int64)
    allowed = np.empty(states.shape[0], np.bool_)
    completions = np.empty(states.shape[0], np.int64)
    fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
    allowed_states(rules, states, allowed)
    count_completions(successor, allowed, completions)
    content = np.empty((problem.rows, states.shape[0]))
    traffic = np.empty((problem.rows, states.shape[0] + (ROOM if unrolling.fractional else 1), N_TRAFFIC))
    fill_tables(problem, unrolling, states, scratch, content, traffic)
    return items, n, states, successor, completions, content, traffic


@allocating
def search_range(
    problem,
    rules,
    unrolling,
    coupling,
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
    barrier,
    histogram,
    joint,
    totals,
    rows,
    filled,
    full,
    position,
    segment_combinations,
    control,
    progress,
):
    """Cost all mappings of the orders start..stop-1 and reduce them.

    Args:
        array_pj: float64[S], energy of the array for each candidate.
        offsets: int64[S + 1], number of the first order of each candidate.
        best, front, used, barrier, histogram, joint, totals: ``Reductions``.
        rows, filled: as in ``reduce_batch``.
        full: return, soon, when so many rows are filled; the next call goes on as if there had been none.
        position: int64[2], where in the first order to go on, as the call before left it; 0, 0 for its start.
        segment_combinations: combinations between two places where a call can return.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the orders done.

    Returns:
        The number of the first order not done, ``stop`` unless stopped or full; the front and the rows, in other arrays
        if they grew.
    """
    cost = np.empty(N_COSTS)
    cuts = np.zeros((3, MAX_LEVELS), np.int64)
    failure = np.empty(3)
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    order = np.empty(MAX_LOOPS, np.int64)
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    state_at = np.zeros(MAX_LOOPS + 1, np.int64)
    choices = np.empty((3, MAX_LOOPS + 1), np.int64)
    index, held = np.empty(MAX_LEVELS, np.int64), np.empty(MAX_LEVELS)
    kept, found = np.zeros(3, np.int64), np.zeros(3, np.int64)
    stop_rank = np.empty(MAX_LOOPS + 2, np.int64)
    batch = np.empty(BATCH, OFFER)
    waiting = 0
    number = start
    i = np.searchsorted(offsets, start, side="right") - 1
    while number < stop:
        if control[0] != 0:
            break
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        _, n, states, successor, completions, content, traffic = _tables(
            problem, rules, unrolling, scratch, item_dim, item_size, item_count
        )
        total_cycles = states[states.shape[0] - 1, CYCLES]
        allocations = allocations_of_order(problem, n)
        rank = number - offsets[i]
        last = min(stop, offsets[i + 1]) - offsets[i]
        unrank_path(successor, completions, n, rank, order, state_at)
        fill_coupling(problem, content, coupling)
        classes = np.zeros((3, ROOM + 1), CLASS)  # the last stands for no operand
        tallies = np.zeros((3, ROOM + 1, max(coupling.n_ports, 1), 4), TALLY)
        alone = coupling.outermost or _whole_order_ruled(problem, rules)
        _fill_stop_ranks(successor, completions, n, rank, order, state_at, stop_rank)
        segment = rank
        changed = 0
        found[:] = 0
        while rank < last:
            for p in range(changed, n):
                nest_dim[p] = item_dim[order[p]]
                nest_size[p] = item_size[order[p]]
            if rules.greedy != 0:
                totals[EVALUATED] += 1
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
                    add_offer(
                        batch,
                        waiting,
                        cost[TOTAL_PJ] + array_pj[i],
                        cost[LATENCY_CYCLES],
                        i,
                        rank,
                        allocation_code(problem, n, cuts),
                        1,
                    )
                    waiting += 1
                    if waiting == BATCH:
                        front, rows = reduce_batch(
                            best, front, used, barrier, histogram, joint, totals, rows, filled, batch, waiting
                        )
                        waiting = 0
            else:
                fresh = rank == segment
                common = 0 if fresh else changed
                for o in range(3):
                    kept[o] = 0
                    while kept[o] < found[o] and classes[o, kept[o]].reach <= common:
                        kept[o] += 1
                    found[o] = -1
                    while found[o] < 0:
                        found[o] = add_classes(
                            problem,
                            rules,
                            unrolling,
                            states,
                            content,
                            traffic,
                            coupling,
                            state_at,
                            nest_dim,
                            nest_size,
                            n,
                            o,
                            common,
                            kept[o],
                            scratch,
                            cuts,
                            choices,
                            index,
                            held,
                            classes[o, : classes.shape[1] - 1],
                            tallies[o],
                        )
                        if found[o] < 0:
                            classes, tallies = _enlarged(classes, tallies)
                            if unrolling.fractional:
                                traffic = _with_columns(traffic, (classes.shape[1] - 1) // 2)
                if fresh:
                    most = float(found[W]) * found[I] * found[O]
                    orders = min(SEGMENT_ORDERS, np.int64(segment_combinations / (most + 1.0)))
                    segment = rank + 1 if alone else min(last, rank + max(1, orders))
                single = fresh and segment == rank + 1
                front, rows, waiting = cost_combinations(
                    problem,
                    rules,
                    coupling,
                    total_cycles,
                    traffic,
                    classes,
                    tallies,
                    kept,
                    found,
                    n,
                    stop_rank,
                    segment,
                    single,
                    i,
                    rank,
                    array_pj[i],
                    scratch,
                    cuts,
                    batch,
                    waiting,
                    best,
                    front,
                    used,
                    barrier,
                    histogram,
                    joint,
                    totals,
                    rows,
                    filled,
                    full,
                    position,
                    control,
                )
                if position[0] < position[1]:
                    break
                position[:] = 0
                totals[EVALUATED] += allocations
            rank += 1
            progress[0] += 1
            if (rank % STOP_EVERY == 0 if rules.greedy != 0 else rank == segment) and (
                control[0] != 0 or filled[0] >= full
            ):
                front, rows = reduce_batch(
                    best, front, used, barrier, histogram, joint, totals, rows, filled, batch, waiting
                )
                return offsets[i] + rank, front, rows
            if rank < last:
                changed = next_path(successor, completions, n, order, state_at)
                for p in range(changed + 1, n + 1):
                    stop_rank[p] = rank + completions[state_at[p]]
                stop_rank[n + 1] = stop_rank[n]
        number = offsets[i] + rank
        if position[0] < position[1]:
            break
        if number == offsets[i + 1]:
            i += 1
    front, rows = reduce_batch(best, front, used, barrier, histogram, joint, totals, rows, filled, batch, waiting)
    return number, front, rows


@kernel
def _fill_stop_ranks(successor, completions, n, rank, order, state_at, stop_rank):
    """First rank whose order does not begin with the innermost p loops of this one: int64[n + 2], filled; the order
    is that of ``rank``, and the last entry is for what lies beyond all its loops.
    """
    first = np.int64(0)  # rank of the first order that begins with them
    stop_rank[0] = completions[0]
    for p in range(n):
        for i in range(order[p]):
            t = successor[state_at[p], i]
            if t >= 0:
                first += completions[t]
        stop_rank[p + 1] = first + completions[state_at[p + 1]]
    stop_rank[n + 1] = rank + 1


@kernel
def _whole_order_ruled(problem, rules):
    """Must some operand's tile be reused in its top memory? That takes the outermost loop to say."""
    for o in range(3):
        if rules.stationary[o, problem.levels[o] - 1] != 0:
            return True
    return False


@allocating
def _with_columns(traffic, more):
    """The same table with more columns."""
    larger = np.empty((traffic.shape[0], traffic.shape[1] + more, traffic.shape[2]))
    for row in range(traffic.shape[0]):
        for column in range(traffic.shape[1]):
            for i in range(traffic.shape[2]):
                larger[row, column, i] = traffic[row, column, i]
    return larger


@kernel
def _greedy_allowed(problem, rules, states, state_at, loop_dim, n, scratch, cuts):
    """Do the rules admit ZigZag's allocation of this order?"""
    for o in range(3):
        if not reuse_allowed(problem, rules, loop_dim, n, o, scratch.position):
            return False
        if rules.bounded[o] != 0 and not factors_allowed(rules, states, state_at, o, problem.levels[o], cuts):
            return False
    return True


@allocating
def replay_rows(
    problem,
    rules,
    unrolling,
    scratch,
    array_dim,
    loop_dim,
    candidates,
    spatial,
    rank,
    code,
    asked,
    loops,
    iterations,
    costs,
):
    """Rebuild mappings from their identities: what their loop nests are like, and what every part of them costs.

    It is quick where neighbours share the spatial mapping and the order, as they do in the order of a search.

    Args:
        spatial, rank, code: int64[n], identities.
        asked: int64[A, 3], (operand, memory level, loop dimension) whose iterations are asked for.
        loops: int8[n, 3], filled: dimensions of the innermost and of the outermost loop, -1 where all is unrolled; and
            the operands that stay in their lowest memories while the loops directly inside their tiles' boundaries
            turn, as bits.
        iterations: int64[n, A], filled: iterations of a dimension among the loops that an operand's level adds.
        costs: float64[n, REPLAYED], filled: cycles of N_COSTS' order from COMPUTE_CYCLES on, without the total; pJ of
            each memory level of W, I, O. Of no rows to leave it out.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    order, state_at = np.empty(MAX_LOOPS, np.int64), np.zeros(MAX_LOOPS + 1, np.int64)
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    cuts = np.zeros((3, MAX_LEVELS), np.int64)
    cost, failure = np.empty(N_COSTS), np.empty(3)
    n = 0
    # Of the mapping before; numba needs to know their types.
    states, content, traffic = np.empty((0, N_STATE)), np.empty((0, 0)), np.empty((0, 0, N_TRAFFIC))
    successor, completions = np.empty((0, 0), np.int64), np.empty(0, np.int64)
    for row in range(spatial.size):
        moved = row == 0 or spatial[row] != spatial[row - 1]
        if moved:
            unroll(problem, array_dim, loop_dim, candidates[spatial[row]], unrolling)
            _, n, states, successor, completions, content, traffic = _tables(
                problem, rules, unrolling, scratch, item_dim, item_size, item_count
            )
        if moved or rank[row] != rank[row - 1]:
            unrank_path(successor, completions, n, rank[row], order, state_at)
            for p in range(n):
                nest_dim[p], nest_size[p] = item_dim[order[p]], item_size[order[p]]
        digits = code[row] - 1
        for o in range(2, -1, -1):
            cuts[o, problem.levels[o] - 1] = n
            for level in range(problem.levels[o] - 2, -1, -1):
                cuts[o, level] = digits % (n + 1)
                digits //= n + 1
        loops[row, 0] = loops[row, 1] = -1
        loops[row, 2] = 0
        if nest_size[0] > 1:  # else one loop of one iteration stands for none
            loops[row, 0], loops[row, 1] = nest_dim[0], nest_dim[n - 1]
            for o in range(3):
                p = cuts[o, 0]
                while p < n and problem.relevance[o, nest_dim[p]] == IRRELEVANT:
                    p += 1
                if p > 0 and problem.relevance[o, nest_dim[p - 1]] == IRRELEVANT:
                    loops[row, 2] |= 1 << o
        for a in range(asked.shape[0]):
            o, level = asked[a, 0], asked[a, 1]
            product = np.int64(1)
            for p in range(cuts[o, level - 1] if level > 0 else 0, cuts[o, level]):
                if nest_dim[p] == asked[a, 2]:
                    product *= nest_size[p]
            iterations[row, a] = product
        if costs.shape[0] == 0:
            continue
        mapping_cost(
            problem,
            unrolling,
            states,
            content,
            traffic,
            state_at,
            nest_dim,
            nest_size,
            n,
            -1,
            False,
            cuts,
            scratch,
            cost,
            failure,
        )
        for i in range(N_CYCLES):
            costs[row, i] = cost[COMPUTE_CYCLES + i]
        for o in range(3):
            for level in range(problem.levels[o]):
                memory = problem.chain[o, level]
                energy_pj = 0.0
                for direction in range(4):
                    boundary = problem.first_row[o] + level + (1 if direction >= READ_UP else 0)
                    count = traffic[boundary, scratch.column[boundary], ACCESSES + direction]
                    energy_pj += count * problem.memory_energy[memory, direction % 2]
                costs[row, N_CYCLES + o * MAX_LEVELS + level] = energy_pj


@kernel
def allocation_code(problem, n, cuts):
    """An allocation as one integer above 0: its cuts below each top memory are digits to the base n + 1."""
    code = np.int64(0)
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            code = code * (n + 1) + cuts[o, level]
    return code + 1
