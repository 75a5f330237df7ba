"""Tensors and storages as a checkpoint names them, and the arrays that they stand for.

A checkpoint keeps numbers in *storages*, flat arrays of one dtype. A tensor is a view of a storage: an offset, a size
and strides. Several tensors may share a storage, and only the storages of the tensors that are asked for are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from grurt.array_types import Array
from grurt.converters.torch.checkpoint.numpy_arrays import FUNCTIONS, NumpyArray
from grurt.converters.torch.checkpoint.pickles import Function, Global, Opaque
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_INTEGER = 1 << 48
MAX_AXES = 16
MAX_SHARED = 1 << 21
"""How many elements the tensors of a file may have beyond the file's bytes, by sharing and expanding storages."""

_PERSISTENT_PARTS = 6
"""A kind, a type, a key, a device, a size, and what it is a view of. A pickled module has four parts."""

_MAX_KEY = 200

_NUMPY_DTYPES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "u1",
}

_STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}


@dataclass(frozen=True, slots=True)
class StorageReference:
    """A storage by its key in the checkpoint: ``size`` elements of ``dtype``."""

    dtype: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class TensorReference:
    """A view of a storage, in elements of ``dtype``."""

    storage: StorageReference
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def storage_reference(persistent_id: object) -> object:
    """Return what a persistent id of ``torch.save`` stands for: a storage, or the class of a pickled module."""
    if not isinstance(persistent_id, tuple) or not 2 <= len(persistent_id) <= _PERSISTENT_PARTS:
        raise ValueError("a persistent id that names no storage")
    if persistent_id[0] == "module":
        return persistent_id[1]
    kind, storage_type, key, _device, size, *view = persistent_id
    named = isinstance(storage_type, Global) and isinstance(key, str) and len(key) <= _MAX_KEY
    if kind != "storage" or not named:
        raise ValueError("a persistent id that names no storage")
    if view and view[0] is not None:
        raise UnsupportedError(
            "checkpoint: expected storages of their own, got one that is a view of another, as torch before 0.4 "
            "wrote them; load and save the file with a newer torch"
        )
    type_name = storage_type.name.rpartition(".")[2]
    return StorageReference(_STORAGE_DTYPES.get(type_name, type_name), key, _integer(size))


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> TensorReference:
    if not isinstance(storage, StorageReference):
        raise TypeError("a tensor without a storage")
    return TensorReference(storage, storage.dtype, _integer(offset), _integers(size), _integers(stride))


def _rebuild_tensor_v3(*arguments: object) -> TensorReference:
    tensor, dtype = _rebuild_tensor(*arguments[:4]), arguments[6]
    if not isinstance(dtype, Global):
        raise TypeError("a tensor without a dtype")
    return TensorReference(tensor.storage, dtype.name.removeprefix("torch."), tensor.offset, tensor.size, tensor.stride)


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


def _rebuild_from_type(function: object, _type: object, arguments: object, *_: object) -> object:
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise TypeError("a tensor subclass that names no function")
    return _REBUILD[function.name](*arguments) if function.name in _REBUILD else Opaque(function.name)


def _size(size: object = ()) -> tuple[int, ...]:
    return _integers(size)


def _ordered_dict(pairs: object = ()) -> dict[str, object]:
    if not isinstance(pairs, list | tuple):
        raise TypeError("an OrderedDict of something else than pairs")
    return {key: value for key, value in pairs if isinstance(key, str)}


def _empty_dict(*_: object) -> dict[str, object]:
    return {}


_REBUILD: Mapping[str, Function] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
}

ALLOWED: Mapping[str, Function] = {
    **_REBUILD,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": _size,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _empty_dict,
    **FUNCTIONS,
}
"""Everything that a checkpoint's pickle may call: pure functions of this room."""


def _integer(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_INTEGER:
        raise ValueError("a size, offset or stride out of range")
    return value


def _integers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > MAX_AXES:
        raise ValueError(f"sizes or strides of more than {MAX_AXES} axes")
    return tuple(_integer(value) for value in values)


def item_size(name: str, dtype: str) -> int:
    """Return the bytes of one element; UnsupportedError for a dtype that no weight of a network has."""
    if dtype not in _NUMPY_DTYPES:
        raise UnsupportedError(
            f"tensor {name!r}: expected one of the dtypes {', '.join(_NUMPY_DTYPES)}, got {dtype!r}; "
            "convert the float32 model instead",
            reason=DesignReason.QUANTIZED if dtype.startswith(("q", "float8", "uint4")) else DesignReason.ELEMENT_TYPE,
        )
    return np.dtype(_NUMPY_DTYPES[dtype]).itemsize


def decode(raw: bytes | memoryview, dtype: str, byte_order: str = "<") -> Array:
    """Return the numbers of a storage: floating point of any width as float32, integers as they are."""
    numbers = np.frombuffer(raw, np.dtype(byte_order + _NUMPY_DTYPES[dtype]))
    if dtype == "bfloat16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    if numbers.dtype.kind != "f":
        return numbers
    with np.errstate(all="ignore"):  # what is no float32 becomes infinite or NaN; the model refuses it by name
        return numbers.astype(np.float32, copy=False)


class TensorReader:
    """Turns references into arrays, reading and decoding each storage once.

    Parameters
    ----------
    read_storage
        The bytes of the storage of that key; ConversionError if the file has none.
    file_size
        Bytes of the file, which bound the elements of all tensors together.
    byte_order
        ``"<"`` or ``">"``.
    """

    def __init__(
        self, read_storage: Callable[[str], bytes | memoryview], file_size: int, byte_order: str = "<"
    ) -> None:
        self._read_storage = read_storage
        self._byte_order = byte_order
        self._elements_left = file_size + MAX_SHARED
        self._decoded: dict[tuple[str, str], Array] = {}

    def array(self, name: str, tensor: TensorReference) -> Array:
        """Return the tensor as a read-only view of its storage, of the tensor's shape."""
        storage = self._storage(name, tensor)
        last = tensor.offset + sum((d - 1) * s for d, s in zip(tensor.size, tensor.stride, strict=False))
        empty = 0 in tensor.size
        if len(tensor.size) != len(tensor.stride) or (not empty and last >= storage.size):
            raise ConversionError(
                f"tensor {name!r}: expected a view inside its storage of {storage.size} elements, got "
                f"offset {tensor.offset}, size {tensor.size}, strides {tensor.stride}; the file is damaged"
            )
        self._take(name, tensor.size)
        if empty:
            return np.zeros(tensor.size, storage.dtype)
        strides = tuple(step * storage.itemsize for step in tensor.stride)
        return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.size, strides, writeable=False)

    def leaf(self, name: str, leaf: TensorReference | NumpyArray | float) -> Array:
        """Return what lies in a checkpoint as an array: a tensor, one of NumPy's, or a number."""
        if isinstance(leaf, TensorReference):
            return self.array(name, leaf)
        if not isinstance(leaf, NumpyArray):
            return np.array(leaf, np.float32 if isinstance(leaf, float) or abs(leaf) >= MAX_INTEGER else np.int64)
        self._take(name, leaf.shape or ())
        return leaf.read(name)

    def _take(self, name: str, size: tuple[int, ...]) -> None:
        """Raise ConversionError if all arrays together are larger than the file could be."""
        self._elements_left -= math.prod(max(d, 1) for d in size)
        if self._elements_left < 0:
            raise ConversionError(
                f"tensor {name!r}: expected tensors that fit into the file, got the size {size}; "
                "the file is damaged or hostile"
            )

    def _storage(self, name: str, tensor: TensorReference) -> Array:
        reference = tensor.storage
        if (reference.key, tensor.dtype) not in self._decoded:
            size_bytes = reference.size * item_size(name, reference.dtype)
            size_bytes -= size_bytes % item_size(name, tensor.dtype)
            raw = memoryview(self._read_storage(reference.key))
            if len(raw) < size_bytes:
                raise ConversionError(
                    f"tensor {name!r}: expected a storage of {size_bytes} bytes, got {len(raw)}; the file is damaged"
                )
            self._decoded[reference.key, tensor.dtype] = decode(raw[:size_bytes], tensor.dtype, self._byte_order)
        return self._decoded[reference.key, tensor.dtype]
