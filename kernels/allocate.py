"""How many of an order's loops each operand keeps at each memory level: ZigZag's greedy allocation, and the check of any other.

``cuts[o, m]`` is the number of loops (innermost first) at or below level m of operand o.

Keeping one more relevant loop at a level often leaves exactly as much work above, a tie. With an unrolling that is not whole,
the last digit of a product decides such ties, so its order of multiplication matters: ``walk_content`` follows ZigZag's.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .problem import FRACTIONAL, N_DIMS, O, tensor_size
from .traffic import CONTENT, CYCLES, REDUCES_ABOVE, element_bits

@kernel
def walk_content(problem, unrolling, loop_dim, loop_size, n, cuts, o, level, start, scratch, traffic):
    """Elements that ``level`` holds when it keeps the loops up to p, for p = start..n, on tables whose states are positions.

    Multiplied from the bottom: each level's unrolling, then its loops.
    """
    size = scratch.size
    for d in range(N_DIMS):
        size[d] = 1.0
    first = problem.first_row[o]
    below = 0
    for m in range(level):
        for d in range(N_DIMS):
            size[d] *= unrolling.entry[FRACTIONAL, first + m, d]
        for p in range(below, cuts[o, m]):
            size[loop_dim[p]] *= loop_size[p]
        below = cuts[o, m]
    for d in range(N_DIMS):
        size[d] *= unrolling.entry[FRACTIONAL, first + level, d]
    traffic[first + level + 1, start, CONTENT] = tensor_size(problem, o, size)
    for p in range(start, n):
        size[loop_dim[p]] *= loop_size[p]
        traffic[first + level + 1, p + 1, CONTENT] = tensor_size(problem, o, size)


@kernel
def held_bits(problem, unrolling, states, traffic, o, level, start, state, complete, double_buffered):
    """Bits that ``level`` holds of operand o when it keeps the loops from ``start`` up to ``state``.

    The output's precision is decided before the level's own loops are chosen, and a double-buffered memory counts twice
    whatever it exchanges (ZigZag, memory_allocator).
    """
    row = problem.first_row[o] + level + 1
    partial = o == O and (states[start, REDUCES_ABOVE] != 0.0 or unrolling.lists_reduction[row - 1] != 0)
    bits = traffic[row, state, CONTENT] * element_bits(problem, o, partial)
    if double_buffered and state != complete:
        whole = traffic[row, complete, CONTENT] * element_bits(problem, o, partial)
        if bits < whole:
            bits *= 2.0
    return bits


@kernel
def allocate_greedy(problem, unrolling, states, traffic, state_at, loop_dim, loop_size, n, walk, scratch, cuts, failure):
    """ZigZag's allocation of one order: memory by memory, the feasible combination of cuts that leaves the fewest bits times
    iterations above; the last among equals.

    Args:
        state_at: int64[n + 1], state of each prefix of the order.
        loop_dim, loop_size: int64[n], the order.
        walk: fill the contents on the way (then states are positions); else they are in ``traffic``.
        cuts: int64[3, L], filled.
        failure: float64[3], filled when the order does not fit: memory, bits needed, bits available.

    Returns:
        Whether the order fits.
    """
    bits, cost = scratch.candidate_bits, scratch.candidate_cost
    low, high, choice = scratch.low, scratch.high, scratch.choice  # candidate cuts low..high of each operand of the memory
    complete = state_at[n]
    for memory in range(problem.memories):
        capacity = problem.memory_size[memory]
        held = 0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            start = cuts[o, level - 1] if level > 0 else 0
            top = level == problem.levels[o] - 1
            if walk:
                walk_content(problem, unrolling, loop_dim, loop_size, n, cuts, o, level, start, scratch, traffic)
            high[i] = start - 1
            for p in range(start, n + 1):
                needed = held_bits(
                    problem, unrolling, states, traffic, o, level, state_at[start], state_at[p], complete,
                    problem.memory_double_buffered[memory],
                )
                if needed > capacity:
                    break
                bits[i, p] = needed
                cost[i, p] = 0.0 if top else needed * (states[complete, CYCLES] / states[state_at[p], CYCLES])
                high[i] = p
            if high[i] < start or (top and high[i] < n):
                failure[0], failure[1], failure[2] = memory, needed, capacity
                return False
            low[i] = high[i] if top else start
            held = i + 1
        if not _choose(held, bits, cost, low, high, capacity, choice):
            failure[0], failure[2] = memory, capacity
            failure[1] = 0.0
            for i in range(held):
                failure[1] += bits[i, low[i]]
            return False
        for i in range(held):
            o = problem.memory_operands[memory, i]
            cuts[o, problem.memory_level[memory, o]] = choice[i]
    return True


@kernel
def _choose(held, bits, cost, low, high, capacity, choice):
    """Cheapest combination of one candidate per operand whose bits fit together; the last in lexicographic order wins ties."""
    total = 0.0
    for i in range(held):
        total += bits[i, low[i]]
    if total > capacity:
        return False
    best = np.inf
    if held == 1:
        for p in range(low[0], high[0] + 1):
            if cost[0, p] <= best:
                best = cost[0, p]
                choice[0] = p
        return True
    for p in range(low[0], high[0] + 1):
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
    return True


@kernel
def check_allocation(problem, unrolling, states, traffic, loop_dim, loop_size, n, scratch, cuts, failure):
    """Do the given cuts fit every memory? States are positions; ``failure`` as in ``allocate_greedy``."""
    for memory in range(problem.memories):
        needed = 0.0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            level = problem.memory_level[memory, o]
            start = cuts[o, level - 1] if level > 0 else 0
            walk_content(problem, unrolling, loop_dim, loop_size, n, cuts, o, level, start, scratch, traffic)
            needed += held_bits(
                problem, unrolling, states, traffic, o, level, start, cuts[o, level], n,
                problem.memory_double_buffered[memory],
            )
        if needed > problem.memory_size[memory]:
            failure[0], failure[1], failure[2] = memory, needed, problem.memory_size[memory]
            return False
    return True
