/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy is made of. Private to copy*.c. */
#ifndef POSTERN_COPY_PRIVATE_H
#define POSTERN_COPY_PRIVATE_H

#include "proxy/io/copy.h"
#include "proxy/io/work.h"

#define CHUNK_BYTES 65536
#define SPILL_MAX   16 /* chunks of one job */
#define SLACK_MAX   16 /* chunks by which a copy may exceed its limit while it spills */
#define FLOOR       2  /* chunks that every copy may have, so that each can proceed */
/* How far appending may be ahead of the slowest reader of a copy that was let go. */
#define AHEAD_MAX (4 * CHUNK_BYTES)

enum copy_job_kind { COPY_JOB_NONE, COPY_JOB_SPILL, COPY_JOB_READ, COPY_JOB_IMAGE };

/* A copy runs one job at a time. The memory that the job points to stays until it is done, whatever
 * happens to the copy meanwhile. */
struct copy_job {
    struct work work;
    enum copy_job_kind kind;
    int fd;
    const struct draft_folder *drafts;
    uint64_t at; /* in the file */
    size_t len;
    uint64_t sum; /* SPILL: of all octets in the file when the job is done */
    int error;
    struct reader *reader; /* READ: whose window is filled; NULL: the reader was closed meanwhile */
    uint8_t *window;
    struct bytes pieces[SPILL_MAX];
    int piece_count;
    struct copy_job_on_image *on_image; /* IMAGE */
};

/* Holds octets [0, bytes) of the message: at least those that are not in memory. */
struct copy_file {
    int fd; /* -1: none */
    uint64_t bytes;
    uint64_t at;    /* position of the first of them */
    uint64_t sum;   /* hash_chain() of them */
    int error;      /* the file could not be written; it is not tried again */
    bool is_given;  /* the file was given to copy_of_file(), and counts for no limit */
    bool is_broken; /* see copy_image */
};

/* The state of a copy for which copy_room() was 0. */
struct copy_wait {
    struct list link; /* in copy_limits.waiting */
    bool lacks_room;  /* it found no room in the files, which copies share; stays so until the wait
                         ends */
    bool is_ending;   /* the client has sent everything */
};

struct copy {
    struct loop *loop;
    struct copy_limits *limits;
    struct copy_net *net;
    const struct copy_use *use;
    void *owner;
    struct list readers;
    uint8_t **chunks; /* octets [memory_from, length) */
    size_t chunk_count, chunk_capacity;
    uint64_t memory_from; /* a multiple of CHUNK_BYTES, or the length of a given file */
    uint64_t length;
    uint64_t message_end; /* COPY_END: it has not come */
    struct copy_file file;
    int error;
    bool is_finished, is_freed, is_let_go;
    struct copy_job job;
    struct copy_job_on_image *on_image; /* waiting or running; NULL: none */
    struct bytes *image_pieces;         /* while on_image runs */
    struct list in_unfinished;
    struct copy_wait wait;
    uint64_t moved_ms;           /* when the copy last grew by a chunk, or began to lack room */
    struct loop_post post;       /* tells the owner */
    struct loop_post image_post; /* tells that on_image could not be started */
};

static inline struct pool *copy_chunk_pool(struct copy *copy)
{
    return &loop_pools(copy->loop)->chunk;
}

/* Tells the owner what there is to tell, by a post. */
void copy_tell_later(struct copy *copy);
void copy_fail(struct copy *copy, int error);   /* the copy cannot be read; tells the owner later */
void copy_unkeep(struct copy *copy, int error); /* the file cannot be written; likewise */
/* Frees a copy whose owner has gone and whose last job has ended. */
void copy_end(struct copy *copy);
/* Starts the next job that is due, unless one runs. */
void copy_file_next_job(struct copy *copy);

/* copy_room.c: what copies share, and which copies wait for it. */
/* Counts a change of the octets that the copy has in memory and in its file. */
void copy_count(struct copy *copy, int64_t memory_bytes, int64_t file_bytes);
void copy_drop_chunks(struct copy *copy, size_t count); /* gives the first chunks back */
/* Would `chunks` more exceed what this copy, or all copies together, may have in memory? */
bool copy_is_over(const struct copy *copy, uint64_t own_slack, uint64_t chunks);
bool copy_may_write(const struct copy *copy); /* is there room for this copy in the files? */
void copy_stop_waiting(struct copy *copy);
/* Called when a reader has moved or closed: there may be room now. */
void copy_look_again(struct copy *copy);
/* Called when the copy goes or needs no file: another copy may exceed the limit. */
void copy_give_favour_up(struct copy *copy);

#endif
