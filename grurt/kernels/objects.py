"""What the entry point asks of CPython: where objects are, who works with a context, and the GIL.

As in `grurt.kernels.simd`, these are the definitions.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grurt.kernels import codes
from grurt.kernels.fields import object_at

_lock = threading.Lock()


def address_of(python_object: Any) -> int:
    """The address of a Python object, borrowed from the caller for the length of the call."""
    return id(python_object)


def integer_at(address: int) -> int:
    """The value of a Python integer, at its address; -(2**63) if int64 does not have it."""
    value = object_at(address)
    return value if -(2**63) <= value < 2**63 else -(2**63)


def entered_address(context: NDArray[np.int64]) -> int:
    """Mark a context as entered, if it is idle; return the address of its data, plus what CONTEXT_BUSY was.

    It is indivisible: no other thread can come between the look and the change.
    """
    with _lock:
        was = int(context[codes.CONTEXT_BUSY])
        if was == codes.IDLE:
            context[codes.CONTEXT_BUSY] = codes.ENTERED
    return context.ctypes.data + was


def hold(owner: int) -> int:
    """Keep the memory of the array at an address where it is, until what is returned is let go.

    NumPy resizes no array that there is a weak reference to, whatever it is asked for. In Python, who calls the kernels
    has seen to that.
    """
    return 0


def let_go(held: int) -> None:
    """End what `hold` began; 0 is nothing."""


def release_gil() -> int:
    """Let other threads run; the result is for `acquire_gil`. In Python, they do anyway."""
    return 0


def acquire_gil(thread_state: int) -> None:
    """Wait until this thread may run Python again."""
