"""The kernels as Python runs them: slow, and under every tool for Python, a debugger first of all.

What they compute is what the compiled ones do: `grurt.kernels.simd` and its like define each instruction.
"""

import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.errors import EngineError
from grurt.kernels import codes
from grurt.kernels.entry import advance
from grurt.kernels.objects import entered_address
from grurt.kernels.options import INTERPRETED


def entry_point() -> Callable[..., Any]:
    """Return `grurt.kernels.entry.advance`, called as if it were compiled.

    Raises
    ------
    EngineError
        If the kernels were imported, to be compiled, before GRURT_ENGINE was set.
    """
    if not INTERPRETED:
        raise EngineError("GRURT_ENGINE=python: expected it to be set before grurt is imported, got it set later")
    return _advance


def _advance(context: NDArray[np.int64], *arguments: Any) -> Any:
    """Do what the function of `grurt.kernels.fastcall` does.

    Python, unlike machine code, can be interrupted anywhere, by Ctrl-C or a debugger's `quit`: so a context counts as
    busy only as long as the call that has marked it goes on.
    """
    if context[codes.CONTEXT_BUSY] and not _is_in_use(context):
        context[codes.CONTEXT_BUSY] = codes.IDLE
    if len(arguments) == 2:
        return _claim(context, *arguments)
    objects = [each for argument in arguments for each in (argument if isinstance(argument, tuple) else [argument])]
    held = [weakref.ref(array) for array in objects if isinstance(array, np.ndarray)]
    with np.errstate(all="ignore"):  # as in machine code, what is not a number shows in the results
        status = int(advance(context, *arguments))
    del held
    return status


def _claim(context: NDArray[np.int64], work: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if entered_address(context) & codes.BUSY_BITS:
        return context
    context[codes.CONTEXT_BUSY] = codes.CLAIMED
    try:
        return work(*args)
    finally:
        context[codes.CONTEXT_BUSY] = codes.IDLE


def _is_in_use(context: NDArray[np.int64]) -> bool:
    """Return whether there is a call of `_advance` with a context, besides the one that asks."""
    for frame in sys._current_frames().values():
        found: FrameType | None = frame
        while found is not None:
            is_call = found.f_code is _advance.__code__ and found is not sys._getframe(1)
            if is_call and found.f_locals.get("context") is context:
                return True
            found = found.f_back
    return False
