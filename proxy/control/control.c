/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: who connects says one request and gets one answer. */
#include "proxy/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/deadline.h"
#include "proxy/io/listen.h"
#include "proxy/io/stream.h"
#include "proxy/services.h"

#define BACKLOG      64
#define PEERS_MAX    64           /* at the same time; others are told to come again */
#define RESERVED_FDS 16           /* an operator gets in where clients do not any more */
#define REQUEST_MS   10000        /* for the request to come */
#define ANSWER_MS    (600 * 1000) /* without an octet being taken: a pager that waits */
#define TURN_BYTES   (128 * 1024) /* of one answer, then others come first */

struct control {
    struct services *services;
    struct listener *listener;
    int fd;
    struct list peers;
    unsigned peer_count;
    bool is_stopping;
};

struct peer {
    struct list in_control;
    struct control *control;
    struct loop *loop;
    struct stream *stream;
    struct deadline deadline;
    struct loop_post post;   /* the next turn */
    struct control_run *run; /* NULL: the request is not whole */
    bool is_closing;
    size_t request_len;
    uint8_t request[CONTROL_REQUEST_MAX];
};

static const char too_many[] = ".75 too many at the same time, try again\n";
static const char too_long[] = ".64 the request is too long\n";
static const char no_memory[] = ".71 out of memory\n";

static void close_peer(struct peer *p)
{
    p->is_closing = true;
    stream_close(p->stream);
}

static void close_with(struct peer *p, const char *last)
{
    struct bytes line = bytes_of(last);

    stream_write(p->stream, &line, 1);
    close_peer(p);
}

/* ---- the answer ---- */

static void tell(void *owner)
{
    struct peer *p = owner;
    size_t turn = 0;

    if (p->is_closing || stream_unsent(p->stream) != 0)
        return; /* `room` goes on */
    deadline_clear(p->loop, &p->deadline);
    for (;;) {
        struct bytes answer = control_answer(p->run);
        if (answer.len == 0)
            break;
        if (turn >= TURN_BYTES) {
            loop_post(p->loop, &p->post, tell, p);
            return;
        }
        size_t taken = stream_write(p->stream, &answer, 1);
        control_told(p->run, taken);
        turn += taken;
        if (taken == 0 || stream_unsent(p->stream) != 0) {
            deadline_set(p->loop, &p->deadline, loop_now_ms(p->loop) + ANSWER_MS);
            return;
        }
    }
    if (control_is_over(p->run))
        close_peer(p);
}

static void ask(struct peer *p, struct bytes request)
{
    p->run = control_begin(p->control->services, request, tell, p);
    if (p->run == NULL)
        close_with(p, no_memory);
    else
        tell(p);
}

/* ---- the stream ---- */

static size_t on_bytes(void *owner, struct bytes in)
{
    struct peer *p = owner;
    size_t end = bytes_find(in, '\n');

    if (p->run != NULL) /* one request a connection: the rest is thrown away */
        return in.len;
    if (end > sizeof(p->request) - p->request_len) {
        close_with(p, too_long);
        return in.len;
    }
    if (end != 0)
        memcpy(p->request + p->request_len, in.at, end);
    p->request_len += end;
    if (end < in.len)
        ask(p, bytes_make(p->request, p->request_len));
    return in.len;
}

static void on_room(void *owner)
{
    struct peer *p = owner;

    if (p->run != NULL)
        tell(p);
}

/* It will not ask any more; whoever has asked may want the answer still. */
static void on_eof(void *owner)
{
    struct peer *p = owner;

    if (p->run == NULL)
        close_peer(p);
}

static void on_failed(void *owner, int error)
{
    struct peer *p = owner;

    (void)error;
    close_peer(p);
}

static void on_closed(void *owner)
{
    struct peer *p = owner;

    deadline_clear(p->loop, &p->deadline);
    loop_unpost(p->loop, &p->post);
    if (p->run != NULL)
        control_end(&p->run);
    list_remove(&p->in_control);
    p->control->peer_count--;
    if (p->control->is_stopping && p->control->peer_count == 0)
        mem_free(p->control);
    mem_free(p);
}

static const struct stream_events stream_events = {
    .bytes = on_bytes,
    .room = on_room,
    .eof = on_eof,
    .failed = on_failed,
    .closed = on_closed,
};

static void on_deadline(struct deadline *d)
{
    close_peer(CONTAINER_OF(d, struct peer, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void on_accepted(void *owner, struct stream *stream)
{
    struct control *c = owner;
    struct peer *p = mem_zalloc(sizeof(*p));

    if (p == NULL)
        return;
    p->control = c;
    p->loop = c->services->loop;
    p->stream = stream;
    deadline_init(&p->deadline, &deadline_use);
    list_append(&c->peers, &p->in_control);
    c->peer_count++;
    stream_adopt(stream, &stream_events, p);
    if (c->peer_count > PEERS_MAX)
        close_with(p, too_many);
    else
        deadline_set(p->loop, &p->deadline, loop_now_ms(p->loop) + REQUEST_MS);
}

static const struct listener_events listener_events = {.accepted = on_accepted};

/* ---- life ---- */

int control_path(const struct config *config, char path_out[CONTROL_PATH_MAX])
{
    struct bytes socket = config->core.control_socket, spool = config->core.spool_directory;
    int len = socket.len != 0 ? snprintf(path_out, CONTROL_PATH_MAX, "%.*s", (int)socket.len,
                                         (const char *)socket.at)
                              : snprintf(path_out, CONTROL_PATH_MAX, "%.*s/control", (int)spool.len,
                                         (const char *)spool.at);
    return len < CONTROL_PATH_MAX ? 0 : ERR_TOO_LONG;
}

struct control *control_start(struct services *services, int *error_out)
{
    char path[CONTROL_PATH_MAX];
    struct control *c = mem_zalloc(sizeof(*c));
    int error = c == NULL ? ERR_MEMORY : control_path(services->config, path);

    if (error == 0) {
        c->services = services;
        list_init(&c->peers);
        c->fd = listen_open_unix(path, BACKLOG);
        error = c->fd < 0 ? c->fd : 0;
    }
    if (error == 0) {
        c->listener =
            listener_new(services->loop, c->fd, RESERVED_FDS, &listener_events, c, &error);
        if (c->listener != NULL)
            return c;
        close(c->fd);
    }
    const char *text = error_text(error);
    fprintf(stderr, "postern: control socket: %s\n", text != NULL ? text : strerror(-error));
    mem_free(c);
    *error_out = error;
    return NULL;
}

void control_stop(struct control *c)
{
    c->is_stopping = true;
    listener_close(c->listener);
    LIST_EACH (link, &c->peers)
        close_peer(LIST_ENTRY(link, struct peer, in_control));
    if (c->peer_count == 0)
        mem_free(c);
}
