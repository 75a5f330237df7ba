"""``grurt run``: timesteps in, answers out, as they arrive."""

import errno
import io
import json
import os
import re
import stat
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import click
import numpy as np

from grurt.array_types import Array
from grurt.cli.formats import FORMATS, SUFFIXES, Format, LineError, format_of_input, format_of_name
from grurt.cli.layout import input_layout, output_layout
from grurt.cli.models import load_model
from grurt.cli.parameters import READ, Command, ReadData, WrittenFile, columns_option, model_argument
from grurt.cli.places import Place, check_can_be_opened, naming, open_output
from grurt.cli.printing import is_terminal, say
from grurt.cli.readers import TimestepReader
from grurt.cli.texts import TextReader
from grurt.cli.writers import make_writer
from grurt.errors import GrurtError, InputValueError
from grurt.model import Model
from grurt.network.inputs import AnyInput
from grurt.runtime.context import Nonfinite

if TYPE_CHECKING:
    from grurt.runtime.stream import Stream

MAX_SEQUENCE = 1 << 28
"""Numbers of a whole sequence: 1 GiB as float32."""

EXAMPLE = """\b
Example: follow a sensor, and keep the answers
    sensor | grurt run activity.grurt | tee answers.csv
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.argument(
    "input_path",
    metavar="[INPUT]",
    default="-",
    type=ReadData(),
)
@click.option(
    "-o",
    "--output",
    "output_path",
    metavar="OUT",
    default="-",
    type=WrittenFile(allow_dash=True),
    help=f"File to write to; its suffix, if it has one, chooses the format: {', '.join(SUFFIXES)}. Default: stdout.",
)
@click.option(
    "--format",
    "input_format",
    type=click.Choice(FORMATS),
    help="Format of the input; npy for .npz, too. Default: by the suffix, or by the first bytes.",
)
@click.option(
    "--to",
    "output_format",
    type=click.Choice(FORMATS),
    help="Format of the output. Default: by the suffix, or as the input (CSV for .npy).",
)
@columns_option
@click.option(
    "--delimiter",
    metavar="CHAR",
    default=",",
    help="Stands between the fields of a CSV line; 'tab' for a tabulator. Default: a comma.",
)
@click.option(
    "--float-format",
    metavar="SPEC",
    help="Format of numbers in text, e.g. '.4f'. Default: the digits that give the same float32 again.",
)
@click.option(
    "--context",
    "context_path",
    metavar="NPZ",
    type=READ,
    help="What the model is given once, by name, if it has contexts: see `grurt convert --context`.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the answers as JSON, a line for each: --to jsonl.")
@click.option("--last", is_flag=True, help="Give only the answer after the last timestep, of each sequence.")
@click.option(
    "--nonfinite",
    type=click.Choice(get_args(Nonfinite)),
    default="refuse",
    help="What to do with a NaN or an infinity. Default: refuse.",
)
@click.option(
    "--text",
    "as_text",
    is_flag=True,
    help="Each line of the input is a text, with one answer: for all of it, or behind its last token (as with --last). "
    "Of a model with a vocabulary.",
)
def run(
    model_path: Path,
    input_path: str,
    output_path: str,
    input_format: Format | None,
    output_format: Format | None,
    columns: tuple[str, ...],
    delimiter: str,
    float_format: str | None,
    context_path: Path | None,
    as_json: bool,
    last: bool,
    nonfinite: Nonfinite,
    as_text: bool,
) -> None:
    """Stream timesteps through a model.

    Each timestep of INPUT, or of stdin, is answered as soon as it has arrived. A timestep is a line of CSV (a header
    line may come first), a line of JSON (an array; with several inputs an object of them), or a row of an .npy array,
    or of the arrays of an .npz file by the names of the inputs. For a model that reads tokens it is one integer. gzip
    may have packed any of it. An array (batch, n_steps, size) is that many sequences, each from the initial state. A
    model that cannot stream answers when the input has ended. MODEL is a .grurt file; `grurt convert` makes one out of
    other formats.

    OUT is opened when the first answer is known; where a later line ends the run, it holds the answers so far. Input
    of any length takes the memory of one line, which may have a million characters, or 64 for each number of a
    timestep; but a model that cannot stream takes that of the whole, which may have 268,435,456 numbers.
    """
    if as_json and output_format not in (None, "jsonl"):
        raise click.UsageError(f"--json means --to jsonl, got --to {output_format} too: leave one of them out")
    output_format = "jsonl" if as_json else output_format
    delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
    _check_formats(input_path, output_path, input_format, output_format)
    _check_text_options(delimiter, float_format)
    if as_text and (columns or input_format is not None):
        given = "--columns" if columns else "--format"
        raise click.UsageError(
            f"--text: each line of the input is a text, without columns or a format: leave {given} out"
        )
    if output_path != "-":
        check_can_be_opened(Path(output_path))
    model = load_model(model_path)
    context = None if context_path is None else _context(context_path)
    with open_timesteps(input_path) as source:
        live = not _is_regular_file(source)
        name = "stdin" if input_path == "-" else input_path
        reader: TimestepReader | TextReader
        if as_text:
            reader = TextReader(source, name)
            answers = _answers_to_texts(model, reader, nonfinite, context)
        else:
            reader = TimestepReader(
                source,
                name,
                input_layout(model),
                file_format=input_format or format_of_input(input_path),
                delimiter=delimiter,
                columns=columns,
            )
            answers = _answers(model, reader, nonfinite, context, last=last)
        written_format = output_format or format_of_name(output_path) or _text_format(reader.format)
        first = list(islice(answers, 1))  # only now is it known whether the input has a header
        written = "stdout" if output_path == "-" else output_path
        with naming(written), open_answers(output_path, read=[source, model_path]) as target:
            writer = make_writer(
                target,
                output_layout(model),
                written_format,
                float_format=float_format,
                delimiter=delimiter,
                header=reader.has_header,
                n_sequences=reader.n_sequences,
            )
            for answer in chain(first, answers):
                writer.write(answer)
                if live:
                    target.flush()
            writer.close()


def _context(path: Path) -> Mapping[str, Array]:
    """Return the arrays in a file of what a model is given once."""
    from grurt.converters.arrays.npz import read_npz
    from grurt.converters.reading import errors_named, unreadable_files_named

    with unreadable_files_named(path.name), errors_named(path.name):
        return read_npz(path)


def _answers_to_texts(
    model: Model, reader: TextReader, nonfinite: Nonfinite, context: Mapping[str, Array] | None
) -> Iterator[Any]:
    """Yield what the model gives for each text: once for all of it, or behind its last token."""
    vocabulary = model.vocabulary
    if len(model.inputs) > 1:
        raise click.UsageError("--text: expected a model whose only input is tokens, got several inputs")
    gives_each = {output.name: model.values[output.value].per_step for output in model.outputs}
    for text in reader:
        try:
            answer = model.run(vocabulary.encode(text), nonfinite=nonfinite, context=context)
        except GrurtError as error:
            raise LineError(f"{reader.where}: {error}") from error
        if isinstance(answer, dict):
            yield {name: array[-1] if gives_each[name] else array for name, array in answer.items()}
        else:
            yield answer[-1] if gives_each[model.outputs[0].name] else answer


def _answers(
    model: Model, reader: TimestepReader, nonfinite: Nonfinite, context: Mapping[str, Array] | None, *, last: bool
) -> Iterator[Any]:
    """Yield the answers, or of each sequence the last one."""
    if model.unstreamable_reason is None:
        sequences: Iterator[Iterable[Any]] = _streamed(model, reader, nonfinite, context)
    else:
        sequences = _whole_sequences(model, reader, nonfinite)
    for answers in sequences:
        yield from deque(answers, maxlen=1) if last else answers
    if reader.has_only_header and all(port.tokens for port in model.inputs):
        say(f"note: {reader.where} is taken for a header, as it holds no token id, and no timestep follows")


def _sequences(reader: TimestepReader) -> Iterator[Iterator[Any]]:
    """Yield the timesteps of each sequence, which must be taken before those of the next."""
    number = 0

    def of(timestep: Any) -> int:
        nonlocal number
        number += reader.begins_sequence
        return number

    return (timesteps for _, timesteps in groupby(reader, of))


def _streamed(
    model: Model, reader: TimestepReader, nonfinite: Nonfinite, context: Mapping[str, Array] | None
) -> Iterator[Iterator[Any]]:
    stream = model.stream(nonfinite=nonfinite, context=context)
    for timesteps in _sequences(reader):
        stream.reset()
        yield _steps(stream, timesteps, reader)


def _steps(stream: "Stream", timesteps: Iterator[Any], reader: TimestepReader) -> Iterator[Any]:
    for timestep in timesteps:
        try:
            answer = stream.step(timestep)
        except InputValueError as error:
            raise LineError(f"{reader.where}: {error}") from error
        yield answer


def _whole_sequences(model: Model, reader: TimestepReader, nonfinite: Nonfinite) -> Iterator[Iterable[Any]]:
    per_step = {model.values[output.value].per_step for output in model.outputs}
    if len(model.inputs) > 1 or len(per_step) > 1:
        raise click.UsageError(
            "the model needs whole sequences, and has several inputs, or outputs of different lengths: "
            "call Model.run in Python"
        )
    say(f"note: answers come when the input has ended: {model.unstreamable_reason}")
    for sequence in _sequences(reader):
        timesteps = _gathered(sequence, reader, model.inputs[0])
        result = model.run(timesteps, nonfinite=nonfinite)
        if per_step == {False}:
            yield [result]
        elif isinstance(result, dict):
            yield ({name: array[index] for name, array in result.items()} for index in range(len(timesteps)))
        else:
            yield result


def _gathered(sequence: Iterator[Any], reader: TimestepReader, port: AnyInput) -> Array:
    """Return all timesteps as one array: features ``(n_steps, *vector_shape)``, or tokens ``(n_steps,)``."""
    numbers = array("q" if port.tokens else "f")
    for timestep in sequence:
        numbers.frombytes(np.asarray(timestep, numbers.typecode).tobytes())
        if len(numbers) > MAX_SEQUENCE:
            raise LineError(
                f"{reader.where}: the model needs whole sequences, and one of more than {MAX_SEQUENCE:,} numbers "
                "is not read: call Model.run in Python"
            )
    return np.frombuffer(numbers, numbers.typecode).reshape(-1, *port.vector_shape)


def _check_formats(
    input_path: str, output_path: str, input_format: Format | None, output_format: Format | None
) -> None:
    if output_path == "-" and output_format == "npy" and is_terminal(sys.stdout):
        raise click.UsageError("an .npy array is no text for a terminal: give -o OUT, or --to csv")
    if output_format is None and Path(output_path).suffix and format_of_name(output_path) is None:
        raise click.UsageError(
            f"{output_path}: expected a name that ends in {', '.join(SUFFIXES)}, got {Path(output_path).suffix}: "
            "choose one of those, or say the format with --to"
        )


def _check_text_options(delimiter: str, float_format: str | None) -> None:
    if len(delimiter) != 1 or delimiter.isalnum() or delimiter in '.+-"\r\n':
        raise click.BadParameter(
            f"expected one character that no number contains, or 'tab', got {delimiter!r}", param_hint="--delimiter"
        )
    if float_format is None:
        return
    try:
        if re.search(r"\d{3}", float_format):  # which would make hundreds of characters out of every number
            raise ValueError
        json.loads(format(12345.678, float_format))
    except ValueError:
        raise click.BadParameter(
            f"expected a format that gives a plain number, such as '.4f', got {float_format!r}",
            param_hint="--float-format",
        ) from None


def open_timesteps(path: str) -> AbstractContextManager[io.BufferedReader]:
    """Open what timesteps are read from: a file, or stdin for ``-``."""
    if path != "-":
        return Path(path).open("rb")
    if sys.stdin is None:
        raise click.ClickException("stdin is closed: name a file, or send timesteps to stdin")
    if sys.stdin.isatty():
        end = "Ctrl-Z and Enter end" if os.name == "nt" else "Ctrl-D ends"
        say(f"reading timesteps from the terminal, one a line; {end}")
    stdin = sys.stdin.buffer
    if isinstance(stdin, io.BufferedReader):
        return nullcontext(stdin)
    return io.BufferedReader(io.BytesIO(stdin.read()))


def open_answers(path: str, read: Iterable[Place]) -> AbstractContextManager[BinaryIO]:
    """Open what answers are written to: a file, which is none of those that are read, or stdout for ``-``."""
    if path != "-":
        return open_output(Path(path), read)
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed, and the answers would go there")
    return nullcontext(sys.stdout.buffer)


def _text_format(read: Format) -> Format:
    return "csv" if read == "npy" else read


def _is_regular_file(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # not a file of the operating system at all
        return True
