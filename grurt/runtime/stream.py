"""A stream: one sequence, answered timestep by timestep, with the state kept inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard, TypeVar, overload

import numpy as np

from grurt.errors import InputShapeError, InputTypeError
from grurt.escaping import described, listed
from grurt.kernels import codes
from grurt.kernels.fields import BY_ADDRESS
from grurt.network.frames import frames_of
from grurt.runtime import arrays, incoming
from grurt.runtime.binding import Inputs, Outputs, convert_inputs, make_outputs, present
from grurt.runtime.decoding.methods import DecodingStream
from grurt.runtime.stream_state import StreamState

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array, Floats
    from grurt.network.frames import Form
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.stream_context import ContextLike

T = TypeVar("T")

_FLOAT32 = np.dtype(np.float32)
_BLOCKS = {np.ndarray, list, tuple}
_empty = np.empty


class Stream(StreamState, DecodingStream):
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

    def __new__(
        cls, network: Network, *, nonfinite: Nonfinite = "refuse", context: ContextLike | None = None
    ) -> Stream:
        """Return a stream of the class whose `step` is the quickest for the network's inputs and outputs."""
        is_single = len(network.inputs) == len(network.outputs) == 1
        return object.__new__(cls if is_single else _StreamOfSeveral)

    def __init__(
        self, network: Network, *, nonfinite: Nonfinite = "refuse", context: ContextLike | None = None
    ) -> None:
        super().__init__(network, nonfinite, context)
        self._advance = self._context.advance
        self._array = self._context.array
        self._frames = frames = frames_of(network)
        shape = self._output_shape = next(iter(frames.outputs.values())).shape
        self._empty_shape = shape[0] if len(shape) == 1 else shape  # of which NumPy makes an array sooner
        self._own_inputs: Array | tuple[Array, ...] | None = None
        self._own_outputs: Floats | tuple[Floats, ...] | None = None

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

    if TYPE_CHECKING:

        @overload
        def step(self, x: Inputs, out: Floats | None = None) -> Outputs: ...

        @overload
        def step(self, *xs: ArrayLike, out: Floats | None = None, **named: ArrayLike) -> Outputs: ...

    def step(self, x: Inputs, out: Floats | None = None) -> Outputs:  # type: ignore[misc]
        """Advance by one timestep.

        Parameters
        ----------
        x
            The input ``(input_size,)``: an array of real numbers of any layout, a list or tuple of numbers, a
            `memoryview` or `array.array`. What is not float32 is rounded to that. `bytes`, and a `bytearray` or
            `memoryview` of bytes that is four times as long as the input, hold float32, little-endian.
            Where the source has a grid at each timestep, such as ``(channels, width)``, or a tensor of more axes,
            the input is that, in the source's order, also if it is flat. The source's own shape of one timestep, with
            its axes of size 1, will do too. For a model of tokens, one token id. Several inputs are given in the
            model's order, by keyword, or as a mapping by their names. It is read once, when the call begins, and not
            resized before its end.
        out
            Where to write the answer: float32 ``(output_size,)``, C-contiguous. Only for models of one output. Where
            there are several inputs, a keyword.

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
        y = _empty(self._empty_shape, _FLOAT32) if out is None else out
        status = self._advance(self._array, x, y, BY_ADDRESS)
        if status == codes.OK:
            return y
        if status == codes.NOT_PLAIN:
            if type(x) is dict:
                plain = x.get(self._context.plan.inputs[0].name) if len(x) == 1 else None
            else:
                plain = incoming.plain(x, self._frames.steps[0])
            if plain is not None and self._advance(self._array, plain, y, BY_ADDRESS) == codes.OK:
                return y
        return self._run("Stream.step", x, out, ())

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The stream's own inputs by name, for `advance`: write the next timestep into them.

        Arrays of the shapes that `step` takes, float32; of a token int64 ``()``.
        """
        if self._own_inputs is None:
            found = [
                np.zeros(self._frames.inputs[port.name].shape, np.int64 if port.tokens else np.float32)
                for port in self._context.plan.inputs
            ]
            self._own_inputs = found[0] if len(found) == 1 else tuple(found)
        return MappingProxyType(dict(zip(self._frames.inputs, _listed(self._own_inputs), strict=True)))

    @property
    def outputs(self) -> Mapping[str, Floats]:
        """The stream's own outputs by name: `advance` writes the answers into them. Of the shapes that `step` gives."""
        if self._own_outputs is None:
            found = [np.zeros(frame.shape, np.float32) for frame in self._frames.outputs.values()]
            self._own_outputs = found[0] if len(found) == 1 else tuple(found)
        return MappingProxyType(dict(zip(self._frames.outputs, _listed(self._own_outputs), strict=True)))

    @property
    def input(self) -> Array:
        """The only one of `inputs`. Raises InputTypeError if there are several."""
        return _only("input", self.inputs)

    @property
    def output(self) -> Floats:
        """The only one of `outputs`. Raises InputTypeError if there are several."""
        return _only("output", self.outputs)

    def advance(self) -> None:
        """Advance by one timestep, from `inputs` to `outputs`: the quickest call, for who counts every nanosecond.

        Keep the arrays in variables, write to the ones, call, and read the others.

        Raises
        ------
        InputValueError
            As in `step`.
        """
        status = self._advance(self._array, self._own_inputs, self._own_outputs, BY_ADDRESS)
        if status != codes.OK:
            self._advance_slowly()

    def _advance_slowly(self) -> None:
        """Advance where the quickest way does not: for the first time, or with an input that is refused."""
        inputs, outputs = self.inputs, self.outputs
        answers = self._run("Stream.advance", inputs, None, ())
        for output, answer in zip(outputs.values(), _listed(answers), strict=True):
            output[...] = answer

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
        if out is not None:
            if self._advance(self._array, xs, out, None) == codes.OK:
                return out
        elif self._has_room_for(xs):
            ys = _empty((len(xs), *self._output_shape), _FLOAT32)
            if self._advance(self._array, xs, ys, None) == codes.OK:
                return ys
        plain = incoming.plain(xs, self._frames.blocks[0])
        if plain is not None and plain is not xs and (out is not None or self._has_room_for(plain)):
            ys = _empty((len(plain), *self._output_shape), _FLOAT32) if out is None else out
            if self._advance(self._array, plain, ys, None) == codes.OK:
                return ys
        return self._run("Stream.run", xs, out, ("n_steps",))

    def _has_room_for(self, xs: Any) -> TypeGuard[Array]:
        """Whether the kernels may be offered a block as it is."""
        if type(xs) not in _BLOCKS or (type(xs) is np.ndarray and not xs.ndim):
            return False
        return len(xs) <= self._context.slots[codes.CONTEXT_CAPACITY]

    def _run(self, where: str, xs: Inputs, out: Floats | None, lead: tuple[str, ...]) -> Outputs:
        plan = self._context.plan
        if type(xs) is str and self._network.vocabularies:
            xs = _encoded(self._network, where, xs, is_block=bool(lead))
        held: arrays.Held = []
        inputs, sizes = convert_inputs(where, plan, self._frames, xs, lead, held)
        outputs = make_outputs(where, self._frames, out, sizes, inputs, held)
        self._context.run(inputs, outputs, sizes[0] if lead else 1)
        return present(plan, outputs) if out is None else out

    def fork(self) -> Stream:
        """Return a new stream in the same state, which goes its own way from here; a context is shared."""
        twin = Stream(self._network, nonfinite=self._nonfinite, context=self.context)
        self._context.exclusively(twin._take_on, self)
        return twin

    def __copy__(self) -> Stream:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be pickled: send the model's file and Stream.snapshot() instead")


class _StreamOfSeveral(Stream):
    """A stream of a model with several inputs or outputs."""

    def __init__(
        self, network: Network, *, nonfinite: Nonfinite = "refuse", context: ContextLike | None = None
    ) -> None:
        super().__init__(network, nonfinite=nonfinite, context=context)
        self._input_names = tuple(self._frames.inputs)
        self._output_names = tuple(self._frames.outputs)
        self._n_inputs = len(self._input_names)
        self._has_one_output = len(self._output_names) == 1
        self._output_shapes = [frame.shape for frame in self._frames.outputs.values()]

    def step(self, *xs: Inputs, out: Floats | None = None, **named: ArrayLike) -> Outputs:  # type: ignore[override]
        given: tuple[Any, ...] = xs
        if named or len(xs) != self._n_inputs or type(xs[0]) is dict:
            given = self._in_order(xs, named)
        ys: Any = out
        if out is None:
            if self._has_one_output:
                ys = out = _empty(self._empty_shape, _FLOAT32)
            else:
                ys = tuple([_empty(shape, _FLOAT32) for shape in self._output_shapes])
        status = self._advance(self._array, given if self._n_inputs > 1 else given[0], ys, BY_ADDRESS)
        if status == codes.NOT_PLAIN:
            status = self._advance(self._array, _one_or_all(_plain(given, self._frames.steps)), ys, BY_ADDRESS)
        if status == codes.OK:
            return dict(zip(self._output_names, ys)) if out is None else out  # noqa: B905 - as many
        return self._run("Stream.step", dict(zip(self._input_names, given, strict=True)), out, ())

    step.__doc__ = Stream.step.__doc__

    def run(self, xs: Inputs, out: Floats | None = None) -> Outputs:
        given: tuple[Any, ...] = (xs,) if len(self._input_names) == 1 else ()
        if type(xs) is dict and len(xs) == len(self._input_names):
            given = tuple([xs.get(name) for name in self._input_names])
        if given and out is None:
            ys = self._answered(given)
            if ys is None:
                ys = self._answered(_plain(given, self._frames.blocks))
            if ys is not None:
                return ys
        return self._run("Stream.run", xs, out, ("n_steps",))

    run.__doc__ = Stream.run.__doc__

    def _answered(self, given: tuple[Any, ...]) -> Outputs | None:
        """Return the answers to a block; None if the kernels do not take it as it is."""
        if not self._has_room_for(given[0]):
            return None
        n_steps = len(given[0])
        ys = tuple([_empty((n_steps, *shape), _FLOAT32) for shape in self._output_shapes])
        if self._advance(self._array, _one_or_all(given), ys, None) != codes.OK:
            return None
        return dict(zip(self._output_names, ys)) if len(ys) > 1 else ys[0]  # noqa: B905 - as many

    def _in_order(self, xs: tuple[Any, ...], named: dict[str, ArrayLike]) -> tuple[Any, ...]:
        """Return the inputs in the model's order, which are given by keyword, or in a mapping."""
        names = self._input_names
        if len(xs) == 1 and not named and isinstance(xs[0], Mapping):
            named = xs[0] if type(xs[0]) is dict else dict(xs[0])
        elif xs:
            raise InputTypeError(
                f"Stream.step: expected the inputs {[*names]}, in that order, by keyword, or in one mapping, got "
                f"{len(xs)} by position" + (f" and [{listed(named)}] by keyword" if named else "")
            )
        if len(named) == len(names):
            try:
                return tuple([named[name] for name in names])
            except KeyError:
                pass
        raise InputShapeError(f"Stream.step: expected the inputs {[*names]}, got [{', '.join(map(described, named))}]")


def _encoded(network: Network, where: str, text: str, *, is_block: bool) -> Array:
    """Return a text as the tokens of the model's only input: one of them for a step."""
    tokens = network.vocabulary.encode_part(text)
    if is_block:
        return tokens
    if len(tokens) != 1:
        raise InputShapeError(f"{where}: expected a text of one token, got {len(tokens)}: run takes several")
    return tokens.reshape(())


def _plain(given: tuple[Any, ...], forms: Sequence[Form]) -> tuple[Any, ...]:
    """Return inputs as the kernels take them, as far as that is quick."""
    found = [incoming.plain(x, form) for x, form in zip(given, forms)]  # noqa: B905 - as many
    return tuple([x if other is None else other for x, other in zip(given, found)])  # noqa: B905 - as many


def _one_or_all(given: tuple[Any, ...]) -> Any:
    return given if len(given) > 1 else given[0]


def _listed(found: Any) -> list[Any]:
    """Return arrays as a list: one, a tuple, or a mapping by name."""
    if isinstance(found, Mapping):
        return list(found.values())
    return list(found) if isinstance(found, tuple) else [found]


def _only(what: str, found: Mapping[str, T]) -> T:
    if len(found) > 1:
        raise InputTypeError(f"Stream.{what}: expected a model of one {what}, got one of {[*found]}: use {what}s")
    return next(iter(found.values()))
