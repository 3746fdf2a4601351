"""What must be remembered of an order up to a point, apart from its state: the *situation*."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula
from .problem import IRRELEVANT, MAX_LEVELS, MAX_MEMORIES, N_DIMS, O, W

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying


# Cuts from situations with alike labels to others with alike labels, which all do the same to these.
PLACE = 0  # where the rank is found that decides whether the cut fits, see ``rank_place``
FAMILY, NEXT_FAMILY = 1, 2
REUSE = 3  # bit of the operand that the next loop must reuse, unless the last one did; 0: need not
MEMORY = 4  # number of the memory among those with labels, -1: none of these
FIRST, STRIDE = 5, 6  # where the next labels begin in the table, and how many there are of each rank
LEAVES = 7  # 1: from an inner situation to one that is none
GROUP_FIELDS = 8

# A cut, from a situation to another.
GROUP, SITUATION, FOLLOWING = 0, 1, 2
LEVEL, PARTIAL = 3, 4  # the level of the output that begins, and with which sums; level -1: whatever
CUT_FIELDS = 5

MAX_RANKS = 3 * MAX_LEVELS * 2


class Situations(NamedTuple):
    """What has happened below a point of an order: cuts placed of each operand, precision of the level of the output in
    progress, and operands whose tile the next loop must reuse (bits); each has a count for every label. Those with
    labels of the same kinds are a *family*.

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
    family: Any  #: int64[E]
    kind: Any  #: int64[families, n], which kind of label there is of each: 8 times its number + the operands cut there
    #: (bits); -1: none, for none is cut there, or all are
    group: Any  #: int64[groups, GROUP_FIELDS]
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
    kind, families = np.full((total, labelled.size), -1, np.int64), 0
    family = np.empty(total, np.int64)
    for i in range(labelled.size):
        number[labelled[i]] = i
    here = np.empty(labelled.size, np.int64)
    for e in range(total):
        for i in range(labelled.size):
            cut = cut_there[e, labelled[i]]
            here[i] = 8 * i + cut if cut != 0 else -1
        family[e] = 0
        while family[e] < families and not np.all(kind[family[e]] == here):
            family[e] += 1
        if family[e] == families:
            kind[families] = here
            families += 1
    group, groups = np.empty((6 * total, GROUP_FIELDS), np.int64), 0
    cuts, n = np.empty((6 * total, CUT_FIELDS), np.int64), 0
    for turn in range(6):  # what comes last is added up first: cuts above the array, of the output, the last ones, ...
        o = 2 - turn % 3
        top = problem.levels[o] - 1
        for level in range(top - 1, -1, -1):
            if (level < lowest[o]) != (turn >= 3):
                continue
            memory = problem.chain[o, level]
            first_group, first_cut = groups, n
            for e in range(total):
                if not possible[e] or placed[e, o] != level:
                    continue
                partial = e // reuse_bits % 2 if o == O else 0
                for next_partial in range(2 if o == O and has_partial else 1):
                    last = level + 1 == top
                    if o == O and last and top_partial >= 0 and next_partial != top_partial:
                        continue
                    following = e + step[o]
                    if o == O:
                        following += reuse_bits * ((0 if last else next_partial) - partial)
                    fields = group[groups]
                    fields[PLACE] = rank_place(o, level, partial)
                    fields[FAMILY], fields[NEXT_FAMILY] = family[e], family[following]
                    fields[REUSE] = reuse[o] if rules.stationary[o, level] != 0 else 0
                    fields[MEMORY] = number[memory]
                    fields[FIRST] = labels.first[memory, cut_there[e, memory], o]
                    fields[STRIDE] = labels.count[memory, cut_there[e, memory]]
                    fields[LEAVES] = 1 if inner[e] and not inner[following] else 0
                    same = first_group
                    while not np.all(group[same] == fields):
                        same += 1
                    groups = max(groups, same + 1)
                    cuts[n, GROUP], cuts[n, SITUATION], cuts[n, FOLLOWING] = same, e, following
                    cuts[n, LEVEL], cuts[n, PARTIAL] = -1, 0
                    if o == O and has_partial:
                        cuts[n, LEVEL], cuts[n, PARTIAL] = level + 1, next_partial
                    n += 1
            by_group = first_cut + np.argsort(cuts[first_cut:n, GROUP], kind="mergesort")
            cuts[first_cut:n] = cuts[by_group]
    return Situations(
        step,
        reuse,
        reuse_bits,
        placed,
        possible,
        inner,
        open_loop,
        labelled,
        family,
        kind[:families],
        group[:groups],
        cuts[:n],
    )


@formula
def rank_place(o, level, partial):
    """Where the rank of an operand's content is found, among MAX_RANKS."""
    return (o * MAX_LEVELS + level) * 2 + partial
