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

#include "proxy/base/arena.h"
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
    /* Records beyond so many are worth a rewrite of the file, by store_change(), where they are
     * also more than twice what they need be, and what can be saved is more than an eighth of the
     * body. 0: whatever is written, it is a rewrite. */
    uint64_t records_bytes;
};

/* Makes what is missing below `directory`, which is copied, and a directory of our own in queue/.
 * Blocks: only at start. `limits` NULL: those of the server. */
struct store *store_open(struct loop *l, struct bytes directory, const struct store_limits *limits,
                         int *error_out);
void store_close(struct store *s); /* the loop waits for its jobs */
void store_free(struct store **s);
const struct store_limits *store_limits(const struct store *s);
const char *store_directory(const struct store *s); /* of the spool */
/* Where files are made that become messages, or vanish. */
const struct draft_folder *store_drafts(const struct store *s);

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

/* Job: opens and locks. -EAGAIN: somebody else delivers it; -ENOENT: it is not there (any more).
 * What is locked is what has the name: a file that a rewrite has put there is opened in its turn.
 */
int store_take(const struct store *s, const struct store_place *place, int *fd_out);
/* Job: opens to read only, whoever delivers it meanwhile. What is found damaged may have been
 * changed while it was read: it is judged by whoever has taken it. */
int store_look(const struct store *s, const struct store_place *place, int *fd_out);
/* Job: first block and records of the open file of message `id`, in `arena`. Damaged: ERR_SYNTAX,
 * also where it is another message; -EFBIG: more records than are ever written. ERR_RANGE: of a
 * later version; or -errno. */
int store_read(int fd, const struct id *id, struct arena *arena, struct spool_message *message_out);
/* Job: legal when the body has `len` octets. Its first `len` octets. All of it is read, and what is
 * damaged is not given out: -EBADMSG. */
int store_read_body(int fd, const struct spool_head *head, uint8_t *into, size_t len);
/* In words, where an error of store_read() or store_read_body() means that it belongs into bad/:
 * "is damaged". NULL: it does not. */
const char *store_damage(int error);
static inline bool store_is_damaged(int error)
{
    return store_damage(error) != NULL;
}

/* Job: cuts at `at`, appends, and syncs where the record must not be lost. What was written before
 * must be durable: store_change() sees to that. */
int store_append(int fd, uint64_t at, struct bytes records, bool is_synced);
/* What has changed of a message that is taken. */
struct store_change {
    const struct store_place *place;
    const struct spool_message *message; /* as it is with the change; records_end: before it */
    struct bytes records;                /* that say what has changed, for records_end */
    bool is_synced;                      /* they must not be lost */
};
/* A message that is taken, as its files are changed. */
struct store_taken {
    int fd;         /* locked */
    bool is_broken; /* a sync has failed: what is written next goes into a new file */
};
/* Job: appends the records, or writes the whole message anew where they outgrow it: R1 to R4. Then
 * `taken->fd` is another one, and the one before is still open, and the caller's. That may be so
 * after an error too. -EFBIG: there is no room for the records. */
int store_change(const struct store *s, const struct store_change *change,
                 struct store_taken *taken);
/* Job: R1 to R4 in any case. */
int store_rewrite(const struct store *s, const struct store_change *change,
                  struct store_taken *taken);

/* Job: says on a file that is taken that its delivery begins, until store_end_try().
 * `was_left_out`: one had begun that nobody has ended: the process died, and the target may have
 * the message. Where nothing can be written, nothing is said. */
void store_begin_try(int fd, bool *was_left_out);
void store_end_try(int fd);

/* Job, S8: the name goes; the directory is to be synced by store_sync(). */
int store_remove(const struct store *s, const struct store_place *place);
/* Job, S9: legal when the message does not lie in folder `to`. Durable when it returns.
 * `directory`: for STORE_QUEUE; made where it is missing. After
 * an error it lies in one of both places. */
int store_move(const struct store *s, const struct store_place *place, enum store_folder to,
               uint32_t directory, struct store_place *place_out);
/* Job: of a message that is taken, before anything else is done to it: a hold or a release that was
 * cut short between both names is ended. `is_held`: the file says so. */
int store_end_move(const struct store *s, const struct store_place *place, int fd, bool is_held);
/* Job: syncs a directory of queue/; removes it where it is empty and nobody fills it any more. */
int store_sync(const struct store *s, uint32_t directory, bool may_remove);
/* Job: the same for hold/ and bad/. */
int store_sync_folder(const struct store *s, enum store_folder folder);

/* Job: from now on, until store_unmark(), it can be seen that somebody works on the queue; `id` is
 * any that nobody else has. `was_left_out`: somebody did who ended without store_unmark(); told
 * once, and set in any case. A descriptor to keep open, or an error. */
int store_mark(const struct store *s, const struct id *id, bool *was_left_out);
void store_unmark(const struct store *s, const struct id *id, int fd);

/* Job: every message of the three folders in the order of directories and names, fn says whether to
 * go on. What is no message of ours is told with its path, and so is a directory that cannot be
 * read, or not to its end: the listing goes on behind it. Directories of queue/ that hold nothing
 * and that nobody fills are removed on the way, and what a rewrite left that came to nothing. 0 or
 * ERR_MEMORY. */
struct store_found {
    struct store_place place;
    const char *stray; /* a path; NULL: a message */
    int error;         /* of a stray: why it cannot be read; 0: it is no message */
};
int store_list(const struct store *s, bool (*fn)(void *owner, const struct store_found *found),
               void *owner);

#endif
