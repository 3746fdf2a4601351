"""The exact number of mappings of a space that fit every memory and satisfy its constraints."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmap.control import Control, available_threads
from fastmap.errors import SearchError
from fastmap.exhaustive import enumerate_space, run_threads
from fastmap.kernels.count import COUNTED, TOO_MANY_CASES, count_group
from fastmap.kernels.count_array import array_levels
from fastmap.kernels.count_situations import DIGIT_BITS
from fastmap.kernels.orders import prime_factors
from fastmap.kernels.problem import (
    FULL_TILES,
    JOINT_COVERAGE,
    MAX_LOOPS,
    MIRROR,
    TRUE_EXTENTS,
    UNROLLING,
    WHOLE_ITERATIONS,
    O,
)
from fastmap.lowering import new_record
from fastmap.mapspace import IntArray, Mapspace
from fastmap.symmetry import distinct_candidates, is_symmetric

#: Spaces with one allocation for each order, which must be enumerated, are counted up to this size.
ENUMERABLE = 10_000_000

#: Iterations share a lattice where theirs has at most so many times as many divisors as they have together; spatial
#: mappings, where it has at most so many times as many states. Only states that are needed are listed, but there are
#: more labels, and fewer lattices to share among threads.
MORE_DIVISORS, MORE_STATES = 1.5, 4.0

#: Repairs by which a memory above the array holds whole tiles of the layer divided by the iterations above.
WHOLE_TILES = FULL_TILES | TRUE_EXTENTS | JOINT_COVERAGE | WHOLE_ITERATIONS


class _Group(NamedTuple):
    """Spatial mappings that are counted together."""

    members: IntArray  #: int64[n], which of the candidates
    most: IntArray  #: int64[8], iterations of the lattice that has all of theirs in it


class _Task(NamedTuple):
    """What is to be counted, of all spatial mappings that count differently."""

    space: Mapspace
    candidates: IntArray  #: int64[n, loops]
    remaining: IntArray  #: int64[n, 8]
    lowest: IntArray  #: int64[3], see ``array_levels``
    digits: IntArray  #: int64[n], of each count
    counts: npt.NDArray[np.uint64]  #: uint64[n, D], filled
    control: Control


@dataclass
class _Worker:
    """What a thread has of its own."""

    done: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    outcome: int = COUNTED
    buffer: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))


def count_valid(
    space: Mapspace,
    *,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> int | None:
    """Count the mappings that fit every memory and satisfy the constraints, exactly; None when stopped.

    Args:
        progress: called with the number of spatial mappings counted since the last call.

    Raises:
        SearchError: they cannot be counted in reasonable time; the sentence says why.
    """
    control = control or Control()
    if space.constraints.allocation == "greedy":
        return _enumerate(space, threads, control)
    chosen, times = distinct_candidates(space)
    digits = np.array([_digits(space.orders[i] * space.allocations[i]) for i in chosen.tolist()], np.int64)
    task = _Task(
        space,
        space.candidates[chosen],
        space.remaining[chosen],
        array_levels(space.problem, len(space.architecture.array.dimensions)),
        digits,
        np.zeros((len(chosen), int(digits.max())), np.uint64),
        control,
    )
    groups = _groups(space, task.candidates, task.remaining, task.lowest)
    workers = [_Worker() for _ in range(min(threads or available_threads(), len(groups)))]
    numbers = itertools.count()

    def work(number: int) -> None:
        worker = workers[number]
        while not control.stopped and worker.outcome == COUNTED:
            job = next(numbers)
            if job >= len(groups):
                return
            _count_group(task, groups[job], worker)

    def covered() -> int:
        return sum(int(each.done[0]) for each in workers) * len(space.orders) // len(chosen)

    run_threads(work, len(workers), control, covered, progress)
    if any(each.outcome == TOO_MANY_CASES for each in workers):
        raise SearchError("bounds on the iterations at a level tie too many cuts")
    if control.halt[0]:
        return None
    total: int = sum(
        number * sum(digit << (DIGIT_BITS * place) for place, digit in enumerate(row))
        for number, row in zip(times.tolist(), task.counts.tolist(), strict=True)
    )
    return total


def _count_group(task: _Task, group: _Group, worker: _Worker) -> None:
    """Count the spatial mappings of a group."""
    alike = group.most[list(MIRROR)] == group.most
    worker.outcome, worker.buffer = count_group(
        task.space.problem,
        task.space.rules,
        new_record(UNROLLING),
        new_record(UNROLLING),
        task.space.array_dim,
        task.space.loop_dim,
        task.candidates,
        task.remaining,
        group.members,
        group.most,
        task.lowest,
        is_symmetric(task.space) and bool(alike.all()),
        int(task.digits[group.members].max()),
        task.counts,
        worker.buffer,
        task.control.halt,
        worker.done,
    )


def _may_share(space: Mapspace, lowest: IntArray) -> bool:
    """Whether the rules say nothing of orders, nor more of the iterations at levels above the array, but for the top
    one, than that there are none.
    """
    rules: Any = space.rules
    orders = rules["n_fixed"] < 0 and rules["limit"] == 0 and not rules["inside"].any()
    free = rules["n_innermost"] == 0 and rules["n_outermost"] == 0
    ties = (rules["least"] > 1) | ((rules["most"] >= 2) & np.isfinite(rules["most"]))
    levels = space.problem["levels"].tolist()
    tied = [ties[o, min(lowest[o], 1) : levels[o] - 1].any() for o in range(3)]
    return bool(orders and free and not any(tied))


def _groups(space: Mapspace, candidates: IntArray, remaining: IntArray, lowest: IntArray) -> list[_Group]:
    """Group spatial mappings where the lattice that has all of theirs in it is hardly larger than theirs together.

    Args:
        candidates, remaining, lowest: see ``_Task``.
    """
    problem = space.problem
    alike = np.full(len(candidates), bool(lowest.any()) and problem["levels"][O] > 1 and _may_share(space, lowest))
    if problem["repairs"] & WHOLE_TILES != WHOLE_TILES:
        # Tiles are averages, and maybe truncated: only those of whole factors are the same to the last digit.
        factors = np.where(candidates == 0, 1, candidates)
        for d, size in enumerate(problem["loop_size"].tolist()):
            alike &= np.prod(factors[:, space.loop_dim == d], axis=1) * remaining[:, d] == size
    members = np.flatnonzero(alike)
    most = np.stack([_common_multiples(column) for column in remaining[members].T], axis=1)
    keys, group_of = np.unique(most, axis=0, return_inverse=True)
    by_group = np.argsort(group_of.ravel(), kind="stable")
    first = np.searchsorted(group_of.ravel()[by_group], np.arange(len(keys) + 1))
    states, own_states = _count_divisors(keys), _count_divisors(remaining[members])
    alone = np.flatnonzero(~alike).tolist()
    groups = []
    for k, key in enumerate(keys):
        part = by_group[first[k] : first[k + 1]]
        if states[k] <= MORE_STATES * own_states[part].sum() and len(part) > 1 and _loops(key) <= MAX_LOOPS:
            groups.append(_Group(members[part], key))
        else:
            alone += members[part].tolist()
    groups += [_Group(np.array([i]), remaining[i]) for i in alone]
    sizes = _count_divisors(np.array([group.most for group in groups]))
    return [groups[i] for i in np.argsort(-sizes, kind="stable").tolist()]  # the largest first: threads end together


def _common_multiples(iterations: IntArray) -> IntArray:
    """Of each number of iterations, a multiple: one with others where it has hardly more divisors than they have."""
    multiples: list[int] = []
    for value in np.unique(iterations)[::-1].tolist():
        if not any(multiple % value == 0 for multiple in multiples):
            multiples.append(value)
    merged = True
    while merged:
        merged = False
        for a, b in itertools.combinations(multiples, 2):
            together = math.lcm(a, b)
            if _divisors(together) <= MORE_DIVISORS * (_divisors(a) + _divisors(b)):
                multiples = [each for each in multiples if together % each] + [together]
                merged = True
                break
    return np.array([next(each for each in multiples if each % value == 0) for value in iterations.tolist()], np.int64)


def _count_divisors(iterations: IntArray) -> IntArray:
    """States of the lattice of each row of iterations: sets of loops above, the divisors of each dimension's."""
    number = np.ones(len(iterations), np.int64)
    for column in iterations.T:
        values, where = np.unique(column, return_inverse=True)
        number *= np.array([_divisors(value) for value in values.tolist()], np.int64)[where.ravel()]
    return number


def _divisors(number: int) -> int:
    return math.prod(times + 1 for times in Counter(_prime_factors(number)).values())


def _loops(iterations: IntArray) -> int:
    """Prime factors of all iterations."""
    return sum(len(_prime_factors(each)) for each in iterations.tolist())


@cache
def _prime_factors(number: int) -> tuple[int, ...]:
    factors = np.empty(64, np.int64)
    return tuple(factors[: prime_factors(number, factors)].tolist())


def _digits(most: int) -> int:
    """Digits for a number up to this; one that fits 64 bits is not divided."""
    return 1 if most.bit_length() <= 64 else -(-most.bit_length() // DIGIT_BITS)


def _enumerate(space: Mapspace, threads: int | None, control: Control) -> int | None:
    """Count the orders whose greedy allocation fits."""
    if space.size > ENUMERABLE:
        raise SearchError("which greedy allocations fit is only known once every order is enumerated")
    try:
        found = enumerate_space(space, "edp", top=1, threads=threads, progress=None, control=control)
    except SearchError:  # nothing fits
        return 0
    return int(found.statistics["mappings_fitting"]) if found.complete else None
