"""What `grurt bench` times: calls of a model, and of onnxruntime with the file that it was converted from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from grurt.array_types import Array
from grurt.cli.timing import Call
from grurt.converters.sampling import open_steps
from grurt.errors import ConversionError
from grurt.network.axes import feature_size, fixed_sizes
from grurt.network.signature import AnyPort, LengthsPort, StatePort, ValuePort

if TYPE_CHECKING:
    from grurt.model import Model

N_STEPS = 100
"""Timesteps of the sequences, where the source does not fix them."""


class Session(Protocol):
    """The part of onnxruntime's InferenceSession that is used."""

    def get_inputs(self) -> list[Any]:
        """Return the inputs, with their names and shapes."""

    def run(self, outputs: list[str], feed: Mapping[str, Array]) -> list[Array]:
        """Return the outputs."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the source's axes: those that its file fixes, or 1 sequence of `N_STEPS`."""

    batch: int
    time: int
    fixes_time: bool

    def of(self, port: AnyPort, model: Model) -> tuple[int, ...]:
        """Return the shape of a port's tensor."""
        own = fixed_sizes(port, feature_size(port, model.values, model.state_shapes))
        own |= {"batch": self.batch, "time": self.time, "batch_position": self.batch * own.get("position", 1)}
        return tuple(own[axis] for axis in port.axes)


def stream_calls(model: Model) -> list[Call]:
    """Return the calls of a stream: a timestep at a time, and in blocks."""
    xs = _random_inputs(model, (N_STEPS,))
    x = {name: array[0] for name, array in xs.items()}
    step = {"step": model.stream().step, "x": x if len(x) > 1 else next(iter(x.values()))}
    calls = [Call("grurt step", "step(x)", step, single=True)]
    if len(model.outputs) == 1:
        out = np.empty(model.values[model.outputs[0].value].size, np.float32)
        calls.append(Call("grurt step, out=", "step(x, out)", step | {"out": out}, single=True))
    run = {"run": model.stream().run, "xs": xs if len(xs) > 1 else next(iter(xs.values()))}
    return [*calls, Call(f"grurt run, blocks of {N_STEPS}", "run(xs)", run, timesteps=N_STEPS)]


def source_sizes(model: Model, session: Session | None) -> Sizes:
    """Return the sizes of the source's axes."""
    fixed: dict[str, int] = {}
    shapes = {port.name: port.shape for port in session.get_inputs()} if session else {}
    for port in model.signature.inputs:
        found = zip(port.axes, shapes.get(port.name, ()), strict=False)
        fixed |= {axis: size for axis, size in found if isinstance(size, int)}
    has_time = any("time" in port.axes for port in model.signature.inputs)
    time = fixed.get("time", open_steps(model, N_STEPS) if has_time else 1)
    return Sizes(fixed.get("batch", 1), time, not has_time or "time" in fixed)


def sequence_call(model: Model, sizes: Sizes) -> Call:
    """Return the call of `Model.run` with the source's own names and shapes."""
    names = {"run": model.run, "feed": random_feed(model, sizes)}
    return Call(f"grurt Model.run, {_described(sizes)}", "run(feed)", names, timesteps=sizes.time)


def source_sequence_call(model: Model, session: Session, sizes: Sizes) -> Call:
    """Return the call of onnxruntime for the same."""
    outputs = [port.name for port in model.signature.outputs]
    names = {"run": session.run, "outputs": outputs, "feed": random_feed(model, sizes)}
    return Call(f"onnxruntime run, {_described(sizes)}", "run(outputs, feed)", names, timesteps=sizes.time)


def source_step_call(model: Model, session: Session, sizes: Sizes) -> Call | None:
    """Return the call of onnxruntime for one timestep, the states carried by the caller; None if it takes none such."""
    ports = model.signature
    incoming = {port.states: port.name for port in ports.inputs if isinstance(port, StatePort)}
    outgoing = {port.states: index for index, port in enumerate(ports.outputs) if isinstance(port, StatePort)}
    carried = {name for states in incoming for name in states}
    if carried != set(model.state_shapes) or incoming.keys() != outgoing.keys():
        return None
    if sizes.batch != 1 or (sizes.fixes_time and sizes.time != 1):
        return None
    feedback = [f"feed[{incoming[states]!r}] = answers[{index}]" for states, index in outgoing.items()]
    names = {
        "run": session.run,
        "outputs": [port.name for port in ports.outputs],
        "feed": random_feed(model, Sizes(1, 1, fixes_time=True)),
    }
    statement = "; ".join(["answers = run(outputs, feed)", *feedback])
    return Call("onnxruntime run, state fed back", statement, names, single=True)


def open_session(path: Path) -> Session:
    """Open an ONNX file with onnxruntime, on one thread.

    Raises
    ------
    ConversionError
        If onnxruntime is not installed, or cannot open the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConversionError("onnxruntime is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: Session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        raise ConversionError(f"{path}: expected an ONNX file, got one that onnxruntime cannot open") from error
    return session


def random_feed(model: Model, sizes: Sizes) -> dict[str, Array]:
    """Return random inputs by the source's names, in its shapes and dtypes; the states are zero."""
    feed = {}
    for port in model.signature.inputs:
        shape = sizes.of(port, model)
        if isinstance(port, ValuePort):
            feed[port.name] = _random(model, port.value, shape).astype(port.dtype)
        elif isinstance(port, LengthsPort):
            feed[port.name] = np.full(shape, sizes.time, port.dtype)
        else:
            feed[port.name] = np.zeros(shape, port.dtype)
    return feed


def _random_inputs(model: Model, lead: tuple[int, ...]) -> dict[str, Array]:
    return {port.name: _random(model, port.name, (*lead, *port.frame_shape)) for port in model.inputs}


def _random(model: Model, name: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(math.prod(shape))
    (port,) = (port for port in model.inputs if port.name == name)
    if port.tokens:
        return rng.integers(port.size, size=shape)
    return rng.standard_normal(shape).astype(np.float32)


def _described(sizes: Sizes) -> str:
    timesteps = f"{sizes.time} timestep{'s' if sizes.time > 1 else ''}"
    return timesteps if sizes.batch == 1 else f"{sizes.batch} sequences of {timesteps}"
