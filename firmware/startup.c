/* Start-up code for boards that bring none: vectors, .data and .bss, and a fault handler that says what happened.
 * The linker script provides the symbols and keeps .isr_vector at the address the core reads at reset. */
#include <stdbool.h>
#include <stdint.h>

#include "hal/flash.h"
#include "server.h"

#define VTOR 0xE000ED08u
#define CPACR 0xE000ED88u
#define CPACR_FPU_FULL_ACCESS (0xFu << 20)
#define SHCSR 0xE000ED24u
#define SHCSR_MEMORY_BUS_USAGE (7u << 16)
#define CFSR 0xE000ED28u
#define CFSR_STACK_OVERFLOW (1u << 20)
#define MPU_TYPE 0xE000ED90u
#define MPU_TYPE_REGIONS (0xFFu << 8)
#define MPU_CTRL 0xE000ED94u
#define MPU_CTRL_ON_WITH_DEFAULT_MAP 5u
#define MPU_RBAR 0xE000ED9Cu
#define MPU_RASR 0xE000EDA0u
#define MPU_RASR_256_BYTES_NO_ACCESS (1u << 28 | 7u << 1 | 1u)

extern uint32_t _svectors[], _sguard[], _sstack[], _estack[], _sidata[], _sdata[], _edata[], _sbss[], _ebss[];

int main(void);
void Reset_Handler(void);
void Fault_Handler(void);
void NMI_Handler(void);
void fault_report(const uint32_t *frame);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector_t;

/* No interrupt is ever enabled, so vectors of peripherals are not needed. */
__attribute__((section(".isr_vector"), used)) const vector_t g_vectors[16] = {
    {.stack = _estack},
    {.handler = Reset_Handler},
    {.handler = NMI_Handler},
    {.handler = Fault_Handler}, /* hard fault */
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

/* A boot loader that came first may have had vectors of its own. */
static void take_vectors(void)
{
#if __ARM_ARCH >= 7
    *(volatile uint32_t *)VTOR = (uint32_t)(uintptr_t)_svectors;
#endif
}

/* On most chips nothing lies below RAM, and a stack that grows beyond it faults. Some, and QEMU, ignore what is written there: so the 256
 * bytes below the stack are closed where the core can do that, and ARMv8-M has a register that no stack goes below. A Cortex-M0 can do
 * neither. */
static void guard_stack(void)
{
#if __ARM_ARCH >= 7
    /* The overflowing stack cannot take the frame of its own fault. That escalates a memory fault to a hard fault, which is told,
     * but a hard fault to a lockup, which is not. */
    *(volatile uint32_t *)SHCSR |= SHCSR_MEMORY_BUS_USAGE;
#endif
#if __ARM_ARCH == 7
    if ((*(volatile uint32_t *)MPU_TYPE & MPU_TYPE_REGIONS) != 0) {
        *(volatile uint32_t *)MPU_RBAR = (uint32_t)(uintptr_t)_sguard | 1u << 4; /* region 0 */
        *(volatile uint32_t *)MPU_RASR = MPU_RASR_256_BYTES_NO_ACCESS;
        *(volatile uint32_t *)MPU_CTRL = MPU_CTRL_ON_WITH_DEFAULT_MAP;
        __asm volatile("dsb\n\tisb" ::: "memory");
    }
#elif __ARM_ARCH >= 8
    __asm volatile("msr msplim, %0" ::"r"(_sstack));
#endif
}

static bool stack_limit_was_met(void)
{
#if __ARM_ARCH >= 8
    return (*(volatile uint32_t *)CFSR & CFSR_STACK_OVERFLOW) != 0;
#else
    return false;
#endif
}

void Reset_Handler(void)
{
    const volatile uint32_t *from = _sidata;

#if (defined(__ARM_FP) && (__ARM_FP & 4)) || defined(__ARM_FEATURE_MVE)
    /* Compilers use FPU registers as spare ones even where no float is. */
    *(volatile uint32_t *)CPACR |= CPACR_FPU_FULL_ACCESS;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    take_vectors();
    guard_stack();
    for (volatile uint32_t *to = _sdata; to < _edata; to++)
        *to = *from++;
    for (volatile uint32_t *to = _sbss; to < _ebss; to++)
        *to = 0;
    main();
    for (;;) {
    }
}

/* A fault may come from a stack that has run out of RAM, so the report starts on a fresh one: what lay there is lost, what was
 * learned is not. */
__attribute__((naked)) void Fault_Handler(void)
{
    __asm volatile("mrs r0, msp\n\t"
                   "ldr r1, =_estack\n\t"
                   "msr msp, r1\n\t"
                   "ldr r1, =fault_report\n\t"
                   "bx r1\n\t"
                   ".ltorg");
}

/* Of a project whose flash has none to answer for. */
__attribute__((weak)) bool flash_nmi(void)
{
    return false;
}

/* A bad word that the driver of the flash was reading is its answer, and all else a fault. */
__attribute__((naked)) void NMI_Handler(void)
{
    __asm volatile("push {r4, lr}\n\t"
                   "bl flash_nmi\n\t"
                   "cmp r0, #0\n\t"
                   "beq 1f\n\t"
                   "pop {r4, pc}\n"
                   "1:\n\t"
                   "add sp, #8\n\t"
                   "ldr r0, =Fault_Handler\n\t"
                   "bx r0\n\t"
                   ".ltorg");
}

/* `frame` is what the core stacked, in RAM if the stack was, and not all of it where the stack's limit was met. Word 6 of it is where
 * the fault happened. */
__attribute__((used)) void fault_report(const uint32_t *frame)
{
    const uintptr_t at = (uintptr_t)frame;

    if (!stack_limit_was_met() && at >= (uintptr_t)_sstack && at + 8u * sizeof *frame <= (uintptr_t)_estack)
        server_stopped("fault", frame[6]);
    else
        server_stopped("stack overflow", (uint32_t)at);
    for (;;)
        __asm volatile("wfi");
}
