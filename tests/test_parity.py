"""fastmap's cost of single mappings against zigzag-dse 3.9.1: recorded cases, a slow reference, and ZigZag itself."""

from __future__ import annotations

import functools
import math
import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

import fastmap
from fastmap.architecture import Architecture
from fastmap.dimensions import DIRECTIONS
from fastmap.errors import MappingError
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Mapping

from .problems import (
    MATRIX_PRODUCTS,
    Problem,
    deviation,
    explicit_allocation,
    hardware,
    mac_count,
    mapping_of,
    problem,
    problems,
    random_layer,
    read_architecture,
    read_layer,
    roomy,
    shuffled,
    spatial_mapping,
)
from .reference import cost, oracle, search, zigzag_live

#: The cost model that is ZigZag's.
evaluate = functools.partial(fastmap.evaluate, cost_model="zigzag")

TOLERANCE = 1e-9

#: Random problems, and the seed of each stream of them.
RANDOM_PROBLEMS = 2400
STREAMS = 4
LIVE_PROBLEMS = 80


# ----------------------------------------------------------------------------------------------------------------------
# What is compared: every number of an Evaluation
# ----------------------------------------------------------------------------------------------------------------------


def pairs(ours, theirs, layer):
    """(place, our number, their number) for everything that an Evaluation exposes, and what follows from it."""
    energy, latency = ours.energy_pj, ours.latency_cycles
    yield "energy_pj.total", energy.total, theirs["energy_total"]
    yield "energy_pj.mac", energy.mac, theirs["mac_energy"]
    yield "energy_pj.memory", energy.memory, theirs["mem_energy"]
    yield from both("energy_pj.mac_breakdown", energy.mac_breakdown, theirs["mac_energy_breakdown"])
    yield "operands", set(energy.memory_breakdown), set(theirs["mem_levels"])
    for o, names in theirs["mem_levels"].items():
        yield f"levels.{o}", [level["memory"] for level in energy.memory_breakdown[o]], list(names)
        yield f"levels.{o}", [level["memory"] for level in ours.accesses[o]], list(names)
        for m in range(len(names)):
            yield from level_pairs(ours, theirs, o, m)
        real = [[loop for loop in level if loop[1] > 1] for level in theirs["temporal_allocated"][o]]
        yield f"allocation.{o}", list(ours.mapping.allocation[o]), cuts(real)
        real = [[loop for loop in level if loop[1] > 1] for level in theirs["temporal_merged"][o]]
        yield f"merged.{o}", list(ours.merged[o]), cuts(real)
    yield "latency_cycles.total", latency.total, theirs["latency_total2"]
    yield "latency_cycles.ideal", latency.ideal, theirs["ideal_cycle"]
    yield "latency_cycles.spatial", latency.spatial, theirs["ideal_temporal_cycle"]
    yield "latency_cycles.stall", latency.stall, theirs["stall_slack_comb"]
    yield "latency_cycles.onload", latency.onload, theirs["data_onloading_cycle"]
    yield "latency_cycles.offload", latency.offload, theirs["data_offloading_cycle"]
    yield "latency with stalls", latency.spatial + latency.stall, theirs["latency_total0"]
    yield "latency with onloading", latency.spatial + latency.stall + latency.onload, theirs["latency_total1"]
    stalls = {each["mem"]: each["ports"] for each in theirs["stall_per_port"]}
    yield "stall_per_port", list(latency.stall_per_port), list(stalls)
    for memory, ports in stalls.items():
        yield from both(f"stall_per_port.{memory}", latency.stall_per_port[memory], ports)
    yield "utilization.array", ours.utilization.array, theirs["mac_spatial_utilization"]
    yield "utilization with stalls", latency.ideal / (latency.spatial + latency.stall), theirs["mac_utilization0"]
    yield "utilization in all", latency.ideal / latency.total, theirs["mac_utilization2"]
    yield "clock_ns", ours.clock_ns, theirs["tclk"]
    yield "latency_ns", ours.latency_ns, theirs["latency_total2"] * theirs["tclk"]
    yield "edp_pj_ns", ours.edp_pj_ns, theirs["energy_total"] * theirs["latency_total2"] * theirs["tclk"]
    yield "area_mm2.total", ours.area_mm2.total, theirs["area_total"]
    yield "area_mm2.imc", ours.area_mm2.imc, sum(theirs["imc_area_breakdown"].values())
    yield "area_mm2.memory", ours.area_mm2.memory, sum(theirs["mem_area_breakdown"].values())
    yield "ideal cycles", latency.ideal >= 1 and mac_count(layer) > 0, True


def level_pairs(ours, theirs, o, m):
    """The same for one memory level of one operand."""
    level_pj, accesses = ours.energy_pj.memory_breakdown[o][m], ours.accesses[o][m]
    yield from both(f"memory_breakdown.{o}.{m}", by_direction(level_pj), theirs["mem_energy_4way"][o][m])
    yield f"memory_breakdown.{o}.{m}", sum(level_pj[d] for d in DIRECTIONS), theirs["mem_energy_breakdown"][o][m]
    yield from both(f"accesses.{o}.{m}", by_direction(accesses), theirs["word_accesses"][o][m])
    share = ours.utilization.memory
    yield f"utilization.memory.{o}.{m}", share[o][m], theirs["mem_utilization_individual"][o][m]
    name = theirs["mem_levels"][o][m]
    stored = [(other, list(names).index(name)) for other, names in theirs["mem_levels"].items() if name in names]
    together = sum(share[other][level] for other, level in stored)
    yield f"utilization.memory.{o}.{m} shared", together, theirs["mem_utilization_shared"][o][m]


def both(place, ours, theirs):
    """The pairs of two dictionaries; other keys are a difference."""
    yield f"{place} (keys)", set(ours), set(theirs)
    for key in set(ours) & set(theirs):
        yield f"{place}.{key}", ours[key], theirs[key]


def by_direction(level):
    return {key: value for key, value in level.items() if key != "memory"}


def cuts(levels):
    """Loops at or below each level, from the loops of each."""
    result = []
    for loops in levels:
        result.append(len(loops) + (result[-1] if result else 0))
    return result


class Worst:
    """The largest deviation seen, and where."""

    def __init__(self):
        self.value, self.place, self.case, self.numbers = 0.0, "nowhere", "none", 0

    def compare(self, case, ours, theirs, layer):
        for place, a, b in pairs(ours, theirs, layer):
            self.numbers += 1
            difference = deviation(a, b)
            if difference > self.value:
                self.value, self.place, self.case = difference, f"{place} is {a}, not {b}", case

    def check(self, record, what, cases):
        """Fail beyond the tolerance; say in the test report how far it went."""
        record("worst_deviation", self.value)
        print(f"{what}: {cases} cases, {self.numbers} numbers, worst deviation {self.value:.1e} ({self.place})")
        assert self.value <= TOLERANCE, f"{what}: {self.place} in {self.case}"


def told(error):
    """(memory, bits needed, bits available) of the sentence that rejects a mapping."""
    found = re.search(r"does not fit (\S+): .* needs? ([\d.]+) bits there .*, (\d+) are available", str(error))
    assert found, f"the sentence {str(error)!r} does not name the memory and the bits"
    return found[1], float(found[2]), float(found[3])


# ----------------------------------------------------------------------------------------------------------------------
# Recorded cases
# ----------------------------------------------------------------------------------------------------------------------


def of_case(hw, case):
    """The arguments of ``evaluate``."""
    mapping = mapping_of(case["layer"], case["spatial"], case["temporal"])
    return read_layer(case["layer"]), read_architecture(hw), mapping


@pytest.mark.parametrize("file", oracle.FILES)
def test_every_number_of_every_recorded_case(file, record_property):
    worst = Worst()
    accepted = 0
    for _, hw, case, expected in oracle.cases(file):
        if expected["status"] == "ok":
            worst.compare(case["id"], evaluate(*of_case(hw, case)), expected, case["layer"])
            accepted += 1
    worst.check(record_property, file, accepted)


def test_the_recorded_cases_are_all_there():
    """718 mappings that ZigZag costs, 14 that it rejects, 10 on which it crashes."""
    assert Counter(result["status"] for _, _, _, result in oracle.cases()) == {
        "ok": 718,
        "MemoryTooSmallException": 14,
        "crash": 10,
    }


def test_what_zigzag_rejects_is_rejected_with_the_memory():
    for _, hw, case, expected in oracle.cases():
        if expected["status"] == "MemoryTooSmallException":
            with pytest.raises(cost.DoesNotFit) as theirs:
                cost.evaluate(case["layer"], hw, case["spatial"], case["temporal"])
            with pytest.raises(MappingError) as ours:
                evaluate(*of_case(hw, case))
            memory, needed, available = told(ours.value)
            assert (memory, available) == (theirs.value.memory, theirs.value.bits_available), case["id"]
            assert needed > available


def test_where_zigzag_crashes_the_reference_counts(record_property):
    worst = Worst()
    for _, hw, case, expected in oracle.cases():
        if expected["status"] == "crash":
            theirs = cost.evaluate(case["layer"], hw, case["spatial"], case["temporal"])
            worst.compare(case["id"], evaluate(*of_case(hw, case)), theirs, case["layer"])
    worst.check(record_property, "crashes of ZigZag", 10)


def test_the_greedy_allocation_given_explicitly_costs_the_same():
    for _, hw, case, expected in oracle.cases("edge", "v1_aimc_small", "v5_aimc_db", "v2_dimc_banks"):
        if expected["status"] == "ok":
            layer, architecture, mapping = of_case(hw, case)
            greedy = evaluate(layer, architecture, mapping)
            assert evaluate(layer, architecture, greedy.mapping) == greedy, case["id"]


# ----------------------------------------------------------------------------------------------------------------------
# Random problems against the slow reference
# ----------------------------------------------------------------------------------------------------------------------


def compare_with_reference(name, given_problem, worst):
    """Compare one problem; return whether its mapping fits."""
    try:
        theirs = cost.evaluate(*given_problem.reference())
    except cost.DoesNotFit as error:
        place = (error.memory, error.bits_available)
        with pytest.raises(MappingError) as ours:
            evaluate(*given_problem.fastmap())
        memory, needed, available = told(ours.value)
        assert (memory, available) == place, (name, given_problem, str(ours.value))
        assert needed >= available, (name, given_problem, str(ours.value))
        return False
    try:
        ours = evaluate(*given_problem.fastmap())
    except MappingError as error:
        raise AssertionError(f"{name}: rejected ({error}): {given_problem}") from None
    worst.compare((name, given_problem), ours, theirs, given_problem.layer)
    return True


@pytest.mark.parametrize("stream", range(STREAMS))
def test_random_problems_equal_the_reference(stream, record_property):
    """Architectures of 1 to 4 levels an operand, shared memories, forced double buffers, cell groups, banks; layers of
    all kinds; spatial mappings that hang over, mix dimensions or lie diagonally; greedy and given allocations.
    """
    worst, seen = Worst(), Counter()
    for seed in range(stream, RANDOM_PROBLEMS, STREAMS):
        each = problem(random.Random(f"parity {seed}").choice)
        fits = compare_with_reference(seed, each, worst)
        seen.update(features(each) if fits else ["rejected"])
    worst.check(record_property, f"random problems, stream {stream}", RANDOM_PROBLEMS // STREAMS)
    assert seen["rejected"] > 20
    rare = {feature: n for feature, n in seen.items() if n < 10}
    assert not rare, f"the problems hardly cover {rare}"
    assert len(seen) == 23, f"the problems do not cover every feature: {sorted(seen)}"


def features(each):
    """What is special about a problem; the random ones must have all of it often enough."""
    sizes = dict(zip(each.layer["loop_dims"], each.layer["loop_sizes"], strict=True))
    loops = [(name, dim, factor) for name, factors in each.spatial for dim, factor in factors]
    shared = {len(memory["operands"]) for memory in each.hw["memories"].values()}
    yield "given allocation" if each.allocation else "greedy allocation"
    yield each.layer["op"]
    for o in ("I1", "I2", "O"):
        yield f"{sum(o in memory['operands'] for memory in each.hw['memories'].values())} levels"
    yield from (f"shared by {n}" for n in shared if n > 1)
    if any(memory.get("force_double_buffering") for memory in each.hw["memories"].values()):
        yield "forced double buffering"
    if each.hw["memories"]["cells"]["size"] > each.hw["operational_array"]["input_precision"][1]:
        yield "cell groups"
    if any(sizes[dim] % factor for _, dim, factor in loops):
        yield "over-hanging"
    if any(name == "D1" and dim in ("OX", "OY") for name, dim, _ in loops):
        yield "diagonal"
    if any(name not in ("D1", "D2") for name, _, _ in loops):
        yield "banks"
    if max(Counter(dim for _, dim, _ in loops).values(), default=0) > 1:
        yield "one loop on two array dimensions"
    if sizes.get("B", 1) > 1:
        yield "batch"
    if sizes.get("G", 1) > 1:
        yield "groups"
    if any(int(text.split("=")[1].split("*")[0]) > 1 for text in each.layer["dimension_relations"]):
        yield "stride"
    if any(int(text.split("+")[1].split("*")[0]) > 1 for text in each.layer["dimension_relations"]):
        yield "dilation"
    if all(n == 1 for _, n in each.temporal):
        yield "fully unrolled"
    if each.hw["operational_array"]["imc_type"] == "digital":
        yield "digital"


def test_the_bits_that_do_not_fit_are_more_than_the_bits_available():
    """10 output channels on 4 columns are three iterations of 3.33: 53.3 bits of partial sums in 53 do not fit."""
    array = {"is_imc": True, "imc_type": "analog", "input_precision": [8, 8], "bit_serial_precision": 8}
    array |= {"adc_resolution": 8, "dimensions": ["D1", "D2"], "sizes": [4, 2]}
    sizes = {
        "cells": (8, ["I2"], []),
        "sums": (53, ["O"], ["D1", "D2"]),
        "all": (10**6, ["I1", "I2", "O"], ["D1", "D2"]),
    }
    accelerator = {"name": "tight", "operational_array": array, "memories": {}}
    for name, (size, operands, served) in sizes.items():
        transfers = [
            f"{o}, {code}" for o in operands for code in ("tl", "fl", "th", "fh") if o == "O" or code in ("tl", "fh")
        ]
        port = {
            "name": "rw_port_1",
            "type": "read_write",
            "bandwidth_min": 8,
            "bandwidth_max": 8,
            "allocation": transfers,
        }
        memory = {"size": size, "operands": operands, "served_dimensions": served, "ports": [port]}
        accelerator["memories"][name] = memory | {"r_cost": 1, "w_cost": 1, "area": 0, "latency": 1}
    layer = {"op": "Gemm", "equation": MATRIX_PRODUCTS[0], "loop_dims": ["C", "D", "K"], "loop_sizes": [4, 1, 10]}
    layer |= {"dimension_relations": [], "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8}}
    each = Problem(layer, accelerator, [["D1", [["K", 4]]], ["D2", [["C", 2]]]], [("K", 3), ("C", 2)])
    with pytest.raises(cost.DoesNotFit, match=r"sums: O need 53\.3\d* of 53 bits"):
        cost.evaluate(*each.reference())
    with pytest.raises(MappingError) as caught:
        evaluate(*each.fastmap())
    memory, needed, available = told(caught.value)
    assert memory == "sums"
    assert needed > available, str(caught.value)


def test_tiles_of_broken_size_are_rounded_as_by_the_reference():
    """Loops of prime size hang over, so tiles have x.5 elements; the order of multiplication decides their rounding."""
    worst, compared = Worst(), 0
    for seed in range(1000):
        pick = random.Random(f"primes {seed}").choice
        hw = hardware(pick, regular=True)
        layer = random_layer(pick, hw, (5, 7, 11, 13, 17, 23, 29))
        spatial = spatial_mapping(pick, layer, hw, regular=True)
        loops = shuffled(pick, search.loop_factors(layer, hw, spatial, 6))
        each = Problem(layer, roomy(hw), spatial, loops, explicit_allocation(pick, hw, len(loops)))
        compared += compare_with_reference(seed, each, worst)
    assert compared > 500
    assert worst.value <= TOLERANCE, f"{worst.place} in {worst.case}"


def test_an_unrolling_of_more_than_the_loop_is_no_nan():
    """K = 4 on 3 * 3 * 4 units: the last factor balances to 4 / 9, which truncates to 0 iterations."""
    data = load_architecture("dimc_64x64_4banks").model_dump()
    data["array"]["dimensions"] = {"D1": 4, "D2": 4, "D3": 4}
    for memory in data["memories"]:
        memory["size_bits"] *= 1 if memory["name"] == "cells" else 100
    architecture = Architecture.model_validate(data)
    spatial = {"D1": {"K": 3}, "D2": {"K": 3}, "D3": {"K": 4}}
    try:
        found = evaluate(Layer(K=4, C=4), architecture, Mapping(spatial=spatial, temporal=[("C", 4)]))
    except MappingError:
        return
    stalls = [stall for ports in found.latency_cycles.stall_per_port.values() for stall in ports.values()]
    assert all(map(math.isfinite, stalls)), stalls


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problems())
def test_hypothesis_problems_equal_the_reference(each):
    """The same with problems that can be shrunk."""
    worst = Worst()
    compare_with_reference("Hypothesis", each, worst)
    assert worst.value <= TOLERANCE, f"{worst.place} in {worst.case}"


def test_the_order_in_which_array_dimensions_are_written():
    """A loop on two array dimensions is evened out on the first one written, where they unroll it equally often."""
    worst, compared = Worst(), 0
    for seed in range(1500):
        each = problem(random.Random(f"written order {seed}").choice, regular=True)
        on_dims = Counter(dim for _, factors in each.spatial for dim, _ in factors)
        if max(on_dims.values(), default=0) > 1:
            backwards = each.spatial[::-1]
            loops = search.loop_factors(each.layer, each.hw, backwards)
            each = replace(each, hw=roomy(each.hw), spatial=backwards, temporal=loops, allocation=None)
            compared += compare_with_reference(seed, each, worst)
    assert compared > 20
    assert worst.value <= TOLERANCE, f"{worst.place} in {worst.case}"


def test_a_plain_mac_array_has_the_same_memories():
    """Around an array of plain units everything but the array itself is the same."""
    compared = 0
    for seed in range(60):
        each = problem(random.Random(f"mac {seed}").choice)
        each.hw["operational_array"]["bit_serial_precision"] = each.hw["operational_array"]["input_precision"][0]
        layer, architecture, mapping = each.fastmap()
        data = architecture.model_dump()
        data["array"] |= {"kind": "mac", "adc_bits": None, "unit_energy_pj": 0.5, "unit_area_mm2": 0.25}
        plain = Architecture.model_validate(data)
        try:
            expected = evaluate(layer, architecture, mapping)
        except MappingError as error:
            with pytest.raises(MappingError, match=f"^{re.escape(str(error))}$"):
                evaluate(layer, plain, mapping)
            continue
        found = evaluate(layer, plain, mapping)
        assert found.latency_cycles == expected.latency_cycles
        assert found.accesses == expected.accesses
        assert found.energy_pj.memory_breakdown == expected.energy_pj.memory_breakdown
        assert found.energy_pj.mac_breakdown == {"mac_units": 0.5 * layer.macs}
        assert found.energy_pj.total == pytest.approx(found.energy_pj.memory + 0.5 * layer.macs, rel=1e-12)
        assert found.clock_ns == 1.0
        assert found.area_mm2.imc == pytest.approx(0.25 * math.prod(plain.array.dimensions.values()), rel=1e-12)
        compared += 1
    assert compared > 20


# ----------------------------------------------------------------------------------------------------------------------
# ZigZag itself
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.skipif(bool(zigzag_live.missing()), reason=zigzag_live.missing() or "zigzag-dse is there")
def test_zigzag_itself(record_property):
    """Fresh random problems every time; a failure names the seed that repeats it."""
    seed = random.SystemRandom().randrange(10**9)
    record_property("seed", seed)
    print(f"seed {seed}")
    pick = random.Random(seed).choice
    worst, seen = Worst(), Counter()
    while seen["compared"] < LIVE_PROBLEMS:
        each = problem(pick, regular=True)
        name = f"seed {seed}, problem {sum(seen.values())}"
        if each.allocation is not None:  # ZigZag does not check what is given
            each = fitting(each)
        theirs = ask_zigzag(each)
        if theirs == "crash":
            seen["crash"] += 1
            assert seen["crash"] < LIVE_PROBLEMS, f"{name}: ZigZag crashes all the time"
            compare_with_reference(name, each, worst)
        elif theirs == "rejected":
            seen["rejected"] += 1
            with pytest.raises(MappingError, match="does not fit"):
                evaluate(*each.fastmap())
        else:
            seen["compared"] += 1
            seen["given allocation"] += each.allocation is not None
            worst.compare((name, each), evaluate(*each.fastmap()), theirs, each.layer)
    worst.check(record_property, f"live ZigZag, seed {seed}, {dict(seen)}", seen["compared"])


def test_a_loop_of_one_iteration_may_be_one_that_adds_up():
    """Unrolled completely, ZigZag has a loop left, here C 1: sums are partial, 64 bits of them, not 32, beside I's."""

    def memory(operands, size, *ports):
        ports = [
            {"name": f"{kind}_{i}", "type": kind, "bandwidth_min": 8, "bandwidth_max": 64, "allocation": list(moves)}
            for i, (kind, moves) in enumerate(ports)
        ]
        own = {"operands": operands, "size": size, "r_cost": 1, "w_cost": 1, "area": 0, "latency": 1, "ports": ports}
        return own | {"served_dimensions": [] if operands == ["I2"] and size == 8 else ["D1", "D2"]}

    below, above = ("O, tl", "O, fl"), ("O, th", "O, fh")
    memories = {
        "cells": memory(["I2"], 8, ("read_write", ("I2, tl", "I2, fh"))),
        "shared": memory(["I1", "O"], 96, ("read_write", ("I1, tl", "I1, fh", *below, *above))),
        "top": memory(["I1", "I2", "O"], 10_000_000, ("read_write", ("I1, tl", "I2, tl", *below))),
    }
    array = {"is_imc": True, "imc_type": "digital", "input_precision": [8, 8], "bit_serial_precision": 1}
    hw = {"name": "one", "memories": memories}
    hw["operational_array"] = array | {"dimensions": ["D1", "D2"], "sizes": [6, 8]}
    layer = {
        "op": "Gemm",
        "equation": "O[d][k]+=W[c][k]*I[d][c]",
        "loop_dims": ["C", "D", "K"],
        "loop_sizes": [2, 4, 1],
        "dimension_relations": [],
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
    }
    each = Problem(layer, hw, [["D1", [["D", 4]]], ["D2", [["C", 2]]]], [("C", 1)], None)
    with pytest.raises(cost.DoesNotFit):
        cost.evaluate(*each.reference())
    with pytest.raises(MappingError, match="does not fit"):
        evaluate(*each.fastmap())
    memories["shared"]["size"] = 128
    cost.evaluate(*each.reference())
    evaluate(*each.fastmap())


def fitting(each: Problem) -> Problem:
    """The problem with the greedy allocation instead, unless the given one fits."""
    try:
        cost.evaluate(*each.reference())
    except cost.DoesNotFit:
        return replace(each, allocation=None)
    return each


def ask_zigzag(each: Problem):
    """ZigZag's numbers, or "rejected", or "crash"."""
    try:
        return zigzag_live.evaluate_with_zigzag(*each.reference())
    except zigzag_live.DoesNotFit:
        return "rejected"
    except (IndexError, KeyError):  # of diagonals: on a single bit line loop, or with the batch
        return "crash"
    except AssertionError:  # its count of the overlap of a port's windows checks itself
        return "crash"
