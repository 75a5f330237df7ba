"""Seeded random models and inputs for the tests: weights, biases and initial states are all random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec
import numpy as np

import grurt
from grurt.network import functions
from grurt.network.inputs import AnyInput
from grurt.network.layers import AnyLayer, MatrixLayer

Array = np.ndarray[Any, np.dtype[np.float32]]

GATE_FUNCTIONS: tuple[functions.ElementwiseFunction, ...] = (
    functions.Sigmoid(),
    functions.HardSigmoid(0.2, 0.5),
    functions.HardSigmoid(1 / 6, 0.5),
    functions.Clip(0.0, 1.0),
)
"""Functions with which a GRU's state stays bounded when they are its gates."""

ELEMENTWISE_FUNCTIONS: tuple[functions.ElementwiseFunction, ...] = (
    functions.Relu(),
    functions.LeakyRelu(0.2),
    functions.ThresholdedRelu(0.4),
    functions.Elu(1.3),
    functions.Gelu(),
    functions.Gelu("tanh"),
    functions.Sigmoid(),
    functions.HardSigmoid(0.2, 0.5),
    functions.HardSigmoid(1 / 6, 0.5),
    functions.Tanh(),
    functions.ScaledTanh(1.7, 0.6),
    functions.Softsign(),
    functions.Softplus(),
    functions.Affine(0.7, -0.2),
    functions.Clip(-0.5, 0.8),
)

ALL_FUNCTIONS: tuple[functions.AnyFunction, ...] = (
    *ELEMENTWISE_FUNCTIONS,
    functions.Softmax(),
    functions.LogSoftmax(),
)

MATHEMATICAL_FUNCTIONS: tuple[functions.MathematicalFunction, ...] = (
    functions.Exp(),
    functions.Log(),
    functions.Sqrt(),
    functions.Reciprocal(),
    functions.Pow(1.7),
    functions.Pow(-2.0),
    functions.Abs(),
    functions.Sign(),
    functions.Round(),
    functions.Floor(),
    functions.Ceil(),
    functions.Sin(),
    functions.Cos(),
    functions.Erf(),
)

OPERATIONS = get_args(grurt.Binary.__annotations__["operation"])
POOLINGS = get_args(grurt.TimePooling.__annotations__["operation"])
REDUCTIONS = get_args(grurt.Reduce.__annotations__["operation"])


def random_weights(layers: Iterable[AnyLayer], rng: np.random.Generator) -> dict[str, Array]:
    """Return weights for the layers, of a magnitude that keeps values near one."""
    return {
        f"{layer.name}.{name}": _random_weight(layer.kind, name, shape, rng)
        for layer in layers
        for name, shape in layer.weight_shapes().items()
    }


def _random_weight(kind: str, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if name == "variance":
        array = rng.uniform(0.3, 2.0, shape)
    elif name == "initial_state":
        array = rng.uniform(-0.9, 0.9, shape)
    elif kind.endswith("_norm") and name == "weight":
        array = rng.uniform(0.5, 1.5, shape)
    elif len(shape) > 1 and kind != "embedding":
        fan_in = int(np.prod(shape[1:]))
        array = rng.normal(0.0, 1.0 / np.sqrt(fan_in), shape)
    else:
        array = rng.normal(0.0, 0.4, shape)
    return array.astype(np.float32)


def random_inputs(
    inputs: Sequence[AnyInput], n_steps: int, rng: np.random.Generator
) -> dict[str, np.ndarray[Any, Any]]:
    """Return a sequence for each model input: features ``(n_steps, size)`` float32 or tokens ``(n_steps,)`` int64."""
    return {
        port.name: rng.normal(0.0, 1.0, (n_steps, port.size)).astype(np.float32)
        if isinstance(port, grurt.Input)
        else rng.integers(0, port.vocabulary_size, n_steps)
        for port in inputs
    }


def random_states(model: grurt.Model, rng: np.random.Generator) -> dict[str, Array]:
    """Return a state for every layer that carries one, in ``[-0.9, 0.9]``."""
    states = {name: rng.uniform(-0.9, 0.9, shape).astype(np.float32) for name, shape in model.state_shapes.items()}
    for layer in model.layers:
        if isinstance(layer, grurt.TimePooling):  # of which something has counted
            beside = f"{layer.name}.scores" if layer.has_scores else f"{layer.name}.count"
            states[beside] = np.abs(states[beside]) + np.float32(1)
        elif isinstance(layer, grurt.Attention) and layer.max_steps:
            states[f"{layer.name}.count"] = np.float32([2])
    return states


def layer_model(
    *layers: AnyLayer, rng: np.random.Generator, inputs: Sequence[AnyInput] = (), **options: Any
) -> grurt.Model:
    """Return a model of the given layers with random weights."""
    return grurt.Model(layers=layers, weights=random_weights(layers, rng), inputs=inputs, **options)


def gru_model(
    input_size: int,
    hidden_size: int,
    rng: np.random.Generator,
    *,
    n_layers: int = 1,
    output_size: int | None = None,
    last_step: bool = False,
    **options: Any,
) -> grurt.Model:
    """Return ``n_layers`` stacked GRUs, then a Linear head if ``output_size`` is given.

    ``options`` are those of `grurt.GRU`; an initial state is learned unless they say otherwise.
    """
    options = {"initial_state": "learned"} | options
    layers: list[AnyLayer] = [
        grurt.GRU(name=f"gru{i}", input_size=hidden_size if i else input_size, hidden_size=hidden_size, **options)
        for i in range(n_layers)
    ]
    if last_step:
        layers.append(grurt.LastStep(name="last"))
    if output_size is not None:
        layers.append(grurt.Linear(name="head", input_size=hidden_size, output_size=output_size))
    return layer_model(*layers, rng=rng)


def repeated_model(rng: np.random.Generator) -> grurt.Model:
    """Return an encoder and decoders that have nothing but its end to read: a forecaster's, and an autoencoder's."""
    return layer_model(
        grurt.GRU(name="encoder", input_size=5, hidden_size=6),
        grurt.LastStep(name="end"),
        grurt.RepeatVector(name="repeated", n_steps=7),
        grurt.GRU(name="decoder", input_size=6, hidden_size=4),
        grurt.Concat(name="both", inputs=("decoder", "repeated", "end")),
        grurt.Linear(name="fc", input_size=16, output_size=3),
        grurt.Unfold(name="pairs", inputs=("decoder",), kernel_size=2, stride=2),
        grurt.GRU(name="reverse", input_size=8, hidden_size=3, direction="reverse"),
        grurt.RepeatVector(name="as often", inputs=("end", "x"), n_steps=0),
        grurt.GRU(name="again", input_size=6, hidden_size=5),
        rng=rng,
        inputs=[grurt.Input("x", 5)],
        outputs=[grurt.Output(name, name) for name in ("fc", "reverse", "end", "again")],
    )


def windows_model(rng: np.random.Generator) -> grurt.Model:
    """Return a model that looks ahead, strides, and reads sequences of several lengths, as a front end of GRUs does."""
    return layer_model(
        grurt.Unfold(name="padded", padding=(0, 1)),
        grurt.Conv1d(name="same", input_size=5, output_size=5, kernel_size=3),
        grurt.Unfold(name="ahead", padding=(-1, 0)),
        grurt.Add(name="residual", inputs=("x", "ahead")),
        grurt.Unfold(name="windows", kernel_size=3, stride=2, padding="same"),
        grurt.Linear(name="strided", input_size=15, output_size=7),
        grurt.GRU(name="forward", input_size=7, hidden_size=6),
        grurt.GRU(name="reverse", inputs=("strided",), input_size=7, hidden_size=4, direction="reverse"),
        grurt.Concat(name="both", inputs=("forward", "reverse")),
        grurt.LastStep(name="end"),
        grurt.Unfold(name="pool", inputs=("x",), kernel_size=2, stride=2, padding="same", fill=-9.0),
        grurt.Slice(name="even", start=0, stop=5),
        grurt.Slice(name="odd", inputs=("pool",), start=5, stop=10),
        grurt.Binary(name="largest", inputs=("even", "odd"), operation="max"),
        grurt.FirstStep(name="begin"),
        grurt.Concat(name="ends", inputs=("end", "begin")),
        grurt.Linear(name="fc", input_size=15, output_size=3),
        rng=rng,
        inputs=[grurt.Input("x", 5)],
        outputs=[grurt.Output(name, name) for name in ("fc", "both", "largest", "residual")],
    )


def pooling_model(rng: np.random.Generator) -> grurt.Model:
    """Return a model of what sequences come to, with masks and scores."""
    layers: list[AnyLayer] = [
        grurt.GRU(name="gru", input_size=5, hidden_size=6),
        grurt.Linear(name="scores", input_size=6, output_size=6),
        grurt.FeatureMask(name="mask", inputs=("x",)),
    ]
    layers += [
        grurt.TimePooling(name=operation, inputs=("gru", "mask"), size=6, operation=operation, masked=True)
        for operation in ("sum", "mean", "max")
    ]
    layers += [
        grurt.TimePooling(name="softmax", inputs=("gru", "scores"), size=6, operation="softmax", score_size=6),
        grurt.Concat(name="all", inputs=("sum", "mean", "max", "softmax")),
    ]
    return layer_model(*layers, rng=rng, inputs=(grurt.Input("x", 5),))


def attention_model(rng: np.random.Generator, *, streams: bool = True) -> grurt.Model:
    """Return a model that attends to what it has read, in every way: to later timesteps, too, unless it streams."""
    layers: list[AnyLayer] = [
        grurt.GRU(name="gru", input_size=5, hidden_size=6),
        grurt.LastStep(name="last"),
        grurt.Linear(name="query", input_size=6, output_size=6),
        grurt.Linear(name="keys", inputs=("gru",), input_size=6, output_size=6),
        grurt.FeatureMask(name="mask", inputs=("x",)),
        grurt.Activation(name="bias", function=grurt.Affine(4.0, -4.0)),
        grurt.Attention(
            name="heads",
            inputs=("gru", "keys", "gru"),
            size=6,
            key_size=6,
            answers="each",
            causal=streams,
            heads=3,
            scale=0.7,
            max_steps=40 if streams else 0,
        ),
        grurt.LastStep(name="last answer"),
        grurt.Attention(name="dot", inputs=("last", "gru", "gru"), size=6, key_size=6, max_steps=40),
        grurt.Attention(
            name="additive",
            inputs=("query", "keys", "x", "bias"),
            size=5,
            key_size=6,
            score="additive",
            biased=True,
            max_steps=50,
        ),
        grurt.Concat(name="all", inputs=("last answer", "dot", "additive")),
    ]
    return layer_model(*layers, rng=rng, inputs=(grurt.Input("x", 5),))


def can_be_quantized(layer: AnyLayer) -> bool:
    """Return whether a layer has matrices that may be of fewer bits."""
    return isinstance(layer, MatrixLayer) and not (isinstance(layer, grurt.Conv1d) and layer.is_depthwise)


def random_model(
    rng: np.random.Generator, *, n_layers: int = 8, max_size: int = 40, streams: bool = True
) -> grurt.Model:
    """Return a random directed graph of layers of every kind, with two inputs (one of tokens) and up to three outputs.

    With ``streams=False`` a GRU may run in reverse, and a value may be read at its first timestep.
    """
    return _RandomGraph(rng, max_size, streams).model(n_layers)


class _RandomGraph:
    """Layers drawn one after the other, each reading random earlier values."""

    def __init__(self, rng: np.random.Generator, max_size: int, streams: bool) -> None:
        self.rng = rng
        self.max_size = max_size
        self.streams = streams
        self.inputs: tuple[AnyInput, ...] = (
            grurt.Input("features", self._size()),
            grurt.TokenInput("tokens", self._size()),
        )
        embedding = grurt.Embedding(
            name="embedding",
            inputs=("tokens",),
            vocabulary_size=self.inputs[1].vocabulary_size,
            size=self._size(),
        )
        mask = grurt.TokenMask(name="mask", inputs=("tokens",))
        self.layers: list[AnyLayer] = [embedding, mask]
        self.sizes = {"features": self.inputs[0].size, "embedding": embedding.size, "mask": 1}

    def model(self, n_layers: int) -> grurt.Model:
        for i in range(n_layers):
            if self.rng.integers(8) == 0:
                self._add_grid(f"layer{i}")
                continue
            layer = self._layer(f"layer{i}")
            self.layers.append(layer)
            self.sizes[layer.name] = layer.value_size(tuple(self.sizes[name] for name in layer.inputs))
        outputs = [grurt.Output("out", self.layers[-1].name)]
        outputs += [grurt.Output(f"{value} shown", value) for value in self._some(1)]
        self.layers.append(grurt.PastEnd(name="past", inputs=(self.layers[-1].name,), value=0.5))
        self.layers.append(grurt.LastStep(name="last", inputs=("past",)))
        outputs += [grurt.Output("last", "last"), grurt.Output("pooled", self._add_pooling())]
        if not self.streams:
            self.layers.append(grurt.FirstStep(name="first", inputs=("layer0",)))
            outputs.append(grurt.Output("first", "first"))
        return layer_model(*self.layers, rng=self.rng, inputs=self.inputs, outputs=tuple(outputs))

    def _add_pooling(self) -> str:
        """Add what a value comes to; without a draw: seeds give the layers that they gave before."""
        count, value = len(self.layers), self.layers[-2].name
        operation, masked = POOLINGS[count % len(POOLINGS)], count // len(POOLINGS) % 2 == 0
        inputs = (value, *["mask"] * (operation == "softmax"), *["mask"] * masked)
        size = self.sizes[self.layers[-3].name]
        pooling = grurt.TimePooling(name="pooled", inputs=inputs, size=size, operation=operation, masked=masked)
        self.layers.append(pooling)
        return pooling.name

    def _size(self) -> int:
        return int(self.rng.integers(1, self.max_size + 1))

    def _coin(self) -> bool:
        return bool(self.rng.integers(2))

    def _pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def _some(self, count: int) -> tuple[str, ...]:
        return tuple(self._pick(list(self.sizes)) for _ in range(count))

    def _same_size(self) -> tuple[str, ...]:
        """Return two or three values of one size, possibly one value several times."""
        (first,) = self._some(1)
        equal = [name for name, size in self.sizes.items() if size == self.sizes[first]]
        return (first, *(self._pick(equal) for _ in range(int(self.rng.integers(1, 3)))))

    def _add_grid(self, name: str) -> None:
        """Add a GRU on a grid, between the layers that split a vector and join it again."""
        (source,) = self._some(1)
        positions = self._pick([p for p in (1, 2, 3, 4, 7) if self.sizes[source] % p == 0])
        gru = self._gru(f"{name} gru", (f"{name} grid",), self.sizes[source] // positions)
        scan = self._pick(("time", "positions"))
        self.layers += [
            grurt.Unflatten(name=f"{name} grid", inputs=(source,), positions=positions),
            msgspec.structs.replace(gru, inputs=gru.inputs[:1], masked=False, scaled_state=False, scan=scan),
            grurt.Flatten(name=name),
        ]
        self.sizes[name] = positions * gru.hidden_size

    def _layer(self, name: str) -> AnyLayer:
        kind = self._pick(
            (
                "gru",
                "gru",
                "gru",
                "linear",
                "layer_norm",
                "batch_norm",
                "rms_norm",
                "conv1d",
                "add",
                "mul",
                "binary",
                "where",
                "constant",
                "reduce",
                "concat",
                "slice",
                "feature_mask",
                "activation",
                "prelu",
            )
        )
        inputs = self._some(1)
        size = self.sizes[inputs[0]]
        if size > 4 * self.max_size:  # concatenations of concatenations
            kind = "linear"
        match kind:
            case "gru":
                return self._gru(name, inputs, size)
            case "linear":
                return grurt.Linear(
                    name=name, inputs=inputs, input_size=size, output_size=self._size(), bias=self._coin()
                )
            case "layer_norm":
                return grurt.LayerNorm(
                    name=name, inputs=inputs, size=size, epsilon=1e-3, weight=self._coin(), bias=self._coin()
                )
            case "batch_norm":
                return grurt.BatchNorm(name=name, inputs=inputs, size=size)
            case "rms_norm":
                return grurt.RMSNorm(name=name, inputs=inputs, size=size, epsilon=1e-3, weight=self._coin())
            case "conv1d":
                return self._conv1d(name, inputs, size)
            case "add":
                return grurt.Add(name=name, inputs=self._same_size())
            case "mul":
                return grurt.Mul(name=name, inputs=self._same_size()[:2])
            case "binary":
                operation = self._pick(_CONTINUOUS)
                inputs = self._same_size()
                return grurt.Binary(name=name, operation=operation, inputs=inputs if operation == "max" else inputs[:2])
            case "where":
                equal = [other for other, other_size in self.sizes.items() if other_size == size]
                return grurt.Where(name=name, inputs=(self._condition(name, inputs), inputs[0], self._pick(equal)))
            case "constant":
                return grurt.Constant(name=name, inputs=inputs, size=self._size())
            case "reduce":
                return grurt.Reduce(name=name, inputs=inputs, operation=self._pick(_REDUCED_CONTINUOUSLY))
            case "concat":
                return grurt.Concat(name=name, inputs=self._some(int(self.rng.integers(2, 4))))
            case "slice":
                start = int(self.rng.integers(size))
                return grurt.Slice(name=name, inputs=inputs, start=start, stop=int(self.rng.integers(start, size)) + 1)
            case "feature_mask":
                return grurt.FeatureMask(name=name, inputs=inputs)
            case "activation":
                return grurt.Activation(name=name, inputs=inputs, function=self._pick(ALL_FUNCTIONS + _OF_ANY_NUMBER))
            case _:
                return grurt.PRelu(name=name, inputs=inputs, size=size)

    def _gru(self, name: str, inputs: tuple[str, ...], size: int) -> grurt.GRU:
        masked = self._coin()
        scaled_state = len(self.layers) % 3 == 2  # without a draw: seeds give the layers that they gave before
        return grurt.GRU(
            name=name,
            inputs=(*inputs, *["mask"] * (masked + scaled_state)),
            masked=masked,
            scaled_state=scaled_state,
            input_size=size,
            hidden_size=self._size(),
            direction="forward" if self.streams or self._coin() else "reverse",
            linear_before_reset=self._coin(),
            bias=self._coin(),
            initial_state=self._pick(("zeros", "learned")),
            gate_activation=functions.Sigmoid() if self._coin() else self._pick(GATE_FUNCTIONS),
            candidate_activation=functions.Tanh() if self._coin() else self._pick(_BOUNDED),
            clip=None if self._coin() else 0.8,
        )

    def _condition(self, name: str, inputs: tuple[str, ...]) -> str:
        """Add a condition that rounding errors do not change: one for each feature, the same at every timestep."""
        size = self.sizes[inputs[0]]
        coin = grurt.Constant(name=f"{name} constant", inputs=inputs, size=size)
        condition = grurt.Activation(name=f"{name} condition", inputs=(coin.name,), function=functions.Relu())
        self.layers += [coin, condition]
        self.sizes |= {coin.name: size, condition.name: size}
        return condition.name

    def _conv1d(self, name: str, inputs: tuple[str, ...], size: int) -> grurt.Conv1d:
        groups = self._pick([g for g in (1, 2, 3, size) if size % g == 0])
        return grurt.Conv1d(
            name=name,
            inputs=inputs,
            input_size=size,
            output_size=groups * int(self.rng.integers(1, 4)),
            kernel_size=int(self.rng.integers(1, 5)),
            dilation=self._pick((1, 2, 3, 17, 70)),
            groups=groups,
            bias=self._coin(),
        )


_CONTINUOUS = ("sub", "min", "max")
_REDUCED_CONTINUOUSLY = ("sum", "mean", "max", "min", "l1", "l2", "log_sum_exp")
_OF_ANY_NUMBER = (functions.Abs(), functions.Sin(), functions.Cos(), functions.Erf())
"""Operations that rounding errors stay small in; the others have tests of their own."""

_BOUNDED = (
    functions.Tanh(),
    functions.ScaledTanh(0.9, 0.6),
    functions.Softsign(),
    functions.Sigmoid(),
    functions.Clip(-0.5, 0.8),
)
