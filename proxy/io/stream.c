/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams on libuv: connecting, reading, closing. */
#include "proxy/io/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/stream_uv.h"

static int error_of(int error)
{
    return error == UV_ECONNRESET || error == UV_EPIPE || error == UV_EOF ? ERR_CLOSED : error;
}

static bool has_unread(const struct stream *stream)
{
    return stream->unread_start < stream->unread_end;
}

/* ---- octets that the owner has not consumed ---- */

static struct bytes unread_of(const struct stream *stream)
{
    return bytes_make(stream->unread + stream->unread_start,
                      stream->unread_end - stream->unread_start);
}

static void give_unread_back(struct stream *stream)
{
    struct loop_pools *pools = loop_pools(stream->loop);

    if (stream->unread == NULL)
        return;
    if (stream->unread_capacity == pools->small.block_bytes)
        pool_give(&pools->small, stream->unread);
    else if (stream->unread_capacity == pools->medium.block_bytes)
        pool_give(&pools->medium, stream->unread);
    else
        pool_give(&pools->chunk, stream->unread);
    stream->unread = NULL;
    stream->unread_start = stream->unread_end = 0;
}

static void keep_unread(struct stream *stream, struct bytes rest)
{
    struct loop_pools *pools = loop_pools(stream->loop);
    struct pool *pool = &pools->chunk;

    assert(stream->unread == NULL && rest.len <= STREAM_UNREAD_MAX);
    if (rest.len <= pools->small.block_bytes)
        pool = &pools->small;
    else if (rest.len <= pools->medium.block_bytes)
        pool = &pools->medium;
    stream->unread = pool_take(pool);
    if (stream->unread == NULL) {
        stream_fail(stream, ERR_MEMORY);
        return;
    }
    stream->unread_capacity = (uint32_t)pool->block_bytes;
    memcpy(stream->unread, rest.at, rest.len);
    stream->unread_start = 0;
    stream->unread_end = (uint32_t)rest.len;
}

/* ---- reading ---- */

static size_t offer(struct stream *stream, struct bytes in)
{
    size_t consumed;

    assert(!stream->is_offering && !stream->is_closing);
    stream->is_offering = true;
    consumed = stream->events->bytes(stream->owner, in);
    stream->is_offering = false;
    assert(consumed <= in.len);
    return consumed;
}

/* The owner has begun TLS while it was offered octets; those behind what it has consumed are the
 * handshake's. */
static bool has_turned(const struct stream *stream, bool was_plain)
{
    return was_plain && stream->tls != NULL && !stream->is_closing;
}

void stream_take_plain(struct stream *stream, struct bytes in)
{
    bool was_plain = stream->tls == NULL;
    size_t consumed = stream->is_holding ? 0 : offer(stream, in);

    if (has_turned(stream, was_plain))
        stream_tls_take(stream, bytes_skip(in, consumed));
    else if (consumed < in.len && !stream->is_closing)
        keep_unread(stream, bytes_skip(in, consumed));
}

static void take_in(struct stream *stream, struct bytes in)
{
    stream->turn_bytes += (uint32_t)in.len;
    if (stream->tls != NULL)
        stream_tls_take(stream, in);
    else
        stream_take_plain(stream, in);
}

static bool is_turn_over(struct stream *stream)
{
    if (stream->turn_number != stream->loop->turn_number) {
        stream->turn_number = stream->loop->turn_number;
        stream->turn_bytes = 0;
    }
    return stream->turn_bytes >= STREAM_TURN_BYTES;
}

/* A part of a record may have come before, and what is decrypted must be kept. */
static unsigned read_bytes(const struct stream *stream)
{
    return stream->tls != NULL ? LOOP_READ_BYTES - LOOP_RECORD_BYTES : LOOP_READ_BYTES;
}

/* An empty buffer leaves the octets in the kernel, without a system call. */
static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct stream *stream = (struct stream *)handle;

    (void)suggested;
    if (has_unread(stream) || stream->error != 0 || is_turn_over(stream))
        *buffer = uv_buf_init(NULL, 0);
    else if (stream->tls != NULL && stream_tls_must_wait(stream))
        *buffer = uv_buf_init(NULL, 0);
    else
        *buffer = uv_buf_init((char *)stream->loop->buffers.read, read_bytes(stream));
}

static void tell(void *owner);

static void on_read(uv_stream_t *handle, ssize_t octets, const uv_buf_t *buffer)
{
    struct stream *stream = (struct stream *)handle;

    if (octets > 0) {
        take_in(stream, bytes_make(buffer->base, (size_t)octets));
        return;
    }
    if (octets == 0)
        return;
    if (octets == UV_ENOBUFS) {
        /* A turn that is over needs nothing. Otherwise stop reading, or libuv would call again and
         * again. */
        if (has_unread(stream) || stream->error != 0) {
            uv_read_stop(handle);
            stream->is_stopped = true;
        }
        return;
    }
    if (octets == UV_EOF && (stream->tls == NULL || stream_tls_may_end(stream)))
        stream->has_eof = true;
    else if (stream->error == 0)
        stream->error = error_of((int)octets);
    loop_unpost(stream->loop, &stream->telling);
    tell(stream);
}

void stream_start_reading(struct stream *stream)
{
    int error = uv_read_start((uv_stream_t *)&stream->handle, on_buffer, on_read);

    stream->is_stopped = false;
    if (error != 0)
        stream_fail(stream, error);
}

/* After a failed write: reads what arrived before, for example a server's last reply. libuv would
 * not always read it before the owner is told of the failure. */
static void read_what_came(struct stream *stream)
{
    while (!stream->is_closing && !has_unread(stream) && !stream->has_eof &&
           !is_turn_over(stream)) {
        ssize_t octets =
            recv(stream_fd(stream), stream->loop->buffers.read, read_bytes(stream), MSG_DONTWAIT);

        if (octets <= 0)
            return;
        take_in(stream, bytes_make(stream->loop->buffers.read, (size_t)octets));
    }
}

static void finish_connect(struct stream *stream)
{
    stream->is_connecting = false;
    if (stream->error == 0)
        stream_start_reading(stream);
    if (stream->error == 0)
        stream_send_waiting(stream);
    stream->is_told = stream->error != 0;
    stream->events->connected(stream->owner, stream->error);
}

/* Called by the loop, never from within a call of the owner's. */
static void tell(void *owner)
{
    struct stream *stream = owner;

    if (stream->is_connecting) {
        finish_connect(stream);
    } else if (stream->error != 0 && !stream->is_told) {
        /* Otherwise octets before those in the kernel may have been lost. */
        if (stream->error != ERR_MEMORY && stream->error != ERR_TLS)
            read_what_came(stream);
        if (stream->is_closing)
            return;
        stream->is_told = true;
        stream->events->failed(stream->owner, stream->error);
    } else if (stream->error == 0 && stream->has_eof && !has_unread(stream) && !stream->is_told) {
        stream->is_told = true;
        stream->events->eof(stream->owner);
    }
}

void stream_fail(struct stream *stream, int error)
{
    assert(error != 0);
    if (stream->error != 0)
        return;
    stream->error = error_of(error);
    stream->is_told = false; /* a failure may follow an eof */
    if (!stream->is_closing)
        loop_post(stream->loop, &stream->telling, tell, stream);
}

void stream_resume(struct stream *stream)
{
    if (stream->is_offering || stream->is_closing || stream->is_connecting || stream->error != 0)
        return;
    if (has_unread(stream)) {
        bool was_plain = stream->tls == NULL;
        stream->unread_start += (uint32_t)offer(stream, unread_of(stream));
        if (has_turned(stream, was_plain))
            stream_tls_take(stream, unread_of(stream));
        else if (stream->is_closing || has_unread(stream))
            return;
        give_unread_back(stream);
    }
    if (stream->has_eof && !stream->is_told)
        loop_post(stream->loop, &stream->telling, tell, stream);
    else if (stream->is_stopped && !stream->has_eof)
        stream_start_reading(stream);
}

void stream_take_end(struct stream *stream)
{
    stream->has_eof = true;
    loop_post(stream->loop, &stream->telling, tell, stream);
}

size_t stream_drop_unread(struct stream *stream)
{
    size_t dropped = stream->unread_end - stream->unread_start;

    give_unread_back(stream);
    return dropped;
}

/* What has come may be nothing but TLS's own: a ticket. */
static void read_records(struct stream *stream)
{
    stream->is_holding = true;
    read_what_came(stream);
    stream->is_holding = false;
}

bool stream_is_quiet(struct stream *stream)
{
    uint8_t octet;

    if (stream->is_closing || stream->is_connecting || stream->error != 0)
        return false;
    if (stream->tls != NULL)
        read_records(stream);
    if (has_unread(stream) || stream->has_eof || stream->error != 0)
        return false;
    /* What has arrived stays in the kernel until it is read. */
    if (recv(stream_fd(stream), &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
        return false;
    if (errno == EAGAIN)
        return true;
    stream_fail(stream, -errno);
    return false;
}

bool stream_is_ending(struct stream *stream)
{
    struct pollfd asked = {.events = POLLRDHUP};

    if (stream->error != 0 || stream->is_closing || stream->is_connecting)
        return false;
    asked.fd = stream_fd(stream);
    if (stream->has_eof || poll(&asked, 1, 0) <= 0)
        return stream->has_eof;
    if ((asked.revents & POLLERR) != 0)
        stream_fail(stream, ERR_CLOSED);
    return stream->error == 0;
}

/* Nobody else waits for it: where that is not possible, the acknowledgement comes later. */
void stream_acknowledge(struct stream *stream)
{
    int on = 1;

    if (!stream->is_closing && !stream->is_connecting)
        (void)setsockopt(stream_fd(stream), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/* ---- beginning ---- */

struct stream *stream_new(struct loop *loop)
{
    struct stream *stream = mem_zalloc(sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->loop = loop;
    uv_tcp_init(&loop->uv, &stream->handle);
    return stream;
}

int stream_open(struct stream *stream, int fd)
{
    return uv_tcp_open(&stream->handle, fd);
}

int stream_fd(const struct stream *stream)
{
    int fd = -1;

    uv_fileno((const uv_handle_t *)&stream->handle, &fd);
    return fd;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct stream *stream = (struct stream *)request->handle;

    mem_free(request);
    if (stream->is_closing)
        return;
    if (stream->error == 0)
        stream->error = status;
    loop_unpost(stream->loop, &stream->telling);
    tell(stream);
}

static socklen_t write_address(const struct netaddr *address, struct sockaddr_storage *address_out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address_out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address_out;

    memset(address_out, 0, sizeof(*address_out));
    if (address->family == NETADDR_IPV4) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(address->port);
        memcpy(&v4->sin_addr, address->octets, 4);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address->port);
    memcpy(&v6->sin6_addr, address->octets, 16);
    return sizeof(*v6);
}

/* 0: the result follows. Otherwise connecting could not begin. */
static int connect_tcp(struct stream *stream, const struct netaddr *to)
{
    uv_connect_t *request = mem_alloc(sizeof(*request));
    struct sockaddr_storage address;
    int error;

    if (request == NULL)
        return ERR_MEMORY;
    write_address(to, &address);
    stream->peer = *to;
    uv_tcp_nodelay(&stream->handle, 1); /* libuv remembers it until there is a socket */
    error = uv_tcp_connect(request, &stream->handle, (struct sockaddr *)&address, on_connected);
    if (error != 0)
        mem_free(request);
    return error;
}

/* Connecting to a unix socket never waits: the result is known at once, and is told by a post. */
static int connect_unix(struct stream *stream, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int error, fd;

    if (length >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    if (error == 0)
        error = stream_open(stream, fd);
    if (error != 0)
        close(fd);
    else
        loop_post(stream->loop, &stream->telling, tell, stream);
    return error;
}

static bool is_shortage(int error)
{
    return error == ERR_MEMORY || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -ENOBUFS;
}

struct stream *stream_connect(struct loop *loop, const struct stream_target *to,
                              const struct stream_events *events, void *owner, int *error_out)
{
    struct stream *stream = stream_new(loop);
    int error;

    if (stream == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    stream->is_connecting = true;
    error = to->address.family == NETADDR_NONE ? connect_unix(stream, to->unix_path)
                                               : connect_tcp(stream, &to->address);
    if (is_shortage(error)) {
        stream_close(stream);
        *error_out = error;
        return NULL;
    }
    stream->events = events;
    stream->owner = owner;
    if (error != 0)
        stream_fail(stream, error);
    return stream;
}

void stream_adopt(struct stream *stream, const struct stream_events *events, void *owner)
{
    assert(stream->events == NULL && events != NULL);
    stream->events = events;
    stream->owner = owner;
}

/* ---- ending ---- */

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = (struct stream *)handle;

    if (stream->events != NULL)
        stream->events->closed(stream->owner);
    give_unread_back(stream);
    stream_drop_waiting(stream);
    stream_tls_free(stream);
    assert(stream->loop->stray_count >= stream->is_stray);
    stream->loop->stray_count -= stream->is_stray;
    mem_free(stream);
}

void stream_close(struct stream *stream)
{
    if (stream->is_closing)
        return;
    if (stream->tls != NULL)
        stream_tls_end(stream);
    stream->is_closing = true;
    loop_unpost(stream->loop, &stream->telling);
    stream_send_last(stream);
    uv_close((uv_handle_t *)&stream->handle, on_closed);
}

/* ---- addresses ---- */

struct netaddr stream_address(const struct sockaddr *address)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;

    if (address->sa_family == AF_INET)
        return netaddr_of_octets((const uint8_t *)&v4->sin_addr, 4, ntohs(v4->sin_port));
    if (address->sa_family == AF_INET6)
        return netaddr_of_octets(v6->sin6_addr.s6_addr, 16, ntohs(v6->sin6_port));
    return (struct netaddr){.family = NETADDR_NONE};
}

struct netaddr stream_peer(const struct stream *stream)
{
    return stream->peer;
}

struct netaddr stream_local(const struct stream *stream)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);

    getsockname(stream_fd(stream), (struct sockaddr *)&address, &length);
    return stream_address((struct sockaddr *)&address);
}
