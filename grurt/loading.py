"""Reads ``.grurt`` files as models."""

from __future__ import annotations

import os

from grurt.container import reading
from grurt.model import Model


def load(path: str | os.PathLike[str]) -> Model:
    """Read a ``.grurt`` file, and get the engine ready: when this returns, nothing is left to compile.

    Parameters
    ----------
    path
        A file that `Model.save` wrote. All of it is checked before anything is used; nothing in it is ever run.

    Raises
    ------
    ModelFileError
        If it is not a ``.grurt`` file, is damaged, contradicts itself, or is of a newer format version.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> model = grurt.load("activity.grurt")  # doctest: +SKIP
    >>> stream = model.stream()  # doctest: +SKIP
    """
    model = read(path)
    from grurt.runtime.engine import ready

    ready()
    for stage in model.stages:
        stage.plan  # noqa: B018 - lowers the model, which may refuse it
    return model


def read(path: str | os.PathLike[str]) -> Model:
    """Read a ``.grurt`` file as `load` does, but leave the engine alone: for tools that do not compute."""
    return Model.from_network(reading.read(path))
