"""What is printed for people: figures with prefixes, aligned tables, loop nests that are the mapping."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmap as fm
from fastmap import text
from fastmap.comparison import Distribution
from fastmap.dimensions import DIRECTIONS, OPERANDS
from fastmap.exploration import Options, plan_network, search_network
from fastmap.macro import architecture_report
from fastmap.mapping import Constraints
from fastmap.repair_effects import Repair, Repairs, Totals
from fastmap.result import NetworkResult

POWERS = {"Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0} | {
    "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip


def value_of(quantity: str, unit: str) -> float:
    """The inverse of ``text.quantity``."""
    found = re.fullmatch(rf"(-?[\d.e+-]+) ([YZEPTGMkmunpfazy]?){re.escape(unit)}", quantity)
    assert found, quantity
    return float(found[1]) * 10.0 ** POWERS[found[2]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 J"),
        (1, "1.000 J"),
        (1234.5, "1.234 kJ"),
        (12.346e-6, "12.35 uJ"),
        (999.96e-9, "1.000 uJ"),
        (999.94e-9, "999.9 nJ"),
        (1e3, "1.000 kJ"),
        (1e-3, "1.000 mJ"),
        (1e-21, "1.000 zJ"),
        (3.1e24, "3.100 YJ"),
        (-2.5e-9, "-2.500 nJ"),
        (float("inf"), "inf J"),
    ],
)
def test_quantity(value: float, expected: str) -> None:
    assert text.quantity(value, "J") == expected


@given(st.floats(1e-24, 9.99e26) | st.integers(-23, 26).map(lambda power: 10.0**power))
def test_quantity_keeps_four_digits(value: float) -> None:
    printed = text.quantity(value, "J")
    assert value_of(printed, "J") == pytest.approx(value, rel=5.1e-4)
    digits = printed.split()[0].replace(".", "")
    assert len(digits) == 4
    assert 1 <= float(printed.split()[0]) < 1000


def test_units() -> None:
    assert text.energy(1e6) == "1.000 uJ"
    assert text.duration(1500.0) == "1.500 us"
    assert text.delay_product(1e9) == "1.000 pJ s"


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1, "100 %"),
        (0.99961, "100 %"),
        (0.25, "25 %"),
        (0.12345, "12.3 %"),
        (0, "0 %"),
        (6.25e-4, "0.0625 %"),
        (3, "300 %"),
    ],
)
def test_percent(share: float, expected: str) -> None:
    assert text.percent(share) == expected


# ------------------------------------------------------------------------------------------------------------ tables

CELL = st.text("ab 1é漢", max_size=12).map(str.strip)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[CELL] * n), max_size=5)), st.data())
def test_columns_are_aligned(rows: list[tuple[str, ...]], data: st.DataObject) -> None:
    count = len(rows[0]) if rows else 2
    left = [True, *data.draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1))]
    header = tuple(f"{'<' if flush and i else ''}head{i}" for i, flush in enumerate(left))
    lines = text.table(header, rows).split("\n")
    assert len(lines) == len(rows) + 2
    rule = lines[1]
    spans = [match.span() for match in re.finditer("-+", rule)]
    assert len(spans) == count
    for line, cells in zip([lines[0], *lines[2:]], [[f"head{i}" for i in range(count)], *rows], strict=True):
        assert line == line.rstrip()
        padded = line.ljust(len(rule))
        assert len(padded) == len(rule)
        for (start, end), cell, flush in zip(spans, cells, left, strict=True):
            width = end - start
            assert padded[start:end] == (cell.ljust(width) if flush else cell.rjust(width))


def test_a_long_last_column_goes_on_below() -> None:
    rows = [("a", "1", "one two three four five six"), ("b", "22", "short")]
    assert text.table(("name", "n", "<what it is"), rows, width=30) == (
        "name   n  what it is\n"
        "----  --  --------------------\n"
        "a      1  one two three four\n"
        "          five six\n"
        "b     22  short"
    )
    whole = text.table(("name", "n", "<what it is"), rows)
    assert "one two three four five six" in whole
    assert text.table(("name", "n", "<what it is"), rows, width=200) == whole
    assert text.table(("name", "n", "<what it is"), rows, width=20) == whole, "too narrow to help"
    assert text.table(("name", "n", "numbers"), rows, width=30).count("\n") == 3, "numbers are not wrapped"


# ---------------------------------------------------------------------------------------------------------- mappings


@pytest.fixture(scope="module")
def evaluations() -> list[tuple[fm.Evaluation, fm.Architecture]]:
    found = []
    for workload, layer, name in (
        ("resnet8", "conv4", "aimc"),
        ("resnet8", "conv4", "dimc_4level"),
        ("ds_cnn", "dw1", "dimc_64x64_4banks"),
        ("ds_cnn", "pw1", "dimc_cellgroups"),
        ("resnet8", "fc", "aimc"),
    ):
        architecture = fm.load_architecture(name)
        constraints = Constraints(max_spatial_mappings=2, loop_factor_limit=5)
        result = fm.search(fm.load_workload(workload)[layer], architecture, constraints=constraints)
        found += [(each, architecture) for each in result.best[:3]]
    return found


def test_the_loop_nest_is_the_mapping(evaluations: list[tuple[fm.Evaluation, fm.Architecture]]) -> None:
    for evaluation, architecture in evaluations:
        mapping = evaluation.mapping
        assert mapping.allocation is not None
        temporal: list[tuple[str, int]] = []
        spatial: dict[str, dict[str, int]] = {}
        counts = {operand: dict.fromkeys(architecture.chain(operand), 0) for operand in OPERANDS}
        names = [memory.name for memory in architecture.memories]
        for depth, line in enumerate(text.loop_nest(mapping, architecture).split("\n")[2:]):
            loop = re.fullmatch(r"( *)for (\w+) in 0\.\.(\d+) +(\S+) +(\S+) +(\S+)", line)
            if loop:
                assert len(loop[1]) == 2 * depth
                temporal.insert(0, (loop[2], int(loop[3]) + 1))
                for operand, memory in zip(OPERANDS, loop.groups()[3:], strict=True):
                    counts[operand][names.index(memory)] += 1
            else:
                unrolled = re.fullmatch(r" *parallel (\w+) in 0\.\.(\d+) on (\S+)", line)
                assert unrolled, line
                spatial.setdefault(unrolled[3], {})[unrolled[1]] = int(unrolled[2]) + 1
        assert tuple(temporal) == mapping.temporal
        assert spatial == mapping.spatial.unrolling
        for operand in OPERANDS:
            cuts, below = [], 0
            for memory in architecture.chain(operand):
                below += counts[operand][memory]
                cuts.append(below)
            assert tuple(cuts) == mapping.allocation[operand]


def test_the_short_forms_are_the_mapping(evaluations: list[tuple[fm.Evaluation, fm.Architecture]]) -> None:
    def product(loops: Any) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for dim, size in loops:
            sizes[dim] = sizes.get(dim, 1) * int(size)
        return sizes

    for evaluation, _ in evaluations:
        nest = text.nest(evaluation.mapping.temporal)
        loops = [] if nest == "none" else [re.fullmatch(r"([A-Z]+)(\d+)", part).groups() for part in nest.split()]  # type: ignore[union-attr]
        assert product(loops) == product(evaluation.mapping.temporal)
        assert all(one[0] != other[0] for one, other in itertools.pairwise(loops))
        spatial = {
            name: {dim: int(size) for dim, size in re.findall(r"([A-Z]+)(\d+)", factors)}
            for name, factors in (part.split(": ") for part in text.spatial(evaluation.mapping.spatial).split(", "))
        }
        assert spatial == evaluation.mapping.spatial.unrolling


def test_nothing_unrolled_and_no_loops() -> None:
    assert text.spatial(fm.SpatialMapping(unrolling={})) == "none"
    assert text.nest(()) == "none"
    assert text.nest([("K", 2), ("K", 3), ("C", 5), ("K", 7)]) == "K6 C5 K7"


def test_breakdowns_add_up(evaluations: list[tuple[fm.Evaluation, fm.Architecture]]) -> None:
    for evaluation, _ in evaluations:
        rows = [re.split("  +", line) for line in text.energy_table(evaluation).split("\n")[2:]]
        total = sum(value_of(row[1], "J") for row in rows)
        assert total == pytest.approx(evaluation.energy_pj.total * 1e-12, rel=5e-3)
        for row in rows:
            if not row[0].startswith("array"):
                parts = sum(0.0 if part == "-" else value_of(part, "J") for part in row[2 : 2 + len(DIRECTIONS)])
                assert parts == pytest.approx(value_of(row[1], "J"), rel=5e-3)
        cycles = dict(re.findall(r"^(\S.*?)  +([\d,]+)$", text.latency_table(evaluation), re.MULTILINE))
        shown = {name: int(value.replace(",", "")) for name, value in cycles.items()}
        latency = evaluation.latency_cycles
        assert shown["total"] == round(latency.total)
        parts = shown["as mapped"] + shown["stall"] + shown["first loading"] + shown["last off-loading"]
        assert parts == pytest.approx(latency.total, abs=2.5)


def test_figures_and_explain(evaluations: list[tuple[fm.Evaluation, fm.Architecture]]) -> None:
    evaluation, architecture = evaluations[0]
    figures = text.figures(evaluation)
    assert figures.startswith("conv4 on aimc\n")
    assert text.energy(evaluation.energy_pj.total) in figures
    assert text.figures(evaluation, ["conv9"]).startswith("conv4 (and conv9) on aimc\n")
    lines = [re.fullmatch(r"  (\w+(?: \w+)?)(  +)\S.*", line) for line in figures.split("\n")[1:]]
    assert [line[1] for line in lines if line] == ["energy", "latency", "EDP", "area", "array use"]
    assert len({line.end(2) for line in lines if line}) == 1, "the values stand below each other"
    explained = text.explain(evaluation, architecture)
    for part in (figures, text.loop_nest(evaluation.mapping, architecture), text.energy_table(evaluation)):
        assert part in explained


HEADER = "layer energy cycles EDP array use 2nd best spatial mapping loop nest, innermost first"


def test_a_network() -> None:
    constraints = Constraints(max_spatial_mappings=2, loop_factor_limit=4)
    plan = plan_network(fm.load_workload("ds_cnn"), fm.load_architecture("aimc"), constraints)
    result = search_network(plan)
    title, header, _, *rows, total, effort = text.network(result, "edp").split("\n")
    assert title == "ds_cnn on aimc, best EDP of each layer"
    assert header.split() == HEADER.replace("2nd best ", "").split(), "only one is known"
    assert [row.split()[0] for row in rows] == list(result.results)
    assert text.energy(result.totals["energy_pj"]) in total
    covered = rf"proven optimal: {re.escape(f'{plan.size:.3g}')} mappings covered, [\d,]+ costed"
    assert re.fullmatch(rf"{covered} in \d+\.\d\d s on \d+ threads?", effort), "identical layers once"
    assert "stopped early" not in text.network(result, "edp")
    narrow = text.network(result, "edp", width=100)
    assert narrow.split("\n")[0] == title

    result = search_network(plan, Options(strategy="exhaustive"))
    _, header, _, *rows, total, effort = text.network(result, "edp").split("\n")
    assert header.split() == HEADER.split()
    assert all(re.search(r" (\+[\d.]+ %|-) ", row) for row in rows)
    assert re.fullmatch(rf"{plan.size:,} mappings covered in \d+\.\d\d s on \d+ threads?", effort)


def test_a_network_s_fronts() -> None:
    workload = fm.load_workload("resnet8")
    chosen = [workload["conv7"], workload["fc"]]
    plan = plan_network(workload, fm.load_architecture("aimc"), layers=chosen)
    result = search_network(plan, Options(objective="pareto"))
    title, _, _, *rows, effort = text.network(result, "pareto").split("\n")
    assert title == "resnet8 on aimc, Pareto front of energy and latency of each layer"
    points = [(name if not number else "", each) for name, found in result for number, each in enumerate(found.pareto)]
    assert len(points) > len(result.results), "a front of several points"
    for row, (name, each) in zip(rows, points, strict=True):
        assert re.match(rf"{name} .* {each.latency_cycles.total:,.0f} ", row)
    assert effort.startswith("proven optimal: ")


def test_what_is_not_proven_says_so() -> None:
    plan = plan_network(fm.load_workload("resnet8"), fm.load_architecture("aimc"), Constraints(max_spatial_mappings=3))
    found = search_network(plan).results["conv1"]
    assert text.unproven(found) == ""
    stopped = replace(found, complete=False, lower_bound=found.value(0) / 1.25)
    assert text.unproven(stopped) == "  (within 25 % of the optimum)"
    network = NetworkResult("resnet8", found.architecture, {"conv1": stopped})
    assert "innermost" in text.network(network, "edp")
    assert text.network(network, "edp").split("\n")[3].endswith("  (within 25 % of the optimum)")
    assert text.effort(network).startswith("within 25 % of the optimum: ")
    assert text.unproven(replace(found, complete=False, lower_bound=found.value(0))) == ""
    unknown = replace(found, complete=False, lower_bound=None)
    assert text.unproven(unknown) == "  (stopped early)"
    assert text.effort(NetworkResult("resnet8", found.architecture, {"conv1": unknown})).startswith("nothing proven: ")


def test_a_macro() -> None:
    report = architecture_report(fm.load_architecture("aimc"))
    title, figures, empty, header, _, *rows = text.macro(report, "aimc").split("\n")
    assert title == "aimc (zigzag model)"
    assert f"{report.tops_per_watt:.4g} TOPS/W" in figures
    assert empty == ""
    assert re.split("  +", header) == ["component", "pJ per cycle", "clock, ns", "area, mm2"]
    shown = {row.split()[0]: row.split()[1:] for row in rows}
    assert list(shown)[-1] == "total"
    for column, data in enumerate((report.energy_per_cycle_pj, report.clock_ns, report.area_mm2)):
        for name, values in shown.items():
            expected = data.get(name, 0.0)
            assert (0.0 if values[column] == "-" else float(values[column])) == pytest.approx(expected, rel=1e-4)


# -------------------------------------------------------------------------------------------- comparisons and repairs


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50 %"), (0.99, "99 %"), (0.9987, "99.87 %"), (0.99999, "99.9990 %"), (1.0, "100 %"), (0.0, "0 %")],
)
def test_only_all_of_it_is_a_hundred_percent(share: float, expected: str) -> None:
    assert text.most(share) == expected


def test_changes_have_a_sign() -> None:
    assert [text.relative(change) for change in (0.25, -0.25, 0.0)] == ["+25 %", "-25 %", "-"]


def test_values_of_objectives() -> None:
    assert text.objective_value(1e6, "energy") == "1.000 uJ"
    assert text.objective_value(12345.0, "latency") == "12,345 cycles"
    assert text.objective_value(1e9, "edp") == "1.000 pJ s"
    assert [text.goal(each) for each in ("energy", "latency", "edp", "ed2p")] == ["energy", "latency", "EDP", "ED2P"]


@pytest.mark.parametrize(
    ("shares", "confidence", "expected"),
    [
        ((0.0, 0.0, 0.0), None, "none of all 12,000 mappings that fit is better"),
        ((0.25, 0.25, 0.25), None, "25 % of all 12,000 mappings that fit are better"),
        ((0.25, 0.24, 0.26), None, "24 % to 26 % of all 12,000 mappings that fit are better"),
        (
            (0.25, 0.24, 0.26),
            0.95,
            "about 25 % of all mappings that fit are better (24 % to 26 % with 95 % confidence: 12,000 drawn at random"
            ", of a space of 3e+30)",
        ),
        (
            (0.0, 0.0, 0.0004),
            0.95,
            "at most 0.04 % of all mappings that fit are better (with 95 % confidence: none of 12,000 drawn at random, "
            "of a space of 3e+30)",
        ),
    ],
)
def test_a_place_among_all_mappings(
    shares: tuple[float, float, float], confidence: float | None, expected: str
) -> None:
    method = "enumeration" if confidence is None else "sample"
    assert text.distribution(Distribution(method, *shares, confidence, 12_000, 3 * 10**30)) == expected


def test_repairs_that_act_together() -> None:
    def repair(name: str, applies: bool, pj: float) -> Repair:
        return Repair(name, f"what {name} does", applies, Totals(pj, 0.0), Totals(pj, 0.0), {})

    found = Repairs(
        (repair("one", True, 10.0), repair("two", True, 20.0), repair("three", False, 0.0)),
        Totals(1000.0, 500.0),
        Totals(1025.0, 500.0),
    )
    rows = [re.split("  +", line) for line in text.repairs(found).split("\n")]
    assert rows[0] == ["repairs", "energy", "cycles", "what each changes alone"]
    assert rows[2:] == [
        ["ZigZag's numbers", "1.000 nJ", "500"],
        ["one", "+10.00 pJ", "-", "what one does"],
        ["two", "+20.00 pJ", "-", "what two does"],
        ["acting together", "-5.000 pJ", "-", "what the single changes leave of the difference"],
        ["corrected", "1.025 nJ", "500"],
    ]


def test_readable_time() -> None:
    assert [text.readable_time(seconds) for seconds in (0.5, 90.0, 7300.0, 4e5, 1e11)] == [
        "less than 1 s",
        "90 s",
        "2 hours",
        "5 days",
        "3,169 years",
    ]
