/* Start-up of a program on the virtual Cortex-M55, whose console is by semihosting. Its RAM starts as zeros. */
#include <stdint.h>
#include <stdlib.h>

extern char helium_stack_top[];
extern int main(void);
void initialise_monitor_handles(void); /* of newlib */
void helium_reset(void);
void helium_fault(void);
void _fini(void);

/* What newlib's exit calls. */
void _fini(void)
{
}

void helium_reset(void)
{
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* CPACR: FPU and Helium are on */
    __asm__ __volatile__("dsb\n\tisb");
    initialise_monitor_handles();
    exit(main());
}

/* Ends the program with status 70. */
void helium_fault(void)
{
    static uint32_t block[2] = { 0x20026u, 70u };
    register uint32_t r0 __asm__("r0") = 0x20u; /* SYS_EXIT_EXTENDED */
    register uint32_t *r1 __asm__("r1") = block;

    __asm__ __volatile__("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
    for (;;) {
    }
}

typedef void (*helium_vector)(void);
__attribute__((section(".vectors"), used)) static const helium_vector vectors[16] = {
    (helium_vector)(void *)helium_stack_top,
    helium_reset,
    helium_fault,
    helium_fault,
    helium_fault,
    helium_fault,
    helium_fault,
    helium_fault,
};
