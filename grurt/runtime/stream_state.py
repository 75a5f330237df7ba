"""The state of a stream: read, set, copied, saved and restored; and what the stream was given once."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING

from grurt.errors import InputTypeError
from grurt.runtime.commit import commit
from grurt.runtime.states import check_states
from grurt.runtime.stream_memory import new_memory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.state_writer import StateWriter
    from grurt.runtime.stream_context import ContextLike, StreamContext


class StreamState:
    """What a `Stream` does with its state, between its steps."""

    def __init__(self, network: Network, nonfinite: Nonfinite, context: ContextLike | None) -> None:
        self._network = network
        self._nonfinite: Nonfinite = nonfinite
        self._context, self._states, self._whole = new_memory(network, nonfinite)
        self._writer: StateWriter | None = None
        if network.context_shapes or context is not None:
            self._states.give(0, self._taken("Model.stream", context))

    def reset(self) -> None:
        """Go back to the model's initial state, before the first timestep."""
        self._context.exclusively(self._states.reset, 0)

    @property
    def state(self) -> dict[str, Floats]:
        """The states by name, which is the layer's unless it is a `Program`: copies, float32.

        A GRU's is ``(hidden_size,)``, or ``(positions, hidden_size)`` on a grid; a Conv1d's is ``((kernel_size - 1) *
        dilation, input_size)``, oldest timestep first; those of a `Program` have its names and shapes. Assigning a
        mapping replaces the states that it names.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If what is assigned does not fit, or is infinite or NaN though the layer keeps its state in bounds, and the
            stream does not propagate that. No state has changed then.
        """
        return self._context.exclusively(self._states.read_all, 0)

    @state.setter
    def state(self, states: Mapping[str, ArrayLike]) -> None:
        if self._writer is None:
            from grurt.runtime.state_writer import StateWriter

            self._writer = StateWriter(self._network, refuse_nonfinite=self._nonfinite == "refuse")
        values = self._writer.values(states)
        if values is None or not self._context.exclusively(self._writer.write, self._states.address(0), values):
            checked = check_states("Stream.state", self._network, states, self._nonfinite)
            self._context.exclusively(self._states.write_all, 0, None, checked)

    @property
    def context(self) -> StreamContext | None:
        """What the stream was given once, and reads at every timestep; None if the model has no contexts.

        Assigning another one, or a mapping of what one is made of, leaves the state as it is.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If what is assigned does not fit. The context has not changed then.
        """
        return self._states.context(0)

    @context.setter
    def context(self, context: ContextLike) -> None:
        self._context.exclusively(self._states.give, 0, self._taken("Stream.context", context))

    def _taken(self, where: str, context: ContextLike | None) -> StreamContext | None:
        from grurt.runtime.making_contexts import context_for

        return context_for(where, self._network, context, self._nonfinite)

    def snapshot(self, *, with_context: bool = False) -> bytes:
        """Return the stream's state as bytes, to be restored later, in another process or on another machine.

        Parameters
        ----------
        with_context
            Whether what the stream's context is made of is among them, so that any stream of the model can be restored
            from them. Otherwise they name it, and restore streams that have been given the same one.
        """
        from grurt.runtime.snapshot import pack

        whole = self._context.exclusively(self._states.read_with_context, 0)
        return pack(self._network, *whole, with_context=with_context)

    def restore(self, saved: bytes) -> None:
        """Go to the state that a `snapshot` holds, of this stream or of another one of the same model.

        That is any state that a stream can reach, infinite or NaN where sums went beyond float32.

        Raises
        ------
        SnapshotError
            If it is damaged, of a newer version, of another model, of a stream with another context, which it does not
            hold, or of a stream that took inputs which this one refuses, and still has them. The state is then what it
            was before.
        """
        from grurt.runtime.restoring import restore
        from grurt.runtime.snapshot import unpack

        found = unpack(saved, self._network, self._nonfinite)
        self._context.exclusively(restore, self._states, 0, found, self._network, self._nonfinite)

    def copy_from(self, other: StreamState) -> None:
        """Go to the state of another stream of the same model, which stays as it is; its context is shared.

        Raises
        ------
        SnapshotError
            If it is of another model, or has taken inputs that this one refuses. Nothing has changed then.
        ConcurrentUseError
            If another thread is using either of them.
        """
        if not isinstance(other, StreamState):
            raise InputTypeError(f"Stream.copy_from: expected a Stream, got {type(other).__name__}")
        if other._network is not self._network or other._nonfinite != self._nonfinite:
            self.restore(other.snapshot(with_context=True))
        elif other is not self:
            self._context.exclusively(self._copy_claimed, other)

    def _copy_claimed(self, other: StreamState) -> None:
        other._context.exclusively(self._take_on, other)

    def _take_on(self, other: StreamState) -> None:
        change = operator.setitem, self._whole, ..., other._whole
        if self._states.contexts:
            commit(change, (operator.setitem, self._states.contexts, 0, other._states.contexts[0]))
        else:
            commit(change)
