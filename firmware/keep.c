#include "keep.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "crc32.h"

#define MAGIC 0x31504B53u /* "SKP1" */
#define MARK 0xA5u        /* every byte of a mark: no erased one */
#define SMALLEST_UNIT 4u /* bytes; narrower words are programmed so many at a time */
#define MOST_BLOCK 0x100000u
#define MOST_BLOCKS 0x800u /* so that all bytes can be numbered in 31 bits */
#define MOST_WORD 0x100u
#define MOST_CYCLES 0x1FFFFFu
#define MOST_SEQUENCE 0x7FFFFFFFu /* with which a save begins: numbers remain for its attempts, for mounts and erasures */

enum { IDLE, ERASING, WRITING, COMPARING, COMMITTING };
enum { COMMITTED, CONFIRMED, SETTLED, MARKS }; /* behind a header: each says that the one before it is done */
enum { OPEN = 1u, UNSETTLED = 2u, COPYING = 4u, FAULT = 8u };
/* OPEN: the block is erased from `at` on, by this store and since it was mounted. FAULT: a read failed, so that what follows from it says nothing. */

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

/* Blocks of a slot. */
static uint32_t slot_blocks(const keep_t *keep, uint32_t bytes)
{
    return blocks_of(keep, slot_bytes(keep, bytes));
}

static uint32_t wrapped(const keep_t *keep, uint32_t block)
{
    while (block >= keep->flash->blocks)
        block -= keep->flash->blocks;
    return block;
}

/* Slots of several blocks go on in the first block behind the last one. */
static uint32_t address(const keep_t *keep, uint32_t at)
{
    const uint32_t end = keep->flash->blocks * keep->flash->block;

    return at < end ? at : at - end;
}

/* ---- the flash ------------------------------------------------------------------------------------------------- */

static bool read(keep_t *keep, uint32_t at, uint8_t *to, uint32_t count)
{
    keep_status status = keep->flash->read(keep->flash->context, at, to, count);

    if (status == KEEP_CORRUPT) /* once more: it may not have been the cells */
        status = keep->flash->read(keep->flash->context, at, to, count);
    if (status != KEEP_OK && status != KEEP_CORRUPT)
        keep->flags |= FAULT;
    return status == KEEP_OK;
}

/* Reads a unit into keep->flash->buffer. */
static bool fetch_unit(keep_t *keep, uint32_t at)
{
    return read(keep, at, keep->flash->buffer, keep->unit);
}

/* What a look at the flash has found. */
static keep_status found(const keep_t *keep, bool good, keep_status otherwise)
{
    if ((keep->flags & FAULT) != 0)
        return KEEP_IO;
    return good ? KEEP_OK : otherwise;
}

/* Programs the unit in keep->flash->buffer. */
static keep_status program(const keep_t *keep, uint32_t at)
{
    return keep->flash->program(keep->flash->context, at, keep->flash->buffer, keep->unit);
}

static keep_status erase(keep_t *keep, uint32_t block)
{
    keep->erases++;
    return keep->flash->erase(keep->flash->context, block * keep->flash->block);
}

static void fill(const keep_t *keep, uint8_t value)
{
    memset(keep->flash->buffer, value, keep->unit);
}

static void blank(const keep_t *keep)
{
    fill(keep, keep->flash->erased);
}

/* Whether a header stands there. */
static bool header_at(keep_t *keep, uint32_t at, header_t *header)
{
    return read(keep, at, (uint8_t *)header, sizeof *header) && header->magic == MAGIC &&
           header->tag.bytes <= keep->flash->blocks * keep->flash->block - keep->front &&
           header->check == crc32_add(0, (const uint8_t *)header, offsetof(header_t, check));
}

/* Where a mark of the slot at `at` stands. */
static uint32_t mark_of(const keep_t *keep, uint32_t at, uint32_t mark)
{
    return at + keep->front - (MARKS - mark) * keep->unit;
}

/* Whether each byte of a mark reads as `value`. */
static bool mark_reads(keep_t *keep, uint32_t at, uint32_t mark, uint8_t value)
{
    bool same = fetch_unit(keep, mark_of(keep, at, mark));

    for (uint32_t i = 0; i < keep->unit && same; i++)
        same = keep->flash->buffer[i] == value;
    return same;
}

/* ---- what is kept ---------------------------------------------------------------------------------------------- */

/* Copies count bytes of content, from byte `at` on, between the memory and keep->flash->buffer. */
static void carry(const keep_t *keep, uint8_t *state, uint32_t at, uint32_t count, bool load)
{
    const keep_span_t *span = keep->content->spans;
    const keep_span_t *const end = span + keep->content->count;
    uint8_t *word = keep->flash->buffer;

    for (; span < end; span++) {
        if (at < span->bytes) {
            const uint32_t part = count < span->bytes - at ? count : span->bytes - at;
            uint8_t *const place = state + span->offset + at;

            if (span->fixed != NULL)
                memcpy(word, span->fixed + at, part); /* what was read of them goes */
            else
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

/* Reads the content of the live slot, to `state` where that is no null pointer; whether it is what was written. */
static bool stream(keep_t *keep, uint8_t *state)
{
    uint32_t crc = 0;

    for (uint32_t done = 0; done < keep->live.bytes; done += keep->unit) {
        const uint32_t count = least(keep->unit, keep->live.bytes - done);

        if (!fetch_unit(keep, address(keep, keep->live.at + keep->front + done)))
            return false;
        crc = crc32_add(crc, keep->flash->buffer, count);
        if (state != NULL)
            carry(keep, state, done, count, true);
    }
    return crc == keep->crc;
}

static bool live_header(keep_t *keep, header_t *header)
{
    return header_at(keep, keep->live.at, header);
}

/* Whether the live slot has this content, and the CRC of that. */
static keep_status kept(keep_t *keep)
{
    header_t header;

    if (keep->live.bytes == 0)
        return KEEP_EMPTY;
    if (!live_header(keep, &header))
        return found(keep, false, KEEP_CORRUPT);
    keep->crc = header.crc;
    if (memcmp((const uint8_t *)&header.tag, (const uint8_t *)&keep->content->tag, sizeof header.tag) != 0)
        return KEEP_OTHER;
    return KEEP_OK;
}

/* ---- saving ---------------------------------------------------------------------------------------------------- */

static void set_live(keep_t *keep, uint32_t block, uint32_t at, uint32_t bytes)
{
    keep->live.at = at;
    keep->live.bytes = bytes;
    keep->live.block = (uint16_t)block;
    keep->live.blocks = (uint16_t)slot_blocks(keep, bytes);
}

static keep_status ended(keep_t *keep, keep_status status)
{
    keep->phase = IDLE;
    keep->flags = UNSETTLED;
    return status;
}

/* Whether the anchor lies outside of so many blocks from `block` on. */
static bool beside_anchor(const keep_t *keep, uint32_t block, uint32_t count)
{
    const uint32_t blocks = keep->flash->blocks;
    uint32_t distance;

    if (keep->anchor == NULL || keep->anchor->blocks == 0)
        return true;
    distance = wrapped(keep, block + blocks - keep->anchor->block);
    return distance >= keep->anchor->blocks && distance + count <= blocks;
}

/* Takes the next blocks behind the live slot that nothing needs and that were not given up. MORE, or WORN. */
static keep_status take_blocks(keep_t *keep)
{
    const uint32_t blocks = keep->flash->blocks;
    const uint32_t need = slot_blocks(keep, keep->bytes);
    const uint32_t limit = keep->flash->cycles * blocks;

    keep->flags &= (uint8_t)~OPEN;
    for (; keep->live.blocks + keep->tried + need <= blocks; keep->tried++) {
        const uint32_t block = wrapped(keep, (uint32_t)keep->live.block + keep->live.blocks + keep->tried);

        if (limit > 0 && keep->bytes > 0 && keep->erases + need > limit)
            break;
        if (beside_anchor(keep, block, need)) {
            keep->block = (uint16_t)block;
            keep->at = block * keep->flash->block;
            keep->done = 0;
            keep->phase = ERASING;
            return KEEP_MORE;
        }
    }
    return ended(keep, KEEP_WORN);
}

/* Goes elsewhere, where the flash at this byte of the slot did not take what it should. */
static keep_status failed(keep_t *keep, keep_status status, uint32_t at)
{
    if (status == KEEP_IO)
        return ended(keep, KEEP_IO);
    if (keep->at == keep->block * keep->flash->block)
        keep->tried += (uint16_t)blocks_of(keep, at + 1u);
    return take_blocks(keep);
}

static keep_status start(keep_t *keep, uint8_t *state, uint32_t bytes)
{
    keep->state = state;
    keep->bytes = bytes;
    keep->tried = 0;
    keep->done = 0;
    if ((keep->flags & OPEN) == 0 || keep->at + slot_bytes(keep, bytes) > (keep->block + 1u) * keep->flash->block)
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
    if (keep->done == slot_blocks(keep, keep->bytes)) {
        keep->done = 0;
        keep->phase = WRITING;
    }
    return KEEP_MORE;
}

/* Brings the unit of content at keep->done into keep->flash->buffer, filled up with erased bytes. */
static bool fetch(keep_t *keep, uint32_t count)
{
    if ((keep->flags & COPYING) != 0)
        return fetch_unit(keep, address(keep, keep->live.at + keep->front + keep->done));
    blank(keep);
    carry(keep, keep->state, keep->done, count, false);
    return true;
}

/* The next unit of content: programmed, or read back and compared. */
static keep_status write_next(keep_t *keep)
{
    const uint32_t count = least(keep->unit, keep->bytes - keep->done);
    const uint32_t offset = keep->front + keep->done;
    const uint32_t at = address(keep, keep->at + offset);

    if (count > 0) {
        keep_status status;

        if (!fetch(keep, count))
            return ended(keep, found(keep, false, KEEP_CORRUPT)); /* the source of a copy */
        if (keep->phase == WRITING) {
            status = program(keep, at);
        } else {
            const uint32_t wanted = crc32_add(keep->crc, keep->flash->buffer, count);
            const bool there = fetch_unit(keep, at);

            keep->crc = crc32_add(keep->crc, keep->flash->buffer, count);
            status = found(keep, there && keep->crc == wanted, KEEP_CORRUPT);
        }
        if (status != KEEP_OK)
            return failed(keep, status, offset);
    }
    keep->done += count;
    if (keep->done == keep->bytes) {
        keep->done = 0;
        if (keep->phase == WRITING)
            keep->crc = 0;
        keep->phase++;
    }
    return KEEP_MORE;
}

/* The header of the slot that is being written; false where the source of a copy is not what it was. */
static bool describe(keep_t *keep, header_t *header)
{
    if ((keep->flags & COPYING) != 0) {
        if (!live_header(keep, header) || header->crc != keep->crc)
            return false;
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
    return true;
}

static keep_status write_header(keep_t *keep, header_t *header)
{
    const uint32_t check = header->check;

    for (uint32_t at = 0; at < sizeof *header; at += keep->unit) {
        keep_status status;

        blank(keep);
        memcpy(keep->flash->buffer, (const uint8_t *)header + at, least(keep->unit, sizeof *header - at));
        status = program(keep, keep->at + at);
        if (status != KEEP_OK)
            return status;
    }
    return found(keep, header_at(keep, keep->at, header) && header->check == check, KEEP_CORRUPT);
}

static keep_status write_mark(keep_t *keep, uint32_t mark)
{
    keep_status status;

    fill(keep, MARK);
    status = program(keep, mark_of(keep, keep->at, mark));
    if (status != KEEP_OK)
        return status;
    return found(keep, mark_reads(keep, keep->at, mark, MARK), KEEP_CORRUPT);
}

/* Header, then the mark that makes the slot count, then those that say that it is done. */
static keep_status commit(keep_t *keep)
{
    header_t header;
    keep_status status;

    if (!describe(keep, &header))
        return ended(keep, found(keep, false, KEEP_CORRUPT));
    status = write_header(keep, &header);
    for (uint32_t mark = COMMITTED; mark < MARKS && status == KEEP_OK; mark++)
        status = write_mark(keep, mark);
    if (status != KEEP_OK)
        return failed(keep, status, 0);
    set_live(keep, keep->block, keep->at, keep->bytes);
    keep->at += slot_bytes(keep, keep->bytes);
    keep->flags = OPEN;
    keep->phase = IDLE;
    return KEEP_OK;
}

/* A whole save of what the live slot holds, or of nothing. */
static keep_status finish(keep_t *keep, uint32_t bytes)
{
    keep_status status = start(keep, NULL, bytes);

    while (status == KEEP_MORE)
        status = keep_save_step(keep);
    return status;
}

/* ---- mounting -------------------------------------------------------------------------------------------------- */

/*
 * Makes a slot whose sequence number lies between low and high the live one, and returns the number; 0 where there is none. The highest of
 * those that are committed and confirmed, so that their first mark is known to be done; or else the lowest that has a header and is not
 * settled: one that is, and is not read as it was written, was damaged by no cut.
 * keep->sequence becomes the highest number of any header. Slots follow each other within a block.
 */
static uint32_t scan(keep_t *keep, uint32_t low, uint32_t high, bool confirmed)
{
    uint32_t sequence = 0;

    keep->live.blocks = 0;
    keep->live.bytes = 0;
    for (uint32_t block = 0; block < keep->flash->blocks; block++) {
        uint32_t at = block * keep->flash->block;
        const uint32_t last = at + keep->flash->block - keep->front;
        header_t header;

        for (; at <= last && header_at(keep, at, &header); at += slot_bytes(keep, header.tag.bytes)) {
            if (header.sequence > keep->sequence)
                keep->sequence = header.sequence;
            if (header.sequence <= low || header.sequence >= high ||
                (confirmed ? (!mark_reads(keep, at, COMMITTED, MARK) ||
                                 mark_reads(keep, at, CONFIRMED, keep->flash->erased))
                           : mark_reads(keep, at, SETTLED, MARK)))
                continue;
            sequence = header.sequence;
            set_live(keep, block, at, header.tag.bytes);
            if (confirmed)
                low = sequence;
            else
                high = sequence;
        }
    }
    return sequence;
}

/* Whether the live slot reads as it was written. */
static bool whole(keep_t *keep)
{
    header_t header;

    if (!live_header(keep, &header))
        return false;
    keep->erases = header.erases;
    keep->crc = header.crc;
    return stream(keep, NULL);
}

/*
 * Writes once more what counts, or that nothing does, under the highest number: as it is it may read otherwise another time,
 * or be outdone by a slot that does. The anchor stays meanwhile.
 */
static keep_status renew(keep_t *keep, const keep_slot_t *anchor)
{
    keep_status status;

    keep->flags = keep->live.blocks > 0 ? COPYING : UNSETTLED;
    keep->anchor = anchor;
    status = finish(keep, keep->live.bytes);
    keep->anchor = NULL;
    return status;
}

/*
 * Looks at the whole flash, and leaves nothing in it that may read otherwise another time. `sure` is what counted before the last cut, or
 * what counts since; `other` a slot above it that was not finished, or the one that counted before where that of `sure` may be so.
 */
static keep_status settle(keep_t *keep)
{
    uint32_t sequence = UINT32_MAX;
    keep_slot_t sure, other;
    bool doubt, older;

    keep->flags = UNSETTLED;
    keep->sequence = 0;
    do
        sequence = scan(keep, 0, sequence, true);
    while (sequence > 0 && !whole(keep) && (keep->flags & FAULT) == 0);
    sure = keep->live;
    doubt = sequence > 0 && mark_reads(keep, sure.at, SETTLED, keep->flash->erased);
    older = doubt;
    if (older)
        (void)scan(keep, 0, sequence, true);
    else
        doubt = scan(keep, sequence, UINT32_MAX, false) > 0;
    other = keep->live;
    if (older || other.blocks == 0 || !mark_reads(keep, other.at, COMMITTED, MARK) || !whole(keep)) {
        keep->live = sure;
        sure = other;
    }
    if ((keep->flags & FAULT) != 0)
        return KEEP_IO;
    if (doubt) {
        const keep_status status = renew(keep, &sure);

        if (status != KEEP_OK)
            return status;
    }
    keep->flags &= OPEN;
    return kept(keep);
}

/* What must hold before anything is done. */
static keep_status ready(keep_t *keep)
{
    if (keep->flash == NULL)
        return KEEP_BAD_ARGUMENT;
    if (keep->phase != IDLE)
        return KEEP_BUSY;
    keep->flags &= (uint8_t)~FAULT;
    if ((keep->flags & UNSETTLED) != 0 && settle(keep) == KEEP_IO)
        return KEEP_IO;
    return KEEP_OK;
}

/* ---- interface ------------------------------------------------------------------------------------------------- */

keep_status keep_mount(keep_t *keep, const keep_flash_t *flash, const keep_content_t *content)
{
    memset(keep, 0, sizeof *keep);
    keep->flash = flash;
    keep->content = content;
    keep->unit = (uint16_t)(flash->word < SMALLEST_UNIT ? SMALLEST_UNIT : flash->word);
    keep->front = (uint16_t)(rounded(keep, sizeof(header_t)) + MARKS * keep->unit);
    if (flash->word == 0 || flash->word > MOST_WORD || (flash->word & (flash->word - 1u)) != 0 ||
        flash->block > MOST_BLOCK || flash->blocks > MOST_BLOCKS || flash->cycles > MOST_CYCLES ||
        flash->block != rounded(keep, flash->block) || flash->block < keep->front ||
        3u * slot_blocks(keep, content->tag.bytes) > flash->blocks) {
        keep->flash = NULL; /* no call does anything */
        return KEEP_BAD_ARGUMENT;
    }
    return settle(keep);
}

keep_status keep_load(keep_t *keep, uint8_t *state)
{
    keep_status status = ready(keep);

    if (status == KEEP_OK)
        status = kept(keep);
    return status == KEEP_OK ? found(keep, stream(keep, state), KEEP_CORRUPT) : status;
}

keep_status keep_save_begin(keep_t *keep, uint8_t *state)
{
    keep_status status = ready(keep);

    if (status == KEEP_OK && kept(keep) == KEEP_OTHER &&
        ((keep->flags & UNSETTLED) != 0 ||
         keep->live.blocks + slot_blocks(keep, keep->content->tag.bytes) > keep->flash->blocks)) {
        status = keep_erase(keep); /* no room beside it */
        if (status != KEEP_IO)
            status = ready(keep);
    }
    if (status == KEEP_OK && ((keep->flags & UNSETTLED) != 0 || keep->sequence > MOST_SEQUENCE))
        status = KEEP_WORN;
    if (status == KEEP_OK)
        status = start(keep, state, keep->content->tag.bytes);
    return status == KEEP_MORE ? KEEP_OK : status;
}

keep_status keep_save_step(keep_t *keep)
{
    if (keep->phase == IDLE)
        return KEEP_BAD_ARGUMENT;
    if (keep->phase == ERASING)
        return erase_next(keep);
    return keep->phase == COMMITTING ? commit(keep) : write_next(keep);
}

keep_status keep_save_abort(keep_t *keep)
{
    return keep->phase != IDLE ? ended(keep, KEEP_OK) : KEEP_BAD_ARGUMENT;
}

keep_status keep_erase(keep_t *keep)
{
    keep_status status = ready(keep);
    uint32_t count;

    if (status != KEEP_OK)
        return status;
    keep->flags = 0; /* not beside what is to go, nor what an abandoned save has left there */
    status = finish(keep, 0);
    if (status == KEEP_IO)
        return status;
    /* What is live comes last: where there is no room to say that it does not count, it must not leave an older one. */
    count = keep->flash->blocks - (status == KEEP_OK ? 1u : 0u);
    status = KEEP_OK;
    for (uint32_t i = 0; i < count && status != KEEP_IO; i++) {
        const keep_status erased = erase(keep, wrapped(keep, (uint32_t)keep->live.block + keep->live.blocks + i));

        if (erased != KEEP_OK)
            status = erased;
    }
    return ended(keep, status); /* the next save begins in a block that is known to be erased by it */
}
