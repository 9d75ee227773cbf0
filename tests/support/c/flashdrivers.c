/*
 * The store of a library on the flash of an ecosystem, whose functions are here: a flash in memory that takes no word that is not erased, an EEPROM that takes
 * any byte. -DMODEL, -DUPPER, -DDRIVER_..., -DHEADER: the driver's.
 */
#define JOINED(a, b) a##_##b
#define NAMED(a, b) JOINED(a, b)
#define M(name) NAMED(MODEL, name)
#define C(name) NAMED(UPPER, name)
#define QUOTED(a) #a
#define TEXT(a) QUOTED(a)

#ifdef DRIVER_on_flash_area
#define WORD 8u
#define ERASED 0x00
#else
#define WORD 4u
#define ERASED 0xFF
#endif
#define BLOCK 1024u
#define CELLS (12u * BLOCK)

#ifdef DRIVER_on_eeprom
#include <stdint.h>
class Chip {
public:
    uint8_t read(int address);
    void write(int address, uint8_t value);
    uint16_t length();
};
#endif

#include TEXT(HEADER)

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static uint8_t cells[CELLS];
static int fault;               /* what the next operation answers in place of being done */
static unsigned long operations; /* that changed something */

static int flash_got(size_t at, void *to, size_t count)
{
    EXPECT(at + count <= CELLS);
    memcpy(to, &cells[at], count);
    return fault;
}

static int flash_put(size_t at, const void *from, size_t count)
{
    size_t i;

    EXPECT(at % WORD == 0u && count % WORD == 0u && at + count <= CELLS && (uintptr_t)from % WORD == 0u);
    if (fault != 0)
        return fault;
    operations++;
    for (i = 0; i < count; i++)
        EXPECT(cells[at + i] == ERASED);
    memcpy(&cells[at], from, count);
    return 0;
}

static int flash_erased(size_t at, size_t count)
{
    EXPECT(at % BLOCK == 0u && count == BLOCK && at + count <= CELLS);
    if (fault != 0)
        return fault;
    operations++;
    memset(&cells[at], ERASED, count);
    return 0;
}

#if defined(DRIVER_on_flash_area)
static uint32_t align = WORD;
static struct flash_area area = { 1, 0, 0x20000, CELLS, NULL };

int flash_area_read(const struct flash_area *fa, off_t off, void *dst, size_t len)
{
    EXPECT(fa == &area);
    return flash_got((size_t)off, dst, len);
}

int flash_area_write(const struct flash_area *fa, off_t off, const void *src, size_t len)
{
    EXPECT(fa == &area);
    return flash_put((size_t)off, src, len);
}

int flash_area_erase(const struct flash_area *fa, off_t off, size_t len)
{
    EXPECT(fa == &area);
    return flash_erased((size_t)off, len);
}

uint32_t flash_area_align(const struct flash_area *fa)
{
    EXPECT(fa == &area);
    return align;
}

uint8_t flash_area_erased_val(const struct flash_area *fa)
{
    EXPECT(fa == &area);
    return ERASED;
}

static M(keep_flash_area_t) driver;

static const M(keep_flash_t) *flash(void)
{
    return M(keep_on_flash_area)(&driver, &area, BLOCK, 1000u);
}

static void refused(M(t) *m, M(keep_t) *keep)
{
    align = 64u; /* no memory for such a word */
    EXPECT(M(restore)(m, keep, flash()) == C(KEEP_BAD_ARGUMENT));
    align = WORD;
    area.fa_size -= 8u;
    EXPECT(M(restore)(m, keep, flash()) == C(KEEP_BAD_ARGUMENT));
    area.fa_size += 8u;
    EXPECT(M(restore)(m, keep, M(keep_on_flash_area)(&driver, &area, 0u, 0u)) == C(KEEP_BAD_ARGUMENT));
}

static void answers(void)
{
    static const int errors[3] = { -EIO, -EACCES, -EBUSY };
    const M(keep_flash_t) *const f = flash();
    uint64_t word = 0;
    size_t i;

    for (i = 0; i < 3; i++) {
        const M(keep_status) wanted = errors[i] == -EIO ? C(KEEP_CORRUPT) : C(KEEP_IO);

        fault = errors[i];
        EXPECT(f->program(f->context, 0u, (const uint8_t *)&word, WORD) == wanted);
        EXPECT(f->erase(f->context, 0u) == wanted);
        EXPECT(f->read(f->context, 0u, (uint8_t *)&word, WORD) == C(KEEP_IO));
    }
    fault = 0;
}

#elif defined(DRIVER_on_esp_partition)
static esp_partition_t partition = { 0x110000, CELLS, BLOCK, "learned", false };

esp_err_t esp_partition_read(const esp_partition_t *p, size_t src_offset, void *dst, size_t size)
{
    EXPECT(p == &partition);
    return flash_got(src_offset, dst, size);
}

esp_err_t esp_partition_write(const esp_partition_t *p, size_t dst_offset, const void *src, size_t size)
{
    EXPECT(p == &partition);
    return flash_put(dst_offset, src, size);
}

esp_err_t esp_partition_erase_range(const esp_partition_t *p, size_t offset, size_t size)
{
    EXPECT(p == &partition);
    return flash_erased(offset, size);
}

static M(keep_esp_partition_t) driver;

static const M(keep_flash_t) *flash(void)
{
    return M(keep_on_esp_partition)(&driver, &partition, 1000u);
}

static void refused(M(t) *m, M(keep_t) *keep)
{
    partition.encrypted = true;
    EXPECT(M(restore)(m, keep, flash()) == C(KEEP_BAD_ARGUMENT));
    partition.encrypted = false;
    EXPECT(M(restore)(m, keep, M(keep_on_esp_partition)(&driver, NULL, 0u)) == C(KEEP_BAD_ARGUMENT));
}

static void answers(void)
{
    const M(keep_flash_t) *const f = flash();
    uint32_t word = 0;

    fault = ESP_FAIL;
    EXPECT(f->program(f->context, 0u, (const uint8_t *)&word, WORD) == C(KEEP_IO) && f->erase(f->context, 0u) == C(KEEP_IO));
    EXPECT(f->read(f->context, 0u, (uint8_t *)&word, WORD) == C(KEEP_IO));
    fault = 0;
}

#else
static bool stuck;

uint8_t Chip::read(int address)
{
    uint8_t value;

    (void)flash_got(static_cast<size_t>(address), &value, 1u);
    return value;
}

void Chip::write(int address, uint8_t value)
{
    operations++;
    EXPECT(cells[address] != value || stuck); /* none is worn for nothing */
    if (!stuck)
        cells[address] = value;
}

uint16_t Chip::length()
{
    return CELLS;
}

static Chip chip;
static M(keep_eeprom_t)<Chip> driver;

static const M(keep_flash_t) *flash(void)
{
    (void)flash_put;
    (void)flash_erased;
    return M(keep_on_eeprom)(&driver, &chip, 1000u);
}

static void refused(M(t) *m, M(keep_t) *keep)
{
    (void)m;
    (void)keep;
}

static void answers(void)
{
    const M(keep_flash_t) *const f = flash();
    static const uint8_t word[4] = { 1, 2, 3, 4 };

    cells[0] = 0;
    stuck = true;
    EXPECT(f->program(f->context, 0u, word, WORD) == C(KEEP_CORRUPT) && f->erase(f->context, 0u) == C(KEEP_CORRUPT));
    stuck = false;
    EXPECT(f->erase(f->context, 0u) == C(KEEP_OK) && f->program(f->context, 0u, word, WORD) == C(KEEP_OK));
    EXPECT(memcmp(cells, word, WORD) == 0);
}
#endif

static void learn(M(t) *m, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        M(inputs_t) x;
        size_t j;

        for (j = 0; j < sizeof x; j++)
            ((uint8_t *)&x)[j] = (uint8_t)rand();
        EXPECT(M(learn)(m, &x, (uint8_t)(i % C(CLASSES))) == C(OK));
    }
}

int main(void)
{
    static M(t) model, found;
    static M(keep_t) keep;
    int i;

    answers();
    memset(cells, ERASED, sizeof cells);
    refused(&model, &keep);
    operations = 0;
    EXPECT(M(restore)(&model, &keep, flash()) == C(KEEP_EMPTY));
    for (i = 0; i < 40; i++) { /* several times around the store */
        learn(&model, 2);
        EXPECT(M(save)(&model, &keep) == C(KEEP_OK));
        EXPECT(M(restore)(&found, &keep, flash()) == C(KEEP_OK));
        EXPECT(memcmp(&found.state, &model.state, sizeof found.state) == 0);
    }
    EXPECT(operations > 400);
    EXPECT(M(keep_erase)(&keep) == C(KEEP_OK) && M(restore)(&found, &keep, flash()) == C(KEEP_EMPTY));
    return 0;
}
