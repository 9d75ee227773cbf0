#include "keep.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "crc32.h"

#define MAGIC 0x31504B53u /* "SKP1" */
#define MARK 0xA5u        /* every byte of a mark: no erased one */
#define SMALLEST_UNIT 4u /* bytes; narrower words are programmed so many at a time */
#define NO_BLOCK 0xFFFFu
#define MOST_BLOCK 0x100000u
#define MOST_BLOCKS 0x800u /* so that all bytes can be numbered in 31 bits */
#define MOST_WORD 0x100u
#define MOST_CYCLES 0x1FFFFFu

enum { IDLE, ERASING, WRITING, COMPARING, COMMITTING };
enum { COMMITTED, CONFIRMED, SETTLED, MARKS }; /* behind a header: each says that the one before it is done */
enum { OPEN = 1u, UNSETTLED = 2u, COPYING = 4u };
/* OPEN: the block is erased from `offset` on, by this store and since it was mounted. */

typedef struct {
    uint32_t magic;
    uint32_t sequence;
    uint32_t crc; /* of content */
    uint32_t erases;
    keep_tag_t tag;
    uint32_t check; /* CRC of all before */
} header_t;

/* ---- places ---------------------------------------------------------------------------------------------------- */

static uint32_t rounded(const keep_t *keep, uint32_t bytes)
{
    return (bytes + keep->unit - 1u) & ~(keep->unit - 1u);
}

static uint32_t slot_bytes(const keep_t *keep, uint32_t bytes)
{
    return keep->front + rounded(keep, bytes);
}

/* How many blocks hold so many bytes, at least 1. No division, which is a library of its own on an ARMv6-M. */
static uint32_t blocks_of(const keep_t *keep, uint32_t bytes)
{
    uint32_t count = 1;

    for (; bytes > keep->flash->block; bytes -= keep->flash->block)
        count++;
    return count;
}

static uint32_t wrapped(const keep_t *keep, uint32_t block)
{
    while (block >= keep->flash->blocks)
        block -= keep->flash->blocks;
    return block;
}

/* Slots of several blocks go on in the first block behind the last one. */
static uint32_t address(const keep_t *keep, uint32_t block, uint32_t offset)
{
    const uint32_t end = keep->flash->blocks * keep->flash->block;
    const uint32_t at = block * keep->flash->block + offset;

    return at < end ? at : at - end;
}

/* ---- the flash ------------------------------------------------------------------------------------------------- */

static keep_status read(const keep_t *keep, uint32_t at, uint8_t *to, uint32_t count)
{
    const keep_status status = keep->flash->read(keep->flash->context, at, to, count);

    return status == KEEP_OK || status == KEEP_CORRUPT ? status : KEEP_IO;
}

/* Programs the unit in keep->word. */
static keep_status program(const keep_t *keep, uint32_t at)
{
    return keep->flash->program(keep->flash->context, at, keep->word, keep->unit);
}

static keep_status erase(keep_t *keep, uint32_t block)
{
    keep->erases++;
    return keep->flash->erase(keep->flash->context, block * keep->flash->block);
}

/* OK where a header stands, EMPTY where none does. */
static keep_status header_at(const keep_t *keep, uint32_t block, uint32_t offset, header_t *header)
{
    const keep_status status = read(keep, address(keep, block, offset), (uint8_t *)header, sizeof *header);

    if (status == KEEP_IO)
        return KEEP_IO;
    if (status != KEEP_OK || header->magic != MAGIC || header->sequence == UINT32_MAX ||
        header->tag.bytes > keep->flash->blocks * keep->flash->block - keep->front ||
        header->check != crc32_add(0, (const uint8_t *)header, offsetof(header_t, check)))
        return KEEP_EMPTY;
    return KEEP_OK;
}

static uint32_t mark_offset(const keep_t *keep, uint32_t offset, uint32_t mark)
{
    return offset + rounded(keep, sizeof(header_t)) + mark * keep->unit;
}

/* OK where each byte of a mark reads as `value`, else EMPTY. */
static keep_status mark_reads(const keep_t *keep, uint32_t block, uint32_t offset, uint32_t mark, uint8_t value)
{
    keep_status status = read(keep, address(keep, block, mark_offset(keep, offset, mark)), keep->word, keep->unit);

    for (uint32_t i = 0; i < keep->unit && status == KEEP_OK; i++) {
        if (keep->word[i] != value)
            status = KEEP_CORRUPT;
    }
    return status == KEEP_CORRUPT ? KEEP_EMPTY : status;
}

/* ---- what is kept ---------------------------------------------------------------------------------------------- */

/* Copies count bytes of content, from byte `at` on, between the memory and keep->word. */
static void carry(const keep_t *keep, uint8_t *state, uint32_t at, uint32_t count, bool load)
{
    uint8_t *word = keep->word;

    for (uint32_t i = 0; i < keep->content->count && count > 0; i++) {
        const keep_span_t *const span = &keep->content->spans[i];

        if (at < span->bytes) {
            const uint32_t part = count < span->bytes - at ? count : span->bytes - at;
            uint8_t *const place = state + span->offset + at;

            memcpy(load ? place : word, load ? word : place, part);
            word += part;
            count -= part;
            at = 0;
        } else {
            at -= span->bytes;
        }
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Reads the content of the live slot, to `state` where that is no null pointer. OK, CORRUPT or IO. */
static keep_status stream(const keep_t *keep, uint8_t *state, uint32_t wanted)
{
    uint32_t crc = 0;

    for (uint32_t done = 0; done < keep->live_bytes; done += keep->unit) {
        const uint32_t count = least(keep->unit, keep->live_bytes - done);
        const uint32_t at = address(keep, keep->live_block, keep->live_offset + keep->front + done);
        const keep_status status = read(keep, at, keep->word, keep->unit);

        if (status != KEEP_OK)
            return status;
        crc = crc32_add(crc, keep->word, count);
        if (state != NULL)
            carry(keep, state, done, count, true);
    }
    return crc == wanted ? KEEP_OK : KEEP_CORRUPT;
}

/* Whether the live slot has this content, and its header. */
static keep_status kept(const keep_t *keep, header_t *header)
{
    keep_status status;

    if (keep->live_block == NO_BLOCK || keep->live_bytes == 0)
        return KEEP_EMPTY;
    status = header_at(keep, keep->live_block, keep->live_offset, header);
    if (status != KEEP_OK)
        return status == KEEP_EMPTY ? KEEP_CORRUPT : status;
    return memcmp(&header->tag, &keep->content->tag, sizeof header->tag) == 0 ? KEEP_OK : KEEP_OTHER;
}

/* ---- saving ---------------------------------------------------------------------------------------------------- */

static keep_status ended(keep_t *keep, keep_status status)
{
    keep->phase = IDLE;
    keep->flags &= (uint8_t)~(OPEN | COPYING);
    keep->flags |= UNSETTLED;
    return status;
}

/* Whether `count` blocks from `block` on and those of another slot meet. */
static bool meet(const keep_t *keep, uint32_t block, uint32_t count, uint32_t other, uint32_t others)
{
    const uint32_t blocks = keep->flash->blocks;

    return other != NO_BLOCK &&
           (wrapped(keep, other + blocks - block) < count || wrapped(keep, block + blocks - other) < others);
}

/* Takes the next blocks behind the live slot that nothing needs and that were not given up. MORE, or WORN. */
static keep_status take_blocks(keep_t *keep)
{
    const uint32_t need = blocks_of(keep, slot_bytes(keep, keep->bytes));
    const uint32_t live = blocks_of(keep, slot_bytes(keep, keep->live_bytes));
    const uint32_t limit = keep->flash->cycles * keep->flash->blocks;
    uint32_t block;

    keep->flags &= (uint8_t)~OPEN;
    keep->offset = 0;
    keep->done = 0;
    keep->phase = ERASING;
    do {
        if (keep->tried >= keep->flash->blocks || (limit > 0 && keep->erases + need > limit))
            return ended(keep, KEEP_WORN);
        block = wrapped(keep, (keep->live_block == NO_BLOCK ? 0 : keep->live_block + 1u) + keep->tried);
        keep->block = (uint16_t)block;
        keep->tried++;
    } while (meet(keep, block, need, keep->live_block, live) ||
             meet(keep, block, need, keep->anchor, keep->anchor_blocks));
    keep->tried--;
    return KEEP_MORE;
}

/* Goes elsewhere, where the flash at this byte of the slot did not take what it should. */
static keep_status failed(keep_t *keep, keep_status status, uint32_t at)
{
    if (status == KEEP_IO)
        return ended(keep, KEEP_IO);
    if (keep->offset == 0)
        keep->tried += (uint16_t)blocks_of(keep, at + 1u);
    return take_blocks(keep);
}

static keep_status start(keep_t *keep, uint8_t *state, uint32_t bytes)
{
    keep->state = state;
    keep->bytes = bytes;
    keep->tried = 0;
    keep->done = 0;
    if ((keep->flags & OPEN) == 0 || keep->offset + slot_bytes(keep, bytes) > keep->flash->block)
        return take_blocks(keep);
    keep->phase = WRITING;
    return KEEP_MORE;
}

static keep_status erase_next(keep_t *keep)
{
    const keep_status status = erase(keep, wrapped(keep, keep->block + keep->done));

    if (status != KEEP_OK)
        return failed(keep, status, keep->done * keep->flash->block);
    keep->done++;
    if (keep->done == blocks_of(keep, slot_bytes(keep, keep->bytes))) {
        keep->done = 0;
        keep->phase = WRITING;
    }
    return KEEP_MORE;
}

/* Brings the unit of content at keep->done into keep->word, filled up with erased bytes. */
static keep_status fetch(keep_t *keep, uint32_t count)
{
    const uint32_t at = keep->live_offset + keep->front + keep->done;

    if ((keep->flags & COPYING) != 0)
        return read(keep, address(keep, keep->live_block, at), keep->word, keep->unit);
    memset(keep->word, keep->flash->erased, keep->unit);
    carry(keep, keep->state, keep->done, count, false);
    return KEEP_OK;
}

/* The next unit of content: programmed, or read back and compared. */
static keep_status write_next(keep_t *keep)
{
    const uint32_t count = least(keep->unit, keep->bytes - keep->done);
    const uint32_t offset = keep->front + keep->done;
    const uint32_t at = address(keep, keep->block, keep->offset + offset);
    keep_status status;

    if (count > 0) {
        status = fetch(keep, count);
        if (status != KEEP_OK)
            return ended(keep, status); /* the source of a copy */
        if (keep->phase == WRITING) {
            status = program(keep, at);
        } else {
            const uint32_t wanted = crc32_add(keep->crc, keep->word, count);

            status = read(keep, at, keep->word, keep->unit);
            keep->crc = crc32_add(keep->crc, keep->word, count);
            if (status == KEEP_OK && keep->crc != wanted)
                status = KEEP_CORRUPT;
        }
        if (status != KEEP_OK)
            return failed(keep, status, offset);
    }
    keep->done += count;
    if (keep->done == keep->bytes) {
        keep->done = 0;
        keep->crc = keep->phase == WRITING ? 0 : keep->crc;
        keep->phase++;
    }
    return KEEP_MORE;
}

/* The header of the slot that is being written. */
static keep_status describe(keep_t *keep, header_t *header)
{
    if ((keep->flags & COPYING) != 0) {
        keep_status status = header_at(keep, keep->live_block, keep->live_offset, header);

        if (status != KEEP_OK || header->crc != keep->crc)
            return status == KEEP_IO ? KEEP_IO : KEEP_CORRUPT;
    } else {
        header->magic = MAGIC;
        header->tag = keep->content->tag;
        header->tag.bytes = keep->bytes;
        header->crc = keep->crc;
    }
    keep->sequence++; /* another attempt has another number */
    header->sequence = keep->sequence;
    header->erases = keep->erases;
    header->check = crc32_add(0, (const uint8_t *)header, offsetof(header_t, check));
    return KEEP_OK;
}

static keep_status write_header(const keep_t *keep, const header_t *header)
{
    keep_status status = KEEP_OK;
    header_t found;

    for (uint32_t at = 0; at < sizeof *header && status == KEEP_OK; at += keep->unit) {
        memset(keep->word, keep->flash->erased, keep->unit);
        memcpy(keep->word, (const uint8_t *)header + at, least(keep->unit, sizeof *header - at));
        status = program(keep, address(keep, keep->block, keep->offset + at));
    }
    if (status == KEEP_OK)
        status = header_at(keep, keep->block, keep->offset, &found);
    if (status == KEEP_EMPTY || (status == KEEP_OK && found.check != header->check))
        status = KEEP_CORRUPT;
    return status;
}

static keep_status write_mark(const keep_t *keep, uint32_t mark)
{
    keep_status status;

    memset(keep->word, MARK, keep->unit);
    status = program(keep, address(keep, keep->block, mark_offset(keep, keep->offset, mark)));
    if (status == KEEP_OK)
        status = mark_reads(keep, keep->block, keep->offset, mark, MARK);
    return status == KEEP_EMPTY ? KEEP_CORRUPT : status;
}

/* Header, then the mark that makes the slot count, then those that say that it is done. */
static keep_status commit(keep_t *keep)
{
    header_t header;
    keep_status status = describe(keep, &header);

    if (status != KEEP_OK)
        return ended(keep, status);
    status = write_header(keep, &header);
    for (uint32_t mark = COMMITTED; mark < MARKS && status == KEEP_OK; mark++)
        status = write_mark(keep, mark);
    if (status != KEEP_OK)
        return failed(keep, status, 0);
    keep->live_block = keep->block;
    keep->live_offset = keep->offset;
    keep->live_bytes = keep->bytes;
    keep->offset += slot_bytes(keep, keep->bytes);
    keep->flags = OPEN;
    keep->phase = IDLE;
    return KEEP_OK;
}

static keep_status finish(keep_t *keep)
{
    keep_status status;

    do
        status = keep_save_step(keep);
    while (status == KEEP_MORE);
    return status;
}

/* ---- mounting -------------------------------------------------------------------------------------------------- */

/*
 * The committed slot with the highest sequence number below `below` becomes the live one, and *sequence its number: OK, EMPTY or IO.
 * least: COMMITTED, or CONFIRMED for one whose first mark is known to be done. keep->sequence becomes the highest number of any
 * header. Where `below` is 0 nothing is believed, and what may be so later is erased. Slots follow each other within a block.
 */
static keep_status scan(keep_t *keep, uint32_t below, uint32_t least, uint32_t *sequence)
{
    *sequence = 0;
    keep->live_block = NO_BLOCK;
    for (uint32_t block = 0; block < keep->flash->blocks; block++) {
        keep_status status = KEEP_OK;
        uint32_t offset = 0;

        while (status == KEEP_OK && offset + keep->front <= keep->flash->block) {
            header_t header;

            status = header_at(keep, block, offset, &header);
            if (status != KEEP_OK)
                break;
            if (header.sequence > keep->sequence)
                keep->sequence = header.sequence;
            if (below == 0) {
                status = mark_reads(keep, block, offset, CONFIRMED, keep->flash->erased);
                if (status == KEEP_OK) {
                    (void)erase(keep, block); /* what cannot be erased is outdone by the next save's number */
                    break;
                }
            } else if (header.sequence < below && header.sequence > *sequence) {
                status = mark_reads(keep, block, offset, COMMITTED, MARK);
                if (status == KEEP_OK && least == CONFIRMED) {
                    status = mark_reads(keep, block, offset, CONFIRMED, keep->flash->erased);
                    status = status == KEEP_OK ? KEEP_EMPTY : status == KEEP_EMPTY ? KEEP_OK : status;
                }
                if (status == KEEP_OK) {
                    *sequence = header.sequence;
                    keep->live_block = (uint16_t)block;
                    keep->live_offset = offset;
                    keep->live_bytes = header.tag.bytes;
                }
            }
            offset += slot_bytes(keep, header.tag.bytes);
            status = status == KEEP_EMPTY ? KEEP_OK : status;
        }
        if (status == KEEP_IO)
            return KEEP_IO;
    }
    return *sequence > 0 ? KEEP_OK : KEEP_EMPTY;
}

/* Whether the live slot reads as it was written: OK, CORRUPT or IO. */
static keep_status whole(keep_t *keep)
{
    header_t header;
    const keep_status status = header_at(keep, keep->live_block, keep->live_offset, &header);

    if (status != KEEP_OK)
        return status == KEEP_IO ? KEEP_IO : KEEP_CORRUPT;
    keep->live_bytes = header.tag.bytes;
    keep->erases = header.erases;
    return stream(keep, NULL, header.crc);
}

/* Copies the live slot, which may read otherwise another time, or be outdone by one that does. What counted before stays. */
static keep_status copy(keep_t *keep, uint32_t sequence)
{
    const keep_t live = *keep;
    keep_status status = scan(keep, sequence, CONFIRMED, &sequence);

    if (status == KEEP_IO)
        return status;
    keep->anchor = keep->live_block;
    keep->anchor_blocks = (uint16_t)blocks_of(keep, slot_bytes(keep, keep->live_bytes));
    keep->live_block = live.live_block;
    keep->live_offset = live.live_offset;
    keep->live_bytes = live.live_bytes;
    keep->flags = COPYING;
    status = start(keep, NULL, keep->live_bytes);
    status = status == KEEP_MORE ? finish(keep) : status;
    keep->anchor = NO_BLOCK;
    return status;
}

/* Looks at the whole flash, and leaves nothing in it that may read otherwise another time. */
static keep_status settle(keep_t *keep)
{
    uint32_t sequence = UINT32_MAX;
    header_t header;
    keep_status status;

    keep->sequence = 0;
    do {
        status = scan(keep, sequence, COMMITTED, &sequence);
        if (status == KEEP_OK)
            status = whole(keep);
        if (status == KEEP_OK) {
            status = mark_reads(keep, keep->live_block, keep->live_offset, SETTLED, keep->flash->erased);
            if (status == KEEP_OK || (status == KEEP_EMPTY && keep->sequence > sequence))
                status = copy(keep, sequence);
            else if (status == KEEP_EMPTY)
                status = KEEP_OK;
        }
    } while (status == KEEP_CORRUPT);
    if (status == KEEP_EMPTY && keep->sequence > 0)
        status = scan(keep, 0, COMMITTED, &sequence);
    if (status == KEEP_OK || status == KEEP_EMPTY) {
        keep->flags = (uint8_t)(keep->flags & OPEN);
        status = kept(keep, &header);
    }
    return status;
}

/* What must hold before anything is done. */
static keep_status ready(keep_t *keep)
{
    keep_status status;

    if (keep->phase != IDLE)
        return KEEP_BUSY;
    if ((keep->flags & UNSETTLED) == 0)
        return KEEP_OK;
    status = settle(keep);
    return status == KEEP_IO || status == KEEP_CORRUPT ? status : KEEP_OK;
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

keep_status keep_mount(keep_t *keep, const keep_flash_t *flash, const keep_content_t *content, uint8_t *word)
{
    memset(keep, 0, sizeof *keep);
    keep->flash = flash;
    keep->content = content;
    keep->word = word;
    keep->live_block = NO_BLOCK;
    keep->anchor = NO_BLOCK;
    keep->flags = UNSETTLED;
    keep->unit = (uint16_t)(flash->word < SMALLEST_UNIT ? SMALLEST_UNIT : flash->word);
    keep->front = (uint16_t)(rounded(keep, sizeof(header_t)) + MARKS * keep->unit);
    if (flash->word == 0 || flash->word > MOST_WORD || (flash->word & (flash->word - 1u)) != 0 ||
        flash->block > MOST_BLOCK || flash->blocks > MOST_BLOCKS || flash->cycles > MOST_CYCLES ||
        flash->block != rounded(keep, flash->block) || flash->block < keep->front || content->tag.bytes == 0 ||
        content->tag.bytes > MOST_BLOCK || 3u * blocks_of(keep, slot_bytes(keep, content->tag.bytes)) > flash->blocks)
        return KEEP_BAD_ARGUMENT;
    return settle(keep);
}

keep_status keep_load(keep_t *keep, uint8_t *state)
{
    header_t header;
    keep_status status = ready(keep);

    if (status == KEEP_OK)
        status = kept(keep, &header);
    return status == KEEP_OK ? stream(keep, state, header.crc) : status;
}

keep_status keep_save_begin(keep_t *keep, uint8_t *state)
{
    keep_status status = ready(keep);

    if (status == KEEP_OK)
        status = start(keep, state, keep->content->tag.bytes);
    return status == KEEP_MORE ? KEEP_OK : status;
}

keep_status keep_save_step(keep_t *keep)
{
    switch (keep->phase) {
    case ERASING:
        return erase_next(keep);
    case WRITING:
    case COMPARING:
        return write_next(keep);
    case COMMITTING:
        return commit(keep);
    default:
        return KEEP_BAD_ARGUMENT;
    }
}

keep_status keep_save_abort(keep_t *keep)
{
    keep->phase = IDLE;
    keep->flags &= (uint8_t)~OPEN; /* some words behind `offset` are programmed */
    return KEEP_OK;
}

keep_status keep_erase(keep_t *keep)
{
    keep_status status = ready(keep);

    if (status != KEEP_OK)
        return status;
    if (keep->live_block == NO_BLOCK || keep->live_bytes > 0) {
        keep->flags &= (uint8_t)~OPEN; /* not beside what is to go */
        status = start(keep, NULL, 0);
        status = status == KEEP_MORE ? finish(keep) : status;
    }
    for (uint32_t i = 1; i < keep->flash->blocks && status == KEEP_OK; i++)
        status = erase(keep, wrapped(keep, keep->live_block + i));
    keep->flags &= (uint8_t)~OPEN; /* the next save begins in a block that is known to be erased by it */
    return status;
}
