"""The runs of the paper's system-level study (ICCAD 2023, Fig. 10 to 12) as the authors' code computed them.

For comparison with their figures only. Their cost model was an early version of ZigZag around macros; what it assumed
and the present one does not is all in this module:

1. *Rows keep a sliding window*: a row whose weight meets the same input again in the next output position does not read
   it again. This counts for the first loop that the row registers see (`_window_reuse`).
2. *A row's register holds one value* even where several output positions share a row (diagonals): it is then filled one
   value after the other, and the array waits where that takes longer than an operation (`_cost`).
3. *Weights are written row by row*, one row a cycle, never while the array works. Other stalls do not count, nor do the
   first loading and the last off-loading.
4. *The buffer is left out* for inputs or outputs that never leave the registers.
5. Inputs and outputs of every layer fit the buffer; DRAM gives weights only. Everything has 8 bits, partial sums too.
6. Height and width of layers are exchanged (DS-CNN's first layer is not square).
7. Digital macros have whole rows: fractions, which uneven unrolling leaves, are rounded. (Their count of adders runs on
   below whole adders where the rows that are added are no whole number; here it is an average. One network has such a
   layer, the autoencoder on the digital macro of 256, and differs by 0.02 %.)

The figures in the paper come from a submitted version; later the authors published another. In the submitted one:

8. Part of a word costs a whole word; published: its share of it.
9. A row register is filled in as many accesses to the buffer as it has values, but one fewer where the ratio of inputs
   to values is not whole (`_fills`); published: by the bits that move.
10. Writing a row of weights costs the whole row; published: the weights written.
11. Digital adders are one bit wider each, full trees are counted with a natural logarithm, and columns are rounded
    (`_submitted_tree_pj`).
12. All spatial mappings that the authors' generator makes are tried; published: those that use most of the array.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmap.architecture import Architecture
from fastmap.layer import Layer
from fastmap.loading import load_workload
from fastmap.mapping import Mapping
from fastmap.paper_system import PARTIAL_SUM_BITS

__all__ = ["OPERATIONS", "PaperCost", "PaperMapping", "paper_cost", "paper_layers", "paper_search"]

#: Networks of the study, and the operations that the authors' scripts divide by: 0.8 to 6.2 % more than two for each
#: multiply-accumulate of these networks.
OPERATIONS = {"autoencoder": 532512, "ds_cnn": 5609536, "mobilenet_v1_025": 15907840, "resnet8": 25302272}

#: What energy is spent on: the array, writing its weights, reading them from DRAM, and inputs and outputs.
PARTS = ("array", "cells", "dram", "input_registers", "input_buffer", "output_registers", "output_buffer")

Loop = tuple[str, int]

_COLUMN_LOOPS, _ROW_LOOPS = ("K", "OX"), ("C", "FX", "FY")


@dataclass(frozen=True)
class PaperMapping:
    """A mapping in the terms of the authors' code.

    Attributes:
        spatial: loop dimension -> factor, evened out over its iterations; K and OX on columns, C, FX and FY on rows.
        order: all other iterations, innermost first.
    """

    spatial: dict[str, float]
    order: tuple[Loop, ...]

    def to_mapping(self) -> Mapping:
        """Return the mapping for `fastmap.evaluate` on the same system.

        Registers hold what does not change from one iteration to the next, the memories above all the rest.
        """
        on = {"D1": _COLUMN_LOOPS, "D2": _ROW_LOOPS}
        spatial = {
            name: {dim: math.ceil(self.spatial[dim]) for dim in dims if self.spatial.get(dim, 1.0) > 1.0}
            for name, dims in on.items()
        }
        if "OX" in spatial["D1"]:  # a diagonal, also where a row has a single weight
            spatial["D2"].setdefault("FX", 1)
        kept = {"W": ("OX", "OY", "B"), "I": ("K",), "O": _ROW_LOOPS}
        allocation = {operand: [_depth(self.order, dims), len(self.order)] for operand, dims in kept.items()}
        return Mapping.from_dict({"spatial": spatial, "temporal": list(self.order), "allocation": allocation})


@dataclass(frozen=True)
class PaperCost:
    """What a layer costs.

    Attributes:
        energy_pj: by `PARTS`.
        latency_cycles: computing and waiting for weights or registers.
    """

    energy_pj: dict[str, float]
    latency_cycles: float
    mapping: PaperMapping

    @property
    def total_pj(self) -> float:
        """Energy of the layer in pJ."""
        return sum(self.energy_pj.values())


def paper_layers(network: str) -> list[Layer]:
    """Return the layers of a network of the zoo as the authors' code had them."""
    exchanged = {"OX": "OY", "OY": "OX", "FX": "FY", "FY": "FX"}
    layers = []
    for layer in load_workload(network):
        layers.append(
            layer.model_copy(
                update={
                    "sizes": {exchanged.get(dim, dim): size for dim, size in layer.sizes.items()},
                    "stride_x": layer.stride_y,
                    "stride_y": layer.stride_x,
                    "padding_x": (0, 0),
                    "padding_y": (0, 0),
                    "input_x": None,
                    "input_y": None,
                    "output_bits": PARTIAL_SUM_BITS,
                }
            )
        )
    return layers


def paper_search(layer: Layer, system: Architecture, submitted: bool = False) -> PaperCost:
    """Return the mapping of least energy that the authors' mapper tries, with its cost.

    A register holds one value, so that only the innermost loops matter, and splitting loops helps nothing: orders of
    whole loops are enough.

    Args:
        system: of `fastmap.paper_system`, one macro.
        submitted: as the submitted version did it.
    """
    best: PaperCost | None = None
    for spatial in _spatial_mappings(layer, system, submitted):
        array_pj = _array_pj(layer, system, spatial, submitted)
        if best is not None and array_pj > best.total_pj:
            continue
        left = {dim: round(layer.size(dim) / spatial.get(dim, 1.0)) for dim in layer.dimension_order}
        loops = [(dim, count) for dim, count in left.items() if count > 1]
        for order in itertools.permutations(loops):
            found = _cost(layer, system, PaperMapping(spatial, order), submitted, array_pj)
            if best is None or found.total_pj < best.total_pj:
                best = found
    assert best is not None  # a single unit is always possible
    return best


def paper_cost(layer: Layer, system: Architecture, mapping: PaperMapping, submitted: bool = False) -> PaperCost:
    """Cost a mapping.

    Args:
        system: of `fastmap.paper_system`, one macro.
        submitted: as the submitted version did it.
    """
    return _cost(layer, system, mapping, submitted, _array_pj(layer, system, mapping.spatial, submitted))


def _array_pj(layer: Layer, system: Architecture, spatial: dict[str, float], submitted: bool) -> float:
    """Energy of the array for the whole layer, pJ."""
    from fastmap.kernels.macro import array_energy_pj, array_energy_total_pj
    from fastmap.lowering import lower_macro, lower_technology, lower_variant

    columns, added_rows = _units(spatial, _COLUMN_LOOPS), _units(spatial, _ROW_LOOPS)
    activations = layer.macs / (columns * added_rows)
    older = submitted and system.array.kind == "digital"
    if older:
        columns = float(math.floor(columns + 0.5))
    parts = array_energy_pj(
        lower_macro(system),
        lower_technology(system),
        lower_variant(system),
        _rows(system, spatial),
        added_rows,
        columns,
        activations,
        0.0,
    )
    total_pj = float(array_energy_total_pj(parts))
    if older:
        trees = columns * system.array.bits_per_cycle * system.array.cycles_per_operation * activations
        total_pj += _submitted_tree_pj(system, added_rows) * trees - float(parts.adders_regular)
    return total_pj


def _cost(layer: Layer, system: Architecture, mapping: PaperMapping, submitted: bool, array_pj: float) -> PaperCost:
    array, order, spatial = system.array, mapping.order, mapping.spatial
    iterations = math.prod(count for _, count in order)
    columns, added_rows = _units(spatial, _COLUMN_LOOPS), _units(spatial, _ROW_LOOPS)

    def words(bits: float, width: int) -> float:
        return math.ceil(bits / width - 1e-9) if submitted else bits / width

    energy = dict.fromkeys(PARTS, 0.0) | {"array": array_pj}
    cells, dram, buffer = (system.memory(name) for name in ("cells", "dram", "buffer"))
    buffer_width, dram_width = (memory.ports[0].bandwidth_max_bits for memory in (buffer, dram))
    loads = iterations / _held(order, ("OX", "OY", "B"))
    written = _rows(system, spatial) * array.columns if submitted else round(columns * added_rows)
    weights_bits = spatial.get("K", 1.0) * added_rows * layer.weight_bits
    energy["cells"] = loads * written * cells.write_energy_pj
    energy["dram"] = loads * words(weights_bits, dram_width) * dram.read_energy_pj

    # Both registers hold values of the same width; those of the inputs are counted together in the architecture.
    register_pj = system.memory("output_register").write_energy_pj
    held = _held(order, _ROW_LOOPS)
    energy["output_registers"] = iterations * round(columns) * register_pj
    if held < iterations:
        returns = any(dim in _ROW_LOOPS for dim, _ in order[_depth(order, _ROW_LOOPS) :])
        moves = iterations / held
        energy["output_registers"] += moves * round(columns) * register_pj * returns
        access_pj = buffer.write_energy_pj + buffer.read_energy_pj * returns
        energy["output_buffer"] = moves * words(columns * layer.output_bits, buffer_width) * access_pj

    held = _held(order, ("K",))
    if held < iterations:
        outputs = spatial.get("OX", 1.0)
        values = float(_extent(outputs, 1.0, layer.stride_x))
        inputs = _extent(outputs, spatial.get("FX", 1.0), layer.stride_x) * _units(spatial, ("C", "FY"))
        moves = iterations / held / _window_reuse(layer, spatial, order[_depth(order, ("K",))])
        energy["input_registers"] = moves * values * round(added_rows) * register_pj
        accesses = _fills(values, inputs) if submitted else inputs * layer.input_bits / buffer_width
        energy["input_buffer"] = moves * accesses * buffer.read_energy_pj

    # Weights arrive one row a cycle, on average over the loads also where the last fills fewer.
    filling = math.ceil(math.ceil(spatial.get("OX", 1.0)) / array.cycles_per_operation) - 1
    stalls = max(loads * _diagonal_rows(spatial), float(filling * (iterations - 1)))
    return PaperCost(energy, iterations * array.cycles_per_operation + stalls, mapping)


def _units(spatial: dict[str, float], dims: Sequence[str]) -> float:
    return math.prod(spatial.get(dim, 1.0) for dim in dims)


def _diagonal_rows(spatial: dict[str, float]) -> float:
    """Rows that a set of weights takes: more than an output adds where columns stand for several output positions."""
    outputs, taps = spatial.get("OX", 1.0), spatial.get("FX", 1.0)
    return _units(spatial, ("C", "FY")) * (outputs + taps - 1)


def _rows(system: Architecture, spatial: dict[str, float]) -> float:
    rows = _diagonal_rows(spatial)
    return float(math.floor(rows + 0.5)) if system.array.kind == "digital" else rows


def _depth(order: Sequence[Loop], dims: Iterable[str]) -> int:
    """How many loops, from the innermost on, are over these dimensions alone."""
    return len(list(itertools.takewhile(lambda loop: loop[0] in dims, order)))


def _held(order: Sequence[Loop], dims: Sequence[str]) -> int:
    """Iterations during which a register keeps its value: those of the innermost loops over these dimensions."""
    return math.prod(count for _, count in order[: _depth(order, dims)])


def _extent(outputs: float, taps: float, stride: int) -> int:
    """Inputs that output positions side by side need, cut to a whole number."""
    return int(outputs * taps - max(0.0, taps - stride) * (outputs - 1))


def _window_reuse(layer: Layer, spatial: dict[str, float], first: Loop) -> float:
    """Iterations of the first loop outside the registers for each time that it needs new inputs."""
    dim, count = first
    if dim not in ("OX", "OY", "FX", "FY"):
        return 1.0
    along_x = dim in ("OX", "FX")
    stride = layer.stride_x if along_x else layer.stride_y
    outputs = spatial.get("OX", 1.0) if along_x else 1.0
    taps = spatial.get("FX" if along_x else "FY", 1.0)
    more = (outputs * count, taps) if dim in ("OX", "OY") else (outputs, taps * count)
    before, after = outputs * taps / _extent(outputs, taps, stride), math.prod(more) / _extent(*more, stride)
    return after / before


def _fills(values: float, inputs: float) -> int:
    """Accesses to the buffer that fill the row registers with these values, of the submitted version."""
    ratio = inputs / values
    return math.ceil(values * math.floor(ratio + 1e-9) / ratio - 1e-9)


def _submitted_tree_pj(system: Architecture, used: float) -> float:
    """Energy of an addition by the submitted version's count of adders, pJ; an average for fractions of rows."""
    from fastmap.kernels.macro import full_adder_energy_pj, half_used_adder_energy_pj
    from fastmap.lowering import lower_technology

    technology = lower_technology(system)
    low = math.floor(used)
    share = used - low
    both, one = (
        (1 - share) * below + share * above
        for below, above in zip(
            _submitted_tree(system.array.rows, system.array.weight_bits, low),
            _submitted_tree(system.array.rows, system.array.weight_bits, low + (share > 0)),
            strict=True,
        )
    )
    return both * float(full_adder_energy_pj(technology)) + one * float(half_used_adder_energy_pj(technology))


def _submitted_tree(inputs: int, bits: int, used: int) -> tuple[float, float]:
    """Adders at work with both operands and with one, by the submitted version's count."""

    def tree(size: int) -> float:
        return size * (bits + 2.0) - (bits + math.log2(size) + 2.0) if size > 1 else 0.0

    if used >= inputs:
        return inputs * (bits + 2.0) - (bits + int(math.log(inputs)) + 2.0), 0.0
    both, one, left = 0.0, 0.0, used
    for level in range(int(math.log2(inputs)) - 1, -1, -1):
        half, joining = 1 << level, bits + level + 1.0
        if left > half:
            both, left = both + tree(half) + joining, left - half
        else:
            one += joining
            if left == half:
                return both + tree(half), one
    return both, one


def _spatial_mappings(layer: Layer, system: Architecture, submitted: bool) -> list[dict[str, float]]:
    """Return the spatial mappings that the authors' generator tries, evened out over the iterations."""
    columns, rows = system.array.columns, system.array.rows
    made: dict[tuple[Loop, ...], int] = {}
    for on_columns in _unrollings(layer, _COLUMN_LOOPS, columns):
        for on_rows in _unrollings(layer, _ROW_LOOPS, rows):
            factors = {**on_columns, **on_rows}
            taken = [factors.get(dim, 1) for dim in ("C", "FY", "OX", "FX")]
            if taken[0] * taken[1] * (taken[2] + taken[3] - 1) <= rows:
                made[tuple(sorted(factors.items()))] = math.prod(factors.values())
    if layer.sliding_window and not submitted:
        most = max(made.values())
        made = {unrolled: used for unrolled, used in made.items() if used == most}
    return [
        {dim: layer.size(dim) / math.ceil(layer.size(dim) / factor) for dim, factor in unrolled} for unrolled in made
    ]


def _unrollings(layer: Layer, dims: Sequence[str], units: int) -> list[dict[str, int]]:
    """Return what the generator puts on one array dimension.

    For each selection of loops, those products of their prime factors that use most units; of K and OX together, all.
    """
    primes = {dim: _prime_factors(min(layer.size(dim), units)) for dim in dims if layer.size(dim) > 1}
    found: list[dict[str, int]] = []
    for count in range(1, len(primes) + 1):
        for selection in itertools.combinations(primes, count):
            products = [
                dict(zip(selection, factors, strict=True))
                for factors in itertools.product(*(_products(primes[dim]) for dim in selection))
                if 1 < math.prod(factors) <= units
            ]
            most = max((math.prod(factors.values()) for factors in products), default=0)
            found += [each for each in products if selection == _COLUMN_LOOPS or math.prod(each.values()) == most]
    return found or [{}]


def _products(primes: Sequence[int]) -> list[int]:
    """Return every product of some of the factors."""
    chosen = itertools.product(*((1, prime) for prime in primes))
    return sorted({math.prod(each) for each in chosen})


def _prime_factors(number: int) -> list[int]:
    from fastmap.kernels.orders import prime_factors
    from fastmap.kernels.problem import MAX_LOOPS

    factors = np.empty(MAX_LOOPS, np.int64)
    count = prime_factors(number, factors)
    return [int(factor) for factor in factors[:count]]
