"""What a search keeps of the mappings it costs: the best few for each objective, the Pareto front, histograms.

Each thread fills its own ``Reductions``; they merge into the same result in any order, since a mapping is identified by
(spatial index, order rank, allocation code) and ties always go to the smaller one. Mappings of equal energy and latency
count as one point: the smallest identity stands for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._jit import allocating, formula, kernel

ENERGY, LATENCY, EDP = range(3)
N_OBJECTIVES = 3
FRONT = 3  # place of the front in Reductions.used, after the objectives
# A histogram bin is what is left of a float64's bits after a shift: its exponent and leading digits, so that the bins
# are equal steps within an octave.
SHIFT = 48
JOINT_SHIFT = 50
BINS_PER_OCTAVE = 1 << (52 - SHIFT)
JOINT_BINS_PER_OCTAVE = 1 << (52 - JOINT_SHIFT)
OCTAVES = 128  # from 1 up
# The barrier that keeps most points from the front has bins of its own.
BARRIER_SHIFT = 46
BARRIER_BINS = OCTAVES << (52 - BARRIER_SHIFT)
EVALUATED, FITTING, COSTED = range(3)

#: One mapping: what it costs, and which it is.
POINT = np.dtype(
    [
        ("energy_pj", np.float64),
        ("latency_cycles", np.float64),
        ("spatial", np.int64),
        ("rank", np.int64),
        ("code", np.int64),
    ],
    align=True,
)


#: Mappings of one cost that wait for their reduction: a point, for which the smallest identity stands.
OFFER = np.dtype([*POINT.descr, ("weight", np.int64)], align=True)
BATCH = 256  # offers reduced at a time


class Reductions(NamedTuple):
    """Everything that one thread keeps. Kernels take the arrays one by one: a tuple of them costs reference counts."""

    best: np.ndarray  # POINT[N_OBJECTIVES, top]: the best distinct points, best first
    front: np.ndarray  # POINT[n]: by rising energy and falling latency
    used: np.ndarray  # int64[4]: places in use of the three rows of ``best`` and of ``front``
    barrier: np.ndarray  # float64[BARRIER_BINS]: least latency of a point whose energy lies in a lower bin, or inf
    histogram: np.ndarray  # int64[3, OCTAVES * BINS_PER_OCTAVE]: energy in pJ, latency in cycles, their product
    joint: np.ndarray  # int64[n, n], n = OCTAVES * JOINT_BINS_PER_OCTAVE: energy, latency
    totals: np.ndarray  # int64[3]: mappings covered, mappings that fit, distinct costs computed


@kernel
def objective_value(objective, energy_pj, latency_cycles):
    """What is minimised. EDP in pJ x cycles: the clock is the same for all mappings of an architecture."""
    if objective == ENERGY:
        return energy_pj
    if objective == LATENCY:
        return latency_cycles
    return energy_pj * latency_cycles


@kernel
def _precedes(objective, energy_pj, latency_cycles, other):
    """Order of two points: by objective, ties by energy, then by latency."""
    a = objective_value(objective, energy_pj, latency_cycles)
    b = objective_value(objective, other.energy_pj, other.latency_cycles)
    if a != b:
        return a < b
    if energy_pj != other.energy_pj:
        return energy_pj < other.energy_pj
    return latency_cycles < other.latency_cycles


@formula
def _write(point, energy_pj, latency_cycles, spatial, rank, code):
    point.energy_pj = energy_pj
    point.latency_cycles = latency_cycles
    point.spatial = spatial
    point.rank = rank
    point.code = code


@formula
def _claim(point, spatial, rank, code):
    """The smaller identity stands for a point."""
    if spatial != point.spatial:
        smaller = spatial < point.spatial
    elif rank != point.rank:
        smaller = rank < point.rank
    else:
        smaller = code < point.code
    if smaller:
        point.spatial = spatial
        point.rank = rank
        point.code = code


@kernel
def offer_best(best, used, objective, energy_pj, latency_cycles, spatial, rank, code):
    """Keep the point in row ``objective`` of ``best`` if it is among the best distinct ones."""
    n = used[objective]
    size = best.shape[1]
    if n == size:
        worst = best[objective, n - 1]
        value = objective_value(objective, energy_pj, latency_cycles)
        if value > objective_value(objective, worst.energy_pj, worst.latency_cycles):
            return
    place = n
    while place > 0 and _precedes(objective, energy_pj, latency_cycles, best[objective, place - 1]):
        place -= 1
    if place > 0:
        before = best[objective, place - 1]
        if before.energy_pj == energy_pj and before.latency_cycles == latency_cycles:
            _claim(before, spatial, rank, code)
            return
    if place == size:
        return
    kept = min(n, size - 1)
    for i in range(kept, place, -1):
        best[objective, i] = best[objective, i - 1]
    _write(best[objective, place], energy_pj, latency_cycles, spatial, rank, code)
    used[objective] = kept + 1


@kernel
def points_below(front, n, energy_pj):
    """How many points of a front, of rising energy, have at most this energy."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if front[middle].energy_pj > energy_pj:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def offer_front(front, used, energy_pj, latency_cycles, spatial, rank, code):
    """Keep the point if no other has both less energy and less latency.

    Returns:
        False when the front is full: the caller enlarges it and offers the point again.
    """
    n = used[FRONT]
    low = points_below(front, n, energy_pj)
    if low > 0 and front[low - 1].latency_cycles <= latency_cycles:
        before = front[low - 1]
        if before.energy_pj == energy_pj and before.latency_cycles == latency_cycles:
            _claim(before, spatial, rank, code)
        return True
    start = low
    if start > 0 and front[start - 1].energy_pj == energy_pj:
        start -= 1
    end = low
    while end < n and front[end].latency_cycles >= latency_cycles:
        end += 1
    if end == start:
        if n == front.size:
            return False
        for i in range(n, start, -1):
            front[i] = front[i - 1]
        used[FRONT] = n + 1
    elif end > start + 1:
        for i in range(end, n):
            front[start + 1 + i - end] = front[i]
        used[FRONT] = n - (end - start) + 1
    _write(front[start], energy_pj, latency_cycles, spatial, rank, code)
    return True


@kernel
def bin_of(value, shift):
    """Histogram bin of a positive value; 0 for values below 1, the last for what exceeds the range."""
    place = (np.float64(value).view(np.int64) >> shift) - (np.int64(1023) << (52 - shift))
    return min(max(place, 0), (OCTAVES << (52 - shift)) - 1)


@kernel
def add_offer(batch, n, energy_pj, latency_cycles, spatial, rank, code, weight):
    """Put an offer behind the n that wait."""
    offer = batch[n]
    offer.energy_pj = energy_pj
    offer.latency_cycles = latency_cycles
    offer.spatial = spatial
    offer.rank = rank
    offer.code = code
    offer.weight = weight


@kernel
def _limit(best, used, objective):
    """Largest value of an objective that may be among the best."""
    n = used[objective]
    if n < best.shape[1]:
        return np.inf
    return objective_value(objective, best[objective, n - 1].energy_pj, best[objective, n - 1].latency_cycles)


@allocating
def _append(rows, filled, batch, n):
    """Put the first n offers of a batch behind the rows that are there."""
    if filled[0] + n > rows.size:
        larger = np.empty(2 * rows.size + n, OFFER)
        larger[: filled[0]] = rows[: filled[0]]
        rows = larger
    rows[filled[0] : filled[0] + n] = batch[:n]
    filled[0] += n
    return rows


@allocating
def reduce_batch(best, front, used, barrier, histogram, joint, totals, rows, filled, batch, n):
    """Account for the first n offers of a batch (OFFER[BATCH]).

    Args:
        rows: OFFER[R], of which ``filled`` (int64[1]) are in use: all offers, one a row; empty to keep none.

    Returns:
        The front, and the rows, in other arrays if they had to grow.
    """
    if rows.size > 0:
        rows = _append(rows, filled, batch, n)
    limit_pj, limit_cycles, limit_edp = _limit(best, used, ENERGY), _limit(best, used, LATENCY), _limit(best, used, EDP)
    for j in range(n):
        energy_pj, cycles, weight = batch[j].energy_pj, batch[j].latency_cycles, batch[j].weight
        edp = objective_value(EDP, energy_pj, cycles)
        histogram[ENERGY, bin_of(energy_pj, SHIFT)] += weight
        histogram[LATENCY, bin_of(cycles, SHIFT)] += weight
        histogram[EDP, bin_of(edp, SHIFT)] += weight
        joint[bin_of(energy_pj, JOINT_SHIFT), bin_of(cycles, JOINT_SHIFT)] += weight
        totals[FITTING] += weight
        totals[COSTED] += 1
        if cycles < barrier[bin_of(energy_pj, BARRIER_SHIFT)]:
            front = _offer_to_front(front, used, barrier, batch[j])
        if energy_pj <= limit_pj:
            _offer_to_best(best, used, ENERGY, batch[j])
            limit_pj = _limit(best, used, ENERGY)
        if cycles <= limit_cycles:
            _offer_to_best(best, used, LATENCY, batch[j])
            limit_cycles = _limit(best, used, LATENCY)
        if edp <= limit_edp:
            _offer_to_best(best, used, EDP, batch[j])
            limit_edp = _limit(best, used, EDP)
    return front, rows


@kernel
def _offer_to_best(best, used, objective, p):
    offer_best(best, used, objective, p.energy_pj, p.latency_cycles, p.spatial, p.rank, p.code)


@allocating
def _offer_to_front(front, used, barrier, p):
    """Offer a point to the front, which grows if need be, and raise the barrier."""
    if not offer_front(front, used, p.energy_pj, p.latency_cycles, p.spatial, p.rank, p.code):
        larger = np.empty(2 * front.size, POINT)
        for i in range(front.size):
            larger[i] = front[i]
        front = larger
        offer_front(front, used, p.energy_pj, p.latency_cycles, p.spatial, p.rank, p.code)
    place = bin_of(p.energy_pj, BARRIER_SHIFT) + 1
    while place < BARRIER_BINS and p.latency_cycles < barrier[place]:
        barrier[place] = p.latency_cycles
        place += 1
    return front


@kernel
def merge(best, front, used, other_best, other_front, other_used):
    """Add another thread's points to ours, whose front must have room for both."""
    for objective in range(N_OBJECTIVES):
        for i in range(other_used[objective]):
            p = other_best[objective, i]
            offer_best(best, used, objective, p.energy_pj, p.latency_cycles, p.spatial, p.rank, p.code)
    for i in range(other_used[FRONT]):
        p = other_front[i]
        offer_front(front, used, p.energy_pj, p.latency_cycles, p.spatial, p.rank, p.code)
