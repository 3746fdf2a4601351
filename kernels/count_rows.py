"""The count of orders with their allocations: from the last state inwards, how many ways there are to go on from each
state in each situation, which is a *row* of counts in the state's layout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel, leaf
from .count_layouts import COUNTS, HERE, PLACE, THERE, THERE_REUSED, WHICH
from .count_situations import (
    DIGIT_BITS,
    FIRST,
    FOLLOWING,
    KIND,
    MAX_RANKS,
    MEMORY,
    NEXT_KIND,
    RANK,
    REUSE,
    SITUATION,
    STRIDE,
    rank_place,
)
from .problem import IRRELEVANT, N_DIMS, W


class Rows(NamedTuple):
    """Where the rows lie in the memory of counts. With rules on reuse, there is one for each set of operands that the
    last loop reused.
    """

    start: Any  #: int64[rows]
    digits: Any  #: int64[rows], digits of the row, one behind the other
    layouts: Any  #: Layouts


class Rules(NamedTuple):
    """What rules say of the loops that come next."""

    restrict: Any  #: whether they forbid any
    done: Any  #: the situation with all cuts
    reused_last: Any  #: operands (bits) that the last loop must reuse
    reused: Any  #: int64[items], operands (bits) that each loop reuses


@allocating
def no_rows(layouts):
    """Where there is no lattice above."""
    return Rows(np.empty(0, np.int64), np.empty(0, np.int64), layouts)


@allocating
def count_rows(problem, rules, table, situations, part, layouts, given, digits, counts, used, control):
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
    rows = Rows(np.zeros(total * reuse_bits, np.int64), np.zeros(total * reuse_bits, np.int64), layouts)
    needed = used
    for s in range(total):
        if part.used[s]:
            layout = layouts.of[s]
            needed += reuse_bits * digits * (layouts.first_count[layout + 1] - layouts.first_count[layout])
    if counts.size < needed:
        larger = np.empty(needed, np.uint64)
        larger[:used] = counts[:used]
        counts = larger
    done, reused_last = 0, 0
    reused = np.zeros(items, np.int64)
    restrict = rules.weights_once != 0 or reuse_bits > 1
    for o in range(3):
        done += situations.step[o] * (problem.levels[o] - 1)
        if rules.stationary[o, problem.levels[o] - 1] != 0:
            reused_last |= situations.reuse[o]
        for item in range(items):
            if problem.relevance[o, part.item_dim[item]] == IRRELEVANT:
                reused[item] |= situations.reuse[o]
    for e in range(situations.possible.size):
        for d in range(N_DIMS):
            restrict |= not situations.open_loop[e, d]
    ruled = Rules(restrict, done, reused_last, reused)
    used = _fill_rows(
        problem, ruled, table, situations, part, rows, given, digits, counts, used, np.empty(MAX_RANKS, np.int64),
        control,
    )  # fmt: skip
    return rows, counts, used


@kernel
def _fill_rows(problem, ruled, table, situations, part, rows, given, digits, counts, used, ranks, control):
    """Fill the rows, from the last state inwards.

    Args:
        ruled: Rules.
        ranks: int64[MAX_RANKS], working memory.

    Returns:
        How much of the memory for counts is taken.
    """
    total, items = part.successor.shape
    reuse_bits, layouts, above = situations.reuse_bits, rows.layouts, given.layouts
    has_given, plain = given.start.size > 0, not (ruled.restrict or situations.combined)
    for s in range(total - 1, -1, -1):
        if not part.used[s]:
            continue
        if control[0] != 0:
            break
        layout = np.int64(layouts.of[s])
        first, stop = layouts.first_count[layout], layouts.first_count[layout + 1]
        own, length = layouts.own[layout], stop - first
        cuts, cuts_stop = layouts.first_cut[layout], layouts.first_cut[layout + 1]
        _read_ranks(problem, part.rank_of, part.content_state, part.cut_at, s, ranks)
        for last in range(reuse_bits):
            depth = 1
            for item in range(items):
                if part.successor[s, item] >= 0:
                    depth = max(depth, rows.digits[part.successor[s, item] * reuse_bits + ruled.reused[item]])
            if has_given:
                depth = max(depth, given.digits[part.shared_state[s] * reuse_bits + last])
            counts[used : used + depth * length] = 0
            for item in range(items):
                t = part.successor[s, item]
                row = t * reuse_bits + ruled.reused[item]
                if t < 0 or rows.digits[row] == 0:
                    continue
                if plain and layouts.of[t] == layout:
                    _add_counts(counts, used, rows.start[row], own, rows.digits[row], length)
                elif plain:
                    there = np.int64(layouts.of[t])
                    source = layouts.first_count[there]
                    _add_columns(
                        layouts.column, layouts.base, first, own, length, layouts.column, source, layouts.own[there],
                        layouts.first_count[there + 1] - source, counts, used, rows.start[row], rows.digits[row],
                    )  # fmt: skip
                else:
                    d = part.item_dim[item]
                    _add_row(problem, situations, part, table, layouts, counts, used, s, d, layouts, t, rows.start[row],
                             rows.digits[row])  # fmt: skip
            if has_given:
                t = part.shared_state[s]
                row = t * reuse_bits + last
                if plain:
                    there = np.int64(above.of[t])
                    source, source_stop = above.first_count[there], above.first_count[there + 1]
                    _add_columns(
                        layouts.column, layouts.base, first + own, length - own, length, above.column, source,
                        source_stop - source, source_stop - source, counts, used + own, given.start[row],
                        given.digits[row],
                    )  # fmt: skip
                else:
                    _add_row(problem, situations, part, table, layouts, counts, used, s, -1, above, t, given.start[row],
                             given.digits[row])  # fmt: skip
            position = layouts.position[layout, ruled.done]
            if s == total - 1 and last & ruled.reused_last == ruled.reused_last and position >= 0 and own == length:
                counts[used + position] = 1
            if plain:
                _follow_cuts(
                    situations.cut, layouts.cut, cuts, cuts_stop, ranks, table, layouts.label,
                    layouts.first_label[layout], layouts.labels[layout], counts, used, length, depth,
                )  # fmt: skip
            else:
                _follow_cuts_by_rules(situations, table, layouts, layout, ranks, last, counts, used, length, depth)
            depth = _carry(counts, used, length, depth, digits)
            rows.start[s * reuse_bits + last], rows.digits[s * reuse_bits + last] = used, depth
            used += depth * length
    return used


@kernel
def look_up(rows, situations, counts, s, e, digit):
    """A digit of the count of a state, with no loop reused by the last one, in a situation without labels."""
    layout, row = np.int64(rows.layouts.of[s]), s * situations.reuse_bits
    if layout < 0 or digit >= rows.digits[row] or rows.layouts.position[layout, e] < 0:
        return np.uint64(0)
    length = rows.layouts.first_count[layout + 1] - rows.layouts.first_count[layout]
    return counts[rows.start[row] + digit * length + rows.layouts.position[layout, e]]


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
def _carry(counts, start, length, depth, digits):
    """Keep every digit of a row but the last within its bits; returns how many digits it has then."""
    row = counts[start:]
    if depth < digits:
        last, above = row[(depth - 1) * length : depth * length], np.uint64(0)
        for k in range(length):
            above |= last[k]
        if depth > 1 or above >> np.uint64(DIGIT_BITS) != 0:
            row[depth * length : (depth + 1) * length] = 0
            depth += 1
    for digit in range(depth - 1):
        here, more = row[digit * length : (digit + 1) * length], row[(digit + 1) * length : (digit + 2) * length]
        for k in range(length):
            more[k] += here[k] >> np.uint64(DIGIT_BITS)
            here[k] &= np.uint64((1 << DIGIT_BITS) - 1)
    while depth > 0:
        last, any_bit = row[(depth - 1) * length : depth * length], np.uint64(0)
        for k in range(length):
            any_bit |= last[k]
        if any_bit != 0:
            break
        depth -= 1
    return depth


@leaf
def _add_counts(counts, to, source, number, digits, length):
    """Add counts one behind the other to others; digits lie ``length`` apart."""
    for digit in range(digits):
        here, there = counts[to + digit * length :], counts[source + digit * length :]
        for k in range(number):
            here[k] += there[k]


@leaf
def _add_columns(
    column, base, first, number, length, source_column, source_first, source_number, source_length, counts, to, source,
    digits,
):  # fmt: skip
    """Add a row to another one, each count to that of the same situation with the same label, or the smallest larger.

    Args:
        column, base: int32[...], see ``Layouts``; ``number`` of them from ``first`` on are those at hand.
        length: counts of the row; digits lie so far apart.
        source_...: the same of the row to be added.
        to, source: where the counts begin.
    """
    if source_number == 0:
        return
    j, stop = 0, source_number - 1
    columns, bases, sources = column[first:], base[first:], source_column[source_first:]
    here, there = counts[to:], counts[source:]
    for k in range(number):
        wanted = columns[k]
        if j < stop:
            j += np.int64(sources[j + 1] <= wanted)  # most often one step, which needs no guess
        while j < stop and sources[j + 1] <= wanted:
            j += 1
        found = sources[j]
        there_is = np.uint64(0) - np.uint64((found <= wanted) & (found >= bases[k]))
        here[k] += there[j] & there_is
        for digit in range(1, digits):
            here[digit * length + k] += there[digit * source_length + j] & there_is


@leaf
def _follow_cuts(
    all_cuts, cut, begin, end, ranks, table, label_of, first_label, labels, counts, start, length, depth
):  # fmt: skip
    """Add what cuts at a state lead to, in the row that begins at ``start``.

    Args:
        all_cuts: see ``Situations``.
        cut, begin, end: those of the layout.
        label_of, first_label, labels: its labels.
        length: of the row.
    """
    for n in range(begin, end):
        rank = ranks[cut[n, PLACE]]
        if rank < 0:
            continue
        here, there = start + np.int64(cut[n, HERE]), start + np.int64(cut[n, THERE])
        number = np.int64(cut[n, COUNTS])
        if number == 1 and depth == 1:
            counts[here] += counts[there]
            continue
        if number > 0:
            for digit in range(depth):
                own, more = counts[here + digit * length :], counts[there + digit * length :]
                for a in range(number):
                    own[a] += more[a]
            continue
        static = all_cuts[cut[n, WHICH]]
        kind, next_kind = static[KIND], static[NEXT_KIND]
        following = static[FIRST] + rank * static[STRIDE]
        found, last = 0, 0
        if next_kind >= 0:
            found, last = -1, labels[next_kind] - 1
        number, next_label = 1, table[following:]
        here_label, there_label = label_of, label_of
        if kind >= 0:
            number, here_label = np.int64(labels[kind]), label_of[first_label[kind] :]
        if next_kind >= 0:
            there_label = label_of[first_label[next_kind] :]
        own, more = counts[here:], counts[there:]
        for a in range(number):
            label = np.int64(next_label[here_label[a] if kind >= 0 else 0])
            while found < last and there_label[found + 1] <= label:
                found += 1
            if label >= 0 and found >= 0:
                for digit in range(depth):
                    own[digit * length + a] += more[digit * length + found]


# What follows is the same where rules forbid loops, or where labels of several memories combine.


@kernel
def _add_row(problem, situations, part, table, layouts, counts, to, s, d, sources, t, source, digits):
    """Add a row to that which begins at ``to``: what one more loop leads to, or what is given of a state.

    Args:
        layouts, s: of the row.
        d: dimension of the loop, -1: there is none, what is read from the lattice above is added.
        sources, t, source: layouts of the other row, its state, where it begins.
    """
    layout, source_layout = np.int64(layouts.of[s]), np.int64(sources.of[t])
    length = layouts.first_count[layout + 1] - layouts.first_count[layout]
    source_length = sources.first_count[source_layout + 1] - sources.first_count[source_layout]
    for i in range(layouts.first_entry[layout], layouts.first_entry[layout + 1]):
        e = layouts.situation[i]
        here, there = np.int64(layouts.position[layout, e]), -1
        if d < 0:
            if here >= layouts.own[layout]:
                there = np.int64(sources.position[source_layout, e])
        elif here < layouts.own[layout] and situations.open_loop[e, d]:
            if part.weights_remain[s] and situations.placed[e, W] > 0 and problem.relevance[W, d] != IRRELEVANT:
                continue
            there = np.int64(sources.position[source_layout, e - e % situations.reuse_bits])
        if there >= 0:
            _add_situation(
                situations, layouts, layout, e, sources, source_layout, e, -1, -1, table, counts,
                to + here, length, source + there, source_length, digits,
            )  # fmt: skip


@kernel
def _follow_cuts_by_rules(situations, table, layouts, layout, ranks, last, counts, start, length, depth):
    """Add what cuts at a state lead to, in the row that begins at ``start``.

    Args:
        last: operands (bits) that the last loop reused.
    """
    for n in range(layouts.first_cut[layout], layouts.first_cut[layout + 1]):
        cut = situations.cut[layouts.cut[n, WHICH]]
        rank = ranks[cut[RANK]]
        following, there = cut[FOLLOWING], layouts.cut[n, THERE]
        if cut[REUSE] & ~last != 0:
            following, there = cut[FOLLOWING] | cut[REUSE], layouts.cut[n, THERE_REUSED]
        if rank >= 0 and there >= 0:
            _add_situation(
                situations, layouts, layout, cut[SITUATION], layouts, layout, following, cut[MEMORY],
                cut[FIRST] + rank * cut[STRIDE], table, counts, start + layouts.cut[n, HERE], length, start + there,
                length, depth,
            )  # fmt: skip


@kernel
def _add_situation(
    situations, layouts, layout, e, sources, source_layout, following, memory, next_label, table, counts, here, length,
    there, source_length, digits,
):  # fmt: skip
    """Add the counts of a situation to those of another.

    Args:
        memory: number of the memory at which a cut makes the one the other, -1: none that has labels.
        next_label: where the next labels of that begin in the table.
        here, there: where the counts begin; digits lie ``length`` and ``source_length`` apart.
    """
    combinations = 1
    for kind in situations.kind[e]:
        combinations *= layouts.labels[layout, kind] if kind >= 0 else 1
    for a in range(combinations):
        rest, source, stride = a, 0, 1
        for i in range(situations.labelled.size - 1, -1, -1):
            kind, next_kind = situations.kind[e, i], situations.kind[following, i]
            label = 0
            if kind >= 0:
                number = layouts.labels[layout, kind]
                label = np.int64(layouts.label[layouts.first_label[layout, kind] + rest % number])
                rest //= number
            if i == memory:
                label = np.int64(table[next_label + label])
            found = 0 if label >= 0 else -1
            if next_kind >= 0:
                first, found = sources.first_label[source_layout, next_kind], -1
                while found + 1 < sources.labels[source_layout, next_kind] and (
                    sources.label[first + found + 1] <= label
                ):
                    found += 1
            if found < 0:
                source = -1
            if source >= 0 and next_kind >= 0:
                source += found * stride
                stride *= sources.labels[source_layout, next_kind]
        if source >= 0:
            for digit in range(digits):
                counts[here + digit * length + a] += counts[there + digit * source_length + source]
