"""The optimal strategy: the best mapping of a space, proven, without costing every mapping."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmap.control import Control, available_threads
from fastmap.errors import SearchError
from fastmap.evaluation import array_clock_ns
from fastmap.dimensions import LOOP_DIMENSIONS, OPERANDS
from fastmap.exhaustive import candidate_energies_pj, nothing_fits, run_threads
from fastmap.kernels import optimal as kernels
from fastmap.kernels.bounds import candidate_bounds
from fastmap.kernels.problem import MAX_LEVELS, MAX_LOOPS, SCRATCH, UNROLLING
from fastmap.kernels.reduce import POINT
from fastmap.lowering import new_record
from fastmap.mapping import Mapping
from fastmap.mapspace import Mapspace, encode_allocation


@dataclass
class Found:
    """A mapping that a search found, with its cost."""

    spatial: int
    mapping: Mapping
    energy_pj: float
    latency_cycles: float


def make_goal(kind: int, exponent: float = 1.0, max_energy_pj: float = math.inf, max_cycles: float = math.inf, slack: float = 0.0) -> Any:
    goal = new_record(kernels.GOAL)
    goal["kind"], goal["exponent"], goal["slack"] = kind, exponent, slack
    goal["energy_bound_pj"], goal["latency_bound_cycles"] = max_energy_pj, max_cycles
    return goal


def bounds_of(space: Mapspace) -> tuple[Any, Any]:
    array_pj = candidate_energies_pj(space)
    bounds = np.empty((len(space.candidates), 2))
    unrolling, scratch = new_record(UNROLLING), new_record(SCRATCH)
    candidate_bounds(
        space.problem, unrolling, scratch, space.array_dim, space.loop_dim, space.candidates, array_pj, bounds
    )
    return array_pj, bounds


def run(space: Mapspace, goal: Any, threads: int = 1, control: Control | None = None) -> Any:
    control = control or Control()
    array_pj, bounds = bounds_of(space)
    S = len(bounds)
    kind = int(goal["kind"])
    n = float(goal["exponent"])
    key = {0: bounds[:, 0], 1: bounds[:, 1]}.get(kind, bounds[:, 0] * bounds[:, 1] ** n)
    order = np.argsort(key, kind="stable")
    shared = np.full(1, np.inf)
    others = np.zeros(0, POINT)
    unrolling, scratch = new_record(UNROLLING), new_record(SCRATCH)
    stats = np.zeros(kernels.N_STATISTICS, np.int64)
    result = None
    searched = 0
    tim = []
    for i in order.tolist():
        if kind != 3 and key[i] * (1 - 1e-12) > shared[0]:
            break
        t0 = time.perf_counter()
        searched += 1
        best = np.full(3, np.inf)
        front = np.zeros(64, POINT)
        if kind == 3:
            best[0] = 0
        bd, bs = np.zeros((1, MAX_LOOPS), np.int64), np.zeros((1, MAX_LOOPS), np.int64)
        bc, bl = np.zeros((1, 3, MAX_LEVELS), np.int64), np.zeros(1, np.int64)
        root = np.zeros(2)
        before = stats.copy()
        ended, front, fn, bd, bs, bc, bl = kernels.search_candidate(
            space.problem, space.rules, unrolling, scratch, space.array_dim, space.loop_dim, space.candidates[i],
            array_pj[i], i, goal, shared, others, best, front, 0, bd, bs, bc, bl, root, stats, control.stop,
        )
        tim.append((time.perf_counter() - t0, i, root.copy(), best.copy(), stats - before))
        if kind != 3 and best[0] < np.inf and (result is None or (best[0], best[1], best[2], i) < result[0]):
            result = ((best[0], best[1], best[2], i), bd[0, : bl[0]].copy(), bs[0, : bl[0]].copy(), bc[0].copy())
        if kind == 3 and fn:
            pts = np.concatenate([others, front[:fn]])
            pts = pts[np.lexsort((pts["latency_cycles"], pts["energy_pj"]))]
            keep, low = [], np.inf
            for j, pt in enumerate(pts):
                if pt["latency_cycles"] < low:
                    keep.append(j); low = pt["latency_cycles"]
            others = pts[keep]
    return result, stats, searched, tim, others
