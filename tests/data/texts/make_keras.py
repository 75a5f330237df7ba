"""Writes the files in this folder, of models that read texts, with random weights, texts and the answers of Keras.

Run it with Keras 3.15 and tf_keras 2.21 on TensorFlow 2.21, which alone has texts: ``python make_keras.py [folder]``.
Every ``.keras`` file gets a ``.json`` of its name: texts, the tokens that Keras's layer makes of each, and the model's
answers, each text by itself.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import tf_keras
from keras import Input, Model, Sequential
from keras import layers as L  # noqa: N812

REVIEWS = [
    "A good film, a GOOD one!",
    "Not bad at all; rather good...",
    "bad. bad? BAD!",
    "Straße Ärger ärger naïve",
    'it\'s a well-known trick_with [brackets] {and} ~tilde^ `quote` "double"',
]
TEXTS = [
    *REVIEWS,
    "one\ttwo\u00a0three\x1cfour\u2003five",
    "unheard of words",
    "  leading and trailing  ",
    "[UNK] a",
    "film " * 12,
    "!",
    "ÄRGER İstanbul",
    "a\nb\u2028c",
]
BUCKETS = (1 << 62) - 57
NETWORKS: dict[str, Callable[[], Any]] = {}


def network(function: Callable[[], Any]) -> Callable[[], Any]:
    NETWORKS[function.__name__] = function
    return function


def behind(vectorizer: Any, *, mask_zero: bool = True) -> Any:
    """Return a classifier behind a layer that takes texts apart."""
    size = vectorizer.vocabulary_size()
    parts = [L.Embedding(size, 4, mask_zero=mask_zero), L.GRU(5), L.Dense(2, activation="softmax")]
    return Sequential([Input((1,), dtype="string", name="text"), vectorizer, *parts])


@network
def padded() -> Any:
    vectorizer = L.TextVectorization(max_tokens=40, output_sequence_length=8)
    vectorizer.adapt(REVIEWS)
    return behind(vectorizer)


@network
def padded_unmasked() -> Any:
    vectorizer = L.TextVectorization(output_sequence_length=8, standardize="lower")
    vectorizer.adapt(REVIEWS)
    return behind(vectorizer, mask_zero=False)


@network
def open_length() -> Any:
    vectorizer = L.TextVectorization(standardize="strip_punctuation", vocabulary=["a", "good", "GOOD", "its", "bad"])
    x = Input((), dtype="string", name="text")
    y = L.GRU(5, return_sequences=True)(L.Embedding(9, 4)(vectorizer(x)))
    return Model(x, L.Dense(3, name="answer")(y))


@network
def characters() -> Any:
    vectorizer = L.TextVectorization(standardize=None, split="character", name="letters")
    vectorizer.adapt(["a good film, Ä ß", "not bad"])
    return behind(vectorizer)


@network
def as_they_are() -> Any:
    vectorizer = L.TextVectorization(standardize=None, split=None)
    vectorizer.adapt(["a", "good", "film", "[UNK] a", "!"])
    return behind(vectorizer)


@network
def lookup() -> Any:
    x = Input((None,), dtype="string", name="words")
    tokens = L.StringLookup(vocabulary=["a", "good", "film", "Not"], mask_token="", oov_token="<oov>")(x)
    y = L.GRU(5, return_sequences=True)(L.Embedding(6, 4, mask_zero=True)(tokens))
    return Model(x, L.Dense(3, name="answer")(y))


@network
def lookup_one_hot() -> Any:
    x = Input((None,), dtype="string", name="words")
    lookup = L.StringLookup(output_mode="one_hot")
    lookup.adapt([["a", "good", "film", "Not", "a"]])
    return Model(x, L.GRU(5)(lookup(x)))


@network
def lookup_without_unknown() -> Any:
    x = Input((None,), dtype="string", name="words")
    lookup = L.StringLookup(num_oov_indices=0, vocabulary=["a", "good", "film"])
    return Model(x, L.GRU(5)(L.Embedding(3, 4)(lookup(x))))


@network
def lookup_buckets() -> Any:
    x = Input((None,), dtype="string", name="words")
    lookup = L.StringLookup(num_oov_indices=3, mask_token="", vocabulary=["a", "good", "film"])
    return Model(x, L.GRU(5)(L.Embedding(7, 4)(lookup(x))))


@network
def without_input() -> Any:
    vectorizer = L.TextVectorization(output_sequence_length=5, vocabulary=["", "[UNK]", "a", "good", "bad"])
    return Sequential([vectorizer, L.Embedding(5, 4, mask_zero=True), L.GRU(3)])


@network
def nested() -> Any:
    letters = L.TextVectorization(split="character", standardize="lower")
    letters.adapt(REVIEWS)
    size = letters.vocabulary_size()
    inner = Sequential([Input((None,), dtype="int64"), L.Embedding(size, 4), L.GRU(5, return_sequences=True)])
    x = Input((1,), dtype="string", name="text")
    return Model(x, L.Dense(2, name="answer")(inner(letters(x))))


@network
def keras_2() -> Any:
    layers = tf_keras.layers
    vectorizer = layers.TextVectorization(output_sequence_length=6)
    vectorizer.adapt(REVIEWS)
    size = vectorizer.vocabulary_size()
    parts = [vectorizer, layers.Embedding(size, 4, mask_zero=True), layers.GRU(5), layers.Dense(2)]
    return tf_keras.Sequential([tf_keras.Input((1,), dtype=tf.string, name="text"), *parts])


TEXT_LAYERS = (L.TextVectorization, L.StringLookup, tf_keras.layers.TextVectorization)


def randomize(model: Any, random: np.random.Generator) -> None:
    for weight in model.trainable_weights:
        weight.assign(random.uniform(-1, 1, weight.shape).astype(np.float32))


def answers(model: Any, name: str) -> list[dict[str, Any]]:
    """Return what Keras makes of each text: its tokens, and the model's answer."""
    layer = next(each for each in model.layers if isinstance(each, TEXT_LAYERS))
    known = "without_unknown" in name
    found = []
    for text in TEXTS:
        if isinstance(layer, L.StringLookup):
            parts = [part for part in text.split(" ") if not known or part in ("a", "good", "film")]
            if len(parts) < (2 if layer.output_mode == "one_hot" else 1):
                continue
            given, text = tf.constant([parts]), parts
        else:
            given = tf.constant([text] if name == "open_length" else [[text]])
        tokens = layer(given).numpy()[0]
        if len(tokens) == 0:
            continue
        tokens = tokens.argmax(-1) if tokens.ndim == 2 else tokens
        found.append({"text": text, "tokens": tokens.tolist(), "answer": model(given).numpy()[0].tolist()})
    return found


def compress(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        items = [(item, archive.read(item)) for item in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for item, data in items:
            archive.writestr(item.filename, data)


def hashes() -> list[tuple[str, int]]:
    """Return texts, one of each length from 0 to 199 bytes, and the bucket of so many that TensorFlow sends it to."""
    texts = ["".join(chr(33 + (7 * place + length) % 90) for place in range(length)) for length in range(200)]
    found = tf.strings.to_hash_bucket_fast(tf.constant(texts), BUCKETS).numpy().tolist()
    return list(zip(texts, found, strict=True))


def main(folder: Path) -> None:
    (folder / "farmhash.json").write_text(json.dumps({"buckets": BUCKETS, "hashes": hashes()}) + "\n")
    for number, (name, make) in enumerate(NETWORKS.items()):
        model = make()
        if name == "without_input":
            model(tf.constant([["a good film"]]))
        randomize(model, np.random.default_rng(number))
        model.save(folder / f"{name}.keras")
        compress(folder / f"{name}.keras")
        lines = ",\n".join(map(json.dumps, answers(model, name)))
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
