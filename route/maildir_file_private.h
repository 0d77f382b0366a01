/* SPDX-License-Identifier: BSD-2-Clause */
/* The file operations of a Maildir's jobs: for pool threads alone. Private to route/maildir*.c. */
#ifndef POSTERN_MAILDIR_FILE_PRIVATE_H
#define POSTERN_MAILDIR_FILE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recipient;

/* One recipient's file. */
struct maildir_file {
    struct recipient *rcpt; /* used on the loop alone */
    char *directory;        /* the Maildir */
    char *name;             /* of the file, in tmp/ and in new/ */
    int error;         /* why the file could not be written, or did not appear safely in new/ */
    bool is_made;      /* the file is in tmp/ */
    bool is_kept;      /* the commit is to rename it */
    bool may_be_there; /* in new/, though `error` is set: nobody can be sure */
};

/* A branch's files, and how far they are written. While a job runs, all of this belongs to the
 * job. */
struct maildir_files {
    struct maildir_file *at;
    size_t count, current;
    bool is_all_or_nothing; /* the commit stops at the first file that does not appear */
    int fd;                 /* of the current file; -1: not open */
    uint64_t offset;
    uint8_t *chunk; /* the octets to write next */
    size_t chunk_bytes;
    bool is_last_chunk; /* the chunk is the last one of the current file */
};

/* Writes the chunk. The current file is closed after its last chunk, and closed and removed after
 * an error. */
void maildir_file_write(struct maildir_files *files);
/* Every file with is_kept appears in new/, durably, or has an error. All others are removed. */
void maildir_file_commit(struct maildir_files *files);
/* Removes every file that has not appeared in new/. */
void maildir_file_clean(struct maildir_files *files);

#endif
