/* HAL for the host: the link is standard input and output, the end of input ends the process. What stands for flash is a file, whose
 * descriptor SYNAPCC_FLASH names: it outlives the process, as flash does a reset. */
#define _POSIX_C_SOURCE 200809L
#include "hal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STATUS_RESET 75 /* whoever started the process starts it again */

static uint8_t received[4096], spare[0x100000];
static size_t next, filled;

void hal_init(void)
{
    next = filled = 0;
}

uint8_t hal_rx(void)
{
    while (next == filled) {
        const ssize_t count = read(STDIN_FILENO, received, sizeof received);

        if (count == 0)
            exit(EXIT_SUCCESS);
        if (count < 0 && errno != EINTR)
            exit(EXIT_FAILURE);
        next = 0;
        filled = count < 0 ? 0 : (size_t)count;
    }
    return received[next++];
}

void hal_tx(const uint8_t *bytes, uint32_t count)
{
    while (count > 0) {
        const ssize_t written = write(STDOUT_FILENO, bytes, count);

        if (written < 0 && errno != EINTR)
            exit(EXIT_FAILURE);
        if (written > 0) {
            bytes += written;
            count -= (uint32_t)written;
        }
    }
}

uint32_t hal_link_errors(void)
{
    return 0;
}

void hal_stack(uintptr_t *low, uintptr_t *high)
{
    *low = 0;
    *high = 0;
}

void hal_spare(uintptr_t *low, uintptr_t *high)
{
    *low = (uintptr_t)spare;
    *high = *low + sizeof spare;
}

void hal_pet(void)
{
    /* nothing watches a process */
}

void hal_reset(void)
{
    _exit(STATUS_RESET);
}

void *hal_kept(uint32_t bytes)
{
    const char *const named = getenv("SYNAPCC_FLASH");
    const int file = named == NULL ? -1 : (int)strtol(named, NULL, 10);
    void *memory;

    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        return NULL;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
