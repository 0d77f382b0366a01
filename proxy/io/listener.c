/* SPDX-License-Identifier: BSD-2-Clause */
/* Accepts connections with few system calls each, and never uses the last descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/deadline.h"
#include "proxy/io/stream_uv.h"

#define BURST_MAX 64 /* connections a turn */
#define PAUSE_MS  50 /* before the descriptors are checked again */

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    const struct listener_events *events;
    void *owner;
    int fd;
    int fd_limit; /* descriptors of new connections must be below it */
    bool is_closed;
    unsigned burst;       /* how many connections the last turn might accept */
    uint32_t turn_number; /* the turn of the last burst */
    struct deadline pause;
};

/* The kernel uses the lowest free number, so a descriptor at the limit shows that all below it are
 * in use. The connection that got it is accepted, as a stray. While there is a stray, the lowest
 * free number is looked up before each accept. */
static bool has_descriptor(const struct listener *listener)
{
    int probe;

    if (listener->loop->stray_count == 0)
        return true;
    probe = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        return false;
    close(probe);
    return probe < listener->fd_limit;
}

static void hand_over(struct listener *listener, struct stream *stream)
{
    assert(!listener->is_closed);
    listener->events->accepted(listener->owner, stream);
    if (stream->events == NULL)
        stream_close(stream);
    else if (!stream->is_closing && stream->error == 0)
        stream_start_reading(stream);
}

/* accept4() returns the address with the connection; libuv's accept does not. */
static int accept_one(struct listener *listener)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    int fd = accept4(listener->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    struct stream *stream;
    int error;

    if (fd < 0)
        return -errno;
    stream = stream_new(listener->loop);
    if (stream == NULL) {
        close(fd);
        return -ENOMEM;
    }
    error = stream_open(stream, fd); /* makes it non-blocking */
    if (error != 0) {
        close(fd);
        stream_close(stream);
        return error;
    }
    stream->peer = stream_address((struct sockaddr *)&address);
    if (fd >= listener->fd_limit) {
        stream->is_stray = true;
        listener->loop->stray_count++;
    }
    hand_over(listener, stream);
    return 0;
}

/* Takes one of the reserved descriptors, for as long as it takes to say so. What the client does
 * not read at once it does not get. */
static int turn_one_away(struct listener *listener)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    int fd = -1;

    if (listener->events->no_room == NULL)
        return -EMFILE;
    fd = accept4(listener->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct bytes words =
        listener->events->no_room(listener->owner, stream_address((struct sockaddr *)&address));
    if (words.len != 0)
        (void)send(fd, words.at, words.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
    return 0;
}

/* Accepting one connection a turn saves the accept() that finds none. When the next turn finds
 * another, twice as many are accepted. */
static unsigned next_burst(struct listener *listener)
{
    uint32_t turn = listener->loop->turn_number;

    listener->burst = turn - listener->turn_number <= 1 ? listener->burst * 2 : 1;
    if (listener->burst > BURST_MAX)
        listener->burst = BURST_MAX;
    listener->turn_number = turn;
    return listener->burst;
}

static void pause_accepting(struct listener *listener)
{
    uv_poll_stop(&listener->poll);
    deadline_set(listener->loop, &listener->pause, loop_now_ms(listener->loop) + PAUSE_MS);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = (struct listener *)poll;

    (void)status;
    (void)events;
    for (unsigned left = next_burst(listener); left > 0 && !listener->is_closed; left--) {
        int error = has_descriptor(listener) ? accept_one(listener) : turn_one_away(listener);

        if (error == -EAGAIN) {
            listener->burst = 1;
            return;
        }
        if ((error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS) &&
            !listener->is_closed) {
            pause_accepting(listener);
            return;
        }
    }
}

static void on_pause_over(struct deadline *deadline)
{
    struct listener *listener = CONTAINER_OF(deadline, struct listener, pause);

    if (has_descriptor(listener))
        uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    else
        deadline_set(listener->loop, &listener->pause, loop_now_ms(listener->loop) + PAUSE_MS);
}

static const struct deadline_use pause_use = {.reached = on_pause_over};

static int limit_for(unsigned reserve)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    return limit.rlim_cur > reserve ? (int)(limit.rlim_cur - reserve) : 0;
}

struct listener *listener_new(struct loop *loop, int fd, unsigned reserve,
                              const struct listener_events *events, void *owner, int *error_out)
{
    struct listener *listener = mem_zalloc(sizeof(*listener));
    int error;

    if (listener == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    error = uv_poll_init(&loop->uv, &listener->poll, fd);
    if (error != 0) {
        mem_free(listener);
        *error_out = error;
        return NULL;
    }
    listener->loop = loop;
    listener->fd = fd;
    listener->fd_limit = limit_for(reserve);
    listener->events = events;
    listener->owner = owner;
    listener->burst = 1;
    deadline_init(&listener->pause, &pause_use);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    return listener;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

void listener_close(struct listener *listener)
{
    assert(!listener->is_closed);
    listener->is_closed = true;
    deadline_clear(listener->loop, &listener->pause);
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd);
}
