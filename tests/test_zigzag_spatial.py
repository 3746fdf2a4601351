"""ZigZag's spatial mappings: its lists for ResNet-18, its order of sets, and a brute force over all combinations."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastmap.architecture import Architecture
from fastmap.errors import InputError, SearchError
from fastmap.exploration import search
from fastmap.layer import Layer
from fastmap.loading import load_architecture, load_workload
from fastmap.mapping import Constraints, SpatialMapping
from fastmap.mapspace import Mapspace
from fastmap.zigzag_spatial import set_order, zigzag_spatial_mappings

DATA = Path(__file__).parent / "data"
ZIGZAG = json.loads(gzip.decompress((DATA / "zigzag_runs" / "resnet18.json.gz").read_bytes()))["runs"]
AIMC = load_architecture("aimc")
BANKS = load_architecture("dimc_64x64_4banks")
HINTS = {"D1": ("K",), "D2": ("C", "FX", "FY")}
WIDE = Layer(K=8, C=8, OX=8, input_bits=16)
LAYER = Layer(name="conv", K=64, C=32, OX=8, OY=8, FX=3, FY=3)


def ordered(mappings: list[SpatialMapping]) -> list[list[tuple[str, list[tuple[str, int]]]]]:
    return [[(name, list(factors.items())) for name, factors in each.unrolling.items()] for each in mappings]


def without(architecture: Architecture, serves: dict[str, tuple[str, ...]]) -> Architecture:
    """The architecture with other served dimensions."""
    memories = tuple(
        memory.model_copy(update={"serves": serves.get(memory.name, memory.serves)}) for memory in architecture.memories
    )
    return Architecture(name="other", array=architecture.array, memories=memories)


@pytest.mark.parametrize("array", ["aimc", "dimc"])
@pytest.mark.parametrize("kind", ["yaml", "onnx"])
def test_resnet18(array, kind):
    if kind == "onnx":
        pytest.importorskip("onnx")
    workload = load_workload(DATA / "zigzag" / "workload" / f"resnet18.{kind}")
    architecture = load_architecture(DATA / "zigzag" / "hardware" / f"{array}.yaml")
    for layer, theirs in zip(workload, ZIGZAG[f"{array}_{kind}"]["layers"], strict=True):
        expected = [SpatialMapping(unrolling=unrolling) for unrolling in theirs["spatial"]]
        found = zigzag_spatial_mappings(layer, architecture, HINTS)
        assert ordered(found) == ordered(expected)
        space = Mapspace.build(
            layer, architecture, Constraints(allowed=HINTS, spatial_candidates="zigzag", loop_factor_limit=6)
        )
        assert [space.spatial(index) for index in range(len(space.orders))] == expected
        assert list(space.orders) == theirs["orders"]


@pytest.mark.parametrize(
    ("inserted", "iterated"),
    [  # of ZigZag 3.9.1
        ("C FX FY", "FX C FY"),
        ("FX FY C", "FX C FY"),
        ("C FX", "FX C"),
        ("C FY", "C FY"),
        ("FX FY", "FX FY"),
        ("OX OY", "OY OX"),
        ("K OX", "K OX"),
        ("C K", "K C"),
        ("K OX OY", "K OY OX"),
        ("K C OX OY", "K OX OY C"),
        ("K G", "G K"),
        ("B K G OX OY C FX FY", "FY FX B G OX C K OY"),
        ("B K C OY OX FY FX", "FY FX B OX C K OY"),
        ("C D K", "K D C"),
        ("C D K B", "K B D C"),
        ("C D K B H", "B H D C K"),
    ],
)
def test_order_of_sets(inserted, iterated):
    assert " ".join(set_order(inserted.split())) == iterated


def test_order_by_the_names_of_the_file():
    assert set_order(["C", "B", "K"], {"B": "D"}) == ["K", "B", "C"]


class TestLists:
    def test_divisors_of_what_fits(self):
        """200 channels on 128 columns: the divisors of 128, and not of 200."""
        assert ordered(zigzag_spatial_mappings(Layer(K=200, C=5), AIMC, HINTS)) == [
            [("D1", [("K", columns)]), ("D2", [("C", 5)])] for columns in (128, 64, 32)
        ]

    def test_loops_without_hint(self):
        """An array dimension without usable loops may unroll all; the registers leave only K, and C."""
        product = Layer(K=64, C=32, B=4, sliding_window=False)
        for allowed in ({"D1": ("K",)}, {"D1": ("K",), "D2": ("FX", "FY")}):
            found = zigzag_spatial_mappings(product, AIMC, allowed, 1)
            assert ordered(found) == [[("D1", [("K", 64)]), ("D2", [("C", 32)])]]

    def test_foreign_array_dimensions_are_ignored(self):
        assert zigzag_spatial_mappings(LAYER, AIMC, {**HINTS, "D7": ("B",)}) == zigzag_spatial_mappings(
            LAYER, AIMC, HINTS
        )

    def test_fewer_than_asked_for(self):
        layer = Layer(K=2, C=1)
        found = zigzag_spatial_mappings(layer, AIMC, {"D1": ("K",), "D2": ("C",)}, 10)
        assert [mapping.unrolling["D1"]["K"] for mapping in found] == [2, 1]

    def test_a_register_too_narrow_for_one_element(self):
        """The input registers along D1 cannot deliver 16 bits."""
        assert zigzag_spatial_mappings(WIDE, AIMC, {"D1": ("OX",)}) == []

    def test_given_dimensions_come_first_and_are_cut_down(self):
        given_mapping = SpatialMapping(unrolling={"D2": {"C": 64, "OX": 4}})
        found = zigzag_spatial_mappings(LAYER, AIMC, HINTS, 1, given_mapping)
        assert ordered(found) == [[("D2", [("C", 32), ("OX", 1)]), ("D1", [("K", 64)])]]

    def test_a_given_dimension_that_exceeds_the_array_loses_loops(self):
        layer = Layer(K=512, C=512, OX=8, OY=8, FX=3, FY=3)
        given_mapping = SpatialMapping(unrolling={"D1": {"K": 32}, "D2": {"C": 128, "FX": 3}})
        found = zigzag_spatial_mappings(layer, AIMC, HINTS, 3, given_mapping)
        assert ordered(found) == [[("D1", [("K", 32)]), ("D2", [("C", 128)])]]

    def test_a_loop_given_on_two_dimensions_beyond_its_size(self):
        layer = Layer(sizes={"C": 10, "B": 12, "K": 34}, sliding_window=False, aliases={"D": "B"})
        given_mapping = SpatialMapping(unrolling={"D2": {"C": 8}, "D1": {"K": 2, "C": 4}})
        free = without(AIMC, {"rf_1B": ()})
        found = zigzag_spatial_mappings(layer, free, HINTS, 3, given_mapping)
        assert ordered(found) == [[("D2", [("C", 8)]), ("D1", [("K", 2)])]]

    def test_small_registers_shrink_the_factors(self):
        """A register of 8 bits for outputs of 16 along D2, though its port moves 64 bits."""
        memories = []
        for memory in without(AIMC, {"rf_1B": ()}).memories:
            if memory.name == "rf_1B":  # holds 5 inputs, and all rows read them
                ports = [port.model_copy(update={"bandwidth_max_bits": 512}) for port in memory.ports]
                memory = memory.model_copy(update={"size_bits": 40, "serves": ("D2",), "ports": tuple(ports)})
            memories.append(memory)
        architecture = Architecture(name="small", array=AIMC.array, memories=tuple(memories))
        layer = Layer(K=4, C=16, OX=4, FX=1)
        found = zigzag_spatial_mappings(layer, architecture, {"D1": ("K",), "D2": ("C",)}, 1)
        assert ordered(found) == [[("D1", [("K", 4)]), ("D2", [("C", 5)])]]


class TestMapspace:
    def test_the_number_of_mappings(self):
        for count, expected in ((None, 3), (1, 1), (5, 5)):
            space = Mapspace.build(
                LAYER, AIMC, Constraints(allowed=HINTS, spatial_candidates="zigzag", max_spatial_mappings=count)
            )
            assert len(space.orders) == expected
            assert [space.spatial(index) for index in range(expected)] == zigzag_spatial_mappings(
                LAYER, AIMC, HINTS, expected
            )

    def test_part_of_the_mapping_is_given(self):
        constraints = Constraints(
            spatial=SpatialMapping(unrolling={"D1": {"K": 32}}), allowed=HINTS, spatial_candidates="zigzag"
        )
        space = Mapspace.build(LAYER, AIMC, constraints)
        assert [space.spatial(index).unrolling["D1"] for index in range(len(space.orders))] == [{"K": 32}] * 3

    @pytest.mark.parametrize("field", ["allowed", "spatial"])
    def test_unknown_array_dimension(self, field):
        value = {"D7": ("K",)} if field == "allowed" else {"D7": {"K": 2}}
        with pytest.raises(SearchError, match="has no array dimension 'D7'"):
            Mapspace.build(LAYER, AIMC, Constraints.from_dict({field: value, "spatial_candidates": "zigzag"}))

    def test_no_mapping(self):
        with pytest.raises(SearchError, match="ZigZag has no spatial mapping"):
            Mapspace.build(WIDE, AIMC, Constraints(allowed={"D1": ("OX",)}, spatial_candidates="zigzag"))

    def test_loops_that_count_though_their_factor_is_one(self):
        """C on D3, which the output registers do not serve, makes them hold partial sums, even with a factor of 1."""
        layer = Layer(K=4, C=2, OX=2)
        constraints = Constraints(
            allowed={"D1": ("K",), "D2": ("C",), "D3": ("OX", "C")},
            spatial_candidates="zigzag",
            max_spatial_mappings=6,
            allocation="greedy",
        )
        space = Mapspace.build(layer, BANKS, constraints)
        expected = zigzag_spatial_mappings(layer, BANKS, constraints.allowed, 6)
        assert [space.spatial(index) for index in range(len(space.orders))] == expected
        found = search(layer, BANKS, "edp", "exhaustive", "zigzag", constraints, top=50)
        assert len(found.best) > 5
        for place, evaluation in enumerate(found.best):
            assert evaluation.energy_pj.total == pytest.approx(found.points["edp"].energy_pj[place], rel=1e-12)

    def test_search_and_evaluation_agree(self):
        constraints = Constraints(allowed=HINTS, spatial_candidates="zigzag", loop_factor_limit=5, allocation="greedy")
        found = search(LAYER, AIMC, "edp", "exhaustive", "zigzag", constraints, top=50)
        assert len(found.best) == 15
        for place, evaluation in enumerate(found.best):
            assert evaluation.energy_pj.total == pytest.approx(found.points["edp"].energy_pj[place], rel=1e-12)
            assert evaluation.latency_cycles.total == found.points["edp"].latency_cycles[place]

    def test_the_constraint_as_a_file(self):
        data = {"allowed": {"D1": ["K"]}, "spatial_candidates": "zigzag"}
        assert Constraints.from_dict(data).to_dict() == data
        assert Constraints().to_dict() == {}
        with pytest.raises(InputError, match="spatial_candidates"):
            Constraints.from_dict({"spatial_candidates": "all"})


def candidates(layer: Layer, architecture: Architecture, name: str, hint: list[str]) -> list[dict[str, int]]:
    """All that may be unrolled on an array dimension that no inner memory limits."""
    limits = {dim: min(layer.size(dim), architecture.array.dimensions[name]) for dim in hint}
    divisors = {dim: [n for n in range(1, size + 1) if size % n == 0] for dim, size in limits.items()}
    found = [{dim: factor} for dim in hint for factor in reversed(divisors[dim])]
    for count in range(2, len(hint) + 1):
        for dims in itertools.combinations(hint, count):
            for factors in itertools.product(*(divisors[dim][1:] for dim in dims)):
                if math.prod(factors) <= architecture.array.dimensions[name]:
                    found.append(dict(zip(dims, factors, strict=True)))
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {dim: st.sampled_from([1, 2, 3, 4, 6, 7, 10, 12, 16, 24]) for dim in ("K", "C", "OX", "OY", "FX", "G")}
    ),
    st.fixed_dictionaries(
        {name: st.lists(st.sampled_from(["K", "C", "OX", "FX", "G", "FY"]), min_size=1, max_size=3, unique=True)
         for name in ("D1", "D2", "D3")}
    ),
    st.integers(1, 12),
)  # fmt: skip
def test_brute_force(sizes, hints, count):
    """Where inner memories set no limit, the list is that of all combinations sorted by score and position."""
    architecture = without(BANKS, {memory.name: () for memory in BANKS.memories if memory.name != "dram"})
    layer = Layer(**sizes)
    assume(all(any(dim in sizes for dim in dims) for dims in hints.values()))
    names = list(architecture.array.dimensions)
    lists = [
        candidates(layer, architecture, name, [dim for dim in set_order(hints[name]) if dim in sizes]) for name in names
    ]
    ranked = []
    for places in itertools.product(*(range(len(each)) for each in lists)):
        parts = [each[place] for each, place in zip(lists, places, strict=True)]
        totals = {dim: math.prod(part.get(dim, 1) for part in parts) for part in parts for dim in part}
        if all(total <= sizes[dim] for dim, total in totals.items()):
            used = float(math.prod(totals.values()))
            ranked.append((-(used + (used / max(totals.values()) - 1)), places, parts))
    ranked.sort(key=lambda each: each[:2])
    expected = [SpatialMapping(unrolling=dict(zip(names, parts, strict=True))) for _, _, parts in ranked[:count]]
    assert ordered(zigzag_spatial_mappings(layer, architecture, hints, count)) == ordered(expected)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {dim: st.sampled_from([1, 2, 3, 5, 8, 14, 56, 96, 100]) for dim in ("B", "K", "G", "OX", "OY", "C", "FX")}
    ),
    st.sampled_from([HINTS, {}, {"D1": ("K", "OX"), "D2": ("FX",), "D3": ("OY", "K")}]),
    st.sampled_from([AIMC, BANKS]),
)
def test_every_mapping_belongs_to_the_layer(sizes, hints, architecture):
    layer = Layer(**sizes)
    found = zigzag_spatial_mappings(layer, architecture, hints, 4)
    assert 0 < len(found) <= 4
    for mapping in found:
        assert not mapping.problems(layer, architecture)
        assert list(mapping.unrolling) == list(architecture.array.dimensions)
    used = [math.prod(n for each in mapping.unrolling.values() for n in each.values()) for mapping in found]
    assert all(2 * before > after for before, after in itertools.pairwise(used))
    assert len({repr(mapping.unrolling) for mapping in found}) == len(found)
