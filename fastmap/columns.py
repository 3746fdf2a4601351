"""What is known of rows of mappings beyond what is stored: columns that are worked out when they are asked for.

Columns of three kinds: *stored*, *looked up* (from the spatial index, or constant for a layer), and *replayed* (the
mapping is rebuilt in the kernels, about 1 us a row).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from fastmap import text
from fastmap._spec import closest, listed, shown
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import InputError
from fastmap.evaluation import architecture_area_mm2, array_clock_ns
from fastmap.expression import BEST_OF, Labels
from fastmap.kernels.exhaustive import N_CYCLES, REPLAYED, replay_rows
from fastmap.kernels.problem import MAX_LEVELS, SCRATCH, UNROLLING
from fastmap.lowering import new_record
from fastmap.mapspace import Mapspace

#: What identifies a row, and what it always holds.
IDENTITY = ("spatial_index", "order_rank", "allocation_code")
COSTS = ("energy_pj", "latency_cycles")
#: How many mappings, of equal cost by construction, a row stands for.
WEIGHT = "mappings"
CYCLES = ("compute_cycles", "stall_cycles", "onload_cycles", "offload_cycles")
PRODUCTS = ("latency_ns", "edp_pj_ns", "energy_pj_mm2", "latency_ns_mm2", "edp_pj_ns_mm2")
LOOKED_UP = ("utilization", "clock_ns", "area_mm2")
ENDS = ("innermost", "outermost")
WORDS = ("spatial", "dataflow", "stationary", *ENDS)

#: Name of every set of operands, by bits.
SETS = tuple("".join(o for i, o in enumerate(OPERANDS) if bits >> i & 1) or "none" for bits in range(8))


class Columns:
    """The columns that mappings of one space have.

    Args:
        best: least value of some of ``BEST_OF``, for ``best_energy_pj`` and so on.
        words: columns that have the same word in all rows.
    """

    def __init__(
        self, space: Mapspace, best: dict[str, float] | None = None, words: dict[str, str] | None = None
    ) -> None:
        self.space = space
        self.best = best or {}
        self.words = words or {}

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of all columns of numbers that may be stored, the most useful first."""
        return (*COSTS, *PRODUCTS, "utilization", *CYCLES, "mac_pj", "memory_pj", *self._parts)

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns."""
        best = [f"best_{name}" for name in BEST_OF]
        words = (*self.words, *WORDS)
        return [*self.numbers, *words, *IDENTITY, WEIGHT, "clock_ns", "area_mm2", *self.factors, *self.loops, *best]

    @cached_property
    def short_names(self) -> list[str]:
        """The same for a sentence, the many that follow a pattern as one."""
        hidden = {*self.loops}
        pattern = [f"{{memory}}.{{operand}}.{{loop}}, such as {next(iter(self.loops))}"]
        return [name for name in self.names if name not in hidden] + pattern

    def known(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._known

    def is_replayed(self, name: str) -> bool:
        """Whether the mappings must be rebuilt for it, which takes about 1 us a row."""
        return name in (*CYCLES, "mac_pj", "memory_pj", *self._parts, *self.loops, *ENDS, "stationary")

    def block(self, stored: Mapping[str, Any]) -> Block:
        """Some rows, by their stored columns; at least those of ``IDENTITY``."""
        return Block(self, stored)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _levels(self) -> dict[str, tuple[int, int]]:
        """``{memory}.{operand}`` -> (operand, level)."""
        architecture = self.space.architecture
        return {
            f"{architecture.memories[memory].name}.{operand}": (o, level)
            for o, operand in enumerate(OPERANDS)
            for level, memory in enumerate(architecture.chain(operand))
        }

    @cached_property
    def _parts(self) -> dict[str, list[int]]:
        """Names of parts of the energy -> columns of the replayed costs that add up to them."""
        parts = {}
        for o, operand in enumerate(OPERANDS):
            own = [N_CYCLES + o * MAX_LEVELS + level for each, level in self._levels.values() if each == o]
            parts[f"{operand}.energy_pj"] = own
        for memory in self.space.architecture.memories:
            held = [self._levels[f"{memory.name}.{operand}"] for operand in memory.operands]
            columns = [N_CYCLES + o * MAX_LEVELS + level for o, level in held]
            parts[f"{memory.name}.energy_pj"] = columns
            if len(columns) > 1:
                for operand, column in zip(memory.operands, columns, strict=True):
                    parts[f"{memory.name}.{operand}.energy_pj"] = [column]
        return parts

    @cached_property
    def loops(self) -> dict[str, tuple[int, int, int]]:
        """``{memory}.{operand}.{loop dimension}`` -> (operand, level, loop dimension)."""
        return {
            f"{place}.{dim}": (o, level, d)
            for place, (o, level) in self._levels.items()
            for d, dim in enumerate(LOOP_DIMENSIONS)
            if self.space.layer.size(dim) > 1
        }

    @cached_property
    def factors(self) -> dict[str, Any]:
        """``{array dimension}.{loop dimension}`` -> the factor of each spatial mapping, int64[S]."""
        space = self.space
        names = list(space.architecture.array.dimensions)
        factors: dict[str, Any] = {}
        for loop, (a, d) in enumerate(zip(space.array_dim, space.loop_dim, strict=True)):
            factors[f"{names[int(a)]}.{LOOP_DIMENSIONS[int(d)]}"] = np.maximum(space.candidates[:, loop], 1)
        return factors

    @cached_property
    def utilization(self) -> Any:
        """Share of the array's operations that are used, of each spatial mapping: float64[S]; see ``evaluate``."""
        space = self.space
        units = float(np.prod(list(space.architecture.array.dimensions.values()), dtype=float))
        per_operation = float(space.problem["cycles_per_operation"])
        ideal = math.ceil(math.ceil(space.layer.macs / units) * per_operation)
        return ideal / (np.prod(space.remaining, axis=1, dtype=float) * per_operation)

    @cached_property
    def spatial_words(self) -> tuple[str, ...]:
        """Every spatial mapping for people."""
        return tuple(text.spatial(self.space.spatial(index)) for index in range(len(self.space.candidates)))

    @cached_property
    def dataflow_words(self) -> tuple[str, ...]:
        """Which loop dimensions every spatial mapping unrolls where."""
        found = []
        for index in range(len(self.space.candidates)):
            unrolling = self.space.spatial(index).unrolling
            parts = [f"{name}: {' '.join(factors)}" for name, factors in unrolling.items() if factors]
            found.append(", ".join(parts) or "none")
        return tuple(found)

    @cached_property
    def clock_ns(self) -> float:
        """Clock period of the array."""
        return array_clock_ns(self.space.architecture)

    @cached_property
    def area_mm2(self) -> float:
        """Area of the architecture."""
        return architecture_area_mm2(self.space.architecture).total

    def replay(self, identity: list[Any], asked: list[tuple[int, int, int]], costs: bool) -> tuple[Any, Any, Any]:
        """Rebuild mappings; see ``kernels.exhaustive.replay_rows``."""
        space, rows = self.space, len(identity[0])
        loops = np.empty((rows, 3), np.int8)
        iterations = np.empty((rows, len(asked)), np.int64)
        found = np.empty((rows if costs else 0, REPLAYED))
        replay_rows(
            space.problem,
            space.rules,
            new_record(UNROLLING),
            new_record(SCRATCH),
            space.array_dim,
            space.loop_dim,
            space.candidates,
            *(np.ascontiguousarray(part, np.int64) for part in identity),
            np.array(asked, np.int64).reshape(-1, 3),
            loops,
            iterations,
            found,
        )
        return loops, iterations, found


class Block:
    """Some rows, and every column of them."""

    def __init__(self, columns: Columns, stored: Mapping[str, Any]) -> None:
        self.columns = columns
        self.stored = stored
        self._loops: Any = None
        self._costs: Any = None

    def __len__(self) -> int:
        return len(self.stored[IDENTITY[0]])

    def rows(self, chosen: Any) -> Block:
        """Some of the rows."""
        if isinstance(self.stored, Lazy):
            return Block(self.columns, self.stored.rows(chosen))
        return Block(self.columns, {name: values[chosen] for name, values in self.stored.items()})

    def __call__(self, name: str) -> Any:
        """A column: an array, ``Labels``, or a number that holds for all rows."""
        if name in self.stored:
            return self.stored[name]
        columns = self.columns
        if name in PRODUCTS:
            return self._product(name)
        if name == "clock_ns":
            return columns.clock_ns
        if name == "area_mm2":
            return columns.area_mm2
        if name.startswith("best_"):
            of = name.removeprefix("best_")
            if of not in columns.best:
                raise InputError(f"the best {of} is not known here; write a number")
            return columns.best[of]
        if name in columns.words:
            return Labels(np.zeros(len(self), np.int8), (columns.words[name],))
        if name == "dataflow":
            return self._dataflow()
        if name == "utilization":
            return columns.utilization[self.stored["spatial_index"]]
        if name == "spatial":
            return Labels(self.stored["spatial_index"], columns.spatial_words)
        if name in columns.factors:
            return columns.factors[name][self.stored["spatial_index"]]
        if name in (*ENDS, "stationary"):
            return self._word(name)
        if name in columns.loops:
            return columns.replay(self._identity, [columns.loops[name]], False)[1][:, 0]
        costs = self._replayed()
        if name in CYCLES:
            return costs[:, CYCLES.index(name)]
        if name in columns._parts:
            return costs[:, columns._parts[name]].sum(axis=1)
        memory = costs[:, N_CYCLES:].sum(axis=1)
        return memory if name == "memory_pj" else self("energy_pj") - memory

    def _dataflow(self) -> Labels:
        words, codes = np.unique(np.array(self.columns.dataflow_words, dtype=str), return_inverse=True)
        return Labels(codes[self.stored["spatial_index"]], tuple(words.tolist()))

    @property
    def _identity(self) -> list[Any]:
        return [self.stored[name] for name in IDENTITY]

    def _product(self, name: str) -> Any:
        """Products of the two costs, of the clock and of the area, in the order in which ``evaluate`` multiplies."""
        base = name.removesuffix("_mm2")
        if base == "energy_pj":
            value = self("energy_pj")
        else:
            value = self("latency_cycles") * self.columns.clock_ns
            if base == "edp_pj_ns":
                value = self("energy_pj") * value
        return value * self.columns.area_mm2 if name.endswith("_mm2") else value

    def _word(self, name: str) -> Labels:
        if self._loops is None:
            self._loops = self.columns.replay(self._identity, [], False)[0]
        if name == "stationary":
            return Labels(self._loops[:, 2], SETS)
        words = (*LOOP_DIMENSIONS, "none")
        return Labels(self._loops[:, ENDS.index(name)] % len(words), words)  # -1 becomes the last

    def _replayed(self) -> Any:
        if self._costs is None:
            costs = self.columns.replay(self._identity, [], True)[2]
            levels = self.columns._levels.values()
            unused = set(range(N_CYCLES, REPLAYED)) - {N_CYCLES + o * MAX_LEVELS + level for o, level in levels}
            costs[:, sorted(unused)] = 0.0  # the kernel leaves them as they are
            self._costs = costs
        return self._costs


class Lazy(Mapping[str, Any]):
    """Stored columns that are read when they are asked for.

    Args:
        length: rows there are.
        names: of the columns.
        read: returns a whole column.
        chosen: which of its rows are meant; None for all.
    """

    def __init__(self, length: int, names: tuple[str, ...], read: Callable[[str], Any], chosen: Any = None) -> None:
        self.length, self.names, self.read, self.chosen = length, names, read, chosen
        self._known: dict[str, Any] = {}

    def rows(self, chosen: Any) -> Lazy:
        """The same of some of the rows."""
        numbers = np.arange(self.length) if self.chosen is None else self.chosen
        return Lazy(self.length, self.names, self._whole, numbers[chosen])

    def _whole(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self.read(name)
        return self._known[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        whole = self._whole(name)
        return whole if self.chosen is None else whole[self.chosen]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def narrowest(largest: int) -> str:
    """The narrowest unsigned integer type that holds 0..largest."""
    return np.dtype(np.min_scalar_type(largest)).name


def identity_types(space: Mapspace) -> dict[str, str]:
    """Types of the columns that identify a mapping of a space, as wide as its largest numbers need."""
    codes = 0
    lower_levels = int(sum(int(levels) - 1 for levels in space.problem["levels"]))
    for loops in set(space.loops.tolist()):
        codes = max(codes, (loops + 1) ** lower_levels)
    return {
        "spatial_index": narrowest(len(space.candidates)),
        "order_rank": narrowest(max(space.orders)),
        "allocation_code": narrowest(codes),
    }


def check_columns(columns: Columns, asked: Iterable[str]) -> tuple[str, ...]:
    """Columns of numbers to store, without repetition and without those that are stored anyway.

    Raises:
        InputError: there is no such column, or it cannot be stored.
    """
    chosen = dict.fromkeys(asked)
    for name in chosen:
        if name not in columns.numbers:
            raise InputError(
                f"there is no column {shown(name)} to store{closest(name, columns.numbers)} "
                f"(columns: {listed(columns.numbers)})"
            )
    return tuple(name for name in chosen if name not in COSTS)
