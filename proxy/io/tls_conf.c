/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates, keys and authorities of a section: do they fit together, and what is made of them.
 */
#include "proxy/io/tls_conf.h"

#include <stdio.h>

#include "proxy/base/error.h"

static const char key_name[] = "tls-key", certificate_name[] = "tls-certificate";

/* False: reported, or there is nothing to load. */
static bool fits_together(const struct tls_conf *conf, enum tls_conf_role role,
                          struct setting_reading *section)
{
    size_t certificates = conf->certificates.count, keys = conf->keys.count;
    const char *key = keys > certificates ? key_name : certificate_name;
    size_t at = keys > certificates ? certificates : keys;

    if (role == TLS_CONF_SERVER && certificates == 0) {
        cf_fault(section->problems, section->place_of(section, "tls", 0),
                 bytes_of("tls needs a tls-certificate"));
        return false;
    }
    if (role != TLS_CONF_SERVER && certificates > 1) {
        cf_unexpected(section->problems, section->place_of(section, certificate_name, 1),
                      "a second tls-certificate", "one");
        return false;
    }
    if (keys == 0 || keys == certificates)
        return true;
    cf_fault(section->problems, section->place_of(section, key, at),
             cf_phrase(section->problems, key == key_name ? "tls-key " : "tls-certificate ",
                       key == key_name ? conf->keys.at[at] : conf->certificates.at[at],
                       key == key_name ? " has no tls-certificate" : " has no tls-key"));
    return false;
}

static void report(const struct tls_conf *conf, const struct tls_problem *problem,
                   const char *ca_key, struct setting_reading *section)
{
    bool is_ca = problem->kind == TLS_FILE_CA;
    bool is_key = problem->kind == TLS_FILE_KEY && conf->keys.count != 0;
    const char *key = is_ca ? ca_key : is_key ? key_name : certificate_name;
    struct bytes path = is_ca    ? conf->ca
                        : is_key ? conf->keys.at[problem->index]
                                 : conf->certificates.at[problem->index];
    char before[64], after[sizeof(problem->text) + 8];

    snprintf(before, sizeof(before), "%s ", key);
    snprintf(after, sizeof(after), ": %s", problem->text);
    cf_fault(section->problems, section->place_of(section, key, is_ca ? 0 : problem->index),
             cf_phrase(section->problems, before, path, after));
}

int tls_conf_load(struct tls_conf *conf, enum tls_conf_role role, struct bytes section_name,
                  const char *ca_key, struct setting_reading *section)
{
    struct tls_problem problem = {.kind = TLS_FILE_NONE};
    size_t count = conf->certificates.count;

    if (conf->made != NULL || !fits_together(conf, role, section))
        return 0;
    struct tls_file *files = arena_alloc(section->arena, (count + 1) * sizeof(*files));
    if (files == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        files[i] = (struct tls_file){.certificate = conf->certificates.at[i],
                                     .key = conf->keys.count != 0 ? conf->keys.at[i]
                                                                  : conf->certificates.at[i]};
    struct tls_settings settings = {.section = section_name,
                                    .files = files,
                                    .file_count = count,
                                    .ca = conf->ca,
                                    .hears_secrets = conf->hears_secrets,
                                    .verifies = role == TLS_CONF_CLIENT_THAT_VERIFIES};
    conf->made = role == TLS_CONF_SERVER ? tls_new_server(&settings, &problem)
                                         : tls_new_client(&settings, &problem);
    if (conf->made == NULL && problem.kind == TLS_FILE_NONE)
        return ERR_MEMORY;
    if (conf->made == NULL)
        report(conf, &problem, ca_key, section);
    return 0;
}
