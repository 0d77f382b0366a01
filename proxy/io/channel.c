/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between processes on unix sockets (SOCK_SEQPACKET) in the loop. */
#include "proxy/io/channel.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/loop_uv.h"

#define BACKLOG    128
#define BURST_MAX  64        /* messages of one connection, or connections, a turn */
#define UNSENT_MAX (1 << 20) /* octets of one connection */

/* What the kernel has no room for yet: it takes no more than some hundred short messages. */
struct unsent {
    struct list link;
    size_t len;
    uint8_t octets[];
};

struct channel {
    uv_poll_t poll; /* first: the handle is the channel */
    struct loop *loop;
    struct list in_listener; /* channel_listener.channels; in no list when we connected */
    const struct channel_events *events;
    void *owner;
    struct list unsent;
    size_t unsent_bytes;
    int fd;
    bool is_closing;
};

struct channel_listener {
    uv_poll_t poll; /* first */
    struct loop *loop;
    struct list channels;
    const struct channel_events *events;
    void *owner;
    int fd;
    struct stat name; /* what we put at `path`: another generation may have taken the name over */
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

/* ---- one connection ---- */

static void forget(struct channel *c, struct unsent *first)
{
    list_remove(&first->link);
    c->unsent_bytes -= first->len;
    mem_free(first);
}

static struct unsent *first_unsent(const struct channel *c)
{
    struct list *first = list_first(&c->unsent);
    return first == NULL ? NULL : LIST_ENTRY(first, struct unsent, link);
}

static void on_closed(uv_handle_t *handle)
{
    struct channel *c = (struct channel *)handle;

    while (!list_is_empty(&c->unsent))
        forget(c, first_unsent(c));
    close(c->fd);
    c->events->closed(c->owner, c);
    mem_free(c);
}

void channel_close(struct channel *c)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    list_remove(&c->in_listener);
    uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* One message into the loop's buffer; false: none is there, or the connection has come to its end.
 * What is longer than a message may be is of no use to anybody. */
static bool receive(struct channel *c)
{
    uint8_t *into = c->loop->read_buffer;
    ssize_t length = recv(c->fd, into, LOOP_READ_BYTES, MSG_DONTWAIT | MSG_TRUNC);

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (length <= 0) {
        channel_close(c);
        return false;
    }
    if (length <= CHANNEL_MESSAGE_MAX)
        c->events->message(c->owner, c, bytes_make(into, (size_t)length));
    return !c->is_closing;
}

static int send_now(const struct channel *c, struct bytes message)
{
    ssize_t sent = send(c->fd, message.at, message.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : 0;
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void wait_for_more(struct channel *c)
{
    int events = list_is_empty(&c->unsent) ? UV_READABLE : UV_READABLE | UV_WRITABLE;
    uv_poll_start(&c->poll, events, on_ready);
}

/* An end that is gone shows when we read. */
static void send_unsent(struct channel *c)
{
    struct unsent *first;

    while ((first = first_unsent(c)) != NULL &&
           send_now(c, bytes_make(first->octets, first->len)) != -EAGAIN)
        forget(c, first);
    if (first == NULL)
        wait_for_more(c);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct channel *c = (struct channel *)poll;

    if (status == 0 && (events & UV_WRITABLE) != 0)
        send_unsent(c);
    for (int left = BURST_MAX; left > 0 && receive(c); left--)
        continue;
}

static bool send_later(struct channel *c, struct bytes message)
{
    struct unsent *last;
    bool is_first = list_is_empty(&c->unsent);

    if (c->unsent_bytes + message.len > UNSENT_MAX)
        return false;
    last = mem_alloc(sizeof(*last) + message.len);
    if (last == NULL)
        return false;
    last->len = message.len;
    memcpy(last->octets, message.at, message.len);
    list_append(&c->unsent, &last->link);
    c->unsent_bytes += message.len;
    if (is_first)
        wait_for_more(c);
    return true;
}

/* The descriptor is taken over, unless it fails. */
static struct channel *channel_new(struct loop *l, int fd, const struct channel_events *events,
                                   void *owner, int *error_out)
{
    struct channel *c = mem_zalloc(sizeof(*c));
    int error = c == NULL ? ERR_MEMORY : uv_poll_init(&l->uv, &c->poll, fd);

    if (error != 0) {
        mem_free(c);
        *error_out = error;
        return NULL;
    }
    c->loop = l;
    c->events = events;
    c->owner = owner;
    c->fd = fd;
    list_init(&c->in_listener);
    list_init(&c->unsent);
    wait_for_more(c);
    return c;
}

bool channel_send(struct channel *c, struct bytes message)
{
    int error = -EAGAIN;

    if (c->is_closing || message.len == 0 || message.len > CHANNEL_MESSAGE_MAX)
        return false;
    if (list_is_empty(&c->unsent))
        error = send_now(c, message);
    return error == -EAGAIN ? send_later(c, message) : error == 0;
}

/* ---- the path ---- */

static int make_address(struct sockaddr_un *address, const char *path, const char *suffix)
{
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix);

    address->sun_family = AF_UNIX;
    return (size_t)length < sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

static int open_socket(int *fd_out)
{
    *fd_out = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *fd_out < 0 ? -errno : 0;
}

/* Bound beside the path and put in its place when it listens: at no time is nobody there. The mode
 * of the socket becomes that of the name. */
static int listen_beside(struct channel_listener *listener, const struct sockaddr_un *beside)
{
    const struct sockaddr *address = (const struct sockaddr *)beside;
    int error = 0;

    (void)unlink(beside->sun_path);
    if (fchmod(listener->fd, 0600) != 0 || bind(listener->fd, address, sizeof(*beside)) != 0)
        return -errno;
    if (listen(listener->fd, BACKLOG) != 0 || stat(beside->sun_path, &listener->name) != 0 ||
        rename(beside->sun_path, listener->path) != 0)
        error = -errno;
    if (error != 0)
        (void)unlink(beside->sun_path);
    return error;
}

static int open_listener(struct channel_listener *listener, const char *path)
{
    struct sockaddr_un beside = {0}, at = {0};
    char suffix[16];

    (void)snprintf(suffix, sizeof(suffix), ".%d", (int)getpid());
    int error = make_address(&beside, path, suffix);
    if (error == 0)
        error = make_address(&at, path, "");
    if (error == 0)
        error = open_socket(&listener->fd);
    if (error != 0)
        return error;
    memcpy(listener->path, at.sun_path, sizeof(listener->path));
    error = listen_beside(listener, &beside);
    if (error == 0)
        error = uv_poll_init(&listener->loop->uv, &listener->poll, listener->fd);
    if (error != 0)
        close(listener->fd);
    return error;
}

/* ---- waiting for connections ---- */

static bool accept_one(struct channel_listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct channel *c;
    int error;

    if (fd < 0)
        return false;
    c = channel_new(listener->loop, fd, listener->events, listener->owner, &error);
    if (c == NULL) {
        close(fd);
        return false;
    }
    list_append(&listener->channels, &c->in_listener);
    return true;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct channel_listener *listener = (struct channel_listener *)poll;

    (void)status;
    (void)events;
    for (int left = BURST_MAX; left > 0 && accept_one(listener); left--)
        continue;
}

struct channel_listener *channel_listen(struct loop *l, const char *path,
                                        const struct channel_events *events, void *owner,
                                        int *error_out)
{
    struct channel_listener *listener = mem_zalloc(sizeof(*listener));
    int error = ERR_MEMORY;

    if (listener != NULL) {
        listener->loop = l;
        list_init(&listener->channels);
        listener->events = events;
        listener->owner = owner;
        error = open_listener(listener, path);
    }
    if (error != 0) {
        mem_free(listener);
        *error_out = error;
        return NULL;
    }
    uv_poll_start(&listener->poll, UV_READABLE, on_connection);
    return listener;
}

static void on_listener_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

void channel_listener_close(struct channel_listener *listener)
{
    struct stat now;

    if (stat(listener->path, &now) == 0 && now.st_ino == listener->name.st_ino &&
        now.st_dev == listener->name.st_dev)
        (void)unlink(listener->path);
    LIST_EACH (link, &listener->channels)
        channel_close(LIST_ENTRY(link, struct channel, in_listener));
    uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
    close(listener->fd);
}

void channel_broadcast(struct channel_listener *listener, struct channel *but, struct bytes message)
{
    LIST_EACH (link, &listener->channels) {
        struct channel *c = LIST_ENTRY(link, struct channel, in_listener);
        if (c != but)
            (void)channel_send(c, message);
    }
}

/* ---- connecting ---- */

struct channel *channel_connect(struct loop *l, const char *path,
                                const struct channel_events *events, void *owner, int *error_out)
{
    struct sockaddr_un address = {0};
    struct channel *c = NULL;
    int fd = -1;
    int error = make_address(&address, path, "");

    if (error == 0)
        error = open_socket(&fd);
    if (error == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        error = -errno;
    if (error == 0)
        c = channel_new(l, fd, events, owner, &error);
    if (c != NULL)
        return c;
    if (fd >= 0)
        close(fd);
    *error_out = error;
    return NULL;
}
