"""Answers that become inputs: of a stream, and of many streams of a pool together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, ModelError
from grurt.escaping import described
from grurt.kernels import codes
from grurt.kernels.fields import data_address
from grurt.network.frames import frames_of
from grurt.runtime import arrays
from grurt.runtime.binding import present
from grurt.runtime.context import fault_text
from grurt.runtime.decoding.choice import checked_count
from grurt.runtime.decoding.generation import enter
from grurt.runtime.parts import parts_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.runtime.binding import Inputs, Outputs
    from grurt.runtime.context import Context


class Forecast:
    """Rows that read what they answer, as the streams of a context: arrays with their timesteps outermost.

    Parameters
    ----------
    where
        What messages begin with.
    network, context
        What is run.
    n_rows
        How many rows.
    n_steps, xs, feedback, future
        Those of the caller, of whom ``lead`` says whether arrays have an axis of rows.
    """

    def __init__(
        self,
        where: str,
        network: Network,
        context: Context,
        n_rows: int,
        n_steps: SupportsIndex,
        xs: Inputs,
        feedback: Mapping[str, str] | None,
        future: Mapping[str, ArrayLike] | None,
        *,
        lead: bool,
    ) -> None:
        self._where, self._network, self._context, self._lead = where, network, context, lead
        self._n_steps, self._n_rows = checked_count(f"{where}: n_steps", n_steps), n_rows
        sources = _sources(where, network, feedback)
        first = _named(where, network, xs, [name for name in sources if sources[name] is not None])
        others = {} if future is None else dict(future)
        if others.keys() != (wanted := {name for name, source in sources.items() if source is None}):
            raise InputShapeError(
                f"{where}: future: expected the inputs that read no output, {sorted(wanted)}, "
                f"got [{', '.join(map(described, others))}]"
            )
        self._inputs = [
            self._given(port.name, first[port.name], ())
            if port.name in first
            else self._given(port.name, others[port.name], (self._n_steps,))
            for port in network.inputs
        ]
        shapes = [frame.shape for frame in frames_of(network).outputs.values()]
        self.outputs = [np.empty((self._n_steps, n_rows, *shape), np.float32) for shape in shapes]
        places = {port.name: place for place, port in enumerate(network.outputs)}
        self._sources = np.array([-1 if source is None else places[source] for source in sources.values()])

    def _given(self, name: str, x: ArrayLike, steps: tuple[int, ...]) -> Array:
        """Return an input ``([n_steps,] n_rows, *frame)``, contiguous and sound."""
        port = next(port for port in self._context.plan.inputs if port.name == name)
        where = f"{self._where}: input {name!r}"
        array: Any = (arrays.tokens if port.tokens else arrays.features)(where, x)
        shape = frames_of(self._network).inputs[name].shape
        rows = (self._n_rows,) if self._lead else ()
        arrays.expect_shape(where, array, (*rows, *steps, *shape))
        array = array.reshape(self._n_rows, *steps, *shape)
        if port.tokens:
            unsound = (array < 0) | (array >= port.size)
        else:
            unsound = ~np.isfinite(array) & bool(self._context.slots[codes.CONTEXT_REFUSE_NONFINITE])
        if unsound.any():
            raise InputValueError(f"{self._where}: {fault_text(port, array, int(unsound.argmax()))}")
        return np.ascontiguousarray(array.swapaxes(0, 1)) if steps else array

    def run(self, streams: NDArray[np.int64] | None = None) -> None:
        """Run all timesteps, of the streams in these slots, or of stream 0, in a context that is claimed."""
        start = 0
        for part in parts_of(self._n_steps):
            self._call(start, part, streams)
            start += part

    def _call(self, start: int, n_steps: int, streams: NDArray[np.int64] | None) -> None:
        context = self._context
        inputs = []
        for array, source in zip(self._inputs, self._sources, strict=True):
            if source < 0:
                inputs.append(array[start:])
            else:
                inputs.append(array if start == 0 else self.outputs[source][start - 1])
        context.bind(map(data_address, (*inputs, *(output[start:] for output in self.outputs))), n_steps)
        if streams is not None:
            context.bind_streams(data_address(streams), self._n_rows)
        context.expect_sound(enter(context, codes.FEED_BACK, data_address(self._sources)), inputs)

    def answers(self) -> Outputs:
        """Return the answers, timesteps behind rows."""
        found: list[Floats] = [
            np.ascontiguousarray(output.swapaxes(0, 1)) if self._lead else output[:, 0] for output in self.outputs
        ]
        return present(self._network, found)


def forecast_of_stream(
    where: str,
    network: Network,
    context: Context,
    states: tuple[Callable[[], Array], Callable[[Array], None]],
    n_steps: SupportsIndex,
    x: Inputs,
    feedback: Mapping[str, str] | None,
    future: Mapping[str, ArrayLike] | None,
) -> Outputs:
    """Return what a stream answers to itself: see `grurt.Stream.forecast`."""
    forecast = Forecast(where, network, context, 1, n_steps, x, feedback, future, lead=False)
    saved, restore = states
    before = saved()
    try:
        context.exclusively(forecast.run)
    finally:
        restore(before)
    return forecast.answers()


def forecast_of_pool(
    where: str,
    network: Network,
    context: Context,
    claim: Callable[[Callable[[NDArray[np.int64]], None]], None],
    n_rows: int,
    n_steps: SupportsIndex,
    xs: Inputs,
    feedback: Mapping[str, str] | None,
    future: Mapping[str, ArrayLike] | None,
) -> Outputs:
    """Return what streams of a pool answer to themselves: see `grurt.StreamPool.forecast`."""
    forecast = Forecast(where, network, context, n_rows, n_steps, xs, feedback, future, lead=True)
    if n_rows:
        claim(forecast.run)
    return forecast.answers()


def _sources(where: str, network: Network, feedback: Mapping[str, str] | None) -> dict[str, str | None]:
    """Return the output that each input reads, by its name; None of one that reads none."""
    inputs, outputs = [port.name for port in network.inputs], [port.name for port in network.outputs]
    if feedback is None:
        if len(inputs) > 1 or len(outputs) > 1:
            raise ModelError(
                f"{where}: expected a model whose only input reads its only output, got the inputs {inputs} and the "
                f"outputs {outputs}: say which input reads which output, as feedback={{{inputs[0]!r}: {outputs[0]!r}}}"
            )
        feedback = {inputs[0]: outputs[0]}
    given = dict(feedback)
    for name, output in given.items():
        if name not in inputs or output not in outputs:
            raise ModelError(
                f"{where}: feedback: expected inputs of {inputs} with outputs of {outputs}, "
                f"got {described(name)}: {described(output)}"
            )
    frames = frames_of(network)
    for name, output in given.items():
        wanted, found = frames.inputs[name].shape, frames.outputs[output].shape
        is_of_tokens = any(port.tokens for port in network.inputs if port.name == name)
        if is_of_tokens or wanted != found:
            raise ModelError(
                f"{where}: feedback: the input {name!r} reads "
                f"{'tokens, which generate chooses' if is_of_tokens else wanted}, and the output {output!r} gives "
                f"{found}: expected one of the same shape"
            )
    if not given:
        raise ModelError(f"{where}: feedback: expected at least one input that reads an output, got none")
    return {name: given.get(name) for name in inputs}


def _named(where: str, network: Network, xs: Inputs, names: list[str]) -> dict[str, ArrayLike]:
    """Return the inputs that are fed back, by name."""
    if isinstance(xs, Mapping):
        given = dict(xs)
    elif len(names) == 1:
        given = {names[0]: xs}
    else:
        raise InputTypeError(f"{where}: expected a mapping with the inputs {names}, got {type(xs).__name__}")
    if given.keys() != set(names):
        raise InputShapeError(f"{where}: expected the inputs {names}, got [{', '.join(map(described, given))}]")
    return given
