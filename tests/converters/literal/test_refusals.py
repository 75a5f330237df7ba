"""What no step program computes: each says what it found, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_graphs import gru_weights, node, proto, random, written
from step_graphs import Array, imported, step_proto

from grurt.errors import ConversionError, DesignReason, UnsupportedError

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

Shapes = Mapping[str, Sequence[int]]

MATRIX, IMAGE, PLACES = {"x": (2, 3)}, {"x": (1, 4, 5, 6)}, {"x": (4, 2, 3)}
NUMBER = {"x": (2, 3), "i": (1,)}
STATISTICS = {"g": random(4), "b": random(4), "m": random(4), "v": random(4) ** 2}


def recurrent(op: str) -> dict[str, Array]:
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    return {"W": random(2, 5 * gates, 3), "R": random(2, 5 * gates, 5), "B": random(2, 10 * gates)}


@pytest.mark.parametrize(
    ("text", "inputs", "weights", "message"),
    [
        # data-dependent
        ("y = NonZero(x)", MATRIX, {}, "what it gives, or how much, depends on the data; do this outside of the model"),
        ("y, i = TopK(x, k)", MATRIX, {"k": np.array([1])}, "what it gives, or how much, depends on the data"),
        ("y = Det(x)", {"x": (3, 3)}, {}, "no step program has such an operator; compute it before the model"),
        ("y = SequenceAt(x, i)", MATRIX, {"i": np.array(0)}, "a loop, or a list of tensors; export one step"),
        (
            "y = Reshape(x, i)",
            {"x": (6,), "i": (2,)},
            {},
            "its shape must be a constant, but depends on the model's inputs",
        ),
        (
            "y = GatherND(x, i)",
            {"x": (2, 3), "i": (1, 2)},
            {},
            "the places that it works on depend on the data; compute with",
        ),
        ("y = ScatterND(x, i, x)", {"x": (2, 3), "i": (2, 1)}, {}, "the places that it works on depend on the data"),
        ("y = CumSum(x, i)", NUMBER, {}, "its axis depends on the data"),
        ("y = OneHot(i, i, v)", NUMBER, {"v": random(2)}, "its depth and values are not known, or too large"),
        (
            "y = Gather(w, f)",
            {"f": (2,)},
            {"w": np.zeros((1500, 2), np.float32)},
            "it picks from 1500 places by a number that",
        ),
        # quantized
        (
            "y, s, z = DynamicQuantizeLinear(x)",
            MATRIX,
            {},
            "the model was quantized, and grurt reads models of floating-point",
        ),
        ("y = QuantizeLinear(x, s)", MATRIX, {"s": np.float32(0.1)}, "the model was quantized"),
        # places
        ("y = Gather(x, i)", MATRIX, {"i": np.array([5])}, "its places are none of the 2 of its input"),
        (
            "y = GatherND(x, i)",
            MATRIX,
            {"i": np.zeros((1, 3), int)},
            "its indices of the shape .* do not fit its input of the",
        ),
        ("y = ScatterND(x, i, w)", MATRIX, {"i": np.array([[0]]), "w": random(2, 3)}, "it puts .* at places of"),
        (
            'y = ScatterND<reduction="add">(x, i, w)',
            MATRIX,
            {"i": np.array([[0]]), "w": random(1, 3)},
            "it adds up what it",
        ),
        ("y = Gather(x, i)", MATRIX, {"i": np.tile([0, 1, 1], 30000)}, "it picks 90000 numbers one by one"),
        ("y = Trilu(x)", {"x": (3,)}, {}, "its input is no matrix, or its k not known"),
        ("y = CumSum(x, a)", {"x": (1, 2000)}, {"a": np.array(1)}, "it adds up 2000 numbers"),
        ("y = SpaceToDepth<blocksize=4>(x)", IMAGE, {}, "places 5, 6 do not fall into blocks of 4"),
        ("y = DepthToSpace<blocksize=3>(x)", IMAGE, {}, r"its input has the shape \(1, 4, 5, 6\)"),
        ('y = Pad<mode="mirror">(x, p)', MATRIX, {"p": np.zeros(4, int)}, "unknown mode 'mirror'"),
        ("y = Pad(x, p, i)", NUMBER, {"p": np.ones(4, int)}, "it pads with a number that is not known, or not finite"),
        ("y = Pad(x, p)", MATRIX, {"p": np.zeros(3, int)}, "its pads and axes do not fit together"),
        (
            'y = Resize<mode="linear">(x, , s)',
            IMAGE,
            {"s": np.float32([1, 1, 2, 2])},
            "it resizes in the mode 'linear'; supported",
        ),
        ("y = Resize(x, , s)", IMAGE, {"s": np.float32([2, 2])}, "its sizes or scales do not fit its input"),
        (
            'y = Resize<nearest_mode="any">(x, , s)',
            IMAGE,
            {"s": np.float32([1, 1, 2, 2])},
            "its nearest_mode is unknown",
        ),
        (
            'y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, , s)',
            IMAGE,
            {"s": np.float32([1, 1, 2, 2])},
            "its places are transformed by 'tf_crop_and_resize'",
        ),
        # products
        ("y = MatMul(x, s)", MATRIX, {"s": np.float32(2)}, "it multiplies a single number"),
        (
            "y = MatMul(x, w)",
            MATRIX,
            {"w": random(4, 2)},
            r"MatMul: matrices of shapes \(2, 3\) and \(4, 2\) cannot be multiplied",
        ),
        ("y = Gemm(x, w)", {"x": (3,)}, {"w": random(3, 2)}, "its inputs are no matrices"),
        (
            'y = Einsum<equation="ij,jk,kl->il">(x, w, w)',
            {"x": (3, 3)},
            {"w": random(3, 3)},
            "supported are those of one or two",
        ),
        ('y = Einsum<equation="ii->i">(x)', {"x": (3, 3)}, {}, "supported are those that name each axis once"),
        ('y = Einsum<equation="ij->k">(x)', MATRIX, {}, "its equation does not fit its inputs"),
        ("y = Conv(x, w)", {"x": (1, 4, 5), "w": (2, 4, 3)}, {}, "its weights depend on the network's inputs"),
        ("y = Conv(x, w)", MATRIX, {"w": random(2, 3)}, "supported are convolutions over one to three axes"),
        (
            "y = Conv<kernel_shape=[2]>(x, w)",
            {"x": (1, 4, 5)},
            {"w": random(2, 4, 3)},
            "its attributes do not fit its weights",
        ),
        (
            "y = Conv<strides=[0]>(x, w)",
            {"x": (1, 4, 5)},
            {"w": random(2, 4, 3)},
            "its attributes do not fit its weights and its",
        ),
        ("y = Conv(x, w)", {"x": (1, 4, 5)}, {"w": random(2, 4, 9)}, "expected axes of at least 1"),
        (
            "y = ConvTranspose<output_padding=[1,1]>(x, w)",
            {"x": (1, 4, 5)},
            {"w": random(4, 2, 3)},
            "its attributes do not fit",
        ),
        ("y = MaxPool<kernel_shape=[3]>(x)", IMAGE, {}, "its attributes do not fit its input"),
        (
            "y = MaxPool<kernel_shape=[9,2]>(x)",
            IMAGE,
            {},
            r"its window of \(9, 2\) does not fit its input of the shape",
        ),
        (
            "y = MaxPool<kernel_shape=[300]>(x)",
            {"x": (1, 2, 400)},
            {},
            "its window is of .* places; supported are 256 in all",
        ),
        # sums and normalizations
        ("y = ReduceProd(x)", {"x": (100,)}, {}, "it multiplies 100 numbers; supported are 64"),
        ("y = LpNormalization<p=3>(x)", MATRIX, {}, "its order is 3"),
        ("y = BatchNormalization<training_mode=1>(x, g, b, m, v)", IMAGE, STATISTICS, "was exported in training mode"),
        (
            "y = LayerNormalization<epsilon=0.0>(x, g)",
            MATRIX,
            {"g": random(3)},
            "its epsilon is 0.0; it has to be positive",
        ),
        (
            "y = GroupNormalization<num_groups=3>(x, g, g)",
            IMAGE,
            {"g": random(4)},
            "4 channels do not fall into 3 groups",
        ),
        (
            "y, m = Dropout(x, r, t)",
            MATRIX,
            {"r": np.float32(0.5), "t": np.array(True)},
            "was exported in training mode",
        ),
        # attention
        (
            "y = Attention<is_causal=1>(q, q, q, , q, q)",
            {"q": (1, 2, 3, 4)},
            {},
            "it hides what comes later behind",
        ),
        ("y = Attention<q_num_heads=3>(q, q, q)", {"q": (1, 2, 4)}, {}, "has features that do not fall into 3 heads"),
        # recurrent layers
        (
            "y = GRU<hidden_size=5>(x, W, R)",
            {**PLACES, "W": (1, 15, 3)},
            {"R": random(1, 15, 5)},
            "its weights depend on the",
        ),
        (
            'y = GRU<hidden_size=5,direction="up">(x, W, R)',
            PLACES,
            recurrent("GRU"),
            "its direction is none of forward",
        ),
        ("y = GRU<hidden_size=5>(x, W, R, B)", PLACES, recurrent("GRU"), "GRU: expected weights and states of shapes"),
        ("y = GRU<hidden_size=5>(x, W, R)", MATRIX, recurrent("GRU"), "expected an input of 3 axes, got the shape"),
        ("y = GRU<hidden_size=5,clip=1.0>(x, W, R)", PLACES, gru_weights(), "it clips what its activations read"),
        (
            "y = GRU<hidden_size=5>(x, W, R, , l)",
            {**PLACES, "l": (2,)},
            gru_weights(),
            "it is given lengths of sequences; export",
        ),
        (
            "y = GRU<hidden_size=5>(x, W, R, , l)",
            PLACES,
            {**gru_weights(), "l": np.array([2, 4])},
            "it is given lengths",
        ),
        (
            'y = GRU<hidden_size=5,direction="bidirectional",activations=["Sigmoid","Tanh","Tanh","Tanh"]>(x, W, R)',
            PLACES,
            recurrent("GRU"),
            "its activations differ between its directions",
        ),
        (
            'y = GRU<hidden_size=5,activations=["Sigmoid"]>(x, W, R)',
            PLACES,
            gru_weights(),
            "expected 2 activations for each of 1",
        ),
        (
            'y = LSTM<hidden_size=5,activations=["Sigmoid","Relu","Tanh"]>(x, W, R)',
            PLACES,
            recurrent("LSTM"),
            "its activations are not sigmoid and tanh",
        ),
        (
            "y = LSTM<hidden_size=5,input_forget=1>(x, W, R)",
            PLACES,
            recurrent("LSTM"),
            "its input and forget gates are one",
        ),
        (
            "y = LSTM<hidden_size=5>(x, W, R, B, , , , p)",
            PLACES,
            {**recurrent("LSTM"), "p": random(1, 15)},
            "its gates look at the cell",
        ),
    ],
)
def test_a_refusal_says_what_was_found(text: str, inputs: Shapes, weights: dict[str, Array], message: str) -> None:
    types = dict.fromkeys("il", INT64)
    source = step_proto(text, inputs, weights=weights, dtypes={name: types[name] for name in inputs if name in types})
    with pytest.raises(ConversionError, match=message):
        imported(source)


def test_normalization_place_by_place_is_refused() -> None:
    source = step_proto("y = BatchNormalization<spatial=0>(x, g, b, m, v)", IMAGE, weights=STATISTICS, opset=7)
    with pytest.raises(UnsupportedError, match=r"it normalizes each place by itself \(spatial=0\)"):
        imported(source)


def test_an_attribute_that_nobody_knows_is_refused() -> None:
    source = step_proto("y = Relu<sharpness=2>(x)", MATRIX)
    with pytest.raises(UnsupportedError, match="its attribute 'sharpness' is not understood"):
        imported(source)


def test_a_value_that_is_too_large_is_refused() -> None:
    source = step_proto("y = Expand(x, s)", {"x": (1, 3)}, weights={"s": np.array([1 << 20, 3])})
    with pytest.raises(UnsupportedError, match="Expand: expected axes of at least 1 and at most 1048576 numbers"):
        imported(source)
    source = step_proto("z = ConstantOfShape(s); y = Add(x, z)", {"x": (1, 3)}, weights={"s": np.array([1 << 20, 3])})
    with pytest.raises(UnsupportedError, match="Combine: expected axes of at least 1 and at most 1048576 numbers"):
        imported(source)
    size = (1 << 20) + 1
    source = step_proto("z = ConstantOfShape(s); y = Add(x, z)", {"x": (1, 1)}, weights={"s": np.array([1, size])})
    with pytest.raises(UnsupportedError, match="its constant: expected axes of at least 1 and at most 268435456 num"):
        imported(source)


def test_a_token_type_that_no_port_has_is_refused() -> None:
    source = step_proto("a = Cast<to=1>(x); y = Relu(a)", MATRIX, dtypes={"x": TensorProto.UINT8})
    with pytest.raises(UnsupportedError, match="'x': the type uint8 is not supported; cast it to float32"):
        imported(source)


# graphs inside of nodes


def loop_body(inputs: int = 3, outputs: int = 2) -> Any:
    values = [("i", INT64), ("c", BOOL), ("s", FLOAT)][:inputs]
    given = [helper.make_tensor_value_info(name, kind, None) for name, kind in values]
    results = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("go", "n", "n2")[:outputs]]
    return helper.make_graph(written("go = Identity(c); n = Add(s, s); n2 = Neg(n)"), "body", given, results)


def loop(*names: str, body: Any = None, outputs: Sequence[str] = ("y",)) -> Any:
    nodes = [node("Loop", list(names), outputs, body=body or loop_body()), *written("h_out = Tanh(h)")]
    weights = {"three": np.array(3), "none": np.array(0)}
    return proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], weights)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (loop("three", "", "x", body=loop_body(outputs=1)), "its body does not fit its inputs and outputs"),
        (loop("three", "", ""), "what it carries is missing"),
        (
            loop("none", "", "x", body=loop_body(outputs=3), outputs=("z", "y")),
            "it collects what it computes in no round",
        ),
    ],
)
def test_a_loop_that_makes_no_sense_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        imported(source)


def test_a_branch_that_is_not_there_is_refused() -> None:
    other = helper.make_graph(written("a = Neg(x)"), "b", [], [])
    nodes = [node("If", ["yes"], ["y"], then_branch=other, else_branch=other), *written("h_out = Tanh(h)")]
    source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {"yes": np.array(True)})
    with pytest.raises(ConversionError, match="it has no such branch"):
        imported(source)


def nested(depth: int) -> Any:
    """Return a branch with so many branches inside of each other."""
    output = helper.make_tensor_value_info("y0", FLOAT, None)
    graph = helper.make_graph(written("y0 = Neg(x)"), "b", [], [output])
    for level in range(1, depth):
        other = helper.make_graph(
            written(f"z{level} = Neg(x)"), "b", [], [helper.make_tensor_value_info(f"z{level}", 1, None)]
        )
        inner = node("If", ["yes"], [f"y{level}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info(f"y{level}", FLOAT, None)])
    return graph


def test_graphs_that_are_nested_deeply_are_refused() -> None:
    for depth, message in ((20, "the graphs inside of it are nested too deeply"), (4, None)):
        graph = nested(depth)
        nodes = [node("If", ["yes"], ["y"], then_branch=graph, else_branch=graph), *written("h_out = Tanh(h)")]
        source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {"yes": np.array(True)})
        if message is None:
            imported(source)
        else:
            with pytest.raises(UnsupportedError, match=message):
                imported(source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("n = Add(s, s); m = Neg(n)", "the graph has more than 8192 operators"),
        ("n = Identity(s); m = Identity(n)", "its branches and loops, written out, have more than 65536 nodes"),
    ],
)
def test_loops_that_would_write_out_endlessly_are_refused(inner: str, message: str) -> None:
    def body(text: str, names: str, *nodes: Any) -> Any:
        kinds = zip(names.split(), (INT64, BOOL, FLOAT, BOOL, FLOAT), strict=True)
        values = [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds]
        return helper.make_graph([*nodes, *written(text)], "body", values[:3], values[3:])

    innermost = body(f"go = Identity(c); {inner}", "i c s go m")
    middle = body("on = Identity(d)", "j d t on q", node("Loop", ["many", "", "t"], ["q"], body=innermost))
    nodes = [node("Loop", ["many", "", "x"], ["y"], body=middle), *written("h_out = Tanh(h)")]
    source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {"many": np.array(4000)})
    with pytest.raises(UnsupportedError, match=message) as caught:
        imported(source)
    assert caught.value.reason is DesignReason.SIZE


def test_many_picks_are_refused() -> None:
    places = np.random.default_rng(0).integers(0, 3, 60000)
    text = ";".join(f"y{index} = Gather<axis=1>(x, i)" for index in range(20))
    source = step_proto(text, MATRIX, [f"y{index}" for index in range(20)], {"i": places})
    with pytest.raises(UnsupportedError, match="the graph picks more than 1048576 numbers one by one") as caught:
        imported(source)
    assert caught.value.reason is DesignReason.SIZE
