"""Reads ``.grurt`` files as models."""

from __future__ import annotations

import os

from grurt.container import reading
from grurt.errors import ModelError, ModelFileError
from grurt.model import Model
from grurt.network.costs import MAX_OPERATIONS, Limits


def load(
    path: str | bytes | os.PathLike[str], *, max_bytes: int | None = None, max_operations: int = MAX_OPERATIONS
) -> Model:
    """Read a ``.grurt`` file, and get the engine ready: when this returns, nothing is left to compile.

    Parameters
    ----------
    path
        A file that `Model.save` wrote. All of it is checked before anything is used; nothing in it is ever run.
    max_bytes
        Memory that the model and one stream of it may take, and that `Model.verify` may; by default 256 MiB, and four
        times the weights. A small file can ask for much: `Model.costs` says how much.
    max_operations
        What a timestep may take: multiplications, of which a function or a copy of a number counts 16; `Model.verify`
        may take 256 times as many. By default 2^30: half a second, at worst.

    Raises
    ------
    ModelFileError
        If it is not a ``.grurt`` file, is damaged, contradicts itself, is of a newer format version, or costs more.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    >>> model = grurt.load("activity.grurt")  # doctest: +SKIP
    >>> stream = model.stream()  # doctest: +SKIP
    """
    model = read(path, Limits(max_bytes, max_operations))
    try:
        get_ready(model)
    except ModelError as error:
        raise ModelFileError(f"{os.fsdecode(path)}: {error}") from error
    return model


def get_ready(model: Model) -> None:
    """Get the engine ready to run a model: nothing is left to compile, or to lower."""
    from grurt.runtime.engine import ready

    ready()
    for stage in model.stages:
        stage.plan  # noqa: B018 - lowers the model


def read(path: str | bytes | os.PathLike[str], limits: Limits | None = None) -> Model:
    """Read a ``.grurt`` file as `load` does, but leave the engine alone: for tools that do not compute."""
    return Model.from_network(reading.read(path, limits))
