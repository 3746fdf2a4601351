"""The spatial mappings that ZigZag 3.9.1 tries for a layer: the few of highest score among divisors of the loop sizes.

ZigZag evaluates three spatial mappings for each layer. Candidates unroll divisors of the loops that are allowed on an
array dimension, alone or several together. The more units a mapping uses, the higher its score; that they are spread
over several loops counts a little. Ties fall by the position of the candidates, and that by the iteration order of
Python sets of ZigZag's dimensions. The order is reproduced here by real sets of elements with the same hashes.

Array dimensions are taken in the order of their names, where ZigZag goes by the order of its file.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fastmap.architecture import Architecture, Memory
from fastmap.dimensions import PARTIALLY_RELEVANT, RELEVANT
from fastmap.layer import Layer
from fastmap.mapping import SpatialMapping

Factors = dict[str, int]

_MODULUS = 2**61 - 1  # of Python's hashes of integers


def _digest(text: bytes) -> int:
    return int(hashlib.sha512(text).hexdigest(), 16)


#: What the hash of a dimension holds besides its name: its class, as pickle writes it.
_LOOP = _digest(b"\x80\x04\x95!\x00\x00\x00\x00\x00\x00\x00\x8c\x10zigzag.datatypes\x94\x8c\x08LayerDim\x94\x93\x94.")
_ARRAY = _digest(
    b"\x80\x04\x95$\x00\x00\x00\x00\x00\x00\x00\x8c\x10zigzag.datatypes\x94\x8c\x0bOADimension\x94\x93\x94."
)


class _Dimension:
    """A name with the hash of ZigZag's dimension of that name."""

    __slots__ = ("_hash", "name")

    def __init__(self, name: str, zigzag_name: str, kind: int) -> None:
        self.name = name
        self._hash = (_digest(pickle.dumps(zigzag_name, 4)) ^ kind) % _MODULUS

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dimension) and self.name == other.name


def set_order(names: Iterable[str], zigzag_names: Mapping[str, str] | None = None, kind: int = _LOOP) -> list[str]:
    """Return dimensions in the order in which a set of ZigZag's iterates that was filled in the order given.

    Args:
        zigzag_names: what ZigZag calls the dimensions whose name is another there.
        kind: loop dimensions, or array dimensions.
    """
    known = zigzag_names or {}
    members: set[_Dimension] = set()
    for name in names:
        members.add(_Dimension(name, known.get(name, name), kind))
    return [member.name for member in members]


def zigzag_spatial_mappings(
    layer: Layer,
    architecture: Architecture,
    allowed: Mapping[str, Sequence[str]],
    count: int = 3,
    given: SpatialMapping | None = None,
) -> list[SpatialMapping]:
    """Return the spatial mappings that ZigZag would try, in its order; fewer than ``count`` if there are no more.

    Args:
        allowed: array dimension -> loop dimensions that may be unrolled on it. An array dimension that is missing, or
            for which the layer has none of them, may unroll all loops.
        count: how many to return.
        given: array dimensions that are mapped already, cut down to what the layer and the array allow. Only the others
            are filled; if there are none, ``given`` is the only mapping.
    """
    return _Generator(layer, architecture, allowed).run(count, given)


class _Generator:
    def __init__(self, layer: Layer, architecture: Architecture, allowed: Mapping[str, Sequence[str]]) -> None:
        self.layer, self.architecture = layer, architecture
        self.sizes = architecture.array.dimensions
        self.dims = layer.dimension_order
        self.zigzag_names = {ours: theirs for theirs, ours in layer.aliases.items()}
        self.irrelevant = {operand: self._irrelevant(operand) for operand in RELEVANT}
        self.precision = {"W": layer.weight_bits, "I": layer.input_bits, "O": layer.output_bits}
        self.inner = list(self._inner_memories())
        self.limits = self._limits()
        self.hints: dict[str, list[str]] = {}
        for name in self.sizes:
            dims = allowed.get(name, ())
            self.hints[name] = self._set_order(dims if any(dim in self.dims for dim in dims) else self.dims)

    def run(self, count: int, given: SpatialMapping | None) -> list[SpatialMapping]:
        fixed = self._reduced(given)
        if any(factor < 1 for factors in fixed.values() for factor in factors.values()):
            return []
        found = []
        for combination in self._best(fixed, count):
            mapping = {**{name: dict(factors) for name, factors in fixed.items()}, **combination}
            self._fit_memories(mapping)
            found.append(SpatialMapping(unrolling=mapping))
        return found

    def _set_order(self, names: Iterable[str]) -> list[str]:
        return set_order(names, self.zigzag_names)

    def _irrelevant(self, operand: str) -> set[str]:
        """Return the loops, longer than 1, that do not index an operand."""
        windows = PARTIALLY_RELEVANT[operand] if self.layer.sliding_window else ()
        relevant = RELEVANT[operand].union(*windows)
        return {dim for dim in self.dims if dim not in relevant and self.layer.size(dim) > 1}

    def _inner_memories(self) -> Iterator[Memory]:
        """Yield the memories that have none below them."""
        seen: set[str] = set()
        for memory in self.architecture.memories:
            if seen.isdisjoint(memory.operands):
                yield memory
            seen.update(memory.operands)

    def _limits(self) -> dict[str, Factors]:
        """Return the largest factor of each loop on each array dimension.

        Units along a dimension that an inner memory serves share what its port moves in a cycle, unless they use the
        same data.
        """
        limits = {
            name: {dim: min(self.layer.size(dim), size) for dim in self.dims} for name, size in self.sizes.items()
        }
        for memory in self.inner:
            for operand in memory.operands:
                port = memory.port(operand, "wr_in_by_low" if operand == "O" else "rd_out_to_low")
                assert port is not None  # an architecture has the ports that its operands need
                words = memory.ports[port].bandwidth_max_bits // self.precision[operand]
                for name in memory.serves:
                    for dim in self.dims:
                        if dim not in self.irrelevant[operand]:
                            limits[name][dim] = min(limits[name][dim], words)
        return limits

    def _reduced(self, given: SpatialMapping | None) -> dict[str, Factors]:
        """Cut a given mapping down to the layer, the memories and the array. A factor of 0 has no room at all."""
        fixed: dict[str, Factors] = {}
        for name, factors in (given.unrolling if given is not None else {}).items():
            if name not in self.sizes:
                continue
            limits = self.limits[name]
            fixed[name] = {dim: min(factor, limits[dim]) for dim, factor in factors.items() if dim in limits}
            while math.prod(fixed[name].values()) > self.sizes[name]:
                del fixed[name][self._set_order(fixed[name])[0]]
        for dim in self.dims:
            holders = set_order((name for name in fixed if dim in fixed[name]), kind=_ARRAY)
            while math.prod(fixed[name][dim] for name in holders) > self.layer.size(dim):
                del fixed[holders.pop(0)][dim]
        return fixed

    def _candidates(self, name: str) -> list[Factors]:
        """Return what may be unrolled on one array dimension: single loops, then several together."""
        limits, hint = self.limits[name], [dim for dim in self.hints[name] if dim in self.dims]
        divisors = {dim: [n for n in range(1, limits[dim] + 1) if limits[dim] % n == 0] for dim in hint}
        found = [{dim: factor} for dim in hint for factor in reversed(divisors[dim])]
        for together in range(2, len(hint) + 1):
            for dims in itertools.combinations(hint, together):
                for factors in _products([divisors[dim][1:] for dim in dims], self.sizes[name]):
                    found.append(dict(zip(dims, factors, strict=True)))
        return found

    def _best(self, fixed: Mapping[str, Factors], count: int) -> list[dict[str, Factors]]:
        """Return the combinations of candidates of the highest scores; of equals, that of the earliest candidates."""
        missing = [name for name in self.sizes if name not in fixed]
        if not missing:
            return [{}]
        candidates = {name: self._candidates(name) for name in missing}
        if not all(candidates.values()):
            return []
        # The combinations with each candidate of the longest list are scored at once.
        last = max(missing, key=lambda name: len(candidates[name]))
        others = [name for name in missing if name != last]
        tables = {name: self._table(candidates[name]) for name in missing}
        loop_sizes = np.array([self.layer.size(dim) for dim in self.dims], np.int64)
        base = np.prod(self._table([{}, *fixed.values()]), axis=0)
        units = np.prod(tables[last], axis=1)
        most = int(np.prod(base)) * int(units.max())
        best: list[tuple[float, tuple[int, ...]]] = []
        for positions in itertools.product(*(range(len(candidates[name])) for name in others)):
            outer = base.copy()
            for name, position in zip(others, positions, strict=True):
                outer *= tables[name][position]
            bound = most * (int(np.prod(outer)) // int(np.prod(base)))
            if len(best) == count and bound + bound / int(outer.max()) - 1 < -best[-1][0]:
                continue
            totals = outer * tables[last]
            used = (units * np.prod(outer)).astype(np.float64)
            scores = used + (used / totals.max(axis=1) - 1)
            valid = np.flatnonzero(np.all(totals <= loop_sizes, axis=1))
            chosen = valid[np.argsort(-scores[valid], kind="stable")[:count]]
            for place in chosen.tolist():
                at = dict(zip(others, positions, strict=True)) | {last: place}
                best.append((-float(scores[place]), tuple(at[name] for name in missing)))
            best = sorted(best)[:count]
        return [
            {name: dict(candidates[name][place]) for name, place in zip(missing, places, strict=True)}
            for _, places in best
        ]

    def _table(self, candidates: Sequence[Factors]) -> npt.NDArray[np.int64]:
        """Return the factors of all loops, one candidate a row."""
        return np.array([[factors.get(dim, 1) for dim in self.dims] for factors in candidates], np.int64)

    def _fit_memories(self, mapping: dict[str, Factors]) -> None:
        """Shrink factors until each inner memory holds one element for every unit that it serves."""
        for memory in self.inner:
            for operand in memory.operands:
                relevant = [
                    dim
                    for name in memory.serves
                    for dim in mapping.get(name, {})
                    if dim not in self.irrelevant[operand]
                ]
                before = [
                    mapping[name][dim]
                    for dim in self._set_order(relevant)
                    for name in memory.serves
                    if dim in mapping.get(name, {})
                ]
                room = memory.size_bits / self.precision[operand]
                after = list(before)
                while math.prod(after) > room and any(factor > 1 for factor in after):
                    after[after.index(max(after))] -= 1
                if after != before:  # equal factors change alike, to the last one's new value
                    changed = dict(zip(before, after, strict=True))
                    for name in memory.serves:
                        for dim in mapping.get(name, {}):
                            if dim in relevant:
                                mapping[name][dim] = changed[mapping[name][dim]]


def _products(choices: Sequence[Sequence[int]], limit: int) -> Iterator[tuple[int, ...]]:
    """Yield one of each of the rising ``choices``, the first slowest, where their product keeps within the limit."""
    if not choices:
        yield ()
        return
    for factor in choices[0]:
        if factor > limit:
            return
        for rest in _products(choices[1:], limit // factor):
            yield (factor, *rest)
