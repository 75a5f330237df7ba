"""The arrays that a described layer names, one or several for each of PyTorch's parameters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.description import LayerDescription
from grurt.converters.kinds import KINDS
from grurt.errors import DescriptionError

_MAX_PARTS = 16


def gather(
    kind: str, item: LayerDescription, tensors: Mapping[str, Array], prefix: str, where: str
) -> tuple[dict[str, Array], set[str]]:
    """Return the layer's arrays by parameter name, and the names of those used.

    ``weight_ih="W_z+W_r+W_n"`` puts three arrays, one for each gate, side by side along their outputs.

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
        for name in parts:
            if name not in tensors:
                raise DescriptionError(
                    f"{where}: expected an array, got none called {name!r} for {parameter}; "
                    f"there are {', '.join(list(tensors)[:40])}"
                )
        used.update(parts)
        found[parameter] = _side_by_side(parameter, [tensors[name] for name in parts], item, where)
    return found, used


def _side_by_side(parameter: str, parts: list[Array], item: LayerDescription, where: str) -> Array:
    if len(parts) == 1:
        return parts[0]
    if item.layout is None and parts[0].ndim > 1:
        raise DescriptionError(
            f"{where}: expected the layout of the matrices in {parameter}, got none; "
            "say layout=rows if it computes W @ x, layout=columns if x @ W"
        )
    try:
        return np.concatenate(parts, axis=-1 if item.layout == "columns" else 0)
    except ValueError as error:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise DescriptionError(
            f"{where}: expected arrays that fit side by side in {parameter}, got {shapes}"
        ) from error
