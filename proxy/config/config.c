/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a whole configuration; the order is that of what depends on what. */
#include "proxy/config/config.h"

#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/config/config_private.h"

#define BLOCK_BYTES (64 * 1024)
#define ARENA_BYTES ((size_t)1 << 36) /* no limit: memory ends before */
#define LINE_BYTES  4096

struct config *config_new(void)
{
    struct config *config = mem_zalloc(sizeof *config);
    if (config == NULL)
        return NULL;
    pool_init(&config->pool, BLOCK_BYTES, 1);
    arena_init(&config->arena, &config->pool, ARENA_BYTES);
    cf_problems_init(&config->problems, &config->arena);
    return config;
}

void config_free(struct config **config)
{
    struct config *freed = *config;
    if (freed == NULL)
        return;
    if (freed->builder != NULL) {
        config_tls_free(freed);
        hash_table_done(&freed->builder->by_name);
    }
    arena_reset(&freed->arena);
    pool_done(&freed->pool);
    mem_free(freed);
    *config = NULL;
}

/* Without any [smtpd] there is one, named core.hostname, where SMTP is served. */
static int ensure_listener(struct config *config, const struct flags *flags)
{
    struct config_section *section;
    if (flags->serves_milters)
        return 0;
    for (section = config->builder->first; section != NULL; section = section->next)
        if (section->kind == &smtpd_conf_section)
            return 0;
    return config_builder_section(config, &smtpd_conf_section, config->core.hostname,
                                  (struct cf_place){.file = "core.hostname"}, &section);
}

static bool has_assignments(const struct flags *flags)
{
    for (int i = 1; i < flags->argument_count; i++)
        if (flags_is_assignment(flags->arguments[i]))
            return true;
    return false;
}

static void warn_of_little(struct config *config, const struct flags *flags)
{
    struct bytes hostname = config->core.hostname;
    if (config->is_empty && !has_assignments(flags))
        cf_warning(&config->problems, (struct cf_place){.file = flags->config_path},
                   bytes_of("the file assigns nothing: no mail is taken but for postmaster"));
    if (config->smtpd_count > 0 && bytes_find(hostname, '.') == hostname.len)
        cf_warning(&config->problems,
                   config_place(config, &config_core_section, bytes_make(NULL, 0), "hostname"),
                   cf_phrase(&config->problems, "hostname ", hostname,
                             " has no domain: others know us by it, and may refuse us"));
}

static int read_parts(struct config *config, const struct flags *flags)
{
    int error = config_builder_init(config);
    if (error == 0)
        error = config_file_read(config, flags->config_path);
    if (error == 0)
        error = config_flags_unnamed(config, flags);
    if (error == 0)
        error = config_resolve_hostname(config);
    if (error == 0)
        error = config_flags_declare(config, flags);
    if (error == 0)
        error = ensure_listener(config, flags);
    if (error == 0)
        error = config_flags_named(config, flags);
    if (error == 0)
        error = config_finish(config);
    if (error == 0)
        error = config_resolve_account(config);
    if (error == 0)
        error = config_resolve_listeners(config);
    if (error == 0)
        error = config_check_open_relays(config);
    if (error == 0) {
        config_check_auth(config);
        config_resolve_sizes(config);
        config_check_descriptors(config);
        warn_of_little(config, flags);
    }
    return error;
}

static int exit_code(const struct config *config, int error)
{
    if (error != 0 || config->problems.has_no_memory)
        return EX_OSERR;
    if (config->builder->has_usage_error)
        return EX_USAGE;
    return config->problems.errors > 0 ? EX_CONFIG : 0;
}

int config_read(struct config *config, const struct flags *flags)
{
    return exit_code(config, read_parts(config, flags));
}

int config_check_start(struct config *config)
{
    return exit_code(config, config_check_routes(config));
}

int config_load_secrets_of(struct config *config, struct bytes target)
{
    return exit_code(config, config_tls_load_one(config, target));
}

int config_load_secrets(struct config *config)
{
    config->secrets_state = config_secrets_state(config); /* before: a later change counts */
    return exit_code(config, config_tls_load(config));
}

int config_check(struct config *config)
{
    int error = config_check_targets(config);
    if (error == 0)
        error = config_tls_load(config);
    if (error == 0)
        config_tls_check(config);
    return exit_code(config, error);
}

struct cf_place config_place(const struct config *config, const struct setting_section *kind,
                             struct bytes name, const char *key)
{
    const struct config_section *section = config_builder_find(config, kind, name);
    if (!config_builder_is_given(section, key))
        return (struct cf_place){.file = "postern"};
    return config_builder_place(section, key, 0);
}

void config_put_listeners(const struct config *config, struct buf *out)
{
    char text[NETADDR_TEXT_MAX];

    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t k = 0; k < config->smtpds[i]->listeners.count; k++) {
            if (buf_length(out) > 0)
                buf_text(out, ", ");
            buf_text(out, netaddr_text_with_port(&config->smtpds[i]->listeners.at[k], text));
        }
}

void config_print_problems(struct config *config, FILE *out)
{
    struct buf line;
    buf_init(&line, &config->pool, LINE_BYTES);
    struct cf_problem *problem =
        config->printed == NULL ? config->problems.first : config->printed->next;
    for (; problem != NULL; problem = problem->next) {
        cf_put_problem(&line, problem);
        fprintf(out, "%.*s\n", (int)buf_length(&line), (const char *)buf_bytes(&line).at);
        buf_reset(&line);
        config->printed = problem;
    }
    buf_done(&line);
    if (config->problems.has_no_memory)
        fprintf(out, "postern: out of memory\n");
    unsigned all = config->problems.errors + config->problems.warnings;
    if (config->problems.kept == CF_PROBLEMS_MAX && all > CF_PROBLEMS_MAX)
        fprintf(out, "postern: %u more problems\n", all - CF_PROBLEMS_MAX);
}
