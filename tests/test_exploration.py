"""The exhaustive search against brute force with the reference, and its behaviour: threads, stopping, networks."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from functools import cache

import numpy as np
import pytest

import fastmap
from fastmap import evaluate, exhaustive
from fastmap.control import Control
from fastmap.dimensions import LOOP_DIMENSIONS
from fastmap.errors import InputError, SearchError
from fastmap.exhaustive import bin_edges
from fastmap.exploration import Options
from fastmap.exploration import plan_network as plan
from fastmap.exploration import search_network as search_plan
from fastmap.kernels import reduce
from fastmap.layer import Layer
from fastmap.loading import load_architecture
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace, decode_allocation, encode_allocation
from fastmap.optimal import Solver
from fastmap.result import NetworkResult
from fastmap.workload import Workload

from .problems import hardware, random_layer, read_architecture, read_layer
from .reference import cost
from .reference import search as slow

AIMC = load_architecture("aimc")
BANKS = load_architecture("dimc_64x64_4banks")
#: 1.3 million orders of one spatial mapping: enough for threads and stopping to matter.
LARGE = Layer(name="large", K=64, C=32, OX=32, OY=32, FX=3, FY=3)
#: 2.4 billion orders.
ENDLESS = Layer(name="endless", K=2**7, C=2**8, OX=2**9, OY=2**9, FX=3, FY=3)
FIXED = {"spatial": {"D1": {"K": 32}, "D2": {"C": 32}}}


def greedy(constraints=None):
    """The constraints, with ZigZag's one allocation of each order."""
    return (constraints or Constraints()).model_copy(update={"allocation": "greedy"})


def build(layer, architecture, constraints=None):
    """ZigZag's space."""
    return Mapspace.build(layer, architecture, greedy(constraints), "zigzag")


def search(layer, architecture, objective="edp", *, constraints=None, **options):
    """The enumeration of ZigZag's space."""
    return fastmap.search(layer, architecture, objective, "exhaustive", "zigzag", greedy(constraints), **options)


def plan_network(workload, architecture, constraints=None, **options):
    """ZigZag's spaces of a network."""

    def for_layer(layer):
        return greedy(constraints(layer) if callable(constraints) else constraints)

    return plan(workload, architecture, for_layer, cost_model="zigzag", **options)


def search_network(planned, objective="edp", *, progress=None, control=None, keep=None, **options):
    """The enumeration of a network's spaces."""
    return search_plan(
        planned, Options(objective, "exhaustive", **options), progress=progress, control=control, keep=keep
    )


VALUE = {
    "energy": lambda points: points[:, 0],
    "latency": lambda points: points[:, 1],
    "edp": lambda points: points[:, 0] * points[:, 1],
}

PROBLEMS = 40
MOST_MAPPINGS = 900
TOLERANCE = 1e-9


# ----------------------------------------------------------------------------------------------------------------------
# Brute force
# ----------------------------------------------------------------------------------------------------------------------


@cache
def small_problem(number):
    """(layer, hardware, space) with few mappings, in the format of the reference."""
    pick = random.Random(f"exploration {number}").choice
    while True:
        hw = hardware(pick, regular=pick((True, False)))
        array = hw["operational_array"]
        array["sizes"] = [min(size, 4 if index < 2 else 2) for index, size in enumerate(array["sizes"])]
        if array["imc_type"] == "digital":
            array["sizes"] = [
                4 if name == "D2" else n for name, n in zip(array["dimensions"], array["sizes"], strict=True)
            ]
        layer = random_layer(pick, hw, (1, 1, 2, 3, 4, 5, 6))
        if number % 2 and layer["op"] == "Conv":  # room for diagonals
            few = {
                "B": (1,),
                "G": (1,),
                "K": (1, 2),
                "C": (1, 2, 3),
                "OX": (2, 3, 4),
                "OY": (1, 1, 2),
                "FX": (2, 3),
                "FY": (1,),
            }
            layer["loop_sizes"] = [pick(few[dim]) for dim in layer["loop_dims"]]
            layer = {
                key: value for key, value in layer.items() if key not in ("pr_loop_dims", "pr_loop_sizes", "padding")
            }
        try:
            space = build(read_layer(layer), read_architecture(hw))
        except SearchError:
            continue
        if 60 <= space.size <= MOST_MAPPINGS:
            return layer, hw, space


def test_the_problems_have_everything():
    """Banks, diagonals, over-hanging factors, loops that some candidates leave alone."""
    seen = dict.fromkeys(("banks", "diagonal", "hangs over", "one loop left alone"), 0)
    for number in range(PROBLEMS):
        _, _, space = small_problem(number)
        unrollings = [space.spatial(i).unrolling for i in range(len(space.orders))]
        seen["banks"] += any("D3" in each for each in unrollings)
        seen["diagonal"] += any({"OX", "OY"} & set(each.get("D1", ())) for each in unrollings)
        loops = [(dim, factor) for each in unrollings for factors in each.values() for dim, factor in factors.items()]
        seen["hangs over"] += any(space.layer.size(dim) % factor for dim, factor in loops)
        seen["one loop left alone"] += bool((space.candidates == 0).any())
    assert all(n >= 5 for n in seen.values()), seen


def every_cost(layer, hw, space):
    """(energy, latency, spatial index, order) of every mapping that fits, by the reference."""
    names = {read_layer(layer).aliases.get(dim, dim): dim for dim in layer["loop_dims"]}
    found = []
    for index in range(len(space.orders)):
        unrolling = space.spatial(index).unrolling
        spatial = [[name, [[names[dim], f] for dim, f in factors.items()]] for name, factors in unrolling.items()]
        for rank, order in enumerate(slow.orders(slow.loop_factors(layer, hw, spatial))):
            try:
                result = cost.evaluate(layer, hw, spatial, order)
            except cost.DoesNotFit:
                continue
            found.append((result["energy_total"], result["latency_total2"], index, rank))
    return found


def front_of(points):
    """The points that nothing dominates: less energy or less latency than all before, by rising energy."""
    front = []
    for energy, latency in sorted(points):
        if not front or latency < front[-1][1]:
            front.append((energy, latency))
    return front


def near(a, b):
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def points_of(result, name):
    """Energy and latency of the points that a result keeps, one a row."""
    return np.column_stack([result.points[name].energy_pj, result.points[name].latency_cycles])


def equal_points(some, others):
    """Which of some points are among others, but for rounding."""
    difference = np.abs(some[:, None, :] - others[None, :, :])
    return (difference <= TOLERANCE * np.abs(some[:, None, :])).all(axis=2).any(axis=1)


def without_rounding(front):
    """The front without points that rounding alone keeps: equal energy and more latency, or the reverse."""
    return [
        point
        for point in front
        if not any(
            other != point
            and (other[0] <= point[0] or near(other[0], point[0]))
            and (other[1] <= point[1] or near(other[1], point[1]))
            and not (near(other[0], point[0]) and near(other[1], point[1]))
            for other in front
        )
    ]


@pytest.mark.parametrize("number", range(PROBLEMS))
def test_exhaustive_search_equals_brute_force(number):
    """All points, best first for each objective, the front, and how many mappings there are and fit."""
    layer, hw, space = small_problem(number)
    expected = every_cost(layer, hw, space)
    if not expected:
        with pytest.raises(SearchError, match=f"none of its {space.size} mappings fits the memories"):
            search(space.layer, space.architecture)
        return
    result = search(space.layer, space.architecture, "energy", top=MOST_MAPPINGS)
    context = (number, layer, hw)
    assert result.complete
    assert result.optimal
    assert result.statistics["mappings_total"] == result.statistics["mappings_evaluated"] == space.size, context
    assert result.statistics["mappings_fitting"] == len(expected), context
    assert result.statistics["spatial_mappings"] == len(space.orders)

    points = np.array(expected)[:, :2]
    for objective, value in VALUE.items():
        kept = points_of(result, objective)
        assert equal_points(kept, points).all(), (objective, context)
        assert equal_points(points, kept).all(), (objective, context)
        assert (np.diff(value(kept)) >= 0).all()
        assert near(value(kept)[0], value(points).min()), (objective, context)
    ours = without_rounding(points_of(result, "pareto").tolist())
    theirs = without_rounding(front_of(map(tuple, points.tolist())))
    assert equal_points(np.array(ours), np.array(theirs)).all(), context
    assert equal_points(np.array(theirs), np.array(ours)).all(), context


@pytest.mark.parametrize("number", range(0, PROBLEMS, 2))
def test_what_is_kept_is_what_its_mapping_costs(number):
    """Every point, evaluated again from its identity; its allocation is the greedy one."""
    _, _, space = small_problem(number)
    try:
        result = search(space.layer, space.architecture, top=7)
    except SearchError:
        return
    for name, points in result.points.items():
        evaluations = result.pareto if name == "pareto" else result.top(name)
        assert len(evaluations) == len(points) > 0
        for row, found in enumerate(evaluations):
            spatial, rank, code = (int(part) for part in points.mapping_id[row])
            assert near(found.energy_pj.total, points.energy_pj[row]), (number, name, row)
            assert near(found.latency_cycles.total, points.latency_cycles[row]), (number, name, row)
            greedy = evaluate(space.layer, space.architecture, space.decode(spatial, rank), "zigzag")
            assert greedy == found
            loops = len(found.mapping.temporal)
            assert encode_allocation(found.mapping.allocation, loops) == code
            assert decode_allocation(code, loops, space.problem["levels"]) == found.mapping.allocation


@pytest.mark.parametrize("number", range(0, PROBLEMS, 4))
def test_histograms_count_every_mapping_once(number):
    """In the bin between whose edges its value lies."""
    layer, hw, space = small_problem(number)
    expected = every_cost(layer, hw, space)
    if not expected:
        return
    result = search(space.layer, space.architecture)
    clock = evaluate(space.layer, space.architecture, result.best[0].mapping, "zigzag").clock_ns
    values = {
        "energy_pj": [energy for energy, *_ in expected],
        "latency_cycles": [latency for _, latency, *_ in expected],
        "edp_pj_ns": [energy * latency * clock for energy, latency, *_ in expected],
    }
    for name, histogram in result.histograms.items():
        assert histogram.counts.sum() == len(expected)
        assert histogram.counts[0] > 0
        assert histogram.counts[-1] > 0
        assert (np.diff(histogram.edges) > 0).all()
        if name == "latency_cycles":  # whole numbers: no rounding at the edges
            counts, _ = np.histogram(
                values[name], np.append(histogram.edges[:-1], np.nextafter(histogram.edges[-1], 0))
            )
            assert counts.tolist() == histogram.counts.tolist()
        lowest, highest = min(values[name]), max(values[name])
        assert histogram.edges[0] <= lowest * (1 + TOLERANCE)
        assert histogram.edges[1] >= lowest * (1 - TOLERANCE)
        assert histogram.edges[-2] <= highest * (1 + TOLERANCE)
        assert histogram.edges[-1] >= highest * (1 - TOLERANCE)
    joint = result.joint_histogram
    assert joint.counts.sum() == len(expected)
    assert joint.counts.shape == (len(joint.energy_edges) - 1, len(joint.latency_edges) - 1)
    per_octave = joint.counts.sum(axis=0)
    counts, _ = np.histogram(values["latency_cycles"], np.append(joint.latency_edges[:-1], np.inf))
    assert counts.tolist() == per_octave.tolist()


def test_bin_edges_enclose_what_falls_into_the_bin():
    for shift, step in ((reduce.SHIFT, reduce.BINS_PER_OCTAVE), (reduce.JOINT_SHIFT, reduce.JOINT_BINS_PER_OCTAVE)):
        edges = bin_edges(0, reduce.OCTAVES * step - 1, step)
        assert edges[0] == 1
        assert edges[step] == 2
        for place in range(0, reduce.OCTAVES * step, 7):
            assert reduce.bin_of(edges[place], shift) == place
            assert reduce.bin_of(np.nextafter(edges[place + 1], 0), shift) == place


# ----------------------------------------------------------------------------------------------------------------------
# Constraints
# ----------------------------------------------------------------------------------------------------------------------


def test_a_fixed_order_costs_what_evaluate_says():
    """One mapping for each spatial mapping that leaves these iterations."""
    layer = Layer(name="small", K=8, C=4, OX=6, OY=2, FX=3)
    order = [["OX", 2], ["FX", 3], ["OX", 3], ["OY", 2]]
    fixed = Constraints.from_dict({"spatial": {"D1": {"K": 8}, "D2": {"C": 4}}, "temporal": order})
    for constraints in (fixed, Constraints.from_dict({"temporal": order})):
        result = search(layer, AIMC, "energy", constraints=constraints)
        assert result.statistics["mappings_total"] == len(result.space.orders)
        costs = [evaluate(layer, AIMC, result.space.decode(i, 0), "zigzag") for i in range(len(result.space.orders))]
        assert result.points["energy"].energy_pj[0] == pytest.approx(min(each.energy_pj.total for each in costs))
        assert result.points["latency"].latency_cycles[0] == min(each.latency_cycles.total for each in costs)
        assert result.best[0].mapping.temporal == tuple((dim, size) for dim, size in order)


@pytest.mark.parametrize("number", range(0, PROBLEMS, 5))
def test_a_limit_on_loop_factors_searches_the_merged_loops(number):
    layer, hw, space = small_problem(number)
    constraints = Constraints(loop_factor_limit=3, max_spatial_mappings=4)
    names = {read_layer(layer).aliases.get(dim, dim): dim for dim in layer["loop_dims"]}
    values = []
    for index in range(min(4, len(space.orders))):
        unrolling = space.spatial(index).unrolling
        spatial = [[name, [[names[dim], f] for dim, f in factors.items()]] for name, factors in unrolling.items()]
        for order in slow.orders(slow.loop_factors(layer, hw, spatial, 3)):
            try:
                values.append(cost.evaluate(layer, hw, spatial, order)["energy_total"])
            except cost.DoesNotFit:
                values.append(math.inf)
    fitting = [value for value in values if value < math.inf]
    if not fitting:
        with pytest.raises(SearchError):
            search(space.layer, space.architecture, constraints=constraints)
        return
    result = search(space.layer, space.architecture, "energy", constraints=constraints)
    assert result.statistics["mappings_total"] == len(values)
    assert result.statistics["mappings_fitting"] == len(fitting)
    assert near(result.points["energy"].energy_pj[0], min(fitting))


def test_a_layer_that_is_unrolled_completely():
    layer = Layer(K=8, C=4)
    constraints = Constraints.from_dict({"spatial": {"D1": {"K": 8}, "D2": {"C": 4}}})
    result = search(layer, AIMC, constraints=constraints)
    assert result.statistics["mappings_total"] == 1
    assert result.best[0].mapping.temporal == ()
    assert result.points["energy"].energy_pj[0] == pytest.approx(result.best[0].energy_pj.total, rel=1e-12)
    assert result.gap_to_second is None
    assert result.best[0].mapping.allocation == {"W": (0, 0), "I": (0, 0, 0), "O": (0, 0, 0)}


# ----------------------------------------------------------------------------------------------------------------------
# Threads, progress, stopping
# ----------------------------------------------------------------------------------------------------------------------


def essence(result):
    """Everything that a result says, but how long it took."""
    points = {
        name: (each.mapping_id.tolist(), each.energy_pj.tolist(), each.latency_cycles.tolist())
        for name, each in result.points.items()
    }
    histograms = {name: (each.edges.tolist(), each.counts.tolist()) for name, each in result.histograms.items()}
    joint = result.joint_histogram
    statistics = {
        name: value
        for name, value in result.statistics.items()
        if name not in ("seconds_compile", "seconds_search", "threads")
    }
    return (
        points,
        histograms,
        (joint.energy_edges.tolist(), joint.latency_edges.tolist(), joint.counts.tolist()),
        statistics,
        result.complete,
        result.objective,
    )


@pytest.mark.parametrize(
    ("layer", "architecture", "constraints"),
    [
        (LARGE, AIMC, {**FIXED, "loop_factor_limit": 10}),
        (Layer(K=24, C=10, OX=6, OY=5, FX=3), AIMC, {"max_spatial_mappings": 150, "loop_factor_limit": 5}),
        (Layer(K=34, C=34, B=2, G=2, OX=3), BANKS, {"max_spatial_mappings": 300}),
    ],
)
def test_any_number_of_threads_finds_the_same(layer, architecture, constraints, monkeypatch):
    """Points with their identities, histograms and statistics; also with small chunks and a small front."""
    given = Constraints.from_dict(constraints)
    results = [search(layer, architecture, constraints=given, threads=n) for n in (1, 2, 3)]
    monkeypatch.setattr(exhaustive, "CHUNK", 997)
    monkeypatch.setattr(exhaustive, "FIRST_FRONT", 2)
    results += [search(layer, architecture, constraints=given, threads=n) for n in (1, 3)]
    assert results[0].statistics["mappings_total"] > 1000
    for number, result in enumerate(results):
        assert result.statistics["threads"] == (1, 2, 3, 1, 3)[number]
        assert essence(result) == essence(results[0]), number


def test_of_equal_mappings_the_first_stands_for_all():
    """Its identity is the smallest of all mappings with its energy and latency."""
    layer = Layer(K=4, C=4, OX=4, OY=2)
    space = build(layer, AIMC, Constraints(max_spatial_mappings=6))
    result = search(layer, AIMC, constraints=Constraints(max_spatial_mappings=6))
    identities = [(i, rank) for i, count in enumerate(space.orders) for rank in range(count)]
    costs = {}
    for identity in identities:
        found = evaluate(layer, AIMC, space.decode(*identity), "zigzag")
        costs.setdefault((found.energy_pj.total, found.latency_cycles.total), identity)
    for row, found in enumerate(result.best):
        point = (found.energy_pj.total, found.latency_cycles.total)
        assert tuple(result.points["edp"].mapping_id[row][:2].tolist()) == costs[point]


def test_progress_adds_up():
    reported = []
    constraints = Constraints.from_dict({**FIXED, "loop_factor_limit": 10})
    result = search(LARGE, AIMC, constraints=constraints, progress=reported.append)
    assert sum(reported) == result.statistics["mappings_evaluated"] == result.space.size
    assert min(reported) >= 0


def check_partial(result):
    """A stopped search has what it has done."""
    done = result.statistics["mappings_evaluated"]
    assert not result.complete
    assert not result.optimal
    assert "lower_bound" not in result.certificate
    assert 0 < done < result.statistics["mappings_total"]
    fitting = result.statistics["mappings_fitting"]
    assert 0 < fitting <= done
    assert all(each.counts.sum() == fitting for each in result.histograms.values())
    assert result.joint_histogram.counts.sum() == fitting
    best = result.best[0]
    assert best.energy_pj.total == pytest.approx(result.points["edp"].energy_pj[0], rel=1e-12)
    assert best.latency_cycles.total == result.points["edp"].latency_cycles[0]
    assert len(result.pareto) > 0


def test_stopping_keeps_what_is_done():
    """Within a second of being asked to."""
    control = Control()
    stopped_at = []

    def stop():
        stopped_at.append(time.perf_counter())
        control.stop()

    exhaustive.compile_kernels(build(ENDLESS, AIMC, Constraints.from_dict(FIXED)))
    timer = threading.Timer(0.4, stop)
    timer.start()
    result = search(ENDLESS, AIMC, constraints=Constraints.from_dict(FIXED), threads=2, force=True, control=control)
    assert time.perf_counter() - stopped_at[0] < 1.0
    check_partial(result)


def test_ctrl_c_stops_and_the_handler_goes_away():
    before = signal.getsignal(signal.SIGINT)
    exhaustive.compile_kernels(build(ENDLESS, AIMC, Constraints.from_dict(FIXED)))
    timer = threading.Timer(0.4, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    result = search(ENDLESS, AIMC, constraints=Constraints.from_dict(FIXED), threads=2, force=True)
    check_partial(result)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_search_that_is_stopped_before_it_starts_has_nothing():
    control = Control()
    control.stop()
    result = search(LARGE, AIMC, constraints=Constraints.from_dict(FIXED), control=control, force=True)
    assert not result.complete
    assert result.best == []
    assert result.pareto == []
    assert result.statistics["mappings_evaluated"] == 0
    assert all(each.counts.sum() == 0 for each in result.histograms.values())
    assert result.gap_to_second is None


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    constraints = Constraints.from_dict({**FIXED, "loop_factor_limit": 10})
    search(LARGE, AIMC, constraints=constraints)
    original = exhaustive._run_range

    def fail(space, array_pj, offsets, first, *rest):
        if first > 0:
            raise MemoryError("no more")
        return original(space, array_pj, offsets, first, *rest)

    monkeypatch.setattr(exhaustive, "_run_range", fail)
    with pytest.raises(MemoryError, match="no more"):
        search(LARGE, AIMC, constraints=constraints, threads=2)


@pytest.mark.parametrize("asked", [False, True])
def test_a_stop_at_the_moment_of_the_time_limit_is_not_lost(asked, monkeypatch):
    """Both come while the last thread ends; what is limited in time next must run, unless somebody asked to stop."""
    control, finish = Control(), Solver.out_of_time

    def both(solver):
        if asked:
            control.stop()
        finish(solver)

    monkeypatch.setattr(Solver, "out_of_time", both)
    layer = fastmap.load_workload("mobilenet_v1_025")["dw2"]
    result = fastmap.search(layer, AIMC, "energy", cost_model="zigzag", time_limit=0.3, control=control)
    assert not result.complete
    assert control.stopped == asked
    assert bool(control.halt[0]) == asked
    following = fastmap.search(Layer(K=4, C=4), AIMC, time_limit=60.0, control=control)
    assert following.complete == (not asked)


def test_nothing_is_found_within_the_time_limit(monkeypatch):
    def work(solver, worker):
        while not solver.timed_out:
            time.sleep(0.001)

    fastmap.search(Layer(K=4, C=4), AIMC)  # compile
    monkeypatch.setattr(Solver, "work", work)
    with pytest.raises(SearchError, match=r"small on aimc: no mapping was found within the time limit of 1e-09 s"):
        fastmap.search(Layer(name="small", **SMALL), AIMC, time_limit=1e-9)


# ----------------------------------------------------------------------------------------------------------------------
# Refusals
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"objective": "speed"},
            "objective must be one of energy, latency, edp, ed2p (energy x latency ** 2; any power up to 9) and "
            "pareto, not 'speed'",
        ),
        ({"strategy": "guess"}, "strategy must be one of optimal, exhaustive, not 'guess'"),
        ({"cost_model": "none"}, "cost_model must be one of zigzag, corrected, not 'none'"),
        ({"top": 0}, "top must be an integer from 1 to 100000, not 0"),
        ({"top": 2.5}, "top must be an integer from 1 to 100000, not 2.5"),
        (
            {"objective": "ed2p", "strategy": "exhaustive"},
            "the objective ed2p needs the strategy optimal; take the best point of the Pareto front of an exhaustive "
            "search instead",
        ),
        (
            {"objective": "ed2p", "constraints": Constraints.from_dict({"allocation": "greedy"})},
            "the objective ed2p needs all allocations; take the best point of the Pareto front of an exhaustive search "
            "instead",
        ),
        ({"top": 10}, "top needs the strategy exhaustive; optimal keeps the best mapping, or front, only"),
        ({"threads": True}, "threads must be an integer from 1 to 1024, not True"),
        ({"threads": -1}, "threads must be an integer from 1 to 1024, not -1"),
    ],
)
def test_options(options, sentence):
    with pytest.raises(InputError) as caught:
        fastmap.search(Layer(K=2), AIMC, **options)
    assert str(caught.value) == sentence


def test_a_space_that_takes_too_long_is_refused():
    with pytest.raises(
        SearchError, match=r"endless on aimc has \d\.\d+e\+\d+ mappings \(\d+ spatial mappings\)"
    ) as caught:
        search(ENDLESS, AIMC)
    assert "narrow the space (max_spatial_mappings" in str(caught.value)
    assert "\n" not in str(caught.value)
    huge = Layer(name="huge", K=2**18, C=2**17, OX=2**17)
    with pytest.raises(SearchError, match="are too many to enumerate"):
        search(huge, AIMC, force=True, constraints=Constraints(allowed={}))


def test_a_layer_that_fits_nowhere():
    data = AIMC.model_dump()
    data["memories"][-1]["size_bits"] = 1_000_000
    data["name"] = "cramped"
    cramped = type(AIMC).model_validate(data)
    layer = Layer(name="wide", K=512, C=512, OX=8)
    with pytest.raises(SearchError, match="wide on cramped: none of its 6 mappings fits the memories"):
        search(
            layer,
            cramped,
            constraints=Constraints.from_dict(
                {"spatial": {"D1": {"K": 128}, "D2": {"C": 128}}, "loop_factor_limit": 3}
            ),
        )


# ----------------------------------------------------------------------------------------------------------------------
# Networks
# ----------------------------------------------------------------------------------------------------------------------

SMALL = {"K": 4, "C": 4, "OX": 4}


def network():
    """Four layers, of which a, c and d are the same but for their names."""
    layers = [
        Layer(name="a", **SMALL),
        Layer(name="b", K=6, C=4, OX=4),
        Layer(name="c", **SMALL),
        Layer(name="d", **SMALL),
    ]
    return Workload(name="net", layers=layers)


def test_identical_layers_share_one_search():
    plan = plan_network(network(), AIMC)
    assert list(plan.spaces) == ["a", "b", "c", "d"]
    assert plan.spaces["a"] is plan.spaces["c"] is plan.spaces["d"]
    assert plan.spaces["a"] is not plan.spaces["b"]
    assert plan.size == plan.spaces["a"].size + plan.spaces["b"].size
    done, kept = [], []
    result = search_network(plan, "energy", progress=done.append, keep=lambda name, each: kept.append((name, each)))
    assert sum(done) == plan.size
    assert result.complete
    assert [name for name, _ in result] == [name for name, _ in kept] == ["a", "b", "c", "d"]
    assert result.results["a"].points is result.results["c"].points is kept[3][1].points
    assert [each.layer.name for _, each in result] == ["a", "b", "c", "d"]
    single = search(Layer(name="a", **SMALL), AIMC, "energy")
    assert essence(result.results["a"]) == essence(single)


def test_totals_add_up_layer_by_layer():
    result = search_network(plan_network(network(), AIMC), "latency")
    best = [each.best[0] for _, each in result]
    assert result.totals["energy_pj"] == pytest.approx(sum(each.energy_pj.total for each in best), rel=1e-12)
    assert result.totals["latency_cycles"] == sum(each.latency_cycles.total for each in best)
    assert result.totals["latency_ns"] == pytest.approx(sum(each.latency_ns for each in best), rel=1e-12)
    assert result.totals["edp_pj_ns"] == pytest.approx(
        result.totals["energy_pj"] * result.totals["latency_ns"], rel=1e-12
    )


def test_fronts_have_no_totals():
    network = plan(Workload(name="net", layers=[Layer(name="first", **SMALL)]), AIMC)
    for strategy in ("optimal", "exhaustive"):
        found = search_plan(network, Options("pareto", strategy))
        with pytest.raises(InputError, match="the Pareto fronts of the layers do not add up to one total"):
            _ = found.totals
    control = Control()
    control.stop()
    nothing = fastmap.search(Layer(name="first", **SMALL), AIMC, control=control)
    with pytest.raises(InputError, match="stopped before it had a mapping of first, so there is no total"):
        _ = NetworkResult("net", AIMC, {"first": nothing}).totals


def test_constraints_may_differ_from_layer_to_layer():
    workload = network()
    one = Constraints(max_spatial_mappings=1)
    plan = plan_network(workload, AIMC, lambda layer: one if layer.name == "c" else None)
    assert plan.spaces["a"] is plan.spaces["d"]
    assert plan.spaces["c"] is not plan.spaces["a"]
    assert len(plan.spaces["c"].orders) == 1
    plan = plan_network(workload, AIMC, one)
    assert all(len(space.orders) == 1 for space in plan.spaces.values())
    only = list(workload)[1:3]
    assert list(plan_network(workload, AIMC, layers=only).spaces) == ["b", "c"]


def test_other_inputs_are_another_layer():
    """What decides the cost must be equal, the order of the dimensions included."""
    base = {"K": 4, "C": 4, "OX": 4, "FX": 3}
    layers = [
        Layer(name="base", **base),
        Layer(name="bits", **base, weight_bits=4),
        Layer(name="stride", **base, stride_x=2),
        Layer(name="padding", **base, padding_x=1),
        Layer(name="order", sizes=dict(reversed(base.items()))),
        Layer(name="same", **base, input_x=6),
    ]
    plan = plan_network(Workload(name="net", layers=layers), AIMC)
    assert len(plan.distinct) == 5
    assert plan.spaces["base"] is plan.spaces["same"]


def test_a_stopped_network_has_the_layers_it_has():
    workload = Workload(name="net", layers=[Layer(name="first", **SMALL), ENDLESS, Layer(name="last", K=3, OX=5)])
    plan = plan_network(workload, AIMC, lambda layer: Constraints.from_dict(FIXED) if layer is ENDLESS else None)
    control, kept = Control(), []

    def keep(name, result):
        kept.append(name)
        if name == "first":
            threading.Timer(0.4, control.stop).start()

    result = search_network(plan, threads=2, force=True, control=control, keep=keep)
    assert [name for name, _ in result] == kept == ["first", "endless"]
    assert not result.complete
    assert result.results["first"].complete
    check_partial(result.results["endless"])


def test_dimension_names_are_those_of_the_layer():
    """Sizes of 1 do not matter to what is found, only to how ties are broken."""
    short = search(Layer(**SMALL), AIMC, "energy")
    long = search(Layer(**{dim: SMALL.get(dim, 1) for dim in LOOP_DIMENSIONS}), AIMC, "energy")
    assert short.points["energy"].energy_pj[0] == pytest.approx(long.points["energy"].energy_pj[0], rel=1e-12)
    assert short.space.size == long.space.size
