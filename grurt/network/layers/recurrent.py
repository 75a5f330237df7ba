"""The gated recurrent unit."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ModelError
from grurt.network.functions import ElementwiseFunction, Sigmoid, Tanh
from grurt.network.layers.base import MatrixLayer, Shape, WeightFormat
from grurt.network.vectors import padded, record_bytes, row_bytes

__all__ = ["GRU"]


class GRU(MatrixLayer, frozen=True, kw_only=True, tag="gru"):
    """A gated recurrent unit scanning the timesteps in one direction (Cho et al. 2014, arXiv:1406.1078).

    With ``linear_before_reset`` (ONNX; Keras ``reset_after=True``; always in PyTorch)::

        z = f(W_z x + b_z + R_z h + c_z)
        r = f(W_r x + b_r + R_r h + c_r)
        n = g(W_n x + b_n + r * (R_n h + c_n))
        h' = (1 - z) * n + z * h

    and without it ``n = g(W_n x + b_n + R_n (r * h) + c_n)``. f is ``gate_activation``, g ``candidate_activation``.
    With ``clip``, the arguments of f and g are first limited to ``[-clip, clip]`` (ONNX ``clip``).

    Weights: ``weight_ih (3 * hidden_size, input_size)`` is W, ``weight_hh (3 * hidden_size, hidden_size)`` is R, with
    ``bias`` also ``bias_ih (3 * hidden_size,)``, b, and ``bias_hh (3 * hidden_size,)``, c; with a learned initial state
    also ``initial_state (hidden_size,)``.

    A bidirectional GRU is two of these, one of them with ``direction="reverse"``, and a `Concat`.

    Parameters
    ----------
    initial_state
        The state before the first timestep: ``"zeros"``; ``"learned"``, the weight; or ``"value"``, the last value that
        the layer reads, of ``hidden_size`` features: a vector behind `LastStep` or `FirstStep` of another sequence, as
        a decoder is handed the state of an encoder.
    masked
        Whether the layer reads a mask behind its input, a value of size 1. Where it is 0 the timestep is skipped: the
        state stays as it is, and is what the layer writes (Keras ``mask``). `FeatureMask` and `TokenMask` write masks.
    scaled_state
        Whether the layer reads, behind its input and mask, a factor of its state, of size 1 or ``hidden_size``: at
        each timestep, before anything else, ``h`` becomes ``factor * h``. A factor of 0 where an episode begins resets
        the state, 1 leaves it (``gru(x, h * mask)`` in PyTorch).
    scan
        On a grid: ``"time"``, with a state for each position ``(positions, hidden_size)`` and the same weights for all;
        or ``"positions"``: in every timestep from the initial state, over the positions from the first to the last, or
        in reverse. Then nothing is carried from one timestep to the next, and either direction can stream.
    """

    matrices: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh")
    weight_formats: ClassVar[tuple[WeightFormat, ...]] = ("float32", "float16", "int8", "int4")
    input_bias: ClassVar[str] = "bias_ih"
    positive: ClassVar[tuple[str, ...]] = ("clip",)
    needs_sequence: ClassVar[bool] = True
    silent_past_end: ClassVar[bool] = True
    later_fields: ClassVar[Mapping[str, int]] = {"scaled_state": 2}

    input_size: int
    hidden_size: int
    direction: Literal["forward", "reverse"] = "forward"
    linear_before_reset: bool = True
    bias: bool = True
    initial_state: Literal["zeros", "learned", "value"] = "zeros"
    masked: bool = False
    scan: Literal["time", "positions"] = "time"
    gate_activation: ElementwiseFunction = Sigmoid()
    candidate_activation: ElementwiseFunction = Tanh()
    clip: float | None = None
    scaled_state: bool = False

    def weight_shapes(self) -> Mapping[str, Shape]:
        rows = 3 * self.hidden_size
        shapes: dict[str, Shape] = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.initial_state == "learned":
            shapes["initial_state"] = (self.hidden_size,)
        return self._in_format(shapes)

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        if not self.scans_time:
            return {}
        return {self.name: (self.hidden_size,) if positions == 1 else (positions, self.hidden_size)}

    @property
    def has_unbounded_state(self) -> bool:
        # Between an old state and a bounded candidate, a gate from 0 to 1 finds nothing beyond both.
        least, largest = self.gate_activation.bounds
        candidate_is_bounded = self.clip is not None or all(map(math.isfinite, self.candidate_activation.bounds))
        return self.scaled_state or not (least >= 0 and largest <= 1 and candidate_is_bounded)

    def check_together(self, weights: Mapping[str, Array]) -> None:
        if self.bias:
            rows = slice(0, (2 if self.linear_before_reset else 3) * self.hidden_size)
            total = weights["bias_ih"][rows].astype(np.float64) + weights["bias_hh"][rows]
            self._expect_float32("a sum of two biases", total)

    def packed_shapes(self) -> tuple[Shape, ...]:
        rows = 3 * padded(self.hidden_size)
        return (rows, self.input_size), (rows, self.hidden_size)

    def scratch_bytes(self, positions: int = 1) -> int:
        return positions * (self.sums_bytes + (self.records_bytes if self.scales() else 0))

    @property
    def sums_bytes(self) -> int:
        """Bytes of the sums of the gates, of h and of what is computed of it, at a position."""
        return (4 if self.linear_before_reset else 5) * row_bytes(self.hidden_size)

    @property
    def records_bytes(self) -> int:
        """Bytes of the input and of h as integer weights are multiplied with them, at a position."""
        return record_bytes(self.input_size) + record_bytes(self.hidden_size)

    def matrix_inputs(self) -> Mapping[str, str]:
        return {"weight_ih": self.inputs[0], "weight_hh": self.name}

    @property
    def scans_time(self) -> bool:
        """Whether its state lives on from one timestep to the next."""
        return self.scan == "time"

    @property
    def unstreamable_reason(self) -> str | None:
        if self.scans_time and self.direction == "reverse":
            return f"layer {self.name!r} is a GRU in reverse direction: its first output depends on the last timestep"
        return None

    @property
    def final_state_at(self) -> Literal["first", "last"] | None:
        if not self.scans_time:
            return None
        return "last" if self.direction == "forward" else "first"

    @property
    def handed_state(self) -> str | None:
        return self.inputs[-1] if self.initial_state == "value" and self.inputs else None

    def without_handed_state(self) -> Self:
        if self.handed_state is None:
            return self
        return msgspec.structs.replace(self, inputs=self.inputs[:-1], initial_state="zeros")

    def input_counts(self) -> tuple[int, int]:
        count = 1 + self.masked + self.scaled_state + (self.initial_state == "value")
        return count, count

    @property
    def state_factor(self) -> str | None:
        """Name of the value that its state is multiplied by; None if there is none."""
        return self.inputs[1 + self.masked] if self.scaled_state and len(self.inputs) > 1 + self.masked else None

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if self.initial_state == "value" and (inputs[0][0] > 1 or not self.scans_time):
            raise ModelError(
                f"layer {self.name!r}: initial_state='value' is for a GRU that scans the time of single vectors, "
                f"got scan={self.scan!r} over {inputs[0][0]} positions: hand the state to such a GRU as a state port"
            )
        if self.scaled_state and not self.scans_time:
            raise ModelError(
                f"layer {self.name!r}: scaled_state is for a GRU that scans the time, got scan={self.scan!r}"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.input_size, input_sizes[0])
        if self.masked and input_sizes[1] != 1:
            raise ModelError(f"layer {self.name!r}: expected a mask of size 1, got {input_sizes[1]}")
        if self.scaled_state and (factor := input_sizes[1 + self.masked]) not in (1, self.hidden_size):
            raise ModelError(
                f"layer {self.name!r}: expected a factor of the state of size 1 or {self.hidden_size}, got {factor}"
            )
        if self.initial_state == "value" and input_sizes[-1] != self.hidden_size:
            raise ModelError(
                f"layer {self.name!r}: expected an initial state of size {self.hidden_size}, got {input_sizes[-1]}"
            )
        return self.hidden_size
