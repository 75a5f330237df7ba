"""``grurt verify``: a model's answers beside its source's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grurt.cli.exits import DIFFERS
from grurt.cli.models import load_model
from grurt.cli.parameters import (
    READ,
    Command,
    Layers,
    bind_option,
    entry_option,
    json_option,
    model_argument,
    size_option,
)
from grurt.cli.printing import show
from grurt.cli.report import JSON_SHOWS_ALL, MAX_ROWS, cell, folded, json_number, shown_note, shown_notes
from grurt.errors import ConversionError, ModelError
from grurt.escaping import listed
from grurt.network.layers import Program
from grurt.network.signature import is_context

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.model import Model
    from grurt.network.reference_run import ReferenceRun
    from grurt.runtime.verify import Verification

EXAMPLE = """\b
Examples:
    grurt verify model.grurt
    grurt verify model.grurt --against model.onnx
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.option(
    "--against",
    metavar="SRC",
    type=READ,
    help="The file that the model was converted from: onnxruntime (or torch) answers a test input with it.",
)
@click.option(
    "--layers",
    metavar="LAYERS",
    type=Layers(),
    help="If SRC holds weights without an architecture (PyTorch, Keras, arrays): their layers, as for `grurt convert`.",
)
@entry_option
@bind_option
@size_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    model_path: Path,
    against: Path | None,
    layers: str | None,
    entry: str | None,
    bind: tuple[tuple[str, "ArrayLike"], ...],
    size: tuple[tuple[str, int], ...],
    as_json: bool,
) -> None:
    """Compare a model's answers with its source's.

    The model file holds a test input, and what the source framework answered to it. The model answers it again, as a
    whole sequence and streamed one timestep at a time. The exit code is 1 if the answers differ. MODEL is a .grurt
    file; `grurt convert` makes one out of other formats. That the file is undamaged is checked whenever it is read, by
    its SHA-256; files of older releases have none.
    """
    from grurt.container.reading import digest_of
    from grurt.runtime.verify import replay

    model = load_model(model_path)
    digest = digest_of(model_path)
    if against is None:
        verification = _replayed(model)
    else:
        verification = replay(model, source_answers(model, against, layers, entry, dict(bind), dict(size)))
    show(*([_as_json(verification, digest)] if as_json else _as_text(verification, digest)))
    if not verification.ok:
        ctx.exit(DIFFERS)


def _replayed(model: "Model") -> "Verification":
    """Replay the answers that the file holds; where it holds none, say why, as it was noted at its conversion."""
    try:
        return model.verify()
    except ModelError as error:
        raise ModelError(*error.args, *shown_notes(model.source.notes)) from error


def source_answers(
    model: "Model",
    path: Path,
    layers: str | None,
    entry: str | None = None,
    bind: "Mapping[str, ArrayLike] | None" = None,
    size: "Mapping[str, int] | None" = None,
) -> "ReferenceRun":
    """Return what the source framework answers to a test input with the file that the model was converted from."""
    from grurt.converters import convert

    state = model.signature.fed_back if any(isinstance(layer, Program) for layer in model.layers) else None
    context = [port.name for port in model.signature.inputs if is_context(port, model.context_shapes)]
    source = convert(path, layers=layers, entry=entry, repair=True, bind=bind, state=state, context=context, size=size)
    if source.reference_run is None:
        raise ConversionError(
            f"{path}: its framework gave no answers; {listed(map(shown_note, source.source.notes), separator='; ')}"
        )
    if source.signature != model.signature:
        raise ConversionError(
            f"{path}: expected the inputs and outputs {_ports(model)}, got {_ports(source)}: "
            "is this the file that the model was converted from?"
        )
    return source.reference_run


def _ports(model: "Model") -> str:
    return listed(port.name for port in model.signature.inputs + model.signature.outputs)


def _as_text(verification: "Verification", digest: str | None) -> list[str]:
    lines = [f"the file is undamaged: SHA-256 {digest}" if digest else "the file is of an older release: no SHA-256"]
    lines += [f"largest error against {verification.produced_by}, at most {verification.tolerance:.0e} is allowed:"]
    errors = list(verification.errors.items())
    if len(errors) > MAX_ROWS:
        errors.sort(key=lambda item: -item[1])
    lines += folded([f"  {cell(name)}: {error:.1e}" for name, error in errors], JSON_SHOWS_ALL)
    if verification.streamed:
        same = "the same bits as" if verification.same_bits else "NOT the same bits as"
        lines.append(f"streamed one timestep at a time: {same} in one piece")
    lines.append("ok" if verification.ok else "the answers DIFFER")
    return lines


def _as_json(verification: "Verification", digest: str | None) -> str:
    return json.dumps(
        {
            "sha256": digest,
            "compared_with": verification.produced_by,
            "errors": {name: json_number(error) for name, error in verification.errors.items()},
            "max_error": json_number(verification.max_error),
            "tolerance": verification.tolerance,
            "streamed": verification.streamed,
            "same_bits": verification.same_bits,
            "ok": verification.ok,
        }
    )
