"""How many mappings fit every memory and satisfy the rules: counted exactly, without enumerating them.

An order is a path through the lattice, and what a memory holds of an operand depends on the state at its cut alone. So
mappings are counted from the complete state inwards: how many ways there are to go on from a state, once some of the
cuts lie below it. Where several operands share a memory, the cuts that lie below must say how much room they leave: a
label, one for each class of amounts that what follows cannot tell apart. Where all of it fits, there is one class.

What else must be remembered is part of the *situation*: for the output, whether its sums are complete where its
level begins; with rules on reuse, whether the last loop reused the tile or the next one must. Bounds on the iterations
within a level tie two cuts of an operand: one count for each number of iterations below the first of them.

What a memory above the array holds depends on the loops above it alone: the layer divided by their iterations. So once
every operand has left the levels of the array itself, there are as many ways to go on from the same loops above,
whatever the spatial mapping. They are counted once, for a lattice that has those of many mappings in it. What is left
of each mapping are the few states at which some operand may still be within the levels of the array (``count_array``).

Counts that may not fit 64 bits are written in digits of DIGIT_BITS bits, which leaves room to add before carrying.
"""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import fits
from .count_array import list_array_states, new_room
from .count_labels import fill_contents, find_labels, has_partial_sums, starts_partial
from .count_lattice import (
    Part,
    cuts_allowed,
    list_common_states,
    list_states,
    partial_levels,
    weights_remain,
)
from .count_layouts import list_layouts
from .count_rows import count_rows, look_up, no_rows
from .count_sets import find_sets, list_steps, no_sets
from .count_shapes import list_shapes
from .count_situations import DIGIT_BITS, list_situations
from .problem import FRACTIONAL, MAX_LEVELS, N_DIMS, O, unroll
from .traffic import SIZE

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
    remaining,
    members,
    most,
    lowest,
    symmetric,
    digits,
    counts,
    buffer,
    control,
    progress,
):
    """Count the mappings of some candidates: of several, where the rules say nothing of orders and tie no cuts, or of
    one, whatever the rules.

    Args:
        remaining: int64[n, 8], temporal iterations of each candidate.
        members: int64[m], which of the candidates.
        most: int64[8], iterations of a lattice that has those of all members in it: theirs divide these.
        lowest: int64[3], see ``array_levels``.
        symmetric: whether x and y play the same role, in the layer and in this lattice.
        digits: of each count.
        counts: uint64[n, D], filled, lowest digit first.
        buffer: uint64[...], working memory.
        control: int64[1], set to nonzero by anybody to stop.
        progress: int64[1], counts the candidates done.

    Returns:
        COUNTED, or why not; the working memory, another one if it grew.
    """
    together = members.size > 1
    array = np.maximum(lowest, 1)
    if together:
        _unroll_above(problem, most, shared_unrolling)
    else:
        unroll(problem, array_dim, loop_dim, candidates[members[0]], shared_unrolling)
        lowest = np.zeros(3, np.int64)
    if together:
        lattice = list_common_states(problem, rules, remaining, members, most, symmetric)
    else:
        lattice = list_states(problem, rules, most)
    states = lattice.states
    complete = states[-1]
    contents = fill_contents(problem, shared_unrolling, states, lattice.content_state, lattice.contents)
    tied, sizes, n_sizes = _tied_cuts(problem, rules, states)
    if n_sizes.astype(np.float64).prod() > MAX_CASES:
        return TOO_MANY_CASES, buffer
    partial_at = partial_levels(problem, shared_unrolling, states)
    remain = weights_remain(problem, rules, states, complete)
    room = new_room(lattice, lowest)
    part_count = np.empty(digits, np.uint64)
    below = np.zeros((3, MAX_LEVELS, N_DIMS))
    for member in members:
        counts[member] = 0
    precisions = _top_precisions(problem, shared_unrolling, states, contents)
    for top_partial in range(2):
        if precisions & (1 << top_partial) == 0:
            continue
        feasible, labels, table = find_labels(problem, contents, lowest, top_partial)
        if not feasible:
            continue
        which = top_partial if precisions == 3 else -1
        situations = list_situations(problem, rules, labels, has_partial_sums(problem), lowest, which)
        steps = list_steps(problem, contents, labels, table, situations)
        inner, outer = situations.possible & situations.inner, situations.possible & ~situations.inner
        index = np.zeros(n_sizes.size, np.int64)
        while True:
            for j in range(index.size):
                below[tied[j, 0], tied[j, 1], tied[j, 2]] = sizes[j, index[j]]
            part = Part(
                lattice.successor,
                lattice.items[:, 0].copy(),
                lattice.used,
                np.empty(0, np.int64),
                lattice.content_state,
                labels.rank,
                cuts_allowed(problem, rules, states, complete, labels.rank, lattice.content_state, below),
                partial_at,
                remain,
            )
            sets = find_sets(table, part, steps, no_sets())
            shapes = list_shapes(problem, situations, outer, array, part, sets.ahead)
            layouts = list_layouts(situations, steps, part.used, shapes, sets.occur)
            shared, buffer, taken = count_rows(
                problem, rules, table, situations, steps, part, shapes, layouts, no_rows(shapes, layouts), digits,
                buffer, 0, control,
            )  # fmt: skip
            for member in members:
                if control[0] != 0:
                    return STOPPED, buffer
                within, within_rows = part, shared
                if together:
                    unroll(problem, array_dim, loop_dim, candidates[member], unrolling)
                    within = list_array_states(problem, rules, unrolling, lowest, lattice, contents, labels, room)
                    sets_within = find_sets(table, within, steps, sets)
                    shapes = list_shapes(problem, situations, inner, array, within, sets_within.ahead)
                    layouts = list_layouts(situations, steps, within.used, shapes, sets_within.occur)
                    within_rows, buffer, _ = count_rows(
                        problem, rules, table, situations, steps, within, shapes, layouts, shared, digits,
                        buffer, taken, control,
                    )  # fmt: skip
                if _top_admits(problem, rules, remaining[member]):
                    _read_count(problem, situations, within, within_rows, shared, buffer, part_count)
                    _add_count(part_count, counts[member, :digits])
            j = 0
            while j < index.size:
                index[j] += 1
                if index[j] < n_sizes[j]:
                    break
                index[j] = 0
                j += 1
            if j == index.size:
                break
    progress[0] += members.size
    return COUNTED, buffer


@kernel
def _read_count(problem, situations, part, rows, shared, counts, result):
    """Read the number of ways from the empty state (uint64[D], filled)."""
    first = 0
    if problem.levels[O] > 1:
        first = (np.int64(part.partial_at[0]) & 1) * situations.reuse_bits
    for digit in range(result.size):
        if part.shared_state.size > 0 and not situations.inner[first]:
            result[digit] = look_up(shared, situations, counts, part.shared_state[0], first, digit)
        else:
            result[digit] = look_up(rows, situations, counts, 0, first, digit)


@kernel
def _top_admits(problem, rules, remaining):
    """May an operand that has one level have all loops there?"""
    for o in range(3):
        if problem.levels[o] == 1 and rules.bounded[o] != 0:
            for d in range(N_DIMS):
                if remaining[d] < rules.least[o, 0, d] or remaining[d] > rules.most[o, 0, d]:
                    return False
    return True


@kernel
def _unroll_above(problem, remaining, out):
    """Describe what memories above the array see of an unrolling that leaves these iterations."""
    for row in range(problem.rows):
        out.lists_reduction[row] = 0
        for d in range(N_DIMS):
            out.below[FRACTIONAL, row, d] = problem.loop_size[d] / remaining[d]


@allocating
def _tied_cuts(problem, rules, states):
    """Find the cuts that bounds on the iterations at a level tie to the next one.

    Returns:
        int64[n, 3]: operand, level that ends with the cut, dimension; float64[n, S]: the iterations that there may be
        below each; int64[n]: how many these are.
    """
    total = states.shape[0]
    tied = np.zeros((3 * MAX_LEVELS * N_DIMS, 3), np.int64)
    ties = 0
    for o in range(3):
        for level in range(1, problem.levels[o] - 1):
            for d in range(N_DIMS):
                least, most = rules.least[o, level, d], rules.most[o, level, d]
                if rules.bounded[o] != 0 and (least > 1.0 or (most >= 2.0 and most < states[total - 1, SIZE + d])):
                    tied[ties, 0], tied[ties, 1], tied[ties, 2] = o, level - 1, d
                    ties += 1
    sizes = np.ones((ties, total))
    n_sizes = np.ones(ties, np.int64)
    for j in range(ties):
        different = np.unique(states[:, SIZE + tied[j, 2]])
        n_sizes[j] = different.size
        sizes[j, : different.size] = different
    return tied[:ties], sizes, n_sizes


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
