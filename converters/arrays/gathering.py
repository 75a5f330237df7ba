"""The arrays that a described layer names, one or several for each of PyTorch's parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.description import LayerDescription
from grurt.converters.kinds import KINDS
from grurt.errors import DescriptionError

_MAX_PARTS = 16
_GATES = 3

ZERO = "0"
"""In place of the name of an array that a GRU does not have: its numbers are zeros."""


def gather(
    kind: str, item: LayerDescription, tensors: Mapping[str, Array], prefix: str, where: str
) -> tuple[dict[str, Array], set[str]]:
    """Return the layer's arrays by parameter name, and the names of those used.

    ``weight_ih="W_z+W_r+W_n"`` puts three arrays, one for each gate, side by side along their outputs. A ``0`` among
    them is a gate's block of zeros; a parameter of a GRU that is ``0`` is left out, and `conventions` fills it in.

    Raises
    ------
    DescriptionError
        If a parameter or array does not exist, or arrays do not fit side by side.
    """
    parameters = KINDS[kind].parameters
    found: dict[str, Array] = {}
    used: set[str] = set()
    for parameter, names in item.arrays.items():
        if parameter not in parameters:
            raise DescriptionError(
                f"{where}: expected the parameters {', '.join(parameters)} of {kind}, got {parameter!r}"
            )
        parts = [name.removeprefix(prefix) for name in ([names] if names in tensors else names.split("+"))]
        if len(parts) > _MAX_PARTS:
            raise DescriptionError(f"{where}: expected at most {_MAX_PARTS} arrays for {parameter}, got {len(parts)}")
        zeros = {ZERO} - tensors.keys() if kind == "gru" else set()
        if zeros.issuperset(parts):
            continue
        for name in parts:
            if name not in tensors and name not in zeros:
                raise DescriptionError(
                    f"{where}: expected an array, got none called {name!r} for {parameter}; "
                    f"there are {', '.join(list(tensors)[:40])}"
                )
        used.update(name for name in parts if name in tensors)
        found[parameter] = _side_by_side(parameter, [tensors.get(name) for name in parts], item, where)
    return found, used


def _side_by_side(parameter: str, parts: list[Array | None], item: LayerDescription, where: str) -> Array:
    """Return arrays side by side along their outputs; None is a gate's block of zeros."""
    given = [part for part in parts if part is not None]
    if len(parts) == 1:
        return given[0]
    if item.layout is None and given[0].ndim > 1:
        raise DescriptionError(
            f"{where}: expected the layout of the matrices in {parameter}, got none; "
            "say layout=rows if it computes W @ x, layout=columns if x @ W"
        )
    axis = -1 if item.layout == "columns" else 0
    shapes = ", ".join(str(part.shape) for part in given)
    try:
        if item.joined is not None and parameter.startswith("weight"):
            given = _of_both(given, axis, len(parts) - len(given), item)
        filled = iter(given)
        blocks = [_zeros_like(given, axis, len(parts)) if part is None else next(filled) for part in parts]
        return np.concatenate(blocks, axis=axis)
    except (ValueError, IndexError) as error:
        raise DescriptionError(
            f"{where}: expected arrays that fit side by side in {parameter}, got {shapes}: {error}"
        ) from error


def _hidden_size(given: list[Array], axis: int, zeros: int) -> int:
    """Return the outputs of one gate, of arrays that hold those of all gates but so many; ValueError if none fit."""
    outputs, gates = sum(int(part.shape[axis]) for part in given), _GATES - zeros
    if gates < 1 or outputs % gates:
        raise ValueError("their outputs are not those of a number of gates")
    return outputs // gates


def _zeros_like(given: list[Array], axis: int, count: int) -> Array:
    """Return a block of zeros for one of the gates, where so many blocks are named in all."""
    shape = list(given[0].shape)
    shape[axis] = _hidden_size(given, axis, count - len(given))
    return np.zeros(shape, given[0].dtype)


def _of_both(given: list[Array], axis: int, zeros: int, item: LayerDescription) -> list[Array]:
    """Return matrices on the state and the input side by side; those on one of them have zeros for the other."""
    hidden = _hidden_size(given, axis, zeros)
    matrices = [part if axis == 0 else part.T for part in given]
    full = max(matrix.shape[1] for matrix in matrices)
    whole = []
    for matrix in matrices:
        missing = full - matrix.shape[1]
        if missing and (missing not in (hidden, full - hidden) or full == 2 * hidden):
            raise ValueError("one reads neither all, nor the state alone or the input alone; or both have one size")
        state_is_missing = missing == hidden
        before = state_is_missing == (item.joined == "hx")
        whole.append(np.pad(matrix, ((0, 0), (missing, 0) if before else (0, missing))))
    return whole if axis == 0 else [matrix.T for matrix in whole]
