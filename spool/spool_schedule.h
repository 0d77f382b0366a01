/* SPDX-License-Identifier: BSD-2-Clause */
/* When which message is tried: one queue a target, fair among senders, bounded in concurrency.
 * Pure: time is an argument, nothing is opened, nobody is called. All times but two are of a clock
 * that only goes on, so that due times outlive a jump of the wall clock. */
#ifndef POSTERN_SPOOL_SCHEDULE_H
#define POSTERN_SPOOL_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/hash.h"
#include "proxy/base/id.h"
#include "proxy/base/list.h"

/* One message at one target, as the runner keeps it in memory. A message with several targets has
 * several entries. An entry has at most 300 octets with all that belongs to it. */
struct schedule_entry {
    struct list in_queue;   /* of its target: ready by sender, or waiting */
    struct list in_message; /* the other targets of the same message */
    struct schedule_target *target;
    struct id id;
    uint32_t directory;
    uint32_t heap_at; /* the entry's position in the target's heap */
    uint32_t sender;  /* hash of the sender: fairness */
    void *domains;    /* the owner's: the domains of the recipients */
    uint16_t tries;
    uint16_t recipient_count;
    uint8_t state;         /* enum schedule_state */
    uint8_t doublings;     /* of the pause of a possible duplicate */
    bool may_be_duplicate; /* waits its time, also after a drain, an ETRN or a flush of many */
    bool is_held;
    bool has_slot;     /* RUNNING: the entry counts at its target */
    bool is_look;      /* RUNNING: `look_s` has come, nothing is to be delivered */
    int64_t arrived_s; /* wall clock */
    int64_t tried_s;   /* likewise; the last try that the owner knows of */
    int64_t due_s;
    int64_t look_s;    /* the entry is given out for a look then, also while the target is down: it
                        * expires, or its sender is to be warned; INT64_MAX: never. Whoever gets the
                        * entry moves this time on */
    int64_t expires_s; /* from then on the entry is given out for a look only if the target was
                        * found down since; else it is tried first. INT64_MAX: never */
    uint64_t body_bytes;
};

enum schedule_state { SCHEDULE_WAITING, SCHEDULE_READY, SCHEDULE_RUNNING, SCHEDULE_HELD };

struct schedule_policy { /* of a target; see struct target_queue */
    const uint64_t *retry_ms;
    size_t retry_count;
    uint64_t expire_ms;
    uint32_t connections_max;
};

struct schedule_target;
struct schedule;

/* At most `slots` entries run at the same time, over all targets. A target may begin one more only
 * while it has fewer slots than are free. So slow targets, however many, leave room for the next.
 * NULL: no memory. */
struct schedule *schedule_new(struct hash_key secret, uint32_t slots);
void schedule_free(struct schedule **schedule); /* the entries too */

/* The queue of that name, made if there is none; NULL: no memory. */
struct schedule_target *schedule_target_of(struct schedule *schedule, struct bytes name);
void schedule_set_policy(struct schedule_target *t, const struct schedule_policy *policy);
const struct schedule_policy *schedule_policy(const struct schedule_target *t);
struct bytes schedule_target_name(const struct schedule_target *t);
/* The first target, or the one after `t`; NULL: no more. */
struct schedule_target *schedule_next_target(struct schedule *schedule, struct schedule_target *t);

/* Queues a copy of `entry`: held, or due at `due_s`; 0: due now, behind those that were added
 * before. NULL: no memory. Nothing else needs memory: what is queued can always be given out. */
struct schedule_entry *schedule_add(struct schedule_target *t, const struct schedule_entry *entry);
/* Sets when an entry that was read from the disk is due. It had `tries`, the last of them at
 * `tried_s`, which is not in the future. */
void schedule_set_due(const struct schedule_target *t, struct schedule_entry *e, int64_t tried_s);
void schedule_remove(struct schedule_entry *e); /* frees the entry */
/* Entries of a target, in no order; NULL: no more. */
struct schedule_entry *schedule_next_entry(struct schedule_target *t,
                                           const struct schedule_entry *e);

/* An entry that may be delivered now, RUNNING from here on; NULL: none. Senders take turns. While a
 * target is down, only one entry at a time is given out, at the pace of the probes. */
struct schedule_entry *schedule_take(struct schedule *schedule, int64_t now_s);
/* When to call schedule_take() again if nothing else happens; INT64_MAX: never. */
int64_t schedule_wake_s(const struct schedule *schedule);

/* How a delivery ended. DONE: schedule_remove() follows. */
enum schedule_result {
    SCHEDULE_DONE,
    SCHEDULE_DEFERRED,  /* a 4xx of its own: the entry waits its pause */
    SCHEDULE_UNKNOWN,   /* it may be a duplicate: waits max(10 minutes, first pause), then twice as
                         * long each time */
    SCHEDULE_NO_TARGET, /* no connection: the target is down, and the entry keeps its place */
    SCHEDULE_FAILED_HERE, /* disk or memory: waits its pause; the target is not judged */
    SCHEDULE_PUT_BACK     /* nothing was tried: the entry waits until `due_s`, which may have been
                           * moved */
};
/* Legal when the entry is RUNNING. */
void schedule_report(struct schedule_entry *e, enum schedule_result result, int64_t now_s);
/* Legal when the entry is RUNNING. Nothing is asked of the target any more for it, and others may
 * have the slot. schedule_report() follows. */
void schedule_set_aside(struct schedule_entry *e);
/* A probe reached the target: all that waits is due now, except possible duplicates. */
void schedule_up(struct schedule_target *t);
bool schedule_is_down(const struct schedule_target *t);
/* Is the target down, and was it found down after the entry's time was over? */
bool schedule_was_missed(const struct schedule_entry *e);
/* flush: makes one entry due now. `is_by_id`: a possible duplicate too. If the target is down, the
 * next try to reach it is made now, with this entry. False: this changed nothing. */
bool schedule_hurry(struct schedule_entry *e, int64_t now_s, bool is_by_id);

struct schedule_counts {
    uint64_t messages, running, held;
    uint32_t concurrency; /* allowed now */
};
struct schedule_counts schedule_count(const struct schedule_target *t);

#endif
