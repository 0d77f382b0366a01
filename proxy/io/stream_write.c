/* SPDX-License-Identifier: BSD-2-Clause */
/* Sending on libuv. The kernel is tried at once; only octets that it does not take need a
 * request. */
#include <sys/socket.h>

#include "proxy/base/error.h"
#include "proxy/io/stream_uv.h"

/* Lies in a block of the medium pool if that is large enough, else in memory of its own. */
struct unsent {
    uv_write_t request;
    struct stream *of;
    uint32_t len, capacity;
    bool is_pooled;
    uint8_t octets[];
};

static void unsent_free(struct stream *stream, struct unsent *unsent)
{
    if (unsent == NULL)
        return;
    if (unsent->is_pooled)
        pool_give(&loop_pools(stream->loop)->medium, unsent);
    else
        mem_free(unsent);
}

static struct unsent *unsent_new(struct stream *stream, size_t needed)
{
    struct pool *pool = &loop_pools(stream->loop)->medium;
    bool is_pooled = needed <= pool->block_bytes - sizeof(struct unsent);
    size_t large = needed < STREAM_UNSENT_MAX ? STREAM_UNSENT_MAX : needed;
    struct unsent *unsent = is_pooled ? pool_take(pool) : mem_alloc(sizeof(struct unsent) + large);

    if (unsent == NULL)
        return NULL;
    unsent->of = stream;
    unsent->len = 0;
    unsent->is_pooled = is_pooled;
    unsent->capacity = (uint32_t)large;
    if (is_pooled)
        unsent->capacity = (uint32_t)(pool->block_bytes - sizeof(struct unsent));
    return unsent;
}

/* Makes room for `more` octets in stream->waiting. */
static bool reserve_waiting(struct stream *stream, size_t more)
{
    struct unsent *old = stream->waiting, *u;
    size_t needed = more + (old == NULL ? 0 : old->len);

    if (old != NULL && needed <= old->capacity)
        return true;
    u = unsent_new(stream, needed);
    if (u == NULL)
        return false;
    if (old != NULL) {
        memcpy(u->octets, old->octets, old->len);
        u->len = old->len;
        unsent_free(stream, old);
    }
    stream->waiting = u;
    return true;
}

static void finish_shutdown(struct stream *stream)
{
    /* uv_shutdown() would wait for POLLOUT first, without need: nothing is unsent. */
    shutdown(stream_fd(stream), SHUT_WR);
}

static void on_sent(uv_write_t *request, int status)
{
    struct unsent *unsent = CONTAINER_OF(request, struct unsent, request);
    struct stream *stream = unsent->of;

    assert(stream->sending == unsent);
    stream->sending = NULL;
    unsent_free(stream, unsent);
    if (stream->is_closing || stream->error != 0)
        return;
    if (status < 0) {
        stream_fail(stream, status);
        return;
    }
    if (stream->waiting != NULL) {
        stream_send_waiting(stream);
        return;
    }
    if (stream->is_shut)
        finish_shutdown(stream);
    stream->events->room(stream->owner);
}

void stream_send_waiting(struct stream *stream)
{
    struct unsent *unsent = stream->waiting;
    uv_buf_t buffer;
    int error;

    if (unsent == NULL) {
        if (stream->is_shut)
            finish_shutdown(stream);
        return;
    }
    assert(stream->sending == NULL);
    stream->waiting = NULL;
    stream->sending = unsent;
    buffer = uv_buf_init((char *)unsent->octets, unsent->len);
    error = uv_write(&unsent->request, (uv_stream_t *)&stream->handle, &buffer, 1, on_sent);
    if (error != 0) {
        stream->sending = NULL;
        unsent_free(stream, unsent);
        stream_fail(stream, error);
    }
}

/* Copies the octets behind the first `skip`, as far as there is room. */
static size_t keep_rest(struct stream *stream, const uv_buf_t *buffers, int count, size_t skip,
                        size_t total)
{
    size_t unsent = stream_unsent(stream);
    size_t room = unsent < STREAM_UNSENT_MAX ? STREAM_UNSENT_MAX - unsent : 0;
    size_t left = total - skip < room ? total - skip : room, kept = left;

    if (left == 0)
        return 0;
    if (!reserve_waiting(stream, left)) {
        stream_fail(stream, ERR_MEMORY);
        return 0;
    }
    for (int i = 0; i < count && left > 0; i++) {
        size_t at = skip < buffers[i].len ? skip : buffers[i].len;
        size_t n = buffers[i].len - at < left ? buffers[i].len - at : left;

        assert(stream->waiting->len + n <= stream->waiting->capacity);
        memcpy(stream->waiting->octets + stream->waiting->len, buffers[i].base + at, n);
        stream->waiting->len += (uint32_t)n;
        skip -= at;
        left -= n;
    }
    return kept;
}

/* What the kernel takes now. A failure is reported, and takes nothing. */
static size_t send_now(struct stream *stream, const uv_buf_t *buffers, int count)
{
    int sent;

    if (stream->is_connecting || stream->sending != NULL)
        return 0;
    sent = uv_try_write((uv_stream_t *)&stream->handle, buffers, (unsigned)count);
    if (sent < 0 && sent != UV_EAGAIN)
        stream_fail(stream, sent);
    return sent > 0 ? (size_t)sent : 0;
}

static void send_rest(struct stream *stream)
{
    if (!stream->is_connecting && stream->sending == NULL && stream->error == 0)
        stream_send_waiting(stream);
}

void stream_put(struct stream *stream, struct bytes octets)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)octets.at, (unsigned)octets.len);
    struct bytes rest = bytes_skip(octets, send_now(stream, &buffer, 1));

    if (rest.len == 0 || stream->error != 0)
        return;
    if (!reserve_waiting(stream, rest.len)) {
        stream_fail(stream, ERR_MEMORY);
        return;
    }
    memcpy(stream->waiting->octets + stream->waiting->len, rest.at, rest.len);
    stream->waiting->len += (uint32_t)rest.len;
    send_rest(stream);
}

size_t stream_write(struct stream *stream, const struct bytes *pieces, int count)
{
    uv_buf_t buffers[STREAM_PIECES_MAX];
    size_t total = 0, taken;
    int used = 0;

    assert(count >= 0 && count <= STREAM_PIECES_MAX);
    if (stream->is_closing || stream->is_shut || stream->error != 0)
        return 0;
    if (stream->tls != NULL)
        return stream_tls_write(stream, pieces, count);
    for (int i = 0; i < count; i++) {
        if (pieces[i].len == 0)
            continue;
        total += pieces[i].len;
        buffers[used].base = (char *)(uintptr_t)pieces[i].at; /* libuv only reads it */
        buffers[used++].len = pieces[i].len;
    }
    if (used == 0)
        return 0;
    taken = send_now(stream, buffers, used);
    if (taken < total && stream->error == 0) {
        taken += keep_rest(stream, buffers, used, taken, total);
        send_rest(stream);
    }
    return taken;
}

size_t stream_unsent(const struct stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->handle) +
           (stream->waiting == NULL ? 0 : stream->waiting->len);
}

void stream_shutdown(struct stream *stream)
{
    if (stream->is_shut || stream->is_closing || stream->error != 0)
        return;
    if (stream->tls != NULL)
        stream_tls_end(stream);
    stream->is_shut = true;
    if (!stream->is_connecting && stream->sending == NULL)
        finish_shutdown(stream);
}

void stream_send_last(struct stream *stream)
{
    struct unsent *blocks[2] = {stream->sending, stream->waiting};
    size_t queued = uv_stream_get_write_queue_size((const uv_stream_t *)&stream->handle);
    struct iovec pieces[2];
    struct msghdr message = {.msg_iov = pieces};

    if (stream->error != 0 || stream->is_connecting)
        return;
    for (int i = 0; i < 2; i++) {
        struct unsent *unsent = blocks[i];
        size_t start = unsent == NULL || i == 1 ? 0 : unsent->len - queued;

        if (unsent != NULL && start < unsent->len)
            pieces[message.msg_iovlen++] =
                (struct iovec){.iov_base = unsent->octets + start, .iov_len = unsent->len - start};
    }
    if (message.msg_iovlen > 0)
        sendmsg(stream_fd(stream), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void stream_drop_waiting(struct stream *stream)
{
    unsent_free(stream, stream->waiting);
    stream->waiting = NULL;
}
