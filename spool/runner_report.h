/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes a report that is due. It is durable before its cause records it. The runner's own. */
#ifndef POSTERN_RUNNER_REPORT_H
#define POSTERN_RUNNER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/runner.h"

/* Everything is borrowed. */
struct runner_report {
    const struct store *store;
    const struct bounce_conf *conf;
    struct bytes relay; /* the target of the report; set by runner_report_address() */
    /* There is no relay for the report. The postmaster is told instead of the sender, if the tables
     * lead to him; else nobody. */
    bool has_no_relay;
    struct routed postmaster;
    bool is_7bit;                        /* the relay takes no octets over 127, as far as is
                                          * known */
    const struct spool_message *message; /* the cause, whose lock is held */
    int fd;                              /* its file: what is returned is read from there */
    enum bounce_kind kind;
    const bool *is_due; /* message->recipient_count of them */
    int64_t now_ms;     /* wall clock */
    int64_t will_retry_s;
    /* Where the report lies: in the directory of its cause, so that a report made anew after a
     * crash meets the first one. Its id is derived from the cause; _make() sets it. */
    struct store_place place;
    enum bounce_result result; /* set by _make() */
};

/* Legal when one recipient at least is due. Sets where the report goes. `relay` is bounce-relay;
 * else the relay of the first due recipient that was routed to one; else the relay that the tables
 * lead the sender to. A report on mail for a Maildir never goes into that Maildir: without a relay
 * it goes to the postmaster. */
void runner_report_address(const struct runner_host *host, struct arena *arena,
                           struct runner_report *report);
/* The result that _make() will have. */
enum bounce_result runner_report_foresee(const struct runner_report *report);

/* Job: bounce_make(), then store_commit(). A cause that cannot be read is reported without its
 * content. 0: `result` is set; MADE means that the report is durable at `place`. After an error
 * nothing was made, and the cause must not record a report. */
int runner_report_make(struct runner_report *report);

#endif
