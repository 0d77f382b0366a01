/* SPDX-License-Identifier: BSD-2-Clause */
/* Everything of one relay, for the files of this folder. */
#ifndef POSTERN_RELAY_PRIVATE_H
#define POSTERN_RELAY_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/outbound.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "route/relay/relay_endpoints.h"
#include "route/relay/relay_share.h"
#include "route/relay/relay_learnt.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_stock.h"
#include "route/target.h"

struct relay_dial_ops;
struct relay_link_home;

/* Connections (struct relay_link) are in `links` while they live, and in `stock` while they are
 * greeted. */
struct relay {
    struct target target; /* first */
    const struct relay_conf *conf;
    struct relay_service *service;
    struct outbound_conf outbound;
    struct tls *tls; /* relay_tls.c's; NULL: not needed yet, or the section's is used */
    struct relay_endpoints endpoints;
    struct relay_log log;
    struct relay_learnt learnt;
    const struct relay_link_home *link_home; /* the pool */
    const struct relay_dial_ops *dial_ops;   /* likewise */
    struct list links;
    struct relay_stock stock;
    struct list dials;      /* struct relay_dial.in_relay */
    struct relay_line line; /* struct relay_branch.waiter; which nets hold how many */
    unsigned link_count;
    unsigned leaving_count;   /* links that say QUIT, or are being closed */
    unsigned dial_count;      /* without probes */
    unsigned reserved;        /* dials that have no connection yet: they count as one each */
    uint64_t warm_until_ms;   /* clients have come lately: keep one ready */
    struct loop_post post;    /* serve those who wait */
    struct loop_post up_post; /* tell that it is there again */
    struct relay_share share;
    bool is_serving;
    bool is_closing;
};

#endif
