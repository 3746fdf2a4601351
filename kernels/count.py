"""How many mappings fit every memory and satisfy the rules: counted exactly, without enumerating them.

An order is a path through the lattice, and what a memory holds of an operand depends on the state at its cut alone. So
mappings are counted from the complete state inwards: how many ways there are to go on from a state, once some of the
cuts lie below it. Where several operands share a memory, the cuts that lie below must say how much room they leave: a
label, one for each class of amounts that what follows cannot tell apart. Where all of it fits, there is one class.

What else must be remembered is part of the *situation*: for the output, whether its sums are complete where its
level begins; with rules on reuse, whether the last loop reused the tile or the next one must. Bounds on the iterations
within a level tie two cuts of an operand: one count for each number of iterations below the first of them.

Counts that may not fit 64 bits are written in digits of DIGIT_BITS bits, which leaves room to add before carrying.
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import fits
from .count_labels import fill_contents, find_labels, starts_partial
from .count_paths import DIGIT_BITS, count_paths
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import MAX_LEVELS, MAX_LOOPS, MIRROR, N_DIMS, O, unroll
from .traffic import N_STATE, SIZE

MAX_CASES = 5000  # counts of one spatial mapping, where rules tie cuts of one operand

# What may come of the count of a spatial mapping.
COUNTED, STOPPED, TOO_MANY_CASES = range(3)


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
        contents = fill_contents(problem, rules, unrolling, items, item_dim, item_count, states)
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
        feasible, labels, table = find_labels(problem, unrolling, states, contents, top_partial)
        if not feasible:
            continue
        index[:] = 0
        while True:
            below[:] = 0.0
            for j in range(ties):
                below[tied[j, 0], tied[j, 1], tied[j, 2]] = sizes[j, index[j]]
            cut_at = _cuts_allowed(problem, rules, states, contents, labels, below)
            buffer = count_paths(
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


@allocating
def _top_precisions(problem, unrolling, states, contents):
    """Precisions of the output in its top memory to count apart (bits 1 << partial); 2 where that makes no difference.

    Where they are both named, the last cut decides which it is.
    """
    top = problem.levels[O] - 1
    if top == 0:
        return 1 << starts_partial(problem, unrolling, states, contents, 0, 0)
    memory = problem.chain[O, top]
    most = 0.0
    for i in range(3):
        o = problem.memory_operands[memory, i]
        if o >= 0:
            level = problem.memory_level[memory, o]
            most += max(contents.bits[o, level, 0].max(), contents.bits[o, level, 1].max())
    return 2 if contents.partial[O] == 0 or fits(most, problem.memory_size[memory]) else 3


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
