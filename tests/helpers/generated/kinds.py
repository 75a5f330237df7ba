"""Kinds of networks that people have asked for, one small network each: what random ones may miss."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from paths import DATA

from generated.comparison import Outcome
from generated.recurrent import BLENDS
from generated.writer import Program, Writer, written
from grurt.errors import DesignReason

KINDS: dict[str, Callable[[Writer], None]] = {}

STORED = DATA / "generated" / "kinds.json"
"""What the page shows: written by ``tests/helpers/differential.py --store``."""


def kind(title: str) -> Callable[[Callable[[Writer], None]], Callable[[Writer], None]]:
    def register(function: Callable[[Writer], None]) -> Callable[[Writer], None]:
        KINDS[title] = function
        return function

    return register


def program(title: str) -> Program:
    w = Writer(random.Random(title), 2, 5)
    KINDS[title](w)
    return written(w, title, title)


def store(found: Mapping[str, Mapping[str, Outcome]]) -> None:
    """Keep what became of each kind, by route."""
    content = {
        title: {
            route: [outcome.kind, outcome.reason.name if outcome.reason else "", outcome.detail]
            for route, outcome in outcomes.items()
        }
        for title, outcomes in found.items()
    }
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def stored(path: Path = STORED) -> dict[str, dict[str, Outcome]]:
    """Return what became of each kind when it was stored."""
    return {
        title: {
            route: Outcome(kind, detail, DesignReason[reason] if reason else None)
            for route, (kind, reason, detail) in outcomes.items()
        }
        for title, outcomes in json.loads(path.read_text(encoding="utf-8")).items()
    }


def _state(w: Writer, shape: str = "1, batch, 6", batch_axis: int | None = 1) -> str:
    return w.takes("h", f"torch.randn({shape})", batch_axis, None, is_state=True)


@kind("a step of a policy, `x.view(1, 1, -1)` of `(1, 20)`")
def policy(w: Writer) -> None:
    w.batch = w.time = 1
    x, h = w.takes("x", "torch.randn(1, 20)", None, None), _state(w, "1, 1, 6", None)
    w.say(f"y, n = {w.module('nn.GRU(20, 6)')}({x}.view(1, 1, -1), {h})")
    w.gives(f"F.elu({w.module('nn.Linear(6, 4)', 'fc')}(y.view(1, -1)))", None)
    w.gives("n", None, h)


@kind("the same of a vector, `(20,)`")
def policy_of_vector(w: Writer) -> None:
    w.batch = w.time = 1
    x, h = w.takes("x", "torch.randn(20)", None, None), _state(w, "1, 1, 6", None)
    w.say(f"y, n = {w.module('nn.GRU(20, 6)')}({x}.view(1, 1, -1), {h})")
    w.gives(f"{w.module('nn.Linear(6, 4)', 'fc')}(y[0, 0])", None)
    w.gives("n", None, h)


@kind("a tutorial's decoder, tokens `(1, 1)`")
def decoder(w: Writer) -> None:
    w.batch = w.time = 1
    t, h = w.takes("token", "torch.randint(0, 9, (1, 1))", None, None), _state(w, "1, 1, 6", None)
    w.say(f"e = F.relu({w.module('nn.Embedding(9, 6)', 'emb')}({t}).view(1, 1, -1))")
    w.say(f"y, n = {w.module('nn.GRU(6, 6)')}(e, {h})")
    w.gives(f"F.log_softmax({w.module('nn.Linear(6, 9)', 'out')}(y[0]), dim=1)", None)
    w.gives("n", None, h)


@kind("a reset mask, `gru(x, h * mask)`")
def reset_mask(w: Writer) -> None:
    w.time = 1
    x, h = w.takes_steps(size=4), _state(w)
    mask = w.takes("mask", "(torch.rand(batch, 1) > 0.4).float()", 0, None)
    w.say(f"y, n = {w.module('nn.GRU(4, 6, batch_first=True)')}({x.name}, {h} * {mask}.unsqueeze(0))")
    w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}(y[:, -1])", None)
    w.gives("n", None, h)


def _changed(title: str, text: str, *modules: str) -> None:
    """Add a kind of network that hands something else back than its state."""

    def function(w: Writer) -> None:
        w.refuses(DesignReason.FED_BACK_STATE)
        x, h = w.takes_steps(size=4), _state(w)
        w.say(f"y, n = {w.module('nn.GRU(4, 6, batch_first=True)')}({x.name}, {h})")
        w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}(y)", 1)
        w.gives(text.format(*(w.module(module) for module in modules)), None, h)

    KINDS[title] = function


_changed("a state that a layer changes before it is handed back", "torch.tanh({0}(n))", "nn.Linear(6, 6)")
_changed("a normalized state handed back", "{0}(n)", "nn.LayerNorm(6)")
_changed("a scaled state handed back, `0.5 * n`", "n * 0.5")
_changed("a clamped state handed back", "n.clamp(-0.3, 0.3)")


@kind("two states handed back swapped")
def swapped(w: Writer) -> None:
    w.refuses(DesignReason.FED_BACK_STATE)
    x, h = w.takes("x", "torch.randn(batch, 4)", 0, None), _state(w, "2, batch, 6")
    w.say(
        f"n = {w.module('nn.GRUCell(4, 6)', 'a')}({x}, {h}[0])", f"m = {w.module('nn.GRUCell(6, 6)', 'b')}(n, {h}[1])"
    )
    w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}(m)", None)
    w.gives("torch.stack([m, n])", None, h)


@kind("the flat output `(batch * time, features)` of a character model")
def flat(w: Writer) -> None:
    t = w.takes("tokens", "torch.randint(0, 9, (batch, time))", 0, 1)
    emb, gru = w.module("nn.Embedding(9, 4)", "emb"), w.module("nn.GRU(4, 6, batch_first=True)")
    w.say(f"y, n = {gru}({emb}({t}))")
    w.gives(f"{w.module('nn.Linear(6, 9)', 'fc')}(y.reshape(-1, 6))", 0)


def _by_length(title: str, text: str, time_axis: int | None) -> None:
    """Add a kind of network that makes something of its outputs ``y``, by the lengths ``n`` of the sequences."""

    def function(w: Writer) -> None:
        x = w.takes_steps(size=4)
        w.takes("n", "torch.randint(1, time + 1, (batch,))", 0, None)
        w.say(f"y, _ = {w.module('nn.GRU(4, 6, batch_first=True)')}({x.name})")
        w.gives(text, time_axis)

    KINDS[title] = function


_by_length("the last output by length, `y[arange, n - 1]`", "y[torch.arange(y.shape[0]), n - 1]", None)
_by_length("the same by `gather`", "y.gather(1, (n - 1).view(-1, 1, 1).expand(-1, 1, 6)).squeeze(1)", None)
_by_length("a padding mask, `arange < n`", "y * (torch.arange(y.shape[1])[None] < n[:, None]).unsqueeze(-1)", 1)


@kind("packed sequences, unsorted, with an initial state")
def packed(w: Writer) -> None:
    x, n = w.takes_steps(size=4), w.takes("n", "torch.randint(1, time + 1, (batch,))", 0, None)
    h = _state(w)
    w.say(
        f"p = nn.utils.rnn.pack_padded_sequence({x.name}, {n}, batch_first=True, enforce_sorted=False)",
        f"y, m = {w.module('nn.GRU(4, 6, batch_first=True)')}(p, {h})",
        f"y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length={x.name}.shape[1])",
    )
    w.gives("y", 1)
    w.gives("m", None, h)


def _of_x(title: str, text: str, size: int, *modules: str) -> None:
    """Add a kind of network that makes something of a sequence of 4 features before its GRU."""

    def function(w: Writer) -> None:
        w.time = 8
        x = w.takes_steps(size=4)
        made = text.format(*(w.module(module, "m") for module in modules), x=x.name)
        w.say(f"y, n = {w.module(f'nn.GRU({size}, 6, batch_first=True)')}({made})")
        w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}(y)", 1)

    KINDS[title] = function


_of_x("differences to the timestep before", "{x} - torch.cat([torch.zeros_like({x}[:, :1]), {x}[:, :-1]], 1)", 4)
_of_x("stacks of the last frames", "torch.cat([F.pad({x}, (0, 0, 1, 0))[:, :-1], {x}], -1)", 8)
_of_x("a causal moving average", "F.avg_pool1d(F.pad({x}.transpose(1, 2), (2, 0)), 3, stride=1).transpose(1, 2)", 4)
_of_x(
    "a `same` convolution", "F.relu({0}({x}.transpose(1, 2)).transpose(1, 2))", 5, "nn.Conv1d(4, 5, 3, padding='same')"
)
_of_x(
    "a `valid` convolution with a stride", "{0}({x}.transpose(1, 2)).transpose(1, 2)", 5, "nn.Conv1d(4, 5, 3, stride=2)"
)
_of_x("max pooling over time", "F.max_pool1d({x}.transpose(1, 2), 2).transpose(1, 2)", 4)
_of_x("a normalizer, `(x - mean) / std`", "({x} - {0}) / ({1} + 1.5)", 4, *["nn.Parameter(torch.rand(4))"] * 2)
_of_x("an einsum with weights", "torch.einsum('bti,oi->bto', {x}, {0})", 5, "nn.Parameter(torch.rand(5, 4))")
_of_x("GLU, softplus with beta, and slices", "F.softplus(F.glu({x}, dim=-1), beta=2.0)", 2)
_of_x("features in another order, `x[..., [2, 0, 1]]`", "{x}[..., [2, 0, 1]]", 3)
_of_x("exponentials and logarithms", "torch.log1p(torch.exp({x} / 2)) - torch.sqrt({x} ** 2 + 1)", 4)
_of_x("comparisons and `where`", "torch.where({x} > 0.1, {x}, torch.sin({x})) * (({x} < 1).to({x}.dtype))", 4)
_of_x(
    "norms and maxima over features",
    "torch.cat([{x} / {x}.norm(dim=-1, keepdim=True), {x}.amax(-1, keepdim=True)], -1)",
    5,
)
_of_x("groups of features normalized", "{0}({x}.reshape(-1, 4)).reshape({x}.shape)", 4, "nn.GroupNorm(2, 4)")


def _cell(title: str, modules: tuple[str, ...], *lines: str) -> None:
    """Add a cell written by hand, of 4 features and a state of 6, in a loop."""

    def function(w: Writer) -> None:
        x = w.takes_steps(size=4)
        made = [w.module(module, "gate") for module in modules]
        w.say(f"h = torch.zeros({x.name}.shape[0], 6)", "outputs = []", f"for t in range({x.name}.shape[1]):")
        w.say(f"    s = {x.name}[:, t]", *(f"    {line.format(*made)}" for line in lines), "    outputs.append(h)")
        w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}(torch.stack(outputs, 1))", 1)

    KINDS[title] = function


_BLEND = f"h = {BLENDS[0].format(g='h')}"
_cell(
    "a cell of the papers, gates on `cat([x, h])`",
    ("nn.Linear(10, 6)",) * 3,
    "r, z = torch.sigmoid({0}(torch.cat([s, h], 1))), torch.sigmoid({1}(torch.cat([s, h], 1)))",
    "n = torch.tanh({2}(torch.cat([s, r * h], 1)))",
    _BLEND,
)
_cell(
    "a cell with z and r from one joined Linear",
    ("nn.Linear(10, 12)", "nn.Linear(10, 6)"),
    "z, r = torch.sigmoid({0}(torch.cat([s, h], -1))).chunk(2, -1)",
    "n = torch.tanh({1}(torch.cat([s, r * h], -1)))",
    _BLEND,
)
_cell(
    "a cell of slices, reset behind the matrix",
    ("nn.Linear(4, 18)", "nn.Linear(6, 18)"),
    "a, b = {0}(s), {1}(h)",
    "r, z = torch.sigmoid(a[:, :6] + b[:, :6]), torch.sigmoid(a[:, 6:12] + b[:, 6:12])",
    "n = torch.tanh(a[:, 12:] + r * b[:, 12:])",
    _BLEND,
)


@kind("a dual path over time and frequency")
def dual_path(w: Writer) -> None:
    x = w.takes("x", "torch.randn(batch, 4, time, 3)", 0, 2)
    w.say(
        f"k = {x}.permute(0, 2, 3, 1)",
        f"o = {w.module('nn.GRU(4, 3, batch_first=True, bidirectional=True)', 'intra')}(k.reshape(-1, 3, 4))[0]",
        f"k = k + {w.module('nn.Linear(6, 4)', 'fc')}(o).reshape(k.shape)",
        f"o = {w.module('nn.GRU(4, 4, batch_first=True)', 'inter')}(k.transpose(1, 2).reshape(-1, k.shape[1], 4))[0]",
        "k = k + o.reshape(k.shape[0], 3, -1, 4).transpose(1, 2)",
    )
    w.gives("k.permute(0, 3, 1, 2)", 2)


@kind("an LSTM before the GRU")
def lstm(w: Writer) -> None:
    w.refuses(DesignReason.OTHER_RECURRENCE)
    x = w.takes_steps(size=4)
    w.say(f"y = {w.module('nn.LSTM(4, 5, batch_first=True)', 'lstm')}({x.name})[0]")
    w.gives(f"{w.module('nn.GRU(5, 6, batch_first=True)')}(y)[0]", 1)


@kind("attention over the outputs")
def attention(w: Writer) -> None:
    x = w.takes_steps(size=4)
    w.say(f"y, n = {w.module('nn.GRU(4, 6, batch_first=True)')}({x.name})")
    w.say("a = torch.softmax(y @ n[-1].unsqueeze(-1), dim=1)")
    w.gives(f"{w.module('nn.Linear(6, 3)', 'fc')}((a * y).sum(1))", None)
