/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of target there is: a new one is an entry here, and a file of its own. */
#include "proxy/config/target_kinds.h"

#include "route/maildir.h"
#include "route/relay/relay.h"

const struct target_kind *const target_kinds[] = {&relay_kind, &maildir_kind, NULL};
