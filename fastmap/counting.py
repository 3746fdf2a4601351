"""The exact number of mappings of a space that fit every memory and satisfy its constraints."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from fastmap.control import Control, available_threads
from fastmap.errors import SearchError
from fastmap.exhaustive import enumerate_space, run_threads
from fastmap.kernels.count import COUNTED, DIGIT_BITS, TOO_MANY_CASES, count_candidates
from fastmap.kernels.problem import UNROLLING
from fastmap.lowering import new_record
from fastmap.mapspace import Mapspace

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
    spatial_mappings = len(space.orders)
    digits = np.array(
        [
            -(-(orders * each).bit_length() // DIGIT_BITS)
            for orders, each in zip(space.orders, space.allocations, strict=True)
        ],
        np.int64,
    )
    counts = np.zeros((spatial_mappings, int(digits.max())), np.uint64)
    workers = min(threads or available_threads(), spatial_mappings)
    done = [np.zeros(1, np.int64) for _ in range(workers)]
    numbers = itertools.count()
    outcomes = [COUNTED] * workers

    def work(worker: int) -> None:
        while not control.stopped and outcomes[worker] == COUNTED:
            first = next(numbers) * CHUNK
            if first >= spatial_mappings:
                return
            outcomes[worker] = count_candidates(
                space.problem,
                space.rules,
                new_record(UNROLLING),
                space.array_dim,
                space.loop_dim,
                space.candidates,
                digits,
                first,
                min(first + CHUNK, spatial_mappings),
                counts,
                control.stop,
                done[worker],
            )

    run_threads(work, workers, control, lambda: sum(int(each[0]) for each in done), progress)
    if TOO_MANY_CASES in outcomes:
        raise SearchError("bounds on the iterations at a level tie too many cuts")
    if control.stopped:
        return None
    return sum(int(digit) << (DIGIT_BITS * place) for row in counts.tolist() for place, digit in enumerate(row))


def _enumerate(space: Mapspace, threads: int | None, control: Control) -> int | None:
    """Count the orders whose greedy allocation fits."""
    if space.size > ENUMERABLE:
        raise SearchError("which greedy allocations fit is only known once every order is enumerated")
    try:
        found = enumerate_space(space, "edp", top=1, threads=threads, force=True, progress=None, control=control)
    except SearchError:  # nothing fits
        return 0
    return int(found.statistics["mappings_fitting"]) if found.complete else None
