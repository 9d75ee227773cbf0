/* The checksum of the persistent state: what a chip says of it after every step, against faults. */
#ifndef SYNAPCC_CHECKSUM_H
#define SYNAPCC_CHECKSUM_H

#include <stdint.h>

#include "protocol.h"

/* `bytes` lies at a multiple of 4. Any change of at most two words gives another checksum; `synapcc docs PROTOCOL` says why. */
void checksum(const uint8_t *bytes, uint32_t count, uint8_t result[PROTO_CHECKSUM_BYTES]);

#endif
