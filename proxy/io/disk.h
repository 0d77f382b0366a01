/* SPDX-License-Identifier: BSD-2-Clause */
/* Files. Every call blocks: legal only in jobs (work.h), and at start. Errors are -errno. */
#ifndef POSTERN_DISK_H
#define POSTERN_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

/* An unnamed file (O_TMPFILE) in `directory`, mode 0600; vanishes with its descriptor.
 * -EOPNOTSUPP: the file system has no such files. */
int disk_open_unnamed(const char *directory);
int disk_open_read(const char *path);
/* A new file, mode 0600; -EEXIST when the name is taken. */
int disk_create(const char *path);
int disk_close(int fd);
/* All of it or an error: short writes are continued. */
int disk_write_at(int fd, uint64_t offset, struct bytes octets);
int disk_write_pieces_at(int fd, uint64_t offset, const struct bytes *pieces, int count);
/* Exactly `len` octets or -EIO at the end of the file. */
int disk_read_at(int fd, uint64_t offset, void *into, size_t len);
/* The kernel begins to write what it holds of the file, so that syncs of several files need not
 * wait one after the other. Promises nothing. */
void disk_start_writing(int fd);
int disk_sync(int fd); /* fdatasync */
int disk_sync_directory(const char *path);
/* The same in two steps: what the sync says is of all that has happened to the directory since it
 * was opened, also where the sync of somebody else has failed meanwhile, which the next one would
 * not know any more. */
int disk_open_directory(const char *path);
int disk_sync_open_directory(int fd);
int disk_link_unnamed(int fd, const char *path);   /* gives an unnamed file its name */
int disk_link(const char *from, const char *to);   /* a second name; -EEXIST: it is in use */
int disk_rename(const char *from, const char *to); /* never over an existing file: -EEXIST */
int disk_replace(const char *from, const char *to);
int disk_unlink(const char *path);
/* All missing directories of the path, mode 0700; each new name synced, and that of the directory
 * where the first one was missing. 0 when it is there: then its own name may not be durable, if a
 * process died while it was made. */
int disk_make_directories(const char *path);
/* The names in a directory but "." and "..", in no order: fn says whether to go on. */
int disk_list(const char *path, bool (*fn)(void *owner, const char *name), void *owner);
int disk_open_append(const char *path); /* to read and to write; it must exist */
/* An exclusive lock on the open file, held until it is closed; -EAGAIN: another one has it. */
int disk_lock(int fd);
void disk_unlock(int fd);
int disk_truncate(int fd, uint64_t length);
/* Marks on the file itself, for whoever opens it later: they outlive the process, and a power cut
 * maybe. The file has these from now on, and no others. */
enum disk_mark { DISK_MARK_TRIED = 1, DISK_MARK_UNSYNCED = 2 };
int disk_mark(int fd, unsigned marks);
struct disk_facts {
    uint64_t bytes;
    int64_t changed_s; /* mtime */
    uint32_t links;
    uint64_t number; /* which file it is, of those of its file system */
    unsigned marks;  /* disk_mark() */
};
int disk_facts_of(int fd, struct disk_facts *facts_out);
int disk_facts_of_path(const char *path, struct disk_facts *facts_out);
int disk_remove_directory(const char *path);                /* -ENOTEMPTY */
int disk_free_bytes(const char *path, uint64_t *bytes_out); /* for the unprivileged */
/* The whole file into mem_alloc()ed memory, at most `max_bytes` (-EFBIG). The caller frees. */
int disk_read_file(const char *path, size_t max_bytes, uint8_t **octets_out, size_t *len_out);

#endif
