/* SPDX-License-Identifier: BSD-2-Clause */
/* The file operations of a Maildir's jobs. */
#include "route/maildir_file_private.h"

#include <errno.h>

#include "proxy/base/bytes.h"
#include "proxy/io/disk.h"
#include "route/maildir_path_private.h"

static const char *path_of(char path[MAILDIR_PATH_ROOM], const struct maildir_file *file,
                           const char *folder)
{
    return maildir_path_join(path, file->directory, folder, file->name);
}

static void remove_file(struct maildir_file *file)
{
    char path[MAILDIR_PATH_ROOM];

    if (file->is_made)
        disk_unlink(path_of(path, file, "/tmp/"));
    file->is_made = false;
}

static int close_file(struct maildir_files *files)
{
    int error = files->fd < 0 ? 0 : disk_close(files->fd);

    files->fd = -1;
    return error;
}

/* ---- writing ---- */

/* tmp/ is made last: where it exists the other folders do, too, even if making them was cut
 * short. */
static int make_file(struct maildir_file *file)
{
    static const char *const folders[] = {"/new/", "/cur/", "/tmp/"};
    char path[MAILDIR_PATH_ROOM];
    int fd = disk_create(path_of(path, file, "/tmp/"));

    if (fd != -ENOENT)
        return fd;
    for (size_t i = 0; i < ARRAY_LENGTH(folders); i++) {
        int error = disk_make_directories(maildir_path_join(path, file->directory, folders[i], ""));
        if (error != 0)
            return error;
    }
    return disk_create(path_of(path, file, "/tmp/"));
}

static int write_chunk(struct maildir_files *files, struct maildir_file *file)
{
    int error;

    if (files->fd < 0) {
        files->fd = make_file(file);
        if (files->fd < 0)
            return files->fd;
        file->is_made = true;
    }
    error = disk_write_at(files->fd, files->offset, bytes_make(files->chunk, files->chunk_bytes));
    if (error == 0 && files->is_last_chunk)
        error = disk_sync(files->fd);
    return error;
}

void maildir_file_write(struct maildir_files *files)
{
    struct maildir_file *file = &files->at[files->current];

    assert(files->current < files->count);
    file->error = write_chunk(files, file);
    if (file->error == 0 && !files->is_last_chunk)
        return;
    int error = close_file(files);
    if (file->error == 0)
        file->error = error;
    if (file->error != 0)
        remove_file(file);
}

/* ---- committing ---- */

/* On the file system of another host a rename may have happened though it reports an error: whoever
 * finds the file knows. */
static int rename_file(struct maildir_file *file, const char *from, const char *to)
{
    struct disk_facts facts;
    int error = disk_rename(from, to);

    if (error == 0)
        file->is_made = false;
    if (error == 0 || error == -EEXIST)
        return error;
    int found = disk_facts_of_path(to, &facts);
    file->may_be_there = found != -ENOENT;
    return found == 0 ? 0 : error;
}

/* The directory is opened before the rename, so that the sync also reports an error that another
 * job's sync has taken meanwhile. */
static int appear(struct maildir_file *file)
{
    char from[MAILDIR_PATH_ROOM], to[MAILDIR_PATH_ROOM];
    int fd = disk_open_directory(maildir_path_join(to, file->directory, "/new", "")), error;

    if (fd < 0)
        return fd;
    error = rename_file(file, path_of(from, file, "/tmp/"), path_of(to, file, "/new/"));
    if (error == 0) {
        file->may_be_there = true;
        error = disk_sync_open_directory(fd);
    }
    disk_close(fd);
    return error;
}

void maildir_file_commit(struct maildir_files *files)
{
    int failed = 0;

    for (size_t i = 0; i < files->count; i++) {
        struct maildir_file *file = &files->at[i];
        if (!file->is_kept)
            continue;
        file->error = files->is_all_or_nothing && failed != 0 ? failed : appear(file);
        if (file->error != 0)
            failed = file->error;
    }
    maildir_file_clean(files);
}

void maildir_file_clean(struct maildir_files *files)
{
    close_file(files);
    for (size_t i = 0; i < files->count; i++)
        remove_file(&files->at[i]);
}
