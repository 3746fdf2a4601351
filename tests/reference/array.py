"""Energy, clock and area of the in-memory-computing array itself: cells, converters, multipliers, adders, accumulators.

Everything is built from a two-input NAND gate in 28 nm. The word line dimension of the array (columns) is the first of
its dimensions by name, the bit line dimension (rows) the second, and all others together are banks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .problem import OWN_PARTNERS, TRUE_ACTIVATIONS, Hardware, Layer, neighbours, product, total

VOLTAGE = 0.9  # V
NAND_CAP = 0.7e-3  # pF
XOR_CAP = NAND_CAP * 1.5
REGISTER_CAP = NAND_CAP * 3
LINE_CAP = NAND_CAP / 2  # word line and bit line, per cell
NAND_AREA = 0.614e-6  # mm2
XOR_AREA = NAND_AREA * 2.4
REGISTER_AREA = NAND_AREA * 6
NAND_DELAY = 0.0478  # ns
XOR_DELAY = NAND_DELAY * 2.4

ADDER_ENERGY = (3 * NAND_CAP + 2 * XOR_CAP) * VOLTAGE**2  # full adder: 3 NAND and 2 XOR
HALF_ACTIVE_ADDER_ENERGY = 2 * XOR_CAP * VOLTAGE**2  # only one of its inputs toggles: no carry
MULTIPLIER_ENERGY = 0.5 * NAND_CAP * VOLTAGE**2  # the weight input is static
REGISTER_ENERGY = REGISTER_CAP * VOLTAGE**2
ADDER_AREA = 3 * NAND_AREA + 2 * XOR_AREA
INPUT_TO_SUM = 2 * XOR_DELAY
INPUT_TO_CARRY = XOR_DELAY + 2 * NAND_DELAY
CARRY_TO_CARRY = 2 * NAND_DELAY

#: The order in which a Python set yields ZigZag's dimensions is that of their hashes, which are fixed. Measured: these
#: are their slots in a set of up to four elements.
SET_SLOT = {"G": 0, "K": 1, "OY": 1, "FX": 2, "B": 3, "D": 5, "C": 6, "OX": 6, "FY": 7}


@dataclass(frozen=True)
class Array:
    """The parameters of the array that the formulas below need."""

    analog: bool
    columns_dim: str
    rows_dim: str
    columns: int
    rows: int
    banks: int
    activation_bits: int
    weight_bits: int
    bits_per_cycle: float
    adc_bits: float
    cells_bits: int
    cells_area: float

    @property
    def steps(self) -> float:
        """Bit-serial steps of one multiplication."""
        return self.activation_bits / self.bits_per_cycle

    @property
    def place_value_inputs(self) -> float:
        """Inputs of the adder tree that joins the bits of a weight (analog) or of a bit-serial step (digital)."""
        return self.weight_bits if self.analog else self.bits_per_cycle

    @property
    def place_value_input_bits(self) -> float:
        return self.adc_bits if self.analog else self.weight_bits + int(math.log2(self.rows))

    @property
    def place_value_adders(self) -> float:
        """Full adders of a place-value tree of M inputs of w bits: w (M - 1) + M (log2 M - 1/2), none for M = 1."""
        m, w = self.place_value_inputs, self.place_value_input_bits
        return 0 if m == 1 else w * (m - 1) + m * (math.log2(m) - 0.5)

    @property
    def accumulator_bits(self) -> float:
        middle = self.adc_bits if self.analog else math.log2(self.rows)
        return self.activation_bits + middle + self.weight_bits

    @property
    def accumulates(self) -> bool:
        """Whether there are bit-serial steps to accumulate."""
        return self.bits_per_cycle != self.activation_bits


def parse_array(hw: Hardware) -> Array:
    """Columns are the first dimension by name, rows the second, banks the rest."""
    names = sorted(hw.dims)
    cells = next(memory for memory in hw.memories if memory.name == "cells")
    activation_bits, weight_bits = hw.array["input_precision"]
    return Array(
        analog=hw.array["imc_type"] == "analog",
        columns_dim=names[0],
        rows_dim=names[1],
        columns=hw.dims[names[0]],
        rows=hw.dims[names[1]],
        banks=product(hw.dims[name] for name in names[2:]),
        activation_bits=activation_bits,
        weight_bits=weight_bits,
        bits_per_cycle=float(hw.array["bit_serial_precision"]),
        adc_bits=hw.array.get("adc_resolution", 0),
        cells_bits=cells.size,
        cells_area=cells.area,
    )


# ----------------------------------------------------------------------------------------------------------------------
# What a layer uses of the array
# ----------------------------------------------------------------------------------------------------------------------


def active_columns(array: Array, spatial: list) -> float:
    """Columns in use: the factors on the word line dimension, those of a diagonal mapping included."""
    return product(factor for _, factor in dict(spatial).get(array.columns_dim, []))


def activations(array: Array, layer: Layer, spatial: list, iterations: int) -> float:
    """How often one macro is activated, if it did everything alone: MACs over the macro's unrolling. Not rounded.

    True activations are the iterations in time, each of all macros in use.
    """
    macro = (array.columns_dim, array.rows_dim)
    if TRUE_ACTIVATIONS in layer.repairs:
        return iterations * product(f for dim, loops in spatial if dim not in macro for _, f in loops)
    return layer.macs / float(product(f for dim, loops in spatial if dim in macro for _, f in loops))


def active_rows(array: Array, layer: Layer, spatial: list) -> float:
    """Rows that receive an input.

    Normally the product of the factors on the bit line dimension. When a dimension that no weight depends on
    (OX, OY, B) is unrolled on the word line dimension, the mapping is *diagonal*: weights are repeated, shifted by a
    row, so a loop of f on FX needs f + g - 1 rows if its partner OX is unrolled g times over the columns (FY and OY
    likewise), and loops without a partner need f.

    ZigZag has a bug that is kept here: it takes the dimensions of the bit line loops from a *set* but their factors in
    the order of writing, so that partners and factors may be mixed up: {C: 8, FX: 3} with OX: 4 pairs FX with 8 and C
    with 3, (8 + 3) * 3 = 33 rows. For the dimensions that reduce, the order of the set is FX, C, FY, whatever the
    subset. In general it is the order of ``SET_SLOT``, which is exact as long as no two dimensions share a slot
    (K and OY, C and OX do; they are then taken as written, as are unknown dimensions, last).

    With own partners, OX on the columns goes with FX and OY with FY, whether these are on the rows or not.

    Two cases in which ZigZag crashes are handled by the same formula: a single bit line loop, and an irrelevant
    dimension on the word lines that is in no relation (the batch), which adds no rows.
    """
    loops = dict(spatial).get(array.rows_dim, [])
    rows = product(factor for _, factor in loops)
    on_columns = dict(spatial).get(array.columns_dim, [])
    if OWN_PARTNERS in layer.repairs:
        rows = product(factor for dim, factor in loops if dim not in ("FX", "FY"))
        for position, filter_dim in (("OX", "FX"), ("OY", "FY")):
            taps = product(factor for dim, factor in loops if dim == filter_dim)
            rows *= taps + product(factor for dim, factor in on_columns if dim == position) - 1
        return rows
    diagonal = any(dim in layer.irrelevant["W"] for dim, _ in on_columns)
    if rows == 1 or not diagonal:
        return rows

    partner = {}
    for relation in layer.partial["I"]:
        if relation.a in layer.irrelevant["W"]:
            partner[relation.b] = relation.a
        else:
            partner[relation.a] = relation.b
    repeated = {dim: product(f for other, f in on_columns if other == dim) for dim in partner.values()}

    factors = [factor for _, factor in loops]
    dims = [dim for dim, _ in loops]
    dims.sort(key=lambda dim: SET_SLOT.get(dim, len(SET_SLOT)))
    return product(
        factor + (repeated[partner[dim]] - 1 if dim in partner else 0)
        for dim, factor in zip(dims, factors, strict=True)
    )


# ----------------------------------------------------------------------------------------------------------------------
# Energy
# ----------------------------------------------------------------------------------------------------------------------


def array_energy(
    array: Array, layer: Layer, spatial: list, filled: list, iterations: int, weight_reads: float
) -> dict[str, float]:
    """Energy of the layer in the array, by component. ``weight_reads`` as :func:`precharging_energy` needs them.

    ZigZag takes rows, columns and activations from the unrolling as the user writes it (``spatial``): 7 on 4 columns
    are 7/4 activations of 4 columns. True activations are the iterations in time, and rows and columns are ``filled``
    as the unrolling is evened out: 2 activations of 3.5 columns.

    Of the digital array all multipliers toggle whatever is mapped; of the analog one all columns but only the mapped
    rows. The analog bit lines always span all rows. Everything behind the multipliers counts mapped columns only.
    """
    if TRUE_ACTIVATIONS in layer.repairs:
        spatial = filled
    rows = active_rows(array, layer, spatial)
    columns = active_columns(array, spatial)
    times = activations(array, layer, spatial, iterations)
    energy = {"local_bl_precharging": precharging_energy(array, weight_reads)}
    if array.analog:
        dac = 0 if array.bits_per_cycle == 1 else 50e-3 * array.bits_per_cycle * VOLTAGE**2
        adc = (100 * array.adc_bits + 0.001 * 4**array.adc_bits) * VOLTAGE**2 / 1000 if array.adc_bits else 0
        multipliers = array.weight_bits * array.columns * rows
        bit_lines = LINE_CAP * VOLTAGE**2 * array.weight_bits * columns * array.rows
        energy["dacs"] = dac * rows * array.steps * times
        energy["adcs"] = adc * array.weight_bits * columns * array.steps * times
        energy["mults"] = MULTIPLIER_ENERGY * multipliers * array.steps * times
        energy["analog_bl_addition"] = bit_lines * array.steps * times
        energy["adders_regular"] = 0
    else:
        multipliers = array.bits_per_cycle * array.weight_bits * array.columns * array.rows
        tree = total(share * adder_tree_energy(array, n) for n, share in neighbours(rows))
        energy["dacs"] = 0
        energy["adcs"] = 0
        energy["mults"] = MULTIPLIER_ENERGY * multipliers * array.steps * times
        energy["analog_bl_addition"] = 0
        energy["adders_regular"] = tree * array.bits_per_cycle * columns * array.steps * times
    energy["adders_pv"] = ADDER_ENERGY * array.place_value_adders * columns * array.steps * times
    accumulator = (ADDER_ENERGY + REGISTER_ENERGY) * array.accumulator_bits if array.accumulates else 0
    energy["accumulators"] = accumulator * columns * array.steps * times
    return energy


def precharging_energy(array: Array, weight_reads: float) -> float:
    """Energy of precharging the local bit lines of cell groups; none when a group holds a single weight.

    A group of depth cells.size / weight bits > 1 shares one multiplier, and its local bit lines are charged whenever
    another weight is put on it: (C_wordline + C_bitline * depth) * V^2 for each bit of the weight.

    ZigZag fails here (it reads an attribute that does not exist), so this follows its intention, one precharge per
    change of weight in each cell group in use. ``weight_reads`` is exactly that count: the elements that the innermost
    weight memory sends to the array over the whole layer, that is amount per period * number of periods * instances of
    the memory. The period is the number of cycles for which the weight stays the same (the product of the
    weight-irrelevant loops that are innermost at that level, after merging), so the number of periods is already
    "accesses divided by stationarity"; ZigZag's code would divide by the stationarity a second time, which is taken to
    be a slip. The count is without the fraction of the port's width that word accesses have, and it comes from the
    balanced (fractional) unrolling with instances rounded, as all memory traffic does: for a mapping that covers the
    layer exactly it is MACs / stationarity.
    """
    depth = array.cells_bits / array.weight_bits
    if depth <= 1:
        return 0
    return (LINE_CAP + LINE_CAP * depth) * VOLTAGE**2 * array.weight_bits * weight_reads


def adder_tree_energy(array: Array, used: int) -> float:
    """Energy of one adder tree (a ripple-carry tree over all rows) of which ``used`` inputs toggle.

    The inputs in use are the first ones. Going down the tree, each half that is full is fully active, and the adder
    that joins it with an idle half is half active (its carry chain stands still).
    """
    bits = array.weight_bits

    def full_adders(inputs: float) -> float:
        return inputs * (bits + 1) - (bits + int(math.log2(inputs)) + 1)

    if used < 1:
        return 0
    if used >= array.rows:
        return full_adders(array.rows) * ADDER_ENERGY
    full, half = 0, 0
    left, subtree = used, array.rows
    while left:
        subtree = subtree / 2
        depth = int(math.log2(subtree))
        if left <= 1 and subtree == 1:
            half += bits
            left = 0
        elif left > subtree:
            full += full_adders(subtree) + bits + depth
            left -= subtree
        elif left < subtree:
            half += bits + depth
        else:
            full += full_adders(subtree)
            half += bits + depth
            left = 0
    return full * ADDER_ENERGY + half * HALF_ACTIVE_ADDER_ENERGY


# ----------------------------------------------------------------------------------------------------------------------
# Clock and area
# ----------------------------------------------------------------------------------------------------------------------


def clock_breakdown(array: Array) -> dict[str, float]:
    """Delay of every component on the critical path; the clock period is their sum."""
    regular = 0
    if not array.analog:
        depth = math.log2(array.rows)
        if depth % 1 != 0:
            raise ValueError(f"the rows of a digital array must be a power of two, not {array.rows}")
        carries = array.weight_bits + depth - 2
        regular = (depth - 1) * INPUT_TO_SUM + INPUT_TO_CARRY + carries * CARRY_TO_CARRY

    m, bits = array.place_value_inputs, array.place_value_input_bits
    place_value = 0
    if m != 1:
        place_value = (int(math.log2(m)) - 1) * INPUT_TO_SUM + INPUT_TO_CARRY + (m - 1) * CARRY_TO_CARRY
        bits += m

    accumulators = 0
    if array.accumulates:
        accumulators = INPUT_TO_CARRY + (array.accumulator_bits - bits - 1) * CARRY_TO_CARRY
    return {
        "cells": 0,
        "dacs": 0,
        "adcs": array.adc_bits * (0.00653 * array.rows + 0.640) if array.analog else 0,
        "mults": NAND_DELAY,
        "adders_regular": regular,
        "adders_pv": place_value,
        "accumulators": accumulators,
    }


def area_breakdown(array: Array) -> dict[str, float]:
    """Area of the array by component, over all banks."""
    n = array.adc_bits
    adc = 10 ** (-0.0369 * n + 1.206) * 2**n * 1e-6 if n > 1 else 0
    cells = array.columns * array.rows * array.banks
    outputs = array.columns * array.banks
    tree = array.rows * (array.weight_bits + 1) - (array.weight_bits + int(math.log2(array.rows)) + 1)
    serial = 1 if array.analog else array.bits_per_cycle
    accumulator = (ADDER_AREA + REGISTER_AREA) * array.accumulator_bits if array.accumulates else 0
    return {
        "cells": cells * array.cells_area,
        "dacs": 0,
        "adcs": adc * array.weight_bits * outputs if array.analog else 0,
        "mults": NAND_AREA * array.weight_bits * cells * serial,
        "adders_regular": 0 if array.analog else ADDER_AREA * tree * array.bits_per_cycle * outputs,
        "adders_pv": ADDER_AREA * array.place_value_adders * outputs,
        "accumulators": accumulator * outputs,
    }


def array_result(array: Array, hw: Hardware) -> dict:
    """Clock and area, with breakdowns. The area of a memory counts once, however many instances there are."""
    clock = clock_breakdown(array)
    area = area_breakdown(array)
    memories = {memory.name: memory.area for memory in hw.memories}
    return {
        "tclk": total(clock.values()),
        "tclk_breakdown": clock,
        "imc_area_breakdown": area,
        "mem_area_breakdown": memories,
        "area_total": total(area.values()) + total(memories.values()),
    }
