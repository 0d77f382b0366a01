/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as kept while it streams: its tail in chunks of memory, what is older in a file. */
#include "proxy/io/copy.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"

#define CHUNK_BYTES 65536
#define SPILL_MAX   16 /* chunks of one job */
#define SLACK_MAX   16 /* chunks that a copy may be over its limit while it spills */
#define FLOOR       2  /* chunks that every copy may have, or nothing would move */

enum copy_job_kind { COPY_JOB_NONE, COPY_JOB_SPILL, COPY_JOB_READ };

/* One at a time per copy. What it points to stays until it is done, whatever happens meanwhile. */
struct copy_job {
    struct work work;
    enum copy_job_kind kind;
    int fd;
    const char *directory;
    uint64_t at;
    size_t len;
    int error;
    struct reader *reader; /* READ: whose window it fills; NULL: it was closed meanwhile */
    uint8_t *window;
    struct bytes pieces[SPILL_MAX];
    int piece_count;
};

struct copy {
    struct loop *loop;
    struct copy_limits *limits;
    void (*room)(void *owner);
    void (*failed)(void *owner);
    void *owner;
    struct list readers;
    uint8_t **chunks; /* of memory: octets [file_bytes, length) */
    size_t chunk_count, chunk_capacity;
    uint64_t file_bytes; /* octets [0, file_bytes) lie in the file: whole chunks */
    uint64_t length;
    int fd; /* -1: none */
    int error;
    bool is_finished, is_freed;
    struct copy_job job;
    struct list in_waiting; /* copy_room() said 0 */
    struct loop_post post;  /* tells `room` or `failed`, outside of everybody's calls */
};

static struct pool *chunk_pool(struct copy *c)
{
    return &loop_pools(c->loop)->chunk;
}

void copy_limits_init(struct copy_limits *limits)
{
    list_init(&limits->waiting);
}

/* ---- telling the owner ---- */

static void tell_owner(void *owner)
{
    struct copy *c = owner;

    if (c->error != 0) {
        c->failed(c->owner);
    } else if (!list_is_empty(&c->in_waiting) && copy_room(c) != 0) {
        list_remove(&c->in_waiting);
        c->room(c->owner);
    }
}

/* Something was given back: the copies that wait look again, each in a call of its own. */
static void wake_waiting(struct copy_limits *limits)
{
    LIST_EACH (link, &limits->waiting) {
        struct copy *c = LIST_ENTRY(link, struct copy, in_waiting);
        loop_post(c->loop, &c->post, tell_owner, c);
    }
}

static void fail(struct copy *c, int error)
{
    if (c->error != 0)
        return;
    c->error = error;
    loop_post(c->loop, &c->post, tell_owner, c);
}

/* ---- chunks ---- */

static int add_chunk(struct copy *c)
{
    if (c->chunk_count == c->chunk_capacity) {
        size_t capacity = c->chunk_capacity == 0 ? 4 : 2 * c->chunk_capacity;
        uint8_t **grown = mem_grow(c->chunks, capacity * sizeof(*grown));
        if (grown == NULL)
            return ERR_MEMORY;
        c->chunks = grown;
        c->chunk_capacity = capacity;
    }
    uint8_t *chunk = pool_take(chunk_pool(c));
    if (chunk == NULL)
        return ERR_MEMORY;
    c->chunks[c->chunk_count++] = chunk;
    c->limits->memory_used_bytes += CHUNK_BYTES;
    return 0;
}

static void remove_first_chunks(struct copy *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pool_give(chunk_pool(c), c->chunks[i]);
    c->chunk_count -= count;
    memmove(c->chunks, c->chunks + count, c->chunk_count * sizeof(*c->chunks));
    c->limits->memory_used_bytes -= count * CHUNK_BYTES;
    wake_waiting(c->limits);
}

/* `chunks` more than there are now: is that over what this copy, or all, may have? */
static bool is_over(const struct copy *c, uint64_t own_slack, uint64_t chunks)
{
    const struct copy_limits *limits = c->limits;
    uint64_t own = (c->chunk_count + chunks) * CHUNK_BYTES;

    if (c->chunk_count + chunks <= FLOOR)
        return false;
    return own > limits->memory_each_bytes + own_slack ||
           limits->memory_used_bytes + chunks * CHUNK_BYTES > limits->memory_max_bytes;
}

/* ---- jobs ---- */

static void free_all(struct copy *c)
{
    struct copy_limits *limits = c->limits;

    loop_unpost(c->loop, &c->post);
    list_remove(&c->in_waiting);
    limits->files_used_bytes -= c->file_bytes;
    if (c->chunk_count != 0 || c->file_bytes != 0)
        remove_first_chunks(c, c->chunk_count);
    if (c->fd >= 0)
        disk_close(c->fd);
    mem_free(c->chunks);
    mem_free(c);
}

static void start_job(struct copy *c, enum copy_job_kind kind, void (*run)(struct work *w),
                      void (*done)(struct work *w))
{
    c->job.kind = kind;
    c->job.error = 0;
    c->job.fd = c->fd;
    c->job.work = (struct work){.run = run, .done = done};
    if (work_run(c->loop, &c->job.work) == 0)
        return;
    c->job.kind = COPY_JOB_NONE;
    fail(c, ERR_MEMORY);
}

static void start_next_job(struct copy *c);

/* ---- spilling ---- */

static void run_spill(struct work *w)
{
    struct copy_job *job = CONTAINER_OF(w, struct copy_job, work);

    if (job->fd < 0)
        job->fd = disk_open_unnamed(job->directory);
    job->error = job->fd < 0
                     ? job->fd
                     : disk_write_pieces_at(job->fd, job->at, job->pieces, job->piece_count);
}

static void done_spill(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, job.work);

    c->job.kind = COPY_JOB_NONE;
    if (c->job.fd >= 0)
        c->fd = c->job.fd;
    if (c->job.error == 0) {
        c->file_bytes += c->job.len;
        c->limits->files_used_bytes += c->job.len;
        remove_first_chunks(c, (size_t)c->job.piece_count);
    }
    if (c->is_freed) {
        free_all(c);
        return;
    }
    if (c->job.error != 0)
        fail(c, c->job.error);
    start_next_job(c);
    loop_post(c->loop, &c->post, tell_owner, c);
}

static void start_spill(struct copy *c)
{
    size_t whole = (size_t)((c->length - c->file_bytes) / CHUNK_BYTES);
    int count = whole < SPILL_MAX ? (int)whole : SPILL_MAX;

    if (count == 0 || c->limits->files_used_bytes >= c->limits->files_max_bytes)
        return;
    for (int i = 0; i < count; i++)
        c->job.pieces[i] = bytes_make(c->chunks[i], CHUNK_BYTES);
    c->job.piece_count = count;
    c->job.at = c->file_bytes;
    c->job.len = (size_t)count * CHUNK_BYTES;
    c->job.directory = c->limits->directory;
    start_job(c, COPY_JOB_SPILL, run_spill, done_spill);
}

/* ---- reading back ---- */

static void run_read(struct work *w)
{
    struct copy_job *job = CONTAINER_OF(w, struct copy_job, work);
    job->error = disk_read_at(job->fd, job->at, job->window, job->len);
}

static void done_read(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, job.work);
    struct reader *r = c->job.reader;

    c->job.kind = COPY_JOB_NONE;
    if (r == NULL || c->job.error != 0) {
        pool_give(chunk_pool(c), c->job.window);
    } else {
        r->window = c->job.window;
        r->window_at = c->job.at;
        r->window_bytes = (uint32_t)c->job.len;
    }
    if (c->is_freed) {
        free_all(c);
        return;
    }
    if (c->job.error != 0)
        fail(c, c->job.error);
    start_next_job(c); /* c->job is another's from here on */
    if (r != NULL)
        r->more(r);
}

static void start_read(struct copy *c, struct reader *r)
{
    uint64_t left = c->file_bytes - r->at;

    c->job.window = pool_take(chunk_pool(c));
    if (c->job.window == NULL) {
        fail(c, ERR_MEMORY);
        return;
    }
    r->wants_window = false;
    c->job.reader = r;
    c->job.at = r->at;
    c->job.len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    start_job(c, COPY_JOB_READ, run_read, done_read);
    if (c->job.kind == COPY_JOB_NONE) /* it did not start */
        pool_give(chunk_pool(c), c->job.window);
}

static void start_next_job(struct copy *c)
{
    if (c->job.kind != COPY_JOB_NONE || c->error != 0)
        return;
    LIST_EACH (link, &c->readers) {
        struct reader *r = LIST_ENTRY(link, struct reader, link);
        if (r->wants_window) {
            start_read(c, r);
            return;
        }
    }
    if (is_over(c, 0, 1))
        start_spill(c);
}

/* ---- the owner's side ---- */

struct copy *copy_new(struct loop *l, struct copy_limits *limits, void (*room)(void *owner),
                      void (*failed)(void *owner), void *owner)
{
    struct copy *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return NULL;
    c->loop = l;
    c->limits = limits;
    c->room = room;
    c->failed = failed;
    c->owner = owner;
    c->fd = -1;
    list_init(&c->readers);
    list_init(&c->in_waiting);
    return c;
}

void copy_free(struct copy **copy)
{
    struct copy *c = *copy;

    *copy = NULL;
    if (c == NULL)
        return;
    loop_unpost(c->loop, &c->post);
    list_remove(&c->in_waiting);
    c->is_freed = true;
    if (c->job.kind == COPY_JOB_NONE)
        free_all(c);
}

size_t copy_room(struct copy *c)
{
    if (c->error != 0 || !is_over(c, (uint64_t)SLACK_MAX * CHUNK_BYTES, 1))
        return CHUNK_BYTES;
    if (list_is_empty(&c->in_waiting))
        list_append(&c->limits->waiting, &c->in_waiting);
    start_next_job(c);
    return 0;
}

int copy_append(struct copy *c, struct bytes octets)
{
    while (octets.len != 0) {
        size_t in_last = (size_t)(c->length % CHUNK_BYTES);
        if (c->file_bytes + c->chunk_count * CHUNK_BYTES == c->length && add_chunk(c) != 0)
            return ERR_MEMORY;
        struct bytes now = bytes_first(octets, CHUNK_BYTES - in_last);
        memcpy(c->chunks[c->chunk_count - 1] + in_last, now.at, now.len);
        c->length += now.len;
        octets = bytes_skip(octets, now.len);
    }
    start_next_job(c);
    return 0;
}

void copy_finish(struct copy *c)
{
    c->is_finished = true;
}

bool copy_is_finished(const struct copy *c)
{
    return c->is_finished;
}

uint64_t copy_length(const struct copy *c)
{
    return c->length;
}

int copy_error(const struct copy *c)
{
    return c->error;
}

/* ---- readers ---- */

static void forget_window(struct reader *r)
{
    if (r->window != NULL)
        pool_give(chunk_pool(r->of), r->window);
    r->window = NULL;
    r->wants_window = false;
    if (r->of->job.kind == COPY_JOB_READ && r->of->job.reader == r)
        r->of->job.reader = NULL;
}

void reader_open(struct reader *r, struct copy *c, void (*more)(struct reader *r))
{
    *r = (struct reader){.of = c, .more = more};
    list_append(&c->readers, &r->link);
}

void reader_close(struct reader *r)
{
    if (r->of == NULL)
        return;
    forget_window(r);
    list_remove(&r->link);
    r->of = NULL;
}

static int piece_of_window(struct reader *r, struct bytes *piece)
{
    struct copy *c = r->of;

    if (r->window != NULL && r->at >= r->window_at && r->at < r->window_at + r->window_bytes) {
        size_t skip = (size_t)(r->at - r->window_at);
        *piece = bytes_make(r->window + skip, r->window_bytes - skip);
        return 1;
    }
    if (c->job.kind == COPY_JOB_READ && c->job.reader == r)
        return 0;
    forget_window(r);
    r->wants_window = true;
    start_next_job(c);
    return 0;
}

int reader_pieces(struct reader *r, struct bytes *pieces, int max)
{
    struct copy *c = r->of;
    int count = 0;

    if (r->at < c->file_bytes)
        return piece_of_window(r, pieces);
    uint64_t at = r->at;
    while (count < max && at < c->length) {
        uint64_t offset = at - c->file_bytes;
        size_t skip = (size_t)(offset % CHUNK_BYTES);
        uint64_t left = c->length - at;
        size_t len = CHUNK_BYTES - skip;
        if (len > left)
            len = (size_t)left;
        pieces[count++] = bytes_make(c->chunks[offset / CHUNK_BYTES] + skip, len);
        at += len;
    }
    return count;
}

void reader_advance(struct reader *r, size_t octets)
{
    r->at += octets;
    if (r->window != NULL && r->at >= r->window_at + r->window_bytes)
        forget_window(r);
}

void reader_rewind(struct reader *r)
{
    forget_window(r);
    r->at = 0;
}

uint64_t reader_left(const struct reader *r)
{
    return r->of->length - r->at;
}
