/*
 * firmware/migrate.c on states of two Plans: one keeps its state, the other takes over what it knows. Reads cases from stdin, as
 * migrations.py writes them, and answers each with status, tensors taken, and the state behind. A case whose kept bytes are then
 * damaged one after the other must change nothing.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate.h"

static uint8_t *cells, *word;
static keep_flash_t flash;
static uint32_t failing = UINT32_MAX; /* reads until one fails */

static keep_status flash_read(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    (void)context;
    if (address + count > flash.block * flash.blocks)
        abort();
    if (failing-- == 0)
        return KEEP_IO;
    memcpy(to, cells + address, count);
    return KEEP_OK;
}

static keep_status flash_program(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    memcpy(cells + address, from, count);
    return KEEP_OK;
}

static keep_status flash_erase(void *context, uint32_t address)
{
    (void)context;
    memset(cells + address, 0xFF, flash.block);
    return KEEP_OK;
}

static void get(void *to, size_t count)
{
    if (fread(to, 1, count, stdin) != count)
        exit(2);
}

static uint32_t number(void)
{
    uint32_t n;

    get(&n, sizeof n);
    return n;
}

static void *bytes(size_t count)
{
    void *const memory = malloc(count + 1u);

    get(memory, count);
    return memory;
}

typedef struct {
    keep_content_t content;
    uint8_t *manifest;
    uint32_t state_bytes;
    uint8_t *state;
} side_t;

/* Pieces, the manifest, tag, and a state. */
static side_t side(void)
{
    side_t s;
    const uint32_t pieces = number(), length = number();
    keep_span_t *const spans = calloc(pieces + 1u, sizeof *spans);

    memset(&s, 0, sizeof s);
    for (uint32_t i = 0; i < pieces; i++) {
        spans[i].offset = number();
        spans[i].bytes = number();
        s.content.tag.bytes += spans[i].bytes;
    }
    s.manifest = bytes(length);
    spans[pieces].bytes = length;
    spans[pieces].fixed = s.manifest;
    s.content.tag.bytes += length;
    s.content.tag.numeric_version = number();
    s.content.tag.layout = number();
    get(s.content.tag.digest, sizeof s.content.tag.digest);
    s.content.spans = spans;
    s.content.count = pieces + (length > 0 ? 1u : 0u);
    s.state_bytes = number();
    s.state = bytes(s.state_bytes);
    return s;
}

static void save(keep_t *keep, uint8_t *state)
{
    keep_status status = keep_save_begin(keep, state);

    while (status == KEEP_OK || status == KEEP_MORE) {
        status = keep_save_step(keep);
        if (status == KEEP_OK)
            return;
    }
    exit(3);
}

int main(void)
{
    uint32_t damages;

    while (fread(&damages, sizeof damages, 1, stdin) == 1) {
        const uint32_t unit = number(), block = number(), blocks = number(), saves = number();
        side_t old, own;
        keep_migration_t to;
        keep_t keep;
        uint8_t *state, *marks;
        uint32_t answer[2], front;

        flash = (keep_flash_t){ .read = flash_read, .program = flash_program, .erase = flash_erase, .word = unit, .block = block,
            .blocks = blocks, .erased = 0xFF };
        cells = malloc((size_t)block * blocks);
        flash.buffer = word = malloc(unit < 4u ? 4u : unit);
        memset(cells, 0xFF, (size_t)block * blocks);
        old = side();
        own = side();
        to.count = number();
        to.always = number();
        to.needs_count = number();
        to.layout = number();
        to.entries = (const keep_entry_t *)(const void *)own.manifest;
        to.places = bytes(to.count * sizeof(keep_place_t));
        to.needs = bytes(to.needs_count * sizeof(keep_need_t));
        for (uint32_t i = 0; i < saves; i++) { /* a mount between two: each takes blocks of its own, and the ring goes round */
            if (keep_mount(&keep, &flash, &old.content) == KEEP_BAD_ARGUMENT)
                exit(4);
            save(&keep, old.state);
        }
        state = malloc(own.state_bytes + 1u);
        marks = malloc(to.count + 1u);
        memcpy(state, own.state, own.state_bytes);
        (void)keep_mount(&keep, &flash, &own.content);
        answer[0] = keep_migrate(&keep, &to, state, marks);
        answer[1] = keep.done;
        fwrite(answer, sizeof answer, 1, stdout);
        fwrite(state, 1, own.state_bytes, stdout);
        front = keep.live.at + keep.front;
        for (uint32_t i = 0; i < damages && keep.live.bytes > 0; i++) {
            const uint32_t at = (front + (i * 97u) % keep.live.bytes) % (block * blocks);

            memcpy(state, own.state, own.state_bytes);
            cells[at] ^= (uint8_t)(1u << i % 8u);
            if (keep_migrate(&keep, &to, state, marks) != KEEP_CORRUPT || memcmp(state, own.state, own.state_bytes) != 0)
                exit(5);
            cells[at] ^= (uint8_t)(1u << i % 8u);
            failing = i;
            switch (keep_migrate(&keep, &to, state, marks)) {
            case KEEP_IO:
                break;
            default: /* it has read all that it needed */
                if (failing > i)
                    exit(6);
            }
            failing = UINT32_MAX;
        }
        if (keep_mount(&keep, &flash, &old.content) != KEEP_OK) /* it is there until a save is whole */
            exit(7);
        fflush(stdout);
        free(cells);
        free(word);
    }
    return 0;
}
