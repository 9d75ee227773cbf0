/*
 * The store of the state in flash, as the link knows it. store/kept.c where the project has one, store/none.c where it has none:
 * SAVE, RESTORE and ERASE are refused then.
 */
#ifndef SYNAPCC_STORE_H
#define SYNAPCC_STORE_H

#include <stdint.h>

#include "requests.h"

typedef struct {
    uint32_t bytes;  /* of the state that a save keeps; 0: there is no store */
    uint32_t saves;  /* done since start-up */
    uint32_t erases; /* of blocks, as the store counts them */
    uint32_t blocks; /* that the store has */
    uint32_t cycles; /* how often each may be erased */
    uint8_t found;   /* by the last start, or RESTORE: proto_kept */
} store_facts_t;

/* Loads what is kept into the machine, which has weights as compiled where nothing is. Once, behind machine_start. */
void store_start(void);

store_facts_t store_facts(void);

/* The memory of a flash that is only simulated, region flash; NULL and 0 where the flash is real, or there is none. */
uint8_t *store_memory(uint32_t *bytes);

/* Region flash was written to: the next RESTORE looks at it as a start does. */
void store_changed(void);

proto_status store_save(const request_t *request, reply_t *reply);
proto_status store_restore(const request_t *request, reply_t *reply);
proto_status store_erase(const request_t *request, reply_t *reply);

#endif
