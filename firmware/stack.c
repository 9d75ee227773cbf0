#include "stack.h"

#include "hal/hal.h"

#define PAINT 0xA5C35A3Cu

/* At most so much is painted: painting megabytes would delay the start, and no program here needs as much stack. */
#define WATCHED_MAX 65536u

static uintptr_t painted_from, stack_top;

void stack_paint(void)
{
    uintptr_t low, high;
    uint32_t here; /* the address of a local: everything well below it is free */
    const uintptr_t margin = 128;
    const uintptr_t free_top = ((uintptr_t)&here - margin) & ~(uintptr_t)3;

    hal_stack(&low, &high);
    if (high == 0)
        return;
    low = (low + 3u) & ~(uintptr_t)3;
    if (high - low > WATCHED_MAX)
        low = high - WATCHED_MAX;
    for (uintptr_t at = low; at < free_top; at += sizeof(uint32_t)) {
        *(volatile uint32_t *)at = PAINT;
        __asm volatile("" ::: "memory");
    }
    painted_from = low;
    stack_top = high;
}

uint32_t stack_used(void)
{
    uintptr_t at = painted_from;

    while (at < stack_top && *(volatile const uint32_t *)at == PAINT)
        at += sizeof(uint32_t);
    return (uint32_t)(stack_top - at);
}

uint32_t stack_watched(void)
{
    return (uint32_t)(stack_top - painted_from);
}
