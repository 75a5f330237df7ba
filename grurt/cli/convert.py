"""``grurt convert``: a foreign file to a ``.grurt`` file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grurt.cli.exits import DIFFERS
from grurt.cli.parameters import (
    READ,
    WRITTEN,
    Assignment,
    Command,
    Layers,
    bind_option,
    entry_option,
    json_option,
    size_option,
)
from grurt.cli.places import check_model_file
from grurt.cli.printing import show
from grurt.cli.report import STREAMS, cell, json_number, shown_notes
from grurt.escaping import listed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.converters.literal.options import Import
    from grurt.model import Model
    from grurt.runtime.verify import Verification

EXAMPLE = """\b
Examples:
    grurt convert model.onnx -o model.grurt
    grurt convert step.onnx --bind sr=16000 --state state=last -o model.grurt
    grurt convert decoder.onnx --context memory -o model.grurt
    grurt convert model.keras -o model.grurt
    grurt convert weights.pt --layers "gru, last, fc:sigmoid" -o model.grurt
    grurt convert model.weights.h5 --layers model.json -o model.grurt
"""


@click.command(cls=Command, epilog=EXAMPLE)
@click.argument("source", metavar="SRC", type=READ)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=WRITTEN,
    help="The .grurt file to write. An older one there is replaced in one step, or not at all.",
)
@click.option(
    "--layers",
    metavar="LAYERS",
    type=Layers(),
    help="The layers of weights, in order, e.g. 'gru, last, fc:sigmoid'; or the path of a .toml file; for weights of "
    "Keras, the path of the JSON that model.to_json() gave.",
)
@entry_option
@click.option(
    "--reference/--no-reference",
    default=True,
    help="Let the source's framework, where it is installed, answer a test input, and compare. That is the default.",
)
@click.option("--repair", is_flag=True, help="Correct known mistakes of exporters, and note it in the model.")
@click.option(
    "--import",
    "imported",
    type=click.Choice(["meaning", "literal"]),
    help="How a graph is imported: by the meaning of its layers and axes; or literally, one timestep as it stands, its "
    "states fed back. Without it, literally where there is no other way.",
)
@click.option(
    "--state",
    metavar="IN=OUT",
    type=Assignment(),
    multiple=True,
    help="Of a graph of one timestep: the output that goes back into an input. Others are paired by name. IN= says "
    "that an input is no state.",
)
@click.option(
    "--initial",
    metavar="NPZ",
    type=READ,
    help="Of a graph of one timestep: what states begin as, by the names of inputs. Others begin as zeros.",
)
@click.option(
    "--context",
    metavar="NAME",
    multiple=True,
    help="Of a graph of one timestep: an input that a stream is given once, such as the memory that an encoder left. "
    "What depends on it alone is computed once.",
)
@size_option
@bind_option
@json_option
@click.pass_context
def convert(
    ctx: click.Context,
    source: Path,
    output: Path,
    layers: str | None,
    entry: str | None,
    reference: bool,
    repair: bool,
    imported: "Import | None",
    state: tuple[tuple[str, str], ...],
    initial: Path | None,
    context: tuple[str, ...],
    size: tuple[tuple[str, int], ...],
    bind: tuple[tuple[str, "ArrayLike"], ...],
    as_json: bool,
) -> None:
    """Convert a trained network to a .grurt file.

    SRC holds a whole network: ONNX (.onnx), torch.export (.pt2), Keras (.keras, .h5) or RTNeural (.json). Or it holds
    weights without an architecture, which --layers must give: of PyTorch (.pt, .pth, .ckpt, .safetensors, .json,
    TorchScript), of NumPy (.npz) or of Keras (.weights.h5). Without --layers, the error lists the tensors and shows a
    description that would fit. What a file is follows from its content.

    Where the source's framework is installed, it answers a test input; its answers are compared and kept in the model
    for `grurt verify`. onnxruntime does so in a process of its own: if that ends, a note says so. --no-reference starts
    no framework. docs/conversion.md says what is understood, how layers are described, and what a comparison allows.
    """
    check_model_file(output)
    from grurt.converters import convert as convert_file

    model = convert_file(
        source,
        layers=layers,
        entry=entry,
        repair=repair,
        reference=reference,
        imported=imported,
        bind=dict(bind),
        state={name: result or None for name, result in state},
        initial=initial,
        context=context,
        size=dict(size),
    )
    model.save(output)
    verification = model.verify() if model.reference_run is not None else None
    show(*([_as_json(output, model, verification)] if as_json else _as_text(output, model, verification)))
    if verification is not None and not verification.ok:
        ctx.exit(DIFFERS)


def _as_text(output: Path, model: "Model", verification: "Verification | None") -> list[str]:
    kinds = listed(layer.kind for layer in model.layers)
    compared = (
        "not compared with its source"
        if verification is None
        else f"largest error against {verification.produced_by}: {verification.max_error:.1e}"
        + ("" if verification.ok else f", which is above the tolerance of {verification.tolerance:.0e}")
    )
    return [
        f"wrote {output}, {output.stat().st_size:,} bytes: {kinds}; {model.parameter_count:,} parameters",
        compared,
        f"whole sequences only: {model.unstreamable_reason}" if model.unstreamable_reason else STREAMS,
        *(f"reads texts: {cell(name)}, {each.split}" for name, each in model.vocabularies.items()),
        *shown_notes(model.source.notes),
    ]


def _as_json(output: Path, model: "Model", verification: "Verification | None") -> str:
    return json.dumps(
        {
            "output": str(output),
            "bytes": output.stat().st_size,
            "layers": [{"name": layer.name, "kind": layer.kind} for layer in model.layers],
            "parameters": model.parameter_count,
            "compared_with": verification.produced_by if verification else None,
            "max_error": json_number(verification.max_error) if verification else None,
            "ok": verification.ok if verification else None,
            "streams": model.unstreamable_reason is None,
            "unstreamable_reason": model.unstreamable_reason,
            "unstreamable_by_design": model.unstreamable_by_design and model.unstreamable_by_design.name,
            "states": model.signature.fed_back,
            "texts": {name: each.split for name, each in model.vocabularies.items()},
            "notes": list(model.source.notes),
        }
    )
