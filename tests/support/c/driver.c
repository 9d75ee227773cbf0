/*
 * Answers a test's requests about the models of a batch: four words (model, request, argument, bytes that follow), answered
 * with a status word and as many bytes as the request gives. tests/support/ctools.py holds the same numbers.
 */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void take(void *to, size_t n)
{
    if (n && fread(to, 1, n, stdin) != n)
        exit(3);
}

static void give(const void *from, size_t n)
{
    if (n && fwrite(from, 1, n, stdout) != n)
        exit(4);
}

int main(void)
{
    static uint8_t payload[1 << 22];
    uint8_t **memory = calloc(model_count, sizeof *memory);
    uint32_t ask[4];

    for (uint32_t i = 0; memory && i < model_count; i++)
        if (!(memory[i] = malloc(models[i].bytes)))
            return 5;
    while (memory && fread(ask, 1, sizeof ask, stdin) == sizeof ask) {
        const driver_model *t = &models[ask[0]];
        uint8_t *m = memory[ask[0]];
        static uint32_t y[1 << 14]; /* scores of any model */
        uint32_t status = 0;

        take(payload, ask[3]);
        if (ask[1] == SET_STATE)
            memcpy(m, payload, t->state_bytes);
        else if (ask[1] == SET_ARENA)
            memcpy(m + t->arena_offset, payload, t->arena_bytes);
        else if (ask[1] < GET_STATE)
            status = t->call(m, ask[1], payload, y, ask[2]);
        give(&status, sizeof status);
        if (ask[1] == INFER)
            give(y, t->output_bytes);
        else if (ask[1] == GET_STATE)
            give(m, t->state_bytes);
        else if (ask[1] == GET_ARENA)
            give(m + t->arena_offset, t->arena_bytes);
        fflush(stdout);
    }
    return 0;
}
