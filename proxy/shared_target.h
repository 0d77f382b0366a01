/* SPDX-License-Identifier: BSD-2-Clause */
/* What all processes of the host know of targets, in the shared mapping. */
#ifndef POSTERN_SHARED_TARGET_H
#define POSTERN_SHARED_TARGET_H

#include <stdbool.h>

#include "proxy/shared.h"
#include "route/relay/relay_service.h"

/* For relay_service.sharing; the mapping outlives it. */
struct relay_sharing shared_target_sharing(struct shared *s, bool is_queue);

#endif
