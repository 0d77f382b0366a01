/* SPDX-License-Identifier: BSD-2-Clause */
/* The files of the spool: queue/NNNNNN/ID, hold/ID, bad/ID. Knows names and durability, not what
 * stands in the messages. README.md has the states.
 *
 * Functions marked "job" block and belong on a pool thread; they touch nothing of the store that
 * changes. */
#ifndef POSTERN_STORE_H
#define POSTERN_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/id.h"
#include "proxy/base/list.h"
#include "proxy/io/copy.h"
#include "proxy/io/loop.h"
#include "spool/spool_format.h"

struct store; /* one a process */

enum store_folder { STORE_QUEUE, STORE_HOLD, STORE_BAD };

/* Where a message lies. */
struct store_place {
    struct id id;
    uint32_t directory; /* STORE_QUEUE: NNNNNN */
    enum store_folder folder;
};

#define STORE_PATH_MAX 512 /* of a spool directory, with what we add */

/* Sizes that decide when something is done, and never whether it is right: tests make them small,
 * so that a few messages reach them. */
struct store_limits {
    uint32_t directory_names;    /* messages in one directory of queue/ */
    uint32_t index_messages_min; /* a directory with fewer is read as fast without an index */
    uint32_t index_quiet_s;      /* no index is made of a directory that changed so lately */
    uint64_t records_bytes;      /* records beyond so many are worth a rewrite of the file */
};

/* Makes what is missing below `directory`, which is copied, and a directory of our own in queue/.
 * Blocks: only at start. `limits` NULL: those of the server. */
struct store *store_open(struct loop *l, struct bytes directory, const struct store_limits *limits,
                         int *error_out);
void store_close(struct store *s); /* the loop waits for its jobs */
void store_free(struct store **s);
const struct store_limits *store_limits(const struct store *s);
const char *store_directory(const struct store *s); /* of the spool: where unnamed files are made */

/* The place for a new message of this process; makes the next directory in time. */
struct store_place store_next_place(struct store *s, const struct id *id);

/* Job, S1 to S2: all of the body into the unnamed file, synced. What is there is not written again.
 */
int store_prepare(struct copy_image *image);
/* Job, S1 or S2 to S4: what is missing of the body, the records, the first block, sync, link,
 * directory sync. -EEXIST: there is one of this id. After an error nothing is in the queue, or
 * (only where syncing the directory failed) it was taken out again as far as that can be known. */
int store_commit(const struct store *s, struct copy_image *image, const struct store_place *place,
                 struct bytes records);

/* A message that is to be durable. All of it is the owner's, who keeps it until `done`. */
struct store_commit {
    struct list in_store; /* while it waits: the store's */
    struct copy_image *image;
    struct store_place place;
    struct bytes records;
    void (*done)(struct store_commit *c); /* on the loop, always, never within a call */
    int error;                            /* as store_commit() returns it */
};
/* As store_commit() by a job of the store's, together with all that waits at the same moment. */
void store_commit_soon(struct store *s, struct store_commit *commit);
/* Job: that job. Each succeeds or fails for itself. */
#define STORE_BATCH_MAX 64
void store_commit_all(const struct store *s, struct store_commit *const *commits, size_t count);

/* Job: opens and locks. -EAGAIN: somebody else delivers it; -ENOENT: it is gone. */
int store_take(const struct store *s, const struct store_place *place, int *fd_out);
/* Job: opens to read only, whoever delivers it meanwhile. */
int store_look(const struct store *s, const struct store_place *place, int *fd_out);
/* Job: first block and records of an open file, in `arena`. ERR_SYNTAX and the like of
 * spool_format.h, or -errno. `checks_body`: its checksum too (fsck, and after a crash); -EBADMSG:
 * the body is not what was written. That the id is that of the name is for the caller to see. */
int store_read(int fd, bool checks_body, struct arena *arena, struct spool_message *message_out);
/* Job: cuts at `at`, appends, and syncs where the record must not be lost. */
int store_append(int fd, uint64_t at, struct bytes records, bool is_synced);
/* Job, S8: the name goes; the directory is to be synced by store_sync(). */
int store_remove(const struct store *s, const struct store_place *place);
/* Job, S9: durable when it returns. `directory`: for STORE_QUEUE; made where it is missing. After
 * an error it lies in one of both places. */
int store_move(const struct store *s, const struct store_place *place, enum store_folder to,
               uint32_t directory, struct store_place *place_out);
/* Job: syncs a directory of queue/; removes it where it is empty and nobody fills it any more. */
int store_sync(const struct store *s, uint32_t directory, bool may_remove);

/* Job: from now on, until store_unmark(), it can be seen that somebody works on the queue; `id` is
 * any that nobody else has. `was_left_out`: somebody did who ended without store_unmark(); told
 * once, and set in any case. A descriptor to keep open, or an error. */
int store_mark(const struct store *s, const struct id *id, bool *was_left_out);
void store_unmark(const struct store *s, const struct id *id, int fd);

/* Job: every message of the three folders in the order of directories and names, fn says whether to
 * go on. What is no message of ours is told with its path, and so is a directory that cannot be
 * read, or not to its end: the listing goes on behind it. Directories of queue/ that hold nothing
 * and that nobody fills are removed on the way. 0 or ERR_MEMORY. */
struct store_found {
    struct store_place place;
    const char *stray; /* a path; NULL: a message */
    int error;         /* of a stray: why it cannot be read; 0: it is no message */
};
int store_list(const struct store *s, bool (*fn)(void *owner, const struct store_found *found),
               void *owner);

#endif
