/*
 * net: hebbian on 2 of 3 layers
 *
 * Emitted by synapcc 0.1.0. This file belongs to whoever emitted it.
 *   synapcc compile net.onnx --rule rule.toml --calibrate data.npz --board mps2_an386
 * Plan 1a42f53622e0e4f394f116a197217bade9bcd25e8b178d921c1efec6459f338e
 *
 * Memory: 375 bytes of constants in flash, 420 of state and 68 of arena in RAM.
 *
 * constant              36 B  replay_input                 int8        3x12  Q5
 * constant               3 B  replay_label                 uint8        3x1
 * constant               4 B  replay_count                 uint32         1
 * constant              32 B  fc1_bias_init                int32          8  Q18
 * constant              12 B  fc2_bias_init                int32          3  Q15
 * constant             192 B  fc1_weight_init              int16       8x12  Q13
 * constant              48 B  fc2_weight_init              int16        3x8  Q12
 * constant              48 B  fc2_feedback_init            int16        3x8  Q12
 *
 * state          0      32 B  fc1_bias                     int32          8  Q18      -268435456 .. 268435455
 * state         32      12 B  fc2_bias                     int32          3  Q15      -268435456 .. 268435455
 * state         44       4 B  step                         uint32         1           0 .. 4294967295
 * state         48       4 B  fc2_saturated                uint32         1           0 .. 4294967295
 * state         52       4 B  fc1_saturated                uint32         1           0 .. 4294967295
 * state         56       4 B  decay_phase                  uint32         1           0 .. 3
 * state         60       4 B  replay_next                  uint32         1           0 .. 2
 * state         64       4 B  replay_phase                 uint32         1           0 .. 1
 * state         68       4 B  store_next                   uint32         1           0 .. 3
 * state         72       4 B  store_count                  uint32         1           0 .. 4
 * state         76       4 B  rehearse_next                uint32         1           0 .. 3
 * state         80     192 B  fc1_weight                   int16       8x12  Q13      -32768 .. 32767
 * state        272      48 B  fc2_weight                   int16        3x8  Q12      -32768 .. 32767
 * state        320      48 B  fc2_feedback                 int16        3x8  Q12      -32768 .. 32767
 * state        368      48 B  store_input                  int8        4x12  Q5       -128 .. 127
 * state        416       4 B  store_label                  uint8        4x1           0 .. 2
 *
 * arena          0       1 B  decay_due                    uint8          1           0 .. 1
 * arena          0      16 B  fc2_input_teach              int16          8  Q13      -32768 .. 32767
 * arena          0       1 B  label                        uint8          1           0 .. 2
 * arena          0       1 B  rehearse_valid               uint8          1           0 .. 1
 * arena          0      16 B  relu1_input_teach            int16          8  Q13      -32768 .. 32767
 * arena          0       1 B  replay_due                   uint8          1           0 .. 1
 * arena          0       1 B  replay_valid                 uint8          1           0 .. 1
 * arena          4       1 B  taught                       uint8          1           0 .. 1
 * arena         16      12 B  input                        int8          12  Q5       -128 .. 127
 * arena         28       8 B  fc1                          int8           8  Q3       -128 .. 127
 * arena         28       8 B  relu1                        int8           8  Q3       -128 .. 127
 * arena         28      12 B  store_held                   int32          3           -2147483648 .. 2147483647
 * arena         40       8 B  verdict                      int32          2           -2147483648 .. 2147483647
 * arena         48       6 B  error                        int16          3  Q14      -16384 .. 16384
 * arena         56       6 B  fc2                          int16          3  Q8       -32768 .. 32767
 * arena         64       4 B  rehearse_index               uint32         1           0 .. 3
 * arena         64       4 B  replay_index                 uint32         1           0 .. 2
 *
 * Qn: an integer v stands for v / 2^n. "Q by row": each row has an n of its own. What has no Q is a count, an index or
 * packed words. Offsets are bytes from the start of state or arena; behind the Q format stand the limits of the values.
 */
#ifndef NET_H
#define NET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NET_PLAN_DIGEST "1a42f53622e0e4f394f116a197217bade9bcd25e8b178d921c1efec6459f338e"
#define NET_NUMERIC_VERSION 1
#define NET_RUNTIME_VERSION 2
#define NET_KERNELS "dsp" /* how the steps are written; every set computes the same bytes */

#define NET_CLASSES 3
#define NET_STATE_BYTES 420 /* persistent: learned tensors, counters, kept samples */
#define NET_ARENA_BYTES 68 /* activations and signals: valid within one call */
#define NET_TENSORS 16 /* persistent tensors, for net_tensor */
#define NET_PROGRAMS 3 /* entry programs */
#define NET_OPS 26 /* steps, for net_run_op */

/* Entry programs, for net_run. */
#define NET_PROGRAM_INFER 0 /* class, margin and scores of the inputs */
#define NET_PROGRAM_LEARN 1 /* one labelled sample of the wearer */
#define NET_PROGRAM_REHEARSE 2 /* one pass over the kept samples */

typedef enum {
    NET_OK = 0,
    NET_BAD_ARGUMENT = 1, /* no such program or step */
    NET_BAD_LABEL = 2, /* the label is no class; nothing was changed */
    NET_BAD_STATE = 3, /* the state is none that this model can reach: see net_check */
    NET_MORE = 4, /* a run in slices has more of them */
    NET_BUSY = 5 /* something else is in progress; nothing was changed */
} net_status;

/* Persistent tensors. Copy this struct to keep what was learned; net_check what comes back. */
typedef struct {
    int32_t fc1_bias[8]; /* int32 [8], Q18 */
    int32_t fc2_bias[3]; /* int32 [3], Q15 */
    uint32_t step[1]; /* uint32 [1]: samples learned from */
    uint32_t fc2_saturated[1]; /* uint32 [1]: how often a learned value of fc2 met its limit */
    uint32_t fc1_saturated[1]; /* uint32 [1]: how often a learned value of fc1 met its limit */
    uint32_t decay_phase[1]; /* uint32 [1]: samples since the last decay */
    uint32_t replay_next[1]; /* uint32 [1]: the base example that comes next */
    uint32_t replay_phase[1]; /* uint32 [1]: new samples since the last replay */
    uint32_t store_next[1]; /* uint32 [1]: where the next sample is kept */
    uint32_t store_count[1]; /* uint32 [1]: samples kept */
    uint32_t rehearse_next[1]; /* uint32 [1]: the kept sample that is rehearsed next */
    int16_t fc1_weight[96]; /* int16 [8][12], Q13 */
    int16_t fc2_weight[24]; /* int16 [3][8], Q12 */
    int16_t fc2_feedback[24]; /* int16 [3][8], Q12 */
    int8_t store_input[48]; /* int8 [4][12], Q5: kept samples of the wearer */
    uint8_t store_label[4]; /* uint8 [4][1]: kept samples of the wearer */
} net_state_t;

/* What is in progress. A copy of the state leaves it out. */
typedef struct {
    uint32_t turns[7]; /* by level of calls: how often the program there is still run */
    uint16_t at[7]; /* by level: the item that comes next */
    uint8_t level;
    uint8_t busy;
} net_run_t;

/* A model with all its memory. Call net_init before anything else; it need not be zeroed before. */
typedef struct {
    net_state_t state;
    union {
        int8_t i8[68];
        uint8_t u8[68];
        int16_t i16[34];
        int32_t i32[17];
        uint32_t u32[17];
    } arena;
    net_run_t run;
} net_t;

/*
 * Inputs as integers: round(x * 2^n) for an input of format Qn, ties to even, held within -128 .. 127.
 * Dimensions are those of the network's input, in its order, without the batch.
 */
typedef struct {
    int8_t input[12]; /* Q5 */
} net_inputs_t;

typedef struct {
    int32_t winner; /* class with the largest score, the first of equals */
    int32_t margin; /* its score less the second largest */
    int16_t scores[3]; /* logits before softmax, Q8 */
} net_outputs_t;

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
} net_tensor_t;

/* Sets weights and feedback as compiled, and counters, kept samples and arena to zero. */
net_status net_init(net_t *m);

/*
 * Whoever fills the state from outside (flash, a file, a link) calls this before anything else runs: OK, or BAD_STATE where a value
 * is beyond its limits. On such a state the other functions are undefined: sums overflow, cursors point elsewhere.
 */
net_status net_check(const net_state_t *state);

/* The limits of the elements that `bytes` bytes from `offset` on touch: for a state that comes in pieces. */
net_status net_check_part(const net_state_t *state, uint32_t offset, uint32_t bytes);

/*
 * class, margin and scores of the inputs
 * BUSY while anything else is in progress: they share the arena.
 */
net_status net_infer(net_t *m, const net_inputs_t *x, net_outputs_t *y);

/* one labelled sample of the wearer */
net_status net_learn(net_t *m, const net_inputs_t *x, uint8_t label);

/* Runs an entry program by number, on what net_load put into the arena: see there. */
net_status net_run(net_t *m, uint32_t program);

/*
 * The same in slices, for a product that has other things to do: begin, then step until the answer is no longer MORE. The last
 * slice answers OK, and the state holds the very bytes that one call would have left. A slice is one step; report.json has the longest.
 * Until then the other functions that run or load something answer BUSY. A step where nothing has begun is a BAD_ARGUMENT.
 */
net_status net_run_begin(net_t *m, uint32_t program);
net_status net_run_step(net_t *m);

/*
 * net_learn in slices. learn_step is another name of run_step.
 */
net_status net_learn_begin(net_t *m, const net_inputs_t *x, uint8_t label);
net_status net_learn_step(net_t *m);

/*
 * Gives up what is in progress, if anything is. What the slices have changed stays changed: every value is within its limits
 * and net_check is content, but one layer may have learned and the next one not. To go back, copy the state before.
 */
net_status net_run_abort(net_t *m);

/*
 * Whoever runs steps by number calls this before each: OK, or BAD_STATE where it would meet a value in the arena that no program
 * leaves there for it. On such an arena run_op is undefined: sums overflow.
 */
net_status net_check_op(const net_t *m, uint32_t op);

/* Runs one step by number: `synapcc verify` finds with it the first step whose bytes differ from the host's. */
net_status net_run_op(net_t *m, uint32_t op);

/*
 * Copies inputs and label into the arena and runs nothing.
 * Any program may overwrite both: load again before the next.
 */
net_status net_load(net_t *m, const net_inputs_t *x, uint8_t label);

/* Name, type and place of persistent tensor i; a null pointer if i is NET_TENSORS or more. */
const net_tensor_t *net_tensor(uint32_t i);

#ifdef __cplusplus
}
#endif

#endif
