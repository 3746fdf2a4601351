"""The macro model against its authors' numbers (see data/macro/README.md), its properties, and its refusals."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmap.kernels.macro as model
from fastmap.errors import InputError
from fastmap.kernels._jit import kernel
from fastmap.kernels.macro import TECHNOLOGY_28NM, VARIANT_PAPER, VARIANT_ZIGZAG, VARIANT_ZIGZAG_IMC, Macro
from fastmap.macro import VARIANTS, macro_report

DATA = Path(__file__).parent / "data" / "macro"
TOLERANCE = 1e-9

#: Our name of each component -> the references' names.
ENERGY_NAMES = {
    "local_bl_precharging": ("local_bl_precharging", "precharging"),
    "dacs": ("dacs",),
    "adcs": ("adcs",),
    "mults": ("mults",),
    "analog_bl_addition": ("analog_bl_addition", "analog_bitlines"),
    "adders_regular": ("adders_regular", "adders"),
    "adders_pv": ("adders_pv",),
    "accumulators": ("accumulators",),
}
GATE_NAMES = {name: ENERGY_NAMES[name] for name in ("adcs", "mults", "adders_regular", "adders_pv", "accumulators")}
AREA_NAMES = {"cells": ("cells",), **GATE_NAMES}


def load(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


GOLDEN = {
    "zigzag": load("golden_zigzag.json.gz"),
    "zigzag-imc": load("golden_zigzag_imc.json.gz"),
}
LAYERS = {
    "zigzag": load("layers_zigzag.json.gz"),
    "zigzag-imc": load("layers_zigzag_imc.json.gz"),
}
CODES = {"zigzag": VARIANT_ZIGZAG, "zigzag-imc": VARIANT_ZIGZAG_IMC, "paper": VARIANT_PAPER}


def plain(function: Any) -> Any:
    """The Python source of a kernel, also when the JIT is disabled."""
    return getattr(function, "py_func", function)


def golden_vectors(*, refused: bool = False) -> list[Any]:
    found = []
    for variant, file in GOLDEN.items():
        for index, vector in enumerate(file["vectors"]):
            if ("error" in vector) == refused:
                found.append(pytest.param(variant, vector, id=f"{variant}-{index}"))
    return found


def parameters_of(vector: dict[str, Any]) -> dict[str, Any]:
    given_ = vector["params"]
    parameters = {
        "kind": given_["kind"],
        "columns": given_["D1"],
        "rows": given_["D2"],
        "banks": given_["D3"],
        "activation_bits": given_["act_bits"],
        "weight_bits": given_["weight_bits"],
        "bits_per_cycle": given_["bits_per_cycle"],
        "group_depth": given_["group_depth"],
        "adc_bits": given_["adc_resolution"],
    }
    if "area_breakdown_mm2" in vector:
        positions = given_["D1"] * given_["D2"] * given_["D3"]
        parameters["cells_area_mm2"] = vector["area_breakdown_mm2"]["cells"] / positions
    return parameters


def assert_breakdown(ours: dict[str, float], reference: dict[str, float], names: dict[str, tuple[str, ...]]) -> None:
    """Each component agrees, a component that the reference lacks is 0, and we miss none that it has."""
    known = {alias for aliases in names.values() for alias in aliases}
    assert all(value == 0 for name, value in reference.items() if name not in known)
    for name, aliases in names.items():
        expected = next((reference[alias] for alias in aliases if alias in reference), 0.0)
        assert ours[name] == pytest.approx(expected, rel=TOLERANCE, abs=0), name


# Against the references


def test_number_of_vectors() -> None:
    assert (len(golden_vectors()), len(golden_vectors(refused=True))) == (93 + 90, 6)
    assert (len(LAYERS["zigzag"]["layers"]), len(LAYERS["zigzag-imc"]["layers"])) == (502, 20)


@pytest.mark.parametrize(("variant", "vector"), golden_vectors())
def test_golden(variant: str, vector: dict[str, Any]) -> None:
    report = macro_report(**parameters_of(vector), variant=variant, technology=TECHNOLOGY_28NM)
    assert_breakdown(report.energy_per_cycle_pj, vector["peak_energy_breakdown_pJ"], ENERGY_NAMES)
    assert_breakdown(report.clock_ns, vector["delay_breakdown_ns"], GATE_NAMES)
    assert_breakdown(report.area_mm2, vector["area_breakdown_mm2"], AREA_NAMES)
    ours = [
        report.energy_per_cycle_pj["total"],
        report.clock_ns["total"],
        report.area_mm2["total"],
        report.tops,
        report.tops_per_watt,
        report.tops_per_mm2,
        2000.0 / report.energy_per_mac_fj,
    ]
    names = ["peak_energy_per_cycle_pJ", "tclk_ns", "area_mm2", "tops", "topsw", "topsmm2", "topsw"]
    assert ours == pytest.approx([vector[name] for name in names], rel=TOLERANCE, abs=0)


@pytest.mark.parametrize(("variant", "vector"), golden_vectors(refused=True))
def test_refused_by_the_reference(variant: str, vector: dict[str, Any]) -> None:
    """What zigzag-imc refuses is refused, except its crash for 1-bit analog weights, where the formula applies."""
    if vector["error"].startswith("UnboundLocalError"):
        ours = macro_report(**parameters_of(vector), variant=variant)
        zigzag = macro_report(**parameters_of(vector))
        ripple_ns = model.carry_to_carry_delay_ns(TECHNOLOGY_28NM)
        assert ours.clock_ns["accumulators"] == pytest.approx(zigzag.clock_ns["accumulators"] + ripple_ns)
        assert ours.area_mm2 == zigzag.area_mm2
    else:
        with pytest.raises(InputError, match=r"must be a power of two|must divide"):
            macro_report(**parameters_of(vector), variant=variant)


@pytest.mark.parametrize("variant", GOLDEN)
def test_technology(variant: str) -> None:
    reference = GOLDEN[variant]["tech"]
    names = {"vdd": "supply_v", "wl_cap": "word_line_cap_pf", "bl_cap": "bit_line_cap_pf"}
    for gate, ours in (("nd2", "nand2"), ("xor2", "xor2"), ("dff", "dff")):
        for quantity, unit in (("cap", "cap_pf"), ("area", "area_mm2"), ("dly", "delay_ns")):
            names[f"{gate}_{quantity}"] = f"{ours}_{unit}"
    compared = 0
    for name, value in reference.items():
        if name in names and hasattr(TECHNOLOGY_28NM, names[name]):
            assert getattr(TECHNOLOGY_28NM, names[name]) == pytest.approx(value, rel=TOLERANCE), name
            compared += 1
    assert compared == len(reference) - 1  # all but the node itself


@pytest.mark.parametrize("variant", GOLDEN)
def test_layers(variant: str) -> None:
    """Array energy of partly filled macros as the references' whole cost models report it."""
    file = LAYERS[variant]
    macros = {name: Macro(**entry["macro"]) for name, entry in file["macros"].items()}
    for layer in file["layers"]:
        energy = model.array_energy_pj(
            macros[layer["macro"]],
            TECHNOLOGY_28NM,
            CODES[variant],
            layer["mapped_rows"],
            layer["adder_rows"],
            layer["mapped_columns"],
            layer["activations"],
            0.0,
        )
        assert_breakdown(energy._asdict(), layer["energy_pj"], ENERGY_NAMES)
        total_pj = model.array_energy_total_pj(energy)
        assert total_pj == pytest.approx(sum(layer["energy_pj"].values()), rel=TOLERANCE)


@pytest.mark.parametrize("variant", GOLDEN)
def test_layer_macros(variant: str) -> None:
    for entry in LAYERS[variant]["macros"].values():
        macro = Macro(**entry["macro"])
        clock = model.clock_ns(macro, TECHNOLOGY_28NM, CODES[variant])
        assert_breakdown(clock._asdict(), entry["clock_ns"], GATE_NAMES)
        assert clock.total == pytest.approx(entry["clock_total_ns"], rel=TOLERANCE)
        assert_breakdown(
            model.area_mm2(macro, TECHNOLOGY_28NM, CODES[variant])._asdict(), entry["area_mm2"], AREA_NAMES
        )


def test_layers_cover_what_full_use_does_not() -> None:
    for variant in GOLDEN:
        file = LAYERS[variant]
        partly = [row for row in file["layers"] if row["mapped_rows"] < file["macros"][row["macro"]]["macro"]["rows"]]
        diagonal = [row for row in file["layers"] if row["mapped_rows"] != row["adder_rows"]]
        kinds = {file["macros"][row["macro"]]["macro"]["is_analog"] for row in partly}
        assert kinds == {True, False}
        assert diagonal


# Properties


@st.composite
def macros(draw: st.DrawFn, *, kind: bool | None = None) -> Macro:
    is_analog = draw(st.booleans()) if kind is None else kind
    booth_encoding = not is_analog and draw(st.booleans())
    serial = 1 if booth_encoding else draw(st.integers(0, 3))
    return Macro(
        is_analog=is_analog,
        columns=draw(st.integers(1, 256)),
        rows=2 ** draw(st.integers(1, 10)),
        banks=draw(st.integers(1, 8)),
        activation_bits=2 ** draw(st.integers(serial, 4)),
        weight_bits=2 ** draw(st.integers(0, 4)),
        bits_per_cycle=2**serial,
        adc_bits=draw(st.floats(1, 12)) if is_analog else 0.0,
        group_depth=draw(st.integers(1, 64)),
        cells_area_mm2=draw(st.floats(0, 1e-3)),
        input_toggle_rate=draw(st.floats(0.1, 1)),
        weight_density=draw(st.floats(0.1, 1)),
        booth_encoding=booth_encoding,
        pipeline=draw(st.integers(0, 7)),
    )


variants = st.sampled_from(list(CODES.values()))
few = settings(max_examples=60, deadline=None)


def tree_pj(inputs: int, bits: int, used: int) -> float:
    """An adder tree node by node: the slow twin of `adder_tree_energy_pj`."""
    if inputs == 1 or used == 0:
        return 0.0
    half = inputs // 2
    width = bits + int(math.log2(half))
    adder_pj = model.full_adder_energy_pj if used > half else model.half_used_adder_energy_pj
    left_pj = tree_pj(half, bits, min(used, half))
    return left_pj + tree_pj(half, bits, max(used - half, 0)) + width * adder_pj(TECHNOLOGY_28NM)


@pytest.mark.parametrize("inputs", [1, 2, 4, 32, 128])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_partly_used_tree(inputs: int, bits: int) -> None:
    energies = [model.adder_tree_energy_pj(TECHNOLOGY_28NM, inputs, bits, used) for used in range(inputs + 1)]
    assert energies == pytest.approx([tree_pj(inputs, bits, used) for used in range(inputs + 1)])
    assert energies == sorted(energies)
    full_pj = model.adder_tree_adders(inputs, bits) * model.full_adder_energy_pj(TECHNOLOGY_28NM)
    assert energies[-1] == model.adder_tree_energy_pj(TECHNOLOGY_28NM, inputs, bits, inputs + 5) == full_pj


def test_adder_counts() -> None:
    """Whole trees as zigzag-imc counts them; a partly used tree of four two-input adders, two four-input ones, one."""
    assert [model.adder_tree_adders(n, 8) for n in (32, 64, 128)] == [274, 561, 1136]
    assert model.used_tree_adders(8, 8, 0) == (0, 0)
    assert model.used_tree_adders(8, 8, 1) == (0, 8 + 9 + 10)
    assert model.used_tree_adders(8, 8, 5) == (2 * 8 + 9 + 10, 8 + 9) == plain(model.used_tree_adders)(8, 8, 5)
    assert (model.place_value_adders(1, 9.0), model.place_value_adders(4, 4.0)) == (0, 18)


@few
@given(macro=macros(), variant=variants, data=st.data())
def test_energy_is_linear_in_activations(macro: Macro, variant: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, macro.rows))
    columns = data.draw(st.integers(1, macro.columns))
    factor = data.draw(st.floats(0.25, 1e6))
    one = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, rows, rows, columns, 1.0, 1.0)
    many = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, rows, rows, columns, factor, factor)
    assert tuple(many) == pytest.approx([factor * value for value in one])
    assert min(one) >= 0
    assert one.mults > 0


@few
@given(macro=macros(), variant=variants, data=st.data())
def test_energy_is_monotone_in_rows_and_columns(macro: Macro, variant: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, macro.rows - 1))
    columns = data.draw(st.integers(1, macro.columns))
    energy = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, rows, rows, columns, 1.0, 0.0)
    more_rows = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, rows + 1, rows + 1, columns, 1.0, 0.0)
    more_columns = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, rows, rows, columns + 1, 1.0, 0.0)
    assert all(a <= b for a, b in zip(energy, more_rows, strict=True))
    assert all(a <= b for a, b in zip(energy, more_columns, strict=True))
    assert model.array_energy_total_pj(energy) < model.array_energy_total_pj(more_columns) or (
        macro.bits_per_cycle == macro.activation_bits == macro.weight_bits == 1
    )


@few
@given(macro=macros(), variant=variants)
def test_jitted_equals_python(macro: Macro, variant: int) -> None:
    """Compiled and plain Python differ by rounding at most."""
    for function, arguments in (
        (model.peak, (macro, TECHNOLOGY_28NM, variant)),
        (model.clock_ns, (macro, TECHNOLOGY_28NM, variant)),
        (model.area_mm2, (macro, TECHNOLOGY_28NM, variant)),
        (model.array_energy_pj, (macro, TECHNOLOGY_28NM, variant, 2, 1, 1, 2.5, 3.0)),
        (model.adc_area_mm2, (TECHNOLOGY_28NM, macro.adc_bits)),
        (model.accumulator_bits, (macro,)),
        (model.used_tree_adders, (macro.rows, macro.weight_bits, 1 + macro.rows // 3)),
    ):
        compiled, interpreted = flat(function(*arguments)), flat(plain(function)(*arguments))
        assert compiled == pytest.approx(interpreted, rel=1e-12, abs=0)


def flat(value: Any) -> list[float]:
    return [x for part in value for x in flat(part)] if isinstance(value, tuple) else [value]


@few
@given(macro=macros(), variant=variants)
def test_banks_multiply_area_and_throughput(macro: Macro, variant: int) -> None:
    one = model.peak(macro._replace(banks=1), TECHNOLOGY_28NM, variant)
    more = model.peak(macro._replace(banks=3), TECHNOLOGY_28NM, variant)
    assert more.tops == pytest.approx(3 * one.tops)
    assert more.energy_per_cycle_pj == pytest.approx(3 * one.energy_per_cycle_pj)
    assert more.tops_per_mm2 == pytest.approx(one.tops_per_mm2)


@few
@given(macro=macros(), variant=variants)
def test_energy_scales_with_voltage_squared(macro: Macro, variant: int) -> None:
    half = TECHNOLOGY_28NM._replace(supply_v=TECHNOLOGY_28NM.supply_v / 2)
    full = model.peak(macro, TECHNOLOGY_28NM, variant)
    assert model.peak(macro, half, variant).energy_per_cycle_pj == pytest.approx(full.energy_per_cycle_pj / 4)
    assert model.clock_ns(macro, half, variant) == model.clock_ns(macro, TECHNOLOGY_28NM, variant)


def test_precharging_counts_weight_changes() -> None:
    """(C_wl + depth * C_bl) * V^2 for each weight bit, and nothing without cell groups."""
    assert model.precharge_energy_pj(TECHNOLOGY_28NM, 8, 1) == 0
    assert model.precharge_energy_pj(TECHNOLOGY_28NM, 8, 4) == pytest.approx((0.35e-3 + 4 * 0.35e-3) * 0.81 * 8)
    macro = Macro(False, 4, 32, 1, 8, 8, 1, 0.0, 4, 0.0)
    energy = model.array_energy_pj(macro, TECHNOLOGY_28NM, VARIANT_ZIGZAG, 32, 32, 4, 1.0, 10.0)
    assert energy.local_bl_precharging == pytest.approx(10 * (0.35e-3 + 4 * 0.35e-3) * 0.81 * 8)
    assert model.array_energy_total_pj(energy) == pytest.approx(sum(energy))


def test_worked_example() -> None:
    """The small analog macro that was worked out by hand: 4 columns, 4 rows, 4-bit operands and ADC, 2 bits a cycle."""
    macro = Macro(True, 4, 4, 1, 4, 4, 2, 4.0, 1, 0.0)
    energy = model.array_energy_pj(macro, TECHNOLOGY_28NM, VARIANT_ZIGZAG, 4, 4, 4, 18.0, 0.0)
    expected = [0, 11.664, 186.74343936, 0.653184, 0.653184, 0, 8.817984, 8.817984, 0]
    assert tuple(energy) == pytest.approx(expected, rel=TOLERANCE)
    assert model.clock_ns(macro, TECHNOLOGY_28NM, VARIANT_ZIGZAG).total == pytest.approx(3.93596, rel=TOLERANCE)


def test_diagonal_mapping_in_a_digital_macro() -> None:
    """Rows that get an input (18) exceed those that an output adds (9): which ones trees and multipliers count."""
    macro = Macro(False, 4, 32, 1, 8, 8, 1, 0.0, 1, 0.0)
    tree_multiplier_rows = {VARIANT_ZIGZAG: (18, 32), VARIANT_ZIGZAG_IMC: (9, 18), VARIANT_PAPER: (9, 18)}
    for variant, (tree_rows, multiplier_rows) in tree_multiplier_rows.items():
        energy = model.array_energy_pj(macro, TECHNOLOGY_28NM, variant, 18, 9, 4, 1.0, 0.0)
        assert energy.adders_regular == pytest.approx(4 * 8 * tree_pj(32, 8, tree_rows))
        one_pj = model.multiplier_energy_pj(TECHNOLOGY_28NM)
        assert energy.mults == pytest.approx(8 * 8 * 4 * multiplier_rows * one_pj)


def test_converters_that_are_not_there() -> None:
    assert model.adc_energy_pj(TECHNOLOGY_28NM, 0.0) == 0
    assert model.adc_area_mm2(TECHNOLOGY_28NM, 1.0) == 0
    assert model.dac_energy_pj(TECHNOLOGY_28NM, 1) == 0


@kernel
def best_rows(technology: model.Technology, largest: int) -> int:
    """Sweep the rows of a digital macro inside compiled code."""
    best, best_tops_per_watt = 0, 0.0
    rows = 2
    while rows <= largest:
        macro = Macro(False, 16, rows, 1, 8, 8, 1, 0.0, 1, 0.0, 1.0, 1.0, False, 0)
        value = model.peak(macro, technology, VARIANT_ZIGZAG).tops_per_watt
        if value > best_tops_per_watt:
            best, best_tops_per_watt = rows, value
        rows *= 2
    return best


def test_sweep_inside_a_kernel() -> None:
    assert best_rows(TECHNOLOGY_28NM, 256) == plain(best_rows)(TECHNOLOGY_28NM, 256)


# The Python face

DIGITAL = {
    "kind": "digital",
    "columns": 4,
    "rows": 32,
    "activation_bits": 8,
    "weight_bits": 8,
    "bits_per_cycle": 1,
}
ANALOG = {**DIGITAL, "kind": "analog", "adc_bits": 5}


def test_report_as_dictionary() -> None:
    report = macro_report(**ANALOG)
    found = json.loads(json.dumps(report.to_dict()))
    assert list(found) == [
        "variant",
        "energy_per_cycle_pj",
        "clock_ns",
        "stages_ns",
        "area_mm2",
        "macs_per_cycle",
        "energy_per_mac_fj",
        "tops",
        "tops_per_watt",
        "tops_per_mm2",
    ]
    for name in ("energy_per_cycle_pj", "clock_ns", "area_mm2"):
        total = found[name].pop("total")
        assert total == pytest.approx(sum(found[name].values()))
    assert found["macs_per_cycle"] == 4 * 32 / 8
    assert report.to_dict()["clock_ns"] is not report.clock_ns


def test_report_takes_a_technology() -> None:
    doubled = TECHNOLOGY_28NM._replace(supply_v=2 * TECHNOLOGY_28NM.supply_v)
    assert macro_report(**ANALOG, technology=doubled).tops_per_watt == pytest.approx(
        macro_report(**ANALOG).tops_per_watt / 4
    )


def test_variants_differ() -> None:
    assert macro_report(**ANALOG, variant="zigzag-imc").clock_ns != macro_report(**ANALOG).clock_ns


def test_variant_names() -> None:
    assert {name: index for index, name in enumerate(VARIANTS)} == CODES


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": 48}, "rows of a digital macro must be a power of two and at least 2, not 48"),
        ({"rows": 1}, "rows of a digital macro must be a power of two and at least 2, not 1"),
        ({"weight_bits": 0}, "weight_bits must be a positive whole number, not 0"),
        ({"activation_bits": -8}, "activation_bits must be a positive whole number, not -8"),
        ({"activation_bits": True}, "activation_bits must be a positive whole number, not True"),
        ({"columns": 2.5}, "columns must be a positive whole number, not 2.5"),
        ({"columns": math.inf}, "columns must be a positive whole number, not inf"),
        ({"banks": 0}, "banks must be a positive whole number, not 0"),
        ({"group_depth": "4"}, "group_depth must be a positive whole number, not '4'"),
        ({"bits_per_cycle": 5}, "bits_per_cycle must divide activation_bits, but 5 does not divide 8"),
        ({"bits_per_cycle": 16}, "bits_per_cycle must divide activation_bits, but 16 does not divide 8"),
        (
            {"activation_bits": 6, "bits_per_cycle": 3},
            "bits_per_cycle of a digital macro must be a power of two, not 3",
        ),
        ({"kind": "analog"}, "adc_bits of an analog macro must be a positive number, not None"),
        ({"kind": "analog", "adc_bits": 0}, "adc_bits of an analog macro must be a positive number, not 0"),
        ({"kind": "analog", "adc_bits": math.nan}, "adc_bits of an analog macro must be a positive number, not nan"),
        (
            {"kind": "analog", "adc_bits": 5, "weight_bits": 6},
            "weight_bits of an analog macro must be a power of two, not 6",
        ),
        ({"kind": "optical"}, "kind must be one of analog, digital, not 'optical'"),
        ({"variant": "ideal"}, "variant must be one of zigzag, zigzag-imc, paper, not 'ideal'"),
        ({"cells_area_mm2": -1e-6}, "cells_area_mm2 must be a number that is not negative, not -1e-06"),
    ],
)
def test_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        macro_report(**{**DIGITAL, **changes})
    assert str(caught.value) == sentence


def test_accepted_at_the_border() -> None:
    """Analog macros need neither a power of two of rows nor of bits per cycle; digital weights may have any width."""
    macro_report(**{**ANALOG, "rows": 48, "activation_bits": 6, "bits_per_cycle": 3})
    macro_report(**{**ANALOG, "rows": 1, "weight_bits": 1})
    macro_report(**{**DIGITAL, "weight_bits": 6})
    assert macro_report(**{**DIGITAL, "rows": 32.0, "adc_bits": 7}) == macro_report(**DIGITAL)
