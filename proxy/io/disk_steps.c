/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations of several calls, each of which can fail or be the last one. The simulator runs this
 * file, too, on its own disk. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "proxy/io/disk.h"
#include "proxy/io/disk_private.h"

/* Opens the directory that holds `path`, which is modified meanwhile. Whoever changes something
 * there opens it before: only then a later sync reports what another one has failed at in between.
 */
static int open_parent(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL)
        return disk_open_directory(".");
    if (slash == path)
        return disk_open_directory("/");
    *slash = '\0';
    int fd = disk_open_directory(path);
    *slash = '/';
    return fd;
}

/* `parent`: what open_parent() gave. */
static int sync_parent(int parent)
{
    return parent < 0 ? parent : disk_sync_open_directory(parent);
}

static void close_parent(int parent)
{
    if (parent >= 0)
        disk_close(parent);
}

/* Copies a path so that it can be modified. */
static int copy_path(char copy[PATH_MAX], const char *path)
{
    size_t length = strlen(path);

    if (length == 0 || length >= PATH_MAX)
        return length == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(copy, path, length + 1);
    return 0;
}

/* ---- renaming ---- */

/* For file systems that cannot rename without replacing (NFS). The new name is synced before the
 * old one goes: else a power cut could take both. */
static int rename_by_link(const char *from, const char *to)
{
    char path[PATH_MAX];
    int error = copy_path(path, to);

    if (error != 0)
        return error;
    int parent = open_parent(path);
    error = parent < 0 ? parent : disk_link(from, to);
    if (error == -EEXIST && disk_is_same_file(from, to))
        error = 0; /* an earlier try was cut short here */
    bool is_linked = error == 0;
    if (is_linked)
        error = sync_parent(parent);
    close_parent(parent);
    if (error == 0)
        error = disk_unlink(from);
    if (error != 0 && is_linked)
        disk_unlink(to); /* else the file has two names until it is moved again */
    return error;
}

int disk_rename(const char *from, const char *to)
{
    int error = disk_move(from, to);

    return error == -EINVAL || error == -ENOSYS ? rename_by_link(from, to) : error;
}

/* ---- directories ---- */

/* Syncs the name of the directory that holds `path`: whoever made that directory may have died
 * before syncing it. A directory that we may not look into was not made by us. */
static int sync_grandparent(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        return 0;
    *slash = '\0';
    int parent = open_parent(path);
    *slash = '/';
    int error = sync_parent(parent);
    close_parent(parent);
    return error == -EACCES || error == -EPERM ? 0 : error;
}

/* `*is_first`: no directory of the path was made yet. */
static int make_one(char *path, bool *is_first)
{
    int parent = open_parent(path), error = disk_make_directory(path);

    if (error != 0) {
        close_parent(parent);
        return error == -EEXIST ? disk_find_directory(path) : error;
    }
    error = sync_parent(parent);
    close_parent(parent);
    if (error == 0 && *is_first)
        error = sync_grandparent(path);
    *is_first = false;
    if (error != 0) /* else the next try would take the name for durable */
        disk_remove_directory(path);
    return error;
}

int disk_make_directories(const char *path)
{
    char copy[PATH_MAX];
    size_t length = strlen(path);
    int error = disk_find_directory(path);
    bool is_first = true;

    if (error == 0 || error == -ENOTDIR) /* the usual case, in one call */
        return error;
    error = copy_path(copy, path);
    if (error != 0)
        return error;
    while (length > 1 && copy[length - 1] == '/')
        copy[--length] = '\0';
    for (size_t i = 1; i < length; i++) {
        if (copy[i] != '/' || copy[i - 1] == '/')
            continue;
        copy[i] = '\0';
        error = make_one(copy, &is_first);
        copy[i] = '/';
        if (error != 0)
            return error;
    }
    return make_one(copy, &is_first);
}
