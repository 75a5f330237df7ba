"""What a query finds among the timesteps of a sequence."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from grurt.errors import ModelError
from grurt.network.layers.base import Layer, Shape
from grurt.network.vectors import row_bytes

__all__ = ["Attention"]


_TILE_BYTES = 16 * 4
"""Of the scores of sixteen timesteps."""


class Attention(Layer, frozen=True, kw_only=True):
    """Values of the timesteps of a sequence, weighted by a softmax of how well their keys match a query.

    It reads a query, keys and values, in this order, and behind these a bias if it has one. Keys, values and bias are
    sequences, of one number of timesteps; keys and values may be the same one. Projections are `Linear` layers before
    it, so each timestep is projected once. Each of ``heads`` has its own part of the features of query, keys and
    values, one after the other, and writes its own part of the answer::

        score_t = scale * sum(query * key_t) + bias_t             # "dot"
        score_t = sum(weight * tanh(query + key_t)) + bias_t      # "additive", Bahdanau et al. 2015
        answer  = sum_t exp(score_t) value_t / sum_t exp(score_t)

    Luong's "general" is ``"dot"`` with a projected query or projected keys, his "concat" ``"additive"`` with both.

    In a stream it attends to the timesteps so far, and remembers the keys and values of up to ``max_steps``: a step
    takes the longer the more timesteps there are so far.

    Its states are the values ``(max_steps, size)``; under its name with ``.keys``, unless these are the same, the keys
    ``(max_steps, key_size)``; with ``.bias``, if it reads one, the biases ``(max_steps,)``; and with ``.count``, how
    many timesteps there are, ``(1,)``.

    Parameters
    ----------
    size
        Features of a value, and of the answer.
    key_size
        Features of the query and of a key.
    score
        How a query and a key are compared.
    answers
        ``"last"``: once for the whole sequence; the query is a single vector, such as the last state. Or ``"each"``: at
        every timestep, with the query of that timestep.
    causal
        Whether a timestep attends to itself and those before it only, which streams; for ``"each"``.
    heads
        How many; ``size`` and ``key_size`` are multiples of it.
    scale
        What dot products are multiplied by.
    biased
        Whether the layer reads a bias of the scores, a value of size 1, as the last of its inputs. Minus infinity
        leaves a timestep out, as a mask does; where all are left out, the answer is 0.
    max_steps
        How many timesteps a stream may have since its last reset, at most; 0: whole sequences are run only. Of these,
        `grurt.Model.run` takes longer ones, too.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> model = grurt.Model(
    ...     inputs=[grurt.Input("x", 2)],
    ...     layers=[
    ...         grurt.LastStep(name="last", inputs=("x",)),
    ...         grurt.Attention(name="y", inputs=("last", "x", "x"), size=2, key_size=2, max_steps=100),
    ...     ],
    ...     weights={},
    ... )
    >>> x = np.float32([[2, 0], [0, 1], [0, 2]])
    >>> model.run(x).round(3)
    array([0.032, 1.851], dtype=float32)
    >>> model.stream().run(x).round(3)
    array([[2.   , 0.   ],
           [0.538, 0.731],
           [0.032, 1.851]], dtype=float32)
    """

    file_version: ClassVar[int] = 2
    max_inputs: ClassVar[int] = 4
    joins_sequences: ClassVar[bool] = True
    from_zero: ClassVar[tuple[str, ...]] = ("max_steps",)

    size: int
    key_size: int
    score: Literal["dot", "additive"] = "dot"
    answers: Literal["last", "each"] = "last"
    causal: bool = False
    heads: int = 1
    scale: float = 1.0
    biased: bool = False
    max_steps: int = 0

    @property
    def selects_timestep(self) -> bool:
        return self.answers == "last"

    @property
    def reads_single_first(self) -> bool:
        return self.answers == "last"

    @property
    def reads_whole_sequences(self) -> bool:
        return True

    @property
    def shares_memory(self) -> bool:
        """Whether its keys are its values, which are remembered once then."""
        return self.inputs[1:2] == self.inputs[2:3]

    def weight_shapes(self) -> Mapping[str, Shape]:
        return {"weight": (self.key_size,)} if self.score == "additive" else {}

    def multiply_adds(self, positions: int = 1) -> int:
        return max(1, self.max_steps) * (self.key_size + self.size)

    def products(self, positions: int = 1) -> int:
        return self.multiply_adds()

    def packed_bytes(self) -> int:
        return row_bytes(self.key_size if self.score == "additive" else 1)

    def scratch_bytes(self, positions: int = 1) -> int:
        return _TILE_BYTES

    def state_shapes(self, positions: int = 1) -> Mapping[str, Shape]:
        if not self.max_steps:
            return {}
        keys = {} if self.shares_memory else {f"{self.name}.keys": (self.max_steps, self.key_size)}
        bias = {f"{self.name}.bias": (self.max_steps,)} if self.biased else {}
        return {f"{self.name}.count": (1,), **keys, self.name: (self.max_steps, self.size), **bias}

    @property
    def has_unbounded_state(self) -> bool:
        return True

    @property
    def most_steps(self) -> int | None:
        return self.max_steps or None

    @property
    def unstreamable_reason(self) -> str | None:
        if self.answers == "each" and not self.causal:
            return f"layer {self.name!r} attends to all timesteps of the finished sequence"
        if not self.max_steps:
            return f"layer {self.name!r} attends to timesteps that a stream does not remember (max_steps=0)"
        return None

    def check_format(self) -> None:
        if self.answers == "last" and self.causal:
            raise ModelError(f"layer {self.name!r}: it answers once, to a query of the last timestep: causal says more")
        if self.max_steps and self.answers == "each" and not self.causal:
            raise ModelError(
                f"layer {self.name!r}: expected max_steps=0, got {self.max_steps}: it attends to later timesteps, for "
                "which no stream waits"
            )
        if self.scale != 1.0 and self.score == "additive":
            raise ModelError(f"layer {self.name!r}: expected scale=1.0, got {self.scale}: its weight scales the scores")

    def input_counts(self) -> tuple[int, int]:
        return 3 + self.biased, 3 + self.biased

    def value_shape(self, inputs: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if (positions := max(count for count, _ in inputs)) > 1:
            raise ModelError(
                f"layer {self.name!r}: an Attention reads single vectors, got {positions} positions: Flatten first"
            )
        return super().value_shape(inputs)

    def value_size(self, input_sizes: tuple[int, ...]) -> int:
        expected = {"a query": self.key_size, "keys": self.key_size, "values": self.size, "a bias": 1}
        for (what, size), given in zip(expected.items(), input_sizes, strict=False):
            if given != size:
                raise ModelError(f"layer {self.name!r}: expected {what} of size {size}, got {given}")
        if self.size % self.heads or self.key_size % self.heads:
            raise ModelError(
                f"layer {self.name!r}: expected size and key_size to be multiples of heads={self.heads}, got "
                f"{self.size} and {self.key_size}"
            )
        return self.size
