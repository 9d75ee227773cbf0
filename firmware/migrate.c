#include "migrate.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "crc32.h"

#define TAG_AT 16u /* bytes of a slot before its tag: keep.c */
#define PIECE 32u  /* bytes that are read at once: a multiple of every type's size */

/* What is kept by the other Plan. */
typedef struct {
    const keep_t *keep;
    uint32_t end;   /* bytes of content before the manifest */
    uint32_t count; /* of entries */
} kept_by_other_t;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Reads a part of the live slot. OK, CORRUPT, IO. */
static keep_status read_slot(const keep_t *keep, uint32_t offset, uint8_t *to, uint32_t count)
{
    const keep_flash_t *const flash = keep->flash;
    const uint32_t end = flash->blocks * flash->block;
    keep_status status = KEEP_OK;

    for (uint32_t done = 0; done < count && status == KEEP_OK;) {
        const uint32_t at = keep->live.at + offset + done;
        const uint32_t from = at < end ? at : at - end; /* a slot goes on at the ring's beginning */
        const uint32_t part = count - done < end - from ? count - done : end - from;

        status = flash->read(flash->context, from, to + done, part);
        if (status == KEEP_CORRUPT) /* once more: it may not have been the cells */
            status = flash->read(flash->context, from, to + done, part);
        done += part;
    }
    return status == KEEP_OK || status == KEEP_CORRUPT ? status : KEEP_IO;
}

static keep_status read_content(const keep_t *keep, uint32_t at, uint8_t *to, uint32_t count)
{
    return read_slot(keep, keep->front + at, to, count);
}

/* Whether the content from byte `at` on, to its end, has this CRC: OK, CORRUPT, IO. */
static keep_status check_content(const keep_t *keep, uint32_t at, uint32_t crc)
{
    uint8_t piece[PIECE];
    uint32_t sum = 0;

    while (at < keep->live.bytes) {
        const uint32_t left = keep->live.bytes - at;
        const uint32_t count = left < PIECE ? left : PIECE;
        const keep_status status = read_content(keep, at, piece, count);

        if (status != KEEP_OK)
            return status;
        sum = crc32_add(sum, piece, count);
        at += count;
    }
    return sum == crc ? KEEP_OK : KEEP_CORRUPT;
}

/* Finds the manifest of what is kept: OK; OTHER: it has none; IO. */
static keep_status open_manifest(const keep_t *keep, uint32_t layout, kept_by_other_t *other)
{
    keep_trailer_t trailer;
    const uint32_t bytes = keep->live.bytes;
    keep_status status;

    if (bytes < sizeof trailer)
        return KEEP_OTHER;
    status = read_content(keep, bytes - (uint32_t)sizeof trailer, (uint8_t *)&trailer, (uint32_t)sizeof trailer);
    if (status != KEEP_OK)
        return status;
    if (trailer.magic != KEEP_MANIFEST || trailer.count > bytes / sizeof(keep_entry_t) ||
        trailer.count * sizeof(keep_entry_t) + sizeof trailer > bytes)
        return KEEP_OTHER;
    other->keep = keep;
    other->count = trailer.count;
    other->end = bytes - (uint32_t)(trailer.count * sizeof(keep_entry_t) + sizeof trailer);
    status = check_content(keep, other->end, layout);
    return status == KEEP_CORRUPT ? KEEP_OTHER : status; /* numbers that look like one */
}

static uint32_t size_of(uint8_t type)
{
    return type == KEEP_INT8 ? 1u : (type == KEEP_INT16 ? 2u : 4u);
}

/* The entry of what is kept that is what `own` is: OK, OTHER, or why it cannot be read. */
static keep_status find_entry(const kept_by_other_t *other, const keep_entry_t *own, keep_entry_t *entry)
{
    for (uint32_t i = 0; i < other->count; i++) {
        const uint32_t at = other->end + i * (uint32_t)sizeof *entry;
        const keep_status status = read_content(other->keep, at, (uint8_t *)entry, (uint32_t)sizeof *entry);

        if (status != KEEP_OK)
            return status;
        if (entry->key == own->key)
            return entry->count == own->count && entry->type <= KEEP_UINT32 && (entry->behind == 0 || entry->behind == own->behind) &&
                           (entry->type == KEEP_UINT32) == (own->type == KEEP_UINT32) && entry->at <= other->end &&
                           entry->count <= (other->end - entry->at) / size_of(entry->type)
                       ? KEEP_OK
                       : KEEP_OTHER;
    }
    return KEEP_OTHER;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static int32_t held(int32_t value, int32_t lo, int32_t hi)
{
    return value < lo ? lo : (value > hi ? hi : value);
}

/* v * 2^shift, halves up, held between limits. */
static int32_t shifted(int32_t value, int32_t shift, int32_t lo, int32_t hi)
{
    if (shift < -31)
        return held(0, lo, hi);
    if (shift < 0) {
        const int32_t halves = value >> (-shift - 1);

        return held((halves >> 1) + (halves & 1), lo, hi);
    }
    for (; shift > 0 && value != 0; shift--) {
        if (value > INT32_MAX / 2)
            return hi;
        if (value < INT32_MIN / 2)
            return lo;
        value *= 2;
    }
    return held(value, lo, hi);
}

static int32_t load_number(const uint8_t *from, uint8_t type)
{
    int8_t narrow;
    int16_t half;
    int32_t wide;

    if (type == KEEP_INT8) {
        memcpy(&narrow, from, sizeof narrow);
        return narrow;
    }
    if (type == KEEP_INT16) {
        memcpy(&half, from, sizeof half);
        return half;
    }
    memcpy(&wide, from, sizeof wide);
    return wide;
}

/* The low bytes come first. */
static void store_number(uint8_t *to, uint8_t type, int32_t value)
{
    memcpy(to, &value, size_of(type));
}

static int32_t converted(const uint8_t *from, const keep_entry_t *entry, const keep_entry_t *own, const keep_place_t *place)
{
    uint32_t count;

    if (own->type != KEEP_UINT32)
        return shifted(load_number(from, entry->type), own->exponent - entry->exponent, (int32_t)place->lo, (int32_t)place->hi);
    memcpy(&count, from, sizeof count);
    count = count < place->lo ? place->lo : (count > place->hi ? place->hi : count);
    return (int32_t)count;
}

/* Takes a tensor over into `to`. */
static keep_status take(const kept_by_other_t *other, const keep_entry_t *own, const keep_place_t *place, uint8_t *to)
{
    uint8_t piece[PIECE];
    keep_entry_t entry;
    keep_status status = find_entry(other, own, &entry);
    const uint32_t size = size_of(own->type);

    for (uint32_t i = 0; i < own->count && status == KEEP_OK;) {
        const uint32_t from = size_of(entry.type);
        const uint32_t left = own->count - i;
        const uint32_t count = left < PIECE / from ? left : PIECE / from;

        status = read_content(other->keep, entry.at + i * from, piece, count * from);
        for (uint32_t k = 0; k < count && status == KEEP_OK; k++)
            store_number(to + (i + k) * size, own->type, converted(piece + k * from, &entry, own, place));
        i += count;
    }
    return status;
}

/* ---- what may be taken over -------------------------------------------------------------------------------------- */

enum { LEFT, ALONE, BEHIND }; /* a mark: not taken over; taken, and nothing in front of it had learned; taken with what is in front of it */

/* Marks the entries that what is kept has, too, and whose others it has: OK; OTHER: there are none; IO. */
static keep_status mark(const kept_by_other_t *other, const keep_migration_t *own, uint8_t *marks, uint32_t *taken)
{
    bool settled = false;

    for (uint32_t i = 0; i < own->count; i++) {
        keep_entry_t entry;
        const keep_status status = find_entry(other, &own->entries[i], &entry);

        if (status != KEEP_OK && status != KEEP_OTHER)
            return status;
        marks[i] = (uint8_t)(status != KEEP_OK ? LEFT : (entry.behind == 0 ? ALONE : BEHIND));
    }
    while (!settled) { /* each turn but the last takes a mark away */
        settled = true;
        for (uint32_t i = 0; i < own->needs_count; i++) {
            const keep_need_t need = own->needs[i];

            if (marks[need.entry] > (i < own->always ? LEFT : ALONE) && marks[need.other] == LEFT) {
                marks[need.entry] = LEFT;
                settled = false;
            }
        }
    }
    *taken = 0;
    for (uint32_t i = 0; i < own->count; i++)
        *taken += marks[i] != LEFT ? 1u : 0u;
    return *taken > 0 ? KEEP_OK : KEEP_OTHER;
}

/* What this Plan's firmware kept before it had a manifest. */
static keep_status load_plain(const keep_t *keep, uint8_t *state)
{
    keep_status status = KEEP_OK;
    uint32_t at = 0;

    for (uint32_t i = 0; i + 1u < keep->content->count && status == KEEP_OK; i++) {
        const keep_span_t *const span = &keep->content->spans[i];

        status = read_content(keep, at, state + span->offset, span->bytes);
        at += span->bytes;
    }
    return status;
}

static bool is_plain(const keep_t *keep, const keep_tag_t *tag, uint32_t layout)
{
    const keep_content_t *const content = keep->content;

    return tag->bytes == content->tag.bytes - content->spans[content->count - 1u].bytes && tag->layout == layout &&
           tag->numeric_version == content->tag.numeric_version &&
           memcmp(tag->digest, content->tag.digest, sizeof tag->digest) == 0;
}

keep_status keep_migrate(keep_t *keep, const keep_migration_t *own, uint8_t *state, uint8_t *marks)
{
    kept_by_other_t other;
    keep_tag_t tag;
    uint32_t taken = 0;
    keep_status status = keep_load(keep, NULL);

    if (status != KEEP_OTHER)
        return status;
    status = read_slot(keep, TAG_AT, (uint8_t *)&tag, (uint32_t)sizeof tag);
    if (status == KEEP_OK)
        status = check_content(keep, 0, keep->crc);
    if (status == KEEP_OK && is_plain(keep, &tag, own->layout))
        return load_plain(keep, state);
    if (status == KEEP_OK)
        status = open_manifest(keep, tag.layout, &other);
    if (status == KEEP_OK)
        status = mark(&other, own, marks, &taken);
    for (uint32_t i = 0; i < own->count && status == KEEP_OK; i++) {
        if (marks[i] != LEFT)
            status = take(&other, &own->entries[i], &own->places[i], state + own->places[i].offset);
    }
    keep->done = taken;
    return status == KEEP_OK ? KEEP_MIGRATED : status;
}
