/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything of one relay, for the files of this folder. */
#ifndef POSTERN_RELAY_PRIVATE_H
#define POSTERN_RELAY_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/outbound.h"
#include "route/relay/relay.h"
#include "route/relay/relay_endpoints.h"
#include "route/relay/relay_host.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_log.h"

/* What was learnt of the target. */
struct relay_learnt {
    struct capability caps; /* of the last EHLO on a connection of nobody's */
    bool has_caps;
    bool has_announced_xclient; /* ever, as far as this process knows */
};

/* Everything of one relay. Connections (struct relay_link) are in `links` while they live, and by
 * `in_pool` in one of idle, bound and busy once they are greeted. */
struct relay {
    struct target target; /* first */
    const struct relay_conf *conf;
    struct relay_service *service;
    struct outbound_conf outbound;
    struct relay_endpoints endpoints;
    struct relay_log log;
    struct relay_learnt learnt;
    struct list links;
    struct list idle;  /* newest first */
    struct list bound; /* between two transactions of one client; oldest first */
    struct list busy;
    struct list dials;      /* struct relay_dial.in_relay */
    struct relay_line line; /* struct relay_branch.waiter; which nets hold how many */
    unsigned link_count, idle_count;
    unsigned dial_count;           /* without probes */
    unsigned reserved;             /* dials that have no connection yet: they count as one each */
    struct deadline idle_deadline; /* the oldest of the idle ones */
    uint64_t warm_until_ms;        /* clients have come lately: keep one ready */
    struct loop_post post;         /* serve those who wait */
    struct loop_post up_post;      /* tell that it is there again */
    struct relay_share share;
    bool is_serving;
    bool is_closing;
};

#endif
