"""Short sequences in the source's own names and shapes, with nothing around the kernels but what they need.

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
from grurt.network.signature import ValuePort, default_signature, is_context
from grurt.runtime.context import Context
from grurt.runtime.fed_contexts import FedContexts, Kept, fed_contexts
from grurt.runtime.states import States
from grurt.runtime.stream_memory import Image, constants_of_sequences, image_of
from grurt.runtime.tensors import Tensor, tensor_constants, tensors_of
from grurt.runtime.windows import MAX_SPARE, MAX_STEPS, most_whole_steps

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.network import Network

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty
_ndarray = np.ndarray

_LEFT_OUT = BY_ADDRESS
"""Handed to the kernels in place of a state that is the model's own initial one."""

_MAX_LAYOUTS = 64
"""Shapes of an input that are kept with what follows from them."""

_MANY = 64
"""Sequences, of whose states memory for one run is enough to keep."""

_MAX_WORK = 1 << 29
"""Multiplications of a call: some tens of milliseconds, in which no signal is noticed. More go the general way."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What follows from the number of sequences and timesteps of a call: the outputs' shapes, and which memory fits."""

    n_sequences: int
    n_steps: int
    time_first: bool
    shapes: tuple[Shape, ...]
    n_slots: int
    spare: list[Context]
    """Contexts of so many slots that no run uses now,"""
    most_spare: int
    """and how many are kept."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """What a network needs for short sequences by names. Tensors are in the source's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    """Those of the inputs, those of the outputs, and the network's outputs that the source does not show."""
    narrow: tuple[int, ...]
    """The inputs that are tokens of int32,"""
    turned: tuple[int, ...]
    """those whose axes have to be turned,"""
    turned_back: tuple[int, ...]
    """and the outputs of which that holds."""
    leading: int
    """The input whose shape says how many sequences of how many timesteps there are."""
    take: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """Takes the inputs from a feed; raises KeyError if one is missing."""
    admits: Callable[[Mapping[str, Shape]], bool]
    """Says whether inputs may be of some shapes."""
    contexts: FedContexts | None
    """Those of its inputs that are contexts, which the others are not; None of a network without."""
    image: Image
    most_steps: int
    """Timesteps of all sequences of a call."""
    needs_whole_sequences: bool
    """Whether a call has room for all timesteps at once, of a single sequence."""
    refuses_nonfinite: bool
    layouts: dict[tuple[int, ...], _Layout] = field(default_factory=dict)
    spare: dict[int, list[Context]] = field(default_factory=dict)

    def answers(self, feed: Mapping[str, Any]) -> tuple[Array, ...] | None:
        """Return the outputs for a feed of all inputs; None where the general way is to look."""
        try:
            tensors = self.take(feed)
        except KeyError:
            return None
        if self.contexts is not None:
            return self._answers_with_contexts(self.contexts, tensors, feed, len(tensors))
        return self._answers(tensors) if len(tensors) == len(feed) else None

    def answers_without_states(self, feed: Mapping[str, Any]) -> tuple[Array, ...] | None:
        """Return the outputs for a feed that leaves out states; None where the general way is to look."""
        tensors = tuple([feed.get(name, _LEFT_OUT) for name in self.inputs])
        given = [tensor for tensor in tensors if tensor is not _LEFT_OUT]
        if self.contexts is not None:
            return self._answers_with_contexts(self.contexts, tensors, feed, len(given))
        return self._answers(tensors) if len(given) == len(feed) else None

    def _answers_with_contexts(
        self, contexts: FedContexts, tensors: tuple[Any, ...], feed: Mapping[str, Any], n_given: int
    ) -> tuple[Array, ...] | None:
        """Return the outputs of one sequence, if its contexts are known."""
        if n_given + contexts.n_inputs != len(feed):
            return None
        kept = contexts.find(feed)
        return None if kept is None else self._answers(tensors, kept)

    def _answers(self, tensors: tuple[Any, ...], given: Kept | None = None) -> tuple[Array, ...] | None:
        if self.narrow or self.turned:
            tensors = self._prepared(tensors)
        x = tensors[self.leading]
        if type(x) is not _ndarray:
            return None
        layout = self.layouts.get(x.shape) or self._layout(x.shape)
        if layout is None:
            return None
        try:
            context = layout.spare.pop()
        except IndexError:
            context = self._context(layout.n_slots)
        context.slots[codes.CONTEXT_N_STEPS] = layout.n_steps
        if given is not None:
            context.slots[codes.CONTEXT_GIVEN] = given.address
        if layout.n_sequences > 1:
            context.slots[codes.CONTEXT_TIME_FIRST] = layout.time_first
            context.bind_first_streams(layout.n_sequences)
        elif layout.n_steps > context.slots[codes.CONTEXT_CAPACITY]:
            (context.reserve if self.needs_whole_sequences else context.reserve_block)(layout.n_steps)
        answers = tuple([_empty(shape, _FLOAT32) for shape in layout.shapes])
        status = context.advance(context.array, tensors, answers, None)
        if len(layout.spare) < layout.most_spare:
            layout.spare.append(context)
        if status != codes.OK:
            return None
        if self.turned_back:
            answers = self._as_the_source_has_them(answers)
        return answers if len(answers) == len(self.outputs) else answers[: len(self.outputs)]

    def _prepared(self, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return inputs as the kernels read them; None in place of what the general way is to look at."""
        found = list(tensors)
        for place in self.narrow:
            tokens = found[place]
            found[place] = tokens.astype(np.int64) if type(tokens) is _ndarray and tokens.dtype == np.int32 else None
        for place in self.turned:
            array, tensor = found[place], self.tensors[place]
            if type(array) is _ndarray:
                found[place] = tensor.turned(array) if array.ndim == len(tensor.axes) else None
        return tuple(found)

    def _as_the_source_has_them(self, answers: tuple[Array, ...]) -> tuple[Array, ...]:
        found, tensors = list(answers), self.tensors[len(self.inputs) :]
        for place in self.turned_back:
            found[place] = tensors[place].turned_back(found[place])
        return tuple(found)

    def _layout(self, shape: tuple[int, ...]) -> _Layout | None:
        """Return what follows from the shape of the leading input; None where the general way is to look."""
        leading = self.tensors[self.leading]
        sizes = leading.sizes_in(shape)
        if sizes is None or sizes[0] * sizes[1] > self.most_steps:
            return None
        if sizes[0] > 1 and (self.contexts is not None or self.needs_whole_sequences):
            return None
        time_first = leading.is_time_first(*sizes)
        if not all(tensor.has(*sizes, time_first=time_first) for tensor in self.tensors):
            return None
        shapes = tuple(tensor.shape(*sizes) for tensor in self.tensors)
        own = {name: tensor.source_shape(*sizes) for name, tensor in zip(self.inputs, self.tensors, strict=False)}
        if not self.admits(own):
            return None
        n_slots = 1 << (sizes[0] - 1).bit_length()
        spare, most_spare = self.spare.setdefault(n_slots, []), MAX_SPARE if n_slots <= _MANY else 1
        layout = _Layout(*sizes, time_first, shapes[len(self.inputs) :], n_slots, spare, most_spare)
        if len(self.layouts) >= _MAX_LAYOUTS:
            self.layouts.clear()
        self.layouts[shape] = layout
        return layout

    def _context(self, n_slots: int) -> Context:
        if n_slots == 1:
            context, _, _ = self.image.placed(refuse_nonfinite=self.refuses_nonfinite)
            return context
        plan, constants = self.image.plan, self.image.constants
        states, refuses = States.new(plan, n_slots), self.refuses_nonfinite
        context = Context.new(plan, states, constants, whole_sequence=True, refuse_nonfinite=refuses)
        context.use_streams(n_slots)
        context.reserve_block(n_slots)
        return context


def feeds_for(
    network: Network, *, admits: Callable[[Mapping[str, Shape]], bool] = lambda _: True, refuses_nonfinite: bool = True
) -> Feeds | None:
    """Return what a network needs for short sequences by names; None where kernels cannot read its source's.

    Parameters
    ----------
    network
        The network.
    admits
        Says whether inputs may be of some shapes, by name; it holds no network.
    refuses_nonfinite
        Whether a NaN or an infinity in an input makes the kernels refuse it.
    """
    signature, values = network.signature, network.values
    shown = [port.value for port in signature.outputs if isinstance(port, ValuePort)]
    if network.costs.n_stages > 1 or signature.takes_lengths or len(set(shown)) < len(shown):
        return None
    if any(not values[port.name].per_step for port in network.inputs):
        return None
    contexts = fed_contexts(network, refuses_nonfinite=refuses_nonfinite) if network.context_shapes else None
    if contexts is None and network.context_shapes:
        return None
    read = [port for port in signature.inputs if not is_context(port, network.context_shapes)]
    own = default_signature(network.inputs, network.outputs, values, {}).outputs
    answered = (*signature.outputs, *(port for port in own if port.name not in shown))
    inputs = tensors_of(network, read, values)
    outputs = tensors_of(network, answered, {output.name: values[output.value] for output in network.outputs})
    if inputs is None or outputs is None:
        return None
    plan, names = plan_of(network), tuple(port.name for port in read)
    leading = next(i for i, port in enumerate(read) if isinstance(port, ValuePort))
    needs_whole_sequences = network.reads_whole_sequences
    image = image_of(plan, constants_of_sequences(plan, tensor_constants(network, read, answered, inputs, outputs)))
    return Feeds(
        inputs=names,
        outputs=tuple(port.name for port in signature.outputs),
        tensors=(*inputs, *outputs),
        narrow=tuple(place for place, port in enumerate(read) if port.dtype == "int32"),
        turned=tuple(place for place, tensor in enumerate(inputs) if tensor.turn),
        turned_back=tuple(place for place, tensor in enumerate(outputs) if tensor.turn),
        leading=leading,
        take=itemgetter(*names) if len(names) > 1 else lambda feed: (feed[names[0]],),
        admits=admits,
        contexts=contexts,
        image=image,
        most_steps=most_whole_steps(plan)
        if needs_whole_sequences
        else max(MAX_STEPS, _MAX_WORK // int(image.constants.array[codes.CONTEXT_STEP_WORK])),
        needs_whole_sequences=needs_whole_sequences,
        refuses_nonfinite=refuses_nonfinite,
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
