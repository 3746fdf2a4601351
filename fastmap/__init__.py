"""fastmap: exhaustive mapping search for in-memory-computing accelerators."""

from __future__ import annotations

from pathlib import Path as _Path

_here = _Path(__file__).resolve().parent
if not (_here / "kernels").is_dir():  # a source checkout keeps the kernels beside the package
    __path__.append(str(_here.parent))

__version__ = "0.1.0"

_PUBLIC = {
    "Architecture": "fastmap.architecture",
    "Constraints": "fastmap.mapping",
    "Evaluation": "fastmap.evaluation",
    "FastmapError": "fastmap.errors",
    "Keep": "fastmap.keep",
    "Layer": "fastmap.layer",
    "Mapping": "fastmap.mapping",
    "SearchResult": "fastmap.result",
    "SpatialMapping": "fastmap.mapping",
    "Workload": "fastmap.workload",
    "compare": "fastmap.comparison",
    "evaluate": "fastmap.evaluation",
    "explain": "fastmap.explanation",
    "further_chips": "fastmap.validation",
    "load_architecture": "fastmap.loading",
    "load_constraints": "fastmap.loading",
    "load_mapping": "fastmap.loading",
    "load_technology": "fastmap.technology",
    "load_workload": "fastmap.loading",
    "macro_report": "fastmap.macro",
    "memory_cost": "fastmap.memory_costs",
    "peak_points": "fastmap.peak",
    "repairs": "fastmap.repair_effects",
    "search": "fastmap.exploration",
    "validate_chips": "fastmap.validation",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import public names when they are first used, so that ``import fastmap`` stays cheap."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
