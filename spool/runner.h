/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue at work: what lies in the spool is delivered, reported, or waits. One a host, or two
 * while one generation follows another; files are the truth, and a lock on each is held while it is
 * delivered. */
#ifndef POSTERN_RUNNER_H
#define POSTERN_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "route/target.h"
#include "spool/bounce.h"
#include "spool/spool_schedule.h"
#include "spool/store.h"

struct runner;

/* What it needs of the process around it. */
struct runner_host {
    void *owner;
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct store *store;
    struct copy_limits *copies;
    struct bounce_conf bounce;
    struct bytes bounce_relay; /* empty: the relay that the recipient was routed to */
    uint64_t delay_warning_ms; /* 0: none */
    bool is_cold;              /* posternctl without a server: nothing is delivered */
    /* NULL: no target of that name (any more): the message waits for it, or for a reroute. */
    struct target *(*find_target)(void *owner, struct bytes name);
    /* Where the tables of that listener lead this recipient now; in `arena`. */
    void (*route)(void *owner, struct bytes listener, const struct address *to, struct arena *arena,
                  struct routed *routed_out);
    struct id (*next_id)(void *owner);
    /* Some of what has arrived is known now, see runner_knows(). NULL: nobody waits for it. */
    void (*has_read)(void *owner);
};

/* Reads the queue by jobs, and begins. NULL: no memory. */
struct runner *runner_new(const struct runner_host *host);
/* Legal when it was not called before. No new deliveries; those that run may end. `stopped` is
 * called once none runs, never within. */
void runner_stop(struct runner *r, void (*stopped)(void *owner));
void runner_abort(struct runner *r); /* those that run are dropped: they stay in the queue */
void runner_free(struct runner **r); /* legal when the loop has ended, and none of its jobs runs */

/* A worker has committed a message there. May be lost, or told twice. */
void runner_arrived(struct runner *r, const struct store_place *place);
/* The same by whoever knows what stands in the file: it need not be read for that. */
void runner_heard(struct runner *r, const struct store_place *place, uint64_t body_bytes,
                  struct bytes records);
/* Somebody else may have been told of arrivals. */
void runner_look_again(struct runner *r);
void runner_target_up(struct runner *r, struct target *target);
bool runner_is_loaded(const struct runner *r); /* the queue was read: what it lists is all */
/* So many files and directories of the spool cannot be read, or are no messages: each was logged.
 */
size_t runner_stray_count(const struct runner *r);
/* How many have arrived so far; and are the first so many known (or gone already)? */
uint64_t runner_arrivals(const struct runner *r);
bool runner_knows(const struct runner *r, uint64_t arrivals);

/* ---- queue control (posternctl, ETRN) ---- */

/* Which messages: one, or those of a domain (original or routed), of it and its subdomains, of a
 * target; or all. */
enum runner_selector { RUNNER_ID, RUNNER_DOMAIN, RUNNER_SUBDOMAINS, RUNNER_TARGET, RUNNER_ALL };
struct runner_selection {
    enum runner_selector by;
    struct bytes text;
};

/* All that is known, some in each turn of the loop; what comes or goes meanwhile is met or not. */
struct runner_walk {
    /* `entries`: a message's, struct schedule_entry.in_message, one for each target. Leaves them
     * where they are. */
    void (*meet)(struct runner_walk *w, const struct list *entries);
    void (*done)(struct runner_walk *w); /* once, never within runner_walk() */
    /* the runner's */
    struct runner *runner;
    struct list in_runner;
    size_t bucket; /* the next one */
    struct loop_post post;
};
void runner_walk(struct runner *r, struct runner_walk *w);
void runner_walk_end(struct runner_walk *w); /* before its end: `done` is not called */

/* These messages are made due, and targets that are down are probed. */
struct runner_flush {
    struct runner_selection which;
    void (*done)(struct runner_flush *f); /* once, never within runner_flush() */
    uint64_t waiting;                     /* so many wait or are being delivered */
    uint64_t flushed; /* so many were made due, where repeating it changes nothing, or written once
                         more, which only RUNNER_ID and RUNNER_ALL do */
    struct runner_walk walk;              /* runner_walk_end() gives it up */
    const struct schedule_target *probed; /* the runner's: the last one */
};
void runner_flush(struct runner *r, struct runner_flush *f);

/* One message for show, cat, hold, release, delete, bounce, reroute: by a job, with its lock held
 * but for show and cat.
 * `done` is called once, never within the call; `error`: -ENOENT, -EAGAIN: it is being delivered at
 * this moment, try again; or why it could not be done. Where a delivery has ended and the disk does
 * not take what came of it, that error, and another try of its; but it can be deleted. */
enum runner_act {
    RUNNER_SHOW, /* message is set */
    RUNNER_CAT,  /* ... and content: all of the body */
    RUNNER_HOLD,
    RUNNER_RELEASE,
    RUNNER_DELETE,
    RUNNER_BOUNCE, /* what is open is refused by the operator's word */
    RUNNER_REROUTE /* by the tables; or to the target `to` */
};
struct runner_request {
    enum runner_act act;
    struct id id;
    struct bytes to;   /* RUNNER_REROUTE; empty: the tables decide */
    struct bytes from; /* ... only what waits for this target; empty: all that is open */
    void (*done)(struct runner_request *request);
    int error;
    const struct spool_message *message; /* while `done` runs */
    uint8_t *content; /* RUNNER_CAT: the asker's, who calls mem_free(); NULL: an error */
    size_t content_bytes;
    struct loop_post post; /* the runner's */
};
void runner_request(struct runner *r, struct runner_request *request);

int64_t runner_now_s(const struct runner *r); /* of the clock that schedule entries are told by */
struct schedule *runner_schedule(struct runner *r);
/* The entries of one message, one for each target; `after` NULL: the first. Valid until the loop
 * goes on. */
const struct schedule_entry *runner_next_of(struct runner *r, const struct id *id,
                                            const struct schedule_entry *after);

/* fsck: reads every file, checksums too; repairs what can be (cuts torn tails, moves bad ones to
 * bad/), tells each finding. `done`: how many messages were seen. */
struct runner_fsck {
    void *owner;
    void (*found)(struct runner_fsck *f, const struct store_place *place, const char *what);
    void (*done)(struct runner_fsck *f, uint64_t messages, uint64_t problems);
    struct loop_post post; /* the runner's */
};
void runner_check(struct runner *r, struct runner_fsck *f);

#endif
