"""Replays what the source framework answered to a test input, and compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import ModelError
from grurt.network.axes import batch_first
from grurt.network.frames import frames_of
from grurt.network.reference_run import declared_precision, run_size
from grurt.network.signature import StatePort
from grurt.runtime.conditioning import UNITS, movement
from grurt.runtime.replayed import sequences
from grurt.runtime.sequences import run_mapping
from grurt.runtime.stream import Stream

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.network.reference_run import ReferenceRun


TOLERANCE = 1e-4
"""Always allowed. Two float32 implementations of one network differ in the order of their sums and in their tanh: near
1e-6 after some hundred timesteps. A wrong gate order, epsilon or activation shows at 1e-3."""

MOVES = 4
"""How many times as far as `movement` by one unit of the source's precision its answers may be from the model's: so
many roundings, at each timestep, add up in another order."""


@dataclass(frozen=True)
class Verification:
    """How far a model's answers are from those of its source."""

    produced_by: str
    """The framework that gave the expected answers, and its version."""
    errors: Mapping[str, float]
    """For each compared output port, the largest absolute difference, divided by the largest expected magnitude where
    that is above one."""
    tolerance: float
    """What each error may be."""
    streamed: bool
    """Whether the inputs were also streamed, one timestep at a time."""
    same_bits: bool
    """Whether the stream, if there was one, gave the same bits as the whole sequence."""

    @property
    def max_error(self) -> float:
        """The largest of the errors; NaN if an answer is not a number."""
        return float(np.max(list(self.errors.values())))

    @property
    def ok(self) -> bool:
        """Whether every error is within the tolerance, and the stream gave the same bits."""
        return self.max_error <= self.tolerance and self.same_bits


def verify(network: Network) -> Verification:
    """Replay the reference run that the model carries.

    Raises
    ------
    ModelError
        If the model has no reference run, or one that costs more than the model's limits allow.
    """
    if network.reference_run is None:
        raise ModelError(
            "expected a model with a reference run, got one without: convert it again where its source framework is "
            "installed, or compare it with its source by `grurt verify --against SRC`"
        )
    return replay(network, network.reference_run)


def replay(network: Network, run: ReferenceRun) -> Verification:
    """Run the model on the inputs of a reference run, in one piece and as a stream, and compare the answers.

    Raises
    ------
    InputShapeError, InputTypeError, InputValueError
        If the run's inputs do not fit the model.
    ModelError
        If it costs more than the model's limits allow.
    """
    network.limits.check_run(network.costs, *run_size(run, network.signature, network.values))
    found = run_mapping(network, run.inputs, lengths=None, nonfinite="refuse")
    streams = network.unstreamable_reason is None and _are_short_enough(network, run)
    errors = {name: error_of(found[name], expected) for name, expected in run.outputs.items()}
    unit = UNITS[run.precision or declared_precision(network.signature)]
    tolerance = _tolerance(network, unit, unit)
    if max(errors.values()) > tolerance:
        tolerance = _tolerance(network, unit, movement(network, run, unit))
    return Verification(
        produced_by=run.produced_by,
        errors=MappingProxyType(errors),
        tolerance=tolerance,
        streamed=streams,
        same_bits=not streams or _streams_alike(network, run, found),
    )


def _tolerance(network: Network, unit: float, moved: float) -> float:
    """Return the allowed error of answers that move so far, and are then rounded to what the source gives them in."""
    rounded = UNITS[declared_precision(network.signature)]
    return max(TOLERANCE, MOVES * moved) + (rounded if rounded > unit else 0)


def error_of(found: Array, expected: Array) -> float:
    """Return how far answers are apart, in proportion to the largest above 1; NaN if one is not a number."""
    if found.shape != expected.shape:
        raise ModelError(f"reference run: expected answers of shape {expected.shape}, got {found.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(found.astype(np.float64) - expected)
        return float(np.max(difference) / max(1.0, np.max(np.abs(expected))))


def _are_short_enough(network: Network, run: ReferenceRun) -> bool:
    """Return whether streams may have as many timesteps as the sequences of a run."""
    most = network.most_steps
    if most is None:
        return True
    _, replayed = sequences(network, run.inputs)
    return all(len(array) <= most for each in replayed for array in each.inputs.values())


def _streams_alike(network: Network, run: ReferenceRun, found: Mapping[str, Array]) -> bool:
    """Return whether streams, one for each sequence of the batch, give the bits that were found for the whole."""
    batch, replayed = sequences(network, run.inputs)
    answers = {port.name: batch_first(port, found[port.name], batch=batch) for port in network.signature.outputs}
    return all(
        _stream_alike(network, each.inputs, each.states, answers, each.row) for each in replayed if each.is_whole
    )


def _stream_alike(
    network: Network, inputs: Mapping[str, Array], states: Mapping[str, Array], found: Mapping[str, Array], row: int
) -> bool:
    stream = Stream(network, context={name: states[name] for name in network.context_shapes} or None)
    stream.state = {name: state for name, state in states.items() if name not in network.context_shapes}
    n_steps = len(next(iter(inputs.values())))
    frames = frames_of(network)
    given = {name: frame.from_vectors(inputs[name]) for name, frame in frames.inputs.items()}
    answers = [stream.step({name: array[t] for name, array in given.items()}) for t in range(n_steps)]
    for port in network.signature.outputs:
        if isinstance(port, StatePort):
            whole = found[port.name][:, row]
            streamed = np.stack([stream.state[name] for name in port.states])
        else:
            whole = found[port.name][row, :n_steps]
            steps = [answer[port.value] if isinstance(answer, dict) else answer for answer in answers]
            streamed = frames.outputs[port.value].to_vectors(np.stack(steps[-len(whole) :]))
        with np.errstate(invalid="ignore", over="ignore"):
            as_in_source = streamed.astype(port.dtype)
        if as_in_source.tobytes() != whole.tobytes():
            return False
    return True
