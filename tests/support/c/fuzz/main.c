/* Feeds the firmware's server with mutated frames and holds it to what docs/SECURITY.md says; takes the place of main.c.
 *
 *     firmware FRAMES SEED      prints what became of them; a broken promise ends the program with status 1
 *
 * Each answer must be a whole frame; a request that is not answered with OK must have changed nothing; the state must be
 * within its limits after every frame, and whole wherever no WRITE left it in pieces. Sanitizers see the rest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "frame.h"
#include "hal/hal.h"
#include "machine.h"
#include "server.h"
#include "stack.h"
#include "ticks.h"

#ifndef FUZZ_STACK_BYTES
#define FUZZ_STACK_BYTES 0u /* of stack that are watched: sanitizers have their own use for it */
#endif

#define SPARE_BYTES 4096u
#define BATCH 1000u
#define WIRE_MAX 4096u
#define NUMBERS 32u

static uint8_t spare[SPARE_BYTES];

/* ---- chance ------------------------------------------------------------------------------------------------------- */

static uint32_t chance;

static uint32_t next(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 17;
    chance ^= chance << 5;
    return chance;
}

static uint32_t below(uint32_t limit)
{
    return next() % limit;
}

static uint8_t byte(void)
{
    return (uint8_t)(next() >> 7);
}

/* ---- what the server says ----------------------------------------------------------------------------------------- */

static struct {
    uint32_t session;
    uint16_t sequence;
    bool done;        /* an answer of this frame was OK */
    uint32_t answers; /* of this frame */
    uint32_t ok[NUMBERS], refused, bad;
} host;

static void broken(const char *promise)
{
    fprintf(stderr, "broken: %s\n", promise);
    exit(EXIT_FAILURE);
}

static void demand(bool holds, const char *promise)
{
    if (!holds)
        broken(promise);
}

static void take(const uint8_t *body, uint32_t length)
{
    const uint8_t status = body[PROTO_REPLY_HEADER_BYTES - 1u];
    const uint8_t request = proto_header_request(body);

    demand(proto_header_kind(body) == PROTO_REPLY_KIND && proto_header_version(body) == PROTO_VERSION, "it is an answer");
    host.answers++;
    if (status == PROTO_BAD_FRAME) {
        host.bad++;
        return;
    }
    if (status == PROTO_OK) {
        host.done = true;
        if (request < NUMBERS)
            host.ok[request]++;
    } else if (status != PROTO_STOPPED) {
        demand(status == PROTO_ACCEPTED || length == PROTO_REPLY_HEADER_BYTES, "a refusal has no payload");
        host.refused += status != PROTO_ACCEPTED;
    }
    if (status != PROTO_NO_SESSION && status != PROTO_BAD_SEQUENCE && status != PROTO_WRONG_VERSION) {
        host.session = proto_header_session(body);
        host.sequence = proto_header_sequence(body);
    }
}

void hal_init(void)
{
}

uint8_t hal_rx(void)
{
    exit(EXIT_FAILURE); /* nobody waits here */
}

/* By a decoder of its own: the firmware's takes requests, whose header is a byte shorter. */
void hal_tx(const uint8_t *bytes, uint32_t count)
{
    static uint8_t body[FRAME_BUFFER_BYTES];
    uint32_t length = 0;

    demand(count >= 3 && count <= FRAME_BUFFER_BYTES && bytes[0] == 0, "an answer begins with a zero");
    for (uint32_t at = 1; at < count - 1u;) {
        const uint32_t code = bytes[at];

        demand(code > 0 && at + code < count, "an answer is one whole frame");
        for (uint32_t i = 1; i < code; i++) {
            demand(bytes[at + i] != 0, "no zero lies within an answer");
            body[length++] = bytes[at + i];
        }
        at += code;
        if (code <= FRAME_RUN_MAX && at < count - 1u)
            body[length++] = 0;
    }
    demand(bytes[count - 1u] == 0, "an answer ends with a zero");
    demand(length >= PROTO_REPLY_HEADER_BYTES + PROTO_CRC_BYTES && length <= FRAME_BODY_MAX, "an answer has its length");
    length -= PROTO_CRC_BYTES;
    demand(crc32_add(0, body, length) == proto_get_u32(body + length), "an answer has its CRC");
    take(body, length);
}

uint32_t hal_link_errors(void)
{
    return 0;
}

void hal_stack(uintptr_t *low, uintptr_t *high)
{
    const uint8_t *const here = __builtin_frame_address(0);

    *low = FUZZ_STACK_BYTES > 0 ? (uintptr_t)here - FUZZ_STACK_BYTES : 0;
    *high = FUZZ_STACK_BYTES > 0 ? (uintptr_t)here : 0;
}

void hal_spare(uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)spare + 1;
    *high = (uintptr_t)spare + sizeof spare;
}

void hal_pet(void)
{
}

void hal_reset(void)
{
    demand(false, "nothing resets a chip without a store");
}

uintptr_t hal_kept(uint32_t bytes)
{
    (void)bytes;
    return 0;
}

/* ---- requests, and what is done to them --------------------------------------------------------------------------- */

#define ROW(name) {PROTO_##name, PROTO_##name##_BYTES, PROTO_##name##_TAIL}

static const struct {
    uint8_t number;
    uint16_t fixed, tail;
} known[] = {
    ROW(HELLO), ROW(TENSOR), ROW(INFER), ROW(LEARN), ROW(RUN), ROW(RUN_OP), ROW(LOAD), ROW(READ), ROW(WRITE),
    ROW(DIGEST), ROW(STATS), ROW(RESET), ROW(COUNT), ROW(BEGIN), ROW(STEP), ROW(ABORT), ROW(LEARN_MANY), ROW(LEARN_KEPT),
    ROW(SAVE), ROW(RESTORE), ROW(ERASE),
};

/* Numbers that mean something, edges, and any. */
static uint32_t number(void)
{
    const uint32_t edges[] = {MODEL_STATE_BYTES, MODEL_ARENA_BYTES, sizeof machine.input, MODEL_OPS, MODEL_PROGRAMS,
                              MODEL_TENSORS,     machine.kept,      PROTO_PROOFS,         0u,        0xFFFFFFFFu};

    switch (below(4)) {
    case 0:
        return edges[below(sizeof edges / sizeof edges[0])] - below(3);
    case 1:
        return next();
    default:
        return below(12);
    }
}

static uint32_t tail_of(uint8_t request, uint32_t most)
{
    const uint32_t inputs = sizeof machine.input;
    uint32_t wanted = inputs;

    if (request == PROTO_LEARN_MANY)
        wanted = MACHINE_SAMPLE_BYTES * (1u + below(4));
    if (request == PROTO_WRITE)
        wanted = below(2) != 0 ? 4u * below(8) : below(64);
    if (below(8) == 0)
        wanted = below(most + 1u);
    if (below(8) == 0)
        wanted = 0;
    return wanted < most ? wanted : most;
}

/* What is there already, but for a byte: of the state, at the beginning of a tensor. */
static void choose_write(uint8_t *payload, uint32_t length)
{
    const uint32_t count = length - PROTO_WRITE_BYTES;
    const model_tensor_t *const tensor = model_tensor(below(MODEL_TENSORS + 1u));
    const uint32_t offset = tensor != NULL ? tensor->offset & ~3u : 4u * below(16);

    payload[0] = (uint8_t)(below(2) != 0 ? PROTO_REGION_STATE : below(6));
    proto_put_u32(payload + 1, offset);
    if (payload[0] == PROTO_REGION_STATE && offset + count <= MODEL_STATE_BYTES)
        memcpy(payload + PROTO_WRITE_BYTES, (const uint8_t *)&machine.model.state + offset, count);
    if (count > 0)
        payload[PROTO_WRITE_BYTES + below(count < 4 ? count : 4u)] ^= (uint8_t)below(4);
}

/* The fields of a request as one would choose them who wants it done. */
static void choose(uint8_t request, uint8_t *payload, uint32_t length)
{
    const uint8_t flags = (uint8_t)below(below(8) == 0 ? 256u : 4u);
    const uint32_t label = below(below(16) == 0 ? 70000u : MODEL_CLASSES);

    switch (request) {
    case PROTO_LEARN:
        payload[2] = flags;
        proto_put_u16(payload, (uint16_t)label);
        break;
    case PROTO_LOAD:
        proto_put_u16(payload, (uint16_t)label);
        break;
    case PROTO_RUN:
    case PROTO_BEGIN:
        proto_put_u32(payload, below(MODEL_PROGRAMS + 1u));
        break;
    case PROTO_RUN_OP:
        proto_put_u32(payload, below(MODEL_OPS + 1u));
        break;
    case PROTO_LEARN_KEPT:
        proto_put_u32(payload, below(machine.kept + 1u));
        proto_put_u32(payload + 4, below(4));
        break;
    case PROTO_READ:
        payload[0] = (uint8_t)below(6);
        proto_put_u32(payload + 1, below(24));
        proto_put_u32(payload + 5, below(24));
        break;
    case PROTO_WRITE:
        choose_write(payload, length);
        break;
    case PROTO_LEARN_MANY:
        for (uint32_t at = PROTO_LEARN_MANY_BYTES; at + PROTO_SAMPLE_BYTES <= length; at += MACHINE_SAMPLE_BYTES)
            proto_put_u16(payload + at, (uint16_t)label);
        break;
    default:
        break;
    }
    if (request == PROTO_RUN || request == PROTO_RUN_OP || request == PROTO_STEP || request == PROTO_LEARN_KEPT)
        payload[length - 1u] = flags;
    if (request == PROTO_LEARN_MANY)
        payload[0] = flags;
}

/* A request behind `body`, most often one that can be executed; its length. */
static uint32_t draw(uint8_t *body)
{
    uint8_t *const payload = body + PROTO_HEADER_BYTES;
    const uint32_t row = below(sizeof known / sizeof known[0]);
    const uint8_t request = known[row].number;
    uint32_t length = known[row].fixed;

    proto_header_set_version(body, PROTO_VERSION);
    proto_header_set_kind(body, PROTO_REQUEST_KIND);
    proto_header_set_session(body, request == PROTO_HELLO ? next() | 1u : host.session);
    proto_header_set_sequence(body, (uint16_t)(host.sequence + 1u));
    proto_header_set_request(body, request);
    memset(payload, 0, length);
    for (uint32_t i = 0; i + 4u <= length; i++)
        if (below(2) != 0)
            proto_put_u32(payload + i, number());
    if (known[row].tail > 0)
        for (uint32_t left = tail_of(request, known[row].tail); left > 0; left--)
            payload[length++] = byte();
    if (below(8) != 0)
        choose(request, payload, length);
    return PROTO_HEADER_BYTES + length;
}

/* Changes what stands behind the CRC: any field may then be anything. */
static uint32_t spoil_body(uint8_t *body, uint32_t length)
{
    switch (below(6)) {
    case 0:
        body[below(length)] = byte();
        return length;
    case 1:
        body[below(length)] ^= (uint8_t)(1u << below(8));
        return length;
    case 2:
        return PROTO_HEADER_BYTES + below(length - PROTO_HEADER_BYTES + 1u);
    case 3:
        while (length < PROTO_HEADER_BYTES + PROTO_MAX_PAYLOAD && below(40) != 0)
            body[length++] = byte();
        return length;
    case 4:
        proto_header_set_sequence(body, (uint16_t)(host.sequence + below(4)));
        return length;
    default:
        proto_header_set_request(body, byte());
        return length;
    }
}

/* Changes what is on the line. */
static uint32_t spoil_wire(uint8_t *wire, uint32_t count)
{
    const uint32_t at = below(count);
    const uint32_t some = 1u + below(16);

    if (below(8) == 0) { /* longer than any frame, to its end or not */
        for (uint32_t most = count + below(2500); count < most; count++)
            wire[count - 1u] = (uint8_t)(byte() | 1u);
        wire[count - 1u] = (uint8_t)below(2);
        return count;
    }
    switch (below(6)) {
    case 0:
        for (uint32_t i = 0; i < some; i++)
            wire[below(count)] ^= (uint8_t)(1u << below(8));
        return count;
    case 1:
        wire[at] = 0;
        return count;
    case 2:
        return at + 1u;
    case 3:
        memcpy(wire + count, wire, count);
        return 2 * count;
    case 4:
        memmove(wire + at + some, wire + at, count - at);
        for (uint32_t i = 0; i < some; i++)
            wire[at + i] = byte();
        return count + some;
    default:
        if (some > count - at)
            return count;
        memmove(wire + at, wire + at + some, count - at - some);
        return count - some;
    }
}

/* ---- promises ------------------------------------------------------------------------------------------------------ */

static machine_t before;
static uint8_t samples[SPARE_BYTES];

static bool unchanged(void)
{
    return memcmp(&before.model, &machine.model, sizeof machine.model) == 0 &&
           memcmp(&before.input, &machine.input, sizeof machine.input) == 0 &&
           memcmp(&before.output, &machine.output, sizeof machine.output) == 0 && memcmp(samples, spare, sizeof spare) == 0 &&
           before.in_slices == machine.in_slices && before.learns == machine.learns && before.infers == machine.infers;
}

static void feed(const uint8_t *wire, uint32_t count)
{
    host.done = false;
    host.answers = 0;
    before = machine;
    memcpy(samples, spare, sizeof spare);
    for (uint32_t i = 0; i < count; i++)
        server_receive(wire[i]);
    demand(host.done || unchanged(), "what is not done changes nothing");
    demand(machine.samples == before.samples && machine.kept == before.kept, "region samples stays where it is");
    demand(model_check_part(&machine.model.state, 0, MODEL_STATE_BYTES) == MODEL_OK, "the state is within its limits");
    demand(machine.unchecked || machine.in_slices || model_check(&machine.model.state) == MODEL_OK, "the state is whole");
}

static void ask(uint8_t request, uint32_t session)
{
    uint8_t buffer[FRAME_BUFFER_BYTES];
    uint8_t *const body = buffer + FRAME_START;

    proto_header_set_version(body, PROTO_VERSION);
    proto_header_set_kind(body, PROTO_REQUEST_KIND);
    proto_header_set_session(body, session);
    proto_header_set_sequence(body, (uint16_t)(host.sequence + 1u));
    proto_header_set_request(body, request);
    feed(buffer, frame_encode(buffer, PROTO_HEADER_BYTES));
}

/* The next good frame is understood, whatever came before; and a reset makes any state whole. */
static void settle(void)
{
    ask(PROTO_HELLO, host.session == 0xFFFFFFFFu ? 1u : host.session + 1u);
    demand(host.done, "a greeting is understood");
    ask(PROTO_RESET, host.session);
    demand(host.done && !machine.unchecked && !machine.in_slices, "a reset is done");
    demand(model_check(&machine.model.state) == MODEL_OK, "the state is whole after a reset");
}

static void one(void)
{
    static uint8_t wire[WIRE_MAX];
    uint8_t *const body = wire + FRAME_START;
    uint32_t length = draw(body);
    const uint32_t spoilt = below(8);
    uint32_t count;

    if (spoilt < 3)
        length = spoil_body(body, length);
    count = frame_encode(wire, length);
    if (spoilt == 3 || spoilt == 4)
        count = spoil_wire(wire, count);
    feed(wire, count);
}

/* What is said of a fault goes out whole, however long it is. */
static void fault(void)
{
    const uint32_t answers = host.answers;

    server_stopped("a fault", 0x1234ABCDu);
    server_stopped("a fault that is told in more than 32 characters", 0);
    demand(host.answers == answers + 2u, "a fault is told");
}

static void time_nothing(void)
{
    bool overrun = true;

    ticks_start();
    ticks_loop(0);
    (void)ticks_stop(&overrun);
    demand(!overrun, "nothing takes no time");
}

int main(int arguments, char **argument)
{
    const uint32_t frames = arguments > 1 ? (uint32_t)strtoul(argument[1], NULL, 10) : 0;

    chance = (arguments > 2 ? (uint32_t)strtoul(argument[2], NULL, 10) : 0) * 2654435761u + 1u;
    stack_paint();
    server_start();
    for (uint32_t i = 0; i < frames; i++) {
        if (i % BATCH == 0)
            settle();
        one();
    }
    settle();
    fault();
    time_nothing();
    demand(stack_used() <= stack_watched(), "no more stack was used than is watched");
    printf("frames %u refused %u bad %u", frames, host.refused, host.bad);
    for (uint32_t i = 0; i < sizeof known / sizeof known[0]; i++)
        printf(" %u:%u", known[i].number, host.ok[known[i].number]);
    printf("\n");
    return EXIT_SUCCESS;
}
