/*
 * byte: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile byte.onnx
 * Plan 6ad6b96ca9ef33e77b41a1a042084caf87dd513701c9f7b9b22a1197445b8cf5
 *
 * The memory map and the meaning of "Qn" stand in byte.h. Rows of matrices are padded to four elements.
 */
#include "byte.h"

#include <string.h>

#if BYTE_RUNTIME_VERSION != 2 || BYTE_NUMERIC_VERSION != 1
#error "byte.h is of another version than byte.c: emit both again"
#endif

/* What the arithmetic relies on. A compiler that shifts or packs otherwise stops here. */
typedef char byte_shift_is_arithmetic[(-1 >> 1) == -1 ? 1 : -1];
typedef char byte_state_is_packed[sizeof(byte_state_t) == 108u ? 1 : -1];
typedef char byte_model_is_packed[sizeof(byte_t) == 236u ? 1 : -1];

#if defined(__GNUC__)
#define BYTE_ALIGNED __attribute__((aligned(4)))
/*
 * Returns p. The compiler cannot tell that it is p, and so cannot address what p points to relative to another array.
 * GCC 12 (x86-64, -O1 and up) otherwise addresses one array of a struct relative to another, takes the result for a
 * null pointer and drops the stores of the step. Being volatile, the statement also keeps calls of steps that only
 * read. No instruction is emitted for it.
 */
static inline void *byte_opaque(void *p)
{
    __asm__ __volatile__("" : "+r"(p) : : "memory");
    return p;
}
#else
#define BYTE_ALIGNED
static inline void *byte_opaque(void *p)
{
    return p;
}
#endif

/* ---- constants ------------------------------------------------------------------------------------------------- */

/* int32 [5], Q11; byte_init copies it into the state */
static const int32_t byte_fc1_bias_init[5] BYTE_ALIGNED = {
    -1024, -799, -573, -348, -123,
};

/* int32 [3], Q9; byte_init copies it into the state */
static const int32_t byte_fc2_bias_init[3] BYTE_ALIGNED = {
    -256, -220, -184,
};

/* int8 [5][7] rows of 8, Q5; byte_init copies it into the state */
static const int8_t byte_fc1_weight_init[40] BYTE_ALIGNED = {
    -16, -4, 8, -13, -1, 11, -10, 0, 2, 14, -6, 5, -15, -3, 9, 0, -12, 0, 12, -9, 3, 15, -5, 0, 6, -14, -2, 10, -11, 1,
    13, 0, -8, 4, 16, -4, 7, -13, -1, 0,
};

/* int8 [3][5] rows of 8, Q5; byte_init copies it into the state */
static const int8_t byte_fc2_weight_init[24] BYTE_ALIGNED = {
    -16, -7, 3, 12, -11, 0, 0, 0, -2, 7, -16, -6, 3, 0, 0, 0, 12, -11, -2, 8, -15, 0, 0, 0,
};

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

/* x held within lo .. hi */
static inline int32_t byte_saturate(int32_t x, int32_t lo, int32_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* x / 2^s, halves rounded up */
static inline int32_t byte_shift_round(int32_t x, uint32_t s)
{
    return (x + ((INT32_C(1) << s) >> 1)) >> s;
}

/* p / 2^s, rounded away from zero where the upper half of the discarded bits exceeds the lower half */
static inline int32_t byte_round_dither(int32_t p, uint32_t s)
{
    int32_t sign = p >> 31;
    uint32_t h = s >> 1, mag = (uint32_t)((p ^ sign) - sign);
    /* What the lower half lacks, added to the upper half, carries where it is less. */
    uint32_t lacks = ((UINT32_C(1) << (s - h)) - 1u) & ~(mag << (s & 1u));
    return ((int32_t)(((mag >> h) + lacks) >> (s - h)) ^ sign) - sign;
}

/* a 32-bit integer hash of low bias (C. Wellons) */
static inline uint32_t byte_hash32(uint32_t x)
{
    x ^= x >> 16;
    x *= UINT32_C(0x7feb352d);
    x ^= x >> 15;
    x *= UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/* absorbs one more word into a key */
static inline uint32_t byte_mix(uint32_t key, uint32_t word)
{
    return byte_hash32(key ^ (word * UINT32_C(0x9e3779b1)));
}

/* the next word of a row's random stream */
static inline uint32_t byte_lcg(uint32_t x)
{
    return x * UINT32_C(1664525) + UINT32_C(1013904223);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* dense.forward of fc1 (/net/fc1), in program forward: x, fc1_weight, fc1_bias -> fc1 */
static void byte_fc1_forward(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *x = &arena->i8[8]; /* x: int8 [7], Q6: input */
    const int8_t *w = m->state.fc1_weight; /* fc1_weight: int8 [5][7] rows of 8, Q5 */
    const int32_t *b = m->state.fc1_bias; /* fc1_bias: int32 [5], Q11 */
    int8_t *y = (int8_t *)byte_opaque(&arena->i8[24]); /* fc1: int8 [5], Q4 */
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
        y[i] = (int8_t)byte_saturate(byte_shift_round(a0, 7u), -128, 127);
        y[i + 1u] = (int8_t)byte_saturate(byte_shift_round(a1, 7u), -128, 127);
        y[i + 2u] = (int8_t)byte_saturate(byte_shift_round(a2, 7u), -128, 127);
        y[i + 3u] = (int8_t)byte_saturate(byte_shift_round(a3, 7u), -128, 127);
        i += 4u;
        w += 32;
    }
    {
        int32_t a0 = b[i];
        for (uint32_t j = 0u; j < 7u; j++) {
            a0 += w[j] * x[j];
        }
        y[i] = (int8_t)byte_saturate(byte_shift_round(a0, 7u), -128, 127);
    }
}

/* clip.forward of relu, in program forward: fc1 -> relu */
static void byte_relu_forward(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *x = &arena->i8[24]; /* fc1: int8 [5], Q4 */
    int8_t *y = (int8_t *)byte_opaque(&arena->i8[24]); /* relu: int8 [5], Q4 */

    for (uint32_t i = 0u; i < 5u; i++) {
        y[i] = (int8_t)byte_saturate(x[i], 0, 127);
    }
    (void)m;
}

/* dense.forward of fc2, in program forward: relu, fc2_weight, fc2_bias -> fc2 */
static void byte_fc2_forward(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *x = &arena->i8[24]; /* relu: int8 [5], Q4 */
    const int8_t *w = m->state.fc2_weight; /* fc2_weight: int8 [3][5] rows of 8, Q5 */
    const int32_t *b = m->state.fc2_bias; /* fc2_bias: int32 [3], Q9 */
    int16_t *y = (int16_t *)byte_opaque(&arena->i16[8]); /* fc2: int16 [3], Q9 */
    uint32_t i = 0u;

    for (; i < 3u; i++, w += 8) {
        int32_t a0 = b[i];
        for (uint32_t j = 0u; j < 5u; j++) {
            a0 += w[j] * x[j];
        }
        y[i] = (int16_t)byte_saturate(byte_shift_round(a0, 0u), -32768, 32767);
    }
}

/* classify.argmax of verdict, in program infer: fc2 -> verdict */
static void byte_verdict_argmax(byte_t *m, byte_infer_arena_t *arena)
{
    const int16_t *z = &arena->i16[8]; /* fc2: int16 [3], Q9 */
    int32_t *verdict = (int32_t *)byte_opaque(&arena->i32[0]); /* verdict: int32 [2] */
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
    (void)m;
}

/* dense.update of fc2, in program correct: relu, error, step -> fc2_weight, fc2_bias, fc2_saturated */
static void byte_fc2_update(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *x = &m->arena.i8[24]; /* relu: int8 [5], Q4 */
    const int16_t *d = &m->arena.i16[32]; /* error: int16 [3], Q8 */
    int8_t *w = (int8_t *)byte_opaque(m->state.fc2_weight); /* fc2_weight: int8 [3][5] rows of 8, Q5 */
    int32_t *b = (int32_t *)byte_opaque(m->state.fc2_bias); /* fc2_bias: int32 [3], Q9 */
    uint32_t saturated = 0u;
    int32_t p, v, held;

    for (uint32_t i = 0u; i < 3u; i++, w += 8) {
        const int32_t g = d[i];
        if (g == 0) {
            continue; /* no signal: nothing changes, and the row's random words are not needed */
        }
        for (uint32_t j = 0u; j < 5u; j++) {
            p = byte_round_dither(g * x[j], 11u);
            v = w[j] - p;
            held = byte_saturate(v, -128, 127);
            saturated += (uint32_t)(held != v);
            w[j] = (int8_t)held;
        }
        p = byte_round_dither(g, 3u);
        v = b[i] - p;
        held = byte_saturate(v, -268435456, 268435455);
        saturated += (uint32_t)(held != v);
        b[i] = (int32_t)held;
    }
    m->state.fc2_saturated[0] += saturated;
    (void)arena;
}

/* project.generated of fc1 (/net/fc1), in program correct: error -> fc1_direct_teach_sum, fc1_direct_teach */
static void byte_fc1_project(byte_t *m, byte_infer_arena_t *arena)
{
    const int16_t *d = &m->arena.i16[32]; /* error: int16 [3], Q8 */
    int32_t *acc = (int32_t *)byte_opaque(&m->arena.i32[8]); /* fc1_direct_teach_sum: int32 [5] */
    int16_t *g = (int16_t *)byte_opaque(&m->arena.i16[26]); /* fc1_direct_teach: int16 [5], Q9 */
    const uint32_t key = byte_mix(byte_mix(UINT32_C(1), 0u), 1u);

    memset(acc, 0, 20u);
    for (uint32_t i = 0u; i < 3u; i++) {
        const int32_t g0 = d[i];
        if (g0 == 0) {
            continue;
        }
        uint32_t word = byte_hash32(key + i); /* row i of the matrix, two entries a word */
        for (uint32_t j = 0u; j < 4u; j += 2u) {
            acc[j] += ((word & 0xffffu) >> 14 == 2u ? g0 : (word & 0xffffu) >> 14 == 3u ? -g0 : 0);
            acc[j + 1u] += ((word >> 16) >> 14 == 2u ? g0 : (word >> 16) >> 14 == 3u ? -g0 : 0);
            word = byte_lcg(word);
        }
        acc[4] += ((word & 0xffffu) >> 14 == 2u ? g0 : (word & 0xffffu) >> 14 == 3u ? -g0 : 0);
    }
    for (uint32_t i = 0u; i < 5u; i++) {
        g[i] = (int16_t)byte_saturate(byte_shift_round(acc[i], 0u), -32768, 32767);
    }
    (void)arena;
}

/* clip.feedback of relu, in program correct: relu, fc1_direct_teach -> relu_input_teach */
static void byte_relu_feedback(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *y = &m->arena.i8[24]; /* relu: int8 [5], Q4 */
    const int16_t *d = &m->arena.i16[26]; /* fc1_direct_teach: int16 [5], Q9 */
    int16_t *g = (int16_t *)byte_opaque(&m->arena.i16[26]); /* relu_input_teach: int16 [5], Q9 */

    for (uint32_t i = 0u; i < 5u; i++) {
        g[i] = y[i] > 0 ? d[i] : (int16_t)0;
    }
    (void)arena;
}

/*
 * dense.update of fc1 (/net/fc1), in program correct: x, relu_input_teach, step -> fc1_weight, fc1_bias, fc1_saturated
 */
static void byte_fc1_update(byte_t *m, byte_infer_arena_t *arena)
{
    const int8_t *x = &m->arena.i8[8]; /* x: int8 [7], Q6: input */
    const int16_t *d = &m->arena.i16[26]; /* relu_input_teach: int16 [5], Q9 */
    int8_t *w = (int8_t *)byte_opaque(m->state.fc1_weight); /* fc1_weight: int8 [5][7] rows of 8, Q5 */
    int32_t *b = (int32_t *)byte_opaque(m->state.fc1_bias); /* fc1_bias: int32 [5], Q11 */
    uint32_t saturated = 0u;
    int32_t p, v, held;

    for (uint32_t i = 0u; i < 5u; i++, w += 8) {
        const int32_t g = d[i];
        if (g == 0) {
            continue; /* no signal: nothing changes, and the row's random words are not needed */
        }
        for (uint32_t j = 0u; j < 7u; j++) {
            p = byte_round_dither(g * x[j], 14u);
            v = w[j] - p;
            held = byte_saturate(v, -128, 127);
            saturated += (uint32_t)(held != v);
            w[j] = (int8_t)held;
        }
        p = byte_round_dither(g, 2u);
        v = b[i] - p;
        held = byte_saturate(v, -268435456, 268435455);
        saturated += (uint32_t)(held != v);
        b[i] = (int32_t)held;
    }
    m->state.fc1_saturated[0] += saturated;
    (void)arena;
}

/* hinge_error.forward of loss, in program adapt: fc2, label -> error, taught */
static void byte_loss_forward(byte_t *m, byte_infer_arena_t *arena)
{
    const int16_t *z = &m->arena.i16[8]; /* fc2: int16 [3], Q9 */
    int16_t *e = (int16_t *)byte_opaque(&m->arena.i16[32]); /* error: int16 [3], Q8 */
    const uint32_t label = m->arena.u8[32];
    uint8_t taught = 0u;

    for (uint32_t i = 0u; i < 3u; i++) {
        int32_t v;
        if (i == label) {
            v = z[i] < 512 ? -512 : 0;
        } else {
            v = z[i] > -512 ? 256 : 0;
        }
        e[i] = (int16_t)v;
        if (v != 0) {
            taught = 1u;
        }
    }
    m->arena.u8[36] = taught;
    (void)arena;
}

/* counter.tick of step, in program adapt: step */
static void byte_step_tick(byte_t *m, byte_infer_arena_t *arena)
{
    m->state.step[0]++;
    (void)arena;
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

/* Program forward: activations and logits of the inputs in the arena */
static void byte_program_forward(byte_t *m, byte_infer_arena_t *arena)
{
    byte_fc1_forward(m, arena);
    byte_relu_forward(m, arena);
    byte_fc2_forward(m, arena);
}

/* Program infer: class, margin and scores of the inputs */
static void byte_program_infer(byte_t *m, byte_infer_arena_t *arena)
{
    byte_program_forward(m, arena);
    byte_verdict_argmax(m, arena);
}

/* Program correct: dfa: direct feedback alignment: the output error projected to each layer by a fixed matrix */
static void byte_program_correct(byte_t *m, byte_infer_arena_t *arena)
{
    byte_fc2_update(m, arena);
    byte_fc1_project(m, arena);
    byte_relu_feedback(m, arena);
    byte_fc1_update(m, arena);
}

/* Program adapt: learns from the inputs and the label in the arena */
static void byte_program_adapt(byte_t *m, byte_infer_arena_t *arena)
{
    byte_program_forward(m, arena);
    byte_loss_forward(m, arena);
    if (m->arena.u8[36] != 0u) {
        byte_program_correct(m, arena);
    }
    byte_step_tick(m, arena);
}

/* Program learn: one labelled sample of the wearer */
static void byte_program_learn(byte_t *m, byte_infer_arena_t *arena)
{
    byte_program_adapt(m, arena);
}

/* ---- who is at work --------------------------------------------------------------------------------------------- */

enum { BYTE_IDLE, BYTE_IN_CALL, BYTE_BETWEEN_SLICES }; /* what the marks in byte_run_t say */

/*
 * Marks an arena as taken, if nobody has it. A call that interrupts another one is so refused and does no harm; what is
 * interrupted between the look and the mark finds the arena free again. Two cores, or threads, need a lock around both.
 */
static byte_status byte_claim(uint8_t *mark)
{
    volatile uint8_t *const seen = (uint8_t *)byte_opaque(mark);

    if (*seen != BYTE_IDLE) {
        return BYTE_BUSY;
    }
    *seen = BYTE_IN_CALL;
    return BYTE_OK;
}

/* Sets a mark again, behind all that was stored before. */
static void byte_release(uint8_t *mark, uint8_t to)
{
    volatile uint8_t *const seen = (uint8_t *)byte_opaque(mark);

    *seen = to;
}

/* ---- runs in slices --------------------------------------------------------------------------------------------- */

/* Step number BYTE_OPS does nothing: `synapcc bench` measures it and subtracts what calling a step costs. */
static void byte_nothing(byte_t *m, byte_infer_arena_t *arena)
{
    (void)m;
    (void)arena;
}

static void (*const byte_ops[BYTE_OPS + 1u])(byte_t *, byte_infer_arena_t *) = {
    byte_fc1_forward,
    byte_relu_forward,
    byte_fc2_forward,
    byte_verdict_argmax,
    byte_fc2_update,
    byte_fc1_project,
    byte_relu_feedback,
    byte_fc1_update,
    byte_loss_forward,
    byte_step_tick,
    byte_nothing,
};

enum { BYTE_STEP, BYTE_CALL, BYTE_WHEN, BYTE_END };

/*
 * The programs once more, as data. STEP: number of the step. CALL, WHEN: the item with which a program begins, and how
 * often it runs, or which byte of byte_t is the flag that must be set. END: back to whoever called.
 */
typedef struct {
    uint16_t kind;
    uint16_t number;
    uint32_t value;
} byte_item_t;

static const byte_item_t byte_items[19] = {
    { BYTE_STEP, 0u, 0u }, /* program forward */
    { BYTE_STEP, 1u, 0u },
    { BYTE_STEP, 2u, 0u },
    { BYTE_END, 0u, 0u },
    { BYTE_CALL, 0u, 1u }, /* program infer */
    { BYTE_STEP, 3u, 0u },
    { BYTE_END, 0u, 0u },
    { BYTE_STEP, 4u, 0u }, /* program correct */
    { BYTE_STEP, 5u, 0u },
    { BYTE_STEP, 6u, 0u },
    { BYTE_STEP, 7u, 0u },
    { BYTE_END, 0u, 0u },
    { BYTE_CALL, 0u, 1u }, /* program adapt */
    { BYTE_STEP, 8u, 0u },
    { BYTE_WHEN, 7u, 144u },
    { BYTE_STEP, 9u, 0u },
    { BYTE_END, 0u, 0u },
    { BYTE_CALL, 12u, 1u }, /* program learn */
    { BYTE_END, 0u, 0u },
};

static const uint16_t byte_starts[BYTE_PROGRAMS] = { 4u, 17u };

/* Goes on to the next step, or to the end: level 0. */
static void byte_settle(byte_t *m)
{
    byte_run_t *const run = &m->run;
    const uint8_t *const bytes = (const uint8_t *)m;

    while (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const byte_item_t *const item = &byte_items[run->at[top]];
        uint32_t turns;

        if (item->kind == BYTE_STEP) {
            return;
        }
        if (item->kind == BYTE_END) {
            run->turns[top]--;
            if (run->turns[top] == 0u) {
                run->level--;
            } else {
                run->at[top] = byte_items[run->at[top - 1u] - 1u].number; /* behind the item that called */
            }
            continue;
        }
        turns = item->kind == BYTE_CALL ? item->value : (bytes[item->value] != 0u ? 1u : 0u);
        run->at[top]++;
        if (turns > 0u) {
            run->turns[top + 1u] = turns;
            run->at[top + 1u] = item->number;
            run->level++;
        }
    }
}

/* Begins an entry program on the arena, which is claimed. */
static void byte_begin(byte_t *m, uint32_t program)
{
    m->run.turns[0] = 1u;
    m->run.at[0] = byte_starts[program];
    m->run.level = 1u;
    byte_settle(m);
    byte_release(&m->run.busy, BYTE_BETWEEN_SLICES);
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

byte_status byte_init(byte_t *m)
{
    memset(m, 0, sizeof *m);
    memcpy(m->state.fc1_bias, byte_fc1_bias_init, sizeof byte_fc1_bias_init);
    memcpy(m->state.fc2_bias, byte_fc2_bias_init, sizeof byte_fc2_bias_init);
    memcpy(m->state.fc1_weight, byte_fc1_weight_init, sizeof byte_fc1_weight_init);
    memcpy(m->state.fc2_weight, byte_fc2_weight_init, sizeof byte_fc2_weight_init);
    return BYTE_OK;
}

/* Persistent tensors. */
static const byte_tensor_t byte_tensors[BYTE_TENSORS] = {
    { "fc1_bias", "int32", 0u, 20u, 4u, 5u, 5u, -268435456, 536870911u },
    { "fc2_bias", "int32", 20u, 12u, 4u, 3u, 3u, -268435456, 536870911u },
    { "step", "uint32", 32u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc2_saturated", "uint32", 36u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc1_saturated", "uint32", 40u, 4u, 4u, 1u, 1u, 0, 4294967295u },
    { "fc1_weight", "int8", 44u, 40u, 1u, 8u, 7u, -128, 255u },
    { "fc2_weight", "int8", 84u, 24u, 1u, 8u, 5u, -128, 255u },
};

/* The element at p less `lo`, modulo its type: no more than hi - lo where lo <= element <= hi. */
static uint32_t byte_above(const uint8_t *p, uint32_t size, int32_t lo)
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

byte_status byte_check_part(const byte_state_t *state, uint32_t offset, uint32_t bytes)
{
    uint32_t end;

    if (offset > BYTE_STATE_BYTES) {
        return BYTE_BAD_ARGUMENT;
    }
    end = bytes < BYTE_STATE_BYTES - offset ? offset + bytes : BYTE_STATE_BYTES;
    for (uint32_t i = 0u; i < BYTE_TENSORS; i++) {
        const byte_tensor_t *const t = &byte_tensors[i];
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
            if (byte_above(&tensor[at], t->size, used ? t->lo : 0) > (used ? t->range : 0u)) {
                return BYTE_BAD_STATE;
            }
            column = column + 1u < t->row ? column + 1u : 0u;
        }
    }
    return BYTE_OK;
}

byte_status byte_check(const byte_state_t *state)
{
    return byte_check_part(state, 0u, BYTE_STATE_BYTES);
}

static void byte_put(byte_t *m, const byte_inputs_t *x, uint8_t label)
{
    memcpy((&m->arena.i8[8]), x->x, sizeof x->x);
    m->arena.u8[32] = label;
}

byte_status byte_load(byte_t *m, const byte_inputs_t *x, uint8_t label)
{
    const byte_status status = byte_claim(&m->run.busy);

    if (status == BYTE_OK) {
        byte_put(m, x, label);
        byte_release(&m->run.busy, BYTE_IDLE);
    }
    return status;
}

byte_status byte_infer(byte_t *m, const byte_inputs_t *x, byte_outputs_t *y)
{
    byte_infer_arena_t *const arena = &m->infer_arena;
    const byte_status status = byte_claim(&m->run.inferring);

    if (status != BYTE_OK) {
        return status;
    }
    memcpy((&arena->i8[8]), x->x, sizeof x->x);
    byte_program_infer(m, arena);
    y->winner = (&arena->i32[0])[0];
    y->margin = (&arena->i32[0])[1];
    memcpy(y->scores, (&arena->i16[8]), sizeof y->scores);
    byte_release(&m->run.inferring, BYTE_IDLE);
    return BYTE_OK;
}

byte_status byte_learn(byte_t *m, const byte_inputs_t *x, uint8_t label)
{
    if (label >= BYTE_CLASSES) {
        return BYTE_BAD_LABEL;
    }
    if (byte_claim(&m->run.busy) != BYTE_OK) {
        return BYTE_BUSY;
    }
    byte_put(m, x, label);
    byte_program_learn(m, &m->arena.infer);
    byte_release(&m->run.busy, BYTE_IDLE);
    return BYTE_OK;
}

byte_status byte_learn_begin(byte_t *m, const byte_inputs_t *x, uint8_t label)
{
    if (label >= BYTE_CLASSES) {
        return BYTE_BAD_LABEL;
    }
    if (byte_claim(&m->run.busy) != BYTE_OK) {
        return BYTE_BUSY;
    }
    byte_put(m, x, label);
    byte_begin(m, BYTE_PROGRAM_LEARN);
    return BYTE_OK;
}

/* Claims the arena for an entry program that runs on what lies there. */
static byte_status byte_open(byte_t *m, uint32_t program)
{
    if (program >= BYTE_PROGRAMS) {
        return BYTE_BAD_ARGUMENT;
    }
    if (byte_claim(&m->run.busy) != BYTE_OK) {
        return BYTE_BUSY;
    }
    if ((program == BYTE_PROGRAM_LEARN) && m->arena.u8[32] >= BYTE_CLASSES) {
        byte_release(&m->run.busy, BYTE_IDLE);
        return BYTE_BAD_LABEL;
    }
    return BYTE_OK;
}

byte_status byte_run(byte_t *m, uint32_t program)
{
    const byte_status status = byte_open(m, program);

    if (status != BYTE_OK) {
        return status;
    }
    switch (program) {
    case BYTE_PROGRAM_INFER:
        byte_program_infer(m, &m->arena.infer);
        break;
    case BYTE_PROGRAM_LEARN:
        byte_program_learn(m, &m->arena.infer);
        break;
    default:
        break; /* there is no other */
    }
    byte_release(&m->run.busy, BYTE_IDLE);
    return BYTE_OK;
}

byte_status byte_run_begin(byte_t *m, uint32_t program)
{
    const byte_status status = byte_open(m, program);

    if (status == BYTE_OK) {
        byte_begin(m, program);
    }
    return status;
}

byte_status byte_run_step(byte_t *m)
{
    byte_run_t *const run = &m->run;

    if (run->busy != BYTE_BETWEEN_SLICES) {
        return run->busy == BYTE_IDLE ? BYTE_BAD_ARGUMENT : BYTE_BUSY;
    }
    if (run->level > 0u) {
        const uint32_t top = run->level - 1u;
        const uint32_t op = byte_items[run->at[top]].number;

        byte_release(&run->busy, BYTE_IN_CALL);
        run->at[top]++;
        byte_ops[op](m, &m->arena.infer);
        byte_settle(m);
    }
    if (run->level > 0u) {
        byte_release(&run->busy, BYTE_BETWEEN_SLICES);
        return BYTE_MORE;
    }
    byte_release(&run->busy, BYTE_IDLE);
    return BYTE_OK;
}

byte_status byte_learn_step(byte_t *m)
{
    return byte_run_step(m);
}

byte_status byte_run_abort(byte_t *m)
{
    if (m->run.busy == BYTE_IN_CALL) {
        return BYTE_BUSY;
    }
    byte_release(&m->run.busy, BYTE_IDLE);
    return BYTE_OK;
}

byte_status byte_check_op(const byte_t *m, uint32_t op)
{
    if (op > BYTE_OPS) {
        return BYTE_BAD_ARGUMENT;
    }
    if (m->run.busy != BYTE_IDLE) {
        return BYTE_BUSY;
    }
    return BYTE_OK;
}

byte_status byte_run_op(byte_t *m, uint32_t op)
{
    if (op > BYTE_OPS) {
        return BYTE_BAD_ARGUMENT;
    }
    if (byte_claim(&m->run.busy) != BYTE_OK) {
        return BYTE_BUSY;
    }
    if ((op == 8u) && m->arena.u8[32] >= BYTE_CLASSES) {
        byte_release(&m->run.busy, BYTE_IDLE);
        return BYTE_BAD_LABEL;
    }
    byte_ops[op](m, &m->arena.infer);
    byte_release(&m->run.busy, BYTE_IDLE);
    return BYTE_OK;
}

const byte_tensor_t *byte_tensor(uint32_t i)
{
    return i < BYTE_TENSORS ? &byte_tensors[i] : NULL;
}

#undef BYTE_ALIGNED
