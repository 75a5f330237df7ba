"""Texts and tokens: how texts are taken apart, what files hold of it, and the verbs that take texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import msgspec
import numpy as np
import pytest
from grurt_files import assert_equal
from paths import DATA

import grurt
from grurt.converters import convert, read_vocabulary
from grurt.errors import (
    ConversionError,
    GrurtError,
    InputShapeError,
    InputTypeError,
    InputValueError,
    ModelError,
    ModelFileError,
)
from grurt.loading import read
from grurt.network.farmhash import fingerprint
from grurt.network.versions import file_version

WORDS = grurt.Vocabulary(
    tokens=("", "[UNK]", "a", "good", "bad", "film", "[START]", "[END]"),
    lowercase=True,
    removed="!.",
    unknown=1,
    padding=0,
    start=6,
    end=7,
)
LETTERS = grurt.Vocabulary(tokens=tuple(".abcdefgh "), split="characters", end=0)


def model(vocabulary: grurt.Vocabulary | None = WORDS, size: int = 10) -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=size, size=4),
        grurt.GRU(name="gru", input_size=4, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=size),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("tokens", size)],
        vocabularies={} if vocabulary is None else {"tokens": vocabulary},
    )


def test_words() -> None:
    assert WORDS.encode("A good,  GOOD film!").tolist() == [2, 1, 3, 5]
    assert WORDS.encode("bad.", start=True, end=True).tolist() == [6, 4, 7]
    assert WORDS.encode("").tolist() == []
    assert WORDS.decode([6, 2, 3, 1, 7, 0, 0]) == "a good [UNK]"


def test_characters() -> None:
    assert LETTERS.encode("bad").tolist() == [2, 1, 4]
    assert LETTERS.decode([2, 1, 4, 9, 1, 0]) == "bad a"
    with pytest.raises(InputValueError, match="text: expected what is in the vocabulary, got 'z'"):
        LETTERS.encode("faze")
    with pytest.raises(InputValueError, match=r"text: expected token ids in \[0, 10\), got 10"):
        LETTERS.decode([1, 10])


def test_only_what_is_said_is_done_to_words() -> None:
    tokens = ("stra\u00dfe", "\u00c4rger", "\u00e4rger", "a\u00a0b", "c\x1cd", "e")
    everywhere = grurt.Vocabulary(tokens=tokens, lowercase=True, unknown=5)
    ascii_only = grurt.Vocabulary(tokens=tokens, lowercase="ascii", split="ascii_words", unknown=5)
    text = "STRA\u00dfE \u00c4RGER\va\u00a0b\fc\x1cd"
    assert everywhere.encode(text).tolist() == [0, 2, 5, 5, 5, 5]
    assert ascii_only.encode(text).tolist() == [0, 1, 3, 4]


def test_texts_are_sent_to_buckets_as_tensorflow_does() -> None:
    stored = json.loads((DATA / "texts" / "farmhash.json").read_text())
    assert {len(text) for text, _ in stored["hashes"]} == set(range(200))
    for text, bucket in stored["hashes"]:
        assert fingerprint(text.encode()) % stored["buckets"] == bucket


def test_what_is_unknown_may_have_several_tokens() -> None:
    several = grurt.Vocabulary(tokens=("", "[UNK]", "[UNK]", "[UNK]", "a"), unknown=1, buckets=3, padding=0)
    several.check("here")
    tokens = several.encode("a b c d e [UNK] a").tolist()
    assert tokens == [4, *(1 + fingerprint(word.encode()) % 3 for word in ("b", "c", "d", "e", "[UNK]")), 4]
    assert len(set(tokens[1:-1])) > 1
    assert several.decode([1, 2, 3, 4, 0]) == "[UNK] [UNK] [UNK] a"


def test_whole_texts_have_one_length() -> None:
    padded = msgspec.structs.replace(WORDS, length=4)
    assert padded.encode("good").tolist() == [3, 0, 0, 0]
    assert padded.encode("a a a a good").tolist() == [2, 2, 2, 2]
    assert padded.encode("a a a a good", start=True, end=True).tolist() == [6, 2, 2, 7]
    assert padded.encode("", start=True, end=True).tolist() == [6, 7, 0, 0]
    assert padded.encode_part("a a a a good").tolist() == [2, 2, 2, 2, 3]
    short = msgspec.structs.replace(WORDS, length=1)
    assert short.encode("good", start=True, end=True).tolist() == [6]


def test_texts_that_are_taken_apart_already() -> None:
    assert WORDS.encode(["good", "Good", "bad!", ""]).tolist() == [3, 1, 1, 0]
    alone = grurt.Vocabulary(tokens=("a b", "c", ""), split="none")
    assert alone.encode("a b").tolist() == [0]
    assert alone.encode(["c", "", "a b"]).tolist() == [1, 2, 0]
    assert alone.decode([0, 1]) == "a b c"
    for nothing in (3, None, [1, 2], b"a"):
        with pytest.raises(InputTypeError, match="text: expected a text, or a sequence of them, got "):
            WORDS.encode(nothing)  # type: ignore[arg-type]


def test_files_keep_it(tmp_path: Path) -> None:
    own = model()
    own.save(tmp_path / "model.grurt")
    found = grurt.load(tmp_path / "model.grurt")
    assert_equal(found, own)
    assert found.vocabularies == {"tokens": WORDS}
    assert found.vocabulary is found.vocabularies["tokens"]
    assert found.fingerprint == model(None).fingerprint
    assert file_version(own.layers, own.inputs, own.signature) == 1


def test_models_without_one_are_written_as_before(tmp_path: Path) -> None:
    model(None).save(tmp_path / "model.grurt")
    assert b"vocabular" not in (tmp_path / "model.grurt").read_bytes().replace(b"vocabulary_size", b"")
    assert read(tmp_path / "model.grurt").vocabularies == {}


def test_a_file_of_version_1_has_none(tmp_path: Path) -> None:
    from grurt.container.header import decode_header
    from grurt.container.reading import decode
    from grurt.container.writing import container, encode

    content = encode(model())
    length = int.from_bytes(content[:8], "little")
    description = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["grurt"])
    assert decode_header(json.dumps(description)).version == 2
    weights = {f"weights.{name}": array for name, array in model().weights.items()}
    with pytest.raises(ModelFileError, match="format version 1 does not have vocabularies"):
        decode(container(json.dumps(description | {"version": 1}), weights))


def test_what_changes_keeps_it() -> None:
    assert model().quantize("int8").vocabularies == {"tokens": WORDS}
    assert model().replaced(source=grurt.Source(format="other")).vocabulary == WORDS


def test_verbs_take_texts() -> None:
    own = model()
    tokens = WORDS.encode("a good film")
    np.testing.assert_array_equal(own.run_text("A good film."), own.run(tokens))
    np.testing.assert_array_equal(own.run_text("bad", start=True, end=True), own.run(np.array([6, 4, 7])))
    stream, other = own.stream(), own.stream()
    np.testing.assert_array_equal(stream.step("good"), other.step(3))
    np.testing.assert_array_equal(stream.run("a film"), other.run(np.array([2, 5])))
    assert stream.snapshot() == other.snapshot()
    with pytest.raises(InputShapeError, match="expected a text of one token, got 2: run takes several"):
        stream.step("good film")
    with pytest.raises(InputShapeError):
        own.run_text("")


def test_generators_take_texts_and_give_them() -> None:
    own = model(LETTERS)
    tokens = own.generate("ab", 40, seed=4)
    np.testing.assert_array_equal(tokens, own.generate([1, 2], 40, seed=4))
    text = own.generate_text("ab", 40, seed=4)
    end = np.flatnonzero(tokens == 0)
    assert text == LETTERS.decode(tokens[: end[0]] if end.size else tokens)
    assert own.generate_text("ab", 40, seed=4, stop=3) == LETTERS.decode(own.generate([1, 2], 40, seed=4, stop=3))


def test_a_text_is_generated_behind_the_start_of_texts() -> None:
    own = model(WORDS, 8)
    for prompt, tokens in (("", [6]), ("good film", [6, 3, 5])):
        expected = own.generate(tokens, 20, seed=4, stop=7)
        assert own.generate_text(prompt, 20, seed=4) == WORDS.decode(expected)
    with pytest.raises(InputShapeError, match="expected at least 1 token, got 0"):
        model(LETTERS).generate_text("", 20)


def test_translators_take_texts_and_give_them() -> None:
    encoder = models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=10, size=4),
        grurt.GRU(name="encoder", input_size=4, hidden_size=12),
        rng=np.random.default_rng(1),
        inputs=[grurt.TokenInput("letters", 10)],
        vocabularies={"letters": LETTERS},
    )
    translator = grurt.Translator(encoder, model(WORDS, 8))
    found = translator("bad", max_tokens=9)
    expected = translator([2, 1, 4], start=6, stop=7, max_tokens=9)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert found.text == WORDS.decode(found.tokens.tolist())
    plain = grurt.Translator(encoder, model(None))
    assert plain("bad", start=1, max_tokens=3).text is None
    with pytest.raises(GrurtError, match="start: expected the token that the decoder reads first, got none"):
        plain("bad")


@pytest.mark.parametrize(
    ("vocabularies", "message"),
    [
        ({"x": WORDS}, "vocabulary of 'x': expected an input of tokens, got none of that name"),
        ({"tokens": grurt.Vocabulary(tokens=())}, "vocabulary of 'tokens': expected at least 1 token, got none"),
        (
            {"tokens": grurt.Vocabulary(tokens=("a",) * 11)},
            "vocabulary of 'tokens': expected at most 10 tokens, got 11",
        ),
        ({"tokens": grurt.Vocabulary(tokens=("a", "b", "a"))}, "expected different tokens, got 'a' twice"),
        ({"tokens": grurt.Vocabulary(tokens=("a" * 1001,))}, "expected tokens of at most 1000 characters, got 'aaa"),
        ({"tokens": grurt.Vocabulary(tokens=("a",), end=1)}, "end: expected a token id below 1, got 1"),
        ({"tokens": grurt.Vocabulary(tokens=("a",), start=-1)}, "start"),
        ({"tokens": grurt.Vocabulary(tokens=("a",), length=0, padding=0)}, r"length must be in \[1, 1048576\], got 0"),
        ({"tokens": grurt.Vocabulary(tokens=("a",), length=3)}, "length: expected a token of padding, which fills"),
        (
            {"tokens": grurt.Vocabulary(tokens=("a",), split="tokenizer")},
            "expected a tokenizer where split is 'tokenize",
        ),
        (
            {"tokens": grurt.Vocabulary(tokens=("a",), tokenizer="{}")},
            "expected a tokenizer where split is 'tokenizer'",
        ),
        (
            {"tokens": grurt.Vocabulary(tokens=("a",), split="tokenizer", tokenizer="{}", unknown=0)},
            "expected no lowercase, removed or unknown beside a tokenizer, which says it",
        ),
        (
            {"tokens": grurt.Vocabulary(tokens=("a",), split="wordpiece", lowercase="ascii")},
            "expected all letters of word pieces to be made small, or none, got 'ascii'",
        ),
        (
            {"tokens": grurt.Vocabulary(tokens=("a", "b"), unknown=1, buckets=2)},
            "buckets: expected 2 tokens from that of what is unknown on, got less",
        ),
        ({"tokens": grurt.Vocabulary(tokens=("a",), buckets=0)}, r"buckets must be in \[1, 1048576\], got 0"),
        ({"tokens": "abc"}, "vocabularies"),
    ],
)
def test_vocabularies_that_do_not_fit(vocabularies: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(None).replaced(vocabularies=vocabularies)


def test_models_without_a_vocabulary_take_no_texts() -> None:
    own = model(None)
    for verb in (lambda: own.run_text("a"), lambda: own.generate("a", 5), lambda: own.generate_text("a", 5)):
        with pytest.raises(ModelError, match="expected a model with one vocabulary, got 0: `grurt vocabulary`, or"):
            verb()


FILES = {
    "vocab.txt": "\n[UNK]\ngood\nbad\n",
    "windows.txt": "\r\n[UNK]\r\ngood\r\nbad\r\n",
    "list.json": json.dumps(["", "[UNK]", "good", "bad"]),
    "numbers.json": json.dumps({"good": 2, "bad": 3, "": 0, "[UNK]": 1}),
    "itos.json": json.dumps({"itos": ["", "[UNK]", "good", "bad"]}),
    "stoi.json": json.dumps({"stoi": {"": 0, "[UNK]": 1, "good": 2, "bad": 3}}),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_vocabularies(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name].encode())
    found = read_vocabulary(tmp_path / name, unknown="[UNK]", padding="", lowercase=True)
    assert found == grurt.Vocabulary(tokens=("", "[UNK]", "good", "bad"), unknown=1, padding=0, lowercase=True)


def test_files_of_keras_models() -> None:
    found = read_vocabulary(DATA / "texts" / "padded.keras")
    assert found == convert(DATA / "texts" / "padded.keras", reference=False).vocabulary
    letters = read_vocabulary(DATA / "texts" / "lookup.keras", split="characters", length=3)
    assert letters.encode("a").tolist() == [2, 0, 0]
    assert read_vocabulary(DATA / "texts" / "nested.keras").split == "characters"
    with pytest.raises(ConversionError, match="expected one TextVectorization or StringLookup in the model, got 0"):
        read_vocabulary(DATA / "keras" / "k3_vectors.keras")


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", b"\xff\xfe", {}, "a.txt: expected a text in UTF-8, a token in each line, got invalid start byte"),
        ("a.json", b"[1", {}, "a.json: expected JSON, got: "),
        ("a.json", b"[1, 2]", {}, "expected a list of tokens, or an object of their numbers, got something else"),
        ("a.json", b'{"a": 0, "b": 2}', {}, "expected each number from 0 to 1 once, got others"),
        ("a.txt", b"a\nb\n", {"end": "z"}, "a.txt: end: expected one of its tokens, got 'z'"),
        ("a.txt", b"a\nb\na\n", {}, "a.txt: vocabulary: expected different tokens, got 'a' twice"),
        ("a.txt", b"", {}, "a.txt: vocabulary: expected at least 1 token, got none"),
        ("missing.txt", None, {}, "missing.txt: expected a file that can be read"),
    ],
)
def test_files_that_are_none(
    name: str, content: bytes | None, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        read_vocabulary(tmp_path / name, **options)
