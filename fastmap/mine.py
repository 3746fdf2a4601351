"""Questions to result files, after the search: filter, sort, group, fronts, distributions, features of the best.

Rows are read chunk by chunk, over threads, so that files may be far larger than the memory. A *row* is what
``store.py`` keeps in ``mappings``; of results without, the best points and the front are asked instead. A row counts as
often as mappings stand behind it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastmap import text
from fastmap._spec import closest, listed, shown
from fastmap.columns import COSTS, IDENTITY, WEIGHT, Block, Columns, Lazy
from fastmap.control import available_threads
from fastmap.dimensions import OPERANDS
from fastmap.errors import InputError, StoreError
from fastmap.evaluation import Evaluation, evaluate
from fastmap.expression import BEST_OF, Expression, Labels, read_expression
from fastmap.mapping import Mapping
from fastmap.parts import damaged, decompress, open_part
from fastmap.result import SearchResult
from fastmap.store import contents, load_result, provenance

if TYPE_CHECKING:
    import pandas
    import xarray

T = TypeVar("T")
#: What can be asked for of a result, the richest first.
KINDS = ("mappings", "sample", "points")
#: Rows of a task of one thread, a multiple of what a chunk has; tasks of each thread that may wait for their turn.
TASK_ROWS, WAITING = 1 << 18, 3
#: Bins of a quantile: what is left of a float64 after a shift, 1024 an octave, so that they are exact to 0.1 %.
BIN_SHIFT = 42
#: Rows behind each column of ``common``, about, where the mappings must be rebuilt.
BACKGROUND = 200_000
AGGREGATES = ("count", "mappings", "min", "max", "mean", "median", "q")


@dataclass(frozen=True)
class Source:
    """The rows of one result."""

    file: Path
    architecture: str
    layer: str
    result: SearchResult = field(repr=False)
    kind: str  #: one of ``KINDS``
    version: str  #: of fastmap
    columns: Columns = field(repr=False)
    also: list[str] = field(default_factory=list)  #: further layers of which this is the result

    @property
    def name(self) -> str:
        """``file: architecture/layer``."""
        return f"{self.file}: {self.architecture}/{self.layer}"

    @property
    def rows(self) -> int:
        """Number of rows."""
        kept = self.result.kept
        if self.kind == "mappings" and kept is not None:
            return kept.rows
        return len(next(iter(self._in_memory().values())))

    @property
    def stored(self) -> tuple[str, ...]:
        """Names of the columns that are stored."""
        kept = self.result.kept
        if self.kind == "mappings" and kept is not None:
            return tuple(kept.types)
        return tuple(self._in_memory())

    def tasks(self) -> Iterator[Callable[[], Iterator[Block]]]:
        """Readers of some blocks each, in the order of the rows."""
        if self.kind != "mappings" or self.result.kept is None:
            yield lambda: iter([self.columns.block(self._in_memory())])
            return
        for path, rows in self.result.kept.parts:
            for first in range(0, rows, TASK_ROWS):
                yield lambda path=path, rows=rows, first=first: self._read(path, rows, first)  # type: ignore[misc]

    def _read(self, path: Path, rows: int, first: int) -> Iterator[Block]:
        with open_part(path) as file:
            datasets = file["rows"]
            (chunk,) = datasets[WEIGHT].chunks
            for start in range(first, min(rows, first + TASK_ROWS), chunk):
                length = min(chunk, rows - start)

                def read(name: str, start: int = start, length: int = length) -> Any:
                    with damaged(path):
                        dataset = datasets[name]
                        if len(dataset) != rows:
                            raise ValueError(f"{name} has {len(dataset)} rows, not {rows}")
                        _, data = dataset.id.read_direct_chunk((start,))
                        return decompress(data, dataset.dtype)[:length]

                yield self.columns.block(Lazy(length, self.stored, read))

    def take(self, places: Any, names: Sequence[str]) -> dict[str, Any]:
        """Stored columns of some rows, by their numbers, which rise; reads only the chunks that hold them.

        Raises:
            StoreError: a part is missing or damaged.
        """
        if self.kind != "mappings" or self.result.kept is None:
            held = self._in_memory()
            return {name: held[name][places] for name in names}
        start = 0
        found: list[dict[str, Any]] = []
        for path, rows in self.result.kept.parts:
            own = places[np.searchsorted(places, start) : np.searchsorted(places, start + rows)] - start
            if len(own):
                with open_part(path) as file, damaged(path):
                    found.append({name: file["rows"][name][own] for name in names})
            start += rows
        return {name: np.concatenate([part[name] for part in found]) for name in names}

    def _in_memory(self) -> dict[str, Any]:
        kept = self.result.kept
        if self.kind == "sample" and kept is not None and kept.sample is not None:
            return {**kept.sample, WEIGHT: np.ones(len(kept.sample[IDENTITY[0]]), np.uint8)}
        points = list(self.result.points.values())
        identity = np.concatenate([each.mapping_id for each in points])
        _, chosen = np.unique(identity, axis=0, return_index=True)
        costs = [np.concatenate([getattr(each, name) for each in points])[chosen] for name in COSTS]
        columns = dict(zip(IDENTITY, identity[chosen].T, strict=True))
        return {**columns, WEIGHT: np.ones(len(chosen), np.uint8), **dict(zip(COSTS, costs, strict=True))}


def open_sources(
    files: Iterable[str | Path],
    architecture: str | None = None,
    layer: str | None = None,
    kind: str | None = None,
) -> list[Source]:
    """The results of some files.

    Args:
        architecture, layer: only those.
        kind: ``mappings``, ``sample`` or ``points`` (the best and the front); default: the first that a result has.

    Raises:
        StoreError: a file cannot be read, or none holds what is asked for.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind must be one of {listed(KINDS)}, not {shown(kind)}")
    seen: dict[tuple[Any, ...], Source] = {}
    held = []
    for file in map(Path, files):
        version = provenance(file).get("fastmap_version", "")
        for on, name in contents(file):
            held.append(f"{on}/{name}")
            if (architecture not in (None, on)) or (layer not in (None, name)):
                continue
            result = load_result(file, on, name)
            has = [each for each in KINDS if _has(result, each)]
            if kind is not None and kind not in has:
                continue
            inputs = (result.architecture.model_dump_json(), result.constraints.model_dump_json())
            how = (*inputs, result.objective, result.strategy, result.cost_model)
            identity = (file, on, result.layer.signature, result.space.size, how)
            if identity in seen:  # an identical layer is the same result
                if name not in (seen[identity].layer, *seen[identity].also):  # or the file was named twice
                    seen[identity].also.append(name)
                continue
            words = {"file": str(file), "architecture": on, "layer": name}
            columns = Columns(result.space, _best(result), words)
            seen[identity] = Source(file, on, name, result, kind or has[0], version, columns)
    if not seen:
        what = f" with {kind}" if kind else ""
        raise StoreError(f"there is no such result{what} (results: {listed(dict.fromkeys(held))})")
    return list(seen.values())


def warnings(sources: Sequence[Source]) -> list[str]:
    """What makes results hard to compare: different cost models, different versions."""
    found = []
    for what, of_each in (
        ("cost models", [source.result.cost_model for source in sources]),
        ("versions of fastmap", [source.version for source in sources]),
    ):
        values: dict[str, list[str]] = {}
        for value, source in zip(of_each, sources, strict=True):
            values.setdefault(value, []).append(source.name)
        if len(values) > 1:
            each = "; ".join(f"{value}: {names[0]}" for value, names in values.items())
            found.append(f"the results are of different {what} ({each})")
    return found


def _has(result: SearchResult, kind: str) -> bool:
    kept = result.kept
    if kind == "points":
        return True
    if kept is None:
        return False
    return bool(kept.types) if kind == "mappings" else kept.sample is not None


def _best(result: SearchResult) -> dict[str, float]:
    """Least values of a result, as far as they are known."""
    clock_ns = Columns(result.space).clock_ns
    found = {}
    for name, values in (
        ("energy", ("energy_pj",)),
        ("latency", ("latency_cycles", "latency_ns")),
        ("edp", ("edp_pj_ns",)),
    ):
        points = result.points.get(name)
        if points is None or not len(points):
            continue
        energy, cycles = float(points.energy_pj[0]), float(points.latency_cycles[0])
        for value in values:
            found[value] = {
                "energy_pj": energy,
                "latency_cycles": cycles,
                "latency_ns": cycles * clock_ns,
                "edp_pj_ns": energy * (cycles * clock_ns),
            }[value]
    assert set(found) <= set(BEST_OF)
    return found


def scan(source: Source, work: Callable[[Block], T], where: Expression | None = None) -> Iterator[T]:
    """Apply ``work``, over threads, to the rows that satisfy an expression; the results come in the order of the rows.

    Raises:
        StoreError: a part is missing or damaged.
        InputError: the expression names columns that there are not.
    """
    if where is not None:
        where.check(source.columns.known, source.columns.short_names)

    def task(read: Callable[[], Iterator[Block]]) -> list[T]:
        found = []
        for block in read():
            if where is not None:
                chosen = where.select(block, len(block))
                if not chosen.all():
                    block = block.rows(np.flatnonzero(chosen))
            if len(block):
                found.append(work(block))
        return found

    threads = available_threads()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[T]]] = deque()
        try:
            for each in source.tasks():
                waiting.append(pool.submit(task, each))
                if len(waiting) >= threads * WAITING:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True)
class Table:
    """Some columns of equal length."""

    columns: dict[str, Any]  #: name -> array, or ``Labels``

    def __len__(self) -> int:
        return max((len(values) for values in self.columns.values()), default=0)

    def rows(self, chosen: Any) -> Table:
        """Some of the rows."""
        return Table({name: values[chosen] for name, values in self.columns.items()})

    def plain(self) -> dict[str, Any]:
        """The columns as arrays, words as text."""
        return {name: values.text() if isinstance(values, Labels) else values for name, values in self.columns.items()}

    def records(self) -> list[dict[str, Any]]:
        """One dictionary a row."""
        columns = {name: values.tolist() for name, values in self.plain().items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame (needs the extra ``pandas``); words become categories."""
        pandas = _needed("pandas", "to_pandas")
        return pandas.DataFrame(
            {
                name: pandas.Categorical.from_codes(values.codes, list(values.words))
                if isinstance(values, Labels)
                else values
                for name, values in self.columns.items()
            }
        )

    def to_xarray(self) -> xarray.Dataset:
        """A dataset with the dimension ``row`` (needs the extra ``xarray``)."""
        xarray = _needed("xarray", "to_xarray")
        columns = {name: ("row", values) for name, values in self.plain().items()}
        return xarray.Dataset(columns)  # type: ignore[no-any-return]


def joined(tables: Sequence[Table]) -> Table:
    """Tables of the same columns, one below the other."""
    if len(tables) == 1:
        return tables[0]
    found: dict[str, Any] = {}
    for name in tables[0].columns if tables else ():
        parts = [table.columns[name] for table in tables]
        if all(isinstance(part, Labels) and part.words == parts[0].words for part in parts):
            found[name] = Labels(np.concatenate([part.codes for part in parts]), parts[0].words)
        else:
            found[name] = np.concatenate([part.text() if isinstance(part, Labels) else part for part in parts])
    return Table(found)


def default_columns(sources: Sequence[Source]) -> tuple[str, ...]:
    """What a table shows when nobody says."""
    several = [
        name
        for name, values in (
            ("file", {source.file for source in sources}),
            ("architecture", {source.architecture for source in sources}),
            ("layer", {source.layer for source in sources}),
        )
        if len(values) > 1
    ]
    extra = [name for name in sources[0].stored if name not in (*COSTS, *IDENTITY, WEIGHT)]
    return (*several, *COSTS, "edp_pj_ns", *(name for name in extra if name != "edp_pj_ns"), WEIGHT, *IDENTITY)


def select(
    sources: Sequence[Source],
    columns: Sequence[str] | None = None,
    where: str | None = None,
    sort: str | None = None,
    descending: bool = False,
    limit: int | None = None,
    distinct: bool = False,
) -> Table:
    """Rows of results, in their order or sorted.

    Args:
        columns: default: costs and identity.
        where: an expression; see ``fastmap.expression``.
        sort: an expression of numbers.
        limit: at most so many rows; what is kept in memory is that.
        distinct: only the first row of each energy and latency in a result; needs ``sort``.
    """
    if distinct and sort is None:
        raise InputError("distinct rows need an expression to sort by")
    names = _checked(sources, default_columns(sources) if columns is None else columns)
    condition = None if where is None else read_expression(where)
    key = None if sort is None else read_expression(sort)
    found: list[tuple[Any, Table]] = []
    for source in sources:
        if key is not None:
            key.check(source.columns.known, source.columns.short_names)
        kept: list[tuple[Any, dict[str, Any]]] = []
        held = 0
        bound = np.inf

        def pick(block: Block) -> tuple[Any, dict[str, Any]]:
            if key is None:
                chosen: Any = slice(0, limit)
                keys = np.zeros(len(block))
            else:
                keys = np.broadcast_to(_number(key, block), (len(block),))
                keys = -keys if descending else keys
                chosen = np.flatnonzero(~(keys > bound))  # noqa: B023  a bound that is too high does no harm
                if distinct:
                    chosen = chosen[_first_of_each(*(np.asarray(block(name))[chosen] for name in COSTS))]
                if limit is not None and len(chosen) > limit:
                    chosen = chosen[np.sort(np.argsort(keys[chosen], kind="stable")[:limit])]
            rows = block.rows(chosen)
            return keys[chosen], {name: np.array(rows.stored[name]) for name in rows.stored}

        for keys, stored in scan(source, pick, condition):
            kept.append((keys, stored))
            held += len(keys)
            if limit is not None and key is not None and held > 4 * max(limit, TASK_ROWS):
                kept = [_least(kept, limit, distinct)]
                held = len(kept[0][0])
                bound = float(kept[0][0].max()) if held == limit else np.inf
            if limit is not None and key is None and held >= limit:
                break
        if not kept:
            continue
        keys, stored = _concatenated(kept, limit) if key is None else _least(kept, limit, distinct)
        block = source.columns.block(stored)
        found.append((keys, Table({name: _whole(block, name) for name in names})))
    if not found:
        return Table({name: np.empty(0) for name in names})
    table = joined([table for _, table in found])
    if key is not None and len(found) > 1:
        table = table.rows(np.argsort(np.concatenate([keys for keys, _ in found]), kind="stable"))
    return table if limit is None else table.rows(slice(0, limit))


def blocks(sources: Sequence[Source], columns: Sequence[str] | None, where: str | None) -> Iterator[Table]:
    """All rows that satisfy an expression, a few at a time."""
    names = _checked(sources, default_columns(sources) if columns is None else columns)
    condition = None if where is None else read_expression(where)
    for source in sources:
        yield from scan(source, lambda block: Table({name: _whole(block, name) for name in names}), condition)


def _first_of_each(energy: Any, latency: Any) -> Any:
    """Places of the first of equal pairs, rising."""
    order = np.lexsort((latency, energy))
    new = np.ones(len(order), np.bool_)
    new[1:] = (energy[order][1:] != energy[order][:-1]) | (latency[order][1:] != latency[order][:-1])
    return np.sort(order[new])


def _least(kept: list[tuple[Any, dict[str, Any]]], limit: int | None, distinct: bool) -> tuple[Any, dict[str, Any]]:
    keys, stored = _concatenated(kept, None)
    order = np.argsort(keys, kind="stable")
    if distinct:
        order = order[_first_of_each(*(stored[name][order] for name in COSTS))]
    order = order[:limit]
    return keys[order], {name: values[order] for name, values in stored.items()}


def _concatenated(kept: list[tuple[Any, dict[str, Any]]], limit: int | None) -> tuple[Any, dict[str, Any]]:
    keys = np.concatenate([keys for keys, _ in kept])[:limit]
    return keys, {name: np.concatenate([stored[name] for _, stored in kept])[:limit] for name in kept[0][1]}


def _checked(sources: Sequence[Source], names: Sequence[str]) -> list[str]:
    for source in sources:
        for name in names:
            if not source.columns.known(name):
                raise InputError(
                    f"{source.name} has no column {shown(name)}{closest(name, source.columns.names)} "
                    f"(columns: {listed(source.columns.short_names)})"
                )
    return list(dict.fromkeys(names))


def _whole(block: Block, name: str) -> Any:
    """A column with a value for each row."""
    value = block(name)
    return value if isinstance(value, Labels) else np.array(np.broadcast_to(value, (len(block),)))


def _number(expression: Expression, block: Block) -> Any:
    value = expression(block)
    if isinstance(value, Labels) or np.asarray(value).dtype == np.bool_:
        raise InputError(f"{shown(expression.text)}: must be a number, such as energy_pj")
    return np.asarray(value, np.float64)


# --------------------------------------------------------------------------------------------------- groups


@dataclass(frozen=True)
class Aggregate:
    """What is computed of each group."""

    kind: str  #: of ``AGGREGATES``, a median being a quantile
    of: Expression | None
    name: str  #: of the column that it becomes
    quantile: float = 0.0


def read_aggregate(written: str) -> Aggregate:
    """Read ``count``, ``mappings``, ``min:energy_pj``, ``max:...``, ``mean:...``, ``median:...`` or ``q99:...``."""
    kind, _, of = written.partition(":")
    if kind in ("count", "mappings") and not of:
        return Aggregate(kind, None, kind)
    if kind in ("min", "max", "mean") and of:
        return Aggregate(kind, read_expression(of), written)
    try:
        share = 0.5 if kind == "median" else float(kind.removeprefix("q")) / 100
    except ValueError:
        share = -1.0
    if (kind == "median" or kind.startswith("q")) and of and 0 <= share <= 1:
        return Aggregate("q", read_expression(of), written, share)
    raise InputError(
        f"{shown(written)} is no aggregate; write count, mappings, min:COLUMN, max:, mean:, median: or q99:"
    )


class _Group:
    """What is known of one group so far."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self.rows, self.mappings = 0, 0
        self.values = [{"min": np.inf, "max": -np.inf}.get(each.kind, 0.0) for each in aggregates]
        self.bins: list[list[tuple[Any, Any]]] = [[] for _ in aggregates]

    def add(self, other: _Group) -> None:
        self.rows += other.rows
        self.mappings += other.mappings

    def result(self, place: int, aggregate: Aggregate) -> float:
        match aggregate.kind:
            case "count":
                return self.rows
            case "mappings":
                return self.mappings
            case "mean":
                return self.values[place] / self.mappings
            case "q":
                return quantile(self.bins[place], aggregate.quantile)
        return self.values[place]


def group(
    sources: Sequence[Source],
    by: Sequence[str],
    aggregates: Sequence[str] = ("count", "mappings", "min:energy_pj", "min:latency_cycles", "min:edp_pj_ns"),
    where: str | None = None,
) -> Table:
    """Aggregates of the rows that agree in some columns, by rising first aggregate of a value.

    Args:
        by: columns of words or numbers, such as ``spatial``, ``dataflow``, ``stationary``, ``layer``, ``D1.K``.
        aggregates: see ``read_aggregate``. Means and quantiles count every mapping; quantiles are exact to 0.1 %.
    """
    names = _checked(sources, by)
    if not names:
        raise InputError("group needs at least one column to group by")
    asked = [read_aggregate(each) for each in aggregates]
    condition = None if where is None else read_expression(where)
    groups: dict[tuple[Any, ...], _Group] = {}
    for source in sources:
        for each in asked:
            if each.of is not None:
                each.of.check(source.columns.known, source.columns.short_names)
        for keys, counts, weights, parts in scan(source, lambda block: _aggregated(block, names, asked), condition):
            for g, key in enumerate(keys):
                known = groups.get(key)
                if known is None:
                    known = groups[key] = _Group(asked)
                known.rows += int(counts[g])
                known.mappings += int(weights[g])
                for place, (each, part) in enumerate(zip(asked, parts, strict=True)):
                    match each.kind:
                        case "min":
                            known.values[place] = min(known.values[place], part[g])
                        case "max":
                            known.values[place] = max(known.values[place], part[g])
                        case "mean":
                            known.values[place] += part[g]
                        case "q":
                            known.bins[place].append(part[g])
                            if len(known.bins[place]) >= 64:
                                known.bins[place] = [_merged_bins(known.bins[place])]
    columns: dict[str, Any] = {
        name: np.array([key[i] for key in groups], dtype=None if groups else float) for i, name in enumerate(names)
    }
    for place, each in enumerate(asked):
        columns[each.name] = np.array([known.result(place, each) for known in groups.values()])
    table = Table(columns)
    order = next((each.name for each in asked if each.of is not None), names[0])
    return table.rows(np.argsort(columns[order], kind="stable"))


def _aggregated(block: Block, names: Sequence[str], asked: Sequence[Aggregate]) -> tuple[Any, Any, Any, list[Any]]:
    """(keys of the groups in a block, rows of each, mappings of each, one list of values for each aggregate)"""
    code = np.zeros(len(block), np.int64)
    choices: list[Any] = []
    for name in names:
        value = block(name)
        if isinstance(value, Labels):
            own, words = value.codes.astype(np.int64), list(value.words)
        else:
            present, own = np.unique(np.broadcast_to(value, (len(block),)), return_inverse=True)
            words = present.tolist()
        choices.append(words)
        code = code * len(words) + own
    if len(code) and np.all(code[1:] >= code[:-1]):
        order: Any = slice(None)
        ordered = code
    else:
        found, small = np.unique(code, return_inverse=True)
        order = np.argsort(small.astype(np.uint16) if len(found) < 2**16 else small, kind="stable")
        ordered = code[order]
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
    ends = np.append(starts[1:], len(ordered))
    keys = []
    for number in ordered[starts].tolist():
        key = []
        for words in reversed(choices):
            number, place = divmod(number, len(words))
            key.append(words[place])
        keys.append(tuple(reversed(key)))
    weight = block(WEIGHT)[order].astype(np.int64)
    parts: list[Any] = []
    for each in asked:
        if each.of is None:
            parts.append(None)
            continue
        values = np.broadcast_to(_number(each.of, block), (len(block),))[order]
        match each.kind:
            case "min":
                parts.append(np.minimum.reduceat(values, starts))
            case "max":
                parts.append(np.maximum.reduceat(values, starts))
            case "mean":
                parts.append(np.add.reduceat(values * weight, starts))
            case "q":
                spans = zip(starts, ends, strict=True)
                parts.append([_bins(values[first:end], weight[first:end]) for first, end in spans])
    return keys, ends - starts, np.add.reduceat(weight, starts), parts


def _bins(values: Any, weight: Any) -> tuple[Any, Any]:
    """Bins in use, and how many mappings each has."""
    bins = np.ascontiguousarray(values, np.float64).view(np.int64) >> BIN_SHIFT
    bins = np.where(values < 0, -1 - (bins & (2**63 - 1 >> BIN_SHIFT)), bins)  # negative numbers the other way round
    present, place = np.unique(bins, return_inverse=True)
    counts = np.zeros(len(present), np.int64)
    np.add.at(counts, place, weight)
    return present, counts


def _merged_bins(parts: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    present, place = np.unique(np.concatenate([bins for bins, _ in parts]), return_inverse=True)
    counts = np.zeros(len(present), np.int64)
    np.add.at(counts, place, np.concatenate([counts for _, counts in parts]))
    return present, counts


def _value_of_bin(place: int) -> float:
    """The middle of a bin."""
    magnitude = place if place >= 0 else -1 - place
    low, high = (np.int64((magnitude + i) << BIN_SHIFT).view(np.float64) for i in (0, 1))
    return float((low + high) / 2 if place >= 0 else -(low + high) / 2)


def quantile(parts: Sequence[tuple[Any, Any]], share: float) -> float:
    """The value below which a share of the mappings lies, to 0.1 %."""
    bins, counts = _merged_bins(parts)
    total = np.cumsum(counts)
    return _value_of_bin(int(bins[min(len(bins) - 1, int(np.searchsorted(total, share * total[-1])))]))


# ------------------------------------------------------------------------------------------- fronts and distributions


def pareto(
    sources: Sequence[Source],
    x: str = "energy_pj",
    y: str = "latency_ns",
    where: str | None = None,
    columns: Sequence[str] | None = None,
) -> Table:
    """The rows of all results together that no other row betters in both of two numbers, by rising ``x``."""
    shown_columns = _checked(sources, default_columns(sources) if columns is None else columns)
    condition = None if where is None else read_expression(where)
    axes = (read_expression(x), read_expression(y))
    front: tuple[Any, Any] = (np.empty(0), np.empty(0))
    origin = np.empty(0, np.int64)
    rows: list[Table] = []
    for source in sources:
        for axis in axes:
            axis.check(source.columns.known, source.columns.short_names)

        def candidates(block: Block) -> tuple[Any, Any, Table]:
            a, b = (np.broadcast_to(_number(axis, block), (len(block),)) for axis in axes)
            known_x, known_y = front  # noqa: B023  an older front lets more pass, no harm
            if len(known_x):
                place = np.searchsorted(known_x, a, side="right") - 1
                near = (place < 0) | (b < known_y[place])
            else:
                near = np.ones(len(a), np.bool_)
            chosen = np.flatnonzero(near)
            chosen = chosen[_front(a[chosen], b[chosen])]
            found = block.rows(chosen)
            return a[chosen], b[chosen], Table({name: _whole(found, name) for name in shown_columns})

        for a, b, table in scan(source, candidates, condition):
            if not len(a):
                continue
            rows.append(table)
            both_x, both_y = np.concatenate([front[0], a]), np.concatenate([front[1], b])
            origin = np.concatenate([origin, np.arange(len(a)) + (len(rows) << 32)])
            chosen = _front(both_x, both_y)
            front, origin = (both_x[chosen], both_y[chosen]), origin[chosen]
            if len(rows) > 256:
                rows, origin = _compacted(rows, origin)
    if not rows:
        return Table({name: np.empty(0) for name in shown_columns})
    rows, origin = _compacted(rows, origin)
    return rows[0]


def _compacted(rows: list[Table], origin: Any) -> tuple[list[Table], Any]:
    """Only the rows of the front, as one table; ``origin`` is (table, counted from 1) x 2 ** 32 + row."""
    starts = np.cumsum([0, *(len(table) for table in rows)])
    places = starts[(origin >> 32) - 1] + (origin & (2**32 - 1))
    return [joined(rows).rows(places)], np.arange(len(origin)) + (1 << 32)


def _front(x: Any, y: Any) -> Any:
    """Places of the points that no other has less of both, by rising x; the first of equal ones."""
    order = np.lexsort((y, x))
    least = np.minimum.accumulate(y[order]) if len(order) else y
    better = np.ones(len(order), np.bool_)
    better[1:] = y[order][1:] < least[:-1]
    return order[better]


@dataclass(frozen=True)
class Rank:
    """Where a value lies among the mappings of a result."""

    source: str
    of: str
    value: float
    better: float  #: share of the mappings that are better
    equal: float  #: share that is as good
    best: float
    median: float
    worst: float
    mappings: int  #: that were asked


def rank(source: Source, value: float, of: str = "edp_pj_ns", where: str | None = None) -> Rank:
    """Where a value lies among the mappings of a result."""
    expression = read_expression(of)
    expression.check(source.columns.known, source.columns.short_names)
    tolerance = 1e-12 * abs(value)

    def count(block: Block) -> tuple[int, int, int, float, float, tuple[Any, Any]]:
        values, weight = np.broadcast_to(_number(expression, block), (len(block),)), block(WEIGHT).astype(np.int64)
        below, above = values < value - tolerance, values > value + tolerance
        total, less = int(weight.sum()), int(weight[below].sum())
        equal = total - less - int(weight[above].sum())
        return total, less, equal, float(values.min()), float(values.max()), _bins(values, weight)

    found = list(scan(source, count, None if where is None else read_expression(where)))
    if not found:
        raise InputError(f"{source.name}: no mapping satisfies {shown(where)}")
    totals = np.array([each[:3] for each in found]).sum(axis=0).tolist()
    return Rank(
        source.name,
        of,
        value,
        totals[1] / totals[0],
        totals[2] / totals[0],
        min(each[3] for each in found),
        quantile([each[5] for each in found], 0.5),
        max(each[4] for each in found),
        totals[0],
    )


def near(sources: Sequence[Source], of: str = "edp_pj_ns", within: float = 0.01, limit: int = 20) -> Table:
    """The mappings nearest to the optimum of each result, one for each cost, and in what they differ from it.

    Args:
        of: one of ``BEST_OF``.
        within: at most this share above the best.

    Returns:
        Columns: the usual ones, ``above`` (relative), and ``differs``: spatial mapping, order, allocation.
    """
    if of not in BEST_OF:
        raise InputError(f"near must be of one of {listed(BEST_OF)}, not {shown(of)}")
    if not within >= 0:
        raise InputError(f"near needs a share of at least 0, not {within!r}")
    tables = []
    for source in sources:
        names = [*default_columns(sources), *IDENTITY]
        table = select([source], list(dict.fromkeys([*names, of])), None, of, limit=limit, distinct=True)
        table = table.rows(
            np.lexsort([table.columns[name] for name in (*COSTS[::-1], of)])
        )  # of equals, the better first
        best = table.columns[of][0]
        chosen = np.flatnonzero(table.columns[of] <= best * (1 + within) * (1 + 1e-12))
        table = table.rows(chosen)
        first = [int(table.columns[name][0]) for name in IDENTITY]
        optimum = source.result.space.decode(*first)
        differs = []
        for row in range(len(table)):
            other = source.result.space.decode(*(int(table.columns[name][row]) for name in IDENTITY))
            differs.append(", ".join(_differences(optimum, other)) or "the optimum")
        above = table.columns[of] / best - 1.0
        tables.append(Table({**table.columns, "above": above, "differs": np.array(differs, object)}))
    return joined(tables)


def _differences(one: Mapping, other: Mapping) -> list[str]:
    """The parts in which two mappings differ."""
    pairs = (
        ("spatial mapping", one.spatial, other.spatial),
        ("order", one.temporal, other.temporal),
        ("allocation", one.allocation, other.allocation),
    )
    return [name for name, a, b in pairs if a != b]


def common(source: Source, share: float = 0.01, of: str = "edp_pj_ns", where: str | None = None) -> Table:
    """What the best mappings have in common: features that are more frequent among them than among all.

    Features are the factors of the spatial mapping, the operands that stay in their lowest memory, the innermost and
    the outermost loop, and the loops at each memory level. Where mappings must be rebuilt for that, evenly spaced rows
    stand for all, at most about ``BACKGROUND`` of the best and of the rest.

    Returns:
        Columns ``feature``, ``value``, ``among_best``, ``among_all`` (shares), ``lift`` (their ratio), by how telling
        the feature is.
    """
    if not 0 < share < 1:
        raise InputError(f"common needs a share above 0 and below 1, not {share!r}")
    expression = read_expression(of)
    expression.check(source.columns.known, source.columns.short_names)
    condition = None if where is None else read_expression(where)

    def bins(block: Block) -> tuple[Any, Any]:
        values = np.ascontiguousarray(np.broadcast_to(_number(expression, block), (len(block),)))
        return _bins(values, block(WEIGHT).astype(np.int64))

    distribution = list(scan(source, bins, condition))
    if not distribution:
        raise InputError(f"{source.name}: no mapping satisfies {shown(where)}")
    present, counts = _merged_bins(distribution)
    total = np.cumsum(counts)
    last = int(np.searchsorted(total, share * total[-1]))
    limit = present[last]
    loops = list(source.columns.loops)
    steps = max(1, source.rows // BACKGROUND), max(1, int(source.rows * total[last] / total[-1]) // BACKGROUND)

    def count(block: Block) -> dict[tuple[str, Any], Any]:
        own = np.ascontiguousarray(np.broadcast_to(_number(expression, block), (len(block),)))
        among_best = (own.view(np.int64) >> BIN_SHIFT) <= limit
        found: dict[tuple[str, Any], Any] = {}
        for which, rows in enumerate((np.arange(0, len(block), steps[0]), np.flatnonzero(among_best)[:: steps[1]])):
            part = block.rows(rows)
            if not len(part):
                continue
            weight = part(WEIGHT).astype(np.float64)
            _tally(found, ("", ""), which, weight.sum())
            features: dict[str, Any] = {name: part(name) for name in (*source.columns.factors, "stationary")}
            features |= {name: part(name) for name in ("innermost", "outermost")}
            identity = [part(name) for name in IDENTITY]
            iterations = source.columns.replay(identity, [source.columns.loops[name] for name in loops], False)[1]
            features |= {name: iterations[:, i] for i, name in enumerate(loops)}
            for name, values in features.items():
                codes = values.codes if isinstance(values, Labels) else values
                choices, place = np.unique(codes, return_inverse=True)
                sums = np.bincount(place, weights=weight)
                for choice, amount in zip(choices.tolist(), sums.tolist(), strict=True):
                    word = values.words[choice] if isinstance(values, Labels) else choice
                    _tally(found, (name, word), which, amount)
        return found

    sums: dict[tuple[str, Any], Any] = {}
    for found in scan(source, count, condition):
        for feature, amounts in found.items():
            for which in range(2):
                _tally(sums, feature, which, amounts[which])
    everything, best = sums.pop(("", ""))
    rows = []
    for (name, value), (in_all, in_best) in sums.items():
        a, b = in_best / best, in_all / everything
        if a > b > 0 and not (value == 1 and name in loops):
            rows.append((name, str(value), a, b, a / b, a * np.log2(a / b)))
    rows.sort(key=lambda row: (-row[5], row[0], row[1]))
    names = ("feature", "value", "among_best", "among_all", "lift")
    return Table(
        {name: np.array([row[i] for row in rows], dtype=object if i < 2 else float) for i, name in enumerate(names)}
    )


def _tally(sums: dict[tuple[str, Any], Any], feature: tuple[str, Any], which: int, amount: float) -> None:
    sums.setdefault(feature, [0.0, 0.0])[which] += amount


# ------------------------------------------------------------------------------------------- single mappings, runs


def evaluation(source: Source, identity: Sequence[int]) -> Evaluation:
    """Rebuild a mapping from (spatial index, order rank, allocation code) and cost it anew.

    Raises:
        InputError: the result's space has no such mapping.
    """
    space = source.result.space
    numbers = [int(part) for part in identity]
    spatial, order, code = numbers
    if not 0 <= spatial < len(space.orders):
        raise InputError(f"{source.name}: the spatial index must lie in 0..{len(space.orders) - 1}, not {spatial}")
    if not 0 <= order < space.orders[spatial]:
        raise InputError(f"{source.name}: the order rank must lie in 0..{space.orders[spatial] - 1}, not {order}")
    codes = (int(space.loops[spatial]) + 1) ** sum(int(levels) - 1 for levels in space.problem["levels"])
    if not 1 <= code <= codes:
        raise InputError(f"{source.name}: the allocation code must lie in 1..{codes}, not {code}")
    return evaluate(
        source.result.layer, source.result.architecture, space.decode(spatial, order, code), space.cost_model
    )


def diff(first: str | Path, second: str | Path, of: str = "edp") -> Table:
    """How the best mappings of two runs differ, layer by layer, and what moved most.

    Returns:
        Columns ``architecture``, ``layer``, ``before``, ``after`` (of the objective), ``change`` (relative),
        ``energy``, ``latency`` (relative), ``moved`` (the parts that changed most), ``mapping`` (in what it differs),
        by falling change.
    """
    held = [set(contents(path)) for path in (first, second)]
    both = [pair for pair in contents(first) if pair in held[1]]
    if not both:
        raise InputError(f"{first} and {second} have no architecture and layer in common")
    rows: list[tuple[Any, ...]] = []
    for on, name in both:
        results = [load_result(path, on, name) for path in (first, second)]
        a, b = (_best_evaluation(result, of, path) for result, path in zip(results, (first, second), strict=True))
        value = [_objective(each, of) for each in (a, b)]
        change = [y / x - 1.0 if x else 0.0 for x, y in (value, (a.energy_pj.total, b.energy_pj.total),
                                                        (a.latency_cycles.total, b.latency_cycles.total))]  # fmt: skip
        moved = sorted(_moved(a, b).items(), key=lambda item: -abs(item[1]))[:2]
        parts = ", ".join(f"{part} {text.relative(share)}" for part, share in moved if abs(share) > 1e-9)
        rows.append(
            (on, name, *value, *change, parts or "nothing", ", ".join(_differences(a.mapping, b.mapping)) or "the same")
        )
    rows.sort(key=lambda row: -abs(row[4]))
    names = ("architecture", "layer", "before", "after", "change", "energy", "latency", "moved", "mapping")
    return Table({name: np.array([row[i] for row in rows], dtype=float if 2 <= i <= 6 else object)
                  for i, name in enumerate(names)})  # fmt: skip


def _best_evaluation(result: SearchResult, of: str, path: str | Path) -> Evaluation:
    try:
        return result.top(of)[0]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _objective(cost: Evaluation, of: str) -> float:
    return {"energy": cost.energy_pj.total, "latency": cost.latency_ns}.get(of, cost.edp_pj_ns)


def _moved(a: Evaluation, b: Evaluation) -> dict[str, float]:
    """Changes of the parts of energy and latency, as shares of the totals before."""
    changes = {"array energy": (b.energy_pj.mac - a.energy_pj.mac) / a.energy_pj.total}
    for operand in OPERANDS:
        for cost, sign in ((a, -1.0), (b, 1.0)):
            for level in cost.energy_pj.memory_breakdown[operand]:
                name = f"{level['memory']} energy for {operand}"
                pj = sum(value for key, value in level.items() if key != "memory")
                changes[name] = changes.get(name, 0.0) + sign * pj / a.energy_pj.total
    for part in ("spatial", "stall", "onload", "offload"):
        cycles = getattr(b.latency_cycles, part) - getattr(a.latency_cycles, part)
        changes[f"{'compute' if part == 'spatial' else part} cycles"] = cycles / a.latency_cycles.total
    return changes


# ------------------------------------------------------------------------------------------------------------ exports


def export(tables: Iterable[Table], path: str | Path, overwrite: bool = False) -> int:
    """Write tables, one below the other, as CSV, or as Parquet (needs the extra ``parquet``); return the rows.

    The file appears when it is complete.
    """
    path = Path(path)
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise InputError(f"{path}: must end in {' or '.join(writers)}")
    if path.exists() and not overwrite:
        raise StoreError(f"{path}: exists already; choose another name or allow overwriting")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        rows = writers[path.suffix](tables, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _write_csv(tables: Iterable[Table], path: Path) -> int:
    import csv

    rows = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for table in tables:
            columns = {name: values.tolist() for name, values in table.plain().items()}
            if not rows:
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
            rows += len(table)
    return rows


def _write_parquet(tables: Iterable[Table], path: Path) -> int:
    pyarrow = _needed("pyarrow", "Parquet", "parquet")
    from pyarrow import parquet as format

    rows, writer = 0, None
    try:
        for table in tables:
            data = pyarrow.table(table.plain())
            if writer is None:
                writer = format.ParquetWriter(path, data.schema)
            writer.write_table(data.cast(writer.schema))
            rows += len(table)
        if writer is None:
            raise InputError("there is no row to write")
    finally:
        if writer is not None:
            writer.close()
    return rows


def _needed(module: str, what: str, extra: str | None = None) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise InputError(f"{what} needs {module}: pip install 'fastmap[{extra or module}]'") from None
