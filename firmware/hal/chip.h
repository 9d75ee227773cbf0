/* What the HALs of chips have in common: registers, and where the linker script put the stack. */
#ifndef SYNAPCC_HAL_CHIP_H
#define SYNAPCC_HAL_CHIP_H

#include <stdbool.h>
#include <stdint.h>

/* How often a register is polled before the wait is given up: some milliseconds on any chip. */
#define REGISTER_PATIENCE 100000u

static inline uint32_t register_read(uint32_t address)
{
    return *(volatile uint32_t *)(uintptr_t)address;
}

/* The barrier keeps GCC 12 from storing twice: its store motion may duplicate a volatile store behind a loop that also
 * writes a static. */
static inline void register_write(uint32_t address, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)address = value;
    __asm volatile("" ::: "memory");
}

/* What was stored before has left the core when this returns: memory that is programmed, too, whose order beside registers nothing else
 * promises. */
static inline void store_barrier(void)
{
    __asm volatile("dsb" ::: "memory");
}

/* Replaces the bits of `mask` by `value`. */
static inline void register_change(uint32_t address, uint32_t mask, uint32_t value)
{
    register_write(address, (register_read(address) & ~mask) | value);
}

/* Whether the bits of `mask` came to be `value`. */
static inline bool register_becomes(uint32_t address, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < REGISTER_PATIENCE; i++)
        if ((register_read(address) & mask) == value)
            return true;
    return false;
}

#define AIRCR 0xE000ED0Cu
#define AIRCR_RESET_REQUEST 0x05FA0004u

/* Resets the chip. */
static inline void chip_reset(void)
{
    store_barrier();
    register_write(AIRCR, AIRCR_RESET_REQUEST);
    for (;;) {
    }
}

/* Weak: a framework of PlatformIO's that brings its own linker script has no such symbols. */
extern uint32_t _sstack[] __attribute__((weak)), _estack[] __attribute__((weak));
extern uint32_t _sspare[] __attribute__((weak)), _espare[] __attribute__((weak));
extern uint32_t _sstore[] __attribute__((weak)), _estore[] __attribute__((weak));

/* The address of the store, 0 where it has less than so many bytes. */
static inline uintptr_t chip_kept(uint32_t bytes)
{
    return (uintptr_t)_estore - (uintptr_t)_sstore >= bytes ? (uintptr_t)_sstore : 0u;
}

#endif
