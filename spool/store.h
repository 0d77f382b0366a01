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

/* Where the file of a message lies: its folder, its directory, its name. */
struct store_place {
    struct id id;
    uint32_t directory; /* STORE_QUEUE: NNNNNN */
    enum store_folder folder;
};

#define STORE_PATH_MAX 512 /* of a spool directory */

/* Sizes that decide when something is done. Tests make them small, so that a few messages reach
 * them. */
struct store_limits {
    uint32_t directory_names;    /* messages in one directory of queue/ */
    uint32_t index_messages_min; /* a directory with fewer messages is read as fast without an
                                  * index */
    uint32_t index_quiet_s;      /* no index is made of a directory that has changed within this
                                  * time */
    /* store_change() rewrites a file with more octets of records than this, if they are also more
     * than twice what is needed, and more than an eighth of the body can be saved. 0: every change
     * is a rewrite. */
    uint64_t records_bytes;
};

/* Makes what is missing below `directory`, which is copied, and a directory of our own in queue/.
 * Blocks, so it is for the start only. `limits` NULL: those of the server. */
struct store *store_open(struct loop *l, struct bytes directory, const struct store_limits *limits,
                         int *error_out);
void store_close(struct store *store); /* no new jobs; the loop waits for those that run */
void store_free(struct store **store);
const struct store_limits *store_limits(const struct store *store);
const char *store_directory(const struct store *store); /* of the spool */
/* Where drafts are made. */
const struct draft_folder *store_drafts(const struct store *store);

/* The place for a new message of this process; also has the next directory made in time. */
struct store_place store_next_place(struct store *store, const struct id *id);

/* Job, S1 to S2: writes what is missing of the body into the unnamed file, and syncs it. */
int store_prepare(struct copy_image *image);
/* Job, S1 or S2 to S4: writes what is missing of the body, the records and the first block; syncs
 * and links the file, and syncs the directory. -EEXIST: there is a message of this id. After an
 * error the message is not in the queue; if syncing the directory failed, its name was taken back,
 * as far as that can be known. */
int store_commit(const struct store *store, struct copy_image *image,
                 const struct store_place *place, struct bytes records);

/* Job: as store_commit(), of a second message with the body of one that is committed: into a file
 * of its own. */
int store_commit_again(const struct store *store, const struct copy_image *committed,
                       const struct store_place *place, struct bytes records);

/* A message that is to become durable. The owner keeps all of this until `done`. */
struct store_commit {
    struct list in_store; /* the store's, while the commit waits */
    struct copy_image *image;
    struct store_place place;
    struct bytes records;
    void (*done)(struct store_commit *commit); /* on the loop, always, never within a call */
    int error;                                 /* as store_commit() returns it */
};
/* As store_commit(), by a job of the store that takes all commits that wait at the same moment. */
void store_commit_soon(struct store *store, struct store_commit *commit);
/* That job. Each commit succeeds or fails for itself. */
#define STORE_BATCH_MAX 64
void store_commit_all(const struct store *store, struct store_commit *const *commits, size_t count);

/* Job: opens and locks the file. -EAGAIN: somebody else has it; -ENOENT: it is not there (any
 * more). The locked file is the one that has the name now: if a rewrite has replaced the file, the
 * new one is opened. */
int store_take(const struct store *store, const struct store_place *place, int *fd_out);
/* Job: opens the file for reading, also while somebody delivers it. A file that seems damaged may
 * have changed while it was read: only a file that was taken can be judged. */
int store_look(const struct store *store, const struct store_place *place, int *fd_out);
/* Job: reads the first block and the records of the open file of message `id` into `arena`. Errors
 * of a damaged file: ERR_SYNTAX, also if it is another message; -EFBIG: more records than are ever
 * written. ERR_RANGE: the file is of a later version; or -errno. */
int store_read(int fd, const struct id *id, struct arena *arena, struct spool_message *message_out);
/* Job: legal when the body has these octets. Reads octets [at, at + len) into `into`. All of the
 * body is verified; -EBADMSG: it is damaged. */
int store_read_body(int fd, const struct spool_head *head, uint64_t at, uint8_t *into, size_t len);
/* The words for an error of store_read() or store_read_body() after which the file belongs into
 * bad/: "is damaged". NULL: no such error. */
const char *store_damage(int error);
static inline bool store_is_damaged(int error)
{
    return store_damage(error) != NULL;
}

/* Job: cuts the file at `at` and appends, without a sync. What was written before must be durable:
 * store_change() sees to that. */
int store_append(int fd, uint64_t at, struct bytes records);
/* A change of a message that is taken. */
struct store_change {
    const struct store_place *place;
    const struct spool_message *message; /* the message with the change; records_end is that of the
                                          * file before it */
    struct bytes records;                /* say what has changed; to be written at records_end */
    bool is_synced;                      /* the records must not be lost */
};
/* The file of a message that is taken, while it is changed. */
struct store_taken {
    int fd;         /* locked */
    bool is_broken; /* a sync has failed: what is written next goes into a new file */
};
/* Job: a sync of the file has failed, or that is not known. */
bool store_is_broken(const struct store_taken *taken);
/* Job: appends the records, or rewrites the file if they outgrow the message: R1 to R4. After a
 * rewrite `taken->fd` is the new file, and the caller closes the old one, which is still open. This
 * may be so after an error too. -EFBIG: there is no room for the records. */
int store_change(const struct store *store, const struct store_change *change,
                 struct store_taken *taken);
/* Job: rewrites in any case. */
int store_rewrite(const struct store *store, const struct store_change *change,
                  struct store_taken *taken);

/* Job: moves a message that says that it is held from queue/ to hold/. `change` has no records.
 * What becomes of `taken` is as in store_change(). */
int store_end_hold(const struct store *store, const struct store_change *change,
                   struct store_taken *taken, struct store_place *place_out);

/* Job: marks a file that is taken as being delivered, until store_end_try(). `was_left_out`: the
 * file had the mark, because a process died in a delivery; the target may have the message. Without
 * effect on a disk that cannot be written. */
void store_begin_try(int fd, bool *was_left_out);
void store_end_try(int fd);

/* Job, S8: removes the name. The caller has the directory synced by store_sync(). */
int store_remove(const struct store *store, const struct store_place *place);
/* Job, S9: legal when the message does not lie in folder `to`. The move is durable on return.
 * `directory`: for STORE_QUEUE; made if it is missing. After an error the message lies in one of
 * both places: in the new one if *place_out says so. */
int store_move(const struct store *store, const struct store_place *place, enum store_folder to,
               uint32_t directory, struct store_place *place_out);
/* Job: ends a hold or a release that was cut short between both names. Called for a message that is
 * taken, before anything else is done to it. `is_held`: the file says that it is held. -EAGAIN: the
 * place is in hold/, and the message has a name in queue/ too, where a listing finds it. */
int store_end_move(const struct store *store, const struct store_place *place, int fd,
                   bool is_held);
/* Job: syncs a directory of queue/, and removes it if it is empty and nobody fills it any more. */
int store_sync(const struct store *store, uint32_t directory);
/* Job: syncs hold/ or bad/. */
int store_sync_folder(const struct store *store, enum store_folder folder);

/* Job: shows in the spool that somebody works on the queue, until store_unmark(). `id` is any that
 * nobody else has. `was_left_out`: somebody ended without store_unmark(); told once, and set also
 * after an error. Returns a descriptor to keep open, or an error. */
int store_mark(const struct store *store, const struct id *id, bool *was_left_out);
void store_unmark(const struct store *store, const struct id *id, int fd);

/* Job: tells every message of the three folders, in the order of directories and names; `fn` says
 * whether to go on. What is no message of ours is told with its path, and so is a directory that
 * cannot be read to its end; the listing goes on after it. Directories of queue/ that hold nothing
 * and that nobody fills are removed on the way, and so is what a failed rewrite left. 0 or
 * ERR_MEMORY. */
struct store_found {
    struct store_place place;
    const char *stray; /* a path; NULL: a message */
    int error;         /* of a stray: why it cannot be read; 0: it is no message */
};
int store_list(const struct store *store, bool (*fn)(void *owner, const struct store_found *found),
               void *owner);

#endif
