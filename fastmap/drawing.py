"""What all pictures share: the file, colours, axes, and names beside points; drawn with matplotlib (extra ``plot``).

Colours are those of Okabe and Ito, which colour-blind people tell apart; markers, lines and hatches say the same again,
so that prints in grey can be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmap._spec import listed, shown
from fastmap.errors import InputError

#: File types; the date is kept out of them, so that the same figures give the same file.
FORMATS: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
#: Okabe and Ito's palette.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73"),
    *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
)
STYLE = {
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
}


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


def picture(
    path: str | Path,
    size: tuple[float, float],
    draw: Callable[[Any], None],
    legend_columns: int = 0,
) -> None:
    """Draw into a file, with one legend for all its parts.

    Args:
        size: width and height in inches.
        draw: fills a figure.
        legend_columns: of the legend, at most; 0 for none.

    Raises:
        InputError: as :func:`check_picture`, or the file cannot be written.
    """
    target = check_picture(path)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "fastmap", **STYLE}
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


def log_ticks(side: Any, formatter: Any) -> None:
    """Label a logarithmic axis at few places, but at some however short it is."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = side.get_view_interval()
    decades = math.log10(high / low)
    if decades < 0.8:
        side.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        side.set_minor_locator(NullLocator())
    else:
        steps = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.6 else (1.0, 2.0, 5.0)
        side.set_major_locator(LogLocator(subs=steps, numticks=30))
        side.set_minor_formatter(NullFormatter())
    side.set_major_formatter(formatter)


def plain_number(value: float, _: object) -> str:
    """Format ticks without powers of ten."""
    return f"{value:g}"


def label_points(
    axis: Any, places: Sequence[tuple[float, float]], names: Sequence[str], colours: Sequence[str] = ()
) -> None:
    """Write names beside points, where there is room; neighbours of one colour share a label.

    The axes must have their final size.
    """
    axis.figure.draw_without_rendering()  # fixes the axes, so that points have places on paper
    at = axis.transData.transform(places) * 72 / axis.figure.dpi
    groups: list[list[int]] = []
    for number in np.argsort(-at[:, 1], kind="stable").tolist():
        alike = (group for group in groups if not colours or colours[group[0]] == colours[number])
        near = next((group for group in alike if np.abs(at[group[0]] - at[number]).max() < 8), None)
        if near is None:
            groups.append([number])
        else:
            near.append(number)
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in at.tolist()]
    for group in groups:
        words = ", ".join(dict.fromkeys(names[number] for number in sorted(group)))
        x, y = at[group[0]].tolist()
        width = 4.3 * len(words) + 2
        shifts = [(4, -9.0 - 8 * step) for step in range(8)] + [(-4 - width, 4.0 + 8 * step) for step in range(8)]
        shifts.sort(key=lambda shift: abs(shift[1] + 2.5))  # alternating, below first
        for right, up in shifts:
            box = x + right, y + up, x + right + width, y + up + 7
            if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in taken):
                break
        taken.append(box)
        line = {"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2} if abs(up) > 10 else None
        colour = colours[group[0]] if colours else BLACK
        style = {"size": 7, "color": colour, "path_effects": white_edge(), "arrowprops": line}
        axis.annotate(words, places[group[0]], (right, up), textcoords="offset points", **style)


def white_edge() -> list[Any]:
    """Set text off against lines behind it."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=1.8, foreground="white")]
