"""onnxruntime on one thread, with all graph optimizations, which are its default."""

import itertools

import numpy as np
import onnxruntime

from benchmarks.contenders.base import Contender, Prepared, Workload
from benchmarks.contenders.onnx_graph import sequence_model, timestep_model, two_input_model
from benchmarks.network import Floats, Network, halves


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(network: Network, x: Floats) -> Prepared:
    """Call `InferenceSession.run`; the caller hands the state over."""
    batch = x.size // network.input_size
    feed = {"x": x.reshape(1, batch, -1), "h": np.zeros((1, batch, network.hidden_size), np.float32)}
    run = _session(timestep_model(network, batch)).run
    names = {"run": run, "outputs": ["hn"], "feed": feed}
    return Prepared('(feed["h"],) = run(outputs, feed)', 'feed["h"]', names, x)


def io_binding(network: Network, x: Floats) -> Prepared:
    """Call `run_with_iobinding`: all arrays bound beforehand, and two of them for the state, which change places."""
    batch = x.size // network.input_size
    bound = _session(timestep_model(network, batch))
    even, odd = np.zeros((2, 1, batch, network.hidden_size), np.float32)
    turns = [
        (_bind(bound, {"x": x.reshape(1, batch, -1), "h": before}, {"hn": after}), after)
        for before, after in ((even, odd), (odd, even))
    ]
    names = {"run": bound.run_with_iobinding, "turns": itertools.cycle(turns), "binding": None, "after": None}
    return Prepared("binding, after = next(turns); run(binding)", "after", names, x)


def _bind(
    session: onnxruntime.InferenceSession, inputs: dict[str, Floats], outputs: dict[str, Floats]
) -> onnxruntime.IOBinding:
    """Bind arrays as they are: nothing is copied on the way in or out."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return binding


def run_sequence(network: Network, x: Floats) -> Prepared:
    """Call `InferenceSession.run` of a whole sequence."""
    run = _session(sequence_model(network, len(x))).run
    names = {"run": run, "outputs": ["y"], "feed": {"x": x.reshape(len(x), 1, -1)}, "y": None}
    return Prepared("(y,) = run(outputs, feed)", "y", names, x)


def run_two_inputs(network: Network, x: Floats) -> Prepared:
    """Call `InferenceSession.run` of one timestep with two inputs, and a state that the caller hands over."""
    left, right = (half.reshape(1, 1, -1) for half in halves(x))
    feed = {"left": left, "right": right, "h": np.zeros((1, 1, network.hidden_size), np.float32)}
    names = {"run": _session(two_input_model(network)).run, "outputs": ["hn"], "feed": feed}
    return Prepared('(feed["h"],) = run(outputs, feed)', 'feed["h"]', names, x)


def run_batch(network: Network, x: Floats) -> Prepared:
    """Call `InferenceSession.run` of sequences ``(batch, n_steps, input_size)``, with its axes as its GRU has them."""
    batch, n_steps, _ = x.shape
    run = _session(sequence_model(network, n_steps, batch)).run
    names = {"run": run, "outputs": ["y"], "feed": {"x": np.ascontiguousarray(x.swapaxes(0, 1))}, "y": None}
    return Prepared("(y,) = run(outputs, feed)", "y[:, 0].swapaxes(0, 1)", names, x)


CONTENDERS = (
    Contender("onnxruntime run", Workload.STEP, run),
    Contender("onnxruntime io_binding", Workload.STEP, io_binding),
    Contender("onnxruntime run", Workload.SEQUENCE, run_sequence),
    Contender("onnxruntime run", Workload.STREAMS, run),
    Contender("onnxruntime io_binding", Workload.STREAMS, io_binding),
)
