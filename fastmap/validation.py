"""The macro model against published chips: what is reported, and what the model says.

Each chip is modelled three times: by its own structure (`fastmap.chip`), and by the generic macro of its array, once as
the authors publish it (28 nm constants at the chip's supply, everything switching) and once with the chip's node, toggle
rate and weight density.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastmap import zoo
from fastmap._spec import listed, shown
from fastmap.chip import ChipCosts, ChipFile, chip_costs
from fastmap.errors import InputError
from fastmap.loading import load_architecture, load_chip
from fastmap.macro import MacroReport, macro_report
from fastmap.technology import DEFAULT, Technology, load_technology

__all__ = ["METRICS", "VALIDATED", "ChipValidation", "Figures", "validate_chip", "validate_chips"]

#: The chips that the authors compare their model with.
VALIDATED = ("aimc1", "aimc2", "aimc3", "dimc1", "dimc2", "dimc3", "dimc4")
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
    reported: Figures
    model: Figures
    energy_breakdown_fj: dict[str, float]
    area_breakdown_mm2: dict[str, float]
    stage_ns: dict[str, float]
    generic: Figures
    generic_switching: Figures
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
        technology.kernel,
        technology.node_nm,
        columns=array.columns,
        rows=array.rows,
        banks=array.banks,
        cycles_per_activation=array.cycles_per_operation,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
    )

    def generic(node: Technology, input_toggle_rate: float, weight_density: float) -> MacroReport:
        return macro_report(
            kind=array.kind,
            columns=array.columns,
            rows=array.rows,
            banks=array.banks,
            activation_bits=array.activation_bits,
            weight_bits=array.weight_bits,
            bits_per_cycle=array.bits_per_cycle,
            adc_bits=array.adc_bits,
            group_depth=architecture.cell_group_depth,
            cells_area_mm2=architecture.cells.area_mm2,
            input_toggle_rate=input_toggle_rate,
            weight_density=weight_density,
            variant="zigzag-imc",
            technology=node,
        )

    published = load_technology(DEFAULT).at(supply_v=technology.supply_v)
    models = {
        "model": _of_chip(costs),
        "generic": _of_macro(generic(published, 1.0, 1.0)),
        "generic_switching": _of_macro(generic(technology, array.input_toggle_rate, array.weight_density)),
    }
    reported = _reported(chip)
    return ChipValidation(
        name=architecture.name,
        citation=chip.citation,
        url=chip.url,
        node_nm=technology.node_nm,
        supply_v=technology.supply_v,
        input_toggle_rate=array.input_toggle_rate,
        weight_density=array.weight_density,
        reported=reported,
        energy_breakdown_fj=costs.energy_per_mac_fj,
        area_breakdown_mm2=costs.area_mm2,
        stage_ns=costs.stage_ns,
        ratio={name: figures.over(reported) for name, figures in models.items()},
        notes=tuple(chip.notes),
        **models,
    )


def _reported(chip: ChipFile) -> Figures:
    per_watt = chip.reported.tops_per_watt
    return Figures(
        None if per_watt is None else 2000.0 / per_watt,
        chip.reported.clock_ns,
        chip.reported.area_mm2,
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
