"""From specifications to the flat arrays that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastmap.architecture import Architecture
from fastmap.dimensions import DIRECTIONS, LOOP_DIMENSIONS, OPERANDS, PARTIALLY_RELEVANT, RELEVANT
from fastmap.kernels import macro as macro_kernels
from fastmap.kernels import problem as problem_kernels
from fastmap.kernels.problem import Problem
from fastmap.layer import Layer

IntArray = npt.NDArray[np.int64]

TECHNOLOGY = macro_kernels.TECHNOLOGY_28NM
MACRO_VARIANTS = {"zigzag": macro_kernels.VARIANT_ZIGZAG, "zigzag-imc": macro_kernels.VARIANT_ZIGZAG_IMC}


def lower(layer: Layer, architecture: Architecture) -> Problem:
    """Return the arrays of one layer on one architecture."""
    chains = [architecture.chain(operand) for operand in OPERANDS]
    depth = max(len(chain) for chain in chains)
    memories = architecture.memories
    chain = np.full((3, depth), -1, np.int64)
    level_of = np.full((len(memories), 3), -1, np.int64)
    for o, positions in enumerate(chains):
        chain[o, : len(positions)] = positions
        for level, memory in enumerate(positions):
            level_of[memory, o] = level
    levels = np.array([len(positions) for positions in chains], np.int64)
    first_row = np.array([0, levels[0] + 1, levels[0] + levels[1] + 2], np.int64)

    stored = np.full((len(memories), 3), -1, np.int64)
    for m, memory in enumerate(memories):
        stored[m, : len(memory.operands)] = [OPERANDS.index(operand) for operand in memory.operands]

    port = np.full((3, depth, 4), -1, np.int64)
    bandwidth, both_inputs, activity, port_first = [], [], [], [0]
    for m, memory in enumerate(memories):
        for each in memory.ports:
            served = sorted(each.transfers, key=lambda transfer: memory.operands.index(transfer[0]))
            for operand, direction in served:
                o, d = OPERANDS.index(operand), DIRECTIONS.index(direction)
                port[o, level_of[m, o], d] = len(bandwidth)
                activity.append((o, level_of[m, o], d))
            bandwidth.append((each.bandwidth_min_bits, each.bandwidth_max_bits))
            both_inputs.append({"W", "I"} <= {operand for operand, _ in each.transfers})
            port_first.append(len(activity))

    array = architecture.array
    weight_change_pj = 0.0
    if array.kind != "mac":
        weight_change_pj = macro_kernels.precharge_energy_pj(
            TECHNOLOGY, array.weight_bits, architecture.cell_group_depth
        )
    return Problem(
        loop_size=np.array([layer.size(dim) for dim in LOOP_DIMENSIONS], np.int64),
        dimension_order=np.array([LOOP_DIMENSIONS.index(dim) for dim in layer.dimension_order], np.int64),
        relevance=_relevance(layer),
        window=np.array(
            [
                (layer.stride_x, layer.dilation_x, layer.clip_x),
                (layer.stride_y, layer.dilation_y, layer.clip_y),
            ],
            np.int64,
        ),
        bits=np.array(
            [layer.weight_bits, layer.input_bits, layer.output_bits, layer.output_final_bits], np.float64
        ),
        operand_order=np.array([OPERANDS.index(operand) for operand in layer.operand_order], np.int64),
        levels=levels,
        chain=chain,
        first_row=first_row,
        memory_size=np.array([memory.size_bits for memory in memories], np.float64),
        memory_energy=np.array([(memory.read_energy_pj, memory.write_energy_pj) for memory in memories], np.float64),
        memory_double_buffered=np.array([memory.double_buffered for memory in memories], np.bool_),
        memory_operands=stored,
        memory_level=level_of,
        serves=np.array([[name in memory.serves for name in array.dimensions] for memory in memories], np.bool_),
        port=port,
        port_bandwidth=np.array(bandwidth, np.float64),
        port_both_inputs=np.array(both_inputs, np.bool_),
        port_first=np.array(port_first, np.int64),
        activity=np.array(activity, np.int64),
        cycles_per_operation=float(array.cycles_per_operation),
        macs=float(layer.macs),
        weight_change_pj=float(weight_change_pj),
    )


def _relevance(layer: Layer) -> IntArray:
    """Role of every loop dimension for every operand; a dimension of size 1 that an operand does not have is neutral."""
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
    """Return (array dimension, loop dimension, factor) of each spatial loop, array dimension by array dimension."""
    loops = [
        (list(architecture.array.dimensions).index(name), LOOP_DIMENSIONS.index(dim), factor)
        for name in architecture.array.dimensions
        for dim, factor in unrolling.get(name, {}).items()
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
    )
