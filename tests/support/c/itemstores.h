/*
 * Stores of keys and values in memory, with their makers' names: settings, ZMS and NVS of Zephyr, NVS of ESP-IDF, Preferences. Each change of an
 * item is whole or not at all, as they promise, and the power may go in front of it or behind it.
 */
#include "world.h"

#define MOST_ITEMS 200
#define MOST_BYTES 256

typedef struct {
    char name[64];
    unsigned char bytes[MOST_BYTES];
    size_t length; /* 0: there is none */
} item_t;

static item_t items_now[MOST_ITEMS], items_then[MOST_ITEMS];
static item_t items_late; /* a change that failed, and shows at the next boot if nothing else became of that item */
static size_t items_room = MOST_ITEMS;

static item_t *item_of(const char *name, int make)
{
    size_t i, held = 0, empty = MOST_ITEMS;

    for (i = 0; i < MOST_ITEMS; i++) {
        if (items_now[i].length > 0) {
            held++;
            if (strcmp(items_now[i].name, name) == 0)
                return &items_now[i];
        } else if (empty == MOST_ITEMS) {
            empty = i;
        }
    }
    if (!make || held >= items_room || empty == MOST_ITEMS)
        return NULL;
    strcpy(items_now[empty].name, name);
    return &items_now[empty];
}

enum { PUT = 0, FULL = 1, DEAD = 2 };

static int item_put(const char *name, const void *value, size_t length)
{
    const int before = world_operation();
    item_t *item;

    if (before == NOT_DONE)
        return DEAD;
    item = item_of(name, 1);
    if (item == NULL)
        return FULL;
    EXPECT(length > 0 && length <= MOST_BYTES);
    if (before == HALF_DONE) {
        strcpy(items_late.name, name);
        memcpy(items_late.bytes, value, length);
        items_late.length = length;
        return DEAD;
    }
    if (strcmp(items_late.name, name) == 0)
        items_late.length = 0;
    memcpy(item->bytes, value, length);
    item->length = length;
    return before == DONE ? PUT : DEAD;
}

static int item_drop(const char *name)
{
    const int before = world_operation();
    item_t *item;

    if (before == NOT_DONE)
        return DEAD;
    item = item_of(name, 0);
    if (before == HALF_DONE)
        return DEAD; /* not done */
    if (item != NULL) { /* of what is not there nothing is written, and what failed may still show */
        if (strcmp(items_late.name, name) == 0)
            items_late.length = 0;
        item->length = 0;
    }
    return before == DONE ? PUT : DEAD;
}

#if defined(STORE_settings) || defined(STORE_preferences)
#define STORE_blind 1
static int world_blind; /* so many look-ups find nothing */

static int unseen(void)
{
    const int failed = world.dead || world_blind > 0;

    if (world_blind > 0)
        world_blind--;
    return failed;
}
#endif

#if defined(STORE_settings)
#include <errno.h>

static ssize_t item_read(void *argument, void *data, size_t length)
{
    const item_t *const item = (const item_t *)argument;

    EXPECT(length <= item->length);
    memcpy(data, item->bytes, length);
    return (ssize_t)length;
}

/* All that is at a name, and below it: an item that only begins alike is neither. */
int settings_load_subtree_direct(const char *subtree, settings_load_direct_cb cb, void *param)
{
    const size_t length = strlen(subtree);
    size_t i;

    if (unseen())
        return 0; /* Zephyr's settings drop what the backend says */
    for (i = 0; i < MOST_ITEMS; i++) {
        item_t *const item = &items_now[i];

        if (item->length > 0 && strncmp(item->name, subtree, length) == 0 && (item->name[length] == '/' || item->name[length] == '\0'))
            (void)cb(item->name[length] == '/' ? &item->name[length + 1] : NULL, item->length, item_read, item, param);
    }
    return 0;
}

int settings_save_one(const char *name, const void *value, size_t val_len)
{
    const int done = item_put(name, value, val_len);

    return done == PUT ? 0 : done == FULL ? -ENOSPC : -EIO;
}

int settings_delete(const char *name)
{
    return item_drop(name) == PUT ? 0 : -EIO;
}

#elif defined(STORE_zms) || defined(STORE_zephyr_nvs)
#include <errno.h>

#ifdef STORE_zms
#define NAME(a) zms_##a
typedef uint32_t id_type;
#else
#define NAME(a) nvs_##a
typedef uint16_t id_type;
#endif

static const char *id_name(id_type id)
{
    static char name[16];

    (void)snprintf(name, sizeof name, "%lu", (unsigned long)id);
    return name;
}

ssize_t NAME(write)(struct NAME(fs) *fs, id_type id, const void *data, size_t len)
{
    const item_t *const item = item_of(id_name(id), 0);
    int done;

    EXPECT(fs->offset == 77);
    if (!world.dead && item != NULL && item->length == len && memcmp(item->bytes, data, len) == 0)
        return 0;
    done = item_put(id_name(id), data, len);
    return done == PUT ? (ssize_t)len : done == FULL ? -ENOSPC : -EIO;
}

int NAME(delete)(struct NAME(fs) *fs, id_type id)
{
    EXPECT(fs->offset == 77);
    return item_drop(id_name(id)) == PUT ? 0 : -EIO;
}

/* NVS answers how long an item is, where it is longer; ZMS never more than was asked for. */
ssize_t NAME(read)(struct NAME(fs) *fs, id_type id, void *data, size_t len)
{
    const item_t *const item = item_of(id_name(id), 0);
    size_t part;

    EXPECT(fs->offset == 77);
    if (world.dead)
        return -EIO;
    if (item == NULL)
        return -ENOENT;
    part = item->length < len ? item->length : len;
    memcpy(data, item->bytes, part);
#ifdef STORE_zms
    return (ssize_t)part;
#else
    return (ssize_t)item->length;
#endif
}

#elif defined(STORE_esp_nvs)

esp_err_t nvs_set_blob(nvs_handle_t handle, const char *key, const void *value, size_t length)
{
    int done;

    EXPECT(handle == 77 && strlen(key) <= 15);
    done = item_put(key, value, length);
    return done == PUT ? ESP_OK : done == FULL ? ESP_ERR_NVS_NOT_ENOUGH_SPACE : ESP_FAIL;
}

esp_err_t nvs_get_blob(nvs_handle_t handle, const char *key, void *out_value, size_t *length)
{
    const item_t *const item = item_of(key, 0);

    EXPECT(handle == 77);
    if (world.dead)
        return ESP_FAIL;
    if (item == NULL)
        return ESP_ERR_NVS_NOT_FOUND;
    if (*length < item->length)
        return ESP_ERR_NVS_INVALID_LENGTH;
    *length = item->length;
    memcpy(out_value, item->bytes, item->length);
    return ESP_OK;
}

esp_err_t nvs_erase_key(nvs_handle_t handle, const char *key)
{
    EXPECT(handle == 77);
    if (!world.dead && item_of(key, 0) == NULL)
        return ESP_ERR_NVS_NOT_FOUND;
    return item_drop(key) == PUT ? ESP_OK : ESP_FAIL;
}

esp_err_t nvs_commit(nvs_handle_t handle)
{
    EXPECT(handle == 77);
    return world.dead ? ESP_FAIL : ESP_OK;
}

#else /* Preferences */

bool Preferences::remove(const char *key)
{
    return (world.dead || item_of(key, 0) != NULL) && item_drop(key) == PUT;
}

size_t Preferences::putBytes(const char *key, const void *value, size_t len)
{
    EXPECT(strlen(key) <= 15);
    return item_put(key, value, len) == PUT ? len : 0u;
}

bool Preferences::isKey(const char *key)
{
    return !unseen() && item_of(key, 0) != NULL;
}

size_t Preferences::getBytesLength(const char *key)
{
    return isKey(key) ? item_of(key, 0)->length : 0u;
}

size_t Preferences::getBytes(const char *key, void *buf, size_t maxLen)
{
    const size_t length = getBytesLength(key);

    if (length == 0u || length > maxLen)
        return 0u;
    memcpy(buf, item_of(key, 0)->bytes, length);
    return length;
}

#endif

/* ---- the world ---- */

static void world_erase(void)
{
    memset(items_now, 0, sizeof items_now);
}

static void world_store(void)
{
    memcpy(items_then, items_now, sizeof items_now);
}

static void world_back(void)
{
    memcpy(items_now, items_then, sizeof items_now);
    items_late.length = 0;
}

static void items_boot(void)
{
    const item_t late = items_late;

    items_late.length = 0;
    if (late.length > 0) {
        item_t *const item = item_of(late.name, 1);

        EXPECT(item != NULL);
        memcpy(item->bytes, late.bytes, late.length);
        item->length = late.length;
    }
}

static M(keep_in_t) world_mount(void)
{
    items_boot();
#if defined(STORE_settings)
    static M(keep_settings_t) place;

    return M(keep_in_settings)(&place, "a/tree");
#elif defined(STORE_zms)
    static struct zms_fs fs = { 77 };
    static M(keep_zms_t) place;

    return M(keep_in_zms)(&place, &fs, 4000000000u);
#elif defined(STORE_zephyr_nvs)
    static struct nvs_fs fs = { 77 };
    static M(keep_zephyr_nvs_t) place;

    return M(keep_in_zephyr_nvs)(&place, &fs, 0xFF00u);
#elif defined(STORE_esp_nvs)
    static M(keep_esp_nvs_t) place;

    return M(keep_in_esp_nvs)(&place, 77u);
#else
    static Preferences preferences;
    static M(keep_preferences_t) place;

    return M(keep_in_preferences)(&place, &preferences);
#endif
}

#if defined(STORE_zms)
static M(keep_in_t) world_low_room(void)
{
    static struct zms_fs fs = { 77 };
    static M(keep_zms_t) place;

    return M(keep_in_zms)(&place, &fs, 0xFFFFFFFDu);
}
#elif defined(STORE_zephyr_nvs)
static M(keep_in_t) world_low_room(void)
{
    static struct nvs_fs fs = { 77 };
    static M(keep_zephyr_nvs_t) place;

    return M(keep_in_zephyr_nvs)(&place, &fs, 0xFFFDu);
}
#endif

/* How many items there are, or blocks that are in use: none behind `forget`. */
static size_t world_held(void)
{
    size_t i, held = 0;

    for (i = 0; i < MOST_ITEMS; i++)
        held += items_now[i].length > 0;
    return held;
}

static size_t world_places(void)
{
    return sizeof items_now / sizeof items_now[0] * MOST_BYTES;
}

/* A byte that is kept, or a null pointer. */
static unsigned char *world_byte(size_t place)
{
    item_t *const item = &items_now[place / MOST_BYTES];

    return place % MOST_BYTES < item->length ? &item->bytes[place % MOST_BYTES] : NULL;
}

static void world_fill(int full)
{
    items_room = full ? world_held() + 1 : MOST_ITEMS;
}

#ifdef STORE_preferences
#define ANSWER_FULL C(KEEP_IO)
#else
#define ANSWER_FULL C(KEEP_WORN)
#endif
#define WHOLE 1 /* an operation is done or not; half of one that fails and passes: it shows at the next boot */
