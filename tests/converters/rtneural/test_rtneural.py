"""RTNeural's JSON: every type of layer against the equations of its loader in float64, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import DATA, stored

from grurt import Model, reference
from grurt.converters import convert, read_state_dict
from grurt.errors import ConversionError, DescriptionError, UnsupportedError
from grurt.network.layers import LastStep

TOLERANCE = 2e-6
STEPS = 9

Array = np.ndarray[Any, np.dtype[Any]]
rng = np.random.default_rng(5)


def entry(kind: str, size: int, *weights: Array, activation: str = "", **options: Any) -> dict[str, Any]:
    """Return an entry as RTNeural's exporter for Keras writes it."""
    shape = [None, None, size]
    arrays = [array.tolist() for array in weights]
    return {"type": kind, "activation": activation, "shape": shape, **options, "weights": arrays}


def model_of(size: int, *layers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"in_shape": [None, None, size], "layers": list(layers), **fields}


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "model.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def converted(tmp_path: Path, document: Any) -> Model:
    return convert(write(tmp_path, document), reference=False)


def answers(model: Model, xs: Array) -> Array:
    return reference.run(model, {"x": xs})[0]["y"]


def normal(*shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def rtneural_gru(kernel: Array, recurrent: Array, bias: Array, xs: Array) -> Array:
    """Compute a GRU as RTNeural does: columns z, r, n, and a bias of two rows."""
    size = len(recurrent)
    h, states = np.zeros(size), []
    for x in xs:
        given, kept = x @ kernel + bias[0], h @ recurrent + bias[1]
        z, r = (sigmoid(given[part] + kept[part]) for part in (slice(size), slice(size, 2 * size)))
        n = np.tanh(given[2 * size :] + r * kept[2 * size :])
        h = (1 - z) * n + z * h
        states.append(h)
    return np.array(states)


GRU = (normal(3, 12), normal(4, 12), normal(2, 12))
DENSE = (normal(4, 2), normal(2))
XS = normal(STEPS, 3).astype(np.float64)


def test_gru_and_dense(tmp_path: Path) -> None:
    document = model_of(3, entry("gru", 4, *GRU, activation="tanh"), entry("dense", 2, *DENSE, activation="sigmoid"))
    expected = sigmoid(rtneural_gru(*GRU, XS) @ DENSE[0] + DENSE[1])
    model = converted(tmp_path, document)
    np.testing.assert_allclose(answers(model, XS), expected, atol=TOLERANCE, rtol=0)
    assert [layer.name for layer in model.layers] == ["0.gru", "1.dense", "1.dense.sigmoid"]
    assert model.unstreamable_reason is None
    assert (model.source.format, model.source.file) == ("rtneural", "model.json")


def test_the_engine_agrees_with_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = convert(write(tmp_path, model_of(3, entry("gru", 4, *GRU), entry("dense", 2, *DENSE))))
    assert model.reference_run is not None
    np.testing.assert_allclose(
        model.run(XS.astype(np.float32)), rtneural_gru(*GRU, XS) @ DENSE[0] + DENSE[1], atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("tanh", np.tanh),
        ("relu", lambda y: np.maximum(y, 0)),
        ("sigmoid", sigmoid),
        ("softmax", lambda y: np.exp(y) / np.exp(y).sum(-1, keepdims=True)),
        ("elu", lambda y: np.where(y > 0, y, np.exp(y) - 1)),
    ],
)
def test_activations(name: str, function: Any, tmp_path: Path) -> None:
    kernel, bias = normal(3, 4), normal(4)
    for layers in (
        [entry("time-distributed-dense", 4, kernel, bias, activation=name)],
        [entry("dense", 4, kernel, bias), entry("activation", 4, activation=name)],
    ):
        found = answers(converted(tmp_path, model_of(3, *layers)), XS)
        np.testing.assert_allclose(found, function(XS @ kernel + bias), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("written", [True, False], ids=["groups", "before_groups"])
@pytest.mark.parametrize(("taps", "dilation", "groups"), [(3, 1, 1), (2, 4, 1), (1, 1, 1), (3, 2, 3)])
def test_conv1d_is_causal(taps: int, dilation: int, groups: int, written: bool, tmp_path: Path) -> None:
    kernel, bias = normal(taps, 3 // groups, 6), normal(6)
    options: dict[str, Any] = {"kernel_size": [taps], "dilation": [dilation]}
    options |= {"groups": groups} if written or groups > 1 else {}
    model = converted(tmp_path, model_of(3, entry("conv1d", 6, kernel, bias, activation="tanh", **options)))
    padded = np.concatenate([np.zeros(((taps - 1) * dilation, 3)), XS])
    expected = np.zeros((STEPS, 6))
    for group in range(groups):
        inputs, outputs = slice(group * 3 // groups, (group + 1) * 3 // groups), slice(group * 6 // groups, None)
        outputs = slice(group * 6 // groups, (group + 1) * 6 // groups)
        for tap in range(taps):
            shifted = padded[tap * dilation : tap * dilation + STEPS, inputs]
            expected[:, outputs] += shifted @ kernel[tap][:, outputs]
    np.testing.assert_allclose(answers(model, XS), np.tanh(expected + bias), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization(affine: bool, tmp_path: Path) -> None:
    gamma, beta, mean = (normal(3) if affine else np.float32(1 - i) * np.ones(3, np.float32) for i in range(3))
    variance = rng.uniform(0.5, 2, 3).astype(np.float32)
    weights = (gamma, beta, mean, variance) if affine else (mean, variance)
    model = converted(tmp_path, model_of(3, entry("batchnorm", 3, *weights, epsilon=0.001)))
    expected = gamma / np.sqrt(variance.astype(np.float64) + 0.001) * (XS - mean) + beta
    np.testing.assert_allclose(answers(model, XS), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("slopes", [normal(1, 3), normal(1, 1)])
def test_prelu(slopes: Array, tmp_path: Path) -> None:
    model = converted(tmp_path, model_of(3, entry("prelu", 3, slopes)))
    np.testing.assert_allclose(answers(model, XS), np.where(XS >= 0, XS, slopes[0] * XS), atol=TOLERANCE, rtol=0)


def test_a_layer_without_bias(tmp_path: Path) -> None:
    kernel = normal(3, 4)
    found = answers(converted(tmp_path, model_of(3, entry("dense", 4, kernel))), XS)
    np.testing.assert_allclose(found, XS @ kernel, atol=TOLERANCE, rtol=0)


def test_a_gru_that_returns_no_sequences_gives_its_last_state(tmp_path: Path) -> None:
    gru = entry("gru", 4, *GRU) | {"shape": [None, 4]}
    model = converted(tmp_path, model_of(3, gru, entry("dense", 2, *DENSE) | {"shape": [None, 2]}))
    assert isinstance(model.layers[1], LastStep)
    expected = rtneural_gru(*GRU, XS)[-1] @ DENSE[0] + DENSE[1]
    np.testing.assert_allclose(answers(model, XS), expected, atol=TOLERANCE, rtol=0)


def test_the_skip_and_the_gain_of_aida_x(tmp_path: Path) -> None:
    kernel = normal(4, 3)
    layers = (entry("gru", 4, *GRU), entry("dense", 3, kernel, np.zeros(3)))
    document = model_of(3, *layers, in_skip=1, in_gain=0, out_gain=6.0, metadata={"name": "amp"}, samplerate=48000)
    expected = XS + rtneural_gru(*GRU, XS) @ kernel * 10 ** (6 / 20)
    np.testing.assert_allclose(answers(converted(tmp_path, document), XS), expected, atol=TOLERANCE * 5, rtol=0)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (entry("lstm", 4), "layer '0.lstm': expected one of gru, .*, got an LSTM; grurt runs GRU networks: train one"),
        (entry("conv2d", 4), "got a two-dimensional convolution"),
        (entry("batchnorm2d", 4), "got a two-dimensional normalization"),
        (entry("unknown", 4), "got a layer that RTNeural's exporter did not know, .* as a Dropout, delete the entry"),
        (entry("attention", 4), "expected a type among gru, .*, got 'attention'; RTNeural would leave the layer out"),
        (
            entry("dense", 4, strides=2),
            r"layer '0\.dense': expected only .*, got 'strides', which RTNeural would ignore",
        ),
        (entry("dense", 4, normal(3, 4), activation="gelu"), "expected an activation among tanh, .*, got 'gelu'$"),
        (
            entry("gru", 4, *GRU, activation="relu"),
            "expected the activation 'tanh', got 'relu', which RTNeural ignores",
        ),
        (entry("gru", 4, *GRU[:2], GRU[2][0]), "got one of a Keras GRU with reset_after=False"),
        (
            entry("activation", 3),
            "expected an activation among tanh, .*, got none; RTNeural's exporter writes none for those",
        ),
        *(
            (
                entry(
                    "conv1d", 4, normal(*shape), normal(4), kernel_size=shape[:1], dilation=[1], groups=1, name="conv"
                ),
                r"got one of model_utils_torch\.py, which writes the numbers in a wrong order; save the state dict",
            )
            for shape in ((3, 3, 4), (1, 3, 4))
        ),
    ],
)
def test_layers_that_are_refused(layer: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted(tmp_path, model_of(3, layer))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            model_of(3, entry("gru", 4, *GRU[:2])),
            r"layer '0\.gru': expected 3 weights, got 2; the file was not written by",
        ),
        (
            model_of(3, entry("gru", 5, *GRU)),
            r"expected weight 2 of shape \(2, 15\), got \(2, 12\); RTNeural reads it so too",
        ),
        (model_of(2, entry("gru", 4, *GRU)), r"expected weight 0 of shape \(2, 12\), got \(3, 12\)"),
        (model_of(3, entry("dense", 4, normal(12, 1), normal(4))), r"weight 0 of shape \(3, 4\), got \(12, 1\)"),
        (
            model_of(3, entry("dense", 4) | {"weights": [[[1, 2], [3]]]}),
            "numbers in lists nested 2 deep, got another",
        ),
        (model_of(3, entry("dense", 4) | {"weights": [[["a"]]]}), "numbers in lists nested 2 deep, got another"),
        (
            model_of(3, entry("dense", 4, normal(3, 4)) | {"shape": []}),
            r"layer '0\.dense': shape: expected a size from 1 to 1048576",
        ),
        (model_of(3, entry("dense", 4) | {"weights": None}), "expected 1 or 2 weights, got 0"),
        (model_of(3, entry("batchnorm", 3, *[normal(3)] * 3, epsilon=0.1)), "expected 2 or 4 weights, got 3"),
        (model_of(3, entry("batchnorm", 3, *[normal(3)] * 2)), "expected a number as its epsilon, got 'None'"),
        (
            model_of(3, entry("batchnorm", 3, *[normal(3)] * 2, epsilon=10**400)),
            "expected a number as its epsilon, got '1000",
        ),
        (
            '{"in_shape": [3], "layers": [{"type\udcff": 1}]}',
            "layers: expected a list of objects, got another: 'utf-8' codec",
        ),
        (
            model_of(3, 7),
            r"layers: expected a list of objects, got another: \[0\]: expected named fields, got a whole number",
        ),
        (model_of(3, extra=1), "expected in_shape and layers, got the field 'extra' too"),
        (model_of(3, in_skip=2), "expected in_skip 0 or 1, in_gain 0 and out_gain in decibels, got 2, 0 and 0"),
        (model_of(3, in_gain=1.5), "programs differ in what they make of these"),
        (model_of(3, *[{}] * 2000), "RTNeural: expected at most 1024 layers, got 2000"),
        ('{"in_shape": [1], "layers": [', r"JSON: expected a sound text, got damage: .*; save the file again"),
        ("[" * 100_000, "JSON: expected a sound text, got damage"),
        ({"in_shape": [None, 1], "lay": 3}, r"expected in lists|entry 'in_shape': expected nested lists of numbers"),
        ({"a": {"b": 3}}, r"expected RTNeural's list of layers or a state dict, arrays by name, got none; write it"),
        ([1, 2], "expected RTNeural's list of layers or a state dict"),
        ('{"w": [1], "w": [2]}', "JSON: expected one value for each name of an object, got a name twice; the file"),
        (r'{"a": {"w": [1], "\u0077" : [2]}}', "JSON: expected one value for each name of an object"),
        (r'{"a\\": {"w\"": [1], "w": [2], "w\u0022": [3]}}', "JSON: expected one value for each name of an object"),
        (r'{"a\\": {"w\"": [":"], "w": [2]}}', "entry 'w\"': expected nested lists of numbers, got lists of different"),
        ('{"in_shape": [3], "layers": [{"type": "gru", "type": "dense"}]}', "layers: expected one value for each"),
        (
            '{"in_shape": [3], "layers": [{"type": {"a": 1, "a": 2}}]}',
            r"layers\[0\]: type: expected one value for each name of an object",
        ),
    ],
)
def test_damaged_documents(document: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(write(tmp_path, document), "fc" if isinstance(document, dict) and "layers" not in document else None)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "model.json").open("wb") as file:
        file.write(b"{")
        file.truncate((1 << 28) + 1)  # a hole, which takes no room on the disk
    with pytest.raises(
        ConversionError,
        match=r"JSON: expected at most 268435456 bytes, got 268435457; save the weights as \.safetensors instead",
    ):
        convert(tmp_path / "model.json")


def test_a_list_of_layers_needs_no_description(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="RTNeural's list of layers holds the architecture itself"):
        convert(write(tmp_path, model_of(3)), "gru")


STATE_DICT = {name: array.tolist() for name, array in read_state_dict(DATA / "c_eachstep_bf.pt").items()}


@pytest.mark.parametrize("document", [STATE_DICT, {"epoch": 3, "model": {"state_dict": STATE_DICT}}])
def test_state_dicts_as_json(document: Any, tmp_path: Path) -> None:
    model = convert(write(tmp_path, document), "gru, fc", reference=False)
    arrays = stored("c_eachstep_bf.npz")
    for x, y in zip(arrays["in_x"], arrays["out_y"], strict=True):
        np.testing.assert_allclose(answers(model, x), y, atol=TOLERANCE, rtol=0)
    assert model.source.format == "json"


def test_one_of_several_state_dicts(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": {"fc.weight": [[1.0]]}, "b": {"c": STATE_DICT}})
    assert len(convert(path, "gru, fc, entry(b.c)", reference=False).layers) == 2
    model = convert(path, "gru, fc", entry="b", reference=False)
    assert model.source.notes == ("left out, the other state dicts of the checkpoint: a",)
    with pytest.raises(
        ConversionError, match=r"got 2; say which(.|\n)*  a: 1 tensor: fc\.weight\n  b\.c: 6 tensors: gru"
    ):
        convert(path, "gru, fc")
    with pytest.raises(ConversionError, match=r"got 2; say which"):
        convert(path, "gru, fc", entry="d")


def test_what_lies_beside_a_state_dict(tmp_path: Path) -> None:
    path = write(tmp_path, {"epoch": 3, "loss": [0.5, 0.25], "name": "x", "net": STATE_DICT | {"samplerate": 48000}})
    model = convert(path, "gru, fc", reference=False)
    assert model.source.notes == ("beside the weights, and not used: loss (2,), epoch, net.samplerate",)
    assert convert(path, ".", entry="gru", reference=False).layers[0].kind == "gru"
