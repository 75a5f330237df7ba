"""Sizes in memory, as the engine keeps things: everything is padded to whole vectors."""

from grurt.lanes import LANES

F32_BYTES = 4
_VECTOR_BYTES = F32_BYTES * LANES
_MOST_LANES = 16


def padded(size: int) -> int:
    """Return a size rounded up to whole vectors."""
    return -(-size // LANES) * LANES


def row_bytes(size: int) -> int:
    """Return the bytes of so many float32 features, padded to whole vectors."""
    return F32_BYTES * padded(size)


def record_bytes(size: int) -> int:
    """Return the room for so many features as bytes (see `grurt.kernels.quantize`), in whole vectors."""
    return _VECTOR_BYTES + -(-size // _VECTOR_BYTES) * _VECTOR_BYTES


def panel_bytes(outputs: int, inputs: int, weight_format: str) -> int:
    """Return the bytes of the weights of panels (see `grurt.kernels.panels`) of so many outputs, padded already."""
    match weight_format:
        case "float32":
            return outputs * 4 * inputs
        case "float16":
            return outputs * 2 * inputs
        case "int8":
            return outputs * (8 + 4 * -(-inputs // 4))
    return outputs * (8 + 4 * -(-inputs // 8))


def context_numbers(size: int) -> int:
    """Return how many float32 of a context's memory so many take that a layer reads, whatever the vectors' size.

    A vector may be read that begins with the last number.
    """
    return -(-size // _MOST_LANES) * _MOST_LANES + _MOST_LANES
