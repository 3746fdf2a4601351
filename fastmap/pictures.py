"""Pictures of what the commands about the macro model print."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmap.drawing import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    label_points,
    log_ticks,
    picture,
    plain_number,
    white_edge,
)
from fastmap.text import METRIC_NAMES

if TYPE_CHECKING:
    from fastmap.peak import PeakPoint
    from fastmap.study import Study
    from fastmap.validation import ChipValidation

__all__ = ["draw_peaks", "draw_study", "draw_validation"]

#: Component -> what pictures call it, colour and hatch.
_COMPONENTS = {
    "cells": ("cells", "0.45", ""),
    "lines": ("word and bit lines", SKY, ""),
    "analog_bl_addition": ("bit lines", SKY, ""),
    "dacs": ("DACs", YELLOW, ""),
    "adcs": ("ADCs", VERMILION, ""),
    "mults": ("multipliers", GREEN, ""),
    "adders": ("adders", BLUE, ""),
    "adders_regular": ("adder trees", BLUE, ""),
    "adders_pv": ("place-value adders", "white", "////"),
    "accumulators": ("accumulators", PURPLE, ""),
    "accumulator_registers": ("accumulator registers", PURPLE, "////"),
    "pipeline_registers": ("pipeline registers", PURPLE, "...."),
    "input_registers": ("input registers", "0.8", "////"),
    "output_registers": ("output registers", "0.8", "...."),
    "buffer": ("buffer", ORANGE, ""),
    "buffer_reads": ("buffer, reading", ORANGE, ""),
    "buffer_writes": ("buffer, writing", ORANGE, "////"),
    "array": ("array", SKY, ""),
    "input_register": ("input registers", "0.8", "////"),
    "output_register": ("output registers", "0.8", "...."),
    "dram": ("DRAM", YELLOW, ""),
}
#: Colour and marker of each kind of macro.
_KINDS = {"analog": (VERMILION, "o"), "digital": (BLUE, "s")}
#: Model -> name, marker, colour and whether it is filled.
_MODELS = {
    "model": ("own structure", "o", BLUE, True),
    "generic": ("generic macro, everything switches", "s", ORANGE, False),
    "generic_switching": ("generic macro, node and switching of the chip", "D", GREEN, False),
    "generic_options": ("generic macro, its Booth encoding and pipeline, too", "^", PURPLE, False),
}


def draw_validation(chips: Sequence[ChipValidation], path: str | Path) -> None:
    """Draw modelled over reported figures of chips, and where energy, time and area go by their own structure.

    Raises:
        InputError: as :func:`fastmap.drawing.check_picture`.
    """
    places = range(len(chips))

    def compare(axis: Any, metric: str, title: str) -> None:
        axis.axhline(1.0, color=BLACK, linewidth=0.8)
        for model, (name, marker, colour, filled) in _MODELS.items():
            known = [x for x, chip in zip(places, chips, strict=True) if metric in chip.ratio[model]]
            style = {"color": colour, "markersize": 6, "label": name, "fillstyle": "full" if filled else "none"}
            axis.plot(known, [chips[x].ratio[model][metric] for x in known], marker, **style)
        axis.set(title=title.split(",")[0], ylabel="modelled / reported", yscale="log")
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.5), max(high, 2.0))
        log_ticks(axis.yaxis, plain_number)
        axis.grid(axis="y")
        own = [f"{100 * chip.ratio['model'][metric]:.0f} %" if metric in chip.ratio["model"] else "" for chip in chips]
        unclear = ["" if chip.energy_comparable or not metric.startswith("energy") else " *" for chip in chips]
        names = [f"{chip.name}{mark}\n{ratio}" for chip, mark, ratio in zip(chips, unclear, own, strict=True)]
        axis.set_xticks(list(places), names, size=7)

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, 3)
        for axis, (metric, title) in zip(axes[0], METRIC_NAMES.items(), strict=True):
            compare(axis, metric, title)
        for axis, parts, title in (
            (axes[1][0], [chip.energy_breakdown_fj for chip in chips], "share of the modelled energy"),
            (axes[1][2], [chip.area_breakdown_mm2 for chip in chips], "share of the modelled area"),
        ):
            _stack(axis, [{name: value / each["total"] for name, value in each.items()} for each in parts])
            axis.set(title=title)
        stages = max(len(chip.stage_ns) for chip in chips)
        for stage in range(stages):
            delays = [[*chip.stage_ns.values(), *[0.0] * stages][stage] for chip in chips]
            at = [x + 0.8 / stages * (stage + 0.5) - 0.4 for x in places]
            colour, hatch = ((SKY, ""), (YELLOW, "////"))[stage % 2]
            style = {"color": colour, "hatch": hatch, "edgecolor": "0.2", "linewidth": 0.4}
            axes[1][1].bar(at, delays, 0.8 / stages, label=f"pipeline stage {stage + 1}", **style)
        axes[1][1].set(title="delay of the pipeline's stages, ns", yscale="log")
        log_ticks(axes[1][1].yaxis, plain_number)
        for axis in axes[1]:
            axis.set_xticks(list(places), [chip.name for chip in chips], size=7)

    picture(path, (10, 6), draw, 5)


def draw_peaks(points: Sequence[PeakPoint], path: str | Path) -> None:
    """Draw efficiency against density of macros and systems, and their energy, clock and area by component.

    As Fig. 7 and 8 of the paper (ICCAD 2023).

    Raises:
        InputError: as :func:`fastmap.drawing.check_picture`.
    """
    per_mac = [1000.0 / point.macro.macs_per_cycle for point in points]
    breakdowns = {
        "energy with buffers, fJ per MAC": [
            {name: value * factor for name, value in _joined(point, "energy_per_cycle_pj").items()}
            for point, factor in zip(points, per_mac, strict=True)
        ],
        "clock, ns": [_slowest_stage_ns(point) for point in points],
        "share of the macro's area": [_shares(point.macro.area_mm2) for point in points],
        "share of the area with buffers": [_shares(_joined(point, "area_mm2")) for point in points],
    }

    def draw(figure: Any) -> None:
        grid = figure.add_gridspec(2, 4)
        axes = [figure.add_subplot(each) for each in (grid[0, :2], grid[0, 2:], *(grid[1, x] for x in range(4)))]
        labels: list[list[tuple[tuple[float, float], str, str]]] = [[], []]
        for axis, title, labelled in zip(axes, ("macro alone", "with buffers"), labels, strict=False):
            drawn = dict.fromkeys(_KINDS, 0)
            for name, of_series in _series(points).items():
                found = [point.macro if title == "macro alone" else point.system for point in of_series]
                at = [(each.tops_per_mm2, each.tops_per_watt) for each in found]
                kind = of_series[0].kind
                colour, marker = _KINDS[kind]
                labelled += [(place, str(point.size), colour) for place, point in zip(at, of_series, strict=True)]
                marker = (marker + "D^vP*X<>")[drawn[kind] % 9]
                drawn[kind] += 1
                axis.plot(*zip(*at, strict=True), "-", marker=marker, markersize=4, color=colour, label=name)
            axis.set(title=f"{title}, by cells a side", xlabel="TOPS/mm2", ylabel="TOPS/W", xscale="log", yscale="log")
            axis.margins(0.1)
            for side in (axis.xaxis, axis.yaxis):
                log_ticks(side, plain_number)
            axis.grid()
        names = _told_apart([f"{point.kind} {point.size}" for point in points], points)
        for axis, (title, columns) in zip(axes[2:], breakdowns.items(), strict=True):
            _stack(axis, columns)
            axis.set(title=title)
            axis.set_xticks(range(len(points)), names, rotation=90, size=7 if len(points) <= 16 else 5)
        for axis, labelled in zip(axes, labels, strict=False):
            label_points(axis, *zip(*labelled, strict=True))

    picture(path, (11, 7), draw, 6)


def draw_study(study: Study, path: str | Path) -> None:
    """Draw efficiency by layer type, density and EDP of networks over macro sizes, and where energy goes.

    Raises:
        InputError: as :func:`fastmap.drawing.check_picture`.
    """
    energy, latency, edp = (study.objective(name) for name in ("energy", "latency", "edp"))
    single = [design for design in study.designs if design.macros == 1]
    barred = single or study.designs
    most = max(design.macros for design in study.designs)

    def lines(axis: Any, value: Callable[[Any, str], float | None], scale: str) -> None:
        for kind, (colour, marker) in _KINDS.items():
            for mapper in ("optimal", "zigzag"):
                of_kind = [(each.size, value(each, mapper)) for each in single if each.kind == kind]
                if of_kind:
                    label = f"{kind}, {'optimal mapping' if mapper == 'optimal' else 'ZigZag mapper'}"
                    line = "-" if mapper == "optimal" else ":"
                    axis.plot(*zip(*of_kind, strict=True), line, marker=marker, color=colour, label=label, markersize=4)
            for size in {each.size for each in study.designs if each.macros > 1 and each.kind == kind}:
                branch = sorted(
                    (each.macros, value(each, "optimal"))
                    for each in study.designs
                    if (each.kind, each.size) == (kind, size)
                )
                at = [(size * 2 ** (0.6 * math.log(macros) / math.log(most)), figure) for macros, figure in branch]
                shown = [index for index, (macros, _) in enumerate(branch) if macros > 1]
                style = {"fillstyle": "none", "markersize": 5, "linewidth": 0.8, "markevery": shown}
                label = f"{kind}, more macros to the right"
                axis.plot(*zip(*at, strict=True), "-.", marker=marker, color=colour, label=label, **style)
                near = {"xytext": (4, -2.5), "textcoords": "offset points", "path_effects": white_edge()}
                axis.annotate(f"x{branch[-1][0]}", at[-1], size=7, color=colour, **near)
        axis.set(xscale="log", yscale=scale, xlabel="cells a side of a macro")
        low, high = axis.get_ylim()
        if scale == "log":
            log_ticks(axis.yaxis, plain_number)
        elif high < 1.1 * low:  # what is equal but for a few percent should look so
            axis.set_ylim(0.9 * low, 1.1 * high)
            for words in axis.texts:
                words.set_visible(False)
        sizes = sorted({design.size for design in study.designs})
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.xaxis.minorticks_off()
        axis.grid()

    def efficiency(layer_type: str) -> Callable[[Any, str], float | None]:
        def value(design: Any, mapper: str) -> float | None:
            total = study.total(design, energy, mapper, layer_type=layer_type)
            return None if total is None else total.tops_per_watt

        return value

    def mean(objective: str, figure: Callable[[Any, Any], float]) -> Callable[[Any, str], float]:
        def value(design: Any, mapper: str) -> float:
            totals = [study.total(design, objective, mapper, network=network) for network in study.networks]
            logs = [math.log(figure(design, total)) for total in totals]
            return math.exp(sum(logs) / len(logs))

        return value

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, 4)
        for axis, layer_type in zip(axes[0], study.layer_types, strict=False):
            lines(axis, efficiency(layer_type), "linear")
            axis.set(title=f"{layer_type} layers", ylabel=f"TOPS/W, mapped for {energy}")
        for axis in axes[0][len(study.layer_types) :]:
            axis.set_axis_off()
        lines(axes[1][0], mean(latency, lambda design, total: total.tops / design.area_mm2), "log")
        axes[1][0].set(title="networks, geometric mean", ylabel=f"TOPS/mm2, mapped for {latency}")
        lines(axes[1][1], mean(edp, lambda _, total: total.edp_pj_ns / 1e12), "log")
        axes[1][1].set(title="networks, geometric mean", ylabel=f"EDP, nJ s, mapped for {edp}")
        shown = [name for name in ("conv", "depthwise") if name in study.layer_types]
        for axis, layer_type in zip(axes[1][2:], shown, strict=False):
            columns = []
            for design in barred:
                total = study.total(design, energy, layer_type=layer_type)
                assert total is not None  # of these types there are layers
                columns.append({key: value / total.macs * 1e3 for key, value in total.parts_pj.items()})
            _stack(axis, columns)
            axis.set(title=f"{layer_type} layers", ylabel=f"fJ per MAC, mapped for {energy}")
            axis.set_xticks(range(len(barred)), [design.name for design in barred], rotation=90, size=8)
        for axis in axes[1][2 + len(shown) :]:
            axis.set_axis_off()

    picture(path, (13, 6.5), draw, 6)


def _joined(point: PeakPoint, quantity: str) -> dict[str, float]:
    """Components of a macro and of what is around it, and their total."""
    inside, outside = getattr(point.macro, quantity), getattr(point.system, quantity)
    return {name: value for name, value in (inside | outside).items() if name != "macro"}


def _slowest_stage_ns(point: PeakPoint) -> dict[str, float]:
    """Delays of the components that make the clock."""
    slowest = max(point.macro.stages_ns, key=lambda stage: sum(stage.values()))
    return {name: delay_ns for name, delay_ns in point.macro.clock_ns.items() if name in slowest}


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    return {name: value / parts["total"] for name, value in parts.items()}


def _series(points: Sequence[PeakPoint]) -> dict[str, list[PeakPoint]]:
    """Return the macros that differ in size alone (and, by the paper's rule, in converters), by name."""
    shapes = [(each.kind, each.size, each.activation_bits, each.bits_per_cycle) for each in points]
    by_rule = len(set(shapes)) == len(shapes)
    groups: dict[tuple[object, ...], list[PeakPoint]] = {}
    for each in points:
        key = each.kind, each.activation_bits, each.bits_per_cycle, None if by_rule else each.adc_bits
        groups.setdefault(key, []).append(each)
    first = [group[0] for group in groups.values()]
    names = _told_apart([point.kind for point in first], first)
    return dict(zip(names, groups.values(), strict=True))


def _told_apart(names: Sequence[str], points: Sequence[PeakPoint]) -> list[str]:
    """Append to the names of macros as much as tells them apart."""
    more = (
        [f"{each.activation_bits} bits" for each in points],
        [f"{each.bits_per_cycle} a cycle" for each in points],
        ["" if each.adc_bits is None else f"ADC {each.adc_bits:g}" for each in points],
    )
    found = list(names)
    for parts in more:
        longer = [f"{name}, {part}" if part else name for name, part in zip(found, parts, strict=True)]
        if len(set(longer)) > len(set(found)):
            found = longer
    return found


def _stack(axis: Any, columns: Sequence[Mapping[str, float]]) -> None:
    """Draw one bar a column, its parts (but for the total) on top of each other."""
    below = [0.0] * len(columns)
    for name in dict.fromkeys(name for column in columns for name, value in column.items() if value):
        if name == "total":
            continue
        values = [column.get(name, 0.0) for column in columns]
        label, colour, hatch = _COMPONENTS[name]
        style = {"color": colour, "hatch": hatch, "edgecolor": "0.2", "linewidth": 0.4}
        axis.bar(range(len(columns)), values, 0.8, bottom=below, label=label, **style)
        below = [low + value for low, value in zip(below, values, strict=True)]
    axis.set_ylim(0.0, max(below, default=1.0) * 1.02)
