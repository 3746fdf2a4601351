"""Mappings of a layer onto an array, and constraints on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fastmap._spec import Count, RuleError, Spec, closest, label, listed, must, real, shown, whole
from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
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


def _factors(value: object) -> dict[str, int]:
    """Check ``{loop dimension: factor}``."""
    if not isinstance(value, MappingABC):
        raise must("a mapping of loop dimensions to factors, like {K: 64}", value)
    factors = {}
    for name, factor in value.items():
        try:
            factors[_dimension(name)] = whole(factor, 1)
        except ValueError as error:
            raise RuleError(str(error), (name,) if isinstance(name, str | int) else ()) from None
    return factors


def _unrolling(value: object) -> dict[str, dict[str, int]]:
    """Check ``{array dimension: {loop dimension: factor}}``, keeping all orders."""
    if not isinstance(value, MappingABC):
        raise must("a mapping of array dimensions to {loop dimension: factor}", value)
    unrolling = {}
    for name, factors in value.items():
        try:
            unrolling[label(name)] = _factors(factors)
        except ValueError as error:
            inner = error.where if isinstance(error, RuleError) else ()
            raise RuleError(str(error), (str(name), *inner)) from None
    return unrolling


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
    given: dict[str, int] = {}
    for dim, factor in temporal:
        given[dim] = given.get(dim, 1) * factor
    found = []
    for dim in LOOP_DIMENSIONS:
        needed = sorted({exact.get(dim, 1), as_searched.get(dim, 1)})
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


def _with_plain_spatial(data: Any) -> Any:
    """Wrap ``spatial: {D1: {K: 64}}`` into the model's own structure."""
    if isinstance(data, MappingABC) and "spatial" in data and not isinstance(data["spatial"], SpatialMapping):
        plain = data["spatial"]
        if plain is not None and not (isinstance(plain, MappingABC) and set(plain) == {"unrolling"}):
            return {**data, "spatial": {"unrolling": plain}}
    return data


def _allowed(value: object) -> dict[str, tuple[str, ...]] | None:
    """Check ``{array dimension: [loop dimensions]}``."""
    if value is None:
        return None
    if not isinstance(value, MappingABC):
        raise must("a mapping of array dimensions to lists of loop dimensions", value)
    allowed = {}
    for name, dims in value.items():
        try:
            if not isinstance(dims, list | tuple):
                raise must("a list of loop dimensions", dims)
            allowed[label(name)] = tuple(dict.fromkeys(_dimension(dim) for dim in dims))
        except ValueError as error:
            raise RuleError(str(error), (str(name),)) from None
    return allowed


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

    #: The one spatial mapping to use. Array dimensions that it does not name stay empty, unless ``allowed`` names them.
    spatial: SpatialMapping | None = None
    #: Array dimension -> loop dimensions that may be unrolled on it.
    allowed: Annotated[dict[str, tuple[str, ...]] | None, BeforeValidator(_allowed)] = None
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

    @model_validator(mode="before")
    @classmethod
    def _plain_spatial(cls, data: Any) -> Any:
        return _with_plain_spatial(data)

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
        if self.spatial_candidates == "complete":
            del data["spatial_candidates"]
        return data
