"""Operators of older versions of ONNX, as those of today: what a graph of `converters.graph` is made of."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.converters.graph.nodes import ALL_AXES, Attribute

OLDEST = 7

_SOFTMAX_OF_ONE_AXIS = 13
"""Before this version, Softmax and LogSoftmax worked on all axes from ``axis`` on, by default from the second."""


def modernized(op: str, attributes: Mapping[str, Attribute], version: int) -> dict[str, Attribute]:
    """Return the attributes that say today what an operator's attributes said in another version.

    Inputs that used to be attributes, as ``axes`` of Squeeze, are read in either form: see `parameters`.
    """
    if op in ("Softmax", "LogSoftmax") and version < _SOFTMAX_OF_ONE_AXIS:
        return {"axis": 1, **attributes, ALL_AXES: 1}
    return dict(attributes)
