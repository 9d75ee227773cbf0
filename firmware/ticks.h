/* How long something takes, by the counter that the core itself has: no HAL, no interrupt. */
#ifndef SYNAPCC_TICKS_H
#define SYNAPCC_TICKS_H

#include <stdbool.h>
#include <stdint.h>

/* Which counter it is, by its number in the protocol; 0 where the core has none. */
uint8_t ticks_source(void);

/* Begins at zero. Nothing may come between this and what is counted. */
void ticks_start(void);

/* Clock cycles of the core since ticks_start. *overrun: the counter went past its end, which is at 2^24 for SysTick. */
uint32_t ticks_stop(bool *overrun);

/* A loop of two instructions, `turns` times: what a tick is where every instruction takes as long. */
void ticks_loop(uint32_t turns);

#endif
