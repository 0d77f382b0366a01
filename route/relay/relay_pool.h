/* SPDX-License-Identifier: BSD-2-Clause */
/* One relay: its connections, and the branches that wait for one, in order. */
#ifndef POSTERN_RELAY_POOL_H
#define POSTERN_RELAY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/outbound.h"
#include "proxy/smtp/reply.h"
#include "route/relay/relay.h"
#include "route/relay/relay_host.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_resolve.h"

struct relay_branch;
struct relay_link;

/* What was learnt of the target. */
struct relay_learnt {
    struct capability caps; /* of the last EHLO on a connection of nobody's */
    bool has_caps;
    bool has_announced_xclient;  /* ever, as far as this process knows */
    bool has_logged_no_identity; /* once is enough */
    uint64_t identity_logged_ms; /* the last error line about identity */
};

/* Everything of one relay. Connections (struct relay_link) are in `links` while they live, and by
 * `in_pool` in one of idle, bound and busy once they are greeted. */
struct relay {
    struct target target; /* first */
    const struct relay_conf *conf;
    struct relay_service *service;
    struct outbound_conf outbound;
    struct relay_places places;
    struct relay_learnt learnt;
    struct relay_taken_back taken_back[RELAY_TAKEN_BACK_MAX];
    struct list links;
    struct list idle;  /* newest first */
    struct list bound; /* between two transactions of one client; oldest first */
    struct list busy;
    struct list dials;      /* struct relay_dial.in_relay */
    struct relay_line line; /* struct relay_branch.waiter; which nets hold how many */
    unsigned link_count, idle_count;
    unsigned dial_count;            /* without probes */
    unsigned reserved;              /* dials that have no connection yet: they count as one each */
    struct deadline idle_deadline;  /* the oldest of the idle ones */
    struct deadline probe_deadline; /* see relay_health.h */
    uint64_t warm_until_ms;         /* clients have come lately: keep one ready */
    struct loop_post post;          /* serve those who wait */
    struct loop_post up_post;       /* tell that it is there again */
    struct relay_share share;
    bool is_serving;
    bool is_closing;
};

extern const struct target_ops relay_ops; /* relay.c */

/* A connection for this branch: relay_branch_start() is called, now or later. Or
 * relay_branch_fail(). Every wait is the branch's to end, by relay_pool_leave(). */
void relay_pool_ask(struct relay_branch *w);
void relay_pool_leave(struct relay_branch *w);
/* Ever, as far as this process knows, or another has told it. */
bool relay_pool_has_announced_xclient(struct relay *r);
/* Those who wait get what is idle, or are dialled for, soon: legal anywhere. */
void relay_pool_serve_later(struct relay *r);

/* How many connections one client net may hold while others wait. */
unsigned relay_pool_share(const struct relay *r);

/* Others want what lies idle here. */
void relay_pool_make_way(struct relay *r);
/* So many that lie idle go, the oldest first. */
void relay_pool_thin_out(struct relay *r, unsigned count);

/* A fresh connection, greeted and EHLOed; `user`: for whom alone it was made (PROXY), or NULL. */
void relay_pool_add(struct relay_link *link, struct relay_branch *user);
/* A connection is idle again after a transaction, or was not used after all. */
void relay_pool_give(struct relay_link *link);
/* An attempt came to nothing. `user` NULL: whoever waits first, or all where nobody can be helped.
 * `is_words`: see relay_branch_fail(). */
void relay_pool_miss(struct relay *r, struct relay_branch *user, const struct reply *reply,
                     bool is_words);

#endif
