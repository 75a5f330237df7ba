"""CoreAudioML's JSON: the network that ``model_data`` describes gives what its published equations give in PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grurt import Model
from grurt.converters import convert
from grurt.errors import ConversionError, DescriptionError, UnsupportedError

TOLERANCE = 2e-6
Document = dict[str, Any]


class SimpleRNN(nn.Module):
    """``networks.SimpleRNN`` of CoreAudioML, as it is trained."""

    def __init__(self, input_size: int, output_size: int, skip: int, bias_fl: bool, num_layers: int) -> None:
        super().__init__()
        self.rec = nn.GRU(input_size, 5, num_layers, batch_first=True)
        self.lin = nn.Linear(5, output_size, bias=bias_fl)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lin(self.rec(x)[0])
        return y + x[:, :, 0 : self.skip] if self.skip else y


def simple_rnn(
    input_size: int = 1, output_size: int = 1, skip: int = 1, bias_fl: bool = True, num_layers: int = 1
) -> tuple[SimpleRNN, Document]:
    """Return a module with random weights, and what CoreAudioML's ``save_model`` writes of it."""
    torch.manual_seed(7)
    module = SimpleRNN(input_size, output_size, skip, bias_fl, num_layers).eval()
    sizes = {"input_size": input_size, "output_size": output_size, "hidden_size": 5, "num_layers": num_layers}
    data = {"model": "SimpleRNN", "unit_type": "GRU", "skip": skip, "bias_fl": bias_fl, **sizes}
    tensors = {name: tensor.tolist() for name, tensor in module.state_dict().items()}
    return module, {"model_data": data, "state_dict": tensors}


def converted(folder: Path, document: Document, layers: str | None = None) -> Model:
    (folder / "model.json").write_text(json.dumps(document))
    return convert(folder / "model.json", layers)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"skip": 0},
        {"bias_fl": False},
        {"num_layers": 3},
        {"input_size": 3, "skip": 1},
        {"input_size": 3, "output_size": 2, "skip": 2},
        {"input_size": 3, "output_size": 2, "skip": 1},
        {"input_size": 3, "output_size": 3, "skip": 5},
        {"input_size": 3, "output_size": 1, "skip": 2},
    ],
    ids=str,
)
def test_networks(options: dict[str, Any], tmp_path: Path) -> None:
    module, document = simple_rnn(**options)
    model = converted(tmp_path, document)
    x = torch.randn(2, 9, options.get("input_size", 1))
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(model.run(x.numpy()), expected, rtol=0, atol=TOLERANCE)
    assert model.unstreamable_reason is None
    assert model.source.format == "coreaudioml"
    assert model.reference_run is not None
    assert model.reference_run.produced_by.endswith(", from the equations of SimpleRNN")


def test_what_it_consists_of(tmp_path: Path) -> None:
    model = converted(tmp_path, simple_rnn(input_size=2, num_layers=2)[1])
    assert [layer.name for layer in model.layers] == ["rec.l0", "rec.l1", "lin", "x.skipped", "skip"]


def test_a_bias_of_zeros_that_was_called_none(tmp_path: Path) -> None:
    module, document = simple_rnn()
    nn.init.zeros_(module.lin.bias)
    document["model_data"]["bias_fl"] = False
    document["state_dict"]["lin.bias"] = [0.0]
    x = torch.randn(1, 5, 1)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(converted(tmp_path, document).run(x.numpy()), expected, rtol=0, atol=TOLERANCE)


def test_without_torch_there_is_no_reference_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.converters.rtneural.coreaudioml.is_installed", lambda name: False)
    model = converted(tmp_path, simple_rnn()[1])
    assert model.source.notes == ("no reference run: torch is not installed",)


def test_remarks_are_left_out(tmp_path: Path) -> None:
    assert len(converted(tmp_path, {**simple_rnn()[1], "samplerate": 44100, "metadata": {}}).layers) == 3


def test_a_description_is_not_needed(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="layers: model_data holds the architecture itself; leave the descript"):
        converted(tmp_path, simple_rnn()[1], "rec, lin")


Change = Callable[[Document], object]


def data(**values: Any) -> Change:
    return lambda document: document["model_data"].update(values)


def tensors(**values: Any) -> Change:
    return lambda document: document["state_dict"].update({name.replace("__", "."): v for name, v in values.items()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            data(unit_type="LSTM"),
            "model_data: expected unit_type 'GRU', got an LSTM; grurt runs GRU networks: tr",
        ),
        (data(unit_type="RNN"), "model_data: expected unit_type 'GRU', got a plain RNN"),
        (lambda d: d["model_data"].pop("unit_type"), "model_data: expected unit_type 'GRU', got 'None'"),
        (
            data(model="GatedConvNet"),
            "model_data: expected the network SimpleRNN, got 'GatedConvNet'; grurt ru",
        ),
        (data(model="RecNet"), "expected the network SimpleRNN, got 'RecNet'"),
        (data(clip=1.0), "model_data: expected only bias_fl, .*, got 'clip'; delete it if it changes nothing"),
        (lambda d: d.update(gain=1.0), "expected model_data and state_dict, got the field 'gain' too; delete it if it"),
    ],
)
def test_other_networks(change: Change, message: str, tmp_path: Path) -> None:
    _, document = simple_rnn()
    change(document)
    with pytest.raises(UnsupportedError, match=message):
        converted(tmp_path, document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (data(skip=-1), "model_data: expected skip to be a number of channels, got -1"),
        (data(skip="1"), "model_data: expected skip to be a number of channels, got 1"),
        (lambda d: d["model_data"].pop("skip"), "model_data: expected skip to be a number of channels, got None"),
        (data(hidden_size=6), "model_data: expected hidden_size to be 5, as in the weights, got 6"),
        (data(input_size=2), "model_data: expected input_size to be 1, as in the weights, got 2"),
        (data(output_size=2), "expected output_size to be 1"),
        (data(num_layers=2), "expected num_layers to be 1"),
        (data(bias_fl=False), "model_data: expected bias_fl to be True, as in the weights, got False"),
        (
            tensors(rec__weight_ih_l0_reverse=[[1.0]]),
            "expected the tensors of a SimpleRNN, .*_reverse",
        ),
        (tensors(conv__weight=[[1.0]]), "expected the tensors of a SimpleRNN, .*, got conv.weight, "),
        (lambda d: d["state_dict"].pop("rec.bias_hh_l0"), "expected the tensors of a SimpleRNN"),
        (lambda d: d["state_dict"].pop("lin.weight"), "expected the tensors of a SimpleRNN"),
        (tensors(lin__weight=[1.0]), r"state_dict: expected matrices of weights, got the shapes"),
        (
            tensors(rec__weight_hh_l0=[[1.0] * 5] * 4),
            r"'rec': expected 3 \* 5 rows in weight_hh_l0, got \(4, 5\)",
        ),
        (
            lambda d: d.update(state_dict={}),
            "expected RTNeural's list of layers or a state dict, arrays by na",
        ),
    ],
)
def test_documents_that_contradict_themselves(change: Change, message: str, tmp_path: Path) -> None:
    _, document = simple_rnn()
    change(document)
    with pytest.raises(ConversionError, match=message):
        converted(tmp_path, document)


def test_a_skip_that_fits_no_output(tmp_path: Path) -> None:
    _, document = simple_rnn(input_size=4, output_size=3, skip=0)
    document["model_data"]["skip"] = 2
    with pytest.raises(ConversionError, match="expected skip to be 0, 1 or 3, as many channels as the output has"):
        converted(tmp_path, document)
