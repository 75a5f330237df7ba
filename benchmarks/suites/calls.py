"""Every other way in than `Stream.step` of one array, beside the same with onnxruntime, where it has such a thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from benchmarks.contenders import Prepared, calls, grurt
from benchmarks.network import Doubles, Floats, Network, random_network, timestep
from benchmarks.proof import TOLERANCE, DisagreementError, whole_sequence
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import Loop, alternate, looped

Prepare = Callable[[Network, Floats], Prepared]


STEPS = 20
"""How many answers are compared, the state carried from each to the next."""


@dataclass(frozen=True)
class Call:
    """A row of the table.

    Parameters
    ----------
    name
        What is called.
    shape
        Of the input, without its features: ``()`` of a timestep.
    ours
        Sets it up.
    peer
        What sets up the same in `benchmarks.contenders.onnxruntime`, if there is such a thing.
    expected
        Computes the answer to an execution in float64, from the input and the state before it.
    """

    name: str
    shape: tuple[int, ...]
    ours: Prepare
    peer: str | None = None
    expected: Callable[[Network, Floats, Doubles], Doubles] = timestep

    def loops(self, network: Network) -> dict[str, Loop]:
        """Return loops over our statement and onnxruntime's, once the answers of both are those of float64."""
        rng = np.random.default_rng(1)
        # of so few bits that float16 holds them
        x = rng.standard_normal((*self.shape, network.input_size)).astype(np.float16).astype(np.float32)
        loops = {"grurt": self._proven("grurt", network, x, self.ours)}
        if self.peer and find_spec("onnxruntime"):
            peers = import_module("benchmarks.contenders.onnxruntime")
            loops["onnxruntime"] = self._proven("onnxruntime", network, x, getattr(peers, self.peer))
        return loops

    def _proven(self, engine: str, network: Network, x: Floats, prepare: Prepare) -> Loop:
        prepared = prepare(network, x)
        loop = looped(prepared)
        h = np.zeros((*self.shape, network.hidden_size))
        for _ in range(STEPS):
            loop(1)
            h = self.expected(network, x, h)
            difference = float(np.abs(prepared.last_answer() - h.reshape(-1)).max())
            if not difference <= TOLERANCE:
                raise DisagreementError(
                    f"{engine}, {self.name} at {network.size}: differs from float64 by {difference:.1e}"
                )
        return loop


def _sequences(network: Network, xs: Floats, _: Doubles) -> Doubles:
    return whole_sequence(network, xs)


def _kept_state(network: Network, x: Floats, _: Doubles) -> Doubles:
    """Return the state after one timestep, which what is done with it does not change."""
    return timestep(network, x, np.zeros(network.hidden_size))


def _initial_state(network: Network, x: Floats, _: Doubles) -> Doubles:
    return np.zeros(network.hidden_size)


CALLS = (
    Call("`step(x)`", (), calls.step_as_it_comes(lambda x: x), "run"),
    Call("`step` of float64", (), calls.step_as_it_comes(lambda x: x.astype(np.float64))),
    Call("`step` of float16", (), calls.step_as_it_comes(lambda x: x.astype(np.float16))),
    Call("`step` of big-endian float32", (), calls.step_as_it_comes(lambda x: x.astype(">f4"))),
    Call("`step` of every other number", (), calls.step_as_it_comes(lambda x: np.repeat(x, 2)[::2])),
    Call("`step` of an unaligned buffer", (), calls.step_as_it_comes(calls.unaligned)),
    Call("`step` of a memoryview", (), calls.step_as_it_comes(lambda x: memoryview(x))),
    Call("`step` of a list", (), calls.step_as_it_comes(lambda x: x.tolist())),
    Call("`step(left, right)` of two inputs", (), calls.two_inputs("y = step(left, right)"), "run_two_inputs"),
    Call("`step(left=left, right=right)`", (), calls.two_inputs("y = step(left=left, right=right)"), "run_two_inputs"),
    Call(
        '`step({"left": left, "right": right})`',
        (),
        calls.two_inputs('y = step({"left": left, "right": right})'),
        "run_two_inputs",
    ),
    Call(
        "`advance()` of two inputs",
        (),
        calls.two_inputs("own_left[:] = left; own_right[:] = right; advance()"),
        "run_two_inputs",
    ),
    Call("`InferenceSession.run`, 1 timestep and a state", (), calls.run_session, "run"),
    Call("`InferenceSession.run`, 1 timestep and the states of 4 sequences", (4,), calls.run_session, "run"),
    Call("`Model.run` of a mapping, 1 timestep and a state", (), calls.run_mapping, "run"),
    *(
        Call(f"{name}, {n_steps} timestep{'s'[: n_steps - 1]}", (n_steps,), ours, "run_sequence", _sequences)
        for name, ours in (("`Model.run`", grurt.model_run), ("`reset` and `Stream.run`", grurt.stream_run))
        for n_steps in (1, 10, 30)
    ),
    Call("`Model.run` of 64 sequences of 30 timesteps", (64, 30), grurt.model_run, "run_batch", _sequences),
    Call("`StreamPool.step` of 4, an array of ids", (4,), calls.pool_by(np.arange), "run"),
    Call("`StreamPool.step` of 4, a list of ids", (4,), calls.pool_by(lambda n: [*range(n)]), "run"),
    Call("`StreamPool.step` of 64, an array of ids", (64,), calls.pool_by(np.arange), "run"),
    Call("`StreamPool.step` of 64, strings", (64,), calls.pool_by(lambda n: [f"client {i}" for i in range(n)]), "run"),
    Call("`Model.stream()`", (), calls.state("new = model.stream()", 'new.state["gru"]'), None, _initial_state),
    Call("`fork`", (), calls.state("new = stream.fork()", 'new.state["gru"]'), None, _kept_state),
    Call("`copy_from`", (), calls.state("other.copy_from(stream)", 'other.state["gru"]'), None, _kept_state),
    Call("`state = ...`", (), calls.state("other.state = state", 'other.state["gru"]'), None, _kept_state),
    Call(
        "`StreamPool.set_state`", (), calls.state("pool.set_state(1, state)", 'pool.state(1)["gru"]'), None, _kept_state
    ),
)


def names() -> list[str]:
    """Return what the records are called."""
    return [call.name for call in CALLS]


def measure(settings: Settings) -> list[Record]:
    """Measure microseconds of each call, and how many times as long onnxruntime takes for the same."""
    chosen = [call for call in CALLS if not settings.only or call.name in settings.only]
    return [_measure(call, size, settings) for size in settings.sizes for call in chosen]


def _measure(call: Call, size: tuple[int, int], settings: Settings) -> Record:
    seconds = alternate(call.loops(random_network(*size)), rounds=settings.rounds, seconds=settings.seconds)
    ours, peer = seconds["grurt"], seconds.get("onnxruntime")
    ratio = {} if peer is None else {"peer_microseconds": 1e6 * peer, "ratio": peer / ours}
    return {"size": size, "contender": call.name, "microseconds": 1e6 * ours} | ratio
