"""Spatial mappings that are the mirror image of others: where the axes x and y play the same role, either stands for
both.
"""

from __future__ import annotations

import numpy as np

from fastmap.kernels.problem import MIRROR
from fastmap.mapspace import IntArray, Mapspace


def distinct_candidates(space: Mapspace) -> tuple[IntArray, IntArray]:
    """Spatial mappings of which none is the image of another (int64[n], indices), and how many there are of each
    (int64[n]).

    A mapping that unrolls along x is worth its mirror image along y, loop by loop.
    """
    loops = list(zip(space.array_dim.tolist(), space.loop_dim.tolist(), strict=True))
    images = [(a, MIRROR[d]) for a, d in loops]
    if not loops or not is_symmetric(space) or set(images) != set(loops):
        n = len(space.candidates)
        return np.arange(n), np.ones(n, np.int64)
    candidates = space.candidates
    image = candidates[:, [loops.index(each) for each in images]]
    differs = candidates != image
    first = np.argmax(differs, axis=1)
    rows = np.arange(len(candidates))
    larger = (image[rows, first] > candidates[rows, first]) & differs.any(axis=1)
    _, chosen, times = np.unique(
        np.where(larger[:, None], image, candidates), axis=0, return_index=True, return_counts=True
    )
    return chosen, times


def is_symmetric(space: Mapspace) -> bool:
    """Whether x and y are alike in the layer, and no constraint tells them apart."""
    constraints, problem, rules = space.constraints, space.problem, space.rules
    image = list(MIRROR)
    loops = [*rules["innermost"][: rules["n_innermost"], 0], *rules["outermost"][: rules["n_outermost"], 0]]
    return (
        constraints.temporal is None
        and constraints.loop_factor_limit is None
        and all(image[d] == d for d in loops)
        and bool(np.all(rules["inside"] == rules["inside"][image][:, image]))
        and all(bool(np.all(rules[bound] == rules[bound][..., image])) for bound in ("least", "most"))
        and all(problem["loop_size"] == problem["loop_size"][image])
        and bool(np.all(problem["window"][0] == problem["window"][1]))
    )
