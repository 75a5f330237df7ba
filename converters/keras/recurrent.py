"""GRU, CuDNNGRU and RNN with GRU cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.converters.keras.activations import gate
from grurt.converters.keras.builder import Builder, masked_as_called
from grurt.converters.keras.config import Config
from grurt.converters.keras.handlers import converts, refuses
from grurt.converters.keras.values import Arguments, Kind, Layer, Tensor
from grurt.converters.keras.weights import object_keys
from grurt.errors import DesignReason
from grurt.network.functions import ElementwiseFunction, Sigmoid, Tanh
from grurt.network.layers import GRU

_OTHERS = {
    "LSTM": "LSTM",
    "LSTMCell": "LSTM",
    "CuDNNLSTM": "LSTM",
    "SimpleRNN": "SimpleRNN",
    "SimpleRNNCell": "SimpleRNN",
}

refuses("GRUCell", because="a cell alone has no sequence; wrap it in keras.layers.RNN")


@dataclass(frozen=True)
class Scan:
    """How a recurrent layer goes through a sequence, and what it returns.

    With ``zero_masked``, masked timesteps of the output are zero; otherwise they repeat the timestep before.
    """

    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    zero_masked: bool

    @classmethod
    def read(cls, config: Config) -> Scan:
        """Read the arguments that all recurrent layers have."""
        config.skip("unroll", "implementation", "consume_less", "use_cudnn", "state_size", "input_dim", "input_spec")
        config.require(
            "time_major", (False, None), "transpose the sequences, and build the model with time_major=False"
        )
        config.policy()
        return cls(
            config.boolean("return_sequences"),
            config.boolean("return_state"),
            config.boolean("go_backwards"),
            config.boolean("stateful"),
            config.boolean("zero_output_for_mask"),
        )


@dataclass(frozen=True)
class Cell:
    """One GRU cell: its equation and its weights in grurt's layout."""

    name: str
    layer: GRU
    weights: Mapping[str, Array]


@converts("GRU")
def gru(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``GRU``, of Keras 1 to 3."""
    scan = Scan.read(layer.config)
    return run_cells(layer, args, build, scan, [_cell(layer, replace(layer, weights=layer.weights.child("cell")))])


@converts("CuDNNGRU")
def cudnn_gru(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``CuDNNGRU`` of Keras 2: another layout of the weights, and always ``reset_after``."""
    scan = Scan.read(layer.config)
    layer.config.skip("units")
    kernel, recurrent, bias = layer.weights.take(layer.where, "kernel", "recurrent_kernel", "bias")
    units = layer.config.integer("units")
    _check_shapes(layer, units, kernel, recurrent, bias.reshape(-1, 3 * units) if bias.size == 6 * units else bias)
    weights = [from_cudnn_kernel(kernel), from_cudnn_recurrent(recurrent), bias.reshape(2, 3 * units)]
    return run_cells(layer, args, build, scan, [_as_cell(layer, weights, units, True, Sigmoid(), Tanh())])


@converts("RNN")
def rnn(layer: Layer, args: Arguments, build: Builder) -> tuple[Tensor, ...]:
    """``RNN`` of one GRUCell, or of several, each of which reads the states of the one before."""
    scan = Scan.read(layer.config)
    described = layer.config.get("cell")
    config = described.get("config") if isinstance(described, Mapping) else None
    if isinstance(described, Mapping) and described.get("class_name") == "StackedRNNCells":
        stack = layer.inner(described, "cell")
        stack.config.policy()
        stack.config.require("reverse_state_order", (False, None), "build the cells in order")
        cells = stack.config.get("cells")
        stack.config.check_all_read()
        if not isinstance(cells, list) or not cells:
            raise layer.invalid("expected cells, got none")
        keys = _cell_keys(cells)
        inner = [stack.inner(cell, f"cells/{key}") for cell, key in zip(cells, keys, strict=True)]
    else:
        inner = [layer.inner(described if config is not None else None, "cell")]
    return run_cells(layer, args, build, scan, [_grucell(cell) for cell in inner])


def run_cells(layer: Layer, args: Arguments, build: Builder, scan: Scan, cells: list[Cell]) -> tuple[Tensor, ...]:
    """Add a GRU for each cell, one behind the other, and return what the Keras layer does: output, then states."""
    args.check_named(layer, "initial_state")
    layer.config.check_all_read()
    source, states = _inputs(layer, args, build, len(cells))
    backwards = source.backwards != scan.go_backwards
    given = any(state is not None for state in states)
    # Keras 3 hands a mask on by itself only to layers that are called with one tensor.
    ignored = layer.version.major >= 3 and given and not isinstance(args.named.get("mask"), Tensor)
    mask = None if ignored else source.mask
    value, size = source.value, source.size
    final: list[Tensor] = []
    for cell, state in zip(cells, states, strict=True):
        name = build.unique(cell.name)
        value = _add(layer, cell, name, (value,), mask, state, backwards, build)
        size = cell.layer.hidden_size
        final.append(Tensor("", size, Kind.SINGLE, state_of=name))
    if mask is not None and (scan.stateful or given):
        build.note(
            f"{layer.where}: until the first timestep that is not masked, its output is the state that it was given, "
            "where Keras gives zeros"
        )
    if mask is not None and scan.zero_masked:
        value = build.masked(value, size, mask)
    output = Tensor(value, size, Kind.SEQUENCE, backwards, source.mask)
    if not scan.return_sequences:
        output = build.timestep(output)
    return (output, *final) if scan.return_state else (output,)


def _inputs(layer: Layer, args: Arguments, build: Builder, cells: int) -> tuple[Tensor, list[Tensor | None]]:
    """Return the sequence and the initial states: given by name, or, in Keras 1 and 2, as further inputs."""
    tensors = args.tensors(layer)
    given = args.named.get("initial_state")
    further: list[Any] = tensors[1:] if given is None else given if isinstance(given, list) else [given]
    if (given is not None and len(tensors) > 1) or (further and len(further) != cells):
        raise layer.unsupported(f"{len(further)} initial states", f"the layer takes {cells}")
    for state in further:
        if not isinstance(state, Tensor) or state.kind not in (Kind.SINGLE, Kind.FLAT):
            raise layer.unsupported(
                "an initial state that is no tensor (batch, units)", "give it as an input of the model"
            )
    source = build.value(layer, tensors[0], Kind.SEQUENCE)
    source = masked_as_called(layer, args, source)
    return source, list(further) or [None] * cells


def _add(
    layer: Layer,
    cell: Cell,
    name: str,
    inputs: tuple[str, ...],
    mask: str | None,
    state: Tensor | None,
    backwards: bool,
    build: Builder,
) -> str:
    if mask is not None:
        inputs = (*inputs, mask)
    handed_over = state is not None and state.kind is not Kind.FLAT
    if state is not None and handed_over:
        inputs = (*inputs, build.at_the_end(build.value(layer, state, Kind.SINGLE).value))
    elif state is not None:
        found = build.inputs[state.value]
        if not found.may_be_state or found.size not in (0, cell.layer.hidden_size):
            raise layer.unsupported(
                f"the input {state.value!r} as its initial state", f"the state has {cell.layer.hidden_size} numbers"
            )
        build.inputs[state.value] = replace(found, states=(*found.states, name))
    made = msgspec.structs.replace(
        cell.layer,
        name=name,
        inputs=inputs,
        direction="reverse" if backwards else "forward",
        masked=mask is not None,
        initial_state="value" if handed_over else "zeros",
    )
    return build.add(made, cell.weights)


def _grucell(cell: Layer) -> Cell:
    if cell.kind != "GRUCell":
        other = _OTHERS.get(cell.kind)
        raise cell.unsupported(
            f"a cell that is no GRUCell{f' but {other}' if other else ''}",
            "grurt runs GRU networks: train with GRU cells",
            DesignReason.OTHER_RECURRENCE,
        )
    cell.config.skip("implementation", "state_size")
    cell.config.policy()
    found = _cell(cell, cell)
    cell.config.check_all_read()
    return found


def _cell(layer: Layer, owner: Layer) -> Cell:
    """Read a GRU's equation, and its weights from ``owner``, the cell."""
    config = layer.config
    config.skip("dropout", "recurrent_dropout", "dropout_W", "dropout_U", "init", "inner_init")
    units = config.integer("output_dim" if "output_dim" in config else "units")
    gate_key = "inner_activation" if "inner_activation" in config else "recurrent_activation"
    default = "hard_sigmoid" if layer.version.major < 3 else "sigmoid"
    recurrent = gate(layer, gate_key, config.get(gate_key, default))
    candidate = gate(layer, "activation", config.get("activation", "tanh"))
    reset_after = config.boolean("reset_after", default=layer.version.major >= 3)
    config.skip("W_regularizer", "U_regularizer", "b_regularizer")
    names = (
        ["kernel", "recurrent_kernel", "bias"] if config.boolean("use_bias", True) else ["kernel", "recurrent_kernel"]
    )
    weights = list(_merged(layer, owner)) if layer.version.major == 1 else owner.weights.take(layer.where, *names)
    _check_shapes(layer, units, *weights)
    return _as_cell(layer, weights, units, reset_after, recurrent, candidate)


def _as_cell(
    layer: Layer,
    weights: list[Array],
    units: int,
    reset_after: bool,
    recurrent: ElementwiseFunction,
    candidate: ElementwiseFunction,
) -> Cell:
    """Bring Keras's weights into grurt's layout, by the row of the table in `grurt.network.layers` for Keras.

    "Keras ``GRU``: z, r, n; columns of ``(k, 3 * hidden)``; a bias z, r, n". The bias is ``(2, 3 * hidden)`` with
    ``reset_after``, the one for the input first; otherwise ``(3 * hidden,)``, one for both.
    """
    arrays = {"weight_ih": weights[0].T, "weight_hh": weights[1].T}
    if len(weights) > 2:
        bias = weights[2]
        if bias.shape != ((2, 3 * units) if reset_after else (3 * units,)):
            raise layer.invalid(f"expected a bias for reset_after={reset_after}, got one of shape {bias.shape}")
        both = bias if reset_after else (bias, np.zeros_like(bias))
        arrays |= {"bias_ih": both[0], "bias_hh": both[1]}
    made = GRU(
        name=layer.name,
        input_size=weights[0].shape[0],
        hidden_size=units,
        linear_before_reset=reset_after,
        bias=len(weights) > 2,
        gate_activation=recurrent,
        candidate_activation=candidate,
    )
    return Cell(layer.name, made, arrays)


def _check_shapes(layer: Layer, units: int, kernel: Array, recurrent: Array, bias: Array | None = None) -> None:
    shapes = [kernel.shape, recurrent.shape] + ([] if bias is None else [bias.shape])
    fits = kernel.ndim == 2 and kernel.shape[1] == 3 * units and recurrent.shape == (units, 3 * units)
    if not fits or (bias is not None and (bias.ndim > 2 or bias.shape[-1:] != (3 * units,))):
        raise layer.invalid(f"expected weights for {units} units, got the shapes {', '.join(map(str, shapes))}")


def _merged(layer: Layer, owner: Layer) -> Iterator[Array]:
    """Yield kernel, recurrent kernel and bias from the nine weights of Keras 1, which kept the gates apart."""
    names = [f"{part}_{gate_name}" for gate_name in "zrh" for part in "WUb"]
    arrays = owner.weights.take(layer.where, *names)
    for part in range(3):
        blocks = arrays[part::3]
        if len({block.shape for block in blocks}) > 1 or any(block.ndim == 0 for block in blocks):
            raise layer.invalid("expected gates of one size, got others")
        yield np.concatenate(blocks, axis=-1)


def from_cudnn_kernel(kernel: Array) -> Array:
    """Return the kernel of a CuDNNGRU as a GRU has it: each gate's block was transposed, but kept its shape."""
    return np.hstack([block.T.reshape(block.shape, order="F") for block in np.hsplit(kernel, 3)])


def from_cudnn_recurrent(kernel: Array) -> Array:
    """Return the recurrent kernel of a CuDNNGRU as a GRU has it: each gate's block is transposed."""
    return np.hstack([block.T for block in np.hsplit(kernel, 3)])


def _cell_keys(cells: list[Any]) -> list[str]:
    return object_keys(str(cell.get("class_name")) if isinstance(cell, Mapping) else "" for cell in cells)
