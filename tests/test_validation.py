"""Published chips against the authors' own validation scripts (see data/paper/README.md), and what `validate` tells."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmap.kernels.macro as kernels
from fastmap import zoo
from fastmap.chip import Block, ChipFile, chip_costs
from fastmap.cli import main
from fastmap.errors import InputError
from fastmap.kernels.macro import TECHNOLOGY_28NM
from fastmap.loading import load_architecture, load_chip
from fastmap.macro import macro_report
from fastmap.technology import load_technology
from fastmap.validation import VALIDATED, further_chips, validate_chip, validate_chips

REFERENCE: dict[str, Any] = json.loads(
    gzip.decompress((Path(__file__).parent / "data" / "paper" / "validation.json.gz").read_bytes())
)
TOLERANCE = 1e-12

#: Our components -> the authors' names.
COMPONENTS = {
    "mults": "mults",
    "adders": "adder_tree",
    "accumulators": "accumulator",
    "accumulator_registers": "regs_accumulator",
    "pipeline_registers": "regs_pipeline",
    "adcs": "adc",
    "dacs": "dac",
}


@pytest.fixture(scope="module")
def chips() -> dict[str, Any]:
    return {chip.name: chip for chip in validate_chips()}


@pytest.mark.parametrize("name", VALIDATED)
def test_a_chip_as_the_authors_script_has_it(name: str, chips: dict[str, Any]) -> None:
    chip, theirs = chips[name], REFERENCE[name.upper()]
    model = chip.model
    ours = [
        model.area_mm2,
        model.clock_ns,
        model.energy_per_mac_fj,
        model.tops,
        model.tops_per_watt,
        model.tops_per_mm2,
    ]
    expected = [theirs["model"][key] for key in ("area_mm2", "tclk_ns", "fJ_per_MAC", "tops", "topsw", "topsmm2")]
    assert ours == pytest.approx(expected, rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("name", VALIDATED)
def test_mismatches_are_the_authors(name: str, chips: dict[str, Any]) -> None:
    chip, theirs = chips[name], REFERENCE[name.upper()]["mismatch"]
    ours = {metric: abs(ratio - 1) for metric, ratio in chip.ratio["model"].items()}
    assert ours["area_mm2"] == pytest.approx(theirs["area"], abs=1e-12)
    assert ours["clock_ns"] == pytest.approx(theirs["delay"], abs=1e-12)
    assert ours["energy_per_mac_fj"] == pytest.approx(theirs["energy"], abs=1e-11)


@pytest.mark.parametrize("name", VALIDATED)
def test_breakdowns(name: str, chips: dict[str, Any]) -> None:
    chip, theirs = chips[name], REFERENCE[name.upper()]
    for ours, key in ((chip.energy_breakdown_fj, "energy_fJ_per_MAC"), (chip.area_breakdown_mm2, "area_mm2")):
        for component, alias in COMPONENTS.items():
            assert ours.get(component, 0) == pytest.approx(theirs[key][alias], rel=TOLERANCE), component
        banks = ours.get("cells", 0) + ours.get("lines", 0)
        assert banks == pytest.approx(theirs[key]["banks"], rel=TOLERANCE)
        assert ours["total"] == pytest.approx(sum(value for each, value in ours.items() if each != "total"))


#: Chip -> stage -> the authors' parts of it.
STAGES = {
    "aimc1": {"1": ["mult", "adc"]},
    "aimc2": {"1": ["path1_2x_mult_adc"], "2": ["path2_2x_tree", "path2_2x_acc"]},
    "aimc3": {"1": ["mult", "adder6b_msb", "adc"]},
    "dimc1": {"1": ["mult", "tree", "acc"]},
    "dimc2": {"1": ["stage1_mult"], "2": ["stage2_tree", "stage2_acc"]},
    "dimc3": {"1": ["mult", "tree", "acc", "channel_tree"]},
    "dimc4": {"1": ["stage1_mult", "stage1_tree1", "stage1_tree2"], "2": ["stage2_tree3", "stage2_acc"]},
}


@pytest.mark.parametrize("name", VALIDATED)
def test_stages(name: str, chips: dict[str, Any]) -> None:
    theirs = REFERENCE[name.upper()]["delay_ns"]
    expected = {stage: sum(theirs[part] for part in parts) for stage, parts in STAGES[name].items()}
    assert chips[name].stage_ns == pytest.approx(expected, rel=TOLERANCE)
    assert chips[name].model.clock_ns == max(chips[name].stage_ns.values())


@pytest.mark.parametrize("name", VALIDATED)
def test_the_generic_model_is_that_of_zigzag_imc(name: str, chips: dict[str, Any]) -> None:
    """Areas agree but for the CACTI table's rounding of areas to 1e-7 mm2."""
    generic, theirs = chips[name].generic, REFERENCE[name.upper()]["generic"]
    assert generic.clock_ns == pytest.approx(theirs["tclk"], rel=TOLERANCE)
    assert generic.energy_per_mac_fj == pytest.approx(theirs["fJ_per_mac"], rel=TOLERANCE)
    assert generic.tops_per_watt == pytest.approx(theirs["topsw"], rel=TOLERANCE)
    assert generic.area_mm2 == pytest.approx(theirs["area"], rel=5e-6)


@pytest.mark.parametrize("name", VALIDATED)
def test_reported_figures(name: str, chips: dict[str, Any]) -> None:
    reported, theirs = chips[name].reported, REFERENCE[name.upper()]["reported"]
    assert [reported.area_mm2, reported.clock_ns, reported.tops_per_watt] == pytest.approx(
        [theirs["area_mm2"], theirs["tclk_ns"], theirs["topsw"]]
    )
    assert chips[name].url.startswith("https://ieeexplore.ieee.org/document/")


def test_where_the_authors_figure_and_scripts_part(chips: dict[str, Any]) -> None:
    """Each percentage of their figure is our ratio, but for the three that the notes explain."""
    apart = set()
    for name, chip in chips.items():
        figure = REFERENCE[name.upper()]["figure_pct"]
        for metric, key in (("area_mm2", "area"), ("clock_ns", "tclk"), ("energy_per_mac_fj", "energy")):
            if abs(100 * chip.ratio["model"][metric] - figure[key]) > 1:  # read off an image
                apart.add((name, metric))
    assert apart == {("aimc1", "area_mm2"), ("dimc2", "clock_ns"), ("dimc2", "energy_per_mac_fj")}
    aimc1 = chips["aimc1"]
    once_mm2 = aimc1.model.area_mm2 - aimc1.area_breakdown_mm2["cells"] / 2
    assert 100 * once_mm2 / aimc1.reported.area_mm2 == pytest.approx(51, abs=0.5)
    carries_ns = 8 * kernels.carry_to_carry_delay_ns(TECHNOLOGY_28NM)
    dimc2 = chips["dimc2"]
    assert 100 * (dimc2.model.clock_ns + carries_ns) / dimc2.reported.clock_ns == pytest.approx(131, abs=0.5)
    switching_fj = sum(dimc2.energy_breakdown_fj[name] for name in ("mults", "adders"))
    at_half_fj = dimc2.model.energy_per_mac_fj - switching_fj * (1 - 0.5 / dimc2.weight_density)
    assert at_half_fj == pytest.approx(139, abs=0.5)


def test_mostly_what_switches_parts_the_generic_model_from_the_chips(chips: dict[str, Any]) -> None:
    """Energies of the chips whose switching is known: 174 % off if everything switches, 21 % with what does, 14 % with
    DIMC1's Booth encoding.
    """
    kept = [chip for chip in chips.values() if chip.energy_comparable]
    assert [chip.name for chip in kept] == ["aimc1", "aimc3", "dimc1", "dimc3"]
    off = {
        model: sum(abs(chip.ratio[model]["energy_per_mac_fj"] - 1) for chip in kept) / len(kept)
        for model in ("model", "generic", "generic_switching", "generic_options")
    }
    expected = {"model": 0.0396, "generic": 1.74, "generic_switching": 0.214, "generic_options": 0.138}
    assert off == pytest.approx(expected, rel=0.01)


def test_only_a_chips_own_options_part_the_last_two_models(chips: dict[str, Any]) -> None:
    apart = {name for name, chip in chips.items() if chip.generic_options != chip.generic_switching}
    assert apart == {"aimc2", "dimc1", "dimc2"}


# Blocks


def cost(**block: Any) -> Any:
    return Block(**block).costs(TECHNOLOGY_28NM, 28.0)


def test_a_tree_is_its_adders() -> None:
    """Four numbers of 3 bits: two adders of 3 bits and one of 4, of which the last carries through."""
    tree = cost(kind="adder_tree", inputs=4, bits=3)
    adders = [cost(kind="adder", bits=bits) for bits in (3, 3, 4)]
    assert tree.energy_pj == pytest.approx(sum(each.energy_pj for each in adders))
    assert tree.area_mm2 == pytest.approx(sum(each.area_mm2 for each in adders))
    assert tree.delay_ns == pytest.approx(kernels.operand_to_sum_delay_ns(TECHNOLOGY_28NM) + adders[-1].delay_ns)


def test_an_accumulator_ripples_beyond_its_input() -> None:
    step_ns = kernels.carry_to_carry_delay_ns(TECHNOLOGY_28NM)
    narrow, wide = (cost(kind="accumulator", bits=bits, input_bits=8).delay_ns for bits in (8, 13))
    assert narrow == pytest.approx(kernels.operand_to_sum_delay_ns(TECHNOLOGY_28NM))
    assert wide == pytest.approx(narrow + 5 * step_ns)


def test_an_area_of_another_node_goes_linearly() -> None:
    block = Block(kind="fixed", area_mm2=0.28, area_node_nm=28)
    assert block.costs(TECHNOLOGY_28NM, 22.0).area_mm2 == pytest.approx(0.22)
    assert Block(kind="fixed", area_mm2=0.28).costs(TECHNOLOGY_28NM, 22.0).area_mm2 == 0.28


BOTH = ["inputs", "weights"]
CHIP = {
    "citation": "someone",
    "url": "somewhere",
    "reported": {},
    "blocks": {
        "multipliers": {"kind": "multiplier", "bits": 8, "per": "position", "switching": BOTH, "stage": 1},
        "adder_trees": {"kind": "adder_tree", "inputs": 32, "bits": 8, "switching": BOTH, "stage": 1},
        "accumulators": {"kind": "accumulator", "bits": 21, "input_bits": 13, "stage": 1},
        "registers": {"kind": "register", "component": "accumulator_registers", "bits": 21},
    },
}  # fmt: skip
NODE = load_technology("28nm")
PLACES: dict[str, Any] = {"columns": 4, "rows": 32, "banks": 2, "cycles_per_activation": 8}


@settings(max_examples=30, deadline=None)
@given(toggle=st.floats(0.01, 1), density=st.floats(0.01, 1))
def test_the_generic_digital_macro_is_a_composition_too(toggle: float, density: float) -> None:
    """The paper's digital macro built of blocks costs what the macro kernels say, whatever switches."""
    found = chip_costs(ChipFile(**CHIP), NODE, **PLACES, input_toggle_rate=toggle, weight_density=density)
    macro = kernels.Macro(False, 4, 32, 2, 8, 8, 1, 0.0, 1, 0.0, toggle, density)
    peak = kernels.peak(macro, TECHNOLOGY_28NM, kernels.VARIANT_PAPER)
    assert found.energy_per_mac_fj["total"] == pytest.approx(peak.energy_per_mac_fj)
    clock = kernels.clock_ns(macro, TECHNOLOGY_28NM, kernels.VARIANT_PAPER)
    assert found.clock_ns == pytest.approx(clock.total)
    area = kernels.area_mm2(macro, TECHNOLOGY_28NM, kernels.VARIANT_PAPER)
    assert found.area_mm2["total"] == pytest.approx(area.total)
    assert (found.tops, found.tops_per_mm2) == pytest.approx((peak.tops, peak.tops_per_mm2))


def test_a_booth_coded_pipelined_macro_is_a_composition_too() -> None:
    """Two input bits are one digit: multipliers and trees for one, a bit wider; registers of 14 bits before the
    accumulators.
    """
    blocks = {
        "multipliers": {"kind": "multiplier", "bits": 8, "per": "position", "stage": 1},
        "adder_trees": {"kind": "adder_tree", "inputs": 32, "bits": 9, "stage": 1},
        "pipeline": {"kind": "register", "component": "pipeline_registers", "bits": 14},
        "accumulators": {"kind": "accumulator", "bits": 21, "input_bits": 14, "stage": 2},
        "registers": {"kind": "register", "component": "accumulator_registers", "bits": 21},
    }
    chip = ChipFile(**{**CHIP, "blocks": blocks})
    places = {**PLACES, "cycles_per_activation": 4}
    found = chip_costs(chip, NODE, **places, input_toggle_rate=1, weight_density=1)
    generic = macro_report(
        kind="digital",
        columns=4,
        rows=32,
        banks=2,
        activation_bits=8,
        weight_bits=8,
        bits_per_cycle=2,
        booth_encoding=True,
        pipeline_after=["adders_regular"],
        variant="paper",
        technology=NODE,
    )
    assert found.energy_per_mac_fj["total"] == pytest.approx(generic.energy_per_mac_fj)
    assert found.clock_ns == pytest.approx(generic.clock_ns["total"])
    assert list(found.stage_ns.values()) == pytest.approx([sum(stage.values()) for stage in generic.stages_ns])
    for name in ("mults", "pipeline_registers", "total"):
        assert found.area_mm2[name] == pytest.approx(generic.area_mm2[name])


def test_transfers_and_stages() -> None:
    costs = chip_costs(ChipFile(**CHIP), NODE, **PLACES, input_toggle_rate=1, weight_density=1)
    twice = chip_costs(ChipFile(**CHIP, transfers_per_cycle=2), NODE, **PLACES, input_toggle_rate=1, weight_density=1)
    assert twice.clock_ns == pytest.approx(2 * costs.clock_ns)
    assert twice.energy_per_mac_fj["total"] == pytest.approx(2 * costs.energy_per_mac_fj["total"])
    assert twice.area_mm2 == costs.area_mm2


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ({"kind": "adder"}, "a block of kind adder needs the key bits"),
        ({"kind": "adder", "bits": 8, "inputs": 4}, "a block of kind adder has no inputs (it has bits)"),
        ({"kind": "register", "bits": 8}, "a block of kind register needs the key component"),
        (
            {"kind": "adder_tree", "bits": 8, "inputs": 6},
            "the inputs of an adder tree must be a power of two and at least 2, not 6",
        ),
        ({"kind": "accumulator", "bits": 8, "input_bits": 9}, "an accumulator is at least as wide as what it adds"),
        ({"kind": "adder", "bits": -1}, "must be a positive number, not -1"),
        ({"kind": "adder", "bits": 8, "bit": 1}, "unknown key bit; did you mean bits?"),
    ],
)
def test_refused_blocks(block: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    data = yaml.safe_load(zoo.text("architecture", "dimc1"))
    data["chip"]["blocks"]["mine"] = block
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(InputError) as caught:
        validate_chip(path)
    assert sentence in str(caught.value)
    assert "chip.blocks.mine" in str(caught.value)


def test_a_chip_without_stages_is_refused() -> None:
    blocks = {"adders": {"kind": "adder", "bits": 8}}
    with pytest.raises(InputError, match="no block has a stage, so that there is no clock"):
        ChipFile(**{**CHIP, "blocks": blocks})


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ({"kind": "adc", "bits": 13, "inputs": 64}, "bits of the block mine must be between 1 and 12, where the fits"),
        ({"kind": "register", "component": "adders", "bits": 8}, "the blocks of the chip of someone take no time"),
        ({"kind": "line", "inputs": 8}, "the blocks of the chip of someone take no area"),
        ({"kind": "fixed", "area_mm2": 1}, "the blocks of the chip of someone take no energy"),
    ],
)
def test_chips_that_cannot_be(block: dict[str, Any], sentence: str) -> None:
    chip = ChipFile(**{**CHIP, "blocks": {"mine": {**block, "stage": 1}}})
    with pytest.raises(InputError) as caught:
        chip_costs(chip, NODE, **PLACES, input_toggle_rate=1, weight_density=1)
    assert str(caught.value).startswith(sentence)


def test_an_architecture_that_is_no_chip() -> None:
    assert load_chip("aimc") is None
    with pytest.raises(InputError, match="aimc has no section chip that says what is published"):
        validate_chip("aimc")


# The chips as architectures


@pytest.mark.parametrize("name", VALIDATED)
def test_architectures_of_chips(name: str) -> None:
    architecture = load_architecture(name)
    assert architecture.array.columns * architecture.array.rows > 0
    assert any("chip section" in warning for warning in architecture.warnings)
    assert architecture.cells.area_mm2 > 0
    node = 28 if architecture.technology is None else architecture.technology.node_nm
    assert node == (22 if name in ("aimc1", "aimc3") else 28)


# Chips that nobody fitted anything to


def test_further_chips() -> None:
    found = further_chips()
    assert len(found) >= 15
    assert {chip.kind for chip in found} == {"analog", "digital"}
    for chip in found:
        assert 22 <= chip.node_nm <= 28
        for ratios in chip.ratio.values():
            assert ratios["energy_per_mac_fj"] > 0
            assert ratios["clock_ns"] > 0
        switching = chip.ratio["generic_switching"]["energy_per_mac_fj"]
        assert switching < chip.ratio["generic"]["energy_per_mac_fj"]
        # geometry and cycle time agree with the throughput that the database gives
        energy_fj = chip.reported.energy_per_mac_fj
        assert energy_fj == pytest.approx(2000 / chip.reported.tops_per_watt)


def test_further_chips_are_far_off() -> None:
    """Out of sample the energies of the generic macro are off by a factor of 2 (digital) and 5 (analog)."""
    factors = {"digital": [], "analog": []}
    for chip in further_chips():
        factors[chip.kind].append(abs(math.log(chip.ratio["generic"]["energy_per_mac_fj"])))
    means = {kind: math.exp(sum(logs) / len(logs)) for kind, logs in factors.items()}
    assert means == pytest.approx({"digital": 2.35, "analog": 4.56}, rel=0.01)


# The command


def test_validate_prints(cli: Callable[..., str]) -> None:
    shown = cli("validate", "--further")
    assert "aimc2 *" in shown
    assert "703 %" in shown
    assert "mean mismatch of energy over aimc1, aimc3, dimc1, dimc3: 3.96 %" in shown
    assert "mean mismatch of clock over aimc1, aimc2, aimc3, dimc1, dimc2, dimc3, dimc4: 5.29 %" in shown
    assert "chih21" in shown
    data = json.loads(cli("validate", "dimc3", "--json"))
    assert [chip["name"] for chip in data["chips"]] == ["dimc3"]
    assert "further_chips" not in data


def test_validate_saves_the_same_bytes_twice(cli: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    for folder in ("a", "b"):
        cli("validate", "--save", str(tmp_path / folder), "--picture", str(tmp_path / f"{folder}.svg"))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["validation.json", "validation.png", "validation.txt"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_of_a_chip_that_reports_its_area_only(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    from fastmap.pictures import draw_validation

    data = yaml.safe_load(zoo.text("architecture", "dimc3"))
    data["chip"]["reported"] = {"area_mm2": 0.15}
    chip = tmp_path / "chip.yaml"
    chip.write_text(yaml.safe_dump(data, sort_keys=False))
    draw_validation([validate_chip(chip)], tmp_path / "chip.svg")
    assert (tmp_path / "chip.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_results_in_the_repository_are_these(cli: Callable[..., str], tmp_path: Path) -> None:
    """`fastmap validate --further --save` again: text to the byte, numbers to rounding."""
    cli("validate", "--further", "--save", str(tmp_path))
    results = Path(__file__).parents[1] / "results"
    assert (tmp_path / "validation.txt").read_text() == (results / "validation.txt").read_text()
    assert_close(
        json.loads((tmp_path / "validation.json").read_text()), json.loads((results / "validation.json").read_text())
    )


def assert_close(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    else:
        assert ours == (pytest.approx(theirs, rel=1e-12) if isinstance(ours, float) else theirs)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("validate", "--picture", "x.gif"), "x.gif: pictures are files of type .png, .svg, .pdf"),
        (("validate", "nochip"), "there is no architecture nochip"),
        (("validate", "resnet8.yaml"), "there is no file resnet8.yaml"),
    ],
)
def test_user_mistakes(arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(("validate", "--picture", "x.png")) == 2
    assert capsys.readouterr().err == "fastmap: pictures need matplotlib: pip install 'fastmap[plot]'\n"
