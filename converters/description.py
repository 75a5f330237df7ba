"""What a state dict leaves out, as data: the layers that its weights belong to, and how they are connected."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from grurt.errors import DescriptionError
from grurt.network.functions import AnyFunction, ElementwiseFunction
from grurt.network.inputs import AnyInput, Output

Kind = Literal[
    "gru",
    "linear",
    "embedding",
    "layer_norm",
    "batch_norm",
    "conv1d",
    "prelu",
    "add",
    "mul",
    "concat",
    "activation",
    "last_step",
    "first_step",
    "final_state",
]
"""What a described layer can be. ``final_state`` is the GRU's ``h_n``: of both directions, where it has two."""


class LayerDescription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One layer of a checkpoint, or a whole stack of GRU layers that PyTorch treats as one module.

    Parameters
    ----------
    module
        The name of the module in the checkpoint, such as ``"encoder.gru"``; ``"."`` if the tensors' names have no dots;
        empty for a layer without weights.
    kind
        What it is; needed only where the shapes of the weights leave that open.
    name
        The name that other descriptions and the model know it by; by default the module's.
    inputs
        Names of the descriptions or model inputs that it reads; by default the description before it.
    functions
        Activations applied to its result, in order.
    epsilon
        Of a layer or batch normalization, 1e-5 by default as in PyTorch.
    dilation, groups
        Of a convolution, 1 by default. It is taken as causal: padded with ``(kernel_size - 1) * dilation`` zeros on the
        left only.
    initial_state
        Of a GRU: the name of a tensor that holds a learned initial state of all its layers and directions; or of an
        earlier description that gives the state of its one layer, as an encoder does.
    arrays
        Where the weights are not those of one module: the arrays' names by the names of PyTorch's parameters, such as
        ``{"weight_ih": "enc_w", ...}``; several joined by ``+``, in the order of ``gates``, where each gate has one.
    gates, layout, reset, update
        Of hand-written networks: the order of the gates' blocks, such as ``"zrn"``; whether a matrix is multiplied as
        ``W @ x`` (``"rows"``) or ``x @ W`` (``"columns"``); whether the reset gate is applied ``"after"`` the product
        or ``"before"``; whether the update gate at 1 means to ``"keep"`` the state or to ``"replace"`` it. By default
        as in PyTorch: ``"rzn"``, rows, after, keep; but for a GRU with ``arrays`` they must be said.
        `arrays.conventions` has the equations.
    gate_activation, candidate_activation
        Of a GRU, sigmoid and tanh by default.
    """

    module: str = ""
    kind: Kind | None = None
    name: str = ""
    inputs: tuple[str, ...] = ()
    functions: tuple[AnyFunction, ...] = ()
    epsilon: float | None = None
    dilation: int | None = None
    groups: int | None = None
    initial_state: str | None = None
    arrays: dict[str, str] = {}
    gates: Literal["zrn", "znr", "rzn", "rnz", "nzr", "nrz"] | None = None
    layout: Literal["rows", "columns"] | None = None
    reset: Literal["after", "before"] | None = None
    update: Literal["keep", "replace"] | None = None
    gate_activation: ElementwiseFunction | None = None
    candidate_activation: ElementwiseFunction | None = None


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The architecture that a state dict belongs to.

    Parameters
    ----------
    layers
        In an order in which each reads only earlier ones.
    inputs
        The model's inputs; by default one, ``"x"``, of the size that the first layer expects.
    outputs
        The model's outputs, each with the name of the description that it shows; by default one, ``"y"``, of the last.
    ignore
        Names of tensors, or of modules, that the model does not need.
    entry
        Which state dict of a checkpoint that holds several, such as ``"ema"``.
    """

    layers: tuple[LayerDescription, ...]
    inputs: tuple[AnyInput, ...] = ()
    outputs: tuple[Output, ...] = ()
    ignore: tuple[str, ...] = ()
    entry: str | None = None


def convert_fields(fields: dict[str, Any], wanted: type[msgspec.Struct], where: str) -> Any:
    """Return the struct with these fields, numbers also from text; DescriptionError if they do not fit."""
    try:
        return msgspec.convert(fields, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise DescriptionError(f"{where}: {error}") from error
