/* CRC-32 (the one of IEEE 802.3): of frames on the link, and of what is kept in flash. */
#ifndef SYNAPCC_CRC32_H
#define SYNAPCC_CRC32_H

#include <stdint.h>

/* Reflected: the highest power stands lowest. */
#define CRC32_POLYNOMIAL 0xEDB88320u

/* The CRC of bytes whose CRC so far is crc, 0 before the first, and of count more. */
uint32_t crc32_add(uint32_t crc, const uint8_t *bytes, uint32_t count);

#endif
