"""Forecast a sine: Keras, Input(None, 1), GRU(64), Dense(1), once as Sequential and once functional.

The network reads a period and says the next one. A stream reads as many as there are, and `forecast` goes on with
its own answers. The data are generated; training takes seconds.

    pip install keras torch
    python examples/networks/sine.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, largest_difference, main, rolled_out, save, streamed, use_keras

import grurt
from grurt.converters import convert

PERIOD, WINDOW, HISTORY, AHEAD = 40, 40, 100, 60


def wave(n_values: int, start: float = 0.0) -> Array:
    """Return a sine, float32 ``(n_values, 1)``."""
    return np.sin(2 * np.pi / PERIOD * (start + np.arange(n_values))).astype(np.float32)[:, np.newaxis]


def train(keras: Any) -> tuple[Any, Any]:
    """Return the network as a Sequential, trained, and the functional one with the same weights."""
    net = keras.Sequential([keras.Input((None, 1)), keras.layers.GRU(64), keras.layers.Dense(1)])
    windows = np.lib.stride_tricks.sliding_window_view(wave(600)[:, 0], WINDOW + 1)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 270)
    net.compile(keras.optimizers.Adam(schedule), "mean_squared_error")
    net.fit(windows[:, :-1, np.newaxis], windows[:, -1:], batch_size=64, epochs=30, verbose=0)
    x = keras.Input((None, 1))
    functional = keras.Model(x, keras.layers.Dense(1)(keras.layers.GRU(64)(x)))
    functional.set_weights(net.get_weights())
    return net, functional


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    keras = use_keras()
    begun = time.process_time()
    net, functional = train(keras)
    seconds = time.process_time() - begun
    save(net, folder / "sine.keras")
    save(functional, folder / "sine_functional.keras")
    model, same = convert(folder / "sine.keras"), convert(folder / "sine_functional.keras")
    trained = Trained("sine", "Keras", seconds, model, "sine.keras")

    windows, history = np.stack([wave(WINDOW, start) for start in range(32)]), wave(HISTORY, 7)
    expected = net.predict(windows, verbose=0)
    ahead = rolled_out(net, history, AHEAD)
    np.savez_compressed(folder / "sine.npz", windows=windows, expected=expected, history=history, ahead=ahead)

    def forecast(model: grurt.Model) -> Array:
        stream = model.stream()
        stream.run(history[:-1])
        return stream.forecast(AHEAD, history[-1])

    future = wave(AHEAD, 7 + HISTORY)
    shown = trained.show(
        score=lambda model: f"{AHEAD} values ahead, off by {np.abs(forecast(model) - future).max():.3f} at most",
        difference=max(largest_difference(each.run(windows), expected) for each in (model, same)),
        ours=lambda: model.run(windows[0]),
        theirs=lambda: net(windows[:1], training=False),
        what=f"a window of {WINDOW}",
        xs=history,
    )
    streamed(model, history)
    shown.say(f"the functional model gives the same bits: {np.array_equal(model.run(history), same.run(history))}")
    off = largest_difference(forecast(model), ahead)
    shown.say(f"{AHEAD} values ahead, Keras reading all of its own answers: largest difference {off:.1e}")
    shown.curves = {"history": history[:, 0].tolist(), "forecast": forecast(model)[:, 0].tolist()}
    return shown


if __name__ == "__main__":
    main(__doc__, show)
