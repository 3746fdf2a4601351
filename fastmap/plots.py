"""Pictures of results, drawn with matplotlib (extra ``plot``): clouds, distributions, breakdowns, rooflines, curves.

Colours are those of Okabe and Ito, which colour-blind people tell apart; markers, lines and hatches say the same again,
so that prints in grey can be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmap import text
from fastmap.comparison import HISTOGRAMS, value_of
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
)
from fastmap.errors import InputError
from fastmap.evaluation import array_clock_ns
from fastmap.explanation import FACTORS, Curve
from fastmap.mine import Source
from fastmap.views import (
    LATENCY_PARTS,
    Breakdown,
    Mark,
    Roofline,
    RooflineLayer,
    density,
    place_in_distribution,
)

#: Marker and colour of the optimum, and of what follows it.
MARKERS = (
    ("*", VERMILION, 160),
    ("D", SKY, 45),
    ("X", ORANGE, 70),
    ("P", PURPLE, 70),
    ("s", YELLOW, 50),
    ("v", GREEN, 60),
)
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 3)))
MOST_MARKS = len(MARKERS)
#: Of energies: of the array, and of the memories that matter.
ARRAY_COLOUR = "0.4"
MEMORY_COLOURS = (SKY, GREEN, YELLOW, ORANGE, VERMILION, BLUE, PURPLE)
HATCHES = {"": "", "W": "////", "I": "", "O": "...."}
#: Colours and hatches of ``LATENCY_PARTS``.
LATENCY_STYLES = ((BLUE, ""), (SKY, ""), (VERMILION, "////"), (YELLOW, ""), (ORANGE, "...."))
#: Parts of the energy below this share of the longest bars are drawn as one.
TRIFLE = 0.004
#: Bins of the density, along each axis.
CLOUD_BINS = 120
#: Values in SI units: name -> (factor, unit, what it is).
SI = {
    "energy_pj": (1e-12, "J", "energy"),
    "latency_ns": (1e-9, "s", "latency"),
    "edp_pj_ns": (1e-21, "J s", "energy-delay product"),
}


def draw_cloud(sources: Sequence[Source], marked: Sequence[Sequence[Mark]], path: str | Path) -> None:
    """Draw energy against latency: the density of all mappings, the Pareto front, and marked mappings.

    Args:
        sources: one panel each, on common axes.
        marked: of each source.
    """
    clouds = [density(source, CLOUD_BINS) for source in sources]
    most = max((int(cloud.mappings.max()) for cloud in clouds if cloud is not None), default=1)
    columns = min(3, len(sources))
    rows = -(-len(sources) // columns)

    def draw(figure: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap, LogNorm

        grey = LinearSegmentedColormap.from_list("cloud", ["0.82", "0.15"])
        norm = LogNorm(1, max(10, most))
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        image = None
        for axis, source, cloud, own in zip(axes.flat, sources, clouds, marked, strict=False):
            result = source.result
            clock = array_clock_ns(result.architecture)
            if cloud is not None:
                counts = np.ma.masked_equal(cloud.mappings.T, 0)
                edges = cloud.energy_pj * 1e-12, cloud.latency_ns * 1e-9
                image = axis.pcolormesh(*edges, counts, cmap=grey, norm=norm, rasterized=True, linewidth=0)
            front = result.points.get("pareto")
            if front is not None:
                energy, latency = front.energy_pj * 1e-12, front.latency_cycles * clock * 1e-9
                line = {"color": BLUE, "linewidth": 1.2, "markersize": 3, "drawstyle": "steps-post"}
                axis.plot(energy, latency, "o-", label="Pareto front", zorder=3, **line)
            for mark, (marker, colour, area) in zip(own, MARKERS, strict=False):
                place = mark.cost.energy_pj.total * 1e-12, mark.cost.latency_ns * 1e-9
                _point_out(axis, place, mark, marker, colour, area)
            axis.set_title(_title(source))
        _si_axes(axes[0, 0], "J", "s")  # the others share them
        for axis in axes.flat:
            axis.grid()
        for axis in axes.flat[len(sources) :]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel("energy")
        for axis in axes[:, 0]:
            axis.set_ylabel("latency")
        if image is not None:
            figure.colorbar(image, ax=axes, label="mappings in a bin", shrink=0.8, pad=0.01)

    picture(path, (1.2 + 3.1 * columns, 0.7 + 2.7 * rows), draw, 4)


def draw_distribution(source: Source, marked: Sequence[Mark], path: str | Path) -> None:
    """Draw how energy, latency and EDP of all mappings are distributed, and where marked ones stand."""
    result = source.result
    clock = array_clock_ns(result.architecture)

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 3, sharey=True)
        most = max(int(result.histograms[stored].counts.max()) for stored in HISTOGRAMS.values())
        for axis, (objective, stored) in zip(axes, HISTOGRAMS.items(), strict=True):
            histogram = result.histograms[stored]
            factor, unit, words = SI["latency_ns" if objective == "latency" else stored]
            scale = factor * (clock if objective == "latency" else 1.0)
            counts = histogram.counts.astype(float)
            axis.stairs(counts, histogram.edges * scale, fill=True, color="0.82", baseline=0.5)
            axis.stairs(counts, histogram.edges * scale, color="0.45", linewidth=0.8, baseline=0.5)
            axis.set(yscale="log", ylim=(0.5, 10 * most), xlabel=words)
            for number, (mark, (marker, colour, area), line) in enumerate(zip(marked, MARKERS, LINES, strict=False)):
                value = value_of(mark.cost, objective) * scale
                height = 5 * most / 4**number
                axis.vlines(value, 0.5, height, color="black", linestyle=line, linewidth=0.9)
                _point_out(axis, (value, height), mark, marker, colour, area)
            _si_axes(axis, unit, None)
            axis.grid(axis="x")
        axes[0].set_ylabel("mappings in a bin")
        figure.suptitle(f"{_title(source)}: {sum(int(n) for n in histogram.counts):,} mappings that fit", fontsize=9)

    picture(path, (8.4, 2.9), draw, 4)


def distribution_table(source: Source, marked: Sequence[Mark]) -> tuple[str, list[dict[str, Any]]]:
    """Where marked mappings stand among all, for people and for machines."""
    rows, data = [], []
    for mark in marked:
        for objective in HISTOGRAMS:
            value = value_of(mark.cost, objective)
            place = place_in_distribution(source.result, mark, objective)
            rows.append((mark.label, objective, text.objective_value(value, objective), text.distribution(place)))
            data.append({"mapping": mark.label, "objective": objective, "value": value, **place.to_dict()})
    return text.table(("mapping", "<", "value", "<among all"), rows), data


def draw_breakdown(title: str, layers: Sequence[Breakdown], clock_ns: float, path: str | Path) -> None:
    """Draw energy and latency of each layer's best mapping, and of the network, by part.

    Bars of layers count all identical ones, so that they add up to the network.
    """
    names = [_counted(each) for each in layers]
    parts = dict.fromkeys(part for each in layers for part in each.energy_pj)
    pj = {part: np.array([each.count * each.energy_pj.get(part, 0.0) for each in layers]) for part in parts}
    kept, others = _without_trifles(pj)
    colours = dict(zip(dict.fromkeys(memory for memory, operand in kept if operand), MEMORY_COLOURS * 9, strict=False))
    energy: dict[str, tuple[Any, str, str]] = {
        _plain(f"{operand} in {memory}" if operand else memory): (
            values * 1e-12,
            colours[memory] if operand else ARRAY_COLOUR,
            HATCHES[operand],
        )
        for (memory, operand), values in kept.items()
    }
    if others.any():
        energy["others"] = (others * 1e-12, "white", "")
    latency = {
        words: (np.array([each.count * each.latency_cycles[part] for each in layers]) * clock_ns * 1e-9, *style)
        for (part, words), style in zip(LATENCY_PARTS.items(), LATENCY_STYLES, strict=True)
    }
    if not sum(values.sum() for values, *_ in energy.values()):
        raise InputError(f"{title}: the mappings cost no energy, so that there is nothing to draw")

    def draw(figure: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        heights = [1.0, max(1.0, 0.62 * len(layers))]
        figure.get_layout_engine().set(wspace=0.06)
        axes = figure.subplots(2, 2, gridspec_kw={"height_ratios": heights})
        for column, (parts, what, unit) in enumerate(((energy, "energy", "J"), (latency, "latency", "s"))):
            totals = np.sum([values for values, *_ in parts.values()], axis=0)
            whole = math.fsum(totals)
            top, axis = axes[:, column]
            shares = {name: ([math.fsum(values) / whole], *style) for name, (values, *style) in parts.items()}
            _bars(top, [""], shares, labelled=False)
            top.set(xlim=(0, 1), title=f"all layers: {_si(unit, 2)(whole)}")
            top.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
            top.spines["left"].set_visible(False)
            top.tick_params(axis="y", length=0)
            _bars(axis, names if column == 0 else [""] * len(names), parts)
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.xaxis.set_major_formatter(_si(unit))
            axis.set(xlabel=what, xlim=(0, 1.04 * totals.max()))
            axis.grid(axis="x")
            axis.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.4 / (0.26 * len(layers) + 0.3)), ncols=2, fontsize=7.5,
                handlelength=1.6, columnspacing=1.0,
            )  # fmt: skip
        figure.suptitle(_plain(title), fontsize=9)

    legend = 0.17 * -(-max(len(energy), len(latency)) // 2)
    picture(path, (8.4, 1.9 + 0.22 * len(layers) + legend), draw, 0)


def draw_roofline(title: str, roof: Roofline, path: str | Path) -> None:
    """Draw the roofline of an array and a memory, with layers as numbered points."""
    columns = -(-len(roof.layers) // 22)

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        ridge = roof.peak_macs_per_ns / roof.bandwidth_bits_per_ns
        places = [each.macs_per_bit for each in roof.layers] + [ridge]
        left, right = min(places) / 3, max(places) * 3
        axis.plot(
            [left, ridge, right],
            [left * roof.bandwidth_bits_per_ns * 1e9, *(2 * [roof.peak_macs_per_ns * 1e9])],
            color="black", linewidth=1.4,
        )  # fmt: skip
        axis.set(xlabel=_plain(f"MACs per bit through {roof.memory}"), ylabel="MACs per second", xlim=(left, right))
        points = [(each.macs_per_bit, each.macs_per_ns * 1e9) for each in roof.layers]
        for number, (each, point) in enumerate(zip(roof.layers, points, strict=True), 1):
            label = f"{number}  {_counted(each)}"
            axis.plot(*point, "o", color=SKY, markeredgecolor="black", markersize=5, label=label, zorder=3)
        axis.set(xscale="log", yscale="log")
        axis.yaxis.set_major_formatter(_si("MAC/s"))
        axis.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
        axis.grid()
        axis.set_ylim(axis.get_ylim()[0] / 2, 2e9 * roof.peak_macs_per_ns)
        peak = text.quantity(roof.peak_macs_per_ns * 1e9, "MAC/s")
        rate = text.quantity(roof.bandwidth_bits_per_ns * 1e9, "bit/s")
        axis.set_title(_plain(f"{title}: array {peak}, {roof.memory} {rate}"))
        axis.legend(
            loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns, fontsize=7.5, handlelength=0, handletextpad=0,
            markerscale=0,
        )  # fmt: skip
        label_points(axis, points, [str(number + 1) for number in range(len(points))])

    picture(path, (5.2 + 1.6 * columns, 3.8), draw, 0)


def draw_sensitivity(title: str, objective: str, curves: Sequence[Curve], path: str | Path) -> None:
    """Draw how the optimum moves with multiples of each resource that matters; the others are named."""
    here = FACTORS.index(1.0)
    moving: list[Curve] = []
    still: list[Curve] = []
    for curve in curves:
        known = [value for value in curve.values if value is not None]
        (moving if max(known) > 1.001 * min(known) or len(known) < len(FACTORS) else still).append(curve)
    memories = list(dict.fromkeys(curve.memory for curve in curves))
    colours = dict(zip(memories, _cycled((BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)), strict=False))
    marker = dict(zip(memories, _cycled("osD^vP*"), strict=False))

    def draw(figure: Any) -> None:
        from matplotlib.ticker import FixedLocator, NullLocator

        axis = figure.subplots()
        for curve in moving:
            values = [math.nan if value is None else value / (curve.values[here] or 1.0) for value in curve.values]
            missing = curve.values.count(None)
            label = curve.name + (f"; nothing fits below {FACTORS[missing]:g}x" if missing else "")
            colour = colours[curve.memory]
            style = {"linestyle": "--", "markerfacecolor": "white"} if curve.ports else {"linestyle": "-"}
            axis.plot(
                FACTORS,
                values,
                marker[curve.memory],
                color=colour,
                markersize=5,
                linewidth=1.3,
                label=_plain(label),
                **style,
            )
        axis.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
        axis.set(xscale="log", yscale="log")
        axis.set(xlabel="multiple of the resource", ylabel=f"best {text.goal(objective)}, relative")
        axis.xaxis.set_major_locator(FixedLocator(FACTORS))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda factor, _: f"{factor:g}x")
        log_ticks(axis.yaxis, lambda value, _: f"{value:g}")
        axis.grid()
        axis.set_title(_plain(title))
        note = "no effect: " + ", ".join(curve.name for curve in still) if still else ""
        if axis.get_legend_handles_labels()[1]:
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        figure.supxlabel(_wrapped(_plain(note), 130), fontsize=7.5, ha="left", x=0.01)

    picture(path, (7.8, 3.6), draw, 0)


def _point_out(axis: Any, place: tuple[float, float], mark: Mark, marker: str, colour: str, area: float) -> None:
    edge = {"edgecolors": "black", "linewidths": 0.7}
    above = 5 - area / 1000  # large ones lie below, so that those in one place can be told
    axis.scatter(*place, s=area, color=colour, marker=marker, label=_plain(mark.label), zorder=above, **edge)


def _without_trifles(parts: dict[tuple[str, str], Any]) -> tuple[dict[tuple[str, str], Any], Any]:
    """Parts of a breakdown, and the sum of those that nobody could see in any bar."""
    totals = np.sum(list(parts.values()), axis=0)
    small = {
        name
        for name, values in parts.items()
        if values.max() < TRIFLE * totals.max() and values.sum() < TRIFLE * totals.sum()
    }
    others = np.sum([np.zeros(len(totals)), *(parts[name] for name in small)], axis=0)
    return {name: values for name, values in parts.items() if name not in small}, others


def _bars(axis: Any, names: Sequence[str], parts: Mapping[str, tuple[Any, ...]], labelled: bool = True) -> None:
    """Horizontal bars, parts beside each other, the first name on top."""
    places = np.arange(len(names))
    before = np.zeros(len(names))
    for label, (values, colour, hatch) in parts.items():
        if not np.any(values):
            continue
        edge = {"edgecolor": "0.2", "linewidth": 0.4}
        axis.barh(places, values, 0.72, before, color=colour, hatch=hatch, label=label if labelled else None, **edge)
        before += values
    axis.set_yticks(places, names, fontsize=8)
    axis.set_ylim(len(names) - 0.45, -0.55)


def _counted(layer: Breakdown | RooflineLayer) -> str:
    return _plain(f"{layer.layer} (x{layer.count})" if layer.count > 1 else layer.layer)


def _title(source: Source) -> str:
    return _plain(f"{source.layer} on {source.architecture}")


def _plain(words: str) -> str:
    """Text of users, in which a dollar begins no formula, and an underscore hides no label."""
    words = words.replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words


def _si(unit: str, places: int | None = None) -> Any:
    from matplotlib.ticker import EngFormatter

    return EngFormatter(unit, places)


def _si_axes(axis: Any, x_unit: str, y_unit: str | None) -> None:
    """Logarithmic axes with SI prefixes and some room at their ends."""
    for side, unit in ((axis.xaxis, x_unit), (axis.yaxis, y_unit)):
        if unit is None:
            continue
        (axis.set_xscale if side is axis.xaxis else axis.set_yscale)("log")
        low, high = side.get_view_interval()
        room = max(high / low, 1.1) ** 0.06
        (axis.set_xlim if side is axis.xaxis else axis.set_ylim)(low / room, high * room)
        log_ticks(side, _si(unit))


def _wrapped(words: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(words, width))


def _cycled(choices: Iterable[Any]) -> Any:
    import itertools

    return itertools.cycle(choices)


def check_marks(count: int) -> None:
    """Refuse more mappings than there are markers."""
    if count > MOST_MARKS:
        raise InputError(f"at most {MOST_MARKS} mappings can be told apart in a picture, not {count}")
