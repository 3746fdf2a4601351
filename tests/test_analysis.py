"""Repairs of a mapping, its distance from the best, and why the best is what it is."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

import fastmap as fm
from fastmap import comparison, explanation, exploration, text
from fastmap.cli import main
from fastmap.comparison import compare, sampled, value_of, wilson
from fastmap.dimensions import DIRECTIONS, OPERANDS, READING
from fastmap.errors import InputError, MappingError
from fastmap.evaluation import evaluate, evaluate_repaired
from fastmap.explanation import always_fits, explain, port_groups, stationary, widened
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Constraints, Mapping
from fastmap.mapspace import Mapspace
from fastmap.repair_effects import REPAIRS, repairs, with_iterations

from .problems import problem

AIMC = load_architecture("aimc")
BANKS = load_architecture("dimc_64x64_4banks")

# --------------------------------------------------------------------------------------------------------- repairs


def test_effects_and_totals_on_random_problems() -> None:
    applied = dict.fromkeys(REPAIRS, 0)
    untouched = interacting = 0
    for seed in range(160):
        pick = random.Random(seed)
        layer, architecture, mapping = problem(lambda items, pick=pick: pick.choice(list(items))).fastmap()
        try:
            mapping = evaluate(layer, architecture, mapping, "corrected").mapping
        except MappingError:
            continue
        found = repairs(layer, architecture, mapping)
        assert [repair.name for repair in found] == list(REPAIRS)
        for repair in found:
            applied[repair.name] += repair.applies
        if found.zigzag is None or found.corrected is None:
            continue
        if not any(repair.iterations for repair in found):
            for totals, model in ((found.zigzag, "zigzag"), (found.corrected, "corrected")):
                cost = evaluate(layer, architecture, mapping, model)
                assert totals.energy_pj == cost.energy_pj.total
                assert totals.latency_cycles == cost.latency_cycles.total
            for repair in found:
                if repair.alone is not None:
                    own = evaluate_repaired(layer, architecture, mapping, [repair.name])
                    change = own.energy_pj.total - found.zigzag.energy_pj
                    assert repair.alone.energy_pj == pytest.approx(change, abs=1e-9 * found.zigzag.energy_pj)
        if not any(repair.applies for repair in found):
            assert found.corrected.energy_pj == pytest.approx(found.zigzag.energy_pj, rel=1e-9)
            assert found.corrected.latency_cycles == pytest.approx(found.zigzag.latency_cycles, rel=1e-9)
            assert "no repair" in text.repairs(found)
            untouched += 1
        left = found.interaction
        if left is not None:
            interacting += bool(left.energy_pj or left.latency_cycles)
            parts = [repair.alone.energy_pj for repair in found if repair.alone is not None]
            total = found.zigzag.energy_pj + math.fsum(parts) + left.energy_pj
            assert total == pytest.approx(found.corrected.energy_pj, rel=1e-9)
        json.dumps(found.to_dict())
    rare = ("whole_iterations", "true_widths", "own_partners", "full_tiles")
    assert all(count for name, count in applied.items() if name not in rare), applied
    assert untouched > 3
    assert interacting


def test_superfluous_iterations_are_named_however_the_mapping_is_written() -> None:
    """34 outputs on 5 columns: ZigZag runs 8 iterations where 7 do."""
    layer = Layer(K=34, C=128)
    given = {"spatial": {"D1": {"K": 5}, "D2": {"C": 128}}, "temporal": [["K", 7]]}
    found = repairs(layer, AIMC, Mapping.from_dict(given))
    repair = found["whole_iterations"]
    assert repair.applies
    assert repair.iterations == {"K": (8, 7)}
    assert repair.alone is not None
    assert repair.alone.energy_pj < 0
    assert repair.alone.latency_cycles < 0
    assert "8 iterations of K become 7" in text.repairs(found).replace("\n" + " " * 43, " ")
    again = repairs(layer, AIMC, Mapping.from_dict(given | {"temporal": [["K", 2], ["K", 4]]}))
    assert again.zigzag is not None
    assert again["whole_iterations"].iterations == {"K": (8, 7)}


CUTS = {"W": [1, 2], "I": [0, 1, 2], "O": [0, 1, 2]}


@pytest.mark.parametrize(
    ("name", "layer", "architecture", "spatial", "temporal", "cuts"),
    [
        ("joint_coverage", Layer(K=100), BANKS, {"D1": {"K": 8}, "D3": {"K": 4}}, [["K", 4]], None),
        (
            "true_extents",
            Layer(K=2, C=2, OX=6, FX=3, dilation_x=4),
            AIMC,
            {"D1": {"K": 2}, "D2": {"C": 2}},
            [["OX", 2], ["FX", 3], ["OX", 3]],
            {"W": [1, 3], "I": [0, 2, 3], "O": [0, 3, 3]},
        ),
        ("all_accesses", Layer(K=2, C=2, OX=4), AIMC, {"D1": {"K": 2}, "D2": {"C": 2}}, [["OX", 4]], None),
        ("exact_units", Layer(K=5, OX=4), AIMC, {"D1": {"K": 3}}, [["OX", 4], ["K", 2]], None),
        ("exact_tiles", Layer(K=5, OX=13), AIMC, {"D1": {"K": 3}}, [["OX", 13], ["K", 2]], CUTS),
        ("one_unrolling", Layer(K=13, C=128), AIMC, {"D1": {"K": 4}, "D2": {"C": 128}}, [["K", 4]], None),
        ("true_activations", Layer(K=7), AIMC, {"D1": {"K": 4}}, [["K", 2]], None),
    ],
)
def test_each_repair_alone(name: str, layer: Layer, architecture: Any, spatial: Any, temporal: Any, cuts: Any) -> None:
    given = {"spatial": spatial, "temporal": temporal, "allocation": cuts}
    found = repairs(layer, architecture, Mapping.from_dict(given))
    assert found[name].applies
    assert name in text.repairs(found)


def test_the_outermost_loop_takes_up_other_iterations() -> None:
    mapping = Mapping.from_dict(
        {
            "spatial": {},
            "temporal": [["K", 2], ["C", 3], ["K", 4]],
            "allocation": {"W": [1, 3], "I": [0, 2, 3], "O": [0, 3, 3]},
        }
    )
    assert with_iterations(mapping, {"K": 8, "C": 3}) == mapping
    assert with_iterations(mapping, {"K": 6, "C": 3}).temporal == (("K", 2), ("C", 3), ("K", 3))
    assert with_iterations(mapping, {"K": 4, "C": 3}).temporal == (("K", 2), ("C", 3), ("K", 2))
    shorter = with_iterations(mapping, {"K": 2, "C": 3})
    assert shorter.temporal == (("K", 2), ("C", 3))
    assert shorter.allocation == {"W": (1, 2), "I": (0, 2, 2), "O": (0, 2, 2)}
    longer = with_iterations(mapping, {"K": 8, "C": 3, "OX": 2})
    assert longer.temporal == (*mapping.temporal, ("OX", 2))
    assert longer.allocation == {"W": (1, 4), "I": (0, 2, 4), "O": (0, 3, 4)}
    assert with_iterations(mapping, {"K": 7, "C": 3}) == mapping, "no loop can"


# ----------------------------------------------------------------------------------------------------------- moves


def test_moves_explain_the_accesses() -> None:
    """Accesses of the full bandwidth are the moves of all elements, rounded up to words."""
    layer = Layer(K=8, C=6, OX=4, OY=3, FX=3)
    space = Mapspace.build(layer, AIMC, Constraints(spatial={"D1": {"K": 4}, "D2": {"C": 3}}))
    elements = {"W": 8 * 6 * 3, "I": 6 * 6 * 3, "O": 8 * 4 * 3}
    whole = 0
    for rank in range(0, space.orders[0], 7):
        found = evaluate(layer, AIMC, space.decode(0, rank))
        for operand in OPERANDS:
            for moves, accesses in zip(found.moves[operand], found.accesses[operand], strict=True):
                memory = AIMC.memory(moves["memory"])
                for direction in DIRECTIONS:
                    port = memory.port(operand, direction)
                    if port is None:
                        assert moves[direction] == accesses[direction] == 0
                        continue
                    width = memory.ports[port].bandwidth_max_bits
                    widths = {"W": (8,), "I": (8,), "O": (16, 8)}[operand]
                    words = [moves[direction] * elements[operand] * bits / width for bits in widths]
                    assert accesses[direction] >= min(words) * (1 - 1e-12)
                    whole += accesses[direction] > 0 and accesses[direction] == pytest.approx(words[0])
        # Nothing is moved less than once, and what one memory sends the next one takes.
        for operand in ("W", "I"):
            levels = found.moves[operand]
            assert levels[-1]["rd_out_to_low"] >= 1
            for lower, upper in itertools.pairwise(levels):
                assert upper["rd_out_to_low"] <= lower["wr_in_by_high"]
        assert found.moves["O"][-1]["wr_in_by_low"] >= 1
    assert whole > 50


# ---------------------------------------------------------------------------------------------------- distribution

TINY = Layer(name="tiny", K=6, C=4, OX=6, FX=3)
FIXED = {"spatial": {"D1": {"K": 3}, "D2": {"C": 4}}}


def brute_force(layer: Layer, architecture: Any, constraints: Constraints) -> list[tuple[float, float, Mapping]]:
    """Energy and latency of every mapping of the free space that fits."""
    space = Mapspace.build(layer, architecture, constraints)
    found = []
    for spatial, count in enumerate(space.orders):
        for rank in range(count):
            order = space.decode(spatial, rank)
            n = len(order.temporal)
            choices = []
            for operand in OPERANDS:
                lower = len(architecture.chain(operand)) - 1
                choices.append([(*cuts, n) for cuts in itertools.combinations_with_replacement(range(n + 1), lower)])
            for cuts in itertools.product(*choices):
                mapping = order.model_copy(update={"allocation": dict(zip(OPERANDS, cuts, strict=True))})
                try:
                    cost = evaluate(layer, architecture, mapping)
                except MappingError:
                    continue
                found.append((cost.energy_pj.total, cost.latency_cycles.total, cost.mapping))
    return found


@pytest.fixture(scope="module")
def everything() -> list[tuple[float, float, Mapping]]:
    layer = Layer(name="tiny", K=6, C=4, OX=3, FX=3)
    return brute_force(layer, AIMC, Constraints.from_dict(FIXED))


@pytest.mark.parametrize("objective", ["energy", "latency", "edp"])
def test_place_among_all_mappings(
    everything: list[tuple[float, float, Mapping]], objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(name="tiny", K=6, C=4, OX=3, FX=3)
    constraints = Constraints.from_dict(FIXED)
    space = Mapspace.build(layer, AIMC, constraints)
    values = [{"energy": e, "latency": c, "edp": e * c}[objective] for e, c, _ in everything]
    ranked = sorted(zip(values, range(len(values)), strict=True))
    enumerations = 0
    for share in (0.0, 0.3, 0.9):
        value, place = ranked[round(share * (len(ranked) - 1))]
        mapping = everything[place][2]
        better = sum(each < value * (1 - 1e-9) for each in values) / len(values)
        exact = compare(layer, AIMC, mapping, objective, constraints=constraints)
        if exact.distribution.method == "enumeration":
            enumerations += 1
            assert exact.distribution.mappings == len(everything)
        assert exact.distribution.mappings_total == space.size
        margin = 1e-12 if exact.distribution.confidence is None else 0.01
        assert exact.distribution.low - margin <= better <= exact.distribution.high + margin
        assert exact.distribution.high - exact.distribution.low < 0.05
        monkeypatch.setattr(comparison, "ENUMERABLE", 0)
        drawn = compare(layer, AIMC, mapping, objective, constraints=constraints, samples=1500)
        monkeypatch.undo()
        assert drawn.distribution.method == "sample"
        # Nine draws, each within its interval with 95 % confidence: half as wide again is sure enough.
        margin = (drawn.distribution.high - drawn.distribution.low) / 4
        assert drawn.distribution.low - margin <= better <= drawn.distribution.high + margin
        again = sampled(space, objective, value_of(drawn.mine, objective), 1500)
        assert again == drawn.distribution, "the sample is the same every time"
    assert enumerations


def test_samples_count_the_mappings_that_fit(everything: list[tuple[float, float, Mapping]]) -> None:
    layer = Layer(name="tiny", K=6, C=4, OX=3, FX=3)
    space = Mapspace.build(layer, AIMC, Constraints.from_dict(FIXED))
    sampler = comparison.Sampler(space)
    drawn = [sampler.draw() for _ in range(6000)]
    weights = [0.0 if each is None else each[0] for each in drawn]
    assert space.size * math.fsum(weights) / len(weights) == pytest.approx(len(everything), rel=0.05)
    known = {(round(e, 3), c) for e, c, _ in everything}
    seen = {(round(each[1], 3), each[2]) for each in drawn if each is not None}
    assert seen <= known
    assert len(seen) > 0.8 * len(known)


@pytest.mark.parametrize(
    "rules",
    [
        {"stationary": {"cells": "W"}},
        {"allocation": "greedy"},
        {"forbidden": {"sram_256KB.O": ["K"]}},
        {"innermost": [["OX", 3]]},
        {"weights_loaded_once": True},
    ],
)
def test_samples_keep_to_the_constraints(rules: dict[str, Any]) -> None:
    layer = Layer(name="tiny", K=6, C=4, OX=3, FX=3)
    space = Mapspace.build(layer, AIMC, Constraints.from_dict(FIXED | rules))
    found = exploration.search(layer, AIMC, "energy", "exhaustive", constraints=space.constraints, top=1000)
    points = found.points["energy"]
    allowed = {(round(float(e), 3), float(c)) for e, c in zip(points.energy_pj, points.latency_cycles, strict=True)}
    sampler = comparison.Sampler(space)
    drawn = [each for each in (sampler.draw() for _ in range(1500)) if each is not None]
    assert {(round(e, 3), c) for _, e, c in drawn} <= allowed
    assert len(drawn) > 20


def test_confidence_intervals() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 100) == pytest.approx((0.0, 0.037), abs=1e-4)
    assert wilson(1.0, 100) == pytest.approx((0.963, 1.0), abs=1e-4)


# ------------------------------------------------------------------------------------------------------ comparison


def test_the_optimum_beside_itself() -> None:
    constraints = Constraints.from_dict(FIXED)
    best = exploration.search(TINY, AIMC, "edp", constraints=constraints).best[0]
    found = compare(TINY, AIMC, best.mapping, constraints=constraints)
    assert found.gap == pytest.approx(0, abs=1e-9)
    assert found.distribution.high == 0
    printed = text.comparison(found, AIMC)
    assert printed.startswith("tiny on aimc: EDP equal to the proven optimum\n  none of all ")


def test_what_a_worse_mapping_pays_for() -> None:
    constraints = Constraints.from_dict(FIXED)
    worst = exploration.search(TINY, AIMC, "edp", "exhaustive", constraints=constraints, top=500).best[-1]
    found = compare(TINY, AIMC, worst.mapping, constraints=constraints)
    assert found.gap > 0.1
    changes = [each.change_pj for each in found.differences]
    assert math.fsum(changes) == pytest.approx(found.mine.energy_pj.total - found.best.energy_pj.total, rel=1e-6)
    assert [abs(change) for change in changes] == sorted((abs(change) for change in changes), reverse=True)
    for each in found.differences:
        assert re.match(rf"(the array's|{each.operand} at) {each.memory} pays \S+ \wJ (more|less)", each.words)
    cycles = found.cycles
    assert sum(mine for cause, (mine, _) in cycles.items() if cause != "total") == pytest.approx(cycles["total"][0])
    data = json.loads(json.dumps(found.to_dict()))
    assert data["gap"] == found.gap
    assert data["best"]["mapping"] == found.best.mapping.to_dict()
    printed = text.comparison(found, AIMC)
    assert found.differences[0].words in printed
    assert text.loop_nest(found.mine.mapping, AIMC) in printed
    assert text.loop_nest(found.best.mapping, AIMC) in printed


def test_words_of_a_difference() -> None:
    """A layer whose inputs are fetched again for each half of the outputs."""
    layer = Layer(name="l", K=4, C=4, OX=4)
    given = {"spatial": {"D1": {"K": 2}, "D2": {"C": 4}}}
    good = Mapping.from_dict(given | {"temporal": [["OX", 4], ["K", 2]]})
    cuts = {"W": [1, 2], "I": [0, 0, 2], "O": [0, 2, 2]}
    bad = Mapping.from_dict(given | {"temporal": [["OX", 4], ["K", 2]], "allocation": cuts})
    mine, best = (evaluate(layer, AIMC, mapping) for mapping in (bad, good))
    words = {(each.operand, each.memory): each.words for each in comparison.differences(mine, best)}
    assert words["I", "dram"].endswith(": it is read twice, the optimum reads it once")
    assert comparison.differences(best, best) == []


def test_a_mapping_that_the_space_does_not_hold() -> None:
    best = exploration.search(TINY, AIMC, constraints=Constraints.from_dict(FIXED)).best[0]
    narrow = Constraints.from_dict({"spatial": {"D1": {"K": 2}}})
    found = compare(TINY, AIMC, best.mapping, constraints=narrow)
    assert found.gap < 0
    assert "the space searched does not hold this mapping" in text.comparison(found, AIMC)


def test_comparison_refuses_nonsense() -> None:
    mapping = Mapping.from_dict({"spatial": {}, "temporal": [["K", 2]]})
    with pytest.raises(InputError, match=r"objective must be one of energy, latency, edp, ed2p \(.*, not 'speed'"):
        compare(Layer(K=2), AIMC, mapping, "speed")
    for refused in (lambda: compare(Layer(K=2), AIMC, mapping, "pareto"), lambda: explain(Layer(K=2), AIMC, "pareto")):
        with pytest.raises(InputError, match="a Pareto front has no single best mapping"):
            refused()
    with pytest.raises(InputError, match="samples must be a positive integer, not 0"):
        compare(Layer(K=2), AIMC, mapping, samples=0)


# ----------------------------------------------------------------------------------------------------- explanation


@pytest.fixture(scope="module")
def explained() -> list[explanation.Explanation]:
    constraints = Constraints.from_dict(FIXED)
    return [explain(TINY, AIMC, objective, constraints=constraints) for objective in ("energy", "latency", "edp")]


def test_energies_and_moves_are_those_of_the_optimum(explained: list[explanation.Explanation]) -> None:
    for found in explained:
        best = exploration.search(TINY, AIMC, found.objective, constraints=Constraints.from_dict(FIXED)).best[0]
        assert found.value == pytest.approx(value_of(best, found.objective))
        assert sum(row["energy_pj"] for row in found.energies) == pytest.approx(best.energy_pj.total)
        assert sum(row["share"] for row in found.energies) == pytest.approx(1)
        data = json.loads(json.dumps(found.to_dict()))
        assert set(data["moves_per_element"]) == set(OPERANDS)


def test_prices_are_found_by_searching_again(explained: list[explanation.Explanation]) -> None:
    constraints = Constraints.from_dict(FIXED)
    for found in explained:
        changes = [price.change for price in found.prices]
        assert changes == sorted(changes)
        for index, memory in enumerate(AIMC.memories):
            larger = list(AIMC.memories)
            larger[index] = memory.model_copy(update={"size_bits": 2 * memory.size_bits})
            architecture = AIMC.model_copy(update={"memories": tuple(larger)})
            best = exploration.search(TINY, architecture, found.objective, constraints=constraints).best[0]
            (price,) = (p for p in found.prices if (p.resource, p.memory) == ("capacity", memory.name))
            assert value_of(best, found.objective) == pytest.approx(price.value, rel=1e-9)
        for price in found.prices:
            if price.resource == "bandwidth":
                assert price.change <= 0
                assert price.change == 0 or found.objective != "energy"


def test_bandwidth_that_binds() -> None:
    """The weights of a small layer are still coming in when its few iterations are done."""
    layer = Layer(K=34, C=12, OX=6, OY=3, FX=3)
    constraints = Constraints.from_dict({"spatial": {"D1": {"K": 17}, "D2": {"C": 12}}})
    prices = explain(layer, AIMC, "latency", constraints=constraints).prices
    first = next(price for price in prices if price.resource == "bandwidth")
    assert (first.memory, first.change < 0) == ("dram", True)


def test_alternatives_keep_their_operand(explained: list[explanation.Explanation]) -> None:
    for found in explained:
        assert {each.operand for each in found.alternatives} == set(OPERANDS)
        for each in found.alternatives:
            if each.best is None or each.change is None:
                continue
            assert each.operand in stationary(TINY, AIMC, each.best)
            assert each.change >= -1e-9
            assert each.optimum == (each.operand in stationary(TINY, AIMC, found.best))
        printed = text.explanation(found, AIMC)
        assert all(len(line) <= 100 for line in printed.split("\n"))
        for each in found.alternatives:
            assert f"{each.operand} stays in {each.memory}" in printed
        assert "nothing" in printed


def test_what_takes_too_long_is_given_with_its_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, calls = Layer(K=256, C=256, OX=14, OY=14, FX=3, FY=3), []
    monkeypatch.setattr(explanation, "SEARCH_SECONDS", 1e-9)
    found = explain(layer, AIMC, "edp", progress=lambda: calls.append(1))
    assert found.found.optimal
    assert len(calls) == explanation.count_searches(AIMC)
    data = json.loads(json.dumps(found.to_dict()))
    others = [each for each in data["alternatives"] if not each["optimum"]]
    assert any(not each["found_in_time"] for each in others)
    assert any(price["value"] is None for price in data["prices"])
    printed = text.explanation(found, AIMC)
    assert "none found in time" in printed


def test_ports_that_share_an_energy_are_widened_together() -> None:
    assert [port_groups(memory) for memory in AIMC.memories[:2]] == [[(0,)], [(0,), (1,)]]
    separate = AIMC.memory("rf_2B")
    groups = port_groups(separate)
    assert sorted(port for group in groups for port in group) == list(range(len(separate.ports)))
    for group in groups:
        kinds = {d in READING for port in group for _, d in separate.ports[port].transfers}
        others = {d in READING for i, port in enumerate(separate.ports) if i not in group for _, d in port.transfers}
        assert not kinds & others


@pytest.mark.parametrize("name", ["aimc", "dimc_4level", "dimc_64x64_4banks"])
def test_wider_ports_move_the_same_energy_faster(name: str) -> None:
    architecture = load_architecture(name)
    layer = Layer(K=8, C=8, OX=6, OY=3, FX=3)
    space = Mapspace.build(layer, architecture, Constraints(max_spatial_mappings=1))
    mapping = evaluate(layer, architecture, space.decode(0, space.orders[0] // 3)).mapping
    before = evaluate(layer, architecture, mapping)
    for index, memory in enumerate(architecture.memories):
        for group in port_groups(memory):
            memories = list(architecture.memories)
            memories[index] = widened(memory, group, 2)
            after = evaluate(layer, architecture.model_copy(update={"memories": tuple(memories)}), mapping)
            assert after.energy_pj.total == pytest.approx(before.energy_pj.total, rel=1e-12)
            assert after.latency_cycles.total <= before.latency_cycles.total


def test_capacity_that_never_matters_is_not_searched_for() -> None:
    layer = Layer(K=8, C=8, OX=6, OY=3, FX=3)
    roomy = {memory.name: always_fits(layer, AIMC, memory) for memory in AIMC.memories}
    assert roomy == {"cells": False, "rf_1B": False, "rf_2B": False, "sram_256KB": True, "dram": True}
    wide = Layer(K=64, C=64, OX=64, OY=64)
    assert not always_fits(wide, AIMC, AIMC.memory("sram_256KB"))
    assert always_fits(wide, AIMC, AIMC.memory("dram"))


# ---------------------------------------------------------------------------------------------------- command line

MAPPING = "spatial: {D1: {K: 3}, D2: {C: 4}}\ntemporal: [[OX, 6], [FX, 3], [K, 2]]\n"
WORKLOAD = "layers: {one: {K: 6, C: 4, OX: 6, FX: 3}, same: {K: 6, C: 4, OX: 6, FX: 3}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(MAPPING)
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


EVALUATE = ("evaluate", "w.yaml", "--layer", "one", "--arch", "aimc", "--mapping", "m.yaml")


def test_evaluate_names_the_repairs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, *EVALUATE, "--json"))
    assert data["cost_model"] == "corrected"
    assert [repair["name"] for repair in data["repairs"]] == list(REPAIRS)
    assert data["cost_models"]["corrected"]["energy_pj"] == data["energy_pj"]["total"]
    plain = json.loads(run(capsys, *EVALUATE, "--json", "--cost-model", "zigzag"))
    assert data["cost_models"]["zigzag"]["energy_pj"] == plain["energy_pj"]["total"]
    layer = fm.load_workload("w.yaml")["one"]
    applied = text.repairs(repairs(layer, AIMC, Mapping.from_dict(data["mapping"])))
    assert applied in run(capsys, *EVALUATE, "--explain")


def test_evaluate_compares(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, *EVALUATE, "--compare", "--objective", "energy", "--json"))["comparison"]
    best = exploration.search(fm.load_workload("w.yaml")["one"], AIMC, "energy").best[0]
    assert data["objective"] == "energy"
    assert data["optimum"] == pytest.approx(best.energy_pj.total)
    assert data["gap"] == pytest.approx(data["value"] / data["optimum"] - 1)
    assert 0 <= data["distribution"]["percentile"] <= 100
    printed = run(capsys, *EVALUATE, "--compare", "--objective", "energy")
    assert "one on aimc: energy " in printed
    sentence = run(capsys, *EVALUATE, "--objective", "energy", code=2)
    assert sentence == "fastmap: --objective belongs to --compare: the cost of a mapping has none\n"
    assert "objective must be one of" in run(capsys, *EVALUATE, "--compare", "--objective", "speed", code=2)


def test_explain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "c.yaml").write_text("spatial: {D1: {K: 3}, D2: {C: 4}}\n")
    call = ("explain", "w.yaml", "--arch", "aimc", "--constraints", "c.yaml")
    (data,) = json.loads(run(capsys, *call, "--json"))
    assert (data["layer"], data["also"]) == ("one", ["same"])
    printed = run(capsys, *call, "--objective", "latency")
    assert printed.startswith("one (and same) on aimc: best latency, ")
    for part in ("where the energy goes", "moves of each element", "what twice as much", "other dataflows"):
        assert part in printed
