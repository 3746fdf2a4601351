"""Constraints on orders and allocations, as flat data, and their tests.

Rules on the order alone (``innermost``, ``outermost``, ``inside``) say which *states* an order may pass: see
``lattice.allowed_states``. Rules on the allocation are tested for one operand at a time, on its cuts as the user would
write them; only ``even`` ties operands together. The optimal search, which knows states before it knows orders, drops
what they exclude for certain early (``forbid_boundaries``, ``level_possible``).
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, N_DIMS, W
from .traffic import SIZE

#: What a search may choose from; ``fastmap.rules.lower_rules`` fills one.
RULES = np.dtype(
    [
        ("limit", np.int64),  # largest number of loops, 0: none
        ("fixed", np.int64, (MAX_LOOPS, 2)),  # the one order, (dimension, size) innermost first
        ("n_fixed", np.int64),  # its loops; -1: orders are free
        ("innermost", np.int64, (MAX_LOOPS, 2)),  # orders begin with these, innermost first
        ("n_innermost", np.int64),
        ("outermost", np.int64, (MAX_LOOPS, 2)),  # and end with these, outermost first
        ("n_outermost", np.int64),
        ("inside", np.uint8, (N_DIMS, N_DIMS)),  # [a, b]: every loop of a inside every loop of b
        ("least", np.float64, (3, MAX_LEVELS, N_DIMS)),  # bounds on the temporal factor of each dimension at each
        ("most", np.float64, (3, MAX_LEVELS, N_DIMS)),  # level of each operand
        ("bounded", np.uint8, 3),  # some of the operand's bounds say something
        ("stationary", np.uint8, (3, MAX_LEVELS)),  # the operand's tile at that level must be reused
        ("even", np.uint8),  # operands that share a memory have the same cut there
        ("greedy", np.uint8),  # each order has ZigZag's allocation only
        ("weights_once", np.uint8),  # every weight is written into its lowest memory once
    ],
    align=True,
)


@kernel
def factors_allowed(rules, states, state_at, o, levels, cuts):
    """Do the temporal factors at each level of operand ``o`` keep within their bounds?"""
    below = state_at[0]
    for level in range(levels):
        here = state_at[cuts[o, level]]
        for d in range(N_DIMS):
            factor = states[here, SIZE + d] / states[below, SIZE + d]
            if factor < rules.least[o, level, d] or factor > rules.most[o, level, d]:
                return False
        below = here
    return True


@kernel
def reuse_allowed(problem, rules, loop_dim, n, o, position):
    """Are the tiles that must be stationary so, and are the weights loaded once? ``position``: boundaries by row."""
    first = problem.first_row[o]
    for level in range(problem.levels[o]):
        if rules.stationary[o, level] != 0:
            p = position[first + level + 1]
            if p == 0 or problem.relevance[o, loop_dim[p - 1]] != IRRELEVANT:
                return False
    if o == W and rules.weights_once != 0:
        for p in range(position[first + 1], n):
            if problem.relevance[W, loop_dim[p]] == IRRELEVANT:
                return False
    return True


@kernel
def still_at_top(problem, rules):
    """Operands (bits) whose tile must not change with the outermost loop."""
    operands = 0
    for o in range(3):
        if rules.stationary[o, problem.levels[o] - 1] != 0:
            operands |= 1 << o
    return operands


@kernel
def cuts_even(problem, cuts):
    """Do the operands of each shared memory have the same cut there?"""
    for memory in range(problem.memories):
        common = np.int64(-1)
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            cut = cuts[o, problem.memory_level[memory, o]]
            if common >= 0 and cut != common:
                return False
            common = cut
    return True


@kernel
def forbid_boundaries(problem, rules, states, predecessor, item_dim, fit, energy_pj):
    """Take from the states at which a boundary may lie those that the rules exclude, wherever the other ones lie.

    A boundary is taken to be *merged*: at its cut, or further out behind loops that are irrelevant to its operand.

    Args:
        states, predecessor, item_dim: of a lattice.
        fit: bool[R, S], lowered.
        energy_pj: float64[R, S], infinite where ``fit`` is lowered.
    """
    for o in range(3):
        for k in range(1, problem.levels[o]):
            row = problem.first_row[o] + k
            once = o == W and k == 1 and rules.weights_once != 0
            ruled = once or rules.bounded[o] != 0 or rules.stationary[o, k - 1] != 0
            for s in range(states.shape[0]):
                if not ruled or not fit[row, s]:
                    continue
                allowed = rules.stationary[o, k - 1] == 0
                for item in range(item_dim.size):
                    still = predecessor[s, item] >= 0 and problem.relevance[o, item_dim[item]] == IRRELEVANT
                    allowed |= still
                if once:
                    for d in range(N_DIMS):
                        whole = states[s, SIZE + d] == states[states.shape[0] - 1, SIZE + d]
                        allowed &= whole or problem.relevance[W, d] != IRRELEVANT
                if rules.bounded[o] != 0:
                    allowed &= _still_factors_possible(problem, rules, states, o, k, s)
                if not allowed:
                    fit[row, s] = False
                    energy_pj[row, s] = np.inf
        if rules.bounded[o] != 0:
            for d in range(N_DIMS):
                if problem.relevance[o, d] != IRRELEVANT:
                    _narrow(problem, rules, states, o, d, fit, energy_pj)


@kernel
def _narrow(problem, rules, states, o, d, fit, energy_pj):
    """Drop states of boundaries from whose sizes of a dimension those of the boundaries beside them cannot be reached
    within the bounds on factors: going outwards, then inwards.
    """
    last = states.shape[0] - 1
    low, high = 1.0, 1.0  # sizes at the boundary before
    for k in range(1, problem.levels[o]):
        low, high = low * rules.least[o, k - 1, d], high * rules.most[o, k - 1, d]
        low, high = _keep_between(states, problem.first_row[o] + k, d, low, high, fit, energy_pj)
    low, high = states[last, SIZE + d], states[last, SIZE + d]
    for k in range(problem.levels[o] - 1, 0, -1):
        low, high = low / rules.most[o, k, d], high / rules.least[o, k, d]
        low, high = _keep_between(states, problem.first_row[o] + k, d, low, high, fit, energy_pj)


@kernel
def _keep_between(states, row, d, low, high, fit, energy_pj):
    """Drop states of a boundary with other sizes of a dimension; returns the smallest and the largest that are left."""
    smallest, largest = np.inf, 0.0
    for s in range(states.shape[0]):
        if not fit[row, s]:
            continue
        size = states[s, SIZE + d]
        if low <= size <= high:
            smallest, largest = min(smallest, size), max(largest, size)
        else:
            fit[row, s] = False
            energy_pj[row, s] = np.inf
    return smallest, largest


@kernel
def _still_factors_possible(problem, rules, states, o, k, s):
    """May the levels below boundary k at state s, and those above, keep within the bounds on their factors of
    dimensions that are irrelevant to the operand? The cut may lie further in, behind fewer of their loops.
    """
    for d in range(N_DIMS):
        if problem.relevance[o, d] != IRRELEVANT:
            continue
        least_below, most_above = 1.0, 1.0
        for level in range(problem.levels[o]):
            if level < k:
                least_below *= rules.least[o, level, d]
            else:
                most_above *= rules.most[o, level, d]
        below = states[s, SIZE + d]
        if below < least_below or states[states.shape[0] - 1, SIZE + d] / below > most_above:
            return False
    return True


@kernel
def level_possible(problem, rules, states, o, level, start, end):
    """May a level between two merged boundaries keep within the bounds on its factors?"""
    for d in range(N_DIMS):
        factor = states[end, SIZE + d] / states[start, SIZE + d]
        if problem.relevance[o, d] != IRRELEVANT and (
            factor < rules.least[o, level, d] or factor > rules.most[o, level, d]
        ):
            return False
    return True
