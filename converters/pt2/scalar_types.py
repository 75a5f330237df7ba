"""torch's dtypes by the numbers of ``ScalarType`` in its export schema."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.converters.graph.elements import Element

DTYPES: Mapping[int, str] = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
}

_ELEMENTS: Mapping[str, Element] = {
    "float32": Element.FLOAT,
    "float64": Element.DOUBLE,
    **{name: Element[name.upper()] for name in DTYPES.values() if name not in ("float32", "float64")},
}


def element_of(number: int) -> Element:
    """Return the element type that ONNX has for a dtype."""
    return _ELEMENTS[DTYPES[number]]


def is_integer(number: int | None) -> bool:
    """Say whether a dtype is of integers; None is torch's default, floating point."""
    return number is not None and "int" in DTYPES.get(number, "")
