"""grurt itself."""

import numpy as np

import grurt
from benchmarks.contenders.base import Contender, Prepared, Weights, Workload
from benchmarks.network import Floats, Network


def model_of(network: Network, weights: Weights = "float32") -> grurt.Model:
    """Return the network as a grurt model, whose gate order is the same."""
    model = grurt.Model(
        layers=[grurt.GRU(name="gru", input_size=network.input_size, hidden_size=network.hidden_size)],
        weights={
            "gru.weight_ih": network.w,
            "gru.weight_hh": network.r,
            "gru.bias_ih": network.b,
            "gru.bias_hh": network.c,
        },
    )
    return model if weights == "float32" else model.quantize(weights)


def step(stream: grurt.Stream, x: Floats) -> Prepared:
    """Call `Stream.step`, with a new array for every answer."""
    return Prepared("y = step(x)", "y", {"step": stream.step, "x": x, "y": None}, x)


def step_out(stream: grurt.Stream, x: Floats) -> Prepared:
    """Call `Stream.step` into an array of the caller's."""
    return Prepared(
        "step(x, y)",
        "y",
        {"step": stream.step, "x": x, "y": np.empty(stream.model.plan.outputs[0].size, np.float32)},
        x,
    )


def advance(stream: grurt.Stream) -> Prepared:
    """Call `Stream.advance`, with the sample written to the stream's own input array."""
    return Prepared("advance()", "y", {"advance": stream.advance, "y": stream.output}, stream.input)


def model_run(network: Network, x: Floats) -> Prepared:
    """Call `Model.run`, which begins at the initial state."""
    return Prepared("y = run(x)", "y", {"run": model_of(network).run, "x": x, "y": None}, x)


def stream_run(network: Network, x: Floats) -> Prepared:
    """Call `Stream.run` from a reset stream, into an array of the caller's."""
    stream = model_of(network).stream()
    y = np.empty((len(x), network.hidden_size), np.float32)
    return Prepared("reset(); run(x, y)", "y", {"reset": stream.reset, "run": stream.run, "x": x, "y": y}, x)


def pool_step(network: Network, x: Floats, weights: Weights = "float32", threads: int = 1) -> Prepared:
    """Call `StreamPool.step` for all streams of a pool."""
    pool = model_of(network, weights).pool(len(x), threads=threads)
    return Prepared("y = step(ids, x)", "y", {"step": pool.step, "ids": np.arange(len(x)), "x": x, "y": None}, x)


CONTENDERS = (
    Contender("grurt step", Workload.STEP, lambda network, x: step(model_of(network).stream(), x)),
    Contender("grurt step, out=", Workload.STEP, lambda network, x: step_out(model_of(network).stream(), x)),
    Contender("grurt advance", Workload.STEP, lambda network, x: advance(model_of(network).stream())),
    Contender("grurt Model.run", Workload.SEQUENCE, model_run),
    Contender("grurt Stream.run, out=", Workload.SEQUENCE, stream_run),
    Contender("grurt StreamPool.step", Workload.STREAMS, pool_step),
    Contender(
        "grurt float16 step",
        Workload.STEP,
        lambda network, x: step(model_of(network, "float16").stream(), x),
        weights="float16",
    ),
    Contender(
        "grurt int8 step",
        Workload.STEP,
        lambda network, x: step(model_of(network, "int8").stream(), x),
        weights="int8",
    ),
    Contender(
        "grurt int4 step",
        Workload.STEP,
        lambda network, x: step(model_of(network, "int4").stream(), x),
        weights="int4",
    ),
    Contender(
        "grurt float16 StreamPool.step",
        Workload.STREAMS,
        lambda network, x: pool_step(network, x, "float16"),
        weights="float16",
    ),
    Contender(
        "grurt int8 StreamPool.step",
        Workload.STREAMS,
        lambda network, x: pool_step(network, x, "int8"),
        weights="int8",
    ),
)
