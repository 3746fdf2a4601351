"""Which labels of a shared memory a state must tell apart.

Labels rise with the room that is left, and so do the ways to go on. Where no amount that may still come fits the room
of one label but not that of the next smaller one, they lead to as many. So at each state a few labels *matter*: those
at which the number of ways rises. Each label stands for the same as the largest that matters and is no larger; below
the smallest there is no way at all. Of these, only those *occur* which cuts at states further in leave.

Sets of labels are bits: those of each kind (see ``Situations``) begin at a word of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._bits import highest_bit, lowest_bit
from ._jit import allocating, formula, leaf

ONE = np.uint64(1)


class Steps(NamedTuple):
    """How cuts lead from label to label, of kinds that there are."""

    kinds: Any  #: 8 times the number of memories with labels
    first_word: Any  #: int64[kinds + 1], where the bits of each kind begin
    first_of: Any  #: int64[words], the first word of the same kind
    cut: Any  #: int64[n, 8]: kind before (-1: no operand is cut there), kind after (-1: all are), operand, level, where
    #: the next labels begin in the table, how many labels there are before, where the smallest labels that
    #: lead to each next one begin, how many of these a rank has; in ascending order of the kinds
    partial: Any  #: int64[3], 1: nothing but the output has two precisions
    smallest: Any  #: int32[...], smallest label that leads to no smaller than each next one, by rank; -1: none does


class Sets(NamedTuple):
    """Labels at each state, and the levels that may end there or further on."""

    matter: Any  #: uint64[S, words]
    occur: Any  #: uint64[S, words], of those that matter
    ahead: Any  #: uint8[3, S], levels of each operand (bits)


@allocating
def list_steps(problem, contents, labels, table, situations):
    """List the cuts at memories with labels."""
    labelled = situations.labelled
    kinds = 8 * labelled.size
    first_word = np.zeros(kinds + 1, np.int64)
    cut, n = np.empty((12 * labelled.size, 8), np.int64), 0
    smallest, used = np.empty(64, np.int32), 0
    for i in range(labelled.size):
        memory = labelled[i]
        every = 0
        for o in range(3):
            level = problem.memory_level[memory, o]
            if level >= 0 and level < problem.levels[o] - 1:
                every |= 1 << o
        for before in range(8):
            count = labels.count[memory, before]
            there_is = before & ~every == 0 and before != 0 and before != every
            first_word[8 * i + before + 1] = first_word[8 * i + before] + ((count + 63) >> 6 if there_is else 0)
            if before & ~every != 0 or before == every:
                continue
            for o in range(3):
                after = before | (1 << o)
                if every & (1 << o) == 0 or after == before:
                    continue
                level = problem.memory_level[memory, o]
                next_count = 1 if after == every else labels.count[memory, after]
                first = labels.first[memory, before, o]
                cut[n, 0], cut[n, 1] = 8 * i + before if before != 0 else -1, 8 * i + after if after != every else -1
                cut[n, 2], cut[n, 3], cut[n, 4], cut[n, 5], cut[n, 6], cut[n, 7] = (
                    o,
                    level,
                    first,
                    count,
                    used,
                    next_count,
                )
                n += 1
                if before == 0:
                    continue
                ranks = 1 + labels.rank[o, level].max()
                if smallest.size < used + ranks * next_count:
                    larger = np.empty(2 * (used + ranks * next_count), np.int32)
                    larger[:used] = smallest[:used]
                    smallest = larger
                for rank in range(ranks):
                    label = 0
                    for following in range(next_count):
                        while label < count and table[first + rank * count + label] < following:
                            label += 1
                        smallest[used] = label if label < count else -1
                        used += 1
    first_of = np.empty(first_word[kinds], np.int64)
    for kind in range(kinds):
        first_of[first_word[kind] : first_word[kind + 1]] = first_word[kind]
    return Steps(kinds, first_word, first_of, cut[:n], contents.partial, smallest)


@allocating
def find_sets(table, part, steps, given):
    """Find the labels that matter, from the last state inwards, and those that occur, from the first one outwards.

    Args:
        given: Sets of the lattice above, which tell what matters; with no states: there is none.
    """
    total, words = part.used.size, steps.first_word[steps.kinds]
    sets = Sets(np.zeros((total, words), np.uint64), np.zeros((total, words), np.uint64), part.cut_at.copy())
    if given.ahead.size > 0:
        for s in range(total):
            above = part.shared_state[s]
            sets.matter[s] = given.matter[above]
            for o in range(3):
                sets.ahead[o, s] |= given.ahead[o, above]
    _find_mattering(part, steps, sets, given.ahead.size == 0)
    _find_occurring(table, part, steps, sets)
    return sets


@allocating
def no_sets():
    """Where there is no lattice above."""
    return Sets(np.empty((0, 0), np.uint64), np.empty((0, 0), np.uint64), np.empty((3, 0), np.uint8))


@leaf
def _find_mattering(part, steps, sets, wanted):
    """Fill the levels that may end from each state on and, if these are wanted, the labels that matter."""
    total, items = part.successor.shape
    ahead, first_word = sets.ahead, steps.first_word
    for s in range(total - 1, -1, -1):
        if not part.used[s]:
            continue
        matter = sets.matter[s]
        for item in range(items):
            t = part.successor[s, item]
            if t < 0 or not part.used[t]:
                continue
            for o in range(3):
                ahead[o, s] |= ahead[o, t]
            if wanted:
                more = sets.matter[t]
                for word in range(matter.size):
                    matter[word] |= more[word]
        if not wanted:
            continue
        for n in range(steps.cut.shape[0] - 1, -1, -1):
            before, after, o, level = steps.cut[n, 0], steps.cut[n, 1], steps.cut[n, 2], steps.cut[n, 3]
            if before < 0:
                continue
            of_kind = matter[first_word[before] : first_word[before + 1]]
            for partial in range(1 + steps.partial[o]):
                rank = part.rank_of[o, level, partial, part.content_state[o, s]]
                if rank < 0:
                    continue
                smallest = steps.smallest[steps.cut[n, 6] + rank * steps.cut[n, 7] :]
                if after < 0:
                    _enter(of_kind, smallest[0])
                    continue
                following = matter[first_word[after] : first_word[after + 1]]
                for word in range(following.size):
                    rest = following[word]
                    while rest != 0:
                        _enter(of_kind, smallest[lowest_bit(rest) + 64 * word])
                        rest &= rest - ONE


@leaf
def _find_occurring(table, part, steps, sets):
    """Fill the labels that occur."""
    total, items = part.successor.shape
    first_word = steps.first_word
    for s in range(total):
        if not part.used[s]:
            continue
        matter, occur = sets.matter[s], sets.occur[s]
        for n in range(steps.cut.shape[0]):
            before, after, o, level = steps.cut[n, 0], steps.cut[n, 1], steps.cut[n, 2], steps.cut[n, 3]
            if after < 0:
                continue
            first = first_word[after]
            for partial in range(1 + steps.partial[o]):
                rank = part.rank_of[o, level, partial, part.content_state[o, s]]
                if rank < 0:
                    continue
                following = table[steps.cut[n, 4] + rank * steps.cut[n, 5] :]
                if before < 0:
                    _enter_for(matter, occur, first, following[0])
                    continue
                of_kind = occur[first_word[before] : first_word[before + 1]]
                for word in range(of_kind.size):
                    rest = of_kind[word]
                    while rest != 0:
                        _enter_for(matter, occur, first, following[lowest_bit(rest) + 64 * word])
                        rest &= rest - ONE
        for item in range(items):
            t = part.successor[s, item]
            if t < 0:
                continue
            there, there_occur = sets.matter[t], sets.occur[t]
            for word in range(occur.size):
                bits = occur[word]
                if bits == 0:
                    continue
                there_occur[word] |= bits & there[word]
                rest = bits & ~there[word]
                while rest != 0:
                    first = steps.first_of[word]
                    _enter_for(there, there_occur, first, lowest_bit(rest) + 64 * (word - first))
                    rest &= rest - ONE


@formula
def _enter(of_kind, label):
    """Enter a label in the words of its kind; -1: none."""
    if label >= 0:
        of_kind[label >> 6] |= ONE << np.uint64(label & 63)


@formula
def _enter_for(matter, occur, first, label):
    """Enter the label that stands for this one (-1: none) of the kind whose words begin at ``first``, if any does."""
    if label >= 0:
        word = first + (label >> 6)
        rest = matter[word] & (~np.uint64(0) >> np.uint64(63 - (label & 63)))
        while rest == 0 and word > first:
            word -= 1
            rest = matter[word]
        if rest != 0:
            occur[word] |= ONE << np.uint64(highest_bit(rest))
