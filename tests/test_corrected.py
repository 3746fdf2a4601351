"""The repairs of the corrected cost model, each alone, against obvious counts."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from fastmap.errors import InputError, MappingError
from fastmap.evaluation import evaluate, evaluate_repaired
from fastmap.exploration import search
from fastmap.kernels import macro as macro_kernels
from fastmap.kernels import problem as kernels
from fastmap.kernels.traffic import word_accesses
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.lowering import REPAIRS, lower, lower_spatial, new_record
from fastmap.mapping import Constraints, Mapping
from fastmap.mapspace import Mapspace
from fastmap.repair_effects import DESCRIPTIONS

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


def test_exact_units_are_those_of_the_average_iteration():
    layer, spatial = Layer(K=5, OX=4), {"D1": {"K": 3}}
    assert outputs(layer, spatial, []) == 4 * 2 * 2  # 2.5 columns, rounded to even
    assert outputs(layer, spatial, ["exact_units"]) == 4 * 5


def test_exact_tiles_are_averages():
    """13 positions of 5 outputs on 3 columns are 39 and 26 outputs, 5 and 4 words of 64 bits. ZigZag has 32 twice."""
    layer = Layer(K=5, OX=13)
    loops, cuts = [["OX", 13], ["K", 2]], {"W": [1, 2], "I": [0, 1, 2], "O": [0, 1, 2]}
    plain, repaired = (
        evaluate_repaired(layer, AIMC, fixed({"D1": {"K": 3}}, loops, cuts), names) for names in ([], ["exact_tiles"])
    )
    assert plain.accesses["O"][2]["wr_in_by_low"] == 4 + 4
    assert repaired.accesses["O"][2]["wr_in_by_low"] == 5 + 4
    assert plain.utilization.memory["O"][1] == 32 * 8 / AIMC.memories[3].size_bits
    assert repaired.utilization.memory["O"][1] == 32.5 * 8 / AIMC.memories[3].size_bits


def test_word_accesses_of_an_average_are_the_average_of_whole_transfers():
    def words(amount):
        return word_accesses(kernels.ALL_REPAIRS, amount, 8.0, 16.0, 16.0, 1.0, 1.0)

    assert [words(n) for n in (1.0, 2.0, 3.0, 4.0)] == [1, 1, 2, 2]
    assert words(2.5) == 1.5  # 2 fill a word, 3 two
    assert words(3.5) == 2.0
    assert words(7 / 3 * 3) == pytest.approx(words(7.0), rel=1e-12)
    assert words(3.0000000000000004) == pytest.approx(2.0, rel=1e-12)
    for pieces, amount in itertools.product(range(1, 9), (1.5, 2.25, 4 / 3, 2.9)):  # in pieces it is never cheaper
        assert pieces * words(amount) >= words(pieces * amount) * (1 - 1e-12)


@pytest.mark.parametrize(("size", "factor"), [(5, 3), (5, 4), (7, 4), (13, 4), (100, 48), (34, 5), (50, 26)])
def test_traffic_is_that_of_the_elements_there_are(size, factor):
    """Outputs leave the array, and weights reach it, once for each there is, whatever fills the iterations."""
    layer = Layer(K=size, C=8, OX=4)
    iterations = math.ceil(size / factor)
    loops = [["OX", 4], ["K", iterations]]
    mapping = fixed({"D1": {"K": factor}, "D2": {"C": 8}}, loops, {"W": [1, 2], "I": [0, 1, 2], "O": [0, 1, 2]})
    found = evaluate(layer, AIMC, mapping)
    assert found.accesses["O"][0]["wr_in_by_low"] == pytest.approx(4 * size)
    assert found.accesses["O"][0]["rd_out_to_high"] == pytest.approx(4 * size)
    assert found.accesses["W"][0]["wr_in_by_high"] == pytest.approx(8 * size)
    assert found.moves["W"][1]["rd_out_to_low"] == pytest.approx(1)
    assert found.moves["O"][0]["wr_in_by_low"] == pytest.approx(1)
    assert found.energy_pj.mac_breakdown["adcs"] == pytest.approx(
        macro_kernels.adc_energy_pj(macro_kernels.TECHNOLOGY_28NM, 8.0)
        * 8
        * 4
        * 4
        * size  # bits of a weight, cycles, positions, columns
    )


def test_one_unrolling_moves_no_less_than_there_is():
    """13 columns in 4 iterations are 3.25 on average, which ZigZag's cycles take for 3."""
    layer, spatial = Layer(K=13, OX=4), {"D1": {"K": 4}}
    assert unrolled(layer, AIMC, spatial, 0)["balanced"][:, 0].tolist() == [3.25, 3.0]
    assert unrolled(layer, AIMC, spatial, kernels.ONE_UNROLLING)["balanced"][:, 0].tolist() == [3.25, 3.25]
    for size, factor in itertools.product(range(2, 30), range(1, 12)):
        if factor > size:
            continue
        layer, q = Layer(K=size, C=128), math.ceil(size / factor)
        mapping = fixed(
            {"D1": {"K": factor}, "D2": {"C": 128}}, [["K", q]], {"W": [0, 1], "I": [0, 0, 1], "O": [0, 1, 1]}
        )
        found = evaluate(layer, AIMC, mapping)
        bandwidth = AIMC.memories[4].ports[0].bandwidth_max_bits
        assert found.latency_cycles.total >= 128 * size * 8 / bandwidth * (1 - 1 / q)


def test_true_widths_of_a_single_output():
    """Banks with SRAMs of their own leave 1.5 partial sums of one output on average, which ZigZag takes for one sum."""
    layer = Layer(C=3, output_bits=16, output_final_bits=8)
    mapping = fixed({"D3": {"C": 2}}, [["C", 2]], {"W": [0, 1], "I": [0, 0, 1], "O": [1, 1, 1]})
    memories = list(BANKS.memories)
    memories[3] = memories[3].model_copy(update={"serves": ("D1", "D2")})
    architecture = BANKS.model_copy(update={"memories": tuple(memories)})
    plain, repaired = (
        evaluate_repaired(layer, architecture, mapping, ["all_accesses", *names]).accesses["O"][1]
        for names in ([], ["true_widths"])
    )
    assert (plain["wr_in_by_low"], plain["rd_out_to_low"]) == (2 * 64 / 512, 0.0)  # 8 bits in each of 2 SRAMs
    assert (repaired["wr_in_by_low"], repaired["rd_out_to_low"]) == (2 * 64 / 512, 2 * 64 / 512)


@pytest.mark.parametrize(("size", "factors"), [(7, (4, 5, 6)), (144, (72, 100, 128)), (10, (5, 7, 9))])
@pytest.mark.parametrize("dim", ["K", "C"])
@pytest.mark.parametrize("name", ["aimc", "dimc"])
def test_true_activations_do_not_reward_idle_units(size, factors, dim, name):
    """Factors that leave as many iterations cost the same; ZigZag's cost the less the larger they are."""
    architecture = load_architecture(name)
    fits = [factor for factor in factors if factor <= architecture.array.rows]
    layer = Layer(**{dim: size}, OX=4)
    array, plain = [], []
    for factor in fits:
        spatial = {"D1" if dim == "K" else "D2": {dim: factor}}
        mapping = fixed(spatial, [["OX", 4], [dim, math.ceil(size / factor)]])
        array.append(evaluate(layer, architecture, mapping))
        plain.append(evaluate(layer, architecture, mapping, "zigzag"))
    for each, other in itertools.pairwise(array):
        assert each.energy_pj.total == other.energy_pj.total
        assert each.latency_cycles == other.latency_cycles
    if name == "aimc":
        assert all(a.energy_pj.mac > b.energy_pj.mac for a, b in itertools.pairwise(plain))


def test_true_activations_are_the_iterations_with_what_they_fill():
    """7 rows in 2 iterations are 4 and 3: their adder trees one after the other, and two rounds of multipliers."""
    architecture = load_architecture("dimc")
    macro = architecture.array
    layer, trees = Layer(C=7), []
    for rows in (3, 4):
        whole = evaluate(Layer(C=rows), architecture, fixed({"D2": {"C": rows}}, []))
        trees.append(whole.energy_pj.mac_breakdown)
    found = evaluate(layer, architecture, fixed({"D2": {"C": 4}}, [["C", 2]])).energy_pj.mac_breakdown
    assert macro.kind == "digital"
    for component, energy in found.items():
        assert energy == pytest.approx(sum(each[component] for each in trees), rel=1e-12)


def test_full_tiles_must_fit():
    """5 outputs of 8 bits in 2 iterations: 20 bits hold 2.5 of them, but the first iteration has 3."""
    layer = Layer(K=5, output_bits=8, output_final_bits=8)
    mapping = fixed({"D1": {"K": 3}}, [["K", 2]], {"W": [0, 1], "I": [0, 0, 1], "O": [0, 0, 1]})
    for bits, fitting in ((20, False), (23, False), (24, True)):
        memories = list(AIMC.memories)
        memories[3] = memories[3].model_copy(update={"size_bits": 8 + bits})  # and the input of 8 bits
        architecture = AIMC.model_copy(update={"memories": tuple(memories)})
        evaluate_repaired(layer, architecture, mapping, [])
        if fitting:
            evaluate_repaired(layer, architecture, mapping, ["full_tiles"])
        else:
            with pytest.raises(MappingError, match="does not fit sram_256KB"):
                evaluate_repaired(layer, architecture, mapping, ["full_tiles"])


def test_own_partners_do_not_depend_on_the_order_of_writing():
    """4 output columns beside 3 taps need 6 rows, for each of 8 channels; ZigZag pairs the 8 with the columns."""
    layer, energies = Layer(K=2, C=8, OX=4, FX=3), {}
    memories = [
        memory.model_copy(update={"size_bits": 64 * memory.size_bits}) if memory.operands != ("W",) else memory
        for memory in AIMC.memories
    ]
    roomy = AIMC.model_copy(update={"memories": tuple(memories)})
    for names in ((), ("own_partners",)):
        for rows in ({"C": 8, "FX": 3}, {"FX": 3, "C": 8}):
            found = evaluate_repaired(layer, roomy, fixed({"D1": {"K": 2, "OX": 4}, "D2": rows}, []), names)
            energies[len(names), next(iter(rows))] = found.energy_pj.mac_breakdown["dacs"]
    assert energies[0, "C"] == pytest.approx(energies[0, "FX"] * 33 / 48)
    assert energies[1, "C"] == energies[1, "FX"] == energies[0, "FX"]
    array = roomy.array.model_copy(update={"dimensions": {"D1": 128, "D2": 40}})
    for model in ("zigzag", "corrected"):
        space = Mapspace.build(layer, roomy.model_copy(update={"array": array}), None, model)
        unrollings = [space.spatial(index).unrolling for index in range(len(space.candidates))]
        most, whole = ({"D1": {"K": 2, "OX": 4}, "D2": {"C": c, "FX": 3}} for c in (4, 8))
        assert most in unrollings
        assert whole not in unrollings  # 48 rows are more than 40, whatever ZigZag counts


def outputs(layer, spatial, names):
    """Outputs written by the array into the registers of AIMC."""
    loops = [["OX", layer.size("OX")], ["K", math.ceil(layer.size("K") / spatial["D1"]["K"])]]
    return evaluate_repaired(layer, AIMC, fixed(spatial, loops), names).accesses["O"][0]["wr_in_by_low"]


def fixed(spatial, temporal, allocation=None):
    return Mapping.from_dict({"spatial": spatial, "temporal": temporal, "allocation": allocation})


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
    bits = [1 << place for place in range(11)]
    assert sum(bits) == kernels.ALL_REPAIRS
    assert list(REPAIRS.values()) == bits
    assert list(REPAIRS) == list(DESCRIPTIONS)
    assert np.bitwise_or.reduce(bits) == sum(bits) == lower(Layer(K=2), AIMC, "corrected")["repairs"]
    assert lower(Layer(K=2), AIMC, "zigzag")["repairs"] == 0


def test_any_of_the_repairs_can_be_asked_for():
    for count in range(12):
        for names in itertools.combinations(REPAIRS, count):
            assert lower(Layer(K=2), AIMC, repairs=names)["repairs"] == sum(REPAIRS[name] for name in names)
    with pytest.raises(InputError, match=r"repairs must be of whole_iterations, joint_coverage, .*, not 'all'"):
        lower(Layer(K=2), AIMC, repairs=["all"])


def test_the_corrected_model_is_the_default():
    mapping = Mapping.from_dict({"spatial": {"D1": {"K": 5}}, "temporal": [["K", 7]]})
    assert evaluate(Layer(K=34), AIMC, mapping) == evaluate(Layer(K=34), AIMC, mapping, "corrected")
