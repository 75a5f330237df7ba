"""Label the bases of DNA in both directions: PyTorch, Embedding(4, 8), bidirectional GRU(8, 32), Linear, sigmoid.

A base is labelled 1 if it lies between a promoter (TATA) and the next terminator (GCGC) at most 24 bases on, these
included. So the base in the middle depends on both sides, and no stream can answer it: the model runs whole sequences,
of any lengths in a batch. The sequences are generated; training takes seconds. What is converted is a checkpoint,
with a description of its layers.

    pip install torch
    python examples/networks/dna.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, largest_difference, main, use_torch

import grurt
from grurt.converters import convert

BASES = grurt.Vocabulary(tokens=tuple("ACGT"), split="characters")
PROMOTER, TERMINATOR, FARTHEST = "TATA", "GCGC", 24


def sequence(rng: np.random.Generator, n_bases: int) -> Array:
    """Return bases, into which promoters and terminators were put at random."""
    tokens = rng.integers(0, 4, n_bases)
    for motif in (PROMOTER, TERMINATOR):
        for start in rng.integers(0, n_bases - len(motif), max(1, n_bases // 20)):
            tokens[start : start + len(motif)] = BASES.encode(motif)
    return tokens


def labels(tokens: Array) -> Array:
    """Return the label of each base."""
    text, found = BASES.decode(tokens.tolist()), np.zeros(len(tokens), np.float32)
    start = text.find(PROMOTER)
    while start >= 0:
        end = text.find(TERMINATOR, start, start + FARTHEST)
        if end >= 0:
            found[start : end + len(TERMINATOR)] = 1
        start = text.find(PROMOTER, start + 1)
    return found


def batch(count: int, seed: int) -> tuple[Array, Array, Array]:
    """Return tokens and labels ``(count, longest)``, zeros behind the ends, and lengths of 40 to 80 ``(count,)``."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(40, 81, count)
    tokens, wanted = np.zeros((count, lengths.max()), np.int64), np.zeros((count, lengths.max()), np.float32)
    for row, label, n_bases in zip(tokens, wanted, lengths, strict=True):
        row[:n_bases] = sequence(rng, n_bases)
        label[:n_bases] = labels(row[:n_bases])
    return tokens, wanted, lengths


def train(torch: Any) -> Any:
    """Return the trained network, which packs its sequences: a direction begins where a sequence ends."""
    nn = torch.nn

    class Labeller(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(4, 8)
            self.gru = nn.GRU(8, 32, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(64, 1)

        def forward(self, tokens: Any, lengths: Any) -> Any:
            x = self.embedding(tokens)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True)
            return torch.sigmoid(self.fc(y))[..., 0]

    net, steps = Labeller(), 600
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-2, total_steps=steps)
    tokens, wanted, lengths = map(torch.from_numpy, batch(4000, seed=1))
    for _ in range(steps):
        rows = torch.randint(0, len(tokens), (32,))
        answers = net(tokens[rows], lengths[rows])
        inside = torch.arange(answers.shape[1]) < lengths[rows, None]
        expected = wanted[rows, : answers.shape[1]]
        loss = nn.functional.binary_cross_entropy(answers[inside], expected[inside])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def show(folder: Path) -> Shown:
    """Train, convert, compare, quantize, time."""
    torch = use_torch()
    begun = time.process_time()
    net = train(torch)
    seconds = time.process_time() - begun
    torch.save(net.state_dict(), folder / "dna.pt")
    model = convert(folder / "dna.pt", layers="embedding(embedding), gru, fc:sigmoid")
    tokens, wanted, lengths = batch(200, seed=2)
    with torch.inference_mode():
        expected = net(torch.from_numpy(tokens), torch.from_numpy(lengths)).numpy()
    inside = np.arange(tokens.shape[1]) < lengths[:, np.newaxis]
    expected[~inside] = 0  # there PyTorch labels the padding
    np.savez_compressed(
        folder / "dna.npz", tokens=tokens[:20], wanted=wanted[:20], lengths=lengths[:20], expected=expected[:20]
    )

    def score(model: grurt.Model) -> str:
        found = model.run(tokens, lengths=lengths)[..., 0]
        right = (found > 0.5) == (wanted > 0.5)
        return f"{right[inside].mean():.2%} of the bases"

    one = torch.from_numpy(tokens[:1, : lengths[0]]), torch.from_numpy(lengths[:1])

    def theirs() -> None:
        with torch.inference_mode():
            net(*one)

    shown = Trained("dna", "PyTorch", seconds, model, "dna.pt").show(
        score=score,
        difference=largest_difference(model.run(tokens, lengths=lengths)[..., 0], expected),
        ours=lambda: model.run(tokens[0, : lengths[0]]),
        theirs=theirs,
        what=f"{lengths[0]} bases",
    )
    shown.say(f"were all labelled 0, {1 - wanted[inside].mean():.2%} would be right")
    shown.say(f"streams: no, {model.unstreamable_reason}")
    return shown


if __name__ == "__main__":
    main(__doc__, show)
