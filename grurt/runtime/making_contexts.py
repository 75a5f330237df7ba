"""Makes contexts: what streams are given is checked, and what depends on it alone is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamingError
from grurt.escaping import described, listed
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.lower import plan_of
from grurt.lowering.plan import aligned_zeros
from grurt.network.contexts import ContextPart, context_parts, given_values
from grurt.network.frozen import frozen
from grurt.runtime import arrays
from grurt.runtime.constants import sequence_constants
from grurt.runtime.context import CLEAN_OR_PROPAGATE, Context, refuses
from grurt.runtime.fed_contexts import kept_contexts
from grurt.runtime.states import States
from grurt.runtime.stream_context import StreamContext

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Floats
    from grurt.network.layers.base import Shape
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.fed_contexts import Numbers
    from grurt.runtime.stream_context import ContextLike


def make_context(network: Network, values: Mapping[str, ArrayLike], nonfinite: Nonfinite = "refuse") -> StreamContext:
    """Return a context of a network: see `grurt.Model.context`."""
    checked = _checked("Model.context", network, values, nonfinite)
    return StreamContext(network, checked, _computed(network, checked))


def context_for(
    where: str, network: Network, given: ContextLike | None, nonfinite: Nonfinite = "refuse"
) -> StreamContext | None:
    """Return the context that streams of a network are given; None if the network has none.

    Raises
    ------
    InputShapeError, InputTypeError, InputValueError
        If the network needs one and nothing is given, or the other way round, or it does not fit.
    """
    if given is None and not network.context_shapes:
        return None
    if not network.context_shapes:
        raise InputShapeError(f"{where}: the model has no contexts: expected none, got {described(given)}")
    if given is None:
        names = ", ".join(f"{name} {arrays.shape_text(shape)}" for name, shape in network.context_shapes.items())
        raise InputShapeError(f"{where}: expected a context, which the model reads at every timestep: give {names}")
    if not isinstance(given, StreamContext):
        return make_context(network, given, nonfinite)
    if not given.is_of(network):
        raise InputTypeError(f"{where}: expected a context of this model, got one of another")
    if nonfinite == "refuse" and not all(map(arrays.are_finite, given.values.values())):
        raise InputValueError(f"{where}: expected a context of finite numbers, got others; {CLEAN_OR_PROPAGATE}")
    return given


def contexts_of_sequences(network: Network, states: Mapping[str, Array], nonfinite: Nonfinite) -> list[StreamContext]:
    """Return the contexts of a batch of sequences, one that is equal for several of them once.

    ``states`` are what the sequences begin with, ``(batch, *shape)``, the contexts among them.
    """
    kept, refuse = kept_contexts(network), refuses(nonfinite)
    made: dict[Numbers, StreamContext] = {}
    found = []
    for row in zip(*(states[name] for name in network.context_shapes), strict=True):
        numbers = (refuse, *(array.tobytes() for array in row))
        if numbers not in made:
            values = dict(zip(network.context_shapes, row, strict=True))
            made[numbers] = context = make_context(network, values, nonfinite)
            kept.keep(numbers, context.memory)
        found.append(made[numbers])
    return found


def _checked(where: str, network: Network, values: Mapping[str, ArrayLike], nonfinite: Nonfinite) -> dict[str, Floats]:
    """Return read-only copies of what a context is made of, in the model's order."""
    refuse, shapes = refuses(nonfinite), network.context_shapes
    if not isinstance(values, Mapping):
        raise InputTypeError(f"{where}: expected a mapping by name, got {type(values).__name__}")
    given = dict(values)
    if given.keys() != shapes.keys():
        found = ", ".join(map(described, given))
        raise InputShapeError(f"{where}: expected the contexts {[*shapes]}, got [{found}]")
    checked = {}
    for name, shape in shapes.items():
        array = arrays.features(f"{where}: {described(name)}", given[name])
        shape = _own_shape(f"{where}: {described(name)}", array, shape, network.open_contexts.get(name))
        if refuse and not arrays.are_finite(array):
            raise InputValueError(
                f"{where}: {described(name)}: expected finite numbers, got a NaN or an infinity; {CLEAN_OR_PROPAGATE}"
            )
        checked[name] = frozen(array.reshape(shape), "float32")
    _expect_same_places(where, network, checked)
    return checked


def _own_shape(where: str, array: Array, shape: Shape, opened: tuple[int, str | None] | None) -> Shape:
    """Return the shape that an array has as a context, which is shorter along an axis, where one is open.

    Axes of size 1 may be left out of it, but for the open one.
    """
    if opened is None:
        if _without_ones(array.shape) != _without_ones(shape):
            arrays.expect_shape(where, array, shape)
        return shape
    axis, left_out = opened[0], len(shape) - array.ndim
    ones = [each for each, size in enumerate(shape) if size == 1 and each != axis][: max(0, left_out)]
    places = f"1 to {shape[axis]}"
    named = [places if each == axis else size for each, size in enumerate(shape) if each not in ones]
    size = array.shape[named.index(places)] if array.ndim == len(named) else 0
    expected = [size if each == places else each for each in named]
    if not 1 <= size <= shape[axis] or array.shape != tuple(expected):
        raise InputShapeError(f"{where}: expected shape {arrays.shape_text(tuple(named))}, got {array.shape}")
    return (*shape[:axis], size, *shape[axis + 1 :])


def _without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _expect_same_places(where: str, network: Network, values: Mapping[str, Floats]) -> None:
    """Raise InputShapeError unless contexts of one mask have as many places."""
    owners: dict[str, str] = {}
    for name, (axis, mask) in network.open_contexts.items():
        if mask is None:
            continue
        other = owners.setdefault(mask, name)
        size, expected = values[name].shape[axis], values[other].shape[network.open_contexts[other][0]]
        if size != expected:
            raise InputShapeError(
                f"{where}: {described(name)}: expected {expected} places, as {described(other)} has, got {size}"
            )


def _computed(network: Network, values: Mapping[str, Floats]) -> Floats:
    """Return the memory of a context: what each layer's timesteps read of it."""
    memory = aligned_zeros(network.costs.contexts // F32_BYTES)
    parts = context_parts(network)
    for layer in network.layers:
        if layer.name in parts:
            part = parts[layer.name]
            memory[part.start : part.start + part.size] = _part(part, given_values(layer, values))
    memory.flags.writeable = False
    return memory


def _part(part: ContextPart, values: Mapping[str, Floats]) -> Floats:
    if part.preparation is None:
        return np.concatenate([values[name].ravel() for name in part.shapes])
    plan = plan_of(part.preparation)
    prepared = np.empty(part.size, np.float32)
    constants = sequence_constants(part.preparation)
    context = Context.new(plan, States.new(plan, 1), constants, whole_sequence=True, refuse_nonfinite=False)
    context.run([values[name] for name in part.shapes], [prepared], 1)
    return prepared


def refuse_contexts(where: str, network: Network) -> None:
    """Raise StreamingError for a network whose streams are given contexts, where nobody can give any."""
    if network.context_shapes:
        raise StreamingError(
            f"{where}: its streams are given contexts [{listed(network.context_shapes)}], which none can be here; "
            "convert the model without --context, so that they are inputs"
        )
