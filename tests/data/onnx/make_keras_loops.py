"""Writes the ONNX files of Keras's own export in this folder: GRUs as loops, or as a copy for each timestep.

Run it with Keras 3.15 and one of two backends, TensorFlow 2.21 with tf2onnx 1.17, or PyTorch 2.13::

    KERAS_BACKEND=tensorflow python tests/data/onnx/make_keras_loops.py [folder]
    KERAS_BACKEND=torch python tests/data/onnx/make_keras_loops.py [folder]

Every file gets an ``.npz`` of its name with inputs (``in_<name>``) and the answers of Keras (``out_<name>``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from keras import Input, Model, Sequential
from keras import layers as L  # noqa: N812

STEPS, FEATURES, BATCH, WORDS = 4, 3, 2, 11
PREFIX = {"tensorflow": "s_loop", "torch": "t_copies"}[keras.backend.backend()]

NETWORKS: dict[str, Callable[[], Any]] = {}


def network(function: Callable[[], Any]) -> Callable[[], Any]:
    NETWORKS[f"{PREFIX}_{function.__name__}"] = function
    return function


def only_tensorflow(function: Callable[[], Any]) -> Callable[[], Any]:
    return network(function) if keras.backend.backend() == "tensorflow" else function


def sequence(steps: int | None = STEPS) -> Any:
    return Input((steps, FEATURES))


@network
def two_layers() -> Any:
    gru = L.GRU(4, return_sequences=True, dropout=0.2)
    return Sequential([sequence(), L.Dense(3, activation="relu"), gru, L.GRU(3), L.Dense(2, activation="softmax")])


@network
def reset_before() -> Any:
    gru = L.GRU(4, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid", activation="relu")
    return Sequential([sequence(), gru, L.Dense(2)])


@network
def no_bias() -> Any:
    return Sequential([sequence(), L.GRU(4, use_bias=False, activation="softsign")])


@network
def bidirectional() -> Any:
    return Sequential([sequence(), L.Bidirectional(L.GRU(3, return_sequences=True)), L.Bidirectional(L.GRU(2))])


@network
def backwards() -> Any:
    return Sequential([sequence(), L.GRU(4, return_sequences=True, go_backwards=True)])


@network
def states() -> Any:
    x, h = sequence(), Input((4,))
    return Model([x, h], L.GRU(4, return_sequences=True, return_state=True)(x, initial_state=h))


@network
def encoder_decoder() -> Any:
    x, z = sequence(), Input((3, 2))
    _, state = L.GRU(4, return_state=True)(x)
    return Model([x, z], L.Dense(2)(L.GRU(4, return_sequences=True)(z, initial_state=state)))


@network
def tokens() -> Any:
    x = Input((STEPS,), dtype="int32")
    return Sequential([x, L.Embedding(WORDS, 3), L.GRU(4, return_sequences=True), L.TimeDistributed(L.Dense(2))])


@network
def two_cells() -> Any:
    return Sequential([sequence(), L.RNN([L.GRUCell(4), L.GRUCell(3)], return_sequences=True)])


@network
def one_timestep() -> Any:
    return Sequential([sequence(1), L.GRU(4, return_sequences=True)])


@network
def open_length() -> Any:
    """From PyTorch's exporter, the first timestep only."""
    return Sequential([sequence(None), L.GRU(4, return_sequences=True), L.Dense(2)])


@only_tensorflow
def masked() -> Any:
    return Sequential([sequence(), L.Masking(), L.GRU(4, return_sequences=True), L.GRU(3), L.Dense(2)])


@only_tensorflow
def masked_tokens() -> Any:
    x = Input((STEPS,), dtype="int32")
    gru = L.Bidirectional(L.GRU(3, return_sequences=True))
    return Sequential([x, L.Embedding(WORDS, 3, mask_zero=True), gru, L.Dense(2)])


@network
def convolution() -> Any:
    conv = L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu")
    return Sequential([sequence(), conv, L.BatchNormalization(), L.GRU(3, return_sequences=True)])


@network
def float_tokens() -> Any:
    return Sequential([Input((STEPS,)), L.Embedding(WORDS, 3), L.GRU(4), L.Dense(2)])


@only_tensorflow
def normalized() -> Any:
    return Sequential([sequence(), L.GRU(4, return_sequences=True), L.LayerNormalization()])


@only_tensorflow
def dense_at_every_step() -> Any:
    return Sequential([sequence(), L.TimeDistributed(L.Dense(3, activation="tanh")), L.GRU(4, return_sequences=True)])


def example(name: str, tensor: Any, random: np.random.Generator) -> Any:
    shape = [size or default for size, default in zip(tensor.shape, (BATCH, STEPS, FEATURES), strict=False)]
    if "tokens" in name:
        return random.integers(0, WORDS, shape).astype(tensor.dtype)
    array = random.normal(size=shape).astype(np.float32)
    if array.ndim == 3 and array.shape[1] > 1:
        array[0, 1] = array[-1, -1] = 0  # masked, where there is a mask
    return array


def main(folder: Path) -> None:
    for name, make in NETWORKS.items():
        random = np.random.default_rng(len(name))
        model = make()
        for weight in model.weights:
            if weight.dtype == "float32":
                weight.assign(random.uniform(0.1 if "variance" in weight.path else -0.7, 0.7, weight.shape))
        inputs = [example(name, tensor, random) for tensor in model.inputs]
        answers = model(inputs if len(inputs) > 1 else inputs[0])
        path = folder / f"{name}.onnx"
        model.export(path, format="onnx", verbose=False)
        graph = onnx.load(path).graph
        given = [array.astype(np.int64) if "tokens" in name else array for array in inputs]
        arrays = {f"in_{port.name}": array for port, array in zip(graph.input, given, strict=True)}
        listed = answers if isinstance(answers, list | tuple) else [answers]
        for port, answer in zip(graph.output, listed, strict=True):
            arrays[f"out_{port.name}"] = keras.ops.convert_to_numpy(answer)
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
