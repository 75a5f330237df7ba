"""Sizes in memory: values and states are padded to whole vectors."""

from grurt.lanes import LANES


def padded(size: int) -> int:
    """Return a size rounded up to whole vectors."""
    return -(-size // LANES) * LANES
