"""The command ``grurt``: its subcommands, how errors are shown, and the exit codes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click
from click.exceptions import Exit

import grurt as package
from grurt.cli import interrupts
from grurt.cli.bench import bench
from grurt.cli.compile import compile  # noqa: A004 - the command's name
from grurt.cli.convert import convert
from grurt.cli.delay import delay
from grurt.cli.demo import demo
from grurt.cli.exits import BROKEN_PIPE, INTERNAL, INTERRUPTED, USAGE
from grurt.cli.export import export
from grurt.cli.forecast import forecast
from grurt.cli.generate import generate
from grurt.cli.inspect import inspect
from grurt.cli.places import naming
from grurt.cli.printing import say, say_traceback
from grurt.cli.quantize import quantize
from grurt.cli.run import run
from grurt.cli.verify import verify
from grurt.cli.vocabulary import vocabulary
from grurt.cli.warmup import warmup
from grurt.errors import GrurtError, StreamingError, UnsupportedError
from grurt.escaping import shown

EPILOG = """\b
Convert a network, look at it, check it, and stream data through it:
    grurt convert model.onnx -o model.grurt
    grurt inspect model.grurt
    grurt verify model.grurt --against model.onnx
    sensor | grurt run model.grurt

\b
Have the shell complete commands, options and their values (zsh_source and fish_source for these):
    eval "$(_GRURT_COMPLETE=bash_source grurt)"

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
            say(*error.format_message().split("\n"))
            code = USAGE
        except click.ClickException as error:
            if isinstance(error, click.UsageError) and error.ctx is not None:
                say(*error.ctx.get_usage().split("\n"), f"Try '{error.ctx.command_path} --help' for help.", "")
            say(f"error: {error.format_message()}")
            code = USAGE
        sys.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands in the order in which they are used."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; this may print the help or the version."""
        with _reporting(debug=False), naming("stdout"):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> None:
        """Run the subcommand, and see to it that what it wrote has left before an error is reported."""
        with _reporting(debug=ctx.params["debug"]):
            try:
                super().invoke(ctx)
            finally:
                if sys.stdout is not None:
                    with naming("stdout"):
                        sys.stdout.flush()


@contextmanager
def _reporting(*, debug: bool) -> Iterator[None]:
    """Report what goes wrong, and end with the exit code that stands for it."""
    try:
        yield
    except BrokenPipeError:
        _discard_stdout()
        raise Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        raise Exit(INTERRUPTED) from None
    except (click.ClickException, click.Abort, Exit):
        raise
    except Exception as error:
        if interrupts.came():  # as when a module cannot be imported because of it
            raise Exit(INTERRUPTED) from None
        if isinstance(error, OSError) and error.filename == "stdout":
            _discard_stdout()
        if debug:
            say_traceback(error)
        else:
            first, *further = error.args if isinstance(error, GrurtError) and error.args else [_message(error)]
            say(f"error: {first}{_by_design(error)}", *further)
        raise Exit(USAGE if isinstance(error, _USERS) else INTERNAL) from None


def _by_design(error: Exception) -> str:
    """Return what says by which of the reasons of design something is refused; nothing if it is by none."""
    reason = error.reason if isinstance(error, UnsupportedError | StreamingError) else None
    return f" (by design: {reason.name} in docs/supported.md)" if reason else ""


_USERS = (GrurtError, OSError, MemoryError)
"""Exceptions that are no fault of grurt."""


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or ""
        return f"{name}: {error.strerror}" if name else error.strerror
    if isinstance(error, MemoryError):
        return f"memory does not suffice: {str(error) or 'more than there is was asked for'}"
    if isinstance(error, _USERS):
        return str(error) or type(error).__name__
    return (
        f"this is a fault of grurt: {type(error).__name__}: {shown(str(error), _FAULT)}; "
        "please report it with what `grurt --debug ...` shows"
    )


_FAULT = 1000
"""Characters that are shown of a message that is not grurt's."""


def _discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush does not fail again."""
    with suppress(OSError, AttributeError):  # there is none, or it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=CommandGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package.__version__, message="grurt %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def grurt(debug: bool) -> None:
    """Run trained GRU networks one timestep at a time."""


for command in (
    convert,
    inspect,
    verify,
    quantize,
    delay,
    run,
    vocabulary,
    generate,
    forecast,
    bench,
    warmup,
    compile,
    export,
    demo,
):
    grurt.add_command(command)
