/* SPDX-License-Identifier: BSD-2-Clause */
/* A message as it lies in the spool: a first block, the body, records. README.md has the layout and
 * the states. Pure.
 *
 * * Reading trusts nothing: it checks lengths and checksums, and ends at the first record that is
 * not whole. The records before it are true if only a torn end follows. */
#ifndef POSTERN_SPOOL_FORMAT_H
#define POSTERN_SPOOL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/id.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/transaction.h"

#define SPOOL_HEAD_BYTES  64
#define SPOOL_VERSION     2 /* with a HOLD or VIEWs behind MESSAGE, or a binary body; else 1 */
#define SPOOL_RECORDS_MAX (16U << 20) /* octets of records of one message; more means damage */
/* ... of the records that a new message begins with: so there is room for all that may follow. */
#define SPOOL_FIRST_RECORDS_MAX (4U << 20)
#define SPOOL_REMOTE_MAX        128 /* octets of spool_recipient.remote */

struct spool_head {
    struct id id;
    uint64_t body_bytes;
    uint64_t body_sum; /* hash_chain() over 64 KiB at a time */
    bool is_version_2; /* such records are there */
};

void spool_head_put(const struct spool_head *head, uint8_t block_out[SPOOL_HEAD_BYTES]);
/* ERR_SYNTAX: no first block of ours, or damaged; ERR_RANGE: of a later version. */
int spool_head_parse(struct bytes block, struct spool_head *head_out);

/* ---- records ---- */

/* Where records begin: after the body, at a multiple of eight. */
uint64_t spool_records_at(const struct spool_head *head);

/* One recipient and all that is known of it. Its texts lie in the arena. */
struct spool_recipient {
    struct address original, to;
    struct bytes target; /* name */
    struct bytes queue;  /* the runner's, not in the file: the target in whose queue it waits: that
                          * one, or one of its addresses */
    struct bytes params; /* NOTIFY, ORCPT */
    uint32_t view; /* what its target gets: 0: spool_message.view; n: spool_message.views[n - 1] */
    unsigned identity;  /* enum identity_kind bits: how its target was told of the client; 0: not
                         * reached */
    bool is_unverified; /* the target never accepted this recipient, because of an outage */
    /* OPEN and DEFERRED: to be delivered; UNKNOWN likewise, and may be a duplicate; ACCEPTED: done;
     * REFUSED: a bounce is due, or was made: `is_reported`; DISCARDED: deleted by an operator. */
    enum fate fate;
    bool may_be_duplicate; /* some try ended unknown */
    bool is_relayed;       /* ACCEPTED by a target without DSN: NOTIFY=SUCCESS gets a report */
    bool is_delivered;     /* ACCEPTED by a Maildir: likewise */
    bool is_reported;      /* the report that was due is in the queue, or was suppressed */
    bool is_warned;        /* the sender knows of the delay */
    struct bytes reply;    /* the last reply, one line "451 4.4.1 text"; empty: none yet */
    struct bytes remote;   /* the address of the target that replied; empty: the reply is our own */
    uint32_t tries;
    int64_t tried_ms; /* wall clock of the last one; 0: none */
};

/* Why a message is held, and since when. */
enum spool_holder { SPOOL_HELD_BY_OPERATOR, SPOOL_HELD_BY_FILTER, SPOOL_HELD_BY_QUEUE };
struct spool_hold {
    enum spool_holder by; /* what a filter holds expires */
    int64_t since_ms;     /* wall clock; 0: unknown */
    struct bytes reason;
};

/* What some recipients get. */
struct spool_view {
    struct view view;
    bool is_in_front; /* only `lines` count: they stand in front of the message's own view */
};

struct spool_message {
    struct spool_head head;
    struct envelope envelope;
    struct identity client;
    struct identity origin; /* whom XFORWARD named; else as `client` */
    bool has_origin;
    struct bytes listener; /* section */
    struct bytes hostname; /* ours, for Received */
    struct view view;      /* what recipients get that have none of their own; of the body */
    struct spool_view *views;
    uint32_t view_count;
    int64_t arrived_ms; /* wall clock */
    bool is_held;
    struct spool_hold hold; /* if it is held */
    bool is_report;         /* a bounce or notice of ours */
    struct spool_recipient *recipients;
    uint32_t recipient_count;
    uint64_t records_end;   /* in the file, after the last whole record: append here */
    bool has_later_records; /* records follow those that the message began with */
    bool has_torn_end;      /* something stands in the file after records_end */
};

/* What is sent of a message: these fields, then the view. */
struct spool_shown {
    struct bytes in_front;
    struct view view; /* its range ends within the body */
};
/* Of what all recipients get, if they get the same; else what those get that have no view of their
 * own. */
struct spool_shown spool_shown_to_all(const struct spool_message *m);
uint64_t spool_shown_bytes(const struct spool_shown *shown);

/* The most octets of a spool_recipient.reply in a message with so many recipients. */
size_t spool_reply_max(uint32_t recipient_count);

/* `records`: the file from spool_records_at() on, as far as it goes. 0; ERR_SYNTAX: damaged: the
 * first records, which a message cannot do without, are not whole, or a record follows one that is
 * not; ERR_MEMORY. */
int spool_message_parse(const struct spool_head *head, struct bytes records, struct arena *arena,
                        struct spool_message *message_out);

/* Each appends one record. `at`: the record's offset in the file, which its checksum depends on:
 * spool_records_at() or message.records_end, plus what `out` held before is counted by the
 * function itself through buf_length(out). */
struct spool_writer {
    struct id id;
    uint64_t at; /* where out's first octet will lie in the file */
    struct buf *out;
};

/* What a new message begins with, in this order: one MESSAGE, a HOLD if it is held and the VIEWs
 * that it needs, all by the first of these functions, then a RECIPIENT each. */
void spool_put_message(struct spool_writer *writer, const struct spool_message *m);
void spool_put_recipient(struct spool_writer *writer, const struct spool_recipient *s);
/* Behind the last one: in which session the message came. Nothing where that is not known. */
void spool_put_session(struct spool_writer *writer, const struct id *session);
/* Later. `index`: the recipient's. OUTCOME: fate, reply, remote, may_be_duplicate, is_relayed,
 * is_delivered, tries, tried_ms of `s`. */
void spool_put_outcome(struct spool_writer *writer, uint32_t index,
                       const struct spool_recipient *s);
void spool_put_reported(struct spool_writer *writer, uint32_t index);
void spool_put_warned(struct spool_writer *writer, uint32_t index);
void spool_put_rerouted(struct spool_writer *writer, uint32_t index,
                        const struct spool_recipient *s);
/* Is the message held, by whom, since when? */
void spool_put_hold(struct spool_writer *writer, const struct spool_message *m);

/* Are these records, which a message begins with, those of a file of version 2? */
bool spool_is_version_2(struct bytes records);

#endif
