"""Booth encoding and pipeline registers of the generic macro: against the authors' scripts of the chips that have them
(see data/paper/README.md), against formulas worked out here, and in searches.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import fastmap as fm
import fastmap.kernels.macro as kernels
from fastmap import zoo
from fastmap.cli import main
from fastmap.errors import InputError
from fastmap.evaluation import architecture_area_mm2
from fastmap.kernels.macro import TECHNOLOGY_28NM
from fastmap.macro import VARIANTS, architecture_report, macro_report
from fastmap.peak import peak_point, peak_points

CHIPS: dict[str, Any] = json.loads(
    gzip.decompress((Path(__file__).parent / "data" / "paper" / "validation.json.gz").read_bytes())
)

# Gates at 28 nm and 0.9 V: a NAND2 is 0.7 fF, 0.614 um2 and 0.0478 ns.
GATE_PJ = 0.7e-3 * 0.9**2
GATE_MM2 = 0.614e-6
GATE_NS = 0.0478
TO_SUM, TO_CARRY, RIPPLE = 4.8 * GATE_NS, 4.4 * GATE_NS, 2 * GATE_NS

DIGITAL: dict[str, Any] = {
    "kind": "digital",
    "columns": 6,
    "rows": 32,
    "banks": 4,
    "activation_bits": 8,
    "weight_bits": 8,
    "bits_per_cycle": 2,
}
BOOTH = {**DIGITAL, "booth_encoding": True}
ANALOG = {**DIGITAL, "kind": "analog", "adc_bits": 5}


def tree_adders(inputs: int, bits: int, used: int) -> tuple[int, int]:
    """Full adders of a tree with both operands and with one, counted node by node."""
    if inputs == 1 or used == 0:
        return 0, 0
    half = inputs // 2
    left, right = tree_adders(half, bits, min(used, half)), tree_adders(half, bits, max(used - half, 0))
    width = bits + int(math.log2(half))
    both, one = (width, 0) if used > half else (0, width)
    return left[0] + right[0] + both, left[1] + right[1] + one


# Against the authors' scripts


@pytest.mark.parametrize("variant", VARIANTS)
def test_multipliers_and_trees_of_dimc1(variant: str) -> None:
    theirs = CHIPS["DIMC1"]
    ours = architecture_report(fm.load_architecture("dimc1"), variant)
    per_mac = 1000 / ours.macs_per_cycle
    assert ours.energy_per_cycle_pj["mults"] * per_mac == pytest.approx(theirs["energy_fJ_per_MAC"]["mults"])
    assert ours.energy_per_cycle_pj["adders_regular"] * per_mac == pytest.approx(
        theirs["energy_fJ_per_MAC"]["adder_tree"]
    )
    assert ours.clock_ns["adders_regular"] == pytest.approx(theirs["delay_ns"]["tree"])
    assert ours.clock_ns["adders_pv"] == ours.area_mm2["adders_pv"] == ours.energy_per_cycle_pj["adders_pv"] == 0
    assert ours.area_mm2["mults"] == pytest.approx(theirs["area_mm2"]["mults"])
    float_mm2 = 64 * 5 * 32 * 7.8 * GATE_MM2  # five adders of 32 bits a bank, for floating point
    assert ours.area_mm2["adders_regular"] == pytest.approx(theirs["area_mm2"]["adder_tree"] - float_mm2)


def test_pipeline_of_aimc2() -> None:
    """Its two transfers a cycle through 16 converters are four cycles through 8 here."""
    theirs = CHIPS["AIMC2"]
    ours = architecture_report(fm.load_architecture("aimc2"))
    registers_fj = ours.energy_per_cycle_pj["pipeline_registers"] / ours.macs_per_cycle * 1000
    assert registers_fj == pytest.approx(theirs["energy_fJ_per_MAC"]["regs_pipeline"])
    assert 2 * ours.area_mm2["pipeline_registers"] == pytest.approx(theirs["area_mm2"]["regs_pipeline"])
    first, second = ours.stages_ns
    assert (list(first), list(second)) == (["mults", "adcs"], ["adders_pv", "accumulators"])
    assert 2 * sum(first.values()) == pytest.approx(theirs["delay_ns"]["path1_2x_mult_adc"])
    assert ours.clock_ns["total"] == sum(first.values()) > sum(second.values())


def test_pipeline_of_dimc2() -> None:
    """Registers of 32 products; the authors count the energy of one."""
    theirs = CHIPS["DIMC2"]
    ours = architecture_report(fm.load_architecture("dimc2"))
    registers_fj = ours.energy_per_cycle_pj["pipeline_registers"] / ours.macs_per_cycle * 1000
    assert registers_fj == pytest.approx(32 * theirs["energy_fJ_per_MAC"]["regs_pipeline"])
    assert ours.area_mm2["pipeline_registers"] == pytest.approx(theirs["area_mm2"]["regs_pipeline"])
    assert ours.stages_ns[0] == {"mults": pytest.approx(theirs["delay_ns"]["stage1_mult"])}


# Against formulas worked out here


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rows", "weight_bits", "activation_bits"), [(32, 8, 8), (128, 4, 16), (2, 5, 2)])
def test_booth_encoding(variant: str, rows: int, weight_bits: int, activation_bits: int) -> None:
    """Everything of a macro with one digit a cycle, at 0.3 x 0.6 of the switching."""
    changes = {"rows": rows, "weight_bits": weight_bits, "activation_bits": activation_bits}
    ours = macro_report(**{**BOOTH, **changes}, variant=variant, input_toggle_rate=0.3, weight_density=0.6)
    columns, levels = 6 * 4, int(math.log2(rows))
    adders, _ = tree_adders(rows, weight_bits + 1, rows)
    accumulators = (weight_bits + activation_bits + levels) * columns
    serial = activation_bits > 2

    energy = ours.energy_per_cycle_pj
    assert energy["mults"] == pytest.approx(0.5 * GATE_PJ * weight_bits * rows * columns * 0.3 * 0.6)
    assert energy["adders_regular"] == pytest.approx(6 * GATE_PJ * adders * columns * 0.3 * 0.6)
    assert energy["accumulators"] == pytest.approx(9 * GATE_PJ * accumulators * serial)
    assert energy["total"] == pytest.approx(energy["mults"] + energy["adders_regular"] + energy["accumulators"])

    area = ours.area_mm2
    assert area["mults"] == pytest.approx(GATE_MM2 * weight_bits * rows * columns)
    assert area["adders_regular"] == pytest.approx(7.8 * GATE_MM2 * adders * columns)
    per_bit = 13.8 if serial else 6 if variant == "paper" else 0
    assert area["accumulators"] == pytest.approx(per_bit * GATE_MM2 * accumulators)

    clock = ours.clock_ns
    tree_ns = (levels - 1) * TO_SUM + TO_CARRY + (weight_bits + 1 + levels - 2) * RIPPLE
    carries = activation_bits - 1  # beyond the tree's output, which the digit widened
    accumulator_ns = {
        "zigzag": TO_CARRY + (carries - 1) * RIPPLE,
        "zigzag-imc": TO_CARRY + carries * RIPPLE,
        "paper": TO_SUM + carries * RIPPLE,
    }
    assert clock["adders_regular"] == pytest.approx(tree_ns)
    assert clock["accumulators"] == pytest.approx(accumulator_ns[variant] * serial)
    assert clock["total"] == pytest.approx(GATE_NS + tree_ns + clock["accumulators"])
    assert ours.macs_per_cycle == rows * columns * 2 / activation_bits


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
@pytest.mark.parametrize("used", [1, 11, 16, 32])
def test_booth_encoding_in_part(variant: int, used: int) -> None:
    """Eleven of 32 rows, 5 of 6 columns: trees of 9 bits at work in part, multipliers of all rows or of these."""
    macro = kernels.Macro(False, 6, 32, 1, 8, 8, 2, 0.0, 1, 0.0, booth_encoding=True)
    energy = kernels.array_energy_pj(macro, TECHNOLOGY_28NM, variant, used, used, 5, 10.0, 0.0)
    both, one = tree_adders(32, 9, used)
    assert energy.adders_regular == pytest.approx((6 * both + 3 * one) * GATE_PJ * 5 * 40)
    rows = 32 if VARIANTS[variant] == "zigzag" else used
    assert energy.mults == pytest.approx(0.5 * GATE_PJ * 8 * 6 * rows * 40)


#: Macro, where registers stand, and how many in each column.
REGISTERS = [
    (ANALOG, ["adcs"], 8 * 5),
    (ANALOG, ["adcs", "adders_pv"], 8 * 5 + (5 + 8)),
    ({**ANALOG, "weight_bits": 1}, ["adcs"], 5),
    ({**ANALOG, "adc_bits": 4.5}, ["adders_pv"], 4.5 + 8),
    (DIGITAL, ["mults"], 32 * 2 * 8),
    (DIGITAL, ["adders_regular"], 2 * (8 + 5)),
    (DIGITAL, ["mults", "adders_regular", "adders_pv"], 32 * 2 * 8 + 2 * 13 + (13 + 2)),
    (BOOTH, ["mults"], 32 * 9),
    (BOOTH, ["adders_regular"], 9 + 5),
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("macro", "after", "bits"), REGISTERS)
def test_pipeline_registers(macro: dict[str, Any], after: list[str], bits: float, variant: str) -> None:
    """Every register is written in every cycle, whatever switches; nothing else changes but the clock."""
    shares = {"input_toggle_rate": 0.5, "weight_density": 0.5}
    plain = macro_report(**macro, variant=variant, **shares)
    piped = macro_report(**macro, variant=variant, **shares, pipeline_after=after)
    assert "pipeline_registers" not in plain.energy_per_cycle_pj | plain.area_mm2
    for ours, theirs, each in (
        (piped.energy_per_cycle_pj, plain.energy_per_cycle_pj, 3 * GATE_PJ),
        (piped.area_mm2, plain.area_mm2, 6 * GATE_MM2),
    ):
        registers = each * bits * 6 * 4
        assert ours["pipeline_registers"] == pytest.approx(registers)
        assert ours["total"] == pytest.approx(theirs["total"] + registers)
        assert {**ours, "total": 0} == {**theirs, "pipeline_registers": ours["pipeline_registers"], "total": 0}

    delays = {name: plain.clock_ns[name] for name in ("mults", "adcs", "adders_regular", "adders_pv", "accumulators")}
    stages, names = [0.0], list(delays)
    for name in names:
        stages[-1] += delays[name]
        if name in after:
            stages.append(0.0)
    assert [sum(stage.values()) for stage in piped.stages_ns] == pytest.approx(stages)
    assert {name: ns for stage in piped.stages_ns for name, ns in stage.items()} == {
        k: v for k, v in delays.items() if v
    }
    assert piped.clock_ns == {**plain.clock_ns, "total": max(stages)}
    assert plain.stages_ns == ({name: delays[name] for name in names if delays[name]},)
    assert piped.tops == pytest.approx(plain.tops * plain.clock_ns["total"] / max(stages))


def test_registers_run_in_the_columns_in_use() -> None:
    macro = kernels.Macro(False, 6, 32, 1, 8, 8, 1, 0.0, 1, 0.0, pipeline=kernels.AFTER_MULTS)
    energies = [kernels.array_energy_pj(macro, TECHNOLOGY_28NM, 1, rows, rows, 3, 10.0, 0.0) for rows in (3, 32)]
    assert [each.pipeline_registers for each in energies] == pytest.approx([3 * GATE_PJ * 32 * 8 * 3 * 80] * 2)


def test_no_options_are_the_defaults() -> None:
    for macro in (ANALOG, DIGITAL):
        assert macro_report(**macro, booth_encoding=False, pipeline_after=[]) == macro_report(**macro)


# Peaks


def test_peaks_with_options() -> None:
    """Of both kinds at once, each macro has those options that are for its kind."""
    analog, digital = peak_points(sizes=(64,), booth_encoding=True, pipeline_after=["adcs", "mults"])
    assert (analog.booth_encoding, analog.pipeline_after) == (False, ("adcs",))
    assert (digital.booth_encoding, digital.pipeline_after, digital.bits_per_cycle) == (True, ("mults",), 2)
    assert digital == peak_point("digital", 64, bits_per_cycle=2, booth_encoding=True, pipeline_after=["mults"])
    assert analog.macro.clock_ns["total"] < peak_point("analog", 64).macro.clock_ns["total"]
    with pytest.raises(InputError, match="not for an analog one"):
        peak_points(["analog"], sizes=(64,), booth_encoding=True)
    with pytest.raises(InputError, match="can stand after adcs, adders_pv in this macro, not after mults"):
        peak_points(["analog"], sizes=(64,), pipeline_after=["mults"])


# Architectures and searches


def architecture(tmp_path: Path, base: str, **array: Any) -> fm.Architecture:
    data = yaml.safe_load(zoo.text("architecture", base))
    data["array"] |= array
    path = tmp_path / "arch.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return fm.load_architecture(path)


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("dimc", {"bits_per_cycle": 2, "booth_encoding": True, "pipeline_after": ["mults", "adders_regular"]}),
        ("aimc", {"bits_per_cycle": 2, "pipeline_after": ["adcs"]}),
    ],
)
def test_a_search_takes_them(base: str, options: dict[str, Any], tmp_path: Path) -> None:
    """What a layer that fills the array costs there are the macro's own figures, and a search counts the same."""
    chosen = architecture(tmp_path, base, **options, macro_model="paper")
    array = chosen.array
    assert fm.Architecture.model_validate_json(chosen.model_dump_json()) == chosen
    layer = fm.Layer(K=array.columns, C=array.rows, OX=3, OY=5)
    mapping = fm.Mapping.from_dict(
        {"spatial": {"D1": {"K": array.columns}, "D2": {"C": array.rows}}, "temporal": [["OX", 3], ["OY", 5]]}
    )
    found = fm.evaluate(layer, chosen, mapping)
    report = macro_report(
        kind=array.kind,
        columns=array.columns,
        rows=array.rows,
        activation_bits=8,
        weight_bits=8,
        adc_bits=array.adc_bits,
        cells_area_mm2=chosen.cells.area_mm2,
        variant="paper",
        **options,
    )
    assert found.energy_pj.mac * 1000 / layer.macs == pytest.approx(report.energy_per_mac_fj)
    registers_pj = report.energy_per_cycle_pj["pipeline_registers"] / report.macs_per_cycle * layer.macs
    assert found.energy_pj.mac_breakdown["pipeline_registers"] == pytest.approx(registers_pj)
    assert found.clock_ns == pytest.approx(report.clock_ns["total"])
    assert architecture_area_mm2(chosen).imc == pytest.approx(report.area_mm2["total"])

    best = fm.search(layer, chosen, objective="energy").best[0]
    again = fm.evaluate(layer, chosen, best.mapping)
    assert best.energy_pj.total == pytest.approx(again.energy_pj.total, rel=1e-12)
    assert best.energy_pj.total <= found.energy_pj.total * (1 + 1e-12)
    assert sum(again.energy_pj.mac_breakdown.values()) == pytest.approx(again.energy_pj.mac)


ONE_DIGIT = "Booth encoding is for digital macros that take 2 bits_per_cycle, one radix-4 digit, not for "
AFTER = "pipeline registers can stand after "
NO_COMPONENTS = "a plain MAC array has no components that this could change"


@pytest.mark.parametrize(
    ("macro", "options", "sentence"),
    [
        (ANALOG, {"booth_encoding": True}, ONE_DIGIT + "an analog one"),
        ({**DIGITAL, "bits_per_cycle": 4}, {"booth_encoding": True}, ONE_DIGIT + "one that takes 4"),
        (ANALOG, {"pipeline_after": ["mults"]}, AFTER + "adcs, adders_pv in this macro, not after mults"),
        (
            DIGITAL,
            {"pipeline_after": ["adcs"]},
            AFTER + "mults, adders_regular, adders_pv in this macro, not after adcs",
        ),
        (
            {**DIGITAL, "bits_per_cycle": 8},
            {"pipeline_after": ["adders_pv"]},
            AFTER + "mults, adders_regular in this macro, not after adders_pv",
        ),
        (BOOTH, {"pipeline_after": ["adders_pv"]}, AFTER + "mults, adders_regular in this macro, not after adders_pv"),
        (
            {**ANALOG, "weight_bits": 1, "bits_per_cycle": 8},
            {"pipeline_after": ["adcs"]},
            AFTER + "nothing in this macro, not after adcs",
        ),
        (DIGITAL, {"pipeline_after": ["mults", "mults"]}, "pipeline registers can stand once after mults, not twice"),
    ],
)
def test_refused(macro: dict[str, Any], options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    """In the same words of a macro and of an architecture file, which points at the key."""
    with pytest.raises(InputError) as caught:
        macro_report(**macro | options)
    assert str(caught.value) == sentence
    array = {k: v for k, v in (macro | options).items() if k not in ("kind", "columns", "rows", "banks")}
    with pytest.raises(InputError) as caught:
        architecture(tmp_path, "aimc" if macro["kind"] == "analog" else "dimc", **array)
    assert str(caught.value).endswith(f"array.{next(iter(options))}: {sentence}")


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        ({"pipeline_after": ["adders"]}, "must be one of mults, adcs, adders_regular, adders_pv, not adders"),
        ({"pipeline_after": "mults"}, "array.pipeline_after: must be a list, not mults"),
        ({"booth_encoding": "perhaps"}, "array.booth_encoding: must be true or false, not perhaps"),
        ({"kind": "mac", "booth_encoding": True}, "array.booth_encoding: " + NO_COMPONENTS),
        ({"kind": "mac", "pipeline_after": ["mults"]}, "array.pipeline_after: " + NO_COMPONENTS),
    ],
)
def test_refused_in_files(array: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        architecture(tmp_path, "dimc", **array)
    assert sentence in str(caught.value)


# The commands


def test_macro_switches_them(cli: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    chosen, parted = fm.load_architecture("dimc1"), fm.load_architecture("dimc2")
    shown = json.loads(cli("macro", "dimc1", "--no-booth-encoding", "--pipeline-after", "adders_pv", "--json"))
    expected = architecture_report(chosen, booth_encoding=False, pipeline_after=["adders_pv"])
    assert shown["dimc1"] == json.loads(json.dumps(expected.to_dict()))
    assert json.loads(cli("macro", "dimc2", "--json", "--pipeline-after"))["dimc2"] == json.loads(
        json.dumps(architecture_report(parted, pipeline_after=[]).to_dict())
    )
    printed = cli("macro", "dimc2")
    assert "pipeline_registers" in printed
    assert "adders_regular + accumulators" in printed
    assert "pipeline" not in cli("macro", "dimc1")
    assert main(("macro", "aimc", "--booth-encoding")) == 2
    assert capsys.readouterr().err == f"fastmap: {ONE_DIGIT}an analog one\n"


def test_peak_takes_them(cli: Callable[..., str], tmp_path: Path) -> None:
    options = ("--size", "64", "--booth-encoding", "--pipeline-after", "adcs", "adders_regular")
    printed = cli("peak", *options)
    assert "8x8, 2 a cycle, Booth, 2 stages" in printed
    points = json.loads(cli("peak", *options, "--json"))["points"]
    assert [point["pipeline_after"] for point in points] == [["adcs"], ["adders_regular"]]
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    cli("peak", *options, "--picture", str(tmp_path / "peak.svg"))
    assert "pipeline registers" in (tmp_path / "peak.svg").read_text(encoding="utf-8")
