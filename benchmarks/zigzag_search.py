"""ZigZag's own search of one layer: the mapping that it returns for the least EDP, and the CPU seconds that it takes.

The stages are those of ``zigzag.api`` for in-memory computing with ``opt="EDP"``, without those that keep data between
the layers of a network in lower memories, which would make a single layer another problem, and those that write files.
Import it with the repository root on the path; needs the extra ``parity``.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from fastmap import Architecture, Layer, Mapping
from fastmap.dimensions import OPERANDS
from tests.reference import zigzag_live

HARDWARE = Path(__file__).resolve().parent.parent / "tests" / "data" / "zigzag" / "hardware"
MAPPING = HARDWARE.parent / "mapping" / "default_imc.yaml"
DEFAULT_LIMIT = 6
OPERAND = {"W": "I2", "I": "I1", "O": "O"}
DIRECTION = {"rd_out_to_low": "tl", "wr_in_by_low": "fl", "rd_out_to_high": "th", "wr_in_by_high": "fh"}


@dataclass(frozen=True)
class Found:
    """What ZigZag returns: its best mapping with its own numbers, and the seconds that it took."""

    mapping: Mapping
    energy_pj: float
    latency_cycles: float
    cpu_seconds: float
    wall_seconds: float


def accelerator_file(architecture: Architecture, folder: str | Path) -> Path:
    """ZigZag's own description of an accelerator where the tests have one, else one written into the folder."""
    path = HARDWARE / f"{architecture.name}.yaml"
    if not path.exists():
        path = Path(folder) / f"{architecture.name}.yaml"
        path.write_text(yaml.safe_dump(accelerator(architecture), sort_keys=False))
    return path


def accelerator(architecture: Architecture) -> dict[str, Any]:
    """Convert an in-memory-computing architecture to ZigZag's format."""
    array, memories = architecture.array, {}
    for memory in architecture.memories:
        memories[memory.name] = {
            "size": memory.size_bits,
            "r_cost": memory.read_energy_pj,
            "w_cost": memory.write_energy_pj,
            "area": memory.area_mm2,
            "latency": 1,
            "operands": [OPERAND[operand] for operand in memory.operands],
            "ports": [
                {
                    "name": f"{port.kind[0] if port.kind != 'read_write' else 'rw'}_port_{number}",
                    "type": port.kind,
                    "bandwidth_min": port.bandwidth_min_bits,
                    "bandwidth_max": port.bandwidth_max_bits,
                    "allocation": [f"{OPERAND[operand]}, {DIRECTION[way]}" for operand, way in port.transfers],
                }
                for number, port in enumerate(memory.ports, 1)
            ],
            "served_dimensions": list(memory.serves),
        }
    return {
        "name": architecture.name,
        "memories": memories,
        "operational_array": {
            "is_imc": True,
            "imc_type": array.kind,
            "input_precision": [array.activation_bits, array.weight_bits],
            "bit_serial_precision": array.bits_per_cycle,
            **({} if array.adc_bits is None else {"adc_resolution": array.adc_bits}),
            "dimensions": list(array.dimensions),
            "sizes": list(array.dimensions.values()),
        },
    }


def workload(layer: Layer) -> list[dict[str, Any]]:
    """The layer as a network of its own."""
    order = ("B", "K", "G", "OX", "OY", "C", "FX", "FY")
    return [
        {
            "id": 0,
            "name": layer.name,
            "operator_type": "Conv",
            "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
            "dimension_relations": [
                f"ix={layer.stride_x}*ox+{layer.dilation_x}*fx",
                f"iy={layer.stride_y}*oy+{layer.dilation_y}*fy",
            ],
            "loop_dims": list(order),
            "loop_sizes": [layer.size(dim) for dim in order],
            "pr_loop_dims": ["IX", "IY"],
            "pr_loop_sizes": [layer.clip_x, layer.clip_y],
            "operand_precision": {
                "W": layer.weight_bits,
                "I": layer.input_bits,
                "O": layer.output_bits,
                "O_final": layer.output_final_bits,
            },
            "operand_source": {"I": 0, "W": 0},
        }
    ]


def orders(layer: Layer, architecture: Architecture) -> dict[int, int]:
    """How many orders ZigZag costs at each limit from its default to the last that makes a difference."""
    zigzag_live.require_zigzag()
    from zigzag.opt.loma.engine import LomaEngine
    from zigzag.stages.stage import Stage

    class CountStage(Stage):  # type: ignore[misc]
        """In place of the search: how many orders one spatial mapping has."""

        def run(self) -> Any:
            found: dict[int, int] = {}
            for limit in range(DEFAULT_LIMIT, 100):
                engine = LomaEngine(**{**self.kwargs, "mapping_type": None, "loma_lpf_limit": limit})
                engine.temporal_loop_dim_size = engine.get_temporal_loops()
                engine.update_min_lpf_factor(engine.temporal_loop_dim_size)
                engine.get_prime_factors()
                found[limit] = engine.nb_permutations
                if len(engine.lpfs) < limit:
                    break
            yield SimpleNamespace(orders=found), None

        def is_leaf(self) -> bool:
            return True

    counts = [result.orders for result, _ in _run(layer, architecture, [], [CountStage])]
    longest = max(counts, key=len)
    return {limit: sum(each.get(limit, each[max(each)]) for each in counts) for limit in list(longest)[:-1] or longest}


def search(layer: Layer, architecture: Architecture, limit: int) -> Found:
    """Search one layer in this process; reading the files is part of the time, importing ZigZag is not."""
    zigzag_live.require_zigzag()
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.mapping.temporal_mapping_generator_stage import TemporalMappingGeneratorStage
    from zigzag.stages.results.reduce_stages import MinimalEDPStage

    cpu, wall = time.process_time(), time.perf_counter()
    results = _run(
        layer,
        architecture,
        [MinimalEDPStage],
        [MinimalEDPStage, TemporalMappingGeneratorStage, CostModelStage],
        loma_lpf_limit=limit,
    )
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    best = results[0][0]
    return Found(translate(best), float(best.energy_total), float(best.latency_total2), cpu, wall)


def _run(layer: Layer, architecture: Architecture, outer: list[Any], inner: list[Any], **options: Any) -> list[Any]:
    """Run ZigZag's stages with others around and inside the generator of spatial mappings."""
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.stages.main import MainStage
    from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
    from zigzag.stages.parser.accelerator_parser import AcceleratorParserStage
    from zigzag.stages.parser.workload_parser import WorkloadParserStage
    from zigzag.stages.workload_iterator import WorkloadStage

    parsers = [WorkloadParserStage, AcceleratorParserStage, WorkloadStage]
    with tempfile.TemporaryDirectory() as folder, zigzag_live.silent(), contextlib.redirect_stdout(io.StringIO()):
        return list(
            MainStage(
                [*parsers, *outer, SpatialMappingGeneratorStage, *inner],
                workload=workload(layer),
                accelerator=str(accelerator_file(architecture, folder)),
                mapping=str(MAPPING),
                loma_show_progress_bar=False,
                nb_mappings_generated=3,
                enable_mix_spatial_mapping_generation=True,
                temporal_mapping_type=TemporalMappingType.UNEVEN,
                access_same_data_considered_as_no_access=True,
                **options,
            ).run()
        )


def translate(evaluation: Any) -> Mapping:
    """ZigZag's mapping with ZigZag's allocation, as fastmap's; the loop of one iteration of a full unrolling goes."""
    spatial = {
        str(array_dim): {str(dim): int(factor) for dim, factor in loops.items()}
        for array_dim, loops in evaluation.layer.spatial_mapping.items()
    }
    levels = {
        str(operand): [[(str(dim), int(size)) for dim, size in level if size > 1] for level in chain]
        for operand, chain in evaluation.temporal_mapping.mapping_dic_origin.items()
    }
    return Mapping.from_dict(
        {
            "spatial": spatial,
            "temporal": [loop for level in levels["O"] for loop in level],
            "allocation": {operand: list(accumulate(len(level) for level in levels[operand])) for operand in OPERANDS},
        }
    )
