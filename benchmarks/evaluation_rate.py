"""Mappings per second on ResNet18's layers, ZigZag and fastmap side by side on the same orders.

For each distinct layer: the spatial mapping that ZigZag's generator ranks first, all orders of at most LIMIT loops (as
ZigZag by default), the greedy allocation, energy and latency of each. ZigZag costs a sample of the orders,
fastmap all of them as often as it takes to measure; both on one core, in turns, CPU seconds; every cost of the sample
must agree. A second figure for fastmap: the rate over all orders of the prime factors, without the limit.

Needs the extra ``parity``. Run: python benchmarks/evaluation_rate.py [--sample N] [--repeat N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from benchmarks.zigzag_peer import cost_orders  # noqa: E402
from fastmap import Architecture, Constraints, Layer, evaluate, load_architecture, load_workload  # noqa: E402
from fastmap.exhaustive import compile_kernels, measure_rate  # noqa: E402
from fastmap.mapspace import Mapspace  # noqa: E402
from fastmap.zigzag_spatial import zigzag_spatial_mappings  # noqa: E402

LIMIT = 6
HINT = {"D1": ("K",), "D2": ("C", "FX", "FY")}
HARDWARE = ROOT / "tests" / "data" / "zigzag" / "hardware"


def zigzag_layer(layer: Layer) -> dict[str, Any]:
    """The layer in the format of ZigZag's workload files."""
    precision = {
        "W": layer.weight_bits, "I": layer.input_bits, "O": layer.output_bits, "O_final": layer.output_final_bits,
    }  # fmt: skip
    order = ("B", "K", "G", "OX", "OY", "C", "FX", "FY")
    return {
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [
            f"ix={layer.stride_x}*ox+{layer.dilation_x}*fx",
            f"iy={layer.stride_y}*oy+{layer.dilation_y}*fy",
        ],
        "loop_dims": list(order),
        "loop_sizes": [layer.size(dim) for dim in order],
        "op": "Conv",
        "operand_precision": precision,
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [layer.clip_x, layer.clip_y],
    }


def space_of(layer: Layer, architecture: Architecture, limit: int | None) -> Mapspace:
    """All orders of ZigZag's first spatial mapping."""
    spatial = zigzag_spatial_mappings(layer, architecture, HINT)[0]
    return Mapspace.build(
        layer, architecture, Constraints(spatial=spatial, loop_factor_limit=limit, allocation="greedy"), "zigzag"
    )


def measure(name: str, layer: Layer, architecture: Architecture, sample: int, repeat: int) -> dict[str, Any]:
    """Rates of both on one layer: medians over alternating repetitions."""
    hardware = yaml.safe_load((HARDWARE / f"{architecture.name}.yaml").read_text())
    space = space_of(layer, architecture, LIMIT)
    everything = space_of(layer, architecture, None)
    numbers = np.unique(np.linspace(0, space.size - 1, sample).astype(int))
    mappings = [space.decode(0, int(number)) for number in numbers]
    spatial = [(array_dim, list(factors.items())) for array_dim, factors in mappings[0].spatial.unrolling.items()]
    orders = [list(mapping.temporal) or [(layer.dimension_order[0], 1)] for mapping in mappings]
    peer, ours, unlimited = [], [], []
    costs: list[Any] = []
    for _ in range(repeat):
        costs, seconds = cost_orders(zigzag_layer(layer), hardware, spatial, orders)
        peer.append(len(orders) / seconds)
        ours.append(measure_rate(space)[0])
        unlimited.append(measure_rate(everything)[0])
    worst = 0.0
    for mapping, (energy_pj, latency_cycles) in zip(mappings, costs, strict=True):
        found = evaluate(layer, architecture, mapping, "zigzag")
        worst = max(
            worst,
            abs(found.energy_pj.total / energy_pj - 1.0),
            abs(found.latency_cycles.total / latency_cycles - 1.0),
        )
    return {
        "layer": name,
        "spatial": space.spatial(0).unrolling,
        "orders": space.size,
        "orders_unlimited": everything.size,
        "zigzag_per_s": statistics.median(peer),
        "fastmap_per_s": statistics.median(ours),
        "fastmap_unlimited_per_s": statistics.median(unlimited),
        "worst_deviation": worst,
    }


def overall(rows: list[dict[str, Any]], orders: str, rate: str) -> float:
    """All orders of all layers over the time that they take."""
    return float(sum(row[orders] for row in rows) / sum(row[orders] / row[rate] for row in rows))


def main() -> None:
    """Measure, print a table, write results/evaluation_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=60, help="orders that ZigZag costs for each layer")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--arch", default="aimc")
    parser.add_argument("-o", "--output", default=str(ROOT / "results" / "evaluation_rate.json"))
    options = parser.parse_args()
    architecture = load_architecture(options.arch)
    distinct = {layer.signature: layer for layer in reversed(list(load_workload("resnet18")))}
    layers = list(reversed(distinct.values()))
    start = time.perf_counter()
    compile_kernels(space_of(layers[0], architecture, LIMIT))
    compile_seconds = time.perf_counter() - start
    rows = []
    print(f"{'layer':<10}{'orders':>8}{'ZigZag/s':>10}{'fastmap/s':>12}{'ratio':>9}{'all orders':>12}{'fastmap/s':>12}")
    for layer in layers:
        row = measure(layer.name, layer, architecture, options.sample, options.repeat)
        rows.append(row)
        print(
            f"{row['layer']:<10}{row['orders']:>8,}{row['zigzag_per_s']:>10,.0f}{row['fastmap_per_s']:>12,.0f}"
            f"{row['fastmap_per_s'] / row['zigzag_per_s']:>9,.0f}{row['orders_unlimited']:>12,}"
            f"{row['fastmap_unlimited_per_s']:>12,.0f}",
            flush=True,
        )
    summary = {
        "architecture": options.arch,
        "loop_factor_limit": LIMIT,
        "compile_or_load_seconds": compile_seconds,
        "zigzag_per_s": overall(rows, "orders", "zigzag_per_s"),
        "fastmap_per_s": overall(rows, "orders", "fastmap_per_s"),
        "fastmap_unlimited_per_s": overall(rows, "orders_unlimited", "fastmap_unlimited_per_s"),
        "median_ratio": statistics.median(row["fastmap_per_s"] / row["zigzag_per_s"] for row in rows),
        "worst_deviation": max(row["worst_deviation"] for row in rows),
    }
    print(json.dumps(summary, indent=1))
    Path(options.output).write_text(json.dumps({"summary": summary, "layers": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
