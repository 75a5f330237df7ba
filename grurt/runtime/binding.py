"""From a user's inputs to the arrays that the kernels read, and the arrays that they write: for streams and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from grurt.errors import InputShapeError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.lowering.plan import Plan, PlanPort
from grurt.network.frames import Frame, Frames
from grurt.runtime import arrays
from grurt.runtime.incoming import floats_in_bytes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Floats
    from grurt.network.inputs import Output
    from grurt.network.network import Network

Inputs: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"
Outputs: TypeAlias = "Floats | Any"
"""A model's only output, or a dict of several by name. ``Any`` spares those who know which a cast at every call."""

Lead = tuple[int | str, ...]
"""Axes of an input before its features: a number, or a name where any size will do if all inputs have the same."""


def convert_inputs(
    where: str, plan: Plan, frames: Frames, xs: Inputs, lead: Lead, held: arrays.Held
) -> tuple[list[Array], tuple[int, ...]]:
    """Return contiguous arrays in the plan's order, frames ``(*lead, *frame.shape)``, and lead's sizes.

    What they share with the caller is held: see `arrays.features`.
    """
    inputs = [_convert(where, port, frames.inputs[port.name], x, lead, held) for port, x in _pair(where, plan, xs)]
    sizes = inputs[0].shape[: len(lead)]
    for port, array in zip(plan.inputs, inputs, strict=True):
        if array.shape[: len(lead)] != sizes:
            raise InputShapeError(
                f"{where}: expected {sizes[-1]} timesteps of every input, "
                f"got {array.shape[len(lead) - 1]} of {port.name!r}"
            )
    arrays.expect_timesteps(where, sizes)
    return inputs, sizes


def _pair(where: str, plan: Plan, xs: Inputs) -> list[tuple[PlanPort, ArrayLike]]:
    names = [port.name for port in plan.inputs]
    if not isinstance(xs, Mapping):
        if len(names) > 1:
            raise InputTypeError(f"{where}: expected a mapping with the inputs {names}, got {type(xs).__name__}")
        return [(plan.inputs[0], xs)]
    taken = dict(xs)
    if taken.keys() != set(names):
        raise InputShapeError(f"{where}: expected the inputs {names}, got [{', '.join(map(described, taken))}]")
    return [(port, taken[port.name]) for port in plan.inputs]


def _convert(where: str, port: PlanPort, frame: Frame, x: ArrayLike, lead: Lead, held: arrays.Held) -> Array:
    named = f"{where}: {'a token id' if port.tokens else 'an input'} {port.name!r}"
    if not port.tokens and (floats := floats_in_bytes(named, x, lead, frame.shape)) is not None:
        x = floats
    array: Array = (arrays.tokens if port.tokens else arrays.features)(where, x, held)
    if not lead and array.shape == frame.source_shape:
        return array.reshape(frame.shape)
    arrays.expect_shape(named, array, (*lead, *frame.shape_in(array)))
    return array.reshape((*array.shape[: len(lead)], *frame.shape))


def make_outputs(
    where: str, frames: Frames, out: Floats | None, lead: tuple[int, ...], inputs: Sequence[Array], held: arrays.Held
) -> list[Floats]:
    """Return the arrays ``(*lead, *frame.shape)`` to write to: the memory of ``out``, if that fits, or new ones."""
    shapes = [(*lead, *frame.shape) for frame in frames.outputs.values()]
    if out is None:
        return [np.empty(shape, np.float32) for shape in shapes]
    if len(shapes) > 1:
        raise InputTypeError(f"{where}: out is for models of one output; this one has {len(shapes)}")
    checked = arrays.expect_output(where, out, shapes[0], held)
    # One timestep is read before its answer is written.
    if lead and any(np.may_share_memory(checked, array) for array in inputs):
        raise InputValueError(f"{where}: expected out not to overlap the input")
    return [checked]


def present(model: Plan | Network, outputs: list[Floats]) -> Outputs:
    """Return a model's only output, or a dict of several by name."""
    if len(outputs) == 1:
        return outputs[0]
    ports: Sequence[PlanPort | Output] = model.outputs
    return {port.name: output for port, output in zip(ports, outputs, strict=True)}
