"""The HDF5 file of a run: self-describing, readable with plain h5py, readable after a crash.

Layout (schema version 1)::

    /                       attributes: format, schema_version, fastmap_version, command, created, machine
    /{architecture}/{layer} attributes: inputs as JSON text (layer, architecture, constraints), objective, strategy,
                            cost_model, complete, certificate, clock_ns and every figure of ``statistics``
        best/{objective}/   the best distinct points: mapping_id, energy_pj, latency_cycles, edp_pj_ns
        pareto/             the front of energy and latency, same columns
        histogram/          energy_pj, latency_cycles, edp_pj_ns: mappings in each bin, with the bins' edges beside;
                            energy_latency: the joint distribution
        space/              what turns a mapping_id into a mapping: the factors of every spatial mapping

``mapping_id`` is (spatial index, order rank, allocation code). Layers that are identical share one group through a
hard link. A group gets its name only when it is whole, and the file is flushed then; a group named ``_unfinished`` is
what a kill left.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

import fastmap
from fastmap.architecture import Architecture
from fastmap.errors import FastmapError, StoreError
from fastmap.evaluation import array_clock_ns
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.result import OBJECTIVES, Histogram, Histogram2D, Points, SearchResult

FORMAT = "fastmap"
SCHEMA_VERSION = 1
UNFINISHED = "_unfinished"
HISTOGRAMS = ("energy_pj", "latency_cycles", "edp_pj_ns")


class ResultFile:
    """A file of results, open for writing. One process at a time: HDF5 locks it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self._written: dict[int, str] = {}
        self._alive: list[SearchResult] = []

    @classmethod
    def create(cls, path: str | Path, overwrite: bool = False, command: str | None = None) -> ResultFile:
        """Make a new file.

        Raises:
            StoreError: the path exists (and ``overwrite`` is not set), is not writable, or is in use.
        """
        path = Path(path)
        if path.is_dir():
            raise StoreError(f"{path}: is a folder; give the name of a file to write")
        if path.exists() and not overwrite:
            raise StoreError(f"{path}: exists already; choose another name or allow overwriting")
        if not path.parent.is_dir():
            raise StoreError(f"{path}: the folder {path.parent} does not exist")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise StoreError(f"{path}: not writable")
        with _explained(path, "cannot be written"):
            file = h5py.File(path, "w", track_order=True)
            file.attrs["format"] = FORMAT
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["fastmap_version"] = fastmap.__version__
            file.attrs["command"] = command if command is not None else shlex.join(sys.argv)
            file.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            file.attrs["machine"] = f"{platform.machine()} {platform.system()} Python {platform.python_version()}"
            file.flush()
        return cls(path, file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def write(self, result: SearchResult, name: str | None = None) -> None:
        """Add one result, under the architecture's and the layer's (or another) name. It is safe on return."""
        name = name or result.layer.name
        with _explained(self.path, "cannot be written"):
            group_name = _escaped(result.architecture.name)
            if group_name not in self._file:
                self._file.create_group(group_name, track_order=True)
            parent = self._file[group_name]
            if _escaped(name) in parent:
                raise StoreError(f"{self.path}: already holds {result.architecture.name}/{name}")
            if id(result) in self._written:
                parent[_escaped(name)] = self._file[self._written[id(result)]]
            else:
                if UNFINISHED in parent:
                    del parent[UNFINISHED]
                _write_result(parent.create_group(UNFINISHED), result)
                parent.move(UNFINISHED, _escaped(name))
                self._written[id(result)] = f"{group_name}/{_escaped(name)}"
                self._alive.append(result)  # so that its id is not given to another
            self._file.flush()


def contents(path: str | Path) -> list[tuple[str, str]]:
    """Return (architecture, layer) of every result in a file, in the order in which they were written."""
    with _open(path) as file:
        return [(_unescaped(a), _unescaped(name)) for a in file for name in file[a] if name != UNFINISHED]


def load_result(path: str | Path, architecture: str | None = None, layer: str | None = None) -> SearchResult:
    """Read one result; see ``SearchResult.load``."""
    found = [
        pair
        for pair in contents(path)
        if (architecture is None or pair[0] == architecture) and (layer is None or pair[1] == layer)
    ]
    if len(found) != 1:
        held = ", ".join("/".join(pair) for pair in contents(path)) or "nothing"
        problem = "holds no such result" if not found else "holds several results; say which architecture and layer"
        raise StoreError(f"{path}: {problem} (it holds {held})")
    with _open(path) as file, _explained(path, "cannot be read"):
        return _read_result(file[_escaped(found[0][0])][_escaped(found[0][1])])


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    with _explained(path, "is not a readable HDF5 file (foreign, truncated or damaged)"):
        file = h5py.File(path, "r")
    with file:
        if file.attrs.get("format") != FORMAT:
            raise StoreError(f"{path}: is an HDF5 file, but not a result of fastmap")
        version = file.attrs.get("schema_version")
        if version != SCHEMA_VERSION:
            raise StoreError(f"{path}: has schema version {version}; this fastmap reads version {SCHEMA_VERSION}")
        yield file


@contextlib.contextmanager
def _explained(path: Path | str, what: str) -> Iterator[None]:
    """Turn the errors of HDF5 and of the file system into one sentence."""
    try:
        yield
    except FastmapError:
        raise
    except BlockingIOError:
        raise StoreError(f"{path}: is being written by another process") from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{path}: {what}: {reason}") from None


def _escaped(name: str) -> str:
    """A name as an HDF5 link: a slash would open a group."""
    return name.replace("%", "%25").replace("/", "%2F") if name != "." else "%2E"


def _unescaped(name: str) -> str:
    return name.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")


def _write_result(group: Any, result: SearchResult) -> None:
    attributes = {
        "layer": result.layer.model_dump_json(),
        "architecture": result.architecture.model_dump_json(),
        "constraints": json.dumps(result.constraints.to_dict()),
        "objective": result.objective,
        "strategy": result.strategy,
        "cost_model": result.cost_model,
        "complete": result.complete,
        "certificate": json.dumps(result.certificate),
        "clock_ns": array_clock_ns(result.architecture),
        **result.statistics,
    }
    for name, value in attributes.items():
        # Counts beyond 64 bits are kept exactly, as text.
        group.attrs[name] = str(value) if isinstance(value, int) and value >= 2**63 else value
    clock = attributes["clock_ns"]
    for objective in OBJECTIVES:
        _write_points(group.create_group(f"best/{objective}"), result.points[objective], clock)
    _write_points(group.create_group("pareto"), result.points["pareto"], clock)

    histograms = group.create_group("histogram")
    for name in HISTOGRAMS:
        histogram = result.histograms[name]
        counts = histograms.create_dataset(name, data=histogram.counts)
        _scale(histograms, counts, 0, f"{name}_low", histogram.edges[:-1])
        histograms.create_dataset(f"{name}_edges", data=histogram.edges)
    joint = result.joint_histogram
    counts = histograms.create_dataset("energy_latency", data=joint.counts, compression="gzip", shuffle=True)
    for axis, (name, edges) in enumerate((("energy_pj", joint.energy_edges), ("latency_cycles", joint.latency_edges))):
        _scale(histograms, counts, axis, f"energy_latency_{name}_low", edges[:-1])
        histograms.create_dataset(f"energy_latency_{name}_edges", data=edges)

    space = group.create_group("space")
    space.create_dataset("array_dimension", data=result.space.array_dim)
    space.create_dataset("loop_dimension", data=result.space.loop_dim)
    space.create_dataset("factors", data=result.space.candidates, **_packed(result.space.candidates))
    space.create_dataset("remaining", data=result.space.remaining, **_packed(result.space.remaining))
    space.create_dataset("orders", data=[str(orders) for orders in result.space.orders])


def _packed(data: Any) -> dict[str, Any]:
    """Compression that every build of h5py reads; not for empty datasets, which cannot be chunked."""
    return {"compression": "gzip", "shuffle": True} if data.size else {}


def _scale(group: Any, dataset: Any, axis: int, name: str, values: Any) -> None:
    scale = group.create_dataset(name, data=values)
    scale.make_scale(name)
    dataset.dims[axis].attach_scale(scale)


def _write_points(group: Any, points: Points, clock_ns: float) -> None:
    rank = group.create_dataset("rank", data=np.arange(len(points)))
    rank.make_scale("rank")
    part = group.create_dataset("part", data=np.arange(3))
    part.make_scale("part")
    columns = {
        "mapping_id": points.mapping_id,
        "energy_pj": points.energy_pj,
        "latency_cycles": points.latency_cycles,
        "edp_pj_ns": points.energy_pj * points.latency_cycles * clock_ns,
    }
    for name, column in columns.items():
        group.create_dataset(name, data=column).dims[0].attach_scale(rank)
    group["mapping_id"].dims[1].attach_scale(part)
    group["mapping_id"].attrs["parts"] = "spatial index, order rank, allocation code"


def _read_points(group: Any) -> Points:
    return Points(group["mapping_id"][...], group["energy_pj"][...], group["latency_cycles"][...])


def _read_result(group: Any) -> SearchResult:
    layer = Layer.model_validate_json(group.attrs["layer"])
    architecture = Architecture.model_validate_json(group.attrs["architecture"])
    constraints = Constraints.from_dict(json.loads(group.attrs["constraints"]))
    space = group["space"]
    histograms = group["histogram"]
    fixed = {
        "layer", "architecture", "constraints", "objective", "strategy", "cost_model", "complete", "certificate", "clock_ns",
    }  # fmt: skip
    return SearchResult(
        layer=layer,
        architecture=architecture,
        constraints=constraints,
        objective=str(group.attrs["objective"]),
        strategy=str(group.attrs["strategy"]),
        cost_model=str(group.attrs["cost_model"]),
        space=Mapspace.restore(
            layer,
            architecture,
            constraints,
            array_dim=space["array_dimension"][...],
            loop_dim=space["loop_dimension"][...],
            candidates=space["factors"][...],
            remaining=space["remaining"][...],
            orders=tuple(int(orders) for orders in space["orders"].asstr()[...]),
        ),
        points={
            **{objective: _read_points(group["best"][objective]) for objective in OBJECTIVES},
            "pareto": _read_points(group["pareto"]),
        },
        histograms={name: Histogram(histograms[f"{name}_edges"][...], histograms[name][...]) for name in HISTOGRAMS},
        joint_histogram=Histogram2D(
            histograms["energy_latency_energy_pj_edges"][...],
            histograms["energy_latency_latency_cycles_edges"][...],
            histograms["energy_latency"][...],
        ),
        statistics={name: _number(value) for name, value in group.attrs.items() if name not in fixed},
        complete=bool(group.attrs["complete"]),
    )


def _number(value: Any) -> float:
    if isinstance(value, str):
        return int(value)
    return float(value) if isinstance(value, np.floating) else int(value)
