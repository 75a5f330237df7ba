"""Graphs before they are operators: open sizes, inputs that are fixed, branches, loops, tokens, and states."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx_graphs import gru_weights, node, proto, random, written
from step_graphs import Array, imported, kinds, largest_error, program, step_proto

import grurt
from grurt.errors import ConversionError, DesignReason, UnsupportedError

TOLERANCE = 3e-6
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def body(text: str, outputs: list[str], inputs: list[tuple[str, int, list[int]]] | None = None) -> Any:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs or []]
    return helper.make_graph(
        written(text),
        "body",
        values,
        [helper.make_tensor_value_info(o, BOOL if o == "go" else FLOAT, None) for o in outputs],
    )


# sizes that are open


def test_a_batch_of_open_size_is_one() -> None:
    source = step_proto("a = MatMul(x, w); y = Softmax<axis=-1>(a)", {"x": ("n", 3)}, weights={"w": random(3, 4)})
    network = imported(source)
    assert network.signature.inputs[0] == grurt.ValuePort(
        name="x", value="x", dtype="float32", axes=("index", "index"), shape=(1, 3)
    )
    assert largest_error(source, network) <= TOLERANCE


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("y = ReduceMean<axes=[1]>(x)", {}),
        ("y = Softmax<axis=1>(x)", {}),
        ("y = Conv<pads=[1,1]>(x, w)", {"w": random(3, 3, 3)}),
        ("t = Transpose<perm=[0,2,1]>(x); y = MatMul(t, x)", {}),
        ("y = MaxPool<kernel_shape=[2],pads=[1,0]>(x)", {}),
        ("y = Pad(x, p)", {"p": np.array([0, 1, 0, 0, 0, 0])}),
        ("y = CumSum(x, a)", {"a": np.array(1)}),
        ("y = LayerNormalization<axis=1>(x, g)", {"g": random(1)}),
    ],
)
def test_what_works_along_an_axis_of_open_size_is_refused(text: str, weights: dict[str, Array]) -> None:
    """Sizes of 2 tell which axes are open; of those, none may be mixed."""
    shape = (1, "t", 3) if "Conv" not in text and "Pool" not in text else (1, 3, "t")
    opset = 17 if "axes" in text else 18
    with pytest.raises(
        UnsupportedError, match=r"it works along an axis of open size, axis . of '[xt]'; a step graph"
    ) as e:
        imported(step_proto(text, {"x": shape}, weights=weights, opset=opset))
    assert e.value.reason is DesignReason.WHOLE_SEQUENCE


def test_a_history_from_a_state_makes_a_convolution_over_an_open_axis_one_timestep() -> None:
    text = "a = Concat<axis=2>(cache, x); y = Conv(a, w); cache_out = Slice(a, s, e, d)"
    weights = {"w": random(4, 3, 3), "s": np.array([-2]), "e": np.array([2**62]), "d": np.array([2])}
    source = step_proto(text, {"x": (1, 3, "t"), "cache": (1, 3, 2)}, ("y", "cache_out"), weights)
    network = imported(source)
    assert network.signature.fed_back == {"cache": "cache_out", "h": "h_out"}
    assert largest_error(source, network) <= TOLERANCE


def test_a_size_that_is_open_in_name_only_is_one() -> None:
    """The graph says by a Reshape that it can have no other size."""
    text = "a = Reshape(x, s); y = ReduceMean<keepdims=0>(a)"
    source = step_proto(text, {"x": ("n", 3)}, weights={"s": np.array([1, 3])})
    assert largest_error(source, imported(source)) <= TOLERANCE


def test_an_input_without_a_shape_is_refused() -> None:
    source = step_proto("y = Relu(x)", {"x": (1, 3)})
    source.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match="input 'x': the file does not say how many axes it has"):
        imported(source)


# inputs that are fixed


def with_rate() -> ModelProto:
    nodes = [
        *written("k = Constant<value=int64 {16000}>(); is_wide = Equal(sr, k)"),
        node(
            "If",
            ["is_wide"],
            ["y"],
            then_branch=body("y1 = MatMul(x, w)", ["y1"]),
            else_branch=body("y2 = Erf(x)", ["y2"]),
        ),
        *written("h_out = Tanh(h)"),
    ]
    shapes = {"x": (1, 3), "sr": (), "h": (1, 2)}
    return proto(nodes, shapes, ["y", "h_out"], {"w": random(3, 4)}, dtypes={"sr": INT64})


@pytest.mark.parametrize(("rate", "kind"), [(16000, "mat_mul"), (8000, "apply")])
def test_an_input_that_is_fixed_is_folded_away(rate: int, kind: str) -> None:
    source = with_rate()
    network = imported(source, bind={"sr": rate})
    assert [port.name for port in network.signature.inputs] == ["x", "h"]
    assert kind in kinds(network)
    assert "inputs that were fixed: sr" in network.source.notes
    assert largest_error(source, network, bound={"sr": np.array(rate)}) <= TOLERANCE


def test_a_branch_that_depends_on_an_input_says_how_to_fix_it() -> None:
    message = (
        "which of its branches is taken depends on the data; fix the input that it depends on with --bind NAME=VALUE"
    )
    with pytest.raises(UnsupportedError, match=message) as caught:
        imported(with_rate())
    assert caught.value.reason is DesignReason.DATA_DEPENDENT


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        ({"rate": 1}, "bind: the graph has no input 'rate'; it has x, sr, h"),
        ({"sr": [1, 2]}, r"bind: expected int64 of the shape \(\) for the input 'sr'"),
        ({"sr": 1.5}, "bind: the value of the input 'sr' is none of the dtype int64"),
        ({"sr": "fast"}, "bind: expected int64 of the shape"),
        ({"x": 1, "h": 1}, "no output goes back into an input"),
    ],
)
def test_values_that_do_not_fit_are_refused(bind: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        imported(with_rate(), bind={"sr": 16000, **bind})


def test_one_number_is_repeated_to_the_shape_of_the_input() -> None:
    source = step_proto("y = Add(x, z)", {"x": (2, 3), "z": (2, 3)})
    network = imported(source, bind={"z": 2})
    assert largest_error(source, network, bound={"z": np.full((2, 3), 2, np.float32)}) <= TOLERANCE


# branches and loops


@pytest.mark.parametrize("steps", [3, 0, 1])
def test_a_loop_of_known_length_is_written_out(steps: int) -> None:
    inner = body(
        "n = Add(s, x); row = Mul(n, x); go = Identity(c)",
        ["go", "n", "row"],
        [("i", INT64, []), ("c", BOOL, []), ("s", FLOAT, [1, 3])],
    )
    outputs = ["y", "rows"] if steps else ["y", ""]
    nodes = [node("Loop", ["count", "", "x"], outputs, body=inner), *written("h_out = Tanh(h)")]
    if not steps:
        inner.node.pop(1)
        inner.output.pop()
        nodes[0] = node("Loop", ["count", "", "x"], ["y"], body=inner)
    source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, [o for o in outputs if o] + ["h_out"], {"count": np.array(steps)})
    assert largest_error(source, imported(source)) <= TOLERANCE


def test_a_loop_ends_where_its_condition_says() -> None:
    inner = body(
        "n = Add(s, s); go = Less(i, most)",
        ["go", "n"],
        [("i", INT64, []), ("c", BOOL, []), ("s", FLOAT, [1, 3])],
    )
    nodes = [node("Loop", ["", "start", "x"], ["y"], body=inner), *written("h_out = Tanh(h)")]
    weights = {"most": np.array(2), "start": np.array(True)}
    source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], weights)
    network = imported(source)
    assert kinds(network).count("combine") == 3
    assert largest_error(source, network) <= TOLERANCE


@pytest.mark.parametrize(
    ("count", "start", "change"),
    [
        ("n", "", "go = Identity(c)"),
        ("", "t", "go = Identity(c)"),
        ("", "t", "r = ReduceSum<keepdims=0>(s); go = Greater(r, z)"),
    ],
)
def test_a_loop_whose_length_is_not_known_is_refused(count: str, start: str, change: str) -> None:
    inner = body(f"m = Add(s, s); {change}", ["go", "m"], [("i", INT64, []), ("c", BOOL, []), ("s", FLOAT, [1, 3])])
    nodes = [node("Loop", [count, start, "x"], ["y"], body=inner), *written("h_out = Tanh(h)")]
    shapes = {"x": (1, 3), "n": (), "h": (1, 2)}
    weights = {"t": np.array(True), "z": np.float32(0)}
    source = proto(nodes, shapes, ["y", "h_out"], weights, dtypes={"n": INT64})
    with pytest.raises(
        UnsupportedError, match="how often it goes round depends on the data, or is too often; export one"
    ):
        imported(source)


# tokens


def test_a_number_that_picks_from_a_table_is_a_token() -> None:
    text = "a = Squeeze(t); b = Gather(table, a); d = Gather(other, t); e = Reshape(d, s); y = Add(b, e)"
    weights = {"table": random(7, 3), "other": random(7, 3), "s": np.array([3])}
    source = step_proto(text, {"t": (1, 1)}, weights=weights, dtypes={"t": INT64})
    network = imported(source)
    assert network.inputs == (grurt.TokenInput("t", 7),)
    assert [layer.kind for layer in network.layers] == ["embedding", "embedding", "program", "slice", "slice"][:3]
    assert largest_error(source, network) <= TOLERANCE


def test_a_token_that_is_a_number_too_is_refused() -> None:
    text = "a = Gather(table, t); b = Cast<to=1>(t); y = Add(a, b)"
    source = step_proto(text, {"t": (1, 1)}, weights={"table": random(7, 3)}, dtypes={"t": INT64})
    with pytest.raises(UnsupportedError, match="input 't': it is a token, which picks from a table, and a number too"):
        imported(source)


def test_tables_of_different_sizes_are_refused() -> None:
    text = "a = Gather(one, t); b = Gather(two, t); y = Add(a, b)"
    weights = {"one": random(7, 3), "two": random(8, 3)}
    source = step_proto(text, {"t": (1,)}, weights=weights, dtypes={"t": INT64})
    with pytest.raises(UnsupportedError, match=re.escape("input 't': it picks from tables of [7, 8] rows")):
        imported(source)


def test_a_whole_number_that_is_no_token_is_a_number() -> None:
    source = step_proto("b = Cast<to=1>(t); y = Mul(b, b)", {"t": (1, 1)}, dtypes={"t": INT64})
    network = imported(source)
    assert network.inputs == (grurt.Input("t", 1),)
    assert network.signature.inputs[0].dtype == "int64"
    assert largest_error(source, network) <= TOLERANCE


# states


def test_states_that_are_handed_back_swapped_are_swapped() -> None:
    nodes = written("y = Add(x, a); a_out = Identity(b); b_out = Identity(a)")
    source = proto(nodes, {"x": (1, 3), "a": (1, 3), "b": (1, 3)}, ["y", "a_out", "b_out"], {})
    begins = {"a": random(1, 3, seed=1), "b": random(1, 3, seed=2)}
    network = imported(source, initial=begins)
    assert len(program(network).operators) == 1
    assert largest_error(source, network) <= TOLERANCE
    assert not any("begin as zeros" in note for note in network.source.notes)


def test_a_state_that_is_the_only_answer_is_one() -> None:
    nodes = written("j = Concat<axis=1>(x, h); a = MatMul(j, w); h_new = Tanh(a)")
    source = proto(nodes, {"x": (1, 3), "h": (1, 4)}, ["h_new"], {"w": random(7, 4)})
    network = imported(source, initial={"h": np.ones((1, 4))})
    assert [output.name for output in network.outputs] == ["h_new"]
    assert network.state_shapes == {"h": (1, 4)}
    assert largest_error(source, network) <= TOLERANCE


def test_a_delay_is_a_program_that_computes_nothing() -> None:
    nodes = written("y = Identity(h); h_out = Identity(x)")
    source = proto(nodes, {"x": (1, 3), "h": (1, 3)}, ["y", "h_out"], {})
    network = imported(source)
    assert kinds(network) == ["reshape"]
    assert largest_error(source, network) <= TOLERANCE


def test_an_answer_that_is_constant_is_given() -> None:
    source = step_proto("a = Relu(x); y = Identity(w)", {"x": (1, 3)}, ("a", "y"), {"w": random(2, 2)})
    assert largest_error(source, imported(source)) <= TOLERANCE


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ({"x": np.zeros((1, 3))}, "initial: 'x' is no state; states are h"),
        ({"h": np.zeros((1, 3))}, r"initial: 'h': expected numbers of shape \(1, 2\), got float64 \(1, 3\)"),
    ],
)
def test_what_states_begin_as_has_to_fit(initial: dict[str, Array], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        imported(step_proto("y = Relu(x)", {"x": (1, 3)}), initial=initial)


def test_values_have_names_of_their_own() -> None:
    """Whatever the source calls its tensors: names that files cannot hold are replaced, others kept."""
    nodes = [node("Tanh", ["x"], ["a\x00b"]), node("Erf", ["a\x00b"], ["y"]), *written("h_out = Tanh(h)")]
    source = proto(nodes, {"x": (1, 3), "h": (1, 2)}, ["y", "h_out"], {})
    operators = program(imported(source)).operators
    assert [operator.outputs for operator in operators] == [("value",), ("y",), ("h_out",)]


def test_every_input_is_a_state() -> None:
    source = proto(written("h_out = Tanh(h)"), {"h": (1, 2)}, ["h_out"], {})
    message = "every input of the graph is a state or a context: a network needs one that is neither"
    with pytest.raises(UnsupportedError, match=message):
        imported(source)


def test_a_graph_of_whole_sequences_is_refused() -> None:
    """DeepFilterNet's encoder, cut to one timestep, would be wrong without a word."""
    nodes = [node("GRU", ["x", "W", "R", "B"], ["y", ""], hidden_size=5), *written("h_out = Tanh(h)")]
    source = proto(nodes, {"x": (1, 1, 3), "h": (1, 2)}, ["y", "h_out"], gru_weights())
    message = "it runs for one timestep, and begins at the same state each time; this is a graph of whole sequences"
    with pytest.raises(UnsupportedError, match=message) as caught:
        imported(source)
    assert caught.value.reason is DesignReason.WHOLE_SEQUENCE


def test_the_state_of_a_recurrent_layer_is_missed() -> None:
    nodes = [node("GRU", ["x", "W", "R", "B", "", "g"], ["y", "z"], hidden_size=5), *written("h_out = Tanh(h)")]
    shapes = {"x": (1, 1, 3), "g": (1, 1, 5), "h": (1, 2)}
    with pytest.raises(UnsupportedError, match=r"candidates of one shape and dtype are 'g' .*: z"):
        imported(proto(nodes, shapes, ["y", "z", "h_out"], gru_weights()))
    with pytest.raises(UnsupportedError, match=r"the input 'g' .* is a state, and no output is what it becomes"):
        imported(proto(nodes, shapes, ["y", "h_out"], gru_weights()))
    network = imported(proto(nodes, shapes, ["y", "z", "h_out"], gru_weights()), state={"g": "z"})
    assert network.signature.fed_back == {"g": "z", "h": "h_out"}
