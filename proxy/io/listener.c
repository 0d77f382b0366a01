/* SPDX-License-Identifier: BSD-2-Clause */
/* Accepting connections: few system calls each, and never the last descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/deadline.h"
#include "proxy/io/stream_uv.h"

#define BURST_MAX 64 /* connections a turn */
#define PAUSE_MS  50 /* before descriptors are looked at again */

struct listener {
    uv_poll_t poll;
    struct loop *loop;
    const struct listener_events *events;
    void *owner;
    int fd;
    int fd_limit; /* descriptors of new connections lie below it */
    bool is_closed;
    unsigned burst;       /* connections that the last turn was good for */
    uint32_t turn_number; /* of the last burst */
    struct deadline pause;
};

/* The kernel gives the lowest free number, so one at the limit tells that all below are in use.
 * One connection is let in with such a number, a stray; while it is there, the lowest free number
 * is looked up before each accept. */
static bool has_descriptor(const struct listener *l)
{
    int probe;

    if (l->loop->stray_count == 0)
        return true;
    probe = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (probe < 0)
        return false;
    close(probe);
    return probe < l->fd_limit;
}

static void hand_over(struct listener *l, struct stream *s)
{
    l->events->accepted(l->owner, s);
    if (s->events == NULL)
        stream_close(s);
    else if (!s->is_closing && s->error == 0)
        stream_start_reading(s);
}

/* The address comes with the connection, which libuv's own accept would not tell. */
static int accept_one(struct listener *l)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    int fd = accept4(l->fd, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    struct stream *s;
    int error;

    if (fd < 0)
        return -errno;
    s = stream_new(l->loop);
    if (s == NULL) {
        close(fd);
        return -ENOMEM;
    }
    error = stream_open(s, fd); /* makes it non-blocking */
    if (error != 0) {
        close(fd);
        stream_close(s);
        return error;
    }
    s->peer = stream_address((struct sockaddr *)&address);
    if (fd >= l->fd_limit) {
        s->is_stray = true;
        l->loop->stray_count++;
    }
    hand_over(l, s);
    return 0;
}

/* One connection a turn saves the accept that finds nothing; when the next turn finds another,
 * twice as many. */
static unsigned next_burst(struct listener *l)
{
    uint32_t turn = l->loop->turn_number;

    l->burst = turn - l->turn_number <= 1 ? l->burst * 2 : 1;
    if (l->burst > BURST_MAX)
        l->burst = BURST_MAX;
    l->turn_number = turn;
    return l->burst;
}

static void pause_accepting(struct listener *l)
{
    uv_poll_stop(&l->poll);
    deadline_set(l->loop, &l->pause, loop_now_ms(l->loop) + PAUSE_MS);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = (struct listener *)poll;

    (void)status;
    (void)events;
    for (unsigned left = next_burst(l); left > 0 && !l->is_closed; left--) {
        int error = has_descriptor(l) ? accept_one(l) : -EMFILE;

        if (error == -EAGAIN) {
            l->burst = 1;
            return;
        }
        if ((error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS) &&
            !l->is_closed) {
            pause_accepting(l);
            return;
        }
    }
}

static void on_pause_over(struct deadline *d)
{
    struct listener *l = CONTAINER_OF(d, struct listener, pause);

    if (has_descriptor(l))
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
    else
        deadline_set(l->loop, &l->pause, loop_now_ms(l->loop) + PAUSE_MS);
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
    struct listener *l = mem_zalloc(sizeof(*l));
    int error;

    if (l == NULL) {
        *error_out = ERR_MEMORY;
        return NULL;
    }
    error = uv_poll_init(&loop->uv, &l->poll, fd);
    if (error != 0) {
        mem_free(l);
        *error_out = error;
        return NULL;
    }
    l->loop = loop;
    l->fd = fd;
    l->fd_limit = limit_for(reserve);
    l->events = events;
    l->owner = owner;
    l->burst = 1;
    deadline_init(&l->pause, &pause_use);
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

void listener_close(struct listener *l)
{
    l->is_closed = true;
    deadline_clear(l->loop, &l->pause);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    close(l->fd);
}
