"""Networks that look some timesteps ahead, as networks that stream, and answer so many timesteps late.

Each value of the new network is one of the old, late by its *delay*. A window that looks k timesteps ahead of a value
of delay d is there at d + k; where values meet, those that are early wait in a delay line. What lies before the first
timestep and behind the last is told by the input ``present``, late by as much: what a convolution reads there is zero,
whatever the layers before it made of nothing, and a GRU keeps its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import StreamingError
from grurt.network.delay_lines import exact_delay, finite_delay
from grurt.network.inputs import Input, Output
from grurt.network.layers import (
    GRU,
    AnyLayer,
    Binary,
    Concat,
    Constant,
    Conv1d,
    Flatten,
    Linear,
    Mul,
    Program,
    Unflatten,
    Unfold,
    Where,
)
from grurt.network.network import N, Network
from grurt.network.signature import Signature, ValuePort
from grurt.network.splitting import new_name
from grurt.network.value import Value

if TYPE_CHECKING:
    from grurt.network.network import Parts

PRESENT = "present"

MAX_TAPS = 1024
"""The most timesteps of a window: each that waits takes a layer of its own."""


@dataclass(frozen=True)
class _Late:
    """A value of the new network.

    Parameters
    ----------
    name
        Its name.
    value
        Its positions and size.
    delay
        By how many timesteps it is late.
    surplus
        How many timesteps it has beyond those of the inputs.
    is_silent
        Whether it is zero before its first timestep and behind its last.
    has_poles
        Whether it may be infinite where all that the network reads is of ordinary size.
    """

    name: str
    value: Value
    delay: int = 0
    surplus: int = 0
    is_silent: bool = False
    has_poles: bool = False


def delayed(network: N) -> tuple[N, int]:
    """Return a network that streams what a network that looks ahead computes, and by how many timesteps it is late.

    The new one has one more input, ``present``: 1 at each timestep of the sequence, and 0 at the ones behind it, which
    give the last answers.

    Raises
    ------
    StreamingError
        If the network streams as it is, or needs more than a certain number of later timesteps.
    """
    if network.unstreamable_reason is None:
        raise StreamingError("the model streams as it is: nothing in it looks ahead")
    parts, delay = _Delaying(network).result()
    return network.replaced(**parts), delay


class _Delaying:
    """The new network while it is built."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._taken = set(network.values)
        self._layers: list[AnyLayer] = []
        self._weights: dict[str, Array] = dict(network.weights)
        self._waiting: dict[tuple[str, int], str] = {}
        self._masks: dict[tuple[int, int, int], str] = {}
        self._present = self._new(PRESENT)
        inputs = [port.name for port in network.inputs]
        self._late = {name: _Late(name, network.values[name], is_silent=True) for name in inputs}
        for layer in network.layers:
            self._late[layer.name] = self._of(layer)

    def result(self) -> tuple[Parts, int]:
        """Return what of the network is to be replaced, and the delay of its outputs."""
        network = self._network
        late = [self._late[output.value] for output in network.outputs]
        delay = max(value.delay for value in late)
        outputs = [
            Output(output.name, self._waited(value, delay).name)
            for output, value in zip(network.outputs, late, strict=True)
        ]
        note = f"streams, {delay} timestep{'' if delay == 1 else 's'} late"
        parts: Parts = {
            "layers": self._layers,
            "weights": self._weights,
            "inputs": [*network.inputs, Input(self._present, 1)],
            "outputs": outputs,
            "signature": self._signature(),
            "source": msgspec.structs.replace(network.source, notes=(*network.source.notes, note)),
            "reference_run": None,
        }
        return parts, delay

    def _signature(self) -> Signature:
        """Return the source's inputs and outputs that are no states, and the new input."""
        inputs, outputs = (
            tuple(port for port in ports if isinstance(port, ValuePort))
            for ports in (self._network.signature.inputs, self._network.signature.outputs)
        )
        axes = [axis for axis in inputs[0].axes if axis in ("batch", "time")]
        present = ValuePort(name=self._present, value=self._present, dtype="float32", axes=(*axes, "feature"))
        return Signature((*inputs, present), outputs)

    def _of(self, layer: AnyLayer) -> _Late:
        """Add a layer, and return what it writes."""
        if isinstance(layer, Unfold):
            return self._windows(layer)
        if layer.unstreamable_reason is not None:
            raise StreamingError(layer.unstreamable_reason)
        read = [self._late[name] for name in layer.inputs]
        delay = max(value.delay for value in read)
        if layer.selects_timestep and any(value.surplus for value in read):
            raise StreamingError(f"layer {layer.name!r} reads the end of a sequence that has become longer or shorter")
        if isinstance(layer, Conv1d):
            read = [self._silenced(read[0])]
        read = [self._waited(value, delay) for value in read]
        inputs = [value.name for value in read]
        if isinstance(layer, GRU) and layer.scans_time:
            layer, inputs = self._gated(layer, inputs, read[0])
        elif layer.state_shapes() and not isinstance(layer, Conv1d) and delay:
            raise StreamingError(f"layer {layer.name!r} has a state of its own, and what it reads is late")
        self._layers.append(msgspec.structs.replace(layer, inputs=tuple(inputs)))
        has_poles = layer.has_poles or any(value.has_poles for value in read)
        return _Late(layer.name, self._network.values[layer.name], delay, read[0].surplus, has_poles=has_poles)

    def _gated(self, layer: GRU, inputs: list[str], read: _Late) -> tuple[GRU, list[str]]:
        """Return a GRU that keeps its state where there is no timestep, and what it reads."""
        positions = read.value.positions
        mask = self._mask(read, positions)
        if positions > 1:
            mask = self._add(Unflatten(name=self._new(f"{mask}.grid"), inputs=(mask,), positions=positions))
        if not layer.masked:
            return msgspec.structs.replace(layer, masked=True), [inputs[0], mask, *inputs[1:]]
        both = self._add(Mul(name=self._new(f"{layer.name}.mask"), inputs=(inputs[1], mask)))
        return layer, [inputs[0], both, *inputs[2:]]

    def _windows(self, layer: Unfold) -> _Late:
        """Add what gives the windows of an `Unfold`."""
        if layer.stride > 1:
            raise StreamingError(layer.unstreamable_reason)
        if layer.kernel_size > MAX_TAPS:
            raise StreamingError(
                f"layer {layer.name!r}: a window of {layer.kernel_size} timesteps is too long to wait for"
            )
        source, history = self._late[layer.inputs[0]], layer.span - 1
        before = layer.padding_before(layer.span)
        after = history - before if isinstance(layer.padding, str) else layer.padding[1]
        ahead = history - before
        delay = max(0, source.delay + ahead)
        is_cut = layer.kernel_size == 1 and before <= 0 and after <= 0
        if not is_cut and not layer.fill:
            source = self._silenced(source)
        newest = delay - ahead
        taps = [newest + steps * layer.dilation for steps in reversed(range(layer.kernel_size))]
        values = [self._waited(source, tap) for tap in taps]
        if not is_cut and layer.fill:
            values = [self._filled(value, layer.fill) for value in values]
        name = values[0].name
        if len(values) > 1:
            name = self._joined([value.name for value in values], layer.name)
        surplus = source.surplus + before + after - history
        is_silent = values[0].is_silent and layer.kernel_size == 1 and not layer.fill and min(before, after) >= 0
        return _Late(name, self._network.values[layer.name], delay, surplus, is_silent, source.has_poles)

    def _joined(self, names: Sequence[str], name: str) -> str:
        """Return values side by side, in as many layers as it takes."""
        while len(names) > 1:
            most = Concat.max_inputs
            groups = [names[start : start + most] for start in range(0, len(names), most)]
            last = len(groups) == 1
            names = [
                self._add(Concat(name=name if last else self._new(f"{name}.part"), inputs=tuple(group)))
                if len(group) > 1
                else group[0]
                for group in groups
            ]
        return names[0]

    def _silenced(self, late: _Late) -> _Late:
        return late if late.is_silent else replace(self._filled(late, 0.0), is_silent=True)

    def _filled(self, late: _Late, fill: float) -> _Late:
        """Return a value that is a number before its first timestep and behind its last."""
        size = late.value.positions * late.value.size
        flat = self._flat(late)
        mask = self._mask(late, size)
        constant = self._add(Constant(name=self._new(f"{late.name}.outside"), inputs=(flat,), size=size))
        self._weights[f"{constant}.weight"] = np.full(size, fill, np.float32)
        chosen = self._add(Where(name=self._new(f"{late.name}.inside"), inputs=(mask, flat, constant)))
        return replace(late, name=self._grid(chosen, late))

    def _mask(self, late: _Late, size: int) -> str:
        """Return ``present`` as late as a value is, so many times."""
        key = (late.delay, late.surplus, size)
        if key not in self._masks:
            mask = self._presence(late.delay, late.surplus)
            if size > 1:
                mask = self._add(
                    Linear(
                        name=self._new(f"{mask}.repeated"), inputs=(mask,), input_size=1, output_size=size, bias=False
                    )
                )
                self._weights[f"{mask}.weight"] = np.ones((size, 1), np.float32)
            self._masks[key] = mask
        return self._masks[key]

    def _presence(self, delay: int, surplus: int) -> str:
        """Return what is 1 at the timesteps of a value that is late, and longer or shorter than the sequence."""
        if delay + surplus < 0:
            raise StreamingError(f"{-surplus} timesteps are left out at the end, which is not known before")
        if surplus > MAX_TAPS:
            raise StreamingError(f"{surplus} timesteps are added to the sequence, which are too many to wait for")
        present = _Late(self._present, Value(size=1, tokens=False, per_step=True))
        delays = range(delay, delay + surplus + 1) if surplus >= 0 else (delay, delay + surplus)
        name, *others = (self._waited(present, each).name for each in delays)
        operation: Literal["max", "min"] = "max" if surplus > 0 else "min"
        for other in others:
            both = Binary(name=self._new(f"{self._present}.both"), inputs=(name, other), operation=operation)
            name = self._add(both)
        return name

    def _waited(self, late: _Late, delay: int) -> _Late:
        """Return a value that is so many timesteps late."""
        steps = delay - late.delay
        if not steps:
            return late
        key = (late.name, steps)
        if not late.value.per_step:
            raise StreamingError(
                f"{late.name!r} is the end of a sequence, which cannot wait for outputs that are later by {steps}"
            )
        if key not in self._waiting:
            line = self._line(self._new(f"{late.name}.late"), late, steps)
            self._waiting[key] = self._grid(self._add(line), late)
        return replace(late, name=self._waiting[key], delay=delay)

    def _line(self, name: str, late: _Late, steps: int) -> Conv1d | Program:
        source, size = self._flat(late), late.value.positions * late.value.size
        if late.has_poles:
            return exact_delay(name, source, size, steps)
        line, self._weights[f"{name}.weight"] = finite_delay(name, source, size, steps)
        return line

    def _flat(self, late: _Late) -> str:
        if late.value.positions == 1:
            return late.name
        return self._add(Flatten(name=self._new(f"{late.name}.flat"), inputs=(late.name,)))

    def _grid(self, name: str, like: _Late) -> str:
        positions = like.value.positions
        if positions == 1:
            return name
        return self._add(Unflatten(name=self._new(f"{name}.grid"), inputs=(name,), positions=positions))

    def _add(self, layer: AnyLayer) -> str:
        self._layers.append(layer)
        return layer.name

    def _new(self, name: str) -> str:
        made = new_name(name, self._taken)
        self._taken.add(made)
        return made
