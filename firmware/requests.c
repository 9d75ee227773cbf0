#include "requests.h"

#include <stddef.h>
#include <string.h>

#include "hal/hal.h"
#include "machine.h"
#include "server.h"
#include "sha256.h"
#include "stack.h"
#include "store.h"

#ifndef SYNAPCC_BOARD
#error "define SYNAPCC_BOARD: the board's name, a string"
#endif
#ifndef SYNAPCC_CLOCK_HZ
#error "define SYNAPCC_CLOCK_HZ: the core clock, 0 where there is none"
#endif

REQUESTS_CHECK(digest_is_hex, sizeof MODEL_PLAN_DIGEST == 2 * SHA256_BYTES + 1);
REQUESTS_CHECK(hello_fits, sizeof MODEL_NAME + sizeof SYNAPCC_BOARD <= PROTO_HELLO_REPLY_TAIL);
REQUESTS_CHECK(name_is_text, sizeof MODEL_NAME <= 256);
REQUESTS_CHECK(board_is_text, sizeof SYNAPCC_BOARD <= 256);

/* ---- what the chip says of itself -------------------------------------------------------------------------------- */

static void append_text(reply_t *reply, const char *text)
{
    uint8_t length = 0;

    while (length < UINT8_MAX && text[length] != '\0')
        length++;
    reply->payload[reply->length] = length;
    memcpy(reply->payload + reply->length + 1, text, length);
    reply->length += 1u + length;
}

static uint8_t hex_digit(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static proto_status hello(const request_t *request, reply_t *reply)
{
    static const char digest[] = MODEL_PLAN_DIGEST;
    const store_facts_t store = store_facts();
    uint8_t *const to = reply->payload;
    uint32_t flash;

    (void)request;
    (void)store_memory(&flash);
    proto_hello_set_protocol_version(to, PROTO_VERSION);
    proto_hello_set_numeric_version(to, MODEL_NUMERIC_VERSION);
    proto_hello_set_runtime_version(to, MODEL_RUNTIME_VERSION);
    for (uint32_t i = 0; i < SHA256_BYTES; i++)
        proto_hello_plan_digest(to)[i] = (uint8_t)(hex_digit(digest[2 * i]) << 4 | hex_digit(digest[2 * i + 1]));
    proto_hello_set_clock_hz(to, SYNAPCC_CLOCK_HZ);
    proto_hello_set_state_bytes(to, MODEL_STATE_BYTES);
    proto_hello_set_arena_bytes(to, MODEL_ARENA_BYTES);
    proto_hello_set_input_bytes(to, sizeof machine.input);
    proto_hello_set_output_bytes(to, MACHINE_OUTPUT_BYTES);
    proto_hello_set_tensors(to, MODEL_TENSORS);
    proto_hello_set_programs(to, MODEL_PROGRAMS);
    proto_hello_set_ops(to, MODEL_OPS);
    proto_hello_set_classes(to, MODEL_CLASSES);
    proto_hello_set_batch(to, MACHINE_BATCH);
    proto_hello_set_kept(to, machine.kept);
    proto_hello_set_keep_bytes(to, store.bytes);
    proto_hello_set_flash_bytes(to, flash);
    proto_hello_set_found(to, store.found);
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

static proto_status stats(const request_t *request, reply_t *reply)
{
    const server_counts_t *const counts = server_counts();
    const store_facts_t store = store_facts();
    uint8_t *const to = reply->payload;

    (void)request;
    proto_stats_set_learns(to, machine.learns);
    proto_stats_set_infers(to, machine.infers);
    proto_stats_set_repeats(to, counts->repeats);
    proto_stats_set_refusals(to, counts->refusals);
    proto_stats_set_bad_frames(to, counts->bad_frames);
    proto_stats_set_link_errors(to, hal_link_errors());
    proto_stats_set_stack_used(to, stack_used());
    proto_stats_set_stack_watched(to, stack_watched());
    proto_stats_set_learned(to, MODEL_LEARNED(&machine.model));
    proto_stats_set_saturated(to, MODEL_SATURATED(&machine.model));
    proto_stats_set_saves(to, store.saves);
    proto_stats_set_erases(to, store.erases);
    proto_stats_set_blocks(to, store.blocks);
    proto_stats_set_cycles(to, store.cycles);
    reply->length = PROTO_STATS_REPLY_BYTES;
    return PROTO_OK;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* The region's memory if offset and count lie within it, else NULL. */
static uint8_t *find(uint8_t region, uint32_t offset, uint32_t count)
{
    uint8_t *from;
    uint32_t size;

    switch (region) {
    case PROTO_REGION_STATE:
        from = (uint8_t *)&machine.model.state;
        size = MODEL_STATE_BYTES;
        break;
    case PROTO_REGION_ARENA:
        from = (uint8_t *)&machine.model.arena;
        size = MODEL_ARENA_BYTES;
        break;
    case PROTO_REGION_INPUT:
        from = (uint8_t *)&machine.input;
        size = sizeof machine.input;
        break;
    case PROTO_REGION_OUTPUT:
        from = (uint8_t *)&machine.output;
        size = MACHINE_OUTPUT_BYTES;
        break;
    case PROTO_REGION_SAMPLES:
        if (machine.kept == 0)
            return NULL;
        from = machine.samples;
        size = machine.kept * MACHINE_SAMPLE_BYTES;
        break;
    case PROTO_REGION_FLASH:
        from = store_memory(&size);
        if (from == NULL)
            return NULL;
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
    if (machine.in_slices && (region == PROTO_REGION_STATE || region == PROTO_REGION_ARENA))
        return PROTO_BUSY;
    memcpy(reply->payload, to, count); /* what was there, should it have to go back */
    memcpy(to, request->payload + PROTO_WRITE_BYTES, count);
    if (region == PROTO_REGION_FLASH)
        store_changed();
    if (region != PROTO_REGION_STATE)
        return PROTO_OK;
    if (model_check_part(&machine.model.state, offset, count) != MODEL_OK) {
        memcpy(to, reply->payload, count);
        return PROTO_BAD_STATE;
    }
    machine.unchecked = true;
    return PROTO_OK;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define ENTRY(name, handler) {PROTO_##name, PROTO_##name##_BYTES, PROTO_##name##_BYTES + PROTO_##name##_TAIL, handler}

static const struct {
    uint8_t number;
    uint16_t shortest, longest; /* payload, in bytes */
    proto_status (*handle)(const request_t *request, reply_t *reply);
} requests[] = {
    ENTRY(HELLO, hello),
    ENTRY(TENSOR, tensor),
    ENTRY(INFER, machine_infer),
    ENTRY(LEARN, machine_learn),
    ENTRY(RUN, machine_run),
    ENTRY(RUN_OP, machine_run_op),
    ENTRY(LOAD, machine_load),
    ENTRY(READ, read_memory),
    ENTRY(WRITE, write_memory),
    ENTRY(DIGEST, machine_digest),
    ENTRY(STATS, stats),
    ENTRY(RESET, machine_reset),
    ENTRY(SAVE, store_save),
    ENTRY(RESTORE, store_restore),
    ENTRY(COUNT, machine_count),
    ENTRY(BEGIN, machine_begin),
    ENTRY(STEP, machine_step),
    ENTRY(ABORT, machine_abort),
    ENTRY(LEARN_MANY, machine_learn_many),
    ENTRY(LEARN_KEPT, machine_learn_kept),
    ENTRY(ERASE, store_erase),
};

proto_status requests_execute(uint8_t number, const request_t *request, reply_t *reply)
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
