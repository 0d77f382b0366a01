/* SPDX-License-Identifier: BSD-2-Clause */
/* When which message is tried: one queue a target, fair among senders, bounded in concurrency.
 * Pure: time is an argument, nothing is opened, nobody is called. All times but two are of a
 * clock that only goes on, whatever is done to the wall clock: due times outlive a jump of it. */
#ifndef POSTERN_SPOOL_SCHEDULE_H
#define POSTERN_SPOOL_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/hash.h"
#include "proxy/base/id.h"
#include "proxy/base/list.h"

/* One message at one target: what the runner keeps in memory. A message with several targets has
 * several. At most 300 octets with all that belongs to it. */
struct schedule_entry {
    struct list in_queue;   /* of its target: ready by sender, or waiting */
    struct list in_message; /* the other targets of the same message */
    struct schedule_target *target;
    struct id id;
    uint32_t directory;
    uint32_t heap_at; /* where it stands in the target's heap */
    uint32_t sender;  /* hash of the sender: fairness */
    void *domains;    /* its owner's: of the recipients */
    uint16_t tries;
    uint16_t recipient_count;
    uint8_t state;         /* enum schedule_state */
    uint8_t doublings;     /* of the pause of a possible duplicate */
    bool may_be_duplicate; /* waits its time whatever drain, ETRN or flush of many say */
    bool is_held;
    bool has_slot;     /* RUNNING: it counts at its target */
    bool is_look;      /* RUNNING: `look_s` has come, nothing is to be delivered */
    int64_t arrived_s; /* wall clock */
    int64_t tried_s;   /* likewise; the last time that is known of, its owner's */
    int64_t due_s;
    int64_t look_s; /* it is given out then, whether the target is there or not: it expires, or its
                       sender is to be warned; INT64_MAX: never. Whoever gets it moves it on */
    int64_t expires_s; /* from then on it is given out for a look only where the target was found
                          away since: else it is tried first. INT64_MAX: never */
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

/* At most `slots` run at the same time, over all targets. The fewer are free, the fewer each target
 * may have: always less than are free when it begins one more. So targets that are slow, however
 * many, leave room for the next. NULL: no memory. */
struct schedule *schedule_new(struct hash_key secret, uint32_t slots);
void schedule_free(struct schedule **s); /* the entries too */

/* The queue of that name, made where there is none; NULL: no memory. */
struct schedule_target *schedule_target_of(struct schedule *s, struct bytes name);
void schedule_set_policy(struct schedule_target *t, const struct schedule_policy *policy);
const struct schedule_policy *schedule_policy(const struct schedule_target *t);
struct bytes schedule_target_name(const struct schedule_target *t);
/* The first, or the one behind `t`; NULL: no more. */
struct schedule_target *schedule_next_target(struct schedule *s, struct schedule_target *t);

/* A copy of `entry` is queued: held, or due at `due_s`; 0: now, behind those that were added
 * before. NULL: no memory. Nothing else needs any: what is queued can always be given out. */
struct schedule_entry *schedule_add(struct schedule_target *t, const struct schedule_entry *entry);
/* Of one that was read from the disk: when it is due after `tries`, the last of them then, which is
 * not to come. */
void schedule_set_due(const struct schedule_target *t, struct schedule_entry *e, int64_t tried_s);
void schedule_remove(struct schedule_entry *e); /* frees it */
/* Entries of a target, in no order; NULL: no more. */
struct schedule_entry *schedule_next_entry(struct schedule_target *t,
                                           const struct schedule_entry *e);

/* What may be delivered now, RUNNING from here on; NULL: nothing. Senders take turns. While the
 * target is down only one at a time is given out, at the pace of the probes. */
struct schedule_entry *schedule_take(struct schedule *s, int64_t now_s);
/* When to call that again though nothing happens; INT64_MAX: never. */
int64_t schedule_wake_s(const struct schedule *s);

/* What became of what was taken. DONE: schedule_remove() follows. */
enum schedule_result {
    SCHEDULE_DONE,
    SCHEDULE_DEFERRED,  /* its own 4xx: waits its pause */
    SCHEDULE_UNKNOWN,   /* may be a duplicate: waits max(10 minutes, first pause), then doubling */
    SCHEDULE_NO_TARGET, /* no connection: the target is down; the entry keeps its place */
    SCHEDULE_FAILED_HERE, /* disk or memory: waits its pause, and says nothing of the target */
    SCHEDULE_PUT_BACK     /* nothing was tried: it waits until `due_s`, which may have been moved */
};
/* Legal when the entry is RUNNING. */
void schedule_report(struct schedule_entry *e, enum schedule_result result, int64_t now_s);
/* Legal when the entry is RUNNING. Nothing is asked of the target any more for it, and others may
 * have the slot. schedule_report() follows. */
void schedule_set_aside(struct schedule_entry *e);
/* A probe found it there: all that waits is due now, but for possible duplicates. */
void schedule_up(struct schedule_target *t);
bool schedule_is_down(const struct schedule_target *t);
/* The target was found away since the time of the entry was over, and was not there since. */
bool schedule_was_missed(const struct schedule_entry *e);
/* flush: like that, for one entry; `is_by_id`: possible duplicates too. Where the target is down
 * the next try to reach it is made now, with this one. False: nothing has changed by it. */
bool schedule_hurry(struct schedule_entry *e, int64_t now_s, bool is_by_id);

struct schedule_counts {
    uint64_t messages, running, held;
    uint32_t concurrency; /* allowed now */
};
struct schedule_counts schedule_count(const struct schedule_target *t);

#endif
