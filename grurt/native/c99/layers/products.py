"""Products of a timestep with the rows of a matrix, in each format of weights.

A sum of floating point begins with a bias and has one multiply-add for each feature, in order. A sum of integers is
exact; it joins the floating-point sum with one multiply-add, times the scale of its row and that of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import MatrixLayer
    from grurt.network.layers.base import WeightFormat

LEAST_INPUT = 1e-30
LEAST_STATE = 1.0
"""Bounds below which features are not scaled up: those of `grurt.kernels.quantize`."""

ELEMENTS = {"float32": "{row}[{k}]", "float16": "grurt_half({row}[{k}])"}
"""Number k of a row, by the format of the numbers."""
DOTS = {"int8": "grurt_dot", "int4": "grurt_dot_of_nibbles"}
"""Products of a row with integers."""


class Product:
    """A matrix of a layer, times features: rows of one *unit*, such as the gates of a hidden unit, at once.

    Parameters
    ----------
    unit, owner, name
        The matrix.
    array
        Its rows, unit by unit: ``(units, rows, features)``, or ``(units, features)``; of int4 the bytes.
    features
        How many features it is multiplied with.
    weight_format
        What its numbers are.
    scale
        Of integers, ``(units, rows)`` or ``(units,)``.
    """

    def __init__(
        self,
        unit: Unit,
        owner: str,
        name: str,
        array: Array,
        features: int,
        weight_format: WeightFormat,
        scale: Array | None,
    ) -> None:
        self._window = ""
        if array.ndim == 3 and array.shape[2] == features and (blocks := diagonal_blocks(array)) > 1:
            units, features = len(array) // blocks, features // blocks
            parts = enumerate(array.reshape(blocks, units, -1, blocks, features))
            array = np.concatenate([part[:, :, block] for block, part in parts])
            self._window = f" + {features} * (i / {units})"
        self.array = unit.constant(owner, name, array)
        self.features = features
        self.is_integer = scale is not None
        self.scale = unit.constant(owner, f"{name}_scale", scale) if scale is not None else ""
        self._format = weight_format

    def sums(self, rows: Sequence[str], results: Sequence[str], x: str, x_scale: str, scales: Sequence[str]) -> str:
        """Return statements that add the products of rows to results.

        Parameters
        ----------
        rows
            Each row of the matrix, an expression.
        results
            The variable of each sum.
        x, x_scale
            The features, and their scale where they are integers.
        scales
            The scale of each row.
        """
        if self.is_integer:
            return self._integer_sums(rows, results, x, x_scale, scales)
        elements = [ELEMENTS[self._format].format(row=row, k="k") for row in rows]
        own = f"({x}{self._window})" if self._window else x
        turns = [f"{y} = grurt_fma({w}, {own}[k], {y});" for w, y in zip(elements, results, strict=True)]
        return loop("k", self.features, turns)

    def _integer_sums(
        self, rows: Sequence[str], results: Sequence[str], x: str, x_scale: str, scales: Sequence[str]
    ) -> str:
        own = f"{x}{self._window}"
        before, dots = [], [f"{DOTS[self._format]}({row}, {own}, {self.features})" for row in rows]
        if len(rows) == 3 and self._format == "int8":
            totals = f"{x}_sums"
            before = [f"int32_t {totals}[3];", f"grurt_three_dots({rows[0]}, {own}, {self.features}, {totals});"]
            dots = [f"{totals}[{number}]" for number in range(3)]
        sums = (
            f"{y} = grurt_fma((float){dot}, {scale} * {x_scale}, {y});"
            for y, dot, scale in zip(results, dots, scales, strict=True)
        )
        return "\n".join([*before, *sums])


def loop(index: str, count: int, statements: Sequence[str]) -> str:
    """Return a loop over some statements."""
    head = f"for (int {index} = 0; {index} < {count}; {index}++)"
    if len(statements) == 1 and "\n" not in statements[0]:
        return f"{head}\n    {statements[0]}"
    body = "\n".join(f"    {line}" for statement in statements for line in statement.split("\n"))
    return f"{head} {{\n{body}\n}}"


def diagonal_blocks(array: Array) -> int:
    """Return into how many blocks ``(units, rows, features)`` falls that have nothing in common: 1 if into none.

    Block b is of the b-th part of the units, and of the b-th part of the features.
    """
    units, _, features = array.shape
    used = (array != 0).any(axis=1)
    for blocks in range(min(units, features), 1, -1):
        if units % blocks or features % blocks:
            continue
        of_blocks = used.reshape(blocks, units // blocks, blocks, -1).any(axis=(1, 3))
        if np.array_equal(of_blocks, np.eye(blocks, dtype=bool)):
            return blocks
    return 1


def scales_of(unit: Unit, layer: MatrixLayer, name: str) -> Array | None:
    """Return the scales of a matrix of integers; None of one of floating point."""
    return unit.network.weights.get(f"{layer.name}.{name}_scale")


def by_unit(array: Array, gates: int) -> Array:
    """From blocks of gates ``(gates * units, ...)`` to units with their gates, ``(units, gates, ...)``."""
    blocks = array.reshape(gates, -1, *array.shape[1:])
    return np.ascontiguousarray(np.moveaxis(blocks, 0, 1))
