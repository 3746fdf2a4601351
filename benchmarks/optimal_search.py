"""The best mapping of each layer of ResNet18 and MobileNetV2: ZigZag, fastmap and AccelForge side by side.

For every distinct layer, in turns in one run:

- ZigZag as it comes: the spatial mappings that it generates (at most three), ``lpf_limit`` 6, least EDP;
- ZigZag at the largest ``lpf_limit`` that it is expected to finish within a time budget, from the orders that it would
  cost and its rate at the default limit;
- fastmap's optimal strategy on the complete space, with the cost model ``zigzag`` and with ``corrected``;
- the time of AccelForge on the closest problem that it can express (see ``accelforge_peer.py``), if its interpreter is
  given. Its costs come from another model and are not compared.

EDPs of ZigZag's and fastmap's mappings are those of ``fastmap.evaluate`` with the cost model ``zigzag``; for ZigZag's
mapping they must equal its own to 1e-9. fastmap's seconds are medians on all processors, with the kernels loaded; the
others run once. Results are written after each layer, and what a file has already is kept unless ``--fresh`` says so.

Needs the extra ``parity``. Run: python benchmarks/optimal_search.py [--arch NAME] [--accelforge-python PATH]
Table: python benchmarks/optimal_search.py [--arch NAME] --render
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fastmap as fm  # noqa: E402
from benchmarks import zigzag_search  # noqa: E402
from fastmap.dimensions import LOOP_DIMENSIONS  # noqa: E402

NETWORKS = ("resnet18", "mobilenet_v2")
COLUMNS = ("fastmap", "fastmap_corrected", "zigzag", "zigzag_largest", "accelforge")
#: Repeating a search that takes longer than this tells nothing new.
LONG_SECONDS = 5.0

Row = dict[str, Any]


def distinct_layers(network: str) -> dict[str, tuple[fm.Layer, list[str]]]:
    """The first of each set of identical layers by name, and the names of the set."""
    found: dict[Any, tuple[fm.Layer, list[str]]] = {}
    for layer in fm.load_workload(network):
        found.setdefault(layer.signature, (layer, []))[1].append(layer.name)
    return {layer.name: (layer, names) for layer, names in found.values()}


def costs(layer: fm.Layer, architecture: fm.Architecture, mapping: fm.Mapping) -> Row:
    """A mapping and its costs, by ZigZag's cost model."""
    cost = fm.evaluate(layer, architecture, mapping, "zigzag")
    return {
        "edp_pj_ns": cost.edp_pj_ns,
        "energy_pj": cost.energy_pj.total,
        "latency_cycles": cost.latency_cycles.total,
        "mac_energy_pj": cost.energy_pj.mac,
        "mapping": mapping.to_dict(),
    }


def run_zigzag(layer: fm.Layer, architecture: fm.Architecture, limit: int, counts: dict[int, int]) -> Row:
    """ZigZag's search at a limit; its own costs are checked against fastmap's."""
    found = zigzag_search.search(layer, architecture, limit)
    row = costs(layer, architecture, found.mapping)
    deviation = max(
        abs(row["energy_pj"] / found.energy_pj - 1.0), abs(row["latency_cycles"] / found.latency_cycles - 1.0)
    )
    assert deviation <= 1e-9, f"{layer.name}: ZigZag's own costs differ by {deviation}"
    return {
        "lpf_limit": limit,
        "all_orders": limit >= max(counts),
        "orders": counts[limit],
        "cpu_s": found.cpu_seconds,
        "wall_s": found.wall_seconds,
        "deviation": deviation,
        **row,
    }


def largest_limit(counts: dict[int, int], default: Row, seconds: float) -> int:
    """The largest limit that ZigZag is expected to finish in time, at its rate at the default limit."""
    allowed = seconds * default["orders"] / default["cpu_s"]
    return max(limit for limit, orders in counts.items() if orders <= allowed or limit == default["lpf_limit"])


def run_fastmap(layer: fm.Layer, architecture: fm.Architecture, cost_model: str, seconds: float) -> Row:
    """The optimal strategy, once."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = fm.search(
        layer, architecture, objective="edp", strategy="optimal", cost_model=cost_model, time_limit=seconds
    )
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    best = found.best[0]
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "optimal": bool(found.optimal),
        "certificate": found.certificate,
        "statistics": found.statistics,
        "own_edp_pj_ns": best.edp_pj_ns,  # by the cost model of the search
        **costs(layer, architecture, best.mapping),
    }


def run_accelforge(layer: fm.Layer, architecture: fm.Architecture, mac_energy_pj: float, options: Any) -> Row:
    """AccelForge's mapper in its own environment, or why it gave no result."""
    numbers = ("stride_x", "stride_y", "dilation_x", "dilation_y", "input_bits", "weight_bits", "output_bits")
    problem = {
        "layer": {
            "sizes": {dim: layer.size(dim) for dim in LOOP_DIMENSIONS},
            **{name: getattr(layer, name) for name in numbers},
        },
        "array": dict(architecture.array.dimensions),
        "mac_energy_pj": mac_energy_pj,
        "mac_cycles": architecture.array.cycles_per_operation,
        "memories": [
            memory.model_dump(mode="json", include={"name", "size_bits", "operands", "serves"})
            | {"read_energy_pj": memory.read_energy_pj, "write_energy_pj": memory.write_energy_pj}
            | {"bandwidth_bits": max(port.bandwidth_max_bits for port in memory.ports), "ports": len(memory.ports)}
            for memory in architecture.memories
        ],
    }
    command = [options.accelforge_python, str(Path(__file__).with_name("accelforge_peer.py"))]
    try:
        done = subprocess.run(
            command, input=json.dumps(problem), text=True, capture_output=True, timeout=options.accelforge_seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not finished in {options.accelforge_seconds:g} s"}
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "Error" in line]
        return {"error": errors[-1].strip() if errors else f"exit status {done.returncode}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(layer: fm.Layer, architecture: fm.Architecture, row: Row, options: argparse.Namespace) -> None:
    """Fill the columns that the row lacks; repetitions of fastmap's searches stand between the peers' runs."""
    models = {"fastmap": "zigzag", "fastmap_corrected": "corrected"}
    runs: dict[str, list[Row]] = {column: [] for column in models if column not in row}

    def ours() -> None:
        for column, done in list(runs.items()):
            if len(done) == options.repeat or any(run["wall_s"] > LONG_SECONDS for run in done):
                continue
            try:
                done.append(run_fastmap(layer, architecture, models[column], options.fastmap_seconds))
            except fm.FastmapError as error:
                print(error, file=sys.stderr)
                del runs[column]
                continue
            middle = {key: statistics.median(run[key] for run in done) for key in ("cpu_s", "wall_s")}
            row[column] = {**done[-1], **middle, "repetitions": len(done)}

    ours()
    counts = zigzag_search.orders(layer, architecture) if {"zigzag", "zigzag_largest"} - set(row) else {}
    if "zigzag" not in row:
        row["zigzag"] = run_zigzag(layer, architecture, zigzag_search.DEFAULT_LIMIT, counts)
        ours()
    if "zigzag_largest" not in row:
        limit = largest_limit(counts, row["zigzag"], options.zigzag_seconds)
        same = limit == row["zigzag"]["lpf_limit"]
        row["zigzag_largest"] = row["zigzag"] if same else run_zigzag(layer, architecture, limit, counts)
        ours()
    if options.accelforge_python and "accelforge" not in row:
        row["accelforge"] = run_accelforge(layer, architecture, row["zigzag"]["mac_energy_pj"] / layer.macs, options)
    for _ in range(options.repeat):
        ours()


def machine() -> Row:
    """What the figures were measured with."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    versions = {name: metadata.version(name) for name in ("numba", "numpy", "zigzag-dse")}
    return {
        "command": shlex.join(["python", "benchmarks/optimal_search.py", *_without_paths(sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": {"python": platform.python_version(), "fastmap": fm.__version__, **versions},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _without_paths(words: Iterable[str]) -> list[str]:
    return [Path(word).name if word.startswith("/") else word for word in words]


def number(value: float) -> str:
    """Three digits, without an exponent up to a million."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}" if value < 1e6 else f"{value:.1e}"


def edp(pj_ns: float) -> str:
    """An EDP in µJ·ms."""
    return number(pj_ns * 1e-12)


def render(data: Row) -> str:
    """The Markdown tables of the measured networks."""
    lines = []
    for network in NETWORKS:
        rows = [row for row in data["layers"] if row["network"] == network and "fastmap" in row and "zigzag" in row]
        if rows:
            lines += [f"**{network}** on `{data['architecture']}`", "", *_table(rows), ""]
    return "\n".join([*lines, *_note(data)])


def _table(rows: list[Row]) -> list[str]:
    accelforge = any("accelforge" in row for row in rows)
    heads = ["layer", "ZigZag, s", "EDP", "ZigZag largest, s", "limit", "EDP", "fastmap, s", "EDP", "mappings covered"]
    heads += ["AccelForge, s (repeated)"] if accelforge else []
    table = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in rows:
        ours = row["fastmap"]
        cells = [row["layer"] + (f" (x{len(row['layers'])})" if len(row["layers"]) > 1 else "")]
        for name in ("zigzag", "zigzag_largest"):
            peer = row.get(name)
            if peer is None:
                cells += ["", "", ""][: 2 + (name != "zigzag")]
                continue
            cells.append(number(peer["cpu_s"]))
            if name == "zigzag_largest":
                cells.append("all orders" if peer["all_orders"] else str(peer["lpf_limit"]))
            cells.append(f"{edp(peer['edp_pj_ns'])} ({peer['edp_pj_ns'] / ours['edp_pj_ns'] - 1:+.1%})")
        cells += [f"{number(ours['wall_s'])} ({number(ours['cpu_s'])})", edp(ours["edp_pj_ns"])]
        if not ours["optimal"]:
            cells[-1] += f" (not proven, at least {edp(ours['certificate']['lower_bound'])})"
        cells.append(f"{ours['statistics']['mappings_covered']:.1e}")
        if accelforge:
            cells.append(_accelforge(row.get("accelforge")))
        table.append(cells)
    table.append(_summary(rows, accelforge))
    return ["| " + " | ".join(cells) + " |" for cells in table]


def _accelforge(peer: Row | None) -> str:
    if peer is None or "error" in peer:
        return "" if peer is None else peer["error"]
    return f"{number(peer['cpu_s'])} ({number(statistics.median(peer['cpu_s_repeated']))})"


def _summary(rows: list[Row], accelforge: bool) -> list[str]:
    """Sums of the seconds, and the geometric mean of ZigZag's EDPs over ours."""
    full = [row for row in rows if "zigzag_largest" in row]

    def ratio(name: str) -> str:
        logs = [math.log(row[name]["edp_pj_ns"] / row["fastmap"]["edp_pj_ns"]) for row in full]
        return f"{math.expm1(statistics.fmean(logs)):+.1%}" if logs else ""

    def seconds(name: str, key: str = "cpu_s") -> str:
        return number(math.fsum(row[name][key] for row in rows if key in row.get(name, {})))

    cells = ["all", seconds("zigzag"), ratio("zigzag"), seconds("zigzag_largest"), "", ratio("zigzag_largest")]
    cells += [f"{seconds('fastmap', 'wall_s')} ({seconds('fastmap')})", "", ""]
    return [*cells, *([seconds("accelforge")] if accelforge else [])]


def _note(data: Row) -> list[str]:
    run = data["runs"][-1]
    proven = [row["fastmap"] for row in data["layers"] if row.get("fastmap", {}).get("optimal")]
    wall = max((row["wall_s"] for row in proven), default=0.0)
    peers = {row["accelforge"]["version"] for row in data["layers"] if "version" in row.get("accelforge", {})}
    versions = ", ".join(
        [f"{name} {version}" for name, version in run["versions"].items()] + [f"accelforge {each}" for each in peers]
    )
    return [
        "EDP in µJ·ms, by ZigZag's cost model for both, in brackets how far ZigZag's is above fastmap's (last line: "
        "geometric mean). CPU seconds; for fastmap the wall seconds, and CPU seconds in brackets, of "
        f"{run['processors']} processors. Proven optima: {len(proven)} of {len(data['layers'])} layers, the longest in "
        f"{number(wall)} s. {run['cpu']}, {run['date'][:10]}, {versions}."
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [options]"
    )
    parser.add_argument("--arch", default="aimc", help="aimc, dimc, aimc_4level or another of the zoo")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--layers", nargs="+", help="only these")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of fastmap's searches")
    parser.add_argument(
        "--zigzag-seconds", type=float, default=60.0, help="budget of a layer for ZigZag's largest limit"
    )
    parser.add_argument("--fastmap-seconds", type=float, default=60.0, help="time limit of fastmap's searches")
    parser.add_argument("--accelforge-python", help="interpreter that can import accelforge; without it no such column")
    parser.add_argument("--accelforge-seconds", type=float, default=600.0, help="time limit of AccelForge for a layer")
    parser.add_argument("--fresh", nargs="*", choices=COLUMNS, help="measure these columns again, or everything")
    parser.add_argument("--render", action="store_true", help="only print the table")
    parser.add_argument("-o", "--output", type=Path, help="default: results/optimal_search_ARCH.json")
    options = parser.parse_args()
    path = options.output or ROOT / "results" / f"optimal_search_{options.arch}.json"
    data: Row = {"architecture": options.arch, "runs": [], "layers": []}
    if path.exists() and options.fresh != []:
        data = json.loads(path.read_text())
    if options.render:
        print(render(data) if data["runs"] else f"Nothing is measured yet: there is no {path.name}.")
        return
    if not options.accelforge_python:
        print("AccelForge is left out: give its interpreter with --accelforge-python.", file=sys.stderr)
    architecture = fm.load_architecture(options.arch)
    rows = {(row["network"], row["layer"]): row for row in data["layers"]}
    run = machine() | {"seconds_first_search": 0.0}
    data["runs"].append(run)
    for network in options.networks:
        for name, (layer, names) in distinct_layers(network).items():
            if options.layers and name not in options.layers:
                continue
            row = rows.setdefault((network, name), {"network": network, "layer": name, "layers": names})
            for column in options.fresh or ():
                row.pop(column, None)
            if not run["seconds_first_search"]:  # compile or load
                run["seconds_first_search"] = run_fastmap(layer, architecture, "zigzag", 1.0)["wall_s"]
            measure(layer, architecture, row, options)
            data["layers"] = list(rows.values())
            scratch = path.with_suffix(".tmp")
            scratch.write_text(json.dumps(data, indent=1) + "\n")
            scratch.replace(path)
            print(f"{network} {name}: {', '.join(_seconds(row))}", file=sys.stderr, flush=True)
    print(render(data))


def _seconds(row: Row) -> list[str]:
    return [f"{name} {number(row[name]['cpu_s'])} s" for name in COLUMNS if "cpu_s" in row.get(name, {})]


if __name__ == "__main__":
    main()
