#include "machine.h"

#include <string.h>

#include "checksum.h"
#include "hal/hal.h"
#include "server.h"
#include "sha256.h"
#include "ticks.h"

#if MODEL_RUNTIME_VERSION != SYNAPCC_RUNTIME_VERSION
#error "model and firmware come from different versions of synapcc: compile the model again"
#endif
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "state, arena and output go over the link as they lie in memory, and the link is little-endian"
#endif

REQUESTS_CHECK(state_fits, MODEL_STATE_BYTES <= sizeof ((model_t *)0)->state);
REQUESTS_CHECK(arena_fits, MODEL_ARENA_BYTES <= sizeof ((model_t *)0)->arena);
REQUESTS_CHECK(winner_first, offsetof(model_outputs_t, winner) == 0 && sizeof ((model_outputs_t *)0)->winner == 4);
REQUESTS_CHECK(then_margin, offsetof(model_outputs_t, margin) == 4 && sizeof ((model_outputs_t *)0)->margin == 4);
REQUESTS_CHECK(then_scores, offsetof(model_outputs_t, scores) == 8);
REQUESTS_CHECK(one_score_a_class, sizeof ((model_outputs_t *)0)->scores == 2 * MODEL_CLASSES ||
                                      (sizeof ((model_outputs_t *)0)->scores == 2 && MODEL_CLASSES == 2));

REQUESTS_CHECK(proofs_fit, PROTO_PROOFS * PROTO_CHECKSUM_BYTES + SHA256_BYTES <= PROTO_LEARN_MANY_REPLY_TAIL);
REQUESTS_CHECK(state_is_words, offsetof(struct { uint8_t before; machine_t machine; }, machine.model.state) % 4 == 0);

machine_t machine;

/* So many bytes of samples at most: to clear megabytes would delay the start. */
#define SAMPLES_MAX 0x100000u

static void find_room(void)
{
    uintptr_t low, high;
    uint32_t size;

    hal_spare(&low, &high);
    low = (low + 3u) & ~(uintptr_t)3;
    if (high <= low)
        return;
    size = high - low < SAMPLES_MAX ? (uint32_t)(high - low) : SAMPLES_MAX;
    machine.kept = size / MACHINE_SAMPLE_BYTES;
    machine.samples = (uint8_t *)low;
    memset(machine.samples, 0, machine.kept * MACHINE_SAMPLE_BYTES);
}

void machine_start(void)
{
    memset(&machine, 0, sizeof machine);
    find_room();
    (void)model_init(&machine.model); /* cannot fail here */
}

static proto_status status_of(model_status status)
{
    switch (status) {
    case MODEL_OK:
        return PROTO_OK;
    case MODEL_BAD_LABEL:
        return PROTO_BAD_LABEL;
    case MODEL_BAD_STATE:
        return PROTO_BAD_STATE;
    case MODEL_BUSY:
        return PROTO_BUSY;
    default:
        return PROTO_BAD_ARGUMENT;
    }
}

void machine_prove(reply_t *reply, uint8_t flags)
{
    const uint8_t *const state = (const uint8_t *)&machine.model.state;

    if ((flags & PROTO_FLAG_CHECKSUM) != 0) {
        checksum(state, MODEL_STATE_BYTES, reply->payload + reply->length);
        reply->length += PROTO_CHECKSUM_BYTES;
    }
    if ((flags & PROTO_FLAG_DIGEST) != 0) {
        sha256(state, MODEL_STATE_BYTES, reply->payload + reply->length);
        reply->length += SHA256_BYTES;
    }
}

static bool known_flags(uint8_t flags)
{
    return (flags & ~(PROTO_FLAG_CHECKSUM | PROTO_FLAG_DIGEST)) == 0;
}

/* ---- inputs, and what must hold before they are used ------------------------------------------------------------- */

/* Where inputs stand here is how they must be aligned: bytes anywhere. */
typedef struct {
    uint8_t before;
    model_inputs_t inputs;
} aligned_inputs_t;

/* The frame's own inputs; of 16 bits each and at an odd address they move to the byte before, which is read by then. */
static const model_inputs_t *aligned(uint8_t *inputs)
{
    uint8_t *const to = inputs - (uintptr_t)inputs % offsetof(aligned_inputs_t, inputs);

    if (to != inputs)
        memmove(to, inputs, sizeof machine.input);
    return (const void *)to;
}

/*
 * The inputs of a request: its own, or those of the region where it brings none. Not a part of them, which would mix with those of the
 * sample before: NULL then.
 */
static const model_inputs_t *inputs_of(const request_t *request, uint32_t from)
{
    const uint32_t count = request->length - from;
    uint8_t *const own = request->payload + from;

    if (count == 0)
        return &machine.input;
    if (count != sizeof machine.input)
        return NULL;
    return aligned(own);
}

static void keep_inputs(const model_inputs_t *inputs)
{
    if (inputs != &machine.input)
        memcpy(&machine.input, inputs, sizeof machine.input);
}

/* What was written in pieces is looked at as a whole before anything runs on it, and then not again. */
static proto_status ready(void)
{
    if (machine.unchecked && model_check(&machine.model.state) != MODEL_OK)
        return PROTO_BAD_STATE;
    machine.unchecked = false;
    return PROTO_OK;
}

proto_status machine_idle(uint8_t flags)
{
    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    return machine.in_slices ? PROTO_BUSY : PROTO_OK;
}

proto_status machine_settled(uint8_t flags)
{
    const proto_status status = machine_idle(flags);

    return status == PROTO_OK ? ready() : status;
}

void machine_clear(void)
{
    memset(&machine.input, 0, sizeof machine.input);
    memset(&machine.output, 0, sizeof machine.output);
    machine.unchecked = false;
    machine.in_slices = false;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

proto_status machine_infer(const request_t *request, reply_t *reply)
{
    const model_inputs_t *const inputs = inputs_of(request, PROTO_INFER_BYTES);
    proto_status status = inputs == NULL ? PROTO_BAD_LENGTH : ready();

    if (status == PROTO_OK)
        status = status_of(model_infer(&machine.model, inputs, &machine.output));
    if (status != PROTO_OK)
        return status;
    keep_inputs(inputs);
    machine.infers++;
    reply->length = MACHINE_OUTPUT_BYTES < PROTO_INFER_REPLY_TAIL ? MACHINE_OUTPUT_BYTES : PROTO_INFER_REPLY_TAIL;
    memcpy(reply->payload, &machine.output, reply->length);
    return PROTO_OK;
}

proto_status machine_learn(const request_t *request, reply_t *reply)
{
    const uint32_t label = proto_learn_label(request->payload);
    const uint8_t flags = proto_learn_flags(request->payload);
    const model_inputs_t *const inputs = inputs_of(request, PROTO_LEARN_BYTES);
    proto_status status;

    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = inputs == NULL ? PROTO_BAD_LENGTH : ready();
    if (status == PROTO_OK)
        status = label >= MODEL_CLASSES ? PROTO_BAD_LABEL
                                        : status_of(model_learn(&machine.model, inputs, (model_label_t)label));
    if (status != PROTO_OK)
        return status;
    keep_inputs(inputs);
    machine.learns++;
    machine_prove(reply, flags);
    return PROTO_OK;
}

/* Whole samples, at least one and at most as many as HELLO says. */
static bool samples_fit(const uint8_t *begin, const uint8_t *end)
{
    const uint8_t *at = begin;

    while (at < end && (uint32_t)(end - at) >= MACHINE_SAMPLE_BYTES)
        at += MACHINE_SAMPLE_BYTES;
    return at == end && begin != end && (uint32_t)(end - begin) <= MACHINE_BATCH * MACHINE_SAMPLE_BYTES;
}

/* Learns from the samples that lie there. All is looked at before the first one: a request that is refused has changed nothing. */
static proto_status learn_all(uint8_t *begin, const uint8_t *end, uint8_t flags, reply_t *reply)
{
    const model_inputs_t *inputs = &machine.input;
    proto_status status;

    for (const uint8_t *at = begin; at < end; at += MACHINE_SAMPLE_BYTES)
        if (proto_sample_label(at) >= MODEL_CLASSES)
            return PROTO_BAD_LABEL;
    status = ready();
    for (uint8_t *at = begin; at < end && status == PROTO_OK; at += MACHINE_SAMPLE_BYTES) {
        const model_label_t label = (model_label_t)proto_sample_label(at);

        inputs = aligned(at + PROTO_SAMPLE_BYTES);
        status = status_of(model_learn(&machine.model, inputs, label));
        if (status == PROTO_OK) {
            machine.learns++;
            machine_prove(reply, flags & PROTO_FLAG_CHECKSUM);
        }
    }
    if (status != PROTO_OK)
        return status;
    keep_inputs(inputs);
    machine_prove(reply, flags & PROTO_FLAG_DIGEST);
    return PROTO_OK;
}

proto_status machine_learn_many(const request_t *request, reply_t *reply)
{
    const uint8_t flags = proto_learn_many_flags(request->payload);
    uint8_t *const begin = request->payload + PROTO_LEARN_MANY_BYTES;
    const uint8_t *const end = request->payload + request->length;

    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    return samples_fit(begin, end) ? learn_all(begin, end, flags, reply) : PROTO_BAD_LENGTH;
}

proto_status machine_learn_kept(const request_t *request, reply_t *reply)
{
    const uint32_t first = proto_learn_kept_first(request->payload);
    const uint32_t count = proto_learn_kept_count(request->payload);
    const uint8_t flags = proto_learn_kept_flags(request->payload);
    uint8_t *begin;

    if (!known_flags(flags) || first >= machine.kept || count == 0 || count > PROTO_PROOFS || count > machine.kept - first)
        return PROTO_BAD_ARGUMENT;
    begin = machine.samples + first * MACHINE_SAMPLE_BYTES;
    return learn_all(begin, begin + count * MACHINE_SAMPLE_BYTES, flags, reply);
}

proto_status machine_load(const request_t *request, reply_t *reply)
{
    const uint32_t label = proto_load_label(request->payload);
    const model_inputs_t *const inputs = inputs_of(request, PROTO_LOAD_BYTES);
    proto_status status;

    (void)reply;
    if (label >= MODEL_CLASSES)
        return PROTO_BAD_LABEL;
    if (inputs == NULL)
        return PROTO_BAD_LENGTH;
    status = status_of(model_load(&machine.model, inputs, (model_label_t)label));
    if (status == PROTO_OK)
        keep_inputs(inputs);
    return status;
}

proto_status machine_run(const request_t *request, reply_t *reply)
{
    const uint32_t program = proto_run_program(request->payload);
    const uint8_t flags = proto_run_flags(request->payload);
    proto_status status;

    if (program >= MODEL_PROGRAMS || !known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status != PROTO_OK)
        return status;
    server_accepted();
    status = status_of(model_run(&machine.model, program));
    if (status == PROTO_OK)
        machine_prove(reply, flags);
    return status;
}

proto_status machine_run_op(const request_t *request, reply_t *reply)
{
    const uint32_t op = proto_run_op_op(request->payload);
    const uint8_t flags = proto_run_op_flags(request->payload);
    proto_status status;

    if (op >= MODEL_OPS || !known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status == PROTO_OK)
        status = status_of(model_check_op(&machine.model, op));
    if (status == PROTO_OK)
        status = status_of(model_run_op(&machine.model, op));
    if (status == PROTO_OK)
        machine_prove(reply, flags);
    return status;
}

proto_status machine_begin(const request_t *request, reply_t *reply)
{
    const uint32_t program = proto_begin_program(request->payload);
    proto_status status;

    (void)reply;
    if (program >= MODEL_PROGRAMS)
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status == PROTO_OK)
        status = status_of(model_run_begin(&machine.model, program));
    machine.in_slices = machine.in_slices || status == PROTO_OK;
    return status;
}

proto_status machine_step(const request_t *request, reply_t *reply)
{
    const uint8_t flags = proto_step_flags(request->payload);
    model_status status;

    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = model_run_step(&machine.model);
    if (status != MODEL_MORE && status != MODEL_OK)
        return status_of(status);
    machine.in_slices = status == MODEL_MORE;
    proto_step_set_more(reply->payload, machine.in_slices);
    reply->length = PROTO_STEP_REPLY_BYTES;
    machine_prove(reply, flags);
    return PROTO_OK;
}

proto_status machine_abort(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    machine.in_slices = false;
    return status_of(model_run_abort(&machine.model));
}

static model_status count_op(uint32_t number)
{
    return model_run_op(&machine.model, number);
}

static model_status count_program(uint32_t number)
{
    return model_run(&machine.model, number);
}

static model_status count_loop(uint32_t number)
{
    ticks_loop(number);
    return MODEL_OK;
}

/* Every subject of COUNT is called through the same pointer: the cost of the call is equal and can be subtracted. */
proto_status machine_count(const request_t *request, reply_t *reply)
{
    static const struct {
        model_status (*run)(uint32_t number);
        uint32_t last;
    } subjects[] = {
        [PROTO_SUBJECT_OP] = {count_op, MODEL_OPS},
        [PROTO_SUBJECT_PROGRAM] = {count_program, MODEL_PROGRAMS - 1u},
        [PROTO_SUBJECT_LOOP] = {count_loop, 0xFFFFFFu},
    };
    const uint8_t subject = proto_count_subject(request->payload);
    const uint32_t number = proto_count_number(request->payload);
    const uint8_t source = ticks_source();
    proto_status able;
    model_status status;
    uint32_t ticks;
    bool overrun;

    if (subject >= sizeof subjects / sizeof subjects[0] || number > subjects[subject].last)
        return PROTO_BAD_ARGUMENT;
    if (source == PROTO_COUNTER_NONE)
        return PROTO_UNSUPPORTED;
    able = ready();
    if (able != PROTO_OK)
        return able;
    server_accepted();
    status = subject == PROTO_SUBJECT_OP ? model_check_op(&machine.model, number) : MODEL_OK;
    if (status != MODEL_OK)
        return status_of(status);
    ticks_start();
    status = subjects[subject].run(number);
    ticks = ticks_stop(&overrun);
    proto_count_set_ticks(reply->payload, ticks);
    proto_count_set_counter(reply->payload, source);
    proto_count_set_overrun(reply->payload, overrun);
    reply->length = PROTO_COUNT_REPLY_BYTES;
    return status_of(status);
}

proto_status machine_digest(const request_t *request, reply_t *reply)
{
    (void)request;
    machine_prove(reply, PROTO_FLAG_DIGEST);
    return PROTO_OK;
}

proto_status machine_reset(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    machine_clear();
    return status_of(model_init(&machine.model));
}
