"""The element types of tensors, as ONNX numbers them; nothing here needs the package onnx.

Source: ``TensorProto.DataType`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from grurt.errors import DesignReason, UnsupportedError

MAX_RANK = 16

NO_BFLOAT16 = "inputs and outputs of bfloat16 are float32, for NumPy has none"


class Element(IntEnum):
    """The element types that a network of floating point can hold."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    BFLOAT16 = 16


FLOATS = frozenset({Element.FLOAT, Element.DOUBLE, Element.FLOAT16, Element.BFLOAT16})

_NOT_NUMBERS = {8: "STRING", 14: "COMPLEX64", 15: "COMPLEX128"}
_NARROW = {17: "FLOAT8E4M3FN", 18: "FLOAT8E4M3FNUZ", 19: "FLOAT8E5M2", 20: "FLOAT8E5M2FNUZ", 21: "UINT4", 22: "INT4"}
_NARROW |= {23: "FLOAT4E2M1", 24: "FLOAT8E8M0", 25: "UINT2", 26: "INT2", 27: "FLOAT6E2M3", 28: "FLOAT6E3M2"}

STORED: dict[int, np.dtype[Any]] = {
    Element.FLOAT: np.dtype("<f4"),
    Element.DOUBLE: np.dtype("<f8"),
    Element.FLOAT16: np.dtype("<f2"),
    Element.BFLOAT16: np.dtype("<u2"),
    Element.INT64: np.dtype("<i8"),
    Element.UINT64: np.dtype("<u8"),
    Element.UINT32: np.dtype("<u4"),
    Element.UINT16: np.dtype("<u2"),
    Element.INT32: np.dtype("<i4"),
    Element.INT16: np.dtype("<i2"),
    Element.INT8: np.dtype("<i1"),
    Element.UINT8: np.dtype("<u1"),
    Element.BOOL: np.dtype("?"),
}
"""The NumPy dtypes that hold the bits of each."""


def dtype_of(data_type: int, where: str) -> np.dtype[Any]:
    """Return the NumPy dtype of an ONNX element type; bfloat16 is widened to float32. Raise UnsupportedError else."""
    if data_type not in STORED:
        raise element_type_error(data_type, where)
    return np.dtype(np.float32) if data_type == Element.BFLOAT16 else STORED[data_type]


def element_type_error(data_type: int, where: str) -> UnsupportedError:
    """Return the error that says which element type is not supported, and what to do."""
    name = (_NOT_NUMBERS | _NARROW).get(data_type, data_type)
    if data_type in _NOT_NUMBERS:
        return UnsupportedError(
            f"{where}: the element type {name} is not supported; turn such elements into numbers outside of the model",
            reason=DesignReason.ELEMENT_TYPE,
        )
    return UnsupportedError(
        f"{where}: the element type {name} is not supported; "
        "convert the model before it was quantized, with floating-point weights",
        reason=DesignReason.QUANTIZED,
    )
