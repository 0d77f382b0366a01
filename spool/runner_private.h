/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the runner share. */
#ifndef POSTERN_RUNNER_PRIVATE_H
#define POSTERN_RUNNER_PRIVATE_H

#include "proxy/base/hash.h"
#include "proxy/io/deadline.h"
#include "proxy/io/work.h"
#include "spool/runner.h"

/* Deliveries at the same time, over all targets. Each has two descriptors. */
#define RUNNER_DELIVERIES_MAX 400

#define RUNNER_READERS_MAX 4 /* reading jobs at the same time */
#define RUNNER_DIRTY_MAX   64

/* The domains of an entry's recipients, and how many recipients have each. Entries with the same
 * set share it. */
struct runner_domains {
    struct hash_entry by_text;
    uint32_t uses;
    uint8_t text[]; /* see runner_domains.c */
};

/* A known message. */
struct runner_message {
    struct runner_message *next; /* in the same bucket */
    struct list entries;         /* struct schedule_entry.in_message */
    struct store_place place;
    struct runner_quarantine *quarantine; /* NULL: no filter has it held */
    bool is_busy; /* a job or a delivery has the message: others must wait */
};

/* Messages by id. There may be millions: hash_table would keep too many octets of each, and take
 * too long to grow. */
struct runner_segment; /* some buckets */
struct runner_table {
    struct runner_segment **segments;
    size_t segment_count, segment_capacity;
    size_t bucket_count;
    size_t level; /* the largest power of two that is not more than bucket_count */
    size_t message_count;
    size_t emptied; /* by runner_table_any(): how many buckets are known to be empty */
};

/* Places of messages that are to be read, in the order in which they came. */
struct runner_places {
    struct store_place *at;
    size_t first, count, capacity; /* at[first .. count) */
};

/* Directories from which a name was removed, and which are not synced yet. */
struct runner_dirty {
    struct deadline deadline;
    uint32_t at[RUNNER_DIRTY_MAX];
    size_t count;
};

/* What is to be read, and who reads. */
struct runner_load {
    struct runner_places arrived; /* new ones go first */
    struct runner_places found;   /* by listing */
    struct deadline rescan;
    bool wants_rescan;                        /* list again soon after the listing that runs */
    unsigned readers;                         /* jobs */
    uint64_t arrivals;                        /* how many there were so far */
    uint64_t oldest_read[RUNNER_READERS_MAX]; /* of each job: its first arrival; UINT64_MAX: none */
    struct loop_post look;                    /* goes on with `found` in the next turn of the
                                               * loop */
    bool is_listing, is_loaded, is_indexing;
};

/* What cannot be read, or is no message. Strays beyond so many are not told apart. */
#define RUNNER_STRAYS_MAX 256
struct runner_stray {
    uint64_t key;     /* of its name, and of what is wrong */
    uint32_t listing; /* the last listing that saw it */
};
struct runner_strays {
    struct runner_stray at[RUNNER_STRAYS_MAX];
    size_t count;
    uint32_t listing; /* the last one */
};

/* Messages that filters have quarantined. */
struct runner_quarantines {
    struct list all;                  /* struct runner_quarantine.in_runner */
    struct list expired;              /* struct runner_quarantine.in_expired */
    bool is_expiring;                 /* one of them is being removed */
    void (*expire)(struct runner *r); /* when `expired` has got one */
};

/* Says in the spool that this runner works, see store_mark(). */
struct runner_mark {
    struct id id;
    int fd;         /* -1: none */
    bool must_stay; /* an outcome could not be written: the next start shall warn of duplicates */
};

struct runner {
    struct runner_host host;
    struct schedule *schedule;
    struct runner_table messages;
    struct list walks;         /* struct runner_walk.in_runner */
    struct hash_table domains; /* struct runner_domains.by_text */
    struct list deliveries;    /* struct delivery.in_runner */
    struct list spare;         /* ended ones, to be used again */
    unsigned delivery_count;
    unsigned aside_count; /* deliveries that gave up their place, because their outcome cannot be
                           * written */
    unsigned job_count;   /* all other jobs that run */
    unsigned up_count;    /* how often a target came back */
    struct loop_post pump;
    void (*pump_now)(void *owner); /* runner.c: begins the deliveries that are due */
    struct deadline wake;          /* when the next entry is due */
    struct runner_dirty dirty;
    struct runner_load load;
    struct runner_strays strays;
    struct runner_quarantines quarantine;
    struct runner_mark mark;
    void (*stopped)(void *owner);
    struct loop_post stopping;
    bool is_stopping, is_stopped, is_aborted;
};

/* Is the recipient still to be delivered? */
static inline bool runner_is_open(const struct spool_recipient *s)
{
    return s->fate == FATE_OPEN || s->fate == FATE_DEFERRED || s->fate == FATE_UNKNOWN ||
           s->fate == FATE_LOST;
}

/* Is a report due: on a refusal, or a success that nobody else reports? */
static inline bool runner_is_due(const struct spool_recipient *s)
{
    bool is_told = s->fate == FATE_ACCEPTED && (s->is_relayed || s->is_delivered);

    return !s->is_reported && (s->fate == FATE_REFUSED || is_told);
}

/* ---- runner_jobs.c ---- */

void runner_jobs_init(struct runner *r, void (*pump)(void *owner));
/* Something may be due: looks soon, outside every callback. */
void runner_pump_later(struct runner *r);
void runner_may_stop(struct runner *r); /* a delivery has ended, maybe the last one */
void runner_job_done(struct runner *r); /* one of job_count has ended */
/* A name was removed from the directory, which is synced within 100 ms. */
void runner_sync_later(struct runner *r, uint32_t directory);

/* ---- runner_table.c: what is known, by id ---- */

struct runner_message *runner_find(struct runner *r, const struct id *id);
/* Legal when no message of that id is there. False: no memory. */
bool runner_table_add(struct runner *r, struct runner_message *known);
void runner_table_remove(struct runner *r,
                         struct runner_message *known);    /* legal when it is there */
struct runner_message *runner_table_any(struct runner *r); /* for removing all messages; NULL: none
                                                            * is left */
void runner_table_done(struct runner *r);                  /* legal when it is empty: frees */
void runner_end_walks(struct runner *r);                   /* at once, wherever they are */

/* ---- runner_message.c: what is known ---- */

/* Sets the queue of each recipient; a message that was read has none yet. Jobs do this, too. */
void runner_assign_queues(const struct runner *r, struct spool_message *message);
/* Learns what the file says of a message; nothing changes if the message is known. False: no
 * memory; the next listing finds the message again. */
bool runner_learn(struct runner *r, const struct store_place *place, struct spool_message *message);
/* The message is known, and nothing is to be done about it. */
void runner_ignore(struct runner *r, const struct store_place *place);
/* Legal when no job and no delivery has it. With its entries. */
void runner_forget(struct runner *r, struct runner_message *known);
/* Renews the entry's numbers. False: nothing is left to be done at its target. */
bool runner_refresh(struct runner *r, struct schedule_entry *e,
                    const struct spool_message *message);
/* Does the message say that its target may have taken it in a try that the entry does not know
 * of? */
bool runner_is_outdated(const struct schedule_entry *e, const struct spool_message *message);
void runner_forget_entry(struct runner *r, struct schedule_entry *e);
void runner_forget_all(struct runner *r);

/* ---- runner_quarantine.c: what filters hold ---- */

void runner_quarantine_init(struct runner *r, void (*expire)(struct runner *r));
/* False: no memory. */
bool runner_quarantine_begin(struct runner *r, struct runner_message *known,
                             const struct spool_hold *hold);
void runner_quarantine_end(struct runner_message *known); /* does nothing where there is none */
void runner_quarantine_stop(struct runner *r);            /* nothing expires any more */
/* One for which the time is over; false: there is none. It comes again after a while if
 * runner_quarantine_again() says so. */
bool runner_quarantine_next(struct runner *r, struct id *id_out);
void runner_quarantine_again(struct runner_message *known);

/* ---- runner_expire.c ---- */

/* Removes messages for which the time is over, one after the other. */
void runner_expire(struct runner *r);

/* ---- runner_domains.c: recipients by domain ---- */

/* Sets the domains of the open recipients of the entry's target. Without memory the entry has
 * none. */
void runner_set_domains(struct runner *r, struct schedule_entry *e,
                        const struct spool_message *message);
void runner_leave_domains(struct runner *r, struct schedule_entry *e);
/* Legal when a domain is meant, or one with its subdomains. */
bool runner_has_domain(const struct runner_domains *domains, const struct runner_selection *which);

/* ---- runner_load.c ---- */

void runner_load_start(struct runner *r);
void runner_load_pump(struct runner *r); /* starts as many reading jobs as make sense */
void runner_load_done(struct runner *r); /* frees */

/* ---- runner_stray.c ---- */

/* True: the stray is new, and is to be logged. */
bool runner_see_stray(struct runner *r, struct bytes name, int error);
void runner_next_strays(struct runner *r); /* a listing has ended: forgets strays that have gone */

/* ---- runner_index.c ---- */

/* The directories of queue/ in which something lies. */
struct runner_directories {
    uint32_t *at;
    size_t count;
};
/* Job: the directories of `places`, which are in the order of directories. Without memory there are
 * none. */
struct runner_directories runner_directories_of(const struct runner_places *places);
/* Makes the indexes that are due in `directories`, which it takes over. */
void runner_index_start(struct runner *r, struct runner_directories directories);

/* ---- delivery.c ---- */

struct delivery;
/* Legal when the entry is RUNNING, and its message known. Without memory it is put back. */
void delivery_start(struct runner *r, struct schedule_entry *e);
void delivery_abort_all(struct runner *r);

/* delivery_resting.c: deliveries whose outcome could not be written, and which wait with the lock
 * held. */

/* The error of the disk. 0: not all deliveries of that message wait so. */
int delivery_write_error(const struct runner *r, const struct runner_message *known);
/* Writes the outcome now. False: the delivery of this entry does not wait so. */
bool delivery_write_now(struct runner *r, const struct schedule_entry *e);
/* Legal when there is such an error. No delivery uses the file until it is taken back. Returns
 * where the file lies. */
struct store_place delivery_lend(struct runner *r, const struct runner_message *known);
/* Legal when the file is lent. If it is gone, its deliveries end. */
void delivery_take_back(struct runner *r, const struct runner_message *known, bool is_gone);
void delivery_free_spare(struct runner *r);

#endif
