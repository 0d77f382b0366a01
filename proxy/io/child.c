/* SPDX-License-Identifier: BSD-2-Clause */
/* Helper programs as processes of libuv, each with a channel. */
#include "proxy/io/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/channel.h"
#include "proxy/io/loop_uv.h"

struct child {
    uv_process_t process;              /* first: the handle is the child */
    struct channel *channel;           /* NULL: closed, or it was never opened */
    bool is_gone;                      /* the handle is closed */
    const struct child_events *events; /* NULL: it was not started, and nobody knows of it */
    void *owner;
};

static void free_when_over(struct child *child)
{
    if (child->channel != NULL || !child->is_gone)
        return;
    if (child->events != NULL)
        child->events->ended(child->owner);
    mem_free(child);
}

static void on_gone(uv_handle_t *handle)
{
    struct child *child = (struct child *)handle;

    child->is_gone = true;
    free_when_over(child);
}

/* The channel closes by itself when everything that the program has sent has been read. */
static void on_exit(uv_process_t *process, int64_t status, int signal)
{
    (void)status;
    (void)signal;
    uv_close((uv_handle_t *)process, on_gone);
}

static void on_message(void *owner, struct channel *channel, struct bytes message)
{
    struct child *child = owner;

    (void)channel;
    child->events->message(child->owner, message);
}

static void on_closed(void *owner, struct channel *channel)
{
    struct child *child = owner;

    (void)channel;
    child_end(child);
    child->channel = NULL;
    free_when_over(child);
}

static const struct channel_events channel_events = {.message = on_message, .closed = on_closed};

bool child_send(struct child *child, struct bytes message)
{
    return child->channel != NULL && channel_send(child->channel, message);
}

void child_end(struct child *child)
{
    if (child->channel != NULL)
        channel_close(child->channel);
    if (!uv_is_closing((uv_handle_t *)&child->process)) /* else its number may be another's */
        (void)uv_process_kill(&child->process, SIGKILL);
}

/* ---- starting ---- */

static int spawn(struct loop *loop, struct child *child, const char *path, int fd)
{
    const char *slash = strrchr(path, '/');
    char name[64];
    char *arguments[] = {name, NULL};
    uv_stdio_container_t descriptors[] = {
        {.flags = UV_INHERIT_FD, .data.fd = fd},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {.exit_cb = on_exit,
                                    .file = path,
                                    .args = arguments,
                                    .stdio_count = 3,
                                    .stdio = descriptors};

    (void)snprintf(name, sizeof(name), "%s", slash == NULL ? path : slash + 1);
    return uv_spawn(&loop->uv, &child->process, &options);
}

/* Takes ends[0] over, unless this fails. The handle has to be closed in any case. */
static int start(struct loop *loop, struct child *child, const char *path, const int ends[2])
{
    int error = spawn(loop, child, path, ends[1]);

    if (error != 0) {
        uv_close((uv_handle_t *)&child->process, on_gone);
        return error;
    }
    child->channel = channel_adopt(loop, ends[0], &channel_events, child, &error);
    if (child->channel == NULL)
        child_end(child);
    return error;
}

struct child *child_start(struct loop *loop, const char *path, const struct child_events *events,
                          void *owner, int *error_out)
{
    struct child *child = mem_zalloc(sizeof(*child));
    int ends[2], error;

    if (child == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        *error_out = child == NULL ? ERR_MEMORY : -errno;
        mem_free(child);
        return NULL;
    }
    error = start(loop, child, path, ends);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        *error_out = error;
        return NULL;
    }
    child->events = events;
    child->owner = owner;
    return child;
}
