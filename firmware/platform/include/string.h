/* What of <string.h> the firmware may use. zig has these functions in compiler-rt but no header for a bare chip. */
#ifndef SYNAPCC_STRING_H
#define SYNAPCC_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *left, const void *right, size_t n);

#endif
