"""What the reference cost model works on: a layer, an accelerator and the helpers that say how they relate.

Conventions used everywhere in the reference:

* A *loop* is ``(dim, n)``: the dimension of the layer and its number of iterations. A list of loops is innermost first.
* Operands are ``O`` (output), ``W`` (weights) and ``I`` (activations), in the order of the layer's equation.
* The *chain* of an operand is the list of memories that store it, innermost first; a level is a position in that chain.
* Sizes are in bits, energies in pJ, areas in mm2, delays in ns, times in cycles of the array.
* *Repairs* (:data:`REPAIRS`) name the accidents of ZigZag's arithmetic that are not reproduced; without any, the
  numbers are ZigZag's. They are a property of the layer here, only because nearly everything takes a layer.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

#: Name of an operand in the hardware description -> name in the layer.
LAYER_OPERAND = {"I1": "I", "I2": "W", "O": "O"}

READ_LOW = "rd_out_to_low"  # out of the memory, towards the level below or the array
WRITE_LOW = "wr_in_by_low"  # into the memory, from the level below or the array
READ_HIGH = "rd_out_to_high"  # out of the memory, towards the level above
WRITE_HIGH = "wr_in_by_high"  # into the memory, from the level above
DIRECTIONS = (READ_LOW, WRITE_LOW, READ_HIGH, WRITE_HIGH)
DIRECTION_CODES = {"tl": READ_LOW, "fl": WRITE_LOW, "th": READ_HIGH, "fh": WRITE_HIGH}

Loop = tuple[str, float]

#: ZigZag's accidents that can be repaired, each on its own.
WHOLE_ITERATIONS = "whole_iterations"  # no temporal iteration too many from rounding: 34 on 5 columns are 7, not 8
JOINT_COVERAGE = "joint_coverage"  # a loop on several array dimensions is covered once by all of them together
TRUE_EXTENTS = "true_extents"  # input extents are those touched, on average if the unrolling is fractional
ALL_ACCESSES = "all_accesses"  # parts of an access cost their part
EXACT_UNITS = "exact_units"  # instances and broadcasts are those of the average iteration, not rounded
EXACT_TILES = "exact_tiles"  # so are the elements held by an instance
ONE_UNROLLING = "one_unrolling"  # timing sees the same unrolling as energy, no truncated one
TRUE_WIDTHS = "true_widths"  # an output moves as a partial sum exactly where it is one
TRUE_ACTIVATIONS = "true_activations"  # the array works once an iteration, with its average rows and columns
OWN_PARTNERS = "own_partners"  # the rows of a diagonal follow from each loop's own factor, not from a set's order
FULL_TILES = "full_tiles"  # what must fit is the largest tile, not the average one
REPAIRS = frozenset(
    {
        WHOLE_ITERATIONS,
        JOINT_COVERAGE,
        TRUE_EXTENTS,
        ALL_ACCESSES,
        EXACT_UNITS,
        EXACT_TILES,
        ONE_UNROLLING,
        TRUE_WIDTHS,
        TRUE_ACTIVATIONS,
        OWN_PARTNERS,
        FULL_TILES,
    }
)


class DoesNotFit(Exception):  # noqa: N818 - describes the mapping
    """A memory is too small for what the mapping puts into it."""

    def __init__(self, memory: str, operands: tuple[str, ...], bits_needed: float, bits_available: float):
        super().__init__(f"{memory}: {'+'.join(operands)} need {bits_needed} of {bits_available} bits")
        self.memory = memory
        self.operands = operands
        self.bits_needed = bits_needed
        self.bits_available = bits_available


def product(values) -> float:
    """Product from left to right, 1 if there is nothing."""
    result = 1
    for value in values:
        result *= value
    return result


def tidy(x: float) -> float:
    """x, or the integer that it would be without floating point: 7 / 3 * 3 bits are 7."""
    return round(x) if math.isclose(x, round(x), rel_tol=1e-12) else x


def total(values) -> float:
    """Sum from left to right. The built-in one compensates rounding from Python 3.12 on, which ZigZag's did not."""
    result = 0
    for value in values:
        result += value
    return result


# ----------------------------------------------------------------------------------------------------------------------
# Layer
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Relation:
    """``x = sa*a + sb*b``, for instance IX = stride*OX + dilation*FX."""

    x: str
    sa: int
    a: str
    sb: int
    b: str


@dataclass(frozen=True)
class Layer:
    """A layer, with the relevancy of its dimensions for every operand.

    An operand whose equation names some x of a relation (the activations of a convolution) sees the dimensions of *all*
    relations as partially relevant (``partial``). Its other equation dimensions are ``relevant``, of size 1 too.
    For any other operand the equation dimensions of size > 1 are relevant. All dimensions of size > 1 that are neither
    relevant nor partially relevant are ``irrelevant``. What is left has size 1 and is neutral.
    """

    sizes: dict[str, int]
    operands: list[str]
    precision: dict[str, int]
    partial: dict[str, list[Relation]]
    relevant: dict[str, list[str]]
    irrelevant: dict[str, list[str]]
    clip: dict[str, int]
    repairs: frozenset[str] = frozenset()

    @property
    def inputs(self) -> list[str]:
        return self.operands[1:]

    @property
    def macs(self) -> int:
        return product(self.sizes.values())

    @property
    def final_precision(self) -> int:
        return self.precision.get("O_final", self.precision["O"])

    def extent(self, relation: Relation, a: float, b: float) -> int:
        """How many different x there are for ``a`` and ``b`` iterations of its two dimensions, at most the real size.

        ZigZag truncates both counts first: 4.84 iterations are 4; and for a dilation larger than ``a`` its number is
        too high. With true extents the different x are counted one by one, and 4.84 iterations are a mixture of 4 and
        5.
        """
        if TRUE_EXTENTS in self.repairs:
            return min(self.clip[relation.x], average_extent(relation, a, b))
        return min(self.clip[relation.x], unclipped_extent(relation, int(a), int(b)))

    def tensor_size(self, operand: str, sizes: dict[str, float]) -> float:
        """Elements of the operand that are touched when every dimension runs over ``sizes`` (1 if not named)."""
        relevant = product(sizes.get(dim, 1) for dim in self.relevant[operand])
        partial = product(self.extent(r, sizes.get(r.a, 1), sizes.get(r.b, 1)) for r in self.partial[operand])
        return relevant * partial


def unclipped_extent(relation: Relation, a: int, b: int) -> int:
    """Number of different values of sa*i + sb*j for i < a, j < b, by ZigZag's closed form."""
    g = math.gcd(relation.sa, relation.sb)
    return a * b - max(0, b - relation.sa // g) * (a - relation.sb // g)


def average_extent(relation: Relation, a: float, b: float) -> float:
    """How many different x there are on average, if ``a`` iterations are sometimes the whole number below and sometimes
    that above, as often as makes ``a`` the average; ``b`` likewise."""
    return sum(
        share_a * share_b * touched(relation.sa, relation.sb, whole_a, whole_b)
        for whole_a, share_a in neighbours(a)
        for whole_b, share_b in neighbours(b)
    )


def neighbours(x: float) -> list[tuple[int, float]]:
    """The whole numbers around x, with the shares in which they average to x."""
    low = math.floor(x)
    return [(low, 1 - (x - low)), (low + 1, x - low)] if x > low else [(low, 1)]


@functools.cache
def touched(sa: int, sb: int, a: int, b: int) -> int:
    """How many different values sa*i + sb*j has for i < a, j < b, by listing them."""
    return len({sa * i + sb * j for i in range(a) for j in range(b)})


def parse_relation(text: str) -> Relation:
    """Read "ix=2*ox+1*fx"; a factor of 1 may be left out."""
    x, terms = text.replace(" ", "").upper().split("=")
    (sa, a), (sb, b) = (re.fullmatch(r"(?:(\d+)\*)?(\w+)", term).groups() for term in terms.split("+"))
    return Relation(x, int(sa or 1), a, int(sb or 1), b)


def parse_equation(text: str) -> dict[str, list[str]]:
    """Read "O[d][k]+=I[d][c]*W[c][k]" as operand -> dimensions that index it, in the order of the equation."""
    tensors = re.findall(r"(\w+)((?:\[\w+\])+)", text)
    return {operand: [dim.upper() for dim in re.findall(r"\w+", indices)] for operand, indices in tensors}


def parse_layer(layer: dict[str, Any], repairs: Iterable[str] = ()) -> Layer:
    """The layer of a case: ZigZag's workload fields.

    The real size of an x is given (pr_loop_sizes), or it is the extent over the whole layer less the padding.
    """
    unknown = set(repairs) - REPAIRS
    if unknown:
        raise ValueError(f"unknown repairs: {sorted(unknown)}")
    sizes = dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True))
    equation = parse_equation(layer["equation"])
    relations = [parse_relation(text) for text in layer.get("dimension_relations") or []]
    in_relations = {dim for r in relations for dim in (r.x, r.a, r.b)}

    partial, relevant, irrelevant = {}, {}, {}
    for operand, indices in equation.items():
        if any(r.x in indices for r in relations):
            partial[operand] = relations
            relevant[operand] = [dim for dim in indices if dim not in in_relations]
            others = [dim for dim in sizes if dim not in indices and dim not in in_relations]
        else:
            partial[operand] = []
            relevant[operand] = [dim for dim in indices if sizes[dim] != 1]
            others = [dim for dim in sizes if dim not in indices]
        irrelevant[operand] = [dim for dim in others if sizes[dim] != 1]

    named = layer.get("pr_loop_dims") or []
    padding = dict(zip(named, layer.get("padding") or [(0, 0)] * len(named), strict=True))
    clip = {r.x: unclipped_extent(r, sizes[r.a], sizes[r.b]) - sum(padding.get(r.x, (0, 0))) for r in relations}
    if layer.get("pr_loop_sizes"):
        clip |= dict(zip(named, layer["pr_loop_sizes"], strict=True))
    precision = layer["operand_precision"]
    return Layer(sizes, list(equation), precision, partial, relevant, irrelevant, clip, frozenset(repairs))


# ----------------------------------------------------------------------------------------------------------------------
# Hardware
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """A port of a memory. ``shared``: it serves both activations and weights."""

    name: str
    bw_min: int
    bw_max: int
    shared: bool


@dataclass(frozen=True)
class Memory:
    """A memory. ``port_of[operand]`` maps each direction to its port; when two ports claim one, the later wins."""

    name: str
    size: int
    r_cost: float
    w_cost: float
    area: float
    operands: list[str]
    serves: list[str]
    ports: list[Port]
    port_of: dict[str, dict[str, Port]]
    force_double_buffering: bool


@dataclass(frozen=True)
class Hardware:
    """The array as it is written, its dimensions with sizes, and the memories from the array outwards."""

    array: dict[str, Any]
    dims: dict[str, int]
    memories: list[Memory]

    def chain(self, operand: str) -> list[Memory]:
        return [memory for memory in self.memories if operand in memory.operands]

    @property
    def cycles_per_op(self) -> float:
        """Cycles of one multiplication: activation bits over bits per cycle."""
        return self.array["input_precision"][0] / self.array["bit_serial_precision"]


def parse_memory(name: str, memory: dict[str, Any]) -> Memory:
    """One entry of "memories" in the accelerator file."""
    operands = [LAYER_OPERAND[operand] for operand in memory["operands"]]
    ports = []
    port_of = {operand: {} for operand in operands}
    for port in memory["ports"]:
        served = [text.replace(" ", "").split(",") for text in port["allocation"]]
        both_inputs = {"I1", "I2"} <= {operand for operand, _ in served}
        bw_max = port["bandwidth_max"]
        ports.append(Port(port["name"], port.get("bandwidth_min", bw_max), bw_max, both_inputs))
        for operand, code in served:
            port_of[LAYER_OPERAND[operand]][DIRECTION_CODES[code]] = ports[-1]
    return Memory(
        name,
        memory["size"],
        memory["r_cost"],
        memory["w_cost"],
        memory["area"],
        operands,
        memory["served_dimensions"],
        ports,
        port_of,
        memory.get("force_double_buffering", False),
    )


def parse_hardware(hw: dict[str, Any]) -> Hardware:
    """The accelerator in ZigZag's YAML format, already parsed to a dict."""
    array = hw["operational_array"]
    dims = dict(zip(array["dimensions"], array["sizes"], strict=True))
    return Hardware(array, dims, [parse_memory(name, memory) for name, memory in hw["memories"].items()])


# ----------------------------------------------------------------------------------------------------------------------
# Spatial mapping
# ----------------------------------------------------------------------------------------------------------------------


def convert_spatial(
    layer: Layer, hw: Hardware, spatial: list, integer: bool, number: Callable[[int], Any] = float
) -> dict[str, list[Loop]]:
    """Balance the user's unrolling: array dimension -> loops actually unrolled on it.

    A dimension d of size L with factor u takes q = ceil(L / (u * e)) iterations, where e is what earlier array
    dimensions already unroll of d. Its factor becomes L / q / e, so that all iterations are equally full: K = 100 on 64
    columns is 2 iterations of 50. Only the first array dimension among those with the largest factor of d is balanced;
    the others keep their factor. The integer version truncates every balanced factor, unless there is only one
    unrolling.

    ZigZag does not look at later array dimensions, so that 100 on 8 and 4 units take q = 13 iterations of the 8 units,
    and 4 of those of 4: 13 factors of 100 / 13 each, four times, for a loop of 100. With joint coverage e is what *all*
    other array dimensions unroll of d: 4 iterations of 6.25 * 4.

    ``number`` is what to calculate with: ``Fraction`` for no rounding.
    """
    user = {array_dim: [(dim, min(u, hw.dims[array_dim])) for dim, u in loops] for array_dim, loops in spatial}
    converted: dict[str, list[Loop]] = {}
    for array_dim, loops in user.items():
        converted[array_dim] = []
        for dim, u in loops:
            if u > layer.sizes[dim]:
                raise ValueError(f"{array_dim} unrolls {dim} {u} times, but it has {layer.sizes[dim]} iterations only")
            factor = u
            if array_dim == first_with_largest_factor(user, dim):
                others = [loop for done in converted.values() for loop in done]
                if JOINT_COVERAGE in layer.repairs:
                    others = [loop for other, written in user.items() if other != array_dim for loop in written]
                e = product(f for other, f in others if other == dim)
                q = math.ceil(layer.sizes[dim] / (u * e))
                factor = number(layer.sizes[dim]) / q / e
                if integer and ONE_UNROLLING not in layer.repairs:
                    factor = int(factor)
            converted[array_dim].append((dim, factor))
    return converted


def first_with_largest_factor(user: dict[str, list[Loop]], dim: str) -> str:
    """The first array dimension among those that unroll ``dim`` most."""
    factors = {array_dim: u for array_dim, loops in user.items() for other, u in loops if other == dim}
    return max(factors, key=factors.__getitem__)


def spatial_levels(hw: Hardware, operand: str, converted: dict[str, list[Loop]]) -> list[list[Loop]]:
    """The unrolled loops of an operand, by the memory level that they sit *below*.

    An array dimension belongs to the lowest level that serves it: the copies of that operand along this dimension share
    one instance of that memory. Dimensions served by no level go on top, after the last memory. A dimension of the
    layer that lands twice in one entry becomes one loop.
    """
    remaining = dict(converted)
    levels = []
    for memory in hw.chain(operand):
        served = [array_dim for array_dim in remaining if array_dim in memory.serves]
        levels.append(join_loops([loop for array_dim in served for loop in remaining.pop(array_dim)]))
    levels.append(join_loops([loop for loops in remaining.values() for loop in loops]))
    return levels


def join_loops(loops: list[Loop]) -> list[Loop]:
    """Multiply loops over the same dimension into the first of them."""
    joined: dict[str, float] = {}
    for dim, n in loops:
        joined[dim] = joined[dim] * n if dim in joined else n
    return list(joined.items())


# ----------------------------------------------------------------------------------------------------------------------
# Relevant and irrelevant factors
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Factors:
    """What the loops of one level do to an operand: factors with new elements, factors that reuse them."""

    relevant: list[float]
    irrelevant: list[float]

    @property
    def r(self) -> float:
        return product(self.relevant)

    @property
    def ir(self) -> float:
        return product(self.irrelevant)


def decouple(layer: Layer, operand: str, levels: list[list[Loop]]) -> list[Factors]:
    """Split the loops of every level into relevant and irrelevant factors.

    A loop on a partially relevant dimension does both. Going outwards, let A and B be the iterations so far of the two
    dimensions of a relation: the D = extent(A, B) elements are each used R = A * B / D times on average. The loop
    contributes the growth of D as a relevant and the growth of R as an irrelevant factor. (A and B are truncated in the
    extent, but not in the product.) Neutral loops have one iteration and contribute nothing.
    """
    so_far = {dim: 1 for r in layer.partial[operand] for dim in (r.a, r.b)}
    elements = {r.x: 1 for r in layer.partial[operand]}
    reuse = {r.x: 1 for r in layer.partial[operand]}
    result = []
    for loops in levels:
        factors = Factors([], [])
        for dim, n in loops:
            if dim in layer.relevant[operand]:
                factors.relevant.append(n)
            elif dim in layer.irrelevant[operand]:
                factors.irrelevant.append(n)
            elif dim in so_far:
                so_far[dim] *= n
                for relation in layer.partial[operand]:
                    if dim in (relation.a, relation.b):
                        a, b = so_far[relation.a], so_far[relation.b]
                        d = layer.extent(relation, a, b)
                        r = a * b / d
                        factors.relevant.append(d / elements[relation.x])
                        factors.irrelevant.append(r / reuse[relation.x])
                        elements[relation.x], reuse[relation.x] = d, r
        result.append(factors)
    return result


def unit_counts(factors: list[Factors], exact: bool = False) -> tuple[list[float], list[float]]:
    """Instances and broadcast of every level, from the decoupled spatial loops (array first).

    ``count[m]`` = instances of entry m: all spatial loops in entries m and above (count[0] is the multipliers in use,
    count[m + 1] the instances of memory level m). ``boost[m]`` = how many different copies of entry m one instance of
    the memory above it feeds: the ratio of the relevant loops from m and from m + 1 upwards. Both are rounded, unless
    ``exact`` averages are asked for.
    """
    levels = range(len(factors))
    every = [product([*f.relevant, *f.irrelevant]) for f in factors]
    count = [product(every[m:]) for m in levels]
    unique = [product(f.r for f in factors[m:]) for m in levels]
    boost = [unique[m] / unique[m + 1] for m in levels[:-1]] + [1]
    if exact:
        return count, boost
    return [round(round(n, 3)) for n in count], [round(n) for n in boost]
