"""The part of the count that spatial mappings have in common.

What a memory above the array holds depends on the loops above it alone: the layer divided by their iterations. So once
every operand has left the levels of the array itself, there are as many ways to go on from the same loops above,
whatever the spatial mapping. They are counted for each state of one lattice which has those of many mappings in it, in
dense rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .count_labels import starts_partial
from .count_situations import FIRST, HERE, INNER, OUTER, THERE, carry
from .problem import MAX_LEVELS, O
from .traffic import REDUCES_ABOVE

SHORT_RUN = 4  # fewer counts than this one behind the other are added one by one


class Shared(NamedTuple):
    """Ways to go on from each state of a lattice in each situation, once no operand is within the array."""

    counts: Any  #: uint64[...], digit by digit of each row
    row: Any  #: int64[S], where the row of each state begins
    width: Any  #: int64[S], counts of each digit: those for complete sums only where sums may be complete


class Links(NamedTuple):
    """Which counts of a row a cut adds to which others of it: a list for each operand, level, part of the row (1: for
    complete sums), next precision and rank.
    """

    number: Any  #: int64[3, L, 2, 2], of the list for the first rank; those of the other ranks follow
    first_run: Any  #: int64[lists + 1], where those of each list begin
    run: Any  #: uint32[...], counts one behind the other: the first one added to, the first one added, how many
    first_single: Any  #: int64[lists + 1]
    single: Any  #: uint32[...]: one added to, the one added


@allocating
def _list_links(problem, situations, labels, table, lowest, has_partial):
    """Describe what the cuts do."""
    number = np.zeros((3, MAX_LEVELS, 2, 2), np.int64)
    key = np.empty((3 * MAX_LEVELS * 4, 4), np.int64)
    keys, lists = 0, 0
    for o in range(3):
        for level in range(lowest[o], problem.levels[o] - 1):
            for late in range(1 + has_partial):
                for next_partial in range(1 + (has_partial and o == O)):
                    number[o, level, late, next_partial] = lists
                    lists += 1 + max(0, labels.rank[o, level].max())
                    key[keys, 0], key[keys, 1], key[keys, 2], key[keys, 3] = o, level, late, next_partial
                    keys += 1
    first_run, first_single = np.zeros(lists + 1, np.int64), np.zeros(lists + 1, np.int64)
    entries = lists * situations.row_width
    run, single = np.empty(3 * (entries // SHORT_RUN + 1), np.uint32), np.empty(2 * entries, np.uint32)
    links = Links(number, first_run, run, first_single, single)
    for k in range(keys):
        o, level, late, next_partial = key[k]
        partial = 1 - late if has_partial and o == O else 0
        further = situations.step[o] + next_partial - partial
        shared = labels.shared[problem.chain[o, level]]
        for rank in range(1 + max(0, labels.rank[o, level].max())):
            first = number[o, level, late, next_partial] + rank
            _fill_list(situations, table, links, first, o, level, late, further, rank if shared else -1)
    return links


@kernel
def _fill_list(situations, table, links, number, o, level, late, further, rank):
    """Fill one list.

    Args:
        further: from a situation to the next one.
        rank: of what is cut at a shared memory, -1: it is not shared.
    """
    offset, move = situations.offset, situations.move
    runs, singles = links.first_run[number], links.first_single[number]
    to, source, length = 0, 0, 0
    for e in range(offset.size):
        if situations.inner[e] or situations.placed[e, o] != level or not situations.possible[e]:
            continue
        if (offset[e] >= situations.partial_width) != (late != 0) or not situations.possible[e + further]:
            continue
        here, there, inner, outer = 1, 1, situations.size[e], 1
        if rank >= 0:
            here, there, inner, outer = move[e, o, HERE], move[e, o, THERE], move[e, o, INNER], move[e, o, OUTER]
        for a in range(outer):
            for label in range(here):
                next_label = table[move[e, o, FIRST] + rank * here + label] if rank >= 0 else 0
                if next_label < 0:
                    continue
                next_to = offset[e] + (a * here + label) * inner
                next_source = offset[e + further] + (a * there + next_label) * inner
                if next_to == to + length and next_source == source + length:
                    length += inner
                    continue
                runs, singles = _enter(links, to, source, length, runs, singles)
                to, source, length = next_to, next_source, inner
    runs, singles = _enter(links, to, source, length, runs, singles)
    links.first_run[number + 1], links.first_single[number + 1] = runs, singles


@kernel
def _enter(links, to, source, length, runs, singles):
    """Enter counts that lie one behind the other; returns the next free places."""
    run, single = links.run, links.single
    if length >= SHORT_RUN:
        run[runs], run[runs + 1], run[runs + 2] = to, source, length
        return runs + 3, singles
    for k in range(length):
        single[singles], single[singles + 1] = to + k, source + k
        singles += 2
    return runs, singles


@allocating
def count_shared(
    problem,
    unrolling,
    states,
    successor,
    allowed,
    mirror,
    contents,
    labels,
    table,
    situations,
    lowest,
    top_partial,
    digits,
    buffer,
):
    """Count the ways to go on.

    Args:
        allowed: bool[S], by the rules on orders.
        mirror: int64[S], a state from which there are as many ways to go on, maybe itself.
        lowest: int64[3], level of each operand at which these situations begin.
        top_partial: precision of the output in its top memory, which the last cut must lead to; -1: any.
        buffer: uint64[...], working memory for the counts.

    Returns:
        The counts; they lie in the working memory, or in a larger one.
    """
    total = successor.shape[0]
    row, width = np.empty(total, np.int64), np.empty(total, np.int64)
    needed = 0
    for s in range(total - 1, -1, -1):
        width[s] = situations.row_width if states[s, REDUCES_ABOVE] == 0.0 else situations.partial_width
        if mirror[s] > s:
            row[s] = row[mirror[s]]
        else:
            row[s] = needed
            needed += digits * width[s]
    if buffer.size < needed:
        buffer = np.empty(needed, np.uint64)
    has_partial = contents.partial[O] != 0
    links = _list_links(problem, situations, labels, table, lowest, has_partial)
    levels = problem.levels
    done = 0
    for o in range(3):
        done += situations.step[o] * (levels[o] - 1)
    for s in range(total - 1, -1, -1):
        if mirror[s] > s or not allowed[s]:
            continue
        start, used = row[s], width[s]
        for digit in range(digits):
            _add_successors(successor, allowed, row, width, s, buffer, digit)
        if s == total - 1:
            buffer[start + situations.offset[done]] = 1
        for turn in range(3):
            o = 2 - turn
            content = contents.content_state[o, s]
            for level in range(levels[o] - 2, lowest[o] - 1, -1):
                next_partial = 0
                if o == O and has_partial:
                    next_partial = starts_partial(problem, unrolling, states, level + 1, s)
                    if level == levels[O] - 2:
                        if top_partial >= 0 and next_partial != top_partial:
                            continue
                        next_partial = 0
                for late in range(1 + (has_partial and used == situations.row_width)):
                    rank = labels.rank[o, level, 1 - late if has_partial and o == O else 0, content]
                    if rank >= 0:
                        _follow(buffer, start, used, digits, links, links.number[o, level, late, next_partial] + rank)
        carry(buffer, start, start + used, used, digits)
    return Shared(buffer, row, width)


@kernel
def _add_successors(successor, allowed, row, width, s, counts, digit):
    """Set one digit of a state's row to the sum of those of its successors."""
    length = width[s]
    here = counts[row[s] + digit * length : row[s] + (digit + 1) * length]
    first = -1
    empty = True
    for item in range(successor.shape[1]):
        t = successor[s, item]
        if t < 0 or not allowed[t]:
            continue
        if first < 0:
            first = t
            continue
        a, b = counts[row[first] + digit * width[first] :], counts[row[t] + digit * width[t] :]
        if empty:
            for k in range(length):
                here[k] = a[k] + b[k]
        else:
            for k in range(length):
                here[k] += a[k] + b[k]
        empty, first = False, -1
    if first >= 0:
        a = counts[row[first] + digit * width[first] :]
        if empty:
            for k in range(length):
                here[k] = a[k]
        else:
            for k in range(length):
                here[k] += a[k]
        empty = False
    if empty:
        for k in range(length):
            here[k] = 0


@kernel
def _follow(counts, start, width, digits, links, number):
    """Add what a cut leads to by a list of links, in the row that begins at ``start``."""
    run, single = links.run, links.single
    for digit in range(digits):
        here = counts[start + digit * width : start + (digit + 1) * width]
        for k in range(links.first_run[number], links.first_run[number + 1], 3):
            to, source = here[run[k] :], here[run[k + 1] :]
            for i in range(run[k + 2]):
                to[i] += source[i]
        for k in range(links.first_single[number], links.first_single[number + 1], 2):
            here[single[k]] += here[single[k + 1]]
