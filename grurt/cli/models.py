"""Loads models for the commands that compute."""

from pathlib import Path
from typing import TYPE_CHECKING

from grurt.cli import interrupts

if TYPE_CHECKING:
    from grurt.model import Model


def load_model(path: Path) -> "Model":
    """Return a model, and the engine ready for it; KeyboardInterrupt if there was a Ctrl-C meanwhile."""
    from grurt.loading import load

    model = load(path)
    interrupts.check()
    return model
