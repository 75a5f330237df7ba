"""Writes the files of Keras 2 in this folder, with random weights, inputs and the answers of Keras.

Run it with tf_keras and TensorFlow: ``python tests/data/keras/make_keras2.py [folder]``. ``k2_*.h5`` are whole
models, ``k2_*.keras`` zip archives; each has an ``.npz`` with the inputs and outputs. CuDNN layers cannot run without a
GPU: the answers are those of a GRU into which Keras itself loaded their weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import Input, Model, Sequential
from tf_keras import layers as L  # noqa: N812
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU

STEPS, FEATURES, BATCH = 6, 3, 2
NETWORKS: dict[str, Callable[[], Any]] = {}


def network(function: Callable[[], Any]) -> Callable[[], Any]:
    NETWORKS[f"k2_{function.__name__}"] = function
    return function


def sequence() -> Any:
    return Input((STEPS, FEATURES), name="x")


@network
def hard_sigmoid() -> Any:
    return Sequential(
        [
            L.GRU(4, recurrent_activation="hard_sigmoid", return_sequences=True, input_shape=(STEPS, FEATURES)),
            L.LeakyReLU(),
            L.TimeDistributed(L.Dense(3, activation="hard_sigmoid")),
            L.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", activation=L.ELU()),
            L.BatchNormalization(),
            L.Dropout(0.5),
            L.Dense(2, activation="swish"),
        ]
    )


@network
def states() -> Any:
    x, h = sequence(), Input((4,), name="h")
    y, state = L.GRU(4, return_sequences=True, return_state=True)(x, initial_state=h)
    b = L.Bidirectional(L.GRU(4, return_sequences=True, name="g"), merge_mode="ave")(y)
    return Model([x, h], [b, state])


@network
def masked() -> Any:
    t = Input((None,), name="tokens", dtype="int32")
    e = L.Embedding(7, 4, mask_zero=True)(t)
    a = L.Bidirectional(L.GRU(4, return_sequences=True))(e)
    g = L.GRU(4, return_sequences=True)(e)
    return Model(t, L.GRU(3)(L.Concatenate()([a, L.Add()([g, L.Dense(4)(e)])])))


@network
def nested() -> Any:
    a = Input((None, 4))
    y, state = L.GRU(4, return_sequences=True, return_state=True, name="inner_gru")(a)
    inner = Model(a, [L.BatchNormalization(name="bn")(y), state], name="inner")
    x = sequence()
    y, state = inner(L.Dense(4)(x))
    z, _ = inner(y)
    cells = L.RNN([L.GRUCell(3), L.GRUCell(2, use_bias=False)], return_sequences=True)
    head = Sequential(
        [L.Dense(3, input_shape=(None, 4)), L.LayerNormalization(), L.PReLU(shared_axes=[1])], name="head"
    )
    return Model(x, [head(z), cells(y), state])


@network
def conv() -> Any:
    return Sequential(
        [
            Input((None, FEATURES), name="x"),
            L.Conv1D(4, 3, padding="causal", activation="relu6"),
            L.GRU(3, return_sequences=True, use_bias=False),
            L.Masking(),
            L.GRU(2),
        ]
    )


@network
def cudnn() -> Any:
    return Sequential(
        [
            Input((STEPS, FEATURES), name="x"),
            CuDNNGRU(4, return_sequences=True),
            L.Bidirectional(CuDNNGRU(3)),
            L.Dense(2),
        ]
    )


@network
def tensorflow_functions() -> Any:
    x = sequence()
    y = L.GRU(4, return_sequences=True, name="g")(x)
    row = np.linspace(-0.5, 0.9, 4, dtype="float32")
    positive = y[..., :2] > 0.0
    numbers = [
        *(y * 2.0, 1.0 - y, y + row, y + tf.tanh(y), y / 3.0, 1.0 / (tf.abs(y) + 1.0), -y, y**2, tf.sign(y)),
        *(tf.exp(y), tf.math.log(tf.abs(y) + 1.0), tf.sqrt(tf.abs(y)), tf.maximum(y, 0.1), tf.minimum(y, tf.tanh(y))),
        *(tf.clip_by_value(y, -0.1, 0.1), tf.where(y > 0.0, y, y * 0.1), tf.nn.gelu(y), tf.nn.leaky_relu(y, alpha=0.1)),
        *(tf.cast((y > 0) & (y < 0.5), "float32"), tf.cast(tf.logical_not(y >= row), "float32"), y // 0.3, y % 0.3),
        *(tf.where(positive, 1.0, y[..., 2:]), tf.cast(tf.not_equal(tf.nn.relu(y), 0.0), "float32"), tf.add_n([y, y])),
    ]
    features = [
        *(tf.reduce_mean(y, axis=-1, keepdims=True), tf.reduce_sum(y, -1, keepdims=True), tf.nn.softmax(y)),
        *(tf.reduce_max(y, axis=-1)[..., None], tf.math.reduce_std(y, axis=-1, keepdims=True)),
        *(tf.math.l2_normalize(y, axis=-1), tf.matmul(y, np.ones((4, 3), "float32") * 0.3)),
        *(tf.expand_dims(tf.squeeze(y[..., :1], -1), -1), tf.one_hot(tf.argmax(y, axis=-1), 4), y[:, :, 1:3]),
    ]
    moved = [
        *(*tf.split(y, [1, 3], axis=-1)[::-1], *tf.split(y, 2, axis=2)[::-1], tf.tile(y, [1, 1, 2])),
        *(tf.reverse(y, [-1]), tf.gather(y, [2, 0], axis=-1), tf.pad(y, [[0, 0], [0, 0], [0, 1]])),
        *(tf.stack(tf.unstack(y, axis=-1)[::-1], axis=-1), tf.reduce_mean(tf.stack([y, tf.tanh(y)], axis=0), axis=0)),
        tf.transpose(tf.transpose(y, [0, 2, 1]) * 2.0, [0, 2, 1]),
    ]
    last = y[:, -1] + tf.zeros_like(y[:, -1])
    return Model(x, [tf.concat([*numbers, *features, *moved], axis=-1), last])


def runnable(name: str, model: Any, path: Path) -> Any:
    """Return a model that can run on a CPU, with the weights that Keras loads from the file."""
    if name != "k2_cudnn":
        return model
    twin = Sequential(
        [
            Input((STEPS, FEATURES), name="x"),
            L.GRU(4, return_sequences=True),
            L.Bidirectional(L.GRU(3)),
            L.Dense(2),
        ]
    )
    twin.load_weights(path)
    return twin


def randomize(model: Any, random: np.random.Generator) -> None:
    arrays = []
    for variable in model.weights:
        values = random.normal(0, 0.5, variable.shape)
        arrays.append(np.abs(values) + 0.5 if "variance" in variable.name or "gamma" in variable.name else values)
    model.set_weights(arrays)


def sample(port: Any, random: np.random.Generator) -> np.ndarray:
    shape = [BATCH, *(size or STEPS for size in port.shape[1:])]
    if port.dtype == "int32" or "int" in str(port.dtype):
        return random.integers(0, 7, shape).astype(np.int32)
    values = np.tanh(random.normal(size=shape)).astype(np.float32)
    if len(shape) == 3:
        values[0, -2:] = values[1, 0] = 0.0
    return values


def write(name: str, folder: Path) -> Any:
    keras.backend.clear_session()
    keras.backend.reset_uids()
    model = NETWORKS[name]()
    random = np.random.default_rng(list(NETWORKS).index(name))
    randomize(model, random)
    inputs = [sample(port, random) for port in model.inputs]
    model.save(folder / f"{name}.h5")
    outputs = runnable(name, model, folder / f"{name}.h5")(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    if name in ("k2_masked", "k2_nested"):
        model.save(folder / f"{name}.keras")
    named = {f"in_{port.name}": array for port, array in zip(model.inputs, inputs, strict=True)}
    arrays = {f"out_{i}": np.asarray(array) for i, array in enumerate(outputs)}
    np.savez_compressed(folder / f"{name}.npz", **named, **arrays)
    return model


def write_weights(model: Any, name: str, folder: Path) -> None:
    """Write the model's weights alone, in the old layout, and its architecture."""
    model.save_weights(folder / f"{name}.weights_only.h5", save_format="h5")
    (folder / f"{name}.json").write_text(model.to_json())


def write_keras_1(folder: Path) -> None:
    """Write a file as Keras 1.2 did, from `states`'s kin in Keras 2: nine weights a GRU, and the old arguments."""
    random = np.random.default_rng(11)
    twin = Sequential(
        [
            Input((STEPS, FEATURES), name="x"),
            L.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid", return_sequences=True),
            L.Bidirectional(L.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid")),
            L.Dense(2, activation="softmax"),
        ]
    )
    randomize(twin, random)
    x = random.normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    np.savez_compressed(folder / "k1_gru.npz", in_x=x, out_0=np.asarray(twin(x)))
    gru = {"activation": "tanh", "inner_activation": "hard_sigmoid", "go_backwards": False, "stateful": False}
    gru |= {"init": "glorot_uniform", "inner_init": "orthogonal", "unroll": False, "consume_less": "cpu"}
    gru |= {"W_regularizer": None, "U_regularizer": None, "b_regularizer": None, "dropout_W": 0.0, "dropout_U": 0.0}
    shape = {"batch_input_shape": [None, STEPS, FEATURES], "input_dtype": "float32", "trainable": True}
    first = {
        **gru,
        **shape,
        "name": "gru_1",
        "output_dim": 4,
        "return_sequences": True,
        "input_dim": 3,
        "input_length": 6,
    }
    inner = {**gru, "name": "gru_2", "output_dim": 3, "return_sequences": False, "trainable": True, "input_dim": 4}
    both = {"name": "bidirectional_1", "trainable": True, "merge_mode": "concat"}
    both |= {"layer": {"class_name": "GRU", "config": inner}}
    dense = {
        "name": "dense_1",
        "trainable": True,
        "output_dim": 2,
        "activation": "softmax",
        "bias": True,
        "init": "uniform",
    }
    dense |= {"input_dim": None, "W_constraint": None, "b_constraint": None, "activity_regularizer": None}
    listed = [("GRU", first), ("Bidirectional", both), ("Dense", dense)]
    config = [{"class_name": kind, "config": values} for kind, values in listed]
    with h5py.File(folder / "k1_gru.h5", "w") as file:
        file.attrs["keras_version"] = np.bytes_(b"1.2.2")
        file.attrs["model_config"] = np.bytes_(json.dumps({"class_name": "Sequential", "config": config}).encode())
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([values["name"].encode() for _, values in listed])
        for layer, (_, values) in zip(twin.layers, listed, strict=True):
            arrays = [(v.name.split("/")[-1].removesuffix(":0"), v.numpy()) for v in layer.weights]
            _write_layer(group.create_group(values["name"]), values["name"], arrays)


def _write_layer(group: Any, name: str, arrays: list[tuple[str, np.ndarray]]) -> None:
    listed: list[tuple[str, np.ndarray]] = []
    for start in range(0, len(arrays), 3):
        if len(arrays) < 3:
            listed = [(f"{name}_W", arrays[0][1]), (f"{name}_b", arrays[1][1])]
            break
        for gate, letter in enumerate("zrh"):
            for (_, array), part in zip(arrays[start : start + 3], "WUb", strict=True):
                listed.append((f"{name}_{part}_{letter}_{start}", np.split(array, 3, axis=-1)[gate]))
    group.attrs["weight_names"] = np.array([key.encode() for key, _ in listed])
    for key, array in listed:
        group[key] = array


def write_all(folder: Path) -> None:
    for name in NETWORKS:
        model = write(name, folder)
        if name == "k2_masked":
            write_weights(model, name, folder)
    write_keras_1(folder)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
