/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a relay leads: what --check says of it. */
#ifndef POSTERN_RELAY_CHECK_H
#define POSTERN_RELAY_CHECK_H

#include "route/target_kind.h"

/* See target_kind.check. */
int relay_check(const void *conf, struct target_check *check);

#endif
