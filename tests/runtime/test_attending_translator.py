"""Translators whose decoder attends to all that the encoder has answered: against beam search on onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx_graphs import node, proto, random

import grurt
from grurt.converters import convert
from grurt.errors import InputShapeError, ModelError

HIDDEN, SYMBOLS, MOST = 6, 11, 12
SOURCES = [np.random.default_rng(row).integers(0, 9, length) for row, length in enumerate((1, 4, 9, MOST))]


def encoder() -> grurt.Model:
    layers = [
        grurt.Embedding(name="letters", vocabulary_size=9, size=4),
        grurt.GRU(name="encoder", input_size=4, hidden_size=HIDDEN),
    ]
    rng = np.random.default_rng(0)
    weights = {
        f"{layer.name}.{name}": rng.normal(size=shape)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }
    outputs = [grurt.Output("memory", "encoder")]
    return grurt.Model(layers=layers, weights=weights, inputs=[grurt.TokenInput("source", 9)], outputs=outputs)


def step() -> ModelProto:
    """Return one step of a decoder with Luong's attention, over a memory of any length."""
    nodes = [
        node("Gather", ["table", "token"], ["x"]),
        node(
            "GRU", ["x", "w", "r", "b", "", "encoder"], ["y", "encoder_out"], hidden_size=HIDDEN, linear_before_reset=1
        ),
        node("Squeeze", ["y", "one"], ["query"]),
        node("MatMul", ["memory", "general"], ["keys"]),
        node("Transpose", ["keys"], ["columns"], perm=[0, 2, 1]),
        node("MatMul", ["query", "columns"], ["scores"]),
        node("Softmax", ["scores"], ["attention"], axis=-1),
        node("MatMul", ["attention", "memory"], ["found"]),
        node("Concat", ["query", "found"], ["both"], axis=2),
        node("MatMul", ["both", "head"], ["logits"]),
    ]
    weights = {
        "table": random(SYMBOLS, 4),
        "w": random(1, 3 * HIDDEN, 4, seed=1),
        "r": random(1, 3 * HIDDEN, HIDDEN, seed=2),
        "b": random(1, 6 * HIDDEN, seed=3),
        "one": np.array([1]),
        "general": random(HIDDEN, HIDDEN, seed=4),
        "head": 4 * random(2 * HIDDEN, SYMBOLS, seed=5),
    }
    inputs = {"token": (1, 1), "memory": (1, "places", HIDDEN), "encoder": (1, 1, HIDDEN)}
    return proto(nodes, inputs, ["logits", "encoder_out"], weights, dtypes={"token": TensorProto.INT64})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> grurt.Model:
    path = tmp_path_factory.mktemp("decoder") / "step.onnx"
    path.write_bytes(step().SerializeToString())
    return convert(path, imported="literal", context=["memory"], size={"places": MOST})


def searched(memory: Any, state: Any, beam: int, most: int) -> tuple[list[int], float]:
    """Return the best sequence behind token 1 that ends with token 0, by its mean, of a search on onnxruntime."""
    session = onnxruntime.InferenceSession(step().SerializeToString(), providers=["CPUExecutionProvider"])
    alive: list[tuple[float, list[int], Any]] = [(0.0, [1], state)]
    ended: list[tuple[float, list[int]]] = []
    for length in range(1, most + 1):
        ways = []
        for row, (score, tokens, h) in enumerate(alive):
            feed = {"token": np.array([[tokens[-1]]]), "memory": memory[np.newaxis], "encoder": h}
            logits, after = session.run(None, feed)
            values = logits.ravel().astype(np.float64)
            logs = values - values.max() - np.log(np.exp(values - values.max()).sum())
            ways += [(score + found, row, token, after) for token, found in enumerate(logs)]
        ways.sort(key=lambda way: (-way[0], way[1], way[2]))
        further: list[tuple[float, list[int], Any]] = []
        for rank, (score, row, token, after) in enumerate(ways[: 2 * beam]):
            if len(further) == beam:
                break
            tokens = [*alive[row][1], token]
            if token == 0:
                ended += [(score / length, tokens[1:])] if rank < beam else []
            else:
                further.append((score, tokens, after))
                ended += [(score / length, tokens[1:])] if length == most else []
        ended = sorted(ended, key=lambda each: -each[0])[:beam]
        alive = further
        if not alive or (len(ended) == beam and ended[-1][0] >= alive[0][0] / length):
            break
    return ended[0][1], ended[0][0]


@pytest.mark.parametrize("beam", [1, 4])
def test_it_finds_what_a_search_on_onnxruntime_finds(beam: int, decoder: grurt.Model) -> None:
    reads = encoder()
    translator = grurt.Translator(reads, decoder)
    for source in SOURCES:
        memory = reads.run(source)
        expected, score = searched(memory, memory[-1].reshape(1, 1, -1), beam, 15)
        found = translator(source, start=1, stop=0, beam=beam, max_tokens=15)
        assert isinstance(found, grurt.Translation)
        assert found.tokens.tolist() == expected
        assert found.score == pytest.approx(score, abs=1e-5)


def test_generate_takes_a_context(decoder: grurt.Model) -> None:
    memory = encoder().run(SOURCES[2])
    tokens = decoder.generate([1], 10, temperature=0, stop=0, context={"memory": memory})
    expected, _ = searched(memory, np.zeros((1, 1, HIDDEN), np.float32), 1, 10)
    assert tokens.tolist() == expected
    stream = decoder.stream(context={"memory": memory})
    assert np.concatenate([*stream.generate([1], 10, temperature=0, stop=0)]).tolist() == expected
    pool = decoder.pool()
    for source in SOURCES:
        pool.add(context={"memory": encoder().run(source)})
    found = pool.generate([0, 1, 2, 3], [[1]] * 4, 10, temperature=0, stop=0)
    assert found[2].tolist() == expected
    with pytest.raises(InputShapeError, match="expected a context, which the model reads at every timestep"):
        decoder.generate([1], 10)


def test_a_source_that_is_too_long_is_refused(decoder: grurt.Model) -> None:
    translator = grurt.Translator(encoder(), decoder)
    with pytest.raises(InputShapeError, match=r"'memory': expected shape \(1 to 12, 6\), got \(13, 6\)"):
        translator(np.zeros(MOST + 1, int), start=1, stop=0)
    assert isinstance(translator(SOURCES[1], start=1, stop=0), grurt.Translation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contexts": {"memory": "nothing"}}, r"expected for each of 'memory' \(1, 12, 6\) one of the outputs that"),
        ({"contexts": {}}, r"expected for each of 'memory' \(1, 12, 6\) one of the outputs that the encoder gives"),
    ],
)
def test_contexts_that_are_not_there_are_said(options: dict[str, Any], message: str, decoder: grurt.Model) -> None:
    with pytest.raises(ModelError, match=f"Translator: contexts: {message}"):
        grurt.Translator(encoder(), decoder, **options)


def test_a_memory_of_another_size_is_said(decoder: grurt.Model) -> None:
    wide = grurt.Model(
        layers=[grurt.GRU(name="encoder", input_size=2, hidden_size=7, bias=False)],
        weights={"encoder.weight_ih": np.ones((21, 2)), "encoder.weight_hh": np.ones((21, 7))},
        outputs=[grurt.Output("memory", "encoder")],
    )
    with pytest.raises(ModelError, match="Translator: states: "):
        grurt.Translator(wide, decoder)
    with pytest.raises(
        ModelError, match="of vectors of 'memory', 7 numbers each, and as many as there are: convert the"
    ):
        grurt.Translator(wide, decoder, states={})
