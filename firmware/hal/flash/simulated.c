/*
 * A flash in RAM that a reset leaves alone, for virtual boards and for processes. Its power can be cut at any operation: before it, in
 * the middle, or after it; the cut is a reset of the chip.
 *
 * What is half programmed or half erased leaves loose bits, which read as they like until the block is erased: each time otherwise, or
 * as if done in one boot and as if never begun in the next, or the other way round.
 */
#include "../flash.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "../hal.h"
#include "flash_shape.h"

#define MAGIC 0x4D495346u /* "FSIM" */
#define BYTES (FLASH_BLOCK * FLASH_BLOCKS)

enum { NEVER, BEFORE, MIDDLE, AFTER };
enum { RANDOM, DONE_FIRST, UNDONE_FIRST };
enum { HAPPENS, HALF };

/* Region flash: what lies behind is BYTES cells, in which a bit that is 1 is erased, and as many loose bits. */
typedef struct {
    uint32_t magic;      /* anything else: RAM after power-on, a flash that was never written */
    uint32_t operations; /* words programmed and blocks erased so far */
    uint32_t cut;        /* the power goes at this operation, counted from 1 */
    uint32_t way;        /* in which way */
    uint32_t mood;       /* how loose bits read */
    uint32_t dice;
    uint32_t boots; /* since it was new */
    uint32_t bytes; /* BYTES: a flash of another size is a new one */
    uint32_t again;    /* and once more so many operations behind that, or 0 */
    uint32_t mistakes; /* words that were programmed and not erased */
} control_t;

typedef struct {
    control_t control;
    uint8_t cells[BYTES];
    uint8_t loose[BYTES];
} simulated_t;

static simulated_t *flash;

static uint32_t dice(void)
{
    flash->control.dice = flash->control.dice * 1664525u + 1013904223u;
    return flash->control.dice >> 8;
}

void flash_init(void)
{
    flash = (simulated_t *)hal_kept(sizeof *flash);
    if (flash == NULL)
        return;
    if (flash->control.magic != MAGIC || flash->control.bytes != BYTES) {
        memset(flash, 0, sizeof *flash);
        memset(flash->cells, 0xFF, BYTES);
        flash->control.magic = MAGIC;
        flash->control.bytes = BYTES;
    }
    flash->control.boots++;
}

uint8_t *flash_memory(uint32_t *bytes)
{
    *bytes = flash == NULL ? 0u : (uint32_t)sizeof *flash;
    return (uint8_t *)flash;
}

/* ---- the power ----------------------------------------------------------------------------------------------------- */

static void off(void)
{
    flash->control.cut = flash->control.again > 0u ? flash->control.operations + flash->control.again : 0u;
    flash->control.again = 0;
    hal_reset();
}

static bool met(uint32_t way)
{
    return flash->control.operations == flash->control.cut && flash->control.way == way;
}

static uint32_t begin(void)
{
    flash->control.operations++;
    if (met(BEFORE))
        off();
    return met(MIDDLE) ? HALF : HAPPENS;
}

static void end(void)
{
    if (met(MIDDLE) || met(AFTER))
        off();
}

static uint8_t share(void)
{
    return flash->control.mood == RANDOM ? (uint8_t)dice() : 0u;
}

/* Of bits that are to change: some have, some stay, and the others are loose from now on. */
static void halve(uint32_t at, uint8_t changing, uint8_t target)
{
    const uint8_t done = (uint8_t)(changing & share());
    const uint8_t left = (uint8_t)(changing & share() & ~done);

    flash->cells[at] = (uint8_t)((flash->cells[at] & ~done) | (target & done));
    flash->loose[at] = (uint8_t)((flash->loose[at] & ~done) | (changing & ~done & ~left));
}

/* ---- the contract -------------------------------------------------------------------------------------------------- */

static bool within(uint32_t address, uint32_t count, uint32_t step)
{
    return flash != NULL && address % step == 0u && count % step == 0u && address <= BYTES && count <= BYTES - address;
}

flash_status flash_read(uint32_t address, uint8_t *to, uint32_t count)
{
    bool unsure = false;

    if (!within(address, count, 1))
        return FLASH_IO;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t mask = flash->loose[address + i];
        uint8_t value = flash->cells[address + i];

        if (mask != 0u) {
            const bool done = (flash->control.mood == DONE_FIRST) == (flash->control.boots % 2u == 0u);
            const uint8_t seen = flash->control.mood == RANDOM ? (uint8_t)dice() : (uint8_t)(done ? 0x00u : 0xFFu);

            value = (uint8_t)((value & ~mask) | (seen & mask));
            unsure = true;
        }
        to[i] = value;
    }
    return unsure && FLASH_WORD >= 8u && dice() % 2u == 0u ? FLASH_CORRUPT : FLASH_OK; /* wide words have an ECC */
}

/* No driver could promise what such a word holds. */
static flash_status mistaken(void)
{
    flash->control.mistakes++;
    return FLASH_CORRUPT;
}

flash_status flash_program(uint32_t address, const uint8_t *from, uint32_t count)
{
    if (!within(address, count, FLASH_WORD))
        return FLASH_IO;
    for (uint32_t word = 0; word < count; word += FLASH_WORD) {
        for (uint32_t i = word; i < word + FLASH_WORD; i++)
            if (flash->cells[address + i] != FLASH_ERASED || flash->loose[address + i] != 0u)
                return mistaken();
        const uint32_t fate = begin();

        for (uint32_t i = word; i < word + FLASH_WORD; i++) {
            if (fate == HALF)
                halve(address + i, (uint8_t)~from[i], from[i]);
            else
                flash->cells[address + i] = from[i];
        }
        end();
    }
    return FLASH_OK;
}

flash_status flash_erase(uint32_t address)
{
    uint32_t fate;

    if (!within(address, FLASH_BLOCK, FLASH_BLOCK))
        return FLASH_IO;
    fate = begin();
    for (uint32_t i = address; i < address + FLASH_BLOCK; i++) {
        if (fate == HALF) {
            halve(i, (uint8_t)(~flash->cells[i] | flash->loose[i]), 0xFF);
        } else {
            flash->cells[i] = FLASH_ERASED;
            flash->loose[i] = 0;
        }
    }
    end();
    return FLASH_OK;
}
