/*
 * pair: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile pair.onnx
 * Plan 0d27b92761b4da9b9b25c757332150bdf5a5c4ea71e9bf10474626034b916ffd
 *
 * The memory map and the meaning of "Qn" stand in pair.h. Rows of matrices are padded to four elements.
 */
#include "pair.h"

#include <string.h>

#if PAIR_RUNTIME_VERSION != 2 || PAIR_NUMERIC_VERSION != 1
#error "pair.h is of another version than pair.c: emit both again"
#endif

/* What the arithmetic relies on. A compiler that shifts or packs otherwise stops here. */
typedef char pair_shift_is_arithmetic[(-1 >> 1) == -1 ? 1 : -1];
typedef char pair_state_is_packed[sizeof(pair_state_t) == 68u ? 1 : -1];
typedef char pair_model_is_packed[sizeof(pair_t) == 128u ? 1 : -1];

#if defined(__GNUC__)
#define PAIR_ALIGNED __attribute__((aligned(4)))
/*
 * Returns p. The compiler cannot tell that it is p, and so cannot address what p points to relative to another array.
 * GCC 12 (x86-64, -O1 and up) otherwise addresses one array of a struct relative to another, takes the result for a
 * null pointer and drops the stores of the step. Being volatile, the statement also keeps calls of steps that only
 * read. No instruction is emitted for it.
 */
static inline void *pair_opaque(void *p)
{
    __asm__ __volatile__("" : "+r"(p) : : "memory");
    return p;
}

#if !defined(__clang__)
/* The steps use all registers. GCC's first scheduling pass moves loads ahead of their use, and so spills registers. */
#pragma GCC push_options
#pragma GCC optimize("no-schedule-insns")
#endif

/* A word of memory that holds narrower types. Only addresses that are multiples of four are read or written so. */
typedef uint32_t __attribute__((may_alias)) pair_word_t;

static inline uint32_t pair_load_word(const void *p)
{
    return *(const pair_word_t *)p;
}

static inline void pair_store_word(void *p, uint32_t v)
{
    *(pair_word_t *)p = v;
}
#else
#error "the kernel set dsp needs GNU C: GCC or clang; or compile the model with --kernels ref"
#endif

/* ---- constants ------------------------------------------------------------------------------------------------- */

/* uint8 [5] */
static const uint8_t pair_fc1_shift[5] PAIR_ALIGNED = {
    7, 8, 8, 8, 7,
};

/* uint32 [12]: two rows in a word: a lane holds 256 * (odd row) + (even row) */
static const uint32_t pair_fc1_weight_dual[12] PAIR_ALIGNED = {
    3441365440u, 734884079u, 3999216289u, 1287360256u, 1155172348u, 58924u, 1708435738u, 2168u, 4259809u, 4293787665u,
    4294639645u, 65484u,
};

/* int32 [6]: for each two rows: 256 * (odd bias) + (even bias), then the even bias */
static const int32_t pair_fc1_bias_dual[6] PAIR_ALIGNED = {
    -1607104, -4032, -684652, -4460, -428, -428,
};

/* int32 [3], Q17; pair_init copies it into the state */
static const int32_t pair_fc2_bias_init[3] PAIR_ALIGNED = {
    -65536, -56361, -47186,
};

/* int16 [3][5] rows of 8, Q11; pair_init copies it into the state */
static const int16_t pair_fc2_weight_init[24] PAIR_ALIGNED = {
    -1024, -430, 164, 758, -717, 0, 0, 0, -123, 471, -1004, -410, 184, 0, 0, 0, 778, -696, -102, 492, -983, 0, 0, 0,
};

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

/* x held within lo .. hi */
static inline int32_t pair_saturate(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* x / 2^s, halves rounded up */
static inline int32_t pair_shift_round(int32_t x, uint32_t s)
{
    return (x + ((INT32_C(1) << s) >> 1)) >> s;
}

/* a difference of logits in steps of 2^-10 of a power of two */
static inline int32_t pair_logit_steps(int32_t d, int32_t frac)
{
    return (int32_t)(((uint32_t)d * UINT32_C(47274)) >> (uint32_t)(frac + 5));
}

/* 2^-(u / 1024) as Q15 */
static inline int32_t pair_exp2_neg(int32_t u)
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
static inline int32_t pair_reciprocal(int32_t m)
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
static inline int32_t pair_probability(int32_t e, int32_t r, uint32_t k)
{
    uint32_t s = k + 16u;
    return (e * r + (INT32_C(1) << (s - 1u))) >> s;
}

/* ---- instructions of kernel set dsp, each also in portable C ----------------------------------------------------- */

/* the low lanes of x and of y */
static inline uint32_t pair_pkhbt_lsl16(uint32_t x, uint32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return (x & 0xffffu) | (y << 16);
#endif
}

/* the high lane of x, and y / 2^15 below it */
static inline uint32_t pair_pkhtb_asr15(uint32_t x, int32_t y)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("pkhtb %0, %1, %2, asr #15" : "=r"(r) : "r"(x), "r"(y));
    return r;
#else
    return (x & 0xffff0000u) | ((uint32_t)(y >> 15) & 0xffffu);
#endif
}

/* the high lane of x, and y / 2^16 below it */
static inline uint32_t pair_pkhtb_asr16(uint32_t x, int32_t y)
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
static inline uint32_t pair_qsub16(uint32_t x, uint32_t y)
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
static inline int32_t pair_smlabb(uint32_t x, uint32_t y, int32_t a)
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
static inline int32_t pair_smlabt(uint32_t x, uint32_t y, int32_t a)
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
static inline int32_t pair_smlad(uint32_t x, uint32_t y, int32_t a)
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
static inline int32_t pair_smlatb(uint32_t x, uint32_t y, int32_t a)
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
static inline int32_t pair_smlatt(uint32_t x, uint32_t y, int32_t a)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("smlatt %0, %1, %2, %3" : "=r"(r) : "r"(x), "r"(y), "r"(a));
    return r;
#else
    return (int32_t)((uint32_t)a + (uint32_t)((int16_t)(x >> 16) * (int16_t)(y >> 16)));
#endif
}

/* x / 2^9, held within 16 bits */
static inline int32_t pair_ssat16_asr9(int32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t r;
    __asm__("ssat %0, #16, %1, asr #9" : "=r"(r) : "r"(x));
    return r;
#else
    x >>= 9;
    return x < -32768 ? -32768 : x > 32767 ? 32767 : x;
#endif
}

/* x, held within 8 bits */
static inline int32_t pair_ssat8(int32_t x)
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
static inline uint32_t pair_ssub16(uint32_t x, uint32_t y)
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
static inline uint32_t pair_sxtb16(uint32_t x)
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
static inline uint32_t pair_sxtb16_ror8(uint32_t x)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
#else
    return ((uint32_t)(int8_t)(x >> 8) & 0xffffu) | ((uint32_t)(int8_t)(x >> 24) << 16);
#endif
}

/* a + the absolute differences of the four bytes of x and y: more than a only where x != y */
static inline uint32_t pair_usada8(uint32_t x, uint32_t y, uint32_t a)
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
    /* fc1_weight_dual: uint32 [12]: two rows in a word: a lane holds 256 * (odd row) + (even row) */
    const uint32_t *w = pair_fc1_weight_dual;
    /* fc1_bias_dual: int32 [6]: for each two rows: 256 * (odd bias) + (even bias), then the even bias */
    const int32_t *b = pair_fc1_bias_dual;
    const uint8_t *s = pair_fc1_shift; /* fc1_shift: uint8 [5] */
    int8_t *y = (int8_t *)pair_opaque(&m->arena.i8[24]); /* fc1: int8 [5], Q6 */
    uint32_t i = 0u, u, v, even, odd;

    /*
     * 4 rows at a time; a word holds weights of two rows: c0, c1, ... sum 256 * (odd row) + (even row), l0, l1, ... the
     * even row
     */
    {
        const int8_t *p = x;
        int32_t c0 = b[0], l0 = b[1], c1 = b[2], l1 = b[3];

        v = pair_load_word(&p[0]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        u = w[0];
        v = w[1];
        c0 = pair_smlad(u, even, c0);
        l0 = pair_smlad(pair_sxtb16(u), even, l0);
        c0 = pair_smlad(v, odd, c0);
        l0 = pair_smlad(pair_sxtb16(v), odd, l0);
        u = w[2];
        v = w[3];
        c1 = pair_smlad(u, even, c1);
        l1 = pair_smlad(pair_sxtb16(u), even, l1);
        c1 = pair_smlad(v, odd, c1);
        l1 = pair_smlad(pair_sxtb16(v), odd, l1);
        v = pair_load_word(&p[4]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        u = w[4];
        v = w[5];
        c0 = pair_smlad(u, even, c0);
        l0 = pair_smlad(pair_sxtb16(u), even, l0);
        c0 = pair_smlad(v, odd, c0);
        l0 = pair_smlad(pair_sxtb16(v), odd, l0);
        u = w[6];
        v = w[7];
        c1 = pair_smlad(u, even, c1);
        l1 = pair_smlad(pair_sxtb16(u), even, l1);
        c1 = pair_smlad(v, odd, c1);
        l1 = pair_smlad(pair_sxtb16(v), odd, l1);
        w += 8;
        y[i] = (int8_t)pair_ssat8(l0 >> s[i]);
        y[i + 1u] = (int8_t)pair_ssat8((int32_t)((uint32_t)c0 - (uint32_t)l0) >> 8 >> s[i + 1u]);
        y[i + 2u] = (int8_t)pair_ssat8(l1 >> s[i + 2u]);
        y[i + 3u] = (int8_t)pair_ssat8((int32_t)((uint32_t)c1 - (uint32_t)l1) >> 8 >> s[i + 3u]);
        i += 4u;
        b += 4;
    }
    {
        const int8_t *p = x;
        int32_t l0 = b[1];

        v = pair_load_word(&p[0]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        u = w[0];
        v = w[1];
        l0 = pair_smlad(pair_sxtb16(u), even, l0);
        l0 = pair_smlad(pair_sxtb16(v), odd, l0);
        v = pair_load_word(&p[4]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        u = w[2];
        v = w[3];
        l0 = pair_smlad(pair_sxtb16(u), even, l0);
        l0 = pair_smlad(pair_sxtb16(v), odd, l0);
        w += 4;
        y[i] = (int8_t)pair_ssat8(l0 >> s[i]);
    }
}

/* clip.forward of relu, in program forward: fc1 -> relu */
static void pair_relu_forward(pair_t *m)
{
    const int8_t *x = &m->arena.i8[24]; /* fc1: int8 [5], Q6 */
    int8_t *y = (int8_t *)pair_opaque(&m->arena.i8[24]); /* relu: int8 [5], Q6 */

    for (uint32_t i = 0u; i < 5u; i++) {
        y[i] = (int8_t)pair_saturate(x[i], 0, 127);
    }
}

/* dense.forward of fc2, in program forward: relu, fc2_weight, fc2_bias -> fc2 */
static void pair_fc2_forward(pair_t *m)
{
    const int8_t *x = &m->arena.i8[24]; /* relu: int8 [5], Q6 */
    const int16_t *w = m->state.fc2_weight; /* fc2_weight: int16 [3][5] rows of 8, Q11 */
    const int32_t *b = m->state.fc2_bias; /* fc2_bias: int32 [3], Q17 */
    int16_t *y = (int16_t *)pair_opaque(&m->arena.i16[8]); /* fc2: int16 [3], Q8 */
    uint32_t i = 0u, u, v, even, odd;

    for (; i < 3u; i++, w += 8) {
        const int8_t *p = x;
        const int16_t *w0 = w;
        int32_t a0 = b[i] + 256;

        v = pair_load_word(&p[0]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        v = pair_pkhbt_lsl16(even, odd); /* columns 0 and 1 */
        odd = pair_pkhtb_asr16(odd, (int32_t)even); /* columns 2 and 3 */
        even = v;
        u = pair_load_word(&w0[0]);
        v = pair_load_word(&w0[2]);
        __asm__("" : "+r"(u), "+r"(v)); /* loads u and v together: one LDRD */
        a0 = pair_smlad(u, even, a0);
        a0 = pair_smlad(v, odd, a0);
        v = pair_load_word(&p[4]);
        even = pair_sxtb16(v);
        odd = pair_sxtb16_ror8(v);
        v = pair_pkhbt_lsl16(even, odd); /* columns 0 and 1 */
        odd = pair_pkhtb_asr16(odd, (int32_t)even); /* columns 2 and 3 */
        even = v;
        u = pair_load_word(&w0[4]);
        v = pair_load_word(&w0[6]);
        __asm__("" : "+r"(u), "+r"(v)); /* loads u and v together: one LDRD */
        a0 = pair_smlad(u, even, a0);
        a0 = pair_smlad(v, odd, a0);
        y[i] = (int16_t)pair_ssat16_asr9(a0);
    }
}

/* classify.argmax of verdict, in program infer: fc2 -> verdict */
static void pair_verdict_argmax(pair_t *m)
{
    const int16_t *z = &m->arena.i16[8]; /* fc2: int16 [3], Q8 */
    int32_t *verdict = (int32_t *)pair_opaque(&m->arena.i32[0]); /* verdict: int32 [2] */
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
    int16_t *w = (int16_t *)pair_opaque(m->state.fc2_weight); /* fc2_weight: int16 [3][5] rows of 8, Q11 */
    int32_t *b = (int32_t *)pair_opaque(m->state.fc2_bias); /* fc2_bias: int32 [3], Q17 */
    uint32_t saturated = 0u;
    int32_t was, change, held;
    /*
     * Two rows that have a signal at a time; a single last one is paired with itself at signal 0. Products of odd
     * columns are shifted left by 1 more bits, so that their upper halves are the changes: PKHTB packs two into a word.
     */
    for (uint32_t i = 0u, k;; i = k + 1u) {
        while (i < 3u && d[i] == 0) {
            i++;
        }
        if (i >= 3u) {
            break;
        }
        for (k = i + 1u; k < 3u && d[k] == 0;) {
            k++;
        }
        const uint32_t g = pair_pkhbt_lsl16((uint32_t)d[i], k < 3u ? (uint32_t)d[k] : 0u);
        int16_t *w0 = &w[i * 8u], *w1 = k < 3u ? &w[k * 8u] : w0;
        const int8_t *p = x;
        int32_t half = 16384, top = 32768;
        uint32_t apart = 0u, even, odd, a, t, u, v;

        __asm__("" : "+r"(w0), "+r"(w1), "+r"(half), "+r"(top)); /* keeps each in a register */
        v = pair_load_word(&p[0]);
        even = pair_sxtb16(v);
        odd = (pair_sxtb16_ror8(v) << 1) & 0xfffeffffu;
        u = pair_load_word(&w0[0]);
        v = pair_load_word(&w0[2]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* loads u and v together: one LDRD */
        a = pair_pkhtb_asr15((uint32_t)pair_smlabb(g, odd, top), pair_smlabb(g, even, half));
        t = pair_ssub16(u, a);
        apart = pair_usada8(t, pair_qsub16(u, a), apart);
        a = pair_pkhtb_asr15((uint32_t)pair_smlabt(g, odd, top), pair_smlabt(g, even, half));
        u = pair_ssub16(v, a);
        apart = pair_usada8(u, pair_qsub16(v, a), apart);
        pair_store_word(&w0[0], t);
        pair_store_word(&w0[2], u);
        u = pair_load_word(&w1[0]);
        v = pair_load_word(&w1[2]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* loads u and v together: one LDRD */
        a = pair_pkhtb_asr15((uint32_t)pair_smlatb(g, odd, top), pair_smlatb(g, even, half));
        t = pair_ssub16(u, a);
        apart = pair_usada8(t, pair_qsub16(u, a), apart);
        a = pair_pkhtb_asr15((uint32_t)pair_smlatt(g, odd, top), pair_smlatt(g, even, half));
        u = pair_ssub16(v, a);
        apart = pair_usada8(u, pair_qsub16(v, a), apart);
        pair_store_word(&w1[0], t);
        pair_store_word(&w1[2], u);
        v = pair_load_word(&p[4]) & 0xffu;
        even = pair_sxtb16(v);
        odd = (pair_sxtb16_ror8(v) << 1) & 0xfffeffffu;
        u = pair_load_word(&w0[4]);
        v = pair_load_word(&w0[6]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* loads u and v together: one LDRD */
        a = pair_pkhtb_asr15((uint32_t)pair_smlabb(g, odd, top), pair_smlabb(g, even, half));
        t = pair_ssub16(u, a);
        apart = pair_usada8(t, pair_qsub16(u, a), apart);
        a = pair_pkhtb_asr15((uint32_t)pair_smlabt(g, odd, top), pair_smlabt(g, even, half));
        u = pair_ssub16(v, a);
        apart = pair_usada8(u, pair_qsub16(v, a), apart);
        pair_store_word(&w0[4], t);
        pair_store_word(&w0[6], u);
        u = pair_load_word(&w1[4]);
        v = pair_load_word(&w1[6]);
        __asm__("" : "+r"(even) : "r"(u), "r"(v)); /* loads u and v together: one LDRD */
        a = pair_pkhtb_asr15((uint32_t)pair_smlatb(g, odd, top), pair_smlatb(g, even, half));
        t = pair_ssub16(u, a);
        apart = pair_usada8(t, pair_qsub16(u, a), apart);
        a = pair_pkhtb_asr15((uint32_t)pair_smlatt(g, odd, top), pair_smlatt(g, even, half));
        u = pair_ssub16(v, a);
        apart = pair_usada8(u, pair_qsub16(v, a), apart);
        pair_store_word(&w1[4], t);
        pair_store_word(&w1[6], u);
        if (apart != 0u) {
            /*
             * A value went beyond its limit, which is rare: undo the changes of the row and apply them one by one,
             * limited.
             */
            for (uint32_t q = 0u; q < (k < 3u ? 2u : 1u); q++) {
                int16_t *row = q == 0u ? &w[i * 8u] : &w[k * 8u];
                const int32_t gain = q == 0u ? d[i] : d[k];
                for (uint32_t j = 0u; j < 5u; j++) {
                    change = pair_shift_round(gain * x[j], 15u);
                    was = (int16_t)(row[j] + change);
                    held = pair_saturate(was - change, -32768, 32767);
                    saturated += (uint32_t)(held != was - change);
                    row[j] = (int16_t)held;
                }
            }
        }
    }
    for (uint32_t i = 0u; i < 3u; i++) {
        if (d[i] == 0) {
            continue;
        }
        change = pair_shift_round(d[i], 3u);
        held = pair_saturate(b[i] - change, -268435456, 268435455);
        saturated += (uint32_t)(held != b[i] - change);
        b[i] = held;
    }
    m->state.fc2_saturated[0] += saturated;
}

/* softmax_error.forward of loss, in program adapt: fc2, label -> error, taught */
static void pair_loss_forward(pair_t *m)
{
    const int16_t *z = &m->arena.i16[8]; /* fc2: int16 [3], Q8 */
    int16_t *e = (int16_t *)pair_opaque(&m->arena.i16[4]); /* error: int16 [3], Q14 */
    const uint32_t label = m->arena.u8[32];
    int32_t top = z[0], total = 0;
    uint32_t k = 0u;
    uint8_t taught = 0u;

    for (uint32_t i = 1u; i < 3u; i++) {
        top = z[i] > top ? z[i] : top;
    }
    for (uint32_t i = 0u; i < 3u; i++) {
        total += pair_exp2_neg(pair_logit_steps(top - z[i], 8));
    }
    while ((total >> k) > 65535) {
        k++;
    }

    const int32_t r = pair_reciprocal(total >> k);
    for (uint32_t i = 0u; i < 3u; i++) {
        int32_t v = pair_probability(pair_exp2_neg(pair_logit_steps(top - z[i], 8)), r, k);
        if (i == label) {
            v -= 16384;
        }
        e[i] = (int16_t)v;
        if (v != 0) {
            taught = 1u;
        }
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
    if (m->arena.u8[36] != 0u) {
        pair_program_correct(m);
    }
    pair_step_tick(m);
}

/* Program learn: one labelled sample of the wearer */
static void pair_program_learn(pair_t *m)
{
    pair_program_adapt(m);
}

/* ---- who is at work --------------------------------------------------------------------------------------------- */

enum { PAIR_IDLE, PAIR_IN_CALL, PAIR_BETWEEN_SLICES }; /* what the marks in pair_run_t say */

/*
 * Marks an arena as taken, if nobody has it. A call that interrupts another one is so refused and does no harm; what is
 * interrupted between the look and the mark finds the arena free again. Two cores, or threads, need a lock around both.
 */
static pair_status pair_claim(uint8_t *mark)
{
    volatile uint8_t *const seen = (uint8_t *)pair_opaque(mark);

    if (*seen != PAIR_IDLE) {
        return PAIR_BUSY;
    }
    *seen = PAIR_IN_CALL;
    return PAIR_OK;
}

/* Sets a mark again, behind all that was stored before. */
static void pair_release(uint8_t *mark, uint8_t to)
{
    volatile uint8_t *const seen = (uint8_t *)pair_opaque(mark);

    *seen = to;
}

/* ---- runs in slices --------------------------------------------------------------------------------------------- */

/* Step number PAIR_OPS does nothing: `synapcc bench` measures it and subtracts what calling a step costs. */
static void pair_nothing(pair_t *m)
{
    (void)m;
}

static void (*const pair_ops[PAIR_OPS + 1u])(pair_t *) = {
    pair_fc1_forward,
    pair_relu_forward,
    pair_fc2_forward,
    pair_verdict_argmax,
    pair_fc2_update,
    pair_loss_forward,
    pair_step_tick,
    pair_nothing,
};

enum { PAIR_STEP, PAIR_CALL, PAIR_WHEN, PAIR_END };

/*
 * The programs once more, as data. STEP: number of the step. CALL, WHEN: the item with which a program begins, and how
 * often it runs, or which byte of pair_t is the flag that must be set. END: back to whoever called.
 */
typedef struct {
    uint16_t kind;
    uint16_t number;
    uint32_t value;
} pair_item_t;

static const pair_item_t pair_items[16] = {
    { PAIR_STEP, 0u, 0u }, /* program forward */
    { PAIR_STEP, 1u, 0u },
    { PAIR_STEP, 2u, 0u },
    { PAIR_END, 0u, 0u },
    { PAIR_CALL, 0u, 1u }, /* program infer */
    { PAIR_STEP, 3u, 0u },
    { PAIR_END, 0u, 0u },
    { PAIR_STEP, 4u, 0u }, /* program correct */
    { PAIR_END, 0u, 0u },
    { PAIR_CALL, 0u, 1u }, /* program adapt */
    { PAIR_STEP, 5u, 0u },
    { PAIR_WHEN, 7u, 104u },
    { PAIR_STEP, 6u, 0u },
    { PAIR_END, 0u, 0u },
    { PAIR_CALL, 9u, 1u }, /* program learn */
    { PAIR_END, 0u, 0u },
};

static const uint16_t pair_starts[PAIR_PROGRAMS] = { 4u, 14u };

/* Goes on to the next step, or to the end: level 0. */
static void pair_settle(pair_t *m)
{
    pair_run_t *const run = &m->run;
    const uint8_t *const bytes = (const uint8_t *)m;

    while (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const pair_item_t *const item = &pair_items[run->at[top]];
        uint32_t turns;

        if (item->kind == PAIR_STEP) {
            return;
        }
        if (item->kind == PAIR_END) {
            run->turns[top]--;
            if (run->turns[top] == 0u) {
                run->level--;
            } else {
                run->at[top] = pair_items[run->at[top - 1u] - 1u].number; /* behind the item that called */
            }
            continue;
        }
        turns = item->kind == PAIR_CALL ? item->value : (bytes[item->value] != 0u ? 1u : 0u);
        run->at[top]++;
        if (turns > 0u) {
            run->turns[top + 1u] = turns;
            run->at[top + 1u] = item->number;
            run->level++;
        }
    }
}

/* Begins an entry program on the arena, which is claimed. */
static void pair_begin(pair_t *m, uint32_t program)
{
    m->run.turns[0] = 1u;
    m->run.at[0] = pair_starts[program];
    m->run.level = 1u;
    pair_settle(m);
    pair_release(&m->run.busy, PAIR_BETWEEN_SLICES);
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

pair_status pair_init(pair_t *m)
{
    memset(m, 0, sizeof *m);
    memcpy(m->state.fc2_bias, pair_fc2_bias_init, sizeof pair_fc2_bias_init);
    memcpy(m->state.fc2_weight, pair_fc2_weight_init, sizeof pair_fc2_weight_init);
    return PAIR_OK;
}

/* Persistent tensors. */
static const pair_tensor_t pair_tensors[PAIR_TENSORS] = {
    { "fc2_bias", "int32", 0u, 12u, 4u, 3u, 3u, -268435456, 536870911u },
    { "step", "uint32", 12u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc2_saturated", "uint32", 16u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc2_weight", "int16", 20u, 48u, 2u, 8u, 5u, -32768, 65535u },
};

/* The element at p less `lo`, modulo its type: no more than hi - lo where lo <= element <= hi. */
static uint32_t pair_above(const uint8_t *p, uint32_t size, int32_t lo)
{
    uint16_t half;
    uint32_t word;

    switch (size) {
    case 1u:
        return (uint8_t)(*p - (uint32_t)lo);
    case 2u:
        memcpy(&half, p, sizeof half);
        return (uint16_t)(half - (uint32_t)lo);
    default:
        memcpy(&word, p, sizeof word);
        return word - (uint32_t)lo;
    }
}

pair_status pair_check_part(const pair_state_t *state, uint32_t offset, uint32_t bytes)
{
    uint32_t end;

    if (offset > PAIR_STATE_BYTES) {
        return PAIR_BAD_ARGUMENT;
    }
    end = bytes < PAIR_STATE_BYTES - offset ? offset + bytes : PAIR_STATE_BYTES;
    for (uint32_t i = 0u; i < PAIR_TENSORS; i++) {
        const pair_tensor_t *const t = &pair_tensors[i];
        const uint8_t *const tensor = (const uint8_t *)state + t->offset;
        const uint32_t reach = end > t->offset ? end - t->offset : 0u;
        const uint32_t stop = reach < t->bytes ? reach : t->bytes;
        uint32_t at = offset > t->offset ? (offset - t->offset) & ~(t->size - 1u) : 0u; /* whole elements */
        uint32_t column = at >> (t->size >> 1); /* elements: sizes are 1, 2 and 4 */

        while (column >= t->row) {
            column -= t->row;
        }
        for (; at < stop; at += t->size) {
            const int used = column < t->columns;
            if (pair_above(&tensor[at], t->size, used ? t->lo : 0) > (used ? t->range : 0u)) {
                return PAIR_BAD_STATE;
            }
            column = column + 1u < t->row ? column + 1u : 0u;
        }
    }
    return PAIR_OK;
}

pair_status pair_check(const pair_state_t *state)
{
    return pair_check_part(state, 0u, PAIR_STATE_BYTES);
}

static void pair_put(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    memcpy((&m->arena.i8[8]), x->x, sizeof x->x);
    m->arena.u8[32] = label;
}

pair_status pair_load(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    const pair_status status = pair_claim(&m->run.busy);

    if (status == PAIR_OK) {
        pair_put(m, x, label);
        pair_release(&m->run.busy, PAIR_IDLE);
    }
    return status;
}

pair_status pair_infer(pair_t *m, const pair_inputs_t *x, pair_outputs_t *y)
{
    const pair_status status = pair_claim(&m->run.busy);

    if (status != PAIR_OK) {
        return status;
    }
    memcpy((&m->arena.i8[8]), x->x, sizeof x->x);
    pair_program_infer(m);
    y->winner = (&m->arena.i32[0])[0];
    y->margin = (&m->arena.i32[0])[1];
    memcpy(y->scores, (&m->arena.i16[8]), sizeof y->scores);
    pair_release(&m->run.busy, PAIR_IDLE);
    return PAIR_OK;
}

pair_status pair_learn(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    if (label >= PAIR_CLASSES) {
        return PAIR_BAD_LABEL;
    }
    if (pair_claim(&m->run.busy) != PAIR_OK) {
        return PAIR_BUSY;
    }
    pair_put(m, x, label);
    pair_program_learn(m);
    pair_release(&m->run.busy, PAIR_IDLE);
    return PAIR_OK;
}

pair_status pair_learn_begin(pair_t *m, const pair_inputs_t *x, uint8_t label)
{
    if (label >= PAIR_CLASSES) {
        return PAIR_BAD_LABEL;
    }
    if (pair_claim(&m->run.busy) != PAIR_OK) {
        return PAIR_BUSY;
    }
    pair_put(m, x, label);
    pair_begin(m, PAIR_PROGRAM_LEARN);
    return PAIR_OK;
}

/* Claims the arena for an entry program that runs on what lies there. */
static pair_status pair_open(pair_t *m, uint32_t program)
{
    if (program >= PAIR_PROGRAMS) {
        return PAIR_BAD_ARGUMENT;
    }
    if (pair_claim(&m->run.busy) != PAIR_OK) {
        return PAIR_BUSY;
    }
    if ((program == PAIR_PROGRAM_LEARN) && m->arena.u8[32] >= PAIR_CLASSES) {
        pair_release(&m->run.busy, PAIR_IDLE);
        return PAIR_BAD_LABEL;
    }
    return PAIR_OK;
}

pair_status pair_run(pair_t *m, uint32_t program)
{
    const pair_status status = pair_open(m, program);

    if (status != PAIR_OK) {
        return status;
    }
    switch (program) {
    case PAIR_PROGRAM_INFER:
        pair_program_infer(m);
        break;
    case PAIR_PROGRAM_LEARN:
        pair_program_learn(m);
        break;
    default:
        break; /* there is no other */
    }
    pair_release(&m->run.busy, PAIR_IDLE);
    return PAIR_OK;
}

pair_status pair_run_begin(pair_t *m, uint32_t program)
{
    const pair_status status = pair_open(m, program);

    if (status == PAIR_OK) {
        pair_begin(m, program);
    }
    return status;
}

pair_status pair_run_step(pair_t *m)
{
    pair_run_t *const run = &m->run;

    if (run->busy != PAIR_BETWEEN_SLICES) {
        return run->busy == PAIR_IDLE ? PAIR_BAD_ARGUMENT : PAIR_BUSY;
    }
    if (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const uint32_t op = pair_items[run->at[top]].number;

        pair_release(&run->busy, PAIR_IN_CALL);
        run->at[top]++;
        pair_ops[op](m);
        pair_settle(m);
    }
    if (run->level > 0u) {
        pair_release(&run->busy, PAIR_BETWEEN_SLICES);
        return PAIR_MORE;
    }
    pair_release(&run->busy, PAIR_IDLE);
    return PAIR_OK;
}

pair_status pair_learn_step(pair_t *m)
{
    return pair_run_step(m);
}

pair_status pair_run_abort(pair_t *m)
{
    if (m->run.busy == PAIR_IN_CALL) {
        return PAIR_BUSY;
    }
    pair_release(&m->run.busy, PAIR_IDLE);
    return PAIR_OK;
}

/*
 * What steps that run alone want to find in the arena, as programs leave it: elements within lo .. lo + range; `total`, where it
 * is not 0, the most that their magnitudes add up to. Behind it, which steps want what.
 */
typedef struct {
    uint32_t offset; /* bytes from the start of the arena */
    uint32_t size; /* bytes of an element */
    uint32_t rows;
    uint32_t row; /* elements of a row in memory */
    uint32_t columns; /* of these, those in use */
    int32_t lo;
    uint32_t range;
    uint32_t total;
} pair_held_t;

static const pair_held_t pair_held[1] = {
    { 8u, 2u, 1u, 3u, 3u, -16384, 32768u, 0u }, /* error */
};

static const struct {
    uint16_t op;
    uint16_t held;
} pair_wants[1] = {
    { 4u, 0u },
};

static int pair_holds(const pair_held_t *held, const uint8_t *arena)
{
    const uint8_t *p = &arena[held->offset];
    uint32_t total = 0u;

    for (uint32_t i = 0u; i < held->rows; i++, p += held->row * held->size) {
        for (uint32_t j = 0u; j < held->columns; j++) {
            const uint32_t above = pair_above(&p[j * held->size], held->size, held->lo);
            const uint32_t value = above + (uint32_t)held->lo;
            const uint32_t magnitude = value < UINT32_C(0x80000000) ? value : 0u - value;

            if (above > held->range || (held->total > 0u && magnitude > held->total - total)) {
                return 0;
            }
            total += held->total > 0u ? magnitude : 0u;
        }
    }
    return 1;
}

pair_status pair_check_op(const pair_t *m, uint32_t op)
{
    if (op > PAIR_OPS) {
        return PAIR_BAD_ARGUMENT;
    }
    if (m->run.busy != PAIR_IDLE) {
        return PAIR_BUSY;
    }
    if (pair_wants[0].op == op && pair_holds(&pair_held[pair_wants[0].held], (const uint8_t *)&m->arena) == 0) {
        return PAIR_BAD_STATE;
    }
    return PAIR_OK;
}

pair_status pair_run_op(pair_t *m, uint32_t op)
{
    if (op > PAIR_OPS) {
        return PAIR_BAD_ARGUMENT;
    }
    if (pair_claim(&m->run.busy) != PAIR_OK) {
        return PAIR_BUSY;
    }
    if ((op == 5u) && m->arena.u8[32] >= PAIR_CLASSES) {
        pair_release(&m->run.busy, PAIR_IDLE);
        return PAIR_BAD_LABEL;
    }
    pair_ops[op](m);
    pair_release(&m->run.busy, PAIR_IDLE);
    return PAIR_OK;
}

const pair_tensor_t *pair_tensor(uint32_t i)
{
    return i < PAIR_TENSORS ? &pair_tensors[i] : NULL;
}

#undef PAIR_ALIGNED
#if !defined(__clang__)
#pragma GCC pop_options
#endif
