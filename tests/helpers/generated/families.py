"""Families of random PyTorch networks, with fixed weights: how often each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable

from generated import recurrent, traps  # noqa: F401  (they register parts)
from generated.parts import apply, linear
from generated.recurrent import gru, of_last_states
from generated.writer import Program, Steps, Writer, written
from grurt.errors import DesignReason

FAMILIES: dict[str, tuple[Callable[[Writer], None], int]] = {}


def family(name: str, weight: int) -> Callable[[Callable[[Writer], None]], Callable[[Writer], None]]:
    def register(function: Callable[[Writer], None]) -> Callable[[Writer], None]:
        FAMILIES[name] = function, weight
        return function

    return register


def program(name: str, seed: str) -> Program:
    """Return a random network of a family: the same for the same seed, wherever it is written."""
    rng = random.Random(f"{name} {seed}")
    w = Writer(rng, rng.choice((1, 2, 2, 3)), rng.choice((1, 2, 4, 5, 7)), batch_first=rng.random() < 0.75)
    FAMILIES[name][0](w)
    return written(w, name, seed)


def between(w: Writer, x: Steps, most: int = 2) -> Steps:
    """Add layers that stand before, between or behind GRUs."""
    for _ in range(w.rng.randrange(most + 1)):
        x = apply(w, x, "layers")
    return x


def head(w: Writer, x: Steps) -> None:
    """Add what makes the outputs of the last sequence of features."""
    size = w.size()
    form = w.rng.choice(("each", "each", "each", "last", "last kept", "plain", "two", "flat", "squeezed", "parts"))
    if form == "last":
        last = w.vector(w.at(x.name, "-1"), x.size)
        w.gives(w.activated(linear(w, last.name, x.size, size)), None)
    elif form == "last kept":
        w.gives(linear(w, w.at(x.name, "-1:"), x.size, size), None)
    elif form == "two":
        w.gives(linear(w, x.name, x.size, size), w.time_axis)
        w.gives(w.activated(linear(w, x.name, x.size, w.size())), w.time_axis)
    elif form == "flat" and w.batch_first:
        w.gives(f"{linear(w, x.name, x.size, size)}.reshape(-1, {size})", 0)
    elif form == "squeezed":
        w.gives(f"{linear(w, x.name, x.size, 1)}.squeeze(-1)", w.time_axis)
    elif form == "parts":
        y = linear(w, x.name, x.size, 2 * size)
        w.gives(f"{y}.reshape({x.name}.shape[0], {x.name}.shape[1], 2, {size})", w.time_axis)
    elif form == "plain":
        w.gives_value(x)
    else:
        w.gives(w.activated(linear(w, x.name, x.size, size)), w.time_axis)


@family("stacks", 8)
def stacks(w: Writer) -> None:
    x = w.takes_steps()
    for _ in range(w.rng.choice((1, 1, 2))):
        x = apply(w, between(w, x, 1), "recurrent", "both ways")
    head(w, x)


@family("last states", 5)
def last_states(w: Writer) -> None:
    x = between(w, w.takes_steps())
    found = gru(w, x, layers=w.rng.choice((1, 2)), both_ways=w.maybe(0.3))
    state = of_last_states(w, found)
    w.gives(w.activated(linear(w, state.name, state.size, w.size())), None)


@family("layers", 8)
def layers(w: Writer) -> None:
    x = between(w, w.takes_steps(), 3)
    x = between(w, apply(w, x, "recurrent"), 3)
    head(w, x)


@family("cells", 6)
def cells(w: Writer) -> None:
    head(w, between(w, apply(w, between(w, w.takes_steps(), 1), "loops"), 1))


@family("cells by hand", 6)
def cells_by_hand(w: Writer) -> None:
    head(w, between(w, apply(w, between(w, w.takes_steps(), 1), "hand"), 1))


@family("memory", 7)
def memory(w: Writer) -> None:
    x = w.takes_steps()
    for _ in range(w.rng.choice((1, 2))):
        x = apply(w, between(w, x, 1), "memory")
    head(w, apply(w, x, "recurrent"))


@family("looking ahead", 4)
def looking_ahead(w: Writer) -> None:
    x = apply(w, w.takes_steps(), "whole")
    w.time += 4
    head(w, apply(w, between(w, x, 1), "recurrent", "both ways"))


@family("mathematics", 7)
def mathematics(w: Writer) -> None:
    x = w.takes_steps()
    for _ in range(w.rng.choice((0, 1, 2))):
        x = apply(w, x, "mathematics")
    x = gru(w, x).steps
    for _ in range(w.rng.choice((1, 2))):
        x = apply(w, x, "mathematics")
    if w.maybe(0.15):
        w.gives(f"{x.name}.argmax(-1)", w.time_axis)
    head(w, x)


@family("shapes", 8)
def shapes(w: Writer) -> None:
    x = w.takes_steps()
    for _ in range(w.rng.choice((0, 1, 2))):
        x = apply(w, x, "shapes")
    x = gru(w, x).steps
    for _ in range(w.rng.choice((1, 2))):
        x = apply(w, x, "shapes")
    head(w, x)


@family("tokens", 5)
def tokens(w: Writer) -> None:
    count, size = w.rng.choice((5, 11)), w.size()
    shape = "batch, time" if w.batch_first else "time, batch"
    name = w.takes("tokens", f"torch.randint(0, {count}, ({shape},))", w.batch_axis, w.time_axis)
    padding = ", padding_idx=0" * w.maybe(0.3)
    table = w.module(f"nn.Embedding({count}, {size}{padding})", "emb")
    x = w.steps(w.activated(f"{table}({name})"), size)
    if w.maybe(0.3):
        x = Steps(w.let("y", f"torch.cat([{x.name}, {w.takes_steps('z', 2).name}], -1)"), size + 2)
    x = gru(w, x, layers=w.rng.choice((1, 2)), hidden=size if padding else 0).steps
    if x.size == size and w.maybe():
        w.gives(f"F.linear({x.name}, {table}.weight)", w.time_axis)  # tied weights
    elif w.maybe(0.3):
        w.gives(f"{linear(w, x.name, x.size, count)}.reshape(-1, {count})", 0) if w.batch_first else head(w, x)
    else:
        head(w, between(w, x, 1))


@family("ports", 5)
def ports(w: Writer) -> None:
    """Several inputs and outputs, and what nobody reads."""
    x = w.takes_steps()
    form = w.rng.choice(("joined", "added", "vector", "vector as state", "number", "unread"))
    if form == "joined":
        z = w.takes_steps("z")
        x = w.steps(f"torch.cat([{x.name}, {z.name}], -1)", x.size + z.size)
    elif form == "added":
        z = w.takes_steps("z")
        x = w.steps(f"{x.name} + {linear(w, z.name, z.size, x.size)}", x.size)
    elif form == "vector":
        v = w.takes_vector("v")
        mapped = f"{linear(w, v.name, v.size, x.size)}.unsqueeze({w.time_axis})"
        x = w.steps(f"{x.name} {w.rng.choice('+*')} {mapped}", x.size)
    elif form == "vector as state":
        v, hidden = w.takes_vector("v"), w.size()
        h0 = w.let("h0", f"{w.activated(linear(w, v.name, v.size, hidden))}.unsqueeze(0)")
        x = gru(w, x, h0, hidden=hidden).steps
    elif form == "number":
        shape = "batch, time, 1" if w.batch_first else "time, batch, 1"
        mask = w.takes("mask", f"(torch.rand({shape}) > 0.3).float()", w.batch_axis, w.time_axis)
        x = w.steps(f"{x.name} * {mask}", x.size)
    else:
        w.module(f"nn.Linear({x.size}, 3)", "unread")
        w.let("unread", f"torch.tanh({x.name}) * 2")
    found = gru(w, between(w, x, 1), layers=w.rng.choice((1, 2)))
    y = found.steps
    w.gives_value(y)
    if w.maybe():
        w.gives(w.activated(linear(w, y.name, y.size, w.size())), w.time_axis)
    if w.maybe(0.3):
        w.gives(found.states, None)
    if w.maybe(0.2):
        w.gives(w.at(y.name, "-1"), None)


# States that go in and come out.


STATE_SHAPES = ("layers", "batch first", "flat", "apart", "squeezed")


def states_in(w: Writer, layers: int, hidden: int, form: str) -> tuple[list[str], list[str]]:
    """Take states in a shape; return the inputs' names, and an expression ``(1, batch, hidden)`` for each layer."""
    if form == "layers":
        h = w.takes("h", f"torch.randn({layers}, batch, {hidden})", 1, None, is_state=True)
        return [h], [f"{h}[{i}:{i + 1}]" for i in range(layers)]
    if form == "batch first":
        h = w.takes("h", f"torch.randn(batch, {layers}, {hidden})", 0, None, is_state=True)
        t = w.let("t", f"{h}.transpose(0, 1).contiguous()")
        return [h], [f"{t}[{i}].unsqueeze(0)" for i in range(layers)]
    if form == "flat":
        h = w.takes("h", f"torch.randn(batch, {layers * hidden})", 0, None, is_state=True)
        parts = w.let("p", f"{h}.split({hidden}, dim=1)")
        return [h], [f"{parts}[{i}].unsqueeze(0)" for i in range(layers)]
    shape = "batch, {0}" if form == "squeezed" else "1, batch, {0}"
    names = [
        w.takes(f"h{i}", f"torch.randn({shape.format(hidden)})", 0 if form == "squeezed" else 1, None, is_state=True)
        for i in range(layers)
    ]
    return names, [f"{name}.unsqueeze(0)" if form == "squeezed" else name for name in names]


def states_out(w: Writer, names: list[str], states: list[str], form: str, changed: Callable[[str], str]) -> None:
    """Give out states, each ``(1, batch, hidden)``, in the shape that they came in."""
    states = [changed(state) for state in states]
    if form == "layers":
        w.gives(f"torch.cat([{', '.join(states)}], 0)", None, names[0])
    elif form == "batch first":
        w.gives(f"torch.cat([{', '.join(states)}], 0).transpose(0, 1)", None, names[0])
    elif form == "flat":
        w.gives(f"torch.cat([{', '.join(f'{state}[0]' for state in states)}], dim=1)", None, names[0])
    else:
        for name, state in zip(names, states, strict=True):
            w.gives(f"{state}.squeeze(0)" if form == "squeezed" else state, None, name)


def with_states(w: Writer, x: Steps, changed: Callable[[str], str], *, crossed: bool = False) -> Steps:
    """Add GRUs whose states go in and come out; return the last one's outputs."""
    layers, hidden = 2 if crossed else w.rng.choice((1, 1, 2, 3)), w.size()
    form = w.rng.choice(STATE_SHAPES)
    w.parts.append(f"states {form}")
    if form == "layers" and not crossed and w.maybe(0.6):
        h = w.takes("h", f"torch.randn({layers}, batch, {hidden})", 1, None, is_state=True)
        found = gru(w, x, h, layers=layers, hidden=hidden)
        w.gives(changed(found.states), None, h)
        return found.steps
    names, states = states_in(w, layers, hidden, form)
    after: list[str] = []
    for state in states:
        found = gru(w, between(w, x, 1), state, hidden=hidden)
        x = found.steps
        after.append(found.states)
    states_out(w, names, after[::-1] if crossed else after, form, changed)
    return x


def unchanged(state: str) -> str:
    return state


@family("states", 9)
def states(w: Writer) -> None:
    y = with_states(w, between(w, w.takes_steps()), unchanged)
    head(w, between(w, y, 1))
    _states_last(w)


@family("single steps", 8)
def single_steps(w: Writer) -> None:
    """One timestep: ``(batch, features)``, or ``(features,)``, or a frozen ``(1, 1, features)``."""
    size = w.size()
    form = w.rng.choice(("batch", "frozen", "vector", "cells", "token"))
    w.time = 1
    w.parts.append(f"step {form}")
    if form == "cells":
        _step_of_cells(w)
        return
    if form == "batch":
        x = w.steps(f"{w.takes('x', f'torch.randn(batch, {size})', 0, None)}.unsqueeze({w.time_axis})", size)
        y = with_states(w, x, unchanged)
        y = between(w, y, 1)
        w.gives(linear(w, w.at(y.name, w.rng.choice(("0", "-1"))), y.size, w.size()), None)
        return
    w.batch = 1
    if form == "token":
        table = w.module(f"nn.Embedding(9, {size})", "emb")
        shape = w.rng.choice(("1,", "1, 1"))
        x = w.steps(f"{table}({w.takes('token', f'torch.randint(0, 9, ({shape}))', None, None)}).view(1, 1, -1)", size)
    else:
        shape = f"1, {size}" if form == "frozen" else size
        x = w.steps(f"{w.takes('x', f'torch.randn({shape})', None, None)}.view(1, 1, -1)", size)
    y = between(w, with_states(w, x, unchanged), 1)
    w.gives(w.rng.choice((linear(w, f"{y.name}.view(1, -1)", y.size, 3), linear(w, f"{y.name}[0]", y.size, 3))), None)
    _states_last(w)


def _step_of_cells(w: Writer) -> None:
    from generated.recurrent import hand_cell

    size, hidden = w.size(), w.size()
    s = w.takes("x", f"torch.randn(batch, {size})", 0, None)
    h = w.takes("h", f"torch.randn(batch, {hidden})", 0, None, is_state=True)
    if w.maybe():
        w.say(f"g = {w.module(f'nn.GRUCell({size}, {hidden})', 'cell')}({s}, {h})")
    else:
        w.say(f"s, g = {s}, {h}", *hand_cell(w, size, hidden, "g"))
    w.gives(w.activated(linear(w, "g", hidden, w.size())), None)
    w.gives("g", None, h)
    _states_last(w)


def _states_last(w: Writer) -> None:
    """Give the states out behind the answers, as most do."""
    if w.maybe(0.7):
        w.outputs.sort(key=lambda output: bool(output.feeds))


CHANGED = (
    "torch.tanh({0})",
    "({0} * 0.5)",
    "{0}.clamp(-0.3, 0.3)",
    "({0} + 0.1)",
    "{0}.flip(-1)",
    "F.relu({0})",
    "F.layer_norm({0}, {0}.shape[-1:])",
    "{0}.roll(1, -1)",
)


@family("states changed", 4)
def states_changed(w: Writer) -> None:
    """What the source feeds back is not what a stream keeps."""
    w.refuses(DesignReason.FED_BACK_STATE)
    x = between(w, w.takes_steps(), 1)
    if w.maybe(0.25):
        y = with_states(w, x, unchanged, crossed=True)
    else:
        form = w.rng.choice(CHANGED)

        y = with_states(w, x, form.format)
    head(w, y)


@family("unbatched", 3)
def unbatched(w: Writer) -> None:
    size = w.size()
    w.batch, w.batch_first = 1, False
    x = w.takes("x", f"torch.randn(time, {size})", None, 0)
    if w.maybe():
        hidden, layers = w.size(), w.rng.choice((1, 2))
        module = w.module(f"nn.GRU({size}, {hidden}, {layers})")
        h = w.takes("h", f"torch.randn({layers}, {hidden})", None, None, is_state=True)
        w.say(f"y, hn = {module}({x}, {h})")
        w.gives(linear(w, "y", hidden, w.size()), 0)
        w.gives("hn", None, h)
        return
    axis = w.rng.choice((0, 1))
    w.batch_first = axis == 0
    y = gru(w, w.steps(f"{x}.unsqueeze({axis})", size)).steps
    w.gives(f"{w.activated(linear(w, y.name, y.size, w.size()))}.squeeze({axis})", 0)


@family("univariate", 3)
def univariate(w: Writer) -> None:
    """Sequences of numbers: ``(batch, time)``."""
    w.batch_first = True
    x = w.takes("x", "torch.randn(batch, time)", 0, 1)
    y = gru(w, w.steps(f"{x}.unsqueeze({w.rng.choice((-1, 2))})", 1)).steps
    y = between(w, y, 1)
    if w.maybe():
        w.gives(f"{linear(w, y.name, y.size, 1)}.squeeze(-1)", 1)
    else:
        w.gives(f"{linear(w, w.at(y.name, '-1'), y.size, 1)}[:, 0]", None)


@family("channels first", 3)
def channels_first(w: Writer) -> None:
    size = w.size()
    w.batch_first = True
    x = w.takes("x", f"torch.randn(batch, {size}, time)", 0, 2)
    if w.maybe():
        conv = w.module(f"nn.Conv1d({size}, 4, 1)", "conv")
        y = w.steps(f"F.relu({conv}({x})).{w.rng.choice(('transpose(1, 2)', 'permute(0, 2, 1)'))}", 4)
    else:
        y = w.steps(f"{x}.transpose(1, 2)", size)
    y = between(w, gru(w, y).steps, 1)
    w.gives(f"{linear(w, y.name, y.size, w.size())}.transpose(1, 2)", 2)


@family("grids", 5)
def grids(w: Writer) -> None:
    """Dual paths: a GRU over the positions of a timestep, and one over time at each position."""
    w.batch_first = True
    width, channels, hidden = w.rng.choice((2, 3, 5)), w.rng.choice((2, 4)), w.rng.choice((3, 4))
    x = w.takes("x", f"torch.randn(batch, {channels}, time, {width})", 0, 2)
    y = w.let("k", f"{x}.permute(0, 2, 3, 1)")  # (batch, time, width, channels)
    shape = f"{y}.shape[0], {y}.shape[1], {width}"
    if w.maybe(0.3):
        conv = w.module(f"nn.Conv2d({channels}, {channels}, 1)", "conv")
        y = w.let("k", f"F.relu({conv}({x})).permute(0, 2, 3, 1)")
    if w.maybe(0.7):
        both = w.maybe()
        scan = w.module(f"nn.GRU({channels}, {hidden}, batch_first=True{', bidirectional=True' * both})", "intra")
        rows = w.let("rows", f"{scan}({y}.reshape(-1, {width}, {channels}))[0]")
        mapped = f"{linear(w, rows, hidden * (1 + both), channels)}.view({shape}, {channels})"
        y = w.let("k", f"{y} + {mapped}")
    else:
        w.batch = max(w.batch, 2)  # of a single sequence, the positions would be as good a batch
    if w.maybe(0.3):
        y = w.let("k", f"{w.module(f'nn.LayerNorm([{width}, {channels}])', 'norm')}({y})")
    columns = w.let("columns", f"{y}.permute(0, 2, 1, 3).reshape(-1, {y}.shape[1], {channels})")
    inter = w.module(f"nn.GRU({channels}, {hidden}, batch_first=True)", "inter")
    scanned = f"{inter}({columns})[0]"
    if w.maybe(0.4):
        h = w.takes("h", f"torch.randn(1, batch * {width}, {hidden})", 1, None, is_state=True)
        w.say(f"scanned, hn = {inter}({columns}, {h})")
        w.gives("hn", None, h)
        scanned = "scanned"
    mapped = linear(w, scanned, hidden, channels)
    y = w.let("k", f"{y} + {mapped}.reshape({y}.shape[0], {width}, -1, {channels}).permute(0, 2, 1, 3)")
    if w.maybe():
        w.gives(f"{y}.permute(0, 3, 1, 2)", 2)
    else:
        size = w.size()
        w.gives(linear(w, f"{y}.flatten(2)", width * channels, size), 1)


@family("lengths", 5)
def lengths(w: Writer) -> None:
    """Padded sequences: by their lengths, or by a mask."""
    x = w.takes_steps()
    w.time, w.batch = max(w.time, 3), max(w.batch, 2)
    lens = w.takes("lengths", "torch.randint(1, time + 1, (batch,)).sort(descending=True)[0]", 0, None)
    form = w.rng.choice(("packed", "packed unsorted", "last valid", "gathered", "masked"))
    w.parts.append(form)
    hidden = w.size()
    options = f"{x.size}, {hidden}{', batch_first=True' * w.batch_first}"
    module = w.module(f"nn.GRU({options})")
    bf = f", batch_first={w.batch_first}"
    if form.startswith("packed"):
        w.say(
            f"packed = nn.utils.rnn.pack_padded_sequence({x.name}, {lens}{bf}"
            f"{', enforce_sorted=False' * (form != 'packed')})",
            f"y, hn = {module}(packed)",
            f"y, _ = nn.utils.rnn.pad_packed_sequence(y{bf}, total_length={x.name}.shape[{w.time_axis}])",
        )
        w.gives(*(("hn", None) if w.maybe(0.3) else ("y", w.time_axis)))
        return
    w.say(f"y, _ = {module}({x.name})")
    rows = f"torch.arange({x.name}.shape[{w.batch_axis}])"
    if form == "last valid":
        last = w.let("last", f"y[{rows}, {lens} - 1]" if w.batch_first else f"y[{lens} - 1, {rows}]")
    elif form == "gathered":
        index = f"({lens} - 1).view(-1, 1, 1).expand(-1, 1, {hidden})"
        y = "y" if w.batch_first else "y.transpose(0, 1)"
        last = w.let("last", f"{y}.gather(1, {index}).squeeze(1)")
    else:
        steps = f"torch.arange({x.name}.shape[{w.time_axis}])"
        mask = f"({steps}[None, :] < {lens}[:, None])" if w.batch_first else f"({steps}[:, None] < {lens}[None, :])"
        w.gives(f"y * {mask}.unsqueeze(-1)", w.time_axis)
        return
    w.gives(w.activated(linear(w, last, hidden, w.size())), None)


@family("encoder and decoder", 3)
def encoder_and_decoder(w: Writer) -> None:
    w.batch_first = True
    source, target, hidden, layers = w.takes_steps("source"), w.takes_steps("target"), w.size(), w.rng.choice((1, 2))
    encoded = gru(w, between(w, source, 1), layers=layers, hidden=hidden)
    if w.maybe(0.3):
        context = w.let("context", f"{encoded.states}[-1].unsqueeze(1).expand(-1, {target.name}.shape[1], -1)")
        target = w.steps(f"torch.cat([{target.name}, {context}], -1)", target.size + hidden)
    head(w, gru(w, target, encoded.states, layers=layers, hidden=hidden).steps)


@family("by design", 8)
def by_design(w: Writer) -> None:
    x = w.takes_steps()
    w.time = max(w.time, 3)
    if w.maybe(0.3):
        x = apply(w, apply(w, x, "traps in front"), "recurrent")
    else:
        x = apply(w, apply(w, between(w, x, 1), "recurrent"), "traps", "traps in front")
    head(w, x)


@family("composed", 8)
def composed(w: Writer) -> None:
    """A little of everything that streams."""
    x = w.takes_steps()
    for _ in range(w.rng.choice((1, 2, 3))):
        x = apply(w, x, "layers", "memory", "shapes", "mathematics")
    x = apply(w, x, "recurrent", "loops", "hand")
    for _ in range(w.rng.choice((0, 1, 2))):
        x = apply(w, x, "layers", "memory", "shapes", "mathematics")
    if w.maybe(0.3):
        x = apply(w, x, "recurrent")
    head(w, x)
