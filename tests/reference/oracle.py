"""The reference numbers in ``tests/data/oracle``: mappings and what zigzag-dse 3.9.1 says they cost."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent / "data" / "oracle"

#: One file per accelerator, and one of corner cases on all of them.
FILES = tuple(sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz")))


@functools.cache
def hardware(name: str) -> dict[str, Any]:
    """An accelerator in ZigZag's format. Shared between callers: do not change it."""
    return yaml.safe_load((FOLDER / "hw" / f"{name}.yaml").read_text(encoding="utf-8"))


def cases(*files: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """``(name of the accelerator, accelerator, case, result)`` of every case in the named files, or in all.

    ``result["status"]`` is "ok", "MemoryTooSmallException" for a mapping that does not fit, or "crash" where ZigZag
    itself fails; only with "ok" are there numbers.
    """
    for file in files or FILES:
        for entry in json.loads(gzip.decompress((FOLDER / f"{file}.json.gz").read_bytes())):
            case, result = entry["case"], entry["result"]
            yield case["hw"], hardware(case["hw"]), case, result
