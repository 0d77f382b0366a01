/* SPDX-License-Identifier: BSD-2-Clause */
/* One delivery: what delivery*.c share. */
#ifndef POSTERN_DELIVERY_PRIVATE_H
#define POSTERN_DELIVERY_PRIVATE_H

#include "route/carrier.h"
#include "spool/runner_private.h"
#include "spool/runner_report.h"

#define DELIVERY_REPORTS 3 /* kinds: enum bounce_kind */

/* A report that is due. */
struct delivery_report {
    bool *is_due; /* message.recipient_count */
    bool is_any;
    bool is_made;    /* durable, or nobody wants it */
    bool is_arrived; /* `report.place` has it */
    struct runner_report report;
};

/* What is to be written. */
struct delivery_end {
    int64_t now_ms;
    bool *is_changed; /* message.recipient_count: its outcome is to be written */
    bool *is_expired; /* ... it was refused as its time is over */
    bool is_any_changed;
    bool must_sync;
    struct delivery_report reports[DELIVERY_REPORTS];
    int report_error;
    bool is_removed, is_held, is_bad, is_unknown, is_deferred;
    bool is_outdated; /* what is known of it: the file says that it is not due */
    bool has_written; /* and then something else has failed */
    int bad_error;    /* why it lies in bad/ */
    int lost_error;   /* what may be lost was not written */
};

struct delivery_writing {
    bool is_gathered; /* `end` is set */
    bool is_waiting;  /* for another delivery of the message that uses the file */
    bool is_running;  /* the job */
    bool is_last;     /* whether it can be written or not */
    bool is_alone;    /* the only user of the file */
    bool is_aside;    /* it has lost its place at the target */
    unsigned failures;
};

/* Why the target has not spoken. */
struct delivery_miss {
    bool is_here;      /* no memory, or the file cannot be read: it counts as a try all the same */
    bool is_no_target; /* no connection came about */
    bool is_busy;      /* all connections are in use */
    unsigned up_count; /* the runner's when the delivery began */
};

/* A message's file, taken and locked. Its deliveries to several targets share it, so that none
 * waits for another; each then finds the others' records in it before it writes its own. */
struct delivery_file {
    struct store_taken taken; /* fd -1: not taken */
    unsigned users;
    bool is_shared;  /* there were several */
    bool is_of_copy; /* a copy reads and closes it: nobody else may join */
    bool is_in_use;  /* a job of one of them reads or writes it, or an operator's removes it */
    bool is_gone;    /* an operator has deleted it: nothing is written about it any more */
    bool was_torn;   /* its end was: it is cut */
    bool was_left;   /* somebody died while he delivered it */
};

/* Of a small message, as the first job has read it, until the copy has it. */
struct delivery_body {
    uint8_t *at;
    int error; /* it cannot be read now */
};

/* Its file is taken and read by a job, the transaction runs on the loop, and what came of it is
 * written by another job. */
struct delivery {
    struct list in_runner;
    struct runner *runner;
    struct runner_message *known;
    struct schedule_entry *entry;
    struct work work;
    struct deadline deadline; /* what could not be written is written again */
    struct pool pool;         /* of the arena, not the loop's: jobs use it */
    struct arena arena;
    struct arena again; /* what others have written, as it was read the last time */
    int error;          /* of the last job */
    struct delivery_file *file;
    struct delivery_body body;
    struct store_place place;
    struct spool_message message;
    struct carrier carrier;
    struct transaction transaction;
    struct recipient **asked; /* message.recipient_count; NULL: not of this delivery */
    bool is_look;             /* nothing is to be delivered: it expires, or a report is due */
    bool joins;               /* a delivery of the same message that has the file already */
    bool has_transaction;
    struct delivery_miss miss;
    struct delivery_writing writing;
    struct delivery_end end;
};

/* delivery_take.c: the job. `error`, or file, place, message and body are set; a message that says
 * it is held is not kept open. */
void delivery_take(struct work *w);
/* In the last job: a delivery has ended that did not take the message away. */
void delivery_end_try(const struct delivery *d);

/* The last one ends the hold on the message. */
void delivery_leave_file(struct delivery *d);
/* No job uses it any more: the next one that waits for it may. */
void delivery_release_file(struct delivery *d);
/* The entry is given back as `result` says, the delivery goes. */
void delivery_done(struct delivery *d, enum schedule_result result);
void delivery_recycle(struct delivery *d); /* nothing is known of it any more */

/* delivery_end.c: outcomes are gathered from the transaction, if there was one, and written, be it
 * again and again; then the delivery goes. Never at once. */
void delivery_finish(struct delivery *d);
void delivery_hurry(struct delivery *d); /* we stop: what could not be written is tried once more */

/* delivery_again.c: delivery_finish() follows, in a while. */
void delivery_again(struct delivery *d);
void delivery_end_aside(struct delivery *d);

/* delivery_log.c */
/* Where something became of it: an outcome, a report. */
void delivery_log_recipient(struct delivery *d, uint32_t index);
void delivery_log_held(const struct delivery *d);
void delivery_log_torn(const struct delivery *d);
void delivery_log_bad(const struct delivery *d, int error); /* it lies in bad/ */
void delivery_log_failed(const struct delivery *d, const char *what, int error);

#endif
