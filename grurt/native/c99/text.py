"""How numbers, arrays and comments are written in C."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from grurt.array_types import Array

WIDTH = 110

C_TYPES = {
    "float32": "float",
    "float16": "uint16_t",
    **{name: f"{name}_t" for name in ("int8", "uint8", "int32", "int64")},
}
"""The type of the elements of an array, by its dtype."""


def literal(number: float | np.floating) -> str:
    """Return a number, rounded to float32, as the shortest text that stands for it.

    Examples
    --------
    >>> literal(0.1), literal(1), literal(-1e30), literal(float("inf"))
    ('0.1f', '1.0f', '-1e+30f', 'INFINITY')
    """
    value = np.float32(number)
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{value!s}f"


def constant(name: str, array: Array, *, place: str = "") -> str:
    """Return the definition of a read-only array; ``place`` may say where it lies."""
    dimensions = "".join(f"[{size}]" for size in array.shape)
    where = f" {place}" if place else ""
    return f"static const {C_TYPES[array.dtype.name]} {name}{dimensions}{where} = {_initializer(array)};\n"


def _initializer(array: Array, depth: int = 1) -> str:
    indent = "    " * depth
    if array.ndim == 1:
        numbers = ", ".join(map(_number, array))
        lines = textwrap.wrap(numbers, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
        if len(lines) == 1 and depth > 1:
            return f"{{{numbers}}}"
        return "{\n" + "\n".join(indent + line for line in lines) + f"\n{indent[4:]}}}"
    rows = ",\n".join(indent + _initializer(row, depth + 1) for row in array)
    return f"{{\n{rows}\n{indent[4:]}}}"


def _number(number: np.generic) -> str:
    if isinstance(number, np.float16):
        return f"0x{number.view(np.uint16):x}"
    return literal(number) if isinstance(number, np.floating) else str(number)


def comment(lines: Iterable[str]) -> str:
    """Return a comment of some lines, whatever they hold."""
    printable = (re.sub(r"[^ -~]", "?", line) for line in lines)
    safe = [re.sub(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)", " ", line) for line in printable]
    return "/* " + "\n   ".join(safe).replace("   \n", "\n") + " */\n"


def quoted(text: str) -> str:
    """Return a text as it stands in a comment that others frame: letters, digits and what is harmless."""
    return re.sub(r"[^\w .,:()+-]", "_", text, flags=re.ASCII)


def indented(lines: Iterable[str], depth: int = 1) -> str:
    """Return lines, some of which may be several, each further to the right."""
    return textwrap.indent("\n".join(lines), "    " * depth)


def index(start: int, strides: Sequence[int], names: Sequence[str]) -> str:
    """Return the expression of a place: a start, and counters times strides.

    Examples
    --------
    >>> index(5, [16, 1, 0, -2], ["i", "j", "k", "l"])
    '16 * i + j - 2 * l + 5'
    """
    terms = [
        (stride < 0, name if abs(stride) == 1 else f"{abs(stride)} * {name}")
        for stride, name in zip(strides, names, strict=True)
        if stride
    ]
    terms += [(start < 0, str(abs(start)))] if start or not terms else []
    (is_negative, first), *others = terms
    return ("-" if is_negative else "") + first + "".join(f" {'-' if each else '+'} {term}" for each, term in others)


def mentions(name: str, body: str) -> bool:
    """Return whether a text of C has a name that is no member's."""
    return re.search(rf"(?<!->)\b{name}\b", body) is not None


def named(content: str, name: str) -> str:
    """Return a text with a model's name in place of the prefix."""
    content = re.sub(r"\bgrurt_", f"{name}_", content)
    content = re.sub(r"\bGRURT_", f"{name.upper()}_", content)
    return content.replace('#include "grurt.h"', f'#include "{name}.h"')


def kept_apart(content: str, name: str) -> str:
    """Return a text whose variables are not called as its functions are once these have a model's name.

    A graph's value may begin with the name of the model: in Keras, most do.

    Examples
    --------
    >>> kept_apart("y[i] = grurt_tanh(model_tanh[i] + state->model_tanh[i]);", "model")
    'y[i] = grurt_tanh(model_tanh_[i] + state->model_tanh[i]);'
    """
    own = set(re.findall(r"\bgrurt_(\w+)", content))
    others = set(re.findall(rf"(?<!->)\b{name}_(\w+)", content))
    for clashing in sorted(own & others):
        new = f"{clashing}_"
        while new in own | others:
            new += "_"
        content = re.sub(rf"(?<!->)\b{name}_{clashing}\b", f"{name}_{new}", content)
    return content
