"""How samples and answers lie in messages: as bytes, one sample after the other, and as JSON.

A sample is the model's inputs in its order: float32, little-endian, row-major in the frame's shape, or an int64 of a
token. An answer is its outputs, float32, likewise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputValueError
from grurt.escaping import described, listed
from grurt.network.frames import frames_of
from grurt.serving.numbers import array_of_numbers, shaped_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grurt.array_types import Array
    from grurt.network.inputs import AnyInput
    from grurt.network.network import Network
    from grurt.network.vocabulary import Vocabulary

_FLOATS = np.dtype("<f4")
_TOKEN = np.dtype("<i8")


class Port:
    """An input or output: its name, its dtype in messages, the shape of its frame, and what its tokens stand for."""

    def __init__(
        self,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        vocabulary_size: int | None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.vocabulary_size = vocabulary_size
        self.vocabulary = vocabulary
        self.n_bytes = dtype.itemsize * math.prod(shape)

    def described(self) -> dict[str, Any]:
        """Return what a client has to know of it, for JSON."""
        found: dict[str, Any] = {"name": self.name, "dtype": self.dtype.name, "shape": list(self.shape)}
        if self.vocabulary_size is not None:
            found["vocabulary_size"] = self.vocabulary_size
        return found if self.vocabulary is None else found | {"takes_text": True}


class Layout:
    """The samples and answers of a model.

    Parameters
    ----------
    inputs, outputs
        The model's, in its order.
    """

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.sample_bytes = sum(port.n_bytes for port in self.inputs)
        self.answer_bytes = sum(port.n_bytes for port in self.outputs)
        self._sample = np.dtype([(port.name, port.dtype, port.shape) for port in self.inputs])
        self._answer = np.dtype([(port.name, port.dtype, port.shape) for port in self.outputs])

    def is_like(self, other: Layout) -> bool:
        """Say whether what fits one fits the other."""
        ports, others = self.inputs + self.outputs, other.inputs + other.outputs
        return [port.described() for port in ports] == [port.described() for port in others]

    def n_samples(self, payload: bytes) -> int:
        """Return how many samples a message holds; raise InputShapeError unless it is a whole number, and not none."""
        count, rest = divmod(len(payload), self.sample_bytes)
        if rest or not count:
            raise InputShapeError(
                f"message: expected samples of {self.sample_bytes} bytes each, {self._bytes_of_inputs()}, "
                f"got {len(payload)} bytes"
            )
        return count

    def _bytes_of_inputs(self) -> str:
        return "a sample being " + listed(
            f"{port.dtype.name} {described(port.name)} of shape {port.shape}" for port in self.inputs
        )

    def arrays(self, payload: bytes) -> Array | dict[str, Array]:
        """Return the samples of a message as a pool takes them: ``(n, *shape)``, by name if it has several inputs."""
        if len(self.inputs) == 1:
            port = self.inputs[0]
            return np.frombuffer(payload, port.dtype).reshape(-1, *port.shape)
        samples = np.frombuffer(payload, self._sample)
        return {port.name: np.ascontiguousarray(samples[port.name]) for port in self.inputs}

    def packed(self, answers: Any) -> bytes:
        """Return answers of a pool, ``(n, *shape)`` or those by name, as bytes: one answer after the other."""
        if not isinstance(answers, dict):
            return answers.astype(_FLOATS, copy=False).tobytes()  # type: ignore[no-any-return]
        first = answers[self.outputs[0].name]
        joined = np.empty(len(first), self._answer)
        for port in self.outputs:
            joined[port.name] = answers[port.name]
        return joined.tobytes()

    def joined(self, inputs: Mapping[str, Array], n_samples: int) -> bytes:
        """Return inputs ``(n_samples, *shape)`` by name as a message holds them."""
        samples = np.empty(n_samples, self._sample)
        for port in self.inputs:
            samples[port.name] = inputs[port.name]
        return samples.tobytes()

    def inputs_of(self, samples: bytes) -> dict[str, Array]:
        """Return the inputs ``(n, *shape)`` of samples, by name."""
        found = np.frombuffer(samples, self._sample)
        return {port.name: found[port.name] for port in self.inputs}

    def outputs_of(self, answers: bytes) -> dict[str, Array]:
        """Return the outputs ``(n, *shape)`` of answers, by name."""
        found = np.frombuffer(answers, self._answer)
        return {port.name: found[port.name] for port in self.outputs}

    def contents_of(self, answers: bytes) -> dict[str, bytes]:
        """Return the bytes of each output of answers, by name."""
        if len(self.outputs) == 1:
            return {self.outputs[0].name: answers}
        return {name: array.tobytes() for name, array in self.outputs_of(answers).items()}

    def expect_sound(self, payload: bytes) -> None:
        """Raise InputValueError if one of the samples has a NaN, an infinity or a token that does not exist."""
        samples = np.frombuffer(payload, self._sample)
        for port in self.inputs:
            values = samples[port.name]
            if port.vocabulary_size is None:
                wrong = ~np.isfinite(values)
            else:
                wrong = (values < 0) | (values >= port.vocabulary_size)
            if wrong.any():
                place = tuple(int(axis[0]) for axis in np.nonzero(wrong))
                expected = (
                    "finite numbers"
                    if port.vocabulary_size is None
                    else f"tokens from 0 to {port.vocabulary_size - 1:,}"
                )
                raise InputValueError(
                    f"input {described(port.name)} at {list(place)}: expected {expected}, got {values[place]}"
                )

    def from_json(self, value: Any) -> bytes:
        """Return the samples that a JSON value holds, as the bytes of a message.

        Parameters
        ----------
        value
            The frame of a sample, or a list of such, or a text where tokens have a vocabulary; by name where the model
            has several inputs, or if one likes.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If it holds something else.
        """
        named = value if isinstance(value, dict) else {self.inputs[0].name: value}
        names = [port.name for port in self.inputs]
        if (not isinstance(value, dict) and len(names) > 1) or set(named) != set(names):
            found = list(value) if isinstance(value, dict) else type(value).__name__
            raise InputShapeError(f"sample: expected inputs by name, {listed(names)}, got {described(found)}")
        arrays = {port.name: _array_of_json(port, named[port.name]) for port in self.inputs}
        counts = {len(array) for array in arrays.values()}
        if len(counts) != 1 or 0 in counts:
            numbers = {name: len(array) for name, array in arrays.items()}
            raise InputShapeError(f"sample: expected as many samples of each input, and not none, got {numbers}")
        return self.joined(arrays, counts.pop())

    def is_single(self, value: Any) -> bool:
        """Say whether a JSON value that `from_json` takes is one sample, and no list of such."""
        port = self.inputs[0]
        frame = value[port.name] if isinstance(value, dict) else value
        return _depth(frame) == len(port.shape) and not isinstance(frame, str)

    def to_json(self, answers: bytes, *, single: bool) -> dict[str, Array]:
        """Return the outputs of answers by name, for JSON: of the one answer, or those of all for each output."""
        found = self.outputs_of(answers)
        return {name: np.ascontiguousarray(array[0] if single else array) for name, array in found.items()}


def layout_of(network: Network) -> Layout:
    """Return the layout of a model's samples and answers.

    Examples
    --------
    >>> from grurt.demo import load_model
    >>> layout = layout_of(load_model())
    >>> layout.sample_bytes, layout.answer_bytes
    (24, 16)
    """
    frames = frames_of(network)
    inputs = [
        Port(
            port.name,
            _TOKEN if port.tokens else _FLOATS,
            frames.inputs[port.name].shape,
            _vocabulary_size(port),
            network.vocabularies.get(port.name),
        )
        for port in network.inputs
    ]
    outputs = [Port(output.name, _FLOATS, frames.outputs[output.name].shape, None) for output in network.outputs]
    return Layout(inputs, outputs)


def _vocabulary_size(port: AnyInput) -> int | None:
    return port.size if port.tokens else None


def layout_of_hello(hello: Mapping[str, Any]) -> Layout:
    """Return the layout that a service has told, as `Port.described` has it."""
    return Layout(*([_told(port) for port in hello[kind]] for kind in ("inputs", "outputs")))


def _told(port: Mapping[str, Any]) -> Port:
    dtype = _TOKEN if port["dtype"] == "int64" else _FLOATS
    return Port(port["name"], dtype, tuple(port["shape"]), port.get("vocabulary_size"))


def _array_of_json(port: Port, value: Any) -> Array:
    """Return an input ``(n, *shape)`` of nested lists of numbers, or of a text."""
    if isinstance(value, str) and port.vocabulary is not None:
        return port.vocabulary.encode(value)
    where = f"input {described(port.name)}"
    numbers, shape = shaped_numbers(where, value)
    array = array_of_numbers(where, numbers, port.dtype)
    if shape[len(shape) - len(port.shape) :] != port.shape or len(shape) - len(port.shape) not in (0, 1):
        raise InputShapeError(f"{where}: expected shape {port.shape}, or a list of such, got {shape}")
    return array.reshape(-1, *port.shape)


def _depth(value: Any) -> int:
    """Return how many levels of lists a value has."""
    depth = 0
    while isinstance(value, list):
        value = value[0] if value else None
        depth += 1
    return depth
