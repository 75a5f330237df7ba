"""Keras models that read texts: the tokens and answers of Keras, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import archive, edited, entries
from paths import DATA

import grurt
from grurt.converters import convert
from grurt.converters.keras.reference import _as_read, _tokens_of_texts
from grurt.errors import ConversionError, InputValueError, UnsupportedError

TEXTS = DATA / "texts"
FILES = sorted(TEXTS.glob("*.keras"))
TOLERANCE = 2e-6


def load(name: str) -> grurt.Model:
    return convert(TEXTS / f"{name}.keras", reference=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tokens_and_answers_are_those_of_keras(path: Path) -> None:
    model = load(path.stem)
    answers = json.loads(path.with_suffix(".json").read_text())
    assert answers
    for answer in answers:
        assert model.vocabulary.encode(answer["text"]).tolist() == answer["tokens"]
        np.testing.assert_allclose(model.run_text(answer["text"]), answer["answer"], rtol=0, atol=TOLERANCE)


def test_a_stream_reads_parts_of_texts(tmp_path: Path) -> None:
    model = load("open_length")
    model.save(tmp_path / "model.grurt")
    stream = grurt.load(tmp_path / "model.grurt").stream()
    parts = [stream.run("A good, bad"), stream.run(" GOOD! thing")]
    np.testing.assert_array_equal(np.concatenate(parts), model.run_text("A good, bad GOOD thing"))
    padded = load("padded")
    assert len(padded.vocabulary.encode("a good film")) == 8
    assert len(padded.stream().run("a good film")) == 3  # and none of padding
    assert padded.vocabulary.decode(padded.vocabulary.encode("A good, unheard film")) == "a good [UNK] film"


def test_texts_that_were_taken_apart_before_are_one_token_each() -> None:
    model = load("lookup")
    (note,) = model.source.notes
    assert note.startswith(
        "each text of the input 'words' is one token, as Keras is given them: `grurt vocabulary --split"
    )
    stream = model.stream()
    steps = [stream.step(word) for word in ("a", "good", "film")]
    np.testing.assert_array_equal(steps, model.run_text(["a", "good", "film"]))


def test_words_that_the_source_has_no_token_for_are_named() -> None:
    model = load("lookup_without_unknown")
    with pytest.raises(InputValueError, match="text: expected what is in the vocabulary, got 'great'"):
        model.run_text(["a", "great", "film"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_keras_would_be_asked_with_texts_of_the_tokens(path: Path) -> None:
    model = load(path.stem)
    name, vocabulary = next(iter(model.vocabularies.items()))
    sizes = (2, 1) if path.stem == "as_they_are" else (2, 7)
    tokens = _tokens_of_texts(vocabulary, sizes, 7, np.random.default_rng(0))
    assert tokens.shape == (2, sizes[1] if vocabulary.length is None else vocabulary.length)
    texts = _as_read(model, (name, tokens), (None, 1))
    for text, expected in zip(texts, tokens, strict=True):
        whole = text.tolist() if vocabulary.split == "none" else text[0]
        np.testing.assert_array_equal(vocabulary.encode(whole), expected)


def test_without_texts_of_tokens_there_is_nothing_to_ask() -> None:
    unreachable = grurt.Vocabulary(tokens=("A", "B", " "), lowercase=True, unknown=2)
    with pytest.raises(ConversionError, match="no text of a token is read as that token"):
        _tokens_of_texts(unreachable, (2, 3), 3, np.random.default_rng(0))


def setting(**values: Any) -> Callable[[dict[str, Any]], object]:
    """Return a change of arguments of the layer that reads texts."""

    def change(config: dict[str, Any]) -> None:
        kinds = ("TextVectorization", "StringLookup")
        layer = next(item for item in config["config"]["layers"] if item["class_name"] in kinds)
        layer["config"].update(values)

    return change


def inputs_of_shape(*shape: int | None) -> Callable[[dict[str, Any]], object]:
    """Return a change of the shape of the input."""
    return lambda config: config["config"]["layers"][0]["config"].update(batch_shape=[None, *shape])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("padded", setting(standardize={"module": "builtins"}), "standardize=.*, a function of one's own; use one of"),
        ("padded", setting(split="sentences"), "split='sentences', a function of one's own; use one of 'whitespace'"),
        ("padded", setting(ngrams=2), "leave ngrams out: a GRU reads words in their order"),
        ("padded", setting(ragged=True), "save the layer with ragged=False"),
        ("padded", setting(output_mode="tf_idf"), "output_mode='tf_idf', which joins all tokens of a text"),
        ("lookup_one_hot", setting(output_mode="count"), "output_mode='count', which joins all tokens of a text"),
        ("lookup", setting(sparse=True), "sparse=True; use sparse=False"),
        ("lookup", setting(encoding="latin-1"), "encoding=latin-1; use UTF-8"),
        ("lookup", setting(invert=True), "invert=True, which gives texts; leave the layer out: Vocabulary.decode"),
        ("lookup_buckets", setting(salt=[1, 2]), r"salt=\[1, 2\]; use salt=None: SipHash is not known here"),
        ("lookup_one_hot", setting(mask_token=""), "output_mode='one_hot' with a mask_token; use output_mode='int'"),
        ("lookup", inputs_of_shape(), "one text for each sequence, which becomes one token without a timestep"),
        ("as_they_are", inputs_of_shape(), "give the input an axis of timesteps, Input"),
        ("lookup", inputs_of_shape(3, 4), "an input 'words' of texts with 3 axes; texts have one or two"),
        ("lookup", setting(unheard_of=1), "got the argument 'unheard_of', which is not known"),
    ],
)
def test_what_is_refused(name: str, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(edited(tmp_path, f"../texts/{name}", change), reference=False)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("lookup", setting(vocabulary=["a", 1]), "expected a vocabulary that is a list of texts"),
        ("lookup", setting(vocabulary=["a", "b", "c", "a"]), "vocabulary of different tokens, got one twice"),
        ("padded", setting(vocabulary_size=20), "expected a vocabulary of 20 tokens, got 23: does one have a line"),
        ("lookup", setting(num_oov_indices=-1), "expected a number of tokens of what is unknown, got -1"),
        ("lookup", setting(oov_token=3), "expected an oov_token and a mask_token that are texts"),
    ],
)
def test_what_is_damaged(name: str, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(edited(tmp_path, f"../texts/{name}", change), reference=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "got no vocabulary, neither in its configuration nor beside it; save the whole model as .keras"),
        (b"\n[UNK]\n\xff", "expected a vocabulary in UTF-8"),
        (b"\n[UNK]\n\n\na", "does one have a line break in it"),
    ],
)
def test_vocabularies_beside_the_configuration(content: bytes | None, message: str, tmp_path: Path) -> None:
    files = {name: data for name, data in entries(TEXTS / "padded.keras").items() if not name.startswith("assets/")}
    if content is not None:
        files["assets/layers/text_vectorization/vocabulary.txt"] = content
    with pytest.raises(ConversionError, match=message):
        convert(archive(tmp_path, files), reference=False)


def test_tokens_that_nothing_reads(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        copied = json.loads(json.dumps(config["config"]["layers"][:2]).replace('"text', '"other_text'))
        config["config"]["layers"] += copied
        config["config"]["input_layers"] = [["text", 0, 0], ["other_text", 0, 0]]

    path = edited(tmp_path, "../texts/open_length", change)
    with pytest.raises(UnsupportedError, match="the tokens of 'other_text', which no Embedding reads; use one behind"):
        convert(path, reference=False)


def test_texts_that_are_taken_apart_in_two_ways(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layers = config["config"]["layers"]
        other = json.loads(json.dumps(next(item for item in layers if item["class_name"] == "TextVectorization")))
        other["name"] = other["config"]["name"] = "other"
        other["config"]["standardize"] = None
        layers.insert(2, other)

    path = edited(tmp_path, "../texts/open_length", change)
    with pytest.raises(UnsupportedError, match="the texts 'text', which another layer takes apart in another way"):
        convert(path, reference=False)
