"""Label each bit of a sequence: Keras functional, Input(None, 1), GRU(32, return_sequences), Dense(1, sigmoid).

Bits come, the most significant one first, and each is labelled 1 if the number so far is divisible by three. To know
that, the network has to remember which of three remainders there is: it learns on twenty bits, and a stream goes on for
as many as come. The data are generated; training takes seconds.

    pip install keras torch
    python examples/networks/bits.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, largest_difference, main, save, streamed, use_keras

from grurt.converters import convert

LONG = 20_000


def sequences(count: int, n_bits: int, seed: int) -> tuple[Array, Array]:
    """Return bits and labels, both float32 ``(count, n_bits, 1)``."""
    bits = np.random.default_rng(seed).integers(0, 2, (count, n_bits))
    remainder, labels = np.zeros(count, np.int64), np.empty(bits.shape, np.float32)
    for number in range(n_bits):
        remainder = (2 * remainder + bits[:, number]) % 3
        labels[:, number] = remainder == 0
    return bits.astype(np.float32)[..., np.newaxis], labels[..., np.newaxis]


def train(keras: Any) -> Any:
    """Return the trained network: short sequences first."""
    x = keras.Input((None, 1))
    hidden = keras.layers.GRU(32, return_sequences=True)(x)
    net = keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(hidden))
    for n_bits, epochs in ((5, 6), (10, 4), (20, 6)):
        bits, labels = sequences(4096, n_bits, seed=n_bits)
        schedule = keras.optimizers.schedules.CosineDecay(1e-2, 32 * epochs, alpha=0.1)
        net.compile(keras.optimizers.Adam(schedule), "binary_crossentropy")
        net.fit(bits, labels, batch_size=128, epochs=epochs, verbose=0)
    return net


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    keras = use_keras()
    begun = time.process_time()
    net = train(keras)
    seconds = time.process_time() - begun
    save(net, folder / "bits.keras")
    model = convert(folder / "bits.keras")

    bits, labels = sequences(500, 20, seed=1)
    expected = net.predict(bits, verbose=0)
    np.savez_compressed(folder / "bits.npz", bits=bits[:50], labels=labels[:50], expected=expected[:50])
    long_bits, long_labels = sequences(1, LONG, seed=2)

    def score(model: Any) -> str:
        right = (model.run(bits) > 0.5) == (labels > 0.5)
        on = (model.stream().run(long_bits[0]) > 0.5) == (long_labels[0] > 0.5)
        return f"{right.mean():.2%} of the labels of 20 bits, {on.mean():.2%} of those of {LONG:,}"

    shown = Trained("bits", "Keras", seconds, model, "bits.keras").show(
        score=score,
        difference=largest_difference(model.run(bits), expected),
        ours=lambda: model.run(bits[0]),
        theirs=lambda: net(bits[:1], training=False),
        what="20 bits",
        xs=bits[0],
    )
    off = largest_difference(streamed(model, bits[0]), expected[0])
    shown.say(f"streamed, bit by bit: largest difference {off:.1e}; in blocks, the same bits of each answer")
    return shown


if __name__ == "__main__":
    main(__doc__, show)
