/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: each peer sends one request and gets one answer. */
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
#define PEERS_MAX    64           /* at the same time; more are told to try again */
#define RESERVED_FDS 16           /* lets an operator in when clients are not let in any more */
#define REQUEST_MS   10000        /* until the request must have come */
#define ANSWER_MS    (600 * 1000) /* without a read by the peer, which may be a pager that waits */
#define TURN_BYTES   (128 * 1024) /* of one answer; then it is others' turn */

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
    struct control_run *run; /* NULL: the request has not come yet */
    bool is_closing;
    size_t request_len;
    uint8_t request[CONTROL_REQUEST_MAX];
};

static const char too_many[] = ".75 too many at the same time, try again\n";
static const char too_long[] = ".64 the request is too long\n";
static const char no_memory[] = ".71 out of memory\n";

static void close_peer(struct peer *peer)
{
    peer->is_closing = true;
    stream_close(peer->stream);
}

static void close_with(struct peer *peer, const char *last)
{
    struct bytes line = bytes_of(last);

    stream_write(peer->stream, &line, 1);
    close_peer(peer);
}

/* ---- the answer ---- */

static void tell(void *owner)
{
    struct peer *peer = owner;
    size_t turn = 0;

    if (peer->is_closing || stream_unsent(peer->stream) != 0)
        return; /* on_room() goes on */
    deadline_clear(peer->loop, &peer->deadline);
    for (;;) {
        struct bytes answer = control_answer(peer->run);
        if (answer.len == 0)
            break;
        if (turn >= TURN_BYTES) {
            loop_post(peer->loop, &peer->post, tell, peer);
            return;
        }
        size_t taken = stream_write(peer->stream, &answer, 1);
        control_told(peer->run, taken);
        turn += taken;
        if (taken == 0 || stream_unsent(peer->stream) != 0) {
            deadline_set(peer->loop, &peer->deadline, loop_now_ms(peer->loop) + ANSWER_MS);
            return;
        }
    }
    if (control_is_over(peer->run))
        close_peer(peer);
}

static void ask(struct peer *peer, struct bytes request)
{
    peer->run = control_begin(peer->control->services, request, tell, peer);
    if (peer->run == NULL)
        close_with(peer, no_memory);
    else
        tell(peer);
}

/* ---- the stream ---- */

static size_t on_bytes(void *owner, struct bytes in)
{
    struct peer *peer = owner;
    size_t end = bytes_find(in, '\n');

    if (peer->run != NULL) /* one request a connection: the rest is thrown away */
        return in.len;
    if (end > sizeof(peer->request) - peer->request_len) {
        close_with(peer, too_long);
        return in.len;
    }
    if (end != 0)
        memcpy(peer->request + peer->request_len, in.at, end);
    peer->request_len += end;
    if (end < in.len)
        ask(peer, bytes_make(peer->request, peer->request_len));
    return in.len;
}

static void on_room(void *owner)
{
    struct peer *peer = owner;

    if (peer->run != NULL)
        tell(peer);
}

/* Without a request none will come. A peer that has sent one may still want the answer. */
static void on_eof(void *owner)
{
    struct peer *peer = owner;

    if (peer->run == NULL)
        close_peer(peer);
}

static void on_failed(void *owner, int error)
{
    struct peer *peer = owner;

    (void)error;
    close_peer(peer);
}

static void on_closed(void *owner)
{
    struct peer *peer = owner;

    deadline_clear(peer->loop, &peer->deadline);
    loop_unpost(peer->loop, &peer->post);
    if (peer->run != NULL)
        control_end(&peer->run);
    list_remove(&peer->in_control);
    peer->control->peer_count--;
    if (peer->control->is_stopping && peer->control->peer_count == 0)
        mem_free(peer->control);
    mem_free(peer);
}

static const struct stream_events stream_events = {
    .bytes = on_bytes,
    .room = on_room,
    .eof = on_eof,
    .failed = on_failed,
    .closed = on_closed,
};

static void on_deadline(struct deadline *deadline)
{
    close_peer(CONTAINER_OF(deadline, struct peer, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void on_accepted(void *owner, struct stream *stream)
{
    struct control *control = owner;
    struct peer *peer = mem_zalloc(sizeof(*peer));

    if (peer == NULL)
        return;
    peer->control = control;
    peer->loop = control->services->loop;
    peer->stream = stream;
    deadline_init(&peer->deadline, &deadline_use);
    list_append(&control->peers, &peer->in_control);
    control->peer_count++;
    stream_adopt(stream, &stream_events, peer);
    if (control->peer_count > PEERS_MAX)
        close_with(peer, too_many);
    else
        deadline_set(peer->loop, &peer->deadline, loop_now_ms(peer->loop) + REQUEST_MS);
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
    struct control *control = mem_zalloc(sizeof(*control));
    int error = control == NULL ? ERR_MEMORY : control_path(services->config, path);

    if (error == 0) {
        control->services = services;
        list_init(&control->peers);
        control->fd = listen_open_unix(path, BACKLOG);
        error = control->fd < 0 ? control->fd : 0;
    }
    if (error == 0) {
        control->listener = listener_new(services->loop, control->fd, RESERVED_FDS,
                                         &listener_events, control, &error);
        if (control->listener != NULL)
            return control;
        close(control->fd);
    }
    const char *text = error_text(error);
    fprintf(stderr, "postern: control socket: %s\n", text != NULL ? text : strerror(-error));
    mem_free(control);
    *error_out = error;
    return NULL;
}

void control_stop(struct control *control)
{
    control->is_stopping = true;
    listener_close(control->listener);
    LIST_EACH (link, &control->peers)
        close_peer(LIST_ENTRY(link, struct peer, in_control));
    if (control->peer_count == 0)
        mem_free(control);
}
