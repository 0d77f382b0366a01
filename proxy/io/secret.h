/* SPDX-License-Identifier: BSD-2-Clause */
/* A password or a token that stands in a file of its own. */
#ifndef POSTERN_SECRET_H
#define POSTERN_SECRET_H

#include "proxy/base/setting.h"

#define SECRET_MAX_BYTES 8192

struct secret {
    struct bytes path; /* what the key says; empty: there is none */
    struct bytes text; /* by secret_load(); in memory that no core file has */
};

/* Reads the one line of the file, and reports what is wrong with it: `key` names it. Blocks; for
 * the start only. 0 or ERR_MEMORY. */
int secret_load(struct secret *secret, const char *key, struct setting_reading *section);
void secret_free(struct secret *secret);

#endif
