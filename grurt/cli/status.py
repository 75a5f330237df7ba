"""What long work is at, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Show a line on stderr that says what is being measured; it is gone in the end."""
    from rich.console import Console

    with Console(stderr=True).status("reading") as shown:
        yield lambda what: shown.update(f"measuring {what}")
