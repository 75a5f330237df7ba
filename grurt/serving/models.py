"""The models of a service, from their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grurt.errors import StreamingError
from grurt.runtime.making_contexts import refuse_contexts
from grurt.serving.names import check_model_name

if TYPE_CHECKING:
    from grurt.model import Model


_HEAD = 512


def name_of(path: Path) -> str:
    """Return the name of the model that a file holds: its own, without the suffix. Raises GrurtError if it is none."""
    return check_model_name(path.stem)


def load_model(path: Path) -> Model:
    """Return the model of a file, ready to stream; of another format than ``.grurt``, it is converted.

    Raises
    ------
    GrurtError, OSError
        If the file cannot be read, or holds something else.
    StreamingError
        If the model needs whole sequences, or contexts, which clients cannot give.
    """
    from grurt.container.header import is_of_model
    from grurt.loading import get_ready, load
    from grurt.regular_files import open_regular_file

    with open_regular_file(path) as file:
        is_own = is_of_model(file.read(_HEAD))
    if is_own:
        model = load(path)
    else:
        from grurt.converters import convert

        model = convert(path)
        get_ready(model)
    if model.unstreamable_reason is not None:
        raise StreamingError(
            f"{path}: cannot be served step by step: {model.unstreamable_reason}", reason=model.unstreamable_by_design
        )
    refuse_contexts(str(path), model)
    return model
