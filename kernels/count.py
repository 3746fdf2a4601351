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

from ._jit import kernel
from .allocate import fits, held_bits
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import FRACTIONAL, IRRELEVANT, MAX_LEVELS, MAX_LOOPS, MAX_MEMORIES, N_DIMS, O, W, tensor_size, unroll
from .traffic import N_STATE, REDUCES_ABOVE, SIZE, element_bits

DIGIT_BITS = 48  # 64 loops to go on with and 8 x 8 x 8 cuts at one point: at most 2**15 terms before carrying
MAX_CASES = 5000  # counts of one spatial mapping, where rules tie cuts of one operand

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
    width: Any  #: int64[M, 3], distinct amounts of each operand
    shared: Any  #: bool[M], whether there are labels at all


@kernel
def count_candidates(
    problem, rules, unrolling, array_dim, loop_dim, candidates, digits, first, stop, counts, control, progress
):
    """Count the mappings of the candidates first..stop-1.

    Args:
        digits: int64[S], digits of each count.
        counts: uint64[S, D], filled, lowest digit first.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the candidates done.

    Returns:
        COUNTED, or why not.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
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
        if not _count_cases(
            problem, rules, unrolling, states, successor, allowed, item_dim, contents, counts[i, : digits[i]]
        ):
            return TOO_MANY_CASES
        progress[0] += 1
    return COUNTED


@kernel
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
                for d in range(N_DIMS):
                    size[d] = states[sample[c], SIZE + d] * unrolling.below[FRACTIONAL, row, d]
                elements = tensor_size(problem, o, size)
                everything = max(everything, elements)
                for partial_sum in range(2):
                    each = element_bits(problem, o, partial_sum != 0)
                    bits[o, level, partial_sum, c] = held_bits(elements, everything, each, exchanges)
    return Contents(content_state, number, bits, partial)


@kernel
def _count_cases(problem, rules, unrolling, states, successor, allowed, item_dim, contents, result):
    """Add up the counts of all cases: the precision of the output in its top memory, where that matters, and the
    iterations below cuts that bounds tie to the next one.

    Returns:
        Whether the cases are few enough.
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
        return False
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
            _count_paths(
                problem,
                rules,
                unrolling,
                states,
                successor,
                allowed,
                item_dim,
                contents,
                labels,
                table,
                cut_at,
                top_partial if precisions == 3 else -1,
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
    return True


@kernel
def _starts_partial(problem, unrolling, states, contents, level, s):
    """Is a level of the output that takes its loops from state ``s`` on as wide as partial sums? 1 or 0."""
    if contents.partial[O] == 0:
        return 0
    listed = unrolling.lists_reduction[problem.first_row[O] + level] != 0
    return 1 if listed or states[s, REDUCES_ABOVE] != 0.0 else 0


@kernel
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


@kernel
def _labels(problem, unrolling, states, contents, top_partial):
    """Find out what must be remembered of shared memories.

    Returns:
        Whether anything fits at all; the labels; the table of next labels, int64: for a memory, a set of operands cut
        there and one more operand, by label and rank of what it adds; -1 where that does not fit.
    """
    most = contents.number.max()
    rank = np.full((3, MAX_LEVELS, 2, most), -1, np.int64)
    count = np.ones((MAX_MEMORIES, 8), np.int64)
    first = np.zeros((MAX_MEMORIES, 8, 3), np.int64)
    width = np.zeros((MAX_MEMORIES, 3), np.int64)
    shared = np.zeros(MAX_MEMORIES, np.bool_)
    labels = Labels(rank, count, first, width, shared)
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


@kernel
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
        labels.width[memory, o] = different.size
        for partial in range(1 + contents.partial[o]):
            for c in range(contents.number[o]):
                if labels.rank[o, level, partial, c] >= 0:
                    labels.rank[o, level, partial, c] = np.searchsorted(different, contents.bits[o, level, partial, c])
    # Once all operands but one are cut: how many of its amounts fit.
    marks = np.zeros((3, most + 1), np.int64)  # [last operand, amounts that fit]: label + 1
    room = np.zeros(
        (3, 3, width.max(), width.max() if n == 3 else 1), np.int64
    )  # [last, other, amount, third's amount]
    for last in range(n):
        for i in range(n):
            if i == last:
                continue
            third = 3 - last - i
            for a in range(width[i]):
                for b in range(width[third] if n == 3 else 1):
                    taken = complete + amount[i, a] + (amount[third, b] if n == 3 else 0.0)
                    fitting = 0
                    while fitting < width[last] and fits(taken + amount[last, fitting], capacity):
                        fitting += 1
                    room[last, i, a, b] = fitting
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
                start = labels.first[memory, here, cut[last]] + (marks[last, fitting] - 1) * width[last]
                for a in range(width[last]):
                    table[start + a] = 0 if a < fitting else -1
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
                    table[following + table[start + a] * width[j] + b] = marks[k, room[k, i, a, b]] - 1
            j, k = k, j
    return table, used


@kernel
def _extend(table, used, more):
    """Room for more entries; returns the table and how much of it is used with them."""
    if used + more <= table.size:
        return table, used + more
    larger = np.empty(2 * (used + more), table.dtype)
    larger[:used] = table[:used]
    return larger, used + more


@kernel
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


@kernel
def _count_paths(
    problem,
    rules,
    unrolling,
    states,
    successor,
    allowed,
    item_dim,
    contents,
    labels,
    table,
    cut_at,
    top_partial,
    result,
):
    """Count the orders with their allocations: uint64[D], filled.

    Args:
        top_partial: precision of the output in its top memory, which the last cut must lead to; -1: any.
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
                    return
    # Operands with rules on reuse: one bit each of the masks of loops that reuse their tiles.
    bit = np.zeros(3, np.int64)
    reuse_bits = 1
    needed_last = 0
    for o in range(3):
        if rules.stationary[o].any():
            bit[o] = reuse_bits
            reuse_bits *= 2
            if rules.stationary[o, problem.levels[o] - 1] != 0:
                needed_last |= bit[o]
    item_mask = np.zeros(items, np.int64)
    for item in range(items):
        for o in range(3):
            if problem.relevance[o, item_dim[item]] == IRRELEVANT:
                item_mask[item] |= bit[o]
    # Situations: cuts placed of each operand, precision of the output's level, operands that the next loop must reuse.
    step = np.empty(3, np.int64)
    step[O] = 2 * reuse_bits
    step[1] = step[O] * problem.levels[O]
    step[W] = step[1] * problem.levels[1]
    situations = step[W] * problem.levels[W]
    placed = np.empty((situations, 3), np.int64)
    cut_there = np.zeros((situations, MAX_MEMORIES), np.int64)  # operands cut at each memory, as bits
    inner = np.ones((situations, MAX_MEMORIES), np.int64)  # labels of the memories that follow
    only = np.full(situations, -1, np.int64)  # the only memory with labels, if there is one only
    size = np.ones(situations, np.int64)  # labels
    offset = np.zeros(situations + 1, np.int64)
    open_loop = np.ones((situations, items), np.bool_)  # loops that the rules admit next
    for e in range(situations):
        for o in range(3):
            placed[e, o] = e // step[o] % problem.levels[o]
            for item in range(items):
                if rules.most[o, placed[e, o], item_dim[item]] < 2.0:
                    open_loop[e, item] = False
        partly = 0
        for memory in range(problem.memories - 1, -1, -1):
            cut, every = 0, 0
            for i in range(3):
                o = problem.memory_operands[memory, i]
                if o >= 0 and problem.memory_level[memory, o] < problem.levels[o] - 1:
                    every |= 1 << o
                    if placed[e, o] > problem.memory_level[memory, o]:
                        cut |= 1 << o
            if rules.even != 0 and cut != 0 and cut != every:
                open_loop[e, :] = False
            inner[e, memory] = size[e]
            if labels.shared[memory]:
                cut_there[e, memory] = cut if cut != every else 0
                if cut != 0 and cut != every:
                    size[e] *= labels.count[memory, cut]
                    partly += 1
                    only[e] = memory
        if partly != 1:
            only[e] = -1
        for item in range(items):
            if (e % reuse_bits) & ~item_mask[item] != 0:
                open_loop[e, item] = False
        offset[e + 1] = offset[e] + size[e]
    done = step[W] * (problem.levels[W] - 1) + step[1] * (problem.levels[1] - 1) + step[O] * (problem.levels[O] - 1)
    # Which cuts can still be placed, from each state on.
    ahead = cut_at.copy()
    for o in range(3):
        for s in range(total):
            ahead[o, s] |= np.uint8(1 << (problem.levels[o] - 1))
    for s in range(total - 1, -1, -1):
        for item in range(items):
            t = successor[s, item]
            if t >= 0:
                for o in range(3):
                    ahead[o, s] |= ahead[o, t]
    width = offset[situations]
    work = np.zeros((digits, width), np.uint64)
    low = size.copy()  # of the row at work: first label with a count, size: none
    live = np.empty(situations, np.int64)
    block = np.full((total * reuse_bits, situations), -1, np.int64)  # where the counts lie, -1: none
    low_at = np.zeros((total * reuse_bits, situations), np.int64)
    store = np.empty(max(64, 4 * total * digits), np.uint64)
    used = 0
    for s in range(total - 1, -1, -1):
        if not allowed[s]:
            continue
        weights_left = False
        if rules.weights_once != 0:
            for d in range(N_DIMS):
                weights_left |= (
                    problem.relevance[W, d] == IRRELEVANT and states[s, SIZE + d] < states[complete, SIZE + d]
                )
        for last in range(reuse_bits if s > 0 else 1):
            row = s * reuse_bits + last
            n_live = 0
            for w in range(problem.levels[W]):
                if ahead[W, s] & np.uint8(1 << w) == 0:
                    continue
                for i in range(problem.levels[1]):
                    if ahead[1, s] & np.uint8(1 << i) == 0:
                        continue
                    for o in range(problem.levels[O]):
                        if ahead[O, s] & np.uint8(1 << o) == 0:
                            continue
                        for partial in range(1 + contents.partial[O]):
                            if o == problem.levels[O] - 1:
                                if partial != 0:
                                    continue
                            elif partial == 0 and _starts_partial(problem, unrolling, states, contents, o, s) != 0:
                                continue
                            e = step[W] * w + step[1] * i + step[O] * o + reuse_bits * partial
                            for pending in range(reuse_bits):
                                live[n_live] = e + pending
                                n_live += 1
            for j in range(n_live):
                e = live[j]
                pending = e % reuse_bits
                for item in range(items):
                    t = successor[s, item]
                    if t < 0 or not open_loop[e, item]:
                        continue
                    if weights_left and placed[e, W] > 0 and problem.relevance[W, item_dim[item]] != IRRELEVANT:
                        continue
                    source = t * reuse_bits + item_mask[item]
                    start = block[source, e - pending]
                    if start < 0:
                        continue
                    begin = low_at[source, e - pending]
                    length = size[e] - begin
                    if begin < low[e]:
                        for digit in range(digits):
                            work[digit, offset[e] + begin : offset[e] + low[e]] = 0
                        low[e] = begin
                    for digit in range(digits):
                        to = offset[e] + begin
                        for k in range(length):
                            work[digit, to + k] += store[start + digit * length + k]
            if s == complete and last & needed_last == needed_last:
                work[:, offset[done]] = 0
                work[0, offset[done]] = 1
                low[done] = 0
            for turn in range(3):
                o = 2 - turn
                for j in range(n_live - 1, -1, -1):
                    e = live[j]
                    level = placed[e, o]
                    if level == problem.levels[o] - 1 or cut_at[o, s] & np.uint8(1 << level) == 0:
                        continue
                    partial = 0
                    if o == O:
                        partial = e // reuse_bits % 2
                    rank = labels.rank[o, level, partial, contents.content_state[o, s]]
                    if rank < 0:
                        continue
                    following = e + step[o]
                    if o == O:
                        next_partial = _starts_partial(problem, unrolling, states, contents, level + 1, s)
                        if level == problem.levels[O] - 2:
                            if top_partial >= 0 and next_partial != top_partial:
                                continue
                            next_partial = 0
                        following += reuse_bits * (next_partial - partial)
                    if rules.stationary[o, level] != 0 and last & bit[o] == 0:
                        following |= bit[o]
                    if low[following] == size[following]:
                        continue
                    _place_cut(
                        labels,
                        table,
                        problem.chain[o, level],
                        o,
                        rank,
                        e,
                        following,
                        cut_there,
                        inner,
                        size,
                        offset,
                        low,
                        work,
                    )
            store, _ = _extend(store, used, width * digits)
            for j in range(n_live):
                e = live[j]
                if low[e] == size[e]:
                    continue
                for digit in range(digits - 1):
                    for k in range(offset[e] + low[e], offset[e] + size[e]):
                        work[digit + 1, k] += work[digit, k] >> np.uint64(DIGIT_BITS)
                        work[digit, k] &= np.uint64((1 << DIGIT_BITS) - 1)
                block[row, e] = used
                low_at[row, e] = low[e]
                for digit in range(digits):
                    for k in range(offset[e] + low[e], offset[e] + size[e]):
                        store[used] = work[digit, k]
                        used += 1
                low[e] = size[e]
    start = _starts_partial(problem, unrolling, states, contents, 0, 0) * reuse_bits if problem.levels[O] > 1 else 0
    if allowed[0] and block[0, start] >= 0:
        for digit in range(digits):
            result[digit] = store[block[0, start] + digit]


@kernel
def _place_cut(labels, table, memory, o, rank, e, following, cut_there, inner, size, offset, low, work):
    """Add to the counts of a situation those that go on from it by one cut of an operand, here."""
    digits = work.shape[0]
    if not labels.shared[memory]:
        begin = low[following]
        if begin < low[e]:
            for digit in range(digits):
                work[digit, offset[e] + begin : offset[e] + low[e]] = 0
            low[e] = begin
        for digit in range(digits):
            for k in range(begin, size[e]):
                work[digit, offset[e] + k] += work[digit, offset[following] + k]
        return
    cut = cut_there[e, memory]
    here = 1
    if cut != 0:
        here = labels.count[memory, cut]
    there = 1
    if cut_there[following, memory] != 0:
        there = labels.count[memory, cut_there[following, memory]]
    steps = labels.first[memory, cut, o] + rank
    n_inner = inner[e, memory]
    outer = size[e] // (here * n_inner)
    for a in range(outer):
        for label in range(here):
            following_label = table[steps + label * labels.width[memory, o]]
            if following_label < 0:
                continue
            to = (a * here + label) * n_inner
            source = (a * there + following_label) * n_inner
            for k in range(n_inner):
                if source + k < low[following]:
                    continue
                if to + k < low[e]:
                    for digit in range(digits):
                        work[digit, offset[e] + to + k : offset[e] + low[e]] = 0
                    low[e] = to + k
                for digit in range(digits):
                    work[digit, offset[e] + to + k] += work[digit, offset[following] + source + k]
