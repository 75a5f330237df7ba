"""``grurt warmup``: compile the kernels now, so that no service has to."""

import json

import click

from grurt.cli.parameters import Command, json_option
from grurt.cli.places import no_cache_directory
from grurt.cli.printing import say, show

EXAMPLE = """\b
Examples:
    grurt warmup
    GRURT_CACHE_DIR=/opt/kernels grurt warmup
"""


@click.command(cls=Command, epilog=EXAMPLE)
@json_option
def warmup(as_json: bool) -> None:
    """Compile the kernels for this CPU, and say which file keeps them.

    For the build of an image, or after an installation: the processes that start later load the file in a fraction of
    a second. If it is there already, or a library of kernels serves this CPU, nothing is compiled. The exit code is 2
    if no directory can be written, or others may write to it too.
    """
    from grurt.runtime.engine import is_compiled_here, is_interpreted

    if not is_compiled_here():
        who = "Python runs the kernels" if is_interpreted() else "a library of kernels serves this CPU"
        if as_json:
            show(json.dumps({"path": None, "reason": who}))
        else:
            say(f"nothing to compile: {who}")
        return
    from grurt.kernels.places import cache_directories, directory_to_write
    from grurt.trust import is_trusted

    filled = (folder for folder in cache_directories() if is_trusted(folder) and any(folder.glob("*.kernel")))
    if directory_to_write() is None and not any(filled):
        raise no_cache_directory()
    from grurt.kernels.compiled import cached_in

    path = cached_in()
    if path is None:
        raise no_cache_directory()
    show(json.dumps({"path": str(path), "reason": None}) if as_json else str(path))
