/* SPDX-License-Identifier: BSD-2-Clause */
/* One delivery: what delivery*.c share. */
#ifndef POSTERN_DELIVERY_PRIVATE_H
#define POSTERN_DELIVERY_PRIVATE_H

#include "route/carrier.h"
#include "spool/runner_private.h"
#include "spool/runner_report.h"

#define DELIVERY_REPORTS 3 /* kinds: enum bounce_kind */

enum delivery_state {
    DELIVERY_TAKING,    /* the first job takes the file and reads it */
    DELIVERY_CARRYING,  /* the transaction runs */
    DELIVERY_GATHERING, /* there was no memory for what came of it: `deadline` */
    DELIVERY_WAITING,   /* another delivery of the message uses the file, or an operator's job */
    DELIVERY_WRITING,   /* the last job writes what came of it */
    DELIVERY_RESTING /* it is written when `deadline` is reached; `error`: why not before, or 0 */
};

/* Whether the target was tried, and why it has not spoken. */
enum delivery_try {
    DELIVERY_UNTRIED,
    DELIVERY_ASKED,
    DELIVERY_NO_TARGET,  /* no connection came about */
    DELIVERY_NO_ROOM,    /* all connections are in use */
    DELIVERY_FAILED_HERE /* no memory, or the file cannot be read: it counts as a try all the same
                          */
};

/* What becomes of the file. */
enum delivery_fate {
    DELIVERY_STAYS,
    DELIVERY_OUTDATED, /* it stays, and says that it is not due: what is known of it is not true */
    DELIVERY_REMOVED,
    DELIVERY_HELD, /* in hold/: it was refused, and nobody can be told */
    DELIVERY_BAD   /* in bad/ */
};

/* A report that is due. */
struct delivery_report {
    bool *is_due;                /* message.recipient_count */
    bool is_made;                /* durable, or nobody wants it */
    struct runner_report report; /* `place` has it where `result` is BOUNCE_MADE */
};

/* What is to be written. */
struct delivery_end {
    int64_t now_ms;
    bool *is_changed; /* message.recipient_count: its outcome is to be written */
    bool *is_expired; /* ... it was refused as its time is over */
    bool is_any_changed, is_any_unknown, is_any_deferred;
    bool must_sync;
    struct delivery_report reports[DELIVERY_REPORTS];
    int report_error;
    bool has_written; /* and then something else has failed */
    int bad_error;    /* why it lies in bad/ */
    int lost_error;   /* what may be lost was not written */
};

/* For the last job, and when it fails. */
struct delivery_writing {
    bool is_last;  /* whether it can be written or not */
    bool is_alone; /* the only user of the file */
    bool is_aside; /* it has lost its place at the target */
    unsigned failures;
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
    int error;          /* of the last job, or that none could begin */
    enum delivery_state state;
    enum delivery_try tried;
    enum delivery_fate fate;
    unsigned up_count; /* the runner's when the delivery began */
    struct delivery_file *file;
    struct delivery_body body;
    struct store_place place;
    struct spool_message message;
    struct carrier carrier; /* its transaction is NULL where the target is not asked */
    struct transaction transaction;
    struct recipient **asked; /* message.recipient_count; NULL: not of this delivery */
    bool is_look;             /* nothing is to be delivered: it expires, or a report is due */
    bool joins;               /* a delivery of the same message that has the file already */
    struct delivery_writing writing;
    struct delivery_end end;
};

/* delivery_life.c */
struct delivery *delivery_new(struct runner *r); /* NULL: no memory */
/* Of another delivery of the message that is under way, where that lets others use it. */
struct delivery_file *delivery_find_file(struct runner *r, const struct runner_message *known);
struct delivery_file *delivery_new_file(void); /* NULL: no memory */
void delivery_join(struct delivery *d, struct delivery_file *file);
/* The last one ends the hold on the message. */
void delivery_leave_file(struct delivery *d);
/* Legal when a job has used it, which has ended: the next one that waits for it may. */
void delivery_release_file(struct delivery *d);
/* The entry is given back as `result` says, the delivery goes. */
void delivery_done(struct delivery *d, enum schedule_result result);
void delivery_recycle(struct delivery *d); /* legal when it has left its file: it goes */

/* delivery_take.c: the job. `error`, or file, place, message and body are set; a message that says
 * it is held is not kept open. */
void delivery_take(struct work *w);
/* In the last job: a delivery has ended that did not take the message away. */
void delivery_end_try(const struct delivery *d);

/* delivery_gather.c */
bool delivery_gather(struct delivery *d); /* sets `end`; false: no memory */
bool delivery_is_of_entry(const struct delivery *d, const struct spool_recipient *s);
bool delivery_is_any_due(const struct delivery *d, const struct delivery_report *report);
bool delivery_is_arrived(const struct delivery_report *report); /* it was made, for somebody */

/* delivery_write.c: the job. `error`, or all of `end` is done and written; `fate`. */
void delivery_write(struct work *w);

/* delivery_end.c: what came of it is gathered and written, be it again and again; then the delivery
 * goes. Never at once. */
void delivery_finish(struct delivery *d);
void delivery_hurry(struct delivery *d); /* we stop: what could not be written is tried once more */

/* delivery_log.c */
/* Where something became of it: an outcome, a report. */
void delivery_log_recipient(struct delivery *d, uint32_t index);
void delivery_log_held(const struct delivery *d);
void delivery_log_torn(const struct delivery *d);
void delivery_log_bad(const struct delivery *d, int error); /* it lies in bad/ */
void delivery_log_failed(const struct delivery *d, const char *what, int error);

#endif
