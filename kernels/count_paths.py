"""The count of orders with their allocations: from the last state inwards, how many ways there are to go on from each
state in each *situation* that is an inner one; those of the others are given.

A situation is looked at only where it may occur and may lead to the end.
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .count_labels import extend, starts_partial
from .count_situations import FIRST, HERE, INNER, OUTER, THERE, carry
from .problem import IRRELEVANT, N_DIMS, O, W
from .traffic import SIZE


@allocating
def count_paths(
    problem,
    rules,
    unrolling,
    states,
    successor,
    allowed,
    item_dim,
    content_state,
    rank_of,
    cut_at,
    lowest,
    labels,
    table,
    situations,
    top_partial,
    shared,
    shared_state,
    result,
):
    """Count the orders with their allocations.

    Args:
        states, successor, allowed: of a lattice, or of the states of one at which there may be inner situations.
        content_state: int64[3, S], content of each operand at each state.
        rank_of: int64[3, L, 2, C], see ``Labels``.
        cut_at: uint8[3, S], levels of each operand that may end at each state (bits).
        lowest: int64[3], levels of each operand within the array; more than there are: nothing is given.
        top_partial: precision of the output in its top memory, which the last cut must lead to; -1: any.
        shared: what is given, a Shared.
        shared_state: int64[S], which of its states each one is.
        result: uint64[D], filled.
    """
    total, items = successor.shape
    digits = result.size
    result[:] = 0
    step, reuse_bits, placed = situations.step, situations.reuse_bits, situations.placed
    size, offset, inner, move = situations.size, situations.offset, situations.inner, situations.move
    levels = problem.levels
    first = 0
    if levels[O] > 1:
        first = starts_partial(problem, unrolling, states, 0, 0) * reuse_bits
    if not allowed[0]:
        return
    if not inner[first]:
        t = shared_state[0]
        for digit in range(digits):
            result[digit] = shared.counts[shared.row[t] + digit * shared.width[t] + offset[first]]
        return
    complete = total - 1
    for o in range(3):
        if levels[o] == 1 and rules.bounded[o] != 0:
            for d in range(N_DIMS):
                factor = states[complete, SIZE + d]
                if factor < rules.least[o, 0, d] or factor > rules.most[o, 0, d]:
                    return
    needed_last, done = 0, 0
    reused = np.zeros(items, np.int64)  # operands (bits) that a loop reuses
    for o in range(3):
        done += step[o] * (levels[o] - 1)
        if rules.stationary[o, levels[o] - 1] != 0:
            needed_last |= situations.reuse[o]
        for item in range(items):
            if problem.relevance[o, item_dim[item]] == IRRELEVANT:
                reused[item] |= situations.reuse[o]
    ahead = _cuts_ahead(successor, cut_at, levels, lowest)
    block = np.full((total * reuse_bits, offset.size), -1, np.int32)  # where the counts lie, -1: none
    low_at = np.empty((total * reuse_bits, offset.size), np.int32)  # and the first label that they belong to
    store = np.empty(64 + 16 * total * digits, np.uint64)
    used = 0
    work = np.zeros((digits, situations.width), np.uint64)
    flat = work.ravel()
    low = size.copy()  # of the row at work: first label with a count, size: none
    candidates, live = np.flatnonzero(situations.possible & inner), np.empty(offset.size, np.int64)
    for s in range(total - 1, -1, -1):
        if not allowed[s]:
            continue
        weights_left = False
        if rules.weights_once != 0:
            for d in range(N_DIMS):
                left = states[s, SIZE + d] < states[complete, SIZE + d]
                weights_left |= left and problem.relevance[W, d] == IRRELEVANT
        n_live = _live(problem, unrolling, states, situations, ahead, candidates, s, live)
        for last in range(reuse_bits if s > 0 else 1):
            row = s * reuse_bits + last
            for j in range(n_live):
                e = live[j]
                pending = e % reuse_bits
                for item in range(items):
                    t = successor[s, item]
                    if t < 0 or not situations.open_loop[e, item_dim[item]]:
                        continue
                    if weights_left and placed[e, W] > 0 and problem.relevance[W, item_dim[item]] != IRRELEVANT:
                        continue
                    there = t * reuse_bits + reused[item]
                    start = block[there, e - pending]
                    if start < 0:
                        continue
                    begin = low_at[there, e - pending]
                    length = size[e] - begin
                    _lower(work, offset[e], low, e, begin)
                    for digit in range(digits):
                        _add(work, digit, offset[e] + begin, store, start + digit * length, length)
            if s == complete and inner[done] and last & needed_last == needed_last:
                work[:, offset[done]] = 0
                work[0, offset[done]] = 1
                low[done] = 0
            # At one state, the cuts within the array come before the others, which are done with in what is given.
            for turn in range(6):
                o = 2 - turn % 3
                begin, end = (0, lowest[o]) if turn >= 3 else (lowest[o], levels[o])
                for level in range(min(end, levels[o] - 1) - 1, begin - 1, -1):
                    if cut_at[o, s] & np.uint8(1 << level) == 0:
                        continue
                    next_partial = 0
                    if o == O:
                        next_partial = starts_partial(problem, unrolling, states, level + 1, s)
                        if level == levels[O] - 2:
                            if top_partial >= 0 and next_partial != top_partial:
                                continue
                            next_partial = 0
                    reuse = 0
                    if rules.stationary[o, level] != 0 and last & situations.reuse[o] == 0:
                        reuse = situations.reuse[o]
                    for j in range(n_live):
                        e = live[j]
                        if placed[e, o] != level:
                            continue
                        partial = e // reuse_bits % 2 if o == O else 0
                        following = (e + step[o] + reuse_bits * (next_partial - partial)) | reuse
                        rank = rank_of[o, level, partial, content_state[o, s]]
                        if rank < 0:
                            continue
                        if not inner[following]:
                            t = shared_state[s]
                            start = shared.row[t] + offset[following]
                            _lower(work, offset[e], low, e, 0)
                            for digit in range(digits):
                                _add(work, digit, offset[e], shared.counts, start + digit * shared.width[t], size[e])
                        elif low[following] < size[following]:
                            if labels.shared[problem.chain[o, level]]:
                                _place_shared_cut(table, move[e, o], rank, e, following, offset, low, work)
                                continue
                            begin_label = low[following]
                            _lower(work, offset[e], low, e, begin_label)
                            to, source = offset[e] + begin_label, offset[following] + begin_label
                            for digit in range(digits):
                                _add_within(work, digit, to, source, size[e] - begin_label)
            store, _ = extend(store, used, situations.width * digits)
            for j in range(n_live):
                e = live[j]
                if low[e] == size[e]:
                    continue
                begin, end = offset[e] + low[e], offset[e] + size[e]
                carry(flat, begin, end, work.shape[1], digits)
                block[row, e] = used
                low_at[row, e] = low[e]
                for digit in range(digits):
                    _copy(work, digit, begin, store, used, end - begin)
                    used += end - begin
                low[e] = size[e]
    if block[0, first] >= 0:
        for digit in range(digits):
            result[digit] = store[block[0, first] + digit]


@allocating
def _cuts_ahead(successor, cut_at, levels, lowest):
    """Which levels of each operand may still end at a state or further on, one bit each: uint8[3, S]. Those that are
    not within the array, always.
    """
    ahead = cut_at.copy()
    total, items = successor.shape
    for o in range(3):
        beyond = np.uint8(0)
        for level in range(levels[o]):
            if level >= lowest[o] or level == levels[o] - 1:
                beyond |= np.uint8(1 << level)
        for s in range(total - 1, -1, -1):
            ahead[o, s] |= beyond
            for item in range(items):
                if successor[s, item] >= 0:
                    ahead[o, s] |= ahead[o, successor[s, item]]
    return ahead


@kernel
def _live(problem, unrolling, states, situations, ahead, candidates, s, live):
    """List the situations that there may be at a state and that may lead to the end (filled).

    Returns:
        Their number.
    """
    n_live = 0
    for e in candidates:
        level = situations.placed[e, O]
        possible = True
        for o in range(3):
            possible &= ahead[o, s] & np.uint8(1 << situations.placed[e, o]) != 0
        if possible and e // situations.reuse_bits % 2 == 0 and level < problem.levels[O] - 1:
            possible = starts_partial(problem, unrolling, states, level, s) == 0
        if possible:
            live[n_live] = e
            n_live += 1
    return n_live


# Slices are taken in the kernels that follow, not where these are called: there each would count references.


@kernel
def _add(work, digit, to, counts, start, length):
    """Add counts of one digit to those of a row at work."""
    here, there = work[digit, to : to + length], counts[start : start + length]
    for k in range(length):
        here[k] += there[k]


@kernel
def _add_within(work, digit, to, source, length):
    """Add counts of a row at work to others of it."""
    _add(work, digit, to, work[digit], source, length)


@kernel
def _copy(work, digit, source, counts, start, length):
    """Copy counts of a row at work elsewhere."""
    there, here = counts[start : start + length], work[digit, source : source + length]
    for k in range(length):
        there[k] = here[k]


@kernel
def _lower(work, offset, low, e, begin):
    """Let the counts of a situation start at a lower label, from 0."""
    if begin < low[e]:
        for digit in range(work.shape[0]):
            work[digit, offset + begin : offset + low[e]] = 0
        low[e] = begin


@kernel
def _place_shared_cut(table, move, rank, e, following, offset, low, work):
    """Add to the counts of a situation those that go on from it by one cut of an operand at a shared memory, here.

    Args:
        move: int64[5]: where the next labels begin in the table; labels of the memory here and there; labels of
            memories that follow, and of those before.
    """
    here, there, inner = move[HERE], move[THERE], move[INNER]
    for a in range(move[OUTER]):
        for label in range(here):
            following_label = table[move[FIRST] + rank * here + label]
            if following_label < 0:
                continue
            to = (a * here + label) * inner
            source = (a * there + following_label) * inner
            for k in range(max(0, low[following] - source), inner):
                _lower(work, offset[e], low, e, to + k)
                for digit in range(work.shape[0]):
                    work[digit, offset[e] + to + k] += work[digit, offset[following] + source + k]
