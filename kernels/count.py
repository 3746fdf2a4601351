"""How many mappings fit every memory and satisfy the rules: counted exactly, without enumerating them.

An order is a path through the lattice, and what a memory holds of an operand depends on the state at its cut alone. So
mappings are counted from the complete state inwards: how many ways there are to go on from a state, once some of the
cuts lie below it. Where several operands share a memory, the cuts that lie below must say how much room they leave: a
label, one for each class of amounts that what follows cannot tell apart. Where all of it fits, there is one class.

What else must be remembered is part of the *situation*: for the output, whether its sums are complete where its
level begins; with rules on reuse, whether the last loop reused the tile or the next one must. Bounds on the iterations
within a level tie two cuts of an operand: one count for each number of iterations below the first of them.

Without rules, most of it is the same for many spatial mappings and is counted once (``count_shared``). What is left of
each of them are the few states at which some operand may still be within the levels of the array (``count_array``).

Counts that may not fit 64 bits are written in digits of DIGIT_BITS bits, which leaves room to add before carrying.
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import fits
from .count_array import list_array_states
from .count_labels import fill_contents, find_labels, has_partial_sums, starts_partial
from .count_paths import count_paths
from .count_shared import Shared, count_shared
from .count_situations import DIGIT_BITS, list_situations
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import FRACTIONAL, MAX_LEVELS, MAX_LOOPS, MIRROR, N_DIMS, O, unroll
from .traffic import N_STATE, SIZE

MAX_CASES = 5000  # counts of one spatial mapping, where rules tie cuts of one operand

# What may come of a count.
COUNTED, STOPPED, TOO_MANY_CASES = range(3)


@allocating
def count_group(
    problem,
    rules,
    unrolling,
    shared_unrolling,
    array_dim,
    loop_dim,
    candidates,
    members,
    remaining,
    lowest,
    digits,
    symmetric,
    counts,
    buffer,
    control,
    progress,
):
    """Count the mappings of some candidates, where no rule restricts anything but the order.

    Args:
        members: int64[n], which of the candidates; with rules on the order, a single one.
        remaining: int64[8], temporal iterations of the shared lattice; those of each member divide them.
        lowest: int64[3], see ``array_levels``; a single member is counted rightly whatever they are.
        digits: of each count.
        symmetric: whether x and y play the same role, in the layer and in the shared lattice.
        counts: uint64[S, D], filled, lowest digit first.
        buffer: uint64[...], working memory.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the candidates done.

    Returns:
        COUNTED or STOPPED, and the working memory, another one if it grew.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    if members.size > 1:
        _unroll_above(problem, remaining, shared_unrolling)
    else:
        unroll(problem, array_dim, loop_dim, candidates[members[0]], shared_unrolling)
    items, _ = lattice_items(problem, rules, remaining, item_dim, item_size, item_count)
    states = np.empty((count_states(rules, items, item_count), N_STATE))
    successor = np.empty((states.shape[0], items), np.int64)
    fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
    allowed = np.empty(states.shape[0], np.bool_)
    allowed_states(rules, states, allowed)
    shared_items = np.stack((item_dim[:items], item_size[:items], item_count[:items]), axis=1)
    contents = fill_contents(problem, rules, shared_unrolling, items, item_dim, item_count, states)
    precisions = _top_precisions(problem, shared_unrolling, states, contents)
    mirror = _mirror_states(successor, item_dim, item_size) if symmetric else np.arange(states.shape[0])
    position = np.full(states.shape[0], -1, np.int32)
    part = np.empty(digits, np.uint64)
    for member in members:
        counts[member] = 0
    for top_partial in range(2):
        if precisions & (1 << top_partial) == 0:
            continue
        feasible, labels, table = find_labels(problem, contents, lowest, top_partial)
        if not feasible:
            continue
        which = top_partial if precisions == 3 else -1
        situations = list_situations(problem, rules, labels, has_partial_sums(problem), lowest)
        shared = count_shared(
            problem,
            shared_unrolling,
            states,
            successor,
            allowed,
            mirror,
            contents,
            labels,
            table,
            situations,
            lowest,
            which,
            digits,
            buffer,
        )
        buffer = shared.counts
        for member in members:
            if control[0] != 0:
                return STOPPED, buffer
            unroll(problem, array_dim, loop_dim, candidates[member], unrolling)
            within = list_array_states(problem, rules, unrolling, lowest, shared_items, contents, labels, position)
            count_paths(
                problem,
                rules,
                unrolling,
                within.states,
                within.successor,
                allowed[within.shared_state],
                within.item_dim,
                within.content_state,
                within.rank_of,
                within.cut_at,
                lowest,
                labels,
                table,
                situations,
                which,
                shared,
                within.shared_state,
                part,
            )
            _add_count(part, counts[member, :digits])
    progress[0] += members.size
    return COUNTED, buffer


@allocating
def _mirror_states(successor, item_dim, item_size):
    """Find the state that each one becomes when x and y are exchanged: int64[S]."""
    total, items = successor.shape
    image = np.zeros(items, np.int64)
    for item in range(items):
        while item_dim[image[item]] != MIRROR[item_dim[item]] or item_size[image[item]] != item_size[item]:
            image[item] += 1
    mirror = np.zeros(total, np.int64)
    for s in range(total):
        for item in range(items):
            if successor[s, item] >= 0:
                mirror[successor[s, item]] = successor[mirror[s], image[item]]
    return mirror


@kernel
def _unroll_above(problem, remaining, out):
    """Describe what memories above the array see of an unrolling that leaves these iterations."""
    for row in range(problem.rows):
        out.lists_reduction[row] = 0
        for d in range(N_DIMS):
            out.below[FRACTIONAL, row, d] = problem.loop_size[d] / remaining[d]


@allocating
def count_candidates(
    problem, rules, unrolling, array_dim, loop_dim, candidates, digits, first, stop, counts, control, progress
):
    """Count the mappings of the candidates first..stop-1, whatever the rules.

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
        contents = fill_contents(problem, rules, unrolling, items, item_dim, item_count, states)
        if not _count_cases(
            problem,
            rules,
            unrolling,
            states,
            successor,
            allowed,
            item_dim,
            contents,
            counts[i, : digits[i]],
        ):
            return TOO_MANY_CASES
        progress[0] += 1
    return COUNTED


@allocating
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
    all_levels, nothing = (
        np.full(3, MAX_LEVELS, np.int64),
        Shared(np.empty(0, np.uint64), contents.content_state[0], contents.content_state[0]),
    )
    for top_partial in range(2):
        if precisions & (1 << top_partial) == 0:
            continue
        feasible, labels, table = find_labels(problem, contents, np.zeros(3, np.int64), top_partial)
        if not feasible:
            continue
        situations = list_situations(problem, rules, labels, has_partial_sums(problem), all_levels)
        index[:] = 0
        while True:
            below[:] = 0.0
            for j in range(ties):
                below[tied[j, 0], tied[j, 1], tied[j, 2]] = sizes[j, index[j]]
            cut_at = _cuts_allowed(problem, rules, states, contents, labels, below)
            count_paths(
                problem,
                rules,
                unrolling,
                states,
                successor,
                allowed,
                item_dim,
                contents.content_state,
                labels.rank,
                cut_at,
                all_levels,
                labels,
                table,
                situations,
                top_partial if precisions == 3 else -1,
                nothing,
                contents.content_state[0],
                part,
            )
            _add_count(part, result)
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


@allocating
def _top_precisions(problem, unrolling, states, contents):
    """Precisions of the output in its top memory to count apart (bits 1 << partial); 2 where that makes no difference.

    Where they are both named, the last cut decides which it is.
    """
    top = problem.levels[O] - 1
    if top == 0:
        return 1 << starts_partial(problem, unrolling, states, 0, 0)
    memory = problem.chain[O, top]
    most = 0.0
    for i in range(3):
        o = problem.memory_operands[memory, i]
        if o >= 0:
            level = problem.memory_level[memory, o]
            most += max(contents.bits[o, level, 0].max(), contents.bits[o, level, 1].max())
    return 2 if contents.partial[O] == 0 or fits(most, problem.memory_size[memory]) else 3


@kernel
def _add_count(part, result):
    """Add a count to another one."""
    for digit in range(result.size):
        result[digit] += part[digit]
        if digit + 1 < result.size:
            result[digit + 1] += result[digit] >> np.uint64(DIGIT_BITS)
            result[digit] &= np.uint64((1 << DIGIT_BITS) - 1)


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
