/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue at work: delivers the messages of the spool, reports on them, or lets them wait. A host
 * has one runner, or two while one generation follows another. The files are the truth; a message's
 * file is locked while it is delivered. */
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

/* What a runner needs of the process around it. */
struct runner_host {
    void *owner;
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct store *store;
    struct copy_limits *copies;
    struct bounce_conf bounce;
    struct bytes bounce_relay; /* the relay for reports; empty: the one that the recipient was
                                * routed to */
    uint64_t delay_warning_ms; /* 0: none */
    uint64_t quarantine_expire_ms;
    bool is_cold; /* posternctl without a server: nothing is delivered */
    /* NULL: no target has that name (any more). The message waits for such a target, or for a
     * reroute. */
    struct target *(*find_target)(void *owner, struct bytes name);
    /* In the queue of which target mail for that target and mailbox (address.mailbox) waits: its
     * own, or that of one of its addresses. Always the same; jobs ask, too. */
    struct bytes (*find_queue)(void *owner, struct bytes target, uint64_t mailbox);
    /* Where the tables of that listener lead this recipient now. The route lies in `arena`. */
    void (*route)(void *owner, struct bytes listener, const struct address *to, struct arena *arena,
                  struct routed *routed_out);
    struct id (*next_id)(void *owner);
    /* Some arrivals are known now, see runner_knows(). NULL: nobody waits for that. */
    void (*has_read)(void *owner);
};

/* Begins to read the queue, by jobs. NULL: no memory. */
struct runner *runner_new(const struct runner_host *host);
/* Legal when it was not called before. No new deliveries begin; those that run may end. `stopped`
 * is called once none runs, never within this call. */
void runner_stop(struct runner *r, void (*stopped)(void *owner));
void runner_abort(struct runner *r); /* drops the deliveries that run: their messages stay in the
                                      * queue */
void runner_free(struct runner **r); /* legal when the loop has ended, and none of its jobs runs */

/* A worker has committed a message at `place`, in queue/ or hold/. This hint may be lost, or come
 * twice. */
void runner_arrived(struct runner *r, const struct store_place *place);
/* The same, with the message's records: its file need not be read. */
void runner_heard(struct runner *r, const struct store_place *place, uint64_t body_bytes,
                  struct bytes records);
/* Hints of arrivals may have gone to another process: the queue is listed soon. */
void runner_look_again(struct runner *r);
void runner_target_up(struct runner *r, struct target *target);
bool runner_is_loaded(const struct runner *r); /* the queue was read once: all its messages are
                                                * known */
/* How many files and directories of the spool cannot be read, or are no messages. Each was
 * logged. */
size_t runner_stray_count(const struct runner *r);
/* How many messages have arrived so far. Are the first `arrivals` of them known, or gone
 * already? */
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

/* A walk over all known messages, some in each turn of the loop. Messages that come or go meanwhile
 * are met or not. */
struct runner_walk {
    /* `entries`: struct schedule_entry.in_message of one message, one for each target. The callee
     * leaves them where they are. */
    void (*meet)(struct runner_walk *walk, const struct list *entries);
    void (*done)(struct runner_walk *walk); /* once, never within runner_walk() */
    /* the runner's */
    struct runner *runner;
    struct list in_runner;
    size_t bucket; /* the next one */
    struct loop_post post;
};
void runner_walk(struct runner *r, struct runner_walk *walk);
void runner_walk_end(struct runner_walk *walk); /* ends a walk early: `done` is not called */

/* These messages are made due, and targets that are down are probed. */
struct runner_flush {
    struct runner_selection which;
    void (*done)(struct runner_flush *flush); /* once, never within runner_flush() */
    uint64_t waiting;                         /* how many wait or are being delivered */
    uint64_t flushed; /* how many were made due by this, or had their outcome written at once, which
                       * only RUNNER_ID and RUNNER_ALL do */
    /* All that are meant, each once: it is tried as soon as its target has room; when a probe has
     * found its target, which is down; it is being delivered; is held; or waits its time, since a
     * target may have it already. */
    uint64_t started, probed, running, held, left;
    struct runner_walk walk;                   /* runner_walk_end() gives it up */
    const struct schedule_target *last_probed; /* the runner's */
};
void runner_flush(struct runner *r, struct runner_flush *flush);

/* One message for show, cat, hold, release, delete, bounce, reroute: by a job, with its lock held
 * but for show and cat.
 * `done` is called once, never within the call; `error`: -ENOENT, -EAGAIN: it is being delivered at
 * this moment, try again; or why it could not be done. Where a delivery has ended and the disk does
 * not take what came of it, that error, and another try of its; but it can be deleted. */
enum runner_act {
    RUNNER_SHOW, /* message is set */
    RUNNER_CAT,  /* ... and content: the message as its recipients get it */
    RUNNER_HOLD,
    RUNNER_RELEASE,
    RUNNER_DELETE,
    RUNNER_BOUNCE,  /* what is open is refused by the operator's word */
    RUNNER_REROUTE, /* by the tables; or to the target `to` */
    RUNNER_EXPIRE   /* the runner's own: remove what a filter holds, if it still does */
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

/* Does a filter hold the message? The reason is valid until the loop goes on. */
bool runner_find_hold(struct runner *r, const struct id *id, struct spool_hold *hold_out);

/* Does the entry wait for this target, or for one of its addresses? */
bool runner_is_at(const struct runner *r, const struct schedule_entry *e, struct bytes name);

/* ... and is this a recipient for whom it waits? */
bool runner_is_for(const struct runner *r, const struct schedule_entry *e,
                   const struct spool_recipient *recipient);

int64_t runner_now_s(const struct runner *r); /* of the clock of schedule entries */
struct schedule *runner_schedule(struct runner *r);
/* The entries of one message, one for each target; `after` NULL: the first. Valid until the loop
 * goes on. */
const struct schedule_entry *runner_next_of(struct runner *r, const struct id *id,
                                            const struct schedule_entry *after);

/* fsck: reads every file and verifies its checksums; cuts torn ends and moves damaged files to
 * bad/; tells each finding. `done`: how many messages were seen. */
struct runner_fsck {
    void *owner;
    void (*found)(struct runner_fsck *fsck, const struct store_place *place, const char *what);
    void (*done)(struct runner_fsck *fsck, uint64_t messages, uint64_t problems);
    struct loop_post post; /* the runner's */
};
void runner_check(struct runner *r, struct runner_fsck *fsck);

#endif
