"""Lower bounds on what any completion of a partial mapping costs.

A *boundary* of operand o below its level k (see ``problem``) lies at a state of the lattice of loop orders. What it
costs depends on that state: energy, the cycles that its transfers keep each port busy, and the cycles of its first
transfer. A mapping is a chain of states with boundaries on it, so that the least that the open boundaries can still
cost, from any state inwards, is a shortest path in the lattice (``paths``; design of TCM and of resource-constrained
paths: capacities shared by operands and the windows of transfers are relaxed here, never the order of the loops).

Boundaries are counted outwards: W and I have the boundaries 0..levels-1, the output 1..levels-1 (its boundary 0 is
below all loops). A search places them from the outermost inwards: first what decides the traffic of the large memories
and shares their capacity. ``opened`` boundaries, the innermost ones, are not yet placed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel
from .allocate import FIT_TOLERANCE, held_bits
from .paths import ROUNDING, fill_joint_paths, first_boundary, join_inner, trace_path, tuple_number
from .problem import (
    FRACTIONAL,
    INTEGER,
    IRRELEVANT,
    MAX_LEVELS,
    N_DIMS,
    READ_DOWN,
    READ_UP,
    WRITE_FROM_ABOVE,
    WRITE_FROM_BELOW,
    I,
    O,
    W,
    side,
    tensor_size,
)
from .rules import still_at_top
from .traffic import (
    ACTIVE,
    AVERAGE_BANDWIDTH,
    CONTENT_BITS,
    CYCLES,
    CYCLES_ABOVE,
    ENERGY_PJ,
    REDUCES_ABOVE,
    SIZE,
    TRANSFER_CYCLES,
    element_bits,
    fill_boundary,
    fill_traffic,
)
from .workspace import take


class Bounds(NamedTuple):
    """What boundaries add to a chain, and what the open ones still cost at least.

    Lanes are filled one after the other; without latency there is none.
    """

    energy_pj: Any  #: float64[R, S]
    energy_to_go: Any  #: float64[S, tuples]
    compute: Any  #: cycles of the array
    run: Any  #: these, rounded up to whole cycles
    window: Any  #: cycles that a port can be busy, at most: each operation rounded up
    series: Any  #: int64[1], see ``serial_loading``
    lanes: Any  #: int64[1], lanes filled
    queues: Any  #: int64[1], ports besides the first that have lanes of their queue
    lane_port: Any  #: int64[LANES]
    lane_kind: Any  #: int64[LANES]
    base: Any  #: float64[LANES], cycles of each lane before any boundary
    lane_cost: Any  #: float64[LANES, R, S], cycles that boundaries add to each lane
    lane_paths: Any  #: float64[LANES, S, tuples], least that the open boundaries still add
    lane_cycles: Any  #: float64[R, S, LANES], these side by side, once chains are built (``spread_lanes``)
    lanes_to_go: Any  #: float64[S, tuples, LANES]
    one_lane: Any  #: float64[R, S], working memory: cycles of one lane, or one mixed cost
    one_to_go: Any  #: float64[S, tuples], working memory: what is least of it
    transfers: Any  #: float64[N_TRANSFER, R, 4, S], see ``fill_transfers``
    mixes: Any  #: int64[1], slopes of the mixed bounds, filled one after the other
    stall_known: Any  #: int64[1], 1 where these, and ``fronts``, know of a stall
    slope: Any  #: float64[SLOPES], pJ per cycle
    mixed_paths: Any  #: float64[SLOPES, MIXES, S, tuples]
    mixed: Any  #: float64[R, S, SLOPES, MIXES], pJ
    mixed_to_go: Any  #: float64[S, tuples, SLOPES, MIXES], the paths side by side, once chains are built
    mixed_base: Any  #: float64[SLOPES, MIXES], before any boundary
    loading: Any  #: float64[R, S]
    loading_to_go: Any  #: float64[S, levels + 1, LOADS]


@kernel
def fill_bounds(problem, rules, unrolling, states, content, traffic, scratch, energy_pj, fit, sensitive, least):
    """Traffic and energy of each boundary at each state where the memory below it may hold its tile.

    Args:
        traffic: float64[R, S + 1, N_TRAFFIC], filled where the boundary can lie.
        energy_pj: float64[R, S], filled; infinite where the boundary cannot lie.
        fit: bool[R, S], filled. Without the other operands, but for the least that they take.
        sensitive: bool[R, S], filled: the last digit of a fractional product decides what moves (cost model zigzag);
            ``energy_pj`` is the lower of both possibilities.
        least: float64[M, 3], filled: bits of a memory that each operand takes at least.
    """
    total = states.shape[0]
    complete = total - 1
    for o in range(3):
        fill_traffic(problem, unrolling, states, scratch, o, problem.levels[o], complete, traffic)
    fill_least(problem, content, least)
    reused_at_top = still_at_top(problem, rules) & (1 << O) != 0
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            limit = most_bits(problem, least, o, k) if k > 0 else np.inf
            doubled = k > 0 and problem.memory_double_buffered[problem.chain[o, k - 1]] != 0
            listed = unrolling.lists_reduction[row - 1] != 0 if k > 0 else False
            for s in range(total):
                sensitive[row, s] = False
                if o == O and k == 0:
                    fit[row, s] = s == 0
                elif k == 0:
                    inside = True
                    for d in range(N_DIMS):
                        inside &= states[s, SIZE + d] == 1.0 or problem.relevance[o, d] == IRRELEVANT
                    fit[row, s] = inside
                else:
                    begins = 0 if k == 1 else s  # the lowest level begins with no loop, the others perhaps further in
                    partial = o == O and (listed or states[begins, REDUCES_ABOVE] != 0.0)
                    # Where the next loop must reuse the output's tile it adds to the sums, unless the level is empty.
                    reused = o == O and k > 1 and (rules.stationary[o, k - 1] != 0 or (s == complete and reused_at_top))
                    partial |= reused and not fit[row - 1, s]
                    bits = element_bits(problem, o, partial)
                    if not partial and k > 1:  # where sums are not complete
                        bits = min(bits, element_bits(problem, o, True))
                    needed = held_bits(content[row, s], content[row, complete], bits, doubled and s != complete)
                    fit[row, s] = needed <= limit
                energy_pj[row, s] = np.inf
                if fit[row, s]:
                    fill_traffic(problem, unrolling, states, scratch, o, k, s, traffic)
                    energy_pj[row, s] = traffic[row, s, ENERGY_PJ]
                    if unrolling.fractional and unrolling.fractional_operand[o] != 0 and k > 0:
                        sensitive[row, s] = _other_rounding(
                            problem, unrolling, states, content, traffic, o, k, s, scratch, energy_pj
                        )


@kernel
def fill_least(problem, content, least):
    """Bits of a memory that each operand takes at least, with a tile of partial sums or of complete ones.

    Args:
        content: float64[R, S], read at the first state and the last.
        least: float64[M, 3], filled.
    """
    least[:] = 0.0
    for memory in range(problem.memories):
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            s = content.shape[1] - 1 if level == problem.levels[o] - 1 else 0
            elements = content[problem.first_row[o] + level + 1, s]
            least[memory, o] = elements * narrowest_bits(problem, o)


@kernel
def narrowest_bits(problem, o):
    """Width of an element, or of the narrower of partial and complete sums."""
    return min(element_bits(problem, o, False), element_bits(problem, o, True))


@kernel
def most_bits(problem, least, o, k):
    """Bits that an operand may take of the memory below its boundary k > 0: what the others leave."""
    memory = problem.chain[o, k - 1]
    limit = problem.memory_size[memory] * (1.0 + FIT_TOLERANCE)
    for i in range(3):
        other = problem.memory_operands[memory, i]
        if other >= 0 and other != o:
            limit -= least[memory, other]
    return limit


@kernel
def _other_rounding(problem, unrolling, states, content, traffic, o, k, s, scratch, energy_pj):
    """Lower the energy of a boundary to what another rounding of its tile would give; is there one?"""
    row = problem.first_row[o] + k
    found = False
    free = traffic.shape[1] - 1
    for sign in (-1.0, 1.0):
        for d in range(N_DIMS):
            size = states[s, SIZE + d] * unrolling.below[FRACTIONAL, row, d]
            scratch.size[d] = size * (1.0 + sign * ROUNDING)
        elements = np.rint(tensor_size(problem, o, scratch.size))
        if elements != np.rint(content[row, s]):
            found = True
            scratch.elements[FRACTIONAL] = elements
            scratch.elements[INTEGER] = 1.0
            total_cycles = states[states.shape[0] - 1, CYCLES]
            fill_boundary(problem, unrolling, states, total_cycles, o, k, s, scratch.elements, traffic, free)
            energy_pj[row, s] = min(energy_pj[row, s], traffic[row, free, ENERGY_PJ])
    return found


# What a lane of cycles adds up over the boundaries of a chain; but for LOADING, of one port.
QUEUED = 0  # BUSY and WHOLE
RESERVED = 1  # the bandwidth of recurring transfers, in cycles of the run
WHOLE = 2  # the first loading, once-only transfers whole
TOTAL = 3  # RESERVED and WHOLE
LOADING = 4  # the first loading of what is ``serial_loading``, of once-only transfers what cannot be spread
BUSY = 5  # recurring transfers in turn
STALLED = 6  # recurring transfers beyond their own windows

STALL_LANES = 5  # the first lanes are of the other kinds, one each; from here on they are BUSY or STALLED
FIRST_LANES = 8  # that a search begins with; others are added when cycles are found that none has foreseen: of stalls,
QUEUE_LANES = 4  # one each, or of the queue of another port (QUEUED to TOTAL)
LANES = 20
QUEUE_TRIES = 3  # ports tried before the first lanes are taken to be of the busiest one
# What lower bounds on energy and latency together know of latency: stalls and LOADING; QUEUED or TOTAL; stalls and the
# loading of W and O, or of I and O. Stalls are those of the first lane of stalls, if it says more than nothing.
MIXED_LOADING, MIXED_QUEUED, MIXED_W, MIXED_I = range(4)
MIXES = 4
SLOPES = 4  # at which they are mixed
BOTH = -1  # in place of an input whose loading is in series, see ``serial_loading``
LOADS = 5  # loading of W, I and O, and what of it is not serial, of W and I

# What is known of the transfers of one direction across a boundary: rows of ``Bounds.transfers``.
BUSY_CYCLES, STALLED_CYCLES, RESERVED_CYCLES, WHOLE_CYCLES = range(4)  # the last: of once-only ones beyond the loading
N_TRANSFER = 4


@kernel
def recurring_cycles(problem, traffic, o, k, s, direction, count, window, run):
    """What the transfers of one direction across a boundary cost their port after the first period.

    Args:
        window: cycles of a period, at most, within which each transfer must end.
        run: cycles of the whole run without stalls, rounded up.

    Returns:
        (busy, stalled, reserved): cycles of the transfers; beyond their windows; of the run, as far as once-only
        transfers cannot have the bandwidth (``latency.fill_loading``: whole bits per cycle, and not for the read-back
        of outputs).
    """
    row = problem.first_row[o] + k
    cycles = traffic[row, s, TRANSFER_CYCLES + direction]
    busy = cycles * (count - 1.0)
    stalled = max(0.0, (cycles - window) * (count - 1.0))
    reserved = 0.0
    if count != 1.0 and not (o == O and (direction == READ_DOWN or direction == WRITE_FROM_ABOVE)):
        port = problem.port[o, k + side(direction), direction]
        share = np.ceil(traffic[row, s, AVERAGE_BANDWIDTH + direction] / problem.cycles_per_operation)
        reserved = share / problem.port_bandwidth[port, 1] * run
    return busy, stalled, reserved


@kernel
def widest_window(problem, states, traffic, o, k, s, previous, only_irrelevant):
    """Largest window, in cycles, that a boundary at state s may have whose level begins at state ``previous``.

    Args:
        only_irrelevant: all loops of the level are irrelevant to the operand: then the window is known, unless a double
            buffer widens it to the period.
    """
    clock = problem.cycles_per_operation
    period = np.ceil(states[s, CYCLES] * clock)
    if k == 0 or not only_irrelevant or s == previous:
        return period
    row = problem.first_row[o] + k
    use = traffic[row, s, CONTENT_BITS + FRACTIONAL] / problem.memory_size[problem.chain[o, k - 1]]
    if use * (1.0 - ROUNDING) <= 0.5:
        return period
    return np.ceil(states[previous, CYCLES] * clock)


@kernel
def serial_loading(problem, series, o, k):
    """Does the first transfer across a boundary add to those of other boundaries?

    So do those of the output, and either what both inputs transfer where both ports serve both of them
    (``latency.onload_cycles``), or all that one of the inputs does.

    Args:
        series: that input, or BOTH.
    """
    if k == 0 or o == O:
        return k > 0
    return _shared_ports(problem, o, k) == 2 if series == BOTH else o == series


@formula
def _shared_ports(problem, o, k):
    """How many of the ports at both ends of an input's boundary k > 0 serve both inputs?"""
    lower, upper = problem.port[o, k - 1, WRITE_FROM_ABOVE], problem.port[o, k, READ_DOWN]
    return problem.port_both_inputs[lower] + problem.port_both_inputs[upper]


@kernel
def _is_overlapped(problem, o, k):
    """Does another boundary's first transfer hide that of this one, k > 0? Of those of an input whose two ports serve
    both inputs at one end only, the uppermost alone counts (``latency.onload_cycles``).
    """
    overlapped = False
    if o != O and _shared_ports(problem, o, k) == 1:
        for above in range(k + 1, problem.levels[o]):
            overlapped |= _shared_ports(problem, o, above) == 1
    return overlapped


@kernel
def first_cycles(problem, traffic, o, k, s, count, lowest_bits):
    """Cycles of the first loading (inputs) or last off-loading (output) across a boundary, at least.

    A transfer that happens once may be spread over the run down to one tile of the lowest level.

    Args:
        lowest_bits: that tile, at least.
    """
    if k == 0 or _is_overlapped(problem, o, k):
        return 0.0
    lower = WRITE_FROM_ABOVE if o != O else READ_UP
    upper = READ_DOWN if o != O else WRITE_FROM_BELOW
    return max(
        _transfer_cycles(problem, traffic, o, k, s, lower, count, lowest_bits),
        _transfer_cycles(problem, traffic, o, k, s, upper, count, lowest_bits),
    )


@kernel
def _transfer_cycles(problem, traffic, o, k, s, direction, count, lowest_bits):
    row = problem.first_row[o] + k
    if traffic[row, s, ACTIVE + direction] == 0.0:
        return 0.0
    cycles = traffic[row, s, TRANSFER_CYCLES + direction]
    if count != 1.0:
        return cycles
    port = problem.port[o, k + side(direction), direction]
    return min(cycles, np.ceil(lowest_bits / problem.port_bandwidth[port, 1]))


@kernel
def fill_transfers(problem, states, traffic, fit, run, loading, transfers):
    """What every boundary costs the port of each direction, whatever lies below it: float64[N_TRANSFER, R, 4, S]."""
    transfers[:] = 0.0
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            loads = k > 0 and not _is_overlapped(problem, o, k)
            for s in range(states.shape[0]):
                if not fit[row, s]:
                    continue
                window = boundary_window(problem, states, traffic, o, k, s)
                count = states[s, CYCLES_ABOVE]
                for direction in range(4):
                    if k + side(direction) < 0 or traffic[row, s, ACTIVE + direction] == 0.0:
                        continue
                    busy, stalled, reserved = recurring_cycles(problem, traffic, o, k, s, direction, count, window, run)
                    transfers[BUSY_CYCLES, row, direction, s] = busy
                    transfers[STALLED_CYCLES, row, direction, s] = stalled
                    transfers[RESERVED_CYCLES, row, direction, s] = reserved
                    back = o == O and (direction == READ_DOWN or direction == WRITE_FROM_ABOVE)
                    if loads and count == 1.0 and not back:
                        whole = traffic[row, s, TRANSFER_CYCLES + direction]
                        transfers[WHOLE_CYCLES, row, direction, s] = max(0.0, whole - loading[row, s])


@kernel
def lower_latency(bounds, lanes, load):
    """Least latency of what adds up to these lanes: computation, stalls and loading.

    Once-only transfers are spread over what the recurring ones leave of a port during the run and its stalls. So
    either they and the part of the run and its stalls that is reserved add up, or nothing is left and they follow it.

    Args:
        lanes: float64[LANES], sums over all boundaries.
        load: float64[LOADS], loading of each operand by itself.

    Returns:
        (cycles, the same by the first lanes alone)
    """
    stall = longest_stall(bounds, lanes, STALL_LANES, min(FIRST_LANES, bounds.lanes[0]))
    by_first = _lower_latency(bounds, lanes, load, stall)
    if bounds.queues[0] == 0 and bounds.lanes[0] <= FIRST_LANES:
        return by_first, by_first
    stall = max(stall, longest_stall(bounds, lanes, FIRST_LANES, bounds.lanes[0]))
    cycles = _lower_latency(bounds, lanes, load, stall)
    for lane in range(STALL_LANES, bounds.lanes[0]):
        if bounds.lane_kind[lane] == QUEUED:
            cycles = max(cycles, _queue_latency(bounds, lanes, lane, stall) + _beside(load))
    return cycles, by_first


@kernel
def longest_stall(bounds, lanes, first, stop):
    """The longest stall that the lanes from ``first`` on foresee, up to ``stop``."""
    stall = 0.0
    for lane in range(first, stop):
        if bounds.lane_kind[lane] >= BUSY:
            stall = max(stall, lanes[lane])
    return stall


@kernel
def _lower_latency(bounds, lanes, load, stall):
    beside = _beside(load)
    loading = max(lanes[LOADING] + beside, max(load[W], load[I]) + load[O])
    return max(bounds.compute + stall + loading, _queue_latency(bounds, lanes, 0, stall) + beside)


@formula
def _beside(load):
    """Loading of one input that is not serial: that of the other is in parallel."""
    return min(load[3 + W], load[3 + I])


@kernel
def _queue_latency(bounds, lanes, first, stall):
    """Least latency by a port whose queue the lanes from ``first`` on are of, without what is loaded beside it."""
    spread = lanes[first + TOTAL] + stall * min(1.0, lanes[first + RESERVED] / bounds.run)
    followed = max(lanes[first + QUEUED], bounds.compute + stall + lanes[first + WHOLE])
    return min(spread, followed)


@allocating
def longest_queue(problem, bounds, at, stall, load):
    """The port whose queue delays a mapping most, and the least latency by it.

    Args:
        at: int64[R], state of each boundary.
        stall: of the mapping, at least.
        load: float64[LOADS], see ``lower_latency``.
    """
    loading, transfers = np.zeros((problem.rows, 1)), np.zeros((N_TRANSFER, problem.rows, 4, 1))
    for o in range(3):
        for row in range(problem.first_row[o], problem.first_row[o] + problem.levels[o]):
            loading[row, 0] = bounds.loading[row, at[row]]
            transfers[:, row, :, 0] = bounds.transfers[:, row, :, at[row]]
    cost, lanes = np.zeros((problem.rows, 1)), np.empty(QUEUE_LANES)
    longest, cycles = 0, 0.0
    for port in range(problem.ports):
        for kind in range(QUEUE_LANES):
            fill_lane(problem, bounds.series[0], loading, transfers, port, kind, cost)
            lanes[kind] = np.sum(cost)
            if kind == QUEUED or kind == TOTAL:
                lanes[kind] += bounds.compute - bounds.window
        queued = _queue_latency(bounds, lanes, 0, stall) + _beside(load)
        if queued > cycles:
            longest, cycles = port, queued
    return longest, cycles


@kernel
def stalled_cycles(problem, traffic, port, o, k, s, count, window, run):
    """STALLED cycles that a boundary adds to a port if its window is known."""
    total = 0.0
    row = problem.first_row[o] + k
    for direction in range(4):
        level = k + side(direction)
        if level >= 0 and problem.port[o, level, direction] == port and traffic[row, s, ACTIVE + direction] != 0.0:
            total += recurring_cycles(problem, traffic, o, k, s, direction, count, window, run)[1]
    return total


@kernel
def boundary_window(problem, states, traffic, o, k, s):
    """Largest window of a boundary, whatever lies below it."""
    alone = k == 1  # the level begins at state 0
    for d in range(N_DIMS):
        alone &= states[s, SIZE + d] == 1.0 or problem.relevance[o, d] == IRRELEVANT
    return widest_window(problem, states, traffic, o, k, s, 0, alone)


@kernel
def fill_loading_bounds(problem, states, traffic, fit, loading):
    """``first_cycles`` of every boundary at every state: float64[R, S], filled."""
    for o in range(3):
        lowest = problem.first_row[o] + 1
        lowest_bits = np.inf
        if problem.levels[o] > 1:
            for s in range(states.shape[0]):
                if fit[lowest, s]:
                    lowest_bits = min(lowest_bits, traffic[lowest, s, CONTENT_BITS + INTEGER])
        for k in range(first_boundary(o), problem.levels[o]):
            row = problem.first_row[o] + k
            for s in range(states.shape[0]):
                loading[row, s] = 0.0
                if fit[row, s]:
                    loading[row, s] = first_cycles(problem, traffic, o, k, s, states[s, CYCLES_ABOVE], lowest_bits)


@allocating
def score_stalls(problem, bounds, rows, at, n, least, most):
    """Lower and raise the stalls of each port (BUSY, STALLED, and BUSY with once-only transfers whole) to what they add
    up to along a path.

    Args:
        rows, at: int64[n], its boundaries.
        least, most: float64[P, 3] each, of the paths so far.
    """
    total = np.zeros((problem.ports, 3))
    total[:, 0] = -bounds.window
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            for i in range(n):
                if rows[i] != row:
                    continue
                for direction in range(4):
                    level = k + side(direction)
                    if level >= 0 and problem.port[o, level, direction] >= 0:
                        port = problem.port[o, level, direction]
                        total[port, 0] += bounds.transfers[BUSY_CYCLES, row, direction, at[i]]
                        total[port, 1] += bounds.transfers[STALLED_CYCLES, row, direction, at[i]]
                        total[port, 2] += bounds.transfers[WHOLE_CYCLES, row, direction, at[i]]
    total[:, 2] += total[:, 0]
    for port in range(problem.ports):
        for kind in range(3):
            least[port, kind] = min(least[port, kind], total[port, kind])
            most[port, kind] = max(most[port, kind], total[port, kind])


@kernel
def fill_lane(problem, series, loading, transfers, port, kind, cost):
    """What every boundary at every state adds to a lane: float64[R, S], filled."""
    total = cost.shape[1]
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            loads = kind < BUSY and kind != RESERVED and serial_loading(problem, series, o, k)
            for s in range(total):
                cost[row, s] = loading[row, s] if loads else 0.0
            for direction in range(4):
                level = k + side(direction)
                if level < 0 or problem.port[o, level, direction] != port or kind == LOADING:
                    continue
                busy = transfers[BUSY_CYCLES, row, direction]
                reserved = transfers[RESERVED_CYCLES, row, direction]
                for s in range(total):
                    if kind == BUSY or kind == QUEUED:
                        cost[row, s] += busy[s]
                    elif kind == STALLED:
                        cost[row, s] += transfers[STALLED_CYCLES, row, direction, s]
                    elif kind != WHOLE:
                        cost[row, s] += reserved[s]
                    if loads:
                        cost[row, s] += transfers[WHOLE_CYCLES, row, direction, s]


@allocating
def new_bounds(problem, lattice, energy_pj, energy_to_go, workspace):
    """The ``Bounds`` of a candidate, with those of energy and no lane."""
    total, tuples = energy_to_go.shape
    loading, loading_to_go = take(workspace, (problem.rows, total)), take(workspace, (total, MAX_LEVELS + 1, LOADS))
    loading[:] = 0.0
    compute = lattice.states[total - 1, CYCLES] * problem.cycles_per_operation
    return Bounds(
        energy_pj,
        energy_to_go,
        compute,
        np.ceil(compute),
        lattice.states[total - 1, CYCLES] * np.ceil(problem.cycles_per_operation),
        np.full(1, BOTH, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES),
        take(workspace, (LANES, problem.rows, total)),
        take(workspace, (LANES, total, tuples)),
        take(workspace, (problem.rows, total, LANES)),
        take(workspace, (total, tuples, LANES)),
        take(workspace, (problem.rows, total)),
        take(workspace, (total, tuples)),
        take(workspace, (N_TRANSFER, problem.rows, 4, total)),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(SLOPES),
        take(workspace, (SLOPES, MIXES, total, tuples)),
        take(workspace, (problem.rows, total, SLOPES, MIXES)),
        take(workspace, (total, tuples, SLOPES, MIXES)),
        np.zeros((SLOPES, MIXES)),
        loading,
        loading_to_go,
    )


@kernel
def add_lane(problem, lattice, tables, bounds, port, kind):
    """Fill one more lane."""
    lane = bounds.lanes[0]
    _charge_lane(problem, bounds, lane, port, kind)
    _join_lane(problem, lattice, tables, bounds, lane)
    bounds.lanes[0] = lane + 1


@kernel
def _charge_lane(problem, bounds, lane, port, kind):
    """Begin a lane with what each boundary adds to it."""
    bounds.lane_port[lane], bounds.lane_kind[lane] = port, kind
    cost = bounds.lane_cost[lane]
    fill_lane(problem, bounds.series[0], bounds.loading, bounds.transfers, port, kind, cost)
    base = cost[problem.first_row[O], 0]
    if kind == BUSY:
        base -= bounds.window
    elif kind == QUEUED or kind == TOTAL:
        base += bounds.compute - bounds.window
    bounds.base[lane] = base


@kernel
def _join_lane(problem, lattice, tables, bounds, lane):
    """Fill the paths of a lane."""
    paths = bounds.lane_paths[lane]
    fill_joint_paths(problem, lattice, tables, bounds.lane_cost[lane], paths)
    complete = lattice.states.shape[0] - 1
    root = tuple_number(problem, problem.levels[W], problem.levels[I], problem.levels[O])
    bounds.lanes_to_go[complete, root, lane] = paths[complete, root]


@kernel
def spread_lanes(bounds, first):
    """Put the lanes from ``first`` on side by side."""
    cost, paths = bounds.lane_cost, bounds.lane_paths
    for row in range(cost.shape[1]):
        for s in range(cost.shape[2]):
            for lane in range(first, bounds.lanes[0]):
                bounds.lane_cycles[row, s, lane] = cost[lane, row, s]
    for s in range(paths.shape[1]):
        for j in range(paths.shape[2]):
            for lane in range(first, bounds.lanes[0]):
                bounds.lanes_to_go[s, j, lane] = paths[lane, s, j]


@allocating
def begin_lanes(problem, lattice, tables, bounds):
    """Fill the loading and the transfers, and begin the lanes up to LOADING for the port that seems to be busiest.

    Returns:
        Least latency of any mapping, if each boundary lay where it is best for a lane, whatever the others do.
    """
    states, traffic, fit = lattice.states, tables.traffic, tables.fit
    fill_loading_bounds(problem, states, traffic, fit, bounds.loading)
    paths = bounds.loading_to_go
    _fill_loading_paths(problem, lattice, fit, bounds.loading, paths.reshape((paths.shape[0], -1)))
    fill_transfers(problem, states, traffic, fit, bounds.run, bounds.loading, bounds.transfers)
    least = np.zeros((problem.ports, 3))  # QUEUED, BUSY, STALLED: what each boundary adds at least
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            for direction in range(4):
                level = k + side(direction)
                if level < 0 or problem.port[o, level, direction] < 0:
                    continue
                queued, busy, stalled = np.inf, np.inf, np.inf
                for s in range(fit.shape[1]):
                    if fit[row, s]:
                        recurring = bounds.transfers[BUSY_CYCLES, row, direction, s]
                        whole = bounds.transfers[WHOLE_CYCLES, row, direction, s] + bounds.loading[row, s]
                        queued = min(queued, recurring + whole)
                        busy = min(busy, recurring)
                        stalled = min(stalled, bounds.transfers[STALLED_CYCLES, row, direction, s])
                if queued < np.inf:
                    port = problem.port[o, level, direction]
                    least[port, 0] += queued
                    least[port, 1] += busy
                    least[port, 2] += stalled
    port, stall = 0, 0.0
    for other in range(problem.ports):
        if least[other, 0] > least[port, 0]:
            port = other
        stall = max(stall, least[other, 1] - bounds.window, least[other, 2])
    bounds.lanes[0] = STALL_LANES
    return place_first_lanes(problem, lattice, tables, bounds, port, stall)


@kernel
def _fill_loading_paths(problem, lattice, fit, loading, paths):
    """Fill ``loading_to_go``, given as float64[S, (levels + 1) * LOADS]: the least that the loading of the open
    boundaries of one operand adds, whatever the others do.
    """
    serial = _loads_together(problem)
    for s in range(paths.shape[0]):
        here = paths[s]
        if not lattice.allowed[s]:
            here[:] = np.inf
            continue
        join_inner(lattice.predecessor[s], paths, 0, here)
        for j in range(LOADS):
            o = j % 3
            if s == 0:
                here[first_boundary(o) * LOADS + j] = 0.0
            for k in range(first_boundary(o), problem.levels[o]):
                row = problem.first_row[o] + k
                if fit[row, s]:
                    counts = j < 3 or (serial and not serial_loading(problem, BOTH, o, k))
                    closed = here[k * LOADS + j] + (loading[row, s] if counts else 0.0)
                    here[(k + 1) * LOADS + j] = min(here[(k + 1) * LOADS + j], closed)


@kernel
def _loads_together(problem):
    """Do both ports of some boundary serve both inputs, so that loading across it is in series (BOTH)?"""
    both = False
    for o in (W, I):
        for k in range(1, problem.levels[o]):
            both |= _shared_ports(problem, o, k) == 2
    return both


@allocating
def place_first_lanes(problem, lattice, tables, bounds, port, stall):
    """Begin the lanes up to LOADING for a port, with the loading of that input in series that seems to say most.

    Args:
        stall: of every mapping, at least.

    Returns:
        Least latency of any mapping, as far as is told without paths.
    """
    both = _loads_together(problem)
    best, most, longest = BOTH, -np.inf, -np.inf
    for series in (BOTH, W, I):
        if (series == BOTH) == both:
            cycles, queued = _begin_first_lanes(problem, lattice, tables, bounds, port, series, stall)
            if cycles > most or (cycles == most and queued > longest):
                best, most, longest = series, cycles, queued
    if bounds.series[0] != best:
        _begin_first_lanes(problem, lattice, tables, bounds, port, best, stall)
    return most


@allocating
def _begin_first_lanes(problem, lattice, tables, bounds, port, series, stall):
    """Begin these lanes with one choice of the loading in series; returns the same as ``place_first_lanes``, and what
    is QUEUED at least.
    """
    fit = tables.fit
    complete = lattice.states.shape[0] - 1
    bounds.series[0] = series
    load = np.zeros(LOADS)
    for j in range(LOADS):
        load[j] = bounds.loading_to_go[complete, problem.levels[j % 3], j]
    lanes = np.zeros(LANES)
    for kind in range(STALL_LANES):
        _charge_lane(problem, bounds, kind, port, kind)
        lanes[kind] = bounds.base[kind]
        for o in range(3):
            for k in range(first_boundary(o), problem.levels[o]):
                row = problem.first_row[o] + k
                added = np.inf
                for s in range(fit.shape[1]):
                    if fit[row, s]:
                        added = min(added, bounds.lane_cost[kind, row, s])
                lanes[kind] += added
    return _lower_latency(bounds, lanes, load, stall), lanes[QUEUED]


@allocating
def join_queue(problem, lattice, tables, bounds, root, least_cycles):
    """Fill the paths of the lanes QUEUED and TOTAL that ``place_first_lanes`` began, or of another port that delays
    every mapping more.

    Args:
        least_cycles: known latency of every mapping, at least.

    Returns:
        The same, perhaps more by these lanes; infinite if there is no mapping.
    """
    complete = lattice.states.shape[0] - 1
    _join_lane(problem, lattice, tables, bounds, QUEUED)
    queued = bounds.base[QUEUED] + bounds.lanes_to_go[complete, root, QUEUED]
    if queued == np.inf:
        return queued
    least, most = np.full((problem.ports, 3), np.inf), np.zeros((problem.ports, 3))
    _follow_path(problem, lattice, tables, bounds, bounds.lane_cost[QUEUED], bounds.lane_paths[QUEUED], least, most)
    if _move_first_lanes(problem, lattice, tables, bounds, root, least, most, max(queued, least_cycles)):
        _join_lane(problem, lattice, tables, bounds, QUEUED)
        queued = bounds.base[QUEUED] + bounds.lanes_to_go[complete, root, QUEUED]
    _join_lane(problem, lattice, tables, bounds, TOTAL)
    total = bounds.base[TOTAL] + bounds.lanes_to_go[complete, root, TOTAL]
    levels, load = problem.levels, bounds.loading_to_go[complete]
    return max(least_cycles, min(queued, total) + min(load[levels[W], 3 + W], load[levels[I], 3 + I]))


@allocating
def _move_first_lanes(problem, lattice, tables, bounds, root, least, most, least_cycles):
    """Let the first lanes be of the port whose queue takes every mapping most, if that is more than these cycles; is
    it?

    The queue of no port takes every mapping more than it takes the mappings of a path (``least``), so that ports are
    tried by that.
    """
    cost, to_go = bounds.one_lane, bounds.one_to_go
    best = bounds.lane_port[QUEUED]
    least[best, 2] = -np.inf
    for _ in range(QUEUE_TRIES):
        port = np.argmax(least[:, 2])
        if bounds.compute + least[port, 2] <= least_cycles:
            break
        fill_lane(problem, bounds.series[0], bounds.loading, bounds.transfers, port, QUEUED, cost)
        fill_joint_paths(problem, lattice, tables, cost, to_go)
        queued = cost[problem.first_row[O], 0] + bounds.compute - bounds.window + to_go[to_go.shape[0] - 1, root]
        if queued > least_cycles:
            best, least_cycles = port, queued
        _follow_path(problem, lattice, tables, bounds, cost, to_go, least, most)
        least[port, 2] = -np.inf
    if best == bounds.lane_port[QUEUED]:
        return False
    place_first_lanes(problem, lattice, tables, bounds, best, 0.0)
    return True


@kernel
def join_first_lanes(problem, lattice, tables, bounds):
    """Fill the paths of the other lanes that ``place_first_lanes`` began."""
    for lane in range(STALL_LANES):
        if lane != QUEUED and lane != TOTAL:
            _join_lane(problem, lattice, tables, bounds, lane)


@allocating
def _follow_path(problem, lattice, tables, bounds, cost, paths, least, most):
    """Adapt the stalls of the paths so far (see ``score_stalls``) to one of the cheapest paths."""
    path_row, path_at = np.empty(problem.rows, np.int64), np.empty(problem.rows, np.int64)
    n = trace_path(problem, lattice.predecessor, tables.fit, cost, paths, path_row, path_at)
    score_stalls(problem, bounds, path_row, path_at, n, least, most)


@allocating
def add_stall_lanes(problem, lattice, tables, bounds, root):
    """Add lanes of the stalls that all of the best paths for energy and for the other lanes suffer, or else some, and
    let the first lanes be of the port that is busiest then, if its queue is longer.
    """
    least, most = np.full((problem.ports, 3), np.inf), np.zeros((problem.ports, 3))
    _follow_path(problem, lattice, tables, bounds, bounds.energy_pj, bounds.energy_to_go, least, most)
    for lane in range(FIRST_LANES):
        if lane >= STALL_LANES:
            score = least if np.max(least[:, :2]) > 0.0 else most
            best = np.argmax(score[:, :2])
            port, kind = best // 2, best % 2
            if score[port, kind] <= 0.0:
                break
            add_lane(problem, lattice, tables, bounds, port, BUSY + kind)
        if bounds.lane_kind[lane] != RESERVED:
            cost, paths = bounds.lane_cost[lane], bounds.lane_paths[lane]
            _follow_path(problem, lattice, tables, bounds, cost, paths, least, most)
        for known in range(STALL_LANES, bounds.lanes[0]):
            port, kind = bounds.lane_port[known], bounds.lane_kind[known] - BUSY
            least[port, kind] = most[port, kind] = 0.0
    queued = bounds.base[QUEUED] + bounds.lanes_to_go[lattice.states.shape[0] - 1, root, QUEUED]
    if _move_first_lanes(problem, lattice, tables, bounds, root, least, most, queued):
        for lane in range(STALL_LANES):
            _join_lane(problem, lattice, tables, bounds, lane)


@kernel
def add_mix(problem, lattice, tables, bounds, slope):
    """Fill one more set of bounds on energy plus ``slope`` (pJ per cycle) times latency; the first lanes must be there.

    A set that is not the first knows a stall if the first does.
    """
    place = bounds.mixes[0]
    bounds.mixes[0] += 1
    bounds.slope[place] = slope
    complete = lattice.states.shape[0] - 1
    root = tuple_number(problem, problem.levels[W], problem.levels[I], problem.levels[O])
    if place == 0:
        known = bounds.lanes[0] > STALL_LANES and bounds.lane_kind[STALL_LANES] >= BUSY
        known = known and bounds.base[STALL_LANES] + bounds.lanes_to_go[complete, root, STALL_LANES] > 0.0
        bounds.stall_known[0] = 1 if known else 0
    stalled = bounds.stall_known[0] != 0
    cost = bounds.one_lane
    for mix in range(MIXES):
        for o in range(3):
            loads = o == O or (o == W and mix == MIXED_W) or (o == I and mix == MIXED_I)
            for row in range(problem.first_row[o], problem.first_row[o] + problem.levels[o]):
                for s in range(cost.shape[1]):
                    if mix == MIXED_QUEUED:
                        cycles = min(bounds.lane_cost[QUEUED, row, s], bounds.lane_cost[TOTAL, row, s])
                    elif mix == MIXED_LOADING:
                        cycles = bounds.lane_cost[LOADING, row, s]
                    else:
                        cycles = bounds.loading[row, s] if loads else 0.0
                    if stalled and mix != MIXED_QUEUED:
                        cycles += bounds.lane_cost[STALL_LANES, row, s]
                    cost[row, s] = bounds.energy_pj[row, s] + slope * cycles
                    bounds.mixed[row, s, place, mix] = cost[row, s]
        base = bounds.compute
        if mix == MIXED_QUEUED:
            base = min(bounds.base[QUEUED], bounds.base[TOTAL])
        elif stalled:
            base += bounds.base[STALL_LANES]
        bounds.mixed_base[place, mix] = slope * base
        paths = bounds.mixed_paths[place, mix]
        fill_joint_paths(problem, lattice, tables, cost, paths)
        bounds.mixed_to_go[complete, root, place, mix] = paths[complete, root]


@kernel
def spread_mixes(bounds):
    """Put the paths of the mixed bounds side by side."""
    paths = bounds.mixed_paths
    for s in range(paths.shape[2]):
        for j in range(paths.shape[3]):
            for place in range(bounds.mixes[0]):
                for mix in range(MIXES):
                    bounds.mixed_to_go[s, j, place, mix] = paths[place, mix, s, j]
