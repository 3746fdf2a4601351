"""Costs of single mappings, computed by the installed zigzag-dse itself.

:func:`evaluate_with_zigzag` takes a case in the format of the reference files (a layer, an accelerator, the unrollings
per array dimension and the temporal order) and returns what those files call its ``result``. It assembles ZigZag's own
parser, spatial mapping conversion, memory allocator and IMC cost model; no number is computed here.

ZigZag is imported inside the functions only, so that this module can be imported without it. It is silenced while it
runs and writes no file.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from itertools import pairwise
from typing import Any

#: The only version whose numbers fastmap promises to reproduce.
ZIGZAG_VERSION = "3.9.1"

#: Layer operands to memory operands, for every layer.
MEMORY_OPERANDS = {"O": "O", "W": "I2", "I": "I1"}

Loop = tuple[str, int]
#: Array dimension to its unrolled loops, as a mapping or as the pairs of the reference files.
Spatial = Mapping[str, Any] | Sequence[Any]
#: Per operand, how many loops of the order lie at or below each memory level, innermost level first.
Allocation = Mapping[str, Sequence[int]]


class DoesNotFit(Exception):  # noqa: N818 - the name says what happened to the mapping, which is no error
    """ZigZag rejects the mapping: some memory, or the whole hierarchy, is too small for this temporal order."""


@dataclass(frozen=True)
class Prepared:
    """Everything that does not depend on the temporal order, as ZigZag's own objects."""

    accelerator: Any
    layer: Any
    spatial: Any
    spatial_int: Any


def missing() -> str:
    """What has to be installed before ZigZag can run, as a sentence; empty if nothing."""
    advice = "install it with: pip install 'fastmap[parity]'"
    try:
        version = metadata.version("zigzag-dse")
    except metadata.PackageNotFoundError:
        return f"zigzag-dse is not installed; {advice}"
    if version != ZIGZAG_VERSION:
        return f"zigzag-dse must be {ZIGZAG_VERSION}, not {version}; {advice}"
    try:
        metadata.version("six")
    except metadata.PackageNotFoundError:
        return f"six, which zigzag-dse needs but does not declare, is not installed; {advice}"
    return ""


def require_zigzag() -> None:
    """Raise an ImportError that says what is missing, unless ZigZag can run."""
    if reason := missing():
        raise ImportError(reason)


@contextmanager
def silent() -> Iterator[None]:
    """Keep ZigZag from logging, its validation messages included."""
    logger = logging.getLogger("zigzag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def prepare(layer: Mapping[str, Any], hw: Mapping[str, Any], spatial: Spatial) -> Prepared:
    """Parse the layer and the accelerator, and convert the spatial mapping.

    `hw` is an accelerator file as parsed YAML; `layer` has the fields of ZigZag's workload files, with ``op`` for the
    operator type. Weights are constant unless the layer gives an ``operand_source``.
    """
    require_zigzag()
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.mapping.spatial_mapping_conversion import SpatialMappingConversionStage

    with silent():
        accelerator = _accelerator(json.dumps(hw))
        node = _layer(layer)
        node.spatial_mapping = _user_spatial(spatial, accelerator)
        stage = SpatialMappingConversionStage([CostModelStage], accelerator=accelerator, layer=copy.copy(node))
        fractional, integer = stage.convert_user_spatial_mapping(node.spatial_mapping)
    return Prepared(accelerator, node, fractional, integer)


def order_of_loops(temporal: Iterable[Sequence[Any]]) -> list[tuple[Any, int]]:
    """The temporal order, innermost loop first, in ZigZag's own types."""
    from zigzag.datatypes import LayerDim

    return [(LayerDim(dim), size) for dim, size in temporal]


def allocate(prepared: Prepared, order: Sequence[tuple[Any, int]]) -> Any:
    """Allocate the loops to the memories as ZigZag does; raise :class:`DoesNotFit` where it gives up."""
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.opt.loma.memory_allocator import (
        MemoryAllocator,
        MemoryHierarchyTooSmallException,
        MemoryTooSmallException,
    )

    allocator = MemoryAllocator(
        prepared.accelerator, prepared.layer, prepared.spatial, list(order), TemporalMappingType.UNEVEN
    )
    try:
        return allocator.run()
    except (MemoryTooSmallException, MemoryHierarchyTooSmallException) as error:
        raise DoesNotFit(str(error)) from error


def allocate_as_given(prepared: Prepared, order: Sequence[tuple[Any, int]], allocation: Allocation) -> Any:
    """Put the loops where `allocation` says. ZigZag does not check that they fit the memories."""
    from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType

    layer, levels = prepared.layer, {}
    if set(allocation) != {str(operand) for operand in layer.layer_operands}:
        raise ValueError(f"Argument 'allocation' must name the operands of {layer.equation}, not {list(allocation)}.")
    for operand in layer.memory_operand_links.layer_operands:
        cuts = [0, *allocation[str(operand)]]
        depth = len(prepared.accelerator.mem_hierarchy_dict[layer.memory_operand_links.layer_to_mem_op(operand)])
        if len(cuts) != depth + 1 or cuts != sorted(cuts) or cuts[-1] != len(order):
            raise ValueError(
                f"Argument 'allocation' must give {operand} {depth} non-decreasing counts that end with {len(order)}, "
                f"not {cuts[1:]}."
            )
        levels[operand] = [list(order[low:high]) for low, high in pairwise(cuts)]
    return TemporalMapping(levels, layer, TemporalMappingType.UNEVEN)


def cost(prepared: Prepared, temporal_mapping: Any) -> Any:
    """Run ZigZag's IMC cost model on one allocated mapping and return its evaluation object."""
    from zigzag.cost_model.cost_model_imc import CostModelEvaluationForIMC

    return CostModelEvaluationForIMC(
        prepared.accelerator,
        prepared.layer,
        prepared.spatial,
        prepared.spatial_int,
        temporal_mapping,
        access_same_data_considered_as_no_access=True,
    )


def evaluate_with_zigzag(
    layer: Mapping[str, Any],
    hw: Mapping[str, Any],
    spatial: Spatial,
    temporal: Iterable[Sequence[Any]],
    allocation: Allocation | None = None,
) -> dict[str, Any]:
    """Cost one mapping with ZigZag and return it under the names of the reference files.

    Args:
        layer: the layer, with the fields of ZigZag's workload files.
        hw: the accelerator, as parsed from ZigZag's format.
        spatial: array dimension to the unrollings a user gives, in order.
        temporal: the temporal loops, innermost first.
        allocation: per operand the number of loops at or below each memory level, innermost level first; if it is not
            given, ZigZag allocates. Capacities are not checked when it is given.

    Raises:
        DoesNotFit: ZigZag rejects the order.
        ImportError: ZigZag, or a package that it needs, is not installed.

    Where ZigZag itself crashes, its exception passes through.
    """
    prepared = prepare(layer, hw, spatial)
    order = order_of_loops(temporal)
    with silent():
        if allocation is None:
            temporal_mapping = allocate(prepared, order)
        else:
            temporal_mapping = allocate_as_given(prepared, order, allocation)
        return describe(prepared, cost(prepared, temporal_mapping))


def describe(prepared: Prepared, evaluation: Any) -> dict[str, Any]:
    """The numbers of one evaluation as plain Python data, under the names of the reference files."""
    array = prepared.accelerator.operational_array
    links = prepared.layer.memory_operand_links
    chains = prepared.accelerator.mem_hierarchy_dict
    temporal, mapping = evaluation.temporal_mapping, evaluation.mapping
    numbers = {name: _plain(getattr(evaluation, name)) for name in _NUMBERS}
    return numbers | {
        "status": "ok",
        "allowed_cycles": _directions(evaluation.allowed_mem_update_cycle),
        "double_buffer": _plain(evaluation.double_buffer_true),
        "effective_mem_utilization_individual": _plain(evaluation.effective_mem_utili_individual),
        "mapped_rows": _plain(array.mapped_rows_total_per_macro),
        "mem_energy_4way": _directions(evaluation.mem_energy_breakdown_further),
        "mem_levels": {
            str(operand): [memory.name for memory in chains[links.layer_to_mem_op(operand)]]
            for operand in prepared.layer.layer_operands
        },
        "mem_utilization_individual": _plain(evaluation.mem_utili_individual),
        "mem_utilization_shared": _plain(evaluation.mem_utili_shared),
        "psum_flag": _plain(mapping.psum_flag),
        "real_cycles": _directions(evaluation.real_data_trans_cycle),
        "spatial_internal": _plain(prepared.spatial.mapping_dict_origin),
        "spatial_internal_int": _plain(prepared.spatial_int.mapping_dict_origin),
        "stall_per_port": [
            {"mem": memory.name, "ports": _plain(stalls)}
            for memory, stalls in zip(evaluation.mem_level_list, evaluation.stall_slack_comb_collect, strict=True)
        ],
        "temporal_allocated": _plain(temporal.mapping_dic_origin),
        "temporal_merged": _plain(temporal.mapping_dic_stationary),
        "total_cycle": _plain(temporal.total_cycle),
        "unit_count": _plain(mapping.spatial_mapping.unit_count),
        "word_accesses": _directions(evaluation.memory_word_access),
    }


#: Attributes of ZigZag's evaluation that the reference files list under the same name.
_NUMBERS = (
    "area_total",
    "cycles_per_op",
    "data_offloading_cycle",
    "data_onloading_cycle",
    "energy_total",
    "ideal_cycle",
    "ideal_temporal_cycle",
    "imc_area_breakdown",
    "latency_total0",
    "latency_total1",
    "latency_total2",
    "mac_energy",
    "mac_energy_breakdown",
    "mac_spatial_utilization",
    "mac_utilization0",
    "mac_utilization1",
    "mac_utilization2",
    "mem_area_breakdown",
    "mem_energy",
    "mem_energy_breakdown",
    "stall_slack_comb",
    "tclk",
    "tclk_breakdown",
)


@lru_cache(maxsize=64)
def _accelerator(hw: str) -> Any:
    """The accelerator of a description in JSON. Nothing that follows changes it, so equal descriptions share one."""
    from zigzag.parser.accelerator_factory import AcceleratorFactory
    from zigzag.parser.accelerator_validator import AcceleratorValidator

    validator = AcceleratorValidator(json.loads(hw))
    data = validator.normalized_data
    if not validator.validate():
        raise ValueError(f"ZigZag does not accept the accelerator: {validator.validator.errors}")
    return AcceleratorFactory(data).create()


def _layer(layer: Mapping[str, Any]) -> Any:
    from zigzag.parser.workload_factory import LayerNodeFactory

    # Another layer, 0, produces the input; the weights' source is the layer itself, which makes them constant.
    data = {
        "id": 1,
        "name": layer.get("name", "layer"),
        "operator_type": layer.get("op", "Conv"),
        "operand_source": layer.get("operand_source", {"I": 0, "W": 1}),
        "pr_loop_dims": None,
        "pr_loop_sizes": None,
        "padding": None,
        "dimension_relations": [],
    }
    data |= {name: layer[name] for name in ("equation", "loop_dims", "loop_sizes", "operand_precision")}
    optional = ("dimension_relations", "pr_loop_dims", "pr_loop_sizes", "padding")
    data |= {name: layer[name] for name in optional if name in layer}
    mapping = {"name": "default", "spatial_mapping": None, "memory_operand_links": MEMORY_OPERANDS}
    return LayerNodeFactory(data, [mapping]).create()


def _user_spatial(spatial: Spatial, accelerator: Any) -> Any:
    from zigzag.datatypes import LayerDim, OADimension
    from zigzag.mapping.spatial_mapping import MappingSingleOADim, SpatialMapping

    unrollings = {}
    for array_dim, loops in _pairs(spatial):
        unrollings[OADimension(array_dim)] = MappingSingleOADim({LayerDim(dim): size for dim, size in _pairs(loops)})
    mapping = SpatialMapping(unrollings)
    mapping.initialize_oa_dims(accelerator.operational_array.dimension_sizes)
    return mapping


def _pairs(data: Any) -> list[tuple[str, Any]]:
    items = data.items() if isinstance(data, Mapping) else data
    return [(key, value) for key, value in items]


def _plain(value: Any) -> Any:
    """Plain Python data, with operands and dimensions as strings and tuples as lists."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        return value.item()
    return value if isinstance(value, (int, float)) else str(value)


def _directions(levels: Any) -> dict[str, list[dict[str, float]]]:
    """Per operand and memory level the four directions of data movement."""
    return {
        str(operand): [{str(direction): _plain(value) for direction, value in level.data.items()} for level in chain]
        for operand, chain in levels.items()
    }
