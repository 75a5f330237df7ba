"""The networks that recipes are tried on."""

import importlib.util
from pathlib import Path

import numpy as np

from benchmarks.network import random_network
from benchmarks.quantization.simulation import Case, Doubles, Gru
from grurt.demo import load_model, load_recordings

WORDS = Path(__file__).parents[2] / "examples" / "g2p" / "words.txt"

LETTERS = 12
"""Timesteps of a word: letters, and then the mark of its end."""

UNITS_MEAN = np.array([1013.0, 15.0, 60.0, 4.0, 0.0, 0.0, 0.0, 0.0])
UNITS_DEVIATION = np.array([8.0, 7.0, 20.0, 3.0, 9.8, 0.5, 0.1, 0.01])
"""A weather station on the move: hPa, degrees, percent, m/s, m/s2, rad/s, g, V."""


def cases() -> list[Case]:
    """Return all networks whose data are there; g2p's are in its package."""
    found = [_random(16, 64), _random(64, 128), _demo(), *_trained()]
    spec = importlib.util.find_spec("g2p_en")
    if spec is not None and spec.origin is not None:
        found.append(_encoder(Path(spec.origin).with_name("checkpoint20.npz")))
    return found


def _random(input_size: int, hidden_size: int) -> Case:
    network = random_network(input_size, hidden_size)
    xs = np.random.default_rng(1).standard_normal((2, 8, 100, input_size))
    gru = Gru(*(array.astype(np.float64) for array in (network.w, network.r, network.b, network.c)))
    return Case(f"random {input_size},{hidden_size}", gru, *xs)


def _demo() -> Case:
    weights = {name: array.astype(np.float64) for name, array in load_model().weights.items()}
    samples = load_recordings().samples.astype(np.float64)
    xs = (samples - weights["norm.mean"]) / np.sqrt(weights["norm.variance"] + 1e-5)
    xs = xs * weights["norm.weight"] + weights["norm.bias"]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return Case("demo 6,32", Gru(*(weights[f"gru.{name}"] for name in names)), xs[::2], xs[1::2])


def _trained() -> list[Case]:
    """Return a network that was trained for a minute, and the same one with the normalization of its inputs inside."""
    gru = _train()
    rng = np.random.default_rng(1)
    calibration, _ = _weather(rng, 16, 100)
    test, _ = _weather(rng, 16, 200)
    raw_w = gru.w / UNITS_DEVIATION
    raw = Gru(raw_w, gru.r, gru.b - raw_w @ UNITS_MEAN, gru.c)
    unnormalized = [xs * UNITS_DEVIATION + UNITS_MEAN for xs in (calibration, test)]
    return [Case("trained 8,64", gru, calibration, test), Case("the same, raw units", raw, *unnormalized)]


def _weather(rng: np.random.Generator, batch: int, n_steps: int) -> tuple[Doubles, Doubles]:
    """Return normalized features ``(batch, n_steps, 8)`` that wander, and what to predict, ``(batch, n_steps, 4)``."""
    xs, ys = np.zeros((batch, n_steps, 8)), np.zeros((batch, n_steps, 4))
    x, y = np.zeros((batch, 8)), np.zeros((batch, 4))
    for t in range(n_steps):
        xs[:, t] = x = 0.9 * x + 0.435 * rng.standard_normal((batch, 8))
        ys[:, t] = y = 0.8 * y + 0.2 * np.tanh(x[:, :4] * x[:, 4:] + x[:, :4])
    return xs, ys


def _train(batches: int = 250) -> Gru:
    """Train a GRU of 64 units to predict it, with PyTorch on one thread."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    gru, head = torch.nn.GRU(8, 64, batch_first=True), torch.nn.Linear(64, 4)
    optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], 3e-3)
    rng = np.random.default_rng(0)
    for _ in range(batches):
        xs, ys = (torch.from_numpy(array.astype(np.float32)) for array in _weather(rng, 16, 60))
        loss = torch.nn.functional.mse_loss(head(gru(xs)[0]), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return Gru(*(_from_torch(gru.state_dict()[name].numpy()) for name in names))


def _encoder(path: Path) -> Case:
    """Return the encoder of g2p-en, on the embedded letters of words."""
    with np.load(path) as arrays:
        gru = Gru(*(_from_torch(arrays[f"enc_{name}"]) for name in ("w_ih", "w_hh", "b_ih", "b_hh")))
        embedding = arrays["enc_emb"].astype(np.float64)
    words = [word.lower() for word in WORDS.read_text(encoding="utf-8").split()]
    tokens = np.array([([ord(c) - ord("a") + 3 for c in word] + [2] * LETTERS)[:LETTERS] for word in words])
    return Case("g2p-en 256,256", gru, embedding[tokens[::2]], embedding[tokens[1::2]])


def _from_torch(rows: np.ndarray) -> Doubles:
    """Bring the blocks of gates from PyTorch's order r, z, n into z, r, n."""
    r, z, n = np.split(rows.astype(np.float64), 3)
    return np.concatenate([z, r, n])
