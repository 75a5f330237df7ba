"""Ways into grurt other than a step of one array: what a user writes for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import grurt
from benchmarks.contenders.base import Prepared
from benchmarks.contenders.grurt import model_of
from benchmarks.contenders.onnx_graph import timestep_model
from benchmarks.network import Floats, Network, halves


def two_inputs(statement: str) -> Callable[[Network, Floats], Prepared]:
    """Step a model of two inputs, ``left`` and ``right``, by a statement."""

    def prepare(network: Network, x: Floats) -> Prepared:
        stream = _two_input_model(network).stream()
        left, right = halves(x)
        names = {
            "step": stream.step,
            "advance": stream.advance,
            "left": left,
            "right": right,
            "y": next(iter(stream.outputs.values())),
        }
        names |= {f"own_{name}": array for name, array in stream.inputs.items()}
        return Prepared(statement, "y", names, x)

    return prepare


def _two_input_model(network: Network) -> grurt.Model:
    left, right = halves(np.empty(network.input_size, np.float32))
    inputs = [grurt.Input(name="left", size=left.size), grurt.Input(name="right", size=right.size)]
    gru = grurt.GRU(name="gru", inputs=("both",), input_size=network.input_size, hidden_size=network.hidden_size)
    join = grurt.Concat(name="both", inputs=("left", "right"))
    return grurt.Model(layers=[join, gru], weights=model_of(network).weights, inputs=inputs)


def run_session(network: Network, x: Floats) -> Prepared:
    """Call `InferenceSession.run` as onnxruntime's is called: the caller hands the state over."""
    session, feed = _session(network, x)
    names = {"run": session.run, "outputs": ["hn"], "feed": feed}
    return Prepared('(feed["h"],) = run(outputs, feed)', 'feed["h"]', names, x)


def run_mapping(network: Network, x: Floats) -> Prepared:
    """Call `Model.run` with a mapping of the source's names, the state among them."""
    session, feed = _session(network, x)
    return Prepared('feed["h"] = run(feed)["hn"]', 'feed["h"]', {"run": session.model.run, "feed": feed}, x)


def _session(network: Network, x: Floats) -> tuple[grurt.InferenceSession, dict[str, Floats]]:
    """Return a session for one timestep, and its inputs: x is of one sequence, or of several."""
    batch = x.size // network.input_size
    feed = {"x": x.reshape(1, batch, -1), "h": np.zeros((1, batch, network.hidden_size), np.float32)}
    return grurt.InferenceSession(timestep_model(network, batch)), feed


def step_as_it_comes(convert: Callable[[Floats], Any]) -> Callable[[Network, Floats], Prepared]:
    """Step by something that is made of an array beforehand."""

    def prepare(network: Network, x: Floats) -> Prepared:
        return Prepared("y = step(x)", "y", {"step": model_of(network).stream().step, "x": convert(x), "y": None}, x)

    return prepare


def unaligned(x: Floats) -> Floats:
    """Return a copy that begins one byte behind an address that a float32 may have."""
    return np.frombuffer(b"\0" + x.tobytes(), np.float32, x.size, 1)


def pool_by(ids: Callable[[int], Any]) -> Callable[[Network, Floats], Prepared]:
    """Step streams of a pool that are named so."""

    def prepare(network: Network, x: Floats) -> Prepared:
        chosen = ids(len(x))
        pool = model_of(network).pool(chosen if isinstance(chosen[0], str) else 1_000, threads=1)
        return Prepared("y = step(ids, x)", "y", {"step": pool.step, "ids": chosen, "x": x, "y": None}, x)

    return prepare


def state(statement: str, answer: str) -> Callable[[Network, Floats], Prepared]:
    """Do something with the state of a stream that took one timestep."""

    def prepare(network: Network, x: Floats) -> Prepared:
        model = model_of(network)
        stream, other = model.stream(), model.stream()
        stream.step(x)
        pool = model.pool(4)
        pool.set_state(0, stream.state)
        names = {"model": model, "stream": stream, "other": other, "state": stream.state, "pool": pool, "new": None}
        return Prepared(statement, answer, names, x)

    return prepare
