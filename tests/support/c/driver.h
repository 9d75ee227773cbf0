/* What a batch of emitted models shows of itself to whoever drives it. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stdint.h>

enum { INIT, INFER, LEARN, RUN, RUN_OP, LOAD, CHECK, LEARN_BEGIN, RUN_BEGIN, STEP, ABORT, CHECK_OP, GET_STATE, SET_STATE, GET_ARENA, SET_ARENA };

typedef struct {
    uint32_t (*call)(void *m, uint32_t request, const void *x, void *y, uint32_t argument);
    uint32_t bytes, state_bytes, arena_offset, arena_bytes, output_bytes;
} driver_model;

extern const driver_model models[];
extern const uint32_t model_count;

#endif
