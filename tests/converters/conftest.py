"""What holds for the tests of converters."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _same_numbers_whatever_ran_before() -> None:
    """Seed torch, so that the inputs of a test do not depend on which tests ran before it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(17)
