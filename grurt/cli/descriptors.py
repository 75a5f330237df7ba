"""The descriptors 0, 1 and 2, which a caller may have closed."""

import os


def occupy_standard_descriptors() -> None:
    """Open the null device where stdin, stdout or stderr is closed.

    Or the next file that is opened would become it, and what any library prints would be written there. What Python
    calls ``sys.stdin`` and so on stays None, so that commands know.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
