"""How far a mapping is from the best: the proven optimum beside it, and its place among all mappings."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastmap import exploration
from fastmap.architecture import Architecture
from fastmap.dimensions import DIRECTIONS, OPERANDS
from fastmap.errors import InputError, SearchError
from fastmap.evaluation import Evaluation, NestCost, array_clock_ns, evaluate
from fastmap.kernels.array import array_energies_pj
from fastmap.kernels.cost import LATENCY_CYCLES, TOTAL_PJ
from fastmap.kernels.rules import cuts_even, factors_allowed, reuse_allowed
from fastmap.layer import Layer
from fastmap.lowering import lower_macro, lower_technology, lower_variant
from fastmap.mapping import Constraints, Loop, Mapping
from fastmap.mapspace import Mapspace
from fastmap.result import SearchResult, exponent_of

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
    power = power_of(objective)
    return latency_cycles if objective == "latency" else energy_pj * (latency_cycles * clock_ns) ** power


def power_of(objective: str) -> float:
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
    best = costing(found)
    return Comparison(objective, mine, best, found, distribution, tuple(differences(mine, best)))


def costing(found: SearchResult) -> Evaluation:
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
