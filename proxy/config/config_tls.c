/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates, keys and passwords, which only who serves reads: others may not be allowed to. */
#include <limits.h>
#include <sys/stat.h>

#include "proxy/config/config_private.h"
#include "proxy/io/secret.h"

int config_tls_load(struct config *config)
{
    int error = 0;

    for (struct config_section *section = config->builder->first; section != NULL && error == 0;
         section = section->next) {
        const struct target_kind *kind = config_builder_target_kind(section->kind);
        if (section->kind == &smtpd_conf_section)
            error = config_load(config, section, smtpd_conf_load);
        else if (kind != NULL && kind->load != NULL)
            error = config_load(config, section, kind->load);
    }
    return error;
}

int config_tls_load_one(struct config *config, struct bytes target)
{
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        const struct target_kind *kind = config_builder_target_kind(section->kind);
        if (kind != NULL && kind->load != NULL && bytes_equal(section->name, target))
            return config_load(config, section, kind->load);
    }
    return 0;
}

/* NULL: the section uses none. */
static struct tls_conf *files_of(const struct config_section *section)
{
    const struct target_kind *kind = config_builder_target_kind(section->kind);
    struct smtpd_conf *smtpd = section->conf;

    if (section->kind == &smtpd_conf_section)
        return smtpd->tls.mode == SMTPD_TLS_NONE ? NULL : &smtpd->tls.files;
    return kind != NULL && kind->load != NULL ? kind->secrets(section->conf) : NULL;
}

/* NULL: a section of this kind has none. */
static struct secret *secret_of(const struct config_section *section)
{
    const struct target_kind *kind = config_builder_target_kind(section->kind);

    return kind != NULL && kind->load != NULL ? kind->secret(section->conf) : NULL;
}

void config_tls_check(struct config *config)
{
    const struct config_section *core =
        config_builder_find(config, &config_core_section, bytes_make(NULL, 0));

    if (config->core.workers == 0 && config_secrets_state(config) != 0)
        cf_warning(&config->problems, config_builder_place(core, "workers", 0),
                   bytes_of("with workers = 0 certificates, keys, passwords and tokens are read "
                            "once, and a change takes a restart"));
}

void config_tls_free(struct config *config)
{
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        struct tls_conf *files = files_of(section);
        struct secret *secret = secret_of(section);
        if (files != NULL)
            tls_free(&files->made);
        if (secret != NULL)
            secret_free(secret);
    }
}

static uint64_t add_file(uint64_t sum, struct bytes path)
{
    struct stat found;
    char name[PATH_MAX] = "";
    uint64_t facts[5] = {1};

    if (path.len < sizeof(name))
        memcpy(name, path.at, path.len);
    if (stat(name, &found) == 0) {
        facts[0] = (uint64_t)found.st_ino;
        facts[1] = (uint64_t)found.st_dev;
        facts[2] = (uint64_t)found.st_size;
        facts[3] = (uint64_t)found.st_mtim.tv_sec;
        facts[4] = (uint64_t)found.st_mtim.tv_nsec;
    }
    return hash_chain(sum, bytes_make(facts, sizeof(facts)));
}

void config_turn_tickets(const struct config *config)
{
    for (const struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        struct tls_conf *files = files_of(section);
        if (files != NULL && files->made != NULL)
            tls_turn(files->made);
    }
}

uint64_t config_secrets_state(const struct config *config)
{
    uint64_t sum = 0;

    for (const struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        const struct tls_conf *files = files_of(section);
        const struct secret *secret = secret_of(section);
        if (secret != NULL && secret->path.len != 0)
            sum = add_file(sum, secret->path);
        if (files == NULL)
            continue;
        for (size_t i = 0; i < files->certificates.count; i++)
            sum = add_file(sum, files->certificates.at[i]);
        for (size_t i = 0; i < files->keys.count; i++)
            sum = add_file(sum, files->keys.at[i]);
        if (files->ca.len != 0)
            sum = add_file(sum, files->ca);
    }
    return sum;
}
