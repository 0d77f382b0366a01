/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections to targets, counted in the shared mapping. */
#ifndef POSTERN_SHARED_TARGET_H
#define POSTERN_SHARED_TARGET_H

#include <stdbool.h>

#include "proxy/shared.h"
#include "route/relay/relay.h"

/* For relay_service.host; the mapping outlives it. */
struct relay_host shared_target_host(struct shared *s, bool is_queue);

#endif
