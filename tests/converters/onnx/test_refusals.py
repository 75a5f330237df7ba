"""What is not supported is refused by name, with the reason and what to do; nothing is ignored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import ModelProto, NodeProto, TensorProto
from onnx_graphs import (
    HIDDEN,
    INPUT,
    after_gru,
    cell,
    cell_weights,
    convert,
    gru_weights,
    node,
    proto,
    random,
    written,
)

from grurt.errors import ConversionError, GrurtError, UnsupportedError


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("ReduceMean", ["s"], ["y"], name="pool")], r"node 'pool' \(ReduceMean\): it computes across all axes"),
        ([node("Det", ["s"], ["y"])], r"node 'y' \(Det\): the operator is not supported; supported are GRU, linear"),
        ([node("Cast", ["s"], ["y"], to=TensorProto.UINT8)], "it casts features to uint8"),
        ([node("MatMul", ["s", "s"], ["y"])], "only a value times a constant matrix is supported"),
        ([node("Gemm", ["h", "M"], ["y"], transA=1)], r"it transposes the value that it multiplies \(transA=1\)"),
        ([node("Gemm", ["h", "M", "h"], ["y"], beta=2.0)], "it adds a value times beta=2.0"),
        ([node("Gather", ["s", "one"], ["y"], axis=1)], "it selects from the batch"),
        ([node("Gather", ["s", "one"], ["y"], axis=0)], "it picks position 1 of t.*only the last or first timestep"),
        ([node("Slice", ["s", "one", "two", "zero"], ["g"]), node("Relu", ["g"], ["y"])], "it picks position 1 of"),
        ([node("Slice", ["s", "zero", "far", "zero"], ["y"])], "it cuts an axis of open size at 0:5000"),
        (
            [node("Slice", ["s", "zero", "two", "zero"], ["y"])],
            "it keeps no more than 2 timesteps of axis 0 of input 'x', which is of open size",
        ),
        (
            [node("Reshape", ["s", "merge"], ["y"])],
            "output 'y': one of its axes merges 3 axes; export the model with an output of .batch, time, features",
        ),
        (
            [
                node("Unsqueeze", ["h", "zero"], ["row"]),
                node("Concat", ["row", "row"], ["rows"], axis=0),
                node("Transpose", ["rows"], ["h0"], perm=[1, 0, 2]),
                node("GRU", ["s", "W2", "R2", "", "", "h0"], ["y"], hidden_size=HIDDEN),
            ],
            "axis 1 of input 'x' holds states, which are stacked along another axis: .*; stack states along one axis",
        ),
        ([node("Expand", ["h", "wide"], ["y"])], "output 'y': it repeats one vector at every timestep; export"),
        ([node("Tile", ["s", "twice"], ["y"])], r"it repeats a value of shape .* \(1, 2, 1\) times"),
        ([node("Squeeze", ["s", "two"], ["y"])], r"it squeezes the axes \(2,\) of the shape .* not of size 1"),
        (
            [node("Transpose", ["s"], ["f"], perm=[2, 0, 1]), node("Add", ["s", "f"], ["y"])],
            "axis 0 of input 'x' serves as the feature axis here and as the time axis of node '.*' .GRU.; each GRU",
        ),
        ([node("TopK", ["s", "two"], ["y", "i"])], "it sorts something else than lengths of sequences"),
        ([node("Add", ["s", "big"], ["y"])], "a constant may be one number, or one for each feature"),
        ([node("Add", ["s", "whole"], ["y"])], "it combines features with a constant of the type int64"),
        (
            [node("LogSoftmax", ["s"], ["y"], axis=0)],
            "it computes across timesteps or sequences; supported are layers that work on one timestep at a time",
        ),
        (
            [node("Softmax", ["s"], ["y"], axis=0)],
            "it reads weights that a softmax over timesteps has made, .*; multiply them with a sequence, and sum over",
        ),
        ([node("LayerNormalization", ["s", "M"], ["y"], axis=1)], "it normalizes several axes"),
        ([node("Relu", ["s"], ["y"], alpha=0.5)], r"\(Relu\): its attribute 'alpha' is not understood"),
        ([node("Dropout", ["s", "half", "true"], ["y"])], "exported in training mode; call model.eval"),
        ([node("Clip", ["s", "h"], ["y"])], "its min must be a constant, but depends on the model's inputs"),
        ([node("Det", ["M"], ["m"]), node("Mul", ["s", "m"], ["y"])], "grurt does not evaluate this operator"),
    ],
)
def test_operators(nodes: Sequence[NodeProto], message: str) -> None:
    weights = {
        "M": random(HIDDEN, 4),
        "W2": random(1, 3 * HIDDEN, HIDDEN),
        "R2": random(1, 3 * HIDDEN, HIDDEN),
        "two": np.array([2]),
        "far": np.array([5000]),
        "merge": np.array([-1]),
        "wide": np.array([4, 1, 1]),
        "twice": np.array([1, 2, 1]),
        "big": random(4, 1, HIDDEN),
        "whole": np.array([1, 2, 3, 4, 5]),
        "half": np.array(0.5, np.float32),
        "true": np.array(True),
    }
    read = {name for one in nodes for name in one.input}
    used = {name: array for name, array in weights.items() if name in read}
    with pytest.raises(UnsupportedError, match=message):
        convert(after_gru(nodes, used))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("LSTM", r"node 'cell' \(LSTM\): grurt runs GRU networks; LSTM is not supported; train the model with a GRU"),
        ("RNN", r"node 'cell' \(RNN\): grurt runs GRU networks; the plain RNN is not supported"),
    ],
)
def test_other_recurrent_layers(op: str, message: str) -> None:
    gates = {"LSTM": 4, "RNN": 1}[op]
    weights = {"W": random(1, gates * HIDDEN, INPUT), "R": random(1, gates * HIDDEN, HIDDEN)}
    cell = node(op, ["x", "W", "R"], ["y"], hidden_size=HIDDEN, name="cell")
    with pytest.raises(UnsupportedError, match=message):
        convert(proto([cell], {"x": (4, 2, INPUT)}, ["y"], weights))


@pytest.mark.parametrize("producer", ["tf2onnx", "keras2onnx"])
def test_keras_exports_are_sent_back_to_the_keras_file(producer: str) -> None:
    linear = [node("MatMul", ["x", "M"], ["y"])]
    graph = proto(linear, {"x": (4, INPUT)}, ["y"], {"M": random(INPUT, 4)}, producer=producer)
    with pytest.raises(
        UnsupportedError,
        match=r"the graph holds no GRU: neither the operator, .* \+ z \* h; convert the \.keras or \.h5 file",
    ):
        convert(graph)


def test_a_graph_without_any_gru() -> None:
    with pytest.raises(UnsupportedError, match=r"the graph holds no GRU: neither the operator, nor a loop .* z \* h$"):
        convert(proto([node("MatMul", ["x", "M"], ["y"])], {"x": (4, INPUT)}, ["y"], {"M": random(INPUT, 4)}))


def test_a_cell_that_is_none_says_which_part_does_not_fit() -> None:
    text = cell("x", "h", "y").replace("yn = Tanh(yan)", "yn = Relu(yin)")
    message = (
        r"node 'y' \(Add\): the graph holds no GRU, and what looks like a GRU cell is none: the candidate n is not tanh"
        r"\(W x .*: found node 'yn' \(Relu\) of Split; convert the \.keras or \.h5 file itself\n"
        r"nor can it be imported literally, as one timestep: it is not clear which outputs are states that go back"
    )
    with pytest.raises(UnsupportedError, match=message):
        convert(proto(written(text), {"x": (2, INPUT), "h": (2, HIDDEN)}, ["y"], cell_weights(), producer="tf2onnx"))


def gru(inputs: Sequence[str], outputs: Sequence[str] = ("Y", "Y_h"), **attributes: object) -> NodeProto:
    return node("GRU", inputs, outputs, hidden_size=HIDDEN, name="gru", **attributes)


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"direction": "sideways"}, ConversionError, "its direction is none of forward, reverse, bidirectional"),
        ({"activations": ["Sigmoid", "Sine"]}, UnsupportedError, "the activation 'Sine'; supported are Relu"),
        ({"activations": ["Sigmoid"]}, ConversionError, "expected 2 activations for each of 1 directions, got 1"),
        ({"output_sequence": 1}, UnsupportedError, "its attribute 'output_sequence' is not understood"),
        ({"clip": 1}, ConversionError, "expected a number as its attribute 'clip'"),
    ],
)
def test_gru_attributes(attributes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        convert(proto([gru(["x", "W", "R", "B"], **attributes)], {"x": ("t", "b", INPUT)}, ["Y"], gru_weights()))


def test_gru_weights_of_a_wrong_shape() -> None:
    weights = {**gru_weights(), "B": random(1, 3 * HIDDEN)}
    with pytest.raises(ConversionError, match=r"expected B of shape \(1, 30\), got float32 \(1, 15\)"):
        convert(proto([gru(["x", "W", "R", "B"])], {"x": ("t", "b", INPUT)}, ["Y"], weights))


def test_gru_weights_that_depend_on_an_input() -> None:
    weights = {name: gru_weights()[name] for name in ("R", "B")}
    inputs = {"x": ("t", "b", INPUT), "W": (1, 3 * HIDDEN, INPUT)}
    with pytest.raises(UnsupportedError, match="its weights W must be a constant, but depends on the model's inputs"):
        convert(proto([gru(["x", "W", "R", "B"])], inputs, ["Y"], weights))


def test_linear_before_reset_that_pytorch_cannot_mean() -> None:
    graph = proto([gru(["x", "W", "R", "B"])], {"x": ("t", "b", INPUT)}, ["Y"], gru_weights(), producer="pytorch")
    with pytest.raises(UnsupportedError, match="gives wrong answers in every runtime; export again with onnxscript"):
        convert(graph)
    assert convert(graph, repair=True).layers[0].linear_before_reset  # type: ignore[union-attr]


def test_one_state_for_two_grus() -> None:
    second = gru_weights(size=HIDDEN, prefix="2")
    nodes = [
        gru(["x", "W", "R", "B", "", "h"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("GRU", ["s", "2W", "2R", "2B", "", "h"], ["y"], hidden_size=HIDDEN),
    ]
    weights = {**gru_weights(), **second, "one": np.array([1])}
    inputs = {"x": ("t", "b", INPUT), "h": (1, "b", HIDDEN)}
    with pytest.raises(UnsupportedError, match=r"input 'h': it holds 1 states of 5 features, and GRUs read those from"):
        convert(proto(nodes, inputs, ["y"], weights))


def test_states_of_which_one_is_left_over() -> None:
    nodes = [node("Slice", ["h", "zero", "one", "zero"], ["first"]), gru(["x", "W", "R", "B", "", "first"])]
    weights = {**gru_weights(), "zero": np.array([0]), "one": np.array([1])}
    inputs = {"x": ("t", "b", INPUT), "h": (2, "b", HIDDEN)}
    with pytest.raises(UnsupportedError, match=r"input 'h': it holds 2 states of 5 features, .* from \[\(0, 0\)\]"):
        convert(proto(nodes, inputs, ["Y"], weights))


def test_more_states_than_any_network_has() -> None:
    graph = proto(
        [gru(["x", "W", "R", "B", "", "h"])], {"x": ("t", "b", INPUT), "h": (5000, "b", HIDDEN)}, ["Y"], gru_weights()
    )
    with pytest.raises(UnsupportedError, match="axis 0 of input 'h' stacks 5000 states; at most 4096 are supported"):
        convert(graph)


def test_an_input_whose_axes_nothing_explains() -> None:
    nodes = [gru(["x", "W", "R", "B"]), node("Relu", ["u"], ["z"])]
    graph = proto(nodes, {"x": ("t", "b", INPUT), "u": (2, 3, 4)}, ["Y", "z"], gru_weights())
    with pytest.raises(UnsupportedError, match="'z': nothing in the graph tells what axis 0 of input 'u' means"):
        convert(graph)


def test_a_state_added_to_its_own_sequence() -> None:
    with pytest.raises(GrurtError, match="it reads a vector that is known only at the end of its own sequence"):
        convert(after_gru([node("Add", ["s", "h"], ["y"])]))


def lengths_as_input(*nodes: NodeProto, outputs: Sequence[str] = ("Y",), **weights: onnx_graphs.Array) -> ModelProto:
    inputs = {"x": ("t", "b", INPUT), "lens": ("b",)}
    all_weights = {**gru_weights(), **weights}
    return proto(list(nodes), inputs, outputs, all_weights, dtypes={"lens": TensorProto.INT32})


def test_lengths_of_one_gru_only() -> None:
    second = node("GRU", ["s", "2W", "2R", "2B"], ["y"], hidden_size=HIDDEN, name="second")
    nodes = [gru(["x", "W", "R", "B", "lens"]), node("Squeeze", ["Y", "one"], ["s"]), second]
    weights = {**gru_weights(size=HIDDEN, prefix="2"), "one": np.array([1])}
    with pytest.raises(UnsupportedError, match=r"node 'second' .*: its sequence_lens are not those of the GRUs before"):
        convert(lengths_as_input(*nodes, outputs=["y"], **weights))


def test_the_last_timestep_of_padded_sequences() -> None:
    nodes = [gru(["x", "W", "R", "B", "lens"]), node("Gather", ["Y", "last"], ["y"], axis=0)]
    with pytest.raises(UnsupportedError, match=r"it picks the last timestep of .* padded with zeros; read the state"):
        convert(lengths_as_input(*nodes, outputs=["y"], last=np.array(-1)))


def test_a_convolution_behind_padded_sequences() -> None:
    nodes = [
        gru(["x", "W", "R", "B", "lens"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Transpose", ["s"], ["c"], perm=[1, 2, 0]),
        node("Conv", ["c", "K"], ["y"], pads=[2, 0]),
    ]
    with pytest.raises(UnsupportedError, match="layer 'conv': a convolution behind a GRU with sequence_lens"):
        convert(lengths_as_input(*nodes, outputs=["y"], K=random(2, HIDDEN, 3), one=np.array([1])))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([4, -1], ConversionError, r"its sequence_lens are not all in \[0, 4\]"),
        ([5, 1], ConversionError, r"its sequence_lens are not all in \[0, 4\]"),
        ([1, 2, 3], UnsupportedError, r"constants of the shape \(3,\), for a batch of 2"),
    ],
)
def test_constant_lengths(lengths: list[int], error: type[Exception], message: str) -> None:
    weights = {**gru_weights(), "lens": np.array(lengths, np.int32)}
    with pytest.raises(error, match=message):
        convert(proto([gru(["x", "W", "R", "B", "lens"])], {"x": (4, 2, INPUT)}, ["Y"], weights))


def test_a_cell_whose_recurrent_weights_were_left_out() -> None:
    nodes = [
        node("Gemm", ["x", "Wi"], ["i"]),
        node("Split", ["i"], ["ir", "iz", "in"], axis=1, num_outputs=3),
        node("Split", ["g"], ["hr", "hz", "hn"], axis=1, num_outputs=3),
        node("Add", ["ir", "hr"], ["ar"]),
        node("Sigmoid", ["ar"], ["r"]),
        node("Add", ["iz", "hz"], ["az"]),
        node("Sigmoid", ["az"], ["z"]),
        node("Mul", ["r", "hn"], ["rn"]),
        node("Add", ["in", "rn"], ["an"]),
        node("Tanh", ["an"], ["n"]),
        node("Sub", ["h", "n"], ["d"]),
        node("Mul", ["d", "z"], ["zd"]),
        node("Add", ["zd", "n"], ["y"], name="end"),
    ]
    weights = {"Wi": random(INPUT, 3 * HIDDEN), "g": random(1, 3 * HIDDEN), "h": np.zeros((2, HIDDEN), np.float32)}
    with pytest.raises(UnsupportedError, match=r"node 'end' .* state is a constant.* give the state as an input"):
        convert(proto(nodes, {"x": (2, INPUT)}, ["y"], weights))


def test_a_state_that_other_layers_read() -> None:
    nodes = [gru(["x", "W", "R", "B", "", "h"]), node("Relu", ["h"], ["y"])]
    inputs = {"x": ("t", "b", INPUT), "h": (1, "b", HIDDEN)}
    with pytest.raises(UnsupportedError, match="input 'h': it is the state of 'gru', and other layers read it too"):
        convert(proto(nodes, inputs, ["Y", "y"], gru_weights()))


def test_an_input_that_nothing_reads() -> None:
    inputs = {"x": ("t", "b", INPUT), "unused": ("b",)}
    with pytest.raises(UnsupportedError, match="input 'unused': no layer reads it; export the model without it"):
        convert(proto([gru(["x", "W", "R", "B"])], inputs, ["Y"], gru_weights()))


def test_weights_that_nothing_reads() -> None:
    weights = {**gru_weights(), "lost.weight": random(4, 4), "shape": np.array([1, 2])}
    with pytest.raises(ConversionError, match=r"holds 1 weights that nothing reads: 'lost\.weight'"):
        convert(proto([gru(["x", "W", "R", "B"])], {"x": ("t", "b", INPUT)}, ["Y"], weights))


def test_weights_that_a_graph_inside_of_a_node_reads_are_not_called_unused() -> None:
    body = onnx.helper.make_graph([node("MatMul", ["v", "inner.weight"], ["w"])], "body", [], [])
    nodes = [gru(["x", "W", "R", "B"]), node("If", ["Y"], ["y"], then_branch=body, else_branch=body)]
    weights = {**gru_weights(), "inner.weight": random(4, 4)}
    with pytest.raises(UnsupportedError, match=r"\(If\): a branch that depends on the inputs is not supported"):
        convert(proto(nodes, {"x": ("t", "b", INPUT)}, ["y"], weights))


def test_an_output_that_is_constant() -> None:
    nodes = [gru(["x", "W", "R", "B"]), node("Identity", ["M"], ["m"])]
    with pytest.raises(UnsupportedError, match="output 'm': it is a constant, which does not depend on any input"):
        convert(proto(nodes, {"x": ("t", "b", INPUT)}, ["Y", "m"], {**gru_weights(), "M": random(4, 4)}))


def test_something_that_depends_on_the_number_of_timesteps() -> None:
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Gather", ["sizes", "m"], ["n"]),
        node("Cast", ["n"], ["length"], to=TensorProto.FLOAT),
        node("Div", ["s", "length"], ["y"]),
    ]
    with pytest.raises(UnsupportedError, match="depends on how many timesteps or sequences there are"):
        convert(after_gru(nodes, {"m": np.array(0)}))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (
            TensorProto.STRING,
            "the element type STRING is not supported; turn such elements into numbers outside of the",
        ),
        (TensorProto.UINT4, "the element type UINT4 is not supported; convert the model before it was quantized, with"),
        (TensorProto.UINT8, "^input 'x': the type uint8 is not supported$"),
    ],
)
def test_types_of_inputs(dtype: int, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(proto([gru(["x", "W", "R", "B"])], {"x": (4, 2, INPUT)}, ["Y"], gru_weights(), dtypes={"x": dtype}))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (TensorProto.BOOL, "output 'Y': it is declared to be of the type bool, and computed as numbers"),
        (TensorProto.INT16, "^'Y': the type int16 is not supported; cast it to float32$"),
    ],
)
def test_types_of_outputs(dtype: int, message: str) -> None:
    graph = proto([gru(["x", "W", "R", "B"])], {"x": (4, 2, INPUT)}, ["Y"], gru_weights(), dtypes={"Y": dtype})
    with pytest.raises(UnsupportedError, match=message):
        convert(graph)


def test_an_input_of_unknown_shape() -> None:
    graph = proto([gru(["x", "W", "R", "B"])], {"x": ("t", "b", INPUT)}, ["Y"], gru_weights())
    graph.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match="input 'x': the file does not say its shape"):
        convert(graph)


@pytest.mark.parametrize(
    ("opset", "message"), [(6, "version 6 of the ONNX operators"), (900, "update the package onnx")]
)
def test_versions_of_the_operators(opset: int, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        convert(proto([gru(["x", "W", "R", "B"])], {"x": (4, 2, INPUT)}, ["Y"], gru_weights(), opset=opset))


def test_a_test_input_that_would_be_too_large() -> None:
    model = convert(after_gru([node("Relu", ["s"], ["y"])], shape=(10_000_000, 1, INPUT)), reference=True)
    assert model.reference_run is None
    assert model.source.notes == (
        "no reference run: the file fixes the input 'x' to the shape (10000000, 1, 3), too large for a test",
    )


def test_a_graph_that_onnxruntime_cannot_run_converts_with_a_note() -> None:
    graph = proto([gru(["x", "W", "R", "B"], layout=1)], {"x": (2, 4, INPUT)}, ["Y"], gru_weights())
    (note,) = convert(graph, reference=True).source.notes
    assert note.startswith("no reference run: onnxruntime cannot run the file:")
    assert "/" not in note
    assert onnx_graphs.kinds(convert(graph)) == ["gru"]


@pytest.mark.parametrize(
    ("position", "message"),
    [(5, "position 5 of {}"), (1009, "it picks a position far inside of axis 0 of input 'x', which is of open size")],
)
@pytest.mark.parametrize("axis", ["t", None])
def test_numbers_that_stand_for_open_sizes_are_in_no_message(axis: str | None, position: int, message: str) -> None:
    nodes = [
        gru(["x", "W", "R", "B"]),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("Gather", ["s", "far"], ["y"], axis=0),
    ]
    weights = {**gru_weights(), "one": np.array([1]), "far": np.array(position)}
    with pytest.raises(UnsupportedError, match=message.format(axis or "an open number")):
        convert(proto(nodes, {"x": (axis, "b", INPUT)}, ["y"], weights))
