"""How long the proven optimum takes: every distinct layer of six networks on three architectures, four objectives.

Each search covers the complete mapping space of a layer with the cost model ``corrected``, on all processors, with the
kernels loaded (the time that this takes is given apart). Medians of the repetitions; a layer that is not proven within
the time limit counts as such, never as proven.

Run: python benchmarks/optimal_time.py [--arch NAME ...] [--objective NAME ...]
Table: python benchmarks/optimal_time.py --render
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fastmap as fm  # noqa: E402
from benchmarks.optimal_search import distinct_layers, machine  # noqa: E402

ARCHITECTURES = ("aimc", "dimc", "aimc_4level")
NETWORKS = ("resnet8", "mobilenet_v1_025", "ds_cnn", "autoencoder", "resnet18", "mobilenet_v2")
OBJECTIVES = ("energy", "latency", "edp", "pareto")

Row = dict[str, Any]


def measure(layer: fm.Layer, architecture: fm.Architecture, objective: str, repeat: int, seconds: float) -> Row:
    """Search a layer ``repeat`` times, or once if that takes long."""
    times: list[float] = []
    while True:
        start = time.perf_counter()
        found = fm.search(layer, architecture, objective, time_limit=seconds)
        times.append(time.perf_counter() - start)
        if len(times) == repeat or times[0] > 2.0:
            break
    return {
        "seconds": statistics.median(times),
        "optimal": bool(found.optimal),
        "mappings": found.statistics["mappings_total"],
        "evaluated": found.statistics["mappings_evaluated"],
        "points": len(found.points[objective]),
    }


def render(data: Row) -> str:
    """The Markdown table."""
    lines = ["| architecture | objective | " + " | ".join(data["networks"]) + " | slowest layer |"]
    lines.append("| --- | --- | " + " | ".join("---:" for _ in data["networks"]) + " | --- |")
    for architecture, objectives in data["rows"].items():
        for objective, networks in objectives.items():
            cells = []
            slowest = ("", 0.0)
            for network in data["networks"]:
                layers = networks.get(network, {})
                open_layers = sum(not row["optimal"] for row in layers.values())
                text = f"{math.fsum(row['seconds'] for row in layers.values()):.2f}"
                cells.append(text + (f" ({open_layers} not proven)" if open_layers else ""))
                for name, row in layers.items():
                    slowest = max(slowest, (f"{network} {name}", row["seconds"]), key=lambda each: each[1])
            lines.append(f"| {architecture} | {objective} | {' | '.join(cells)} | {slowest[1]:.2f} s: {slowest[0]} |")
    return "\n".join([*lines, "", footnote(data)])


def footnote(data: Row) -> str:
    """What the figures of a table are, and where they were measured."""
    return (
        f"Seconds for all distinct layers of a network, medians of {data['repeat']} runs on {data['processors']} "
        f"processors; loading or compiling the kernels took {data['seconds_kernels']:.1f} s. {data['cpu']}, "
        f"{data['date'][:10]}."
    )


def head(script: str, seconds_kernels: float, repeat: int, networks: list[str]) -> Row:
    """What is said of a measurement, before its rows."""
    return {
        "command": machine()["command"].replace("optimal_search.py", script),
        "cpu": machine()["cpu"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "seconds_kernels": seconds_kernels,
        "repeat": repeat,
        "networks": networks,
        "rows": {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--objective", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of a search")
    parser.add_argument("--render", action="store_true", help="only print the table")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "optimal_time.json")
    options = parser.parse_args()
    if options.render:
        print(render(json.loads(options.output.read_text())))
        return
    start = time.perf_counter()
    fm.search(fm.Layer(K=2, C=2), fm.load_architecture(options.arch[0]))
    data = head("optimal_time.py", time.perf_counter() - start, options.repeat, options.networks)
    for name in options.arch:
        architecture = fm.load_architecture(name)
        for objective in options.objective:
            for network in options.networks:
                rows = data["rows"].setdefault(name, {}).setdefault(objective, {}).setdefault(network, {})
                for layer, _ in distinct_layers(network).values():
                    rows[layer.name] = measure(layer, architecture, objective, options.repeat, options.seconds)
                slow = max(rows, key=lambda each: rows[each]["seconds"])
                total = math.fsum(row["seconds"] for row in rows.values())
                print(
                    f"{name} {objective} {network}: {total:.2f} s, {slow} {rows[slow]['seconds']:.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
            scratch = options.output.with_suffix(".tmp")
            scratch.write_text(json.dumps(data, indent=1) + "\n")
            scratch.replace(options.output)
    print(render(data))


if __name__ == "__main__":
    main()
