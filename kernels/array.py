"""How a spatial mapping fills the array: mapped rows and columns, activations, and the array's energy for a layer."""

from __future__ import annotations

import numpy as np

from ._jit import allocating, kernel
from .macro import array_energy_pj, array_energy_total_pj
from .problem import (
    FRACTIONAL,
    FX,
    FY,
    IRRELEVANT,
    N_DIMS,
    OWN_PARTNERS,
    OX,
    OY,
    TRUE_ACTIVATIONS,
    C,
    W,
    unroll,
)

WORD_LINES, BIT_LINES = range(2)  # array dimension 0 runs along the word line (columns), 1 along the bit line (rows)


@allocating
def filled_array(problem, array_dim, loop_dim, factor, units):
    """Rows that receive an input and columns that hold weights in one macro (ZigZag 3.9.1, imc_unit).

    Weights replicated along the word line for several output positions (OX, OY) need inputs of a sliding window: a
    bit-line loop of f filter positions then occupies f + g - 1 rows, where g is the unrolling of its output
    dimension. ZigZag pairs these dimensions in the fixed order FX, C, FY with the factors in the order in which they
    were given, so that {C: 8, FX: 3} and {FX: 3, C: 8} differ, and loops that never have a partner (others) come last.
    With 4 output columns the first takes (8 + 3) x 3 = 33 rows, fewer than the 8 x (3 + 3) that its inputs need; and
    {C: 8} takes 8, {C: 8, FX: 1} the 32 that both need (OWN_PARTNERS).

    Args:
        factor: int64[n], the loops; 0 stands for one that is not there.
        units: float64[n], how many units each loop fills: its factor, or an average.

    Returns:
        (rows, columns, weights in the array)
    """
    columns, rows = 1.0, 1.0
    replicated = np.ones(N_DIMS)  # word-line unrolling of the weight-irrelevant dimensions
    diagonal = False
    bit_dims = np.empty(N_DIMS, np.int64)
    bit_units = np.empty(N_DIMS)
    n = 0
    for j in range(factor.size):
        d = loop_dim[j]
        if factor[j] == 0:
            continue
        if array_dim[j] == WORD_LINES:
            columns *= units[j]
            if problem.relevance[W, d] == IRRELEVANT:
                replicated[d] *= units[j]
                diagonal = True
        elif array_dim[j] == BIT_LINES:
            rows *= units[j]
            bit_dims[n] = d
            bit_units[n] = units[j]
            n += 1
    weights = columns * rows
    if problem.repairs & OWN_PARTNERS:
        return rows_needed(array_dim, loop_dim, factor, units), columns, weights
    if not diagonal or rows == 1.0:
        return rows, columns, weights
    paired = np.empty(N_DIMS, np.int64)
    p = 0
    for d in (FX, C, FY):
        for i in range(n):
            if bit_dims[i] == d:
                paired[p] = d
                p += 1
    for i in range(n):
        if bit_dims[i] != FX and bit_dims[i] != C and bit_dims[i] != FY:
            paired[p] = bit_dims[i]
            p += 1
    rows = 1.0
    for i in range(n):
        partner = 1.0
        if paired[i] == FX:
            partner = replicated[OX]
        elif paired[i] == FY:
            partner = replicated[OY]
        rows *= bit_units[i] + (partner - 1.0)
    return rows, columns, weights


@kernel
def rows_needed(array_dim, loop_dim, factor, units):
    """Rows of one macro that the inputs need: columns of g output positions share those of f filter positions, so that
    together they have f + g - 1 (a diagonal).

    Args: as for ``filled_array``.
    """
    others, filter_x, filter_y, output_x, output_y = 1.0, 1.0, 1.0, 1.0, 1.0
    for j in range(factor.size):
        d = loop_dim[j]
        if factor[j] == 0:
            continue
        if array_dim[j] == WORD_LINES:
            if d == OX:
                output_x *= units[j]
            elif d == OY:
                output_y *= units[j]
        elif array_dim[j] == BIT_LINES:
            if d == FX:
                filter_x *= units[j]
            elif d == FY:
                filter_y *= units[j]
            else:
                others *= units[j]
    return others * (filter_x + output_x - 1.0) * (filter_y + output_y - 1.0)


@kernel
def fill_rows_needed(array_dim, loop_dim, candidates, rows):
    """``rows_needed`` of each candidate (int64[S, n] factors): float64[S], filled."""
    for i in range(candidates.shape[0]):
        rows[i] = rows_needed(array_dim, loop_dim, candidates[i], candidates[i])


@allocating
def array_use(problem, unrolling, array_dim, loop_dim, factor):
    """Mapped rows and columns of one macro, and its activations, summed over the banks.

    ZigZag counts MACs / (rows x columns) activations with the factors as written, though 4 columns for 7 channels are
    filled 3.5 on average: activations are then too few (7 / 4), and the fewer the larger the factor. With
    TRUE_ACTIVATIONS there is one in each iteration (``unrolling.remaining``) and bank in use, with the rows and columns
    filled on average. The array's energy is linear in either (``macro``), so that this is the sum over activations.

    Returns:
        (mapped rows, rows that one output adds, mapped columns, activations); the second differs from the first with
        weights replicated along the word line.
    """
    if problem.repairs & TRUE_ACTIVATIONS == 0:
        rows, columns, weights = filled_array(problem, array_dim, loop_dim, factor, factor.astype(np.float64))
        return rows, weights / columns, columns, problem.macs / weights
    units = unrolling.balanced[FRACTIONAL]
    rows, columns, weights = filled_array(problem, array_dim, loop_dim, factor, units)
    activations = 1.0
    for d in range(N_DIMS):
        activations *= unrolling.remaining[d]
    for j in range(factor.size):
        if factor[j] > 0 and array_dim[j] > BIT_LINES:
            activations *= units[j]
    return rows, weights / columns, columns, activations


@allocating
def array_energies_pj(problem, unrolling, macro, technology, variant, array_dim, loop_dim, candidates, energies_pj):
    """Array energy of the layer for every candidate spatial mapping (int64[S, n] factors), without precharging."""
    for i in range(candidates.shape[0]):
        unroll(problem, array_dim, loop_dim, candidates[i], unrolling)
        rows, adder_rows, columns, activations = array_use(problem, unrolling, array_dim, loop_dim, candidates[i])
        energy = array_energy_pj(macro, technology, variant, rows, adder_rows, columns, activations, 0.0)
        energies_pj[i] = array_energy_total_pj(energy)
