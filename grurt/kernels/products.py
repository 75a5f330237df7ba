"""Products of packed weights with rows of features: the loops that the engine spends its time in.

A *block* is some rows of features times some vectors of outputs, with all their sums in registers: a loop over the
inputs loads a weight once for all rows, and a feature once for all vectors. How many of each is fixed when the kernels
are compiled. As in `grurt.kernels.simd`, what is here is the definition, for every format of weights that
`grurt.kernels.panels` describes; `grurt.kernels.codegen.products` writes the loops.

Every sum has one order: in floating point one fused multiply-add for each input, the inputs in order. Sums of bytes are
exact integers, the same on every CPU, and join the floating-point sum with one fused multiply-add.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grurt.kernels import codes
from grurt.kernels.simd import Vector, fma, memory
from grurt.kernels.sizes import VECTOR_BYTES
from grurt.lanes import LANES

RECORD_HEADER = VECTOR_BYTES
"""Bytes before the quantized features of a row, see `grurt.kernels.quantize`: they begin with the scale."""

PANEL_VECTORS = 3
"""The vectors of outputs of a panel, unless it is said otherwise: a GRU's z, r and n."""


class Shape(NamedTuple):
    """How much a block multiplies."""

    rows: int
    panels: int
    vectors: int
    """Of outputs, in each panel."""

    @property
    def outputs(self) -> int:
        """The sums of a row, in vectors."""
        return self.panels * self.vectors


Product = Callable[[Any, Any, Any], Any]

BLOCKS: dict[Product, Shape] = {}
"""All instructions of this module."""


def _block(shape: Shape) -> Product:
    """Return the instruction for blocks of a shape.

    It is an instruction and not a kernel, so that the sums stay in registers on the way in and out.
    """

    def add_product(weights: Any, x: Any, sums: tuple[Vector, ...]) -> tuple[Vector, ...]:
        """``sums[row, output] + W[output, :] x[row, :]``: ``sums`` is a tuple of vectors, row by row, panel by panel.

        W are `grurt.kernels.panels.Panels`, and x `grurt.kernels.rows.Rows` of features, or, for INT8 and INT4, of
        their records.
        """
        start = np.reshape(sums, (shape.rows, shape.outputs, LANES))
        panels = [weights.address + weights.stride * i for i in range(shape.panels)]
        rows = [x.address + x.stride * i for i in range(shape.rows)]
        add = _add_bytes if weights.format in (codes.INT8, codes.INT4) else _add_floats
        return tuple(add(weights.format, panels, shape.vectors, rows, weights.n_inputs, start).reshape(-1, LANES))

    BLOCKS[add_product] = shape
    return add_product


row_times_vector = _block(Shape(1, 1, 1))
row_times_two_vectors = _block(Shape(1, 1, 2))
row_times_panel = _block(Shape(1, 1, PANEL_VECTORS))
row_times_two_panels = _block(Shape(1, 2, PANEL_VECTORS))
row_times_four_vectors = _block(Shape(1, 1, 4))
four_rows_times_vector = _block(Shape(4, 1, 1))
eight_rows_times_vector = _block(Shape(8, 1, 1))
four_rows_times_panel = _block(Shape(4, 1, PANEL_VECTORS))


def _add_floats(
    weight_format: int, panels: list[int], vectors: int, rows: list[int], n_inputs: int, sums: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``sum = fma(W[:, k], x[k], sum)`` for every k in order."""
    dtype = np.float16 if weight_format == codes.FLOAT16 else np.float32
    shape = (n_inputs, vectors, LANES)
    weights = [memory(panel, dtype, n_inputs * vectors * LANES).reshape(shape) for panel in panels]
    columns = np.concatenate(weights, axis=1).astype(np.float32)
    x = np.stack([memory(row, np.float32, n_inputs) for row in rows])
    for k in range(n_inputs):
        sums = fma(columns[k], x[:, k, np.newaxis, np.newaxis], sums)
    return sums


def _add_bytes(
    weight_format: int, panels: list[int], vectors: int, rows: list[int], n_inputs: int, sums: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``sum + scale * (correction + sum of W[:, k] q[k])``: q are bytes from 1 to 255, 128 being zero."""
    per_group = 4 if weight_format == codes.INT8 else 8
    groups = -(-n_inputs // per_group)
    vector_bytes = VECTOR_BYTES * vectors
    scales = np.concatenate([_vectors(panel, np.float32, vectors) for panel in panels])
    corrections = np.concatenate([_vectors(panel + vector_bytes, np.int32, vectors) for panel in panels])
    shape = (groups, vectors, LANES, 4)
    parts = [memory(panel + 2 * vector_bytes, np.int8, groups * vector_bytes).reshape(shape) for panel in panels]
    weights = np.concatenate(parts, axis=1)
    if weight_format == codes.INT4:
        # The lower and the upper halves, each as a byte of 16 times its value: shifting keeps the sign.
        weights = np.concatenate([weights << 4, weights & -16], axis=3)
    results = []
    for row, start in zip(rows, sums, strict=True):
        q = memory(row + RECORD_HEADER, np.uint8, groups * per_group).reshape(groups, per_group)
        total = corrections + np.einsum("gvoi,gi->vo", weights.astype(np.int32), q.astype(np.int32))
        results.append(fma(total.astype(np.float32), scales * memory(row, np.float32, 1), start))
    return np.stack(results)


def _vectors(address: int, dtype: Any, count: int) -> NDArray[Any]:
    return memory(address, dtype, count * LANES).reshape(count, LANES)
