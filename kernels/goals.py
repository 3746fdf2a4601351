"""What a search looks for, and when a lower bound says that nothing wanted is left."""

from __future__ import annotations

import numpy as np

from ._jit import kernel

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
    ],
    align=True,
)

# Statistics of a search, int64[N_STATISTICS].
PRUNED_CANDIDATES, CHAINS, PRUNED_CHAINS, OVERFULL_CHAINS, COMPLETE_CHAINS, COSTED = range(6)
N_STATISTICS = 6

TINY = 1e-12  # relative; bounds add up in another order than costs, and what is better by less is not looked for


@kernel
def goal_value(goal, energy_pj, latency_cycles):
    """What is minimised; infinite beyond a bound."""
    if energy_pj > goal.energy_bound_pj or latency_cycles > goal.latency_bound_cycles:
        return np.inf
    if goal.kind == ENERGY:
        return energy_pj
    if goal.kind == LATENCY:
        return latency_cycles
    if goal.exponent == 1.0:
        return energy_pj * latency_cycles
    return energy_pj * latency_cycles**goal.exponent


@kernel
def is_dominated(front, n, energy_pj, latency_cycles):
    """Is some point of the front (by rising energy, falling latency) at least as good in both?"""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if front[middle].energy_pj > energy_pj:
            high = middle
        else:
            low = middle + 1
    return low > 0 and front[low - 1].latency_cycles <= latency_cycles


@kernel
def hopeless(goal, energy_pj, latency_cycles, own, shared, front, n, others):
    """Can nothing that costs at least so much be wanted?

    Candidates are numbered in the order in which they are begun. What a candidate found itself, or one that was done
    before it began (``own``, ``front``, ``others``), wins against equals; against what others have found meanwhile
    (``shared``) only what is worse for certain is dropped. So the result does not depend on who is faster.

    Args:
        own, shared: values.
        front: POINT, the first ``n`` of which count.
        others: POINT[...].
    """
    if energy_pj * (1.0 - TINY) > goal.energy_bound_pj or latency_cycles * (1.0 - TINY) > goal.latency_bound_cycles:
        return True
    if goal.kind == FRONT:
        energy_pj *= (1.0 + TINY) * (1.0 + goal.slack)
        latency_cycles *= (1.0 + TINY) * (1.0 + goal.slack)
        return is_dominated(front, n, energy_pj, latency_cycles) or is_dominated(
            others, others.size, energy_pj, latency_cycles
        )
    value = least_value(goal, energy_pj, latency_cycles) * (1.0 + goal.slack)
    return value * (1.0 + TINY) >= own or value * (1.0 - TINY) > shared


@kernel
def least_value(goal, energy_pj, latency_cycles):
    """Objective without its bounds: nothing that costs at least so much has a smaller one."""
    if goal.kind == ENERGY:
        return energy_pj
    if goal.kind == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles**goal.exponent
