"""Which counts a state needs: its *layout*.

There is a count for each situation and label (see ``count_situations``, ``count_sets``), but at most states few of
them may occur and lead to the end. A layout lists these situations, with the labels of each kind; many states have the
same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._bits import count_bits, lowest_bit
from ._jit import allocating, leaf
from .count_sets import bits_of
from .count_situations import FOLLOWING, KIND, LEVEL, MEMORY, PARTIAL, RANK, REUSE, SITUATION
from .problem import O

# A cut in a layout: which one it is (see ``Situations``), where its rank is found, how many counts it adds to (0: what
# labels lead to must be looked up), where these lie, and those that it adds, without and with a tile that the next loop
# must reuse (-1: there are none).
WHICH, PLACE, COUNTS, HERE, THERE, THERE_REUSED = range(6)


class Layouts(NamedTuple):
    """Situations and labels that there are counts for, each situation with one for every label of its kind; with those
    of several kinds, for all combinations, the last memory's lying side by side.
    """

    of: Any  #: int32[S]
    first_count: Any  #: int64[n + 1], counts of each
    own: Any  #: int64[n], the first of these are its own; the others are read from the lattice above
    column: Any  #: int32[counts], what each is, ascending, see ``Situations.first_column``
    base: Any  #: int32[counts], the first column of that situation
    first_entry: Any  #: int64[n + 1]
    situation: Any  #: int64[entries], each with its counts one behind the other
    position: Any  #: int32[n, E], where the counts of each situation begin, -1: it has none
    first_label: Any  #: int64[n, kinds]
    labels: Any  #: int64[n, kinds], how many
    label: Any  #: int32[...], ascending
    first_cut: Any  #: int64[n + 1], cuts of each
    cut: Any  #: int32[cuts, 6]


@allocating
def list_layouts(problem, situations, chosen, lowest, part, steps, sets):
    """List the layouts of all states.

    Args:
        chosen: int64[n], the situations, in ascending order of their columns.
        lowest: int64[3], first level of each operand above the array.
    """
    total = part.used.size
    within = chosen.size > 0 and situations.inner[chosen[0]]
    of = np.full(total, -1, np.int32)
    sample = np.empty(total, np.int64)  # a state of each layout
    size = 16
    while size < 2 * total:
        size *= 2
    slots = np.full(size, -1, np.int32)
    number, labels = _find_layouts(part.used, part.partial_at, sets.ahead, sets.occur, slots, sample, of)
    first_label, n_labels = np.zeros((number, steps.kinds), np.int64), np.zeros((number, steps.kinds), np.int64)
    label = np.empty(labels, np.int32)
    first_entry, situation = np.zeros(number + 1, np.int64), np.empty(number * chosen.size, np.int64)
    first_count, own = np.zeros(number + 1, np.int64), np.zeros(number, np.int64)
    position = np.full((number, situations.possible.size), -1, np.int32)
    labels = 0
    for n in range(number):
        labels = _fill_labels(steps, sets.occur, sample[n], first_label[n], n_labels[n], label, labels)
        first_entry[n + 1], first_count[n + 1] = _list_entries(
            problem, situations, chosen, within, lowest, part, sets, sample[n], n_labels[n], first_entry[n],
            first_count[n], situation, position[n],
        )  # fmt: skip
    column, base = np.empty(first_count[number], np.int32), np.empty(first_count[number], np.int32)
    first_cut, cut = np.zeros(number + 1, np.int64), np.empty((number * situations.cut.shape[0], 6), np.int32)
    layouts = Layouts(
        of,
        first_count,
        own,
        column,
        base,
        first_entry,
        situation[: first_entry[number]],
        position,
        first_label,
        n_labels,
        label,
        first_cut,
        cut,
    )
    _fill_columns(situations, layouts, within)
    for n in range(number):
        first_cut[n + 1] = _list_cuts(
            situations, within, position[n], n_labels[n], np.int64(part.partial_at[sample[n]]), first_cut[n], cut
        )
    return layouts


@leaf
def _fill_columns(situations, layouts, within):
    """Fill what each count is, and how many are a layout's own: those of inner situations where these are at hand."""
    column, base = layouts.column, layouts.base
    for n in range(layouts.own.size):
        k, stop = layouts.first_count[n], layouts.first_count[n + 1]
        for i in range(layouts.first_entry[n], layouts.first_entry[n + 1]):
            e = layouts.situation[i]
            first, end = situations.first_column[e], stop
            if i + 1 < layouts.first_entry[n + 1]:
                end = layouts.first_count[n] + layouts.position[n, layouts.situation[i + 1]]
            kind = situations.only_kind[e]
            for a in range(end - k):
                label = layouts.label[layouts.first_label[n, kind] + a] if kind >= 0 else 0
                column[k + a], base[k + a] = first + label, first
            k = end
            if situations.inner[e] or not within:
                layouts.own[n] = k - layouts.first_count[n]


@leaf
def _find_layouts(used, partial_at, ahead, occur, slots, sample, of):
    """Find out which states have the same layout.

    Args:
        slots: int32[2**n], a hash table, -1 everywhere.
        sample: int64[S], a state of each layout, filled.
        of: int32[S], filled.

    Returns:
        Layouts, and how many labels they have together.
    """
    number, labels = 0, 0
    mask = np.uint64(slots.size - 1)
    for s in range(used.size):
        if not used[s]:
            continue
        key = np.uint64(partial_at[s])
        for o in range(3):
            key = (key << np.uint64(8)) | np.uint64(ahead[o, s])
        for word in range(occur.shape[1]):
            key = (key ^ occur[s, word]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        slot = key & mask
        while slots[slot] >= 0:
            t = sample[slots[slot]]
            same = partial_at[s] == partial_at[t]
            for o in range(3):
                same &= ahead[o, s] == ahead[o, t]
            for word in range(occur.shape[1]):
                same &= occur[s, word] == occur[t, word]
            if same:
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = number
            sample[number] = s
            number += 1
            for word in range(occur.shape[1]):
                labels += count_bits(occur[s, word])
        of[s] = slots[slot]
    return number, labels


@leaf
def _fill_labels(steps, occur, s, first, number, label, used):
    """List the labels of a layout, for a state that has it.

    Args:
        first, number: int64[kinds], filled.
        label: int32[...], the list, with ``used`` of it taken.

    Returns:
        How much of it is taken then.
    """
    for kind in range(steps.kinds):
        first[kind] = used
        begin, stop = steps.first_bit[kind], steps.first_bit[kind + 1]
        for word in range(begin >> 6, (stop + 63) >> 6):
            rest = bits_of(occur[s, word], word, begin, stop)
            while rest != 0:
                label[used] = lowest_bit(rest) + 64 * word - begin
                used += 1
                rest &= rest - np.uint64(1)
        number[kind] = used - first[kind]
    return used


@leaf
def _list_entries(
    problem, situations, chosen, within, lowest, part, sets, s, labels, entries, counts, situation, position
):
    """List the situations of a layout, for a state that has it.

    Args:
        labels: int64[kinds].
        entries, counts: how many there are of the layouts before.
        situation, position: see ``Layouts``, filled.

    Returns:
        How many there are with those of this one.
    """
    placed, reuse_bits = situations.placed, situations.reuse_bits
    length = 0
    for e in chosen:
        needed = True
        for o in range(3):
            level = placed[e, o]
            needed &= level == problem.levels[o] - 1 or sets.ahead[o, s] & np.uint8(1 << level) != 0
        if e // reuse_bits % 2 == 0 and placed[e, O] < problem.levels[O] - 1:  # complete sums remain so
            needed &= part.partial_at[s] & np.uint8(1 << placed[e, O]) == 0
        if within and not situations.inner[e]:  # does a cut lead here?
            reached = False
            for o in range(3):
                below = lowest[o] - 1
                reached |= placed[e, o] == lowest[o] and below >= 0 and sets.ahead[o, s] & np.uint8(1 << below) != 0
            needed &= reached
        more = 1
        for kind in situations.kind[e]:
            if kind >= 0:
                more *= labels[kind]
        if needed and more > 0:
            situation[entries] = e
            position[e] = length
            entries += 1
            length += more
    return entries, counts + length


@leaf
def _list_cuts(situations, within, position, labels, partial_at, cuts, listed):
    """List the cuts of a layout.

    Args:
        within: whether those of inner situations alone are wanted.
        position: int32[E], where the counts of each situation begin.
        labels: int64[kinds], how many there are.
        partial_at: levels of the output that would begin with partial sums (bits).
        cuts: how many cuts of other layouts are listed.

    Returns:
        How many are listed with these.
    """
    for which in range(situations.cut.shape[0]):
        cut = situations.cut[which]
        here, there = position[cut[SITUATION]], position[cut[FOLLOWING]]
        if here < 0 or (there < 0 and situations.reuse_bits == 1) or (within and not situations.inner[cut[SITUATION]]):
            continue
        if cut[LEVEL] >= 0 and (partial_at >> cut[LEVEL]) & 1 != cut[PARTIAL]:
            continue
        kind = cut[KIND]
        listed[cuts, WHICH], listed[cuts, PLACE] = which, cut[RANK]
        listed[cuts, COUNTS] = 0 if cut[MEMORY] >= 0 else 1 if kind < 0 else labels[kind]
        listed[cuts, HERE], listed[cuts, THERE] = here, there
        listed[cuts, THERE_REUSED] = position[cut[FOLLOWING] | cut[REUSE]]
        cuts += 1
    return cuts
