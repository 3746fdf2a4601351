"""What analog and digital macros do at best, over their sizes and precisions, alone and with buffers around them.

The system around a macro is that of the paper (ICCAD 2023, Fig. 7 and 8): registers for inputs and outputs and one SRAM
from which every input is read, and to which every output is written, in each activation of the array.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastmap.errors import InputError
from fastmap.macro import STAGE_ENDS, MacroReport, macro_report
from fastmap.memory_costs import DEFAULT_SRAM, sram_cost
from fastmap.technology import DEFAULT, Technology, load_technology

__all__ = ["BITS_PER_CYCLE", "PAPER_SIZES", "PeakPoint", "SystemPeak", "peak_point", "peak_points"]

#: Cells along each side of the arrays of the paper.
PAPER_SIZES = (32, 64, 128, 256, 512, 1024)
#: Input bits that enter a row in a cycle, in the paper.
BITS_PER_CYCLE = {"analog": 2, "digital": 1}
#: Buffer of the paper.
BUFFER_BITS = 256 * 1024 * 8


@dataclass(frozen=True)
class SystemPeak:
    """Figures of a macro with its registers and buffer.

    Attributes:
        energy_per_cycle_pj: `macro`, `input_registers`, `output_registers`, `buffer_reads`, `buffer_writes`, `total`.
        area_mm2: `macro`, `input_registers`, `output_registers`, `buffer`, `total`.
    """

    energy_per_cycle_pj: dict[str, float]
    area_mm2: dict[str, float]
    energy_per_mac_fj: float
    tops: float
    tops_per_watt: float
    tops_per_mm2: float


@dataclass(frozen=True)
class PeakPoint:
    """A macro, what it does at best alone (`macro`), and with its buffers (`system`).

    Attributes:
        size: cells along the word line and along the bit line that work at a time.
        adc_bits: None if digital.
    """

    kind: str
    size: int
    banks: int
    group_depth: int
    activation_bits: int
    weight_bits: int
    bits_per_cycle: int
    adc_bits: float | None
    booth_encoding: bool
    pipeline_after: tuple[str, ...]
    macro: MacroReport
    system: SystemPeak

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain dictionaries and numbers, fit for JSON."""
        return asdict(self)


def paper_adc_bits(rows: int, bits_per_cycle: int) -> float:
    """ADC resolution of the paper: bits of an input, and half of those that the accumulation of rows adds."""
    return bits_per_cycle + 0.5 * math.log2(rows)


def peak_points(
    kinds: Sequence[str] = ("analog", "digital"),
    sizes: Sequence[int] = PAPER_SIZES,
    bits: Sequence[int] = (8,),
    bits_per_cycle: Sequence[int] = (),
    adc_bits: Sequence[float] = (),
    booth_encoding: bool = False,
    pipeline_after: Sequence[str] = (),
    **common: Any,
) -> list[PeakPoint]:
    """Return the peaks of all combinations; `common` goes to :func:`peak_point`.

    Args:
        bits: of activations and weights.
        bits_per_cycle: left out: those of the paper (`BITS_PER_CYCLE`).
        adc_bits: resolutions of analog macros; left out: the paper's rule (:func:`paper_adc_bits`).
        booth_encoding: of digital macros.
        pipeline_after: see :func:`fastmap.macro.macro_report`; each macro takes those of its kind.
    """
    ends = {kind: STAGE_ENDS.get(kind, ()) for kind in kinds}
    of_any = [name for names in ends.values() for name in names]
    points = []
    for size, width, kind in itertools.product(sizes, bits, kinds):
        serial: Sequence[int | None] = bits_per_cycle or (None,)
        resolutions: Sequence[float | None] = (adc_bits or (None,)) if kind == "analog" else (None,)
        for each, resolution in itertools.product(serial, resolutions):
            points.append(
                peak_point(
                    kind,
                    size,
                    activation_bits=width,
                    weight_bits=width,
                    bits_per_cycle=each,
                    adc_bits=resolution,
                    booth_encoding=booth_encoding and (kind == "digital" or "digital" not in kinds),
                    pipeline_after=[name for name in pipeline_after if name in ends[kind] or name not in of_any],
                    **common,
                )
            )
    return points


def peak_point(
    kind: str,
    size: int,
    *,
    activation_bits: int = 8,
    weight_bits: int = 8,
    bits_per_cycle: int | None = None,
    adc_bits: float | None = None,
    banks: int = 1,
    group_depth: int = 1,
    output_bits: int = 8,
    input_toggle_rate: float = 1.0,
    weight_density: float = 1.0,
    booth_encoding: bool = False,
    pipeline_after: Sequence[str] = (),
    buffer_bits: int = BUFFER_BITS,
    memory: str | Path = DEFAULT_SRAM,
    variant: str = "paper",
    technology: Technology | str | Path | None = None,
) -> PeakPoint:
    """Compute the peak of one macro of `size` x `size` cells, alone and with buffers (ICCAD 2023, Fig. 7 and 8).

    Args:
        kind: `analog` or `digital`.
        size: cells along the word line, hence size / weight_bits output channels; and rows, each with `group_depth`
            weights.
        bits_per_cycle: left out: that of the paper (`BITS_PER_CYCLE`), or of one Booth digit.
        adc_bits: of an analog macro; left out: :func:`paper_adc_bits`.
        booth_encoding, pipeline_after: see :func:`fastmap.macro.macro_report`.
        output_bits: width of an output in its register and in the buffer.
        buffer_bits: size of the SRAM; its word holds the inputs or the outputs of all banks, whichever is wider.
        memory: source of the costs of cells and buffer, see `fastmap.memory_costs`.

    Raises:
        InputError: a parameter is outside of what the models cover.
    """
    from fastmap.kernels import macro as kernels

    if kind not in BITS_PER_CYCLE:
        raise InputError(f"kind must be one of {', '.join(BITS_PER_CYCLE)}, not {kind!r}")
    if weight_bits < 1 or size < 1 or size % weight_bits:
        raise InputError(
            f"an array of {size} x {size} cells has no whole number of columns of {weight_bits}-bit weights"
        )
    for name, count in (("banks", banks), ("group_depth", group_depth)):
        if count < 1:
            raise InputError(f"{name} must be a positive whole number, not {count}")
    node = load_technology(DEFAULT if technology is None else technology)
    columns, rows = size // weight_bits, size
    serial = bits_per_cycle
    if serial is None:
        serial = 2 if booth_encoding else BITS_PER_CYCLE[kind]
    if kind == "analog" and adc_bits is None:
        adc_bits = paper_adc_bits(rows, serial)
    name = f"{kind} macro of {size} x {size} cells"
    cells = sram_cost(memory, f"cells of the {name}", size * rows * group_depth, size)
    macro = macro_report(
        kind=kind,
        columns=columns,
        rows=rows,
        banks=banks,
        activation_bits=activation_bits,
        weight_bits=weight_bits,
        bits_per_cycle=serial,
        adc_bits=adc_bits,
        group_depth=group_depth,
        cells_area_mm2=cells.area_mm2 / (columns * rows),
        input_toggle_rate=input_toggle_rate,
        weight_density=weight_density,
        booth_encoding=booth_encoding,
        pipeline_after=pipeline_after,
        variant=variant,
        technology=node,
    )
    input_bits, result_bits = rows * activation_bits * banks, columns * output_bits * banks
    word_bits = max(input_bits, result_bits)
    buffer = sram_cost(memory, f"buffer of the {name}", buffer_bits, word_bits)
    activations = serial / activation_bits  # in a cycle
    register_pj = float(kernels.register_energy_pj(node.kernel)) * activations
    register_mm2 = float(kernels.register_area_mm2(node.kernel))
    energy = {
        "macro": macro.energy_per_cycle_pj["total"],
        "input_registers": register_pj * input_bits,
        "output_registers": register_pj * result_bits,
        "buffer_reads": buffer.read_energy_pj / word_bits * input_bits * activations,
        "buffer_writes": buffer.write_energy_pj / word_bits * result_bits * activations,
    }
    area = {
        "macro": macro.area_mm2["total"],
        "input_registers": register_mm2 * input_bits,
        "output_registers": register_mm2 * result_bits,
        "buffer": buffer.area_mm2,
    }
    energy_pj, area_mm2 = sum(energy.values()), sum(area.values())
    system = SystemPeak(
        energy_per_cycle_pj=energy | {"total": energy_pj},
        area_mm2=area | {"total": area_mm2},
        energy_per_mac_fj=energy_pj / macro.macs_per_cycle * 1000.0,
        tops=macro.tops,
        tops_per_watt=2.0 * macro.macs_per_cycle / energy_pj,
        tops_per_mm2=macro.tops / area_mm2,
    )
    return PeakPoint(
        kind,
        size,
        banks,
        group_depth,
        activation_bits,
        weight_bits,
        serial,
        None if kind == "digital" else adc_bits,
        booth_encoding,
        tuple(pipeline_after),
        macro,
        system,
    )
