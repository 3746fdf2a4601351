"""What must be remembered of an order up to a point, apart from its state: the *situation*."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula
from .problem import IRRELEVANT, MAX_LEVELS, MAX_MEMORIES, N_DIMS, O, W

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying


# A cut, from a situation to another.
SITUATION, FOLLOWING = 0, 1
RANK = 2  # where the rank is found that decides whether the cut fits, see ``rank_place``
REUSE = 3  # bit of the operand that the next loop must reuse, unless the last one did; 0: need not
LEVEL, PARTIAL = 4, 5  # the level of the output that begins, and with which sums; level -1: whatever
MEMORY = 6  # number of the memory among those with labels, -1: none of these
KIND, NEXT_KIND = 7, 8  # of the labels before and after, see ``Situations.only_kind``
FIRST, STRIDE = 9, 10  # where the next labels begin in the table, and how many there are of each rank
CUT_FIELDS = 11

MAX_RANKS = 3 * MAX_LEVELS * 2


class Situations(NamedTuple):
    """What has happened below a point of an order: cuts placed of each operand, precision of the level of the output in
    progress, and operands whose tile the next loop must reuse (bits); each has a count for every label.

    Where levels of an array are left out (``lowest``), the situations without a cut there are *inner* ones.
    """

    step: Any  #: int64[3], from a situation to that with one more cut of an operand
    reuse: Any  #: int64[3], bit of each operand with rules on reuse, 0: none
    reuse_bits: Any  #: combinations of these bits
    placed: Any  #: int64[E, 3]
    possible: Any  #: bool[E], false for a precision that there is not
    inner: Any  #: bool[E]
    open_loop: Any  #: bool[E, 8], loop dimensions that the rules admit next
    labelled: Any  #: int64[n], shared memories that have labels
    kind: Any  #: int64[E, n], which kind of label there is of each: 8 times its number + the operands cut there (bits);
    #: -1: none, for none is cut there, or all are
    only_kind: Any  #: int64[E], the only kind, -1: there is none, -2: there are several
    first_column: Any  #: int64[E], number of the first of its counts among all that there may be, those of inner
    #: situations first
    combined: Any  #: whether labels of several memories combine
    cut: Any  #: int64[cuts, CUT_FIELDS], in the order in which what they lead to is added up


@allocating
def list_situations(problem, rules, labels, has_partial, lowest, top_partial):
    """Describe the situations.

    Args:
        has_partial: whether the output has two precisions.
        lowest: int64[3], first level of each operand whose cuts are not those of inner situations. At one state, theirs
            come before the others.
        top_partial: precision of the output in its top memory, which the last cut must lead to; -1: any.
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
            if labels.shared[memory] and cut != every:
                cut_there[e, memory] = cut
        for d in range(N_DIMS):
            for o in range(3):
                if rules.most[o, placed[e, o], d] < 2.0:
                    open_loop[e, d] = False
                if e % reuse_bits & reuse[o] != 0 and problem.relevance[o, d] != IRRELEVANT:
                    open_loop[e, d] = False
    labelled = np.flatnonzero(labels.shared)
    number = np.full(MAX_MEMORIES, -1, np.int64)
    kind, only_kind = np.full((total, labelled.size), -1, np.int64), np.full(total, -1, np.int64)
    for i in range(labelled.size):
        number[labelled[i]] = i
        for e in range(total):
            if cut_there[e, labelled[i]] != 0:
                kind[e, i] = 8 * i + cut_there[e, labelled[i]]
                only_kind[e] = kind[e, i] if only_kind[e] == -1 else -2
    first_column = np.zeros(total, np.int64)
    columns = 0
    for outer in range(2):
        for e in range(total):
            if possible[e] and inner[e] == (outer == 0):
                first_column[e] = columns
                counts = 1
                for i in range(labelled.size):
                    if cut_there[e, labelled[i]] != 0:
                        counts *= labels.count[labelled[i], cut_there[e, labelled[i]]]
                columns += counts
    cuts, n = np.empty((6 * total, CUT_FIELDS), np.int64), 0
    for turn in range(6):  # what comes last is added up first: cuts above the array, of the output, the last ones, ...
        o = 2 - turn % 3
        top = problem.levels[o] - 1
        for e in range(total - 1, -1, -1):
            level = placed[e, o]
            if not possible[e] or level == top or (level < lowest[o]) != (turn >= 3):
                continue
            memory = problem.chain[o, level]
            partial = e // reuse_bits % 2 if o == O else 0
            for next_partial in range(2 if o == O and has_partial else 1):
                last = level + 1 == top
                if o == O and last and top_partial >= 0 and next_partial != top_partial:
                    continue
                cut = cuts[n]
                n += 1
                cut[SITUATION], cut[FOLLOWING] = e, e + step[o]
                cut[LEVEL], cut[PARTIAL] = -1, 0
                if o == O:
                    cut[FOLLOWING] += reuse_bits * ((0 if last else next_partial) - partial)
                    if has_partial:
                        cut[LEVEL], cut[PARTIAL] = level + 1, next_partial
                cut[RANK] = rank_place(o, level, partial)
                cut[REUSE] = reuse[o] if rules.stationary[o, level] != 0 else 0
                cut[MEMORY] = number[memory]
                cut[KIND], cut[NEXT_KIND] = only_kind[e], only_kind[cut[FOLLOWING]]
                cut[FIRST] = labels.first[memory, cut_there[e, memory], o]
                cut[STRIDE] = labels.count[memory, cut_there[e, memory]]
    return Situations(
        step,
        reuse,
        reuse_bits,
        placed,
        possible,
        inner,
        open_loop,
        labelled,
        kind,
        only_kind,
        first_column,
        np.any(only_kind == -2),
        cuts[:n],
    )


@formula
def rank_place(o, level, partial):
    """Where the rank of an operand's content is found, among MAX_RANKS."""
    return (o * MAX_LEVELS + level) * 2 + partial
