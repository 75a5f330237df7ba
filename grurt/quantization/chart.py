"""Draws what a quantized model loses: a picture, or a page that holds the picture and the figures."""

from __future__ import annotations

import html
import importlib.util
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grurt.atomic import write_atomically
from grurt.errors import QuantizationError
from grurt.escaping import shown
from grurt.installing import install_command
from grurt.quantization.loss import Difference, Loss
from grurt.quantization.sensitivity import LayerLoss

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".svg", ".png")

MAX_DRAWN = 60
"""How many layers, and how many outputs, a picture shows: the costliest, and the first."""

MAX_NAME = 100
"""Characters of a name in a picture."""

_BLUE, _ORANGE = "#0072B2", "#E69F00"

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid #ccc }}
th:first-child, td:first-child {{ text-align: left }}
svg {{ max-width: 100%; height: auto }}
</style>
<h1>{title}</h1>
<p>Compared with the float32 model on {data}. Decibels are from signal to error: more is better.</p>
{tables}
{picture}
</html>
"""


def check_report(path: Path) -> None:
    """Raise QuantizationError if the suffix is none of `SUFFIXES`, or matplotlib is not installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise QuantizationError(f"report: expected a file name that ends in {', '.join(SUFFIXES)}, got {path.name!r}")
    if importlib.util.find_spec("matplotlib") is None:
        raise QuantizationError(
            f"report: drawing needs matplotlib, which is not installed: {install_command('report')}"
        )


def write_report(path: Path, title: str, loss: Loss, layers: Sequence[LayerLoss]) -> None:
    """Draw the losses to a file, atomically: a page with a picture (``.html``), or a picture (``.svg``, ``.png``).

    Raises
    ------
    QuantizationError
        If the suffix is another, or matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    check_report(path)
    suffix = path.suffix.lower()
    figure = _figure(title, loss, layers)
    if suffix == ".html":
        picture = _picture(figure, "svg").decode()
        tables = "\n".join([_table("output", loss.outputs), *_layer_tables(layers)])
        content = _PAGE.format(
            title=html.escape(shown(title)),
            data=html.escape(shown(loss.data)),
            tables=tables,
            picture=picture[picture.index("<svg") :],
        ).encode()
    else:
        content = _picture(figure, suffix[1:])
    write_atomically(path, content)


def _figure(title: str, loss: Loss, layers: Sequence[LayerLoss]) -> Figure:
    from matplotlib.figure import Figure

    layers = layers[:MAX_DRAWN]
    rows = 1 + bool(loss.spans)
    figure = Figure(figsize=(8, 1.5 + 0.45 * len(layers) + 3 * (rows - 1)), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, height_ratios=[1 + 0.45 * len(layers), 3][:rows])[:, 0]
    figure.suptitle(_plain(title))
    _draw_layers(axes[0], layers)
    if loss.spans:
        _draw_spans(axes[1], loss)
    return figure


def _draw_layers(axes: Axes, layers: Sequence[LayerLoss]) -> None:
    """Draw a pair of bars for each layer, the costliest on top."""
    for offset, colour, label, values in (
        (0.2, _BLUE, "the model's worst output", [layer.decibels for layer in layers]),
        (-0.2, _ORANGE, "the layer's own value", [layer.own.decibels for layer in layers]),
    ):
        places = [-index + offset for index in range(len(layers))]
        axes.barh(places, [_drawable(value) for value in values], height=0.38, color=colour, label=label)
    axes.set_yticks([-index for index in range(len(layers))], [_plain(layer.name) for layer in layers])
    axes.set_xlabel("dB from signal to error, if only this layer is quantized")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")


def _draw_spans(axes: Axes, loss: Loss) -> None:
    """Draw each output's decibels against time."""
    ends = [span.last for span in loss.spans]
    for index, output in enumerate(loss.outputs[:MAX_DRAWN]):
        decibels = [_drawable(span.outputs[index].decibels) for span in loss.spans]
        axes.plot(ends, decibels, marker="o", label=_plain(output.name))
    axes.set(xscale="log", xlabel="timesteps of a long stream", ylabel="dB from signal to error")
    axes.set_xticks(ends, [f"{end:,}" for end in ends])
    axes.minorticks_off()
    axes.legend(fontsize="small")


def _picture(figure: Figure, kind: str) -> bytes:
    import matplotlib

    file = io.BytesIO()
    # The same losses give the same file, and its text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "grurt", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about characters that the font does not have
        figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None, dpi=120)
    return file.getvalue()


def _layer_tables(layers: Sequence[LayerLoss]) -> list[str]:
    return [
        _table("layer, only it quantized: its own value", [layer.own for layer in layers]),
        *(
            _table(f"output {output.name!r}, if only one layer is quantized", rows, [layer.name for layer in layers])
            for index, output in enumerate(layers[0].outputs[:MAX_DRAWN])
            for rows in [[layer.outputs[index] for layer in layers]]
        ),
    ]


def _table(title: str, rows: Sequence[Difference], names: Sequence[str] = ()) -> str:
    head = [title, "dB", "largest error", "mean error", "same arg-max"]
    lines = [head, *([name, *cells(row)] for name, row in zip(names or [row.name for row in rows], rows, strict=True))]
    tagged = [
        "".join(f"<{tag}>{html.escape(shown(cell))}</{tag}>" for cell in line)
        for tag, line in zip(["th", *["td"] * len(rows)], lines, strict=True)
    ]
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in tagged) + "\n</table>"


def cells(difference: Difference) -> list[str]:
    """Return the figures of a difference as text: decibels, largest and mean error, agreement."""
    agreement = "" if difference.agreement is None else f"{difference.agreement:.1%}"
    return [f"{difference.decibels:.1f}", f"{difference.largest:.2g}", f"{difference.mean:.2g}", agreement]


def _drawable(decibels: float) -> float:
    return decibels if math.isfinite(decibels) else 0.0


def _plain(name: str) -> str:
    """Return a name that matplotlib neither reads as mathematics, nor leaves out as it does what begins with ``_``."""
    text = shown(name, MAX_NAME).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
