"""fastmap: exhaustive mapping search for in-memory-computing accelerators."""

from __future__ import annotations

from pathlib import Path as _Path

_here = _Path(__file__).resolve().parent
if not (_here / "kernels").is_dir():  # a source checkout keeps the kernels beside the package
    __path__.append(str(_here.parent))

__version__ = "0.1.0"
