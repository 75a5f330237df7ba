"""Programs of torch.export: networks exported just now, against what torch gives; and what is refused."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from checkpoints import DATA, entries, zipped
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import NETWORKS, Net, Network

import grurt
from grurt.converters import convert
from grurt.errors import ConversionError, DescriptionError, UnsupportedError

TOLERANCE = 2e-6
AUTO = torch.export.Dim.AUTO


def exported(network: Network, path: Path, *, decompose: bool = False, **options: Any) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.export.export(network.module, network.inputs, **options)
        torch.export.save(program.run_decompositions() if decompose else program, path)


def check(model: grurt.Model, network: Network, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        answers = network.module(*inputs)
    found = model.run({port.name: array.numpy() for port, array in zip(model.signature.inputs, inputs, strict=True)})
    for array, expected in zip(found.values(), answers if isinstance(answers, tuple) else (answers,), strict=True):
        np.testing.assert_allclose(array, expected.numpy(), rtol=0, atol=TOLERANCE, strict=True)


def resized(model: grurt.Model, network: Network, **sizes: int) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn([sizes.get(axis, size) for axis, size in zip(port.axes, array.shape, strict=True)])
        for port, array in zip(model.signature.inputs, network.inputs, strict=True)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2")
    assert model.reference_run is not None, model.source.notes
    assert model.verify().max_error < TOLERANCE
    check(model, network, network.inputs)
    check(model, network, resized(model, network, batch=3, time=7))


@pytest.mark.parametrize("name", ["softmax", "two_outputs", "layer_norms", "learned_state"])
def test_open_sizes(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    axes: Any = {0: AUTO, 1: AUTO}
    exported(network, tmp_path / "program.pt2", dynamic_shapes={"inputs": (axes,)})
    model = convert(tmp_path / "program.pt2")
    check(model, network, resized(model, network, batch=3, time=7))


def network_of(forward: Callable[..., Any], *inputs: Tensor, **modules: nn.Module) -> Network:
    return Network(Net(forward, **modules).eval(), inputs, {})


X = torch.randn(2, 5, 4)


class Tied(nn.Module):
    """Tokens in and out through one table, a constant, a lifted tensor and an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.gru, self.out = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 9, bias=False)
        self.out.weight, self.unused = self.emb.weight, nn.Linear(3, 3)
        self.offset = torch.linspace(-1, 1, 9)
        self.register_buffer("scale", torch.tensor(1.7))

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.gru(self.emb(tokens))[0]
        return (self.out(y) + self.offset) * self.scale - torch.tensor([0.5] * 9)


def test_tied_parameters_constants_and_buffers(tmp_path: Path) -> None:
    network = Network(Tied().eval(), (torch.randint(9, (2, 5)),), {})
    exported(network, tmp_path / "program.pt2")
    model = convert(tmp_path / "program.pt2")
    check(model, network, network.inputs)
    assert model.source.notes == ("not read by the program, and left out: unused.weight, unused.bias",)


MORE = {
    "silu": lambda net, x: functional.hardswish(functional.silu(net.gru(x)[0])),
    "clamps": lambda net, x: functional.relu6(net.gru(x)[0].clamp(min=-0.2) * 8).clamp(max=3.0),
    "shapes": lambda net, x: net.gru(x)[0].flatten(0, 1).unflatten(0, (2, 5)).reshape(2, 5, 8),
    "parts": lambda net, x: torch.stack(net.gru(x)[0].chunk(1, 0)).squeeze(0),
    "sums": lambda net, x: 1.0 - (net.gru(x)[0] / 2.0).neg(),
    "converted": lambda net, x: net.gru(x.to(torch.float32).contiguous())[0].clone(),
    "stacked_states": lambda net, x: torch.cat(net.gru(x, torch.full((1, 2, 8), 0.25))[1].unbind(0), 1),
    "same_twice": lambda net, x: (lambda y: (y, y))(net.gru(x)[0]),
}


@pytest.mark.parametrize("name", MORE)
def test_more_operators(name: str, tmp_path: Path) -> None:
    network = network_of(MORE[name], X, gru=nn.GRU(4, 8, batch_first=True))
    exported(network, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


def test_weight_normalization_of_a_gru(tmp_path: Path) -> None:
    gru = nn.GRU(4, 8, batch_first=True)
    nn.utils.parametrizations.weight_norm(gru, "weight_hh_l0")
    network = network_of(lambda net, x: net.gru(x)[0], X, gru=gru)
    exported(network, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


def test_a_decomposed_cell_is_recognised(tmp_path: Path) -> None:
    network = NETWORKS["cells"]
    exported(network, tmp_path / "program.pt2", decompose=True)
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    network = network_of(lambda net, x: net.fc(net.gru(x)[0]), X, gru=nn.GRU(4, 8), fc=nn.Linear(8, 3))
    network = Network(network.module.to(dtype), (X.to(dtype),), {})
    exported(network, tmp_path / "program.pt2")
    if dtype is torch.bfloat16:
        with pytest.raises(UnsupportedError, match="the type bfloat16 is not supported"):
            convert(tmp_path / "program.pt2", reference=False)
        return
    model = convert(tmp_path / "program.pt2", reference=False)
    found = model.run({model.signature.inputs[0].name: network.inputs[0].numpy()})
    expected = network.module.float()(network.inputs[0].float()).detach().numpy()
    (array,) = found.values()
    assert array.dtype == network.inputs[0].numpy().dtype
    np.testing.assert_allclose(array, expected, rtol=0, atol=2e-6 if dtype is torch.float64 else 2e-3)


def test_the_stored_program() -> None:
    model = convert(DATA / "export.pt2", reference=False)
    arrays = checkpoints.stored("io.npz")
    found = model.run({model.signature.inputs[0].name: arrays["x"]})
    np.testing.assert_allclose(next(iter(found.values())), arrays["y"], atol=TOLERANCE, rtol=0)


def old_layout(path: Path) -> bytes:
    """Return a program in the layout of torch 2.1 to 2.7: the same JSON, and checkpoints of ``torch.save``."""
    files = {name.partition("/")[2]: data for name, data in entries(path).items()}
    weights = io.BytesIO()
    torch.save(torch.export.load(path).state_dict, weights)
    return zipped(
        {
            "serialized_exported_program.json": files["models/model.json"],
            "serialized_state_dict.pt": weights.getvalue(),
            "serialized_constants.pt": b"",
            "version": b"7.3",
        }
    )


def test_the_old_layout(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (tmp_path / "old.pt2").write_bytes(old_layout(DATA / "export.pt2"))
    model, same = (convert(path, reference=False) for path in (tmp_path / "old.pt2", DATA / "export.pt2"))
    assert model.fingerprint == same.fingerprint


REFUSED: dict[str, tuple[Network, str]] = {
    "lstm": (
        network_of(lambda net, x: net.rnn(x)[0], X, rnn=nn.LSTM(4, 8)),
        r"torch\.ops\.aten\.lstm\.input\): grurt runs GRU networks; LSTM and plain RNN are not supported",
    ),
    "no_gru": (network_of(lambda net, x: net.fc(x), X, fc=nn.Linear(4, 3)), "expected a GRU, found none; if it was"),
    "looks_ahead": (
        network_of(
            lambda net, x: net.gru(net.conv(x.transpose(1, 2)).transpose(1, 2))[0],
            X,
            conv=nn.Conv1d(4, 4, 3, padding=1),
            gru=nn.GRU(4, 8, batch_first=True),
        ),
        "expected padding by 2 timesteps before the first and none after the last, got 1 and 1",
    ),
    "mean": (
        network_of(lambda net, x: net.gru(x)[0].mean(1), X, gru=nn.GRU(4, 8, batch_first=True)),
        r"\(torch\.ops\.aten\.mean\.dim\): the operator is not supported; supported are GRU, linear",
    ),
    "training": (
        Network(nn.Sequential(nn.Dropout(0.5), nn.GRU(4, 8)).train(), (X,), {}),
        r"call model\.eval\(\) before the export|packed sequences, or in training mode",
    ),
    "in_place": (
        network_of(
            lambda net, x: (lambda y: y.transpose(1, 2).relu_().transpose(1, 2) + y)(net.gru(x)[0]),
            X,
            gru=nn.GRU(4, 8, batch_first=True),
        ),
        "in place, which others see too; use the form without inplace=True",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_programs_that_are_refused(name: str, tmp_path: Path) -> None:
    network, message = REFUSED[name]
    exported(network, tmp_path / "program.pt2")
    with pytest.raises(UnsupportedError, match=message):
        convert(tmp_path / "program.pt2")


def test_a_decomposed_gru_is_refused_with_advice(tmp_path: Path) -> None:
    network = NETWORKS["softmax"]
    exported(network, tmp_path / "program.pt2", decompose=True)
    with pytest.raises(UnsupportedError, match=r"expected a GRU, found none; .* before run_decompositions\(\)"):
        convert(tmp_path / "program.pt2")


def test_a_program_needs_no_description() -> None:
    with pytest.raises(DescriptionError, match=r"a program of torch\.export holds the architecture itself"):
        convert(DATA / "export.pt2", "gru, fc")


def changed(change: Callable[[Any], None], entry: str = "models/model.json") -> bytes:
    files = entries(DATA / "export.pt2")
    name = next(name for name in files if name.endswith(entry))
    document = json.loads(files[name])
    change(document)
    return zipped(files | {name: json.dumps(document).encode()})


def weight(document: Any) -> Any:
    return next(iter(document["config"].values()))


WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("change", "entry", "message"),
    [
        (lambda d: d["schema_version"].update(major=99), "models/model.json", "expected version 5 to 9 of torch's"),
        (lambda d: d.pop("graph_module"), "models/model.json", r"torch's export schema, found damage \(KeyError"),
        (lambda d: d["graph_module"]["graph"]["nodes"][0].pop("inputs"), "models/model.json", "found damage"),
        (lambda d: d["graph_module"]["graph"]["nodes"][-1].update(inputs=[]), "models/model.json", "is no tensor"),
        (lambda d: weight(d).update(path_name="weight_99"), WEIGHTS, "expected an entry '.*weight_99', found none"),
        (lambda d: weight(d).update(use_pickle=True), WEIGHTS, "expected the bytes of a plain tensor, found a pickled"),
        (lambda d: weight(d).pop("tensor_meta"), WEIGHTS, "expected its place, size and strides; the file is damaged"),
        (lambda d: weight(d)["tensor_meta"].update(dtype=11), WEIGHTS, "expected one of the dtypes .*'number 11'"),
        (lambda d: weight(d)["tensor_meta"].update(storage_offset={"as_int": -1}), WEIGHTS, "that are not negative"),
        (lambda d: weight(d)["tensor_meta"].update(storage_offset={"as_int": 99}), WEIGHTS, "inside its storage"),
        (lambda d: d["config"].popitem(), WEIGHTS, "expected the weight '.*' in the archive, found none"),
        (lambda d: d.update(config=3), WEIGHTS, "expected the weights' places in 'model_weights_config"),
    ],
)  # fmt: skip
def test_damaged_programs(change: Callable[[Any], None], entry: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "program.pt2").write_bytes(changed(change, entry))
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "program.pt2", reference=False)


def test_an_archive_without_a_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w") as archive:
        archive.writestr("a/archive_format", "pt2")
    with pytest.raises(UnsupportedError, match="expected one program in models/, found 0; write it with torch"):
        convert(tmp_path / "empty.pt2")
