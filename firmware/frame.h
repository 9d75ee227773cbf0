/* Frames: COBS between zero bytes, CRC-32 at the end. `synapcc docs PROTOCOL` has the bytes. */
#ifndef SYNAPCC_FRAME_H
#define SYNAPCC_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

/* The longest body, which is what COBS is applied to: header, payload, CRC. A reply has the longer header. */
#define FRAME_BODY_MAX (PROTO_REPLY_HEADER_BYTES + PROTO_MAX_PAYLOAD + PROTO_CRC_BYTES)

/* COBS puts one code byte before up to 254 others. */
#define FRAME_RUN_MAX 254u

/* Where the body starts in a buffer for sending: far enough behind the start that encoding in place never overtakes
 * what it still has to read. */
#define FRAME_START (2u + FRAME_BODY_MAX / FRAME_RUN_MAX)
#define FRAME_BUFFER_BYTES (FRAME_START + FRAME_BODY_MAX + 1u)

typedef enum { FRAME_NONE, FRAME_GOOD, FRAME_BAD } frame_event;

typedef struct {
    uint32_t decoded;   /* bytes of body so far */
    uint32_t length;    /* of the last good frame: header and payload */
    uint8_t left;       /* bytes until the next code byte */
    bool zero_next;     /* a zero stands between this run and the next */
    bool begun;         /* something came since the last delimiter */
    bool broken;        /* it cannot become a good frame any more */
    uint8_t body[FRAME_BODY_MAX];
} frame_receiver_t;

/* Takes one byte off the line. After FRAME_GOOD, body holds length bytes until the next call. */
frame_event frame_receive(frame_receiver_t *receiver, uint8_t byte);

/* Appends the CRC to the body_bytes bytes at buffer + FRAME_START and encodes them in place, delimiters included.
 * Returns how many bytes from buffer on are to be sent. */
uint32_t frame_encode(uint8_t *buffer, uint32_t body_bytes);

#endif
