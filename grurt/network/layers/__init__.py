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
that of the sequence that it unfolds. The model has *stages* in either case, see `Model.stages`.

Gate order
----------
GRU weights hold the three gates as consecutive blocks of ``hidden_size`` rows. grurt's order is ONNX's:

==================  ==================  ===========================  ==========================
                    blocks              rows or columns              a bias of ``3 * hidden_size``
==================  ==================  ===========================  ==========================
grurt, ONNX ``GRU``  z, r, n             rows of ``(3 * hidden, k)``  z, r, n
PyTorch ``nn.GRU``  r, z, n             rows of ``(3 * hidden, k)``  r, z, n
Keras ``GRU``       z, r, n             columns of ``(k, 3 * hidden)``  z, r, n
==================  ==================  ===========================  ==========================

z is the update gate, r the reset gate, n the candidate state (ONNX and Keras call it h).
"""

from types import ModuleType
from typing import TYPE_CHECKING, Union

from grurt.network.layers.activations import *
from grurt.network.layers.arithmetic import *
from grurt.network.layers.base import Layer as Layer
from grurt.network.layers.base import MatrixLayer as MatrixLayer
from grurt.network.layers.convolution import *
from grurt.network.layers.dense import *
from grurt.network.layers.grids import *
from grurt.network.layers.masks import *
from grurt.network.layers.normalization import *
from grurt.network.layers.program import *
from grurt.network.layers.recurrent import *
from grurt.network.layers.selection import *
from grurt.network.layers.windows import *

if TYPE_CHECKING:  # star imports are exports, and any kind of layer is one
    AnyLayer = Layer
else:
    # The files that are imported above are attributes of this package.
    _FILES = [value for value in vars().values() if isinstance(value, ModuleType)]
    __all__ = sorted(name for file in _FILES for name in getattr(file, "__all__", ()))
    AnyLayer = Union[tuple(globals()[name] for name in __all__)]  # noqa: UP007 - of a number that is not known here
