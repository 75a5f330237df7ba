"""What `grurt bench` times of a model: its calls, and their inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grurt.array_types import Array
from grurt.cli.timing import Call
from grurt.converters.sampling import open_steps
from grurt.network.axes import tensor_shape
from grurt.network.signature import AnyPort, LengthsPort, ValuePort, is_context

if TYPE_CHECKING:
    from grurt.model import Model

N_STEPS = 100
"""Timesteps of the sequences, where the source does not fix them."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the source's axes: those that its file fixes, or 1 sequence of `N_STEPS`."""

    batch: int
    time: int
    fixes_time: bool

    def of(self, port: AnyPort, model: Model) -> tuple[int, ...]:
        """Return the shape of a port's tensor."""
        return tensor_shape(port, model.values, model.initial_shapes, batch=self.batch, time=self.time)


def stream_calls(model: Model) -> list[Call]:
    """Return the calls of a stream: a timestep at a time, and in blocks."""
    xs = random_inputs(model, (N_STEPS,))
    x = {name: array[0] for name, array in xs.items()}
    context = random_context(model)
    stream = model.stream(context=context)
    step = {"step": stream.step, "x": x if len(x) > 1 else next(iter(x.values()))}
    calls = [Call("grurt step", "step(x)", step, single=True)]
    if len(model.outputs) == 1:
        calls.append(Call("grurt step, out=", "step(x, out=out)", step | {"out": stream.output}, single=True))
    run = {"run": model.stream(context=context).run, "xs": xs if len(xs) > 1 else next(iter(xs.values()))}
    return [*calls, Call(f"grurt run, blocks of {N_STEPS}", "run(xs)", run, timesteps=N_STEPS)]


def source_sizes(model: Model, shapes: Mapping[str, Sequence[int | str]]) -> Sizes:
    """Return the sizes of the source's axes; ``shapes`` are those of its inputs, where they are known."""
    fixed: dict[str, int] = {}
    for port in model.signature.inputs:
        found = zip(port.axes, shapes.get(port.name, ()), strict=False)
        fixed |= {axis: size for axis, size in found if isinstance(size, int)}
    has_time = any("time" in port.axes for port in model.signature.inputs)
    time = fixed.get("time", open_steps(model, N_STEPS) if has_time else 1)
    return Sizes(fixed.get("batch", 1), time, not has_time or "time" in fixed)


def sequence_call(model: Model, sizes: Sizes) -> Call:
    """Return the call of `Model.run` with the source's own names and shapes."""
    names = {"run": model.run, "feed": random_feed(model, sizes)}
    return Call(f"grurt Model.run, {described(sizes)}", "run(feed)", names, timesteps=sizes.time)


def random_feed(model: Model, sizes: Sizes) -> dict[str, Array]:
    """Return random inputs by the source's names, in its shapes and dtypes; the states, but for contexts, are zero."""
    feed = {}
    for port in model.signature.inputs:
        shape = sizes.of(port, model)
        if isinstance(port, ValuePort):
            feed[port.name] = _random(model, port.value, shape).astype(port.dtype)
        elif isinstance(port, LengthsPort):
            feed[port.name] = np.full(shape, sizes.time, port.dtype)
        elif is_context(port, model.context_shapes):
            feed[port.name] = np.random.default_rng(0).standard_normal(shape).astype(port.dtype)
        else:
            feed[port.name] = np.zeros(shape, port.dtype)
    return feed


def random_context(model: Model) -> dict[str, Array] | None:
    """Return random numbers to give a stream once; None if the model has no contexts."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in model.context_shapes.items()} or None


def random_inputs(model: Model, lead: tuple[int, ...]) -> dict[str, Array]:
    """Return random inputs of the model by its own names, ``(*lead, size)``, tokens ``lead``."""
    return {port.name: _random(model, port.name, (*lead, *port.vector_shape)) for port in model.inputs}


def _random(model: Model, name: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(math.prod(shape))
    (port,) = (port for port in model.inputs if port.name == name)
    if port.tokens:
        return rng.integers(port.size, size=shape)
    return rng.standard_normal(shape).astype(np.float32)


def described(sizes: Sizes) -> str:
    """Return the words for the size of a call."""
    timesteps = f"{sizes.time} timestep{'s' if sizes.time > 1 else ''}"
    return timesteps if sizes.batch == 1 else f"{sizes.batch} sequences of {timesteps}"
