"""Convolutions over time."""

from collections.abc import Mapping
from typing import ClassVar

from grurt.errors import ModelError
from grurt.network.layers.base import MatrixLayer, Shape, with_bias
from grurt.network.vectors import padded, record_bytes, row_bytes

__all__ = ["Conv1d"]


class Conv1d(MatrixLayer, frozen=True, kw_only=True):
    """Causal convolution over the timesteps, stride 1.

    ``y_t = b + sum_k W[:, :, k] x_{t - (kernel_size - 1 - k) * dilation}``. Timesteps before the first
    are zero. The state is the last ``(kernel_size - 1) * dilation`` inputs, oldest first. Weights, laid out as in
    PyTorch and ONNX: ``weight (output_size, input_size / groups, kernel_size)`` and, if there is
    one, ``bias (output_size,)``.
    """

    needs_sequence: ClassVar[bool] = True
    keeps_input: ClassVar[bool] = True

    input_size: int
    output_size: int
    kernel_size: int
    dilation: int = 1
    groups: int = 1
    bias: bool = True

    def weight_shapes(self) -> Mapping[str, Shape]:
        weight = (self.output_size, self.input_size // self.groups, self.kernel_size)
        return self._in_format(with_bias(self.bias, self.output_size, {"weight": weight}))

    @property
    def is_depthwise(self) -> bool:
        """Whether every feature has a group and an output of its own."""
        return self.groups == self.input_size == self.output_size

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        history = (self.kernel_size - 1) * self.dilation
        return {self.name: (history, self.input_size)} if history else {}

    @property
    def features_per_output(self) -> int:
        """How many numbers an output is computed of: those of all taps of its group."""
        return self.kernel_size * (self.input_size // self.groups)

    @property
    def outputs_per_group(self) -> int:
        """How many outputs are computed of the same numbers."""
        return self.output_size // self.groups

    def packed_shapes(self) -> tuple[Shape, ...]:
        if self.is_depthwise:
            return ((padded(self.output_size), self.kernel_size),)
        return ((self.groups * padded(self.outputs_per_group), self.features_per_output),)

    def scratch_bytes(self, positions: int = 1) -> int:
        if self.is_depthwise:
            return 0
        records = record_bytes(self.features_per_output) if self.scales() else 0
        return row_bytes(self.features_per_output) + row_bytes(self.outputs_per_group) + records

    @property
    def is_quantizable(self) -> bool:
        return not self.is_depthwise

    def check_format(self) -> None:
        if self.weight_format != "float32" and self.is_depthwise:
            raise ModelError(f"layer {self.name!r}: a depthwise Conv1d keeps float32 weights, got {self.weight_format}")
        super().check_format()

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if (positions := inputs[0][0]) > 1:
            raise ModelError(
                f"layer {self.name!r}: a Conv1d reads single vectors, got {positions} positions: Flatten first, "
                f"and repeat the weights in groups"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        if self.input_size % self.groups or self.output_size % self.groups:
            raise ModelError(
                f"layer {self.name!r}: groups={self.groups} must divide input_size={self.input_size} "
                f"and output_size={self.output_size}"
            )
        return self.output_size
