/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as kept while it streams: its tail in chunks of memory, what is older in a file. */
#include "proxy/io/copy.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/closing.h"
#include "proxy/io/copy_private.h"

/* ---- telling the owner ---- */

/* A finished copy grows no more: whoever wants its file finds out then whether it can be
 * written. */
static bool is_unkept(const struct copy *copy)
{
    return copy->file.error != 0 && !copy->is_let_go && !copy->is_finished;
}

static void tell_owner(void *owner)
{
    struct copy *copy = owner;

    if (copy->error != 0) {
        copy->use->failed(copy->owner);
    } else if (is_unkept(copy)) {
        copy->use->unkept(copy->owner, copy->file.error);
    } else if (!list_is_empty(&copy->wait.link) && copy_room(copy) != 0) {
        copy_stop_waiting(copy);
        copy->use->room(copy->owner);
    }
}

void copy_tell_later(struct copy *copy)
{
    loop_post(copy->loop, &copy->post, tell_owner, copy);
}

void copy_fail(struct copy *copy, int error)
{
    if (copy->error != 0)
        return;
    copy->error = error;
    copy_tell_later(copy);
}

void copy_unkeep(struct copy *copy, int error)
{
    copy->file.error = error;
    copy_tell_later(copy);
}

/* ---- the owner's side ---- */

void copy_let_go(struct copy *copy)
{
    copy->is_let_go = true;
    copy_give_favour_up(copy);
    copy_look_again(copy);
}

void copy_end(struct copy *copy)
{
    assert(copy->is_freed && copy->job.kind == COPY_JOB_NONE && copy->on_image == NULL);
    loop_unpost(copy->loop, &copy->post);
    copy_give_favour_up(copy);
    if (!copy->file.is_given && copy->length != 0) {
        copy_count(copy, 0, -(int64_t)copy->file.bytes);
        copy_drop_chunks(copy, copy->chunk_count);
    }
    if (copy->file.fd >= 0)
        closing_begin(copy->loop, copy->file.is_given ? NULL : copy->limits->drafts, copy->file.fd);
    mem_free(copy->chunks);
    mem_free(copy);
}

struct copy *copy_new(struct loop *loop, struct copy_limits *limits, struct copy_net *net,
                      const struct copy_use *use, void *owner)
{
    struct copy *copy = mem_zalloc(sizeof(*copy));
    if (copy == NULL)
        return NULL;
    copy->loop = loop;
    copy->limits = limits;
    copy->net = net;
    copy->use = use;
    copy->owner = owner;
    copy->message_end = COPY_END;
    copy->file.fd = -1;
    copy->file.at = limits->head_bytes;
    list_init(&copy->readers);
    list_init(&copy->wait.link);
    list_append(&limits->unfinished, &copy->in_unfinished);
    return copy;
}

struct copy *copy_of_file(struct loop *loop, struct copy_limits *limits, int fd, uint64_t at,
                          uint64_t length, const struct copy_use *use, void *owner)
{
    struct copy *copy = copy_new(loop, limits, copy_net_of(limits, NULL), use, owner);

    if (copy == NULL)
        return NULL;
    copy_finish(copy);
    copy->file.fd = fd;
    copy->file.at = at;
    copy->file.bytes = copy->memory_from = copy->length = length;
    copy->file.is_given = true;
    return copy;
}

static void tell_nobody(void *owner)
{
    (void)owner;
}

static void tell_nobody_why(void *owner, int error)
{
    (void)owner;
    (void)error;
}

/* The owner of a finished copy is told nothing else. */
static const struct copy_use nobody = {
    .room = tell_nobody, .unkept = tell_nobody_why, .failed = tell_nobody};

void copy_disown(struct copy *copy)
{
    assert(copy->is_finished);
    loop_unpost(copy->loop, &copy->post);
    copy->use = &nobody;
}

void copy_free(struct copy **held)
{
    struct copy *copy = *held;

    *held = NULL;
    if (copy == NULL)
        return;
    assert(!copy->is_freed && copy->on_image == NULL && list_is_empty(&copy->readers));
    loop_unpost(copy->loop, &copy->post);
    copy_stop_waiting(copy);
    list_remove(&copy->in_unfinished);
    copy->is_freed = true;
    if (copy->job.kind == COPY_JOB_NONE)
        copy_end(copy);
}

static int add_chunk(struct copy *copy)
{
    uint8_t **grown =
        mem_make_room(copy->chunks, copy->chunk_count, &copy->chunk_capacity, sizeof(*grown));
    if (grown == NULL)
        return ERR_MEMORY;
    copy->chunks = grown;
    uint8_t *chunk = pool_take(copy_chunk_pool(copy));
    if (chunk == NULL)
        return ERR_MEMORY;
    copy->chunks[copy->chunk_count++] = chunk;
    copy->moved_ms = loop_now_ms(copy->loop);
    copy_count(copy, CHUNK_BYTES, 0);
    return 0;
}

int copy_append(struct copy *copy, struct bytes octets)
{
    assert(!copy->is_finished && octets.len <= CHUNK_BYTES);
    while (octets.len != 0) {
        size_t in_last = (size_t)(copy->length % CHUNK_BYTES);
        if (copy->memory_from + copy->chunk_count * CHUNK_BYTES == copy->length &&
            add_chunk(copy) != 0)
            return ERR_MEMORY;
        struct bytes now = bytes_first(octets, CHUNK_BYTES - in_last);
        assert(copy->chunk_count != 0);
        memcpy(copy->chunks[copy->chunk_count - 1] + in_last, now.at, now.len);
        copy->length += now.len;
        octets = bytes_skip(octets, now.len);
    }
    copy_file_next_job(copy);
    return 0;
}

void copy_end_message(struct copy *copy)
{
    assert(copy->message_end == COPY_END);
    copy->message_end = copy->length;
}

uint64_t copy_message_length(const struct copy *copy)
{
    return copy->message_end == COPY_END ? copy->length : copy->message_end;
}

void copy_finish(struct copy *copy)
{
    copy->is_finished = true;
    copy_stop_waiting(copy);
    list_remove(&copy->in_unfinished);
}

bool copy_is_finished(const struct copy *copy)
{
    return copy->is_finished;
}

uint64_t copy_length(const struct copy *copy)
{
    return copy->length;
}

void copy_run(struct copy *copy, struct copy_job_on_image *job)
{
    assert(copy->is_finished && copy->on_image == NULL && !copy->file.is_given &&
           copy_is_whole(copy));
    assert((job->run == NULL) != (job->hand_over == NULL));
    job->copy = copy;
    copy->on_image = job;
    copy_file_next_job(copy);
}

int copy_error(const struct copy *copy)
{
    return copy->error;
}

/* ---- readers ---- */

static void forget_window(struct reader *reader)
{
    if (reader->window != NULL)
        pool_give(copy_chunk_pool(reader->of), reader->window);
    reader->window = NULL;
    reader->wants_window = false;
    if (reader->of->job.kind == COPY_JOB_READ && reader->of->job.reader == reader)
        reader->of->job.reader = NULL;
}

void reader_open(struct reader *reader, struct copy *copy, void (*more)(struct reader *reader))
{
    assert(!copy->is_freed && copy_is_whole(copy));
    *reader = (struct reader){.of = copy, .end = COPY_END, .more = more};
    list_append(&copy->readers, &reader->link);
}

void reader_set_range(struct reader *reader, uint64_t start, uint64_t end)
{
    assert(reader->at == reader->start && start <= reader->of->length && start <= end);
    forget_window(reader);
    reader->at = reader->start = start;
    reader->end = end;
    copy_look_again(reader->of);
}

/* Where the octets end that the reader may read now. */
static uint64_t end_of(const struct reader *reader)
{
    const struct copy *copy = reader->of;
    uint64_t end = reader->end == COPY_END ? copy->message_end : reader->end;

    return end < copy->length ? end : copy->length;
}

void reader_close(struct reader *reader)
{
    if (reader->of == NULL)
        return;
    forget_window(reader);
    list_remove(&reader->link);
    copy_look_again(reader->of);
    reader->of = NULL;
}

static int piece_of_window(struct reader *reader, struct bytes *piece)
{
    struct copy *copy = reader->of;

    if (reader->window != NULL && reader->at >= reader->window_at &&
        reader->at < reader->window_at + reader->window_bytes) {
        size_t skip = (size_t)(reader->at - reader->window_at);
        *piece = bytes_first(bytes_make(reader->window + skip, reader->window_bytes - skip),
                             (size_t)reader_left(reader));
        return 1;
    }
    if (copy->job.kind == COPY_JOB_READ && copy->job.reader == reader)
        return 0;
    forget_window(reader);
    reader->wants_window = true;
    copy_file_next_job(copy);
    return 0;
}

int reader_pieces(struct reader *reader, struct bytes *pieces, int max)
{
    struct copy *copy = reader->of;
    int count = 0;

    assert(copy != NULL && max > 0);
    uint64_t at = reader->at, end = end_of(reader);
    if (at < end && at < copy->memory_from)
        return piece_of_window(reader, pieces);
    while (count < max && at < end) {
        uint64_t offset = at - copy->memory_from;
        size_t skip = (size_t)(offset % CHUNK_BYTES);
        uint64_t left = end - at;
        size_t len = CHUNK_BYTES - skip;
        if (len > left)
            len = (size_t)left;
        assert(offset / CHUNK_BYTES < copy->chunk_count);
        pieces[count++] = bytes_make(copy->chunks[offset / CHUNK_BYTES] + skip, len);
        at += len;
    }
    return count;
}

void reader_advance(struct reader *reader, size_t octets)
{
    assert(octets <= reader_left(reader));
    reader->at += octets;
    if (reader->window != NULL && reader->at >= reader->window_at + reader->window_bytes)
        forget_window(reader);
    copy_look_again(reader->of);
}

void reader_rewind(struct reader *reader)
{
    assert(reader->of != NULL && (reader->at == reader->start || copy_is_whole(reader->of)));
    forget_window(reader);
    reader->at = reader->start;
}

uint64_t reader_left(const struct reader *reader)
{
    assert(reader->of != NULL && reader->at <= end_of(reader));
    return end_of(reader) - reader->at;
}
