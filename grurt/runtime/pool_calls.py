"""Calls of a pool: some of its streams, with inputs and outputs, through the kernels, on one thread or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.errors import InputShapeError, InputValueError, StreamIdError
from grurt.escaping import described
from grurt.kernels import codes, fields
from grurt.network.frames import frames_of
from grurt.runtime import arrays
from grurt.runtime.binding import Inputs, Outputs, convert_inputs, make_outputs, present
from grurt.runtime.pool_faults import Fault, faulty_rows, full_rows
from grurt.runtime.pool_ids import Ids, Taken, taken
from grurt.runtime.ragged import even_blocks
from grurt.runtime.team import Team, Work

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array, Floats
    from grurt.network.network import Network
    from grurt.runtime.context import Context
    from grurt.runtime.pool_slots import Slots

_ID_FAULTS = {codes.NO_SUCH_STREAM: "there is no such stream", codes.STREAM_TWICE: "the stream is named twice"}
_ROW_FAULTS = (codes.NONFINITE, codes.TOKEN_OUT_OF_RANGE, codes.MEMORY_FULL)


def has_its_numbers(array: Array) -> bool:
    """Return whether memory holds an array's numbers, as many as its shape says: so there may be answers to them."""
    return array.size > 0 and array.flags.c_contiguous


class Calls:
    """Runs the streams of a pool.

    Parameters
    ----------
    network
        What they run.
    slots
        Which there are.
    front, members
        The context of every call, and one for each further thread.
    """

    def __init__(self, network: Network, slots: Slots, front: Context, members: Sequence[Context]) -> None:
        self._frames = frames = frames_of(network)
        self._frame_axes = len(next(iter(frames.inputs.values())).shape)
        self._slots = slots
        self._front = front
        self._team = Team(front, members) if members else None
        self._enters_claimed = slots.are_named or self._team is not None
        front.array[codes.CONTEXT_ENTERED_CLAIMED] = self._enters_claimed
        self.faults: list[Fault] = []
        """The rows that the last call has left out, of those that may."""

    def settle(self) -> None:
        """Run what is left of a call that an exception has ended early."""
        if self._team is not None:
            self._team.settle()

    @property
    def contexts(self) -> Sequence[Context]:
        """The contexts of the threads, that of the caller first."""
        return self._slots.contexts

    def share(self, works: Sequence[Work]) -> None:
        """Do pieces of work side by side, each with the context of its place: see `Team.share`."""
        if self._team is None:
            for work in works:
                work(lambda: False)
        else:
            self._team.share(works)

    @property
    def advance(self) -> Callable[[NDArray[np.int64], Any, Any, Any], int]:
        """As `Context.advance` with the caller's own inputs, outputs and ids: it runs if the kernels can take them."""
        return self._claim_and_advance if self._enters_claimed else self._front.advance

    def advance_by_name(self, ids: Any, xs: dict[str, Any], out: Floats | None, n_lead: int) -> Outputs | None:
        """Run inputs of a dict, behind so many axes, if the kernels can take them; return the answers, or None."""
        inputs = tuple([xs.get(name) for name in self._frames.inputs])
        first = inputs[0]
        if len(xs) != len(inputs) or type(first) is not np.ndarray or first.ndim != n_lead + self._frame_axes:
            return None
        if len(first) != len(ids) or not has_its_numbers(first):
            return None
        lead = first.shape[:n_lead]
        shapes = [(*lead, *frame.shape) for frame in self._frames.outputs.values()]
        outputs = [np.empty(shape, np.float32) for shape in shapes] if out is None else [out]
        if self.advance(self._front.array, inputs, tuple(outputs), ids) != codes.OK:
            return None
        return present(self._front.plan, outputs) if out is None else out

    def _claim_and_advance(self, array: NDArray[np.int64], xs: Any, y: Any, ids: Ids) -> int:
        return self._front.exclusively(self._advance_claimed, array, xs, y, ids)

    def _advance_claimed(self, array: NDArray[np.int64], xs: Any, y: Any, ids: Ids) -> int:
        slots = self._slots
        streams = slots.looked_up(tuple(ids)) if slots.are_named else ids
        if streams is None:
            return codes.NOT_PLAIN
        if self._team is None:
            return self._front.advance(array, xs, y, streams)
        return self._team.lead(self._front.advance, array, xs, y, streams, memory=slots.own_streams)

    def run_converted(
        self, where: str, ids: Ids, xs: Inputs, out: Floats | None, lead: tuple[str, ...], reports: bool
    ) -> Outputs:
        """Run whatever can be converted; raise for anything else, or report it where that is wanted: see `StreamPool`.

        ``lead`` are the axes of inputs between the streams and the features.
        """
        front = self._front
        given = taken(where, ids, are_names=self._slots.are_named)
        held: arrays.Held = []
        inputs, sizes = convert_inputs(where, front.plan, self._frames, xs, (len(given), *lead), held)
        outputs = make_outputs(where, self._frames, out, sizes, inputs, held)
        n_steps = sizes[1] if lead else 1
        front.exclusively(self._run, where, given, inputs, outputs, n_steps, held, reports)
        return present(front.plan, outputs) if out is None else out

    def _run(
        self,
        where: str,
        ids: Taken,
        inputs: Sequence[Array],
        outputs: Sequence[Floats],
        n_steps: int,
        held: arrays.Held,
        reports: bool,
    ) -> None:
        streams = self._slots.numbers(where, ids)
        status = self._enter(streams, inputs, outputs, n_steps, held)
        faults: list[Fault] = []
        if reports and status in _ROW_FAULTS:
            status, faults = self._run_sound(streams, inputs, outputs, n_steps, held)
        self._expect_sound(where, status, ids, inputs)
        if reports:
            self.faults = faults

    def run_ragged(self, where: str, ids: Ids, xs: Inputs, lengths: ArrayLike) -> Outputs:
        """Run blocks of different lengths, whose rows lie one stream after the other: see `StreamPool.run_ragged`."""
        given = taken(where, ids, are_names=self._slots.are_named)
        counts = _lengths(where, lengths, len(given))
        n_rows = int(counts.sum())
        held: arrays.Held = []
        inputs, sizes = convert_inputs(where, self._front.plan, self._frames, xs, ("n_rows",), held)
        if sizes != (n_rows,):
            raise InputShapeError(
                f"{where}: expected as many rows as the lengths are together, {n_rows}, got {sizes[0]}"
            )
        outputs = make_outputs(where, self._frames, None, sizes, inputs, held)
        self._front.exclusively(self._run_ragged, where, given, counts, inputs, outputs, held)
        return present(self._front.plan, outputs)

    def _run_ragged(
        self,
        where: str,
        ids: Taken,
        lengths: NDArray[np.int64],
        inputs: Sequence[Array],
        outputs: Sequence[Floats],
        held: arrays.Held,
    ) -> None:
        streams = self._slots.targets(where, ids)
        if not lengths.any():
            return
        inputs = [array.copy() for array in inputs]  # what is checked is what is run, whoever writes to it meanwhile
        refuse_nonfinite = bool(self._front.slots[codes.CONTEXT_REFUSE_NONFINITE])
        if faults := faulty_rows(self._front.plan, inputs, refuse_nonfinite=refuse_nonfinite):
            raise InputValueError(faults[0][1])
        if full := full_rows(self._slots.states, streams, lengths):
            raise InputValueError(full[0][1])
        for members, rows in even_blocks(lengths):
            blocks = [array[rows] for array in inputs]
            answers = [np.empty((*rows.shape, *output.shape[1:]), np.float32) for output in outputs]
            self._front.expect_sound(self._enter(streams[members], blocks, answers, rows.shape[1], held), blocks)
            for output, answer in zip(outputs, answers, strict=True):
                output[rows] = answer

    def _run_sound(
        self,
        streams: NDArray[np.int64],
        inputs: Sequence[Array],
        outputs: Sequence[Floats],
        n_steps: int,
        held: arrays.Held,
    ) -> tuple[int, list[Fault]]:
        """Run the rows that can be computed with, give NaN for the others; return a status, and the others."""
        front = self._front
        inputs = [array.copy() for array in inputs]
        faults = faulty_rows(front.plan, inputs, refuse_nonfinite=bool(front.slots[codes.CONTEXT_REFUSE_NONFINITE]))
        faults = sorted({**dict(full_rows(self._slots.states, streams, n_steps)), **dict(faults)}.items())
        sound = np.ones(len(streams), bool)
        sound[[row for row, _ in faults]] = False
        answers = [np.empty((len(streams) - len(faults), *output.shape[1:]), np.float32) for output in outputs]
        status = self._enter(streams[sound], [array[sound] for array in inputs], answers, n_steps, held)
        if status == codes.OK:
            for output, answer in zip(outputs, answers, strict=True):
                output[~sound] = np.nan
                output[sound] = answer
        return status, faults

    def _enter(
        self,
        streams: NDArray[np.int64],
        inputs: Sequence[Array],
        outputs: Sequence[Floats],
        n_steps: int,
        held: arrays.Held,
    ) -> int:
        """Enter the kernels, and return their status."""
        front = self._front
        self.settle()
        front.bind(map(fields.data_address, (*inputs, *outputs)), n_steps)
        front.bind_streams(fields.data_address(streams), len(streams))
        if self._team is None:
            return front.call()
        return self._team.lead(front.call, memory=(inputs, outputs, streams, self._slots.own_streams, held))

    def _expect_sound(self, where: str, status: int, ids: Taken, inputs: Sequence[Array]) -> None:
        if fault := _ID_FAULTS.get(status):
            index = self._front.slots[codes.CONTEXT_FAULT_INDEX]
            found = ids[index] if isinstance(ids, tuple) else int(ids[index])
            raise StreamIdError(f"{where}: ids[{index}] is {described(found)}: {fault}")
        self._front.expect_sound(status, inputs)


def _lengths(where: str, lengths: ArrayLike, n_streams: int) -> NDArray[np.int64]:
    """Return how many rows each stream has, checked."""
    counts = arrays.integers(where, lengths, "lengths of an integer dtype")
    if counts.shape != (n_streams,):
        raise InputShapeError(f"{where}: expected a length for each of {n_streams} streams, got shape {counts.shape}")
    if len(counts) and (counts.min() < 0 or counts.max() > arrays.MAX_TIMESTEPS):
        raise InputValueError(f"{where}: expected lengths from 0 to 2**40, got {counts.min()} to {counts.max()}")
    return counts
