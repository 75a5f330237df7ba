"""Layers that give what they read some timesteps later, zeros at first."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array
from grurt.network import operators
from grurt.network.layers import Conv1d, Program
from grurt.network.layers.program import ProgramState

DELAYING = np.array([1, 0], np.float32)
"""The weights of a feature: of the timestep that is late, and of the newest."""


def finite_delay(name: str, source: str, size: int, steps: int) -> tuple[Conv1d, Array]:
    """Return a delay line of finite numbers, which multiplies the newest by 0, and its weight."""
    line = Conv1d(
        name=name,
        inputs=(source,),
        input_size=size,
        output_size=size,
        kernel_size=2,
        dilation=steps,
        groups=size,
        bias=False,
    )
    return line, np.broadcast_to(DELAYING, (size, 1, 2))


def exact_delay(name: str, source: str, size: int, steps: int) -> Program:
    """Return a delay line of any numbers, infinities among them: it multiplies nothing."""
    before, whole, kept, oldest = (f"{name}.{what}" for what in ("before", "all", "kept", "oldest"))
    return Program(
        name=name,
        inputs=(source,),
        input_shapes=((1, size),),
        states=(ProgramState(before, (steps, size), kept),),
        operators=(
            operators.Concat(inputs=(before, source), outputs=(whole,), axis=0),
            operators.Slice(inputs=(whole,), outputs=(kept,), starts=(1, 0), sizes=(steps, size), steps=(1, 1)),
            operators.Slice(inputs=(whole,), outputs=(oldest,), starts=(0, 0), sizes=(1, size), steps=(1, 1)),
        ),
        results=(oldest,),
    )
