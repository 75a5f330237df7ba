"""What an encoder makes of sources: one of them quickly, or many together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grurt.errors import InputShapeError, InputValueError
from grurt.network.frames import frames_of
from grurt.runtime import arrays
from grurt.runtime.batch import Batch
from grurt.runtime.stages import run_stages
from grurt.runtime.windows import run_window

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.network.network import Network


class Encoded(NamedTuple):
    """What an encoder makes of a source.

    ``last`` are its outputs at the end of the source, and its final states, by name; ``every`` its outputs at all
    timesteps, ``(n_steps, size)``.
    """

    last: Mapping[str, Array]
    every: Mapping[str, Array]


class Encoder:
    """Reads sources.

    Parameters
    ----------
    network
        The encoder: it has one input.
    names
        Which of its outputs and final states are wanted.
    """

    def __init__(self, network: Network, names: Iterable[str]) -> None:
        self._network, self._port = network, network.inputs[0]
        self._frame = frames_of(network).inputs[self._port.name]
        self._outputs = {output.name: output.value for output in network.outputs}
        self._states = sorted({name for name in names if name not in self._outputs})

    def read(self, where: str, source: ArrayLike | str) -> Encoded:
        """Return what the encoder makes of a source; raise as `checked` does, which ``where`` is for."""
        if self._states or len(self._outputs) > 1:
            return self.read_many([self.checked(where, source)])[0]
        answer = run_window(self._network, source) if type(source) is np.ndarray else None
        if answer is None:
            array = self.checked(where, source)
            answer = run_window(self._network, array)
            if answer is None:
                return self.read_many([array])[0]
        (name,) = self._outputs
        return Encoded({name: answer if answer.ndim == 1 else answer[-1]}, {name: answer})

    def checked(self, where: str, source: ArrayLike | str) -> Array:
        """Return a source, or a text's tokens, as the engine has it: ``(n_steps,)``, or vectors ``(n_steps, size)``.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
                If it is none that the encoder can read.
        """
        if isinstance(source, str):
            source = self._network.vocabulary.encode(source)
        tokens, size = self._port.tokens, self._port.size
        array: Any = (arrays.tokens if tokens else arrays.features)(where, source)
        arrays.expect_shape(where, array, ("n", *self._frame.shape_in(array)))
        if not len(array):
            raise InputShapeError(f"{where}: expected at least 1 timestep, got an array of shape {array.shape}")
        if not self._are_sound(array):
            place = int((((array < 0) | (array >= size)) if tokens else ~np.isfinite(array)).argmax())
            index = ", ".join(map(str, np.unravel_index(place, array.shape)))
            expected = f"a token id in [0, {size})" if tokens else "finite numbers"
            raise InputValueError(f"{where}[{index}]: expected {expected}, got {array.item(place)}")
        return self._frame.to_vectors(array)

    def _are_sound(self, array: Array) -> bool:
        if not self._port.tokens:
            return arrays.are_finite(array)
        return bool(array.item(array.argmin()) >= 0 and array.item(array.argmax()) < self._port.size)

    def read_many(self, sources: Sequence[Array]) -> list[Encoded]:
        """Return what the encoder makes of sources that are checked: the same bits as of each alone."""
        if self._network.costs.n_stages > 1:
            return [self._staged(source) for source in sources]
        lengths = np.array([len(source) for source in sources])
        first = sources[0]
        together = np.zeros((len(sources), int(lengths.max()), *first.shape[1:]), first.dtype)
        for row, source in zip(together, sources, strict=True):
            row[: len(source)] = source
        batch = Batch(self._network, "refuse", len(together), together.shape[1], lengths, self._states)
        batch.run([together], {})
        outputs = dict(zip(self._outputs, batch.outputs, strict=True))
        return [self._of_row(outputs, batch.final_states, row, n) for row, n in enumerate(lengths.tolist())]

    def _staged(self, source: Array) -> Encoded:
        sizes, inputs = {"batch": 1, "time": len(source)}, {self._port.name: source[np.newaxis]}
        outputs, states = run_stages(self._network, sizes, inputs, {}, None, self._states, "refuse")
        return self._of_row(outputs, states, 0, None)

    def _of_row(self, outputs: Mapping[str, Array], states: Mapping[str, Array], row: int, n: int | None) -> Encoded:
        """Return what there is of one sequence, of so many timesteps, or all."""
        every = {name: array[row] if array.ndim == 2 else array[row, :n] for name, array in outputs.items()}
        last = {name: array if array.ndim == 1 else array[-1] for name, array in every.items()}
        return Encoded(last | {name: array[row] for name, array in states.items()}, every)
