"""``RepeatVector``: a vector that is the same at every timestep, beside a sequence or as one."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor


@converts("RepeatVector")
def repeat_vector(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``RepeatVector``: what meets a sequence of as many timesteps is a vector beside it."""
    tensor = build.value(layer, args.only(layer), Kind.SINGLE)
    n_steps = layer.config.integer("n")
    layer.config.policy()
    layer.config.check_all_read()
    return (repeated(tensor, build, n_steps),)


def repeated(tensor: Tensor, build: Builder, n_steps: int) -> Tensor:
    """Return a single vector as one that is the same at every timestep."""
    value = build.at_the_end(tensor.value)
    return replace(tensor, value=value, kind=Kind.REPEATED, mask=None, state_of=None, repeats=n_steps)
