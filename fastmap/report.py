"""One self-contained HTML page of result files: clouds to look around in, mappings to compare, tables.

The page carries everything: the data as JSON, its own style and script (folder ``page``), and plotly.js (MIT licence)
from the package plotly (extra ``report``). A content security policy keeps it from fetching anything. Text of users
reaches the page as JSON only, and the document as text nodes.
"""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import fastmap
from fastmap import text, views
from fastmap._spec import shown
from fastmap.columns import COSTS, IDENTITY
from fastmap.dimensions import OPERANDS
from fastmap.errors import InputError, StoreError
from fastmap.mine import Source
from fastmap.result import OBJECTIVES, exponent_of
from fastmap.store import provenance

#: Rows of one result in a page, and of all of them together.
MAPPINGS, MAPPINGS_OF_PAGE = 1_500, 30_000
#: What a page may do: run what it carries, and nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)


def check_page(path: str | Path, overwrite: bool = False) -> Path:
    """Refuse a page that cannot be made, before anything is read.

    Raises:
        InputError: it is no .html, or plotly is missing.
        StoreError: the path exists.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{shown(str(path), 300)}: a report is a file of type .html")
    if target.exists() and not overwrite:
        raise StoreError(f"{path}: exists already; choose another name or allow overwriting")
    _plotly()
    return target


def collect(sources: Sequence[Source], mappings: int = MAPPINGS) -> dict[str, Any]:
    """What a page shows of results, as JSON.

    Args:
        mappings: rows of each result, at most; chosen at random, always the same, where there are more. The best
            mappings and the front are there in any case.
    """
    files = list(dict.fromkeys(source.file for source in sources))
    mappings = min(mappings, MAPPINGS_OF_PAGE // len(sources))
    objectives = dict.fromkeys([*OBJECTIVES[::-1], *(source.result.objective for source in sources)])
    objectives.pop("pareto", None)
    return {
        "version": fastmap.__version__,
        "objectives": {name: exponent_of(name) for name in objectives},
        "files": [_file(file) for file in files],
        "results": [_result(source, files.index(source.file), list(objectives), mappings) for source in sources],
    }


def _file(path: Path) -> dict[str, Any]:
    known = provenance(path)
    return {
        "name": str(path),
        "command": _plain_command(str(known.get("command", ""))),
        "created": str(known.get("created", "")),
        "version": str(known.get("fastmap_version", "")),
    }


def _plain_command(command: str) -> str:
    """A command as one would type it, wherever fastmap was installed."""
    try:
        program, *rest = shlex.split(command)
    except ValueError:
        return command
    return shlex.join(["fastmap", *rest]) if Path(program).name in ("fastmap", "__main__.py") else command


def _result(source: Source, file: int, objectives: list[str], mappings: int) -> dict[str, Any]:
    result = source.result
    space, architecture = result.space, result.architecture
    known = _points(source)
    best: dict[str, int | None] = {}
    for objective in objectives:
        try:
            best[objective] = known[views.best_identity(source, objective)][0]
        except InputError:  # not searched for
            best[objective] = None
    front = (
        [known[_identity(row)][0] for row in result.points["pareto"].mapping_id] if "pareto" in result.points else []
    )
    rows = views.sample_rows(source, mappings)
    for identity, *costs in zip(_identities(rows), *(rows[name].tolist() for name in COSTS), strict=True):
        known.setdefault(identity, (len(known), *costs))
    columns = {name: np.array([identity[i] for identity in known], np.int64) for i, name in enumerate(IDENTITY)}
    columns |= {name: np.array([point[i] for point in known.values()]) for i, name in enumerate(COSTS, 1)}
    block = source.columns.block(columns)
    energy, cycles = views.cost_parts(source, columns)
    where, place = np.unique(columns["spatial_index"], return_inverse=True)
    decoded = [space.decode(*identity) for identity in known]
    cloud = views.stored_density(result)
    return {
        "file": file,
        "architecture": source.architecture,
        "layer": source.layer,
        "also": source.also,
        "sizes": dict(result.layer.sizes),
        "objective": result.objective,
        "strategy": result.strategy,
        "cost_model": result.cost_model,
        "proof": result.certificate["method"],
        "gap": result.gap,
        "mappings_total": str(result.statistics["mappings_total"]),
        "clock_ns": source.columns.clock_ns,
        "area_mm2": source.columns.area_mm2,
        "chains": {o: [architecture.memories[m].name for m in architecture.chain(o)] for o in OPERANDS},
        "energy_parts": [f"{o} in {memory}" if o else memory for memory, o in views.energy_parts(architecture)],
        "cycle_parts": list(views.LATENCY_PARTS.values()),
        "rows": {"kind": source.kind, "of": source.rows if views.has_rows(source) else 0, "shown": len(rows[COSTS[0]])},
        "reproduce": shlex.join(
            ["fastmap", "mine", str(source.file), "--arch", source.architecture, "--layer", source.layer, "--id"]
        ),
        "best": best,
        "front": front,
        "density": None if cloud is None else _density(cloud),
        # Ranks may be larger than what a script's numbers hold: identities are text.
        "id": [" ".join(map(str, identity)) for identity in known],
        "energy_pj": columns["energy_pj"].tolist(),
        "latency_cycles": columns["latency_cycles"].tolist(),
        "utilization": _rounded(block("utilization")),
        "spatial": [text.spatial(space.spatial(int(index))) for index in where],
        "spatial_of": place.tolist(),
        "loops": [" ".join(f"{dim}{size}" for dim, size in mapping.temporal) for mapping in decoded],
        "cuts": [[list((mapping.allocation or {})[o]) for o in OPERANDS] for mapping in decoded],
        "energy": [_rounded(row) for row in energy],
        "cycles": [_rounded(row) for row in cycles],
    }


def _points(source: Source) -> dict[views.Identity, tuple[int, float, float]]:
    """The best mappings and the front: identity -> (place in the page, pJ, cycles)."""
    known: dict[views.Identity, tuple[int, float, float]] = {}
    for points in source.result.points.values():
        for row, *costs in zip(
            points.mapping_id, points.energy_pj.tolist(), points.latency_cycles.tolist(), strict=True
        ):
            known.setdefault(_identity(row), (len(known), *costs))
    return known


def _identity(row: Any) -> views.Identity:
    spatial, order, code = (int(part) for part in row)
    return spatial, order, code


def _identities(rows: dict[str, Any]) -> list[views.Identity]:
    return [_identity(row) for row in zip(*(rows[name].tolist() for name in IDENTITY), strict=True)]


def _density(cloud: views.Density) -> dict[str, Any]:
    """Edges, and only the bins that hold something: (energy, latency, mappings)."""
    used = np.argwhere(cloud.mappings)
    return {
        "energy_pj": [float(edge) for edge in cloud.energy_pj],
        "latency_ns": [float(edge) for edge in cloud.latency_ns],
        "bins": [[int(i), int(j), int(cloud.mappings[i, j])] for i, j in used],
    }


def _rounded(values: Any) -> list[float]:
    """Numbers for people: six digits."""
    return [float(f"{value:.6g}") for value in values]


def write_page(data: dict[str, Any], path: str | Path, overwrite: bool = False) -> int:
    """Write a page; it appears when it is complete.

    Returns:
        Its size in bytes.

    Raises:
        InputError, StoreError: as :func:`check_page`, or the file cannot be written.
    """
    target = check_page(path, overwrite)
    page = render(data).encode()
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        temporary.write_bytes(page)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    return len(page)


def render(data: dict[str, Any]) -> str:
    """The page as text."""
    folder = resources.files(fastmap) / "page"
    names = ", ".join(dict.fromkeys(Path(each["name"]).name for each in data["files"]))
    parts = {
        "policy": html.escape(POLICY),
        "title": html.escape(f"fastmap: {names}"),
        "style": (folder / "report.css").read_text("utf-8"),
        "data": _script_safe(json.dumps(data, separators=(",", ":"))),
        "plotly": _plotly(),
        "script": (folder / "report.js").read_text("utf-8"),
    }
    frame = (folder / "report.html").read_text("utf-8")
    # In one pass, so that nothing that looks like a place in what was filled in is taken for one.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], frame)


def _script_safe(data: str) -> str:
    """JSON that cannot end the script element in which it stands."""
    return data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plotly() -> str:
    """The plotting library as text."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise InputError("reports need plotly: pip install 'fastmap[report]'") from None
    return str(get_plotlyjs())
