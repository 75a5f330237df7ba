"""Graphs in the forms that optimizers, or exporters without one, leave behind, compared with onnxruntime."""

from __future__ import annotations

import contextlib
import io
import warnings
import zlib

import numpy as np
import pytest
import torch
import torch_networks
import torch_topologies
from onnx_exports import check
from onnx_graphs import HIDDEN, INPUT, after_gru, convert, converted_and_checked, kinds, proto, random, written
from torch_networks import Network

import grurt
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import UnsupportedError

WEIGHTS = {
    "M": random(HIDDEN, HIDDEN),
    "v": random(HIDDEN, seed=1),
    "two": np.array(2),
    "chunk": np.array(3),
    "sizes": np.array([1, 3, 1]),
    "p0": np.array(0),
    "p1": np.array(1),
    "p2": np.array(2),
    "behind": np.array(-1),
    "three": np.array(3.0, np.float32),
}


def kinds_of(text: str, **options: int) -> list[str]:
    nodes = written(text)
    read = {name for node in nodes for name in node.input}
    graph = after_gru(nodes, {name: array for name, array in WEIGHTS.items() if name in read}, **options)
    return kinds(converted_and_checked(graph))


@pytest.mark.parametrize(
    "text",
    [
        "q = SplitToSequence <axis = -1>(s, sizes); a = SequenceAt(q, p1); y = Relu(a)",
        "q = SplitToSequence <axis = -1>(s, sizes); a = SequenceAt(q, behind); y = Relu(a)",
        "q = SplitToSequence <axis = 2>(s, chunk); b = SequenceAt(q, p1); y = Relu(b)",
        "q = SplitToSequence <axis = 2>(s); a = SequenceAt(q, p2); b = SequenceAt(q, behind); y = Add(b, a)",
        "q = SplitToSequence <axis = 2, keepdims = 0>(s); a = SequenceAt(q, p2); y = Unsqueeze(a, at_two)",
        "a = Relu(s); q = SequenceConstruct(s, a); y = ConcatFromSequence <axis = 2>(q)",
    ],
)
def test_lists_of_tensors(text: str) -> None:
    weights = {**WEIGHTS, "at_two": np.array([2])}
    nodes = written(text)
    read = {name for node in nodes for name in node.input}
    converted_and_checked(after_gru(nodes, {name: array for name, array in weights.items() if name in read}))


@pytest.mark.parametrize(
    "text",
    [
        "q = SplitToSequence <axis = -1>(s, chunk); a = SequenceAt(q, behind); y = Relu(a)",  # of unknown size
        "q = SplitToSequence <axis = -1>(s, v3); a = SequenceAt(q, far); y = Relu(a)",
        "q = SequenceConstruct(s, s); y = SequenceAt(q, p0)",
    ],
)
def test_lists_that_stay(text: str) -> None:
    weights = {**WEIGHTS, "v3": np.array([2, 3]), "far": np.array(7)}
    nodes = written(text)
    read = {name for node in nodes for name in node.input}
    with pytest.raises(
        UnsupportedError, match=r"\((SplitToSequence|SequenceConstruct)\): the operator is not supported"
    ):
        convert(after_gru(nodes, {name: array for name, array in weights.items() if name in read}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c = CastLike(two, s); y = Mul(s, c)", ["gru", "activation"]),
        ("c = CastLike(s, three); y = Relu(c)", ["gru", "activation"]),
        ("d = Less(s, three); c = CastLike(d, s); y = Relu(c)", None),
    ],
)
def test_types_of_other_tensors(text: str, expected: list[str] | None) -> None:
    found = kinds_of(text)
    assert expected is None or found == expected


def test_a_value_that_a_gemm_adds() -> None:
    assert kinds_of("g = Gemm(h, M, h); a = Gemm <alpha = 0.5>(g, M, v); y = Relu(a)") == [
        "gru",
        "last_step",
        "linear",
        "add",
        "linear",
        "activation",
    ]


CELL = """\
i{n} = Gemm({x}, Wi, bi); {g} ir{n}, iz{n}, in{n} = Split <axis = -1>(i{n}, thirds);
ar{n} = {ar}; r{n} = Sigmoid(ar{n}); az{n} = {az}; z{n} = Sigmoid(az{n});
rn{n} = Mul(r{n}, {hn}); an{n} = Add(in{n}, rn{n}); t{n} = Tanh(an{n});
d{n} = Sub({h}, t{n}); zd{n} = Mul(z{n}, d{n}); {y} = Add(zd{n}, t{n})"""


@pytest.mark.parametrize("as_lists", [False, True])
def test_a_loop_whose_first_step_was_folded_as_far_as_it_goes(as_lists: bool) -> None:
    """The state is zero, and the recurrent layer has no bias: what is added to two gates vanishes."""
    first = CELL.format(n=0, x="x0", g="", ar="Identity(ir0)", az="Identity(iz0)", hn="zeros", h="zeros", y="h1")
    gates = "g1 = Gemm(h1, Wh); hr1, hz1, hn1 = Split <axis = -1>(g1, thirds);"
    second = CELL.format(n=1, x="x1", g=gates, ar="Add(ir1, hr1)", az="Add(iz1, hz1)", hn="hn1", h="h1", y="h2")
    text = (
        f"x0 = Gather <axis = 1>(x, p0); x1 = Gather <axis = 1>(x, p1); {first}; {second};"
        "a = Unsqueeze(h1, one); b = Unsqueeze(h2, one); y = Concat <axis = 1>(a, b)"
    )
    if as_lists:
        text = text.replace("Gather <axis = 1>(x", "SequenceAt(q")
        text = f"q = SplitToSequence <axis = 1, keepdims = 0>(x); {text}"
        stacked = text.index("a = Unsqueeze")
        text = f"{text[:stacked]} o = SequenceConstruct(h1, h2); y = ConcatFromSequence <axis = 1, new_axis = 1>(o)"
    text = text.replace("ar0 = Identity(ir0); r0 = Sigmoid(ar0)", "r0 = Sigmoid(ir0)")
    text = text.replace("az0 = Identity(iz0); z0 = Sigmoid(az0)", "z0 = Sigmoid(iz0)")
    weights = {
        "Wi": random(INPUT, 3 * HIDDEN),
        "Wh": random(HIDDEN, 3 * HIDDEN),
        "bi": random(3 * HIDDEN),
        "zeros": np.zeros((2, HIDDEN), np.float32),
        "thirds": np.array([HIDDEN] * 3),
        "one": np.array([1]),
        **{name: WEIGHTS[name] for name in ("p0", "p1")},
    }
    used = {name: array for name, array in weights.items() if not as_lists or name != "one"}
    assert kinds(converted_and_checked(proto(written(text), {"x": (2, 2, INPUT)}, ["y"], used))) == ["gru"]


def test_a_loop_of_which_each_step_has_its_own_copy_of_the_weights() -> None:
    """As PyTorch writes it with keep_initializers_as_inputs=True."""
    steps = []
    for n in range(2):
        gates = f"g{n} = Gemm(h{n}, Wh{n}); hr{n}, hz{n}, hn{n} = Split <axis = -1>(g{n}, thirds);"
        parts = {"ar": f"Add(ir{n}, hr{n})", "az": f"Add(iz{n}, hz{n})", "hn": f"hn{n}", "h": f"h{n}", "y": f"h{n + 1}"}
        step = CELL.format(n=n, x=f"x{n}", g=gates, **parts).replace("Wi", f"Wi{n}").replace("bi", f"bi{n}")
        steps.append(f"x{n} = Gather <axis = 1>(x, p{n}); {step}")
    shapes = {"Wi": (INPUT, 3 * HIDDEN), "Wh": (HIDDEN, 3 * HIDDEN), "bi": (3 * HIDDEN,)}
    weights = {f"{name}{n}": random(*shape) for name, shape in shapes.items() for n in range(2)}
    weights |= {"thirds": np.array([HIDDEN] * 3), **{name: WEIGHTS[name] for name in ("p0", "p1")}}
    text = "; ".join([*steps, "y = Identity(h2)"])
    inputs = {"x": (2, 2, INPUT), "h0": (2, HIDDEN)}
    assert kinds(converted_and_checked(proto(written(text), inputs, ["y"], weights))) == ["gru"]


def test_weights_that_only_look_alike_stay_apart() -> None:
    """Of one shape, and one checksum."""
    one, other = b"plumless", b"buckeroo"
    assert zlib.crc32(one) == zlib.crc32(other)
    weights = {name: np.frombuffer(data, np.float32).reshape(2, 1) for name, data in (("a", one), ("b", other))}
    nodes = written("c = MatMul(u, a); d = MatMul(u, b); y = Sub(c, d)")
    nodes[:0] = written("u = MatMul(s, w)")
    found = convert(after_gru(nodes, {**weights, "w": random(HIDDEN, 2)}))
    kept = [found.weights[f"{layer.name}.weight"] for layer in found.layers if layer.kind == "linear"][1:]
    np.testing.assert_array_equal(kept[0], weights["a"].T)
    np.testing.assert_array_equal(kept[1], weights["b"].T)


NETWORKS: dict[str, Network] = {**torch_networks.NETWORKS, **torch_topologies.NETWORKS}


def exported_as_it_is(network: Network) -> bytes:
    """Return what PyTorch exports before it optimizes that."""
    buffer = io.BytesIO()
    names = [f"input_{index}" for index in range(len(network.inputs))]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.module,
            network.inputs,
            buffer,
            input_names=names,
            opset_version=20,
            dynamo=True,
            optimize=False,
            external_data=False,
            verbose=False,
        )
    return buffer.getvalue()


def check_everything(name: str) -> None:
    network = NETWORKS[name]
    data = exported_as_it_is(network)
    model = grurt.Model.from_network(network_of_bytes(data, source=grurt.Source(format="onnx")))
    check(model, network, network.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softplus", "cells", "grouped", "loop_with_states"])
def test_what_an_exporter_did_not_optimize(name: str) -> None:
    check_everything(name)


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_that_an_exporter_did_not_optimize(name: str) -> None:
    check_everything(name)
