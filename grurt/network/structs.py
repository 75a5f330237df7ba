"""The structs that models are described with."""

from functools import cache

import msgspec


@cache
def struct_fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return a struct's fields: looked up once, since their annotations are evaluated for it."""
    return msgspec.structs.fields(kind)
