/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy does with its file, one job at a time: spilling, reading back, and the job on the
 * whole of it. */
#include "proxy/io/copy.h"

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/io/copy_private.h"
#include "proxy/io/disk.h"

/* 0 or ERR_MEMORY. */
static int start_job(struct copy *c, enum copy_job_kind kind, void (*run)(struct work *w),
                     void (*done)(struct work *w))
{
    c->job.kind = kind;
    c->job.error = 0;
    c->job.fd = c->file.fd;
    c->job.work = (struct work){.run = run, .done = done};
    if (work_run(c->loop, &c->job.work) == 0)
        return 0;
    c->job.kind = COPY_JOB_NONE;
    return ERR_MEMORY;
}

/* ---- spilling ---- */

static void run_spill(struct work *w)
{
    struct copy_job *job = CONTAINER_OF(w, struct copy_job, work);

    for (int i = 0; i < job->piece_count; i++)
        job->sum = hash_chain(job->sum, job->pieces[i]);
    if (job->fd < 0)
        job->fd = draft_open(job->drafts);
    job->error = job->fd < 0
                     ? job->fd
                     : disk_write_pieces_at(job->fd, job->at, job->pieces, job->piece_count);
}

static void done_spill(struct work *w)
{
    struct copy *c = CONTAINER_OF(w, struct copy, job.work);

    c->job.kind = COPY_JOB_NONE;
    if (c->job.fd >= 0)
        c->file.fd = c->job.fd;
    if (c->job.error == 0) {
        c->file.bytes += c->job.len;
        c->memory_from = c->file.bytes;
        c->file.sum = c->job.sum;
        copy_count(c, 0, (int64_t)c->job.len);
        copy_drop_chunks(c, (size_t)c->job.piece_count);
    }
    if (c->is_freed) {
        copy_end(c);
        return;
    }
    if (c->job.error != 0)
        copy_unkeep(c, c->job.error);
    copy_file_next_job(c);
    copy_tell_later(c);
}

static void start_spill(struct copy *c)
{
    size_t whole = (size_t)((c->length - c->memory_from) / CHUNK_BYTES);
    int count = whole < SPILL_MAX ? (int)whole : SPILL_MAX;

    if (count == 0 || !copy_may_write(c))
        return;
    for (int i = 0; i < count; i++)
        c->job.pieces[i] = bytes_make(c->chunks[i], CHUNK_BYTES);
    c->job.piece_count = count;
    c->job.at = c->file.at + c->file.bytes;
    c->job.sum = c->file.sum;
    c->job.len = (size_t)count * CHUNK_BYTES;
    c->job.drafts = c->limits->drafts;
    if (start_job(c, COPY_JOB_SPILL, run_spill, done_spill) != 0)
        copy_unkeep(c, ERR_MEMORY);
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
        pool_give(copy_chunk_pool(c), c->job.window);
    } else {
        r->window = c->job.window;
        r->window_at = c->job.at - c->file.at;
        r->window_bytes = (uint32_t)c->job.len;
    }
    if (c->is_freed) {
        copy_end(c);
        return;
    }
    if (c->job.error != 0)
        copy_fail(c, c->job.error);
    copy_file_next_job(c); /* c->job is another's from here on */
    if (r != NULL)
        r->more(r);
}

static void start_read(struct copy *c, struct reader *r)
{
    uint64_t left = c->file.bytes - r->at;

    c->job.window = pool_take(copy_chunk_pool(c));
    if (c->job.window == NULL) {
        copy_fail(c, ERR_MEMORY);
        return;
    }
    r->wants_window = false;
    c->job.reader = r;
    c->job.at = c->file.at + r->at;
    c->job.len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    if (start_job(c, COPY_JOB_READ, run_read, done_read) != 0) {
        pool_give(copy_chunk_pool(c), c->job.window);
        copy_fail(c, ERR_MEMORY);
    }
}

/* ---- the whole, as it will stay ---- */

static void run_image(struct work *w)
{
    struct copy_job *job = CONTAINER_OF(w, struct copy_job, work);
    job->on_image->run(job->on_image);
}

void copy_image_done(struct copy_job_on_image *on_image)
{
    struct copy *c = on_image->copy;
    const struct copy_image *image = &on_image->image;

    c->job.kind = COPY_JOB_NONE;
    c->on_image = NULL;
    copy_count(c, 0, (int64_t)(image->file_bytes - c->file.bytes));
    c->file.fd = image->fd;
    c->file.bytes = image->file_bytes;
    c->file.sum = image->sum;
    c->file.is_broken = image->is_broken;
    mem_free(c->image_pieces);
    c->image_pieces = NULL;
    copy_file_next_job(c);
    on_image->done(on_image);
}

static void done_image(struct work *w)
{
    copy_image_done(CONTAINER_OF(w, struct copy, job.work)->on_image);
}

static void tell_image(void *owner)
{
    struct copy *c = owner;
    struct copy_job_on_image *on_image = c->on_image;

    c->on_image = NULL;
    on_image->error = c->error != 0 ? c->error : ERR_MEMORY;
    on_image->done(on_image);
}

/* What of the message lies in memory alone. */
static int put_pieces(struct copy *c, size_t *count_out)
{
    size_t first = (size_t)((c->file.bytes - c->memory_from) / CHUNK_BYTES);
    size_t count = c->file.bytes == c->length ? 0 : c->chunk_count - first;

    *count_out = count;
    if (count == 0)
        return 0;
    c->image_pieces = mem_alloc(count * sizeof(*c->image_pieces));
    if (c->image_pieces == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        c->image_pieces[i] = bytes_make(c->chunks[first + i], CHUNK_BYTES);
    c->image_pieces[count - 1].len -=
        (size_t)(c->memory_from + c->chunk_count * CHUNK_BYTES - c->length);
    return 0;
}

static int start_image(struct copy *c)
{
    struct copy_image *image = &c->on_image->image;
    size_t count;

    if (c->error != 0 || put_pieces(c, &count) != 0)
        return ERR_MEMORY;
    c->on_image->error = 0;
    *image = (struct copy_image){.fd = c->file.fd,
                                 .file_bytes = c->file.bytes,
                                 .length = c->length,
                                 .sum = c->file.sum,
                                 .is_broken = c->file.is_broken,
                                 .pieces = c->image_pieces,
                                 .piece_count = count,
                                 .drafts = c->limits->drafts};
    c->job.on_image = c->on_image;
    if (c->on_image->hand_over != NULL) {
        c->job.kind = COPY_JOB_IMAGE;
        c->on_image->hand_over(c->on_image);
        return 0;
    }
    if (start_job(c, COPY_JOB_IMAGE, run_image, done_image) == 0)
        return 0;
    mem_free(c->image_pieces);
    c->image_pieces = NULL;
    return ERR_MEMORY;
}

static bool may_spill(const struct copy *c)
{
    return !c->is_let_go && c->file.error == 0 && !c->file.is_broken &&
           c->file.bytes == c->memory_from;
}

void copy_file_next_job(struct copy *c)
{
    if (c->job.kind != COPY_JOB_NONE)
        return;
    if (c->on_image != NULL && !c->image_post.is_posted) {
        if (start_image(c) == 0)
            return;
        loop_post(c->loop, &c->image_post, tell_image, c);
    }
    if (c->error != 0)
        return;
    LIST_EACH (link, &c->readers) {
        struct reader *r = LIST_ENTRY(link, struct reader, link);
        if (r->wants_window) {
            start_read(c, r);
            return;
        }
    }
    if (may_spill(c) && copy_is_over(c, 0, 1))
        start_spill(c);
}
