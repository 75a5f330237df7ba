"""Loop and Scan whose bodies hold GRU cells: as PyTorch's scripts, tf2onnx and people write them."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx_graphs import HIDDEN, INPUT, Shapes, cell, cell_weights, convert, converted_and_checked, kinds, proto, random

from grurt.errors import ConversionError, DesignReason, UnsupportedError

WEIGHTS = {
    **cell_weights(),
    "fc": random(HIDDEN, 2),
    "true": np.array(True),
    "zero": np.array(0),
    "one": np.array(1),
    "minus_one": np.array(-1),
    "three": np.array(3),
    "first": np.array([0]),
    "second": np.array([1]),
    "back": random(HIDDEN, INPUT),
    "joined": np.array([6, 2, INPUT]),
    "half": np.array(0.5, np.float32),
}
X, H = ("t", "b", INPUT), ("b", HIDDEN)
STEP = "(float[b, 5] h, float[b, 3] x_t) => (float[b, 5] g, float[b, 5] out)"
ITERATION = "(int64 i, bool go, float[b, 5] h) => (bool on, float[b, 5] g, float[b, 5] out)"
LENGTH = "size = Shape <start = 0, end = 1>(x); n = Squeeze(size, first)"


def model(text: str, inputs: Shapes, outputs: tuple[str, ...] = ("y", "last")) -> ModelProto:
    graph = onnx.parser.parse_graph(f"g () => () {{ {text} }}".replace(";", " "))
    texts = re.split(r"\W+", text)
    weights = {name: array for name, array in WEIGHTS.items() if name in texts}
    dtypes = {name: onnx.TensorProto.INT64 for name in inputs if name == "n"}
    return proto(graph.node, inputs, outputs, weights, dtypes=dtypes)


def scan(body: str, attributes: str = "", step: str = STEP, call: str = "h0, x") -> str:
    return f"last, y = Scan <num_scan_inputs = 1, {attributes} body = step {step} {{ {body} }}>({call})"


def loop(body: str, call: str = "n, true, h0", iteration: str = ITERATION) -> str:
    return f"last, y = Loop <body = step {iteration} {{ {body} }}>({call})"


NEW_STATE = f"{cell('x_t', 'h', 'g')};"
CELL = f"{NEW_STATE} out = Identity(g);"
READ = f"x_t = Gather(x, i); {CELL}"


@pytest.mark.parametrize(
    ("text", "inputs", "layers"),
    [
        (scan(CELL), {"x": X, "h0": H}, ["gru"]),
        (scan(CELL), {"x": (4, 2, INPUT), "h0": (2, HIDDEN)}, ["gru"]),
        (scan(CELL, "scan_input_axes = [1], scan_output_axes = [1],"), {"x": ("b", "t", INPUT), "h0": H}, ["gru"]),
        (scan(CELL, "scan_input_axes = [-2], scan_output_axes = [-2],"), {"x": ("b", "t", INPUT), "h0": H}, ["gru"]),
        (scan(CELL, "scan_input_directions = [1], scan_output_directions = [1],"), {"x": X, "h0": H}, ["gru"]),
        (f"{LENGTH}; {loop(f'on = Identity(go); {READ}')}", {"x": X, "h0": H}, ["gru"]),
        (loop(f"on = Identity(true); {READ}", "three, true, h0"), {"x": (3, 2, INPUT), "h0": (2, HIDDEN)}, ["gru"]),
        (
            f"{LENGTH}; " + loop(f"j = Add(i, one); on = Less(j, n); {READ}", ", true, h0"),
            {"x": X, "h0": H},
            ["gru"],
        ),
        (
            f"{LENGTH}; " + loop(f"j = Add(one, i); k = Sub(n, one); on = GreaterOrEqual(k, j); {READ}", ", true, h0"),
            {"x": X, "h0": H},
            ["gru"],
        ),
        (
            f"{LENGTH}; "
            + loop(
                f"on = Identity(go); f = Unsqueeze(i, first); e = Add(f, second); s = Slice(x, f, e, first);"
                f"x_t = Squeeze(s, first); {CELL}"
            ),
            {"x": X, "h0": H},
            ["gru"],
        ),
        (
            scan(f"{NEW_STATE} out = MatMul(g, fc);", step=STEP.replace("5] out", "2] out")),
            {"x": X, "h0": H},
            ["gru", "linear"],
        ),
        (
            scan(f"x_t = Add(v, extra); {CELL}", step=STEP.replace("x_t", "v")),
            {"x": X, "h0": H, "extra": ("b", INPUT)},
            ["last_step", "add", "gru"],
        ),
        (
            scan(f"x_t = Concat <axis = 1>(v, extra); {CELL}", step=STEP.replace("3] x_t", "2] v")),
            {"x": ("t", "b", 2), "h0": H, "extra": ("b", 1)},
            ["last_step", "concat", "gru"],
        ),
        (
            scan(
                f"k = Squeeze(h, first); {cell('x_t', 'k', 'm')}; g = Unsqueeze(m, first); out = Identity(m);",
                step=STEP.replace("float[b, 5] h", "float[1, b, 5] h").replace("float[b, 5] g", "float[1, b, 5] g"),
            ),
            {"x": X, "h0": (1, "b", HIDDEN)},
            ["gru"],
        ),
    ],
)
def test_a_loop_over_all_timesteps_is_a_gru(text: str, inputs: Shapes, layers: list[str]) -> None:
    found = converted_and_checked(model(text, inputs))
    assert kinds(found) == layers


def test_a_loop_that_counts_down_is_a_gru_in_reverse() -> None:
    body = f"on = Identity(go); d = Mul(i, minus_one); t = Add(d, end); x_t = Gather(x, t); {CELL}"
    text = f"{LENGTH}; end = Sub(n, one); {loop(body)}"
    found = converted_and_checked(model(text, {"x": X, "h0": H}, ("last",)))
    assert found.layers[0].direction == "reverse"


def test_a_counter_that_is_carried() -> None:
    iteration = "(int64 i, bool go, int64 t, float[b, 5] h) => (bool on, int64 u, float[b, 5] g, float[b, 5] out)"
    body = f"u = Add(t, one); f = Cast <to = 1>(u); l = Cast <to = 1>(n); on = Less(f, l); x_t = Gather(x, t); {CELL}"
    text = f"{LENGTH}; " + loop(body, ", true, zero, h0", iteration).replace("last, y", "count, last, y")
    assert kinds(converted_and_checked(model(text, {"x": X, "h0": H}))) == ["gru"]


def test_weights_that_are_carried() -> None:
    iteration = ITERATION.replace("h)", "h, float[3, 15] V)").replace("g, float", "g, float[3, 15] W, float")
    body = f"on = Identity(go); W = Identity(V); x_t = Gather(x, i); {CELL.replace('Wi', 'V')}"
    text = f"{LENGTH}; " + loop(body, "n, true, h0, Wi", iteration).replace("last, y", "last, same, y")
    assert kinds(converted_and_checked(model(text, {"x": X, "h0": H}))) == ["gru"]


def test_a_learned_initial_state() -> None:
    graph = model(scan(CELL), {"x": ("t", 2, INPUT)})
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.repeat(random(1, HIDDEN), 2, 0), "h0"))
    assert converted_and_checked(graph).layers[0].initial_state == "learned"


def test_two_layers_in_one_loop() -> None:
    step = "(float[b, 5] h, float[b, 5] k, float[b, 3] x_t) => (float[b, 5] g, float[b, 5] m, float[b, 5] out)"
    upper = cell("g", "k", "m").replace("Wi", "Wh").replace("bi", "bh")
    text = scan(f"{cell('x_t', 'h', 'g')}; {upper}; out = Add(g, m);", step=step, call="h0, k0, x")
    found = converted_and_checked(
        model(text.replace("last, y", "a, b, y"), {"x": X, "h0": H, "k0": H}, ("y", "a", "b"))
    )
    assert kinds(found) == ["gru", "gru", "add"]


def test_a_loop_behind_a_loop() -> None:
    again = scan(
        CELL.replace("x_t", "v").replace("Wi", "Wh").replace("bi", "bh"),
        step=STEP.replace("3] x_t", "5] v"),
        call="k0, y",
    )
    text = f"{scan(CELL)}; {again.replace('last, y', 'end, z')}"
    assert kinds(converted_and_checked(model(text, {"x": X, "h0": H, "k0": H}, ("z",)))) == ["gru", "gru"]


FEEDS_BACK = f"v = MatMul(h, back); x_t = Add(w, v); {CELL}"


@pytest.mark.parametrize(
    ("text", "inputs", "message", "reason"),
    [
        (
            loop(f"on = Identity(go); v = MatMul(h, back); x_t = Tanh(v); {CELL}", "three, true, h0"),
            {"h0": ("b", HIDDEN)},
            r"\(Loop\): it reads no sequence, one timestep after the other: it computes from what it gave before",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            scan(FEEDS_BACK, step=STEP.replace("x_t", "w")),
            {"x": X, "h0": H},
            r"\(MatMul\): it reads what node .* \(Scan\) carries from the timestep before, which is the state of a GRU",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            scan(f"{NEW_STATE} out = Identity(h);"),
            {"x": X, "h0": H},
            r"carries from the timestep before, which is the state of a GRU cell; read the state that the cell gives",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            f"{LENGTH}; " + loop(f"s = ReduceMax <keepdims = 0>(h); on = Less(s, half); {READ}"),
            {"x": X, "h0": H},
            r"\(Loop\): it ends when a condition says so that is computed from the data; a GRU runs over all",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            loop(f"on = Identity(go); {READ}"),
            {"x": X, "h0": H, "n": (1,)},
            "its loop ends after a number of timesteps that is computed from the data; a GRU runs over all timesteps",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            loop(f"on = Identity(go); {READ}", "three, true, h0"),
            {"x": X, "h0": H},
            "its loop always runs 3 times, and axis 0 of input 'x' is of open size: the exporter has frozen it; export",
            DesignReason.FAULTY_SOURCE,
        ),
        (
            loop(f"on = Identity(go); {READ}", "three, true, h0"),
            {"x": (4, 2, INPUT), "h0": (2, HIDDEN)},
            "its loop runs 3 times, over 4 timesteps of axis 0 of input 'x'; a loop must run over whole sequences",
            DesignReason.SEQUENCE_LENGTH,
        ),
        (
            f"{LENGTH}; " + loop(f"on = Identity(go); t = Add(i, one); x_t = Gather(x, t); {CELL}"),
            {"x": (4, 2, INPUT), "h0": (2, HIDDEN)},
            "its loop begins at position 1 of axis 0 of input 'x', and steps by 1; a loop must run over whole",
            None,
        ),
        (
            f"{LENGTH}; minus = Sub(zero, n); end = Unsqueeze(minus, first); "
            + loop(
                "on = Identity(go); u = Unsqueeze(i, first); f = Add(u, end); e = Add(f, second);"
                f"s = Slice(x, f, e, first); x_t = Squeeze(s, first); {CELL}"
            ),
            {"x": (4, 2, INPUT), "h0": (2, HIDDEN)},
            "its loop begins at position -4 of axis 0 of input 'x', and steps by 1",
            None,
        ),
        (
            f"{LENGTH}; " + loop(f"on = Identity(go); f = Cast <to = 1>(i); v = Gather(x, i); x_t = Add(v, f); {CELL}"),
            {"x": X, "h0": H},
            r"\(Cast\): it computes with the number of the timestep; a GRU does the same at every timestep",
            None,
        ),
        (
            scan("g = Add(h, x_t); out = Identity(g);", step=STEP.replace("3]", "5]")),
            {"x": ("t", "b", HIDDEN), "h0": H},
            r"it carries what is no state of a GRU cell: the new state is not \(1 - z\) .* of a tensor and a timestep;",
            None,
        ),
        (
            scan(CELL.replace("gz = Sigmoid(gaz)", "gz = Softplus(gaz)").replace("gr = Sigmoid(gar)", "gr = Abs(gar)")),
            {"x": X, "h0": H},
            r"the candidate n is not tanh\(W x \+ b \+ r \* \(R h \+ c\)\) or .*: found node 'last/gn' \(Tanh\) of Add",
            None,
        ),
        (
            scan(CELL.replace("gzd = Mul(gz, gd)", "gzd = Mul(extra, gd)")),
            {"x": X, "h0": H, "extra": H},
            "one of the state: found no node that computes it; inside of a loop, the state of a GRU cell is all that",
            None,
        ),
        (
            scan(CELL.replace("gz = Sigmoid(gaz)", "gz = Abs(gaz)")),
            {"x": X, "h0": H},
            "the update gate z is not a sigmoid of one linear layer of the input and one of the state: found node",
            None,
        ),
        (
            scan(
                f"m = Greater(x_t, half); {cell('x_t', 'h', 'n')}; g = Where(m, n, h); out = Identity(g);".replace(
                    "Wi", "Wh"
                ).replace("bi", "bh"),
                step=STEP.replace("3]", "5]"),
            ),
            {"x": ("t", "b", HIDDEN), "h0": H},
            r"its mask, of shape \(b, 5\), is not one number at each timestep; expected \(batch, 1\)",
            None,
        ),
        (
            scan(
                f"m = ReduceMax <axes = [1]>(x_t); k = Greater(m, half); {cell('x_t', 'h', 'n')}; g = Where(k, n, h);"
                "out = Identity(n);"
            ),
            {"x": X, "h0": H},
            "it reads what a GRU cell computes at timesteps that are masked; read the state that is handed on",
            None,
        ),
        (
            scan(f"{NEW_STATE} out = Identity(extra);"),
            {"x": X, "h0": H, "extra": H},
            "its loop gives the same at every timestep; give it once",
            None,
        ),
        (
            f"v = Reshape(x, joined); {scan(CELL, call='h0, v')}",
            {"x": (2, 3, 2, INPUT), "h0": (2, HIDDEN)},
            "its loop scans an axis, of size 6, that is made of several; a GRU scans timesteps",
            None,
        ),
        (
            scan(
                f"{NEW_STATE} {cell('x_t', 'w', 'k')}; out = Add(g, k);",
                "",
                "(float[b, 5] h, float[b, 3] x_t, float[b, 5] w) => (float[b, 5] g, float[b, 5] out)",
                "h0, x, z",
            ).replace("num_scan_inputs = 1", "num_scan_inputs = 2"),
            {"x": X, "h0": H, "z": ("t", "b", HIDDEN)},
            "its state differs between the timesteps of a loop, and is not what the loop carries; a cell reads",
            None,
        ),
        (
            f"{LENGTH}; never = Less(half, half); " + loop(f"on = Identity(go); {READ}", "n, never, h0"),
            {"x": X, "h0": H},
            "its loop does not always begin; a GRU runs over all timesteps of a sequence",
            DesignReason.DATA_DEPENDENT,
        ),
        (
            scan(f"out = If <then_branch = a () => (float[b, 5] u) {{ u = Identity(h) }}>(true); {NEW_STATE}"),
            {"x": X, "h0": H},
            r"\(Scan\): its body holds another loop or a branch; export the recurrent layer by itself, without control",
            DesignReason.DATA_DEPENDENT,
        ),
    ],
)
def test_what_is_no_gru(text: str, inputs: Shapes, message: str, reason: DesignReason | None) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        convert(model(text, inputs))
    assert caught.value.reason is reason


def test_a_part_that_a_list_does_not_have() -> None:
    text = "sizes = Identity(two); s = SplitToSequence <axis = 2>(x, sizes); y = SequenceAt(s, three)"
    text = f"{scan(CELL)}; " + text.replace("(x, ", "(seq, ").replace("y =", "z =")
    graph = model(text.replace("seq", "y"), {"x": X, "h0": H}, ("z",))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "two"))
    with pytest.raises(
        ConversionError, match=r"it reads part 3 of an axis of size 5, split into \(2, 3\): the file is"
    ):
        convert(graph)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (scan(CELL, call="x"), r"\(Scan\): its body has 2 inputs and 2 outputs, and it scans 1 sequences: the file is"),
        (scan(CELL, "scan_input_axes = [0, 1],"), r"\(Scan\): expected 1 numbers as its attribute 'scan_input_axes'"),
        (
            loop(READ, "three, true"),
            r"\(Loop\): its body has 3 inputs and 3 outputs, and it carries 0 tensors: the file",
        ),
        ("last, y = Loop(three, true, h0)", r"\(Loop\): it has no body: the file is damaged"),
    ],
)
def test_loops_that_contradict_themselves(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(model(text, {"x": X, "h0": H}))
