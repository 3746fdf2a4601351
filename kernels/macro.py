"""The IMC macro model: energy, clock and area of one analog or digital SRAM in-memory-computing macro.

Formulas: the unified AIMC/DIMC macro model (ICCAD 2023), as ``imc_unit`` and ``imc_array`` of zigzag 3.9.1 compute it
(`VARIANT_ZIGZAG`), as zigzag-imc does (`VARIANT_ZIGZAG_IMC`) and as the code of the paper did (`VARIANT_PAPER`). Each
elementary formula stands in one function here, and each place where the variants differ is a comparison with a
``VARIANT_`` constant.

Everything is plain numbers, so that a search can build a `Macro` inside a kernel and sweep it. Energies are pJ, delays
ns, areas mm2, capacitances pF, voltages V. Nothing is validated here: `fastmap.macro.macro_report` and the readers
refuse what the formulas do not cover (digital rows that are not a power of two, an analog macro without ADC bits).

Geometry: ``columns`` output channels (words of ``weight_bits`` cells) times ``rows`` accumulated input channels, in
each of ``banks`` macros. A multiply-accumulate takes ``activation_bits / bits_per_cycle`` cycles; an *activation* of
the array is one such group of cycles.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ._jit import formula, kernel

#: The model of zigzag 3.9.1.
VARIANT_ZIGZAG = 0
#: The model of zigzag-imc: longer carry chains, gated rows in digital multipliers, true row count in adder trees.
VARIANT_ZIGZAG_IMC = 1
#: The model behind the figures of the paper (branch of zigzag-imc): as zigzag-imc but for accumulators, whose first bit
#: settles with the sum, whose energy goes by the ADC's bits, and whose registers take area even where nothing is
#: accumulated. (Precharging of cell groups, of which the paper has none, is as in the others.)
VARIANT_PAPER = 2

#: Bits of `Macro.pipeline`, in the order of signals: pipeline registers stand after the multipliers, after the column
#: sums (ADCs or adder trees), after the place-value adders.
AFTER_MULTS, AFTER_SUMS, AFTER_PLACE_VALUE = 1, 2, 4


class Technology(NamedTuple):
    """Constants of a CMOS node: a NAND2 gate calibrates all logic, the ADC and DAC have fits of their own."""

    #: Supply voltage (V); scales energies only, delays are calibrated at 0.9 V.
    supply_v: float
    #: Input capacitance of a NAND2 gate, all inputs (pF); a 1-bit multiplier is one such gate.
    nand2_cap_pf: float
    nand2_area_mm2: float
    nand2_delay_ns: float
    xor2_cap_pf: float
    xor2_area_mm2: float
    xor2_delay_ns: float
    #: Flip-flop: its delay is neglected.
    dff_cap_pf: float
    dff_area_mm2: float
    #: Word line and bit line capacitance of one SRAM cell (pF).
    word_line_cap_pf: float
    bit_line_cap_pf: float
    #: DAC: energy per bit and conversion is this times V^2 (pF).
    dac_cap_pf: float
    #: ADC energy per conversion: (linear * bits + exponential * 4^bits) * V^2 (pF).
    adc_cap_linear_pf: float
    adc_cap_exponential_pf: float
    #: ADC area: 10^(slope * bits + offset) * 2^bits um2.
    adc_area_slope: float
    adc_area_offset: float
    #: ADC delay: bits * (per_row * rows + offset) (ns).
    adc_delay_per_row_ns: float
    adc_delay_offset_ns: float


#: 28 nm, 0.9 V: logic fitted on published digital macros, ADC on analog ones (ICCAD 2023; zigzag 3.9.1 imc_unit).
#: XOR2 = 1.5 C, 2.4 A, 2.4 delays of a NAND2; flip-flop = 3 C, 6 A; line capacitance per cell = C/2.
TECHNOLOGY_28NM = Technology(
    supply_v=0.9,
    nand2_cap_pf=0.7e-3,
    nand2_area_mm2=0.614e-6,
    nand2_delay_ns=0.0478,
    xor2_cap_pf=0.7e-3 * 1.5,
    xor2_area_mm2=0.614e-6 * 2.4,
    xor2_delay_ns=0.0478 * 2.4,
    dff_cap_pf=0.7e-3 * 3,
    dff_area_mm2=0.614e-6 * 6,
    word_line_cap_pf=0.7e-3 / 2,
    bit_line_cap_pf=0.7e-3 / 2,
    dac_cap_pf=50e-3,
    adc_cap_linear_pf=100e-3,
    adc_cap_exponential_pf=0.001e-3,
    adc_area_slope=-0.0369,
    adc_area_offset=1.206,
    adc_delay_per_row_ns=0.00653,
    adc_delay_offset_ns=0.640,
)


class Macro(NamedTuple):
    """Parameters of a macro."""

    #: Bit lines accumulate in the analog domain (ADCs follow); else an adder tree does.
    is_analog: bool
    #: Output channels of one bank (word-line dimension); each is `weight_bits` cells wide.
    columns: int
    #: Input channels of one bank that are accumulated (bit-line dimension); a power of two if digital.
    rows: int
    #: Macros that work side by side.
    banks: int
    activation_bits: int
    #: A power of two if analog.
    weight_bits: int
    #: Activation bits that enter a row per cycle: the DAC resolution if analog; a power of two if digital.
    bits_per_cycle: int
    #: ADC resolution, may be fractional; not used if digital.
    adc_bits: float
    #: Weights held at each position, of which one is connected (cell group).
    group_depth: int
    #: Area of the cells at one weight position (weight_bits * group_depth cells), mm2.
    cells_area_mm2: float
    #: Share of input bits that switch in a cycle, and of weight bits that are not zero; the paper takes 1 for both.
    input_toggle_rate: float = 1.0
    weight_density: float = 1.0
    #: The two bits that enter a row of a digital macro per cycle are one radix-4 Booth digit.
    booth_encoding: bool = False
    #: Where pipeline registers stand: ``AFTER_`` constants, added up.
    pipeline: int = 0


class ArrayEnergy(NamedTuple):
    """Energy of the array by component, pJ."""

    local_bl_precharging: float
    dacs: float
    adcs: float
    mults: float
    analog_bl_addition: float
    adders_regular: float
    adders_pv: float
    accumulators: float
    pipeline_registers: float


class Clock(NamedTuple):
    """Delay by component and the clock period, ns: their sum, or that of the slowest pipeline stage.

    Cells, DACs and registers take no time.
    """

    adcs: float
    mults: float
    adders_regular: float
    adders_pv: float
    accumulators: float
    total: float


class Area(NamedTuple):
    """Area of all banks by component and in total, mm2. DACs take none; registers around are not included."""

    cells: float
    adcs: float
    mults: float
    adders_regular: float
    adders_pv: float
    accumulators: float
    pipeline_registers: float
    total: float


class Peak(NamedTuple):
    """Figures of merit with every row and column of every bank in use; one operation is a multiply or an add."""

    #: By component, pJ per cycle.
    energy: ArrayEnergy
    energy_per_cycle_pj: float
    energy_per_mac_fj: float
    macs_per_cycle: float
    tops: float
    tops_per_watt: float
    tops_per_mm2: float


# One-bit building blocks


@formula
def full_adder_energy_pj(technology: Technology) -> float:
    """Energy of a 1-bit full adder: three NAND2 and two XOR2, pJ."""
    cap_pf = 3.0 * technology.nand2_cap_pf + 2.0 * technology.xor2_cap_pf
    return cap_pf * technology.supply_v**2


@formula
def half_used_adder_energy_pj(technology: Technology) -> float:
    """Energy of a 1-bit full adder of which one operand is a constant zero: only its two XOR2 switch, pJ."""
    return 2.0 * technology.xor2_cap_pf * technology.supply_v**2


@formula
def full_adder_area_mm2(technology: Technology) -> float:
    """Area of a 1-bit full adder: three NAND2 and two XOR2, mm2."""
    return 3.0 * technology.nand2_area_mm2 + 2.0 * technology.xor2_area_mm2


@formula
def operand_to_sum_delay_ns(technology: Technology) -> float:
    """Delay of a full adder from an operand to the sum: two XOR2, ns."""
    return 2.0 * technology.xor2_delay_ns


@formula
def operand_to_carry_delay_ns(technology: Technology) -> float:
    """Delay of a full adder from an operand to the carry out: one XOR2 and two NAND2, ns."""
    return technology.xor2_delay_ns + 2.0 * technology.nand2_delay_ns


@formula
def carry_to_carry_delay_ns(technology: Technology) -> float:
    """Delay of a full adder from carry in to carry out, the step of a ripple: two NAND2, ns."""
    return 2.0 * technology.nand2_delay_ns


@formula
def adder_delay_ns(technology: Technology, bits: float) -> float:
    """Delay of a ripple-carry adder of `bits` bits, from its operands to its last carry, ns."""
    return operand_to_carry_delay_ns(technology) + (bits - 1.0) * carry_to_carry_delay_ns(technology)


@formula
def accumulator_delay_ns(technology: Technology, variant: int, carry_bits: float) -> float:
    """Delay of an accumulator that is `carry_bits` wider than what it adds, ns.

    Those bits ripple; the variants differ in what comes before (a carry, or the sum in the paper) and zigzag ripples
    over one bit less.
    """
    first_ns = operand_to_carry_delay_ns(technology)
    if variant == VARIANT_PAPER:
        first_ns = operand_to_sum_delay_ns(technology)
    if variant == VARIANT_ZIGZAG:
        carry_bits -= 1.0
    return first_ns + carry_bits * carry_to_carry_delay_ns(technology)


@formula
def multiplier_energy_pj(technology: Technology) -> float:
    """Energy of a 1-bit multiplier: a NAND2-like gate of which one input, the weight, does not switch, pJ."""
    return 0.5 * technology.nand2_cap_pf * technology.supply_v**2


@formula
def multiplier_area_mm2(technology: Technology) -> float:
    """Area of a 1-bit multiplier: a NAND2, mm2."""
    return technology.nand2_area_mm2


@formula
def multiplier_delay_ns(technology: Technology) -> float:
    """Delay of a 1-bit multiplier: a NAND2, ns."""
    return technology.nand2_delay_ns


@formula
def register_energy_pj(technology: Technology) -> float:
    """Energy of writing a 1-bit register, pJ."""
    return technology.dff_cap_pf * technology.supply_v**2


@formula
def register_area_mm2(technology: Technology) -> float:
    """Area of a 1-bit register, mm2."""
    return technology.dff_area_mm2


# Converters and cells


@formula
def adc_energy_pj(technology: Technology, adc_bits: float) -> float:
    """Energy of one A/D conversion, pJ; 0 for 0 bits."""
    if adc_bits == 0:
        return 0.0
    cap_pf = technology.adc_cap_linear_pf * adc_bits + technology.adc_cap_exponential_pf * math.pow(4.0, adc_bits)
    return cap_pf * technology.supply_v**2


@formula
def adc_area_mm2(technology: Technology, adc_bits: float) -> float:
    """Area of one ADC, mm2; a 1-bit one is a sense amplifier that the cells include."""
    if adc_bits <= 1:
        return 0.0
    exponent = technology.adc_area_slope * adc_bits + technology.adc_area_offset
    return math.pow(10.0, exponent) * math.pow(2.0, adc_bits) * 1e-6


@formula
def adc_delay_ns(technology: Technology, adc_bits: float, rows: int) -> float:
    """Delay of one A/D conversion of a bit line with `rows` cells, its settling included, ns."""
    return adc_bits * (technology.adc_delay_per_row_ns * rows + technology.adc_delay_offset_ns)


@formula
def dac_energy_pj(technology: Technology, bits_per_cycle: int) -> float:
    """Energy of one D/A conversion, pJ; one bit needs no DAC."""
    if bits_per_cycle == 1:
        return 0.0
    return technology.dac_cap_pf * bits_per_cycle * technology.supply_v**2


@formula
def bit_line_energy_pj(technology: Technology) -> float:
    """Energy of one cell's share of an analog bit line in one cycle, pJ."""
    return technology.bit_line_cap_pf * technology.supply_v**2


@formula
def precharge_energy_pj(technology: Technology, weight_bits: int, group_depth: int) -> float:
    """Energy of connecting another weight of a cell group, pJ: precharge of its local bit lines; 0 without groups."""
    if group_depth == 1:
        return 0.0
    cap_pf = technology.word_line_cap_pf + technology.bit_line_cap_pf * group_depth
    return cap_pf * technology.supply_v**2 * weight_bits


# Adder counts


@formula
def adder_tree_adders(inputs: int, input_bits: float) -> float:
    """Full adders of a ripple-carry tree that adds `inputs` (a power of two) numbers of `input_bits` bits."""
    return inputs * (input_bits + 1.0) - (input_bits + int(math.log2(inputs)) + 1.0)


@formula
def used_tree_adders(inputs: int, input_bits: float, used: int) -> tuple[float, float]:
    """Full adders of that tree at work, with both operands and with one operand, when `used` inputs carry data.

    Used inputs lie at one end. Going down from the root, the half that holds the boundary is split again; its sibling
    is wholly used or wholly idle, and the adder that joins the two has both operands or one.
    """
    if used < 1:
        return 0.0, 0.0
    if used >= inputs:
        return adder_tree_adders(inputs, input_bits), 0.0
    both = 0.0
    one = 0.0
    left = used
    for level in range(int(math.log2(inputs)) - 1, -1, -1):
        half = 1 << level
        joining = input_bits + level
        if left > half:
            both += adder_tree_adders(half, input_bits) + joining
            left -= half
        else:
            one += joining
            if left == half:
                both += adder_tree_adders(half, input_bits)
                break
    return both, one


@formula
def adder_tree_energy_pj(technology: Technology, inputs: int, input_bits: float, used: float) -> float:
    """Energy of one addition in a tree with `inputs` inputs of `input_bits` bits, of which `used` carry data, pJ.

    A number of inputs that is not whole is an average of those next to it.
    """
    whole = int(used)
    both, one = used_tree_adders(inputs, input_bits, whole)
    if used > whole:
        next_both, next_one = used_tree_adders(inputs, input_bits, whole + 1)
        both += (used - whole) * (next_both - both)
        one += (used - whole) * (next_one - one)
    return both * full_adder_energy_pj(technology) + one * half_used_adder_energy_pj(technology)


@formula
def place_value_adders(inputs: int, input_bits: float) -> float:
    """Full adders of a tree that adds `inputs` numbers, each shifted by one bit against its neighbour; 0 for one."""
    if inputs == 1:
        return 0.0
    return input_bits * (inputs - 1.0) + inputs * (math.log2(inputs) - 0.5)


# Widths inside a macro


@formula
def cycles_per_activation(macro: Macro) -> float:
    """Cycles of one multiply-accumulate: bit-serial steps."""
    return macro.activation_bits / macro.bits_per_cycle


@formula
def digits_per_cycle(macro: Macro) -> int:
    """Digits in which the input of a cycle enters a row of a digital macro: bits, or one Booth digit.

    Each has multipliers and an adder tree of its own.
    """
    return 1 if macro.booth_encoding else macro.bits_per_cycle


@formula
def product_bits(macro: Macro) -> int:
    """Width of the product of a weight and a digit: a Booth digit, of -2 to 2, adds a bit.

    So it is in DIMC1 (ISSCC 2022 15.5) as the authors model it: one 1-bit multiplier for each weight bit, and a tree
    one bit wider. What codes the digits and negates the weights is not counted.
    """
    return macro.weight_bits + 1 if macro.booth_encoding else macro.weight_bits


@formula
def column_sum_bits(macro: Macro) -> float:
    """Width of the sum over rows: what the ADC or the adder tree gives."""
    return macro.adc_bits if macro.is_analog else product_bits(macro) + math.log2(macro.rows)


@formula
def place_value_inputs(macro: Macro) -> int:
    """Column sums that the place-value adder joins: one per weight bit (analog) or per digit of the input (digital)."""
    return macro.weight_bits if macro.is_analog else digits_per_cycle(macro)


@formula
def place_value_bits(macro: Macro) -> float:
    """Width of the place-value adder's output, which enters the accumulator."""
    inputs = place_value_inputs(macro)
    return column_sum_bits(macro) + (inputs if inputs > 1 else 0)


@formula
def has_accumulator(macro: Macro) -> bool:
    """Whether activations take several cycles, whose results are accumulated."""
    return macro.bits_per_cycle != macro.activation_bits


@formula
def accumulator_bits(macro: Macro) -> float:
    """Width of an accumulator."""
    if macro.is_analog:
        return macro.activation_bits + macro.adc_bits + macro.weight_bits
    return macro.activation_bits + math.log2(macro.rows) + macro.weight_bits


@formula
def accumulator_energy_bits(macro: Macro, variant: int) -> float:
    """Width of an accumulator as its energy counts it: zigzag-imc takes the exact sum's also when an ADC cuts it."""
    if variant == VARIANT_ZIGZAG_IMC:
        return macro.activation_bits + math.log2(macro.rows) + macro.weight_bits
    return accumulator_bits(macro)


@formula
def pipeline_bits(macro: Macro) -> float:
    """Pipeline registers of one column: the bits that cross from stage to stage."""
    bits = 0.0
    if macro.pipeline & AFTER_MULTS:
        bits += float(macro.rows) * digits_per_cycle(macro) * product_bits(macro)
    if macro.pipeline & AFTER_SUMS:
        bits += place_value_inputs(macro) * column_sum_bits(macro)
    if macro.pipeline & AFTER_PLACE_VALUE:
        bits += place_value_bits(macro)
    return bits


# Energy, clock, area


@kernel
def array_energy_pj(
    macro: Macro,
    technology: Technology,
    variant: int,
    mapped_rows: float,
    adder_rows: float,
    mapped_columns: float,
    activations: float,
    weight_changes: float,
) -> ArrayEnergy:
    """Energy of a layer in the array by component, pJ (zigzag 3.9.1 imc_array; zigzag-imc layer model).

    What a partly filled array costs: ADCs, bit lines, adders and accumulators run for mapped columns, bit lines with
    all their rows; DACs and analog multipliers run for mapped rows, multipliers across all columns; digital multipliers
    run across all columns and for all rows (zigzag) or mapped rows (zigzag-imc, paper). Pipeline registers run for
    mapped columns, with all their rows.

    What does not switch costs nothing, as the authors' validation scripts count it: multipliers, and the adders of a
    digital macro, switch in proportion to the inputs that toggle and the weights that are not zero; bit lines, ADCs and
    adders of an analog one in proportion to the weights. DACs, accumulators and pipeline registers always run.

    Args:
        macro: parameters of the macro.
        technology: constants of the node.
        variant: a ``VARIANT_`` constant.
        mapped_rows: rows that receive an input; with diagonal weight mapping more than are added. May be an average
            over the activations, as may the next two.
        adder_rows: rows that one output adds; equals `mapped_rows` but for diagonal weight mapping. Zigzag's adder
            trees do not look at it: they count `mapped_rows`.
        mapped_columns: columns that hold weights.
        activations: multiply-accumulates of the layer / (factors on columns and rows): activations summed over banks.
        weight_changes: how often a position switches to another weight of its cell group, summed over positions.
    """
    cycles = cycles_per_activation(macro) * activations
    column_cycles = mapped_columns * cycles
    full_adder_pj = full_adder_energy_pj(technology)

    dacs = 0.0
    adcs = 0.0
    analog_bl_addition = 0.0
    adders_regular = 0.0
    switching = macro.input_toggle_rate * macro.weight_density
    adding = switching
    if macro.is_analog:
        adding = macro.weight_density
        dacs = dac_energy_pj(technology, macro.bits_per_cycle) * mapped_rows * cycles
        adcs = adc_energy_pj(technology, macro.adc_bits) * macro.weight_bits * column_cycles * adding
        multipliers = float(macro.weight_bits) * macro.columns * mapped_rows
        analog_bl_addition = bit_line_energy_pj(technology) * macro.weight_bits * macro.rows * column_cycles * adding
    else:
        multiplier_rows = macro.rows if variant == VARIANT_ZIGZAG else mapped_rows
        multipliers = float(digits_per_cycle(macro)) * macro.weight_bits * macro.columns * multiplier_rows
        tree_rows = mapped_rows if variant == VARIANT_ZIGZAG else adder_rows
        tree_pj = adder_tree_energy_pj(technology, macro.rows, product_bits(macro), tree_rows)
        adders_regular = tree_pj * digits_per_cycle(macro) * column_cycles * adding

    accumulators = 0.0
    if has_accumulator(macro):
        bit_pj = full_adder_pj + register_energy_pj(technology)
        accumulators = bit_pj * accumulator_energy_bits(macro, variant) * column_cycles

    place_value_pj = full_adder_pj * place_value_adders(place_value_inputs(macro), column_sum_bits(macro))
    return ArrayEnergy(
        precharge_energy_pj(technology, macro.weight_bits, macro.group_depth) * weight_changes,
        dacs,
        adcs,
        multiplier_energy_pj(technology) * multipliers * cycles * switching,
        analog_bl_addition,
        adders_regular,
        place_value_pj * column_cycles * adding,
        accumulators,
        register_energy_pj(technology) * pipeline_bits(macro) * column_cycles,
    )


@formula
def array_energy_total_pj(energy: ArrayEnergy) -> float:
    """Sum over components, pJ."""
    return (
        energy.local_bl_precharging
        + energy.dacs
        + energy.adcs
        + energy.mults
        + energy.analog_bl_addition
        + energy.adders_regular
        + energy.adders_pv
        + energy.accumulators
        + energy.pipeline_registers
    )


@formula
def adder_tree_delay_ns(technology: Technology, inputs: int, input_bits: float) -> float:
    """Delay of a ripple-carry tree of at least two inputs, ns: sums down to the last level, then its carry chain."""
    levels = math.log2(inputs)
    return (levels - 1.0) * operand_to_sum_delay_ns(technology) + adder_delay_ns(technology, input_bits + levels - 1.0)


@formula
def place_value_delay_ns(technology: Technology, inputs: int, carry_bits: float) -> float:
    """Delay of a place-value adder whose last level ripples over `carry_bits` bits, ns; 0 for one input."""
    if inputs == 1:
        return 0.0
    levels = math.log2(inputs)
    return (levels - 1.0) * operand_to_sum_delay_ns(technology) + adder_delay_ns(technology, carry_bits + 1.0)


@kernel
def clock_ns(macro: Macro, technology: Technology, variant: int) -> Clock:
    """Clock period and its parts, ns.

    The variants differ in the ripple of the analog place-value adder (over the weight bits; zigzag-imc and the paper:
    over the ADC's bits too) and in the accumulator (`accumulator_delay_ns`). Registers take no time, and the cycles in
    which a pipeline fills, one less than it has stages once a layer, are left out of all latencies.
    """
    inputs = place_value_inputs(macro)
    carry_bits = inputs - 1.0
    adcs = 0.0
    adders_regular = 0.0
    if macro.is_analog:
        adcs = adc_delay_ns(technology, macro.adc_bits, macro.rows)
        if variant != VARIANT_ZIGZAG:
            carry_bits += macro.adc_bits
    else:
        adders_regular = adder_tree_delay_ns(technology, macro.rows, product_bits(macro))
    mults = multiplier_delay_ns(technology)
    adders_pv = place_value_delay_ns(technology, inputs, carry_bits)

    accumulators = 0.0
    if has_accumulator(macro):
        accumulators = accumulator_delay_ns(technology, variant, accumulator_bits(macro) - place_value_bits(macro))

    delays = (mults, adcs + adders_regular, adders_pv, accumulators)
    slowest = 0.0
    stage = 0.0
    for i in range(len(delays)):
        stage += delays[i]
        slowest = max(slowest, stage)
        if macro.pipeline >> i & 1:
            stage = 0.0
    return Clock(adcs, mults, adders_regular, adders_pv, accumulators, slowest)


@kernel
def area_mm2(macro: Macro, technology: Technology, variant: int) -> Area:
    """Area of all banks by component and in total, mm2.

    The variants agree, but that the paper counts the accumulators' registers also where nothing is accumulated.
    """
    words = float(macro.columns) * macro.banks
    full_adder_mm2 = full_adder_area_mm2(technology)
    cells = words * macro.rows * macro.cells_area_mm2
    multipliers = words * macro.rows * macro.weight_bits
    adcs = 0.0
    adders_regular = 0.0
    if macro.is_analog:
        adcs = adc_area_mm2(technology, macro.adc_bits) * macro.weight_bits * words
    else:
        multipliers *= digits_per_cycle(macro)
        tree_adders = adder_tree_adders(macro.rows, product_bits(macro))
        adders_regular = full_adder_mm2 * tree_adders * digits_per_cycle(macro) * words
    mults = multiplier_area_mm2(technology) * multipliers
    adders_pv = full_adder_mm2 * place_value_adders(place_value_inputs(macro), column_sum_bits(macro)) * words
    accumulators = 0.0
    if has_accumulator(macro):
        accumulators = (full_adder_mm2 + register_area_mm2(technology)) * accumulator_bits(macro) * words
    elif variant == VARIANT_PAPER:
        accumulators = register_area_mm2(technology) * accumulator_bits(macro) * words
    pipeline_registers = register_area_mm2(technology) * pipeline_bits(macro) * words
    return Area(
        cells,
        adcs,
        mults,
        adders_regular,
        adders_pv,
        accumulators,
        pipeline_registers,
        cells + adcs + mults + adders_regular + adders_pv + accumulators + pipeline_registers,
    )


@formula
def peak(macro: Macro, technology: Technology, variant: int) -> Peak:
    """Energy per cycle, throughput and efficiencies with the whole macro in use; registers around are not counted."""
    cycles = cycles_per_activation(macro)
    activations_per_cycle = macro.banks / cycles
    energy = array_energy_pj(
        macro, technology, variant, macro.rows, macro.rows, macro.columns, activations_per_cycle, 0.0
    )
    energy_pj = array_energy_total_pj(energy)
    macs = macro.columns * macro.rows * activations_per_cycle
    tops = 2.0 * macs / clock_ns(macro, technology, variant).total / 1000.0
    return Peak(
        energy,
        energy_pj,
        energy_pj / macs * 1000.0,
        macs,
        tops,
        2.0 * macs / energy_pj,
        tops / area_mm2(macro, technology, variant).total,
    )
