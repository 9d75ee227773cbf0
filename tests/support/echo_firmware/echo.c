#include "echo.h"

#include <string.h>

void echo_reverse(uint8_t *bytes, uint32_t n)
{
    uint8_t copy[ECHO_MAX];
    memcpy(copy, bytes, n);
    for (uint32_t i = 0; i < n; i++) bytes[i] = copy[n - 1 - i];
}
