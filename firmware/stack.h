/* How much stack was ever in use: free stack is painted at start-up, and later one looks how far the paint is gone. */
#ifndef SYNAPCC_STACK_H
#define SYNAPCC_STACK_H

#include <stdint.h>

/* Called first thing in main. */
void stack_paint(void);

/* Most bytes ever in use, 0 where the stack cannot be seen. */
uint32_t stack_used(void);

/* Bytes under watch: a stack_used as large means "at least". */
uint32_t stack_watched(void);

#endif
