/* The chip's end of the link: takes bytes, answers each request once, remembers the session. */
#ifndef SYNAPCC_SERVER_H
#define SYNAPCC_SERVER_H

#include <stdint.h>

typedef struct {
    uint32_t repeats, refusals, bad_frames;
} server_counts_t;

/* What is kept, or weights as compiled; no session. */
void server_start(void);

/* Takes one byte off the line; executes and answers the request that it completes. */
void server_receive(uint8_t byte);

/* Tells the host, before the answer, that the request in progress was understood and takes its time. */
void server_accepted(void);

/* What came over the link since start-up and was not executed. */
const server_counts_t *server_counts(void);

/* For fault handlers: tells the host why nothing more will come. `what` is at most 32 characters long. */
void server_stopped(const char *what, uint32_t address);

#endif
