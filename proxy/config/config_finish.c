/* SPDX-License-Identifier: BSD-2-Clause */
/* Fills in defaults, and checks what must fit together. */
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/config/config_private.h"
#include "proxy/config/target_kinds.h"

static int set_defaults(struct config *config, struct config_section *section)
{
    for (size_t i = 0; i < section->kind->row_count; i++) {
        if (section->values[i].first != NULL)
            continue;
        int error = setting_default(&section->kind->rows[i], section->conf, &config->arena);
        if (error != 0)
            return error;
    }
    return 0;
}

/* `[smtpd "joe"] needs a listen-port` */
static void report_missing(struct config *config, const struct config_section *section,
                           const char *what)
{
    char before[32], after[64];
    snprintf(before, sizeof before, "[%s ", section->kind->kind);
    snprintf(after, sizeof after, "] needs %s", what);
    cf_fault(&config->problems, section->place,
             cf_phrase(&config->problems, before, section->name, after));
}

static bool is_logger(const struct config *config, struct bytes name)
{
    return bytes_is(name, "stderr") || bytes_is(name, "syslog") || bytes_is(name, "journal") ||
           config_logfile(config, name) != NULL;
}

static struct bytes nearest_section(const struct config *config, const struct setting_section *kind,
                                    struct bytes name, const char *const *others)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    for (; others != NULL && *others != NULL; others++)
        cf_nearest_offer(&nearest, bytes_of(*others));
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next)
        if (section->kind == kind)
            cf_nearest_offer(&nearest, section->name);
    return cf_nearest_name(&nearest);
}

static void check_logger(struct config *config, const struct config_section *section,
                         struct bytes name, size_t index)
{
    static const char *const loggers[] = {"stderr", "syslog", "journal", NULL};
    if (!is_logger(config, name))
        cf_error(&config->problems, config_builder_place(section, "logger", index), name,
                 bytes_of("stderr, syslog, journal or the name of a [logfile]"),
                 nearest_section(config, &config_core_logfile, name, loggers));
}

/* ---- [smtpd] ---- */

/* "N:25" */
static int default_listen_port(struct config *config, struct smtpd_conf *smtpd)
{
    static const char port[] = ":25";
    size_t len = smtpd->section.len;
    uint8_t *text = arena_alloc(&config->arena, len + sizeof port - 1);
    struct bytes *list = arena_alloc(&config->arena, sizeof *list);
    if (text == NULL || list == NULL)
        return ERR_MEMORY;
    memcpy(text, smtpd->section.at, len);
    memcpy(text + len, port, sizeof port - 1);
    *list = bytes_make(text, len + sizeof port - 1);
    smtpd->listen_ports = (struct setting_texts){.at = list, .count = 1};
    return 0;
}

static int find_tables(struct config *config, const struct config_section *section,
                       struct smtpd_conf *smtpd)
{
    struct route_source **tables = arena_alloc(&config->arena, (smtpd->routing_tables.count + 1) *
                                                                   sizeof(struct route_source *));
    if (tables == NULL)
        return ERR_MEMORY;
    smtpd->tables = tables;
    for (size_t i = 0; i < smtpd->routing_tables.count; i++) {
        struct bytes name = smtpd->routing_tables.at[i];
        struct config_section *table = config_builder_find(config, &route_source_section, name);
        if (table != NULL)
            tables[smtpd->table_count++] = table->conf;
        else
            cf_error(&config->problems, config_builder_place(section, "routing-table", i), name,
                     bytes_of("the name of a [route]"),
                     nearest_section(config, &route_source_section, name, NULL));
    }
    tables[smtpd->table_count++] = config->routes[0];
    return 0;
}

static int finish_smtpd(struct config *config, const struct config_section *section)
{
    struct smtpd_conf *smtpd = section->conf;
    bool is_host = text_is_host_name(smtpd->section);
    bool has_ports = config_builder_is_given(section, "listen-port");
    if (smtpd->name.len == 0 && !is_host)
        report_missing(config, section, "a name, for its own is no host's");
    if (smtpd->name.len == 0)
        smtpd->name = smtpd->section;
    if (smtpd->logger.len > 0)
        check_logger(config, section, smtpd->logger, 0);
    if (!has_ports && !is_host)
        report_missing(config, section, "a listen-port, for its name is no host's");
    if (!has_ports && is_host && default_listen_port(config, smtpd) != 0)
        return ERR_MEMORY;
    int error = find_tables(config, section, smtpd);
    if (error == 0)
        error =
            config_filters_choose(config, section, &smtpd->filters.names, &smtpd->filters.chosen);
    return error;
}

/* ---- [milter-server] ---- */

/* Two listeners cannot share a socket; the error is told of the later one. */
static void check_sockets(struct config *config, const struct config_section *section)
{
    const struct milter_server_conf *server = section->conf;
    for (size_t i = 0; i < server->listen.count; i++)
        for (size_t at = 0; at < config->milter_server_count; at++) {
            const struct milter_server_conf *other = config->milter_servers[at];
            size_t end = other == server ? i : other->listen.count;
            for (size_t k = 0; k < end; k++)
                if (bytes_equal(other->listen.at[k], server->listen.at[i]))
                    cf_error(&config->problems, config_builder_place(section, "listen", i),
                             server->listen.at[i], bytes_of("a socket that nobody else listens at"),
                             bytes_make(NULL, 0));
            if (other == server)
                break;
        }
}

static int finish_milter_server(struct config *config, const struct config_section *section)
{
    struct milter_server_conf *server = section->conf;
    if (!config_builder_is_given(section, "listen"))
        report_missing(config, section, "a listen");
    if (!config_builder_is_given(section, "filter"))
        report_missing(config, section, "a filter");
    check_sockets(config, section);
    int error = config_filters_choose(config, section, &server->filters, &server->chosen);
    for (size_t i = 0; error == 0 && i < server->chosen.count; i++)
        if (server->chosen.at[i].kind->edits)
            cf_error(&config->problems, config_builder_place(section, "filter", i),
                     server->filters.at[i],
                     bytes_of("a filter that only judges, for the message is the mail server's"),
                     bytes_make(NULL, 0));
    return error;
}

/* ---- what the module of a section completes ---- */

/* What the kind is given, and the section, in which is_given() and place_of() look. */
struct finishing {
    struct setting_reading asked;
    const struct config_section *section;
};

static bool is_given(struct setting_reading *asked, const char *key)
{
    return config_builder_is_given(CONTAINER_OF(asked, struct finishing, asked)->section, key);
}

static struct cf_place place_of(struct setting_reading *asked, const char *key, size_t index)
{
    return config_builder_place(CONTAINER_OF(asked, struct finishing, asked)->section, key, index);
}

static struct finishing begin(struct config *config, const struct config_section *section)
{
    return (struct finishing){.asked = {.conf = section->conf,
                                        .hostname = config->core.hostname,
                                        .place = section->place,
                                        .problems = &config->problems,
                                        .arena = &config->arena,
                                        .is_given = is_given,
                                        .place_of = place_of},
                              .section = section};
}

static void complete(struct config *config, const struct config_section *section,
                     void (*finish)(struct setting_reading *))
{
    struct finishing finishing = begin(config, section);
    if (finish != NULL)
        finish(&finishing.asked);
}

int config_load(struct config *config, const struct config_section *section,
                int (*load)(struct setting_reading *))
{
    struct finishing finishing = begin(config, section);
    return load(&finishing.asked);
}

/* Routes name targets without their kinds, and `filter` names filters so; two of them must not
 * share a name. `first`: the first kind that has one of this name; the error is told of the others.
 */
static void check_name(struct config *config, const struct config_section *section,
                       const struct setting_section *first)
{
    char expected[64];
    if (first == section->kind)
        return;
    snprintf(expected, sizeof expected, "a name that no [%s] bears", first->kind);
    cf_error(&config->problems, section->place, section->name, bytes_of(expected),
             bytes_make(NULL, 0));
}

/* ---- targets and filters ---- */

static int choose_filters(struct config *config, const struct config_section *section)
{
    for (size_t i = 0; i < config->target_count; i++) {
        struct config_target *target = &config->targets[i];
        const struct setting_texts *names =
            target->conf == section->conf ? target->kind->describe(target->conf).filters : NULL;
        if (names != NULL)
            return config_filters_choose(config, section, names, &target->filters);
    }
    return 0;
}

/* The members of a group have names, too; the error is told of the section. */
static void check_members(struct config *config, const struct config_section *section,
                          const struct target_kind *kind)
{
    const void *member;
    for (size_t i = 0; kind->member != NULL && (member = kind->member(section->conf, i)) != NULL;
         i++) {
        struct bytes name = kind->describe(member).name;
        const struct config_section *other = config_builder_find_target(config, name);
        if (other != NULL)
            cf_error(
                &config->problems, other->place, name,
                cf_phrase(&config->problems, "a name that no address of ", section->name, " has"),
                bytes_make(NULL, 0));
    }
}

static int finish_target(struct config *config, const struct config_section *section,
                         const struct target_kind *kind)
{
    check_name(config, section, config_target(config, section->name).kind->section);
    complete(config, section, kind->finish);
    check_members(config, section, kind);
    return choose_filters(config, section);
}

/* ---- [core] ---- */

/* bounce-relay names the section of a relay, or a host. */
static void check_bounce_relay(struct config *config, const struct config_section *section)
{
    struct bytes name = config->core.bounce_relay;
    const struct target_kind *kind = config_target(config, name).kind;
    bool is_host = text_is_host_name(name) && bytes_find(name, '.') < name.len;
    struct cf_nearest nearest;
    if (name.len == 0 || (kind == NULL ? is_host : kind->is_relay))
        return;
    cf_nearest_init(&nearest, name);
    for (size_t i = 0; i < config->target_count; i++)
        if (config->targets[i].kind->is_relay)
            cf_nearest_offer(&nearest, config->targets[i].name);
    cf_error(&config->problems, config_builder_place(section, "bounce-relay", 0), name,
             bytes_of("the name of a [relay], or a host"), cf_nearest_name(&nearest));
}

static void finish_core(struct config *config, const struct config_section *section)
{
    for (size_t i = 0; i < config->core.loggers.count; i++)
        check_logger(config, section, config->core.loggers.at[i], i);
    check_bounce_relay(config, section);
}

static int finish_section(struct config *config, const struct config_section *section)
{
    if (section->kind == &smtpd_conf_section)
        return finish_smtpd(config, section);
    if (section->kind == &milter_server_section)
        return finish_milter_server(config, section);
    const struct target_kind *kind = config_builder_target_kind(section->kind);
    const struct filter_kind *filter = config_filters_kind(section->kind);
    if (kind != NULL)
        return finish_target(config, section, kind);
    if (filter != NULL) {
        check_name(config, section, config_filters_find(config, section->name).kind->section);
        complete(config, section, filter->finish);
    }
    if (section->kind == &config_core_section)
        finish_core(config, section);
    if (section->kind == &config_core_logfile && !config_builder_is_given(section, "file"))
        report_missing(config, section, "a file");
    return 0;
}

int config_finish(struct config *config)
{
    int error = 0;
    for (struct config_section *section = config->builder->first; section != NULL && error == 0;
         section = section->next)
        error = set_defaults(config, section);
    if (error == 0)
        error = config_builder_arrays(config);
    for (struct config_section *section = config->builder->first; section != NULL && error == 0;
         section = section->next)
        error = finish_section(config, section);
    return error;
}
