"""Files that compute in float16, or between float16 and float32: compared as exactly as their numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import DTypeLike
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from grurt.converters import convert
from grurt.converters.onnx.precision import precisions
from grurt.runtime.verify import MOVES, TOLERANCE

HALF = 2.0**-11
ELEMENTS = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bfloat16": TensorProto.BFLOAT16,
}


def cast(source: str, target: str, to: str) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=ELEMENTS[to])


def graph(
    nodes: Sequence[NodeProto], ports: str, weights: DTypeLike, sizes: Sequence[tuple[str, int]] = (("x", 6), ("y", 3))
) -> ModelProto:
    """Return a model of these nodes, with weights for a GRU and a matrix behind it."""
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 24, 6), "R": (1, 24, 8), "B": (1, 48), "M": (8, 3), "c": (3,), "h": (1, 1, 8)}
    arrays = {name: rng.uniform(-0.8, 0.8, shape).astype(weights) for name, shape in shapes.items()}
    read = {name for node in nodes for name in node.input}
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in read]
    held += [numpy_helper.from_array(np.array([1]), "one")]
    x, y = (helper.make_tensor_value_info(name, ELEMENTS[ports], ["T", 1, size]) for name, size in sizes)
    made = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def network(x: str, y: str, weights: Sequence[str] = ("W", "R", "B", "M", "c")) -> list[NodeProto]:
    w, r, b, m, c = weights
    return [
        helper.make_node("GRU", [x, w, r, b], ["Y", ""], hidden_size=8, linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("MatMul", ["s", m], ["m"]),
        helper.make_node("Add", ["m", c], [y]),
    ]


STORED = ("W", "R", "B", "M", "c")
READ = tuple(f"{name}32" for name in STORED)
FILES = {
    "all of float16": (graph(network("x", "y"), "float16", "float16"), "float16", None, MOVES * HALF),
    "float16 inside, float32 outside": (
        graph([cast("x", "x16", "float16"), *network("x16", "y16"), cast("y16", "y", "float32")], "float32", "float16"),
        "float32",
        "float16",
        MOVES * HALF,
    ),
    "float32 inside, float16 outside": (
        graph([cast("x", "x32", "float32"), *network("x32", "y32"), cast("y32", "y", "float16")], "float16", "float32"),
        "float16",
        "float32",
        TOLERANCE + HALF,
    ),
    "weights of float16, read as float32": (
        graph(
            [*(cast(*names, to="float32") for names in zip(STORED, READ, strict=True)), *network("x", "y", READ)],
            "float32",
            "float16",
        ),
        "float32",
        None,
        TOLERANCE,
    ),
    "a GRU of float32 between operators of float16": (
        graph(
            [
                helper.make_node("Tanh", ["x"], ["t"]),
                *(cast(name, f"{name}32", "float32") for name in ("t", "W", "R", "B")),
                helper.make_node("GRU", ["t32", "W32", "R32", "B32"], ["Y", ""], hidden_size=8, linear_before_reset=1),
                cast("Y", "Y16", "float16"),
                helper.make_node("Squeeze", ["Y16", "one"], ["s"]),
                helper.make_node("MatMul", ["s", "M"], ["y"]),
            ],
            "float16",
            "float16",
        ),
        "float16",
        None,
        MOVES * HALF,
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_allowed_follows_the_precision_inside(kind: str, tmp_path: Path) -> None:
    proto, ports, precision, tolerance = FILES[kind]
    onnx.save(proto, tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    assert model.reference_run is not None, model.source.notes
    assert {port.dtype for port in model.signature.inputs + model.signature.outputs} == {ports}
    assert model.reference_run.precision == precision
    found = model.verify()
    assert found.ok
    assert found.tolerance == tolerance
    assert found.max_error <= tolerance / 2


@pytest.mark.slow
@pytest.mark.usefixtures("processes_of_their_own")
def test_what_onnxruntime_optimizes_wrongly_ends_no_process(tmp_path: Path) -> None:
    """At its last level of optimization, it ends where there is a transposition around a GRU of float16."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        *network("xt", "yt"),
        helper.make_node("Transpose", ["yt"], ["y"], perm=[1, 0, 2]),
    ]
    proto = graph(nodes, "float16", "float16")
    for port in (*proto.graph.input, *proto.graph.output):
        del port.type.tensor_type.shape.dim[:2]
        last = port.type.tensor_type.shape.dim.pop()
        port.type.tensor_type.shape.dim.extend([type(last)(dim_value=1), type(last)(dim_param="T"), last])
    onnx.save(proto, tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    assert model.verify().max_error < 2e-3


def test_a_cell_in_pieces_of_several_types_is_one(tmp_path: Path) -> None:
    """As mixed precision writes it, with a conversion before and after each operator that it leaves in float32."""
    nodes = [
        cast("x", "x16", "float16"),
        helper.make_node("MatMul", ["x16", "Wx"], ["gx"]),
        helper.make_node("MatMul", ["h16", "Wh"], ["gh"]),
        cast("h", "h16", "float16"),
        helper.make_node("Split", ["gx"], ["xr", "xz", "xn"], axis=-1, num_outputs=3),
        helper.make_node("Split", ["gh"], ["hr", "hz", "hn"], axis=-1, num_outputs=3),
        helper.make_node("Add", ["xr", "hr"], ["ar"]),
        cast("ar", "ar32", "float32"),
        helper.make_node("Sigmoid", ["ar32"], ["r32"]),
        cast("r32", "r", "float16"),
        helper.make_node("Add", ["xz", "hz"], ["az"]),
        cast("az", "az32", "float32"),
        helper.make_node("Sigmoid", ["az32"], ["z32"]),
        cast("z32", "z", "float16"),
        helper.make_node("Mul", ["r", "hn"], ["rn"]),
        helper.make_node("Add", ["xn", "rn"], ["an"]),
        cast("an", "an32", "float32"),
        helper.make_node("Tanh", ["an32"], ["n32"]),
        cast("n32", "n", "float16"),
        helper.make_node("Sub", ["h16", "n"], ["d"]),
        helper.make_node("Mul", ["d", "z"], ["dz"]),
        helper.make_node("Add", ["dz", "n"], ["h16_next"]),
        cast("h16_next", "h_next", "float32"),
    ]
    nodes[2], nodes[3] = nodes[3], nodes[2]
    rng = np.random.default_rng(1)
    arrays = {name: rng.uniform(-0.5, 0.5, (n, 12)).astype(np.float16) for name, n in (("Wx", 3), ("Wh", 4))}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 3), ("h", 4))]
    out = helper.make_tensor_value_info("h_next", TensorProto.FLOAT, [1, 4])
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    made = helper.make_graph(nodes, "g", ports, [out], held)
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(proto, tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    assert [layer.kind for layer in model.layers] == ["gru"]
    assert model.reference_run is not None, model.source.notes
    assert model.reference_run.precision == "float16"
    assert model.verify().ok


def test_precisions_are_those_of_what_varies() -> None:
    nodes = [
        cast("W", "W64", "float64"),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 2]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.float16([1]))),
        helper.make_node("CastLike", ["t", "k"], ["l"]),
        helper.make_node("ConstantOfShape", ["one"], ["zeros"]),
        cast("l", "y", "bfloat16"),
    ]
    proto = graph(nodes, "float32", "float32")
    assert precisions(proto.graph, nodes) == {"float16", "bfloat16"}
    assert precisions(proto.graph, nodes[:2]) == set()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("outside", ["same", "float32"])
def test_what_onnxruntime_has_no_operators_for_is_answered_in_float32(dtype: str, outside: str, tmp_path: Path) -> None:
    """It has no GRU of these types; the file is the same but for the types of its numbers."""
    if outside == "same":
        proto = graph(network("x", "y"), dtype, "float32")
    else:
        proto = graph([cast("x", "xd", dtype), *network("xd", "yd"), cast("yd", "y", "float32")], "float32", "float32")
    for tensor in proto.graph.initializer[:-1]:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, ELEMENTS[dtype], array.shape, array.ravel()))
    onnx.save(proto, tmp_path / "model.onnx")
    model = convert(tmp_path / "model.onnx")
    ports = "float64" if (dtype, outside) == ("float64", "same") else "float32"
    assert {port.dtype for port in model.signature.inputs + model.signature.outputs} == {ports}
    run = model.reference_run
    assert run is not None, model.source.notes
    assert run.produced_by.endswith(", of the file in float32")
    assert run.precision is None
    assert model.verify().max_error < 2e-6


def test_what_runs_in_no_type_has_the_first_reason(tmp_path: Path) -> None:
    """A GRU of another layout, which onnxruntime has not."""
    nodes = network("x", "y")
    nodes[0].attribute.append(helper.make_attribute("layout", 1))
    nodes[1].input[1] = "two"
    proto = graph(nodes, "float16", "float16")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2]), "two"))
    onnx.save(proto, tmp_path / "model.onnx")
    notes = convert(tmp_path / "model.onnx").source.notes
    assert notes[0] == "weights of float16 were converted to float32"
    assert notes[1].startswith("no reference run: onnxruntime cannot run the file: ")
