"""What an exhaustive search keeps of the mappings that it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmap._spec import closest, listed, shown
from fastmap.errors import InputError
from fastmap.expression import Expression, read_expression
from fastmap.kernels.reduce import OFFER

SUMMARIES = ("top-k", "pareto", "histogram")
ROWS = ("filter", "all")
MODES = ("best", *SUMMARIES, *ROWS, "sample")
DEFAULT_SAMPLE = 10_000
MAX_SAMPLE = 1_000_000
#: A mapping drawn for a sample, with its place in the lottery.
DRAW = np.dtype([("key", np.float64), *OFFER.descr], align=True)


@dataclass(frozen=True)
class Keep:
    """What is kept: see ``Keep.of``."""

    modes: tuple[str, ...] = SUMMARIES
    where: Expression | None = None
    sample_size: int = 0
    seed: int = 0
    columns: tuple[str, ...] = ()  #: to store beside energy, latency and what identifies a row

    @classmethod
    def of(
        cls,
        modes: str | Iterable[str] | None = None,
        where: str | None = None,
        sample_size: int | None = None,
        seed: int | None = None,
        columns: Iterable[str] = (),
    ) -> Keep:
        """Read what a user asks for.

        Args:
            modes: ``best``: the best mapping for each objective, which is always kept; ``top-k``: the best few;
                ``pareto``: the front of energy and latency; ``histogram``: the distributions; ``all``: a row for every
                distinct cost, with the number of mappings that have it by construction; ``filter``: the rows that
                satisfy ``where``; ``sample``: mappings drawn uniformly. Without any of ``best`` to ``histogram``,
                ``top-k``, ``pareto`` and ``histogram`` are kept too, which take kilobytes.
            where: an expression over the columns of a mapping (see ``fastmap.columns``); implies ``filter``.
            sample_size: mappings to draw; implies ``sample``. Default: 10,000.
            seed: of the sample. Default: 0.
            columns: columns of numbers to store beside energy, latency and identity.

        Raises:
            InputError: one sentence that says what is wrong.
        """
        asked = list(dict.fromkeys([modes] if isinstance(modes, str) else modes or ()))
        for mode in asked:
            if mode not in MODES:
                raise InputError(f"keep must be among {listed(MODES)}, not {shown(mode)}{closest(mode, MODES)}")
        if where is not None and "filter" not in asked:
            asked.append("filter")
        if (sample_size is not None or seed is not None) and "sample" not in asked:
            asked.append("sample")
        if "filter" in asked and where is None:
            raise InputError("keep filter needs an expression (where) that says which mappings")
        if "filter" in asked and "all" in asked:
            raise InputError("keep all and keep filter exclude each other; leave out the expression, or all")
        size = DEFAULT_SAMPLE if sample_size is None else sample_size
        for name, number, least, most in (("sample_size", size, 1, MAX_SAMPLE), ("seed", seed or 0, 0, 2**63 - 1)):
            if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
                raise InputError(f"{name} must be an integer from {least} to {most}, not {shown(number)}")
        columns = tuple(columns)
        if columns and not {"filter", "all", "sample"} & set(asked):
            raise InputError("columns are stored with rows; keep all, filter or sample")
        summaries = [mode for mode in asked if mode in ("best", *SUMMARIES)] or list(SUMMARIES)
        rows = [mode for mode in asked if mode not in ("best", *SUMMARIES)]
        return cls(
            tuple(summaries + rows),
            None if where is None else read_expression(where),
            size if "sample" in asked else 0,
            seed or 0,
            columns,
        )

    @property
    def rows(self) -> bool:
        """Whether rows are kept one by one."""
        return bool(set(ROWS) & set(self.modes))

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "modes": list(self.modes),
            "where": None if self.where is None else self.where.text,
            "sample_size": self.sample_size,
            "seed": self.seed,
            "columns": list(self.columns),
        }


class Sample:
    """Mappings drawn uniformly, without replacement, from all that fit; the same ones however they are split.

    Every mapping has a number between 0 and 1, its key, which its identity and the seed decide; those with the smallest
    keys are drawn. A row stands for several mappings: the smallest of w independent keys is 1 - (1 - u) ** (1 / w) with
    a uniform u, the next one is the smallest of w - 1 between it and 1, and so on.
    """

    def __init__(self, size: int, seed: int, draws: Any = None) -> None:
        self.size = size
        self.seed = seed
        self.draws = np.empty(0, DRAW) if draws is None else draws

    def offer(self, offers: Any) -> None:
        """Let rows (OFFER[n]) take part."""
        rows = np.arange(len(offers))
        key = np.zeros(len(offers))
        mixed = _mixed(self.seed, offers)
        turn = 0
        drawn: list[Any] = []  # not yet among the draws: sorting them takes longer than drawing
        while self.size and len(rows):
            left = (offers["weight"][rows] - turn).astype(np.float64)
            key = key + (1.0 - key) * -np.expm1(np.log1p(-_uniform(mixed[rows], turn)) / left)
            chosen = key < self._limit(key)
            rows, key = rows[chosen], key[chosen]
            draws = np.empty(len(rows), DRAW)
            draws["key"] = key
            for name, *_ in OFFER.descr:
                draws[name] = offers[name][rows]
            drawn.append(draws)
            if sum(map(len, drawn)) >= self.size:
                self.add(np.concatenate(drawn))
                drawn = []
            turn += 1
            more = (offers["weight"][rows] > turn) & (key < self._limit())
            rows, key = rows[more], key[more]
        if drawn:
            self.add(np.concatenate(drawn))

    def add(self, draws: Any) -> None:
        """Take in what another sample of the same seed has drawn."""
        keys = np.concatenate([self.draws["key"], draws["key"]])
        last = np.partition(keys, self.size - 1)[self.size - 1] if len(keys) > self.size else np.inf
        both = np.concatenate([part[part["key"] <= last] for part in (self.draws, draws)])
        order = np.argsort(both["key"], kind="stable")
        if (np.diff(both["key"][order]) == 0).any():
            order = np.lexsort([both[name] for name in ("code", "rank", "spatial", "key")])
        self.draws = both[order[: self.size]]

    def _limit(self, keys: Any = ()) -> float:
        """A key that is certainly not drawn any more, given those drawn and some more."""
        if len(self.draws) == self.size:
            return float(self.draws["key"][-1])
        if len(keys) > self.size:
            return float(np.nextafter(np.partition(keys, self.size - 1)[self.size - 1], 2.0))
        return np.inf


def _splitmix(x: Any) -> Any:
    """Mix the bits of uint64 numbers (the finaliser of Steele, Lea and Flood's SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mixed(seed: int, offers: Any) -> Any:
    golden = np.uint64(0x9E3779B97F4A7C15)
    mixed = np.full(len(offers), np.uint64(seed) + np.uint64(1), np.uint64)
    for name in ("spatial", "rank", "code"):
        mixed = _splitmix((mixed ^ offers[name].astype(np.uint64)) * golden + golden)
    return mixed


def _uniform(mixed: Any, turn: int) -> Any:
    """Numbers in [0, 1) with 53 bits."""
    golden = 0x9E3779B97F4A7C15
    return (_splitmix(mixed + np.uint64((turn + 1) * golden % 2**64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
