/* SPDX-License-Identifier: BSD-2-Clause */
/* Files. Every call blocks: legal only in jobs (work.h), and at start. Errors are -errno. */
#ifndef POSTERN_DISK_H
#define POSTERN_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

/* An unnamed file (O_TMPFILE) in `directory`, mode 0600; it vanishes with its descriptor.
 * -EOPNOTSUPP: the file system has no such files. */
int disk_open_unnamed(const char *directory);
int disk_open_read(const char *path);
/* A new file, mode 0600; -EEXIST when the name is taken. */
int disk_create(const char *path);
int disk_close(int fd);
/* Writes all octets or fails: short writes are continued. */
int disk_write_at(int fd, uint64_t offset, struct bytes octets);
int disk_write_pieces_at(int fd, uint64_t offset, const struct bytes *pieces, int count);
/* Reads exactly `len` octets; -EIO at the end of the file. */
int disk_read_at(int fd, uint64_t offset, void *into, size_t len);
/* Has the kernel begin to write the file's dirty pages, so that the syncs of several files need not
 * wait one after the other. Promises nothing. */
void disk_start_writing(int fd);
int disk_sync(int fd); /* fdatasync */
int disk_sync_directory(const char *path);
/* The same in two steps. The sync reports every failure since the directory was opened; without the
 * earlier open it would miss a failure that another sync has been told of. */
int disk_open_directory(const char *path);
int disk_sync_open_directory(int fd);
int disk_link_unnamed(int fd, const char *path);   /* gives an unnamed file its name */
int disk_link(const char *from, const char *to);   /* a second name; -EEXIST: it is in use */
int disk_rename(const char *from, const char *to); /* -EEXIST: does not replace a file */
int disk_replace(const char *from, const char *to);
int disk_unlink(const char *path);
/* Makes all missing directories of the path, mode 0700, and syncs each new name, and the name of
 * the directory that holds the first of them. When the path exists its own name is not synced: if a
 * process died while making it, the name may not be durable. */
int disk_make_directories(const char *path);
/* Calls fn for each name in a directory but "." and "..", in no order, until fn returns false. */
int disk_list(const char *path, bool (*fn)(void *owner, const char *name), void *owner);
int disk_open_append(const char *path); /* for reading and writing; the file must exist */
/* An exclusive lock on the open file, held until the file is closed; -EAGAIN: another process has
 * it. */
int disk_lock(int fd);
void disk_unlock(int fd);
int disk_truncate(int fd, uint64_t length);
/* Marks on the file itself, for whoever opens it later. They outlive the process, but perhaps not a
 * power cut. The file has exactly these marks afterwards. */
enum disk_mark { DISK_MARK_TRIED = 1, DISK_MARK_UNSYNCED = 2, DISK_MARK_SYNCING = 4 };
int disk_mark(int fd, unsigned marks);
struct disk_facts {
    uint64_t bytes;
    int64_t changed_s; /* mtime */
    uint32_t links;
    uint64_t number; /* identifies the file within its file system */
    unsigned marks;  /* disk_mark() */
};
int disk_facts_of(int fd, struct disk_facts *facts_out);
int disk_facts_of_path(const char *path, struct disk_facts *facts_out);
int disk_remove_directory(const char *path);                /* -ENOTEMPTY */
int disk_free_bytes(const char *path, uint64_t *bytes_out); /* that unprivileged users may fill */
/* Reads the whole file into mem_alloc()ed memory, which the caller frees; -EFBIG: it has more than
 * `max_bytes`. */
int disk_read_file(const char *path, size_t max_bytes, uint8_t **octets_out, size_t *len_out);

#endif
