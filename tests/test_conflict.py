"""Over-constrained problems: the sentence names constraints that leave nothing together, and no others."""

from __future__ import annotations

import pytest

import fastmap as fm
from fastmap.cli import main
from fastmap.errors import EmptySpaceError
from fastmap.mapping import Constraints

AIMC = fm.load_architecture("aimc")
LAYER = fm.Layer(name="conv", K=8, C=4, OX=6, OY=2, FX=3)
FIXED = {"D1": {"K": 8}, "D2": {"C": 4}}


@pytest.mark.parametrize("strategy", ["optimal", "exhaustive"])
@pytest.mark.parametrize(
    ("constraints", "sentence"),
    [
        # found before any mapping is looked at
        (
            {"spatial": FIXED, "innermost": [["K", 2]], "allocation": "even"},
            "conv on aimc, innermost: 2 iterations of K are asked for, and there is at most 1 (to blame: spatial and "
            "innermost together)",
        ),
        (
            {"allowed": {"D1": ["K"]}, "min_array_utilization": 0.001, "inside": [["OX", "OY"]]},
            "conv on aimc: no spatial mapping uses min_array_utilization = 0.001 of the array; the most that any uses "
            "is 0.0004883 (to blame: allowed and min_array_utilization together)",
        ),
        (
            {"outermost": [["OX", 2]], "inside": [["OX", "OY"]], "spatial": FIXED, "weights_loaded_once": True},
            "conv on aimc, outermost: OX 2 lies outside other loops of OY, and inside says OX inside OY",
        ),
        (
            {"spatial_factors": {"D1": {"OX": [2]}}, "allocation": "even"},
            "conv fits nowhere on aimc: no admitted spatial mapping leaves room for a single element of each operand "
            "in every memory (to blame: spatial_factors)",
        ),
        (
            {"min_array_utilization": 0.9, "allocation": "even"},
            "conv on aimc: no spatial mapping uses min_array_utilization = 0.9 of the array; the most that any uses is "
            "0.005859",
        ),
        # found when they are looked at
        (
            {"spatial": FIXED, "weights_loaded_once": True, "outermost": [["OX", 2]], "inside": [["OY", "OX"]]},
            "conv on aimc: none of its 3,375 mappings fits the memories and satisfies the constraints (to blame: "
            "spatial and outermost and weights_loaded_once together)",
        ),
        (
            {"spatial": FIXED, "factors": {"rf_1B": {"FX": 3}}, "stationary": {"cells": "W"}},
            "conv on aimc: none of its 27,000 mappings fits the memories and satisfies the constraints (to blame: "
            "factors)",
        ),
        (
            {"spatial": FIXED, "factors": {"rf_1B": {"FX": 3}}, "allocation": "greedy", "loop_factor_limit": 4},
            "conv on aimc: none of its 24 mappings fits the memories and satisfies the constraints (to blame: factors)",
        ),
    ],
    ids=str,
)
def test_the_smallest_conflict_is_named(constraints, sentence, strategy):
    with pytest.raises(EmptySpaceError) as caught:
        fm.search(LAYER, AIMC, strategy=strategy, constraints=Constraints.from_dict(constraints), force=True)
    assert str(caught.value) == sentence


def test_constraints_that_are_not_to_blame_are_not_named():
    wide = fm.Layer(K=8, C=4, weight_bits=16)  # twice the width of a cell
    with pytest.raises(EmptySpaceError) as caught:
        fm.search(wide, AIMC, constraints=Constraints.from_dict({"spatial": FIXED, "allocation": "even"}))
    assert "to blame" not in str(caught.value)


def test_what_cannot_be_met_is_told_at_once(capsys):
    """Every mapping would have to be looked at: 10**17 of them."""
    options = ["--layer", "conv5", "--weights-loaded-once", "--outermost", "OX=2", "--quiet"]
    assert main(["search", "resnet8", "--arch", "aimc", *options]) == 2
    said = capsys.readouterr().err
    assert said.endswith("(to blame: outermost and weights_loaded_once together)\n")
    assert said.count("\n") == 1
