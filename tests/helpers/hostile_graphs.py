"""ONNX files that weigh little and ask for much: each function returns a model, by its name.

Those in `SMALL` have some nodes, and sizes or numbers that are large; those in `LARGE` have thousands of nodes, or
constants of megabytes that thousands of nodes read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx_graphs import HIDDEN, INPUT, after_gru, gru_weights, node, proto, random, written

Array = np.ndarray[Any, np.dtype[Any]]

HUGE = np.array([2**17, 2**17])
SMALL: dict[str, Callable[[], ModelProto]] = {}
LARGE: dict[str, Callable[[], ModelProto]] = {}


def small(make: Callable[[], ModelProto]) -> Callable[[], ModelProto]:
    SMALL[make.__name__] = make
    return make


def large(make: Callable[[], ModelProto]) -> Callable[[], ModelProto]:
    LARGE[make.__name__] = make
    return make


def text_models(**graphs: tuple[str, Mapping[str, Array]]) -> None:
    """Register models of nodes behind a GRU, ``s (time, batch, hidden)``, whose last writes ``y``."""
    for name, (nodes, weights) in graphs.items():
        SMALL[name] = lambda nodes=nodes, weights=weights: after_gru(written(nodes), weights)


def chained(count: int, step: Callable[[str, str], NodeProto], first: str = "s") -> list[NodeProto]:
    """Return nodes that read each other, the last of which writes ``y``."""
    names = [first, *(f"v{i}" for i in range(1, count)), "y"]
    return [step(source, target) for source, target in pairwise(names)]


_LARGE = {"shape": HUGE}
_SQUARE = {"M": random(HIDDEN, HIDDEN)}
_NUMBERS = {"one_": np.array([1.0], np.float32)}

# Constants that take no memory, and what would write them out.
text_models(
    divided_by=("c = ConstantOfShape(shape); y = Div(s, c)", _LARGE),
    subtracted=("c = ConstantOfShape(shape); y = Sub(s, c)", _LARGE),
    subtracted_from=("c = ConstantOfShape(shape); y = Sub(c, s)", _LARGE),
    added=("c = ConstantOfShape(shape); y = Add(s, c)", _LARGE),
    multiplied=("c = ConstantOfShape(shape); y = Mul(s, c)", _LARGE),
    summed=("c = ConstantOfShape(shape); y = Sum(s, c, s)", _LARGE),
    power=("c = ConstantOfShape(shape); y = Pow(s, c)", _LARGE),
    slopes=("c = ConstantOfShape(shape); y = PRelu(s, c)", _LARGE),
    matrix=("c = ConstantOfShape(shape); y = MatMul(s, c)", _LARGE),
    scaled_matrix=("c = ConstantOfShape(shape); y = Gemm <alpha = 0.5>(h, c)", _LARGE),
    scaled_bias=("c = ConstantOfShape(shape); y = Gemm <beta = 0.5>(h, M, c)", _LARGE | _SQUARE),
    bias=("c = ConstantOfShape(shape); y = Gemm(h, M, c)", _LARGE | _SQUARE),
    bias_of_rows=("c = Expand(column, shape); y = Gemm(h, M, c)", _LARGE | _SQUARE | {"column": random(2**17, 1)}),
    einsum=('c = ConstantOfShape(shape); y = Einsum <equation = "tbi,io->tbo">(s, c)', _LARGE),
    table=("c = ConstantOfShape(shape); y = Gather(c, s)", _LARGE),
    layer_norm=("c = ConstantOfShape(shape); y = LayerNormalization(s, c, c)", _LARGE),
    batch_norm=("c = ConstantOfShape(shape); y = BatchNormalization(h, c, c, c, c)", _LARGE),
    convolved=("c = ConstantOfShape(shape); y = Conv(s, c)", _LARGE),
    padded=("c = ConstantOfShape(shape); y = Pad(s, c, c, c)", _LARGE),
    clipped=("c = ConstantOfShape(shape); y = Clip(s, c, c)", _LARGE),
    dropped=("c = ConstantOfShape(shape); y = Dropout(s, c, c)", _LARGE),
    initial_state=(
        "c = ConstantOfShape(three); y = GRU <hidden_size = 5>(s, W2, R, B, , c)",
        {"three": np.array([1, 2**30, HIDDEN]), "W2": random(1, 15, 5)},
    ),
    recurrent_weights=(
        "c = ConstantOfShape(three); d = ConstantOfShape(r); y = GRU(s, d, c)",
        {"three": np.array([1, 3 * 2**14, 2**14]), "r": np.array([1, 3 * 2**14, 5])},
    ),
    negated=("c = ConstantOfShape(shape); d = Neg(c); y = Add(s, d)", _LARGE),
    rooted=("c = ConstantOfShape(shape); d = Sqrt(c); y = Add(s, d)", _LARGE),
    compared=("c = ConstantOfShape(shape); d = Equal(c, c); e = Where(d, c, c); y = Add(s, e)", _LARGE),
    cast=("c = ConstantOfShape(shape); d = Cast <to = 11>(c); y = Add(s, d)", _LARGE),
    divided=("c = ConstantOfShape(shape); y = Div(c, s)", _LARGE),
    raised=("c = ConstantOfShape(shape); y = Pow(c, s)", _LARGE),
    limited=("c = ConstantOfShape(shape); y = Max(s, c)", _LARGE),
    less=("c = ConstantOfShape(shape); d = Less(s, c); y = Cast <to = 1>(d)", _LARGE),
    chosen=("c = ConstantOfShape(shape); d = Less(s, c); y = Where(d, c, s)", _LARGE),
    conditions=("c = ConstantOfShape(shape); d = Equal(c, c); y = Where(d, s, c)", _LARGE),
    exponentials=("c = ConstantOfShape(shape); d = Exp(c); e = Log(d); f = Pow(e, d); y = Add(s, f)", _LARGE),
    logical=("c = ConstantOfShape(shape); d = Less(c, c); e = Or(d, d); y = Where(e, s, s)", _LARGE),
    powers_of_an_outer_product=(
        "c = Mul(column, row); d = Exp(c); e = Pow(d, c); y = Add(s, e)",
        {"column": random(2**12, 1), "row": random(1, 2**12)},
    ),
    zeros_before=("c = ConstantOfShape(shape); d = Unsqueeze(c, zero); y = Concat <axis = 0>(d, s)", _LARGE),
    concatenated=("c = ConstantOfShape(shape); d = Concat <axis = 0>(c, c); y = Add(s, d)", _LARGE),
    gathered=("c = ConstantOfShape(shape); d = Gather(c, zero); y = Add(s, d)", _LARGE),
    gathered_often=(
        "c = Gather(i, i); d = Gather <axis = 1>(n, c); e = Gather <axis = 1>(d, c); y = Add(s, e)",
        {"i": np.zeros((2**10, 2**3), np.int64), "n": random(8, 8)},
    ),
    reshaped=("c = ConstantOfShape(shape); d = Reshape(c, flat); y = Add(s, d)", _LARGE | {"flat": np.array([-1])}),
    reshaped_shape=("c = ConstantOfShape(shape); d = Flatten <axis = 0>(c); y = Add(s, d)", _LARGE),
    reduced=("c = ConstantOfShape(shape); d = ReduceL2 <keepdims = 0>(c); y = Add(s, d)", _LARGE),
    tiled=("c = Tile(one_, n); d = Tile(c, n); y = Add(s, d)", _NUMBERS | {"n": np.array([2**20])}),
    outer_product=(
        "c = Mul(column, row); d = Mul(c, c); y = Add(s, d)",
        {"column": random(2**14, 1), "row": random(1, 2**14)},
    ),
    outer_sum=(
        "c = Add(a, b); d = Add(c, e); y = Add(s, d)",
        {"a": random(2**9, 1, 1), "b": random(1, 2**9, 1), "e": random(1, 1, 2**9)},
    ),
    split=("c = ConstantOfShape(shape); d = Split <axis = 0, num_outputs = 131072>(c); y = Add(s, d)", _LARGE),
    mean_of_many=("c = Expand(h, many); y = ReduceMean(c, zero)", {"many": np.array([2**31 - 1, 1, 1])}),
    counted=("c = Range(a, b, d); y = Add(s, c)", {"a": np.array(0), "b": np.array(2**62), "d": np.array(1)}),
)


@small
def doubled() -> ModelProto:
    nodes = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    return after_gru([*nodes, node("Add", ["s", "c40"], ["y"])], {"c0": random(1)})


@small
def doubled_values() -> ModelProto:
    nodes = [node("Unsqueeze", ["h", "zero"], ["c0"])]
    nodes += [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    return after_gru([*nodes, node("Relu", ["c40"], ["y"])])


def _stack_of_4096(nodes: list[NodeProto], weights: Mapping[str, Array]) -> ModelProto:
    """Return a model with nodes that read ``c12 (4096, batch, 4096)``, one value as often as a stack may hold."""
    stack = [node("MatMul", ["h", "In"], ["v"]), node("Unsqueeze", ["v", "zero"], ["c0"])]
    stack += [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(12)]
    return after_gru([*stack, *nodes], {"In": random(HIDDEN, 4096), **weights})


@small
def parts_of_a_stack() -> ModelProto:
    parts = [f"p{i}" for i in range(4096)]
    return _stack_of_4096([node("Split", ["c12"], parts, axis=2, num_outputs=4096), node("Relu", ["p0"], ["y"])], {})


@small
def outputs_of_a_stack() -> ModelProto:
    graph = _stack_of_4096([node("Identity", ["c12"], [f"o{i}"]) for i in range(3000)] + written("y = Relu(v)"), {})
    graph.graph.output.extend(helper.make_tensor_value_info(f"o{i}", TensorProto.FLOAT, None) for i in range(3000))
    return graph


@small
def sums_of_a_stack() -> ModelProto:
    sums = [node("ReduceSum", ["c12", "zero"], [f"o{i}"], keepdims=0) for i in range(1000)]
    return _stack_of_4096([*sums, *chained(1000, lambda a, b: node("Add", [a, f"o{len(b) % 7}"], [b]), "v")], {})


@small
def activations_of_a_stack() -> ModelProto:
    return _stack_of_4096(chained(1000, lambda source, target: node("Relu", [source], [target]), "c12"), {})


@small
def reshapes_of_a_stack() -> ModelProto:
    weights = {"to": np.array([4096, 0, 4096])}
    return _stack_of_4096(chained(2000, lambda a, b: node("Reshape", [a, "to"], [b]), "c12"), weights)


@small
def transpositions_of_a_stack() -> ModelProto:
    return _stack_of_4096(
        chained(2000, lambda a, b: node("Slice", [a, "zero", "many", "zero"], [b]), "c12"), {"many": np.array([4095])}
    )


@small
def tiles_of_tiles() -> ModelProto:
    nodes = [node("Tile", [f"c{i}", "two"], [f"c{i + 1}"]) for i in range(60)]
    return after_gru([*nodes, node("Add", ["s", "c60"], ["y"])], {"c0": random(1), "two": np.array([2])})


@small
def features_of_two_billion() -> ModelProto:
    nodes = [node("ReduceMean", ["x", "last"], ["m"], keepdims=1), node("GRU", ["m", "W", "R", "B"], ["y"])]
    weights = {**gru_weights(size=1), "last": np.array([2])}
    return proto(nodes, {"x": (4, 2, 2**31 - 1)}, ["y"], weights)


@small
def one_feature_repeated() -> ModelProto:
    nodes = [node("GRU", ["x", "W", "R", "B"], ["Y"]), node("Squeeze", ["Y", "one"], ["s"])]
    nodes += [node("MatMul", ["s", "M"], ["n"]), node("Add", ["n", "z"], ["y"])]
    weights = {**gru_weights(), "one": np.array([1]), "M": random(HIDDEN, 1)}
    return proto(nodes, {"x": (4, 2, INPUT), "z": (4, 2, 2**31 - 1)}, ["y"], weights)


@small
def parts_of_two_billion() -> ModelProto:
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], axis=0, num_outputs=2**31 - 1)]
    nodes += [node("GRU", ["a", "W", "R", "B"], ["y"])]
    return proto(nodes, {"x": (2**31 - 1, 2, INPUT)}, ["y"], gru_weights())


@small
def classes_of_tokens() -> ModelProto:
    """Each table has the square of the number of classes."""
    nodes = [node("OneHot", ["t", "depth", "off_on"], [f"o{i}"], axis=-1) for i in range(9)]
    nodes += [node("Concat", [f"o{i}" for i in range(9)], ["c"], axis=2), node("GRU", ["c", "W", "R", "B"], ["y"])]
    weights = {**gru_weights(size=9 * 4096), "depth": np.array(4096), "off_on": np.array([0, 1], np.float32)}
    return proto(nodes, {"t": (4, 2)}, ["y"], weights, dtypes={"t": TensorProto.INT64})


@small
def places_of_features() -> ModelProto:
    nodes = [node("ArgMax", ["s"], [f"a{i}"], axis=2, keepdims=0) for i in range(1000)]
    nodes += [node("OneHot", [f"a{i}", "depth", "off_on"], [f"o{i}"], axis=-1) for i in range(1000)]
    nodes += chained(999, lambda a, b: node("Add", [a, f"o{b[1:] if b != 'y' else 999}"], [b]), "o0")
    return after_gru(nodes, {"depth": np.array(4096), "off_on": np.array([0, 1], np.float32)})


@small
def delay_of_two_billion() -> ModelProto:
    nodes = [node("Pad", ["x", "pads"], ["p"]), node("ReduceMean", ["p", "last"], ["m"], keepdims=1)]
    nodes += [node("GRU", ["m", "W", "R", "B"], ["y"])]
    weights = {**gru_weights(size=1), "last": np.array([2]), "pads": np.array([1, 0, 0, -1, 0, 0])}
    return proto(nodes, {"x": (4, 2, 2**31 - 1)}, ["y"], weights)


@small
def extremes_of_two_billion() -> ModelProto:
    nodes = [node("ReduceMax", ["x", "last"], ["m"], keepdims=1), node("GRU", ["m", "W", "R", "B"], ["y"])]
    return proto(nodes, {"x": (4, 2, 2**31 - 1)}, ["y"], {**gru_weights(size=1), "last": np.array([2])})


@small
def one_matrix_in_many_layers() -> ModelProto:
    nodes = chained(4000, lambda source, target: node("Gemm", [source, "M"], [target], alpha=0.5), "v")
    return after_gru([node("MatMul", ["s", "In"], ["v"]), *nodes], {"In": random(HIDDEN, 600), "M": random(600, 600)})


@large
def one_bias_in_many_layers() -> ModelProto:
    """Each layer must see that all rows of the bias are the same."""
    nodes = chained(4000, lambda source, target: node("Gemm", [source, "M", "rows"], [target]), "h")
    return after_gru(nodes, {"M": random(HIDDEN, HIDDEN), "rows": np.ones((2**20, HIDDEN), np.float32)})


@large
def one_limit_in_many_layers() -> ModelProto:
    """Each layer must see that the numbers are finite."""
    nodes = chained(4000, lambda source, target: node("Max", [source, "limit"], [target]), "v")
    weights = {"In": random(HIDDEN, 2**20), "limit": random(2**20)}
    return after_gru([node("MatMul", ["s", "In"], ["v"]), *nodes], weights)


@large
def one_limit_of_integers_in_many_layers() -> ModelProto:
    """Each layer must have the numbers as float32."""
    nodes = chained(4000, lambda source, target: node("Where", ["limit", source, "v"], [target]), "v")
    weights = {"In": random(HIDDEN, 2**20), "limit": np.ones(2**20, np.bool_)}
    return after_gru([node("MatMul", ["s", "In"], ["v"]), *nodes], weights)


@large
def limits_of_many() -> ModelProto:
    return after_gru([node("Max", ["s"] * 16_000, ["y"])])


@large
def one_weight_in_many_normalizations() -> ModelProto:
    nodes = chained(4000, lambda source, target: node("LayerNormalization", [source, "rows"], [target]))
    return after_gru(nodes, {"rows": np.ones((2**20, HIDDEN), np.float32)})


@large
def one_initial_state_of_many() -> ModelProto:
    nodes = chained(2000, lambda a, b: node("GRU", [a, "W5", "R", "B", "", "first"], [f"{b}d"]))
    squeezed = [node("Squeeze", [f"{one.output[0]}", "one"], [one.output[0][:-1]]) for one in nodes]
    every = [each for pair in zip(nodes, squeezed, strict=True) for each in pair]
    weights = {"W5": random(1, 15, HIDDEN), "first": np.ones((1, 2**20, HIDDEN), np.float32)}
    return after_gru(every, weights)


@large
def positions_selected_often() -> ModelProto:
    nodes = chained(30_000, lambda source, target: node("Gather", [source, "places"], [target], axis=2), "v")
    weights = {"places": np.arange(4096), "In": random(HIDDEN, 4096)}
    return after_gru([node("MatMul", ["s", "In"], ["v"]), *nodes], weights)


# As many nodes as a small file can have, and what is done for each of them with all.


@large
def sum_of_many() -> ModelProto:
    relus = [node("Relu", ["s"], [f"r{i}"]) for i in range(4000)]
    return after_gru([*relus, node("Sum", [f"r{i}" for i in range(4000)], ["y"])])


@large
def one_sum_of_millions() -> ModelProto:
    return after_gru([node("Sum", ["s"] * 2_000_000, ["y"])])


@large
def concat_of_many() -> ModelProto:
    relus = [node("Relu", ["s"], [f"r{i}"]) for i in range(4000)]
    return after_gru([*relus, node("Concat", [f"r{i}" for i in range(4000)], ["y"], axis=2)])


@large
def many_layers() -> ModelProto:
    return after_gru(chained(190_000, lambda source, target: node("Relu", [source], [target])))


@large
def many_layers_of_one_name() -> ModelProto:
    nodes = chained(4000, lambda a, b: node("Relu", [a], [b], name="/same/module/Relu"))
    return after_gru(nodes)


@large
def many_identities() -> ModelProto:
    nodes = chained(60_000, lambda source, target: node("Identity", [source], [target]), "c")
    nodes[-1].output[0] = "d"
    adds = [node("Add", ["s", one.output[0]], [f"a{i}"]) for i, one in enumerate(nodes[:60_000])]
    return after_gru([*nodes, *adds, node("Relu", [adds[-1].output[0]], ["y"])], {"c": random(HIDDEN)})


@large
def slices_of_slices() -> ModelProto:
    weights = {"M": random(HIDDEN, 30_001), "from": np.array([0]), "to": np.array([-1]), "axis": np.array([2])}
    nodes = chained(30_000, lambda a, b: node("Slice", [a, "from", "to", "axis"], [b]), "v")
    return after_gru(
        [node("MatMul", ["s", "M"], ["v"]), *nodes[:-1], node("Relu", [nodes[-1].input[0]], ["y"])], weights
    )


@large
def unsqueezed_often() -> ModelProto:
    return after_gru(chained(50_000, lambda source, target: node("Unsqueeze", [source, "zero"], [target])))


@large
def constants_unsqueezed_often() -> ModelProto:
    nodes = chained(5_000, lambda source, target: node("Unsqueeze", [source, "zero"], [target]), "c")
    nodes[-1].output[0] = "d"
    return after_gru([*nodes, node("Add", ["s", "d"], ["y"])], {"c": random(1)})


@large
def squeezed_in_turn() -> ModelProto:
    operators = [node("Squeeze" if i % 2 else "Unsqueeze", [f"v{i}", "zero"], [f"v{i + 1}"]) for i in range(40_000)]
    return after_gru([node("Identity", ["s"], ["v0"]), *operators, node("Identity", ["v40000"], ["y"])])


@large
def many_inputs_of_many_axes() -> ModelProto:
    graph = after_gru([node("ReduceMax", ["s"], ["y"])])
    for index in range(3000):
        port = graph.graph.input.add()
        port.CopyFrom(helper.make_tensor_value_info(f"in{index}", TensorProto.FLOAT, [f"a{i}" for i in range(16)]))
    return graph


@large
def many_outputs() -> ModelProto:
    graph = after_gru([node("Relu", ["s"], ["y"]), *(node("Identity", ["y"], [f"o{i}"]) for i in range(4000))])
    for index in range(4000):
        graph.graph.output.append(helper.make_tensor_value_info(f"o{index}", TensorProto.FLOAT, None))
    return graph


@large
def many_states() -> ModelProto:
    """As many GRUs as layers, each with a state of its own."""
    numbers = range(2000)
    nodes = [node("GRU", ["x", "W", "R", "B", "", f"h{i}"], [f"Y{i}", f"n{i}"]) for i in numbers]
    inputs = {"x": (4, 2, INPUT), **{f"h{i}": (1, 2, HIDDEN) for i in numbers}}
    return proto(nodes, inputs, [f"n{i}" for i in numbers], gru_weights())


@large
def many_constants() -> ModelProto:
    nodes = [node("Constant", [], [f"c{i}"], value_float=1.0) for i in range(60_000)]
    nodes += [node("Concat", [f"c{i}" for i in range(60_000)], ["c"], axis=0), node("Add", ["s", "c"], ["y"])]
    return after_gru(nodes)


@large
def many_small_weights() -> ModelProto:
    graph = after_gru([node("Relu", ["s"], ["y"])])
    for index in range(100_000):
        tensor = graph.graph.initializer.add()
        tensor.name, tensor.data_type = str(index), TensorProto.INT64
        tensor.dims[:] = [1]
        tensor.raw_data = bytes(8)
    return graph


@large
def sequences_of_adds() -> ModelProto:
    """Each addition could end a GRU cell, a normalization or an activation."""
    nodes = chained(40_000, lambda source, target: node("Add", [source, source], [target]))
    return after_gru(nodes)


@large
def almost_cells() -> ModelProto:
    """Gates of the same weights in every combination."""
    weights = {f"M{i}": random(HIDDEN, HIDDEN, seed=i) for i in range(20)}
    nodes, last = [], "h"
    for name in weights:
        nodes += [node("MatMul", ["h", name], [f"h{name}"])]
    names = list(weights)
    for index in range(4000):
        r, z, n = (names[index % 20], names[index // 20 % 20], names[index // 400 % 20])
        p = f"c{index}"
        nodes += [
            node("Add", [f"h{r}", f"h{n}"], [f"{p}r0"]),
            node("Sigmoid", [f"{p}r0"], [f"{p}r"]),
            node("Add", [f"h{z}", f"h{z}"], [f"{p}z0"]),
            node("Sigmoid", [f"{p}z0"], [f"{p}z"]),
            node("Mul", [f"h{n}", f"{p}r"], [f"{p}m"]),
            node("Add", [f"h{n}", f"{p}m"], [f"{p}n0"]),
            node("Tanh", [f"{p}n0"], [f"{p}n"]),
            node("Sub", [last, f"{p}n"], [f"{p}d"]),
            node("Mul", [f"{p}d", f"{p}z"], [f"{p}e"]),
            node("Add", [f"{p}e", f"{p}n"], [p]),
        ]
        last = p
    return after_gru([*nodes, node("Relu", [last], ["y"])], weights)


# Numbers at and beyond the ends of their types.


def of_numbers(nodes: str, **weights: Any) -> tuple[str, Mapping[str, Array]]:
    return nodes, {name: np.array(value) for name, value in weights.items()}


_ENDS = {"largest": 2**63 - 1, "smallest": -(2**63), "minus": -1}
for _name, _number in _ENDS.items():
    _f = {"n": [_number]}
    text_models(
        **{
            f"slice_{_name}": of_numbers("y = Slice(s, n, n, zero, n)", **_f),
            f"slice_constant_{_name}": of_numbers("c = Slice(v, n, n, zero, n); y = Add(s, c)", v=[1.0], **_f),
            f"gather_{_name}": of_numbers("y = Gather(s, n)", **_f),
            f"gather_constant_{_name}": of_numbers("c = Gather(v, n); y = Add(s, c)", v=[1.0], **_f),
            f"pad_{_name}": of_numbers("y = Pad(s, n)", n=[_number] * 6),
            f"pad_axes_{_name}": of_numbers("p = Identity(t); y = Pad(s, p, , n)", t=[1, 0], **_f),
            f"split_{_name}": of_numbers("y = Split(s, n)", **_f),
            f"reshape_{_name}": of_numbers("y = Reshape(s, n)", n=[_number, _number, 1]),
            f"tile_{_name}": of_numbers("y = Tile(s, n)", n=[_number] * 3),
            f"expand_{_name}": of_numbers("y = Expand(s, n)", n=[_number, 1, 1]),
            f"expand_constant_{_name}": of_numbers("c = Expand(v, n); y = Add(s, c)", v=[1.0], n=[_number] * 3),
            f"filled_{_name}": of_numbers("c = ConstantOfShape(n); y = Add(s, c)", **_f),
            f"filled_often_{_name}": of_numbers("c = ConstantOfShape(n); y = Add(s, c)", n=[_number] * 16),
            f"topk_{_name}": of_numbers("y, i = TopK(s, n)", **_f),
            f"squeeze_{_name}": of_numbers("y = Squeeze(s, n)", **_f),
            f"unsqueeze_{_name}": of_numbers("y = Unsqueeze(s, n)", **_f),
            f"reduce_{_name}": of_numbers("y = ReduceSum(s, n)", **_f),
            f"flatten_{_name}": of_numbers(f"y = Flatten <axis = {_number}>(s)"),
            f"concat_{_name}": of_numbers(f"y = Concat <axis = {_number}>(s, s)"),
            f"softmax_{_name}": of_numbers(f"y = Softmax <axis = {_number}>(s)"),
            f"transpose_{_name}": of_numbers(f"y = Transpose <perm = [{_number}, 0, 1]>(s)"),
            f"cast_{_name}": of_numbers(f"y = Cast <to = {_number}>(s)"),
            f"parts_{_name}": of_numbers(f"y = Split <num_outputs = {_number}>(s)"),
            f"shape_{_name}": of_numbers(f"c = Shape <start = {_number}, end = {_number}>(s); y = Reshape(s, c)"),
            f"dilated_{_name}": of_numbers(
                f"y = Conv <dilations = [{_number}], group = 1>(s, k)", k=random(5, 5, 1).tolist()
            ),
            f"grouped_{_name}": of_numbers(f"y = Conv <group = {_number}>(s, k)", k=random(5, 5, 1).tolist()),
            f"hidden_{_name}": of_numbers(f"y = GRU <hidden_size = {_number}>(x, W, R)"),
            f"layout_{_name}": of_numbers(f"y = GRU <layout = {_number}>(x, W, R)"),
        }
    )
for _name, _triple in {
    "denormal_step": (0.0, 1.0, 5e-324),
    "tiny_step": (0.0, 1e300, 1e-300),
    "nan_step": (0.0, 1.0, float("nan")),
    "nan_start": (float("nan"), 1.0, 1.0),
    "infinite_limit": (0.0, float("inf"), 1.0),
    "infinite_step": (0.0, 1.0, float("inf")),
    "huge_limit": (0.0, 1e308, 1.0),
    "both_ends": (-1.7e308, 1.7e308, 1.0),
    "no_step": (0.0, 1.0, 0.0),
    "all_integers": (-(2**63), 2**63 - 1, 1),
    "no_integer_step": (0, 1, 0),
    "many_numbers": ([0, 1], [1, 2], [1, 1]),
    "no_numbers": ([], [], []),
}.items():
    text_models(
        **{f"range_{_name}": of_numbers("c = Range(a, b, d); y = Add(s, c)", a=_triple[0], b=_triple[1], d=_triple[2])}
    )
_F = np.float32
text_models(
    cast_of_nan=("c = Cast <to = 7>(v); y = Reshape(s, c)", {"v": np.array([np.nan, np.inf, -1], _F)}),
    cast_of_large=("c = Cast <to = 6>(v); y = Reshape(s, c)", {"v": np.array([1e30, 1e30, 1e30], _F)}),
    power_of_nan=("y = Pow(s, v)", {"v": np.array([np.nan], _F)}),
    power_of_infinity=("y = Pow(s, v)", {"v": np.array([np.inf], _F)}),
    divided_by_zero=("y = Div(s, v)", {"v": np.array([0], _F)}),
    divided_by_zeros=("y = Div(s, v)", {"v": np.zeros(HIDDEN, _F)}),
    divided_by_denormal=("y = Div(s, v)", {"v": np.full(HIDDEN, 1e-45, _F)}),
    integers_divided_by_zero=("c = Div(v, w); y = Reshape(s, c)", {"v": np.array([1, 2, 3]), "w": np.array([0])}),
    smallest_divided=("c = Div(v, w); y = Reshape(s, c)", {"v": np.array([-(2**63)] * 3), "w": np.array([-1])}),
    smallest_negated=("c = Neg(v); y = Reshape(s, c)", {"v": np.array([-(2**63)] * 3)}),
    product_of_large=("c = Mul(v, v); y = Reshape(s, c)", {"v": np.array([2**62] * 3)}),
    overflowing_sum=("c = Add(v, v); y = Add(s, c)", {"v": np.full(HIDDEN, 3e38, _F)}),
    root_of_minus=("c = Sqrt(v); y = Add(s, c)", {"v": np.full(HIDDEN, -1, _F)}),
    clip_of_nan=("y = Clip(s, v, w)", {"v": np.array(np.nan, _F), "w": np.array(np.inf, _F)}),
    booleans_subtracted=("y = Sub(s, v)", {"v": np.array([True])}),
    booleans_divided=("y = Div(s, v)", {"v": np.array([True])}),
    integers_added=("y = Add(s, v)", {"v": np.array([1])}),
    half_precision_overflow=("y = MatMul(s, v)", {"v": np.full((HIDDEN, 2), 1e300)}),
    empty_weights=("y = MatMul(s, v)", {"v": np.zeros((HIDDEN, 0), _F)}),
    empty_matrix=("y = Gemm(h, v, v)", {"v": np.zeros((0, 0), _F)}),
    empty_bias=("y = Gemm(h, v, w)", {"v": random(HIDDEN, HIDDEN), "w": np.zeros((0, HIDDEN), _F)}),
    bias_without_features=("y = Gemm(h, v, w)", {"v": random(HIDDEN, HIDDEN), "w": np.zeros((HIDDEN, 0), _F)}),
    empty_added=("y = Add(s, v)", {"v": np.zeros((0,), _F)}),
    empty_norm=("y = LayerNormalization(s, v)", {"v": np.zeros((0, HIDDEN), _F)}),
    empty_table=("y = Gather(v, s)", {"v": np.zeros((0, 0), _F)}),
    scalar_matrix=("y = MatMul(s, v)", {"v": np.array(1, _F)}),
    scalar_gemm=("y = Gemm(h, v, v)", {"v": np.array(1, _F)}),
    scalar_gru=("y = GRU(s, v, v, v, , v)", {"v": np.array(1, _F)}),
    scalar_conv=("y = Conv(s, v)", {"v": np.array(1, _F)}),
    scalar_axes=("y = Squeeze(s, v)", {"v": np.array(0)}),
    no_equation=("y = Einsum(s, v)", {"v": random(5, 5)}),
    denormal_epsilon=("y = LayerNormalization <epsilon = 1e-45>(s, v)", {"v": random(HIDDEN)}),
    alpha_of_celu=("y = Celu <alpha = 1e-45>(s)", {}),
    gather_of_booleans=("c = Gather(v, b); y = Add(s, c)", {"v": random(5), "b": np.array([True])}),
    gather_of_floats=("c = Gather(v, v); y = Add(s, c)", {"v": random(5)}),
)


def with_number(op: str, inputs: list[str], weights: Mapping[str, Array], **attributes: float) -> None:
    """Register a model of an operator with an attribute that no text can write."""
    SMALL[f"{op}_of_infinity"] = lambda: after_gru([node(op, inputs, ["y"], **attributes)], weights)


with_number("LayerNormalization", ["s", "v"], {"v": random(HIDDEN)}, epsilon=float("inf"))
with_number("Gemm", ["h", "v"], {"v": random(HIDDEN, 2)}, alpha=float("inf"))
with_number("LeakyRelu", ["s"], {}, alpha=float("nan"))
with_number("Selu", ["s"], {}, alpha=float("inf"), gamma=float("nan"))


# Constants whose evaluation takes much more than they do.
_ROWS = {"shape": np.array([2**30, 1])}
text_models(
    product_of_rows=("c = ConstantOfShape(shape); d = Transpose(c); e = MatMul(d, c); y = Add(s, e)", _ROWS),
    gemm_of_rows=("c = ConstantOfShape(shape); e = Gemm <transA = 1>(c, c); y = Add(s, e)", _ROWS),
    outer_product_of_rows=("c = ConstantOfShape(shape); d = Transpose(c); e = MatMul(c, d); y = Add(s, e)", _ROWS),
    products_in_turn=(
        "c = ConstantOfShape(shape); d = Cos(c); e = Add(d, d); "
        + "; ".join(f"e{i + 1} = MatMul(e{i or ''}, e)" for i in range(300))
        + "; y = Add(s, e300)",
        {"shape": np.array([1500, 1500])},
    ),
    summed_over_letters=(
        'c = ConstantOfShape(shape); d = Einsum <equation = "ab,cd,ef->">(c, c, c); y = Add(s, d)',
        {"shape": np.array([200, 200])},
    ),
    classes=(
        "d = OneHot(i, depth, v); y = Add(s, d)",
        {"i": np.arange(1000), "depth": np.array(2**40), "v": random(2)},
    ),
    padded=("d = Pad(v, p); y = Add(s, d)", {"v": random(HIDDEN), "p": np.array([2**40, 2**40])}),
    padded_back=("d = Pad(v, p); y = Add(s, d)", {"v": random(HIDDEN), "p": np.array([-(2**62), 2**62])}),
    normalized=("c = ConstantOfShape(shape); d = Softmax(c); y = Add(s, d)", _LARGE),
    sorted=("c = ConstantOfShape(shape); d, i = TopK(c, one); y = Add(s, d)", _LARGE),
    found_places=("c = ConstantOfShape(shape); i = NonZero(c); y = Gather(s, i)", _LARGE),
    identity_of_rows=("c = ConstantOfShape(shape); d = EyeLike(c); y = MatMul(s, d)", _LARGE),
    running=("c = ConstantOfShape(shape); d = CumSum(c, one); y = Add(s, d)", _LARGE),
    placed=(
        "c = ConstantOfShape(shape); d = ScatterElements(c, i, v); y = Add(s, d)",
        _LARGE | {"i": np.zeros((1, 1), np.int64), "v": random(1, 1)},
    ),
    dequantized=(
        "c = ConstantOfShape <value = int8[1] {3}>(shape); d = DequantizeLinear(c, v); y = Add(s, d)",
        _LARGE | {"v": np.array(0.1, np.float32)},
    ),
    blocks=(
        "c = ConstantOfShape <value = int8[1] {3}>(shape); d = DequantizeLinear <block_size = 99>(c, v); y = Add(s, d)",
        _LARGE | {"v": np.ones((1, 1), np.float32)},
    ),
    errors_of_many=(
        "c = Range(zero_, most, one_); d = Erf(c); e = ReduceSum(d); y = Add(s, e)",
        {"zero_": np.array(0.0, np.float32), "most": np.array(8e6, np.float32), "one_": np.array(1.0, np.float32)},
    ),
)


@small
def functions_that_call_each_other_twice() -> ModelProto:
    names = [f"F{i}" for i in range(60)]
    model = after_gru([node("F0", ["s"], ["y"], domain="own")])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    for name, following in pairwise([*names, "F60"]):
        nodes = [node(following, [a], [b], domain="own") for a, b in (("x", "a"), ("a", "y"))]
        model.functions.append(helper.make_function("own", name, ["x"], ["y"], nodes, imports))
    model.functions.append(helper.make_function("own", "F60", ["x"], ["y"], [node("Relu", ["x"], ["y"])], imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


@large
def many_functions_of_many_inputs() -> ModelProto:
    """Each call of few names is one of a function that has many."""
    names = [f"i{k}" for k in range(20_000)]
    nodes = chained(20_000, lambda source, target: node("Wide", [source], [target], domain="own"))
    model = after_gru(nodes)
    made = helper.make_function("own", "Wide", ["x", *names], ["y"], [node("Relu", ["x"], ["y"])], [])
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


@large
def a_chain_of_functions() -> ModelProto:
    model = after_gru([node("F0", ["s"], ["y"], domain="own")])
    for k in range(20_000):
        made = node(f"F{k + 1}", ["x"], ["y"], domain="own") if k < 19_999 else node("Relu", ["x"], ["y"])
        model.functions.append(helper.make_function("own", f"F{k}", ["x"], ["y"], [made], []))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model
