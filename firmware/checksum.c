#include "checksum.h"

#include <string.h>

#define WORD_BYTES 4u

/* The bytes are what other types left in memory. */
typedef uint32_t __attribute__((may_alias)) word_t;

/* A bijection, so that words that differ stay so; an xor and a shift on either side let every bit reach the low ones. */
static uint32_t mixed(uint32_t word)
{
    word ^= word >> 15;
    word *= PROTO_CHECKSUM_FACTOR;
    return word ^ word >> 16;
}

void checksum(const uint8_t *bytes, uint32_t count, uint8_t result[PROTO_CHECKSUM_BYTES])
{
    const uint32_t rest = count % WORD_BYTES;
    const word_t *word = (const void *)bytes;
    const word_t *const end = word + count / WORD_BYTES;
    uint64_t sum = 0, sums = 0;

    while (word < end) {
        sum += mixed(*word++);
        sums += sum;
    }
    if (rest != 0) { /* what is missing of the last word is zero */
        uint32_t last = 0;

        memcpy(&last, bytes + (count - rest), rest);
        sum += mixed(last);
        sums += sum;
    }
    proto_put_u32(result, (uint32_t)sum);
    proto_put_u32(result + 4, (uint32_t)(sum >> 32));
    proto_put_u32(result + 8, (uint32_t)sums);
    proto_put_u32(result + 12, (uint32_t)(sums >> 32));
}
