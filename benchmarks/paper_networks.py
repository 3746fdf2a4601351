"""The paper's system-level figures (ICCAD 2023, Fig. 12) again, and what the present model and optimal mappings change.

    python benchmarks/paper_networks.py

Four networks on six sizes of analog and digital macros. For each: the authors' figures (those behind the paper,
submitted, and those of the code that they published later), ours by their accounting and their mapping rules, then the
mappings of the published version costed by the present model, and the optimum of the present model. Writes
`results/paper_networks.json`, `.txt` and, with the extra plot, `.png`.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from fastmap import evaluate, search
from fastmap.drawing import BLUE, VERMILION, log_ticks, picture, plain_number
from fastmap.evaluation import Evaluation
from fastmap.paper_runs import OPERATIONS, PARTS, PaperCost, paper_layers, paper_search
from fastmap.paper_system import mapping_rules, paper_system
from fastmap.peak import PAPER_SIZES
from fastmap.text import table

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "data" / "paper" / "workloads.json.gz"
VERSIONS = ("submitted", "published")


def reference() -> list[dict[str, Any]]:
    """The authors' runs."""
    runs: list[dict[str, Any]] = json.loads(gzip.decompress(REFERENCE.read_bytes()))
    return runs


def run(kind: str, size: int, network: str) -> dict[str, dict[str, float]]:
    """Energy in pJ (also by part) and latency in cycles of a network, by name of the figure."""
    system = paper_system(kind, size)
    sums: dict[str, dict[str, float]] = {name: {} for name in (*VERSIONS, "same_mapping", "optimal")}
    known: dict[tuple[object, ...], dict[str, dict[str, float]]] = {}
    for layer in paper_layers(network):
        if layer.signature not in known:
            costs = {version: paper_search(layer, system, version == "submitted") for version in VERSIONS}
            theirs = evaluate(layer, system, costs["published"].mapping.to_mapping())
            best = search(layer, system, "energy", constraints=mapping_rules()).best[0]
            known[layer.signature] = {version: of_authors(cost) for version, cost in costs.items()} | {
                "same_mapping": of_model(theirs),
                "optimal": of_model(best),
            }
        for name, costs_of in known[layer.signature].items():
            for key, value in costs_of.items():
                sums[name][key] = sums[name].get(key, 0.0) + value
    return sums


def of_authors(cost: PaperCost) -> dict[str, float]:
    """A layer's energy, by part, and cycles."""
    return {"energy_pj": cost.total_pj, "cycles": cost.latency_cycles, **cost.energy_pj}


def of_model(cost: Evaluation) -> dict[str, float]:
    """A layer's energy, by the same parts, and cycles."""
    found = {"energy_pj": cost.energy_pj.total, "cycles": cost.latency_cycles.total, "array": cost.energy_pj.mac}
    for operand, levels in cost.energy_pj.memory_breakdown.items():
        for level in levels:
            memory = level["memory"].split("_")[-1].replace("register", "registers")
            name = {"W": "", "I": "input_", "O": "output_"}[operand] + memory
            found[name] = sum(value for key, value in level.items() if key != "memory")
    return found


def figures(sums: dict[str, float], network: str, clock_ns: float, area_mm2: float) -> dict[str, float]:
    """TOPS/W and TOPS/mm2, as the authors' scripts compute them."""
    operations = OPERATIONS[network]
    return {
        "tops_per_watt": operations / sums["energy_pj"],
        "tops_per_mm2": operations / (sums["cycles"] * clock_ns) / 1000.0 / area_mm2,
    }


def collect() -> list[dict[str, Any]]:
    """All runs, by size, kind and network."""
    found = []
    for size in PAPER_SIZES:
        for entry in (each for each in reference() if each["size"] == size):
            kind, network = entry["kind"], entry["network"]
            sums = run(kind, size, network)
            ours = {name: figures(each, network, entry["clock_ns"], entry["area_mm2"]) for name, each in sums.items()}
            found.append(
                {
                    "kind": kind,
                    "size": size,
                    "network": network,
                    **{
                        version: {
                            "authors": {key: entry[version][key] for key in ("tops_per_watt", "tops_per_mm2")},
                            "ours": ours[version],
                        }
                        for version in VERSIONS
                    },
                    "same_mapping": ours["same_mapping"],
                    "optimal": ours["optimal"],
                    # of the published version's energy, for its mappings
                    "present_minus_published": {
                        part: (sums["same_mapping"][part] - sums["published"][part]) / sums["published"]["energy_pj"]
                        for part in PARTS
                    },
                }
            )
            print(f"{kind} {size} {network}", flush=True)
    return found


def report(runs: list[dict[str, Any]]) -> str:
    """Tables of both figures, and what they say."""
    parts = []
    for key, unit in (("tops_per_watt", "TOPS/W"), ("tops_per_mm2", "TOPS/mm2")):
        rows = []
        for each in runs:
            values = [
                *(each[version][who][key] for version in VERSIONS for who in ("authors", "ours")),
                each["same_mapping"][key],
                each["optimal"][key],
            ]
            rows.append((f"{each['network']}, {each['kind']} {each['size']}", *(f"{value:.5g}" for value in values)))
        header = (unit, "submitted", "ours", "published", "ours", "same mappings, present model", "optimum")
        parts.append(table(header, rows))
    worst = max(
        abs(each[version]["ours"][key] / each[version]["authors"][key] - 1)
        for each in runs
        for version in VERSIONS
        for key in ("tops_per_watt", "tops_per_mm2")
    )
    parts.append(f"ours and the authors' figures: the worst relative difference of {4 * len(runs)} is {worst:.2g}")
    for kind in ("analog", "digital"):
        for key, unit in (("tops_per_watt", "TOPS/W"), ("tops_per_mm2", "TOPS/mm2")):
            lines = []
            for name, before in (("same_mapping", None), ("optimal", "same_mapping")):
                ratios = [
                    each[name][key] / (each[before][key] if before else each["published"]["ours"][key])
                    for each in runs
                    if each["kind"] == kind
                ]
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                lines.append(f"{mean:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
            parts.append(
                f"{kind}, {unit}: the present model gives {lines[0]} times the published version's for its mappings; "
                f"optimal mappings give {lines[1]} times that"
            )
    for part in PARTS:
        shares = [each["present_minus_published"][part] for each in runs]
        parts.append(
            f"{part}: the present model differs by {100 * min(shares):+.2f} % to {100 * max(shares):+.2f} % of the "
            "published version's energy, for its mappings"
        )
    return "\n\n".join(parts[:2]) + "\n\n" + "\n".join(parts[2:])


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Figures over sizes, one column a network."""
    networks = list(dict.fromkeys(each["network"] for each in runs))

    def fill(figure: Any) -> None:
        axes = figure.subplots(2, len(networks))
        for row, (key, unit) in zip(axes, (("tops_per_watt", "TOPS/W"), ("tops_per_mm2", "TOPS/mm2")), strict=True):
            for axis, network in zip(row, networks, strict=True):
                lines(axis, [each for each in runs if each["network"] == network], key)
                scale = "linear" if key == "tops_per_watt" else "log"
                axis.set(title=network, ylabel=unit, xscale="log", yscale=scale, xlabel="cells a side")
                if scale == "log":
                    log_ticks(axis.yaxis, plain_number)
                axis.set_xticks(PAPER_SIZES, [str(size) for size in PAPER_SIZES])
                axis.xaxis.minorticks_off()
                axis.grid()

    picture(path, (13, 6.5), fill, 5)


def lines(axis: Any, runs: list[dict[str, Any]], key: str) -> None:
    """A figure of one network: the authors', ours, and that of optimal mappings under the present model."""
    for kind, colour in (("analog", VERMILION), ("digital", BLUE)):
        chosen = [each for each in runs if each["kind"] == kind]
        sizes = [each["size"] for each in chosen]
        for version, marker, line in (("submitted", "x", ":"), ("published", "o", "-")):
            theirs = [each[version]["authors"][key] for each in chosen]
            ours = [each[version]["ours"][key] for each in chosen]
            axis.plot(sizes, theirs, marker, color=colour, label=f"{kind}, authors ({version})", fillstyle="none")
            axis.plot(sizes, ours, line, color=colour, label=f"{kind}, ours ({version})", linewidth=1)
        best = [each["optimal"][key] for each in chosen]
        axis.plot(sizes, best, "--", color=colour, label=f"{kind}, optimum, present model", linewidth=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "results", help="folder")
    folder = parser.parse_args().output
    runs = collect()
    shown = report(runs)
    print(shown)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper_networks.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    (folder / "paper_networks.txt").write_text(shown + "\n", encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is not None:
        draw(runs, folder / "paper_networks.png")


if __name__ == "__main__":
    main()
