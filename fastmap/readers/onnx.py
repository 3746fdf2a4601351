"""ONNX models."""

from __future__ import annotations

from pathlib import Path as FilePath

from fastmap.errors import InputError
from fastmap.workload import Workload


def read_workload(path: str | FilePath) -> Workload:
    """Read the layers of an ONNX model."""
    raise InputError(f"{path}: ONNX files are not read yet")
