#include "frame.h"

#include "crc32.h"

#if PROTO_CRC_POLYNOMIAL != CRC32_POLYNOMIAL
#error "the link and crc32.c speak of different CRCs"
#endif

/* ---- receiving ------------------------------------------------------------------------------------------------- */

static void keep(frame_receiver_t *receiver, uint8_t byte)
{
    if (receiver->decoded < FRAME_BODY_MAX)
        receiver->body[receiver->decoded++] = byte;
    else
        receiver->broken = true;
}

static frame_event check(const frame_receiver_t *receiver)
{
    uint32_t length;

    if (!receiver->begun)
        return FRAME_NONE; /* an empty frame: each frame has a delimiter at both ends, so two may meet */
    if (receiver->broken || receiver->left != 0 || receiver->decoded < PROTO_HEADER_BYTES + PROTO_CRC_BYTES)
        return FRAME_BAD;
    length = receiver->decoded - PROTO_CRC_BYTES;
    if (length > PROTO_HEADER_BYTES + PROTO_MAX_PAYLOAD)
        return FRAME_BAD;
    if (crc32_add(0, receiver->body, length) != proto_get_u32(receiver->body + length))
        return FRAME_BAD;
    return FRAME_GOOD;
}

frame_event frame_receive(frame_receiver_t *receiver, uint8_t byte)
{
    frame_event event = FRAME_NONE;

    if (byte == 0) {
        event = check(receiver);
        receiver->length = event == FRAME_GOOD ? receiver->decoded - PROTO_CRC_BYTES : 0;
        receiver->decoded = 0;
        receiver->left = 0;
        receiver->zero_next = receiver->begun = receiver->broken = false;
    } else if (receiver->left == 0) {
        if (receiver->zero_next)
            keep(receiver, 0);
        receiver->begun = true;
        receiver->left = (uint8_t)(byte - 1u);
        receiver->zero_next = byte <= FRAME_RUN_MAX;
    } else {
        keep(receiver, byte);
        receiver->left--;
    }
    return event;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

uint32_t frame_encode(uint8_t *buffer, uint32_t body_bytes)
{
    const uint8_t *from = buffer + FRAME_START;
    const uint8_t *const end = from + body_bytes + PROTO_CRC_BYTES;
    uint8_t *to = buffer;
    uint8_t *code;
    uint8_t run = 1; /* length of the run, its code byte included */

    proto_put_u32(buffer + FRAME_START + body_bytes, crc32_add(0, from, body_bytes));
    *to++ = 0;
    code = to++;
    while (from < end) {
        const uint8_t byte = *from++;

        if (run > FRAME_RUN_MAX) {
            *code = run;
            code = to++;
            run = 1;
        }
        if (byte != 0) {
            *to++ = byte;
            run++;
        } else {
            *code = run;
            code = to++;
            run = 1;
        }
    }
    *code = run;
    *to++ = 0;
    return (uint32_t)(to - buffer);
}
