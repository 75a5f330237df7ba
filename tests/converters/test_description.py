"""The description of layers: its compact form, TOML and Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grurt.converters import Description, LayerDescription, describe
from grurt.errors import DescriptionError
from grurt.network import functions
from grurt.network.inputs import Input, Output


def only(text: str) -> LayerDescription:
    (layer,) = describe(text).layers
    return layer


def test_items_in_order() -> None:
    found = describe("emb(embedding), encoder.gru ,last,0:relu")
    assert [layer.module for layer in found.layers] == ["emb", "encoder.gru", "last", "0"]
    assert [layer.kind for layer in found.layers] == ["embedding", None, None, None]
    assert found.layers[3].functions == (functions.Relu(),)
    assert found.ignore == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bn(epsilon=1e-3)", LayerDescription(module="bn", epsilon=1e-3)),
        ("ln(layer_norm, epsilon=0.5)", LayerDescription(module="ln", kind="layer_norm", epsilon=0.5)),
        ("conv(dilation=2,groups=4)", LayerDescription(module="conv", dilation=2, groups=4)),
        ("gru(name=a,initial_state=h0)", LayerDescription(module="gru", name="a", initial_state="h0")),
        (".", LayerDescription(module=".")),
        ("(last_step)", LayerDescription(kind="last_step")),
        (":tanh", LayerDescription(kind="activation", functions=(functions.Tanh(),))),
        ("(activation):tanh", LayerDescription(kind="activation", functions=(functions.Tanh(),))),
        ("a:relu:softmax", LayerDescription(module="a", functions=(functions.Relu(), functions.Softmax()))),
    ],
)
def test_layers(text: str, expected: LayerDescription) -> None:
    assert only(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relu", functions.Relu()),
        ("leaky_relu(0.2)", functions.LeakyRelu(0.2)),
        ("leaky_relu(negative_slope=0.2)", functions.LeakyRelu(0.2)),
        ("hard_sigmoid(1/6, 0.5)", functions.HardSigmoid(1 / 6, 0.5)),
        ("clip(minimum=0, maximum=6)", functions.Clip(0, 6)),
        ("clip(-1, 1)", functions.Clip(-1, 1)),
        ("gelu(tanh)", functions.Gelu("tanh")),
        ("log_softmax", functions.LogSoftmax()),
        ("elu(1e-2)", functions.Elu(0.01)),
        ("thresholded_relu", functions.ThresholdedRelu()),
    ],
)
def test_functions(text: str, expected: functions.Function) -> None:
    assert only(f"fc:{text}").functions == (expected,)


def test_directives() -> None:
    found = describe("gru, ignore(ema), fc, ignore(step.count), entry(model)")
    assert len(found.layers) == 2
    assert found.ignore == ("ema", "step.count")
    assert found.entry == "model"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a layer, got the end"),
        ("gru,", "expected a layer, got the end after 'gru,'; write for example"),
        ("gru,,fc", "expected a layer, got ',' after 'gru,'"),
        ("gru fc", "expected a comma, or the end, got 'fc' after 'gru'"),
        ("gru(", "expected a value, got the end"),
        ("gru()", r"expected a value, got '\)'"),
        ("gru(name=)", r"expected a value, got '\)'"),
        ("gru(gru", "expected a closing parenthesis, got the end"),
        ("gru=1", "expected a comma, or the end, got '='"),
        ("fc:", "expected a function, got the end"),
        ("fc:foo", "expected a function, got 'foo'; there are abs, affine, ceil,"),
        ("fc::relu", "expected a function, got ':'"),
        ("fc:relu(1)", r"relu takes 0 values \(\), got 1"),
        ("fc:clip(1,2,3)", r"layers 'fc:clip\(1,2,3\)': clip takes 2 values \(minimum, maximum\), got 3"),
        ("fc:leaky_relu(x)", "leaky_relu: negative_slope: expected a number, got 'x'"),
        ("fc:leaky_relu(slope=1)", "leaky_relu: expected some of the fields negative_slope, got 'slope'"),
        ("fc:leaky_relu(1/0)", "leaky_relu: negative_slope: expected a number, got '1/0'"),
        ("fc:hard_sigmoid", "hard_sigmoid: expected a field slope, got none"),
        ("fc:gelu(fast)", "gelu: approximate: expected one of none, tanh, got 'fast'"),
        ("fc(dense)", "fc: kind: expected one of activation, add, average_pool, .*, sum_over_time, got 'dense'"),
        ("fc(linear, 2)", "fc: expected option=value, got '2'"),
        ("fc(units=2)", "fc: expected some of the fields epsilon, .*, arrays, got 'units'"),
        ("conv(groups=1.5)", "conv: groups: expected a whole number, got '1.5'"),
        ("fc(name=a, name=b)", r"layers 'fc\(name=a, name=b\)': fc: expected name once, got it twice"),
        ("fc(module=b)", "fc: expected module once, got it twice"),
        ("g(gate_activation=)", r"expected a function, got '\)' after"),
        ("g(gate_activation=softmax)", "gate_activation.function: expected one of relu, .*, clip, got 'softmax'"),
        (
            "g(gate_activation=clip(gate_activation=relu))",
            "expected some of the fields minimum, maximum, got 'gate_act",
        ),
        ("ignore", r"expected ignore\(name\)"),
        ("ignore(a, b)", r"expected ignore\(name\)"),
        ("entry(name=b)", r"expected entry\(name\)"),
    ],
)
def test_mistakes_in_the_compact_form(text: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        describe(text)


TOML = """
ignore = ["ema"]
entry = "model"

[[inputs]]
kind = "features"
name = "frame"
size = 4

[[outputs]]
name = "probability"
value = "sum"

[[layers]]
module = "p"
name = "proj"
functions = ["leaky_relu(0.2)", {function = "clip", minimum = -1, maximum = 1}]

[[layers]]
module = "g"
epsilon = 1e-3

[[layers]]
kind = "add"
name = "sum"
inputs = ["proj", "g"]
"""


@pytest.mark.parametrize("as_text", [False, True])
def test_toml(as_text: bool, tmp_path: Path) -> None:
    path = tmp_path / "layers.toml"
    path.write_text(TOML)
    assert describe(str(path) if as_text else path) == Description(
        layers=(
            LayerDescription(
                module="p", name="proj", functions=(functions.LeakyRelu(0.2), functions.Clip(minimum=-1, maximum=1))
            ),
            LayerDescription(module="g", epsilon=1e-3),
            LayerDescription(kind="add", name="sum", inputs=("proj", "g")),
        ),
        inputs=(Input("frame", 4),),
        outputs=(Output("probability", "sum"),),
        ignore=("ema",),
        entry="model",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers = [", r"layers\.toml: expected a description of the layers in TOML, got"),
        ("", r"layers\.toml: expected a field layers, got none"),
        ("layers = 3", r"layers\.toml: layers: expected a list, got 3"),
        ("layers = [3]", r"layers\.toml: layers\[0\]: expected named fields, got 3"),
        ("[[layers]]\nmodul = 'a'", r"layers\[0\]: expected some of the fields .* module, .*, got 'modul'"),
        ("[[layers]]\nmodule = 'a'\nfunctions = ['foo']", "expected a function, got 'foo'"),
        ("[[layers]]\nmodule = 'a'\nfunctions = [3]", r"layers\[0\]\.functions\[0\]: expected named fields, got 3"),
        ("[[layer]]\nmodule = 'a'", "expected some of the fields layers, inputs, outputs, ignore, entry, got 'layer'"),
    ],
)
def test_mistakes_in_toml(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "layers.toml"
    path.write_text(text)
    with pytest.raises(DescriptionError, match=message):
        describe(path)


def test_what_a_toml_file_holds_is_a_description_too(tmp_path: Path) -> None:
    (tmp_path / "layers.toml").write_text(TOML)
    found = describe(tmp_path / "layers.toml")
    assert describe(tomllib.loads(TOML)) == found
    assert describe(tomllib.loads(TOML)["layers"]).layers == found.layers
    assert describe({"layers": found.layers}).layers == found.layers


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (TOML, r"got the text of a TOML file; write it to a file, and give the path, which ends in \.toml, or give"),
        ("[[layers]]\nmodule = 'gru'", "got the text of a TOML file"),
        (["gru", "[[layers]]"], "got the text of a TOML file"),
        (
            3,
            r"layers: expected a description, got an object of type int; give a line such as 'gru, last, fc', the path",
        ),
        (b"gru", "layers: expected a description, got an object of type bytes"),
        (["gru", 3], "layers: expected layers in a list, got an object of type int at 1; give a line"),
        ([{"modul": "gru"}], r"layers, item 0: layers\[0\]: expected some of the fields .*, got 'modul'"),
        ([LayerDescription(module="gru", functions=("foo",))], "expected a function, got 'foo'"),  # type: ignore[arg-type]
        ([LayerDescription(module="gru", groups=object())], "got an object of type object"),  # type: ignore[arg-type]
        (Description(layers=(LayerDescription(kind="nope"),)), "kind: expected one of activation, .* got 'nope'"),
        ({"layers": "gru"}, "layers: layers: expected a list, got 'gru'"),
    ],
)
def test_what_is_no_description(layers: Any, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        describe(layers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g(candidate_activation=relu)", {"candidate_activation": functions.Relu()}),
        (
            "g(gate_activation=hard_sigmoid(0.2, 0.5), candidate_activation=leaky_relu(0.1), gates=zrn)",
            {
                "gate_activation": functions.HardSigmoid(0.2, 0.5),
                "candidate_activation": functions.LeakyRelu(0.1),
                "gates": "zrn",
            },
        ),
    ],
)
def test_options_that_are_functions(text: str, expected: Any) -> None:
    assert only(text) == LayerDescription(module="g", **expected)


def test_missing_toml_file(tmp_path: Path) -> None:
    with pytest.raises(
        DescriptionError,
        match=r"^none\.toml: expected a file with a description of the layers, got: No such file or directory$",
    ):
        describe(tmp_path / "none.toml")


def test_python_lists_mix_strings_and_descriptions() -> None:
    found = describe([LayerDescription(module="emb", kind="embedding"), "gru, last", "fc:sigmoid, ignore(ema)"])
    assert found == describe("emb(embedding), gru, last, fc:sigmoid, ignore(ema)")
    assert describe(found) is found
    plain = LayerDescription(module="fc", functions=("relu",), epsilon=np.float32(0.5))  # type: ignore[arg-type]
    assert describe([plain]).layers[0] == LayerDescription(module="fc", functions=(functions.Relu(),), epsilon=0.5)
    assert describe(Description(layers=(plain,))).layers == describe([plain]).layers
