"""Families of ONNX graphs that have as many layers, inputs or constants as one asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, parser
from onnx_graphs import HIDDEN, INPUT, after_gru, cell, cell_weights, gru_weights, node, proto, random

Array = np.ndarray[Any, np.dtype[Any]]

WEIGHTS: Mapping[str, Array] = {
    "M": random(HIDDEN, HIDDEN),
    "wide": random(HIDDEN, 4 * HIDDEN),
    "c": random(HIDDEN),
    "d": random(HIDDEN, seed=1),
    "positive": np.abs(random(HIDDEN)) + 1,
    "W5": random(1, 3 * HIDDEN, HIDDEN),
    "K": random(HIDDEN, HIDDEN, 1),
    "start": np.array([0]),
    "stop": np.array([3]),
    "last": np.array([2]),
    "parts": np.array([2, 3]),
    "kept": np.array([0, 0, -1]),
}


def behind_a_gru(nodes: Sequence[NodeProto]) -> ModelProto:
    read = {name for one in nodes for name in one.input}
    return after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read})


def chain(count: int, steps: Callable[[str, str], list[NodeProto]], first: str = "s") -> list[NodeProto]:
    """Return so many groups of nodes, each of which reads what the one before it writes; the last writes ``y``."""
    names = [first, *(f"v{i}" for i in range(1, count)), "y"]
    return [each for source, target in pairwise(names) for each in steps(source, target)]


def chains(op: str, *constants: str, first: str = "s", **attributes: Any) -> Callable[[int], ModelProto]:
    """Return a family of one operator after the other."""
    return lambda count: behind_a_gru(chain(count, lambda a, b: [node(op, [a, *constants], [b], **attributes)], first))


def repeats(steps: Callable[[str, str], list[NodeProto]]) -> Callable[[int], ModelProto]:
    return lambda count: behind_a_gru(chain(count, steps))


def fan(count: int) -> ModelProto:
    parts = [node("Relu", ["s"], [f"r{i}"]) for i in range(count)]
    sums = [node("Add", [f"v{i}" if i else "s", f"r{i}"], [f"v{i + 1}"]) for i in range(count)]
    return behind_a_gru([*parts, *sums, node("Relu", [f"v{count}"], ["y"])])


def wide(op: str, **attributes: Any) -> Callable[[int], ModelProto]:
    """Return a family of one operator with many inputs: more than a layer may have, and refused."""

    def make(count: int) -> ModelProto:
        parts = [f"r{i}" for i in range(count)]
        return behind_a_gru([*(node("Relu", ["s"], [part]) for part in parts), node(op, parts, ["y"], **attributes)])

    return make


def convolutions(count: int) -> ModelProto:
    layers = chain(count, lambda a, b: [node("Conv", [a, "K"], [b])], "t")
    return behind_a_gru([node("Transpose", ["s"], ["t"], perm=[1, 2, 0]), *layers])


def parts_of_features(count: int) -> ModelProto:
    parts = [node("Slice", ["q", "start", "stop", "last"], [f"p{i}"]) for i in range(count)]
    sums = [node("Add", [f"v{i}" if i else "p0", f"p{i}"], [f"v{i + 1}"]) for i in range(count)]
    return behind_a_gru([node("MatMul", ["s", "wide"], ["q"]), *parts, *sums, node("Relu", [f"v{count}"], ["y"])])


def constants(count: int) -> ModelProto:
    made = [node("Constant", [], [f"k{i}"], value_floats=[1.0] * HIDDEN) for i in range(count)]
    sums = [node("Add", [f"v{i}" if i else "s", f"k{i}"], [f"v{i + 1}"]) for i in range(count)]
    return behind_a_gru([*made, *sums, node("Relu", [f"v{count}"], ["y"])])


def copies_of_a_constant(count: int) -> ModelProto:
    """Each sum could have an activation's or a cell's constant as one of its inputs."""
    copies = [node("Identity", [f"k{i}" if i else "c"], [f"k{i + 1}"]) for i in range(count)]
    sums = [node("Add", ["s", f"k{i + 1}"], [f"a{i}"]) for i in range(count)]
    return behind_a_gru([*copies, *sums, node("Relu", [f"a{count - 1}"], ["y"])])


def inputs(count: int) -> ModelProto:
    names = [f"x{i}" for i in range(count)]
    nodes = [node("GRU", [name, "W", "R", "B"], ["", f"n{name}"]) for name in names]
    return proto(nodes, dict.fromkeys(names, ("t", "b", INPUT)), [f"n{name}" for name in names], gru_weights())


def states(count: int) -> ModelProto:
    nodes = [node("GRU", ["x", "W", "R", "B", "", f"h{i}"], ["", f"n{i}"]) for i in range(count)]
    given = {"x": ("t", "b", INPUT), **{f"h{i}": (1, "b", HIDDEN) for i in range(count)}}
    return proto(nodes, given, [f"n{i}" for i in range(count)], gru_weights())


def unrolled(count: int) -> ModelProto:
    """Return a loop over GRUCell, one copy of the cell for each timestep, as PyTorch exports it."""

    def cell(index: int, h: str) -> list[NodeProto]:
        def name(stem: str) -> str:
            return f"{stem}_{index}"

        r, z, n = (name(gate) for gate in "rzn")
        given, kept = ([name(f"{side}{gate}") for gate in "rzn"] for side in "ih")
        sums = [node("Add", [given[i], kept[i]], [f"{gate}0"]) for i, gate in enumerate((r, z))]
        gates = [node("Sigmoid", [f"{gate}0"], [gate]) for gate in (r, z)]
        return [
            node("Gather", ["x", f"i{index}"], [name("x")], axis=0),
            node("MatMul", [name("x"), "Wi"], [name("i")]),
            node("Add", [name("i"), "bias"], [name("ib")]),
            node("MatMul", [h, "Wh"], [name("h")]),
            node("Split", [name("ib"), "thirds"], given, axis=-1),
            node("Split", [name("h"), "thirds"], kept, axis=-1),
            *sums,
            *gates,
            node("Mul", [kept[2], r], [name("m")]),
            node("Add", [given[2], name("m")], [name("n0")]),
            node("Tanh", [name("n0")], [n]),
            node("Sub", [h, n], [name("d")]),
            node("Mul", [name("d"), z], [name("e")]),
            node("Add", [name("e"), n], [f"s{index}"]),
            node("Unsqueeze", [f"s{index}", "zero"], [name("o")]),
        ]

    nodes = [each for index in range(count) for each in cell(index, f"s{index - 1}" if index else "h")]
    weights = {"Wi": random(INPUT, 3 * HIDDEN), "Wh": random(HIDDEN, 3 * HIDDEN, seed=4), "bias": random(3 * HIDDEN)}
    numbers = {"thirds": np.array([HIDDEN] * 3), "zero": np.array([0])}
    positions = {f"i{index}": np.array(index) for index in range(count)}
    nodes.append(node("Concat", [f"o_{index}" for index in range(count)], ["y"], axis=0))
    given = {"x": (count, 2, INPUT), "h": (2, HIDDEN)}
    return proto(nodes, given, ["y"], {**weights, **numbers, **positions})


_LOOP = (
    "{h}, {y} = Loop <body = step (int64 i, bool go, float[b, 5] h) => (bool on, float[b, 5] g, float[b, 5] out) "
    "{{ {end} x_t = Gather({x}, i) {cell} out = Identity(g) }}>(n, true, h0)"
)


def loops(count: int) -> ModelProto:
    """Return loops over a GRU cell, each over what the one before it gives."""
    step = cell("x_t", "h", "g").replace(";", " ").replace("Wi", "Wh").replace("bi", "bh")
    names = [f"y{index}" for index in range(count + 1)]
    texts = [
        _LOOP.format(h=f"h_{index}", y=after, x=before, cell=step, end="on = Identity(go)")
        for index, (before, after) in enumerate(pairwise(names))
    ]
    return _of_loops(" ".join(texts), names)


def conditions(count: int) -> ModelProto:
    """Return a loop that goes on as long as many conditions hold, two of each joined by And."""
    step = cell("x_t", "h", "g").replace(";", " ").replace("Wi", "Wh").replace("bi", "bh")
    less = "c0 = Less(i, n) " + " ".join(f"c{index + 1} = And(c{index}, c{index})" for index in range(count))
    text = _LOOP.format(h="h_0", y="y1", x="y0", cell=step, end=f"{less} on = Identity(c{count})")
    return _of_loops(text, ["y0", "y1"])


def _of_loops(text: str, names: Sequence[str]) -> ModelProto:
    graph = parser.parse_graph(
        f"g () => () {{ size = Shape <start = 0, end = 1>(y0) n = Squeeze(size, first) {text} }}"
    )
    weights = {name: array for name, array in cell_weights().items() if not name.endswith("i")}
    weights |= {"true": np.array(True), "first": np.array([0]), "h0": np.zeros((2, HIDDEN), np.float32)}
    return proto(graph.node, {names[0]: ("t", 2, HIDDEN)}, [names[-1]], weights)


FAMILIES: Mapping[str, Callable[[int], ModelProto]] = {
    "activations": chains("Relu"),
    "loops": loops,
    "conditions": conditions,
    "products": chains("MatMul", "M"),
    "linear layers": chains("Gemm", "M", "c", first="h"),
    "offsets": chains("Add", "c"),
    "factors": chains("Mul", "c"),
    "normalizations": chains("LayerNormalization", "c", "d"),
    "batch normalizations": chains("BatchNormalization", "c", "d", "c", "positive", first="h"),
    "copies": chains("Identity"),
    "reshapes": chains("Reshape", "kept"),
    "transpositions": chains("Transpose", perm=[0, 1, 2]),
    "names that are taken": chains("Relu", name="/encoder/act/Relu"),
    "residuals": repeats(lambda a, b: [node("Tanh", [a], [f"{b}t"]), node("Add", [a, f"{b}t"], [b])]),
    "biases": repeats(lambda a, b: [node("MatMul", [a, "M"], [f"{b}p"]), node("Add", [f"{b}p", "c"], [b])]),
    "halves": repeats(
        lambda a, b: [
            node("Split", [a, "parts"], [f"{b}l", f"{b}r"], axis=2),
            node("Concat", [f"{b}r", f"{b}l"], [b], axis=2),
        ]
    ),
    "stacks": repeats(
        lambda a, b: [node("GRU", [a, "W5", "R", "B"], [f"{b}Y"]), node("Squeeze", [f"{b}Y", "one"], [b])]
    ),
    "convolutions": convolutions,
    "gates": repeats(
        lambda a, b: [
            node("Sigmoid", [a], [f"{b}z"]),
            node("Sub", [a, "s"], [f"{b}d"]),
            node("Mul", [f"{b}d", f"{b}z"], [f"{b}e"]),
            node("Add", [f"{b}e", "s"], [b]),
        ]
    ),
    "a fan": fan,
    "a wide sum": wide("Sum"),
    "a wide concatenation": wide("Concat", axis=2),
    "parts of features": parts_of_features,
    "constants": constants,
    "copies of a constant": copies_of_a_constant,
    "inputs": inputs,
    "states": states,
    "an unrolled loop": unrolled,
}
