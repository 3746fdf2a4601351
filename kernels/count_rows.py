"""The count of orders with their allocations: from the last state inwards, how many ways there are to go on from each
state in each situation, which is a *row* of counts: for each family of situations and each combination of labels a
block (see ``count_shapes``), in which the digits of a count lie side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._bits import count_bits
from ._jit import allocating, kernel, leaf
from .count_layouts import labels_of
from .count_shapes import BEGIN, HERE, NEXT_WIDTH, STOP, THERE, THERE_REUSED, WIDTH
from .count_situations import (
    DIGIT_BITS,
    FAMILY,
    FIRST,
    LEAVES,
    MAX_RANKS,
    MEMORY,
    NEXT_FAMILY,
    PLACE,
    REUSE,
    STRIDE,
    rank_place,
)
from .problem import IRRELEVANT


class Rows(NamedTuple):
    """Where the rows lie in the memory of counts. With rules on reuse, there is one for each set of operands that the
    last loop reused.
    """

    start: Any  #: int64[rows]
    digits: Any  #: int64[rows], of each count; 0: all counts are 0
    shapes: Any  #: Shapes
    layouts: Any  #: Layouts


class Scratch(NamedTuple):
    """Working memory of one row: what labels lead to, by their numbers within their kind; -1: nothing."""

    rank: Any  #: int64[MAX_RANKS]
    above: Any  #: int32[...], in the lattice above, the labels of a kind behind those of the kind before
    near: Any  #: int32[...], in another row
    after: Any  #: int32[...], after a cut, the labels of one kind
    found: Any  #: int32[...], by combination of labels


@allocating
def no_rows(shapes, layouts):
    """Where there is no lattice above."""
    return Rows(np.empty(0, np.int64), np.empty(0, np.int64), shapes, layouts)


@allocating
def count_rows(problem, rules, table, situations, steps, part, shapes, layouts, given, digits, counts, used, control):
    """Count the ways to go on from each state.

    Args:
        given: Rows of the lattice above; with no rows: there is none.
        digits: at most.
        counts: uint64[...], memory for the counts, with ``used`` of them taken.
        control: int64[1], set to nonzero by anybody to stop.

    Returns:
        The rows; the memory of the counts, another one if it grew; how much of it is taken.
    """
    total, items = part.successor.shape
    reuse_bits = situations.reuse_bits
    needed = used + reuse_bits * digits * _count(layouts)
    if counts.size < needed:
        larger = np.empty(needed, np.uint64)
        larger[:used] = counts[:used]
        counts = larger
    rows = Rows(np.zeros(total * reuse_bits, np.int64), np.zeros(total * reuse_bits, np.int64), shapes, layouts)
    scratch = Scratch(
        np.empty(MAX_RANKS, np.int64),
        np.empty(layouts.most_labels, np.int32),
        np.empty(layouts.most_labels, np.int32),
        np.empty(layouts.most_labels, np.int32),
        np.empty(layouts.most_combinations, np.int32),
    )
    done, reused_last = 0, 0
    reused = np.zeros(items, np.int64)
    for o in range(3):
        done += situations.step[o] * (problem.levels[o] - 1)
        if rules.stationary[o, problem.levels[o] - 1] != 0:
            reused_last |= situations.reuse[o]
        for item in range(items):
            if problem.relevance[o, part.item_dim[item]] == IRRELEVANT:
                reused[item] |= situations.reuse[o]
    used = _fill_rows(
        problem, table, situations, steps, part, rows, given, reused, done, reused_last, digits, counts, used, scratch,
        control,
    )  # fmt: skip
    return rows, counts, used


@kernel
def _count(layouts):
    """Counts of all rows together."""
    together = 0
    for s in range(layouts.of.size):
        if layouts.of[s] >= 0:
            together += np.int64(layouts.first_count[layouts.of[s], -1])
    return together


@kernel
def _fill_rows(
    problem, table, situations, steps, part, rows, given, reused, done, reused_last, digits, counts, used, scratch,
    control,
):  # fmt: skip
    """Fill the rows, from the last state inwards.

    Args:
        reused: int64[items], operands (bits) that each loop reuses.
        done: the situation with all cuts.
        reused_last: operands (bits) that the last loop must reuse.
        scratch: Scratch.

    Returns:
        How much of the memory for counts is taken.
    """
    total, items = part.successor.shape
    reuse_bits, shapes, layouts = situations.reuse_bits, rows.shapes, rows.layouts
    first_word, kinds = steps.first_word, situations.kind
    has_given = given.start.size > 0
    for s in range(total - 1, -1, -1):
        if not part.used[s]:
            continue
        if control[0] != 0:
            break
        layout = np.int64(layouts.of[s])
        shape, above, their_shape, their_layout = layouts.shape[layout], np.int64(0), np.int64(0), np.int64(0)
        length = np.int64(layouts.first_count[layout, -1])
        _read_ranks(problem, part.rank_of, part.content_state, part.cut_at, s, scratch.rank)
        if has_given:
            above = part.shared_state[s]
            their_layout = np.int64(given.layouts.of[above])
            their_shape = given.layouts.shape[their_layout]
            _match_labels(first_word, layouts.occur[layout], given.layouts.occur[their_layout], scratch.above)
        for last in range(reuse_bits):
            depth, their_start, their_digits = 1, np.int64(0), np.int64(0)
            for item in range(items):
                if part.successor[s, item] >= 0:
                    depth = max(depth, rows.digits[part.successor[s, item] * reuse_bits + reused[item]])
            if has_given:
                row = above * reuse_bits + last
                their_start, their_digits = given.start[row], given.digits[row]
                depth = max(depth, their_digits)
            counts[used : used + depth * length] = 0
            for item in range(items):
                t = part.successor[s, item]
                row = t * reuse_bits + reused[item]
                if t < 0 or rows.digits[row] == 0:
                    continue
                other = np.int64(layouts.of[t])
                pair = shapes.pair[shape, layouts.shape[other], part.item_dim[item]]
                if other == layout and depth == rows.digits[row] and shapes.alike[pair, -1]:
                    own, more = counts[used:], counts[rows.start[row] :]
                    for k in range(depth * length):
                        own[k] += more[k]
                    continue
                _match_labels(first_word, layouts.occur[layout], layouts.occur[other], scratch.near)
                _add_row(
                    kinds, layouts.first_label[layout], layouts.first_label[other], layouts.first_count[layout],
                    layouts.first_count[other], shapes.first[shape], shapes.first[layouts.shape[other]],
                    shapes.alike[pair], shapes.source[pair], scratch.near, scratch.found, counts, used, depth,
                    rows.start[row], rows.digits[row],
                )  # fmt: skip
            position = shapes.position[shape, done]
            if s == total - 1 and last & reused_last == reused_last and position >= 0:
                counts[used + (layouts.first_count[layout, situations.family[done]] + position) * depth] = 1
            _follow_cuts(
                table, first_word, kinds, shapes.group[shapes.first_group[shape] : shapes.first_group[shape + 1]],
                shapes.cut, layouts.first_label[layout], layouts.first_count[layout], layouts.occur[layout], last,
                scratch.rank, scratch.after, scratch.found, given.layouts.first_label[their_layout],
                given.layouts.first_count[their_layout], given.shapes.first[their_shape],
                given.shapes.position[their_shape], scratch.above, their_start, their_digits, counts, used, depth,
            )  # fmt: skip
            depth = _carry(counts[used:], length, depth, digits)
            rows.start[s * reuse_bits + last], rows.digits[s * reuse_bits + last] = used, depth
            used += depth * length
    return used


@kernel
def look_up(rows, situations, counts, s, e, digit):
    """A digit of the count of a state, with no loop reused by the last one, in a situation without labels."""
    layout, row = np.int64(rows.layouts.of[s]), s * situations.reuse_bits
    if layout < 0 or digit >= rows.digits[row]:
        return np.uint64(0)
    position = np.int64(rows.shapes.position[rows.layouts.shape[layout], e])
    if position < 0:
        return np.uint64(0)
    place = np.int64(rows.layouts.first_count[layout, situations.family[e]]) + position
    return counts[rows.start[row] + place * rows.digits[row] + digit]


@kernel
def _read_ranks(problem, rank_of, content_state, cut_at, s, ranks):
    """Read the rank of what each level holds that may end at a state (filled), -1: it may not."""
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            for partial in range(2):
                rank = rank_of[o, level, partial, content_state[o, s]]
                if cut_at[o, s] & np.uint8(1 << level) == 0:
                    rank = -1
                ranks[rank_place(o, level, partial)] = rank


@leaf
def _match_labels(first_word, here, there, near):
    """Find the label of another state that stands for each label of a state: the largest that is no larger.

    Args:
        first_word: int64[kinds + 1], see ``Steps``.
        here, there: uint64[words], the labels.
        near: int32[...], numbers within the kind, filled; -1: there is none.
    """
    n = 0
    for kind in range(first_word.size - 1):
        before = -1
        for word in range(first_word[kind], first_word[kind + 1]):
            rest, others = here[word], there[word]
            while rest != 0:
                up_to = rest ^ (rest - np.uint64(1))
                near[n] = before + count_bits(others & up_to)
                n += 1
                rest &= ~up_to
            before += count_bits(others)


@leaf
def _add_row(
    kinds, labels, their_labels, block, their_block, first, their_first, alike, source, near, combined, counts, to,
    depth, start, digits,
):  # fmt: skip
    """Add a row to the one that begins at ``to``: what one more loop leads to.

    Args:
        kinds: int64[families, n], see ``Situations``.
        labels, their_labels, block, their_block: int32[kinds + 1], int32[families + 1], see ``first_label`` and
            ``first_count`` of ``Layouts``.
        first, their_first: int64[families + 1], see ``Shapes``.
        alike, source: bool[families + 1], int32[E], see ``Shapes``, of this pair.
        near, combined: int32[...], see ``near`` and ``found`` of ``Scratch``.
        depth, digits: of the counts of this row, and of the other one, which begins at ``start``.
    """
    for family in range(kinds.shape[0]):
        if block[family + 1] == block[family] or their_block[family + 1] == their_block[family]:
            continue
        number, found = np.int64(1), combined
        if kinds.shape[1] == 1 and kinds[family, 0] >= 0:  # most often
            number, found = labels_of(labels, kinds[family, 0]), near[labels[kinds[family, 0]] :]
        else:
            number = _combine(kinds, family, family, labels, their_labels, near, -1, near, found)
        width, their_width = first[family + 1] - first[family], their_first[family + 1] - their_first[family]
        here, there = to + block[family] * depth, start + their_block[family] * digits
        if alike[family] and depth == digits:
            size, a = width * depth, 0
            while a < number:
                begin, following = a, np.int64(found[a])
                a += 1
                if following < 0:
                    continue
                while a < number and found[a] == following + (a - begin):
                    a += 1
                own, more = counts[here + begin * size :], counts[there + following * size :]
                for k in range((a - begin) * size):
                    own[k] += more[k]
            continue
        for a in range(number):
            if found[a] < 0:
                continue
            for i in range(width):
                place = source[first[family] + i]
                if place >= 0:
                    own = counts[here + (a * width + i) * depth :]
                    more = counts[there + (found[a] * their_width + place) * digits :]
                    for digit in range(digits):
                        own[digit] += more[digit]


@kernel
def _combine(kinds, family, next_family, labels, next_labels, near, memory, after_cut, found):
    """Find the combination of labels of a family that each of another one leads to.

    Args:
        kinds: int64[families, n].
        labels, next_labels: int32[kinds + 1], of the two rows, see ``first_label`` of ``Layouts``.
        near: int32[...], what each label leads to, those of a kind behind those of the kind before; none: to itself.
        memory: number of the memory at which a cut makes the one family the other, -1: none with labels.
        after_cut: int32[...], what the labels of that one lead to instead.
        found: int32[...], filled; -1: there is none.

    Returns:
        How many combinations there are.
    """
    number = 1
    found[0] = 0
    for i in range(kinds.shape[1]):
        kind, next_kind = kinds[family, i], kinds[next_family, i]
        if kind < 0 and i != memory:
            continue
        first = np.int64(labels[kind]) if kind >= 0 else 0
        more, stride = labels_of(labels, kind), labels_of(next_labels, next_kind)
        for a in range(number - 1, -1, -1):
            combination = np.int64(found[a])
            for b in range(more - 1, -1, -1):
                label = np.int64(b)
                if i == memory:
                    label = np.int64(after_cut[b])
                elif near.size > 0:
                    label = np.int64(near[first + b])
                found[a * more + b] = combination * stride + label if combination >= 0 and label >= 0 else -1
        number *= more
    return number


@leaf
def _follow_cuts(
    table, first_word, kinds, groups, all_cuts, labels, block, occur, last, ranks, after, found, given_labels,
    given_block, given_first, given_position, near_above, given_start, digits, counts, start, depth,
):  # fmt: skip
    """Add what cuts at a state lead to, in the row that begins at ``start``.

    Args:
        first_word: see ``Steps``; ``kinds``: see ``Situations``.
        groups: int64[n, GROUP_FIELDS + 4], of cuts; ``all_cuts``: see ``Shapes``.
        labels, block, occur: of the row, see ``first_label``, ``first_count`` and ``occur`` of ``Layouts``.
        last: operands (bits) that the last loop reused.
        ranks, after, found, near_above: see ``Scratch``.
        given_...: of the row of the lattice above, ``digits`` of its counts.
        depth: digits of each count.
    """
    for n in range(groups.shape[0]):
        group = groups[n]
        rank = ranks[group[PLACE]]
        if rank < 0:
            continue
        family, next_family, memory = group[FAMILY], group[NEXT_FAMILY], group[MEMORY]
        number = np.int64(1)
        for i in range(kinds.shape[1]):
            number *= labels_of(labels, kinds[family, i])
        if number == 0:
            continue
        cuts = all_cuts[group[BEGIN] : group[STOP]]
        width, here = group[WIDTH], start + block[family] * depth
        reuses = group[REUSE] & ~last != 0
        if group[LEAVES] != 0:
            if digits > 0:
                _combine(kinds, family, next_family, labels, given_labels, near_above, -1, after, found)
                next_width = given_first[next_family + 1] - given_first[next_family]
                there = given_start + given_block[next_family] * digits
                for k in range(cuts.shape[0]):
                    situation = np.int64(cuts[k, THERE_REUSED] if reuses else cuts[k, THERE])
                    place = np.int64(given_position[situation]) if situation >= 0 else -1
                    for a in range(number if place >= 0 else 0):
                        own = here + (a * width + cuts[k, HERE]) * depth
                        more = there + (found[a] * next_width + place) * digits
                        for digit in range(digits if found[a] >= 0 else 0):
                            counts[own + digit] += counts[more + digit]
            continue
        next_width, there = group[NEXT_WIDTH], start + block[next_family] * depth
        if memory >= 0:
            _follow_labels(table, first_word, kinds, group, rank, occur, labels, after)
            if kinds.shape[1] > 1:
                _combine(kinds, family, next_family, labels, labels, near_above[:0], memory, after, found)
        for a in range(number):
            label = a
            if memory >= 0:
                label = np.int64(found[a] if kinds.shape[1] > 1 else after[a])
            if label < 0:
                continue
            own, more = here + a * width * depth, there + label * next_width * depth
            if depth == 1 and not reuses:
                for k in range(cuts.shape[0]):  # unsigned: an index that may be negative would be tested
                    if cuts[k, THERE] >= 0:
                        counts[np.uint64(own + cuts[k, HERE])] += counts[np.uint64(more + cuts[k, THERE])]
                continue
            for k in range(cuts.shape[0]):
                place = np.int64(cuts[k, THERE_REUSED] if reuses else cuts[k, THERE])
                for digit in range(depth if place >= 0 else 0):
                    counts[own + cuts[k, HERE] * depth + digit] += counts[more + place * depth + digit]


@kernel
def _follow_labels(table, first_word, kinds, group, rank, occur, labels, following):
    """Find the label that stands for what each label at a memory becomes by a cut there.

    Args:
        group: int64[GROUP_FIELDS], of the cut.
        rank: of what is cut.
        occur: uint64[words], labels of the state; ``labels``: int32[kinds + 1], see ``Layouts``.
        following: int32[...], filled.
    """
    kind, next_kind = kinds[group[FAMILY], group[MEMORY]], kinds[group[NEXT_FAMILY], group[MEMORY]]
    next_label = table[group[FIRST] + rank * group[STRIDE] :]
    n, word, rest = 0, np.int64(0), np.uint64(0)
    if kind >= 0 and labels[kind + 1] > labels[kind]:
        word, rest = first_word[kind], occur[first_word[kind]]
    while n < labels_of(labels, kind):
        label = np.int64(0)
        if kind >= 0:
            while rest == 0:
                word += 1
                rest = occur[word]
            low = rest ^ (rest - np.uint64(1))
            label = 64 * (word - first_word[kind]) + count_bits(low) - 1
            rest &= ~low
        label = np.int64(next_label[label])
        found = np.int64(0 if label >= 0 else -1)
        if label >= 0 and next_kind >= 0:
            first, found = first_word[next_kind], np.int64(-1)
            for each in range(first, first + (label >> 6)):
                found += count_bits(occur[each])
            found += count_bits(occur[first + (label >> 6)] & (~np.uint64(0) >> np.uint64(63 - (label & 63))))
        following[n] = found
        n += 1


@leaf
def _carry(row, length, depth, digits):
    """Keep every digit of a row but the last within its bits; returns how many digits it has then, 0: all counts are 0.

    Args:
        row: uint64[...], ``length`` counts.
        depth: their digits so far; ``digits``: at most.
    """
    mask, every, above = np.uint64((1 << DIGIT_BITS) - 1), np.uint64(0), np.uint64(0)
    for k in range(length):
        count = row[k * depth :]
        for digit in range(depth - 1):
            count[digit + 1] += count[digit] >> np.uint64(DIGIT_BITS)
            count[digit] &= mask
            every |= count[digit]
        above |= count[depth - 1]
    if every | above == 0:
        return 0
    if depth == digits or above >> np.uint64(DIGIT_BITS) == 0:
        return depth
    for k in range(length - 1, -1, -1):
        count, wider = row[k * depth :], row[k * (depth + 1) :]
        wider[depth] = count[depth - 1] >> np.uint64(DIGIT_BITS)
        wider[depth - 1] = count[depth - 1] & mask
        for digit in range(depth - 2, -1, -1):
            wider[digit] = count[digit]
    return depth + 1
