/* The chip's end of the link: takes bytes, answers requests, holds the model. */
#ifndef SYNAPCC_SERVER_H
#define SYNAPCC_SERVER_H

#include <stdint.h>

/* Weights as compiled, no session. */
void server_start(void);

/* Takes one byte off the line; executes and answers the request that it completes. */
void server_receive(uint8_t byte);

/* For fault handlers: tells the host why nothing more will come. `what` is at most 32 characters long. */
void server_stopped(const char *what, uint32_t address);

#endif
