"""The validator of result files: is everything there that ``store.py`` promises, and does it agree with itself?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastmap.columns import COSTS, IDENTITY, WEIGHT, Block
from fastmap.errors import FastmapError, StoreError
from fastmap.evaluation import evaluate
from fastmap.mine import Source, open_sources, scan
from fastmap.parts import holds, open_hdf5
from fastmap.store import SCHEMA_VERSION, contents, load_result, provenance

#: Rows of each result that are costed anew.
RECOSTED = 20
#: Two costs are the same if they differ by no more than this, relative.
TOLERANCE = 1e-9
ATTRIBUTES = ("format", "schema_version", "fastmap_version", "command", "created", "machine")


def check_file(path: str | Path) -> list[str]:
    """Everything that is wrong with a result file, one sentence each.

    Raises:
        StoreError: it cannot be opened as a result file at all.
    """
    found = provenance(path)
    problems = [f"the attribute {name} is missing" for name in ATTRIBUTES if name not in found]
    if found.get("schema_version") == SCHEMA_VERSION and "run" not in found:
        problems.append("the attribute run is missing")
    problems += _scales(Path(path))
    for architecture, layer in contents(path):
        where = f"{architecture}/{layer}"
        try:
            problems += [f"{where}: {problem}" for problem in _check_result(path, architecture, layer)]
        except FastmapError as error:
            problems.append(f"{where}: {error}")
    return problems


def _scales(path: Path) -> list[str]:
    """Axes without a scale, or with one of another length."""
    problems: list[str] = []

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.is_scale or item.ndim == 0:
            return
        for axis, length in enumerate(item.shape):
            scales = item.dims[axis]
            if not len(scales) or any(len(scale) != length for scale in scales.values()):
                problems.append(f"{name}: axis {axis} has no dimension scale of its length")

    with open_hdf5(path) as file:
        file.visititems(visit)
    return problems


def _check_result(path: str | Path, architecture: str, layer: str) -> Iterator[str]:
    result = load_result(path, architecture, layer)
    space = result.space
    for name, points in result.points.items():
        values = np.stack([points.energy_pj, points.latency_cycles])
        if not (np.isfinite(values).all() and (values > 0).all()):
            yield f"{name}: costs must be positive numbers"
        for row in range(min(len(points), RECOSTED)):
            identity = [int(part) for part in points.mapping_id[row]]
            costs = (float(points.energy_pj[row]), float(points.latency_cycles[row]))
            if problem := _recosted(result, identity, costs):
                yield f"{name}: row {row} {problem}"
    fitting = result.statistics.get("mappings_fitting")
    for name, histogram in result.histograms.items():
        if int(histogram.counts.sum()) != fitting:
            yield f"histogram {name}: has {histogram.counts.sum()} mappings, not {fitting}"
        if len(histogram.edges) > 1 and not (np.diff(histogram.edges) > 0).all():
            yield f"histogram {name}: its edges do not rise"
    kept = result.kept
    if kept is None:
        return
    lost = [part for part, rows in kept.parts if not holds(part, rows)]
    for part in lost:
        yield f"mappings: {part} is missing, damaged, or has another number of rows"
    if lost:
        return
    for kind in ("mappings", "sample"):
        if (kind == "mappings" and not kept.types) or (kind == "sample" and kept.sample is None):
            continue
        source = open_sources([path], architecture, layer, kind)[0]
        total = 0
        try:
            for problems, weight in scan(source, lambda block: _check_block(source, block)):  # noqa: B023
                yield from (f"{kind}: {problem}" for problem in problems)
                total += weight
        except StoreError as error:
            yield f"{kind}: {error}"
            continue
        if kind == "mappings" and "all" in kept.choice["modes"] and result.complete and total != fitting:
            yield f"mappings: its rows stand for {total} mappings, not {fitting}"
        if kind == "sample" and result.complete and total != min(kept.choice["sample_size"], int(fitting or 0)):
            yield f"sample: has {total} mappings, not {min(kept.choice['sample_size'], int(fitting or 0))}"
    if len(space.orders) != len(space.candidates):
        yield "space: the numbers of orders and of spatial mappings differ"


def _check_block(source: Source, block: Block) -> tuple[list[str], int]:
    """(what is wrong with some rows, mappings that they stand for)"""
    space = source.result.space
    spatial, order, code = (np.asarray(block(name)).astype(np.int64) for name in IDENTITY)
    if (spatial >= len(space.orders)).any() or (spatial < 0).any():
        return ["a spatial index is out of range"], 0
    problems = []
    orders = np.array([min(count, 2**63 - 1) for count in space.orders], np.int64)
    lower_levels = int(sum(int(levels) - 1 for levels in space.problem["levels"]))
    codes = (space.loops + 1) ** lower_levels
    if (order >= orders[spatial]).any() or (order < 0).any():
        problems.append("an order rank is out of range")
    if (code > codes[spatial]).any() or (code < 1).any():
        problems.append("an allocation code is out of range")
    weight = block(WEIGHT)
    if (weight < 1).any():
        problems.append("a row stands for no mapping")
    for name in COSTS:
        values = block(name)
        if not (np.isfinite(values).all() and (values > 0).all()):
            problems.append(f"{name} must be positive")
    if not problems:
        # Evenly spaced over all rows, so that few are costed in each block.
        step = max(1, source.rows // RECOSTED)
        for row in range(0, len(block), step):
            identity = [int(part[row]) for part in (spatial, order, code)]
            if problem := _recosted(
                source.result, identity, (float(block(COSTS[0])[row]), float(block(COSTS[1])[row]))
            ):
                problems.append(f"the mapping {identity} {problem}")
    return problems, int(weight.astype(np.int64).sum())


def _recosted(result: Any, identity: list[int], costs: tuple[float, float]) -> str | None:
    """Why a stored mapping is not what it says."""
    try:
        mapping = result.space.decode(*identity)
        cost = evaluate(result.layer, result.architecture, mapping, result.cost_model)
    except (FastmapError, LookupError, ValueError, OverflowError) as error:
        return f"is no mapping of the space: {error}"
    for name, stored, value in zip(COSTS, costs, (cost.energy_pj.total, cost.latency_cycles.total), strict=True):
        if abs(stored - value) > TOLERANCE * abs(value):
            return f"has {name} {stored!r}, but its mapping costs {value!r}"
    return None
