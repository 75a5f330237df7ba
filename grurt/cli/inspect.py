"""``grurt inspect``: what a model consists of, and what a step of it costs."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grurt.cli import completion
from grurt.cli.parameters import Command, Layers, entry_option, model_argument
from grurt.cli.picture import draw
from grurt.cli.places import FOREIGN_SUFFIXES
from grurt.cli.printing import is_terminal, show
from grurt.cli.report import MAX_ROWS, STREAMS, cell, folded, shown_notes, table
from grurt.cli.targets import ALL, Budget, budget_options, exported_everywhere, exporter, table_of
from grurt.escaping import listed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grurt.cli.targets import AnyExport
    from grurt.model import Model
    from grurt.network.signature import AnyPort
    from grurt.summary import InputSummary, LayerSummary, OutputSummary, Summary

EXAMPLE = """\b
Example:
    grurt inspect model.grurt
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "--layers",
    metavar="LAYERS",
    type=Layers(),
    help="For weights without an architecture: their layers, as `grurt convert` takes them.",
)
@entry_option
@click.option(
    "--target",
    metavar="TARGET",
    shell_complete=completion.targets,
    help="Also show what it takes there, as `grurt export` would compile it; all: everywhere.",
)
@click.option("--cpu", metavar="CPU", shell_complete=completion.cpus_of_target, help="One of the CPUs of --target.")
@budget_options
@click.option("--all", "everything", is_flag=True, help=f"Show all, also where there are more than {MAX_ROWS} layers.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def inspect(
    model_path: Path,
    layers: str | None,
    entry: str | None,
    target: str | None,
    cpu: str | None,
    flash: int | None,
    ram: int | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Show a model's layers as a picture, their sizes and costs.

    MODEL is a .grurt file, or one that `grurt convert` reads: then it is converted in memory.
    """
    if cpu is not None and target is None:
        raise click.UsageError("--cpu needs --target, which it is a CPU of")
    if target in (None, ALL) and (flash or ram):
        raise click.UsageError("--flash and --ram need --target, which has so much of them")
    from grurt.summary import summarize

    model = _open(model_path, layers, entry)
    summary = summarize(model)
    exported = _exported(model, target, cpu, Budget(flash, ram))
    if as_json:
        sizes = [each.sizes() for each in exported]
        shown_sizes = {"exported": sizes if target == ALL else sizes[0]} if sizes else {}
        show(json.dumps(summary.to_dict() | shown_sizes))
        return
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    hint = None if everything else "--all shows them"
    picture = draw(summary, width=width, ascii_only=not _prints_boxes(), hint=hint)
    show(*_as_text(summary, picture, width, hint), *_sizes(exported, model))


def _exported(model: "Model", target: str | None, cpu: str | None, budget: Budget) -> "list[AnyExport]":
    where = "grurt inspect --target"
    if target is None:
        return []
    if target == ALL:
        return list(exported_everywhere(model, where))
    export = exporter(target, cpu, where)
    exported = export(model, "model")
    budget.check(exported, lambda weight_format: export(model.quantize(weight_format), "model"))
    return [exported]


def _sizes(exported: "list[AnyExport]", model: "Model") -> list[str]:
    return table_of(exported, model) if len(exported) > 1 else [each.sizes_text() for each in exported]


def _prints_boxes() -> bool:
    """Say whether stdout can show the characters of the picture."""
    try:
        "─●→".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return False
    return True


def _open(path: Path, layers: str | None, entry: str | None) -> "Model":
    if layers is entry is None and path.suffix.lower() not in FOREIGN_SUFFIXES:
        from grurt.loading import read

        return read(path)
    from grurt.converters import convert

    return convert(path, layers=layers, entry=entry, reference=False)


def _as_text(summary: "Summary", picture: list[str], width: int | None, hint: str | None) -> list[str]:
    source = summary.source
    origin = " ".join(shown(part, 200) for part in (source.format, source.file) if part)
    ports = [
        [f"input {cell(port.name)}: {_input(port)}" for port in summary.inputs],
        [f"output {cell(port.name)}: {_output(port)}" for port in summary.outputs],
        [f"context {cell(name)}, given once: {_numbers(shape)}" for name, shape in summary.context_shapes.items()],
        [f"source's input {_port(port)}" for port in summary.signature.inputs],
        [f"source's output {_port(port)}" for port in summary.signature.outputs],
    ]
    return [
        f"from {origin}" + (f", written by {shown(source.producer, 200)}" if source.producer else ""),
        *shown_notes(source.notes),
        "",
        *picture,
        "",
        *_costs(summary, width, hint),
        "",
        *(line for lines in ports for line in (lines if hint is None else folded(lines, hint))),
        *([f"state of a stream: {summary.state_bytes:,} bytes"] if summary.streams else []),
        *([f"a context, which streams share: {summary.costs.contexts:,} bytes"] if summary.context_shapes else []),
        f"reference run: {shown(summary.reference_run or 'none', 200)}",
        STREAMS if summary.streams else f"whole sequences only: {summary.unstreamable_reason}",
    ]


def _costs(summary: "Summary", width: int | None, hint: str | None) -> list[str]:
    """Return the table of the layers; where that is too wide, without what the picture shows already."""
    header = ["layer", "kind", "reads", "size", "state", "parameters", "bytes", "multiply-adds", "options"]
    numbers = [f"{number:,}" for number in (summary.parameters, summary.bytes, summary.multiply_adds)]
    rows = [*map(_row, summary.layers), ["total", "", "", "", "", *numbers, ""]]
    full = table(header, rows, align="<<<>>>>><", hint=hint)
    if width is None or max(map(len, full)) <= width:
        return full
    narrow = [[*row[:2], *row[3:8]] for row in [header, *rows]]
    return table(narrow[0], narrow[1:], align="<<>>>>>", hint=hint)


def _row(layer: "LayerSummary") -> list[str]:
    return [
        cell(layer.name),
        layer.kind,
        cell(listed(layer.inputs)),
        str(layer.output_size),
        _states(layer.state_shapes),
        f"{layer.parameters:,}",
        f"{layer.bytes:,}",
        f"{layer.multiply_adds:,}",
        cell(layer.note),
    ]


def _states(shapes: "Mapping[str, tuple[int, ...]]") -> str:
    if len(shapes) > 1:
        return f"{sum(map(math.prod, shapes.values())):,} in {len(shapes)}"
    return " x ".join(str(size) for shape in shapes.values() for size in shape)


def _input(port: "InputSummary") -> str:
    if port.texts is None:
        return f"a token of {port.size}" if port.tokens else _numbers(port.frame_shape)
    length = "" if port.text_length is None else f", {port.text_length} for each"
    return f"a token of {port.size}, or texts ({port.texts}{length})"


def _output(port: "OutputSummary") -> str:
    return f"{_numbers(port.frame_shape)}, {'after every timestep' if port.per_step else 'once a sequence'}"


def _numbers(frame_shape: tuple[int, ...]) -> str:
    return "1 number" if frame_shape == (1,) else f"{' x '.join(map(str, frame_shape))} numbers"


def _port(port: "AnyPort") -> str:
    order = ", from the last timestep to the first" if getattr(port, "backwards", False) else ""
    sizes = iter(getattr(port, "shape", ()))
    axes = (str(next(sizes)) if axis == "index" else axis for axis in port.axes)
    return f"{cell(port.name)}: {port.dtype} ({', '.join(axes)}){order}"
