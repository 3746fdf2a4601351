"""Cycles of a mapping: stalls at every memory port, the first loading, the last off-loading (ZigZag 3.9.1, cost_model).

All cycles are cycles of the array clock. ``scratch`` carries what the evaluator reports.
"""

from __future__ import annotations

import numpy as np

from ._jit import formula, kernel
from .problem import (
    FRACTIONAL,
    INTEGER,
    IRRELEVANT,
    NONE,
    READ_DOWN,
    READ_UP,
    RELEVANT,
    WRITE_FROM_ABOVE,
    WRITE_FROM_BELOW,
    I,
    O,
    W,
)
from .traffic import ACTIVE, AVERAGE_BANDWIDTH, CONTENT_BITS, CYCLES, CYCLES_ABOVE, TRANSFER_CYCLES

PERIOD, WINDOW, COUNT, NEEDED, FLOOR = range(5)  # rows of Scratch.activity
ALL = -1  # in place of an operand: all of them


@kernel
def fill_windows(problem, states, traffic, state_at, loop_dim, loop_size, o, scratch):
    """Period, count and window of every boundary of one operand, from the positions of its boundaries.

    While the outermost loops of a level are irrelevant to the operand, its tile is not needed anew: the window
    shrinks to the period divided by them. While they are relevant, its data is replaced piece by piece: the effective
    tile is that much smaller. Whole cycles of the array clock.
    """
    s = problem.cycles_per_operation
    row = problem.first_row[o]
    end = scratch.position[row]
    state = state_at[end]
    scratch.period[row] = scratch.single_window[row] = np.ceil(states[state, CYCLES] * s)
    scratch.count[row] = states[state, CYCLES_ABOVE]
    start = 0
    for level in range(problem.levels[o]):
        row += 1
        end = scratch.position[row]
        state = state_at[end]
        operations = window = states[state, CYCLES]
        bits = traffic[row, scratch.column[row], CONTENT_BITS + FRACTIONAL]
        if end > start:
            outermost = problem.relevance[o, loop_dim[end - 1]]
            run = 1.0
            p = end - 1
            while p >= start and problem.relevance[o, loop_dim[p]] == outermost:
                run *= loop_size[p]
                p -= 1
            if outermost == IRRELEVANT:
                window = operations / run
            elif outermost == RELEVANT:
                bits = np.floor(bits / run)
        scratch.period[row] = np.ceil(operations * s)
        scratch.single_window[row] = np.ceil(window * s)
        scratch.count[row] = states[state, CYCLES_ABOVE]
        scratch.effective_use[row] = bits / problem.memory_size[problem.chain[o, level]]
        start = end


@kernel
def fill_double_buffers(problem, scratch):
    """Widen the window of every tile that is double-buffered to its whole period.

    A memory is double-buffered for an operand when twice its effective tile still fits beside what the memory holds.
    """
    used = scratch.memory_used
    for m in range(problem.memories):
        used[m] = 0.0
    for i in range(3):
        o = problem.operand_order[i]
        row = problem.first_row[o]
        scratch.window[row] = scratch.single_window[row]
        for level in range(problem.levels[o]):
            used[problem.chain[o, level]] += scratch.effective_use[row + level + 1]
    for i in range(3):
        o = problem.operand_order[i]
        row = problem.first_row[o]
        for level in range(problem.levels[o]):
            row += 1
            memory = problem.chain[o, level]
            buffered, used[memory] = double_buffered(scratch.effective_use[row], used[memory])
            scratch.window[row] = scratch.period[row] if buffered else scratch.single_window[row]


@formula
def double_buffered(use, used):
    """Does a memory of which ``used`` is in use hold a tile that takes ``use`` of it twice? And what is in use then."""
    if used <= 0.5:
        return True, used
    if use <= 1.0 - used:
        return True, used + use
    return False, used


@kernel
def _covered(scratch, upto, time):
    """Time units of [0, time) inside the window of any of the activities order[0..upto], periods nested and ascending.

    ``scratch.covered[0]`` holds the units covered in one period of each, ``covered[1]`` those of the shorter ones
    inside its window.
    """
    total = 0.0
    for i in range(upto, -1, -1):
        j = scratch.order[i]
        whole = np.floor(time / scratch.activity[PERIOD, j])
        total += whole * scratch.covered[0, i]
        time -= whole * scratch.activity[PERIOD, j]
        window = scratch.activity[WINDOW, j]
        if time <= window:
            return total + time
        total += window - scratch.covered[1, i]
    return total


@kernel
def clear_tally(tally):
    """Nothing happens at the port."""
    tally.stalls = tally.rest = tally.widest = tally.required = tally.spreadable = 0.0
    tally.union, tally.first = 0.0, NONE


@kernel
def tally_windows(problem, traffic, port, o, scratch, tally):
    """Add to a tally how the activities of one operand (or of ALL) at a port keep to their windows.

    Each has a period P, a window A at the start of each period and needs R cycles in it; alone it stalls
    (R - A)(count - 1).

    Returns:
        Number of activities; they are the first ones of ``scratch.activity``.
    """
    used = 0
    for a in range(problem.port_first[port], problem.port_first[port + 1]):
        direction, row = problem.activity[a, 2], problem.activity[a, 3]
        if o != ALL and problem.activity[a, 0] != o:
            continue
        column = scratch.column[row]
        if traffic[row, column, ACTIVE + direction] == 0.0:
            continue
        period, window, count = scratch.period[row], scratch.window[row], scratch.count[row]
        scratch.activity[PERIOD, used] = period
        scratch.activity[WINDOW, used] = window
        scratch.activity[COUNT, used] = count
        used += 1
        alone = (traffic[row, column, TRANSFER_CYCLES + direction] - window) * (count - 1.0)
        tally.stalls += max(alone, 0.0)
        tally.rest += min(alone, 0.0) + window * (count - 1.0)
        tally.widest = max(tally.widest, window * count)
        if period == window and tally.first == NONE:
            tally.union, tally.first = period * count, a
    return used


@formula
def shared_stall(stalls, rest, union):
    """Stall of several activities that share the union of their windows, from their tally."""
    return stalls + max(0.0, rest - union)


@kernel
def port_stall(problem, traffic, port, scratch):
    """Stall (positive) or slack (negative) cycles of one port."""
    tally = scratch.tally
    clear_tally(tally)
    used = tally_windows(problem, traffic, port, ALL, scratch, tally)
    if used == 0:
        return 0.0
    if used == 1:
        return tally.stalls + tally.rest - scratch.activity[WINDOW, 0] * (scratch.activity[COUNT, 0] - 1.0)
    return shared_stall(tally.stalls, tally.rest, tally.union if tally.first != NONE else _union(used, scratch))


@kernel
def _union(n, scratch):
    """Time inside any window of n activities, over the longest period times its count."""
    period, window, count = scratch.activity[PERIOD], scratch.activity[WINDOW], scratch.activity[COUNT]
    order = scratch.order
    longest = 0
    for i in range(n):  # insertion sort by period
        if period[i] > period[longest]:
            longest = i
        p = i
        while p > 0 and period[order[p - 1]] > period[i]:
            order[p] = order[p - 1]
            p -= 1
        order[p] = i
    for i in range(n):
        j = order[i]
        inside = _covered(scratch, i - 1, window[j])
        scratch.covered[1, i] = inside
        scratch.covered[0, i] = window[j] + _covered(scratch, i - 1, period[j]) - inside
    return scratch.covered[0, n - 1] * count[longest]


@kernel
def fill_loading(problem, total_cycles, traffic, stall, scratch):
    """Cycles of the first loading and last off-loading transfers, per (operand, level, direction).

    Transfers that happen only once may be spread over the bandwidth that the recurring ones leave, down to one tile
    of the lowest level.
    """
    busy = busy_cycles(problem, total_cycles, stall)
    for o in range(3):
        clear_loading(problem, o, scratch)
    tally = scratch.tally
    for port in range(problem.ports):
        clear_tally(tally)
        tally_loading(problem, traffic, port, ALL, scratch, tally)
        spread_less(problem, traffic, port, busy, tally.required, tally.spreadable, scratch)


@formula
def busy_cycles(problem, total_cycles, stall):
    """Cycles over which transfers that happen once may be spread."""
    return np.ceil(total_cycles * problem.cycles_per_operation) + stall


@formula
def busy_to_spread(bandwidth, required, spreadable):
    """Cycles in which the bandwidth that ``required`` leaves of a port does ``spreadable`` cycles' worth of work."""
    if spreadable == 0.0:
        return 0.0
    return spreadable * bandwidth / (bandwidth - required) if required < bandwidth else np.inf


@kernel
def clear_loading(problem, o, scratch):
    """Nothing of the operand is loaded."""
    for level in range(problem.levels[o]):
        for direction in range(4):
            scratch.loading[o, level, direction] = 0.0


@kernel
def tally_loading(problem, traffic, port, o, scratch, tally):
    """Loading cycles of one operand's (or ALL) activities at a port if what happens once can be spread as far as it
    may; add the bandwidth that the others require to a tally, and the cycles so spread.
    """
    for a in range(problem.port_first[port], problem.port_first[port + 1]):
        operand, level, direction = problem.activity[a, 0], problem.activity[a, 1], problem.activity[a, 2]
        if (o != ALL and operand != o) or not _loads(problem, traffic, a, scratch):
            continue
        row = problem.activity[a, 3]
        column = scratch.column[row]
        needed = traffic[row, column, TRANSFER_CYCLES + direction]
        if scratch.count[row] != 1.0:
            tally.required += np.ceil(
                traffic[row, column, AVERAGE_BANDWIDTH + direction] / problem.cycles_per_operation
            )
        else:
            spread = max(0.0, needed - _least_loading(problem, traffic, port, operand, scratch))
            tally.spreadable += spread
            needed -= spread
        scratch.loading[operand, level, direction] = needed


@kernel
def _loads(problem, traffic, a, scratch):
    """Is an activity part of the first loading or last off-loading? Partial sums that come back are not."""
    direction, row = problem.activity[a, 2], problem.activity[a, 3]
    if problem.activity[a, 0] == O and (direction == READ_DOWN or direction == WRITE_FROM_ABOVE):
        return False
    return traffic[row, scratch.column[row], ACTIVE + direction] != 0.0


@kernel
def _least_loading(problem, traffic, port, o, scratch):
    """Cycles of one tile of the operand's lowest level, below which nothing is spread."""
    lowest = problem.first_row[o] + 1
    bits = traffic[lowest, scratch.column[lowest], CONTENT_BITS + INTEGER]
    return np.ceil(bits / problem.port_bandwidth[port, 1])


@kernel
def spread_less(problem, traffic, port, busy, required, spreadable, scratch):
    """Where the cycles are too few to spread all that happens once at a port: the longest transfer first."""
    bandwidth = problem.port_bandwidth[port, 1]
    if busy >= busy_to_spread(bandwidth, required, spreadable):
        return
    surplus = max(0.0, (bandwidth - required) / bandwidth * busy)
    cycles, floor = scratch.activity[NEEDED], scratch.activity[FLOOR]
    once = 0
    for a in range(problem.port_first[port], problem.port_first[port + 1]):
        row = problem.activity[a, 3]
        if not _loads(problem, traffic, a, scratch) or scratch.count[row] != 1.0:
            continue
        needed = traffic[row, scratch.column[row], TRANSFER_CYCLES + problem.activity[a, 2]]
        p = once  # stable insertion
        while p > 0 and cycles[p - 1] < needed:
            cycles[p] = cycles[p - 1]
            floor[p] = floor[p - 1]
            scratch.order[p] = scratch.order[p - 1]
            p -= 1
        cycles[p] = needed
        floor[p] = _least_loading(problem, traffic, port, problem.activity[a, 0], scratch)
        scratch.order[p] = a
        once += 1
    for i in range(once):
        spread = min(max(0.0, cycles[i] - floor[i]), surplus)
        surplus -= spread
        a = scratch.order[i]
        scratch.loading[problem.activity[a, 0], problem.activity[a, 1], problem.activity[a, 2]] = cycles[i] - spread


@kernel
def onload_cycles(problem, scratch):
    """First loading of both inputs: boundaries whose two ports both serve both inputs cannot overlap the other input's.

    Per operand: ``both`` adds up where both ports are shared, ``one`` keeps only the highest boundary with one shared
    port (ZigZag assigns there instead of adding), ``own`` adds up the rest.
    """
    both_w, one_w, own_w = onload_parts(problem, scratch, W)
    both_i, one_i, own_i = onload_parts(problem, scratch, I)
    return join_onload(both_w, one_w, own_w, both_i, one_i, own_i)


@formula
def join_onload(both_w, one_w, own_w, both_i, one_i, own_i):
    """The first loading of both inputs from the parts of each."""
    return min(
        both_w + max(both_i + one_i + own_i, one_w + own_w),
        both_i + max(both_w + one_w + own_w, one_i + own_i),
    )


@kernel
def onload_parts(problem, scratch, o):
    """(both, one, own) of an input."""
    both, one, own = 0.0, 0.0, 0.0
    for level in range(problem.levels[o] - 1):
        cycles = max(scratch.loading[o, level, WRITE_FROM_ABOVE], scratch.loading[o, level + 1, READ_DOWN])
        lower, upper = problem.port[o, level, WRITE_FROM_ABOVE], problem.port[o, level + 1, READ_DOWN]
        shared = problem.port_both_inputs[lower] + problem.port_both_inputs[upper]
        if shared == 2:
            both += cycles
        elif shared == 1:
            one = cycles
        else:
            own += cycles
    return both, one, own


@kernel
def offload_cycles(problem, scratch):
    """Last off-loading of the output, boundary after boundary."""
    total = 0.0
    for level in range(problem.levels[O] - 1):
        total += max(scratch.loading[O, level, READ_UP], scratch.loading[O, level + 1, WRITE_FROM_BELOW])
    return total
