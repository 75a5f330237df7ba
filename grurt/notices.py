"""Lines on stderr: what somebody should know, and no exception tells."""

import sys
from contextlib import suppress

from grurt.escaping import shown


def say(message: str) -> None:
    """Write a line to stderr, where there is one: a service without it goes on as well."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"grurt: {shown(message)}", file=sys.stderr, flush=True)
