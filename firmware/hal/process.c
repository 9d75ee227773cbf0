/* HAL for the host: the link is standard input and output, the end of input ends the process. */
#include "hal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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
