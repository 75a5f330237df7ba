"""Types of arrays, by what they hold; shapes stand in docstrings.

They are what `numpy.typing.NDArray` stands for, without the import of that, which a start would wait for.
"""

from typing import Any

import numpy as np

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
Bytes = np.ndarray[tuple[Any, ...], np.dtype[np.uint8]]
Floats = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]
Doubles = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]
