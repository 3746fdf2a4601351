"""The accelerator of the paper's system-level study (ICCAD 2023, Fig. 10 to 12) around macros of a chosen size.

Macros side by side, a register for each row and each output channel, one SRAM for inputs and outputs, and DRAM for the
weights. Where a layer's inputs and outputs do not fit the SRAM together, they come from DRAM and go back there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastmap.architecture import Architecture, Array, Memory, Port, transfers_of
from fastmap.dimensions import READING
from fastmap.errors import InputError
from fastmap.layer import Layer
from fastmap.macro import is_power_of_two
from fastmap.mapping import Constraints
from fastmap.memory_costs import DEFAULT_SRAM, memory_cost, sram_cost
from fastmap.peak import BITS_PER_CYCLE, BUFFER_BITS, paper_adc_bits
from fastmap.technology import DEFAULT, Technology, load_technology

__all__ = [
    "MAX_MACROS",
    "MAX_WORD_BITS",
    "OPERAND_BITS",
    "PARTIAL_SUM_BITS",
    "fits_buffer",
    "mapping_rules",
    "paper_system",
]

DRAM_BITS = 100 * 1024 * 1024 * 8
DRAM = "dram_iccad23"
#: Parts of a word of the buffer that can be read alone ("16 banks" in the authors' description).
BUFFER_PARTS = 16
#: Width of weights and activations.
OPERAND_BITS = 8
#: Width of partial sums, and so of the output registers, in the paper.
PARTIAL_SUM_BITS = 8
MAX_MACROS = 1024
#: Widest word of the buffer: that of the authors' table. Where the macros together take more, they take turns.
MAX_WORD_BITS = 8192


def paper_system(
    kind: str,
    size: int,
    macros: int = 1,
    *,
    partial_sum_bits: int = PARTIAL_SUM_BITS,
    memory: str | Path = DEFAULT_SRAM,
    variant: str = "paper",
    technology: Technology | str | Path | None = None,
    activations_in_dram: bool = False,
) -> Architecture:
    """Return the accelerator for weights and activations of 8 bits, with the paper's bits per cycle and ADC bits.

    Args:
        kind: `analog` or `digital`.
        size: cells along the word line, hence size / 8 output channels, and rows; a power of two.
        macros: how many work side by side, on array dimension D3; a power of two.
        partial_sum_bits: width of an output register.
        memory: source of the costs of cells and buffer, see `fastmap.memory_costs`.
        variant: of the macro model.
        activations_in_dram: inputs and outputs come from and go to DRAM.

    Raises:
        InputError: a parameter is outside of what the models cover.
    """
    from fastmap.kernels import macro as kernels

    if kind not in BITS_PER_CYCLE:
        raise InputError(f"kind must be one of {', '.join(BITS_PER_CYCLE)}, not {kind!r}")
    if not (is_power_of_two(size) and size >= OPERAND_BITS):
        raise InputError(
            f"size must be a power of two and at least {OPERAND_BITS}, not {size}: a row holds whole weights, adder "
            "trees are binary, and the buffer holds whole words"
        )
    if not (1 <= macros <= MAX_MACROS and is_power_of_two(macros)):
        raise InputError(f"macros must be a power of two from 1 to {MAX_MACROS}, not {macros}")
    if not 1 <= partial_sum_bits <= 64:
        raise InputError(f"partial_sum_bits must be a number from 1 to 64, not {partial_sum_bits}")
    node = load_technology(DEFAULT if technology is None else technology)
    columns, rows = size // OPERAND_BITS, size
    serial = BITS_PER_CYCLE[kind]
    word_bits = min(MAX_WORD_BITS, macros * max(rows * OPERAND_BITS, columns * partial_sum_bits))
    name = f"{'aimc' if kind == 'analog' else 'dimc'}_{size}" + (f"x{macros}" if macros > 1 else "")
    cells = sram_cost(memory, f"cells of {name}", size * rows, size)
    buffer = sram_cost(memory, f"buffer of {name}", BUFFER_BITS, word_bits)
    dram = memory_cost(DRAM, DRAM_BITS, macros * size)
    register_pj, register_mm2 = kernels.register_energy_pj(node.kernel), kernels.register_area_mm2(node.kernel)
    input_bits, result_bits = columns * OPERAND_BITS, partial_sum_bits
    activations: tuple[str, ...] = ("I", "O") if activations_in_dram else ()
    memories = [
        _memory(
            "cells",
            "W",
            size_bits=OPERAND_BITS,
            widths=(OPERAND_BITS, OPERAND_BITS),
            write_energy_pj=cells.write_energy_pj / columns,
            area_mm2=cells.area_mm2 / (columns * rows),
        ),
        _memory(
            "input_register",
            "I",
            serves=("D1",),
            size_bits=input_bits,
            widths=(OPERAND_BITS, input_bits),
            write_energy_pj=register_pj * input_bits,
            area_mm2=register_mm2 * OPERAND_BITS * rows * macros,
        ),
        _memory(
            "output_register",
            "O",
            serves=("D2",),
            size_bits=result_bits,
            widths=(result_bits, result_bits),
            write_energy_pj=register_pj * result_bits,
            area_mm2=register_mm2 * result_bits * columns * macros,
        ),
        _memory(
            "buffer",
            "IO",
            serves=("D1", "D2", "D3"),
            size_bits=BUFFER_BITS,
            widths=(max(1, word_bits // BUFFER_PARTS), word_bits),
            read_energy_pj=buffer.read_energy_pj,
            write_energy_pj=buffer.write_energy_pj,
            area_mm2=buffer.area_mm2,
            inner=activations,
        ),
        _memory(
            "dram",
            ("W", *activations),
            serves=("D1", "D2", "D3"),
            size_bits=DRAM_BITS,
            widths=(OPERAND_BITS, macros * size),
            read_energy_pj=dram.read_energy_pj,
            write_energy_pj=dram.write_energy_pj,
            inner=(),
        ),
    ]
    array = Array(
        kind=kind,
        dimensions={"D1": columns, "D2": rows, "D3": macros},
        activation_bits=OPERAND_BITS,
        weight_bits=OPERAND_BITS,
        bits_per_cycle=serial,
        adc_bits=paper_adc_bits(rows, serial) if kind == "analog" else None,
        macro_model=variant,
    )
    return Architecture(name=name, array=array, memories=tuple(memories), technology=node)


def mapping_rules() -> Constraints:
    """What a mapping on these systems must keep to.

    A row's register holds one input at a time. Where columns have the same weights for several output positions (a
    diagonal), they need more rows, and the cost model counts the registers of the rows that one weight meets as one: it
    is large enough for any diagonal, and the rule keeps everything else out of it.

    Macros work on different outputs: there are no adders between them.
    """
    return Constraints(
        spatial_factors={"D3": dict.fromkeys(("C", "OX", "FX", "FY"), (1,))},
        forbidden={"input_register": ("B", "G", "C", "OY", "OX", "FY", "FX")},
    )


def fits_buffer(layer: Layer, buffer_bits: int = BUFFER_BITS) -> bool:
    """Whether the buffer holds the layer's inputs and outputs together."""
    inputs = layer.size("B") * layer.size("G") * layer.size("C") * layer.clip_x * layer.clip_y * layer.input_bits
    outputs = [layer.size(dim) for dim in ("B", "G", "K", "OY", "OX")]
    held = layer.output_bits
    for size in outputs:
        held *= size
    return inputs + held <= buffer_bits


def _memory(
    name: str,
    operands: Sequence[str],
    *,
    size_bits: int,
    widths: tuple[int, int],
    write_energy_pj: float,
    read_energy_pj: float = 0.0,
    area_mm2: float = 0.0,
    serves: tuple[str, ...] = (),
    inner: Sequence[str] | None = None,
) -> Memory:
    """Return a memory with one port for each transfer; `inner` are the operands with a memory further out (all)."""
    ports = []
    for operand in operands:
        for direction in transfers_of(operand, inner is not None and operand not in inner):
            ports.append(
                Port(
                    name=f"{operand}_{direction}",
                    kind="read" if direction in READING else "write",
                    bandwidth_min_bits=widths[0],
                    bandwidth_max_bits=widths[1],
                    transfers=((operand, direction),),
                )
            )
    return Memory(
        name=name,
        size_bits=size_bits,
        read_energy_pj=read_energy_pj,
        write_energy_pj=write_energy_pj,
        area_mm2=area_mm2,
        operands=tuple(operands),
        ports=tuple(ports),
        serves=serves,
    )
