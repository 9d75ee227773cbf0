#include "stub.h"

#include <stddef.h>
#include <string.h>

/* Programs: infer, learn, rehearse (the sample in the arena 1,000 times), fault (what a broken chip would do). */
enum { PROGRAM_INFER, PROGRAM_LEARN, PROGRAM_REHEARSE, PROGRAM_FAULT };
enum { OP_SCORE, OP_UPDATE, OP_COUNT, OP_NOTHING };

static const stub_tensor_t tensors[STUB_TENSORS] = {
    {"steps", "uint32", offsetof(stub_state_t, steps), 4},
    {"weight", "int16", offsetof(stub_state_t, weight), 2 * STUB_CLASSES * STUB_INPUTS},
};

static int16_t saturate(int32_t value)
{
    return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
}

static void score(stub_t *m)
{
    for (uint32_t row = 0; row < STUB_CLASSES; row++) {
        int32_t sum = 0;

        for (uint32_t i = 0; i < STUB_INPUTS; i++)
            sum += m->state.weight[row][i] * m->arena.now.x[i] / 256;
        m->arena.now.score[row] = saturate(sum);
    }
}

static void update(stub_t *m)
{
    for (uint32_t row = 0; row < STUB_CLASSES; row++) {
        const int32_t sign = row == m->arena.now.label ? 1 : -1;

        for (uint32_t i = 0; i < STUB_INPUTS; i++)
            m->state.weight[row][i] = saturate(m->state.weight[row][i] + sign * m->arena.now.x[i]);
    }
}

stub_status stub_init(stub_t *m)
{
    if (m == NULL)
        return STUB_BAD_ARGUMENT;
    memset(m, 0, sizeof *m);
    for (uint32_t row = 0; row < STUB_CLASSES; row++)
        for (uint32_t i = 0; i < STUB_INPUTS; i++)
            m->state.weight[row][i] = (int16_t)(100 * row + i % 50);
    return STUB_OK;
}

/* Weights lie within +-30000; more than a million steps contradict them, which only a look at the whole state shows. */
stub_status stub_check_part(const stub_state_t *state, uint32_t offset, uint32_t bytes)
{
    (void)offset;
    (void)bytes;
    for (uint32_t i = 0; i < STUB_CLASSES * STUB_INPUTS; i++)
        if (state->weight[i / STUB_INPUTS][i % STUB_INPUTS] > 30000 || state->weight[i / STUB_INPUTS][i % STUB_INPUTS] < -30000)
            return STUB_BAD_STATE;
    return STUB_OK;
}

stub_status stub_check(const stub_state_t *state)
{
    return state->steps > 1000000u ? STUB_BAD_STATE : stub_check_part(state, 0, STUB_STATE_BYTES);
}

static void put(stub_t *m, const stub_inputs_t *x, uint8_t label)
{
    memcpy(m->arena.now.x, x->beat, STUB_BEAT);
    memcpy(m->arena.now.x + STUB_BEAT, x->rr, STUB_RR);
    m->arena.now.label = label;
}

stub_status stub_load(stub_t *m, const stub_inputs_t *x, uint8_t label)
{
    if (m->turns > 0)
        return STUB_BUSY;
    put(m, x, label);
    return STUB_OK;
}

stub_status stub_infer(stub_t *m, const stub_inputs_t *x, stub_outputs_t *y)
{
    int32_t second = INT32_MIN;

    if (m->turns > 0)
        return STUB_BUSY;
    put(m, x, 0);
    score(m);
    memcpy(y->scores, m->arena.now.score, sizeof y->scores);
    y->winner = 0;
    for (int32_t row = 1; row < STUB_CLASSES; row++) {
        if (y->scores[row] > y->scores[y->winner]) {
            second = y->scores[y->winner];
            y->winner = row;
        } else if (y->scores[row] > second) {
            second = y->scores[row];
        }
    }
    y->margin = y->scores[y->winner] - second;
    return STUB_OK;
}

stub_status stub_check_op(const stub_t *m, uint32_t op)
{
    if (op > OP_NOTHING)
        return STUB_BAD_ARGUMENT;
    return m->turns > 0 ? STUB_BUSY : STUB_OK;
}

stub_status stub_run_op(stub_t *m, uint32_t op)
{
    if (m->turns > 0)
        return STUB_BUSY;
    switch (op) {
    case OP_SCORE:
        score(m);
        return STUB_OK;
    case OP_UPDATE:
        update(m);
        return STUB_OK;
    case OP_COUNT:
        m->state.steps++;
        return STUB_OK;
    case OP_NOTHING:
        return STUB_OK;
    default:
        return STUB_BAD_ARGUMENT;
    }
}

stub_status stub_run_begin(stub_t *m, uint32_t program)
{
    if (program >= STUB_PROGRAMS)
        return STUB_BAD_ARGUMENT;
    if (m->turns > 0)
        return STUB_BUSY;
    if (program == PROGRAM_FAULT)
        __builtin_trap();
    m->program = program;
    m->turns = program == PROGRAM_REHEARSE ? 1000 : 1;
    return STUB_OK;
}

stub_status stub_run_step(stub_t *m)
{
    if (m->turns == 0)
        return STUB_BAD_ARGUMENT;
    score(m);
    if (m->program != PROGRAM_INFER) {
        update(m);
        m->state.steps++;
    }
    return --m->turns > 0 ? STUB_MORE : STUB_OK;
}

stub_status stub_run_abort(stub_t *m)
{
    m->turns = 0;
    return STUB_OK;
}

stub_status stub_run(stub_t *m, uint32_t program)
{
    stub_status status = stub_run_begin(m, program);

    while (status == STUB_OK)
        if (stub_run_step(m) == STUB_OK)
            break;
    return status;
}

stub_status stub_learn(stub_t *m, const stub_inputs_t *x, uint8_t label)
{
    const uint32_t row = label; /* a stub of more than 255 classes must compile, too */

    if (row >= STUB_CLASSES)
        return STUB_BAD_LABEL;
    if (m->turns > 0)
        return STUB_BUSY;
    put(m, x, label);
    return stub_run(m, PROGRAM_LEARN);
}

const stub_tensor_t *stub_tensor(uint32_t i)
{
    return i < STUB_TENSORS ? &tensors[i] : NULL;
}
