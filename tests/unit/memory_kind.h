/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest kind of target: [memory "N"] keeps messages on a shelf. */
#ifndef POSTERN_MEMORY_KIND_H
#define POSTERN_MEMORY_KIND_H

#include "route/target_kind.h"
#include "tests/unit/lib.h"

extern const struct target_kind memory_kind;

/* Every message that was committed: "RECIPIENT: CONTENT" for each recipient. */
extern struct lib_text memory_kind_shelf;

#endif
