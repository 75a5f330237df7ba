/* What exported models are made of. Each function goes into a model's file if it is called there, under the model's name
   in place of "grurt". They compute what the kernels of grurt do, in the same order: see grurt/kernels/functions.py. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#endif

/* a * b + c: with one rounding where the CPU has an instruction for it. */
static inline float grurt_fma(float a, float b, float c)
{
#if defined FP_FAST_FMAF || defined __FMA__ || defined __ARM_FEATURE_FMA || defined __riscv_flen
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* The bits of a number. */
static inline uint32_t grurt_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The number of some bits. */
static inline float grurt_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Whether all numbers are finite. */
static int grurt_are_finite(const float *x, int size)
{
    for (int i = 0; i < size; i++)
        if ((grurt_bits(x[i]) & 0x7f800000u) == 0x7f800000u)
            return 0;
    return 1;
}

/* A float16 as float32, exactly. */
static float grurt_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u)
        return grurt_of_bits(sign | 0x7f800000u | rest << 13);
    /* As a float32 with an exponent that is too small by 112. */
    return grurt_of_bits(sign | rest << 13) * 5.192296858534828e33f;
}

/* Number k of a row of numbers from -8 to 7, two to a byte, the lower half first. */
static inline int grurt_nibble(const uint8_t *row, int k)
{
    const int half = row[k / 2] >> (k % 2 * 4) & 15;
    return (half ^ 8) - 8;
}

/* The sum of w q, exactly. */
static int32_t grurt_dot(const int8_t *w, const int8_t *q, int size)
{
    int32_t sum = 0;
    int k = 0;
#ifdef __ARM_FEATURE_SIMD32
    /* Two products at a time: of the bytes 0 and 2, and of the bytes 1 and 3. */
    for (; k + 4 <= size; k += 4) {
        int32_t two[2];
        memcpy(&two[0], w + k, 4);
        memcpy(&two[1], q + k, 4);
        sum = __smlad(__sxtb16(two[0]), __sxtb16(two[1]), sum);
        sum = __smlad(__sxtb16(two[0] >> 8), __sxtb16(two[1] >> 8), sum);
    }
#endif
    for (; k < size; k++)
        sum += w[k] * q[k];
    return sum;
}

/* The sums of w q of three rows that lie one after the other, exactly. */
static void grurt_three_dots(const int8_t *w, const int8_t *q, int size, int32_t *sums)
{
    const int8_t *const w1 = w + size, *const w2 = w1 + size;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0;
    int k = 0;
#ifdef __ARM_FEATURE_SIMD32
    /* As in grurt_dot. */
    for (; k + 4 <= size; k += 4) {
        int32_t four[4];
        memcpy(&four[0], w + k, 4);
        memcpy(&four[1], w1 + k, 4);
        memcpy(&four[2], w2 + k, 4);
        memcpy(&four[3], q + k, 4);
        const int32_t even = __sxtb16(four[3]), odd = __sxtb16(four[3] >> 8);
        sum0 = __smlad(__sxtb16(four[0] >> 8), odd, __smlad(__sxtb16(four[0]), even, sum0));
        sum1 = __smlad(__sxtb16(four[1] >> 8), odd, __smlad(__sxtb16(four[1]), even, sum1));
        sum2 = __smlad(__sxtb16(four[2] >> 8), odd, __smlad(__sxtb16(four[2]), even, sum2));
    }
#endif
    for (; k < size; k++) {
        sum0 += w[k] * q[k];
        sum1 += w1[k] * q[k];
        sum2 += w2[k] * q[k];
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
}

/* The sum of w q, exactly, of weights that are two to a byte. */
static int32_t grurt_dot_of_nibbles(const uint8_t *w, const int8_t *q, int size)
{
    int32_t sum = 0;
    for (int k = 0; k < size; k++)
        sum += grurt_nibble(w, k) * q[k];
    return sum;
}

/* min(max(x, low), high); NaN stays NaN. */
static inline float grurt_limit(float x, float low, float high)
{
    x = x < low ? low : x;
    return high < x ? high : x;
}

/* Zero where |x| is below 1e-30: on the way to denormal numbers, which are slow. */
static inline float grurt_flush(float x)
{
    return fabsf(x) < 1e-30f ? 0.0f : x;
}

/* The whole number that is nearest to x, of two the even one, for |x| < 2^22. */
static inline int32_t grurt_nearest(float x)
{
    return (int32_t)(grurt_bits(x + 12582912.0f) - 0x4b400000u);
}

/* q = x / scale, rounded: the scale, which is returned, makes the largest |x|, or `least`, 127. */
static float grurt_quantize(const float *x, int size, float least, int8_t *q)
{
    float bound = least;
    for (int i = 0; i < size; i++) {
        const float magnitude = fabsf(x[i]);
        if (bound < magnitude || magnitude != magnitude)
            bound = magnitude;
    }
    const float factor = 127.0f / bound;
    for (int i = 0; i < size; i++)
        q[i] = (int8_t)grurt_nearest(x[i] * factor);
    /* The difference is 0; or NaN, if the bound is infinite. */
    return bound * 0.007874016f + (bound - bound);
}

/* tanh(x), error below 2.5e-7: a quotient of polynomials of x^2, times x. */
static float grurt_tanh(float x)
{
    x = grurt_limit(x, -9.0f, 9.0f);
    const float t = x * x;
    float p = grurt_fma(1.3727837533394904e-08f, t, 2.0861632947344333e-05f);
    p = grurt_fma(p, t, 0.0035102476831525564f);
    p = grurt_fma(p, t, 0.13393139839172363f);
    p = grurt_fma(p, t, 1.0f);
    float q = grurt_fma(7.924248848212301e-07f, t, 0.00033100880682468414f);
    q = grurt_fma(q, t, 0.02593204937875271f);
    q = grurt_fma(q, t, 0.46726447343826294f);
    q = grurt_fma(q, t, 1.0f);
    return grurt_limit(x * p / q, -1.0f, 1.0f);
}

/* sigmoid(x) = 1 / (1 + exp(-x)) as 1/2 + tanh(x/2) / 2, error below 1.8e-7. */
static float grurt_gate_sigmoid(float x)
{
    return grurt_fma(grurt_tanh(x * 0.5f), 0.5f, 0.5f);
}

/* exp(r) - 1 for |r| <= ln(2) / 2. */
static float grurt_small_expm1(float r)
{
    float p = grurt_fma(0.00019911027629859746f, r, 0.0013947609113529325f);
    p = grurt_fma(p, r, 0.008333278819918633f);
    p = grurt_fma(p, r, 0.04166624695062637f);
    p = grurt_fma(p, r, 0.1666666716337204f);
    p = grurt_fma(p, r, 0.5f);
    return grurt_fma(p, r * r, r);
}

/* The nearest whole number, as a float, for |x| < 2^22. */
static inline float grurt_whole(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* 2^n for whole n in [-126, 127]. */
static inline float grurt_power_of_two(float n)
{
    return grurt_of_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* n and r with x = n ln(2) + r, |r| <= ln(2) / 2; returns exp(r) - 1. */
static float grurt_exp_parts(float x, float *n)
{
    *n = grurt_fma(x, 1.4426950408889634f, 12582912.0f) - 12582912.0f;
    float r = grurt_fma(*n, -0.693359375f, x);
    r = grurt_fma(*n, 2.12194440e-4f, r);
    return grurt_small_expm1(r);
}

/* 2^n (1 + e) for whole n in [-252, 254], infinity where that is too large: 2^n as two factors. */
static float grurt_scaled_up(float e, float n)
{
    const float half = grurt_fma(n, 0.5f, 12582912.0f) - 12582912.0f;
    const float first = grurt_power_of_two(half), second = grurt_power_of_two(n - half);
    return grurt_fma(e, first, first) * second;
}

/* exp(x), relative error below 2e-7; 0 below -87.3. */
static float grurt_exp(float x)
{
    float n;
    if (x != x)
        return x;
    const float e = grurt_exp_parts(grurt_limit(x, -87.3f, 89.0f), &n);
    return x < -87.3f ? 0.0f : grurt_scaled_up(e, n);
}

/* exp(x) - 1 for x <= 0, relative error below 3e-7. */
static float grurt_expm1(float x)
{
    float n;
    if (x != x)
        return x;
    const float e = grurt_exp_parts(grurt_limit(x, -80.0f, 0.0f), &n);
    const float scale = grurt_power_of_two(n);
    return grurt_fma(e, scale, scale - 1.0f);
}

/* The exponent n and mantissa m of a normal positive number: x = m 2^n, m in [2/3, 4/3). */
static float grurt_split_exponent(float x, float *mantissa)
{
    const uint32_t bits = grurt_bits(x);
    const float half = grurt_of_bits((bits & 0x7fffffu) | 0x3f000000u);
    const int is_small = half < 0.6666667f;
    *mantissa = is_small ? 2.0f * half : half;
    return (float)((int32_t)(bits >> 23 & 0xffu) - 126 - is_small);
}

/* log(x) for normal positive x, error below 1e-7 plus 1e-7 of the result. */
static float grurt_log(float x)
{
    float mantissa;
    const float exponent = grurt_split_exponent(x, &mantissa);
    const float f = mantissa - 1.0f;
    float p = grurt_fma(0.14231358468532562f, f, -0.15692654252052307f);
    p = grurt_fma(p, f, 0.13949424028396606f);
    p = grurt_fma(p, f, -0.16350966691970825f);
    p = grurt_fma(p, f, 0.20014429092407227f);
    p = grurt_fma(p, f, -0.25012022256851196f);
    p = grurt_fma(p, f, 0.33333128690719604f);
    p = grurt_fma(p, f, -0.4999985694885254f);
    const float result = grurt_fma(p, f * f, f);
    return grurt_fma(exponent, 0.693359375f, grurt_fma(exponent, -2.12194440e-4f, result));
}

/* 1 / (1 + exp(-x)), relative error below 4e-7. */
static float grurt_sigmoid(float x)
{
    return 1.0f / (1.0f + grurt_exp(0.0f - x));
}

/* log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)). */
static float grurt_softplus(float x)
{
    const float u = grurt_exp(0.0f - fabsf(x));
    const float y = 1.0f + u;
    /* log(y) misses what the sum y = 1 + u has rounded away: add it to first order. */
    const float tail = x == x ? grurt_log(y) + (u - (y - 1.0f)) / y : x;
    return (x < 0.0f ? 0.0f : x) + tail;
}

/* 1 - erf(t) for t in [0, 11]. */
static float grurt_erfc(float t)
{
    float p = grurt_fma(0.03271139785647392f, t, 0.22881454229354858f);
    p = grurt_fma(p, t, 0.7307572960853577f);
    p = grurt_fma(p, t, 1.2376031875610352f);
    p = grurt_fma(p, t, 1.0f);
    float q = grurt_fma(0.05797873064875603f, t, 0.4055900275707245f);
    q = grurt_fma(q, t, 1.3237874507904053f);
    q = grurt_fma(q, t, 2.4004740715026855f);
    q = grurt_fma(q, t, 2.365983009338379f);
    q = grurt_fma(q, t, 1.0f);
    return grurt_exp(0.0f - t * t) * p / q;
}

/* x/2 (1 + erf(x / sqrt(2))) as max(x, 0) - |x|/2 erfc(|x| / sqrt(2)). */
static float grurt_gelu(float x)
{
    const float half_erfc = grurt_erfc(grurt_limit(fabsf(x) * 0.7071067811865476f, 0.0f, 11.0f)) * 0.5f;
    return (x < 0.0f ? 0.0f : x) - grurt_limit(fabsf(x), 0.0f, 20.0f) * half_erfc;
}

/* x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
static float grurt_gelu_tanh(float x)
{
    const float u = grurt_fma(x * x * x, 0.044715f, x) * 0.7978845608028654f;
    return (x < -3.4028234663852886e38f ? -3.4028234663852886e38f : x) * grurt_sigmoid(u + u);
}

/* log(x); -infinity at 0, NaN below. */
static float grurt_natural_log(float x)
{
    if (!(x > 0.0f))
        return x == 0.0f ? -INFINITY : x - x + NAN;
    if (x > 3.4028234663852886e38f)
        return x;
    const int is_tiny = x < 1.1754943508222875e-38f;
    return grurt_log(is_tiny ? x * 16777216.0f : x) - (is_tiny ? 16.635532333438686f : 0.0f);
}

/* -1, 0 or 1. */
static inline float grurt_sign(float x)
{
    return x < 0.0f ? -1.0f : 0.0f < x ? 1.0f : x;
}

/* The nearest whole number, of two the even one, with the sign of x. */
static float grurt_round(float x)
{
    const float size = fabsf(x);
    return copysignf(size < 8388608.0f ? (size + 8388608.0f) - 8388608.0f : size, x);
}

/* The largest whole number that is not above x. */
static float grurt_floor(float x)
{
    const float nearest = grurt_round(x);
    return x < nearest ? nearest - 1.0f : nearest;
}

/* The smallest whole number that is not below x. */
static float grurt_ceil(float x)
{
    const float nearest = grurt_round(x);
    return copysignf(nearest < x ? nearest + 1.0f : nearest, x);
}

/* erf(x): x P(x^2) up to 1, and from there on 1 - erfc(x). */
static float grurt_erf(float x)
{
    const float square = x * x;
    float p = grurt_fma(7.889122935011983e-05f, square, -0.0008020842215046287f);
    p = grurt_fma(p, square, 0.005189535673707724f);
    p = grurt_fma(p, square, -0.026854444295167923f);
    p = grurt_fma(p, square, 0.11283600330352783f);
    p = grurt_fma(p, square, -0.3761262595653534f);
    p = grurt_fma(p, square, 1.1283791065216064f);
    if (fabsf(x) < 1.0f)
        return x * p;
    return copysignf(1.0f - grurt_erfc(grurt_limit(fabsf(x), 0.0f, 4.0f)), x);
}

/* The larger of two numbers, NaN if one of them is. */
static inline float grurt_maximum(float a, float b)
{
    return a < b ? b : b == b ? a : b;
}

/* The smaller of two numbers, NaN if one of them is. */
static inline float grurt_minimum(float a, float b)
{
    return b < a ? b : b == b ? a : b;
}

/* Sixteen partial sums, halves added to halves. */
static float grurt_total(float *sums)
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            sums[i] += sums[i + half];
    return sums[0];
}

/* The sum of some numbers. */
static float grurt_sum(const float *x, int size)
{
    float sums[16] = {0.0f};
    for (int i = 0; i < size; i++)
        sums[i % 16] += x[i];
    return grurt_total(sums);
}

/* The sum of magnitudes. */
static float grurt_sum_of_magnitudes(const float *x, int size)
{
    float sums[16] = {0.0f};
    for (int i = 0; i < size; i++)
        sums[i % 16] += fabsf(x[i]);
    return grurt_total(sums);
}

/* The sum of x^2, each rounded. */
static float grurt_sum_of_rounded_squares(const float *x, int size)
{
    float sums[16] = {0.0f};
    for (int i = 0; i < size; i++) {
        const float square = x[i] * x[i];
        sums[i % 16] += square;
    }
    return grurt_total(sums);
}

/* The sum of (x - mean)^2. */
static float grurt_sum_of_squares(const float *x, int size, float mean)
{
    float sums[16] = {0.0f};
    for (int i = 0; i < size; i++)
        sums[i % 16] = grurt_fma(x[i] - mean, x[i] - mean, sums[i % 16]);
    return grurt_total(sums);
}

/* The sum of exp(x - top). */
static float grurt_sum_of_exp(const float *x, int size, float top)
{
    float sums[16] = {0.0f};
    for (int i = 0; i < size; i++)
        sums[i % 16] += grurt_exp(x[i] - top);
    return grurt_total(sums);
}

/* The largest of some numbers, NaN if there is one. */
static float grurt_largest(const float *x, int size)
{
    float largest = -INFINITY;
    for (int i = 0; i < size; i++)
        largest = grurt_maximum(largest, x[i]);
    return largest + 0.0f;
}

/* The smallest of some numbers, NaN if there is one. */
static float grurt_smallest(const float *x, int size)
{
    float smallest = INFINITY;
    for (int i = 0; i < size; i++)
        smallest = grurt_minimum(smallest, x[i]);
    return smallest + 0.0f;
}

/* The product of some numbers. */
static float grurt_product(const float *x, int size)
{
    float product = x[0];
    for (int i = 1; i < size; i++)
        product *= x[i];
    return product;
}

/* Where the largest number times a sign is, of several the first. */
static float grurt_place(const float *x, int size, float sign)
{
    int place = 0;
    for (int i = 1; i < size; i++)
        if (x[i] * sign > x[place] * sign || (x[i] != x[i] && x[place] == x[place]))
            place = i;
    return (float)place;
}

/* log(sum(exp(x))) without overflow. */
static float grurt_log_sum_exp(const float *x, int size)
{
    const float top = grurt_largest(x, size);
    if (!(fabsf(top) < INFINITY))
        return top;
    return top + grurt_log(grurt_sum_of_exp(x, size, top));
}

/* y = exp(x - max) / sum(exp(x - max)); y may be x. */
static void grurt_softmax(const float *x, float *y, int size)
{
    const float top = grurt_largest(x, size);
    for (int i = 0; i < size; i++)
        y[i] = grurt_exp(x[i] - top);
    const float share = grurt_sum(y, size);
    for (int i = 0; i < size; i++)
        y[i] /= share;
}

/* y = x - max - log(sum(exp(x - max))); y may be x. */
static void grurt_log_softmax(const float *x, float *y, int size)
{
    const float top = grurt_largest(x, size);
    const float sum = grurt_sum_of_exp(x, size, top);
    const float offset = sum == sum ? grurt_log(sum) : sum;
    for (int i = 0; i < size; i++)
        y[i] = (x[i] - top) - offset;
}

/* total + rest += x: the error of the sum is known exactly, and kept in the rest. */
static void grurt_add_exactly(float *total, float *rest, float x)
{
    const float sum = *total + x, back = sum - *total;
    const float error = (*total - (sum - back)) + (x - back);
    *total = sum;
    *rest = grurt_flush(*rest + error);
}

/* total + rest *= factor. */
static void grurt_scale_exactly(float *total, float *rest, float factor)
{
    const float product = *total * factor;
    const float error = grurt_fma(*total, factor, 0.0f - product);
    *total = grurt_flush(product);
    *rest = grurt_flush(grurt_fma(*rest, factor, error));
}

/* total + rest; where the total is infinite or NaN, that. */
static inline float grurt_both(float total, float rest)
{
    return fabsf(total) < INFINITY ? total + rest : total;
}

/* Add exp(score - reference) to weights + rest, and return it: a score that is far above the reference becomes it, and
   by the factor the sums so far change then. */
static float grurt_weigh(float score, float *reference, float *weights, float *rest, float *factor)
{
    const float old = *reference;
    *reference = *weights == 0.0f || old + 8.0f < score ? score : old;
    *factor = *weights == 0.0f ? 0.0f : *reference == old ? 1.0f : grurt_exp(old - *reference);
    const float weight = score == -INFINITY ? 0.0f : grurt_flush(grurt_exp(score - *reference));
    grurt_scale_exactly(weights, rest, *factor);
    grurt_add_exactly(weights, rest, weight);
    return weight;
}
