"""Lower bounds on what any completion of a partial mapping costs.

A *boundary* of operand o below its level k (see ``problem``) lies at a state of the lattice of loop orders. What it
costs depends on that state: energy, the cycles that its transfers keep each port busy, and the cycles of its first
transfer. A mapping is a chain of states with boundaries on it, so that the least that the open boundaries can still
cost, from any state outwards, is a shortest path in the lattice (design of TCM and of resource-constrained paths:
capacities shared by operands and the windows of transfers are relaxed here, never the order of the loops).

Boundaries are counted outwards: W and I have the boundaries 0..levels-1, the output 1..levels-1 (its boundary 0 is
below all loops). ``opened`` boundaries are the ones not yet placed.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .allocate import FIT_TOLERANCE, held_bits
from .problem import (
    ALL_ACCESSES,
    EXACT_TILES,
    FRACTIONAL,
    INTEGER,
    IRRELEVANT,
    MAX_MEMORIES,
    N_DIMS,
    PARTIAL_X,
    READ_DOWN,
    READ_UP,
    TRUE_EXTENTS,
    WRITE_FROM_ABOVE,
    WRITE_FROM_BELOW,
    I,
    O,
    W,
    side,
    tensor_size,
    unroll,
)
from .traffic import (
    ACCESSES,
    ACTIVE,
    CONTENT_BITS,
    CYCLES,
    CYCLES_ABOVE,
    ENERGY_PJ,
    N_STATE,
    N_TRAFFIC,
    REDUCES_ABOVE,
    SIZE,
    TRANSFER_CYCLES,
    element_bits,
    fill_boundary,
)

ROUNDING = 1e-12  # relative; what the last digits of a product may be worth


@kernel
def first_boundary(o):
    """The innermost boundary of an operand that can be placed."""
    return 1 if o == O else 0


@kernel
def pack_states(problem, rules, items, item_dim, item_count, total, packed, lanes, irrelevant):
    """Write each state as lanes of bits, one an item with a guard bit on top, so that states compare in one step.

    Args:
        packed: uint64[S], filled.
        lanes: uint64[2], filled: all bits but the guards; the guards.
        irrelevant: uint64[3], filled: the lanes of the items that are irrelevant to each operand.

    Returns:
        Whether 64 bits are enough.
    """
    lanes[:] = 0
    irrelevant[:] = 0
    packed[:] = 0
    chain = rules.n_fixed >= 0
    shift = 0
    stride = 1
    for i in range(items):
        width = 1
        while (1 << width) <= item_count[i]:
            width += 1
        if shift + width + 1 > 64:
            return False
        lane = np.uint64(((1 << width) - 1) << shift)
        lanes[0] |= lane
        lanes[1] |= np.uint64(1) << np.uint64(shift + width)
        for o in range(3):
            if problem.relevance[o, item_dim[i]] == IRRELEVANT:
                irrelevant[o] |= lane
        for s in range(total):
            below = (1 if i < s else 0) if chain else (s // stride) % (item_count[i] + 1)
            packed[s] |= np.uint64(below) << np.uint64(shift)
        stride *= item_count[i] + 1
        shift += width + 1
    return True


@kernel
def lies_below(packed, lanes, s, t):
    """Does state t contain all loops of state s?"""
    return ((packed[t] | lanes[1]) - packed[s]) & lanes[1] == lanes[1]


@kernel
def fill_bounds(problem, unrolling, states, content, traffic, scratch, energy_pj, fit, sensitive):
    """Energy of each boundary at each state, and whether the memory below it may hold its tile there.

    Args:
        energy_pj: float64[R, S], filled; infinite where the boundary cannot lie.
        fit: bool[R, S], filled. Without the other operands, but for the least that they take.
        sensitive: bool[R, S], filled: the last digit of a fractional product decides what moves (cost model zigzag);
            ``energy_pj`` is the lower of both possibilities.
    """
    total = states.shape[0]
    complete = total - 1
    least = np.empty((MAX_MEMORIES, 3))  # bits that each operand takes at least
    for memory in range(problem.memories):
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            row = problem.first_row[o] + level + 1
            s = complete if level == problem.levels[o] - 1 else 0
            least[memory, o] = content[row, s] * min(element_bits(problem, o, False), element_bits(problem, o, True))
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            limit = np.inf
            doubled = False
            if k > 0:
                memory = problem.chain[o, k - 1]
                limit = problem.memory_size[memory] * (1.0 + FIT_TOLERANCE)
                doubled = problem.memory_double_buffered[memory] != 0
                for i in range(3):
                    other = problem.memory_operands[memory, i]
                    if other >= 0 and other != o:
                        limit -= least[memory, other]
            listed = unrolling.lists_reduction[row - 1] != 0 if k > 0 else False
            for s in range(total):
                sensitive[row, s] = False
                if o == O and k == 0:
                    fit[row, s] = s == 0
                    energy_pj[row, s] = traffic[row, 0, ENERGY_PJ]
                    continue
                if k == 0:
                    inside = True
                    for d in range(N_DIMS):
                        inside &= states[s, SIZE + d] == 1.0 or problem.relevance[o, d] == IRRELEVANT
                    fit[row, s] = inside
                else:
                    partial = o == O and (listed or states[s, REDUCES_ABOVE] != 0.0)
                    bits = element_bits(problem, o, partial)
                    if not partial:  # the level may begin further in, where sums are not complete
                        bits = min(bits, element_bits(problem, o, True))
                    needed = held_bits(content[row, s], content[row, complete], bits, doubled and s != complete)
                    fit[row, s] = needed <= limit
                energy_pj[row, s] = np.inf
                if fit[row, s]:
                    energy_pj[row, s] = traffic[row, s, ENERGY_PJ]
                    if unrolling.fractional and unrolling.fractional_operand[o] != 0 and k > 0:
                        sensitive[row, s] = _other_rounding(
                            problem, unrolling, states, content, traffic, o, k, s, scratch, energy_pj
                        )


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


@kernel
def port_cycles(problem, traffic, port, o, k, s, window, count):
    """Cycles that a boundary keeps a port busy after its first period, and those that it stalls by itself.

    Args:
        window: cycles of a period, at most, within which each transfer must end.

    Returns:
        (busy, stalled)
    """
    busy, stalled = 0.0, 0.0
    for direction in range(4):
        level = k if direction < READ_UP else k - 1
        if level < 0 or problem.port[o, level, direction] != port:
            continue
        row = problem.first_row[o] + k
        if traffic[row, s, ACTIVE + direction] == 0.0:
            continue
        cycles = traffic[row, s, TRANSFER_CYCLES + direction]
        busy += cycles * (count - 1.0)
        stalled += max(0.0, (cycles - window) * (count - 1.0))
    return busy, stalled


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
def first_cycles(problem, traffic, o, k, s, count):
    """Cycles of the first loading (inputs) or last off-loading (output) across a boundary, at least.

    A transfer that happens once may be spread over the whole run; then nothing is left for certain. Of the boundaries
    whose two ports serve both inputs at one end only, the uppermost alone counts (``latency.onload_cycles``).
    """
    if k == 0 or count == 1.0:
        return 0.0
    row = problem.first_row[o] + k
    if o == O:
        return max(traffic[row, s, TRANSFER_CYCLES + READ_UP], traffic[row, s, TRANSFER_CYCLES + WRITE_FROM_BELOW])
    if _half_shared(problem, o, k):
        for above in range(k + 1, problem.levels[o]):
            if _half_shared(problem, o, above):
                return 0.0
    return max(traffic[row, s, TRANSFER_CYCLES + WRITE_FROM_ABOVE], traffic[row, s, TRANSFER_CYCLES + READ_DOWN])


@kernel
def _half_shared(problem, o, k):
    lower, upper = problem.port[o, k - 1, WRITE_FROM_ABOVE], problem.port[o, k, READ_DOWN]
    return problem.port_both_inputs[lower] + problem.port_both_inputs[upper] == 1


@kernel
def fill_port_bounds(problem, states, traffic, fit, ports, busy, stalled, loading):
    """The same for cycles: of some ports, and of the first transfer.

    Args:
        ports: int64[P].
        busy, stalled: float64[P, R, S], loading: float64[R, S], filled where the boundary fits.
    """
    for o in range(3):
        for k in range(first_boundary(o), problem.levels[o]):
            row = problem.first_row[o] + k
            for s in range(states.shape[0]):
                if not fit[row, s]:
                    continue
                alone = k == 1  # the level begins at state 0
                for d in range(N_DIMS):
                    alone &= states[s, SIZE + d] == 1.0 or problem.relevance[o, d] == IRRELEVANT
                window = widest_window(problem, states, traffic, o, k, s, 0, alone)
                count = states[s, CYCLES_ABOVE]
                for p in range(ports.size):
                    busy[p, row, s], stalled[p, row, s] = port_cycles(
                        problem, traffic, ports[p], o, k, s, window, count
                    )
                loading[row, s] = first_cycles(problem, traffic, o, k, s, count)


@kernel
def fill_operand_paths(problem, successor, allowed, fit, o, cost, paths):
    """The least that the boundaries k.. of one operand can cost from state s on, whatever the others do.

    Args:
        cost: float64[R, S], read where ``fit``.
        paths: float64[levels + 1, S], filled; 0 for k = levels.
    """
    levels = problem.levels[o]
    total = successor.shape[0]
    for s in range(total):
        paths[levels, s] = 0.0
    for k in range(levels - 1, first_boundary(o) - 1, -1):
        row = problem.first_row[o] + k
        for s in range(total - 1, -1, -1):
            best = np.inf
            if allowed[s]:
                if fit[row, s]:
                    best = cost[row, s] + paths[k + 1, s]
                for i in range(successor.shape[1]):
                    t = successor[s, i]
                    if t >= 0 and paths[k, t] < best:
                        best = paths[k, t]
            paths[k, s] = best


@kernel
def tuple_number(problem, w, i, o):
    """Number of the combination of innermost open boundaries (w, i, o) of the three operands."""
    return (w * (problem.levels[I] + 1) + i) * problem.levels[O] + o - 1


@kernel
def count_tuples(problem):
    """How many of these combinations there are."""
    return (problem.levels[W] + 1) * (problem.levels[I] + 1) * problem.levels[O]


@kernel
def fill_joint_paths(problem, successor, allowed, fit, cost, paths):
    """The least that all open boundaries together can cost from a state on: float64[tuples, S], filled.

    All lie on one order of the loops; the capacity that they share is relaxed.
    """
    total, items = successor.shape
    can_close = np.empty((problem.rows, total), np.bool_)  # here or further out
    for o in range(3):
        for k in range(first_boundary(o), problem.levels[o]):
            row = problem.first_row[o] + k
            for s in range(total - 1, -1, -1):
                can_close[row, s] = fit[row, s]
                for i in range(items):
                    t = successor[s, i]
                    can_close[row, s] |= t >= 0 and can_close[row, t]
    first_w, first_i, first_o = problem.first_row[W], problem.first_row[I], problem.first_row[O]
    for w in range(problem.levels[W], -1, -1):
        for i in range(problem.levels[I], -1, -1):
            for o in range(problem.levels[O], 0, -1):
                here = tuple_number(problem, w, i, o)
                open_w, open_i, open_o = w < problem.levels[W], i < problem.levels[I], o < problem.levels[O]
                after_w = tuple_number(problem, w + 1, i, o)
                after_i = tuple_number(problem, w, i + 1, o)
                for s in range(total - 1, -1, -1):
                    best = np.inf
                    if not allowed[s]:
                        paths[here, s] = best
                        continue
                    if not (open_w or open_i or open_o):
                        paths[here, s] = 0.0
                        continue
                    if (
                        (open_w and not can_close[first_w + w, s])
                        or (open_i and not can_close[first_i + i, s])
                        or (open_o and not can_close[first_o + o, s])
                    ):
                        paths[here, s] = best
                        continue
                    if open_w and fit[first_w + w, s]:
                        best = cost[first_w + w, s] + paths[after_w, s]
                    if open_i and fit[first_i + i, s]:
                        best = min(best, cost[first_i + i, s] + paths[after_i, s])
                    if open_o and fit[first_o + o, s]:
                        best = min(best, cost[first_o + o, s] + paths[here + 1, s])
                    for item in range(items):
                        t = successor[s, item]
                        if t >= 0 and paths[here, t] < best:
                            best = paths[here, t]
                    paths[here, s] = best


@kernel
def compulsory_pj(problem, unrolling, states, traffic, scratch):
    """Energy that the memories need for any mapping of this unrolling: each element crosses each boundary once.

    Without EXACT_TILES, a tile of a fractional unrolling is rounded to whole elements, possibly down; the elements
    counted here allow for that. Where the cost model zigzag truncates extents, the inputs are left out.

    Args:
        states: float64[2, N_STATE], traffic: float64[R, 2, N_TRAFFIC], working memory.
    """
    total_cycles = 1.0
    for d in range(N_DIMS):
        total_cycles *= unrolling.remaining[d]
    energy_pj = 0.0
    for o in range(3):
        for column in range(N_STATE):
            states[0, column] = states[1, column] = 1.0
        states[0, REDUCES_ABOVE] = states[1, REDUCES_ABOVE] = 0.0
        for d in range(N_DIMS):
            states[1, SIZE + d] = unrolling.remaining[d]
            if problem.relevance[o, d] == IRRELEVANT:
                if o != O:  # array and input register keep their element as long as such loops turn
                    states[0, CYCLES] *= unrolling.remaining[d]
                elif unrolling.remaining[d] > 1:  # the output leaves the array in every cycle
                    states[0, REDUCES_ABOVE] = 1.0
        states[1, CYCLES] = total_cycles
        for d in range(N_DIMS):
            states[0, SIZE + d] = 1.0
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            s = 1 if k > 0 else 0
            scratch.elements[FRACTIONAL] = scratch.elements[INTEGER] = 1.0
            if k > 0:
                truncated = False
                fractional = False
                for d in range(N_DIMS):
                    scratch.size[d] = states[1, SIZE + d] * unrolling.below[FRACTIONAL, row, d]
                    scratch.tile[d] = unrolling.below[FRACTIONAL, row, d]
                    if problem.relevance[o, d] != IRRELEVANT:
                        fractional |= scratch.tile[d] != np.floor(scratch.tile[d])
                    if problem.relevance[o, d] >= PARTIAL_X and problem.repairs & TRUE_EXTENTS == 0:
                        truncated |= scratch.tile[d] != np.floor(scratch.tile[d])
                        truncated |= problem.window[0, 1] > 1.0 or problem.window[1, 1] > 1.0
                if truncated:
                    continue
                smallest = tensor_size(problem, o, scratch.tile)
                elements = tensor_size(problem, o, scratch.size)
                if problem.repairs & EXACT_TILES:
                    scratch.elements[FRACTIONAL] = elements * (1.0 - ROUNDING)
                else:
                    if fractional:
                        elements *= max(0.0, 1.0 - 0.5 / smallest)
                    scratch.elements[FRACTIONAL] = np.floor(elements * (1.0 + ROUNDING))
            fill_boundary(problem, unrolling, states, total_cycles, o, k, s, scratch.elements, traffic, s)
            energy_pj += traffic[row, s, ENERGY_PJ]
            if problem.repairs & ALL_ACCESSES == 0:  # a truncated fraction of an access
                for direction in range(4):
                    if traffic[row, s, ACCESSES + direction] > 0.0:
                        memory = problem.chain[o, k + side(direction)]
                        energy_pj -= problem.memory_energy[memory, direction % 2]
    return energy_pj


@kernel
def candidate_bounds(problem, unrolling, scratch, array_dim, loop_dim, candidates, array_pj, bounds):
    """The least energy (pJ) and latency (cycles) of each candidate, from what every mapping must do: float64[S, 2]."""
    states = np.empty((2, N_STATE))
    traffic = np.empty((problem.rows, 2, N_TRAFFIC))
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        bounds[i, 0] = array_pj[i] + compulsory_pj(problem, unrolling, states, traffic, scratch)
        bounds[i, 1] = problem.cycles_per_operation
        for d in range(N_DIMS):
            bounds[i, 1] *= unrolling.remaining[d]
