"""``grurt quantize``: a model with weights of fewer bits, and what it loses."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from grurt.cli import completion
from grurt.cli.exits import DIFFERS
from grurt.cli.models import load_model
from grurt.cli.parameters import READ, WRITTEN, Command, json_option, model_argument
from grurt.cli.places import check_file, check_model_file, is_same_file
from grurt.cli.printing import say, show
from grurt.cli.report import JSON_SHOWS_ALL, cell, folded, json_number, table
from grurt.cli.status import progress
from grurt.errors import QuantizationError
from grurt.escaping import listed, shown
from grurt.network.layers.base import QuantizedFormat

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.quantization import Difference, LayerLoss, Limit, Loss
    from grurt.quantization.recordings import Recordings

EXAMPLE = """\b
Examples:
    grurt quantize model.grurt --calibration recordings.npy
    grurt quantize model.grurt -o small.grurt --calibration recordings.npy --max-loss 40dB --report loss.html
"""

_COSTLIEST = 3
"""How many layers a refusal names."""

_COLUMNS = 6
"""How many outputs have a column of their own."""


@dataclass(frozen=True)
class Result:
    """What was made, and what it loses."""

    model: "Model"
    quantized: "Model"
    weight_format: str
    kept: tuple[str, ...]
    loss: "Loss"
    layers: "tuple[LayerLoss, ...]"

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes of all weights, before and after."""
        before, after = (sum(array.nbytes for array in m.weights.values()) for m in (self.model, self.quantized))
        return before, after


@dataclass(frozen=True)
class Written:
    """Files that were written; None for each that was not."""

    model: Path | None
    report: Path | None

    def outcome(self) -> str:
        """Return what was done, as a line begins."""
        files = [f"{path}, {path.stat().st_size:,} bytes" for path in (self.model, self.report) if path is not None]
        if not files:
            return "nothing was written, as -o names no file"
        return f"wrote {' and '.join(files)}" + ("" if self.model else ", and no model, as -o names no file")


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=WRITTEN,
    help="The .grurt file to write, in one step or not at all. Without it the loss is only shown.",
)
@click.option(
    "--weights", "weight_format", type=click.Choice(get_args(QuantizedFormat)), default="int8", show_default=True
)
@click.option(
    "--calibration",
    metavar="FILE",
    multiple=True,
    type=READ,
    help="Inputs like those of the real thing, to round for and to measure with; may be repeated: what `grurt run` "
    "reads. An .npy array (n_steps, size) or (batch, n_steps, size), without the last axis for tokens; an .npz file of "
    "such arrays by the names of the inputs; a sequence as .csv or .jsonl. Without it the loss is measured on random "
    "numbers from a fixed seed: standard normal features, uniform tokens.",
)
@click.option(
    "--keep",
    metavar="LAYER",
    multiple=True,
    shell_complete=completion.layers_to_keep,
    help="A layer to keep in float32, or a matrix of a step program, named as in the table; may be repeated.",
)
@click.option(
    "--max-loss",
    metavar="LIMIT",
    help="Fail and write nothing if an output loses more: 40dB for an error at least 40 dB below the signal, 0.01 for "
    "a largest absolute error of 0.01. It is judged on the recordings, not on the long stream.",
)
@click.option("--auto-keep", is_flag=True, help="Keep just those layers in float32 that --max-loss needs.")
@click.option(
    "--report",
    metavar="PAGE",
    type=WRITTEN,
    help="Draw the losses: a page (.html) or a picture (.svg, .png). Needs the extra `report`.",
)
@click.option(
    "--steps",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1, max=1_000_000),
    help="Timesteps of the long stream on which the error is followed.",
)
@json_option
@click.pass_context
def quantize(
    ctx: click.Context,
    model_path: Path,
    output: Path | None,
    weight_format: QuantizedFormat,
    calibration: tuple[Path, ...],
    keep: tuple[str, ...],
    max_loss: str | None,
    auto_keep: bool,
    report: Path | None,
    steps: int,
    as_json: bool,
) -> None:
    """Make a model's weights smaller, and show what that costs.

    int8 quarters the memory and computes with integers; int4 is int8 with GRUs half as large again; float16 halves the
    memory. Shown are, for every output, the error in
    decibels below the signal (more is better), the largest and the mean error, and how often the arg-max is the same;
    what each layer costs if only it is quantized; and how the error moves over time. With --calibration, integers
    are rounded for those data. The exit code is 1 if more is lost than --max-loss allows. MODEL is a .grurt file;
    `grurt convert` makes one out of other formats.
    """
    if auto_keep and max_loss is None:
        raise click.UsageError("--auto-keep needs --max-loss, which says how much may be lost")
    _check_places(output, report)
    if report is not None:
        from grurt.quantization.chart import check_report

        check_report(report)
    from grurt.cli.calibration import read_calibration

    limit = _limit(max_loss)
    model = load_model(model_path)
    data = read_calibration(model, calibration) if calibration else None
    with progress() as tell:
        result = _quantize(
            model, weight_format, data, tuple(dict.fromkeys(keep)), limit if auto_keep else None, steps, tell
        )
    within = limit.allows(result.loss.outputs)
    if report is not None:
        from grurt.quantization.chart import write_report

        write_report(report, f"{model_path.name} with {weight_format} weights", result.loss, result.layers)
    if output is not None and within:
        result.quantized.save(output)
    written = Written(output if within else None, report)
    show(*([_as_json(result, written, ok=within)] if as_json else _as_text(result, written)))
    if not within:
        say(f"error: {_refusal(result, limit, auto_keep=auto_keep)}")
        ctx.exit(DIFFERS)


def _check_places(output: Path | None, report: Path | None) -> None:
    """Raise UsageError if the files cannot be written there, before the work rather than after it."""
    if output is not None:
        check_model_file(output)
    if report is not None:
        check_file(report)
    if output is not None and report is not None and is_same_file(output, report):
        raise click.UsageError(f"{output} would be both the model and the report: choose another name for one of them")


def _limit(max_loss: str | None) -> "Limit":
    from grurt.quantization import Limit

    try:
        return Limit() if max_loss is None else Limit.parse(max_loss)
    except QuantizationError as error:
        raise click.UsageError(f"--max-loss: {error}") from error


def _quantize(
    model: "Model",
    weight_format: QuantizedFormat,
    data: "Recordings | None",
    keep: tuple[str, ...],
    limit: "Limit | None",
    steps: int,
    tell: Callable[[str], None],
) -> Result:
    """Quantize and measure; with a limit, keep the layers that it needs."""
    from grurt.quantization import layer_losses, layers_to_keep, loss
    from grurt.quantization import quantize as quantized_model

    options: dict[str, Any] = {"keep": keep, "calibrate": data is not None, "progress": tell}
    layers = layer_losses(model, weight_format, data, **options)
    if limit is not None:
        # What can fail here is a limit that is too strict, and the result will show that.
        with suppress(QuantizationError):
            keep = layers_to_keep(model, weight_format, limit, data, costs=layers, **options)
    quantized = quantized_model(model, weight_format, keep=keep, calibration=data)
    tell("a long stream")
    return Result(model, quantized, weight_format, keep, loss(model, quantized, data, steps=steps), layers)


def _refusal(result: Result, limit: "Limit", *, auto_keep: bool) -> str:
    costliest = ", ".join(f"{layer.name} ({layer.decibels:.1f} dB alone)" for layer in result.layers[:_COSTLIEST])
    worst = result.loss.worst
    advice = "keep them with --keep, or use --auto-keep"
    if auto_keep:
        other = "" if result.weight_format == "float16" else ", or use --weights float16"
        advice = (
            f"not even one can be quantized to {result.weight_format} within the limit; allow a greater loss{other}"
        )
    return (
        f"output {worst.name!r}: expected a loss within {limit}, got {worst.decibels:.1f} dB and a largest error of "
        f"{max(output.largest for output in result.loss.outputs):.2g}; no model was written. The layers that cost most "
        f"are {costliest}: {advice}"
    )


def _as_text(result: Result, written: Written) -> list[str]:
    before, after = result.bytes
    lines = [
        f"{written.outcome()}: {_formats(result)}, weights of {after:,} bytes in place of {before:,}",
        *([f"kept in float32: {listed(result.kept)}"] if result.kept else []),
        *folded([f"rescaled: {name}" for name in _added(result)], JSON_SHOWS_ALL),
        f"measured on {shown(result.loss.data)}",
        "",
        *_output_table(result.loss.outputs),
        "",
        *_layer_table(result.layers),
    ]
    if result.loss.spans:
        lines += ["", *_span_table(result.loss)]
    return lines


def _formats(result: Result) -> str:
    """Return the format that was asked for; where all that could have it is kept, what there is in its place."""
    parts = ((layer.matrix_formats(), part) for layer in result.quantized.layers for part in layer.parts())
    used = {formats.get(name, "float32") for formats, part in parts for name in part.matrices}
    if result.weight_format in used:
        return result.weight_format
    return f"nothing of it is in {result.weight_format}, all in {' and '.join(sorted(used))}"


def _added(result: Result) -> list[str]:
    """Return the layers before which the inputs are mapped to [-1, 1]: those that read a layer that was added."""
    old = {layer.name for layer in result.model.layers}
    new = {layer.name for layer in result.quantized.layers} - old
    return [f"the inputs of {each.name}" for each in result.quantized.layers if set(each.inputs) & new]


def _output_table(outputs: "tuple[Difference, ...]") -> list[str]:
    from grurt.quantization.chart import cells

    header = ["output", "dB", "largest", "mean", "same arg-max"]
    return table(header, [[output.name, *cells(output)] for output in outputs], align="<>>>>", hint=JSON_SHOWS_ALL)


def _layer_table(layers: "tuple[LayerLoss, ...]") -> list[str]:
    header = ["layer, if only it is quantized", "kind", "its own dB", *_output_columns(layers[0].outputs)]
    rows = [[layer.name, layer.kind, f"{layer.own.decibels:.1f}", *_decibels(layer.outputs)] for layer in layers]
    return table(header, rows, align="<<" + ">" * (len(header) - 2), hint=JSON_SHOWS_ALL)


def _span_table(loss: "Loss") -> list[str]:
    header = ["timesteps of a long stream", *_output_columns(loss.outputs)]
    rows = [[f"{span.first:,} to {span.last:,}", *_decibels(span.outputs)] for span in loss.spans]
    return table(header, rows, align="<" + ">" * (len(header) - 1))


def _output_columns(outputs: "tuple[Difference, ...]") -> list[str]:
    """Return the headers of the outputs' columns: of the first few, and of the worst of those beside them."""
    columns = [f"{cell(output.name, 30)} dB" for output in outputs[:_COLUMNS]]
    return columns + ([f"worst of {len(outputs) - _COLUMNS:,} more"] if len(outputs) > _COLUMNS else [])


def _decibels(outputs: "tuple[Difference, ...]") -> list[str]:
    """Return the cells of those columns."""
    first = [output.decibels for output in outputs[:_COLUMNS]]
    more = [output.decibels for output in outputs[_COLUMNS:]]
    return [f"{decibels:.1f}" for decibels in first + ([min(more)] if more else [])]


def _as_json(result: Result, written: Written, *, ok: bool) -> str:
    before, after = result.bytes
    return json.dumps(
        {
            "output": str(written.model) if written.model else None,
            "report": str(written.report) if written.report else None,
            "weights": result.weight_format,
            "kept": list(result.kept),
            "bytes_before": before,
            "bytes_after": after,
            "data": result.loss.data,
            "outputs": [_described(output) for output in result.loss.outputs],
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "own": _described(layer.own),
                    "outputs": [_described(output) for output in layer.outputs],
                }
                for layer in result.layers
            ],
            "spans": [
                {"first": span.first, "last": span.last, "outputs": [_described(output) for output in span.outputs]}
                for span in result.loss.spans
            ],
            "ok": ok,
        }
    )


def _described(difference: "Difference") -> dict[str, Any]:
    return {key: json_number(value) if isinstance(value, float) else value for key, value in asdict(difference).items()}
