"""The structs that models are described with."""

from collections.abc import Iterator
from typing import Any

import msgspec


def fields_of(struct: msgspec.Struct) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the value and the default of each field; the default is NODEFAULT where there is none.

    `msgspec.structs.fields` would evaluate their types for it.
    """
    names, defaults = struct.__struct_fields__, struct.__struct_defaults__
    required = (msgspec.NODEFAULT,) * (len(names) - len(defaults))
    for name, default in zip(names, (*required, *defaults), strict=True):
        yield name, getattr(struct, name), default
