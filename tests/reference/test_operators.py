"""Every operator of step programs in the reference, against onnxruntime's operator of that name."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import grurt
from grurt import operators
from grurt.network.operators import Operator
from grurt.reference.operators import OPERATORS

Array = np.ndarray[Any, Any]

SEEDS = range(12)
DOUBLE = {"rtol": 0.0, "atol": 1e-12}
SINGLE = {"rtol": 0.0, "atol": 2e-6}
"""Where onnxruntime has float32 only; values are near one."""


def check(
    operator: Operator,
    node: onnx.NodeProto | Sequence[onnx.NodeProto],
    arrays: Sequence[Array],
    constants: Mapping[str, Array] = types.MappingProxyType({}),
    dtype: type = np.float64,
) -> None:
    """Compare what an operator writes, and the shapes that it says, with what a node of ONNX, or several, do.

    Values have the operator's names.
    """
    given = {name: np.asarray(array, dtype) for name, array in zip(operator.inputs, arrays, strict=True)}
    nodes = [node] if isinstance(node, onnx.NodeProto) else node
    answers = onnx_answers(nodes, given, constants, operator.outputs)
    inputs = [array.astype(np.float64) for array in given.values()]
    operator.check()
    result = OPERATORS[type(operator)](operator, *inputs)
    found = result if isinstance(result, tuple) else (result,)
    shapes = operator.shapes(*(array.shape for array in inputs))
    for array, shape, answer in zip(found, shapes, answers, strict=True):
        assert array.shape == shape == answer.shape
        np.testing.assert_allclose(array, answer, **(DOUBLE if dtype is np.float64 else SINGLE))


def onnx_answers(
    nodes: Sequence[onnx.NodeProto], given: Mapping[str, Array], constants: Mapping[str, Array], outputs: Sequence[str]
) -> list[Array]:
    """Run nodes in onnxruntime; all that is given and written has one dtype."""
    (dtype,) = {helper.np_dtype_to_tensor_dtype(array.dtype) for array in given.values()}
    graph = helper.make_graph(
        nodes,
        "nodes",
        [helper.make_tensor_value_info(name, dtype, array.shape) for name, array in given.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers: list[Array] = session.run(None, dict(given))
    return answers


def node(kind: str, inputs: str = "x0", outputs: str = "y0", **attributes: Any) -> onnx.NodeProto:
    """Return a node; names are apart by spaces, a dash is an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), **attributes)


def random_array(rng: np.random.Generator, rank: int, *, at_most: int = 5) -> Array:
    return np.asarray(rng.normal(size=tuple(rng.integers(1, at_most + 1, rank))))


def broadcast_pair(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return two arrays, of which each may have fewer axes, or axes of size 1."""
    shape = rng.integers(1, 5, int(rng.integers(0, 5)))
    sizes = [np.where(rng.random(len(shape)) < 0.3, 1, shape)[int(rng.integers(len(shape) + 1)) :] for _ in range(2)]
    first, second = (np.asarray(rng.normal(size=tuple(size))).round(1) for size in sizes)
    return first, second


def text(names: int, *, prefix: str = "x") -> tuple[str, ...]:
    return tuple(f"{prefix}{place}" for place in range(names))


def made(kind: type[Operator], n_inputs: int = 1, n_outputs: int = 1, **fields: Any) -> Any:
    return kind(inputs=text(n_inputs), outputs=text(n_outputs, prefix="y"), **fields)


FUNCTIONS: dict[grurt.network.functions.Function, tuple[str, dict[str, Any]]] = {
    grurt.Relu(): ("Relu", {}),
    grurt.LeakyRelu(0.25): ("LeakyRelu", {"alpha": 0.25}),
    grurt.ThresholdedRelu(0.5): ("ThresholdedRelu", {"alpha": 0.5}),
    grurt.Elu(1.25): ("Elu", {"alpha": 1.25}),
    grurt.Sigmoid(): ("Sigmoid", {}),
    grurt.HardSigmoid(0.25, 0.5): ("HardSigmoid", {"alpha": 0.25, "beta": 0.5}),
    grurt.Tanh(): ("Tanh", {}),
    grurt.Softsign(): ("Softsign", {}),
    grurt.Softplus(): ("Softplus", {}),
    grurt.Exp(): ("Exp", {}),
    grurt.Abs(): ("Abs", {}),
    grurt.Sign(): ("Sign", {}),
    grurt.Round(): ("Round", {}),
    grurt.Floor(): ("Floor", {}),
    grurt.Ceil(): ("Ceil", {}),
    grurt.Sin(): ("Sin", {}),
    grurt.Cos(): ("Cos", {}),
    grurt.Erf(): ("Erf", {}),
    grurt.Log(): ("Log", {}),
    grurt.Sqrt(): ("Sqrt", {}),
    grurt.Reciprocal(): ("Reciprocal", {}),
}
OF_POSITIVE = ("Log", "Sqrt", "Reciprocal")


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_apply(function: Any) -> None:
    name, attributes = FUNCTIONS[function]
    rng = np.random.default_rng(1)
    for rank in (0, 1, 4):
        x = random_array(rng, rank)
        x = np.abs(x) + 0.5 if name in OF_POSITIVE else x
        check(made(operators.Apply, function=function), node(name, **attributes), [x], dtype=np.float32)


OPERATIONS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "min": "Min",
    "max": "Max",
    "less": "Less",
    "less_or_equal": "LessOrEqual",
    "equal": "Equal",
}


@pytest.mark.parametrize("operation", get_args(get_type_hints(operators.Combine)["operation"]))
def test_combine(operation: str) -> None:
    operator = made(operators.Combine, 2, operation=operation)
    for seed in SEEDS:
        a, b = broadcast_pair(np.random.default_rng(seed))
        a, b = (np.abs(a) + 0.1, b + 0.01) if operation in ("div", "pow") else (a, b)
        if operation in ("less", "less_or_equal", "equal"):
            cast = node("Cast", "truth", to=onnx.TensorProto.DOUBLE)
            check(operator, [node(OPERATIONS[operation], "x0 x1", "truth"), cast], [a, b])
        else:
            check(operator, node(OPERATIONS[operation], "x0 x1"), [a, b])


def test_what_nan_makes_of_minimum_maximum_and_comparisons() -> None:
    a, b = np.array([np.nan, 1.0, np.nan]), np.array([1.0, np.nan, np.nan])
    for operation in ("min", "max"):
        assert np.isnan(OPERATORS[operators.Combine](made(operators.Combine, 2, operation=operation), a, b)).all()
    for operation in ("less", "less_or_equal", "equal"):
        found = OPERATORS[operators.Combine](made(operators.Combine, 2, operation=operation), a, b)
        np.testing.assert_array_equal(found, np.zeros(3))


@pytest.mark.parametrize("seed", SEEDS)
def test_where(seed: int) -> None:
    rng = np.random.default_rng(seed)
    then, otherwise = broadcast_pair(rng)
    shape = np.broadcast_shapes(then.shape, otherwise.shape)
    condition = np.asarray(rng.integers(-1, 2, shape[int(rng.integers(len(shape) + 1)) :]))
    cast = node("Cast", outputs="truth", to=onnx.TensorProto.BOOL)
    check(made(operators.Where, 3), [cast, node("Where", "truth x1 x2")], [condition, then, otherwise])


@pytest.mark.parametrize("seed", SEEDS)
def test_prelu(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 5)))
    slope = np.asarray(rng.normal(size=x.shape[int(rng.integers(x.ndim + 1)) :]))
    check(made(operators.PRelu, 2), node("PRelu", "x0 x1"), [x, slope])


@pytest.mark.parametrize("seed", SEEDS)
def test_transpose_reshape_and_expand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 6)))
    perm = tuple(rng.permutation(x.ndim).tolist())
    check(made(operators.Transpose, perm=perm), node("Transpose", perm=perm), [x])
    shape = (1, *rng.permutation(x.shape).tolist())
    check(made(operators.Reshape, shape=shape), node("Reshape", "x0 shape"), [x], {"shape": np.array(shape)})
    expanded = (2, *(3 if size == 1 else size for size in x.shape))
    check(made(operators.Expand, shape=expanded), node("Expand", "x0 shape"), [x], {"shape": np.array(expanded)})


@pytest.mark.parametrize("seed", SEEDS)
def test_slice_and_gather(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 5)), at_most=7)
    firsts = [int(rng.integers(size)) for size in x.shape]
    lasts = [int(rng.integers(size)) for size in x.shape]
    steps = [int(rng.integers(1, 3)) * (1 if first <= last else -1) for first, last in zip(firsts, lasts, strict=True)]
    sizes = [(last - first) // step + 1 for first, last, step in zip(firsts, lasts, steps, strict=True)]
    ends = [last + (1 if step > 0 else -1 if last else -99) for last, step in zip(lasts, steps, strict=True)]
    operator = made(operators.Slice, starts=tuple(firsts), sizes=tuple(sizes), steps=tuple(steps))
    constants = {"first": np.array(firsts), "end": np.array(ends), "axes": np.arange(x.ndim), "steps": np.array(steps)}
    check(operator, node("Slice", "x0 first end axes steps"), [x], constants)
    axis = int(rng.integers(x.ndim))
    places = rng.integers(0, x.shape[axis], 9).tolist()
    operator = made(operators.Gather, axis=axis, places=tuple(places))
    check(operator, node("Gather", "x0 places", axis=axis), [x], {"places": np.array(places)})


@pytest.mark.parametrize("seed", SEEDS)
def test_concat_and_pad(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(x.ndim))
    others = [
        rng.normal(size=(*x.shape[:axis], int(size), *x.shape[axis + 1 :])) for size in rng.integers(1, 4, seed % 4 + 1)
    ]
    operator = made(operators.Concat, 1 + len(others), axis=axis)
    check(operator, node("Concat", " ".join(operator.inputs), axis=axis), [x, *others])
    before, after = rng.integers(0, 3, (2, x.ndim)).tolist()
    operator = made(operators.Pad, before=tuple(before), after=tuple(after))
    check(operator, node("Pad", "x0 pads"), [x], {"pads": np.array(before + after)})


def test_pad_has_the_number_that_float32_has() -> None:
    operator = made(operators.Pad, before=(1,), after=(0,), value=0.1)
    assert OPERATORS[operators.Pad](operator, np.zeros(1)).tolist() == [float(np.float32(0.1)), 0.0]
    operator = made(operators.Pad, before=(1,), after=(0,), value=-np.inf)
    assert OPERATORS[operators.Pad](operator, np.zeros(1)).tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize("seed", SEEDS)
def test_update_is_scatter_nd_onto_a_slab(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 4)))
    sizes = [int(rng.integers(1, size + 1)) for size in x.shape]
    starts = [int(rng.integers(whole - size + 1)) for whole, size in zip(x.shape, sizes, strict=True)]
    indices = np.stack(np.meshgrid(*(np.arange(n) + s for n, s in zip(sizes, starts, strict=True)), indexing="ij"), -1)
    new = rng.normal(size=sizes)
    operator = made(operators.Update, 2, starts=tuple(starts))
    check(operator, node("ScatterND", "x0 places x1"), [x, new], {"places": indices})


def convolution(rng: np.random.Generator, axes: int) -> dict[str, Any]:
    numbers = {"strides": (1, 4), "dilations": (1, 3), "before": (0, 3), "after": (0, 3)}
    return {name: tuple(rng.integers(*limits, axes).tolist()) for name, limits in numbers.items()}


def attributes_of(operator: operators.Conv | operators.ConvTranspose, kernel: Sequence[int]) -> dict[str, Any]:
    return {
        "group": operator.groups,
        "strides": operator.strides,
        "dilations": operator.dilations,
        "kernel_shape": list(kernel),
    }


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_conv(seed: int, axes: int) -> None:
    rng = np.random.default_rng(100 * axes + seed)
    groups = int(rng.integers(1, 4))
    in_each, out_each = rng.integers(1, 4, 2).tolist()
    kernel = rng.integers(1, 4, axes).tolist()
    operator = made(operators.Conv, 2 + seed % 2, groups=groups, **convolution(rng, axes))
    x = rng.normal(size=(1, groups * in_each, *rng.integers(5, 9, axes)))
    weight = rng.normal(size=(groups * out_each, in_each, *kernel)) / 5
    bias = [rng.normal(size=groups * out_each)] * (seed % 2)
    attributes = attributes_of(operator, kernel) | {"pads": operator.before + operator.after}
    conv = node("Conv", " ".join(operator.inputs), **attributes)
    check(operator, conv, [x, weight, *bias], dtype=np.float32)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose(seed: int, axes: int) -> None:
    """What ONNX calls ``output_padding`` is cut off less behind, or nothing but the bias is added there."""
    rng = np.random.default_rng(200 * axes + seed)
    groups = int(rng.integers(1, 4))
    in_each, out_each = rng.integers(1, 4, 2).tolist()
    kernel = rng.integers(2, 4, axes).tolist()
    fields = convolution(rng, axes)
    output_padding = [int(rng.integers(stride)) for stride in fields["strides"]]
    pads = fields["before"] + fields["after"]
    fields["after"] = tuple(after - more for after, more in zip(fields["after"], output_padding, strict=True))
    operator = made(operators.ConvTranspose, 2 + seed % 2, groups=groups, **fields)
    x = rng.normal(size=(1, groups * in_each, *rng.integers(4, 7, axes)))
    weight = rng.normal(size=(groups * in_each, out_each, *kernel)) / 5
    bias = [rng.normal(size=groups * out_each)] * (seed % 2)
    attributes = attributes_of(operator, kernel) | {"output_padding": output_padding, "pads": pads}
    conv = node("ConvTranspose", " ".join(operator.inputs), **attributes)
    check(operator, conv, [x, weight, *bias], dtype=np.float32)


@pytest.mark.parametrize("seed", SEEDS)
def test_matmul(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = [shape.shape for shape in broadcast_pair(rng)]
    n, k, m = rng.integers(1, 5, 3)
    a, b = rng.normal(size=(*before[0], n, k)), rng.normal(size=(*before[1], k, m))
    check(made(operators.MatMul, 2), node("MatMul", "x0 x1"), [a, b])


DIRECTIONS = ["forward", "reverse", "bidirectional"]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("linear_before_reset", [False, True])
@pytest.mark.parametrize("activations", [("Sigmoid", "Tanh"), ("HardSigmoid", "Softsign")])
def test_gru(direction: str, linear_before_reset: bool, activations: tuple[str, str]) -> None:
    functions = {
        "Sigmoid": grurt.Sigmoid(),
        "Tanh": grurt.Tanh(),
        "HardSigmoid": grurt.HardSigmoid(float(np.float32(0.2)), 0.5),
        "Softsign": grurt.Softsign(),
    }
    check_recurrent(
        operators.GRU,
        direction,
        list(activations),
        {
            "linear_before_reset": linear_before_reset,
            "gate_activation": functions[activations[0]],
            "candidate_activation": functions[activations[1]],
        },
        {"linear_before_reset": int(linear_before_reset)},
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_lstm(direction: str) -> None:
    check_recurrent(operators.LSTM, direction, ["Sigmoid", "Tanh", "Tanh"], {}, {})


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
def test_rnn(direction: str, activation: str) -> None:
    fields = {"activation": grurt.Tanh() if activation == "Tanh" else grurt.Relu()}
    check_recurrent(operators.RNN, direction, [activation], fields, {})


def check_recurrent(
    kind: type[operators.GRU] | type[operators.LSTM] | type[operators.RNN],
    direction: str,
    activations: list[str],
    fields: dict[str, Any],
    attributes: dict[str, Any],
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        length, batch, input_size, hidden_size = rng.integers(1, 6, 4).tolist()
        directions = 2 if direction == "bidirectional" else 1
        rows = kind.gates * hidden_size
        n_states = kind.n_outputs - 1
        arrays = [
            rng.normal(size=(length, batch, input_size)),
            rng.normal(size=(directions, rows, input_size)) / 2,
            rng.normal(size=(directions, rows, hidden_size)) / 2,
            rng.normal(size=(directions, 2 * rows)) / 2,
            *rng.normal(size=(n_states, directions, batch, hidden_size)),
        ]
        operator = made(kind, len(arrays), kind.n_outputs, hidden_size=hidden_size, direction=direction, **fields)
        attributes |= {"hidden_size": hidden_size, "direction": direction, "activations": activations * directions}
        read = " ".join((*operator.inputs[:4], "-", *operator.inputs[4:]))
        scan = node(kind.__name__, read, " ".join(operator.outputs), **attributes)
        check(operator, scan, arrays, dtype=np.float32)


REDUCTIONS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "l1": "ReduceL1",
    "l2": "ReduceL2",
    "sum_square": "ReduceSumSquare",
}
SINGLE_ONLY = ("l1", "l2")


def random_axes(rng: np.random.Generator, rank: int) -> tuple[int, ...]:
    axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))]
    return tuple(axes.tolist())


@pytest.mark.parametrize("operation", get_args(get_type_hints(operators.Reduce)["operation"]))
def test_reduce(operation: str) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = random_array(rng, int(rng.integers(1, 5)), at_most=4)
        axes = random_axes(rng, x.ndim)
        operator = made(operators.Reduce, axes=axes, operation=operation)
        dtype = np.float32 if operation in SINGLE_ONLY else np.float64
        check(operator, node(REDUCTIONS[operation], "x0 axes"), [x], {"axes": np.array(axes)}, dtype)


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = 3 * random_array(rng, int(rng.integers(1, 5)))
    axis = int(rng.integers(x.ndim))
    check(made(operators.Softmax, axis=axis), node("Softmax", axis=axis), [x])
    check(made(operators.Softmax, axis=axis, log=True), node("LogSoftmax", axis=axis), [x])


def test_softmax_leaves_out_what_is_minus_infinity() -> None:
    x = np.array([[0.0, -np.inf, 1.0]])
    check(made(operators.Softmax, axis=1), node("Softmax", axis=1), [x])


@pytest.mark.parametrize("seed", SEEDS)
def test_normalize(seed: int) -> None:
    """ONNX normalizes the last axes only; others are transposed to the end, and back."""
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(2, 5)))
    axes = random_axes(rng, x.ndim)
    epsilon = float(np.float32(1e-2))
    perm = (*(axis for axis in range(x.ndim) if axis not in axes), *axes)
    nodes = [
        node("Transpose", outputs="t", perm=perm),
        node("LayerNormalization", "t ones", "n", axis=x.ndim - len(axes), epsilon=epsilon),
        node("Transpose", "n", perm=np.argsort(perm).tolist()),
    ]
    operator = made(operators.Normalize, axes=axes, epsilon=epsilon)
    check(operator, nodes, [x], {"ones": np.ones([x.shape[axis] for axis in axes])})


@pytest.mark.parametrize("seed", SEEDS)
def test_normalize_without_the_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_array(rng, int(rng.integers(1, 5)))
    axes = random_axes(rng, x.ndim)
    nodes = [
        node("Mul", "x0 x0", "squares"),
        node("ReduceMean", "squares axes", "mean"),
        node("Add", "mean epsilon", "sum"),
        node("Sqrt", "sum", "root"),
        node("Div", "x0 root"),
    ]
    operator = made(operators.Normalize, axes=axes, epsilon=0.01, centered=False)
    check(operator, nodes, [x], {"axes": np.array(axes), "epsilon": np.array(0.01)})
