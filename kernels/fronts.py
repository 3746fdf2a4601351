"""Lower bounds on what any completion of a partial mapping costs in energy and latency together, as Pareto fronts.

One number for each objective, or a few straight lines (``bounds.add_mix``), say little where a front has steps: there,
whole regions between the steps can be reached by no mapping. So the least that the open boundaries can cost is kept as
a front of its own, energy against the cycles of stalls and loading, for every state and combination of open boundaries.
Fronts that would be too long are replaced by shorter ones that are no worse anywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
from .bounds import MIXED_I, MIXED_W, STALL_LANES
from .goals import TINY, is_dominated
from .paths import count_tuples, first_boundary, tuple_number
from .problem import I, O, W
from .workspace import take

MAX_POINTS = 32  # of each front
ALL_POINTS = 2**22  # of all fronts of a candidate


class Fronts(NamedTuple):
    """A front for each state and combination of open boundaries; without any, none is known."""

    operand: Any  #: int64[1], the input (W or I) whose loading counts, beside that of the output
    count: Any  #: int64[S, tuples], points
    energy_pj: Any  #: float64[S, tuples, n], rising
    cycles: Any  #: float64[S, tuples, n], falling


@allocating
def no_fronts():
    """Nothing is known."""
    return Fronts(np.zeros(1, np.int64), np.empty((0, 0), np.int64), np.empty((0, 0, 0)), np.empty((0, 0, 0)))


@kernel
def points_of_fronts(problem, states):
    """How many points the fronts of a candidate with so many states can have, each and all together."""
    each = min(MAX_POINTS, ALL_POINTS // (states * count_tuples(problem)))
    return each, each * states * count_tuples(problem)


@formula
def loads(fronts, o):
    """Does the loading of this operand count?"""
    return o == O or o == fronts.operand[0]


@allocating
def fill_fronts(problem, lattice, tables, bounds, size, workspace):
    """The ``Fronts`` of a candidate with up to ``size`` points each; the mixed bounds must be there."""
    total, items = lattice.predecessor.shape
    tuples = count_tuples(problem)
    root = tuple_number(problem, problem.levels[W], problem.levels[I], problem.levels[O])
    by_w = bounds.mixed_to_go[total - 1, root, 0, MIXED_W]
    operand = np.zeros(1, np.int64)
    operand[0] = W if by_w > bounds.mixed_to_go[total - 1, root, 0, MIXED_I] else I
    fronts = Fronts(
        operand,
        np.zeros((total, tuples), np.int64),
        take(workspace, (total, tuples, size)),
        take(workspace, (total, tuples, size)),
    )
    strides = np.array([(problem.levels[I] + 1) * problem.levels[O], problem.levels[O], 1])
    room = np.empty((2, 2 * size))
    opened = np.empty(3, np.int64)
    for s in range(total):
        if not lattice.allowed[s]:
            continue
        if s == 0:
            j = tuple_number(problem, 0, 0, 1)
            fronts.count[0, j] = 1
            fronts.energy_pj[0, j, 0] = fronts.cycles[0, j, 0] = 0.0
        for item in range(items):
            t = lattice.predecessor[s, item]
            if t >= 0:
                for j in range(tuples):
                    _join(fronts, s, j, t, j, 0.0, 0.0, room)
        # Boundaries at this state: of W, then of I, then of O.
        for o in range(3):
            for j in range(tuples):
                opened[W] = j // strides[W]
                opened[I] = j // strides[I] % (problem.levels[I] + 1)
                opened[O] = j % problem.levels[O] + 1
                row = problem.first_row[o] + opened[o] - 1
                if opened[o] > first_boundary(o) and tables.fit[row, s]:
                    cycles = bounds.loading[row, s] if loads(fronts, o) else 0.0
                    if bounds.stall_known[0] != 0:
                        cycles += bounds.lane_cycles[row, s, STALL_LANES]
                    _join(fronts, s, j, s, j - strides[o], bounds.energy_pj[row, s], cycles, room)
    return fronts


@kernel
def _join(fronts, s, j, t, i, added_pj, added_cycles, room):
    """Add to the front of (state s, tuple j) that of (t, i), each point with so much added."""
    more = fronts.count[t, i]
    if more == 0:
        return
    energy, cycles = fronts.energy_pj[s, j], fronts.cycles[s, j]
    other_energy, other_cycles = fronts.energy_pj[t, i], fronts.cycles[t, i]
    there = fronts.count[s, j]
    a, b, n = 0, 0, 0
    lowest = np.inf
    while a < there or b < more:
        mine = np.inf if a == there else energy[a]
        others = np.inf if b == more else other_energy[b] + added_pj
        if mine <= others:
            point, its_cycles = mine, cycles[a]
            a += 1
        else:
            point, its_cycles = others, other_cycles[b] + added_cycles
            b += 1
        if its_cycles < lowest:
            if n > 0 and room[0, n - 1] == point:
                n -= 1
            lowest = its_cycles
            room[0, n], room[1, n] = point, its_cycles
            n += 1
    # Of points that are too many, neighbours become one that is as good as the better of them in either.
    kept = min(n, energy.size)
    for place in range(kept):
        energy[place] = room[0, place * n // kept]
        cycles[place] = room[1, (place + 1) * n // kept - 1]
    fronts.count[s, j] = kept


@kernel
def all_dominated(goal, fronts, found, s, j, energy_pj, cycles, least_cycles):
    """Is every mapping that costs so much, and what the front of (state s, tuple j) adds in either, dominated
    by a point that was found? (As ``goals.hopeless`` asks it.)

    Args:
        least_cycles: its latency, at least.
    """
    larger = (1.0 + TINY) * (1.0 + goal.slack)
    for place in range(fronts.count[s, j]):
        energy = energy_pj + fronts.energy_pj[s, j, place]
        latency = max(least_cycles, cycles + fronts.cycles[s, j, place])
        if not is_dominated(found.front, found.count[1], energy * larger, latency * larger):
            return False
    return True
