"""Shortest paths: the least that the boundaries not yet placed of a partial mapping can cost.

What a boundary costs depends on the state at which it lies (see ``bounds``), so that the least that all open ones can
cost together, from a state inwards, is a shortest path in the lattice: over states and combinations of open boundaries,
*tuples*. All boundaries lie on one order of the loops; the capacity that operands share is relaxed. Of the rules, the
paths know of loops that no level may have, and of tiles that the next loop must reuse.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
from .problem import IRRELEVANT, I, O, W
from .rules import still_at_top
from .workspace import take

ROUNDING = 1e-12  # relative; what the last digits of a product may be worth


class Tables(NamedTuple):
    """What the boundaries of a candidate cost at each state."""

    content: Any  #: float64[R, S], see ``traffic``
    traffic: Any  #: float64[R, S + 1, N_TRAFFIC]
    fit: Any  #: bool[R, S], see ``fill_bounds``
    sensitive: Any  #: bool[R, S]
    lowest: Any  #: int64[S], see ``fill_lowest``
    rules: Any  #: PathRules


class PathRules(NamedTuple):
    """The rules that paths know of; with no tuples, there are none."""

    barred: Any  #: float64[items, tuples], infinite for a loop that may not come between these boundaries, else 0
    barred_lanes: Any  #: uint64[tuples], the same, as lanes (``Lattice.lanes``)
    still_at_top: Any  #: operands (bits) whose tile the outermost loop must reuse: it is irrelevant to them
    still_row: Any  #: int64[R], the operand (bit) of a boundary behind which the next loop inwards must do so
    still_item: Any  #: int64[items], operands (bits) that a loop is irrelevant to
    room: Any  #: float64[tuples], working memory


@formula
def first_boundary(o):
    """The innermost boundary of an operand that can be placed."""
    return 1 if o == O else 0


@formula
def tuple_number(problem, w, i, o):
    """Number of the combination of open boundaries, (w, i, o) of the three operands: those below w, i and o."""
    return (w * (problem.levels[I] + 1) + i) * problem.levels[O] + o - 1


@formula
def count_tuples(problem):
    """How many of these combinations there are."""
    return (problem.levels[W] + 1) * (problem.levels[I] + 1) * problem.levels[O]


@kernel
def fill_lowest(problem, predecessor, allowed, fit, lowest):
    """The lowest combination of open boundaries that matters at each state: what fits neither there nor further out is
    always open.

    Args:
        lowest: int64[S], filled with tuple numbers; those that matter are this one or larger.
    """
    first = problem.first_row
    lowest[:] = 0  # first the boundaries that fit there or further out, as bits by row
    for s in range(lowest.size - 1, -1, -1):
        if allowed[s]:
            for o in range(3):
                for row in range(first[o] + first_boundary(o), first[o] + problem.levels[o]):
                    if fit[row, s]:
                        lowest[s] |= 1 << row
        closed = lowest[s]
        for item in range(predecessor.shape[1]):
            if predecessor[s, item] >= 0:
                lowest[predecessor[s, item]] |= closed
        w, i, o = 0, 0, first_boundary(O)
        while w < problem.levels[W] and closed & (1 << (first[W] + w)) == 0:
            w += 1
        while i < problem.levels[I] and closed & (1 << (first[I] + i)) == 0:
            i += 1
        while o < problem.levels[O] and closed & (1 << (first[O] + o)) == 0:
            o += 1
        lowest[s] = tuple_number(problem, w, i, o)


@allocating
def list_path_rules(problem, rules, lattice, workspace):
    """The ``PathRules`` of a candidate.

    Between two boundaries lie loops of one level of each operand, which may be forbidden there. With even cuts, the
    boundaries on top of a shared memory differ only by loops that are irrelevant to those operands whose boundary lies
    further out.
    """
    items = lattice.item_dim.size
    still_row, at_top = np.zeros(problem.rows, np.int64), still_at_top(problem, rules)
    for o in range(3):
        for k in range(1, problem.levels[o]):
            if rules.stationary[o, k - 1] != 0:
                still_row[problem.first_row[o] + k] = 1 << o
    still_item = np.zeros(items, np.int64)
    for item in range(items):
        for o in range(3):
            if problem.relevance[o, lattice.item_dim[item]] == IRRELEVANT:
                still_item[item] |= 1 << o
    ruled = at_top != 0 or np.any(still_row != 0) or rules.even != 0 or np.any(rules.bounded != 0)
    tuples = count_tuples(problem) if ruled else 0
    barred, barred_lanes = take(workspace, (items, tuples)), np.zeros(tuples, np.uint64)
    barred[:] = 0.0
    opened = np.empty(3, np.int64)
    for j in range(tuples):
        opened[O] = j % problem.levels[O] + 1
        opened[I] = j // problem.levels[O] % (problem.levels[I] + 1)
        opened[W] = j // problem.levels[O] // (problem.levels[I] + 1)
        for item in range(items):
            if _is_barred(problem, rules, opened, lattice.item_dim[item], lattice.item_size[item]):
                barred[item, j] = np.inf
                barred_lanes[j] |= lattice.lanes[item]
    return PathRules(barred, barred_lanes, at_top, still_row, still_item, np.empty(tuples))


@kernel
def _is_barred(problem, rules, opened, d, size):
    """Do rules keep a loop from lying between the open boundaries and the others?

    Args:
        opened: int64[3], how many boundaries of each operand are open.
    """
    for o in range(3):
        level = opened[o] - 1
        if level >= 0 and problem.relevance[o, d] != IRRELEVANT and size > rules.most[o, level, d]:
            return True
    if rules.even == 0:
        return False
    for memory in range(problem.memories):
        open_ones, closed = 0, 0
        for o in range(3):
            level = problem.memory_level[memory, o]
            if level >= 0 and opened[o] > level + 1:
                open_ones |= 1 << o
            elif level >= 0 and problem.relevance[o, d] != IRRELEVANT:
                closed |= 1 << o
        if open_ones != 0 and closed != 0:
            return True
    return False


@kernel
def fill_joint_paths(problem, lattice, tables, cost, paths):
    """The least that all open boundaries together can cost from a state inwards: float64[S, tuples], filled."""
    total, count = paths.shape
    ruled = tables.rules.barred_lanes.size > 0
    for s in range(total):
        here = paths[s]
        lowest = tables.lowest[s] if lattice.allowed[s] else count
        here[:lowest] = np.inf
        if not lattice.allowed[s]:
            continue
        if ruled:
            _join_by_rules(problem, lattice, tables, cost, paths, s, lowest, here)
            continue
        join_inner(lattice.predecessor[s], paths, lowest, here)
        if s == 0:
            here[tuple_number(problem, 0, 0, 1)] = 0.0
        _place_all(problem, tables.fit, cost, s, lowest, 0, here)


@kernel
def _place_all(problem, fit, cost, s, lowest, excluded, here):
    """Lower the least costs at a state by boundaries that lie there: of W, then of I, then of O; but for those of the
    rows ``excluded`` (bits).
    """
    place_inputs(problem, fit, cost, s, lowest, excluded, here)
    filled = here[lowest - lowest % problem.levels[O] :]
    for o in range(1, problem.levels[O]):
        row = problem.first_row[O] + o
        if fit[row, s] and excluded & (1 << row) == 0:
            added = cost[row, s]
            for j in range(0, filled.size, problem.levels[O]):
                filled[j + o] = min(filled[j + o], filled[j + o - 1] + added)


@kernel
def _join_by_rules(problem, lattice, tables, cost, paths, s, lowest, here):
    """Fill the least costs at a state: for each set of operands that the next loop must reuse if any is, those of
    loops and boundaries that it admits.
    """
    rules, predecessor = tables.rules, lattice.predecessor[s]
    filled, room = here[lowest:], rules.room[lowest:]
    filled[:] = np.inf
    least, most = rules.still_at_top if s == paths.shape[0] - 1 else 0, 0
    for row in range(problem.rows):
        if tables.fit[row, s]:
            most |= rules.still_row[row]
    for needed in range(8):
        if needed & ~(least | most) != 0 or least & ~needed != 0:
            continue
        rules.room[:] = np.inf
        for item in range(predecessor.size):
            if predecessor[item] >= 0 and needed & ~rules.still_item[item] == 0:
                inner, barred = paths[predecessor[item], lowest:], rules.barred[item, lowest:]
                for j in range(room.size):
                    room[j] = min(room[j], inner[j] + barred[j])
        if s == 0 and needed == 0:
            rules.room[tuple_number(problem, 0, 0, 1)] = 0.0
        excluded = 0
        for row in range(problem.rows):
            if rules.still_row[row] & ~needed != 0:
                excluded |= 1 << row
        _place_all(problem, tables.fit, cost, s, lowest, excluded, rules.room)
        for j in range(room.size):
            filled[j] = min(filled[j], room[j])


@kernel
def join_inner(predecessor, paths, lowest, here):
    """Fill the least costs at a state (float64[tuples], from ``lowest`` on) with those one step further in.

    Slices, so that loops begin at 0: numba takes other starts for indices that may be negative, and gathers what they
    point to one by one.

    Args:
        predecessor: int64[items], states one step further in, or -1.
    """
    filled = here[lowest:]
    filled[:] = np.inf
    for item in range(predecessor.size):
        if predecessor[item] >= 0:
            inner = paths[predecessor[item], lowest:]
            for j in range(filled.size):
                filled[j] = min(filled[j], inner[j])


@kernel
def place_inputs(problem, fit, cost, s, lowest, excluded, here):
    """Lower the least costs at a state (float64[tuples], from ``lowest`` on) by boundaries of W and I there, but for
    those of the rows ``excluded`` (bits).
    """
    stride_w, stride_i = (problem.levels[I] + 1) * problem.levels[O], problem.levels[O]
    lowest_w, lowest_i = lowest // stride_w, lowest % stride_w // stride_i
    for w in range(lowest_w, problem.levels[W]):
        row = problem.first_row[W] + w
        if fit[row, s] and excluded & (1 << row) == 0:
            added = cost[row, s]
            closed, open_ones = here[w * stride_w : (w + 1) * stride_w], here[(w + 1) * stride_w : (w + 2) * stride_w]
            for j in range(stride_w):
                open_ones[j] = min(open_ones[j], closed[j] + added)
    for i in range(lowest_i, problem.levels[I]):
        row = problem.first_row[I] + i
        if fit[row, s] and excluded & (1 << row) == 0:
            added = cost[row, s]
            for w in range(lowest_w, problem.levels[W] + 1):
                start = w * stride_w + i * stride_i
                both = here[start : start + 2 * stride_i]
                for j in range(stride_i):
                    both[stride_i + j] = min(both[stride_i + j], both[j] + added)


@allocating
def trace_path(problem, predecessor, fit, cost, paths, rows, at):
    """Boundaries of one of the cheapest paths (``fill_joint_paths``): int64[n] each, filled; returns how many.

    There must be a path.
    """
    s = predecessor.shape[0] - 1
    opened = problem.levels.copy()
    n = 0
    found = True
    while found and (s > 0 or opened[W] > 0 or opened[I] > 0 or opened[O] > 1):
        here = tuple_number(problem, opened[W], opened[I], opened[O])
        best = paths[s, here] * (1.0 + ROUNDING)  # the sums may have been added up in another order
        found = False
        for o in range(3):
            row = problem.first_row[o] + opened[o] - 1
            if found or opened[o] == first_boundary(o) or not fit[row, s]:
                continue
            opened[o] -= 1
            if cost[row, s] + paths[s, tuple_number(problem, opened[W], opened[I], opened[O])] <= best:
                rows[n], at[n] = row, s
                n += 1
                found = True
            else:
                opened[o] += 1
        for item in range(predecessor.shape[1]):
            t = predecessor[s, item]
            if not found and t >= 0 and paths[t, here] <= best:
                s = t
                found = True
    return n
