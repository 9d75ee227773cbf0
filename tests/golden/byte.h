/*
 * byte: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile byte.onnx
 * Plan f0a4bc220ed8ca4d7146554bc81881f6b8f26e87f0be5e63762d2bc3b581f55a
 */
#ifndef BYTE_H
#define BYTE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BYTE_PLAN_DIGEST "f0a4bc220ed8ca4d7146554bc81881f6b8f26e87f0be5e63762d2bc3b581f55a"
#define BYTE_NUMERIC_VERSION 1
#define BYTE_RUNTIME_VERSION 1
#define BYTE_KERNELS "ref" /* the kernel set: how fast, never what */

#define BYTE_CLASSES 3
#define BYTE_STATE_BYTES 108 /* persistent: learned tensors, counters */
#define BYTE_ARENA_BYTES 72 /* lives within one call */
#define BYTE_TENSORS 7 /* persistent tensors */
#define BYTE_PROGRAMS 2 /* entry programs */
#define BYTE_OPS 10 /* steps */

/* Entry programs, for byte_run. */
#define BYTE_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define BYTE_PROGRAM_LEARN 1 /* one labelled sample of the wearer */

typedef enum {
    BYTE_OK = 0,
    BYTE_BAD_ARGUMENT = 1, /* no such program or step */
    BYTE_BAD_LABEL = 2 /* the label is no class; nothing was changed */
} byte_status;

/* Persistent tensors. Copy this struct to keep what was learned. */
typedef struct {
    int32_t fc1_bias[5]; /* int32 [5], Q12 */
    int32_t fc2_bias[3]; /* int32 [3], Q12 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    uint32_t fc1_saturated[1]; /* uint32 [1]: how often a learned value of fc1 met its limit */
    int8_t fc1_weight[40]; /* int8 [5][7] rows of 8, Q6 */
    int8_t fc2_weight[24]; /* int8 [3][5] rows of 8, Q6 */
} byte_state_t;

/* A model: zero it or not, but call byte_init before anything else. */
typedef struct {
    byte_state_t state;
    union {
        int8_t i8[72];
        uint8_t u8[72];
        int16_t i16[36];
        int32_t i32[18];
        uint32_t u32[18];
    } arena;
} byte_t;

/* Inputs as integers: q = round(x * 2^frac), ties to even, held within -128 .. 127. */
typedef struct {
    int8_t x[7]; /* int8 [7], Q6: input */
} byte_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its lead over the second, in units of the scores */
    int16_t scores[3]; /* logits, Q12 */
} byte_outputs_t;

typedef struct {
    const char *name;
    const char *dtype;
    uint32_t offset; /* bytes from the start of the state */
    uint32_t bytes;
} byte_tensor_t;

/* Weights as compiled, counters zero. */
byte_status byte_init(byte_t *m);

/* class, margin and scores of the inputs */
byte_status byte_infer(byte_t *m, const byte_inputs_t *x, byte_outputs_t *y);

/* one labelled sample of the wearer */
byte_status byte_learn(byte_t *m, const byte_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what byte_load put into the arena. */
byte_status byte_run(byte_t *m, uint32_t program);

/* Runs one step by number: for finding the first step that differs from the host's. */
byte_status byte_run_op(byte_t *m, uint32_t op);

/* Copies inputs and label into the arena and runs nothing. */
void byte_load(byte_t *m, const byte_inputs_t *x, uint8_t label);

/* Persistent tensor i, or a null pointer behind the last. */
const byte_tensor_t *byte_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
