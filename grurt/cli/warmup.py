"""``grurt warmup``: compile the kernels now, so that no service has to."""

from pathlib import Path

import click

from grurt.cli.parameters import Command
from grurt.cli.places import can_be_written
from grurt.cli.printing import say, show

EXAMPLE = """\b
Examples:
    grurt warmup
    GRURT_CACHE_DIR=/opt/kernels grurt warmup
"""


@click.command(cls=Command, epilog=EXAMPLE)
def warmup() -> None:
    """Compile the kernels for this CPU, and say which file keeps them.

    For the build of an image, or after an installation: the processes that start later load the file in a fraction of
    a second. If it is there already, or a library of kernels serves this CPU, nothing is compiled. The exit code is 2
    if no directory can be written.
    """
    from grurt.runtime.engine import is_compiled_here, is_interpreted

    if not is_compiled_here():
        who = "Python runs the kernels" if is_interpreted() else "a library of kernels serves this CPU"
        say(f"nothing to compile: {who}")
        return
    from grurt.kernels.places import cache_directories

    tried = cache_directories()
    if not any(can_be_written(folder) or any(folder.glob("*.kernel")) for folder in tried):
        raise _nowhere(tried)
    from grurt.kernels.compiled import cached_in

    path = cached_in()
    if path is None:
        raise _nowhere(tried)
    show(str(path))


def _nowhere(tried: list[Path]) -> click.ClickException:
    return click.ClickException(
        "expected a directory where compiled kernels can be kept, got none that can be written "
        f"(tried {', '.join(map(str, tried))}): name one in GRURT_CACHE_DIR"
    )
