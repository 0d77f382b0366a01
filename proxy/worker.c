/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds one worker on one loop, and ends it in good order. */
#include "proxy/worker.h"

#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/logging.h"
#include "proxy/shared_target.h"
#include "proxy/version.h"
#include "route/relay/relay_memory.h"

/* ---- services ---- */

uint32_t worker_log_sinks(const struct worker *w, struct bytes logger)
{
    return logging_mask(w->config, logger);
}

/* Some log cannot be opened: which one? */
static void name_bad_log(struct worker *w)
{
    int error;

    for (int i = 0; i < w->sink_count; i++) {
        struct log *alone = log_new(w->loop, &w->sinks[i], 1, false, &error);
        if (alone == NULL)
            fprintf(stderr, "postern: cannot open log file %.*s\n",
                    (int)w->sinks[i].file_pattern.len, (const char *)w->sinks[i].file_pattern.at);
        log_free(&alone);
    }
}

static int start_log(struct worker *w)
{
    int error = logging_sinks(w->config, w->sinks);
    if (error < 0)
        return error;
    w->sink_count = error;
    w->log = log_new(w->loop, w->sinks, w->sink_count, w->config->core.log_format == CORE_LOG_JSON,
                     &error);
    if (w->log == NULL) {
        name_bad_log(w);
        return error;
    }
    w->log_sinks = worker_log_sinks(w, bytes_make(NULL, 0));
    return 0;
}

static int start_dns(struct worker *w)
{
    const struct setting_addresses *resolvers = &w->config->core.resolvers;
    char text[NETADDR_TEXT_MAX];
    struct bytes *servers = arena_alloc(&w->arena, (resolvers->count + 1) * sizeof(*servers));
    int error = servers == NULL ? ERR_MEMORY : 0;

    for (size_t i = 0; error == 0 && i < resolvers->count; i++) {
        struct netaddr server = resolvers->at[i];
        if (server.port == 0)
            server.port = 53;
        error = arena_copy(&w->arena, bytes_of(netaddr_text_with_port(&server, text)), &servers[i]);
    }
    if (error == 0)
        w->dns = dns_new(w->loop, servers, (int)resolvers->count, &error);
    return error;
}

static int start_store(struct worker *w)
{
    struct bytes name = w->config->core.spool_directory;
    int error = 0;

    w->store = store_open(w->loop, name, w->task->store_limits, &error);
    if (error != 0)
        fprintf(stderr, "postern: cannot open spool directory %.*s\n", (int)name.len,
                (const char *)name.at);
    return error;
}

static int start_copies(struct worker *w)
{
    const struct core_conf *core = &w->config->core;
    uint32_t shares = w->task->is_alone || core->workers == 0 ? 1 : core->workers;

    w->copies = (struct copy_limits){
        .memory_max_bytes = core->max_memory_bytes / shares,
        .memory_each_bytes = core->copy_memory_bytes,
        .files_max_bytes = core->max_copies_bytes / shares,
        .drafts = store_drafts(w->store),
        .head_bytes = SPOOL_HEAD_BYTES,
    };
    return copy_limits_init(&w->copies, w->loop);
}

/* The limits of targets hold for all processes together. */
static bool share_targets(struct worker *w)
{
    struct relay_host *host = arena_alloc(&w->arena, sizeof(*host));
    if (host == NULL)
        return false;
    *host = shared_target_host(w->task->shared, w->task->runs_queue);
    w->relays.host = host;
    return true;
}

/* Addresses that connecting to would be connecting to ourselves. */
static int start_relays(struct worker *w)
{
    const struct config *config = w->config;
    size_t count = 0;
    int error = 0;

    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->listeners.count;
    struct netaddr *own = arena_alloc(&w->arena, (count + 1) * sizeof(*own));
    if (own == NULL)
        return ERR_MEMORY;
    w->relays = (struct relay_service){
        .loop = w->loop,
        .dns = w->dns,
        .log = w->log,
        .log_sinks = w->log_sinks,
        .own_listeners = own,
        .own_listener_count = (int)count,
    };
    if (w->task->shared != NULL && !share_targets(w))
        return ERR_MEMORY;
    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t j = 0; j < config->smtpds[i]->listeners.count; j++)
            *own++ = config->smtpds[i]->listeners.at[j];
    w->relays.memory = relay_memory_new(w->loop, w->log, w->log_sinks, config->core.spool_directory,
                                        w->task->runs_queue, &error);
    return error;
}

static int start_targets(struct worker *w)
{
    const struct target_services services = {
        .loop = w->loop, .log = w->log, .log_sinks = w->log_sinks, .relays = &w->relays};

    return targets_init(&w->targets, w->config, &services);
}

static void start_storage(struct worker *w)
{
    w->storage = (struct storage){
        .loop = w->loop,
        .log = w->log,
        .log_sinks = w->log_sinks,
        .directory = store_directory(w->store),
        .reserve_bytes = w->config->core.spool_reserve_bytes,
    };
    storage_start(&w->storage);
}

static int start_services(struct worker *w)
{
    int error = start_dns(w);
    if (error == 0)
        error = start_store(w);
    if (error == 0)
        error = start_copies(w);
    if (error == 0)
        error = start_relays(w);
    if (error == 0)
        error = start_targets(w);
    if (error == 0)
        start_storage(w);
    return error;
}

/* ---- listeners ---- */

static int start_smtpd(struct worker *w, struct smtpd *d, const struct smtpd_conf *conf)
{
    struct route_directory directory = targets_directory(&w->targets);
    struct cf_problems problems;
    struct route_set *routes;
    size_t fd_count = 0;
    const struct worker_listener *listeners = w->task->listeners;
    size_t listener_count = w->task->listener_count;
    int *fds = arena_alloc(&w->arena, (listener_count + 1) * sizeof(*fds));

    if (fds == NULL)
        return ERR_MEMORY;
    cf_problems_init(&problems, &w->arena);
    int error = route_set_new(conf->tables, conf->table_count, &directory, loop_hash_key(w->loop),
                              &w->arena, &problems, &routes);
    if (error != 0)
        return error;
    for (size_t i = 0; i < listener_count; i++)
        if (listeners[i].smtpd == conf)
            fds[fd_count++] = listeners[i].fd;
    return smtpd_start(d, w, conf, routes, fds, fd_count);
}

static int start_smtpds(struct worker *w)
{
    w->smtpds = arena_alloc(&w->arena, w->config->smtpd_count * sizeof(struct smtpd));
    if (w->smtpds == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < w->config->smtpd_count; i++) {
        int error = start_smtpd(w, &w->smtpds[i], w->config->smtpds[i]);
        if (error != 0)
            return error;
        w->smtpd_count++;
    }
    return 0;
}

struct id worker_next_id(struct worker *w)
{
    return id_next(&w->ids, (uint64_t)loop_wall_ms(w->loop));
}

/* ---- stopping ---- */

/* The queue is at rest: nothing needs a target any more. */
static void end(void *owner)
{
    struct worker *w = owner;

    w->is_ended = true;
    targets_close(&w->targets);
    if (w->is_impatient)
        targets_abort(&w->targets);
    dns_free(&w->dns);
    storage_stop(&w->storage);
    relay_memory_close(w->relays.memory);
    store_close(w->store);
    deadline_clear(w->loop, &w->deadline);
    loop_stop(w->loop);
}

/* First the sessions end, then what the queue has begun, then the targets' connections. */
static void end_if_quiet(struct worker *w)
{
    if (w->is_quiet)
        return;
    for (size_t i = 0; i < w->smtpd_count; i++)
        if (w->smtpds[i].connections.own != 0)
            return;
    w->is_quiet = true;
    queue_stop(w->queue, end, w);
    if (w->is_impatient)
        queue_abort(w->queue);
}

void worker_forget_session(struct worker *w)
{
    if (w->is_closing)
        end_if_quiet(w);
}

static void stop_sessions(struct worker *w, bool is_final)
{
    for (size_t i = 0; i < w->smtpd_count; i++) {
        LIST_EACH (link, &w->smtpds[i].bridges)
            bridge_stop(LIST_ENTRY(link, struct bridge, in_smtpd), is_final);
    }
}

static void hurry(struct worker *w)
{
    w->is_impatient = true;
    stop_sessions(w, true);
    if (w->is_quiet && !w->is_ended)
        queue_abort(w->queue);
    if (w->is_ended)
        targets_abort(&w->targets);
}

static void on_deadline(struct deadline *d)
{
    hurry(CONTAINER_OF(d, struct worker, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void close_listeners(struct worker *w)
{
    w->is_closing = true;
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_stop(&w->smtpds[i]);
}

/* Others have our place: the sessions that run end in their own time, those that are idle soon. */
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
    close_listeners(w);
    deadline_set(w->loop, &w->deadline, loop_now_ms(w->loop) + w->config->core.shutdown_ms);
    stop_sessions(w, false);
    end_if_quiet(w);
}

static void on_signal(void *owner, int number)
{
    struct worker *w = owner;

    if (number == SIGUSR1) {
        log_reopen(w->log);
    } else if (number == SIGHUP) {
        struct log_line line = log_begin(w->log, w->log_sinks, LOG_LEVEL_WARNING, "reload");
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

/* ---- life ---- */

static const char *role(const struct worker_task *task)
{
    if (task->is_alone)
        return "all";
    return task->runs_queue ? "runner" : "worker";
}

static int64_t count_duplicates(const struct worker *w)
{
    uint64_t count = 0;

    for (size_t i = 0; i < w->smtpd_count; i++)
        count += w->smtpds[i].duplicates;
    return (int64_t)count;
}

static void log_life(struct worker *w, const char *event)
{
    struct log_line line = log_begin(w->log, w->log_sinks, LOG_LEVEL_INFO, event);
    log_put_text(&line, "version", POSTERN_VERSION);
    log_put_text(&line, "role", role(w->task));
    if (!w->task->is_alone) {
        log_put_number(&line, "number", w->task->number);
        log_put_number(&line, "generation", w->task->generation);
    }
    log_put_number(&line, "pid", getpid());
    log_put(&line, "hostname", w->config->core.hostname);
    if (w->is_ended)
        log_put_number(&line, "duplicates", count_duplicates(w));
    log_end(&line);
}

/* One process tells it for all. */
static void log_drafts(struct worker *w)
{
    if (!w->task->runs_queue || !store_drafts(w->store)->has_names)
        return;
    struct log_line line = log_begin(w->log, w->log_sinks, LOG_LEVEL_WARNING, "storage");
    log_put_text(&line, "directory", store_directory(w->store));
    log_put_text(&line, "state", "no-unnamed-files");
    log_end(&line);
}

static int start(struct worker *w)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT, SIGUSR2};

    w->loop = loop_new();
    if (w->loop == NULL)
        return ERR_MEMORY;
    deadline_init(&w->deadline, &deadline_use);
    w->ids.process = (uint32_t)getpid();
    int error = start_log(w);
    if (error != 0) { /* what an operator may well get wrong: nothing else hangs on the loop yet */
        loop_free(&w->loop);
        return error;
    }
    error = start_services(w);
    if (error == 0)
        error = start_smtpds(w);
    if (error == 0)
        w->queue = queue_start(w, &error);
    if (w->task->is_cold) /* a signal ends it, as a crash would: the spool can bear that */
        return error;
    for (size_t i = 0; error == 0 && i < ARRAY_LENGTH(signals) - w->task->is_alone; i++)
        error = loop_on_signal(w->loop, signals[i], on_signal, w);
    return error;
}

static void finish(struct worker *w)
{
    sigset_t told_again; /* while we end already */

    sigfillset(&told_again);
    sigprocmask(SIG_BLOCK, &told_again, NULL);
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_done(&w->smtpds[i]);
    queue_free(&w->queue);
    targets_done(&w->targets);
    copy_limits_done(&w->copies);
    store_free(&w->store);
    relay_memory_free(&w->relays.memory);
    if (!w->task->is_cold)
        log_life(w, "stop");
    log_free(&w->log);
    loop_free(&w->loop);
    arena_reset(&w->arena);
    pool_done(&w->pool);
}

int worker_run(const struct config *config, const struct worker_task *task)
{
    struct worker w = {.config = config, .task = task};

    pool_init(&w.pool, 4096, 4);
    arena_init(&w.arena, &w.pool, SIZE_MAX);
    int error = start(&w);
    if (error != 0) {
        const char *text = error_text(error);
        fprintf(stderr, "postern: cannot start: %s\n", text != NULL ? text : strerror(-error));
        return error == ERR_SYNTAX ? EX_CONFIG : EX_OSERR;
    }
    if (task->is_cold) {
        task->cold_started(task->owner, &w);
    } else {
        log_life(&w, "start");
        log_drafts(&w);
        log_flush(w.log); /* before anybody acts on it */
        task->started(task->owner);
    }
    error = loop_run(w.loop);
    finish(&w);
    return error == 0 ? 0 : EX_SOFTWARE;
}
