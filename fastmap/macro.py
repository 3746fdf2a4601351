"""What one IMC macro can do at best: energy per cycle, clock, area and figures of merit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastmap.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from fastmap.architecture import Architecture
    from fastmap.kernels.macro import Area, ArrayEnergy, Clock, Macro
    from fastmap.kernels.macro import Technology as Constants
    from fastmap.technology import Technology

__all__ = ["VARIANTS", "MacroReport", "architecture_report", "macro_report"]

#: Names of the macro model's variants; the index is the constant that kernels take.
VARIANTS = ("zigzag", "zigzag-imc", "paper")

#: Components that take time, in the order of signals.
SIGNALS = ("mults", "adcs", "adders_regular", "adders_pv", "accumulators")

#: Components after which pipeline registers can stand in some macro of each kind: numbers come out of them, unlike out
#: of analog multipliers, and another component may follow.
STAGE_ENDS = {"analog": ("adcs", "adders_pv"), "digital": ("mults", "adders_regular", "adders_pv")}

_KINDS = ("analog", "digital")


@dataclass(frozen=True)
class MacroReport:
    """Figures of a macro with every row and column in use; registers and memories around it are not included.

    Attributes:
        variant: name of the macro model.
        energy_per_cycle_pj: energy by component and `total`.
        clock_ns: delay by component and `total`, the clock period.
        stages_ns: delay by component of each pipeline stage; the slowest one is the clock period.
        area_mm2: area by component and `total`.
        macs_per_cycle: multiply-accumulates per cycle, a fraction if activations take several cycles.
        energy_per_mac_fj: energy per multiply-accumulate.
        tops: tera operations per second; a multiply-accumulate is two operations.
        tops_per_watt: operations per pJ.
        tops_per_mm2: `tops` per area.
    """

    variant: str
    energy_per_cycle_pj: dict[str, float]
    clock_ns: dict[str, float]
    stages_ns: tuple[dict[str, float], ...]
    area_mm2: dict[str, float]
    macs_per_cycle: float
    energy_per_mac_fj: float
    tops: float
    tops_per_watt: float
    tops_per_mm2: float

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain dictionaries and numbers, fit for JSON."""
        return asdict(self)


def macro_report(
    *,
    kind: str,
    columns: int,
    rows: int,
    activation_bits: int,
    weight_bits: int,
    bits_per_cycle: int,
    banks: int = 1,
    adc_bits: float | None = None,
    group_depth: int = 1,
    cells_area_mm2: float = 0.0,
    input_toggle_rate: float = 1.0,
    weight_density: float = 1.0,
    booth_encoding: bool = False,
    pipeline_after: Sequence[str] = (),
    variant: str = "zigzag",
    technology: Technology | Constants | str | Path | None = None,
) -> MacroReport:
    """Compute the peak figures of a macro (ICCAD 2023 macro model; zigzag 3.9.1 imc_unit).

    Args:
        kind: `analog` or `digital`.
        columns: output channels of one bank, each `weight_bits` cells wide.
        rows: input channels of one bank that are accumulated; a power of two, at least 2, if digital.
        activation_bits: bits of an activation.
        weight_bits: bits of a weight; a power of two if analog.
        bits_per_cycle: activation bits per cycle and row, a divisor of `activation_bits` (analog: the DAC resolution);
            a power of two if digital.
        banks: macros side by side.
        adc_bits: ADC resolution, may be fractional; required if analog, not used if digital.
        group_depth: weights stored at each position, of which one is in use at a time.
        cells_area_mm2: area of the cells at one position.
        input_toggle_rate: share of input bits that switch in a cycle; the paper takes 1.
        weight_density: share of weight bits that are not zero; the paper takes 1.
        booth_encoding: the two bits that enter a row of a digital macro per cycle are one radix-4 Booth digit (DIMC1,
            ISSCC 2022 15.5): one multiplier a position and one adder tree a column, one bit wider, for both, and no
            place-value adders. What codes the digits is not counted, nor the further digit that inputs without a sign
            would take.
        pipeline_after: components (see :func:`pipeline_places`) after which a row of registers stands. The clock is
            then the slowest stage's; the registers cost area, and energy in every cycle. The cycles in which the
            pipeline fills are left out of latencies.
        variant: `zigzag`, `zigzag-imc` or `paper`.
        technology: a technology, its zoo name or file, or bare constants, whose range is not known and not checked;
            28 nm at 0.9 V if not given.

    Raises:
        InputError: a parameter is outside of what the model covers.
    """
    from fastmap.kernels import macro as kernels

    macro = _checked_macro(
        kind, columns, rows, banks, activation_bits, weight_bits, bits_per_cycle, adc_bits, group_depth, cells_area_mm2
    )
    unfit = unfit_option(
        kind, macro.activation_bits, macro.weight_bits, macro.bits_per_cycle, booth_encoding, pipeline_after
    )
    if unfit is not None:
        raise InputError(unfit[1])
    macro = macro._replace(
        input_toggle_rate=_share("input_toggle_rate", input_toggle_rate),
        weight_density=_share("weight_density", weight_density),
        booth_encoding=bool(booth_encoding),
        pipeline=pipeline_mask(pipeline_after),
    )
    code = VARIANTS.index(_choice("variant", variant, VARIANTS))
    node = technology if isinstance(technology, kernels.Technology) else _constants(technology, macro)
    peak = kernels.peak(macro, node, code)
    clock = kernels.clock_ns(macro, node, code)
    return MacroReport(
        variant=variant,
        energy_per_cycle_pj={**components(peak.energy, pipeline_after), "total": peak.energy_per_cycle_pj},
        clock_ns=clock._asdict(),
        stages_ns=_stages(clock, pipeline_after),
        area_mm2=components(kernels.area_mm2(macro, node, code), pipeline_after),
        macs_per_cycle=peak.macs_per_cycle,
        energy_per_mac_fj=peak.energy_per_mac_fj,
        tops=peak.tops,
        tops_per_watt=peak.tops_per_watt,
        tops_per_mm2=peak.tops_per_mm2,
    )


def architecture_report(
    architecture: Architecture,
    variant: str | None = None,
    technology: Technology | None = None,
    *,
    booth_encoding: bool | None = None,
    pipeline_after: Sequence[str] | None = None,
) -> MacroReport:
    """Compute the peak figures of an architecture's array, by its own variant, technology and options unless others
    are given.

    Raises:
        InputError: the array is a plain MAC array, or outside of what the model covers.
    """
    array = architecture.array
    if array.kind == "mac":
        raise InputError(
            f"{architecture.name} has a plain MAC array; the macro model is for in-memory-computing arrays"
        )
    return macro_report(
        kind=array.kind,
        columns=array.columns,
        rows=array.rows,
        activation_bits=array.activation_bits,
        weight_bits=array.weight_bits,
        bits_per_cycle=array.bits_per_cycle,
        banks=array.banks,
        adc_bits=array.adc_bits,
        group_depth=architecture.cell_group_depth,
        cells_area_mm2=architecture.cells.area_mm2,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
        booth_encoding=array.booth_encoding if booth_encoding is None else booth_encoding,
        pipeline_after=array.pipeline_after if pipeline_after is None else pipeline_after,
        variant=array.macro_model if variant is None else variant,
        technology=technology or architecture.technology,
    )


def pipeline_places(
    kind: str, activation_bits: int, weight_bits: int, bits_per_cycle: int, booth_encoding: bool
) -> tuple[str, ...]:
    """Return the components of a macro after which pipeline registers can stand: all but its last one."""
    joined = weight_bits if kind == "analog" else 1 if booth_encoding else bits_per_cycle
    there = {"adders_pv": joined > 1, "accumulators": bits_per_cycle < activation_bits}
    return tuple(name for name in (*STAGE_ENDS[kind], "accumulators") if there.get(name, True))[:-1]


def unfit_option(
    kind: str,
    activation_bits: int,
    weight_bits: int,
    bits_per_cycle: int,
    booth_encoding: bool,
    pipeline_after: Sequence[str],
) -> tuple[str, str] | None:
    """Return which of the last two a macro, or plain MAC array, cannot have, and a sentence."""
    if kind == "mac":
        if not (booth_encoding or pipeline_after):
            return None
        key = "booth_encoding" if booth_encoding else "pipeline_after"
        return key, "a plain MAC array has no components that this could change"
    if booth_encoding and (kind == "analog" or bits_per_cycle != 2):
        other = "an analog one" if kind == "analog" else f"one that takes {bits_per_cycle}"
        return "booth_encoding", (
            f"Booth encoding is for digital macros that take 2 bits_per_cycle, one radix-4 digit, not for {other}"
        )
    places = pipeline_places(kind, activation_bits, weight_bits, bits_per_cycle, booth_encoding)
    for index, name in enumerate(pipeline_after):
        if name not in places:
            return "pipeline_after", (
                f"pipeline registers can stand after {', '.join(places) or 'nothing'} in this macro, not after {name}"
            )
        if name in pipeline_after[:index]:
            return "pipeline_after", f"pipeline registers can stand once after {name}, not twice"
    return None


def pipeline_mask(pipeline_after: Sequence[str]) -> int:
    """Return the kernels' form of where pipeline registers stand."""
    from fastmap.kernels import macro as kernels

    places = {
        "mults": kernels.AFTER_MULTS,
        "adcs": kernels.AFTER_SUMS,
        "adders_regular": kernels.AFTER_SUMS,
        "adders_pv": kernels.AFTER_PLACE_VALUE,
    }
    return sum(places[name] for name in pipeline_after)


def components(parts: ArrayEnergy | Area, pipeline_after: Sequence[str]) -> dict[str, float]:
    """Return a breakdown by name; `pipeline_registers` are part of it where there is a pipeline."""
    found = {name: float(value) for name, value in parts._asdict().items()}
    if not pipeline_after:
        del found["pipeline_registers"]
    return found


def _stages(clock: Clock, pipeline_after: Sequence[str]) -> tuple[dict[str, float], ...]:
    stages: list[dict[str, float]] = [{}]
    for name in SIGNALS:
        if (delay_ns := getattr(clock, name)) > 0:
            stages[-1][name] = delay_ns
        if name in pipeline_after:
            stages.append({})
    return tuple(stages)


def _checked_macro(
    kind: str,
    columns: int,
    rows: int,
    banks: int,
    activation_bits: int,
    weight_bits: int,
    bits_per_cycle: int,
    adc_bits: float | None,
    group_depth: int,
    cells_area_mm2: float,
) -> Macro:
    """Return the kernels' form of the parameters, or raise `InputError`."""
    from fastmap.kernels.macro import Macro

    is_analog = _choice("kind", kind, _KINDS) == "analog"
    columns = _positive("columns", columns)
    rows = _positive("rows", rows)
    banks = _positive("banks", banks)
    activation_bits = _positive("activation_bits", activation_bits)
    weight_bits = _positive("weight_bits", weight_bits)
    bits_per_cycle = _positive("bits_per_cycle", bits_per_cycle)
    group_depth = _positive("group_depth", group_depth)
    if not (_is_number(cells_area_mm2) and 0 <= cells_area_mm2 < math.inf):
        raise InputError(f"cells_area_mm2 must be a number that is not negative, not {cells_area_mm2!r}")

    if activation_bits % bits_per_cycle:
        raise InputError(
            f"bits_per_cycle must divide activation_bits, but {bits_per_cycle} does not divide {activation_bits}"
        )
    if is_analog:
        if adc_bits is None or not (_is_number(adc_bits) and 0 < adc_bits < math.inf):
            raise InputError(f"adc_bits of an analog macro must be a positive number, not {adc_bits!r}")
        if not is_power_of_two(weight_bits):
            raise InputError(f"weight_bits of an analog macro must be a power of two, not {weight_bits}")
    else:
        if rows < 2 or not is_power_of_two(rows):
            raise InputError(f"rows of a digital macro must be a power of two and at least 2, not {rows}")
        if not is_power_of_two(bits_per_cycle):
            raise InputError(f"bits_per_cycle of a digital macro must be a power of two, not {bits_per_cycle}")
    return Macro(
        is_analog=is_analog,
        columns=columns,
        rows=rows,
        banks=banks,
        activation_bits=activation_bits,
        weight_bits=weight_bits,
        bits_per_cycle=bits_per_cycle,
        adc_bits=float(adc_bits) if is_analog and adc_bits is not None else 0.0,
        group_depth=group_depth,
        cells_area_mm2=float(cells_area_mm2),
    )


def _constants(technology: Technology | str | Path | None, macro: Macro) -> Constants:
    """Return the constants of a technology, or raise `InputError` where they do not hold for the macro."""
    from fastmap.technology import DEFAULT, load_technology

    found = load_technology(DEFAULT if technology is None else technology)
    low, high = found.adc_bits_range
    if macro.is_analog and not low <= macro.adc_bits <= high:
        raise InputError(
            f"adc_bits must be between {low:g} and {high:g}, where the fits of the converters of {found.name} hold, "
            f"not {macro.adc_bits:g}"
        )
    return found.kernel


def _share(name: str, value: float) -> float:
    if not (_is_number(value) and 0 < value <= 1):
        raise InputError(f"{name} must be a share above 0 and at most 1, not {value!r}")
    return float(value)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _positive(name: str, value: int) -> int:
    """Return a positive whole number as int; 8.0 is 8."""
    if not (_is_number(value) and value >= 1 and value == value // 1):
        raise InputError(f"{name} must be a positive whole number, not {value!r}")
    return int(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_power_of_two(value: int) -> bool:
    """Whether it is 1, 2, 4, 8 ..."""
    return value & (value - 1) == 0
