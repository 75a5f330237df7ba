"""Random numbers: the known answers of their authors, and what is drawn with them."""

from __future__ import annotations

import numpy as np
import pytest
import sampling
from numba import njit

from grurt.kernels import philox
from grurt.kernels.options import OPTIONS

KNOWN = [
    ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, 0xFFFFFFFFFFFFFFFF, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
"""Of Random123: ``kat_vectors``, philox4x32 of 10 rounds."""

_philox = njit(**OPTIONS)(philox.philox.py_func)
_uniform = njit(**OPTIONS)(philox.uniform.py_func)


def signed(number: int) -> int:
    return int(np.uint64(number).astype(np.int64))


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: int, words: str) -> None:
    expected = tuple(int(word, 16) for word in words.split())
    low, high = counter[0] | counter[1] << 32, counter[2] | counter[3] << 32
    assert tuple(_philox(signed(key), signed(low), signed(high))) == expected
    assert philox.philox.py_func(signed(key), signed(low), signed(high)) == expected
    assert sampling.philox(key, counter) == expected  # type: ignore[arg-type]


def test_uniform_numbers() -> None:
    rng = np.random.default_rng(0)
    for seed, step in zip(rng.integers(0, 2**63, 500), rng.integers(0, 2**62, 500), strict=True):
        assert _uniform(int(seed), int(step)) == sampling.uniform(int(seed), int(step))
    numbers = np.array([_uniform(5, step) for step in range(100_000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    # Chi-squared of 99 degrees of freedom: beyond 160 once in ten thousand seeds.
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 160
