/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that get their name when they are complete. A temporary name is made of the descriptor,
 * which is unique as long as it is open; so a draft is a descriptor and nothing more. */
#include "proxy/io/draft.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/base/bytes.h"
#include "proxy/io/disk.h"

#define PATH_ROOM 640
#define NEW_MAX   1000 /* that may be created at the same time, or were left by failures */

struct path {
    char text[PATH_ROOM];
};

static struct path path_of(const struct draft_folder *folder, const char *prefix, int number)
{
    struct path path;

    int len = snprintf(path.text, sizeof(path.text), "%s/%s%d", folder->directory, prefix, number);
    assert(len > 0 && (size_t)len < sizeof(path.text));
    return path;
}

/* Concurrent jobs each take another name. */
static int create(const struct draft_folder *folder, struct path *path_out)
{
    int fd = -EEXIST;

    for (int i = 0; i < NEW_MAX && fd == -EEXIST; i++) {
        *path_out = path_of(folder, "new", i);
        fd = disk_create(path_out->text);
    }
    return fd;
}

static int open_named(const struct draft_folder *folder)
{
    struct path made;
    int fd = create(folder, &made);

    if (fd < 0)
        return fd;
    /* Replaces a draft that could not be removed when another file had this descriptor. */
    int error = disk_replace(made.text, path_of(folder, "", fd).text);
    if (error == 0)
        return fd;
    disk_unlink(made.text);
    disk_close(fd);
    return error;
}

int draft_open(const struct draft_folder *folder)
{
    return folder->has_names ? open_named(folder) : disk_open_unnamed(folder->directory);
}

int draft_link(const struct draft_folder *folder, int fd, const char *path)
{
    return folder->has_names ? disk_rename(path_of(folder, "", fd).text, path)
                             : disk_link_unnamed(fd, path);
}

void draft_close(const struct draft_folder *folder, int fd)
{
    if (folder->has_names)
        disk_unlink(path_of(folder, "", fd).text); /* -ENOENT: it has its name */
    disk_close(fd);
}
