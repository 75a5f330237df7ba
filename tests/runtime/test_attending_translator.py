"""Translators whose decoder attends to all that the encoder has answered: against beam search on onnxruntime."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx_graphs import node, proto, random

import grurt
from grurt.converters import convert
from grurt.errors import InputShapeError, ModelError, StreamingError

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


def step(*shown: str) -> ModelProto:
    """Return one step of a decoder with Luong's attention, over a memory of any length; it gives ``shown``, too."""
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
    return proto(nodes, inputs, ["logits", "encoder_out", *shown], weights, dtypes={"token": TensorProto.INT64})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> grurt.Model:
    path = tmp_path_factory.mktemp("decoder") / "step.onnx"
    path.write_bytes(step("attention").SerializeToString())
    return convert(path, imported="literal", context=["memory"], size={"places": MOST})


def searched(memory: Any, state: Any, beam: int, most: int) -> list[tuple[float, list[int], Any]]:
    """Return the best sequences behind token 1 that end with token 0, of a search on onnxruntime.

    Of each its score, a mean, its tokens, and what attention each of them was chosen with.
    """
    session = onnxruntime.InferenceSession(step("attention").SerializeToString(), providers=["CPUExecutionProvider"])
    alive: list[tuple[float, list[int], Any, Any]] = [(0.0, [1], state, ())]
    ended: list[tuple[float, list[int], Any]] = []
    for length in range(1, most + 1):
        ways = []
        for row, (score, tokens, h, seen) in enumerate(alive):
            feed = {"token": np.array([[tokens[-1]]]), "memory": memory[np.newaxis], "encoder": h}
            logits, after, attention = session.run(None, feed)
            values = logits.ravel().astype(np.float64)
            logs = values - values.max() - np.log(np.exp(values - values.max()).sum())
            ways += [(score + found, row, token, after, (*seen, attention.ravel())) for token, found in enumerate(logs)]
        ways.sort(key=lambda way: (-way[0], way[1], way[2]))
        further: list[tuple[float, list[int], Any, Any]] = []
        for rank, (score, row, token, after, seen) in enumerate(ways[: 2 * beam]):
            if len(further) == beam:
                break
            tokens = [*alive[row][1], token]
            if token == 0:
                ended += [(score / length, tokens[1:], seen)] if rank < beam else []
            else:
                further.append((score, tokens, after, seen))
                ended += [(score / length, tokens[1:], seen)] if length == most else []
        ended = sorted(ended, key=lambda each: -each[0])[:beam]
        alive = further
        if not alive or (len(ended) == beam and ended[-1][0] >= alive[0][0] / length):
            break
    return ended


@pytest.mark.parametrize("beam", [1, 4])
def test_it_finds_what_a_search_on_onnxruntime_finds(beam: int, decoder: grurt.Model) -> None:
    reads = encoder()
    translator = grurt.Translator(reads, decoder, attention="attention")
    options: dict[str, Any] = {"start": 1, "stop": 0, "beam": beam, "max_tokens": 15, "n_best": beam}
    together = translator.batch(SOURCES, **options)
    for source, found_together in zip(SOURCES, together, strict=True):
        memory = reads.run(source)
        expected = searched(memory, memory[-1].reshape(1, 1, -1), beam, 15)
        for found in (translator(source, **options), found_together):
            assert isinstance(found, list)
            assert [each.tokens.tolist() for each in found] == [tokens for _, tokens, _ in expected]
            for each, (score, tokens, attention) in zip(found, expected, strict=True):
                assert each.score == pytest.approx(score, abs=1e-5)
                assert each.attention is not None
                assert each.attention.shape == (len(tokens), len(source))
                assert each.attention.dtype == np.float32
                np.testing.assert_allclose(each.attention, attention, atol=2e-6)


def test_attention_is_given_where_it_is_asked_for(decoder: grurt.Model) -> None:
    assert grurt.Translator(encoder(), decoder)(SOURCES[1], start=1, max_tokens=3).attention is None
    translator = grurt.Translator(encoder(), decoder, attention="attention")
    first = translator(SOURCES[2], start=1, max_tokens=5)
    kept = first.attention.copy()
    translator(SOURCES[3], start=2, max_tokens=5)
    np.testing.assert_array_equal(first.attention, kept)


@pytest.mark.parametrize("name", ["logits", "weights"])
def test_outputs_that_are_no_attention_are_refused(name: str, decoder: grurt.Model) -> None:
    message = (
        r"attention: expected an output with a weight for each place of 'memory' \(12,\), got '{}' of a decoder with"
    )
    with pytest.raises(ModelError, match=message.format(name)):
        grurt.Translator(encoder(), decoder, attention=name)


def test_a_decoder_that_does_not_attend_is_refused() -> None:
    rng = np.random.default_rng(1)
    plain = models.layer_model(
        grurt.Embedding(name="symbols", vocabulary_size=SYMBOLS, size=4),
        grurt.GRU(name="encoder", input_size=4, hidden_size=HIDDEN),
        grurt.Linear(name="scores", input_size=HIDDEN, output_size=SYMBOLS),
        rng=rng,
        inputs=[grurt.TokenInput("symbol", SYMBOLS)],
    )
    with pytest.raises(ModelError, match="expected a decoder that attends to a memory, got one without contexts"):
        grurt.Translator(encoder(), plain, attention="scores")


def test_an_encoder_that_needs_contexts_is_refused(decoder: grurt.Model) -> None:
    with pytest.raises(StreamingError, match=r"Translator: its streams are given contexts \[memory\], which none can"):
        grurt.Translator(decoder, decoder)


def test_generate_takes_a_context(decoder: grurt.Model) -> None:
    memory = encoder().run(SOURCES[2])
    tokens = decoder.generate([1], 10, temperature=0, stop=0, context={"memory": memory})
    ((_, expected, _),) = searched(memory, np.zeros((1, 1, HIDDEN), np.float32), 1, 10)
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
    with pytest.raises(InputShapeError, match=r"sources\[1\]: .* expected shape \(1 to 12, 6\), got \(13, 6\)"):
        translator.batch([SOURCES[0], np.zeros(MOST + 1, int)], start=1, stop=0)
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
