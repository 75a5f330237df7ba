"""Pieces of words: as BERT has them, without a library, and those of the library ``tokenizers``."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import models
import numpy as np
import pytest

import grurt
from grurt.converters import read_vocabulary
from grurt.errors import ConversionError, InputValueError, ModelError
from grurt.network.tokenizer_library import tokenizer_of

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *(*LETTERS, *".,!?'-_$+é中文ß\u03c3\u03c2\u0131ÿABΣ", "the", "un", "play"),
    *(f"##{piece}" for piece in (*LETTERS, *"éß\u03c3\u03c2\u0131文AΣ", "ing", "aff", "able", "ed")),
)
TEXTS = [
    "unaffable PLAYING",
    "The  unaffable!!",
    "\tplayed\nplayed\r\nplayed\u00a0played\u2003played\u3000played",
    "ΑΣ ΣΑΣ İstanbul ß ẞ Élan e\u0301lan",
    "中文字 a中b文c",
    "[CLS] the [SEP] ##ing",
    "control\x00\x1c\x7f\u200b\ufeff\ue000\ufffd \u0378",
    "x" * 100,
    "x" * 101,
    "don't _under_ $5+5 «play»",
    "",
]


def random_texts(count: int) -> list[str]:
    """Return texts of letters with accents, Greek, marks, controls, spaces, ideographs and punctuation."""
    generator = random.Random(1)
    ranges = [range(0x250), range(0x300, 0x330), range(0x370, 0x400), range(0x2000, 0x2070)]
    pool = [chr(code) for part in ranges for code in part] + list("\u3000中文\U00020001\ufffd\ufeff\U0001f600\ue000ẞ")
    return [
        "".join(generator.choice(pool if generator.random() < 0.5 else "abc the ing") for _ in range(20))
        for _ in range(count)
    ]


def wordpiece(lowercase: bool) -> grurt.Vocabulary:
    return grurt.Vocabulary(tokens=PIECES, split="wordpiece", lowercase=lowercase, unknown=1, padding=0)


def test_pieces_of_words() -> None:
    vocabulary = wordpiece(lowercase=True)
    assert list(vocabulary.parts("Unaffable, playing zzé!")) == (
        ["un", "##aff", "##able", ",", "play", "##ing", "z", "##z", "##e", "!"]
    )
    assert vocabulary.decode(vocabulary.encode("unaffable, playing 文中")) == "unaffable , playing 文 中"
    assert vocabulary.encode("play中☃").tolist() == [PIECES.index("play"), PIECES.index("中"), 1]
    strict = grurt.Vocabulary(tokens=PIECES, split="wordpiece")
    with pytest.raises(InputValueError, match="text: expected what is in the vocabulary, got 'a☃'"):
        strict.encode("the a☃")


@pytest.mark.parametrize("lowercase", [True, False])
def test_pieces_of_words_are_those_of_the_library(lowercase: bool) -> None:
    library = pytest.importorskip("tokenizers")
    model = library.models.WordPiece(
        {piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]", max_input_chars_per_word=100
    )
    expected = library.Tokenizer(model)
    expected.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
    expected.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    expected.decoder = library.decoders.WordPiece(cleanup=False)
    vocabulary = wordpiece(lowercase)
    for text in [*TEXTS, *random_texts(1000)]:
        ids = expected.encode(text).ids
        assert vocabulary.encode(text).tolist() == ids, text
        plain = [number for number in ids if number]
        assert vocabulary.decode(plain) == expected.decode(plain, skip_special_tokens=False)


def tokenizer_json() -> str:
    """Return a tokenizer of pairs of bytes, as GPT-2 has them, trained on a few texts."""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the play, playing and played; größer", "a play of the players"], trainer)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    content: str = tokenizer.to_str()
    return content


def test_the_library_takes_texts_apart(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    vocabulary = read_vocabulary(tmp_path / "tokenizer.json", padding="<pad>", end="<end>")
    expected = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected.no_truncation()
    expected.no_padding()
    assert vocabulary.split == "tokenizer"
    assert vocabulary.tokens == tuple(expected.id_to_token(number) for number in range(expected.get_vocab_size()))
    for text in (*TEXTS, *random_texts(50)):
        ids = expected.encode(text, add_special_tokens=False).ids
        assert vocabulary.encode(text).tolist() == ids
        assert vocabulary.decode([*ids, 0]) == expected.decode(ids, skip_special_tokens=False)
        assert [vocabulary.tokens[number] for number in ids] == list(vocabulary.parts(text))
    cut = read_vocabulary(tmp_path / "tokenizer.json", padding="<pad>", end="<end>", length=4)
    assert cut.encode("the players play", end=True).tolist()[-1] == 1
    assert cut.encode("a", end=True).tolist()[1:] == [1, 0, 0]


def test_models_keep_the_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    vocabulary = read_vocabulary(tmp_path / "tokenizer.json", end="<end>")
    size = len(vocabulary.tokens)
    own = models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=size, size=4),
        grurt.GRU(name="gru", input_size=4, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=size),
        rng=np.random.default_rng(0),
        vocabularies={"x": vocabulary},
    )
    own.save(tmp_path / "model.grurt")
    found = grurt.load(tmp_path / "model.grurt")
    tokens = vocabulary.encode("played")
    np.testing.assert_array_equal(found.run_text("played"), own.run(tokens))
    assert found.generate_text("the", 5, seed=2) == vocabulary.decode(
        found.generate(tokens_of(found, "the"), 5, seed=2)
    )
    tokenizer_of.cache_clear()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    without = grurt.load(tmp_path / "model.grurt")
    np.testing.assert_array_equal(without.run(tokens), own.run(tokens))
    with pytest.raises(ModelError, match="its texts are taken apart by the package tokenizers, which is not installed"):
        without.run_text("played")
    with pytest.raises(ConversionError, match=r"which is not installed: `pip install .*tokenizers"):
        read_vocabulary(tmp_path / "tokenizer.json")


def tokens_of(model: grurt.Model, text: str) -> list[int]:
    tokens: list[int] = model.vocabulary.encode(text).tolist()
    return tokens


def test_tokenizers_that_are_none(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"version": "1.0", "model": {"type": "Unheard"}}))
    with pytest.raises(ConversionError, match=r"tokenizer.json: vocabulary: expected a tokenizer.json, got: "):
        read_vocabulary(path)
    with pytest.raises(ModelError, match=r"vocabulary: expected a tokenizer.json, got: "):
        grurt.Vocabulary(tokens=("a",), split="tokenizer", tokenizer="{}").encode("a")
    path.write_text(library.Tokenizer(library.models.WordLevel({"a": 1 << 21}, unk_token="a")).to_str())
    with pytest.raises(ConversionError, match=r"vocabulary: the largest token id must be in \[0, 1048576\]"):
        read_vocabulary(path)


def test_texts_that_a_tokenizer_cannot_take_apart(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    words = library.Tokenizer(library.models.WordLevel({"a": 0, "b": 1}, unk_token="missing"))
    words.pre_tokenizer = library.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    vocabulary = read_vocabulary(tmp_path / "words.json")
    assert vocabulary.encode("b a").tolist() == [1, 0]
    with pytest.raises(InputValueError, match="text: expected what the tokenizer can take apart, got: "):
        vocabulary.encode("b c")
