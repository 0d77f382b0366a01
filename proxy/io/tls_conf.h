/* SPDX-License-Identifier: BSD-2-Clause */
/* The keys tls-certificate and tls-key of a section, the key that names its authorities, and what
 * is made of them. */
#ifndef POSTERN_TLS_CONF_H
#define POSTERN_TLS_CONF_H

#include "proxy/base/setting.h"
#include "proxy/io/tls.h"

struct tls_conf {
    struct setting_texts certificates, keys; /* without keys they stand beside the certificates */
    struct bytes ca;
    bool hears_secrets; /* passwords, of a server's clients */
    struct tls *made;   /* by tls_conf_load(); NULL: TLS is not used, or the files were not read */
};

enum tls_conf_role { TLS_CONF_SERVER, TLS_CONF_CLIENT, TLS_CONF_CLIENT_THAT_VERIFIES };

/* Reads the files, and reports what is wrong with them. `ca_key`: what `ca` is called. 0 or
 * ERR_MEMORY. */
int tls_conf_load(struct tls_conf *conf, enum tls_conf_role role, struct bytes section_name,
                  const char *ca_key, struct setting_reading *section);

#endif
