"""What a search returns: the best mappings, the Pareto front, the distributions and how they were found."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Points:
    """Mappings by identity, one a row: what ``best`` and ``pareto`` of a result file hold."""

    mapping_id: npt.NDArray[np.uint64]  #: [n, 3]: spatial index, order rank, allocation code
    energy_pj: npt.NDArray[np.float64]
    latency_cycles: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.energy_pj)


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
    joint_histogram: Histogram2D = field(repr=False)
    #: mappings_total, mappings_evaluated, mappings_fitting, spatial_mappings, seconds_compile, seconds_search, threads
    statistics: dict[str, float]
    complete: bool  #: the whole space was covered

    @cached_property
    def best(self) -> list[Evaluation]:
        """The best mappings for the objective, best first. Mappings of equal energy and latency count once."""
        return self.top(self.objective)

    @cached_property
    def pareto(self) -> list[Evaluation]:
        """The Pareto front of energy and latency, by rising energy."""
        return self._evaluate(self.points["pareto"])

    def top(self, objective: str) -> list[Evaluation]:
        """The best mappings for any of the objectives."""
        if objective not in OBJECTIVES:
            raise InputError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
        return self._evaluate(self.points[objective])

    @property
    def optimal(self) -> bool:
        """Whether ``best`` is proven to be the best of the space that the constraints describe."""
        return self.complete

    @property
    def certificate(self) -> dict[str, Any]:
        """How the result is proven: the method, the space covered, and the bounds that follow from it."""
        certificate: dict[str, Any] = {
            "method": "every mapping of the space was costed" if self.complete else "search was stopped early",
            "mappings_total": int(self.statistics["mappings_total"]),
            "mappings_evaluated": int(self.statistics["mappings_evaluated"]),
            "constraints": self.constraints.to_dict(),
        }
        if self.complete:
            certificate["lower_bound"] = self.value(0)
        return certificate

    def value(self, place: int) -> float:
        """Objective of the mapping at a place of ``best``: pJ, cycles or pJ ns."""
        points = self.points[self.objective]
        if self.objective == "energy":
            return float(points.energy_pj[place])
        if self.objective == "latency":
            return float(points.latency_cycles[place])
        return float(points.energy_pj[place] * points.latency_cycles[place] * array_clock_ns(self.architecture))

    @property
    def gap_to_second(self) -> float | None:
        """How much worse the second-best point is, relative to the best; None when there is only one."""
        if len(self.points[self.objective]) < 2:
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
        """
        best = [result.best[0] for result in self.results.values()]
        energy = sum(each.energy_pj.total for each in best)
        cycles = sum(each.latency_cycles.total for each in best)
        latency = sum(each.latency_ns for each in best)
        return {"energy_pj": energy, "latency_cycles": cycles, "latency_ns": latency, "edp_pj_ns": energy * latency}
