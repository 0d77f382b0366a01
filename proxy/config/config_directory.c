/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of a configuration as routes know them, where no server runs. */
#include "proxy/config/config_directory.h"

#include "proxy/config/target_kinds.h"

/* ---- what is known ---- */

static struct config_known *find_known(const struct config_directory *d, struct bytes name)
{
    struct hash_entry *entry = hash_table_find(&d->by_name, name);
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct config_known, by_name);
}

static struct bytes lower_case(struct bytes host, uint8_t room[ADDRESS_DOMAIN_MAX])
{
    host = bytes_first(host, ADDRESS_DOMAIN_MAX);
    for (size_t i = 0; i < host.len; i++)
        room[i] = byte_lower(host.at[i]);
    return bytes_make(room, host.len);
}

/* Names of sections are kept as they are, hosts in lower case. */
struct config_known *config_directory_known(const struct config_directory *d, struct bytes word)
{
    uint8_t lower[ADDRESS_DOMAIN_MAX];
    struct config_known *known = find_known(d, word);
    return known != NULL ? known : find_known(d, lower_case(word, lower));
}

static struct target *add(struct config_directory *d, const struct target_kind *kind,
                          const void *conf, bool is_implicit)
{
    struct config_known *known = arena_alloc(d->arena, sizeof *known);
    if (known == NULL)
        return NULL;
    known->target = kind->describe(conf);
    known->is_implicit = is_implicit;
    if (hash_table_add(&d->by_name, &known->by_name, known->target.name) != 0)
        return NULL;
    return &known->target;
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
    struct config_directory *d = owner;
    struct config_target section = config_target(d->config, name);
    struct config_known *known = find_known(d, name);
    if (section.kind == NULL)
        return NULL;
    if (known != NULL)
        return &known->target;
    struct target *added = add(d, section.kind, section.conf, false);
    d->problems->has_no_memory |= added == NULL;
    return added;
}

static struct target *make_implicit(struct config_directory *d, struct bytes host)
{
    const struct target_kind *kind = config_directory_host_kind();
    struct bytes name;
    const void *conf;
    if (arena_copy(d->arena, host, &name) != 0 ||
        kind->make_implicit(name, d->config->core.hostname, d->arena, &conf) != 0)
        return NULL;
    return add(d, kind, conf, true);
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    struct config_directory *d = owner;
    uint8_t lower[ADDRESS_DOMAIN_MAX];
    struct bytes name = lower_case(host, lower);
    struct target *section = find_section(d, name);
    struct config_known *known = find_known(d, name);
    if (section != NULL || known != NULL)
        return section != NULL ? section : &known->target;
    struct target *made = make_implicit(d, name);
    d->problems->has_no_memory |= made == NULL;
    return made;
}

static void offer_sections(void *owner, struct cf_nearest *nearest)
{
    const struct config *config = ((struct config_directory *)owner)->config;
    for (size_t i = 0; i < config->target_count; i++)
        cf_nearest_offer(nearest, config->targets[i].name);
}

struct route_directory config_directory_routes(struct config_directory *d)
{
    return (struct route_directory){.owner = d,
                                    .find = find_section,
                                    .find_implicit = find_implicit,
                                    .expected = d->expected,
                                    .offer = offer_sections};
}

/* ---- life ---- */

static void describe_names(struct config_directory *d)
{
    struct buf text;
    buf_init(&text, d->arena->pool, 1024);
    buf_text(&text, "the name of a ");
    for (const struct target_kind *const *kind = target_kinds; *kind != NULL; kind++)
        buf_cat(&text,
                kind == target_kinds ? "["
                : kind[1] == NULL    ? " or ["
                                     : ", [",
                (*kind)->section->kind, "]", NULL);
    buf_text(&text, ", a host, an address, or a local name");
    if (text.has_failed || arena_copy(d->arena, buf_bytes(&text), &d->expected) != 0)
        d->problems->has_no_memory = true;
    buf_done(&text);
}

void config_directory_init(struct config_directory *d, const struct config *config,
                           struct hash_key secret, struct arena *arena,
                           struct cf_problems *problems)
{
    *d = (struct config_directory){.config = config, .arena = arena, .problems = problems};
    hash_table_init(&d->by_name, secret);
    describe_names(d);
}

void config_directory_done(struct config_directory *d)
{
    hash_table_done(&d->by_name);
}
