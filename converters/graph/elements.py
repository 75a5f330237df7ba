"""The element types of tensors, as ONNX numbers them; nothing here needs the package onnx.

Source: ``TensorProto.DataType`` of the ONNX specification (onnx/onnx.proto).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from grurt.errors import DesignReason, UnsupportedError

MAX_RANK = 16


class Element(IntEnum):
    """The element types that a network of floating point can hold."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    INT16 = 5
    INT32 = 6
    INT64 = 7
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    BFLOAT16 = 16


_NO_NUMBERS = {8: "STRING", 14: "COMPLEX64", 15: "COMPLEX128"}
_OTHERS = {4: "UINT16", 12: "UINT32", 13: "UINT64", **_NO_NUMBERS}
_OTHERS |= {17: "FLOAT8E4M3FN", 18: "FLOAT8E4M3FNUZ", 19: "FLOAT8E5M2", 20: "FLOAT8E5M2FNUZ", 21: "UINT4", 22: "INT4"}

STORED: dict[int, np.dtype[Any]] = {
    Element.FLOAT: np.dtype("<f4"),
    Element.DOUBLE: np.dtype("<f8"),
    Element.FLOAT16: np.dtype("<f2"),
    Element.BFLOAT16: np.dtype("<u2"),
    Element.INT64: np.dtype("<i8"),
    Element.INT32: np.dtype("<i4"),
    Element.INT16: np.dtype("<i2"),
    Element.INT8: np.dtype("<i1"),
    Element.UINT8: np.dtype("<u1"),
    Element.BOOL: np.dtype("?"),
}
"""The NumPy dtypes that hold the bits of each."""


_NOT_QUANTIZED = "convert the model before it was quantized, with floating-point weights"


def dtype_of(data_type: int, where: str) -> np.dtype[Any]:
    """Return the NumPy dtype of an ONNX element type; bfloat16 is widened to float32. Raise UnsupportedError else."""
    if data_type not in STORED:
        is_no_number = data_type in _NO_NUMBERS
        raise UnsupportedError(
            f"{where}: the element type {_OTHERS.get(data_type, data_type)} is not supported; "
            + ("turn such elements into numbers outside of the model" if is_no_number else _NOT_QUANTIZED),
            reason=DesignReason.ELEMENT_TYPE if is_no_number else DesignReason.QUANTIZED,
        )
    return np.dtype(np.float32) if data_type == Element.BFLOAT16 else STORED[data_type]
