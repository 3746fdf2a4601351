"""Why the best mapping is what it is, and what more or less of a resource would change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from fastmap import exploration
from fastmap.architecture import Architecture, Memory, Port
from fastmap.comparison import SAME, costing, power_of, value_of
from fastmap.dimensions import DIRECTIONS, LOOP_DIMENSIONS, OPERANDS, READING
from fastmap.errors import EmptySpaceError, SearchError, TimeLimitError
from fastmap.evaluation import Evaluation
from fastmap.kernels.problem import IRRELEVANT
from fastmap.layer import Layer
from fastmap.lowering import check_cost_model, lower
from fastmap.mapping import Constraints
from fastmap.result import SearchResult

# ----------------------------------------------------------------------------------------------------------------------
# Why the best mapping is what it is
# ----------------------------------------------------------------------------------------------------------------------


#: How long an explanation searches for one alternative, or for the optimum with twice of one resource.
SEARCH_SECONDS = 20.0


@dataclass(frozen=True)
class Price:
    """What twice of one resource is worth: the optimum with it, and how much it changes the objective."""

    resource: str  #: ``capacity`` or ``bandwidth``
    memory: str
    ports: tuple[str, ...]  #: empty for a capacity
    value: float | None  #: optimum with twice as much; None: no mapping was found in time
    change: float | None  #: relative to the optimum, negative where it gets better
    gap: float | None  #: by how much the value may lie above that optimum, at most, relative; 0 where it is proven


@dataclass(frozen=True)
class Alternative:
    """The best mapping that keeps one operand stationary in its lowest memory."""

    operand: str
    memory: str
    optimum: bool  #: the optimum itself is one
    best: Evaluation | None  #: None: there is no such mapping, or none was found in time
    value: float | None
    change: float | None  #: how much worse, relative to the optimum
    gap: float | None  #: as that of a ``Price``; None: there is no such mapping; infinite: none was found in time


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
            "prices": [asdict(price) | {"gap": _finite(price.gap)} for price in self.prices],
            "alternatives": [
                {
                    "operand": each.operand,
                    "memory": each.memory,
                    "optimum": each.optimum,
                    "value": each.value,
                    "change": each.change,
                    "gap": _finite(each.gap),
                    "found_in_time": each.best is not None or each.gap is None,
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
    progress: Callable[[], object] | None = None,
) -> Explanation:
    """Say why the optimum is as it is.

    The price of a resource is found by searching again with twice of it: the capacity of each memory, at the same
    energy per access; the bandwidth of each port, at the same energy per bit and the same smallest word. Ports of a
    memory whose accesses cost the same energy are widened together. Each of these searches, and those of alternatives,
    stops after ``SEARCH_SECONDS`` and then gives the best that it has found, and how far from the optimum that may be.

    Args:
        layer, architecture: what is mapped on what.
        objective: ``energy``, ``latency``, ``edp``, ``ed2p`` ...
        cost_model: as for ``search``.
        constraints: what to choose from; None: everything.
        progress: called after each of ``count_searches`` searches.

    Raises:
        SearchError: the constraints admit nothing, or nothing fits.
    """
    check_cost_model(cost_model)
    power_of(objective)

    def search(
        architecture: Architecture, constraints: Constraints | None, seconds: float | None = SEARCH_SECONDS
    ) -> SearchResult:
        return exploration.search(
            layer, architecture, objective, "optimal", cost_model, constraints, time_limit=seconds
        )

    done = progress or (lambda: None)
    found = search(architecture, constraints, None)
    done()
    best = costing(found)
    value = value_of(best, objective)

    def again(on: Architecture, chosen: Constraints | None) -> _Again:
        """Search once more."""
        try:
            other = search(on, chosen)
        except EmptySpaceError:
            return _Again(None, None, None, None)
        except TimeLimitError:
            return _Again(None, None, None, math.inf)
        changed = value_of(other.best[0], objective)
        change = changed / value - 1.0
        gap = math.inf if other.gap is None else other.gap
        return _Again(other.best[0], changed, 0.0 if abs(change) < SAME else change, gap)

    same = _Again(best, value, 0.0, 0.0)
    prices = []
    for index, ports in resources(architecture):
        memory = architecture.memories[index]
        binds = _may_bind(layer, architecture, memory, ports, objective)
        twice = again(_scaled(architecture, index, ports, 2.0), constraints) if binds else same
        names = tuple(memory.ports[port].name for port in ports)
        resource = "bandwidth" if ports else "capacity"
        prices.append(Price(resource, memory.name, names, twice.value, twice.change, twice.gap))
        done()
    prices.sort(key=lambda price: price.change or 0.0)

    alternatives = []
    kept = stationary(layer, architecture, best)
    for operand in OPERANDS:
        lowest = architecture.memories[architecture.chain(operand)[0]].name
        other = same if operand in kept else again(architecture, with_stationary(constraints, lowest, operand))
        alternatives.append(
            Alternative(operand, lowest, operand in kept, other.best, other.value, other.change, other.gap)
        )
        done()
    alternatives.sort(key=lambda each: math.inf if each.change is None else each.change)
    return Explanation(objective, cost_model, best, found, value, tuple(prices), tuple(alternatives))


class _Again(NamedTuple):
    """What another search found, see ``Alternative``."""

    best: Evaluation | None
    value: float | None
    change: float | None
    gap: float | None


def _finite(gap: float | None) -> float | None:
    """JSON knows no infinity."""
    return None if gap == math.inf else gap


def count_searches(architecture: Architecture) -> int:
    """How many searches an explanation takes, at most."""
    return 1 + len(resources(architecture)) + len(OPERANDS)


def resources(architecture: Architecture) -> list[tuple[int, tuple[int, ...]]]:
    """Return the memory and the ports of each resource that can be changed; no ports: the memory's capacity."""
    return [
        (index, ports) for index, memory in enumerate(architecture.memories) for ports in ((), *port_groups(memory))
    ]


def _scaled(architecture: Architecture, index: int, ports: tuple[int, ...], factor: float) -> Architecture:
    """Return the architecture with a multiple of one of its ``resources``."""
    memories = list(architecture.memories)
    memory = memories[index]
    memories[index] = (
        widened(memory, ports, factor)
        if ports
        else memory.model_copy(update={"size_bits": int(factor * memory.size_bits)})
    )
    return architecture.model_copy(update={"memories": tuple(memories)})


def _may_bind(layer: Layer, architecture: Architecture, memory: Memory, ports: tuple[int, ...], objective: str) -> bool:
    """Whether more of a resource can change the optimum; energies per bit stay as they are where ports are widened."""
    return objective != "energy" if ports else not always_fits(layer, architecture, memory)


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


def widened(memory: Memory, ports: Sequence[int], factor: float) -> Memory:
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
    power_of(objective)

    def optimum(on: Architecture) -> float:
        return value_of(exploration.search(layer, on, objective, "optimal", cost_model, constraints).best[0], objective)

    def multiple(index: int, ports: tuple[int, ...], factor: float) -> float | None:
        memory = architecture.memories[index]
        if factor == 1 or (factor > 1 and not _may_bind(layer, architecture, memory, ports, objective)):
            return value
        scaled = _scaled(architecture, index, ports, factor)
        changed = scaled.memories[index]
        weights = memory is architecture.cells and architecture.array.kind != "mac"
        if changed.size_bits < (architecture.array.weight_bits if weights else 1):
            return None
        if any(changed.ports[port].bandwidth_max_bits < 1 for port in ports):
            return None
        try:
            return optimum(scaled)
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
