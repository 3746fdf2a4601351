"""What allocations of the three operands cost together, from what each of them costs alone.

For every allocation of an operand, once per order, a *class* holds all that depends on no other operand: energy, bits
held, the stall of ports that only it uses, and at each *coupled* port the tally of its activities (see
``latency.tally_windows``). Three classes add up to the cost of a mapping: what is left to decide together are the
double buffers of shared memories, the longest stall, and what little happens once and finds no time to be spread over.
The formulas are those of ``latency``; what adds up to no simple result goes through ``latency`` as a whole.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .allocate import fits
from .latency import (
    busy_to_spread,
    clear_loading,
    clear_tally,
    double_buffered,
    fill_double_buffers,
    offload_cycles,
    onload_parts,
    port_stall,
    shared_stall,
    spread_less,
    tally_loading,
    tally_windows,
)
from .problem import MAX_LEVELS, MAX_MEMORIES, MAX_PORTS, NONE, I, O, W

#: One allocation of one operand: what it costs whatever the others do.
CLASS = np.dtype(
    [
        ("energy_pj", np.float64),
        ("weight", np.int64),  # allocations that are the same schedule
        ("code", np.int64),  # its cuts as digits to the base n + 1
        ("reach", np.int64),  # innermost loops on which it depends, all but the last of them below its boundaries
        ("stall", np.float64),  # of the ports that only this operand uses
        ("busy", np.float64),  # cycles that let all that happens once at these ports be spread
        ("both", np.float64),  # parts of the first loading of an input, see ``onload_cycles``, when all is spread
        ("one", np.float64),
        ("own", np.float64),
        ("offload", np.float64),  # of the output, when all is spread
        ("bits", np.float64, MAX_MEMORIES),  # held by each memory
        ("use", np.float64, MAX_MEMORIES),  # share of each memory that the effective tile takes
        ("cuts", np.int64, MAX_LEVELS),
        ("period", np.float64, MAX_LEVELS + 1),  # by boundary, as in Scratch
        ("single_window", np.float64, MAX_LEVELS + 1),
        ("count", np.float64, MAX_LEVELS + 1),
        ("column", np.int64, MAX_LEVELS + 1),
        ("loading", np.float64, (MAX_LEVELS, 4)),  # as in Scratch, when all is spread
    ],
    align=True,
)

NEVER = 63  # a bit of a set of memories that is never set

#: What the operands of a problem share.
COUPLING = np.dtype(
    [
        ("crowded", np.int64, MAX_MEMORIES),  # memories that tiles of several operands may fill
        ("n_crowded", np.int64),
        ("buffer", np.int64, MAX_MEMORIES),  # shared memories whose double buffers matter, those without W first
        ("n_buffers", np.int64),
        ("early_buffers", np.int64),  # number of those without W
        ("port", np.int64, MAX_PORTS),  # ports that several operands or such memories decide, those without W first
        ("n_ports", np.int64),
        ("early_ports", np.int64),
        ("below", np.int64, (3, MAX_PORTS)),  # place in ``buffer`` of what decides the windows of the operand's
        ("above", np.int64, (3, MAX_PORTS)),  # activities at the low and at the high side of a coupled port, or NEVER
        ("level", np.int64, (3, MAX_PORTS)),  # of the operand at the coupled port, -1: it does not use it
        ("own_port", np.int64, (3, MAX_PORTS)),  # ports that one operand decides alone
        ("n_own", np.int64, 3),
        ("outermost", np.bool_),  # the top memory's tile, which all loops decide, matters to a double buffer
    ],
    align=True,
)


@kernel
def fill_coupling(problem, content, out):
    """Describe what the operands share, before the allocations of one spatial mapping.

    Args:
        content: the table of contents, whose last column is that of the whole layer.
    """
    out.n_crowded = out.n_buffers = out.n_ports = 0
    out.n_own[:] = 0
    out.outermost = False
    for with_w in range(2):
        out.early_buffers, out.early_ports = out.n_buffers, out.n_ports
        for memory in range(problem.memories):
            if problem.memory_operands[memory, 1] < 0 or (problem.memory_level[memory, W] >= 0) != (with_w == 1):
                continue
            most, inner, outer = 0.0, False, False
            for i in range(3):
                o = problem.memory_operands[memory, i]
                if o >= 0:
                    level = problem.memory_level[memory, o]
                    widest = max(problem.bits[2], problem.bits[3]) if o == O else problem.bits[o]
                    # twice: a buffer of its own for what comes next
                    most += 2.0 * widest * content[problem.first_row[o] + level + 1, content.shape[1] - 1]
                    top = level == problem.levels[o] - 1
                    inner |= not top
                    outer |= top
            if not fits(most, problem.memory_size[memory]):
                out.crowded[out.n_crowded] = memory
                out.n_crowded += 1
            if inner:
                out.buffer[out.n_buffers] = memory
                out.n_buffers += 1
                out.outermost |= outer
        for port in range(problem.ports):
            _couple_port(problem, port, with_w == 1, out)


@kernel
def _couple_port(problem, port, with_w, out):
    """List a port among the coupled ones that W has (or has not) a part in, or as one operand's own."""
    operands, decided_by_w, coupled = 0, False, False
    q = out.n_ports
    out.below[:, q] = out.above[:, q] = NEVER
    out.level[:, q] = -1
    for a in range(problem.port_first[port], problem.port_first[port + 1]):
        o, level, row = problem.activity[a, 0], problem.activity[a, 1], problem.activity[a, 3]
        out.level[o, q] = level
        operands |= 1 << o
        decided_by_w |= o == W
        k = row - problem.first_row[o]
        if k == 0:
            continue  # the boundary inside level 0 has no double buffer
        for j in range(out.n_buffers):
            if out.buffer[j] == problem.chain[o, k - 1]:
                if k == level:
                    out.below[o, q] = j
                else:
                    out.above[o, q] = j
        memory = problem.chain[o, k - 1]
        if problem.memory_operands[memory, 1] >= 0 and k < problem.levels[o]:
            coupled = True
            decided_by_w |= problem.memory_level[memory, W] >= 0
    if operands == 0:
        return
    single = operands & (operands - 1) == 0
    if single and not coupled:
        if not with_w:
            o = W if operands == 1 << W else (I if operands == 1 << I else O)
            out.own_port[o, out.n_own[o]] = port
            out.n_own[o] += 1
    elif decided_by_w == with_w:
        out.port[q] = port
        out.n_ports += 1


@kernel
def fill_class(problem, traffic, coupling, o, scratch, one, tallies):
    """Fill a class from an allocation that ``place_operand`` has just placed.

    Args:
        one: the class; energy, weight, code, bits and cuts are filled elsewhere.
        tallies: TALLY[Q, 4], filled: of this operand at each coupled port, by (double buffer at the low side) + 2 x
            (at the high side).
    """
    first, levels = problem.first_row[o], problem.levels[o]
    one.reach = scratch.position[first + levels - 1] + 1
    for k in range(levels + 1):
        row = first + k
        one.period[k], one.single_window[k] = scratch.period[row], scratch.single_window[row]
        one.count[k], one.column[k] = scratch.count[row], scratch.column[row]
        scratch.window[row] = scratch.single_window[row]
        if k > 0:
            use = scratch.effective_use[row]
            one.use[problem.chain[o, k - 1]] = use
            if double_buffered(use, use)[0]:  # where no other operand is
                scratch.window[row] = scratch.period[row]
    clear_loading(problem, o, scratch)
    one.stall = one.busy = 0.0
    for i in range(coupling.n_own[o]):
        port = coupling.own_port[o, i]
        one.stall = max(one.stall, port_stall(problem, traffic, port, scratch))
        one.busy = max(one.busy, _tally_port_loading(problem, traffic, port, o, scratch, scratch.tally))
    for q in range(coupling.n_ports):
        if coupling.level[o, q] < 0:
            clear_tally(tallies[q, 0])
            continue
        port = coupling.port[q]
        below, above = first + coupling.level[o, q], first + coupling.level[o, q] + 1
        _tally_port_loading(problem, traffic, port, o, scratch, scratch.tally)
        for variant in range(4):
            if (variant & 1 and coupling.below[o, q] == NEVER) or (variant & 2 and coupling.above[o, q] == NEVER):
                continue
            if coupling.below[o, q] != NEVER:
                scratch.window[below] = scratch.period[below] if variant & 1 else scratch.single_window[below]
            if coupling.above[o, q] != NEVER:
                scratch.window[above] = scratch.period[above] if variant & 2 else scratch.single_window[above]
            tally = tallies[q, variant]
            clear_tally(tally)
            tally.required, tally.spreadable = scratch.tally.required, scratch.tally.spreadable
            tally_windows(problem, traffic, port, o, scratch, tally)
    for level in range(levels):
        for direction in range(4):
            one.loading[level, direction] = scratch.loading[o, level, direction]
    if o == O:
        one.offload = offload_cycles(problem, scratch)
    else:
        one.both, one.one, one.own = onload_parts(problem, scratch, o)


@kernel
def _tally_port_loading(problem, traffic, port, o, scratch, tally):
    """Cycles that let all that happens once at a port be spread; the tally starts anew."""
    clear_tally(tally)
    tally_loading(problem, traffic, port, o, scratch, tally)
    return busy_to_spread(problem.port_bandwidth[port, 1], tally.required, tally.spreadable)


@kernel
def _restore(problem, o, one, scratch):
    """Put a class where ``latency`` expects it."""
    first = problem.first_row[o]
    for k in range(problem.levels[o] + 1):
        scratch.period[first + k] = one.period[k]
        scratch.single_window[first + k] = one.single_window[k]
        scratch.count[first + k] = one.count[k]
        scratch.column[first + k] = one.column[k]
        if k > 0:
            scratch.effective_use[first + k] = one.use[problem.chain[o, k - 1]]


@kernel
def restore_all(problem, w, i, o, scratch):
    """The same for the classes of all operands, with the windows that their double buffers give."""
    _restore(problem, W, w, scratch)
    _restore(problem, I, i, scratch)
    _restore(problem, O, o, scratch)
    fill_double_buffers(problem, scratch)


@kernel
def room_left(problem, coupling, i, o):
    """Do the tiles of I and O leave room at all in the memories that they share?"""
    for j in range(coupling.n_crowded):
        m = coupling.crowded[j]
        if not fits(i.bits[m] + o.bits[m], problem.memory_size[m]):
            return False
    return True


@kernel
def room_for_all(problem, coupling, w, i, o):
    """Do the tiles of all operands fit the memories that they share?"""
    for j in range(coupling.n_crowded):
        m = coupling.crowded[j]
        if not fits(w.bits[m] + i.bits[m] + o.bits[m], problem.memory_size[m]):
            return False
    return True


@kernel
def buffer_sets(problem, coupling, first, stop, w, i, o):
    """Which of the shared memories first..stop-1 hold each operand's tile twice: three sets, as bits."""
    set_w, set_i, set_o = 0, 0, 0
    for j in range(first, stop):
        m = coupling.buffer[j]
        used = 0.0
        for place in range(3):
            operand = problem.operand_order[place]
            used += w.use[m] if operand == W else (i.use[m] if operand == I else o.use[m])
        if double_buffered(np.inf, used)[0]:  # whatever there is
            set_w, set_i, set_o = set_w | 1 << j, set_i | 1 << j, set_o | 1 << j
            continue
        for place in range(3):
            operand = problem.operand_order[place]
            use = w.use[m] if operand == W else (i.use[m] if operand == I else o.use[m])
            twice, used = double_buffered(use, used)
            if twice:
                if operand == W:
                    set_w |= 1 << j
                elif operand == I:
                    set_i |= 1 << j
                else:
                    set_o |= 1 << j
    return set_w, set_i, set_o


@kernel
def variant_of(coupling, o, q, buffers):
    """Which tally of the operand at a coupled port holds for these double buffers."""
    return ((buffers >> coupling.below[o, q]) & 1) | (((buffers >> coupling.above[o, q]) & 1) << 1)


@kernel
def join_tallies(bandwidth, w, i, o):
    """A port that three operands (or fewer) share.

    Returns:
        (its stall, or more where the union of the windows is not known; whether it is known; cycles that let all that
        happens once be spread)
    """
    first, union = w.first, w.union
    if i.first < first:
        first, union = i.first, i.union
    if o.first < first:
        first, union = o.first, o.union
    if first == NONE:
        union = max(w.widest, i.widest, o.widest)
    busy = busy_to_spread(bandwidth, w.required + i.required + o.required, w.spreadable + i.spreadable + o.spreadable)
    return shared_stall(w.stalls + i.stalls + o.stalls, w.rest + i.rest + o.rest, union), first != NONE, busy


@kernel
def fill_short_loading(problem, traffic, coupling, busy, tallies, a, b, c, w, i, o, scratch):
    """Loading cycles of the classes a, b, c of W, I, O when the busy cycles are too few to spread all that happens
    once.
    """
    _restore_loading(problem, W, w, scratch)
    _restore_loading(problem, I, i, scratch)
    _restore_loading(problem, O, o, scratch)
    for q in range(coupling.n_ports):
        at_w, at_i, at_o = tallies[W, a, q, 0], tallies[I, b, q, 0], tallies[O, c, q, 0]
        spread_less(
            problem,
            traffic,
            coupling.port[q],
            busy,
            at_w.required + at_i.required + at_o.required,
            at_w.spreadable + at_i.spreadable + at_o.spreadable,
            scratch,
        )
    for operand in range(3):
        if busy >= (w.busy if operand == W else (i.busy if operand == I else o.busy)):
            continue
        for j in range(coupling.n_own[operand]):
            port = coupling.own_port[operand, j]
            clear_tally(scratch.tally)
            tally_loading(problem, traffic, port, operand, scratch, scratch.tally)
            spread_less(problem, traffic, port, busy, scratch.tally.required, scratch.tally.spreadable, scratch)


@kernel
def _restore_loading(problem, o, one, scratch):
    """Put of a class where ``latency`` expects it what its loading takes."""
    first = problem.first_row[o]
    for k in range(problem.levels[o] + 1):
        scratch.count[first + k] = one.count[k]
        scratch.column[first + k] = one.column[k]
    for level in range(problem.levels[o]):
        for direction in range(4):
            scratch.loading[o, level, direction] = one.loading[level, direction]
