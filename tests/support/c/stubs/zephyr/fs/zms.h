/* What the tests need of Zephyr 4.2's header of this name; the file system's own fields are left out. */
#ifndef ZEPHYR_INCLUDE_FS_ZMS_H_
#define ZEPHYR_INCLUDE_FS_ZMS_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct zms_fs {
    off_t offset;
};

ssize_t zms_write(struct zms_fs *fs, uint32_t id, const void *data, size_t len);
int zms_delete(struct zms_fs *fs, uint32_t id);
ssize_t zms_read(struct zms_fs *fs, uint32_t id, void *data, size_t len);

#ifdef __cplusplus
}
#endif

#endif
