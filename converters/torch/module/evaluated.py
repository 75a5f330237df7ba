"""Runs modules as they are in evaluation mode, and leaves them as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put the module and its parts into evaluation mode, without gradients, and back into what each was in."""
    training = {part: part.training for part in module.modules()}
    try:
        module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode


def flat_tensors(result: object) -> list[Tensor]:
    """Return the tensors that a module returned, out of tuples and lists, in the order in which torch exports them."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, tuple | list):
        return [tensor for part in result for tensor in flat_tensors(part)]
    return []
