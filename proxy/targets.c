/* SPDX-License-Identifier: BSD-2-Clause */
/* All targets of a configuration by name: what routes can lead to. */
#include "proxy/targets.h"

#include "proxy/base/error.h"

/* A name and what bears it. */
struct named {
    struct hash_entry entry;
    struct target *target;
    struct relay *relay; /* NULL: a maildir */
};

static int add(struct targets *t, struct target *target, struct relay *relay)
{
    struct named *named = arena_alloc(&t->arena, sizeof(*named));
    if (named == NULL)
        return ERR_MEMORY;
    named->target = target;
    named->relay = relay;
    return hash_table_add(&t->by_name, &named->entry, target->name);
}

static int add_relay(struct targets *t, const struct relay_conf *conf)
{
    struct relay **grown =
        mem_make_room(t->relays, t->relay_count, &t->relay_capacity, sizeof(*grown));
    if (grown == NULL)
        return ERR_MEMORY;
    t->relays = grown;
    struct relay *relay = relay_new(t->service, conf);
    if (relay == NULL)
        return ERR_MEMORY;
    t->relays[t->relay_count++] = relay;
    return add(t, relay_target(relay), relay);
}

static int add_maildirs(struct targets *t)
{
    const struct config *config = t->config;

    t->maildir_service = (struct maildir_service){.loop = t->loop,
                                                  .log = t->service->log,
                                                  .log_sinks = t->service->log_sinks,
                                                  .hostname = config->core.hostname};
    work_road_init(&t->maildir_service.road, t->loop, MAILDIR_JOBS_MAX);
    t->maildirs = arena_alloc(&t->arena, (config->maildir_count + 1) * sizeof(struct maildir *));
    if (t->maildirs == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < config->maildir_count; i++) {
        struct maildir *maildir = maildir_new(&t->maildir_service, config->maildirs[i]);
        if (maildir == NULL)
            return ERR_MEMORY;
        t->maildirs[t->maildir_count++] = maildir;
        if (add(t, maildir_target(maildir), NULL) != 0)
            return ERR_MEMORY;
    }
    return 0;
}

int targets_init(struct targets *t, const struct config *config, struct loop *loop,
                 struct relay_service *service)
{
    *t = (struct targets){.config = config, .loop = loop, .service = service};
    pool_init(&t->pool, 4096, 4);
    arena_init(&t->arena, &t->pool, SIZE_MAX);
    hash_table_init(&t->by_name, loop_hash_key(loop));
    for (size_t i = 0; i < config->relay_count; i++)
        if (add_relay(t, config->relays[i]) != 0)
            return ERR_MEMORY;
    return add_maildirs(t);
}

void targets_close(struct targets *t)
{
    for (size_t i = 0; i < t->relay_count; i++)
        relay_close(t->relays[i]);
}

void targets_abort(struct targets *t)
{
    for (size_t i = 0; i < t->relay_count; i++)
        relay_abort(t->relays[i]);
}

void targets_done(struct targets *t)
{
    for (size_t i = 0; i < t->relay_count; i++)
        relay_free(&t->relays[i]);
    for (size_t i = 0; i < t->maildir_count; i++)
        maildir_free(&t->maildirs[i]);
    mem_free(t->relays);
    hash_table_done(&t->by_name);
    arena_reset(&t->arena);
    pool_done(&t->pool);
}

static struct target *find(void *owner, struct bytes name)
{
    struct targets *t = owner;
    struct hash_entry *found = hash_table_find(&t->by_name, name);
    return found == NULL ? NULL : CONTAINER_OF(found, struct named, entry)->target;
}

/* Host names are the same in any case; a section's name is not. */
static struct bytes lower(struct targets *t, struct bytes host)
{
    uint8_t *text = arena_alloc(&t->arena, host.len);
    if (text == NULL)
        return host;
    for (size_t i = 0; i < host.len; i++)
        text[i] = byte_lower(host.at[i]);
    return bytes_make(text, host.len);
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    struct targets *t = owner;
    struct bytes name = lower(t, host);
    struct target *known = find(t, name);
    if (known != NULL)
        return known;
    struct relay_conf *conf = arena_alloc(&t->arena, sizeof(*conf));
    if (conf == NULL || relay_conf_implicit(name, t->config->core.hostname, &t->arena, conf) != 0 ||
        add_relay(t, conf) != 0)
        return NULL;
    return find(t, name);
}

struct route_directory targets_directory(struct targets *t)
{
    return (struct route_directory){.owner = t, .find = find, .find_implicit = find_implicit};
}

struct relay *targets_relay(const struct targets *t, const struct target *target)
{
    struct hash_entry *found = hash_table_find(&t->by_name, target->name);
    return found == NULL ? NULL : CONTAINER_OF(found, struct named, entry)->relay;
}
