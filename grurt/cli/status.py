"""What long work is at, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from grurt.cli.printing import is_terminal
from grurt.cli.report import cell


def progress() -> AbstractContextManager[Callable[[str], None]]:
    """Return what shows on a terminal what is being measured, and nothing elsewhere."""
    return status() if is_terminal(sys.stderr) else nullcontext(lambda what: None)


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Show a line on stderr that says what is being measured; it is gone in the end."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("reading") as shown:
        yield lambda what: shown.update(Text(f"measuring {cell(what)}"))  # a text, in which rich looks for no markup
