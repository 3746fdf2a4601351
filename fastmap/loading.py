"""Loading architectures, workloads, mappings and constraints by zoo name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastmap import zoo
from fastmap._spec import Spec, closest, listed, shown
from fastmap.architecture import Architecture
from fastmap.chip import ChipFile
from fastmap.constraints import ConstraintSet
from fastmap.errors import InputError
from fastmap.mapping import Mapping
from fastmap.readers import native, zigzag
from fastmap.readers.source import Document, parse_document, read_document
from fastmap.technology import TechnologyFile
from fastmap.workload import Workload

#: Kinds of files that :func:`json_schema` describes.
SCHEMA_KINDS = ("architecture", "workload", "mapping", "constraints", "technology")


def load_architecture(name_or_path: str | Path | Architecture) -> Architecture:
    """Return the architecture of that name in the zoo, or in a file of ours or ZigZag's."""
    if isinstance(name_or_path, Architecture):
        return name_or_path
    document = _open("architecture", name_or_path)
    data = document.data
    if not isinstance(data, dict):
        raise document.error((), "must be a mapping (key: value) with the keys array and memories")
    words = [word for key in data if (word := closest(key, ("array", "operational_array")))]
    if "array" not in data and ("operational_array" in data or "operational_array" in "".join(words)):
        return zigzag.architecture(document)
    return native.architecture(document, _stem(name_or_path))


def load_chip(name_or_path: str | Path) -> ChipFile | None:
    """Return what an architecture of the zoo or in a file of ours says about a published chip, if anything."""
    document = _open("architecture", name_or_path)
    data = document.data
    if not isinstance(data, dict) or "chip" not in data:
        return None
    return document.parse(native.ArchitectureFile, data).chip


def load_workload(name_or_path: str | Path | Workload) -> Workload:
    """Return the workload of that name in the zoo, or in an ONNX file or a YAML file of ours or ZigZag's."""
    if isinstance(name_or_path, Workload):
        return name_or_path
    if str(name_or_path).lower().endswith(".onnx"):
        from fastmap.readers import onnx

        return onnx.read_workload(name_or_path)
    document = _open("workload", name_or_path)
    if isinstance(document.data, list):
        return zigzag.workload(document, _stem(name_or_path))
    return native.workload(document, _stem(name_or_path))


def load_mapping(path: str | Path) -> Mapping:
    """Return the mapping in a file."""
    return native.read_mapping(path)


def load_constraints(path: str | Path) -> ConstraintSet:
    """Return the constraints in a file of ours, or in ZigZag's mapping file (a list of entries by operator type)."""
    document = read_document(path)
    if isinstance(document.data, list):
        return zigzag.constraints(document)
    return native.constraints(document)


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of one kind of our files, for editors."""
    models: dict[str, type[Spec]] = {
        "architecture": native.ArchitectureFile,
        "workload": native.WorkloadFile,
        "mapping": Mapping,
        "constraints": native.ConstraintsFile,
        "technology": TechnologyFile,
    }
    if kind not in models:
        raise InputError(f"there is no schema {shown(kind)}{closest(kind, models)} (known: {listed(models)})")
    schema = models[kind].model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    spatial = schema.get("$defs", {}).get("SpatialMapping")
    if spatial is not None:  # files write the unrolling itself
        schema["$defs"]["SpatialMapping"] = {**spatial["properties"]["unrolling"], "title": "SpatialMapping"}
    return schema


def _open(kind: str, name_or_path: str | Path) -> Document:
    """Parse a file; a name without such a file is looked up in the zoo."""
    text = str(name_or_path)
    try:
        exists = bool(text) and Path(text).is_file()
    except (OSError, ValueError):
        exists = False
    if not exists and isinstance(name_or_path, str):
        names = zoo.names(kind)
        if text in names:
            return parse_document(zoo.text(kind, text), f"{text}.yaml (zoo)")
        if not ("/" in text or "\\" in text or text.lower().endswith((".yaml", ".yml", ".json"))):
            raise InputError(
                f"there is no {kind} {shown(text)}{closest(text, names)} (zoo: {listed(names)}; or give a path)"
            )
    return read_document(name_or_path)


def _stem(name_or_path: str | Path) -> str:
    """Return a name for what a file leaves unnamed."""
    stem = Path(str(name_or_path)).stem
    return stem if stem.isprintable() and stem.strip() else "unnamed"
