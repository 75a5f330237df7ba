"""Write the network of `grurt demo` in the formats of other programs: the files beside this one.

    KERAS_BACKEND=torch python examples/formats/write.py folder/

It needs PyTorch and Keras. To read the files, `grurt convert` needs neither.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from grurt.converters.gates import rzn_from_zrn
from grurt.demo import load_model

Weights = dict[str, np.ndarray]


class ActivityNet(nn.Module):
    """The network as `examples/train_activity.py` trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.gru = nn.GRU(6, 32, batch_first=True)
        self.fc = nn.Linear(32, 4)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        normalized = self.norm(samples.transpose(1, 2)).transpose(1, 2)
        return torch.softmax(self.fc(self.gru(normalized)[0]), dim=-1)


def state_dict(weights: Weights) -> Weights:
    """Return the weights under PyTorch's names, gates in its order."""
    names = {"norm.mean": "norm.running_mean", "norm.variance": "norm.running_var"}
    names |= {"linear.weight": "fc.weight", "linear.bias": "fc.bias"}
    gru = {f"{name}_l0": rzn_from_zrn(array) for name, array in weights.items() if name.startswith("gru.")}
    return {names.get(name, name): array for name, array in weights.items() if not name.startswith("gru.")} | gru


def write_pytorch(weights: Weights, folder: Path) -> None:
    """Write a state dict in both formats, and a program of `torch.export`."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state_dict(weights).items()}
    save_file(arrays, folder / "activity.safetensors")
    net = ActivityNet().eval()
    net.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()}, strict=False)
    torch.save(net.state_dict(), folder / "activity.pt")
    program = torch.export.export(net, (torch.zeros(1, 100, 6),))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds file names of the machine that exported
    torch.export.save(program, folder / "activity.pt2")


def keras_weights(weights: Weights) -> list[list[np.ndarray]]:
    """Return the weights of each layer as Keras has them: gates z, r, n, and a row of a kernel for each input."""
    gru = [weights["gru.weight_ih"].T, weights["gru.weight_hh"].T]
    return [
        [weights[f"norm.{name}"] for name in ("weight", "bias", "mean", "variance")],
        [*gru, np.stack([weights["gru.bias_ih"], weights["gru.bias_hh"]])],
        [weights["linear.weight"].T, weights["linear.bias"]],
    ]


def write_keras(arrays: list[list[np.ndarray]], folder: Path) -> None:
    """Write a model, and what is left of one by `save_weights`: weights, and the architecture as JSON beside them."""
    model = keras.Sequential(
        [
            keras.Input((None, 6), name="samples"),
            keras.layers.BatchNormalization(epsilon=1e-5, name="norm"),
            keras.layers.GRU(32, return_sequences=True, name="gru"),
            keras.layers.Dense(4, activation="softmax", name="fc"),
        ],
        name="activity",
    )
    for layer, own in zip(model.layers, arrays, strict=True):
        layer.set_weights(own)
    model.save(folder / "activity.keras")
    model.save_weights(folder / "activity.weights.h5")
    (folder / "activity.architecture.json").write_text(model.to_json(indent=1) + "\n")


def write_rtneural(arrays: list[list[np.ndarray]], folder: Path) -> None:
    """Write the JSON that RTNeural's exporter for Keras writes."""
    fields = [
        {"type": "batchnorm", "epsilon": 1e-5, "shape": [None, None, 6]},
        {"type": "gru", "activation": "", "shape": [None, None, 32]},
        {"type": "time-distributed-dense", "activation": "softmax", "shape": [None, None, 4]},
    ]
    shortest = np.vectorize(lambda weight: float(str(np.float32(weight))))
    layers = [
        own | {"weights": [shortest(array).tolist() for array in one]} for own, one in zip(fields, arrays, strict=True)
    ]
    document = {"in_shape": [None, None, 6], "layers": layers}
    (folder / "activity.rtneural.json").write_text(json.dumps(document) + "\n")


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write to")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(load_model().weights)
    write_pytorch(weights, folder)
    write_keras(keras_weights(weights), folder)
    write_rtneural(keras_weights(weights), folder)


if __name__ == "__main__":
    main()
