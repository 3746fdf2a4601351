"""How long the proven optimum takes under constraints: each kind, at every memory, on four layers and three
architectures, four objectives.

An operand kept stationary in a memory, loops forbidden there, even allocation, weights loaded once, orders: one
constraint at a time. A search that finds that a constraint leaves no mapping is answered, too. On all processors, with
the kernels loaded, cost model ``corrected``; what is not proven within the time limit counts as such.

Run: python benchmarks/constraint_time.py [--arch NAME ...] [--objective NAME ...]
Table: python benchmarks/constraint_time.py --render
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fastmap as fm  # noqa: E402
from benchmarks.optimal_time import ARCHITECTURES, OBJECTIVES, head  # noqa: E402
from fastmap.errors import EmptySpaceError  # noqa: E402

LAYERS = (
    ("resnet18", "layer1_0_conv1"),
    ("resnet18", "layer3_0_conv1"),
    ("resnet8", "conv5"),
    ("mobilenet_v2", "block2_expand"),
)

Row = dict[str, Any]


def constraints(architecture: fm.Architecture) -> Iterator[Row]:
    """One constraint after the other."""
    for memory in architecture.memories:
        for operand in memory.operands:
            yield {"stationary": {memory.name: operand}}
            for loops in (["K"], ["C"], ["OX", "OY"]):
                yield {"forbidden": {f"{memory.name}.{operand}": loops}}
    yield {"allocation": "even"}
    yield {"weights_loaded_once": True}
    yield {"inside": [["C", "K"]]}
    yield {"inside": [["K", "C"]]}
    yield {"innermost": [["K", 2]]}
    yield {"outermost": [["K", 2]]}
    yield {"min_array_utilization": 0.5}


def measure(layer: fm.Layer, architecture: fm.Architecture, rule: Row, objective: str, seconds: float) -> Row:
    """Search once."""
    start = time.perf_counter()
    try:
        found = fm.search(
            layer, architecture, objective, constraints=fm.Constraints.from_dict(rule), time_limit=seconds
        )
        outcome = "proven" if found.complete else "not proven"
    except EmptySpaceError:
        outcome = "empty"
    except fm.FastmapError as error:
        outcome = str(error)
    return {"constraint": rule, "seconds": round(time.perf_counter() - start, 3), "outcome": outcome}


def render(data: Row) -> str:
    """The Markdown table."""
    lines = ["| architecture | objective | searches | not answered | within 1 s | slowest |"]
    lines.append("| --- | --- | ---: | ---: | ---: | --- |")
    for architecture, objectives in data["rows"].items():
        for objective, layers in objectives.items():
            rows = [(name, row) for name, of_layer in layers.items() for row in of_layer]
            name, slowest = max(rows, key=lambda each: each[1]["seconds"])
            quick = sum(row["seconds"] <= 1.0 for _, row in rows)
            open_ones = sum(row["outcome"] not in ("proven", "empty") for _, row in rows)
            rule = json.dumps(slowest["constraint"]).translate(str.maketrans("", "", '{}"'))
            lines.append(
                f"| {architecture} | {objective} | {len(rows)} | {open_ones} | {100 * quick / len(rows):.0f} % | "
                f"{slowest['seconds']:.1f} s: {name}, {rule} |"
            )
    return "\n".join([*lines, "", f"One run on {data['processors']} processors. {data['cpu']}, {data['date'][:10]}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--objective", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of a search")
    parser.add_argument("--render", action="store_true", help="only print the table")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "constraint_time.json")
    options = parser.parse_args()
    if options.render:
        print(render(json.loads(options.output.read_text())))
        return
    start = time.perf_counter()
    fm.search(fm.Layer(K=2, C=2), fm.load_architecture(options.arch[0]))
    data = head("constraint_time.py", time.perf_counter() - start, 1, sorted({network for network, _ in LAYERS}))
    for name in options.arch:
        architecture = fm.load_architecture(name)
        for objective in options.objective:
            data["rows"].setdefault(name, {})[objective] = {
                layer: [
                    measure(fm.load_workload(network)[layer], architecture, rule, objective, options.seconds)
                    for rule in constraints(architecture)
                ]
                for network, layer in LAYERS
            }
            print(f"{name} {objective}", file=sys.stderr, flush=True)
    options.output.write_text(json.dumps(data, indent=1) + "\n")
    print(render(data))


if __name__ == "__main__":
    main()
