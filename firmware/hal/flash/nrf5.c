/*
 * The flash of nRF51 and nRF52 (NVMC). Words of four bytes, each programmed once; pages of 1 KB (nRF51) or 4 KB (nRF52). The core stands
 * still while a word is programmed or a page erased, so that nothing polls for long: what never becomes ready is broken.
 */
#include "../flash.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "onchip.h"

#if FLASH_WORD != 4 || (FLASH_BLOCK != 1024 && FLASH_BLOCK != 4096)
#error "the flash of an nRF5 has words of 4 bytes and pages of 1 KB (nRF51) or 4 KB (nRF52)"
#endif

#define NVMC 0x4001E000u
#define NVMC_READY (NVMC + 0x400u)
#define NVMC_CONFIG (NVMC + 0x504u)
#define NVMC_ERASE_PAGE (NVMC + 0x508u) /* takes the address of the page */
enum { READ_ONLY = 0, WRITE = 1, ERASE = 2 };

static bool ready(void)
{
    return register_becomes(NVMC_READY, 1, 1);
}

/* Whether the controller takes what the mode says. */
static bool enter(uint32_t mode)
{
    if (!ready())
        return false;
    register_write(NVMC_CONFIG, mode);
    return register_becomes(NVMC_CONFIG, 3, mode);
}

/* Whether the controller is done; it changes nothing any more. */
static bool leave(void)
{
    const bool done = ready();

    register_write(NVMC_CONFIG, READ_ONLY);
    return done;
}

void flash_init(void)
{
    register_write(NVMC_CONFIG, READ_ONLY);
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

/* There is no flag for what went wrong: what is read back tells. */
flash_status flash_program(uint32_t address, const uint8_t *from, uint32_t count)
{
    bool done = true;

    if (!onchip_within(address, count, FLASH_WORD) || !enter(WRITE))
        return FLASH_IO;
    for (uint32_t at = 0; at < count && done; at += FLASH_WORD) {
        uint32_t word;

        memcpy(&word, from + at, sizeof word);
        register_write(onchip_place(address + at), word);
        store_barrier();
        done = ready();
    }
    done = leave() && done;
    if (!done)
        return FLASH_IO;
    return onchip_holds(address, from, count) ? FLASH_OK : FLASH_CORRUPT;
}

flash_status flash_erase(uint32_t address)
{
    if (!onchip_within(address, FLASH_BLOCK, FLASH_BLOCK) || !enter(ERASE))
        return FLASH_IO;
    register_write(NVMC_ERASE_PAGE, onchip_place(address));
    if (!leave())
        return FLASH_IO;
    return onchip_blank(address) ? FLASH_OK : FLASH_CORRUPT;
}
