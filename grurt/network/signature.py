"""How a model's inputs, outputs and states appear in the framework that it came from.

grurt itself knows vectors per timestep. The source of a model has tensors, with a batch axis, in an axis order of its
own, and often the recurrent state as one more input and output. A `Signature` records that, so that `Model.run` can be
called like the source: by names, in the source's shapes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

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

    An input that is a context, which no timestep changes, is one too.

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


def is_context(port: AnyPort, contexts: Collection[str]) -> bool:
    """Say whether a port holds what is given once, of which these are the names."""
    return isinstance(port, StatePort) and not set(contexts).isdisjoint(port.states)


def is_float(dtype: DType) -> bool:
    """Say whether a dtype is one of floating point."""
    return dtype.startswith("float")


def is_integer(dtype: DType) -> bool:
    """Say whether a dtype is one of whole numbers."""
    return dtype.startswith("int")


def parts_of_axes(axes: Iterable[Axis]) -> list[Axis]:
    """Return the axes that are not just of size 1, with those that merge time with the batch taken apart."""
    return [part for axis in axes if axis != "one" for part in MERGED_TIME.get(axis, (axis,))]


def default_signature(
    inputs: Sequence[AnyInput],
    outputs: Sequence[Output],
    values: Mapping[str, Value],
    contexts: Mapping[str, tuple[int, ...]],
) -> Signature:
    """Return the signature of a model that has no source: batch-first, float32 features, int64 tokens, no states."""
    sequence: tuple[Axis, ...] = ("batch", "time", "feature")
    return Signature(
        (
            *(_context_port(name, shape) for name, shape in contexts.items()),
            *(
                ValuePort(
                    name=port.name,
                    value=port.name,
                    dtype="int64" if values[port.name].tokens else "float32",
                    axes=("batch", "time") if values[port.name].tokens else sequence,
                )
                for port in inputs
            ),
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


def _context_port(name: str, shape: tuple[int, ...]) -> StatePort:
    index: Axis = "index"
    return StatePort(name=name, states=(name,), dtype="float32", axes=("batch", *[index] * len(shape)), shape=shape)
