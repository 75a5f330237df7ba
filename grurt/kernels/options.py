"""How kernels are compiled, or that they are not: the one place where Numba's options stand, each with its reason."""

import os
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

INTERPRETED = os.environ.get("GRURT_ENGINE") == "python"
"""Whether Python runs the kernels in this process, and nothing is compiled."""

OPTIONS = {
    # A division by zero is IEEE's infinity or NaN: Python's exception would need Python.
    "error_model": "numpy",
    # Reassociating or assuming finite numbers would change the bits and hide NaN.
    "fastmath": False,
    # Addresses are checked before a kernel is entered, not inside.
    "boundscheck": False,
}

if INTERPRETED:

    def kernel(function: F) -> F:
        """Mark a function as part of the kernels."""
        return function

    inlined_kernel = kernel

else:
    from numba import njit

    from grurt.kernels import codegen  # noqa: F401 - teaches Numba the instructions

    def kernel(function: F) -> F:
        """Mark a function as part of the kernels: compiled when an entry point that calls it is."""
        return _compiled(function)

    def inlined_kernel(function: F) -> F:
        """Mark a kernel that becomes part of its callers: one that takes no longer than a call and its arguments."""
        return _compiled(function, forceinline=True)

    def _compiled(function: F, **options: bool) -> F:
        compiled: F = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS, **options)(function)
        return compiled
