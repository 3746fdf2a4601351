"""What the command line prints for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastmap.dimensions import DIRECTIONS, OPERANDS

if TYPE_CHECKING:
    from fastmap.architecture import Architecture
    from fastmap.evaluation import Evaluation
    from fastmap.macro import MacroReport
    from fastmap.mapping import Mapping, SpatialMapping
    from fastmap.result import NetworkResult

PREFIXES = (
    (1e24, "Y"),
    (1e21, "Z"),
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
)
SMALL_PREFIXES = ((1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def quantity(value: float, unit: str) -> str:
    """A value in its base unit with three or four digits and a prefix: 1.234 mJ."""
    for scale, prefix in (*PREFIXES, *SMALL_PREFIXES):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def energy(pj: float) -> str:
    """Energy for a person."""
    return quantity(pj * 1e-12, "J")


def duration(ns: float) -> str:
    """Time for a person."""
    return quantity(ns * 1e-9, "s")


def delay_product(pj_ns: float) -> str:
    """Energy-delay product for a person."""
    return quantity(pj_ns * 1e-21, "Js")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Aligned columns under a header; the first ``left`` columns and those headed in lower case to the left."""
    rows = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in (tuple(header), *rows)) for i in range(len(header))]
    flush_left = [i < left or name.startswith("<") for i, name in enumerate(header)]
    names = [name.removeprefix("<") for name in header]

    def line(cells: Sequence[str]) -> str:
        parts = [c.ljust(w) if f else c.rjust(w) for c, w, f in zip(cells, widths, flush_left, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(names), "  ".join("-" * width for width in widths), *(line(row) for row in rows)])


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


def network(result: NetworkResult, objective: str) -> str:
    """One table: the best mapping of each layer, and the totals."""
    rows = []
    for name, found in result:
        best = found.best[0]
        gap = found.gap_to_second
        rows.append(
            (
                name,
                energy(best.energy_pj.total),
                f"{best.latency_cycles.total:,.0f}",
                delay_product(best.edp_pj_ns),
                f"{100 * best.utilization.array:.1f} %",
                "-" if gap is None else f"+{100 * gap:.2g} %",
                spatial(best.mapping.spatial),
                nest(best.mapping.temporal) + ("" if found.complete else "  (stopped early)"),
            )
        )
    totals = result.totals
    rows.append(
        (
            "total",
            energy(totals["energy_pj"]),
            f"{totals['latency_cycles']:,.0f}",
            delay_product(totals["edp_pj_ns"]),
            "",
            "",
            f"({duration(totals['latency_ns'])})",
            "",
        )
    )
    header = (
        "layer",
        "energy",
        "cycles",
        "EDP",
        "array",
        "2nd best",
        "<spatial mapping",
        "<loop nest, innermost first",
    )
    title = f"{result.workload} on {result.architecture.name}, best {objective} of each layer"
    return f"{title}\n{table(header, rows)}"


def explain(evaluation: Evaluation, architecture: Architecture) -> str:
    """The loop nest with each operand's memory, and where energy and cycles go."""
    return "\n\n".join(
        (
            figures(evaluation),
            loop_nest(evaluation.mapping, architecture),
            energy_table(evaluation),
            latency_table(evaluation),
        )
    )


def figures(evaluation: Evaluation) -> str:
    """The main figures, a line each."""
    area = evaluation.area_mm2
    lines = (
        ("energy", f"{energy(evaluation.energy_pj.total)} ({energy(evaluation.energy_pj.mac)} in the array)"),
        (
            "latency",
            f"{evaluation.latency_cycles.total:,.0f} cycles of {evaluation.clock_ns:.4g} ns = {duration(evaluation.latency_ns)}",
        ),
        ("EDP", delay_product(evaluation.edp_pj_ns)),
        ("area", f"{area.total:.4g} mm2 ({area.imc:.4g} mm2 array, {area.memory:.4g} mm2 memories)"),
        ("array use", f"{100 * evaluation.utilization.array:.2f} %"),
    )
    title = f"{evaluation.layer} on {evaluation.architecture}"
    return "\n".join([title, *(f"  {name:<10}{value}" for name, value in lines)])


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
            rows.append((f"{operand} in {level['memory']}", energy(total), *parts, f"{100 * share:.4g} %"))
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


def macro(report: MacroReport, name: str) -> str:
    """Figures of merit of a macro with breakdowns."""
    data: dict[str, Any] = report.to_dict()
    parts = [
        f"{name} ({data['variant']} model)",
        f"  {quantity(data['tops'] * 1e12, 'OP/s')}, {data['tops_per_watt']:.4g} TOPS/W, "
        f"{data['tops_per_mm2']:.4g} TOPS/mm2, {data['energy_per_mac_fj']:.4g} fJ per MAC, "
        f"{data['macs_per_cycle']:g} MACs per cycle",
        "",
    ]
    columns = (("energy_per_cycle_pj", "pJ per cycle"), ("clock_ns", "clock, ns"), ("area_mm2", "area, mm2"))
    names = dict.fromkeys(component for key, _ in columns for component in data[key] if component != "total")
    rows = [
        (component, *(f"{data[key][component]:.5g}" if data[key].get(component) else "-" for key, _ in columns))
        for component in (*names, "total")
        if any(data[key].get(component) for key, _ in columns)
    ]
    return "\n".join(parts) + table(("component", *(title for _, title in columns)), rows)
