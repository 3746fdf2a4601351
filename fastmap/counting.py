"""The exact number of mappings of a space that fit every memory and satisfy its constraints."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastmap.control import Control, available_threads
from fastmap.errors import SearchError
from fastmap.exhaustive import enumerate_space, run_threads
from fastmap.kernels.count import COUNTED, TOO_MANY_CASES, count_candidates
from fastmap.kernels.count_paths import DIGIT_BITS
from fastmap.kernels.problem import MIRROR, UNROLLING
from fastmap.lowering import new_record
from fastmap.mapspace import IntArray, Mapspace

#: Spatial mappings of one kernel call.
CHUNK = 16
#: Spaces with one allocation for each order, which must be enumerated, are counted up to this size.
ENUMERABLE = 10_000_000


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
    chosen, times, alike = _distinct(space)
    digits = np.array([_digits(space.orders[i] * space.allocations[i]) for i in chosen.tolist()], np.int64)
    candidates = space.candidates[chosen]
    counts = np.zeros((len(chosen), int(digits.max())), np.uint64)
    workers = min(threads or available_threads(), len(chosen))
    done = [np.zeros(1, np.int64) for _ in range(workers)]
    numbers = itertools.count()
    outcomes = [COUNTED] * workers

    def work(worker: int) -> None:
        while not control.stopped and outcomes[worker] == COUNTED:
            first = next(numbers) * CHUNK
            if first >= len(chosen):
                return
            outcomes[worker] = count_candidates(
                space.problem,
                space.rules,
                new_record(UNROLLING),
                space.array_dim,
                space.loop_dim,
                candidates,
                alike,
                digits,
                first,
                min(first + CHUNK, len(chosen)),
                counts,
                control.halt,
                done[worker],
            )

    def covered() -> int:
        return sum(int(each[0]) for each in done) * len(space.orders) // len(chosen)

    run_threads(work, workers, control, covered, progress)
    if TOO_MANY_CASES in outcomes:
        raise SearchError("bounds on the iterations at a level tie too many cuts")
    if control.halt[0]:
        return None
    total: int = sum(
        number * sum(digit << (DIGIT_BITS * place) for place, digit in enumerate(row))
        for number, row in zip(times.tolist(), counts.tolist(), strict=True)
    )
    return total


def _digits(most: int) -> int:
    """Digits for a number up to this; one that fits 64 bits is not divided."""
    return 1 if most.bit_length() <= 64 else -(-most.bit_length() // DIGIT_BITS)


def _distinct(space: Mapspace) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """Spatial mappings that count differently (int64[n], indices), how many there are of each (int64[n]), and which are
    their own mirror images (bool[n]).

    Where x and y play the same role in a layer, one that unrolls along x is worth its mirror image along y.
    """
    loops = list(zip(space.array_dim.tolist(), space.loop_dim.tolist(), strict=True))
    images = [(a, MIRROR[d]) for a, d in loops]
    if not loops or not _is_symmetric(space) or set(images) != set(loops):
        n = len(space.orders)
        return np.arange(n), np.ones(n, np.int64), np.zeros(n, np.bool_)
    candidates = space.candidates
    image = candidates[:, [loops.index(each) for each in images]]
    differs = candidates != image
    first = np.argmax(differs, axis=1)
    rows = np.arange(len(candidates))
    larger = (image[rows, first] > candidates[rows, first]) & differs.any(axis=1)
    _, chosen, times = np.unique(
        np.where(larger[:, None], image, candidates), axis=0, return_index=True, return_counts=True
    )
    return chosen, times, ~differs[chosen].any(axis=1)


def _is_symmetric(space: Mapspace) -> bool:
    """Whether x and y are alike in the layer, and no constraint tells them apart."""
    constraints, problem = space.constraints, space.problem
    return (
        constraints.temporal is None
        and constraints.loop_factor_limit is None
        and not (constraints.innermost or constraints.outermost or constraints.inside)
        and not (constraints.forbidden or constraints.factors)
        and all(problem["loop_size"] == problem["loop_size"][list(MIRROR)])
        and bool(np.all(problem["window"][0] == problem["window"][1]))
    )


def _enumerate(space: Mapspace, threads: int | None, control: Control) -> int | None:
    """Count the orders whose greedy allocation fits."""
    if space.size > ENUMERABLE:
        raise SearchError("which greedy allocations fit is only known once every order is enumerated")
    try:
        found = enumerate_space(space, "edp", top=1, threads=threads, progress=None, control=control)
    except SearchError:  # nothing fits
        return 0
    return int(found.statistics["mappings_fitting"]) if found.complete else None
