"""The repairs of the corrected cost model, each alone, against obvious counts."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from fastmap.analysis import DESCRIPTIONS
from fastmap.errors import InputError
from fastmap.evaluation import evaluate
from fastmap.exploration import search
from fastmap.kernels import problem as kernels
from fastmap.kernels.traffic import word_accesses
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.lowering import REPAIRS, lower, lower_spatial, new_record
from fastmap.mapping import Constraints, Mapping
from fastmap.mapspace import Mapspace

AIMC = load_architecture("aimc")
BANKS = load_architecture("dimc_64x64_4banks")


def unrolled(layer, architecture, spatial, repairs):
    """The unrolling of a spatial mapping under some repairs."""
    record, unrolling = lower(layer, architecture), new_record(kernels.UNROLLING)
    record["repairs"] = repairs
    kernels.unroll(record, *lower_spatial(architecture, spatial), unrolling)
    return unrolling


def extents(layer, repairs, outer, inner):
    record = lower(layer, AIMC)
    record["repairs"] = repairs
    return kernels.extent(record, 0, outer, inner)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (1, 4), (4, 6)])
def test_true_extents_count_the_touched_inputs(stride, dilation):
    layer = Layer(OX=6, FX=5, K=2, stride_x=stride, dilation_x=dilation, input_x=1000)
    for outer, inner in itertools.product(range(1, 7), range(1, 6)):
        touched = {stride * a + dilation * b for a in range(outer) for b in range(inner)}
        assert extents(layer, kernels.TRUE_EXTENTS, float(outer), float(inner)) == len(touched)


def test_true_extents_follow_fractions():
    layer = Layer(OX=50, FX=3, K=2)
    assert extents(layer, 0, 50 / 26, 1.0) == 1.0
    assert extents(layer, kernels.TRUE_EXTENTS, 50 / 26, 1.0) == 50 / 26
    assert extents(layer, kernels.TRUE_EXTENTS, 50 / 26, 3.0) == pytest.approx(50 / 26 + 2)
    assert extents(layer, kernels.TRUE_EXTENTS, 50.0, 3.0) == 52.0


def test_whole_iterations_are_never_one_too_many():
    hazards = 0
    for size in range(2, 140):
        for factor in range(2, min(size, 60) + 1):
            layer = Layer(K=size)
            spatial = {"D1": {"K": factor}}
            exact = math.ceil(size / factor)
            repaired = unrolled(layer, AIMC, spatial, kernels.WHOLE_ITERATIONS)["remaining"][kernels.K]
            assert repaired == exact
            hazards += unrolled(layer, AIMC, spatial, 0)["remaining"][kernels.K] != exact
    assert hazards > 5  # K = 34 on 5 columns is the first


def test_joint_coverage_covers_a_loop_once():
    over = 0
    for size, first, second in itertools.product((10, 37, 64), (2, 3, 8, 16), (2, 3, 4)):
        if first * second > size:
            continue
        layer, spatial = Layer(K=size), {"D1": {"K": first}, "D3": {"K": second}}
        repaired = unrolled(layer, BANKS, spatial, kernels.JOINT_COVERAGE | kernels.WHOLE_ITERATIONS)
        covered = repaired["remaining"][kernels.K] * math.prod(repaired["balanced"][0, :2])
        assert covered == pytest.approx(size)
        plain = unrolled(layer, BANKS, spatial, 0)
        over += plain["remaining"][kernels.K] * math.prod(plain["balanced"][0, :2]) > size * 1.01
    assert over > 3


def test_all_accesses_charge_small_transfers():
    assert word_accesses(0, 1.0, 8.0, 8.0, 64.0, 1.0, 1.0) == 0.0
    assert word_accesses(kernels.ALL_ACCESSES, 1.0, 8.0, 8.0, 64.0, 1.0, 1.0) == 0.125
    assert word_accesses(kernels.ALL_ACCESSES, 3.0, 8.0, 8.0, 64.0, 16.0, 2.0) == word_accesses(
        0, 3.0, 8.0, 8.0, 64.0, 16.0, 2.0
    )


def test_a_larger_layer_no_longer_costs_less():
    """A dense layer of 34 outputs on 5 columns costs ZigZag more than one of 35."""

    def energy(outputs, cost_model):
        space = Mapspace.build(
            Layer(K=outputs, C=128), AIMC, Constraints(spatial={"D1": {"K": 5}, "D2": {"C": 128}}), cost_model
        )
        return evaluate(space.layer, AIMC, space.decode(0, 0), cost_model).energy_pj.total

    assert energy(34, "zigzag") > energy(35, "zigzag")
    assert energy(34, "corrected") <= energy(35, "corrected")


def test_both_models_agree_where_nothing_is_repaired():
    """Whole unrollings, no dilation, full-width words: no accident can happen."""
    compared = 0
    for seed in range(60):
        pick = random.Random(seed)
        sizes = {dim: pick.choice((1, 2, 4, 8)) for dim in ("K", "C", "OX", "OY", "G")} | {
            "FX": 3,
            "FY": pick.choice((1, 3)),
        }
        layer = Layer(**sizes, stride_x=pick.choice((1, 2)))
        full = [
            port.model_copy(update={"bandwidth_min_bits": port.bandwidth_max_bits}) for port in AIMC.memories[3].ports
        ]
        memories = list(AIMC.memories)
        memories[3] = memories[3].model_copy(update={"ports": tuple(full)})
        architecture = AIMC.model_copy(update={"memories": tuple(memories)})
        spatial = {"D1": {"K": sizes["K"]}, "D2": {"C": sizes["C"]}}
        space = Mapspace.build(layer, architecture, Constraints(spatial=spatial))
        mapping = space.decode(0, pick.randrange(space.orders[0]))
        plain, repaired = (evaluate(layer, architecture, mapping, model) for model in ("zigzag", "corrected"))
        assert repaired.energy_pj.total == pytest.approx(plain.energy_pj.total, rel=1e-12)
        assert repaired.latency_cycles == plain.latency_cycles
        compared += 1
    assert compared == 60


def test_the_search_uses_the_model_and_its_evaluation_agrees():
    layer = Layer(K=8, C=12, OX=5, OY=4, FX=3)
    constraints = Constraints(loop_factor_limit=5, max_spatial_mappings=60, allocation="greedy")
    found = search(layer, BANKS, "energy", "exhaustive", "corrected", constraints, top=40)
    assert found.cost_model == "corrected"
    stored = found.points["energy"]
    assert len(found.best) == len(stored) == 40
    for place, each in enumerate(found.best):
        assert each.cost_model == "corrected"
        assert each.energy_pj.total == pytest.approx(stored.energy_pj[place], rel=1e-12)
        assert each.latency_cycles.total == stored.latency_cycles[place]
    plain = search(layer, BANKS, "energy", "exhaustive", "zigzag", constraints)
    assert found.value(0) > plain.value(0)  # ZigZag's accidents are cheaper than the truth


def test_unknown_model():
    mapping = Mapping.from_dict({"spatial": {}, "temporal": [["K", 2]]})
    with pytest.raises(InputError, match="cost_model must be one of zigzag, corrected, not 'right'"):
        evaluate(Layer(K=2), AIMC, mapping, "right")


def test_every_repair_is_part_of_the_corrected_model():
    bits = [kernels.WHOLE_ITERATIONS, kernels.JOINT_COVERAGE, kernels.TRUE_EXTENTS, kernels.ALL_ACCESSES]
    assert list(REPAIRS.values()) == bits
    assert list(REPAIRS) == list(DESCRIPTIONS)
    assert np.bitwise_or.reduce(bits) == sum(bits) == lower(Layer(K=2), AIMC, "corrected")["repairs"]
    assert lower(Layer(K=2), AIMC, "zigzag")["repairs"] == 0


def test_any_of_the_repairs_can_be_asked_for():
    for count in range(5):
        for names in itertools.combinations(REPAIRS, count):
            assert lower(Layer(K=2), AIMC, repairs=names)["repairs"] == sum(REPAIRS[name] for name in names)
    with pytest.raises(InputError, match=r"repairs must be of whole_iterations, joint_coverage, .*, not 'all'"):
        lower(Layer(K=2), AIMC, repairs=["all"])


def test_the_corrected_model_is_the_default():
    mapping = Mapping.from_dict({"spatial": {"D1": {"K": 5}}, "temporal": [["K", 7]]})
    assert evaluate(Layer(K=34), AIMC, mapping) == evaluate(Layer(K=34), AIMC, mapping, "corrected")
