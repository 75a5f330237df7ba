"""Windows of timesteps, of which convolutions that look ahead, strides and pools consist; and sequences of a vector."""

from typing import ClassVar, Literal

from grurt.errors import ModelError
from grurt.network.layers.base import Layer

__all__ = ["RepeatVector", "Unfold"]

MAX_PADDING = 1 << 20


class Unfold(Layer, frozen=True, kw_only=True):
    """Windows of a sequence: timesteps side by side, earliest first, as one vector.

    ``y_t = [x_s, x_{s + dilation}, ..., x_{s + (kernel_size - 1) dilation}]`` where ``s = stride * t - before``, for as
    many t as there are windows between ``before`` timesteps before the first one and ``after`` behind the last one.
    Timesteps outside of the sequence hold ``fill``. A sequence of another length begins here: layers behind it run over
    it as over any. Cannot stream.

    Parameters
    ----------
    kernel_size, stride, dilation
        Timesteps of a window, from one window to the next, and from one timestep of a window to the next.
    padding
        ``(before, after)``; negative numbers cut timesteps off. Or ``"same"``, by which there are ``ceil(n / stride)``
        windows of n timesteps: as many timesteps are put before as behind, or one more behind (``"same_lower"``: one
        more before).
    fill
        What the timesteps of the padding hold.
    """

    file_version: ClassVar[int] = 2
    needs_sequence: ClassVar[bool] = True
    resamples: ClassVar[bool] = True

    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] | Literal["same", "same_lower"] = (0, 0)
    fill: float = 0.0

    @property
    def span(self) -> int:
        """From the first timestep of a window to the last, how many there are."""
        return (self.kernel_size - 1) * self.dilation + 1

    @property
    def surplus(self) -> int:
        """How many timesteps the padding has beyond those of a window: there are ``(n + surplus) // stride + 1``."""
        return -1 if isinstance(self.padding, str) else sum(self.padding) - self.span

    @property
    def least_steps(self) -> int:
        """The fewest timesteps of which there is a window."""
        return max(1, -self.surplus)

    def window_count(self, n_steps: int) -> int:
        """Return how many windows there are of so many timesteps."""
        return (n_steps + self.surplus) // self.stride + 1

    def padding_before(self, n_steps: int) -> int:
        """Return how many timesteps are put before the first one of a sequence of so many."""
        if not isinstance(self.padding, str):
            return self.padding[0]
        total = max(0, (self.window_count(n_steps) - 1) * self.stride + self.span - n_steps)
        return (total + (self.padding == "same_lower")) // 2

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if (positions := inputs[0][0]) > 1:
            raise ModelError(
                f"layer {self.name!r}: an Unfold reads single vectors, got {positions} positions: Flatten first"
            )
        for count in () if isinstance(self.padding, str) else self.padding:
            if not -MAX_PADDING <= count <= MAX_PADDING:
                raise ModelError(
                    f"layer {self.name!r}: padding must be in [-{MAX_PADDING}, {MAX_PADDING}], got {count}"
                )
        if self.span > MAX_PADDING:
            raise ModelError(
                f"layer {self.name!r}: expected a window over at most {MAX_PADDING} timesteps, got {self.span}"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        return self.kernel_size * input_sizes[0]

    @property
    def ahead(self) -> int:
        before = self.padding_before(self.span) if isinstance(self.padding, str) else self.padding[0]
        return max(0, self.span - 1 - before)

    @property
    def unstreamable_reason(self) -> str:
        where = f"layer {self.name!r}"
        if self.stride > 1:
            return f"{where} gives one timestep for every {self.stride}"
        if self.ahead:
            return f"{where} looks {self.ahead} {_timesteps(self.ahead)} ahead"
        if (longer := self.surplus + 1) > 0:
            return f"{where} adds {longer} {_timesteps(longer)} to the sequence, into which later layers look"
        if (shorter := -longer) > 0:
            return f"{where} leaves the last {shorter} {_timesteps(shorter)} out"
        return f"{where} gives windows of whole sequences"


def _timesteps(count: int) -> str:
    return "timestep" if count == 1 else "timesteps"


class RepeatVector(Layer, frozen=True, kw_only=True):
    """A sequence of one vector: ``y_t = x`` at every timestep.

    A sequence of its own begins here, behind the one at whose end the vector is known: layers behind it run over it as
    over any. Beside another sequence a vector needs no such layer. Cannot stream. Keras ``RepeatVector``.

    Parameters
    ----------
    inputs
        The vector; where ``n_steps`` is 0, and a sequence of which the new one has the number of timesteps.
    n_steps
        How many timesteps there are, whatever the vector was made of.
    """

    file_version: ClassVar[int] = 2
    begins_sequence: ClassVar[bool] = True
    resamples: ClassVar[bool] = True
    from_zero: ClassVar[tuple[str, ...]] = ("n_steps",)

    n_steps: int

    def input_counts(self) -> tuple[int, int]:
        return (1, 1) if self.n_steps else (2, 2)

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        return inputs[0]

    @property
    def unstreamable_reason(self) -> str:
        return f"layer {self.name!r} repeats a vector that is known at the end of another sequence: Model.stages stream"
