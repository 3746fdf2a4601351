"""The optimal search: the best mapping of one spatial mapping, proven by bounds.

A mapping's cost depends on its order of loops only through the states at which its boundaries lie, and through the
runs of loops just inside of them. So the search places boundaries, innermost first, on a chain of states, and extends
a chain only while the least that its completions can cost (``bounds``) may still be good enough. Of a complete chain it
costs the orders that differ in their runs, with the one cost function.

Without constraints on cuts an allocation may be taken to be *merged*: a cut before or within a run of loops irrelevant
to its operand costs the same as the cut behind that run, and needs no less room. So a chain lists merged boundaries,
and the loop that follows a boundary is never irrelevant to its operand.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .allocate import cut_bits, cuts_fit, fits
from .bounds import (
    count_tuples,
    fill_bounds,
    fill_joint_paths,
    fill_operand_paths,
    fill_port_bounds,
    first_boundary,
    lies_below,
    pack_states,
    port_cycles,
    tuple_number,
    widest_window,
)
from .cost import LATENCY_CYCLES, N_COSTS, TOTAL_PJ, mapping_cost
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import IRRELEVANT, MAX_LEVELS, MAX_LOOPS, MAX_MEMORIES, PARTIAL_X, I, O, W, unroll
from .reduce import POINT, offer_front
from .rules import cuts_even, factors_allowed, reuse_allowed
from .traffic import CYCLES, CYCLES_ABOVE, ENERGY_PJ, N_STATE, N_TRAFFIC, fill_tables

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

# How a search of one candidate ended.
DONE, STOPPED, TOO_WIDE = range(3)

NO_RUN, FRESH_RUN = -1, -2  # beside the relevances of ``problem``

PORTS = 3  # ports whose load bounds the latency of a chain
MAX_EVENTS = 3 * MAX_LEVELS
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
def choose_ports(problem, states, traffic, fit, chosen):
    """Choose the ports that may bind: those busiest in the best case. Returns how many (at most PORTS)."""
    load = np.zeros(problem.ports)
    for port in range(problem.ports):
        for o in range(3):
            for k in range(first_boundary(o), problem.levels[o]):
                row = problem.first_row[o] + k
                least = np.inf
                for s in range(states.shape[0]):
                    if fit[row, s]:
                        count = states[s, CYCLES_ABOVE]
                        used, _ = port_cycles(problem, traffic, port, o, k, s, np.inf, count)
                        least = min(least, used)
                if least < np.inf:
                    load[port] += least
    n = 0
    while n < PORTS:
        most = -1
        for port in range(problem.ports):
            if load[port] > 0.0 and (most < 0 or load[port] > load[most]):
                most = port
        if most < 0:
            break
        chosen[n] = most
        load[most] = 0.0
        n += 1
    return n


@kernel
def search_candidate(
    problem,
    rules,
    unrolling,
    scratch,
    array_dim,
    loop_dim,
    factors,
    array_pj,
    number,
    goal,
    shared,
    others,
    best,
    front,
    front_n,
    best_dim,
    best_size,
    best_cuts,
    best_loops,
    statistics,
    control,
):
    """Find the best mapping of one candidate spatial mapping, or prove that it has none that is wanted.

    Args:
        factors: int64[n], the spatial loops (array_dim, loop_dim).
        array_pj: energy of the array.
        number: of the candidate, for the front.
        shared: float64[1], the best value that any thread knows; lowered here.
        others: POINT[n], a front of other candidates' points (goal FRONT).
        best: float64[3], value, energy and latency of the best mapping of this candidate: given as infinite, filled.
        front: POINT[n], front_n: the front so far (goal FRONT); ``rank`` of a point is its place in ``best_dim`` etc.
        best_dim, best_size: int64[B, MAX_LOOPS], best_cuts: int64[B, 3, L], best_loops: int64[B], the mappings found;
            B is 1 but for the goal FRONT.
        statistics: int64[N_STATISTICS], added to.
        control: int64[1], set to nonzero by anybody to stop.

    Returns:
        (how it ended, front, number of points in the front, best_dim, best_size, best_cuts, best_loops)
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    unroll(problem, array_dim, loop_dim, factors, unrolling)
    items, n = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
    total = count_states(rules, items, item_count)
    states = np.empty((total, N_STATE))
    successor = np.empty((total, items), np.int64)
    allowed = np.empty(total, np.bool_)
    packed, lanes, irrelevant = np.zeros(total, np.uint64), np.zeros(2, np.uint64), np.zeros(3, np.uint64)
    fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
    allowed_states(rules, states, allowed)
    if not pack_states(problem, rules, items, item_dim, item_count, total, packed, lanes, irrelevant):
        return TOO_WIDE, front, front_n, best_dim, best_size, best_cuts, best_loops
    content = np.empty((problem.rows, total))
    traffic = np.empty((problem.rows, total + 1, N_TRAFFIC))
    fill_tables(problem, unrolling, states, scratch, content, traffic)
    energy_pj = np.empty((problem.rows, total))
    fit, sensitive = np.zeros((problem.rows, total), np.bool_), np.zeros((problem.rows, total), np.bool_)
    fill_bounds(problem, unrolling, states, content, traffic, scratch, energy_pj, fit, sensitive)
    energy_to_go = np.empty((count_tuples(problem), total))
    fill_joint_paths(problem, successor, allowed, fit, energy_pj, energy_to_go)

    # Constant part: the array, and the output leaving it in every cycle.
    base_pj = array_pj + traffic[problem.first_row[O], 0, ENERGY_PJ]
    complete = total - 1
    compute = states[complete, CYCLES] * problem.cycles_per_operation
    root_tuple = tuple_number(problem, 0, 0, 1)
    least_pj = base_pj + energy_to_go[root_tuple, 0]
    if least_pj == np.inf or hopeless(goal, least_pj, compute, np.inf, shared[0], front, front_n, others):
        statistics[PRUNED_CANDIDATES] += 1
        return DONE, front, front_n, best_dim, best_size, best_cuts, best_loops

    ports = np.empty(PORTS, np.int64)
    n_ports = choose_ports(problem, states, traffic, fit, ports)
    ports = ports[:n_ports]
    busy, stalled = np.zeros((n_ports, problem.rows, total)), np.zeros((n_ports, problem.rows, total))
    loading = np.zeros((problem.rows, total))
    fill_port_bounds(problem, states, traffic, fit, ports, busy, stalled, loading)
    depth_levels = MAX_LEVELS + 1
    busy_to_go = np.zeros((n_ports, 3, depth_levels, total))
    stalled_to_go = np.zeros((n_ports, 3, depth_levels, total))
    loading_to_go = np.zeros((3, depth_levels, total))
    for o in range(3):
        for p in range(n_ports):
            fill_operand_paths(problem, successor, allowed, fit, o, busy[p], busy_to_go[p, o])
            fill_operand_paths(problem, successor, allowed, fit, o, stalled[p], stalled_to_go[p, o])
        fill_operand_paths(problem, successor, allowed, fit, o, loading, loading_to_go[o])
    # A port cannot be busy for longer than the run, rounded up to whole cycles of each operation.
    window = states[complete, CYCLES] * np.ceil(problem.cycles_per_operation)

    # One node of the search tree for each boundary placed; node 0 is the empty chain.
    at = np.zeros(MAX_EVENTS + 1, np.int64)  # state
    closed = np.zeros(MAX_EVENTS + 1, np.int64)  # operands with a boundary at this state, as bits
    last = np.zeros(MAX_EVENTS + 1, np.int64)  # operand placed last
    opened = np.zeros((MAX_EVENTS + 1, 3), np.int64)  # innermost open boundary of each operand
    previous = np.zeros((MAX_EVENTS + 1, 3), np.int64)  # state of each operand's last boundary
    node_pj = np.zeros(MAX_EVENTS + 1)
    node_busy, node_stalled = np.zeros((MAX_EVENTS + 1, PORTS)), np.zeros((MAX_EVENTS + 1, PORTS))
    node_loading = np.zeros((MAX_EVENTS + 1, 3))
    node_bits = np.zeros((MAX_EVENTS + 1, MAX_MEMORIES))
    events = 0
    for o in range(3):
        opened[0, o] = first_boundary(o)
        events += problem.levels[o] - first_boundary(o)
    # Children of each node, best bound first.
    width = 3 * total
    child_operand, child_state = np.empty((events, width), np.int64), np.empty((events, width), np.int64)
    child_pj, child_cycles = np.empty((events, width)), np.empty((events, width))
    child_order = np.empty((events, width), np.int64)
    key = np.empty(width)
    children = np.zeros(MAX_EVENTS + 1, np.int64)
    cursor = np.zeros(MAX_EVENTS + 1, np.int64)
    # What the memories hold of the operands whose top they are.
    for o in range(3):
        level = problem.levels[o] - 1
        if level == 0:
            node_bits[0, problem.chain[o, 0]] += cut_bits(problem, unrolling, states, content, o, 0, 0, complete)
    node_pj[0] = base_pj
    period = np.ceil(problem.cycles_per_operation)
    for p in range(n_ports):
        node_busy[0, p], node_stalled[0, p] = port_cycles(
            problem, traffic, ports[p], O, 0, 0, period, states[0, CYCLES_ABOVE]
        )
    predecessor = np.full((total, items), -1, np.int64)
    for s in range(total):
        for item in range(items):
            if successor[s, item] >= 0:
                predecessor[successor[s, item], item] = s
    order_rules = rules.n_innermost > 0 or rules.n_outermost > 0 or np.any(rules.inside != 0)
    depth = 0
    expand = True
    while depth >= 0:
        if expand:
            if control[0] != 0:
                return STOPPED, front, front_n, best_dim, best_size, best_cuts, best_loops
            expand = False
            count = 0
            here = at[depth]
            for o in range(3):
                k = opened[depth, o]
                if k >= problem.levels[o]:
                    continue
                row = problem.first_row[o] + k
                after = tuple_number(
                    problem,
                    opened[depth, W] + (1 if o == W else 0),
                    opened[depth, I] + (1 if o == I else 0),
                    opened[depth, O] + (1 if o == O else 0),
                )
                for s in range(here, total):
                    if not fit[row, s] or energy_to_go[after, s] == np.inf:
                        continue
                    if s == here:
                        if closed[depth] != 0 and o < last[depth]:
                            continue  # boundaries at one state are placed operand by operand
                    else:
                        if not allowed[s] or not lies_below(packed, lanes, here, s):
                            continue
                        between = packed[s] - packed[here]
                        if not _may_follow(between, closed[depth], irrelevant):
                            continue
                        if opened[depth, W] == 0 and between & ~irrelevant[W] != 0:
                            continue
                        if opened[depth, I] == 0 and between & ~irrelevant[I] != 0:
                            continue
                    energy = node_pj[depth] + energy_pj[row, s]
                    lower_pj = energy + energy_to_go[after, s]
                    statistics[CHAINS] += 1
                    if hopeless(goal, lower_pj, compute, best[0], shared[0], front, front_n, others):
                        statistics[PRUNED_CHAINS] += 1
                        continue
                    # Cycles: what is placed, this boundary, and the least of those to come, for each chosen port.
                    begin = previous[depth, o]
                    alone = s != begin and (packed[s] - packed[begin]) & ~irrelevant[o] == 0
                    widest = widest_window(problem, states, traffic, o, k, s, begin, alone)
                    periods = states[s, CYCLES_ABOVE]
                    stall = 0.0
                    for p in range(n_ports):
                        used, waits = port_cycles(problem, traffic, ports[p], o, k, s, widest, periods)
                        used += node_busy[depth, p]
                        waits += node_stalled[depth, p]
                        for other in range(3):
                            open_k = opened[depth, other] + (1 if other == o else 0)
                            used += busy_to_go[p, other, open_k, s]
                            waits += stalled_to_go[p, other, open_k, s]
                        stall = max(stall, max(waits, used - window))
                    load_w, load_i, load_o = node_loading[depth, W], node_loading[depth, I], node_loading[depth, O]
                    load_w += loading_to_go[W, opened[depth, W] + (1 if o == W else 0), s]
                    load_i += loading_to_go[I, opened[depth, I] + (1 if o == I else 0), s]
                    load_o += loading_to_go[O, opened[depth, O] + (1 if o == O else 0), s]
                    if o == W:
                        load_w += loading[row, s]
                    elif o == I:
                        load_i += loading[row, s]
                    else:
                        load_o += loading[row, s]
                    lower_cycles = compute + stall + max(load_w, load_i) + load_o
                    if hopeless(goal, lower_pj, lower_cycles, best[0], shared[0], front, front_n, others):
                        statistics[PRUNED_CHAINS] += 1
                        continue
                    if k > 0:
                        memory = problem.chain[o, k - 1]
                        held = _least_bits(problem, unrolling, states, content, o, k - 1, begin, s)
                        if not fits(node_bits[depth, memory] + held, problem.memory_size[memory]):
                            statistics[OVERFULL_CHAINS] += 1
                            continue
                    child_operand[depth, count] = o
                    child_state[depth, count] = s
                    child_pj[depth, count] = lower_pj
                    child_cycles[depth, count] = lower_cycles
                    if goal.kind == ENERGY:
                        key[count] = lower_pj
                    elif goal.kind == LATENCY:
                        key[count] = lower_cycles
                    else:
                        key[count] = lower_pj * lower_cycles
                    count += 1
            children[depth] = count
            cursor[depth] = 0
            if count > 0:
                child_order[depth, :count] = np.argsort(key[:count], kind="mergesort")
        if cursor[depth] == children[depth]:
            depth -= 1
            continue
        c = child_order[depth, cursor[depth]]
        cursor[depth] += 1
        if hopeless(goal, child_pj[depth, c], child_cycles[depth, c], best[0], shared[0], front, front_n, others):
            statistics[PRUNED_CHAINS] += 1
            continue
        o, s = child_operand[depth, c], child_state[depth, c]
        k = opened[depth, o]
        row = problem.first_row[o] + k
        below = depth
        depth += 1
        at[depth] = s
        closed[depth] = (closed[below] if s == at[below] else 0) | (1 << o)
        last[depth] = o
        for other in range(3):
            opened[depth, other] = opened[below, other]
            previous[depth, other] = previous[below, other]
            node_loading[depth, other] = node_loading[below, other]
        node_pj[depth] = node_pj[below] + energy_pj[row, s]
        begin = previous[below, o]
        alone = s != begin and (packed[s] - packed[begin]) & ~irrelevant[o] == 0
        widest = widest_window(problem, states, traffic, o, k, s, begin, alone)
        for p in range(n_ports):
            used, waits = port_cycles(problem, traffic, ports[p], o, k, s, widest, states[s, CYCLES_ABOVE])
            node_busy[depth, p] = node_busy[below, p] + used
            node_stalled[depth, p] = node_stalled[below, p] + waits
        node_loading[depth, o] += loading[row, s]
        for memory in range(problem.memories):
            node_bits[depth, memory] = node_bits[below, memory]
        if k > 0:
            node_bits[depth, problem.chain[o, k - 1]] += _least_bits(
                problem, unrolling, states, content, o, k - 1, begin, s
            )
            previous[depth, o] = s  # the level above begins here; level 0 begins at state 0
        opened[depth, o] = k + 1
        if k + 1 == problem.levels[o] and k > 0:
            top = problem.chain[o, k]
            held = _least_bits(problem, unrolling, states, content, o, k, s, complete)
            node_bits[depth, top] += held
            if not fits(node_bits[depth, top], problem.memory_size[top]):
                statistics[OVERFULL_CHAINS] += 1
                depth -= 1
                continue
        if depth < events:
            expand = True
            continue
        # A complete chain.
        if s != complete and not _may_follow(packed[complete] - packed[s], closed[depth], irrelevant):
            depth -= 1
            continue
        statistics[COMPLETE_CHAINS] += 1
        front, front_n, best_dim, best_size, best_cuts, best_loops = cost_chain(
            problem,
            rules,
            unrolling,
            scratch,
            states,
            predecessor,
            allowed,
            packed,
            lanes,
            irrelevant,
            content,
            traffic,
            sensitive,
            item_dim,
            item_size,
            n,
            at,
            last,
            depth,
            order_rules,
            array_pj,
            number,
            goal,
            child_pj[below, c],
            child_cycles[below, c],
            shared,
            others,
            best,
            front,
            front_n,
            best_dim,
            best_size,
            best_cuts,
            best_loops,
            statistics,
            control,
        )
        depth -= 1
    return DONE, front, front_n, best_dim, best_size, best_cuts, best_loops


@kernel
def _least_bits(problem, unrolling, states, content, o, level, start, end):
    """Bits that a level holds whose loops lie between two states, at least: its cut may lie before a run that completes
    the sums, which is of use where complete outputs are wider than partial ones.
    """
    bits = cut_bits(problem, unrolling, states, content, o, level, start, end)
    if o == O and problem.bits[3] > problem.bits[2]:
        bits = min(bits, cut_bits(problem, unrolling, states, content, o, level, 0, end))
    return bits


@kernel
def _may_follow(between, closed, irrelevant):
    """Do the loops between two states have one that can come first: relevant to all operands with a boundary below?"""
    usable = between
    for o in range(3):
        if closed & (1 << o):
            usable &= ~irrelevant[o]
    return usable != 0


@kernel
def cost_chain(
    problem,
    rules,
    unrolling,
    scratch,
    states,
    predecessor,
    allowed,
    packed,
    lanes,
    irrelevant,
    content,
    traffic,
    sensitive,
    item_dim,
    item_size,
    n,
    at,
    last,
    depth,
    order_rules,
    array_pj,
    number,
    goal,
    lower_pj,
    lower_cycles,
    shared,
    others,
    best,
    front,
    front_n,
    best_dim,
    best_size,
    best_cuts,
    best_loops,
    statistics,
    control,
):
    """Cost the orders of a complete chain of boundaries that differ in cost, and keep what is wanted.

    Orders are built from the outermost loop inwards. Inside a segment, between two states with boundaries, only the
    outermost loops matter: as long as some boundary still has a run of loops of one relevance below it. Behind these
    the order is arbitrary, but for the innermost loop of the segment, which must not be irrelevant to the operands with
    a boundary below it. Every order is built where more depends on it: fractional tiles that may be rounded in two
    ways, and rules on cuts.
    """
    # Boundaries: of operand last[j] at state at[j], j = 1..depth; which of its levels follows from counting.
    boundary = np.empty(depth + 1, np.int64)
    count = np.zeros(3, np.int64)
    for o in range(3):
        count[o] = 0 if o != O else 1
    everything = rules.even != 0 or rules.bounded[0] != 0 or rules.bounded[1] != 0 or rules.bounded[2] != 0
    for level_of in range(3):
        for level in range(problem.levels[level_of]):
            everything |= rules.stationary[level_of, level] != 0
    segment = np.empty(depth + 2, np.int64)  # states with boundaries, innermost first
    closed = np.zeros(depth + 2, np.int64)  # operands with a boundary there, as bits
    starts = np.zeros(depth + 2, np.int64)  # operands for which a level begins there
    segments = 1
    segment[0] = 0
    for j in range(1, depth + 1):
        o = last[j]
        boundary[j] = count[o]
        count[o] += 1
        if at[j] != segment[segments - 1]:
            segment[segments] = at[j]
            segments += 1
        closed[segments - 1] |= 1 << o
        if boundary[j] > 0:
            starts[segments - 1] |= 1 << o
            everything |= sensitive[problem.first_row[o] + boundary[j], at[j]]
    nest_dim, nest_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    state_at = np.zeros(MAX_LOOPS + 1, np.int64)
    item_at = np.full(MAX_LOOPS + 1, -1, np.int64)  # item tried for the loop below each position
    single = np.zeros(MAX_LOOPS + 1, np.bool_)  # the loop below this position is arbitrary
    segment_at = np.zeros(MAX_LOOPS + 1, np.int64)  # segment of the loop below this position
    run = np.full((MAX_LOOPS + 1, 3), NO_RUN, np.int64)  # relevance of the run of loops above this position
    cuts = np.zeros((3, MAX_LEVELS), np.int64)
    cost, failure = np.empty(N_COSTS), np.empty(3)
    reachable = np.zeros(states.shape[0] if order_rules else 0, np.bool_)
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
                if statistics[COSTED] % 64 == 0 and control[0] != 0:
                    break
                found = place_cuts(
                    problem,
                    rules,
                    unrolling,
                    states,
                    content,
                    state_at,
                    nest_dim,
                    n,
                    last,
                    depth,
                    boundary,
                    at,
                    cuts,
                    scratch,
                    failure,
                )
                found = found and mapping_cost(
                    problem,
                    unrolling,
                    states,
                    content,
                    traffic,
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
                    found = found and reuse_allowed(problem, rules, nest_dim, n, o, scratch.position)
                if found:
                    energy, latency = cost[TOTAL_PJ] + array_pj, cost[LATENCY_CYCLES]
                    if goal.kind == FRONT:
                        wanted = (
                            energy <= goal.energy_bound_pj
                            and latency <= goal.latency_bound_cycles
                            and not is_dominated(front, front_n, energy, latency, False)
                            and not is_dominated(others, others.size, energy, latency, True)
                        )
                        value = 0.0
                    else:
                        value = goal_value(goal, energy, latency)
                        wanted = value < best[0]
                    if wanted:
                        place = 0
                        if goal.kind == FRONT:
                            place = np.int64(best[0])
                            best[0] += 1.0
                            if place == best_loops.size:
                                best_dim = _doubled(best_dim)
                                best_size = _doubled(best_size)
                                best_cuts = _doubled(best_cuts)
                                best_loops = _doubled(best_loops)
                            used = np.zeros(4, np.int64)
                            used[3] = front_n
                            if front_n == front.size:
                                larger = np.empty(2 * front_n, POINT)
                                larger[:front_n] = front
                                front = larger
                            offer_front(front, used, energy, latency, number, place, 0)
                            front_n = used[3]
                        else:
                            best[0], best[1], best[2] = value, energy, latency
                            if value < shared[0]:
                                shared[0] = value
                        for q in range(n):
                            best_dim[place, q], best_size[place, q] = nest_dim[q], nest_size[q]
                        best_cuts[place] = cuts
                        best_loops[place] = n
                    if goal.kind != FRONT and value <= _least_value(goal, lower_pj, lower_cycles) * (1.0 + TINY):
                        break
                    if (
                        goal.kind == FRONT
                        and energy <= lower_pj * (1.0 + TINY)
                        and latency <= lower_cycles * (1 + TINY)
                    ):
                        break
                    if hopeless(goal, lower_pj, lower_cycles, best[0], shared[0], front, front_n, others):
                        break
                p += 1
            else:
                segment_at[p] = j - 1 if at_boundary else j
                item_at[p] = -1
                single[p] = not everything
                for o in range(3):
                    single[p] &= run[p, o] == NO_RUN
                if order_rules:
                    g = segment_at[p]
                    if at_boundary or p == n:
                        fill_reachable(
                            predecessor,
                            allowed,
                            packed,
                            lanes,
                            irrelevant,
                            segment[g],
                            closed[g],
                            state_at[p],
                            reachable,
                        )
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
            if t >= 0 and lies_below(packed, lanes, base, t):
                if t == base:
                    break
                if order_rules:
                    if reachable[t]:
                        break
                elif _may_follow(packed[t] - packed[base], closed[segment_at[p]], irrelevant):
                    break
            item += 1
        if item == predecessor.shape[1]:
            p += 1
            continue
        item_at[p] = item
        d = item_dim[item]
        state_at[p - 1] = predecessor[state_at[p], item]
        nest_dim[p - 1], nest_size[p - 1] = d, item_size[item]
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
    return front, front_n, best_dim, best_size, best_cuts, best_loops


@kernel
def _least_value(goal, energy_pj, latency_cycles):
    """Objective without its bounds: nothing that costs at least so much has a smaller one."""
    if goal.kind == ENERGY:
        return energy_pj
    if goal.kind == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles**goal.exponent


@kernel
def _doubled(old):
    """The array with twice as many rows."""
    new = np.empty((2 * old.shape[0], *old.shape[1:]), old.dtype)
    new[: old.shape[0]] = old
    return new


@kernel
def fill_reachable(predecessor, allowed, packed, lanes, irrelevant, base, closed, top, reachable):
    """States between ``base`` and ``top`` that an allowed order reaches from ``base`` whose first loop may come first.

    Args:
        closed: operands with a boundary at ``base``, as bits.
        reachable: bool[S], filled from ``base`` to ``top``.
    """
    for s in range(base, top + 1):
        reachable[s] = False
        if not allowed[s] or not lies_below(packed, lanes, base, s):
            continue
        if s == base:
            reachable[s] = True
            continue
        for item in range(predecessor.shape[1]):
            t = predecessor[s, item]
            if t == base:
                reachable[s] |= _may_follow(packed[s] - packed[base], closed, irrelevant)
            elif t > base:
                reachable[s] |= reachable[t]


@kernel
def place_cuts(
    problem, rules, unrolling, states, content, state_at, loop_dim, n, last, depth, boundary, at, cuts, scratch, failure
):
    """Cuts of a complete order: behind the loops that its boundaries keep still, or, under rules on cuts, the first
    ones in lexicographic order that the rules admit and that fit.

    Returns:
        Whether there are any. ``cuts`` (int64[3, L]) is filled.
    """
    for o in range(3):
        cuts[o, problem.levels[o] - 1] = n
    p = 0
    for j in range(1, depth + 1):
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
