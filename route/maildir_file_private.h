/* SPDX-License-Identifier: BSD-2-Clause */
/* What the jobs of a Maildir do with files: for pool threads alone. Private to route/maildir*.c. */
#ifndef POSTERN_MAILDIR_FILE_PRIVATE_H
#define POSTERN_MAILDIR_FILE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recipient;

/* One recipient's file. */
struct maildir_file {
    struct recipient *rcpt; /* the loop's */
    char *directory;        /* the Maildir */
    char *name;             /* the same in tmp/ and new/ */
    int error;              /* it could not be written, or did not appear as it should */
    bool is_made;           /* tmp/ has it */
    bool is_kept;           /* the commit shall rename it */
    bool may_be_there;      /* in new/, though `error` says that nobody can be sure of it */
};

/* A branch's files, and how far they are written. From its start to its end all is the job's. */
struct maildir_files {
    struct maildir_file *at;
    size_t count, current;
    bool is_all_or_nothing; /* the commit ends with the first file that does not appear */
    int fd;                 /* of the current one; -1: not open */
    uint64_t offset;
    uint8_t *chunk; /* what is written next */
    size_t chunk_bytes;
    bool is_last_chunk; /* of the current file */
};

/* Writes the chunk. The file is over, and closed, when it was the last one, or after an error; then
 * nothing is left of it. */
void maildir_file_write(struct maildir_files *files);
/* Each that is kept appears in new/, durably, or has an error. Of the others nothing is left. */
void maildir_file_commit(struct maildir_files *files);
/* Nothing is left of any that has not appeared. */
void maildir_file_clean(struct maildir_files *files);

#endif
