"""How a model's inputs, outputs and states appear in the framework that it came from.

grurt itself knows vectors per timestep. The source of a model has tensors, with a batch axis, in an axis order of its
own, and often the recurrent state as one more input and output. A `Signature` records that, so that `Model.run` can be
called like the source: by names, in the source's shapes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from grurt.errors import ModelError
from grurt.escaping import listed
from grurt.network.text import check_name

if TYPE_CHECKING:
    from grurt.network.inputs import AnyInput, Output
    from grurt.network.value import Value

Axis = Literal[
    "batch", "time", "feature", "state", "position", "batch_position", "batch_time", "time_batch", "one", "index"
]
"""An axis of a port: ``"state"`` runs over states of one size, stacked in a tensor such as ONNX ``initial_h``;
``"position"`` over parts of a vector that the source keeps apart, such as the directions of a GRU's output or the
frequencies of a spectrum; ``"batch_position"`` is the batch axis merged with that, the batch outermost;
``"batch_time"`` and ``"time_batch"`` are the batch and time axes of an output merged, named from the outermost on, as
in ``y.reshape(-1, features)``; ``"one"`` is an axis of size 1 without a meaning. ``"index"`` axes, any number of them,
stand in the place of ``"feature"``: the numbers run over them in row-major order, whatever they mean."""

DType = Literal["float32", "float64", "float16", "int64", "int32", "bool"]

MERGED_TIME: Mapping[Axis, tuple[Axis, ...]] = {"batch_time": ("batch", "time"), "time_batch": ("time", "batch")}
"""What axes are made of that merge time with the batch."""

_LATER_AXES = MERGED_TIME.keys() | {"index"}
"""Those that are not of the first version of files."""

MAX_POSITIONS = 1 << 20
MAX_LENGTH = 1 << 31
"""Timesteps of a sequence: more than memory holds."""
MAX_AXES = 32
"""Of a tensor: NumPy has 64, some of which are added while a tensor is rearranged."""


class ValuePort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="value", tag_field="port"):
    """A tensor of the source that is a model input or output.

    Parameters
    ----------
    name
        The source's name of the tensor.
    value
        Name of the model's input or output.
    dtype
        The source's dtype: outputs are returned in it, inputs are converted from it. An output may be of whole numbers,
        such as the place of the largest feature, or 0 and 1 where a comparison holds; so may an input of features,
        such as a mask: true stands for 1 then, and whole numbers lie below 2**24, as float32 has them.
    axes
        Meaning of the tensor's axes, outermost first, e.g. ``("time", "batch", "feature")``. ``"batch"`` may be absent
        (unbatched), ``"time"`` is absent from one timestep's or one sequence's result, ``"feature"`` from tokens, and
        from a value of size 1 whose feature axis the source squeezed away. ``"one"`` may occur any number of times.
        A source that takes one timestep of one sequence, in tensors of static shapes, has ``"index"`` axes only.
    positions
        Into how many parts of equal size the value falls along the ``"position"`` axis: the value holds them one after
        the other.
    backwards
        Whether the tensor holds the timesteps from the last to the first, as Keras's ``go_backwards`` makes them.
    shape
        The sizes of the ``"index"`` axes.
    """

    name: str
    value: str
    dtype: DType
    axes: tuple[Axis, ...]
    positions: int = 1
    backwards: bool = False
    shape: tuple[int, ...] = ()


class StatePort(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="state", tag_field="port"):
    """A tensor of the source that is recurrent state: at the start as an input, after the last timestep as an output.

    Parameters
    ----------
    name
        The source's name of the tensor.
    states
        Names of the states that it holds, in order along its ``"state"`` axis; just one where there is none.
    dtype
        The source's dtype.
    axes
        Meaning of the tensor's axes, e.g. ``("state", "batch", "feature")``.
    positions
        How many vectors each state has: those of a GRU that scans the time at every position of a grid.
    groups
        How many states lie side by side along the ``"feature"`` axis, at each place of the ``"state"`` axis: those of
        the groups of a grouped GRU.
    shape
        The sizes of the ``"index"`` axes: the shape of the state itself.
    """

    name: str
    states: tuple[str, ...]
    dtype: DType
    axes: tuple[Axis, ...]
    positions: int = 1
    groups: int = 1
    shape: tuple[int, ...] = ()


class LengthsPort(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lengths", tag_field="port"
):
    """An input of the source with the valid timesteps of each sequence (ONNX ``sequence_lens``, PyTorch ``lengths``).

    Where sequences are packed, their GRUs give zeros behind the ends, and the layers after them what they make of
    zeros. The state of a sequence without timesteps is zeros, whatever it began with. Where they are not, the source
    runs on to the end of the longest, and only what it masks or picks knows the lengths: `grurt.PastEnd`, and
    `grurt.LastStep` by length.

    Parameters
    ----------
    name
        The source's name of the tensor.
    dtype
        The source's dtype: ``"int64"`` or ``"int32"``.
    axes
        ``("batch",)``, or with axes of size 1 beside it.
    packed
        Whether sequences are packed.
    """

    name: str
    dtype: DType
    axes: tuple[Axis, ...]
    packed: bool = True


Port = ValuePort | StatePort
AnyPort = Port | LengthsPort


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The source's inputs and outputs, in the source's order.

    Parameters
    ----------
    inputs, outputs
        The ports. At most one of the inputs is a `LengthsPort`.
    lengths
        The valid timesteps of each sequence, where the source fixes them as constants: it takes no other batch then.
    """

    inputs: tuple[AnyPort, ...]
    outputs: tuple[Port, ...]
    lengths: tuple[int, ...] = ()

    @property
    def takes_lengths(self) -> bool:
        """Whether the source knows the lengths of padded sequences."""
        return bool(self.lengths) or any(isinstance(port, LengthsPort) for port in self.inputs)

    @property
    def packs(self) -> bool:
        """Whether padded sequences end for the source's GRUs where their lengths say."""
        return all(port.packed for port in self.inputs if isinstance(port, LengthsPort))

    @property
    def fed_back(self) -> dict[str, str]:
        """The outputs that the source is to be given back, by the inputs that take them."""
        given = {port.states: port.name for port in self.outputs if isinstance(port, StatePort)}
        taken = (port for port in self.inputs if isinstance(port, StatePort))
        return {port.name: given[port.states] for port in taken if port.states in given}

    def first_file_version(self, inputs: Iterable[AnyInput]) -> int:
        """Return the first version of the ``.grurt`` file that can say this, of a model with such inputs."""
        tokens = {port.name for port in inputs if port.tokens}
        numbers = [port for port in self.inputs if isinstance(port, ValuePort) and port.value not in tokens]
        ports = self.inputs + self.outputs
        later = any(port.dtype == "bool" or not _LATER_AXES.isdisjoint(port.axes) for port in ports)
        later = later or not self.packs or 0 in self.lengths
        return 2 if later or any(not is_float(port.dtype) for port in numbers) else 1


def is_float(dtype: DType) -> bool:
    """Say whether a dtype is one of floating point."""
    return dtype.startswith("float")


def is_integer(dtype: DType) -> bool:
    """Say whether a dtype is one of whole numbers."""
    return dtype.startswith("int")


def parts_of_axes(axes: Iterable[Axis]) -> list[Axis]:
    """Return the axes that are not just of size 1, with those that merge time with the batch taken apart."""
    return [part for axis in axes if axis != "one" for part in MERGED_TIME.get(axis, (axis,))]


def default_signature(inputs: Sequence[AnyInput], outputs: Sequence[Output], values: Mapping[str, Value]) -> Signature:
    """Return the signature of a model that has no source: batch-first, float32 features, int64 tokens, no states."""
    sequence: tuple[Axis, ...] = ("batch", "time", "feature")
    return Signature(
        tuple(
            ValuePort(
                name=port.name,
                value=port.name,
                dtype="int64" if values[port.name].tokens else "float32",
                axes=("batch", "time") if values[port.name].tokens else sequence,
            )
            for port in inputs
        ),
        tuple(
            ValuePort(
                name=output.name,
                value=output.name,
                dtype="float32",
                axes=sequence if values[output.value].per_step else ("batch", "feature"),
            )
            for output in outputs
        ),
    )


def check_signature(
    signature: Signature,
    inputs: Sequence[AnyInput],
    outputs: Sequence[Output],
    values: Mapping[str, Value],
    state_shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ModelError unless the signature fits the model's inputs, outputs and states."""
    _check_ports("inputs", signature.inputs)
    _check_ports("outputs", signature.outputs)
    given = sorted(port.value for port in signature.inputs if isinstance(port, ValuePort))
    if given != sorted(port.name for port in inputs):
        raise ModelError(f"signature: expected each model input once, got {listed(given)}")
    states = [name for port in signature.inputs if isinstance(port, StatePort) for name in port.states]
    if len(set(states)) != len(states):
        raise ModelError(f"signature: expected each state in one input at most, got {listed(_repeated(states))} twice")
    shown = {output.name: values[output.value] for output in outputs}
    for ports, by_name in ((signature.inputs, values), (signature.outputs, shown)):
        for port in ports:
            if isinstance(port, StatePort):
                _check_state_port(port, state_shapes)
            elif isinstance(port, ValuePort):
                _check_value_port(port, by_name.get(port.value), is_output=ports is signature.outputs)
    _check_lengths(signature)


def _check_lengths(signature: Signature) -> None:
    ports = [port for port in signature.inputs if isinstance(port, LengthsPort)]
    if len(ports) > 1 or (ports and signature.lengths):
        raise ModelError("signature: expected the lengths of sequences once at most, as an input or as constants")
    for port in ports:
        if [axis for axis in port.axes if axis != "one"] != ["batch"] or not is_integer(port.dtype):
            raise ModelError(f"port {port.name!r}: expected lengths of integers along a batch axis, got {port.axes}")
    backwards = [port.name for port in signature.inputs + signature.outputs if getattr(port, "backwards", False)]
    if backwards and signature.takes_lengths:
        raise ModelError(f"port {backwards[0]!r}: expected timesteps in order where sequences have lengths")
    for length in signature.lengths:
        if not 0 <= length <= MAX_LENGTH:
            raise ModelError(f"signature: expected lengths in [0, {MAX_LENGTH}], got {length}")


def _check_ports(where: str, ports: Sequence[AnyPort]) -> None:
    for port in ports:
        check_name(port.name)
        if len(port.axes) > MAX_AXES:
            raise ModelError(f"port {port.name!r}: expected at most {MAX_AXES} axes, got {len(port.axes)}")
    names = [port.name for port in ports]
    if len(set(names)) != len(names):
        raise ModelError(f"signature: two {where} have the same name: {listed(_repeated(names))}")


def _repeated(names: Sequence[str]) -> list[str]:
    """Return the names that are there more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _check_value_port(port: ValuePort, value: Value | None, *, is_output: bool) -> None:
    if value is None:
        raise ModelError(f"port {port.name!r}: the model has no such input or output: {port.value!r}")
    _check_positions(port, value.size)
    features = set() if value.tokens else {"feature", "position", "batch_position"}
    required: set[str] = set() if value.tokens or value.size == port.positions else {"feature"}
    allowed = {"batch"} | ({"time"} if value.per_step else set()) | features
    if not is_output and not MERGED_TIME.keys().isdisjoint(port.axes):
        raise ModelError(f"port {port.name!r}: expected an input with axes of its own for batch and time")
    named = _with_features(parts_of_axes(port.axes))
    if len(set(named)) != len(named) or not required <= set(named) <= allowed:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit the value {port.value!r}")
    if not _has_shape(port, value.size):
        raise ModelError(f"port {port.name!r}: the shape {port.shape} does not fit its axes, or the size {value.size}")
    if port.backwards and "time" not in port.axes:
        raise ModelError(f"port {port.name!r}: expected a time axis that goes backwards, got the axes {port.axes}")
    if value.tokens and not is_integer(port.dtype):
        raise ModelError(f"port {port.name!r}: the dtype {port.dtype} does not fit the value {port.value!r}")


def _check_state_port(port: StatePort, state_shapes: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {state_shapes.get(name) for name in port.states}
    shape = shapes.pop() if len(shapes) == 1 else None
    if shape is None or not ("index" in port.axes or _is_gru_state(shape, port.positions)):
        raise ModelError(f"port {port.name!r}: expected GRU layers of one hidden size, got {listed(port.states)}")
    if not _has_shape(port, math.prod(shape)) or port.shape not in ((), shape):
        raise ModelError(f"port {port.name!r}: the shape {port.shape} does not fit its axes, or the state's {shape}")
    _check_positions(port, math.prod(shape))
    named = _with_features(axis for axis in port.axes if axis != "one")
    required = {"state"} if len(port.states) > port.groups else set()
    required |= {"feature"} if math.prod(shape) > 1 or port.groups > 1 else set()
    allowed = {"feature", "state", "batch", "position", "batch_position"}
    fits = port.groups >= 1 and len(port.states) % port.groups == 0 and (port.groups == 1 or not port.shape)
    if not fits or len(set(named)) != len(named) or not required <= set(named) <= allowed:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} do not fit {len(port.states)} states")
    if not is_float(port.dtype):
        raise ModelError(f"port {port.name!r}: a state is of floating point, got {port.dtype}")


def _is_gru_state(shape: tuple[int, ...], positions: int) -> bool:
    return math.prod(shape) == 1 or shape == (shape[-1:] if positions == 1 else (positions, *shape[-1:]))


def _with_features(axes: Iterable[Axis]) -> list[Axis]:
    """Return axes with ``"feature"`` in the place of those that stand for it."""
    found = list(axes)
    others: list[Axis] = [axis for axis in found if axis != "index"]
    return others if others == found else [*others, "feature"]


def _has_shape(port: ValuePort | StatePort, size: int) -> bool:
    """Whether a port has the sizes of its ``"index"`` axes, if it has any, which so many numbers run over."""
    if "index" not in port.axes:
        return not port.shape
    is_whole = port.positions == 1 and len(port.shape) == port.axes.count("index")
    return is_whole and min(port.shape) > 0 and math.prod(port.shape) == size


def _check_positions(port: ValuePort | StatePort, size: int) -> None:
    """Check that a port has an axis of positions just where its value or state falls into several."""
    axes = [axis for axis in port.axes if axis in ("position", "batch_position")]
    if not 1 <= port.positions <= MAX_POSITIONS or size % port.positions or len(axes) != (port.positions > 1):
        raise ModelError(f"port {port.name!r}: {port.positions} positions do not fit its axes {port.axes}, or its size")
    if "batch_position" in axes and "batch" in port.axes:
        raise ModelError(f"port {port.name!r}: the axes {port.axes} hold the batch twice")
