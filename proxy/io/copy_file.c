/* SPDX-License-Identifier: BSD-2-Clause */
/* What a copy does with its file, one job at a time: spilling, reading back, and the job on the
 * whole of it. */
#include "proxy/io/copy.h"

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/io/copy_private.h"
#include "proxy/io/disk.h"

/* 0 or ERR_MEMORY. */
static int start_job(struct copy *copy, enum copy_job_kind kind, void (*run)(struct work *work),
                     void (*done)(struct work *work))
{
    assert(copy->job.kind == COPY_JOB_NONE && kind != COPY_JOB_NONE);
    copy->job.kind = kind;
    copy->job.error = 0;
    copy->job.fd = copy->file.fd;
    copy->job.work = (struct work){.run = run, .done = done};
    if (work_run(copy->loop, &copy->job.work) == 0)
        return 0;
    copy->job.kind = COPY_JOB_NONE;
    return ERR_MEMORY;
}

/* ---- spilling ---- */

static void run_spill(struct work *work)
{
    struct copy_job *job = CONTAINER_OF(work, struct copy_job, work);

    for (int i = 0; i < job->piece_count; i++)
        job->sum = hash_chain(job->sum, job->pieces[i]);
    if (job->fd < 0)
        job->fd = draft_open(job->drafts);
    job->error = job->fd < 0
                     ? job->fd
                     : disk_write_pieces_at(job->fd, job->at, job->pieces, job->piece_count);
}

static void done_spill(struct work *work)
{
    struct copy *copy = CONTAINER_OF(work, struct copy, job.work);

    assert(copy->job.kind == COPY_JOB_SPILL);
    copy->job.kind = COPY_JOB_NONE;
    if (copy->job.fd >= 0)
        copy->file.fd = copy->job.fd;
    if (copy->job.error == 0) {
        copy->file.bytes += copy->job.len;
        copy->memory_from = copy->file.bytes;
        copy->file.sum = copy->job.sum;
        copy_count(copy, 0, (int64_t)copy->job.len);
        copy_drop_chunks(copy, (size_t)copy->job.piece_count);
    }
    if (copy->is_freed) {
        copy_end(copy);
        return;
    }
    if (copy->job.error != 0)
        copy_unkeep(copy, copy->job.error);
    copy_file_next_job(copy);
    copy_tell_later(copy);
}

static void start_spill(struct copy *copy)
{
    size_t whole = (size_t)((copy->length - copy->memory_from) / CHUNK_BYTES);
    int count = whole < SPILL_MAX ? (int)whole : SPILL_MAX;

    if (count == 0 || !copy_may_write(copy))
        return;
    assert((size_t)count <= copy->chunk_count && copy->file.bytes == copy->memory_from);
    for (int i = 0; i < count; i++)
        copy->job.pieces[i] = bytes_make(copy->chunks[i], CHUNK_BYTES);
    copy->job.piece_count = count;
    copy->job.at = copy->file.at + copy->file.bytes;
    copy->job.sum = copy->file.sum;
    copy->job.len = (size_t)count * CHUNK_BYTES;
    copy->job.drafts = copy->limits->drafts;
    if (start_job(copy, COPY_JOB_SPILL, run_spill, done_spill) != 0)
        copy_unkeep(copy, ERR_MEMORY);
}

/* ---- reading back ---- */

static void run_read(struct work *work)
{
    struct copy_job *job = CONTAINER_OF(work, struct copy_job, work);
    job->error = disk_read_at(job->fd, job->at, job->window, job->len);
}

static void done_read(struct work *work)
{
    struct copy *copy = CONTAINER_OF(work, struct copy, job.work);
    struct reader *reader = copy->job.reader;

    assert(copy->job.kind == COPY_JOB_READ);
    copy->job.kind = COPY_JOB_NONE;
    if (reader == NULL || copy->job.error != 0) {
        pool_give(copy_chunk_pool(copy), copy->job.window);
    } else {
        reader->window = copy->job.window;
        reader->window_at = copy->job.at - copy->file.at;
        reader->window_bytes = (uint32_t)copy->job.len;
    }
    if (copy->is_freed) {
        copy_end(copy);
        return;
    }
    if (copy->job.error != 0)
        copy_fail(copy, copy->job.error);
    copy_file_next_job(copy); /* the job that ended may be overwritten from here on */
    if (reader != NULL)
        reader->more(reader);
}

static void start_read(struct copy *copy, struct reader *reader)
{
    uint64_t left = copy->file.bytes - reader->at;

    assert(reader->at < copy->file.bytes && reader->window == NULL);
    copy->job.window = pool_take(copy_chunk_pool(copy));
    if (copy->job.window == NULL) {
        copy_fail(copy, ERR_MEMORY);
        return;
    }
    reader->wants_window = false;
    copy->job.reader = reader;
    copy->job.at = copy->file.at + reader->at;
    copy->job.len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    if (start_job(copy, COPY_JOB_READ, run_read, done_read) != 0) {
        pool_give(copy_chunk_pool(copy), copy->job.window);
        copy_fail(copy, ERR_MEMORY);
    }
}

/* ---- the whole, as it will stay ---- */

static void run_image(struct work *work)
{
    struct copy_job *job = CONTAINER_OF(work, struct copy_job, work);
    job->on_image->run(job->on_image);
}

void copy_image_done(struct copy_job_on_image *on_image)
{
    struct copy *copy = on_image->copy;
    const struct copy_image *image = &on_image->image;

    assert(copy->on_image == on_image && copy->job.kind == COPY_JOB_IMAGE);
    copy->job.kind = COPY_JOB_NONE;
    copy->on_image = NULL;
    copy_count(copy, 0, (int64_t)(image->file_bytes - copy->file.bytes));
    copy->file.fd = image->fd;
    copy->file.bytes = image->file_bytes;
    copy->file.sum = image->sum;
    copy->file.is_broken = image->is_broken;
    mem_free(copy->image_pieces);
    copy->image_pieces = NULL;
    copy_file_next_job(copy);
    on_image->done(on_image);
}

static void done_image(struct work *work)
{
    copy_image_done(CONTAINER_OF(work, struct copy, job.work)->on_image);
}

static void tell_image(void *owner)
{
    struct copy *copy = owner;
    struct copy_job_on_image *on_image = copy->on_image;

    copy->on_image = NULL;
    on_image->error = copy->error != 0 ? copy->error : ERR_MEMORY;
    on_image->done(on_image);
}

/* Sets copy->image_pieces to the octets that are in memory only. */
static int put_pieces(struct copy *copy, size_t *count_out)
{
    size_t first = (size_t)((copy->file.bytes - copy->memory_from) / CHUNK_BYTES);
    size_t count = copy->file.bytes == copy->length ? 0 : copy->chunk_count - first;

    assert(copy->file.bytes >= copy->memory_from && first <= copy->chunk_count);
    *count_out = count;
    if (count == 0)
        return 0;
    copy->image_pieces = mem_alloc(count * sizeof(*copy->image_pieces));
    if (copy->image_pieces == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        copy->image_pieces[i] = bytes_make(copy->chunks[first + i], CHUNK_BYTES);
    copy->image_pieces[count - 1].len -=
        (size_t)(copy->memory_from + copy->chunk_count * CHUNK_BYTES - copy->length);
    return 0;
}

static int start_image(struct copy *copy)
{
    struct copy_image *image = &copy->on_image->image;
    size_t count;

    if (copy->error != 0 || put_pieces(copy, &count) != 0)
        return ERR_MEMORY;
    copy->on_image->error = 0;
    *image = (struct copy_image){.fd = copy->file.fd,
                                 .file_bytes = copy->file.bytes,
                                 .length = copy->length,
                                 .sum = copy->file.sum,
                                 .is_broken = copy->file.is_broken,
                                 .pieces = copy->image_pieces,
                                 .piece_count = count,
                                 .drafts = copy->limits->drafts};
    copy->job.on_image = copy->on_image;
    if (copy->on_image->hand_over != NULL) {
        copy->job.kind = COPY_JOB_IMAGE;
        copy->on_image->hand_over(copy->on_image);
        return 0;
    }
    if (start_job(copy, COPY_JOB_IMAGE, run_image, done_image) == 0)
        return 0;
    mem_free(copy->image_pieces);
    copy->image_pieces = NULL;
    return ERR_MEMORY;
}

static bool may_spill(const struct copy *copy)
{
    return !copy->is_let_go && copy->file.error == 0 && !copy->file.is_broken &&
           copy->file.bytes == copy->memory_from;
}

void copy_file_next_job(struct copy *copy)
{
    if (copy->job.kind != COPY_JOB_NONE)
        return;
    if (copy->on_image != NULL && !copy->image_post.is_posted) {
        if (start_image(copy) == 0)
            return;
        loop_post(copy->loop, &copy->image_post, tell_image, copy);
    }
    if (copy->error != 0)
        return;
    LIST_EACH (link, &copy->readers) {
        struct reader *reader = LIST_ENTRY(link, struct reader, link);
        if (reader->wants_window) {
            start_read(copy, reader);
            return;
        }
    }
    if (may_spill(copy) && copy_is_over(copy, 0, 1))
        start_spill(copy);
}
