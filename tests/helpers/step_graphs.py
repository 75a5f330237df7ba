"""ONNX graphs of one timestep for tests, and their import compared with onnxruntime, timestep by timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphs
import onnxruntime
from onnx import ModelProto

import grurt
from grurt import reference
from grurt.converters.literal.options import ImportOptions, StepOptions
from grurt.converters.onnx.convert import network_of_proto
from grurt.network.network import Network, Source

Array = np.ndarray[Any, np.dtype[Any]]

STATE = "h"
TIMESTEPS = 3


def step_proto(
    text: str,
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, Array] | None = None,
    **options: Any,
) -> ModelProto:
    """Return a model of nodes written as text, and of a state ``h`` beside them, which becomes ``h_out``."""
    nodes = [*onnx_graphs.written(text), *onnx_graphs.written(f"{STATE}_out = Tanh({STATE})")]
    return onnx_graphs.proto(nodes, {**inputs, STATE: (1, 2)}, [*outputs, f"{STATE}_out"], weights or {}, **options)


def imported(proto: ModelProto, **step: Any) -> Network:
    """Return the network of a graph of one timestep, imported literally."""
    options = ImportOptions("literal", StepOptions(**step))
    return network_of_proto(proto, folder=None, source=Source(format="onnx"), options=options)


def program(network: Network) -> grurt.Program:
    """Return the program among a network's layers."""
    (found,) = (layer for layer in network.layers if isinstance(layer, grurt.Program))
    return found


def kinds(network: Network) -> list[str]:
    """Return the kinds of the operators of a network's program, in order."""
    return [operator.kind for operator in program(network).operators]


class StepSource:
    """onnxruntime with a graph of one timestep, and the states that it was fed with last."""

    def __init__(self, proto: ModelProto, pairs: Mapping[str, str], bound: Mapping[str, Array]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.pairs = pairs
        self.bound = bound
        self.states: dict[str, Array] = {}
        self.names = [port.name for port in self.session.get_outputs()]

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        answers = dict(
            zip(self.names, self.session.run(self.names, {**inputs, **self.bound, **self.states}), strict=True)
        )
        self.states = {name: answers[result] for name, result in self.pairs.items()}
        return answers


def sample(port: grurt.ValuePort, network: Network, random: np.random.Generator) -> Array:
    """Return random numbers for an input."""
    value = network.values[port.value]
    shape = port.shape or (1,) * len(port.axes)
    if value.tokens:
        return random.integers(value.size, size=shape).astype(port.dtype)
    if port.dtype == "bool":
        return random.integers(2, size=shape).astype(port.dtype)
    if port.dtype.startswith("int"):
        return random.integers(-3, 4, size=shape).astype(port.dtype)
    return random.normal(size=shape).astype(port.dtype)


def largest_error(
    proto: ModelProto, network: Network, *, bound: Mapping[str, Array] | None = None, positive: bool = False
) -> float:
    """Return how far float64 answers of a network's program are from onnxruntime's, in proportion to the largest."""
    random = np.random.default_rng(5)
    pairs = {state.name: state.result for state in program(network).states} | network.signature.fed_back
    source = StepSource(proto, pairs, bound or {})
    shapes = network.state_shapes
    begins = {state.name: state.initial for state in program(network).states}
    source.states = {
        name: np.zeros(shape, np.float32)
        if begins[name] is None
        else network.weights[f"{program(network).name}.{begins[name]}"]
        for name, shape in shapes.items()
    }
    frames, expected = [], []
    for _ in range(TIMESTEPS):
        ports = [port for port in network.signature.inputs if isinstance(port, grurt.ValuePort)]
        frame = {port.name: sample(port, network, random) for port in ports}
        if positive:
            frame = {name: (np.abs(array) + 0.1).astype(array.dtype) for name, array in frame.items()}
        expected.append(source.step(frame))
        frames.append({name: array.reshape(1, *_vector(network, name)) for name, array in frame.items()})
    joined = {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}
    with np.errstate(all="ignore"):  # of what is infinite, or NaN, in the source too
        outputs, states = reference.run(network, joined)
    errors = [
        _error(found, np.stack([answers[name].reshape(-1) for answers in expected])) for name, found in outputs.items()
    ]
    errors += [_error(states[name], source.states[name].reshape(states[name].shape)) for name in pairs]
    return max(errors)


def _vector(network: Network, name: str) -> tuple[int, ...]:
    return () if network.values[name].tokens else (network.values[name].size,)


def _error(found: Array, expected: Array) -> float:
    expected = expected.astype(np.float64)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    finite = np.isfinite(expected)
    if not finite.any():
        return 0.0
    return float(np.abs(found - expected)[finite].max() / max(1.0, np.abs(expected[finite]).max()))
