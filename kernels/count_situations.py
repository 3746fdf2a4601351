"""What must be remembered of an order up to a point, apart from its state: the *situation*."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .problem import IRRELEVANT, MAX_MEMORIES, N_DIMS, O, W

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying

# How labels go on with a cut of an operand, see ``Situations.move``.
FIRST, HERE, THERE, INNER, OUTER = range(5)


class Situations(NamedTuple):
    """What has happened below a point of an order: cuts placed of each operand, precision of the level of the output in
    progress, and operands whose tile the next loop must reuse (bits); each has a count for every label.

    Where levels of an array are left out (``lowest``), the situations without a cut there are *inner* ones. The counts
    of all others lie one behind the other in a row, those for complete sums last.
    """

    step: Any  #: int64[3], from a situation to that with one more cut of an operand
    reuse: Any  #: int64[3], bit of each operand with rules on reuse, 0: none
    reuse_bits: Any  #: combinations of these bits
    placed: Any  #: int64[E, 3]
    possible: Any  #: bool[E], false for a precision that there is not
    inner: Any  #: bool[E]
    size: Any  #: int64[E], labels
    offset: Any  #: int64[E], where the counts begin
    partial_width: Any  #: counts of a row without those for complete sums
    row_width: Any  #: counts of a row
    width: Any  #: with those of the inner situations behind it
    move: (
        Any  #: int64[E, 3, 5], where the next labels begin in the table; labels of the memory here and there; labels of
    )
    #: memories that follow, and of those before
    open_loop: Any  #: bool[E, 8], loop dimensions that the rules admit next


@allocating
def list_situations(problem, rules, labels, has_partial, lowest):
    """Describe the situations.

    Args:
        has_partial: whether the output has two precisions.
        lowest: int64[3], first level of each operand whose cuts are not those of inner situations.
    """
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
    total = step[W] * problem.levels[W]
    tied, n_tied = np.empty(MAX_MEMORIES, np.int64), 0  # memories at which cuts of several operands depend on another
    tied_level = np.full((MAX_MEMORIES, 3), -1, np.int64)
    for memory in range(problem.memories - 1, -1, -1):
        if rules.even != 0 or labels.shared[memory]:
            tied[n_tied] = memory
            for o in range(3):
                if problem.memory_level[memory, o] < problem.levels[o] - 1:
                    tied_level[n_tied, o] = problem.memory_level[memory, o]
            n_tied += 1
    placed = np.empty((total, 3), np.int64)
    possible, inner = np.ones(total, np.bool_), np.zeros(total, np.bool_)
    cut_there = np.zeros((total, problem.memories), np.int64)
    following_labels = np.ones((total, problem.memories), np.int64)
    size = np.ones(total, np.int64)
    open_loop = np.ones((total, N_DIMS), np.bool_)
    for e in range(total):
        for o in range(3):
            placed[e, o] = e // step[o] % problem.levels[o]
            inner[e] |= placed[e, o] < lowest[o]
        if e // reuse_bits % 2 != 0:
            possible[e] = has_partial and placed[e, O] < problem.levels[O] - 1
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
            following_labels[e, memory] = size[e]
            if labels.shared[memory] and cut != every:
                cut_there[e, memory] = cut
                size[e] *= labels.count[memory, cut]
        for d in range(N_DIMS):
            for o in range(3):
                if rules.most[o, placed[e, o], d] < 2.0:
                    open_loop[e, d] = False
                if e % reuse_bits & reuse[o] != 0 and problem.relevance[o, d] != IRRELEVANT:
                    open_loop[e, d] = False
    offset = np.zeros(total, np.int64)
    ends = np.zeros(3, np.int64)
    width = 0
    for part in range(3):
        for e in range(total):
            of_complete = has_partial and e // reuse_bits % 2 == 0 and placed[e, O] < problem.levels[O] - 1
            if possible[e] and part == (2 if inner[e] else 1 if of_complete else 0):
                offset[e] = width
                width += size[e]
        ends[part] = width
    move = np.zeros((total, 3, 5), np.int64)
    for o in range(3):
        for e in range(total):
            memory = problem.chain[o, placed[e, o]]
            if placed[e, o] < problem.levels[o] - 1 and labels.shared[memory]:
                cut, cut_next = cut_there[e, memory], cut_there[e + step[o], memory]
                move[e, o, FIRST] = labels.first[memory, cut, o]
                move[e, o, HERE] = labels.count[memory, cut]
                move[e, o, THERE] = labels.count[memory, cut_next]
                move[e, o, INNER] = following_labels[e, memory]
                move[e, o, OUTER] = size[e] // (labels.count[memory, cut] * following_labels[e, memory])
    return Situations(
        step,
        reuse,
        reuse_bits,
        placed,
        possible,
        inner,
        size,
        offset,
        ends[0],
        ends[1],
        width,
        move,
        open_loop,
    )


@kernel
def carry(counts, begin, end, stride, digits):
    """Keep every digit but the last within its bits; the next digit of a count lies ``stride`` further."""
    for digit in range(digits - 1):
        for k in range(begin + digit * stride, end + digit * stride):
            counts[k + stride] += counts[k] >> np.uint64(DIGIT_BITS)
            counts[k] &= np.uint64((1 << DIGIT_BITS) - 1)
