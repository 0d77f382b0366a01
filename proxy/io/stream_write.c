/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams on libuv: sending. The kernel is tried at once; only a rest costs a request. */
#include <sys/socket.h>

#include "proxy/base/error.h"
#include "proxy/io/stream_uv.h"

/* Small rests lie in a block of the medium pool, larger ones in memory of their own. */
struct unsent {
    uv_write_t request;
    struct stream *of;
    uint32_t len, capacity;
    bool is_pooled;
    uint8_t octets[];
};

static void unsent_free(struct stream *s, struct unsent *u)
{
    if (u == NULL)
        return;
    if (u->is_pooled)
        pool_give(&loop_pools(s->loop)->medium, u);
    else
        mem_free(u);
}

static struct unsent *unsent_new(struct stream *s, size_t needed)
{
    struct pool *pool = &loop_pools(s->loop)->medium;
    bool is_pooled = needed <= pool->block_bytes - sizeof(struct unsent);
    struct unsent *u =
        is_pooled ? pool_take(pool) : mem_alloc(sizeof(struct unsent) + STREAM_UNSENT_MAX);

    if (u == NULL)
        return NULL;
    u->of = s;
    u->len = 0;
    u->is_pooled = is_pooled;
    u->capacity = STREAM_UNSENT_MAX;
    if (is_pooled)
        u->capacity = (uint32_t)(pool->block_bytes - sizeof(struct unsent));
    return u;
}

/* Room for `more` octets in s->waiting. */
static bool reserve_waiting(struct stream *s, size_t more)
{
    struct unsent *old = s->waiting, *u;
    size_t needed = more + (old == NULL ? 0 : old->len);

    if (old != NULL && needed <= old->capacity)
        return true;
    u = unsent_new(s, needed);
    if (u == NULL)
        return false;
    if (old != NULL) {
        memcpy(u->octets, old->octets, old->len);
        u->len = old->len;
        unsent_free(s, old);
    }
    s->waiting = u;
    return true;
}

static void finish_shutdown(struct stream *s)
{
    /* uv_shutdown() would watch for POLLOUT first; nothing is unsent, so that is not needed. */
    shutdown(stream_fd(s), SHUT_WR);
}

static void on_sent(uv_write_t *request, int status)
{
    struct unsent *u = CONTAINER_OF(request, struct unsent, request);
    struct stream *s = u->of;

    s->sending = NULL;
    unsent_free(s, u);
    if (s->is_closing || s->error != 0)
        return;
    if (status < 0) {
        stream_fail(s, status);
        return;
    }
    if (s->waiting != NULL) {
        stream_send_waiting(s);
        return;
    }
    if (s->is_shut)
        finish_shutdown(s);
    s->events->room(s->owner);
}

void stream_send_waiting(struct stream *s)
{
    struct unsent *u = s->waiting;
    uv_buf_t buffer;
    int error;

    if (u == NULL) {
        if (s->is_shut)
            finish_shutdown(s);
        return;
    }
    s->waiting = NULL;
    s->sending = u;
    buffer = uv_buf_init((char *)u->octets, u->len);
    error = uv_write(&u->request, (uv_stream_t *)&s->handle, &buffer, 1, on_sent);
    if (error != 0) {
        s->sending = NULL;
        unsent_free(s, u);
        stream_fail(s, error);
    }
}

/* Copies what lies behind the first `skip` octets, as far as there is room. */
static size_t keep_rest(struct stream *s, const uv_buf_t *buffers, int count, size_t skip,
                        size_t total)
{
    size_t unsent = stream_unsent(s);
    size_t room = unsent < STREAM_UNSENT_MAX ? STREAM_UNSENT_MAX - unsent : 0;
    size_t left = total - skip < room ? total - skip : room, kept = left;

    if (left == 0)
        return 0;
    if (!reserve_waiting(s, left)) {
        stream_fail(s, ERR_MEMORY);
        return 0;
    }
    for (int i = 0; i < count && left > 0; i++) {
        size_t at = skip < buffers[i].len ? skip : buffers[i].len;
        size_t n = buffers[i].len - at < left ? buffers[i].len - at : left;

        memcpy(s->waiting->octets + s->waiting->len, buffers[i].base + at, n);
        s->waiting->len += (uint32_t)n;
        skip -= at;
        left -= n;
    }
    return kept;
}

size_t stream_write(struct stream *s, const struct bytes *pieces, int count)
{
    uv_buf_t buffers[STREAM_PIECES_MAX];
    size_t total = 0, taken = 0;
    int used = 0;

    if (s->is_closing || s->is_shut || s->error != 0)
        return 0;
    for (int i = 0; i < count && used < STREAM_PIECES_MAX; i++) {
        if (pieces[i].len == 0)
            continue;
        total += pieces[i].len;
        buffers[used].base = (char *)(uintptr_t)pieces[i].at; /* libuv only reads it */
        buffers[used++].len = pieces[i].len;
    }
    if (used == 0)
        return 0;
    if (!s->is_connecting && s->sending == NULL) {
        int sent = uv_try_write((uv_stream_t *)&s->handle, buffers, (unsigned)used);

        if (sent < 0 && sent != UV_EAGAIN) {
            stream_fail(s, sent);
            return 0;
        }
        taken = sent > 0 ? (size_t)sent : 0;
    }
    if (taken < total) {
        taken += keep_rest(s, buffers, used, taken, total);
        if (!s->is_connecting && s->sending == NULL && s->error == 0)
            stream_send_waiting(s);
    }
    return taken;
}

size_t stream_unsent(const struct stream *s)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&s->handle) +
           (s->waiting == NULL ? 0 : s->waiting->len);
}

void stream_shutdown(struct stream *s)
{
    if (s->is_shut || s->is_closing || s->error != 0)
        return;
    s->is_shut = true;
    if (!s->is_connecting && s->sending == NULL)
        finish_shutdown(s);
}

void stream_send_last(struct stream *s)
{
    struct unsent *blocks[2] = {s->sending, s->waiting};
    size_t queued = uv_stream_get_write_queue_size((const uv_stream_t *)&s->handle);
    struct iovec pieces[2];
    struct msghdr message = {.msg_iov = pieces};

    if (s->error != 0 || s->is_connecting)
        return;
    for (int i = 0; i < 2; i++) {
        struct unsent *u = blocks[i];
        size_t start = u == NULL || i == 1 ? 0 : u->len - queued;

        if (u != NULL && start < u->len)
            pieces[message.msg_iovlen++] =
                (struct iovec){.iov_base = u->octets + start, .iov_len = u->len - start};
    }
    if (message.msg_iovlen > 0)
        sendmsg(stream_fd(s), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void stream_drop_waiting(struct stream *s)
{
    unsent_free(s, s->waiting);
    s->waiting = NULL;
}
