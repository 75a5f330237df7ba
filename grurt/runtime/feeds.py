"""One sequence in the source's own names and shapes, with nothing around the kernels but what they need.

What lies otherwise in memory than the kernels read it goes the general way: see `grurt.runtime.sequences`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import BY_ADDRESS
from grurt.lowering.lower import plan_of
from grurt.network.network import once_per_network
from grurt.network.signature import ValuePort
from grurt.runtime.context import Context
from grurt.runtime.stream_memory import sequence_image_of
from grurt.runtime.tensors import Shape, shapes_of, tensor_constants
from grurt.runtime.windows import MAX_SPARE, MAX_STEPS

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.network import Network

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty
_ndarray = np.ndarray

_LEFT_OUT = BY_ADDRESS
"""Handed to the kernels in place of a state that is the model's own initial one."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """What a network needs for one sequence by names. Tensors are in the source's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    take: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """Takes the inputs from a feed; raises KeyError if one is missing."""
    shapes: tuple[Shape, ...]
    """Of the outputs."""
    shapes_of_one: tuple[tuple[int, ...], ...]
    """Of the outputs, where the number of timesteps is not open, or is 1."""
    timed: tuple[int, int, int] | None
    """Which input has an axis of time that is open, how many axes it has, and which of them that is."""
    most_steps: int
    place: Callable[[], Context]
    """Makes a context."""
    spare: list[Context] = field(default_factory=list)
    """What no run uses now."""

    def answers(self, feed: Mapping[str, Any]) -> tuple[Array, ...] | None:
        """Return the outputs for a feed of all inputs; None where the general way is to look."""
        try:
            tensors = self.take(feed)
        except KeyError:
            return None
        return self._answers(tensors) if len(tensors) == len(feed) else None

    def answers_without_states(self, feed: Mapping[str, Any]) -> tuple[Array, ...] | None:
        """Return the outputs for a feed that leaves out states; None where the general way is to look."""
        tensors = tuple([feed.get(name, _LEFT_OUT) for name in self.inputs])
        given = [tensor for tensor in tensors if tensor is not _LEFT_OUT]
        return self._answers(tensors) if len(given) == len(feed) else None

    def _answers(self, tensors: tuple[Any, ...]) -> tuple[Array, ...] | None:
        n_steps, shapes = 1, self.shapes_of_one
        if self.timed is not None:
            place, n_axes, axis = self.timed
            x = tensors[place]
            if type(x) is not _ndarray or x.ndim != n_axes:
                return None
            n_steps = x.shape[axis]
            if not 0 < n_steps <= self.most_steps:
                return None
            if n_steps > 1:
                shapes = of_timesteps(self.shapes, n_steps)
        try:
            context = self.spare.pop()
        except IndexError:
            context = self.place()
        if self.timed is not None:
            context.slots[codes.CONTEXT_N_STEPS] = n_steps
            if n_steps > context.slots[codes.CONTEXT_CAPACITY]:
                context.reserve_block(n_steps)
        answers = tuple([_empty(shape, _FLOAT32) for shape in shapes])
        status = context.advance(context.array, tensors, answers, None)
        if len(self.spare) < MAX_SPARE:
            self.spare.append(context)
        return answers if status == codes.OK else None


def of_timesteps(shapes: tuple[Shape, ...], n_steps: int) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of tensors of so many timesteps."""
    return tuple([tuple([n_steps if size == codes.TIMESTEPS else size for size in shape]) for shape in shapes])


def feeds_for(network: Network, *, n_steps: int | None = None, refuses_nonfinite: bool = True) -> Feeds | None:
    """Return what a network needs for one sequence by names; None where the source's tensors lie otherwise in memory.

    Parameters
    ----------
    network
        The network.
    n_steps
        How many timesteps sequences have, where that is known.
    refuses_nonfinite
        Whether a NaN or an infinity in an input makes the kernels refuse it.
    """
    signature, values = network.signature, network.values
    answered = [port for port in signature.outputs if isinstance(port, ValuePort)]
    shown = {output.name: values[output.value] for output in network.outputs}
    if network.unstreamable_reason or sorted(shown) != sorted(port.value for port in answered):
        return None
    if any(not values[port.name].per_step for port in network.inputs):
        return None
    has_time = all("time" in port.axes or not shown[port.value].per_step for port in answered)
    most_steps = MAX_STEPS if has_time else 1
    if n_steps is not None and not 1 <= n_steps <= most_steps:
        return None
    time = codes.TIMESTEPS if n_steps is None else n_steps
    inputs = shapes_of(network, signature.inputs, values, time)
    outputs = shapes_of(network, signature.outputs, shown, time)
    if inputs is None or outputs is None:
        return None
    names = tuple(port.name for port in signature.inputs)
    open_axes = (
        (i, len(shape), shape.index(codes.TIMESTEPS)) for i, shape in enumerate(inputs) if codes.TIMESTEPS in shape
    )
    image = sequence_image_of(plan_of(network), tensor_constants(network, inputs, outputs))

    def place() -> Context:
        context, _, _ = image.placed(refuse_nonfinite=refuses_nonfinite)
        context.slots[codes.CONTEXT_N_STEPS] = n_steps or 1
        context.reserve_block(n_steps or 1)
        return context

    return Feeds(
        inputs=names,
        outputs=tuple(port.name for port in signature.outputs),
        input_shapes=inputs,
        take=itemgetter(*names) if len(names) > 1 else lambda feed: (feed[names[0]],),
        shapes=outputs,
        shapes_of_one=of_timesteps(outputs, 1),
        timed=next(open_axes, None),
        most_steps=most_steps,
        place=place,
    )


@once_per_network
def _feeds_of(network: Network) -> Feeds | None:
    return feeds_for(network)


def run_feed(network: Network, feed: Mapping[str, Any]) -> dict[str, Array] | None:
    """Return what a model answers to one sequence, if it lies in memory as the kernels read it, else None.

    None also stands for what is refused: whoever looks closer says why.
    """
    feeds = _feeds_of(network)
    if feeds is None:
        return None
    answers = feeds.answers(feed) or feeds.answers_without_states(feed)
    return dict(zip(feeds.outputs, answers)) if answers else None  # noqa: B905 - strict takes a tenth of the call
