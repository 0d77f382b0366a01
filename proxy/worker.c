/* SPDX-License-Identifier: BSD-2-Clause */
/* One process at work: builds it on one loop, and ends it in good order. */
#include "proxy/worker.h"

#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/bridge.h"
#include "proxy/queue.h"
#include "proxy/base/version.h"

/* ---- stopping ---- */

/* The queue is at rest, so nothing needs a target any more. */
static void end(void *owner)
{
    struct worker *w = owner;

    w->is_ended = true;
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_close(&w->smtpds[i]);
    services_close(&w->services);
    if (w->is_impatient)
        targets_abort(&w->services.targets);
    deadline_clear(w->services.loop, &w->deadline);
    deadline_clear(w->services.loop, &w->answer);
    loop_stop(w->services.loop);
}

/* Sessions end first, then what the queue has begun, then the connections to targets. */
static void end_if_quiet(struct worker *w)
{
    if (w->is_quiet)
        return;
    for (size_t i = 0; i < w->smtpd_count; i++)
        if (w->smtpds[i].connections.own != 0)
            return;
    w->is_quiet = true;
    queue_stop(w->services.queue, end, w);
    if (w->is_impatient)
        queue_abort(w->services.queue);
}

static void on_session_ended(void *owner)
{
    struct worker *w = owner;

    if (w->is_closing)
        end_if_quiet(w);
}

static void stop_sessions(struct worker *w, enum bridge_stop_when when)
{
    for (size_t i = 0; i < w->smtpd_count; i++) {
        LIST_EACH (link, &w->smtpds[i].bridges)
            bridge_stop(LIST_ENTRY(link, struct bridge, in_smtpd), when);
    }
}

static void hurry(struct worker *w)
{
    w->is_impatient = true;
    stop_sessions(w, BRIDGE_STOP_NOW);
    if (w->is_quiet && !w->is_ended)
        queue_abort(w->services.queue);
    if (w->is_ended)
        targets_abort(&w->services.targets);
}

static void on_deadline(struct deadline *d)
{
    hurry(CONTAINER_OF(d, struct worker, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void tell(struct worker *w, enum worker_news news)
{
    if (!w->task->is_cold)
        w->task->tells(w->task->owner, news);
}

static void answer(struct worker *w)
{
    if (w->task->answer_ms == 0)
        return;
    tell(w, WORKER_ANSWERS);
    deadline_set(w->services.loop, &w->answer, loop_now_ms(w->services.loop) + w->task->answer_ms);
}

static void on_answer(struct deadline *d)
{
    answer(CONTAINER_OF(d, struct worker, answer));
}

static const struct deadline_use answer_use = {.reached = on_answer};

static void close_listeners(struct worker *w)
{
    w->is_closing = true;
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_stop(&w->smtpds[i]);
}

/* Other processes serve in our place. Sessions that run end in their own time, idle ones soon. */
static void retire(struct worker *w)
{
    if (w->is_closing)
        return;
    close_listeners(w);
    for (size_t i = 0; i < w->smtpd_count; i++)
        LIST_EACH (link, &w->smtpds[i].bridges) {
            struct bridge *b = LIST_ENTRY(link, struct bridge, in_smtpd);
            carrier_drain(&b->carrier); /* its deadline has come nearer */
        }
    end_if_quiet(w);
}

void worker_stop(struct worker *w)
{
    if (w->is_stopping || w->is_ended) {
        hurry(w);
        return;
    }
    w->is_stopping = true;
    tell(w, WORKER_STOPS);
    close_listeners(w);
    deadline_set(w->services.loop, &w->deadline,
                 loop_now_ms(w->services.loop) + w->services.config->core.shutdown_ms);
    stop_sessions(w, BRIDGE_STOP_SOON);
    end_if_quiet(w);
}

static void on_signal(void *owner, int number)
{
    struct worker *w = owner;

    if (number == SIGUSR1) {
        log_reopen(w->services.log);
    } else if (number == SIGHUP) {
        struct log_line line =
            log_begin(w->services.log, w->services.log_sinks, LOG_LEVEL_WARNING, "reload");
        log_put_text(&line, "result", "refused");
        log_put_text(&line, "reason",
                     w->task->is_alone ? "workers = 0: restart to read the configuration anew"
                                       : "this is for the master");
        log_end(&line);
    } else if (number == SIGQUIT) {
        retire(w);
    } else if (number == SIGUSR2) {
        worker_stop(w);
        hurry(w);
    } else if (w->task->is_alone || !w->is_stopping) {
        worker_stop(w);
    }
}

/* ---- listeners ---- */

static int start_smtpd(struct worker *w, struct smtpd *d, const struct smtpd_conf *conf)
{
    struct route_directory directory = targets_directory(&w->services.targets);
    struct cf_problems problems;
    struct route_set *routes;
    size_t fd_count = 0;
    const struct worker_listener *listeners = w->task->listeners;
    size_t listener_count = w->task->listener_count;
    int *fds = arena_alloc(&w->services.arena, (listener_count + 1) * sizeof(*fds));

    if (fds == NULL)
        return ERR_MEMORY;
    cf_problems_init(&problems, &w->services.arena);
    int error =
        route_set_new(conf->tables, conf->table_count, &directory, loop_hash_key(w->services.loop),
                      &w->services.arena, &problems, &routes);
    if (error != 0)
        return error;
    for (size_t i = 0; i < listener_count; i++)
        if (listeners[i].smtpd == conf)
            fds[fd_count++] = listeners[i].fd;
    return smtpd_start(d, &w->services, conf, routes, fds, fd_count);
}

static int start_smtpds(struct worker *w)
{
    w->smtpds =
        arena_alloc(&w->services.arena, w->services.config->smtpd_count * sizeof(struct smtpd));
    if (w->smtpds == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < w->services.config->smtpd_count; i++) {
        w->smtpds[i].session_ended = on_session_ended;
        w->smtpds[i].owner = w;
        int error = start_smtpd(w, &w->smtpds[i], w->services.config->smtpds[i]);
        if (error != 0)
            return error;
        w->smtpd_count++;
    }
    return 0;
}

/* NULL: the configuration has no listener of that name (any more). */
static struct route_set *find_routes(void *owner, struct bytes listener)
{
    const struct worker *w = owner;

    for (size_t i = 0; i < w->smtpd_count; i++)
        if (bytes_equal(w->smtpds[i].conf->section, listener))
            return w->smtpds[i].routes;
    return NULL;
}

/* ---- life ---- */

static const char *role(const struct worker_task *task)
{
    if (task->is_alone)
        return "all";
    return task->runs_queue ? "runner" : "worker";
}

/* "worker-2". A process that is alone needs no name. */
static struct bytes name_process(struct worker *w)
{
    const struct worker_task *task = w->task;

    if (task->is_cold)
        return bytes_of("posternctl");
    if (task->is_alone)
        return bytes_make(NULL, 0);
    if (task->runs_queue)
        return bytes_of(role(task));
    snprintf(w->process, sizeof(w->process), "%s-%u", role(task), task->number);
    return bytes_of(w->process);
}

static int64_t count_duplicates(const struct worker *w)
{
    uint64_t count = 0;

    for (size_t i = 0; i < w->smtpd_count; i++)
        count += w->smtpds[i].duplicates;
    return (int64_t)count;
}

/* Otherwise the master says it. */
static void put_listeners(struct worker *w, struct log_line *line)
{
    struct buf text;
    buf_init(&text, &loop_pools(w->services.loop)->medium, CONFIG_LISTENERS_MAX);
    config_put_listeners(w->services.config, &text);
    log_put(line, "listening", buf_bytes(&text));
    buf_done(&text);
}

static void log_life(struct worker *w, const char *event)
{
    struct log_line line = log_begin(w->services.log, w->services.log_sinks, LOG_LEVEL_INFO, event);
    log_put_text(&line, "version", POSTERN_VERSION);
    log_put_text(&line, "role", role(w->task));
    if (!w->task->is_alone) {
        log_put_number(&line, "number", w->task->number);
        log_put_number(&line, "generation", w->task->generation);
    }
    log_put_number(&line, "pid", getpid());
    log_put(&line, "hostname", w->services.config->core.hostname);
    if (w->task->is_alone && !w->is_ended)
        put_listeners(w, &line);
    if (w->is_ended)
        log_put_number(&line, "duplicates", count_duplicates(w));
    log_end(&line);
}

/* Only the process that runs the queue says this, for all of them. */
static void log_drafts(struct worker *w)
{
    if (!w->task->runs_queue || !store_drafts(w->services.store)->has_names)
        return;
    struct log_line line =
        log_begin(w->services.log, w->services.log_sinks, LOG_LEVEL_WARNING, "storage");
    log_put_text(&line, "directory", store_directory(w->services.store));
    log_put_text(&line, "state", "no-unnamed-files");
    log_end(&line);
}

static int start(struct worker *w)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT, SIGUSR2};

    deadline_init(&w->deadline, &deadline_use);
    deadline_init(&w->answer, &answer_use);
    w->services.process = name_process(w);
    int error = services_start(&w->services);
    if (error == 0)
        error = start_smtpds(w);
    if (error == 0)
        error = queue_start(&w->services, find_routes, w);
    if (w->task->is_cold) /* a signal ends it, as a crash would: the spool can bear that */
        return error;
    for (size_t i = 0; error == 0 && i < ARRAY_LENGTH(signals) - w->task->is_alone; i++)
        error = loop_on_signal(w->services.loop, signals[i], on_signal, w);
    return error;
}

static void finish(struct worker *w)
{
    sigset_t told_again; /* signals that come while we end */

    sigfillset(&told_again);
    sigprocmask(SIG_BLOCK, &told_again, NULL);
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_done(&w->smtpds[i]);
    queue_free(&w->services.queue);
    if (!w->task->is_cold)
        log_life(w, "stop");
    services_done(&w->services);
}

/* NULL: no memory. */
static struct worker *worker_new(const struct config *config, const struct worker_task *task)
{
    struct worker *w = mem_zalloc(sizeof(*w));

    if (w == NULL)
        return NULL;
    w->task = task;
    w->services.config = config;
    w->services.store_limits = task->store_limits;
    w->services.shared = task->shared;
    w->services.runs_queue = task->runs_queue;
    w->services.is_alone = task->is_alone;
    w->services.is_cold = task->is_cold;
    return w;
}

/* Whoever cannot start ends its process. Jobs may run already, and keep what they work on until
 * then. */
static int fail_to_start(struct worker *w, int error)
{
    static struct worker *volatile remains;
    const char *text = error_text(error);

    remains = w;
    (void)remains;
    fprintf(stderr, "postern: cannot start: %s\n", text != NULL ? text : strerror(-error));
    return error == ERR_SYNTAX ? EX_CONFIG : EX_OSERR;
}

static void serve(struct worker *w)
{
    log_life(w, "start");
    log_drafts(w);
    log_flush(w->services.log); /* before anybody acts on it */
    tell(w, WORKER_SERVES);
    answer(w);
}

int worker_run(const struct config *config, const struct worker_task *task)
{
    struct worker *w = worker_new(config, task);
    int error = w == NULL ? ERR_MEMORY : start(w);

    if (error != 0)
        return fail_to_start(w, error);
    if (task->is_cold)
        task->cold_started(task->owner, w);
    else
        serve(w);
    error = loop_run(w->services.loop);
    finish(w);
    mem_free(w);
    return error == 0 ? 0 : EX_SOFTWARE;
}
