/* SPDX-License-Identifier: BSD-2-Clause */
/* One process of a generation: its start, its end, its next start. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/master_private.h"
#include "proxy/privileged.h"
#include "proxy/title.h"
#include "proxy/worker.h"

#define STEADY_MS    5000 /* a process that lived so long is started again at once */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 30000

static size_t worker_count(const struct master_generation *g)
{
    return g->child_count - 1;
}

static bool owns(const struct master_child *child, size_t socket)
{
    return child->number != 0 && 1 + socket % worker_count(child->generation) == child->number;
}

/* ---- in the new process ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void on_started(struct master_child *child)
{
    struct master *m = child->generation->master;

    if (m->is_daemon)
        master_open_silence();
    sigprocmask(SIG_SETMASK, &m->old_mask, NULL);
    if (write(child->ready, "", 1) == 1) /* else the master is gone, and its death tells more */
        close_fd(&child->ready);
}

static void on_news(void *owner, enum worker_news news)
{
    struct master_child *child = owner;

    if (news == WORKER_SERVES)
        on_started(child);
    else if (news == WORKER_ANSWERS)
        shared_answer(child->generation->master->shared);
}

/* Closes what belongs to the master and to its other children. */
static void close_others(const struct master_child *self)
{
    struct master *m = self->generation->master;

    close_fd(&m->signals);
    close_fd(&m->daemon_ready);
    LIST_EACH (link, &m->generations) {
        struct master_generation *g = LIST_ENTRY(link, struct master_generation, link);
        for (size_t i = 0; i < g->child_count; i++)
            if (&g->children[i] != self)
                close_fd(&g->children[i].ready);
        for (size_t i = 0; i < g->socket_count; i++)
            for (size_t j = 0; j < g->sockets[i].fd_count; j++)
                if (g != self->generation || !owns(self, j))
                    close_fd(&g->sockets[i].fds[j]);
    }
}

static int list_sockets(const struct master_child *child, struct worker_listener **listeners_out,
                        size_t *count_out)
{
    const struct master_generation *g = child->generation;
    struct worker_listener *listeners;
    size_t count = 0;

    for (size_t i = 0; i < g->socket_count; i++)
        count += g->sockets[i].fd_count;
    listeners = mem_zalloc((count + 1) * sizeof(*listeners));
    if (listeners == NULL)
        return EX_OSERR;
    count = 0;
    for (size_t i = 0; i < g->socket_count; i++)
        for (size_t j = 0; j < g->sockets[i].fd_count; j++)
            if (owns(child, j) && g->sockets[i].fds[j] >= 0)
                listeners[count++] =
                    (struct worker_listener){g->sockets[i].smtpd, g->sockets[i].fds[j]};
    *listeners_out = listeners;
    *count_out = count;
    return 0;
}

/* The kernel tells us when the master dies, however it does. A change of the account would undo
 * this, so it comes after that. */
static int follow(const struct master *m)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        return EX_OSERR;
    return getppid() == m->pid ? 0 : EX_SOFTWARE;
}

static int serve(struct master_child *child)
{
    const struct master_generation *g = child->generation;
    struct worker_listener *listeners = NULL;
    size_t count = 0;
    int code = privileged_drop(g->config);

    if (code == 0)
        code = follow(g->master);
    if (code == 0)
        code = list_sockets(child, &listeners, &count);
    if (code == 0) {
        struct worker_task task = {
            .listeners = listeners,
            .listener_count = count,
            .runs_queue = child->number == 0,
            .number = child->number,
            .generation = g->number,
            .shared = g->master->shared,
            .tells = on_news,
            .answer_ms = master_watchdog_part_ms(&g->master->notify),
            .owner = child,
        };
        shared_use(task.shared, child->column);
        code = worker_run(g->config, &task);
    }
    mem_free(listeners);
    return code;
}

/* ---- in the master ---- */

int master_child_start(struct master_child *child)
{
    int ready[2];

    child->due_ms = UINT64_MAX;
    child->started_ms = master_now_ms();
    child->is_ready = false;
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    fflush(stderr);
    pid_t pid = fork();
    if (pid < 0) {
        int error = -errno;
        close(ready[0]);
        close(ready[1]);
        return error;
    }
    if (pid == 0) {
        close(ready[0]);
        child->ready = ready[1];
        close_others(child);
        title_set(child->number == 0 ? "runner" : "worker", child->number);
        exit(serve(child));
    }
    close(ready[1]);
    child->ready = ready[0];
    child->pid = pid;
    return 0;
}

/* While its restart is delayed, others take the connections, if there are any: the kernel must no
 * longer choose this socket. */
static bool is_replaced(const struct master_child *child)
{
    const struct master_generation *g = child->generation;

    for (size_t i = 1; i < g->child_count; i++)
        if (&g->children[i] != child && g->children[i].is_ready && g->children[i].pid != 0)
            return true;
    return false;
}

static void close_sockets(const struct master_child *child)
{
    struct master_generation *g = child->generation;

    for (size_t i = 0; i < g->socket_count; i++)
        for (size_t j = 0; j < g->sockets[i].fd_count; j++)
            if (owns(child, j))
                close_fd(&g->sockets[i].fds[j]);
}

static int open_sockets(const struct master_child *child)
{
    struct master_generation *g = child->generation;
    int code = 0;

    for (size_t i = 0; code == 0 && i < g->socket_count; i++)
        for (size_t j = 0; code == 0 && j < g->sockets[i].fd_count; j++)
            if (owns(child, j))
                code = master_open_again(&g->sockets[i], j);
    return code;
}

static void wait_before_start(struct master_child *child, uint64_t now_ms)
{
    uint64_t doubled_ms = child->pause_ms * 2 < PAUSE_MIN_MS ? PAUSE_MIN_MS : child->pause_ms * 2;

    child->due_ms = now_ms + child->pause_ms;
    child->pause_ms = doubled_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : doubled_ms;
}

static void log_death(const struct master_child *child, pid_t pid, int status, uint64_t pause_ms)
{
    struct master *m = child->generation->master;
    bool is_killed = WIFSIGNALED(status);
    const struct master_field fields[] = {
        {.key = "role", .text = bytes_of(child->number == 0 ? "runner" : "worker")},
        {.key = "number", .number = child->number},
        {.key = "generation", .number = child->generation->number},
        {.key = "pid", .number = pid},
        {.key = is_killed ? "signal" : "exit",
         .number = is_killed ? WTERMSIG(status) : WEXITSTATUS(status)},
        {.key = "restart_ms", .number = (int64_t)pause_ms},
    };
    bool is_replaced_later = child->generation->state == MASTER_GENERATION_SERVING;

    master_log(m, LOG_LEVEL_ERROR, "died", fields, ARRAY_LENGTH(fields) - !is_replaced_later);
}

void master_child_free_column(struct master_child *child)
{
    if (child->column == SHARED_COLUMNS_MAX)
        return;
    child->generation->master->columns[child->column] = false;
    child->column = SHARED_COLUMNS_MAX;
}

void master_child_wake(struct master_child *child, uint64_t now_ms)
{
    if (child->due_ms > now_ms)
        return;
    if (open_sockets(child) != 0 || master_child_start(child) != 0)
        wait_before_start(child, now_ms);
}

void master_child_ended(struct master_child *child, int status)
{
    struct master_generation *g = child->generation;
    struct master *m = g->master;
    bool is_serving = g->state == MASTER_GENERATION_SERVING && !m->is_stopping;
    bool is_expected = !is_serving && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    uint64_t now_ms = master_now_ms();
    pid_t pid = child->pid;

    child->pid = 0;
    child->is_ready = false;
    close_fd(&child->ready);
    shared_clear(m->shared, child->column);
    if (g->state == MASTER_GENERATION_RETIRING)
        master_child_free_column(child);
    if (now_ms - child->started_ms >= STEADY_MS)
        child->pause_ms = 0;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && child->pause_ms > PAUSE_MIN_MS)
        child->pause_ms = PAUSE_MIN_MS; /* no fault of its own */
    if (is_serving)
        wait_before_start(child, now_ms);
    if (is_serving && child->due_ms > now_ms && is_replaced(child))
        close_sockets(child);
    if (!is_expected && g->state != MASTER_GENERATION_STARTING)
        log_death(child, pid, status, is_serving ? child->due_ms - now_ms : 0);
    master_child_wake(child, now_ms);
}
