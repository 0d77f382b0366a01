/* SPDX-License-Identifier: BSD-2-Clause */
/* running/ID: a locked file for each runner that works; one that nobody holds was left by a crash.
 */
#include "proxy/io/disk.h"
#include "spool/store_private.h"

struct marks {
    const struct store *store;
    bool is_any_left;
};

/* Removes marks that were left, so that each is told once. */
static bool see(void *owner, const char *name)
{
    struct marks *marks = owner;
    struct store_path path = store_mark_path(marks->store, name);
    int fd = disk_open_read(path.text);

    if (fd < 0)
        return true;
    if (disk_lock(fd) == 0 && disk_unlink(path.text) == 0)
        marks->is_any_left = true;
    disk_close(fd);
    return true;
}

/* Kept open for reading only, so that the file system can be remounted read-only. */
static int lock_mark(const char *path)
{
    int fd = disk_create(path);

    if (fd < 0)
        return fd;
    disk_close(fd);
    fd = disk_open_read(path);
    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        return fd;
    disk_close(fd);
    return error;
}

int store_mark(const struct store *store, const struct id *id, bool *was_left_out)
{
    struct marks marks = {.store = store};
    struct store_path folder = store_mark_path(store, "");
    int fd = -1, error = disk_make_directories(folder.text);

    if (error == 0)
        error = disk_list(folder.text, see, &marks);
    if (error == 0)
        fd = lock_mark(store_mark_path(store, id->text).text);
    if (fd >= 0)
        disk_sync_directory(folder.text); /* if this fails, a power cut goes unnoticed: no harm */
    *was_left_out = marks.is_any_left;
    return error == 0 ? fd : error;
}

void store_unmark(const struct store *store, const struct id *id, int fd)
{
    disk_unlink(store_mark_path(store, id->text).text);
    disk_close(fd);
}
