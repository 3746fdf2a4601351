"""Costing a complete chain of boundaries: the orders of loops that lead through it and differ in cost."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import cuts_fit
from .cost import LATENCY_CYCLES, N_COSTS, TOTAL_PJ, mapping_cost
from .goals import COSTED, FRONT, TINY, Found, goal_value, hopeless, is_dominated, least_value
from .lattice import is_still, lies_below, may_follow
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, PARTIAL_X, O
from .reduce import POINT, offer_front
from .rules import cuts_even, factors_allowed, reuse_allowed, still_at_top

NO_RUN, FRESH_RUN = -1, -2  # beside the relevances of ``problem``


@allocating
def cost_chain(
    problem,
    rules,
    unrolling,
    scratch,
    lattice,
    tables,
    at,
    last,
    array_pj,
    number,
    goal,
    lower,
    others,
    best_known,
    found,
    last_costed,
    statistics,
    control,
):
    """Cost the orders of a complete chain of boundaries that differ in cost, and keep what is wanted.

    Orders are built from the outermost loop inwards. Inside a segment, between two states with boundaries, only the
    outermost loops matter: as long as some boundary still has a run of loops of one relevance below it. Behind these
    the order is arbitrary, but for the innermost loop of the segment, which must not be irrelevant to the operands with
    a boundary below it. Every order is built where more depends on it: fractional tiles that may be rounded in two
    ways, and rules on factors and on even cuts.

    Args:
        lattice, tables: see ``bounds``.
        at, last: int64[n], the boundaries, innermost first: states, and the operand that each is of.
        lower: ``Lower``, what the chain costs at least.
        best_known: the best value that anybody knows; lowered in ``others``.
        last_costed: stop when so many are costed.
        statistics: COSTED is added to.

    Returns:
        ``found``, perhaps grown.
    """
    states, predecessor = lattice.states, lattice.predecessor
    n = lattice.loops
    # Which of its levels a boundary closes follows from counting.
    boundary = np.empty(at.size, np.int64)
    count = np.zeros(3, np.int64)
    count[O] = 1
    everything = rules.even != 0 or np.any(rules.bounded != 0)
    segment = np.empty(at.size + 1, np.int64)  # states with boundaries, innermost first
    closed = np.zeros(at.size + 1, np.int64)  # operands with a boundary there, as bits
    starts = np.zeros(at.size + 1, np.int64)  # operands for which a level begins there
    still = np.zeros(at.size + 1, np.int64)  # operands whose tile must not change with the loop below
    segments = 1
    segment[0] = 0
    for j in range(at.size):
        o = last[j]
        boundary[j] = count[o]
        count[o] += 1
        if at[j] != segment[segments - 1]:
            segment[segments] = at[j]
            segments += 1
        closed[segments - 1] |= 1 << o
        if boundary[j] > 0:
            starts[segments - 1] |= 1 << o
            if rules.stationary[o, boundary[j] - 1] != 0:
                still[segments - 1] |= 1 << o
            everything |= tables.sensitive[problem.first_row[o] + boundary[j], at[j]]
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    state_at = np.zeros(MAX_LOOPS + 1, np.int64)
    item_at = np.full(MAX_LOOPS + 1, -1, np.int64)  # item tried for the loop below each position
    single = np.zeros(MAX_LOOPS + 1, np.bool_)  # the loop below this position is arbitrary
    segment_at = np.zeros(MAX_LOOPS + 1, np.int64)  # segment of the loop below this position
    run = np.full((MAX_LOOPS + 1, 3), NO_RUN, np.int64)  # relevance of the run of loops above this position
    still_at = np.zeros(MAX_LOOPS + 1, np.int64)  # operands to which the loop below this position must be irrelevant
    cuts = np.zeros((3, MAX_LEVELS), np.int64)
    cost, failure = np.empty(N_COSTS), np.empty(3)
    reachable = np.zeros(states.shape[0] if lattice.ruled else 0, np.bool_)
    p = n  # loops below position p are not chosen yet
    state_at[n] = states.shape[0] - 1
    enter = True
    while True:
        if enter:  # at position p, with state_at[p] and the runs above it known
            enter = False
            valid = True
            j = segment_at[p + 1] if p < n else segments - 1
            at_boundary = segment[j] == state_at[p]
            if at_boundary:
                for o in range(3):
                    if closed[j] & (1 << o) and p < n:
                        valid &= problem.relevance[o, nest_dim[p]] != IRRELEVANT
                    if starts[j] & (1 << o):
                        run[p, o] = FRESH_RUN
            if not valid:
                p += 1
            elif p == 0:
                statistics[COSTED] += 1
                if statistics[COSTED] > last_costed or (statistics[COSTED] % 64 == 0 and control[0] != 0):
                    break
                fits = place_cuts(
                    problem,
                    rules,
                    unrolling,
                    states,
                    tables.content,
                    state_at,
                    nest_dim,
                    n,
                    last,
                    boundary,
                    at,
                    cuts,
                    failure,
                )
                fits = fits and mapping_cost(
                    problem,
                    unrolling,
                    states,
                    tables.content,
                    tables.traffic,
                    state_at,
                    nest_dim,
                    nest_size,
                    n,
                    -1,
                    False,
                    cuts,
                    scratch,
                    cost,
                    failure,
                )
                for o in range(3):
                    fits = fits and reuse_allowed(problem, rules, nest_dim, n, o, scratch.position)
                if fits:
                    energy, latency = cost[TOTAL_PJ] + array_pj, cost[LATENCY_CYCLES]
                    found = _keep(goal, energy, latency, nest_dim, nest_size, cuts, n, number, others, found)
                    if goal.kind == FRONT:
                        least = energy <= lower.energy_pj * (1.0 + TINY)
                        least = least and latency <= lower.latency_cycles * (1.0 + TINY)
                    else:
                        value = least_value(goal, lower.energy_pj, lower.latency_cycles)
                        least = goal_value(goal, energy, latency) <= value * (1.0 + TINY)
                    if least or hopeless(goal, lower, found, best_known):
                        break
                p += 1
            else:
                segment_at[p] = j - 1 if at_boundary else j
                still_at[p] = still[j] if at_boundary else 0
                if p == n:
                    still_at[p] |= still_at_top(problem, rules)
                item_at[p] = -1
                single[p] = not everything
                for o in range(3):
                    single[p] &= run[p, o] == NO_RUN
                if lattice.ruled and (at_boundary or p == n):
                    g = segment_at[p]
                    fill_reachable(lattice, segment[g], closed[g], state_at[p], reachable)
        # Take the next choice for the loop below position p.
        if p > n:
            break
        if single[p] and item_at[p] >= 0:
            p += 1
            continue
        base = segment[segment_at[p]]
        item = item_at[p] + 1
        while item < predecessor.shape[1]:
            t = predecessor[state_at[p], item]
            if t >= 0 and lies_below(lattice, base, t) and is_still(problem, still_at[p], lattice.item_dim[item]):
                if t == base:
                    break
                if lattice.ruled:
                    if reachable[t]:
                        break
                elif may_follow(lattice, base, t, closed[segment_at[p]]):
                    break
            item += 1
        if item == predecessor.shape[1]:
            p += 1
            continue
        item_at[p] = item
        d = lattice.item_dim[item]
        state_at[p - 1] = predecessor[state_at[p], item]
        nest_dim[p - 1], nest_size[p - 1] = d, lattice.item_size[item]
        for o in range(3):
            kind = problem.relevance[o, d]
            above = run[p, o]
            if above == FRESH_RUN:
                run[p - 1, o] = NO_RUN if kind >= PARTIAL_X else kind
            elif above == kind:
                run[p - 1, o] = above
            else:
                run[p - 1, o] = NO_RUN
        p -= 1
        enter = True
    return found


@allocating
def _keep(goal, energy, latency, loop_dim, loop_size, cuts, n, number, others, found):
    """Keep a mapping if it is better than what is known; returns ``found``, perhaps grown."""
    place = 0
    if goal.kind == FRONT:
        if (
            energy > goal.energy_bound_pj
            or latency > goal.latency_bound_cycles
            or is_dominated(found.front, found.count[1], energy, latency)
        ):
            return found
        place = found.count[0]
        found.count[0] += 1
        if place == found.mappings.shape[0]:
            found = _grown(found)
        found = offer_point(found, energy, latency, number, place)
        mine = others.posted[others.worker]
        if mine < others.points.shape[1]:
            others.points[others.worker, mine].energy_pj = energy
            others.points[others.worker, mine].latency_cycles = latency
            others.points[others.worker, mine].rank = others.place
            others.posted[others.worker] = mine + 1
    else:
        value = goal_value(goal, energy, latency)
        if not value * (1.0 + TINY) < found.best[0]:
            return found
        found.best[0], found.best[1], found.best[2] = value, energy, latency
        others.values[others.place] = value
        others.value[0] = min(others.value[0], value)
    row = found.mappings[place]
    row[0] = n
    for q in range(n):
        row[1 + q], row[1 + MAX_LOOPS + q] = loop_dim[q], loop_size[q]
    for o in range(3):
        for level in range(MAX_LEVELS):
            row[1 + 2 * MAX_LOOPS + o * MAX_LEVELS + level] = cuts[o, level]
    return found


@allocating
def offer_point(found, energy, latency, number, place):
    """Add a point to the front; returns ``found``, perhaps grown."""
    if found.count[1] == found.front.size:
        found = _grown(found)
    used = np.zeros(4, np.int64)
    used[3] = found.count[1]
    offer_front(found.front, used, energy, latency, number, place, 0)
    found.count[1] = used[3]
    return found


@allocating
def _grown(found):
    """The same with room for twice as many."""
    front = np.empty(2 * found.front.size, POINT)
    for i in range(found.front.size):
        front[i] = found.front[i]
    mappings = np.empty((2 * found.mappings.shape[0], found.mappings.shape[1]), np.int64)
    for i in range(found.mappings.shape[0]):
        for j in range(found.mappings.shape[1]):
            mappings[i, j] = found.mappings[i, j]
    return Found(found.best, found.count, front, mappings)


@kernel
def fill_reachable(lattice, base, closed, top, reachable):
    """States between ``base`` and ``top`` that an allowed order reaches from ``base`` whose first loop may come first.

    Args:
        closed: operands with a boundary at ``base``, as bits.
        reachable: bool[S], filled from ``base`` to ``top``.
    """
    for s in range(base, top + 1):
        reachable[s] = False
        if not lattice.allowed[s] or not lies_below(lattice, base, s):
            continue
        if s == base:
            reachable[s] = True
            continue
        for item in range(lattice.predecessor.shape[1]):
            t = lattice.predecessor[s, item]
            if t == base:
                reachable[s] |= may_follow(lattice, base, s, closed)
            elif t > base:
                reachable[s] |= reachable[t]


@allocating
def place_cuts(problem, rules, unrolling, states, content, state_at, loop_dim, n, last, boundary, at, cuts, failure):
    """Cuts of a complete order: behind the loops that its boundaries keep still, or, under rules on cuts, the first
    ones in lexicographic order that the rules admit and that fit.

    Returns:
        Whether there are any. ``cuts`` (int64[3, L]) is filled.
    """
    for o in range(3):
        cuts[o, problem.levels[o] - 1] = n
    p = 0
    for j in range(at.size):
        while state_at[p] != at[j]:
            p += 1
        if boundary[j] > 0:
            cuts[last[j], boundary[j] - 1] = p
    ruled = rules.even != 0 or rules.bounded[0] != 0 or rules.bounded[1] != 0 or rules.bounded[2] != 0
    if not ruled and problem.bits[3] <= problem.bits[2]:
        return True
    merged = cuts.copy()
    earliest = cuts.copy()  # the loops between are irrelevant to the operand
    for o in range(3):
        for level in range(problem.levels[o] - 1):
            p = merged[o, level]
            while p > 0 and problem.relevance[o, loop_dim[p - 1]] == IRRELEVANT:
                p -= 1
            earliest[o, level] = p
            cuts[o, level] = max(p, cuts[o, level - 1]) if level > 0 else p
    while True:
        fine = rules.even == 0 or cuts_even(problem, cuts)
        for o in range(3):
            fine = fine and (
                rules.bounded[o] == 0 or factors_allowed(rules, states, state_at, o, problem.levels[o], cuts)
            )
        if fine and cuts_fit(problem, unrolling, states, content, state_at, cuts, failure):
            return True
        # next combination of cuts: non-decreasing, each between its earliest place and its merged one
        moved = False
        for o in range(2, -1, -1):
            for level in range(problem.levels[o] - 2, -1, -1):
                if cuts[o, level] < merged[o, level]:
                    cuts[o, level] += 1
                    for above in range(level + 1, problem.levels[o] - 1):
                        cuts[o, above] = max(earliest[o, above], cuts[o, above - 1])
                    moved = True
                    break
            if moved:
                break
            for level in range(problem.levels[o] - 1):
                cuts[o, level] = max(earliest[o, level], cuts[o, level - 1]) if level > 0 else earliest[o, level]
        if not moved:
            return False
