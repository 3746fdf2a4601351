"""What a search returns: the best mappings, the Pareto front, the distributions and how they were found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmap.architecture import Architecture
from fastmap.errors import InputError
from fastmap.evaluation import Evaluation, array_clock_ns, evaluate
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace

if TYPE_CHECKING:
    import pandas

OBJECTIVES = ("energy", "latency", "edp")


def exponent_of(objective: str) -> float:
    """Power of the latency in an objective: 0 for the energy, 1 for the EDP, 2 for ``ed2p``.

    Raises:
        InputError: there is no such objective.
    """
    if objective in ("latency", "pareto"):
        return 1.0
    power = re.fullmatch(r"ed([1-9]?)p", objective, re.ASCII) if isinstance(objective, str) else None
    if power is not None:
        return float(power[1] or 1)
    if objective == "energy":
        return 0.0
    raise InputError(
        f"objective must be one of {', '.join(OBJECTIVES)}, ed2p (energy x latency ** 2; any power up to 9) and "
        f"pareto, not {objective!r}"
    )


@dataclass(frozen=True)
class Points:
    """Mappings by identity, one a row: what ``best`` and ``pareto`` of a result file hold."""

    mapping_id: npt.NDArray[np.uint64]  #: [n, 3]: spatial index, order rank, allocation code
    energy_pj: npt.NDArray[np.float64]
    latency_cycles: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.energy_pj)

    def __getitem__(self, rows: slice) -> Points:
        """Some of them."""
        return Points(self.mapping_id[rows], self.energy_pj[rows], self.latency_cycles[rows])


@dataclass(frozen=True)
class Kept:
    """Rows of mappings that an exhaustive search kept one by one."""

    choice: dict[str, Any]  #: what was asked for, see ``keep.Keep.describe``
    best: dict[str, float]  #: values that the filter refers to
    parts: tuple[tuple[Path, int], ...]  #: files with rows, and how many each has, in the order of the rows
    types: dict[str, str]  #: columns of the rows
    sample: dict[str, Any] | None  #: mappings drawn uniformly from all that fit, by column

    @property
    def rows(self) -> int:
        """Number of rows, without those of the sample."""
        return sum(rows for _, rows in self.parts)


@dataclass(frozen=True)
class Histogram:
    """How many mappings fall into each bin; bin i is edges[i] <= value < edges[i + 1]."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histogram2D:
    """How many mappings fall into each bin of energy (rows) and latency (columns)."""

    energy_edges: npt.NDArray[np.float64]
    latency_edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class SearchResult:
    """The outcome of the search of one layer on one architecture."""

    layer: Layer
    architecture: Architecture
    constraints: Constraints
    objective: str
    strategy: str
    cost_model: str
    space: Mapspace = field(repr=False, compare=False)
    points: dict[str, Points] = field(repr=False)  #: objective -> the best distinct points; "pareto" -> the front
    histograms: dict[str, Histogram] = field(repr=False)  #: energy_pj, latency_cycles, edp_pj_ns
    joint_histogram: Histogram2D | None = field(repr=False)  #: this and the histograms: of an exhaustive search
    #: mappings_total, mappings_evaluated, mappings_fitting, spatial_mappings, seconds_compile, seconds_search, threads
    statistics: dict[str, float]
    complete: bool  #: the whole space was covered
    #: Proven: no mapping of the space is better than this (pJ, cycles, pJ ns ...); None where only the whole proves it.
    lower_bound: float | None = None
    #: Proven of a front: whatever the mapping, some point costs at most this share more, in energy and in latency.
    front_gap: float | None = None
    kept: Kept | None = field(default=None, repr=False, compare=False)  #: of an exhaustive search that keeps rows

    @cached_property
    def best(self) -> list[Evaluation]:
        """The best mappings for the objective, best first. Mappings of equal energy and latency count once."""
        return self._evaluate(self.points[self.objective])

    @cached_property
    def pareto(self) -> list[Evaluation]:
        """The Pareto front of energy and latency, by rising energy.

        Raises:
            InputError: the search was for one optimum only.
        """
        return self._evaluate(self._points("pareto"))

    def top(self, objective: str) -> list[Evaluation]:
        """The best mappings for another objective than the one that was searched for.

        Raises:
            InputError: the search did not look for it.
        """
        return self._evaluate(self._points(objective))

    def _points(self, name: str) -> Points:
        if name not in self.points:
            exponent_of(name)
            if self.strategy == "exhaustive" and name == "pareto":
                raise InputError("the search kept no Pareto front; keep pareto as well")
            raise InputError(
                f"the search was for the objective {self.objective} only; search for {name}, or for the objective "
                "pareto, which holds the optimum for energy, latency and EDP"
            )
        return self.points[name]

    @property
    def optimal(self) -> bool:
        """Whether ``best`` is proven to be the best of the space that the constraints describe."""
        return self.complete

    @property
    def gap(self) -> float | None:
        """How much worse than the optimum the best mapping is at most, relative; None where nothing is proven. Of a
        front: how much worse, in energy and in latency, than any mapping some point of it is at most.
        """
        if self.complete:
            return 0.0
        if self.objective == "pareto":
            return self.front_gap
        if self.lower_bound is None or not self.lower_bound > 0 or not len(self.points[self.objective]):
            return None
        return max(0.0, self.value(0) / self.lower_bound - 1.0)

    @property
    def certificate(self) -> dict[str, Any]:
        """How the result is proven: the method, the value and its lower bound, what was covered and how."""
        if self.strategy == "exhaustive":
            method = "every mapping of the space was costed"
        elif self.objective == "pareto":
            method = "every mapping of the space was costed, or a point of the front is at least as good as its bounds"
        else:
            method = "every mapping of the space was costed, or its lower bound is no better than the value"
        if not self.complete:
            method = "the search was stopped early"
            if self.statistics.get("mappings_covered") == self.statistics["mappings_total"]:
                method = "every mapping of the space was costed, or its lower bound is within the gap of " + (
                    "some point of the front, in energy and in latency" if self.objective == "pareto" else "the value"
                )
        certificate: dict[str, Any] = {
            "method": method,
            **{name: value for name, value in self.statistics.items() if not name.startswith(("seconds", "threads"))},
            "constraints": self.constraints.to_dict(),
        }
        if not self.complete and self.gap is not None:
            certificate["gap"] = self.gap
        if self.objective != "pareto" and len(self.points[self.objective]):
            certificate["value"] = self.value(0)
            bound = self.value(0) if self.complete else self.lower_bound
            if bound is not None:
                certificate["lower_bound"] = bound
        return certificate

    def value(self, place: int) -> float:
        """Objective of the mapping at a place of ``best``: pJ, cycles, pJ ns, pJ ns2 ..."""
        points = self.points[self.objective]
        energy, cycles = float(points.energy_pj[place]), float(points.latency_cycles[place])
        if self.objective == "latency":
            return cycles
        latency_ns = cycles * array_clock_ns(self.architecture)
        return float(energy * latency_ns ** exponent_of(self.objective))

    @property
    def gap_to_second(self) -> float | None:
        """How much worse the second-best point is, relative to the best; None when there is only one, or the best
        costs nothing.
        """
        if self.objective == "pareto" or len(self.points[self.objective]) < 2 or not self.value(0):
            return None
        return self.value(1) / self.value(0) - 1.0

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the result to an HDF5 file."""
        from fastmap.store import ResultFile

        with ResultFile.create(path, overwrite=overwrite) as file:
            file.write(self)

    @classmethod
    def load(cls, path: str | Path, architecture: str | None = None, layer: str | None = None) -> SearchResult:
        """Read one result of an HDF5 file. The names may be left out where the file holds only one.

        Raises:
            StoreError: the file cannot be read, or it holds several results and the names do not say which.
        """
        from fastmap.store import load_result

        return load_result(path, architecture, layer)

    def to_pandas(self) -> pandas.DataFrame:
        """The best mappings as a table (needs the extra ``pandas``)."""
        try:
            import pandas
        except ImportError:
            raise InputError("to_pandas needs pandas: pip install 'fastmap[pandas]'") from None
        return pandas.DataFrame([summary(each) for each in self.best])

    def _evaluate(self, points: Points) -> list[Evaluation]:
        found = []
        for row in range(len(points)):
            mapping = self.space.decode(*(int(part) for part in points.mapping_id[row]))
            found.append(evaluate(self.layer, self.architecture, mapping, self.cost_model))
        return found


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """One row of a table: the main figures of an evaluation."""
    return {
        "layer": evaluation.layer,
        "architecture": evaluation.architecture,
        "energy_pj": evaluation.energy_pj.total,
        "latency_cycles": evaluation.latency_cycles.total,
        "latency_ns": evaluation.latency_ns,
        "edp_pj_ns": evaluation.edp_pj_ns,
        "array_utilization": evaluation.utilization.array,
        "spatial": {name: dict(factors) for name, factors in evaluation.mapping.spatial.unrolling.items()},
        "temporal": list(evaluation.mapping.temporal),
        "allocation": evaluation.mapping.allocation,
    }


@dataclass(frozen=True)
class NetworkResult:
    """The outcome of the search of every layer of a workload on one architecture."""

    workload: str
    architecture: Architecture
    results: dict[str, SearchResult]  #: layer name -> result, in the workload's order; identical layers share one

    def __iter__(self) -> Iterator[tuple[str, SearchResult]]:
        return iter(self.results.items())

    @property
    def complete(self) -> bool:
        """Whether every layer's space was covered."""
        return all(result.complete for result in self.results.values())

    @cached_property
    def totals(self) -> dict[str, float]:
        """Sums over the layers, one after the other: energy_pj, latency_cycles, latency_ns, and their product
        edp_pj_ns.

        Raises:
            InputError: the search was for fronts, or was stopped before every layer here had a mapping.
        """
        for name, result in self.results.items():
            if result.objective == "pareto":
                raise InputError(
                    "the Pareto fronts of the layers do not add up to one total; search for energy, latency or edp"
                )
            if not len(result.points[result.objective]):
                raise InputError(f"the search was stopped before it had a mapping of {name}, so there is no total")
        best = [result.best[0] for result in self.results.values()]
        energy = sum(each.energy_pj.total for each in best)
        cycles = sum(each.latency_cycles.total for each in best)
        latency = sum(each.latency_ns for each in best)
        return {"energy_pj": energy, "latency_cycles": cycles, "latency_ns": latency, "edp_pj_ns": energy * latency}
