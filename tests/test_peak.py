"""Peaks of macros against the stored data of the paper's Fig. 7 and 8 (see data/paper/README.md)."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fastmap.cli import main
from fastmap.errors import InputError
from fastmap.peak import PAPER_SIZES, paper_adc_bits, peak_point, peak_points

REFERENCE: list[dict[str, Any]] = json.loads(
    gzip.decompress((Path(__file__).parent / "data" / "paper" / "peak.json.gz").read_bytes())
)
TOLERANCE = 1e-9


def kind_of(entry: dict[str, Any]) -> str:
    return {"aimc_max": "analog", "dimc": "digital"}[entry["imc_type"]]


@pytest.mark.parametrize("entry", REFERENCE, ids=lambda entry: f"{entry['imc_type']}-{entry['rows']}")
def test_figures_7_and_8(entry: dict[str, Any]) -> None:
    point = peak_point(kind_of(entry), entry["rows"])
    macro, system = point.macro, point.system
    energy = macro.energy_per_cycle_pj
    around, area, outside = system.energy_per_cycle_pj, macro.area_mm2, system.area_mm2
    ours = {
        "area_macro": area["total"],
        "tclk_macro": macro.clock_ns["total"],
        "tops_macro": macro.tops,
        "topsw_macro": macro.tops_per_watt,
        "topsmm2_macro": macro.tops_per_mm2,
        "area_system": outside["total"],
        "tclk_system": macro.clock_ns["total"],
        "tops_system": system.tops,
        "topsw_system": system.tops_per_watt,
        "topsmm2_system": system.tops_per_mm2,
        "energy_bank": energy["analog_bl_addition"],
        "energy_mults": energy["mults"],
        "energy_adders": energy["adders_regular"] + energy["adders_pv"],
        "energy_accumulators": energy["accumulators"],
        "energy_rego2cache_pj": around["buffer_writes"],
        "energy_cache2regi_pj": around["buffer_reads"],
        "energy_regi_load_pj": around["input_registers"],
        "energy_rego_load_pj": around["output_registers"],
        "area_bank": area["cells"],
        "area_mults": area["mults"],
        "area_adders": area["adders_regular"] + area["adders_pv"],
        "area_accumulators": area["accumulators"],
        "area_cache": outside["buffer"],
        "area_regi": outside["input_registers"],
        "area_rego": outside["output_registers"],
    }
    if point.kind == "analog":
        ours |= {
            "adc_precision": point.adc_bits,
            "dac_precision": point.bits_per_cycle,
            "adc_energy_pj": energy["adcs"],
            "dac_energy_pj": energy["dacs"],
            "area_adc": area["adcs"],
            "area_dac": 0.0,
        }
    numbers = {key: value for key, value in entry.items() if isinstance(value, float)}
    assert ours == pytest.approx(numbers, rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("entry", REFERENCE, ids=lambda entry: f"{entry['imc_type']}-{entry['rows']}")
def test_clock_by_component(entry: dict[str, Any]) -> None:
    """The bars of Fig. 8, but for the accumulator of digital macros, whose bar is not what the clock contains."""
    ours = peak_point(kind_of(entry), entry["rows"]).macro.clock_ns
    theirs = {key.split("_")[2].split(" ")[0]: value for key, value in entry["tclk_breakdown"].items()}
    assert ours["mults"] == pytest.approx(theirs["mults"])
    assert ours["adders_regular"] + ours["adders_pv"] == pytest.approx(theirs["adder"])
    if "adc" in theirs:
        assert ours["adcs"] == pytest.approx(theirs["adc"])
        assert ours["accumulators"] == pytest.approx(theirs["accumulator"])
    else:
        assert ours["accumulators"] < theirs["accumulator"]
        assert sum(theirs.values()) > entry["tclk_macro"]


def test_one_call_gives_all_of_the_paper() -> None:
    points = peak_points()
    assert [(point.kind, point.size) for point in points] == [
        (kind, size) for size in PAPER_SIZES for kind in ("analog", "digital")
    ]
    assert len(points) == len(REFERENCE)


def test_what_the_paper_claims_of_peaks() -> None:
    """Digital macros are denser at every size; analog ones more efficient from 128 cells a side on."""
    points = {(point.kind, point.size): point for point in peak_points()}
    for size in PAPER_SIZES:
        analog, digital = points["analog", size], points["digital", size]
        for level in ("macro", "system"):
            assert getattr(digital, level).tops_per_mm2 > getattr(analog, level).tops_per_mm2
            analog_wins = getattr(analog, level).tops_per_watt > getattr(digital, level).tops_per_watt
            assert analog_wins == (size >= 128)


def test_sweeps_multiply() -> None:
    points = peak_points(sizes=(64,), bits=(4, 8), bits_per_cycle=(1, 2), adc_bits=(4, 6))
    assert len([point for point in points if point.kind == "digital"]) == 2 * 2
    assert len([point for point in points if point.kind == "analog"]) == 2 * 2 * 2
    assert len({(p.kind, p.activation_bits, p.bits_per_cycle, p.adc_bits) for p in points}) == len(points)


def test_more_converter_bits_cost_more() -> None:
    low, high = (peak_point("analog", 64, adc_bits=bits) for bits in (4, 7))
    assert low.macro.tops_per_watt > high.macro.tops_per_watt
    assert low.macro.tops_per_mm2 > high.macro.tops_per_mm2


def test_buffers_cost_and_the_system_adds_up() -> None:
    for point in peak_points(sizes=(32, 256), banks=2):
        assert point.system.tops_per_watt < point.macro.tops_per_watt
        for parts in (point.system.energy_per_cycle_pj, point.system.area_mm2):
            total = parts["total"]
            assert total == pytest.approx(sum(value for name, value in parts.items() if name != "total"))


def test_half_switching_halves_what_switches() -> None:
    full, half = (peak_point("digital", 128, input_toggle_rate=rate) for rate in (1.0, 0.5))
    ours, theirs = half.macro.energy_per_cycle_pj, full.macro.energy_per_cycle_pj
    assert ours["mults"] == theirs["mults"] / 2
    assert ours["adders_regular"] == theirs["adders_regular"] / 2
    assert ours["accumulators"] == theirs["accumulators"]


def test_the_rule_for_converters() -> None:
    assert [paper_adc_bits(rows, 2) for rows in PAPER_SIZES] == [4.5, 5, 5.5, 6, 6.5, 7]
    assert paper_adc_bits(64, 1) == 1 + math.log2(64) / 2


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"kind": "optical", "size": 32}, "kind must be one of analog, digital, not 'optical'"),
        (
            {"kind": "digital", "size": 36},
            "an array of 36 x 36 cells has no whole number of columns of 8-bit weights",
        ),
        ({"kind": "digital", "size": 48}, "rows of a digital macro must be a power of two and at least 2, not 48"),
        (
            {"kind": "analog", "size": 64, "adc_bits": 13},
            "adc_bits must be between 1 and 12, where the fits of the converters of 28nm hold, not 13",
        ),
        (
            {"kind": "digital", "size": 16},
            "cells of the digital macro of 16 x 16 cells: cacti_28nm covers 32 to 65536 rows of 8 to 8192 bits",
        ),
        (
            {"kind": "analog", "size": 48},
            "buffer of the analog macro of 48 x 48 cells: a memory of 2097152 bits has no whole number of words of 384",
        ),
        (
            {"kind": "analog", "size": 64, "memory": "lpddr4"},
            "cells of the analog macro of 64 x 64 cells: lpddr4 does not tell the area of a memory",
        ),
        ({"kind": "analog", "size": 64, "group_depth": 0}, "group_depth must be a positive whole number, not 0"),
        ({"kind": "digital", "size": 64, "bits_per_cycle": 3}, "bits_per_cycle must divide activation_bits"),
        (
            {"kind": "digital", "size": 64, "weight_density": 2},
            "weight_density must be a share above 0 and at most 1, not 2",
        ),
    ],
)
def test_refused(call: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        peak_point(**call)
    assert str(caught.value).startswith(sentence)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(("peak", "--size", "32", "--json")) == 0
    data = json.loads(capsys.readouterr().out)
    assert [point["kind"] for point in data["points"]] == ["analog", "digital"]
    assert data["points"][0]["macro"]["tops_per_watt"] == pytest.approx(REFERENCE[0]["topsw_macro"], rel=TOLERANCE)
    assert main(("peak", "--kind", "digital", "--size", "64", "--node-nm", "22", "--supply-v", "0.8")) == 0
    assert "digital 64" in capsys.readouterr().out
    assert main(("peak", "--supply-v", "0.4")) == 2
    assert "0.4 V is outside of 0.6 to 1.1 V, where the constants of 28nm hold" in capsys.readouterr().err


def test_what_was_computed_is_printed_though_the_picture_fails(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    assert main(("peak", "--size", "32", "--kind", "digital", "--picture", "/nonexistent/x.png")) == 2
    captured = capsys.readouterr()
    assert "digital 32" in captured.out
    assert captured.err == "fastmap: cannot write /nonexistent/x.png: No such file or directory\n"


def test_the_results_in_the_repository_are_these(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`fastmap peak --save` again."""
    assert main(("peak", "--save", str(tmp_path))) == 0
    capsys.readouterr()
    results = Path(__file__).parents[1] / "results"
    assert (tmp_path / "peak.txt").read_text() == (results / "peak.txt").read_text()


@pytest.mark.parametrize(
    "sweep",
    [
        {},
        {"kinds": ("digital",)},
        {"bits": (4, 8)},
        {"bits": (4, 8), "bits_per_cycle": (1, 2), "adc_bits": (4.0, 6.0)},
    ],
)
def test_pictures_tell_every_macro_apart(sweep: dict[str, Any], tmp_path: Path) -> None:
    """One line for each series of sizes, one bar for each macro, each with a name of its own."""
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    from fastmap.pictures import _series, _told_apart, draw_peaks

    points = peak_points(sizes=(64, 128), **sweep)
    names = _told_apart([f"{point.kind} {point.size}" for point in points], points)
    assert len(set(names)) == len(points)
    assert [[point.size for point in each] for each in _series(points).values()] == [[64, 128]] * (len(points) // 2)
    draw_peaks(points, tmp_path / "peaks.svg")
    text = (tmp_path / "peaks.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
