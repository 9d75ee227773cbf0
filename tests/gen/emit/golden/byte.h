/*
 * byte: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile byte.onnx
 * Plan 6ad6b96ca9ef33e77b41a1a042084caf87dd513701c9f7b9b22a1197445b8cf5
 *
 * Memory: 96 bytes of constants in flash, 108 of state and 72 of arena in RAM, and 32 of an arena that is infer's own.
 *
 * constant              20 B  fc1_bias_init                int32          5  Q11
 * constant              12 B  fc2_bias_init                int32          3  Q9
 * constant              40 B  fc1_weight_init              int8         5x7  Q5
 * constant              24 B  fc2_weight_init              int8         3x5  Q5
 *
 * state          0      20 B  fc1_bias                     int32          5  Q11      -268435456 .. 268435455
 * state         20      12 B  fc2_bias                     int32          3  Q9       -268435456 .. 268435455
 * state         32       4 B  step                         uint32         1           0 .. 4294967295
 * state         36       4 B  fc2_saturated                uint32         1           0 .. 4294967295
 * state         40       4 B  fc1_saturated                uint32         1           0 .. 4294967295
 * state         44      40 B  fc1_weight                   int8         5x7  Q5       -128 .. 127
 * state         84      24 B  fc2_weight                   int8         3x5  Q5       -128 .. 127
 *
 * arena          0       8 B  verdict                      int32          2           -2147483648 .. 2147483647
 * arena          8       7 B  x                            int8           7  Q6       -128 .. 127
 * arena         16       6 B  fc2                          int16          3  Q9       -32768 .. 32767
 * arena         24       5 B  fc1                          int8           5  Q4       -128 .. 127
 * arena         24       5 B  relu                         int8           5  Q4       -128 .. 127
 * arena         32      20 B  fc1_direct_teach_sum         int32          5           -2147483648 .. 2147483647
 * arena         32       1 B  label                        uint8          1           0 .. 2
 * arena         36       1 B  taught                       uint8          1           0 .. 1
 * arena         52      10 B  fc1_direct_teach             int16          5  Q9       -32768 .. 32767
 * arena         52      10 B  relu_input_teach             int16          5  Q9       -32768 .. 32767
 * arena         64       6 B  error                        int16          3  Q8       -32768 .. 32767
 *
 * Qn: an integer v stands for v / 2^n. "Q by row": each row has an n of its own. What has no Q is a count, an index or
 * packed words. Offsets are bytes from the start of state or arena; behind the Q format stand the limits of the values.
 */
#ifndef BYTE_H
#define BYTE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BYTE_PLAN_DIGEST "6ad6b96ca9ef33e77b41a1a042084caf87dd513701c9f7b9b22a1197445b8cf5"
#define BYTE_NUMERIC_VERSION 1
#define BYTE_RUNTIME_VERSION 2
#define BYTE_KERNELS "ref" /* how the steps are written; every set computes the same bytes */

#define BYTE_CLASSES 3
#define BYTE_STATE_BYTES 108 /* persistent: learned tensors, counters */
#define BYTE_ARENA_BYTES 72 /* activations and signals: valid within one call */
#define BYTE_INFER_ARENA_BYTES 32 /* of an arena that byte_infer has to itself */
#define BYTE_TENSORS 7 /* persistent tensors, for byte_tensor */
#define BYTE_PROGRAMS 2 /* entry programs */
#define BYTE_OPS 10 /* steps, for byte_run_op */

/* Entry programs, for byte_run. */
#define BYTE_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define BYTE_PROGRAM_LEARN 1 /* one labelled sample of the wearer */

typedef enum {
    BYTE_OK = 0,
    BYTE_BAD_ARGUMENT = 1, /* no such program or step */
    BYTE_BAD_LABEL = 2, /* the label is no class; nothing was changed */
    BYTE_BAD_STATE = 3, /* the state is none that this model can reach: see byte_check */
    BYTE_MORE = 4, /* a run in slices has more of them */
    BYTE_BUSY = 5 /* something else is in progress; nothing was changed */
} byte_status;

/* Persistent tensors. Copy this struct to keep what was learned; byte_check what comes back. */
typedef struct {
    int32_t fc1_bias[5]; /* int32 [5], Q11 */
    int32_t fc2_bias[3]; /* int32 [3], Q9 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    uint32_t fc1_saturated[1]; /* uint32 [1]: how often a learned value of fc1 met its limit */
    int8_t fc1_weight[40]; /* int8 [5][7] rows of 8, Q5 */
    int8_t fc2_weight[24]; /* int8 [3][5] rows of 8, Q5 */
} byte_state_t;

/* What is in progress. A copy of the state leaves it out. */
typedef struct {
    uint32_t turns[3]; /* by level of calls: how often the program there is still run */
    uint16_t at[3]; /* by level: the item that comes next */
    uint8_t level;
    uint8_t busy;
    uint8_t inferring;
} byte_run_t;

/* What byte_infer works in. */
typedef union {
    int8_t i8[32];
    uint8_t u8[32];
    int16_t i16[16];
    int32_t i32[8];
    uint32_t u32[8];
} byte_infer_arena_t;

/* A model with all its memory. Call byte_init before anything else; it need not be zeroed before. */
typedef struct {
    byte_state_t state;
    union {
        int8_t i8[72];
        uint8_t u8[72];
        int16_t i16[36];
        int32_t i32[18];
        uint32_t u32[18];
        byte_infer_arena_t infer; /* the part that steps of the program infer use */
    } arena;
    byte_infer_arena_t infer_arena; /* byte_infer's own: it may interrupt what runs in the other */
    byte_run_t run;
} byte_t;

/*
 * Inputs as integers: round(x * 2^n) for an input of format Qn, ties to even, held within -128 .. 127.
 * Dimensions are those of the network's input, in its order, without the batch.
 */
typedef struct {
    int8_t x[7]; /* Q6 */
} byte_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its score less the second largest */
    int16_t scores[3]; /* logits before softmax, Q9 */
} byte_outputs_t;

typedef struct {
    const char *name;
    const char *dtype;
    uint32_t offset; /* bytes from the start of the state */
    uint32_t bytes;
    uint32_t size; /* bytes of an element */
    uint32_t row; /* elements of a row in memory */
    uint32_t columns; /* of these, those in use; the others are zero */
    int32_t lo; /* every element in use lies within lo .. lo + range */
    uint32_t range;
} byte_tensor_t;

/* Sets weights and feedback as compiled, and counters, kept samples and arena to zero. */
byte_status byte_init(byte_t *m);

/*
 * Whoever fills the state from outside (flash, a file, a link) calls this before anything else runs: OK, or BAD_STATE where a value
 * is beyond its limits. On such a state the other functions are undefined: sums overflow, cursors point elsewhere.
 */
byte_status byte_check(const byte_state_t *state);

/* The limits of the elements that `bytes` bytes from `offset` on touch: for a state that comes in pieces. */
byte_status byte_check_part(const byte_state_t *state, uint32_t offset, uint32_t bytes);

/*
 * class, margin and scores of the inputs
 * May interrupt whatever else is in progress, but itself: BUSY then. It has an arena of its own, and changes no state. Where learning is in
 * progress it meets some weights that are new and some that are old, each of them whole and within its limits.
 */
byte_status byte_infer(byte_t *m, const byte_inputs_t *x, byte_outputs_t *y);

/* one labelled sample of the wearer */
byte_status byte_learn(byte_t *m, const byte_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what byte_load put into the arena: see there. */
byte_status byte_run(byte_t *m, uint32_t program);

/*
 * The same in slices, for a product that has other things to do: begin, then step until the answer is no longer MORE. The last
 * slice answers OK, and the state holds the very bytes that one call would have left. A slice is one step; report.json has the longest.
 * Until then the other functions that run or load something answer BUSY, but byte_infer. A step where nothing has begun is a BAD_ARGUMENT.
 */
byte_status byte_run_begin(byte_t *m, uint32_t program);
byte_status byte_run_step(byte_t *m);

/*
 * byte_learn in slices. learn_step is another name of run_step.
 */
byte_status byte_learn_begin(byte_t *m, const byte_inputs_t *x, uint8_t label);
byte_status byte_learn_step(byte_t *m);

/*
 * Gives up what is in progress, if anything is. What the slices have changed stays changed: every value is within its limits
 * and byte_check is content, but one layer may have learned and the next one not. To go back, copy the state before.
 */
byte_status byte_run_abort(byte_t *m);

/*
 * Whoever runs steps by number calls this before each: OK, or BAD_STATE where it would meet a value in the arena that no program
 * leaves there for it. On such an arena run_op is undefined: sums overflow.
 */
byte_status byte_check_op(const byte_t *m, uint32_t op);

/* Runs one step by number: `synapcc verify` finds with it the first step whose bytes differ from the host's. */
byte_status byte_run_op(byte_t *m, uint32_t op);

/*
 * Copies inputs and label into the arena and runs nothing.
 * Any program may overwrite both: load again before the next.
 */
byte_status byte_load(byte_t *m, const byte_inputs_t *x, uint8_t label);

/* Name, type and place of persistent tensor i; a null pointer if i is BYTE_TENSORS or more. */
const byte_tensor_t *byte_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
