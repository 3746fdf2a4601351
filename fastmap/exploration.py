"""The search of a layer, or of every layer of a network, over threads."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import numpy as np

from fastmap.architecture import Architecture
from fastmap.errors import InputError, MappingError, SearchError
from fastmap.evaluation import array_clock_ns, evaluate
from fastmap.kernels import reduce as reduce_kernels
from fastmap.kernels.array import array_energies_pj
from fastmap.kernels.macro import VARIANT_ZIGZAG
from fastmap.kernels.problem import SCRATCH, UNROLLING
from fastmap.kernels.search import search_range
from fastmap.layer import Layer
from fastmap.lowering import TECHNOLOGY, lower_macro, new_record
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace, encode_allocation
from fastmap.result import OBJECTIVES, Histogram, Histogram2D, NetworkResult, Points, SearchResult
from fastmap.workload import Workload

STRATEGIES = ("exhaustive",)

#: Mappings per second and thread that an announcement assumes.
ASSUMED_RATE = 1e6
#: Spaces that would take longer than this are refused unless forced.
LONG_SECONDS = 3600.0
#: Mappings of one kernel call.
CHUNK = 1 << 15
FIRST_FRONT = 256
MAX_TOP = 100_000
MAX_THREADS = 1024


@dataclass
class Control:
    """Stops a running search and counts its mappings; shared by all threads."""

    stop: Any = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop."""
        return bool(self.stop[0])

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Let Ctrl-C stop the search instead of raising; a second Ctrl-C raises."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stop[0] = 1

        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def search(
    layer: Layer,
    architecture: Architecture,
    objective: str = "edp",
    strategy: str = "exhaustive",
    cost_model: str = "zigzag",
    constraints: Constraints | None = None,
    *,
    top: int = 10,
    threads: int | None = None,
    force: bool = False,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> SearchResult:
    """Search the mapping space of one layer.

    Args:
        layer, architecture: what is mapped on what.
        objective: ``energy``, ``latency`` or ``edp``; the result keeps the best of all three.
        strategy: ``exhaustive``: cost every mapping of the space.
        cost_model: ``zigzag``: the numbers of ZigZag 3.9.1; ``corrected``: the same without its numerical accidents.
        constraints: what to choose from; None: everything.
        top: how many distinct points to keep for each objective.
        threads: default: one for each processor.
        force: search even if it takes more than an hour.
        progress: called now and then with the number of mappings done since the last call.
        control: lets another thread stop the search; Ctrl-C stops it too. A stopped search returns what it has.

    Raises:
        SearchError: the constraints admit nothing, nothing fits, or the space is too large.
    """
    check_options(objective, strategy, top, threads)
    space = Mapspace.build(layer, architecture, constraints, cost_model)
    return search_space(
        space, objective, top=top, threads=threads, force=force, progress=progress, control=control or Control()
    )


def check_options(objective: str, strategy: str, top: int, threads: int | None) -> None:
    """Refuse options that make no sense, with one sentence."""
    for name, value, choices in (
        ("objective", objective, OBJECTIVES),
        ("strategy", strategy, STRATEGIES),
    ):
        if value not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    for name, number, limit in (("top", top, MAX_TOP), ("threads", threads, MAX_THREADS)):
        if number is None:
            continue
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= limit:
            raise InputError(f"{name} must be an integer from 1 to {limit}, not {number!r}")


def check_size(space: Mapspace, threads: int | None, force: bool) -> None:
    """Refuse a space that takes too long to enumerate, unless forced."""
    seconds = expected_seconds(space.size, threads)
    if seconds > LONG_SECONDS and not force:
        raise SearchError(
            f"{space.layer.name} on {space.architecture.name} has {space.size:.3e} mappings "
            f"({len(space.orders)} spatial mappings), which would take about {readable_time(seconds)}; narrow it with "
            "max_spatial_mappings, min_array_utilization or loop_factor_limit, or force the search"
        )


def expected_seconds(mappings: int, threads: int | None = None) -> float:
    """Roughly how long a search of so many mappings takes."""
    return mappings / (ASSUMED_RATE * (threads or available_threads()))


def available_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def readable_time(seconds: float) -> str:
    """Seconds as a person would say them."""
    for unit, length in (("years", 31557600.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"


def compile_kernels(space: Mapspace) -> float:
    """Compile (or load) the search kernels; return the seconds that it took."""
    start = time.perf_counter()
    nothing, none = _new_reductions(1), np.zeros(1, np.int64)
    _run_range(
        space, _array_energies_pj(space), np.zeros(len(space.orders) + 1, np.int64), 0, 0, nothing, Control(), none
    )
    _merge([nothing], 1)
    with contextlib.suppress(MappingError):  # the mapping may not fit; compiled is the evaluator in any case
        evaluate(space.layer, space.architecture, space.decode(0, 0), space.cost_model)
    return time.perf_counter() - start


def measure_rate(space: Mapspace, seconds: float = 0.2) -> float:
    """Mappings per CPU second of one thread, without compilation: the space is worked through until the time is up."""
    compile_kernels(space)
    array_pj, offsets = _array_energies_pj(space), space.offsets()
    reductions, control = _new_reductions(10), Control()
    done = np.zeros(1, np.int64)
    stop = min(space.size, 1 << 20)
    start = time.thread_time()
    while True:
        reductions = _run_range(space, array_pj, offsets, 0, stop, reductions, control, done)
        elapsed = time.thread_time() - start
        if elapsed >= seconds:
            return int(done[0]) / elapsed


def search_space(
    space: Mapspace,
    objective: str,
    *,
    top: int,
    threads: int | None,
    force: bool,
    progress: Callable[[int], object] | None,
    control: Control,
) -> SearchResult:
    """Cost every mapping of a space; see ``search``."""
    workers = min(threads or available_threads(), max(1, space.size))
    check_size(space, threads, force)
    offsets = space.offsets()
    seconds_compile = compile_kernels(space)
    start = time.perf_counter()
    array_pj = _array_energies_pj(space)
    reductions = [_new_reductions(top) for _ in range(workers)]
    done = [np.zeros(1, np.int64) for _ in range(workers)]
    chunk = max(1, min(CHUNK, math.ceil(space.size / (4 * workers))))
    numbers = itertools.count()
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            while not control.stopped:
                first = next(numbers) * chunk
                if first >= space.size:
                    return
                reductions[worker] = _run_range(
                    space,
                    array_pj,
                    offsets,
                    first,
                    min(first + chunk, space.size),
                    reductions[worker],
                    control,
                    done[worker],
                )
        except BaseException as error:
            failures.append(error)
            control.stop[0] = 1

    pool = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(workers)]
    with control.on_interrupt():
        for thread in pool:
            thread.start()
        reported = 0
        for thread in pool:
            while thread.is_alive():
                thread.join(0.05)
                if progress is not None:
                    now = sum(int(count[0]) for count in done)
                    progress(now - reported)
                    reported = now
    if failures:
        raise failures[0]
    if progress is not None:
        progress(sum(int(count[0]) for count in done) - reported)
    merged = _merge(reductions, top)
    evaluated, fitting = (int(total) for total in merged.totals)
    if evaluated == space.size and not fitting:
        raise SearchError(
            f"{space.layer.name} fits nowhere on {space.architecture.name}: none of its {space.size} mappings "
            "fits the memories"
        )
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
                name: _points(space, merged.best[objective, : merged.used[objective]])
                for objective, name in enumerate(OBJECTIVES)
            },
            "pareto": _points(space, merged.front[: merged.used[reduce_kernels.FRONT]]),
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
            "spatial_mappings": len(space.orders),
            "seconds_compile": seconds_compile,
            "seconds_search": time.perf_counter() - start,
            "threads": workers,
        },
        complete=evaluated == space.size,
    )


def _array_energies_pj(space: Mapspace) -> Any:
    array = space.architecture.array
    energies = np.empty(len(space.candidates))
    if array.kind == "mac":
        energies[:] = array.unit_energy_pj * space.layer.macs
    else:
        macro = lower_macro(space.architecture)
        array_energies_pj(
            space.problem,
            macro,
            TECHNOLOGY,
            VARIANT_ZIGZAG,
            space.array_dim,
            space.loop_dim,
            space.candidates,
            energies,
        )
    return energies


def _run_range(
    space: Mapspace, array_pj: Any, offsets: Any, first: int, stop: int, reductions: Any, control: Control, done: Any
) -> Any:
    """Cost the mappings first..stop-1, enlarging the front as often as it fills. Returns the reductions."""
    unrolling, scratch = new_record(UNROLLING), new_record(SCRATCH)
    while True:
        first = search_range(
            space.problem,
            unrolling,
            scratch,
            space.array_dim,
            space.loop_dim,
            space.candidates,
            array_pj,
            offsets,
            space.loop_limit,
            space.fixed_order,
            first,
            stop,
            reductions,
            control.stop,
            done,
        )
        if first >= stop or control.stopped:
            return reductions
        room = np.zeros_like(reductions.front)
        reductions = reductions._replace(front=np.concatenate([reductions.front, room]))


def _new_reductions(top: int) -> Any:
    fine = reduce_kernels.OCTAVES * reduce_kernels.BINS_PER_OCTAVE
    coarse = reduce_kernels.OCTAVES * reduce_kernels.JOINT_BINS_PER_OCTAVE
    return reduce_kernels.Reductions(
        best=np.zeros((reduce_kernels.N_OBJECTIVES, top), reduce_kernels.POINT),
        front=np.zeros(FIRST_FRONT, reduce_kernels.POINT),
        used=np.zeros(4, np.int64),
        histogram=np.zeros((3, fine), np.int64),
        joint=np.zeros((coarse, coarse), np.int64),
        totals=np.zeros(2, np.int64),
    )


def _merge(parts: list[Any], top: int) -> Any:
    """Merge what the threads kept; the order does not matter."""
    room = FIRST_FRONT + sum(len(part.front) for part in parts)
    merged = _new_reductions(top)._replace(front=np.zeros(room, reduce_kernels.POINT))
    for part in parts:
        reduce_kernels.merge(merged.best, merged.front, merged.used, part.best, part.front, part.used)
        for name in ("histogram", "joint", "totals"):
            getattr(merged, name)[...] += getattr(part, name)
    return merged


def _points(space: Mapspace, points: Any) -> Points:
    """Give every kept mapping its identity, the greedy allocation included."""
    identity = np.empty((len(points), 3), np.uint64)
    for i, (spatial, rank) in enumerate(zip(points["spatial"].tolist(), points["rank"].tolist(), strict=True)):
        mapping = evaluate(space.layer, space.architecture, space.decode(spatial, rank), space.cost_model).mapping
        assert mapping.allocation is not None
        identity[i] = spatial, rank, encode_allocation(mapping.allocation, len(mapping.temporal))
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


@dataclass(frozen=True)
class NetworkPlan:
    """The spaces of a network's layers, counted before anything is searched; identical layers share one."""

    workload: Workload
    architecture: Architecture
    spaces: dict[str, Mapspace]  #: layer name -> space

    @property
    def distinct(self) -> dict[int, Mapspace]:
        """The distinct spaces by object identity, in order."""
        return {id(space): space for space in self.spaces.values()}

    @property
    def size(self) -> int:
        """Mappings to cost, identical layers once."""
        return sum(space.size for space in self.distinct.values())


def plan_network(
    workload: Workload,
    architecture: Architecture,
    constraints: Callable[[Layer], Constraints | None] | Constraints | None = None,
    *,
    layers: Iterable[Layer] | None = None,
    cost_model: str = "zigzag",
    data_locality: bool = False,
) -> NetworkPlan:
    """Build the space of every layer.

    Args:
        layers: only these of the workload.
        cost_model: as for ``search``.
        constraints: for all layers, or a function of the layer.
        data_locality: keep the activations between layers in the lowest memory that holds them, as ZigZag's network
        runs do.
    """
    local: dict[str, Architecture] = {}
    if data_locality:
        from fastmap.locality import localize

        local = localize(workload, architecture)
    known: dict[tuple[Any, ...], Mapspace] = {}
    spaces: dict[str, Mapspace] = {}
    for layer in workload if layers is None else layers:
        on = local.get(layer.name, architecture)
        given = constraints(layer) if callable(constraints) else constraints
        key = (layer.signature, on.model_dump_json(), None if given is None else given.model_dump_json())
        if key not in known:
            known[key] = Mapspace.build(layer, on, given, cost_model)
        spaces[layer.name] = known[key]
    return NetworkPlan(workload, architecture, spaces)


def search_network(
    plan: NetworkPlan,
    objective: str = "edp",
    *,
    top: int = 10,
    threads: int | None = None,
    force: bool = False,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
    keep: Callable[[str, SearchResult], None] | None = None,
) -> NetworkResult:
    """Search every layer of a plan, identical layers once.

    Args:
        keep: called with each layer's name and result as soon as it is there, for storing it.

    Other arguments as for ``search``. A stopped search returns the layers that it has, the last one incomplete.
    """
    check_options(objective, STRATEGIES[0], top, threads)
    control = control or Control()
    results: dict[str, SearchResult] = {}
    found: dict[int, SearchResult] = {}
    for name, space in plan.spaces.items():
        if id(space) not in found:
            if control.stopped:
                break
            found[id(space)] = search_space(
                space, objective, top=top, threads=threads, force=force, progress=progress, control=control
            )
        results[name] = replace(found[id(space)], layer=plan.workload[name])
        if keep is not None:
            keep(name, results[name])
    return NetworkResult(plan.workload.name, plan.architecture, results)
