"""The loop dimensions of a layer, its operands, and which of them belong together.

The loop nest is ``O[b][g][k][oy][ox] += W[g][k][c][fy][fx] * I[b][g][c][iy][ix]``; K and C count per group.
"""

from __future__ import annotations

from typing import Final

#: Batch, group, output channel, input channel, output row and column, kernel row and column.
LOOP_DIMENSIONS: Final = ("B", "G", "K", "C", "OY", "OX", "FY", "FX")

#: Order in which a layer lists its dimensions when it was given them without an order of its own.
DEFAULT_ORDER: Final = ("B", "K", "G", "OX", "OY", "C", "FX", "FY")

#: Weights, input activations, output activations.
OPERANDS: Final = ("W", "I", "O")

#: The four ways in which data cross the edge of a memory; "low" faces the array, "high" the outside world.
DIRECTIONS: Final = ("rd_out_to_low", "wr_in_by_low", "rd_out_to_high", "wr_in_by_high")

#: ZigZag's two-letter names of :data:`DIRECTIONS`, in the same order.
DIRECTION_CODES: Final = {
    "tl": "rd_out_to_low",
    "fl": "wr_in_by_low",
    "th": "rd_out_to_high",
    "fh": "wr_in_by_high",
}

#: Directions that read the memory; the other two write it.
READING: Final = frozenset({"rd_out_to_low", "rd_out_to_high"})

#: Loop dimensions that index an operand.
RELEVANT: Final = {
    "W": frozenset({"G", "K", "C", "FY", "FX"}),
    "I": frozenset({"B", "G", "C"}),
    "O": frozenset({"B", "G", "K", "OY", "OX"}),
}

#: Pairs of loop dimensions that index an operand together: input column = stride * OX + dilation * FX.
PARTIALLY_RELEVANT: Final = {
    "W": (),
    "I": (("OX", "FX"), ("OY", "FY")),
    "O": (),
}

#: Output position -> filter position: unrolled over columns and rows, they form a diagonal, where columns share inputs.
DIAGONAL_PARTNER: Final = {"OX": "FX", "OY": "FY"}

#: Loop dimensions of a layer whose window does not slide (a matrix product).
GEMM_DIMENSIONS: Final = ("B", "G", "K", "C")
