"""Attaches the source framework's answers to a network, and compares those of the model with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError
from grurt.model import Model
from grurt.network.network import Network
from grurt.network.reference_run import PRECISIONS, Precision, ReferenceRun, declared_precision

N = TypeVar("N", bound=Network)


def attach_reference(network: N, run: Callable[[], ReferenceRun]) -> N:
    """Return the network with what ``run`` returns; or, if that is a ConversionError, with a note of the reason."""
    try:
        return network.replaced(reference_run=run())
    except ConversionError as error:
        return with_note(network, f"no reference run: {error}")


def precision_of(network: Network, computed: Iterable[str]) -> Precision | None:
    """Return the coarsest precision among the dtypes of what a source computed, as a `ReferenceRun` has it."""
    dtypes = set(computed)
    found = max((each for each in PRECISIONS if each in dtypes), key=PRECISIONS.index, default=None)
    declared = declared_precision(network.signature)
    return None if found == declared or {found, declared} == {"float32", "float64"} else found


def expect_finite(library: str, answers: Mapping[str, Array]) -> None:
    """Raise ConversionError if a library gave answers that nothing can be compared with."""
    if not all(np.isfinite(answer).all() for answer in answers.values()):
        raise ConversionError(f"{library} gave answers that are not finite")


def with_note(network: N, note: str) -> N:
    """Return the network with one more remark on where it came from."""
    notes = (*network.source.notes, note)
    return network.replaced(source=msgspec.structs.replace(network.source, notes=notes))


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
            f"{found.max_error:.2g}, where {found.tolerance:.2g} is allowed; please report this, it is a fault of the "
            "converter"
        )
