"""How many bytes numbers take."""

from grurt.lanes import LANES

F16_BYTES = 2
F32_BYTES = 4
I64_BYTES = 8
VECTOR_BYTES = F32_BYTES * LANES

TEMPORARY_BYTES = 4 * VECTOR_BYTES
"""Of what the steps of a program have in front of their bases."""
