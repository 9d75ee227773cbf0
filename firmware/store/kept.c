/* A project with a store: <model>_keep.c on the flash of the HAL. */
#include "../store.h"

#include <stdbool.h>
#include <stddef.h>

#include "../hal/flash.h"
#include "../hal/hal.h"
#include "../machine.h"
#include "../server.h"
#include "flash_shape.h"

REQUESTS_CHECK(same_ok, (int)PROTO_KEPT_OK == (int)MODEL_KEEP_OK);
REQUESTS_CHECK(same_empty, (int)PROTO_KEPT_EMPTY == (int)MODEL_KEEP_EMPTY);
REQUESTS_CHECK(same_other, (int)PROTO_KEPT_OTHER == (int)MODEL_KEEP_OTHER);
REQUESTS_CHECK(same_io, (int)PROTO_KEPT_IO == (int)MODEL_KEEP_IO);
REQUESTS_CHECK(same_corrupt, (int)PROTO_KEPT_CORRUPT == (int)MODEL_KEEP_CORRUPT);
REQUESTS_CHECK(same_worn, (int)PROTO_KEPT_WORN == (int)MODEL_KEEP_WORN);
REQUESTS_CHECK(same_migrated, (int)PROTO_KEPT_MIGRATED == (int)MODEL_KEEP_MIGRATED);

#define BUFFER_WORDS ((FLASH_WORD + 3u) / 4u)

static struct {
    model_keep_t keep;
    uint32_t buffer[BUFFER_WORDS];
    model_keep_flash_t flash;
    uint32_t saves;
    uint8_t found;
    bool changed; /* the flash, behind the store's back */
} store;

/* ---- the flash of the HAL, as the store wants it ----------------------------------------------------------------- */

static model_keep_status told(flash_status status)
{
    switch (status) {
    case FLASH_OK:
        return MODEL_KEEP_OK;
    case FLASH_CORRUPT:
        return MODEL_KEEP_CORRUPT;
    default:
        return MODEL_KEEP_IO;
    }
}

static model_keep_status read_flash(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    (void)context;
    return told(flash_read(address, to, count));
}

static model_keep_status program_flash(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    hal_pet();
    return told(flash_program(address, from, count));
}

static model_keep_status erase_flash(void *context, uint32_t address)
{
    (void)context;
    hal_pet();
    return told(flash_erase(address));
}

/* ---- what others call -------------------------------------------------------------------------------------------- */

/* Looks at the flash as after a loss of power, and loads what is kept. */
static void look(void)
{
    store.changed = false;
    store.found = (uint8_t)model_restore(&machine.model, &store.keep, &store.flash);
}

void store_start(void)
{
    store.flash = (model_keep_flash_t){
        .read = read_flash,
        .program = program_flash,
        .erase = erase_flash,
        .buffer = (uint8_t *)store.buffer,
        .word = FLASH_WORD,
        .block = FLASH_BLOCK,
        .blocks = FLASH_BLOCKS,
        .cycles = FLASH_CYCLES,
        .erased = FLASH_ERASED,
    };
    store.saves = 0;
    flash_init();
    look();
}

store_facts_t store_facts(void)
{
    return (store_facts_t){
        .bytes = MODEL_KEEP_BYTES,
        .saves = store.saves,
        .erases = store.keep.erases,
        .blocks = FLASH_BLOCKS,
        .cycles = FLASH_CYCLES,
        .found = store.found,
    };
}

uint8_t *store_memory(uint32_t *bytes)
{
    return flash_memory(bytes);
}

void store_changed(void)
{
    store.changed = true;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* What a save that has begun ends with. The watchdog is petted before each step, of which none does more than erase a block. */
static model_keep_status finished(void)
{
    model_keep_status status;

    do {
        hal_pet();
        status = model_save_step(&machine.model, &store.keep);
    } while (status == MODEL_KEEP_MORE);
    return status;
}

proto_status store_save(const request_t *request, reply_t *reply)
{
    const uint8_t flags = proto_save_flags(request->payload);
    proto_status able = machine_settled(flags);
    model_keep_status status;

    if (able != PROTO_OK)
        return able;
    if (store.changed)
        return PROTO_BAD_STATE; /* RESTORE first: the store knows nothing of what lies there now */
    server_accepted();
    status = model_save_begin(&machine.model, &store.keep);
    if (status == MODEL_KEEP_OK)
        status = finished();
    if (status == MODEL_KEEP_OK)
        store.saves++;
    proto_save_set_kept(reply->payload, (uint8_t)status);
    reply->length = PROTO_SAVE_REPLY_BYTES;
    machine_prove(reply, flags);
    return PROTO_OK;
}

proto_status store_restore(const request_t *request, reply_t *reply)
{
    const uint8_t flags = proto_restore_flags(request->payload);
    const proto_status able = machine_idle(flags);
    model_keep_status status = MODEL_KEEP_OK;

    if (able != PROTO_OK)
        return able;
    server_accepted();
    if (!store.changed)
        status = model_keep_load(&store.keep, NULL); /* what cannot be loaded costs nothing that was learned */
    if (status == MODEL_KEEP_OTHER && store.found == (uint8_t)MODEL_KEEP_MIGRATED)
        status = MODEL_KEEP_OK; /* another Plan's, and the last look could take it over */
    if (status == MODEL_KEEP_OK) {
        machine_clear();
        look();
        status = (model_keep_status)store.found;
    }
    proto_restore_set_kept(reply->payload, (uint8_t)status);
    reply->length = PROTO_RESTORE_REPLY_BYTES;
    machine_prove(reply, flags);
    return PROTO_OK;
}

proto_status store_erase(const request_t *request, reply_t *reply)
{
    const proto_status able = machine_idle(0);

    (void)request;
    if (able != PROTO_OK)
        return able;
    server_accepted();
    proto_erase_set_kept(reply->payload, (uint8_t)model_keep_erase(&store.keep));
    reply->length = PROTO_ERASE_REPLY_BYTES;
    return PROTO_OK;
}
