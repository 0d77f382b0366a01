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

/* What the copies of one client net hold together. Nets that fall together by the loop's secret key
 * share a part. */
struct copy_net {
    uint64_t memory_bytes, files_bytes;
    uint64_t envelope_bytes;
    uint32_t lacking; /* copies that find no room */
};

/* What all copies of a loop share. Where there is no room left, one copy after the other may
 * finish: the oldest goes beyond the limit, and what does not grow by 64 KiB in five seconds, for
 * want of room or of octets, is refused as long as others find none. A net that has more than a
 * quarter gives back at once what others need. */
struct copy_limits {
    uint64_t memory_max_bytes;        /* of all copies; beyond it they spill (core.max-memory) */
    uint64_t memory_each_bytes;       /* of one message (core.copy-memory) */
    uint64_t files_max_bytes;         /* of all files (core.max-copies) */
    const struct draft_place *drafts; /* where these files are made */
    uint32_t head_bytes; /* kept free at the start of each file, for the spool's first block */
    /* Below: kept up to date by the copies. */
    struct loop *loop;
    uint64_t memory_used_bytes;
    uint64_t files_used_bytes;
    struct list unfinished; /* all that may still grow, the oldest first */
    struct list waiting;    /* those without room, whatever it is that they wait for */
    struct copy *favoured;  /* the one that may go beyond files_max_bytes; NULL: none */
    struct copy_net *nets;
    struct hash_key net_key;
    uint32_t modest_lacking;  /* copies that find no room, of nets that have less than their part */
    struct deadline deadline; /* to look at those that wait */
};

/* The caller has set what stands above the line. 0 or ERR_MEMORY. */
int copy_limits_init(struct copy_limits *limits, struct loop *l);
void copy_limits_done(struct copy_limits *limits); /* every copy must be gone */

/* Where what is held for a client counts, for as long as the limits are. `client` NULL: what
 * deliveries have, which count for no client. */
struct copy_net *copy_net_of(const struct copy_limits *limits, const struct netaddr *client);
/* The memory of envelopes counts as that of copies does. So much more is held for this net. */
void copy_count_envelope(struct copy_limits *limits, struct copy_net *net, int64_t change_bytes);
/* Not when all memory is in use, or the envelopes of this net have a quarter of it. */
bool copy_may_envelope_grow(const struct copy_limits *limits, const struct copy_net *net);

/* One way through a copy; embedded in its owner. */
struct reader {
    struct copy *of; /* NULL: not open */
    struct list link;
    uint64_t at; /* offset of the next octet */
    /* Octets were read back from the file, or that has failed. Never called within a call of the
     * owner's. */
    void (*more)(struct reader *r);
    uint8_t *window; /* octets of the file from window_at on, a pooled chunk */
    uint64_t window_at;
    uint32_t window_bytes;
    bool wants_window; /* waits for its turn to read the file */
};

/* What its owner hears of a copy; never from within a call of the owner's. */
struct copy_use {
    void (*room)(void *owner); /* copy_room() was 0 and is not any more */
    /* It outgrows its memory, and the file cannot be written: it cannot be kept whole any longer.
     * The owner calls copy_let_go() and settles with those who rely on it. */
    void (*unkept)(void *owner, int error);
    void (*failed)(void *owner); /* it cannot be read: copy_error() is set */
    /* Others need its room: the message is refused, and the owner frees its copy at once. */
    void (*refused)(void *owner);
    /* Asked once a second while it has no room: will nothing more come than what waits already? */
    bool (*is_ending)(void *owner);
};

/* `net`: whose share it counts for. NULL: no memory. Holds no chunk before the first append. */
struct copy *copy_new(struct loop *l, struct copy_limits *limits, struct copy_net *net,
                      const struct copy_use *use, void *owner);
/* The owner goes before its copy: from now on nobody is called. */
void copy_disown(struct copy *c);
/* Readers must be gone. A job that runs keeps what it needs; memory goes when it ends. */
void copy_free(struct copy **c);

/* Nobody needs it as a whole: from now on no file is written. Past its memory, what all readers
 * have passed is freed, and who appends waits for the slowest of them. Whoever shall read it from
 * its beginning must have his reader by now. */
void copy_let_go(struct copy *c);
/* All of it can be read still: by a reader that begins, by copy_run(). */
bool copy_is_whole(const struct copy *c);
/* It was let go, and nothing more finds room before the slowest reader has moved. */
bool copy_waits_for_readers(const struct copy *c);

/* How many octets may be appended now; 0: wait for `room`. */
size_t copy_room(struct copy *c);
/* len <= copy_room(). 0 or ERR_MEMORY. Does not call `more`: the owner tells its branches when
 * its drain ends. */
int copy_append(struct copy *c, struct bytes octets);
void copy_finish(struct copy *c); /* it is whole: nothing will be appended */
bool copy_is_finished(const struct copy *c);
uint64_t copy_length(const struct copy *c);
int copy_error(const struct copy *c); /* why it cannot be read; 0: it can */

/* A job on a finished copy, which must be whole, so that its file can be kept: no octet is written
 * twice. */
struct copy_image {
    int fd;              /* the copy's draft; -1: none, and `run` may set it */
    uint64_t file_bytes; /* octets that lie in it, from head_bytes on; `run` may write the others */
    uint64_t length;     /* of the message */
    uint64_t sum;        /* hash_chain() over what lies in the file, 64 KiB at a time */
    bool is_broken;      /* syncing this file has failed: it shall never get a name */
    const struct bytes *pieces; /* the rest, 64 KiB each but the last */
    size_t piece_count;
    const struct draft_place *drafts;
};
struct copy_job_on_image {
    void (*run)(struct copy_job_on_image *job); /* on a pool thread; NULL: `hand_over` instead */
    /* On the loop: somebody else does to the image what `run` would do, with jobs of his own, and
     * calls copy_image_done() on the loop, never within this call. */
    void (*hand_over)(struct copy_job_on_image *job);
    void (*done)(struct copy_job_on_image *job); /* on the loop */
    struct copy_image image;
    struct copy *copy; /* set by copy_run() */
    int error;         /* of `run`; ERR_MEMORY where it could not be started */
};
/* Runs it when no other job of this copy runs; `done` comes always, and never within the call. The
 * job is the caller's, who keeps copy and job until then; one at a time. What `run` did to
 * image.fd, file_bytes, sum and is_broken counts from then on; a descriptor stays the copy's. */
void copy_run(struct copy *c, struct copy_job_on_image *job);
void copy_image_done(struct copy_job_on_image *job);
/* A copy of what lies in a file already, for reading alone: octets [at, at + length) of `fd`, which
 * is taken over and closed with it. NULL: no memory, fd is the caller's. */
struct copy *copy_of_file(struct loop *l, struct copy_limits *limits, int fd, uint64_t at,
                          uint64_t length, const struct copy_use *use, void *owner);

/* At its first octet; the copy must be whole. */
void reader_open(struct reader *r, struct copy *c, void (*more)(struct reader *r));
void reader_close(struct reader *r); /* not open: nothing happens */
/* Octets from r->at on that are in memory now, as up to `max` pieces in *pieces; returns how many
 * pieces. 0: nothing to read yet (at the end, or being read back from the file: `more` comes).
 * Valid until the next call on this copy. */
int reader_pieces(struct reader *r, struct bytes *pieces, int max);
void reader_advance(struct reader *r, size_t octets);
/* From the first octet again: a message that is replayed on another connection. The copy must be
 * whole, but where nothing was read. */
void reader_rewind(struct reader *r);
uint64_t reader_left(const struct reader *r); /* octets appended so far and not yet read */

#endif
