"""Sets the states of a stream in one call of the kernels, where they are given as the kernels read them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from grurt.kernels import codes
from grurt.kernels.fields import BY_ADDRESS
from grurt.kernels.sizes import F32_BYTES
from grurt.lowering.lower import plan_of
from grurt.lowering.plan import Plan, PlanPort
from grurt.network.frames import Frame
from grurt.network.network import once_per_network
from grurt.runtime.constants import Constants, constants_of
from grurt.runtime.context import Context

if TYPE_CHECKING:
    from grurt.network.network import Network


class StateWriter:
    """Writes all states of a stream at once: those of a network whose states lie in memory as users see them.

    That is not so where rows are padded, axes in another order, or timesteps where their time comes.

    Whoever calls `write` has claimed the context that works with the states.

    Parameters
    ----------
    network
        What the streams run.
    refuse_nonfinite
        Whether a NaN or an infinity is left to who can say whether the layer may have it.
    """

    def __init__(self, network: Network, *, refuse_nonfinite: bool) -> None:
        plan, constants = _writing(network)
        self._names = tuple(port.name for port in plan.inputs)
        self._context = context = Context(plan, constants, constants.array.copy(), ())
        context.slots[codes.CONTEXT_PHASE] = codes.STORE
        context.slots[codes.CONTEXT_REFUSE_NONFINITE] = refuse_nonfinite

    def values(self, states: object) -> tuple[object, ...] | None:
        """Return what `write` may be offered: what a dict has that names all the states. None of anything else."""
        names = self._names
        if type(states) is not dict or not 0 < len(states) == len(names):
            return None
        return (states.get(names[0]),) if len(names) == 1 else tuple(map(states.get, names))

    def write(self, address: int, values: tuple[object, ...]) -> bool:
        """Set the state at an address if the kernels can take these values; return whether they did.

        That is float32, contiguous, aligned, of the right sizes and finite. Otherwise nothing has changed.
        """
        context = self._context
        context.slots[codes.CONTEXT_STATES] = address
        return context.advance(context.array, values, (), BY_ADDRESS) == codes.OK


@once_per_network
def _writing(network: Network) -> tuple[Plan, Constants]:
    """Return a plan without operations, whose inputs are the states of a network; none where one lies otherwise."""
    places = plan_of(network).states
    are_plain = all(place.is_contiguous and not place.is_ring for place in places.values())
    frames = [Frame(place.shape, place.shape) for place in places.values() if are_plain]
    ports = tuple(
        PlanPort(name, frame.size, tokens=False, offset=F32_BYTES * place.offset, stride=0, single=False)
        for (name, place), frame in zip(places.items(), frames, strict=False)
    )
    nothing = np.zeros(0, np.float32)
    plan = Plan(np.zeros((0, codes.OP_SLOTS), np.int64), nothing, nothing, 0, ports, (), MappingProxyType({}))
    return plan, constants_of(plan, frames)
