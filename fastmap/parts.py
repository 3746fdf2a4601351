"""Parts of an enumeration on disk: one HDF5 file for each unit of work that is finished.

A search that can take long, or keeps rows, is cut into *units*, ranges of loop orders, that depend on nothing but the
space. What a unit finds does not depend on when, where and beside what it runs. Therefore a run can be killed at any
moment, and power may fail: a part is written under another name, brought to disk, renamed, and its new name brought to
disk, so that it is there as a whole or not at all; a later run takes over the parts that are there and does the rest.

Layout of a part::

    /               attributes: format, schema_version, search (JSON: what was searched)
    units           numbers of the units
    reductions/     what they add to the best, the front, the histograms and the sample
    rows/           the rows of the unit, one dataset a column: chunks of ``CHUNK`` rows, shuffle and gzip

Compression is the costly part of writing, and h5py would do it under its one lock; so chunks are compressed here, by
the thread that made them, and handed over as they stand in the file.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fastmap.errors import DamagedError, StoreError, reason
from fastmap.keep import DRAW
from fastmap.kernels import reduce as reduce_kernels

PART_FORMAT = "fastmap part"
PART_VERSION = 1
#: Rows of a chunk, the smallest amount that is read or written.
CHUNK = 1 << 16
LEVEL = 1  # of gzip: higher ones take far longer and gain little after the shuffle


def compress(values: Any) -> bytes:
    """A chunk as HDF5's filters shuffle and gzip leave it."""
    of_rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    planes = np.empty(of_rows.shape[::-1], np.uint8)
    for i in range(len(planes)):  # faster than a transpose
        planes[i] = of_rows[:, i]
    return zlib.compress(planes.data, LEVEL)


def decompress(data: bytes, dtype: Any) -> Any:
    """The inverse of ``compress``."""
    planes = np.frombuffer(zlib.decompress(data, bufsize=CHUNK * dtype.itemsize), np.uint8).reshape(dtype.itemsize, -1)
    of_rows = np.zeros(planes.shape[::-1], np.uint8)
    for i in range(len(planes)):
        if planes[i].any():  # those of high digits are often empty
            of_rows[:, i] = planes[i]
    return of_rows.view(dtype)[:, 0]


@dataclass(frozen=True)
class Part:
    """A finished part."""

    path: Path
    units: tuple[int, ...]
    rows: int


class _Output(io.FileIO):
    """A file for HDF5, which cannot close a file that it cannot write: errors wait here to be raised by ``check``."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, or nothing any more once something has gone wrong."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while self.error is None and rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size, as far as the disk has room for it."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0

    def check(self) -> None:
        """Raise the first error there was."""
        if self.error is not None:
            raise self.error


class RowWriter:
    """Writes the rows of one unit. Several threads may each have one."""

    def __init__(self, path: Path, columns: dict[str, str]) -> None:
        self.path = path
        self.count = 0
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._output = _Output(self._temporary, "w+")
        self.file = h5py.File(self._output, "w")
        self._datasets = {
            name: self.file.create_dataset(
                f"rows/{name}",
                (0,),
                dtype,
                maxshape=(None,),
                chunks=(CHUNK,),
                shuffle=True,
                compression="gzip",
                compression_opts=LEVEL,
            )
            for name, dtype in columns.items()
        }
        self._waiting = {name: np.zeros(CHUNK, dtype) for name, dtype in columns.items()}
        self._waiting_rows = 0

    def append(self, columns: dict[str, Any]) -> None:
        """Add rows: one array for each column.

        Raises:
            StoreError: they cannot be written.
        """
        rows = len(next(iter(columns.values())))
        start = 0
        while start < rows:
            taken = min(CHUNK - self._waiting_rows, rows - start)
            for name, chunk in self._waiting.items():
                chunk[self._waiting_rows : self._waiting_rows + taken] = columns[name][start : start + taken]
            self._waiting_rows += taken
            start += taken
            if self._waiting_rows == CHUNK:
                with explained(self.path.parent):
                    self._write()

    def _write(self) -> None:
        """Write the rows that wait."""
        for name, dataset in self._datasets.items():
            data = compress(self._waiting[name])
            dataset.resize((self.count + self._waiting_rows,))
            dataset.id.write_direct_chunk((self.count,), data)
        self._output.check()
        self.count += self._waiting_rows
        self._waiting_rows = 0

    def finish(self) -> None:
        """Write what waits; the file stays open."""
        if self._waiting_rows:
            for chunk in self._waiting.values():
                chunk[self._waiting_rows :] = 0
            self._write()

    def discard(self) -> None:
        """Leave no trace."""
        self.file.close()
        self._output.close()
        self._temporary.unlink(missing_ok=True)

    def publish(self) -> None:
        """Bring the file to disk and give it its name."""
        self.file.close()
        self._output.check()
        os.fsync(self._output.fileno())
        self._output.close()
        os.replace(self._temporary, self.path)
        sync_folder(self.path.parent)


class Journal:
    """The finished parts of one enumeration, in a folder of their own.

    Args:
        search: what is searched and how, as JSON text: parts of anything else are not taken over.
        resume: take over the parts that are there; else they are removed.
        tell: called with a sentence for each part that is damaged, and therefore done again.
    """

    def __init__(self, folder: Path, search: str, resume: bool, tell: Callable[[str], object]) -> None:
        self.folder = folder
        self.search = search
        self.parts: list[Part] = []
        self._lock = threading.Lock()
        with explained(folder):
            make_folder(folder)
            for path in sorted(folder.iterdir()):
                if path.name.endswith(".tmp") or not resume:
                    path.unlink()
            if resume:
                self.parts = [part for path in part_files(folder) if (part := self._taken_over(path, tell))]

    @property
    def units(self) -> frozenset[int]:
        """Units that are finished."""
        return frozenset(unit for part in self.parts for unit in part.units)

    def rows_of(self, unit: int, columns: dict[str, str]) -> RowWriter:
        """A writer for the rows of a unit."""
        with explained(self.folder):
            return RowWriter(self.folder / f"{unit:08d}.h5", columns)

    def add(self, units: Sequence[int], reductions: Any, draws: Any, writer: RowWriter | None) -> Part:
        """Finish a part; on return it is on disk."""
        with explained(self.folder):
            if writer is None:
                writer = self.rows_of(min(units), {})
            try:
                writer.finish()
                file = writer.file
                file.attrs["format"], file.attrs["schema_version"] = PART_FORMAT, PART_VERSION
                file.attrs["search"] = self.search
                file["units"] = np.array(sorted(units), np.int64)
                _write_reductions(file.create_group("reductions"), reductions, draws)
                writer.publish()
            except BaseException:
                writer.discard()
                raise
        part = Part(writer.path, tuple(sorted(units)), writer.count)
        with self._lock:
            self.parts.append(part)
        return part

    def reductions(self) -> Iterator[tuple[Any, Any]]:
        """What all parts together found: (reductions, draws of the sample)."""
        for part in sorted(self.parts, key=lambda part: part.units):
            with open_part(part.path) as file:
                yield _read_reductions(file["reductions"])

    def remove(self) -> None:
        """Remove all parts."""
        with explained(self.folder):
            for part in self.parts:
                part.path.unlink(missing_ok=True)
            self.folder.rmdir()
        self.parts = []

    def _taken_over(self, path: Path, tell: Callable[[str], object]) -> Part | None:
        """A part of an earlier run; None where it is damaged, so that it goes."""
        try:
            with open_part(path) as file:
                search, units = file.attrs["search"], tuple(file["units"][...].tolist())
                rows = _count_rows(file)
                _read_reductions(file["reductions"])
        except DamagedError:
            tell(f"{path}: is truncated or damaged; this part of the search is done again")
            path.unlink()
            return None
        if search != self.search:
            raise StoreError(f"{path.parent}: cannot be resumed: {difference(search, self.search)}")
        return Part(path, units, rows)


def difference(earlier: str, now: str) -> str:
    """A clause about the first thing in which two searches differ."""
    first, second = json.loads(earlier), json.loads(now)
    for name in second:
        if first.get(name) != second[name]:
            return f"the earlier run differs in its {name.replace('_', ' ')}"
    return "the earlier run was another search"


def part_files(folder: Path) -> list[Path]:
    """The parts in a folder."""
    return sorted(folder.glob("*.h5"))


def open_hdf5(path: Path) -> Any:
    """Open a file for reading. A file in its place never changes, so that no lock is needed."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "file locking flag" not in str(error):
            raise
        return h5py.File(path, "r")  # this process has it open, with a lock, and HDF5 wants all to do the same


@contextmanager
def open_part(path: Path) -> Iterator[Any]:
    """Open a part for reading.

    Raises:
        StoreError: it is missing or of another version.
        DamagedError: it is truncated or damaged.
    """
    try:
        file = open_hdf5(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: is missing, and with it a part of the rows") from None
    except OSError as error:
        raise DamagedError(f"{path}: is truncated or damaged: {reason(error)}") from None
    with file, damaged(path):
        if file.attrs.get("format") != PART_FORMAT or file.attrs.get("schema_version") != PART_VERSION:
            raise StoreError(f"{path}: is no part of a result, or one of another version of fastmap")
        yield file


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside a part into one sentence."""
    try:
        yield
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, zlib.error) as error:
        raise DamagedError(f"{path}: is damaged: {reason(error)}") from None


def holds(path: Path, rows: int) -> bool:
    """Whether a part is there as a whole, with so many rows."""
    try:
        with open_part(path) as file:
            return _count_rows(file) == rows
    except StoreError:
        return False


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn errors of HDF5 and of the file system into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{folder}: cannot be written: {reason(error)}") from None


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, and bring their names to disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does this for files only
            raise
    finally:
        os.close(descriptor)


def folder_name(architecture: str, layer: str) -> str:
    """A folder for a result: readable, allowed everywhere, and different for different names."""
    digest = zlib.crc32(f"{architecture}\0{layer}".encode())
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{architecture}-{layer}")[:60]
    return f"{readable}-{digest:08x}"


def _count_rows(file: Any) -> int:
    lengths = {len(column) for column in file["rows"].values()} if "rows" in file else {0}
    if len(lengths) != 1:
        raise ValueError("its columns differ in length")
    return int(lengths.pop())


def _write_reductions(group: Any, reductions: Any, draws: Any) -> None:
    used = reductions.used
    group["used"] = used
    for objective in range(reduce_kernels.N_OBJECTIVES):
        group[f"best_{objective}"] = reductions.best[objective, : used[objective]]
    group["front"] = reductions.front[: used[reduce_kernels.FRONT]]
    for name in ("histogram", "joint"):  # nearly all bins are empty
        counts = getattr(reductions, name).ravel()
        bins = np.flatnonzero(counts)
        group[f"{name}_bins"], group[f"{name}_counts"] = bins, counts[bins]
    group["totals"] = reductions.totals
    group["sample"] = draws


def _read_reductions(group: Any) -> tuple[Any, Any]:
    """(reductions, draws of the sample)"""
    from fastmap.exhaustive import new_reductions

    used = group["used"][...]
    reductions = new_reductions(max(1, int(used[:3].max())))
    front = group["front"][...]
    reductions = reductions._replace(used=used, front=front)
    for objective in range(reduce_kernels.N_OBJECTIVES):
        reductions.best[objective, : used[objective]] = group[f"best_{objective}"][...]
    for name in ("histogram", "joint"):
        getattr(reductions, name).ravel()[group[f"{name}_bins"][...]] = group[f"{name}_counts"][...]
    reductions.totals[...] = group["totals"][...]
    return reductions, group["sample"][...].astype(DRAW)
