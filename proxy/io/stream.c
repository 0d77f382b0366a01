/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams on libuv: connecting, reading, closing. */
#include "proxy/io/stream.h"

#include <assert.h>
#include <errno.h>
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

static bool has_unread(const struct stream *s)
{
    return s->unread_start < s->unread_end;
}

/* ---- what the owner has not consumed ---- */

static void give_unread_back(struct stream *s)
{
    struct loop_pools *pools = loop_pools(s->loop);

    if (s->unread == NULL)
        return;
    if (s->unread_capacity == pools->small.block_bytes)
        pool_give(&pools->small, s->unread);
    else if (s->unread_capacity == pools->medium.block_bytes)
        pool_give(&pools->medium, s->unread);
    else
        pool_give(&pools->chunk, s->unread);
    s->unread = NULL;
    s->unread_start = s->unread_end = 0;
}

static void keep_unread(struct stream *s, struct bytes rest)
{
    struct loop_pools *pools = loop_pools(s->loop);
    struct pool *pool = &pools->chunk;

    if (rest.len <= pools->small.block_bytes)
        pool = &pools->small;
    else if (rest.len <= pools->medium.block_bytes)
        pool = &pools->medium;
    s->unread = pool_take(pool);
    if (s->unread == NULL) {
        stream_fail(s, ERR_MEMORY);
        return;
    }
    s->unread_capacity = (uint32_t)pool->block_bytes;
    memcpy(s->unread, rest.at, rest.len);
    s->unread_start = 0;
    s->unread_end = (uint32_t)rest.len;
}

/* ---- reading ---- */

static size_t offer(struct stream *s, struct bytes in)
{
    size_t consumed;

    s->is_offering = true;
    consumed = s->events->bytes(s->owner, in);
    s->is_offering = false;
    assert(consumed <= in.len);
    return consumed;
}

static void take_in(struct stream *s, struct bytes in)
{
    size_t consumed;

    s->turn_bytes += (uint32_t)in.len;
    consumed = offer(s, in);
    if (consumed < in.len && !s->is_closing)
        keep_unread(s, bytes_skip(in, consumed));
}

static bool is_turn_over(struct stream *s)
{
    if (s->turn_number != s->loop->turn_number) {
        s->turn_number = s->loop->turn_number;
        s->turn_bytes = 0;
    }
    return s->turn_bytes >= STREAM_TURN_BYTES;
}

/* An empty buffer lets the octets stay in the kernel without a system call. */
static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct stream *s = (struct stream *)handle;

    (void)suggested;
    if (has_unread(s) || s->error != 0 || is_turn_over(s))
        *buffer = uv_buf_init(NULL, 0);
    else
        *buffer = uv_buf_init((char *)s->loop->read_buffer, LOOP_READ_BYTES);
}

static void tell(void *owner);

static void on_read(uv_stream_t *handle, ssize_t octets, const uv_buf_t *buffer)
{
    struct stream *s = (struct stream *)handle;

    if (octets > 0) {
        take_in(s, bytes_make(buffer->base, (size_t)octets));
        return;
    }
    if (octets == 0)
        return;
    if (octets == UV_ENOBUFS) {
        /* A turn that is over ends by itself; the others would wake the loop again and again. */
        if (has_unread(s) || s->error != 0) {
            uv_read_stop(handle);
            s->is_stopped = true;
        }
        return;
    }
    if (octets == UV_EOF)
        s->has_eof = true;
    else if (s->error == 0)
        s->error = error_of((int)octets);
    loop_unpost(s->loop, &s->telling);
    tell(s);
}

void stream_start_reading(struct stream *s)
{
    int error = uv_read_start((uv_stream_t *)&s->handle, on_buffer, on_read);

    s->is_stopped = false;
    if (error != 0)
        stream_fail(s, error);
}

/* After a failed write: what arrived before, for instance the farewell of a server, is worth
 * reading, and libuv would not always read it before the owner hears of the failure. */
static void read_what_came(struct stream *s)
{
    while (!s->is_closing && !has_unread(s) && !s->has_eof && !is_turn_over(s)) {
        ssize_t octets = recv(stream_fd(s), s->loop->read_buffer, LOOP_READ_BYTES, MSG_DONTWAIT);

        if (octets <= 0)
            return;
        take_in(s, bytes_make(s->loop->read_buffer, (size_t)octets));
    }
}

static void finish_connect(struct stream *s)
{
    s->is_connecting = false;
    if (s->error == 0)
        stream_start_reading(s);
    if (s->error == 0)
        stream_send_waiting(s);
    s->is_told = s->error != 0;
    s->events->connected(s->owner, s->error);
}

/* Called by the loop, never within a call of the owner's. */
static void tell(void *owner)
{
    struct stream *s = owner;

    if (s->is_connecting) {
        finish_connect(s);
    } else if (s->error != 0 && !s->is_told) {
        if (s->error != ERR_MEMORY) /* octets may be missing before those */
            read_what_came(s);
        if (s->is_closing)
            return;
        s->is_told = true;
        s->events->failed(s->owner, s->error);
    } else if (s->error == 0 && s->has_eof && !has_unread(s) && !s->is_told) {
        s->is_told = true;
        s->events->eof(s->owner);
    }
}

void stream_fail(struct stream *s, int error)
{
    if (s->error != 0)
        return;
    s->error = error_of(error);
    s->is_told = false; /* a failure may come behind an eof */
    if (!s->is_closing)
        loop_post(s->loop, &s->telling, tell, s);
}

void stream_resume(struct stream *s)
{
    if (s->is_offering || s->is_closing || s->is_connecting || s->error != 0)
        return;
    if (has_unread(s)) {
        s->unread_start += (uint32_t)offer(
            s, bytes_make(s->unread + s->unread_start, s->unread_end - s->unread_start));
        if (s->is_closing || has_unread(s))
            return;
        give_unread_back(s);
    }
    if (s->has_eof && !s->is_told)
        loop_post(s->loop, &s->telling, tell, s);
    else if (s->is_stopped && !s->has_eof)
        stream_start_reading(s);
}

bool stream_is_quiet(struct stream *s)
{
    uint8_t octet;

    if (has_unread(s) || s->has_eof || s->error != 0 || s->is_closing || s->is_connecting)
        return false;
    /* What is there stays in the kernel and is read in its turn. */
    if (recv(stream_fd(s), &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
        return false;
    if (errno == EAGAIN)
        return true;
    stream_fail(s, -errno);
    return false;
}

bool stream_is_ending(struct stream *s)
{
    struct pollfd asked = {.events = POLLRDHUP};

    if (s->error != 0 || s->is_closing || s->is_connecting)
        return false;
    asked.fd = stream_fd(s);
    if (s->has_eof || poll(&asked, 1, 0) <= 0)
        return s->has_eof;
    if ((asked.revents & POLLERR) != 0)
        stream_fail(s, ERR_CLOSED);
    return s->error == 0;
}

/* ---- beginning ---- */

struct stream *stream_new(struct loop *l)
{
    struct stream *s = mem_zalloc(sizeof(*s));

    if (s == NULL)
        return NULL;
    s->loop = l;
    uv_tcp_init(&l->uv, &s->handle);
    return s;
}

int stream_open(struct stream *s, int fd)
{
    return uv_tcp_open(&s->handle, fd);
}

int stream_fd(const struct stream *s)
{
    int fd = -1;

    uv_fileno((const uv_handle_t *)&s->handle, &fd);
    return fd;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct stream *s = (struct stream *)request->handle;

    mem_free(request);
    if (s->is_closing)
        return;
    if (s->error == 0)
        s->error = status;
    loop_unpost(s->loop, &s->telling);
    tell(s);
}

static socklen_t write_address(const struct netaddr *a, struct sockaddr_storage *address_out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address_out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address_out;

    memset(address_out, 0, sizeof(*address_out));
    if (a->family == NETADDR_IPV4) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(a->port);
        memcpy(&v4->sin_addr, a->octets, 4);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(a->port);
    memcpy(&v6->sin6_addr, a->octets, 16);
    return sizeof(*v6);
}

/* 0: the answer comes later. Anything else could not even begin. */
static int connect_tcp(struct stream *s, const struct netaddr *to)
{
    uv_connect_t *request = mem_alloc(sizeof(*request));
    struct sockaddr_storage address;
    int error;

    if (request == NULL)
        return ERR_MEMORY;
    write_address(to, &address);
    s->peer = *to;
    uv_tcp_nodelay(&s->handle, 1); /* remembered until the socket is there */
    error = uv_tcp_connect(request, &s->handle, (struct sockaddr *)&address, on_connected);
    if (error != 0)
        mem_free(request);
    return error;
}

/* Connecting to a unix socket never waits: the answer is there at once, and told later. */
static int connect_unix(struct stream *s, const char *path)
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
        error = stream_open(s, fd);
    if (error != 0)
        close(fd);
    else
        loop_post(s->loop, &s->telling, tell, s);
    return error;
}

static bool is_shortage(int error)
{
    return error == ERR_MEMORY || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -ENOBUFS;
}

struct stream *stream_connect(struct loop *l, const struct stream_target *to,
                              const struct stream_events *events, void *owner, int *error_out)
{
    struct stream *s = stream_new(l);
    int error;

    if (s == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    s->is_connecting = true;
    error = to->address.family == NETADDR_NONE ? connect_unix(s, to->unix_path)
                                               : connect_tcp(s, &to->address);
    if (is_shortage(error)) {
        stream_close(s);
        *error_out = error;
        return NULL;
    }
    s->events = events;
    s->owner = owner;
    if (error != 0)
        stream_fail(s, error);
    return s;
}

void stream_adopt(struct stream *s, const struct stream_events *events, void *owner)
{
    s->events = events;
    s->owner = owner;
}

/* ---- ending ---- */

static void on_closed(uv_handle_t *handle)
{
    struct stream *s = (struct stream *)handle;

    if (s->events != NULL)
        s->events->closed(s->owner);
    give_unread_back(s);
    stream_drop_waiting(s);
    s->loop->stray_count -= s->is_stray;
    mem_free(s);
}

void stream_close(struct stream *s)
{
    if (s->is_closing)
        return;
    s->is_closing = true;
    loop_unpost(s->loop, &s->telling);
    stream_send_last(s);
    uv_close((uv_handle_t *)&s->handle, on_closed);
}

/* ---- addresses ---- */

struct netaddr stream_address(const struct sockaddr *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    struct netaddr a = {.family = NETADDR_NONE};

    if (address->sa_family == AF_INET) {
        a.family = NETADDR_IPV4;
        a.port = ntohs(v4->sin_port);
        memcpy(a.octets, &v4->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        a.port = ntohs(v6->sin6_port);
        a.family = NETADDR_IPV6;
        memcpy(a.octets, &v6->sin6_addr, 16);
        if (memcmp(a.octets, mapped, sizeof(mapped)) == 0) {
            a.family = NETADDR_IPV4;
            memcpy(a.octets, a.octets + 12, 4);
            memset(a.octets + 4, 0, 12);
        }
    }
    return a;
}

struct netaddr stream_peer(const struct stream *s)
{
    return s->peer;
}

struct netaddr stream_local(const struct stream *s)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);

    getsockname(stream_fd(s), (struct sockaddr *)&address, &length);
    return stream_address((struct sockaddr *)&address);
}
