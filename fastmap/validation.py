"""The macro model against published chips: what is reported, and what the model says.

Each of the chips that the model was fitted on is modelled four times: by its own structure (`fastmap.chip`), and by the
generic macro of its array, as the authors publish it (28 nm constants at the chip's supply, everything switching), with
the chip's node, toggle rate and weight density, and with its Booth encoding and pipeline registers, too. Further chips,
which nobody fitted anything to, are modelled by the generic macro alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fastmap import zoo
from fastmap._spec import Bits, Count, Name, Positive, Spec, listed, shown
from fastmap.chip import ChipCosts, Reported, chip_costs
from fastmap.errors import InputError
from fastmap.loading import load_architecture, load_chip
from fastmap.macro import MacroReport, architecture_report, macro_report
from fastmap.memory_costs import DEFAULT_SRAM, sram_cost
from fastmap.readers.source import parse_document
from fastmap.technology import DEFAULT, Technology, load_technology

__all__ = [
    "METRICS",
    "VALIDATED",
    "ChipValidation",
    "Figures",
    "FurtherValidation",
    "further_chips",
    "validate_chip",
    "validate_chips",
]

#: The chips that the authors compare their model with.
VALIDATED = ("aimc1", "aimc2", "aimc3", "dimc1", "dimc2", "dimc3", "dimc4")
#: Shares of inputs that toggle and weights that are not zero, where a paper says nothing: what the authors assume.
ASSUMED_SHARE = 0.5
#: What is compared.
METRICS = ("energy_per_mac_fj", "clock_ns", "area_mm2")


@dataclass(frozen=True)
class Figures:
    """Figures of a chip; None where nothing is reported."""

    energy_per_mac_fj: float | None
    clock_ns: float | None
    area_mm2: float | None
    tops: float | None = None
    tops_per_watt: float | None = None
    tops_per_mm2: float | None = None

    def over(self, other: Figures) -> dict[str, float]:
        """Return each metric as a share of that of others, where both have it."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in METRICS}
        return {name: mine / theirs for name, (mine, theirs) in pairs.items() if mine is not None and theirs}


@dataclass(frozen=True)
class ChipValidation:
    """A chip: figures reported and modelled.

    Attributes:
        ratio: model -> metric -> modelled / reported. The mismatch is how far that is from 1.
    """

    name: str
    citation: str
    url: str
    node_nm: float
    supply_v: float
    input_toggle_rate: float
    weight_density: float
    energy_comparable: bool
    reported: Figures
    model: Figures
    energy_breakdown_fj: dict[str, float]
    area_breakdown_mm2: dict[str, float]
    stage_ns: dict[str, float]
    generic: Figures
    generic_switching: Figures
    generic_options: Figures
    ratio: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain dictionaries and numbers, fit for JSON."""
        return asdict(self)


def validate_chips(names: Sequence[str | Path] = VALIDATED) -> list[ChipValidation]:
    """Compare the model with several chips.

    Raises:
        InputError: an architecture says nothing about a chip, or cannot be read.
    """
    return [validate_chip(name) for name in names]


def validate_chip(name_or_path: str | Path) -> ChipValidation:
    """Compare the model with the chip of an architecture file, which has a section ``chip``.

    Raises:
        InputError: the architecture says nothing about a chip, or cannot be read.
    """
    chip = load_chip(name_or_path)
    if chip is None:
        raise InputError(
            f"{shown(str(name_or_path))} has no section chip that says what is published (zoo: {listed(VALIDATED)})"
        )
    architecture = load_architecture(name_or_path)
    array = architecture.array
    technology = architecture.technology or load_technology(DEFAULT)
    costs = chip_costs(
        chip,
        technology,
        columns=array.columns,
        rows=array.rows,
        banks=array.banks,
        cycles_per_activation=array.cycles_per_operation,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
    )

    def generic(node: Technology, **changes: Any) -> Figures:
        changed = architecture.model_copy(update={"array": array.model_copy(update=changes)})
        return _of_macro(architecture_report(changed, "zigzag-imc", node))

    plain = {"booth_encoding": False, "pipeline_after": ()}
    try:
        published = load_technology(DEFAULT).at(supply_v=technology.supply_v)
    except InputError:  # a supply of the chip's own technology, where the 28 nm constants do not hold
        published = technology
    models = {
        "model": _of_chip(costs),
        "generic": generic(published, input_toggle_rate=1.0, weight_density=1.0, **plain),
        "generic_switching": generic(technology, **plain),
        "generic_options": generic(technology),
    }
    reported = _reported(chip.reported)
    return ChipValidation(
        name=architecture.name,
        citation=chip.citation,
        url=chip.url,
        node_nm=technology.node_nm,
        supply_v=technology.supply_v,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
        energy_comparable=chip.energy_comparable,
        reported=reported,
        energy_breakdown_fj=costs.energy_per_mac_fj,
        area_breakdown_mm2=costs.area_mm2,
        stage_ns=costs.stage_ns,
        ratio={name: figures.over(reported) for name, figures in models.items()},
        notes=tuple(chip.notes),
        **models,
    )


class _MacroParameters(Spec):
    """Parameters of the generic macro, as `fastmap.macro.macro_report` takes them."""

    kind: Literal["analog", "digital"]
    columns: Count
    rows: Count
    banks: Count
    activation_bits: Bits
    weight_bits: Bits
    bits_per_cycle: Bits
    group_depth: Count
    adc_bits: Positive | None = None


class _FurtherChip(Spec):
    """A chip that the model was not fitted on."""

    citation: Name
    row: Name
    node_nm: Positive
    supply_v: Positive
    macro: _MacroParameters
    reported: Reported
    note: str = ""


@dataclass(frozen=True)
class FurtherValidation:
    """A chip that the model was not fitted on: figures reported, and of the generic macro.

    Attributes:
        row: its row in the database of UIUC.
        generic: everything switches.
        generic_switching: half of the inputs and of the weights do (`ASSUMED_SHARE`).
        ratio: model -> metric -> modelled / reported.
    """

    name: str
    citation: str
    row: str
    kind: str
    node_nm: float
    supply_v: float
    reported: Figures
    generic: Figures
    generic_switching: Figures
    ratio: dict[str, dict[str, float]]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain dictionaries and numbers, fit for JSON."""
        return asdict(self)


def further_chips() -> list[FurtherValidation]:
    """Compare the generic macro with chips that it was not fitted on: an out-of-sample check."""
    return [_further(name, chip) for name, chip in _further_file().items()]


@cache
def _further_file() -> dict[str, _FurtherChip]:
    document = parse_document(zoo.text("chips", "further"), "further.yaml (zoo)")
    document.refuse_duplicates()
    return {name: document.parse(_FurtherChip, data, (name,)) for name, data in document.data.items()}


def _further(name: str, chip: _FurtherChip) -> FurtherValidation:
    technology = load_technology(DEFAULT).at(node_nm=chip.node_nm, supply_v=chip.supply_v)
    macro = chip.macro
    row_bits = macro.columns * macro.weight_bits
    cells = sram_cost(DEFAULT_SRAM, f"cells of {name}", row_bits * macro.rows * macro.group_depth, row_bits)

    def generic(share: float) -> Figures:
        return _of_macro(
            macro_report(
                **macro.model_dump(),
                cells_area_mm2=cells.area_mm2 / (macro.columns * macro.rows),
                input_toggle_rate=share,
                weight_density=share,
                variant="zigzag-imc",
                technology=technology,
            )
        )

    models = {"generic": generic(1.0), "generic_switching": generic(ASSUMED_SHARE)}
    reported = _reported(chip.reported)
    return FurtherValidation(
        name=name,
        citation=chip.citation,
        row=chip.row,
        kind=macro.kind,
        node_nm=chip.node_nm,
        supply_v=chip.supply_v,
        reported=reported,
        ratio={model: figures.over(reported) for model, figures in models.items()},
        note=chip.note,
        **models,
    )


def _reported(reported: Reported) -> Figures:
    per_watt = reported.tops_per_watt
    return Figures(
        None if per_watt is None else 2000.0 / per_watt,
        reported.clock_ns,
        reported.area_mm2,
        tops_per_watt=per_watt,
    )


def _of_chip(costs: ChipCosts) -> Figures:
    return Figures(
        costs.energy_per_mac_fj["total"],
        costs.clock_ns,
        costs.area_mm2["total"],
        costs.tops,
        costs.tops_per_watt,
        costs.tops_per_mm2,
    )


def _of_macro(report: MacroReport) -> Figures:
    return Figures(
        report.energy_per_mac_fj,
        report.clock_ns["total"],
        report.area_mm2["total"],
        report.tops,
        report.tops_per_watt,
        report.tops_per_mm2,
    )
