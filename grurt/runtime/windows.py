"""Short sequences, one at a time, with nothing around the kernels but what they need: the quick way of `Model.run`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.kernels import codes
from grurt.lowering.lower import plan_of
from grurt.network.frames import frames_of
from grurt.network.network import once_per_network
from grurt.runtime.context import Context
from grurt.runtime.stream_memory import Image, sequence_image

if TYPE_CHECKING:
    from grurt.array_types import Floats
    from grurt.lowering.plan import Plan
    from grurt.network.network import Network

MAX_SPARE = 4
"""Memories that a model keeps for later runs: as many runs as go on at the same time."""

MAX_STEPS = 1 << 12
"""Timesteps. Where a block of the model has fewer, the kernels leave longer sequences to the general way."""

_MAX_WHOLE = 1 << 20
"""Float32 numbers in which a model that needs whole sequences works: what is kept for later runs has no more."""

_empty = np.empty
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class _Windows:
    """What a model needs for short sequences; ``spare`` are contexts that no run uses now."""

    image: Image
    output_size: int
    output_is_single: bool
    most_steps: int
    needs_whole_sequences: bool
    spare: list[Context] = field(default_factory=list)

    def answer(self, xs: Any) -> Floats | None:
        n_steps = len(xs)
        if n_steps > self.most_steps:
            return None
        context = self._take_spare()
        if n_steps > context.slots[codes.CONTEXT_CAPACITY]:
            (context.reserve if self.needs_whole_sequences else context.reserve_block)(n_steps)
        shape = (self.output_size,) if self.output_is_single else (n_steps, self.output_size)
        ys = _empty(shape, _FLOAT32)
        status = context.advance(context.array, xs, ys, None)
        if len(self.spare) < MAX_SPARE:
            self.spare.append(context)
        return ys if status == codes.OK else None

    def _take_spare(self) -> Context:
        try:
            return self.spare.pop()
        except IndexError:
            return self.image.placed(refuse_nonfinite=True)[0]


@once_per_network
def _windows_of(network: Network) -> _Windows | None:
    """Return what a model needs for short sequences; None if they are not just arrays in and out."""
    if network.costs.n_stages > 1 or network.context_shapes or len(network.inputs) > 1 or len(network.outputs) > 1:
        return None
    if not frames_of(network).are_vectors:
        return None
    plan, needs_whole_sequences = plan_of(network), network.reads_whole_sequences
    (output,) = plan.outputs
    most_steps = most_whole_steps(plan) if needs_whole_sequences else MAX_STEPS
    return _Windows(sequence_image(network), output.size, output.single, most_steps, needs_whole_sequences)


def most_whole_steps(plan: Plan) -> int:
    """Return how many timesteps a model that needs whole sequences runs the quick way."""
    return min(MAX_STEPS, _MAX_WHOLE // plan.scratch_size)


def run_window(network: Network, xs: Any) -> Floats | None:
    """Return what a model answers to one short sequence, if that lies in memory as the kernels read it, else None.

    Parameters
    ----------
    network
        The model.
    xs
        An array: of any shape and dtype.

    None also stands for what is refused: whoever looks closer says why.
    """
    windows = _windows_of(network)
    return windows.answer(xs) if windows is not None and xs.ndim else None
