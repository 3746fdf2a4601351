"""Pictures of what the commands print, drawn with matplotlib (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmap._spec import listed, shown
from fastmap.errors import InputError
from fastmap.text import METRIC_NAMES

if TYPE_CHECKING:
    from fastmap.peak import PeakPoint
    from fastmap.validation import ChipValidation

__all__ = ["FORMATS", "draw_peaks", "draw_validation"]

#: File types; the date is kept out of them, so that the same figures give the same file.
FORMATS = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


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
    """Draw reported and modelled figures of chips: bars of what the model's components take, grey ones reported.

    Raises:
        InputError: as :func:`check_picture`.
    """

    def draw(axes: Any) -> None:
        places = range(len(chips))
        for axis, (metric, title) in zip(axes, METRIC_NAMES.items(), strict=True):
            parts = [_parts(chip, metric) for chip in chips]
            shares = [
                {k: v / (getattr(chip.reported, metric) or getattr(chip.model, metric)) for k, v in part.items()}
                for chip, part in zip(chips, parts, strict=True)
            ]
            axis.bar([x - 0.2 for x in places], [1.0] * len(chips), 0.36, color="0.75", label="reported")
            _stack(axis, [x + 0.2 for x in places], shares)
            for x, chip in zip(places, chips, strict=True):
                if metric in chip.ratio["model"]:
                    height = sum(shares[x].values())
                    axis.annotate(f"{100 * chip.ratio['model'][metric]:.0f} %", (x + 0.2, min(height, 3.0)), ha="center",
                                  va="bottom", fontsize=7)  # fmt: skip
            axis.set(title=title.split(",")[0], ylabel="model / reported", ylim=(0, 3.3))
            axis.set_xticks(list(places), [chip.name for chip in chips], rotation=45)
            axis.legend(fontsize=6, loc="upper left")

    _picture(path, 3, (13, 4.5), draw)


def _parts(chip: ChipValidation, metric: str) -> dict[str, float]:
    if metric == "clock_ns":
        return {"clock": chip.model.clock_ns or 0.0}
    breakdown = chip.energy_breakdown_fj if metric == "energy_per_mac_fj" else chip.area_breakdown_mm2
    return {name: value for name, value in breakdown.items() if name != "total"}


def draw_peaks(points: Sequence[PeakPoint], path: str | Path) -> None:
    """Draw efficiency against density of macros and systems, and their energy and area by component (Fig. 7 and 8).

    Raises:
        InputError: as :func:`check_picture`.
    """

    def draw(axes: Any) -> None:
        for axis, (title, get) in zip(
            axes[:2], (("macro alone", lambda point: point.macro), ("with buffers", lambda point: point.system)), strict=True
        ):
            for kind in dict.fromkeys(point.kind for point in points):
                of_kind = [point for point in points if point.kind == kind]
                found = [get(point) for point in of_kind]
                x, y = [each.tops_per_mm2 for each in found], [each.tops_per_watt for each in found]
                axis.plot(x, y, marker="o", label=kind)
                for point, at in zip(of_kind, zip(x, y, strict=True), strict=True):
                    axis.annotate(str(point.size), at, fontsize=7, xytext=(3, 3), textcoords="offset points")
            axis.set(title=title, xlabel="TOPS/mm2", ylabel="TOPS/W", xscale="log", yscale="log")
            axis.legend(fontsize=7)
        names = [f"{point.kind[0].upper()} {point.size}" for point in points]
        places = list(range(len(points)))
        energy = [
            {
                name: value / point.macro.macs_per_cycle * 1000
                for name, value in (
                    *point.macro.energy_per_cycle_pj.items(),
                    *(each for each in point.system.energy_per_cycle_pj.items() if each[0] != "macro"),
                )
                if name != "total"
            }
            for point in points
        ]
        area = [
            {
                name: value / point.system.area_mm2["total"]
                for name, value in (
                    *point.macro.area_mm2.items(),
                    *(each for each in point.system.area_mm2.items() if each[0] != "macro"),
                )
                if name != "total"
            }
            for point in points
        ]
        for axis, parts, label in ((axes[2], energy, "energy, fJ per MAC"), (axes[3], area, "share of the area")):
            _stack(axis, places, parts, 0.8)
            axis.set(title=label, ylabel=label)
            axis.set_xticks(places, names, rotation=90, fontsize=7)
            axis.legend(fontsize=6)

    _picture(path, 4, (18, 4.5), draw)


def _stack(axis: Any, places: Sequence[float], columns: Sequence[Mapping[str, float]], width: float = 0.36) -> None:
    """Draw one bar a column, its parts on top of each other."""
    below = [0.0] * len(columns)
    for name in dict.fromkeys(name for column in columns for name, value in column.items() if value):
        values = [column.get(name, 0.0) for column in columns]
        axis.bar(places, values, width, bottom=below, label=name)
        below = [low + value for low, value in zip(below, values, strict=True)]


def _picture(path: str | Path, columns: int, size: tuple[float, float], draw: Callable[[Any], None]) -> None:
    target = check_picture(path)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "fastmap"}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns))
        try:
            figure.savefig(target, dpi=120, metadata=FORMATS[target.suffix.lower()])
        except OSError as error:
            raise InputError(f"cannot write {shown(str(path), 300)}: {error.strerror}") from None
