"""A stream: one sequence, answered timestep by timestep, with the state kept inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from grurt.errors import InputTypeError
from grurt.kernels import codes
from grurt.kernels.fields import BY_ADDRESS
from grurt.lowering.lower import plan_of
from grurt.network.frames import frames_of
from grurt.runtime import snapshot
from grurt.runtime.arrays import Held
from grurt.runtime.binding import Inputs, Outputs, convert_inputs, make_outputs, present
from grurt.runtime.context import streaming_context
from grurt.runtime.states import States, check_states

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty


class Stream:
    """One sequence in progress: made by `Model.stream`, at the model's initial state.

    A stream belongs to one thread at a time: a second one that calls it meanwhile gets a ConcurrentUseError, and has
    changed nothing. Any number of streams may run the same model in as many threads: calls that take longer than
    some 5 us release the GIL.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> model = grurt.Model(
    ...     layers=[grurt.GRU(name="gru", input_size=2, hidden_size=3, bias=False)],
    ...     weights={"gru.weight_ih": np.ones((9, 2)), "gru.weight_hh": np.ones((9, 3))},
    ... )
    >>> stream = model.stream()
    >>> stream.step(np.float32([0.5, -0.5]))
    array([0., 0., 0.], dtype=float32)
    >>> stream.run(np.zeros((4, 2), np.float32)).shape
    (4, 3)
    >>> stream.steps
    5
    """

    def __init__(self, network: Network, *, nonfinite: Nonfinite = "refuse") -> None:
        plan = plan_of(network)
        self._network = network
        self._nonfinite: Nonfinite = nonfinite
        self._states = States(plan, 1)
        self._context = streaming_context(network, self._states, nonfinite)
        self._advance = self._context.advance
        self._array = self._context.array
        self._frames = frames = frames_of(network)
        self._output_shape = frames.outputs[plan.outputs[0].name].shape
        self._reads_tokens = len(plan.inputs) == len(plan.outputs) == 1 and plan.inputs[0].tokens
        self._token = np.zeros(1, np.int64)
        self._token_slot = self._token.data
        self._answer = np.zeros(self._output_shape if self._reads_tokens else 0, np.float32)
        self._token_addresses = (self._token.ctypes.data, self._answer.ctypes.data)
        self._input = np.zeros(frames.inputs[plan.inputs[0].name].shape if plan.is_plain else 0, np.float32)
        self._output = np.zeros(self._output_shape, np.float32)

    @property
    def model(self) -> Network:
        """The model that the stream runs."""
        return self._network

    @property
    def steps(self) -> int:
        """Timesteps since the last reset."""
        return int(self._states.steps[0])

    def __repr__(self) -> str:
        return f"<grurt.Stream of {self._network!r} after {self.steps} timesteps>"

    def step(self, x: Inputs, out: Floats | None = None) -> Outputs:
        """Advance by one timestep.

        Parameters
        ----------
        x
            The input ``(input_size,)``. float32 and C-contiguous is quickest; other real dtypes and layouts are
            converted to that in a copy. Where the source has a grid at each timestep, such as ``(channels, width)``,
            the input is that, in the source's order, also if it is flat. The source's own shape of one timestep, with
            its axes of size 1, will do too. For a model of tokens, one token id. For several inputs, a mapping by their
            names. It is read once, when the call begins, and not resized before its end.
        out
            Where to write the answer: float32 ``(output_size,)``, C-contiguous. Only for models of one output.

        Returns
        -------
        The answer ``(output_size,)``, or a grid in the source's order, float32: ``out``, or a new array that is the
        caller's own. Where the model reads only the last timestep of a sequence, it is the answer so far. With several
        outputs, a dict of them by name.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If the input does not fit, or holds a NaN, an infinity or a token that does not exist. The state of the
            stream is then what it was before.
        """
        y = _empty(self._output_shape, _FLOAT32) if out is None else out
        status = self._advance(self._array, x, y, BY_ADDRESS)
        if status == codes.OK:
            return y
        if type(x) is int and self._reads_tokens and out is None:
            return self._step_token(x)
        return self._run("Stream.step", x, out, ())

    def _step_token(self, token: int) -> Floats:
        """Step a model of one input, of tokens, and one output: through memory whose addresses are known."""
        if not 0 <= token < self._context.plan.inputs[0].size:
            return self._run("Stream.step", token, None, ())  # which says what is wrong
        return self._context.exclusively(self._answer_token, token)

    def _answer_token(self, token: int) -> Floats:
        self._token_slot[0] = token
        self._context.bind(self._token_addresses, 1)
        self._context.expect_sound(self._context.call(), (self._token,))
        return self._answer.copy()

    @property
    def input(self) -> Floats:
        """The stream's own input, as `step` takes it, float32: `advance` reads the next timestep there."""
        return self._input

    @property
    def output(self) -> Floats:
        """The stream's own output, as `step` gives it, float32: `advance` writes the answer into it."""
        return self._output

    def advance(self) -> None:
        """Advance by one timestep, from `input` to `output`: the quickest call, for who counts every nanosecond.

        Keep both arrays in variables, write to the one, call, and read the other. For models with one input, of
        features, and one output.

        Raises
        ------
        InputValueError
            As in `step`.
        InputTypeError
            If the model has another number of inputs or outputs, or reads tokens.
        """
        status = self._advance(self._array, self._input, self._output, BY_ADDRESS)
        if status == codes.OK:
            return
        if not self._context.plan.is_plain:
            raise InputTypeError("Stream.advance: expected a model of one input, of features, and one output: use step")
        self._run("Stream.advance", self._input, self._output, ())

    def run(self, xs: Inputs, out: Floats | None = None) -> Outputs:
        """Advance by a block of timesteps: the same bits as so many calls of `step`, in less time.

        Parameters
        ----------
        xs
            The inputs ``(n_steps, input_size)``, or for a model of tokens ``(n_steps,)``; dtypes, grids and mappings
            as in `step`. There may be no timestep at all.
        out
            Where to write the answers: float32 ``(n_steps, output_size)``, C-contiguous, not overlapping ``xs``.

        Returns
        -------
        The answers ``(n_steps, output_size)``, float32: ``out``, or a new array that is the caller's own.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            As in `step`. All timesteps are checked before the first is run.
        """
        return self._run("Stream.run", xs, out, ("n_steps",))

    def _run(self, where: str, xs: Inputs, out: Floats | None, lead: tuple[str, ...]) -> Outputs:
        plan = self._context.plan
        held: Held = []
        inputs, sizes = convert_inputs(where, plan, self._frames, xs, lead, held)
        outputs = make_outputs(where, self._frames, out, sizes, inputs, held)
        self._context.run(inputs, outputs, sizes[0] if lead else 1)
        return present(plan, outputs) if out is None else out

    def reset(self) -> None:
        """Go back to the model's initial state, before the first timestep."""
        self._context.exclusively(self._states.reset, 0)

    @property
    def state(self) -> dict[str, Floats]:
        """The state of each layer that has one, by layer name: copies, float32.

        A GRU's is ``(hidden_size,)``, or ``(positions, hidden_size)`` on a grid; a Conv1d's is ``((kernel_size - 1) *
        dilation, input_size)``, oldest timestep first. Assigning a mapping replaces the states that it names.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If what is assigned does not fit, or is infinite or NaN though the layer keeps its state in bounds, and the
            stream does not propagate that. No state has changed then.
        """
        return self._context.exclusively(self._states.read_all, 0)

    @state.setter
    def state(self, states: Mapping[str, ArrayLike]) -> None:
        checked = check_states("Stream.state", self._network, states, self._nonfinite)
        self._context.exclusively(self._states.write_all, 0, None, checked)

    def snapshot(self) -> bytes:
        """Return the stream's state as bytes, to be restored later, in another process or on another machine."""
        return snapshot.pack(self._network.fingerprint, *self._context.exclusively(self._states.read_whole, 0))

    def restore(self, saved: bytes) -> None:
        """Go to the state that a `snapshot` holds, of this stream or of another one of the same model.

        That is any state that a stream can reach, infinite or NaN where sums went beyond float32.

        Raises
        ------
        SnapshotError
            If it is damaged, of a newer version, of another model, or of a stream that took inputs which this one
            refuses, and still has them. The state is then what it was before.
        """
        steps, states = snapshot.unpack(saved, self._network, self._nonfinite)
        self._context.exclusively(self._states.write_all, 0, steps, states)

    def fork(self) -> Stream:
        """Return a new stream in the same state, which goes its own way from here."""
        twin = Stream(self._network, nonfinite=self._nonfinite)
        self._context.exclusively(twin._states.copy_from, self._states)
        return twin

    def __copy__(self) -> Stream:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be pickled: send the model's file and Stream.snapshot() instead")
