"""Ctrl-C, also where it comes while code that swallows exceptions runs: callbacks of LLVM, imports, finalizers."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

_came = threading.Event()


def watch() -> None:
    """From now on remember Ctrl-C, and let Python say nothing of one that was swallowed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _silent_about_interrupts


def came() -> bool:
    """Return whether there was a Ctrl-C."""
    return _came.is_set()


def check() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl-C, which somebody has swallowed."""
    if came():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.set()
    raise KeyboardInterrupt


def _silent_about_interrupts(unraisable: Any) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
