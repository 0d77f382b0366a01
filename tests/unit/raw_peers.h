/* SPDX-License-Identifier: BSD-2-Clause */
/* A loop whose streams have plain sockets of the test as their peers. */
#ifndef POSTERN_RAW_PEERS_H
#define POSTERN_RAW_PEERS_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/io/listen.h"
#include "proxy/io/stream.h"
#include "tests/unit/lib.h"

#define PEERS_MAX 100
#define STEP_MS   200

/* A loop with a listener; the peers are plain sockets of this test. Steps come at intervals. */
/* What happens within `bytes`, besides. */
enum mischief { NONE, FAILS_NEXT /* allocation */, WRITES_AND_CLOSES };

struct fixture {
    struct loop *loop;
    struct listener *listener;
    struct sockaddr_in address;
    struct deadline step;
    void (*steps)(struct fixture *f, int number);
    int step_number;
    struct stream *stream; /* the last one */
    struct stream *streams[PEERS_MAX];
    int accepts, closes, failures, connects, error, signals;
    size_t appetite;
    enum mischief mischief; /* within `bytes` */
    char in[64];
    size_t in_len, offered, turn_bytes_max, written;
    struct loop_post turn;
    char order[64]; /* of events, a letter each */
    int peer, peers[PEERS_MAX];
};

static inline void note(struct fixture *f, char event)
{
    size_t length = strlen(f->order);

    if (length < sizeof(f->order) - 1)
        f->order[length] = event;
}

static inline void on_connected(void *owner, int error)
{
    struct fixture *f = owner;

    f->connects++;
    f->error = error;
}

static inline void on_turn(void *owner)
{
    struct fixture *f = owner;

    if (f->offered > f->turn_bytes_max)
        f->turn_bytes_max = f->offered;
    f->offered = 0;
}

static inline size_t on_bytes(void *owner, struct bytes in)
{
    struct fixture *f = owner;
    size_t n = in.len < f->appetite ? in.len : f->appetite;

    note(f, 'b');
    f->offered += in.len;
    loop_post(f->loop, &f->turn, on_turn, f);
    for (size_t i = 0; i < n && f->in_len < sizeof(f->in) - 1; i++)
        f->in[f->in_len++] = (char)in.at[i];
    if (f->mischief == FAILS_NEXT)
        mem_fail_nth(1);
    if (f->mischief == WRITES_AND_CLOSES) {
        f->written = stream_write(f->stream, &in, 1);
        stream_close(f->stream);
    }
    return n;
}

static inline void on_room(void *owner)
{
    note(owner, 'r');
}

static inline void on_eof(void *owner)
{
    note(owner, 'e');
}

static inline void on_failed(void *owner, int error)
{
    struct fixture *f = owner;

    mem_fail_nth(0);
    note(f, 'f');
    f->failures++;
    f->error = error;
}

static inline void on_closed(void *owner)
{
    struct fixture *f = owner;

    f->closes++;
}

static const struct stream_events events = {.connected = on_connected,
                                            .bytes = on_bytes,
                                            .room = on_room,
                                            .eof = on_eof,
                                            .failed = on_failed,
                                            .closed = on_closed};

static inline void on_accepted(void *owner, struct stream *s)
{
    struct fixture *f = owner;

    assert_true(f->accepts < PEERS_MAX);
    f->streams[f->accepts++] = s;
    f->stream = s;
    stream_adopt(s, &events, f);
}

static const struct listener_events accepting = {.accepted = on_accepted};

static inline void on_step(struct deadline *d)
{
    struct fixture *f = CONTAINER_OF(d, struct fixture, step);

    deadline_set(f->loop, d, loop_now_ms(f->loop) + STEP_MS);
    f->steps(f, f->step_number++);
}

static inline void end(struct fixture *f)
{
    deadline_clear(f->loop, &f->step);
    for (int i = 0; i < f->accepts; i++)
        if (f->streams[i] != NULL)
            stream_close(f->streams[i]);
    listener_close(f->listener);
    loop_stop(f->loop);
}

static inline int open_peer(const struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&f->address, sizeof(f->address)), 0);
    return fd;
}

static inline void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static inline void reset_peer(int fd)
{
    struct linger linger = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static inline int open_loopback(struct fixture *f)
{
    struct netaddr address;
    socklen_t length = sizeof(f->address);
    int fd, receive_bytes = 1 << 20; /* for what piles up */

    netaddr_parse(bytes_of("127.0.0.1"), &address);
    fd = listen_open(&address, 128); /* port 0: any */
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    getsockname(fd, (struct sockaddr *)&f->address, &length);
    return fd;
}

static inline struct fixture run(void (*steps)(struct fixture *f, int number), unsigned reserve)
{
    static const struct deadline_use step_use = {.reached = on_step};
    struct fixture f = {.steps = steps, .appetite = SIZE_MAX, .peer = -1};
    int error = 0;

    f.loop = loop_new();
    assert_non_null(f.loop);
    f.listener = listener_new(f.loop, open_loopback(&f), reserve, &accepting, &f, &error);
    assert_non_null(f.listener);
    deadline_init(&f.step, &step_use);
    deadline_set(f.loop, &f.step, 0);
    assert_int_equal(loop_run(f.loop), 0);
    loop_free(&f.loop);
    if (f.peer >= 0)
        close(f.peer);
    return f;
}

#endif
