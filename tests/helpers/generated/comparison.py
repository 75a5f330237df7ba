"""A converted model compared with the network that it came from: whole sequences, loops and streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import grurt
from generated.truth import Answer, Array, Arrays, Source
from grurt.errors import DesignReason, GrurtError, InputShapeError, StreamingError, UnsupportedError
from grurt.network.signature import LengthsPort, StatePort, ValuePort

STEPS = 6


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    kind: str
    """One of `KINDS`."""
    detail: str = ""
    reason: DesignReason | None = None


RIGHT, BY_DESIGN, WHOLE, REFUSED, WRONG, CRASHED = KINDS = (
    "right",
    "refused by design",
    "whole sequences only",
    "refused",
    "wrong",
    "crashed",
)
"""The classes: as the source; refused for a reason that the network gives; computed, but not streamed although the
source streams; refused otherwise; other answers than the source's; an exception that is not grurt's."""


class DifferenceError(Exception):
    """Answers that are not the source's."""


def judged(source: Source, convert: Callable[[], grurt.Model]) -> Outcome:
    """Convert, run and compare."""
    reasons = source.program.reasons
    try:
        model = convert()
        whole(source, model)
        why_not = streamed(source, model)
    except UnsupportedError as error:
        if error.reason is not None and error.reason in reasons:
            return Outcome(BY_DESIGN, str(error), error.reason)
        return Outcome(REFUSED, f"[{error.reason.name if error.reason else ''}] {error}", error.reason)
    except GrurtError as error:
        return Outcome(REFUSED, f"{type(error).__name__}: {error}")
    except DifferenceError as error:
        return Outcome(WRONG, str(error))
    except Exception as error:
        return Outcome(CRASHED, f"{type(error).__name__}: {error}")
    if why_not is None or len(model.stages) > 1:  # each of which streams by itself
        return Outcome(RIGHT)
    return _not_streamed(source, why_not)


def _not_streamed(source: Source, why_not: str) -> Outcome:
    if DesignReason.FED_BACK_STATE in source.program.reasons:
        return Outcome(BY_DESIGN, why_not, DesignReason.FED_BACK_STATE)
    return Outcome(WHOLE, why_not) if is_causal(source) else Outcome(RIGHT, why_not)


def whole(source: Source, model: grurt.Model) -> None:
    """Compare whole sequences: of the sizes that were exported, and of others, where both sides take them."""
    batch, time = source.program.batch, source.program.time
    longer = time + 3 if time > 1 else 1  # of one timestep, a file does not tell what the source does with more
    for sizes in ((batch, time), (batch + 1, longer), (1, 1)):
        inputs = source.inputs(*sizes, "whole")
        try:
            answers = source.answers(inputs)
        except (RuntimeError, IndexError, ValueError, AssertionError):
            if sizes == (batch, time):
                raise
            continue  # the network itself has fixed the size
        try:
            found = run(model, inputs)
        except InputShapeError:
            if sizes == (batch, time):
                raise
            continue
        compare(f"whole sequences of batch {sizes[0]}, time {sizes[1]}", found, answers)


def run(model: grurt.Model, inputs: Arrays) -> list[Array]:
    names = [port.name for port in model.signature.inputs]
    if set(names) <= inputs.keys():
        given = {name: inputs[name] for name in names}
    else:  # the exporter has invented names
        given = dict(zip(names, inputs.values(), strict=True))
    found = model.run({name: tensor.numpy() for name, tensor in given.items()})
    return [found[port.name] for port in model.signature.outputs]


def compare(what: str, found: list[Array], answers: list[Answer]) -> None:
    if len(found) != len(answers):
        raise DifferenceError(f"{what}: {len(found)} outputs, expected {len(answers)}")
    for place, (array, answer) in enumerate(zip(found, answers, strict=True)):
        if not (difference := answer.difference(array)) <= 1:
            raise DifferenceError(
                f"{what}: output {place} is {difference:.3g} times what is allowed from the source's; "
                f"shapes {array.shape} {array.dtype} and {answer.exact.shape} {answer.dtype}"
            )


def streamed(source: Source, model: grurt.Model) -> str | None:
    """Compare steps with the source's loop, and with its answers to beginnings; return why there is no stream."""
    if model.unstreamable_reason is not None:
        return model.unstreamable_reason
    program = source.program
    if any(isinstance(port, LengthsPort) for port in model.signature.inputs):
        return None
    try:
        stream = model.stream()
    except StreamingError as error:
        return str(error)
    if program.fed_back or not source.takes_sequences:
        _stepped(source, model, stream)
    else:
        _begun(source, model, stream)
    return None


def _stepped(source: Source, model: grurt.Model, stream: grurt.Stream) -> None:
    inputs = [source.inputs(1, 1, step) for step in range(STEPS)]
    states = {each.name for each in source.program.inputs if each.is_state}
    for name in states:
        inputs[0][name] = torch.zeros_like(inputs[0][name])
    loop = source.loop(inputs)
    for step, given in enumerate(inputs):
        try:
            answers = next(loop)
        except (RuntimeError, IndexError, ValueError):
            return  # the network's own loop cannot run
        compare(
            f"step {step} of a stream",
            _step(source, model, stream, {name: tensor for name, tensor in given.items() if name not in states}),
            _of_values(model, answers),
        )


def _begun(source: Source, model: grurt.Model, stream: grurt.Stream) -> None:
    time = max(STEPS, source.program.time)
    inputs = source.inputs(1, time, "begun")
    axes = {each.name: each.time_axis for each in source.program.inputs}
    outputs = source.program.outputs
    for end in range(1, time + 1):
        last = {
            name: tensor if axes[name] is None else tensor.narrow(axes[name], end - 1, 1)
            for name, tensor in inputs.items()
        }
        found = _step(source, model, stream, last)
        try:
            answers = source.answers(source.slice_of(inputs, 0, end))
        except (RuntimeError, IndexError, ValueError):
            continue  # the network itself does not take so few timesteps
        if any(
            answer.exact.shape[output.time_axis] != end
            for answer, output in zip(answers, outputs, strict=True)
            if output.time_axis is not None
        ):
            continue  # other timesteps than the inputs'
        final = [
            answer
            if output.time_axis is None
            else Answer(answer.exact.take(-1, output.time_axis), answer.rounding, answer.dtype)
            for answer, output in zip(answers, outputs, strict=True)
        ]
        compare(f"step {end - 1} of a stream, and a beginning", found, _of_values(model, final))


def _step(source: Source, model: grurt.Model, stream: grurt.Stream, given: Arrays) -> list[Array]:
    """Step; return the outputs that are no states, in the signature's order."""
    axes = {each.name: (each.batch_axis, each.time_axis) for each in source.program.inputs}
    named = {name: _frame(tensor.numpy(), axes[name]) for name, tensor in given.items()}
    ports = [port for port in model.signature.inputs if isinstance(port, ValuePort)]
    if not {port.name for port in ports} <= named.keys():  # the exporter has invented names
        named = dict(zip((port.name for port in ports), named.values(), strict=True))
    frames = {port.value: named[port.name] for port in ports}
    found = stream.step(frames if len(frames) > 1 else next(iter(frames.values())))
    answers = found if isinstance(found, dict) else {model.outputs[0].name: found}
    shown = [port for port in model.signature.outputs if isinstance(port, ValuePort)]
    return [np.asarray(answers[port.value]).reshape(-1) for port in shown]


def _frame(array: Array, axes: tuple[int | None, ...]) -> Array | int:
    """Return one timestep in the source's own shape, without batch and time."""
    if array.dtype.kind == "i":
        return int(array.reshape(()))
    frame = array.reshape([size for axis, size in enumerate(array.shape) if axis not in axes])
    return frame if sum(size > 1 for size in frame.shape) > 1 else frame.reshape(-1)


def _of_values(model: grurt.Model, answers: list[Answer]) -> list[Answer]:
    """Return the answers that are no states, as a stream gives them: flat, and float32."""
    return [
        Answer(answer.exact.reshape(-1), answer.rounding, np.dtype(np.float32))
        for port, answer in zip(model.signature.outputs, answers, strict=True)
        if not isinstance(port, StatePort)
    ]


def is_causal(source: Source) -> bool:
    """Whether the network's answers to the beginning of a sequence do not depend on what follows.

    What reads only the last timestep, or the last state, is not causal if anything runs backwards.
    """
    if not source.takes_sequences:
        return True
    if any(word in source.program.source.lower() for word in ("bidirectional", "flip(", "go_backwards")):
        return False
    inputs = source.inputs(1, STEPS, "causal")
    try:
        every, begun = source.answers(inputs), source.answers(source.slice_of(inputs, 0, STEPS - 2))
        for output, long, short in zip(source.program.outputs, every, begun, strict=True):
            if output.time_axis is None:
                continue
            if long.exact.shape[output.time_axis] != STEPS or short.exact.shape[output.time_axis] != STEPS - 2:
                return False
            if short.difference(long.exact.take(range(STEPS - 2), output.time_axis).astype(short.dtype)) > 1:
                return False
    except (RuntimeError, IndexError, ValueError):
        return False
    return True
