"""fastmap's own YAML: architectures, workloads, mappings and constraints.

Everything with a sensible default may be left out, and units are part of the key names. The models here are the format;
:func:`fastmap.loading.json_schema` publishes them for editors.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from fastmap._spec import Bits, Cost, Count, Name, Path, RuleError, Spec, closest, listed, must, shown, whole
from fastmap.architecture import Architecture, Array, Operand, reversed_memories, transfers_of
from fastmap.chip import ChipFile
from fastmap.constraints import ConstraintSet
from fastmap.dimensions import DIRECTION_CODES, DIRECTIONS, LOOP_DIMENSIONS, OPERANDS, READING
from fastmap.errors import InputError
from fastmap.layer import Layer
from fastmap.mapping import Constraints, Mapping
from fastmap.memory_costs import memory_cost
from fastmap.readers.source import Document, read_document, renamed
from fastmap.technology import load_technology
from fastmap.workload import Workload

#: Order in which the transfers of one operand are put on its ports, where the file does not say.
PORT_ORDER = ("wr_in_by_high", "rd_out_to_low", "wr_in_by_low", "rd_out_to_high")

_COSTS = ("read_energy_pj", "write_energy_pj", "area_mm2", "leakage_mw")
_SIZE_UNITS = {"size_bits": 1, "size_bytes": 8, "size_kib": 8 * 2**10, "size_mib": 8 * 2**20}


def _some(value: object) -> object:
    """Let one name stand for a list of one."""
    return [value] if isinstance(value, str) else value


def _bandwidth(value: object) -> object:
    """Let one number stand for the smallest and the largest bandwidth."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise must("a number of bits, or [smallest, largest]", value)
        return tuple(whole(part, 1) for part in value)
    return (whole(value, 1),) * 2


def _transfers(value: object) -> object:
    """Read transfers written as ``O rd_out_to_low`` (or ``O tl``)."""
    value = _some(value)
    if not isinstance(value, list):
        raise must("a list of transfers, like [I rd_out_to_low]", value)
    transfers = []
    for index, text in enumerate(value):
        parts = text.split() if isinstance(text, str) else []
        direction = DIRECTION_CODES.get(parts[1], parts[1]) if len(parts) == 2 else ""
        if len(parts) != 2 or parts[0] not in OPERANDS or direction not in DIRECTIONS:
            message = must(f"an operand ({listed(OPERANDS)}) and a direction ({listed(DIRECTIONS)})", text)
            raise RuleError(str(message), (index,))
        transfers.append((parts[0], direction))
    return tuple(transfers)


def _served(value: object) -> object:
    """Let ``all`` and ``none`` stand for lists of array dimensions."""
    return [] if value == "none" else _some(value)


def _ports(value: object) -> object:
    """Read ``1``, ``2`` or ``separate``."""
    if isinstance(value, MappingABC) or value in (None, 1, 2, "separate"):
        return value
    raise must("1 (shared), 2 (one read, one write), separate (one for each transfer), or a mapping of ports", value)


_names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_pair = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}

Bandwidth = Annotated[
    tuple[int, int], BeforeValidator(_bandwidth), WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _pair]})
]


class PortFile(Spec):
    """A port: what it carries, and how many bits a cycle. Left out: everything of its kind that no other port names."""

    kind: Literal["read", "write", "read_write"] | None = None
    bandwidth_bits: Bandwidth | None = None
    transfers: Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(_transfers), WithJsonSchema(_names)] = None


class MemoryFile(Spec):
    """A memory. Energies are per access of the largest bandwidth; ``costs`` names a source of those not given."""

    operands: Annotated[list[Operand], BeforeValidator(_some), WithJsonSchema(_names)]
    size_bits: Count | None = None
    size_bytes: Count | None = None
    size_kib: Count | None = None
    size_mib: Count | None = None
    bandwidth_bits: Bandwidth | None = None
    read_energy_pj: Cost | None = None
    write_energy_pj: Cost | None = None
    area_mm2: Cost | None = None
    leakage_mw: Cost | None = None
    costs: Annotated[
        Name | None,
        Field(
            description="source of memory costs: a name of the zoo, cacti, or a CSV file, from this file's folder on"
        ),
    ] = None
    serves: Annotated[list[str] | None, BeforeValidator(_served), WithJsonSchema(_names)] = None
    double_buffered: bool = False
    ports: Annotated[
        Any,
        BeforeValidator(_ports),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": [1, 2, "separate"]},
                    {"type": "object", "additionalProperties": PortFile.model_json_schema()},
                ]
            }
        ),
    ] = None

    @model_validator(mode="after")
    def _one_size(self) -> MemoryFile:
        given = [key for key in _SIZE_UNITS if getattr(self, key) is not None]
        if not given:
            raise ValueError(f"the key size_bits is missing (or one of {listed(list(_SIZE_UNITS)[1:])})")
        if len(given) > 1:
            raise ValueError(f"gives its size twice, as {' and as '.join(given)}")
        return self

    @property
    def bits(self) -> int:
        """The size in bits."""
        return int(getattr(self, self.size_key)) * _SIZE_UNITS[self.size_key]

    @property
    def size_key(self) -> str:
        """The key under which the file gives the size."""
        return next(key for key in _SIZE_UNITS if getattr(self, key) is not None)


class ArchitectureFile(Spec):
    """An architecture: the array, and the memories around it, innermost first."""

    name: Name | None = None
    array: Array
    memories: dict[str, MemoryFile]
    technology: Annotated[
        Name | None, Field(description="name of the zoo, or a file, from this file's folder on; left out: 28nm")
    ] = None
    chip: Annotated[ChipFile | None, Field(description="the published chip that the array stands for")] = None


def architecture(document: Document, name: str) -> Architecture:
    """Build an architecture from a file of ours; ``name`` is used where the file gives none."""
    document.refuse_duplicates()
    file = document.parse(ArchitectureFile, document.data)
    problem = reversed_memories([(key, memory.bits, memory.operands) for key, memory in file.memories.items()])
    if problem is not None:
        raise document.error(("memories", problem[0]), problem[1])
    cells = next((key for key, memory in file.memories.items() if "W" in memory.operands), None)
    memories = []
    for index, (key, memory) in enumerate(file.memories.items()):
        above = [operand for later in list(file.memories.values())[index + 1 :] for operand in later.operands]
        in_array = file.array.kind != "mac" and key == cells
        at: Path = ("memories", key)
        costs = {key: getattr(memory, key) for key in _COSTS}
        costs_from = ""
        if memory.costs is not None:
            found, interpolated = _costs(document, at, memory, file.array if in_array else None)
            costs = {key: found[key] if value is None else value for key, value in costs.items()}
            costs_from = f"{memory.costs} (interpolated)" if interpolated else memory.costs
        energies = {key: costs[key] for key in ("read_energy_pj", "write_energy_pj")}
        if in_array and energies["read_energy_pj"] is None:
            energies["read_energy_pj"] = 0.0  # reading a weight is part of the array's own energy
        for energy, value in energies.items():
            if value is None:
                raise document.error(at, f"the key {energy} is missing")
        serves = memory.serves
        if serves is None:
            serves = [] if in_array else list(file.array.dimensions)
        elif serves == ["all"] and "all" not in file.array.dimensions:
            serves = list(file.array.dimensions)
        memories.append(
            {
                "name": key,
                "size_bits": memory.bits,
                **energies,
                "area_mm2": costs["area_mm2"] or 0.0,
                "leakage_mw": costs["leakage_mw"] or 0.0,
                "costs_from": costs_from,
                "operands": memory.operands,
                "ports": _build_ports(document, at, memory, above, file.array.weight_bits if in_array else None),
                "serves": serves,
                "double_buffered": memory.double_buffered,
            }
        )
    technology = None
    if file.technology is not None:
        try:
            technology = load_technology(document.beside(file.technology))
        except InputError as error:
            raise document.error(("technology",), str(error)) from None
    remarks: tuple[str, ...] = ()
    if file.chip is not None:
        remarks = ("its mappings are costed with the generic macro of its array; its chip section is for validate",)
    data = {
        "name": file.name or name,
        "array": file.array,
        "memories": memories,
        "technology": technology,
        "remarks": remarks,
    }
    to_file = renamed(
        list(file.memories), {"bandwidth_min_bits": "bandwidth_bits", "bandwidth_max_bits": "bandwidth_bits"}
    )

    def translate(where: Path) -> Path:
        place = to_file(where)
        if len(place) > 2 and place[0] == "memories":
            memory = file.memories.get(str(place[1]))
            if memory is not None and place[2] == "size_bits":
                return (*place[:2], memory.size_key)
            if memory is not None and place[2] == "ports" and not isinstance(memory.ports, MappingABC):
                return (*place[:2], "ports" if memory.ports is not None else "bandwidth_bits")
            if len(place) > 3 and place[2] == "ports" and isinstance(place[3], int) and memory is not None:
                return (*place[:3], list(memory.ports)[place[3]], *place[4:])
        return place

    return document.build(lambda: Architecture.model_validate(data), translate)


def _costs(
    document: Document, at: Path, memory: MemoryFile, array: Array | None
) -> tuple[dict[str, float | None], bool]:
    """Return what a memory's source says, and whether it stands between entries of a table.

    Of cells in an array: for the weights of one multiplier.

    All cells of a bank are one SRAM, whose word is a row of all columns (zigzag-imc).
    """
    assert memory.costs is not None
    positions, words = 1, 1
    if array is not None:
        positions, words = array.rows * array.columns, array.columns
        width = array.columns * array.weight_bits
    elif memory.bandwidth_bits is None:
        raise document.error(at, "the key bandwidth_bits is missing")
    else:
        width = memory.bandwidth_bits[1]
    try:
        found = memory_cost(document.beside(memory.costs), memory.bits * positions, width)
    except InputError as error:
        raise document.error((*at, "costs"), str(error)) from None
    costs = {
        "read_energy_pj": found.read_energy_pj if array is None else None,
        "write_energy_pj": found.write_energy_pj / words,
        "area_mm2": None if found.area_mm2 is None else found.area_mm2 / positions,
        "leakage_mw": None if found.leakage_mw is None else found.leakage_mw / positions,
    }
    return costs, found.interpolated


def _build_ports(
    document: Document, at: Path, memory: MemoryFile, above: Sequence[str], cell_bits: int | None
) -> list[dict[str, Any]]:
    """Return the ports of a memory; ``above`` are the operands stored further out, ``cell_bits`` those of a weight."""
    needed: list[tuple[str, str]] = []
    for operand in memory.operands:
        directions = transfers_of(operand, operand not in above)
        needed += [(operand, direction) for direction in PORT_ORDER if direction in directions]
    bandwidth = memory.bandwidth_bits or ((cell_bits, cell_bits) if cell_bits else None)
    choice = memory.ports if memory.ports is not None else 1 if cell_bits else 2
    if isinstance(choice, MappingABC):
        return _named_ports(document, at, choice, needed, bandwidth)
    if bandwidth is None:
        raise document.error(at, "the key bandwidth_bits is missing")
    reads = [transfer for transfer in needed if transfer[1] in READING]
    writes = [transfer for transfer in needed if transfer[1] not in READING]
    if choice == 1:
        groups = {"read_write": needed}
    elif choice == 2:
        groups = {"read": reads, "write": writes}
    else:
        groups = {" ".join(transfer): [transfer] for transfer in [*reads, *writes]}
    return [_port(name, transfers, bandwidth) for name, transfers in groups.items() if transfers]


def _port(
    name: str, transfers: list[tuple[str, str]], bandwidth: tuple[int, int], kind: str | None = None
) -> dict[str, Any]:
    kinds = {"read" if direction in READING else "write" for _, direction in transfers}
    return {
        "name": name,
        "kind": kind or (kinds.pop() if len(kinds) == 1 else "read_write"),
        "bandwidth_min_bits": bandwidth[0],
        "bandwidth_max_bits": bandwidth[1],
        "transfers": transfers,
    }


def _named_ports(
    document: Document,
    at: Path,
    choice: MappingABC[str, Any],
    needed: list[tuple[str, str]],
    bandwidth: tuple[int, int] | None,
) -> list[dict[str, Any]]:
    """Return ports that the file names one by one."""
    files = {name: document.parse(PortFile, port or {}, (*at, "ports", name)) for name, port in choice.items()}
    named = {transfer for port in files.values() for transfer in port.transfers or ()}
    ports = []
    for name, port in files.items():
        place: Path = (*at, "ports", name)
        transfers = list(port.transfers or ())
        if port.transfers is None:
            fitting = [t for t in needed if port.kind in (None, "read_write", "read" if t[1] in READING else "write")]
            transfers = [transfer for transfer in fitting if transfer not in named]
            named.update(transfers)
        if not transfers:
            raise document.error(place, "nothing is left for this port to carry; name its transfers")
        width = port.bandwidth_bits or bandwidth
        if width is None:
            raise document.error(place, "the key bandwidth_bits is missing, here and at the memory")
        ports.append(_port(name, transfers, width, port.kind))
    return ports


_PER_LAYER = ("weight_bits", "input_bits", "output_bits", "output_final_bits")
_BOTH_AXES = {
    "stride": ("stride_x", "stride_y"),
    "dilation": ("dilation_x", "dilation_y"),
    "input": ("input_x", "input_y"),
}
_WINDOW_KEYS = {
    "OX",
    "OY",
    "FX",
    "FY",
    "padding_x",
    "padding_y",
    *_BOTH_AXES,
    *(k for p in _BOTH_AXES.values() for k in p),
}
_padding = {"anyOf": [{"type": "integer", "minimum": 0}, {**_pair, "items": {"type": "integer", "minimum": 0}}]}


class LayerFile(Spec):
    """One node: a layer with its loop dimensions, in the order that counts, or a node to skip (``skip: Add``)."""

    B: Count | None = None
    G: Count | None = None
    K: Count | None = None
    C: Count | None = None
    OY: Count | None = None
    OX: Count | None = None
    FY: Count | None = None
    FX: Count | None = None
    stride: Annotated[Count | None, Field(description="stride_x and stride_y")] = None
    stride_x: Count | None = None
    stride_y: Count | None = None
    dilation: Annotated[Count | None, Field(description="dilation_x and dilation_y")] = None
    dilation_x: Count | None = None
    dilation_y: Count | None = None
    padding_x: Annotated[Any, WithJsonSchema(_padding)] = None
    padding_y: Annotated[Any, WithJsonSchema(_padding)] = None
    input: Annotated[Count | None, Field(description="input_x and input_y: width and height of the input")] = None
    input_x: Count | None = None
    input_y: Count | None = None
    weight_bits: Bits | None = None
    input_bits: Bits | None = None
    output_bits: Bits | None = None
    output_final_bits: Bits | None = None
    sliding_window: bool | None = None
    operand_order: list[Literal["W", "I", "O"]] | None = None
    operator: Name | None = None
    skip: Annotated[Name | None, Field(description="operator type of a node that does not map to the array")] = None
    #: Names of the nodes that produce the input; left out: the node before.
    from_: Annotated[list[str] | None, BeforeValidator(_some), WithJsonSchema(_names), Field(alias="from")] = None


class PrecisionFile(Spec):
    """Bits of each operand, for all layers that do not say otherwise."""

    weight_bits: Bits | None = None
    input_bits: Bits | None = None
    output_bits: Bits | None = None
    output_final_bits: Bits | None = None


class WorkloadFile(Spec):
    """A workload: its nodes by name, in order of execution."""

    name: Name | None = None
    defaults: PrecisionFile = Field(default_factory=lambda: PrecisionFile())
    layers: dict[str, LayerFile]


def workload(document: Document, name: str) -> Workload:
    """Build a workload from a file of ours; ``name`` is used where the file gives none."""
    document.refuse_duplicates()
    file = document.parse(WorkloadFile, document.data)
    defaults = {key: bits for key in _PER_LAYER if (bits := getattr(file.defaults, key)) is not None}
    layers: list[Layer] = []
    skipped: dict[str, str] = {}
    sources: dict[str, tuple[str, ...]] = {}
    nodes: list[str] = []
    for node, entry in file.layers.items():
        at: Path = ("layers", node)
        producers = entry.from_ if entry.from_ is not None else nodes[-1:]
        for producer in producers:
            if producer not in nodes:
                later = " before this one" if producer in file.layers else ""
                raise document.error(
                    (*at, "from"), f"there is no layer {shown(producer)}{later}{closest(producer, nodes)}"
                )
        if producers:
            sources[node] = tuple(dict.fromkeys(producers))
        nodes.append(node)
        raw = document.data["layers"][node]
        if entry.skip is not None:
            extra = [key for key in raw if key not in ("skip", "from")]
            if extra:
                raise document.error((*at, extra[0]), "a skipped node has the keys skip and from only")
            skipped[node] = entry.skip
        else:
            layers.append(_layer(document, at, node, raw, entry, defaults))
    if not nodes:
        raise document.error(("layers",), "lists no layers")
    data = {"name": file.name or name, "layers": layers, "sources": sources, "skipped": skipped, "nodes": tuple(nodes)}
    return document.build(lambda: Workload.model_validate(data), lambda where: ())


def _layer(
    document: Document, at: Path, name: str, raw: MappingABC[str, Any], entry: LayerFile, defaults: MappingABC[str, int]
) -> Layer:
    """Build one layer; without a window key it is a matrix product."""
    fields: dict[str, Any] = {"name": name, **defaults}
    places = {"sizes": ""}
    if not any(dim in raw for dim in LOOP_DIMENSIONS):
        raise document.error(at, f"give at least one loop dimension (of {listed(LOOP_DIMENSIONS)}), or skip: OPERATOR")
    fields["sizes"] = {dim: size for dim in raw if dim in LOOP_DIMENSIONS and (size := getattr(entry, dim)) is not None}
    for key in raw:
        value = getattr(entry, key, None)
        if key in _BOTH_AXES and value is not None:
            for axis in _BOTH_AXES[key]:
                if getattr(entry, axis) is not None:
                    raise document.error((*at, axis), f"is given twice, as {key} and as {axis}")
                fields[axis] = value
                places[axis] = key
        elif key not in LOOP_DIMENSIONS and key != "from" and value is not None:
            fields[key] = value
    if "sliding_window" not in fields and not any(key in raw for key in _WINDOW_KEYS):
        fields["sliding_window"] = False

    def translate(where: Path) -> Path:
        steps = where[1:] if where[:1] == ("sizes",) else where
        return (*at, *(places.get(str(step), step) for step in steps))

    return document.build(lambda: Layer.model_validate(fields), translate)


def _without_unrolling(where: Path) -> Path:
    """Leave out the step that the file does not have."""
    return tuple(step for step in where if step != "unrolling")


def mapping(document: Document) -> Mapping:
    """Build a mapping."""
    document.refuse_duplicates()
    if isinstance(document.data, list):
        raise document.error(
            (), "is a list, like ZigZag's mapping files, which are constraints of a search and not one mapping"
        )
    return document.build(lambda: Mapping.model_validate(document.data), _without_unrolling)


def read_mapping(path: str | FilePath) -> Mapping:
    """Read a mapping file."""
    return mapping(read_document(path))


class ConstraintsFile(Constraints):
    """Constraints for all layers, and under ``layers`` those of single layers, whose keys replace the common ones."""

    layers: dict[str, Constraints] = Field(default_factory=dict)


def constraints(document: Document) -> ConstraintSet:
    """Build the constraints of all layers."""
    document.refuse_duplicates()
    data = document.data
    if not isinstance(data, dict):
        raise document.error((), str(must("a mapping (key: value)", data)))
    common = {key: value for key, value in data.items() if key != "layers"}
    layers = data.get("layers")
    if layers is None:
        layers = {}
    if not isinstance(layers, dict):
        raise document.error(("layers",), str(must("a mapping of layer names to constraints", layers)))

    def one(values: Any, at: Path) -> Constraints:
        known = [*Constraints.model_fields, *(() if at else ("layers",))]
        if isinstance(values, dict):
            for key in values:
                if key not in known:
                    raise document.error(
                        at, f"unknown key {shown(key)}{closest(key, known)} (known keys: {listed(known)})"
                    )
        return document.build(
            lambda: Constraints.model_validate(values), lambda where: (*at, *_without_unrolling(where))
        )

    return ConstraintSet(
        source=document.file,
        common=one(common, ()),
        layers={name: one({} if values is None else values, ("layers", name)) for name, values in layers.items()},
    )


def read_constraints(path: str | FilePath) -> Constraints:
    """Read a file of constraints that hold for all layers."""
    document = read_document(path)
    if isinstance(document.data, list):
        raise document.error((), "is a list, like ZigZag's mapping files; use load_constraints")
    found = constraints(document)
    if found.layers:
        raise document.error(("layers",), "single layers are constrained here; use load_constraints")
    return found.common
