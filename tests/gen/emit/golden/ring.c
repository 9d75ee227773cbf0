/*
 * ring: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile ring.onnx
 * Plan 01d8634936307adbe465d0b01f190bc79cf6599c3d5a0ea7b93e5f3ce3d7f4b5
 *
 * The memory map and the meaning of "Qn" stand in ring.h. Rows of matrices are padded to four elements.
 */
#include "ring.h"

#include <string.h>

#if RING_RUNTIME_VERSION != 2 || RING_NUMERIC_VERSION != 1
#error "ring.h is of another version than ring.c: emit both again"
#endif

/* What the arithmetic relies on. A compiler that shifts or packs otherwise stops here. */
typedef char ring_shift_is_arithmetic[(-1 >> 1) == -1 ? 1 : -1];
typedef char ring_state_is_packed[sizeof(ring_state_t) == 272u ? 1 : -1];
typedef char ring_model_is_packed[sizeof(ring_t) == 376u ? 1 : -1];

#if defined(__GNUC__)
#define RING_ALIGNED __attribute__((aligned(4)))
/*
 * Returns p. The compiler cannot tell that it is p, and so cannot address what p points to relative to another array.
 * GCC 12 (x86-64, -O1 and up) otherwise addresses one array of a struct relative to another, takes the result for a
 * null pointer and drops the stores of the step. Being volatile, the statement also keeps calls of steps that only
 * read. No instruction is emitted for it.
 */
static inline void *ring_opaque(void *p)
{
    __asm__ __volatile__("" : "+r"(p) : : "memory");
    return p;
}
#else
#define RING_ALIGNED
static inline void *ring_opaque(void *p)
{
    return p;
}
#endif

/* ---- constants ------------------------------------------------------------------------------------------------- */

/* int8 [2][7] rows of 8, Q6: base examples */
static const int8_t ring_replay_x[16] RING_ALIGNED = {
    -128, -18, 92, -56, 54, -95, 15, 0, 125, -23, 87, -61, 49, -100, 10, 0,
};

/* uint8 [2][1] */
static const uint8_t ring_replay_label[2] RING_ALIGNED = {
    0, 1,
};

/* uint32 [1]: base examples in flash */
static const uint32_t ring_replay_count[1] RING_ALIGNED = {
    2u,
};

/* int32 [5], Q18; ring_init copies it into the state */
static const int32_t ring_fc1_bias_init[5] RING_ALIGNED = {
    -131072, -102236, -73400, -44564, -15729,
};

/* int32 [3], Q16; ring_init copies it into the state */
static const int32_t ring_fc2_bias_init[3] RING_ALIGNED = {
    -32768, -28180, -23593,
};

/* int16 [5][7] rows of 8, Q12; ring_init copies it into the state */
static const int16_t ring_fc1_weight_init[40] RING_ALIGNED = {
    -2048, -532, 983, -1638, -123, 1393, -1229, 0, 287, 1802, -819, 696, -1925, -410, 1106, 0, -1516, 0, 1516, -1106,
    410, 1925, -696, 0, 819, -1802, -287, 1229, -1393, 123, 1638, 0, -983, 532, 2048, -573, 942, -1679, -164, 0,
};

/* int16 [3][5] rows of 8, Q13; ring_init copies it into the state */
static const int16_t ring_fc2_weight_init[24] RING_ALIGNED = {
    -4096, -1720, 655, 3031, -2867, 0, 0, 0, -492, 1884, -4014, -1638, 737, 0, 0, 0, 3113, -2785, -410, 1966, -3932, 0,
    0, 0,
};

/* int16 [3][5] rows of 8, Q13; ring_init copies it into the state */
static const int16_t ring_fc2_feedback_init[24] RING_ALIGNED = {
    985, -3092, -1529, 713, 849, 0, 0, 0, -2412, -713, 2684, 4179, -3635, 0, 0, 0, -1665, 2616, -170, -4179, -3499, 0,
    0, 0,
};

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

/* x held within lo .. hi */
static inline int32_t ring_saturate(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* x / 2^s, halves rounded up */
static inline int32_t ring_shift_round(int32_t x, uint32_t s)
{
    return (x + ((INT32_C(1) << s) >> 1)) >> s;
}

/* p / 2^s, rounded up with a probability equal to the discarded fraction */
static inline int32_t ring_round_stochastic(int32_t p, uint32_t s, uint32_t lane)
{
    uint32_t r = s <= 16u ? lane >> (16u - s) : lane << (s - 16u);
    return (p + (int32_t)r) >> s;
}

/* a 32-bit integer hash of low bias (C. Wellons) */
static inline uint32_t ring_hash32(uint32_t x)
{
    x ^= x >> 16;
    x *= UINT32_C(0x7feb352d);
    x ^= x >> 15;
    x *= UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/* absorbs one more word into a key */
static inline uint32_t ring_mix(uint32_t key, uint32_t word)
{
    return ring_hash32(key ^ (word * UINT32_C(0x9e3779b1)));
}

/* the next word of a row's random stream */
static inline uint32_t ring_lcg(uint32_t x)
{
    return x * UINT32_C(1664525) + UINT32_C(1013904223);
}

/* an index below n from a random word */
static inline uint32_t ring_scale_index(uint32_t word, uint32_t n)
{
    return ((word >> 16) * n) >> 16;
}

/* a difference of logits in steps of 2^-10 of a power of two */
static inline int32_t ring_logit_steps(int32_t d, int32_t frac)
{
    return (int32_t)(((uint32_t)d * UINT32_C(47274)) >> (uint32_t)(frac + 5));
}

/* 2^-(u / 1024) as Q15 */
static inline int32_t ring_exp2_neg(int32_t u)
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
static inline int32_t ring_reciprocal(int32_t m)
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
static inline int32_t ring_probability(int32_t e, int32_t r, uint32_t k)
{
    uint32_t s = k + 16u;
    return (e * r + (INT32_C(1) << (s - 1u))) >> s;
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* dense.forward of fc1 (/net/fc1), in program forward: x, fc1_weight, fc1_bias -> fc1 */
static void ring_fc1_forward(ring_t *m)
{
    const int8_t *x = &m->arena.i8[32]; /* x: int8 [7], Q6: input */
    const int16_t *w = m->state.fc1_weight; /* fc1_weight: int16 [5][7] rows of 8, Q12 */
    const int32_t *b = m->state.fc1_bias; /* fc1_bias: int32 [5], Q18 */
    int8_t *y = (int8_t *)ring_opaque(&m->arena.i8[0]); /* fc1: int8 [5], Q3 */
    uint32_t i = 0u;

    /* four rows at a time, so that each input is read once for four */
    {
        int32_t a0 = b[i], a1 = b[i + 1u], a2 = b[i + 2u], a3 = b[i + 3u];
        for (uint32_t j = 0u; j < 7u; j++) {
            const int32_t v = x[j];
            a0 += w[j] * v;
            a1 += w[j + 8u] * v;
            a2 += w[j + 16u] * v;
            a3 += w[j + 24u] * v;
        }
        y[i] = (int8_t)ring_saturate(ring_shift_round(a0, 15u), -128, 127);
        y[i + 1u] = (int8_t)ring_saturate(ring_shift_round(a1, 15u), -128, 127);
        y[i + 2u] = (int8_t)ring_saturate(ring_shift_round(a2, 15u), -128, 127);
        y[i + 3u] = (int8_t)ring_saturate(ring_shift_round(a3, 15u), -128, 127);
        i += 4u;
        w += 32;
    }
    {
        int32_t a0 = b[i];
        for (uint32_t j = 0u; j < 7u; j++) {
            a0 += w[j] * x[j];
        }
        y[i] = (int8_t)ring_saturate(ring_shift_round(a0, 15u), -128, 127);
    }
}

/* clip.forward of relu, in program forward: fc1 -> relu */
static void ring_relu_forward(ring_t *m)
{
    const int8_t *x = &m->arena.i8[0]; /* fc1: int8 [5], Q3 */
    int8_t *y = (int8_t *)ring_opaque(&m->arena.i8[0]); /* relu: int8 [5], Q3 */

    for (uint32_t i = 0u; i < 5u; i++) {
        y[i] = (int8_t)ring_saturate(x[i], 0, 127);
    }
}

/* dense.forward of fc2, in program forward: relu, fc2_weight, fc2_bias -> fc2 */
static void ring_fc2_forward(ring_t *m)
{
    const int8_t *x = &m->arena.i8[0]; /* relu: int8 [5], Q3 */
    const int16_t *w = m->state.fc2_weight; /* fc2_weight: int16 [3][5] rows of 8, Q13 */
    const int32_t *b = m->state.fc2_bias; /* fc2_bias: int32 [3], Q16 */
    int16_t *y = (int16_t *)ring_opaque(&m->arena.i16[24]); /* fc2: int16 [3], Q8 */
    uint32_t i = 0u;

    for (; i < 3u; i++, w += 8) {
        int32_t a0 = b[i];
        for (uint32_t j = 0u; j < 5u; j++) {
            a0 += w[j] * x[j];
        }
        y[i] = (int16_t)ring_saturate(ring_shift_round(a0, 8u), -32768, 32767);
    }
}

/* classify.argmax of verdict, in program infer: fc2 -> verdict */
static void ring_verdict_argmax(ring_t *m)
{
    const int16_t *z = &m->arena.i16[24]; /* fc2: int16 [3], Q8 */
    int32_t *verdict = (int32_t *)ring_opaque(&m->arena.i32[6]); /* verdict: int32 [2] */
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

/* project.matrix of fc2, in program correct: error, fc2_feedback -> fc2_input_teach */
static void ring_fc2_project(ring_t *m)
{
    const int16_t *d = &m->arena.i16[20]; /* error: int16 [3], Q14 */
    const int16_t *w = m->state.fc2_feedback; /* fc2_feedback: int16 [3][5] rows of 8, Q13 */
    int16_t *g = (int16_t *)ring_opaque(&m->arena.i16[6]); /* fc2_input_teach: int16 [5], Q13 */
    uint32_t i = 0u;

    /* four columns at a time, so that each signal is read once for four; rows whose signal is zero are skipped */
    {
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (uint32_t j = 0u; j < 3u; j++) {
            const int16_t *c = &w[j * 8u + i];
            const int32_t v = d[j];
            if (v == 0) {
                continue;
            }
            a0 += c[0] * v;
            a1 += c[1] * v;
            a2 += c[2] * v;
            a3 += c[3] * v;
        }
        g[i] = (int16_t)ring_saturate(ring_shift_round(a0, 14u), -32768, 32767);
        g[i + 1u] = (int16_t)ring_saturate(ring_shift_round(a1, 14u), -32768, 32767);
        g[i + 2u] = (int16_t)ring_saturate(ring_shift_round(a2, 14u), -32768, 32767);
        g[i + 3u] = (int16_t)ring_saturate(ring_shift_round(a3, 14u), -32768, 32767);
        i += 4u;
    }
    {
        int32_t a0 = 0;
        for (uint32_t j = 0u; j < 3u; j++) {
            a0 += w[j * 8u + i] * d[j];
        }
        g[i] = (int16_t)ring_saturate(ring_shift_round(a0, 14u), -32768, 32767);
    }
}

/* dense.update of fc2, in program correct: relu, error, step -> fc2_weight, fc2_bias, fc2_feedback, fc2_saturated */
static void ring_fc2_update(ring_t *m)
{
    const int8_t *x = &m->arena.i8[0]; /* relu: int8 [5], Q3 */
    const int16_t *d = &m->arena.i16[20]; /* error: int16 [3], Q14 */
    int16_t *w = (int16_t *)ring_opaque(m->state.fc2_weight); /* fc2_weight: int16 [3][5] rows of 8, Q13 */
    int16_t *r = (int16_t *)ring_opaque(m->state.fc2_feedback); /* fc2_feedback: int16 [3][5] rows of 8, Q13 */
    int32_t *b = (int32_t *)ring_opaque(m->state.fc2_bias); /* fc2_bias: int32 [3], Q16 */
    const uint32_t key = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 1u);
    uint32_t saturated = 0u;
    int32_t p, v, held;

    for (uint32_t i = 0u; i < 3u; i++, w += 8, r += 8) {
        const int32_t g = d[i];
        if (g == 0) {
            continue; /* no signal: nothing changes, and the row's random words are not needed */
        }
        uint32_t word = ring_hash32(key + i);
        for (uint32_t j = 0u; j < 4u; j += 2u) {
            p = ring_round_stochastic(g * x[j], 10u, word & 0xffffu);
            v = w[j] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            w[j] = (int16_t)held;
            v = r[j] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            r[j] = (int16_t)held;
            p = ring_round_stochastic(g * x[j + 1u], 10u, word >> 16);
            v = w[j + 1u] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            w[j + 1u] = (int16_t)held;
            v = r[j + 1u] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            r[j + 1u] = (int16_t)held;
            word = ring_lcg(word);
        }
        p = ring_round_stochastic(g * x[4u], 10u, word & 0xffffu);
        v = w[4u] - p;
        held = ring_saturate(v, -32768, 32767);
        saturated += (uint32_t)(held != v);
        w[4u] = (int16_t)held;
        v = r[4u] - p;
        held = ring_saturate(v, -32768, 32767);
        saturated += (uint32_t)(held != v);
        r[4u] = (int16_t)held;
        word = ring_lcg(word);
        p = ring_round_stochastic(g, 4u, word & 0xffffu);
        v = b[i] - p;
        held = ring_saturate(v, -268435456, 268435455);
        saturated += (uint32_t)(held != v);
        b[i] = (int32_t)held;
    }
    m->state.fc2_saturated[0] += saturated;
}

/* clip.feedback of relu, in program correct: relu, fc2_input_teach -> relu_input_teach */
static void ring_relu_feedback(ring_t *m)
{
    const int8_t *y = &m->arena.i8[0]; /* relu: int8 [5], Q3 */
    const int16_t *d = &m->arena.i16[6]; /* fc2_input_teach: int16 [5], Q13 */
    int16_t *g = (int16_t *)ring_opaque(&m->arena.i16[6]); /* relu_input_teach: int16 [5], Q13 */

    for (uint32_t i = 0u; i < 5u; i++) {
        g[i] = y[i] > 0 ? d[i] : (int16_t)0;
    }
}

/*
 * dense.update of fc1 (/net/fc1), in program correct: x, relu_input_teach, step -> fc1_weight, fc1_bias, fc1_saturated
 */
static void ring_fc1_update(ring_t *m)
{
    const int8_t *x = &m->arena.i8[32]; /* x: int8 [7], Q6: input */
    const int16_t *d = &m->arena.i16[6]; /* relu_input_teach: int16 [5], Q13 */
    int16_t *w = (int16_t *)ring_opaque(m->state.fc1_weight); /* fc1_weight: int16 [5][7] rows of 8, Q12 */
    int32_t *b = (int32_t *)ring_opaque(m->state.fc1_bias); /* fc1_bias: int32 [5], Q18 */
    const uint32_t key = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 2u);
    uint32_t saturated = 0u;
    int32_t p, v, held;

    for (uint32_t i = 0u; i < 5u; i++, w += 8) {
        const int32_t g = d[i];
        if (g == 0) {
            continue; /* no signal: nothing changes, and the row's random words are not needed */
        }
        uint32_t word = ring_hash32(key + i);
        for (uint32_t j = 0u; j < 6u; j += 2u) {
            p = ring_round_stochastic(g * x[j], 13u, word & 0xffffu);
            v = w[j] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            w[j] = (int16_t)held;
            p = ring_round_stochastic(g * x[j + 1u], 13u, word >> 16);
            v = w[j + 1u] - p;
            held = ring_saturate(v, -32768, 32767);
            saturated += (uint32_t)(held != v);
            w[j + 1u] = (int16_t)held;
            word = ring_lcg(word);
        }
        p = ring_round_stochastic(g * x[6u], 13u, word & 0xffffu);
        v = w[6u] - p;
        held = ring_saturate(v, -32768, 32767);
        saturated += (uint32_t)(held != v);
        w[6u] = (int16_t)held;
        word = ring_lcg(word);
        p = ring_round_stochastic(g, 1u, word & 0xffffu);
        v = b[i] - p;
        held = ring_saturate(v, -268435456, 268435455);
        saturated += (uint32_t)(held != v);
        b[i] = (int32_t)held;
    }
    m->state.fc1_saturated[0] += saturated;
}

/* decay.apply of fc1_weight, in program decay: step -> fc1_weight */
static void ring_fc1_weight_apply(ring_t *m)
{
    int16_t *w = (int16_t *)ring_opaque(m->state.fc1_weight); /* fc1_weight: int16 [5][7] rows of 8, Q12 */
    const uint32_t key = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 3u);
    int32_t v;

    for (uint32_t i = 0u; i < 5u; i++, w += 8) {
        uint32_t word = ring_hash32(key + i);
        for (uint32_t j = 0u; j < 6u; j += 2u) {
            v = w[j];
            w[j] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
            v = w[j + 1u];
            w[j + 1u] = (int16_t)(v - ring_round_stochastic(v, 8u, word >> 16));
            word = ring_lcg(word);
        }
        v = w[6];
        w[6] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
    }
}

/* decay.apply of fc2_weight, in program decay: step -> fc2_weight */
static void ring_fc2_weight_apply(ring_t *m)
{
    int16_t *w = (int16_t *)ring_opaque(m->state.fc2_weight); /* fc2_weight: int16 [3][5] rows of 8, Q13 */
    const uint32_t key = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 4u);
    int32_t v;

    for (uint32_t i = 0u; i < 3u; i++, w += 8) {
        uint32_t word = ring_hash32(key + i);
        for (uint32_t j = 0u; j < 4u; j += 2u) {
            v = w[j];
            w[j] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
            v = w[j + 1u];
            w[j + 1u] = (int16_t)(v - ring_round_stochastic(v, 8u, word >> 16));
            word = ring_lcg(word);
        }
        v = w[4];
        w[4] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
    }
}

/* decay.apply of fc2_feedback, in program decay: step -> fc2_feedback */
static void ring_fc2_feedback_apply(ring_t *m)
{
    int16_t *w = (int16_t *)ring_opaque(m->state.fc2_feedback); /* fc2_feedback: int16 [3][5] rows of 8, Q13 */
    const uint32_t key = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 5u);
    int32_t v;

    for (uint32_t i = 0u; i < 3u; i++, w += 8) {
        uint32_t word = ring_hash32(key + i);
        for (uint32_t j = 0u; j < 4u; j += 2u) {
            v = w[j];
            w[j] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
            v = w[j + 1u];
            w[j + 1u] = (int16_t)(v - ring_round_stochastic(v, 8u, word >> 16));
            word = ring_lcg(word);
        }
        v = w[4];
        w[4] = (int16_t)(v - ring_round_stochastic(v, 8u, word & 0xffffu));
    }
}

/* softmax_error.forward of loss, in program adapt: fc2, label -> error, taught */
static void ring_loss_forward(ring_t *m)
{
    const int16_t *z = &m->arena.i16[24]; /* fc2: int16 [3], Q8 */
    int16_t *e = (int16_t *)ring_opaque(&m->arena.i16[20]); /* error: int16 [3], Q14 */
    const uint32_t label = m->arena.u8[12];
    int32_t top = z[0], total = 0;
    uint32_t k = 0u;
    uint8_t taught = 0u;

    for (uint32_t i = 1u; i < 3u; i++) {
        top = z[i] > top ? z[i] : top;
    }
    for (uint32_t i = 0u; i < 3u; i++) {
        total += ring_exp2_neg(ring_logit_steps(top - z[i], 8));
    }
    while ((total >> k) > 65535) {
        k++;
    }

    const int32_t r = ring_reciprocal(total >> k);
    for (uint32_t i = 0u; i < 3u; i++) {
        int32_t v = ring_probability(ring_exp2_neg(ring_logit_steps(top - z[i], 8)), r, k);
        if (i == label) {
            v -= 16384;
        }
        e[i] = (int16_t)v;
        if (v != 0) {
            taught = 1u;
        }
    }
    m->arena.u8[8] = taught;
}

/* counter.tick of step, in program adapt: step */
static void ring_step_tick(ring_t *m)
{
    m->state.step[0]++;
}

/* counter.every of decay, in program adapt: decay_phase, decay_due */
static void ring_decay_every(ring_t *m)
{
    const uint32_t phase = m->state.decay_phase[0] + 1u;
    const uint8_t due = phase >= 4u;

    m->state.decay_phase[0] = due ? 0u : phase;
    m->arena.u8[0] = due;
}

/* samples.pick of replay, in program replay_one: replay_count -> replay_next, replay_index, replay_valid */
static void ring_replay_pick(ring_t *m)
{
    const uint32_t index = m->state.replay_next[0];
    const uint32_t next = index + 1u;

    m->arena.u32[14] = index;
    m->arena.u8[0] = index < ring_replay_count[0];
    m->state.replay_next[0] = next >= 2u ? 0u : next;
}

/* samples.read of replay, in program replay_one: replay_x, replay_index -> x */
static void ring_replay_read(ring_t *m)
{
    int8_t *x = (int8_t *)ring_opaque(&m->arena.i8[32]); /* x: int8 [7], Q6: input */
    const uint32_t row = m->arena.u32[14] < 2u ? m->arena.u32[14] : 1u;
    memcpy(x, &ring_replay_x[row * 8u], 7u);
}

/* samples.read of replay, in program replay_one: replay_label, replay_index -> label */
static void ring_replay_read_2(ring_t *m)
{
    uint8_t *x = (uint8_t *)ring_opaque(&m->arena.u8[12]); /* label: uint8 [1] */
    const uint32_t row = m->arena.u32[14] < 2u ? m->arena.u32[14] : 1u;
    memcpy(x, &ring_replay_label[row * 1u], 1u);
}

/* counter.every of replay, in program refresh: replay_phase, replay_due */
static void ring_replay_every(ring_t *m)
{
    const uint32_t phase = m->state.replay_phase[0] + 1u;
    const uint8_t due = phase >= 1u;

    m->state.replay_phase[0] = due ? 0u : phase;
    m->arena.u8[0] = due;
}

/* samples.seek of store, in program keep: label, store_label, store_count -> store_next, store_held */
static void ring_store_seek(ring_t *m)
{
    const uint8_t *labels = m->state.store_label; /* store_label: uint8 [3][1]: kept samples of the wearer */
    int32_t *held = (int32_t *)ring_opaque(&m->arena.i32[0]); /* store_held: int32 [3] */

    for (uint32_t c = 0u; c < 3u; c++) {
        held[c] = 0;
    }
    if (m->state.store_count[0] >= 3u) {
        const uint32_t label = m->arena.u8[12];
        uint32_t place = m->state.store_next[0];
        int32_t most = 1;
        uint32_t kept = label < 3u ? label : 2u;

        held[kept] = 1;
        for (uint32_t i = 0u; i < 3u; i++) {
            kept = labels[i * 1u];
            kept = kept < 3u ? kept : 2u;
            held[kept]++;
            most = held[kept] > most ? held[kept] : most;
        }
        kept = labels[place * 1u];
        /* ends: some sample that is kept has such a class */
        while (held[kept < 3u ? kept : 2u] != most) {
            place = place + 1u >= 3u ? 0u : place + 1u;
            kept = labels[place * 1u];
        }
        m->state.store_next[0] = place;
    }
}

/* samples.write of store, in program keep: x, store_next -> store_x */
static void ring_store_write(ring_t *m)
{
    const int8_t *x = &m->arena.i8[32]; /* x: int8 [7], Q6: input */
    const uint32_t row = m->state.store_next[0] < 3u ? m->state.store_next[0] : 2u;
    memcpy(&m->state.store_x[row * 8u], x, 7u);
}

/* samples.write of store, in program keep: label, store_next -> store_label */
static void ring_store_write_2(ring_t *m)
{
    const uint8_t *x = &m->arena.u8[12]; /* label: uint8 [1] */
    const uint32_t row = m->state.store_next[0] < 3u ? m->state.store_next[0] : 2u;
    memcpy(&m->state.store_label[row * 1u], x, 1u);
}

/* samples.advance of store, in program keep: store_next, store_count */
static void ring_store_advance(ring_t *m)
{
    const uint32_t next = m->state.store_next[0] + 1u;

    m->state.store_next[0] = next >= 3u ? 0u : next;
    m->state.store_count[0] = m->state.store_count[0] < 3u ? m->state.store_count[0] + 1u : 3u;
}

/* samples.read of rehearse, in program rehearse_sample: store_x, rehearse_index -> x */
static void ring_rehearse_read(ring_t *m)
{
    int8_t *x = (int8_t *)ring_opaque(&m->arena.i8[32]); /* x: int8 [7], Q6: input */
    const uint32_t row = m->arena.u32[14] < 3u ? m->arena.u32[14] : 2u;
    memcpy(x, &m->state.store_x[row * 8u], 7u);
}

/* samples.read of rehearse, in program rehearse_sample: store_label, rehearse_index -> label */
static void ring_rehearse_read_2(ring_t *m)
{
    uint8_t *x = (uint8_t *)ring_opaque(&m->arena.u8[12]); /* label: uint8 [1] */
    const uint32_t row = m->arena.u32[14] < 3u ? m->arena.u32[14] : 2u;
    memcpy(x, &m->state.store_label[row * 1u], 1u);
}

/* samples.pick of rehearse, in program rehearse_next: store_count -> rehearse_next, rehearse_index, rehearse_valid */
static void ring_rehearse_pick(ring_t *m)
{
    const uint32_t index = m->state.rehearse_next[0];
    const uint32_t next = index + 1u;

    m->arena.u32[14] = index;
    m->arena.u8[0] = index < m->state.store_count[0];
    m->state.rehearse_next[0] = next >= 3u ? 0u : next;
}

/* samples.draw of rehearse, in program rehearse_next: store_count, step -> rehearse_index */
static void ring_rehearse_draw(ring_t *m)
{
    const uint32_t word = ring_mix(ring_mix(UINT32_C(1), m->state.step[0]), 6u);

    m->arena.u32[14] = ring_scale_index(word, m->state.store_count[0]);
}

/* samples.rewind of rehearse, in program rehearse: rehearse_next */
static void ring_rehearse_rewind(ring_t *m)
{
    m->state.rehearse_next[0] = 0u;
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

/* Program forward: activations and logits of the inputs in the arena */
static void ring_program_forward(ring_t *m)
{
    ring_fc1_forward(m);
    ring_relu_forward(m);
    ring_fc2_forward(m);
}

/* Program infer: class, margin and scores of the inputs */
static void ring_program_infer(ring_t *m)
{
    ring_program_forward(m);
    ring_verdict_argmax(m);
}

/* Program keep: puts the sample into the ring of the wearer's samples */
static void ring_program_keep(ring_t *m)
{
    ring_store_seek(m);
    ring_store_write(m);
    ring_store_write_2(m);
    ring_store_advance(m);
}

/* Program correct: hebbian: asymmetric Hebbian: separate feedback weights learn by the same local product */
static void ring_program_correct(ring_t *m)
{
    ring_fc2_project(m);
    ring_fc2_update(m);
    ring_relu_feedback(m);
    ring_fc1_update(m);
}

/* Program decay: every learned weight a little smaller */
static void ring_program_decay(ring_t *m)
{
    ring_fc1_weight_apply(m);
    ring_fc2_weight_apply(m);
    ring_fc2_feedback_apply(m);
}

/* Program adapt: learns from the inputs and the label in the arena */
static void ring_program_adapt(ring_t *m)
{
    ring_program_forward(m);
    ring_loss_forward(m);
    if (m->arena.u8[8] != 0u) {
        ring_program_correct(m);
    }
    ring_step_tick(m);
    ring_decay_every(m);
    if (m->arena.u8[0] != 0u) {
        ring_program_decay(m);
    }
}

/* Program replay_one: learns once more from a base example in flash */
static void ring_program_replay_one(ring_t *m)
{
    ring_replay_pick(m);
    ring_replay_read(m);
    ring_replay_read_2(m);
    ring_program_adapt(m);
}

/* Program refresh: a base example, when one is due */
static void ring_program_refresh(ring_t *m)
{
    ring_replay_every(m);
    if (m->arena.u8[0] != 0u) {
        ring_program_replay_one(m);
    }
}

/* Program learn: one labelled sample of the wearer */
static void ring_program_learn(ring_t *m)
{
    ring_program_keep(m);
    ring_program_adapt(m);
    ring_program_refresh(m);
}

/* Program rehearse_sample: learns once more from one kept sample */
static void ring_program_rehearse_sample(ring_t *m)
{
    ring_rehearse_read(m);
    ring_rehearse_read_2(m);
    ring_program_adapt(m);
    ring_program_refresh(m);
}

/* Program rehearse_next: the next kept sample, if there is one */
static void ring_program_rehearse_next(ring_t *m)
{
    ring_rehearse_pick(m);
    ring_rehearse_draw(m);
    if (m->arena.u8[0] != 0u) {
        ring_program_rehearse_sample(m);
    }
}

/* Program rehearse: one pass over the kept samples */
static void ring_program_rehearse(ring_t *m)
{
    ring_rehearse_rewind(m);
    for (uint32_t i = 0u; i < 3u; i++) {
        ring_program_rehearse_next(m);
    }
}

/* ---- who is at work --------------------------------------------------------------------------------------------- */

enum { RING_IDLE, RING_IN_CALL, RING_BETWEEN_SLICES }; /* what the marks in ring_run_t say */

/*
 * Marks an arena as taken, if nobody has it. A call that interrupts another one is so refused and does no harm; what is
 * interrupted between the look and the mark finds the arena free again. Two cores, or threads, need a lock around both.
 */
static ring_status ring_claim(uint8_t *mark)
{
    volatile uint8_t *const seen = (uint8_t *)ring_opaque(mark);

    if (*seen != RING_IDLE) {
        return RING_BUSY;
    }
    *seen = RING_IN_CALL;
    return RING_OK;
}

/* Sets a mark again, behind all that was stored before. */
static void ring_release(uint8_t *mark, uint8_t to)
{
    volatile uint8_t *const seen = (uint8_t *)ring_opaque(mark);

    *seen = to;
}

/* ---- runs in slices --------------------------------------------------------------------------------------------- */

/* Step number RING_OPS does nothing: `synapcc bench` measures it and subtracts what calling a step costs. */
static void ring_nothing(ring_t *m)
{
    (void)m;
}

static void (*const ring_ops[RING_OPS + 1u])(ring_t *) = {
    ring_fc1_forward,
    ring_relu_forward,
    ring_fc2_forward,
    ring_verdict_argmax,
    ring_fc2_project,
    ring_fc2_update,
    ring_relu_feedback,
    ring_fc1_update,
    ring_fc1_weight_apply,
    ring_fc2_weight_apply,
    ring_fc2_feedback_apply,
    ring_loss_forward,
    ring_step_tick,
    ring_decay_every,
    ring_replay_pick,
    ring_replay_read,
    ring_replay_read_2,
    ring_replay_every,
    ring_store_seek,
    ring_store_write,
    ring_store_write_2,
    ring_store_advance,
    ring_rehearse_read,
    ring_rehearse_read_2,
    ring_rehearse_pick,
    ring_rehearse_draw,
    ring_rehearse_rewind,
    ring_nothing,
};

enum { RING_STEP, RING_CALL, RING_WHEN, RING_END };

/*
 * The programs once more, as data. STEP: number of the step. CALL, WHEN: the item with which a program begins, and how
 * often it runs, or which byte of ring_t is the flag that must be set. END: back to whoever called.
 */
typedef struct {
    uint16_t kind;
    uint16_t number;
    uint32_t value;
} ring_item_t;

static const ring_item_t ring_items[52] = {
    { RING_STEP, 0u, 0u }, /* program forward */
    { RING_STEP, 1u, 0u },
    { RING_STEP, 2u, 0u },
    { RING_END, 0u, 0u },
    { RING_CALL, 0u, 1u }, /* program infer */
    { RING_STEP, 3u, 0u },
    { RING_END, 0u, 0u },
    { RING_STEP, 18u, 0u }, /* program keep */
    { RING_STEP, 19u, 0u },
    { RING_STEP, 20u, 0u },
    { RING_STEP, 21u, 0u },
    { RING_END, 0u, 0u },
    { RING_STEP, 4u, 0u }, /* program correct */
    { RING_STEP, 5u, 0u },
    { RING_STEP, 6u, 0u },
    { RING_STEP, 7u, 0u },
    { RING_END, 0u, 0u },
    { RING_STEP, 8u, 0u }, /* program decay */
    { RING_STEP, 9u, 0u },
    { RING_STEP, 10u, 0u },
    { RING_END, 0u, 0u },
    { RING_CALL, 0u, 1u }, /* program adapt */
    { RING_STEP, 11u, 0u },
    { RING_WHEN, 12u, 280u },
    { RING_STEP, 12u, 0u },
    { RING_STEP, 13u, 0u },
    { RING_WHEN, 17u, 272u },
    { RING_END, 0u, 0u },
    { RING_STEP, 14u, 0u }, /* program replay_one */
    { RING_STEP, 15u, 0u },
    { RING_STEP, 16u, 0u },
    { RING_CALL, 21u, 1u },
    { RING_END, 0u, 0u },
    { RING_STEP, 17u, 0u }, /* program refresh */
    { RING_WHEN, 28u, 272u },
    { RING_END, 0u, 0u },
    { RING_CALL, 7u, 1u }, /* program learn */
    { RING_CALL, 21u, 1u },
    { RING_CALL, 33u, 1u },
    { RING_END, 0u, 0u },
    { RING_STEP, 22u, 0u }, /* program rehearse_sample */
    { RING_STEP, 23u, 0u },
    { RING_CALL, 21u, 1u },
    { RING_CALL, 33u, 1u },
    { RING_END, 0u, 0u },
    { RING_STEP, 24u, 0u }, /* program rehearse_next */
    { RING_STEP, 25u, 0u },
    { RING_WHEN, 40u, 272u },
    { RING_END, 0u, 0u },
    { RING_STEP, 26u, 0u }, /* program rehearse */
    { RING_CALL, 45u, 3u },
    { RING_END, 0u, 0u },
};

static const uint16_t ring_starts[RING_PROGRAMS] = { 4u, 36u, 49u };

/* Goes on to the next step, or to the end: level 0. */
static void ring_settle(ring_t *m)
{
    ring_run_t *const run = &m->run;
    const uint8_t *const bytes = (const uint8_t *)m;

    while (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const ring_item_t *const item = &ring_items[run->at[top]];
        uint32_t turns;

        if (item->kind == RING_STEP) {
            return;
        }
        if (item->kind == RING_END) {
            run->turns[top]--;
            if (run->turns[top] == 0u) {
                run->level--;
            } else {
                run->at[top] = ring_items[run->at[top - 1u] - 1u].number; /* behind the item that called */
            }
            continue;
        }
        turns = item->kind == RING_CALL ? item->value : (bytes[item->value] != 0u ? 1u : 0u);
        run->at[top]++;
        if (turns > 0u) {
            run->turns[top + 1u] = turns;
            run->at[top + 1u] = item->number;
            run->level++;
        }
    }
}

/* Begins an entry program on the arena, which is claimed. */
static void ring_begin(ring_t *m, uint32_t program)
{
    m->run.turns[0] = 1u;
    m->run.at[0] = ring_starts[program];
    m->run.level = 1u;
    ring_settle(m);
    ring_release(&m->run.busy, RING_BETWEEN_SLICES);
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

ring_status ring_init(ring_t *m)
{
    memset(m, 0, sizeof *m);
    memcpy(m->state.fc1_bias, ring_fc1_bias_init, sizeof ring_fc1_bias_init);
    memcpy(m->state.fc2_bias, ring_fc2_bias_init, sizeof ring_fc2_bias_init);
    memcpy(m->state.fc1_weight, ring_fc1_weight_init, sizeof ring_fc1_weight_init);
    memcpy(m->state.fc2_weight, ring_fc2_weight_init, sizeof ring_fc2_weight_init);
    memcpy(m->state.fc2_feedback, ring_fc2_feedback_init, sizeof ring_fc2_feedback_init);
    return RING_OK;
}

/* Persistent tensors. */
static const ring_tensor_t ring_tensors[RING_TENSORS] = {
    { "fc1_bias", "int32", 0u, 20u, 4u, 5u, 5u, -268435456, 536870911u },
    { "fc2_bias", "int32", 20u, 12u, 4u, 3u, 3u, -268435456, 536870911u },
    { "step", "uint32", 32u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc2_saturated", "uint32", 36u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc1_saturated", "uint32", 40u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "decay_phase", "uint32", 44u, 4u, 4u, 1u, 1u, 0, 3u },
    { "replay_next", "uint32", 48u, 4u, 4u, 1u, 1u, 0, 1u },
    { "replay_phase", "uint32", 52u, 4u, 4u, 1u, 1u, 0, 0u },
    { "store_next", "uint32", 56u, 4u, 4u, 1u, 1u, 0, 2u },
    { "store_count", "uint32", 60u, 4u, 4u, 1u, 1u, 0, 3u },
    { "rehearse_next", "uint32", 64u, 4u, 4u, 1u, 1u, 0, 2u },
    { "fc1_weight", "int16", 68u, 80u, 2u, 8u, 7u, -32768, 65535u },
    { "fc2_weight", "int16", 148u, 48u, 2u, 8u, 5u, -32768, 65535u },
    { "fc2_feedback", "int16", 196u, 48u, 2u, 8u, 5u, -32768, 65535u },
    { "store_x", "int8", 244u, 24u, 1u, 8u, 7u, -128, 255u },
    { "store_label", "uint8", 268u, 3u, 1u, 1u, 1u, 0, 2u },
};

/* The element at p less `lo`, modulo its type: no more than hi - lo where lo <= element <= hi. */
static uint32_t ring_above(const uint8_t *p, uint32_t size, int32_t lo)
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

ring_status ring_check_part(const ring_state_t *state, uint32_t offset, uint32_t bytes)
{
    uint32_t end;

    if (offset > RING_STATE_BYTES) {
        return RING_BAD_ARGUMENT;
    }
    end = bytes < RING_STATE_BYTES - offset ? offset + bytes : RING_STATE_BYTES;
    for (uint32_t i = 0u; i < RING_TENSORS; i++) {
        const ring_tensor_t *const t = &ring_tensors[i];
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
            if (ring_above(&tensor[at], t->size, used ? t->lo : 0) > (used ? t->range : 0u)) {
                return RING_BAD_STATE;
            }
            column = column + 1u < t->row ? column + 1u : 0u;
        }
    }
    return RING_OK;
}

ring_status ring_check(const ring_state_t *state)
{
    if (state->store_count[0] < 3u && state->store_next[0] != state->store_count[0]) {
        return RING_BAD_STATE; /* a ring that is not full goes on where its count says */
    }
    return ring_check_part(state, 0u, RING_STATE_BYTES);
}

static void ring_put(ring_t *m, const ring_inputs_t *x, uint8_t label)
{
    memcpy((&m->arena.i8[32]), x->x, sizeof x->x);
    m->arena.u8[12] = label;
}

ring_status ring_load(ring_t *m, const ring_inputs_t *x, uint8_t label)
{
    const ring_status status = ring_claim(&m->run.busy);

    if (status == RING_OK) {
        ring_put(m, x, label);
        ring_release(&m->run.busy, RING_IDLE);
    }
    return status;
}

ring_status ring_infer(ring_t *m, const ring_inputs_t *x, ring_outputs_t *y)
{
    const ring_status status = ring_claim(&m->run.busy);

    if (status != RING_OK) {
        return status;
    }
    memcpy((&m->arena.i8[32]), x->x, sizeof x->x);
    ring_program_infer(m);
    y->winner = (&m->arena.i32[6])[0];
    y->margin = (&m->arena.i32[6])[1];
    memcpy(y->scores, (&m->arena.i16[24]), sizeof y->scores);
    ring_release(&m->run.busy, RING_IDLE);
    return RING_OK;
}

ring_status ring_learn(ring_t *m, const ring_inputs_t *x, uint8_t label)
{
    if (label >= RING_CLASSES) {
        return RING_BAD_LABEL;
    }
    if (ring_claim(&m->run.busy) != RING_OK) {
        return RING_BUSY;
    }
    ring_put(m, x, label);
    ring_program_learn(m);
    ring_release(&m->run.busy, RING_IDLE);
    return RING_OK;
}

ring_status ring_learn_begin(ring_t *m, const ring_inputs_t *x, uint8_t label)
{
    if (label >= RING_CLASSES) {
        return RING_BAD_LABEL;
    }
    if (ring_claim(&m->run.busy) != RING_OK) {
        return RING_BUSY;
    }
    ring_put(m, x, label);
    ring_begin(m, RING_PROGRAM_LEARN);
    return RING_OK;
}

/* Claims the arena for an entry program that runs on what lies there. */
static ring_status ring_open(ring_t *m, uint32_t program)
{
    if (program >= RING_PROGRAMS) {
        return RING_BAD_ARGUMENT;
    }
    if (ring_claim(&m->run.busy) != RING_OK) {
        return RING_BUSY;
    }
    if ((program == RING_PROGRAM_LEARN) && m->arena.u8[12] >= RING_CLASSES) {
        ring_release(&m->run.busy, RING_IDLE);
        return RING_BAD_LABEL;
    }
    return RING_OK;
}

ring_status ring_run(ring_t *m, uint32_t program)
{
    const ring_status status = ring_open(m, program);

    if (status != RING_OK) {
        return status;
    }
    switch (program) {
    case RING_PROGRAM_INFER:
        ring_program_infer(m);
        break;
    case RING_PROGRAM_LEARN:
        ring_program_learn(m);
        break;
    case RING_PROGRAM_REHEARSE:
        ring_program_rehearse(m);
        break;
    default:
        break; /* there is no other */
    }
    ring_release(&m->run.busy, RING_IDLE);
    return RING_OK;
}

ring_status ring_run_begin(ring_t *m, uint32_t program)
{
    const ring_status status = ring_open(m, program);

    if (status == RING_OK) {
        ring_begin(m, program);
    }
    return status;
}

ring_status ring_run_step(ring_t *m)
{
    ring_run_t *const run = &m->run;

    if (run->busy != RING_BETWEEN_SLICES) {
        return run->busy == RING_IDLE ? RING_BAD_ARGUMENT : RING_BUSY;
    }
    if (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const uint32_t op = ring_items[run->at[top]].number;

        ring_release(&run->busy, RING_IN_CALL);
        run->at[top]++;
        ring_ops[op](m);
        ring_settle(m);
    }
    if (run->level > 0u) {
        ring_release(&run->busy, RING_BETWEEN_SLICES);
        return RING_MORE;
    }
    ring_release(&run->busy, RING_IDLE);
    return RING_OK;
}

ring_status ring_learn_step(ring_t *m)
{
    return ring_run_step(m);
}

ring_status ring_run_abort(ring_t *m)
{
    if (m->run.busy == RING_IN_CALL) {
        return RING_BUSY;
    }
    ring_release(&m->run.busy, RING_IDLE);
    return RING_OK;
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
} ring_held_t;

static const ring_held_t ring_held[3] = {
    { 40u, 2u, 1u, 3u, 3u, -16384, 32768u, 0u }, /* error */
    { 56u, 4u, 1u, 1u, 1u, 0, 1u, 0u }, /* replay_index */
    { 56u, 4u, 1u, 1u, 1u, 0, 2u, 0u }, /* rehearse_index */
};

static const struct {
    uint16_t op;
    uint16_t held;
} ring_wants[6] = {
    { 4u, 0u },
    { 5u, 0u },
    { 15u, 1u },
    { 16u, 1u },
    { 22u, 2u },
    { 23u, 2u },
};

static int ring_holds(const ring_held_t *held, const uint8_t *arena)
{
    const uint8_t *p = &arena[held->offset];
    uint32_t total = 0u;

    for (uint32_t i = 0u; i < held->rows; i++, p += held->row * held->size) {
        for (uint32_t j = 0u; j < held->columns; j++) {
            const uint32_t above = ring_above(&p[j * held->size], held->size, held->lo);
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

ring_status ring_check_op(const ring_t *m, uint32_t op)
{
    if (op > RING_OPS) {
        return RING_BAD_ARGUMENT;
    }
    if (m->run.busy != RING_IDLE) {
        return RING_BUSY;
    }
    for (uint32_t i = 0u; i < 6u; i++) {
        if (ring_wants[i].op == op && ring_holds(&ring_held[ring_wants[i].held], (const uint8_t *)&m->arena) == 0) {
            return RING_BAD_STATE;
        }
    }
    return RING_OK;
}

ring_status ring_run_op(ring_t *m, uint32_t op)
{
    if (op > RING_OPS) {
        return RING_BAD_ARGUMENT;
    }
    if (ring_claim(&m->run.busy) != RING_OK) {
        return RING_BUSY;
    }
    if ((op == 11u || op == 18u || op == 20u) && m->arena.u8[12] >= RING_CLASSES) {
        ring_release(&m->run.busy, RING_IDLE);
        return RING_BAD_LABEL;
    }
    ring_ops[op](m);
    ring_release(&m->run.busy, RING_IDLE);
    return RING_OK;
}

const ring_tensor_t *ring_tensor(uint32_t i)
{
    return i < RING_TENSORS ? &ring_tensors[i] : NULL;
}

#undef RING_ALIGNED
