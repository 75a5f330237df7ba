"""Families of random Keras networks, with fixed weights: as `families` has them of PyTorch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from generated.writer import Input, Output, Program, Steps, Vector
from grurt.errors import DesignReason

FUNCTIONS = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "softplus", "leaky_relu", "softsign", "mish", "selu")
GRU_OPTIONS = (
    ("", 6),
    (", reset_after=False", 2),
    (", use_bias=False", 1),
    (", activation='relu'", 1),
    (", recurrent_activation='hard_sigmoid'", 1),
    (", dropout=0.2, recurrent_dropout=0.1", 1),
)


@dataclass
class Writer:
    """A function ``build(keras, layers, ops)`` in the making."""

    rng: random.Random
    batch: int
    time: int
    statements: list[str] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    reasons: set[DesignReason] = field(default_factory=set)
    _names: Counter[str] = field(default_factory=Counter)

    def fresh(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def let(self, text: str, name: str = "y") -> str:
        name = self.fresh(name)
        self.statements.append(f"{name} = {text}")
        return name

    def steps(self, text: str, size: int) -> Steps:
        return Steps(self.let(text), size)

    def takes(self, name: str, shape: str, text: str, time_axis: int | None, *, is_state: bool = False) -> str:
        name = self.fresh(name)
        dtype = ", dtype='int32'" if "randint" in text else ""
        self.statements.append(f"{name} = keras.Input(({shape}), name={name!r}{dtype})")
        self.inputs.append(Input(name, text, 0, time_axis, is_state))
        return name

    def takes_steps(self, name: str = "x", *, fixed: bool = False) -> Steps:
        size = self.size()
        shape = f"{self.time if fixed else None}, {size}"
        return Steps(self.takes(name, shape, f"torch.randn(batch, time, {size})", 1), size)

    def gives(self, text: str, time_axis: int | None, feeds: str = "") -> None:
        self.outputs.append(Output(text, time_axis, feeds))

    def size(self) -> int:
        return self.rng.choice((1, 2, 3, 4, 6))

    def function(self) -> str:
        return self.rng.choice(FUNCTIONS)

    def maybe(self, probability: float = 0.5) -> bool:
        return self.rng.random() < probability

    def gru_options(self) -> str:
        return self.rng.choices([text for text, _ in GRU_OPTIONS], [weight for _, weight in GRU_OPTIONS])[0]

    def source(self) -> str:
        lines = ["def build(keras, layers, ops):", *(f"    {line}" for line in self.statements)]
        inputs, outputs = (
            ", ".join(texts) for texts in ((i.name for i in self.inputs), (o.text for o in self.outputs))
        )
        return "\n".join([*lines, f"    return keras.Model([{inputs}], [{outputs}])", ""])


FAMILIES: dict[str, tuple[Callable[[Writer], None], int]] = {}


def family(name: str, weight: int) -> Callable[[Callable[[Writer], None]], Callable[[Writer], None]]:
    def register(function: Callable[[Writer], None]) -> Callable[[Writer], None]:
        FAMILIES[name] = function, weight
        return function

    return register


def program(name: str, seed: str) -> Program:
    """Return a random network of a family: the same for the same seed, wherever it is written."""
    rng = random.Random(f"{name} {seed}")
    w = Writer(rng, rng.choice((1, 2, 3)), rng.choice((1, 3, 5)))
    FAMILIES[name][0](w)
    return Program(name, seed, w.source(), w.inputs, w.outputs, w.batch, w.time, frozenset(w.reasons), ())


def gru(w: Writer, x: Steps) -> Steps:
    size = w.size()
    return w.steps(f"layers.GRU({size}, return_sequences=True{w.gru_options()})({x.name})", size)


def between(w: Writer, x: Steps, most: int = 2) -> Steps:
    """Add layers of single timesteps."""
    for _ in range(w.rng.randrange(most + 1)):
        size = w.size()
        forms: dict[str, int] = {
            f"layers.Dense({size}, activation={w.function()!r})({x.name})": size,
            f"layers.TimeDistributed(layers.Dense({size}))({x.name})": size,
            f"layers.BatchNormalization()({x.name})": x.size,
            f"layers.LayerNormalization()({x.name})": x.size,
            f"layers.Dropout(0.2)({x.name})": x.size,
            f"layers.Activation({w.function()!r})({x.name})": x.size,
            f"layers.Rescaling(0.5, offset=0.1)({x.name})": x.size,
            f"layers.Add()([{x.name}, layers.Dense({x.size})({x.name})])": x.size,
            f"layers.Concatenate()([{x.name}, layers.Dense({size})({x.name})])": x.size + size,
            f"layers.Multiply()([{x.name}, layers.Dense({x.size}, activation='sigmoid')({x.name})])": x.size,
            f"layers.PReLU(shared_axes=[1])({x.name})": x.size,
            f"ops.relu({x.name}) * 0.5": x.size,
            f"{x.name} + layers.Dense({x.size})({x.name})": x.size,
            f"layers.LeakyReLU(negative_slope=0.2)({x.name})": x.size,
            f"layers.ReLU(max_value=0.8)({x.name})": x.size,
            f"layers.RMSNormalization()({x.name})": x.size,
            f"layers.UnitNormalization()({x.name})": x.size,
            f"layers.Softmax()({x.name})": x.size,
            f"layers.Average()([{x.name}, layers.Dense({x.size})({x.name})])": x.size,
            f"layers.Subtract()([{x.name}, layers.Dense({x.size})({x.name})])": x.size,
            f"layers.SpatialDropout1D(0.1)(layers.GaussianNoise(0.1)({x.name}))": x.size,
            f"ops.concatenate([{x.name}, ops.tanh({x.name})], axis=-1)": 2 * x.size,
            f"ops.clip({x.name}, -0.5, 0.7)": x.size,
        }
        text = w.rng.choice(list(forms))
        x = w.steps(text, forms[text])
    return x


def head(w: Writer, x: Steps) -> None:
    size = w.size()
    form = w.rng.choice(("each", "each", "last", "indexed", "plain", "two"))
    if form == "last":
        w.gives(w.let(f"layers.Dense({size})(layers.GRU({w.size()}{w.gru_options()})({x.name}))"), None)
    elif form == "indexed":
        w.gives(w.let(f"layers.Dense({size}, activation={w.function()!r})({x.name}[:, -1])"), None)
    elif form == "plain":
        w.gives(x.name, 1)
    else:
        w.gives(w.let(f"layers.Dense({size}, activation={w.function()!r})({x.name})"), 1)
        if form == "two":
            w.gives(w.let(f"layers.Dense({w.size()})({x.name})"), 1)


@family("keras stacks", 8)
def stacks(w: Writer) -> None:
    x = w.takes_steps()
    for _ in range(w.rng.choice((1, 2, 3))):
        x = gru(w, between(w, x))
    head(w, between(w, x))


@family("keras unrolled", 2)
def unrolled(w: Writer) -> None:
    x, size = w.takes_steps(fixed=True), w.size()
    head(w, w.steps(f"layers.GRU({size}, return_sequences=True, unroll=True)({x.name})", size))


@family("keras both ways", 5)
def both_ways(w: Writer) -> None:
    x, size = between(w, w.takes_steps(), 1), w.size()
    merged = w.rng.choice(("concat", "sum", "ave", "mul"))
    width = 2 * size if merged == "concat" else size
    if w.maybe(0.3):
        v = Vector(w.let(f"layers.Bidirectional(layers.GRU({size}), merge_mode={merged!r})({x.name})"), width)
        w.gives(w.let(f"layers.Dense(3)({v.name})"), None)
        return
    inner = f"layers.GRU({size}, return_sequences=True{w.gru_options()})"
    head(w, w.steps(f"layers.Bidirectional({inner}, merge_mode={merged!r})({x.name})", width))


@family("keras cells", 4)
def cells(w: Writer) -> None:
    x, size, other = between(w, w.takes_steps(), 1), w.size(), w.size()
    if w.maybe():
        x = w.steps(f"layers.RNN(layers.GRUCell({size}), return_sequences=True)({x.name})", size)
    else:
        stack = f"[layers.GRUCell({size}), layers.GRUCell({other}, reset_after=False)]"
        x = w.steps(f"layers.RNN({stack}, return_sequences=True)({x.name})", other)
    head(w, between(w, x, 1))


@family("keras tokens", 4)
def tokens(w: Writer) -> None:
    count, size = w.rng.choice((5, 9)), w.size()
    name = w.takes("tokens", "None,", f"torch.randint(0, {count}, (batch, time)).int()", 1)
    masked = w.maybe(0.4)
    x = w.steps(f"layers.Embedding({count}, {size}{', mask_zero=True' * masked})({name})", size)
    head(w, gru(w, gru(w, x)) if w.maybe() else gru(w, x))


@family("keras masks", 3)
def masks(w: Writer) -> None:
    size = w.size()
    made = f"torch.randn(batch, time, {size}) * (torch.rand(batch, time, 1) > 0.3)"
    x = w.takes("x", f"None, {size}", made, 1)
    y = w.steps(f"layers.Masking(mask_value=0.0)({x})", size)
    head(w, gru(w, y))


@family("keras convolutions", 5)
def convolutions(w: Writer) -> None:
    x, size, kernel = between(w, w.takes_steps(), 1), w.size(), w.rng.choice((1, 2, 3))
    dilation = w.rng.choice((1, 2))
    forms = {
        f"layers.Conv1D({size}, {kernel}, padding='causal', dilation_rate={dilation})({x.name})": size,
        f"layers.DepthwiseConv1D(3, activation='relu')(layers.ZeroPadding1D((2, 0))({x.name}))": x.size,
        f"layers.SeparableConv1D({size}, 2)(layers.ZeroPadding1D((1, 0))({x.name}))": size,
        f"layers.Conv1D({size}, 3)(layers.ZeroPadding1D((2, 0))({x.name}))": size,
        f"layers.AveragePooling1D(3, strides=1)(layers.ZeroPadding1D((2, 0))({x.name}))": x.size,
        f"layers.Conv1D({size}, 3, padding='same')({x.name})": size,
    }
    text = w.rng.choice(list(forms))
    head(w, gru(w, w.steps(text, forms[text])))


@family("keras states", 6)
def states(w: Writer) -> None:
    x, size = between(w, w.takes_steps(), 1), w.size()
    h = w.takes("h", f"{size},", f"torch.randn(batch, {size})", None, is_state=True)
    y, n = w.fresh("y"), w.fresh("n")
    options = w.gru_options()
    w.statements.append(
        f"{y}, {n} = layers.GRU({size}, return_sequences=True, return_state=True{options})({x.name}, initial_state={h})"
    )
    w.gives(w.let(f"layers.Dense({w.size()})({y})"), 1)
    w.gives(n, None, h)


@family("keras states changed", 2)
def states_changed(w: Writer) -> None:
    w.reasons.add(DesignReason.FED_BACK_STATE)
    x, size = w.takes_steps(), w.size()
    h = w.takes("h", f"{size},", f"torch.randn(batch, {size})", None, is_state=True)
    w.statements.append(
        f"y, n = layers.GRU({size}, return_sequences=True, return_state=True)({x.name}, initial_state={h})"
    )
    changed = w.rng.choice(("n * 0.5", "ops.tanh(n)", f"layers.Dense({size})(n)", "layers.LayerNormalization()(n)"))
    w.gives(w.let("layers.Dense(3)(y)", "out"), 1)
    w.gives(w.let(changed, "m"), None, h)


@family("keras inputs", 4)
def inputs(w: Writer) -> None:
    x, z = w.takes_steps(), w.takes_steps("z")
    x = w.steps(f"layers.Concatenate()([{x.name}, {z.name}])", x.size + z.size)
    if w.maybe(0.4):
        size, wide = w.size(), w.size()
        v = w.takes("v", f"{size},", f"torch.randn(batch, {size})", None)
        h0 = w.let(f"layers.Dense({wide}, activation='tanh')({v})", "h0")
        x = w.steps(f"layers.GRU({wide}, return_sequences=True)({x.name}, initial_state={h0})", wide)
    head(w, gru(w, x))


@family("keras nested", 3)
def nested(w: Writer) -> None:
    x, size = w.takes_steps(), w.size()
    inner = f"keras.Sequential([layers.Dense({size}), layers.GRU({size}, return_sequences=True), layers.Dense({size})])"
    y = w.steps(f"{inner}({x.name})", size)
    if w.maybe():
        shared = w.let(f"layers.GRU({size}, return_sequences=True)", "shared")
        y = w.steps(f"layers.Add()([{shared}({y.name}), {shared}(layers.Dense({size})({y.name}))])", size)
    head(w, y)


@family("keras by design", 4)
def by_design(w: Writer) -> None:
    x = gru(w, w.takes_steps(fixed=True))
    forms = {
        f"layers.LSTM(3, return_sequences=True)({x.name})": DesignReason.OTHER_RECURRENCE,
        f"layers.SimpleRNN(3, return_sequences=True)({x.name})": DesignReason.OTHER_RECURRENCE,
        f"layers.Bidirectional(layers.LSTM(3, return_sequences=True))({x.name})": DesignReason.OTHER_RECURRENCE,
        f"layers.Flatten()({x.name})": DesignReason.WHOLE_SEQUENCE,
        f"layers.Attention()([{x.name}, {x.name}], return_attention_scores=True)[1]": DesignReason.WHOLE_SEQUENCE,
        f"layers.GroupQueryAttention(4, 2, 1)({x.name}, {x.name})": DesignReason.WHOLE_SEQUENCE,
        f"layers.Permute((2, 1))({x.name})": DesignReason.WHOLE_SEQUENCE,
        f"ops.prod({x.name}, axis=1)": DesignReason.WHOLE_SEQUENCE,
        f"layers.UpSampling1D(2)({x.name})": DesignReason.SEQUENCE_LENGTH,
        f"layers.Conv1DTranspose(3, 2, strides=2)({x.name})": DesignReason.SEQUENCE_LENGTH,
        f"layers.Lambda(lambda t: t * 2)({x.name})": DesignReason.OWN_CODE,
        f"layers.Reshape((-1, {x.size}, 1))({x.name})": DesignReason.WHOLE_SEQUENCE,
    }
    text = w.rng.choice(list(forms))
    w.reasons.add(forms[text])
    w.gives(w.let(text), None)
