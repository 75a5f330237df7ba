"""Small ONNX graphs for tests, and their comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import paths
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser

import grurt
from grurt.converters.onnx.convert import network_of_proto

DATA = paths.DATA / "onnx"
TOLERANCE = 2e-6

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = Mapping[str, Sequence[int | str]]

INPUT, HIDDEN = 3, 5


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, name=attributes.pop("name", ""), **attributes)


def written(text: str) -> list[NodeProto]:
    """Return nodes that are written as ONNX's own text format has them, such as ``"a = Relu(s); y = Neg(a)"``."""
    return [parser.parse_node(line) for line in text.split(";")]


def proto(
    nodes: Sequence[NodeProto],
    inputs: Shapes,
    outputs: Sequence[str],
    weights: Mapping[str, Array],
    *,
    opset: int = 18,
    producer: str = "",
    dtypes: Mapping[str, int] | None = None,
) -> ModelProto:
    """Return a model; inputs are float32 unless ``dtypes`` says otherwise."""
    types = {**dict.fromkeys(inputs, TensorProto.FLOAT), **(dtypes or {})}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, types[name], shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in outputs],
        [numpy_helper.from_array(np.array(array, order="C"), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, producer_name=producer, ir_version=8)


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).uniform(-0.7, 0.7, shape).astype(np.float32)


def gru_weights(directions: int = 1, size: int = INPUT, prefix: str = "") -> dict[str, Array]:
    """Return random W, R and B of a GRU node."""
    return {
        f"{prefix}W": random(directions, 3 * HIDDEN, size, seed=1),
        f"{prefix}R": random(directions, 3 * HIDDEN, HIDDEN, seed=2),
        f"{prefix}B": random(directions, 6 * HIDDEN, seed=3),
    }


_CELL = """\
{y}i = Gemm({x}, Wi, bi); {y}g = Gemm({h}, Wh, bh);
{y}ir, {y}iz, {y}in = Split <axis = -1>({y}i, thirds); {y}hr, {y}hz, {y}hn = Split <axis = -1>({y}g, thirds);
{y}ar = Add({y}ir, {y}hr); {y}r = Sigmoid({y}ar); {y}az = Add({y}iz, {y}hz); {y}z = Sigmoid({y}az);
{y}rn = Mul({y}r, {y}hn); {y}an = Add({y}in, {y}rn); {y}n = Tanh({y}an);
{y}d = Sub({h}, {y}n); {y}zd = Mul({y}z, {y}d); {y} = Add({y}zd, {y}n)"""


def cell(x: str, h: str, y: str) -> str:
    """Return the text of a GRU cell as PyTorch computes it, from an input and a state to the new state."""
    return _CELL.format(x=x, h=h, y=y)


def cell_weights() -> dict[str, Array]:
    """Return the weights that the text of `cell` names."""
    return {
        "Wi": random(INPUT, 3 * HIDDEN),
        "Wh": random(HIDDEN, 3 * HIDDEN),
        "bi": random(3 * HIDDEN),
        "bh": random(3 * HIDDEN),
        "thirds": np.array([HIDDEN] * 3),
    }


def after_gru(
    nodes: Sequence[NodeProto],
    weights: Mapping[str, Array] | None = None,
    *,
    shape: Sequence[int | str] = ("t", "b", INPUT),
    **options: Any,
) -> ModelProto:
    """Return a GRU whose outputs, squeezed, are ``s (time, batch, hidden)`` and ``h (batch, hidden)``, and more nodes.

    The graph's output is ``y``.
    """
    constants = {"zero": np.array([0]), "one": np.array([1]), **gru_weights(), **(weights or {})}
    start = [
        node("GRU", ["x", "W", "R", "B"], ["Y", "Y_h"], hidden_size=HIDDEN, linear_before_reset=1),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Squeeze", ["Y_h", "zero"], ["h"]),
    ]
    return proto([*start, *nodes], {"x": shape, **options.pop("inputs", {})}, ["y"], constants, **options)


def converted_and_checked(model: ModelProto, **options: Any) -> grurt.Model:
    """Convert, and check the answers against onnxruntime, whole and step by step."""
    found = convert(model, reference=True, **options)
    assert found.reference_run is not None, found.source.notes
    verification = found.verify()
    assert verification.max_error < TOLERANCE
    assert verification.same_bits
    return found


def convert(model: ModelProto, **options: Any) -> grurt.Model:
    network = network_of_proto(model, folder=None, source=grurt.Source(format="onnx"), **options)
    return grurt.Model.from_network(network)


def kinds(model: grurt.Model) -> list[str]:
    return [layer.kind for layer in model.layers]


def stored(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the stored inputs and outputs of a file in tests/data/onnx."""
    base = name.removesuffix(".onnx")
    short = base.split(".")[0]
    candidates = [base, *([f"{short}.dyn.db"] if ".dyn.db." in base else []), short]
    path = next(path for path in (DATA / f"{candidate}.npz" for candidate in candidates) if path.exists())
    with np.load(path) as arrays:
        everything = dict(arrays)
    return tuple(
        {key.removeprefix(side): array for key, array in everything.items() if key.startswith(side)}
        for side in ("in_", "out_")
    )  # type: ignore[return-value]


def load(name: str) -> ModelProto:
    """Return a stored model with its external data inside."""
    return onnx.load(DATA / name)
