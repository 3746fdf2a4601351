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

TINY = 1e-12  # relative; bounds add up in another order than costs


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
def is_dominated(front, n, energy_pj, latency_cycles, strictly):
    """Is some point of the front (by rising energy, falling latency) at least as good in both, or better in one?"""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if front[middle].energy_pj > energy_pj:
            high = middle
        else:
            low = middle + 1
    if low == 0 or front[low - 1].latency_cycles > latency_cycles:
        return False
    return not strictly or front[low - 1].latency_cycles < latency_cycles or front[low - 1].energy_pj < energy_pj


@kernel
def hopeless(goal, energy_pj, latency_cycles, own, shared, front, front_n, others):
    """Can nothing that costs at least so much be wanted?

    Against what was found for other candidates (``shared``, ``others``) only what is worse for certain is dropped, and
    ties are kept: so the result does not depend on who was first.
    """
    energy_pj *= 1.0 - TINY
    latency_cycles *= 1.0 - TINY
    if goal.kind == FRONT:
        if energy_pj > goal.energy_bound_pj or latency_cycles > goal.latency_bound_cycles:
            return True
        energy_pj *= 1.0 + goal.slack
        latency_cycles *= 1.0 + goal.slack
        return is_dominated(front, front_n, energy_pj, latency_cycles, False) or is_dominated(
            others, others.size, energy_pj, latency_cycles, True
        )
    value = goal_value(goal, energy_pj, latency_cycles) * (1.0 + goal.slack)
    return value == np.inf or value >= own or value > shared


@kernel
def least_value(goal, energy_pj, latency_cycles):
    """Objective without its bounds: nothing that costs at least so much has a smaller one."""
    if goal.kind == ENERGY:
        return energy_pj
    if goal.kind == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles**goal.exponent
