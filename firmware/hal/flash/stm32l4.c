/*
 * The flash of STM32L47x and L48x (RM0351, "Embedded Flash memory"): pages of 2 KB in two banks, double words of 8 bytes with an ECC. Two
 * bad bits in one raise the NMI: here it is taken for the answer of a read, and for a fault anywhere else.
 */
#include "../flash.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "onchip.h"

#if FLASH_WORD != 8 || FLASH_BLOCK != 2048
#error "the flash of an STM32L4 has pages of 2 KB and double words of 8 bytes"
#endif

#define ORIGIN 0x08000000u
#define BANK_PAGES 256u

#define FLASH_ACR 0x40022000u
enum { ACR_DATA_CACHE = 1 << 10, ACR_DATA_CACHE_RESET = 1 << 12 };
#define FLASH_KEYR 0x40022008u
#define KEY_1 0x45670123u
#define KEY_2 0xCDEF89ABu
#define FLASH_SR 0x40022010u
#define SR_ERRORS 0xC3FAu /* OPTVERR, RDERR, FASTERR, MISERR, PGSERR, SIZERR, PGAERR, WRPERR, PROGERR, OPERR */
#define SR_NOT_ERASED 8u  /* PROGERR */
#define SR_OPERATION 1u
#define SR_BUSY (1u << 16)
#define FLASH_CR 0x40022014u
enum { CR_PROGRAM = 1 << 0, CR_PAGE_ERASE = 1 << 1, CR_PAGE = 3, CR_PAGE_MASK = 255 << 3, CR_BANK_2 = 1 << 11 };
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)
#define FLASH_ECCR 0x40022018u
#define ECCR_DETECTED (1u << 31) /* two bad bits: not corrected */

static volatile bool reading, damaged;

/* Polls of an erase of 25 ms at most: where the program lies in the other bank the core runs on meanwhile. */
#define ERASE_ROUNDS 10u

static bool idle(uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++)
        if (register_becomes(FLASH_SR, SR_BUSY, 0))
            return true;
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
    if (errors == SR_NOT_ERASED)
        return FLASH_CORRUPT;
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

bool flash_nmi(void)
{
    if ((register_read(FLASH_ECCR) & ECCR_DETECTED) == 0u || !reading)
        return false;
    register_change(FLASH_ECCR, 0, ECCR_DETECTED); /* writing one clears it */
    damaged = true;
    return true;
}

void flash_init(void)
{
    reading = false;
    register_write(FLASH_CR, CR_LOCK);
}

uint8_t *flash_memory(uint32_t *bytes)
{
    *bytes = 0;
    return NULL;
}

/* Before and behind what reads the flash: an NMI meanwhile is its answer. */
static void begin_reading(void)
{
    damaged = false;
    reading = true;
}

static bool end_reading(void)
{
    store_barrier(); /* the NMI has come by then */
    reading = false;
    return !damaged;
}

flash_status flash_read(uint32_t address, uint8_t *to, uint32_t count)
{
    if (!onchip_within(address, count, 1))
        return FLASH_IO;
    begin_reading();
    memcpy(to, (const uint8_t *)_sstore + address, count);
    return end_reading() ? FLASH_OK : FLASH_CORRUPT;
}

flash_status flash_program(uint32_t address, const uint8_t *from, uint32_t count)
{
    const uint32_t to = (uint32_t)(uintptr_t)_sstore + address;
    flash_status status;
    bool done = true, same;

    if (!onchip_within(address, count, FLASH_WORD) || !unlock())
        return FLASH_IO;
    register_write(FLASH_CR, CR_PROGRAM);
    for (uint32_t at = 0; at < count && done; at += FLASH_WORD) {
        uint32_t words[2];

        memcpy(words, from + at, sizeof words);
        register_write(to + at, words[0]); /* the second half starts it */
        register_write(to + at + 4u, words[1]);
        store_barrier();
        done = idle(1);
    }
    status = locked(done);
    forget_cached();
    if (status != FLASH_OK)
        return status;
    begin_reading();
    same = onchip_holds(address, from, count);
    return end_reading() && same ? FLASH_OK : FLASH_CORRUPT;
}

flash_status flash_erase(uint32_t address)
{
    const uint32_t page = ((uint32_t)(uintptr_t)_sstore + address - ORIGIN) / FLASH_BLOCK;
    const uint32_t bank = page >= BANK_PAGES ? (uint32_t)CR_BANK_2 : 0u;
    flash_status status;
    bool blank;

    if (!onchip_within(address, FLASH_BLOCK, FLASH_BLOCK) || !unlock())
        return FLASH_IO;
    register_write(FLASH_CR, CR_PAGE_ERASE | bank | page % BANK_PAGES << CR_PAGE);
    register_change(FLASH_CR, 0, CR_START);
    status = locked(idle(ERASE_ROUNDS));
    forget_cached();
    if (status != FLASH_OK)
        return status;
    begin_reading();
    blank = onchip_blank(address);
    return end_reading() && blank ? FLASH_OK : FLASH_CORRUPT;
}
