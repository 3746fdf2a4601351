"""Which repairs of the corrected cost model apply to a mapping, and what each changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS
from fastmap.errors import MappingError
from fastmap.evaluation import NestCost, evaluate, evaluate_repaired
from fastmap.layer import Layer
from fastmap.lowering import REPAIRS, lower
from fastmap.mapping import Loop, Mapping

#: What each repair does, in the order in which they are named.
DESCRIPTIONS = {
    "whole_iterations": "a quotient that floating point lifts above a whole number adds no temporal iteration",
    "joint_coverage": "a loop on several array dimensions is spread over their product and not over-covered",
    "true_extents": "input extents follow fractional unrollings, and dilated windows touch no more than there is",
    "all_accesses": "fractions of an access count, so that a small transfer is not free",
    "exact_units": "units count as they are filled on average: 5 channels in 2 iterations fill 2.5 columns, not 2",
    "exact_tiles": "the elements of a tile are an average too and not rounded",
    "one_unrolling": "cycles follow the unrolling that energy follows, not one of truncated factors",
    "true_widths": "a partial sum moves at its full width wherever something is still added to it",
    "true_activations": "the array is activated once an iteration, for the rows and columns filled on average",
    "own_partners": "a diagonal pairs each filter dimension with its own factor when it counts rows",
    "full_tiles": "a memory has room for the largest tile, 3 of 5 channels in 2 iterations, not for 2.5",
}


@dataclass(frozen=True)
class Totals:
    """Energy in pJ and latency in cycles."""

    energy_pj: float
    latency_cycles: float


@dataclass(frozen=True)
class Repair:
    """What one repair of the corrected cost model changes in the cost of one mapping.

    ``alone`` is its effect on the numbers of ZigZag, ``last`` that on the numbers that have every other repair. They
    differ where repairs act on the same quantity. None: the mapping does not fit without the repair, or with it.
    """

    name: str
    description: str
    applies: bool  #: it changes some number, alone or beside the others
    alone: Totals | None
    last: Totals | None
    #: Loop dimension -> temporal iterations without and with the repair, where these differ.
    iterations: dict[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "name": self.name,
            "description": self.description,
            "applies": self.applies,
            "energy_pj": None if self.alone is None else self.alone.energy_pj,
            "latency_cycles": None if self.alone is None else self.alone.latency_cycles,
            "energy_with_the_others_pj": None if self.last is None else self.last.energy_pj,
            "latency_with_the_others_cycles": None if self.last is None else self.last.latency_cycles,
            "iterations": {dim: list(counts) for dim, counts in self.iterations.items()},
        }


@dataclass(frozen=True)
class Repairs:
    """All repairs of one mapping, and its cost without and with all of them.

    Where ZigZag needs another number of iterations, each total is that of the mapping with as many as its model needs.
    The single effects need not add up to the difference of the totals: ``interaction`` is what is missing.
    """

    each: tuple[Repair, ...]
    zigzag: Totals | None  #: None: the mapping does not fit by ZigZag's numbers
    corrected: Totals | None

    def __iter__(self) -> Iterator[Repair]:
        return iter(self.each)

    def __getitem__(self, name: str) -> Repair:
        return next(repair for repair in self.each if repair.name == name)

    @property
    def interaction(self) -> Totals | None:
        """Difference of the totals less the sum of the single effects; None where a part is not known."""
        if self.zigzag is None or self.corrected is None:
            return None
        energy = self.corrected.energy_pj - self.zigzag.energy_pj
        cycles = self.corrected.latency_cycles - self.zigzag.latency_cycles
        for repair in self.each:
            if repair.alone is None:
                return None
            energy -= repair.alone.energy_pj
            cycles -= repair.alone.latency_cycles
        # What is left of rounding is nothing.
        noise = 1e-12 * self.corrected.energy_pj, 1e-12 * self.corrected.latency_cycles
        return Totals(energy if abs(energy) > noise[0] else 0.0, cycles if abs(cycles) > noise[1] else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the structure that the command line prints as JSON."""
        return {
            "repairs": [repair.to_dict() for repair in self.each],
            "cost_models": {
                name: None if totals is None else asdict(totals)
                for name, totals in (
                    ("zigzag", self.zigzag),
                    ("corrected", self.corrected),
                    ("interaction", self.interaction),
                )
            },
        }


def repairs(layer: Layer, architecture: Architecture, mapping: Mapping) -> Repairs:
    """Say which repairs of the corrected cost model apply to a mapping, and what each changes.

    Each repair is costed alone and beside all others. A mapping without allocation keeps the greedy one of the
    corrected model throughout.

    Raises:
        MappingError: the mapping does not belong to the layer and architecture, or fits by neither model.
    """
    if mapping.allocation is None:
        try:
            mapping = evaluate(layer, architecture, mapping, "corrected").mapping
        except MappingError:
            mapping = evaluate(layer, architecture, mapping, "zigzag").mapping
    mapping.check(layer, architecture)
    costs: dict[frozenset[str], Totals | None] = {}
    needed: dict[frozenset[str], dict[str, int]] = {}
    nothing, everything = frozenset[str](), frozenset(REPAIRS)
    single = [frozenset((name,)) for name in REPAIRS]
    for key in (nothing, everything, *single, *(everything - own for own in single)):
        names = [name for name in REPAIRS if name in key]
        needed[key] = needed_iterations(layer, architecture, mapping, names)
        costs[key] = _totals(layer, architecture, with_iterations(mapping, needed[key]), names)
    if costs[nothing] is None and costs[everything] is None:
        evaluate(layer, architecture, mapping, "corrected")  # says which memory is too small

    found = []
    for name in REPAIRS:
        own = frozenset((name,))
        applies = any(
            not _same(costs[key], costs[key | own]) or needed[key] != needed[key | own]
            for key in (nothing, everything - own)
        )
        iterations = {
            dim: (before, after)
            for dim in LOOP_DIMENSIONS
            if (before := needed[nothing].get(dim, 1)) != (after := needed[own].get(dim, 1))
        }
        found.append(
            Repair(
                name,
                DESCRIPTIONS[name],
                applies,
                _difference(costs[own], costs[nothing]),
                _difference(costs[everything], costs[everything - own]),
                iterations,
            )
        )
    return Repairs(tuple(found), costs[nothing], costs[everything])


def needed_iterations(
    layer: Layer, architecture: Architecture, mapping: Mapping, names: Sequence[str]
) -> dict[str, int]:
    """Return the temporal iterations of each loop dimension that the model with some repairs needs; those above 1."""
    nest = NestCost(lower(layer, architecture, repairs=names), architecture, mapping.spatial)
    return {dim: int(n) for dim, n in zip(LOOP_DIMENSIONS, nest.needed, strict=True) if n > 1}


def with_iterations(mapping: Mapping, needed: dict[str, int]) -> Mapping:
    """Return a mapping with other numbers of iterations: the outermost loop that can takes up the difference.

    Where no loop can (its factor would not be whole), the dimension stays as written.
    """
    temporal: list[Loop] = list(mapping.temporal)
    assert mapping.allocation is not None
    cuts = {operand: list(levels) for operand, levels in mapping.allocation.items()}
    for dim in dict.fromkeys([*needed, *(dim for dim, _ in temporal)]):
        places = [place for place, (other, _) in enumerate(temporal) if other == dim]
        whole = math.prod(temporal[place][1] for place in places)
        target = needed.get(dim, 1)
        if whole == target:
            continue
        if not places:
            temporal.append((dim, target))
            for levels in cuts.values():
                levels[-1] += 1
        for place in reversed(places):
            size, left = divmod(target * temporal[place][1], whole)
            if left:
                continue
            temporal[place] = dim, size
            if size == 1:
                del temporal[place]
                cuts = {operand: [cut - (cut > place) for cut in levels] for operand, levels in cuts.items()}
            break
    return mapping.model_copy(
        update={
            "temporal": tuple(temporal),
            "allocation": {operand: tuple(levels) for operand, levels in cuts.items()},
        }
    )


def _totals(layer: Layer, architecture: Architecture, mapping: Mapping, names: Sequence[str]) -> Totals | None:
    try:
        found = evaluate_repaired(layer, architecture, mapping, names)
    except MappingError:
        return None
    return Totals(found.energy_pj.total, found.latency_cycles.total)


def _difference(of: Totals | None, to: Totals | None) -> Totals | None:
    if of is None or to is None:
        return None
    if _same(of, to):
        return Totals(0.0, 0.0)
    return Totals(of.energy_pj - to.energy_pj, of.latency_cycles - to.latency_cycles)


def _same(one: Totals | None, other: Totals | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one.energy_pj, other.energy_pj, rel_tol=1e-12, abs_tol=1e-12) and math.isclose(
        one.latency_cycles, other.latency_cycles, rel_tol=1e-12, abs_tol=1e-12
    )
