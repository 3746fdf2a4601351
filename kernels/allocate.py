"""How many of an order's loops each operand keeps at each memory level: ZigZag's greedy allocation, and the check of
any other.

``cuts[o, m]`` is the number of loops (innermost first) at or below level m of operand o.

Keeping one more relevant loop at a level often leaves exactly as much work above, a tie. With an unrolling that is
not whole, the last digit of a product decides such ties, so its order of multiplication matters: ``walk_to`` follows
ZigZag's.
"""

from __future__ import annotations

import numpy as np

from ._jit import formula, kernel
from .problem import FRACTIONAL, FULL_TILES, MAX_LOOPS, N_DIMS, O, tensor_size
from .traffic import CYCLES_ABOVE, REDUCES_ABOVE, SIZE, element_bits

FIT_TOLERANCE = 1e-9


@kernel
def walk_to(problem, unrolling, loop_dim, loop_size, cuts, o, level, start, size):
    """Iterations of each dimension within ``level`` before it takes its own loops, which begin at ``start``.

    Multiplied from the bottom: each level's unrolling, then its loops. ``size``: float64[8], filled.
    """
    first = problem.first_row[o]
    for d in range(N_DIMS):
        size[d] = unrolling.entry[FRACTIONAL, first, d]
    below = 0
    for m in range(level):
        for p in range(below, cuts[o, m]):
            size[loop_dim[p]] *= loop_size[p]
        below = cuts[o, m]
        for d in range(N_DIMS):
            size[d] *= unrolling.entry[FRACTIONAL, first + m + 1, d]


@kernel
def walked_content(problem, unrolling, states, content, o, row, state, size):
    """Elements of a tile of these iterations: as in the table, if no digit of any of them differs from it.

    The last digits do not matter to the largest tile, which has whole iterations (FULL_TILES).
    """
    if problem.repairs & FULL_TILES:
        return content[row, state]
    for d in range(N_DIMS):
        if size[d] != states[state, SIZE + d] * unrolling.below[FRACTIONAL, row, d]:
            return tensor_size(problem, o, size)
    return content[row, state]


@formula
def level_bits(problem, unrolling, states, o, level, start):
    """Bits of one element held at a level that takes its loops from state ``start`` on.

    The output's precision is decided before the level's own loops are chosen (ZigZag, memory_allocator).
    """
    listed = unrolling.lists_reduction[problem.first_row[o] + level] != 0
    return element_bits(problem, o, o == O and (listed or states[start, REDUCES_ABOVE] != 0.0))


@formula
def held_bits(elements, complete_elements, bits, exchanges):
    """Bits that a level holds; what a double-buffered memory exchanges for more counts twice."""
    if exchanges and elements < complete_elements:
        return 2.0 * elements * bits
    return elements * bits


@kernel
def allocate_greedy(
    problem, unrolling, states, content, state_at, loop_dim, loop_size, n, kept, scratch, cuts, failure
):
    """ZigZag's allocation of one order: memory by memory, the feasible combination of cuts that leaves the fewest
    bits times iterations above; the last among equals.

    Args:
        state_at: int64[n + 1], state of each prefix of the order.
        loop_dim, loop_size: int64[n], the order.
        n: number of loops.
        kept: number of innermost loops that are those of the last call with this unrolling, scratch and cuts; -1 for a
            first call. A memory whose allocation depended on no others keeps it.
        cuts: int64[3, L], filled.
        failure: float64[3], filled when the order does not fit: memory, bits needed, bits available.

    Returns:
        Whether the order fits.
    """
    low, high = scratch.low, scratch.high  # candidate cuts low..high of each operand of the memory
    complete = state_at[n]
    for o in range(3):
        scratch.moved[o] = 0
    for memory in range(problem.memories):
        as_before = scratch.reach[memory] <= kept
        for i in range(3):
            o = problem.memory_operands[memory, i]
            as_before = as_before and (o < 0 or scratch.moved[o] == 0)
        if as_before:
            continue
        reach = 0
        capacity = problem.memory_size[memory]
        double_buffered = problem.memory_double_buffered[memory] != 0
        held = 0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            row = problem.first_row[o] + level + 1
            start = cuts[o, level - 1] if level > 0 else 0
            walk = unrolling.fractional_operand[o] != 0
            bits = level_bits(problem, unrolling, states, o, level, state_at[start])
            everything = content[row, complete]
            top = level == problem.levels[o] - 1
            first = n if top and not double_buffered else start  # a top memory must hold all loops: nothing to choose
            last = first - 1
            reach = max(reach, n if walk and (top or double_buffered) else start)
            if walk:
                walk_to(problem, unrolling, loop_dim, loop_size, cuts, o, level, start, scratch.size)
                if double_buffered:
                    for d in range(N_DIMS):
                        scratch.tile[d] = scratch.size[d]
                    for p in range(start, n):
                        scratch.tile[loop_dim[p]] *= loop_size[p]
                    everything = walked_content(problem, unrolling, states, content, o, row, complete, scratch.tile)
                for p in range(start, first):
                    scratch.size[loop_dim[p]] *= loop_size[p]
            needed = 0.0
            for p in range(first, n + 1):
                state = state_at[p]
                elements = content[row, state]
                if walk:
                    if p > first:
                        scratch.size[loop_dim[p - 1]] *= loop_size[p - 1]
                    elements = walked_content(problem, unrolling, states, content, o, row, state, scratch.size)
                if p < n:
                    reach = max(reach, p)
                needed = held_bits(elements, everything, bits, double_buffered and p < n)
                if needed > capacity:
                    break
                scratch.candidate_bits[i, p] = needed
                scratch.candidate_cost[i, p] = 0.0 if top else needed * states[state, CYCLES_ABOVE]
                last = p
            if last < first or (top and last < n):
                _forget(problem, memory, scratch)
                failure[0], failure[1], failure[2] = memory, needed, capacity
                return False
            low[i] = last if top else start
            high[i] = last
            held = i + 1
        needed = 0.0
        for i in range(held):
            needed += scratch.candidate_bits[i, low[i]]
        if needed > capacity:
            _forget(problem, memory, scratch)
            failure[0], failure[1], failure[2] = memory, needed, capacity
            return False
        scratch.reach[memory] = reach
        if unrolling.fractional or double_buffered:
            _choose_any(held, capacity, scratch)
        else:
            _choose_monotone(held, capacity, scratch)
        for i in range(held):
            o = problem.memory_operands[memory, i]
            level = problem.memory_level[memory, o]
            if cuts[o, level] != scratch.choice[i]:
                scratch.moved[o] = 1
            cuts[o, level] = scratch.choice[i]
    return True


@kernel
def _forget(problem, memory, scratch):
    """An order that does not fit leaves no allocation of this memory and those above to keep."""
    for m in range(memory, problem.memories):
        scratch.reach[m] = MAX_LOOPS + 1


@kernel
def _choose_any(held, capacity, scratch):
    """Cheapest combination of one candidate per operand whose bits fit together; the last in lexicographic order
    wins ties.
    """
    bits, cost, low, high, choice = (
        scratch.candidate_bits,
        scratch.candidate_cost,
        scratch.low,
        scratch.high,
        scratch.choice,
    )
    best = np.inf
    for p in range(low[0], high[0] + 1):
        if held == 1:
            if cost[0, p] <= best:
                best = cost[0, p]
                choice[0] = p
            continue
        for q in range(low[1], high[1] + 1):
            if held == 2:
                if bits[0, p] + bits[1, q] <= capacity and cost[0, p] + cost[1, q] <= best:
                    best = cost[0, p] + cost[1, q]
                    choice[0], choice[1] = p, q
                continue
            for r in range(low[2], high[2] + 1):
                if bits[0, p] + bits[1, q] + bits[2, r] <= capacity and cost[0, p] + cost[1, q] + cost[2, r] <= best:
                    best = cost[0, p] + cost[1, q] + cost[2, r]
                    choice[0], choice[1], choice[2] = p, q, r


@kernel
def _choose_monotone(held, capacity, scratch):
    """The same where every operand's bits rise with its cut and all sums are exact: linear in the last two operands.

    As one operand takes more, the largest cut of the other that still fits only falls; ``choice`` of the last operand
    is the cheapest up to there.
    """
    bits, cost, low, high, choice = (
        scratch.candidate_bits,
        scratch.candidate_cost,
        scratch.low,
        scratch.high,
        scratch.choice,
    )
    last = held - 1
    cheapest = scratch.cheapest  # of the last operand: best candidate in low..q
    cheapest[low[last]] = low[last]
    for q in range(low[last] + 1, high[last] + 1):
        cheapest[q] = q if cost[last, q] <= cost[last, cheapest[q - 1]] else cheapest[q - 1]
    if held == 1:
        choice[0] = cheapest[high[0]]
        return
    best = np.inf
    middle = last - 1
    for outer in range(low[0], high[0] + 1 if held == 3 else low[0] + 1):
        outer_bits = bits[0, outer] if held == 3 else 0.0
        outer_cost = cost[0, outer] if held == 3 else 0.0
        q = high[last]
        for p in range(low[middle], high[middle] + 1):
            taken = outer_bits + bits[middle, p]
            while q >= low[last] and taken + bits[last, q] > capacity:
                q -= 1
            if q < low[last]:
                break
            total = outer_cost + cost[middle, p] + cost[last, cheapest[q]]
            if total <= best:
                best = total
                choice[0] = outer
                choice[middle] = p
                choice[last] = cheapest[q]


@formula
def fits(needed, capacity):
    """Whether so many bits fit. The tolerance is for fractional tiles, whose last digits mean nothing."""
    return needed <= capacity * (1.0 + FIT_TOLERANCE)


@kernel
def cut_bits(problem, unrolling, states, content, o, level, start, end):
    """Bits that a level of an operand holds whose loops lie between the states ``start`` and ``end``."""
    row = problem.first_row[o] + level + 1
    complete = states.shape[0] - 1
    memory = problem.chain[o, level]
    exchanges = problem.memory_double_buffered[memory] != 0 and end != complete
    bits = level_bits(problem, unrolling, states, o, level, start)
    return held_bits(content[row, end], content[row, complete], bits, exchanges)


@kernel
def cuts_fit(problem, unrolling, states, content, state_at, cuts, failure):
    """Do the given cuts fit every memory? What a tile holds depends on which loops lie below it alone.

    Args:
        failure: float64[3], filled when they do not: memory, bits needed, bits available.
    """
    for memory in range(problem.memories):
        needed = 0.0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            start = cuts[o, level - 1] if level > 0 else 0
            needed += cut_bits(problem, unrolling, states, content, o, level, state_at[start], state_at[cuts[o, level]])
        if not fits(needed, problem.memory_size[memory]):
            failure[0], failure[1], failure[2] = memory, needed, problem.memory_size[memory]
            return False
    return True


@kernel
def check_allocation(problem, unrolling, states, content, state_at, loop_dim, loop_size, n, scratch, cuts, failure):
    """The same, as the evaluator asks it. Arguments as for ``allocate_greedy``.

    Where the unrolling is fractional, the order of multiplication that the greedy allocation follows may come to
    another digit; what fits a memory in that order is accepted, too.
    """
    if cuts_fit(problem, unrolling, states, content, state_at, cuts, failure):
        return True
    if not unrolling.fractional:
        return False
    for memory in range(problem.memories):
        needed = 0.0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            start = cuts[o, level - 1] if level > 0 else 0
            needed += cut_bits(problem, unrolling, states, content, o, level, state_at[start], state_at[cuts[o, level]])
        if not fits(needed, problem.memory_size[memory]) and not _fits_in_order(
            problem, unrolling, states, content, state_at, loop_dim, loop_size, n, memory, scratch, cuts
        ):
            return False
    return True


@kernel
def _fits_in_order(problem, unrolling, states, content, state_at, loop_dim, loop_size, n, memory, scratch, cuts):
    """Does a memory hold its tiles when they are multiplied in ZigZag's order?"""
    needed = 0.0
    for i in range(3):
        o = problem.memory_operands[memory, i]
        if o < 0:
            break
        level = problem.memory_level[memory, o]
        row = problem.first_row[o] + level + 1
        start = cuts[o, level - 1] if level > 0 else 0
        walk_to(problem, unrolling, loop_dim, loop_size, cuts, o, level, start, scratch.size)
        for p in range(start, cuts[o, level]):
            scratch.size[loop_dim[p]] *= loop_size[p]
        state = state_at[cuts[o, level]]
        elements = walked_content(problem, unrolling, states, content, o, row, state, scratch.size)
        for p in range(cuts[o, level], n):
            scratch.size[loop_dim[p]] *= loop_size[p]
        everything = walked_content(problem, unrolling, states, content, o, row, state_at[n], scratch.size)
        bits = level_bits(problem, unrolling, states, o, level, state_at[start])
        exchanges = problem.memory_double_buffered[memory] != 0 and cuts[o, level] < n
        needed += held_bits(elements, everything, bits, exchanges)
    return needed <= problem.memory_size[memory]
