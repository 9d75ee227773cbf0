/* A counter for COUNT where the computer has none that a chip has; takes the place of ticks.c. */
#include "ticks.h"

#include "protocol.h"

static uint32_t turns;

uint8_t ticks_source(void)
{
    return PROTO_COUNTER_SYSTICK;
}

void ticks_start(void)
{
    turns = 0;
}

uint32_t ticks_stop(bool *overrun)
{
    *overrun = turns > 0xFFFFFFu;
    return turns;
}

void ticks_loop(uint32_t count)
{
    turns += 2u * count;
}
