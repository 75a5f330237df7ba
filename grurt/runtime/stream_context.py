"""A context: what streams are given once, and share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.digests import blake2b
from grurt.kernels.fields import data_address
from grurt.network.frozen import FrozenArrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network

DIGEST_SIZE = 16


class StreamContext:
    """What streams of a model are given once, such as the memory that an encoder left: made by `Model.context`.

    It never changes. What the model computes of it alone, such as the keys of an attention, is computed when it is
    made. Any number of streams, forks and pools share one, in any threads; it lives as long as one of them has it.

    Examples
    --------
    A network that is given a gain:

    >>> import numpy as np
    >>> import grurt
    >>> op = grurt.operators.Combine
    >>> layer = grurt.Program(
    ...     name="scaled_sum",
    ...     inputs=("x",),
    ...     input_shapes=((2,),),
    ...     contexts=(grurt.ProgramContext("gain", (1,)),),
    ...     states=(grurt.ProgramState("sum", (2,), "new_sum"),),
    ...     operators=(
    ...         op(inputs=("x", "gain"), outputs=("scaled",), operation="mul"),
    ...         op(inputs=("sum", "scaled"), outputs=("new_sum",), operation="add"),
    ...     ),
    ...     results=("new_sum",),
    ... )
    >>> model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 2)])
    >>> loud = model.context(gain=[3.0])
    >>> stream = model.stream(context=loud)
    >>> stream.run(np.ones((2, 2), np.float32))[:, 0].tolist()
    [3.0, 6.0]
    >>> stream.fork().context is loud
    True
    """

    def __init__(self, network: Network, values: dict[str, Array], memory: Floats) -> None:
        self._network = network
        self.memory = memory
        """What a timestep reads of it, float32, read-only."""
        self.values: Mapping[str, Floats] = FrozenArrays(values)
        """What it was made of, by name: copies, float32, read-only."""
        self.address = data_address(memory)
        """Where the kernels find what a timestep reads of it."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self.memory.nbytes + sum(array.nbytes for array in self.values.values())

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that identify what it was made of: by them a snapshot names it."""
        digest = blake2b(digest_size=DIGEST_SIZE)
        for array in self.values.values():
            digest.update(np.array(array.shape, "<u4").data)
            digest.update(array.astype("<f4", copy=False).data)
        return digest.digest()

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.values.items())
        return f"<grurt.StreamContext of {shapes}>"

    def is_of(self, network: Network) -> bool:
        """Whether it is one of this network, or of an equal one."""
        return self._network is network or self._network.fingerprint == network.fingerprint


ContextLike: TypeAlias = "StreamContext | Mapping[str, ArrayLike]"
"""A context, or what one is made of."""
