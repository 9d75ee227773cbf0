/* Zephyr's kernel.h, of which the emitted sample uses nothing. */
#include <stddef.h>
#include <stdint.h>
