/*
 * firmware/keep.c where a flash has bad blocks, lies for a moment or was someone else's, and where a caller errs: one case after the other.
 * Ends with 0, or says what is wrong.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32.h"
#include "keep.h"

enum { BLOCK = 1024, MOST = 9, NONE = 0x7fffffff, HEAD = 64, COMMITTED = HEAD, CONFIRMED = HEAD + 4, FRONT = HEAD + 12 };
enum { AS_DONE, AS_ERASED };

static uint8_t cells[BLOCK * MOST], loose[BLOCK * MOST];
static uint32_t bad, stuck, lie, lies, operations, cut, mood, reads;
static jmp_buf off;

static keep_status flash_read(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    (void)context;
    reads++;
    for (uint32_t i = 0; i < count; i++)
        to[i] = loose[address + i] != 0 && mood == AS_ERASED ? 0xFFu : cells[address + i];
    if (lies > 0 && lie >= address && lie < address + count) {
        lies--;
        return KEEP_CORRUPT;
    }
    return KEEP_OK;
}

static keep_status flash_program(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    for (uint32_t i = address; i < address + count; i++) {
        if (cells[i] != 0xFFu || loose[i] != 0)
            abort();
        cells[i] = from[i - address];
        loose[i] = operations == cut;
    }
    if (operations++ == cut)
        longjmp(off, 1);
    if (stuck >= address && stuck < address + count) {
        cells[stuck] |= 4u;
        return KEEP_CORRUPT;
    }
    return KEEP_OK;
}

static keep_status flash_erase(void *context, uint32_t address)
{
    (void)context;
    if (address / BLOCK == bad)
        return KEEP_CORRUPT;
    if (operations == cut)
        memset(loose + address, 1, BLOCK);
    if (operations++ == cut)
        longjmp(off, 1);
    memset(cells + address, 0xFF, BLOCK);
    memset(loose + address, 0, BLOCK);
    return KEEP_OK;
}

static uint32_t words[4];
static keep_flash_t flash;
static keep_span_t span;
static keep_content_t content;
static keep_t keep;
static uint8_t states[3][2500], memory[2500];

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static void holds(uint32_t bytes, uint8_t digest)
{
    span.bytes = content.tag.bytes = bytes;
    content.tag.digest[0] = digest;
    content.spans = &span;
    content.count = 1;
}

static keep_status boot(void)
{
    memset(&keep, 0xCC, sizeof keep);
    return keep_mount(&keep, &flash, &content);
}

static keep_status save(uint32_t number)
{
    keep_status status = keep_save_begin(&keep, states[number]);

    while (status == KEEP_OK || status == KEEP_MORE) {
        status = keep_save_step(&keep);
        if (status != KEEP_MORE)
            break;
    }
    return status;
}

/* The number of the state that is kept, or 10 and why there is none. */
static uint32_t which(void)
{
    const keep_status status = keep_load(&keep, memory);

    for (uint32_t i = 0; i < 3u && status == KEEP_OK; i++)
        if (memcmp(memory, states[i], span.bytes) == 0)
            return i;
    return 10u + (uint32_t)status;
}

static bool holds_bytes(uint32_t from, uint32_t to, uint32_t number)
{
    for (uint32_t i = from; i + 100u <= to; i++)
        if (memcmp(cells + i, states[number], 100) == 0)
            return true;
    return false;
}

static void blank(uint32_t blocks, uint32_t bytes)
{
    const keep_flash_t all = { flash_read, flash_program, flash_erase, NULL, (uint8_t *)words, 4, BLOCK, blocks, 0, 0xFF };

    flash = all;
    memset(cells, 0xFF, sizeof cells);
    memset(loose, 0, sizeof loose);
    bad = stuck = cut = NONE;
    lies = operations = mood = reads = 0;
    holds(bytes, 0);
    EXPECT(boot() == KEEP_EMPTY);
}

/* A save that is cut at this operation. */
static void cut_at(uint32_t number, uint32_t state)
{
    operations = 0;
    cut = number;
    if (setjmp(off) == 0)
        (void)save(state);
    cut = NONE;
}

/* A doubtful slot that cannot be written once more, as a block is bad: no save may take the place of either. */
static void doubts_that_stay(void)
{
    for (uint32_t first = 0; first < 2u; first++) {
        blank(3, 200);
        EXPECT(save(0) == KEEP_OK);
        EXPECT(boot() == KEEP_OK);
        bad = 2;
        cut_at(1 + 50 + 16, 1); /* an erase, content, header: in the first mark */
        mood = first;
        EXPECT(boot() == KEEP_WORN && which() < 2u);
        EXPECT(save(2) == KEEP_WORN && which() < 2u);
        cut_at(0, 2);
        mood = 1u - first;
        EXPECT(boot() == KEEP_WORN && which() < 2u);
        EXPECT(keep_erase(&keep) == KEEP_CORRUPT && which() == 10u + KEEP_EMPTY);
        EXPECT(save(2) == KEEP_OK && which() == 2u && boot() == KEEP_OK && which() == 2u);
    }
}

/* What was given up says the same now and behind the next boot: the old one, or the new one. */
static void given_up(void)
{
    for (uint32_t mark = COMMITTED; mark < FRONT; mark += 4u) {
        uint32_t now;

        blank(6, 200);
        EXPECT(save(0) == KEEP_OK && boot() == KEEP_OK);
        stuck = BLOCK + mark;
        EXPECT(keep_save_begin(&keep, states[1]) == KEEP_OK);
        for (uint32_t i = 0; i < 102u; i++)
            EXPECT(keep_save_step(&keep) == KEEP_MORE);
        EXPECT(keep.block == 2u && keep_save_abort(&keep) == KEEP_OK && keep_save_abort(&keep) == KEEP_BAD_ARGUMENT);
        now = which();
        EXPECT(now < 2u && boot() == KEEP_OK && which() == now);
        stuck = NONE;
        EXPECT(save(2) == KEEP_OK && boot() == KEEP_OK && which() == 2u);
    }
}

static void forgets(void)
{
    blank(6, 200);
    for (uint32_t i = 0; i < 6u; i++)
        EXPECT(boot() < KEEP_OTHER && save(0) == KEEP_OK); /* one in each block */
    bad = 1;
    EXPECT(keep_erase(&keep) == KEEP_CORRUPT && which() == 10u + KEEP_EMPTY);
    EXPECT(!holds_bytes(0, BLOCK, 0) && !holds_bytes(2 * BLOCK, 6 * BLOCK, 0));
    EXPECT(boot() == KEEP_EMPTY);

    blank(3, 200); /* and at the wear limit, behind which nothing else is written */
    EXPECT(save(0) == KEEP_OK);
    flash.cycles = 1;
    keep.erases = 3;
    EXPECT(save(1) == KEEP_OK && save(1) == KEEP_OK && save(1) == KEEP_WORN && which() == 1u);
    EXPECT(keep_erase(&keep) == KEEP_OK && which() == 10u + KEEP_EMPTY && !holds_bytes(0, 3 * BLOCK, 1) && save(0) == KEEP_WORN);

    blank(3, 200); /* where no other block takes anything */
    EXPECT(save(0) == KEEP_OK);
    stuck = BLOCK;
    bad = 2;
    EXPECT(keep_erase(&keep) == KEEP_CORRUPT && which() == 10u + KEEP_EMPTY && !holds_bytes(0, 3 * BLOCK, 0));

    blank(6, 200); /* what an abandoned save has left beside the slot that says so */
    cut_at(1 + 50 + 16, 1);
    mood = AS_ERASED;
    EXPECT(boot() == KEEP_EMPTY && keep_save_begin(&keep, states[0]) == KEEP_OK);
    for (uint32_t i = 0; i < 100u; i++)
        EXPECT(keep_save_step(&keep) == KEEP_MORE);
    EXPECT(keep_save_abort(&keep) == KEEP_OK && holds_bytes(0, 6 * BLOCK, 0));
    EXPECT(keep_erase(&keep) == KEEP_OK && !holds_bytes(0, 6 * BLOCK, 0) && boot() == KEEP_EMPTY);
}

/* A store that was larger, or held more: what it kept gives way where there is no room beside it, and only there. */
static void another_plan(void)
{
    for (uint32_t blocks = 3; blocks <= MOST; blocks += 2u) {
        for (uint32_t at = 0; at < 200u; at++) {
            uint32_t found;

            blank(MOST, 2500);
            EXPECT(save(0) == KEEP_OK);
            flash.blocks = blocks;
            holds(200, 1);
            EXPECT(boot() == KEEP_OTHER && which() == 10u + KEEP_OTHER);
            cut_at(at, 1);
            for (mood = 0; mood < 2u; mood++) {
                (void)boot();
                found = which();
                EXPECT(found == 1u || found == 10u + KEEP_OTHER || (blocks == 3u && found == 10u + KEEP_EMPTY));
            }
            EXPECT(save(2) == KEEP_OK && which() == 2u && boot() == KEEP_OK && which() == 2u);
            EXPECT(keep_erase(&keep) == KEEP_OK && boot() == KEEP_EMPTY);
        }
    }
}

/* A store that did not mount, or never was, does nothing. */
static void refuses(void)
{
    static const uint32_t geometries[][3] = { { 4, BLOCK, 2 }, { 4, 0, 3 }, { 4, BLOCK, 0 }, { 512, BLOCK, 3 }, { 0x10000, 0x10000, 3 },
                                              { 0, BLOCK, 3 }, { 3, BLOCK, 3 }, { 4, 1026, 3 }, { 32, 128, 6 }, { 4, BLOCK, 2049 } };
    const uint32_t count = sizeof geometries / sizeof geometries[0];

    blank(6, 200);
    for (uint32_t i = 0; i <= count; i++) {
        reads = operations = 0;
        if (i < count) {
            flash.word = geometries[i][0];
            flash.block = geometries[i][1];
            flash.blocks = geometries[i][2];
            EXPECT(boot() == KEEP_BAD_ARGUMENT);
        } else {
            memset(&keep, 0, sizeof keep);
        }
        EXPECT(keep_load(&keep, memory) == KEEP_BAD_ARGUMENT && keep_load(&keep, NULL) == KEEP_BAD_ARGUMENT);
        EXPECT(keep_save_begin(&keep, states[0]) == KEEP_BAD_ARGUMENT && keep_save_step(&keep) == KEEP_BAD_ARGUMENT);
        EXPECT(keep_save_abort(&keep) == KEEP_BAD_ARGUMENT && keep_erase(&keep) == KEEP_BAD_ARGUMENT);
        EXPECT(reads == 0 && operations == 0);
    }
}

/* A read that fails for a moment costs nothing; bytes that are damaged cost what they hold, and no word is written for them. */
static void damage(void)
{
    blank(6, 200);
    EXPECT(save(0) == KEEP_OK && boot() == KEEP_OK && save(1) == KEEP_OK);
    for (lie = BLOCK; lie < BLOCK + 276u; lie++) {
        operations = 0;
        lies = 1;
        EXPECT(boot() == KEEP_OK && which() == 1u && operations == 0);
        lies = 200; /* for the whole boot, and right in the next one */
        EXPECT(boot() < KEEP_OTHER && operations == 0);
        lies = 0;
        EXPECT(boot() == KEEP_OK && which() == 1u);
    }
    cells[BLOCK + FRONT + 20] ^= 1u;
    EXPECT(boot() == KEEP_OK && which() == 0u); /* the one before */
    cells[FRONT + 20] ^= 1u;
    EXPECT(boot() == KEEP_EMPTY && operations == 0);
    cells[BLOCK + FRONT + 20] ^= 1u;
    EXPECT(boot() == KEEP_OK && which() == 1u && save(2) == KEEP_OK && boot() == KEEP_OK && which() == 2u);
}

static void numbers_end(void)
{
    blank(6, 200);
    keep.sequence = 0x7FFFFFFEu;
    EXPECT(save(0) == KEEP_OK && save(1) == KEEP_OK && keep.sequence == 0x80000000u);
    EXPECT(save(2) == KEEP_WORN && boot() == KEEP_OK && which() == 1u && save(2) == KEEP_WORN);
    EXPECT(keep_erase(&keep) == KEEP_OK && boot() == KEEP_EMPTY);
}

static void geometry(uint32_t unit, uint32_t block)
{
    flash.word = unit;
    flash.block = block;
    flash.blocks = 8u * BLOCK / block;
    operations = 0;
}

/*
 * A store that is read with another geometry than it was written with: no other bytes than ones that were saved, and none at all
 * with another unit. Only a larger unit makes the mount write, else the right geometry finds all of it again.
 * Whether the state that was found was an older one.
 */
static bool other_geometry(uint32_t unit, uint32_t other, uint32_t block, uint32_t saves, bool resets)
{
    bool older = false;

    blank(8, 200);
    geometry(unit, BLOCK);
    EXPECT(boot() == KEEP_EMPTY);
    for (uint32_t n = 0; n < saves; n++)
        EXPECT((n == 0 || !resets || boot() == KEEP_OK) && save(n) == KEEP_OK);
    geometry(other, block);
    EXPECT(boot() == (other == unit ? KEEP_OK : KEEP_EMPTY));
    if (other == unit) {
        EXPECT(which() < saves && (block != BLOCK || which() == saves - 1u));
        older = which() != saves - 1u;
    }
    EXPECT(other > unit || operations == 0);
    geometry(unit, BLOCK);
    EXPECT(other > unit || (boot() == KEEP_OK && which() == saves - 1u));
    return older;
}

static void other_geometries(void)
{
    static const uint32_t units[] = { 4, 8, 16 }, blocks[] = { BLOCK / 2, BLOCK, 2 * BLOCK };
    bool older[3] = { false, false, false };

    for (uint32_t i = 0; i < 3u * 3u * 3u; i++)
        for (uint32_t saves = 1; saves <= 6u; saves++)
            if (other_geometry(units[i % 3u], units[i / 3u % 3u], blocks[i / 9u], (saves + 1u) / 2u, saves % 2u == 0))
                older[i / 9u] = true;
    EXPECT(older[0] && !older[1] && older[2]); /* as KEEP.md says */
}

int main(void)
{
    for (uint32_t i = 0; i < sizeof states; i++)
        states[i / sizeof states[0]][i % sizeof states[0]] = (uint8_t)(i * 7u + i / 251u + i / sizeof states[0] * 100u);
    doubts_that_stay();
    given_up();
    forgets();
    another_plan();
    refuses();
    damage();
    numbers_end();
    other_geometries();
    return 0;
}
