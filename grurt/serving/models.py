"""The models of a service, from their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grurt.runtime.making_contexts import refuse_contexts
from grurt.serving.names import check_model_name

if TYPE_CHECKING:
    from grurt.model import Model


def name_of(path: Path) -> str:
    """Return the name of the model that a file holds: its own, without the suffix. Raises GrurtError if it is none."""
    return check_model_name(path.stem)


def load_model(path: Path) -> Model:
    """Return the model of a file, ready to run; of another format than ``.grurt``, it is converted.

    Raises
    ------
    GrurtError, OSError
        If the file cannot be read, or holds something else.
    StreamingError
        If the model's streams are given contexts, which clients cannot give.
    """
    from grurt.container.header import is_of_model
    from grurt.converters.foreign_formats import HEAD_BYTES
    from grurt.loading import get_ready, load
    from grurt.regular_files import open_regular_file

    with open_regular_file(path) as file:
        is_own = is_of_model(file.read(HEAD_BYTES))
    if is_own:
        model = load(path)
    else:
        from grurt.converters import convert

        model = convert(path)
        get_ready(model)
    refuse_contexts(str(path), model)
    return model
