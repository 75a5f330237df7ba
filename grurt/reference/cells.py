"""One timestep of the recurrent units, as their papers have them; of one vector, or of a batch along the first axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grurt.array_types import Doubles

Gate = Callable[[Doubles], Doubles]
"""An activation function."""

Parameters = tuple[Doubles, Doubles, Doubles, Doubles]
"""Weights of the input, weights of the state, and the bias beside each: the gates one after the other."""


def gru_cell(
    f: Gate, g: Gate, parameters: Parameters, x: Doubles, h: Doubles, *, linear_before_reset: bool
) -> tuple[Doubles]:
    """Cho et al. 2014; gates z, r, n."""
    (w_z, w_r, w_n), (r_z, r_r, r_n), (b_z, b_r, b_n), (c_z, c_r, c_n) = (np.split(each, 3) for each in parameters)
    z = f(x @ w_z.T + b_z + h @ r_z.T + c_z)
    r = f(x @ w_r.T + b_r + h @ r_r.T + c_r)
    remembered = r * (h @ r_n.T + c_n) if linear_before_reset else (r * h) @ r_n.T + c_n
    n = g(x @ w_n.T + b_n + remembered)
    return ((1 - z) * n + z * h,)


def lstm_cell(
    f: Gate, g: Gate, parameters: Parameters, x: Doubles, h: Doubles, cell: Doubles
) -> tuple[Doubles, Doubles]:
    """Hochreiter and Schmidhuber 1997, Gers et al. 2000; gates i, o, f, c."""
    (w_i, w_o, w_f, w_c), (r_i, r_o, r_f, r_c), (b_i, b_o, b_f, b_c), (d_i, d_o, d_f, d_c) = (
        np.split(each, 4) for each in parameters
    )
    i = f(x @ w_i.T + b_i + h @ r_i.T + d_i)
    forget = f(x @ w_f.T + b_f + h @ r_f.T + d_f)
    candidate = g(x @ w_c.T + b_c + h @ r_c.T + d_c)
    cell = forget * cell + i * candidate
    o = f(x @ w_o.T + b_o + h @ r_o.T + d_o)
    return o * g(cell), cell


def rnn_cell(f: Gate, parameters: Parameters, x: Doubles, h: Doubles) -> tuple[Doubles]:
    """Elman 1990."""
    w, r, b, c = parameters
    return (f(x @ w.T + b + h @ r.T + c),)
