"""Kinds of floating-point numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_denormal(array: Any) -> Any:
    return (array != 0) & (np.abs(array) < np.finfo(np.float32).tiny)
