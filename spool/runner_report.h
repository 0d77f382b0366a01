/* SPDX-License-Identifier: BSD-2-Clause */
/* A report that is due is made, and durable before its cause records it. The runner's own. */
#ifndef POSTERN_RUNNER_REPORT_H
#define POSTERN_RUNNER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/runner.h"

/* Everything is borrowed. */
struct runner_report {
    const struct store *store;
    const struct bounce_conf *conf;
    struct bytes relay;                  /* that takes it; runner_report_address() */
    bool is_7bit;                        /* ... and nothing over 127, as far as is known */
    const struct spool_message *message; /* the cause, whose lock is held */
    int fd;                              /* its file: what is returned is read from there */
    enum bounce_kind kind;
    const bool *is_due; /* message->recipient_count of them */
    int64_t now_ms;     /* wall clock */
    int64_t will_retry_s;
    /* Where to: the directory of the cause, so that whoever makes it anew after a crash meets the
     * one that is there. Its id is derived from the cause; _make() sets it. */
    struct store_place place;
    enum bounce_result result; /* set by _make() */
};

/* Sets `relay`, past all tables: bounce-relay, else the one that the first recipient due was routed
 * to. Only where that is none (a Maildir, or gone) the one that the tables lead the sender to. It
 * may be the name of no target, then the report waits for it. One recipient at least is due. */
void runner_report_address(const struct runner_host *host, struct arena *arena,
                           struct runner_report *report);

/* Job: bounce_make(), then store_commit(). 0: `result` says what became of it: MADE: it is durable
 * at `place`, -EEXIST counts as that. Else nothing was made, and the cause must not say so. */
int runner_report_make(struct runner_report *report);

#endif
