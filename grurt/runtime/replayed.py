"""The inputs of a reference run, one sequence after the other, as streams and the float64 reference take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from grurt.network.axes import batch_first
from grurt.network.signature import LengthsPort, StatePort

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.reference_run import Arrays
    from grurt.network.signature import Signature


def sequences(signature: Signature, given: Arrays) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """Yield the inputs ``(n_steps, ...)`` and the initial states of each sequence of a batch, up to its length.

    ``given`` are tensors of the source, by the names of its inputs.
    """
    inputs: dict[str, Array] = {}
    states: dict[str, Array] = {}
    lengths = np.asarray(signature.lengths or np.iinfo(np.int64).max)
    for port in signature.inputs:
        if port.name not in given:
            continue
        tensor = batch_first(port, given[port.name])
        if isinstance(port, LengthsPort):
            lengths = tensor
        elif isinstance(port, StatePort):
            states |= dict(zip(port.states, tensor, strict=True))
        else:
            inputs[port.value] = tensor
    batch = len(next(iter(inputs.values())))
    for row, length in enumerate(np.broadcast_to(lengths, batch)):
        yield (
            {name: array[row, :length] for name, array in inputs.items()},
            {name: array[row] for name, array in states.items()},
        )
