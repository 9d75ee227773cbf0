/*
 * ring: a golden model
 *
 * Emitted by synapcc VERSION. This file belongs to whoever emitted it.
 *   synapcc compile ring.onnx
 * Plan 01d8634936307adbe465d0b01f190bc79cf6599c3d5a0ea7b93e5f3ce3d7f4b5
 *
 * Memory: 230 bytes of constants in flash, 272 of state and 60 of arena in RAM.
 *
 * constant              16 B  replay_x                     int8         2x7  Q6
 * constant               2 B  replay_label                 uint8        2x1
 * constant               4 B  replay_count                 uint32         1
 * constant              20 B  fc1_bias_init                int32          5  Q18
 * constant              12 B  fc2_bias_init                int32          3  Q16
 * constant              80 B  fc1_weight_init              int16        5x7  Q12
 * constant              48 B  fc2_weight_init              int16        3x5  Q13
 * constant              48 B  fc2_feedback_init            int16        3x5  Q13
 *
 * state          0      20 B  fc1_bias                     int32          5  Q18      -268435456 .. 268435455
 * state         20      12 B  fc2_bias                     int32          3  Q16      -268435456 .. 268435455
 * state         32       4 B  step                         uint32         1           0 .. 4294967295
 * state         36       4 B  fc2_saturated                uint32         1           0 .. 4294967295
 * state         40       4 B  fc1_saturated                uint32         1           0 .. 4294967295
 * state         44       4 B  decay_phase                  uint32         1           0 .. 3
 * state         48       4 B  replay_next                  uint32         1           0 .. 1
 * state         52       4 B  replay_phase                 uint32         1           0 .. 0
 * state         56       4 B  store_next                   uint32         1           0 .. 2
 * state         60       4 B  store_count                  uint32         1           0 .. 3
 * state         64       4 B  rehearse_next                uint32         1           0 .. 2
 * state         68      80 B  fc1_weight                   int16        5x7  Q12      -32768 .. 32767
 * state        148      48 B  fc2_weight                   int16        3x5  Q13      -32768 .. 32767
 * state        196      48 B  fc2_feedback                 int16        3x5  Q13      -32768 .. 32767
 * state        244      24 B  store_x                      int8         3x7  Q6       -128 .. 127
 * state        268       3 B  store_label                  uint8        3x1           0 .. 2
 *
 * arena          0       1 B  decay_due                    uint8          1           0 .. 1
 * arena          0       5 B  fc1                          int8           5  Q3       -128 .. 127
 * arena          0       1 B  rehearse_valid               uint8          1           0 .. 1
 * arena          0       5 B  relu                         int8           5  Q3       -128 .. 127
 * arena          0       1 B  replay_due                   uint8          1           0 .. 1
 * arena          0       1 B  replay_valid                 uint8          1           0 .. 1
 * arena          0      12 B  store_held                   int32          3           -2147483648 .. 2147483647
 * arena          8       1 B  taught                       uint8          1           0 .. 1
 * arena         12      10 B  fc2_input_teach              int16          5  Q13      -32768 .. 32767
 * arena         12       1 B  label                        uint8          1           0 .. 2
 * arena         12      10 B  relu_input_teach             int16          5  Q13      -32768 .. 32767
 * arena         24       8 B  verdict                      int32          2           -2147483648 .. 2147483647
 * arena         32       7 B  x                            int8           7  Q6       -128 .. 127
 * arena         40       6 B  error                        int16          3  Q14      -16384 .. 16384
 * arena         48       6 B  fc2                          int16          3  Q8       -32768 .. 32767
 * arena         56       4 B  rehearse_index               uint32         1           0 .. 2
 * arena         56       4 B  replay_index                 uint32         1           0 .. 1
 *
 * Qn: an integer v stands for v / 2^n. "Q by row": each row has an n of its own. What has no Q is a count, an index or
 * packed words. Offsets are bytes from the start of state or arena; behind the Q format stand the limits of the values.
 */
#ifndef RING_H
#define RING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RING_PLAN_DIGEST "01d8634936307adbe465d0b01f190bc79cf6599c3d5a0ea7b93e5f3ce3d7f4b5"
#define RING_NUMERIC_VERSION 1
#define RING_RUNTIME_VERSION 2
#define RING_KERNELS "ref" /* how the steps are written; every set computes the same bytes */

#define RING_CLASSES 3
#define RING_STATE_BYTES 272 /* persistent: learned tensors, counters, kept samples */
#define RING_ARENA_BYTES 60 /* activations and signals: valid within one call */
#define RING_TENSORS 16 /* persistent tensors, for ring_tensor */
#define RING_PROGRAMS 3 /* entry programs */
#define RING_OPS 27 /* steps, for ring_run_op */

/* Entry programs, for ring_run. */
#define RING_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define RING_PROGRAM_LEARN 1 /* one labelled sample of the wearer */
#define RING_PROGRAM_REHEARSE 2 /* one pass over the kept samples */

typedef enum {
    RING_OK = 0,
    RING_BAD_ARGUMENT = 1, /* no such program or step */
    RING_BAD_LABEL = 2, /* the label is no class; nothing was changed */
    RING_BAD_STATE = 3, /* the state is none that this model can reach: see ring_check */
    RING_MORE = 4, /* a run in slices has more of them */
    RING_BUSY = 5 /* something else is in progress; nothing was changed */
} ring_status;

/* Persistent tensors. Copy this struct to keep what was learned; ring_check what comes back. */
typedef struct {
    int32_t fc1_bias[5]; /* int32 [5], Q18 */
    int32_t fc2_bias[3]; /* int32 [3], Q16 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    uint32_t fc1_saturated[1]; /* uint32 [1]: how often a learned value of fc1 met its limit */
    uint32_t decay_phase[1]; /* uint32 [1]: samples since the last decay */
    uint32_t replay_next[1]; /* uint32 [1]: the base example that comes next */
    uint32_t replay_phase[1]; /* uint32 [1]: new samples since the last replay */
    uint32_t store_next[1]; /* uint32 [1]: where the next sample is kept */
    uint32_t store_count[1]; /* uint32 [1]: samples kept */
    uint32_t rehearse_next[1]; /* uint32 [1]: the kept sample that is rehearsed next */
    int16_t fc1_weight[40]; /* int16 [5][7] rows of 8, Q12 */
    int16_t fc2_weight[24]; /* int16 [3][5] rows of 8, Q13 */
    int16_t fc2_feedback[24]; /* int16 [3][5] rows of 8, Q13 */
    int8_t store_x[24]; /* int8 [3][7] rows of 8, Q6: kept samples of the wearer */
    uint8_t store_label[3]; /* uint8 [3][1]: kept samples of the wearer */
} ring_state_t;

/* What is in progress. A copy of the state leaves it out. */
typedef struct {
    uint32_t turns[7]; /* by level of calls: how often the program there is still run */
    uint16_t at[7]; /* by level: the item that comes next */
    uint8_t level;
    uint8_t busy;
} ring_run_t;

/* A model with all its memory. Call ring_init before anything else; it need not be zeroed before. */
typedef struct {
    ring_state_t state;
    union {
        int8_t i8[60];
        uint8_t u8[60];
        int16_t i16[30];
        int32_t i32[15];
        uint32_t u32[15];
    } arena;
    ring_run_t run;
} ring_t;

/*
 * Inputs as integers: round(x * 2^n) for an input of format Qn, ties to even, held within -128 .. 127.
 * Dimensions are those of the network's input, in its order, without the batch.
 */
typedef struct {
    int8_t x[7]; /* Q6 */
} ring_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its score less the second largest */
    int16_t scores[3]; /* logits before softmax, Q8 */
} ring_outputs_t;

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
} ring_tensor_t;

/* Sets weights and feedback as compiled, and counters, kept samples and arena to zero. */
ring_status ring_init(ring_t *m);

/*
 * Whoever fills the state from outside (flash, a file, a link) calls this before anything else runs: OK, or BAD_STATE where a value
 * is beyond its limits. On such a state the other functions are undefined: sums overflow, cursors point elsewhere.
 */
ring_status ring_check(const ring_state_t *state);

/* The limits of the elements that `bytes` bytes from `offset` on touch: for a state that comes in pieces. */
ring_status ring_check_part(const ring_state_t *state, uint32_t offset, uint32_t bytes);

/*
 * class, margin and scores of the inputs
 * BUSY while anything else is in progress: they share the arena.
 */
ring_status ring_infer(ring_t *m, const ring_inputs_t *x, ring_outputs_t *y);

/* one labelled sample of the wearer */
ring_status ring_learn(ring_t *m, const ring_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what ring_load put into the arena: see there. */
ring_status ring_run(ring_t *m, uint32_t program);

/*
 * The same in slices, for a product that has other things to do: begin, then step until the answer is no longer MORE. The last
 * slice answers OK, and the state holds the very bytes that one call would have left. A slice is one step; report.json has the longest.
 * Until then the other functions that run or load something answer BUSY. A step where nothing has begun is a BAD_ARGUMENT.
 */
ring_status ring_run_begin(ring_t *m, uint32_t program);
ring_status ring_run_step(ring_t *m);

/*
 * ring_learn in slices. learn_step is another name of run_step.
 */
ring_status ring_learn_begin(ring_t *m, const ring_inputs_t *x, uint8_t label);
ring_status ring_learn_step(ring_t *m);

/*
 * Gives up what is in progress, if anything is. What the slices have changed stays changed: every value is within its limits
 * and ring_check is content, but one layer may have learned and the next one not. To go back, copy the state before.
 */
ring_status ring_run_abort(ring_t *m);

/*
 * Whoever runs steps by number calls this before each: OK, or BAD_STATE where it would meet a value in the arena that no program
 * leaves there for it. On such an arena run_op is undefined: sums overflow.
 */
ring_status ring_check_op(const ring_t *m, uint32_t op);

/* Runs one step by number: `synapcc verify` finds with it the first step whose bytes differ from the host's. */
ring_status ring_run_op(ring_t *m, uint32_t op);

/*
 * Copies inputs and label into the arena and runs nothing.
 * Any program may overwrite both: load again before the next.
 */
ring_status ring_load(ring_t *m, const ring_inputs_t *x, uint8_t label);

/* Name, type and place of persistent tensor i; a null pointer if i is RING_TENSORS or more. */
const ring_tensor_t *ring_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
