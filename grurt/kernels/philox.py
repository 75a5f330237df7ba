"""Random numbers that are a function of a key and a counter: Philox4x32-10.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011. The key is the seed of 64 bits, its low half first;
the counter is the number of a timestep in its two lower words, and 0 above. So a number can be drawn again, out of
order, or on another CPU. Words are whole numbers of 32 bits in int64.
"""

from numpy import float64

from grurt.kernels.options import kernel

_WORD = 0xFFFFFFFF
_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_ROUNDS = 10


@kernel
def philox(seed, counter_low, counter_high):
    """Four words of a key of 64 bits, for a counter of two such numbers."""
    k0, k1 = seed & _WORD, seed >> 32 & _WORD
    c0, c1 = counter_low & _WORD, counter_low >> 32 & _WORD
    c2, c3 = counter_high & _WORD, counter_high >> 32 & _WORD
    for _ in range(_ROUNDS):
        # Products of 64 bits, whose upper half is what is above, whatever an int64 takes for its sign.
        first, second = _MULTIPLIER_0 * c0, _MULTIPLIER_1 * c2
        c0, c2 = second >> 32 & _WORD ^ c1 ^ k0, first >> 32 & _WORD ^ c3 ^ k1
        c1, c3 = second & _WORD, first & _WORD
        k0, k1 = k0 + _WEYL_0 & _WORD, k1 + _WEYL_1 & _WORD
    return c0, c1, c2, c3


@kernel
def uniform(seed, step):
    """A number in ``[0, 1)`` for a timestep: 53 bits of the first two words, as float64."""
    first, second, _, _ = philox(seed, step, 0)
    return float64((first >> 5) * 67108864 + (second >> 6)) * float64(1.1102230246251565e-16)
