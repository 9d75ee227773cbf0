/* What may be asked of the chip: the table of requests. `synapcc docs PROTOCOL` has their bytes. */
#ifndef SYNAPCC_REQUESTS_H
#define SYNAPCC_REQUESTS_H

#include <stdint.h>

#include "protocol.h"

/* In the frame's buffer, with its header before it; whoever executes it may move what is there. */
typedef struct {
    uint8_t *payload;
    uint32_t length;
} request_t;

/* There is room for PROTO_MAX_PAYLOAD bytes. */
typedef struct {
    uint8_t *payload;
    uint32_t length;
} reply_t;

/* Breaks the build where a condition that the link relies on does not hold. */
#define REQUESTS_CHECK(name, condition) typedef char check_##name[(condition) ? 1 : -1]

/* Executes the request of that number. The reply counts only where the answer is PROTO_OK. */
proto_status requests_execute(uint8_t number, const request_t *request, reply_t *reply);

#endif
