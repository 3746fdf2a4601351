"""AccelForge's mapper on one layer; ``optimal_search.py`` runs it in AccelForge's own Python environment.

Reads a problem (the layer, the array, the memories) from stdin and prints a JSON object. The problem is the closest to
fastmap's that AccelForge can express:

- every memory keeps its size, energies and bandwidth. Weights lie in the cells, one output register in each column. The
  levels of AccelForge are nested, so the input registers, one for each row and shared by all columns, are one memory;
- the columns share the input and the rows add up into the output, and any number of either may be used;
- a multiply-accumulate has one energy and one duration, in place of the model of the array.

Orders of the loops are switched off, as in AccelForge's own loader of in-memory-computing designs; its mapper is many
times slower with them. It minimises the energy-delay product, in one process; rendering the result is left out.
AccelForge 1.0.467 stops with an error where weights may stay in the cells while other tiles change, because a slice
ends one short (``remove_unordered_spatial_temporal_loops``); that slice is put right here before the search.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import json
import os
import resource
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

TENSORS = {"W": "weight", "I": "input", "O": "output"}

WORKLOAD = """\
workload:
  bits_per_value: {{I: {input_bits}, W: {weight_bits}, O: {output_bits}}}
  einsums:
  - einsum: "O[b, g, k, oy, ox] = I[b, g, c, IY: {iy}, IX: {ix}] * W[g, k, c, fy, fx]"
    iteration_space_shape: [{shape}]
    renames: {{output: O, input: I, weight: W}}
"""

MEMORY = """\
  - !Memory
    name: {name}
    size: {size_bits}
    leak_power: 0
    area: 0
    tensors: {{keep: {kept}, force_memory_hierarchy_order: {nested}}}
    total_latency: {latency}
    actions:
    - {{name: read, energy: {read_energy_pj}, bits_per_action: {bandwidth_bits}, throughput: 1}}
    - {{name: write, energy: {write_energy_pj}, bits_per_action: {bandwidth_bits}, throughput: 1}}
"""

FANOUT = """\
  - !Container
    name: {name}
    spatial: [{{name: {name}, fanout: {size}, reuse: {tensor}, power_gateable: True}}]
"""

COMPUTE = """\
  - !Compute
    name: Multiplier
    leak_power: 0
    area: 0
    actions: [{{name: compute, energy: {mac_energy_pj}, throughput: 1 / {mac_cycles}}}]
"""


def architecture(problem: dict[str, Any]) -> str:
    """The memories and the array in AccelForge's YAML, outermost first."""
    (_, columns), (rows_name, rows) = list(problem["array"].items())[:2]
    outside, column, cell = [], [], []
    for memory in problem["memories"]:
        if not memory["serves"]:
            place, together = cell, 1
        elif memory["serves"] == [rows_name]:
            place, together = column, 1
        else:
            place, together = outside, 1 if rows_name in memory["serves"] else rows
        action = f"a.n_calls / a.throughput / {together}"
        text = MEMORY.format_map({
            **memory,
            "name": f"my_{memory['name']}",  # global_buffer and others are taken
            "size_bits": memory["size_bits"] * together + 1,  # it crashes on a size of just one value
            "nested": place is not cell,  # weights may stay in the cells for longer than the rest in its registers
            "kept": " | ".join(TENSORS[operand] for operand in memory["operands"]),
            "latency": f"{'max' if memory['ports'] > 1 else 'sum'}({action} for a in actions)",
        })  # fmt: skip
        place.insert(0, text)
    return "".join([
        "arch:\n  nodes:\n",
        *outside,
        FANOUT.format(name="columns", size=columns, tensor="input"),
        *column,
        FANOUT.format(name="rows", size=rows, tensor="output"),
        *cell,
        COMPUTE.format_map(problem),
    ])  # fmt: skip


def workload(layer: dict[str, Any]) -> str:
    """The layer as an Einsum in AccelForge's YAML."""
    window = {
        f"i{axis}": f"{layer[f'stride_{axis}']} * o{axis} + {layer[f'dilation_{axis}']} * f{axis}" for axis in "xy"
    }
    shape = ", ".join(f"0 <= {dim.lower()} < {size}" for dim, size in layer["sizes"].items())
    return WORKLOAD.format_map({**layer, **window, "shape": shape})


def repair() -> None:
    """Let the last spatial loop count where AccelForge looks for loops that exclude each other."""
    folder = "accelforge.mapper.FFM._make_pmappings.make_pmapping_templates"
    module = importlib.import_module(f"{folder}.make_pmapping_templates")
    source = inspect.getsource(module.remove_unordered_spatial_temporal_loops)
    exec(source.replace("mapping[i + 1 : check_up_to]", "mapping[i + 1 : check_up_to + 1]"), module.__dict__)


def cpu_seconds() -> float:
    """CPU seconds of this process and of the processes that it waited for."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1, help="searches after the first, in the same process")
    options = parser.parse_args()
    problem = json.load(sys.stdin)
    before = cpu_seconds()
    import accelforge
    from accelforge.mapper.FFM.main import map_workload_to_arch

    result: dict[str, Any] = {"version": metadata.version("accelforge"), "cpu_s_import": cpu_seconds() - before}
    repair()
    accelforge.set_n_parallel_jobs(1)
    searches = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        os.chdir(folder)  # it may write files
        Path("architecture.yaml").write_text(architecture(problem))
        Path("workload.yaml").write_text(workload(problem["layer"]))
        for _ in range(1 + options.repeat):
            cpu, wall = cpu_seconds(), time.perf_counter()
            spec = accelforge.Spec.from_yaml("architecture.yaml", "workload.yaml")
            spec.mapper.metrics = accelforge.Metrics.ENERGY_DELAY_PRODUCT
            spec.mapper.explore_imperfect_spatial_loops = True
            spec.mapper.explore_loop_orders = False
            found = map_workload_to_arch(spec, print_progress=False, eval_in_detail=False)
            searches.append((cpu_seconds() - cpu, time.perf_counter() - wall))
        os.chdir("/")
    result["cpu_s"], result["wall_s"] = searches[0]
    result["cpu_s_repeated"] = [cpu for cpu, _ in searches[1:]]
    result["own_edp_pj_cycles"] = float(found.data["Total<SEP>energy_delay_product"].min())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
