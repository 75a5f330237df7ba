"""How kernels are compiled: the one place where Numba's options stand, each with its reason."""

from collections.abc import Callable
from typing import TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., object])

OPTIONS = {
    # A division by zero is IEEE's infinity or NaN: Python's exception would need Python.
    "error_model": "numpy",
    # Reassociating or assuming finite numbers would change the bits and hide NaN.
    "fastmath": False,
    # Addresses are checked before a kernel is entered, not inside.
    "boundscheck": False,
}


def kernel(function: F) -> F:
    """Mark a function as part of the kernels: compiled with whatever entry point calls it, when that is compiled."""
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)  # type: ignore[no-any-return]
