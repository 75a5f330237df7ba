"""FarmHash's 64-bit fingerprint (Pike and Alakuijala, 2014), by which TensorFlow sends unknown words to buckets."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_BLOCK = 64


def fingerprint(data: bytes) -> int:
    """Return the fingerprint of bytes, in [0, 2^64).

    Examples
    --------
    >>> fingerprint(b"word") % 3, fingerprint(b"") % 3
    (0, 2)
    """
    if len(data) <= 16:
        return _of_short(data)
    if len(data) <= 32:
        return _of_two_pairs(data)
    return _of_four_pairs(data) if len(data) <= _BLOCK else _of_long(data)


def _word(data: bytes, at: int, size: int = 8) -> int:
    """Return the number in some bytes, the first of which is the lowest; places below 0 count from the end."""
    start = at if at >= 0 else len(data) + at
    return int.from_bytes(data[start : start + size], "little")


def _turned(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << 64 - by) & _MASK


def _mixed(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _joined(low: int, high: int, factor: int) -> int:
    """Return one number of two."""
    first = _mixed((low ^ high) * factor)
    return _mixed((high ^ first) * factor) * factor & _MASK


def _of_short(data: bytes) -> int:
    count = len(data)
    factor = _K2 + 2 * count
    if count >= 8:
        low, high = _word(data, 0) + _K2, _word(data, -8)
        return _joined((_turned(high, 37) * factor + low) & _MASK, (_turned(low, 25) + high) * factor & _MASK, factor)
    if count >= 4:
        return _joined(count + (_word(data, 0, 4) << 3), _word(data, -4, 4), factor)
    if count:
        first, middle, last = data[0], data[count >> 1], data[-1]
        return _mixed((first + (middle << 8)) * _K2 & _MASK ^ (count + (last << 2)) * _K0 & _MASK) * _K2 & _MASK
    return _K2


def _of_two_pairs(data: bytes) -> int:
    factor = _K2 + 2 * len(data)
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, -8) * factor, _word(data, -16) * _K2
    return _joined((_turned(a + b, 43) + _turned(c, 30) + d) & _MASK, (a + _turned(b + _K2, 18) + c) & _MASK, factor)


def _of_four_pairs(data: bytes) -> int:
    factor = _K2 + 2 * len(data)
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, -8) * factor, _word(data, -16) * _K2
    y = (_turned(a + b, 43) + _turned(c, 30) + d) & _MASK
    z = _joined(y, (a + _turned(b + _K2, 18) + c) & _MASK, factor)
    e, f = _word(data, 16) * factor, _word(data, 24)
    g, h = (y + _word(data, -32)) * factor, (z + _word(data, -24)) * factor
    return _joined((_turned(e + f, 43) + _turned(g, 30) + h) & _MASK, (e + _turned(f + a, 18) + g) & _MASK, factor)


def _of_long(data: bytes) -> int:
    seed = 81
    x, y = (seed * _K2 + _word(data, 0)) & _MASK, (seed * _K1 + 113) & _MASK
    z = _mixed(y * _K2 + 113) * _K2 & _MASK
    v, w = (0, 0), (0, 0)
    blocks = (len(data) - 1) // _BLOCK
    for start in range(0, blocks * _BLOCK, _BLOCK):
        x = _turned(x + y + v[0] + _word(data, start + 8), 37) * _K1 ^ w[1]
        y = (_turned(y + v[1] + _word(data, start + 48), 42) * _K1 + v[0] + _word(data, start + 40)) & _MASK
        z = _turned(z + w[0], 33) * _K1 & _MASK
        v = _pair(data, start, v[1] * _K1, x + w[0])
        w = _pair(data, start + 32, z + w[1], y + _word(data, start + 16))
        z, x = x & _MASK, z
    last = len(data) - _BLOCK
    factor = (_K1 + ((z & 0xFF) << 1)) & _MASK
    w = (w[0] + (len(data) - 1 & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _turned(x + y + v[0] + _word(data, last + 8), 37) * factor ^ w[1] * 9
    y = (_turned(y + v[1] + _word(data, last + 48), 42) * factor + v[0] * 9 + _word(data, last + 40)) & _MASK
    z = _turned(z + w[0], 33) * factor & _MASK
    v = _pair(data, last, v[1] * factor, x + w[0])
    w = _pair(data, last + 32, z + w[1], y + _word(data, last + 16))
    z, x = x & _MASK, z
    return _joined(
        (_joined(v[0], w[0], factor) + _mixed(y) * _K0 + z) & _MASK,
        (_joined(v[1], w[1], factor) + x) & _MASK,
        factor,
    )


def _pair(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Return two numbers of 32 bytes and two numbers."""
    first, second, third, fourth = (_word(data, at + 8 * place) for place in range(4))
    a += first
    b = _turned(b + a + fourth, 21)
    c = a
    a += second + third
    b += _turned(a, 44)
    return (a + fourth) & _MASK, (b + c) & _MASK
