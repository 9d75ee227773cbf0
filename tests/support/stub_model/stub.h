/* A stand-in with the API of an emitted model: three classes, one int16 weight matrix that learning changes. */
#ifndef STUB_H
#define STUB_H

#include <stdint.h>

#define STUB_PLAN_DIGEST "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define STUB_NUMERIC_VERSION 1
#define STUB_RUNTIME_VERSION 2
#define STUB_BEAT 6
#define STUB_RR 2
#define STUB_CLASSES 3
#define STUB_INPUTS (STUB_BEAT + STUB_RR)
#define STUB_STATE_BYTES (4 + 2 * STUB_CLASSES * STUB_INPUTS)
#define STUB_ARENA_BYTES (STUB_INPUTS + STUB_INPUTS % 2 + 2 * STUB_CLASSES + 2)
#define STUB_TENSORS 2
#define STUB_PROGRAMS 4
#define STUB_OPS 3

typedef struct {
    uint32_t steps;
    int16_t weight[STUB_CLASSES][STUB_INPUTS];
} stub_state_t;

typedef struct {
    int8_t beat[STUB_BEAT];
    int8_t rr[STUB_RR];
} stub_inputs_t;

typedef struct {
    int32_t winner;
    int32_t margin;
    int16_t scores[STUB_CLASSES];
} stub_outputs_t;

typedef struct {
    stub_state_t state;
    union {
        uint8_t bytes[STUB_ARENA_BYTES];
        struct {
            int8_t x[STUB_INPUTS + STUB_INPUTS % 2];
            int16_t score[STUB_CLASSES];
            uint8_t label;
        } now;
    } arena;
    uint32_t program, turns; /* of a run in slices: what is left of it */
} stub_t;

typedef struct {
    const char *name;
    const char *dtype;
    uint32_t offset;
    uint32_t bytes;
} stub_tensor_t;

typedef enum { STUB_OK = 0, STUB_BAD_ARGUMENT = 1, STUB_BAD_LABEL = 2, STUB_BAD_STATE = 3, STUB_MORE = 4, STUB_BUSY = 5 } stub_status;

stub_status stub_init(stub_t *m);
stub_status stub_check(const stub_state_t *state);
stub_status stub_check_part(const stub_state_t *state, uint32_t offset, uint32_t bytes);
stub_status stub_infer(stub_t *m, const stub_inputs_t *x, stub_outputs_t *y);
stub_status stub_learn(stub_t *m, const stub_inputs_t *x, uint8_t label);
stub_status stub_run(stub_t *m, uint32_t program);
stub_status stub_check_op(const stub_t *m, uint32_t op);
stub_status stub_run_op(stub_t *m, uint32_t op);
stub_status stub_run_begin(stub_t *m, uint32_t program);
stub_status stub_run_step(stub_t *m);
stub_status stub_run_abort(stub_t *m);
stub_status stub_load(stub_t *m, const stub_inputs_t *x, uint8_t label);
const stub_tensor_t *stub_tensor(uint32_t i);

#endif
