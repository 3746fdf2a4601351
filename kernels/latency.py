"""Cycles of a mapping: stalls at every memory port, the first loading, the last off-loading (ZigZag 3.9.1, cost_model).

All cycles are cycles of the array clock. ``scratch`` carries what the evaluator reports.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .problem import (
    FRACTIONAL,
    INTEGER,
    IRRELEVANT,
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
            scratch.window[row] = scratch.single_window[row]
            if used[memory] <= 0.5:
                scratch.window[row] = scratch.period[row]
            elif scratch.effective_use[row] <= 1.0 - used[memory]:
                scratch.window[row] = scratch.period[row]
                used[memory] += scratch.effective_use[row]


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
def port_stall(problem, traffic, port, scratch):
    """Stall (positive) or slack (negative) cycles of one port.

    Each activity has a period P, a window A at the start of each period and needs R cycles in it; alone it stalls
    (R - A)(count - 1). Several share the union of their windows.
    """
    period, window, count = scratch.activity[PERIOD], scratch.activity[WINDOW], scratch.activity[COUNT]
    used = 0
    stalls = 0.0
    slack = 0.0
    windows = 0.0
    single = 0.0
    union = -1.0
    for a in range(problem.port_first[port], problem.port_first[port + 1]):
        direction, row = problem.activity[a, 2], problem.activity[a, 3]
        column = scratch.column[row]
        if traffic[row, column, ACTIVE + direction] == 0.0:
            continue
        period[used] = scratch.period[row]
        window[used] = scratch.window[row]
        count[used] = scratch.count[row]
        single = (traffic[row, column, TRANSFER_CYCLES + direction] - window[used]) * (count[used] - 1.0)
        windows += window[used] * (count[used] - 1.0)
        if single > 0.0:
            stalls += single
        else:
            slack += single
        if union < 0.0 and period[used] == window[used]:
            union = period[used] * count[used]
        used += 1
    if used == 0:
        return 0.0
    if used == 1:
        return single
    if union < 0.0:
        union = _union(used, scratch)
    return stalls + max(0.0, slack + windows - union)


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
    s = problem.cycles_per_operation
    busy = np.ceil(total_cycles * s) + stall
    for o in range(3):
        for level in range(problem.levels[o]):
            for direction in range(4):
                scratch.loading[o, level, direction] = 0.0
    cycles, floor = scratch.activity[NEEDED], scratch.activity[FLOOR]
    for port in range(problem.ports):
        bandwidth = problem.port_bandwidth[port, 1]
        required = 0.0
        once = 0
        for a in range(problem.port_first[port], problem.port_first[port + 1]):
            o, level, direction = problem.activity[a, 0], problem.activity[a, 1], problem.activity[a, 2]
            if o == O and (direction == READ_DOWN or direction == WRITE_FROM_ABOVE):
                continue
            row = problem.activity[a, 3]
            column = scratch.column[row]
            if traffic[row, column, ACTIVE + direction] == 0.0:
                continue
            needed = traffic[row, column, TRANSFER_CYCLES + direction]
            if scratch.count[row] != 1.0:
                scratch.loading[o, level, direction] = needed
                required += np.ceil(traffic[row, column, AVERAGE_BANDWIDTH + direction] / s)
                continue
            lowest = problem.first_row[o] + 1
            p = once  # stable insertion, longest first
            while p > 0 and cycles[p - 1] < needed:
                cycles[p] = cycles[p - 1]
                floor[p] = floor[p - 1]
                scratch.order[p] = scratch.order[p - 1]
                p -= 1
            cycles[p] = needed
            floor[p] = np.ceil(traffic[lowest, scratch.column[lowest], CONTENT_BITS + INTEGER] / bandwidth)
            scratch.order[p] = a
            once += 1
        surplus = max(0.0, (bandwidth - required) / bandwidth * busy)
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
    both_w, one_w, own_w = _onload_parts(problem, scratch, W)
    both_i, one_i, own_i = _onload_parts(problem, scratch, I)
    return min(
        both_w + max(both_i + one_i + own_i, one_w + own_w),
        both_i + max(both_w + one_w + own_w, one_i + own_i),
    )


@kernel
def _onload_parts(problem, scratch, o):
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
