/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as kept while it streams: appended once, read by any number of readers. */
#ifndef POSTERN_COPY_H
#define POSTERN_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/list.h"
#include "proxy/base/netaddr.h"
#include "proxy/io/deadline.h"
#include "proxy/io/draft.h"
#include "proxy/io/loop.h"

struct copy;

#define COPY_NETS 1024

/* What the copies of one client net hold together. The loop's secret key spreads nets over
 * COPY_NETS entries; nets with the same entry share it. */
struct copy_net {
    uint64_t memory_bytes, files_bytes;
    uint64_t envelope_bytes;
    uint32_t lacking; /* copies that find no room in the files */
};

/* What all copies of a loop share. When the files are full, one copy after the other may exceed
 * their limit to finish, the oldest first. While others find no room, a copy that does not grow by
 * 64 KiB in five seconds is refused, whether it lacks room or octets. So is a copy of a net that
 * has more than a quarter, at once. */
struct copy_limits {
    uint64_t memory_max_bytes;  /* of all copies, which spill when more is used (core.max-memory) */
    uint64_t memory_each_bytes; /* of one message (core.copy-memory) */
    uint64_t files_max_bytes;   /* of all files (core.max-copies) */
    const struct draft_folder *drafts; /* where these files are made */
    uint32_t head_bytes; /* kept free at the start of each file, for the spool's first block */
    /* The members below are kept up to date by the copies. */
    struct loop *loop;
    uint64_t memory_used_bytes;
    uint64_t files_used_bytes;
    struct list unfinished; /* copies that may still grow, the oldest first */
    struct list waiting;    /* copies for which copy_room() was 0 */
    struct copy *favoured;  /* the copy that may exceed files_max_bytes; NULL: none */
    struct copy_net *nets;
    struct hash_key net_key;
    uint32_t modest_lacking;  /* copies that find no room in the files, of nets that use less than a
                                 quarter */
    struct deadline deadline; /* when the waiting copies are checked */
};

/* The caller has set the members above `loop`. 0 or ERR_MEMORY. */
int copy_limits_init(struct copy_limits *limits, struct loop *loop);
void copy_limits_done(struct copy_limits *limits); /* legal when every copy is gone */

/* The entry in which a client's copies and envelopes count; it lives as long as the limits.
 * `client` NULL: the entry of deliveries, which count for no client. */
struct copy_net *copy_net_of(const struct copy_limits *limits, const struct netaddr *client);
/* Counts a change of the memory that envelopes of this net use; it shares the limit of the
 * copies. */
void copy_count_envelope(struct copy_limits *limits, struct copy_net *net, int64_t change_bytes);
/* False when all memory is in use, or the envelopes of this net have a quarter of it. */
bool copy_may_envelope_grow(const struct copy_limits *limits, const struct copy_net *net);

#define COPY_END UINT64_MAX /* where the message ends, wherever that is */

/* Reads a range of one copy; embedded in its owner. */
struct reader {
    struct copy *of; /* NULL: not open */
    struct list link;
    uint64_t at;         /* offset of the next octet */
    uint64_t start, end; /* of the range */
    /* Octets have been read back from the file, or that has failed. Never called from within a call
     * of the owner's. */
    void (*more)(struct reader *reader);
    uint8_t *window; /* octets of the file from window_at on, in a pooled chunk */
    uint64_t window_at;
    uint32_t window_bytes;
    bool wants_window; /* waits for its turn to read the file */
};

/* What a copy tells its owner; never from within a call of the owner's. */
struct copy_use {
    void (*room)(void *owner); /* copy_room() was 0, and is no longer */
    /* The copy outgrows its memory and its file cannot be written, so that it cannot be kept whole.
     * The owner calls copy_let_go() and sees to those who rely on the whole copy. */
    void (*unkept)(void *owner, int error);
    void (*failed)(void *owner); /* the copy cannot be read: copy_error() is set */
    /* Others need the room: the owner refuses the message and frees the copy at once. */
    void (*refused)(void *owner);
    /* Asked once a second while the copy has no room: has the client sent everything that it will
     * send? */
    bool (*is_ending)(void *owner);
};

/* `net`: the net whose share the copy counts for. NULL: no memory. A copy holds no chunk before the
 * first append. */
struct copy *copy_new(struct loop *loop, struct copy_limits *limits, struct copy_net *net,
                      const struct copy_use *use, void *owner);
/* Legal when the copy is finished. The owner goes before the copy, and nobody is called any
 * more. */
void copy_disown(struct copy *copy);
/* Legal when all readers are closed and no copy_run() is under way. A job that runs keeps the
 * memory that it uses until it ends. */
void copy_free(struct copy **held);

/* Nobody needs the whole copy any more, so its file is not written from now on. Beyond the copy's
 * memory limit, chunks that all readers have passed are freed, and the owner waits for the slowest
 * reader. Whoever reads from the beginning must have opened the reader before. */
void copy_let_go(struct copy *copy);
/* The whole copy can still be read, by a new reader or by copy_run(). */
bool copy_is_whole(const struct copy *copy);
/* The copy was let go, and has no room before the slowest reader has moved. */
bool copy_waits_for_readers(const struct copy *copy);

/* The message ends here. What is appended from now on is in its place for some readers: only a
 * range that says so reaches it. */
void copy_end_message(struct copy *copy);
uint64_t copy_message_length(const struct copy *copy);

/* How many octets may be appended now. 0: wait for `room`. */
size_t copy_room(struct copy *copy);
/* Legal when the copy is not finished, for at most copy_room() octets. 0 or ERR_MEMORY. Does not
 * call reader.more: the owner tells its branches when its drain ends. */
int copy_append(struct copy *copy, struct bytes octets);
void copy_finish(struct copy *copy); /* nothing will be appended any more */
bool copy_is_finished(const struct copy *copy);
uint64_t copy_length(const struct copy *copy);
int copy_error(const struct copy *copy); /* why the copy cannot be read; 0: it can */

/* What a job on a finished, whole copy gets: a file that may be kept, so that no octet is written
 * twice, and the octets that are not in it. */
struct copy_image {
    int fd;              /* the copy's draft; -1: none, and `run` may set it */
    uint64_t file_bytes; /* octets that lie in the file, from head_bytes on; `run` may write the
                            others */
    uint64_t length;     /* of the message */
    uint64_t sum;        /* hash_chain() over what lies in the file, 64 KiB at a time */
    bool is_broken;      /* syncing this file has failed: it must never get a name */
    const struct bytes *pieces; /* the octets not in the file, 64 KiB each but the last */
    size_t piece_count;
    const struct draft_folder *drafts;
};
struct copy_job_on_image {
    /* On a pool thread. NULL: `hand_over` is called instead. */
    void (*run)(struct copy_job_on_image *job);
    /* On the loop: does with jobs of its own what `run` would do to the image, and calls
     * copy_image_done() later on the loop, never within this call. */
    void (*hand_over)(struct copy_job_on_image *job);
    void (*done)(struct copy_job_on_image *job); /* on the loop */
    struct copy_image image;
    struct copy *copy; /* set by copy_run() */
    int error;         /* of `run`; ERR_MEMORY when it could not be started */
};
/* Legal when the copy is finished, whole, of its own making, and has no such job. Runs the job as
 * soon as no other job of this copy runs. `done` always comes, and never within the call; the
 * caller keeps copy and job until then. The copy takes over what `run` did to image.fd, file_bytes,
 * sum and is_broken. */
void copy_run(struct copy *copy, struct copy_job_on_image *job);
/* Legal when the job was handed over and is not done. */
void copy_image_done(struct copy_job_on_image *job);

/* A copy of octets [at, at + length) of `fd`, only for reading. The copy takes `fd` over and closes
 * it. NULL: no memory; `fd` is still the caller's. */
struct copy *copy_of_file(struct loop *loop, struct copy_limits *limits, int fd, uint64_t at,
                          uint64_t length, const struct copy_use *use, void *owner);

/* Legal when the copy is whole. Opens the reader at the first octet of the message, which is its
 * range. */
void reader_open(struct reader *reader, struct copy *copy, void (*more)(struct reader *reader));
void reader_close(struct reader *reader); /* does nothing to one that is not open */
/* Legal when the reader is open, nothing was read, and octets up to `start` are there. The reader
 * reads octets [start, end) alone; COPY_END: to the end of the message. */
void reader_set_range(struct reader *reader, uint64_t start, uint64_t end);
/* Legal when the reader is open. Gets octets from reader->at on that are in memory now, as up to
 * `max` pieces in *pieces, and returns how many pieces. 0: nothing can be read yet, at the end or
 * while octets are read back from the file (`more` follows). The pieces are valid until the next
 * call on this copy. */
int reader_pieces(struct reader *reader, struct bytes *pieces, int max);
/* Legal when octets <= reader_left(). */
void reader_advance(struct reader *reader, size_t octets);
/* Legal when the reader is open, and the copy is whole or nothing was read. Back to the first octet
 * of the range, for a message that is replayed on another connection. */
void reader_rewind(struct reader *reader);
/* Legal when the reader is open. Octets of the range that are appended and not yet read. */
uint64_t reader_left(const struct reader *reader);

#endif
