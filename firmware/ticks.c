#include "ticks.h"

#include "protocol.h"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'

#define SYST_CSR 0xE000E010u
#define SYST_CSR_ENABLE 1u
#define SYST_CSR_CORE_CLOCK 4u
#define SYST_CSR_COUNTFLAG (1u << 16)
#define SYST_RVR 0xE000E014u
#define SYST_CVR 0xE000E018u
#define SYST_MASK 0xFFFFFFu

#define DEMCR 0xE000EDFCu
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL 0xE0001000u
#define DWT_CTRL_CYCCNTENA 1u
#define DWT_CYCCNT 0xE0001004u
#define DWT_LAR 0xE0001FB0u
#define DWT_LAR_KEY 0xC5ACCE55u

static bool cycle_counter;

static uint32_t load(uintptr_t at)
{
    return *(volatile const uint32_t *)at;
}

static void store(uintptr_t at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
    __asm volatile("" ::: "memory");
}

uint8_t ticks_source(void)
{
#if __ARM_ARCH_ISA_THUMB > 1
    /* From the Cortex-M3 on there may be one of 32 bits. Emulators have none, and some chips lock theirs. */
    store(DEMCR, load(DEMCR) | DEMCR_TRCENA);
    store(DWT_LAR, DWT_LAR_KEY);
    store(DWT_CTRL, load(DWT_CTRL) | DWT_CTRL_CYCCNTENA);
    cycle_counter = (load(DWT_CTRL) & DWT_CTRL_CYCCNTENA) != 0;
#endif
    return cycle_counter ? PROTO_COUNTER_CYCCNT : PROTO_COUNTER_SYSTICK;
}

void ticks_start(void)
{
    if (cycle_counter) {
        store(DWT_CYCCNT, 0);
        return;
    }
    store(SYST_RVR, SYST_MASK);
    store(SYST_CVR, 0); /* any write sets the counter and COUNTFLAG to zero */
    store(SYST_CSR, SYST_CSR_ENABLE | SYST_CSR_CORE_CLOCK);
}

uint32_t ticks_stop(bool *overrun)
{
    uint32_t ticks;

    *overrun = false;
    if (cycle_counter)
        return load(DWT_CYCCNT);
    ticks = (0u - load(SYST_CVR)) & SYST_MASK; /* it counts down */
    *overrun = (load(SYST_CSR) & SYST_CSR_COUNTFLAG) != 0;
    store(SYST_CSR, 0);
    return ticks;
}

/* clang wants nothing but assembly in here; the turns are in r0 */
__attribute__((naked, noinline)) void ticks_loop(uint32_t turns __attribute__((unused)))
{
    __asm volatile(".syntax unified\n\t"
                   "cmp r0, #0\n\t"
                   "beq 2f\n"
                   "1:\n\t"
                   "subs r0, r0, #1\n\t"
                   "bne 1b\n"
                   "2:\n\t"
                   "bx lr");
}

#else /* a process of the host: nothing to count with */

uint8_t ticks_source(void)
{
    return PROTO_COUNTER_NONE;
}

void ticks_start(void)
{
}

uint32_t ticks_stop(bool *overrun)
{
    *overrun = false;
    return 0;
}

void ticks_loop(uint32_t turns)
{
    (void)turns;
}

#endif
