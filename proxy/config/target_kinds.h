/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of target there is. */
#ifndef POSTERN_TARGET_KINDS_H
#define POSTERN_TARGET_KINDS_H

#include "route/target_kind.h"

/* In the order in which operators see them; NULL at the end. */
extern const struct target_kind *const target_kinds[];

#endif
