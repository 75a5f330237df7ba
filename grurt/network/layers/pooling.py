"""What a sequence comes to: one vector of all its timesteps."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from grurt.errors import ModelError
from grurt.network.layers.base import Shape, SizedLayer
from grurt.network.vectors import row_bytes

__all__ = ["TimePooling"]


class TimePooling(SizedLayer, frozen=True, kw_only=True):
    """One vector of all timesteps of a sequence. In a stream: of those so far, the answer so far.

    A step costs the same however long the sequence is: the state is what the timesteps so far come to. Sums are
    compensated, so that they are as precise after 50 million timesteps as after a few.

    The last timestep is `LastStep`. As long as no timestep has counted, the answer is 0, also for the maximum.

    Its states are ``(2, size)`` for sums, of which the second row is what rounding has left of the first, or
    ``(1, size)`` for the maximum; beside it, under its name with ``.count``, how many timesteps have counted, a sum of
    two numbers ``(2,)``; or, of a softmax, under its name with ``.scores``, ``(3, 1)`` or ``(3, size)``: the score that
    others are compared with, within 8 of the largest, and in two rows the sum of ``exp(s - that score)``.

    Parameters
    ----------
    size
        Features of a timestep, and of the answer.
    operation
        What becomes of the values x of the timesteps, feature by feature: ``"sum"``, ``"mean"``, ``"max"``, or
        ``"softmax"``, ``sum_t exp(s_t) x_t / sum_t exp(s_t)``, with scores s that the layer reads behind its input. A
        score of minus infinity leaves a timestep out.
    score_size
        How many scores a timestep has: 1, or one for each feature.
    masked
        Whether the layer reads a mask, a value of size 1, as the last of its inputs. Where it is 0, the timestep does
        not count (Keras ``mask``). `FeatureMask` and `TokenMask` write masks.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> model = grurt.Model(
    ...     layers=[grurt.TimePooling(name="mean", size=2, operation="mean")], weights={}
    ... )
    >>> stream = model.stream()
    >>> stream.step([1.0, 5.0]), stream.step([3.0, 6.0])
    (array([1., 5.], dtype=float32), array([2. , 5.5], dtype=float32))
    >>> model.run(np.float32([[1, 5], [3, 6]]))
    array([2. , 5.5], dtype=float32)
    """

    file_version: ClassVar[int] = 2
    max_inputs: ClassVar[int] = 3
    needs_sequence: ClassVar[bool] = True
    joins_sequences: ClassVar[bool] = True

    operation: Literal["sum", "mean", "max", "softmax"]
    score_size: int = 1
    masked: bool = False

    @property
    def selects_timestep(self) -> bool:
        return True

    @property
    def has_scores(self) -> bool:
        """Whether it reads scores."""
        return self.operation == "softmax"

    def packed_bytes(self) -> int:
        return 0

    def scratch_bytes(self, positions: int = 1) -> int:
        # What a timestep weighs, and what the sums so far are multiplied by.
        return 2 * row_bytes(self.score_size) if self.has_scores else 0

    def passes(self) -> int:
        return 3 if self.has_scores else 2

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        total = (1 if self.operation == "max" else 2, self.size)
        if self.has_scores:
            return {self.name: total, f"{self.name}.scores": (3, self.score_size)}
        return {self.name: total, f"{self.name}.count": (2,)}

    @property
    def has_unbounded_state(self) -> bool:
        return True

    def input_counts(self) -> tuple[int, int]:
        count = 1 + self.has_scores + self.masked
        return count, count

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if (positions := inputs[0][0]) > 1:
            raise ModelError(
                f"layer {self.name!r}: a TimePooling reads single vectors, got {positions} positions: Flatten first"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        self._expect_input_size(self.size, input_sizes[0])
        if self.score_size not in ((1, self.size) if self.has_scores else (1,)):
            raise ModelError(
                f"layer {self.name!r}: expected score_size=1{f' or {self.size}' if self.has_scores else ''}, "
                f"got {self.score_size}"
            )
        if self.has_scores and input_sizes[1] != self.score_size:
            raise ModelError(f"layer {self.name!r}: expected scores of size {self.score_size}, got {input_sizes[1]}")
        if self.masked and input_sizes[-1] != 1:
            raise ModelError(f"layer {self.name!r}: expected a mask of size 1, got {input_sizes[-1]}")
        return self.size
