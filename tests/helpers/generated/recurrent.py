"""Recurrent parts of random networks: GRUs, loops over cells, cells written by hand, and their states."""

from __future__ import annotations

from dataclasses import dataclass

from generated.parts import even, part
from generated.writer import Steps, Vector, Writer


@dataclass(frozen=True)
class Result:
    """What a GRU gives: its outputs, its final states ``(layers * directions, batch, hidden)``, and their sizes."""

    steps: Steps
    states: str
    layers: int
    directions: int
    hidden: int


def gru(w: Writer, x: Steps, state: str = "", *, layers: int = 1, hidden: int = 0, both_ways: bool = False) -> Result:
    """Add an `nn.GRU`."""
    hidden = hidden or w.size()
    options = f", num_layers={layers}" * (layers > 1) + ", batch_first=True" * w.batch_first
    options += ", bidirectional=True" * both_ways + ", bias=False" * w.maybe(0.15)
    options += ", dropout=0.2" * (layers > 1 and w.maybe(0.3))
    module = w.module(f"nn.GRU({x.size}, {hidden}{options})")
    y, n = w.names("y", "hn")
    w.say(f"{y}, {n} = {module}({x.name}{', ' * bool(state)}{state})")
    return Result(Steps(y, hidden * (1 + both_ways)), n, layers, 1 + both_ways, hidden)


def sizes(w: Writer, x: str) -> str:
    """Return the expression for the batch's size."""
    return w.rng.choice((f"{x}.shape[{w.batch_axis}]", f"{x}.size({w.batch_axis})"))


@part("recurrent", 6)
def plain(w: Writer, x: Steps) -> Steps:
    return gru(w, x, layers=w.rng.choice((1, 1, 2, 3))).steps


@part("recurrent")
def from_zeros(w: Writer, x: Steps) -> Steps:
    layers, hidden = w.rng.choice((1, 2)), w.size()
    state = w.let("h0", f"torch.zeros({layers}, {sizes(w, x.name)}, {hidden})")
    return gru(w, x, state, layers=layers, hidden=hidden).steps


@part("recurrent")
def from_learned_state(w: Writer, x: Steps) -> Steps:
    layers, hidden = w.rng.choice((1, 2)), w.size()
    learned = w.module(f"nn.Parameter(torch.zeros({layers}, 1, {hidden}))", "h0")
    form = w.rng.choice(
        ("{0}.expand(-1, {1}, -1).contiguous()", "{0}.repeat(1, {1}, 1)", "torch.tanh({0}.repeat(1, {1}, 1))")
    )
    return gru(w, x, form.format(learned, sizes(w, x.name)), layers=layers, hidden=hidden).steps


@part("recurrent", 2)
def residual_gru(w: Writer, x: Steps) -> Steps:
    y = gru(w, x, hidden=x.size).steps
    return w.steps(f"{x.name} + {y.name}", x.size)


@part("recurrent")
def groups(w: Writer, x: Steps) -> Steps:
    x = even(w, x)
    a, b = w.names("a", "b")
    w.say(f"{a}, {b} = {x.name}.chunk(2, dim=-1)")
    first, second = gru(w, Steps(a, x.size // 2)).steps, gru(w, Steps(b, x.size // 2)).steps
    return w.steps(f"torch.cat([{first.name}, {second.name}], -1)", first.size + second.size)


@part("recurrent")
def shared_twice(w: Writer, x: Steps) -> Steps:
    """One module that is called twice."""
    module = w.module(f"nn.GRU({x.size}, {x.size}{', batch_first=True' * w.batch_first})")
    y = w.let("y", f"{module}({x.name})[0]")
    return w.steps(f"{module}({y})[0]", x.size)


@part("recurrent")
def two_branches(w: Writer, x: Steps) -> Steps:
    hidden = w.size()
    a, b = gru(w, x, hidden=hidden).steps, gru(w, x, hidden=hidden).steps
    return w.steps(f"{a.name} {w.rng.choice('+*-')} {b.name}", hidden)


@part("recurrent")
def state_handed_over(w: Writer, x: Steps) -> Steps:
    """A decoder that starts with what an encoder of another input ended with."""
    hidden = w.size()
    other = w.takes_steps("z")
    encoded = gru(w, other, hidden=hidden)
    return gru(w, x, encoded.states, hidden=hidden).steps


# Loops over cells, which exporters unroll.


def zero_state(w: Writer, x: Steps, hidden: int) -> str:
    return w.let("h", w.rng.choice(("torch.zeros({0}, {1})", "{2}.new_zeros({0}, {1})")).format(
        sizes(w, x.name), hidden, x.name
    ))  # fmt: skip


def loop(w: Writer, x: Steps, h: str, body: list[str], size: int, result: str = "") -> Steps:
    """Add a loop over the timesteps, ``s``, that collects a value in each.

    It takes two at least: from zero, exporters leave out the weights that a single one multiplies with the state.
    """
    w.time = max(w.time, 2)
    (outputs,) = w.names("outputs")
    forms = (
        (f"for t in range({x.name}.shape[{w.time_axis}]):", f"    s = {w.at(x.name, 't')}"),
        (f"for s in {x.name}.unbind({w.time_axis}):",),
    )
    w.say(f"{outputs} = []", *w.rng.choice(forms), *(f"    {line}" for line in body))
    w.say(f"    {outputs}.append({result or h})")
    return w.steps(f"torch.stack({outputs}, {w.time_axis})", size)


@part("loops", 2)
def cell_loop(w: Writer, x: Steps) -> Steps:
    hidden = w.size()
    cell = w.module(f"nn.GRUCell({x.size}, {hidden}{', bias=False' * w.maybe(0.2)})", "cell")
    h = zero_state(w, x, hidden)
    return loop(w, x, h, [f"{h} = {cell}(s, {h})"], hidden)


@part("loops")
def two_cells(w: Writer, x: Steps) -> Steps:
    first, second = w.size(), w.size()
    a, b = (w.module(f"nn.GRUCell({i}, {o})", "cell") for i, o in ((x.size, first), (first, second)))
    h, g = zero_state(w, x, first), zero_state(w, x, second)
    return loop(w, x, g, [f"{h} = {a}(s, {h})", f"{g} = {b}({h}, {g})"], second)


@part("loops")
def cell_with_head(w: Writer, x: Steps) -> Steps:
    hidden, size, inner = w.size(), w.size(), w.size()
    front, head = w.module(f"nn.Linear({x.size}, {inner})", "fc"), w.module(f"nn.Linear({hidden}, {size})", "fc")
    cell = w.module(f"nn.GRUCell({inner}, {hidden})", "cell")
    h = zero_state(w, x, hidden)
    body = [f"{h} = {cell}({w.activated(f'{front}(s)')}, {h})"]
    return loop(w, x, h, body, size, w.activated(f"{head}({h})"))


# Cells that are written by hand.

GATES = {
    "joined": (
        ("nn.Linear({i} + {h}, {h})", "nn.Linear({i} + {h}, {h})", "nn.Linear({i} + {h}, {h})"),
        ("r = torch.sigmoid({0}(torch.cat([s, {g}], -1)))", "z = torch.sigmoid({1}(torch.cat([s, {g}], -1)))"),
        "torch.tanh({2}(torch.cat([s, r * {g}], -1)))",
    ),
    "state first": (
        ("nn.Linear({h} + {i}, 2 * {h})", "nn.Linear({h} + {i}, {h})", ""),
        ("r, z = torch.sigmoid({0}(torch.cat((({g}), s), dim=1))).chunk(2, dim=-1)",),
        "torch.tanh({1}(torch.cat((r * {g}, s), dim=1)))",
    ),
    "separate": (
        ("nn.Linear({i}, 3 * {h})", "nn.Linear({h}, 3 * {h}, bias=False)", ""),
        (
            "a = {0}(s)",
            "b = {1}({g})",
            "r = torch.sigmoid(a[:, :{h}] + b[:, :{h}])",
            "z = torch.sigmoid(a[:, {h}:2 * {h}] + b[:, {h}:2 * {h}])",
        ),
        "torch.tanh(a[:, 2 * {h}:] + r * b[:, 2 * {h}:])",
    ),
    "chunks": (
        ("nn.Linear({i}, 3 * {h})", "nn.Linear({h}, 3 * {h})", ""),
        (
            "xr, xz, xn = {0}(s).chunk(3, -1)",
            "hr, hz, hn = {1}({g}).chunk(3, -1)",
            "r = torch.sigmoid(xr + hr)",
            "z = torch.sigmoid(hz + xz)",
        ),
        "torch.tanh(xn + r * hn)",
    ),
    "before": (
        ("nn.Linear({i}, 3 * {h})", "nn.Linear({h}, 2 * {h}, bias=False)", "nn.Linear({h}, {h}, bias=False)"),
        (
            "a = {0}(s)",
            "b = {1}({g})",
            "z = torch.sigmoid(a[:, :{h}] + b[:, :{h}])",
            "r = torch.sigmoid(a[:, {h}:2 * {h}] + b[:, {h}:])",
        ),
        "torch.tanh(a[:, 2 * {h}:] + {2}(r * {g}))",
    ),
}

BLENDS = (
    "(1 - z) * n + z * {g}",
    "z * n + (1 - z) * {g}",
    "n + z * ({g} - n)",
    "{g} + z * (n - {g})",
    "torch.lerp(n, {g}, z)",
)


def hand_cell(w: Writer, size: int, hidden: int, state: str) -> list[str]:
    """Return the statements of a cell that reads ``s``, and changes a state."""
    modules, gates, candidate = GATES[w.rng.choice(list(GATES))]
    named = {"i": size, "h": hidden, "g": state}
    made = [w.module(text.format(**named), "gate") for text in modules if text]
    blend = w.rng.choice(BLENDS)
    return [line.format(*made, **named) for line in (*gates, f"n = {candidate}", f"{{g}} = {blend}")]


@part("hand", 3)
def hand_loop(w: Writer, x: Steps) -> Steps:
    hidden = w.size()
    h = zero_state(w, x, hidden)
    return loop(w, x, h, hand_cell(w, x.size, hidden, h), hidden)


@part("hand")
def matrices_by_hand(w: Writer, x: Steps) -> Steps:
    """A cell of matrices without modules."""
    hidden = w.size()
    u, v = (w.module(f"nn.Parameter(torch.zeros({rows}, 3 * {hidden}))", "w") for rows in (x.size, hidden))
    b = w.module(f"nn.Parameter(torch.zeros(3 * {hidden}))", "b")
    h = zero_state(w, x, hidden)
    body = [
        f"a = s @ {u} + {b}",
        f"c = torch.matmul({h}, {v})",
        f"r, z = torch.sigmoid(a[..., :{2 * hidden}] + c[..., :{2 * hidden}]).split({hidden}, -1)",
        f"n = torch.tanh(a[..., {2 * hidden}:] + r * c[..., {2 * hidden}:])",
        f"{h} = z * {h} + (1 - z) * n",
    ]
    return loop(w, x, h, body, hidden)


# Both directions.


@part("both ways", 3)
def bidirectional(w: Writer, x: Steps) -> Steps:
    return gru(w, x, layers=w.rng.choice((1, 2)), both_ways=True).steps


@part("both ways")
def directions_summed(w: Writer, x: Steps) -> Steps:
    found = gru(w, x, both_ways=True)
    h, y = found.hidden, found.steps.name
    return w.steps(f"{y}[..., :{h}] + {y}[..., {h}:]", h)


@part("both ways")
def reversed_by_hand(w: Writer, x: Steps) -> Steps:
    hidden = w.size()
    backward = gru(w, w.steps(f"{x.name}.flip({w.time_axis})", x.size), hidden=hidden).steps
    y = w.let("b", f"torch.flip({backward.name}, dims=[{w.time_axis}])")
    if w.maybe():
        return Steps(y, hidden)
    forward = gru(w, x, hidden=hidden).steps
    return w.steps(f"torch.cat([{forward.name}, {y}], dim=2)", 2 * hidden)


def of_last_states(w: Writer, found: Result) -> Vector:
    """Return what people take of ``h_n``."""
    n, hidden, count = found.states, found.hidden, found.layers * found.directions
    forms = {f"{n}[-1]": hidden, f"{n}.transpose(0, 1).flatten(1)": count * hidden}
    if count > 1:
        forms |= {
            f"torch.cat([{n}[-2], {n}[-1]], dim=1)": 2 * hidden,
            f"{n}.mean(0)": hidden,
            f"{n}.sum(dim=0)": hidden,
        }
        forms |= {f"{n}.permute(1, 0, 2).reshape(-1, {count * hidden})": count * hidden}
    if count == 1:
        forms |= {f"{n}.squeeze(0)": hidden, f"{n}[0]": hidden}
    text = w.rng.choice(list(forms))
    return w.vector(text, forms[text])
