"""Read digits row by row: PyTorch, GRU(8, 40, two layers) from zeros, Linear on hidden[-1].

The images have 8 by 8 pixels; their rows are timesteps. A stream says after every row what the digit is so far. The
data (1,797 digits of the UCI repository, CC BY 4.0) are carried by the package scikit-learn; training takes some
seconds.

    pip install torch && pip install --no-deps scikit-learn
    python examples/networks/digits.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, carried, export, largest_difference, main, streamed, use_torch

import grurt
from grurt.converters import convert

TESTED = 450


def images() -> tuple[Array, Array]:
    """Return pixels, float32 ``(1797, 8, 8)`` in [0, 1], and digits ``(1797,)``, in an order that is shuffled once."""
    table = np.loadtxt(carried("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    table = np.random.default_rng(1).permutation(table)
    return (table[:, :-1] / 16).astype(np.float32).reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def train(torch: Any, xs: Array, labels: Array) -> Any:
    """Return the trained network."""

    class GRUNet(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(8, 40, 2, batch_first=True)
            self.fc = torch.nn.Linear(40, 10)

        def forward(self, x: Any) -> Any:
            h0 = torch.zeros(2, x.size(0), 40)
            _, hidden = self.gru(x, h0)
            return self.fc(hidden[-1])

    net, epochs = GRUNet(), 40
    inputs, wanted = torch.from_numpy(xs), torch.from_numpy(labels)
    n_batches = -(-len(xs) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * n_batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(xs)).chunk(n_batches):
            loss = torch.nn.functional.cross_entropy(net(inputs[rows]), wanted[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    torch = use_torch()
    xs, labels = images()
    begun = time.process_time()
    net = train(torch, xs[TESTED:], labels[TESTED:])
    seconds = time.process_time() - begun
    xs, labels = xs[:TESTED], labels[:TESTED]
    export(
        net, (torch.zeros(1, 8, 8),), folder / "digits.onnx", {"x": {0: "batch", 1: "rows"}, "y": {0: "batch"}}, ["y"]
    )
    model = convert(folder / "digits.onnx")
    with torch.inference_mode():
        expected = net(torch.from_numpy(xs)).numpy()
    np.savez_compressed(folder / "digits.npz", images=xs[:40], labels=labels[:40], expected=expected[:40])

    def score(model: grurt.Model) -> str:
        return f"{(model.run(xs).argmax(axis=1) == labels).mean():.1%} of {TESTED} digits"

    one = torch.from_numpy(xs[:1])

    def theirs() -> None:
        with torch.inference_mode():
            net(one)

    shown = Trained("digits", "PyTorch", seconds, model, "digits.onnx").show(
        score=score,
        difference=largest_difference(model.run(xs), expected),
        ours=lambda: model.run(xs[0]),
        theirs=theirs,
        what="a digit",
        xs=xs[0],
    )
    so_far = np.array([streamed(model, rows) for rows in xs]).argmax(axis=2)
    right = (so_far == labels[:, np.newaxis]).mean(axis=0)
    shown.say("right after each row: " + ", ".join(f"{share:.0%}" for share in right))
    shown.curves = {"right": right.tolist()}
    return shown


if __name__ == "__main__":
    main(__doc__, show)
