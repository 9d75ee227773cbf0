/* The porting contract: what a chip family must provide. One file in hal/ implements it; a board only chooses numbers.
 *
 * There is one link, one thread and no interrupt. The host never sends a request before the last one is answered, so
 * a polled receiver without a buffer is enough. It may lose bytes of a request that the host repeats while a program
 * runs: CRC and repetition take care of that. */
#ifndef SYNAPCC_HAL_H
#define SYNAPCC_HAL_H

#include <stdint.h>

/* Makes the link ready: clocks, pins, baud rate. Called once, before any other function that uses the link. It must not
 * wait for hardware without a bound: a chip that hangs here cannot be told from a dead one. */
void hal_init(void);

/* Waits for one byte from the host and returns it. Where the link can end (a process's standard input), the end of the
 * link ends the program. */
uint8_t hal_rx(void);

/* Sends bytes in order and returns when the link has taken them all; they may still be on their way. Must also work in
 * a fault handler. */
void hal_tx(const uint8_t *bytes, uint32_t count);

/* How often the receiver lost bytes since hal_init, as far as the hardware can tell; 0 where it cannot. */
uint32_t hal_link_errors(void);

/* The memory that the stack may grow into: low is its lowest address, high the address that it starts from. Both 0
 * where that is not known; then nothing is painted and statistics say 0. Called before hal_init. */
void hal_stack(uintptr_t *low, uintptr_t *high);

/* RAM that nobody uses, from low to below high, for samples to learn from. Both 0 where that is not known; then the host
 * sends each sample when it is learned from. Called after hal_init. */
void hal_spare(uintptr_t *low, uintptr_t *high);

/* Tells a watchdog that the firmware lives, one that a boot loader or option bytes have started; harmless where none runs. Called
 * by hal_rx while it waits, and between the steps of a save. */
void hal_pet(void);

/* Resets the chip, as a loss of power does, and does not return. */
void hal_reset(void);

/* The address of so many bytes that stand for a flash: aligned for any integer, and left alone by hal_reset. What they hold after a loss
 * of power is not said. 0 where there is not so much. */
uintptr_t hal_kept(uint32_t bytes);

#endif
