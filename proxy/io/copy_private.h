/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy is made of. Private to copy*.c. */
#ifndef POSTERN_COPY_PRIVATE_H
#define POSTERN_COPY_PRIVATE_H

#include "proxy/io/copy.h"
#include "proxy/io/work.h"

#define CHUNK_BYTES 65536
#define SPILL_MAX   16 /* chunks of one job */
#define SLACK_MAX   16 /* chunks that a copy may be over its limit while it spills */
#define FLOOR       2  /* chunks that every copy may have, or nothing would move */
/* How far who appends may be before the slowest reader of a copy that was let go. */
#define AHEAD_MAX (4 * CHUNK_BYTES)

enum copy_job_kind { COPY_JOB_NONE, COPY_JOB_SPILL, COPY_JOB_READ, COPY_JOB_IMAGE };

/* One at a time per copy. What it points to stays until it is done, whatever happens meanwhile. */
struct copy_job {
    struct work work;
    enum copy_job_kind kind;
    int fd;
    const struct draft_place *drafts;
    uint64_t at; /* in the file */
    size_t len;
    uint64_t sum; /* SPILL: of all that lies in the file, once it is done */
    int error;
    struct reader *reader; /* READ: whose window it fills; NULL: it was closed meanwhile */
    uint8_t *window;
    struct bytes pieces[SPILL_MAX];
    int piece_count;
    struct copy_job_on_image *on_image; /* IMAGE */
};

/* Octets [0, bytes) of the message lie in it: at least those that memory does not hold. */
struct copy_file {
    int fd; /* -1: none */
    uint64_t bytes;
    uint64_t at;    /* where the first of them is */
    uint64_t sum;   /* hash_chain() of them */
    int error;      /* it could not be written: nobody tries again */
    bool is_given;  /* it was not made here: it counts for no limit */
    bool is_broken; /* see copy_image */
};

/* Since copy_room() said 0. */
struct copy_wait {
    struct list link; /* in copy_limits.waiting */
    bool lacks_room;  /* that it shares with others: since then, or it had some for a moment */
    bool is_ending;   /* nothing more comes than what waits already */
};

struct copy {
    struct loop *loop;
    struct copy_limits *limits;
    struct copy_net *net;
    const struct copy_use *use;
    void *owner;
    struct list readers;
    uint8_t **chunks; /* of memory: octets [memory_from, length) */
    size_t chunk_count, chunk_capacity;
    uint64_t memory_from; /* whole chunks */
    uint64_t length;
    struct copy_file file;
    int error;
    bool is_finished, is_freed, is_let_go;
    struct copy_job job;
    struct copy_job_on_image *on_image; /* waits or runs; NULL: none */
    struct bytes *image_pieces;         /* while it runs */
    struct list in_unfinished;
    struct copy_wait wait;
    uint64_t moved_ms;           /* when it last grew by a chunk, or began to lack room */
    struct loop_post post;       /* tells the owner, outside of everybody's calls */
    struct loop_post image_post; /* tells that on_image could not be started */
};

static inline struct pool *copy_chunk_pool(struct copy *c)
{
    return &loop_pools(c->loop)->chunk;
}

/* Outside of everybody's calls, if there is something to tell. */
void copy_tell_later(struct copy *c);
void copy_fail(struct copy *c, int error);   /* it cannot be read: the owner is told, later */
void copy_unkeep(struct copy *c, int error); /* ... its file cannot be written: likewise */
void copy_end(struct copy *c);               /* nothing runs any more, the owner has gone */
/* Begins what is due next; where a job runs, nothing happens. */
void copy_file_next_job(struct copy *c);

/* copy_room.c: what copies share, and who waits for it. */
/* It has so many octets more, in memory and in files. */
void copy_count(struct copy *c, int64_t memory_bytes, int64_t file_bytes);
void copy_drop_chunks(struct copy *c, size_t count); /* the first ones */
/* `chunks` more than there are now: is that over what this copy, or all, may have? */
bool copy_is_over(const struct copy *c, uint64_t own_slack, uint64_t chunks);
bool copy_may_write(const struct copy *c); /* is there room in the files? */
void copy_stop_waiting(struct copy *c);
/* The slowest reader may have moved. */
void copy_look_again(struct copy *c);
/* It goes, or needs no file: another one may go beyond the limit. */
void copy_give_favour_up(struct copy *c);

#endif
