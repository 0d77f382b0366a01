/* SPDX-License-Identifier: BSD-2-Clause */
/* All targets of a configuration by name: what routes can lead to. */
#include "proxy/targets.h"

#include "proxy/base/error.h"
#include "proxy/config/config_directory.h"
#include "proxy/config/target_kinds.h"
#include "route/target_group.h"

/* A name and what bears it. */
struct named {
    struct hash_entry entry;
    struct target *target;
};

/* ---- life ---- */

static bool comes_before(const struct target_kind *a, const struct target_kind *b)
{
    const struct target_kind *const *kind = target_kinds;
    while (*kind != a && *kind != b)
        kind++;
    return a != b && *kind == a;
}

/* After the others of its kind. */
static int insert(struct targets *t, struct target *target)
{
    struct target **grown = mem_make_room(t->all, t->count, &t->capacity, sizeof(*grown));
    if (grown == NULL)
        return ERR_MEMORY;
    t->all = grown;
    size_t at = t->count++;
    for (; at > 0 && comes_before(target->kind, t->all[at - 1]->kind); at--)
        t->all[at] = t->all[at - 1];
    t->all[at] = target;
    return 0;
}

static int add_name(struct targets *t, struct target *target)
{
    struct named *named = arena_alloc(&t->arena, sizeof(*named));
    if (named == NULL)
        return ERR_MEMORY;
    named->target = target;
    return hash_table_add(&t->by_name, &named->entry, target->name);
}

static int open_target(struct targets *t, const struct target_kind *kind, const void *conf)
{
    struct target *target = target_group_open(kind, &t->services, conf);
    if (target == NULL)
        return ERR_MEMORY;
    if (insert(t, target) != 0) {
        target->ops->free(target);
        return ERR_MEMORY;
    }
    int error = add_name(t, target);
    for (size_t i = 0; error == 0 && i < target->member_count; i++)
        error = add_name(t, target->members[i]);
    return error;
}

int targets_init(struct targets *t, const struct config *config,
                 const struct target_services *services)
{
    *t = (struct targets){.config = config, .services = *services};
    pool_init(&t->pool, 4096, 4);
    arena_init(&t->arena, &t->pool, SIZE_MAX);
    hash_table_init(&t->by_name, loop_hash_key(services->loop));
    work_road_init(&t->services.road, services->loop, TARGET_JOBS_MAX);
    for (size_t i = 0; i < config->target_count; i++)
        if (open_target(t, config->targets[i].kind, config->targets[i].conf) != 0)
            return ERR_MEMORY;
    return 0;
}

void targets_close(struct targets *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->all[i]->ops->close != NULL)
            t->all[i]->ops->close(t->all[i]);
}

void targets_abort(struct targets *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->all[i]->ops->abort != NULL)
            t->all[i]->ops->abort(t->all[i]);
}

void targets_done(struct targets *t)
{
    for (size_t i = 0; i < t->count; i++)
        t->all[i]->ops->free(t->all[i]);
    mem_free(t->all);
    hash_table_done(&t->by_name);
    arena_reset(&t->arena);
    pool_done(&t->pool);
}

/* ---- by name ---- */

struct target *targets_find(const struct targets *t, struct bytes name)
{
    struct hash_entry *found = hash_table_find(&t->by_name, name);
    return found == NULL ? NULL : CONTAINER_OF(found, struct named, entry)->target;
}

static struct target *find_section(void *owner, struct bytes name)
{
    const struct targets *t = owner;
    return config_target(t->config, name).kind == NULL ? NULL : targets_find(t, name);
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
    struct target *known = targets_find(t, name);
    const struct target_kind *kind = config_directory_host_kind();
    const void *conf;
    if (known != NULL)
        return known;
    if (kind->make_implicit(name, t->config->core.hostname, &t->arena, &conf) != 0 ||
        open_target(t, kind, conf) != 0)
        return NULL;
    return targets_find(t, name);
}

struct route_directory targets_directory(struct targets *t)
{
    return (struct route_directory){
        .owner = t, .find = find_section, .find_implicit = find_implicit};
}
