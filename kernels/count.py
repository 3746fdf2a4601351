"""How many mappings fit every memory and satisfy the rules: counted exactly, without enumerating them.

An order is a path through the lattice, and what a memory holds of an operand depends on the state at its cut alone. So
mappings are counted from the complete state inwards: how many ways there are to go on from a state, once some of the
cuts lie below it. Where several operands share a memory, the cuts that lie below must say how much room they leave: a
label, one for each class of amounts that what follows cannot tell apart. Where all of it fits, there is one class.

What else a mapping must remember is part of the *situation*: for the output, whether its sums are complete where its
level begins; with rules on reuse, whether the last loop reused the tile or the next one must. Bounds on the iterations
within a level tie two cuts of an operand: one count for each number of iterations below the first of them.

Counts are written in digits of DIGIT_BITS bits, which leaves room to add before carrying.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .allocate import fits, held_bits
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, MAX_MEMORIES, N_DIMS, O, W, mirrored, unroll
from .traffic import N_STATE, REDUCES_ABOVE, SIZE, element_bits, tile_content

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying
COMMON = 4  # a situation is common where a quarter of the states may be in it
MAX_CASES = 5000  # counts of one spatial mapping, where rules tie cuts of one operand

# How labels go on with a cut, see ``_place_shared_cut``.
FIRST, HERE, THERE, INNER, OUTER = range(5)

# What may come of the count of a spatial mapping.
COUNTED, STOPPED, TOO_MANY_CASES = range(3)


class Contents(NamedTuple):
    """What the operands' levels may hold. States that differ in irrelevant loops alone are one *content* state."""

    content_state: Any  #: int64[3, S]
    number: Any  #: int64[3], content states of each operand
    bits: Any  #: float64[3, L, 2, C], by precision: complete or partial sums
    partial: Any  #: int64[3], 1: nothing but the output has two precisions


class Labels(NamedTuple):
    """What the cuts below a point say about the room that is left."""

    rank: Any  #: int64[3, L, 2, C], which of the distinct amounts of its memory the level holds; -1: never fits
    count: Any  #: int64[M, 8], labels of a memory for each set of operands cut there (bits)
    first: Any  #: int64[M, 8, 3], where the next labels begin in the table, for one more operand
    shared: Any  #: bool[M], whether there are labels at all


@allocating
def count_candidates(
    problem, rules, unrolling, array_dim, loop_dim, candidates, alike, digits, first, stop, counts, control, progress
):
    """Count the mappings of the candidates first..stop-1.

    Args:
        alike: bool[S], whether x and y play the same role.
        digits: int64[S], digits of each count.
        counts: uint64[S, D], filled, lowest digit first.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the candidates done.

    Returns:
        COUNTED, or why not.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    buffer = np.empty(0, np.uint64)
    for i in range(first, stop):
        if control[0] != 0:
            return STOPPED
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        items, _ = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
        states = np.empty((count_states(rules, items, item_count), N_STATE))
        successor = np.empty((states.shape[0], items), np.int64)
        allowed = np.empty(states.shape[0], np.bool_)
        fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
        allowed_states(rules, states, allowed)
        contents = _contents(problem, rules, unrolling, items, item_dim, item_count, states)
        mirror = _mirror_states(successor, item_dim, item_size) if alike[i] else np.arange(states.shape[0])
        few, buffer = _count_cases(
            problem,
            rules,
            unrolling,
            states,
            successor,
            allowed,
            item_dim,
            mirror,
            contents,
            buffer,
            counts[i, : digits[i]],
        )
        if not few:
            return TOO_MANY_CASES
        progress[0] += 1
    return COUNTED


@allocating
def _mirror_states(successor, item_dim, item_size):
    """The state of which each one is the image, x and y exchanged: int64[S]."""
    total, items = successor.shape
    image = np.zeros(items, np.int64)
    for item in range(items):
        while item_dim[image[item]] != mirrored(item_dim[item]) or item_size[image[item]] != item_size[item]:
            image[item] += 1
    mirror = np.zeros(total, np.int64)
    for s in range(total):
        for item in range(items):
            if successor[s, item] >= 0:
                mirror[successor[s, item]] = successor[mirror[s], image[item]]
    return mirror


@allocating
def _contents(problem, rules, unrolling, items, item_dim, item_count, states):
    """Fill what each level of each operand holds at each of its content states."""
    total = states.shape[0]
    content_state = np.zeros((3, total), np.int64)
    number = np.ones(3, np.int64)
    stride = np.zeros((3, items), np.int64)
    for o in range(3):
        if rules.n_fixed >= 0:
            number[o] = total
            content_state[o] = np.arange(total)
            continue
        for item in range(items):
            if problem.relevance[o, item_dim[item]] != IRRELEVANT:
                stride[o, item] = number[o]
                number[o] *= item_count[item] + 1
    if rules.n_fixed < 0:
        below = np.zeros(items + 1, np.int64)
        here = np.zeros(3, np.int64)
        for s in range(1, total):
            item = 0
            while below[item] == item_count[item]:
                for o in range(3):
                    here[o] -= below[item] * stride[o, item]
                below[item] = 0
                item += 1
            below[item] += 1
            for o in range(3):
                here[o] += stride[o, item]
                content_state[o, s] = here[o]
    bits = np.zeros((3, MAX_LEVELS, 2, number.max()))
    size = np.empty(N_DIMS)
    partial = np.zeros(3, np.int64)
    partial[O] = 1 if problem.bits[2] != problem.bits[3] else 0
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
    return Contents(content_state, number, bits, partial)


@allocating
def _count_cases(problem, rules, unrolling, states, successor, allowed, item_dim, mirror, contents, buffer, result):
    """Add up the counts of all cases: the precision of the output in its top memory, where that matters, and the
    iterations below cuts that bounds tie to the next one.

    Returns:
        Whether the cases are few enough; the working memory ``buffer``, another one if it grew.
    """
    result[:] = 0
    total = states.shape[0]
    tied = np.zeros((3 * MAX_LEVELS * N_DIMS, 3), np.int64)  # (operand, cut, dimension)
    ties = 0
    for o in range(3):
        for level in range(1, problem.levels[o] - 1):
            for d in range(N_DIMS):
                least, most = rules.least[o, level, d], rules.most[o, level, d]
                if rules.bounded[o] != 0 and (least > 1.0 or (most >= 2.0 and most < states[total - 1, SIZE + d])):
                    tied[ties, 0], tied[ties, 1], tied[ties, 2] = o, level - 1, d
                    ties += 1
    sizes = np.ones((ties, total))  # the iterations that there may be below each
    n_sizes = np.ones(ties, np.int64)
    cases = 1.0
    for j in range(ties):
        different = np.unique(states[:, SIZE + tied[j, 2]])
        n_sizes[j] = different.size
        sizes[j, : different.size] = different
        cases *= different.size
    if cases > MAX_CASES:
        return False, buffer
    precisions = _top_precisions(problem, unrolling, states, contents)
    index = np.zeros(ties, np.int64)
    below = np.ones((3, MAX_LEVELS, N_DIMS))  # 0: not tied
    part = np.empty(result.size, np.uint64)
    for top_partial in range(2):
        if precisions & (1 << top_partial) == 0:
            continue
        feasible, labels, table = _labels(problem, unrolling, states, contents, top_partial)
        if not feasible:
            continue
        index[:] = 0
        while True:
            below[:] = 0.0
            for j in range(ties):
                below[tied[j, 0], tied[j, 1], tied[j, 2]] = sizes[j, index[j]]
            cut_at = _cuts_allowed(problem, rules, states, contents, labels, below)
            buffer = _count_paths(
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
                top_partial if precisions == 3 else -1,
                buffer,
                part,
            )
            for digit in range(result.size):
                result[digit] += part[digit]
                if digit + 1 < result.size:
                    result[digit + 1] += result[digit] >> np.uint64(DIGIT_BITS)
                    result[digit] &= np.uint64((1 << DIGIT_BITS) - 1)
            j = 0
            while j < ties:
                index[j] += 1
                if index[j] < n_sizes[j]:
                    break
                index[j] = 0
                j += 1
            if j == ties:
                break
    return True, buffer


@kernel
def _starts_partial(problem, unrolling, states, contents, level, s):
    """Is a level of the output that takes its loops from state ``s`` on as wide as partial sums? 1 or 0."""
    if contents.partial[O] == 0:
        return 0
    listed = unrolling.lists_reduction[problem.first_row[O] + level] != 0
    return 1 if listed or states[s, REDUCES_ABOVE] != 0.0 else 0


@allocating
def _top_precisions(problem, unrolling, states, contents):
    """Precisions of the output in its top memory to count apart (bits 1 << partial); 2 where that makes no difference.

    Where they are both named, the last cut decides which it is.
    """
    top = problem.levels[O] - 1
    if top == 0:
        return 1 << _starts_partial(problem, unrolling, states, contents, 0, 0)
    memory = problem.chain[O, top]
    most = 0.0
    for i in range(3):
        o = problem.memory_operands[memory, i]
        if o >= 0:
            level = problem.memory_level[memory, o]
            most += max(contents.bits[o, level, 0].max(), contents.bits[o, level, 1].max())
    return 2 if contents.partial[O] == 0 or fits(most, problem.memory_size[memory]) else 3


@allocating
def _labels(problem, unrolling, states, contents, top_partial):
    """Find out what must be remembered of shared memories.

    Returns:
        Whether anything fits at all; the labels; the table of next labels, int64: for a memory, a set of operands cut
        there and one more operand, by rank of what it adds and label; -1 where that does not fit.
    """
    most = contents.number.max()
    rank = np.full((3, MAX_LEVELS, 2, most), -1, np.int64)
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
    """Label one shared memory; see ``_labels``. Labels rise with the room that is left."""
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
        table, used = _extend(table, used, found_labels * width[last])
        labels.first[memory, here, cut[last]] = used - found_labels * width[last]
        for fitting in range(1, width[last] + 1):
            if marks[last, fitting] != 0:
                start = labels.first[memory, here, cut[last]] + marks[last, fitting] - 1
                for a in range(width[last]):
                    table[start + a * found_labels] = 0 if a < fitting else -1
    for i in range(n):  # one operand cut
        here = 1 << cut[i]
        table, used = _extend(table, used, width[i])
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
            table, used = _extend(table, used, found_labels * width[j])
            following = used - found_labels * width[j]
            labels.first[memory, here, cut[j]] = following
            for a in range(width[i]):
                for b in range(width[j]):
                    table[following + b * found_labels + table[start + a]] = marks[k, room[k, i, a, b]] - 1
            j, k = k, j
    return table, used


@allocating
def _extend(table, used, more):
    """Room for more entries; returns the table and how much of it is used with them."""
    if used + more <= table.size:
        return table, used + more
    larger = np.empty(2 * (used + more), table.dtype)
    larger[:used] = table[:used]
    return larger, used + more


@allocating
def _cuts_allowed(problem, rules, states, contents, labels, below):
    """Levels of each operand that may end at each state, one bit each: uint8[3, S]. Rules on its iterations included.

    Args:
        below: float64[3, L, 8], iterations that lie below a cut by assumption, 0: any number.
    """
    total = states.shape[0]
    cut_at = np.zeros((3, total), np.uint8)
    for o in range(3):
        levels = problem.levels[o]
        by_content = np.zeros(contents.number[o], np.uint8)
        for level in range(levels - 1):
            for partial in range(1 + contents.partial[o]):
                for c in range(contents.number[o]):
                    if labels.rank[o, level, partial, c] >= 0:
                        by_content[c] |= np.uint8(1 << level)
        for s in range(total):
            cut_at[o, s] = by_content[contents.content_state[o, s]]
        if rules.even != 0:
            for level in range(levels - 1):
                if _is_top_of_another(problem, problem.chain[o, level], o):
                    for s in range(total - 1):
                        cut_at[o, s] &= np.uint8(255 - (1 << level))
        if rules.bounded[o] == 0:
            continue
        for level in range(levels - 1):
            for s in range(total):
                kept = True
                for d in range(N_DIMS):
                    here = states[s, SIZE + d]
                    if below[o, level, d] != 0.0 and here != below[o, level, d]:
                        kept = False
                    if level == 0:
                        kept &= here >= rules.least[o, 0, d] and here <= rules.most[o, 0, d]
                    elif below[o, level - 1, d] != 0.0:
                        factor = here / below[o, level - 1, d]
                        kept &= factor >= rules.least[o, level, d] and factor <= rules.most[o, level, d]
                    if level == levels - 2:
                        factor = states[total - 1, SIZE + d] / here
                        kept &= factor >= rules.least[o, levels - 1, d] and factor <= rules.most[o, levels - 1, d]
                if not kept:
                    cut_at[o, s] &= np.uint8(255 - (1 << level))
    return cut_at


@kernel
def _is_top_of_another(problem, memory, o):
    """Is a memory the top memory of another operand?"""
    for i in range(3):
        other = problem.memory_operands[memory, i]
        if other >= 0 and other != o and problem.memory_level[memory, other] == problem.levels[other] - 1:
            return True
    return False


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
            found += 1 - _starts_partial(problem, unrolling, states, contents, level, s)
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
def _count_paths(
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
                        next_partial = _starts_partial(problem, unrolling, states, contents, level + 1, s)
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
            store, _ = _extend(store, used, situations.width * digits)
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
        first = _starts_partial(problem, unrolling, states, contents, 0, 0) * reuse_bits
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
            possible = _starts_partial(problem, unrolling, states, contents, level, s) == 0
        if possible:
            live[n_live] = e
            n_live += 1
    return n_live


# Parts of arrays are cut out only where nothing counts references.


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
