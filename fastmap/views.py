"""What pictures and reports show of results: optima, clouds of mappings, what costs are made of, rooflines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastmap import exploration, mine
from fastmap._spec import closest, listed, shown
from fastmap.architecture import Architecture
from fastmap.columns import COSTS, IDENTITY, WEIGHT, Block
from fastmap.comparison import Distribution, enumerated, objective_of, value_of
from fastmap.dimensions import DIRECTIONS, OPERANDS
from fastmap.errors import InputError, MappingError, SearchError
from fastmap.evaluation import Evaluation, array_clock_ns, evaluate
from fastmap.layer import Layer
from fastmap.loading import load_mapping
from fastmap.lowering import REPAIRS
from fastmap.mapping import Constraints
from fastmap.mine import Source
from fastmap.repair_effects import needed_iterations, with_iterations
from fastmap.result import SearchResult
from fastmap.store import contents

Identity = tuple[int, int, int]

#: Causes of the latency -> what a person calls them.
LATENCY_PARTS = {
    "ideal_cycles": "every unit busy",
    "unfilled_cycles": "units left idle",
    "stall_cycles": "waiting for memories",
    "onload_cycles": "first loading",
    "offload_cycles": "last off-loading",
}
#: Split of the loops of ZigZag's own search (``lpf_limit``), and what its mapping file for such arrays unrolls.
ZIGZAG_LIMIT, ZIGZAG_COLUMNS, ZIGZAG_ROWS = 6, ("K",), ("C", "FX", "FY")

# ----------------------------------------------------------------------------------------------------------------------
# Results and mappings
# ----------------------------------------------------------------------------------------------------------------------


def open_results(
    files: Iterable[str | Path], architecture: str | None = None, layer: str | None = None
) -> list[Source]:
    """The results of some files; identical layers once, with the others' names in ``also``.

    Raises:
        InputError: no file holds that architecture or layer; the sentence names those that there are.
    """
    files = list(files)
    if architecture is not None or layer is not None:
        held = [pair for file in files for pair in contents(file)]
        for what, name, known in (
            ("architecture", architecture, [on for on, _ in held]),
            ("layer", layer, [name for on, name in held if architecture in (None, on)]),
        ):
            if name is not None and name not in known:
                names = dict.fromkeys(known)
                raise InputError(
                    f"{listed(map(str, files))}: there is no {what} {shown(name)}{closest(name, names)} "
                    f"(there are {listed(names)})"
                )
    return mine.open_sources(files, architecture, layer)


def default_objective(sources: Sequence[Source], asked: str | None) -> str:
    """The objective that was asked for, or that all results were searched for; else edp."""
    if asked is not None:
        objective_of(1.0, 1.0, 1.0, asked)  # refuses what is none
        return asked
    objectives = {source.result.objective for source in sources} - {"pareto"}
    return objectives.pop() if len(objectives) == 1 else "edp"


def best_identity(source: Source, objective: str) -> Identity:
    """The best mapping for an objective: of the best points, else of the front.

    Raises:
        InputError: the search kept neither.
    """
    result = source.result
    place = 0
    points = result.points.get(objective) if objective != "pareto" else None
    if points is None and "pareto" in result.points:
        points = result.points["pareto"]
        clock = array_clock_ns(result.architecture)
        values = objective_of(points.energy_pj, points.latency_cycles, clock, objective)
        place = int(np.argmin(values)) if len(values) else 0
    if points is None or not len(points):
        raise InputError(
            f"{source.name}: the best mapping for {objective} is not known; the search was for {result.objective}. "
            f"Search with --objective {objective} or pareto"
        )
    spatial, order, code = (int(part) for part in points.mapping_id[place])
    return spatial, order, code


@dataclass(frozen=True)
class Mark:
    """A mapping that a picture points out."""

    label: str
    cost: Evaluation

    def values(self) -> dict[str, float]:
        """What histograms are of, by their names."""
        cost = self.cost
        return {
            "energy_pj": cost.energy_pj.total,
            "latency_cycles": cost.latency_cycles.total,
            "edp_pj_ns": cost.edp_pj_ns,
        }


def marks(source: Source, objective: str, mappings: Sequence[str | Path] = (), zigzag: bool = False) -> list[Mark]:
    """The optimum, ZigZag's choice and mappings of files.

    Raises:
        InputError: the optimum is not known.
        MappingError: a mapping does not belong to the layer, or does not fit.
    """
    result = source.result
    name = objective.upper() if objective.startswith("ed") else objective
    label = f"best {name}" if result.complete else f"best {name} found"
    found = [Mark(label, mine.evaluation(source, best_identity(source, objective)))]
    if zigzag:
        found.append(Mark("ZigZag's choice", zigzag_choice(result.layer, result.architecture, result.cost_model)))
    stems = [Path(path).stem for path in mappings]
    for path, stem in zip(mappings, stems, strict=True):
        cost = evaluate(result.layer, result.architecture, load_mapping(path), result.cost_model)
        found.append(Mark(stem if stems.count(stem) == 1 else str(path), cost))
    return found


def zigzag_choice(layer: Layer, architecture: Architecture, cost_model: str) -> Evaluation:
    """What ZigZag's search would choose with its defaults, costed by one of the cost models.

    That is the least EDP, by ZigZag's numbers, of three spatial mappings (K along the columns; C, FX and FY along the
    rows) and all orders of at most six loops, with its greedy allocation. Where the corrected model needs another
    number of iterations, the outermost loop that can takes up the difference.

    Raises:
        SearchError: ZigZag finds nothing, or its choice does not fit by the cost model.
    """
    hints = dict(zip(architecture.array.dimensions, (ZIGZAG_COLUMNS, ZIGZAG_ROWS), strict=False))
    constraints = Constraints(
        allowed=hints, spatial_candidates="zigzag", loop_factor_limit=ZIGZAG_LIMIT, allocation="greedy"
    )
    found = exploration.search(layer, architecture, "edp", "exhaustive", "zigzag", constraints, top=1).best[0]
    if cost_model == "zigzag":
        return found
    needed = needed_iterations(layer, architecture, found.mapping, list(REPAIRS))
    try:
        return evaluate(layer, architecture, with_iterations(found.mapping, needed), cost_model)
    except MappingError as error:
        raise SearchError(f"ZigZag's choice does not fit by the cost model {cost_model}: {error}") from None


def place_in_distribution(result: SearchResult, mark: Mark, objective: str) -> Distribution:
    """Where a mapping stands among all that were costed; needs histograms."""
    return enumerated(result, objective, value_of(mark.cost, objective), result.space.size)


# ----------------------------------------------------------------------------------------------------------------------
# Clouds
# ----------------------------------------------------------------------------------------------------------------------


def has_rows(source: Source) -> bool:
    """Whether the file holds mappings row by row, or a sample of them."""
    return source.kind != "points" and source.rows > 0


def require_cloud(source: Source) -> None:
    """Refuse a result of which there is no cloud to draw.

    Raises:
        InputError: which option of the search would store one.
    """
    result = source.result
    if not has_rows(source) and result.joint_histogram is None and "pareto" not in result.points:
        raise InputError(
            f"{source.name}: holds single mappings only; search with --objective pareto for a front, or with "
            "--strategy exhaustive (--keep histogram, sample or all) for the whole cloud"
        )


def require_histograms(source: Source) -> None:
    """Refuse a result without distributions.

    Raises:
        InputError: which option of the search would store them.
    """
    if not source.result.histograms:
        raise InputError(
            f"{source.name}: holds no distribution; search with --strategy exhaustive"
            + (" and --keep histogram" if source.result.strategy == "exhaustive" else "")
        )


@dataclass(frozen=True)
class Density:
    """How many mappings lie in each bin of energy and latency."""

    energy_pj: Any  #: edges, float64[n + 1]
    latency_ns: Any  #: edges, float64[m + 1]
    mappings: Any  #: int64[n, m]


def stored_density(result: SearchResult) -> Density | None:
    """The cloud of all mappings in the coarse bins of the stored histogram; None where there is none."""
    joint = result.joint_histogram
    if joint is None:
        return None
    return Density(joint.energy_edges, joint.latency_edges * array_clock_ns(result.architecture), joint.counts)


def density(source: Source, bins: int) -> Density | None:
    """The cloud of all mappings: of the rows in fine bins, else of the stored histogram; None without either.

    Args:
        bins: along each axis, of equal ratios.
    """
    if not has_rows(source):
        return stored_density(source.result)
    names = ("energy_pj", "latency_ns")
    limits = _limits(source)
    low = np.log([limit[0] for limit in limits])
    steps = bins / (np.log([limit[1] for limit in limits]) - low)

    def count(block: Block) -> Any:
        place = np.zeros(len(block), np.int64)
        for name, least, step in zip(names, low, steps, strict=True):
            own = ((np.log(block(name)) - least) * step).astype(np.int64)
            place = place * bins + np.clip(own, 0, bins - 1, out=own)
        return np.bincount(place, block(WEIGHT), bins * bins)

    counts = sum(mine.scan(source, count), np.zeros(bins * bins)).astype(np.int64).reshape(bins, bins)
    edges = [np.exp(least + np.arange(bins + 1) / step) for least, step in zip(low, steps, strict=True)]
    return Density(edges[0], edges[1], counts)


def _limits(source: Source) -> list[tuple[float, float]]:
    """Least and largest energy in pJ and latency in ns of the rows; a little wider where a histogram is stored."""
    stored = stored_density(source.result)
    kept = source.result.kept
    if stored is not None and not (kept and kept.choice["where"]):
        ends_of_bins = [(float(edges[0]), float(edges[-1])) for edges in (stored.energy_pj, stored.latency_ns)]
        if all(low > 0 for low, _ in ends_of_bins):
            return ends_of_bins
    limits = []
    for name in ("energy_pj", "latency_ns"):
        ends = mine.group([source], ["layer"], [f"min:{name}", f"max:{name}"]).columns
        low, high = float(ends[f"min:{name}"][0]), float(ends[f"max:{name}"][0])
        if not low > 0:
            raise InputError(f"{source.name}: some mappings have no {name}, so that there is no cloud to draw")
        limits.append((low, max(high, 1.001 * low)))
    return limits


def sample_rows(source: Source, most: int) -> dict[str, Any]:
    """At most so many rows of a result, chosen evenly at random and always the same: identity and costs.

    Rows without mappings of their own (``points``) are not rows.
    """
    names = (*IDENTITY, *COSTS)
    if not has_rows(source) or not most:
        return {name: np.empty(0) for name in names}
    if source.rows <= most:
        return mine.select([source], names).columns
    chosen = np.random.default_rng(0).choice(source.rows, most, replace=False, shuffle=False)
    return source.take(np.sort(chosen), names)


# ----------------------------------------------------------------------------------------------------------------------
# What costs are made of
# ----------------------------------------------------------------------------------------------------------------------


def energy_parts(architecture: Architecture) -> dict[tuple[str, str], str]:
    """(memory, operand) -> the column with its energy, innermost memory first; ("array", "") is the first."""
    parts = {("array", ""): "mac_pj"}
    for memory in architecture.memories:
        for operand in OPERANDS:
            if operand in memory.operands:
                owner = f"{memory.name}.{operand}" if len(memory.operands) > 1 else memory.name
                parts[memory.name, operand] = f"{owner}.energy_pj"
    return parts


def ideal_cycles(source: Source) -> float:
    """Cycles of a layer with every unit of the array busy."""
    return float(mine.evaluation(source, best_of_any(source)).latency_cycles.ideal)


def best_of_any(source: Source) -> Identity:
    """Some mapping of a result: the first that it holds."""
    points = next(points for points in source.result.points.values() if len(points))
    spatial, order, code = (int(part) for part in points.mapping_id[0])
    return spatial, order, code


def cost_parts(source: Source, rows: dict[str, Any]) -> tuple[Any, Any]:
    """What the costs of some rows are made of.

    Returns:
        float64[n, parts] of ``energy_parts`` in pJ, and float64[n, 5] of ``LATENCY_PARTS`` in cycles.
    """
    block = source.columns.block(rows)
    energy = [np.asarray(block(name)) for name in energy_parts(source.result.architecture).values()]
    computing = np.asarray(block("compute_cycles"))
    ideal = np.full(len(block), ideal_cycles(source))
    cycles = [ideal, computing - ideal, *(np.asarray(block(name)) for name in list(LATENCY_PARTS)[2:])]
    return np.stack(energy, axis=1), np.stack(cycles, axis=1)


@dataclass(frozen=True)
class Breakdown:
    """Costs of the best mapping of a layer by part."""

    layer: str
    count: int  #: of identical layers
    energy_pj: dict[tuple[str, str], float]
    latency_cycles: dict[str, float]


def breakdowns(sources: Sequence[Source], objective: str) -> list[Breakdown]:
    """What the best mapping of each layer costs, by part."""
    found = []
    for source in sources:
        cost = mine.evaluation(source, best_identity(source, objective))
        identity = dict(zip(IDENTITY, best_identity(source, objective), strict=True))
        rows = {name: np.array([value]) for name, value in identity.items()}
        rows |= {"energy_pj": np.array([cost.energy_pj.total]), "latency_cycles": np.array([cost.latency_cycles.total])}
        energy, cycles = cost_parts(source, rows)
        names = energy_parts(source.result.architecture)
        found.append(
            Breakdown(
                source.layer,
                1 + len(source.also),
                dict(zip(names, energy[0].tolist(), strict=True)),
                dict(zip(LATENCY_PARTS, cycles[0].tolist(), strict=True)),
            )
        )
    return found


# ----------------------------------------------------------------------------------------------------------------------
# Rooflines
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RooflineLayer:
    """What a layer makes of an array and a memory."""

    layer: str
    count: int  #: of identical layers
    macs_per_bit: float  #: of what crosses the memory's ports
    macs_per_ns: float

    def of_roof(self, roof: Roofline) -> float:
        """Speed as a share of what array and memory allow."""
        return self.macs_per_ns / min(roof.peak_macs_per_ns, self.macs_per_bit * roof.bandwidth_bits_per_ns)


@dataclass(frozen=True)
class Roofline:
    """What an array and the ports of one of its memories allow, and what layers make of it."""

    memory: str
    peak_macs_per_ns: float
    bandwidth_bits_per_ns: float
    layers: list[RooflineLayer]

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return asdict(self)


def roofline(sources: Sequence[Source], objective: str, memory: str | None = None) -> Roofline:
    """The roofline of an architecture and one memory (default: the outermost).

    Raises:
        InputError: there is no such memory, or a result's best mapping is not known.
    """
    architecture = sources[0].result.architecture
    chosen = architecture.memories[-1] if memory is None else architecture.memory(memory)
    array, clock = architecture.array, array_clock_ns(architecture)
    peak = math.prod(array.dimensions.values()) / (array.cycles_per_operation * clock)
    copies = math.prod(size for name, size in array.dimensions.items() if name not in chosen.serves)
    bandwidth = copies * sum(port.bandwidth_max_bits for port in chosen.ports) / clock
    layers = []
    for source in sources:
        cost = mine.evaluation(source, best_identity(source, objective))
        macs = source.result.layer.macs
        bits = _moved_bits(cost, source.result.architecture, chosen.name)
        if bits:
            layers.append(RooflineLayer(source.layer, 1 + len(source.also), macs / bits, macs / cost.latency_ns))
    return Roofline(chosen.name, peak, bandwidth, layers)


def _moved_bits(cost: Evaluation, architecture: Architecture, name: str) -> float:
    """Bits that cross all ports of a memory during a layer; none where activations stay below it."""
    bits = 0.0
    for memory in architecture.memories:
        if memory.name != name:
            continue
        for operand in memory.operands:
            level = next(each for each in cost.accesses[operand] if each["memory"] == name)
            for direction in DIRECTIONS:
                port = memory.port(operand, direction)
                if port is not None:
                    bits += level[direction] * memory.ports[port].bandwidth_max_bits
    return bits
