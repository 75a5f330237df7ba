"""Operators on constants, evaluated at reading, compared with onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto
from onnx_graphs import HIDDEN, Array, after_gru, convert, converted_and_checked, kinds, random, written

from grurt.errors import ConversionError, UnsupportedError

WEIGHTS: dict[str, Array] = {
    "v": random(HIDDEN),
    "p": np.abs(random(HIDDEN, seed=4)) + np.float32(0.5),
    "g": np.abs(random(HIDDEN, seed=5)) + np.float32(1.5),
    "M": random(HIDDEN, HIDDEN),
    "N": random(HIDDEN, HIDDEN, seed=6),
    "K": random(2, 3, HIDDEN),
    "i": np.array([2, 0, 4, 1, 3]),
    "j": np.array([[3, 1, 0, 2, 4], [0, 1, 2, 3, 4]]),
    "b": np.array([True, False, True, True, False]),
    "whole": np.array([7, -7, 5, -3, 2]),
    "halves": np.array([2, -2, 3, 2, 2]),
    "size": np.array([HIDDEN]),
    "depth": np.array(HIDDEN),
    "two": np.array([2]),
    "three": np.array(3),
    "low": np.array(-0.3, np.float32),
    "high": np.array(0.2, np.float32),
    "off_on": np.array([0.25, 2.0], np.float32),
    "pads": np.array([2, 1]),
    "cut": np.array([-1, 1]),
    "special": np.array([np.nan, np.inf, -np.inf, 1, -1], np.float32),
    "places": np.array([[1], [4]]),
    "updates": np.array([0.5, -0.5], np.float32),
    "halved": np.full(HIDDEN, 0.5, np.float32),
    "single": np.array([0.75], np.float32),
    "axis": np.array(0),
    "axes": np.array([0]),
    "first": np.array([1]),
    "count": np.array([3]),
    "before": np.array([1, 0]),
    "columns": np.array([[3], [1], [0], [2], [4]]),
}
ONE = [
    "Abs",
    "Acosh(g)",
    "Acos",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log(p)",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt(p)",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Softmax",
    "LogSoftmax",
    "Gelu",
]
OTHERS = [
    "Gelu <approximate = 'tanh'>(v)",
    "Elu <alpha = 0.5>(v)",
    "LeakyRelu <alpha = 0.3>(v)",
    "Shrink <bias = 0.1, lambd = 0.3>(v)",
    "Clip(v, low, high)",
    "Clip(v, , high)",
    "Min(v, p, low)",
    "Max(v, low)",
    "Sum(v, p, low)",
    "Mean(v, p)",
    "Mod <fmod = 1>(v, p)",
    "Pow(p, v)",
    "PRelu(v, p)",
    "Where(b, v, p)",
    "CastLike(whole, v)",
    "Dropout(v)",
    "MatMul(M, v)",
    "Gather(M, three)",
    "Pad <mode = 'constant'>(updates, pads)",
    "ReduceMean <keepdims = 0>(M, axes)",
    "CumSum(v, axis)",
    "CumSum <exclusive = 1, reverse = 1>(v, axis)",
    "LpNormalization <p = 1>(v)",
    "LpNormalization(v)",
    "LayerNormalization(v, p, g)",
    "LayerNormalization <epsilon = 0.01>(v, p)",
    "GatherElements(v, i)",
    "ScatterElements(v, two, single)",
    "ScatterND(v, places, updates)",
]


def graph(text: str, opset: int = 20) -> ModelProto:
    """Return a GRU and nodes behind it, with those of the constants that they read; attributes are in single quotes."""
    nodes = written(text.replace("'", '"'))
    read = {name for node in nodes for name in node.input}
    return after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read}, opset=opset)


def kinds_of(text: str, opset: int = 20) -> list[str]:
    """Convert a graph in which a constant ``c`` is computed as the text says, and compare with onnxruntime."""
    return kinds(converted_and_checked(graph(text, opset)))


@pytest.mark.parametrize("op", ONE)
def test_functions_of_firstnumber(op: str) -> None:
    text = op if "(" in op else f"{op}(v)"
    assert kinds_of(f"c = {text}; y = Mul(s, c)") == ["gru", "batch_norm"]


@pytest.mark.parametrize("text", OTHERS)
def test_operators(text: str) -> None:
    assert kinds_of(f"c = {text}; y = Mul(s, c)") == ["gru", "batch_norm"]


@pytest.mark.parametrize(
    "text",
    [
        "Gemm <alpha = 0.5, beta = 2.0, transA = 1, transB = 1>(M, N, v)",
        "Gemm(M, N)",
        "MatMul(M, N)",
        "Einsum <equation = 'ij,kj->ik'>(M, N)",
        "Trilu <upper = 0>(M)",
        "Trilu(M)",
        "EyeLike <dtype = 1>(M)",
        "Softmax <axis = 0>(M)",
        "OneHot(i, depth, off_on)",
        "OneHot <axis = 0>(i, depth, off_on)",
        "RMSNormalization(M, p)",
    ],
)
def test_matrices(text: str) -> None:
    assert kinds_of(f"c = {text}; y = MatMul(s, c)", opset=23 if "RMS" in text else 20) == ["gru", "linear"]


@pytest.mark.parametrize("axes", ["two", ""])
@pytest.mark.parametrize("op", ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"])
def test_reductions(op: str, axes: str) -> None:
    positive = "k = Abs(K); " if op == "LogSum" else "k = Identity(K); "
    kinds_of(f"{positive}r = Reduce{op} <keepdims = 0>(k, {axes}); a = ReduceSum <keepdims = 0>(r); y = Mul(s, a)")


@pytest.mark.parametrize(
    "text",
    [
        "d = ArgMax <axis = 0, keepdims = 0>(j); c = Gather(v, d)",
        "d = ArgMin <axis = 0, keepdims = 0, select_last_index = 1>(j); c = Gather(v, d)",
        "d = Mod(whole, halves); e = Abs(d); c = Gather(v, e)",
        "a = BitwiseAnd(i, j); d = ReduceMax <keepdims = 0>(a, axes); c = Gather(v, d)",
        "d = Size(v); e = Sub(d, depth); f = Add(i, e); c = Gather(v, f)",
        "d = NonZero(b); e = Squeeze(d, axes); w, f = TopK(v, first); k = Concat <axis = 0>(e, f, f); c = Gather(v, k)",
        "w, f = TopK <largest = 0>(v, size); c = Identity(w)",
        "d = Compress(v, b); c = Concat <axis = 0>(d, updates)",
        "d = IsNaN(special); c = Where(d, v, p)",
        "d = IsInf <detect_negative = 0>(special); c = Where(d, v, p)",
        "c = GatherND(v, columns)",
        "d = Slice(v, first, size); c = Pad(d, before, low)",
        "d = Cast <to = 16>(v); c = Cast <to = 1>(d)",
        "d = Cast <to = 10>(v); c = Cast <to = 1>(d)",
    ],
)
def test_positions(text: str) -> None:
    assert kinds_of(f"{text}; y = Mul(s, c)") == ["gru", "batch_norm"]


@pytest.mark.parametrize(
    "text",
    [
        "c = ConstantFill <input_as_shape = 1, value = 0.5>(size)",
        "c = ConstantFill <extra_shape = [1, 5], value = 0.5>(high)",
        "c = ConstantFill <shape = [5], value = 0.5>()",
    ],
)
def test_an_operator_of_the_first_versions(text: str) -> None:
    """ONNX has none for it any more: compared with the numbers."""
    found = convert(graph(f"{text}; y = Mul(s, c)", opset=8))
    x = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    half = convert(graph("y = Mul(s, halved)", opset=8))
    np.testing.assert_array_equal(found.run({"x": x})["y"], half.run({"x": x})["y"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c = RandomNormal <shape = [5]>(); y = Mul(s, c)", "grurt does not evaluate this operator"),
        (
            "c = Einsum <equation = 'i...,i->i'>(v, v); y = Mul(s, c)",
            "its equation is 'i...,i->i'; supported are sums that name all",
        ),
        ("c = ScatterElements <reduction = 'add'>(v, two, high); y = Mul(s, c)", "it adds up what it places"),
        ("c = GatherND <batch_dims = 1>(M, places); y = Mul(s, c)", "it picks from each sequence of a batch apart"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(graph(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c = Einsum <equation = 'i,i->'>(v, two); y = Mul(s, c)", "its inputs do not fit together"),
        ("c = Einsum <equation = 'i,i->k'>(v, v); y = Mul(s, c)", "its equation does not fit its inputs"),
        ("c = Pad <mode = 'mirror'>(v, pads); y = Mul(s, c)", "unknown mode 'mirror'"),
        ("c = Pad(M, pads); y = Mul(s, c)", "its pads do not fit its input"),
        ("c = GatherElements(v, v); y = Mul(s, c)", "its indices are of the type float32"),
        ("c = MatMul(v, low); y = Mul(s, c)", "its inputs do not fit together"),
        ("c = Gemm(M, v); y = Mul(s, c)", "its inputs do not fit together"),
        ("c = Tile(v, pads); y = Mul(s, c)", "its inputs do not fit together"),
    ],
)
def test_damaged(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(graph(text))
