"""Mappings and constraints: round trips, what a mapping must satisfy, and the iterations that are left over."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmap.constraints import ConstraintSet
from fastmap.errors import InputError, MappingError
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import (
    Constraints,
    Mapping,
    SpatialMapping,
    balanced_factors,
    jointly_remaining,
    remaining_iterations,
    spatial_levels,
)
from fastmap.readers import zigzag
from fastmap.readers.source import parse_document
from tests.reference import oracle

AIMC = load_architecture("aimc")
BANKS = load_architecture("dimc_64x64_4banks")
LAYER = Layer(name="conv", K=64, C=32, OX=8, OY=8, FX=3, FY=3)
GOOD = {
    "spatial": {"D1": {"K": 64}, "D2": {"C": 32, "FX": 3}},
    "temporal": [["OX", 4], ["OX", 2], ["OY", 8], ["FY", 3]],
    "allocation": {"W": [1, 4], "I": [0, 3, 4], "O": [2, 4, 4]},
}


def with_(**changes):
    return Mapping.from_dict({**GOOD, **changes})


class TestMapping:
    def test_round_trip(self):
        mapping = Mapping.from_dict(GOOD)
        assert mapping.to_dict() == GOOD
        assert Mapping.from_dict(mapping.to_dict()) == mapping
        assert hash(Mapping.from_dict(mapping.to_dict())) == hash(mapping)

    def test_allocation_is_optional(self):
        data = {key: value for key, value in GOOD.items() if key != "allocation"}
        mapping = Mapping.from_dict(data)
        assert mapping.allocation is None
        assert mapping.to_dict() == data

    def test_orders_are_kept(self):
        data = {"spatial": {"D2": {"FX": 3, "C": 2}, "D1": {"K": 4}}, "temporal": []}
        assert list(Mapping.from_dict(data).to_dict()["spatial"]) == ["D2", "D1"]
        assert list(Mapping.from_dict(data).to_dict()["spatial"]["D2"]) == ["FX", "C"]

    def test_load(self, tmp_path):
        path = tmp_path / "m.yaml"
        path.write_text("spatial: {D1: {K: 64}}\ntemporal: [[OX, 7]]\n", encoding="utf-8")
        assert Mapping.load(path) == Mapping.from_dict({"spatial": {"D1": {"K": 64}}, "temporal": [["OX", 7]]})

    def test_a_good_mapping_passes(self):
        Mapping.from_dict(GOOD).check(LAYER, AIMC)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            (
                {"spatial": {"D9": {"K": 2}}},
                "spatial.D9: aimc has no such array dimension (it has D1, D2)",
            ),
            ({"spatial": {"D1": {"K": 65}}}, "spatial.D1.K: the factor 65 is larger than the loop of size 64"),
            (
                {"spatial": {"D2": {"C": 32, "FX": 3, "FY": 2}}},
                "D2: C 32 * FX 3 * FY 2 = 192 units are needed, and the array has 128",
            ),
            ({"temporal": GOOD["temporal"][1:]}, "temporal: the factors of OX multiply to 2, and 8 are needed"),
            ({"temporal": [*GOOD["temporal"], ["K", 2]]}, "temporal: the factors of K multiply to 2, and 1 is needed"),
            (
                {"allocation": {**GOOD["allocation"], "W": [4]}},
                "allocation.W: must have 2 numbers (for cells, dram), not 1",
            ),
            ({"allocation": {**GOOD["allocation"], "I": [2, 1, 4]}}, "allocation.I: must not decrease"),
            ({"allocation": {**GOOD["allocation"], "O": [2, 3, 3]}}, "allocation.O: must end at 4"),
            ({"allocation": {"W": [1, 4], "I": [0, 3, 4]}}, "operand O is missing"),
        ],
    )
    def test_check_refuses(self, changes, words):
        with pytest.raises(MappingError) as caught:
            with_(**changes).check(LAYER, AIMC)
        assert words in str(caught.value)
        assert str(caught.value).startswith("mapping of conv on aimc, ")

    def test_all_problems_are_listed(self):
        with pytest.raises(MappingError, match="and 1 more"):
            with_(spatial={"D9": {"K": 2}, "D1": {"K": 65}}, allocation=None).check(LAYER, AIMC)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"spatial": {"D1": {"Q": 2}}}, "unknown loop dimension Q"),
            ({"spatial": {"D1": {"K": 0}}}, "spatial.D1.K: must be a positive integer"),
            ({"spatial": {"D1": 3}}, "must be a mapping of loop dimensions to factors"),
            ({"temporal": [["K"]]}, "temporal[0]: must be a pair"),
            ({"temporal": [["K", 2], ["Q", 2]]}, "temporal[1]: unknown loop dimension Q"),
            ({"temporal": 3}, "must be a list"),
            ({"allocation": {"X": [1]}}, "unknown operand X"),
            ({"allocation": {"W": [-1]}}, "allocation.W: must be an integer of at least 0"),
            ({"alocation": {}}, "unknown key alocation; did you mean allocation?"),
        ],
    )
    def test_malformed(self, changes, words):
        with pytest.raises(InputError) as caught:
            with_(**changes)
        assert words.removeprefix("spatial.") in str(caught.value)


class TestRemainingIterations:
    def left(self, layer, spatial, arch=AIMC, **options):
        return remaining_iterations(layer, arch, SpatialMapping(unrolling=spatial), **options)

    def test_ceiling(self):
        assert self.left(Layer(K=100, C=9), {"D1": {"K": 64}}) == {"K": 2, "C": 9}

    def test_order_is_the_layers_own(self):
        assert list(self.left(Layer(sizes={"C": 9, "K": 100}), {"D1": {"K": 64}})) == ["C", "K"]

    def test_rounding_of_the_quotient_is_repeated(self):
        layer = Layer(K=34)
        assert self.left(layer, {"D1": {"K": 5}}) == {"K": 8}
        assert self.left(layer, {"D1": {"K": 5}}, exact=True) == {"K": 7}

    def test_a_mapping_may_have_either_count(self):
        layer = Layer(K=34)
        for iterations in (7, 8):
            Mapping.from_dict({"spatial": {"D1": {"K": 5}}, "temporal": [["K", iterations]]}).check(layer, AIMC)
        with pytest.raises(MappingError, match="7 or 8 are needed"):
            Mapping.from_dict({"spatial": {"D1": {"K": 5}}, "temporal": [["K", 6]]}).check(layer, AIMC)

    @pytest.mark.parametrize(
        ("spatial", "balanced", "left"),
        [
            ({"D1": {"K": 8}, "D3": {"K": 4}}, {"D1": {"K": 100 / 13}, "D3": {"K": 4}}, 4),
            ({"D1": {"K": 2}, "D3": {"K": 4}}, {"D1": {"K": 2}, "D3": {"K": 100 / 13 / 2}}, 13),
            ({"D1": {"K": 4}, "D3": {"K": 4}}, {"D1": {"K": 4}, "D3": {"K": 4}}, 7),
        ],
    )
    def test_one_loop_on_two_array_dimensions(self, spatial, balanced, left):
        layer = Layer(K=100)
        assert balanced_factors(layer, SpatialMapping(unrolling=spatial)) == balanced
        assert self.left(layer, spatial, BANKS) == {"K": left}

    def test_a_mapping_may_have_what_several_array_dimensions_leave_together(self):
        """9 channels on 2 x 3 units: rounding up twice ZigZag takes 3 iterations, and 2 are enough."""
        layer = Layer(K=9, operand_order=("O", "I", "W"))
        spatial = SpatialMapping(unrolling={"D1": {"K": 2}, "D2": {"K": 3}})
        assert remaining_iterations(layer, AIMC, spatial) == {"K": 3}
        assert remaining_iterations(layer, AIMC, spatial, exact=True) == {"K": 3}
        assert jointly_remaining(layer, spatial)["K"] == 2
        for iterations in (2, 3):
            Mapping(spatial=spatial, temporal=[("K", iterations)]).check(layer, AIMC)
        with pytest.raises(MappingError, match=r"K multiply to 4, and 2 or 3 are needed"):
            Mapping(spatial=spatial, temporal=[("K", 4)]).check(layer, AIMC)
        assert jointly_remaining(Layer(K=5), spatial)["K"] == 1

    def test_levels(self):
        levels = spatial_levels("I", AIMC, {"D1": {"K": 4.0}, "D2": {"C": 2.0, "FX": 3.0}})
        assert levels == [{"K": 4.0}, {"C": 2.0, "FX": 3.0}, {}, {}]
        assert spatial_levels("W", AIMC, {"D1": {"K": 4.0}}) == [{}, {"K": 4.0}, {}]

    @given(size=st.integers(1, 1024), factor=st.integers(1, 128))
    def test_exact_is_the_ceiling(self, size, factor):
        factor = min(size, factor)
        left = self.left(Layer(K=size), {"D1": {"K": factor}}, exact=True)
        assert left.get("K", 1) == math.ceil(Fraction(size, factor))
        assert self.left(Layer(K=size), {"D1": {"K": factor}}).get("K", 1) in (left.get("K", 1), left.get("K", 1) + 1)

    @pytest.mark.parametrize("file", oracle.FILES)
    def test_all_mappings_of_the_oracle_belong_to_their_layers(self, file):
        count = 0
        for name, hardware, case, _ in oracle.cases(file):
            arch = zigzag.architecture(parse_document(str(hardware), name))
            source = case["layer"]
            data = {key: value for key, value in source.items() if key != "op" and value is not None}
            document = parse_document(str([{"id": 0, "operator_type": source["op"], **data}]), case["id"])
            layer = zigzag.workload(document, "oracle")[0]
            mapping = Mapping(
                spatial={
                    array_dim: {layer.aliases.get(dim, dim): factor for dim, factor in factors}
                    for array_dim, factors in case["spatial"]
                },
                temporal=[[layer.aliases.get(dim, dim), factor] for dim, factor in case["temporal"]],
            )
            assert mapping.problems(layer, arch) == []
            count += 1
        assert count >= 20


class TestConstraints:
    def test_round_trip(self):
        data = {
            "spatial": {"D1": {"K": 4}},
            "allowed": {"D2": ["C", "FX"]},
            "min_array_utilization": 0.5,
            "max_spatial_mappings": 3,
            "loop_factor_limit": 6,
            "temporal": [["OX", 2]],
        }
        constraints = Constraints.from_dict(data)
        assert constraints.to_dict() == data
        assert Constraints.from_dict(constraints.to_dict()) == constraints
        assert Constraints().to_dict() == {}

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"min_array_utilization": 0}, "a positive number"),
            ({"min_array_utilization": 1.01}, "at most 1"),
            ({"loop_factor_limit": 0}, "positive integer"),
            ({"max_spatial_mappings": 1.5}, "positive integer"),
            ({"allowed": {"D1": "K"}}, "list of loop dimensions"),
            ({"allowed": {"D1": ["Z"]}}, "unknown loop dimension Z"),
            ({"lpf_limit": 6}, "did you mean loop_factor_limit?"),
        ],
    )
    def test_refuses(self, data, words):
        with pytest.raises(InputError) as caught:
            Constraints.from_dict(data)
        assert words in str(caught.value)

    def test_keys_of_a_layer_replace_the_common_ones(self):
        both = ConstraintSet(
            common=Constraints(loop_factor_limit=6, max_spatial_mappings=3),
            layers={"conv": Constraints(loop_factor_limit=8)},
        )
        assert both.for_layer(LAYER) == Constraints(loop_factor_limit=8, max_spatial_mappings=3)
        assert both.for_layer(Layer(K=1)) == both.common
