"""Constraints on orders and allocations, as flat data, and their tests.

Rules on the order alone (``innermost``, ``outermost``, ``inside``) say which *states* an order may pass: see
``lattice.allowed_states``. Rules on the allocation are tested for one operand at a time, on its cuts as the user would
write them; only ``even`` ties operands together.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, N_DIMS, W
from .traffic import SIZE

#: What a search may choose from. ``new_rules`` of fastmap.lowering fills one that forbids nothing.
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
