/* SPDX-License-Identifier: BSD-2-Clause */
/* Keeps the sections of a configuration while it is read, and finds them by name. */
#include "proxy/config/config_private.h"

#include <sys/random.h>

#include "proxy/base/error.h"
#include "proxy/config/filter_kinds.h"
#include "proxy/config/target_kinds.h"

/* The kinds of targets follow these, the kinds of filters, and then [route]. */
static const struct setting_section *const first_kinds[] = {
    &config_core_section, &config_core_syslog, &config_core_logfile, &smtpd_conf_section,
    &milter_server_section};

/* "KIND" NUL "NAME": the key by which sections are found. */
struct section_key {
    uint8_t text[CONFIG_NAME_MAX + 32];
    size_t len;
};

static struct bytes make_key(struct section_key *key, const struct setting_section *kind,
                             struct bytes name)
{
    key->len = strlen(kind->kind) + 1;
    memcpy(key->text, kind->kind, key->len);
    if (name.len > 0)
        memcpy(key->text + key->len, name.at, name.len);
    return bytes_make(key->text, key->len + name.len);
}

const struct setting_section *config_builder_each_kind(size_t index)
{
    const struct target_kind *const *target = target_kinds;
    const struct filter_kind *const *filter = filter_kinds;
    if (index < ARRAY_LENGTH(first_kinds))
        return first_kinds[index];
    index -= ARRAY_LENGTH(first_kinds);
    for (; *target != NULL && index > 0; target++)
        index--;
    if (*target != NULL)
        return (*target)->section;
    for (; *filter != NULL && index > 0; filter++)
        index--;
    if (*filter != NULL)
        return (*filter)->section;
    return index == 0 ? &route_source_section : NULL;
}

const struct setting_section *config_builder_kind(struct bytes kind)
{
    const struct setting_section *section;
    for (size_t i = 0; (section = config_builder_each_kind(i)) != NULL; i++)
        if (bytes_is(kind, section->kind))
            return section;
    return NULL;
}

const struct target_kind *config_builder_target_kind(const struct setting_section *section)
{
    const struct target_kind *const *kind = target_kinds;
    while (*kind != NULL && (*kind)->section != section)
        kind++;
    return *kind;
}

struct config_section *config_builder_find(const struct config *config,
                                           const struct setting_section *kind, struct bytes name)
{
    struct section_key key;
    if (name.len > CONFIG_NAME_MAX)
        return NULL;
    struct hash_entry *entry =
        hash_table_find(&config->builder->by_name, make_key(&key, kind, name));
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct config_section, by_name);
}

/* NULL: the name is fine. */
static const char *wrong_name(const struct setting_section *kind, struct bytes name)
{
    bool is_target = config_builder_target_kind(kind) != NULL;
    if (name.len > CONFIG_NAME_MAX)
        return "a name of at most 255 octets";
    if (name.len == 0 && kind->is_named && kind != &route_source_section)
        return "a name that is not empty";
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] < 0x20 || name.at[i] == 0x7F)
            return "a name without control characters";
    if (kind == &config_core_logfile &&
        (bytes_is(name, "stderr") || bytes_is(name, "syslog") || bytes_is(name, "journal")))
        return "a name that is not the name of a logger";
    if (is_target &&
        (bytes_is(name, "reject") || bytes_is(name, "defer") || bytes_is(name, "discard")))
        return "a name that means nothing else in a route";
    if (is_target && name.len > 0 && (bytes_find(name, '@') < name.len || name.at[0] == '|'))
        return "a name that is no address and no command";
    return NULL;
}

static void *conf_of(struct config *config, const struct setting_section *kind)
{
    if (kind == &config_core_section)
        return &config->core;
    if (kind == &config_core_syslog)
        return &config->syslog;
    return arena_alloc(&config->arena, kind->conf_bytes);
}

static int begin_section(struct config *config, const struct setting_section *kind,
                         struct bytes name, struct cf_place place,
                         struct config_section **section_out)
{
    struct config_builder *builder = config->builder;
    struct config_section *section = arena_alloc(&config->arena, sizeof *section);
    struct section_key key;
    struct bytes kept;
    if (section == NULL)
        return ERR_MEMORY;
    section->kind = kind;
    section->place = place;
    section->conf = conf_of(config, kind);
    section->values = arena_alloc(&config->arena, kind->row_count * sizeof *section->values);
    if (section->conf == NULL || section->values == NULL ||
        arena_copy(&config->arena, make_key(&key, kind, name), &kept) != 0 ||
        hash_table_add(&builder->by_name, &section->by_name, kept) != 0)
        return ERR_MEMORY;
    section->name = bytes_skip(kept, key.len);
    if (kind->is_named)
        memcpy((char *)section->conf + kind->name_offset, &section->name, sizeof section->name);
    if (builder->last == NULL)
        builder->first = section;
    else
        builder->last->next = section;
    builder->last = section;
    *section_out = section;
    return 0;
}

int config_builder_section(struct config *config, const struct setting_section *kind,
                           struct bytes name, struct cf_place place,
                           struct config_section **section_out)
{
    const char *expected = wrong_name(kind, name);
    *section_out = NULL;
    if (expected != NULL) {
        cf_error(&config->problems, place, name, bytes_of(expected), bytes_make(NULL, 0));
        return 0;
    }
    struct config_section *section = config_builder_find(config, kind, name);
    if (section == NULL)
        return begin_section(config, kind, name, place, section_out);
    if (section->place.line == 0)
        section->place = place;
    *section_out = section;
    return 0;
}

int config_builder_init(struct config *config)
{
    struct config_builder *builder = arena_alloc(&config->arena, sizeof *builder);
    struct config_section *section;
    struct hash_key secret;
    struct cf_place nowhere = {.file = "default"};
    if (builder == NULL)
        return ERR_MEMORY;
    if (getrandom(&secret, sizeof secret, 0) != sizeof secret)
        memset(&secret, 0, sizeof secret);
    hash_table_init(&builder->by_name, secret);
    config->builder = builder;
    int error = begin_section(config, &config_core_section, bytes_make(NULL, 0), nowhere, &section);
    if (error == 0)
        error = begin_section(config, &config_core_syslog, bytes_make(NULL, 0), nowhere, &section);
    if (error == 0)
        error =
            begin_section(config, &route_source_section, bytes_make(NULL, 0), nowhere, &section);
    return error;
}

static const struct config_values *values_of(const struct config_section *section, const char *key)
{
    const struct setting *row = setting_find(section->kind, bytes_of(key));
    return row == NULL ? NULL : &section->values[row - section->kind->rows];
}

bool config_builder_is_given(const struct config_section *section, const char *key)
{
    const struct config_values *values = values_of(section, key);
    return values != NULL && values->is_given;
}

struct cf_place config_builder_place(const struct config_section *section, const char *key,
                                     size_t index)
{
    const struct config_values *values = values_of(section, key);
    const struct config_value *value = values == NULL ? NULL : values->first;
    while (value != NULL && index-- > 0)
        value = value->next;
    return value == NULL ? section->place : value->place;
}

/* ---- arrays ---- */

static size_t count_kind(const struct config *config, const struct setting_section *kind)
{
    size_t count = 0;
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next)
        count += section->kind == kind;
    return count;
}

/* An array of pointers to the structs of all sections of this kind. */
static int collect(struct config *config, const struct setting_section *kind, void ***array_out,
                   size_t *count_out)
{
    size_t count = count_kind(config, kind);
    void **array = arena_alloc(&config->arena, (count + 1) * sizeof *array);
    if (array == NULL)
        return ERR_MEMORY;
    *array_out = array;
    *count_out = count;
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next)
        if (section->kind == kind)
            *array++ = section->conf;
    return 0;
}

static int collect_targets(struct config *config)
{
    size_t count = 0;
    for (const struct target_kind *const *kind = target_kinds; *kind != NULL; kind++)
        count += count_kind(config, (*kind)->section);
    struct config_target *target = arena_alloc(&config->arena, (count + 1) * sizeof *target);
    if (target == NULL)
        return ERR_MEMORY;
    config->targets = target;
    config->target_count = count;
    for (const struct target_kind *const *kind = target_kinds; *kind != NULL; kind++)
        for (struct config_section *section = config->builder->first; section != NULL;
             section = section->next)
            if (section->kind == (*kind)->section)
                *target++ = (struct config_target){
                    .kind = *kind, .name = section->name, .conf = section->conf};
    return 0;
}

int config_builder_arrays(struct config *config)
{
    void **array;
    int error = collect(config, &config_core_logfile, &array, &config->logfile_count);
    if (error != 0)
        return error;
    config->logfiles = (struct logfile_conf **)array;
    error = collect(config, &smtpd_conf_section, &array, &config->smtpd_count);
    if (error != 0)
        return error;
    config->smtpds = (struct smtpd_conf **)array;
    error = collect(config, &milter_server_section, &array, &config->milter_server_count);
    if (error != 0)
        return error;
    config->milter_servers = (struct milter_server_conf **)array;
    error = collect_targets(config);
    if (error != 0)
        return error;
    error = collect(config, &route_source_section, &array, &config->route_count);
    if (error == 0)
        config->routes = (struct route_source **)array;
    return error;
}

/* ---- sections by name ---- */

static const void *find_conf(const struct config *config, const struct setting_section *kind,
                             struct bytes name)
{
    const struct config_section *section = config_builder_find(config, kind, name);
    return section == NULL ? NULL : section->conf;
}

const struct smtpd_conf *config_smtpd(const struct config *config, struct bytes name)
{
    return find_conf(config, &smtpd_conf_section, name);
}

const struct config_section *config_builder_find_target(const struct config *config,
                                                        struct bytes name)
{
    const struct config_section *section = NULL;
    for (const struct target_kind *const *kind = target_kinds; section == NULL && *kind != NULL;
         kind++)
        section = config_builder_find(config, (*kind)->section, name);
    return section;
}

struct config_target config_target(const struct config *config, struct bytes name)
{
    const struct config_section *section = config_builder_find_target(config, name);
    if (section == NULL)
        return (struct config_target){.kind = NULL};
    return (struct config_target){.kind = config_builder_target_kind(section->kind),
                                  .name = section->name,
                                  .conf = section->conf};
}

const struct logfile_conf *config_logfile(const struct config *config, struct bytes name)
{
    return find_conf(config, &config_core_logfile, name);
}
