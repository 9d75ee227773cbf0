/* What the drivers of flash on chips have in common. */
#ifndef SYNAPCC_HAL_FLASH_ONCHIP_H
#define SYNAPCC_HAL_FLASH_ONCHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "../chip.h"
#include "flash_shape.h"

/* Whether count bytes at address are the store's, in whole steps. */
static inline bool onchip_within(uint32_t address, uint32_t count, uint32_t step)
{
    const uint32_t bytes = FLASH_BLOCK * FLASH_BLOCKS;

    return address % step == 0u && count % step == 0u && address <= bytes && count <= bytes - address;
}

/* Where the core finds a byte of the store. */
static inline uint32_t onchip_place(uint32_t address)
{
    return (uint32_t)(uintptr_t)_sstore + address;
}

/* Whether count bytes at address read as they should. */
static inline bool onchip_holds(uint32_t address, const uint8_t *wanted, uint32_t count)
{
    const volatile uint8_t *const from = (const volatile uint8_t *)_sstore + address;
    bool same = true;

    for (uint32_t i = 0; i < count && same; i++)
        same = from[i] == wanted[i];
    return same;
}

/* Whether the whole block at address reads as erased. */
static inline bool onchip_blank(uint32_t address)
{
    bool blank = true;

    for (uint32_t at = 0; at < FLASH_BLOCK && blank; at += 4u)
        blank = register_read(onchip_place(address + at)) == 0xFFFFFFFFu;
    return blank;
}

#endif
