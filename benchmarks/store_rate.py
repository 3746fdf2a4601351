"""Rows to and from disk: how fast an exhaustive search keeps every row, how large they are, how long questions take.

Every figure is of a process of its own, kernels loaded: wall-clock seconds, CPU seconds of all its threads, peak
memory. The rate of two processors is given twice: as it was (wall clock), and as it would be with two processors to
itself (CPU seconds), since other programs may run beside. The search is the whole of it: enumeration, costs,
histograms, compression, files brought to disk. The questions read all rows: no index, no selection of chunks.

Run: python benchmarks/store_rate.py [--folder F] [--spatial-mappings N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

NETWORK, LAYER, ARCHITECTURE = "ds_cnn", "conv1", "aimc_4level"
QUESTIONS = {
    "filter by energy and latency, count": (
        "sum(mine.scan(source, len, read('energy_pj < 1.1 * best and latency_cycles < 1e6')))"
    ),
    "filter, the 20 best by EDP": (
        "len(mine.select([source], where='energy_pj < 1.1 * best', sort='edp_pj_ns', limit=20))"
    ),
    "group by spatial mapping": "len(mine.group([source], ['spatial']))",
    "group by spatial mapping, median": "len(mine.group([source], ['spatial'], ['median:edp_pj_ns']))",
    "group by stationary operand": "len(mine.group([source], ['stationary']))",
    "Pareto front": "len(mine.pareto([source]))",
    "percentile of an EDP": "mine.rank(source, 1e12).better",
    "what the best 1 % have in common": "len(mine.common(source, 0.01))",
}


def write(path: str, spatial_mappings: int) -> dict[str, Any]:
    import fastmap as fm
    from fastmap.exhaustive import compile_kernels
    from fastmap.mapspace import Mapspace

    layer, architecture = fm.load_workload(NETWORK)[LAYER], fm.load_architecture(ARCHITECTURE)
    constraints = fm.Constraints(max_spatial_mappings=spatial_mappings)
    compile_kernels(Mapspace.build(layer, architecture, constraints))
    wall, cpu = time.perf_counter(), time.process_time()
    found = fm.search(
        layer, architecture, strategy="exhaustive", constraints=constraints, keep="all", output=path, force=True
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert found.kept is not None
    rows, size = found.kept.rows, sum(part.stat().st_size for part, _ in found.kept.parts) + os.stat(path).st_size
    return {
        "rows": rows,
        "mappings": found.statistics["mappings_fitting"],
        "spatial_mappings": len(found.space.orders),
        "bytes_per_row": size / rows,
        "seconds": wall,
        "cpu_seconds": cpu,
        "rows_per_minute": 60 * rows / wall,
        "rows_per_minute_of_two_processors": 2 * 60 * rows / cpu,
    }


def ask(path: str, question: str) -> dict[str, Any]:
    from fastmap import mine
    from fastmap.expression import read_expression

    source = mine.open_sources([path])[0]
    mine.group([source], ["stationary"], ["count"], "spatial_index < 0")  # opens every part and loads what is needed
    wall, cpu = time.perf_counter(), time.process_time()
    answer = eval(QUESTIONS[question], {"mine": mine, "source": source, "read": read_expression})
    return {"answer": answer, "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def main() -> None:
    """Measure, print, write results/store_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="where to write the rows (default: a temporary folder)")
    parser.add_argument("--spatial-mappings", type=int, default=80, help="the more, the more rows")
    parser.add_argument("-o", "--output", default=str(ROOT / "results" / "store_rate.json"))
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        kind, *arguments = options.task
        result = write(arguments[0], int(arguments[1])) if kind == "write" else ask(*arguments)
        result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps(result))
        return

    def measured(*task: str) -> Any:
        call = [sys.executable, __file__, "--task", *task]
        return json.loads(subprocess.run(call, stdout=subprocess.PIPE, check=True, text=True).stdout)

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = str(Path(folder) / "rows.h5")
        written = measured("write", path, str(options.spatial_mappings))
        for name, value in written.items():
            print(f"{name:36} {value:,.4g}" if isinstance(value, float) else f"{name:36} {value:,}", flush=True)
        print("\n| question | seconds | CPU seconds | MB |\n|---|---:|---:|---:|")
        asked = {}
        for question in QUESTIONS:
            found = asked[question] = measured("ask", path, question)
            figures = (f"{found[name]:.1f}" for name in ("seconds", "cpu_seconds", "peak_memory_mb"))
            print(f"| {question} | {' | '.join(figures)} |", flush=True)
    summary = {
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "space": f"{NETWORK} {LAYER} on {ARCHITECTURE}",
        "written": written,
        "asked": asked,
    }
    Path(options.output).write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
