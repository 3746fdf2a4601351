"""What a cost is made of: the repairs of the cost model, the distance of a mapping from the best, and why the best is
what it is.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastmap import exploration
from fastmap.architecture import Architecture, Memory, Port
from fastmap.dimensions import DIRECTIONS, LOOP_DIMENSIONS, OPERANDS, READING
from fastmap.errors import InputError, MappingError, SearchError
from fastmap.evaluation import Evaluation, NestCost, array_clock_ns, evaluate, evaluate_repaired
from fastmap.kernels.array import array_energies_pj
from fastmap.kernels.cost import LATENCY_CYCLES, TOTAL_PJ
from fastmap.kernels.problem import IRRELEVANT
from fastmap.kernels.rules import cuts_even, factors_allowed, reuse_allowed
from fastmap.layer import Layer
from fastmap.lowering import REPAIRS, check_cost_model, lower, lower_macro, lower_technology, lower_variant
from fastmap.mapping import Constraints, Loop, Mapping
from fastmap.mapspace import Mapspace
from fastmap.result import SearchResult, exponent_of

#: What each repair does, in the order in which they are named.
DESCRIPTIONS = {
    "whole_iterations": "a quotient that floating point lifts above a whole number adds no temporal iteration",
    "joint_coverage": "a loop on several array dimensions is spread over their product and not over-covered",
    "true_extents": "input extents follow fractional unrollings, and dilated windows touch no more than there is",
    "all_accesses": "fractions of an access count, so that a small transfer is not free",
    "exact_units": "units count as they are filled on average: 5 channels in 2 iterations fill 2.5 columns, not 2",
    "exact_tiles": "the elements of a tile are an average too and not rounded",
    "one_unrolling": "cycles follow the unrolling that energy follows, not one of truncated factors",
    "true_widths": "a partial sum moves at its full width wherever something is still added to it",
    "true_activations": "the array is activated once an iteration, for the rows and columns filled on average",
    "own_partners": "a diagonal pairs each filter dimension with its own factor when it counts rows",
    "full_tiles": "a memory has room for the largest tile, 3 of 5 channels in 2 iterations, not for 2.5",
}
#: Spaces of at most so many mappings are enumerated to place a mapping in them; larger ones are sampled.
ENUMERABLE = 200_000_000
#: A bin of the histogram that holds a larger share of the mappings does not say where a mapping stands.
WIDE = 0.02
#: Mappings of a sample.
SAMPLES = 5_000
#: A sample gives up after so many draws for each mapping wanted.
DRAWS_PER_SAMPLE = 20
SEED = 20_240_229
#: Two-sided confidence of the intervals, and its normal quantile.
CONFIDENCE, QUANTILE = 0.95, 1.959963984540054
#: Costs are the same up to here.
SAME = 1e-9

# ----------------------------------------------------------------------------------------------------------------------
# Repairs
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """Energy in pJ and latency in cycles."""

    energy_pj: float
    latency_cycles: float


@dataclass(frozen=True)
class Repair:
    """What one repair of the corrected cost model changes in the cost of one mapping.

    ``alone`` is its effect on the numbers of ZigZag, ``last`` that on the numbers that have every other repair. They
    differ where repairs act on the same quantity. None: the mapping does not fit without the repair, or with it.
    """

    name: str
    description: str
    applies: bool  #: it changes some number, alone or beside the others
    alone: Totals | None
    last: Totals | None
    #: Loop dimension -> temporal iterations without and with the repair, where these differ.
    iterations: dict[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "name": self.name,
            "description": self.description,
            "applies": self.applies,
            "energy_pj": None if self.alone is None else self.alone.energy_pj,
            "latency_cycles": None if self.alone is None else self.alone.latency_cycles,
            "energy_with_the_others_pj": None if self.last is None else self.last.energy_pj,
            "latency_with_the_others_cycles": None if self.last is None else self.last.latency_cycles,
            "iterations": {dim: list(counts) for dim, counts in self.iterations.items()},
        }


@dataclass(frozen=True)
class Repairs:
    """All repairs of one mapping, and its cost without and with all of them.

    Where ZigZag needs another number of iterations, each total is that of the mapping with as many as its model needs.
    The single effects need not add up to the difference of the totals: ``interaction`` is what is missing.
    """

    each: tuple[Repair, ...]
    zigzag: Totals | None  #: None: the mapping does not fit by ZigZag's numbers
    corrected: Totals | None

    def __iter__(self) -> Iterator[Repair]:
        return iter(self.each)

    def __getitem__(self, name: str) -> Repair:
        return next(repair for repair in self.each if repair.name == name)

    @property
    def interaction(self) -> Totals | None:
        """Difference of the totals less the sum of the single effects; None where a part is not known."""
        if self.zigzag is None or self.corrected is None:
            return None
        energy = self.corrected.energy_pj - self.zigzag.energy_pj
        cycles = self.corrected.latency_cycles - self.zigzag.latency_cycles
        for repair in self.each:
            if repair.alone is None:
                return None
            energy -= repair.alone.energy_pj
            cycles -= repair.alone.latency_cycles
        # What is left of rounding is nothing.
        noise = 1e-12 * self.corrected.energy_pj, 1e-12 * self.corrected.latency_cycles
        return Totals(energy if abs(energy) > noise[0] else 0.0, cycles if abs(cycles) > noise[1] else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "repairs": [repair.to_dict() for repair in self.each],
            "cost_models": {
                name: None if totals is None else asdict(totals)
                for name, totals in (
                    ("zigzag", self.zigzag),
                    ("corrected", self.corrected),
                    ("interaction", self.interaction),
                )
            },
        }


def repairs(layer: Layer, architecture: Architecture, mapping: Mapping) -> Repairs:
    """Say which repairs of the corrected cost model apply to a mapping, and what each changes.

    Each repair is costed alone and beside all others. A mapping without allocation keeps the greedy one of the
    corrected model throughout.

    Raises:
        MappingError: the mapping does not belong to the layer and architecture, or fits by neither model.
    """
    if mapping.allocation is None:
        try:
            mapping = evaluate(layer, architecture, mapping, "corrected").mapping
        except MappingError:
            mapping = evaluate(layer, architecture, mapping, "zigzag").mapping
    mapping.check(layer, architecture)
    costs: dict[frozenset[str], Totals | None] = {}
    needed: dict[frozenset[str], dict[str, int]] = {}
    nothing, everything = frozenset[str](), frozenset(REPAIRS)
    single = [frozenset((name,)) for name in REPAIRS]
    for key in (nothing, everything, *single, *(everything - own for own in single)):
        names = [name for name in REPAIRS if name in key]
        needed[key] = needed_iterations(layer, architecture, mapping, names)
        costs[key] = _totals(layer, architecture, with_iterations(mapping, needed[key]), names)
    if costs[nothing] is None and costs[everything] is None:
        evaluate(layer, architecture, mapping, "corrected")  # says which memory is too small

    found = []
    for name in REPAIRS:
        own = frozenset((name,))
        applies = any(
            not _same(costs[key], costs[key | own]) or needed[key] != needed[key | own]
            for key in (nothing, everything - own)
        )
        iterations = {
            dim: (before, after)
            for dim in LOOP_DIMENSIONS
            if (before := needed[nothing].get(dim, 1)) != (after := needed[own].get(dim, 1))
        }
        found.append(
            Repair(
                name,
                DESCRIPTIONS[name],
                applies,
                _difference(costs[own], costs[nothing]),
                _difference(costs[everything], costs[everything - own]),
                iterations,
            )
        )
    return Repairs(tuple(found), costs[nothing], costs[everything])


def needed_iterations(
    layer: Layer, architecture: Architecture, mapping: Mapping, names: Sequence[str]
) -> dict[str, int]:
    """Return the temporal iterations of each loop dimension that the model with some repairs needs; those above 1."""
    nest = NestCost(lower(layer, architecture, repairs=names), architecture, mapping.spatial)
    return {dim: int(n) for dim, n in zip(LOOP_DIMENSIONS, nest.needed, strict=True) if n > 1}


def with_iterations(mapping: Mapping, needed: dict[str, int]) -> Mapping:
    """Return a mapping with other numbers of iterations: the outermost loop that can takes up the difference.

    Where no loop can (its factor would not be whole), the dimension stays as written.
    """
    temporal: list[Loop] = list(mapping.temporal)
    assert mapping.allocation is not None
    cuts = {operand: list(levels) for operand, levels in mapping.allocation.items()}
    for dim in dict.fromkeys([*needed, *(dim for dim, _ in temporal)]):
        places = [place for place, (other, _) in enumerate(temporal) if other == dim]
        whole = math.prod(temporal[place][1] for place in places)
        target = needed.get(dim, 1)
        if whole == target:
            continue
        if not places:
            temporal.append((dim, target))
            for levels in cuts.values():
                levels[-1] += 1
        for place in reversed(places):
            size, left = divmod(target * temporal[place][1], whole)
            if left:
                continue
            temporal[place] = dim, size
            if size == 1:
                del temporal[place]
                cuts = {operand: [cut - (cut > place) for cut in levels] for operand, levels in cuts.items()}
            break
    return mapping.model_copy(
        update={
            "temporal": tuple(temporal),
            "allocation": {operand: tuple(levels) for operand, levels in cuts.items()},
        }
    )


def _totals(layer: Layer, architecture: Architecture, mapping: Mapping, names: Sequence[str]) -> Totals | None:
    try:
        found = evaluate_repaired(layer, architecture, mapping, names)
    except MappingError:
        return None
    return Totals(found.energy_pj.total, found.latency_cycles.total)


def _difference(of: Totals | None, to: Totals | None) -> Totals | None:
    if of is None or to is None:
        return None
    if _same(of, to):
        return Totals(0.0, 0.0)
    return Totals(of.energy_pj - to.energy_pj, of.latency_cycles - to.latency_cycles)


def _same(one: Totals | None, other: Totals | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one.energy_pj, other.energy_pj, rel_tol=1e-12, abs_tol=1e-12) and math.isclose(
        one.latency_cycles, other.latency_cycles, rel_tol=1e-12, abs_tol=1e-12
    )


# ----------------------------------------------------------------------------------------------------------------------
# A mapping in the distribution of all
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distribution:
    """Where a mapping stands among all mappings of its space that fit."""

    method: str  #: ``enumeration`` or ``sample``
    better: float  #: share of the mappings that are better
    low: float  #: the share is between these: the edges of a histogram's bin, or the confidence interval
    high: float
    confidence: float | None  #: of the interval; None: certain
    mappings: int  #: costed: all that fit, or those of the sample
    mappings_total: int  #: of the space, whether they fit or not

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON; ``percentile`` is 100 for the best mapping."""
        return {"percentile": 100.0 * (1.0 - self.better), **asdict(self)}


def value_of(evaluation: Evaluation, objective: str) -> float:
    """Objective of a mapping: pJ, cycles, pJ ns, pJ ns2 ..."""
    energy, latency = evaluation.energy_pj.total, evaluation.latency_cycles.total
    return float(objective_of(energy, latency, evaluation.clock_ns, objective))


def objective_of(energy_pj: Any, latency_cycles: Any, clock_ns: float, objective: str) -> Any:
    """Objective of costs, numbers or arrays: pJ, cycles, pJ ns, pJ ns2 ..."""
    power = _power(objective)
    return latency_cycles if objective == "latency" else energy_pj * (latency_cycles * clock_ns) ** power


def _power(objective: str) -> float:
    """Power of the latency in an objective with one best mapping."""
    if objective == "pareto":
        raise InputError("objective must be energy, latency, edp, ed2p ...; a Pareto front has no single best mapping")
    return exponent_of(objective)


#: Objective -> its histogram in an exhaustive search; of others, mappings are drawn.
HISTOGRAMS = {"energy": "energy_pj", "latency": "latency_cycles", "edp": "edp_pj_ns"}


class Sampler:
    """Mappings of a space, drawn at random: every one as likely as any other, whether it fits or not.

    Of each order only the allocations are drawn in which every operand alone fits; the order counts for as many of them
    as it has (its weight). So the weighted mappings that fit are a uniform sample of all that fit.
    """

    def __init__(self, space: Mapspace, seed: int = SEED) -> None:
        self.space = space
        self.random = random.Random(seed)
        self._chains = [space.architecture.chain(operand) for operand in OPERANDS]
        rules = space.rules
        self._ruled = any(np.any(rules[name]) for name in ("bounded", "stationary", "even", "weights_once"))
        names = ("temporal", "innermost", "outermost", "inside")
        self._ordered = any(getattr(space.constraints, name) for name in names)
        self._loops: dict[tuple[int, ...], list[Loop]] = {}
        self._nests: dict[int, tuple[NestCost, float]] = {}

    @cached_property
    def ends(self) -> list[int]:
        """How many mappings the spatial mappings up to each have, whether they fit or not."""
        sizes = (orders * each for orders, each in zip(self.space.orders, self.space.allocations, strict=True))
        return list(itertools.accumulate(sizes))

    def draw(self) -> tuple[float, float, float] | None:
        """Return weight, energy in pJ and latency in cycles of a mapping; None for one that does not fit."""
        space = self.space
        spatial = bisect.bisect_right(self.ends, self.random.randrange(self.space.size))
        nest, array_pj = self._nest(spatial)
        temporal = self._order(spatial)
        nest.order(temporal, space.layer.dimension_order[0])
        share = 1.0
        if space.constraints.allocation == "greedy":
            if not nest.allocate(None):
                return None
        else:
            weight, allocation = 1, {}
            for o, operand in enumerate(OPERANDS):
                count, allocation[operand] = self._cuts(nest, o, len(temporal))
                weight *= count
                if not weight:
                    return None
            if not nest.allocate(allocation):
                return None
            share = weight / space.allocations[spatial]
        if not self._admitted(nest):
            return None
        return share, float(nest.cost[TOTAL_PJ]) + array_pj, float(nest.cost[LATENCY_CYCLES])

    def _order(self, spatial: int) -> Sequence[Loop]:
        """Return one of the orders under a spatial mapping."""
        space = self.space
        if self._ordered:
            return space.decode(spatial, self.random.randrange(space.orders[spatial])).temporal
        key = tuple(space.remaining[spatial].tolist())
        if key not in self._loops:
            self._loops[key] = list(space.decode(spatial, 0).temporal)
        loops = self._loops[key].copy()
        self.random.shuffle(loops)
        return loops

    def _admitted(self, nest: NestCost) -> bool:
        """Whether the constraints admit the allocation costed last."""
        problem, rules = nest.problem, self.space.rules
        if not self._ruled:
            return True
        for o in range(3):
            levels = int(problem["levels"][o])
            if not factors_allowed(rules, nest.states, np.arange(nest.depth + 1), o, levels, nest.cuts):
                return False
            if not reuse_allowed(problem, rules, nest.dim, nest.depth, o, nest.scratch["position"]):
                return False
        return not rules["even"] or bool(cuts_even(problem, nest.cuts))

    def _cuts(self, nest: NestCost, o: int, depth: int) -> tuple[int, list[int]]:
        """Return how many allocations of an operand fit if it is alone, and one of them."""
        problem = nest.problem
        chain = self._chains[o]
        row = int(problem["first_row"][o])
        bits = float(min(problem["bits"][2], problem["bits"][3]) if OPERANDS[o] == "O" else problem["bits"][o])
        ways = [1] + [0] * depth  # of the levels so far, by the last cut
        tables = []
        for level, memory in enumerate(chain[:-1]):
            room = float(problem["memory_size"][memory]) * (1 + 1e-6)
            fits = (nest.content[row + level + 1, : depth + 1] * bits <= room).tolist()
            ways = [count if fit else 0 for count, fit in zip(itertools.accumulate(ways), fits, strict=True)]
            tables.append(ways)
        total = sum(ways)
        if not total:
            return 0, []
        cuts = [depth]
        for table in reversed(tables):
            ends = list(itertools.accumulate(table[: cuts[0] + 1]))
            cuts.insert(0, bisect.bisect_right(ends, self.random.randrange(ends[-1])))
        return total, cuts

    def _nest(self, spatial: int) -> tuple[NestCost, float]:
        if spatial not in self._nests:
            if len(self._nests) >= 4096:
                self._nests.clear()
            space = self.space
            nest = NestCost(space.problem, space.architecture, space.spatial(spatial))
            array = space.architecture.array
            energy = np.empty(1)
            if array.kind == "mac":
                energy[0] = array.unit_energy_pj * space.layer.macs
            else:
                array_energies_pj(
                    space.problem,
                    nest.unrolling,
                    lower_macro(space.architecture),
                    lower_technology(space.architecture),
                    lower_variant(space.architecture),
                    nest.array_dim,
                    nest.loop_dim,
                    nest.factor.reshape(1, -1),
                    energy,
                )
            self._nests[spatial] = nest, float(energy[0])
        return self._nests[spatial]


def sampled(space: Mapspace, objective: str, value: float, samples: int = SAMPLES, seed: int = SEED) -> Distribution:
    """Estimate the share of a space's mappings that are better than a value of the objective.

    Raises:
        SearchError: no mapping drawn fits.
    """
    sampler = Sampler(space, seed)
    clock = array_clock_ns(space.architecture)
    weights, better = [], []
    for _ in range(samples * DRAWS_PER_SAMPLE):
        drawn = sampler.draw()
        if drawn is None:
            continue
        weights.append(drawn[0])
        better.append(objective_of(drawn[1], drawn[2], clock, objective) < value * (1 - SAME))
        if len(weights) == samples:
            break
    if not weights:
        raise SearchError(
            f"{space.layer.name} on {space.architecture.name}: none of {samples * DRAWS_PER_SAMPLE} mappings drawn at "
            "random fits the memories, so a mapping's place among them is not known"
        )
    weight = np.array(weights)
    share = float(np.sum(weight[np.array(better)]) / np.sum(weight))
    low, high = wilson(share, float(np.sum(weight) ** 2 / np.sum(weight**2)))
    return Distribution("sample", share, low, high, CONFIDENCE, len(weights), space.size)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Return Wilson's confidence interval of a share observed in so many draws."""
    square = QUANTILE**2 / count
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return (0.0 if share == 0 else max(0.0, middle - half)), (1.0 if share == 1 else min(1.0, middle + half))


def enumerated(found: SearchResult, objective: str, value: float, total: int) -> Distribution:
    """Place a value in the histogram of an exhaustive search: exactly but for the mappings in its own bin."""
    histogram = found.histograms[HISTOGRAMS[objective]]
    counts = [int(count) for count in histogram.counts]
    mappings = sum(counts)
    place = int(np.searchsorted(histogram.edges, value, side="right")) - 1
    below = sum(counts[: max(0, place)])
    inside = counts[place] if 0 <= place < len(counts) else 0
    low, high = below / mappings, (below + inside) / mappings
    points = found.points[objective]
    best = objective_of(points.energy_pj[0], points.latency_cycles[0], array_clock_ns(found.architecture), objective)
    if inside and value <= best * (1 + SAME):
        high = low = 0.0  # as good as the best of all
    return Distribution("enumeration", (low + high) / 2, low, high, None, mappings, total)


# ----------------------------------------------------------------------------------------------------------------------
# A mapping beside the best one
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Energy of an operand at a memory (or of a component of the array) in a mapping and in the best one."""

    operand: str  #: W, I, O or array
    memory: str  #: or component
    energy_pj: float
    best_energy_pj: float
    words: str

    @property
    def change_pj(self) -> float:
        """How much more the mapping pays."""
        return self.energy_pj - self.best_energy_pj


@dataclass(frozen=True)
class Comparison:
    """A mapping beside the proven optimum of its space."""

    objective: str
    mine: Evaluation
    best: Evaluation
    found: SearchResult
    distribution: Distribution
    differences: tuple[Difference, ...]  #: the largest first

    @property
    def value(self) -> float:
        """Objective of the mapping: pJ, cycles or pJ ns."""
        return value_of(self.mine, self.objective)

    @property
    def optimum(self) -> float:
        """Objective of the best mapping."""
        return value_of(self.best, self.objective)

    @property
    def gap(self) -> float:
        """How much worse the mapping is, relative to the best; negative for one that the space does not hold."""
        return self.value / self.optimum - 1.0

    @property
    def cycles(self) -> dict[str, tuple[float, float]]:
        """Cycles of the mapping and of the best one, by cause."""
        mine, best = self.mine.latency_cycles, self.best.latency_cycles
        return {
            "computing": (mine.spatial, best.spatial),
            "stall": (mine.stall, best.stall),
            "first loading": (mine.onload, best.onload),
            "last off-loading": (mine.offload, best.offload),
            "total": (mine.total, best.total),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "objective": self.objective,
            "value": self.value,
            "optimum": self.optimum,
            "gap": self.gap,
            "optimal": self.found.optimal,
            "certificate": self.found.certificate,
            "distribution": self.distribution.to_dict(),
            "differences": [asdict(each) for each in self.differences],
            "latency_cycles": {
                cause: {"mapping": mine, "optimum": best} for cause, (mine, best) in self.cycles.items()
            },
            "mapping": self.mine.to_dict(),
            "best": self.best.to_dict(),
        }


def compare(
    layer: Layer,
    architecture: Architecture,
    mapping: Mapping,
    objective: str = "edp",
    cost_model: str = "corrected",
    constraints: Constraints | None = None,
    samples: int = SAMPLES,
) -> Comparison:
    """Say how far a mapping is from the best one, how it stands among all, and where it pays more.

    Args:
        layer, architecture, mapping: what is mapped on what, and how.
        objective: ``energy``, ``latency``, ``edp``, ``ed2p`` ...
        cost_model: judges the mapping and the best one.
        constraints: of the space in which the best one is sought; None: everything.
        samples: mappings drawn from a space that is too large to enumerate.

    Raises:
        MappingError: the mapping does not belong to the layer and architecture, or does not fit a memory.
        SearchError: the constraints admit nothing.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples must be a positive integer, not {samples!r}")
    mine = evaluate(layer, architecture, mapping, cost_model)
    value = value_of(mine, objective)
    found = exploration.search(layer, architecture, objective, "optimal", cost_model, constraints)
    space = Mapspace.build(layer, architecture, constraints, cost_model)
    if space.size <= ENUMERABLE and objective in HISTOGRAMS:
        everything = exploration.search(layer, architecture, objective, "exhaustive", cost_model, constraints, top=1)
        distribution = enumerated(everything, objective, value, space.size)
        if distribution.high - distribution.low > WIDE:  # many are about as good: ask which of them are better
            drawn = sampled(space, objective, value, samples)
            low, high = max(distribution.low, drawn.low), min(distribution.high, drawn.high)
            distribution = replace(drawn, better=min(max(drawn.better, low), high), low=low, high=high)
    else:
        distribution = sampled(space, objective, value, samples)
    best = _costing(found)
    return Comparison(objective, mine, best, found, distribution, tuple(differences(mine, best)))


def _costing(found: SearchResult) -> Evaluation:
    """Return the best mapping, unless it costs no energy, so that nothing is a share of it."""
    best = found.best[0]
    if not best.energy_pj.total:
        raise SearchError(
            f"{best.layer} on {best.architecture}: the best mapping costs no energy, so that no share of it can be "
            "given; the architecture has no energies"
        )
    return best


def differences(mine: Evaluation, best: Evaluation) -> list[Difference]:
    """Return where two mappings of a layer pay different energies, the largest difference first."""
    found = []
    for operand in OPERANDS:
        levels = zip(
            mine.energy_pj.memory_breakdown[operand],
            best.energy_pj.memory_breakdown[operand],
            mine.moves[operand],
            best.moves[operand],
            strict=True,
        )
        for pays, best_pays, moves, best_moves in levels:
            change = {direction: pays[direction] - best_pays[direction] for direction in DIRECTIONS}
            total = math.fsum(pays[direction] for direction in DIRECTIONS)
            best_total = math.fsum(best_pays[direction] for direction in DIRECTIONS)
            if math.isclose(total, best_total, rel_tol=SAME):
                continue
            sign = 1 if total > best_total else -1
            main = max(DIRECTIONS, key=lambda direction: sign * change[direction])
            found.append(
                Difference(
                    operand,
                    pays["memory"],
                    total,
                    best_total,
                    f"{operand} at {pays['memory']} {_pays(total - best_total)}: "
                    + _because(main, moves[main], best_moves[main]),
                )
            )
    components = dict.fromkeys([*mine.energy_pj.mac_breakdown, *best.energy_pj.mac_breakdown])
    for component in components:
        total = mine.energy_pj.mac_breakdown.get(component, 0.0)
        best_total = best.energy_pj.mac_breakdown.get(component, 0.0)
        if not math.isclose(total, best_total, rel_tol=SAME):
            words = f"the array's {component} {_pays(total - best_total)}"
            found.append(Difference("array", component, total, best_total, words))
    return sorted(found, key=lambda each: -abs(each.change_pj))


def _pays(change_pj: float) -> str:
    from fastmap.text import energy

    return f"pays {energy(abs(change_pj))} {'more' if change_pj > 0 else 'less'}"


#: Direction -> what happens to an operand there: passive, active, and not at all.
VERBS = {
    "rd_out_to_low": ("is read", "reads it", "does not read it"),
    "wr_in_by_low": ("is written from below", "writes it", "does not write it"),
    "rd_out_to_high": ("is read to above", "reads it", "does not read it"),
    "wr_in_by_high": ("is filled from above", "fills it", "does not fill it"),
}


def _because(direction: str, times: float, best_times: float) -> str:
    passive, active, never = VERBS[direction]
    if math.isclose(times, best_times, rel_tol=1e-3, abs_tol=1e-12):
        return f"it {passive} {_times(times)} in both, but in pieces of another width"
    mine = f"it {passive} {_times(times)}" if times else f"it {passive.replace('is', 'is not', 1)}"
    return f"{mine}, the optimum {never if not best_times else f'{active} {_times(best_times)}'}"


def _times(count: float) -> str:
    rounded = float(f"{count:.3g}")
    named = {1.0: "once", 2.0: "twice"}
    if rounded in named:
        return named[rounded]
    return f"{round(count):,} times" if count >= 1000 else f"{rounded:g} times"


# ----------------------------------------------------------------------------------------------------------------------
# Why the best mapping is what it is
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Price:
    """What twice of one resource is worth: the optimum with it, and how much it changes the objective."""

    resource: str  #: ``capacity`` or ``bandwidth``
    memory: str
    ports: tuple[str, ...]  #: empty for a capacity
    value: float  #: optimum with twice as much
    change: float  #: relative to the optimum, negative where it gets better


@dataclass(frozen=True)
class Alternative:
    """The best mapping that keeps one operand stationary in its lowest memory."""

    operand: str
    memory: str
    optimum: bool  #: the optimum itself is one
    best: Evaluation | None  #: None: there is no such mapping
    value: float | None
    change: float | None  #: how much worse, relative to the optimum


@dataclass(frozen=True)
class Explanation:
    """The optimum, its energies and reuse, what binds it, and the best mappings of other dataflows."""

    objective: str
    cost_model: str
    best: Evaluation
    found: SearchResult
    value: float
    prices: tuple[Price, ...]  #: what helps most first
    alternatives: tuple[Alternative, ...]

    @property
    def energies(self) -> list[dict[str, Any]]:
        """Energy by operand and memory, and by component of the array, the largest first."""
        energy = self.best.energy_pj
        rows = [
            (operand, level["memory"], math.fsum(level[direction] for direction in DIRECTIONS))
            for operand, levels in energy.memory_breakdown.items()
            for level in levels
        ]
        rows += [("array", component, value) for component, value in energy.mac_breakdown.items() if value]
        return [
            {"operand": operand, "memory": memory, "energy_pj": value, "share": value / energy.total}
            for operand, memory, value in sorted(rows, key=lambda row: -row[2])
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "layer": self.best.layer,
            "architecture": self.best.architecture,
            "objective": self.objective,
            "cost_model": self.cost_model,
            "value": self.value,
            "optimal": self.found.optimal,
            "certificate": self.found.certificate,
            "energies": self.energies,
            "moves_per_element": {
                operand: [dict(each) for each in levels] for operand, levels in self.best.moves.items()
            },
            "prices": [asdict(price) for price in self.prices],
            "alternatives": [
                {
                    "operand": each.operand,
                    "memory": each.memory,
                    "optimum": each.optimum,
                    "value": each.value,
                    "change": each.change,
                    "mapping": None if each.best is None else each.best.mapping.to_dict(),
                }
                for each in self.alternatives
            ],
            "best": self.best.to_dict(),
        }


def explain(
    layer: Layer,
    architecture: Architecture,
    objective: str = "edp",
    cost_model: str = "corrected",
    constraints: Constraints | None = None,
) -> Explanation:
    """Say why the optimum is as it is.

    The price of a resource is found by searching again with twice of it: the capacity of each memory, at the same
    energy per access; the bandwidth of each port, at the same energy per bit and the same smallest word. Ports of a
    memory whose accesses cost the same energy are widened together.

    Args:
        layer, architecture: what is mapped on what.
        objective: ``energy``, ``latency``, ``edp``, ``ed2p`` ...
        cost_model: as for ``search``.
        constraints: what to choose from; None: everything.

    Raises:
        SearchError: the constraints admit nothing, or nothing fits.
    """
    check_cost_model(cost_model)
    _power(objective)

    def search(architecture: Architecture, constraints: Constraints | None) -> SearchResult:
        return exploration.search(layer, architecture, objective, "optimal", cost_model, constraints)

    found = search(architecture, constraints)
    best = _costing(found)
    value = value_of(best, objective)

    prices = []
    for index, memory in enumerate(architecture.memories):
        changed = value
        if not always_fits(layer, architecture, memory):
            larger = memory.model_copy(update={"size_bits": 2 * memory.size_bits})
            changed = value_of(search(_replaced(architecture, index, larger), constraints).best[0], objective)
        prices.append(_price("capacity", memory, (), changed, value))
        for ports in port_groups(memory):
            changed = value
            if objective != "energy":  # energies per bit stay as they are
                wider = widened(memory, ports)
                changed = value_of(search(_replaced(architecture, index, wider), constraints).best[0], objective)
            names = tuple(memory.ports[port].name for port in ports)
            prices.append(_price("bandwidth", memory, names, changed, value))
    prices.sort(key=lambda price: price.change)

    alternatives = []
    kept = stationary(layer, architecture, best)
    for operand in OPERANDS:
        lowest = architecture.memories[architecture.chain(operand)[0]].name
        if operand in kept:
            alternatives.append(Alternative(operand, lowest, True, best, value, 0.0))
            continue
        other: Evaluation | None = None
        try:
            other = search(architecture, with_stationary(constraints, lowest, operand)).best[0]
        except SearchError:
            alternatives.append(Alternative(operand, lowest, False, None, None, None))
            continue
        at = value_of(other, objective)
        alternatives.append(Alternative(operand, lowest, False, other, at, at / value - 1.0))
    alternatives.sort(key=lambda each: math.inf if each.change is None else each.change)
    return Explanation(objective, cost_model, best, found, value, tuple(prices), tuple(alternatives))


def _price(resource: str, memory: Memory, ports: tuple[str, ...], changed: float, value: float) -> Price:
    change = changed / value - 1.0
    return Price(resource, memory.name, ports, changed, 0.0 if abs(change) < SAME else change)


def _replaced(architecture: Architecture, index: int, memory: Memory) -> Architecture:
    memories = list(architecture.memories)
    memories[index] = memory
    return architecture.model_copy(update={"memories": tuple(memories)})


def always_fits(layer: Layer, architecture: Architecture, memory: Memory) -> bool:
    """Whether a memory holds all its operands twice, whatever the mapping: its capacity never matters."""
    if architecture.array.kind != "mac" and memory is architecture.cells:
        return False  # the depth of the cell groups shapes the array
    elements = {
        "W": ("G", "K", "C", "FY", "FX"),
        "O": ("B", "G", "K", "OY", "OX"),
    }
    bits = 0
    for operand in memory.operands:
        if operand == "I":
            size = layer.size("B") * layer.size("G") * layer.size("C") * max(1, layer.clip_x) * max(1, layer.clip_y)
        else:
            size = math.prod(layer.size(dim) for dim in elements[operand])
        wide = {"W": layer.weight_bits, "I": layer.input_bits, "O": max(layer.output_bits, layer.output_final_bits)}
        bits += size * wide[operand]
    # Over-hanging unrollings may cover a little more than the layer; twice that leaves room enough.
    return 4 * bits <= memory.size_bits


def port_groups(memory: Memory) -> list[tuple[int, ...]]:
    """Return the ports of a memory that can only be widened together: those whose accesses cost the same energy.

    Energies are quoted per access of the largest bandwidth. Where one port is widened at the same energy per bit, the
    energy per access doubles, for every port that reads (or writes) this memory.
    """
    kinds = [{direction in READING for _, direction in port.transfers} for port in memory.ports]
    groups: list[tuple[set[bool], list[int]]] = []
    for port, kind in enumerate(kinds):
        joined = [group for group in groups if group[0] & kind]
        merged = (set.union(kind, *(group[0] for group in joined)), [p for group in joined for p in group[1]] + [port])
        groups = [group for group in groups if group not in joined] + [merged]
    return sorted(tuple(sorted(ports)) for _, ports in groups)


def widened(memory: Memory, ports: Sequence[int], factor: float = 2) -> Memory:
    """Return a memory with some ports wider (or narrower), at the same energy per bit.

    The smallest word stays as it is, unless the port becomes narrower than that.
    """
    reads = any(direction in READING for port in ports for _, direction in memory.ports[port].transfers)
    writes = any(direction not in READING for port in ports for _, direction in memory.ports[port].transfers)
    return memory.model_copy(
        update={
            "ports": tuple(
                _port_of_width(port, int(factor * port.bandwidth_max_bits)) if i in ports else port
                for i, port in enumerate(memory.ports)
            ),
            "read_energy_pj": memory.read_energy_pj * (factor if reads else 1),
            "write_energy_pj": memory.write_energy_pj * (factor if writes else 1),
        }
    )


def _port_of_width(port: Port, bits: int) -> Port:
    least = min(port.bandwidth_min_bits, bits)
    return port.model_copy(update={"bandwidth_max_bits": bits, "bandwidth_min_bits": least})


def stationary(layer: Layer, architecture: Architecture, evaluation: Evaluation) -> list[str]:
    """Return the operands that a mapping keeps stationary in their lowest memories.

    The tile's boundary, moved out past the loops that leave the tile in place, has such a loop directly inside.
    """
    problem = lower(layer, architecture)
    kept = []
    for o, operand in enumerate(OPERANDS):
        position = evaluation.merged[operand][0]
        if position > 0:
            dim, _ = evaluation.mapping.temporal[position - 1]
            if problem["relevance"][o, LOOP_DIMENSIONS.index(dim)] == IRRELEVANT:
                kept.append(operand)
    return kept


def with_stationary(constraints: Constraints | None, memory: str, operand: str) -> Constraints:
    """Add to constraints that an operand's tile stays in a memory."""
    data = {} if constraints is None else constraints.to_dict()
    return Constraints.from_dict({**data, "stationary": {**data.get("stationary", {}), memory: operand}})


# ----------------------------------------------------------------------------------------------------------------------
# What more or less of a resource changes
# ----------------------------------------------------------------------------------------------------------------------

#: Multiples of a capacity or bandwidth in a curve.
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Curve:
    """The optimum over the multiples of one resource."""

    resource: str  #: ``capacity`` or ``bandwidth``
    memory: str
    ports: tuple[str, ...]  #: empty for a capacity
    values: tuple[float | None, ...]  #: of the objective at each of ``FACTORS``; None: nothing fits

    @property
    def name(self) -> str:
        """What a person calls the resource."""
        ports = f" ({', '.join(self.ports)})" if self.ports else ""
        return f"{self.resource} of {self.memory}{ports}"


def resources(architecture: Architecture) -> list[tuple[int, tuple[int, ...]]]:
    """Return the memory and the ports of each resource that can be changed; no ports: the memory's capacity."""
    return [
        (index, ports) for index, memory in enumerate(architecture.memories) for ports in ((), *port_groups(memory))
    ]


def sensitivity(
    layer: Layer,
    architecture: Architecture,
    objective: str = "edp",
    cost_model: str = "corrected",
    constraints: Constraints | None = None,
    progress: Callable[[], object] | None = None,
) -> list[Curve]:
    """Search again with multiples of the capacity of each memory and of the bandwidth of its ports.

    Energies per access stay as they are where a capacity changes, energies per bit where a bandwidth does. What a
    memory or port cannot be (a cell of less than a weight, a port of less than a bit) counts as not fitting.

    Args:
        layer, architecture, objective, cost_model, constraints: as for ``explain``.
        progress: called for each of ``FACTORS`` of each of ``resources``.

    Raises:
        SearchError: nothing fits the architecture as it is.
    """
    check_cost_model(cost_model)
    _power(objective)

    def optimum(on: Architecture) -> float:
        return value_of(exploration.search(layer, on, objective, "optimal", cost_model, constraints).best[0], objective)

    def multiple(index: int, ports: tuple[int, ...], factor: float) -> float | None:
        memory = architecture.memories[index]
        if factor == 1 or (not ports and factor > 1 and always_fits(layer, architecture, memory)):
            return value
        if ports:
            changed = widened(memory, ports, factor)
            possible = all(changed.ports[port].bandwidth_max_bits >= 1 for port in ports)
        else:
            changed = memory.model_copy(update={"size_bits": int(factor * memory.size_bits)})
            weights = memory is architecture.cells and architecture.array.kind != "mac"
            possible = changed.size_bits >= (architecture.array.weight_bits if weights else 1)
        try:
            return optimum(_replaced(architecture, index, changed)) if possible else None
        except SearchError:
            return None

    value = optimum(architecture)
    curves = []
    for index, ports in resources(architecture):
        values = []
        for factor in FACTORS:
            values.append(multiple(index, ports, factor))
            if progress is not None:
                progress()
        memory = architecture.memories[index]
        names = tuple(memory.ports[port].name for port in ports)
        curves.append(Curve("bandwidth" if ports else "capacity", memory.name, names, tuple(values)))
    return curves
