"""What ZigZag's numerical accidents cost a user who trusts them: optima by ``zigzag`` and by ``corrected``, crossed.

For every distinct layer of the networks, each architecture and each objective: the optimum under each cost model, and
each of the two mappings costed by the other model, with as many iterations as that model needs. From these:

- *moved*: how much more the mapping found with ``zigzag`` costs by ``corrected`` than by ``zigzag`` (what its user
  believes);
- *lost*: how much more it costs than the optimum by ``corrected`` (what its user could have had);
- *the other way*: how much more the optimum of ``corrected`` costs than that of ``zigzag``, by ``zigzag``.

Many mappings may share the least cost. What is costed is the one that the search returns, so that *lost* is what a user
gets who takes it; an optimum counts as changed only where it loses something. A search that ends at the time limit is
reported as not proven, and its layer takes no part in the figures of that objective.

Rows are written after each layer. What the file has is kept while the code that decides the numbers is the same; what
was not proven is tried again with a longer limit. The files hold no times, so another run writes the same.

Run: python benchmarks/cost_models.py [--arch NAME ...] [--time-limit S]
Table only: python benchmarks/cost_models.py --render
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fastmap as fm  # noqa: E402
from fastmap import text, zoo  # noqa: E402
from fastmap.comparison import value_of  # noqa: E402
from fastmap.errors import MappingError, SearchError  # noqa: E402
from fastmap.lowering import REPAIRS  # noqa: E402
from fastmap.repair_effects import needed_iterations, with_iterations  # noqa: E402

NETWORKS = ("ds_cnn", "resnet8", "mobilenet_v1_025", "autoencoder", "resnet18", "mobilenet_v2")
ARCHITECTURES = ("aimc", "dimc", "aimc_4level")
OBJECTIVES = ("energy", "latency", "edp")
#: The repairs that each cost model makes, and the other model.
MODELS: dict[str, tuple[str, ...]] = {"zigzag": (), "corrected": tuple(REPAIRS)}
OTHER = {"zigzag": "corrected", "corrected": "zigzag"}
#: Costs are the same up to here.
SAME = 1e-9
#: The code that decides the numbers.
DECIDING = ("kernels/*.py", *(f"fastmap/{name}.py" for name in ("layer", "lowering", "mapping", "mapspace", "optimal")))

Row = dict[str, Any]
Figure = Callable[[Row], float | None]


def distinct_layers(networks: Iterable[str]) -> dict[str, tuple[fm.Layer, list[str]]]:
    """The first of each set of identical layers by ``network/layer``, and the names of the set."""
    found: dict[Any, tuple[fm.Layer, list[str]]] = {}
    for network in networks:
        for layer in fm.load_workload(network):
            found.setdefault(layer.signature, (layer, []))[1].append(f"{network}/{layer.name}")
    return {names[0]: (layer, names) for layer, names in found.values()}


def cost_under(
    layer: fm.Layer, architecture: fm.Architecture, mapping: fm.Mapping, cost_model: str
) -> fm.Evaluation | None:
    """Cost a mapping with as many iterations as the model needs; None where it does not fit a memory then."""
    needed = needed_iterations(layer, architecture, mapping, MODELS[cost_model])
    try:
        return fm.evaluate(layer, architecture, with_iterations(mapping, needed), cost_model)
    except MappingError:
        return None


def measure(layer: fm.Layer, architecture: fm.Architecture, objective: str, seconds: float) -> Row:
    """One row: both optima, each by both models. Only ``unproven`` where a search was not done in time."""
    row: Row = {"unproven": []}
    optima: dict[str, fm.Evaluation] = {}
    for model in MODELS:
        try:
            found = fm.search(layer, architecture, objective, cost_model=model, time_limit=seconds)
        except SearchError:  # nothing at all within the limit
            row["unproven"].append(model)
            continue
        if not found.optimal:
            row["unproven"].append(model)
        else:
            optima[model] = found.best[0]
    if row["unproven"]:
        return row | {"time_limit_s": seconds}
    for model, best in optima.items():
        crossed = cost_under(layer, architecture, best.mapping, OTHER[model])
        row[model] = {
            "value": value_of(best, objective),
            "energy_pj": best.energy_pj.total,
            "latency_cycles": best.latency_cycles.total,
            f"by_{OTHER[model]}": None if crossed is None else value_of(crossed, objective),
            "repairs": [repair.name for repair in fm.repairs(layer, architecture, best.mapping) if repair.applies],
            "mapping": compact(best.mapping),
        }
    return row | {"mapping_changed": row["zigzag"]["mapping"] != row["corrected"]["mapping"]}


def compact(mapping: fm.Mapping) -> str:
    """A mapping in one line: spatial factors, loops innermost first, loops at or below each memory level."""
    assert mapping.allocation is not None
    loops = " ".join(f"{dim}{size}" for dim, size in mapping.temporal) or "none"
    cuts = " ".join(f"{operand}:{','.join(map(str, levels))}" for operand, levels in mapping.allocation.items())
    return f"{text.spatial(mapping.spatial)} | {loops} | {cuts}"


# ----------------------------------------------------------------------------------------------------------------------
# Figures
# ----------------------------------------------------------------------------------------------------------------------


def excess(value: float | None, least: float) -> float | None:
    """How much more a value is, relative; no difference below ``SAME``; None where there is no value."""
    if value is None:
        return None
    change = value / least - 1.0
    return 0.0 if abs(change) <= SAME else change


def moved(row: Row) -> float | None:
    """How much more the mapping found with ``zigzag`` costs than that model says."""
    return excess(row["zigzag"]["by_corrected"], row["zigzag"]["value"])


def lost(row: Row) -> float | None:
    """How much more it costs than the optimum, by ``corrected``."""
    return excess(row["zigzag"]["by_corrected"], row["corrected"]["value"])


def other_way(row: Row) -> float | None:
    """How much more the optimum of ``corrected`` costs than that of ``zigzag``, by ``zigzag``."""
    return excess(row["corrected"]["by_zigzag"], row["zigzag"]["value"])


FIGURES: dict[str, Figure] = {"moved": moved, "lost": lost, "other way": other_way}


def percent(share: float) -> str:
    """A share with its sign."""
    return f"{100 * share:+.3g} %" if share else "0"


def spread(rows: Sequence[Row], of: Figure) -> str:
    """In how many rows a figure is not zero, of these its median and its largest with the layer, and in how many there
    is none since the mapping does not fit.
    """
    known = [(value, row["layer"]) for row in rows if (value := of(row))]
    unfit = sum(of(row) is None for row in rows)
    text = str(len(known))
    if known:
        largest, layer = max(known, key=lambda each: abs(each[0]))
        text += f": {percent(statistics.median(value for value, _ in known))}, {percent(largest)} ({layer})"
    return f"{text}; {unfit} not valid" if unfit else text


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """A Markdown table; the first columns are flush left."""
    rule = ["---" if place < left else "---:" for place in range(len(heads))]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows)]


def render(data: Row) -> str:
    """The Markdown file."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in data["rows"]:
        groups.setdefault((row["architecture"], row["objective"]), []).append(row)
    names = MODELS["corrected"]
    summary, applying, details, open_rows = [], [], [], []
    for (architecture, objective), rows in groups.items():
        where = [f"`{architecture}`", objective]
        proven = [row for row in rows if not row["unproven"]]
        numbers = (len(rows), len(proven), sum(row["mapping_changed"] for row in proven))
        summary.append([*where, *map(str, numbers), *(spread(proven, figure) for figure in FIGURES.values())])
        counts = {model: Counter(name for row in proven for name in row[model]["repairs"]) for model in MODELS}
        applying.append([*where, *(f"{counts['zigzag'][name]} / {counts['corrected'][name]}" for name in names)])
        for row in sorted(proven, key=lambda each: -(lost(each) or 0.0)):
            values = [figure(row) for figure in FIGURES.values()]
            if any(values[1:]) or None in values:
                cells = ["not valid" if value is None else percent(value) for value in values]
                details.append([*where, row["layer"], ", ".join(row["zigzag"]["repairs"]), *cells])
        for row in rows:
            if row["unproven"]:
                open_rows.append([*where, row["layer"], " and ".join(row["unproven"]), f"{row['time_limit_s']:g} s"])
    lines = [
        "# Optima by the cost models `zigzag` and `corrected`",
        "",
        f"Made by `{data['command']}`; how to read it is at the top of `benchmarks/cost_models.py`. Distinct layers of "
        f"{', '.join(data['networks'])}. A layer that is not proven under both models takes no part in the figures. Of "
        "each figure: the layers where it is not zero, their median, and the largest.",
        "",
        "- *mapping*: layers where the two searches return different mappings, be they equally good or not;",
        "- *moved*: the mapping found with `zigzag`, by `corrected` against what `zigzag` says;",
        "- *lost*: the same against the optimum by `corrected`;",
        "- *other way*: the optimum by `corrected`, costed by `zigzag`, against the optimum by `zigzag`;",
        "- *not valid*: by the other model the mapping does not fit a memory.",
        "",
        *table(["architecture", "objective", "layers", "proven", "mapping", *FIGURES], summary, 2),
        "",
        "## Repairs that apply",
        "",
        "To how many optima found with `zigzag` / with `corrected` each repair applies.",
        "",
        *table(["architecture", "objective", *names], applying, 2),
    ]
    if details:
        heads = ["architecture", "objective", "layer", "repairs to the optimum of `zigzag`", *FIGURES]
        lines += ["", "## Layers whose optimum changes", "", *table(heads, details, 4)]
    if open_rows:
        heads = ["architecture", "objective", "layer", "not proven under", "time limit"]
        lines += ["", "## Not proven", "", "These take no part above, so that the numbers there may be too low.", ""]
        lines += table(heads, open_rows, 4)
    return "\n".join(lines) + "\n"


# ----------------------------------------------------------------------------------------------------------------------
# The file
# ----------------------------------------------------------------------------------------------------------------------


def code_key() -> str:
    """Hash of the code and the zoo files that decide the numbers."""
    digest = hashlib.sha256()
    for pattern in DECIDING:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    for kind, names in (("architecture", ARCHITECTURES), ("workload", NETWORKS)):
        for name in names:
            digest.update(zoo.text(kind, name).encode())
    return digest.hexdigest()[:16]


def load(path: Path, key: str) -> list[Row]:
    """The rows of a file, unless other code made them."""
    if not path.exists():
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["code"] != key:
        print(f"{path.name} was made by other code: everything is measured again", file=sys.stderr)
        return []
    return list(data["rows"])


def save(path: Path, data: Row) -> None:
    """Write the file whole, a row a line."""
    head = json.dumps({name: value for name, value in data.items() if name != "rows"}, indent=1)
    rows = ",\n".join("  " + json.dumps(row) for row in data["rows"])
    scratch = path.with_suffix(".tmp")
    scratch.write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")
    scratch.replace(path)


def wanted(row: Row | None, seconds: float) -> bool:
    """Whether a row has to be measured: there is none, or it may be proven with more time."""
    return row is None or (bool(row["unproven"]) and row["time_limit_s"] < seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [options]"
    )
    parser.add_argument("--arch", nargs="+", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds of each search of a layer")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    parser.add_argument("--render", action="store_true", help="only write the table again")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "cost_models.json")
    options = parser.parse_args()
    if not (math.isfinite(options.time_limit) and options.time_limit > 0):
        parser.error("--time-limit must be a positive number of seconds")
    path: Path = options.output
    if options.render:
        path.with_suffix(".md").write_text(render(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    key = code_key()
    old = {(row["architecture"], row["layer"], row["objective"]): row for row in load(path, key)}
    known = {} if options.fresh else old
    data: Row = {
        "command": " ".join(["python benchmarks/cost_models.py", *command_of(options)]),
        "code": key,
        "networks": options.networks,
        "rows": [],
    }
    for name in options.arch:
        architecture = fm.load_architecture(name)
        for first, (layer, names) in distinct_layers(options.networks).items():
            start = time.perf_counter()
            for objective in OBJECTIVES:
                row = known.get((name, first, objective))
                if wanted(row, options.time_limit):
                    head = {"architecture": name, "layer": first, "layers": names, "objective": objective}
                    row = head | measure(layer, architecture, objective, options.time_limit)
                    known[name, first, objective] = row
                assert row is not None
                data["rows"].append(row)
            seconds = time.perf_counter() - start
            if seconds > 0.01:
                print(f"{name} {first}: {seconds:.1f} s", file=sys.stderr, flush=True)
                measured = {(row["architecture"], row["layer"], row["objective"]) for row in data["rows"]}
                later = [row for place, row in known.items() if place not in measured]
                save(path, data | {"rows": data["rows"] + later})
    save(path, data)
    path.with_suffix(".md").write_text(render(data), encoding="utf-8")


def command_of(options: argparse.Namespace) -> list[str]:
    """The options that decide what is in the file, where they are not the default."""
    words = []
    for option, value, default in (("arch", options.arch, ARCHITECTURES), ("networks", options.networks, NETWORKS)):
        if tuple(value) != default:
            words += [f"--{option}", *value]
    return [*words, "--time-limit", f"{options.time_limit:g}"]


if __name__ == "__main__":
    main()
