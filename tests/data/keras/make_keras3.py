"""Writes the files of Keras 3 in this folder, with random weights, inputs and the answers of Keras.

Run it with Keras 3.15 and a backend: ``KERAS_BACKEND=torch python tests/data/keras/make_keras3.py [folder]``. Every
``.keras`` file gets an ``.npz`` of its name with the inputs (``in_<name of the input>``) and outputs (``out_0``, ...).
Most archives are compressed afterwards, which Keras does not do, to keep this folder small.
"""

from __future__ import annotations

import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import Input, Model, Sequential, ops
from keras import layers as L  # noqa: N812

STEPS, FEATURES, BATCH = 6, 3, 2
DATA = np.random.default_rng(3).normal([2.0, -5.0, 0.3], [3.0, 0.5, 0.01], (40, FEATURES))
"""What layers are adapted to."""

ADAPTED = ("mean", "variance", "count")
"""The variables of ``Normalization``, from which it has made others already."""

NETWORKS: dict[str, Callable[[], Any]] = {}


def network(function: Callable[[], Any]) -> Callable[[], Any]:
    NETWORKS[f"k3_{function.__name__}"] = function
    return function


def sequence() -> Any:
    return Input((STEPS, FEATURES), name="x")


def tokens() -> Any:
    return Input((None,), dtype="int32", name="tokens")


@network
def two_layers() -> Any:
    return Sequential(
        [
            sequence(),
            L.Dense(8, activation="relu"),
            L.GRU(8, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
            L.Dropout(0.3),
            L.SpatialDropout1D(0.3),
            L.GaussianNoise(0.1),
            L.GRU(6, unroll=True),
            L.BatchNormalization(),
            L.Dense(3, activation="softmax"),
        ]
    )


@network
def residual() -> Any:
    x = sequence()
    d = L.Dense(4, name="d")(x)
    g1 = L.GRU(4, return_sequences=True, name="g1")(d)
    joined = L.Concatenate(name="joined")([L.Add(name="sum")([d, g1]), x])
    g2 = L.GRU(4, return_sequences=True, reset_after=False, name="g2")(joined)
    mean = L.Average()([g1, g2])
    gated = L.Multiply()([mean, L.Dense(1, activation="sigmoid")(x)])
    return Model(x, [L.Dense(2, name="o")(L.Subtract()([gated, d])), g2])


@network
def embedding_masked() -> Any:
    t = tokens()
    e = L.Embedding(7, 4, mask_zero=True)(t)
    g = L.GRU(5, return_sequences=True)(e)
    return Model(t, L.Dense(3, name="answer")(L.GRU(4, name="last")(g)))


@network
def embedding_masked_sequential() -> Any:
    return Sequential([tokens(), L.Embedding(7, 4, mask_zero=True), L.GRU(5, return_sequences=True), L.Dense(2)])


@network
def masking() -> Any:
    x = sequence()
    m = L.Masking(mask_value=0.5)(x)
    return Model(x, L.GRU(4, return_sequences=True)(L.Dense(4, activation="tanh")(m)))


@network
def masking_bidirectional() -> Any:
    x = sequence()
    b = L.Bidirectional(L.GRU(3, return_sequences=True))(L.Masking()(x))
    return Model(x, [b, L.Bidirectional(L.GRU(2), merge_mode="sum")(b)])


@network
def masked_merge() -> Any:
    x = sequence()
    m = L.Masking()(x)
    a = L.GRU(4, return_sequences=True)(m)
    b = L.GRU(4, return_sequences=True, zero_output_for_mask=True)(L.Masking(mask_value=0.5)(x))
    c = L.GRU(4, go_backwards=True)(m)
    return Model(x, [L.GRU(3, return_sequences=True)(L.Add()([a, b])), c])


@network
def masked_backwards() -> Any:
    x = sequence()
    b = L.GRU(4, return_sequences=True, go_backwards=True)(L.Masking()(x))
    return Model(x, L.GRU(4, return_sequences=True, go_backwards=True)(b))


@network
def masked_conv() -> Any:
    x = sequence()
    m = L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="elu")(L.Masking()(x))
    return Model(x, L.GRU(4, return_sequences=True)(m))


@network
def grouped_conv() -> Any:
    return Sequential(
        [
            Input((None, 4), name="x"),
            L.Conv1D(8, 2, padding="causal", groups=2, use_bias=False),
            L.LeakyReLU(negative_slope=0.1),
            L.Conv1D(4, 1, padding="valid"),
            L.GRU(4, return_sequences=True),
            L.PReLU(shared_axes=[1]),
            L.Dense(3),
            L.ReLU(max_value=6.0),
        ]
    )


@network
def backwards_twice() -> Any:
    x = sequence()
    g = L.GRU(4, go_backwards=True, return_sequences=True)(x)
    return Model(x, [L.GRU(3, go_backwards=True, return_sequences=True)(L.Dense(4)(g)), L.GRU(2)(g)])


@network
def backwards_last() -> Any:
    return Sequential([sequence(), L.GRU(4, go_backwards=True), L.Dense(2)])


def _merged(mode: str | None, *, sequences: bool) -> Callable[[], Any]:
    def build() -> Any:
        x = sequence()
        return Model(x, L.Bidirectional(L.GRU(3, return_sequences=sequences), merge_mode=mode)(x))

    return build


for mode in ("concat", "sum", "ave", "mul", None):
    NETWORKS[f"k3_bi_{mode}"] = _merged(mode, sequences=True)
    NETWORKS[f"k3_bi_{mode}_last"] = _merged(mode, sequences=False)


@network
def bi_explicit() -> Any:
    x = sequence()
    back = L.GRU(2, return_sequences=True, go_backwards=True, reset_after=False, activation="relu")
    return Model(x, L.Bidirectional(L.GRU(3, return_sequences=True), backward_layer=back)(x))


@network
def bi_states() -> Any:
    x = sequence()
    forward, backward = Input((3,), name="h_forward"), Input((3,), name="h_backward")
    layer = L.Bidirectional(L.GRU(3, return_sequences=True, return_state=True))
    return Model([x, forward, backward], layer(x, initial_state=[forward, backward]))


@network
def state_in_and_out() -> Any:
    x, h = sequence(), Input((4,), name="h")
    y, state = L.GRU(4, return_sequences=True, return_state=True, name="gru")(x, initial_state=h)
    return Model([x, h], [L.Dense(2, name="y")(y), state])


@network
def state_of_its_own() -> Any:
    x = sequence()
    y, state = L.GRU(4, return_state=True)(x)
    return Model(x, [L.Dense(2)(L.Concatenate()([y, state])), state])


@network
def only_state() -> Any:
    x = sequence()
    return Model(x, L.GRU(4, return_state=True)(x)[1])


@network
def cells() -> Any:
    x, h1, h2 = sequence(), Input((4,), name="h1"), Input((5,), name="h2")
    stack = L.RNN(
        [L.GRUCell(4, reset_after=False), L.GRUCell(5, use_bias=False, activation="softsign")],
        return_sequences=True,
        return_state=True,
    )
    return Model([x, h1, h2], stack(x, initial_state=[h1, h2]))


@network
def one_cell_masked() -> Any:
    return Sequential([sequence(), L.Masking(), L.RNN(L.GRUCell(4), return_sequences=True), L.Dense(2)])


@network
def time_distributed() -> Any:
    inner = Sequential([Input((4,)), L.Dense(5, activation="gelu"), L.LayerNormalization()], name="inner")
    return Sequential(
        [
            sequence(),
            L.TimeDistributed(L.Dense(4, activation="softplus")),
            L.GRU(4, return_sequences=True),
            L.TimeDistributed(inner),
            L.TimeDistributed(L.BatchNormalization(scale=False)),
            L.TimeDistributed(L.Activation("silu")),
        ]
    )


@network
def norms() -> Any:
    return Sequential(
        [
            sequence(),
            L.LayerNormalization(center=False, epsilon=1e-4),
            L.GRU(4, return_sequences=True),
            L.LayerNormalization(scale=False),
            L.BatchNormalization(center=False, epsilon=1e-2),
            L.GRU(4, use_bias=False),
            L.LayerNormalization(),
        ]
    )


@network
def nested() -> Any:
    a, b = Input((None, 4)), Input((None, 4))
    shared = L.Dense(4, activation="tanh", name="shared")
    inner = Model(
        [a, b], [shared(L.Add()([a, b])), L.GRU(3, name="gru", return_sequences=True)(shared(a))], name="inner"
    )
    x = sequence()
    d, g = L.Dense(4)(x), L.GRU(4, return_sequences=True, name="gru")(x)
    one, two = inner([d, g])
    head = Sequential([L.Dense(3), L.GRU(2)], name="head")
    return Model(x, [head(one), head(one), two])


@network
def functions() -> Any:
    x = sequence()
    g = L.GRU(6, return_sequences=True)(x)
    y = (2.0 * g[..., :4] + 1.0) / 3.0 - g[:, :, 2:]
    return Model(x, [y[:, -1], 1.0 - y[:, 0], y * g[..., 1:5]])


ACTIVATIONS = [
    "linear", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "sigmoid", "tanh", "hard_tanh",
    "hard_sigmoid", "softsign", "softplus", "softmax", "log_softmax", "log_sigmoid", "silu", "hard_silu", "mish",
]  # fmt: skip


@network
def activations() -> Any:
    x = sequence()
    g = L.GRU(4, return_sequences=True, activation="leaky_relu", recurrent_activation="hard_sigmoid")(x)
    parts = [L.Dense(2, activation=name)(g) for name in ACTIVATIONS]
    parts += [
        L.Activation(L.ReLU(negative_slope=0.3))(g),
        L.ReLU(threshold=0.2)(g),
        L.ELU(alpha=0.5)(g),
        L.Softmax()(g),
    ]
    return Model(x, L.Concatenate()(parts))


@network
def gate_layers() -> Any:
    gru = L.GRU(3, activation=L.ELU(alpha=0.7), recurrent_activation=L.ReLU(max_value=1.0), return_sequences=True)
    return Sequential([sequence(), gru, L.GRU(3, activation=None, recurrent_activation="softsign")])


@network
def encoder_decoder() -> Any:
    source, target = Input((None, 3), name="source"), Input((None, 2), name="target")
    _, state = L.GRU(4, return_state=True, name="encoder")(source)
    y = L.GRU(4, return_sequences=True, name="decoder")(target, initial_state=state)
    return Model([source, target], L.Dense(2, name="y")(y))


@network
def masked_states() -> Any:
    x, h = sequence(), Input((4,), name="h")
    m = L.Masking()(x)
    return Model([x, h], L.GRU(3)(L.GRU(4, return_sequences=True)(m, initial_state=h)))


@network
def scalars() -> Any:
    x = Input((STEPS,), name="x")
    return Model(x, L.GRU(4)(L.Reshape((STEPS, 1))(x)))


@network
def half() -> Any:
    return Sequential([sequence(), L.Dense(3, dtype="mixed_float16"), L.GRU(3, dtype="mixed_bfloat16")])


@network
def float64() -> Any:
    return Sequential(
        [Input((None, 3), dtype="float64", name="x"), L.GRU(3, dtype="float64"), L.Dense(2, dtype="float64")]
    )


@network
def bfloat16() -> Any:
    return Sequential([sequence(), L.GRU(3), L.Dense(3, dtype="bfloat16")])


@network
def backwards() -> Any:
    return Sequential([sequence(), L.GRU(4, go_backwards=True, return_sequences=True), L.Dense(2)])


@network
def masked_product() -> Any:
    x = sequence()
    a, b = L.Masking()(x), L.Masking(mask_value=0.5)(x)
    same = L.Multiply()([a, L.Dense(FEATURES)(a)])
    return Model(x, [same, L.GRU(4)(L.Multiply()([L.Dense(1)(a), b])), L.Multiply()([a, L.Dense(FEATURES)(x)])])


@network
def rms_norms() -> Any:
    return Sequential(
        [
            sequence(),
            L.RMSNormalization(epsilon=1e-3),
            L.GRU(4, return_sequences=True),
            L.RMSNormalization(),
            L.GRU(5),
            L.RMSNormalization(axis=1),
        ]
    )


@network
def adapted() -> Any:
    x = sequence()
    everything = L.Normalization(axis=None)
    features = L.Normalization()
    everything.adapt(DATA)
    features.adapt(DATA)
    back = L.Normalization(invert=True)
    back.adapt(DATA)
    g = L.GRU(4, return_sequences=True)(features(x))
    return Model(x, [g, back(L.Dense(FEATURES)(g)), everything(x), L.GRU(3)(L.Masking()(everything(x)))])


@network
def scaled() -> Any:
    x = sequence()
    given = L.Normalization(mean=[1.0, -2.0, 0.5], variance=[4.0, 0.25, 0.0])(x)
    one = L.Normalization(mean=3.0, variance=2.0, invert=True)(x)
    both = L.Rescaling(scale=[0.5, 2.0, -1.0], offset=[0.0, 1.0, 0.1])(L.Rescaling(1 / 127.5, offset=-1)(x))
    return Model(x, [L.GRU(3)(L.Rescaling(1e-7)(given)), one, both])


@network
def padded_conv() -> Any:
    x = sequence()
    c = L.Conv1D(4, 3, dilation_rate=2, activation="relu")(L.ZeroPadding1D((4, 0))(x))
    d = L.DepthwiseConv1D(2, depth_multiplier=2)(L.Dropout(0.2)(L.ZeroPadding1D((1, 0))(x)))
    s = L.SeparableConv1D(5, 3, depth_multiplier=2, activation="tanh")(
        L.ZeroPadding1D((1, 0))(L.ZeroPadding1D((1, 0))(x))
    )
    average = L.AveragePooling1D(4, strides=1)(L.ZeroPadding1D((3, 0))(x))
    joined = L.Concatenate()([c, d, s, average])
    return Model(x, [L.GRU(4, return_sequences=True)(joined), joined])


@network
def windows() -> Any:
    x = Input((9, FEATURES), name="x")
    same = [
        L.Conv1D(4, 3, padding="same", activation="relu"),
        L.Conv1D(6, 4, padding="same", groups=3, dilation_rate=2),
        L.DepthwiseConv1D(4, padding="same", depth_multiplier=2),
        L.SeparableConv1D(5, 3, padding="same"),
        L.MaxPooling1D(4, strides=1, padding="same"),
        L.AveragePooling1D(3, strides=1, padding="same"),
    ]
    front = [
        L.Conv1D(4, 3, strides=2, padding="causal"),
        L.Conv1D(4, 4, strides=2, padding="same"),
        L.MaxPooling1D(3, strides=2, padding="same"),
        L.AveragePooling1D(2, padding="same"),
        L.DepthwiseConv1D(3, strides=2, padding="same"),
        L.SeparableConv1D(4, 3, strides=2, padding="same"),
    ]
    shorter = [
        L.Conv1D(4, 3),
        L.MaxPooling1D(2),
        L.AveragePooling1D(3, strides=2),
        L.Conv1D(2, 3)(L.ZeroPadding1D((1, 3))(x)),
        L.MaxPooling1D(2, strides=2, padding="same")(L.ZeroPadding1D((2, 0))(x)),
        L.MaxPooling1D(3, strides=1)(L.ZeroPadding1D((2, 0))(L.Rescaling(1.0, -9.0)(x))),
        L.AveragePooling1D(3, strides=1, padding="same")(L.ZeroPadding1D((2, 0))(x)),
        L.Cropping1D((1, 2))(L.ZeroPadding1D((2, 0))(x)),
        L.GRU(3, return_sequences=True)(L.ZeroPadding1D((2, 0))(x)),
    ]
    shorter += [x[:, 1:-2], x[:, ::2], L.GRU(3, return_sequences=True)(x)[:, 3:], ops.tanh(x[:, 1:] - x[:, :-1])]
    first = L.GRU(4, return_sequences=True)(L.Concatenate()([x, *(layer(x) for layer in same)]))
    second = L.GRU(4)(L.BatchNormalization()(L.Concatenate()([layer(x) for layer in front])))
    return Model(x, [first, second, *(layer(x) if isinstance(layer, L.Layer) else layer for layer in shorter)])


@network
def backwards_windows() -> Any:
    x = sequence()
    g = L.GRU(4, return_sequences=True, go_backwards=True)(x)
    return Model(x, [L.ZeroPadding1D((2, 1))(g), L.Cropping1D((0, 1))(g), g[:, 2:-1]])


@network
def unit_and_group_norms() -> Any:
    x = sequence()
    u = L.UnitNormalization()(x)
    g = L.TimeDistributed(L.GroupNormalization(groups=2, epsilon=1e-2))(L.Dense(6)(u))
    last = L.GroupNormalization(groups=-1, scale=False)(L.GroupNormalization(groups=1, center=False)(L.GRU(4)(g)))
    return Model(x, [u, g, last, L.GroupNormalization(groups=2, center=False, scale=False)(L.GRU(6)(x))])


@network
def moves() -> Any:
    x = sequence()
    g = L.GRU(4, return_sequences=True)(L.Permute((1, 2))(x))
    return Model(x, L.Dense(2)(L.Permute((1,))(L.GRU(3)(L.Reshape((STEPS, 4))(g)))))


@network
def vectors() -> Any:
    x, v = sequence(), Input((5,), name="v")
    g = L.GRU(4)(x)
    normalize = L.Normalization()
    normalize.adapt(np.random.default_rng(4).normal(1.0, 2.0, (40, 5)))
    return Model([x, v], L.Dense(2)(L.Concatenate()([g, L.Dense(3, activation="relu")(normalize(v))])))


@network
def vector_as_state() -> Any:
    x, v = sequence(), Input((5,), name="v")
    h = L.Dense(4, activation="tanh")(v)
    return Model([x, v], L.GRU(4, return_sequences=True)(x, initial_state=h))


RELU_OPTIONS = [
    {"max_value": 0.6, "negative_slope": 0.2},
    {"max_value": 0.6, "threshold": 0.3},
    {"negative_slope": 0.2, "threshold": 0.3},
    {"max_value": 0.6, "negative_slope": 0.2, "threshold": 0.3},
    {"max_value": 0.2, "negative_slope": 0.1, "threshold": 0.3},
]


@network
def relu_options() -> Any:
    x = sequence()
    parts = [L.ReLU(**options)(x) for options in RELU_OPTIONS]
    parts.append(keras.activations.relu(x, negative_slope=0.1, max_value=0.4, threshold=-0.2))
    return Model(x, [L.Concatenate()(parts), L.GRU(3)(L.Dense(4, activation=L.ReLU(**RELU_OPTIONS[3]))(x))])


@network
def tensor_functions() -> Any:
    x = sequence()
    g = L.GRU(6, return_sequences=True)(x)
    a, b, c = ops.split(g, [1, 3], axis=2)
    d, e = ops.split(g, 2, axis=-1)
    limited = ops.concatenate([ops.clip(d, -0.1, 0.2), ops.maximum(e, 0.05), ops.minimum(b, 0.1), a], axis=-1)
    total, mean = ops.sum(c, axis=-1, keepdims=True), ops.mean(limited, axis=2)
    powers = ops.square(e) + e**3 - ops.power(d, 2)
    numbers = ops.expand_dims(g[..., 0] * ops.sum(g, axis=[-1]), -1) * ops.squeeze(total, -1)[:, :, None]
    return Model(x, [limited, total, mean, powers, numbers, g[:, -1, 2], ops.sum(g[:, 0], axis=1, keepdims=True)])


@network
def constants() -> Any:
    x = sequence()
    y = (x - np.array([0.5, -1.0, 2.0], "float32")) / np.array([2.0, 0.1, 3.0], "float32")
    z = ops.multiply(np.array([[1.0, 2.0, 3.0]], "float32"), ops.add(np.array(0.25, "float32"), x))
    return Model(x, [L.GRU(3)(y), 1.0 - z, ops.subtract(np.array([1.0, 0.0, -1.0], "float32"), y)])


@network
def activation_functions() -> Any:
    x = sequence()
    functions = [
        ops.relu, ops.relu6, ops.sigmoid, ops.tanh, ops.softplus, ops.softsign, ops.silu, ops.selu, ops.celu,
        ops.hard_sigmoid, ops.hard_silu, ops.hard_tanh, ops.log_sigmoid, ops.softmax, ops.log_softmax, ops.gelu,
        ops.stop_gradient, keras.activations.softmax,
    ]  # fmt: skip
    parts = [function(x) for function in functions]
    parts += [ops.leaky_relu(x, 0.3), ops.elu(x, 0.4), ops.gelu(x, approximate=False), ops.celu(x, 0.5)]
    return Model(x, L.GRU(4)(ops.concatenate(parts, axis=-1)) + ops.cast(L.GRU(4)(x), "float32"))


@network
def masked_functions() -> Any:
    x = sequence()
    m = L.Masking()(x)
    return Model(x, [L.GRU(3)(m * 2.0), L.GRU(3)(ops.relu(m)), L.GRU(3)(m[..., :2]), L.GRU(3)(L.Rescaling(2.0)(m))])


STORED = ("k3_two_layers", "k3_residual")
"""Archives that stay as Keras wrote them."""


@network
def mathematics() -> Any:
    x = sequence()
    y, row = L.GRU(3, return_sequences=True)(x), np.array([-0.4, 0.2, 0.5], "float32")
    a = ops.abs(y)
    numbers = [
        *(a, ops.ceil(3 * y), ops.floor(3 * y), ops.round(3 * y), ops.round(y, 1), ops.trunc(3 * y), ops.sign(y)),
        *(ops.exp(y), ops.exp2(y), ops.expm1(y), ops.log(a + 0.5), ops.log1p(a), ops.log2(a + 0.5), ops.log10(a + 1)),
        *(ops.sqrt(a), ops.rsqrt(a + 0.5), ops.reciprocal(a + 0.5), ops.square(y), ops.sin(y), ops.cos(y), ops.tan(y)),
        *(ops.sinh(y), ops.cosh(y), ops.arcsinh(y), ops.arccosh(a + 1.5), ops.arctanh(0.5 * y), ops.erf(y)),
        *(ops.hard_shrink(y, 0.2), ops.soft_shrink(y, 0.2), ops.tanh_shrink(y), ops.squareplus(y), ops.sparse_plus(y)),
        *(ops.sparse_sigmoid(y), ops.threshold(y, 0.1, -1.0), ops.deg2rad(y), ops.nan_to_num(y), ops.copy(y)),
        *(a**0.5, (a + 0.1) ** 1.7, (a + 0.5) ** -1.0, 2.0**y, ops.power(a + 0.1, y), y**9, (a + 0.5) ** -0.5, y**0),
        *(2.0 / (a + 1), ops.divide(row, a + 1), y / (a + 1), ops.divide_no_nan(y, ops.relu(y)), y / row),
        *(y // 0.13, y % 0.37, ops.mod(y, row), ops.maximum(y, row), ops.minimum(y, -y), ops.minimum(0.1, y)),
        *(ops.hypot(y, row), ops.logaddexp(y, row), y + y[..., :1]),
    ]
    halves = ops.glu(L.Dense(4)(y))
    return Model(x, [ops.concatenate([*numbers, halves], axis=-1), ops.maximum(L.GRU(3)(x), 0.1)])


@network
def conditions() -> Any:
    x = sequence()
    y, row = L.GRU(3, return_sequences=True)(x), np.array([-0.4, 0.2, 0.5], "float32")
    truths = [
        *(y > 0.1, y < row, y >= ops.tanh(y), y <= 0.1, ops.equal(ops.round(3 * y), 0.0), ops.not_equal(y, row)),
        *(ops.not_equal(ops.round(3 * y), 0.0), ops.logical_and(y > -0.2, y < 0.3), (y < -0.2) | (y > 0.3)),
        *(ops.logical_or(ops.not_equal(ops.relu(y), 0.0), ops.not_equal(y, 0.5)), ops.logical_xor(y > 0, y > row)),
        *(ops.logical_not(y > 0), ops.isnan(y), ops.isinf(y), ops.isfinite(y), ops.cast(y, "bool")),
        *(ops.any(y > 0.3, axis=-1, keepdims=True), ops.all(y > -0.3, axis=-1, keepdims=True)),
    ]
    chosen = [
        *(ops.where(y > 0, y, 0.3 * y), ops.where(y > 0, 1.0, -1.0), ops.where(y > row, row, y)),
        *(ops.where(y[..., :1] > 0, y, -y), ops.where(ops.not_equal(ops.relu(y), 0), y, 1.0)),
        *(ops.select([y > 0.2, y < -0.2], [y, -y], 0.0), ops.sum(ops.cast(y > 0, "float32"), axis=-1, keepdims=True)),
        *(
            ops.cast(ops.cast(3 * y, "int32"), "float32"),
            ops.zeros_like(y),
            y * ops.ones_like(y),
            ops.full_like(y, 0.5),
        ),
    ]
    return Model(x, ops.concatenate([*(ops.cast(truth, "float32") for truth in truths), *chosen], axis=-1))


@network
def reductions() -> Any:
    x = sequence()
    y, row = L.GRU(3, return_sequences=True)(x), np.array([0.4, 1.2, 0.5], "float32")
    kept = {"axis": -1, "keepdims": True}
    parts = [
        *(ops.max(y, **kept), ops.min(y, **kept), ops.amax(y, **kept), ops.prod(y, **kept), ops.mean(y, **kept)),
        *(ops.std(y, **kept), ops.var(y, **kept), ops.norm(y, **kept), ops.norm(y, ord=1, **kept)),
        *(ops.logsumexp(y, **kept), ops.cast(ops.argmin(y, **kept), "float32"), ops.average(y, axis=-1)[..., None]),
        *(ops.one_hot(ops.argmax(y, axis=-1), 3), ops.normalize(y), ops.normalize(y, order=1), ops.cumsum(y, axis=-1)),
        *(ops.layer_normalization(y, row, -row), ops.layer_normalization(y), ops.rms_normalization(y, row)),
        *(ops.batch_normalization(y, row, row, -1, -row, row), *ops.moments(y, axes=[-1], keepdims=True)),
        *(ops.max(ops.stack([y, ops.tanh(y)], axis=-1), axis=-1), ops.mean(ops.stack([y, -y, y * y], 0), axis=0)),
        ops.stack(ops.unstack(y, axis=-1)[::-1], axis=-1),
    ]
    return Model(x, [ops.concatenate(parts, axis=-1), ops.argmax(L.GRU(3)(x), axis=-1)])


@network
def arrangement() -> Any:
    x = sequence()
    y = L.GRU(4, return_sequences=True)(x)
    parts = [
        *(ops.flip(y, axis=-1), ops.roll(y, 1, axis=-1), y[..., ::2], y[:, :, 1:3], ops.take(y, [3, 0, -2], axis=-1)),
        *(ops.repeat(y, 2, axis=-1), ops.tile(y, (1, 1, 2)), ops.reshape(y, (-1, STEPS, 4))),
        *(ops.pad(y, ((0, 0), (0, 0), (1, 2))), ops.pad(y, ((0, 0), (0, 0), (0, 1)), constant_values=0.5)),
        *(*ops.array_split(y, 3, axis=-1), ops.swapaxes(ops.tanh(ops.swapaxes(y, 1, 2)), 1, 2)),
        L.Permute((2, 1))(L.Activation("tanh")(L.Permute((2, 1))(y))),
    ]
    return Model(x, [ops.concatenate(parts, axis=-1), ops.transpose(y, (0, 2, 1))])


@network
def products() -> Any:
    x = sequence()
    y, matrix = L.GRU(4, return_sequences=True)(x), np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    parts = [
        *(ops.matmul(y, matrix), y @ matrix, ops.dot(y, matrix), ops.tensordot(y, matrix, axes=1)),
        *(ops.einsum("btf,fg->btg", y, matrix), ops.einsum("...f,gf->...g", y, matrix.T)),
        *(ops.matmul(y, matrix[:, 0])[..., None], L.EinsumDense("...x,xy->...y", output_shape=3)(y)),
        L.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d", activation="relu")(y),
    ]
    ends = [L.GRU(3)(x), L.GRU(3, go_backwards=True)(x)]
    return Model(x, [ops.concatenate(parts, axis=-1), L.Dot(axes=-1)(ends), L.Dot(axes=1, normalize=True)(ends)])


@network
def extremes() -> Any:
    x = sequence()
    a, b = L.GRU(4, return_sequences=True)(x), L.Dense(4)(x)
    windows = L.MaxPooling1D(3, strides=1)(L.ZeroPadding1D((2, 0))(L.MaxPooling1D(1, strides=1)(a)))
    return Model(x, L.GRU(3)(L.Concatenate()([L.Maximum()([a, b]), L.Minimum()([a, b, windows]), windows])))


@network
def repeated_vectors() -> Any:
    x, v, w = sequence(), Input((2,), name="v"), Input((3,), name="w")
    joined = L.Concatenate()([x, L.TimeDistributed(L.Dense(2))(L.RepeatVector(STEPS)(L.Dense(3)(v)))])
    return Model([x, v, w], L.GRU(3, return_sequences=True)(joined) + ops.expand_dims(w, 1))


@network
def infinities() -> Any:
    x = sequence()
    y = L.GRU(3, return_sequences=True)(x)
    masked = ops.softmax(ops.where(y < ops.max(y, axis=-1, keepdims=True), y, -np.inf))
    return Model(x, ops.concatenate([masked, ops.reciprocal(ops.where(y > 0, np.inf, 1 + y * y))], axis=-1))


@network
def encoded_tokens() -> Any:
    t, u = tokens(), Input((None,), dtype="int32", name="u")
    joined = L.Concatenate()([L.CategoryEncoding(num_tokens=7, output_mode="one_hot")(t), ops.one_hot(u, 7)])
    return Model([t, u], L.SpectralNormalization(L.Dense(3))(L.GRU(4, return_sequences=True)(joined)))


@network
def time_pooling() -> Any:
    x = sequence()
    y = L.GRU(4, return_sequences=True)(x)
    backwards = L.GRU(4, return_sequences=True, go_backwards=True)(x)
    outputs = [
        L.GlobalAveragePooling1D()(y),
        L.Dense(2)(L.GlobalMaxPooling1D()(y)),
        L.GlobalMaxPooling1D(data_format="channels_first")(L.Permute((2, 1))(y)),
        L.Concatenate()([L.GlobalAveragePooling1D()(backwards), y[:, -1]]),
        *(ops.mean(y, axis=1), ops.sum(y, axis=-2), ops.max(y, axis=1), ops.amin(y, axis=(1,))),
    ]
    return Model(x, outputs)


@network
def masked_time_pooling() -> Any:
    t = tokens()
    y = L.GRU(4, return_sequences=True)(L.Embedding(7, 5, mask_zero=True)(t))
    both = L.Bidirectional(L.GRU(3, return_sequences=True))(L.Embedding(7, 5, mask_zero=True)(t))
    outputs = [
        *(L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(y)), L.GlobalMaxPooling1D()(y)),
        L.GlobalAveragePooling1D()(both),
    ]
    return Model(t, outputs)


@network
def forecaster() -> Any:
    decoder = [L.GRU(6, return_sequences=True), L.TimeDistributed(L.Dense(2))]
    return Sequential([sequence(), L.GRU(8), L.RepeatVector(7), *decoder])


@network
def autoencoder() -> Any:
    x = sequence()
    end = L.Dense(4, activation="tanh")(L.Bidirectional(L.GRU(5))(L.Masking(0.0)(x)))
    repeated = L.TimeDistributed(L.Dense(3))(L.RepeatVector(9)(end))
    decoded = L.Bidirectional(L.GRU(6, return_sequences=True))(repeated)
    backwards = L.GRU(5, return_sequences=True, go_backwards=True)(L.Conv1D(3, 3, padding="same")(decoded))
    return Model(x, [backwards, L.RepeatVector(2)(end)])


@network
def vectors_repeated_twice() -> Any:
    x = sequence()
    end = L.GRU(5)(x)
    repeated = L.RepeatVector(6)(end)
    decoded = L.GRU(4, return_sequences=True)(L.Add()([repeated, L.RepeatVector(6)(L.Dense(5)(end))]))
    beside = L.GRU(3, return_sequences=True)(repeated)
    once = L.GRU(3)(ops.expand_dims(end, 1))
    return Model(x, [L.Dense(2)(L.Concatenate()([decoded, repeated, beside])), once])


@network
def attention() -> Any:
    x = sequence()
    y, h = L.GRU(4, return_sequences=True, return_state=True)(x)
    query, keys = L.RepeatVector(1)(L.Dense(3)(h)), L.Dense(3)(y)
    outputs = [
        L.Flatten()(L.Attention(use_scale=True)([L.Reshape((1, 4))(h), y])),
        L.Attention(score_mode="concat", use_scale=True)([y, y]),
        L.GlobalAveragePooling1D()(L.Attention()([y, y], use_causal_mask=True)),
        L.Reshape((4,))(L.AdditiveAttention()([query, y, keys])),
        ops.squeeze(L.AdditiveAttention(use_scale=False)([query, keys, keys]), 1),
        L.MultiHeadAttention(2, 3)(y, y),
        L.MultiHeadAttention(2, 3, value_dim=5, use_bias=False, output_shape=6)(y, x, y, use_causal_mask=True),
        L.Dense(2)(L.GlobalAveragePooling1D()(L.MultiHeadAttention(1, 4)(ops.expand_dims(h, 1), y))),
    ]
    return Model(x, outputs)


@network
def masked_attention() -> Any:
    t = tokens()
    e = L.Embedding(7, 5, mask_zero=True)(t)
    y, h = L.GRU(5, return_sequences=True, return_state=True)(e)
    outputs = [
        L.Attention()([y, y]),
        L.GlobalAveragePooling1D()(L.AdditiveAttention()([e, y])),
        L.Flatten()(L.Attention(score_mode="concat")([L.RepeatVector(1)(h), y, e])),
        L.GRU(3)(L.Attention()([y, e], use_causal_mask=True)),
    ]
    return Model(t, outputs)


def compress(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def randomize(model: Any, random: np.random.Generator) -> None:
    for variable in model.weights:
        values = random.normal(0, 0.5, variable.shape)
        if "variance" in variable.path or "gamma" in variable.path:
            values = np.abs(values) + 0.5
        if "seed" not in variable.path and variable.name not in ADAPTED:
            variable.assign(keras.ops.cast(values, variable.dtype))


def sample(port: Any, random: np.random.Generator) -> np.ndarray:
    shape = [BATCH, *(size or STEPS for size in port.shape[1:])]
    if "int" in port.dtype:
        return random.integers(0, 7, shape).astype(np.int32)
    values = random.normal(size=shape).astype(port.dtype)
    if len(shape) == 3:
        values[0, -2:] = values[1, 0] = 0.0
        values[0, 1] = values[1, 3] = 0.5
    return np.tanh(values) if len(shape) == 2 else values


def answers(model: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    found = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return [
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(item, "float32"))) for item in keras.tree.flatten(found)
    ]


def write(name: str, folder: Path) -> Any:
    keras.utils.clear_session()
    model = NETWORKS[name]()
    random = np.random.default_rng(list(NETWORKS).index(name))
    randomize(model, random)
    inputs = [sample(port, random) for port in model.inputs]
    outputs = answers(model, inputs)
    model.save(folder / f"{name}.keras")
    if name not in STORED:
        compress(folder / f"{name}.keras")
    named = {f"in_{port.name}": array for port, array in zip(model.inputs, inputs, strict=True)}
    np.savez_compressed(folder / f"{name}.npz", **named, **{f"out_{i}": array for i, array in enumerate(outputs)})
    return model


def write_all(folder: Path) -> None:
    warnings.simplefilter("ignore")
    for name in NETWORKS:
        model = write(name, folder)
        if name in (
            "k3_residual",
            "k3_nested",
            "k3_bi_explicit",
            "k3_time_distributed",
            "k3_cells",
            "k3_embedding_masked",
            "k3_adapted",
            "k3_tensor_functions",
            "k3_conditions",
        ):
            model.save(folder / f"{name}.h5")
        if name == "k3_residual":
            model.save_weights(folder / f"{name}.weights.h5")
            (folder / f"{name}.json").write_text(model.to_json())


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
