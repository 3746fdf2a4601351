"""The number of valid mappings equals what enumerating all of them finds."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest

from fastmap.cli import main
from fastmap.control import Control
from fastmap.counting import _groups, count_valid
from fastmap.errors import SearchError
from fastmap.exploration import Options
from fastmap.kernels.count_array import array_levels
from fastmap.layer import Layer
from fastmap.loading import load_architecture, load_workload
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.readers import native
from fastmap.readers.source import parse_document
from fastmap.symmetry import is_symmetric

from . import problems
from .reference import search as reference
from .reference.problem import REPAIRS, DoesNotFit
from .test_optimal import SMALL, TINY, build, fixed_spatial, outcome, random_problem, random_rules, reference_rules

AIMC = load_architecture("aimc")


def enumerated(space: Mapspace) -> int:
    """Mappings that the exhaustive strategy finds to fit."""
    found = outcome(space, Options("edp", "exhaustive", threads=1, top=1))
    return 0 if isinstance(found, str) else int(found.statistics["mappings_fitting"])


@pytest.mark.parametrize("block", range(4))
def test_count_equals_the_exhaustive_strategy(block: int) -> None:
    """Random layers on random accelerators, several spatial mappings, with and without rules, both cost models."""
    some, ruled = 0, 0
    for seed in range(block * 1000, block * 1000 + 250):
        pick = random.Random(f"count {seed}").choice
        layer, architecture = (
            read(each)
            for read, each in zip(
                (problems.read_layer, problems.read_architecture), random_problem(pick, SMALL), strict=True
            )
        )
        rules = random_rules(pick, layer, architecture) if pick((True, True, False)) else {}
        space = build(
            layer, architecture, rules | {"max_spatial_mappings": 4}, pick(("corrected", "corrected", "zigzag"))
        )
        if space is None or space.size > 200_000:
            continue
        valid = count_valid(space, threads=pick((1, 2)))
        assert valid == enumerated(space), (seed, rules)
        some += 0 < valid < space.size
        ruled += bool(rules) and valid > 0
    assert some > 40
    assert ruled > 20


def test_count_equals_brute_force() -> None:
    """One spatial mapping against the reference, with and without rules."""
    compared = 0
    for seed in range(300):
        pick = random.Random(f"brute {seed}").choice
        layer, hw = random_problem(pick, TINY)
        spatial = fixed_spatial(pick, layer, hw)
        read_layer, architecture = problems.read_layer(layer), problems.read_architecture(hw)
        rules = random_rules(pick, read_layer, architecture) if pick((True, False)) else {}
        names = {problems.loop_name(layer, dim): dim for dim in layer["loop_dims"]}
        unrolling = problems.mapping_of(layer, spatial, []).spatial.unrolling
        space = build(read_layer, architecture, rules | {"spatial": dict(unrolling)}, "corrected")
        if space is None or space.size > 2000:
            continue
        try:
            brute = list(reference.complete_space(layer, hw, spatial, REPAIRS, reference_rules(rules, names)))
        except DoesNotFit:
            brute = []
        assert count_valid(space, threads=1) == sum(point.fits for point in brute), (seed, rules)
        compared += 1
    assert compared > 50


def one_spatial_mapping(space: Mapspace, i: int) -> Mapspace:
    return dataclasses.replace(
        space,
        candidates=space.candidates[[i]],
        remaining=space.remaining[[i]],
        loops=space.loops[[i]],
        orders=(space.orders[i],),
    )


@pytest.mark.parametrize("architecture", ["aimc", "aimc_4level", "dimc_64x64_4banks"])
@pytest.mark.parametrize("cost_model", ["corrected", "zigzag"])
def test_spatial_mappings_counted_together_and_alone(architecture: str, cost_model: str) -> None:
    """What is counted once for many spatial mappings, over-hanging ones among them, is what each has by itself."""
    layer = Layer(name="conv", K=22, C=36, OX=14, OY=5, FX=3, FY=3, stride_x=2)
    space = Mapspace.build(layer, load_architecture(architecture), cost_model=cost_model)
    lowest = array_levels(space.problem, len(space.architecture.array.dimensions))
    groups = _groups(space, space.candidates, space.remaining, lowest)
    assert sorted(i for group in groups for i in group.members.tolist()) == list(range(len(space.orders)))
    assert max(len(group.members) for group in groups) > 20
    picked = sorted(random.Random(architecture).sample(range(len(space.orders)), 40))
    some = dataclasses.replace(
        space,
        candidates=space.candidates[picked],
        remaining=space.remaining[picked],
        loops=space.loops[picked],
        orders=tuple(space.orders[i] for i in picked),
    )
    assert count_valid(some, threads=2) == sum(count_valid(one_spatial_mapping(space, i)) or 0 for i in picked)


@pytest.mark.parametrize("ruled", [False, True])
def test_random_spatial_mappings_counted_together_and_alone(ruled: bool) -> None:
    """Rules on allocations, too, are the same for all of them; rules on orders are not."""
    shared = 0
    for seed in range(200):
        pick = random.Random(f"together {seed}").choice
        layer, architecture = (
            read(each)
            for read, each in zip(
                (problems.read_layer, problems.read_architecture), random_problem(pick, SMALL), strict=True
            )
        )
        rules = random_rules(pick, layer, architecture) if ruled else {}
        cost_model = pick(("corrected", "corrected", "zigzag"))
        space = build(layer, architecture, rules, cost_model)
        if space is None or len(space.orders) > 60:
            continue
        lowest = array_levels(space.problem, len(space.architecture.array.dimensions))
        groups = _groups(space, space.candidates, space.remaining, lowest)
        alone = sum(count_valid(one_spatial_mapping(space, i)) or 0 for i in range(len(space.orders)))
        assert count_valid(space, threads=pick((1, 2))) == alone, (seed, rules)
        shared += alone > 0 and max(len(group.members) for group in groups) > 1
    assert shared > (8 if ruled else 25)


@pytest.mark.parametrize("rules", [{}, {"stationary": {"near": "I"}}, {"weights_loaded_once": True}])
def test_two_memories_that_all_operands_share(rules: dict[str, object]) -> None:
    """What is cut at the one and at the other must be remembered together."""
    memory = {"operands": ["W", "I", "O"], "bandwidth_bits": 64}
    memory |= {"ports": 1, "read_energy_pj": 1, "write_energy_pj": 1}
    tight = {
        "name": "tight",
        "array": {"kind": "mac", "dimensions": {"D1": 4, "D2": 3}, "unit_energy_pj": 1},
        "memories": {
            "register": memory | {"operands": ["O"], "size_bits": 64, "serves": "D2"},
            "near": memory | {"size_bits": 600},
            "far": memory | {"size_bits": 900},
            "away": memory | {"size_bits": 10**15},
        },
    }
    architecture = native.architecture(parse_document(json.dumps(tight), "tight"), "tight")
    constraints = Constraints.from_dict({"max_spatial_mappings": 5, **rules})
    space = Mapspace.build(Layer(name="conv", K=6, C=4, OX=4, OY=2), architecture, constraints)
    valid = count_valid(space)
    assert valid == enumerated(space)
    assert valid is not None
    assert 0 < valid < space.size


@pytest.mark.parametrize("allocation", ["free", "even"])
def test_whatever_fits_everywhere_counts_as_all(allocation: str) -> None:
    """With room for everything, and all operands in each memory, the count is known in closed form."""
    memory = {"operands": ["W", "I", "O"], "size_bits": 10**15, "bandwidth_bits": 64}
    memory |= {"ports": 1, "read_energy_pj": 1, "write_energy_pj": 1}
    roomy = {
        "name": "roomy",
        "array": {"kind": "mac", "dimensions": {"D1": 1}, "unit_energy_pj": 1},
        "memories": dict.fromkeys(("near", "far", "away"), memory),
    }
    architecture = native.architecture(parse_document(json.dumps(roomy), "roomy"), "roomy")
    layer = Layer(name="conv", K=1024, C=1024, OX=512, OY=512, FX=9, FY=9)
    space = Mapspace.build(layer, architecture, Constraints(allocation=allocation))
    n = int(space.loops[0])
    each = math.comb(n + 2, 2)
    assert space.size == space.orders[0] * each**3
    assert space.size > 10**35
    assert count_valid(space) == space.orders[0] * (each if allocation == "even" else each**3)


def test_greedy_allocations_are_counted_one_by_one() -> None:
    layer = Layer(name="conv", K=4, C=4, OX=2)
    space = Mapspace.build(layer, AIMC, Constraints(allocation="greedy"))
    assert count_valid(space) == enumerated(space)
    large = Mapspace.build(load_workload("resnet18")["conv1"], AIMC, Constraints(allocation="greedy"))
    with pytest.raises(SearchError, match="once every order is enumerated"):
        count_valid(large)


def test_a_stopped_count_is_no_count() -> None:
    control = Control()
    control.stop()
    assert count_valid(Mapspace.build(Layer(name="conv", K=4, C=4, OX=2), AIMC), control=control) is None


def test_too_many_cases_are_not_counted() -> None:
    """Bounds at middle levels tie two cuts of an operand; each dimension multiplies the cases."""
    architecture = load_architecture("aimc_4level")
    bounds = {dim: {"min": 2, "max": 8} for dim in ("K", "C", "OX", "OY")}
    constraints = Constraints.from_dict(
        {"factors": {"global_buffer": bounds, "output_buffer": bounds}, "max_spatial_mappings": 2}
    )
    space = Mapspace.build(load_workload("resnet18")["layer1_0_conv1"], architecture, constraints)
    with pytest.raises(SearchError, match="tie too many cuts"):
        count_valid(space)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    call = ["count", "ds_cnn", "--layer", "fc", "--arch", "aimc"]
    space = Mapspace.build(load_workload("ds_cnn")["fc"], AIMC)
    valid = count_valid(space)
    assert main(call) == 0
    plain = capsys.readouterr().out
    assert f" {space.size:,} " in plain
    assert f" {valid:,} " in plain
    assert main([*call, "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    assert data["layers"]["fc"]["valid_mappings"] == data["valid_mappings"] == valid


def test_command_says_what_it_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    call = ["count", "resnet18", "--layer", "conv1", "--arch", "aimc", "--allocation", "greedy"]
    assert main(call) == 0
    assert "conv1: not counted: which greedy allocations fit" in capsys.readouterr().out
    assert main([*call, "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    assert data["valid_mappings"] is None
    assert "once every order is enumerated" in data["layers"]["conv1"]["why"]


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"innermost": [["K", 2]]},
        {"inside": [["C", "K"]]},
        {"forbidden": {"sram_256KB.I": ["OX", "OY"]}},
        {"inside": [["FX", "OX"], ["FY", "OY"]]},
    ],
)
def test_mirror_images_count_as_often_as_they_occur(rules: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer(name="conv", K=4, C=3, OX=5, OY=5, FX=3, FY=3)
    space = Mapspace.build(layer, AIMC, Constraints.from_dict(rules))
    assert is_symmetric(space)
    valid = count_valid(space)
    for module in ("counting", "symmetry"):
        monkeypatch.setattr(f"fastmap.{module}.is_symmetric", lambda space: False)
    assert count_valid(space) == valid > 0
