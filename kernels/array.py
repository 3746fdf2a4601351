"""How a spatial mapping fills the array: mapped rows and columns, activations, and the array's energy for a layer."""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from .macro import array_energy_pj, array_energy_total_pj
from .problem import FX, FY, IRRELEVANT, N_DIMS, OX, OY, C, W

WORD_LINES, BIT_LINES = range(2)  # array dimension 0 runs along the word line (columns), 1 along the bit line (rows)


@kernel
def array_use(problem, array_dim, loop_dim, factor):
    """Mapped rows, columns and activations of one macro (ZigZag 3.9.1, imc_unit).

    Weights replicated along the word line for several output positions (OX, OY) need inputs of a sliding window: a
    bit-line loop of f filter positions then occupies f + g - 1 rows, where g is the unrolling of its output
    dimension. ZigZag pairs these dimensions in the fixed order FX, C, FY with the factors in the order in which they
    were given, so that {C: 8, FX: 3} and {FX: 3, C: 8} differ; that is reproduced. Loops that never have a partner
    (others) come last.

    Returns:
        (mapped rows, mapped columns, activations)
    """
    columns, rows = 1.0, 1.0
    replicated = np.ones(N_DIMS)  # word-line unrolling of the weight-irrelevant dimensions
    diagonal = False
    bit_dims = np.empty(N_DIMS, np.int64)
    bit_factors = np.empty(N_DIMS)
    n = 0
    for j in range(factor.size):
        d = loop_dim[j]
        if factor[j] == 0:
            continue
        if array_dim[j] == WORD_LINES:
            columns *= factor[j]
            if problem.relevance[W, d] == IRRELEVANT:
                replicated[d] *= factor[j]
                diagonal = True
        elif array_dim[j] == BIT_LINES:
            rows *= factor[j]
            bit_dims[n] = d
            bit_factors[n] = factor[j]
            n += 1
    activations = problem.macs / (columns * rows)
    if not diagonal or rows == 1.0:
        return np.int64(np.ceil(rows)), np.int64(columns), activations
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
        rows *= bit_factors[i] + (partner - 1.0)
    return np.int64(np.ceil(rows)), np.int64(columns), activations


@kernel
def array_energies_pj(problem, macro, technology, variant, array_dim, loop_dim, candidates, energies_pj):
    """Array energy of the layer for every candidate spatial mapping (int64[S, n] factors), without precharging."""
    for i in range(candidates.shape[0]):
        rows, columns, activations = array_use(problem, array_dim, loop_dim, candidates[i])
        energy = array_energy_pj(macro, technology, variant, rows, rows, columns, activations, 0.0)
        energies_pj[i] = array_energy_total_pj(energy)
