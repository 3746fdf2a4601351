"""The optimal strategy: the best mapping of a space, or its Pareto front, proven without costing every mapping."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastmap.control import Control, available_threads
from fastmap.counting import count_valid
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import EmptySpaceError, SearchError, TimeLimitError
from fastmap.evaluation import array_clock_ns
from fastmap.exhaustive import candidate_energies_pj, nothing_fits, run_threads
from fastmap.kernels import goals
from fastmap.kernels import optimal as kernels
from fastmap.kernels.candidates import candidate_bounds
from fastmap.kernels.problem import MAX_LEVELS, MAX_LOOPS, SCRATCH, UNROLLING
from fastmap.kernels.reduce import POINT
from fastmap.kernels.workspace import Workspace
from fastmap.lowering import new_record
from fastmap.mapping import Mapping
from fastmap.mapspace import IntArray, Mapspace
from fastmap.result import OBJECTIVES, Points, SearchResult, exponent_of
from fastmap.symmetry import distinct_candidates

#: Mappings that a first look at a spatial mapping costs: the more the more promising it is, but at least so many.
FIRST_LOOK, LEAST_LOOK = 2000, 25
#: Partial mappings that it bounds at most: so many at the 64 most promising, half of that at the next 64 ...
LOOK_CHAINS, LEAST_CHAINS = 10_000, 1_000

#: How many points of a bounding front take as long to fill as one partial mapping takes to bound: about.
POINTS_PER_CHAIN = 20.0

NOTHING = np.empty(0)  # slopes

FIRST_ROOM = 2**20  # numbers of a worker's workspace, before it is known how many it needs

#: Points of a front that each worker can tell the others.
MAX_POSTED = 16384


def solve_space(
    space: Mapspace,
    objective: str,
    *,
    max_energy_pj: float | None = None,
    max_latency_cycles: float | None = None,
    gap: float = 0.0,
    time_limit: float | None = None,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    control: Control,
) -> SearchResult:
    """Find the best mapping of a space and prove it; see ``exploration.search``."""
    seconds_compile = compile_kernels(space)
    workers = max(1, min(threads or available_threads(), len(space.candidates)))
    solver = Solver(space, _goal(objective, max_energy_pj, max_latency_cycles, gap), control, workers)
    start = time.perf_counter()
    with control.limited(math.inf if time_limit is None else time_limit, solver.out_of_time):
        run_threads(solver.work, workers, control, solver.covered, progress)
        if solver.paused:
            if not solver.found and solver.by_value and _is_empty(space, workers, control):
                raise EmptySpaceError(nothing_fits(space))
            solver.begin_again()
            run_threads(solver.work, workers, control, solver.covered, progress)
    if solver.complete and not solver.found:
        if max_energy_pj is not None or max_latency_cycles is not None:
            limits = [
                f"{name} = {value:g}"
                for name, value in (("max_energy_pj", max_energy_pj), ("max_latency_cycles", max_latency_cycles))
                if value is not None
            ]
            raise SearchError(
                f"{space.layer.name} on {space.architecture.name}: no mapping keeps within {' and '.join(limits)}"
            )
        raise EmptySpaceError(nothing_fits(space))
    if not solver.found and solver.timed_out and not control.stopped:
        raise TimeLimitError(
            f"{space.layer.name} on {space.architecture.name}: no mapping was found within the time limit of "
            f"{time_limit:g} s"
        )
    points = solver.points()
    if objective == "pareto":
        kept = {"pareto": points} | {name: _best_of(points, name) for name in OBJECTIVES}
    else:
        kept = {objective: points}
    statistics: dict[str, float] = {
        "mappings_total": space.size,
        "mappings_covered": space.size if solver.complete else solver.covered(),
        "mappings_evaluated": int(solver.statistics[goals.COSTED]),
        "spatial_mappings": len(space.orders),
        "spatial_searched": len(solver.searched),
        "spatial_mirrored": len(space.orders) - len(solver.times),
        "spatial_pruned_by_compulsory_traffic": len(solver.times) - len(solver.searched) if solver.complete else 0,
        "spatial_pruned_by_shortest_path": int(solver.statistics[goals.PRUNED_CANDIDATES]) + solver.given_up,
        "partial_mappings": int(solver.statistics[goals.CHAINS]),
        "partial_pruned_by_bound": int(solver.statistics[goals.PRUNED_CHAINS]),
        "partial_pruned_by_capacity": int(solver.statistics[goals.OVERFULL_CHAINS]),
        "seconds_compile": seconds_compile,
        "seconds_search": time.perf_counter() - start,
        "threads": workers,
    }
    clock_ns = array_clock_ns(space.architecture)
    bound = None if objective == "pareto" else solver.lower_bound() * clock_ns ** exponent_of(objective)
    if bound is not None and objective == "latency":
        bound = solver.lower_bound()
    return SearchResult(
        layer=space.layer,
        architecture=space.architecture,
        constraints=space.constraints,
        objective=objective,
        strategy="optimal",
        cost_model=space.cost_model,
        space=space,
        points=kept,
        histograms={},
        joint_histogram=None,
        statistics=statistics,
        complete=solver.complete and gap == 0.0,
        lower_bound=bound,
        front_gap=gap if objective == "pareto" and solver.complete else None,
    )


def _is_empty(space: Mapspace, threads: int, control: Control) -> bool:
    """Whether the space is known to have no mapping: a search that finds none would have to look everywhere."""
    try:
        return count_valid(space, threads=threads, control=control) == 0
    except SearchError:  # they cannot be counted
        return False


def _goal(objective: str, max_energy_pj: float | None, max_latency_cycles: float | None, gap: float) -> Any:
    goal = new_record(goals.GOAL)
    kinds = {"energy": goals.ENERGY, "latency": goals.LATENCY, "pareto": goals.FRONT}
    goal["kind"] = kinds.get(objective, goals.PRODUCT)
    goal["exponent"] = exponent_of(objective)
    goal["energy_bound_pj"] = math.inf if max_energy_pj is None else max_energy_pj
    goal["latency_bound_cycles"] = math.inf if max_latency_cycles is None else max_latency_cycles
    goal["slack"] = gap
    goal["points_per_chain"] = POINTS_PER_CHAIN
    return goal


@dataclass(frozen=True)
class Best:
    """A mapping found, and the place of its spatial mapping in the order of the search."""

    value: float
    place: int
    energy_pj: float
    latency_cycles: float
    index: int
    mapping: Mapping

    def wins(self, other: Best) -> bool:
        """Whether it is better, or as good (but for rounding) and of an earlier place."""
        if self.place < other.place:
            return self.value <= other.value * (1.0 + goals.TINY)
        return self.value * (1.0 + goals.TINY) < other.value

    def dominates(self, other: Best) -> bool:
        """Whether it is at least as good in both energy and latency, but for rounding if it is of an earlier place."""
        larger = 1.0 + goals.TINY if self.place < other.place else 1.0
        return self.energy_pj <= other.energy_pj * larger and self.latency_cycles <= other.latency_cycles * larger


class Solver:
    """Searches the spatial mappings of a space in the order of their bounds; its state is shared by all threads."""

    def __init__(self, space: Mapspace, goal: Any, control: Control, workers: int = 1) -> None:
        self.space, self.goal, self.control = space, goal, control
        self.timed_out = False
        self.array_pj = candidate_energies_pj(space)
        bounds = np.empty((len(space.candidates), 2))
        candidate_bounds(
            space.problem,
            new_record(UNROLLING),
            new_record(SCRATCH),
            space.array_dim,
            space.loop_dim,
            space.candidates,
            self.array_pj,
            bounds,
        )
        kind = int(goal["kind"])
        if kind == goals.ENERGY:
            self.bound = bounds[:, 0]
        elif kind == goals.LATENCY:
            self.bound = bounds[:, 1]
        else:
            self.bound = bounds[:, 0] * bounds[:, 1] ** float(goal["exponent"])
        self.bounds = bounds
        chosen, times = self._distinct()
        self.order = chosen[np.argsort(self.bound[chosen], kind="stable")].tolist()
        self.times = dict(zip(chosen.tolist(), times.tolist(), strict=True))
        self.next = 0
        self.lock = threading.Lock()
        self.best_known, self.values = np.full(1, np.inf), np.full(len(self.order), np.inf)
        self.running: set[int] = set()  # places
        # The points of the front that each worker found, and how many it had found before its present search.
        self.points_found = np.zeros((workers, MAX_POSTED if self.front_wanted else 1), POINT)
        self.posted, self.posted_before = np.zeros(workers, np.int64), np.zeros(workers, np.int64)
        self.front: Any = np.zeros(0, POINT)  # of what was found so far
        self.found: list[Best] = []
        self.known: Any = self._known()
        self.lower: dict[int, Any] = {}  # ``goals.Lower`` of what was only looked at so far
        # A first look at every spatial mapping finds good mappings early, and says in which order to go on.
        self.looking = not self.front_wanted
        self.paused: list[int] = []  # places
        limits = (float(goal["energy_bound_pj"]), float(goal["latency_bound_cycles"]))
        self.by_value = not self.front_wanted and limits == (math.inf, math.inf)  # ``order`` is that of what is pruned
        self.statistics = np.zeros(goals.N_STATISTICS, np.int64)
        self.searched: set[int] = set()
        self.given_up = 0  # spatial mappings looked at, but not worth a second look
        self.open: set[int] = set(self.order)  # spatial mappings not covered yet
        self._covered = 0

    def _distinct(self) -> tuple[IntArray, IntArray]:
        """Spatial mappings to search, and how many cost the same as each: in ``zigzag`` what is rounded, and so the
        cost, may depend on which axis is which.
        """
        if self.space.cost_model == "corrected":
            return distinct_candidates(self.space)
        n = len(self.space.candidates)
        return np.arange(n), np.ones(n, np.int64)

    @property
    def front_wanted(self) -> bool:
        """Whether the whole front is looked for."""
        return int(self.goal["kind"]) == goals.FRONT

    @property
    def complete(self) -> bool:
        """Whether every spatial mapping was covered."""
        return not self.open

    def out_of_time(self) -> None:
        """Note that the time is up."""
        self.timed_out = True

    def covered(self) -> int:
        """Mappings of the spatial mappings that are done."""
        return self._covered

    def _cover(self, index: int) -> None:
        self.open.discard(index)
        self._covered += self.times[index] * self.space.orders[index] * self.space.allocations[index]

    def lower_bound(self) -> float:
        """What no mapping of the space is better than: pJ, cycles, or their product."""
        value = self.found[0].value / (1.0 + float(self.goal["slack"])) if self.found else math.inf
        return min([value, *(float(self.bound[index]) for index in self.open)])

    def work(self, worker: int) -> None:
        """Search one spatial mapping after the other until none is left that may be good."""
        unrolling, scratch, workspace = new_record(UNROLLING), new_record(SCRATCH), new_workspace(FIRST_ROOM)
        while not (self.control.stopped or self.timed_out):
            with self.lock:
                if self.next == len(self.order):
                    return
                place = self.next
                self.next += 1
                index = self.order[place]
                energy_pj, cycles = self.bounds[index]
                lower = self.lower.get(index) or goals.Lower(energy_pj, cycles, NOTHING, NOTHING)
                if goals.hopeless(self.goal, lower, self.known, self.best_known[0]):
                    if self.by_value:  # and so are all others
                        self.next = len(self.order)
                    for hopeless in self.order[place : self.next]:
                        self._cover(hopeless)
                        self.given_up += hopeless in self.searched
                    continue
                found = self._known()
                self.posted_before[worker] = self.posted[worker]
                others = self._others(place, worker)
                self.running.add(place)
            self._search(place, unrolling, scratch, workspace, others, found)
            workspace = _grown(workspace)

    def _known(self) -> Any:
        """What was found by now: all of it by searches begun before the next one, and so it wins against equals."""
        known = len(self.front)
        front = np.zeros(known + 16, POINT)
        front[:known] = self.front
        value = self.found[0].value if self.found and not self.front_wanted else np.inf
        return goals.Found(
            best=np.array([value, np.inf, np.inf]),
            count=np.array([0, known], np.int64),
            front=front,
            mappings=np.full((1, goals.MAPPING), -1, np.int64),
        )

    def begin_again(self) -> None:
        """Search what was only looked at so far to the end, in the order of what is known of it now."""
        self.paused.sort(key=lambda place: (self.bound[self.order[place]], place))
        self.order = [self.order[place] for place in self.paused]
        self.paused, self.next, self.looking = [], 0, False
        self.values = np.full(len(self.order), np.inf)
        # Whatever is found from now on is of later places.
        self.found = [replace(best, place=-1) for best in self.found]

    def _others(self, place: int, worker: int) -> Any:
        """What a search hears of others: what they find from now on, or have found in their present searches."""
        return goals.Others(
            value=self.best_known,
            values=self.values,
            place=place,
            rivals=np.array(sorted(self.running), np.int64),
            points=self.points_found,
            posted=self.posted,
            taken=self.posted_before.copy(),
            worker=worker,
        )

    def _search(self, place: int, unrolling: Any, scratch: Any, workspace: Workspace, others: Any, found: Any) -> None:
        index = self.order[place]
        space = self.space
        statistics = np.zeros(goals.N_STATISTICS, np.int64)
        ended, lower, found = kernels.search_candidate(
            space.problem,
            space.rules,
            unrolling,
            scratch,
            workspace,
            space.array_dim,
            space.loop_dim,
            space.candidates[index],
            self.array_pj[index],
            index,
            self.goal,
            others,
            found,
            max(LEAST_LOOK, FIRST_LOOK // (1 + place)) if self.looking else 0,
            max(LEAST_CHAINS, LOOK_CHAINS // (1 + place // 64)),
            statistics,
            self.control.halt,
        )
        if ended == kernels.TOO_WIDE:
            raise SearchError(
                f"{space.layer.name}: the layer splits into too many distinct loops for the strategy optimal; set "
                "loop_factor_limit"
            )
        with self.lock:
            self.running.discard(place)
            self.statistics += statistics
            self.searched.add(index)
            if ended == kernels.DONE:
                self._cover(index)
            elif ended == kernels.PAUSED:
                self.paused.append(place)
                self.lower[index] = lower
                self.bound[index] = goals.lower_value(self.goal, lower)  # as ``hopeless`` does: see ``by_value``
            if self.front_wanted:
                points = found.front[: found.count[1]]
                points = points[points["rank"] >= 0]
                self._join(
                    [
                        Best(0.0, place, float(energy), float(cycles), index, self._mapping(index, int(rank), found))
                        for energy, cycles, rank in zip(
                            points["energy_pj"], points["latency_cycles"], points["rank"], strict=True
                        )
                    ]
                )
            elif found.mappings[0, 0] >= 0:
                value, energy, cycles = (float(each) for each in found.best)
                mine = Best(value, place, energy, cycles, index, self._mapping(index, 0, found))
                if not self.found or mine.wins(self.found[0]):
                    self.found = [mine]
                    self.known = self._known()

    def _join(self, new: list[Best]) -> None:
        """Add points to the front; of equal ones (but for rounding) that of the smallest place stays."""
        if not new:
            return
        kept: list[Best] = []
        for point in sorted([*self.found, *new], key=lambda each: (each.energy_pj, each.latency_cycles, each.place)):
            while kept and point.place < kept[-1].place and point.dominates(kept[-1]):
                kept.pop()
            if not kept or not kept[-1].dominates(point):
                kept.append(point)
        self.found = kept
        self.front = np.zeros(len(kept), POINT)
        self.front["energy_pj"] = [point.energy_pj for point in kept]
        self.front["latency_cycles"] = [point.latency_cycles for point in kept]
        self.front["rank"] = -1
        self.known = self._known()

    def _mapping(self, index: int, place: int, found: Any) -> Mapping:
        numbers = [int(each) for each in found.mappings[place]]
        n = numbers[0]
        dims, sizes = numbers[1 : 1 + n], numbers[1 + MAX_LOOPS : 1 + MAX_LOOPS + n]
        cuts = numbers[1 + 2 * MAX_LOOPS :]
        return Mapping(
            spatial=self.space.spatial(index),
            temporal=tuple((LOOP_DIMENSIONS[d], size) for d, size in zip(dims, sizes, strict=True)),
            allocation={
                operand: tuple(cuts[o * MAX_LEVELS : o * MAX_LEVELS + int(self.space.problem["levels"][o])])
                for o, operand in enumerate(OPERANDS)
            },
        )

    def points(self) -> Points:
        """What was found, with its identities."""
        identity = [self.space.identify(point.index, point.mapping) for point in self.found]
        if any(max(each) >= 2**64 for each in identity):
            raise SearchError(f"{self.space.layer.name}: the space has too many orders to number them")
        return Points(
            np.array(identity, np.uint64).reshape(-1, 3),
            np.array([point.energy_pj for point in self.found], float),
            np.array([point.latency_cycles for point in self.found], float),
        )


def _best_of(points: Points, objective: str) -> Points:
    value = {
        "energy": points.energy_pj,
        "latency": points.latency_cycles,
        "edp": points.energy_pj * points.latency_cycles,
    }[objective]
    place = [int(np.argmin(value))] if len(points) else []
    return Points(points.mapping_id[place], points.energy_pj[place], points.latency_cycles[place])


def new_workspace(size: int) -> Workspace:
    """Memory for so many numbers."""
    return Workspace(np.empty(size), np.zeros(1, np.int64))


def _grown(workspace: Workspace) -> Workspace:
    """The same, or one that has room for what was taken last."""
    needed = int(workspace.used[0])
    return workspace if needed <= workspace.memory.size else new_workspace(needed + needed // 4)


_compiled = threading.Lock()


def compile_kernels(space: Mapspace) -> float:
    """Compile (or load) the kernels of the search; return the seconds that it took."""
    start = time.perf_counter()
    stopped = Control()
    stopped.stop()
    with _compiled:
        solver = Solver(replace(space, candidates=space.candidates[:1]), _goal("energy", None, None, 0.0), stopped)
        solver.best_known[0] = -math.inf
        goals.hopeless(solver.goal, goals.Lower(0.0, 0.0, NOTHING, NOTHING), solver._known(), solver.best_known[0])
        solver._search(
            0, new_record(UNROLLING), new_record(SCRATCH), new_workspace(0), solver._others(0, 0), solver._known()
        )
    return time.perf_counter() - start
