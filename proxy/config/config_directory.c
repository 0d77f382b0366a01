/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of a configuration as routes see them while no server runs. */
#include "proxy/config/config_directory.h"

#include "proxy/config/target_kinds.h"
#include "route/target_group.h"

/* ---- what is known ---- */

static struct config_known *find_known(const struct config_directory *directory, struct bytes name)
{
    struct hash_entry *entry = hash_table_find(&directory->by_name, name);
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct config_known, by_name);
}

static struct bytes lower_case(struct bytes host, uint8_t room[ADDRESS_DOMAIN_MAX])
{
    host = bytes_first(host, ADDRESS_DOMAIN_MAX);
    for (size_t i = 0; i < host.len; i++)
        room[i] = byte_lower(host.at[i]);
    return bytes_make(room, host.len);
}

/* Sections are known by their names as written, hosts in lower case. */
struct config_known *config_directory_known(const struct config_directory *directory,
                                            struct bytes word)
{
    uint8_t lower[ADDRESS_DOMAIN_MAX];
    struct config_known *known = find_known(directory, word);
    return known != NULL ? known : find_known(directory, lower_case(word, lower));
}

static struct config_known *add(struct config_directory *directory, const struct target_kind *kind,
                                const void *conf)
{
    struct config_known *known = arena_alloc(directory->arena, sizeof *known);
    if (known == NULL)
        return NULL;
    known->target = target_group_describe(kind, conf, directory->arena);
    if (known->target == NULL ||
        hash_table_add(&directory->by_name, &known->by_name, known->target->name) != 0)
        return NULL;
    return known;
}

/* ---- for routes ---- */

const struct target_kind *config_directory_host_kind(void)
{
    const struct target_kind *const *kind = target_kinds;
    while ((*kind)->make_implicit == NULL)
        kind++;
    return *kind;
}

static struct target *find_section(void *owner, struct bytes name)
{
    struct config_directory *directory = owner;
    struct config_target section = config_target(directory->config, name);
    struct config_known *known = find_known(directory, name);
    if (section.kind == NULL)
        return NULL;
    if (known != NULL)
        return known->target;
    known = add(directory, section.kind, section.conf);
    directory->problems->has_no_memory |= known == NULL;
    return known == NULL ? NULL : known->target;
}

static struct target *make_implicit(struct config_directory *directory, struct bytes host)
{
    const struct target_kind *kind = config_directory_host_kind();
    struct bytes name;
    const void *conf;
    if (arena_copy(directory->arena, host, &name) != 0 ||
        kind->make_implicit(name, directory->config->core.hostname, directory->arena, &conf) != 0)
        return NULL;
    struct config_known *known = add(directory, kind, conf);
    if (known == NULL)
        return NULL;
    known->is_implicit = true;
    return known->target;
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    struct config_directory *directory = owner;
    uint8_t lower[ADDRESS_DOMAIN_MAX];
    struct bytes name = lower_case(host, lower);
    struct target *section = find_section(directory, name);
    struct config_known *known = find_known(directory, name);
    if (section != NULL || known != NULL)
        return section != NULL ? section : known->target;
    struct target *made = make_implicit(directory, name);
    directory->problems->has_no_memory |= made == NULL;
    return made;
}

static void offer_sections(void *owner, struct cf_nearest *nearest)
{
    const struct config *config = ((struct config_directory *)owner)->config;
    for (size_t i = 0; i < config->target_count; i++)
        cf_nearest_offer(nearest, config->targets[i].name);
}

struct route_directory config_directory_routes(struct config_directory *directory)
{
    return (struct route_directory){.owner = directory,
                                    .find = find_section,
                                    .find_implicit = find_implicit,
                                    .expected = directory->expected,
                                    .offer = offer_sections};
}

/* ---- life ---- */

static void describe_names(struct config_directory *directory)
{
    struct buf text;
    buf_init(&text, directory->arena->pool, 1024);
    buf_text(&text, "the name of a ");
    for (const struct target_kind *const *kind = target_kinds; *kind != NULL; kind++)
        buf_cat(&text,
                kind == target_kinds ? "["
                : kind[1] == NULL    ? " or ["
                                     : ", [",
                (*kind)->section->kind, "]", NULL);
    buf_text(&text, ", a host, an address, or a local name");
    if (text.has_failed ||
        arena_copy(directory->arena, buf_bytes(&text), &directory->expected) != 0)
        directory->problems->has_no_memory = true;
    buf_done(&text);
}

void config_directory_init(struct config_directory *directory, const struct config *config,
                           struct hash_key secret, struct arena *arena,
                           struct cf_problems *problems)
{
    *directory = (struct config_directory){.config = config, .arena = arena, .problems = problems};
    hash_table_init(&directory->by_name, secret);
    describe_names(directory);
}

void config_directory_done(struct config_directory *directory)
{
    hash_table_done(&directory->by_name);
}
