"""What a search keeps of the mappings it costs: the best few for each objective, the Pareto front, histograms.

Each thread fills its own ``Reductions``; they merge into the same result in any order, since a mapping is identified by
(spatial index, order rank) and ties always go to the smaller one. Mappings of equal energy and latency count as one
point: the smallest identity stands for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._jit import kernel

ENERGY, LATENCY, EDP = range(3)
N_OBJECTIVES = 3
# A histogram bin is what is left of a float64's bits after a shift: its exponent and leading digits, so that the bins are
# equal steps within an octave.
SHIFT = 48
JOINT_SHIFT = 50
BINS_PER_OCTAVE = 1 << (52 - SHIFT)
JOINT_BINS_PER_OCTAVE = 1 << (52 - JOINT_SHIFT)
OCTAVES = 128  # from 1 up
EVALUATED, FITTING = range(2)


class Points(NamedTuple):
    """A sorted list of mappings; ``used[0]`` of the places are in use."""

    energy_pj: np.ndarray  # float64[n]
    latency_cycles: np.ndarray  # float64[n]
    spatial: np.ndarray  # int64[n]
    rank: np.ndarray  # int64[n]
    used: np.ndarray  # int64[1]


class Reductions(NamedTuple):
    """Everything that one thread keeps."""

    best_energy: Points
    best_latency: Points
    best_edp: Points
    front: Points
    energy_histogram: np.ndarray  # int64[OCTAVES * BINS_PER_OCTAVE]
    latency_histogram: np.ndarray
    edp_histogram: np.ndarray
    joint_histogram: np.ndarray  # int64[n, n], n = OCTAVES * JOINT_BINS_PER_OCTAVE: energy, latency
    totals: np.ndarray  # int64[2]: mappings evaluated, mappings that fit


@kernel
def objective_value(objective, energy_pj, latency_cycles):
    """What is minimised. EDP in pJ x cycles: the clock is the same for all mappings of an architecture."""
    if objective == ENERGY:
        return energy_pj
    if objective == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles


@kernel
def _precedes(objective, energy_a, latency_a, energy_b, latency_b):
    """Order of two points: by objective, ties by energy, then by latency."""
    a, b = objective_value(objective, energy_a, latency_a), objective_value(objective, energy_b, latency_b)
    if a != b:
        return a < b
    if energy_a != energy_b:
        return energy_a < energy_b
    return latency_a < latency_b


@kernel
def _write(points, place, energy_pj, latency_cycles, spatial, rank):
    points.energy_pj[place] = energy_pj
    points.latency_cycles[place] = latency_cycles
    points.spatial[place] = spatial
    points.rank[place] = rank


@kernel
def _shift(points, source, target, n):
    """Move n points from ``source`` to ``target``; the ranges may overlap."""
    if target > source:
        for i in range(n - 1, -1, -1):
            j = source + i
            _write(points, target + i, points.energy_pj[j], points.latency_cycles[j], points.spatial[j], points.rank[j])
    else:
        for i in range(n):
            j = source + i
            _write(points, target + i, points.energy_pj[j], points.latency_cycles[j], points.spatial[j], points.rank[j])


@kernel
def _claim(points, place, spatial, rank):
    """The smaller identity stands for a point."""
    if spatial < points.spatial[place] or (spatial == points.spatial[place] and rank < points.rank[place]):
        points.spatial[place] = spatial
        points.rank[place] = rank


@kernel
def offer_best(points, objective, energy_pj, latency_cycles, spatial, rank):
    """Keep the point if it is among the best distinct ones."""
    n = points.used[0]
    size = points.energy_pj.size
    if n == size and objective_value(objective, energy_pj, latency_cycles) > objective_value(
        objective, points.energy_pj[n - 1], points.latency_cycles[n - 1]
    ):
        return
    place = n
    while place > 0 and _precedes(
        objective, energy_pj, latency_cycles, points.energy_pj[place - 1], points.latency_cycles[place - 1]
    ):
        place -= 1
    if place > 0 and points.energy_pj[place - 1] == energy_pj and points.latency_cycles[place - 1] == latency_cycles:
        _claim(points, place - 1, spatial, rank)
        return
    if place == size:
        return
    kept = min(n, size - 1)
    _shift(points, place, place + 1, kept - place)
    _write(points, place, energy_pj, latency_cycles, spatial, rank)
    points.used[0] = kept + 1


@kernel
def offer_front(points, energy_pj, latency_cycles, spatial, rank):
    """Keep the point if no other has both less energy and less latency.

    The front is sorted by rising energy and falling latency.

    Returns:
        False when the front is full: the caller enlarges it and offers the point again.
    """
    n = points.used[0]
    low, high = 0, n  # first point with more energy
    while low < high:
        middle = (low + high) // 2
        if points.energy_pj[middle] > energy_pj:
            high = middle
        else:
            low = middle + 1
    if low > 0 and points.latency_cycles[low - 1] <= latency_cycles:
        if points.energy_pj[low - 1] == energy_pj and points.latency_cycles[low - 1] == latency_cycles:
            _claim(points, low - 1, spatial, rank)
        return True
    start = low
    if start > 0 and points.energy_pj[start - 1] == energy_pj:
        start -= 1
    end = low
    while end < n and points.latency_cycles[end] >= latency_cycles:
        end += 1
    if end == start:
        if n == points.energy_pj.size:
            return False
        _shift(points, start, start + 1, n - start)
        points.used[0] = n + 1
    elif end > start + 1:
        _shift(points, end, start + 1, n - end)
        points.used[0] = n - (end - start) + 1
    _write(points, start, energy_pj, latency_cycles, spatial, rank)
    return True


@kernel
def bin_of(value, shift):
    """Histogram bin of a positive value: the bits of its float64, 0 for values below 1, the last for what exceeds
    it.
    """
    place = (np.float64(value).view(np.int64) >> shift) - (np.int64(1023) << (52 - shift))
    return min(max(place, 0), (OCTAVES << (52 - shift)) - 1)


@kernel
def offer(reductions, energy_pj, latency_cycles, spatial, rank):
    """Account for one mapping that fits. Returns False when the front is full (then nothing was accounted)."""
    if not offer_front(reductions.front, energy_pj, latency_cycles, spatial, rank):
        return False
    offer_best(reductions.best_energy, ENERGY, energy_pj, latency_cycles, spatial, rank)
    offer_best(reductions.best_latency, LATENCY, energy_pj, latency_cycles, spatial, rank)
    offer_best(reductions.best_edp, EDP, energy_pj, latency_cycles, spatial, rank)
    reductions.energy_histogram[bin_of(energy_pj, SHIFT)] += 1
    reductions.latency_histogram[bin_of(latency_cycles, SHIFT)] += 1
    reductions.edp_histogram[bin_of(energy_pj * latency_cycles, SHIFT)] += 1
    reductions.joint_histogram[bin_of(energy_pj, JOINT_SHIFT), bin_of(latency_cycles, JOINT_SHIFT)] += 1
    reductions.totals[FITTING] += 1
    return True


@kernel
def merge_best(target, source, objective):
    """Add the points of one list of best mappings to another."""
    for i in range(source.used[0]):
        offer_best(target, objective, source.energy_pj[i], source.latency_cycles[i], source.spatial[i], source.rank[i])
