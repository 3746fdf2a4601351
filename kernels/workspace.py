"""Memory that the searches of a worker use one after the other.

What a candidate needs are millions of numbers for a few milliseconds. Memory that the operating system gives anew each
time costs as much as what is then done in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._jit import allocating

ALIGNMENT = 8  # numbers: a line of the cache


class Workspace(NamedTuple):
    """One block, of which arrays are taken from the start; what does not fit is allocated for itself."""

    memory: Any  #: float64[n]
    used: Any  #: int64[1], numbers taken, perhaps more than there are; 0 makes all of it free


@allocating
def take(workspace, shape):
    """A float64 array of this shape, not filled."""
    size = 1
    for length in shape:
        size *= length
    start = workspace.used[0]
    workspace.used[0] += (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    if start + size > workspace.memory.size:
        return np.empty(shape)
    return workspace.memory[start : start + size].reshape(shape)
