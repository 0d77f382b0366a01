/* SPDX-License-Identifier: BSD-2-Clause */
/* --explain ADDRESS: how a recipient is routed, rule by rule. */
#ifndef POSTERN_EXPLAIN_H
#define POSTERN_EXPLAIN_H

#include <stdio.h>

#include "proxy/config/config.h"

/* `listener` NULL: the first one. An exit code of sysexits.h. */
int explain_address(const struct config *config, const char *address, const char *listener,
                    FILE *out);

#endif
