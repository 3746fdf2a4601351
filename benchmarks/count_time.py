"""How long the exact count of valid mappings takes: every distinct layer of seven networks, and a layer larger than any
of theirs, on three architectures.

A mapping is valid that fits every memory; all orders, allocations and spatial mappings are counted. On all processors,
with the kernels loaded (the time that this takes is given apart); medians of the repetitions.

Run: python benchmarks/count_time.py [--arch NAME ...] [--repeat N]
Table: python benchmarks/count_time.py --render
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fastmap as fm  # noqa: E402
from benchmarks.optimal_search import distinct_layers  # noqa: E402
from benchmarks.optimal_time import ARCHITECTURES, NETWORKS, footnote, head  # noqa: E402
from fastmap.counting import count_valid  # noqa: E402
from fastmap.mapspace import Mapspace  # noqa: E402

Row = dict[str, Any]

LARGE = fm.Layer(name="3x3 K512 C256 56x56", K=512, C=256, OX=56, OY=56, FX=3, FY=3)


def measure(layer: fm.Layer, architecture: fm.Architecture, repeat: int) -> Row:
    """Count the valid mappings of a layer ``repeat`` times."""
    space = Mapspace.build(layer, architecture)
    times: list[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        valid = count_valid(space)
        times.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(times),
        "spatial_mappings": len(space.orders),
        "mappings": space.size,
        "valid": valid,
    }


def render(data: Row) -> str:
    """The Markdown table."""
    lines = [
        "| architecture | " + " | ".join(data["networks"]) + " | slowest of these networks | its mappings | valid |"
    ]
    lines.append("| --- | " + " | ".join("---:" for _ in data["networks"]) + " | --- | ---: | ---: |")
    for architecture, networks in data["rows"].items():
        sums = [math.fsum(row["seconds"] for row in layers.values()) for layers in networks.values()]
        rows = {
            f"{net} {name}": row for net, layers in networks.items() if net != "large" for name, row in layers.items()
        }
        slowest = max(rows, key=lambda each: rows[each]["seconds"])
        row = rows[slowest]
        lines.append(
            f"| {architecture} | {' | '.join(f'{each:.2f}' for each in sums)} | {row['seconds']:.2f} s: {slowest} | "
            f"{row['mappings']:.2e} | {row['valid']:.2e} |"
        )
    return "\n".join([*lines, "", footnote(data)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument(
        "--networks", nargs="+", default=[*NETWORKS, "alexnet", "large"], help="zoo names; large: one layer"
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--render", action="store_true", help="only print the table")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "count_time.json")
    options = parser.parse_args()
    if options.render:
        print(render(json.loads(options.output.read_text())))
        return
    start = time.perf_counter()
    count_valid(Mapspace.build(fm.Layer(K=2, C=2), fm.load_architecture(options.arch[0])))
    data = head("count_time.py", time.perf_counter() - start, options.repeat, options.networks)
    for name in options.arch:
        architecture = fm.load_architecture(name)
        for network in options.networks:
            layers = [LARGE] if network == "large" else [layer for layer, _ in distinct_layers(network).values()]
            data["rows"].setdefault(name, {})[network] = {
                layer.name: measure(layer, architecture, options.repeat) for layer in layers
            }
            print(f"{name} {network}", file=sys.stderr, flush=True)
    options.output.write_text(json.dumps(data, indent=1) + "\n")
    print(render(data))


if __name__ == "__main__":
    main()
