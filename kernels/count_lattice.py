"""States of the lattice that the count goes through: all of one spatial mapping, or those that many have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .count_labels import has_partial_sums, starts_partial
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import IRRELEVANT, MAX_LOOPS, MIRROR, N_DIMS, O, W
from .traffic import CYCLES, N_STATE, REDUCES_ABOVE, SIZE


class Part(NamedTuple):
    """A lattice or a part of one, as the count sees it."""

    successor: Any  #: int64[S, items], one step outwards, to a larger number; -1: none
    item_dim: Any  #: int64[items]
    used: Any  #: bool[S], false for those that rules on the order exclude
    shared_state: Any  #: int64[S], the state of the lattice above with the same loops above
    content_state: Any  #: int64[3, S]
    rank_of: Any  #: int64[3, L, 2, C], see ``Labels``; of the levels of an array, 0: it fits
    cut_at: Any  #: uint8[3, S], levels of each operand that may end at a state (bits)
    partial_at: Any  #: uint8[S], levels of the output that would begin with partial sums (bits)
    weights_remain: Any  #: bool[S], whether a rule forbids to load other weights into their lowest memory


class CountLattice(NamedTuple):
    """States with what they hold."""

    states: Any  #: float64[S, N_STATE], see ``traffic``; the last one has all loops below it
    successor: Any  #: int64[S, items]
    used: Any  #: bool[S]
    content_state: Any  #: int64[3, S]: states that differ in irrelevant loops alone are one *content* state
    contents: Any  #: int64[3], content states of each operand; the last one is that of all loops
    items: Any  #: int64[items, 3], dimension, size and number of each item
    number: Any  #: int64[all], which state each one of the lattice is, by its items below, or stands for it; -1: none


@allocating
def list_states(problem, rules, remaining):
    """List the states of one spatial mapping, with these remaining iterations (int64[8])."""
    dim, size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    count = np.empty(MAX_LOOPS, np.int64)
    items, _ = lattice_items(problem, rules, remaining, dim, size, count)
    total = count_states(rules, items, count)
    states, successor = np.empty((total, N_STATE)), np.empty((total, items), np.int64)
    fill_lattice(problem, rules, items, dim, size, count, states, successor)
    used = np.empty(total, np.bool_)
    allowed_states(rules, states, used)
    content_state, contents = np.zeros((3, total), np.int64), np.ones(3, np.int64)
    for o in range(3):
        if rules.n_fixed >= 0:
            content_state[o], contents[o] = np.arange(total), total
            continue
        stride = 1
        for item in range(items):
            if problem.relevance[o, dim[item]] != IRRELEVANT:
                for s in range(total):
                    content_state[o, s] += s // stride % (count[item] + 1) * contents[o]
                contents[o] *= count[item] + 1
            stride *= count[item] + 1
    items_table = np.stack((dim[:items], size[:items], count[:items]), axis=1)
    return CountLattice(states, successor, used, content_state, contents, items_table, np.arange(total))


@allocating
def list_common_states(problem, rules, remaining, members, most, symmetric):
    """List the states of a lattice from which some of the spatial mappings go on.

    Args:
        remaining: int64[n, 8], temporal iterations of each spatial mapping.
        members: int64[m], those at hand; their iterations divide ``most`` (int64[8]), those of the lattice.
        symmetric: whether x and y play the same role; then one of two mirror images stands for both.
    """
    dim, size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    count = np.empty(MAX_LOOPS, np.int64)
    items, _ = lattice_items(problem, rules, most, dim, size, count)
    total = count_states(rules, items, count)
    stride, image_stride = np.ones(items + 1, np.int64), np.ones(items, np.int64)
    for i in range(items):
        stride[i + 1] = stride[i] * (count[i] + 1)
    for i in range(items):
        image = i
        if symmetric:
            image = 0
            while dim[image] != MIRROR[dim[i]] or size[image] != size[i]:
                image += 1
        image_stride[i] = stride[image]
    number = np.full(total, -1, np.int64)  # 0: is needed, for the time being
    for member in members:
        s, image = 0, 0
        for i in range(items):
            rest = most[dim[i]] // remaining[member, dim[i]]
            while rest % size[i] == 0:
                rest //= size[i]
                s += stride[i]
                image += image_stride[i]
        number[max(s, image)] = 0
    below = np.zeros(items, np.int64)
    kept = 0
    image = 0
    for s in range(total):
        if s > 0:
            image += _step(below, count, image_stride)
        if number[s] == 0:
            kept += 1
            for i in range(items):
                if below[i] < count[i]:
                    number[max(s + stride[i], image + image_stride[i])] = 0
    states, successor = np.ones((kept, N_STATE)), np.full((kept, items), -1, np.int64)
    content_state, contents = np.zeros((3, kept), np.int64), np.zeros(3, np.int64)
    content_stride = np.zeros((3, items), np.int64)
    all_contents = np.ones(3, np.int64)
    for o in range(3):
        for i in range(items):
            if problem.relevance[o, dim[i]] != IRRELEVANT:
                content_stride[o, i] = all_contents[o]
                all_contents[o] *= count[i] + 1
    below[:] = 0
    k, image = 0, 0
    for s in range(total):
        if s > 0:
            image += _step(below, count, image_stride)
        if number[s] < 0:
            continue
        number[s] = k
        cycles, reduces = 1.0, 0.0
        for i in range(items):
            for _ in range(below[i]):
                cycles *= size[i]
                states[k, SIZE + dim[i]] *= size[i]
            for o in range(3):
                content_state[o, k] += below[i] * content_stride[o, i]
            if below[i] < count[i]:
                successor[k, i] = max(s + stride[i], image + image_stride[i])
                if problem.relevance[O, dim[i]] == IRRELEVANT:
                    reduces = 1.0
        states[k, CYCLES], states[k, REDUCES_ABOVE] = cycles, reduces
        k += 1
    for k in range(kept):
        for i in range(items):
            if successor[k, i] >= 0:
                successor[k, i] = number[successor[k, i]]
    for o in range(3):
        place = np.full(all_contents[o], -1, np.int64)
        for k in range(kept):
            place[content_state[o, k]] = 0
        for c in range(place.size):
            if place[c] == 0:
                place[c] = contents[o]
                contents[o] += 1
        for k in range(kept):
            content_state[o, k] = place[content_state[o, k]]
    if symmetric:
        below[:] = 0
        image = 0
        for s in range(total):
            if s > 0:
                image += _step(below, count, image_stride)
            if image > s:
                number[s] = number[image]
    items_table = np.stack((dim[:items], size[:items], count[:items]), axis=1)
    return CountLattice(states, successor, np.ones(kept, np.bool_), content_state, contents, items_table, number)


@kernel
def _step(below, count, stride):
    """Step to the next combination of items (int64[items] each); returns what that adds to their sum of strides."""
    more = 0
    i = 0
    while below[i] == count[i]:
        more -= count[i] * stride[i]
        below[i] = 0
        i += 1
    below[i] += 1
    return more + stride[i]


@allocating
def partial_levels(problem, unrolling, states):
    """Levels of the output that begin with partial sums where they begin at each state: uint8[S]."""
    partial_at = np.zeros(states.shape[0], np.uint8)
    if has_partial_sums(problem):
        for level in range(problem.levels[O]):
            for s in range(states.shape[0]):
                if starts_partial(problem, unrolling, states, level, s):
                    partial_at[s] |= np.uint8(1 << level)
    return partial_at


@allocating
def weights_remain(problem, rules, states, complete):
    """Whether weights in their lowest memory must remain there at each state, for other loops reuse them: bool[S]."""
    remain = np.zeros(states.shape[0], np.bool_)
    if rules.weights_once != 0:
        for s in range(states.shape[0]):
            for d in range(N_DIMS):
                remain[s] |= states[s, SIZE + d] < complete[SIZE + d] and problem.relevance[W, d] == IRRELEVANT
    return remain


@allocating
def cuts_allowed(problem, rules, states, complete, rank_of, content_state, below):
    """Levels of each operand that may end at each state, one bit each: uint8[3, S]. What fits, and what rules on the
    iterations of the lowest and the top level admit; on those between, where the iterations below are assumed.

    Args:
        states: float64[S, N_STATE].
        complete: float64[N_STATE], all loops.
        below: float64[3, L, 8], iterations that lie below a cut by assumption, 0: any number.
    """
    total = states.shape[0]
    cut_at = np.zeros((3, total), np.uint8)
    for o in range(3):
        top = problem.levels[o] - 1
        for level in range(top):
            bit = np.uint8(1 << level)
            only_last = rules.even != 0 and _is_top_of_another(problem, problem.chain[o, level], o)
            for s in range(total):
                content = content_state[o, s]
                if rank_of[o, level, 0, content] < 0 and rank_of[o, level, 1, content] < 0:
                    continue
                if only_last and states[s, CYCLES] < complete[CYCLES]:
                    continue
                if rules.bounded[o] == 0 or _within_bounds(rules, states[s], complete, o, level, top, below):
                    cut_at[o, s] |= bit
    return cut_at


@kernel
def _within_bounds(rules, state, complete, o, level, top, below):
    """Do bounds on the iterations at a level, and at the top level above it, admit a cut at a state?"""
    for d in range(N_DIMS):
        here = state[SIZE + d]
        if below[o, level, d] != 0.0 and here != below[o, level, d]:
            return False
        if level == 0 and (here < rules.least[o, 0, d] or (rules.most[o, 0, d] >= 2.0 and here > rules.most[o, 0, d])):
            return False  # where there may be no loop at all, none is admitted (``Situations.open_loop``)
        if level > 0 and below[o, level - 1, d] != 0.0:
            factor = here / below[o, level - 1, d]
            if factor < rules.least[o, level, d] or factor > rules.most[o, level, d]:
                return False
        if level == top - 1:
            factor = complete[SIZE + d] / here
            if factor < rules.least[o, top, d] or factor > rules.most[o, top, d]:
                return False
    return True


@kernel
def _is_top_of_another(problem, memory, o):
    """Is a memory the top memory of another operand?"""
    for i in range(3):
        other = problem.memory_operands[memory, i]
        if other >= 0 and other != o and problem.memory_level[memory, other] == problem.levels[other] - 1:
            return True
    return False
