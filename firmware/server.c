#include "server.h"

#include <stddef.h>
#include <string.h>

#include "frame.h"
#include "hal/hal.h"
#include "model_binding.h"
#include "protocol.h"
#include "sha256.h"
#include "stack.h"
#include "ticks.h"

#ifndef SYNAPCC_BOARD
#error "define SYNAPCC_BOARD: the board's name, a string"
#endif
#ifndef SYNAPCC_CLOCK_HZ
#error "define SYNAPCC_CLOCK_HZ: the core clock, 0 where there is none"
#endif
#if MODEL_RUNTIME_VERSION != SYNAPCC_RUNTIME_VERSION
#error "model and firmware come from different versions of synapcc: compile the model again"
#endif
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "state, arena and output go over the link as they lie in memory, and the link is little-endian"
#endif

/* ---- what must hold before this can be compiled ------------------------------------------------------------------ */

#define CHECK(name, condition) typedef char check_##name[(condition) ? 1 : -1]

#define OUTPUT_BYTES (offsetof(model_outputs_t, scores) + sizeof ((model_outputs_t *)0)->scores)

CHECK(state_fits, MODEL_STATE_BYTES <= sizeof ((model_t *)0)->state);
CHECK(arena_fits, MODEL_ARENA_BYTES <= sizeof ((model_t *)0)->arena);
CHECK(winner_first, offsetof(model_outputs_t, winner) == 0 && sizeof ((model_outputs_t *)0)->winner == 4);
CHECK(then_margin, offsetof(model_outputs_t, margin) == 4 && sizeof ((model_outputs_t *)0)->margin == 4);
CHECK(then_scores, offsetof(model_outputs_t, scores) == 8);
CHECK(one_score_a_class, sizeof ((model_outputs_t *)0)->scores == 2 * MODEL_CLASSES);
CHECK(digest_is_hex, sizeof MODEL_PLAN_DIGEST == 2 * SHA256_BYTES + 1);
CHECK(hello_fits, sizeof MODEL_NAME + sizeof SYNAPCC_BOARD <= PROTO_HELLO_REPLY_TAIL);
CHECK(name_is_text, sizeof MODEL_NAME <= 256);
CHECK(board_is_text, sizeof SYNAPCC_BOARD <= 256);

/* ---- state ------------------------------------------------------------------------------------------------------- */

static struct {
    model_t model;
    model_inputs_t input;
    model_outputs_t output;

    frame_receiver_t receiver;
    uint8_t kept[FRAME_BUFFER_BYTES]; /* the last answer as sent, for a host that asks again */
    uint32_t kept_bytes;

    uint32_t session;  /* 0: none, as after every reset */
    uint16_t sequence; /* of the last request executed */
    uint8_t request;   /* its number */
    bool unchecked;    /* the state was written to, and nothing has run on it since */
    bool in_slices;    /* BEGIN was executed, and not yet the last STEP */

    uint32_t learns, infers, repeats, refusals, bad_frames;
} server;

typedef struct {
    const uint8_t *payload;
    uint32_t length;
} request_t;

typedef struct {
    uint8_t *payload;
    uint32_t length;
} reply_t;

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void write_header(uint8_t *body, uint32_t session, uint16_t sequence, uint8_t request, proto_status status)
{
    proto_header_set_version(body, PROTO_VERSION);
    proto_header_set_kind(body, PROTO_REPLY_KIND);
    proto_header_set_session(body, session);
    proto_header_set_sequence(body, sequence);
    proto_header_set_request(body, request);
    proto_header_set_status(body, (uint8_t)status);
}

/* Sends a short answer; the kept answer stays as it is. */
#define NOTICE_MAX 48u

static void send_notice(uint32_t session, uint16_t sequence, uint8_t request, proto_status status, const char *text,
                        uint32_t length)
{
    uint8_t buffer[FRAME_START + PROTO_REPLY_HEADER_BYTES + NOTICE_MAX + PROTO_CRC_BYTES + 1u];
    uint8_t *const body = buffer + FRAME_START;

    write_header(body, session, sequence, request, status);
    if (length > 0)
        memcpy(body + PROTO_REPLY_HEADER_BYTES, text, length);
    hal_tx(buffer, frame_encode(buffer, PROTO_REPLY_HEADER_BYTES + length));
}

static void append_text(reply_t *reply, const char *text)
{
    uint8_t length = 0;

    while (length < UINT8_MAX && text[length] != '\0')
        length++;
    reply->payload[reply->length] = length;
    memcpy(reply->payload + reply->length + 1, text, length);
    reply->length += 1u + length;
}

static void append_digest(reply_t *reply, uint8_t flags)
{
    if ((flags & PROTO_FLAG_DIGEST) != 0) {
        sha256((const uint8_t *)&server.model.state, MODEL_STATE_BYTES, reply->payload + reply->length);
        reply->length += SHA256_BYTES;
    }
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

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static uint8_t hex_digit(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static proto_status hello(const request_t *request, reply_t *reply)
{
    static const char digest[] = MODEL_PLAN_DIGEST;
    uint8_t *const to = reply->payload;

    (void)request;
    proto_hello_set_protocol_version(to, PROTO_VERSION);
    proto_hello_set_numeric_version(to, MODEL_NUMERIC_VERSION);
    proto_hello_set_runtime_version(to, MODEL_RUNTIME_VERSION);
    for (uint32_t i = 0; i < SHA256_BYTES; i++)
        proto_hello_plan_digest(to)[i] = (uint8_t)(hex_digit(digest[2 * i]) << 4 | hex_digit(digest[2 * i + 1]));
    proto_hello_set_clock_hz(to, SYNAPCC_CLOCK_HZ);
    proto_hello_set_state_bytes(to, MODEL_STATE_BYTES);
    proto_hello_set_arena_bytes(to, MODEL_ARENA_BYTES);
    proto_hello_set_input_bytes(to, sizeof server.input);
    proto_hello_set_output_bytes(to, OUTPUT_BYTES);
    proto_hello_set_tensors(to, MODEL_TENSORS);
    proto_hello_set_programs(to, MODEL_PROGRAMS);
    proto_hello_set_ops(to, MODEL_OPS);
    proto_hello_set_classes(to, MODEL_CLASSES);
    reply->length = PROTO_HELLO_REPLY_BYTES;
    append_text(reply, MODEL_NAME);
    append_text(reply, SYNAPCC_BOARD);
    return PROTO_OK;
}

static proto_status tensor(const request_t *request, reply_t *reply)
{
    const model_tensor_t *const found = model_tensor(proto_tensor_index(request->payload));

    if (found == NULL)
        return PROTO_BAD_ARGUMENT;
    proto_tensor_set_offset(reply->payload, found->offset);
    proto_tensor_set_bytes(reply->payload, found->bytes);
    reply->length = PROTO_TENSOR_REPLY_BYTES;
    append_text(reply, found->dtype);
    append_text(reply, found->name);
    return PROTO_OK;
}

/*
 * The inputs of a request: its own, or those of the region where it brings none. Not a part of them, which would mix with those of the
 * sample before: NULL then.
 */
static const model_inputs_t *inputs_of(const request_t *request, uint32_t from)
{
    const uint32_t count = request->length - from;

    if (count == 0)
        return &server.input;
    return count == sizeof server.input ? (const void *)(request->payload + from) : NULL; /* bytes: aligned anywhere */
}

static void keep_inputs(const model_inputs_t *inputs)
{
    if (inputs != &server.input)
        memcpy(&server.input, inputs, sizeof server.input);
}

/* What was written in pieces is looked at as a whole before anything runs on it, and then not again. */
static proto_status ready(void)
{
    if (server.unchecked && model_check(&server.model.state) != MODEL_OK)
        return PROTO_BAD_STATE;
    server.unchecked = false;
    return PROTO_OK;
}

static bool known_flags(uint8_t flags)
{
    return (flags & ~PROTO_FLAG_DIGEST) == 0;
}

static proto_status infer(const request_t *request, reply_t *reply)
{
    const model_inputs_t *const inputs = inputs_of(request, PROTO_INFER_BYTES);
    proto_status status = inputs == NULL ? PROTO_BAD_LENGTH : ready();

    if (status == PROTO_OK)
        status = status_of(model_infer(&server.model, inputs, &server.output));
    if (status != PROTO_OK)
        return status;
    keep_inputs(inputs);
    server.infers++;
    reply->length = OUTPUT_BYTES < PROTO_INFER_REPLY_TAIL ? OUTPUT_BYTES : PROTO_INFER_REPLY_TAIL;
    memcpy(reply->payload, &server.output, reply->length);
    return PROTO_OK;
}

static proto_status learn(const request_t *request, reply_t *reply)
{
    const model_inputs_t *const inputs = inputs_of(request, PROTO_LEARN_BYTES);
    const uint8_t flags = proto_learn_flags(request->payload);
    proto_status status;

    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = inputs == NULL ? PROTO_BAD_LENGTH : ready();
    if (status == PROTO_OK)
        status = status_of(model_learn(&server.model, inputs, proto_learn_label(request->payload)));
    if (status != PROTO_OK)
        return status;
    keep_inputs(inputs);
    server.learns++;
    append_digest(reply, flags);
    return PROTO_OK;
}

static proto_status run(const request_t *request, reply_t *reply)
{
    const uint32_t program = proto_run_program(request->payload);
    const uint8_t flags = proto_run_flags(request->payload);
    proto_status status;

    if (program >= MODEL_PROGRAMS || !known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status != PROTO_OK)
        return status;
    send_notice(server.session, server.sequence, server.request, PROTO_ACCEPTED, NULL, 0);
    status = status_of(model_run(&server.model, program));
    if (status == PROTO_OK)
        append_digest(reply, flags);
    return status;
}

static proto_status run_op(const request_t *request, reply_t *reply)
{
    const uint32_t op = proto_run_op_op(request->payload);
    const uint8_t flags = proto_run_op_flags(request->payload);
    proto_status status;

    if (op >= MODEL_OPS || !known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status == PROTO_OK)
        status = status_of(model_run_op(&server.model, op));
    if (status == PROTO_OK)
        append_digest(reply, flags);
    return status;
}

static proto_status load(const request_t *request, reply_t *reply)
{
    const model_inputs_t *const inputs = inputs_of(request, PROTO_LOAD_BYTES);
    const uint32_t label = proto_load_label(request->payload);
    proto_status status;

    (void)reply;
    if (label >= MODEL_CLASSES)
        return PROTO_BAD_LABEL;
    if (inputs == NULL)
        return PROTO_BAD_LENGTH;
    status = status_of(model_load(&server.model, inputs, (uint8_t)label));
    if (status == PROTO_OK)
        keep_inputs(inputs);
    return status;
}

/* The region's memory if offset and count lie within it, else NULL. */
static uint8_t *find(uint8_t region, uint32_t offset, uint32_t count)
{
    uint8_t *from;
    uint32_t size;

    switch (region) {
    case PROTO_REGION_STATE:
        from = (uint8_t *)&server.model.state;
        size = MODEL_STATE_BYTES;
        break;
    case PROTO_REGION_ARENA:
        from = (uint8_t *)&server.model.arena;
        size = MODEL_ARENA_BYTES;
        break;
    case PROTO_REGION_INPUT:
        from = (uint8_t *)&server.input;
        size = sizeof server.input;
        break;
    case PROTO_REGION_OUTPUT:
        from = (uint8_t *)&server.output;
        size = OUTPUT_BYTES;
        break;
    default:
        return NULL;
    }
    return offset <= size && count <= size - offset ? from + offset : NULL;
}

static proto_status read_memory(const request_t *request, reply_t *reply)
{
    const uint32_t count = proto_read_bytes(request->payload);
    const uint8_t *const from = find(proto_read_region(request->payload), proto_read_offset(request->payload), count);

    if (from == NULL || count > PROTO_READ_REPLY_TAIL)
        return PROTO_BAD_ARGUMENT;
    memcpy(reply->payload, from, count);
    reply->length = count;
    return PROTO_OK;
}

static proto_status write_memory(const request_t *request, reply_t *reply)
{
    const uint8_t region = proto_write_region(request->payload);
    const uint32_t count = request->length - PROTO_WRITE_BYTES;
    const uint32_t offset = proto_write_offset(request->payload);
    uint8_t *const to = find(region, offset, count);

    if (to == NULL || region == PROTO_REGION_OUTPUT)
        return PROTO_BAD_ARGUMENT;
    if (server.in_slices && region != PROTO_REGION_INPUT)
        return PROTO_BUSY;
    memcpy(reply->payload, to, count); /* what was there, should it have to go back */
    memcpy(to, request->payload + PROTO_WRITE_BYTES, count);
    if (region != PROTO_REGION_STATE)
        return PROTO_OK;
    if (model_check_part(&server.model.state, offset, count) != MODEL_OK) {
        memcpy(to, reply->payload, count);
        return PROTO_BAD_STATE;
    }
    server.unchecked = true;
    return PROTO_OK;
}

static proto_status digest(const request_t *request, reply_t *reply)
{
    (void)request;
    append_digest(reply, PROTO_FLAG_DIGEST);
    return PROTO_OK;
}

static proto_status stats(const request_t *request, reply_t *reply)
{
    uint8_t *const to = reply->payload;

    (void)request;
    proto_stats_set_learns(to, server.learns);
    proto_stats_set_infers(to, server.infers);
    proto_stats_set_repeats(to, server.repeats);
    proto_stats_set_refusals(to, server.refusals);
    proto_stats_set_bad_frames(to, server.bad_frames);
    proto_stats_set_link_errors(to, hal_link_errors());
    proto_stats_set_stack_used(to, stack_used());
    proto_stats_set_stack_watched(to, stack_watched());
    proto_stats_set_learned(to, MODEL_LEARNED(&server.model));
    proto_stats_set_saturated(to, MODEL_SATURATED(&server.model));
    reply->length = PROTO_STATS_REPLY_BYTES;
    return PROTO_OK;
}

static proto_status reset(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    memset(&server.input, 0, sizeof server.input);
    memset(&server.output, 0, sizeof server.output);
    server.unchecked = false;
    server.in_slices = false;
    return status_of(model_init(&server.model));
}

static model_status count_op(uint32_t number)
{
    return model_run_op(&server.model, number);
}

static model_status count_program(uint32_t number)
{
    return model_run(&server.model, number);
}

static model_status count_loop(uint32_t number)
{
    ticks_loop(number);
    return MODEL_OK;
}

/* Every subject of COUNT is called through the same pointer: the cost of the call is equal and can be subtracted. */
static proto_status count(const request_t *request, reply_t *reply)
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
    send_notice(server.session, server.sequence, server.request, PROTO_ACCEPTED, NULL, 0);
    ticks_start();
    status = subjects[subject].run(number);
    ticks = ticks_stop(&overrun);
    proto_count_set_ticks(reply->payload, ticks);
    proto_count_set_counter(reply->payload, source);
    proto_count_set_overrun(reply->payload, overrun);
    reply->length = PROTO_COUNT_REPLY_BYTES;
    return status_of(status);
}

static proto_status begin(const request_t *request, reply_t *reply)
{
    const uint32_t program = proto_begin_program(request->payload);
    proto_status status;

    (void)reply;
    if (program >= MODEL_PROGRAMS)
        return PROTO_BAD_ARGUMENT;
    status = ready();
    if (status == PROTO_OK)
        status = status_of(model_run_begin(&server.model, program));
    server.in_slices = server.in_slices || status == PROTO_OK;
    return status;
}

static proto_status step(const request_t *request, reply_t *reply)
{
    const uint8_t flags = proto_step_flags(request->payload);
    model_status status;

    if (!known_flags(flags))
        return PROTO_BAD_ARGUMENT;
    status = model_run_step(&server.model);
    if (status != MODEL_MORE && status != MODEL_OK)
        return status_of(status);
    server.in_slices = status == MODEL_MORE;
    proto_step_set_more(reply->payload, server.in_slices);
    reply->length = PROTO_STEP_REPLY_BYTES;
    append_digest(reply, flags);
    return PROTO_OK;
}

static proto_status give_up(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    server.in_slices = false;
    return status_of(model_run_abort(&server.model));
}

static proto_status unsupported(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    return PROTO_UNSUPPORTED;
}

/* ---- from frames to requests ------------------------------------------------------------------------------------- */

#define ENTRY(name, handler) {PROTO_##name, PROTO_##name##_BYTES, PROTO_##name##_BYTES + PROTO_##name##_TAIL, handler}
#define RESERVED(name) {PROTO_##name, 0, PROTO_MAX_PAYLOAD, unsupported}

static const struct {
    uint8_t number;
    uint16_t shortest, longest; /* payload, in bytes */
    proto_status (*handle)(const request_t *request, reply_t *reply);
} requests[] = {
    ENTRY(HELLO, hello),
    ENTRY(TENSOR, tensor),
    ENTRY(INFER, infer),
    ENTRY(LEARN, learn),
    ENTRY(RUN, run),
    ENTRY(RUN_OP, run_op),
    ENTRY(LOAD, load),
    ENTRY(READ, read_memory),
    ENTRY(WRITE, write_memory),
    ENTRY(DIGEST, digest),
    ENTRY(STATS, stats),
    ENTRY(RESET, reset),
    RESERVED(SAVE),
    RESERVED(RESTORE),
    ENTRY(COUNT, count),
    ENTRY(BEGIN, begin),
    ENTRY(STEP, step),
    ENTRY(ABORT, give_up),
};

static proto_status execute(uint8_t number, const request_t *request, reply_t *reply)
{
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (requests[i].number == number) {
            if (request->length < requests[i].shortest || request->length > requests[i].longest)
                return PROTO_BAD_LENGTH;
            return requests[i].handle(request, reply);
        }
    }
    return PROTO_UNKNOWN_REQUEST;
}

static void execute_and_answer(const uint8_t *body, uint32_t length)
{
    const request_t request = {body + PROTO_HEADER_BYTES, length - PROTO_HEADER_BYTES};
    uint8_t *const to = server.kept + FRAME_START;
    reply_t reply = {to + PROTO_REPLY_HEADER_BYTES, 0};
    proto_status status;

    server.sequence = proto_header_sequence(body);
    server.request = proto_header_request(body);
    status = execute(server.request, &request, &reply);
    if (status != PROTO_OK)
        reply.length = 0;
    write_header(to, server.session, server.sequence, server.request, status);
    server.kept_bytes = frame_encode(server.kept, PROTO_REPLY_HEADER_BYTES + reply.length);
    hal_tx(server.kept, server.kept_bytes);
}

static void refuse(const uint8_t *body, proto_status status)
{
    server.refusals++;
    send_notice(proto_header_session(body), proto_header_sequence(body), proto_header_request(body), status, NULL, 0);
}

/* Session and sequence number are checked first, in this order: a repeated request is answered, not executed again. */
static void answer(const uint8_t *body, uint32_t length)
{
    const uint32_t session = proto_header_session(body);
    const uint16_t sequence = proto_header_sequence(body);

    if (proto_header_version(body) != PROTO_VERSION) {
        refuse(body, PROTO_WRONG_VERSION);
    } else if (proto_header_request(body) == PROTO_HELLO && session != 0 && session != server.session) {
        server.session = session;
        execute_and_answer(body, length);
    } else if (session == 0 || session != server.session) {
        refuse(body, PROTO_NO_SESSION);
    } else if (sequence == server.sequence) {
        server.repeats++;
        hal_tx(server.kept, server.kept_bytes);
    } else if (sequence == (uint16_t)(server.sequence + 1u)) {
        execute_and_answer(body, length);
    } else {
        refuse(body, PROTO_BAD_SEQUENCE);
    }
}

void server_start(void)
{
    memset(&server, 0, sizeof server);
    (void)model_init(&server.model); /* cannot fail here */
}

void server_receive(uint8_t byte)
{
    frame_event event = frame_receive(&server.receiver, byte);

    if (event == FRAME_GOOD && proto_header_kind(server.receiver.body) != PROTO_REQUEST_KIND)
        event = FRAME_BAD;
    if (event == FRAME_GOOD) {
        answer(server.receiver.body, server.receiver.length);
    } else if (event == FRAME_BAD) {
        server.bad_frames++;
        send_notice(0, 0, 0, PROTO_BAD_FRAME, NULL, 0);
    }
}

void server_stopped(const char *what, uint32_t address)
{
    static const char digits[] = "0123456789abcdef";
    static const char at[] = " at 0x";
    char text[NOTICE_MAX];
    uint32_t length = 0;

    while (length < 32 && what[length] != '\0') {
        text[length] = what[length];
        length++;
    }
    memcpy(text + length, at, sizeof at - 1);
    length += (uint32_t)(sizeof at - 1);
    for (uint32_t shift = 32; shift > 0; shift -= 4)
        text[length++] = digits[(address >> (shift - 4)) & 15u];
    send_notice(server.session, server.sequence, server.request, PROTO_STOPPED, text, length);
}
