"""Constraints that differ from layer to layer (a constraints file, or ZigZag's mapping file), constraints written as
options of the command line, and what keeps constraints from making sense for a layer on an architecture.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from typing import Any

from pydantic import Field

from fastmap._spec import Spec, SpecError, closest, listed, shown
from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS, PARTIALLY_RELEVANT, RELEVANT
from fastmap.errors import EmptySpaceError, InputError
from fastmap.layer import Layer
from fastmap.mapping import Bounds, Constraints, SpatialMapping, remaining_iterations
from fastmap.workload import Workload


class Rule(Spec):
    """One entry of ZigZag's mapping file, with the loop names of that file."""

    spatial: dict[str, dict[str, int]] | None = None
    allowed: dict[str, tuple[str, ...]] | None = None
    #: Innermost first; None stands for all iterations that remain.
    temporal: tuple[tuple[str, int | None], ...] | None = None


class ConstraintSet(Spec):
    """The constraints of a file, by layer.

    ``common`` and ``layers`` come from our own format, where the keys of a layer replace the common ones. ``rules``
    come from ZigZag's, where the first of layer name, operator type and ``default`` counts.
    """

    source: str = "constraints"
    common: Constraints = Field(default_factory=Constraints)
    layers: dict[str, Constraints] = Field(default_factory=dict)
    rules: dict[str, Rule] = Field(default_factory=dict)

    def check_layers(self, workload: Workload) -> None:
        """Refuse constraints of a layer that the workload does not have: the name may be a misspelling."""
        names = [layer.name for layer in workload]
        for name in self.layers:
            if name not in names:
                raise InputError(
                    f"{self.source}, layers.{shown(name)}: {workload.name} has no such layer{closest(name, names)} "
                    f"(its layers: {listed(names)})"
                )

    def for_layer(self, layer: Layer, architecture: Architecture | None = None) -> Constraints:
        """Return what holds for one layer.

        The architecture is only needed where a loop order says "all that remain" (``"*"`` in ZigZag's file).
        """
        if not self.rules:
            own = self.layers.get(layer.name)
            if own is None:
                return self.common
            return replaced(self.common, own)
        for name in (layer.name, layer.operator, "default"):
            if name in self.rules:
                return self._translate(name, layer, architecture)
        raise InputError(
            f"{self.source}: has no entry for layer {shown(layer.name)}: neither its name, nor its operator type "
            f"{shown(layer.operator)}, nor default (entries: {listed(self.rules)})"
        )

    def _translate(self, name: str, layer: Layer, architecture: Architecture | None) -> Constraints:
        rule = self.rules[name]
        data: dict[str, Any] = {}
        if rule.spatial is not None:
            unrolling: dict[str, dict[str, int]] = {}
            for array_dim, factors in rule.spatial.items():
                unrolling[array_dim] = {}
                for word, factor in factors.items():
                    dim = self._dimension(word, name, layer)
                    # One entry serves many layers: a loop shorter than the factor is unrolled completely.
                    if layer.size(dim) > 1:
                        joined = unrolling[array_dim].get(dim, 1) * factor
                        unrolling[array_dim][dim] = min(joined, layer.size(dim))
            data["spatial"] = SpatialMapping(unrolling=unrolling)
        open_dims = {key: dims for key, dims in (rule.allowed or {}).items() if key not in (rule.spatial or {})}
        if open_dims:
            data["allowed"] = {
                key: tuple(dict.fromkeys(self._dimension(word, name, layer) for word in dims))
                for key, dims in open_dims.items()
            }
        if rule.temporal is not None:
            data["temporal"] = self._order(rule.temporal, name, layer, architecture, data.get("spatial"))
        return Constraints(**data)

    def _order(
        self,
        loops: tuple[tuple[str, int | None], ...],
        name: str,
        layer: Layer,
        architecture: Architecture | None,
        spatial: SpatialMapping | None,
    ) -> tuple[tuple[str, int], ...]:
        """Return the loop order with every "all that remain" written out."""
        order = [(self._dimension(word, name, layer), factor) for word, factor in loops]
        known = [(dim, factor) for dim, factor in order if factor is not None]
        if len(known) == len(order):
            return tuple(known)
        if architecture is None or spatial is None:
            raise InputError(
                f"{self.source}, {shown(name)}, temporal_ordering: '*' (all that remain) needs a fixed spatial_mapping"
            )
        left = remaining_iterations(layer, architecture, spatial)
        for dim, factor in known:
            if left.get(dim, 1) % factor:
                raise InputError(
                    f"{self.source}, {shown(name)}, temporal_ordering: the factor {factor} does not divide the "
                    f"{left.get(dim, 1)} iterations of {dim} that the spatial mapping leaves of {shown(layer.name)}"
                )
            left[dim] = left.get(dim, 1) // factor
        complete = [(dim, left.get(dim, 1) if factor is None else factor) for dim, factor in order]
        return tuple((dim, factor) for dim, factor in complete if factor > 1)

    def _dimension(self, word: str, name: str, layer: Layer) -> str:
        """Return our name of a loop dimension of the file."""
        dim = layer.aliases.get(word, word)
        if dim not in LOOP_DIMENSIONS:
            known = [*layer.aliases, *layer.dimension_order]
            raise InputError(
                f"{self.source}, {shown(name)}: layer {shown(layer.name)} has no loop dimension {shown(word)} "
                f"(it has {listed(known)})"
            )
        return dim


def replaced(common: Constraints, own: Constraints) -> Constraints:
    """Return ``common`` with the keys that ``own`` was given replaced.

    A limit on the number of loops means nothing to a fixed order, and is left out where only one of them is ``own``'s.
    """
    given = own.model_fields_set
    both = common.model_copy(update={key: getattr(own, key) for key in given})
    if both.temporal is not None and ("temporal" in given) != ("loop_factor_limit" in given):
        both = both.model_copy(update={"loop_factor_limit": None})
    return both


def operand_levels(place: str, architecture: Architecture) -> tuple[tuple[str, int], ...]:
    """Return which memory levels a place stands for: operands, each with its level, 0 for the innermost.

    Args:
        place: the name of a memory (all operands that it stores), or MEMORY.OPERAND.

    Raises:
        ValueError: the architecture has no such place; the message says why.
    """
    memories = {memory.name: memory for memory in architecture.memories}
    operands: tuple[str, ...]
    if place in memories:
        name, operands = place, memories[place].operands
    else:
        name, _, operand = place.rpartition(".")
        if name not in memories:
            unknown = name if name and operand in OPERANDS else place
            raise ValueError(
                f"{architecture.name} has no memory {shown(unknown)}{closest(unknown, memories)} "
                f"(its memories: {listed(memories)})"
            )
        stored = memories[name].operands
        if operand not in stored:
            problem = f"{shown(name)} does not store" if operand in OPERANDS else "there is no operand"
            raise ValueError(f"{problem} {shown(operand)} ({shown(name)} stores {listed(stored)})")
        operands = (operand,)
    index = list(memories).index(name)
    return tuple((operand, architecture.chain(operand).index(index)) for operand in operands)


def check_constraints(constraints: Constraints, layer: Layer, architecture: Architecture) -> None:
    """Refuse constraints that no mapping of the layer on the architecture can meet, as far as they say so themselves.

    What only shows when mappings are enumerated is not found here.

    Raises:
        EmptySpaceError: one sentence: which constraint, what is wrong with it, and what there is.
        InputError: they are none.
    """
    if not isinstance(constraints, Constraints):
        raise InputError(f"constraints are given as fm.Constraints(...), not as {type(constraints).__name__}")
    for sentence in _Check(constraints, layer, architecture).sentences():
        raise EmptySpaceError(f"{layer.name} on {architecture.name}, {sentence}")


class _Check:
    """The checks of one set of constraints. Later checks rely on what earlier ones have found to be right."""

    def __init__(self, constraints: Constraints, layer: Layer, architecture: Architecture) -> None:
        self.given, self.layer, self.architecture = constraints, layer, architecture
        self.as_zigzag = constraints.spatial_candidates == "zigzag"
        self.spatial = constraints.spatial.unrolling if constraints.spatial is not None else {}
        self.allowed = constraints.allowed or {}
        self.spatial_factors = constraints.spatial_factors or {}

    def sentences(self) -> Iterator[str]:
        yield from self._array_dimensions()
        yield from self._unrolling()
        yield from self._places()
        yield from self._repeated_order()
        yield from self._circles()
        yield from self._parts_of_the_order()
        yield from self._levels()
        yield from self._reuse()

    def _array_dimensions(self) -> Iterator[str]:
        sizes = self.architecture.array.dimensions
        if self.as_zigzag and self.spatial_factors:
            yield "spatial_factors: ZigZag's generator takes no factors to choose from; leave out spatial_candidates"
        fixed = self.spatial if self.as_zigzag else {}  # otherwise SpatialMapping.problems says it
        for key, named in (("spatial", fixed), ("allowed", self.allowed), ("spatial_factors", self.spatial_factors)):
            for name in named:
                if name not in sizes:
                    yield (
                        f"{key}.{shown(name)}: {self.architecture.name} has no array dimension {name!r} to "
                        f"constrain{closest(name, sizes)} (it has {listed(sizes)})"
                    )
        if self.given.spatial is not None and not self.as_zigzag:  # ZigZag cuts factors down to what fits
            yield from self.given.spatial.problems(self.layer, self.architecture)
            diagonal = self.given.spatial.diagonal_problem(self.architecture)
            if diagonal is not None:
                yield diagonal

    def _unrolling(self) -> Iterator[str]:
        sizes = self.architecture.array.dimensions
        for name, dims in self.spatial_factors.items():
            for dim, factors in dims.items():
                at = f"spatial_factors.{shown(name)}.{dim}"
                if factors[-1] > sizes[name]:
                    yield f"{at}: the factor {factors[-1]} is larger than the array, which has {sizes[name]} units"
                if factors[0] > self.layer.size(dim):
                    yield (
                        f"{at}: the smallest factor {factors[0]} is larger than the loop of size "
                        f"{self.layer.size(dim)} (1 stands for a loop that is not unrolled)"
                    )
        for name, fixed in self.spatial.items():
            for dim, factor in fixed.items():
                choices = self.spatial_factors.get(name, {}).get(dim)
                if choices is not None and factor not in choices:
                    yield (
                        f"spatial.{shown(name)}.{dim}: the factor {factor} is not one of "
                        f"spatial_factors.{shown(name)}.{dim} ({listed(choices)})"
                    )
                if factor > 1 and name in self.allowed and dim not in self.allowed[name]:
                    yield (
                        f"spatial.{shown(name)}.{dim}: {dim} is not among the loops that allowed.{shown(name)} admits "
                        f"({listed(self.allowed[name])})"
                    )
        for name, dims in self.spatial_factors.items():
            for dim, factors in dims.items():
                if 1 not in factors and dim not in self.spatial.get(name, {}) and not self._may_unroll(name, dim):
                    key = "allowed" if name in self.allowed or not self.spatial else "spatial"
                    yield (
                        f"spatial_factors.{shown(name)}.{dim}: {dim} is to be unrolled "
                        f"{' or '.join(map(str, factors))} times, and {key} keeps it off {shown(name)}"
                    )
        for name, size in sizes.items():
            least = {dim: factor for dim, factor in self.spatial.get(name, {}).items() if factor > 1}
            least |= {dim: each[0] for dim, each in self.spatial_factors.get(name, {}).items() if each[0] > 1}
            used = math.prod(least.values())
            if used > size and not self.as_zigzag:
                product = " * ".join(f"{dim} {factor}" for dim, factor in least.items())
                yield (
                    f"spatial_factors.{shown(name)}: at least {product} = {used} units are needed, and the array has "
                    f"{size}"
                )

    def _may_unroll(self, name: str, dim: str) -> bool:
        """Whether a loop that ``spatial`` does not fix may be unrolled on an array dimension; True if in doubt."""
        if self.as_zigzag:
            return True
        if self.given.allowed is not None:
            return dim in self.allowed.get(name, ())
        if self.given.spatial is None:
            from fastmap.mapspace import default_allowed

            return dim in default_allowed(self.architecture)[name] or dim in self.spatial_factors.get(name, {})
        return name not in self.spatial and dim in self.spatial_factors.get(name, {})

    def _unrolled(self, dim: str) -> tuple[int, int]:
        """Return between which numbers of units a loop is unrolled over the whole array."""
        size = self.layer.size(dim)
        if self.as_zigzag:
            return 1, size
        least = most = 1
        for name, units in self.architecture.array.dimensions.items():
            factors = self.spatial_factors.get(name, {}).get(dim)
            if dim in self.spatial.get(name, {}):
                factors = (self.spatial[name][dim],)
            elif not self._may_unroll(name, dim):
                factors = (1,)
            least *= factors[0] if factors else 1
            most *= factors[-1] if factors else units
        return min(least, size), min(most, size)

    def _left(self, dim: str) -> tuple[int, int]:
        """Return between which numbers of temporal iterations the spatial mappings leave of a loop."""
        if self.given.temporal is not None:
            count = math.prod(factor for name, factor in self.given.temporal if name == dim)
            return count, count
        least, most = self._unrolled(dim)
        size = self.layer.size(dim)
        return math.ceil(size / most), math.ceil(size / least)

    def _too_many(self, dim: str, count: int) -> bool:
        """Whether so many iterations cannot be left: rounding may leave one more than there should be."""
        most = self._left(dim)[1]
        inexact = self.given.temporal is None and most > 1 and self._unrolled(dim)[0] > 1
        return count > most + inexact

    def _repeated_order(self) -> Iterator[str]:
        if self.given.temporal is None:
            return
        for key in ("innermost", "outermost", "inside", "loop_factor_limit"):
            if getattr(self.given, key) is not None:
                yield f"{key}: temporal fixes the complete order already; leave out one of the two"

    def _circles(self) -> Iterator[str]:
        around: dict[str, list[str]] = {}
        for inner, outer in self.given.inside or ():
            around.setdefault(inner, []).append(outer)

        def circle(path: list[str]) -> list[str]:
            for outer in around.get(path[-1], ()):
                found = [*path[path.index(outer) :], outer] if outer in path else circle([*path, outer])
                if found:
                    return found
            return []

        for start in around:
            path = circle([start])
            if path:
                steps = [f"{inner} inside {outer}" for inner, outer in itertools.pairwise(path)]
                yield f"inside: {', '.join(steps[:-1])} and {steps[-1]} contradict each other"

    def _parts_of_the_order(self) -> Iterator[str]:
        first, last = self.given.innermost or (), self.given.outermost or ()
        written = [("innermost", *loop) for loop in first] + [("outermost", *loop) for loop in last]
        for dim in LOOP_DIMENSIONS:
            keys = dict.fromkeys(key for key, name, _ in written if name == dim)
            asked = math.prod(factor for _, name, factor in written if name == dim)
            if self._too_many(dim, asked):
                yield f"{' and '.join(keys)}: {_iterations(asked, dim)} are asked for, and {self._at_most(dim)}"
        for inner, outer in self.given.inside or ():
            rule = f"and inside says {inner} inside {outer}"
            for position, (key, dim, factor) in enumerate(written):
                after = [loop for loop in written[position + 1 :] if loop[1] == inner]
                if dim == outer and after:
                    other = inner if after[0][0] == key else f"{after[0][0]} {inner}"
                    yield f"{key}: {dim} {factor} lies inside {other} {after[0][2]}, {rule}"
            # Loops that are not written lie between the two ends.
            for position, (dim, factor) in enumerate(first):
                before = math.prod(each for name, each in first[:position] if name == inner)
                if dim == outer and self._left(inner)[0] > before:
                    yield f"innermost: {dim} {factor} lies inside other loops of {inner}, {rule}"
            for position, (dim, factor) in enumerate(last):
                beyond = math.prod(each for name, each in last[position + 1 :] if name == outer)
                if dim == inner and self._left(outer)[0] > beyond:
                    yield f"outermost: {dim} {factor} lies outside other loops of {outer}, {rule}"

    def _at_most(self, dim: str) -> str:
        most = self._left(dim)[1]
        return f"there {'is' if most == 1 else 'are'} at most {most}"

    def _places(self) -> Iterator[str]:
        for key, places in (("forbidden", self.given.forbidden or {}), ("factors", self.given.factors or {})):
            for place in places:
                try:
                    operand_levels(place, self.architecture)
                except ValueError as error:
                    yield f"{key}.{shown(place)}: {error}"
        memories = {memory.name: memory for memory in self.architecture.memories}
        for name, operand in (self.given.stationary or {}).items():
            if name not in memories:
                yield (
                    f"stationary.{shown(name)}: {self.architecture.name} has no memory {shown(name)}"
                    f"{closest(name, memories)} (its memories: {listed(memories)})"
                )
            elif operand not in memories[name].operands:
                yield (
                    f"stationary.{shown(name)}: {shown(name)} does not store {operand} "
                    f"({shown(name)} stores {listed(memories[name].operands)})"
                )

    def _levels(self) -> Iterator[str]:
        bounds: dict[tuple[str, int, str], tuple[str, Bounds]] = {}  # each with the key that says so
        for place, dims in (self.given.factors or {}).items():
            for operand, level in operand_levels(place, self.architecture):
                for dim, here in dims.items():
                    key = f"factors.{shown(place)}.{dim}"
                    other, there = bounds.get((operand, level, dim), ("", Bounds()))
                    least = max(here.min, there.min)
                    most = min((each.max for each in (here, there) if each.max is not None), default=None)
                    if most is not None and most < least:
                        yield f"{key}: {here} contradicts {other}, {there}: both are about the same level of {operand}"
                        return
                    bounds[operand, level, dim] = (key, Bounds(min=least, max=most))
        for place, forbidden in (self.given.forbidden or {}).items():
            for operand, level in operand_levels(place, self.architecture):
                for dim in forbidden:
                    key, here = bounds.get((operand, level, dim), ("", Bounds()))
                    if here.min > 1:
                        yield (
                            f"{key}: {here} iterations of {dim} are asked for, and forbidden.{shown(place)} admits "
                            "none there"
                        )
                    bounds[operand, level, dim] = (f"forbidden.{shown(place)}", Bounds(min=1, max=1))
        for operand in OPERANDS:
            levels = range(len(self.architecture.chain(operand)))
            for dim in LOOP_DIMENSIONS:
                found = [bounds[operand, m, dim] for m in levels if (operand, m, dim) in bounds]
                yield from self._products(operand, dim, found, complete=len(found) == len(levels))

    def _products(self, operand: str, dim: str, levels: list[tuple[str, Bounds]], complete: bool) -> Iterator[str]:
        """Compare what the levels of one operand take of a loop with what is left of it."""
        least = math.prod(bounds.min for _, bounds in levels)
        if self._too_many(dim, least):
            keys = ", ".join(dict.fromkeys(key for key, bounds in levels if bounds.min > 1))
            yield f"{keys}: {_takes(operand, levels, 'least')} {_iterations(least, dim)}, and {self._at_most(dim)}"
        largest = [bounds.max for _, bounds in levels if bounds.max is not None]
        left = self._left(dim)[0]
        if complete and len(largest) == len(levels) and math.prod(largest) < left:
            keys = ", ".join(dict.fromkeys(key for key, _ in levels))
            yield (
                f"{keys}: {_takes(operand, levels, 'most')} {_iterations(math.prod(largest), dim)}, and there are at "
                f"least {left}"
            )

    def _reuse(self) -> Iterator[str]:
        for name, operand in (self.given.stationary or {}).items():
            windows = PARTIALLY_RELEVANT[operand] if self.layer.sliding_window else ()
            relevant = RELEVANT[operand].union(*windows)
            others = [dim for dim in LOOP_DIMENSIONS if dim not in relevant]
            if all(self._left(dim)[1] == 1 for dim in others):
                yield (
                    f"stationary.{shown(name)}: {operand} cannot be reused, since no temporal loop is left that it "
                    f"does not depend on ({listed(others)})"
                )


def _iterations(count: int, dim: str) -> str:
    return f"{count} iteration{'' if count == 1 else 's'} of {dim}"


def _takes(operand: str, levels: list[tuple[str, Bounds]], bound: str) -> str:
    """Say what the levels of an operand take, at ``least`` or at ``most``."""
    return (
        f"the level of {operand} takes at {bound}" if len(levels) == 1 else f"the levels of {operand} take at {bound}"
    )


#: Options of the command line that hold a single value -> the keys that they stand for.
_VALUES = (
    "spatial_candidates",
    "max_spatial_mappings",
    "min_array_utilization",
    "loop_factor_limit",
    "allocation",
    "weights_loaded_once",
)


def read_options(options: MappingABC[str, Any]) -> Constraints:
    """Return the constraints that options of the command line stand for; those that were not given are None."""
    given: dict[str, Any] = {}
    for key in _VALUES:
        if options[key] is not None:
            given[key] = options[key]
            try:
                Constraints.from_dict({key: options[key]})
            except SpecError as error:
                raise InputError(f"--{key.replace('_', '-')} {error.message}") from None
    for option, key, example in (
        ("spatial", "spatial", "D1:K=32,D2:C=16,FX=3"),
        ("spatial-factors", "spatial_factors", "D1:K=16,32,D2:C=64"),
        ("allow", "allowed", "D1:K,OX,D2:C"),
        ("stationary", "stationary", "cells=W"),
        ("forbid", "forbidden", "sram=K,C"),
        ("factor", "factors", "sram:K=4,C=2..8"),
    ):
        for text in options[option.replace("-", "_")] or ():
            if key not in given:
                given[key] = {}
            for piece, entry in _pieces(option, text, example):
                _admit(option, piece, key, entry)
                _add(option, given[key], entry)
    for key in ("innermost", "outermost"):
        if options[key] is not None:
            given[key] = []
            for piece in options[key].split(","):
                dim, equals, factor = piece.strip().partition("=")
                if not equals:
                    raise InputError(f"--{key}: must look like OX=7,OY=7, not {shown(options[key])}")
                _admit(key, piece, key, [[dim, _number(factor)]])
                given[key].append([dim, _number(factor)])
    if options["inside"] is not None:
        for pair in options["inside"]:
            _admit("inside", " ".join(pair), "inside", [pair])
        given["inside"] = options["inside"]
    return Constraints.from_dict(given)


def _pieces(option: str, text: str, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of an option's text, each with what a constraints file would say.

    Where a part names no place of its own, it belongs to the place of the part before it, and in a list of factors to
    the loop dimension before it.
    """
    place = ""
    marks = {"spatial": "[,*]", "spatial-factors": ",(?=[^,]*=)"}
    for part in re.split(marks.get(option, ","), text):
        piece = part.strip()
        rest: str | None = piece
        if option in ("stationary", "forbid"):
            before, mark, after = piece.rpartition("=")
        elif option == "allow":
            before, mark, after = piece.rpartition(":")
        else:
            left, equals, number = piece.rpartition("=")
            before, mark, after = left.rpartition(":")
            after, rest = f"{after}={number}", piece if equals else None
        if mark:
            place, rest = before, after if rest is not None else None
        if not place or not rest:
            raise InputError(f"--{option}: must look like {example}, not {shown(text)}")
        if option == "stationary":
            if not mark:
                raise InputError(f"--{option}: must look like {example}, not {shown(text)}")
            yield piece, {place: rest}
        elif option in ("forbid", "allow"):
            yield piece, {place: [rest]}
        else:
            dim, _, number = rest.partition("=")
            yield piece, {place: {dim: _factors(option, number)}}


def _admit(option: str, piece: str, key: str, value: Any) -> None:
    """Check one part of an option."""
    try:
        Constraints.from_dict({key: value})
    except SpecError as error:
        raise InputError(f"--{option} {shown(piece)}: {error.message}") from None


def _add(option: str, target: dict[str, Any], entry: dict[str, Any]) -> None:
    """Add one part of an option to the others."""
    for place, value in entry.items():
        if isinstance(value, list):
            target.setdefault(place, []).extend(value)
        elif isinstance(value, dict):
            (dim,) = value
            if dim in target.setdefault(place, {}):
                raise InputError(f"--{option}: gives {dim} twice for {shown(place)}")
            target[place].update(value)
        elif place in target:
            raise InputError(f"--{option}: gives {shown(place)} twice")
        else:
            target[place] = value


def _factors(option: str, text: str) -> Any:
    """Return what a part says of a loop dimension: a factor, its bounds, or the factors to choose from."""
    if option == "spatial-factors":
        return [_number(number) for number in text.split(",")]
    return _range(text) if option == "factor" else _number(text)


def _number(text: str) -> int | str:
    """Return an integer; any other text is left for the check of the value to refuse."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,300}", text.strip(), re.ASCII) else text


def _range(text: str) -> int | str | dict[str, int | str]:
    """Read ``4``, ``2..8``, ``2..`` or ``..8``."""
    least, dots, most = text.partition("..")
    if not dots or not (least or most):
        return _number(text)
    return {key: _number(bound) for key, bound in (("min", least), ("max", most)) if bound}
