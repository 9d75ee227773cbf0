/*
 * pair: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile pair.onnx
 * Plan 0d27b92761b4da9b9b25c757332150bdf5a5c4ea71e9bf10474626034b916ffd
 *
 * Memory: 137 bytes of constants in flash, 68 of state and 40 of arena in RAM.
 *
 * constant               5 B  fc1_shift                    uint8          5
 * constant              48 B  fc1_weight_dual              uint32        12
 * constant              24 B  fc1_bias_dual                int32          6
 * constant              12 B  fc2_bias_init                int32          3  Q17
 * constant              48 B  fc2_weight_init              int16        3x5  Q11
 *
 * state          0      12 B  fc2_bias                     int32          3  Q17      -268435456 .. 268435455
 * state         12       4 B  step                         uint32         1           0 .. 4294967295
 * state         16       4 B  fc2_saturated                uint32         1           0 .. 4294967295
 * state         20      48 B  fc2_weight                   int16        3x5  Q11      -32768 .. 32767
 *
 * arena          0       8 B  verdict                      int32          2           -2147483648 .. 2147483647
 * arena          8       6 B  error                        int16          3  Q14      -16384 .. 16384
 * arena          8       7 B  x                            int8           7  Q6       -128 .. 127
 * arena         16       6 B  fc2                          int16          3  Q8       -32768 .. 32767
 * arena         24       5 B  fc1                          int8           5  Q6       -128 .. 127
 * arena         24       5 B  relu                         int8           5  Q6       -128 .. 127
 * arena         32       1 B  label                        uint8          1           0 .. 2
 * arena         36       1 B  taught                       uint8          1           0 .. 1
 *
 * Qn: an integer v stands for v / 2^n. "Q by row": each row has an n of its own. What has no Q is a count, an index or
 * packed words. Offsets are bytes from the start of state or arena; behind the Q format stand the limits of the values.
 */
#ifndef PAIR_H
#define PAIR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAIR_PLAN_DIGEST "0d27b92761b4da9b9b25c757332150bdf5a5c4ea71e9bf10474626034b916ffd"
#define PAIR_NUMERIC_VERSION 1
#define PAIR_RUNTIME_VERSION 2
#define PAIR_KERNELS "dsp" /* how the steps are written; every set computes the same bytes */

#define PAIR_CLASSES 3
#define PAIR_STATE_BYTES 68 /* persistent: learned tensors, counters */
#define PAIR_ARENA_BYTES 40 /* activations and signals: valid within one call */
#define PAIR_TENSORS 4 /* persistent tensors, for pair_tensor */
#define PAIR_PROGRAMS 2 /* entry programs */
#define PAIR_OPS 7 /* steps, for pair_run_op */

/* Entry programs, for pair_run. */
#define PAIR_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define PAIR_PROGRAM_LEARN 1 /* one labelled sample of the wearer */

typedef enum {
    PAIR_OK = 0,
    PAIR_BAD_ARGUMENT = 1, /* no such program or step */
    PAIR_BAD_LABEL = 2, /* the label is no class; nothing was changed */
    PAIR_BAD_STATE = 3, /* the state is none that this model can reach: see pair_check */
    PAIR_MORE = 4, /* a run in slices has more of them */
    PAIR_BUSY = 5 /* something else is in progress; nothing was changed */
} pair_status;

/* Persistent tensors. Copy this struct to keep what was learned; pair_check what comes back. */
typedef struct {
    int32_t fc2_bias[3]; /* int32 [3], Q17 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    int16_t fc2_weight[24]; /* int16 [3][5] rows of 8, Q11 */
} pair_state_t;

/* What is in progress. A copy of the state leaves it out. */
typedef struct {
    uint32_t turns[3]; /* by level of calls: how often the program there is still run */
    uint16_t at[3]; /* by level: the item that comes next */
    uint8_t level;
    uint8_t busy;
} pair_run_t;

/* A model with all its memory. Call pair_init before anything else; it need not be zeroed before. */
typedef struct {
    pair_state_t state;
    union {
        int8_t i8[40];
        uint8_t u8[40];
        int16_t i16[20];
        int32_t i32[10];
        uint32_t u32[10];
    } arena;
    pair_run_t run;
} pair_t;

/*
 * Inputs as integers: round(x * 2^n) for an input of format Qn, ties to even, held within -128 .. 127.
 * Dimensions are those of the network's input, in its order, without the batch.
 */
typedef struct {
    int8_t x[7]; /* Q6 */
} pair_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its score less the second largest */
    int16_t scores[3]; /* logits before softmax, Q8 */
} pair_outputs_t;

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
} pair_tensor_t;

/* Sets weights and feedback as compiled, and counters, kept samples and arena to zero. */
pair_status pair_init(pair_t *m);

/*
 * Whoever fills the state from outside (flash, a file, a link) calls this before anything else runs: OK, or BAD_STATE where a value
 * is beyond its limits. On such a state the other functions are undefined: sums overflow, cursors point elsewhere.
 */
pair_status pair_check(const pair_state_t *state);

/* The limits of the elements that `bytes` bytes from `offset` on touch: for a state that comes in pieces. */
pair_status pair_check_part(const pair_state_t *state, uint32_t offset, uint32_t bytes);

/*
 * class, margin and scores of the inputs
 * BUSY while anything else is in progress: they share the arena.
 */
pair_status pair_infer(pair_t *m, const pair_inputs_t *x, pair_outputs_t *y);

/* one labelled sample of the wearer */
pair_status pair_learn(pair_t *m, const pair_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what pair_load put into the arena: see there. */
pair_status pair_run(pair_t *m, uint32_t program);

/*
 * The same in slices, for a product that has other things to do: begin, then step until the answer is no longer MORE. The last
 * slice answers OK, and the state holds the very bytes that one call would have left. A slice is one step; report.json has the longest.
 * Until then the other functions that run or load something answer BUSY. A step where nothing has begun is a BAD_ARGUMENT.
 */
pair_status pair_run_begin(pair_t *m, uint32_t program);
pair_status pair_run_step(pair_t *m);

/*
 * pair_learn in slices. learn_step is another name of run_step.
 */
pair_status pair_learn_begin(pair_t *m, const pair_inputs_t *x, uint8_t label);
pair_status pair_learn_step(pair_t *m);

/*
 * Gives up what is in progress, if anything is. What the slices have changed stays changed: every value is within its limits
 * and pair_check is content, but one layer may have learned and the next one not. To go back, copy the state before.
 */
pair_status pair_run_abort(pair_t *m);

/*
 * Whoever runs steps by number calls this before each: OK, or BAD_STATE where it would meet a value in the arena that no program
 * leaves there for it. On such an arena run_op is undefined: sums overflow.
 */
pair_status pair_check_op(const pair_t *m, uint32_t op);

/* Runs one step by number: `synapcc verify` finds with it the first step whose bytes differ from the host's. */
pair_status pair_run_op(pair_t *m, uint32_t op);

/*
 * Copies inputs and label into the arena and runs nothing.
 * Any program may overwrite both: load again before the next.
 */
pair_status pair_load(pair_t *m, const pair_inputs_t *x, uint8_t label);

/* Name, type and place of persistent tensor i; a null pointer if i is PAIR_TENSORS or more. */
const pair_tensor_t *pair_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
