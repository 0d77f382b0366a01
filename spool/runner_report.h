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
    struct bytes relay; /* that takes it; runner_report_address() */
    /* No relay takes it. In the sender's place the postmaster is told, where the tables lead him;
     * if they lead nowhere, nobody. */
    bool has_no_relay;
    struct routed postmaster;
    bool is_7bit;                        /* who takes it takes nothing over 127, as far as known */
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

/* Legal when one recipient at least is due. Sets where the report goes. `relay`, past all tables:
 * bounce-relay, else the one that the first recipient due was routed to; where that is none (a
 * Maildir, or gone), the one that the tables lead the sender to. A report on mail for a Maildir
 * never goes into that Maildir: where there is no relay it is the postmaster's. */
void runner_report_address(const struct runner_host *host, struct arena *arena,
                           struct runner_report *report);
/* What _make() will come to. */
enum bounce_result runner_report_foresee(const struct runner_report *report);

/* Job: bounce_make(), then store_commit(). What cannot be read of the cause is not returned. 0:
 * `result` says what became of it: MADE: it is durable at `place`, -EEXIST counts as that. Else
 * nothing was made, and the cause must not say so. */
int runner_report_make(struct runner_report *report);

#endif
