"""The reference cost model against zigzag-dse 3.9.1, and against examples worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from .reference import array, oracle, search
from .reference.cost import DoesNotFit, covered_cycles, evaluate
from .reference.problem import Relation, parse_hardware, parse_layer, unclipped_extent

TOLERANCE = 1e-9


def differences(path: str, ours, theirs):
    """Every leaf as (relative difference, path, ours, theirs); anything but numbers differs by 0 or infinity."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            yield math.inf, path, sorted(ours), sorted(theirs)
            return
        for key in theirs:
            yield from differences(f"{path}.{key}", ours[key], theirs[key])
    elif isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield math.inf, path, ours, theirs
            return
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(f"{path}[{index}]", a, b)
    elif ours == theirs:
        yield 0, path, ours, theirs
    elif isinstance(theirs, (bool, str)) or theirs is None:
        yield math.inf, path, ours, theirs
    else:
        yield abs(ours - theirs) / max(abs(ours), abs(theirs)), path, ours, theirs


def numbers(result):
    """All numbers in a result."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        for value in result:
            yield from numbers(value)
    elif not isinstance(result, str):
        yield result


# ----------------------------------------------------------------------------------------------------------------------
# The oracle
# ----------------------------------------------------------------------------------------------------------------------


def test_the_oracle_is_complete():
    """Nothing got lost on the way into the repository."""
    statuses = Counter(result["status"] for _, _, _, result in oracle.cases())
    assert statuses == {"ok": 718, "MemoryTooSmallException": 14, "crash": 10}


@pytest.mark.parametrize("file", oracle.FILES)
def test_every_number_of_every_valid_case(file):
    """All that ZigZag reports is reproduced, key by key and loop by loop."""
    worst = (0, "", "", None, None)
    for _, hw, case, expected in oracle.cases(file):
        if expected["status"] == "ok":
            result = evaluate(case["layer"], hw, case["spatial"], case["temporal"])
            for difference, *where in differences("", as_json(result), expected):
                worst = max(worst, (difference, case["id"], *where), key=lambda entry: entry[0])
    assert worst[0] <= TOLERANCE, f"worst deviation {worst[0]:.2e} in case {worst[1]} at {worst[2]}: {worst[3:]}"


def as_json(result):
    """Tuples as lists, as the files have them."""
    if isinstance(result, dict):
        return {key: as_json(value) for key, value in result.items()}
    return [as_json(value) for value in result] if isinstance(result, (list, tuple)) else result


def test_what_zigzag_rejects_does_not_fit():
    """The mappings for which ZigZag's allocator raises are rejected, with the memory and the bits."""
    for _, hw, case, expected in oracle.cases():
        if expected["status"] == "MemoryTooSmallException":
            with pytest.raises(DoesNotFit) as caught:
                evaluate(case["layer"], hw, case["spatial"], case["temporal"])
            assert caught.value.memory in hw["memories"]
            assert caught.value.bits_needed > caught.value.bits_available


def test_where_zigzag_crashes_every_number_is_finite():
    """Diagonal mappings with one bit line loop or a batch: the intended formula applies."""
    for _, hw, case, expected in oracle.cases():
        if expected["status"] == "crash":
            result = evaluate(case["layer"], hw, case["spatial"], case["temporal"])
            assert all(math.isfinite(number) for number in numbers(result)), case["id"]
            assert result["energy_total"] > 0


def test_the_greedy_allocation_given_explicitly_costs_the_same():
    """Giving the cuts that the greedy allocator chose changes nothing; it fits by the same rules."""
    for _, hw, case, expected in oracle.cases("edge", "v1_aimc_small", "v5_aimc_db"):
        if expected["status"] == "ok":
            mapping = (case["layer"], hw, case["spatial"], case["temporal"])
            greedy = evaluate(*mapping)
            assert evaluate(*mapping, search.cuts_of(greedy)) == greedy


# ----------------------------------------------------------------------------------------------------------------------
# An example worked out by hand
# ----------------------------------------------------------------------------------------------------------------------


def port(name, bw_min, bw_max, *allocation):
    return {"name": name, "bandwidth_min": bw_min, "bandwidth_max": bw_max, "allocation": list(allocation)}


def memory(size, r_cost, w_cost, operands, serves, *ports):
    return {
        "size": size,
        "r_cost": r_cost,
        "w_cost": w_cost,
        "area": 0,
        "operands": operands,
        "served_dimensions": serves,
        "ports": list(ports),
    }


def tiny_hardware():
    """4 columns, 4 rows, analog, 4-bit operands in 2 steps; cells, a register for each side, a buffer and DRAM."""
    both = ["D1", "D2"]
    return {
        "memories": {
            "cells": memory(4, 0, 0.1, ["I2"], [], port("rw", 4, 4, "I2, fh", "I2, tl")),
            "rf_I": memory(4, 0.01, 0.02, ["I1"], ["D1"], port("r", 4, 4, "I1, tl"), port("w", 4, 4, "I1, fh")),
            "rf_O": memory(
                8, 0.03, 0.04, ["O"], ["D2"], port("r", 8, 8, "O, tl", "O, th"), port("w", 8, 8, "O, fh", "O, fl")
            ),
            "sram": memory(
                160,
                2,
                3,
                ["I1", "O"],
                both,
                port("r", 8, 16, "I1, tl", "O, tl", "O, th"),
                port("w", 8, 16, "I1, fh", "O, fh", "O, fl"),
            ),
            "dram": memory(
                10**9,
                20,
                30,
                ["I1", "I2", "O"],
                both,
                port("rw", 16, 16, *(f"{o}, {d}" for o in ("I1", "I2", "O") for d in ("tl", "fl", "th", "fh"))),
            ),
        },
        "operational_array": {
            "imc_type": "analog",
            "input_precision": [4, 4],
            "bit_serial_precision": 2,
            "adc_resolution": 4,
            "dimensions": both,
            "sizes": [4, 4],
        },
    }


def tiny_layer(fx=3):
    """K = 4, C = 4, OX = 6, FX = 3; partial sums of 8 bits, everything else of 4."""
    return {
        "equation": "O[k][ox]+=W[k][c][fx]*I[c][ix]",
        "loop_dims": ["K", "C", "OX", "FX"],
        "loop_sizes": [4, 4, 6, fx],
        "dimension_relations": ["ix=1*ox+1*fx"],
        "operand_precision": {"W": 4, "I": 4, "O": 8, "O_final": 4},
    }


TINY_SPATIAL = [["D1", [["K", 4]]], ["D2", [["C", 4]]]]
TINY_ORDER = [("OX", 3), ("FX", 3), ("OX", 2)]


def directions(*values):
    return dict(zip(("rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high"), values, strict=True))


def test_worked_example():
    """Each of these numbers can be followed with pencil and paper."""
    result = evaluate(tiny_layer(), tiny_hardware(), TINY_SPATIAL, TINY_ORDER)
    assert search.cuts_of(result) == {"O": [0, 2, 3], "W": [1, 3], "I": [0, 1, 3]}
    # weights change 6 times in each of 16 cells; buffer words of 8 bits are half an access of 16
    assert result["word_accesses"]["W"][0] == directions(96, 0, 0, 96)
    assert result["word_accesses"]["I"][1] == directions(18, 0, 0, 18)
    assert result["word_accesses"]["O"][1] == directions(36, 36, 6, 0)
    assert result["mem_energy"] == pytest.approx(1323.84, rel=1e-12)
    assert result["mac_energy"] == pytest.approx(217.34977536, rel=1e-12)
    assert result["energy_total"] == pytest.approx(1541.18977536, rel=1e-12)
    assert result["psum_flag"] == [True, True, False, False]
    assert result["double_buffer"]["O"] == [False, False, True, True]
    # reading the buffer: 34 + 34 + 18 cycles of windows less 32 of slack do not fit into 36 cycles
    assert result["stall_per_port"][3] == {"mem": "sram", "ports": {"r": 18, "w": 13}}
    assert result["latency_total0"] == 18 * 2 + 18
    assert (result["data_onloading_cycle"], result["data_offloading_cycle"]) == (4, 5)
    assert result["latency_total2"] == 63
    assert result["tclk"] == pytest.approx(3.93596, rel=1e-12)


def test_single_transfers_overlap_with_the_computation():
    """With FX = 1 the buffer is filled once; the DRAM port has 6 cycles to spare, which shorten 6 + 4 to 1 + 3."""
    result = evaluate(tiny_layer(fx=1), tiny_hardware(), TINY_SPATIAL, [("OX", 6)])
    assert [result[f"latency_total{i}"] for i in range(3)] == [12, 15, 17]


def test_given_allocations_are_checked():
    """Too large for one operand, too large together, and nonsense."""
    mapping = (tiny_layer(), tiny_hardware(), TINY_SPATIAL, TINY_ORDER)
    with pytest.raises(DoesNotFit) as caught:
        evaluate(*mapping, {"O": [0, 3, 3], "W": [1, 3], "I": [0, 1, 3]})
    error = caught.value
    assert (error.memory, error.operands, error.bits_needed, error.bits_available) == ("sram", ("O",), 192, 160)
    with pytest.raises(DoesNotFit) as caught:
        evaluate(*mapping, {"O": [0, 2, 3], "W": [1, 3], "I": [0, 2, 3]})
    assert (caught.value.operands, caught.value.bits_needed) == (("I", "O"), 176)
    with pytest.raises(ValueError, match="rising cuts"):
        evaluate(*mapping, {"O": [0, 2, 3], "W": [1, 2], "I": [0, 1, 3]})


def test_forced_double_buffering_doubles_what_has_to_be_replaced():
    """The buffer holds 48 bits of activations once; doubled, with 96 bits of outputs doubled too, it is too small."""
    hw = tiny_hardware()
    hw["memories"]["sram"]["force_double_buffering"] = True
    cuts = {"O": [0, 1, 3], "W": [1, 3], "I": [0, 1, 3]}
    with pytest.raises(DoesNotFit) as caught:
        evaluate(tiny_layer(), hw, TINY_SPATIAL, TINY_ORDER, cuts)
    assert caught.value.bits_needed == 192


# ----------------------------------------------------------------------------------------------------------------------
# Parts
# ----------------------------------------------------------------------------------------------------------------------


def test_extent_counts_distinct_indices():
    """The closed form is the number of different indices as long as a covers the step of b."""
    for sa, sb, a, b in itertools.product(range(1, 4), range(1, 4), range(1, 7), range(1, 7)):
        if a >= sb // math.gcd(sa, sb):
            distinct = {sa * i + sb * j for i in range(a) for j in range(b)}
            assert unclipped_extent(Relation("IX", sa, "OX", sb, "FX"), a, b) == len(distinct)
    assert unclipped_extent(Relation("IX", 1, "OX", 2, "FX"), 1, 3) == 5  # where there are only 3


def test_covered_cycles_are_those_that_lie_in_a_window():
    """Counting within nested periods is counting cycle by cycle; periods that do not nest are counted, too."""
    for windows in (
        [(4, 1), (12, 5)],
        [(2, 1), (2, 2), (6, 4), (24, 7)],
        [(3, 1), (6, 0), (12, 12)],
        [(5, 3), (20, 1), (20, 9)],
        [(4, 1), (6, 2)],
    ):
        for length in range(60):
            expected = sum(any(t % period < allowed for period, allowed in windows) for t in range(length))
            assert covered_cycles(length, windows) == expected


def diagonal_rows(on_columns, on_rows, batch=1):
    """Rows in use on an array of 256 columns and 32 rows."""
    layer = parse_layer(
        {
            "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "loop_dims": ["B", "K", "C", "OX", "OY", "FX", "FY"],
            "loop_sizes": [batch, 16, 8, 16, 16, 3, 3],
            "dimension_relations": ["ix=ox+fx", "iy=oy+fy"],
            "operand_precision": {"W": 8, "I": 8, "O": 16},
        }
    )
    parsed = array.parse_array(parse_hardware(oracle.hardware("v3_aimc_wide")))
    return array.active_rows(parsed, layer, [["D1", on_columns], ["D2", on_rows]])


def test_rows_of_diagonal_mappings():
    """Partners share rows; dimensions are taken in the order of ZigZag's sets, factors as written."""
    assert diagonal_rows([["K", 16]], [["C", 8], ["FX", 3]]) == 24
    assert diagonal_rows([["K", 16], ["OX", 4]], [["FX", 3], ["C", 8]]) == (3 + 3) * 8
    assert diagonal_rows([["K", 16], ["OX", 4]], [["C", 8], ["FX", 3]]) == (8 + 3) * 3
    assert diagonal_rows([["K", 16], ["OY", 2]], [["C", 4], ["FX", 2], ["FY", 3]]) == 4 * 2 * (3 + 1)
    assert diagonal_rows([["K", 16], ["OX", 4]], [["FX", 3]]) == 3 + 3
    assert diagonal_rows([["K", 16], ["OX", 4]], [["C", 8]]) == 8
    assert diagonal_rows([["K", 8], ["B", 2]], [["FX", 3], ["C", 8]], batch=2) == 24
    assert diagonal_rows([["K", 8], ["B", 2], ["OX", 2]], [["FX", 3], ["C", 8]], batch=2) == (3 + 1) * 8


def test_cell_groups_precharge_once_per_change_of_weight():
    """Two weights a group: OX -> 3 is innermost and keeps the weight, so each of 16 cells changes 18 / 3 times."""
    hw = tiny_hardware()
    hw["memories"]["cells"]["size"] = 8
    result = evaluate(tiny_layer(), hw, TINY_SPATIAL, TINY_ORDER)
    per_change = (0.35e-3 + 0.35e-3 * 2) * 0.9**2 * 4
    assert result["mac_energy_breakdown"]["local_bl_precharging"] == pytest.approx(per_change * 6 * 16, rel=1e-12)
    single = evaluate(tiny_layer(), tiny_hardware(), TINY_SPATIAL, TINY_ORDER)
    assert single["mac_energy_breakdown"]["local_bl_precharging"] == 0


# ----------------------------------------------------------------------------------------------------------------------
# Search
# ----------------------------------------------------------------------------------------------------------------------


def test_loop_factors_multiply_up_to_the_orders_of_the_oracle():
    """The orders in the oracle were made from ZigZag's own remaining sizes, but for the corner cases."""
    for _, hw, case, expected in oracle.cases(*(file for file in oracle.FILES if file != "edge")):
        if expected["status"] == "ok":
            sizes = dict.fromkeys(case["layer"]["loop_dims"], 1)
            for dim, n in case["temporal"]:
                sizes[dim] *= n
            ours = dict.fromkeys(case["layer"]["loop_dims"], 1)
            for dim, n in search.loop_factors(case["layer"], hw, case["spatial"]):
                ours[dim] *= n
            assert ours == sizes, case["id"]


def simple_layer(**sizes):
    return {
        "equation": "O[k][oy][ox]+=W[k][c][fy][fx]*I[c][iy][ix]",
        "loop_dims": list(sizes),
        "loop_sizes": list(sizes.values()),
        "dimension_relations": ["ix=ox+fx", "iy=oy+fy"],
        "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
    }


def test_merging_factors_does_not_make_orders_fewer_in_step():
    """Merged factors are more distinct: 11 factors have fewer orders than 10, and 10 fewer than 9."""
    layer = simple_layer(K=2, OX=16, OY=16, C=1, FX=3, FY=3)
    mapping = (layer, oracle.hardware("aimc"), [])
    counts = [search.count_orders(search.loop_factors(*mapping, limit)) for limit in (None, 10, 9)]
    assert counts == [69300, 75600, 90720]
    assert search.loop_factors(*mapping, 9) == [
        ("K", 2),
        *[("OX", 2), ("OX", 2), ("OX", 4)],
        *[("OY", 2), ("OY", 2), ("OY", 4)],
        *[("FX", 3), ("FY", 3)],
    ]
    assert len(search.loop_factors(*mapping, 1)) == 5  # never fewer than the dimensions


def test_loop_factors_of_special_sizes():
    """Nothing left to do, and the iteration that rounding adds."""
    aimc = oracle.hardware("aimc")
    done = simple_layer(K=2, OX=1, OY=1, C=1, FX=1, FY=1)
    assert search.loop_factors(done, aimc, [["D1", [["K", 2]]]]) == [("K", 1)]
    hazard = simple_layer(K=34, OX=1, OY=1, C=1, FX=1, FY=1)
    assert search.loop_factors(hazard, aimc, [["D1", [["K", 5]]]]) == [("K", 2)] * 3
    hazard = simple_layer(K=61, OX=1, OY=1, C=1, FX=1, FY=1)
    assert search.loop_factors(hazard, aimc, [["D1", [["K", 9]]]]) == [("K", 2)] * 3


def test_orders_are_the_distinct_permutations():
    """In lexicographic order, none missing."""
    factors = [("K", 2), ("K", 2), ("C", 3), ("FX", 3)]
    orders = [tuple(order) for order in search.orders(factors)]
    assert len(orders) == search.count_orders(factors) == 12
    assert set(orders) == set(itertools.permutations(factors))
    rank = {factor: index for index, factor in enumerate(dict.fromkeys(factors))}
    assert orders == sorted(orders, key=lambda order: [rank[factor] for factor in order])


def test_allocations_are_all_that_fit():
    """Every triple of cuts either is listed or does not fit; the greedy one is among them."""
    mapping = (tiny_layer(), tiny_hardware(), TINY_SPATIAL, TINY_ORDER)
    listed = list(search.allocations(*mapping))
    pairs = list(itertools.combinations_with_replacement(range(4), 2))
    for o, w, i in itertools.product(pairs, range(4), pairs):
        cuts = {"O": [*o, 3], "W": [w, 3], "I": [*i, 3]}
        try:
            evaluate(*mapping, cuts)
        except DoesNotFit:
            assert cuts not in listed
        else:
            assert cuts in listed
    assert search.cuts_of(evaluate(*mapping)) in listed


def test_best_over_all_orders():
    """The best of each objective is the minimum, and choosing the allocation as well can only help."""
    mapping = (tiny_layer(), tiny_hardware(), TINY_SPATIAL)
    results = [evaluate(*mapping, order) for order in search.orders(search.loop_factors(*mapping))]
    assert len(results) == 6
    found = search.best(*mapping)
    assert found["energy"].value == min(r["energy_total"] for r in results)
    assert found["latency"].value == min(r["latency_total2"] for r in results)
    assert found["edp"].value == min(r["energy_total"] * r["latency_total2"] for r in results)
    joint = search.best(*mapping, every_allocation=True)
    for objective in search.OBJECTIVES:
        assert joint[objective].value <= found[objective].value
        best = joint[objective]
        assert evaluate(*mapping, best.order, best.allocation) == best.result


def test_best_raises_when_no_order_fits():
    """A register that cannot hold a single output."""
    hw = tiny_hardware()
    hw["memories"]["rf_O"]["size"] = 4
    with pytest.raises(DoesNotFit, match="rf_O"):
        search.best(tiny_layer(), hw, TINY_SPATIAL)
