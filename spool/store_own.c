/* SPDX-License-Identifier: BSD-2-Clause */
/* Directories of our own: made and locked by this process. */
#include <assert.h>
#include <errno.h>

#include "proxy/io/disk.h"
#include "spool/store_private.h"

void store_close_own(struct store_own *own)
{
    if (own->fd >= 0)
        disk_close(own->fd);
    own->fd = -1;
}

/* A stray file has the name, or another process has removed the directory while we were making it:
 * -EEXIST, and the next number will do. If the folder itself cannot be made, no number would. */
static int why_not_made(const struct store *store, const char *folder)
{
    int error = disk_make_directories(store_folder_path(store, folder).text);

    return error == 0 ? -EEXIST : error;
}

int store_make_own(const struct store *store, const char *folder, uint32_t number,
                   struct store_own *own_out)
{
    struct store_path directory = store_numbered_path(store, folder, number, "");
    struct store_path owner = store_numbered_path(store, folder, number, STORE_OWNER);
    struct disk_facts facts;

    assert(number != 0 && number <= STORE_DIRECTORY_MAX);
    int fd, error = disk_make_directories(directory.text);

    if (error == -ENOTDIR || error == -ENOENT)
        return why_not_made(store, folder);
    if (error != 0)
        return error;
    fd = disk_create(owner.text);
    if (fd >= 0) { /* kept open for reading only, so that the file system can be remounted */
        disk_close(fd);
        fd = disk_open_read(owner.text);
    }
    if (fd < 0)
        return fd == -ENOENT ? -EEXIST : fd;
    error = disk_lock(fd);
    if (error == 0)
        error = disk_facts_of(fd, &facts);
    if (error == -EAGAIN || (error == 0 && facts.links == 0))
        error = -EEXIST; /* another process took the directory for abandoned, and removes it */
    if (error == 0)      /* a start that was cut short may have made the directory without this */
        error = disk_sync_directory(store_folder_path(store, folder).text);
    if (error == 0)
        *own_out = (struct store_own){.number = number, .fd = fd};
    else
        disk_close(fd);
    return error;
}

int store_make_next(const struct store *store, const char *folder, uint32_t after,
                    struct store_own *own_out)
{
    int error = -EEXIST;

    for (uint32_t i = 0; i < STORE_DIRECTORY_MAX && error == -EEXIST; i++) {
        after = after % STORE_DIRECTORY_MAX + 1;
        error = store_make_own(store, folder, after, own_out);
    }
    return error;
}
