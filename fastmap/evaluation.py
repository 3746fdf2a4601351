"""The cost of one mapping, with every part of it: ``evaluate``."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmap.architecture import Architecture
from fastmap.dimensions import DIRECTIONS, LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import MappingError
from fastmap.kernels import cost as cost_kernels
from fastmap.kernels.array import array_use
from fastmap.kernels.evaluate import prefix_tables
from fastmap.kernels.macro import area_mm2, array_energy_pj, clock_ns
from fastmap.kernels.problem import MAX_LEVELS, MAX_LOOPS, SCRATCH, UNROLLING, tensor_size, unroll
from fastmap.kernels.traffic import (
    ACCESSES,
    CONTENT_BITS,
    CYCLES,
    N_STATE,
    N_TRAFFIC,
    SIZE,
    TRANSFER_CYCLES,
    tile_elements,
    weight_change_pj,
)
from fastmap.layer import Layer
from fastmap.lowering import lower, lower_macro, lower_spatial, lower_technology, lower_variant, new_record
from fastmap.macro import components
from fastmap.mapping import Loop, Mapping, SpatialMapping


@dataclass(frozen=True)
class EnergyPj:
    """Energy of the layer in pJ."""

    total: float
    mac: float  #: the array
    memory: float
    mac_breakdown: dict[str, float]  #: component of the array -> pJ
    #: operand -> one entry a memory level, innermost first: the memory's name and pJ per direction
    memory_breakdown: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class LatencyCycles:
    """Latency of the layer in cycles of the array clock."""

    total: float  #: spatial + stall + onload + offload
    ideal: float  #: with every unit of the array busy
    spatial: float  #: as mapped, without waiting for any memory
    stall: float
    onload: float  #: first loading of the inputs
    offload: float  #: last off-loading of the output
    stall_per_port: dict[str, dict[str, float]]  #: memory -> port -> stall, negative for slack


@dataclass(frozen=True)
class AreaMm2:
    """Area in mm2. Each memory counts once, however often the array repeats it (as in ZigZag)."""

    total: float
    imc: float
    memory: float


@dataclass(frozen=True)
class Utilization:
    """Shares between 0 and 1."""

    array: float  #: of the array's multiply-accumulates
    memory: dict[str, list[float]]  #: operand -> share of each memory level that it fills


@dataclass(frozen=True)
class Evaluation:
    """Energy, latency, clock, area and utilisation of one mapping of a layer on an architecture."""

    layer: str
    architecture: str
    cost_model: str
    energy_pj: EnergyPj
    latency_cycles: LatencyCycles
    clock_ns: float
    area_mm2: AreaMm2
    utilization: Utilization
    mapping: Mapping  #: with its allocation
    #: operand -> loops at or below each memory level once loops that leave the operand's tile in place are merged down
    merged: dict[str, tuple[int, ...]]
    #: operand -> one entry a memory level: accesses of the full bandwidth per direction
    accesses: dict[str, list[dict[str, Any]]]
    #: operand -> one entry a memory level: how often each element of the operand moves, per direction
    moves: dict[str, list[dict[str, Any]]]
    #: memory that leaks -> pJ during the latency, of all its instances; not part of `energy_pj`, nor of any objective
    static_energy_pj: dict[str, float]

    @property
    def latency_ns(self) -> float:
        """Latency in ns."""
        return self.latency_cycles.total * self.clock_ns

    @property
    def edp_pj_ns(self) -> float:
        """Energy-delay product in pJ ns."""
        return self.energy_pj.total * self.latency_ns

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that ``fastmap evaluate --json`` prints."""
        energy, latency = self.energy_pj, self.latency_cycles
        return {
            "layer": self.layer,
            "architecture": self.architecture,
            "cost_model": self.cost_model,
            "energy_pj": {
                "total": energy.total,
                "mac": energy.mac,
                "memory": energy.memory,
                "mac_breakdown": dict(energy.mac_breakdown),
                "memory_breakdown": {
                    o: [dict(level) for level in levels] for o, levels in energy.memory_breakdown.items()
                },
            },
            "latency_cycles": {
                "total": latency.total,
                "ideal": latency.ideal,
                "spatial": latency.spatial,
                "stall": latency.stall,
                "onload": latency.onload,
                "offload": latency.offload,
                "stall_per_port": {memory: dict(ports) for memory, ports in latency.stall_per_port.items()},
            },
            "clock_ns": self.clock_ns,
            "latency_ns": self.latency_ns,
            "edp_pj_ns": self.edp_pj_ns,
            "area_mm2": {"total": self.area_mm2.total, "imc": self.area_mm2.imc, "memory": self.area_mm2.memory},
            "utilization": {"array": self.utilization.array, "memory": dict(self.utilization.memory)},
            "static_energy_pj": dict(self.static_energy_pj),
            "accesses": {o: [dict(level) for level in levels] for o, levels in self.accesses.items()},
            "mapping": self.mapping.to_dict(),
        }


def array_clock_ns(architecture: Architecture) -> float:
    """Clock period of the array in ns; 1 for a plain MAC array, whose clock ZigZag does not model."""
    if architecture.array.kind == "mac":
        return 1.0
    return float(clock_ns(lower_macro(architecture), lower_technology(architecture), lower_variant(architecture)).total)


def architecture_area_mm2(architecture: Architecture) -> AreaMm2:
    """Area of the array and the memories. The cells count in both, as in ZigZag."""
    array = architecture.array
    if array.kind == "mac":
        imc = array.unit_area_mm2 * np.prod(list(array.dimensions.values()), dtype=float)
    else:
        imc = area_mm2(lower_macro(architecture), lower_technology(architecture), lower_variant(architecture)).total
    memory = sum(each.area_mm2 for each in architecture.memories)
    return AreaMm2(total=float(imc + memory), imc=float(imc), memory=float(memory))


class NestCost:
    """The kernels' tables of one spatial mapping, and of one loop order at a time.

    Attributes:
        needed: int64[8], the temporal iterations that the cost model needs of each dimension.
        cuts, cost, failure, scratch: what the kernels say about the allocation costed last.
    """

    def __init__(self, problem: Any, architecture: Architecture, spatial: SpatialMapping) -> None:
        self.problem = problem
        self.array_dim, self.loop_dim, self.factor = lower_spatial(architecture, spatial.unrolling)
        self.unrolling, self.scratch = new_record(UNROLLING), new_record(SCRATCH)
        unroll(problem, self.array_dim, self.loop_dim, self.factor, self.unrolling)
        self.needed = self.unrolling["remaining"].copy()
        self.cuts = np.zeros((3, MAX_LEVELS), np.int64)
        self.cost = np.empty(cost_kernels.N_COSTS)
        self.failure = np.zeros(3)

    def order(self, temporal: Sequence[Loop], first_dimension: str) -> None:
        """Fill the tables of a loop order, innermost first; a layer without loops has one of one iteration."""
        self.empty = not temporal
        loops = temporal or ((first_dimension, 1),)
        self.depth = len(loops)
        self.dim = np.array([LOOP_DIMENSIONS.index(dim) for dim, _ in loops], np.int64)
        self.size = np.array([size for _, size in loops], np.int64)
        rows = int(self.problem["rows"])
        self.states = np.empty((self.depth + 1, N_STATE))
        self.content = np.empty((rows, self.depth + 1))
        self.traffic = np.zeros((rows, self.depth + 2, N_TRAFFIC))
        prefix_tables(
            self.problem, self.unrolling, self.dim, self.size, self.scratch, self.states, self.content, self.traffic
        )

    def allocate(self, allocation: MappingABC[str, Sequence[int]] | None) -> bool:
        """Cost an allocation of the order, None for the greedy one. Returns whether it fits."""
        if allocation is not None:
            for o, operand in enumerate(OPERANDS):
                given = allocation[operand]
                # A fully unrolled layer has one loop of one iteration that a user does not write.
                self.cuts[o, : len(given)] = [*given[:-1], 1] if self.empty else given
        return bool(
            cost_kernels.mapping_cost(
                self.problem,
                self.unrolling,
                self.states,
                self.content,
                self.traffic,
                np.arange(self.depth + 1),
                self.dim,
                self.size,
                self.depth,
                -1,
                allocation is None,
                self.cuts,
                self.scratch,
                self.cost,
                self.failure,
            )
        )


def evaluate(layer: Layer, architecture: Architecture, mapping: Mapping, cost_model: str = "corrected") -> Evaluation:
    """Cost one mapping.

    Args:
        layer, architecture: what is mapped on what.
        mapping: without ``allocation``, the greedy one is applied.
        cost_model: ``corrected``: the numbers of ZigZag 3.9.1 without its numerical accidents (``kernels/problem.py``
            lists them); ``zigzag``: with them.

    Raises:
        MappingError: the mapping does not belong to the layer and architecture, or does not fit a memory.
    """
    mapping.check(layer, architecture)
    diagonal = mapping.spatial.diagonal_problem(architecture) if cost_model == "corrected" else None
    if diagonal is not None:
        raise MappingError(f"mapping of {layer.name} on {architecture.name}, {diagonal}")
    return _evaluate(layer, architecture, mapping, cost_model, None)


def evaluate_repaired(
    layer: Layer, architecture: Architecture, mapping: Mapping, repairs: Collection[str]
) -> Evaluation:
    """Cost one mapping as ZigZag does but for some repairs (names of ``lowering.REPAIRS``).

    The temporal loops are taken as written, whether the repairs need as many iterations or not.
    """
    return _evaluate(layer, architecture, mapping, "zigzag", repairs)


def _evaluate(
    layer: Layer, architecture: Architecture, mapping: Mapping, cost_model: str, repairs: Collection[str] | None
) -> Evaluation:
    if len(mapping.temporal) > MAX_LOOPS:
        raise MappingError(
            f"mapping of {layer.name}: it has {len(mapping.temporal)} temporal loops; at most {MAX_LOOPS} can be costed"
        )
    problem = lower(layer, architecture, cost_model, repairs)
    nest = NestCost(problem, architecture, mapping.spatial)
    nest.order(mapping.temporal, layer.dimension_order[0])
    if not nest.allocate(mapping.allocation):
        raise MappingError(_misfit(layer, architecture, nest.failure, mapping.allocation is None))
    unrolling, scratch, traffic, cost = nest.unrolling, nest.scratch, nest.traffic, nest.cost

    accesses: dict[str, list[dict[str, Any]]] = {}
    memory_breakdown: dict[str, list[dict[str, Any]]] = {}
    fill: dict[str, list[float]] = {}
    for o, operand in enumerate(OPERANDS):
        accesses[operand], memory_breakdown[operand], fill[operand] = [], [], []
        for level, m in enumerate(architecture.chain(operand)):
            memory = architecture.memories[m]
            count = {}
            for d, direction in enumerate(DIRECTIONS):
                row = int(problem["first_row"][o]) + level + (1 if d >= 2 else 0)
                count[direction] = float(traffic[row, scratch["column"][row], ACCESSES + d])
            accesses[operand].append({"memory": memory.name, **count})
            memory_breakdown[operand].append(
                {
                    "memory": memory.name,
                    **{
                        direction: count[direction] * (memory.write_energy_pj if d % 2 else memory.read_energy_pj)
                        for d, direction in enumerate(DIRECTIONS)
                    },
                }
            )
            row = int(problem["first_row"][o]) + level + 1
            share = float(traffic[row, scratch["column"][row], CONTENT_BITS]) / memory.size_bits
            fill[operand].append(share)
    memory_pj = sum(
        level[direction] for levels in memory_breakdown.values() for level in levels for direction in DIRECTIONS
    )
    periods = float(scratch["count"][0])
    mac_breakdown = _array_breakdown_pj(
        layer,
        architecture,
        nest,
        weight_change_pj(problem, unrolling, periods),
    )
    mac_pj = sum(mac_breakdown.values())

    units = float(np.prod(list(architecture.array.dimensions.values()), dtype=float))
    ideal = float(np.ceil(np.ceil(layer.macs / units) * problem["cycles_per_operation"]))
    stall_per_port: dict[str, dict[str, float]] = {}
    p = 0
    for memory in architecture.memories:
        stall_per_port[memory.name] = {}
        for port in memory.ports:
            stall_per_port[memory.name][port.name] = float(scratch["port_stall"][p])
            p += 1
    found = mapping.model_copy(
        update={
            "allocation": {
                operand: tuple(int(c) for c in nest.cuts[o, : problem["levels"][o]])
                if mapping.temporal
                else (0,) * int(problem["levels"][o])
                for o, operand in enumerate(OPERANDS)
            }
        }
    )
    period_ns = array_clock_ns(architecture)
    return Evaluation(
        layer=layer.name,
        architecture=architecture.name,
        cost_model=cost_model if repairs is None else "+".join(("zigzag", *repairs)),
        energy_pj=EnergyPj(memory_pj + mac_pj, mac_pj, memory_pj, mac_breakdown, memory_breakdown),
        latency_cycles=LatencyCycles(
            total=float(cost[cost_kernels.LATENCY_CYCLES]),
            ideal=ideal,
            spatial=float(cost[cost_kernels.COMPUTE_CYCLES]),
            stall=float(cost[cost_kernels.STALL_CYCLES]),
            onload=float(cost[cost_kernels.ONLOAD_CYCLES]),
            offload=float(cost[cost_kernels.OFFLOAD_CYCLES]),
            stall_per_port=stall_per_port,
        ),
        clock_ns=period_ns,
        area_mm2=architecture_area_mm2(architecture),
        utilization=Utilization(array=ideal / float(cost[cost_kernels.COMPUTE_CYCLES]), memory=fill),
        mapping=found,
        merged={
            operand: tuple(
                int(scratch["position"][problem["first_row"][o] + level + 1]) if mapping.temporal else 0
                for level in range(int(problem["levels"][o]))
            )
            for o, operand in enumerate(OPERANDS)
        },
        accesses=accesses,
        moves=_moves(architecture, nest),
        static_energy_pj=_static_energy_pj(architecture, float(cost[cost_kernels.LATENCY_CYCLES]) * period_ns),
    )


def _static_energy_pj(architecture: Architecture, latency_ns: float) -> dict[str, float]:
    """Return what each memory leaks in that time (1 mW during 1 ns is 1 pJ), in all its instances."""
    sizes = architecture.array.dimensions
    return {
        memory.name: memory.leakage_mw
        * latency_ns
        * math.prod(size for name, size in sizes.items() if name not in memory.serves)
        for memory in architecture.memories
        if memory.leakage_mw
    }


def _moves(architecture: Architecture, nest: NestCost) -> dict[str, list[dict[str, Any]]]:
    """How often each element of an operand moves at each memory level, per direction."""
    problem, unrolling, scratch = nest.problem, nest.unrolling, nest.scratch
    cycles = nest.states[:, CYCLES]
    moves: dict[str, list[dict[str, Any]]] = {}
    for o, operand in enumerate(OPERANDS):
        moves[operand] = []
        first = int(problem["first_row"][o])
        distinct = float(tensor_size(problem, o, problem["loop_size"].astype(float)))
        for level, m in enumerate(architecture.chain(operand)):
            entry: dict[str, Any] = {"memory": architecture.memories[m].name}
            for d, direction in enumerate(DIRECTIONS):
                k = level + (1 if d >= 2 else 0)
                row = first + k
                position = int(scratch["position"][row])
                elements = 0.0
                if nest.traffic[row, scratch["column"][row], TRANSFER_CYCLES + d] > 0:
                    # As in the kernel: the boundary inside level 0 moves single elements.
                    tile = nest.states[position, SIZE:] * unrolling["below"][0, row]
                    elements = 1.0
                    if k > 0:
                        elements = float(tile_elements(int(problem["repairs"]), tensor_size(problem, o, tile)))
                    elements *= math.trunc(cycles[-1] / cycles[position])
                    elements *= float(unrolling["multicast"][0, row]) if d < 2 else 1.0
                    elements *= float(unrolling["instances"][0, first + level])
                entry[direction] = elements / distinct
            moves[operand].append(entry)
    return moves


def _array_breakdown_pj(
    layer: Layer, architecture: Architecture, nest: NestCost, precharging_pj: float
) -> dict[str, float]:
    if architecture.array.kind == "mac":
        return {"mac_units": architecture.array.unit_energy_pj * layer.macs}
    rows, adder_rows, columns, activations = array_use(
        nest.problem, nest.unrolling, nest.array_dim, nest.loop_dim, nest.factor
    )
    energy = array_energy_pj(
        lower_macro(architecture),
        lower_technology(architecture),
        lower_variant(architecture),
        rows,
        adder_rows,
        columns,
        activations,
        0.0,
    )
    parts = components(energy, architecture.array.pipeline_after)
    return {**parts, "local_bl_precharging": precharging_pj}


def _misfit(layer: Layer, architecture: Architecture, failure: Any, greedy: bool) -> str:
    memory = architecture.memories[int(failure[0])]
    held = " and ".join(memory.operands)
    subject = f"operand {held} needs" if len(memory.operands) == 1 else f"operands {held} need"
    how = "whatever the allocation" if greedy else "as allocated"
    return (
        f"mapping of {layer.name} on {architecture.name} does not fit {memory.name}: {subject} "
        f"{math.ceil(failure[1])} bits there {how}, {failure[2]:.0f} are available"
    )
