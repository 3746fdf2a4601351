"""Mappings of a layer onto an array, and constraints on them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingABC
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from fastmap._spec import (
    Count,
    RuleError,
    Spec,
    SpecError,
    closest,
    label,
    listed,
    must,
    real,
    shown,
    whole,
)
from fastmap.architecture import Architecture
from fastmap.dimensions import DIAGONAL_PARTNER, LOOP_DIMENSIONS, OPERANDS
from fastmap.errors import MappingError
from fastmap.layer import Layer

Loop = tuple[str, int]


def _dimension(value: object) -> str:
    """Check the name of a loop dimension."""
    if not isinstance(value, str) or value not in LOOP_DIMENSIONS:
        raise ValueError(
            f"unknown loop dimension {shown(value)}{closest(value, LOOP_DIMENSIONS)} (known: {listed(LOOP_DIMENSIONS)})"
        )
    return value


def _by_name(value: object, kind: str, what: str, check: Callable[[Any], Any]) -> dict[str, Any]:
    """Check ``{name: ...}``, keeping the order: names of a ``kind``, each with ``what``, which ``check`` reads."""
    if not isinstance(value, MappingABC):
        raise must(f"a mapping of {kind} to {what}", value)
    found = {}
    for name, item in value.items():
        try:
            found[label(name)] = check(item)
        except ValueError as error:
            inner = error.where if isinstance(error, RuleError) else ()
            raise RuleError(str(error), (str(name), *inner)) from None
    return found


def _by_dimension(value: object, what: str, check: Callable[[Any], Any]) -> dict[str, Any]:
    """Check ``{loop dimension: ...}``, keeping the order: each with ``what``, which ``check`` reads."""
    if not isinstance(value, MappingABC):
        raise must(f"a mapping of loop dimensions to {what}", value)
    found = {}
    for name, item in value.items():
        try:
            found[_dimension(name)] = check(item)
        except ValueError as error:
            inner = error.where if isinstance(error, RuleError) else ()
            raise RuleError(str(error), (*((name,) if isinstance(name, str | int) else ()), *inner)) from None
    return found


def _dimensions(value: object) -> tuple[str, ...]:
    """Check a list of loop dimensions."""
    if not isinstance(value, list | tuple):
        raise must("a list of loop dimensions", value)
    return tuple(dict.fromkeys(_dimension(dim) for dim in value))


def _unrolling(value: object) -> dict[str, dict[str, int]]:
    """Check ``{array dimension: {loop dimension: factor}}``."""

    def factors(value: object) -> dict[str, int]:
        return _by_dimension(value, "factors, like {K: 64}", lambda factor: whole(factor, 1))

    return _by_name(value, "array dimensions", "{loop dimension: factor}", factors)


def _loops(value: object) -> tuple[Loop, ...]:
    """Check ``[[loop dimension, factor], ...]``."""
    if not isinstance(value, list | tuple):
        raise must("a list of [loop dimension, factor], innermost first", value)
    loops = []
    for index, item in enumerate(value):
        try:
            if not isinstance(item, list | tuple) or len(item) != 2:
                raise must("a pair [loop dimension, factor]", item)
            loops.append((_dimension(item[0]), whole(item[1], 1)))
        except ValueError as error:
            raise RuleError(str(error), (index,)) from None
    return tuple(loops)


def _allocation(value: object) -> dict[str, tuple[int, ...]] | None:
    """Check ``{operand: [loops at or below each level]}``."""
    if value is None:
        return None
    if not isinstance(value, MappingABC):
        raise must("a mapping of operands to lists of loop counts", value)
    cuts = {}
    for operand, levels in value.items():
        if operand not in OPERANDS:
            raise ValueError(f"unknown operand {shown(operand)} (known: {listed(OPERANDS)})")
        if not isinstance(levels, list | tuple):
            raise RuleError(str(must("a list with one number per memory level, innermost first", levels)), (operand,))
        try:
            cuts[str(operand)] = tuple(whole(level, 0) for level in levels)
        except ValueError as error:
            raise RuleError(str(error), (operand,)) from None
    return cuts


Unrolling = Annotated[dict[str, dict[str, int]], BeforeValidator(_unrolling)]
Loops = Annotated[tuple[Loop, ...], BeforeValidator(_loops)]
Allocation = Annotated[dict[str, tuple[int, ...]] | None, BeforeValidator(_allocation)]


class SpatialMapping(Spec):
    """How much of which loop each array dimension unrolls: ``{"D1": {"K": 64}, "D2": {"C": 32, "FX": 3}}``."""

    unrolling: Unrolling = Field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(tuple((name, *factors.items()) for name, factors in self.unrolling.items()))

    def problems(self, layer: Layer, architecture: Architecture) -> list[str]:
        """Return what is wrong with this spatial mapping for a layer on an architecture, one sentence each."""
        found = []
        sizes = architecture.array.dimensions
        for name, factors in self.unrolling.items():
            if name not in sizes:
                found.append(
                    f"spatial.{shown(name)}: {architecture.name} has no such array dimension{closest(name, sizes)} "
                    f"(it has {listed(sizes)})"
                )
                continue
            for dim, factor in factors.items():
                if factor > layer.size(dim):
                    found.append(
                        f"spatial.{name}.{dim}: the factor {factor} is larger than the loop of size {layer.size(dim)}"
                    )
            used = math.prod(factors.values())
            if used > sizes[name]:
                product = " * ".join(f"{dim} {factor}" for dim, factor in factors.items())
                found.append(f"spatial.{name}: {product} = {used} units are needed, and the array has {sizes[name]}")
        if not found:
            for spread in balanced_factors(layer, self).values():
                for dim, share in spread.items():
                    if share < 1 - 1e-9:
                        everywhere = math.prod(each.get(dim, 1) for each in self.unrolling.values())
                        found.append(
                            f"spatial: {dim} is unrolled {everywhere} times over the array dimensions together, and "
                            f"the loop's size is {layer.size(dim)}"
                        )
        return found

    def diagonal_problem(self, architecture: Architecture) -> str | None:
        """Return a sentence where diagonals need more rows than the array has, whose columns share their inputs.

        Columns of g output positions need inputs of their own: a filter loop of f rows then takes f + g - 1, or g where
        the filter dimension is not on the rows. ZigZag does not ask.
        """
        if architecture.array.kind == "mac":
            return None
        from fastmap.kernels.array import rows_needed
        from fastmap.lowering import lower_spatial

        array_dim, loop_dim, factor = lower_spatial(architecture, self.unrolling)
        needed = int(rows_needed(array_dim, loop_dim, factor, factor))
        if needed <= architecture.array.rows:
            return None
        columns, rows = list(architecture.array.dimensions)[:2]
        on_columns, on_rows = (self.unrolling.get(name, {}) for name in (columns, rows))
        words = [
            f"{' * '.join(f'{dim} {factor}' for dim, factor in factors.items())} on {name}"
            for name, factors in (
                (columns, {dim: factor for dim, factor in on_columns.items() if dim in DIAGONAL_PARTNER}),
                (rows, on_rows),
            )
            if factors
        ]
        return (
            f"spatial: {needed} rows are needed for the inputs of {' and '.join(words)} (a diagonal), and the array "
            f"has {architecture.array.rows}"
        )


class Mapping(Spec):
    """A complete mapping: spatial unrolling, loop order (innermost first) and, optionally, the allocation.

    ``allocation`` gives for each operand how many of the loops sit at or below each of its memory levels, innermost
    level first. None stands for the greedy allocation.
    """

    spatial: SpatialMapping
    temporal: Loops
    allocation: Allocation = None

    @model_validator(mode="before")
    @classmethod
    def _plain_spatial(cls, data: Any) -> Any:
        """Accept the spatial mapping as a plain dictionary."""
        return _with_plain_spatial(data)

    @classmethod
    def from_dict(cls, data: MappingABC[str, Any]) -> Self:
        """Build a mapping from the structure of a mapping file."""
        return cls.model_validate(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a mapping file (YAML or JSON)."""
        from fastmap.readers.native import read_mapping

        return cls.model_validate(read_mapping(path).model_dump())

    def to_dict(self) -> dict[str, Any]:
        """Return the structure of a mapping file; ``Mapping.from_dict`` restores the mapping from it."""
        data: dict[str, Any] = {
            "spatial": {name: dict(factors) for name, factors in self.spatial.unrolling.items()},
            "temporal": [[dim, factor] for dim, factor in self.temporal],
        }
        if self.allocation is not None:
            data["allocation"] = {operand: list(cuts) for operand, cuts in self.allocation.items()}
        return data

    def __hash__(self) -> int:
        cuts = None if self.allocation is None else tuple(sorted(self.allocation.items()))
        return hash((self.spatial, self.temporal, cuts))

    def problems(self, layer: Layer, architecture: Architecture) -> list[str]:
        """Return everything that keeps this mapping from belonging to the layer and architecture."""
        found = self.spatial.problems(layer, architecture)
        if not found:
            found += temporal_problems(self.temporal, layer, architecture, self.spatial)
        if self.allocation is not None:
            found += _allocation_problems(self.allocation, len(self.temporal), architecture)
        return found

    def check(self, layer: Layer, architecture: Architecture) -> None:
        """Raise :class:`MappingError` unless this mapping belongs to the layer and architecture.

        Whether the tiles fit the memories is not checked here: that takes the cost model.
        """
        found = self.problems(layer, architecture)
        if found:
            more = f" (and {len(found) - 1} more: {'; '.join(found[1:])})" if len(found) > 1 else ""
            raise MappingError(f"mapping of {layer.name} on {architecture.name}, {found[0]}{more}")


def temporal_problems(
    temporal: Iterable[Loop], layer: Layer, architecture: Architecture, spatial: SpatialMapping
) -> list[str]:
    """Return the loop dimensions whose temporal factors do not multiply to what the spatial mapping leaves."""
    as_searched = remaining_iterations(layer, architecture, spatial)
    exact = remaining_iterations(layer, architecture, spatial, exact=True)
    joint = jointly_remaining(layer, spatial)
    given: dict[str, int] = {}
    for dim, factor in temporal:
        given[dim] = given.get(dim, 1) * factor
    found = []
    for dim in LOOP_DIMENSIONS:
        needed = sorted({joint[dim], exact.get(dim, 1), as_searched.get(dim, 1)})
        if given.get(dim, 1) not in needed:
            words = " or ".join(str(number) for number in needed)
            found.append(
                f"temporal: the factors of {dim} multiply to {given.get(dim, 1)}, and {words} "
                f"{'are' if needed[-1] > 1 else 'is'} needed"
            )
    return found


def _allocation_problems(
    allocation: MappingABC[str, tuple[int, ...]], loops: int, architecture: Architecture
) -> list[str]:
    found = []
    for operand in OPERANDS:
        chain = [architecture.memories[index].name for index in architecture.chain(operand)]
        if operand not in allocation:
            found.append(f"allocation: operand {operand} is missing")
            continue
        cuts = allocation[operand]
        if len(cuts) != len(chain):
            found.append(f"allocation.{operand}: must have {len(chain)} numbers (for {listed(chain)}), not {len(cuts)}")
        elif any(low > high for low, high in itertools.pairwise(cuts)):
            found.append(f"allocation.{operand}: must not decrease, as {list(cuts)} does")
        elif cuts[-1] != loops:
            found.append(
                f"allocation.{operand}: must end at {loops}, the number of temporal loops (all of them sit at or below "
                f"{shown(chain[-1])}), not at {cuts[-1]}"
            )
    return found


def balanced_factors(
    layer: Layer, spatial: SpatialMapping, exact: bool = False
) -> dict[str, dict[str, float | Fraction]]:
    """Return the spatial factors evened out over the temporal iterations that they leave.

    100 channels on 64 columns take two iterations of 50. Of a loop on several array dimensions only the largest factor
    is evened out (the first of equals). ``exact`` computes in fractions instead of floating point.
    """
    one: float | Fraction = Fraction(1) if exact else 1.0
    balanced: dict[str, dict[str, float | Fraction]] = {}
    for name, factors in spatial.unrolling.items():
        balanced[name] = {}
        for dim, factor in factors.items():
            everywhere = {other: each[dim] for other, each in spatial.unrolling.items() if dim in each}
            if name != max(everywhere, key=lambda other: everywhere[other]):
                balanced[name][dim] = one * factor
                continue
            before = one
            for other in everywhere:
                if other != name and other in balanced:
                    before *= balanced[other][dim]
            iterations = math.ceil(layer.size(dim) / (factor * before))
            balanced[name][dim] = one * layer.size(dim) / iterations / before
    return balanced


def spatial_levels(
    operand: str, architecture: Architecture, balanced: MappingABC[str, MappingABC[str, float | Fraction]]
) -> list[dict[str, float | Fraction]]:
    """Return the spatial loops below each memory level of an operand, and last those above its topmost memory."""
    levels: list[dict[str, float | Fraction]] = []
    placed: set[str] = set()
    served = [architecture.memories[index].serves for index in architecture.chain(operand)]
    for names in [*served, tuple(balanced)]:
        level: dict[str, float | Fraction] = {}
        for name, factors in balanced.items():
            if name in names and name not in placed:
                placed.add(name)
                for dim, factor in factors.items():
                    level[dim] = level[dim] * factor if dim in level else factor
        levels.append(level)
    return levels


def remaining_iterations(
    layer: Layer, architecture: Architecture, spatial: SpatialMapping, exact: bool = False
) -> dict[str, int]:
    """Return the temporal iterations of each loop dimension that the spatial mapping leaves; only those above 1.

    The evened-out factor of 34 channels on 5 columns is 34/7, and ZigZag searches with ceil(34 / (34/7)) = 8
    iterations, since the quotient is 7.000...1 in floating point. ``exact`` gives 7.
    """
    left = {dim: layer.size(dim) for dim in layer.dimension_order}
    first_input = layer.operand_order[1]
    for level in spatial_levels(first_input, architecture, balanced_factors(layer, spatial, exact)):
        for dim, factor in level.items():
            if dim in left:
                left[dim] = math.ceil(left[dim] / factor)
                if left[dim] == 1:
                    del left[dim]
    return {dim: size for dim, size in left.items() if size > 1}


def jointly_remaining(layer: Layer, spatial: SpatialMapping) -> dict[str, int]:
    """Return the iterations of each loop dimension where the array dimensions cover it together, without excess.

    This is what the cost model ``corrected`` leaves. It differs from ``remaining_iterations`` where a dimension is
    unrolled on several array dimensions.
    """
    units = {dim: math.prod(factors.get(dim, 1) for factors in spatial.unrolling.values()) for dim in LOOP_DIMENSIONS}
    return {dim: -(-layer.size(dim) // units[dim]) for dim in LOOP_DIMENSIONS}


def _with_plain_spatial(data: Any) -> Any:
    """Wrap ``spatial: {D1: {K: 64}}`` into the model's own structure."""
    if isinstance(data, MappingABC) and "spatial" in data and not isinstance(data["spatial"], SpatialMapping):
        plain = data["spatial"]
        if plain is not None and not (isinstance(plain, MappingABC) and set(plain) == {"unrolling"}):
            return {**data, "spatial": {"unrolling": plain}}
    return data


def _allowed(value: object) -> dict[str, tuple[str, ...]] | None:
    """Check ``{array dimension: [loop dimensions]}``."""
    return None if value is None else _by_name(value, "array dimensions", "lists of loop dimensions", _dimensions)


def _choices(value: object) -> tuple[int, ...]:
    """Check a list of factors; the smallest comes first."""
    if not isinstance(value, list | tuple) or not value:
        raise must("a list of at least one factor (1: not unrolled)", value)
    return tuple(sorted({whole(factor, 1) for factor in value}))


def _spatial_factors(value: object) -> dict[str, dict[str, tuple[int, ...]]] | None:
    """Check ``{array dimension: {loop dimension: [factors]}}``."""
    if value is None:
        return None

    def factors(value: object) -> dict[str, tuple[int, ...]]:
        return _by_dimension(value, "lists of factors, like {K: [16, 32]}", _choices)

    found = _by_name(value, "array dimensions", "{loop dimension: [factors]}", factors)
    return {name: dims for name, dims in found.items() if dims} or None


def _some_loops(value: object) -> tuple[Loop, ...] | None:
    """Check loops that are a part of the order; those of one iteration do not count."""
    return None if value is None else tuple(loop for loop in _loops(value) if loop[1] > 1) or None


def _inside(value: object) -> tuple[tuple[str, str], ...] | None:
    """Check ``[[A, B], ...]``, ``[A inside B, ...]`` or ``A inside B``."""
    if value is None:
        return None
    if not isinstance(value, str | list | tuple):
        raise must("text like C inside K, or a list of such", value)
    pairs = []
    for index, item in enumerate([value] if isinstance(value, str) else value):
        try:
            pair = item
            if isinstance(item, str):
                words = item.split()
                pair = (words[0], words[2]) if len(words) == 3 and words[1].lower() == "inside" else None
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise must("text like C inside K, or a pair [C, K]", item)
            inner, outer = (_dimension(dim) for dim in pair)
            if inner == outer:
                raise ValueError(f"{inner} cannot lie inside itself")
            pairs.append((inner, outer))
        except ValueError as error:
            raise RuleError(str(error), () if isinstance(value, str) else (index,)) from None
    return tuple(dict.fromkeys(pairs)) or None


def _stored_operand(value: object) -> str:
    """Check the name of an operand."""
    if not isinstance(value, str) or value not in OPERANDS:
        raise must(f"one of {listed(OPERANDS)}", value)
    return value


def _stationary(value: object) -> dict[str, str] | None:
    """Check ``{memory: operand}``."""
    return None if value is None else _by_name(value, "memories", "operands, like {cells: W}", _stored_operand) or None


def _forbidden(value: object) -> dict[str, tuple[str, ...]] | None:
    """Check ``{place: [loop dimensions]}``."""
    if value is None:
        return None
    found = _by_name(value, "memories (or MEMORY.OPERAND)", "lists of loop dimensions", _dimensions)
    return {place: dims for place, dims in found.items() if dims} or None


class Bounds(Spec):
    """How many iterations there may be: at least ``min`` and, if it is given, at most ``max``."""

    min: Count = 1
    max: Count | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")
        return self

    def __str__(self) -> str:
        if self.max is None:
            return f"at least {self.min}"
        if self.min == self.max:
            return f"exactly {self.min}"
        return f"at most {self.max}" if self.min == 1 else f"{self.min} to {self.max}"

    def to_plain(self) -> int | dict[str, int]:
        """Return what a constraints file says: a number, or its bounds."""
        if self.min == self.max:
            return self.min
        least = {} if self.min == 1 else {"min": self.min}
        return least if self.max is None else {**least, "max": self.max}


def _bounds(value: object) -> Bounds:
    """Check a number of iterations, or ``{min: a, max: b}``."""
    if isinstance(value, Bounds):
        return value
    what = "a positive integer, or {min: 2, max: 8}"
    if not isinstance(value, MappingABC):
        number = whole(value, 1, what=what)
        return Bounds(min=number, max=number)
    given = {str(key): item for key, item in value.items() if item is not None}
    if not given:
        raise must(what, value)
    try:
        return Bounds.model_validate(given)
    except SpecError as error:
        raise RuleError(error.message, error.where) from None


def _level_factors(value: object) -> dict[str, dict[str, Bounds]] | None:
    """Check ``{place: {loop dimension: number or bounds}}``, leaving out the bounds that admit everything."""
    if value is None:
        return None

    def iterations(value: object) -> dict[str, Bounds]:
        found = _by_dimension(value, "numbers of iterations, like {K: 4} or {K: {max: 4}}", _bounds)
        return {dim: bounds for dim, bounds in found.items() if bounds != Bounds()}

    found = _by_name(value, "memories (or MEMORY.OPERAND)", "{loop dimension: iterations}", iterations)
    return {place: dims for place, dims in found.items() if dims} or None


_pairs_schema = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
_inside_schema = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, _pairs_schema]}},
        {"type": "null"},
    ]
}
_count_schema = {"type": "integer", "minimum": 1}
_bounds_schema = {
    "anyOf": [
        _count_schema,
        {
            "type": "object",
            "properties": {"min": _count_schema, "max": _count_schema},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}
_factors_schema = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _bounds_schema}},
        {"type": "null"},
    ]
}

SomeLoops = Annotated[tuple[Loop, ...] | None, BeforeValidator(_some_loops)]


def _fraction(value: object) -> float | None:
    """Check a share between 0 (excluded) and 1."""
    if value is None:
        return None
    number = real(value, positive=True)
    if number > 1:
        raise must("a number above 0 and at most 1", value)
    return number


class Constraints(Spec):
    """What a search may choose from; everything left out is free."""

    #: Fixed spatial factors. Array dimensions that it does not name stay empty, unless ``allowed`` or, without it,
    #: ``spatial_factors`` names them. Where ``allowed`` names the same array dimension, the other loops that it allows
    #: there are free.
    spatial: SpatialMapping | None = None
    #: Array dimension -> loop dimensions that may be unrolled on it. OX and OY join the columns of an
    #: in-memory-computing array only beside FX and FY on its rows, which let the columns share inputs (a diagonal).
    allowed: Annotated[dict[str, tuple[str, ...]] | None, BeforeValidator(_allowed)] = None
    #: Array dimension -> loop dimension -> the only factors by which it may be unrolled there (1: not at all).
    spatial_factors: Annotated[dict[str, dict[str, tuple[int, ...]]] | None, BeforeValidator(_spatial_factors)] = None
    #: Share of the array's units that a spatial mapping must use.
    min_array_utilization: Annotated[float | None, BeforeValidator(_fraction)] = None
    #: How many spatial mappings to try, those that use most units first; of ZigZag's candidates 3 when left out.
    max_spatial_mappings: Count | None = None
    #: ``complete``: every number of iterations that unrolling can leave of each loop. ``zigzag``: the few spatial
    #: mappings of divisors that ZigZag generates, in its order; ``spatial`` may then map only some array dimensions.
    spatial_candidates: Literal["complete", "zigzag"] = "complete"
    #: Split the loops into at most this many factors (ZigZag's ``lpf_limit``).
    loop_factor_limit: Count | None = None
    #: The one loop order to use, innermost first.
    temporal: Annotated[tuple[Loop, ...] | None, BeforeValidator(lambda v: None if v is None else _loops(v))] = None
    #: What the order starts with, innermost first. A factor may be made of several adjacent loops.
    innermost: SomeLoops = None
    #: What the order ends with; the last is the outermost loop of all.
    outermost: SomeLoops = None
    #: Pairs (A, B): every loop of dimension A lies inside every loop of dimension B. Files may say ``A inside B``.
    inside: Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(_inside), WithJsonSchema(_inside_schema)] = (
        None
    )
    #: Memory -> the operand whose tile in it is reused by the loop directly below its boundary.
    stationary: Annotated[dict[str, str] | None, BeforeValidator(_stationary)] = None
    #: Place -> loop dimensions that have no temporal loop there. A place is a memory, or MEMORY.OPERAND.
    forbidden: Annotated[dict[str, tuple[str, ...]] | None, BeforeValidator(_forbidden)] = None
    #: Place -> loop dimension -> how many of its temporal iterations are there: a number, or its bounds.
    factors: Annotated[
        dict[str, dict[str, Bounds]] | None, BeforeValidator(_level_factors), WithJsonSchema(_factors_schema)
    ] = None
    #: ``free``: all allocations. ``even``: operands that share a memory have the same loops at or below it. ``greedy``:
    #: the one that ZigZag picks for each order.
    allocation: Literal["free", "even", "greedy"] = "free"
    #: Every weight enters the innermost weight memory once.
    weights_loaded_once: bool = False

    @model_validator(mode="before")
    @classmethod
    def _plain_spatial(cls, data: Any) -> Any:
        return _with_plain_spatial(data)

    @property
    def rule_allocations(self) -> bool:
        """Whether a constraint is set that an allocation may fail."""
        given = (self.stationary, self.forbidden, self.factors, self.weights_loaded_once, self.allocation == "even")
        return any(given)

    @classmethod
    def from_dict(cls, data: MappingABC[str, Any]) -> Self:
        """Build constraints from the structure of a constraints file."""
        return cls.model_validate(data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file of constraints that hold for all layers."""
        from fastmap.readers.native import read_constraints

        return cls.model_validate(read_constraints(path).model_dump())

    def to_dict(self) -> dict[str, Any]:
        """Return the structure of a constraints file, without what is free."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        if self.spatial is not None:
            data["spatial"] = data["spatial"]["unrolling"]
        if self.factors is not None:
            data["factors"] = {
                place: {dim: bounds.to_plain() for dim, bounds in dims.items()} for place, dims in self.factors.items()
            }
        for key in ("spatial_candidates", "allocation", "weights_loaded_once"):
            if data[key] == type(self).model_fields[key].default:
                del data[key]
        return data

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))
