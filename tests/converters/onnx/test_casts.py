"""Conversions between types: between those of floating point they change nothing, others are what they are."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_graphs import after_gru, converted_and_checked, node

from grurt.converters.graph.nodes import Declaration, Graph, Node
from grurt.converters.graph.rewriting.casts import without_float_casts


def graph(*nodes: Node) -> Graph:
    inputs = (Declaration("x", "float32", (1, 2)), Declaration("i", "int64", (1, 2)))
    constants = {"w": np.ones(3, np.float16), "k": np.ones(3, np.int64)}
    return Graph(nodes, constants, inputs, (Declaration("y", "float32", (1, 2)),), "", "", 100)


def cast(source: str, target: str, to: int) -> Node:
    return Node("", "Cast", (source,), (target,), {"to": to})


@pytest.mark.parametrize(
    ("nodes", "read"),
    [
        ([cast("x", "a", TensorProto.FLOAT16)], "x"),
        ([cast("x", "b", TensorProto.DOUBLE), cast("b", "a", TensorProto.BFLOAT16)], "x"),
        ([cast("w", "a", TensorProto.FLOAT)], "w"),
        ([Node("", "Tanh", ("x",), ("t",)), cast("t", "a", TensorProto.FLOAT)], "t"),
        ([Node("", "Split", ("x",), ("s", "t")), cast("t", "a", TensorProto.FLOAT)], "t"),
        ([cast("i", "b", TensorProto.FLOAT), cast("b", "a", TensorProto.FLOAT16)], "b"),
        ([cast("i", "a", TensorProto.FLOAT)], "a"),
        ([cast("k", "a", TensorProto.FLOAT)], "a"),
        ([cast("x", "a", TensorProto.INT64)], "a"),
        ([Node("", "Less", ("x", "x"), ("t",)), cast("t", "a", TensorProto.FLOAT)], "a"),
        ([Node("", "TopK", ("x", "k"), ("s", "t")), cast("t", "a", TensorProto.FLOAT)], "a"),
        ([Node("", "Shape", ("x",), ("t",)), cast("t", "a", TensorProto.FLOAT)], "a"),
    ],
)
def test_only_conversions_between_floating_points_are_taken_out(nodes: list[Node], read: str) -> None:
    found = without_float_casts(graph(*nodes, Node("", "Relu", ("a",), ("y",))))
    assert found.nodes[-1].inputs == (read,)


def test_a_condition_that_becomes_a_number_stays_one() -> None:
    nodes = [
        node("Less", ["s", "limit"], ["small"]),
        node("Cast", ["small"], ["mask"], to=TensorProto.FLOAT),
        node("Mul", ["s", "mask"], ["y"]),
    ]
    converted_and_checked(after_gru(nodes, {"limit": np.float32([0.1])}))


def test_features_become_integers_towards_zero() -> None:
    nodes = [
        node("Mul", ["s", "three"], ["t"]),
        node("Cast", ["t"], ["i"], to=TensorProto.INT64),
        node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    converted_and_checked(after_gru(nodes, {"three": np.float32(3)}))
