"""Published chips as compositions of the macro model's blocks: what is reported, and what the model says.

A chip's own structure (Booth-coded inputs, adder stages, pipelining, converters shared by columns, what switches) is a
list of blocks in its architecture file, under ``chip``; every block is one formula of `fastmap.kernels.macro`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from fastmap._spec import Cost, Count, Name, Natural, Positive, RuleError, Spec, listed
from fastmap.errors import InputError

if TYPE_CHECKING:
    from fastmap.kernels.macro import Technology as Constants
    from fastmap.technology import Technology

Kind = Literal["fixed", "multiplier", "adder", "adder_tree", "accumulator", "register", "adc", "dac", "line"]
Component = Literal[
    "cells", "lines", "dacs", "adcs", "mults", "adders", "accumulators", "accumulator_registers", "pipeline_registers"
]
#: Components of a chip, in the order of signals.
COMPONENTS: tuple[Component, ...] = (
    "cells", "lines", "dacs", "mults", "adcs", "adders", "accumulators", "accumulator_registers", "pipeline_registers",
)  # fmt: skip

#: What describes each kind of block, all of it needed, and the component that it counts to.
_KINDS: dict[str, tuple[tuple[str, ...], Component | None]] = {
    "fixed": (("area_mm2",), "cells"),
    "multiplier": (("bits",), "mults"),
    "adder": (("bits",), "adders"),
    "adder_tree": (("inputs", "bits"), "adders"),
    "accumulator": (("bits", "input_bits"), "accumulators"),
    "register": (("bits",), None),
    "adc": (("bits", "inputs"), "adcs"),
    "dac": (("bits",), "dacs"),
    "line": (("inputs",), "lines"),
}
_OPTIONAL = {"fixed": ("area_node_nm",)}
_DESCRIBING = ("bits", "inputs", "input_bits", "area_mm2", "area_node_nm")


class BlockCosts(NamedTuple):
    """Costs of one block."""

    energy_pj: float
    area_mm2: float
    delay_ns: float


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Block(Spec):
    """Blocks of one kind.

    Attributes:
        kind: `fixed` (an area, such as that of SRAM), `multiplier` (1 bit x `bits`), `adder`, `adder_tree` (of `inputs`
            numbers of `bits`), `accumulator` (an adder of `bits` that adds numbers of `input_bits`; its register is a
            block of its own), `register`, `adc` (of `bits`, on a bit line with `inputs` cells), `dac`, or `line` (a
            word, bit or enable line with `inputs` cells).
        component: what it counts to in breakdowns; left out: what its kind says.
        count: how many there are in each bank, column (output channel), row or position.
        active: how many of them work in a cycle; left out: all. Zero costs area only.
        switching: its energy goes with the share of inputs that toggle, of weights that are not zero, or both.
        stage: pipeline stage in which signals pass through it, one block after the other; left out: none.
        area_node_nm: node at which `area_mm2` is given; it goes linearly with the node.
    """

    kind: Kind
    component: Component | None = None
    bits: Positive | None = None
    inputs: Count | None = None
    input_bits: Positive | None = None
    area_mm2: Cost | None = None
    area_node_nm: Positive | None = None
    count: Cost = 1.0
    per: Literal["bank", "column", "row", "position"] = "column"
    active: Cost | None = None
    switching: Annotated[list[Literal["inputs", "weights"]], BeforeValidator(_one_or_more)] = Field(
        default_factory=list
    )
    stage: Natural | None = None

    @model_validator(mode="after")
    def _check(self) -> Block:
        needed, component = _KINDS[self.kind]
        known = (*needed, *_OPTIONAL.get(self.kind, ()))
        for key in needed:
            if getattr(self, key) is None:
                raise RuleError(f"a block of kind {self.kind} needs the key {key}")
        for key in _DESCRIBING:
            if getattr(self, key) is not None and key not in known:
                raise RuleError(f"a block of kind {self.kind} has no {key} (it has {listed(known)})", (key,))
        if component is None and self.component is None:
            raise RuleError(f"a block of kind {self.kind} needs the key component")
        inputs = self.inputs or 2
        if self.kind == "adder_tree" and (inputs < 2 or inputs & (inputs - 1)):
            raise RuleError(
                f"the inputs of an adder tree must be a power of two and at least 2, not {inputs}", ("inputs",)
            )
        if self.kind == "accumulator" and (self.input_bits or 0) > (self.bits or 0):
            raise RuleError("an accumulator is at least as wide as what it adds", ("input_bits",))
        return self

    @property
    def counts_to(self) -> Component:
        """Component of the breakdowns."""
        component = self.component or _KINDS[self.kind][1]
        assert component is not None  # checked
        return component

    def costs(self, constants: Constants, node_nm: float) -> BlockCosts:
        """Return the costs of one block; lines, DACs and registers take no time, lines and DACs no area."""
        from fastmap.kernels import macro

        bits, inputs = self.bits or 0.0, self.inputs or 0
        energy_pj, area, delay_ns = 0.0, 0.0, 0.0
        if self.kind == "fixed":
            area = (self.area_mm2 or 0.0) * node_nm / (self.area_node_nm or node_nm)
        elif self.kind in ("adder", "accumulator", "adder_tree"):
            adders = macro.adder_tree_adders(inputs, bits) if self.kind == "adder_tree" else bits
            energy_pj = macro.full_adder_energy_pj(constants) * adders
            area = macro.full_adder_area_mm2(constants) * adders
            if self.kind == "adder_tree":
                delay_ns = macro.adder_tree_delay_ns(constants, inputs, bits)
            elif self.kind == "adder":
                delay_ns = macro.adder_delay_ns(constants, bits)
            else:
                carry_bits = bits - (self.input_bits or bits)
                delay_ns = macro.accumulator_delay_ns(constants, macro.VARIANT_PAPER, carry_bits)
        elif self.kind == "multiplier":
            energy_pj = macro.multiplier_energy_pj(constants) * bits
            area = macro.multiplier_area_mm2(constants) * bits
            delay_ns = macro.multiplier_delay_ns(constants)
        elif self.kind == "register":
            energy_pj = macro.register_energy_pj(constants) * bits
            area = macro.register_area_mm2(constants) * bits
        elif self.kind == "adc":
            energy_pj = macro.adc_energy_pj(constants, bits)
            area = macro.adc_area_mm2(constants, bits)
            delay_ns = macro.adc_delay_ns(constants, bits, inputs)
        elif self.kind == "dac":
            energy_pj = macro.dac_energy_pj(constants, bits)
        else:
            energy_pj = macro.bit_line_energy_pj(constants) * inputs
        return BlockCosts(float(energy_pj), float(area), float(delay_ns))


class Reported(Spec):
    """What the chip's paper reports, at the supply voltage of its architecture file."""

    tops_per_watt: Positive | None = None
    clock_ns: Positive | None = None
    area_mm2: Positive | None = None


class ChipFile(Spec):
    """A published chip: its structure, for `fastmap validate`; searches take the generic macro of its array.

    Attributes:
        citation: authors, venue and year.
        url: where to find the paper.
        reported: what it reports.
        cycles_per_activation: cycles of one multiply-accumulate; left out: those of the array.
        transfers_per_cycle: how often a clock cycle runs through all blocks, which then cost and take as much more.
        energy_comparable: whether the reported energy is of known switching and the same operands; else it stays out of
            means.
        blocks: name -> blocks of one kind.
        notes: what a reader of the comparison should know, one sentence each.
    """

    citation: Name
    url: Name
    reported: Reported
    cycles_per_activation: Positive | None = None
    transfers_per_cycle: Count = 1
    energy_comparable: bool = True
    blocks: dict[str, Block]
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> ChipFile:
        if not any(block.stage is not None for block in self.blocks.values()):
            raise RuleError("no block has a stage, so that there is no clock", ("blocks",))
        return self


class ChipCosts(Spec):
    """Costs of a chip by component; energies in fJ per multiply-accumulate."""

    energy_per_mac_fj: dict[str, float]
    area_mm2: dict[str, float]
    stage_ns: dict[str, float]
    clock_ns: float
    tops: float
    tops_per_watt: float
    tops_per_mm2: float


def chip_costs(
    chip: ChipFile,
    technology: Technology,
    *,
    columns: int,
    rows: int,
    banks: int,
    cycles_per_activation: float,
    input_toggle_rate: float,
    weight_density: float,
) -> ChipCosts:
    """Add up a chip's blocks: energy of a cycle, area of all banks, delay of the slowest pipeline stage.

    Raises:
        InputError: a converter's resolution is outside of what its fits cover, or the blocks cost nothing.
    """
    constants, node_nm = technology.kernel, technology.node_nm
    low, high = technology.adc_bits_range
    for name, block in chip.blocks.items():
        if block.kind == "adc" and not low <= (block.bits or 0) <= high:
            raise InputError(
                f"bits of the block {name} must be between {low:g} and {high:g}, where the fits of the converters of "
                f"{technology.name} hold, not {block.bits:g}"
            )
    places = {"bank": 1.0, "column": columns, "row": rows, "position": columns * rows}
    shares = {"inputs": input_toggle_rate, "weights": weight_density}
    cycles = chip.cycles_per_activation or cycles_per_activation
    macs = float(columns) * rows * banks
    energy = dict.fromkeys(COMPONENTS, 0.0)
    area = dict.fromkeys(COMPONENTS, 0.0)
    stages: dict[int, float] = {}
    for block in chip.blocks.values():
        each = banks * places[block.per]
        share = 1.0
        for what in block.switching:
            share *= shares[what]
        active = block.count if block.active is None else block.active
        costs = block.costs(constants, node_nm)
        cycle_pj = costs.energy_pj * active * each * share * chip.transfers_per_cycle
        energy[block.counts_to] += cycle_pj * cycles / macs * 1000.0
        area[block.counts_to] += costs.area_mm2 * block.count * each
        if block.stage is not None:
            stages[block.stage] = stages.get(block.stage, 0.0) + costs.delay_ns * chip.transfers_per_cycle
    clock_ns = max(stages.values())
    total_fj, total_mm2 = sum(energy.values()), sum(area.values())
    for spent, total in (("energy", total_fj), ("area", total_mm2), ("time", clock_ns)):
        if total <= 0:
            raise InputError(f"the blocks of the chip of {chip.citation} take no {spent}")
    tops = 2.0 * macs / (clock_ns * cycles) / 1000.0
    return ChipCosts(
        energy_per_mac_fj=_with_total(energy, total_fj),
        area_mm2=_with_total(area, total_mm2),
        stage_ns={str(stage): stages[stage] for stage in sorted(stages)},
        clock_ns=clock_ns,
        tops=tops,
        tops_per_watt=2000.0 / total_fj,
        tops_per_mm2=tops / total_mm2,
    )


def _with_total(parts: Mapping[Any, float], total: float) -> dict[str, float]:
    return {name: value for name, value in parts.items() if value} | {"total": total}
