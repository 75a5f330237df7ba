"""What makes a kind of module, and what its converter is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError, DescriptionError
from grurt.network.functions import ElementwiseFunction
from grurt.network.layers import AnyLayer

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, Array]
"""The tensors of a module, by the names of its parameters."""

Weighted = tuple[AnyLayer, Mapping[str, Array]]
"""A layer and its weights by parameter name."""

_SHOWN = 40
"""How many of a module's tensors an error names."""

EPSILON = 1e-5
"""PyTorch's default, where it does not follow from the dtype."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What no tensor of a module shows.

    Parameters
    ----------
    epsilon
        Of a normalization; that of PyTorch by default, 1e-5 for most. Of a normalizer it must be said.
    epsilon_to
        Of a normalizer, what the epsilon is added to: the ``"variance"``, as by default where there is one, or the
        ``"deviation"``.
    dilation, groups
        Of a convolution, 1 by default.
    padding
        Of a convolution or pool: a number of timesteps at both ends, as in PyTorch, or ``"same"``; of a convolution
        also ``"causal"``, as it is taken by default: ``(kernel_size - 1) * dilation`` zeros on the left only.
    stride, kernel_size
        Of a convolution and a pool, and of a pool.
    initial_state
        Of a GRU: the name of a tensor that holds a learned initial state of all its layers and directions; or of an
        earlier description that gives the state of its one layer, as an encoder does.
    direction
        Of a GRU of one layer: ``"reverse"`` if it runs from the last timestep to the first.
    gates, layout, reset, update, joined
        Of hand-written networks: the order of the gates' blocks, such as ``"zrn"``; whether a matrix is multiplied as
        ``W @ x`` (``"rows"``) or ``x @ W`` (``"columns"``); whether the reset gate is applied ``"after"`` the product
        or ``"before"``; whether the update gate at 1 means to ``"keep"`` the state or to ``"replace"`` it. By default
        as in PyTorch: ``"rzn"``, rows, after, keep; but for a GRU with ``arrays`` they must be said. Where one matrix
        is multiplied with the state and the input side by side, which of them is first: ``"hx"`` or ``"xh"``.
        `arrays.conventions` has the equations.
    gate_activation, candidate_activation
        Of a GRU, sigmoid and tanh by default.
    """

    epsilon: float | None = None
    epsilon_to: Literal["variance", "deviation"] | None = None
    dilation: int | None = None
    groups: int | None = None
    padding: int | Literal["causal", "same"] | None = None
    stride: int | None = None
    kernel_size: int | None = None
    initial_state: str | None = None
    direction: Literal["forward", "reverse"] | None = None
    gates: Literal["zrn", "znr", "rzn", "rnz", "nzr", "nrz"] | None = None
    layout: Literal["rows", "columns"] | None = None
    reset: Literal["after", "before"] | None = None
    update: Literal["keep", "replace"] | None = None
    joined: Literal["hx", "xh"] | None = None
    gate_activation: ElementwiseFunction | None = None
    candidate_activation: ElementwiseFunction | None = None


FUNCTION_OPTIONS = ("gate_activation", "candidate_activation")
"""The options that are functions."""


@dataclass(frozen=True)
class Reading:
    """A way to understand a module's tensors: its options in a description, and the sizes that it reads and writes.

    A size of None stands for any. A question mark in the options is for what no tensor shows, and the user has to say.
    ``functions`` are those behind it, with their colons; ``tokens`` says that it reads tokens.
    """

    options: str
    reads: int | None
    writes: int | None
    functions: str = ""
    tokens: bool = False


@dataclass(frozen=True)
class Module:
    """A module's tensors, and where its layers stand in the network.

    ``path`` is its name in the checkpoint, ``name`` that of its layer in the network, ``initial_state`` a learned one
    of a GRU, or the name of the value that gives it; ``inferred`` says that the tensors alone told its kind,
    ``followed`` that functions are applied to its result. ``input_size`` is that of its first input, where it is known.
    ``used`` collects the names of the tensors that were asked for, ``notes`` what was taken for granted.
    """

    path: str
    name: str
    inputs: tuple[str, ...]
    options: Options
    tensors: Tensors
    initial_state: Array | str | None = None
    inferred: bool = False
    followed: bool = False
    input_size: int | None = None
    used: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def get(self, name: str, axes: int) -> Array:
        """Return the tensor of that name, which has to be finite and of floating point, with so many axes."""
        if name not in self.tensors:
            found = ", ".join(list(self.tensors)[:_SHOWN]) or "none"
            raise DescriptionError(f"module {self.path!r}: expected a tensor {name!r}, got only {found}")
        array = self.tensors[name]
        if array.dtype != np.float32 or array.ndim != axes:
            raise DescriptionError(
                f"module {self.path!r}: expected {name!r} to be of floating point with {axes} axes, "
                f"got {array.dtype} of shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ConversionError(
                f"module {self.path!r}: expected finite numbers in {name!r}, got NaN, infinity or a number beyond "
                "float32; the training has diverged, or the file is damaged"
            )
        self.used.add(name)
        return array

    def weight_and_bias(self, axes: int) -> dict[str, Array]:
        weights = {"weight": self.get("weight", axes)}
        return weights | {"bias": self.get("bias", 1)} if "bias" in self.tensors else weights

    def number(self, option: str, default: int, *, least: int = 1) -> int:
        """Return an option that is a whole number."""
        value = getattr(self.options, option)
        if isinstance(value, int) and value < least:
            raise DescriptionError(f"module {self.path!r}: expected {option} to be at least {least}, got {value}")
        return value if isinstance(value, int) else default

    @property
    def epsilon(self) -> float:
        return EPSILON if self.options.epsilon is None else self.options.epsilon


@dataclass(frozen=True)
class Kind:
    """A kind of module.

    Parameters
    ----------
    name
        As descriptions call it, and grurt the last of its layers.
    convert
        Yields the layers of a module; the last of them has the module's name.
    evaluate
        Returns what torch computes for a layer of that name, from the layer, its weights and its inputs ``(batch, time,
        features)``; None where the layers are of other kinds.
    parameters
        PyTorch's names of its tensors; empty if it has none.
    options
        The names of the `Options` that it has.
    fits
        Says whether tensors may be those of such a module.
    readings
        Returns the ways to understand the tensors as such a module, the likeliest first.
    classes
        The classes of ``torch.nn`` that are of this kind.
    opset
        The first opset of ONNX that has it as an operator, where that is later than the older exporter of PyTorch
        knows.
    described
        Returns the fields of the description of a module of these classes; None if it is a variant that is not known.
    """

    name: str
    convert: Callable[[Module], Iterator[Weighted]]
    evaluate: Callable[..., torch.Tensor] | None = None
    parameters: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    fits: Callable[[Tensors], bool] = lambda tensors: False
    readings: Callable[[Tensors], tuple[Reading, ...]] = lambda tensors: (reading_of_weight(tensors),)
    classes: tuple[str, ...] = ()
    opset: int = 0
    described: Callable[[Any], dict[str, Any] | None] = lambda module: {}


def is_weight(tensors: Tensors, axes: int, *, alone: bool = False) -> bool:
    """Say whether there is a weight of so many axes, without the statistics of a batch; or without anything else."""
    weight = tensors.get("weight")
    others = {"bias"} if alone else set()
    return weight is not None and weight.ndim == axes and not (others | {"running_mean"}) & tensors.keys()


def reading_of_weight(tensors: Tensors) -> Reading:
    """Return the sizes of input and output that a weight ``(outputs, inputs, ...)`` or ``(size,)`` tells."""
    shape = tensors["weight"].shape
    return Reading("", shape[-1] if len(shape) < 3 else shape[1], shape[0])
