"""ZigZag's accelerator, workload and mapping files, read as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fastmap._spec import Bits, Cost, Count, Name, Natural, Path, Spec, label, listed, must, shown, whole
from fastmap.architecture import Architecture, Transfer
from fastmap.constraints import ConstraintSet, Rule
from fastmap.dimensions import DIRECTION_CODES
from fastmap.layer import Layer
from fastmap.readers.source import Document, renamed
from fastmap.workload import Workload

#: ZigZag's names of the memory operands.
OPERAND_NAMES = {"I1": "I", "I2": "W", "O": "O"}

#: Operators that ZigZag's own files contain and that do not map to an array.
SKIPPED_OPERATORS = ("Add", "Pooling", "Pool", "MaxPool", "AveragePool", "GlobalAveragePool", "Max")

_ACCELERATOR_KEYS = {
    "array": "operational_array",
    "size_bits": "size",
    "read_energy_pj": "r_cost",
    "write_energy_pj": "w_cost",
    "area_mm2": "area",
    "serves": "served_dimensions",
    "double_buffered": "force_double_buffering",
    "kind": "imc_type",
    "transfers": "allocation",
    "bandwidth_min_bits": "bandwidth_min",
    "bandwidth_max_bits": "bandwidth_max",
    "activation_bits": "input_precision",
    "weight_bits": "input_precision",
    "bits_per_cycle": "bit_serial_precision",
    "adc_bits": "adc_resolution",
    "unit_energy_pj": "unit_energy",
    "unit_area_mm2": "unit_area",
}


def _transfer(value: object) -> tuple[str, str]:
    """Read ``"I1, fh"``."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    if len(parts) != 2 or parts[0] not in OPERAND_NAMES or parts[1] not in DIRECTION_CODES:
        raise must(
            f"an operand ({listed(OPERAND_NAMES)}), a comma and a direction ({listed(DIRECTION_CODES)}), like 'I1, fh'",
            value,
        )
    return OPERAND_NAMES[parts[0]], DIRECTION_CODES[parts[1]]


class _Port(Spec):
    name: Name
    type: Literal["read", "write", "read_write"]
    bandwidth_min: Count
    bandwidth_max: Count
    allocation: list[Annotated[Transfer, BeforeValidator(_transfer)]]


class _Memory(Spec):
    size: Count
    r_cost: Cost | None = None
    w_cost: Cost | None = None
    area: Cost | None = None
    latency: Natural = 1
    mem_type: str = "sram"
    auto_cost_extraction: bool = False
    operands: list[Literal["I1", "I2", "O"]]
    ports: list[_Port]
    served_dimensions: list[str]
    force_double_buffering: bool = False


class _OperationalArray(Spec):
    dimensions: list[Name]
    sizes: list[Count]
    is_imc: bool = False
    imc_type: Literal["analog", "digital"] | None = None
    input_precision: list[Bits] | None = None
    bit_serial_precision: Bits | None = None
    adc_resolution: Cost | None = None
    unit_energy: Cost = 0.0
    unit_area: Cost = 0.0


class _Accelerator(Spec):
    name: Name
    memories: dict[str, _Memory]
    operational_array: _OperationalArray
    dataflows: Any = None


def architecture(document: Document) -> Architecture:
    """Read an accelerator."""
    file = document.parse(_Accelerator, document.data)
    remarks = [f"{message}; the last one counts" for _, message in document.duplicates()]
    memories = []
    for name, memory in file.memories.items():
        at: Path = ("memories", name)
        for key, cost in (("r_cost", memory.r_cost), ("w_cost", memory.w_cost)):
            if cost is None:
                raise document.error(at, f"the key {key} is missing (fastmap does not run CACTI to find it)")
        memories.append(
            {
                "name": name,
                "size_bits": memory.size,
                "read_energy_pj": memory.r_cost,
                "write_energy_pj": memory.w_cost,
                "area_mm2": memory.area or 0.0,
                "operands": [OPERAND_NAMES[operand] for operand in memory.operands],
                "ports": _ports(name, memory.ports, remarks),
                "serves": memory.served_dimensions,
                "double_buffered": memory.force_double_buffering,
            }
        )
    data = {
        "name": file.name,
        "array": _array(document, file.operational_array),
        "memories": memories,
        "remarks": remarks,
    }
    translate = renamed(list(file.memories), _ACCELERATOR_KEYS)
    return document.build(lambda: Architecture.model_validate(data), translate)


def _ports(memory: str, ports: Sequence[_Port], remarks: list[str]) -> list[dict[str, Any]]:
    """Give each transfer to the last port that claims it, as ZigZag does; say so where it matters."""
    owner = {transfer: port.name for port in ports for transfer in port.allocation}
    for port in ports:
        lost = [
            f"{' '.join(transfer)} ({owner[transfer]})" for transfer in port.allocation if owner[transfer] != port.name
        ]
        if lost:
            remarks.append(
                f"memory {shown(memory)}: port {shown(port.name)} shares transfers with later ports, which carry them: "
                f"{listed(lost)}"
            )
    return [
        {
            "name": port.name,
            "kind": port.type,
            "bandwidth_min_bits": port.bandwidth_min,
            "bandwidth_max_bits": port.bandwidth_max,
            "transfers": [transfer for transfer in port.allocation if owner[transfer] == port.name],
        }
        for port in ports
        if not port.allocation or any(owner[transfer] == port.name for transfer in port.allocation)
    ]


def _array(document: Document, array: _OperationalArray) -> dict[str, Any]:
    """Check and convert the operational array."""
    at: Path = ("operational_array",)
    if len(array.dimensions) != len(array.sizes):
        raise document.error(
            (*at, "sizes"), f"must have one size for each of {listed(array.dimensions)}, not {len(array.sizes)}"
        )
    if len(set(array.dimensions)) < len(array.dimensions):
        raise document.error((*at, "dimensions"), "names a dimension twice")
    if array.input_precision is not None and len(array.input_precision) != 2:
        raise document.error((*at, "input_precision"), "must be [activation bits, weight bits]")
    data: dict[str, Any] = {
        "kind": array.imc_type if array.is_imc else "mac",
        "dimensions": dict(zip(array.dimensions, array.sizes, strict=True)),
        "unit_energy_pj": array.unit_energy,
        "unit_area_mm2": array.unit_area,
    }
    if array.input_precision is not None:
        data["activation_bits"], data["weight_bits"] = array.input_precision
    if not array.is_imc:
        return data
    for key, value in (
        ("imc_type", array.imc_type),
        ("input_precision", array.input_precision),
        ("bit_serial_precision", array.bit_serial_precision),
    ):
        if value is None:
            raise document.error(at, f"the key {key} is missing, which an in-memory-computing array needs")
    data["bits_per_cycle"] = array.bit_serial_precision
    if array.imc_type == "analog":
        if not array.adc_resolution:
            raise document.error(at, "an analog array needs adc_resolution, the bits of its converters")
        data["adc_bits"] = array.adc_resolution
    return data


class _Precision(Spec):
    W: Natural | None = None
    I: Natural | None = None  # noqa: E741
    O: Natural  # noqa: E741
    O_final: Natural | None = None


class _Sources(Spec):
    W: int | None = None
    I: int | None = None  # noqa: E741


class _Layer(Spec):
    id: Annotated[int, BeforeValidator(lambda value: whole(value))]
    name: Name | None = None
    operator_type: Name
    equation: str
    dimension_relations: list[str] | None = None
    loop_dims: list[Name]
    loop_sizes: list[Count]
    operand_precision: _Precision
    operand_source: _Sources = Field(default_factory=lambda: _Sources())
    pr_loop_dims: list[Name] | None = None
    pr_loop_sizes: list[Count] | None = None
    padding: list[list[Natural]] | None = None


_INDICES = r"((?:\s*\[\s*\w*\s*\])+)"
_EQUATION = re.compile(rf"\s*O{_INDICES}\s*(\+?\s*=)\s*(\w+){_INDICES}\s*([*+])\s*(\w+){_INDICES}\s*")
_RELATION = re.compile(r"\s*(\w+)\s*=\s*(?:(\d{1,9})\s*\*\s*)?(\w+)\s*\+\s*(?:(\d{1,9})\s*\*\s*)?(\w+)\s*")


@dataclass(frozen=True)
class Relation:
    """``index = stride * output + dilation * kernel``."""

    index: str
    stride: int
    output: str
    dilation: int
    kernel: str


def workload(document: Document, name: str) -> Workload:
    """Read a workload."""
    document.refuse_duplicates()
    if not isinstance(document.data, list):
        raise document.error((), str(must("a list of layers", document.data)))
    entries = [document.parse(_Layer, entry, (index,)) for index, entry in enumerate(document.data)]
    if not entries:
        raise document.error((), "lists no layers")
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        if entry.id in names:
            raise document.error((index, "id"), f"the id {entry.id} stands twice")
        node = entry.name or f"{entry.operator_type.lower()}_{entry.id}"
        if node in names.values():
            raise document.error((index, "name"), f"two layers have the name {shown(node)}")
        names[entry.id] = node
    layers, skipped, sources = [], {}, {}
    for index, entry in enumerate(entries):
        node = names[entry.id]
        producers: list[str] = []
        for operand in ("I", "W"):
            source = getattr(entry.operand_source, operand)
            if source is None or source == entry.id:
                continue
            if source not in names:
                raise document.error((index, "operand_source", operand), f"there is no layer with the id {source}")
            producers.append(names[source])
        if producers:
            sources[node] = tuple(dict.fromkeys(producers))
        layer = _layer(document, index, entry, node)
        if layer is None:
            skipped[node] = entry.operator_type
        else:
            layers.append(layer)
    data = {"name": name, "layers": layers, "sources": sources, "skipped": skipped, "nodes": tuple(names.values())}
    return document.build(lambda: Workload.model_validate(data), lambda where: ())


def _layer(document: Document, index: int, entry: _Layer, name: str) -> Layer | None:
    """Convert one node; None if it does not map to an array."""
    at: Path = (index,)
    equation = _EQUATION.fullmatch(entry.equation)
    if equation is None:
        raise document.error((*at, "equation"), f"must look like O[b][k]+=I[b][c]*W[c][k], not {shown(entry.equation)}")
    if entry.operator_type in SKIPPED_OPERATORS or equation[5] != "*" or not equation[2].startswith("+"):
        return None
    operands = (equation[3], equation[6])
    if sorted(operands) != ["I", "W"]:
        raise document.error((*at, "equation"), f"must multiply I and W, not {listed(operands)}")
    indices = {
        "O": _index_names(equation[1]),
        equation[3]: _index_names(equation[4]),
        equation[6]: _index_names(equation[7]),
    }
    if len(entry.loop_dims) != len(entry.loop_sizes):
        raise document.error(
            (*at, "loop_sizes"),
            f"must have one size each for {listed(entry.loop_dims)}, not {len(entry.loop_sizes)}",
        )
    sizes = {dim.lower(): size for dim, size in zip(entry.loop_dims, entry.loop_sizes, strict=True)}
    if len(sizes) < len(entry.loop_dims):
        raise document.error((*at, "loop_dims"), "names a dimension twice")
    relations = _relations(document, at, entry.dimension_relations or [], indices, sizes)
    roles = _roles(document, at, indices, sizes, relations)
    fields: dict[str, Any] = {
        "name": name,
        "operator": entry.operator_type,
        "sizes": _joined(sizes, roles),
        "sliding_window": bool(relations) or any(role in ("OX", "OY") for role in roles.values()),
        "operand_order": ("O", *operands),
        "aliases": {dim.upper(): role for dim, role in roles.items() if role is not None and dim.upper() != role},
        **_precisions(document, at, entry.operand_precision),
    }
    for axis, relation in relations.items():
        fields[f"stride_{axis}"], fields[f"dilation_{axis}"] = relation.stride, relation.dilation
    fields |= _input_sizes(document, at, entry, relations)
    keys = {"sizes": "loop_sizes", "operand_order": "equation", "weight_bits": "operand_precision"}
    keys |= dict.fromkeys(("stride_x", "stride_y", "dilation_x", "dilation_y"), "dimension_relations")
    keys |= dict.fromkeys(("padding_x", "padding_y"), "padding")
    keys |= dict.fromkeys(("input_bits", "output_bits", "output_final_bits"), "operand_precision")
    return document.build(
        lambda: Layer.model_validate(fields),
        lambda where: (*at, *(keys.get(str(step), str(step)) for step in where[:1])),
    )


def _index_names(text: str) -> list[str]:
    return [name.lower() for name in re.findall(r"\w+", text)]


def _relations(
    document: Document, at: Path, texts: Sequence[str], indices: Mapping[str, list[str]], sizes: Mapping[str, int]
) -> dict[str, Relation]:
    """Return the relation of each axis, "x" and "y"."""
    found: list[Relation] = []
    for position, text in enumerate(texts):
        place: Path = (*at, "dimension_relations", position)
        match = _RELATION.fullmatch(text)
        if match is None:
            raise document.error(place, f"must look like ix=2*ox+1*fx, not {shown(text)}")
        index, first, second = (match[group].lower() for group in (1, 3, 5))
        factors = {first: int(match[2] or 1), second: int(match[4] or 1)}
        outputs = [dim for dim in (first, second) if dim in indices["O"]]
        kernels = [dim for dim in (first, second) if dim in indices["W"] and dim not in indices["O"]]
        if len(outputs) != 1 or len(kernels) != 1:
            raise document.error(place, f"must add an index of O and an index of W only, not {first} and {second}")
        if index not in indices["I"]:
            raise document.error(place, f"{shown(index)} is not an index of I in the equation")
        if 0 in factors.values():
            raise document.error(place, "stride and dilation must be at least 1, not 0")
        found.append(Relation(index, factors[outputs[0]], outputs[0], factors[kernels[0]], kernels[0]))
    if len({relation.index for relation in found}) < len(found):
        raise document.error((*at, "dimension_relations"), "defines an index of I twice")
    # The last index of I is the column, as in every layout that names none otherwise.
    found.sort(key=lambda relation: indices["I"].index(relation.index), reverse=True)
    if len(found) > 2:
        raise document.error((*at, "dimension_relations"), f"has {len(found)} window dimensions, and at most 2 can be")
    if len(found) == 2:
        if found[0].index.endswith("y") and found[1].index.endswith("x"):
            found.reverse()
        return {"x": found[0], "y": found[1]}
    return {"y" if relation.index.endswith("y") else "x": relation for relation in found}


def _roles(
    document: Document,
    at: Path,
    indices: Mapping[str, list[str]],
    sizes: Mapping[str, int],
    relations: Mapping[str, Relation],
) -> dict[str, str | None]:
    """Return which of our loop dimensions each dimension of the file is; None for one of size 1 that plays no role."""
    roles: dict[str, str | None] = {}
    windows = {relation.index for relation in relations.values()}
    for axis, relation in relations.items():
        roles[relation.output], roles[relation.kernel] = f"O{axis.upper()}", f"F{axis.upper()}"
    used = {dim for names in indices.values() for dim in names} - windows | set(roles)
    for dim in used:
        if dim not in sizes:
            raise document.error((*at, "loop_dims"), f"lacks {shown(dim.upper())}, which the equation uses")
    by_operands = {"OWI": "G", "OW": "K", "OI": "B", "WI": "C"}
    for dim, size in sizes.items():
        if dim in roles:
            continue
        if dim not in used:
            raise document.error((*at, "loop_dims"), f"{shown(dim.upper())} does not occur in the equation")
        role = by_operands.get("".join(operand for operand in "OWI" if dim in indices[operand]))
        if role is None and size > 1:
            raise document.error(
                (*at, "equation"), f"the index {shown(dim)} occurs in one operand only, which fastmap cannot map"
            )
        if role == "B" and dim in ("ox", "oy") and f"{dim[1]}" not in relations:
            role = dim.upper()
        roles[dim] = role
    return {dim: roles[dim] for dim in sizes}


def _joined(sizes: Mapping[str, int], roles: Mapping[str, str | None]) -> dict[str, int]:
    """Return the sizes of our loop dimensions; loops that play the same part (batch and row, say) become one."""
    joined: dict[str, int] = {}
    for dim, role in roles.items():
        if role is not None:
            joined[role] = joined.get(role, 1) * sizes[dim]
    return joined


def _precisions(document: Document, at: Path, precision: _Precision) -> dict[str, int]:
    for operand in ("W", "I"):
        if not getattr(precision, operand):
            raise document.error((*at, "operand_precision"), f"needs the bits of {operand}")
    return {
        "weight_bits": precision.W or 0,
        "input_bits": precision.I or 0,
        "output_bits": precision.O,
        "output_final_bits": precision.O if precision.O_final is None else precision.O_final,
    }


def _input_sizes(document: Document, at: Path, entry: _Layer, relations: Mapping[str, Relation]) -> dict[str, Any]:
    """Return the true input sizes and paddings, which the file lists along ``pr_loop_dims``."""
    fields: dict[str, Any] = {}
    dims = [dim.lower() for dim in entry.pr_loop_dims or []]
    for key, values, prefix in (("pr_loop_sizes", entry.pr_loop_sizes, "input"), ("padding", entry.padding, "padding")):
        if values is None:
            continue
        if len(values) != len(dims):
            raise document.error(
                (*at, key), f"must have one entry for each of pr_loop_dims ({listed(dims)}), not {len(values)}"
            )
        for position, (dim, value) in enumerate(zip(dims, values, strict=True)):
            axes = [axis for axis, relation in relations.items() if relation.index == dim]
            if not axes:
                known = [relation.index.upper() for relation in relations.values()]
                raise document.error(
                    (*at, "pr_loop_dims", position),
                    f"{shown(dim.upper())} is not defined by dimension_relations (known: {listed(known)})",
                )
            if isinstance(value, list) and len(value) != 2:
                raise document.error((*at, key, position), "must be [before, after]")
            fields[f"{prefix}_{axes[0]}"] = tuple(value) if isinstance(value, list) else value
    return fields


class _MappingEntry(Spec):
    name: Name
    spatial_mapping: dict[str, list[str]] | None = None
    spatial_mapping_hint: dict[str, list[str]] | None = None
    temporal_ordering: list[Any] | None = None
    memory_operand_links: dict[str, str] | None = None


_UNROLL = re.compile(r"\s*([A-Za-z]+\d*)\s*,\s*(\d{1,9})\s*")
_LINKS = {"O": "O", "W": "I2", "I": "I1"}


def constraints(document: Document) -> ConstraintSet:
    """Read a mapping file: one entry per layer name or operator type, and ``default``."""
    document.refuse_duplicates()
    if not isinstance(document.data, list):
        raise document.error((), str(must("a list of entries", document.data)))
    rules: dict[str, Rule] = {}
    for index, data in enumerate(document.data):
        entry = document.parse(_MappingEntry, data, (index,))
        if entry.name in rules:
            raise document.error((index, "name"), f"two entries have the name {shown(entry.name)}")
        if entry.memory_operand_links not in (None, _LINKS):
            raise document.error(
                (index, "memory_operand_links"), "only O: O, W: I2, I: I1 is supported (weights stay in the array)"
            )
        rules[entry.name] = Rule(
            spatial=_fixed(document, index, entry.spatial_mapping),
            allowed=_hints(document, index, entry.spatial_mapping_hint),
            temporal=_ordering(document, index, entry.temporal_ordering),
        )
    if not rules:
        raise document.error((), "lists no entries")
    return ConstraintSet(source=document.file, rules=rules)


def _fixed(document: Document, index: int, spatial: Mapping[str, list[str]] | None) -> dict[str, dict[str, int]] | None:
    if spatial is None:
        return None
    fixed: dict[str, dict[str, int]] = {}
    for name, texts in spatial.items():
        fixed[name] = {}
        for position, text in enumerate(texts):
            place: Path = (index, "spatial_mapping", name, position)
            match = _UNROLL.fullmatch(text)
            if match is None:
                raise document.error(place, f"must be like 'K, 32' (loop dimension, factor), not {shown(text)}")
            dim, factor = match[1].upper(), int(match[2])
            if factor < 1:
                raise document.error(place, f"the factor must be at least 1, not {factor}")
            if dim in fixed[name]:
                raise document.error(place, f"unrolls {dim} twice")
            fixed[name][dim] = factor
    return fixed


def _hints(document: Document, index: int, hint: Mapping[str, list[str]] | None) -> dict[str, tuple[str, ...]] | None:
    if hint is None:
        return None
    allowed = {}
    for name, dims in hint.items():
        for position, dim in enumerate(dims):
            if not re.fullmatch(r"[A-Za-z]+\d*", dim):
                raise document.error(
                    (index, "spatial_mapping_hint", name, position),
                    f"must be a loop dimension like K, not {shown(dim)}",
                )
        allowed[name] = tuple(dict.fromkeys(dim.upper() for dim in dims))
    return allowed


def _ordering(document: Document, index: int, loops: Sequence[Any] | None) -> tuple[tuple[str, int | None], ...] | None:
    if loops is None:
        return None
    order: list[tuple[str, int | None]] = []
    for position, loop in enumerate(loops):
        place: Path = (index, "temporal_ordering", position)
        if not isinstance(loop, list) or len(loop) != 2 or not isinstance(loop[0], str):
            raise document.error(place, str(must("a pair [loop dimension, factor]", loop)))
        dim = label(loop[0]).upper()
        if loop[1] == "*":
            if any(other == dim and factor is None for other, factor in order):
                raise document.error(place, f"{dim} takes all remaining iterations twice")
            order.append((dim, None))
            continue
        try:
            order.append((dim, whole(loop[1], 1)))
        except ValueError as error:
            raise document.error((*place, 1), f"{error} (or '*' for all that remain)") from None
    return tuple(order)
