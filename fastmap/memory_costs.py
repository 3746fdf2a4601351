"""What an access to a memory costs: tables of SRAM, CACTI where it runs, and presets of DRAM.

A source is the name of a table or preset of the zoo (`fastmap zoo`), `cacti` (the package hwcomponents-cacti), or a CSV
file, such as a memory compiler gives, with the columns of `COLUMNS`. Between the entries of a table costs are
interpolated (each quantity as a power of rows and of width); outside of them they are refused, never extrapolated.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastmap import zoo
from fastmap._spec import Cost, Name, Spec, closest, listed, shown
from fastmap.errors import InputError
from fastmap.readers.source import parse_document, read_text

__all__ = ["COLUMNS", "DEFAULT_SRAM", "MemoryCost", "SramCost", "memory_cost", "sram_cost"]

#: The table of SRAM where no source is named.
DEFAULT_SRAM = "cacti_28nm"
#: Columns of a table -> whether every row must give them.
COLUMNS = {
    "rows": True,
    "width_bits": True,
    "read_energy_pj": True,
    "write_energy_pj": True,
    "area_mm2": True,
    "access_ns": False,
    "leakage_mw": False,
}
_QUANTITIES = tuple(COLUMNS)[2:]
#: Words beyond the widest of this table are made of several memories side by side, as its authors make them: (widest
#: word of one, widest that they used).
_SIDE_BY_SIDE = {"cacti_28nm": (32, 8192)}
#: Feature size that the source `cacti` is asked for.
CACTI_NODE_NM = 28.0
#: What CACTI models; below, the package hwcomponents-cacti guesses from larger memories.
CACTI_LEAST_ROWS, CACTI_LEAST_BITS = 64, 32


@dataclass(frozen=True)
class MemoryCost:
    """Costs of a memory; what its source does not tell is None.

    Attributes:
        source: name of the table, preset or tool.
        read_energy_pj: energy of reading one word of full width.
        write_energy_pj: energy of writing one.
        area_mm2: area of the memory.
        access_ns: time of one access.
        leakage_mw: static power, or that of standby.
        provenance: where the numbers come from.
        interpolated: between entries of a table, not one of them.
    """

    source: str
    read_energy_pj: float
    write_energy_pj: float
    area_mm2: float | None
    access_ns: float | None
    leakage_mw: float | None
    provenance: str
    interpolated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dictionary, fit for JSON."""
        return asdict(self)


class SramCost(NamedTuple):
    """Costs of an SRAM on the chip: of a word of full width, and its area."""

    read_energy_pj: float
    write_energy_pj: float
    area_mm2: float


class DramFile(Spec):
    """A preset of DRAM: energy for each bit moved, whatever the width."""

    name: Name
    read_energy_pj_per_bit: Cost
    write_energy_pj_per_bit: Cost
    standby_mw: Cost | None = None
    source: str


class Entry(NamedTuple):
    """One memory of a table, its quantities in the order of `COLUMNS`."""

    rows: int
    width_bits: int
    quantities: tuple[float | None, ...]


class Table(NamedTuple):
    """A table of memories, and what its head says of their origin."""

    entries: tuple[Entry, ...]
    provenance: str


def memory_cost(source: str | Path, size_bits: int, width_bits: int) -> MemoryCost:
    """Return the costs of a memory of `size_bits` with words of `width_bits`.

    Raises:
        InputError: there is no such source, it does not run here, or the memory is outside of what it covers.
    """
    if not (isinstance(size_bits, int) and isinstance(width_bits, int) and size_bits > 0 and width_bits > 0):
        raise InputError(f"a memory needs a positive number of bits and width, not {size_bits!r} and {width_bits!r}")
    text = str(source)
    names = zoo.names("memory")
    if text in names and zoo.path("memory", text).name.endswith(".yaml"):
        return _dram(text, width_bits)
    if size_bits % width_bits:
        raise InputError(f"a memory of {size_bits} bits has no whole number of words of {width_bits} bits")
    rows = size_bits // width_bits
    if text == "cacti":
        return _cacti(rows, width_bits)
    if text in names:
        return _from_table(_shipped(text), text, rows, width_bits)
    if not text.lower().endswith(".csv"):
        known = (*names, "cacti")
        raise InputError(
            f"there is no source of memory costs {shown(text)}{closest(text, known)} (known: {listed(known)}; "
            "or a CSV file)"
        )
    return _from_table(_parse(read_text(source), shown(text, 300)), text, rows, width_bits)


def sram_cost(source: str | Path, what: str, size_bits: int, width_bits: int) -> SramCost:
    """Return the costs of a memory whose area counts; complaints call it `what`.

    Raises:
        InputError: as :func:`memory_cost`, or the source does not tell the area.
    """
    try:
        found = memory_cost(source, size_bits, width_bits)
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    if found.area_mm2 is None:
        raise InputError(f"{what}: {source} does not tell the area of a memory")
    return SramCost(found.read_energy_pj, found.write_energy_pj, found.area_mm2)


def _dram(name: str, width_bits: int) -> MemoryCost:
    document = parse_document(zoo.text("memory", name), f"{name}.yaml (zoo)")
    preset = document.parse(DramFile, document.data)
    return MemoryCost(
        name,
        preset.read_energy_pj_per_bit * width_bits,
        preset.write_energy_pj_per_bit * width_bits,
        None,
        None,
        preset.standby_mw,
        preset.source,
    )


@cache
def _shipped(name: str) -> Table:
    return _parse(zoo.text("memory", name), f"{name}.csv (zoo)")


def _parse(text: str, file: str) -> Table:
    """Read a CSV file; lines at its head that begin with # say where the numbers come from."""
    lines = text.splitlines()
    head = list(itertools.takewhile(lambda line: line.startswith("#") or not line.strip(), lines))
    reader = csv.DictReader(io.StringIO("\n".join(lines[len(head) :])), strict=True)
    entries: dict[tuple[int, int], Entry] = {}
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        for name in columns:
            if name not in COLUMNS:
                raise InputError(
                    f"{file}: unknown column {shown(name)}{closest(name, COLUMNS)} (known: {listed(COLUMNS)})"
                )
        for name, needed in COLUMNS.items():
            if needed and name not in columns:
                raise InputError(f"{file}: the column {name} is missing")
        for row in reader:
            line = len(head) + reader.line_num
            entry = _entry(row, f"{file}, line {line}")
            if entry[:2] in entries:
                raise InputError(f"{file}, line {line}: {entry.rows} rows of {entry.width_bits} bits stand there twice")
            entries[entry[:2]] = entry
    except csv.Error as error:
        raise InputError(f"{file}, line {len(head) + reader.line_num}: is not CSV: {error}") from None
    if not entries:
        raise InputError(f"{file}: has no entries")
    told = " ".join(line.lstrip("# ").strip() for line in head if line.strip("# "))
    return Table(tuple(entries[key] for key in sorted(entries)), told or f"{file}, which does not say where from")


def _entry(row: dict[str | None, Any], where: str) -> Entry:
    if None in row or None in row.values():
        raise InputError(f"{where}: has another number of columns than the first line")
    values: dict[str, float | None] = {}
    for name in COLUMNS:
        text = row.get(name, "").strip()
        if not text and not COLUMNS[name]:
            values[name] = None
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        whole = name in ("rows", "width_bits")
        if not 0 < value < 1e15 or (whole and value != int(value)):
            raise InputError(
                f"{where}, {name}: must be a positive {'integer' if whole else 'number'}, not {shown(text)}"
            )
        values[name] = value
    return Entry(int(values["rows"] or 0), int(values["width_bits"] or 0), tuple(values[name] for name in _QUANTITIES))


def _from_table(table: Table, source: str, rows: int, width_bits: int) -> MemoryCost:
    widths = [entry.width_bits for entry in table.entries]
    unit, widest = _SIDE_BY_SIDE.get(source, (max(widths), max(widths)))
    beside = max(1.0, width_bits / unit)
    found = _interpolate(table.entries, rows, min(width_bits, unit)) if width_bits <= widest else None
    if found is None:
        all_rows = [entry.rows for entry in table.entries]
        raise InputError(
            f"{source} covers {min(all_rows)} to {max(all_rows)} rows of {min(widths)} to {widest} bits, but not "
            f"{rows} rows of {width_bits} bits; nothing is extrapolated"
        )
    quantities, interpolated = found
    values = dict(zip(_QUANTITIES, quantities, strict=True))
    for name, value in values.items():
        if name != "access_ns" and value is not None:
            values[name] = value * beside
    read_pj, write_pj = values.pop("read_energy_pj"), values.pop("write_energy_pj")
    assert read_pj is not None  # a table has them in every row
    assert write_pj is not None
    return MemoryCost(source, read_pj, write_pj, provenance=table.provenance, interpolated=interpolated, **values)


def _interpolate(entries: Sequence[Entry], rows: int, width_bits: int) -> tuple[tuple[float | None, ...], bool] | None:
    """Return the quantities of a memory and whether they stand between entries; None outside of them.

    First along the rows for each width, then between the nearest widths that reach that far.
    """
    columns: dict[int, tuple[tuple[float | None, ...], bool]] = {}
    for width, same in itertools.groupby(sorted(entries, key=lambda e: (e.width_bits, e.rows)), lambda e: e.width_bits):
        between = _between([(entry.rows, entry.quantities) for entry in same], rows)
        if between is not None:
            columns[width] = between
    across = _between([(width, quantities) for width, (quantities, _) in columns.items()], width_bits)
    if across is None:
        return None
    return across[0], across[1] or columns[width_bits][1]


def _between(
    points: Sequence[tuple[int, tuple[float | None, ...]]], at: int
) -> tuple[tuple[float | None, ...], bool] | None:
    """Return the quantities at a place, each a power of the place between two points; None outside of them."""
    for place, quantities in points:
        if place == at:
            return quantities, False
    for (low, below), (high, above) in itertools.pairwise(points):
        if low < at < high:
            share = math.log(at / low) / math.log(high / low)
            return tuple(
                None if a is None or b is None else math.exp((1 - share) * math.log(a) + share * math.log(b))
                for a, b in zip(below, above, strict=True)
            ), True
    return None


def _cacti(rows: int, width_bits: int) -> MemoryCost:
    """Ask hwcomponents-cacti, whose numbers are CACTI's own, without the factors of the shipped table."""
    try:
        import hwcomponents_cacti
    except ImportError:
        raise InputError(
            "the source cacti needs hwcomponents-cacti, for Python 3.12 or later: pip install 'fastmap[cacti]'"
        ) from None
    if rows < CACTI_LEAST_ROWS or width_bits < CACTI_LEAST_BITS or width_bits % 8:
        raise InputError(
            f"cacti covers {CACTI_LEAST_ROWS} rows and more of {CACTI_LEAST_BITS} bits and more, in whole bytes, but "
            f"not {rows} rows of {width_bits} bits; nothing is extrapolated"
        )
    _check_runs(Path(hwcomponents_cacti.__file__).parent / "cacti" / "cacti")
    try:
        memory = hwcomponents_cacti.SRAM(
            tech_node=CACTI_NODE_NM * 1e-9, width=width_bits, depth=rows, size=rows * width_bits
        )
    except Exception as error:  # whatever CACTI dislikes, the package raises as a bare Exception
        raise InputError(
            f"CACTI gives nothing for {rows} rows of {width_bits} bits: {_last_line(str(error))}"
        ) from None
    return MemoryCost(
        "cacti",
        memory.read_energy * 1e12,
        memory.write_energy * 1e12,
        memory.cacti_area * 1e6,
        memory.access_time * 1e9,
        memory.cacti_leak_power * 1e3,
        f"CACTI 7 by hwcomponents-cacti (low-power cells, least leakage, 300 K), {CACTI_NODE_NM:g} nm between its "
        "nodes 22 and 32 nm, without further factors",
    )


def _check_runs(program: Path) -> None:
    """Refuse a binary that does not start: that of the package needs a newer C library than some systems have."""
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=30, cwd=program.parent, check=False)
        told = done.stderr if done.returncode == 127 or "not found" in done.stderr else ""
    except subprocess.TimeoutExpired:
        told = ""  # it started
    except OSError as error:
        told = error.strerror or str(error)
    if told:
        missing = re.search(r"version `(\w+[.\d]*)' not found", told)
        reason = f"it needs {missing[1]}" if missing else _last_line(told.splitlines()[0])
        raise InputError(
            f"the CACTI binary of hwcomponents-cacti does not run on this machine ({reason}); build it from the "
            f"sources beside it (make -C {shlex.quote(str(program.parent))} opt), or use the shipped table "
            f"{DEFAULT_SRAM} or a CSV file instead"
        )


def _last_line(text: str) -> str:
    return shown(" ".join(text.split()).split(": ", 1)[-1], 120)
