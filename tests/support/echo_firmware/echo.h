#include <stdint.h>
#define ECHO_MAX 256
void echo_reverse(uint8_t *bytes, uint32_t n);
