"""How a kernel is compiled that another one calls.

Numba optimises every callee, with all that it calls in turn, and emits machine code for it: on each level of a tree of
calls everything below once more, although the kernel at the top takes nothing of a callee but its code. Here a callee
is only translated into that; all of it is optimised once, as part of the kernel that Python calls. A search compiles
in two thirds of the time, takes a third of the room on disk, and is no slower.
"""

from __future__ import annotations

import copy
from typing import Any

from numba import _dynfunc  # type: ignore[attr-defined]
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class CalleeLibrary(JITCodeLibrary):
    """The code of one callee, which is only read: by the libraries of kernels that call it."""

    def finalize(self) -> None:
        """Neither optimise it nor make it executable."""
        self._finalized = True


class LeafLibrary(CalleeLibrary):
    """The code of a callee that remains a function of its own."""

    def finalize(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration:
                function.add_function_attribute("noinline")
        super().finalize()


class CalleeCompiler(CompilerBase):
    """Numba's compiler but for its end."""

    library: type[CalleeLibrary] = CalleeLibrary

    def define_pipelines(self) -> list[Any]:
        """The usual passes; what they do with the code at the end is up to the library and the context."""
        context = copy.copy(self.state.targetctx)
        insert = context.insert_user_function

        def get_executable(library: Any, description: Any, environment: Any) -> Any:
            """What numba keeps a callee under; not to be called."""
            name = description.qualname
            return _dynfunc.make_function(description.lookup_module(), name, name, 0, environment, (library,))

        def insert_user_function(function: Any, description: Any, libraries: Any) -> None:
            """Who calls it needs also what it calls, which its library does not hold."""
            (library,) = libraries
            insert(function, description, [library, *dict.fromkeys(library._linking_libraries)])

        context.get_executable, context.insert_user_function = get_executable, insert_user_function
        self.state.targetctx = context
        self.state.library = self.library(context.codegen(), self.state.func_id.func_qualname)
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class LeafCompiler(CalleeCompiler):
    library = LeafLibrary
