/*
 * ring: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile ring.onnx
 * Plan f3a7b000747897bb395c9ad0ac638e6c4ccbc2aedf06b58c9d625aefb1df28b0
 */
#ifndef RING_H
#define RING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RING_PLAN_DIGEST "f3a7b000747897bb395c9ad0ac638e6c4ccbc2aedf06b58c9d625aefb1df28b0"
#define RING_NUMERIC_VERSION 1
#define RING_RUNTIME_VERSION 1
#define RING_KERNELS "ref" /* the kernel set: how fast, never what */

#define RING_CLASSES 3
#define RING_STATE_BYTES 272 /* persistent: learned tensors, counters, kept samples */
#define RING_ARENA_BYTES 52 /* lives within one call */
#define RING_TENSORS 16 /* persistent tensors */
#define RING_PROGRAMS 3 /* entry programs */
#define RING_OPS 26 /* steps */

/* Entry programs, for ring_run. */
#define RING_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define RING_PROGRAM_LEARN 1 /* one labelled sample of the wearer */
#define RING_PROGRAM_REHEARSE 2 /* one pass over the kept samples */

typedef enum {
    RING_OK = 0,
    RING_BAD_ARGUMENT = 1, /* no such program or step */
    RING_BAD_LABEL = 2 /* the label is no class; nothing was changed */
} ring_status;

/* Persistent tensors. Copy this struct to keep what was learned. */
typedef struct {
    int32_t fc1_bias[5]; /* int32 [5], Q20 */
    int32_t fc2_bias[3]; /* int32 [3], Q20 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    uint32_t fc1_saturated[1]; /* uint32 [1]: how often a learned value of fc1 met its limit */
    uint32_t decay_phase[1]; /* uint32 [1]: samples since the last decay */
    uint32_t replay_next[1]; /* uint32 [1]: the base example that comes next */
    uint32_t replay_phase[1]; /* uint32 [1]: new samples since the last replay */
    uint32_t store_next[1]; /* uint32 [1]: where the next sample is kept */
    uint32_t store_count[1]; /* uint32 [1]: samples kept */
    uint32_t rehearse_next[1]; /* uint32 [1]: the kept sample that is rehearsed next */
    int16_t fc1_weight[40]; /* int16 [5][7] rows of 8, Q14 */
    int16_t fc2_weight[24]; /* int16 [3][5] rows of 8, Q14 */
    int16_t fc2_feedback[24]; /* int16 [3][5] rows of 8, Q14 */
    int8_t store_x[24]; /* int8 [3][7] rows of 8, Q6: store */
    uint8_t store_label[3]; /* uint8 [3][1]: store */
} ring_state_t;

/* A model: zero it or not, but call ring_init before anything else. */
typedef struct {
    ring_state_t state;
    union {
        int8_t i8[52];
        uint8_t u8[52];
        int16_t i16[26];
        int32_t i32[13];
        uint32_t u32[13];
    } arena;
} ring_t;

/* Inputs as integers: q = round(x * 2^frac), ties to even, held within -128 .. 127. */
typedef struct {
    int8_t x[7]; /* int8 [7], Q6: input */
} ring_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its lead over the second, in units of the scores */
    int16_t scores[3]; /* logits, Q12 */
} ring_outputs_t;

typedef struct {
    const char *name;
    const char *dtype;
    uint32_t offset; /* bytes from the start of the state */
    uint32_t bytes;
} ring_tensor_t;

/* Weights as compiled, counters zero. */
ring_status ring_init(ring_t *m);

/* class, margin and scores of the inputs */
ring_status ring_infer(ring_t *m, const ring_inputs_t *x, ring_outputs_t *y);

/* one labelled sample of the wearer */
ring_status ring_learn(ring_t *m, const ring_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what ring_load put into the arena. */
ring_status ring_run(ring_t *m, uint32_t program);

/* Runs one step by number: for finding the first step that differs from the host's. */
ring_status ring_run_op(ring_t *m, uint32_t op);

/* Copies inputs and label into the arena and runs nothing. */
void ring_load(ring_t *m, const ring_inputs_t *x, uint8_t label);

/* Persistent tensor i, or a null pointer behind the last. */
const ring_tensor_t *ring_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
