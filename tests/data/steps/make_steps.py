"""Writes the graphs of one timestep in this folder: ``python make_steps.py``, with torch 2.13.0."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent


class Cleaner(nn.Module):
    """A denoiser in miniature: convolutions over frequencies, a cache of spectra, GRUs over frequencies and time."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Conv2d(2, 8, (3, 3), stride=(1, 2), padding=(0, 1))
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.PReLU(8)
        self.across = nn.GRU(8, 4, bidirectional=True, batch_first=True)
        self.over = nn.GRU(8, 8, batch_first=True)
        self.decode = nn.ConvTranspose2d(8, 2, (1, 3), stride=(1, 2), padding=(0, 1))
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

    def forward(self, spectrum: Tensor, cache: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = torch.cat([cache, spectrum], 2)
        x = self.act(self.norm(self.encode(seen))).squeeze(2).transpose(1, 2)
        x = x + self.across(x)[0]
        y, h = self.over(x.transpose(0, 1), h)
        mask = torch.sigmoid(self.decode((x + y.transpose(0, 1)).transpose(1, 2).unsqueeze(2)))
        return mask * spectrum, seen[:, :, 1:], h


class Detector(nn.Module):
    """A detector of speech at one of two rates, of an LSTM whose states are one tensor, and another name behind."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Linear(16, 8), nn.Linear(16, 8)
        self.cell = nn.LSTMCell(8, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor, state: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        if rate.item() == 16000:  # noqa: SIM108 - TorchScript
            features = self.wide(x)
        else:
            features = self.narrow(x)
        h, c = self.cell(torch.relu(features), (state[0], state[1]))
        return torch.sigmoid(self.out(h)), torch.stack([h, c])


def without_paths(path: Path) -> None:
    """Take out of a file what the exporter noted of this machine: all but the names of modules."""
    model = onnx.load(path)
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph, model):
        kept = [entry for entry in part.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
    onnx.save(model, path)


def main() -> None:
    """Write the files."""
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    cleaner = Cleaner().eval()
    example = (torch.zeros(1, 2, 1, 9), torch.zeros(1, 2, 2, 9), torch.zeros(1, 5, 8))
    names = {"input_names": ["spectrum", "cache", "h"], "output_names": ["clean", "cache_out", "h_out"]}
    torch.onnx.export(cleaner, example, FOLDER / "clean.ts.op17.onnx", dynamo=False, opset_version=17, **names)
    torch.onnx.export(cleaner, example, FOLDER / "clean.dyn.op18.onnx", dynamo=True, external_data=False, **names)
    without_paths(FOLDER / "clean.dyn.op18.onnx")
    detector = torch.jit.script(Detector().eval())
    example = (torch.zeros(1, 16), torch.zeros(2, 1, 8), torch.tensor(16000))
    names = {"input_names": ["x", "state", "sr"], "output_names": ["y", "last"]}
    torch.onnx.export(detector, example, FOLDER / "detector.onnx", dynamo=False, opset_version=17, **names)


if __name__ == "__main__":
    main()
