"""``grurt warmup``: compile the kernels now, so that no service has to."""

import click

from grurt.cli.exits import USAGE

EXAMPLE = """\b
Examples:
    grurt warmup
    GRURT_CACHE_DIR=/opt/kernels grurt warmup
"""


@click.command(epilog=EXAMPLE)
@click.pass_context
def warmup(ctx: click.Context) -> None:
    """Compile the kernels for this CPU, and say which file keeps them.

    For the build of an image, or after an installation: the processes that start later load the file in a fraction of
    a second. If it is there already, or a library of kernels serves this CPU, nothing is compiled. The exit code is 2
    if no directory can be written.
    """
    from grurt.engine import is_library

    if is_library():
        click.echo("nothing to compile: a library of kernels serves this CPU", err=True)
        return
    from grurt.kernels.compiled import cached_in
    from grurt.kernels.places import cache_directories

    path = cached_in()
    if path is None:
        tried = ", ".join(map(str, cache_directories()))
        click.echo(
            f"error: expected a directory where compiled kernels can be kept, found none that can be written "
            f"(tried {tried}): name one in GRURT_CACHE_DIR",
            err=True,
        )
        ctx.exit(USAGE)
    click.echo(path)
