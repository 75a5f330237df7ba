"""What a program is made of when it is lowered: a few primitives, over views.

A step knows which storages it reads and writes, and how it stands in the kernels' tables: see `grurt.kernels.programs`,
which has the equations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.lowering.programs.views import Digits, Storage, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Floats
    from grurt.lowering.packing import Matrix
    from grurt.network import operators as op


@dataclass(eq=False, kw_only=True)
class Step:
    """One primitive: it reads some views and writes others, with working memory of its own."""

    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    work: tuple[Storage, ...] = ()

    @property
    def storages(self) -> Iterable[Storage]:
        """The storages that it touches."""
        return [*(view.storage for view in (*self.inputs, *self.outputs)), *self.work]


@dataclass(eq=False, kw_only=True)
class Map(Step):
    """A function of every number of one to three views, which are of the output's shape, or broadcast to it."""

    code: int
    parameters: tuple[float, float] = (0.0, 0.0)


@dataclass(eq=False, kw_only=True)
class Contract(Step):
    """Rows of the input times constant weights: ``out[r, m] = bias[m] + sum_k weights[m, k] x[rows[r] + inputs[k]]``.

    The outputs of a row lie side by side.
    """

    rows: NDArray[np.int64]
    """Where the rows of the input begin, in its storage."""
    places: NDArray[np.int64]
    """Where, from there, the inputs of a row lie."""
    out_rows: NDArray[np.int64]
    weights: Matrix
    """``(outputs, inputs)``."""
    bias: Floats


@dataclass(eq=False, kw_only=True)
class Quantize(Step):
    """Rows of the input as records of bytes, which a `Contract` with integer weights reads in their place.

    Its working memory is for the inputs of a row, side by side.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    """As those of a `Contract`."""
    out_rows: NDArray[np.int64]
    """Where the records begin."""


@dataclass(eq=False, kw_only=True)
class Depthwise(Step):
    """A weight for each tap and channel: ``out[r, c] = bias[c] + sum_t weights[t, c] x[rows[r] + taps[t] + c]``."""

    rows: NDArray[np.int64]
    taps: NDArray[np.int64]
    out_rows: NDArray[np.int64]
    weights: Floats
    """``(taps, channels)``."""
    bias: Floats


@dataclass(eq=False, kw_only=True)
class Scan(Step):
    """A recurrent operator in one direction, with rows of hidden units that are padded to whole vectors.

    Inputs are x and the states, which it changes; outputs are Y and the states.
    """

    operator: op.GRU | op.LSTM | op.RNN
    is_reversed: bool
    length: int
    batch: int
    x_stride: int
    out_stride: int
    states: tuple[View, ...]
    """h, and of an `LSTM` c: ``(1, batch, hidden_size)``."""
    weight_ih: Matrix
    weight_hh: Matrix
    bias_ih: Floats
    bias_hh: Floats


@dataclass(eq=False, kw_only=True)
class Reduce(Step):
    """One number of many: ``out[r] = operation over j of x[rows[r] + along[j]]``."""

    code: int
    kept: Digits
    """The digits of the input's axes that stay,"""
    along: Digits
    """and of those that go."""
    scale: float = 1.0


@dataclass(eq=False, kw_only=True)
class RowWise(Step):
    """Softmax, its logarithm, or a normalization, of rows that are padded to whole vectors."""

    code: int
    n_rows: int
    size: int
    epsilon: float = 0.0


@dataclass(eq=False, kw_only=True)
class Product(Step):
    """The matrix products of two views: ``out[..., m, n] = sum_k a[..., m, k] b[..., k, n]``, all with as many axes."""
