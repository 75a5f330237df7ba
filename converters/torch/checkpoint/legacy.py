"""Checkpoints in the format that ``torch.save`` wrote before torch 1.6: pickles one after the other, then storages.

::

    pickle   a magic number
    pickle   the protocol, 1001
    pickle   {"protocol_version": 1001, "little_endian": True, "type_sizes": {...}}
    pickle   the object, with persistent ids in place of storages
    pickle   the storages' keys, in the order in which their bytes follow
    then for each key: the number of elements, an int64, and the elements
"""

from __future__ import annotations

from grurt.converters.torch.checkpoint.pickles import read_pickle
from grurt.converters.torch.checkpoint.tensors import (
    ALLOWED,
    StorageReference,
    TensorReader,
    item_size,
    storage_reference,
)
from grurt.errors import ConversionError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_checkpoint(data: bytes) -> tuple[object, TensorReader]:
    """Return the pickled object, with references in place of tensors, and the reader that resolves them."""
    storages: dict[str, StorageReference] = {}

    def remember(persistent_id: object) -> object:
        reference = storage_reference(persistent_id)
        if isinstance(reference, StorageReference):
            storages[reference.key] = reference
        return reference

    magic, position = read_pickle(data, {})
    protocol, position = read_pickle(data, {}, start=position)
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise ConversionError("checkpoint: expected torch's magic number, got another pickle; save with torch.save")
    system, position = read_pickle(data, {}, start=position)
    checkpoint, position = read_pickle(data, ALLOWED, remember, start=position)
    keys, position = read_pickle(data, {}, start=position)
    little = not isinstance(system, dict) or system.get("little_endian") is not False
    raw = _storages(memoryview(data), position, keys, storages)
    return checkpoint, TensorReader(lambda key: _storage(raw, key), len(data), "<" if little else ">")


def _storages(
    data: memoryview, position: int, keys: object, storages: dict[str, StorageReference]
) -> dict[str, memoryview]:
    if not isinstance(keys, list):
        raise ConversionError("checkpoint: expected a list of storage keys; the file is damaged")
    raw = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise ConversionError("checkpoint: expected keys of storages in use, got another; the file is damaged")
        end = position + 8 + storages[key].size * item_size(f"storage {key}", storages[key].dtype)
        if end > len(data) or int.from_bytes(data[position : position + 8], "little") != storages[key].size:
            raise ConversionError(
                f"checkpoint: expected {storages[key].size} elements in the storage {key!r}, "
                "got another number or the end of the file; the file is damaged"
            )
        raw[key] = data[position + 8 : end]
        position = end
    return raw


def _storage(raw: dict[str, memoryview], key: str) -> memoryview:
    if key not in raw:
        raise ConversionError(f"checkpoint: expected a storage {key!r}, got none; the file is incomplete")
    return raw[key]
