/*
 * Takes over what firmware of another Plan has kept: each tensor that says in a manifest that it is what this firmware has, too.
 * `synapcc docs KEEP` tells which these are. Beside keep.c, in libraries that ask for it.
 */
#ifndef SYNAPCC_MIGRATE_H
#define SYNAPCC_MIGRATE_H

#include "keep.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { KEEP_INT8, KEEP_INT16, KEEP_INT32, KEEP_UINT32 };

/* A tensor that is kept. The last piece of what is kept is a table of these, and a keep_trailer_t behind it. */
typedef struct {
    uint32_t key;     /* of its name, shape and meaning: where keys are the same, so is what the numbers are for */
    uint32_t at;      /* bytes from the start of what is kept */
    uint32_t count;   /* elements, the padding of rows included */
    int16_t exponent; /* n: a number v stands for v / 2^n */
    uint8_t type;     /* KEEP_INT8 .. KEEP_UINT32 */
    uint8_t behind;   /* layers that learn in front of it: what a layer hears may be learned, too */
} keep_entry_t;

typedef struct {
    uint32_t layout; /* CRC-32 of the table of spans without this one: the layout of a store that has no manifest */
    uint32_t count;  /* of entries */
    uint32_t magic;  /* KEEP_MANIFEST */
} keep_trailer_t;

#define KEEP_MANIFEST 0x314D4B53u /* "SKM1" */

/* Where a tensor lies in the state, and what its numbers must lie between: words of 32 bits, as its type reads them. */
typedef struct {
    uint32_t offset;
    uint32_t lo;
    uint32_t hi;
} keep_place_t;

/* An entry that may be taken over only if the other one is. */
typedef struct {
    uint16_t entry;
    uint16_t other;
} keep_need_t;

/*
 * What this firmware has. The needs from number `always` on are those of layers that hear what another one learns: they hold where that
 * had learned in the other Plan, too. Else it is as it was compiled, in both.
 */
typedef struct {
    const keep_entry_t *entries;
    const keep_place_t *places; /* one an entry */
    const keep_need_t *needs;
    uint32_t count; /* of entries */
    uint32_t always;
    uint32_t needs_count;
    uint32_t layout; /* that of the trailer */
} keep_migration_t;

/*
 * Where keep_load answers OTHER: all that is kept is read and held against its CRC; then `state`, which holds what was compiled, gets
 * what both have, in its own formats. `marks` is memory for a byte an entry. MIGRATED: so many tensors, keep->done, were taken over; OK: it is this
 * Plan's, kept without a manifest, and loaded; OTHER: there is nothing to take over. CORRUPT, IO: of these alone a part may be in `state`.
 */
keep_status keep_migrate(keep_t *keep, const keep_migration_t *own, uint8_t *state, uint8_t *marks);

#ifdef __cplusplus
}
#endif

#endif
