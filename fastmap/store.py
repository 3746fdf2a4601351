"""The HDF5 file of a run: self-describing, readable with plain h5py, whole at every moment.

Layout (schema version 3)::

    /                       attributes: format, schema_version, fastmap_version, command, created, machine, run
    /{architecture}/{layer} attributes: inputs as JSON text (layer, architecture, constraints), objective, strategy,
                            cost_model, complete, certificate, clock_ns, lower_bound (of the optimal strategy, in the
                            unit of the objective) or front_gap (of a front), keep (JSON: what an exhaustive search kept
                            of the mappings), and every figure of ``statistics``
        best/{objective}/   the best distinct points of each objective that the search covered: mapping_id, energy_pj,
                            latency_cycles, edp_pj_ns; only the optimum with the optimal strategy
        pareto/             the front of energy and latency, same columns; of an exhaustive search, or of one for it
        histogram/          energy_pj, latency_cycles, edp_pj_ns: mappings in each bin, with the bins' edges beside;
                            energy_latency: the joint distribution; of an exhaustive search only
        mappings/           of an exhaustive search that keeps rows, one for each distinct cost: columns spatial_index,
                            order_rank, allocation_code (together the mapping_id), mappings (how many the row stands
                            for: they cost the same by construction, and it names the first), energy_pj, latency_cycles
                            and what else was asked for; parts, part_rows: the files with the rows, and how many each
        sample/             mappings drawn uniformly from all that fit, same columns
        space/              what turns a mapping_id into a mapping: the factors of every spatial mapping and the number
                            of orders (text: it may exceed 64 bits); and, for other readers, the iterations that remain

``mapping_id`` is (spatial index, order rank, allocation code). The order rank counts the orders that the constraints
admit of the prime factors of what remains (with a limit of loops, of their products), from the innermost loop outwards,
lexicographically. The allocation code less one is a number to the base loops + 1, its digits the cuts of W, I and O
below each one's top memory. ``fastmap mine FILE --id`` writes any mapping out.

Languages whose arrays are stored by columns, such as MATLAB, Julia and R, see the two axes of ``mapping_id``,
``energy_latency``, ``factors`` and ``remaining`` in the other order.

The columns of ``mappings`` are virtual datasets: their rows are in a folder beside, ``{file}.parts``, in files as in
``parts.py``. HDF5 finds them as long as file and folder stay together under their names; what is missing reads as NaN,
or as the largest integer. Files of version 2, which have no rows, are read as well.

Layers that are identical share one group through a hard link. In names, ``/`` is written ``%2F`` and ``%`` is written
``%25``.

HDF5 changes its own structures in place, so that a crash between two writes can cost everything that a file held.
Therefore a run builds its file in memory, and after each result replaces the one on disk by a whole new copy, written
aside, brought to disk and then renamed: whenever it is killed, the disk is full or power fails, the file holds every
result that was reported as written. Others may read it meanwhile; a lock beside it keeps a second writer away. A file
that was truncated or damaged all the same is rebuilt from its parts when the search is resumed.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import itertools
import json
import os
import platform
import secrets
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import h5py
import numpy as np

import fastmap
from fastmap._spec import label
from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS
from fastmap.errors import DamagedError, FastmapError, StoreError, reason
from fastmap.evaluation import array_clock_ns
from fastmap.keep import Keep
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.parts import CHUNK, Journal, folder_name, holds, open_hdf5, part_files, sync_folder
from fastmap.result import Histogram, Histogram2D, Kept, Points, SearchResult

try:
    import fcntl
except ImportError:  # Windows: two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

FORMAT = "fastmap"
SCHEMA_VERSION = 3
READABLE_VERSIONS = (2, SCHEMA_VERSION)
HISTOGRAMS = ("energy_pj", "latency_cycles", "edp_pj_ns")
#: Attributes of a result that are no figures of its statistics.
FIXED = frozenset(
    (
        *("layer", "architecture", "constraints", "objective", "strategy", "cost_model"),
        *("complete", "certificate", "clock_ns", "lower_bound", "front_gap", "keep"),
    )
)
#: Datasets of ``mappings`` and ``sample`` that are no columns.
NOT_COLUMNS = frozenset(("row", "part", "parts", "part_rows"))
#: How many results an error message lists.
LISTED = 12


class ResultFile:
    """A file of results, open for writing. It appears on disk with the first result."""

    def __init__(self, path: Path, lock: IO[bytes], file: Any, tell: Callable[[str], object]) -> None:
        self.path = path
        self.tell = tell
        self._lock = lock
        self._file = file
        self._written: dict[int, str] = {}
        self._alive: list[SearchResult] = []
        self._unfinished: set[str] = set()  # groups that hold a part of what is coming
        self._journals: dict[str, Journal] = {}
        self._aside: Path | None = None  # where the damaged file goes that this one replaces
        self.resumed = False

    @classmethod
    def create(
        cls,
        path: str | Path,
        overwrite: bool = False,
        command: str | None = None,
        resume: bool = False,
        tell: Callable[[str], object] = warnings.warn,
    ) -> ResultFile:
        """Claim a path for a new file.

        Args:
            overwrite: replace a result file that stands there, once the first new result is written.
            command: what to record as the command; default: this process's.
            resume: go on with the file that stands there, and with what is finished of others (a file need not exist).
            tell: called with a sentence about anything that is lost or damaged and made anew, when resuming.

        Raises:
            StoreError: the path exists (and ``overwrite`` is not set, or it is something else than a result file), is
                not writable, or another process writes to it.
        """
        check_output(path, overwrite, resume)
        path = Path(path)
        with _explained(path, "not writable"):
            lock = _lock(path)
        try:
            check_output(path, overwrite, resume)  # what has appeared before the lock was ours
            if resume:
                return cls._resumed(path, lock, command, tell)
            file = _new_file(command)
        except BaseException:
            _unlock(path, lock)
            raise
        return cls(path, lock, file, tell)

    @classmethod
    def _resumed(cls, path: Path, lock: IO[bytes], command: str | None, tell: Callable[[str], object]) -> ResultFile:
        """Go on with a file, or with the parts of one that is not there, or damaged."""
        runs = _runs(path)
        run = runs[-1].name if runs else None
        aside = None
        file = _new_file(command, run)
        try:
            if path.exists() and (path.stat().st_size or _finished_runs(path)):
                _take_over(path, run, file)
        except DamagedError:
            if not _finished_runs(path):
                raise
            run = _finished_runs(path)[-1].name
            file.close()
            file = _new_file(command, run)
            aside = _free_name(_beside(Path(os.path.realpath(path)), "damaged"))
            tell(
                f"{path}: is truncated or damaged; it is rebuilt from {_parts_folder(path).name}, what is not there is "
                f"searched again, and the damaged file is kept as {aside.name}"
            )
        resumed = cls(path, lock, file, tell)
        resumed._aside = aside
        resumed.resumed = True
        return resumed

    @property
    def folder(self) -> Path:
        """Where the parts of this run are."""
        return _parts_folder(self.path) / str(self._file.attrs["run"])

    def recorder(self, architecture: str, name: str) -> Recorder:
        """What a search that keeps a journal writes to."""
        return Recorder(self, architecture, name)

    def finished(self, space: Mapspace, name: str, objective: str, strategy: str, keep: Keep) -> SearchResult | None:
        """The result of a search of an earlier run, if it was completed.

        Raises:
            StoreError: what is there under this name is of another search.
        """
        folder, link = _escaped(space.architecture.name), _escaped(name)
        if not self.resumed or folder not in self._file or link not in self._file[folder]:
            return None
        group = self._file[folder][link]
        with _explained(self.path, "is damaged"):
            found = _read_result(group, name, self.path)
        choice = (Keep().describe() if found.kept is None else found.kept.choice) if strategy == "exhaustive" else None
        for what, earlier, now in (
            ("layer", found.layer.signature, space.layer.signature),
            ("architecture", found.architecture, space.architecture),
            ("constraints", found.constraints, space.constraints),
            ("cost_model", found.cost_model, space.cost_model),
            ("objective", found.objective, objective),
            ("strategy", found.strategy, strategy),
            ("choice of what to keep", choice, keep.describe() if strategy == "exhaustive" else None),
        ):
            if earlier != now:
                raise StoreError(
                    f"{self.path}: {space.architecture.name}/{name} cannot be resumed: "
                    f"the earlier run differs in its {what}"
                )
        parts = found.kept.parts if found.kept is not None else ()
        missing = sum(not part.exists() for part, _ in parts)
        if missing:
            self.tell(
                f"{self.path}: {missing} of {len(parts)} parts of {space.architecture.name}/{name} are missing; "
                "these parts of the search are done again"
            )
        if not found.complete or not all(holds(*part) for part in parts):
            self._unfinished.add(f"/{folder}/{link}")
            return None
        self._written[id(found.points)] = f"/{folder}/{link}"
        self._alive.append(found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write to the path. Everything written is on disk already."""
        if self._file:
            for journal in self._journals.values():
                _remove_if_empty(journal.folder)
            _remove_if_empty(self.folder)
            _remove_if_empty(_parts_folder(self.path))
            self._file.close()
            _unlock(self.path, self._lock)

    def write(self, result: SearchResult, name: str | None = None) -> None:
        """Add one result, under the architecture's and the layer's (or another) name. It is on disk on return.

        Raises:
            StoreError: the name is taken or no name, or the disk is full.
        """
        try:
            name = label(result.layer.name if name is None else name)
        except ValueError as error:
            raise StoreError(f"{self.path}: the name of a result {error}") from None
        folder, link = _escaped(result.architecture.name), _escaped(name)
        parent = self._file[folder] if folder in self._file else self._file.create_group(folder, track_order=True)
        place = f"{parent.name}/{link}"
        # Results of identical layers are one and the same, whatever each layer is called.
        known = self._written.get(id(result.points))
        if link in parent and place not in self._unfinished:
            if known is not None and parent[link] == self._file[known]:
                return  # of the run that was resumed
            raise StoreError(f"{self.path}: already holds {result.architecture.name}/{name}")
        self._put(parent, link, result, known)
        self._unfinished.discard(place)
        if known is None:
            self._written[id(result.points)] = place
            self._alive.append(result)  # so that its identity is not given to another
        journal = self._journals.pop(place, None)
        if journal is not None and result.complete and not (result.kept and result.kept.types):
            journal.remove()

    def update(self, result: SearchResult, architecture: str, name: str) -> None:
        """Put on disk what is finished of a result that is still being searched for."""
        folder, link = _escaped(architecture), _escaped(label(name))
        parent = self._file[folder] if folder in self._file else self._file.create_group(folder, track_order=True)
        self._unfinished.add(f"{parent.name}/{link}")
        self._put(parent, link, result, None)

    def _put(self, parent: Any, link: str, result: SearchResult, known: str | None) -> None:
        """Write a result, in the place of an unfinished one if there is one, and bring all to disk."""
        before = f"%old{link}" if link in parent else None
        if before is not None:
            parent.move(link, before)
        try:
            if known is not None:
                parent[link] = self._file[known]
            else:
                _write_result(parent.create_group(link), result, self.path)
            if before is not None:
                del parent[before]
                before = None
            with _explained(self.path, "cannot be written"):
                self._publish()
        except BaseException:
            if link in parent:
                del parent[link]
            if before is not None:
                parent.move(before, link)
            raise

    def _publish(self) -> None:
        """Put everything on disk in one step."""
        self._file.flush()
        target = Path(os.path.realpath(self.path))
        temporary = _beside(target, "tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(self._file.id.get_file_image())
                file.flush()
                os.fsync(file.fileno())
            if self._aside is not None:
                os.replace(target, self._aside)
                self._aside = None
            os.replace(temporary, target)
            sync_folder(target.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for run in _runs(self.path):  # of a file that this one has replaced
            if run.name != self._file.attrs["run"]:
                shutil.rmtree(run, ignore_errors=True)


class Recorder:
    """Where a search writes what it has finished: its place in a result file, and a folder of parts."""

    def __init__(self, file: ResultFile, architecture: str, name: str) -> None:
        self.file, self.architecture, self.name = file, architecture, name

    def journal(self, search: str) -> Journal:
        """Open the journal of this search.

        Raises:
            StoreError: it cannot be written, or is that of another search.
        """
        folder = self.file.folder / folder_name(self.architecture, self.name)
        journal = Journal(folder, search, self.file.resumed, self.file.tell)
        self.file._journals[f"/{_escaped(self.architecture)}/{_escaped(self.name)}"] = journal
        return journal

    def publish(self, result: SearchResult) -> None:
        """Put on disk what is finished so far."""
        self.file.update(result, self.architecture, self.name)


def _new_file(command: str | None, run: str | None = None) -> Any:
    """An empty file in memory."""
    unique = secrets.token_hex(8)  # HDF5 opens a name once, though nothing is on disk under it
    file = h5py.File(unique, "w", driver="core", backing_store=False, track_order=True)
    file.attrs["format"] = FORMAT
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["fastmap_version"] = fastmap.__version__
    file.attrs["command"] = _printable(command if command is not None else shlex.join(sys.argv))
    file.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["machine"] = f"{platform.machine()} {platform.system()} Python {platform.python_version()}"
    file.attrs["run"] = run or secrets.token_hex(4)
    return file


def _copy(old: Any, new: Any) -> None:
    """Copy all results, those that are linked together."""
    copied: dict[Any, str] = {}
    for folder in old:
        parent = new.create_group(folder, track_order=True)
        for link in old[folder]:
            group = old[folder][link]
            address = h5py.h5o.get_info(group.id).addr
            if address in copied:
                parent[link] = new[copied[address]]
            else:
                old.copy(group, parent, link)
                copied[address] = f"{parent.name}/{link}"


def _take_over(path: Path, run: str | None, new: Any) -> None:
    """Copy all results of a file into a new one, unless its parts are of another run.

    Raises:
        DamagedError: the file, or any of its results, cannot be read.
    """
    with _open(path) as on_disk:
        if run is not None and on_disk.attrs.get("run", "") != run:
            return
        with h5py.File(io.BytesIO(path.read_bytes()), "r") as old:
            for architecture, name in _contents(old):
                _read_result(old[_escaped(architecture)][_escaped(name)], name, path)
            _copy(old, new)


def _parts_folder(path: Path) -> Path:
    return _beside(Path(os.path.realpath(path)), "parts")


def _runs(path: Path) -> list[Path]:
    """Folders of the runs that have left parts of a file, the latest last."""
    folder = _parts_folder(path)
    runs = [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return sorted(runs, key=lambda each: each.stat().st_mtime_ns)


def _finished_runs(path: Path) -> list[Path]:
    """Those that have left finished parts."""
    return [run for run in _runs(path) if any(part_files(folder) for folder in run.iterdir() if folder.is_dir())]


def parts_bytes(path: str | Path) -> int:
    """Size of what the latest run has finished of a file."""
    runs = _runs(Path(path))
    return sum(part.stat().st_size for part in runs[-1].glob("*/*.h5")) if runs else 0


def _free_name(path: Path) -> Path:
    """A path, or with a number after it, where nothing is yet."""
    return next(each for i in itertools.count(1) if not (each := path if i == 1 else _beside(path, str(i))).exists())


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def check_output(path: str | Path, overwrite: bool = False, resume: bool = False) -> None:
    """Refuse a path where no result file can be made, or gone on with; touches nothing."""
    path = Path(path)
    with _explained(path, "not writable"):
        if path.is_dir():
            raise StoreError(f"{path}: is a folder; give the name of a file to write")
        if path.exists():
            if not (overwrite or resume):
                raise StoreError(f"{path}: exists already; choose another name or allow overwriting")
            if not path.is_file():
                raise StoreError(f"{path}: is not a result file of fastmap and is not overwritten")
            if path.stat().st_size:
                _check_replaceable(path, resume)
            if not os.access(path, os.W_OK):
                raise StoreError(f"{path}: not writable")
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise StoreError(f"{path}: the folder {path.parent} does not exist")
        if not os.access(folder, os.W_OK):
            raise StoreError(f"{path}: the folder {path.parent} is not writable")


def _check_replaceable(path: Path, resume: bool) -> None:
    """Refuse to replace, or to go on with, what is no result file, or a damaged one."""
    try:
        with open_hdf5(path) as file:
            if _text(file.attrs.get("format")) == FORMAT:
                return
        readable = True
    except OSError:
        readable = False
    if readable or not _finished_runs(path):
        rest = "and there are no finished parts to rebuild it from" if resume else "and is not overwritten"
        raise StoreError(f"{path}: is not a {'readable ' if resume else ''}result file of fastmap {rest}")
    if not resume:
        raise StoreError(f"{path}: is truncated or damaged and is not overwritten{_way_out(path)}")


def _way_out(path: Path) -> str:
    """What can be done about a file that is missing or damaged."""
    if not _finished_runs(path):
        return ""
    return f"; its finished parts are in {_parts_folder(path).name}, and the same search with --resume rebuilds it"


def contents(path: str | Path) -> list[tuple[str, str]]:
    """Return (architecture, layer) of every result in a file, in the order in which they were written."""
    with _open(path) as file:
        return _contents(file)


def provenance(path: str | Path) -> dict[str, Any]:
    """Attributes of a file: format, versions, command, when and where it was made."""
    with _open(path) as file:
        return dict(file.attrs)


def load_result(path: str | Path, architecture: str | None = None, layer: str | None = None) -> SearchResult:
    """Read one result; see ``SearchResult.load``."""
    with _open(path) as file:
        held = _contents(file)
        found = [
            pair
            for pair in held
            if (architecture is None or pair[0] == architecture) and (layer is None or pair[1] == layer)
        ]
        if len(found) != 1:
            names = ["/".join(pair) for pair in held]
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            problem = "holds several results; say which architecture and layer" if found else "holds no such result"
            raise StoreError(f"{path}: {problem} (it holds {', '.join(names[:LISTED]) or 'nothing'}{more})")
        return _read_result(file[_escaped(found[0][0])][_escaped(found[0][1])], found[0][1], Path(path))


def _contents(file: Any) -> list[tuple[str, str]]:
    return [(_unescaped(architecture), _unescaped(name)) for architecture in file for name in file[architecture]]


@contextlib.contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    """Open a result file for reading. Whatever is wrong inside becomes a StoreError that names the file."""
    path = Path(path)
    try:
        with _opened(path) as file:
            yield file
    except DamagedError as error:
        raise DamagedError(f"{error}{_way_out(path)}") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        if not path.is_file():
            raise StoreError(f"{path}: {'is a folder' if path.is_dir() else f'no such file{_way_out(path)}'}")
        with open(path, "rb"):  # a sentence of the system where reading is not allowed
            pass
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {reason(error)}") from None
    with _explained(path, "is not a readable HDF5 file (foreign, truncated or damaged)", DamagedError):
        file = open_hdf5(path)
    with file, _explained(path, "is damaged", DamagedError):
        if _text(file.attrs.get("format")) != FORMAT:
            raise StoreError(f"{path}: is an HDF5 file, but not a result of fastmap")
        version = file.attrs.get("schema_version")
        if version not in READABLE_VERSIONS:
            newer = isinstance(version, int | np.integer) and version > SCHEMA_VERSION
            writer = _text(file.attrs.get("fastmap_version")) or "of an unknown version"
            raise StoreError(
                f"{path}: has schema version {version}, written by fastmap {writer}; this fastmap "
                f"({fastmap.__version__}) reads versions {' and '.join(map(str, READABLE_VERSIONS))}: "
                f"{'use a newer one' if newer else 'search again'}"
            )
        yield file


@contextlib.contextmanager
def _explained(path: Path | str, what: str, kind: type[StoreError] = StoreError) -> Iterator[None]:
    """Turn the errors of HDF5, of the file system and of damaged content into one sentence."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, FastmapError) as error:
        raise kind(f"{path}: {what}: {reason(error)}") from None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _lock(path: Path) -> IO[bytes]:
    """Claim a path for writing. The lock ends with the process, however that ends."""
    name = _beside(Path(os.path.realpath(path)), "lock")
    while True:
        lock = open(name, "ab")  # noqa: SIM115
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StoreError(f"{path}: is being written by another process") from None
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(name)):
                return lock
        lock.close()  # its last owner has removed it meanwhile


def _unlock(path: Path, lock: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(lock.name)
    lock.close()


def _printable(text: str) -> str:
    """Text that UTF-8 can hold, whatever bytes the command line had."""
    return text.encode(errors="backslashreplace").decode()


def _escaped(name: str) -> str:
    """A name as an HDF5 link: a slash would open a group."""
    return name.replace("%", "%25").replace("/", "%2F") if name != "." else "%2E"


def _unescaped(name: str) -> str:
    return name.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")


def _write_result(group: Any, result: SearchResult, path: Path) -> None:
    clock_ns = array_clock_ns(result.architecture)
    attributes = {
        "layer": result.layer.model_dump_json(),
        "architecture": result.architecture.model_dump_json(),
        "constraints": json.dumps(result.constraints.to_dict()),
        "objective": result.objective,
        "strategy": result.strategy,
        "cost_model": result.cost_model,
        "complete": result.complete,
        "certificate": json.dumps(result.certificate),
        "clock_ns": clock_ns,
        **result.statistics,
    }
    for name, value in attributes.items():
        # Counts beyond 64 bits are kept exactly, as text.
        group.attrs[name] = str(value) if isinstance(value, int) and value >= 2**63 else value
    for name in ("lower_bound", "front_gap"):
        if getattr(result, name) is not None:
            group.attrs[name] = getattr(result, name)
    group.create_group("best")
    for name, points in result.points.items():
        _write_points(group.create_group("pareto" if name == "pareto" else f"best/{name}"), points, clock_ns)

    if result.joint_histogram is not None:
        _write_histograms(group.create_group("histogram"), result, result.joint_histogram)

    if result.kept is not None:
        group.attrs["keep"] = json.dumps(result.kept.choice | {"best": result.kept.best})
        if result.kept.types:
            _write_rows(group.create_group("mappings"), result.kept, path)
        if result.kept.sample is not None:
            _write_columns(group.create_group("sample"), result.kept.sample)

    space = group.create_group("space")
    candidates, remaining = result.space.candidates, result.space.remaining
    index = _scale(space, "spatial_index", np.arange(len(candidates)))
    loop = _scale(space, "spatial_loop", np.arange(candidates.shape[1]))
    dimension = _scale(space, "dimension", [name.encode() for name in LOOP_DIMENSIONS])
    _attach(space.create_dataset("array_dimension", data=result.space.array_dim), loop)
    _attach(space.create_dataset("loop_dimension", data=result.space.loop_dim), loop)
    _attach(space.create_dataset("factors", data=candidates, **_packed(candidates)), index, loop)
    _attach(space.create_dataset("remaining", data=remaining, **_packed(remaining)), index, dimension)
    orders = [str(orders) for orders in result.space.orders]
    _attach(space.create_dataset("orders", data=orders, dtype=h5py.string_dtype()), index)


def _write_rows(group: Any, kept: Kept, path: Path) -> None:
    """Join the rows of all parts: virtual datasets, whose files are named relative to this one."""
    folder = Path(os.path.realpath(path)).parent
    parts = [(os.path.relpath(part, folder).replace(os.sep, "/"), rows) for part, rows in kept.parts]
    row = _dimension(group, "row", kept.rows)
    for name, type_name in kept.types.items():
        dtype = np.dtype(type_name)
        if not kept.rows:
            _attach(group.create_dataset(name, (0,), dtype), row)
            continue
        layout = h5py.VirtualLayout((kept.rows,), dtype)
        start = 0
        for part, rows in parts:
            if rows:
                source = part.replace("%", "%%")  # a single one would stand for a number
                layout[start : start + rows] = h5py.VirtualSource(source, f"rows/{name}", (rows,), dtype)
            start += rows
        missing = np.nan if dtype.kind == "f" else np.iinfo(dtype).max
        _attach(group.create_virtual_dataset(name, layout, fillvalue=missing), row)
    part = _dimension(group, "part", len(parts))
    _attach(group.create_dataset("parts", data=[name for name, _ in parts], dtype=h5py.string_dtype()), part)
    _attach(group.create_dataset("part_rows", data=np.array([rows for _, rows in parts], np.int64)), part)


def _write_columns(group: Any, columns: dict[str, Any]) -> None:
    row = _dimension(group, "row", len(next(iter(columns.values()))))
    for name, values in columns.items():
        _attach(group.create_dataset(name, data=values, **_packed(values)), row)


def _dimension(group: Any, name: str, length: int) -> Any:
    """A dimension whose positions stand for nothing but themselves; it takes no room. As netCDF-4 marks them."""
    scale = group.create_dataset(name, (length,), np.int64, chunks=(min(length, CHUNK),) if length else None)
    scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
    return scale


def _read_kept(group: Any, path: Path) -> Kept | None:
    if "keep" not in group.attrs:
        return None
    choice = json.loads(group.attrs["keep"])
    best = choice.pop("best")
    parts: tuple[tuple[Path, int], ...] = ()
    types: dict[str, str] = {}
    if "mappings" in group:
        rows = group["mappings"]
        folder = Path(os.path.realpath(path)).parent
        names, counts = rows["parts"].asstr()[...], rows["part_rows"][...].tolist()
        parts = tuple((folder / name, count) for name, count in zip(names, counts, strict=True))
        types = {name: column.dtype.name for name, column in rows.items() if name not in NOT_COLUMNS}
    sample = None
    if "sample" in group:
        sample = {name: column[...] for name, column in group["sample"].items() if name not in NOT_COLUMNS}
    return Kept(choice, best, parts, types, sample)


def _write_histograms(histograms: Any, result: SearchResult, joint: Histogram2D) -> None:
    for name in HISTOGRAMS:
        histogram = result.histograms[name]
        counts = histograms.create_dataset(name, data=histogram.counts)
        _attach(counts, _scale(histograms, f"{name}_low", histogram.edges[:-1]))
        _scale(histograms, f"{name}_edges", histogram.edges)
    counts = histograms.create_dataset("energy_latency", data=joint.counts, **_packed(joint.counts))
    scales = []
    for name, edges in (("energy_pj", joint.energy_edges), ("latency_cycles", joint.latency_edges)):
        scales.append(_scale(histograms, f"energy_latency_{name}_low", edges[:-1]))
        _scale(histograms, f"energy_latency_{name}_edges", edges)
    _attach(counts, *scales)


def _packed(data: Any) -> dict[str, Any]:
    """Compression that every build of h5py reads; not for empty datasets, which cannot be chunked."""
    return {"compression": "gzip", "shuffle": True} if data.size else {}


def _scale(group: Any, name: str, values: Any) -> Any:
    """Make a dimension scale: what the positions along an axis stand for."""
    scale = group.create_dataset(name, data=values)
    scale.make_scale(name)
    return scale


def _attach(dataset: Any, *scales: Any) -> None:
    """Give each axis of a dataset its scale."""
    for axis, scale in enumerate(scales):
        dataset.dims[axis].attach_scale(scale)


def _write_points(group: Any, points: Points, clock_ns: float) -> None:
    rank = _scale(group, "rank", np.arange(len(points)))
    part = _scale(group, "part", np.arange(3))
    identity = group.create_dataset("mapping_id", data=points.mapping_id)
    identity.attrs["parts"] = "spatial index, order rank, allocation code"
    _attach(identity, rank, part)
    for name, column in (
        ("energy_pj", points.energy_pj),
        ("latency_cycles", points.latency_cycles),
        ("edp_pj_ns", points.energy_pj * points.latency_cycles * clock_ns),
    ):
        _attach(group.create_dataset(name, data=column), rank)


def _read_points(group: Any) -> Points:
    return Points(group["mapping_id"][...], group["energy_pj"][...], group["latency_cycles"][...])


def _read_result(group: Any, name: str, path: Path) -> SearchResult:
    # A group that identical layers share was written with the first one's name.
    layer = Layer.model_validate_json(group.attrs["layer"]).model_copy(update={"name": name})
    architecture = Architecture.model_validate_json(group.attrs["architecture"])
    constraints = Constraints.from_dict(json.loads(group.attrs["constraints"]))
    space = group["space"]
    histograms = group.get("histogram")
    points = {name: _read_points(group["best"][name]) for name in group["best"]}
    if "pareto" in group:
        points["pareto"] = _read_points(group["pareto"])
    return SearchResult(
        layer=layer,
        architecture=architecture,
        constraints=constraints,
        objective=str(group.attrs["objective"]),
        strategy=str(group.attrs["strategy"]),
        cost_model=str(group.attrs["cost_model"]),
        space=Mapspace.restore(
            layer,
            architecture,
            constraints,
            str(group.attrs["cost_model"]),
            array_dim=space["array_dimension"][...],
            loop_dim=space["loop_dimension"][...],
            candidates=space["factors"][...],
            orders=tuple(int(orders) for orders in space["orders"].asstr()[...]),
        ),
        points=points,
        histograms={}
        if histograms is None
        else {name: Histogram(histograms[f"{name}_edges"][...], histograms[name][...]) for name in HISTOGRAMS},
        joint_histogram=None
        if histograms is None
        else Histogram2D(
            histograms["energy_latency_energy_pj_edges"][...],
            histograms["energy_latency_latency_cycles_edges"][...],
            histograms["energy_latency"][...],
        ),
        **{name: float(group.attrs[name]) for name in ("lower_bound", "front_gap") if name in group.attrs},
        statistics={name: _number(value) for name, value in group.attrs.items() if name not in FIXED},
        complete=bool(group.attrs["complete"]),
        kept=_read_kept(group, path),
    )


def _number(value: Any) -> float:
    if isinstance(value, str):
        return int(value)
    return float(value) if isinstance(value, np.floating) else int(value)
