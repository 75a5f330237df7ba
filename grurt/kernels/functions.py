"""Elementary functions on sixteen lanes.

The coefficients are minimax fits, made in float64 and rounded to float32; the error bounds stand in each docstring, are
absolute unless said otherwise, and are tested over the whole range of float32. In all of them NaN gives NaN.
"""

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.simd import fma, load_f32, magnitude, power_of_two, select_less, splat, split_exponent

_LOG2_E = 1.4426950408889634
# ln 2 in two parts: the first has trailing zeros, so that its product with a whole exponent is exact.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
# Adding and subtracting 1.5 * 2**23 rounds a float32 to the nearest whole number.
_ROUND = 12582912.0
_INFINITY = float("inf")
_LARGEST = 3.4028234663852886e38


@kernel
def limit(x, low, high):
    """``min(max(x, low), high)``; NaN stays NaN, because both comparisons with it are false."""
    x = select_less(x, low, low, x)
    return select_less(high, x, high, x)


@kernel
def tanh(x):
    """``tanh(x)``, error below 2.5e-7, within [-1, 1].

    ``x P(x^2) / Q(x^2)``, P and Q of degree 4, for |x| up to 9, where the quotient passes 1 and is limited to it.
    """
    x = limit(x, splat(-9.0), splat(9.0))
    t = x * x
    p = fma(splat(1.3727837533394904e-08), t, splat(2.0861632947344333e-05))
    p = fma(p, t, splat(0.0035102476831525564))
    p = fma(p, t, splat(0.13393139839172363))
    p = fma(p, t, splat(1.0))
    q = fma(splat(7.924248848212301e-07), t, splat(0.00033100880682468414))
    q = fma(q, t, splat(0.02593204937875271))
    q = fma(q, t, splat(0.46726447343826294))
    q = fma(q, t, splat(1.0))
    return limit(x * p / q, splat(-1.0), splat(1.0))


@kernel
def gate_sigmoid(x):
    """``1 / (1 + exp(-x))`` as ``1/2 + tanh(x/2) / 2``, error below 1.8e-7, within [0, 1].

    For gates: it is the fastest, and small results lose their relative precision.
    """
    return fma(tanh(x * splat(0.5)), splat(0.5), splat(0.5))


@kernel
def _exp_parts(x):
    """``(e, n)`` with ``exp(x) - 1 = 2**n * e + (2**n - 1)``, for x in [-87.3, 89]."""
    n = fma(x, splat(_LOG2_E), splat(_ROUND)) - splat(_ROUND)
    r = fma(n, splat(-_LN2_HIGH), x)
    r = fma(n, splat(-_LN2_LOW), r)
    return small_expm1(r), n


@kernel
def small_expm1(r):
    """``exp(r) - 1`` for |r| <= ln(2) / 2, relative error below 1e-7."""
    p = fma(splat(0.00019911027629859746), r, splat(0.0013947609113529325))
    p = fma(p, r, splat(0.008333278819918633))
    p = fma(p, r, splat(0.04166624695062637))
    p = fma(p, r, splat(0.1666666716337204))
    p = fma(p, r, splat(0.5))
    return fma(p, r * r, r)


@kernel
def exp(x):
    """``exp(x)``, relative error below 2e-7; 0 below -87.3, where results would be denormal; infinity above 88.73."""
    e, n = _exp_parts(limit(x, splat(-87.3), splat(89.0)))
    return select_less(x, splat(-87.3), splat(0.0), scaled_up(e, n))


@kernel
def scaled_up(e, n):
    """``2**n * (1 + e)`` for whole n in [-252, 254], infinity where that is too large.

    2**n is split in two: n goes up to 128 and more, where a float32 overflows.
    """
    half = fma(n, splat(0.5), splat(_ROUND)) - splat(_ROUND)
    first = power_of_two(half)
    second = power_of_two(n - half)
    return fma(e, first, first) * second


@kernel
def expm1(x):
    """``exp(x) - 1`` for x <= 0 (anything else for x > 0), relative error below 3e-7."""
    e, n = _exp_parts(limit(x, splat(-80.0), splat(0.0)))
    scale = power_of_two(n)
    return fma(e, scale, scale - splat(1.0))


@kernel
def log(x):
    """``log(x)`` for normal positive x, error below 1e-7 plus 1e-7 of the result."""
    exponent, mantissa = split_exponent(x)
    f = mantissa - splat(1.0)
    p = fma(splat(0.14231358468532562), f, splat(-0.15692654252052307))
    p = fma(p, f, splat(0.13949424028396606))
    p = fma(p, f, splat(-0.16350966691970825))
    p = fma(p, f, splat(0.20014429092407227))
    p = fma(p, f, splat(-0.25012022256851196))
    p = fma(p, f, splat(0.33333128690719604))
    p = fma(p, f, splat(-0.4999985694885254))
    result = fma(p, f * f, f)
    result = fma(exponent, splat(_LN2_LOW), result)
    return fma(exponent, splat(_LN2_HIGH), result)


@kernel
def sigmoid(x):
    """``1 / (1 + exp(-x))``, relative error below 4e-7, within [0, 1]: for outputs, where small results count."""
    return splat(1.0) / (splat(1.0) + exp(splat(0.0) - x))


@kernel
def softplus(x):
    """``log(1 + exp(x))`` as ``max(x, 0) + log1p(exp(-|x|))``, relative error below 5e-7; 0 below -87.3."""
    u = exp(splat(0.0) - magnitude(x))
    y = splat(1.0) + u
    # log(y) misses what the sum y = 1 + u has rounded away: add it to first order.
    tail = log(y) + (u - (y - splat(1.0))) / y
    return select_less(x, splat(0.0), splat(0.0), x) + tail


@kernel
def erfc(t):
    """``1 - erf(t)`` for t in [0, 11], relative error below 4e-7; from 9.4 on, 0.

    ``exp(-t^2) P(t) / Q(t)``, P and Q of degrees 4 and 5.
    """
    p = fma(splat(0.03271139785647392), t, splat(0.22881454229354858))
    p = fma(p, t, splat(0.7307572960853577))
    p = fma(p, t, splat(1.2376031875610352))
    p = fma(p, t, splat(1.0))
    q = fma(splat(0.05797873064875603), t, splat(0.4055900275707245))
    q = fma(q, t, splat(1.3237874507904053))
    q = fma(q, t, splat(2.4004740715026855))
    q = fma(q, t, splat(2.365983009338379))
    q = fma(q, t, splat(1.0))
    return exp(splat(0.0) - t * t) * p / q


@kernel
def gelu(x):
    """``x/2 (1 + erf(x / sqrt(2)))`` as ``max(x, 0) - |x|/2 erfc(|x| / sqrt(2))``.

    The error is below 1.5e-7 of max(1, |x|).
    """
    half_erfc = erfc(limit(magnitude(x) * splat(0.7071067811865476), splat(0.0), splat(11.0))) * splat(0.5)
    # Beyond 20 the product is zero; an infinite factor would make it NaN.
    return select_less(x, splat(0.0), splat(0.0), x) - limit(magnitude(x), splat(0.0), splat(20.0)) * half_erfc


@kernel
def gelu_tanh(x):
    """``x/2 (1 + tanh(u)) = x sigmoid(2u)``, ``u = sqrt(2/pi) (x + 0.044715 x^3)``, error below 2e-7 of max(1, |x|)."""
    u = fma(x * x * x, splat(0.044715), x) * splat(0.7978845608028654)
    return select_less(x, splat(-_LARGEST), splat(-_LARGEST), x) * sigmoid(u + u)


@kernel
def apply(code, parameters, x):
    """Element-wise function ``code`` (see `codes`) of x, with the two float32 at the address ``parameters``."""
    if code == codes.GATE_SIGMOID:
        return gate_sigmoid(x)
    if code == codes.TANH:
        return tanh(x)
    if code == codes.SIGMOID:
        return sigmoid(x)
    if code == codes.RELU:
        return select_less(x, splat(0.0), splat(0.0), x)
    a = splat(load_f32(parameters, 0))
    b = splat(load_f32(parameters, 1))
    if code == codes.LEAKY_RELU:
        return select_less(x, splat(0.0), a * x, x)
    if code == codes.THRESHOLDED_RELU:
        return select_less(a, x, x, select_less(x, splat(_INFINITY), splat(0.0), x))
    if code == codes.ELU:
        return select_less(x, splat(0.0), a * expm1(x), x)
    if code == codes.GELU:
        return gelu(x)
    if code == codes.GELU_TANH:
        return gelu_tanh(x)
    if code == codes.HARD_SIGMOID:
        return limit(fma(a, x, b), splat(0.0), splat(1.0))
    if code == codes.SCALED_TANH:
        return a * tanh(b * x)
    if code == codes.SOFTSIGN:
        return x / (splat(1.0) + magnitude(x))
    if code == codes.SOFTPLUS:
        return softplus(x)
    if code == codes.AFFINE:
        return fma(a, x, b)
    return limit(x, a, b)
