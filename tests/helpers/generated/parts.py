"""Parts of random networks that make one sequence of features from another, and how often people write them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from generated.writer import Steps, Writer

Part = Callable[[Writer, Steps], Steps]

POOLS: dict[str, dict[str, tuple[Part, int]]] = defaultdict(dict)
"""Parts by kind and name, with their weights."""


def part(pool: str, weight: int = 1) -> Callable[[Part], Part]:
    def register(function: Part) -> Part:
        POOLS[pool][function.__name__] = function, weight
        return function

    return register


def apply(w: Writer, x: Steps, *pools: str) -> Steps:
    """Add a part of one of some kinds."""
    choices = {name: entry for pool in pools for name, entry in POOLS[pool].items()}
    (name,) = w.rng.choices(list(choices), [weight for _, weight in choices.values()])
    w.parts.append(name)
    return choices[name][0](w, x)


def linear(w: Writer, x: str, size: int, target: int) -> str:
    """Return an application of a new Linear layer."""
    bias = "" if w.maybe(0.8) else ", bias=False"
    return f"{w.module(f'nn.Linear({size}, {target}{bias})', 'fc')}({x})"


def even(w: Writer, x: Steps) -> Steps:
    """Return a sequence of an even number of features."""
    return x if x.size % 2 == 0 else w.steps(linear(w, x.name, x.size, x.size + 1), x.size + 1)


# Layers and arithmetic of single timesteps.


@part("layers", 4)
def dense(w: Writer, x: Steps) -> Steps:
    size = w.size()
    return w.steps(w.activated(linear(w, x.name, x.size, size)), size)


@part("layers", 2)
def activation(w: Writer, x: Steps) -> Steps:
    return w.steps(f"F.{w.function()}({x.name})", x.size)


@part("layers", 2)
def layer_norm(w: Writer, x: Steps) -> Steps:
    if x.size == 1:
        return dense(w, x)  # a norm of one number is its bias
    affine = "" if w.maybe(0.8) else ", elementwise_affine=False"
    return w.steps(f"{w.module(f'nn.LayerNorm({x.size}{affine})', 'ln')}({x.name})", x.size)


@part("layers", 2)
def batch_norm(w: Writer, x: Steps) -> Steps:
    norm = w.module(f"nn.BatchNorm1d({x.size})", "bn")
    return w.steps(w.channels_last(f"{norm}({w.channels_first(x.name)})"), x.size)


@part("layers", 2)
def dropout(w: Writer, x: Steps) -> Steps:
    return w.steps(f"{w.module('nn.Dropout(0.3)')}({x.name})", x.size)


@part("layers", 2)
def residual(w: Writer, x: Steps) -> Steps:
    inner = dense(w, x)
    return w.steps(f"{x.name} + {linear(w, inner.name, inner.size, x.size)}", x.size)


@part("layers")
def gated(w: Writer, x: Steps) -> Steps:
    return w.steps(f"{x.name} * torch.sigmoid({linear(w, x.name, x.size, x.size)})", x.size)


@part("layers")
def scaled(w: Writer, x: Steps) -> Steps:
    return w.steps(f"({x.name} - {w.rng.uniform(-1, 1):.2f}) / {w.rng.uniform(1, 3):.2f}", x.size)


@part("layers")
def normalized_by_buffers(w: Writer, x: Steps) -> Steps:
    mean, deviation = (w.module(f"nn.Parameter(torch.rand({x.size}) + 0.5)", name) for name in ("mean", "std"))
    return w.steps(f"({x.name} - {mean}) / ({deviation} + 1.5)", x.size)


@part("layers")
def skip(w: Writer, x: Steps) -> Steps:
    inner = dense(w, x)
    return w.steps(f"torch.cat([{x.name}, {inner.name}], -1)", x.size + inner.size)


@part("layers")
def rms_norm(w: Writer, x: Steps) -> Steps:
    scale = w.module(f"nn.Parameter(torch.ones({x.size}))", "scale")
    mean = w.let("square", f"{x.name}.pow(2).mean(-1, keepdim=True)")
    return w.steps(f"{x.name} * torch.rsqrt({mean} + 1e-5) * {scale}", x.size)


@part("layers")
def layer_norm_by_hand(w: Writer, x: Steps) -> Steps:
    if x.size == 1:
        return dense(w, x)
    mean = w.let("mean", f"{x.name}.mean(-1, keepdim=True)")
    variance = w.let("variance", f"(({x.name} - {mean}) ** 2).mean(-1, keepdim=True)")
    return w.steps(f"({x.name} - {mean}) / torch.sqrt({variance} + 1e-3)", x.size)


@part("layers")
def unit_norm(w: Writer, x: Steps) -> Steps:
    wide = w.steps(linear(w, x.name, x.size, 6), 6)
    return w.steps(f"F.normalize({wide.name}, dim=-1)", 6)


@part("layers")
def softmax(w: Writer, x: Steps) -> Steps:
    return w.steps(f"torch.{w.rng.choice(('softmax', 'log_softmax'))}({x.name}, dim=-1)", x.size)


@part("layers")
def prelu(w: Writer, x: Steps) -> Steps:
    return w.steps(f"{w.module('nn.PReLU()')}({x.name})", x.size)


@part("layers")
def glu(w: Writer, x: Steps) -> Steps:
    x = even(w, x)
    return w.steps(f"F.glu({x.name}, dim=-1)", x.size // 2)


@part("layers")
def group_norm_of_steps(w: Writer, x: Steps) -> Steps:
    wide = w.steps(linear(w, x.name, x.size, 8), 8)
    norm = w.module("nn.GroupNorm(2, 8)", "gn")
    return w.steps(f"{norm}({wide.name}.reshape(-1, 8)).reshape({wide.name}.shape)", 8)


@part("layers")
def einsum(w: Writer, x: Steps) -> Steps:
    size = w.size()
    weight = w.module(f"nn.Parameter(torch.zeros({size}, {x.size}))", "weight")
    return w.steps(f"torch.einsum('abi,oi->abo', {x.name}, {weight})", size)


@part("layers")
def bias_and_matrix(w: Writer, x: Steps) -> Steps:
    size = w.size()
    weight, bias = (w.module(f"nn.Parameter(torch.zeros({shape}))", "p") for shape in (f"{x.size}, {size}", size))
    return w.steps(f"{x.name} @ {weight} + {bias}", size)


# Functions of numbers.


UNARY = (
    "torch.exp(-{x}.abs())",
    "torch.log({x}.abs() + 0.5)",
    "torch.log1p({x} ** 2)",
    "torch.sqrt({x} * {x} + 1)",
    "1 / (1 + {x}.abs())",
    "torch.reciprocal({x} ** 2 + 0.7)",
    "{x}.abs().pow(1.5)",
    "torch.sign({x})",
    "torch.round({x} * 3)",
    "torch.floor({x} * 2)",
    "torch.ceil({x})",
    "torch.sin({x})",
    "torch.cos({x} * 2)",
    "torch.erf({x})",
    "{x}.clamp(-0.5, 0.8)",
    "torch.clamp({x}, min=0.1)",
    "torch.where({x} > 0, {x}, {x} * 0.1)",
    "({x} > 0.2).to({x}.dtype)",
    "torch.atan({x})",
    "torch.expm1({x}.clamp(max=1.0))",
    "{x} % 1.0",
    "torch.trunc({x} * 2)",
    "torch.nan_to_num({x})",
    "-{x} ** 3",
    "F.hardswish({x})",
    "F.hardsigmoid({x})",
    "F.relu6({x} * 4)",
    "F.selu({x})",
    "F.celu({x}, alpha=0.7)",
    "F.softplus({x}, beta=2.0)",
    "F.logsigmoid({x})",
    "torch.log(torch.sigmoid({x}))",
    "F.threshold({x}, 0.1, -0.3)",
    "F.hardshrink({x})",
    "F.softshrink({x}, 0.3)",
    "F.tanhshrink({x})",
    "torch.rsqrt({x}.square() + 0.3)",
    "torch.maximum({x}, torch.zeros_like({x}))",
    "torch.logical_not({x} > 0).to({x}.dtype)",
    "2.0 ** {x}",
    "torch.masked_fill({x}, {x} < 0, 0.25)",
)

REDUCTIONS = (
    "{x}.amax(-1, keepdim=True)",
    "{x}.amin(-1, keepdim=True)",
    "torch.logsumexp({x}, -1, keepdim=True)",
    "{x}.norm(dim=-1, keepdim=True)",
    "{x}.abs().sum(-1, keepdim=True)",
    "{x}.mean(dim=2, keepdim=True)",
    "{x}.max(-1, keepdim=True)[0]",
    "{x}.sum(-1).unsqueeze(-1)",
    "torch.prod({x}, -1, keepdim=True)",
    "({x} > 0).to({x}.dtype).mean(-1, keepdim=True)",
)


@part("mathematics", 6)
def unary(w: Writer, x: Steps) -> Steps:
    return w.steps(w.rng.choice(UNARY).format(x=x.name), x.size)


@part("mathematics", 2)
def reduction(w: Writer, x: Steps) -> Steps:
    reduced = w.let("r", w.rng.choice(REDUCTIONS).format(x=x.name))
    if w.maybe():
        return w.steps(f"torch.cat([{x.name}, {reduced}], -1)", x.size + 1)
    return w.steps(f"{x.name} {w.rng.choice('+-*')} {reduced}", x.size)


@part("mathematics", 2)
def of_two(w: Writer, x: Steps) -> Steps:
    other = w.let("b", linear(w, x.name, x.size, x.size))
    forms = (
        "torch.maximum({x}, {y})",
        "torch.minimum({x}, {y})",
        "{x} / ({y}.abs() + 0.5)",
        "torch.where({x} > {y}, {x}, {y} * 2)",
        "({x} >= {y}).to({x}.dtype) * {x}",
        "torch.pow({x}.abs() + 0.5, {y}.clamp(-1, 1))",
        "torch.lerp({x}, {y}, 0.3)",
        "torch.addcmul({x}, {x}, {y}, value=0.5)",
        "{x} - {y} * {x}",
        "torch.logical_and({x} > 0, {y} > 0).to({x}.dtype)",
        "torch.stack([{x}, {y}]).sum(0)",
        "torch.stack([{x}, {y}], -1).mean(-1)",
        "F.cosine_similarity({x}, {y}, dim=-1).unsqueeze(-1) * {x}",
    )
    return w.steps(w.rng.choice(forms).format(x=x.name, y=other), x.size)


@part("mathematics")
def chosen(w: Writer, x: Steps) -> Steps:
    """One-hot of the largest feature."""
    if x.size == 1:
        return unary(w, x)
    return w.steps(f"F.one_hot({x.name}.argmax(-1), {x.size}).to({x.name}.dtype)", x.size)


@part("mathematics")
def cumulated_features(w: Writer, x: Steps) -> Steps:
    return w.steps(f"torch.cumsum({x.name}, -1)", x.size)


# Features and axes that are moved.


@part("shapes")
def halves_swapped(w: Writer, x: Steps) -> Steps:
    x = even(w, x)
    a, b = w.names("a", "b")
    split = w.rng.choice((f"{x.name}.chunk(2, -1)", f"torch.split({x.name}, {x.size // 2}, dim=2)"))
    w.say(f"{a}, {b} = {split}")
    return w.steps(f"torch.cat([{b}, {a}], -1)", x.size)


@part("shapes")
def halves_gated(w: Writer, x: Steps) -> Steps:
    x = even(w, x)
    half = x.size // 2
    return w.steps(f"torch.tanh({x.name}[..., :{half}]) * {x.name}[..., {half}:]", half)


@part("shapes")
def some_features(w: Writer, x: Steps) -> Steps:
    if x.size < 3:
        return dense(w, x)
    forms = {
        f"{x.name}[..., 1:]": x.size - 1,
        f"{x.name}[:, :, :-1]": x.size - 1,
        f"{x.name}.narrow(2, 0, 2)": 2,
        f"{x.name}[..., [2, 0, 1]]": 3,
        f"{x.name}[..., ::2]": (x.size + 1) // 2,
        f"{x.name}.select(-1, 1).unsqueeze(-1)": 1,
        f"{x.name}[..., -1:]": 1,
        f"torch.flip({x.name}, [-1])": x.size,
        f"{x.name}.roll(1, -1)": x.size,
        f"F.pad({x.name}, (1, 2))": x.size + 3,
        f"torch.index_select({x.name}, 2, torch.tensor([1, 2]))": 2,
        f"{x.name}.repeat(1, 1, 2)": 2 * x.size,
        f"torch.repeat_interleave({x.name}, 2, -1)": 2 * x.size,
    }
    text = w.rng.choice(list(forms))
    return w.steps(text, forms[text])


@part("shapes", 2)
def rows(w: Writer, x: Steps) -> Steps:
    """A layer on rows of all timesteps."""
    size = w.size()
    rows = w.rng.choice((f"{x.name}.reshape(-1, {x.size})", f"{x.name}.flatten(0, 1)"))
    flat = w.let("rows", w.activated(linear(w, rows, x.size, size)))
    shape = f"{x.name}.shape[0], {x.name}.shape[1]"
    return w.steps(w.rng.choice((f"{flat}.view({shape}, -1)", f"{flat}.reshape({shape}, {size})")), size)


@part("shapes")
def parts_of_features(w: Writer, x: Steps) -> Steps:
    x = even(w, x)
    shape = f"{x.name}.shape[0], {x.name}.shape[1], 2, {x.size // 2}"
    parts = w.let("p", w.rng.choice((f"{x.name}.view({shape})", f"{x.name}.unflatten(-1, (2, {x.size // 2}))")))
    forms = {
        f"{parts}.sum(2)": x.size // 2,
        f"{parts}.mean(-2)": x.size // 2,
        f"{parts}.transpose(2, 3).flatten(2)": x.size,
        f"{parts}[:, :, 0] * {parts}[:, :, 1]": x.size // 2,
        f"{parts}.softmax(-1).flatten(2)": x.size,
        f"{parts}.max(2).values": x.size // 2,
        f"torch.tanh({parts}).reshape({x.name}.shape)": x.size,
    }
    text = w.rng.choice(list(forms))
    return w.steps(text, forms[text])


@part("shapes")
def axes_exchanged_and_back(w: Writer, x: Steps) -> Steps:
    y = w.let("t", f"{x.name}.transpose(0, 1)")
    return w.steps(f"{w.activated(y)}.transpose(0, 1).contiguous()", x.size)


@part("shapes")
def stacked(w: Writer, x: Steps) -> Steps:
    other = w.let("b", w.activated(linear(w, x.name, x.size, x.size)))
    axis = w.rng.choice((0, 2, 3, -1))
    forms = (f"torch.stack([{x.name}, {other}], {axis}).sum({axis})", f"torch.stack([{x.name}, {other}], 2).flatten(2)")
    index = w.rng.randrange(2)
    return w.steps(forms[index], x.size * (index + 1))


@part("shapes")
def unsqueezed(w: Writer, x: Steps) -> Steps:
    y = w.let("u", f"{x.name}.unsqueeze({w.rng.choice((0, 1, 2))})")
    return w.steps(f"{w.activated(y)}.reshape({x.name}.shape)", x.size)


@part("shapes")
def step_by_step(w: Writer, x: Steps) -> Steps:
    """A list of timesteps, stacked again."""
    steps = w.let("steps", f"[{w.activated('s')} for s in {x.name}.unbind({w.time_axis})]")
    return w.steps(f"torch.stack({steps}, {w.time_axis})", x.size)


# What remembers timesteps, and looks back only.


@part("memory", 3)
def causal_convolution(w: Writer, x: Steps) -> Steps:
    kernel, dilation = w.rng.choice((1, 2, 3)), w.rng.choice((1, 1, 2))
    groups = w.rng.choice((1, 1, x.size))
    size = w.size() if groups == 1 else x.size * w.rng.choice((1, 2))
    options = f", dilation={dilation}" * (dilation > 1) + f", groups={groups}" * (groups > 1)
    history = (kernel - 1) * dilation
    x1 = w.channels_first(x.name)
    if w.maybe():
        conv = w.module(f"nn.Conv1d({x.size}, {size}, {kernel}{options})", "conv")
        y = w.let("c", f"{conv}(F.pad({x1}, ({history}, 0)))")
    else:
        conv = w.module(f"nn.Conv1d({x.size}, {size}, {kernel}{options}, padding={history})", "conv")
        y = w.let("c", f"{conv}({x1})")
        if history:
            y = w.let("c", f"{y}[:, :, :-{history}]" if w.maybe() else f"{y}[..., :{x.name}.shape[{w.time_axis}]]")
    return w.steps(w.channels_last(w.activated(y)), size)


@part("memory")
def pointwise_convolution(w: Writer, x: Steps) -> Steps:
    size = w.size()
    conv = w.module(f"nn.Conv1d({x.size}, {size}, 1)", "conv")
    return w.steps(w.channels_last(w.activated(f"{conv}({w.channels_first(x.name)})")), size)


@part("memory")
def delayed(w: Writer, x: Steps) -> Steps:
    w.time = max(w.time, 2)  # of one timestep, exporters leave out what it is before
    before = w.at(x.name, ":-1")
    zeros = f"torch.zeros_like({w.at(x.name, ':1')})"
    y = w.let("d", f"torch.cat([{zeros}, {before}], {w.time_axis})")
    forms = {f"{x.name} - {y}": x.size, f"torch.cat([{x.name}, {y}], -1)": 2 * x.size, y: x.size}
    text = w.rng.choice(list(forms))
    return w.steps(text, forms[text])


@part("memory")
def frames_stacked(w: Writer, x: Steps) -> Steps:
    count = w.rng.choice((2, 3))
    pad = "(0, 0, {0}, 0)" if w.batch_first else "(0, 0, 0, 0, {0}, 0)"
    padded = w.let("padded", f"F.pad({x.name}, {pad.format(count - 1)})")
    length = f"{x.name}.shape[{w.time_axis}]"
    shifted = ", ".join(w.at(padded, f"{i}:{i} + {length}") for i in range(count))
    return w.steps(f"torch.cat([{shifted}], -1)", count * x.size)


@part("memory")
def moving_average(w: Writer, x: Steps) -> Steps:
    y = f"F.avg_pool1d(F.pad({w.channels_first(x.name)}, (2, 0)), 3, stride=1)"
    return w.steps(w.channels_last(y), x.size)


# What looks ahead, or changes the number of timesteps: whole sequences only.


@part("whole", 2)
def same_convolution(w: Writer, x: Steps) -> Steps:
    size = w.size()
    padding = w.rng.choice(("padding='same'", "padding=1"))
    conv = w.module(f"nn.Conv1d({x.size}, {size}, 3, {padding})", "conv")
    return w.steps(w.channels_last(w.activated(f"{conv}({w.channels_first(x.name)})")), size)


@part("whole")
def valid_convolution(w: Writer, x: Steps) -> Steps:
    size, stride = w.size(), w.rng.choice((1, 1, 2))
    conv = w.module(f"nn.Conv1d({x.size}, {size}, 2, stride={stride})", "conv")
    return w.steps(w.channels_last(w.activated(f"{conv}({w.channels_first(x.name)})")), size)


@part("whole")
def pooled(w: Writer, x: Steps) -> Steps:
    kind = w.rng.choice(("max", "avg"))
    return w.steps(w.channels_last(f"F.{kind}_pool1d({w.channels_first(x.name)}, 2)"), x.size)


@part("whole")
def looked_ahead(w: Writer, x: Steps) -> Steps:
    after = w.at(x.name, "1:")
    zeros = f"torch.zeros_like({w.at(x.name, ':1')})"
    return w.steps(f"{x.name} + torch.cat([{after}, {zeros}], {w.time_axis})", x.size)


@part("whole")
def every_second(w: Writer, x: Steps) -> Steps:
    return w.steps(w.at(x.name, "::2"), x.size)
