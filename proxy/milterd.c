/* SPDX-License-Identifier: BSD-2-Clause */
/* One socket of postern-milter: its loop, from the start to the end. */
#include "proxy/milterd.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/milterd_client.h"
#include "proxy/milterd_mta.h"
#include "proxy/base/version.h"

/* ---- stopping ---- */

/* Threads that come later find the crossing closed, and tell their mail servers to try later. */
static void end(struct milterd *d)
{
    if (d->is_ended)
        return;
    d->is_ended = true;
    milterd_clients_free(d);
    crossing_close(d->crossing);
    loop_unpost(d->services.loop, &d->ending);
    deadline_clear(d->services.loop, &d->deadline);
    filters_close(&d->services.filters);
    dns_free(&d->services.dns);
    loop_stop(d->services.loop);
}

static void end_if_quiet(void *owner)
{
    struct milterd *d = owner;

    if (d->message_count == 0)
        end(d);
}

/* Whoever tells us may be in the middle of a client that ends with us. */
static void on_message_over(struct milterd *d)
{
    if (d->is_stopping && !d->is_ended)
        loop_post(d->services.loop, &d->ending, end_if_quiet, d);
}

static void on_deadline(struct deadline *deadline)
{
    end(CONTAINER_OF(deadline, struct milterd, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* Connections are taken until the process ends, and told to try later. */
static void stop(struct milterd *d)
{
    d->is_stopping = true;
    deadline_set(d->services.loop, &d->deadline,
                 loop_now_ms(d->services.loop) + d->services.config->core.shutdown_ms);
    end_if_quiet(d);
}

static void on_signal(void *owner, int number)
{
    struct milterd *d = owner;

    if (number == SIGUSR1)
        log_reopen(d->services.log);
    else if (number == SIGHUP)
        ;
    else if (d->is_stopping)
        end(d);
    else
        stop(d);
}

/* ---- calls ---- */

/* The library gives up for a reason that only its own log knows. */
static void take_over(struct milterd *d, struct milterd_call *call)
{
    crossing_answer(d->crossing, &call->crossing);
    if (!d->is_stopping)
        d->exit_code = EX_SOFTWARE;
    end(d);
}

static void on_call(void *owner, struct crossing_call *crossing_call)
{
    struct milterd *d = owner;
    struct milterd_call *call = CONTAINER_OF(crossing_call, struct milterd_call, crossing);

    if (call->event == MILTERD_OVER)
        take_over(d, call);
    else
        milterd_client_take(d, call);
}

/* ---- life ---- */

static void log_life(struct milterd *d, const char *event)
{
    struct log_line line = log_begin(d->services.log, d->services.log_sinks, LOG_LEVEL_INFO, event);

    log_put_text(&line, "version", POSTERN_VERSION);
    log_put_text(&line, "role", "milter");
    log_put(&line, "server", d->conf->section);
    log_put(&line, "listen", d->listen);
    log_put_number(&line, "pid", getpid());
    log_put(&line, "hostname", d->services.config->core.hostname);
    log_end(&line);
}

/* Content is kept in memory until filters have read it. */
static int start_copies(struct services *s)
{
    const struct core_conf *core = &s->config->core;

    s->copies = (struct copy_limits){.memory_max_bytes = core->max_memory_bytes,
                                     .memory_each_bytes = core->copy_memory_bytes};
    return copy_limits_init(&s->copies, s->loop);
}

static int start_filters(struct milterd *d)
{
    struct services *s = &d->services;
    int error = start_copies(s);

    if (error == 0)
        error = filters_chain(&s->filters, &d->conf->chosen, &d->chain);
    if (error != 0)
        return error;
    d->names = arena_alloc(&s->arena, (d->chain.name_count + 1) * sizeof(*d->names));
    if (d->names == NULL)
        return ERR_MEMORY;
    chain_names(&d->chain, d->names);
    return 0;
}

static int start(struct milterd *d)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    int error = services_begin(&d->services);

    if (error == 0)
        error = start_filters(d);
    if (error == 0)
        d->crossing = crossing_new(d->services.loop, on_call, d, &error);
    for (size_t i = 0; error == 0 && i < ARRAY_LENGTH(signals); i++)
        error = loop_on_signal(d->services.loop, signals[i], on_signal, d);
    return error;
}

static int complain(int error)
{
    const char *text = error_text(error);

    fprintf(stderr, "postern-milter: cannot start: %s\n", text != NULL ? text : strerror(-error));
    return error == ERR_SYNTAX ? EX_CONFIG : EX_OSERR;
}

static int serve(struct milterd *d)
{
    int error = milterd_mta_start(d->crossing);

    if (error != 0)
        return complain(error);
    log_life(d, "start");
    log_flush(d->services.log); /* before anybody acts on it */
    loop_run(d->services.loop);
    log_life(d, "stop");
    return d->exit_code;
}

/* The crossing stays if the library has threads: these are there until the process ends. */
static void finish(struct milterd *d)
{
    if (!d->is_ended) { /* it could not begin to serve */
        end(d);
        loop_run(d->services.loop);
        crossing_free(&d->crossing);
    }
    copy_limits_done(&d->services.copies);
    services_end(&d->services);
}

int milterd_run(const struct config *config, const struct milter_server_conf *conf,
                struct bytes listen)
{
    struct milterd d = {.conf = conf,
                        .listen = listen,
                        .services = {.config = config, .process = conf->section},
                        .message_over = on_message_over};

    list_init(&d.clients);
    deadline_init(&d.deadline, &deadline_use);
    int error = start(&d);
    if (error != 0)
        return complain(error);
    int code = milterd_mta_open(listen, conf->socket_mode, &d.chain);
    if (code == 0)
        code = serve(&d);
    finish(&d);
    return code;
}
