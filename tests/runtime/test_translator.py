"""Encoders and decoders as one function: against beam search in float64, and against all sequences that there are."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import encoders
import models
import numpy as np
import pytest

import grurt
from grurt.errors import GrurtError, InputValueError, ModelError

HIDDEN = 12
SYMBOLS = 15
SOURCES = [np.random.default_rng(row).integers(0, 20, 3 + row) for row in range(8)]


def encoder(seed: int = 0, **options: Any) -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="letters", vocabulary_size=20, size=5),
        grurt.GRU(name="encoder", input_size=5, hidden_size=HIDDEN),
        rng=np.random.default_rng(seed),
        inputs=[grurt.TokenInput("source", 20)],
        **options,
    )


def decoder(size: int = SYMBOLS, seed: int = 1, *last: Any) -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="symbols", vocabulary_size=size, size=5),
        grurt.GRU(name="decoder", input_size=5, hidden_size=HIDDEN),
        grurt.Linear(name="scores", input_size=HIDDEN, output_size=size),
        *last,
        rng=np.random.default_rng(seed),
        inputs=[grurt.TokenInput("symbol", size)],
    )


def log_probabilities(model: grurt.Model, state: Any, tokens: list[int]) -> Any:
    """Return the logarithms of probabilities behind tokens, in float64 of the engine's scores."""
    stream = model.stream()
    stream.state = {"decoder": state}
    scores = stream.run(np.array(tokens))[-1].astype(np.float64)
    return scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())


def searched(
    model: grurt.Model, state: Any, start: int, stop: set[int], beam: int, penalty: float, most: int
) -> list[tuple[float, list[int]]]:
    """Return the best sequences, as the docstring of `Translator` has it."""
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for step in range(most):
        ways = [
            (score + float(found), row, token)
            for row, (score, tokens) in enumerate(alive)
            for token, found in enumerate(log_probabilities(model, state, [start, *tokens]))
        ]
        ways.sort(key=lambda way: (-way[0], way[1], way[2]))
        further: list[tuple[float, list[int]]] = []
        for rank, (score, row, token) in enumerate(ways[: 2 * beam]):
            if len(further) == beam:
                break
            tokens = [*alive[row][1], token]
            if token in stop:
                ended += [(score / (step + 1) ** penalty, tokens)] if rank < beam else []
            else:
                further.append((score, tokens))
                ended += [(score / most**penalty, tokens)] if step + 1 == most else []
        ended = sorted(ended, key=lambda each: -each[0])[:beam]
        alive = further
        if not alive or (len(ended) == beam and ended[-1][0] >= alive[0][0] / (step + 1) ** penalty):
            break
    return ended


@pytest.mark.parametrize("beam", [1, 2, 4, 9])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 0.6])
def test_sequences_are_those_of_a_search_in_float64(beam: int, penalty: float) -> None:
    first, second = encoder(), decoder()
    translator = grurt.Translator(first, second)
    for source in SOURCES:
        state = first.run(source)[-1]
        expected = searched(second, state, 3, {0, 7}, beam, penalty, 12)
        found = translator(source, start=3, stop=(0, 7), beam=beam, length_penalty=penalty, max_tokens=12, n_best=beam)
        assert [each.tokens.tolist() for each in found] == [tokens for _, tokens in expected]
        np.testing.assert_allclose([each.score for each in found], [score for score, _ in expected], atol=2e-6)
        best = translator(source, start=3, stop=(0, 7), beam=beam, length_penalty=penalty, max_tokens=12)
        assert best.tokens.tolist() == found[0].tokens.tolist()


def test_with_beams_for_everything_the_best_of_all_sequences_is_found() -> None:
    first, second = encoder(), decoder(4)
    translator = grurt.Translator(first, second)
    for source in SOURCES[:3]:
        state = first.run(source)[-1]
        every = []
        for tokens in itertools.product(range(4), repeat=4):
            read, score = [2], 0.0
            for token in tokens:
                score += float(log_probabilities(second, state, read)[token])
                read.append(token)
            every.append((-score, list(tokens)))
        found = translator(source, start=2, beam=256, length_penalty=0, max_tokens=4, n_best=5)
        assert [each.tokens.tolist() for each in found] == [tokens for _, tokens in sorted(every)[:5]]


def test_one_beam_is_greedy_decoding() -> None:
    first, second = encoder(), decoder()
    for source in SOURCES:
        stream = second.stream()
        stream.state = {"decoder": first.run(source)[-1]}
        (expected,) = stream.generate([3], 30, temperature=0, stop=0, block_size=30)
        found = grurt.Translator(first, second)(source, start=3, stop=0, max_tokens=30)
        np.testing.assert_array_equal(found.tokens, expected)


def test_probabilities_are_scores_too() -> None:
    softmax = grurt.Activation(name="softmax", function=grurt.Softmax())
    plain, of_probabilities = (grurt.Translator(encoder(), decoder(SYMBOLS, 1, *last)) for last in ((), (softmax,)))
    for source in SOURCES:
        one, other = (each(source, start=3, stop=0, beam=3, max_tokens=9) for each in (plain, of_probabilities))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        assert one.score == pytest.approx(other.score, abs=2e-6)


def test_several_start_tokens_and_tokens_that_are_allowed() -> None:
    first, second = encoder(), decoder()
    allowed = np.arange(SYMBOLS) % 2 == 0
    found = grurt.Translator(first, second)(SOURCES[0], start=[3, 5, 1], beam=3, max_tokens=9, allowed=allowed)
    assert (found.tokens % 2 == 0).all()
    stream = second.stream()
    stream.state = {"decoder": first.run(SOURCES[0])[-1]}
    (expected,) = stream.generate([3, 5, 1], 9, temperature=0, block_size=9, allowed=allowed)
    greedy = grurt.Translator(first, second)(SOURCES[0], start=[3, 5, 1], max_tokens=9, allowed=allowed)
    np.testing.assert_array_equal(greedy.tokens, expected)


def test_a_model_of_two_stages() -> None:
    """A bidirectional encoder, its context beside every token, and a bridge."""
    model = encoders.encoder_decoder(np.random.default_rng(3))
    source = np.random.default_rng(4).normal(size=(7, 5)).astype(np.float32)
    translator = grurt.Translator(model)
    found = translator(source, start=2, stop=0, beam=1, max_tokens=10)
    tokens = [2]
    for token in found.tokens:
        answer = model.run({"source": source[np.newaxis], "target": np.array([tokens])})["y"][0, -1]
        assert int(answer.argmax()) == token
        tokens.append(int(token))
    wide = translator(source, start=2, stop=0, beam=6, max_tokens=10)
    assert wide.score >= found.score


def test_states_and_outputs_by_name() -> None:
    """A stack of two GRUs, whose states are those of the encoder's."""
    rng = np.random.default_rng(6)
    first = models.layer_model(
        grurt.GRU(name="low", input_size=3, hidden_size=4),
        grurt.GRU(name="high", input_size=4, hidden_size=6),
        grurt.TimePooling(name="mean", size=6, operation="mean"),
        rng=rng,
        outputs=[grurt.Output("mean", "mean")],
    )
    second = models.layer_model(
        grurt.Embedding(name="embedding", inputs=("token",), vocabulary_size=8, size=5),
        grurt.Concat(name="fed", inputs=("embedding", "summary")),
        grurt.GRU(name="low", input_size=11, hidden_size=4),
        grurt.GRU(name="top", input_size=4, hidden_size=6),
        grurt.Linear(name="fc", input_size=6, output_size=8),
        rng=rng,
        inputs=[grurt.TokenInput("token", 8), grurt.Input("summary", 6)],
    )
    translator = grurt.Translator(first, second, states={"low": "low", "top": "high"}, inputs={"summary": "mean"})
    source = rng.normal(size=(5, 3)).astype(np.float32)
    encoded = first.stream()
    summary = encoded.run(source)[-1]
    stream = second.stream()
    stream.state = {"low": encoded.state["low"], "top": encoded.state["high"]}
    (expected,) = stream.generate([1], 9, temperature=0, block_size=9, inputs={"summary": summary})
    np.testing.assert_array_equal(translator(source, start=1, max_tokens=9).tokens, expected)


def test_threads_share_a_translator() -> None:
    translator = grurt.Translator(encoder(), decoder())
    options: dict[str, Any] = {"start": 3, "stop": 0, "beam": 4, "max_tokens": 40}
    expected = [translator(source, **options) for source in SOURCES]
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda source: translator(source, **options), SOURCES * 5)]
    for one, other in zip(expected * 5, found, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.score == other.score


def test_scores_of_nothing() -> None:
    infinite = [
        grurt.Activation(name="zero", function=grurt.Clip(minimum=0.0, maximum=0.0)),
        grurt.Activation(name="log", function=grurt.Log()),
    ]
    model = decoder(SYMBOLS, 1, *infinite)
    translator = grurt.Translator(encoder(), model)
    with pytest.raises(InputValueError, match="number 0, got scores that are all NaN, minus infinity or not allowed"):
        translator(SOURCES[0], start=1, beam=2)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"source": []}, "expected at least 1 timestep|expected token ids"),
    ({"source": np.zeros((2, 2), int)}, r"Translator: source: expected shape \(n,\), got \(2, 2\)"),
    ({"source": {"source": [1]}}, "Translator: source: expected token ids of an integer dtype, got dtype object"),
    ({"source": [20]}, r"expected a token id in \[0, 20\), got 20"),
    ({"start": []}, "start: expected at least 1 token, got 0"),
    ({"start": 15}, r"start\[0\]: expected a token id in \[0, 15\), got 15"),
    ({"beam": 0}, "beam: expected an integer of at least 1, got 0"),
    ({"beam": 5000}, "beam: expected at most 1024, got 5000"),
    ({"beam": 2, "n_best": 3}, "n_best: expected at most 2, as there are beams, got 3"),
    ({"max_tokens": 0}, "max_tokens: expected an integer of at least 1, got 0"),
    ({"length_penalty": float("inf")}, "length_penalty: expected a number that is finite, got inf"),
    ({"allowed": np.zeros(15, bool)}, "allowed: expected at least one token that is allowed, got none"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(changes)[:40] for changes, _ in BAD])
def test_what_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GrurtError, match=message):
        grurt.Translator(encoder(), decoder())(**({"source": SOURCES[0], "start": 1} | changes))


WIDE = models.gru_model(5, 13, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ((encoder(),), {}, "expected an encoder and a decoder, or a model of two stages, got one of 1"),
        (
            (encoders.encoder_decoder(np.random.default_rng(3)),),
            {"states": {}},
            "expected no states and inputs: a model",
        ),
        (
            (WIDE, decoder()),
            {},
            r"expected for each of 'decoder' \(12,\) one of the encoder's 'gru0' \(13,\), 'y'",
        ),
        ((WIDE, decoder()), {"states": {"decoder": "y"}}, r"states: 'decoder' has the shape \(12,\), and 'y' \(13,\)"),
        ((encoder(), decoder()), {"states": {"decoder": "z"}}, "of the encoder, got 'decoder': 'z'"),
        ((encoder(), decoder()), {"inputs": {"x": "y"}}, "inputs: expected nothing of the decoder as"),
        ((encoder(), WIDE), {}, "Translator: expected a model with one input of tokens"),
        ((encoder(), encoder()), {"output": "z"}, r"expected output to be one of \['y'\], got 'z'"),
    ],
)
def test_parts_that_do_not_fit(parts: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        grurt.Translator(*parts, **options)


def test_inputs_that_nobody_gives() -> None:
    conditioned = models.layer_model(
        grurt.Embedding(name="embedding", inputs=("token",), vocabulary_size=8, size=5),
        grurt.Concat(name="fed", inputs=("embedding", "a", "b")),
        grurt.GRU(name="decoder", input_size=7, hidden_size=HIDDEN),
        grurt.Linear(name="fc", input_size=HIDDEN, output_size=8),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("token", 8), grurt.Input("a", 1), grurt.Input("b", 1)],
    )
    two = models.layer_model(
        grurt.GRU(name="decoder", input_size=2, hidden_size=HIDDEN),
        grurt.LastStep(name="end"),
        grurt.Slice(name="a", start=0, stop=1),
        rng=np.random.default_rng(0),
        outputs=[grurt.Output("a", "a"), grurt.Output("end", "end")],
    )
    with pytest.raises(ModelError, match=r"inputs: expected all of 'a' \(1,\), 'b' \(1,\), got \[a\]"):
        grurt.Translator(two, conditioned, inputs={"a": "a"})
    translator = grurt.Translator(two, conditioned, inputs={"a": "a", "b": "a"})
    with pytest.raises(GrurtError, match=r"source: expected shape \(n, 2\), got \(2,\)"):
        translator([1.0, 2.0], start=1)
    assert len(translator([[1.0, 2.0]], start=1, max_tokens=5).tokens) == 5


def test_decoders_and_encoders_that_do_not_fit_at_all() -> None:
    backwards = models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=8, size=8),
        grurt.GRU(name="decoder", input_size=8, hidden_size=8, direction="reverse"),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("token", 8)],
    )
    with pytest.raises(ModelError, match="expected a decoder that streams, got one that cannot: layer 'decoder' is a"):
        grurt.Translator(encoder(), backwards)
    two = models.layer_model(
        grurt.Add(name="sum", inputs=("a", "b")),
        rng=np.random.default_rng(0),
        inputs=[grurt.Input("a", 2), grurt.Input("b", 2)],
    )
    with pytest.raises(ModelError, match=r"expected an encoder of one input, got one of \[a, b\]"):
        grurt.Translator(two, decoder())
    with pytest.raises(GrurtError, match="Translator: expected models, got something else"):
        grurt.Translator("encoder.grurt")  # type: ignore[arg-type]
