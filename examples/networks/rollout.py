"""Forecast sunspots: Keras Sequential, GRU(128, return_sequences) on windows, Dense(1, sigmoid).

Windows are three cycles of the sun, 33 years. Each year is answered with the next one, scaled into (0, 1); scaling
belongs to the model, as layers. A rollout
makes the years to come one by one, each from the answers before. The data are the yearly numbers of sunspots, 1700 to
2008, in the public domain, which the package statsmodels carries; training ends with 1984 and takes seconds.

    pip install keras torch && pip install --no-deps statsmodels
    python examples/networks/rollout.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, carried, largest_difference, main, rolled_out, save, streamed, use_keras

from grurt.converters import convert

WINDOW, FIRST, LAST, SCALE = 33, 1700, 1985, 250.0


def sunspots() -> Array:
    """Return the yearly numbers from `FIRST` on, float32 ``(309, 1)``."""
    table = np.loadtxt(carried("statsmodels", "datasets/sunspots/sunspots.csv"), delimiter=",", skiprows=1)
    return table[:, 1:].astype(np.float32)


def train(keras: Any, series: Array, hidden_size: int) -> Any:
    """Return the trained network."""
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((None, 1)),
            layers.Rescaling(1 / SCALE),
            layers.GRU(hidden_size, return_sequences=True),
            layers.Dense(1, activation="sigmoid"),
            layers.Rescaling(SCALE),
        ]
    )
    windows = np.lib.stride_tricks.sliding_window_view(series[:, 0], WINDOW + 1)[..., np.newaxis]
    schedule = keras.optimizers.schedules.CosineDecay(4e-3, 80 * 4)
    net.compile(keras.optimizers.Adam(schedule), "mean_squared_error")
    net.fit(windows[:, :-1], windows[:, 1:], batch_size=64, epochs=80, verbose=0)
    return net


def show(folder: Path, hidden_size: int = 128) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    series = sunspots()
    known, future = np.split(series, [LAST - FIRST])
    keras = use_keras()
    begun = time.process_time()
    net = train(keras, known, hidden_size)
    seconds = time.process_time() - begun
    save(net, folder / "rollout.keras")
    model = convert(folder / "rollout.keras")

    windows = np.lib.stride_tricks.sliding_window_view(series[:, 0], WINDOW)[..., np.newaxis]
    expected = net.predict(windows, verbose=0)

    def next_years(model: Any) -> Array:
        """Return what a stream that reads every year says of the year behind it, from `LAST` on."""
        return model.stream().run(series[:-1])[LAST - FIRST - 1 :]

    def forecast(model: Any, n_years: int) -> Array:
        stream = model.stream()
        stream.run(known[:-1])
        return stream.forecast(n_years, known[-1])

    def error(answers: Array) -> float:
        return float(np.sqrt(np.square(answers - future[: len(answers)]).mean()))

    theirs = rolled_out(net, known, len(future))
    np.savez_compressed(
        folder / "rollout.npz", windows=windows[::10], expected=expected[::10], known=known, ahead=theirs
    )
    shown = Trained("rollout", "Keras", seconds, model, "rollout.keras").show(
        score=lambda model: f"the next year to {error(next_years(model)):.1f} sunspots (root mean square)",
        difference=largest_difference(model.run(windows), expected),
        ours=lambda: model.run(windows[0]),
        theirs=lambda: net(windows[:1], training=False),
        what=f"a window of {WINDOW}",
        xs=series,
    )
    streamed(model, series)
    shown.say(f"the year before, as a forecast: {error(series[LAST - FIRST - 1 : -1]):.1f}")
    ahead = forecast(model, len(future))
    shown.say(
        f"rolled out from {LAST}, eleven years ahead: {error(ahead[:11]):.1f}; all {len(future)}: {error(ahead):.1f}"
    )
    off = largest_difference(ahead, theirs)
    shown.say(f"the same years, Keras reading all of its own answers: largest difference {off:.1e}")
    shown.curves = {"known": series[:, 0].tolist(), "forecast": ahead[:, 0].tolist()}
    return shown


if __name__ == "__main__":
    main(__doc__, show, hidden_size=128)
