/*
 * pair: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile pair.onnx
 * Plan d88b55985c9d3186654c1d1550cf635ddfa32d88b6d825f7a554a2ad136139dd
 *
 * An array "Qn" holds integers v that stand for v / 2^n. Rows of matrices are padded to four elements.
 *
 * Memory: 145 bytes of constants in flash, 68 of state and 40 of arena in RAM.
 *
 * constant               5 B  fc1_shift                    uint8          5  Q0
 * constant              48 B  fc1_weight_dual              uint32        12  Q7
 * constant              24 B  fc1_bias_dual                int32          6  Q13
 *
 * state          0      12 B  fc2_bias                     int32          3  Q20  -268435456 .. 268435455
 * state         12       4 B  step                         uint32         1  Q0   0 .. 4294967295
 * state         16       4 B  fc2_saturated                uint32         1  Q0   0 .. 4294967295
 * state         20      48 B  fc2_weight                   int16        3x5  Q14  -32768 .. 32767
 *
 * arena          0       8 B  verdict                      int32          2  Q0   -2147483648 .. 2147483647
 * arena          8       6 B  error                        int16          3  Q14  -16384 .. 16384
 * arena          8       7 B  x                            int8           7  Q6   -128 .. 127
 * arena         16       6 B  fc2                          int16          3  Q12  -32768 .. 32767
 * arena         24       5 B  fc1                          int8           5  Q6   -128 .. 127
 * arena         24       5 B  relu                         int8           5  Q6   -128 .. 127
 * arena         32       1 B  label                        uint8          1  Q0   0 .. 255
 * arena         36       1 B  taught                       uint8          1  Q0   0 .. 1
 *
 */
#include "pair.h"

#include <string.h>

#if PAIR_RUNTIME_VERSION != 1 || PAIR_NUMERIC_VERSION != 1
#error "pair.h is of another version than pair.c: emit both again"
#endif

/* The arithmetic relies on these; a compiler that differs must not get further than here. */
typedef char pair_shift_is_arithmetic[(-1 >> 1) == -1 ? 1 : -1];
typedef char pair_state_is_packed[sizeof(pair_state_t) == 68u ? 1 : -1];

#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned(4)))
/*
 * A pointer that the compiler cannot relate to others. GCC 12 may address one array of a struct relative to another, take the
 * result for a null pointer's and drop the stores of a whole step, or all calls of it. This costs no instruction and keeps it from
 * trying: the pointer may be anything, and a function with a volatile statement is never without effect.
 */
static inline void *opaque(void *p)
{
    __asm__ __volatile__("" : "+r"(p) : : "memory");
    return p;
}

#if !defined(__clang__)
/* The steps use the registers up; moving loads ahead of the sums that they feed only spills them. */
#pragma GCC optimize("no-schedule-insns")
#endif

/* Words of memory that holds narrower types, at multiples of four bytes only. */
typedef uint32_t __attribute__((may_alias)) word_t;

static inline uint32_t load_word(const void *p)
{
    return *(const word_t *)p;
}

static inline void store_word(void *p, uint32_t v)
{
    *(word_t *)p = v;
}
#else
#error "the kernel set dsp needs GNU C: GCC or clang; or compile the model with --kernels ref"
#endif

/* ---- constants ------------------------------------------------------------------------------------------------- */

/* uint8 [5] */
static const uint8_t pair_fc1_shift[5] ALIGNED = {
    7, 8, 8, 8, 7,
};

/* uint32 [12]: rows in pairs, a lane is 256 * odd + even */
static const uint32_t pair_fc1_weight_dual[12] ALIGNED = {
    3441365440, 734884079, 3999216289, 1287360256, 1155172348, 58924, 1708435738, 2168, 4259809, 4293787665,
    4294639645, 65484,
};

/* int32 [6]: where the sums of the pairs start */
static const int32_t pair_fc1_bias_dual[6] ALIGNED = {
    -1607104, -4032, -684652, -4460, -428, -428,
};

/* int32 [3], Q20, content of `init` */
static const int32_t pair_fc2_bias_init[3] ALIGNED = {
    -524288, -450888, -377487,
};

/* int16 [3][5] rows of 8, Q14, content of `init` */
static const int16_t pair_fc2_weight_init[24] ALIGNED = {
    -8192, -3441, 1311, 6062, -5734, 0, 0, 0, -983, 3768, -8028, -3277, 1475, 0, 0, 0, 6226, -5571, -819, 3932, -7864,
    0, 0, 0,
};

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

/* x held within lo .. hi */
static inline int32_t saturate(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* x / 2^s, halves rounded up */
static inline int32_t shift_round(int32_t x, uint32_t s)
{
    return (x + ((INT32_C(1) << s) >> 1)) >> s;
}

/* a difference of logits in steps of 2^-10 of a power of two */
static inline int32_t logit_steps(int32_t d, int32_t frac)
{
    return (int32_t)(((uint32_t)d * UINT32_C(47274)) >> (uint32_t)(frac + 5));
}

/* 2^-(u / 1024) as Q15 */
static inline int32_t exp2_neg(int32_t u)
{
    static const uint16_t table[33] = {
        32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
        25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
        20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384
    };
    int32_t i = (u >> 5) & 31;
    int32_t rem = u & 31;
    int32_t v = table[i] - (((table[i] - table[i + 1]) * rem + 16) >> 5);
    int32_t n = u >> 10;
    return v >> (n < 31 ? n : 31);
}

/* 2^30 / m for 2^15 <= m < 2^16 */
static inline int32_t reciprocal(int32_t m)
{
    static const uint16_t table[65] = {
        32768, 32264, 31775, 31301, 30840, 30394, 29959, 29537, 29127, 28728, 28340, 27962, 27594,
        27236, 26887, 26546, 26214, 25891, 25575, 25267, 24966, 24672, 24385, 24105, 23831, 23564,
        23302, 23046, 22795, 22550, 22310, 22075, 21845, 21620, 21400, 21183, 20972, 20764, 20560,
        20361, 20165, 19973, 19784, 19600, 19418, 19240, 19065, 18893, 18725, 18559, 18396, 18236,
        18079, 17924, 17772, 17623, 17476, 17332, 17190, 17050, 16913, 16777, 16644, 16513, 16384
    };
    int32_t i = (m - 32768) >> 9;
    int32_t rem = m & 511;
    return table[i] - (((table[i] - table[i + 1]) * rem + 256) >> 9);
}

/* e * r / 2^(16 + k) as Q14: a class's share of the sum of exponentials */
static inline int32_t probability(int32_t e, int32_t r, uint32_t k)
{
    uint32_t s = k + 16u;
    return (e * r + (INT32_C(1) << (s - 1u))) >> s;
}

/* ---- kernel set dsp: its instructions, the same in portable C                            */

/* the low lanes of x and of y */
static inline uint32_t pkhbt_lsl16(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return (x & 0xffffu) | (y << 16);
#endif
}

/* the high lane of x, and y / 2^12 below it */
static inline uint32_t pkhtb_asr12(uint32_t x, int32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("pkhtb %0, %1, %2, asr #12" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return (x & 0xffff0000u) | ((uint32_t)(y >> 12) & 0xffffu);
#endif
}

/* the high lane of x, and y / 2^16 below it */
static inline uint32_t pkhtb_asr16(uint32_t x, int32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return (x & 0xffff0000u) | ((uint32_t)(y >> 16) & 0xffffu);
#endif
}

/* x - y in two lanes, each held within int16 */
static inline uint32_t qsub16(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("qsub16 %0, %1, %2" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    int32_t low = (int16_t)x - (int16_t)y;
    int32_t high = (int16_t)(x >> 16) - (int16_t)(y >> 16);
    low = low < -32768 ? -32768 : low > 32767 ? 32767 : low;
    high = high < -32768 ? -32768 : high > 32767 ? 32767 : high;
    return ((uint32_t)low & 0xffffu) | ((uint32_t)high << 16);
#endif
}

/* a + low * low */
static inline int32_t smlabb(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlabb %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    return (int32_t)((uint32_t)a + (uint32_t)((int16_t)x * (int16_t)y));
#endif
}

/* a + low * high */
static inline int32_t smlabt(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlabt %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    return (int32_t)((uint32_t)a + (uint32_t)((int16_t)x * (int16_t)(y >> 16)));
#endif
}

/* a + low * low + high * high */
static inline int32_t smlad(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    uint32_t low = (uint32_t)((int16_t)x * (int16_t)y);
    uint32_t high = (uint32_t)((int16_t)(x >> 16) * (int16_t)(y >> 16));
    return (int32_t)((uint32_t)a + low + high);
#endif
}

/* a + high * low */
static inline int32_t smlatb(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    return (int32_t)((uint32_t)a + (uint32_t)((int16_t)(x >> 16) * (int16_t)y));
#endif
}

/* a + high * high */
static inline int32_t smlatt(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    return (int32_t)((uint32_t)a + (uint32_t)((int16_t)(x >> 16) * (int16_t)(y >> 16)));
#endif
}

/* x / 2^8, held within 16 bits */
static inline int32_t ssat16_asr8(int32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("ssat %0, #16, %1, asr #8" : "=r"(r) : "r"(x));
    return r;
#else
    x >>= 8;
    return x < -32768 ? -32768 : x > 32767 ? 32767 : x;
#endif
}

/* x, held within 8 bits */
static inline int32_t ssat8(int32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(x));
    return r;
#else
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

/* x - y in two lanes, modulo 2^16 */
static inline uint32_t ssub16(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("ssub16 %0, %1, %2" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return ((x - y) & 0xffffu) | (((x >> 16) - (y >> 16)) << 16);
#endif
}

/* bytes 0 and 2 as two lanes */
static inline uint32_t sxtb16(uint32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
#else
    return ((uint32_t)(int8_t)x & 0xffffu) | ((uint32_t)(int8_t)(x >> 16) << 16);
#endif
}

/* bytes 1 and 3 as two lanes */
static inline uint32_t sxtb16_ror8(uint32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
#else
    return ((uint32_t)(int8_t)(x >> 8) & 0xffffu) | ((uint32_t)(int8_t)(x >> 24) << 16);
#endif
}

/* a + the differences of the four bytes of x and y: it moves where x != y, and only there */
static inline uint32_t usada8(uint32_t x, uint32_t y, uint32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("usada8 %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    for (uint32_t i = 0u; i < 32u; i += 8u) {
        uint32_t p = (x >> i) & 0xffu, q = (y >> i) & 0xffu;
        a += p > q ? p - q : q - p;
    }
    return a;
#endif
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* dense.forward of fc1 (/net/fc1), in program forward: x, fc1_weight, fc1_bias, fc1_shift -> fc1 */
static void pair_fc1_forward(pair_t *m)
{
    const int8_t *x = &m->arena.i8[8]; /* x: int8 [7], Q6: input */
    const uint32_t *w = pair_fc1_weight_dual; /* fc1_weight_dual: uint32 [12]: rows in pairs, a lane is 256 * odd + even */
    const int32_t *b = pair_fc1_bias_dual; /* fc1_bias_dual: int32 [6]: where the sums of the pairs start */
    const uint8_t *s = pair_fc1_shift; /* fc1_shift: uint8 [5] */
    int8_t *y = opaque(&m->arena.i8[24]); /* fc1: int8 [5], Q6 */
    uint32_t i = 0u, u, v, even, odd;

    /* 4 rows at a time, in pairs that share a word: c sums 256 * odd + even row, l the even row */
    for (; i < 4u; i += 4u, b += 4) {
        const int8_t *p = x;
        int32_t c0 = b[0], l0 = b[1], c1 = b[2], l1 = b[3];

        v = load_word(&p[0]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        u = w[0];
        v = w[1];
        c0 = smlad(u, even, c0);
        l0 = smlad(sxtb16(u), even, l0);
        c0 = smlad(v, odd, c0);
        l0 = smlad(sxtb16(v), odd, l0);
        u = w[2];
        v = w[3];
        c1 = smlad(u, even, c1);
        l1 = smlad(sxtb16(u), even, l1);
        c1 = smlad(v, odd, c1);
        l1 = smlad(sxtb16(v), odd, l1);
        v = load_word(&p[4]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        u = w[4];
        v = w[5];
        c0 = smlad(u, even, c0);
        l0 = smlad(sxtb16(u), even, l0);
        c0 = smlad(v, odd, c0);
        l0 = smlad(sxtb16(v), odd, l0);
        u = w[6];
        v = w[7];
        c1 = smlad(u, even, c1);
        l1 = smlad(sxtb16(u), even, l1);
        c1 = smlad(v, odd, c1);
        l1 = smlad(sxtb16(v), odd, l1);
        w += 8;
        y[i] = (int8_t)ssat8(l0 >> s[i]);
        y[i + 1u] = (int8_t)ssat8((int32_t)((uint32_t)c0 - (uint32_t)l0) >> 8 >> s[i + 1u]);
        y[i + 2u] = (int8_t)ssat8(l1 >> s[i + 2u]);
        y[i + 3u] = (int8_t)ssat8((int32_t)((uint32_t)c1 - (uint32_t)l1) >> 8 >> s[i + 3u]);
    }
    {
        const int8_t *p = x;
        int32_t l0 = b[1];

        v = load_word(&p[0]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        u = w[0];
        v = w[1];
        l0 = smlad(sxtb16(u), even, l0);
        l0 = smlad(sxtb16(v), odd, l0);
        v = load_word(&p[4]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        u = w[2];
        v = w[3];
        l0 = smlad(sxtb16(u), even, l0);
        l0 = smlad(sxtb16(v), odd, l0);
        w += 4;
        y[i] = (int8_t)ssat8(l0 >> s[i]);
    }
}

/* clip.forward of relu, in program forward: fc1 -> relu */
static void pair_relu_forward(pair_t *m)
{
    const int8_t *x = &m->arena.i8[24]; /* fc1: int8 [5], Q6 */
    int8_t *y = opaque(&m->arena.i8[24]); /* relu: int8 [5], Q6 */

    for (uint32_t i = 0u; i < 5u; i++)
        y[i] = (int8_t)saturate(x[i], 0, 127);
}

/* dense.forward of fc2, in program forward: relu, fc2_weight, fc2_bias -> fc2 */
static void pair_fc2_forward(pair_t *m)
{
    const int8_t *x = &m->arena.i8[24]; /* relu: int8 [5], Q6 */
    const int16_t *w = m->state.fc2_weight; /* fc2_weight: int16 [3][5] rows of 8, Q14 */
    const int32_t *b = m->state.fc2_bias; /* fc2_bias: int32 [3], Q20 */
    int16_t *y = opaque(&m->arena.i16[8]); /* fc2: int16 [3], Q12 */
    uint32_t i = 0u, u, v, even, odd;

    for (; i < 3u; i++, w += 8) {
        const int8_t *p = x;
        const int16_t *w0 = w;
        int32_t a0 = b[i] + 128;

        v = load_word(&p[0]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        v = pkhbt_lsl16(even, odd); /* columns 0 and 1 */
        odd = pkhtb_asr16(odd, (int32_t)even); /* columns 2 and 3 */
        even = v;
        u = load_word(&w0[0]);
        v = load_word(&w0[2]);
        __asm__("" : "+r"(u), "+r"(v)); /* both are here: one LDRD */
        a0 = smlad(u, even, a0);
        a0 = smlad(v, odd, a0);
        v = load_word(&p[4]);
        even = sxtb16(v);
        odd = sxtb16_ror8(v);
        v = pkhbt_lsl16(even, odd); /* columns 0 and 1 */
        odd = pkhtb_asr16(odd, (int32_t)even); /* columns 2 and 3 */
        even = v;
        u = load_word(&w0[4]);
        v = load_word(&w0[6]);
        __asm__("" : "+r"(u), "+r"(v)); /* both are here: one LDRD */
        a0 = smlad(u, even, a0);
        a0 = smlad(v, odd, a0);
        y[i] = (int16_t)ssat16_asr8(a0);
    }
}

/* classify.argmax of verdict, in program infer: fc2 -> verdict */
static void pair_verdict_argmax(pair_t *m)
{
    const int16_t *z = &m->arena.i16[8]; /* fc2: int16 [3], Q12 */
    int32_t *verdict = opaque(&m->arena.i32[0]); /* verdict: int32 [2] */
    int32_t winner = 0, best = z[0], second = -32768;

    for (int32_t i = 1; i < 3; i++) {
        if (z[i] > best) {
            second = best;
            best = z[i];
            winner = i;
        } else if (z[i] > second) {
            second = z[i];
        }
    }
    verdict[0] = winner;
    verdict[1] = best - second;
}

/* dense.update of fc2, in program correct: relu, error, step -> fc2_weight, fc2_bias, fc2_saturated */
static void pair_fc2_update(pair_t *m)
{
    const int8_t *x = &m->arena.i8[24]; /* relu: int8 [5], Q6 */
    const int16_t *d = &m->arena.i16[4]; /* error: int16 [3], Q14 */
    int16_t *w = opaque(m->state.fc2_weight); /* fc2_weight: int16 [3][5] rows of 8, Q14 */
    int32_t *b = opaque(m->state.fc2_bias); /* fc2_bias: int32 [3], Q20 */
    uint32_t saturated = 0u;
    int32_t was, change, held;
    /* Two rows at a time, whichever have a signal; one that is left over is its own partner, of signal 0. The products of the
     * odd columns are 4 bits higher, so that their upper halves are changes and PKHTB puts two changes side by side. */
    for (uint32_t i = 0u, k;; i = k + 1u) {
        while (i < 3u && d[i] == 0)
            i++;
        if (i >= 3u)
            break;
        for (k = i + 1u; k < 3u && d[k] == 0;)
            k++;
        const uint32_t g = pkhbt_lsl16((uint32_t)d[i], k < 3u ? (uint32_t)d[k] : 0u);
        int16_t *w0 = &w[i * 8u], *w1 = k < 3u ? &w[k * 8u] : w0;
        const int8_t *p = x;
        int32_t half = 2048, top = 32768;
        uint32_t apart = 0u, even, odd, a, t, u, v;

        __asm__("" : "+r"(w0), "+r"(w1), "+r"(half), "+r"(top)); /* in registers of their own */
        v = load_word(&p[0]);
        even = sxtb16(v);
        odd = (sxtb16_ror8(v) << 4) & 0xfff0ffffu;
        u = load_word(&w0[0]);
        v = load_word(&w0[2]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* both are here: one LDRD */
        a = pkhtb_asr12((uint32_t)smlabb(g, odd, top), smlabb(g, even, half));
        t = ssub16(u, a);
        apart = usada8(t, qsub16(u, a), apart);
        a = pkhtb_asr12((uint32_t)smlabt(g, odd, top), smlabt(g, even, half));
        u = ssub16(v, a);
        apart = usada8(u, qsub16(v, a), apart);
        store_word(&w0[0], t);
        store_word(&w0[2], u);
        u = load_word(&w1[0]);
        v = load_word(&w1[2]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* both are here: one LDRD */
        a = pkhtb_asr12((uint32_t)smlatb(g, odd, top), smlatb(g, even, half));
        t = ssub16(u, a);
        apart = usada8(t, qsub16(u, a), apart);
        a = pkhtb_asr12((uint32_t)smlatt(g, odd, top), smlatt(g, even, half));
        u = ssub16(v, a);
        apart = usada8(u, qsub16(v, a), apart);
        store_word(&w1[0], t);
        store_word(&w1[2], u);
        v = load_word(&p[4]) & 0xffu;
        even = sxtb16(v);
        odd = (sxtb16_ror8(v) << 4) & 0xfff0ffffu;
        u = load_word(&w0[4]);
        v = load_word(&w0[6]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* both are here: one LDRD */
        a = pkhtb_asr12((uint32_t)smlabb(g, odd, top), smlabb(g, even, half));
        t = ssub16(u, a);
        apart = usada8(t, qsub16(u, a), apart);
        a = pkhtb_asr12((uint32_t)smlabt(g, odd, top), smlabt(g, even, half));
        u = ssub16(v, a);
        apart = usada8(u, qsub16(v, a), apart);
        store_word(&w0[4], t);
        store_word(&w0[6], u);
        u = load_word(&w1[4]);
        v = load_word(&w1[6]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* both are here: one LDRD */
        a = pkhtb_asr12((uint32_t)smlatb(g, odd, top), smlatb(g, even, half));
        t = ssub16(u, a);
        apart = usada8(t, qsub16(u, a), apart);
        a = pkhtb_asr12((uint32_t)smlatt(g, odd, top), smlatt(g, even, half));
        u = ssub16(v, a);
        apart = usada8(u, qsub16(v, a), apart);
        store_word(&w1[4], t);
        store_word(&w1[6], u);
        if (apart != 0u) {
            /* a value met its limit, which is rare: the row once more from what it was, one by one */
            for (uint32_t q = 0u; q < (k < 3u ? 2u : 1u); q++) {
                int16_t *row = q == 0u ? &w[i * 8u] : &w[k * 8u];
                const int32_t g = q == 0u ? d[i] : d[k];
                for (uint32_t j = 0u; j < 5u; j++) {
                    change = shift_round(g * x[j], 12u);
                    was = (int16_t)(row[j] + change);
                    held = saturate(was - change, -32768, 32767);
                    saturated += (uint32_t)(held != was - change);
                    row[j] = (int16_t)held;
                }
            }
        }
    }
    for (uint32_t i = 0u; i < 3u; i++) {
        if (d[i] == 0)
            continue;
        change = shift_round(d[i], 0u);
        held = saturate(b[i] - change, -268435456, 268435455);
        saturated += (uint32_t)(held != b[i] - change);
        b[i] = held;
    }
    m->state.fc2_saturated[0] += saturated;
}

/* softmax_error.forward of loss, in program adapt: fc2, label -> error, taught */
static void pair_loss_forward(pair_t *m)
{
    const int16_t *z = &m->arena.i16[8]; /* fc2: int16 [3], Q12 */
    int16_t *e = opaque(&m->arena.i16[4]); /* error: int16 [3], Q14 */
    const uint32_t label = m->arena.u8[32];
    int32_t top = z[0], total = 0;
    uint32_t k = 0u;
    uint8_t taught = 0u;

    for (uint32_t i = 1u; i < 3u; i++)
        top = z[i] > top ? z[i] : top;
    for (uint32_t i = 0u; i < 3u; i++)
        total += exp2_neg(logit_steps(top - z[i], 12));
    while ((total >> k) > 65535)
        k++;

    const int32_t r = reciprocal(total >> k);
    for (uint32_t i = 0u; i < 3u; i++) {
        int32_t v = probability(exp2_neg(logit_steps(top - z[i], 12)), r, k);
        if (i == label)
            v -= 16384;
        e[i] = (int16_t)v;
        if (v != 0)
            taught = 1u;
    }
    m->arena.u8[36] = taught;
}

/* counter.tick of step, in program adapt: step */
static void pair_step_tick(pair_t *m)
{
    m->state.step[0]++;
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

/* Program forward: activations and logits of the inputs in the arena */
static void pair_program_forward(pair_t *m)
{
    pair_fc1_forward(m);
    pair_relu_forward(m);
    pair_fc2_forward(m);
}

/* Program infer: class, margin and scores of the inputs */
static void pair_program_infer(pair_t *m)
{
    pair_program_forward(m);
    pair_verdict_argmax(m);
}

/* Program correct: bp: backpropagation through the layers' own weights (the oracle and baseline) */
static void pair_program_correct(pair_t *m)
{
    pair_fc2_update(m);
}

/* Program adapt: learns from the inputs and the label in the arena */
static void pair_program_adapt(pair_t *m)
{
    pair_program_forward(m);
    pair_loss_forward(m);
    if (m->arena.u8[36] != 0u)
        pair_program_correct(m);
    pair_step_tick(m);
}

/* Program learn: one labelled sample of the wearer */
static void pair_program_learn(pair_t *m)
{
    pair_program_adapt(m);
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

pair_status pair_init(pair_t *m)
{
    memset(m, 0, sizeof *m);
    memcpy(m->state.fc2_bias, pair_fc2_bias_init, sizeof pair_fc2_bias_init);
    memcpy(m->state.fc2_weight, pair_fc2_weight_init, sizeof pair_fc2_weight_init);
    return PAIR_OK;
}

void pair_load(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    memcpy((&m->arena.i8[8]), x->x, sizeof x->x);
    m->arena.u8[32] = label;
}

pair_status pair_infer(pair_t *m, const pair_inputs_t *x, pair_outputs_t *y)
{
    pair_load(m, x, 0u);
    pair_program_infer(m);
    y->winner = (&m->arena.i32[0])[0];
    y->margin = (&m->arena.i32[0])[1];
    memcpy(y->scores, (&m->arena.i16[8]), sizeof y->scores);
    return PAIR_OK;
}

pair_status pair_learn(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    if (label >= PAIR_CLASSES)
        return PAIR_BAD_LABEL;
    pair_load(m, x, label);
    pair_program_learn(m);
    return PAIR_OK;
}

pair_status pair_run(pair_t *m, uint32_t program)
{
    switch (program) {
    case PAIR_PROGRAM_INFER:
        pair_program_infer(m);
        return PAIR_OK;
    case PAIR_PROGRAM_LEARN:
        pair_program_learn(m);
        return PAIR_OK;
    default:
        return PAIR_BAD_ARGUMENT;
    }
}

/* One more than there are: who counts instructions takes what it costs from what the others cost. */
static void pair_nothing(pair_t *m)
{
    (void)m;
}

pair_status pair_run_op(pair_t *m, uint32_t op)
{
    static void (*const ops[PAIR_OPS + 1u])(pair_t *) = {
        pair_fc1_forward,
        pair_relu_forward,
        pair_fc2_forward,
        pair_verdict_argmax,
        pair_fc2_update,
        pair_loss_forward,
        pair_step_tick,
        pair_nothing,
    };

    if (op > PAIR_OPS)
        return PAIR_BAD_ARGUMENT;
    ops[op](m);
    return PAIR_OK;
}

const pair_tensor_t *pair_tensor(uint32_t i)
{
    static const pair_tensor_t tensors[PAIR_TENSORS] = {
        { "fc2_bias", "int32", 0u, 12u },
        { "step", "uint32", 12u, 4u },
        { "fc2_saturated", "uint32", 16u, 4u },
        { "fc2_weight", "int16", 20u, 48u },
    };

    return i < PAIR_TENSORS ? &tensors[i] : 0;
}
