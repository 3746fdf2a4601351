"""A lower bound on energy that knows of shared capacity: Lagrangian relaxation of the shortest paths of ``bounds``."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .allocate import FIT_TOLERANCE, held_bits
from .bounds import most_bits
from .paths import count_tuples, join_inner, place_inputs, tuple_number
from .problem import I, O, W
from .traffic import REDUCES_ABOVE, element_bits
from .workspace import take

MAX_RISES, PRICE_STEPS = 40, 3  # of the price of a memory's capacity: times that it is raised, and refined


@allocating
def priced_energy_pj(problem, unrolling, lattice, tables, energy_pj, least, enough, workspace):
    """Least energy of all boundaries of a mapping, with the capacity that operands share and the true width of sums.

    A memory's capacity is priced: its bits cost energy, and what all of them would cost is given back. That is no more
    than the energy of any mapping that fits, whatever the price (Lagrangian relaxation). The best one is looked for.

    Args:
        least: see ``fill_least``.
        enough: pJ, beyond which nobody asks how much more it is.
    """
    best = -np.inf
    paths = take(workspace, (lattice.states.shape[0], count_tuples(problem)))
    settled, cost = take(workspace, paths.shape), take(workspace, energy_pj.shape)
    held, whole = take(workspace, energy_pj.shape), np.empty(energy_pj.shape, np.bool_)
    narrow = np.empty(energy_pj.shape, np.bool_)
    _fill_held(problem, unrolling, lattice.states, tables, least, held, whole, narrow)
    for memory in range(problem.memories):
        capacity = problem.memory_size[memory] * (1.0 + FIT_TOLERANCE)
        sharing = 0
        for o in range(3):
            level = problem.memory_level[memory, o]
            if level == problem.levels[o] - 1:
                capacity -= least[memory, o]  # all of the operand
            elif level >= 0:
                sharing += 1
        if sharing == 0 or (sharing == 1 and best > -np.inf):
            continue
        free = _priced_paths(
            problem, lattice, tables, energy_pj, held, whole, narrow, memory, 0.0, paths, settled, cost
        )
        best = max(best, free)
        if sharing == 1:
            continue
        # The gain is concave in the price: go up in large steps as long as it rises, then between the last three.
        price, step, gained = free / capacity / 256.0, 4.0, free
        for _ in range(MAX_RISES):  # without end if nothing fits
            if best >= enough:
                break
            value = _priced_paths(
                problem, lattice, tables, energy_pj, held, whole, narrow, memory, price, paths, settled, cost
            )
            value -= price * capacity
            best = max(best, value)
            if value <= gained:
                break
            gained = value
            price *= step
        price /= step
        for _ in range(PRICE_STEPS):
            if best >= enough:
                break
            step = np.sqrt(step)
            for at in (price * step, price / step):
                value = _priced_paths(
                    problem, lattice, tables, energy_pj, held, whole, narrow, memory, at, paths, settled, cost
                )
                value -= at * capacity
                best = max(best, value)
                if value > gained:
                    gained, price = value, at
                    break
    return best


@kernel
def _fill_held(problem, unrolling, states, tables, least, held, whole, narrow):
    """Bits that each boundary takes of the memory below it, and whether they fit beside the least of the others.

    Args:
        held: float64[R, S], filled; with the width of partial sums.
        whole: bool[R, S], filled: fits at that width.
        narrow: bool[R, S], filled: fits at the width of complete sums, where these are narrower and all loops that add
            up lie below.
    """
    total = states.shape[0]
    held[:] = 0.0
    narrow[:] = False
    for o in range(3):
        bits = element_bits(problem, o, True)
        complete_bits = min(bits, element_bits(problem, o, False))
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            if k == 0:
                for s in range(total):
                    whole[row, s] = tables.fit[row, s]
                continue
            limit = most_bits(problem, least, o, k)
            doubled = problem.memory_double_buffered[problem.chain[o, k - 1]] != 0
            listed = unrolling.lists_reduction[row - 1] != 0
            for s in range(total):
                exchanges = doubled and s != total - 1
                elements, all_elements = tables.content[row, s], tables.content[row, total - 1]
                held[row, s] = held_bits(elements, all_elements, bits, exchanges)
                whole[row, s] = tables.fit[row, s] and held[row, s] <= limit
                if o == O and complete_bits < bits and not listed and states[s, REDUCES_ABOVE] == 0.0:
                    narrow[row, s] = tables.fit[row, s]
                elif o == O and problem.bits[3] > bits:
                    whole[row, s] = tables.fit[row, s]


@kernel
def _priced_paths(problem, lattice, tables, energy_pj, held, whole, narrow, memory, price, paths, settled, cost):
    """As ``fill_joint_paths``, for energy and ``price`` (pJ per bit) times the bits of a memory; returns the least.

    A level holds complete sums if its boundary below lies where all of them are.

    Args:
        settled: float64[S, tuples], filled: the least if that is so of the last boundary of the output.
        cost: float64[R, S], working memory.
    """
    total, count = paths.shape
    for o in range(3):
        for k in range(problem.levels[o]):
            row = problem.first_row[o] + k
            at = price if k > 0 and problem.chain[o, k - 1] == memory else 0.0
            for s in range(total):
                cost[row, s] = energy_pj[row, s] + at * held[row, s]
    narrower = problem.bits[3] / problem.bits[2]
    for s in range(total):
        here, settled_here = paths[s], settled[s]
        lowest = tables.lowest[s] if lattice.allowed[s] else count
        here[:lowest] = np.inf
        settled_here[:] = np.inf
        if not lattice.allowed[s]:
            continue
        complete = lattice.states[s, REDUCES_ABOVE] == 0.0
        join_inner(lattice.predecessor[s], paths, lowest, here)
        if complete:
            join_inner(lattice.predecessor[s], settled, lowest, settled_here)
        if s == 0:
            here[tuple_number(problem, 0, 0, 1)] = 0.0
            if complete:
                settled_here[tuple_number(problem, 0, 0, 1)] = 0.0
        start = lowest - lowest % problem.levels[O]
        place_inputs(problem, whole, cost, s, lowest, 0, here)
        if complete:
            place_inputs(problem, whole, cost, s, lowest, 0, settled_here)
        for o in range(1, problem.levels[O]):
            row = problem.first_row[O] + o
            added = cost[row, s] if whole[row, s] else np.inf
            added_narrow = np.inf
            if narrow[row, s]:
                added_narrow = energy_pj[row, s] + narrower * (cost[row, s] - energy_pj[row, s])
            for j in range(start + o, count, problem.levels[O]):
                least = min(here[j - 1] + added, settled_here[j - 1] + added_narrow)
                here[j] = min(here[j], least)
                if complete:
                    settled_here[j] = min(settled_here[j], least)
    return paths[total - 1, tuple_number(problem, problem.levels[W], problem.levels[I], problem.levels[O])]
