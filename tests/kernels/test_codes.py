"""The numbers that lowering and kernels agree on."""

from __future__ import annotations

import pytest

from grurt.kernels import codes


def numbers(prefix: str) -> list[int]:
    return [value for name, value in vars(codes).items() if name.startswith(prefix) and name != f"{prefix}SLOTS"]


@pytest.mark.parametrize(
    ("prefix", "count"), [("OP_", codes.OP_SLOTS), ("PORT_", codes.PORT_SLOTS), ("CONTEXT_", codes.CONTEXT_PORTS + 1)]
)
def test_every_slot_has_a_number_of_its_own(prefix: str, count: int) -> None:
    """So that no kernel can read, under another name, what was written for another kind of operation."""
    assert sorted(numbers(prefix)) == list(range(count))
