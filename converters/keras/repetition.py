"""``RepeatVector``: a vector beside a sequence is the same at every timestep."""

from __future__ import annotations

from dataclasses import replace

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.handlers import converts
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor


@converts("RepeatVector")
def repeat_vector(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``RepeatVector`` of a vector that meets a sequence of as many timesteps."""
    tensor = build.value(layer, args.only(layer), Kind.SINGLE)
    layer.config.integer("n")
    layer.config.policy()
    layer.config.check_all_read()
    return (repeated(tensor, build),)


def repeated(tensor: Tensor, build: Builder) -> Tensor:
    """Return a single vector as one that is the same at every timestep."""
    return replace(tensor, value=build.at_the_end(tensor.value), kind=Kind.REPEATED, mask=None, state_of=None)
