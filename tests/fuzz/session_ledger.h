/* SPDX-License-Identifier: BSD-2-Clause */
/* Who sent what, and who got it: the promises of the core, checked when all is over. */
#ifndef POSTERN_SESSION_LEDGER_H
#define POSTERN_SESSION_LEDGER_H

#include "tests/fuzz/session_client.h"
#include "tests/fuzz/session_target.h"

#define SESSION_CLIENTS     3
#define SESSION_TARGETS_MAX 64
/* What a filter says, and no target. */
#define SESSION_FILTER_DEFERS  "459"
#define SESSION_FILTER_REFUSES "559"

struct session_ledger {
    struct session_client clients[SESSION_CLIENTS];
    struct session_target targets[SESSION_TARGETS_MAX];
    int target_count;
    bool spools;     /* what the relay cannot take goes into the spool, and comes later */
    bool has_faults; /* memory or the disk has failed: what is left behind in tmp/ is no wonder */
};

void session_ledger_check(const struct session_ledger *l, struct sim *world);
void session_ledger_forget(struct session_ledger *l);

#endif
