"""The flat arrays that describe one layer on one architecture, and its spatial unrolling, to every other kernel.

Index conventions, everywhere in this package:

* loop dimensions 0..7: B, G, K, C, OY, OX, FY, FX;
* operands 0..2: W, I, O;
* directions 0..3 of a memory: read to below, write from below, read to above, write from above;
* a *boundary* (operand o, k) lies just below level k of the operand's memory chain. Its *row* is ``first_row[o] + k`` with
  k = 0..levels[o]; row k also stands for the content of level k - 1, so k = levels[o] is the content of the top memory,
  across which nothing moves;
* *version* 0 is the fractional unrolling (allocation, accesses, energy, utilisation), version 1 the integer one (cycles),
  as in ZigZag, which computes each half of the model with another one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._jit import kernel

N_DIMS = 8
B, G, K, C, OY, OX, FY, FX = range(N_DIMS)
W, I, O = range(3)  # noqa: E741
READ_DOWN, WRITE_FROM_BELOW, READ_UP, WRITE_FROM_ABOVE = range(4)
NEUTRAL, RELEVANT, IRRELEVANT, PARTIAL_X, PARTIAL_Y = range(5)
FRACTIONAL, INTEGER = range(2)
MAX_LOOPS = 64  # temporal loops of one order


class Problem(NamedTuple):
    """One layer on one architecture. Sizes in bits, bandwidths in bits per cycle, energies in pJ."""

    loop_size: np.ndarray  # int64[8]
    dimension_order: np.ndarray  # int64[n]: the layer's own order of its dimensions
    relevance: np.ndarray  # int64[3, 8]: NEUTRAL..PARTIAL_Y of each dimension for each operand
    window: np.ndarray  # int64[2, 3]: stride, dilation, largest extent of the input in x and in y
    bits: np.ndarray  # float64[4]: one element of W, I, O as partial sum, O final
    operand_order: np.ndarray  # int64[3]: the layer's operand order, output first
    levels: np.ndarray  # int64[3]: memory levels of each operand
    chain: np.ndarray  # int64[3, L]: memory of (operand, level), -1 beyond
    first_row: np.ndarray  # int64[3]
    memory_size: np.ndarray  # float64[M]
    memory_energy: np.ndarray  # float64[M, 2]: per read and per write of the full bandwidth
    memory_double_buffered: np.ndarray  # bool[M]
    memory_operands: np.ndarray  # int64[M, 3]: operands stored, in the memory's order, -1 beyond
    memory_level: np.ndarray  # int64[M, 3]: level of the memory in each operand's chain, -1: not stored
    serves: np.ndarray  # bool[M, A]: array dimensions over which the memory is shared
    port: np.ndarray  # int64[3, L, 4]: port of (operand, level, direction), -1: none
    port_bandwidth: np.ndarray  # float64[P, 2]: minimum, maximum
    port_both_inputs: np.ndarray  # bool[P]: serves W and I
    port_first: np.ndarray  # int64[P + 1]: first activity of each port
    activity: np.ndarray  # int64[n, 3]: (operand, level, direction), grouped by port
    cycles_per_operation: float
    macs: float
    weight_change_pj: float  # precharging one weight of a cell group; 0 where each multiplier has its own cell


class Unrolling(NamedTuple):
    """A spatial mapping seen from the memories. Version 0 fractional, 1 integer."""

    entry: np.ndarray  # float64[2, R, 8]: unrolling of each dimension just below level k (row k)
    below: np.ndarray  # float64[2, R, 8]: product of the entries 0..k-1
    reduction_above: np.ndarray  # float64[2, R]: output-irrelevant unrolling in the entries k+1.. of O
    multicast: np.ndarray  # float64[2, R]: distinct elements that one element period moves below level k, per instance
    instances: np.ndarray  # float64[2, R]: instances of memory level k
    lists_reduction: np.ndarray  # bool[R]: the entries k+1.. of O name an output-irrelevant loop, of whatever factor
    fractional: np.ndarray  # bool[1]: some factor is not whole
    remaining: np.ndarray  # int64[8]: temporal iterations left of each dimension


@kernel
def empty_unrolling(problem):
    """Arrays for an Unrolling of this problem, to be filled by ``unroll``."""
    rows = problem.first_row[2] + problem.levels[2] + 1
    return Unrolling(
        np.ones((2, rows, N_DIMS)),
        np.ones((2, rows, N_DIMS)),
        np.ones((2, rows)),
        np.ones((2, rows)),
        np.ones((2, rows)),
        np.zeros(rows, np.bool_),
        np.zeros(1, np.bool_),
        np.ones(N_DIMS, np.int64),
    )


@kernel
def balance(problem, array_dim, loop_dim, factor, balanced):
    """Spread over-hanging unrollings evenly over their temporal iterations.

    The largest factor u of a loop of size L becomes L / q with q = ceil(L / (u * earlier)) iterations; version 1 truncates
    it. Source: ZigZag 3.9.1, spatial_mapping_conversion.

    Args:
        array_dim, loop_dim, factor: int64[n], one spatial loop each, array dimension by array dimension.
        balanced: float64[2, n], filled.
    """
    n = factor.size
    for version in range(2):
        for j in range(n):
            d = loop_dim[j]
            largest = j
            for i in range(n):
                if loop_dim[i] == d and (factor[i] > factor[largest] or (factor[i] == factor[largest] and i < largest)):
                    largest = i
            if largest != j:
                balanced[version, j] = factor[j]
                continue
            earlier = 1.0
            for i in range(j):
                if loop_dim[i] == d and array_dim[i] != array_dim[j]:
                    earlier *= balanced[version, i]
            iterations = np.ceil(problem.loop_size[d] / (factor[j] * earlier))
            spread = problem.loop_size[d] / iterations / earlier
            balanced[version, j] = np.trunc(spread) if version == INTEGER else spread


@kernel
def extent(problem, axis, outer, inner):
    """Input elements that ``outer`` output positions and ``inner`` filter positions touch along an axis (0: x, 1: y).

    Both counts are truncated to integers first, and the result never exceeds the true input (ZigZag, layer_node). The formula
    over-counts where the dilation exceeds the number of output positions; that is ZigZag's.
    """
    a = np.trunc(outer)
    b = np.trunc(inner)
    stride, dilation, clip = problem.window[axis, 0], problem.window[axis, 1], problem.window[axis, 2]
    divisor, rest = stride, dilation
    while rest != 0:
        divisor, rest = rest, divisor % rest
    touched = a * b - max(0.0, b - stride // divisor) * (a - dilation // divisor)
    return min(float(clip), touched)


@kernel
def tensor_size(problem, operand, size):
    """Elements of an operand within a tile of ``size`` iterations per dimension (float64[8]; fractions allowed)."""
    elements = 1.0
    partial = False
    for d in range(N_DIMS):
        relevance = problem.relevance[operand, d]
        if relevance == RELEVANT:
            elements *= size[d]
        elif relevance == PARTIAL_X or relevance == PARTIAL_Y:
            partial = True
    if partial:
        elements *= extent(problem, 0, size[OX], size[FX])
        elements *= extent(problem, 1, size[OY], size[FY])
    return elements


@kernel
def unroll(problem, array_dim, loop_dim, factor, out):
    """Fill ``out`` (an Unrolling) from the user's spatial loops (int64[n] each, array dimension by array dimension)."""
    n = factor.size
    balanced = np.empty((2, n))
    balance(problem, array_dim, loop_dim, factor, balanced)
    out.entry[:] = 1.0
    out.lists_reduction[:] = False
    out.fractional[0] = False
    for j in range(n):
        out.fractional[0] |= balanced[FRACTIONAL, j] != balanced[INTEGER, j]
    seen = np.empty((3, 2 * N_DIMS * 8, 2), np.int64)  # (entry, dimension) in order of appearance, for each operand
    n_seen = np.zeros(3, np.int64)
    for o in range(3):
        levels = problem.levels[o]
        row = problem.first_row[o]
        for level in range(levels + 1):
            for j in range(n):
                served = levels
                for m in range(levels):
                    if problem.serves[problem.chain[o, m], array_dim[j]]:
                        served = m
                        break
                if served == level:
                    d = loop_dim[j]
                    known = False
                    for i in range(n_seen[o]):
                        known |= seen[o, i, 0] == level and seen[o, i, 1] == d
                    if not known:
                        seen[o, n_seen[o], 0] = level
                        seen[o, n_seen[o], 1] = d
                        n_seen[o] += 1
                    if problem.relevance[o, d] == IRRELEVANT:
                        out.lists_reduction[row : row + level] = True
                    for version in range(2):
                        out.entry[version, row + level, d] *= balanced[version, j]
    for version in range(2):
        for o in range(3):
            _count_units(problem, version, o, out)

    # Temporal iterations: what each spatial loop of the first input operand leaves, rounded up. The fractional factor can
    # make that one too many (34 / (34 / 7) > 7): ZigZag's hazard, reproduced.
    first = problem.operand_order[1]
    out.remaining[:] = problem.loop_size
    for i in range(n_seen[first]):
        d = seen[first, i, 1]
        if out.remaining[d] > 1:
            spatial = out.entry[FRACTIONAL, problem.first_row[first] + seen[first, i, 0], d]
            out.remaining[d] = np.int64(np.ceil(out.remaining[d] / spatial))


@kernel
def _count_units(problem, version, o, out):
    """Cumulative unrolling, reduction above, multicast and instances of one operand (ZigZag, spatial_mapping_internal)."""
    levels = problem.levels[o]
    first = problem.first_row[o]
    distinct = np.empty(levels + 1)  # relevant part of each entry
    out.below[version, first] = 1.0
    before = tensor_size(problem, o, out.below[version, first])
    running = np.ones(N_DIMS)
    for k in range(levels + 1):
        if k > 0:
            for d in range(N_DIMS):
                out.below[version, first + k, d] = running[d]
        for d in range(N_DIMS):
            running[d] = running[d] * out.entry[version, first + k, d]
        after = tensor_size(problem, o, running)
        distinct[k] = after / before
        before = after
    for k in range(levels + 1):
        reduction = 1.0
        replicas = 1.0
        unique = distinct[k]
        unique_above = 1.0
        for j in range(k + 1, levels + 1):
            unique *= distinct[j]
            unique_above *= distinct[j]
            for d in range(N_DIMS):
                replicas *= out.entry[version, first + j, d]
                if problem.relevance[o, d] == IRRELEVANT:
                    reduction *= out.entry[version, first + j, d]
        out.reduction_above[version, first + k] = reduction
        out.instances[version, first + k] = np.rint(np.rint(replicas * 1000.0) / 1000.0)
        out.multicast[version, first + k] = 1.0 if k == levels else np.rint(unique / unique_above)


class Scratch(NamedTuple):
    """Working memory of the evaluation of one mapping; afterwards it holds the breakdown of its latency."""

    candidate_bits: np.ndarray  # float64[3, MAX_LOOPS + 1]
    candidate_cost: np.ndarray  # float64[3, MAX_LOOPS + 1]
    low: np.ndarray  # int64[3]
    high: np.ndarray  # int64[3]
    choice: np.ndarray  # int64[3]
    position: np.ndarray  # int64[R]: loops below each boundary, stationary loops merged down
    period: np.ndarray  # float64[R]: array operations between two transfers
    window: np.ndarray  # float64[R]: array operations within which a transfer must end when nothing is buffered
    buffered: np.ndarray  # bool[R]: the memory below the boundary has room for two tiles
    memory_used: np.ndarray  # float64[M]
    port_stall: np.ndarray  # float64[P]
    loading: np.ndarray  # float64[3, L, 4]: cycles of the first (inputs) or last (output) transfer
    activity: np.ndarray  # float64[5, A]: of the activities of one port
    order: np.ndarray  # int64[A]
    covered: np.ndarray  # float64[2, A]


@kernel
def empty_scratch(problem):
    """Working memory for one thread."""
    rows = problem.first_row[2] + problem.levels[2] + 1
    activities = max(1, problem.activity.shape[0])
    return Scratch(
        np.empty((3, MAX_LOOPS + 1)),
        np.empty((3, MAX_LOOPS + 1)),
        np.empty(3, np.int64),
        np.empty(3, np.int64),
        np.empty(3, np.int64),
        np.empty(rows, np.int64),
        np.empty(rows),
        np.empty(rows),
        np.empty(rows, np.bool_),
        np.empty(problem.memory_size.size),
        np.empty(problem.port_bandwidth.shape[0]),
        np.empty((3, problem.chain.shape[1], 4)),
        np.empty((5, activities)),
        np.empty(activities, np.int64),
        np.empty((2, activities)),
    )
