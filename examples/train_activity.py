"""Train the network that `grurt demo` plays: it tells what the wearer of a smart watch is doing.

BasicMotions holds ten-second recordings of a watch's accelerometer and gyroscope, six channels at 10 Hz: four students
stand, run, walk and play badminton; 40 recordings to train with, 40 to test. The package aeon carries them in its
wheel. A GRU reads the raw samples and gives four probabilities after each of them. The run is seeded and takes
half a minute on one core.

    python examples/train_activity.py --output build/             # uses an installed aeon, or:
    pip download --no-deps aeon && python examples/train_activity.py --data aeon-*.whl --output build/

It writes `activity.pt` (state dict), `activity.onnx`, `activity.grurt` and `recordings.npz`.
"""

import argparse
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from grurt.converters import convert

FOLDER = "aeon/datasets/data/BasicMotions"
CLASSES = ("Standing", "Running", "Walking", "Badminton")
N_STEPS, N_CHANNELS, HIDDEN_SIZE = 100, 6, 32


class ActivityNet(nn.Module):
    """Raw samples ``(batch, n_steps, 6)`` in, probabilities of the activities ``(batch, n_steps, 4)`` out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(N_CHANNELS)
        self.gru = nn.GRU(N_CHANNELS, HIDDEN_SIZE, batch_first=True)
        self.fc = nn.Linear(HIDDEN_SIZE, len(CLASSES))

    def scores(self, x: Tensor) -> Tensor:
        """Return the log of the probabilities, up to a constant: what the loss wants."""
        normalized = self.norm(x.transpose(1, 2)).transpose(1, 2)
        hidden, _ = self.gru(normalized)
        return self.fc(hidden)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.scores(x), dim=-1)


def read_recordings(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return samples ``(40, 100, 6)`` and labels ``(40,)`` from a wheel of aeon, or a folder with the .ts files."""
    name = f"BasicMotions_{split}.ts"
    if data.suffix == ".whl":
        with zipfile.ZipFile(data) as wheel:
            text = wheel.read(f"{FOLDER}/{name}").decode()
    else:
        text = (data / name).read_text()
    _, _, body = text.partition("@data\n")
    samples, labels = [], []
    for line in body.split():
        *channels, label = line.split(":")
        samples.append(np.array([channel.split(",") for channel in channels], np.float32).T)
        labels.append(CLASSES.index(label))
    return np.array(samples), np.array(labels)


def find_data() -> Path:
    """Return the folder of the recordings in an installed aeon, without importing it."""
    spec = importlib.util.find_spec("aeon")
    if spec is None or spec.origin is None:
        raise SystemExit("aeon is not installed: give --data a wheel of it (pip download --no-deps aeon)")
    return Path(spec.origin).parent.parent / FOLDER


def train(samples: Tensor, labels: Tensor, *, epochs: int, seed: int = 0) -> ActivityNet:
    """Train with the loss of every step but the first second, so that the answer so far is meaningful."""
    torch.manual_seed(seed)
    net = ActivityNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs)
    for _ in range(epochs):
        start = int(torch.randint(0, 20, ()))  # a stream may begin anywhere in a movement
        gain = 1 + 0.1 * torch.randn(len(samples), 1, N_CHANNELS)
        scores = net.scores(gain * samples[:, start:])[:, 10:]
        wanted = labels[:, None].expand(scores.shape[:2])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), wanted.flatten(), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return net.eval()


def export(net: ActivityNet, folder: Path) -> None:
    """Write the state dict and the ONNX file: either is what `grurt convert` takes."""
    torch.save(net.state_dict(), folder / "activity.pt")
    sample = torch.zeros(2, N_STEPS, N_CHANNELS)
    torch.onnx.export(
        net,
        (sample,),
        folder / "activity.onnx",
        input_names=["samples"],
        output_names=["probabilities"],
        dynamic_shapes={"x": {0: "batch"}},
        external_data=False,
        verbose=False,
    )
    proto = onnx.load(folder / "activity.onnx")
    for described in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        described.ClearField("metadata_props")  # holds file names of the machine that trained the network
    onnx.save(proto, folder / "activity.onnx")


def main() -> None:
    """Train, report, export, convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="a wheel of aeon, or the folder of BasicMotions_TRAIN.ts and _TEST.ts"
    )
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=300, help="(default: %(default)s)")
    options = parser.parse_args()
    data = options.data or find_data()
    options.output.mkdir(parents=True, exist_ok=True)

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the sums of a parallel matmul depend on the number of threads
    samples, labels = read_recordings(data, "TRAIN")
    net = train(torch.from_numpy(samples), torch.from_numpy(labels), epochs=options.epochs)

    samples, labels = read_recordings(data, "TEST")
    with torch.no_grad():
        answers = net(torch.from_numpy(samples)).argmax(dim=-1).numpy()
    for second in (1, 2, 3, 5, 10):
        accuracy = (answers[:, 10 * second - 1] == labels).mean()
        print(f"test accuracy after {second:2} s: {accuracy:.1%}")

    export(net, options.output)
    np.savez_compressed(
        options.output / "recordings.npz",
        samples=samples,
        labels=labels.astype(np.int64),
        classes=np.array(CLASSES),
        sample_rate=np.float64(10),
    )
    model = convert(options.output / "activity.onnx")
    model.save(options.output / "activity.grurt")
    print(f"wrote {model!r} to {options.output / 'activity.grurt'}")


if __name__ == "__main__":
    main()
