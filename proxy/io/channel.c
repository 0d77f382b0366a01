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

/* A message that the kernel has no room for yet; it holds a few hundred short ones at most. */
struct unsent {
    struct list link;
    size_t len;
    uint8_t octets[];
};

struct channel {
    uv_poll_t poll; /* first: the handle is the channel */
    struct loop *loop;
    struct list in_listener; /* channel_listener.channels; in no list at the end that connected */
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
    struct stat name; /* the file that we put at `path`; another generation may have replaced it */
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

/* ---- one connection ---- */

static void forget(struct channel *channel, struct unsent *first)
{
    assert(channel->unsent_bytes >= first->len);
    list_remove(&first->link);
    channel->unsent_bytes -= first->len;
    mem_free(first);
}

static struct unsent *first_unsent(const struct channel *channel)
{
    struct list *first = list_first(&channel->unsent);
    return first == NULL ? NULL : LIST_ENTRY(first, struct unsent, link);
}

static void on_closed(uv_handle_t *handle)
{
    struct channel *channel = (struct channel *)handle;

    while (!list_is_empty(&channel->unsent))
        forget(channel, first_unsent(channel));
    close(channel->fd);
    channel->events->closed(channel->owner, channel);
    mem_free(channel);
}

void channel_close(struct channel *channel)
{
    if (channel->is_closing)
        return;
    channel->is_closing = true;
    list_remove(&channel->in_listener);
    uv_close((uv_handle_t *)&channel->poll, on_closed);
}

/* An other end that closes before it has read everything is told once, and before what it had sent.
 */
static ssize_t take_message(int fd, uint8_t *into)
{
    const int flags = MSG_DONTWAIT | MSG_TRUNC;
    ssize_t length = recv(fd, into, LOOP_READ_BYTES, flags);

    return length < 0 && errno == ECONNRESET ? recv(fd, into, LOOP_READ_BYTES, flags) : length;
}

/* Reads one message into the loop's buffer and hands it to the owner; one that is too long is
 * dropped. False: none has arrived, or the connection is closed. */
static bool receive(struct channel *channel)
{
    uint8_t *into = channel->loop->buffers.read;
    ssize_t length = take_message(channel->fd, into);

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (length <= 0) {
        channel_close(channel);
        return false;
    }
    if (length <= CHANNEL_MESSAGE_MAX)
        channel->events->message(channel->owner, channel, bytes_make(into, (size_t)length));
    return !channel->is_closing;
}

static int send_now(const struct channel *channel, struct bytes message)
{
    ssize_t sent = send(channel->fd, message.at, message.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : 0;
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void wait_for_more(struct channel *channel)
{
    int events = list_is_empty(&channel->unsent) ? UV_READABLE : UV_READABLE | UV_WRITABLE;

    assert(!channel->is_closing);
    uv_poll_start(&channel->poll, events, on_ready);
}

/* A message that cannot be sent is dropped: if the other end is gone, reading shows it. */
static void send_unsent(struct channel *channel)
{
    struct unsent *first;

    while ((first = first_unsent(channel)) != NULL &&
           send_now(channel, bytes_make(first->octets, first->len)) != -EAGAIN)
        forget(channel, first);
    if (first == NULL)
        wait_for_more(channel);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct channel *channel = (struct channel *)poll;

    if (status == 0 && (events & UV_WRITABLE) != 0)
        send_unsent(channel);
    for (int left = BURST_MAX; left > 0 && receive(channel); left--)
        continue;
}

static bool send_later(struct channel *channel, struct bytes message)
{
    struct unsent *last;
    bool is_first = list_is_empty(&channel->unsent);

    if (channel->unsent_bytes + message.len > UNSENT_MAX)
        return false;
    last = mem_alloc(sizeof(*last) + message.len);
    if (last == NULL)
        return false;
    last->len = message.len;
    memcpy(last->octets, message.at, message.len);
    list_append(&channel->unsent, &last->link);
    channel->unsent_bytes += message.len;
    if (is_first)
        wait_for_more(channel);
    return true;
}

struct channel *channel_adopt(struct loop *loop, int fd, const struct channel_events *events,
                              void *owner, int *error_out)
{
    struct channel *channel = mem_zalloc(sizeof(*channel));
    int error = channel == NULL ? ERR_MEMORY : uv_poll_init(&loop->uv, &channel->poll, fd);

    if (error != 0) {
        mem_free(channel);
        *error_out = error;
        return NULL;
    }
    channel->loop = loop;
    channel->events = events;
    channel->owner = owner;
    channel->fd = fd;
    list_init(&channel->in_listener);
    list_init(&channel->unsent);
    wait_for_more(channel);
    return channel;
}

bool channel_send(struct channel *channel, struct bytes message)
{
    int error = -EAGAIN;

    if (channel->is_closing || message.len == 0 || message.len > CHANNEL_MESSAGE_MAX)
        return false;
    if (list_is_empty(&channel->unsent))
        error = send_now(channel, message);
    return error == -EAGAIN ? send_later(channel, message) : error == 0;
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

/* Binds to a name beside the path, and renames that when the socket listens, so that somebody
 * listens at the path at any time. The file gets the mode of the socket. */
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
    struct channel *channel;
    int error;

    if (fd < 0)
        return false;
    channel = channel_adopt(listener->loop, fd, listener->events, listener->owner, &error);
    if (channel == NULL) {
        close(fd);
        return false;
    }
    list_append(&listener->channels, &channel->in_listener);
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

struct channel_listener *channel_listen(struct loop *loop, const char *path,
                                        const struct channel_events *events, void *owner,
                                        int *error_out)
{
    struct channel_listener *listener = mem_zalloc(sizeof(*listener));
    int error = ERR_MEMORY;

    if (listener != NULL) {
        listener->loop = loop;
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
        struct channel *channel = LIST_ENTRY(link, struct channel, in_listener);
        if (channel != but)
            (void)channel_send(channel, message);
    }
}

/* ---- connecting ---- */

struct channel *channel_connect(struct loop *loop, const char *path,
                                const struct channel_events *events, void *owner, int *error_out)
{
    struct sockaddr_un address = {0};
    struct channel *channel = NULL;
    int fd = -1;
    int error = make_address(&address, path, "");

    if (error == 0)
        error = open_socket(&fd);
    if (error == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        error = -errno;
    if (error == 0)
        channel = channel_adopt(loop, fd, events, owner, &error);
    if (channel != NULL)
        return channel;
    if (fd >= 0)
        close(fd);
    *error_out = error;
    return NULL;
}
