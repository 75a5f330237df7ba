"""The command ``grurt``: its subcommands, how errors are shown, and the exit codes."""

import errno
import os
import sys
from typing import Any, NoReturn

import click

import grurt as package
from grurt.cli.bench import bench
from grurt.cli.compile import compile  # noqa: A004 - the command's name
from grurt.cli.convert import convert
from grurt.cli.demo import demo
from grurt.cli.exits import BROKEN_PIPE, INTERNAL, INTERRUPTED, USAGE
from grurt.cli.export import export
from grurt.cli.inspect import inspect
from grurt.cli.quantize import quantize
from grurt.cli.run import run
from grurt.cli.verify import verify
from grurt.cli.warmup import warmup
from grurt.errors import GrurtError

EPILOG = """\b
Convert a network, look at it, check it, and stream data through it:
    grurt convert model.onnx -o model.grurt
    grurt inspect model.grurt
    grurt verify model.grurt --against model.onnx
    sensor | grurt run model.grurt

\b
Results go to stdout, everything else to stderr.
Exit codes:
    0  done
    1  the model's answers differ from its source's (convert, verify), or by more than allowed (quantize)
    2  wrong usage, or a file or line that cannot be used
   70  a fault of grurt itself
  130  interrupted (Ctrl-C)
  141  the reader of the output has gone (as in `grurt run ... | head`)
"""


class CommandGroup(click.Group):
    """A group that shows every failure as one line on stderr, and turns it into one of the exit codes above."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and exit."""
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.Abort:  # how click reports Ctrl-C outside a command
            code = INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = USAGE
        except click.ClickException as error:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                click.echo(f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n", err=True)
            click.echo(f"error: {error.format_message()}", err=True)
            code = USAGE
        sys.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order in which they are used."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> None:
        """Run the subcommand, and see to it that what it wrote has left before an error is reported."""
        try:
            try:
                super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _discard_stdout()
            ctx.exit(BROKEN_PIPE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (GrurtError, OSError) as error:
            if ctx.params["debug"]:
                raise
            if _is_of_stdout(error):
                _discard_stdout()
            click.echo(f"error: {_message(error)}", err=True)
            ctx.exit(USAGE)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                raise
            click.echo(
                f"error: this is a fault of grurt: {type(error).__name__}: {error}; "
                "please report it with what `grurt --debug ...` shows",
                err=True,
            )
            ctx.exit(INTERNAL)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or ("stdout" if _is_of_stdout(error) else "")
        return f"{name}: {error.strerror}" if name else error.strerror
    return str(error)


def _is_of_stdout(error: Exception) -> bool:
    """Say whether stdout could not be written: files that could not be are named in the error."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and error.errno in full and error.filename in (None, "stdout")


def _discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=CommandGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package.__version__, message="grurt %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def grurt(debug: bool) -> None:
    """Run trained GRU networks one timestep at a time."""


for command in (convert, inspect, verify, quantize, run, bench, warmup, compile, export, demo):
    grurt.add_command(command)
