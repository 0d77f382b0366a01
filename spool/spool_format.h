/* SPDX-License-Identifier: BSD-2-Clause */
/* A message as it lies in the spool: a first block, the body, records. README.md has the layout and
 * the states. Pure.
 *
 * Reading never trusts: lengths are checked, checksums too, and it ends at the first record that is
 * not whole. What stands before that is true, where nothing but a torn end follows. */
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
#define SPOOL_VERSION     1
#define SPOOL_RECORDS_MAX (16U << 20) /* octets of records of one message; more is damage */
/* ... of what a new one begins with: then all that it must ever say has room. */
#define SPOOL_FIRST_RECORDS_MAX (4U << 20)
#define SPOOL_REMOTE_MAX        128 /* octets of spool_recipient.remote */

struct spool_head {
    struct id id;
    uint64_t body_bytes;
    uint64_t body_sum; /* hash_chain() over 64 KiB at a time */
};

void spool_head_put(const struct spool_head *head, uint8_t block_out[SPOOL_HEAD_BYTES]);
/* ERR_SYNTAX: no first block of ours, or damaged; ERR_RANGE: of a later version. */
int spool_head_parse(struct bytes block, struct spool_head *head_out);

/* ---- records ---- */

/* Where records begin: behind the body, at a multiple of eight. */
uint64_t spool_records_at(const struct spool_head *head);

/* One recipient and all that is known of it. Texts in the arena. */
struct spool_recipient {
    struct address original, to;
    struct bytes target; /* name */
    struct bytes params; /* NOTIFY, ORCPT */
    unsigned identity;   /* enum identity_kind bits that its target was told by; 0: not reached */
    bool is_unverified;  /* the target has never accepted it: an outage */
    /* OPEN and DEFERRED: to be delivered; UNKNOWN likewise, and may be a duplicate; ACCEPTED: done;
     * REFUSED: a bounce is due, or was made: `is_reported`; DISCARDED: deleted by an operator. */
    enum fate fate;
    bool may_be_duplicate; /* some try ended unknown */
    bool is_relayed;       /* ACCEPTED by a target without DSN: NOTIFY=SUCCESS gets a report */
    bool is_reported;      /* what was due to the sender is in the queue, or was suppressed */
    bool is_warned;        /* the sender knows of the delay */
    struct bytes reply;    /* the last words, one line "451 4.4.1 text"; empty: none yet */
    struct bytes remote;   /* who said so: an address; empty: ourselves */
    uint32_t tries;
    int64_t tried_ms; /* wall clock of the last one; 0: none */
};

struct spool_message {
    struct spool_head head;
    struct envelope envelope;
    struct identity client;
    struct bytes listener; /* section */
    struct bytes hostname; /* ours, for Received */
    int64_t arrived_ms;    /* wall clock */
    bool is_held;
    bool is_report; /* a bounce or notice of ours */
    struct spool_recipient *recipients;
    uint32_t recipient_count;
    uint64_t records_end;   /* in the file, behind the last whole record: append here */
    bool has_later_records; /* something was added to what it began with */
    bool has_torn_end;      /* something stands behind records_end */
};

/* Octets of spool_recipient.reply, in a message with so many recipients. */
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

/* What a new message begins with, in this order: one MESSAGE, then a RECIPIENT each. */
void spool_put_message(struct spool_writer *w, const struct spool_message *m);
void spool_put_recipient(struct spool_writer *w, const struct spool_recipient *r);
/* Later. `index`: the recipient's. OUTCOME: fate, reply, remote, may_be_duplicate, is_relayed,
 * tries, tried_ms of `r`. */
void spool_put_outcome(struct spool_writer *w, uint32_t index, const struct spool_recipient *r);
void spool_put_reported(struct spool_writer *w, uint32_t index);
void spool_put_warned(struct spool_writer *w, uint32_t index);
void spool_put_rerouted(struct spool_writer *w, uint32_t index, const struct spool_recipient *r);
void spool_put_hold(struct spool_writer *w, bool is_held);

#endif
