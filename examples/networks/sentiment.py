"""Tell whether a review is kind: Keras Sequential, Embedding(vocabulary, 16), GRU(8), GRU(8), Dense(1, tanh).

Texts are padded to one length, in front or behind, and the padding is masked; a stream needs none. A quarter of the
test's reviews are of things that the training never spoke of: such words are unknown, a token of their own. The reviews
are generated, with words that turn others round ("not good") and later parts that weigh more ("but"); training takes
some seconds.

    pip install keras torch
    python examples/networks/sentiment.py
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, largest_difference, main, save, use_keras

import grurt
from grurt.converters import convert

THINGS = ["food", "service", "room", "view", "bed", "breakfast", "staff", "music", "coffee", "soup", "desk", "bath"]
OTHERS = ["tiramisu", "sommelier", "balcony", "jacuzzi", "wifi", "parquet", "minibar", "concierge"]
GOOD = ["good", "great", "lovely", "clean", "warm", "fresh", "friendly", "quick", "fine", "wonderful"]
BAD = ["bad", "dirty", "cold", "stale", "rude", "slow", "dull", "awful", "noisy", "broken"]
LENGTH = 24


def review(draw: random.Random, things: list[str]) -> tuple[str, int]:
    """Return a review, and 1 or -1."""
    parts, total = [], 0
    for number in range(draw.randint(1, 3)):
        kind, turned = draw.choice((1, -1)), draw.random() < 0.3
        joint = draw.choice(("and", "but")) if number else ""
        how = draw.choice(("was", "seemed")) + (" not" if turned else "") + draw.choice(("", "", " very"))
        parts.append(f"{joint} the {draw.choice(things)} {how} {draw.choice(GOOD if kind > 0 else BAD)}")
        total = (total if joint != "but" else 0) + (-kind if turned else kind)
    text = " ".join(" ".join(parts).split())
    return (text, 1 if total > 0 else -1) if total else review(draw, things)


def reviews(count: int, seed: int, share_of_others: float = 0.0) -> tuple[list[str], Array]:
    """Return reviews and labels ``(count, 1)``."""
    draw = random.Random(seed)
    pairs = [review(draw, OTHERS if draw.random() < share_of_others else THINGS) for _ in range(count)]
    return [text for text, _ in pairs], np.array([[label] for _, label in pairs], np.float32)


def padded(vocabulary: grurt.Vocabulary, texts: list[str], side: str) -> Array:
    """Return the tokens of texts, ``(count, LENGTH)``, with zeros in front (``"pre"``) or behind (``"post"``)."""
    tokens = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in zip(tokens, texts, strict=True):
        found = vocabulary.encode(text)
        row[LENGTH - len(found) :] = found if side == "pre" else 0
        if side == "post":
            row[: len(found)] = found
    return tokens


def train(keras: Any) -> tuple[Any, grurt.Vocabulary]:
    """Return the trained network and its words; some are hidden in the training, so that it knows what unknown is."""
    texts, labels = reviews(4000, seed=1)
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = grurt.Vocabulary(tokens=("", "[UNK]", *words), lowercase=True, removed=".,!?", unknown=1, padding=0)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((None,), dtype="int64"),
            layers.Embedding(len(vocabulary.tokens), 16, mask_zero=True),
            layers.GRU(8, return_sequences=True),
            layers.GRU(8),
            layers.Dense(1, activation="tanh"),
        ]
    )
    tokens = padded(vocabulary, texts, "post")
    hidden = np.random.default_rng(1).random(tokens.shape) < 0.05
    tokens[hidden & (tokens > 0)] = vocabulary.unknown
    net.compile(keras.optimizers.Adam(1e-2), "mean_squared_error")
    net.fit(tokens, labels, batch_size=64, epochs=5, verbose=0)
    return net, vocabulary


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    keras = use_keras()
    begun = time.process_time()
    net, vocabulary = train(keras)
    seconds = time.process_time() - begun
    save(net, folder / "sentiment.keras")
    model = convert(folder / "sentiment.keras")
    model = model.replaced(vocabularies={model.inputs[0].name: vocabulary})

    texts, labels = reviews(800, seed=2, share_of_others=0.25)
    batches = {side: padded(vocabulary, texts, side) for side in ("pre", "post")}
    expected = {side: net.predict(tokens, verbose=0) for side, tokens in batches.items()}
    (folder / "sentiment.json").write_text(
        json.dumps({"words": vocabulary.tokens, "texts": texts[:40], "answers": expected["pre"][:40, 0].tolist()})
    )

    def score(model: grurt.Model) -> str:
        right = (np.array([model.run_text(text) for text in texts]) > 0) == (labels > 0)
        return f"{right.mean():.1%} of {len(texts)} reviews"

    shown = Trained("sentiment", "Keras", seconds, model, "sentiment.keras").show(
        score=score,
        difference=max(largest_difference(model.run(batches[side]), expected[side]) for side in batches),
        ours=lambda: model.run(batches["post"][0]),
        theirs=lambda: net(batches["post"][:1], training=False),
        what=f"a review, padded to {LENGTH} words",
        xs=batches["pre"][0, -1:],
    )
    alone = np.array([model.run_text(text) for text in texts])
    apart = max(largest_difference(model.run(tokens), alone) for tokens in batches.values())
    shown.say(f"padded in front, behind, or not at all: differences of at most {apart:.1e}")
    stream = model.stream()
    for word in ("The", "tiramisu", "was", "not", "bad"):
        shown.say(f"  {word:10} {float(stream.step(word)[0]):+.2f}")
    return shown


if __name__ == "__main__":
    main(__doc__, show)
