"""Constraints as they are written, in Python, files and on the command line: what is accepted, and what each mistake
is told; and what keeps constraints from making sense for a layer on an architecture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

import fastmap as fm
from fastmap.cli import _constraints, _space, main
from fastmap.constraints import ConstraintSet, check_constraints, operand_levels, read_options, replaced
from fastmap.errors import FastmapError, InputError, SearchError
from fastmap.layer import Layer
from fastmap.loading import json_schema, load_architecture, load_constraints
from fastmap.mapping import Bounds, Constraints
from tests.test_bad_input import fuzz, mutated, scratch  # noqa: F401  scratch is a fixture

AIMC = load_architecture("aimc")  # W: cells, dram; I: rf_1B, sram_256KB, dram; O: rf_2B, sram_256KB, dram
CONV = Layer(name="conv", K=64, C=32, OX=8, OY=8, FX=3, FY=3)
DENSE = Layer(name="dense", K=10, C=64, sliding_window=False)

COMPLETE = {
    "spatial": {"D1": {"K": 32}},
    "allowed": {"D1": ["K", "OX"], "D2": ["C", "FX"]},
    "spatial_factors": {"D2": {"C": [1, 8, 16], "FX": [3]}},
    "min_array_utilization": 0.01,
    "max_spatial_mappings": 30,
    "loop_factor_limit": 9,
    "innermost": [["OX", 8]],
    "outermost": [["FY", 3], ["K", 2]],
    "inside": [["C", "K"], ["OX", "OY"]],
    "stationary": {"cells": "W", "sram_256KB": "O"},
    "forbidden": {"rf_2B": ["K"], "sram_256KB.O": ["C", "FX"]},
    "factors": {"dram": {"K": 2}, "sram_256KB.I": {"OX": {"min": 2}, "OY": {"max": 4}, "C": {"min": 1, "max": 1}}},
    "allocation": "even",
    "weights_loaded_once": True,
}
PLAIN = {**COMPLETE, "factors": {**COMPLETE["factors"], "sram_256KB.I": {"OX": {"min": 2}, "OY": {"max": 4}, "C": 1}}}


def constraints(**fields: Any) -> Constraints:
    return Constraints.from_dict(fields)


# ------------------------------------------------------------------------------------------------------- the fields


class TestFields:
    def test_round_trip(self):
        found = Constraints.from_dict(COMPLETE)
        assert found.to_dict() == PLAIN
        assert list(found.to_dict()) == list(COMPLETE)
        for again in (
            Constraints.from_dict(found.to_dict()),
            Constraints.from_dict(json.loads(json.dumps(found.to_dict()))),
            Constraints.model_validate(found.model_dump()),
            Constraints.model_validate_json(found.model_dump_json()),
            Constraints(**{key: getattr(found, key) for key in COMPLETE}),
        ):
            assert again == found
            assert hash(again) == hash(found)
            assert again.model_dump_json() == found.model_dump_json()

    def test_types(self):
        found = Constraints.from_dict(COMPLETE)
        assert found.spatial_factors == {"D2": {"C": (1, 8, 16), "FX": (3,)}}
        assert found.innermost == (("OX", 8),)
        assert found.outermost == (("FY", 3), ("K", 2))
        assert found.inside == (("C", "K"), ("OX", "OY"))
        assert found.stationary == {"cells": "W", "sram_256KB": "O"}
        assert found.forbidden == {"rf_2B": ("K",), "sram_256KB.O": ("C", "FX")}
        assert found.factors == {
            "dram": {"K": Bounds(min=2, max=2)},
            "sram_256KB.I": {"OX": Bounds(min=2), "OY": Bounds(max=4), "C": Bounds(min=1, max=1)},
        }
        assert (found.allocation, found.weights_loaded_once) == ("even", True)

    def test_everything_is_free_by_default(self):
        free = Constraints()
        assert free.to_dict() == {}
        assert (free.allocation, free.weights_loaded_once) == ("free", False)
        given = ("spatial_factors", "innermost", "outermost", "inside", "stationary", "forbidden", "factors")
        assert all(getattr(free, key) is None for key in given)

    def test_what_restricts_nothing_is_left_out(self):
        for fields in (
            {"innermost": [], "outermost": [["K", 1]], "inside": []},
            {"stationary": {}, "forbidden": {"dram": []}, "spatial_factors": {"D1": {}}},
            {"factors": {"dram": {"K": {"min": 1}}, "cells": {}}},
            {"innermost": None, "inside": None, "stationary": None, "forbidden": None, "factors": None},
            {"allocation": "free", "weights_loaded_once": False, "spatial_factors": None},
        ):
            assert Constraints.from_dict(fields) == Constraints()
            assert hash(Constraints.from_dict(fields)) == hash(Constraints())
        assert constraints(allowed={"D1": []}).to_dict() == {"allowed": {"D1": []}}

    def test_hash_does_not_depend_on_the_order_of_keys(self):
        one = constraints(forbidden={"dram": ["K"], "cells": ["C"]})
        other = constraints(forbidden={"cells": ["C"], "dram": ["K"]})
        assert one == other
        assert hash(one) == hash(other)

    @pytest.mark.parametrize(
        "written",
        [
            "C inside K",
            ["C inside K"],
            ["C  INSIDE K", ["C", "K"]],
            [["C", "K"]],
            (("C", "K"),),
        ],
    )
    def test_inside(self, written):
        assert constraints(inside=written).inside == (("C", "K"),)

    def test_factors_are_sorted(self):
        assert constraints(spatial_factors={"D1": {"K": [8, 1, 8]}}).to_dict() == {
            "spatial_factors": {"D1": {"K": [1, 8]}}
        }

    def test_bounds_in_words(self):
        words = {2: "exactly 2", (2, 4): "2 to 4", (1, 4): "at most 4", (2, None): "at least 2"}
        for bounds, text in words.items():
            least, most = bounds if isinstance(bounds, tuple) else (bounds, bounds)
            assert str(Bounds(min=least, max=most)) == text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "spatial_factors: 3",
                "spatial_factors: must be a mapping of array dimensions to {loop dimension: [factors]}",
            ),
            (
                "spatial_factors: {D1: 3}",
                "line 1, spatial_factors.D1: must be a mapping of loop dimensions to lists of f",
            ),
            ("spatial_factors: {D1: {K: 3}}", "spatial_factors.D1.K: must be a list of at least one factor"),
            ("spatial_factors: {D1: {K: []}}", "spatial_factors.D1.K: must be a list of at least one factor"),
            ("spatial_factors: {D1: {K: [0]}}", "spatial_factors.D1.K: must be a positive integer, not 0"),
            ("spatial_factors:\n  D1:\n    Q: [2]", "c.yaml, line 3, spatial_factors.D1.Q: unknown loop dimension Q"),
            ("innermost: OX", "innermost: must be a list of [loop dimension, factor], innermost first, not OX"),
            ("innermost:\n- [OX, 2]\n- [OX]", "line 3, innermost[1]: must be a pair [loop dimension, factor]"),
            ("outermost: [[KK, 2]]", "outermost[0]: unknown loop dimension KK"),
            ("outermost: [[K, 0]]", "outermost[0]: must be a positive integer, not 0"),
            ("inside: 3", "inside: must be text like C inside K, or a list of such, not 3"),
            ("inside: C in K", "inside: must be text like C inside K, or a pair [C, K], not C in K"),
            ("inside: [C, K]", "inside[0]: must be text like C inside K, or a pair [C, K], not C"),
            (
                "inside:\n- [C, K]\n- [C, K, OX]",
                "line 3, inside[1]: must be text like C inside K, or a pair [C, K], not a",
            ),
            ("inside: [[C, 3]]", "inside[0]: unknown loop dimension 3"),
            ("inside: C inside Q", "inside: unknown loop dimension Q"),
            ("inside: C inside C", "inside: C cannot lie inside itself"),
            ("inside: [[K, K]]", "inside[0]: K cannot lie inside itself"),
            ("stationary: W", "stationary: must be a mapping of memories to operands, like {cells: W}, not W"),
            ("stationary: {cells: X}", "stationary.cells: must be one of W, I, O, not X"),
            ("stationary: {cells: [W]}", "stationary.cells: must be one of W, I, O, not a list of 1"),
            ("forbidden: [K]", "forbidden: must be a mapping of memories (or MEMORY.OPERAND) to lists of loop dim"),
            ("forbidden: {dram: K}", "forbidden.dram: must be a list of loop dimensions, not K"),
            ("forbidden: {dram.O: [Q]}", "forbidden.dram.O: unknown loop dimension Q"),
            (
                "factors: 3",
                "factors: must be a mapping of memories (or MEMORY.OPERAND) to {loop dimension: iterations}",
            ),
            (
                "factors: {dram: [K]}",
                "factors.dram: must be a mapping of loop dimensions to numbers of iterations, like",
            ),
            ("factors: {dram: {K: 0}}", "factors.dram.K: must be a positive integer, or {min: 2, max: 8}, not 0"),
            ("factors: {dram: {K: two}}", "factors.dram.K: must be a positive integer, or {min: 2, max: 8}, not two"),
            (
                "factors: {dram: {K: {}}}",
                "factors.dram.K: must be a positive integer, or {min: 2, max: 8}, not a mapping",
            ),
            ("factors: {dram: {K: {min: 0}}}", "factors.dram.K.min: must be a positive integer, not 0"),
            (
                "factors: {dram: {K: {mix: 2}}}",
                "factors.dram.K: unknown key mix; did you mean min? (known keys: min, max)",
            ),
            ("\nfactors: {dram: {K: {min: 8, max: 4}}}", "line 2, factors.dram.K: min (8) is larger than max (4)"),
            ("allocation: odd", "allocation: must be one of free, even, greedy, not odd"),
            ("weights_loaded_once: 3", "weights_loaded_once: must be true or false, not 3"),
            ("layers:\n  a:\n    inside: C in K", "c.yaml, line 3, layers.a.inside: must be text like C inside K"),
            ("inner: [[OX, 2]]", "unknown key inner; did you mean"),
        ],
    )
    def test_files_with_mistakes(self, tmp_path, text, expected):
        path = tmp_path / "c.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            load_constraints(path)
        sentence = str(caught.value)
        assert sentence.startswith(str(path))
        assert expected in sentence
        assert "\n" not in sentence
        if not text.startswith("layers"):
            with pytest.raises(InputError) as caught:
                Constraints.from_dict(yaml.safe_load(text))
            assert re.sub(r"^.*line \d+, ", "", expected) in str(caught.value)


class TestFiles:
    @pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps])
    def test_yaml_and_json(self, tmp_path, write):
        path = tmp_path / "c.yaml"
        path.write_text(write(COMPLETE), encoding="utf-8")
        assert Constraints.load(path) == load_constraints(path).for_layer(CONV) == Constraints.from_dict(COMPLETE)

    def test_text(self, tmp_path):
        path = tmp_path / "c.yaml"
        path.write_text(
            "inside: [C inside K, OX inside OY]\n"
            "factors: {dram: {K: 2, C: {min: 2, max: 8}}}\n"
            "layers:\n"
            "  fc: {inside: C inside B}\n"
            "  free: {inside: , factors: {}}\n",
            encoding="utf-8",
        )
        found = load_constraints(path)
        assert found.common.inside == (("C", "K"), ("OX", "OY"))
        assert found.for_layer(Layer(name="fc", K=2)).inside == (("C", "B"),)
        assert found.for_layer(Layer(name="fc", K=2)).factors == found.common.factors
        assert found.for_layer(Layer(name="free", K=2)).to_dict() == {}

    def test_schema(self):
        properties = json_schema("constraints")["properties"]
        assert {*COMPLETE, "spatial_candidates", "temporal", "layers"} == set(properties)
        assert {"type": "string"} in properties["inside"]["anyOf"]
        json.dumps(json_schema("constraints"))


@fuzz
@given(data=mutated(yaml.safe_dump(COMPLETE)))
def test_mutated_constraints(scratch, data):  # noqa: F811
    path = scratch / "f.yaml"
    path.write_bytes(yaml.safe_dump(data, sort_keys=False).encode("utf-8", "replace"))
    with contextlib.suppress(FastmapError):
        found = load_constraints(path).for_layer(CONV)
        assert Constraints.from_dict(found.to_dict()) == found
        assert hash(found) == hash(Constraints.model_validate_json(found.model_dump_json()))
        check_constraints(found, CONV, AIMC)


class TestReplacing:
    def test_a_limit_on_loops_means_nothing_to_a_fixed_order(self):
        order, limit = constraints(temporal=[["K", 64]]), constraints(loop_factor_limit=6)
        assert replaced(limit, order) == replaced(order, limit) == order
        both = replaced(order, constraints(temporal=None, loop_factor_limit=6))
        assert (both.temporal, both.loop_factor_limit) == (None, 6)
        file = ConstraintSet(common=limit, layers={"conv": order})
        check_constraints(file.for_layer(CONV), CONV, AIMC)

    def test_what_one_source_says_twice_stays(self):
        both = constraints(temporal=[["K", 64]], loop_factor_limit=6)
        assert replaced(both, constraints(allocation="even")).loop_factor_limit == 6
        assert replaced(constraints(allocation="even"), both).loop_factor_limit == 6


# --------------------------------------------------------------------------------------- for a layer on an architecture


class TestPlaces:
    def test_levels(self):
        assert operand_levels("cells", AIMC) == (("W", 0),)
        assert operand_levels("sram_256KB", AIMC) == (("I", 1), ("O", 1))
        assert operand_levels("sram_256KB.O", AIMC) == (("O", 1),)
        assert operand_levels("dram", AIMC) == (("I", 2), ("W", 1), ("O", 2))

    def test_memories_with_dots_in_their_names(self):
        memories = [
            memory.model_copy(update={"name": {"cells": "cells.W", "dram": "off.chip"}.get(memory.name, memory.name)})
            for memory in AIMC.memories
        ]
        dotted = AIMC.model_copy(update={"memories": tuple(memories)})
        assert operand_levels("cells.W", dotted) == operand_levels("cells.W.W", dotted) == (("W", 0),)
        assert operand_levels("off.chip.I", dotted) == (("I", 2),)


@pytest.mark.parametrize("layer", [CONV, DENSE], ids=str)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"inside": "OX inside OY"},  # harmless for a layer without these loops
        {"inside": ["C inside K", "C inside OX", "K inside B"]},
        {"forbidden": {"sram_256KB": ["OX", "FX"], "dram.W": ["G"]}},
        {"allowed": {"D1": ["K", "OX"], "D2": ["C", "FX"]}, "spatial_factors": {"D2": {"FX": [1, 3]}}},
        {"spatial": {"D1": {"K": 8}}, "allowed": {"D1": ["K"], "D2": ["C"]}},
        {"spatial": {"D1": {"K": 8}}, "spatial_factors": {"D1": {"K": [8, 16]}}},
        {"spatial": {"D1": {"K": 8}}, "spatial_factors": {"D2": {"C": [8, 16]}}},
        {"stationary": {"sram_256KB": "O", "dram": "I"}},
        {"allocation": "greedy", "forbidden": {"cells": ["OX"]}, "factors": {"dram": {"C": {"max": 4}}}},
        {"innermost": [["C", 2]], "inside": "C inside K"},
        {"innermost": [["K", 2]], "outermost": [["C", 2]]},
        {"temporal": [["C", 2]], "factors": {"dram": {"C": {"max": 2}}}, "weights_loaded_once": True},
        {"factors": {"dram": {"K": {"min": 2, "max": 8}}, "dram.W": {"K": {"max": 4}}}},
        {"spatial_candidates": "zigzag", "spatial": {"D1": {"K": 4096}}},
    ],
    ids=str,
)
def test_constraints_that_pass(layer, fields):
    check_constraints(Constraints.from_dict(fields), layer, AIMC)


def test_constraints_that_pass_for_one_layer():
    check_constraints(constraints(outermost=[["C", 2]], inside="C inside OX"), DENSE, AIMC)
    exact = {"cells": {"K": 1}, "dram": {"K": 5}}
    check_constraints(constraints(factors=exact, spatial={"D1": {"K": 2}}), DENSE, AIMC)


@pytest.mark.parametrize(
    ("layer", "fields", "sentence"),
    [
        # the array
        (
            CONV,
            {"spatial_candidates": "zigzag", "spatial_factors": {"D2": {"C": [8]}}},
            "spatial_factors: ZigZag's generator takes no factors to choose from; leave out spatial_candidates",
        ),
        (CONV, {"allowed": {"D9": ["K"]}}, "allowed.D9: aimc has no array dimension 'D9' to constrain (it has D1, D2)"),
        (
            CONV,
            {"spatial_factors": {"d11": {"K": [2]}}},
            "spatial_factors.d11: aimc has no array dimension 'd11' to constrain; did you mean D1? (it has D1, D2)",
        ),
        (CONV, {"spatial": {"D9": {"K": 2}}}, "spatial.D9: aimc has no such array dimension (it has D1, D2)"),
        (
            CONV,
            {"spatial": {"D9": {"K": 2}}, "spatial_candidates": "zigzag"},
            "spatial.D9: aimc has no array dimension 'D9' to constrain (it has D1, D2)",
        ),
        (CONV, {"spatial": {"D1": {"B": 2}}}, "spatial.D1.B: the factor 2 is larger than the loop of size 1"),
        (
            CONV,
            {"spatial": {"D2": {"C": 32, "FX": 3, "FY": 3}}},
            "spatial.D2: C 32 * FX 3 * FY 3 = 288 units are needed, and the array has 128",
        ),
        (
            CONV,
            {"spatial_factors": {"D1": {"K": [1, 256]}}},
            "spatial_factors.D1.K: the factor 256 is larger than the array, which has 128 units",
        ),
        (
            DENSE,
            {"spatial_factors": {"D1": {"K": [16, 32]}}},
            "spatial_factors.D1.K: the smallest factor 16 is larger than the loop of size 10 (1 stands for a loop that "
            "is not unrolled)",
        ),
        (
            CONV,
            {"spatial": {"D1": {"K": 32}}, "spatial_factors": {"D1": {"K": [1, 16, 64]}}},
            "spatial.D1.K: the factor 32 is not one of spatial_factors.D1.K (1, 16, 64)",
        ),
        (
            CONV,
            {"spatial": {"D1": {"K": 32}}, "allowed": {"D1": ["OX", "OY"]}},
            "spatial.D1.K: K is not among the loops that allowed.D1 admits (OX, OY)",
        ),
        (
            CONV,
            {"spatial": {"D2": {"FX": 3}}, "spatial_factors": {"D2": {"C": [8, 16]}}},
            "spatial_factors.D2.C: C is to be unrolled 8 or 16 times, and spatial keeps it off D2",
        ),
        (
            CONV,
            {"allowed": {"D2": ["FX"]}, "spatial_factors": {"D2": {"C": [8]}}},
            "spatial_factors.D2.C: C is to be unrolled 8 times, and allowed keeps it off D2",
        ),
        (
            CONV,
            {"spatial_factors": {"D2": {"C": [32], "FX": [3], "FY": [2, 3]}}},
            "spatial_factors.D2: at least C 32 * FX 3 * FY 2 = 192 units are needed, and the array has 128",
        ),
        (
            CONV,
            {"spatial": {"D1": {"K": 8, "OX": 8}, "D2": {"C": 32, "FX": 3}}},
            "spatial: 320 rows are needed for the inputs of OX 8 on D1 and C 32 * FX 3 on D2 (a diagonal), and the "
            "array has 128",
        ),
        (
            CONV,
            {"spatial": {"D1": {"OX": 8, "OY": 8}, "D2": {"FX": 3, "FY": 1}}, "allowed": {"D2": ["C"]}},
            "spatial.D2.FX: FX is not among the loops that allowed.D2 admits (C)",
        ),
        # places
        (
            CONV,
            {"forbidden": {"sram_256": ["K"]}},
            "forbidden.sram_256: aimc has no memory sram_256; did you mean sram_256KB? (its memories: cells, rf_1B, "
            "rf_2B, sram_256KB, dram)",
        ),
        (
            CONV,
            {"factors": {"l2.W": {"K": 2}}},
            "factors.l2.W: aimc has no memory l2 (its memories: cells, rf_1B, rf_2B, sram_256KB, dram)",
        ),
        (
            CONV,
            {"forbidden": {"dram.X": ["K"]}},
            "forbidden.dram.X: there is no operand X (dram stores I, W, O)",
        ),
        (
            CONV,
            {"factors": {"sram_256KB.W": {"K": 2}}},
            "factors.sram_256KB.W: sram_256KB does not store W (sram_256KB stores I, O)",
        ),
        (
            CONV,
            {"stationary": {"cell": "W"}},
            "stationary.cell: aimc has no memory cell; did you mean cells? (its memories: cells, rf_1B, rf_2B, "
            "sram_256KB, dram)",
        ),
        (
            CONV,
            {"stationary": {"sram_256KB": "W"}},
            "stationary.sram_256KB: sram_256KB does not store W (sram_256KB stores I, O)",
        ),
        # the order
        *(
            (
                CONV,
                {"temporal": [["K", 2]], key: value},
                f"{key}: temporal fixes the complete order already; leave out one of the two",
            )
            for key, value in {
                "innermost": [["K", 2]],
                "outermost": [["K", 2]],
                "inside": "C inside K",
                "loop_factor_limit": 6,
            }.items()
        ),
        (
            CONV,
            {"inside": ["C inside K", "OX inside OY", "K inside C"]},
            "inside: C inside K and K inside C contradict each other",
        ),
        (
            CONV,
            {"inside": ["FX inside C", "C inside K", "K inside OX", "OX inside C"]},
            "inside: C inside K, K inside OX and OX inside C contradict each other",
        ),
        (
            CONV,
            {"innermost": [["OX", 4], ["OX", 4]]},
            "innermost: 16 iterations of OX are asked for, and there are at most 8",
        ),
        (DENSE, {"outermost": [["OX", 2]]}, "outermost: 2 iterations of OX are asked for, and there is at most 1"),
        (
            CONV,
            {"spatial": {"D1": {"K": 32}}, "innermost": [["K", 2]], "outermost": [["K", 2]]},
            "innermost and outermost: 4 iterations of K are asked for, and there are at most 2",
        ),
        (
            CONV,
            {"innermost": [["K", 2], ["C", 4]], "inside": "C inside K"},
            "innermost: K 2 lies inside C 4, and inside says C inside K",
        ),
        (
            CONV,
            {"innermost": [["K", 2]], "outermost": [["C", 2]], "inside": "C inside K"},
            "innermost: K 2 lies inside outermost C 2, and inside says C inside K",
        ),
        (
            CONV,
            {"innermost": [["C", 4], ["K", 2]], "inside": "C inside K", "spatial": {"D2": {"C": 2}}},
            "innermost: K 2 lies inside other loops of C, and inside says C inside K",
        ),
        (
            CONV,
            {"outermost": [["C", 4]], "inside": "C inside OX", "spatial": {"D2": {"C": 2}}},
            "outermost: C 4 lies outside other loops of OX, and inside says C inside OX",
        ),
        # the levels
        (
            CONV,
            {"factors": {"dram": {"K": {"min": 4}}}, "forbidden": {"dram.O": ["K"]}},
            "factors.dram.K: at least 4 iterations of K are asked for, and forbidden.dram.O admits none there",
        ),
        (
            CONV,
            {"factors": {"dram.O": {"K": 4}}, "forbidden": {"dram": ["C", "K"]}},
            "factors.dram.O.K: exactly 4 iterations of K are asked for, and forbidden.dram admits none there",
        ),
        (
            CONV,
            {"factors": {"dram": {"K": 4}, "dram.W": {"K": {"max": 2}}}},
            "factors.dram.W.K: at most 2 contradicts factors.dram.K, exactly 4: both are about the same level of W",
        ),
        (
            CONV,
            {"factors": {"cells": {"C": 8}, "dram.W": {"C": {"min": 8}}}},
            "factors.cells.C, factors.dram.W.C: the levels of W take at least 64 iterations of C, and there are at "
            "most 32",
        ),
        (
            CONV,
            {"spatial": {"D2": {"C": 16}}, "factors": {"dram.W": {"C": 8}}},
            "factors.dram.W.C: the level of W takes at least 8 iterations of C, and there are at most 2",
        ),
        (
            DENSE,
            {"factors": {"dram.O": {"OX": 3}}},
            "factors.dram.O.OX: the level of O takes at least 3 iterations of OX, and there is at most 1",
        ),
        (
            CONV,
            {"spatial": {"D2": {"C": 4}}, "factors": {"cells": {"C": 2}, "dram.W": {"C": {"max": 3}}}},
            "factors.cells.C, factors.dram.W.C: the levels of W take at most 6 iterations of C, and there are at "
            "least 8",
        ),
        (
            Layer(name="deep", C=2048, K=4),
            {"factors": {"cells": {"C": 3}, "dram.W": {"C": 5}}},
            "factors.cells.C, factors.dram.W.C: the levels of W take at most 15 iterations of C, and there are at "
            "least 16",
        ),
        (
            CONV,
            {"allowed": {"D1": ["K"]}, "forbidden": {"cells": ["C"], "dram.W": ["C"]}},
            "forbidden.cells, forbidden.dram.W: the levels of W take at most 1 iteration of C, and there are at least "
            "32",
        ),
        (
            CONV,
            {"temporal": [["C", 4], ["C", 2]], "factors": {"cells": {"C": 1}, "dram": {"C": {"max": 4}}}},
            "factors.cells.C, factors.dram.C: the levels of W take at most 4 iterations of C, and there are at least 8",
        ),
        # reuse
        (
            DENSE,
            {"stationary": {"cells": "W"}},
            "stationary.cells: W cannot be reused, since no temporal loop is left that it does not depend on "
            "(B, OY, OX)",
        ),
        (
            CONV,
            {"stationary": {"rf_1B": "I"}, "spatial": {"D1": {"K": 64}}},
            "stationary.rf_1B: I cannot be reused, since no temporal loop is left that it does not depend on (K)",
        ),
    ],
)
def test_constraints_that_contradict(layer, fields, sentence):
    with pytest.raises(SearchError) as caught:
        check_constraints(Constraints.from_dict(fields), layer, AIMC)
    assert str(caught.value) == f"{layer.name} on aimc, {sentence}"


def test_one_iteration_more_than_there_should_be_is_no_contradiction():
    """34 channels on 5 columns leave 8 iterations in ZigZag's arithmetic, and 7 in exact numbers."""
    layer = Layer(name="odd", K=34)
    for count in (7, 8):
        given = constraints(spatial={"D1": {"K": 5}}, outermost=[["K", count]], factors={"dram.W": {"K": count}})
        check_constraints(given, layer, AIMC)
    with pytest.raises(SearchError, match="9 iterations of K are asked for, and there are at most 7"):
        check_constraints(constraints(spatial={"D1": {"K": 5}}, outermost=[["K", 9]]), layer, AIMC)


# ------------------------------------------------------------------------------------------------- the command line


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    _space(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {}),
        (("--spatial", "D1:K=32,D2:C=16,FX=3"), {"spatial": {"D1": {"K": 32}, "D2": {"C": 16, "FX": 3}}}),
        (("--spatial", "D1:K=32, D2:C=16*FX=3"), {"spatial": {"D1": {"K": 32}, "D2": {"C": 16, "FX": 3}}}),
        (("--spatial", "D1:K=32", "--spatial", "D1:OX=2"), {"spatial": {"D1": {"K": 32, "OX": 2}}}),
        (
            ("--spatial-factors", "D1:K=16,32,OX=1, 2,D2:C=64", "--spatial-factors", "D2:FX=3"),
            {"spatial_factors": {"D1": {"K": [16, 32], "OX": [1, 2]}, "D2": {"C": [64], "FX": [3]}}},
        ),
        (("--allow", "D1:K,OX,D2:C"), {"allowed": {"D1": ["K", "OX"], "D2": ["C"]}}),
        (("--allow", "D1:K", "--allow", "D1:OX", "--allow", "D2:FX"), {"allowed": {"D1": ["K", "OX"], "D2": ["FX"]}}),
        (("--innermost", "OX=7,OY=7"), {"innermost": [["OX", 7], ["OY", 7]]}),
        (("--outermost", "FY=3, K=4"), {"outermost": [["FY", 3], ["K", 4]]}),
        (("--inside", "C", "K", "--inside", "OX", "OY"), {"inside": [["C", "K"], ["OX", "OY"]]}),
        (("--stationary", "cells=W"), {"stationary": {"cells": "W"}}),
        (
            ("--stationary", "cells=W,dram=O", "--stationary", "rf=I"),
            {"stationary": {"cells": "W", "dram": "O", "rf": "I"}},
        ),
        (("--forbid", "sram=K,C", "--forbid", "dram.O=FX"), {"forbidden": {"sram": ["K", "C"], "dram.O": ["FX"]}}),
        (("--factor", "sram:K=4"), {"factors": {"sram": {"K": 4}}}),
        (
            ("--factor", "sram.O:K=2..8,C=..4", "--factor", "sram.O:OX=2..", "--factor", "dram:FX=3..3"),
            {"factors": {"sram.O": {"K": {"min": 2, "max": 8}, "C": {"max": 4}, "OX": {"min": 2}}, "dram": {"FX": 3}}},
        ),
        (("--allocation", "even", "--weights-loaded-once"), {"allocation": "even", "weights_loaded_once": True}),
        (
            ("--max-spatial-mappings", "3", "--spatial-candidates", "zigzag", "--loop-factor-limit", "6"),
            {"max_spatial_mappings": 3, "spatial_candidates": "zigzag", "loop_factor_limit": 6},
        ),
    ],
)
def test_options(arguments, expected):
    found = read_options(vars(options(*arguments)))
    assert found.to_dict() == expected
    assert found.model_fields_set == set(expected)
    assert found == Constraints.from_dict(expected)


def test_options_win_over_the_file_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "inside: C inside K\nallocation: even\nforbidden: {dram: [K]}\nloop_factor_limit: 6\n"
        "layers: {conv: {allocation: greedy, innermost: [[OX, 2]]}, dense: {temporal: [[C, 64]], inside: }}\n",
        encoding="utf-8",
    )
    given = options(
        "--constraints", str(path), "--forbid", "sram_256KB=C", "--innermost", "OY=4", "--spatial", "D1:K=4"
    )
    workload = fm.Workload(name="net", layers=[CONV, DENSE])
    for_layer = _constraints(given, workload, AIMC)
    assert for_layer(CONV).to_dict() == {
        "inside": [["C", "K"]],
        "allocation": "greedy",
        "forbidden": {"sram_256KB": ["C"]},
        "loop_factor_limit": 6,
        "innermost": [["OY", 4]],
        "spatial": {"D1": {"K": 4}},
    }
    assert for_layer(Layer(name="other", K=2)).allocation == "even"
    limited = _constraints(options("--constraints", str(path), "--loop-factor-limit", "4"), workload, AIMC)
    assert limited(CONV).loop_factor_limit == 4
    assert limited(DENSE).to_dict() == {"temporal": [["C", 64]], "allocation": "even", "forbidden": {"dram": ["K"]}}


def test_constraints_of_a_layer_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("layers: {conv: {allocation: even}, dens: {}}\n", encoding="utf-8")
    workload = fm.Workload(name="net", layers=[CONV, DENSE])
    with pytest.raises(InputError, match=r"layers.dens: net has no such layer; did you mean dense\? \(its layers: "):
        _constraints(options("--constraints", str(path)), workload, AIMC)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--spatial", "K=32"), "--spatial: must look like D1:K=32,D2:C=16,FX=3, not K=32"),
        (("--spatial", "D1:K"), "--spatial: must look like D1:K=32,D2:C=16,FX=3, not D1:K"),
        (("--spatial", "D1:K=4,,C=2"), "--spatial: must look like D1:K=32,D2:C=16,FX=3, not D1:K=4,,C=2"),
        (("--spatial", ""), "--spatial: must look like D1:K=32,D2:C=16,FX=3, not ''"),
        (("--spatial", "D1:K=0"), "--spatial D1:K=0: must be a positive integer, not 0"),
        (("--spatial", "D1:K=x"), "--spatial D1:K=x: must be a positive integer, not x"),
        (("--spatial", "D1:K=1e3"), "--spatial D1:K=1e3: must be a positive integer, not 1e3"),
        (("--spatial", "D1:K="), "--spatial D1:K=: must be a positive integer, not ''"),
        (("--spatial", "D1:K=2,Q=3"), "--spatial Q=3: unknown loop dimension Q (known: B, G, K, C, OY, OX, FY, FX)"),
        (("--spatial", "D1:K=2,K=3"), "--spatial: gives K twice for D1"),
        (("--spatial-factors", "K=2"), "--spatial-factors: must look like D1:K=16,32,D2:C=64, not K=2"),
        (("--spatial-factors", "D1:K"), "--spatial-factors: must look like D1:K=16,32,D2:C=64, not D1:K"),
        (("--spatial-factors", ""), "--spatial-factors: must look like D1:K=16,32,D2:C=64, not ''"),
        (("--spatial-factors", ","), "--spatial-factors: must look like D1:K=16,32,D2:C=64, not ,"),
        (("--spatial-factors", "D1:K="), "--spatial-factors D1:K=: must be a positive integer, not ''"),
        (("--spatial-factors", "D1:K=2,,4"), "--spatial-factors D1:K=2,,4: must be a positive integer, not ''"),
        (("--spatial-factors", "D1:K=2,D2"), "--spatial-factors D1:K=2,D2: must be a positive integer, not D2"),
        (("--spatial-factors", "D1:K=4,0"), "--spatial-factors D1:K=4,0: must be a positive integer, not 0"),
        (("--spatial-factors", "D1:K=2..8"), "--spatial-factors D1:K=2..8: must be a positive integer, not 2..8"),
        (("--spatial-factors", "D1:K=2,Q=3"), "--spatial-factors Q=3: unknown loop dimension Q"),
        (("--spatial-factors", "D1:K=2,K=3"), "--spatial-factors: gives K twice for D1"),
        (("--spatial-factors", "D9:K=2"), "spatial_factors.D9: aimc has no array dimension 'D9'"),
        (("--spatial-factors", "D1:K=1000"), "the factor 1000 is larger than the array, which has 128 units"),
        (("--allow", "K,OX"), "--allow: must look like D1:K,OX,D2:C, not K,OX"),
        (("--allow", "D1:"), "--allow: must look like D1:K,OX,D2:C, not D1:"),
        (("--allow", "D1:K,k"), "--allow k: unknown loop dimension k; did you mean K? (known: "),
        (("--innermost", "OX"), "--innermost: must look like OX=7,OY=7, not OX"),
        (("--innermost", "OX=7,OY=0"), "--innermost OY=0: must be a positive integer, not 0"),
        (("--outermost", "Q=2"), "--outermost Q=2: unknown loop dimension Q"),
        (("--inside", "C", "Q"), "--inside C Q: unknown loop dimension Q"),
        (("--inside", "C", "C"), "--inside C C: C cannot lie inside itself"),
        (("--inside", "C"), "argument --inside: expected 2 arguments"),
        (("--stationary", "cells"), "--stationary: must look like cells=W, not cells"),
        (("--stationary", "cells=W,O"), "--stationary: must look like cells=W, not cells=W,O"),
        (("--stationary", "cells=X"), "--stationary cells=X: must be one of W, I, O, not X"),
        (("--stationary", "dram=I", "--stationary", "dram=O"), "--stationary: gives dram twice"),
        (("--forbid", "K"), "--forbid: must look like sram=K,C, not K"),
        (("--forbid", "sram="), "--forbid: must look like sram=K,C, not sram="),
        (("--forbid", "sram=K,Z"), "--forbid Z: unknown loop dimension Z"),
        (("--factor", "sram=K"), "--factor: must look like sram:K=4,C=2..8, not sram=K"),
        (("--factor", "sram:K=0"), "--factor sram:K=0: must be a positive integer, or {min: 2, max: 8}, not 0"),
        (("--factor", "sram:K=.."), "--factor sram:K=..: must be a positive integer, or {min: 2, max: 8}, not .."),
        (("--factor", "sram:K=8..4"), "--factor sram:K=8..4: min (8) is larger than max (4)"),
        (("--factor", "sram:K=2..x"), "--factor sram:K=2..x: must be a positive integer, not x"),
        (("--factor", "sram:K=2", "--factor", "sram:K=3"), "--factor: gives K twice for sram"),
        (("--allocation", "odd"), "--allocation must be one of free, even, greedy, not odd"),
        (("--loop-factor-limit", "0"), "--loop-factor-limit must be a positive integer, not 0"),
    ],
)
def test_options_with_mistakes(capsys: pytest.CaptureFixture[str], arguments, sentence):
    call = ["count", "ds_cnn", "--layer", "pw1", "--arch", "aimc", *arguments]
    try:
        code = main(call)
    except SystemExit as ended:  # argparse's own
        code = ended.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert sentence in printed.err
    assert printed.err.count("\n") == 1


def test_help_says_how_options_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("search", "count"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        printed = " ".join(capsys.readouterr().out.split())
        examples = (
            "D1:K=32,D2:C=16,FX=3",
            "D1:K=16,32,D2:C=64",
            "D1:K,OX,D2:C",
            "OX=7,OY=7",
            "C K",
            "cells=W",
            "sram=K,C",
            "sram:K=4,C=2..8",
        )
        for example in examples:
            assert example in printed


def test_public_names() -> None:
    use: Callable[..., Any] = fm.Constraints
    assert use(inside="C inside K").inside == (("C", "K"),)


def test_what_is_no_constraints_is_refused() -> None:
    layer = fm.load_workload("resnet8").layers[0]
    with pytest.raises(fm.FastmapError, match=r"^constraints are given as fm.Constraints\(...\), not as dict$"):
        fm.search(layer, fm.load_architecture("aimc"), constraints={"stationary": {"rf_2B": "O"}})  # type: ignore[arg-type]
