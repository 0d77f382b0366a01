/* SPDX-License-Identifier: BSD-2-Clause */
/* The message as kept while it streams: its tail in chunks of memory, what is older in a file. */
#include "proxy/io/copy.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/closing.h"
#include "proxy/io/copy_private.h"

/* ---- telling the owner ---- */

/* What is finished grows no more: whether its file can be written is asked again where it is
 * wanted. */
static bool is_unkept(const struct copy *c)
{
    return c->file.error != 0 && !c->is_let_go && !c->is_finished;
}

static void tell_owner(void *owner)
{
    struct copy *c = owner;

    if (c->error != 0) {
        c->use->failed(c->owner);
    } else if (is_unkept(c)) {
        c->use->unkept(c->owner, c->file.error);
    } else if (!list_is_empty(&c->wait.link) && copy_room(c) != 0) {
        copy_stop_waiting(c);
        c->use->room(c->owner);
    }
}

void copy_tell_later(struct copy *c)
{
    loop_post(c->loop, &c->post, tell_owner, c);
}

void copy_fail(struct copy *c, int error)
{
    if (c->error != 0)
        return;
    c->error = error;
    copy_tell_later(c);
}

void copy_unkeep(struct copy *c, int error)
{
    c->file.error = error;
    copy_tell_later(c);
}

/* ---- the owner's side ---- */

void copy_let_go(struct copy *c)
{
    c->is_let_go = true;
    copy_give_favour_up(c);
    copy_look_again(c);
}

void copy_end(struct copy *c)
{
    loop_unpost(c->loop, &c->post);
    copy_give_favour_up(c);
    if (!c->file.is_given && c->length != 0) {
        copy_count(c, 0, -(int64_t)c->file.bytes);
        copy_drop_chunks(c, c->chunk_count);
    }
    if (c->file.fd >= 0)
        closing_begin(c->loop, c->file.is_given ? NULL : c->limits->drafts, c->file.fd);
    mem_free(c->chunks);
    mem_free(c);
}

struct copy *copy_new(struct loop *l, struct copy_limits *limits, struct copy_net *net,
                      const struct copy_use *use, void *owner)
{
    struct copy *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return NULL;
    c->loop = l;
    c->limits = limits;
    c->net = net;
    c->use = use;
    c->owner = owner;
    c->file.fd = -1;
    c->file.at = limits->head_bytes;
    list_init(&c->readers);
    list_init(&c->wait.link);
    list_append(&limits->unfinished, &c->in_unfinished);
    return c;
}

struct copy *copy_of_file(struct loop *l, struct copy_limits *limits, int fd, uint64_t at,
                          uint64_t length, const struct copy_use *use, void *owner)
{
    struct copy *c = copy_new(l, limits, copy_net_of(limits, NULL), use, owner);

    if (c == NULL)
        return NULL;
    copy_finish(c);
    c->file.fd = fd;
    c->file.at = at;
    c->file.bytes = c->memory_from = c->length = length;
    c->file.is_given = true;
    return c;
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

/* Nothing else is told of what is finished. */
static const struct copy_use nobody = {
    .room = tell_nobody, .unkept = tell_nobody_why, .failed = tell_nobody};

void copy_disown(struct copy *c)
{
    assert(c->is_finished);
    loop_unpost(c->loop, &c->post);
    c->use = &nobody;
}

void copy_free(struct copy **copy)
{
    struct copy *c = *copy;

    *copy = NULL;
    if (c == NULL)
        return;
    assert(c->on_image == NULL);
    loop_unpost(c->loop, &c->post);
    copy_stop_waiting(c);
    list_remove(&c->in_unfinished);
    c->is_freed = true;
    if (c->job.kind == COPY_JOB_NONE)
        copy_end(c);
}

static int add_chunk(struct copy *c)
{
    uint8_t **grown = mem_make_room(c->chunks, c->chunk_count, &c->chunk_capacity, sizeof(*grown));
    if (grown == NULL)
        return ERR_MEMORY;
    c->chunks = grown;
    uint8_t *chunk = pool_take(copy_chunk_pool(c));
    if (chunk == NULL)
        return ERR_MEMORY;
    c->chunks[c->chunk_count++] = chunk;
    c->moved_ms = loop_now_ms(c->loop);
    copy_count(c, CHUNK_BYTES, 0);
    return 0;
}

int copy_append(struct copy *c, struct bytes octets)
{
    while (octets.len != 0) {
        size_t in_last = (size_t)(c->length % CHUNK_BYTES);
        if (c->memory_from + c->chunk_count * CHUNK_BYTES == c->length && add_chunk(c) != 0)
            return ERR_MEMORY;
        struct bytes now = bytes_first(octets, CHUNK_BYTES - in_last);
        memcpy(c->chunks[c->chunk_count - 1] + in_last, now.at, now.len);
        c->length += now.len;
        octets = bytes_skip(octets, now.len);
    }
    copy_file_next_job(c);
    return 0;
}

void copy_finish(struct copy *c)
{
    c->is_finished = true;
    copy_stop_waiting(c);
    list_remove(&c->in_unfinished);
}

bool copy_is_finished(const struct copy *c)
{
    return c->is_finished;
}

uint64_t copy_length(const struct copy *c)
{
    return c->length;
}

void copy_run(struct copy *c, struct copy_job_on_image *job)
{
    assert(c->is_finished && c->on_image == NULL && !c->file.is_given && copy_is_whole(c));
    assert((job->run == NULL) != (job->hand_over == NULL));
    job->copy = c;
    c->on_image = job;
    copy_file_next_job(c);
}

int copy_error(const struct copy *c)
{
    return c->error;
}

/* ---- readers ---- */

static void forget_window(struct reader *r)
{
    if (r->window != NULL)
        pool_give(copy_chunk_pool(r->of), r->window);
    r->window = NULL;
    r->wants_window = false;
    if (r->of->job.kind == COPY_JOB_READ && r->of->job.reader == r)
        r->of->job.reader = NULL;
}

void reader_open(struct reader *r, struct copy *c, void (*more)(struct reader *r))
{
    assert(copy_is_whole(c));
    *r = (struct reader){.of = c, .more = more};
    list_append(&c->readers, &r->link);
}

void reader_close(struct reader *r)
{
    if (r->of == NULL)
        return;
    forget_window(r);
    list_remove(&r->link);
    copy_look_again(r->of);
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
    copy_file_next_job(c);
    return 0;
}

int reader_pieces(struct reader *r, struct bytes *pieces, int max)
{
    struct copy *c = r->of;
    int count = 0;

    if (r->at < c->memory_from)
        return piece_of_window(r, pieces);
    uint64_t at = r->at;
    while (count < max && at < c->length) {
        uint64_t offset = at - c->memory_from;
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
    copy_look_again(r->of);
}

void reader_rewind(struct reader *r)
{
    assert(r->at == 0 || copy_is_whole(r->of));
    forget_window(r);
    r->at = 0;
}

uint64_t reader_left(const struct reader *r)
{
    return r->of->length - r->at;
}
