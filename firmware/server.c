#include "server.h"

#include <stddef.h>
#include <string.h>

#include "frame.h"
#include "hal/hal.h"
#include "machine.h"
#include "requests.h"
#include "store.h"

static struct {
    frame_receiver_t receiver;
    uint8_t kept[FRAME_BUFFER_BYTES]; /* the last answer as sent, for a host that asks again */
    uint32_t kept_bytes;

    uint32_t session;  /* 0: none, as after every reset */
    uint16_t sequence; /* of the last request executed */
    uint8_t request;   /* its number */

    server_counts_t counts;
} server;

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

/* ---- from frames to requests ------------------------------------------------------------------------------------- */

static void execute_and_answer(uint8_t *body, uint32_t length)
{
    const request_t request = {body + PROTO_HEADER_BYTES, length - PROTO_HEADER_BYTES};
    uint8_t *const to = server.kept + FRAME_START;
    reply_t reply = {to + PROTO_REPLY_HEADER_BYTES, 0};
    proto_status status;

    server.sequence = proto_header_sequence(body);
    server.request = proto_header_request(body);
    status = requests_execute(server.request, &request, &reply);
    if (status != PROTO_OK)
        reply.length = 0;
    write_header(to, server.session, server.sequence, server.request, status);
    server.kept_bytes = frame_encode(server.kept, PROTO_REPLY_HEADER_BYTES + reply.length);
    hal_tx(server.kept, server.kept_bytes);
}

static void refuse(const uint8_t *body, proto_status status)
{
    server.counts.refusals++;
    send_notice(proto_header_session(body), proto_header_sequence(body), proto_header_request(body), status, NULL, 0);
}

/* Session and sequence number are checked first, in this order: a repeated request is answered, not executed again. */
static void answer(uint8_t *body, uint32_t length)
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
        server.counts.repeats++;
        hal_tx(server.kept, server.kept_bytes);
    } else if (sequence == (uint16_t)(server.sequence + 1u)) {
        execute_and_answer(body, length);
    } else {
        refuse(body, PROTO_BAD_SEQUENCE);
    }
}

/* ---- what others call -------------------------------------------------------------------------------------------- */

void server_start(void)
{
    memset(&server, 0, sizeof server);
    machine_start();
    store_start();
}

void server_receive(uint8_t byte)
{
    frame_event event = frame_receive(&server.receiver, byte);

    if (event == FRAME_GOOD && proto_header_kind(server.receiver.body) != PROTO_REQUEST_KIND)
        event = FRAME_BAD;
    if (event == FRAME_GOOD) {
        answer(server.receiver.body, server.receiver.length);
    } else if (event == FRAME_BAD) {
        server.counts.bad_frames++;
        send_notice(0, 0, 0, PROTO_BAD_FRAME, NULL, 0);
    }
}

void server_accepted(void)
{
    send_notice(server.session, server.sequence, server.request, PROTO_ACCEPTED, NULL, 0);
}

const server_counts_t *server_counts(void)
{
    return &server.counts;
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
