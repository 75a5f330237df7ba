"""What a conversion may create and look through: in proportion to the file, so that a small one stays cheap."""

from __future__ import annotations

from grurt.converters.graph.nodes import Node
from grurt.errors import DesignReason

CREATED_PER_BYTE = 10
"""A byte of weights of 4 bits becomes two float32."""
CREATED_SPARE = 64 << 20
READ_PER_BYTE = 64
READ_SPARE = 4 << 30


class Budget:
    """Bytes that one interpretation of a graph may still create, and all of them together look through.

    They are taken before an array is made or read, from its shape. Views cost nothing.

    Parameters
    ----------
    size
        Bytes of the file, and of what it names beside it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._remaining = CREATED_PER_BYTE * size + CREATED_SPARE
        self._to_read = [READ_PER_BYTE * size + READ_SPARE]

    def anew(self) -> Budget:
        """Return the budget of one more interpretation, of what this one has left: what it created is still held.

        What may be looked through is that of all of them together.
        """
        other = Budget(self.size)
        other._remaining = self._remaining
        other._to_read = self._to_read
        return other

    def create(self, n_bytes: int, node: Node) -> None:
        """Take note that a node creates so many bytes; UnsupportedError if that is more than there may be."""
        if n_bytes > self._remaining:
            raise node.unsupported(
                f"the constants that the graph computes are too large, for a file of {self.size} bytes: more than "
                f"{CREATED_PER_BYTE} times as much, and {CREATED_SPARE >> 20} MiB",
                "compute them before the export, or keep them out of the model",
                DesignReason.SIZE,
            )
        self._remaining -= n_bytes

    def read(self, n_bytes: int, node: Node) -> None:
        """Take note that a node looks through so many bytes; UnsupportedError if that is more than there may be."""
        self._to_read[0] -= n_bytes
        if self._to_read[0] < 0:
            raise node.unsupported(
                f"the nodes look through large constants too often, for a file of {self.size} bytes",
                "store what they have in common once, in the form in which it is needed",
                DesignReason.SIZE,
            )
