"""The exhaustive strategy with a journal: what is finished is on disk, and rows are kept one by one.

The orders of a space are cut into units that depend on the space only; see ``parts``. What a run returns is merged from
the units, so that it is the same to the last bit whatever the threads, and wherever it was interrupted and taken up.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import config

import fastmap
from fastmap.columns import COSTS, IDENTITY, WEIGHT, Columns, identity_types, narrowest
from fastmap.control import Control, available_threads
from fastmap.errors import SearchError, StoreError
from fastmap.exhaustive import (
    Rows,
    candidate_energies_pj,
    compile_kernels,
    expected_seconds,
    merge_reductions,
    new_reductions,
    outcome,
    run_range,
    run_threads,
)
from fastmap.expression import BEST_OF, Expression
from fastmap.keep import Keep, Sample
from fastmap.kernels.exhaustive import SEGMENT_ORDERS
from fastmap.kernels.reduce import COSTED, EVALUATED
from fastmap.mapspace import MAX_ORDERS, Mapspace
from fastmap.parts import CHUNK, Journal, Part, compress
from fastmap.result import OBJECTIVES, Kept, SearchResult

if TYPE_CHECKING:
    from fastmap.store import Recorder

#: Distinct costs of a unit, about: a second or so of work.
UNIT_COSTS = 1 << 22
#: Units are smaller, down to these, where the space is, so that all threads have some.
SMALLEST_UNIT_COSTS, UNITS = 1 << 18, 64
#: Rows that a thread holds in memory, about.
ROWS_HELD = 1 << 20
#: Finished units that are not yet on disk wait no longer than this, where no rows are kept.
CHECKPOINT_SECONDS = 10.0
#: Ranges of orders that a forecast costs, and about how many rows and orders, at most, of each.
PROBES, PROBE_ROWS, PROBE_ORDERS = 8, 1 << 16, 1 << 10
#: Distinct costs, or seconds, that are enough of each where only the time is asked for.
TIMED_COSTS, TIMED_SECONDS = 1 << 17, 0.03
#: What is finished is published at most so often.
PUBLISH_SECONDS = 1.0
#: Spaces that may take longer than this are tried before anything is said about them.
TRIED_SECONDS = 10.0
#: Bytes of a part and of its share of the result file beside the rows.
PART_BYTES = 40_000


@dataclass(frozen=True)
class Forecast:
    """What an enumeration will take, from a few samples of it."""

    costs_per_order: float  #: the same whenever it is sampled
    costs: float  #: distinct costs to compute
    rows: float  #: that are kept
    bytes: float  #: on disk, beside what every result takes
    cpu_seconds: float

    def seconds(self, threads: int | None) -> float:
        """Wall-clock time."""
        return self.cpu_seconds / (threads or available_threads())


def forecast(
    space: Mapspace, keep: Keep, best: dict[str, float], probe_costs: int = UNIT_COSTS, probe_seconds: float = math.inf
) -> Forecast:
    """Cost a few ranges of orders, spread over the space, and draw conclusions.

    Args:
        probe_costs: distinct costs after which a range that is one order is left.
        probe_seconds: after which a range is left before its end; what is found then depends on the machine.

    Raises:
        KeyboardInterrupt: once the kernels have returned, which cannot be interrupted.
    """
    compile_kernels(space)
    control = Control()
    with control.on_interrupt():
        expected = _forecast(space, keep, best, probe_costs, probe_seconds, control)
    if control.stopped:
        raise KeyboardInterrupt
    return expected


def _forecast(
    space: Mapspace, keep: Keep, best: dict[str, float], probe_costs: int, probe_seconds: float, control: Control
) -> Forecast:
    array_pj, offsets = candidate_energies_pj(space), space.offsets()
    orders = int(offsets[-1])
    columns = Columns(space, best)
    types = row_types(space, keep)
    row_bytes = sum(np.dtype(each).itemsize for each in types.values())
    sample = Sample(keep.sample_size, keep.seed)
    room = Rows.room_for(min(PROBE_ROWS, probe_costs))
    per_order = np.zeros(4)  # costs, rows, bytes and seconds, on average over the probes, whatever each has covered
    probes = sorted({orders * i // PROBES for i in range(PROBES)})
    for first in probes:
        reductions, stop = new_reductions(1), first
        end = min(orders, first + PROBE_ORDERS)  # however few of them fit
        rows = size = 0
        room.position[:] = 0
        start = time.thread_time()
        # A unit is a single order anyway where that has so many costs.
        with control.limited(probe_seconds):
            while stop == first and reductions.totals[COSTED] < probe_costs and not control.stopped:
                room.filled[0] = 0
                stop, reductions, room = run_range(
                    space, array_pj, offsets, first, end, reductions, control, np.zeros(1, np.int64), room
                )
                sample.offer(room.offers[: int(room.filled[0])])
                if keep.rows:
                    kept = _selected(room.offers[: int(room.filled[0])], columns, keep, types)
                    rows += len(kept[WEIGHT])
                    for values, dtype in zip(kept.values(), types.values(), strict=True):
                        for place in range(0, len(values), CHUNK):
                            size += len(compress(values[place : place + CHUNK].astype(dtype)))
                if control.halt[0] and room.position[0] > 0:
                    break
                control.limit_time(False)  # where it came before anything was covered
        done, of = room.position.tolist()
        covered = max(stop - first + (done / of if of else 0.0), 1e-15)  # nothing where it was stopped
        spent = (float(reductions.totals[COSTED]), rows, size, time.thread_time() - start)
        per_order += np.array(spent) / covered / len(probes)
    costs, rows_kept, row_bytes_kept, seconds = (orders * per_order).tolist()
    units = max(1.0, costs / UNIT_COSTS)
    return Forecast(
        costs_per_order=float(per_order[0]),
        costs=costs,
        rows=rows_kept,
        bytes=row_bytes_kept
        + (units * PART_BYTES if keep.rows else 0.0)
        + min(keep.sample_size, space.size) * row_bytes,
        cpu_seconds=seconds,
    )


def seconds_to_enumerate(space: Mapspace, threads: int | None) -> float:
    """About how long it takes to cost all mappings of a space: tried, unless their number says that it is short."""
    seconds = expected_seconds(space.size, threads)
    if seconds < TRIED_SECONDS or sum(space.orders) >= MAX_ORDERS:
        return seconds
    return forecast(space, Keep(), {}, TIMED_COSTS, TIMED_SECONDS).seconds(threads)


def check_room(expected: float, path: str | Path, force: bool) -> None:
    """Refuse what the disk cannot hold, unless forced.

    Args:
        expected: bytes that are not there yet.

    Raises:
        StoreError: with both sizes.
    """
    free = shutil.disk_usage(Path(path).resolve().parent).free
    if expected > free and not force:
        raise StoreError(
            f"{path}: about {readable_size(expected)} would be written, but only {readable_size(free)} are free there; "
            "keep less (a filter or a sample), write elsewhere, or force it"
        )


def readable_size(size: float) -> str:
    """A size in bytes for a person."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def announcement(expected: list[Forecast], keep: Keep, path: str | Path, there: int) -> str:
    """What is going to be kept of some spaces, for people.

    Args:
        there: bytes that an earlier run has left.
    """
    free = shutil.disk_usage(Path(path).resolve().parent).free
    what = []
    if keep.rows:
        rows = sum(each.rows for each in expected)
        what.append(f"about {float(f'{rows:.2g}'):,.0f} rows" + (" that satisfy the filter" if keep.where else ""))
    if keep.sample_size:
        what.append(f"{keep.sample_size:,} mappings drawn of each layer")
    taken = readable_size(sum(each.bytes for each in expected))
    already = f"{readable_size(there)} of it are there already, " if there else ""
    return f"{' and '.join(what)}, {taken} ({already}{readable_size(free)} are free)"


def best_values(space: Mapspace, condition: Expression | None, control: Control) -> dict[str, float]:
    """The least values that an expression names, by an optimal search, or by costing every order of a greedy one."""
    from fastmap.exploration import Options, search_space

    wanted = {name for name in BEST_OF if condition is not None and f"best_{name}" in condition.names}
    found: dict[str, float] = {}
    clock_ns = Columns(space).clock_ns
    for objective, names in zip(OBJECTIVES, ((BEST_OF[0],), BEST_OF[1:3], BEST_OF[3:]), strict=True):
        if not wanted & set(names):
            continue
        greedy = space.constraints.allocation == "greedy"
        strategy = "exhaustive" if greedy else "optimal"
        result = search_space(space, Options(objective, strategy, force=True), control=control)
        if not result.complete:  # nothing is kept yet that a stop could leave
            raise KeyboardInterrupt
        value = result.value(0)
        for name in names:
            found[name] = value * clock_ns if name == "latency_ns" else value
    return found


def row_types(space: Mapspace, keep: Keep) -> dict[str, str]:
    """Columns of the rows, with their types."""
    most = SEGMENT_ORDERS * max(space.allocations)
    types = {**identity_types(space), WEIGHT: narrowest(min(most, 2**63))}
    return {**types, **dict.fromkeys((*COSTS, *keep.columns), "float64")}


def search_identity(space: Mapspace, keep: Keep, best: dict[str, float], top: int, unit_orders: int) -> str:
    """What two runs must have in common for one to go on with what the other has done, as JSON."""
    return json.dumps(
        {
            "fastmap_version": fastmap.__version__,
            "version_of_the_cost_kernels": Path(config.CACHE_DIR).name,  # type: ignore[attr-defined]  # hash of their content
            "layer": json.loads(space.layer.model_dump_json()),
            "architecture": json.loads(space.architecture.model_dump_json()),
            "constraints": space.constraints.to_dict(),
            "cost_model": space.cost_model,
            "choice_of_what_to_keep": keep.describe(),
            "best_values": best,
            "number_of_best_points": top,
            "unit_orders": unit_orders,
        }
    )


def enumerate_recorded(
    space: Mapspace,
    objective: str,
    *,
    top: int,
    threads: int | None,
    progress: Callable[[int], object] | None,
    control: Control,
    keep: Keep,
    best: dict[str, float],
    expected: Forecast,
    recorder: Recorder,
) -> SearchResult:
    """Cost every mapping of a space, keeping a journal.

    Args:
        best: values for the filter.
        expected: of this space.
        recorder: of the file in which the result is going to be.

    Raises:
        StoreError: the journal cannot be written, or belongs to another search.
    """
    seconds_compile = compile_kernels(space)
    start = time.perf_counter()
    unit_orders = _unit_orders(space, expected)
    journal = recorder.journal(search_identity(space, keep, best, top, unit_orders))
    run = _Run(space, keep, best, top, unit_orders, journal, control)
    workers = max(1, min(threads or available_threads(), run.left))
    taken_over = run.covered
    failures: list[StoreError] = []

    def result() -> SearchResult:
        seconds = time.perf_counter() - start
        effort = {"seconds_compile": seconds_compile, "seconds_search": seconds, "threads": workers}
        return run.result(objective, effort)

    def tick(mappings: int) -> None:
        if progress is not None:
            progress(mappings)
        if run.due() and run.covered < space.size:
            try:
                recorder.publish(result())
            except StoreError as error:  # the threads end first
                failures.append(error)
                control.stop()

    if progress is not None and taken_over:
        progress(taken_over)
    try:
        run_threads(run.work, workers, control, lambda: run.covered - taken_over, tick)
    except StoreError as error:
        failures.append(error)
    if failures:
        with suppress(StoreError):  # there may be room for the result, if not for the next part
            recorder.publish(result())
        raise StoreError(f"{failures[0]}; what is finished is kept, and --resume goes on with it")
    if control.stopped:
        run.close()
    try:
        return result()
    except SearchError:  # nothing fits
        journal.remove()
        raise


def reduced(found: SearchResult, keep: Keep) -> SearchResult:
    """A result without the summaries that nobody asked for."""
    modes = keep.modes
    points = {name: points for name, points in found.points.items() if name != "pareto" or "pareto" in modes}
    if "top-k" not in modes:
        points = {name: each[:1] if name != "pareto" else each for name, each in points.items()}
    if "histogram" not in modes:
        found = replace(found, histograms={}, joint_histogram=None)
    return replace(found, points=points)


class _Run:
    """What the threads of one enumeration share."""

    def __init__(
        self,
        space: Mapspace,
        keep: Keep,
        best: dict[str, float],
        top: int,
        unit_orders: int,
        journal: Journal,
        control: Control,
    ) -> None:
        self.space, self.keep, self.best, self.top = space, keep, best, top
        self.unit_orders, self.journal, self.control = unit_orders, journal, control
        self.columns = Columns(space, best)
        self.types = row_types(space, keep)
        self.array_pj, self.offsets = candidate_energies_pj(space), space.offsets()
        orders = int(self.offsets[-1])
        done = journal.units
        units = -(-orders // unit_orders)
        self.left = units - len(done)
        self._pending = (unit for unit in range(units) if unit not in done)
        self._lock = threading.Lock()
        self._merged = new_reductions(top)
        self._sample = Sample(keep.sample_size, keep.seed)
        self._parts = list(journal.parts)  # those whose figures are merged
        for reductions, draws in journal.reductions():
            self._take(reductions, draws)
        self._working: dict[int, int] = {}  # worker -> mappings of the unit that it works at
        self._waiting: dict[int, _Waiting] = {}  # worker -> finished units that are not on disk
        self._partial: list[tuple[Any, Any]] = []  # of units that were stopped
        self._published = (len(journal.parts), time.monotonic())

    @property
    def covered(self) -> int:
        """Mappings covered so far."""
        return int(self._merged.totals[EVALUATED]) + sum(list(self._working.values()))

    def due(self) -> bool:
        """Whether there is something new to publish, and some time has passed."""
        parts, when = self._published
        now = time.monotonic()
        if len(self.journal.parts) == parts or now - when < PUBLISH_SECONDS:
            return False
        self._published = (len(self.journal.parts), now)
        return True

    def _take(self, reductions: Any, draws: Any, part: Part | None = None) -> None:
        with self._lock:
            if part is not None:
                self._parts.append(part)
            self._merged = merge_reductions([self._merged, reductions], self.top)
            self._sample.add(draws)

    def work(self, worker: int) -> None:
        """Work at one unit after the other."""
        done = np.zeros(1, np.int64)
        rows = Rows.room_for(ROWS_HELD) if self.keep.rows or self.keep.sample_size else Rows.none()
        while not self.control.stopped:
            with self._lock:
                unit = next(self._pending, None)
            if unit is None:
                return
            rows = self._unit(worker, unit, rows, done)

    def _unit(self, worker: int, unit: int, rows: Rows, done: Any) -> Rows:
        first = unit * self.unit_orders
        stop = min(first + self.unit_orders, int(self.offsets[-1]))
        reductions = new_reductions(self.top)
        sample = Sample(self.keep.sample_size, self.keep.seed)
        writer = self.journal.rows_of(unit, self.types) if self.keep.rows else None
        rows.position[:] = 0
        try:
            while first < stop and not self.control.stopped:
                rows.filled[0] = 0
                first, reductions, rows = run_range(
                    self.space, self.array_pj, self.offsets, first, stop, reductions, self.control, done, rows
                )
                self._working[worker] = int(reductions.totals[EVALUATED])
                offers = rows.offers[: int(rows.filled[0])]
                if self.keep.sample_size:
                    sample.offer(offers)
                if writer is not None:
                    writer.append(_selected(offers, self.columns, self.keep, self.types))
        except BaseException:
            if writer is not None:
                writer.discard()
            raise
        if first < stop:
            if writer is not None:
                writer.discard()
            self._partial.append((reductions, sample.draws))
        elif writer is not None:
            self._take(reductions, sample.draws, self.journal.add([unit], reductions, sample.draws, writer))
            self._working[worker] = 0
        else:
            self._checkpoint(worker, unit, reductions, sample.draws)
        return rows

    def _checkpoint(self, worker: int, unit: int, reductions: Any, draws: Any) -> None:
        """Put a unit with those that wait, and these on disk if they have waited for long."""
        waiting = self._waiting.setdefault(worker, _Waiting(self.keep, self.top))
        waiting.add(unit, reductions, draws)
        self._take(reductions, draws)
        self._working[worker] = 0
        if time.monotonic() - waiting.since >= CHECKPOINT_SECONDS:
            waiting.write(self.journal)
            del self._waiting[worker]

    def close(self) -> None:
        """After a stop: what waits goes to disk, and what was found of unfinished units is part of the result."""
        for waiting in self._waiting.values():
            waiting.write(self.journal)
        for reductions, draws in self._partial:
            self._take(reductions, draws)
        self._working.clear()

    def result(self, objective: str, effort: dict[str, float]) -> SearchResult:
        """What is finished."""
        with self._lock:
            merged, draws = self._merged, self._sample.draws
            parts = sorted(self._parts, key=lambda part: part.units)
        kept = Kept(
            self.keep.describe(),
            self.best,
            tuple((part.path, part.rows) for part in parts) if self.keep.rows else (),
            self.types if self.keep.rows else {},
            self._sample_columns(draws) if self.keep.sample_size else None,
        )
        return replace(reduced(outcome(self.space, objective, merged, effort), self.keep), kept=kept)

    def _sample_columns(self, draws: Any) -> dict[str, Any]:
        order = np.lexsort([draws[name] for name in ("key", "code", "rank", "spatial")])
        columns = _selected(draws[order], self.columns, replace(self.keep, where=None), self.types)
        del columns[WEIGHT]  # each stands for itself
        return {name: values.astype(self.types[name]) for name, values in columns.items()}


class _Waiting:
    """Finished units of one thread that are not yet on disk."""

    def __init__(self, keep: Keep, top: int) -> None:
        self.top = top
        self.units: list[int] = []
        self.reductions = new_reductions(top)
        self.sample = Sample(keep.sample_size, keep.seed)
        self.since = time.monotonic()

    def add(self, unit: int, reductions: Any, draws: Any) -> None:
        self.units.append(unit)
        self.reductions = merge_reductions([self.reductions, reductions], self.top)
        self.sample.add(draws)

    def write(self, journal: Journal) -> None:
        journal.add(self.units, self.reductions, self.sample.draws, None)


def _unit_orders(space: Mapspace, expected: Forecast) -> int:
    """Orders of a unit."""
    orders = sum(space.orders)
    per_order = max(1.0, expected.costs_per_order)  # an order takes time even if nothing of it fits
    costs = min(UNIT_COSTS, max(SMALLEST_UNIT_COSTS, orders * per_order / UNITS))
    return max(1, min(orders, int(costs / per_order)))


def _selected(offers: Any, columns: Columns, keep: Keep, types: dict[str, str]) -> dict[str, Any]:
    """The columns of the rows that satisfy the filter."""
    names = dict(zip((*IDENTITY, WEIGHT, *COSTS), ("spatial", "rank", "code", "weight", *COSTS), strict=True))
    block = columns.block({name: offers[field] for name, field in names.items()})
    if keep.where is not None:
        block = block.rows(np.flatnonzero(keep.where.select(block, len(block))))
    return {name: np.broadcast_to(block(name), (len(block),)) for name in types}
