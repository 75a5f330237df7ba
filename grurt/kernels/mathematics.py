"""Functions of mathematics on sixteen lanes: those that layers have and no gate.

As in `grurt.kernels.functions`, coefficients are minimax fits, error bounds are absolute unless said otherwise and hold
over the whole range of float32, NaN gives NaN, and results that would be denormal may be 0.
"""

import math

from grurt.kernels import codes
from grurt.kernels.functions import erfc, exp, limit, log, scaled_up, small_expm1
from grurt.kernels.options import kernel
from grurt.kernels.simd import (
    copy_sign,
    fma,
    load_f32,
    magnitude,
    select_equal,
    select_less,
    splat,
    split_angle,
    split_exponent,
    square_root,
)

_INFINITY = math.inf
_NAN = math.nan
_LARGEST = 3.4028234663852886e38
_LEAST_NORMAL = 1.1754943508222875e-38
# What makes any denormal number a normal one, and its logarithms.
_LIFT = 16777216.0
_LOG2_LIFT = 24.0
_LN_LIFT = 16.635532333438686
_LN2 = 0.6931471805599453
# 2 / ln 2 in two parts.
_LOG2_HIGH = 2.885390043258667
_LOG2_LOW = 3.851925555e-8
_HALF_PI = 1.5707963267948966
_QUARTER_PI = 0.7853981633974483
# From here on every float32 is whole.
_WHOLE = 8388608.0


@kernel
def natural_log(x):
    """``log(x)``, error below 1e-7 or 1.2e-7 of the result; -infinity at 0, NaN below."""
    is_tiny = splat(_LEAST_NORMAL)
    result = log(select_less(x, is_tiny, x * splat(_LIFT), x)) - select_less(x, is_tiny, splat(_LN_LIFT), splat(0.0))
    result = select_less(splat(_LARGEST), x, x, result)
    result = select_equal(x, splat(0.0), splat(-_INFINITY), result)
    result = select_less(x, splat(0.0), splat(_NAN), result)
    return select_equal(x, x, result, x)


@kernel
def sign(x):
    """-1, 0 or 1."""
    return select_less(x, splat(0.0), splat(-1.0), select_less(splat(0.0), x, splat(1.0), x))


@kernel
def round_half_even(x):
    """The nearest whole number, of two the even one, exactly; with the sign of x."""
    size = magnitude(x)
    rounded = (size + splat(_WHOLE)) - splat(_WHOLE)
    return copy_sign(select_less(size, splat(_WHOLE), rounded, size), x)


@kernel
def floor(x):
    """The largest whole number that is not above x, exactly."""
    nearest = round_half_even(x)
    return select_less(x, nearest, nearest - splat(1.0), nearest)


@kernel
def ceil(x):
    """The smallest whole number that is not below x, exactly; with the sign of x."""
    nearest = round_half_even(x)
    return copy_sign(select_less(nearest, x, nearest + splat(1.0), nearest), x)


@kernel
def sin(x):
    """``sin(x)``, error below 1.2e-7, within [-1, 1]; NaN for infinities."""
    n, sine, cosine = _turned(x)
    return _finite_angle(x, _at_quarter(n, sine, cosine) * copy_sign(splat(1.0), x))


@kernel
def cos(x):
    """``cos(x)`` as ``sin(|x| + pi / 2)``, error below 1.2e-7, within [-1, 1]; NaN for infinities."""
    n, sine, cosine = _turned(x)
    n = n + splat(1.0)
    return _finite_angle(x, _at_quarter(select_less(splat(3.5), n, splat(0.0), n), sine, cosine))


@kernel
def _turned(x):
    """``(n, sin(r), cos(r))`` with ``|x| = n pi / 2 + r``, up to whole turns, n one of 0, 1, 2, 3 and |r| <= pi / 4.

    ``r + r^3 P(r^2)`` and ``1 - r^2 / 2 + r^4 Q(r^2)``, P and Q of degree 2.
    """
    size = magnitude(x)
    n, high, low = split_angle(x)
    r = fma(high, splat(_HALF_PI / 4194304.0), low * splat(_HALF_PI / 70368744177664.0))
    is_turned = splat(_QUARTER_PI)
    r = select_less(size, is_turned, size, r)
    t = r * r
    p = fma(splat(-0.00019517267355695367), t, splat(0.008332177996635437))
    p = fma(p, t, splat(-0.16666655242443085))
    q = fma(splat(2.4438415493932553e-05), t, splat(-0.001388736767694354))
    q = fma(q, t, splat(0.04166664555668831))
    cosine = fma(q, t * t, fma(t, splat(-0.5), splat(1.0)))
    return select_less(size, is_turned, splat(0.0), n), fma(p, r * t, r), cosine


@kernel
def _at_quarter(n, sine, cosine):
    """``sin(n pi / 2 + r)`` from the sine and cosine of r."""
    is_odd = n - select_less(n, splat(1.5), splat(0.0), splat(2.0))
    result = select_less(splat(0.5), is_odd, cosine, sine)
    return select_less(splat(1.5), n, splat(0.0) - result, result)


@kernel
def _finite_angle(x, result):
    """The result; NaN if x is not finite."""
    return select_less(magnitude(x), splat(_INFINITY), limit(result, splat(-1.0), splat(1.0)), x - x)


@kernel
def erf(x):
    """``erf(x)``, relative error below 2e-7, within [-1, 1].

    ``x P(x^2)`` up to 1, P of degree 6, and from there on 1 - erfc(x).
    """
    t = limit(magnitude(x), splat(0.0), splat(4.0))
    square = x * x
    p = fma(splat(7.889122935011983e-05), square, splat(-0.0008020842215046287))
    p = fma(p, square, splat(0.005189535673707724))
    p = fma(p, square, splat(-0.026854444295167923))
    p = fma(p, square, splat(0.11283600330352783))
    p = fma(p, square, splat(-0.3761262595653534))
    p = fma(p, square, splat(1.1283791065216064))
    return select_less(magnitude(x), splat(1.0), x * p, copy_sign(splat(1.0) - erfc(t), x))


@kernel
def power(x, y):
    """``x ** y``, relative error below 1.2e-7; NaN for x < 0 unless y is whole, 1 for y = 0.

    ``2 ** (y log2(|x|))``, where the logarithm and its product with y have 48 bits: an error in them would be raised to
    a power too. On CPUs without a fused multiply-add whose results must differ (WebAssembly) they have 24 bits, and the
    error is up to 1e-5.
    """
    size = magnitude(x)
    high, low = _log2(size)
    product = high * y
    rest = fma(high, y, splat(0.0) - product) + low * y
    rest = select_less(magnitude(product), splat(256.0), rest, splat(0.0))
    exponent = limit(product, splat(-200.0), splat(200.0))
    n = round_half_even(exponent)
    e = small_expm1(((exponent - n) + rest) * splat(_LN2))
    result = select_less(exponent, splat(-126.0), splat(0.0), scaled_up(e, n))
    result = select_equal(size, splat(1.0), size, result)
    result = select_less(x, splat(0.0), result * _sign_of_power(y), result)
    return select_equal(y, splat(0.0), splat(1.0), result)


@kernel
def _sign_of_power(y):
    """The sign of ``(-1) ** y``: 1 for even y, -1 for odd ones, NaN for those that are not whole."""
    half = y * splat(0.5)
    sign = select_equal(round_half_even(half), half, splat(1.0), splat(-1.0))
    return select_equal(round_half_even(y), y, sign, splat(_NAN))


@kernel
def _log2(x):
    """``(high, low)``, together ``log2(x)`` for x >= 0, with an error of 2e-9 of the part that is not whole.

    ``log2(m) = 2 / ln(2) atanh(s)`` with ``s = (m - 1) / (m + 1)``, and ``atanh(s) = s + s^3 P(s^2)``, P of degree 3.
    """
    is_tiny = splat(_LEAST_NORMAL)
    n, m = split_exponent(select_less(x, is_tiny, x * splat(_LIFT), x))
    n = n - select_less(x, is_tiny, splat(_LOG2_LIFT), splat(0.0))
    below, above = m - splat(1.0), m + splat(1.0)
    s = below / above
    # What the rounding of m + 1 and that of the quotient have lost.
    rest = fma(splat(0.0) - s, above, below) - s * (m - (above - splat(1.0)))
    rest = rest / above
    t = s * s
    p = fma(splat(0.12051740288734436), t, splat(0.14253397285938263))
    p = fma(p, t, splat(0.20000433921813965))
    p = fma(p, t, splat(0.3333333134651184))
    tail = fma(p, s * t, rest)
    high = s * splat(_LOG2_HIGH)
    low = fma(s, splat(_LOG2_HIGH), splat(0.0) - high)
    low = fma(s, splat(_LOG2_LOW), low)
    low = fma(tail, splat(_LOG2_HIGH), low)
    total = n + high
    low = ((n - total) + high) + low
    total = select_equal(x, splat(0.0), splat(-_INFINITY), total)
    total = select_less(splat(_LARGEST), x, x, total)
    return select_equal(x, x, total, x), low


@kernel
def apply_mathematics(code, parameters, x):
    """Function ``code`` (see `codes`) of x, with float32 at the address ``parameters``."""
    if code == codes.EXP:
        return exp(x)
    if code == codes.LOG:
        return natural_log(x)
    if code == codes.SQRT:
        return square_root(x)
    if code == codes.RECIPROCAL:
        return splat(1.0) / x
    if code == codes.POW:
        return power(x, splat(load_f32(parameters, 0)))
    if code == codes.ABS:
        return magnitude(x)
    if code == codes.SIGN:
        return sign(x)
    if code == codes.ROUND:
        return round_half_even(x)
    if code == codes.FLOOR:
        return floor(x)
    if code == codes.CEIL:
        return ceil(x)
    if code == codes.SIN:
        return sin(x)
    if code == codes.COS:
        return cos(x)
    return erf(x)
