/* SHA-256 (FIPS 180-4) of a piece of memory. */
#ifndef SYNAPCC_SHA256_H
#define SYNAPCC_SHA256_H

#include <stdint.h>

#define SHA256_BYTES 32u

void sha256(const uint8_t *bytes, uint32_t count, uint8_t digest[SHA256_BYTES]);

#endif
