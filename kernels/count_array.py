"""The states of a spatial mapping at which an operand may still be within the levels of the array."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
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


class Room(NamedTuple):
    """Working memory for the states of one spatial mapping."""

    position: Any  #: int32[...], which state each one of the lattice is; -1 everywhere, before and after
    index: Any  #: int64[...], which one each state is
    states: Any  #: float64[..., N_STATE]
    below: Any  #: int8[..., items], how many of each item lie below each state
    elements: Any  #: float64[..., 3, L], see ``_holds_little``


@allocating
def new_room(common, lowest):
    """Room for as many states as there are in the lattice above; see ``list_array_states``."""
    total, items = common.number.size, common.items.shape[0]
    return Room(
        np.full(total, -1, np.int32),
        np.empty(total, np.int64),
        np.empty((total, N_STATE)),
        np.empty((total, items), np.int8),
        np.empty((total, 3, lowest.max())),
    )


@allocating
def list_array_states(problem, rules, unrolling, lowest, common, contents, labels, room):
    """List the empty state and those that hold no more than fits some level of the array.

    With a state, all that lie below it are listed: tiles only grow.

    Args:
        lowest: int64[3], see ``array_levels``.
        common: the lattice above, a CountLattice.
        contents, labels: what it holds.
        room: Room.

    Returns:
        A Part; a step leads to a larger number, the first is the empty one.
    """
    dim, size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    count = np.empty(MAX_LOOPS, np.int64)
    items, _ = lattice_items(problem, rules, unrolling.remaining, dim, size, count)
    complete, tile = np.ones((1, N_STATE)), np.empty(N_DIMS)
    everything = np.zeros((3, lowest.max()))
    for d in range(N_DIMS):
        complete[0, SIZE + d] = unrolling.remaining[d]
        complete[0, CYCLES] *= unrolling.remaining[d]
    below = np.zeros(items, np.int64)
    n = _find_states(problem, unrolling, lowest, dim, size, count, room, below, tile)
    successor, shared_state = np.full((n, items), -1, np.int64), np.zeros(n, np.int64)
    _follow_loops(common, dim, size, count, room, successor, shared_state)
    rank_of = np.full((3, problem.levels.max(), 2, n), -1, np.int64)
    _find_ranks(problem, unrolling, lowest, common, contents, labels, complete, everything, tile, room, shared_state,
                rank_of)  # fmt: skip
    content_state = np.empty((3, n), np.int64)
    content_state[:] = np.arange(n)
    states = room.states[:n]
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


@kernel
def _find_states(problem, unrolling, lowest, dim, size, count, room, below, tile):
    """Find the states; returns how many there are.

    Args:
        dim, size, count: int64[...], the items; ``below``: int64[items], zeros, overwritten.
        tile: float64[8], working memory.
    """
    items = below.size
    n, here = 0, 0
    i, before = 0, -1  # the item that the state has one more of than the one before
    while i < items or n == 0:
        _describe_state(problem, dim, size, count, below, room.states, n)
        if _holds_little(problem, unrolling, lowest, room.states, n, before, tile, room.elements) or n == 0:
            room.index[n], room.position[here] = here, n
            for j in range(items):
                room.below[n, j] = below[j]
            n += 1
            i = 0
        else:  # nor does any with more of this item
            here -= below[i] * _stride(count, i)
            below[i] = 0
            i += 1
        while i < items and below[i] == count[i]:
            here -= below[i] * _stride(count, i)
            below[i] = 0
            i += 1
        if i < items:
            below[i] += 1
            here += _stride(count, i)
            before = room.position[here - _stride(count, i)]
    return n


@formula
def _stride(count, item):
    """States of the lattice between two that differ by one of an item."""
    stride = 1
    for before in range(item):
        stride *= count[before] + 1
    return stride


@kernel
def _follow_loops(common, dim, size, count, room, successor, shared_state):
    """Fill what loops lead to, and the state of the lattice above with the same loops above.

    Args:
        common: the lattice above, a CountLattice.
        dim, size, count: int64[...], the items.
        successor, shared_state: int64[n, items], int64[n], filled; both -1 or 0 before.
    """
    n, items = successor.shape
    first_shared, shared_stride = 0, 1
    for j in range(common.items.shape[0]):
        missing = common.items[j, 2]
        for i in range(items):
            if dim[i] == common.items[j, 0] and size[i] == common.items[j, 1]:
                missing -= count[i]
                for s in range(n):
                    shared_state[s] += room.below[s, i] * shared_stride
        first_shared += missing * shared_stride
        shared_stride *= common.items[j, 2] + 1
    stride = 1
    for i in range(items):
        for s in range(n):
            if room.below[s, i] < count[i]:
                successor[s, i] = room.position[room.index[s] + stride]
        stride *= count[i] + 1
    for s in range(n):
        room.position[room.index[s]] = -1
        shared_state[s] = common.number[first_shared + shared_state[s]]


@kernel
def _find_ranks(
    problem, unrolling, lowest, common, contents, labels, complete, everything, tile, room, shared_state, rank_of
):
    """Fill the ranks of what the levels hold: int64[3, L, 2, n], -1 before.

    Args:
        complete: float64[1, N_STATE], all loops.
        everything: float64[3, L], what the levels of the array hold then, filled.
    """
    for o in range(3):
        for level in range(lowest[o]):
            row = problem.first_row[o] + level + 1
            everything[o, level] = tile_content(problem, unrolling, complete, o, row, 0, tile)
        for level in range(problem.levels[o] - 1):
            memory = problem.chain[o, level]
            exchanges = problem.memory_double_buffered[memory] != 0
            for partial in range(1 + contents.partial[o]):
                bits = element_bits(problem, o, partial != 0)
                for s in range(shared_state.size):
                    if level >= lowest[o]:
                        rank = labels.rank[o, level, partial, common.content_state[o, shared_state[s]]]
                    else:
                        held = held_bits(room.elements[s, o, level], everything[o, level], bits, exchanges)
                        rank = 0 if fits(held, problem.memory_size[memory]) else -1
                    rank_of[o, level, partial, s] = rank


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
