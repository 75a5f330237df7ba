"""Lines on stderr: what somebody should know, and no exception tells."""

import sys
from contextlib import suppress


def say(message: str) -> None:
    """Write a line to stderr, where there is one: a service without it goes on as well.

    Paths may hold what their neighbours like: what a terminal would obey is written as an escape sequence of Python's.
    """
    if sys.stderr is not None:
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        with suppress(OSError, ValueError):
            print(f"grurt: {line}", file=sys.stderr, flush=True)
