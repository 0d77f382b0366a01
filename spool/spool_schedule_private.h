/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue of a target, and its heap. Pure; for the spool_schedule*.c files only. */
#ifndef POSTERN_SPOOL_SCHEDULE_PRIVATE_H
#define POSTERN_SPOOL_SCHEDULE_PRIVATE_H

#include "spool/spool_schedule.h"

#define SPOOL_SCHEDULE_TURNS   256 /* senders beyond so many share a turn, by their hash */
#define SPOOL_SCHEDULE_NOWHERE UINT32_MAX

/* What is ready of some senders. */
struct turn {
    struct list in_ring; /* linked while `ready` is not empty */
    struct list ready;   /* struct schedule_entry.in_queue */
};

struct schedule_target {
    struct hash_entry by_name;
    struct schedule *schedule;
    struct list in_schedule;
    struct list in_active; /* linked if something may be taken; else wake_s says when */
    struct list in_short;  /* linked if only a slot is missing */
    int64_t wake_s;
    struct schedule_policy policy;
    /* Entries that wait or are ready, ordered by spool_schedule_key(). There is room for every
     * entry, so that none is lost for want of memory. */
    struct schedule_entry **heap;
    size_t heap_count, heap_capacity;
    size_t entry_count;
    struct list others;  /* RUNNING and HELD: struct schedule_entry.in_queue */
    struct list waiting; /* WAITING, without possible duplicates: likewise */
    struct list rushed;  /* WAITING, and due: the target is up again */
    struct list ring;    /* struct turn.in_ring */
    struct turn turns[SPOOL_SCHEDULE_TURNS];
    uint32_t running, held;
    uint32_t concurrency;
    bool is_down;
    bool is_probing;    /* the target is down, and an entry was given out */
    size_t probes;      /* since the target is down */
    int64_t next_try_s; /* while the target is down */
    int64_t missed_s;   /* when the target was last found down */
    uint8_t name[];
};

struct schedule {
    struct hash_table by_name;
    struct list targets; /* struct schedule_target.in_schedule */
    struct list active;  /* struct schedule_target.in_active */
    struct list shorts;  /* struct schedule_target.in_short */
    int64_t wake_s;      /* of the other targets */
    uint32_t slots, running;
};

/* spool_schedule_turns.c: the entry is READY from here on. AS_IT_CAME: the entry keeps its
 * place. */
enum spool_schedule_place { SPOOL_SCHEDULE_LAST, SPOOL_SCHEDULE_AS_IT_CAME, SPOOL_SCHEDULE_FIRST };
void spool_schedule_make_ready(struct schedule_target *t, struct schedule_entry *e,
                               enum spool_schedule_place where);
void spool_schedule_leave_turn(struct schedule_target *t, struct schedule_entry *e);
/* Legal when something is ready. */
struct schedule_entry *spool_schedule_next_in_turn(struct schedule_target *t);

/* The time at which something is to be done about an entry that waits or is ready. */
int64_t spool_schedule_key(const struct schedule_entry *e);
/* Room for one more entry. False: no memory. */
bool spool_schedule_heap_reserve(struct schedule_target *t);
/* Legal when there is room for the entry, and it is not in the heap. */
void spool_schedule_heap_push(struct schedule_target *t, struct schedule_entry *e);
void spool_schedule_heap_remove(struct schedule_target *t, struct schedule_entry *e);
/* after the key of the entry at `at` has grown */
void spool_schedule_heap_down(struct schedule_target *t, size_t at);

#endif
