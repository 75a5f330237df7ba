"""A stream: one sequence, answered timestep by timestep, with the state kept inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grurt import arrays, snapshot
from grurt.context import Context
from grurt.errors import InputShapeError, InputTypeError, InputValueError, StreamingError
from grurt.kernels import codes

if TYPE_CHECKING:
    from grurt.model import Model, Nonfinite
    from grurt.plan import PlanPort

Floats = NDArray[np.float32]
Inputs = ArrayLike | Mapping[str, ArrayLike]
Outputs = Floats | dict[str, Floats]

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty


class Stream:
    """One sequence in progress: made by `Model.stream`, at the model's initial state.

    A stream belongs to one thread at a time. Any number of streams may run the same model in as many threads: while a
    kernel runs, the GIL is released.

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

    def __init__(self, model: Model, *, nonfinite: Nonfinite = "refuse") -> None:
        if reason := model.unstreamable_reason:
            raise StreamingError(f"the model cannot stream: {reason}; use Model.run on whole sequences")
        if nonfinite not in ("refuse", "propagate"):
            raise InputValueError(f'nonfinite: expected "refuse" or "propagate", got {nonfinite!r}')
        plan = model.plan
        self._model = model
        self._nonfinite: Nonfinite = nonfinite
        self._context = Context(plan, whole_sequence=False, refuse_nonfinite=nonfinite == "refuse")
        self._advance = self._context.advance
        self._array = self._context.array
        self._output_size = plan.outputs[0].size

    @property
    def model(self) -> Model:
        """The model that the stream runs."""
        return self._model

    @property
    def steps(self) -> int:
        """Timesteps since the last reset."""
        return self._context.steps_done

    def __repr__(self) -> str:
        return f"<grurt.Stream of {self._model!r} after {self.steps} timesteps>"

    def step(self, x: Inputs, out: Floats | None = None) -> Outputs:
        """Advance by one timestep.

        Parameters
        ----------
        x
            The input ``(input_size,)``. float32 and C-contiguous is quickest; other real dtypes and layouts are
            converted to that in a copy. For a model of tokens, one token id. For several inputs, a mapping by their
            names.
        out
            Where to write the answer: float32 ``(output_size,)``, C-contiguous. Only for models of one output.

        Returns
        -------
        The answer ``(output_size,)``, float32: ``out``, or a new array that is the caller's own. Where the model reads
        only the last timestep of a sequence, it is the answer so far. With several outputs, a dict of them by name.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If the input does not fit, or holds a NaN, an infinity or a token that does not exist. The state of the
            stream is then what it was before.
        """
        y = _empty(self._output_size, _FLOAT32) if out is None else out
        status = self._advance(self._array, x, y)
        if status == codes.OK:
            return y
        if status != codes.NOT_PLAIN:
            self._context.raise_fault(status, np.asarray(x))
        return self._run("Stream.step", x, out, None)

    def run(self, xs: Inputs, out: Floats | None = None) -> Outputs:
        """Advance by a block of timesteps: the same bits as so many calls of `step`, in less time.

        Parameters
        ----------
        xs
            The inputs ``(n_steps, input_size)``, or for a model of tokens ``(n_steps,)``; dtypes and mappings as in
            `step`. There may be no timestep at all.
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
        return self._run("Stream.run", xs, out, "n_steps")

    def _run(self, where: str, xs: Inputs, out: Floats | None, steps_axis: str | None) -> Outputs:
        """Run from inputs of any kind; without a ``steps_axis`` they are those of one timestep."""
        plan = self._context.plan
        leading = () if steps_axis is None else (steps_axis,)
        inputs = [self._convert(where, port, x, leading) for port, x in self._pair_inputs(where, xs)]
        n_steps = inputs[0].shape[0] if steps_axis else 1
        for port, array in zip(plan.inputs, inputs, strict=True):
            if steps_axis and array.shape[0] != n_steps:
                raise InputShapeError(
                    f"{where}: expected {n_steps} timesteps of every input, got {array.shape[0]} of {port.name!r}"
                )
        lead = (n_steps,) if steps_axis else ()
        if out is None:
            outputs = [np.empty((*lead, port.size), np.float32) for port in plan.outputs]
        elif len(plan.outputs) == 1:
            outputs = [arrays.expect_output(where, out, (*lead, plan.outputs[0].size))]
            if steps_axis and any(np.may_share_memory(out, array) for array in inputs):
                raise InputValueError(f"{where}: expected out not to overlap the input")
        else:
            raise InputTypeError(f"{where}: out is for models of one output; this one has {len(plan.outputs)}")
        self._context.reserve_block(n_steps)
        self._context.run(inputs, outputs, n_steps)
        if len(outputs) == 1:
            return outputs[0]
        return {port.name: output for port, output in zip(plan.outputs, outputs, strict=True)}

    def _pair_inputs(self, where: str, xs: Inputs) -> list[tuple[PlanPort, ArrayLike]]:
        ports = self._context.plan.inputs
        names = [port.name for port in ports]
        if not isinstance(xs, Mapping):
            if len(ports) > 1:
                raise InputTypeError(f"{where}: expected a mapping with the inputs {names}, got {type(xs).__name__}")
            return [(ports[0], xs)]
        if xs.keys() != set(names):
            raise InputShapeError(f"{where}: expected the inputs {names}, got {list(xs)}")
        return [(port, xs[port.name]) for port in ports]

    @staticmethod
    def _convert(where: str, port: PlanPort, x: ArrayLike, leading: tuple[str, ...]) -> NDArray[Any]:
        convert = arrays.tokens if port.tokens else arrays.features
        array = convert(where, x)
        expected: tuple[int | str, ...] = leading if port.tokens else (*leading, port.size)
        kind = "a token id" if port.tokens else "an input"
        arrays.expect_shape(f"{where}: {kind} {port.name!r}", array, expected)
        return array

    def reset(self) -> None:
        """Go back to the model's initial state, before the first timestep."""
        self._context.reset()

    @property
    def state(self) -> dict[str, Floats]:
        """The state of each layer that has one, by layer name: copies, float32.

        A GRU's is ``(hidden_size,)``, a Conv1d's ``((kernel_size - 1) * dilation, input_size)``, oldest timestep first.
        Assigning a mapping replaces the states that it names.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If what is assigned does not fit. No state has changed then.
        """
        return {name: self._context.read_state(name) for name in self._context.plan.states}

    @state.setter
    def state(self, states: Mapping[str, ArrayLike]) -> None:
        for name, value in self._check_states(states).items():
            self._context.write_state(name, value)

    def _check_states(self, states: Mapping[str, ArrayLike]) -> dict[str, Floats]:
        if not isinstance(states, Mapping):
            raise InputTypeError(f"Stream.state: expected a mapping by layer name, got {type(states).__name__}")
        checked = {}
        for name, value in states.items():
            where = f"Stream.state: {name!r}"
            if name not in self._model.state_shapes:
                raise InputShapeError(f"{where}: expected one of the states {list(self._model.state_shapes)}")
            checked[name] = arrays.features(where, value)
            arrays.expect_shape(where, checked[name], self._model.state_shapes[name])
            if self._nonfinite == "refuse" and not np.isfinite(checked[name]).all():
                raise InputValueError(f"{where}: expected finite numbers, got a NaN or an infinity")
        return checked

    def snapshot(self) -> bytes:
        """Return the stream's state as bytes, to be restored later, in another process or on another machine."""
        return snapshot.pack(self._model.fingerprint, self.steps, self.state)

    def restore(self, saved: bytes) -> None:
        """Go to the state that a `snapshot` holds, of this stream or of another one of the same model.

        Raises
        ------
        SnapshotError
            If it is damaged, of a newer version, or of another model. The state is then what it was before.
        """
        steps, states = snapshot.unpack(saved, self._model.fingerprint, self._model.state_shapes)
        self._context.steps_done = steps
        for name, state in states.items():
            self._context.write_state(name, state)

    def fork(self) -> Stream:
        """Return a new stream in the same state, which goes its own way from here."""
        twin = Stream(self._model, nonfinite=self._nonfinite)
        twin._context.state[:] = self._context.state
        twin._context.steps_done = self.steps
        return twin

    def __copy__(self) -> Stream:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be pickled: send the model's file and Stream.snapshot() instead")
