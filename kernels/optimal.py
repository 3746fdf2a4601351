"""The optimal search: the best mapping of one spatial mapping, proven by bounds.

A mapping's cost depends on its order of loops only through the states at which its boundaries lie, and through the
runs of loops just inside of them. So the search places boundaries, outermost first, on a chain of states, and extends
a chain only while the least that its completions can cost (``bounds``) may still be good enough. Of a complete chain it
costs the orders that differ in their runs (``chain_cost``), with the one cost function.

Without constraints on cuts an allocation may be taken to be *merged*: a cut before or within a run of loops irrelevant
to its operand costs the same as the cut behind that run, and needs no less room. So a chain lists merged boundaries,
and the loop that follows a boundary is never irrelevant to its operand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, kernel
from .allocate import cut_bits, fits
from .bounds import (
    BUSY,
    FIRST_LANES,
    LANES,
    LOADS,
    MIXED_QUEUED,
    MIXES,
    QUEUE_LANES,
    QUEUED,
    SLOPES,
    STALL_LANES,
    STALLED,
    add_lane,
    add_mix,
    add_stall_lanes,
    begin_lanes,
    fill_bounds,
    join_first_lanes,
    join_queue,
    longest_queue,
    longest_stall,
    lower_latency,
    new_bounds,
    serial_loading,
    spread_lanes,
    spread_mixes,
    stalled_cycles,
    widest_window,
)
from .capacity import priced_energy_pj
from .chain_cost import cost_chain, offer_point
from .fronts import all_dominated, fill_fronts, loads, no_fronts, points_of_fronts
from .goals import (
    CHAINS,
    COMPLETE_CHAINS,
    COSTED,
    ENERGY,
    FRONT,
    LATENCY,
    OVERFULL_CHAINS,
    PRUNED_CANDIDATES,
    PRUNED_CHAINS,
    TINY,
    Lower,
    hopeless,
    is_dominated,
)
from .lattice import all_irrelevant, build_lattice, lies_below, may_come_last, may_follow
from .paths import (
    Tables,
    count_tuples,
    fill_joint_paths,
    fill_lowest,
    first_boundary,
    list_path_rules,
    tuple_number,
)
from .problem import MAX_MEMORIES, I, O, W, unroll
from .rules import forbid_boundaries, level_possible, still_at_top
from .traffic import CYCLES, CYCLES_ABOVE, ENERGY_PJ, N_TRAFFIC, fill_content
from .workspace import take

# How a search of one candidate ended.
DONE, STOPPED, PAUSED, TOO_WIDE = range(4)
COMPLETE, NEWS = range(4, 6)  # how ``_next_chain`` may end, too

NO_LIMIT = 2**62

LEAST_POINTS = 4  # with fewer, ``fronts`` are too coarse

SLOPES_HOLD = 20  # chains for each state after which the mixed bounds of a front may take new slopes


class Chain(NamedTuple):
    """The chain being built: one entry for each boundary placed, and what it costs up to there; entry 0 is empty."""

    at: Any  #: int64[D], state
    last: Any  #: int64[D], operand whose boundary it is
    closed: Any  #: int64[D], operands with a boundary at this state, as bits
    opened: Any  #: int64[D, 3], open boundaries of each operand: those below
    outer: Any  #: int64[D], the next state outwards with a boundary
    previous: Any  #: int64[D, 3], state of each operand's last boundary: where its next level ends
    still: Any  #: int64[D], operands (bits) whose tile must not change with the loop below the last state
    energy_pj: Any  #: float64[D]
    lanes: Any  #: float64[D, LANES]
    mixed: Any  #: float64[D, SLOPES, MIXES]
    loading: Any  #: float64[D, LOADS]
    bits: Any  #: float64[D, M], what the memories hold
    least_pj: Any  #: float64[D], what its completions cost at least (``Lower``)
    least_cycles: Any  #: float64[D]
    least_mixed: Any  #: float64[D, SLOPES]


class Children(NamedTuple):
    """The boundaries that may come next, for each length of the chain: taken by rising key."""

    count: Any  #: int64[D], not taken yet
    operand: Any  #: int64[D, width]
    state: Any  #: int64[D, width]
    energy_pj: Any  #: float64[D, width], of a mapping with this chain, at least
    cycles: Any  #: float64[D, width]
    mixed: Any  #: float64[D, width, SLOPES]
    slope: Any  #: float64[D, SLOPES], of the mixed bounds
    key: Any  #: float64[D, width]
    heap: Any  #: int64[D, width], those not taken yet: none comes before its parent
    lanes: Any  #: float64[LANES], working memory
    loading: Any  #: float64[LOADS], working memory


@allocating
def search_candidate(
    problem,
    rules,
    unrolling,
    scratch,
    workspace,
    array_dim,
    loop_dim,
    factors,
    array_pj,
    number,
    goal,
    others,
    found,
    budget,
    chain_budget,
    statistics,
    control,
):
    """Find the best mapping of one candidate spatial mapping, or prove that it has none that is wanted.

    Args:
        workspace: whatever it holds is lost.
        factors: int64[n], the spatial loops (array_dim, loop_dim).
        array_pj: energy of the array.
        number: of the candidate, for the front.
        others: ``Others``; the best value is lowered here.
        found: what is found is written there; it comes with the best value or the front of the candidates that were
            done before this one began.
        budget, chain_budget: mappings to cost or chains before the search pauses; 0 for all. Such a first look does not
            heed what others find, so that it always sees the same.
        statistics: int64[N_STATISTICS], added to.
        control: int64[1], set to nonzero by anybody to stop.

    Returns:
        (how it ended, ``Lower`` of all mappings, ``found``, perhaps grown)
    """
    unroll(problem, array_dim, loop_dim, factors, unrolling)
    narrow, lattice = build_lattice(problem, rules, unrolling.remaining)
    if not narrow:
        return TOO_WIDE, Lower(0.0, 0.0, np.empty(0), np.empty(0)), found
    states = lattice.states
    total = states.shape[0]
    complete = total - 1
    workspace.used[0] = 0
    content, traffic = take(workspace, (problem.rows, total)), take(workspace, (problem.rows, total + 1, N_TRAFFIC))
    fill_content(problem, unrolling, states, scratch, content)
    energy_pj = take(workspace, (problem.rows, total))
    fit, sensitive = np.zeros((problem.rows, total), np.bool_), np.zeros((problem.rows, total), np.bool_)
    least = np.empty((MAX_MEMORIES, 3))
    fill_bounds(problem, rules, unrolling, states, content, traffic, scratch, energy_pj, fit, sensitive, least)
    forbid_boundaries(problem, rules, states, lattice.predecessor, lattice.item_dim, fit, energy_pj)
    lowest = np.empty(total, np.int64)
    fill_lowest(problem, lattice.predecessor, lattice.allowed, fit, lowest)
    path_rules = list_path_rules(problem, rules, lattice, workspace)
    tables = Tables(content, traffic, fit, sensitive, lowest, path_rules)
    energy_to_go = take(workspace, (total, count_tuples(problem)))
    bounds = new_bounds(problem, lattice, energy_pj, energy_to_go, workspace)
    # Constant part: the array, and the output leaving it in every cycle.
    base_pj = array_pj + traffic[problem.first_row[O], 0, ENERGY_PJ]
    root = tuple_number(problem, problem.levels[W], problem.levels[I], problem.levels[O])
    least_pj, least_cycles = base_pj, states[complete, CYCLES] * problem.cycles_per_operation
    none = np.empty(0)
    lower = Lower(least_pj, least_cycles, none, none)
    timed = goal.kind != ENERGY or goal.latency_bound_cycles < np.inf
    best_known = _hear_values(others, found)
    found = _hear_points(others, found, number)
    for step in range(3):  # what says most at once comes first
        part = (step + 1) % 3 if goal.kind == LATENCY else step
        if part == 0:
            fill_joint_paths(problem, lattice, tables, energy_pj, energy_to_go)
            least_pj = base_pj + energy_to_go[complete, root]
        elif timed and part == 1:
            least_cycles = begin_lanes(problem, lattice, tables, bounds)
        elif timed:
            least_cycles = join_queue(problem, lattice, tables, bounds, root, least_cycles)
        lower = Lower(least_pj, least_cycles, none, none)
        if least_pj == np.inf or least_cycles == np.inf or hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CANDIDATES] += 1
            return DONE, lower, found
    if goal.kind != LATENCY or goal.energy_bound_pj < np.inf:
        enough = found.best[0] * (1.0 + TINY) if goal.kind == ENERGY else np.inf
        enough -= base_pj
        priced_pj = priced_energy_pj(problem, unrolling, lattice, tables, energy_pj, least, enough, workspace)
        least_pj = max(least_pj, base_pj + priced_pj)
        lower = Lower(least_pj, least_cycles, none, none)
        if least_pj == np.inf or hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CANDIDATES] += 1
            return DONE, lower, found
    if timed:
        join_first_lanes(problem, lattice, tables, bounds)
    chain, children = _new_chain(problem, total, workspace)
    chain.at[0] = chain.outer[0] = complete
    chain.energy_pj[0] = base_pj
    chain.lanes[0] = bounds.base
    chain.still[0] = still_at_top(problem, rules)
    for o in range(3):
        chain.opened[0, o] = problem.levels[o]
        chain.previous[0, o] = complete
        for memory in range(problem.memories):
            chain.bits[0, memory] += least[memory, o]
    lower = _lower_of_all(bounds, chain, children, root, complete, least_pj)
    if hopeless(goal, lower, found, best_known):
        statistics[PRUNED_CANDIDATES] += 1
        return DONE, lower, found
    if timed:
        add_stall_lanes(problem, lattice, tables, bounds, root)
        chain.lanes[0] = bounds.base
        lower = _lower_of_all(bounds, chain, children, root, complete, least_pj)
        if hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CANDIDATES] += 1
            return DONE, lower, found
    slope = np.empty(SLOPES)
    mixes = _fill_slopes(goal, lower, found, slope) if timed and goal.kind != LATENCY else 0
    for i in range(mixes):
        add_mix(problem, lattice, tables, bounds, slope[i])
        _begin_mix(bounds, chain, i)
        lower = _lower_of_all(bounds, chain, children, root, complete, least_pj)
        if hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CANDIDATES] += 1
            return DONE, lower, found
    spread_lanes(bounds, 0)
    spread_mixes(bounds)
    next_slopes = statistics[CHAINS] + SLOPES_HOLD * total
    fronts = no_fronts()
    points, all_points = points_of_fronts(problem, total)
    fronts_after = NO_LIMIT
    if goal.kind == FRONT and points >= LEAST_POINTS:
        fronts_after = statistics[CHAINS] + np.int64(all_points / goal.points_per_chain)
    if budget > 0:
        found.best[0] = np.inf
    last_costed = statistics[COSTED] + budget if budget > 0 else NO_LIMIT
    last_chain = statistics[CHAINS] + chain_budget if budget > 0 else NO_LIMIT
    depth = 0
    expand = True
    while True:
        ended, depth = _next_chain(
            problem,
            rules,
            unrolling,
            lattice,
            tables,
            bounds,
            fronts,
            least,
            goal,
            others,
            budget == 0,
            found,
            chain,
            children,
            depth,
            expand,
            last_costed,
            min(last_chain, fronts_after),
            statistics,
            control,
        )
        expand = False
        if ended == NEWS:
            found = _hear_points(others, found, number)
            expand = True
            continue
        if ended == PAUSED and statistics[CHAINS] >= fronts_after:
            fronts = fill_fronts(problem, lattice, tables, bounds, points, workspace)
            fronts_after = NO_LIMIT
            expand = True
            continue
        if ended != COMPLETE:
            # by the lanes that were added, too
            return ended, _lower_of_all(bounds, chain, children, root, complete, least_pj), found
        lower = Lower(
            chain.least_pj[depth], chain.least_cycles[depth], chain.least_mixed[depth, :mixes], bounds.slope[:mixes]
        )
        statistics[COMPLETE_CHAINS] += 1
        scratch.port_stall[:] = 0.0
        found = cost_chain(
            problem,
            rules,
            unrolling,
            scratch,
            lattice,
            tables,
            chain.at[:0:-1],
            chain.last[:0:-1],
            array_pj,
            number,
            goal,
            lower,
            others,
            others.value[0] if budget == 0 else np.inf,
            found,
            last_costed,
            statistics,
            control,
        )
        if control[0] != 0:  # perhaps not all orders of this chain, which may be the last
            return STOPPED, _lower_of_all(bounds, chain, children, root, complete, least_pj), found
        if statistics[COSTED] > last_costed:
            return PAUSED, _lower_of_all(bounds, chain, children, root, complete, least_pj), found
        if bounds.lanes[0] > 0:
            _watch(problem, lattice, tables, bounds, scratch, chain, depth)
        if goal.kind == FRONT and statistics[CHAINS] >= next_slopes:
            _fill_slopes(goal, lower, found, slope)
            moved = False
            for i in range(SLOPES):
                moved |= slope[i] > 2.0 * bounds.slope[i] or slope[i] < 0.5 * bounds.slope[i]
            if moved:
                _mix_anew(problem, lattice, tables, bounds, chain, depth, slope)
                next_slopes = statistics[CHAINS] + SLOPES_HOLD * total
        depth -= 1


@kernel
def _next_chain(
    problem,
    rules,
    unrolling,
    lattice,
    tables,
    bounds,
    fronts,
    least,
    goal,
    others,
    heeds,
    found,
    chain,
    children,
    depth,
    expand,
    last_costed,
    last_chain,
    statistics,
    control,
):
    """Go on until a chain is complete that may be wanted, or until something else is to be done first.

    Args:
        least: see ``bounds.fill_bounds``.
        heeds: whether what others find counts.
        depth, expand: where to go on: at the chain of that length, whose children are not listed yet if ``expand``.

    Returns:
        (COMPLETE, NEWS of points that others have found, PAUSED at one of the limits, STOPPED, or DONE; the length)
    """
    complete = children.count.size - 1
    best_known = _hear_values(others, found) if heeds else np.inf
    while True:
        if expand:
            if control[0] != 0:
                return STOPPED, depth
            if statistics[COSTED] >= last_costed or statistics[CHAINS] >= last_chain:
                return PAUSED, depth
            if heeds:
                best_known = _hear_values(others, found)
                if _has_points(others):
                    return NEWS, depth
            expand = False
            _expand(
                problem,
                rules,
                lattice,
                tables,
                bounds,
                fronts,
                goal,
                best_known,
                found,
                chain,
                depth,
                children,
                statistics,
            )
        if children.count[depth] == 0:
            if depth == 0:
                return DONE, depth
            depth -= 1
            continue
        child = _take(children, depth)
        mixes = bounds.mixes[0]
        lower = Lower(
            children.energy_pj[depth, child],
            children.cycles[depth, child],
            children.mixed[depth, child, :mixes],
            children.slope[depth, :mixes],
        )
        if hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CHAINS] += 1
            continue
        o, s = children.operand[depth, child], children.state[depth, child]
        depth += 1
        if not _place(problem, rules, unrolling, lattice, tables, bounds, least, chain, depth, o, s):
            statistics[OVERFULL_CHAINS] += 1
            depth -= 1
            continue
        # Windows may be narrower than they had to be taken for.
        opened = chain.opened[depth]
        rest = tuple_number(problem, opened[W], opened[I], opened[O])
        _fill_least(bounds, chain, children, depth, rest, s)
        lower = Lower(
            chain.least_pj[depth], chain.least_cycles[depth], chain.least_mixed[depth, :mixes], bounds.slope[:mixes]
        )
        if hopeless(goal, lower, found, best_known):
            statistics[PRUNED_CHAINS] += 1
            depth -= 1
        elif depth == complete:
            return COMPLETE, depth
        else:
            expand = True


@kernel
def _hear_values(others, found):
    """Learn what the rivals have found; returns the best value that anybody knows."""
    for i in range(others.rivals.size):
        value = others.values[others.rivals[i]]
        if value < np.inf and value <= found.best[0] * (1.0 + TINY):
            found.best[0] = value
            found.mappings[0, 0] = -1  # what was found here is no better
    return others.value[0]


@kernel
def _has_points(others):
    """Have others found points that this search does not know?"""
    waiting = False
    for worker in range(others.taken.size):
        waiting |= worker != others.worker and others.taken[worker] < others.posted[worker]
    return waiting


@allocating
def _hear_points(others, found, number):
    """Learn the points that others have found; returns ``found``, perhaps grown."""
    taken = others.taken
    for worker in range(taken.size):
        while worker != others.worker and taken[worker] < others.posted[worker]:
            point = others.points[worker, taken[worker]]
            taken[worker] += 1
            # That of a later place is taken for a little worse, so that equals found here may still win.
            worse = 1.0 if point.rank < others.place else 1.0 + 8.0 * TINY
            energy, cycles = point.energy_pj * worse, point.latency_cycles * worse
            if not is_dominated(found.front, found.count[1], energy, cycles):
                found = offer_point(found, energy, cycles, number, -1)
    return found


@allocating
def _watch(problem, lattice, tables, bounds, scratch, chain, depth):
    """Add lanes of the port that stalls the last mapping costed, if none has foreseen so long a stall, and of the port
    whose queue delays the mappings of a complete chain more than any lane has foreseen.
    """
    port = np.argmax(scratch.port_stall[: problem.ports])
    stall = longest_stall(bounds, chain.lanes[depth], STALL_LANES, bounds.lanes[0])
    if scratch.port_stall[port] > stall:
        for kind in (BUSY, STALLED):
            if bounds.lanes[0] < LANES and not _has_lane(bounds, STALL_LANES, port, kind):
                _watch_lane(problem, lattice, tables, bounds, chain, depth, port, kind)
    if bounds.lanes[0] + QUEUE_LANES > LANES:
        return
    at = np.zeros(problem.rows, np.int64)
    opened = problem.levels.copy()
    for entry in range(1, depth + 1):
        o = chain.last[entry]
        opened[o] -= 1
        at[problem.first_row[o] + opened[o]] = chain.at[entry]
    port, cycles = longest_queue(problem, bounds, at, stall, chain.loading[depth])
    if cycles > chain.least_cycles[depth] * (1.0 + TINY) and not _has_lane(bounds, 0, port, QUEUED):
        bounds.queues[0] += 1
        for kind in range(QUEUE_LANES):
            _watch_lane(problem, lattice, tables, bounds, chain, depth, port, kind)


@kernel
def _has_lane(bounds, first, port, kind):
    """Is there such a lane from ``first`` on?"""
    found = False
    for lane in range(first, bounds.lanes[0]):
        found |= bounds.lane_port[lane] == port and bounds.lane_kind[lane] == kind
    return found


@allocating
def _watch_lane(problem, lattice, tables, bounds, chain, depth, port, kind):
    """Add a lane, to the chain, too."""
    lane = bounds.lanes[0]
    add_lane(problem, lattice, tables, bounds, port, kind)
    spread_lanes(bounds, lane)
    chain.lanes[:, lane] = bounds.base[lane]
    opened = problem.levels.copy()
    for entry in range(1, depth + 1):
        o, s = chain.last[entry], chain.at[entry]
        opened[o] -= 1
        row = problem.first_row[o] + opened[o]
        chain.lanes[entry, lane] = chain.lanes[entry - 1, lane] + bounds.lane_cycles[row, s, lane]


@kernel
def _begin_mix(bounds, chain, i):
    """What mappings cost by the mixed bounds of a slope before any boundary."""
    for mix in range(MIXES):
        chain.mixed[0, i, mix] = chain.energy_pj[0] + bounds.mixed_base[i, mix]


@allocating
def _mix_anew(problem, lattice, tables, bounds, chain, depth, slope):
    """Change the slopes of the mixed bounds."""
    bounds.mixes[0] = 0
    for i in range(SLOPES):
        add_mix(problem, lattice, tables, bounds, slope[i])
        _begin_mix(bounds, chain, i)
    spread_mixes(bounds)
    opened = problem.levels.copy()
    for entry in range(1, depth + 1):
        o, s = chain.last[entry], chain.at[entry]
        opened[o] -= 1
        row = problem.first_row[o] + opened[o]
        for i in range(bounds.mixes[0]):
            for mix in range(MIXES):
                chain.mixed[entry, i, mix] = chain.mixed[entry - 1, i, mix] + bounds.mixed[row, s, i, mix]


@allocating
def _new_chain(problem, total, workspace):
    events = 0
    for o in range(3):
        events += problem.levels[o] - first_boundary(o)
    n = events + 1
    chain = Chain(
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros((n, 3), np.int64),
        np.zeros(n, np.int64),
        np.zeros((n, 3), np.int64),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros((n, LANES)),
        np.zeros((n, SLOPES, MIXES)),
        np.zeros((n, LOADS)),
        np.zeros((n, MAX_MEMORIES)),
        np.zeros(n),
        np.zeros(n),
        np.zeros((n, SLOPES)),
    )
    width = 3 * total
    children = Children(
        np.zeros(n, np.int64),
        take(workspace, (n, width)).view(np.int64),
        take(workspace, (n, width)).view(np.int64),
        take(workspace, (n, width)),
        take(workspace, (n, width)),
        take(workspace, (n, width, SLOPES)),
        np.zeros((n, SLOPES)),
        take(workspace, (n, width)),
        take(workspace, (n, width)).view(np.int64),
        np.empty(LANES),
        np.empty(LOADS),
    )
    return chain, children


@kernel
def _fill_slopes(goal, lower, found, slope):
    """Exchanges of energy for latency at which mixed bounds say most: those of the front's convex hull, end to end, or
    that of the objective near its least value.

    Args:
        slope: float64[SLOPES], pJ per cycle, filled in the order of use.

    Returns:
        How many there are.
    """
    ratio = lower.energy_pj / lower.latency_cycles
    if goal.kind != FRONT:
        slope[0] = max(goal.exponent, 1.0) * ratio
        return 1
    front, n = found.front, found.count[1]
    flattest, steepest = ratio / 16.0, ratio * 16.0
    if n > 1:
        flattest, steepest = np.inf, 0.0
        for i in range(n - 1):
            first, last = front[0], front[n - 1]
            here, following = front[i], front[i + 1]
            cycles = first.latency_cycles - following.latency_cycles
            flattest = min(flattest, (following.energy_pj - first.energy_pj) / cycles)
            cycles = here.latency_cycles - last.latency_cycles
            steepest = max(steepest, (last.energy_pj - here.energy_pj) / cycles)
    for i in range(SLOPES):  # from the middle to both sides
        away = (i + 1) // 2 if i % 2 == 1 else -(i // 2)
        slope[i] = flattest * (steepest / flattest) ** (((SLOPES - 1) // 2 + away) / (SLOPES - 1))
    return SLOPES


@allocating
def _lower_of_all(bounds, chain, children, root, complete, least_pj):
    """``Lower`` of all mappings, which cost ``least_pj`` at least."""
    _fill_least(bounds, chain, children, 0, root, complete)
    mixes = bounds.mixes[0]
    return Lower(
        max(chain.least_pj[0], least_pj),
        chain.least_cycles[0],
        chain.least_mixed[0, :mixes].copy(),
        bounds.slope[:mixes].copy(),
    )


@kernel
def _fill_least(bounds, chain, children, depth, to_go, s):
    """What mappings cost at least with this chain whose next boundary lies at state s or further in."""
    chain.least_pj[depth] = chain.energy_pj[depth] + bounds.energy_to_go[s, to_go]
    chain.least_cycles[depth] = bounds.compute
    lanes = bounds.lanes[0]
    if lanes == 0:
        return
    total, load = children.lanes, children.loading
    for lane in range(lanes):
        total[lane] = chain.lanes[depth, lane] + bounds.lanes_to_go[s, to_go, lane]
    for j in range(LOADS):
        load[j] = chain.loading[depth, j] + bounds.loading_to_go[s, chain.opened[depth, j % 3], j]
    chain.least_cycles[depth] = lower_latency(bounds, total, load)[0]
    beside = min(load[3 + W], load[3 + I])
    for i in range(bounds.mixes[0]):
        chain.least_mixed[depth, i] = 0.0
        for mix in range(MIXES):
            least = chain.mixed[depth, i, mix] + bounds.mixed_to_go[s, to_go, i, mix]
            if mix <= MIXED_QUEUED:
                least += bounds.slope[i] * beside
            chain.least_mixed[depth, i] = max(chain.least_mixed[depth, i], least)


@kernel
def _expand(
    problem, rules, lattice, tables, bounds, fronts, goal, best_known, found, chain, depth, children, statistics
):
    """List the boundaries that may come next."""
    here, closed, still = chain.at[depth], chain.closed[depth], chain.still[depth]
    opened = chain.opened[depth]
    lanes = bounds.lanes[0]
    total, load = children.lanes, children.loading
    mixes = bounds.mixes[0]
    for i in range(mixes):
        children.slope[depth, i] = bounds.slope[i]
    none = bounds.slope[:0]
    count = 0
    for o in range(3):
        k = opened[o] - 1
        if k < first_boundary(o):
            continue
        row = problem.first_row[o] + k
        after = tuple_number(
            problem,
            opened[W] - (1 if o == W else 0),
            opened[I] - (1 if o == I else 0),
            opened[O] - (1 if o == O else 0),
        )
        barred = np.uint64(0)
        if tables.rules.barred_lanes.size > 0:
            barred = tables.rules.barred_lanes[tuple_number(problem, opened[W], opened[I], opened[O])]
        loading = chain.loading[depth]
        complete = lattice.allowed.size - 1
        end = chain.previous[depth, o]
        serial = serial_loading(problem, bounds.series[0], o, k)
        # Boundaries at one state are placed operand by operand, and none lies further in than state 0.
        last_at_empty = True
        for earlier in range(o):
            last_at_empty &= opened[earlier] == first_boundary(earlier)
        for s in range(0 if last_at_empty else 1, here + 1):
            if not tables.fit[row, s] or bounds.energy_to_go[s, after] == np.inf:
                continue
            # The loop that follows a boundary is never irrelevant to the operand.
            if s == here:
                if closed != 0 and o < chain.last[depth]:
                    continue
                if s != complete and not may_follow(lattice, s, chain.outer[depth], closed | (1 << o)):
                    continue
            elif not lattice.allowed[s] or not lies_below(lattice, s, here) or not may_follow(lattice, s, here, 1 << o):
                continue
            if (lattice.packed[here] - lattice.packed[s]) & barred != 0:
                continue
            if still != 0 and s != here and not may_come_last(problem, lattice, s, here, still):
                continue
            if rules.bounded[o] != 0 and not level_possible(problem, rules, lattice.states, o, k, s, end):
                continue
            lower_pj = chain.energy_pj[depth] + bounds.energy_pj[row, s] + bounds.energy_to_go[s, after]
            statistics[CHAINS] += 1
            lower_cycles = key_cycles = bounds.compute
            if lanes > 0:
                for lane in range(FIRST_LANES):  # so many at once, whether they are filled or not
                    added = bounds.lane_cycles[row, s, lane] + bounds.lanes_to_go[s, after, lane]
                    total[lane] = chain.lanes[depth, lane] + added
                for lane in range(FIRST_LANES, lanes):
                    added = bounds.lane_cycles[row, s, lane] + bounds.lanes_to_go[s, after, lane]
                    total[lane] = chain.lanes[depth, lane] + added
                for j in range(LOADS):
                    closes = 1 if j % 3 == o else 0
                    load[j] = loading[j] + bounds.loading_to_go[s, opened[j % 3] - closes, j]
                    if closes == 1 and (j < 3 or not serial):
                        load[j] += bounds.loading[row, s]
                lower_cycles, key_cycles = lower_latency(bounds, total, load)
            if hopeless(goal, Lower(lower_pj, lower_cycles, none, none), found, best_known):
                statistics[PRUNED_CHAINS] += 1
                continue
            if mixes > 0:
                mixed = children.mixed[depth, count, :mixes]
                beside = min(load[3 + W], load[3 + I])
                for i in range(mixes):
                    mixed[i] = 0.0
                    for mix in range(MIXES):
                        added = bounds.mixed[row, s, i, mix] + bounds.mixed_to_go[s, after, i, mix]
                        if mix <= MIXED_QUEUED:
                            added += bounds.slope[i] * beside
                        mixed[i] = max(mixed[i], chain.mixed[depth, i, mix] + added)
                if hopeless(goal, Lower(lower_pj, lower_cycles, mixed, bounds.slope[:mixes]), found, best_known):
                    statistics[PRUNED_CHAINS] += 1
                    continue
            if fronts.count.size > 0:
                past_pj = chain.energy_pj[depth] + bounds.energy_pj[row, s]
                past = bounds.compute + loading[O] + loading[fronts.operand[0]]
                if loads(fronts, o):
                    past += bounds.loading[row, s]
                if bounds.stall_known[0] != 0:
                    past += chain.lanes[depth, STALL_LANES] + bounds.lane_cycles[row, s, STALL_LANES]
                if all_dominated(goal, fronts, found, s, after, past_pj, past, lower_cycles):
                    statistics[PRUNED_CHAINS] += 1
                    continue
            children.operand[depth, count] = o
            children.state[depth, count] = s
            children.energy_pj[depth, count] = lower_pj
            children.cycles[depth, count] = lower_cycles
            if goal.kind == ENERGY:
                children.key[depth, count] = lower_pj
            elif goal.kind == LATENCY:
                children.key[depth, count] = key_cycles
            else:
                children.key[depth, count] = lower_pj * key_cycles
            count += 1
    children.count[depth] = count
    for i in range(count):
        children.heap[depth, i] = i
    for i in range(count // 2 - 1, -1, -1):
        _sink(children.heap[depth], children.key[depth], i, count)


@kernel
def _take(children, depth):
    """Remove the child with the smallest key; of equal ones the first listed."""
    heap = children.heap[depth]
    first = heap[0]
    children.count[depth] -= 1
    heap[0] = heap[children.count[depth]]
    _sink(heap, children.key[depth], 0, children.count[depth])
    return first


@kernel
def _sink(heap, key, i, count):
    """Let entry ``i`` sink below all that come before it."""
    while True:
        first = i
        for j in (2 * i + 1, 2 * i + 2):
            if j < count:
                a, b = heap[j], heap[first]
                if key[a] < key[b] or (key[a] == key[b] and a < b):
                    first = j
        if first == i:
            return
        heap[i], heap[first] = heap[first], heap[i]
        i = first


@kernel
def _place(problem, rules, unrolling, lattice, tables, bounds, least, chain, depth, o, s):
    """Extend the chain by a boundary, as its entry ``depth``; does everything still fit?

    Args:
        least: see ``bounds.fill_bounds``.
    """
    below = depth - 1
    states = lattice.states
    k = chain.opened[below, o] - 1
    row = problem.first_row[o] + k
    end = chain.previous[below, o]
    chain.at[depth] = s
    chain.still[depth] = 1 << o if k > 0 and rules.stationary[o, k - 1] != 0 else 0
    if s == chain.at[below]:
        chain.closed[depth] = chain.closed[below] | (1 << o)
        chain.outer[depth] = chain.outer[below]
        chain.still[depth] |= chain.still[below]
    else:
        chain.closed[depth] = 1 << o
        chain.outer[depth] = chain.at[below]
    chain.last[depth] = o
    for other in range(3):
        chain.opened[depth, other] = chain.opened[below, other]
        chain.previous[depth, other] = chain.previous[below, other]
    chain.opened[depth, o] = k
    chain.previous[depth, o] = s
    chain.energy_pj[depth] = chain.energy_pj[below] + bounds.energy_pj[row, s]
    lanes = bounds.lanes[0]
    for j in range(LOADS):
        chain.loading[depth, j] = chain.loading[below, j]
        if j % 3 == o and (j < 3 or not serial_loading(problem, bounds.series[0], o, k)):
            chain.loading[depth, j] += bounds.loading[row, s]
    for i in range(bounds.mixes[0]):
        for mix in range(MIXES):
            chain.mixed[depth, i, mix] = chain.mixed[below, i, mix] + bounds.mixed[row, s, i, mix]
    # Where all loops of the level above are irrelevant, the window of the boundary on top of it is known.
    known = 0 < k < problem.levels[o] - 1 and s != end and all_irrelevant(lattice, o, s, end)
    for lane in range(lanes):
        chain.lanes[depth, lane] = chain.lanes[below, lane] + bounds.lane_cycles[row, s, lane]
        if known and bounds.lane_kind[lane] == STALLED:
            window = widest_window(problem, states, tables.traffic, o, k + 1, end, s, True)
            port, count = bounds.lane_port[lane], states[end, CYCLES_ABOVE]
            stalled = stalled_cycles(problem, tables.traffic, port, o, k + 1, end, count, window, bounds.run)
            chain.lanes[depth, lane] += stalled - bounds.lane_cycles[row + 1, end, lane]
    for memory in range(problem.memories):
        chain.bits[depth, memory] = chain.bits[below, memory]
    if k == 0:
        return True
    # The level above begins here; of the one below the end alone is known, but for the lowest.
    memory, lower = problem.chain[o, k], problem.chain[o, k - 1]
    held = _least_bits(problem, unrolling, states, tables.content, o, k, s, end)
    if k == problem.levels[o] - 1:
        held -= least[memory, o]
    else:
        held -= _least_bits(problem, unrolling, states, tables.content, o, k, end, end)
    chain.bits[depth, memory] += held
    start = s if k > 1 else 0
    chain.bits[depth, lower] += _least_bits(problem, unrolling, states, tables.content, o, k - 1, start, s)
    chain.bits[depth, lower] -= least[lower, o]
    return fits(chain.bits[depth, memory], problem.memory_size[memory]) and fits(
        chain.bits[depth, lower], problem.memory_size[lower]
    )


@kernel
def _least_bits(problem, unrolling, states, content, o, level, start, end):
    """Bits that a level holds whose loops begin at a state or further in and end at another, at least.

    Complete sums may be wider than partial ones; then the level may as well begin further in, and its cut may lie
    before a run that completes the sums.
    """
    bits = cut_bits(problem, unrolling, states, content, o, level, start, end)
    if o == O and problem.bits[3] > problem.bits[2]:
        bits = min(bits, cut_bits(problem, unrolling, states, content, o, level, 0, end))
    return bits
