"""What `grurt bench` times beside a model: onnxruntime with the same network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from grurt.array_types import Array
from grurt.cli.calls import Sizes, described, random_context, random_feed, random_inputs
from grurt.cli.timing import Call
from grurt.errors import ConversionError
from grurt.installing import install_command
from grurt.network.frames import frames_of
from grurt.network.signature import StatePort, is_context
from grurt.runtime.verify import error_of

if TYPE_CHECKING:
    from grurt.model import Model

STEP = "onnxruntime run, state fed back"


class Session(Protocol):
    """The part of onnxruntime's InferenceSession that is used."""

    def get_inputs(self) -> list[Any]:
        """Return the inputs, with their names and shapes."""

    def get_outputs(self) -> list[Any]:
        """Return the outputs."""

    def run(self, outputs: list[str], feed: Mapping[str, Array]) -> list[Array]:
        """Return the outputs."""


def open_session(file: Path | bytes) -> Session:
    """Open an ONNX file with onnxruntime, on one thread.

    Raises
    ------
    ConversionError
        If onnxruntime is not installed, or cannot open the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConversionError(f"onnxruntime is not installed: {install_command('onnx')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    model = file if isinstance(file, bytes) else str(file)
    try:
        session: Session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        what = "the model as an ONNX file" if isinstance(file, bytes) else file
        raise ConversionError(f"{what}: expected an ONNX file, got one that onnxruntime cannot open") from error
    return session


def sequence_call(model: Model, session: Session, sizes: Sizes) -> Call:
    """Return the call for a whole sequence, with the source's names and shapes."""
    outputs = [port.name for port in model.signature.outputs]
    names = {"run": session.run, "outputs": outputs, "feed": random_feed(model, sizes)}
    return Call(f"onnxruntime run, {described(sizes)}", "run(outputs, feed)", names, timesteps=sizes.time)


def source_step_call(model: Model, session: Session, sizes: Sizes) -> Call | None:
    """Return the call for one timestep of the source's own file, the states carried by the caller.

    None if it takes no single timesteps with states.
    """
    ports = model.signature
    given_once = model.context_shapes
    states = (port for port in ports.inputs if isinstance(port, StatePort) and not is_context(port, given_once))
    incoming = {port.states: port.name for port in states}
    outgoing = {port.states: index for index, port in enumerate(ports.outputs) if isinstance(port, StatePort)}
    carried = {name for states in incoming for name in states}
    if carried != set(model.state_shapes) or incoming.keys() != outgoing.keys():
        return None
    if sizes.batch != 1 or (sizes.fixes_time and sizes.time != 1):
        return None
    feedback = {incoming[states]: index for states, index in outgoing.items()}
    return _step_call(session, [port.name for port in ports.outputs], random_feed(model, Sizes(1, 1, True)), feedback)


def written_step_call(model: Model, session: Session) -> Call:
    """Return the call for one timestep of the file that `grurt.converters.to_onnx` writes of one."""
    frames = frames_of(model)
    xs = random_inputs(model, (1, 1))
    feed = {name: x.reshape(1, 1, *frames.inputs[name].shape) for name, x in xs.items()}
    given = session.get_inputs()[len(model.inputs) :]
    states, contexts = given[: len(model.state_shapes)], given[len(model.state_shapes) :]
    feed |= {state.name: np.zeros(state.shape, np.float32) for state in states}
    feed |= dict(zip([port.name for port in contexts], (random_context(model) or {}).values(), strict=True))
    outputs = [output.name for output in session.get_outputs()]
    return _step_call(session, outputs, feed, {state.name: len(model.outputs) + i for i, state in enumerate(states)})


def _step_call(session: Session, outputs: list[str], feed: dict[str, Array], feedback: Mapping[str, int]) -> Call:
    names = {"run": session.run, "outputs": outputs, "feed": feed}
    fed_back = [f"feed[{name!r}] = answers[{index}]" for name, index in feedback.items()]
    return Call(STEP, "; ".join(["answers = run(outputs, feed)", *fed_back]), names, single=True)


def largest_error(model: Model, session: Session, sizes: Sizes) -> float:
    """Return how far the answers to a whole sequence are apart, in proportion to the largest above 1, or NaN."""
    feed = random_feed(model, sizes)
    expected = session.run([port.name for port in model.signature.outputs], feed)
    found: dict[str, Array] = model.run(feed)
    return float(np.max([error_of(ours, theirs) for ours, theirs in zip(found.values(), expected, strict=True)]))
