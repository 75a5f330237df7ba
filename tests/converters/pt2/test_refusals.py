"""Programs of torch.export that are refused, and files that are damaged."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import DATA, entries, zipped
from programs import X, check, exported, network_of
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import Network

from grurt.converters import convert
from grurt.errors import ConversionError, DescriptionError, UnsupportedError

REFUSED: dict[str, tuple[Network, str]] = {
    "lstm": (
        network_of(lambda net, x: net.rnn(x)[0], X, rnn=nn.LSTM(4, 8)),
        r"node 'lstm' \(LSTM\): grurt runs GRU networks; LSTM is not supported; train the model with a GRU",
    ),
    "five axes": (
        network_of(lambda net, x: functional.scaled_dot_product_attention(*[x.expand(1, 1, 1, *x.shape)] * 3), X),
        "it has more axes than heads, or drops out; call model",
    ),
    "no_gru": (network_of(lambda net, x: net.fc(x), X, fc=nn.Linear(4, 3)), "expected a GRU, got none; if it was"),
    "no_cell": (
        network_of(
            lambda net, x, h: (z := net.z(h).sigmoid()) * h + (1 - z) * net.n(x).relu().sin(),
            X[:, 0],
            X[:, 1],
            z=nn.Linear(4, 4),
            n=nn.Linear(4, 4),
        ),
        r"the program holds no GRU, and what looks like a GRU cell is none: the candidate n is not tanh\(W x \+ b",
    ),
    "product": (
        network_of(lambda net, x: net.gru(x)[0].prod(1), X, gru=nn.GRU(4, 8, batch_first=True)),
        r"node 'prod' \(ReduceProd\): it computes across timesteps or sequences",
    ),
    "training": (
        Network(nn.Sequential(nn.Dropout(0.5), nn.GRU(4, 8)).train(), (X,), {}),
        r"call model\.eval\(\) before the export|packed sequences, or in training mode",
    ),
    "picks_timesteps": (
        network_of(lambda net, x: net.gru(x)[0][:, torch.tensor([0, 2])], X, gru=nn.GRU(4, 8, batch_first=True)),
        "it selects 2 of 5 positions of .*; whole sequences must be kept, in order, or one timestep",
    ),
    "adaptive_pool": (
        network_of(
            lambda net, x: net.gru(functional.adaptive_avg_pool1d(x, 4))[0], X, gru=nn.GRU(4, 8, batch_first=True)
        ),
        "it pools a sequence of any length into several timesteps; use a pool with a kernel_size",
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


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_programs_that_are_refused(name: str, tmp_path: Path) -> None:
    network, message = REFUSED[name]
    exported(network, tmp_path / "program.pt2")
    with pytest.raises(UnsupportedError, match=message):
        convert(tmp_path / "program.pt2")


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "narrow": lambda y: y.narrow(-1, 0, 2),
    "tensor_split": lambda y: y.tensor_split(2, -1)[0],
    "unfold": lambda y: y.unfold(-1, 2, 2),
    "movedim": lambda y: y.movedim(0, 1),
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "view_as": lambda y: y.view_as(y),
    "broadcast_to": lambda y: y.broadcast_to(2, 5, 8),
    "expand_as": lambda y: y.expand_as(y),
    "dropout": lambda y: functional.dropout(y, training=False),
}


@pytest.mark.slow
def test_what_shares_memory_is_known_where_it_is_written(tmp_path: Path) -> None:
    """Whoever reads the whole afterwards sees what was written to a part of it."""
    for view in VIEWS.values():

        def forward(net: Any, x: Tensor, view: Callable[[Tensor], Tensor] = view) -> Tensor:
            y = net.gru(x)[0]
            view(y).mul_(2.0)
            return y + 1.0

        exported(network_of(forward, X, gru=nn.GRU(4, 8, batch_first=True)), tmp_path / "program.pt2")
        with pytest.raises(UnsupportedError, match="in place, which others see too; use the form without inplace=True"):
            convert(tmp_path / "program.pt2", reference=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "forward",
    [
        lambda y: (lambda part: (y.mul_(2.0), part)[1])(y[..., :3]),
        lambda y: (lambda part: (part.mul_(2.0), y)[1])(y.transpose(1, 2)),
        lambda y: (lambda part, other: (part.relu_(), other + 1)[1])(y[..., :3], y[..., 2:5]),
    ],
)
def test_a_part_that_was_taken_before_the_whole_is_written(forward: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    network = network_of(lambda net, x: forward(net.gru(x)[0]), X, gru=nn.GRU(4, 8, batch_first=True))
    exported(network, tmp_path / "program.pt2")
    with pytest.raises(UnsupportedError, match="in place, which others see too; use the form without inplace=True"):
        convert(tmp_path / "program.pt2", reference=False)


@pytest.mark.slow
def test_what_nobody_else_sees_may_be_written(tmp_path: Path) -> None:
    network = network_of(
        lambda net, x: net.gru(x)[0].transpose(1, 2).relu_()[:, :3].mul_(2.0).transpose(1, 2),
        X,
        gru=nn.GRU(4, 8, batch_first=True),
    )
    exported(network, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


@pytest.mark.slow
def test_what_no_layer_computes_is_refused_also_where_the_program_was_decomposed(tmp_path: Path) -> None:
    network = network_of(lambda net, x: net.gru(x)[0].sort(-1)[0], X, gru=nn.GRU(4, 8, batch_first=True))
    exported(network, tmp_path / "program.pt2", decompose=True)
    with pytest.raises(
        UnsupportedError, match=r"\(torch\.ops\.aten\.sort\.default\): grurt has no layer that computes"
    ):
        convert(tmp_path / "program.pt2")


@pytest.mark.slow
def test_the_advice_to_decompose_what_is_computed_in_place_is_right(tmp_path: Path) -> None:
    network, _ = REFUSED["in_place"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.export.export(network.module, network.inputs).run_decompositions({})
        torch.export.save(program, tmp_path / "program.pt2")
    check(convert(tmp_path / "program.pt2", reference=False), network, network.inputs)


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
        (
            lambda d: d["graph_module"]["signature"]["input_specs"][0]["parameter"].update(parameter_name=None),
            "models/model.json",
            r"got damage \(TypeError: a name that is no text",
        ),
        (lambda d: d.pop("graph_module"), "models/model.json", r"torch's export schema, got damage \(KeyError"),
        (lambda d: d["graph_module"]["graph"]["nodes"][0].pop("inputs"), "models/model.json", "got damage"),
        (lambda d: d["graph_module"]["graph"]["nodes"][-1].update(inputs=[]), "models/model.json", "is no tensor"),
        (lambda d: weight(d).update(path_name="weight_99"), WEIGHTS, "expected an entry '.*weight_99', got none"),
        (lambda d: weight(d).update(use_pickle=True), WEIGHTS, "expected the bytes of a plain tensor, got a pickled"),
        (lambda d: weight(d).pop("tensor_meta"), WEIGHTS, "expected its place, size and strides; the file is damaged"),
        (lambda d: weight(d)["tensor_meta"].update(dtype=11), WEIGHTS, "expected one of the dtypes .*'number 11'"),
        (lambda d: weight(d)["tensor_meta"].update(storage_offset={"as_int": -1}), WEIGHTS, "that are not negative"),
        (lambda d: weight(d)["tensor_meta"].update(storage_offset={"as_int": 99}), WEIGHTS, "inside its storage"),
        (lambda d: d["config"].popitem(), WEIGHTS, "expected the weight '.*' in the archive, got none"),
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
    with pytest.raises(UnsupportedError, match="expected one program in models/, got 0; write it with torch"):
        convert(tmp_path / "empty.pt2")
