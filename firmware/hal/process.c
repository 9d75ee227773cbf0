/* HAL for the host: the link is standard input and output, the end of input ends the process. What stands for flash is a file, whose
 * descriptor SYNAPCC_FLASH names: it outlives the process, as flash does a reset. */
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

/* The file of the flash, -1 where there is none. */
static int flash_file(void)
{
    const char *digit = getenv("SYNAPCC_FLASH");
    int file = 0;

    if (digit == NULL || *digit == '\0')
        return -1;
    for (; *digit >= '0' && *digit <= '9' && file < 0x10000; digit++)
        file = 10 * file + (*digit - '0');
    return *digit == '\0' ? file : -1;
}

uintptr_t hal_kept(uint32_t bytes)
{
    const int file = flash_file();
    const off_t size = (off_t)bytes;
    const void *memory;

    if (file < 0 || bytes == 0u)
        return 0;
    if (lseek(file, 0, SEEK_END) < size && (lseek(file, size - 1, SEEK_SET) < 0 || write(file, "", 1) != 1))
        return 0;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? 0u : (uintptr_t)memory;
}
