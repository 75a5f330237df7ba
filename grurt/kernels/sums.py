"""Sums over the features of a row, in one order whatever the number of lanes.

There are sixteen partial sums, the ``j``-th of the features ``j``, ``j + 16``, and so on; then halves are added to
halves. A vector of sixteen lanes is all of them. Vectors of four take turns: the next features go to the first one.
"""

from grurt.kernels.options import kernel
from grurt.kernels.simd import fma, splat, sum_lanes
from grurt.lanes import LANES

PARTIAL_SUMS = 16

if LANES == PARTIAL_SUMS:

    @kernel
    def no_features():
        """The sums of nothing."""
        return splat(0.0)

    @kernel
    def add_features(sums, x):
        """Add the next features."""
        return sums + x

    @kernel
    def add_squares(sums, x):
        """Add the squares of the next features, each with one rounding."""
        return fma(x, x, sums)

    @kernel
    def add_products(sums, x, y):
        """Add the products of the next features, each with one rounding."""
        return fma(x, y, sums)

    @kernel
    def total(sums, size):
        """The sum, when vectors of ``size`` features have been added, zeros behind the last."""
        return sum_lanes(sums)

else:

    @kernel
    def no_features():
        """The sums of nothing."""
        return splat(0.0), splat(0.0), splat(0.0), splat(0.0)

    @kernel
    def add_features(sums, x):
        """Add the next features."""
        return sums[1], sums[2], sums[3], sums[0] + x

    @kernel
    def add_squares(sums, x):
        """Add the squares of the next features, each with one rounding."""
        return sums[1], sums[2], sums[3], fma(x, x, sums[0])

    @kernel
    def add_products(sums, x, y):
        """Add the products of the next features, each with one rounding."""
        return sums[1], sums[2], sums[3], fma(x, y, sums[0])

    @kernel
    def total(sums, size):
        """The sum, when vectors of ``size`` features have been added, zeros behind the last."""
        vectors = (size + LANES - 1) // LANES
        while vectors % (PARTIAL_SUMS // LANES):
            sums = sums[1], sums[2], sums[3], sums[0]
            vectors += 1
        return sum_lanes((sums[0] + sums[2]) + (sums[1] + sums[3]))
