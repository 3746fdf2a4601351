"""Costs of memories: the shipped table against the authors' CACTI values, interpolation, CSV files, CACTI, DRAM."""

from __future__ import annotations

import gzip
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmap as fm
from fastmap import text, zoo
from fastmap.cli import main
from fastmap.errors import InputError
from fastmap.loading import load_architecture
from fastmap.memory_costs import MemoryCost, _interpolate, _shipped, memory_cost

REFERENCE: list[dict[str, Any]] = [
    entry
    for entry in json.loads(gzip.decompress((Path(__file__).parent / "data" / "paper" / "cacti.json.gz").read_bytes()))
    if "error" not in entry
]
QUANTITIES = ("read_energy_pj", "write_energy_pj", "area_mm2", "access_ns")


def of(rows: int, width_bits: int, source: str | Path = "cacti_28nm") -> MemoryCost:
    return memory_cost(source, rows * width_bits, width_bits)


@pytest.mark.parametrize("entry", REFERENCE, ids=lambda entry: f"{entry['rows']:g}x{entry['bw_bits']}")
def test_every_value_of_the_authors(entry: dict[str, Any]) -> None:
    """Energies and times to rounding, areas to the 1e-7 mm2 to which their wrapper rounds them for each 32 bits."""
    found = of(int(entry["rows"]), entry["bw_bits"])
    assert not found.interpolated
    ours = (found.read_energy_pj, found.write_energy_pj, found.access_ns)
    assert ours == pytest.approx((entry["read_pJ"], entry["write_pJ"], entry["access_ns"]), rel=1e-11)
    assert found.area_mm2 == pytest.approx(entry["area_mm2"], abs=0.51e-7 * max(1, entry["bw_bits"] / 32))


@settings(max_examples=200, deadline=None)
@given(rows=st.integers(64, 65536), width=st.integers(8, 8192))
def test_interpolation_stays_between_its_neighbours(rows: int, width: int) -> None:
    found = of(rows, width)
    low, high = 2 ** (rows.bit_length() - 1), min(65536, 2 ** (rows - 1).bit_length())
    if width >= 32:
        corners = [of(r, width) for r in {low, high}]
    else:
        widths = {2 ** (width.bit_length() - 1), 2 ** (width - 1).bit_length()}
        corners = [of(r, w) for r, w in itertools.product({low, high}, widths)]
    for name in QUANTITIES:
        values = [getattr(corner, name) for corner in corners]
        assert min(values) * (1 - 1e-12) <= getattr(found, name) <= max(values) * (1 + 1e-12)


#: Quantity -> how far interpolation may miss an entry that is left out of the table, in the middle and at worst.
LEFT_OUT = {
    "read_energy_pj": (0.11, 0.26),
    "write_energy_pj": (0.06, 0.21),
    "area_mm2": (0.03, 0.11),
    "access_ns": (0.04, 0.15),
}


def test_interpolating_across_an_entry_that_is_left_out() -> None:
    """Over four times the rows: half of them off by 3 % in area and 11 % in reading, the worst by 26 %."""
    table = _shipped("cacti_28nm").entries
    errors: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    for entry in table:
        found = _interpolate([each for each in table if each != entry], entry.rows, entry.width_bits)
        if found is None:
            continue
        for name, ours, theirs in zip(QUANTITIES, found[0], entry.quantities, strict=False):
            assert ours is not None
            assert theirs is not None
            errors[name].append(abs(ours / theirs - 1))
    assert len(errors["area_mm2"]) == 30
    for name, (middle, worst) in LEFT_OUT.items():
        assert sorted(errors[name])[15] < middle
        assert max(errors[name]) < worst


@pytest.mark.parametrize(("rows", "width"), [(16, 32), (32, 8), (65537, 32), (131072, 32), (1024, 4), (64, 16384)])
def test_refused_outside_of_the_table(rows: int, width: int) -> None:
    with pytest.raises(InputError) as caught:
        of(rows, width)
    assert str(caught.value) == (
        f"cacti_28nm covers 32 to 65536 rows of 8 to 8192 bits, but not {rows} rows of {width} bits; "
        "nothing is extrapolated"
    )


def test_provenance_is_told() -> None:
    assert "CACTI 7" in of(64, 32).provenance
    assert of(100, 32).interpolated


def test_words_side_by_side_leak_together() -> None:
    """CACTI's figure for 1024 rows of 32 bits, with the settings of zigzag-imc."""
    assert of(1024, 32).leakage_mw == 3.41346
    assert of(1024, 128).leakage_mw == pytest.approx(4 * 3.41346)


@pytest.mark.parametrize(
    ("size", "width", "sentence"),
    [
        (100, 32, "a memory of 100 bits has no whole number of words of 32 bits"),
        (0, 32, "a memory needs a positive number of bits and width, not 0 and 32"),
        (1024, -1, "a memory needs a positive number of bits and width, not 1024 and -1"),
    ],
)
def test_refused_sizes(size: int, width: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        memory_cost("cacti_28nm", size, width)


# DRAM


@pytest.mark.parametrize(
    ("name", "read_pj", "write_pj"),
    [("lpddr4", 8.0, 8.0), ("hbm2", 3.92, 3.92), ("ddr4", 5.8, 5.05), ("dram_iccad23", 3.7, 3.7)],
)
def test_dram(name: str, read_pj: float, write_pj: float) -> None:
    found = memory_cost(name, 2**30, 64)
    assert (found.read_energy_pj, found.write_energy_pj) == pytest.approx((64 * read_pj, 64 * write_pj))
    assert found.area_mm2 is None
    assert found.provenance


def test_ddr4_follows_from_its_currents() -> None:
    """Micron's method: currents above standby times 1.2 V over 19.2 Gbit/s, and an activation for each 8192 bits."""
    idd0, idd2n, idd3n, idd4r, idd4w = 48e-3, 34e-3, 43e-3, 135e-3, 123e-3
    t_ras, t_rp, volts, bits_per_s = 32e-9, 14.16e-9, 1.2, 2400e6 * 8
    activation_j = (idd0 * (t_ras + t_rp) - idd3n * t_ras - idd2n * t_rp) * volts
    found = memory_cost("ddr4", 2**30, 1)
    for current, ours in ((idd4r, found.read_energy_pj), (idd4w, found.write_energy_pj)):
        expected_pj = ((current - idd3n) * volts / bits_per_s + activation_j / 8192) * 1e12
        assert ours == pytest.approx(expected_pj, abs=0.006)
    assert found.leakage_mw == pytest.approx(idd3n * volts * 8 * 1e3, abs=1)


# A memory compiler's file

CSV = """# SRAM compiler of a foundry, typical corner.
rows,width_bits,read_energy_pj,write_energy_pj,area_mm2,leakage_mw
256,32,1.0,1.2,0.01,0.5
1024,32,2.0,2.4,0.04,2.0
256,64,1.9,2.2,0.02,1.0
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_compilers_file(tmp_path: Path) -> None:
    file = write(tmp_path / "sram.csv", CSV)
    assert of(256, 32, file) == MemoryCost(
        str(file), 1.0, 1.2, 0.01, None, 0.5, "SRAM compiler of a foundry, typical corner.", False
    )
    half = of(512, 32, file)
    assert half.interpolated
    assert (half.read_energy_pj, half.area_mm2) == pytest.approx((2**0.5, 0.02))
    for rows, width in ((512, 64), (128, 32), (256, 128), (2048, 32)):
        with pytest.raises(InputError, match=f"but not {rows} rows of {width} bits; nothing is extrapolated"):
            of(rows, width, file)
    assert of(256, 48, file).interpolated


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("read_energy_pj", "read_energy", "unknown column read_energy; did you mean read_energy_pj?"),
        (",area_mm2", "", "the column area_mm2 is missing"),
        ("1024,32,2.0", "1024,32,-2.0", "line 4, read_energy_pj: must be a positive number, not -2.0"),
        ("1024,32", "1024.5,32", "line 4, rows: must be a positive integer, not 1024.5"),
        ("1024,32", "256,32", "line 4: 256 rows of 32 bits stand there twice"),
        ("1024,32,2.0", "1024,32", "line 4: has another number of columns than the first line"),
        ("0.04,2.0", "x,2.0", "line 4, area_mm2: must be a positive number, not x"),
        ("256,64,1.9", '256,64,"1.9', "is not CSV"),
    ],
)
def test_refused_files(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    text = CSV.replace(old, new, 1)
    if old == ",area_mm2":  # a column less, throughout
        text = "\n".join(line if line.startswith("#") else ",".join(line.split(",")[:4]) for line in CSV.splitlines())
    with pytest.raises(InputError) as caught:
        of(256, 32, write(tmp_path / "sram.csv", text))
    assert sentence in str(caught.value)


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no entries"):
        of(256, 32, write(tmp_path / "sram.csv", CSV.splitlines()[1] + "\n"))
    with pytest.raises(InputError, match="there is no file"):
        of(256, 32, tmp_path / "missing.csv")
    with pytest.raises(InputError, match=r"there is no source of memory costs cacti_28; did you mean cacti_28nm\?"):
        of(256, 32, "cacti_28")


# CACTI itself

PACKAGE = """
import math

class SRAM:
    def __init__(self, tech_node, width=None, depth=None, size=None, n_rw_ports=1, n_banks=1):
        assert math.isclose(size, depth * width)  # so that all three are needed, as in version 1.0.40
        if size > 1e9:
            raise Exception("CACTI failed with exit code 1. Please check")
        self.read_energy, self.write_energy = 2e-12 * width / 32, 3e-12
        self.cacti_leak_power, self.cacti_area, self.access_time = 4e-3, 5e-8, 6e-10
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package like hwcomponents-cacti whose binary is a script."""
    if sys.platform == "win32":
        pytest.skip("the binary is a shell script")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hwcomponents_cacti", raising=False)

    def install(script: str) -> None:
        folder = tmp_path / "hwcomponents_cacti"
        (folder / "cacti").mkdir(parents=True)
        (folder / "__init__.py").write_text(PACKAGE)
        program = folder / "cacti" / "cacti"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    yield install
    sys.modules.pop("hwcomponents_cacti", None)


def test_cacti_where_it_runs(package: Any) -> None:
    package("exit 1")  # without arguments it complains, but it starts
    found = of(1024, 32, "cacti")
    assert (found.read_energy_pj, found.write_energy_pj) == pytest.approx((2.0, 3.0))
    assert (found.area_mm2, found.access_ns, found.leakage_mw) == pytest.approx((0.05, 0.6, 4.0))
    with pytest.raises(InputError, match="CACTI gives nothing for 33554432 rows of 32 bits: CACTI failed with exit co"):
        of(2**25, 32, "cacti")


@pytest.mark.parametrize(("rows", "width"), [(32, 32), (64, 16), (64, 36)])
def test_cacti_where_its_package_would_guess(package: Any, rows: int, width: int) -> None:
    """It scales larger memories down, by factors "found empirically"."""
    package("exit 1")
    with pytest.raises(InputError, match=f"but not {rows} rows of {width} bits; nothing is extrapolated"):
        of(rows, width, "cacti")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            'echo "./cacti: /lib/libc.so.6: version \\`GLIBC_2.38\' not found (required by ./cacti)" >&2; exit 1',
            "it needs GLIBC_2.38",
        ),
        (
            'echo "./cacti: error while loading shared libraries: libx.so: no such file" >&2; exit 127',
            "error while loading shared libraries: libx.so: no such file",
        ),
    ],
)
def test_cacti_where_its_binary_does_not_start(package: Any, script: str, reason: str) -> None:
    package(script)
    with pytest.raises(InputError) as caught:
        of(1024, 32, "cacti")
    assert f"does not run on this machine ({reason}); build it from the sources" in str(caught.value)
    assert str(caught.value).endswith(" opt), or use the shipped table cacti_28nm or a CSV file instead")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the package leaves files open
def test_cacti_itself() -> None:
    """Where the package is installed and its binary runs, or was built anew: 4 KiB in words of 32 bits."""
    pytest.importorskip("hwcomponents_cacti")
    try:
        found = of(1024, 32, "cacti")
    except InputError as error:
        pytest.skip(str(error))
    assert (found.read_energy_pj, found.write_energy_pj) == pytest.approx((1.687, 1.480), rel=1e-3)
    assert (found.area_mm2, found.access_ns) == pytest.approx((0.005628, 0.5936), rel=1e-3)
    assert found.leakage_mw == pytest.approx(4.819e-4, rel=1e-3)


def test_cacti_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", None)
    with pytest.raises(InputError, match=r"needs hwcomponents-cacti, for Python 3.12 or later: pip install"):
        of(1024, 32, "cacti")


# In architectures


def with_costs(tmp_path: Path, **memories: dict[str, Any]) -> fm.Architecture:
    data = yaml.safe_load(zoo.text("architecture", "dimc"))
    for name, changes in memories.items():
        for key in ("read_energy_pj", "write_energy_pj", "area_mm2"):
            data["memories"][name].pop(key, None)
        data["memories"][name] |= changes
    path = tmp_path / "arch.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load_architecture(path)


def test_architectures_take_costs(tmp_path: Path) -> None:
    found = with_costs(
        tmp_path, sram_256KB={"costs": "cacti_28nm"}, dram={"costs": "lpddr4"}, cells={"costs": "cacti_28nm"}
    )
    table = memory_cost("cacti_28nm", 32 * 8192, 512)
    sram = found.memory("sram_256KB")
    assert (sram.read_energy_pj, sram.write_energy_pj, sram.area_mm2) == (
        table.read_energy_pj, table.write_energy_pj, table.area_mm2,
    )  # fmt: skip
    assert found.memory("dram").read_energy_pj == 8 * 64
    array = found.array
    bank = memory_cost("cacti_28nm", array.rows * array.columns * 8, array.columns * 8)
    assert found.cells.area_mm2 * array.rows * array.columns == pytest.approx(bank.area_mm2)
    assert found.cells.write_energy_pj * array.columns == pytest.approx(bank.write_energy_pj)
    assert found.cells.read_energy_pj == 0


def test_explanations_say_who_told_the_costs(tmp_path: Path) -> None:
    found = with_costs(tmp_path, sram_256KB={"costs": "cacti_28nm", "size_kib": 48}, dram={"costs": "lpddr4"})
    layer = fm.load_workload("ds_cnn")["fc"]
    mapping = fm.Mapping.from_dict({"spatial": {"D1": {"K": 12}, "D2": {"C": 64}}, "temporal": []})
    shown = text.explain(fm.evaluate(layer, found, mapping), found)
    assert "costs of sram_256KB by cacti_28nm (interpolated), dram by lpddr4: see fastmap memory" in shown


def test_what_is_given_wins(tmp_path: Path) -> None:
    found = with_costs(tmp_path, sram_256KB={"costs": "cacti_28nm", "read_energy_pj": 1.5})
    assert found.memory("sram_256KB").read_energy_pj == 1.5
    assert found.memory("sram_256KB").write_energy_pj > 1.5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"costs": "cacti_29nm"}, "memories.sram_256KB.costs: there is no source of memory costs cacti_29nm"),
        ({"costs": "cacti_28nm", "size_kib": 1}, "memories.sram_256KB.costs: cacti_28nm covers 32 to 65536 rows"),
        ({}, "the key read_energy_pj is missing"),
    ],
)
def test_refused_in_architectures(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        with_costs(tmp_path, sram_256KB=changes)
    assert sentence in str(caught.value)


def test_a_compilers_file_lies_beside_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever fastmap is started; a path on the command line is one from there."""
    write(tmp_path / "sram.csv", CSV)
    costs = {"costs": "sram.csv", "size_kib": 4, "bandwidth_bits": 32}
    assert with_costs(tmp_path, sram_256KB=costs).memory("sram_256KB").read_energy_pj == 2.0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_architecture("../arch.yaml").memory("sram_256KB").read_energy_pj == 2.0
    absolute = with_costs(tmp_path, sram_256KB={**costs, "costs": str(tmp_path / "sram.csv")})
    assert absolute.memory("sram_256KB").read_energy_pj == 2.0
    with pytest.raises(InputError, match=r"there is no file sram\.csv"):
        of(256, 32, "sram.csv")
    with pytest.raises(InputError) as caught:
        with_costs(tmp_path, sram_256KB={**costs, "costs": "missing.csv"})
    assert f"memories.sram_256KB.costs: there is no file {tmp_path / 'missing.csv'}" in str(caught.value)


def test_static_energy_is_told_apart(tmp_path: Path) -> None:
    """Power times latency, for every instance, beside the energy and not in it."""
    quiet = with_costs(tmp_path, sram_256KB={"costs": "cacti_28nm", "leakage_mw": 0})
    leaking = with_costs(
        tmp_path, sram_256KB={"costs": "cacti_28nm", "leakage_mw": 2.0}, rf_2B={"read_energy_pj": 0.021,
        "write_energy_pj": 0.021, "leakage_mw": 1e-3},
    )  # fmt: skip
    layer = fm.load_workload("ds_cnn")["fc"]
    mapping = fm.Mapping.from_dict({"spatial": {"D1": {"K": 12}, "D2": {"C": 64}}, "temporal": []})
    before, after = (fm.evaluate(layer, architecture, mapping) for architecture in (quiet, leaking))
    assert before.energy_pj == after.energy_pj
    assert before.static_energy_pj == {}
    columns = leaking.array.columns
    assert after.static_energy_pj == pytest.approx(
        {"sram_256KB": 2.0 * after.latency_ns, "rf_2B": 1e-3 * columns * after.latency_ns}
    )
    assert after.to_dict()["static_energy_pj"] == after.static_energy_pj


# The command


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("memory", "--size-kib", "256", "--width-bits", "256")) == 0
    shown = capsys.readouterr().out
    assert "41.10 pJ" in shown
    assert "0.7783 mm2" in shown
    assert "CACTI 7" in shown
    assert main(("memory", "hbm2", "--size-bits", "1024", "--width-bits", "64", "--json")) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["read_energy_pj"] == pytest.approx(3.92 * 64)
    assert main(("memory", "--size-bits", "100", "--width-bits", "32")) == 2
    assert capsys.readouterr().err.startswith("fastmap: a memory of 100 bits")
