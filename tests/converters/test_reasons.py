"""What is refused by design says by which reason; each of them has files and programs that have it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_files
import numpy as np
import onnx
import onnx_graphs
import programs
import pytest
import torch
from keras_files import layer_of
from onnx import TensorProto
from onnx_graphs import HIDDEN, INPUT, after_gru, node, proto, random
from paths import DATA, ROOT
from torch import Tensor, nn

import grurt
from grurt.converters import convert
from grurt.errors import ConversionError, DesignReason, StreamingError, UnsupportedError

OPERATORS = [
    ("LSTM", DesignReason.OTHER_RECURRENCE, "LSTM is not supported"),
    ("If", DesignReason.DATA_DEPENDENT, "a branch that depends on the inputs"),
    (
        "Resize",
        DesignReason.SEQUENCE_LENGTH,
        "it changes the number of timesteps; a stream gives one output for each input",
    ),
    ("RandomNormalLike", DesignReason.TRAINING, "it draws numbers at random; draw them outside of the model"),
    ("NonZero", DesignReason.DATA_DEPENDENT, "the shape of what it gives depends on the data; do this outside"),
    ("QuantizeLinear", DesignReason.QUANTIZED, "convert the model from before the quantization"),
    ("DFT", DesignReason.ELEMENT_TYPE, "it gives complex numbers; transform the signal outside of the model"),
    ("StringNormalizer", DesignReason.ELEMENT_TYPE, "it works on texts; turn the texts into tokens before the model"),
    ("Det", None, "the operator is not supported"),
]


@pytest.mark.parametrize(("op", "reason", "message"), OPERATORS)
def test_operators_of_onnx(op: str, reason: DesignReason | None, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        onnx_graphs.convert(after_gru([node(op, ["s"], ["y"])]))
    assert caught.value.reason is reason


X = torch.zeros(2, 5, 4)


def _program(forward: Callable[..., Any], *inputs: Tensor, **modules: nn.Module) -> Callable[[Path], grurt.Model]:
    def converted(folder: Path) -> grurt.Model:
        network = programs.network_of(forward, *(inputs or (X,)), **modules)
        programs.exported(network, folder / "network.pt2")
        return convert(folder / "network.pt2", reference=False)

    return converted


def _gru() -> nn.GRU:
    return nn.GRU(4, 4, batch_first=True)


def _keras(kind: str) -> Callable[[Path], grurt.Model]:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "gru").update(class_name=kind, module="keras.layers")

    return lambda folder: convert(keras_files.edited(folder, "k3_time_distributed", change), reference=False)


def _file(name: str, content: bytes) -> Callable[[Path], grurt.Model]:
    def converted(folder: Path) -> grurt.Model:
        (folder / name).write_bytes(content)
        return convert(folder / name, reference=False)

    return converted


def _graph(nodes: Sequence[Any], weights: Mapping[str, Any], **options: Any) -> Callable[[Path], grurt.Model]:
    def converted(folder: Path) -> grurt.Model:
        onnx.save(
            proto(nodes, options.pop("inputs", {"x": ("t", "b", INPUT)}), ["y"], weights, **options), folder / "g.onnx"
        )
        return convert(folder / "g.onnx", reference=False)

    return converted


def _attention(net: Any, x: Tensor) -> Tensor:
    y = net.gru(x)[0]
    return nn.functional.scaled_dot_product_attention(y, y, y)


_NORM = nn.InstanceNorm1d(4)


def _plain_rnn(net: Any, x: Tensor) -> Tensor:
    h, outputs = torch.zeros(2, 4), []
    for step in net.gru(x)[0].unbind(1):
        h = torch.tanh(net.i(step) + net.h(h))
        outputs.append(h)
    return torch.stack(outputs, 1)


class _PickledGlobal:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


def _pickled(folder: Path) -> grurt.Model:
    objects = np.empty(1, object)
    objects[0] = _PickledGlobal()
    np.savez(folder / "a.npz", W=objects)
    return convert(folder / "a.npz", "W(gru)", reference=False)


def _faulty(folder: Path) -> grurt.Model:
    weights = onnx_graphs.gru_weights()
    made = node("GRU", ["x", "W", "R", "B"], ["y"], hidden_size=HIDDEN, linear_before_reset=0)
    onnx.save(proto([made], {"x": ("t", "b", INPUT)}, ["y"], weights, producer="pytorch"), folder / "g.onnx")
    return convert(folder / "g.onnx", reference=False)


def _texts(folder: Path) -> grurt.Model:
    model = after_gru([node("Relu", ["s"], ["y"])], dtypes={"x": TensorProto.STRING})
    onnx.save(model, folder / "g.onnx")
    return convert(folder / "g.onnx", reference=False)


def _fed_back(folder: Path) -> grurt.Model:
    def forward(net: Any, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, n = net.gru(x, h)
        return y, torch.tanh(n) * 0.9

    model = _program(forward, X, torch.zeros(1, 2, 4), gru=_gru())(folder)
    model.stream()
    return model


FILES: dict[DesignReason, list[Callable[[Path], grurt.Model]]] = {
    DesignReason.OTHER_RECURRENCE: [
        _program(lambda net, x: net.gru(net.lstm(x)[0])[0], gru=_gru(), lstm=nn.LSTM(4, 4, batch_first=True)),
        _program(_plain_rnn, gru=_gru(), i=nn.Linear(4, 4), h=nn.Linear(4, 4)),
        _keras("LSTM"),
    ],
    DesignReason.NO_RECURRENCE: [
        _program(lambda net, x: net.fc(x).relu(), fc=nn.Linear(4, 3)),
        _graph([node("MatMul", ["x", "M"], ["y"])], {"M": random(INPUT, 2)}),
    ],
    DesignReason.WHOLE_SEQUENCE: [
        _program(lambda net, x: (lambda y: y - y.mean(1, keepdim=True))(net.gru(x)[0]), gru=_gru()),
        _program(lambda net, x: net.gru(x)[0].cumsum(1), gru=_gru()),
        _program(lambda net, x: net.gru(x)[0].softmax(1), gru=_gru()),
        _program(lambda net, x: net.gru(x + x.softmax(1))[0], gru=_gru()),
        _program(lambda net, x: net.gru(net.norm(x.transpose(1, 2)).transpose(1, 2))[0], gru=_gru(), norm=_NORM),
        _program(_attention, gru=_gru()),
        _keras("GroupQueryAttention"),
    ],
    DesignReason.SEQUENCE_LENGTH: [
        _program(lambda net, x: net.fc(net.gru(x)[0].flatten(1)), gru=_gru(), fc=nn.Linear(20, 3)),
        _program(lambda net, x: net.fc(net.gru(x)[0].transpose(1, 2)), gru=_gru(), fc=nn.Linear(5, 3)),
        _program(lambda net, x: net.gru(x)[0].repeat_interleave(2, 1), gru=_gru()),
        _program(lambda net, x: torch.cat([x, net.gru(x)[0]], 1), gru=_gru()),
        _keras("UpSampling1D"),
    ],
    DesignReason.ACROSS_BATCH: [
        _program(lambda net, x: net.gru(x)[0] - net.gru(x)[0].mean(0, keepdim=True), gru=_gru()),
        _program(lambda net, x: net.gru(x)[0][1], gru=_gru()),
        _program(lambda net, x: net.gru(x)[0].cumsum(0), gru=_gru()),
        _program(lambda net, x: net.gru(x)[0].softmax(0), gru=_gru()),
        _program(lambda net, x: torch.cat([x, net.gru(x)[0]], 0), gru=_gru()),
    ],
    DesignReason.IMAGES: [
        _program(lambda net, x: net.gru(net.conv(x[:, None])[:, 0])[0], gru=_gru(), conv=nn.Conv2d(1, 1, 3, padding=1)),
        _keras("Conv2D"),
    ],
    DesignReason.FED_BACK_STATE: [_fed_back],
    DesignReason.DATA_DEPENDENT: [lambda folder: onnx_graphs.convert(after_gru([node("NonZero", ["s"], ["y"])]))],
    DesignReason.TRAINING: [
        _program(lambda net, x: net.gru(x + torch.randn_like(x))[0], gru=_gru()),
        lambda folder: onnx_graphs.convert(after_gru([node("Bernoulli", ["s"], ["y"])])),
    ],
    DesignReason.QUANTIZED: [lambda folder: convert(DATA / "torch" / "sd_dynquant.pt", "gru, fc", reference=False)],
    DesignReason.OWN_CODE: [_keras("Lambda"), _pickled],
    DesignReason.ELEMENT_TYPE: [
        _program(lambda net, x: torch.fft.fft(net.gru(x)[0]).abs(), gru=_gru()),
        _keras("StringLookup"),
        _texts,
    ],
    DesignReason.NOT_SAID: [lambda folder: convert(DATA / "torch" / "list_params.pt", reference=False)],
    DesignReason.FAULTY_SOURCE: [_faulty],
    DesignReason.OTHER_FORMAT: [
        _file("model.tflite", b"\x1c\0\0\0TFL3" + bytes(64)),
        _file("a.gguf", b"GGUF" + bytes(64)),
    ],
    DesignReason.SIZE: [
        _file("model.json", json.dumps({"in_shape": [None, None, 1], "layers": [{"type": "dense"}] * 5000}).encode())
    ],
}
"""For each reason, what reads files that have it."""


@pytest.mark.parametrize(
    ("reason", "place"), [(reason, place) for reason, makers in FILES.items() for place in range(len(makers))]
)
def test_files_and_programs(reason: DesignReason, place: int, tmp_path: Path) -> None:
    with pytest.raises((UnsupportedError, StreamingError)) as caught:
        FILES[reason][place](tmp_path)
    assert caught.value.reason is reason, caught.value


def test_every_reason_has_a_file() -> None:
    assert list(FILES) == list(DesignReason)


def test_every_reason_is_used_and_explained() -> None:
    page = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text() for folder in ("grurt", "converters") for path in (ROOT / folder).rglob("*.py"))
    for reason in DesignReason:
        assert f"| `{reason.name}` | {reason.what} | {reason.why} | {reason.advice} |" in page
        assert re.search(rf"DesignReason\.{reason.name}\b", source)


def test_a_reason_stays_with_its_error() -> None:
    """However it is named, pickled or copied on the way to who asked for the conversion."""
    error = UnsupportedError("node 'a': got that", "further", reason=DesignReason.IMAGES)
    assert pickle.loads(pickle.dumps(error)).reason is DesignReason.IMAGES
    renamed = error.reworded("file: node 'a': got that")
    assert (type(renamed), renamed.reason, str(renamed)) == (UnsupportedError, error.reason, "file: node 'a': got that")
    assert UnsupportedError("x").reason is None
    assert ConversionError("x").reworded("y").args == ("y",)
