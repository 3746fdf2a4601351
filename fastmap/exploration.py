"""The search of a layer, or of every layer of a network, over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastmap.architecture import Architecture
from fastmap.columns import COSTS, IDENTITY, WEIGHT, Columns, check_columns
from fastmap.conflict import naming_conflicts
from fastmap.control import Control
from fastmap.errors import InputError
from fastmap.exhaustive import check_size, enumerate_space, expected_seconds
from fastmap.expression import BEST_OF
from fastmap.keep import Keep
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.optimal import solve_space
from fastmap.recorded import Forecast, best_values, check_room, enumerate_recorded, forecast, reduced
from fastmap.result import OBJECTIVES, NetworkResult, SearchResult, exponent_of
from fastmap.store import ResultFile, check_output, parts_bytes
from fastmap.workload import Workload

STRATEGIES = ("optimal", "exhaustive")

#: Options of the strategy optimal only.
LIMITS = ("max_energy_pj", "max_latency_cycles", "time_limit", "gap")

DEFAULT_TOP = 10
#: An enumeration that is written to a file keeps a journal if it is expected to take longer than this.
JOURNAL_SECONDS = 30.0
MAX_TOP = 100_000
MAX_THREADS = 1024


@dataclass(frozen=True)
class Options:
    """How a space is searched; the arguments of ``search`` of the same names."""

    objective: str = "edp"
    strategy: str = "optimal"
    max_energy_pj: float | None = None
    max_latency_cycles: float | None = None
    gap: float = 0.0
    time_limit: float | None = None
    top: int | None = None
    threads: int | None = None
    force: bool = False
    keep: Keep | None = None  #: of an enumeration; None: the summaries

    def __post_init__(self) -> None:
        """Refuse what makes no sense, with one sentence."""
        if self.strategy not in STRATEGIES:
            raise InputError(f"strategy must be one of {', '.join(STRATEGIES)}, not {self.strategy!r}")
        exponent_of(self.objective)
        for name, number, limit in (("top", self.top, MAX_TOP), ("threads", self.threads, MAX_THREADS)):
            if number is None:
                continue
            if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= limit:
                raise InputError(f"{name} must be an integer from 1 to {limit}, not {number!r}")
        for name in ("max_energy_pj", "max_latency_cycles", "time_limit"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise InputError(f"{name} must be a positive number, not {value!r}")
        if not (_is_number(self.gap) and 0 <= self.gap < 1):
            raise InputError(f"gap must be a share of at least 0 and below 1, not {self.gap!r}")
        if self.strategy == "exhaustive":
            check_enumerable(self.objective, "the strategy optimal")
            for name in LIMITS:
                if getattr(self, name):
                    raise InputError(f"{name} needs the strategy optimal; an exhaustive search covers everything")
        if self.objective == "energy" and self.max_energy_pj is not None:
            raise InputError("max_energy_pj makes no sense with the objective energy, which is as low as can be anyway")
        if self.objective == "latency" and self.max_latency_cycles is not None:
            raise InputError("max_latency_cycles makes no sense with the objective latency, as low as can be anyway")


def check_enumerable(objective: str, needed: str) -> None:
    """Refuse an objective for which an enumeration keeps nothing."""
    if objective not in (*OBJECTIVES, "pareto"):
        raise InputError(
            f"the objective {objective} needs {needed}; take the best point of the Pareto front of an exhaustive "
            "search instead"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def search(
    layer: Layer,
    architecture: Architecture,
    objective: str = "edp",
    strategy: str = "optimal",
    cost_model: str = "corrected",
    constraints: Constraints | None = None,
    *,
    max_energy_pj: float | None = None,
    max_latency_cycles: float | None = None,
    gap: float = 0.0,
    time_limit: float | None = None,
    top: int | None = None,
    threads: int | None = None,
    force: bool = False,
    keep: Keep | str | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> SearchResult:
    """Search the mapping space of one layer.

    Args:
        layer, architecture: what is mapped on what.
        objective: ``energy``, ``latency``, ``edp``, ``ed2p`` (energy x latency ** 2; any power up to 9), or ``pareto``,
            the whole front of energy and latency.
        strategy: ``optimal``: the best mapping, proven by bounds; ``exhaustive``: cost every mapping of the space, with
            the best few for energy, latency and EDP, the front, and the distributions.
        cost_model: ``zigzag``: the numbers of ZigZag 3.9.1; ``corrected``: the same without its numerical accidents.
        constraints: what to choose from; None: everything.
        max_energy_pj, max_latency_cycles: only mappings within these (strategy optimal).
        gap: stop when the result is proven to be at most this share worse than the optimum; of a front, when for every
            mapping some point is at most this share worse in energy and in latency (strategy optimal). With several
            threads, which of the results within the gap is returned may differ from run to run.
        time_limit: seconds after which the best mapping so far is returned, with its proven gap (strategy optimal).
        top: how many distinct points to keep for each objective; default: 10 (strategy exhaustive).
        threads: default: one for each processor.
        force: enumerate even if it takes more than an hour; write even if the disk seems too small; overwrite.
        keep: what to keep of the mappings (strategy exhaustive): ``Keep.of(...)``, or one of its modes.
        output: result file to write, as the search goes on; needed to keep rows.
        resume: go on with what an earlier run of the same search has left in ``output``.
        progress: called now and then with the number of mappings covered since the last call.
        control: lets another thread stop the search; Ctrl-C stops it too. A stopped search returns what it has.

    Raises:
        SearchError: the constraints admit nothing, nothing fits, or the space is too large to enumerate.
        StoreError: the output cannot be written.
    """
    chosen = Keep.of(keep) if isinstance(keep, str) else keep
    options = Options(
        objective, strategy, max_energy_pj, max_latency_cycles, gap, time_limit, top, threads, force, chosen
    )
    if output is not None:
        check_output(output, force, resume)
    with naming_conflicts(layer, architecture, constraints, cost_model, built=False):
        space = Mapspace.build(layer, architecture, constraints, cost_model)
    if output is None:
        with naming_conflicts(layer, architecture, constraints, cost_model, built=True):
            return search_space(space, options, progress, control)
    control = control or Control()
    expected = prepare(space, options, control)
    if expected is not None:
        check_room(expected.forecast.bytes - (parts_bytes(output) if resume else 0), output, force)
    with ResultFile.create(output, overwrite=force, resume=resume) as file:
        with naming_conflicts(layer, architecture, constraints, cost_model, built=True):
            found = search_recorded(file, layer.name, space, options, expected, progress, control)
        with control.on_interrupt():
            file.write(found)
        return found


@dataclass(frozen=True)
class Recording:
    """What an enumeration that keeps a journal needs to know before."""

    forecast: Forecast
    best: dict[str, float]  #: values that the filter refers to


def prepare(space: Mapspace, options: Options, control: Control) -> Recording | None:
    """Look ahead at an enumeration that is to keep a journal; None where the search keeps none.

    Raises:
        InputError: the filter names columns that there are not, or is no condition.
    """
    check_options(space, options, recorded=True)
    keep = options.keep or Keep()
    rows = keep.rows or keep.sample_size
    if not is_enumerated(space, options):
        return None
    if not rows and expected_seconds(space.size, options.threads) < JOURNAL_SECONDS:
        return None
    best = best_values(space, keep.where, control)
    return Recording(forecast(space, keep, best), best)


def search_recorded(
    file: ResultFile,
    name: str,
    space: Mapspace,
    options: Options,
    recording: Recording | None,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> SearchResult:
    """Search a space whose result goes to a file under this name; the caller writes it.

    Args:
        recording: of ``prepare``.

    Raises:
        StoreError: what an earlier run has left is of another search.
    """
    control = control or Control()
    keep = options.keep or Keep()
    strategy = "exhaustive" if is_enumerated(space, options) else "optimal"
    found = file.finished(space, name, options.objective, strategy, keep)
    if found is not None:
        if progress is not None:
            progress(space.size)
        return found
    if recording is None:
        return search_space(space, options, progress, control)
    return enumerate_recorded(
        space,
        options.objective,
        top=options.top or DEFAULT_TOP,
        threads=options.threads,
        progress=progress,
        control=control,
        keep=keep,
        best=recording.best,
        expected=recording.forecast,
        recorder=file.recorder(space.architecture.name, name),
    )


def search_space(
    space: Mapspace,
    options: Options,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> SearchResult:
    """Search a space that is built already, without a file."""
    control = control or Control()
    check_options(space, options)
    if is_enumerated(space, options):
        found = enumerate_space(
            space,
            options.objective,
            top=options.top or DEFAULT_TOP,
            threads=options.threads,
            progress=progress,
            control=control,
        )
        return found if options.keep is None else reduced(found, options.keep)
    return solve_space(
        space,
        options.objective,
        max_energy_pj=options.max_energy_pj,
        max_latency_cycles=options.max_latency_cycles,
        gap=options.gap,
        time_limit=options.time_limit,
        threads=options.threads,
        progress=progress,
        control=control,
    )


def is_enumerated(space: Mapspace, options: Options) -> bool:
    """Whether every mapping of the space is costed, be it for the strategy or for the greedy allocation."""
    return options.strategy == "exhaustive" or space.constraints.allocation == "greedy"


def check_options(space: Mapspace, options: Options, recorded: bool = False) -> None:
    """Refuse options that do not go with the space.

    Args:
        recorded: the result goes to a file as the search goes on.

    Raises:
        InputError, SearchError: one sentence that says why.
    """
    if not is_enumerated(space, options):
        if options.top is not None:
            raise InputError("top needs the strategy exhaustive; optimal keeps the best mapping, or front, only")
        if options.keep is not None:
            raise InputError("keep needs the strategy exhaustive; optimal does not cost every mapping")
        return
    if space.constraints.allocation == "greedy":
        check_enumerable(options.objective, "all allocations")
        for name in LIMITS:
            if getattr(options, name):
                raise InputError(f"{name} needs all allocations; with greedy allocation every order is costed anyway")
    if options.keep is not None:
        check_keep(space, options.keep, options.objective)
        if not recorded and (options.keep.rows or options.keep.sample_size):
            raise InputError("rows of mappings are kept in a file; say which (output)")
    check_size(space, options.threads, options.force)


def check_keep(space: Mapspace, keep: Keep, objective: str) -> None:
    """Refuse columns that a space does not have.

    Raises:
        InputError: which ones there are.
    """
    columns = Columns(space)
    check_columns(columns, keep.columns)
    if keep.where is not None:
        keep.where.check(columns.known, columns.short_names)
        none = np.zeros(0, np.int64)
        columns = Columns(space, dict.fromkeys(BEST_OF, 1.0))
        keep.where.select(columns.block(dict.fromkeys((*IDENTITY, *COSTS, WEIGHT), none)), 0)
    if objective == "pareto" and "pareto" not in keep.modes:
        raise InputError("with the objective pareto, keep pareto as well")


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
    cost_model: str = "corrected",
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
            with naming_conflicts(layer, on, given, cost_model, built=False):
                known[key] = Mapspace.build(layer, on, given, cost_model)
        spaces[layer.name] = known[key]
    return NetworkPlan(workload, architecture, spaces)


def search_network(
    plan: NetworkPlan,
    options: Options | None = None,
    *,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
    keep: Callable[[str, SearchResult], None] | None = None,
    output: ResultFile | None = None,
    recordings: dict[int, Recording] | None = None,
) -> NetworkResult:
    """Search every layer of a plan, identical layers once.

    Args:
        options, progress, control: as for ``search``.
        keep: called with each layer's name and result as soon as it is there, for storing it.
        output: where it is stored, which a search may have to know, too.
        recordings: of ``prepare``, by the identity of the space.

    A stopped search returns the layers that it has, the last one incomplete.
    """
    options, control = options or Options(), control or Control()
    results: dict[str, SearchResult] = {}
    found: dict[int, SearchResult] = {}
    for name, space in plan.spaces.items():
        if id(space) not in found:
            if control.stopped:
                break
            with naming_conflicts(space.layer, space.architecture, space.constraints, space.cost_model, built=True):
                if output is None:
                    found[id(space)] = search_space(space, options, progress, control)
                else:
                    recording = (recordings or {}).get(id(space))
                    found[id(space)] = search_recorded(output, name, space, options, recording, progress, control)
        results[name] = replace(found[id(space)], layer=plan.workload[name])
        if keep is not None:
            keep(name, results[name])
    return NetworkResult(plan.workload.name, plan.architecture, results)
