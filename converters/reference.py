"""Attaches the source framework's answers to a model, and compares the model's own with them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from grurt.errors import ConversionError
from grurt.model import Model, Source
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import Signature


def with_reference(
    model: Model, run: ReferenceRun | None, *, signature: Signature | None = None, source: Source | None = None
) -> Model:
    """Return the model with this reference run; with a signature or source, if given, instead of its own."""
    return model.replaced(signature=signature or model.signature, source=source or model.source, reference_run=run)


def attach_reference(model: Model, run: Callable[[], ReferenceRun]) -> Model:
    """Return the model with what ``run`` returns; or, if that is a ConversionError, with a note of the reason."""
    try:
        return with_reference(model, run())
    except ConversionError as error:
        return with_note(model, f"no reference run: {error}")


def with_note(model: Model, note: str) -> Model:
    """Return the model with one more remark on where it came from."""
    source = msgspec.structs.replace(model.source, notes=(*model.source.notes, note))
    return with_reference(model, model.reference_run, source=source)


def check_reference(model: Model) -> None:
    """Replay the model's reference run, if it has one; this starts the engine.

    Raises
    ------
    ConversionError
        If the model's answers are not those that its source gave.
    """
    if model.reference_run is None:
        return
    found = model.verify()
    if not found.max_error <= found.tolerance:
        raise ConversionError(
            f"{model.source.file or 'model'}: expected the answers of {found.produced_by}, got others, by up to "
            f"{found.max_error:.2g}; please report this, it is a fault of the converter"
        )
