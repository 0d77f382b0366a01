/* SPDX-License-Identifier: BSD-2-Clause */
/* One delivery: what delivery*.c share. */
#ifndef POSTERN_DELIVERY_PRIVATE_H
#define POSTERN_DELIVERY_PRIVATE_H

#include "route/carrier.h"
#include "spool/runner_private.h"
#include "spool/runner_report.h"

enum delivery_state {
    DELIVERY_TAKING,    /* the first job takes the file and reads it */
    DELIVERY_CARRYING,  /* the transaction runs */
    DELIVERY_GATHERING, /* there was no memory to gather the outcome: again at `deadline` */
    DELIVERY_WAITING,   /* another delivery of the message uses the file, or an operator's job */
    DELIVERY_WRITING,   /* the last job writes the outcome */
    DELIVERY_RESTING /* the outcome is written at `deadline`; `error`: why it could not be written
                      * before, or 0 */
};

/* Whether the target was tried, and why it has not spoken. */
enum delivery_try {
    DELIVERY_UNTRIED,
    DELIVERY_ASKED,
    DELIVERY_NO_TARGET,  /* no connection came about */
    DELIVERY_NO_ROOM,    /* all connections are in use */
    DELIVERY_FAILED_HERE /* no memory, or the file cannot be read; this counts as a try */
};

/* What becomes of the file. */
enum delivery_fate {
    DELIVERY_STAYS,
    DELIVERY_OUTDATED, /* the file stays, and says that the message is not due: what the runner knew
                        * is outdated */
    DELIVERY_REMOVED,
    DELIVERY_HELD, /* moved to hold/: the message was refused, and nobody can be told */
    DELIVERY_BAD   /* in bad/ */
};

/* A report that is due. */
struct delivery_report {
    bool *is_due;                /* message.recipient_count */
    bool is_made;                /* the report is durable, or nobody wants one */
    struct runner_report report; /* it lies at `place` if `result` is BOUNCE_MADE */
};

/* What is to be written. */
struct delivery_end {
    int64_t now_ms;
    bool *is_changed; /* message.recipient_count: this recipient's outcome is to be written */
    bool *is_expired; /* ... it was refused because its time is over */
    bool is_any_changed, is_any_unknown, is_any_deferred;
    bool must_sync;
    struct delivery_report reports[BOUNCE_KINDS];
    int report_error;
    bool has_written; /* records were written, though something after them failed */
    int bad_error;    /* why the message lies in bad/ */
    int lost_error;   /* why records that may be lost were not written */
};

/* The last job of a delivery, and its failures. */
struct delivery_writing {
    bool is_last;  /* there is no other try, whether the outcome can be written or not */
    bool is_alone; /* the only user of the file */
    bool is_aside; /* the delivery has given up its place at the target */
    bool is_stuck; /* a record would have to go into a new file, and the body, which that needs,
                    * cannot be read */
    unsigned failures;
};

/* The file of a message, taken and locked. Deliveries of one message to several targets share the
 * file, so that none waits for another. Each reads the others' records again before it writes its
 * own. */
struct delivery_file {
    struct store_taken taken; /* fd -1: not taken */
    unsigned users;
    bool is_shared;  /* several deliveries have used the file */
    bool is_of_copy; /* a copy reads the file and closes it: no other delivery may join */
    bool is_in_use;  /* a job reads or writes the file: of one of the deliveries, or an operator's
                      * that removes it */
    bool is_gone;    /* an operator has deleted the message: nothing is written about it any more */
    bool was_torn;   /* the file had a torn end, which was cut */
    bool was_left;   /* a process died while it delivered the message */
};

/* The body of a small message, as the first job has read it, until the copy has it. */
struct delivery_body {
    uint8_t *at;
    int error; /* why the body cannot be read now */
};

/* A job takes and reads the file, the transaction runs on the loop, and another job writes the
 * outcome. */
struct delivery {
    struct list in_runner;
    struct runner *runner;
    struct runner_message *known;
    struct schedule_entry *entry;
    struct work work;
    struct deadline deadline; /* when what could not be written is written again */
    struct pool pool;         /* of `arena`; not one of the loop's, because jobs use it */
    struct arena arena;
    struct arena again; /* what other deliveries have written, as it was last read */
    int error;          /* of the last job, or why no job could begin */
    enum delivery_state state;
    enum delivery_try tried;
    enum delivery_fate fate;
    unsigned up_count; /* runner.up_count when the delivery began */
    struct delivery_file *file;
    struct delivery_body body;
    struct store_place place;
    struct spool_message message;
    struct carrier carrier; /* carrier.transaction is NULL if the target is not asked */
    struct transaction transaction;
    struct recipient **asked; /* message.recipient_count; NULL: this delivery does not ask for that
                               * recipient */
    bool is_look;             /* nothing is to be delivered: the message expires, or a report is
                               * due */
    bool joins;               /* it joined a delivery of the same message that had the file
                               * already */
    struct delivery_writing writing;
    struct delivery_end end;
};

/* delivery_life.c */
struct delivery *delivery_new(struct runner *r); /* NULL: no memory */
/* The file of another delivery of this message, if that lets others join; else NULL. */
struct delivery_file *delivery_find_file(struct runner *r, const struct runner_message *known);
struct delivery_file *delivery_new_file(void); /* NULL: no memory */
void delivery_join(struct delivery *d, struct delivery_file *file);
/* The last delivery that leaves the file ends the hold on the message. */
void delivery_leave_file(struct delivery *d);
/* Legal when a job that used the file has ended. The next delivery that waits for the file may use
 * it. */
void delivery_release_file(struct delivery *d);
/* Reports `result` for the entry and ends the delivery. */
void delivery_done(struct delivery *d, enum schedule_result result);
void delivery_recycle(struct delivery *d); /* legal when it has left its file */

/* delivery_take.c: the first job. Sets `error`, or file, place, message and body. The file of a
 * message that is held is closed again. */
void delivery_take(struct work *w);
/* In the last job: takes the mark of this try from a file that stays. */
void delivery_end_try(const struct delivery *d);

#define DELIVERY_HELD_WORDS "it was refused, and nobody can be told"

/* delivery_gather.c */
bool delivery_gather(struct delivery *d); /* sets `end`; false: no memory */
/* Legal when it is stuck and alone: adds to `end` that the other recipients have expired, once the
 * time of all of them is over. */
void delivery_gather_rest(struct delivery *d);
bool delivery_is_of_entry(const struct delivery *d, const struct spool_recipient *s);
bool delivery_is_any_due(const struct delivery *d, const struct delivery_report *report);
/* it was made, and somebody is told */
bool delivery_is_arrived(const struct delivery_report *report);

/* delivery_write.c: the last job. Sets `error`, or does and writes all of `end`; sets `fate`. */
void delivery_write(struct work *w);

/* delivery_end.c: the outcome is gathered and written, again and again if need be; then the
 * delivery ends, never within the call. */
void delivery_finish(struct delivery *d);
void delivery_hurry(struct delivery *d); /* tries at once to write what could not be written */

/* delivery_log.c */
/* One line if the recipient has an outcome or a report. */
void delivery_log_recipient(struct delivery *d, uint32_t index);
void delivery_log_held(const struct delivery *d);
void delivery_log_torn(const struct delivery *d);
void delivery_log_bad(const struct delivery *d, int error); /* the message was moved to bad/ */
void delivery_log_failed(const struct delivery *d, const char *what, int error);

#endif
