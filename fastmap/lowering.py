"""From specifications to the flat arrays that the kernels take."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmap.architecture import Architecture, transfers_of
from fastmap.dimensions import DIRECTIONS, LOOP_DIMENSIONS, OPERANDS, PARTIALLY_RELEVANT, RELEVANT
from fastmap.errors import InputError
from fastmap.kernels import macro as macro_kernels
from fastmap.kernels import problem as problem_kernels
from fastmap.layer import Layer
from fastmap.macro import pipeline_mask

IntArray = npt.NDArray[np.int64]


#: Name of each repair of ZigZag's numbers -> its bit of ``PROBLEM.repairs``.
REPAIRS = {
    "whole_iterations": problem_kernels.WHOLE_ITERATIONS,
    "joint_coverage": problem_kernels.JOINT_COVERAGE,
    "true_extents": problem_kernels.TRUE_EXTENTS,
    "all_accesses": problem_kernels.ALL_ACCESSES,
    "exact_units": problem_kernels.EXACT_UNITS,
    "exact_tiles": problem_kernels.EXACT_TILES,
    "one_unrolling": problem_kernels.ONE_UNROLLING,
    "true_widths": problem_kernels.TRUE_WIDTHS,
    "true_activations": problem_kernels.TRUE_ACTIVATIONS,
    "own_partners": problem_kernels.OWN_PARTNERS,
    "full_tiles": problem_kernels.FULL_TILES,
}
#: Name of each macro model -> the kernels' constant.
MACRO_MODELS = {
    "zigzag": macro_kernels.VARIANT_ZIGZAG,
    "zigzag-imc": macro_kernels.VARIANT_ZIGZAG_IMC,
    "paper": macro_kernels.VARIANT_PAPER,
}
#: Name of each cost model -> the repairs that it makes to ZigZag's numbers.
COST_MODELS = {"zigzag": 0, "corrected": problem_kernels.ALL_REPAIRS}


def check_cost_model(name: str) -> str:
    """Return the name of a cost model if there is one.

    Raises:
        InputError: there is none of this name.
    """
    if name not in COST_MODELS:
        raise InputError(f"cost_model must be one of {', '.join(COST_MODELS)}, not {name!r}")
    return name


def repair_bits(names: Collection[str]) -> int:
    """Return the bits of some repairs.

    Raises:
        InputError: there is no repair of a name.
    """
    for name in names:
        if name not in REPAIRS:
            raise InputError(f"repairs must be of {', '.join(REPAIRS)}, not {name!r}")
    return sum(REPAIRS[name] for name in set(names))


def lower(
    layer: Layer, architecture: Architecture, cost_model: str = "zigzag", repairs: Collection[str] | None = None
) -> Any:
    """Return the record (``kernels.problem.PROBLEM``) of one layer on one architecture.

    Args:
        repairs: these of ``REPAIRS`` instead of those of the cost model.

    Raises:
        InputError: the architecture has more memories, ports or dimensions than the kernels have room for.
    """
    memories, array = architecture.memories, architecture.array
    chains = [architecture.chain(operand) for operand in OPERANDS]
    for what, count, limit in (
        ("memories", len(memories), problem_kernels.MAX_MEMORIES),
        ("memory levels of one operand", max(len(chain) for chain in chains), problem_kernels.MAX_LEVELS),
        ("memory ports", sum(len(memory.ports) for memory in memories), problem_kernels.MAX_PORTS),
        ("array dimensions", len(array.dimensions), problem_kernels.MAX_ARRAY_DIMS),
    ):
        if count > limit:
            raise InputError(f"{architecture.name} has {count} {what}; at most {limit} can be modelled")
    record = new_record(problem_kernels.PROBLEM)
    record["repairs"] = COST_MODELS[check_cost_model(cost_model)] if repairs is None else repair_bits(repairs)
    record["loop_size"] = [layer.size(dim) for dim in LOOP_DIMENSIONS]
    order = [LOOP_DIMENSIONS.index(dim) for dim in layer.dimension_order]
    record["dimension_order"][: len(order)] = order
    record["dimensions"] = len(order)
    relevance = record["relevance"] = _relevance(layer)
    for o in range(len(OPERANDS)):
        relevant = np.flatnonzero(relevance[o] == problem_kernels.RELEVANT)
        partial = np.flatnonzero(relevance[o] >= problem_kernels.PARTIAL_X)
        record["relevant"][o], record["indices"][o] = len(relevant), len(relevant) + len(partial)
        record["index_dims"][o, : len(relevant) + len(partial)] = [*relevant, *partial]
    record["window"] = [
        (stride // math.gcd(stride, dilation), dilation // math.gcd(stride, dilation), clip)
        for stride, dilation, clip in (
            (layer.stride_x, layer.dilation_x, layer.clip_x),
            (layer.stride_y, layer.dilation_y, layer.clip_y),
        )
    ]
    record["bits"] = [layer.weight_bits, layer.input_bits, layer.output_bits, layer.output_final_bits]
    record["operand_order"] = [OPERANDS.index(operand) for operand in layer.operand_order]
    record["cycles_per_operation"] = array.cycles_per_operation
    record["macs"] = layer.macs
    if array.kind != "mac":
        record["weight_change_pj"] = macro_kernels.precharge_energy_pj(
            lower_technology(architecture), array.weight_bits, architecture.cell_group_depth
        )

    for name in ("chain", "memory_level", "memory_operands", "port"):
        record[name] = -1
    levels = [len(chain) for chain in chains]
    record["levels"] = levels
    record["first_row"] = [0, levels[0] + 1, levels[0] + levels[1] + 2]
    record["rows"] = sum(levels) + 3
    record["memories"] = len(memories)
    for o, chain in enumerate(chains):
        record["chain"][o, : len(chain)] = chain
        record["memory_level"][list(chain), o] = range(len(chain))
    ports, activities = 0, 0
    for m, memory in enumerate(memories):
        record["memory_size"][m] = memory.size_bits
        record["memory_energy"][m] = memory.read_energy_pj, memory.write_energy_pj
        record["memory_double_buffered"][m] = memory.double_buffered
        record["memory_operands"][m, : len(memory.operands)] = [OPERANDS.index(each) for each in memory.operands]
        record["serves"][m, : len(array.dimensions)] = [name in memory.serves for name in array.dimensions]
        for port in memory.ports:
            record["port_bandwidth"][ports] = port.bandwidth_min_bits, port.bandwidth_max_bits
            record["port_both_inputs"][ports] = {"W", "I"} <= {operand for operand, _ in port.transfers}
            for operand, direction in sorted(port.transfers, key=lambda each: memory.operands.index(each[0])):
                o, d = OPERANDS.index(operand), DIRECTIONS.index(direction)
                level = int(record["memory_level"][m, o])
                record["port"][o, level, d] = ports
                if direction in transfers_of(operand, top=level == levels[o] - 1):
                    row = record["first_row"][o] + level - problem_kernels.side(d)
                    record["activity"][activities] = o, level, d, row
                    activities += 1
            ports += 1
            record["port_first"][ports] = activities
    record["ports"] = ports
    return record


def new_record(dtype: np.dtype[np.void]) -> Any:
    """Return a zeroed record that keeps its memory alive; kernels hold no reference to it."""
    return np.zeros(1, dtype)[0]


def _relevance(layer: Layer) -> IntArray:
    """Role of every loop dimension for every operand; a dimension of size 1 that an operand does not have is
    neutral.
    """
    relevance = np.full((3, len(LOOP_DIMENSIONS)), problem_kernels.NEUTRAL, np.int64)
    for o, operand in enumerate(OPERANDS):
        partial = PARTIALLY_RELEVANT[operand] if layer.sliding_window else ()
        for d, dim in enumerate(LOOP_DIMENSIONS):
            if partial and dim in partial[0]:
                relevance[o, d] = problem_kernels.PARTIAL_X
            elif partial and dim in partial[1]:
                relevance[o, d] = problem_kernels.PARTIAL_Y
            elif dim in RELEVANT[operand]:
                relevance[o, d] = problem_kernels.RELEVANT
            elif layer.size(dim) > 1:
                relevance[o, d] = problem_kernels.IRRELEVANT
    return relevance


def lower_spatial(
    architecture: Architecture, unrolling: dict[str, dict[str, int]]
) -> tuple[IntArray, IntArray, IntArray]:
    """Return (array dimension, loop dimension, factor) of each spatial loop, in the order in which they are written."""
    names = list(architecture.array.dimensions)
    loops = [
        (names.index(name), LOOP_DIMENSIONS.index(dim), factor)
        for name, factors in unrolling.items()
        for dim, factor in factors.items()
    ]
    table = np.array(loops, np.int64).reshape(-1, 3)
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()


def lower_macro(architecture: Architecture) -> Any:
    """Return the macro parameters of an in-memory-computing array. The cells' area is that of one weight position."""
    array = architecture.array
    return macro_kernels.Macro(
        is_analog=array.kind == "analog",
        columns=array.columns,
        rows=array.rows,
        banks=array.banks,
        activation_bits=array.activation_bits,
        weight_bits=array.weight_bits,
        bits_per_cycle=array.bits_per_cycle,
        adc_bits=float(array.adc_bits or 0.0),
        group_depth=architecture.cell_group_depth,
        cells_area_mm2=architecture.cells.area_mm2,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
        booth_encoding=array.booth_encoding,
        pipeline=pipeline_mask(array.pipeline_after),
    )


def lower_variant(architecture: Architecture) -> int:
    """Return the kernels' constant of an array's macro model."""
    return MACRO_MODELS[architecture.array.macro_model]


def lower_technology(architecture: Architecture) -> macro_kernels.Technology:
    """Return the constants of an architecture's technology."""
    technology = architecture.technology
    return macro_kernels.TECHNOLOGY_28NM if technology is None else technology.kernel
