"""What long work is at, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from grurt.cli.report import cell


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Show a line on stderr that says what is being measured; it is gone in the end."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("reading") as shown:
        yield lambda what: shown.update(Text(f"measuring {cell(what)}"))  # a text, in which rich looks for no markup
