"""What the command line prints for people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastmap.dimensions import DIRECTIONS, OPERANDS

if TYPE_CHECKING:
    from fastmap.architecture import Architecture
    from fastmap.comparison import Comparison, Distribution
    from fastmap.evaluation import Evaluation
    from fastmap.explanation import Explanation
    from fastmap.macro import MacroReport
    from fastmap.mapping import Mapping, SpatialMapping
    from fastmap.memory_costs import MemoryCost
    from fastmap.peak import PeakPoint
    from fastmap.repair_effects import Repairs, Totals
    from fastmap.result import NetworkResult, SearchResult
    from fastmap.study import Study
    from fastmap.validation import ChipValidation, Figures, FurtherValidation

#: SI prefixes by power of 1000.
PREFIXES = {
    8: "Y", 7: "Z", 6: "E", 5: "P", 4: "T", 3: "G", 2: "M", 1: "k",
    0: "", -1: "m", -2: "u", -3: "n", -4: "p", -5: "f", -6: "a", -7: "z", -8: "y",
}  # fmt: skip
#: A last column narrower than this is not wrapped.
NARROWEST = 16
#: Fewer mappings than these take no longer than the preparation of their search.
WORTH_A_RATE = 1_000_000


def quantity(value: float, unit: str) -> str:
    """A value in its base unit with four digits and a prefix: 1.234 mJ."""
    if not value or not math.isfinite(value):
        return f"{value:g} {unit}"
    value = float(f"{value:.3e}")  # rounded first: 999.96 nJ are 1.000 uJ
    power = max(-8, min(8, math.floor(math.log10(abs(value)) / 3 + 1e-9)))
    return f"{value / 1000.0**power:#.4g} {PREFIXES[power]}{unit}"


def percent(share: float) -> str:
    """A share as a percentage with three digits."""
    value = float(f"{100 * share:.3g}")
    return f"{value:.0f} %" if abs(value) >= 100 else f"{value:.3g} %"


def energy(pj: float) -> str:
    """Energy for a person."""
    return quantity(pj * 1e-12, "J")


def duration(ns: float) -> str:
    """Time for a person."""
    return quantity(ns * 1e-9, "s")


def delay_product(pj_ns: float) -> str:
    """Energy-delay product for a person."""
    return quantity(pj_ns * 1e-21, "J s")


def readable_time(seconds: float) -> str:
    """Seconds as a person would say them."""
    for unit, length in (("years", 31557600.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Aligned columns under a header: the first column and those whose header starts with ``<`` to the left.

    ``width`` is that of the terminal: a longer last column, if it is to the left, goes on below.
    """
    rows = [tuple(row) for row in rows]
    flush_left = [i == 0 or name.startswith("<") for i, name in enumerate(header)]
    names = tuple(name.removeprefix("<") for name in header)
    widths = [max(1, *(len(row[i]) for row in (names, *rows))) for i in range(len(header))]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if width is not None and flush_left[-1] and width - before >= NARROWEST:
        widths[-1] = min(widths[-1], width - before)

    def lines(cells: Sequence[str]) -> Iterable[str]:
        last = textwrap.wrap(cells[-1], widths[-1]) or [""]
        for number, part in enumerate(last):
            row = (*cells[:-1], part) if number == 0 else (*("" for _ in cells[:-1]), part)
            parts = [c.ljust(w) if f else c.rjust(w) for c, w, f in zip(row, widths, flush_left, strict=True)]
            yield "  ".join(parts).rstrip()

    return "\n".join(
        [*lines(names), "  ".join("-" * each for each in widths), *(x for row in rows for x in lines(row))]
    )


def spatial(mapping: SpatialMapping) -> str:
    """``D1: K64  D2: C32 FX2``."""
    parts = [
        f"{name}: " + " ".join(f"{dim}{factor}" for dim, factor in factors.items())
        for name, factors in mapping.unrolling.items()
        if factors
    ]
    return ", ".join(parts) or "none"


def nest(temporal: Sequence[tuple[str, int]]) -> str:
    """The loop nest, innermost first; neighbouring loops of one dimension are multiplied."""
    merged: list[tuple[str, int]] = []
    for dim, size in temporal:
        if merged and merged[-1][0] == dim:
            merged[-1] = (dim, merged[-1][1] * size)
        else:
            merged.append((dim, size))
    return " ".join(f"{dim}{size}" for dim, size in merged) or "none"


def network(result: NetworkResult, objective: str, width: int | None = None) -> str:
    """One table: the best mapping of each layer and the totals, or each layer's front; and what the search took."""
    front = objective == "pareto"
    seconds = not front and any(found.strategy == "exhaustive" for _, found in result)  # others know only the best
    rows = []
    for name, found in result:
        gap = found.gap_to_second
        second = ("-" if gap is None else f"+{percent(gap)}",) if seconds else ()
        for number, each in enumerate(found.pareto if front else found.best[:1]):
            rows.append(
                (
                    "" if number else name,
                    energy(each.energy_pj.total),
                    f"{each.latency_cycles.total:,.0f}",
                    delay_product(each.edp_pj_ns),
                    percent(each.utilization.array),
                    *second,
                    spatial(each.mapping.spatial),
                    nest(each.mapping.temporal) + ("" if number else unproven(found)),
                )
            )
    if not front:  # points of several fronts do not add up
        totals = result.totals
        rows.append(
            (
                "total",
                energy(totals["energy_pj"]),
                f"{totals['latency_cycles']:,.0f}",
                delay_product(totals["edp_pj_ns"]),
                "",
                *(("",) if seconds else ()),
                f"({duration(totals['latency_ns'])})",
                "",
            )
        )
    header = (
        *("layer", "energy", "cycles", "EDP", "array use"),
        *(("2nd best",) if seconds else ()),
        *("<spatial mapping", "<loop nest, innermost first"),
    )
    what = "Pareto front of energy and latency" if front else f"best {goal(objective)}"
    title = f"{result.workload} on {result.architecture.name}, {what} of each layer"
    return "\n".join((title, table(header, rows, width), effort(result)))


def unproven(found: SearchResult) -> str:
    """What to add to a result that is not proven to be the best."""
    if found.complete or found.gap == 0.0:
        return ""
    if found.gap is None:
        return "  (stopped early)"
    return f"  (within {percent(found.gap)} of the {'front' if found.objective == 'pareto' else 'optimum'})"


def effort(result: NetworkResult) -> str:
    """How many mappings were covered and costed, how fast."""
    searches = list({id(found.points): found for _, found in result}.values())  # identical layers share one
    seconds = sum(found.statistics["seconds_search"] for found in searches)
    threads = max(int(found.statistics["threads"]) for found in searches)
    costed = sum(int(found.statistics["mappings_evaluated"]) for found in searches)
    on = f"in {seconds:.2f} s on {threads} thread{'s' if threads > 1 else ''}"
    if any(found.strategy == "exhaustive" for found in searches):
        rate = f" ({costed / seconds:,.0f} a second)" if costed >= WORTH_A_RATE else ""
        return f"{costed:,} mappings covered {on}{rate}"
    covered = sum(int(found.statistics["mappings_covered"]) for found in searches)
    gaps = [found.gap for found in searches]
    worst = None if None in gaps else max(gap for gap in gaps if gap is not None)
    near = "front" if searches[0].objective == "pareto" else "optimum"
    proof = (
        "proven optimal"
        if worst == 0.0
        else "nothing proven"
        if worst is None
        else f"within {percent(worst)} of the {near}"
    )
    return f"{proof}: {covered:.3g} mappings covered, {costed:,} costed {on}"


def explain(evaluation: Evaluation, architecture: Architecture, also: Sequence[str] = ()) -> str:
    """The loop nest with each operand's memory, and where energy and cycles go; ``also`` names identical layers."""
    sources = [f"{memory.name} by {memory.costs_from}" for memory in architecture.memories if memory.costs_from]
    return "\n\n".join(
        (
            figures(evaluation, also),
            loop_nest(evaluation.mapping, architecture),
            energy_table(evaluation) + (f"\ncosts of {', '.join(sources)}: see fastmap memory" if sources else ""),
            latency_table(evaluation),
        )
    )


def figures(evaluation: Evaluation, also: Sequence[str] = ()) -> str:
    """The main figures, a line each."""
    area = evaluation.area_mm2
    lines: tuple[tuple[str, str], ...] = (
        ("energy", f"{energy(evaluation.energy_pj.total)} ({energy(evaluation.energy_pj.mac)} in the array)"),
        (
            "latency",
            f"{evaluation.latency_cycles.total:,.0f} cycles of {evaluation.clock_ns:.4g} ns"
            f" = {duration(evaluation.latency_ns)}",
        ),
        ("EDP", delay_product(evaluation.edp_pj_ns)),
        ("area", f"{area.total:.4g} mm2 ({area.imc:.4g} mm2 array, {area.memory:.4g} mm2 memories)"),
        ("array use", percent(evaluation.utilization.array)),
    )
    if evaluation.static_energy_pj:
        leaking = f"{', '.join(evaluation.static_energy_pj)}, not counted above"
        lines += (("static", f"{energy(sum(evaluation.static_energy_pj.values()))} ({leaking})"),)
    same = f" (and {', '.join(also)})" if also else ""
    title = f"{evaluation.layer}{same} on {evaluation.architecture}"
    return "\n".join([title, *(f"  {name:<11}{value}" for name, value in lines)])


def loop_nest(mapping: Mapping, architecture: Architecture) -> str:
    """The loops, outermost first, each with the memory in which every operand keeps its tile."""
    assert mapping.allocation is not None
    rows = []
    depth = len(mapping.temporal)
    for position in range(depth - 1, -1, -1):
        dim, size = mapping.temporal[position]
        homes = []
        for operand in OPERANDS:
            level = next(m for m, cut in enumerate(mapping.allocation[operand]) if position < cut)
            homes.append(architecture.memories[architecture.chain(operand)[level]].name)
        rows.append((f"{'  ' * (depth - 1 - position)}for {dim} in 0..{size - 1}", *homes))
    for name, factors in mapping.spatial.unrolling.items():
        for dim, factor in factors.items():
            rows.append((f"{'  ' * depth}parallel {dim} in 0..{factor - 1} on {name}", "", "", ""))
    return table(("loop nest", *(f"<{operand} kept in" for operand in OPERANDS)), rows)


def energy_table(evaluation: Evaluation) -> str:
    """Energy by operand, memory and direction, and by component of the array."""
    rows = []
    for operand, levels in evaluation.energy_pj.memory_breakdown.items():
        for level, share in zip(levels, evaluation.utilization.memory[operand], strict=True):
            total = sum(level[direction] for direction in DIRECTIONS)
            parts = [energy(level[direction]) if level[direction] else "-" for direction in DIRECTIONS]
            rows.append((f"{operand} in {level['memory']}", energy(total), *parts, percent(share)))
    for component, value in evaluation.energy_pj.mac_breakdown.items():
        if value:
            rows.append((f"array: {component}", energy(value), *("" for _ in DIRECTIONS), ""))
    header = ("energy", "total", "read to below", "write from below", "read to above", "write from above", "filled")
    return table(header, rows)


def latency_table(evaluation: Evaluation) -> str:
    """Latency by cause, and the ports that stall most."""
    latency = evaluation.latency_cycles
    rows = [
        ("ideal (every unit busy)", f"{latency.ideal:,.0f}"),
        ("as mapped", f"{latency.spatial:,.0f}"),
        ("stall", f"{latency.stall:,.0f}"),
        ("first loading", f"{latency.onload:,.0f}"),
        ("last off-loading", f"{latency.offload:,.0f}"),
        ("total", f"{latency.total:,.0f}"),
    ]
    stalls = [
        (cycles, f"{memory}.{port}")
        for memory, ports in latency.stall_per_port.items()
        for port, cycles in ports.items()
        if cycles > 0
    ]
    for cycles, port in sorted(stalls, reverse=True):
        rows.append((f"  stall at {port}", f"{cycles:,.0f}"))
    return table(("latency", "cycles"), rows)


def signed(value: float, shown: str) -> str:
    """A difference with its sign, ``shown`` being its absolute value."""
    return f"{'+' if value > 0 else '-'}{shown}" if value else "-"


def relative(change: float) -> str:
    """A relative change with its sign."""
    return signed(change, percent(abs(change)))


def goal(objective: str) -> str:
    """The name of an objective."""
    return objective.upper() if objective.startswith("ed") else objective


def objective_value(value: float, objective: str) -> str:
    """A value of an objective with its unit."""
    if objective == "latency":
        return f"{value:,.0f} cycles"
    from fastmap.result import exponent_of

    power = int(exponent_of(objective))
    if power < 2:
        return delay_product(value) if power else energy(value)
    return quantity(value * 1e-12 * 1e-9**power, f"J s{power}")


def repairs(found: Repairs) -> str:
    """The repairs that apply to a mapping, and its cost without and with them."""

    def row(name: str, totals: Totals | None, text: str = "", sign: bool = True) -> tuple[str, str, str, str]:
        if totals is None:
            return name, "does not fit", "", text
        pj, cycles = totals.energy_pj, totals.latency_cycles
        if not sign:
            return name, energy(pj), f"{cycles:,.0f}", text
        return name, signed(pj, energy(abs(pj))), signed(cycles, f"{abs(cycles):,.0f}"), text

    applied = [repair for repair in found if repair.applies]
    if not applied:
        return "no repair of the corrected cost model changes this mapping: it costs as much by ZigZag's numbers"
    rows = [row("ZigZag's numbers", found.zigzag, sign=False)]
    for repair in applied:
        counts = "".join(
            f" ({before} iterations of {dim} become {after})" for dim, (before, after) in repair.iterations.items()
        )
        rows.append(row(repair.name, repair.alone, repair.description + counts))
    if found.interaction is not None and (found.interaction.energy_pj or found.interaction.latency_cycles):
        rows.append(row("acting together", found.interaction, "what the single changes leave of the difference"))
    rows.append(row("corrected", found.corrected, sign=False))
    return table(("repairs", "energy", "cycles", "<what each changes alone"), rows, 100)


def most(share: float) -> str:
    """A share as a percentage that is 100 % only where it is all of it."""
    if not 0.99 < share < 1.0:
        return percent(share)
    digits = min(12, 1 - math.floor(math.log10(100 * (1.0 - share)) + 1e-9))
    return f"{100 * share:.{digits}f} %"


def distribution(found: Distribution) -> str:
    """Where a mapping stands among all, in one sentence."""
    low, high = most(found.low), most(found.high)
    if found.confidence is None:
        share = "none" if not found.high else low if low == high else f"{low} to {high}"
        return f"{share} of all {found.mappings:,} mappings that fit {'is' if share == 'none' else 'are'} better"
    drawn = f"{found.mappings:,} drawn at random, of a space of {found.mappings_total:.3g}"
    confidence = f"{percent(found.confidence)} confidence"
    if not found.better:
        return f"at most {high} of all mappings that fit are better (with {confidence}: none of {drawn})"
    return (
        f"about {most(found.better)} of all mappings that fit are better ({low} to {high} with {confidence}: {drawn})"
    )


def comparison(found: Comparison, architecture: Architecture, differences: int = 8) -> str:
    """A mapping beside the optimum: gap, place among all mappings, differences of energy and cycles, both nests."""
    name = goal(found.objective)
    mine, best = found.mine, found.best
    proven = "proven optimum" if found.found.optimal else "best found"
    if found.gap > 9:
        gap = f"{found.gap + 1:,.3g} times the {proven}"
    elif found.gap > 1e-9:
        gap = f"{percent(found.gap)} above the {proven}"
    elif found.gap < -1e-9:
        gap = f"{percent(-found.gap)} below the {proven}: the space searched does not hold this mapping"
    else:
        gap = f"equal to the {proven}"
    lines = [
        f"{mine.layer} on {mine.architecture}: {name} {gap}",
        *textwrap.wrap(distribution(found.distribution), 98, initial_indent="  ", subsequent_indent="  "),
    ]
    rows = [
        ("energy", energy(mine.energy_pj.total), energy(best.energy_pj.total)),
        ("latency", f"{mine.latency_cycles.total:,.0f} cycles", f"{best.latency_cycles.total:,.0f} cycles"),
        ("EDP", delay_product(mine.edp_pj_ns), delay_product(best.edp_pj_ns)),
        ("array use", percent(mine.utilization.array), percent(best.utilization.array)),
    ]
    if found.objective not in ("energy", "latency", "edp"):
        mine_value, best_value = (objective_value(value, found.objective) for value in (found.value, found.optimum))
        rows.insert(3, (name, mine_value, best_value))
    parts = ["\n".join(lines), table(("", "this mapping", "optimum"), rows)]
    if found.differences:
        shown = [f"  {each.words}" for each in found.differences[:differences]]
        if len(found.differences) > differences:
            shown.append(f"  and {len(found.differences) - differences} smaller differences")
        parts.append("\n".join(["where the energy differs", *shown]))
    changed = [(cause, a, b) for cause, (a, b) in found.cycles.items() if a != b]
    if changed:
        cycles = [(cause, f"{a:,.0f}", f"{b:,.0f}", signed(a - b, f"{abs(a - b):,.0f}")) for cause, a, b in changed]
        parts.append(table(("cycles", "this mapping", "optimum", "difference"), cycles))
    parts.append("this mapping\n" + loop_nest(mine.mapping, architecture))
    parts.append("optimum\n" + loop_nest(best.mapping, architecture))
    return "\n\n".join(parts)


def explanation(found: Explanation, architecture: Architecture, also: Sequence[str] = ()) -> str:
    """Why an optimum is as it is."""
    name = goal(found.objective)
    proven = "proven optimal" if found.found.optimal else "the best found, not proven"
    title, *rest = figures(found.best, also).split("\n")
    energies = [
        (f"{row['operand']} in {row['memory']}" if row["operand"] in OPERANDS else f"array: {row['memory']}",
         energy(row["energy_pj"]), percent(row["share"]))
        for row in found.energies
        if row["energy_pj"]
    ]  # fmt: skip
    moves = [
        (f"{operand} in {level['memory']}", *(f"{level[d]:.4g}" if level[d] else "-" for d in DIRECTIONS))
        for operand, levels in found.best.moves.items()
        for level in levels
    ]
    prices = []
    for price in found.prices:
        ports = f" ({', '.join(price.ports)})" if price.ports else ""
        what = f"{price.resource} of {price.memory}{ports}"
        if price.value is None:
            prices.append((what, "", "none found in time"))
            continue
        value = objective_value(price.value, found.objective) if price.change else ""
        prices.append((what, value, (relative(price.change) if price.change else "nothing") + _unproven(price.gap)))
    others = []
    for each in found.alternatives:
        what = f"{each.operand} stays in {each.memory}"
        if each.best is None or each.value is None or each.change is None:
            others.append((what, "", "no such mapping" if each.gap is None else "none found in time", "", ""))
            continue
        change = "the optimum" if each.optimum else relative(each.change) if each.change else "as good"
        change += _unproven(each.gap)
        value = objective_value(each.value, found.objective)
        others.append((what, value, change, spatial(each.best.mapping.spatial), nest(each.best.mapping.temporal)))
    parts = [
        "\n".join([f"{title}: best {name}, {proven}", *rest]),
        loop_nest(found.best.mapping, architecture),
        table(("where the energy goes", "energy", "share"), energies),
        table(
            ("moves of each element", "read to below", "write from below", "read to above", "write from above"), moves
        ),
        table(("what twice as much would change", name, "change"), prices),
        table(("other dataflows", name, "change", "<spatial mapping", "<loop nest, innermost first"), others, 100),
    ]
    return "\n\n".join(parts)


def _unproven(gap: float | None) -> str:
    """Say how far from the optimum a value may be that was found in limited time."""
    if not gap:
        return ""
    return " (not proven)" if gap == math.inf else f" (or up to {percent(gap / (1.0 + gap))} less)"


def macro(report: MacroReport, name: str) -> str:
    """Figures of merit of a macro with breakdowns."""
    data: dict[str, Any] = report.to_dict()
    parts = [
        f"{name} ({data['variant']} model)",
        f"  {quantity(data['tops'] * 1e12, 'OP/s')}, {data['tops_per_watt']:.4g} TOPS/W, "
        f"{data['tops_per_mm2']:.4g} TOPS/mm2, {data['energy_per_mac_fj']:.4g} fJ per MAC, "
        f"{data['macs_per_cycle']:g} MACs per cycle",
        "",
        "",
    ]
    columns = (("energy_per_cycle_pj", "pJ per cycle"), ("clock_ns", "clock, ns"), ("area_mm2", "area, mm2"))
    names = dict.fromkeys(component for key, _ in columns for component in data[key] if component != "total")
    rows = [
        (component, *(f"{data[key][component]:.5g}" if data[key].get(component) else "-" for key, _ in columns))
        for component in (*names, "total")
        if any(data[key].get(component) for key, _ in columns)
    ]
    found = "\n".join(parts) + table(("component", *(title for _, title in columns)), rows)
    if len(report.stages_ns) > 1:
        stages = [(" + ".join(stage), f"{sum(stage.values()):.5g}") for stage in report.stages_ns]
        found += "\n\n" + table(("pipeline stage", "ns"), stages)
    return found


#: Metrics of a comparison with chips -> how a person calls them.
METRIC_NAMES = {"energy_per_mac_fj": "energy, fJ per MAC", "clock_ns": "clock, ns", "area_mm2": "area, mm2"}


def validation(chips: Sequence[ChipValidation]) -> str:
    """Chips that the macro model is compared with: four models beside what is reported, and breakdowns."""
    rows = []
    for metric, title in METRIC_NAMES.items():
        for chip in chips:
            reported = getattr(chip.reported, metric)
            if reported is None:
                continue
            ratios = [percent(ratio[metric]) for ratio in chip.ratio.values()]
            excluded = " *" if metric == "energy_per_mac_fj" and not chip.energy_comparable else ""
            rows.append((chip.name + excluded, title, f"{reported:.4g}", f"{getattr(chip.model, metric):.4g}", *ratios))
    header = (
        "chip", "<metric", "reported", "model", "model/reported", "generic", "generic, switching", "generic, options",
    )  # fmt: skip
    parts = [table(header, rows)]
    legend = [
        "model: the chip's own structure; generic: the macro of its array, 28 nm constants, everything switches;",
        "generic, switching: with the chip's node, and its share of inputs that toggle and weights that are not zero;",
        "generic, options: with its Booth encoding and pipeline registers, too",
    ]
    if any(not chip.energy_comparable for chip in chips):
        legend.append("* its switching or operands are not known: left out of the mean of energies")
    parts.append("\n".join(legend))
    parts.append("\n".join(_mean_mismatches(chips)))
    for title, attribute in (("energy, fJ per MAC", "energy_breakdown_fj"), ("area, mm2", "area_breakdown_mm2")):
        parts.append(_breakdowns(title, {chip.name: getattr(chip, attribute) for chip in chips}))
    stages = [(chip.name, *(f"{chip.stage_ns.get(str(i), 0):.4g}" for i in (1, 2))) for chip in chips]
    parts.append(table(("clock: stages, ns", "first", "second"), stages))
    parts.append("\n".join(f"{chip.name}: {chip.citation}, {chip.url}" for chip in chips))
    notes = [f"{chip.name}: {note}" for chip in chips for note in chip.notes]
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts)


def _mean_mismatches(chips: Sequence[ChipValidation]) -> list[str]:
    lines = []
    for metric, title in METRIC_NAMES.items():
        kept = [
            chip for chip in chips
            if metric in chip.ratio["model"] and (metric != "energy_per_mac_fj" or chip.energy_comparable)
        ]  # fmt: skip
        if kept:
            means = [
                percent(sum(abs(chip.ratio[model][metric] - 1) for chip in kept) / len(kept))
                for model in ("model", "generic", "generic_switching", "generic_options")
            ]
            name, _ = title.split(",")
            lines.append(
                f"mean mismatch of {name} over {', '.join(chip.name for chip in kept)}: {means[0]} "
                f"(generic {means[1]}, switching {means[2]}, options {means[3]})"
            )
    return lines


def _breakdowns(title: str, columns: dict[str, dict[str, float]]) -> str:
    names = dict.fromkeys(name for column in columns.values() for name in column if name != "total")
    rows = [
        (name, *(f"{column[name]:.4g}" if column.get(name) else "-" for column in columns.values()))
        for name in (*names, "total")
    ]
    return table((title, *columns), rows)


def further(chips: Sequence[FurtherValidation]) -> str:
    """Chips that the macro model was not fitted on: how many times what is reported the generic macro gives."""

    def ratio(chip: FurtherValidation, model: str, metric: str) -> str:
        return f"{chip.ratio[model][metric]:.2f}" if metric in chip.ratio[model] else "-"

    def reported(figures: Figures) -> tuple[str, ...]:
        values = (getattr(figures, metric) for metric in METRIC_NAMES)
        return tuple("-" if value is None else f"{value:.4g}" for value in values)

    rows = [
        (
            chip.name,
            f"{chip.kind}, {chip.node_nm:g} nm, {chip.supply_v:g} V",
            *reported(chip.reported),
            ratio(chip, "generic", "energy_per_mac_fj"),
            ratio(chip, "generic_switching", "energy_per_mac_fj"),
            ratio(chip, "generic", "clock_ns"),
            ratio(chip, "generic", "area_mm2"),
            f"{chip.citation} ({chip.row})" + (f"; {chip.note}" if chip.note else ""),
        )
        for chip in chips
    ]
    header = ("further chips", "<", "fJ/MAC", "clock, ns", "mm2", "x energy", "x switching", "x clock", "x area", "<")
    lines = [
        "reported, and how many times that the generic macro gives: energy if everything switches, and if half of the",
        "inputs and weights do; nothing was fitted on these chips, and delays do not follow the supply voltage",
    ]
    for kind in dict.fromkeys(chip.kind for chip in chips):
        for name, model, metric in (
            ("energy, everything switches", "generic", "energy_per_mac_fj"),
            ("energy, half switches", "generic_switching", "energy_per_mac_fj"),
            ("clock", "generic", "clock_ns"),
            ("area", "generic", "area_mm2"),
        ):
            logs = [
                math.log(chip.ratio[model][metric])
                for chip in chips
                if chip.kind == kind and metric in chip.ratio[model]
            ]
            off = math.exp(sum(abs(log) for log in logs) / len(logs))
            lines.append(
                f"{kind}, {name}: {math.exp(min(logs)):.2f} to {math.exp(max(logs)):.3g} times, geometric mean "
                f"{math.exp(sum(logs) / len(logs)):.2f}; off by a factor of {off:.2f} on average, {len(logs)} chips"
            )
    return table(header, rows) + "\n\n" + "\n".join(lines)


def peaks(points: Sequence[PeakPoint]) -> str:
    """Macros at their best, alone and with buffers; and where their energy and area goes."""
    rows, energies, areas = [], {}, {}
    for point in points:
        name = f"{point.kind} {point.size}"
        if point.banks > 1:
            name += f" x{point.banks}"
        macro, system = point.macro, point.system
        adc = "-" if point.adc_bits is None else f"{point.adc_bits:g}"
        operands = f"{point.activation_bits}x{point.weight_bits}, {point.bits_per_cycle} a cycle"
        if point.booth_encoding:
            operands += ", Booth"
        if point.pipeline_after:
            operands += f", {len(macro.stages_ns)} stages"
        rows.append(
            (
                name,
                operands,
                adc,
                f"{macro.clock_ns['total']:.4g}",
                *(f"{value:.4g}" for value in (macro.tops, macro.tops_per_watt, macro.tops_per_mm2)),
                *(f"{value:.4g}" for value in (system.tops_per_watt, system.tops_per_mm2, system.area_mm2["total"])),
            )
        )
        key = f"{name} {operands}" + (f" adc {adc}" if point.adc_bits is not None else "")
        outside = {k: v for k, v in system.energy_per_cycle_pj.items() if k not in ("macro", "total")}
        per_mac = 1000.0 / macro.macs_per_cycle
        parts = {k: v for k, v in macro.energy_per_cycle_pj.items() if k != "total"} | outside
        energies[key] = {k: v * per_mac for k, v in parts.items()} | {"total": system.energy_per_mac_fj}
        around = {k: v for k, v in system.area_mm2.items() if k not in ("macro", "total")}
        areas[key] = {k: v for k, v in macro.area_mm2.items() if k != "total"} | around
        areas[key]["total"] = system.area_mm2["total"]
    header = (
        "macro, cells a side", "<bits", "ADC bits", "clock, ns", "TOPS", "TOPS/W", "TOPS/mm2",
        "TOPS/W with buffers", "TOPS/mm2 with buffers", "mm2 with buffers",
    )  # fmt: skip
    return "\n\n".join([table(header, rows), _by_row("energy, fJ per MAC", energies), _by_row("area, mm2", areas)])


def _by_row(title: str, lines: dict[str, dict[str, float]]) -> str:
    """A breakdown with one line an entry."""
    names = dict.fromkeys(name for line in lines.values() for name, value in line.items() if name != "total" and value)
    rows = [
        (key, *(f"{line[name]:.4g}" if line.get(name) else "-" for name in (*names, "total")))
        for key, line in lines.items()
    ]
    return table((title, *names, "total"), rows)


def memory(cost: MemoryCost, size_bits: int, width_bits: int) -> str:
    """What an access to a memory costs, and who says so."""

    def shown(value: float | None, unit: str, scale: float) -> str:
        return "not known" if value is None else quantity(value * scale, unit)

    lines = (
        ("read", energy(cost.read_energy_pj)),
        ("write", energy(cost.write_energy_pj)),
        ("area", "not known" if cost.area_mm2 is None else f"{cost.area_mm2:.4g} mm2"),
        ("access", shown(cost.access_ns, "s", 1e-9)),
        ("static", shown(cost.leakage_mw, "W", 1e-3)),
        ("source", cost.provenance + (" (interpolated)" if cost.interpolated else "")),
    )
    title = f"{size_bits:,} bits in words of {width_bits:,}, by {cost.source}"
    return "\n".join([title, *(f"  {name:<8}{value}" for name, value in lines)])


def study(found: Study) -> str:
    """Analog and digital designs on networks: costs by network and layer type, the paper's claims, and the mapper."""
    designs = [
        (
            each.name,
            f"{each.macros} x {each.size} x {each.size}",
            f"{each.clock_ns:.4g}",
            *(f"{value:.4g}" for value in each.area_parts_mm2.values()),
            f"{each.area_mm2:.4g}",
            *(f"{value:.4g}" for value in (each.peak.tops, each.peak.tops_per_watt, each.peak.tops_per_mm2)),
        )
        for each in found.designs
    ]
    area = [f"{name.replace('_', ' ')}, mm2" for name in found.designs[0].area_parts_mm2]
    header = ("design", "cells", "clock, ns", *area, "all, mm2", "peak TOPS", "peak TOPS/W", "peak TOPS/mm2")
    parts = [table(header, designs)]
    for objective in found.objectives:
        parts.append(_by_network(found, objective))
        parts.append(_by_type(found, objective))
    parts += [_spent(found, found.objectives[0]), _pairs(found), _claims(found), _mappers(found)]
    return "\n\n".join(part for part in parts if part)


def _by_network(found: Study, objective: str) -> str:
    title = f"mapped for {objective}"
    names = [f"{network}, {what}" for network in found.networks for what in ("uJ", "us", "TOPS/W", "TOPS/mm2")]
    rows = []
    for design in found.designs:
        row = [design.name]
        for network in found.networks:
            total = found.total(design, objective, network=network)
            assert total is not None  # every network has layers
            figures = (total.energy_pj / 1e6, total.latency_ns / 1e3, total.tops_per_watt, total.tops / design.area_mm2)
            row += [f"{value:.4g}" for value in figures]
        rows.append(row)
    return table((title, *names), rows)


def _by_type(found: Study, objective: str) -> str:
    title = f"by layer type, mapped for {objective}"
    units = ("fJ/MAC", "us", "fJ s", "TOPS/W")
    names = [f"{layer_type}, {what}" for layer_type in found.layer_types for what in units]
    rows = []
    for design in found.designs:
        row = [design.name]
        for layer_type in found.layer_types:
            total = found.total(design, objective, layer_type=layer_type)
            assert total is not None  # of these types there are layers
            figures = (
                total.energy_per_mac_fj,
                total.latency_ns / 1e3,
                total.edp_pj_ns / 1e6,
                total.tops_per_watt,
            )
            row += [f"{value:.4g}" for value in figures]
        rows.append(row)
    return table((title, *names), rows)


def _spent(found: Study, objective: str) -> str:
    """Where the energy goes, by layer type."""
    lines = []
    for layer_type in found.layer_types:
        spent = {}
        for design in found.designs:
            total = found.total(design, objective, layer_type=layer_type)
            assert total is not None  # of these types there are layers
            spent[design.name] = {key: value / total.macs * 1e3 for key, value in total.parts_pj.items()}
            spent[design.name]["total"] = total.energy_per_mac_fj
        lines.append(_by_row(f"{layer_type}, fJ/MAC, mapped for {objective}", spent))
    return "\n\n".join(lines)


def _claims(found: Study) -> str:
    """What the paper claims, and what the study says of it."""
    claims = found.claims()
    if not claims:
        return "The paper's claims are about analog beside digital macros of the same size: there are none here."
    sizes = sorted({size for claim in claims for size in claim.ratios})
    rows = [
        (
            claim.statement,
            *(
                (f"{claim.ratios[size]:.3g}" + ("" if size in claim.sizes else " *")) if size in claim.ratios else "-"
                for size in sizes
            ),
            claim.holds,
        )
        for claim in claims
    ]
    note = (
        "ratio of the better to the worse as claimed, one macro of each size, efficiencies mapped for "
        f"{found.objective('energy')}; * where the claim does not speak of it"
    )
    lines = [table(("claim of the paper", *map(str, sizes), "holds"), rows), note]
    for layer_type in (*found.layer_types, None):
        ratios = found.efficiency_ratios(layer_type)
        if len(ratios) < 2:
            continue
        name = layer_type or "all"
        crossings = found.crossover(layer_type)
        if crossings:
            at = " and ".join(f"{size:.0f}" for size in crossings)
            lines.append(f"{name} layers: analog and digital are equally efficient at about {at} cells a side")
        else:
            better = "analog" if min(ratios.values()) > 1 else "digital"
            lines.append(f"{name} layers: {better} is more efficient at every size")
    return "\n".join(lines)


def _pairs(found: Study) -> str:
    """Analog over digital of the same size and number, several macros too."""
    by_shape = {(each.kind, each.size, each.macros): each for each in found.designs}
    objective = found.objectives[0]
    rows = []
    for analog in found.designs:
        digital = by_shape.get(("digital", analog.size, analog.macros))
        if analog.kind != "analog" or digital is None:
            continue
        row = [analog.name.removeprefix("aimc_")]
        for layer_type in (*found.layer_types, None):
            ours, theirs = (found.total(each, objective, layer_type=layer_type) for each in (analog, digital))
            assert ours is not None  # of these types there are layers
            assert theirs is not None
            density = (ours.tops / analog.area_mm2) / (theirs.tops / digital.area_mm2)
            row += [f"{ours.tops_per_watt / theirs.tops_per_watt:.3f}", f"{density:.3f}"]
        rows.append(row)
    if not rows:
        return ""
    names = [f"{name}, {unit}" for name in (*found.layer_types, "all") for unit in ("TOPS/W", "TOPS/mm2")]
    return table((f"analog over digital, mapped for {objective}", *names), rows)


def _mappers(found: Study) -> str:
    """How far ZigZag's choices are above the optimum, and whether they turn a comparison."""
    rows = []
    for objective in found.objectives:
        for layer_type in (*found.layer_types, None):
            shares = found.excess(objective, layer_type)
            worst = max(shares, key=lambda name: shares[name])
            mean = math.exp(sum(math.log1p(share) for share in shares.values()) / len(shares)) - 1.0
            rows.append((f"{objective}, {layer_type or 'all'} layers", percent(mean), percent(shares[worst]), worst))
    lines = [table(("ZigZag's mapper above the optimum", "mean", "most", "<at"), rows)]
    for layer_type in (*found.layer_types, None):
        best, theirs = (found.efficiency_ratios(layer_type, mapper) for mapper in ("optimal", "zigzag"))
        turned = [str(size) for size in best if (best[size] > 1.0) != (theirs[size] > 1.0)]
        if best:
            moved = max(abs(theirs[size] / best[size] - 1.0) for size in best)
            what = f"turns at {', '.join(turned)}" if turned else "turns nowhere"
            lines.append(
                f"{layer_type or 'all'} layers: with ZigZag's mapper the ratio of analog to digital efficiency differs "
                f"by up to {percent(moved)}; which is better {what}"
            )
    return "\n".join(lines)
