/*
 * The flash of STM32F4 (RM0090, RM0383, RM0390: "Embedded Flash memory interface"), of which a store gets sectors of 128 KB: 5 and those
 * behind it, up to 11. The four of 16 KB are no choice: vectors lie in the first one, and a save needs three. Bytes are programmed one at
 * a time, which any supply voltage of the chip allows; so erasing takes longest, too: 4 s at most for a sector.
 *
 * The core stands still while it fetches from a flash that is busy, so that hardly a poll is needed.
 */
#include "../flash.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "../hal.h"
#include "onchip.h"

#if FLASH_WORD != 1 || FLASH_BLOCK != 0x20000
#error "the store of an STM32F4 has sectors of 128 KB and is programmed in bytes"
#endif

#define FIRST_SECTOR 5u
#define FIRST_ADDRESS 0x08020000u
#define LAST_SECTOR 11u

#define FLASH_ACR 0x40023C00u
enum { ACR_DATA_CACHE = 1 << 10, ACR_DATA_CACHE_RESET = 1 << 12 };
#define FLASH_KEYR 0x40023C04u
#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu
#define FLASH_SR 0x40023C0Cu
#define SR_ERRORS 0x1F2u /* RDERR, PGSERR, PGPERR, PGAERR, WRPERR, OPERR */
#define SR_OPERATION 1u
#define SR_BUSY (1u << 16)
#define FLASH_CR 0x40023C10u
enum { CR_PROGRAM = 1 << 0, CR_SECTOR_ERASE = 1 << 1, CR_SECTOR = 3, CR_SECTOR_MASK = 31 << 3, CR_SIZE_MASK = 3 << 8 };
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)

/* Polls of an erase: each takes some cycles of 16 MHz, so that this is more than the 4 s of the data sheets. */
#define ERASE_ROUNDS 1000u

static bool idle(uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        if (register_becomes(FLASH_SR, SR_BUSY, 0))
            return true;
        hal_pet();
    }
    return false;
}

static bool unlock(void)
{
    if (!idle(1))
        return false;
    if ((register_read(FLASH_CR) & CR_LOCK) != 0) {
        register_write(FLASH_KEYR, KEY_1);
        register_write(FLASH_KEYR, KEY_2);
    }
    register_write(FLASH_SR, SR_ERRORS | SR_OPERATION); /* writing one clears it */
    return (register_read(FLASH_CR) & CR_LOCK) == 0;
}

/* Locks, and says what has become of it. */
static flash_status locked(bool done)
{
    const uint32_t errors = register_read(FLASH_SR) & SR_ERRORS;

    register_write(FLASH_SR, SR_ERRORS | SR_OPERATION);
    register_write(FLASH_CR, CR_LOCK);
    return done && errors == 0u ? FLASH_OK : FLASH_IO;
}

/* The cache for data may hold what was there before. */
static void forget_cached(void)
{
    const uint32_t before = register_read(FLASH_ACR);

    register_write(FLASH_ACR, before & ~(uint32_t)ACR_DATA_CACHE);
    register_write(FLASH_ACR, (before & ~(uint32_t)ACR_DATA_CACHE) | ACR_DATA_CACHE_RESET);
    register_write(FLASH_ACR, before);
}

void flash_init(void)
{
    register_write(FLASH_CR, CR_LOCK);
}

uint8_t *flash_memory(uint32_t *bytes)
{
    *bytes = 0;
    return NULL;
}

flash_status flash_read(uint32_t address, uint8_t *to, uint32_t count)
{
    if (!onchip_within(address, count, 1))
        return FLASH_IO;
    memcpy(to, (const uint8_t *)_sstore + address, count);
    return FLASH_OK;
}

flash_status flash_program(uint32_t address, const uint8_t *from, uint32_t count)
{
    volatile uint8_t *const to = (volatile uint8_t *)_sstore + address;
    flash_status status;
    bool done = true;

    if (!onchip_within(address, count, FLASH_WORD) || !unlock())
        return FLASH_IO;
    register_change(FLASH_CR, CR_SIZE_MASK | CR_SECTOR_ERASE, CR_PROGRAM); /* size 0: a byte */
    for (uint32_t i = 0; i < count && done; i++) {
        to[i] = from[i];
        store_barrier();
        done = idle(1);
    }
    status = locked(done);
    forget_cached();
    if (status != FLASH_OK)
        return status;
    return onchip_holds(address, from, count) ? FLASH_OK : FLASH_CORRUPT;
}

flash_status flash_erase(uint32_t address)
{
    const uint32_t sector = FIRST_SECTOR + ((uint32_t)(uintptr_t)_sstore + address - FIRST_ADDRESS) / FLASH_BLOCK;
    flash_status status;

    if (!onchip_within(address, FLASH_BLOCK, FLASH_BLOCK) || sector < FIRST_SECTOR || sector > LAST_SECTOR || !unlock())
        return FLASH_IO;
    register_change(FLASH_CR, CR_SIZE_MASK | CR_SECTOR_MASK | CR_PROGRAM, CR_SECTOR_ERASE | sector << CR_SECTOR);
    register_change(FLASH_CR, 0, CR_START);
    status = locked(idle(ERASE_ROUNDS));
    forget_cached();
    if (status != FLASH_OK)
        return status;
    return onchip_blank(address) ? FLASH_OK : FLASH_CORRUPT;
}
