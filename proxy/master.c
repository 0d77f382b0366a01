/* SPDX-License-Identifier: BSD-2-Clause */
/* Leads the processes: starts them, replaces those that die, reads the configuration anew, ends
 * them. */
#include "proxy/master.h"

#include <poll.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "proxy/master_private.h"
#include "proxy/privileged.h"
#include "proxy/startup.h"
#include "proxy/title.h"
#include "proxy/base/version.h"
#include "proxy/worker.h"

#define REASONS_BYTES_MAX 12288 /* of a failed reload; a log line holds 16 KiB */

uint64_t master_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- one process for everything (workers = 0) ---- */

struct alone {
    struct config *config;
    int ready; /* see master_open_detach() */
    struct notify notify;
};

static void go_to_background(int ready)
{
    if (ready < 0)
        return;
    master_open_silence();
    if (write(ready, "", 1) == 1)
        close(ready);
}

static void on_news(void *owner, enum worker_news news)
{
    static const char *const states[] = {
        [WORKER_SERVES] = "READY=1",
        [WORKER_ANSWERS] = "WATCHDOG=1",
        [WORKER_STOPS] = "STOPPING=1",
    };
    const struct alone *alone = owner;

    if (news == WORKER_SERVES) {
        startup_tell(alone->config);
        go_to_background(alone->ready);
    }
    notify_say(&alone->notify, states[news]);
}

static int serve_alone(struct alone *alone, struct worker_listener *listeners,
                       size_t listener_count)
{
    notify_open(&alone->notify);
    struct worker_task task = {
        .listeners = listeners,
        .listener_count = listener_count,
        .runs_queue = true,
        .is_alone = true,
        .tells = on_news,
        .answer_ms = master_watchdog_part_ms(&alone->notify),
        .owner = alone,
    };
    return worker_run(alone->config, &task);
}

static int open_alone(struct config *config, struct worker_listener *listeners, size_t *count_out)
{
    int first = 0;

    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *conf = config->smtpds[i];
        for (size_t j = 0; j < conf->listeners.count; j++) {
            struct master_socket s = {.address = &conf->listeners.at[j]};
            int code = master_open_socket(&s, NULL, false, 0, &config->problems);
            if (code == 0)
                listeners[(*count_out)++] = (struct worker_listener){conf, s.fds[0]};
            else
                master_open_close(&s);
            mem_free(s.fds);
            first = first == 0 ? code : first;
        }
    }
    config_print_problems(config, stderr);
    return first;
}

static int run_alone(struct config *config, bool wants_daemon)
{
    struct alone alone = {.config = config, .ready = -1};
    size_t count = 0;

    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->listeners.count;
    struct worker_listener *listeners = mem_zalloc((count + 1) * sizeof(*listeners));
    if (listeners == NULL)
        return EX_OSERR;
    count = 0;
    int code = open_alone(config, listeners, &count);
    if (code == 0 && wants_daemon)
        code = master_open_detach(&alone.ready);
    if (code == 0)
        code = privileged_lock_spool(config);
    if (code == 0)
        code = privileged_write_pid(config->core.pid_file);
    if (code == 0)
        code = privileged_drop(config);
    if (code == 0) {
        code = serve_alone(&alone, listeners, count);
        privileged_remove_pid(config->core.pid_file);
    }
    mem_free(listeners);
    return code;
}

/* ---- log lines ---- */

static void log_life(struct master *m, const char *event)
{
    struct config *config = m->serving->config;
    struct buf listening;

    buf_init(&listening, &config->pool, CONFIG_LISTENERS_MAX);
    config_put_listeners(config, &listening);
    const struct master_field fields[] = {
        {.key = "version", .text = bytes_of(POSTERN_VERSION)},
        {.key = "role", .text = bytes_of("master")},
        {.key = "generation", .number = m->serving->number},
        {.key = "workers", .number = config->core.workers},
        {.key = "pid", .number = m->pid},
        {.key = "hostname", .text = config->core.hostname},
        {.key = "listening", .text = buf_bytes(&listening)},
    };

    master_log(m, LOG_LEVEL_INFO, event, fields, ARRAY_LENGTH(fields) - m->is_stopping);
    buf_done(&listening);
}

/* What a reload came to. The old configuration serves on where it failed. */
static void log_reload(struct master *m, struct bytes reason)
{
    const struct master_field fields[] = {
        {.key = "result", .text = bytes_of(reason.len == 0 ? "ok" : "failed")},
        {.key = "generation", .number = m->serving->number},
        {.key = "reason", .text = reason},
    };

    master_log(m, reason.len == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "reload", fields,
               ARRAY_LENGTH(fields) - (reason.len == 0));
    notify_say(&m->notify, "READY=1");
}

/* ---- reading the configuration anew ---- */

/* All that is wrong with it, or else `reason`. */
static void log_failure(struct master *m, struct config *config, const char *reason)
{
    struct buf text;

    buf_init(&text, &config->pool, REASONS_BYTES_MAX);
    for (struct cf_problem *p = config->problems.first; p != NULL; p = p->next) {
        if (p->is_warning)
            continue;
        if (buf_length(&text) > 0)
            buf_text(&text, "; ");
        cf_put_problem(&text, p);
    }
    if (buf_length(&text) == 0)
        buf_text(&text, reason);
    log_reload(m, buf_bytes(&text));
    buf_done(&text);
}

/* Which change requires a restart. NULL: there is none. */
static const char *needs_restart(const struct config *old, const struct config *new)
{
    if (new->core.workers == 0)
        return "workers = 0 takes a restart";
    if (!bytes_equal(old->core.spool_directory, new->core.spool_directory))
        return "another spool-directory takes a restart";
    if (old->account.user != new->account.user || old->account.group != new->account.group)
        return "another user-id or group-id takes a restart";
    return NULL;
}

static int check_new(struct master *m, struct config *config)
{
    int code = startup_read(config, m->flags);
    const char *reason = code == 0 ? needs_restart(m->serving->config, config) : "out of memory";

    if (reason == NULL)
        return 0;
    log_failure(m, config, reason);
    return EX_CONFIG;
}

/* The reload has failed, and everything is as it was. `status` is that of a process that ended
 * instead of serving; -1: none was started. More is on stderr. */
static void give_up_coming(struct master *m, int status)
{
    struct master_generation *g = m->coming;
    char reason[100] = "cannot start the processes";

    if (status != -1)
        snprintf(reason, sizeof(reason), "a new process did not start: %s %d",
                 WIFEXITED(status) ? "exit code" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    m->coming = NULL;
    log_failure(m, g->config, reason);
    master_generation_retire(g, SIGTERM);
}

static void reload(struct master *m)
{
    m->wants_reload = m->coming != NULL;
    if (m->wants_reload || m->is_stopping)
        return;
    notify_say_reloading(&m->notify);
    struct config *config = config_new();
    if (config == NULL) {
        log_reload(m, bytes_of("out of memory"));
        return;
    }
    if (check_new(m, config) != 0) {
        config_free(&config);
        return;
    }
    if (master_generation_start(m, config) == 0)
        return;
    if (m->coming != NULL)
        give_up_coming(m, -1);
    else
        log_reload(m, bytes_of("out of memory"));
}

/* ---- stopping ---- */

/* A second signal: at once. */
static void stop(struct master *m, int code)
{
    int number = m->is_stopping ? SIGUSR2 : SIGTERM;

    if (!m->is_stopping)
        notify_say(&m->notify, "STOPPING=1");
    m->is_stopping = true;
    if (m->exit_code == 0)
        m->exit_code = code;
    LIST_EACH (link, &m->generations)
        master_generation_retire(LIST_ENTRY(link, struct master_generation, link), number);
}

/* ---- processes that serve ---- */

/* All processes of a generation serve, so older generations may go. */
static void take_over(struct master *m, struct master_generation *g)
{
    struct master_generation *old = m->serving;

    g->state = MASTER_GENERATION_SERVING;
    m->coming = NULL;
    m->serving = g;
    if (old != NULL) {
        master_generation_retire(old, SIGQUIT);
        log_reload(m, bytes_make(NULL, 0));
        return;
    }
    startup_tell(g->config);
    log_life(m, "start");
    notify_say(&m->notify, "READY=1");
    go_to_background(m->daemon_ready);
}

static void hear(struct master_child *child)
{
    struct master_generation *g = child->generation;
    uint8_t octet;
    size_t ready = 0;

    child->is_ready = read(child->ready, &octet, 1) == 1; /* else it has ended */
    close(child->ready);
    child->ready = -1;
    for (size_t i = 0; i < g->child_count; i++)
        ready += g->children[i].is_ready;
    if (g->state == MASTER_GENERATION_STARTING && ready == g->child_count)
        take_over(g->master, g);
}

/* ---- processes that end ---- */

static struct master_child *find_child(const struct master *m, pid_t pid)
{
    LIST_EACH (link, &m->generations) {
        struct master_generation *g = LIST_ENTRY(link, struct master_generation, link);
        for (size_t i = 0; i < g->child_count; i++)
            if (g->children[i].pid == pid)
                return &g->children[i];
    }
    return NULL;
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

static void bury(struct master *m, struct master_child *child, int status)
{
    struct master_generation *g = child->generation;
    bool has_served = child->is_ready;

    master_child_ended(child, status);
    if (m->is_stopping && m->exit_code == 0 && has_served)
        m->exit_code = code_of(status);
    else if (m->is_stopping || g != m->coming)
        return;
    else if (m->serving == NULL)
        stop(m, code_of(status) != 0 ? code_of(status) : EX_SOFTWARE);
    else
        give_up_coming(m, status);
}

static void bury_all(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct master_child *child = find_child(m, pid);
        if (child != NULL)
            bury(m, child, status);
    }
}

/* ---- the loop ---- */

static void on_signal(struct master *m, int number)
{
    if (number == SIGCHLD) {
        bury_all(m);
    } else if (number == SIGHUP) {
        reload(m);
    } else if (number == SIGUSR1) {
        LIST_EACH (link, &m->generations)
            master_generation_signal(LIST_ENTRY(link, struct master_generation, link), number);
    } else {
        stop(m, 0);
    }
}

static void read_signals(struct master *m)
{
    struct signalfd_siginfo info;

    while (read(m->signals, &info, sizeof(info)) == sizeof(info))
        on_signal(m, (int)info.ssi_signo);
}

/* Waits for signals, for processes that do not serve yet, and for what is due next. */
struct waiting {
    struct pollfd fds[1 + SHARED_COLUMNS_MAX];
    struct master_child *children[1 + SHARED_COLUMNS_MAX];
    nfds_t count;
    uint64_t until_ms;
};

static void list_waiting(struct master *m, struct waiting *w)
{
    w->fds[0] = (struct pollfd){.fd = m->signals, .events = POLLIN};
    w->count = 1;
    w->until_ms = master_watch_due_ms(m);
    if (master_watchdog_due_ms(m) < w->until_ms)
        w->until_ms = master_watchdog_due_ms(m);
    LIST_EACH (link, &m->generations) {
        struct master_generation *g = LIST_ENTRY(link, struct master_generation, link);
        for (size_t i = 0; i < g->child_count; i++) {
            struct master_child *child = &g->children[i];
            if (child->due_ms < w->until_ms)
                w->until_ms = child->due_ms;
            if (child->ready < 0)
                continue;
            w->children[w->count] = child;
            w->fds[w->count++] = (struct pollfd){.fd = child->ready, .events = POLLIN};
        }
    }
}

static void wake_all(struct master *m)
{
    uint64_t now_ms = master_now_ms();

    LIST_EACH (link, &m->generations) {
        struct master_generation *g = LIST_ENTRY(link, struct master_generation, link);
        for (size_t i = 0; i < g->child_count; i++)
            master_child_wake(&g->children[i], now_ms);
    }
}

/* Frees generations without processes, but for the one that served last: it has the last log line.
 */
static size_t sweep(struct master *m)
{
    size_t alive = 0;

    LIST_EACH (link, &m->generations) {
        struct master_generation *g = LIST_ENTRY(link, struct master_generation, link);
        size_t here = master_generation_alive(g);
        if (here == 0 && g->state == MASTER_GENERATION_RETIRING && g != m->serving)
            master_generation_free(g);
        alive += here;
    }
    return alive;
}

static void wait_for_news(struct master *m)
{
    struct waiting w;
    uint64_t now_ms = master_now_ms();
    uint64_t pause_ms;

    list_waiting(m, &w);
    pause_ms = w.until_ms > now_ms ? w.until_ms - now_ms : 0;
    if (poll(w.fds, w.count, pause_ms > INT32_MAX ? -1 : (int)pause_ms) <= 0)
        return;
    for (nfds_t i = 1; i < w.count; i++)
        if (w.fds[i].revents != 0)
            hear(w.children[i]);
    if (w.fds[0].revents != 0)
        read_signals(m);
}

/* Until the last process has ended. */
static void lead(struct master *m)
{
    while (sweep(m) != 0 || !m->is_stopping) {
        wait_for_news(m);
        wake_all(m);
        master_watchdog_wake(m, master_now_ms());
        if (master_watch_looks_anew(m, master_now_ms()))
            m->wants_reload = true;
        if (m->wants_reload && m->coming == NULL)
            reload(m);
    }
}

/* ---- life ---- */

static int take_signals(struct master *m)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
    static const int of_children[] = {SIGQUIT, SIGUSR2}; /* until they serve */
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LENGTH(of_children); i++)
        sigaddset(&set, of_children[i]);
    sigprocmask(SIG_BLOCK, &set, &m->old_mask);
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LENGTH(signals); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signals < 0 ? EX_OSERR : 0;
}

static void end(struct master *m)
{
    privileged_remove_pid(m->pid_file);
    mem_free(m->pid_file_memory);
    if (m->serving != NULL) {
        log_life(m, "stop");
        while (wait(NULL) > 0) /* for the line to be written */
            continue;
    }
    LIST_EACH (link, &m->generations)
        master_generation_free(LIST_ENTRY(link, struct master_generation, link));
    shared_free(&m->shared);
    if (m->signals >= 0)
        close(m->signals);
}

static int begin(struct master *m, struct config *config, bool wants_daemon)
{
    int code = 0;

    m->shared = shared_new();
    if (m->shared == NULL)
        code = EX_OSERR;
    if (code == 0 && wants_daemon)
        code = master_open_detach(&m->daemon_ready);
    if (code == 0)
        code = privileged_lock_spool(config);
    m->pid = getpid();
    notify_open(&m->notify);
    title_set("master", 0);
    m->is_daemon = wants_daemon;
    if (code == 0)
        code = take_signals(m);
    if (code != 0) {
        config_free(&config);
        return code;
    }
    code = master_generation_start(m, config);
    if (m->coming != NULL)
        config_print_problems(m->coming->config, stderr);
    return code;
}

/* The file of the first configuration stays what it is. */
static int write_pid(struct master *m)
{
    struct bytes name = m->coming->config->core.pid_file;
    uint8_t *copy = mem_alloc(name.len + 1);
    int code = copy == NULL ? EX_OSERR : privileged_write_pid(name);

    if (code != 0) {
        mem_free(copy);
        return code;
    }
    if (name.len != 0)
        memcpy(copy, name.at, name.len);
    m->pid_file = bytes_make(copy, name.len);
    m->pid_file_memory = copy;
    return 0;
}

static int run_many(struct config *config, const struct flags *flags)
{
    struct master m = {.flags = flags, .signals = -1, .daemon_ready = -1};

    list_init(&m.generations);
    int code = begin(&m, config, flags->wants_daemon);
    if (code == 0)
        code = write_pid(&m);
    if (code != 0)
        stop(&m, code);
    lead(&m);
    end(&m);
    return m.exit_code;
}

int master_run(struct config *config, const struct flags *flags)
{
    signal(SIGPIPE, SIG_IGN);
    privileged_raise_descriptors();
    int code = privileged_make_spool(config);
    if (code == 0 && config->core.workers != 0)
        return run_many(config, flags);
    if (code == 0)
        code = run_alone(config, flags->wants_daemon);
    config_free(&config);
    return code;
}
