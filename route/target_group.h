/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups: targets that are several, one for each address of a relay with balance = hash. Each
 * mailbox has a member of its own, by rendezvous hashing. */
#ifndef POSTERN_TARGET_GROUP_H
#define POSTERN_TARGET_GROUP_H

#include "route/target_kind.h"

/* A target without operations, and its members, all in the arena. NULL: no memory. */
struct target *target_group_describe(const struct target_kind *kind, const void *conf,
                                     struct arena *arena);
/* Opens a target; a group owns its members and closes and frees them with itself. NULL: no
 * memory. */
struct target *target_group_open(const struct target_kind *kind, struct target_services *services,
                                 const void *conf);

/* Where mail for this mailbox (address.mailbox) goes now: the member that it belongs to. Where that
 * is down and the group fails over, the next one in the mailbox's own order that is not; if all are
 * down, the mailbox's own. The target itself where it is no group. */
struct target *target_group_choose(struct target *target, uint64_t mailbox);
/* In whose queue mail for this mailbox waits: each member has its own, unless any of them may take
 * it. The same as long as the process lives; reads nothing that changes. */
const struct target *target_group_queue(const struct target *target, uint64_t mailbox);

#endif
