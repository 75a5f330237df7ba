"""Compiles an entry point and all that it calls as one program: linked once, optimized once, as a whole.

Numba links every function with all that it calls, optimizes it, and writes machine code for it, before it compiles the
next caller, which takes the callees in and does all that again. Kernels are called by nothing but kernels, so all that
work but the entry point's is thrown away: more than two thirds of the time. What is left is optimized once, and not yet
machine code: who asked for it writes that, for a CPU of which more may be known than Numba knows.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """A function in LLVM's language: never machine code, and linked with what it calls by `linked`."""

    _shared_module: Any

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """Return what Numba links into what it compiles later by itself, and that calls this: all of it."""
        if self._shared_module is None:
            self._shared_module = _with_callees(_inlined(self._final_module), self)
        return self._shared_module


def linked(library: Any) -> Any:
    """Return the module of a function and of all that it calls, directly or not, each once; none is optimized."""
    module = _with_callees(library._final_module, library)
    module.verify()
    return module


def _with_callees(module: Any, library: Any) -> Any:
    for callee in _callees(library):
        module.link_in(_inlined(callee._final_module))
    return module


def _inlined(module: Any) -> Any:
    """Return a copy of a module, whose functions are to be inlined, and dropped where nothing calls them any more."""
    part = module.clone()
    for function in part.functions:
        if not function.is_declaration and function.linkage == Linkage.external:
            function.linkage = "linkonce_odr"
    return part


def _callees(library: Any) -> list[Any]:
    """Return the libraries of all that a function calls, directly or not, each once and after one that calls it.

    LLVM leaves out of a module what nothing in the other calls yet.
    """
    found: dict[Any, None] = {}

    def visit(caller: Any) -> None:
        for callee in caller._linking_libraries:
            if callee not in found:
                found[callee] = None
                visit(callee)

    visit(library)
    return list(found)


def optimized(library: Any) -> Any:
    """Return the module of a function and of all that it calls, optimized as one program by Numba's passes."""
    linked(library)
    library._optimize_final_module()
    return library._final_module


@contextmanager
def whole_program(target_context: Any) -> Iterator[None]:
    """Have Numba leave what it compiles meanwhile to be linked and optimized with what calls it.

    Nothing of it becomes machine code. Other threads' compilations wait. Python looks for no garbage meanwhile: Numba
    leaves hardly any, and a sixth of the time would go into looking.
    """
    codegen = target_context.codegen()
    collects_garbage = gc.isenabled()

    def create(name: str, **options: Any) -> Any:
        return _Library(codegen, name, **options)

    def executable(library: Any, description: Any, environment: Any) -> Any:
        return [].copy  # Numba knows a compiled function by an object of this type; it is never called

    with global_compiler_lock:
        codegen.create_library, target_context.get_executable = create, executable
        gc.disable()
        try:
            yield
        finally:
            del codegen.create_library, target_context.get_executable
            if collects_garbage:
                gc.enable()
