"""Fully costed mappings per second of the exhaustive strategy on one thread, over complete spaces of some layers.

Each space is all orders of the prime factors and all allocations of one spatial mapping: fastmap's first (busiest), or
a smaller one where that leaves too few loops for a measurement. Three rates, in CPU seconds of one thread, medians of
repeated runs through the space (or a part, where it is large):

- mappings that fit: each with its energy and its latency, stalls included, in the histograms and in the running for the
  best. Mappings of equal cost by construction are costed once and counted as often as they occur;
- distinct costs: what was left to compute;
- nanoseconds per distinct cost.

Run: python benchmarks/exhaustive_rate.py [--repeat N] [--seconds S]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fastmap import Constraints, Layer, load_architecture, load_workload  # noqa: E402
from fastmap.exhaustive import compile_kernels, measure_rate  # noqa: E402
from fastmap.mapspace import Mapspace  # noqa: E402

ARCHITECTURES = ("aimc", "dimc", "aimc_4level")
#: Network, layer, and what is unrolled on the array.
CASES = (
    ("conv", "resnet18", "layer1_0_conv1", None),
    ("strided conv", "resnet8", "conv3", None),
    ("pointwise", "mobilenet_v1_025", "pw3", {"D1": {"K": 16}, "D2": {"C": 16}}),
    ("depthwise", "ds_cnn", "dw1", None),
    ("dense", "autoencoder", "fc1", {"D1": {"K": 4}, "D2": {"C": 4}}),
)


def find_layer(network: str, name: str) -> Layer:
    return next(layer for layer in load_workload(network) if layer.name == name)


def measure(space: Mapspace, repeat: int, seconds: float) -> dict[str, Any]:
    runs = [measure_rate(space, seconds) for _ in range(repeat)]
    costs = statistics.median(costed for _, costed in runs)
    return {
        "spatial": space.spatial(0).unrolling,
        "orders": sum(space.orders),
        "mappings": space.size,
        "fitting_per_s": statistics.median(fitting for fitting, _ in runs),
        "fitting_per_s_best": max(fitting for fitting, _ in runs),
        "costs_per_s": costs,
        "ns_per_cost": 1e9 / costs,
    }


def main() -> None:
    """Measure, print a table, write results/exhaustive_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds of each run, at least")
    parser.add_argument("-o", "--output", default=str(ROOT / "results" / "exhaustive_rate.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    compile_seconds = 0.0
    print("| layer | architecture | orders | mappings | fitting mappings/s | distinct costs/s | ns per distinct cost |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for kind, network, name, unrolling in CASES:
        layer = find_layer(network, name)
        for architecture in ARCHITECTURES:
            constraints = Constraints(max_spatial_mappings=1, **({"spatial": unrolling} if unrolling else {}))
            space = Mapspace.build(layer, load_architecture(architecture), constraints)
            compile_seconds = max(compile_seconds, compile_kernels(space))
            row = {
                "kind": kind, "network": network, "layer": name, "architecture": architecture,
                **measure(space, options.repeat, options.seconds),
            }  # fmt: skip
            rows.append(row)
            print(
                f"| {kind} ({network} {name}) | {architecture} | {row['orders']:,} | {row['mappings']:.1e} "
                f"| {row['fitting_per_s'] / 1e6:,.1f} M | {row['costs_per_s'] / 1e6:,.1f} M "
                f"| {row['ns_per_cost']:.0f} |",
                flush=True,
            )
    summary = {
        "machine": platform.machine(),
        "repeat": options.repeat,
        "seconds_of_a_run": options.seconds,
        "compile_or_load_seconds": compile_seconds,
        "fitting_per_s": [min(row["fitting_per_s"] for row in rows), max(row["fitting_per_s"] for row in rows)],
        "ns_per_cost": [min(row["ns_per_cost"] for row in rows), max(row["ns_per_cost"] for row in rows)],
    }
    print(json.dumps(summary, indent=1))
    Path(options.output).write_text(json.dumps({"summary": summary, "spaces": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
