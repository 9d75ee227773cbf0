/* A project without a store: what was learned ends with the power. */
#include <stddef.h>

#include "../store.h"

void store_start(void)
{
}

store_facts_t store_facts(void)
{
    return (store_facts_t){.found = PROTO_KEPT_NONE};
}

uint8_t *store_memory(uint32_t *bytes)
{
    *bytes = 0;
    return NULL;
}

void store_changed(void)
{
}

static proto_status unsupported(const request_t *request, reply_t *reply)
{
    (void)request;
    (void)reply;
    return PROTO_UNSUPPORTED;
}

proto_status store_save(const request_t *request, reply_t *reply)
{
    return unsupported(request, reply);
}

proto_status store_restore(const request_t *request, reply_t *reply)
{
    return unsupported(request, reply);
}

proto_status store_erase(const request_t *request, reply_t *reply)
{
    return unsupported(request, reply);
}
