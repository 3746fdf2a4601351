"""The flat arrays that describe one layer on one architecture, and its spatial unrolling, to every other kernel.

Index conventions, everywhere in this package:

* loop dimensions 0..7: B, G, K, C, OY, OX, FY, FX;
* operands 0..2: W, I, O;
* directions 0..3 of a memory: read to below, write from below, read to above, write from above;
* a *boundary* (operand o, k) lies just below level k of the operand's memory chain. Its *row* is ``first_row[o] + k``,
  with k = 0..levels[o]; row k also stands for the content of level k - 1, so k = levels[o] is the content of the top
  memory, above which nothing moves;
* *version* 0 is the fractional unrolling (allocation, accesses, energy, utilisation), version 1 the integer one
  (cycles), as in ZigZag, which computes each half of the model with another one (ONE_UNROLLING: both are fractional).

The descriptions are structured scalars (records) of fixed shape: one pointer to pass, no reference counts, quick to
compile. Numba keeps no reference to the array behind a record, so whoever calls a kernel creates them and holds them
meanwhile.
"""

from __future__ import annotations

import numpy as np

from ._jit import formula, kernel

N_DIMS = 8
B, G, K, C, OY, OX, FY, FX = range(N_DIMS)
MIRROR = (B, G, K, C, OX, OY, FX, FY)  # what does the same along the other of the axes x and y
W, I, O = range(3)  # noqa: E741
READ_DOWN, WRITE_FROM_BELOW, READ_UP, WRITE_FROM_ABOVE = range(4)
NEUTRAL, RELEVANT, IRRELEVANT, PARTIAL_X, PARTIAL_Y = range(5)
FRACTIONAL, INTEGER = range(2)
# Repairs of ZigZag's numerical accidents, bits of PROBLEM.repairs; 0 reproduces ZigZag. This is the place that lists
# them; each acts where its name is used.
WHOLE_ITERATIONS = 1  # a quotient that floating point lifts just above a whole number adds no temporal iteration
JOINT_COVERAGE = 2  # a loop on several array dimensions is spread over their product, which does not over-cover it
TRUE_EXTENTS = 4  # input extents follow fractional unrollings; dilated windows that barely move are not over-counted
ALL_ACCESSES = 8  # fractions of an access count; a small transfer is not free
EXACT_UNITS = 16  # units count as they are filled on average: 5 channels in 2 iterations fill 2.5 columns, not 2
EXACT_TILES = 32  # the elements of a tile are an average too
ONE_UNROLLING = 64  # cycles follow the unrolling that energy follows, not another one of truncated factors
TRUE_WIDTHS = 128  # a partial sum moves at its full width wherever something is still added to it
TRUE_ACTIVATIONS = 256  # the array is activated once an iteration, for the rows and columns filled on average
OWN_PARTNERS = 512  # a diagonal pairs each filter dimension with its own factor, in whatever order they are written
FULL_TILES = 1024  # a memory must have room for the largest tile, which has 3 of 5 channels in 2 iterations, not 2.5
ALL_REPAIRS = (
    WHOLE_ITERATIONS
    | JOINT_COVERAGE
    | TRUE_EXTENTS
    | ALL_ACCESSES
    | EXACT_UNITS
    | EXACT_TILES
    | ONE_UNROLLING
    | TRUE_WIDTHS
    | TRUE_ACTIVATIONS
    | OWN_PARTNERS
    | FULL_TILES
)

NOISE = 1e-12  # relative; what the last digits of a product of fractional factors may be worth

MAX_LOOPS = 64  # temporal loops of one order
MAX_LEVELS = 8  # memory levels of one operand
MAX_MEMORIES = 16
MAX_PORTS = 48
MAX_ACTIVITIES = 3 * MAX_LEVELS * 4
MAX_ARRAY_DIMS = 8
MAX_SPATIAL = 64  # spatial loops of one mapping


_D = N_DIMS
_L = MAX_LEVELS
_R = 3 * (MAX_LEVELS + 1)
_M = MAX_MEMORIES
_P = MAX_PORTS
_A = MAX_ACTIVITIES

#: One layer on one architecture. Sizes in bits, bandwidths in bits per cycle, energies in pJ.
PROBLEM = np.dtype(
    [
        ("loop_size", np.int64, _D),
        ("dimension_order", np.int64, _D),  # the layer's own order of its dimensions
        ("dimensions", np.int64),  # how many it has
        ("relevance", np.int64, (3, _D)),  # NEUTRAL..PARTIAL_Y of each dimension for each operand
        ("index_dims", np.int64, (3, _D)),  # the dimensions that index each operand, relevant ones first
        ("relevant", np.int64, 3),  # how many are relevant
        ("indices", np.int64, 3),  # and how many with the partially relevant ones
        ("window", np.float64, (2, 3)),  # in x and y: stride and dilation without common divisor, largest input extent
        ("bits", np.float64, 4),  # one element of W, I, O as partial sum, O final
        ("operand_order", np.int64, 3),  # the layer's operand order, output first
        ("levels", np.int64, 3),  # memory levels of each operand
        ("chain", np.int64, (3, _L)),  # memory of (operand, level), -1 beyond
        ("first_row", np.int64, 3),
        ("rows", np.int64),
        ("memories", np.int64),
        ("memory_size", np.float64, _M),
        ("memory_energy", np.float64, (_M, 2)),  # per read and per write of the full bandwidth
        ("memory_double_buffered", np.uint8, _M),
        ("memory_operands", np.int64, (_M, 3)),  # operands stored, in the memory's order, -1 beyond
        ("memory_level", np.int64, (_M, 3)),  # level of the memory in each operand's chain, -1: not stored
        ("serves", np.uint8, (_M, MAX_ARRAY_DIMS)),  # array dimensions over which the memory is shared
        ("port", np.int64, (3, _L, 4)),  # port of (operand, level, direction), -1: none
        ("ports", np.int64),
        ("port_bandwidth", np.float64, (_P, 2)),  # minimum, maximum
        ("port_both_inputs", np.uint8, _P),  # serves W and I
        ("port_first", np.int64, _P + 1),  # first activity of each port
        ("activity", np.int64, (_A, 4)),  # (operand, level, direction, row) of what can move, grouped by port
        ("cycles_per_operation", np.float64),
        ("macs", np.float64),
        ("repairs", np.int64),
        (
            "weight_change_pj",
            np.float64,
        ),  # precharging one weight of a cell group; 0 where each multiplier has its own cell
    ],
    align=True,
)

#: A spatial mapping seen from the memories; the first index is the version.
UNROLLING = np.dtype(
    [
        ("entry", np.float64, (2, _R, _D)),  # unrolling of each dimension just below level k (row k)
        ("below", np.float64, (2, _R, _D)),  # product of the entries 0..k-1
        ("reduction_above", np.float64, (2, _R)),  # output-irrelevant unrolling in the entries k+1.. of O
        ("reduces_above", np.uint8, (2, _R)),  # one of its factors is above 1
        ("multicast", np.float64, (2, _R)),  # distinct elements below level k for each of its instances
        ("instances", np.float64, (2, _R)),  # instances of memory level k
        ("lists_reduction", np.uint8, _R),  # the entries k+1.. of O name an output-irrelevant loop, of whatever factor
        ("fractional", np.bool_),  # some factor is not whole
        ("fractional_operand", np.uint8, 3),  # some factor of a dimension that indexes the operand is not whole
        ("remaining", np.int64, _D),  # temporal iterations left of each dimension
        ("balanced", np.float64, (2, MAX_SPATIAL)),  # factor of each spatial loop, spread evenly
        ("loops", np.int64, (3, MAX_SPATIAL, 2)),  # (entry, dimension) of each operand's spatial loops, bottom first
        ("n_loops", np.int64, 3),
    ],
    align=True,
)

#: What some of the activities of a port add up to. Tallies of different operands add up, too.
TALLY = np.dtype(
    [
        ("stalls", np.float64),  # cycles by which they exceed their windows
        ("rest", np.float64),  # cycles that they leave of them, negative, and the windows, without those of one period
        ("union", np.float64),  # all cycles, by the first of them that has its whole period for a window
        ("first", np.int64),  # number of that activity, or NONE
        ("widest", np.float64),  # most cycles in the windows of one of them: the union is no less
        ("required", np.float64),  # bits per cycle of those that recur
        ("spreadable", np.float64),  # cycles of those that happen once which need not delay the start or the end
        ("unused", np.float64),  # to a whole cache line
    ],
    align=True,
)
NONE = 1 << 30

#: Working memory of the evaluation of one mapping; afterwards it holds the breakdown of its latency.
SCRATCH = np.dtype(
    [
        ("candidate_bits", np.float64, (3, MAX_LOOPS + 1)),
        ("candidate_cost", np.float64, (3, MAX_LOOPS + 1)),
        ("low", np.int64, 3),
        ("high", np.int64, 3),
        ("choice", np.int64, 3),
        ("reach", np.int64, _M),  # loops of the last order on which the memory's allocation depended
        ("moved", np.uint8, 3),  # the operand's cut at a lower level differs from that of the last order
        ("cheapest", np.int64, MAX_LOOPS + 1),
        ("position", np.int64, _R),  # loops below each boundary, stationary loops merged down
        ("column", np.int64, _R),  # the column of the traffic table there
        ("period", np.float64, _R),  # cycles between two transfers across the boundary
        ("single_window", np.float64, _R),  # cycles of these within which a transfer must end without double buffer
        ("window", np.float64, _R),  # and with the double buffers that there are
        ("count", np.float64, _R),  # periods
        ("memory_used", np.float64, _M),
        ("effective_use", np.float64, _R),  # share of the memory below the boundary that the effective tile takes
        ("port_stall", np.float64, _P),
        ("loading", np.float64, (3, _L, 4)),  # cycles of the first (inputs) or last (output) transfer
        ("activity", np.float64, (5, _A)),  # of the activities of one port
        ("order", np.int64, _A),
        ("tally", TALLY),  # of one port
        ("covered", np.float64, (2, _A)),
        ("size", np.float64, _D),
        ("tile", np.float64, _D),
        ("elements", np.float64, 2),
    ],
    align=True,
)


@formula
def side(direction):
    """Offset from row k to the level on whose port the direction lies: level k (low side) or k - 1 (high side)."""
    return 0 if direction < READ_UP else -1


@formula
def nearly_whole(x):
    """The whole number that x is but for rounding, or x."""
    whole = np.rint(x)
    return whole if abs(x - whole) <= NOISE * whole else x


@kernel
def balance(problem, array_dim, loop_dim, factor, balanced):
    """Spread over-hanging unrollings evenly over their temporal iterations.

    The largest factor u of a loop of size L becomes L / q with q = ceil(L / (u * earlier)) iterations; version 1
    truncates it. Source: ZigZag 3.9.1, spatial_mapping_conversion, which looks at earlier array dimensions only:
    K = 100 on 8 and 4 units takes 4 iterations of 7.69 x 4 = 123 channels (JOINT_COVERAGE: of 6.25 x 4).

    ONE_UNROLLING does not truncate: a transfer lasts as long as that of an average tile, in whole cycles. Then all
    transfers together keep a port busy for what they move over its bandwidth, or longer, but never for less; truncated
    factors let 13 channels on 4 columns move as 12, and a full tile in every iteration would move them as 16.

    Args:
        array_dim, loop_dim, factor: int64[n], one spatial loop each, array dimension by array dimension; factor 0
            stands for a loop that is not there (one of factor 1 is, and can count).
        balanced: float64[2, n], filled.
    """
    n = factor.size
    for version in range(2):
        for j in range(n):
            if factor[j] == 0:
                balanced[version, j] = 1.0
                continue
            d = loop_dim[j]
            largest = j
            for i in range(n):
                if loop_dim[i] == d and (factor[i] > factor[largest] or (factor[i] == factor[largest] and i < largest)):
                    largest = i
            if largest != j:
                balanced[version, j] = factor[j]
                continue
            others = 1.0
            for i in range(n):
                if loop_dim[i] == d and array_dim[i] != array_dim[j] and factor[i] > 0:
                    if i < j:
                        others *= balanced[version, i]
                    elif problem.repairs & JOINT_COVERAGE:
                        others *= factor[i]
            iterations = np.ceil(problem.loop_size[d] / (factor[j] * others))
            spread = problem.loop_size[d] / iterations / others
            truncated = version == INTEGER and problem.repairs & ONE_UNROLLING == 0
            balanced[version, j] = np.trunc(spread) if truncated else spread


@formula
def extent(problem, axis, outer, inner):
    """Input elements that ``outer`` output positions and ``inner`` filter positions touch along an axis (0: x, 1: y).

    Both counts are truncated to integers first, and the result never exceeds the true input (ZigZag, layer_node). So
    1.92 output columns count as 1, and where the dilation exceeds the number of output positions the formula counts
    too many (TRUE_EXTENTS repairs both).
    """
    a, b = np.trunc(outer), np.trunc(inner)
    if problem.repairs & TRUE_EXTENTS:
        a, b = outer, inner
    stride, dilation, clip = problem.window[axis, 0], problem.window[axis, 1], problem.window[axis, 2]
    overlap = a - dilation
    if problem.repairs & TRUE_EXTENTS:
        overlap = max(0.0, overlap)
    touched = a * b - max(0.0, b - stride) * overlap
    return min(clip, touched)


@kernel
def tensor_size(problem, operand, size):
    """Elements of an operand within a tile of ``size`` iterations per dimension (float64[8]; fractions allowed)."""
    elements = 1.0
    for j in range(problem.relevant[operand]):
        elements *= size[problem.index_dims[operand, j]]
    if problem.indices[operand] > problem.relevant[operand]:
        elements *= extent(problem, 0, size[OX], size[FX])
        elements *= extent(problem, 1, size[OY], size[FY])
    return elements


@kernel
def unroll(problem, array_dim, loop_dim, factor, out):
    """Fill ``out`` (an Unrolling) from the user's spatial loops (int64[n] each, array dimension by array dimension)."""
    n = factor.size
    balanced = out.balanced
    balance(problem, array_dim, loop_dim, factor, balanced)
    fractional = False
    for o in range(3):
        out.fractional_operand[o] = 0
        for j in range(n):
            if balanced[FRACTIONAL, j] != np.trunc(balanced[FRACTIONAL, j]):
                fractional = True
                relevance = problem.relevance[o, loop_dim[j]]
                if relevance != IRRELEVANT and relevance != NEUTRAL:
                    out.fractional_operand[o] = 1 if problem.repairs & TRUE_EXTENTS == 0 else 0
    # Only truncated extents and ties of the greedy allocation depend on the order of multiplication.
    out.fractional = fractional and problem.repairs & TRUE_EXTENTS == 0
    for row in range(problem.rows):
        out.lists_reduction[row] = 0
        for version in range(2):
            for d in range(N_DIMS):
                out.entry[version, row, d] = 1.0
    for o in range(3):
        n_loops = 0
        levels = problem.levels[o]
        row = problem.first_row[o]
        for level in range(levels + 1):
            for j in range(n):
                served = levels
                for m in range(levels):
                    if problem.serves[problem.chain[o, m], array_dim[j]] != 0:
                        served = m
                        break
                if served == level and factor[j] > 0:
                    d = loop_dim[j]
                    known = False
                    for loop in range(n_loops):
                        known |= out.loops[o, loop, 0] == level and out.loops[o, loop, 1] == d
                    if not known:
                        out.loops[o, n_loops, 0] = level
                        out.loops[o, n_loops, 1] = d
                        n_loops += 1
                    if problem.relevance[o, d] == IRRELEVANT:
                        for below in range(row, row + level):
                            out.lists_reduction[below] = 1
                    for version in range(2):
                        out.entry[version, row + level, d] *= balanced[version, j]
        out.n_loops[o] = n_loops
    for version in range(2):
        for o in range(3):
            _count_units(problem, version, o, out)

    if problem.repairs & WHOLE_ITERATIONS and problem.repairs & JOINT_COVERAGE:
        for d in range(N_DIMS):
            everywhere = 1
            for j in range(n):
                if loop_dim[j] == d and factor[j] > 0:
                    everywhere *= factor[j]
            out.remaining[d] = (problem.loop_size[d] + everywhere - 1) // everywhere
        return
    # Temporal iterations: what each spatial loop of the first input operand leaves, rounded up. The fractional factor
    # can make that one too many (34 / (34 / 7) > 7), as in ZigZag (WHOLE_ITERATIONS).
    for d in range(N_DIMS):
        out.remaining[d] = problem.loop_size[d]
    first = problem.operand_order[1]
    for loop in range(out.n_loops[first]):
        d = out.loops[first, loop, 1]
        if out.remaining[d] > 1:
            spatial = out.entry[FRACTIONAL, problem.first_row[first] + out.loops[first, loop, 0], d]
            left = out.remaining[d] / spatial
            if problem.repairs & WHOLE_ITERATIONS:
                left -= 1e-9
            out.remaining[d] = np.int64(np.ceil(left))
    # Of a layer unrolled completely, ZigZag has one loop of one iteration left, of the first dimension: where that adds
    # up, the lowest level is allocated for partial sums.
    if problem.repairs & TRUE_WIDTHS == 0:
        whole = problem.relevance[O, problem.dimension_order[0]] == IRRELEVANT
        for d in range(N_DIMS):
            whole &= out.remaining[d] == 1
        if whole:
            out.lists_reduction[problem.first_row[O]] = 1


@kernel
def _count_units(problem, version, o, out):
    """Cumulative unrolling, reduction above, multicast and instances of an operand (spatial_mapping_internal).

    ZigZag rounds the last two, half to even (EXACT_UNITS: they are averages over the iterations, like the factors).
    """
    levels = problem.levels[o]
    first = problem.first_row[o]
    for d in range(N_DIMS):
        out.below[version, first, d] = 1.0
    for k in range(levels):
        for d in range(N_DIMS):
            out.below[version, first + k + 1, d] = out.below[version, first + k, d] * out.entry[version, first + k, d]
    for k in range(levels + 1):
        reduction, replicas, unique_above = 1.0, 1.0, 1.0
        out.reduces_above[version, first + k] = 0
        unique = _distinct(problem, version, o, k, out)
        for j in range(k + 1, levels + 1):
            distinct = _distinct(problem, version, o, j, out)
            unique *= distinct
            unique_above *= distinct
            for d in range(N_DIMS):
                replicas *= out.entry[version, first + j, d]
                if problem.relevance[o, d] == IRRELEVANT:
                    reduction *= out.entry[version, first + j, d]
                    if out.entry[version, first + j, d] > 1.0:
                        out.reduces_above[version, first + k] = 1
        out.reduction_above[version, first + k] = reduction
        multicast = 1.0 if k == levels else unique / unique_above
        if problem.repairs & EXACT_UNITS == 0:
            replicas = np.rint(np.rint(replicas * 1000.0) / 1000.0)
            multicast = np.rint(multicast)
        out.instances[version, first + k] = replicas
        out.multicast[version, first + k] = multicast


@kernel
def _distinct(problem, version, o, k, out):
    """Factor by which the unrolling of entry k multiplies the operand's distinct elements."""
    row = problem.first_row[o] + k
    below, entry = out.below[version, row], out.entry[version, row]
    before, after = 1.0, 1.0
    partial = False
    for d in range(N_DIMS):
        if problem.relevance[o, d] == RELEVANT:
            after *= entry[d]
        partial |= problem.relevance[o, d] >= PARTIAL_X
    if partial:
        before = extent(problem, 0, below[OX], below[FX]) * extent(problem, 1, below[OY], below[FY])
        after *= extent(problem, 0, below[OX] * entry[OX], below[FX] * entry[FX])
        after *= extent(problem, 1, below[OY] * entry[OY], below[FY] * entry[FY])
    return after / before
