"""What a state dict leaves out, as data: the layers that its weights belong to, and how they are connected."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from grurt.converters.kinds import KINDS, Options
from grurt.errors import DescriptionError
from grurt.network.functions import AnyFunction
from grurt.network.inputs import AnyInput, Output
from grurt.network.misfits import misfit

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[(*KINDS, "final_state", "final_states")]
"""What a described layer can be. ``final_state`` is the last layer of the GRU's ``h_n``: of both directions, where
it has two. ``final_states`` are all of its layers side by side, the first one first."""


class LayerDescription(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
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
    arrays
        Where the weights are not those of one module: the arrays' names by the names of PyTorch's parameters, such as
        ``{"weight_ih": "enc_w", ...}``; several joined by ``+``, in the order of ``gates``, where each gate has one.

    Besides, it has the `Options` of its kind.
    """

    module: str = ""
    kind: KindName | None = None
    name: str = ""
    inputs: tuple[str, ...] = ()
    functions: tuple[AnyFunction, ...] = ()
    arrays: dict[str, str] = msgspec.field(default_factory=dict)


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


def convert_fields(fields: object, wanted: type[msgspec.Struct], where: str) -> Any:
    """Return the struct with these fields, numbers also from text; DescriptionError if they do not fit."""
    try:
        plain = msgspec.to_builtins(fields, enc_hook=_plain)
        return msgspec.convert(plain, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise DescriptionError(f"{where}: {misfit(error, wanted, plain)}") from error
    except TypeError as error:
        raise DescriptionError(f"{where}: expected texts, numbers, lists and named fields, got {error}") from error


def _plain(value: object) -> object:
    if isinstance(value, np.generic | PurePath):
        return value.item() if isinstance(value, np.generic) else str(value)
    raise TypeError(f"an object of type {type(value).__name__}")
