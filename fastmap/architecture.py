"""An accelerator: one in-memory-computing array (or plain MAC array) and the memories around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from fastmap._spec import (
    Bits,
    Cost,
    Count,
    Name,
    Positive,
    RuleError,
    Share,
    Spec,
    closest,
    label,
    listed,
    must,
    shown,
    whole,
)
from fastmap.dimensions import DIRECTIONS, OPERANDS, READING
from fastmap.errors import InputError
from fastmap.macro import unfit_option
from fastmap.technology import DEFAULT, SAME_DELAYS, Technology, load_technology

Operand = Literal["W", "I", "O"]
Direction = Literal["rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high"]
Transfer = tuple[Operand, Direction]


class Port(Spec):
    """A port of a memory: the transfers that share it, and how many bits it moves in one cycle."""

    name: Name
    kind: Literal["read", "write", "read_write"]
    #: Smallest word that can be moved; a smaller transfer pays for a whole word.
    bandwidth_min_bits: Count
    #: Bits moved in one cycle at full width; access energies are quoted for this width.
    bandwidth_max_bits: Count
    transfers: tuple[Transfer, ...]

    @model_validator(mode="after")
    def _check(self) -> Port:
        if self.bandwidth_min_bits > self.bandwidth_max_bits:
            raise RuleError(
                f"the smallest bandwidth ({self.bandwidth_min_bits} bits) is larger than the largest "
                f"({self.bandwidth_max_bits} bits)",
                ("bandwidth_min_bits",),
            )
        if not self.transfers:
            raise RuleError("a port must carry at least one transfer", ("transfers",))
        for operand, direction in self.transfers:
            reads = direction in READING
            if self.kind != "read_write" and reads != (self.kind == "read"):
                raise RuleError(
                    f"a {self.kind} port cannot carry {operand} {direction}, which {'reads' if reads else 'writes'} "
                    "the memory",
                    ("transfers",),
                )
        if len(set(self.transfers)) < len(self.transfers):
            raise RuleError("names a transfer twice", ("transfers",))
        return self


class Memory(Spec):
    """One memory instance; an array dimension that it does not serve repeats it."""

    name: Name
    size_bits: Count
    #: Energy of one access of the largest bandwidth.
    read_energy_pj: Cost
    write_energy_pj: Cost
    area_mm2: Cost = 0.0
    #: Static power, told apart from the energy of accesses.
    leakage_mw: Cost = 0.0
    #: Who says what it costs, where that is a source of memory costs.
    costs_from: str = ""
    operands: tuple[Operand, ...]
    ports: tuple[Port, ...]
    #: Array dimensions whose units share this instance.
    serves: tuple[str, ...] = ()
    #: Half of the capacity is kept free for the next tile.
    double_buffered: bool = False

    @model_validator(mode="after")
    def _check(self) -> Memory:
        if not self.operands:
            raise RuleError(f"stores nothing: must list at least one of {listed(OPERANDS)}", ("operands",))
        for key, values in (("operands", self.operands), ("serves", self.serves)):
            if len(set(values)) < len(values):
                raise RuleError(f"names {shown(_repeated(values))} twice", (key,))
        names = [port.name for port in self.ports]
        if len(set(names)) < len(names):
            raise RuleError(f"two ports have the name {shown(_repeated(names))}", ("ports",))
        owner: dict[Transfer, str] = {}
        for port in self.ports:
            for transfer in port.transfers:
                if transfer[0] not in self.operands:
                    raise RuleError(
                        f"port {shown(port.name)} carries {transfer[0]}, which the memory does not store "
                        f"(it stores {listed(self.operands)})",
                        ("ports",),
                    )
                if transfer in owner:
                    raise RuleError(
                        f"{' '.join(transfer)} is on two ports, {shown(owner[transfer])} and {shown(port.name)}; "
                        "a transfer uses one port",
                        ("ports",),
                    )
                owner[transfer] = port.name
        return self

    def port(self, operand: str, direction: str) -> int | None:
        """Return the position of the port that carries a transfer, or None."""
        for index, port in enumerate(self.ports):
            if (operand, direction) in port.transfers:
                return index
        return None


def _dimensions(value: object) -> dict[str, int]:
    """Check the array dimensions and sort them by name, which decides their role."""
    if not isinstance(value, Mapping) or not value:
        raise must("a mapping of array dimensions to sizes", value)
    sizes = {}
    for name, size in value.items():
        try:
            sizes[label(name)] = whole(size, 1, 2**20)
        except ValueError as error:
            raise RuleError(str(error), (name if isinstance(name, str | int) else shown(name),)) from None
    return dict(sorted(sizes.items()))


class Array(Spec):
    """The computing array; its dimensions, sorted by name, are word lines (columns), bit lines (rows) and banks."""

    kind: Literal["analog", "digital", "mac"]
    dimensions: Annotated[dict[str, int], BeforeValidator(_dimensions)]
    activation_bits: Bits = 8
    weight_bits: Bits = 8
    #: Bits of an activation that enter the array in one cycle; left out: all of them.
    bits_per_cycle: Bits = 8
    adc_bits: Positive | None = None
    #: Share of input bits that switch in a cycle, and of weight bits that are not zero; energies go with them.
    input_toggle_rate: Share = 1.0
    weight_density: Share = 1.0
    #: The two bits that enter a row of a digital array per cycle are one radix-4 Booth digit.
    booth_encoding: bool = False
    #: Components after which pipeline registers stand, so that the clock is the slowest stage's.
    pipeline_after: tuple[Literal["mults", "adcs", "adders_regular", "adders_pv"], ...] = ()
    #: Whose variant of the macro model: that of ZigZag 3.9.1, of zigzag-imc, or of the paper (ICCAD 2023).
    macro_model: Literal["zigzag", "zigzag-imc", "paper"] = "zigzag"
    #: Energy of one multiply-accumulate and area of one unit, of a plain MAC array.
    unit_energy_pj: Cost = 0.0
    unit_area_mm2: Cost = 0.0

    @model_validator(mode="before")
    @classmethod
    def _all_bits(cls, data: Any) -> Any:
        """Let whole activations enter at once where nothing else is said."""
        if isinstance(data, Mapping) and data.get("bits_per_cycle") is None:
            return {**data, "bits_per_cycle": data.get("activation_bits", 8)}
        return data

    @model_validator(mode="after")
    def _check(self) -> Array:
        if self.activation_bits % self.bits_per_cycle:
            raise RuleError(
                f"must divide activation_bits ({self.activation_bits}), which {self.bits_per_cycle} does not",
                ("bits_per_cycle",),
            )
        if self.kind != "mac" and len(self.dimensions) < 2:
            raise RuleError(
                "an in-memory-computing array has at least two dimensions, word lines (columns) first and bit lines "
                f"(rows) second by name, not only {listed(self.dimensions)}",
                ("dimensions",),
            )
        if self.kind == "analog" and self.adc_bits is None:
            raise RuleError("an analog array needs adc_bits, the resolution of its converters")
        if self.kind != "analog" and self.adc_bits is not None:
            raise RuleError(f"a {self.kind} array has no converters", ("adc_bits",))
        if self.kind == "mac" and (self.input_toggle_rate, self.weight_density) != (1.0, 1.0):
            raise RuleError("a plain MAC array has one energy whatever switches", ("input_toggle_rate",))
        if self.kind == "mac" and self.macro_model != "zigzag":
            raise RuleError("a plain MAC array has no macro model", ("macro_model",))
        if self.kind == "digital" and (self.rows == 1 or self.rows & (self.rows - 1)):
            raise RuleError(
                f"the rows of a digital array must be a power of two, at least 2, for its adder trees, not {self.rows}",
                ("dimensions", list(self.dimensions)[1]),
            )
        unfit = unfit_option(
            self.kind,
            self.activation_bits,
            self.weight_bits,
            self.bits_per_cycle,
            self.booth_encoding,
            self.pipeline_after,
        )
        if unfit is not None:
            raise RuleError(unfit[1], unfit[:1])
        joined = {"analog": "weight_bits", "digital": "bits_per_cycle"}.get(self.kind)  # by place-value adders
        if joined is not None and (bits := getattr(self, joined)) & (bits - 1):
            raise RuleError(
                f"must be a power of two in {'an analog' if self.kind == 'analog' else 'a digital'} array, whose "
                f"place-value adders are binary, not {bits}",
                (joined,),
            )
        if math.prod(self.dimensions.values()) > 2**31:
            raise RuleError("the array has more than 2**31 units", ("dimensions",))
        return self

    @property
    def columns(self) -> int:
        """Size of the word-line dimension."""
        return next(iter(self.dimensions.values()))

    @property
    def rows(self) -> int:
        """Size of the bit-line dimension."""
        return [*self.dimensions.values(), 1][1]

    @property
    def banks(self) -> int:
        """Product of the sizes of all further dimensions."""
        return math.prod(list(self.dimensions.values())[2:])

    @property
    def cycles_per_operation(self) -> int:
        """Cycles that an activation needs to enter the array."""
        return 1 if self.kind == "mac" else self.activation_bits // self.bits_per_cycle


class Architecture(Spec):
    """An array and its memories, innermost first."""

    name: Name = "architecture"
    array: Array
    memories: tuple[Memory, ...]
    #: Left out: 28 nm at 0.9 V.
    technology: Technology | None = None
    #: Remarks of the reader that a user should see.
    remarks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Architecture:
        names = [memory.name for memory in self.memories]
        if len(set(names)) < len(names):
            raise RuleError(f"two memories have the name {shown(_repeated(names))}", ("memories",))
        for memory in self.memories:
            for name in memory.serves:
                if name not in self.array.dimensions:
                    raise RuleError(
                        f"there is no array dimension {shown(name)} (the array has {listed(self.array.dimensions)})",
                        ("memories", memory.name, "serves"),
                    )
        for operand in OPERANDS:
            if not self.chain(operand):
                raise RuleError(f"no memory stores {operand}", ("memories",))
        self._check_order()
        self._check_ports()
        if self.array.kind != "mac":
            self._check_cells()
        elif self.technology is not None:
            raise RuleError("a plain MAC array has costs of its own, to which no technology applies", ("technology",))
        return self

    def _check_order(self) -> None:
        problem = reversed_memories([(memory.name, memory.size_bits, memory.operands) for memory in self.memories])
        if problem is not None:
            raise RuleError(problem[1], ("memories", problem[0]))

    def _check_ports(self) -> None:
        for operand in OPERANDS:
            for memory, direction in self.needed_transfers(operand):
                if memory.port(operand, direction) is None:
                    raise RuleError(f"no port carries {operand} {direction}", ("memories", memory.name, "ports"))

    def _check_cells(self) -> None:
        cells = self.cells
        if cells.operands != ("W",):
            raise RuleError(
                "the innermost memory of W holds the weights inside the array and cannot store "
                f"{listed(cells.operands)}; give the array a memory of weight cells of its own",
                ("memories", cells.name, "operands"),
            )
        if cells.size_bits < self.array.weight_bits:
            raise RuleError(
                f"must hold at least one weight of {self.array.weight_bits} bits, not {cells.size_bits}",
                ("memories", cells.name, "size_bits"),
            )

    def chain(self, operand: str) -> tuple[int, ...]:
        """Return the positions of the memories that store an operand, innermost first."""
        return tuple(index for index, memory in enumerate(self.memories) if operand in memory.operands)

    def memory(self, name: str) -> Memory:
        """Return a memory by name."""
        names = [memory.name for memory in self.memories]
        if name not in names:
            raise InputError(
                f"{self.name} has no memory {shown(name)}{closest(name, names)} (its memories: {listed(names)})"
            )
        return self.memories[names.index(name)]

    def needed_transfers(self, operand: str) -> list[tuple[Memory, str]]:
        """Return the transfers that an operand needs at each memory of its chain."""
        chain = [self.memories[index] for index in self.chain(operand)]
        return [(memory, name) for memory in chain for name in transfers_of(operand, memory is chain[-1])]

    @property
    def cells(self) -> Memory:
        """The innermost weight memory: of an in-memory-computing array, the weights of one multiplier."""
        return self.memories[self.chain("W")[0]]

    @property
    def cell_group_depth(self) -> int:
        """How many weights stand behind one multiplier."""
        return 1 if self.array.kind == "mac" else max(1, self.cells.size_bits // self.array.weight_bits)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is legal but seldom meant, one sentence each."""
        found = list(self.remarks)
        for index, memory in enumerate(self.memories):
            chains = [self.chain(operand) for operand in memory.operands]
            inner = [chain for chain in chains if chain[0] == index and len(chain) > 1]
            missed = {
                name: size for name, size in self.array.dimensions.items() if name not in memory.serves and size > 1
            }
            if missed and len(inner) < len(chains):
                found.append(
                    f"memory {shown(memory.name)} does not serve {listed(missed)} and is therefore repeated "
                    f"{math.prod(missed.values())} times"
                )
            for chain in chains:
                above = [self.memories[other] for other in chain if other > index]
                if above and above[0].size_bits < memory.size_bits:
                    sentence = f"memory {shown(above[0].name)} is smaller than {shown(memory.name)} below it"
                    if sentence not in found:
                        found.append(sentence)
        if self.array.kind != "mac" and self.cells.serves:
            found.append(
                f"the weight cells {shown(self.cells.name)} serve {listed(self.cells.serves)}, so several multipliers "
                "share one cell"
            )
        if self.technology is not None and SAME_DELAYS in self.technology.remarks:
            found.append(SAME_DELAYS)
        if self.array.adc_bits is not None:
            low, high = (self.technology or load_technology(DEFAULT)).adc_bits_range
            if not low <= self.array.adc_bits <= high:
                found.append(
                    f"the fits of the converters hold for {low:g} to {high:g} bits, and adc_bits is "
                    f"{self.array.adc_bits:g}: energy, area and clock are extrapolated"
                )
        if self.array.kind != "mac" and len(self.chain("W")) == 1:
            found.append(
                f"only the cells store W: layers with more weights than {shown(self.cells.name)} hold do not fit"
            )
        return tuple(found)


def reversed_memories(memories: Sequence[tuple[str, int, Sequence[str]]]) -> tuple[str, str] | None:
    """Return which of the memories (name, bits, operands) stands on the wrong side of a smaller one, and a sentence."""
    for operand in OPERANDS:
        chain = [(name, bits) for name, bits, operands in memories if operand in operands]
        if chain and chain[0][1] > chain[-1][1]:
            (low, low_bits), (top, top_bits) = chain[0], chain[-1]
            return low, (
                f"list memories innermost first: {shown(low)} ({low_bits} bits) stands before {shown(top)} "
                f"({top_bits} bits), and both store {operand}"
            )
    return None


def transfers_of(operand: str, top: bool) -> tuple[str, ...]:
    """Return the directions in which an operand crosses a memory; the topmost has nothing above it."""
    low, low_write, _, high_write = DIRECTIONS
    if operand == "O":
        return (low, low_write) if top else DIRECTIONS
    return (low,) if top else (low, high_write)


def _repeated(values: Iterable[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""
