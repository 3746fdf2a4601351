"""From constraints on orders and allocations to the flat rules that the kernels take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmap.architecture import Architecture
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.kernels.rules import RULES
from fastmap.lowering import new_record
from fastmap.mapping import Constraints


def lower_rules(constraints: Constraints, architecture: Architecture) -> Any:
    """Return the record (``kernels.rules.RULES``) of what constraints say of orders and allocations."""
    rules = new_record(RULES)
    rules["limit"] = constraints.loop_factor_limit or 0
    rules["n_fixed"] = -1
    if constraints.temporal is not None:
        _write(rules, "fixed", constraints.temporal)
    _write(rules, "innermost", constraints.innermost or ())
    _write(rules, "outermost", tuple(reversed(constraints.outermost or ())))
    for inner, outer in constraints.inside or ():
        rules["inside"][LOOP_DIMENSIONS.index(inner), LOOP_DIMENSIONS.index(outer)] = 1
    rules["least"], rules["most"] = 1.0, np.inf
    for place, dims in (constraints.forbidden or {}).items():
        for o, level in levels_of(place, architecture):
            rules["most"][o, level, [LOOP_DIMENSIONS.index(dim) for dim in dims]] = 1.0
    for place, factors in (constraints.factors or {}).items():
        for o, level in levels_of(place, architecture):
            for dim, bounds in factors.items():
                d = LOOP_DIMENSIONS.index(dim)
                rules["least"][o, level, d] = max(rules["least"][o, level, d], bounds.min or 1)
                if bounds.max is not None:
                    rules["most"][o, level, d] = min(rules["most"][o, level, d], bounds.max)
    rules["bounded"] = np.any((rules["least"] > 1.0) | (rules["most"] < np.inf), axis=(1, 2))
    for memory, operand in (constraints.stationary or {}).items():
        for o, level in levels_of(f"{memory}.{operand}", architecture):
            rules["stationary"][o, level] = 1
    rules["even"] = constraints.allocation == "even"
    rules["greedy"] = constraints.allocation == "greedy"
    rules["weights_once"] = constraints.weights_loaded_once
    return rules


def levels_of(place: str, architecture: Architecture) -> Iterator[tuple[int, int]]:
    """Levels that a place names, as (operand, level): a memory's of every operand it stores, or ``memory.operand``."""
    for o, operand in enumerate(OPERANDS):
        for level, index in enumerate(architecture.chain(operand)):
            if place in (architecture.memories[index].name, f"{architecture.memories[index].name}.{operand}"):
                yield o, level


def _write(rules: Any, name: str, loops: tuple[tuple[str, int], ...]) -> None:
    written = [(LOOP_DIMENSIONS.index(dim), size) for dim, size in loops if size > 1]
    rules[name][: len(written)] = np.array(written, np.int64).reshape(-1, 2)
    rules[f"n_{name}"] = len(written)
