/*
 * Keeps bytes in flash so that a cut of the power leaves either those of before or those of now, never anything else.
 * `synapcc docs KEEP` has the layout byte by byte, why each cut is safe, and how to port it.
 *
 * No heap, no link, no knowledge of models: what is kept is `content`, some pieces of memory with a digest that says what
 * they mean. One thread; a driver's callback must not call back.
 */
#ifndef SYNAPCC_KEEP_H
#define SYNAPCC_KEEP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEEP_DIGEST_BYTES 32u

/* Results. A callback answers OK, IO or CORRUPT. */
typedef enum {
    KEEP_OK = 0,
    KEEP_MORE = 1,         /* the save has further steps */
    KEEP_EMPTY = 2,        /* nothing is kept: never saved, or erased */
    KEEP_OTHER = 3,        /* what is kept is of another Plan, version or choice of tensors; it stays until a save is whole, or needs its room */
    KEEP_BUSY = 4,         /* a save is in progress, or the model is */
    KEEP_BAD_ARGUMENT = 5, /* a geometry that cannot be, and each call on a store that was not mounted; or nothing has begun */
    KEEP_IO = 6,           /* the flash could not be read, or an operation failed; it may succeed another time */
    KEEP_CORRUPT = 7,      /* what was read is not what was written: a CRC, or the ECC of the flash */
    KEEP_WORN = 8,         /* no room is left that can be erased and programmed, or the wear limit is reached */
    KEEP_MIGRATED = 9      /* what both have was taken over from what another Plan's firmware keeps: migrate.h alone answers it */
} keep_status;

/*
 * The flash, which is all that a port must provide. Addresses count from the first byte given to the store: 0 to below
 * blocks * block. Nobody else writes there.
 */
typedef struct {
    /* Copies count bytes at address. OK; IO: not possible now; CORRUPT: the ECC says that they are wrong. */
    keep_status (*read)(void *context, uint32_t address, uint8_t *to, uint32_t count);
    /*
     * Programs count bytes, whole words at a multiple of the word, each of which is erased and has been since it was last
     * programmed. Returns when they are done: OK; IO; CORRUPT: the word did not take what it should.
     */
    keep_status (*program)(void *context, uint32_t address, const uint8_t *from, uint32_t count);
    /* Erases the block at address. Returns when it is done: OK; IO; CORRUPT: it is worn. */
    keep_status (*erase)(void *context, uint32_t address);
    void *context;   /* the driver's own, handed to each callback */
    uint8_t *buffer; /* memory for one word, of 4 bytes at least, aligned as `program` needs its source: uint32_t words[] */
    uint32_t word;   /* bytes of the smallest unit that is programmed, once between two erases: a power of two */
    uint32_t block;  /* bytes that are erased at once: a multiple of the word, and of 4 */
    uint32_t blocks; /* how many of these there are: three times as many as a save takes, at least */
    uint32_t cycles; /* erases of a block that its maker promises: KEEP_WORN beyond; 0: no limit */
    uint8_t erased;  /* what an erased byte reads: 0xFF, on some chips 0 */
} keep_flash_t;

/* A piece of what is kept, in bytes from the start of the memory; or bytes that are always the same, and are not loaded. */
typedef struct {
    uint32_t offset;
    uint32_t bytes;
    const uint8_t *fixed; /* these, or a null pointer */
} keep_span_t;

/* What the bytes mean: what differs in any of it is not loaded. */
typedef struct {
    uint32_t bytes; /* all spans together, at least 1 */
    uint32_t numeric_version;
    uint32_t layout; /* CRC-32 of the table of spans */
    uint8_t digest[KEEP_DIGEST_BYTES]; /* of the Plan */
} keep_tag_t;

typedef struct {
    keep_tag_t tag;
    const keep_span_t *spans; /* in the order in which they are kept */
    uint32_t count;           /* of spans */
} keep_content_t;

/* A slot in flash. */
typedef struct {
    uint32_t at;     /* its address */
    uint32_t bytes;  /* of content */
    uint16_t block;  /* in which it begins */
    uint16_t blocks; /* how many it takes; 0: there is none */
} keep_slot_t;

/* A store. Everything in it is its own. */
typedef struct {
    const keep_flash_t *flash;
    const keep_content_t *content;
    uint8_t phase; /* what is read most lies where one instruction of an ARMv6-M reaches it */
    uint8_t flags;
    uint16_t unit;        /* bytes that are programmed at once */
    uint16_t front;       /* bytes of a slot before its content: header and marks */
    uint16_t block;       /* where the slot that is being written begins */
    uint16_t tried;       /* blocks behind the live slot that this save has given up, or found taken */
    keep_slot_t live;     /* the one that counts */
    uint8_t *state;       /* what is being saved; a null pointer: what the live slot holds */
    uint32_t sequence;    /* of the newest slot, believed or not */
    uint32_t erases;      /* of blocks so far */
    const keep_slot_t *anchor; /* another one that must stay for now, or a null pointer */
    uint32_t at;          /* address of the slot that is being written, or that the next one may have */
    uint32_t bytes;       /* of content in the slot that is being written */
    uint32_t done;        /* of these; behind keep_migrate, until something is saved, the tensors that were taken over */
    uint32_t crc;         /* of these as they came back from flash */
} keep_t;

/*
 * Finds what is kept: OK, EMPTY, OTHER. Where a cut may have left a slot half committed, what is kept is written once more, elsewhere,
 * before this returns, so that the answer stays what it is: so this may program and erase. WORN: what is kept can be loaded but not be made to last, and no save begins;
 * IO: not known, try again; BAD_ARGUMENT. A slot that is damaged is passed over: what was kept before it comes back, or EMPTY.
 */
keep_status keep_mount(keep_t *keep, const keep_flash_t *flash, const keep_content_t *content);

/*
 * Copies what is kept to `state`: OK, EMPTY, OTHER, CORRUPT, IO. Of a null pointer: only reads it, all of it. EMPTY and OTHER leave
 * `state` alone; after CORRUPT and IO it may hold a part, and whoever calls sets it up again. What the bytes must
 * fulfil beside being those that were saved is for the caller to look at.
 */
keep_status keep_load(keep_t *keep, uint8_t *state);

/*
 * A save: begin, then step until the answer is no longer MORE: OK, and the new bytes are kept. Each step erases a block, or programs or
 * reads back a word; the last one programs header and marks. Until then, and after any other answer, the old ones are, but that IO or WORN
 * in the last step leaves either. `state` must not change meanwhile: a save that sees a change goes on elsewhere. After any answer but OK and
 * MORE the next call looks at the whole flash anew. Where what is kept is OTHER and there is no room beside it, begin erases it first.
 */
keep_status keep_save_begin(keep_t *keep, uint8_t *state);
keep_status keep_save_step(keep_t *keep);

/* Gives up a save: the old bytes are kept, or the new ones where the last step had to try again. BAD_ARGUMENT: none is in progress. */
keep_status keep_save_abort(keep_t *keep);

/*
 * Forgets what is kept, whatever it is and however worn the flash, and erases every block but one that says so. CORRUPT: a block that
 * cannot be erased may hold bytes of it, and the others do not. After a cut or IO call it again: until then it may be forgotten or not.
 */
keep_status keep_erase(keep_t *keep);

#ifdef __cplusplus
}
#endif

#endif
