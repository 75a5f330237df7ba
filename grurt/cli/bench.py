"""``grurt bench``: how long a timestep takes on this machine, and how long its source's engine takes."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grurt.cli.exits import DIFFERS, INTERRUPTED
from grurt.cli.models import load_model
from grurt.cli.parameters import READ, Command, Finite, json_option, model_argument
from grurt.cli.printing import say, show
from grurt.cli.report import table
from grurt.cli.status import progress
from grurt.errors import ConversionError
from grurt.installing import install_command

if TYPE_CHECKING:
    from grurt.cli.timing import Call, Tail
    from grurt.model import Model

EXAMPLE = """\b
Examples:
    grurt bench model.grurt --sample-rate 100
    grurt bench model.grurt --against model.onnx
"""


@dataclass(frozen=True)
class Row:
    """The figures of one call, in microseconds a timestep."""

    title: str
    microseconds: float
    tail: "Tail | None"
    times_real_time: float | None


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "--against",
    metavar="SRC",
    type=READ,
    help="The ONNX file that the model was converted from, for onnxruntime to run beside. Default: one that is made of "
    "the model.",
)
@click.option(
    "--sample-rate",
    metavar="HZ",
    type=Finite(1e9),
    help="Timesteps a second of the real thing: shows how many times faster the model is.",
)
@click.option(
    "--seconds",
    default=3.0,
    show_default=True,
    type=Finite(3600),
    help="How long to measure, roughly.",
)
@json_option
@click.pass_context
def bench(
    ctx: click.Context,
    model_path: Path,
    against: Path | None,
    sample_rate: float | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Time a model's timesteps on random inputs, on one thread.

    Medians of calls in a loop, as a program would make them; and of single calls the percentiles p50, p99, p99.9, and
    the slowest. Where onnxruntime is installed, it computes the same beside. The answers are compared first: with
    --against, the exit code is 1 if they differ. MODEL is a .grurt file; `grurt convert` makes one out of other
    formats. Ctrl-C ends with the figures until then.
    """
    if against is not None:
        _expect_onnx(against)
    model = load_model(model_path)
    if against is not None and not _same_answers(model, against):
        say(f"error: the answers differ from those of {against}: see `grurt verify`")
        ctx.exit(DIFFERS)
    calls = _calls(model, against)
    with progress() as tell:
        measured = _measure(calls, seconds, tell)
    if not measured.microseconds:
        raise KeyboardInterrupt
    rows = measured.rows(sample_rate)
    show(*([_as_json(rows, sample_rate)] if as_json else _as_text(rows, sample_rate)))
    if measured.interrupted:
        say("note: interrupted; these are the figures until then")
        ctx.exit(INTERRUPTED)


def _expect_onnx(source: Path) -> None:
    from grurt.converters.detect import FileFormat, detect_format

    with suppress(ConversionError):
        if detect_format(source) is FileFormat.ONNX:
            return
    raise click.UsageError(
        f"--against: expected an ONNX file, which onnxruntime can run, got another: {source}; "
        "`grurt verify --against` compares the answers with those of other formats"
    )


def _same_answers(model: "Model", source: Path) -> bool:
    from grurt.cli.verify import source_answers
    from grurt.runtime.verify import replay

    return replay(model, source_answers(model, source, layers=None)).ok


def _calls(model: "Model", source: Path | None) -> "list[Call]":
    from grurt.cli import calls, peer

    session = None if source is None else peer.open_session(source)
    sizes = calls.source_sizes(model, {port.name: port.shape for port in session.get_inputs()} if session else {})
    step = None if session is None else peer.source_step_call(model, session, sizes)
    takes_timesteps = any("index" in port.axes for port in model.signature.inputs)
    if session is None and not takes_timesteps and (written := _written(model)) is not None:
        session = peer.open_session(written)
        _expect_same_answers(model, peer.largest_error(model, session, sizes))
    chosen = [calls.sequence_call(model, sizes)]
    if session is not None:
        chosen.append(peer.sequence_call(model, session, sizes))
    if model.unstreamable_reason or model.most_steps:
        return chosen
    if step is None and (written := _written(model, step=True)) is not None:
        step = peer.written_step_call(model, peer.open_session(written))
    return [*calls.stream_calls(model), *([step] if step else []), *chosen]


def _written(model: "Model", *, step: bool = False) -> bytes | None:
    """Return the model as an ONNX file, for onnxruntime; None where there is none, or nothing to write it with."""
    from grurt.converters import to_onnx
    from grurt.converters.installed import is_installed

    if is_installed("onnx") and is_installed("onnxruntime"):
        return to_onnx(model, step=step)
    if not step:
        say(f"note: without onnxruntime beside it: {install_command('onnx')}")
    return None


def _expect_same_answers(model: "Model", error: float) -> None:
    from grurt.runtime.verify import TOLERANCE

    formats = {each for layer in model.layers for each in layer.matrix_formats().values()}
    if formats & {"int8", "int4"}:
        say("note: onnxruntime computes in float32, with the numbers that the quantized weights stand for")
    elif not error <= TOLERANCE:
        raise ConversionError(
            f"the model's answers are {error:.1e} from those of onnxruntime to the ONNX file that grurt writes of it: "
            "please report it"
        )


@dataclass
class Measured:
    """What was measured, until the end or a Ctrl-C."""

    calls: "list[Call]"
    microseconds: list[float] = field(default_factory=list)
    """A timestep of each call; none if not one round came to its end."""
    tails: "dict[str, Tail]" = field(default_factory=dict)
    interrupted: bool = False

    def rows(self, sample_rate: float | None) -> list[Row]:
        """Return the figures of each call."""
        return [
            Row(
                call.title,
                microseconds,
                self.tails.get(call.title),
                1e6 / (microseconds * sample_rate) if sample_rate else None,
            )
            for call, microseconds in zip(self.calls, self.microseconds, strict=True)
        ]


def _measure(calls: "list[Call]", seconds: float, tell: Callable[[str], None]) -> Measured:
    from grurt.cli.timing import time_calls, time_single

    found = Measured(calls)
    singles = [call for call in calls if call.single]
    try:
        for microseconds in time_calls(calls, seconds / 2, tell):
            found.microseconds = microseconds
        for call in singles:
            tell(f"single calls of {call.title}")
            found.tails[call.title] = time_single(call, seconds / 2 / len(singles))
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def _as_text(rows: list[Row], sample_rate: float | None) -> list[str]:
    header = ["us a timestep", "median", "p50", "p99", "p99.9", "max"]
    lines = []
    for row in rows:
        tail = [row.tail.p50, row.tail.p99, row.tail.p999, row.tail.max] if row.tail else []
        cells = [row.title, *(_number(time) for time in (row.microseconds, *tail)), *[""] * (4 - len(tail))]
        lines.append(cells + ([f"{row.times_real_time:,.0f}"] if row.times_real_time else []))
    if sample_rate:
        header.append(f"x real time at {sample_rate:g} Hz")
    return [*table(header, lines, align="<" + ">" * (len(header) - 1)), *_comparison(rows)]


def _comparison(rows: list[Row]) -> list[str]:
    """Return a line for each call of onnxruntime: how many times faster the like call of the model is."""
    ours = {row.title: row.microseconds for row in rows}
    lines = []
    for row in rows:
        if row.title.startswith("onnxruntime"):
            like = row.title.replace("onnxruntime run", "grurt Model.run")
            name = like if like in ours else "grurt step"
            lines.append(f"{name}: {row.microseconds / ours[name]:.3g} times as fast as {row.title}")
    return ["", *lines] if lines else []


def _number(microseconds: float) -> str:
    return f"{microseconds:.2f}" if microseconds < 100 else f"{microseconds:.0f}"


def _as_json(rows: list[Row], sample_rate: float | None) -> str:
    return json.dumps({"sample_rate": sample_rate, "rows": [asdict(row) for row in rows]})
