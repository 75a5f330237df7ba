"""PyTorch's order of a GRU's gates and grurt's: see the table in `grurt.network.layers`."""

from __future__ import annotations

import numpy as np

from grurt.array_types import Array


def zrn_from_rzn(blocks: Array) -> Array:
    """Return the gate blocks r, z, n of PyTorch in grurt's order z, r, n.

    The row of the table: "PyTorch ``nn.GRU``: r, z, n; rows of ``(3 * hidden, k)``; a bias r, z, n".
    """
    r, z, n = np.split(blocks, 3)
    return np.concatenate([z, r, n])


def rzn_from_zrn(blocks: Array) -> Array:
    """Return the gate blocks z, r, n of grurt in PyTorch's order r, z, n: the same two blocks change places."""
    return zrn_from_rzn(blocks)


def iofc_from_ifco(blocks: Array) -> Array:
    """Return the gate blocks i, f, c, o of PyTorch's LSTM in the order of ONNX, i, o, f, c."""
    i, f, c, o = np.split(blocks, 4)
    return np.concatenate([i, o, f, c])
