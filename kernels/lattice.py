"""States of a loop order: which of the loops lie below a point of it.

The prime factors of the remaining iterations form a multiset of items (loop dimension, factor). A state says how many
of each item lie below; an order is a path from the empty state to the complete one, one item a step. What a boundary
costs depends on its state only, so that a few thousand states describe all of the orders, however many there are.

A lattice is given by two tables: ``states`` (float64[S, N_STATE], see ``traffic``) and ``successor`` (int64[S, items]:
the state one step on, or -1). State 0 is empty, the last is complete, and a step leads to a larger number. A fixed
order is a lattice too: a chain whose items are its loops.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
from .orders import loop_items
from .problem import IRRELEVANT, MAX_LOOPS, N_DIMS, O
from .traffic import CYCLES, CYCLES_ABOVE, N_STATE, REDUCES_ABOVE, SIZE


class Lattice(NamedTuple):
    """Everything that a search asks of the states of a candidate."""

    loops: Any  #: loops of an order
    states: Any  #: float64[S, N_STATE]
    successor: Any  #: int64[S, items], one step outwards, or -1
    predecessor: Any  #: int64[S, items], one step inwards, or -1
    allowed: Any  #: bool[S], by the rules on orders
    ruled: Any  #: whether there are such rules
    packed: Any  #: uint64[S], each state as lanes of bits, one an item with a guard bit on top
    guards: Any  #: uint64, the guard bits
    lanes: Any  #: uint64[items], the lane of each item
    irrelevant: Any  #: uint64[3], lanes of the items that are irrelevant to each operand
    item_dim: Any  #: int64[items]
    item_size: Any  #: int64[items]


@allocating
def build_lattice(problem, rules, remaining):
    """Describe the lattice of these remaining iterations.

    Returns:
        (whether its states can be packed into 64 bits, the lattice)
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    items, loops = lattice_items(problem, rules, remaining, item_dim, item_size, item_count)
    total = count_states(rules, items, item_count)
    states, successor = np.empty((total, N_STATE)), np.empty((total, items), np.int64)
    fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
    predecessor = np.full((total, items), -1, np.int64)
    for s in range(total):
        for item in range(items):
            if successor[s, item] >= 0:
                predecessor[successor[s, item], item] = s
    allowed = np.empty(total, np.bool_)
    allowed_states(rules, states, allowed)
    ruled = rules.n_innermost > 0 or rules.n_outermost > 0 or np.any(rules.inside != 0)
    packed, lanes, irrelevant = np.zeros(total, np.uint64), np.zeros(items, np.uint64), np.zeros(3, np.uint64)
    width, guards = _pack_states(problem, predecessor, item_dim, item_count, packed, lanes, irrelevant)
    lattice = Lattice(
        loops,
        states,
        successor,
        predecessor,
        allowed,
        ruled,
        packed,
        guards,
        lanes,
        irrelevant,
        item_dim[:items],
        item_size[:items],
    )
    return width <= 64, lattice


@allocating
def _pack_states(problem, predecessor, item_dim, item_count, packed, lanes, irrelevant):
    """Fill ``packed``, ``lanes`` and ``irrelevant``; returns the bits that it takes and the guard bits."""
    total, items = predecessor.shape
    guards = np.uint64(0)
    unit = np.zeros(items, np.uint64)
    shift = 0
    for i in range(items):
        width = 1
        while (1 << width) <= item_count[i]:
            width += 1
        if shift + width + 1 <= 64:
            unit[i] = np.uint64(1) << np.uint64(shift)
            guards |= np.uint64(1) << np.uint64(shift + width)
            lanes[i] = np.uint64(((1 << width) - 1) << shift)
            for o in range(3):
                if problem.relevance[o, item_dim[i]] == IRRELEVANT:
                    irrelevant[o] |= lanes[i]
        shift += width + 1
    for s in range(1, total):
        i = 0
        while predecessor[s, i] < 0:
            i += 1
        packed[s] = packed[predecessor[s, i]] + unit[i]
    return shift, guards


@kernel
def lies_below(lattice, s, t):
    """Does state t contain all loops of state s?"""
    return ((lattice.packed[t] | lattice.guards) - lattice.packed[s]) & lattice.guards == lattice.guards


@kernel
def may_come_last(problem, lattice, s, t, operands):
    """May the last loop between two states be irrelevant to each of these operands (bits)?"""
    for item in range(lattice.item_dim.size):
        below = lattice.predecessor[t, item]
        if below >= 0 and lies_below(lattice, s, below) and is_still(problem, operands, lattice.item_dim[item]):
            return True
    return False


@kernel
def is_still(problem, operands, d):
    """Is a loop irrelevant to each of these operands (bits)?"""
    still = True
    for o in range(3):
        still &= operands & (1 << o) == 0 or problem.relevance[o, d] == IRRELEVANT
    return still


@kernel
def all_irrelevant(lattice, o, s, t):
    """Are all loops between two states irrelevant to an operand (s below t)?"""
    return (lattice.packed[t] - lattice.packed[s]) & ~lattice.irrelevant[o] == 0


@kernel
def may_follow(lattice, s, t, closed):
    """Can a loop between two states come first that is relevant to all operands with a boundary at s (``closed``, as
    bits), and that the rules on orders admit there?
    """
    usable = lattice.packed[t] - lattice.packed[s]
    for o in range(3):
        if closed & (1 << o):
            usable &= ~lattice.irrelevant[o]
    if usable == 0 or not lattice.ruled:
        return usable != 0
    for item in range(lattice.lanes.size):
        above = lattice.successor[s, item]
        if above >= 0 and lattice.allowed[above] and usable & lattice.lanes[item] != 0:
            return True
    return False


@allocating
def lattice_items(problem, rules, remaining, item_dim, item_size, item_count):
    """Items of the lattice of these remaining iterations (int64[MAX_LOOPS] each, filled); see ``orders.loop_items``.

    Returns:
        (items, loops); loops is -1 when they are more than MAX_LOOPS, -2 when the fixed order does not multiply to the
        remaining iterations. A layer that is unrolled completely has no loop.
    """
    if rules.n_fixed >= 0:
        for d in range(N_DIMS):
            size = 1
            for p in range(rules.n_fixed):
                if rules.fixed[p, 0] == d:
                    size *= rules.fixed[p, 1]
            if size != remaining[d]:
                return 0, -2
        for p in range(rules.n_fixed):
            item_dim[p], item_size[p], item_count[p] = rules.fixed[p, 0], rules.fixed[p, 1], 1
        return rules.n_fixed, rules.n_fixed
    items, loops = loop_items(
        remaining, problem.dimension_order[: problem.dimensions], rules.limit, item_dim, item_size, item_count
    )
    if items == 1 and item_size[0] == 1:
        return 0, 0
    return items, loops


@formula
def count_states(rules, items, item_count):
    """Number of states."""
    if rules.n_fixed >= 0:
        return items + 1
    total = 1
    for i in range(items):
        total *= item_count[i] + 1
    return total


@allocating
def fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor):
    """Fill the tables, in whatever memory they come: float64[S, N_STATE] and int64[S, items]."""
    total = states.shape[0]
    chain = rules.n_fixed >= 0
    below = np.zeros(items, np.int64)  # of each item, in this state
    stride = np.ones(items, np.int64)
    step = 1
    for i in range(items):
        stride[i] = step if not chain else 1
        step *= item_count[i] + 1
    states[0, :] = 1.0
    for s in range(total):
        if s > 0:
            i = 0
            while below[i] == item_count[i]:
                if chain:
                    i += 1
                    continue
                below[i] = 0
                i += 1
            below[i] += 1
            inner = s - stride[i]
            for column in range(N_STATE):
                states[s, column] = states[inner, column]
            states[s, CYCLES] *= item_size[i]
            states[s, SIZE + item_dim[i]] *= item_size[i]
        reduces = False
        for i in range(items):
            more = below[i] < item_count[i]
            successor[s, i] = s + stride[i] if more and (not chain or i == s) else -1
            reduces |= more and problem.relevance[O, item_dim[i]] == IRRELEVANT
        states[s, REDUCES_ABOVE] = 1.0 if reduces else 0.0
    for s in range(total):
        states[s, CYCLES_ABOVE] = states[total - 1, CYCLES] / states[s, CYCLES]


@allocating
def allowed_states(rules, states, allowed):
    """Which states an order may pass (bool[S], filled) under the rules on orders."""
    total = states.shape[0]
    complete = states[total - 1]
    part = np.empty(N_DIMS)
    for s in range(total):
        allowed[s] = True
        for a in range(N_DIMS):
            for b in range(N_DIMS):
                if rules.inside[a, b] != 0 and states[s, SIZE + b] > 1.0 and states[s, SIZE + a] < complete[SIZE + a]:
                    allowed[s] = False
        if rules.n_innermost > 0:
            for d in range(N_DIMS):
                part[d] = states[s, SIZE + d]
            allowed[s] &= _follows(rules.innermost, rules.n_innermost, part)
        if rules.n_outermost > 0:
            for d in range(N_DIMS):
                part[d] = complete[SIZE + d] / states[s, SIZE + d]
            allowed[s] &= _follows(rules.outermost, rules.n_outermost, part)


@kernel
def _follows(loops, n, part):
    """Is this part of the iterations (float64[8]) what one passes on the way through these loops, or contains them?"""
    for p in range(n):
        d, size = loops[p, 0], loops[p, 1]
        if part[d] % size != 0.0:  # within this loop: a part of it, and nothing else
            if size % part[d] != 0.0:
                return False
            for other in range(N_DIMS):
                if other != d and part[other] != 1.0:
                    return False
            return True
        part[d] /= size
    return True


@kernel
def count_completions(successor, allowed, completions):
    """Number of allowed paths from each state to the last (filled; in the arithmetic of ``completions``' type)."""
    total = successor.shape[0]
    for s in range(total - 1, -1, -1):
        completions[s] = 0
        if not allowed[s]:
            continue
        if s == total - 1:
            completions[s] = 1
        for i in range(successor.shape[1]):
            t = successor[s, i]
            if t >= 0:
                completions[s] += completions[t]


@kernel
def unrank_path(successor, completions, loops, rank, order, state_at):
    """Write the path of this rank, in lexicographic order of the items: int64[loops], int64[loops + 1], filled."""
    state_at[0] = 0
    for p in range(loops):
        for i in range(successor.shape[1]):
            t = successor[state_at[p], i]
            if t < 0 or completions[t] == 0:
                continue
            if rank < completions[t]:
                order[p] = i
                state_at[p + 1] = t
                break
            rank -= completions[t]


@kernel
def rank_path(successor, completions, loops, order):
    """The inverse of ``unrank_path``."""
    rank = completions[0] - completions[0]
    s = 0
    for p in range(loops):
        for i in range(order[p]):
            t = successor[s, i]
            if t >= 0:
                rank += completions[t]
        s = successor[s, order[p]]
    return rank


@kernel
def next_path(successor, completions, loops, order, state_at):
    """Step to the next path in place.

    Returns:
        The first position that changed, or -1 after the last path.
    """
    for p in range(loops - 1, -1, -1):
        for i in range(order[p] + 1, successor.shape[1]):
            t = successor[state_at[p], i]
            if t >= 0 and completions[t] > 0:
                order[p] = i
                state_at[p + 1] = t
                for q in range(p + 1, loops):
                    for j in range(successor.shape[1]):
                        t = successor[state_at[q], j]
                        if t >= 0 and completions[t] > 0:
                            order[q] = j
                            state_at[q + 1] = t
                            break
                return p
    return -1
