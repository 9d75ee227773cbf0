/* Start-up code for boards that bring none: vectors, .data and .bss, and a fault handler that says what happened.
 * The linker script provides the symbols and keeps .isr_vector at the address the core reads at reset. */
#include <stdint.h>

#include "server.h"

#define CPACR 0xE000ED88u
#define CPACR_FPU_FULL_ACCESS (0xFu << 20)

extern uint32_t _estack[], _sidata[], _sdata[], _edata[], _sbss[], _ebss[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);
void fault_report(const uint32_t *frame);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

/* No interrupt is ever enabled, so vectors of peripherals are not needed. */
__attribute__((section(".isr_vector"), used)) const vector_t g_vectors[16] = {
    {.stack = _estack},
    {.handler = Reset_Handler},
    {.handler = Fault_Handler}, /* NMI */
    {.handler = Fault_Handler}, /* hard fault; the others escalate to it unless enabled */
    {.handler = Fault_Handler}, /* memory management */
    {.handler = Fault_Handler}, /* bus */
    {.handler = Fault_Handler}, /* usage */
    {.handler = Fault_Handler}, /* secure */
    {.handler = 0},
    {.handler = 0},
    {.handler = 0},
    {.handler = Fault_Handler}, /* SVC */
    {.handler = Fault_Handler}, /* debug monitor */
    {.handler = 0},
    {.handler = Fault_Handler}, /* PendSV */
    {.handler = Fault_Handler}, /* SysTick */
};

void Reset_Handler(void)
{
    const volatile uint32_t *from = _sidata;

#if (defined(__ARM_FP) && (__ARM_FP & 4)) || defined(__ARM_FEATURE_MVE)
    /* Compilers use FPU registers as spare ones even where no float is. */
    *(volatile uint32_t *)CPACR |= CPACR_FPU_FULL_ACCESS;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    for (volatile uint32_t *to = _sdata; to < _edata; to++)
        *to = *from++;
    for (volatile uint32_t *to = _sbss; to < _ebss; to++)
        *to = 0;
    main();
    for (;;) {
    }
}

/* A fault may come from a stack that has run out of RAM, so the report starts on a fresh one. */
__attribute__((naked)) void Fault_Handler(void)
{
    __asm volatile("mrs r0, msp\n\t"
                   "ldr r1, =_estack\n\t"
                   "msr msp, r1\n\t"
                   "ldr r1, =fault_report\n\t"
                   "bx r1\n\t"
                   ".ltorg");
}

/* `frame` is what the core stacked, in RAM if the stack was. Word 6 of it is where the fault happened. */
__attribute__((used)) void fault_report(const uint32_t *frame)
{
    const uintptr_t at = (uintptr_t)frame;

    if (at >= (uintptr_t)_ebss && at + 8u * sizeof *frame <= (uintptr_t)_estack)
        server_stopped("fault", frame[6]);
    else
        server_stopped("stack overflow", (uint32_t)at);
    for (;;)
        __asm volatile("wfi");
}
