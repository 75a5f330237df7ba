"""Vectors of words, out of files of GloVe and word2vec, in an Embedding."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.converters import fill_embedding
from grurt.converters.vectors import _CHUNK
from grurt.errors import ConversionError, ModelError

TOKENS = ("", "[UNK]", "good", "bad", "größer", ". . .", "unheard")
SIZE = 3
VECTORS: Mapping[str, tuple[float, ...]] = {
    "the": (0.25, -0.5, 1e-3),
    "good": (1.5, -2.25, 0.1),
    ".": (9, 9, 9),
    "größer": (1 / 3, 0.0, -7e8),
    "Bad": (5, 5, 5),
    ". . .": (0.75, 0.5, -1),
    "bad": (0.125, 1e-12, 2),
}
LATER = {"good": (8, 8, 8)}
FOUND = ("good", "bad", "größer", ". . .")
WITH_SPACES = ". . ."
"""What a text may hold, and a binary file, in which a space ends a word, may not."""


def model(size: int = SIZE, vocabulary: grurt.Vocabulary | None = None) -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=9, size=size),
        grurt.GRU(name="gru", input_size=size, hidden_size=4),
        rng=np.random.default_rng(0),
        vocabularies={"x": vocabulary or grurt.Vocabulary(tokens=TOKENS, unknown=1, padding=0)},
    )


def text(header: bool = False, end: str = "\n") -> bytes:
    lines = [f"{len(VECTORS) + 1} {SIZE}"] if header else []
    both = [*VECTORS.items(), *LATER.items()]
    lines += [f"{word} {' '.join(map(repr, vector))}" for word, vector in both]
    return (end.join(lines) + end).encode()


def binary(end: bytes = b"\n") -> bytes:
    both = [each for each in (*VECTORS.items(), *LATER.items()) if each[0] != WITH_SPACES]
    records = [word.encode() + b" " + np.array(vector, "<f4").tobytes() + end for word, vector in both]
    return f"{len(both)} {SIZE}\n".encode() + b"".join(records)


FILES = {
    "glove.txt": text(),
    "windows.txt": text(end="\r\n"),
    "trailing.vec": text(header=True, end=" \n"),
    "word2vec.txt": text(header=True),
    "word2vec.bin": binary(),
    "gensim.bin": binary(b""),
    "glove.txt.gz": gzip.compress(text()),
    "word2vec.bin.gz": gzip.compress(binary()),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_of_tokens_are_the_vectors_of_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    own = model()
    told: list[float] = []
    filled = fill_embedding(own, tmp_path / name, progress=told.append)
    found = [word for word in FOUND if ".bin" not in name or word != WITH_SPACES]
    assert (filled.layer, filled.found) == ("embedding", len(found))
    assert filled.missing == tuple(word for word in TOKENS if word and word not in found)
    expected = np.array(own.weights["embedding.weight"])
    for word in found:
        expected[TOKENS.index(word)] = np.array(VECTORS[word], np.float32)
    np.testing.assert_array_equal(filled.model.weights["embedding.weight"], expected)
    np.testing.assert_array_equal(filled.model.weights["gru.weight_hh"], own.weights["gru.weight_hh"])
    assert filled.model.vocabularies == own.vocabularies
    assert filled.model.reference_run is None
    assert not np.array_equal(filled.model.run_text("good bad"), own.run_text("good bad"))
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
@pytest.mark.parametrize("form", ["text", "binary"])
def test_files_are_read_piece_by_piece(form: str, pack: Any, tmp_path: Path) -> None:
    count, size = 3 * _CHUNK // 400, 100
    vectors = np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)
    if form == "binary":
        rows = [f"w{i} ".encode() + row.tobytes() for i, row in enumerate(vectors)]
        content = f"{count} {size}\n".encode() + b"".join(rows)
    else:
        padding = "0 " * (size - 1)
        content = "".join(f"w{i} {padding}{row[0]!s}\n" for i, row in enumerate(vectors)).encode()
    (tmp_path / "vectors").write_bytes(pack(content))
    words = ("w0", "w1", f"w{count // 2}", f"w{count - 1}", "missing")
    own = model(size, grurt.Vocabulary(tokens=words))
    told: list[float] = []
    filled = fill_embedding(own, tmp_path / "vectors", progress=told.append)
    rows_of = [0, 1, count // 2, count - 1]
    found = filled.model.weights["embedding.weight"][:4]
    np.testing.assert_array_equal(found[:, -1] if form == "text" else found, _of(vectors[rows_of], form))
    assert filled.missing == ("missing",)
    assert len(told) > 2
    assert told[-1] == 1


def _of(vectors: np.ndarray, form: str) -> np.ndarray:
    return vectors[:, 0] if form == "text" else vectors


def test_the_format_may_be_said(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(binary())
    assert fill_embedding(model(), path, file_format="binary").found == 3
    path.write_bytes(text(header=True))
    assert fill_embedding(model(), path, file_format="text").found == 4
    with pytest.raises(ConversionError, match="file_format: expected one of text, binary, got 'glove'"):
        fill_embedding(model(), path, file_format="glove")  # type: ignore[arg-type]
    path.write_bytes(text())
    with pytest.raises(ConversionError, match="expected a first line of two numbers, as word2vec's binary files have"):
        fill_embedding(model(), path, file_format="binary")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "v.txt: expected vectors of words, got an empty file"),
        (b"PK\x03\x04rest", "v.txt: expected vectors of words, got a zip archive: unpack it"),
        (b"good 1 2\n", "expected vectors of 3 numbers, as the layer 'embedding' has, got vectors of 2"),
        (b"7 50\ngood 1 2 3\n", "expected vectors of 3 numbers, as the layer 'embedding' has, got vectors of 50"),
        (b"the 1 2 3\ngood 1 2\n", "vector 2: expected a word and 3 numbers, got 'good 1 2'"),
        (b"the 1 2 3\ngood 1 2 x\n", "vector 2: expected a word and 3 numbers, got 'good 1 2 x'"),
        (b"the 1 2 3\ngood 1 nan 3\n", "expected finite numbers, got others in the vector of 'good'"),
        (b"the 1 2 3\ngood 1 1e39 3\n", "expected finite numbers, got others in the vector of 'good'"),
        (b"the 1 2 3\n" + b"x" * 5000, "expected lines of at most 4,192 bytes, got a longer one"),
        (binary()[:-6], "expected 7 vectors of 3 numbers, got an end in vector 7"),
        (binary().replace(b"7 3", b"8 3"), "expected 8 vectors of 3 numbers, got an end in vector 8"),
        (b"1 3\n" + b"\xff" * 9000, "expected 1 vectors of 3 numbers, got an end in vector 1"),
        (gzip.compress(text())[:-20], "expected vectors that gzip has packed whole, got damaged data: "),
    ],
)
def test_files_that_do_not_fit(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(content)
    vocabulary = grurt.Vocabulary(tokens=("good", "missing"))
    with pytest.raises(ConversionError, match=re.escape(message)):
        fill_embedding(model(vocabulary=vocabulary), tmp_path / "v.txt")


def test_models_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(text())
    with pytest.raises(ConversionError, match=r"missing.txt: expected a file that can be read"):
        fill_embedding(model(), tmp_path / "missing.txt")
    with pytest.raises(
        ConversionError, match=r"layer: expected the name of an Embedding, one of \[embedding\], got 'x'"
    ):
        fill_embedding(model(), path, layer="x")
    with pytest.raises(
        ConversionError, match="layer 'embedding': expected weights in float32, got int8: fill the model"
    ):
        fill_embedding(model().quantize("int8"), path)
    with pytest.raises(ModelError, match="expected a model with one vocabulary, got 0"):
        fill_embedding(model().replaced(vocabularies={}), path)
