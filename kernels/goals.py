"""What a search looks for, and when a lower bound says that nothing wanted is left."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import formula, kernel
from .problem import MAX_LEVELS, MAX_LOOPS
from .reduce import points_below

# Goals.
ENERGY, LATENCY, PRODUCT, FRONT = range(4)  # PRODUCT: energy x latency ** exponent

#: What is looked for. With a finite bound, only mappings within it count.
GOAL = np.dtype(
    [
        ("kind", np.int64),
        ("exponent", np.float64),
        ("energy_bound_pj", np.float64),
        ("latency_bound_cycles", np.float64),
        ("slack", np.float64),  # how much worse than the optimum a result may be, relative
        ("points_per_chain", np.float64),  # ``fronts`` are filled after a chain for so many of their points
    ],
    align=True,
)

# Statistics of a search, int64[N_STATISTICS].
PRUNED_CANDIDATES, CHAINS, PRUNED_CHAINS, OVERFULL_CHAINS, COMPLETE_CHAINS, COSTED = range(6)
N_STATISTICS = 6

MAPPING = 1 + 2 * MAX_LOOPS + 3 * MAX_LEVELS  # numbers of a mapping

TINY = 1e-12  # relative; bounds add up in another order than costs, and what is better by less is not looked for


class Lower(NamedTuple):
    """What something costs at least."""

    energy_pj: Any
    latency_cycles: Any
    mixed: Any  #: float64[n], pJ, the energy and ``slope`` times the latency together
    slope: Any  #: float64[n], pJ per cycle; n may be 0


class Found(NamedTuple):
    """The mappings that a search has found: one, or for the goal FRONT all points that its front has, or had.

    Both are doubled when they are full.
    """

    best: Any  #: float64[3], value, energy in pJ and latency in cycles of the best; given as what has to be beaten
    count: Any  #: int64[2], mappings kept and points in the front (goal FRONT)
    front: Any  #: POINT[n]; ``rank`` of a point is the number of its mapping, -1 where an earlier search found it
    mappings: Any  #: int64[B, MAPPING], each as its number of loops (-1: no mapping), their dimensions, sizes, and cuts


class Others(NamedTuple):
    """What all workers find, for each other while they run. Each writes its own row of points, then their number.

    A place is that of a candidate in the order in which they are begun; what is found at an earlier one wins against
    equals.
    """

    value: Any  #: float64[1], the best value that anybody knows
    values: Any  #: float64[places], the best value found at each
    place: Any  #: of this search
    rivals: Any  #: int64[n], places whose searches had begun when this one did, but were not done
    points: Any  #: POINT[workers, n] (goal FRONT); ``rank`` is the place
    posted: Any  #: int64[workers], how many there are
    taken: Any  #: int64[workers], how many of them this search knows
    worker: Any  #: the number of this one


@formula
def goal_value(goal, energy_pj, latency_cycles):
    """What is minimised; infinite beyond a bound."""
    if energy_pj > goal.energy_bound_pj or latency_cycles > goal.latency_bound_cycles:
        return np.inf
    return least_value(goal, energy_pj, latency_cycles)


@kernel
def is_dominated(front, n, energy_pj, latency_cycles):
    """Is some point of the front (by rising energy, falling latency) at least as good in both?"""
    low = points_below(front, n, energy_pj)
    return low > 0 and front[low - 1].latency_cycles <= latency_cycles


@kernel
def hopeless(goal, lower, found, best_known):
    """Can nothing that costs at least so much be wanted?

    What a candidate found itself, or one of an earlier place (``found``), wins against equals; against what later ones
    have found (``best_known``) only what is worse for certain is dropped. So the result does not depend on who is
    faster.

    Args:
        lower: ``Lower``.
        found: ``Found``.
        best_known: the best value that anybody knows.
    """
    energy_pj, latency_cycles, mixed, slope = lower
    if energy_pj * (1.0 - TINY) > goal.energy_bound_pj or latency_cycles * (1.0 - TINY) > goal.latency_bound_cycles:
        return True
    for i in range(slope.size):
        if mixed[i] * (1.0 - TINY) > goal.energy_bound_pj + slope[i] * goal.latency_bound_cycles:
            return True
    if goal.kind == FRONT:
        return _all_dominated(found.front, found.count[1], lower, (1.0 + TINY) * (1.0 + goal.slack))
    value = lower_value(goal, lower) * (1.0 + goal.slack)
    return value * (1.0 + TINY) >= found.best[0] or value * (1.0 - TINY) > best_known


@kernel
def lower_value(goal, lower):
    """Least objective, without its bounds, of what costs at least so much (not for the goal FRONT)."""
    energy_pj, latency_cycles, mixed, slope = lower
    value = least_value(goal, energy_pj, latency_cycles)
    for i in range(slope.size):
        # On the line of the mixed bound the objective is least at an end.
        energy_then = max(energy_pj, mixed[i] - slope[i] * min(latency_cycles, goal.latency_bound_cycles))
        cycles_then = max(latency_cycles, (mixed[i] - energy_pj) / slope[i])
        at_ends = min(least_value(goal, energy_pj, cycles_then), least_value(goal, energy_then, latency_cycles))
        value = max(value, at_ends)
    return value


@kernel
def _all_dominated(front, n, lower, larger):
    """Is everything that costs at least so much, times ``larger``, dominated by points of the front?"""
    energy_pj, latency_cycles = lower.energy_pj * larger, lower.latency_cycles * larger
    point = points_below(front, n, energy_pj)
    while point <= n:
        # Not dominated is what has less energy than this point, and less latency than the one before.
        latency_below, energy_below = np.inf, np.inf
        if point > 0:
            latency_below = front[point - 1].latency_cycles
            if latency_below <= latency_cycles:
                return True
        if point < n:
            energy_below = front[point].energy_pj
        beyond = False
        for i in range(lower.slope.size):
            beyond |= lower.mixed[i] * larger >= energy_below + lower.slope[i] * latency_below
        if not beyond:
            return False
        point += 1
    return True


@formula
def least_value(goal, energy_pj, latency_cycles):
    """Objective without its bounds: nothing that costs at least so much has a smaller one."""
    if goal.kind == ENERGY:
        return energy_pj
    if goal.kind == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles**goal.exponent
