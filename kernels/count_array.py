"""The states of a spatial mapping at which an operand may still be within the levels of the array."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import fits, held_bits
from .count_labels import has_partial_sums
from .count_lattice import Part, cuts_allowed, partial_levels, weights_remain
from .lattice import lattice_items
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, N_DIMS, O
from .traffic import CYCLES, N_STATE, REDUCES_ABOVE, SIZE, element_bits, tile_content


@allocating
def array_levels(problem, array_dims):
    """Levels of each operand that belong to the array: those below the lowest memory that serves all of its dimensions
    (int64[3]). What the others hold does not depend on the spatial mapping, but for the loops that it leaves.

    All 0 where such a memory is missing, or a memory of the array is shared by operands.
    """
    lowest = np.zeros(3, np.int64)
    for o in range(3):
        for array_dim in range(array_dims):
            level = 0
            while level < problem.levels[o] and problem.serves[problem.chain[o, level], array_dim] == 0:
                level += 1
            lowest[o] = max(lowest[o], level)
    separate = True
    for o in range(3):
        separate &= lowest[o] < problem.levels[o]
        for level in range(min(lowest[o], problem.levels[o])):
            separate &= problem.memory_operands[problem.chain[o, level], 1] < 0
    return lowest if separate else np.zeros(3, np.int64)


@allocating
def list_array_states(problem, rules, unrolling, lowest, common, contents, labels, position):
    """List the empty state and those that hold no more than fits some level of the array.

    With a state, all that lie below it are listed: tiles only grow.

    Args:
        lowest: int64[3], see ``array_levels``.
        common: the lattice above, a CountLattice.
        contents, labels: what it holds.
        position: int32[...], working memory, -1 everywhere, before and after.

    Returns:
        A Part; a step leads to a larger number, the first is the empty one.
    """
    dim, size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    count = np.empty(MAX_LOOPS, np.int64)
    items, _ = lattice_items(problem, rules, unrolling.remaining, dim, size, count)
    stride, shared_stride = np.ones(items, np.int64), np.zeros(items, np.int64)
    total, shared_base, shared_total = 1, 0, 1
    for i in range(items):
        stride[i] = total
        total *= count[i] + 1
    for j in range(common.items.shape[0]):
        more = common.items[j, 2]
        for i in range(items):
            if dim[i] == common.items[j, 0] and size[i] == common.items[j, 1]:
                shared_stride[i] = shared_total
                more -= count[i]
        shared_base += more * shared_total
        shared_total *= common.items[j, 2] + 1
    levels = problem.levels.max()
    most = lowest.max()
    complete = np.ones((1, N_STATE))
    for d in range(N_DIMS):
        complete[0, SIZE + d] = unrolling.remaining[d]
        complete[0, CYCLES] *= unrolling.remaining[d]
    tile = np.empty(N_DIMS)
    everything = np.zeros((3, most))
    for o in range(3):
        for level in range(lowest[o]):
            row = problem.first_row[o] + level + 1
            everything[o, level] = tile_content(problem, unrolling, complete, o, row, 0, tile)
    states, index = np.empty((64, N_STATE)), np.empty(64, np.int64)
    elements = np.empty((64, 3, most))
    n, here = 0, 0
    below = np.zeros(items, np.int64)
    i, before = 0, -1  # the item that the state has one more of than the one before
    while i < items or n == 0:
        if n == states.shape[0]:
            states, index, elements = _twice(states), _twice(index), _twice(elements)
        _describe_state(problem, dim, size, count, below, states, n)
        if _holds_little(problem, unrolling, lowest, states, n, before, tile, elements) or n == 0:
            index[n], position[here] = here, n
            n += 1
            i = 0
        else:  # nor does any with more of this item
            here -= below[i] * stride[i]
            below[i] = 0
            i += 1
        while i < items and below[i] == count[i]:
            here -= below[i] * stride[i]
            below[i] = 0
            i += 1
        if i < items:
            below[i] += 1
            here += stride[i]
            before = position[here - stride[i]]
    successor, shared_state = np.full((n, items), -1, np.int64), np.full(n, shared_base, np.int64)
    for s in range(n):
        rest = index[s]
        for j in range(items):
            of_item = rest % (count[j] + 1)
            rest //= count[j] + 1
            shared_state[s] += of_item * shared_stride[j]
            if of_item < count[j]:
                successor[s, j] = position[index[s] + stride[j]]
    for s in range(n):
        position[index[s]] = -1
        shared_state[s] = common.number[shared_state[s]]
    rank_of = np.full((3, levels, 2, n), -1, np.int64)
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            memory = problem.chain[o, level]
            for partial in range(1 + contents.partial[o]):
                bits = element_bits(problem, o, partial != 0)
                for s in range(n):
                    if level >= lowest[o]:
                        rank = labels.rank[o, level, partial, common.content_state[o, shared_state[s]]]
                    else:
                        exchanges = problem.memory_double_buffered[memory] != 0
                        held = held_bits(elements[s, o, level], everything[o, level], bits, exchanges)
                        rank = 0 if fits(held, problem.memory_size[memory]) else -1
                    rank_of[o, level, partial, s] = rank
    content_state = np.empty((3, n), np.int64)
    content_state[:] = np.arange(n)
    states = states[:n]
    return Part(
        successor,
        dim[:items],
        np.ones(n, np.bool_),
        shared_state,
        content_state,
        rank_of,
        cuts_allowed(problem, rules, states, complete[0], rank_of, content_state, np.zeros((3, MAX_LEVELS, N_DIMS))),
        partial_levels(problem, unrolling, states),
        weights_remain(problem, rules, states, complete[0]),
    )


@allocating
def _twice(table):
    """A table with room for as many rows again."""
    return np.concatenate((table, np.empty_like(table)))


@kernel
def _describe_state(problem, dim, size, count, below, states, s):
    """Fill a row of the table of states: so many of each item lie below."""
    cycles, reduces = 1.0, 0.0
    for d in range(N_DIMS):
        states[s, SIZE + d] = 1.0
    for i in range(below.size):
        for _ in range(below[i]):
            cycles *= size[i]
            states[s, SIZE + dim[i]] *= size[i]
        if below[i] < count[i] and problem.relevance[O, dim[i]] == IRRELEVANT:
            reduces = 1.0
    states[s, CYCLES] = cycles
    states[s, REDUCES_ABOVE] = reduces


@kernel
def _holds_little(problem, unrolling, lowest, states, s, before, tile, elements):
    """Does what lies below a state fit any level of the array at its least precision? The elements are filled; infinity
    where fewer do not fit.

    Args:
        before: a state with one loop less, -1: there is none.
    """
    found = False
    for o in range(3):
        bits = element_bits(problem, o, False)
        if o == O and has_partial_sums(problem):
            bits = min(bits, element_bits(problem, o, True))
        for level in range(lowest[o]):
            capacity = problem.memory_size[problem.chain[o, level]]
            if before >= 0 and not fits(elements[before, o, level] * bits, capacity):
                elements[s, o, level] = np.inf
                continue
            row = problem.first_row[o] + level + 1
            elements[s, o, level] = tile_content(problem, unrolling, states, o, row, s, tile)
            found |= fits(elements[s, o, level] * bits, capacity)
    return found
