"""Attention as sources write it by hand: a softmax over time of how timesteps match a vector that is known at the end.

Converters make layers of it as of anything else: products of the vector with each timestep, sums with it, and a softmax
over time. Such layers read, at every timestep, what is known at the end of their own sequence, which no network does.
Here the whole of it is found again, and becomes one `Attention`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.layer_builder import LayerBuilder
from grurt.errors import DesignReason, ModelError, UnsupportedError
from grurt.network.functions import Affine, Clip, Log, Tanh
from grurt.network.layers import (
    Activation,
    Add,
    AnyLayer,
    Attention,
    BatchNorm,
    Concat,
    Constant,
    Linear,
    Mul,
    PastEnd,
    Slice,
    TimePooling,
    Where,
)
from grurt.network.network import Network
from grurt.network.signature import StatePort
from grurt.network.stages import OwnEndError

if TYPE_CHECKING:
    from grurt.network.network import Parts

N = TypeVar("N", bound=Network)

MAX_STEPS = 512
"""How many timesteps a stream may have of a model that attends to those so far."""

_LEAST = -1e4
"""Scores that are no more than this are those of timesteps to be left out."""


@dataclass(frozen=True)
class _Pair:
    """A vector known at the end, and that of each timestep.

    Parameters
    ----------
    query, key
        The two values.
    operation
        ``"sum"``, ``"product"``, or ``"tanh"``, the hyperbolic tangent of the sum.
    factor
        What the features of that are multiplied by; None: nothing.
    """

    query: str
    key: str
    operation: str = "sum"
    factor: Array | None = None


@dataclass(frozen=True)
class _Parts:
    """Vectors side by side, of the end or of each timestep."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class _Score:
    """How each timestep matches the query: by products times a number, or by tangents times some; and a bias."""

    pair: _Pair
    factor: Array
    bias: str | None = None


_Mixed = _Pair | _Parts | _Score | None
"""What a value that joins both is; None: nothing known."""


class _Layers(LayerBuilder):
    used_too_often = "its weights are used too often"


def with_attention(
    inputs: Iterable[str], layers: Iterable[AnyLayer], weights: Mapping[str, Array], wanted: Iterable[str]
) -> tuple[tuple[AnyLayer, ...], dict[str, Array]] | None:
    """Return layers and weights in which attention to a vector that is known at the end is a layer.

    Parameters
    ----------
    inputs
        Names of the network's inputs.
    layers, weights
        Its layers, each with all inputs named, and their weights.
    wanted
        Names of the values that are needed.

    Returns
    -------
    None if there is no such attention, or something else is made of what only it may read.
    """
    own = tuple(layers)
    search = _Search(inputs, own, weights)
    for layer in own:
        search.take(layer)
    build, needed = search.build, tuple(wanted)
    if not search.found or any(name not in build.layers and name not in search.inputs for name in needed):
        return None
    build.prune(needed)
    return tuple(build.layers.values()), build.weights


def attending(make: Callable[[Parts], N], parts: Parts) -> N:
    """Return the network that ``make`` makes of its parts, with attention that is written by hand as layers.

    Raises
    ------
    UnsupportedError
        If a layer reads, at every timestep, what is known at the end of its own sequence, and it is no such attention.
    """
    try:
        return make(parts)
    except OwnEndError as error:
        inputs = [port.name for port in parts["inputs"]]
        weights = {name: np.asarray(array) for name, array in parts["weights"].items()}
        wanted = [output.value for output in parts["outputs"]]
        signature = parts.get("signature")
        ports = () if signature is None else signature.inputs + signature.outputs
        wanted += [name for port in ports if isinstance(port, StatePort) for name in port.states]
        found = with_attention(inputs, parts["layers"], weights, wanted)
        with suppress(ModelError):
            if found is not None:
                return make(parts | {"layers": found[0], "weights": found[1]})
        raise UnsupportedError(str(error), reason=DesignReason.WHOLE_SEQUENCE) from error


class _Search:
    """Goes through layers in their order, and knows of each value that joins an end with timesteps what it is."""

    def __init__(self, inputs: Iterable[str], layers: tuple[AnyLayer, ...], weights: Mapping[str, Array]) -> None:
        self.inputs = {*inputs}
        self.found = False
        self._weights = weights
        room = 2 * sum(array.size for array in weights.values()) + 2 * len(layers)
        self.build = _Layers(room, {*self.inputs, *(layer.name for layer in layers)})
        self._single: set[str] = set()
        self._mixed: dict[str, _Mixed] = {}
        self._rules: dict[type[AnyLayer], Callable[..., _Mixed]] = {
            Add: self._add,
            Mul: self._mul,
            Concat: lambda layer: _Parts(layer.inputs) if self._are_plain(layer.inputs) else None,
            Linear: self._linear,
            Activation: self._activation,
            BatchNorm: self._batch_norm,
            Where: self._where,
            PastEnd: self._past_end,
        }

    def take(self, layer: AnyLayer) -> None:
        """Take the next layer: as it is, as something known, or as attention."""
        if isinstance(layer, TimePooling) and self._is_attention(layer):
            self._add_attention(layer)
            return
        is_plain = self._are_plain(layer.inputs)
        single = [name in self._single for name in layer.inputs]
        joins = any(single) and not all(single) and layer.handed_state is None and not layer.reads_single_first
        if is_plain and not joins:
            self._keep(layer, is_single=layer.selects_timestep or all(single))
            return
        rule = self._rules.get(type(layer))
        self._mixed[layer.name] = None if rule is None else rule(layer)

    def _are_plain(self, names: Iterable[str]) -> bool:
        return all(name in self.build.layers or name in self.inputs for name in names)

    def _keep(self, layer: AnyLayer, *, is_single: bool) -> None:
        own = {name: self._weights[f"{layer.name}.{name}"] for name in layer.weight_shapes()}
        self.build.add(layer, own)
        if is_single:
            self._single.add(layer.name)

    def _made(self, layer: AnyLayer, weights: Mapping[str, Array] | None = None) -> str:
        if all(name in self._single for name in layer.inputs):
            self._single.add(layer.name)
        return self.build.add(layer, weights)

    def _joined(self, layer: AnyLayer, names: list[str], what: str) -> str:
        """Return the sum or product of some of the values that a layer reads."""
        if len(names) == 1:
            return names[0]
        name = self.build.unique(f"{layer.name}.{what}")
        return self._made(msgspec.structs.replace(layer, name=name, inputs=tuple(names)))

    def _ends_and_steps(self, layer: AnyLayer, names: Iterable[str]) -> tuple[list[str], list[str]] | None:
        """Return which of the values are known at the end, and which are those of timesteps; None if others are."""
        found: tuple[list[str], list[str]] = ([], [])
        for name in names:
            mixed = self._mixed.get(name)
            if isinstance(mixed, _Pair) and mixed.operation == "sum":
                found[0].append(mixed.query)
                found[1].append(mixed.key)
            elif self._are_plain((name,)):
                found[name not in self._single].append(name)
            else:
                return None
        return found

    def _pair(self, layer: AnyLayer, names: Iterable[str], operation: str) -> _Mixed:
        ends, steps = self._ends_and_steps(layer, names) or ([], [])
        if not ends or not steps:
            return None
        return _Pair(self._joined(layer, ends, "query"), self._joined(layer, steps, "key"), operation)

    def _add(self, layer: Add) -> _Mixed:
        scores = [mixed for name in layer.inputs if isinstance(mixed := self._mixed.get(name), _Score)]
        if not scores:
            return self._pair(layer, layer.inputs, "sum")
        others = [name for name in layer.inputs if name not in self._mixed]
        if len(scores) > 1 or len(others) + 1 < len(layer.inputs):
            return None
        # What is the same at all timesteps changes no softmax over them.
        return self._biased(scores[0], [name for name in others if name not in self._single], layer.name)

    def _biased(self, score: _Score, biases: list[str], name: str) -> _Score:
        names = [*([] if score.bias is None else [score.bias]), *biases]
        if not names:
            return score
        add = Add(name=f"{name}.bias", inputs=tuple(names))
        return replace(score, bias=self._joined(add, names, "sum"))

    def _mul(self, layer: Mul) -> _Mixed:
        return self._pair(layer, layer.inputs, "product") if self._are_plain(layer.inputs) else None

    def _linear(self, layer: Linear) -> _Mixed:
        weight = np.asarray(self._weights[f"{layer.name}.weight"])
        mixed = self._mixed[layer.inputs[0]]
        if isinstance(mixed, _Score):
            return self._scaled(mixed, float(weight[0, 0]), layer.name) if weight.size == 1 else None
        if isinstance(mixed, _Parts):
            return self._of_parts(layer, mixed.values, weight)
        if not isinstance(mixed, _Pair):
            return None
        if mixed.operation == "sum":
            return self._projected(layer, [(mixed.query, weight), (mixed.key, weight)])
        if len(weight) != 1:
            return None
        factor = weight[0] if mixed.factor is None else weight[0] * mixed.factor
        if mixed.operation == "product" and not (factor == factor[0]).all():
            mixed, factor = self._weighted(mixed, factor, layer.name), np.ones_like(factor)
        return _Score(mixed, factor)

    def _weighted(self, pair: _Pair, factor: Array, name: str) -> _Pair:
        """Return a product whose query is multiplied by numbers."""
        inputs, size = (pair.query,), factor.size
        numbers = Constant(name=self.build.unique(f"{name}.factor"), inputs=inputs, size=size)
        scaled = Mul(name=self.build.unique(f"{name}.query"), inputs=(*inputs, self._made(numbers, {"weight": factor})))
        return replace(pair, query=self._made(scaled))

    def _batch_norm(self, layer: BatchNorm) -> _Mixed:
        """Of what is summed over features next, so that offsets are the same at all timesteps."""
        mixed = self._mixed[layer.inputs[0]]
        if not isinstance(mixed, _Pair) or mixed.operation == "sum" or mixed.factor is not None:
            return None
        weight, variance = (self._weights[f"{layer.name}.{name}"] for name in ("weight", "variance"))
        return replace(mixed, factor=layer.factor(np.asarray(weight), np.asarray(variance)))

    def _of_parts(self, layer: Linear, values: tuple[str, ...], weight: Array) -> _Mixed:
        sizes = [self._size(value) for value in values]
        starts = np.cumsum([0, *sizes])
        if None in sizes or starts[-1] != weight.shape[1]:
            return None
        columns = [weight[:, start:stop] for start, stop in pairwise(starts)]
        return self._projected(layer, list(zip(values, columns, strict=True)))

    def _projected(self, layer: Linear, parts: list[tuple[str, Array]]) -> _Mixed:
        """Return the sum of products of values with matrices, the bias among those of the timesteps."""
        with_bias = next(i for i, (value, _) in enumerate(parts) if value not in self._single)
        made = []
        for i, (value, matrix) in enumerate(parts):
            has_bias = layer.bias and i == with_bias
            what = "query" if value in self._single else "key"
            part = Linear(
                name=self.build.unique(f"{layer.name}.{what}"),
                inputs=(value,),
                input_size=matrix.shape[1],
                output_size=layer.output_size,
                bias=has_bias,
            )
            bias = {"bias": self._weights[f"{layer.name}.bias"]} if has_bias else {}
            made.append(self._made(part, {"weight": matrix, **bias}))
        return self._pair(Add(name=layer.name), made, "sum")

    def _size(self, value: str) -> int | None:
        """Return how many features a value has, where its layer says so."""
        layer = self.build.layers.get(value)
        while layer is not None:
            for field in ("output_size", "hidden_size", "size"):
                if (size := getattr(layer, field, None)) is not None:
                    return int(size)
            if isinstance(layer, Concat):
                sizes = [self._size(name) for name in layer.inputs]
                return None if None in sizes else sum(filter(None, sizes))
            if isinstance(layer, Slice):
                return int(layer.stop - layer.start)
            layer = self.build.layers.get(layer.inputs[0])
        return None

    def _activation(self, layer: Activation) -> _Mixed:
        mixed = self._mixed[layer.inputs[0]]
        if isinstance(layer.function, Tanh) and isinstance(mixed, _Pair) and mixed.operation == "sum":
            return replace(mixed, operation="tanh")
        if not isinstance(layer.function, Affine):
            return None
        if isinstance(mixed, _Score):
            return self._scaled(mixed, layer.function.scale, layer.name)
        if isinstance(mixed, _Pair) and mixed.operation != "sum":
            factor = np.float32(layer.function.scale) * (
                np.ones(1, np.float32) if mixed.factor is None else mixed.factor
            )
            return replace(mixed, factor=factor)
        return None

    def _affine(self, value: str, scale: float, name: str) -> str:
        function = Affine(scale=scale, offset=0.0)
        return self._made(Activation(name=self.build.unique(name), inputs=(value,), function=function))

    def _scaled(self, score: _Score, scale: float, name: str) -> _Score:
        bias = None if score.bias is None else self._affine(score.bias, scale, f"{name}.bias")
        return replace(score, factor=score.factor * np.float32(scale), bias=bias)

    def _where(self, layer: Where) -> _Mixed:
        condition, then, otherwise = layer.inputs
        is_then = isinstance(score := self._mixed.get(then), _Score)
        other = otherwise if is_then else then
        score = score if is_then else self._mixed.get(otherwise)
        if not isinstance(score, _Score) or not self._are_plain((condition, other)) or not self._leaves_out(other):
            return None
        zero = self._zero(layer.name, condition)
        inputs = (condition, zero, other) if is_then else (condition, other, zero)
        bias = self._made(Where(name=self.build.unique(f"{layer.name}.bias"), inputs=inputs))
        return self._biased(score, [bias], layer.name)

    def _leaves_out(self, value: str) -> bool:
        number = self._number(value)
        return number is not None and number <= _LEAST

    def _number(self, value: str) -> float | None:
        """Return the largest number of a value that is the same at every timestep; None if it may differ."""
        layer = self.build.layers.get(value)
        if isinstance(layer, Constant):
            return float(self.build.weights[f"{value}.weight"].max())
        if not isinstance(layer, Activation):
            return None
        if isinstance(layer.function, Clip) and layer.function.minimum == layer.function.maximum:
            return layer.function.maximum
        if isinstance(layer.function, Log) and self._number(layer.inputs[0]) == 0:  # how infinities are written
            return -math.inf
        return None

    def _zero(self, name: str, beside: str) -> str:
        layer = Constant(name=self.build.unique(f"{name}.zero"), inputs=(beside,), size=1)
        return self._made(layer, {"weight": np.zeros(1, np.float32)})

    def _past_end(self, layer: PastEnd) -> _Mixed:
        score = self._mixed[layer.inputs[0]]
        if not isinstance(score, _Score) or layer.value > _LEAST:
            return None
        zero = self._zero(layer.name, score.pair.key)
        past = msgspec.structs.replace(layer, name=self.build.unique(f"{layer.name}.bias"), inputs=(zero,))
        return self._biased(score, [self._made(past)], layer.name)

    def _is_attention(self, layer: TimePooling) -> bool:
        if not layer.has_scores or layer.masked or not self._are_plain(layer.inputs[:1]):
            return False
        return isinstance(self._mixed.get(layer.inputs[1]), _Score)

    def _add_attention(self, layer: TimePooling) -> None:
        score = self._mixed[layer.inputs[1]]
        if not isinstance(score, _Score):
            raise TypeError(layer.name)
        is_dot = score.pair.operation == "product"
        attention = Attention(
            name=layer.name,
            inputs=(score.pair.query, score.pair.key, layer.inputs[0], *([score.bias] if score.bias else [])),
            size=layer.size,
            key_size=score.factor.size,
            score="dot" if is_dot else "additive",
            scale=float(score.factor[0]) if is_dot else 1.0,
            biased=score.bias is not None,
            max_steps=MAX_STEPS,
        )
        self.build.add(attention, {} if is_dot else {"weight": score.factor})
        self._single.add(layer.name)
        self.found = True
