"""The kernels as Python runs them: slow, and under every tool for Python, a debugger first of all.

What they compute is what the compiled ones do: `grurt.kernels.simd` and its like define each instruction.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.errors import EngineError
from grurt.kernels import codes
from grurt.kernels.entry import advance
from grurt.kernels.options import INTERPRETED


def entry_point() -> Callable[[NDArray[np.int64], Any, Any, Any], int]:
    """Return `grurt.kernels.entry.advance`, called as if it were compiled.

    Raises
    ------
    EngineError
        If the kernels were imported, to be compiled, before GRURT_ENGINE was set.
    """
    if not INTERPRETED:
        raise EngineError("GRURT_ENGINE=python: expected it to be set before grurt is imported, got it set later")
    return _advance


def _advance(context: NDArray[np.int64], x: Any, y: Any, streams: Any) -> int:
    was = context[codes.CONTEXT_BUSY]
    try:
        with np.errstate(all="ignore"):  # as in machine code, what is not a number shows in the results
            return int(advance(context, x, y, streams))
    except BaseException:
        # Only Python can be interrupted here, by Ctrl-C or a debugger's `quit`: whoever comes next may go on.
        context[codes.CONTEXT_BUSY] = was
        raise
