"""Compiles an entry point and all that it calls as one program: optimized once, as a whole.

Numba optimizes every function with its callees, and writes machine code for it, before it compiles the next caller,
which takes the callees in and optimizes them again. Kernels are called by nothing but kernels, so all that work but the
entry point's is thrown away: two thirds of the time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock


class _CalleeLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Functions in LLVM's language, to be linked into their callers: never optimized, never machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


@contextmanager
def whole_program(target_context: Any, entry_point: str) -> Iterator[None]:
    """Have Numba leave what it compiles meanwhile to be optimized with the function of the name ``entry_point``.

    Other threads' compilations wait.
    """
    codegen = target_context.codegen()
    create_library, get_executable = codegen.create_library, target_context.get_executable

    def create(name: str, **options: Any) -> Any:
        return create_library(name, **options) if name == entry_point else _CalleeLibrary(codegen, name, **options)

    def executable(library: Any, description: Any, environment: Any) -> Any:
        if isinstance(library, _CalleeLibrary):
            return [].copy  # Numba knows a compiled function by an object of this type; it is never called
        return get_executable(library, description, environment)

    with global_compiler_lock:
        codegen.create_library, target_context.get_executable = create, executable
        try:
            yield
        finally:
            del codegen.create_library, target_context.get_executable
