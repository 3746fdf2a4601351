"""Candidate spatial mappings: which can be used at all, and how large the space of each is."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .lattice import allowed_states, count_states, fill_lattice, lattice_items
from .problem import FRACTIONAL, MAX_LOOPS, N_DIMS, tensor_size, unroll
from .traffic import N_STATE, element_bits


@allocating
def describe_candidates(
    problem, rules, unrolling, scratch, array_dim, loop_dim, candidates, usable, remaining, loops, counts
):
    """Describe every candidate.

    Args:
        candidates: int64[S, n], factors of the spatial loops (array_dim, loop_dim).
        usable: bool[S], filled: the memories hold one tile of each operand.
        remaining: int64[S, 8], filled: temporal iterations.
        loops: int64[S], filled; -1 where they are too many, -2 where a fixed order does not multiply to them.
        counts: int64[S, MAX_LOOPS], filled with the multiplicities of the loops, 0 beyond.
    """
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        usable[i] = _fits(problem, unrolling, scratch)
        for d in range(N_DIMS):
            remaining[i, d] = unrolling.remaining[d]
        items, loops[i] = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
        for item in range(MAX_LOOPS):
            counts[i, item] = item_count[item] if item < items else 0


@kernel
def _fits(problem, unrolling, scratch):
    """Does the unrolling alone fit every memory?

    Whole units count here, 2 rather than 50 / 26 = 1.92: ZigZag truncates such a factor of a sliding dimension to 1,
    and so lets a register feed two output positions with different inputs.
    """
    for memory in range(problem.memories):
        needed = 0.0
        for i in range(3):
            o = problem.memory_operands[memory, i]
            if o < 0:
                break
            first = problem.first_row[o]
            for d in range(N_DIMS):
                scratch.size[d] = 1.0
                for k in range(problem.memory_level[memory, o] + 1):
                    scratch.size[d] *= np.ceil(unrolling.entry[FRACTIONAL, first + k, d] - 1e-9)
            needed += tensor_size(problem, o, scratch.size) * element_bits(problem, o, False)
        if needed > problem.memory_size[memory]:
            return False
    return True


@allocating
def count_orders(problem, rules, unrolling, array_dim, loop_dim, candidates, primes, orders):
    """Number of orders of each candidate that the rules admit, modulo each prime: int64[S, P], filled."""
    item_dim, item_size = np.empty(MAX_LOOPS, np.int64), np.empty(MAX_LOOPS, np.int64)
    item_count = np.empty(MAX_LOOPS, np.int64)
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        items, _ = lattice_items(problem, rules, unrolling.remaining, item_dim, item_size, item_count)
        states = np.empty((count_states(rules, items, item_count), N_STATE))
        successor = np.empty((states.shape[0], items), np.int64)
        allowed = np.empty(states.shape[0], np.bool_)
        fill_lattice(problem, rules, items, item_dim, item_size, item_count, states, successor)
        allowed_states(rules, states, allowed)
        total = states.shape[0]
        paths = np.empty(total, np.int64)
        for j in range(primes.size):
            for s in range(total - 1, -1, -1):
                paths[s] = 1 if s == total - 1 else 0
                for item in range(items):
                    t = successor[s, item]
                    if t >= 0:
                        paths[s] += paths[t]
                        if paths[s] >= primes[j]:
                            paths[s] -= primes[j]
                if not allowed[s]:
                    paths[s] = 0
            orders[i, j] = paths[0]
