"""Layers, as data: what a model is made of.

A layer reads one or more *values* and writes one value, which has the layer's name. A value is a vector of features for
every timestep of a sequence, or, behind `LastStep` and `FirstStep`, one vector for the whole sequence.

Grids
-----
Behind `Unflatten`, a value is a *grid*: at every timestep not one vector but ``positions`` of them, for example the
frequencies of a spectrum. Layers apply to every position with the same weights; a `GRU` scans either the timesteps,
with a state for each position, or the positions inside each timestep. `Flatten` joins the positions into one vector
again. Model inputs and outputs are vectors.

Sequences
---------
Values that a layer reads together belong to one sequence, and have one number of timesteps. A second sequence may
begin where the first one ended: a GRU with ``initial_state="value"`` reads its initial state from a value behind
`LastStep` or `FirstStep` of the other sequence, and any layer may read such a vector beside its own sequence: it is the
same vector at every timestep then. Behind an `Unfold`, too, there is a sequence of its own, whose length follows from
that of the sequence that it unfolds, and behind a `RepeatVector` one that has nothing but a vector to begin with. The
model has *stages* in either case, see `Model.stages`.

Gate order
----------
GRU weights hold the three gates as consecutive blocks of ``hidden_size`` rows. grurt's order is ONNX's:

===================  =======  ===============================  =============================
weights of           blocks   rows or columns                  a bias of ``3 * hidden_size``
===================  =======  ===============================  =============================
grurt, ONNX ``GRU``  z, r, n  rows of ``(3 * hidden, k)``      z, r, n
PyTorch ``nn.GRU``   r, z, n  rows of ``(3 * hidden, k)``      r, z, n
Keras ``GRU``        z, r, n  columns of ``(k, 3 * hidden)``   z, r, n
===================  =======  ===============================  =============================

z is the update gate, r the reset gate, n the candidate state (ONNX and Keras call it h).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Union

from grurt.network.layers.base import Layer as Layer
from grurt.network.layers.base import MatrixLayer as MatrixLayer

if TYPE_CHECKING:  # star imports are exports, and any kind of layer is one
    from grurt.network.layers.activations import *
    from grurt.network.layers.arithmetic import *
    from grurt.network.layers.attention import *
    from grurt.network.layers.convolution import *
    from grurt.network.layers.dense import *
    from grurt.network.layers.grids import *
    from grurt.network.layers.masks import *
    from grurt.network.layers.normalization import *
    from grurt.network.layers.pooling import *
    from grurt.network.layers.program import *
    from grurt.network.layers.recurrent import *
    from grurt.network.layers.selection import *
    from grurt.network.layers.windows import *

    AnyLayer = Layer

_NAMES = {
    "activations": ("Activation", "PRelu"),
    "arithmetic": ("Add", "Binary", "Concat", "Constant", "Mul", "Reduce", "Slice", "Where"),
    "attention": ("Attention",),
    "convolution": ("Conv1d",),
    "dense": ("Embedding", "Linear"),
    "grids": ("Flatten", "Unflatten"),
    "masks": ("FeatureMask", "PastEnd", "TokenMask"),
    "normalization": ("BatchNorm", "LayerNorm", "RMSNorm"),
    "pooling": ("TimePooling",),
    "program": ("Program",),
    "recurrent": ("GRU",),
    "selection": ("FirstStep", "LastStep"),
    "windows": ("RepeatVector", "Unfold"),
}
"""The layers by the file that has them: a file is imported when one of its layers is asked for."""

_FILES = {name: file for file, names in _NAMES.items() for name in names}
_CLASS_NAMES = {name.lower(): name for name in _FILES}


def class_of(kind: str) -> type[Layer]:
    """Return the class of a kind of layer, as it stands in files; KeyError if there is no such kind."""
    found = _layer(_CLASS_NAMES[kind.replace("_", "")])
    if found.__struct_config__.tag != kind:
        raise KeyError(kind)
    return found


def is_class_of_layers(candidate: type) -> bool:
    """Return whether a class is that of a kind of layer, and not one that somebody has derived from it."""
    return candidate.__name__ in _FILES and candidate is _layer(candidate.__name__)


def _layer(name: str) -> type[Layer]:
    found: type[Layer] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    return found


if not TYPE_CHECKING:  # who would take any name for one that is there
    __all__ = sorted(_FILES)

    def __getattr__(name: str) -> Any:
        """Import a layer when it is first asked for: who runs a network waits for no others than its own."""
        if name == "AnyLayer":
            found = Union[tuple(map(_layer, __all__))]  # noqa: UP007 - of a number that is not known here
        elif name in _FILES:
            found = _layer(name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "AnyLayer"})
