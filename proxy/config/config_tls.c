/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates and keys, which only who serves reads: others may not be allowed to. */
#include "proxy/config/config_private.h"

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

void config_tls_free(struct config *config)
{
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        const struct target_kind *kind = config_builder_target_kind(section->kind);
        if (section->kind == &smtpd_conf_section)
            tls_free(&((struct smtpd_conf *)section->conf)->tls.files.made);
        else if (kind != NULL && kind->unload != NULL)
            kind->unload(section->conf);
    }
}
