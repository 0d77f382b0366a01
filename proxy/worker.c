/* SPDX-License-Identifier: BSD-2-Clause */
/* Builds one worker on one loop, and ends it in good order. */
#include "proxy/worker.h"

#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/version.h"
#include "route/relay_memory.h"

/* ---- services ---- */

static void add_sink(struct worker *w, struct log_sink sink)
{
    sink.ident = w->config->syslog.ident;
    sink.facility = config_core_facility(w->config->syslog.facility) >> 3; /* LOG_MAIL is 2 << 3 */
    w->sinks[w->sink_count++] = sink;
}

/* The three that always exist, then the logfiles in the order of the configuration. */
static int make_sinks(struct worker *w)
{
    const struct config *config = w->config;

    if (config->logfile_count > LOG_SINKS_MAX - 3)
        return ERR_RANGE;
    add_sink(w, (struct log_sink){.kind = LOG_TO_STDERR});
    add_sink(w, (struct log_sink){.kind = LOG_TO_SYSLOG});
    add_sink(w, (struct log_sink){.kind = LOG_TO_JOURNAL});
    for (size_t i = 0; i < config->logfile_count; i++)
        add_sink(w,
                 (struct log_sink){.kind = LOG_TO_FILE, .file_pattern = config->logfiles[i]->file});
    return 0;
}

static uint32_t sink_bit(const struct worker *w, struct bytes logger)
{
    static const char *const always[] = {"stderr", "syslog", "journal"};

    for (unsigned i = 0; i < ARRAY_LENGTH(always); i++)
        if (bytes_is(logger, always[i]))
            return 1U << i;
    for (unsigned i = 0; i < w->config->logfile_count; i++)
        if (bytes_equal(logger, w->config->logfiles[i]->section))
            return 1U << (i + ARRAY_LENGTH(always));
    return 0;
}

uint32_t worker_log_sinks(const struct worker *w, struct bytes logger)
{
    uint32_t sinks = 0;

    if (logger.len != 0)
        return sink_bit(w, logger);
    for (size_t i = 0; i < w->config->core.loggers.count; i++)
        sinks |= sink_bit(w, w->config->core.loggers.at[i]);
    return sinks;
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
    int error = make_sinks(w);
    if (error != 0)
        return error;
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

static char *c_string(struct worker *w, struct bytes text)
{
    char *copy = arena_alloc(&w->arena, text.len + 1);
    if (copy != NULL)
        memcpy(copy, text.at, text.len);
    return copy;
}

static int start_copies(struct worker *w)
{
    const struct core_conf *core = &w->config->core;

    w->copies = (struct copy_limits){
        .memory_max_bytes = core->max_memory_bytes,
        .memory_each_bytes = core->copy_memory_bytes,
        .files_max_bytes = core->max_copies_bytes,
        .directory = c_string(w, core->spool_directory),
    };
    copy_limits_init(&w->copies);
    return w->copies.directory == NULL ? ERR_MEMORY : 0;
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
    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t j = 0; j < config->smtpds[i]->listeners.count; j++)
            *own++ = config->smtpds[i]->listeners.at[j];
    w->relays.memory =
        relay_memory_new(w->loop, w->log, w->log_sinks, config->core.spool_directory, &error);
    return error;
}

static void start_storage(struct worker *w)
{
    w->storage = (struct storage){
        .loop = w->loop,
        .log = w->log,
        .log_sinks = w->log_sinks,
        .directory = w->copies.directory,
        .reserve_bytes = w->config->core.spool_reserve_bytes,
    };
    storage_start(&w->storage);
}

static int start_services(struct worker *w)
{
    int error = start_dns(w);
    if (error == 0)
        error = start_copies(w);
    if (error == 0)
        error = start_relays(w);
    if (error == 0)
        error = targets_init(&w->targets, w->config, w->loop, &w->relays);
    if (error == 0)
        start_storage(w);
    return error;
}

/* ---- listeners ---- */

static int start_smtpd(struct worker *w, struct smtpd *d, const struct smtpd_conf *conf,
                       const struct worker_listener *listeners, size_t listener_count)
{
    struct route_directory directory = targets_directory(&w->targets);
    struct cf_problems problems;
    struct route_set *routes;
    size_t fd_count = 0;
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

static int start_smtpds(struct worker *w, const struct worker_listener *listeners,
                        size_t listener_count)
{
    w->smtpds = arena_alloc(&w->arena, w->config->smtpd_count * sizeof(struct smtpd));
    if (w->smtpds == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < w->config->smtpd_count; i++) {
        int error = start_smtpd(w, &w->smtpds[i], w->config->smtpds[i], listeners, listener_count);
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

static void end_if_quiet(struct worker *w)
{
    for (size_t i = 0; i < w->smtpd_count; i++)
        if (w->smtpds[i].connections != 0)
            return;
    w->is_quiet = true;
    targets_close(&w->targets);
    if (w->is_impatient)
        targets_abort(&w->targets);
    dns_free(&w->dns);
    storage_stop(&w->storage);
    deadline_clear(w->loop, &w->deadline);
    loop_stop(w->loop);
}

void worker_forget_session(struct worker *w)
{
    if (w->is_stopping)
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
    if (w->is_quiet)
        targets_abort(&w->targets);
}

static void on_deadline(struct deadline *d)
{
    hurry(CONTAINER_OF(d, struct worker, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void stop(struct worker *w)
{
    if (w->is_stopping) {
        hurry(w);
        return;
    }
    w->is_stopping = true;
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_stop(&w->smtpds[i]);
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
        log_put_text(&line, "reason", "workers = 0: restart to read the configuration anew");
        log_end(&line);
    } else {
        stop(w);
    }
}

/* ---- life ---- */

static void log_life(struct worker *w, const char *event)
{
    struct log_line line = log_begin(w->log, w->log_sinks, LOG_LEVEL_INFO, event);
    log_put_text(&line, "version", POSTERN_VERSION);
    log_put_number(&line, "pid", getpid());
    log_put(&line, "hostname", w->config->core.hostname);
    log_end(&line);
}

static int start(struct worker *w, const struct worker_listener *listeners, size_t listener_count)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

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
        error = start_smtpds(w, listeners, listener_count);
    for (size_t i = 0; error == 0 && i < ARRAY_LENGTH(signals); i++)
        error = loop_on_signal(w->loop, signals[i], on_signal, w);
    return error;
}

static void finish(struct worker *w)
{
    signal(SIGTERM, SIG_IGN); /* told once more while we end already */
    signal(SIGINT, SIG_IGN);
    for (size_t i = 0; i < w->smtpd_count; i++)
        smtpd_done(&w->smtpds[i]);
    targets_done(&w->targets);
    relay_memory_free(&w->relays.memory);
    log_life(w, "stop");
    log_free(&w->log);
    loop_free(&w->loop);
    arena_reset(&w->arena);
    pool_done(&w->pool);
}

int worker_run(const struct config *config, const struct worker_listener *listeners,
               size_t listener_count, void (*started)(void *owner), void *owner)
{
    struct worker w = {.config = config};

    pool_init(&w.pool, 4096, 4);
    arena_init(&w.arena, &w.pool, SIZE_MAX);
    int error = start(&w, listeners, listener_count);
    if (error != 0) {
        const char *text = error_text(error);
        fprintf(stderr, "postern: cannot start: %s\n", text != NULL ? text : strerror(-error));
        return error == ERR_SYNTAX ? EX_CONFIG : EX_OSERR;
    }
    log_life(&w, "start");
    started(owner);
    error = loop_run(w.loop);
    finish(&w);
    return error == 0 ? 0 : EX_SOFTWARE;
}
