"""The exhaustive strategy: every mapping of a space is costed, over threads, and reduced."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmap.control import Control, available_threads
from fastmap.errors import EmptySpaceError, SearchError
from fastmap.evaluation import array_clock_ns
from fastmap.kernels import reduce as reduce_kernels
from fastmap.kernels.array import array_energies_pj
from fastmap.kernels.combine import COUPLING
from fastmap.kernels.exhaustive import SEGMENT_COMBINATIONS, search_range
from fastmap.kernels.problem import SCRATCH, UNROLLING
from fastmap.lowering import lower_macro, lower_technology, lower_variant, new_record
from fastmap.mapspace import Mapspace
from fastmap.result import OBJECTIVES, Histogram, Histogram2D, Points, SearchResult
from fastmap.text import readable_time

#: Mappings per second and thread that an announcement assumes.
ASSUMED_RATE = 1e7
#: Spaces that would take longer than this are refused unless forced.
LONG_SECONDS = 3600.0
#: Orders of one kernel call where each has one allocation; with all of them, an order takes far longer.
CHUNK = 1 << 15
ALLOCATIONS_WEIGH = 32
FIRST_FRONT = 256
#: Combinations between two places where rows can be taken over, at most: it bounds the rows that are in memory.
ROW_SEGMENT_COMBINATIONS = 1 << 20


class Rows(NamedTuple):
    """Where the enumeration puts the costs that it finds, one a row."""

    offers: Any  #: OFFER[n]; of none to keep none
    filled: Any  #: int64[1], how many are filled
    full: int  #: return, soon, when so many are filled
    position: (
        Any  #: int64[2], how far the first order that is not done has come, and how far it goes; 0, 0 at its start
    )

    @classmethod
    def none(cls) -> Rows:
        """Keep no rows."""
        return cls(np.empty(0, reduce_kernels.OFFER), np.zeros(1, np.int64), 1, np.zeros(2, np.int64))

    @classmethod
    def room_for(cls, count: int) -> Rows:
        """Keep rows, about so many at a time."""
        return cls(np.empty(2 * count, reduce_kernels.OFFER), np.zeros(1, np.int64), count, np.zeros(2, np.int64))


def check_size(space: Mapspace, threads: int | None, force: bool) -> None:
    """Refuse a space that takes too long to enumerate, unless forced."""
    from fastmap.recorded import seconds_to_enumerate

    if force:
        return
    seconds = seconds_to_enumerate(space, threads)
    if seconds > LONG_SECONDS:
        raise SearchError(
            f"{space.layer.name} on {space.architecture.name} has {space.size:.3e} mappings "
            f"({len(space.orders)} spatial mappings), which would take about {readable_time(seconds)} to enumerate; "
            "search with the strategy optimal, narrow the space (max_spatial_mappings, min_array_utilization, "
            "loop_factor_limit or any other constraint), or force the search"
        )


def expected_seconds(mappings: int, threads: int | None = None) -> float:
    """How long it takes to enumerate so many mappings, at most: many of them may share their cost by construction."""
    return mappings / (ASSUMED_RATE * (threads or available_threads()))


def enumerate_space(
    space: Mapspace,
    objective: str,
    *,
    top: int,
    threads: int | None,
    progress: Callable[[int], object] | None,
    control: Control,
) -> SearchResult:
    """Cost every mapping of a space; see ``exploration.search``."""
    offsets = space.offsets()
    orders = int(offsets[-1])
    workers = max(1, min(threads or available_threads(), orders))
    seconds_compile = compile_kernels(space)
    start = time.perf_counter()
    array_pj = candidate_energies_pj(space)
    reductions = [new_reductions(top) for _ in range(workers)]
    done = [np.zeros(1, np.int64) for _ in range(workers)]
    chunk = max(1, min(_chunk(space), math.ceil(orders / (4 * workers))))
    numbers = itertools.count()

    def work(worker: int) -> None:
        while not control.stopped:
            first = next(numbers) * chunk
            if first >= orders:
                return
            reductions[worker] = _run_range(
                space,
                array_pj,
                offsets,
                first,
                min(first + chunk, orders),
                reductions[worker],
                control,
                done[worker],
            )

    def covered() -> int:
        return sum(int(part.totals[reduce_kernels.EVALUATED]) for part in reductions)

    run_threads(work, workers, control, covered, progress)
    seconds = {"seconds_compile": seconds_compile, "seconds_search": time.perf_counter() - start, "threads": workers}
    return outcome(space, objective, merge_reductions(reductions, top), seconds)


def outcome(space: Mapspace, objective: str, merged: Any, effort: dict[str, float]) -> SearchResult:
    """What reductions say.

    Args:
        effort: figures for the statistics that the reductions do not know.

    Raises:
        SearchError: the whole space was covered, and nothing fits.
    """
    evaluated, fitting, costed = (int(total) for total in merged.totals)
    if evaluated == space.size and not fitting:
        raise EmptySpaceError(nothing_fits(space))
    return SearchResult(
        layer=space.layer,
        architecture=space.architecture,
        constraints=space.constraints,
        objective=objective,
        strategy="exhaustive",
        cost_model=space.cost_model,
        space=space,
        points={
            **{
                name: _points(merged.best[objective, : merged.used[objective]])
                for objective, name in enumerate(OBJECTIVES)
            },
            "pareto": _points(merged.front[: merged.used[reduce_kernels.FRONT]]),
        },
        histograms={
            name: _histogram(merged.histogram[row], scale)
            for row, (name, scale) in enumerate(
                (("energy_pj", 1.0), ("latency_cycles", 1.0), ("edp_pj_ns", array_clock_ns(space.architecture)))
            )
        },
        joint_histogram=_joint_histogram(merged.joint),
        statistics={
            "mappings_total": space.size,
            "mappings_evaluated": evaluated,
            "mappings_fitting": fitting,
            "costs_computed": costed,
            "spatial_mappings": len(space.orders),
            **effort,
        },
        complete=evaluated == space.size,
    )


def nothing_fits(space: Mapspace) -> str:
    """The sentence for a space without a mapping."""
    ruled = " and satisfies the constraints" if space.constraints.rule_allocations else ""
    return (
        f"{space.layer.name} on {space.architecture.name}: none of its {space.size:,} mappings fits the memories{ruled}"
    )


def run_threads(
    work: Callable[[int], None],
    workers: int,
    control: Control,
    covered: Callable[[], int],
    progress: Callable[[int], object] | None,
) -> None:
    """Run ``work(worker)`` on threads until all return; Ctrl-C sets the stop flag. Raises what a worker raised."""
    failures: list[BaseException] = []

    def guarded(worker: int) -> None:
        try:
            work(worker)
        except BaseException as error:
            failures.append(error)
            control.stop()

    pool = [threading.Thread(target=guarded, args=(worker,), daemon=True) for worker in range(workers)]
    reported = 0
    with control.on_interrupt():
        for thread in pool:
            thread.start()
        for thread in pool:
            while thread.is_alive():
                thread.join(0.05)
                if progress is not None:
                    now = covered()
                    progress(now - reported)
                    reported = now
    if failures:
        raise failures[0]
    if progress is not None:
        progress(covered() - reported)


def compile_kernels(space: Mapspace) -> float:
    """Compile (or load) the kernels of the enumeration; return the seconds that it took."""
    start = time.perf_counter()
    nothing, none = new_reductions(1), np.zeros(1, np.int64)
    _run_range(
        space, candidate_energies_pj(space), np.zeros(len(space.orders) + 1, np.int64), 0, 0, nothing, Control(), none
    )
    merge_reductions([nothing], 1)
    return time.perf_counter() - start


def measure_rate(space: Mapspace, seconds: float = 0.2) -> tuple[float, float]:
    """Mappings covered, and distinct costs computed, per CPU second of one thread, without compilation."""
    compile_kernels(space)
    array_pj, offsets = candidate_energies_pj(space), space.offsets()
    reductions, control = new_reductions(10), Control()
    done = np.zeros(1, np.int64)
    first, orders = 0, int(offsets[-1])
    start = time.thread_time()
    while True:
        stop = min(first + _chunk(space), orders)
        reductions = _run_range(space, array_pj, offsets, first, stop, reductions, control, done)
        first = stop % orders
        elapsed = time.thread_time() - start
        if elapsed >= seconds:
            fitting, costed = (int(reductions.totals[i]) for i in (reduce_kernels.FITTING, reduce_kernels.COSTED))
            return fitting / elapsed, costed / elapsed


def _chunk(space: Mapspace) -> int:
    return CHUNK if space.constraints.allocation == "greedy" else max(1, CHUNK // ALLOCATIONS_WEIGH)


def candidate_energies_pj(space: Mapspace) -> Any:
    """Energy of the array for each spatial mapping, float64[S]."""
    array = space.architecture.array
    energies = np.empty(len(space.candidates))
    if array.kind == "mac":
        energies[:] = array.unit_energy_pj * space.layer.macs
    else:
        macro = lower_macro(space.architecture)
        array_energies_pj(
            space.problem,
            new_record(UNROLLING),
            macro,
            lower_technology(space.architecture),
            lower_variant(space.architecture),
            space.array_dim,
            space.loop_dim,
            space.candidates,
            energies,
        )
    return energies


def _run_range(
    space: Mapspace, array_pj: Any, offsets: Any, first: int, stop: int, reductions: Any, control: Control, done: Any
) -> Any:
    """Cost all mappings of the orders first..stop-1. Returns the reductions."""
    _, reductions, _ = run_range(space, array_pj, offsets, first, stop, reductions, control, done, Rows.none())
    return reductions


def run_range(
    space: Mapspace,
    array_pj: Any,
    offsets: Any,
    first: int,
    stop: int,
    reductions: Any,
    control: Control,
    done: Any,
    rows: Rows,
) -> tuple[int, Any, Rows]:
    """Cost mappings from the order ``first`` on, up to ``stop`` - 1 or until the rows are full.

    Returns:
        (the first order not done, reductions, rows)
    """
    unrolling, coupling, scratch = new_record(UNROLLING), new_record(COUPLING), new_record(SCRATCH)
    following, front, kept = search_range(
        space.problem,
        space.rules,
        unrolling,
        coupling,
        scratch,
        space.array_dim,
        space.loop_dim,
        space.candidates,
        array_pj,
        offsets,
        first,
        stop,
        *reductions,
        rows.offers,
        rows.filled,
        rows.full,
        rows.position,
        ROW_SEGMENT_COMBINATIONS if len(rows.offers) else SEGMENT_COMBINATIONS,
        control.halt,
        done,
    )
    return int(following), reductions._replace(front=front), rows._replace(offers=kept)


def new_reductions(top: int) -> Any:
    """What one thread starts with, with room for so many best points."""
    fine = reduce_kernels.OCTAVES * reduce_kernels.BINS_PER_OCTAVE
    coarse = reduce_kernels.OCTAVES * reduce_kernels.JOINT_BINS_PER_OCTAVE
    return reduce_kernels.Reductions(
        best=np.zeros((reduce_kernels.N_OBJECTIVES, top), reduce_kernels.POINT),
        front=np.zeros(FIRST_FRONT, reduce_kernels.POINT),
        used=np.zeros(4, np.int64),
        barrier=np.full(reduce_kernels.BARRIER_BINS, np.inf),
        histogram=np.zeros((3, fine), np.int64),
        joint=np.zeros((coarse, coarse), np.int64),
        totals=np.zeros(3, np.int64),
    )


def merge_reductions(parts: list[Any], top: int) -> Any:
    """Merge what the threads kept; the order does not matter."""
    room = FIRST_FRONT + sum(int(part.used[reduce_kernels.FRONT]) for part in parts)
    merged = new_reductions(top)._replace(front=np.zeros(room, reduce_kernels.POINT))
    for part in parts:
        reduce_kernels.merge(merged.best, merged.front, merged.used, part.best, part.front, part.used)
        for name in ("histogram", "joint", "totals"):
            getattr(merged, name)[...] += getattr(part, name)
    return merged


def _points(points: Any) -> Points:
    identity = np.stack([points[name] for name in ("spatial", "rank", "code")], axis=1).astype(np.uint64)
    return Points(identity, points["energy_pj"].copy(), points["latency_cycles"].copy())


def bin_edges(first: int, last: int, bins_per_octave: int) -> Any:
    """Lower edges of the bins first..last, and the upper edge of the last: linear steps within each octave."""
    bins = np.arange(first, last + 2)
    return np.ldexp(1.0 + (bins % bins_per_octave) / bins_per_octave, bins // bins_per_octave)


def _range_of(counts: Any) -> tuple[int, int]:
    used = np.flatnonzero(counts)
    return (int(used[0]), int(used[-1])) if len(used) else (0, -1)


def _histogram(counts: Any, scale: float) -> Histogram:
    first, last = _range_of(counts)
    return Histogram(bin_edges(first, last, reduce_kernels.BINS_PER_OCTAVE) * scale, counts[first : last + 1].copy())


def _joint_histogram(counts: Any) -> Histogram2D:
    rows, columns = _range_of(counts.sum(axis=1)), _range_of(counts.sum(axis=0))
    step = reduce_kernels.JOINT_BINS_PER_OCTAVE
    return Histogram2D(
        bin_edges(*rows, step),
        bin_edges(*columns, step),
        counts[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1].copy(),
    )
