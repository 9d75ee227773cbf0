/*
 * The part of the porting contract that a store of the state needs: one file of hal/flash/ implements it. Addresses count from the
 * first byte of the store, which the linker script gives to nobody: _sstore. flash_shape.h of the project has word, block and how many.
 */
#ifndef SYNAPCC_HAL_FLASH_H
#define SYNAPCC_HAL_FLASH_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    FLASH_OK = 0,
    FLASH_IO = 1,     /* not done, and it may succeed another time: locked, busy beyond the bound, supply too low */
    FLASH_CORRUPT = 2 /* the cells do not take, or do not give back, what they should */
} flash_status;

/* Once, before the others. */
void flash_init(void);

/* Copies count bytes. CORRUPT: the ECC says that they are wrong. */
flash_status flash_read(uint32_t address, uint8_t *to, uint32_t count);

/* Programs whole words, each erased and not programmed since. Returns when they are done; every wait in it has a bound. */
flash_status flash_program(uint32_t address, const uint8_t *from, uint32_t count);

/* Erases the block at address. Returns when it is done; every wait in it has a bound. */
flash_status flash_erase(uint32_t address);

/* Called at an NMI: whether it was the ECC of the word that flash_read was reading. start-up has one that says no. */
bool flash_nmi(void);

/* The memory of a flash that is only simulated, and its size; a null pointer and 0 of a real one. */
uint8_t *flash_memory(uint32_t *bytes);

#endif
