/* littlefs on a flash in memory whose power goes in front of, within and behind any operation. Within: half of it is done, and a byte is neither. */
#include "world.h"

#define PROGRAM 16
#define BLOCK 512
#define BLOCKS 24

static unsigned char disk_now[BLOCKS * BLOCK], disk_then[BLOCKS * BLOCK];

static int disk_read(const struct lfs_config *c, lfs_block_t block, lfs_off_t off, void *buffer, lfs_size_t size)
{
    (void)c;
    if (world.dead)
        return LFS_ERR_IO;
    memcpy(buffer, &disk_now[block * BLOCK + off], size);
    return 0;
}

static int disk_prog(const struct lfs_config *c, lfs_block_t block, lfs_off_t off, const void *buffer, lfs_size_t size)
{
    const int done = world_operation();
    unsigned char *const at = &disk_now[block * BLOCK + off];
    lfs_size_t i;

    (void)c;
    if (done == NOT_DONE)
        return LFS_ERR_IO;
    for (i = 0; i < size; i++)
        EXPECT(at[i] == 0xFF || world.passes); /* erased, and programmed once */
    memcpy(at, buffer, done == HALF_DONE ? size / 2 : size);
    if (done == HALF_DONE)
        at[size / 2] &= 0x5A;
    return done == DONE ? 0 : LFS_ERR_IO;
}

static int disk_erase(const struct lfs_config *c, lfs_block_t block)
{
    const int done = world_operation();

    (void)c;
    if (done == NOT_DONE)
        return LFS_ERR_IO;
    memset(&disk_now[block * BLOCK], 0xFF, done == HALF_DONE ? BLOCK / 2 : BLOCK);
    if (done == HALF_DONE)
        disk_now[block * BLOCK + BLOCK / 2] |= 0xA5;
    return done == DONE ? 0 : LFS_ERR_IO;
}

static int disk_sync(const struct lfs_config *c)
{
    (void)c;
    return world.dead ? LFS_ERR_IO : 0;
}

static uint8_t disk_caches[3][64];
static uint32_t disk_lookahead[2];
static const struct lfs_config disk = {
    NULL, disk_read, disk_prog, disk_erase, disk_sync, 16, PROGRAM, BLOCK, BLOCKS, 100, 64, 8, 0, disk_caches[0], disk_caches[1], disk_lookahead, 255, 0, 0, 0, 0,
#ifdef LFS_MULTIVERSION_FIELD
    0,
#endif
};
static lfs_t disk_lfs;

static void world_erase(void)
{
    world_cut(0, BEFORE, 0);
    memset(disk_now, 0xFF, sizeof disk_now);
    EXPECT(lfs_format(&disk_lfs, &disk) == 0);
}

static void world_store(void)
{
    memcpy(disk_then, disk_now, sizeof disk_now);
}

static void world_back(void)
{
    memcpy(disk_now, disk_then, sizeof disk_now);
}

static M(keep_in_t) world_mount(void)
{
    static M(keep_littlefs_t) file;

    EXPECT(lfs_mount(&disk_lfs, &disk) == 0);
    return M(keep_in_littlefs)(&file, &disk_lfs, "kept", "kept.new", disk_caches[2]);
}

static int disk_has(const char *name)
{
    static const struct lfs_file_config with = { disk_caches[2], NULL, 0 };
    lfs_file_t file;
    const int error = lfs_file_opencfg(&disk_lfs, &file, name, LFS_O_RDONLY, &with);

    if (error == 0)
        EXPECT(lfs_file_close(&disk_lfs, &file) == 0);
    return error == 0;
}

static size_t world_held(void)
{
    return (size_t)(disk_has("kept") + disk_has("kept.new"));
}

static size_t world_places(void)
{
    return sizeof disk_now;
}

static unsigned char *world_byte(size_t place)
{
    return &disk_now[place];
}

/* A file that leaves no block. */
static void world_fill(int full)
{
    static const struct lfs_file_config with = { disk_caches[2], NULL, 0 };
    static const uint8_t bytes[BLOCK] = { 1 };
    lfs_file_t file;
    int i;

    if (!full) {
        EXPECT(lfs_remove(&disk_lfs, "full") == 0);
        return;
    }
    for (i = BLOCKS * 4; i > 0; i--) { /* until what fits is found */
        int j, error = 0;

        EXPECT(lfs_file_opencfg(&disk_lfs, &file, "full", LFS_O_WRONLY | LFS_O_CREAT | LFS_O_TRUNC, &with) == 0);
        for (j = 0; j < i && error >= 0; j++)
            error = (int)lfs_file_write(&disk_lfs, &file, bytes, BLOCK / 4);
        if (lfs_file_close(&disk_lfs, &file) == 0 && error >= 0)
            return;
    }
}

#define ANSWER_FULL C(KEEP_WORN)
#define WHOLE 0

/* For the other side, which reads and writes the same file. */
unsigned char *disk_cells(void);
unsigned char *disk_cells(void)
{
    return disk_now;
}

/* What is kept, as far as it is a state: the answer of a restore. */
int restored(uint8_t *state);
int restored(uint8_t *state)
{
    static M(t) model;
    M(keep_in_t) in;
    M(keep_status) status;

    world_cut(0, BEFORE, 0);
    in = world_mount();
    status = M(restore_from)(&model, &in);
    memcpy(state, &model.state, sizeof model.state);
    return (int)status;
}
