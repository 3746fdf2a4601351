"""Technologies: the shipped constants, scaling as the authors do it, files of one's own, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import fastmap as fm
from fastmap import zoo
from fastmap.cli import main
from fastmap.errors import InputError
from fastmap.evaluation import architecture_area_mm2, array_clock_ns
from fastmap.kernels.macro import TECHNOLOGY_28NM, adder_tree_energy_pj
from fastmap.loading import load_architecture
from fastmap.macro import architecture_report, macro_report
from fastmap.technology import ConstantsFile, load_technology

DIGITAL: dict[str, Any] = {
    "kind": "digital", "columns": 4, "rows": 32, "activation_bits": 8, "weight_bits": 8, "bits_per_cycle": 1,
}  # fmt: skip
ANALOG: dict[str, Any] = {**DIGITAL, "kind": "analog", "bits_per_cycle": 2, "adc_bits": 5}


def test_28nm_is_what_kernels_have() -> None:
    shipped = load_technology("28nm")
    assert shipped.kernel._asdict() == pytest.approx(TECHNOLOGY_28NM._asdict(), rel=1e-15)
    assert set(shipped.sources) == set(ConstantsFile.model_fields)


def test_22nm_is_the_authors_scaling() -> None:
    """Areas and capacitances x 22/28; energy of converters and delays stay; the supply is 0.8 V."""
    small, large = load_technology("22nm"), load_technology("28nm")
    ratio = 22 / 28
    reports = {node.name: {kind: macro_report(**m, technology=node.at(supply_v=0.9)) for kind, m in
                           (("digital", DIGITAL), ("analog", ANALOG))} for node in (small, large)}  # fmt: skip
    for kind in ("digital", "analog"):
        here, there = reports["22nm"][kind], reports["28nm"][kind]
        assert here.clock_ns == there.clock_ns
        for name, value in there.area_mm2.items():
            assert here.area_mm2[name] == pytest.approx(ratio * value), name
        for name, value in there.energy_per_cycle_pj.items():
            if name != "total":
                factor = 1 if name in ("adcs", "dacs") else ratio
                assert here.energy_per_cycle_pj[name] == pytest.approx(factor * value), name
    assert (small.supply_v, small.node_nm) == (0.8, 22)
    assert small.remarks


def test_voltage_scales_energy_by_its_square() -> None:
    node = load_technology("28nm")
    low = macro_report(**ANALOG, technology=node.at(supply_v=0.6))
    high = macro_report(**ANALOG, technology=node)
    assert low.energy_per_mac_fj == pytest.approx(high.energy_per_mac_fj * (0.6 / 0.9) ** 2)
    assert low.clock_ns == high.clock_ns


def test_delays_at_another_supply_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remark = "delays do not follow the supply voltage: they are those of the calibration"
    node = load_technology("28nm")
    assert node.at(supply_v=0.9).remarks == ()
    assert node.at(supply_v=0.8).at(supply_v=0.7).remarks == (remark,)
    assert load_technology("22nm").remarks[-1] == remark
    assert remark in with_changes(tmp_path, technology="22nm").warnings
    for command in (("macro", "dimc", "aimc"), ("peak", "--size", "32")):
        assert main([*command, "--supply-v", "0.8"]) == 0
        assert capsys.readouterr().err == f"fastmap: warning: {remark}\n"
        assert main([*command, "--supply-v", "0.9"]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("volts", [0.3, 0.59, 1.2])
def test_supply_outside_of_the_range(volts: float) -> None:
    sentence = f"{volts:g} V is outside of 0.6 to 1.1 V, where the constants of 28nm hold"
    with pytest.raises(InputError, match=sentence):
        load_technology("28nm").at(supply_v=volts)


@pytest.mark.parametrize("node", [7, 16, 65])
def test_nodes_that_nobody_scaled_to(node: float) -> None:
    with pytest.raises(
        InputError, match=f"between 22 and 28 nm only, not from 28 to {node} nm; give those of your node"
    ):
        load_technology("28nm").at(node_nm=node)


def write(path: Path, **data: Any) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.yaml", name="mine", based_on="28nm", node_nm=28, supply_v=0.85,
        constants={"nand2_cap_pf": 0.0005}, sources={"nand2_cap_pf": "my library"},
    )  # fmt: skip
    mine = load_technology(file)
    assert mine.constants.nand2_cap_pf == 0.0005
    assert mine.constants.xor2_cap_pf == load_technology("28nm").constants.xor2_cap_pf
    assert mine.sources["nand2_cap_pf"] == "my library"
    assert macro_report(**DIGITAL, technology=mine).energy_per_mac_fj < macro_report(**DIGITAL).energy_per_mac_fj
    assert macro_report(**DIGITAL, technology=file) == macro_report(**DIGITAL, technology=mine)


def test_a_replaced_constant_loses_its_source(tmp_path: Path) -> None:
    file = write(tmp_path / "m.yaml", name="m", based_on="28nm", node_nm=28, supply_v=0.9,
                 constants={"dff_area_mm2": 3e-6})  # fmt: skip
    assert "dff_area_mm2" not in load_technology(file).sources


def test_a_node_of_ones_own_needs_no_scaling(tmp_path: Path) -> None:
    """A file with every constant may be of any node, and at its supply."""
    shipped = yaml.safe_load(zoo.text("technology", "28nm"))
    constants = {name: value if value < 0 else value * 0.3 for name, value in shipped["constants"].items()}
    file = write(tmp_path / "n7.yaml", name="n7", node_nm=7, supply_v=0.55, supply_range_v=[0.5, 0.8],
                 adc_bits_range=[1, 8], constants=constants)  # fmt: skip
    assert load_technology(file).node_nm == 7
    with pytest.raises(
        InputError, match="adc_bits must be between 1 and 8, where the fits of the converters of n7 hold"
    ):
        macro_report(**{**ANALOG, "adc_bits": 9}, technology=file)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"constants": {"nand2_cap": 1}}, "unknown key nand2_cap; did you mean nand2_cap_pf?"),
        ({"constants": {"nand2_cap_pf": -1}}, "constants.nand2_cap_pf: must be a positive number, not -1"),
        ({"constants": {"nand2_cap_pf": "x"}}, "constants.nand2_cap_pf: must be a number"),
        ({"based_on": "29nm"}, "there is no technology 29nm; did you mean 28nm?"),
        ({"node_nm": 65}, "constants are scaled between 22 and 28 nm only"),
        ({"supply_v": 0.2}, "0.2 V is outside of 0.6 to 1.1 V"),
        ({"sources": {"foo": "bar"}}, "there is no constant foo"),
        ({"based_on": None, "supply_range_v": [0.6, 1], "adc_bits_range": [1, 8]}, "the key nand2_cap_pf is missing"),
        ({"supply_range_v": [1, 0.5]}, "must be [lowest, highest]"),
    ],
)
def test_refused_files(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    data = {"name": "mine", "based_on": "28nm", "node_nm": 28, "supply_v": 0.9, **change}
    with pytest.raises(InputError) as caught:
        load_technology(write(tmp_path / "mine.yaml", **data))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("named", ["mine.yaml", "../technologies/mine.yaml"])
def test_a_circle_is_refused(named: str, tmp_path: Path) -> None:
    folder = tmp_path / "technologies"
    folder.mkdir()
    file = write(folder / "mine.yaml", name="mine", based_on=named, node_nm=28, supply_v=0.9)
    with pytest.raises(InputError, match="based on each other in a circle"):
        load_technology(file)


def test_files_are_found_beside_the_one_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever fastmap is started; a path on the command line is one from there."""
    (tmp_path / "technologies").mkdir()
    write(tmp_path / "technologies" / "base.yaml", name="base", based_on="28nm", node_nm=28, supply_v=0.7)
    write(tmp_path / "technologies" / "mine.yaml", name="mine", based_on="base.yaml", node_nm=28, supply_v=0.8)
    architecture = with_changes(tmp_path, technology="technologies/mine.yaml")
    assert architecture.technology is not None
    assert architecture.technology.name == "mine"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_architecture("../arch.yaml") == architecture
    assert load_technology("../technologies/base.yaml").supply_v == 0.7
    with pytest.raises(InputError, match=r"there is no file technologies/base\.yaml"):
        load_technology("technologies/base.yaml")


# In architectures


def with_changes(tmp_path: Path, **changes: Any) -> fm.Architecture:
    data = yaml.safe_load(zoo.text("architecture", "dimc"))
    array = changes.pop("array", {})
    data["array"] |= array
    return load_architecture(write(tmp_path / "arch.yaml", **{**data, **changes}))


MAPPING = {"spatial": {"D1": {"K": 12}, "D2": {"C": 64}}, "temporal": []}


def evaluate(architecture: fm.Architecture) -> fm.Evaluation:
    return fm.evaluate(fm.load_workload("ds_cnn")["fc"], architecture, fm.Mapping.from_dict(MAPPING))


def test_architectures_take_a_technology(tmp_path: Path) -> None:
    plain, small = with_changes(tmp_path), with_changes(tmp_path, technology="22nm")
    assert array_clock_ns(small) == array_clock_ns(plain)
    assert architecture_area_mm2(small).imc == pytest.approx(architecture_area_mm2(plain).imc * 22 / 28)
    ratio = evaluate(small).energy_pj.mac / evaluate(plain).energy_pj.mac
    assert ratio == pytest.approx(22 / 28 * (0.8 / 0.9) ** 2)
    same = with_changes(tmp_path, technology="28nm")
    assert evaluate(same).energy_pj.mac == pytest.approx(evaluate(plain).energy_pj.mac, rel=1e-15)
    assert fm.Architecture.model_validate_json(small.model_dump_json()) == small


def test_searches_take_it_too(tmp_path: Path) -> None:
    """What search and evaluate say of one mapping agrees, also where half of the bits switch at 22 nm."""
    changed = with_changes(
        tmp_path, technology="22nm", array={"input_toggle_rate": 0.5, "weight_density": 0.5}, name="changed"
    )
    layer = fm.load_workload("ds_cnn")["fc"]
    found = fm.search(layer, changed, objective="energy").best[0]
    again = fm.evaluate(layer, changed, found.mapping)
    assert again.energy_pj.total == pytest.approx(found.energy_pj.total, rel=1e-12)
    full = fm.evaluate(layer, with_changes(tmp_path), found.mapping)
    assert again.energy_pj.memory == pytest.approx(full.energy_pj.memory)
    assert again.energy_pj.mac < full.energy_pj.mac / 2


def test_switching_scales_the_array(tmp_path: Path) -> None:
    full, half = with_changes(tmp_path), with_changes(tmp_path, array={"weight_density": 0.5})
    ours, theirs = evaluate(half).energy_pj.mac_breakdown, evaluate(full).energy_pj.mac_breakdown
    assert ours["mults"] == pytest.approx(theirs["mults"] / 2)
    assert ours["adders_regular"] == pytest.approx(theirs["adders_regular"] / 2)
    assert ours["accumulators"] == theirs["accumulators"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"technology": "6nm"}, "technology: there is no technology 6nm"),
        ({"array": {"weight_density": 1.5}}, "array.weight_density: must be a share above 0 and at most 1, not 1.5"),
        (
            {"array": {"input_toggle_rate": True}},
            "array.input_toggle_rate: must be a share above 0 and at most 1, not true",
        ),
    ],
)
def test_refused_in_architectures(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        with_changes(tmp_path, **changes)
    assert sentence in str(caught.value)


def test_converters_beyond_their_fits_are_warned_of() -> None:
    architecture = load_architecture("aimc")
    beyond = architecture.model_copy(update={"array": architecture.array.model_copy(update={"adc_bits": 14.0})})
    assert "the fits of the converters hold for 1 to 12 bits, and adc_bits is 14" in beyond.warnings[0]
    assert not any("converters" in warning for warning in architecture.warnings)


def test_the_command_scales(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    def macro(*options: str) -> dict[str, Any]:
        assert main(("macro", "dimc", "--json", *options)) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)["dimc"]
        return found

    plain, scaled = macro(), macro("--node-nm", "22", "--supply-v", "0.8")
    assert scaled == macro("--technology", "22nm")
    assert scaled["tops_per_watt"] == pytest.approx(plain["tops_per_watt"] * 28 / 22 * (0.9 / 0.8) ** 2)
    assert main(("macro", "dimc", "--node-nm", "5")) == 2
    assert "not from 28 to 5 nm" in capsys.readouterr().err


# Variants of the macro model


@pytest.mark.parametrize("variant", ["zigzag", "zigzag-imc", "paper"])
def test_architectures_take_a_macro_model(variant: str, tmp_path: Path) -> None:
    """Clock and energy of a layer that fills the array are the macro's own figures."""
    architecture = with_changes(tmp_path, array={"macro_model": variant})
    array = architecture.array
    full = fm.Layer(K=array.columns, C=array.rows, OX=3, OY=5)
    mapping = fm.Mapping.from_dict(
        {"spatial": {"D1": {"K": array.columns}, "D2": {"C": array.rows}}, "temporal": [["OX", 3], ["OY", 5]]}
    )
    found = fm.evaluate(full, architecture, mapping)
    report = architecture_report(architecture)
    assert report.variant == variant
    assert found.clock_ns == pytest.approx(report.clock_ns["total"])
    assert found.energy_pj.mac * 1000 / full.macs == pytest.approx(report.energy_per_mac_fj)
    again = fm.search(full, architecture, objective="energy").best[0]
    assert again.energy_pj.total <= found.energy_pj.total * (1 + 1e-12)


def test_replicated_weights_add_fewer_rows_than_get_inputs(tmp_path: Path) -> None:
    """Of a diagonal, zigzag-imc's adder trees count the rows that an output adds, ZigZag's all that get an input."""
    layer = fm.Layer(K=4, C=2, OX=8, OY=8, FX=3, FY=3)
    mapping = fm.Mapping.from_dict(
        {"spatial": {"D1": {"K": 4, "OX": 4}, "D2": {"C": 2, "FX": 3}}, "temporal": [["FY", 3], ["OX", 2], ["OY", 8]]}
    )
    memories = yaml.safe_load(zoo.text("architecture", "dimc"))["memories"]
    memories["rf_1B"]["size_bytes"] = 4  # inputs of four columns
    energies = {
        variant: fm.evaluate(
            layer, with_changes(tmp_path, array={"macro_model": variant}, memories=memories), mapping
        ).energy_pj
        for variant in ("zigzag", "zigzag-imc")
    }
    rows = with_changes(tmp_path).array.rows
    cycles, columns = 3 * 2 * 8 * 8, 16
    for variant, added in (("zigzag", 2 * (3 + 3)), ("zigzag-imc", 2 * 3)):
        tree_pj = adder_tree_energy_pj(TECHNOLOGY_28NM, rows, 8, added)
        assert energies[variant].mac_breakdown["adders_regular"] == pytest.approx(tree_pj * cycles * columns)


def test_plain_arrays_take_neither(tmp_path: Path) -> None:
    for changes, sentence in (
        ({"array": {"kind": "mac", "macro_model": "paper"}}, "a plain MAC array has no macro model"),
        ({"array": {"kind": "mac", "weight_density": 0.5}}, "a plain MAC array has one energy whatever switches"),
        ({"array": {"kind": "mac"}, "technology": "22nm"}, "to which no technology applies"),
    ):
        memories = yaml.safe_load(zoo.text("architecture", "dimc"))["memories"]
        memories["cells"] |= {"read_energy_pj": 0, "bandwidth_bits": 8}
        with pytest.raises(InputError, match=sentence):
            with_changes(tmp_path, memories=memories, **changes)
