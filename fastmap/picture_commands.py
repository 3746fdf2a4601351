"""``fastmap plot`` and ``fastmap report``: result files as pictures and as a page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastmap.errors import InputError

if TYPE_CHECKING:
    from fastmap.mine import Source

#: Panels of a picture of clouds.
MOST_CLOUDS = 9


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `command(name, run, help)` makes the parser of one."""
    plot = command("plot", _plot, "draw pictures of result files")
    plot.add_argument("kind", metavar="WHAT", help=", ".join(KINDS))
    plot.add_argument("files", nargs="+", metavar="FILE", help="result files")
    plot.add_argument("-o", "--output", required=True, metavar="FILE", help=".png, .svg or .pdf; replaced if it exists")
    plot.add_argument("--arch", metavar="NAME", help="only of this architecture")
    plot.add_argument("--layer", metavar="NAME", help="only of this layer")
    plot.add_argument("--objective", metavar="WHAT", help="of the best mappings: energy, latency, edp, ed2p ...")
    plot.add_argument("--mapping", nargs="+", default=[], metavar="FILE", help="mappings to mark (cloud, distribution)")
    plot.add_argument("--zigzag", action="store_true", help="mark what ZigZag would choose (cloud, distribution)")
    plot.add_argument("--memory", metavar="NAME", help="of the roofline (default: the outermost)")

    report = command("report", _report, "make one page of result files, to look around in with a browser")
    report.add_argument("files", nargs="+", metavar="FILE", help="result files")
    report.add_argument("-o", "--output", required=True, metavar="FILE", help="the page (.html); it works offline")
    report.add_argument("--arch", metavar="NAME", help="only of this architecture")
    report.add_argument("--layer", metavar="NAME", help="only of this layer")
    report.add_argument("--mappings", type=int, metavar="N", help="rows of each result in the page, at most")
    report.add_argument("--force", action="store_true", help="overwrite the page")


def _plot(options: argparse.Namespace) -> int:
    from fastmap import mine, views
    from fastmap._spec import listed, shown
    from fastmap.drawing import check_picture

    if options.kind not in KINDS:
        raise InputError(f"there is no picture {shown(options.kind)} (there are {listed(KINDS)})")
    for name in ("mapping", "zigzag"):
        if getattr(options, name) and options.kind not in ("cloud", "distribution"):
            raise InputError(f"--{name} goes with cloud and distribution, not with {options.kind}")
    if options.memory is not None and options.kind != "roofline":
        raise InputError(f"--memory goes with roofline, not with {options.kind}")
    check_picture(options.output)
    sources = views.open_results(options.files, options.arch, options.layer)
    for warning in mine.warnings(sources):
        print(f"fastmap: warning: {warning}", file=sys.stderr)
    words, data = KINDS[options.kind](options, sources, views.default_objective(sources, options.objective))
    if options.json:
        print(json.dumps({"picture": options.output, **data}, indent=1))
    else:
        print(f"{words}\n\ndrawn in {options.output}" if words else f"drawn in {options.output}")
    return 0


def _cloud(options: argparse.Namespace, sources: list[Source], objective: str) -> tuple[str, dict[str, Any]]:
    from fastmap import plots, text, views
    from fastmap._spec import listed

    if len(sources) > MOST_CLOUDS:
        raise InputError(
            f"a picture has room for {MOST_CLOUDS} clouds, not {len(sources)}; choose with --layer "
            f"({listed(dict.fromkeys(source.layer for source in sources))}) or --arch"
        )
    for source in sources:
        views.require_cloud(source)
    marked = [_marks(options, source, objective) for source in sources]
    plots.draw_cloud(sources, marked, options.output)
    rows = [
        (
            f"{source.architecture}/{source.layer}",
            mark.label,
            text.energy(mark.cost.energy_pj.total),
            text.duration(mark.cost.latency_ns),
            text.delay_product(mark.cost.edp_pj_ns),
        )
        for source, marks in zip(sources, marked, strict=True)
        for mark in marks
    ]
    data = [
        {"architecture": source.architecture, "layer": source.layer, "mapping": mark.label, **mark.values()}
        for source, marks in zip(sources, marked, strict=True)
        for mark in marks
    ]
    return text.table(("result", "<mapping", "energy", "latency", "EDP"), rows), {"marks": data}


def _distribution(options: argparse.Namespace, sources: list[Source], objective: str) -> tuple[str, dict[str, Any]]:
    from fastmap import plots, views

    source = _single(sources)
    views.require_histograms(source)
    marked = _marks(options, source, objective)
    words, data = plots.distribution_table(source, marked)
    plots.draw_distribution(source, marked, options.output)
    return words, {"marks": data}


def _breakdown(options: argparse.Namespace, sources: list[Source], objective: str) -> tuple[str, dict[str, Any]]:
    from fastmap import plots, text, views
    from fastmap.evaluation import array_clock_ns

    on = _architecture(sources)
    layers = views.breakdowns(sources, objective)
    clock = array_clock_ns(sources[0].result.architecture)
    title = f"{on}, best {text.goal(objective)} of each layer"
    plots.draw_breakdown(title, layers, clock, options.output)
    data = [
        {
            "layer": each.layer,
            "count": each.count,
            "energy_pj": {f"{memory}.{o}" if o else memory: pj for (memory, o), pj in each.energy_pj.items()},
            "latency_cycles": each.latency_cycles,
        }
        for each in layers
    ]
    return "", {"architecture": on, "clock_ns": clock, "layers": data}


def _roofline(options: argparse.Namespace, sources: list[Source], objective: str) -> tuple[str, dict[str, Any]]:
    from fastmap import plots, text, views

    on = _architecture(sources)
    roof = views.roofline(sources, objective, options.memory)
    if not roof.layers:
        raise InputError(f"no layer here moves anything through {roof.memory}, so that there is no roofline of it")
    plots.draw_roofline(f"{on}, best {text.goal(objective)}", roof, options.output)
    above = [each.layer for each in roof.layers if each.of_roof(roof) > 1.005]
    words = [
        text.table(
            ("layer", "MACs a bit", "speed", "of the roof"),
            [
                (
                    each.layer,
                    f"{each.macs_per_bit:.4g}",
                    text.quantity(each.macs_per_ns * 1e9, "MAC/s"),
                    text.percent(each.of_roof(roof)),
                )
                for each in roof.layers
            ],
        )
    ]
    if above:
        words.append(
            f"above the roof: {', '.join(above)}; the cost model lets operands that are first loaded through the same "
            f"port of {roof.memory} pass at the same time, as ZigZag does"
        )
    return "\n\n".join(words), {"architecture": on, **roof.to_dict()}


def _sensitivity(options: argparse.Namespace, sources: list[Source], objective: str) -> tuple[str, dict[str, Any]]:
    from tqdm import tqdm

    from fastmap import plots, text
    from fastmap.explanation import FACTORS, resources, sensitivity

    source = _single(sources)
    result = source.result
    steps = len(resources(result.architecture)) * len(FACTORS)
    print(f"up to {steps} searches of {source.layer} on {source.architecture}", file=sys.stderr)
    with tqdm(total=steps, unit=" searches", disable=None, leave=False) as bar:
        curves = sensitivity(
            result.layer, result.architecture, objective, result.cost_model, result.constraints, bar.update
        )
    plots.draw_sensitivity(f"{source.layer} on {source.architecture}", objective, curves, options.output)
    rows = [
        (
            curve.name,
            *("-" if value is None else text.objective_value(value, objective) for value in curve.values),
        )
        for curve in curves
    ]
    words = text.table((f"best {text.goal(objective)}", *(f"{factor:g}x" for factor in FACTORS)), rows)
    data = [{"resource": curve.name, "values": list(curve.values)} for curve in curves]
    return words, {"objective": objective, "factors": list(FACTORS), "curves": data}


#: What can be drawn.
KINDS = {
    "cloud": _cloud,
    "distribution": _distribution,
    "breakdown": _breakdown,
    "roofline": _roofline,
    "sensitivity": _sensitivity,
}


def _marks(options: argparse.Namespace, source: Source, objective: str) -> list[Any]:
    from fastmap import plots, views

    plots.check_marks(1 + options.zigzag + len(options.mapping))
    return views.marks(source, objective, options.mapping, options.zigzag)


def _single(sources: Sequence[Source]) -> Source:
    if len(sources) > 1:
        from fastmap._spec import listed

        names = listed(f"{source.architecture}/{source.layer}" for source in sources)
        raise InputError(f"this picture is of one result; say which with --arch and --layer ({names})")
    return sources[0]


def _architecture(sources: Sequence[Source]) -> str:
    """The architecture of results that a picture shows together."""
    held = dict.fromkeys((str(source.file), source.architecture) for source in sources)
    if len(held) > 1:
        from fastmap._spec import listed

        names = listed(f"{file}: {on}" for file, on in held)
        raise InputError(f"this picture is of one file and architecture; say which with --arch ({names})")
    return sources[0].architecture


def _report(options: argparse.Namespace) -> int:
    from fastmap import mine, views
    from fastmap.report import MAPPINGS, check_page, collect, write_page

    check_page(options.output, options.force)
    if options.mappings is not None and options.mappings < 0:
        raise InputError(f"--mappings must be an integer of at least 0, not {options.mappings}")
    sources = views.open_results(options.files, options.arch, options.layer)
    for warning in mine.warnings(sources):
        print(f"fastmap: warning: {warning}", file=sys.stderr)
    data = collect(sources, MAPPINGS if options.mappings is None else options.mappings)
    size = write_page(data, options.output, options.force)
    counts = {"results": len(data["results"]), "mappings": sum(len(each["id"]) for each in data["results"])}
    if options.json:
        print(json.dumps({"page": options.output, "bytes": size, **counts}))
    else:
        several = "" if counts["results"] == 1 else "s"
        held = f"{counts['results']} result{several} with {counts['mappings']:,} mappings"
        print(f"{held} in {options.output} ({size / 1e6:.1f} MB)")
    return 0
