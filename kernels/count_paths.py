"""The count of orders with their allocations: from the complete state inwards, how many ways there are to go on from
each state in each *situation*.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .count_labels import extend, starts_partial
from .problem import IRRELEVANT, MAX_LEVELS, MAX_MEMORIES, N_DIMS, O, W
from .traffic import REDUCES_ABOVE, SIZE

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying
COMMON = 4  # a situation is common where a quarter of the states may be in it

# How labels go on with a cut, see ``_place_shared_cut``.
FIRST, HERE, THERE, INNER, OUTER = range(5)


class Situations(NamedTuple):
    """What has happened below a point of an order, apart from labels: cuts placed of each operand, precision of the
    level of the output in progress, and operands whose tile the next loop must reuse (bits).

    Their counts lie one behind the other in a row, those that matter at many states (*common*) first: these are added
    as a whole. The others are looked at one by one where they occur at all.
    """

    step: Any  #: int64[3], from a situation to that with one more cut of an operand
    reuse: Any  #: int64[3], bit of each operand with rules on reuse, 0: none
    reuse_bits: Any  #: combinations of these bits
    placed: Any  #: int64[E, 3]
    size: Any  #: int64[E], labels
    offset: Any  #: int64[E], where the counts begin
    width: Any  #: of all counts
    dense: Any  #: of those of the common situations
    common: Any  #: bool[E]
    confined: Any  #: uint8[3], levels of each operand in whose situations few states are (bits)
    confined_complete: Any  #: the same for levels of the output that hold complete sums
    rare: Any  #: int64[...], the situations that are not common and possible at all
    run: Any  #: int64[E, 3], counts from here on that a cut of an operand takes as they are; 0: by labels, or none
    move: Any  #: int64[E, 3, 5], see ``_place_shared_cut``
    jobs: Any  #: int64[...], common situations from which a cut of an operand at a level is to be looked at
    first_job: Any  #: int64[3, L + 1], where those of each operand and level begin
    open_loop: Any  #: bool[E, items], loops that the rules admit next


@allocating
def _situations(problem, rules, unrolling, states, item_dim, items, contents, labels, cut_at):
    """Describe the situations."""
    total = states.shape[0]
    reuse = np.zeros(3, np.int64)
    reuse_bits = 1
    for o in range(3):
        if rules.stationary[o].any():
            reuse[o] = reuse_bits
            reuse_bits *= 2
    step = np.empty(3, np.int64)
    step[O] = 2 * reuse_bits
    step[1] = step[O] * problem.levels[O]
    step[W] = step[1] * problem.levels[1]
    total_situations = step[W] * problem.levels[W]
    plain = reuse_bits == 1 and rules.even == 0 and rules.weights_once == 0 and not rules.bounded.any()
    confined = np.zeros(3, np.uint8)
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            found = 0
            for s in range(total):
                found += cut_at[o, s] >> np.uint8(level) & np.uint8(1)
            if COMMON * found < total:
                confined[o] |= np.uint8(1 << level)
    confined_complete = 0
    for level in range(problem.levels[O] - 1):
        found = 0
        for s in range(total):
            found += 1 - starts_partial(problem, unrolling, states, contents, level, s)
        if COMMON * found < total:
            confined_complete |= 1 << level
    tied, n_tied = np.empty(MAX_MEMORIES, np.int64), 0  # memories at which cuts of several operands depend on another
    tied_level = np.full((MAX_MEMORIES, 3), -1, np.int64)
    for memory in range(problem.memories - 1, -1, -1):
        if rules.even != 0 or labels.shared[memory]:
            tied[n_tied] = memory
            for o in range(3):
                if problem.memory_level[memory, o] < problem.levels[o] - 1:
                    tied_level[n_tied, o] = problem.memory_level[memory, o]
            n_tied += 1
    placed = np.empty((total_situations, 3), np.int64)
    cut_there = np.zeros((total_situations, problem.memories), np.int64)
    inner = np.ones((total_situations, problem.memories), np.int64)
    size = np.ones(total_situations, np.int64)
    offset = np.zeros(total_situations, np.int64)
    common = np.zeros(total_situations, np.bool_)
    run = np.zeros((total_situations, 3), np.int64)
    open_loop = np.ones((total_situations, items), np.bool_)
    dense = 0
    leader = np.zeros(2, np.int64)
    for e in range(total_situations):
        common[e] = plain
        for o in range(3):
            placed[e, o] = e // step[o] % problem.levels[o]
            common[e] &= confined[o] & np.uint8(1 << placed[e, o]) == 0
        partial = e // reuse_bits % 2
        if partial == 0:
            common[e] &= confined_complete & (1 << placed[e, O]) == 0
        else:
            common[e] &= contents.partial[O] != 0 and placed[e, O] < problem.levels[O] - 1
        for j in range(n_tied):
            memory = tied[j]
            cut, every = 0, 0
            for o in range(3):
                if tied_level[j, o] >= 0:
                    every |= 1 << o
                    if placed[e, o] > tied_level[j, o]:
                        cut |= 1 << o
            if rules.even != 0 and cut != 0 and cut != every:
                open_loop[e, :] = False
            inner[e, memory] = size[e]
            if labels.shared[memory] and cut != every:
                cut_there[e, memory] = cut
                size[e] *= labels.count[memory, cut]
        if not plain:
            for item in range(items):
                for o in range(3):
                    if rules.most[o, placed[e, o], item_dim[item]] < 2.0:
                        open_loop[e, item] = False
                    if e % reuse_bits & reuse[o] != 0 and problem.relevance[o, item_dim[item]] != IRRELEVANT:
                        open_loop[e, item] = False
        if common[e]:
            offset[e] = dense
            dense += size[e]
            for o in range(2):
                if run[leader[o], o] == 0 or leader[o] // step[o] != e // step[o]:
                    leader[o] = e
                run[leader[o], o] += size[e]
            run[e, O] = size[e]
    width = dense
    rare, n_rare = np.empty(total_situations, np.int64), 0
    for e in range(total_situations - 1, -1, -1):
        if not common[e]:
            offset[e] = width
            width += size[e]
            if e // reuse_bits % 2 == 0 or (contents.partial[O] != 0 and placed[e, O] < problem.levels[O] - 1):
                rare[n_rare] = e
                n_rare += 1
    rare = rare[:n_rare]
    jobs = np.empty(3 * total_situations, np.int64)
    first_job = np.zeros((3, MAX_LEVELS + 1), np.int64)
    n_jobs = 0
    move = np.zeros((total_situations, 3, 5), np.int64)
    for o in range(3):
        for level in range(problem.levels[o]):
            first_job[o, level] = n_jobs
            if level < problem.levels[o] - 1:
                memory = problem.chain[o, level]
                for e in range(total_situations):
                    if placed[e, o] != level:
                        continue
                    if labels.shared[memory]:
                        run[e, o] = 0
                        cut, cut_next = cut_there[e, memory], cut_there[e + step[o], memory]
                        move[e, o, FIRST] = labels.first[memory, cut, o]
                        move[e, o, HERE] = labels.count[memory, cut]
                        move[e, o, THERE] = labels.count[memory, cut_next]
                        move[e, o, INNER] = inner[e, memory]
                        move[e, o, OUTER] = size[e] // (labels.count[memory, cut] * inner[e, memory])
                    elif confined[o] & np.uint8(1 << (level + 1)) != 0:
                        run[e, o] = size[e]
                    elif run[e, o] == 0:
                        continue  # done with those before
                    if common[e]:
                        jobs[n_jobs] = e
                        n_jobs += 1
    return Situations(
        step,
        reuse,
        reuse_bits,
        placed,
        size,
        offset,
        width,
        dense,
        common,
        confined,
        confined_complete,
        rare,
        run,
        move,
        jobs,
        first_job,
        open_loop,
    )


@allocating
def count_paths(
    problem,
    rules,
    unrolling,
    states,
    successor,
    allowed,
    item_dim,
    mirror,
    contents,
    labels,
    table,
    cut_at,
    top_partial,
    buffer,
    result,
):
    """Count the orders with their allocations.

    Args:
        mirror: int64[S], a state from which there are as many ways to go on, maybe itself.
        top_partial: precision of the output in its top memory, which the last cut must lead to; -1: any.
        buffer: uint64[...], working memory.
        result: uint64[D], filled.

    Returns:
        The working memory, another one if it grew.
    """
    total, items = successor.shape
    digits = result.size
    complete = total - 1
    result[:] = 0
    for o in range(3):
        if problem.levels[o] == 1 and rules.bounded[o] != 0:
            for d in range(N_DIMS):
                factor = states[complete, SIZE + d]
                if factor < rules.least[o, 0, d] or factor > rules.most[o, 0, d]:
                    return buffer
    situations = _situations(problem, rules, unrolling, states, item_dim, items, contents, labels, cut_at)
    step, reuse_bits, size, offset = situations.step, situations.reuse_bits, situations.size, situations.offset
    common, dense = situations.common, situations.dense
    placed, run, move, jobs, first_job = (
        situations.placed,
        situations.run,
        situations.move,
        situations.jobs,
        situations.first_job,
    )
    rank_of, content_state = labels.rank, contents.content_state
    item_mask = np.zeros(items, np.int64)
    needed_last = 0
    for o in range(3):
        if rules.stationary[o, problem.levels[o] - 1] != 0:
            needed_last |= situations.reuse[o]
        for item in range(items):
            if problem.relevance[o, item_dim[item]] == IRRELEVANT:
                item_mask[item] |= situations.reuse[o]
    done = 0
    for o in range(3):
        done += step[o] * (problem.levels[o] - 1)
    # Which cuts can still be placed from each state on, and where that matters for situations that are not common.
    ahead = cut_at.copy()
    row_of = np.full(total, -1, np.int64)
    rows = 0
    for s in range(total - 1, -1, -1):
        for o in range(3):
            ahead[o, s] |= np.uint8(1 << (problem.levels[o] - 1))
        for item in range(items):
            t = successor[s, item]
            if t >= 0:
                for o in range(3):
                    ahead[o, s] |= ahead[o, t]
        needed = dense == 0
        for o in range(3):
            needed |= ahead[o, s] & situations.confined[o] != 0
        if situations.confined_complete != 0 and states[s, REDUCES_ABOVE] == 0.0:
            needed = True
        if needed:
            row_of[s] = rows * reuse_bits
            rows += 1
    block = np.full((rows * reuse_bits, common.size), -1, np.int32)  # where the counts lie, -1: none
    low_at = np.empty((rows * reuse_bits, common.size), np.int32)  # and the first label that they belong to
    store = np.empty(64 + 4 * rows * digits, np.uint64)
    used = 0
    each = digits * dense
    if total * each > buffer.size:
        buffer = np.empty(total * each, np.uint64)
    work = np.zeros((digits, situations.width), np.uint64)
    low = np.where(common, 0, size)  # of the row at work: first label with a count, size: none
    rare, live = situations.rare, np.empty(common.size, np.int64)
    for s in range(total - 1, -1, -1):
        if not allowed[s]:
            continue
        image = mirror[s]
        if image > s:
            for k in range(each):
                buffer[s * each + k] = buffer[image * each + k]
            if row_of[s] >= 0:
                block[row_of[s] : row_of[s] + reuse_bits] = block[row_of[image] : row_of[image] + reuse_bits]
                low_at[row_of[s] : row_of[s] + reuse_bits] = low_at[row_of[image] : row_of[image] + reuse_bits]
            continue
        weights_left = False
        if rules.weights_once != 0:
            for d in range(N_DIMS):
                left = states[s, SIZE + d] < states[complete, SIZE + d]
                weights_left |= left and problem.relevance[W, d] == IRRELEVANT
        for last in range(reuse_bits if s > 0 else 1):
            work[:, :dense] = 0
            if dense > 0:
                for item in range(items):
                    t = successor[s, item]
                    if t >= 0 and allowed[t]:
                        for digit in range(digits):
                            start = t * each + digit * dense
                            _add(work, digit, 0, buffer, start, dense)
            row = row_of[s] + last
            n_live = 0
            if row_of[s] >= 0:
                n_live = _live(problem, unrolling, states, contents, situations, ahead, rare, s, live)
            for j in range(n_live):
                e = live[j]
                pending = e % reuse_bits
                for item in range(items):
                    t = successor[s, item]
                    if t < 0 or row_of[t] < 0 or not situations.open_loop[e, item]:
                        continue
                    if weights_left and placed[e, W] > 0 and problem.relevance[W, item_dim[item]] != IRRELEVANT:
                        continue
                    source = row_of[t] + item_mask[item]
                    start = block[source, e - pending]
                    if start < 0:
                        continue
                    begin = low_at[source, e - pending]
                    length = size[e] - begin
                    _lower(work, offset[e], low, e, begin)
                    for digit in range(digits):
                        to = offset[e] + begin
                        source = start + digit * length
                        _add(work, digit, to, store, source, length)
            if s == complete and last & needed_last == needed_last:
                work[:, offset[done]] = 0
                work[0, offset[done]] = 1
                low[done] = 0
            for turn in range(3):
                o = 2 - turn
                for level in range(problem.levels[o] - 2, -1, -1):
                    if cut_at[o, s] & np.uint8(1 << level) == 0:
                        continue
                    next_partial = 0
                    if o == O:
                        next_partial = starts_partial(problem, unrolling, states, contents, level + 1, s)
                        if level == problem.levels[O] - 2:
                            if top_partial >= 0 and next_partial != top_partial:
                                continue
                            next_partial = 0
                    shared = labels.shared[problem.chain[o, level]]
                    reuse = 0
                    if rules.stationary[o, level] != 0 and last & situations.reuse[o] == 0:
                        reuse = situations.reuse[o]
                    n_jobs = first_job[o, level + 1] - first_job[o, level]
                    for j in range(n_jobs + n_live):
                        if j < n_jobs:
                            e = jobs[first_job[o, level] + j]
                        else:
                            e = live[j - n_jobs]
                            if placed[e, o] != level:
                                continue
                        partial = e // reuse_bits % 2 if o == O else 0
                        following = (e + step[o] + reuse_bits * (next_partial - partial)) | reuse
                        rank = rank_of[o, level, partial, content_state[o, s]]
                        if rank < 0 or low[following] == size[following]:
                            continue
                        if shared:
                            if common[e] and common[following] and move[e, o, INNER] == 1 and move[e, o, OUTER] == 1:
                                here = move[e, o, HERE]
                                start = move[e, o, FIRST] + rank * here
                                for digit in range(digits):
                                    _follow(work, digit, offset[e], offset[following], table, start, here)
                            else:
                                _place_shared_cut(table, move[e, o], rank, e, following, offset, low, work)
                            continue
                        begin, length = 0, run[e, o]
                        if not common[e] or not common[following]:
                            begin = low[following]
                            length = size[e] - begin
                            _lower(work, offset[e], low, e, begin)
                        for digit in range(digits):
                            to, source = offset[e] + begin, offset[following] + begin
                            _add_within(work, digit, to, source, length)
            _carry(work, 0, dense)
            for digit in range(digits):
                _copy(work, digit, 0, buffer, s * each + digit * dense, dense)
            if row_of[s] < 0:
                continue
            store, _ = extend(store, used, situations.width * digits)
            for j in range(n_live):
                e = live[j]
                if low[e] == size[e]:
                    continue
                begin, end = offset[e] + low[e], offset[e] + size[e]
                _carry(work, begin, end)
                block[row, e] = used
                low_at[row, e] = low[e]
                for digit in range(digits):
                    _copy(work, digit, begin, store, used, end - begin)
                    used += end - begin
                low[e] = size[e]
    first = 0
    if problem.levels[O] > 1:
        first = starts_partial(problem, unrolling, states, contents, 0, 0) * reuse_bits
    if allowed[0]:
        if common[first]:
            for digit in range(digits):
                result[digit] = buffer[digit * dense + offset[first]]
        elif row_of[0] >= 0 and block[row_of[0], first] >= 0:
            for digit in range(digits):
                result[digit] = store[block[row_of[0], first] + digit]
    return buffer


@kernel
def _live(problem, unrolling, states, contents, situations, ahead, rare, s, live):
    """List the rare situations that there may be at a state and that may lead to the end (filled); largest first.

    Returns:
        Their number.
    """
    n_live = 0
    for e in rare:
        level = situations.placed[e, O]
        possible = True
        for o in range(3):
            possible &= ahead[o, s] & np.uint8(1 << situations.placed[e, o]) != 0
        if possible and e // situations.reuse_bits % 2 == 0 and level < problem.levels[O] - 1:
            possible = starts_partial(problem, unrolling, states, contents, level, s) == 0
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
def _follow(work, digit, to, source, table, start, labels):
    """Add what follows each label by the table of next labels, -1: nothing."""
    here, there, following = work[digit, to:], work[digit, source:], table[start : start + labels]
    for label in range(labels):
        if following[label] >= 0:
            here[label] += there[following[label]]


@kernel
def _carry(work, begin, end):
    """Keep every digit but the last within its bits."""
    for digit in range(work.shape[0] - 1):
        for k in range(begin, end):
            work[digit + 1, k] += work[digit, k] >> np.uint64(DIGIT_BITS)
            work[digit, k] &= np.uint64((1 << DIGIT_BITS) - 1)


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
