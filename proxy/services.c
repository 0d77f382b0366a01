/* SPDX-License-Identifier: BSD-2-Clause */
/* What everything on one loop shares. */
#include "proxy/services.h"

#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/logging.h"
#include "proxy/shared_target.h"
#include "route/relay/relay_memory.h"
#include "spool/spool_format.h"

/* One of the logs cannot be opened. Says which. */
static void name_bad_log(struct services *s, int count)
{
    int error;

    for (int i = 0; i < count; i++) {
        struct log *alone = log_new(s->loop, &s->sinks[i], 1, false, &error);
        if (alone == NULL)
            fprintf(stderr, "postern: cannot open log file %.*s\n",
                    (int)s->sinks[i].file_pattern.len, (const char *)s->sinks[i].file_pattern.at);
        log_free(&alone);
    }
}

static int start_log(struct services *s)
{
    int error, count = logging_sinks(s->config, s->sinks);
    if (count < 0)
        return count;
    s->log = log_new(s->loop, s->sinks, count, s->config->core.log_format == CORE_LOG_JSON, &error);
    if (s->log == NULL) {
        name_bad_log(s, count);
        return error;
    }
    log_name(s->log, s->process);
    s->log_sinks = logging_mask(s->config, bytes_make(NULL, 0));
    return 0;
}

static int start_dns(struct services *s)
{
    const struct setting_addresses *resolvers = &s->config->core.resolvers;
    char text[NETADDR_TEXT_MAX];
    struct bytes *servers = arena_alloc(&s->arena, (resolvers->count + 1) * sizeof(*servers));
    int error = servers == NULL ? ERR_MEMORY : 0;

    for (size_t i = 0; error == 0 && i < resolvers->count; i++) {
        struct netaddr server = resolvers->at[i];
        if (server.port == 0)
            server.port = 53;
        error = arena_copy(&s->arena, bytes_of(netaddr_text_with_port(&server, text)), &servers[i]);
    }
    if (error == 0)
        s->dns = dns_new(s->loop, servers, (int)resolvers->count, &error);
    return error;
}

static int start_store(struct services *s)
{
    struct bytes name = s->config->core.spool_directory;
    int error = 0;

    s->store = store_open(s->loop, name, s->store_limits, &error);
    if (error != 0)
        fprintf(stderr, "postern: cannot open spool directory %.*s\n", (int)name.len,
                (const char *)name.at);
    return error;
}

static int start_copies(struct services *s)
{
    const struct core_conf *core = &s->config->core;
    uint32_t shares = s->is_alone || core->workers == 0 ? 1 : core->workers;

    s->copies = (struct copy_limits){
        .memory_max_bytes = core->max_memory_bytes / shares,
        .memory_each_bytes = core->copy_memory_bytes,
        .files_max_bytes = core->max_copies_bytes / shares,
        .drafts = store_drafts(s->store),
        .head_bytes = SPOOL_HEAD_BYTES,
    };
    return copy_limits_init(&s->copies, s->loop);
}

/* The limits of targets hold for all processes together. */
static bool share_targets(struct services *s)
{
    struct relay_sharing *sharing = arena_alloc(&s->arena, sizeof(*sharing));
    if (sharing == NULL)
        return false;
    *sharing = shared_target_sharing(s->shared, s->runs_queue);
    s->relays.sharing = sharing;
    return true;
}

/* Relays get our own listeners' addresses, so that none of them connects to ourselves. */
static int start_relays(struct services *s)
{
    const struct config *config = s->config;
    size_t count = 0;
    int error = 0;

    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->listeners.count;
    struct netaddr *own = arena_alloc(&s->arena, (count + 1) * sizeof(*own));
    if (own == NULL)
        return ERR_MEMORY;
    s->relays = (struct relay_service){
        .loop = s->loop,
        .dns = s->dns,
        .log = s->log,
        .log_sinks = s->log_sinks,
        .own_listeners = own,
        .own_listener_count = (int)count,
    };
    if (s->shared != NULL && !share_targets(s))
        return ERR_MEMORY;
    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t j = 0; j < config->smtpds[i]->listeners.count; j++)
            *own++ = config->smtpds[i]->listeners.at[j];
    s->relays.memory = relay_memory_new(s->loop, s->log, s->log_sinks, config->core.spool_directory,
                                        s->runs_queue, &error);
    return error;
}

/* Each target with filters of its own gets their chain. */
static int start_chains(struct services *s)
{
    const struct config *config = s->config;

    for (size_t i = 0; i < config->target_count; i++) {
        const struct config_target *configured = &config->targets[i];
        if (configured->filters.count == 0)
            continue;
        struct chain *chain = arena_alloc(&s->arena, sizeof(*chain));
        int error =
            chain == NULL ? ERR_MEMORY : filters_chain(&s->filters, &configured->filters, chain);
        if (error != 0)
            return error;
        struct target *target = targets_find(&s->targets, configured->name);
        target->chain = chain;
        for (size_t j = 0; j < target->member_count; j++)
            target->members[j]->chain = chain;
    }
    return 0;
}

static int start_targets(struct services *s)
{
    const struct target_services services = {
        .loop = s->loop, .log = s->log, .log_sinks = s->log_sinks, .relays = &s->relays};

    return targets_init(&s->targets, s->config, &services);
}

static void start_storage(struct services *s)
{
    s->storage = (struct storage){
        .loop = s->loop,
        .log = s->log,
        .log_sinks = s->log_sinks,
        .directory = store_directory(s->store),
        .reserve_bytes = s->config->core.spool_reserve_bytes,
    };
    storage_start(&s->storage);
}

/* Only who serves clients asks filters. */
static void begin_filters(struct services *s)
{
    bool serves = !s->is_cold && (s->is_alone || !s->runs_queue);
    const struct filter_services services = {
        .loop = s->loop, .log = s->log, .log_sinks = s->log_sinks, .dns = s->dns};

    if (serves)
        filters_init(&s->filters, &services, &s->arena);
}

int services_begin(struct services *s)
{
    pool_init(&s->pool, 4096, 4);
    arena_init(&s->arena, &s->pool, SIZE_MAX);
    s->ids.process = (uint32_t)getpid();
    s->loop = loop_new();
    if (s->loop == NULL)
        return ERR_MEMORY;
    int error = start_log(s);
    if (error != 0) { /* operators may well get this wrong; nothing else hangs on the loop yet */
        loop_free(&s->loop);
        return error;
    }
    error = start_dns(s);
    if (error == 0)
        begin_filters(s);
    return error;
}

int services_start(struct services *s)
{
    int error = services_begin(s);

    if (error == 0)
        error = start_store(s);
    if (error == 0)
        error = start_copies(s);
    if (error == 0)
        error = start_relays(s);
    if (error == 0)
        error = start_targets(s);
    if (error == 0)
        error = start_chains(s);
    if (error == 0)
        start_storage(s);
    return error;
}

void services_close(struct services *s)
{
    filters_close(&s->filters);
    targets_close(&s->targets);
    dns_free(&s->dns);
    storage_stop(&s->storage);
    relay_memory_close(s->relays.memory);
    store_close(s->store);
}

void services_done(struct services *s)
{
    targets_done(&s->targets);
    copy_limits_done(&s->copies);
    store_free(&s->store);
    relay_memory_free(&s->relays.memory);
    services_end(s);
}

void services_end(struct services *s)
{
    filters_done(&s->filters);
    log_free(&s->log);
    loop_free(&s->loop);
    arena_reset(&s->arena);
    pool_done(&s->pool);
}

struct id services_next_id(struct services *s)
{
    return id_next(&s->ids, (uint64_t)loop_wall_ms(s->loop));
}

struct route_set *services_find_routes(const struct services *s, struct bytes listener)
{
    return s->find_routes(s->routes_owner, listener);
}
