"""The decorators of every kernel, and a cache that notices an edit in any kernel file.

Numba's own cache looks only at the file of the compiled entry point: an edit in a callee of another file would run old
code. So the cache folder is keyed by the content of this whole folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.types import Array, BaseTuple, unliteral

from ._callee import CalleeCompiler, LeafCompiler

_HERE = Path(__file__).resolve().parent


def _content_key() -> str:
    """Hash of every kernel source and of the numba version that compiles it."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    """NUMBA_CACHE_DIR, else the user's cache folder, each with a subfolder for this content."""
    base = os.environ.get("NUMBA_CACHE_DIR")
    if base is None:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastmap")
    return str(Path(base) / _content_key())


config.CACHE_DIR = _cache_folder()  # type: ignore[attr-defined]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel: nogil so that Python threads run it in parallel; cached so that a second process starts warm;
    numpy's error model so that a division needs no test for zero (which would block vectorisation); no wrapper for C,
    which nobody calls and which takes time to compile.

    Where a loop is to be vectorised, its variable starts at 0 and the arrays are slices: of an index that may be
    negative for all that numba knows, every element is read by itself.

    It allocates no array and returns none, nor does what it calls, so that no references need to be counted, which
    would take a third of the time of a search.
    """
    return _compiled(function, inline="never", _nrt=False)


def leaf(function: Callable[..., Any]) -> Any:
    """Compile a kernel whose loop needs the registers for itself: it does not become part of a large caller, which has
    its variables in memory.
    """
    return _compiled(function, inline="never", _nrt=False, callee=LeafCompiler)


def allocating(function: Callable[..., Any]) -> Any:
    """Compile a kernel that allocates arrays, or calls one that does."""
    return _compiled(function, inline="never")


def formula(function: Callable[..., Any]) -> Any:
    """Compile a kernel of a few lines as part of each of its callers: a compilation of its own would take longer."""
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], callee: type[CalleeCompiler] = CalleeCompiler, **options: Any) -> Any:
    options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    compiled: Any = numba.njit  # its type stubs do not know all of these
    called_from_python = compiled(cache=True, **options)(function)
    called = compiled(no_cpython_wrapper=True, pipeline_class=callee, **options)(function)

    def get_call_template(args: Any, kws: Any) -> Any:
        """Numba would compile a callee anew for every constant that it is called with."""
        found = called.get_call_template(
            [unliteral(each) for each in args], {name: unliteral(each) for name, each in kws.items()}
        )
        if "_nrt" in options and any(_holds_array(each.return_type) for each in called.nopython_signatures):
            raise TypeError(f"kernel {function.__name__} returns an array, whose references nobody would count")
        return found

    # What numba asks of a function that a kernel calls: its signature, and what that of its code is kept under.
    called_from_python.get_call_template = get_call_template
    called_from_python.get_overload = called.get_overload
    return called_from_python


def _holds_array(kind: Any) -> bool:
    members: Any = kind if isinstance(kind, BaseTuple) else ()
    return isinstance(kind, Array) or any(_holds_array(each) for each in members)
