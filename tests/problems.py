"""Random small problems in the format of the reference, and their translation into fastmap's own types.

Every generator takes ``pick``, a function that chooses one item of a sequence. ``random.Random(seed).choice`` makes a
reproducible stream of problems of it; :func:`problems` lets Hypothesis choose, and so shrink a failure.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fastmap.architecture import Architecture
from fastmap.layer import Layer
from fastmap.mapping import Mapping
from fastmap.readers import zigzag
from fastmap.readers.source import parse_document

from .reference import search
from .reference.problem import Relation, parse_hardware, product, unclipped_extent

Pick = Callable[[Sequence[Any]], Any]

CONVOLUTIONS = (
    "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
    "O[b][g][k][oy][ox]+=I[b][g][c][iy][ix]*W[g][k][c][fy][fx]",
)
MATRIX_PRODUCTS = (
    "O[d][k]+=I[d][c]*W[c][k]",
    "O[d][k]+=W[c][k]*I[d][c]",
    "O[g][d][k]+=I[g][d][c]*W[g][c][k]",
)
READS = ("tl", "th")  # towards the array, towards the outside; the other two directions write

#: Sizes of the loops of a random layer.
SIZES = (1, 1, 2, 3, 4, 5, 6, 7, 8)
#: Loop dimensions that belong on the first, the second and any other array dimension.
USUAL = (("K", "OX", "OY", "B", "G", "D"), ("C", "FX", "FY"))


@dataclass(frozen=True)
class Problem:
    """A layer, an accelerator and a mapping, in the format of the reference."""

    layer: dict[str, Any]
    hw: dict[str, Any]
    spatial: list[Any]
    temporal: list[tuple[str, int]]
    allocation: dict[str, list[int]] | None = None

    def fastmap(self) -> tuple[Layer, Architecture, Mapping]:
        """The arguments of ``fastmap.evaluate``."""
        layer = read_layer(self.layer)
        return (
            layer,
            read_architecture(self.hw),
            mapping_of(self.layer, self.spatial, self.temporal, self.allocation),
        )

    def reference(self) -> tuple[Any, ...]:
        """The arguments of the reference's ``evaluate``, and of ZigZag's."""
        return self.layer, self.hw, self.spatial, self.temporal, self.allocation


# ----------------------------------------------------------------------------------------------------------------------
# Into fastmap's types
# ----------------------------------------------------------------------------------------------------------------------


def read_architecture(hw: dict[str, Any]) -> Architecture:
    """The accelerator, through fastmap's reader of ZigZag's format."""
    return _read_architecture(json.dumps(hw))


@functools.lru_cache(maxsize=16)
def _read_architecture(text: str) -> Architecture:
    return zigzag.architecture(parse_document(text, "accelerator.yaml"))


def read_layer(layer: dict[str, Any]) -> Layer:
    """The layer, through fastmap's reader of ZigZag's workloads."""
    return _read_layer(json.dumps(layer))


@functools.lru_cache(maxsize=16)
def _read_layer(text: str) -> Layer:
    entry = json.loads(text)
    entry |= {"id": 1, "name": "layer", "operator_type": entry.pop("op", "Conv")}
    return zigzag.workload(parse_document(json.dumps([entry]), "workload.yaml"), "workload").layers[0]


def loop_name(layer: dict[str, Any], dim: str) -> str:
    """fastmap's name of a loop dimension: the rows of a matrix product are its batch."""
    return read_layer(layer).aliases.get(dim, dim)


def mapping_of(layer: dict[str, Any], spatial: list[Any], temporal: Sequence[Any], allocation: Any = None) -> Mapping:
    """The mapping, with fastmap's names. A fully unrolled layer has one loop of one iteration here, and none there."""
    loops = [(loop_name(layer, dim), n) for dim, n in temporal if n > 1]
    if allocation is not None:
        missing = len(temporal) - len(loops)
        allocation = {o: [max(0, cut - missing) for cut in cuts] for o, cuts in allocation.items()}
    return Mapping(
        spatial={array_dim: {loop_name(layer, dim): f for dim, f in factors} for array_dim, factors in spatial},
        temporal=loops,
        allocation=allocation,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Random problems
# ----------------------------------------------------------------------------------------------------------------------


def problem(pick: Pick, regular: bool = False, layer: Any = None, hw: Any = None) -> Problem:
    """Any problem; a ``regular`` one keeps to what ZigZag itself is made for."""
    hw = hw or hardware(pick, regular)
    layer = layer or random_layer(pick, hw, pick((SIZES, SIZES, SIZES, (1, 1, 1, 2))))
    if regular:  # without it ZigZag stops
        layer["operand_precision"].setdefault("O_final", layer["operand_precision"]["O"])
    spatial = spatial_mapping(pick, layer, hw, regular)
    temporal = shuffled(pick, search.loop_factors(layer, hw, spatial, pick((None, None, 4, 6))))
    allocation = None
    if pick((False, True)):
        allocation = explicit_allocation(pick, hw, len(temporal))
        if pick((True, True, False)):  # otherwise hardly anything fits
            hw = roomy(hw)
    return Problem(layer, hw, spatial, temporal, allocation)


@st.composite
def problems(draw: Callable[..., Any], regular: bool = False) -> Problem:
    """The same for Hypothesis."""
    return problem(lambda items: draw(st.sampled_from(list(items))), regular)


def shuffled(pick: Pick, items: Sequence[Any]) -> list[Any]:
    """The items in any order."""
    left, result = list(items), []
    while left:
        result.append(left.pop(pick(range(len(left)))))
    return result


def some(pick: Pick, items: Sequence[Any]) -> list[Any]:
    """Any of the items, in their order."""
    return [item for item in items if pick((False, True))]


def random_layer(pick: Pick, hw: dict[str, Any], sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """A convolution (groups, batch, strides, dilations, true input sizes, padding) or a matrix product."""
    weight_bits = hw["operational_array"]["input_precision"][1]
    precision = {"W": pick((weight_bits, weight_bits, weight_bits, 2)), "I": pick((8, 4)), "O": pick((16, 24))}
    if pick((True, True, False)):
        precision["O_final"] = pick((8, 16, 24))
    if pick((True, False, False)):
        equation = pick(MATRIX_PRODUCTS)
        dims = [dim for dim in ("C", "D", "K", "G") if f"[{dim.lower()}]" in equation]
        dims = shuffled(pick, dims) if pick((True, False)) else dims
        extents = [pick((*sizes, 2 * max(sizes), 2 * max(sizes) + 1)) for _ in dims]
        layer = {"op": "Gemm", "equation": equation, "loop_dims": dims, "loop_sizes": extents}
        return layer | {"dimension_relations": [], "operand_precision": precision}

    dims = ["B", "K", "G", "OX", "OY", "C", "FX", "FY"]
    dims = shuffled(pick, dims) if pick((False, False, True)) else dims
    choices = {"B": (1, 1, 1, 2, 3), "G": (1, 1, 1, 2, 4), "FX": (1, 2, 3, 4), "FY": (1, 1, 2, 3)}
    size = {dim: pick(choices.get(dim, sizes)) for dim in dims}
    layer = {
        "op": "Conv",
        "equation": pick(CONVOLUTIONS),
        "loop_dims": dims,
        "loop_sizes": list(size.values()),
        "operand_precision": precision,
    }
    strides = {axis: (pick((1, 1, 2, 3)), pick((1, 1, 2))) for axis in "xy"}
    layer["dimension_relations"] = [f"i{a}={s}*o{a}+{d}*f{a}" for a, (s, d) in strides.items()]
    touched = [
        unclipped_extent(Relation(f"I{axis}", s, f"O{axis}", d, f"F{axis}"), size[f"O{axis}"], size[f"F{axis}"])
        for axis, (s, d) in zip("XY", strides.values(), strict=True)
    ]
    form = pick(("exact", "sizes", "padding"))
    if form != "exact":
        layer["pr_loop_dims"] = ["IX", "IY"]
    if form == "sizes":
        layer["pr_loop_sizes"] = [max(1, n - pick((0, 1, 2))) for n in touched]
    if form == "padding":
        layer["padding"] = [[pick((0, 1)) if n > 2 else 0, pick((0, 1)) if n > 2 else 0] for n in touched]
    return layer


def hardware(pick: Pick, regular: bool = False) -> dict[str, Any]:
    """An accelerator with 1 to 4 memory levels for each operand, in any arrangement."""
    analog = pick((True, False))
    names = ["D1", "D2", *pick(([], [], ["D3"], ["D3", "D4"]))]
    columns = pick((2, 4, 6, 8, 16)) if regular else pick((1, 2, 3, 4, 6, 8, 16))
    rows = pick((2, 4, 8, 16) if regular or not analog else (1, 2, 3, 4, 6, 8, 16))
    sizes = [columns, rows, *(pick((2, 3, 4)) for _ in names[2:])]
    activation_bits = pick((4, 8))
    weight_bits = pick((4, 8))
    array = {
        "is_imc": True,
        "imc_type": "analog" if analog else "digital",
        "input_precision": [activation_bits, weight_bits],
        "bit_serial_precision": pick((1, 2, 4)),
        "dimensions": names,
        "sizes": sizes,
    }
    if analog:
        array["adc_resolution"] = pick((1, 4, 6, 8))
    if not regular and pick((False, False, False, True)):  # ZigZag's own roles go by name, not by position
        array["dimensions"], array["sizes"] = names[::-1], sizes[::-1]
    return {"name": "random", "memories": memories(pick, names, weight_bits, regular), "operational_array": array}


def memories(pick: Pick, dims: list[str], weight_bits: int, regular: bool) -> dict[str, Any]:
    """The weight cells, then memories of random subsets of the operands, innermost first."""
    depth = 1 if regular else pick((1, 1, 2, 4))
    cells = {"operands": ["I2"], "size": depth * weight_bits, "served_dimensions": [], "r_cost": 0, "w_cost": 0.125}
    needed = {"I1": pick((1, 2, 3, 4)), "I2": pick((1, 2, 3, 3, 2)), "O": pick((1, 2, 3, 4))}
    if regular:
        needed = {"I1": pick((2, 3, 4)), "I2": pick((1, 2)), "O": pick((2, 3, 4))}
    elif pick((False,) * 6 + (True,)):
        needed["I2"] = 0
    plan = []
    while any(needed.values()):
        open_operands = [o for o, n in needed.items() if n]
        last = all(n <= 1 for n in needed.values())
        chosen = open_operands if last and (regular or pick((True, True, False))) else some(pick, open_operands)
        if chosen:
            for o in chosen:
                needed[o] -= 1
            plan.append((shuffled(pick, chosen), [o for o in chosen if not needed[o]]))
    result = {"cells": {**cells, "area": 2e-7, "latency": 1, "ports": ports(pick, ["I2"], [], regular)}}
    sizes = sorted(pick((8, 24, 24, 48, 48, 96, 200, 400, 1000, 4000)) for _ in plan)
    served: dict[str, set[str]] = {"I1": set(), "I2": set(), "O": set()}
    for index, (operands, tops) in enumerate(plan):
        top = bool(tops)
        own = set.union(*(served[o] for o in operands)) | set(some(pick, dims))
        if top and (regular or pick((True,) * 5 + (False,))):
            own = set(dims)
        for o in operands:
            served[o] |= own
        size = max(sizes[index] * len(operands), cells["size"] if "I2" in operands else 0)
        result[f"m{index}"] = {
            "operands": operands,
            "size": 10**7 if top and (regular or pick((True,) * 6 + (False,))) else size,
            "served_dimensions": [dim for dim in dims if dim in own],
            "r_cost": pick((0.25, 1.5, 7, 40)),
            "w_cost": pick((0.5, 1.25, 9, 60)),
            "area": pick((0, 0.01, 0.3)),
            "latency": 1,
            "ports": ports(pick, operands, tops, regular),
        }
        if pick((False,) * 9 + (True,)):
            result[f"m{index}"]["force_double_buffering"] = True
    return ordered_by_size(result)


def ordered_by_size(result: dict[str, Any]) -> dict[str, Any]:
    """Make the last memory of every operand at least as large as its first, as an accelerator must be."""
    for o in ("I1", "I2", "O"):
        chain = [memory for memory in result.values() if o in memory["operands"]]
        chain[-1]["size"] = max(chain[0]["size"], chain[-1]["size"])
    return result


def ports(pick: Pick, operands: list[str], tops: list[str], regular: bool) -> list[dict[str, Any]]:
    """The transfers that the operands need, shared by one, two or more ports."""
    needed = []
    for o in operands:
        codes = ["tl", "fl", "th", "fh"] if o == "O" else ["tl", "fh"]
        needed += [(o, code) for code in codes if o not in tops or code in ("tl", "fl")]
    style = pick(("one", "read and write", "by operand", "by direction", "any"))
    groups: dict[Any, list[tuple[str, str]]] = {}
    for o, code in shuffled(pick, needed) if not regular and pick((True, False)) else needed:
        key = {
            "one": 0,
            "read and write": code in READS,
            "by operand": o,
            "by direction": (o, code),
            "any": None if style != "any" else pick((1, 2, 3)),
        }[style]
        groups.setdefault(key, []).append((o, code))
    result = []
    for index, transfers in enumerate(groups.values()):
        kinds = {code in READS for _, code in transfers}
        width = pick((8, 16, 24, 32, 64, 128))
        result.append(
            {
                "name": f"{'r' * (True in kinds)}{'w' * (False in kinds)}_port_{index + 1}",
                "type": "_".join(word for word, is_read in (("read", True), ("write", False)) if is_read in kinds),
                "bandwidth_min": pick([w for w in (1, 8, 16, 24, 64) if w <= width]),
                "bandwidth_max": width,
                "allocation": [f"{o}, {code}" for o, code in transfers],
            }
        )
    return result


def spatial_mapping(pick: Pick, layer: dict[str, Any], hw: dict[str, Any], regular: bool) -> list[Any]:
    """An unrolling: over-hanging, mixed, diagonal, on banks; if not ``regular``, also against physics."""
    sizes = dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True))
    array = hw["operational_array"]
    extents = dict(zip(array["dimensions"], array["sizes"], strict=True))
    spatial = []
    covered = dict.fromkeys(sizes, 1)
    for position, name in enumerate(sorted(extents)):
        usual = USUAL[position] if position < 2 else tuple(sizes)
        anything = not regular and pick((False,) * 7 + (True,))
        candidates = shuffled(pick, [dim for dim in sizes if anything or dim in usual])
        room, loops = extents[name], []
        for dim in candidates[: pick((1, 1, 2, 3))]:
            # what is covered already leaves less to unroll; beyond, a balanced factor falls below 1
            most = min(room, math.ceil(sizes[dim] / covered[dim]))
            factor = pick((most, pick(range(1, most + 1))))
            if factor == 1 and (regular or pick((True, True, True, False))):
                continue
            loops.append([dim, factor])
            covered[dim] *= factor
            room //= factor
        if loops or (not regular and pick((False, False, True))):
            spatial.append([name, loops])
    return spatial


def explicit_allocation(pick: Pick, hw: dict[str, Any], loops: int) -> dict[str, list[int]]:
    """Any cuts, whether they fit or not."""
    parsed = parse_hardware(hw)
    cuts = {}
    for o in ("O", "W", "I"):
        depth = len(parsed.chain(o))
        inner = sorted(pick(range(loops + 1)) for _ in range(depth - 1))
        if o == "W" and inner and pick((True, True, False)):
            inner[0] = 0
        cuts[o] = [*inner, loops]
    return cuts


def roomy(hw: dict[str, Any]) -> dict[str, Any]:
    """The same accelerator with large memories (the cells excepted)."""
    result = json.loads(json.dumps(hw))
    for name, memory in result["memories"].items():
        if name != "cells":
            memory["size"] *= 10_000
    return result


# ----------------------------------------------------------------------------------------------------------------------
# Comparison
# ----------------------------------------------------------------------------------------------------------------------


def deviation(ours: Any, theirs: Any) -> float:
    """Relative difference of two numbers; infinite where anything else differs."""
    if ours == theirs:
        return 0.0
    numbers = (int, float)
    if isinstance(ours, numbers) and isinstance(theirs, numbers) and math.isfinite(ours) and math.isfinite(theirs):
        return abs(ours - theirs) / max(abs(ours), abs(theirs))
    return math.inf


def mac_count(layer: dict[str, Any]) -> int:
    """Multiplications of the layer."""
    return int(product(layer["loop_sizes"]))
