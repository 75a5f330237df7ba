"""Compiles an entry point and all that it calls as one program: optimized once, as a whole.

Numba optimizes every function with its callees, and writes machine code for it, before it compiles the next caller,
which takes the callees in and optimizes them again. Kernels are called by nothing but kernels, so all that work but the
entry point's is thrown away: two thirds of the time. What is left is optimized once, and not yet machine code: who
asked for it writes that, for a CPU of which more may be known than Numba knows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock


class _EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Functions in LLVM's language: never machine code."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _CalleeLibrary(_EntryLibrary):
    """Functions to be linked into their callers: not optimized either."""

    def _optimize_final_module(self) -> None:
        pass


@contextmanager
def whole_program(target_context: Any, entry_point: str) -> Iterator[None]:
    """Have Numba leave what it compiles meanwhile to be optimized with the function of the name ``entry_point``.

    Nothing of it becomes machine code. Other threads' compilations wait.
    """
    codegen = target_context.codegen()

    def create(name: str, **options: Any) -> Any:
        return (_EntryLibrary if name == entry_point else _CalleeLibrary)(codegen, name, **options)

    def executable(library: Any, description: Any, environment: Any) -> Any:
        return [].copy  # Numba knows a compiled function by an object of this type; it is never called

    with global_compiler_lock:
        codegen.create_library, target_context.get_executable = create, executable
        try:
            yield
        finally:
            del codegen.create_library, target_context.get_executable
