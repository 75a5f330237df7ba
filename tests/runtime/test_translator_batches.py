"""Translators of many sources together, and such that draw: the bits of one by one, and of a stream that generates."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import GrurtError, InputValueError

HIDDEN, SYMBOLS = 12, 15
RNG = np.random.default_rng(0)
SOURCES = [RNG.integers(0, 20, length) for length in RNG.integers(1, 30, 40)]


def encoder(**options: Any) -> grurt.Model:
    """Return a model that reads letters; from their end, it cannot stream."""
    direction = options.pop("direction", "forward")
    return models.layer_model(
        grurt.Embedding(name="letters", vocabulary_size=20, size=5),
        grurt.GRU(name="encoder", input_size=5, hidden_size=HIDDEN, direction=direction),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("source", 20)],
        **options,
    )


def decoder(*last: Any) -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="symbols", vocabulary_size=SYMBOLS, size=5),
        grurt.GRU(name="decoder", input_size=5, hidden_size=HIDDEN),
        grurt.Linear(name="scores", input_size=HIDDEN, output_size=SYMBOLS),
        *last,
        rng=np.random.default_rng(1),
        inputs=[grurt.TokenInput("symbol", SYMBOLS)],
    )


def conditioned() -> grurt.Translator:
    """Return a translator that is handed states and inputs, of features, by a decoder that reads one-hot vectors."""
    rng = np.random.default_rng(4)
    first = models.layer_model(
        grurt.GRU(name="low", input_size=3, hidden_size=HIDDEN),
        grurt.TimePooling(name="mean", size=HIDDEN, operation="mean"),
        rng=rng,
        outputs=[grurt.Output("mean", "mean"), grurt.Output("low", "low")],
    )
    second = models.layer_model(
        grurt.Concat(name="fed", inputs=("token", "summary")),
        grurt.GRU(name="low", input_size=SYMBOLS + HIDDEN, hidden_size=HIDDEN),
        grurt.Linear(name="fc", input_size=HIDDEN, output_size=SYMBOLS),
        rng=rng,
        inputs=[grurt.Input("summary", HIDDEN), grurt.Input("token", SYMBOLS)],
    )
    return grurt.Translator(first, second, states={"low": "low"}, inputs={"summary": "mean"})


def same(found: Any, expected: Any) -> None:
    """Assert that translations are the same, bit for bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, list):
            same(one, other)
        else:
            assert one.tokens.tolist() == other.tokens.tolist()
            assert one.score == other.score


@pytest.mark.parametrize("options", [{}, {"beam": 3}, {"beam": 4, "n_best": 4, "length_penalty": 0.3}], ids=str)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_answers_are_those_of_one_by_one(direction: str, options: dict[str, Any]) -> None:
    translator = grurt.Translator(encoder(direction=direction), decoder())
    asked = {"start": (3, 1), "stop": (0, 7), "max_tokens": 25} | options
    expected = [translator(source, **asked) for source in SOURCES]
    same(translator.batch(SOURCES, **asked), expected)
    assert translator.batch([], **asked) == []


def test_more_sources_than_go_on_together() -> None:
    translator = grurt.Translator(encoder(), decoder())
    many = [SOURCES[row % len(SOURCES)] for row in range(300)]
    expected = [translator(source, start=3, stop=0, beam=2, max_tokens=12) for source in SOURCES]
    same(translator.batch(many, start=3, stop=0, beam=2, max_tokens=12), [expected[row % 40] for row in range(300)])


@pytest.mark.parametrize("beam", [1, 4])
def test_inputs_and_states_are_those_of_each_source(beam: int) -> None:
    translator = conditioned()
    sources = [np.random.default_rng(row).normal(size=(2 + row % 5, 3)) for row in range(9)]
    options: dict[str, Any] = {"start": [2, 5], "stop": 0, "beam": beam, "max_tokens": 14}
    same(translator.batch(sources, **options), [translator(source, **options) for source in sources])


def test_only_some_tokens_may_be_chosen() -> None:
    translator = grurt.Translator(encoder(), decoder())
    allowed = np.random.default_rng(3).random((SYMBOLS, SYMBOLS)) < 0.4
    options: dict[str, Any] = {"start": 3, "stop": 0, "beam": 3, "allowed": allowed, "max_tokens": 9}
    same(translator.batch(SOURCES[:9], **options), [translator(source, **options) for source in SOURCES[:9]])


@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 0.7}], ids=str)
def test_what_is_drawn_is_what_a_stream_generates(options: dict[str, Any]) -> None:
    first, second = encoder(), decoder()
    translator = grurt.Translator(first, second)
    drawn: dict[str, Any] = {"temperature": 1.7, **options}
    found = translator.batch(SOURCES, start=(3, 1), stop=0, max_tokens=20, seed=5, **drawn)
    for row, source in enumerate(SOURCES):
        stream = second.stream()
        stream.state = {"decoder": first.run(source)[-1]}
        blocks = [*stream.generate([3, 1], 20, seed=5 + row, stop=0, block_size=20, **drawn)]
        assert found[row].tokens.tolist() == blocks[0].tolist()
    same(found[7:8], [translator(SOURCES[7], start=(3, 1), stop=0, max_tokens=20, seed=12, **drawn)])
    assert len({tuple(each.tokens.tolist()) for each in found}) > 30


def test_the_score_of_what_is_drawn_is_that_of_the_model() -> None:
    first, second = encoder(), decoder(grurt.Activation(name="probabilities", function=grurt.Softmax()))
    found = grurt.Translator(first, second)(SOURCES[3], start=3, max_tokens=12, length_penalty=0, temperature=2, seed=9)
    stream = second.stream()
    stream.state = {"decoder": first.run(SOURCES[3])[-1]}
    probabilities = stream.run(np.array([3, *found.tokens[:-1]])).astype(np.float64)
    assert found.score == pytest.approx(np.log(probabilities[np.arange(12), found.tokens]).sum(), abs=1e-5)


def test_seeds_of_their_own() -> None:
    translator = grurt.Translator(encoder(), decoder())
    seeds = [9, 2, 2**63 + 5]
    found = translator.batch(SOURCES[:3], start=3, max_tokens=20, temperature=1, seed=seeds)
    same(
        found,
        [
            translator(source, start=3, max_tokens=20, temperature=1, seed=seed)
            for source, seed in zip(SOURCES, seeds, strict=False)
        ],
    )


def test_sources_may_be_texts() -> None:
    letters = grurt.Vocabulary(tokens=tuple("abcdefghijklmnopqrst"), split="characters")
    translator = grurt.Translator(encoder(vocabularies={"source": letters}), decoder())
    texts = ["hello", "a", "tree"]
    tokens = [letters.encode(text) for text in texts]
    same(translator.batch(texts, start=3), [translator(each, start=3) for each in tokens])


BAD: list[tuple[Any, dict[str, Any], str]] = [
    ("abc", {}, "Translator.batch: expected a list of sources, got 'abc'"),
    ([[1], [20]], {}, r"sources\[1\]\[0\]: expected a token id in \[0, 20\), got 20"),
    ([[1], [0.5]], {}, r"sources\[1\]: expected token ids of an integer dtype"),
    ([np.zeros(0, int)], {}, r"sources\[0\]: expected at least 1 timestep, got an array of shape \(0,\)"),
    ([np.zeros((2, 2), int)], {}, r"sources\[0\]: expected shape \(n,\), got \(2, 2\)"),
    ([[1], [2]], {"seed": [1, 2, 3], "temperature": 1}, "expected seed to be an integer, or one for each of 2 streams"),
    ([[1]], {"beam": 2, "temperature": 0.5}, "temperature: expected 0 with 2 beams, got 0.5"),
    ([[1]], {"temperature": -1}, "temperature: expected a number of at least 0, got -1"),
]


@pytest.mark.parametrize(("sources", "options", "message"), BAD)
def test_what_does_not_fit(sources: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GrurtError, match=message):
        grurt.Translator(encoder(), decoder()).batch(sources, **({"start": 1} | options))


def test_options_that_there_are_not() -> None:
    with pytest.raises(TypeError, match=r"expected some of the options \['start', .* got \[beams\]"):
        grurt.Translator(encoder(), decoder()).batch([[1]], beams=4)  # type: ignore[call-arg]


def test_features_are_finite_numbers() -> None:
    translator = conditioned()
    with pytest.raises(InputValueError, match=r"sources\[1\]\[2, 0\]: expected finite numbers, got nan"):
        translator.batch([np.zeros((2, 3)), [[1, 2, 3], [1, 2, 3], [np.nan, 2, 3]]], start=1)
    with pytest.raises(GrurtError, match=r"Translator: source: expected shape \(n, 3\), got \(3,\)"):
        translator([1.0, 2.0, 3.0], start=1)


def test_which_source_leaves_nothing_to_choose() -> None:
    """Behind some sources, all scores are the same number: NaN."""
    first = models.layer_model(
        grurt.GRU(name="encoder", input_size=1, hidden_size=1),
        rng=np.random.default_rng(0),
    )
    second = models.layer_model(
        grurt.Embedding(name="symbols", vocabulary_size=4, size=1),
        grurt.GRU(name="decoder", input_size=1, hidden_size=1),
        grurt.Activation(name="root", function=grurt.Sqrt()),
        grurt.Linear(name="scores", input_size=1, output_size=4),
        rng=np.random.default_rng(1),
        inputs=[grurt.TokenInput("symbol", 4)],
    )
    translator = grurt.Translator(first, second)
    with pytest.raises(InputValueError, match=r"sources\[[01]\]: expected a token that can be chosen as number 0, got"):
        translator.batch([[[3.0]] * 9, [[-3.0]] * 9], start=1)
