"""What holds for the tests of converters."""

import sys
from importlib import import_module

import pytest


@pytest.fixture(autouse=True)
def _same_numbers_whatever_ran_before() -> None:
    """Seed torch, so that the inputs of a test do not depend on which tests ran before it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(17)


@pytest.fixture
def processes_of_their_own() -> None:
    """Let frameworks answer in processes of their own, as they do for users."""


@pytest.fixture(autouse=True)
def _answers_in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let frameworks answer in this process, except where a test is about that: a start takes as long as many tests."""
    if "processes_of_their_own" not in request.fixturenames:
        monkeypatch.setattr("grurt.converters.onnx.inference.ask", _asked_here)


def _asked_here(library: str, module: str, question: bytes) -> bytes:
    answer: bytes = import_module(module).answer(question)
    return answer
