"""What the levels of the operands may hold, and what must be remembered of cuts where operands share a memory: how much
room they leave, as labels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
from .allocate import fits, held_bits
from .problem import MAX_MEMORIES, N_DIMS, O
from .traffic import REDUCES_ABOVE, element_bits, tile_content


class Contents(NamedTuple):
    """What the operands' levels may hold at each of their content states."""

    number: Any  #: int64[3], content states of each operand; the last one is that of all loops
    bits: Any  #: float64[3, L, 2, C], by precision: complete or partial sums
    partial: Any  #: int64[3], 1: nothing but the output has two precisions


class Labels(NamedTuple):
    """What the cuts below a point say about the room that is left."""

    rank: Any  #: int64[3, L, 2, C], which of the distinct amounts of its memory the level holds; -1: never fits
    count: Any  #: int64[M, 8], labels of a memory for each set of operands cut there (bits)
    first: Any  #: int64[M, 8, 3], where the next labels begin in the table, for one more operand
    shared: Any  #: bool[M], whether there are labels at all


@allocating
def fill_contents(problem, unrolling, states, content_state, number):
    """Fill what each level of each operand holds at each of its content states (int64[3, S], int64[3])."""
    total = states.shape[0]
    levels = problem.levels.max()
    bits = np.zeros((3, levels, 2, number.max()))
    size = np.empty(N_DIMS)
    partial = np.zeros(3, np.int64)
    partial[O] = 1 if has_partial_sums(problem) else 0
    sample = np.zeros(number.max(), np.int64)
    for o in range(3):
        for s in range(total - 1, -1, -1):
            sample[content_state[o, s]] = s
        for level in range(problem.levels[o]):
            row = problem.first_row[o] + level + 1
            exchanges = problem.memory_double_buffered[problem.chain[o, level]] != 0
            everything = 0.0
            for c in range(number[o] - 1, -1, -1):  # the complete content first
                elements = tile_content(problem, unrolling, states, o, row, sample[c], size)
                everything = max(everything, elements)
                for partial_sum in range(2):
                    each = element_bits(problem, o, partial_sum != 0)
                    bits[o, level, partial_sum, c] = held_bits(elements, everything, each, exchanges)
    return Contents(number, bits, partial)


@formula
def has_partial_sums(problem):
    """Does the output have two precisions?"""
    return problem.bits[2] != problem.bits[3]


@kernel
def starts_partial(problem, unrolling, states, level, s):
    """Is a level of the output that takes its loops from state ``s`` on as wide as partial sums? 1 or 0."""
    if not has_partial_sums(problem):
        return 0
    listed = unrolling.lists_reduction[problem.first_row[O] + level] != 0
    return 1 if listed or states[s, REDUCES_ABOVE] != 0.0 else 0


@allocating
def find_labels(problem, contents, lowest, top_partial):
    """Find out what must be remembered of shared memories.

    Args:
        lowest: int64[3], level of each operand that these labels begin at; below it, no memory is shared.

    Returns:
        Whether anything fits at all; the labels; the table of next labels, int64: for a memory, a set of operands cut
        there and one more operand, by rank of what it adds and label; -1 where that does not fit.
    """
    rank = np.full(contents.bits.shape, -1, np.int64)
    count = np.ones((MAX_MEMORIES, 8), np.int64)
    first = np.zeros((MAX_MEMORIES, 8, 3), np.int64)
    shared = np.zeros(MAX_MEMORIES, np.bool_)
    labels = Labels(rank, count, first, shared)
    table = np.empty(64, np.int64)
    used = 0
    cut = np.empty(3, np.int64)  # operands with a cut at the memory
    least, largest = np.empty(3), np.empty(3)
    for memory in range(problem.memories):
        capacity = problem.memory_size[memory]
        complete = 0.0  # bits of the operands whose top memory this is
        n_cut = 0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            if level < lowest[o]:
                continue
            if level == problem.levels[o] - 1:
                partial = 0
                if contents.partial[o] != 0:
                    partial = top_partial
                complete += contents.bits[o, level, partial, contents.number[o] - 1]
            else:
                cut[n_cut] = o
                n_cut += 1
        if not fits(complete, capacity):
            return False, labels, table
        others = complete
        for i in range(n_cut):
            o = cut[i]
            level = problem.memory_level[memory, o]
            least[i] = np.inf
            for partial in range(1 + contents.partial[o]):
                for c in range(contents.number[o]):
                    least[i] = min(least[i], contents.bits[o, level, partial, c])
            others += least[i]
        total = complete
        for i in range(n_cut):
            o = cut[i]
            level = problem.memory_level[memory, o]
            largest[i] = -1.0
            for partial in range(1 + contents.partial[o]):
                for c in range(contents.number[o]):
                    bits = contents.bits[o, level, partial, c]
                    if fits(others - least[i] + bits, capacity):
                        rank[o, level, partial, c] = 0
                        largest[i] = max(largest[i], bits)
            if largest[i] < 0.0:
                return False, labels, table
            total += largest[i]
        if n_cut > 1 and not fits(total, capacity):
            table, used = _label_memory(problem, contents, labels, table, used, memory, cut[:n_cut], complete)
    return True, labels, table


@allocating
def _label_memory(problem, contents, labels, table, used, memory, cut, complete):
    """Label one shared memory; see ``find_labels``. Labels rise with the room that is left."""
    capacity = problem.memory_size[memory]
    labels.shared[memory] = True
    n = cut.size
    most = 2 * contents.number.max()
    amount = np.zeros((3, most))  # distinct amounts of each, smallest first
    width = np.zeros(3, np.int64)
    for i in range(n):
        o = cut[i]
        level = problem.memory_level[memory, o]
        found = np.empty(most)
        k = 0
        for partial in range(1 + contents.partial[o]):
            for c in range(contents.number[o]):
                if labels.rank[o, level, partial, c] >= 0:
                    found[k] = contents.bits[o, level, partial, c]
                    k += 1
        different = np.unique(found[:k])
        width[i] = different.size
        amount[i, : different.size] = different
        for partial in range(1 + contents.partial[o]):
            for c in range(contents.number[o]):
                if labels.rank[o, level, partial, c] >= 0:
                    labels.rank[o, level, partial, c] = np.searchsorted(different, contents.bits[o, level, partial, c])
    # Once all operands but one are cut: how many of its amounts fit.
    marks = np.zeros((3, most + 1), np.int64)  # [last operand, amounts that fit]: label + 1
    room = np.empty((3, 3, width.max(), width.max() if n == 3 else 1), np.int64)  # [last, other, amount, third's]
    for last in range(n):
        i = 1 if last == 0 else 0
        third = 3 - last - i
        most_fitting = width[last]
        for a in range(width[i]):
            fitting = most_fitting  # larger amounts leave less room
            for b in range(width[third] if n == 3 else 1):
                taken = complete + amount[i, a] + (amount[third, b] if n == 3 else 0.0)
                while fitting > 0 and not fits(taken + amount[last, fitting - 1], capacity):
                    fitting -= 1
                if b == 0:
                    most_fitting = fitting
                room[last, i, a, b] = fitting
                if n == 3:
                    room[last, third, b, a] = fitting
                if fitting > 0:
                    marks[last, fitting] = 1
        found_labels = 0
        for fitting in range(1, width[last] + 1):
            if marks[last, fitting] != 0:
                found_labels += 1
                marks[last, fitting] = found_labels
        here = 0
        for i in range(n):
            if i != last:
                here |= 1 << cut[i]
        labels.count[memory, here] = found_labels
        table, used = extend(table, used, found_labels * width[last])
        labels.first[memory, here, cut[last]] = used - found_labels * width[last]
        for fitting in range(1, width[last] + 1):
            if marks[last, fitting] != 0:
                start = labels.first[memory, here, cut[last]] + marks[last, fitting] - 1
                for a in range(width[last]):
                    table[start + a * found_labels] = 0 if a < fitting else -1
    for i in range(n):  # one operand cut
        here = 1 << cut[i]
        table, used = extend(table, used, width[i])
        start = used - width[i]
        labels.first[memory, 0, cut[i]] = start
        if n == 2:
            for a in range(width[i]):
                table[start + a] = marks[1 - i, room[1 - i, i, a, 0]] - 1
            continue
        j, k = (i + 1) % 3, (i + 2) % 3
        found_labels = 0
        for a in range(width[i] - 1, -1, -1):  # the largest leave least
            new = a == width[i] - 1
            for b in range(width[j]):
                new = new or room[k, i, a, b] != room[k, i, a + 1, b]
            if new:
                found_labels += 1
            table[start + a] = found_labels - 1
        labels.count[memory, here] = found_labels
        for _ in range(2):  # the second operand: j, then k
            table, used = extend(table, used, found_labels * width[j])
            following = used - found_labels * width[j]
            labels.first[memory, here, cut[j]] = following
            for a in range(width[i]):
                for b in range(width[j]):
                    table[following + b * found_labels + table[start + a]] = marks[k, room[k, i, a, b]] - 1
            j, k = k, j
    return table, used


@allocating
def extend(table, used, more):
    """Room for more entries; returns the table and how much of it is used with them."""
    if used + more <= table.size:
        return table, used + more
    larger = np.empty(2 * (used + more), table.dtype)
    larger[:used] = table[:used]
    return larger, used + more
