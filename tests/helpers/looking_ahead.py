"""Random networks that look ahead: windows of timesteps, convolutions and pools among layers of other kinds."""

from __future__ import annotations

from typing import Any

import models
import numpy as np

import grurt
from grurt.network.functions import Clip
from grurt.network.inputs import AnyInput
from grurt.network.layers import AnyLayer

MOST_AHEAD = 4


def random_looking_ahead(seed: int, n_layers: int = 9) -> grurt.Model:
    """Return a random network whose values have as many timesteps as its inputs, some of which look ahead."""
    return _Graph(np.random.default_rng(seed)).model(n_layers)


class _Graph:
    """Layers drawn one after the other, each reading random earlier values."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.inputs: tuple[AnyInput, ...] = (grurt.Input("x", self.size()), grurt.TokenInput("tokens", 5))
        self.layers: list[AnyLayer] = [
            grurt.Embedding(name="embedding", inputs=("tokens",), vocabulary_size=5, size=self.size()),
            grurt.TokenMask(name="mask", inputs=("tokens",)),
        ]
        self.sizes = {"x": self.inputs[0].size, "embedding": self.layers[0].value_size((5,)), "mask": 1}
        self.kinds = (self.convolution, self.window, self.shift, self.gru, self.grid, self.function, self.meeting)

    def model(self, n_layers: int) -> grurt.Model:
        for place in range(n_layers):
            kind = self.kinds[int(self.rng.integers(len(self.kinds)))] if place else self.convolution
            kind(f"layer{place}")
        outputs = [grurt.Output("y", self.layers[-1].name), grurt.Output("z", self.value())]
        return models.layer_model(*self.layers, rng=self.rng, inputs=self.inputs, outputs=tuple(outputs))

    def size(self) -> int:
        return int(self.rng.integers(1, 20))

    def few(self, most: int = MOST_AHEAD) -> int:
        return int(self.rng.integers(most + 1))

    def value(self) -> str:
        return str(self.rng.choice(list(self.sizes)))

    def add(self, layer: AnyLayer) -> str:
        self.layers.append(layer)
        self.sizes[layer.name] = layer.value_size(tuple(self.sizes[name] for name in layer.inputs))
        return layer.name

    def convolution(self, name: str) -> None:
        """Add a convolution of stride 1 as converters make it, whose windows lie anywhere."""
        source, kernel_size, dilation = self.value(), 1 + self.few(), 1 + self.few(1)
        after = self.few((kernel_size - 1) * dilation)
        padded = self.add(grurt.Unfold(name=f"{name} padded", inputs=(source,), padding=(0, after)))
        layer = grurt.Conv1d(
            name=f"{name} conv",
            inputs=(padded,),
            input_size=self.sizes[source],
            output_size=self.size(),
            kernel_size=kernel_size,
            dilation=dilation,
        )
        self.add(layer)
        self.add(grurt.Unfold(name=name, inputs=(layer.name,), padding=(-after, 0)))
        for other in (padded, layer.name):  # which are of other lengths
            del self.sizes[other]

    def window(self, name: str) -> None:
        """Add the largest or the sum of the timesteps around each."""
        source, kernel_size = self.value(), 1 + self.few(2)
        before = self.few(kernel_size - 1)
        fill = float(self.rng.choice([0.0, -3e38, 1.0]))
        windows = grurt.Unfold(
            name=f"{name} windows",
            inputs=(source,),
            kernel_size=kernel_size,
            padding=(before, kernel_size - 1 - before),
            fill=fill,
        )
        self.add(windows)
        size = self.sizes[source]
        self.sizes[windows.name] = size * kernel_size
        taps = [
            self.add(grurt.Slice(name=f"{name} {tap}", inputs=(windows.name,), start=tap * size, stop=(tap + 1) * size))
            for tap in range(kernel_size)
        ]
        if kernel_size == 1:
            taps *= 2
        self.add(grurt.Binary(name=name, inputs=tuple(taps), operation="max"))

    def shift(self, name: str) -> None:
        """Add a value of some timesteps before or behind, or the same."""
        steps = self.few() - MOST_AHEAD // 2
        self.add(grurt.Unfold(name=name, inputs=(self.value(),), padding=(steps, -steps)))

    def gru(self, name: str) -> None:
        source, masked = self.value(), bool(self.rng.integers(2))
        layer = grurt.GRU(
            name=name,
            inputs=(source, "mask") if masked else (source,),
            input_size=self.sizes[source],
            hidden_size=self.size(),
            masked=masked,
            initial_state=str(self.rng.choice(["zeros", "learned"])),  # type: ignore[arg-type]
        )
        self.add(layer)

    def grid(self, name: str) -> None:
        """Add a GRU that runs over the time of each position of a grid."""
        source, hidden = self.value(), self.size()
        positions = 2
        wide: Any = self.add(grurt.Concat(name=f"{name} wide", inputs=(source, source)))
        self.layers += [
            grurt.Unflatten(name=f"{name} grid", inputs=(wide,), positions=positions),
            grurt.GRU(name=f"{name} gru", inputs=(f"{name} grid",), input_size=self.sizes[source], hidden_size=hidden),
            grurt.Flatten(name=name, inputs=(f"{name} gru",)),
        ]
        self.sizes[name] = positions * hidden

    def function(self, name: str) -> None:
        """Add a function that makes something of nothing, or an infinity that another layer bounds."""
        source = self.value()
        if self.rng.integers(3):
            self.add(grurt.Activation(name=name, inputs=(source,), function=grurt.Affine(0.5, 0.25)))
            return
        self.layers += [
            grurt.Activation(name=f"{name} relu", inputs=(source,), function=grurt.Relu()),
            grurt.Activation(name=f"{name} log", inputs=(f"{name} relu",), function=grurt.Log()),
            grurt.Unfold(name=f"{name} ahead", inputs=(f"{name} log",), padding=(-1, 1)),
            grurt.Binary(name=f"{name} both", inputs=(f"{name} log", f"{name} ahead"), operation="max"),
        ]
        self.sizes[f"{name} both"] = self.sizes[source]
        self.add(grurt.Activation(name=name, inputs=(f"{name} both",), function=Clip(-2.0, 2.0)))
        del self.sizes[f"{name} both"]

    def meeting(self, name: str) -> None:
        self.add(grurt.Concat(name=name, inputs=(self.value(), self.value())))
