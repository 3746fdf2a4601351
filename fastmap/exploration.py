"""The search of a layer, or of every layer of a network, over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from fastmap.architecture import Architecture
from fastmap.control import Control
from fastmap.errors import InputError
from fastmap.exhaustive import check_size, enumerate_space
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.optimal import solve_space
from fastmap.result import OBJECTIVES, NetworkResult, SearchResult, exponent_of
from fastmap.workload import Workload

STRATEGIES = ("optimal", "exhaustive")

#: Options of the strategy optimal only.
LIMITS = ("max_energy_pj", "max_latency_cycles", "time_limit", "gap")

DEFAULT_TOP = 10
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
        force: enumerate even if it takes more than an hour.
        progress: called now and then with the number of mappings covered since the last call.
        control: lets another thread stop the search; Ctrl-C stops it too. A stopped search returns what it has.

    Raises:
        SearchError: the constraints admit nothing, nothing fits, or the space is too large to enumerate.
    """
    options = Options(objective, strategy, max_energy_pj, max_latency_cycles, gap, time_limit, top, threads, force)
    return search_space(Mapspace.build(layer, architecture, constraints, cost_model), options, progress, control)


def search_space(
    space: Mapspace,
    options: Options,
    progress: Callable[[int], object] | None = None,
    control: Control | None = None,
) -> SearchResult:
    """Search a space that is built already."""
    control = control or Control()
    check_options(space, options)
    if is_enumerated(space, options):
        return enumerate_space(
            space,
            options.objective,
            top=options.top or DEFAULT_TOP,
            threads=options.threads,
            progress=progress,
            control=control,
        )
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


def check_options(space: Mapspace, options: Options) -> None:
    """Refuse options that do not go with the space.

    Raises:
        InputError, SearchError: one sentence that says why.
    """
    if not is_enumerated(space, options):
        if options.top is not None:
            raise InputError("top needs the strategy exhaustive; optimal keeps the best mapping, or front, only")
        return
    if space.constraints.allocation == "greedy":
        check_enumerable(options.objective, "all allocations")
        for name in LIMITS:
            if getattr(options, name):
                raise InputError(f"{name} needs all allocations; with greedy allocation every order is costed anyway")
    check_size(space, options.threads, options.force)


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
) -> NetworkResult:
    """Search every layer of a plan, identical layers once.

    Args:
        options, progress, control: as for ``search``.
        keep: called with each layer's name and result as soon as it is there, for storing it.

    A stopped search returns the layers that it has, the last one incomplete.
    """
    options, control = options or Options(), control or Control()
    results: dict[str, SearchResult] = {}
    found: dict[int, SearchResult] = {}
    for name, space in plan.spaces.items():
        if id(space) not in found:
            if control.stopped:
                break
            found[id(space)] = search_space(space, options, progress, control)
        results[name] = replace(found[id(space)], layer=plan.workload[name])
        if keep is not None:
            keep(name, results[name])
    return NetworkResult(plan.workload.name, plan.architecture, results)
