/*
 * pair: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile pair.onnx
 * Plan d88b55985c9d3186654c1d1550cf635ddfa32d88b6d825f7a554a2ad136139dd
 */
#ifndef PAIR_H
#define PAIR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAIR_PLAN_DIGEST "d88b55985c9d3186654c1d1550cf635ddfa32d88b6d825f7a554a2ad136139dd"
#define PAIR_NUMERIC_VERSION 1
#define PAIR_RUNTIME_VERSION 1
#define PAIR_KERNELS "dsp" /* the kernel set: how fast, never what */

#define PAIR_CLASSES 3
#define PAIR_STATE_BYTES 68 /* persistent: learned tensors, counters */
#define PAIR_ARENA_BYTES 40 /* lives within one call */
#define PAIR_TENSORS 4 /* persistent tensors */
#define PAIR_PROGRAMS 2 /* entry programs */
#define PAIR_OPS 7 /* steps */

/* Entry programs, for pair_run. */
#define PAIR_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define PAIR_PROGRAM_LEARN 1 /* one labelled sample of the wearer */

typedef enum {
    PAIR_OK = 0,
    PAIR_BAD_ARGUMENT = 1, /* no such program or step */
    PAIR_BAD_LABEL = 2 /* the label is no class; nothing was changed */
} pair_status;

/* Persistent tensors. Copy this struct to keep what was learned. */
typedef struct {
    int32_t fc2_bias[3]; /* int32 [3], Q20 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    int16_t fc2_weight[24]; /* int16 [3][5] rows of 8, Q14 */
} pair_state_t;

/* A model: zero it or not, but call pair_init before anything else. */
typedef struct {
    pair_state_t state;
    union {
        int8_t i8[40];
        uint8_t u8[40];
        int16_t i16[20];
        int32_t i32[10];
        uint32_t u32[10];
    } arena;
} pair_t;

/* Inputs as integers: q = round(x * 2^frac), ties to even, held within -128 .. 127. */
typedef struct {
    int8_t x[7]; /* int8 [7], Q6: input */
} pair_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its lead over the second, in units of the scores */
    int16_t scores[3]; /* logits, Q12 */
} pair_outputs_t;

typedef struct {
    const char *name;
    const char *dtype;
    uint32_t offset; /* bytes from the start of the state */
    uint32_t bytes;
} pair_tensor_t;

/* Weights as compiled, counters zero. */
pair_status pair_init(pair_t *m);

/* class, margin and scores of the inputs */
pair_status pair_infer(pair_t *m, const pair_inputs_t *x, pair_outputs_t *y);

/* one labelled sample of the wearer */
pair_status pair_learn(pair_t *m, const pair_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what pair_load put into the arena. */
pair_status pair_run(pair_t *m, uint32_t program);

/* Runs one step by number: for finding the first step that differs from the host's. */
pair_status pair_run_op(pair_t *m, uint32_t op);

/* Copies inputs and label into the arena and runs nothing. */
void pair_load(pair_t *m, const pair_inputs_t *x, uint8_t label);

/* Persistent tensor i, or a null pointer behind the last. */
const pair_tensor_t *pair_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
