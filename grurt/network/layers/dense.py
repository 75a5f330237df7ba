"""Products of one timestep with a matrix, and rows of one."""

from collections.abc import Mapping
from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.inputs import AnyInput, TokenInput
from grurt.network.layers.base import MatrixLayer, Shape, with_bias
from grurt.network.vectors import padded, record_bytes, row_bytes

__all__ = ["Embedding", "Linear"]


class Linear(MatrixLayer, frozen=True, kw_only=True):
    """``y = W x + b``: ``weight (output_size, input_size)`` is W and, with ``bias``, ``bias (output_size,)`` is b."""

    input_size: int
    output_size: int
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        shapes = with_bias(self.bias, self.output_size, {"weight": (self.output_size, self.input_size)})
        return self._in_format(shapes)

    def packed_shapes(self) -> tuple[Shape, ...]:
        return ((padded(self.output_size), self.input_size),)

    def scratch_bytes(self, positions: int = 1) -> int:
        return positions * record_bytes(self.input_size) if self.scales() else 0

    def matrix_inputs(self) -> Mapping[str, str]:
        return {"weight": self.inputs[0]}

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        return self.output_size


class Embedding(MatrixLayer, frozen=True, kw_only=True):
    """Row ``token`` of ``weight (vocabulary_size, size)``. Reads a token input."""

    reads_tokens: ClassVar[bool] = True

    vocabulary_size: int
    size: int

    def weight_shapes(self) -> Mapping[str, Shape]:
        return self._in_format({"weight": (self.vocabulary_size, self.size)})

    def multiply_adds(self, positions: int = 1) -> int:
        return 0

    def products(self, positions: int = 1) -> int:
        return 0

    def packed_bytes(self) -> int:
        scales = row_bytes(self.vocabulary_size) if self.scales() else 0
        numbers = self.vocabulary_size * padded(self.size)
        return scales + numbers * {"float32": 4, "float16": 2, "int8": 1, "int4": 1}[self.weight_format]

    def first_input(self, name: str) -> AnyInput | None:
        return TokenInput(name, self.vocabulary_size)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        if input_sizes[0] != self.vocabulary_size:
            raise ModelError(
                f"layer {self.name!r}: expected a vocabulary of {self.vocabulary_size} tokens, "
                f"but {self.inputs[0]!r} has {input_sizes[0]}"
            )
        return self.size
