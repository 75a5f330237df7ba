"""The constants of a program, in whatever format they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from grurt.lowering.packing import Matrix

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.lowering.packing import Numbers
    from grurt.network.layers.base import WeightFormat


class Constant(NamedTuple):
    """Numbers of any shape; integers with scales, one for each output of a product with them."""

    values: Numbers
    weight_format: WeightFormat = "float32"
    scale: Floats | None = None

    @property
    def floats(self) -> Floats:
        """The numbers of a constant in float32."""
        return np.asarray(self.values, np.float32)

    def matrix(self, values: Numbers, outputs: slice | int = slice(None)) -> Matrix:
        """Return a part of the numbers, arranged as ``(outputs, inputs)``, that is of some of the scales.

        ``outputs`` says which along the first axis of the scales.
        """
        return Matrix(values, self.weight_format, None if self.scale is None else self.scale[outputs].ravel())
