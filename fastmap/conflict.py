"""Which of its constraints leave a space without a mapping: a set of which none can be left out, as far as a few
seconds tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastmap.architecture import Architecture
from fastmap.control import Control
from fastmap.counting import count_valid
from fastmap.errors import EmptySpaceError, SearchError
from fastmap.layer import Layer
from fastmap.mapping import Constraints
from fastmap.mapspace import Mapspace
from fastmap.optimal import solve_space

#: How long to look for a mapping where a constraint is left out.
LOOK_SECONDS = 5.0


@contextmanager
def naming_conflicts(
    layer: Layer, architecture: Architecture, constraints: Constraints | None, cost_model: str, *, built: bool
) -> Iterator[None]:
    """Add to the sentence about an empty space which constraints leave nothing.

    Args:
        built: the space has spatial mappings and orders, and only shows to be empty when it is searched.
    """
    try:
        yield
    except EmptySpaceError as error:
        names = _smallest(layer, architecture, constraints or Constraints(), cost_model, built)
        sentence = str(error)
        words = re.findall(r"\w+", sentence.replace("spatial mapping", ""))
        if names and names != tuple(name for name in Constraints.model_fields if name in words):
            sentence += f" (to blame: {' and '.join(names)}{' together' if len(names) > 1 else ''})"
        raise EmptySpaceError(sentence) from None


def _smallest(
    layer: Layer, architecture: Architecture, constraints: Constraints, cost_model: str, built: bool
) -> tuple[str, ...]:
    """Return the names of constraints that leave nothing together: the others are left out one by one."""
    names, control = [], Control()
    for name, field in Constraints.model_fields.items():
        if getattr(constraints, name) == field.default:
            continue
        fewer = constraints.model_copy(update={name: field.default})
        if _is_empty(layer, architecture, fewer, cost_model, built, control):
            constraints = fewer
        else:
            names.append(name)
        if control.stopped:
            raise KeyboardInterrupt
    return tuple(names)


def _is_empty(
    layer: Layer, architecture: Architecture, constraints: Constraints, cost_model: str, built: bool, control: Control
) -> bool:
    """Whether a space has no mapping; False where that cannot be told in a moment."""
    try:
        space = Mapspace.build(layer, architecture, constraints, cost_model)
        if built and constraints.allocation == "greedy":
            return count_valid(space, control=control) == 0
        if built:
            solve_space(space, "energy", gap=0.99, time_limit=LOOK_SECONDS, control=control)
    except EmptySpaceError:
        return True
    except SearchError:
        return False
    return False
