/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports to senders: who gets which report, and the message that carries it (RFC 3461, 3464,
 * 6522). Pure. */
#ifndef POSTERN_BOUNCE_H
#define POSTERN_BOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "spool/spool_format.h"

/* RELAYED: handed to a target without DSN. DELIVERED: for good, into a Maildir. */
enum bounce_kind { BOUNCE_FAILED, BOUNCE_DELAYED, BOUNCE_RELAYED, BOUNCE_DELIVERED };
#define BOUNCE_KINDS 4

/* core.bounce-to. Delays and successes are told to senders only: to nobody if `to` does not
 * include the sender. */
enum bounce_to { BOUNCE_TO_SENDER, BOUNCE_TO_POSTMASTER, BOUNCE_TO_BOTH, BOUNCE_TO_NONE };

struct bounce_conf {
    struct bytes hostname;
    struct bytes postmaster; /* an address; without a domain: @hostname is added */
    enum bounce_to to;
};

/* Who is told if there is no sender. */
struct address bounce_postmaster(const struct bounce_conf *conf);

/* Does NOTIFY ask for this report? Without NOTIFY: failures and delays, no success. */
bool bounce_is_wanted(const struct spool_recipient *s, enum bounce_kind kind);

/* How many octets of the message, as its recipients get it, the report needs, from the first one
 * on. All of them for a failure, unless RET=HDRS asks for less or the message is too large; else
 * only its headers. */
#define BOUNCE_HEADERS_MAX (64U << 10)
#define BOUNCE_WHOLE_MAX   (1U << 20)
uint64_t bounce_content_bytes(const struct spool_message *message, enum bounce_kind kind);

/* One report is made of all recipients in `is_due` (an array of recipient_count) that want it. Its
 * id is derived from the cause: the same cause gives the same id. */
struct bounce_job {
    const struct spool_message *message;
    const bool *is_due;
    enum bounce_kind kind;
    bool is_7bit;         /* the report may have no octets over 127, because its target takes
                           * none */
    int64_t now_s;        /* wall clock */
    int64_t will_retry_s; /* DELAYED: until when delivery will be tried; 0: the report does not
                           * say */
    struct bytes content; /* as bounce_content_bytes() asked; empty: nothing is returned */
    bool is_unreadable;   /* ... because the message cannot be read: the report says so */
};

enum bounce_result {
    BOUNCE_NOTHING, /* nobody wants a report, or nobody is told by rule: mark as reported */
    BOUNCE_MADE,
    BOUNCE_HELD /* nobody can be told: hold the message and log it */
};

/* The result that bounce_make() will have. */
enum bounce_result bounce_foresee(const struct bounce_conf *conf, const struct bounce_job *job);

/* The largest report in octets: the limit of `content_out`. */
#define BOUNCE_REPORT_MAX (128U << 20)

/* The report as a message of its own: envelope (from <>), recipients (sender, postmaster; a message
 * from <> that failed goes to the postmaster, and one from <> to the postmaster is HELD), content.
 * `report_out` has id, envelope, client (ourselves) and recipients without targets: the caller
 * routes them. RFC 6522: multipart/report; human text, message/delivery-status, headers or whole
 * message. Lines end in CRLF and have 998 octets at most, whatever stood in message and replies.
 * Everything lies in `arena` or is borrowed from `conf` and the message. 0 or ERR_MEMORY (also: the
 * limit of content_out). */
int bounce_make(const struct bounce_conf *conf, const struct bounce_job *job, struct arena *arena,
                struct spool_message *report_out, struct buf *content_out,
                enum bounce_result *result_out);

#endif
