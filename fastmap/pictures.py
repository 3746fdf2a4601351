"""Pictures of what the commands print, drawn with matplotlib (extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmap._spec import listed, shown
from fastmap.errors import InputError
from fastmap.text import METRIC_NAMES

if TYPE_CHECKING:
    from fastmap.peak import PeakPoint
    from fastmap.study import Study
    from fastmap.validation import ChipValidation

__all__ = ["FORMATS", "check_picture", "draw_peaks", "draw_study", "draw_validation", "picture"]

#: File types; the date is kept out of them, so that the same figures give the same file.
FORMATS: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
#: Highest bar of a comparison; higher ones are cut off, and say how high they are.
HIGHEST_RATIO = 2.0
#: One colour (of matplotlib's tab20) for what is the same under several names.
_COLOURS = {
    "cells": 0, "lines": 1, "analog_bl_addition": 1, "dacs": 2, "mults": 4, "adcs": 6, "adders": 8, "adders_regular": 8,
    "adders_pv": 9, "accumulators": 10, "accumulator_registers": 11, "pipeline_registers": 12, "clock": 14,
    "input_registers": 13, "output_registers": 12, "buffer": 18, "buffer_reads": 18, "buffer_writes": 19,
    "array": 2, "input_register": 13, "output_register": 12, "dram": 15,
}  # fmt: skip


def check_picture(path: str | Path) -> Path:
    """Refuse a picture that cannot be drawn, before anything is computed.

    Raises:
        InputError: the file type is unknown, or matplotlib is missing.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise InputError(f"{shown(str(path), 300)}: pictures are files of type {listed(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'fastmap[plot]'") from None
    return target


def draw_validation(chips: Sequence[ChipValidation], path: str | Path) -> None:
    """Draw modelled over reported figures of chips: grey bars reported, coloured ones the model's components.

    Raises:
        InputError: as :func:`check_picture`.
    """

    def parts(chip: ChipValidation, metric: str) -> dict[str, float]:
        found = {
            "energy_per_mac_fj": chip.energy_breakdown_fj,
            "clock_ns": {"clock": chip.model.clock_ns or 0.0},
            "area_mm2": chip.area_breakdown_mm2,
        }[metric]
        whole = getattr(chip.reported, metric) or getattr(chip.model, metric)
        return {name: value / whole for name, value in found.items() if name != "total"}

    def draw(figure: Any) -> None:
        places = range(len(chips))
        for axis, (metric, title) in zip(figure.subplots(1, 3), METRIC_NAMES.items(), strict=True):
            axis.bar([x - 0.2 for x in places], [1.0] * len(chips), 0.36, color="0.75", label="reported")
            _stack(axis, [x + 0.2 for x in places], [parts(chip, metric) for chip in chips], 0.36)
            for x, chip in zip(places, chips, strict=True):
                ratio = chip.ratio["model"].get(metric)
                if ratio is not None:
                    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                    at = min(ratio + 0.02, HIGHEST_RATIO)
                    axis.text(x + 0.2, at, f"{100 * ratio:.0f} %", ha="center", va="bottom", size=8, bbox=paper)
            axis.set(title=title.split(",")[0], ylabel="model / reported", ylim=(0, HIGHEST_RATIO * 1.08))
            axis.set_xticks(list(places), [chip.name for chip in chips], rotation=45)

    picture(path, (13, 5), draw)


def draw_peaks(points: Sequence[PeakPoint], path: str | Path) -> None:
    """Draw efficiency against density of macros and systems, and their energy, clock and area by component.

    As Fig. 7 and 8 of the paper (ICCAD 2023).

    Raises:
        InputError: as :func:`check_picture`.
    """
    names = [f"{point.kind} {point.size}" for point in points]
    breakdowns = {
        "energy with buffers, fJ per MAC": [
            {
                name: value / point.macro.macs_per_cycle * 1000
                for name, value in _joined(point.macro.energy_per_cycle_pj, point.system.energy_per_cycle_pj).items()
            }
            for point in points
        ],
        "clock, ns": [_joined(point.macro.clock_ns, {}) for point in points],
        "share of the macro's area": [
            {name: value / point.macro.area_mm2["total"] for name, value in _joined(point.macro.area_mm2, {}).items()}
            for point in points
        ],
        "share of the area with buffers": [
            {
                name: value / point.system.area_mm2["total"]
                for name, value in _joined(point.macro.area_mm2, point.system.area_mm2).items()
            }
            for point in points
        ],
    }

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, 3).flat
        for title in ("macro alone", "with buffers"):
            axis = next(axes)
            for kind in dict.fromkeys(point.kind for point in points):
                of_kind = [point for point in points if point.kind == kind]
                found = [point.macro if title == "macro alone" else point.system for point in of_kind]
                at = [(each.tops_per_mm2, each.tops_per_watt) for each in found]
                axis.plot(*zip(*at, strict=True), "o-", label=f"{kind} macros", color={"analog": "C3"}.get(kind, "C0"))
                for point, place in zip(of_kind, at, strict=True):
                    axis.annotate(str(point.size), place, size=8, xytext=(4, 4), textcoords="offset points")
            axis.set(title=title, xlabel="TOPS/mm2", ylabel="TOPS/W", xscale="log", yscale="log")
            axis.grid(which="both", alpha=0.3)
        for title, columns in breakdowns.items():
            axis = next(axes)
            _stack(axis, range(len(points)), columns, 0.8)
            axis.set(title=title)
            axis.set_xticks(range(len(points)), names, rotation=90, size=8)

    picture(path, (15, 9), draw)


def draw_study(study: Study, path: str | Path) -> None:
    """Draw efficiency by layer type, density and EDP of networks over macro sizes, and where energy goes.

    Raises:
        InputError: as :func:`check_picture`.
    """
    styles = {"analog": ("C1", "o"), "digital": ("C0", "s")}
    energy = "energy" if "energy" in study.objectives else study.objectives[0]
    single = [design for design in study.designs if design.macros == 1]
    several = [design for design in study.designs if design.macros > 1]

    def lines(axis: Any, value: Callable[[Any, str], float | None], scale: str) -> None:
        for kind, (colour, marker) in styles.items():
            for mapper in ("optimal", "zigzag"):
                of_kind = [(each.size, value(each, mapper)) for each in single if each.kind == kind]
                if of_kind:
                    label = f"{kind}, {'optimal mapping' if mapper == 'optimal' else 'ZigZag mapper'}"
                    line = "-" if mapper == "optimal" else ":"
                    axis.plot(*zip(*of_kind, strict=True), line, marker=marker, color=colour, label=label, markersize=5)
            for each in several:
                if each.kind == kind:
                    at = (each.size, value(each, "optimal"))
                    axis.plot(
                        *at, marker, color=colour, label=f"{kind}, several macros", fillstyle="none", markersize=9
                    )
                    axis.annotate(f"x{each.macros}", at, size=7, xytext=(6, -3), textcoords="offset points")
        axis.set(xscale="log", yscale=scale, xlabel="cells a side of a macro")
        sizes = sorted({design.size for design in study.designs})
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)

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
        latency, edp = (name if name in study.objectives else study.objectives[0] for name in ("latency", "edp"))
        lines(axes[1][0], mean(latency, lambda design, total: total.tops / design.area_mm2), "log")
        axes[1][0].set(title="networks, geometric mean", ylabel=f"TOPS/mm2, mapped for {latency}")
        lines(axes[1][1], mean(edp, lambda _, total: total.edp_pj_ns / 1e6), "log")
        axes[1][1].set(title="networks, geometric mean", ylabel=f"EDP, fJ s, mapped for {edp}")
        shown = [name for name in ("conv", "depthwise") if name in study.layer_types]
        for axis, layer_type in zip(axes[1][2:], shown, strict=False):
            columns = []
            for design in single:
                total = study.total(design, energy, layer_type=layer_type)
                assert total is not None  # of these types there are layers
                columns.append({key: value / total.macs * 1e3 for key, value in total.parts_pj.items()})
            _stack(axis, range(len(single)), columns, 0.8)
            axis.set(title=f"{layer_type} layers", ylabel=f"fJ per MAC, mapped for {energy}")
            axis.set_xticks(range(len(single)), [design.name for design in single], rotation=90, size=8)
        for axis in axes[1][2 + len(shown) :]:
            axis.set_axis_off()

    picture(path, (18, 9), draw)


def _joined(inside: Mapping[str, float], outside: Mapping[str, float]) -> dict[str, float]:
    """Components of a macro and of what is around it, without totals."""
    return {name: value for name, value in (*inside.items(), *outside.items()) if name not in ("macro", "total")}


def _stack(axis: Any, places: Sequence[float], columns: Sequence[Mapping[str, float]], width: float) -> None:
    """Draw one bar a column, its parts on top of each other."""
    from matplotlib import colormaps

    below = [0.0] * len(columns)
    for name in dict.fromkeys(name for column in columns for name, value in column.items() if value):
        values = [column.get(name, 0.0) for column in columns]
        axis.bar(places, values, width, bottom=below, label=name, color=colormaps["tab20"](_COLOURS[name]))
        below = [low + value for low, value in zip(below, values, strict=True)]


def picture(
    path: str | Path,
    size: tuple[float, float],
    draw: Callable[[Any], None],
    style: Mapping[str, Any] | None = None,
    legend_columns: int = 7,
) -> None:
    """Draw into a file, with one legend for all its parts.

    Args:
        size: width and height in inches.
        draw: fills a figure.
        style: matplotlib's settings.
        legend_columns: of the legend, at most; 0 for none.

    Raises:
        InputError: as :func:`check_picture`, or the file cannot be written.
    """
    target = check_picture(path)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "fastmap", "savefig.dpi": 110, **(style or {})}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        handles: dict[str, Any] = {}
        for axis in figure.axes:
            found, labels = axis.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        if legend_columns and handles:
            _legend_below(figure, handles, legend_columns)
        try:
            figure.savefig(target, metadata=FORMATS[target.suffix.lower()])
        except OSError as error:
            raise InputError(f"cannot write {shown(str(path), 300)}: {error.strerror}") from None


def _legend_below(figure: Any, handles: Mapping[str, Any], columns: int) -> None:
    """Draw the legend with as many columns as the paper is wide for."""
    legend = figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    figure.draw_without_rendering()
    if columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        legend.remove()
        _legend_below(figure, handles, columns - 1)
