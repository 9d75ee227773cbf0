#include "sha256.h"

#include <string.h>

#define BLOCK_BYTES 64u
#define LENGTH_BYTES 8u

/* Fractions of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

/* Fractions of the square roots of the first 8 primes. */
static const uint32_t start[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static uint32_t rotate(uint32_t word, uint32_t by)
{
    return word >> by | word << (32u - by);
}

static uint32_t get_big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static void put_big_endian(uint8_t *at, uint32_t word)
{
    at[0] = (uint8_t)(word >> 24);
    at[1] = (uint8_t)(word >> 16);
    at[2] = (uint8_t)(word >> 8);
    at[3] = (uint8_t)word;
}

/* The message schedule needs 16 words at a time: they are renewed in place instead of spread over 64. */
static void compress(uint32_t hash[8], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
    uint32_t e = hash[4], f = hash[5], g = hash[6], h = hash[7];

    for (uint32_t i = 0; i < 16; i++)
        w[i] = get_big_endian(block + 4 * i);
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t t1, t2;

        if (i >= 16) {
            const uint32_t w2 = w[(i - 2) & 15u], w15 = w[(i - 15) & 15u];

            w[i & 15u] += (rotate(w2, 17) ^ rotate(w2, 19) ^ w2 >> 10) + w[(i - 7) & 15u] +
                          (rotate(w15, 7) ^ rotate(w15, 18) ^ w15 >> 3);
        }
        t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g));
        t1 += round_constants[i] + w[i & 15u];
        t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
    hash[5] += f;
    hash[6] += g;
    hash[7] += h;
}

void sha256(const uint8_t *bytes, uint32_t count, uint8_t digest[SHA256_BYTES])
{
    uint32_t hash[8];
    uint8_t block[BLOCK_BYTES];
    const uint32_t rest = count % BLOCK_BYTES;

    memcpy(hash, start, sizeof hash);
    for (uint32_t at = 0; at < count - rest; at += BLOCK_BYTES)
        compress(hash, bytes + at);

    memset(block, 0, sizeof block);
    memcpy(block, bytes + (count - rest), rest);
    block[rest] = 0x80;
    if (rest + 1 > BLOCK_BYTES - LENGTH_BYTES) { /* no room for the length behind the end mark */
        compress(hash, block);
        memset(block, 0, sizeof block);
    }
    put_big_endian(block + BLOCK_BYTES - 8, count >> 29);
    put_big_endian(block + BLOCK_BYTES - 4, count << 3);
    compress(hash, block);

    for (uint32_t i = 0; i < 8; i++)
        put_big_endian(digest + 4 * i, hash[i]);
}
