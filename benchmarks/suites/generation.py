"""Loops of generators: tokens, sequences that are searched for, and what a sequence comes to; beside onnxruntime.

onnxruntime runs one timestep of the same network in a loop of Python, as its users do: the state goes out and in again,
and NumPy chooses. All begin from the same prompt and weights; with the best token always chosen, both have to give the
same tokens before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import grurt
from benchmarks.proof import DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import Loop, alternate

SYMBOLS = 60
"""Characters of the model of characters."""
SOUNDS, LETTERS = 40, 30
TOKENS = 200
"""Tokens of a call."""
BEAMS = 4
SOURCES = (10, 30, 41)

Array = np.ndarray[Any, np.dtype[Any]]


def model_of(*layers: Any, seed: int, **options: Any) -> grurt.Model:
    """Return a model with random weights."""
    rng = np.random.default_rng(seed)
    weights = {
        f"{layer.name}.{name}": rng.normal(0, 0.3, shape).astype(np.float32)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }
    return grurt.Model(layers=layers, weights=weights, **options)


def generator(name: str, size: int, hidden_size: int, seed: int) -> grurt.Model:
    """Return a model that reads tokens and gives a score for each."""
    return model_of(
        grurt.Embedding(name="embedding", vocabulary_size=size, size=hidden_size // 2),
        grurt.GRU(name=name, input_size=hidden_size // 2, hidden_size=hidden_size),
        grurt.Linear(name="scores", input_size=hidden_size, output_size=size),
        seed=seed,
    )


def encoder(hidden_size: int) -> grurt.Model:
    """Return a model that reads letters, and gives its last state."""
    return model_of(
        grurt.Embedding(name="embedding", vocabulary_size=LETTERS, size=hidden_size // 2),
        grurt.GRU(name="encoder", input_size=hidden_size // 2, hidden_size=hidden_size),
        grurt.LastStep(name="end"),
        seed=7,
    )


class Peer:
    """One timestep of a model in onnxruntime, ``rows`` sequences side by side, and its whole sequences."""

    def __init__(self, model: grurt.Model, state: str) -> None:
        import onnxruntime

        from grurt.converters import to_onnx

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        hidden = model.state_shapes[state][0]
        port = grurt.StatePort(name="h", states=(state,), dtype="float32", axes=("batch", "feature"))
        after = grurt.StatePort(name="h_after", states=(state,), dtype="float32", axes=("batch", "feature"))
        signature = model.signature
        stepped = model.replaced(
            signature=grurt.Signature((*signature.inputs, port), (*signature.outputs, after)), reference_run=None
        )
        self.session = onnxruntime.InferenceSession(to_onnx(stepped), options, providers=["CPUExecutionProvider"])
        self.input = signature.inputs[0].name
        self.names = [signature.outputs[0].name, "h_after"]
        self.zeros = np.zeros((1, hidden), np.float32)

    def step(self, tokens: Array, state: Array) -> tuple[Array, Array]:
        """Return the scores ``(rows, size)`` behind tokens ``(rows,)``, and the states after them."""
        scores, state = self.session.run(self.names, {self.input: tokens[:, np.newaxis], "h": state})
        return scores.reshape(len(tokens), -1), state


def _sampled(peer: Peer, rng: np.random.Generator, count: int, temperature: float, top_k: int | None) -> Array:
    tokens, state, token = np.empty(count, np.int64), peer.zeros, np.array([1])
    for number in range(count):
        scores, state = peer.step(token, state)
        row = scores[0]
        if temperature == 0:
            chosen = int(row.argmax())
        else:
            scaled = row / np.float32(temperature)
            if top_k is not None:
                scaled[scaled < np.partition(scaled, -top_k)[-top_k]] = -np.inf
            weights = np.exp(scaled - scaled.max())
            sums = np.cumsum(weights)
            chosen = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        tokens[number] = chosen
        token = np.array([chosen])
    return tokens


def _characters(hidden_size: int, temperature: float, top_k: int | None) -> dict[str, Loop]:
    model = generator("gru", SYMBOLS, hidden_size, seed=3)
    rng, seeds = np.random.default_rng(0), iter(range(1 << 40))

    def ours(count: int) -> Array:
        return model.generate([1], count, temperature=temperature, top_k=top_k, seed=next(seeds))

    loops = {"grurt": _by_token(ours)}
    if find_spec("onnxruntime"):
        peer = Peer(model, "gru")
        _expect_equal("characters", model.generate([1], 50, temperature=0), _sampled(peer, rng, 50, 0, None))
        loops["onnxruntime"] = _by_token(lambda count: _sampled(peer, rng, count, temperature, top_k))
    return loops


def _by_token(generate: Callable[[int], Array]) -> Loop:
    def loop(count: int) -> float:
        begun = time.perf_counter()
        left = count
        while left:
            left -= len(generate(min(left, TOKENS)))
        return time.perf_counter() - begun

    return loop


def _translations(hidden_size: int, length: int, beams: int) -> dict[str, Loop]:
    first, second = encoder(hidden_size), generator("decoder", SOUNDS, hidden_size, seed=4)
    translator = grurt.Translator(first, second)
    source = np.random.default_rng(length).integers(0, LETTERS, length)

    def ours() -> Array:
        return translator(source, start=1, beam=beams, length_penalty=0, max_tokens=length).tokens

    loops = {"grurt": _by_sequence(ours, length)}
    if find_spec("onnxruntime"):
        reads, writes = Peer(first, "encoder"), Peer(second, "decoder")

        def theirs() -> Array:
            state = reads.session.run(["h_after"], {reads.input: source[np.newaxis], "h": reads.zeros})[0]
            return _searched(writes, state, beams, length)

        _expect_equal(f"translation, {beams} beams", ours(), theirs())
        loops["onnxruntime"] = _by_sequence(theirs, length)
    return loops


def _searched(peer: Peer, state: Array, beams: int, count: int) -> Array:
    """Return the best sequence of so many tokens; with one beam, the best token always."""
    tokens, scores, sequences = np.array([1]), np.zeros(1), np.zeros((1, 0), np.int64)
    for _ in range(count):
        rows, state = peer.step(tokens, state)
        if beams == 1:
            tokens = rows.argmax(axis=1)
            sequences = np.concatenate([sequences, tokens[:, np.newaxis]], axis=1)
            continue
        largest = rows.max(axis=1, keepdims=True)
        logs = rows - largest - np.log(np.exp(rows - largest).sum(axis=1, keepdims=True))
        every = (scores[:, np.newaxis] + logs).reshape(-1)
        best = np.argpartition(-every, beams)[:beams]
        best = best[np.argsort(-every[best], kind="stable")]
        parents, tokens = np.divmod(best, rows.shape[1])
        scores, state = every[best], np.ascontiguousarray(state[parents])
        sequences = np.concatenate([sequences[parents], tokens[:, np.newaxis]], axis=1)
    return sequences[0]


def _by_sequence(translate: Callable[[], Array], length: int) -> Loop:
    def loop(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            translate()
        return (time.perf_counter() - begun) / length

    return loop


def _pooling(hidden_size: int, operation: Any) -> dict[str, Loop]:
    scores = [grurt.Linear(name="scores", input_size=hidden_size, output_size=1)] * (operation == "softmax")
    inputs = ("gru", "scores") if operation == "softmax" else ("gru",)
    model = model_of(
        grurt.GRU(name="gru", input_size=16, hidden_size=hidden_size),
        *scores,
        grurt.TimePooling(name="pooled", inputs=inputs, size=hidden_size, operation=operation),
        seed=5,
    )
    stream, x = model.stream(), np.random.default_rng(1).normal(size=16).astype(np.float32)

    def loop(count: int) -> float:
        step = stream.step
        begun = time.perf_counter()
        for _ in range(count):
            step(x)
        return time.perf_counter() - begun

    return {"grurt": loop}


def _expect_equal(name: str, found: Array, expected: Array) -> None:
    if not np.array_equal(found, expected):
        raise DisagreementError(f"{name}: grurt gives {found.tolist()}, and onnxruntime {expected.tolist()}")


_CASES: dict[str, Callable[[int], dict[str, Loop]]] = {
    "characters, the best": lambda size: _characters(size, 0, None),
    "characters at temperature 0.8": lambda size: _characters(size, 0.8, None),
    "characters at temperature 0.8, the best 20": lambda size: _characters(size, 0.8, 20),
    **{
        f"translation of {length} symbols, {f'a beam of {beams}' if beams > 1 else 'greedy'}": (
            lambda size, length=length, beams=beams: _translations(size, length, beams)
        )
        for beams in (1, BEAMS)
        for length in SOURCES
    },
    "a step with a mean of all timesteps": lambda size: _pooling(size, "mean"),
    "a step with a softmax-weighted mean of them": lambda size: _pooling(size, "softmax"),
}


def names() -> list[str]:
    """Return what the records are called."""
    return [*_CASES]


def measure(settings: Settings) -> list[Record]:
    """Measure microseconds a token, or a step, and how many times as long onnxruntime takes; sizes are hidden sizes."""
    return [
        _measure(name, size, settings)
        for size in settings.sizes
        for name in _CASES
        if not settings.only or name in settings.only
    ]


def _measure(name: str, size: tuple[int, int], settings: Settings) -> Record:
    seconds = alternate(_CASES[name](size[1]), rounds=settings.rounds, seconds=settings.seconds)
    ours, peer = seconds["grurt"], seconds.get("onnxruntime")
    ratio = {} if peer is None else {"peer_microseconds": 1e6 * peer, "ratio": peer / ours}
    return {"size": size, "contender": name, "microseconds": 1e6 * ours} | ratio
