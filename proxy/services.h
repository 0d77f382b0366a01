/* SPDX-License-Identifier: BSD-2-Clause */
/* What everything on one loop shares. Made by the worker, borrowed by all others, gone after them.
 */
#ifndef POSTERN_SERVICES_H
#define POSTERN_SERVICES_H

#include <stdbool.h>

#include "proxy/base/arena.h"
#include "proxy/base/id.h"
#include "proxy/config/config.h"
#include "proxy/filters.h"
#include "proxy/io/copy.h"
#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/shared.h"
#include "proxy/storage.h"
#include "proxy/targets.h"
#include "route/relay/relay_service.h"
#include "spool/store.h"

struct queue;
struct route_set;
struct runner;

struct services {
    /* the worker's to set */
    const struct config *config;
    const struct store_limits *store_limits; /* NULL: the server's */
    struct shared *shared;                   /* NULL: the limits are our own */
    bool runs_queue;                         /* the runner is in this process */
    bool is_alone;                           /* the only process */
    bool is_cold;                            /* posternctl without a server */
    struct bytes process;                    /* its name in log lines; empty: it is the only one */
    /* set by services_begin() */
    struct pool pool;
    struct arena arena; /* for the life of the worker */
    struct loop *loop;
    struct log *log;
    struct log_sink sinks[LOG_SINKS_MAX];
    uint32_t log_sinks; /* of [core] logger */
    struct dns *dns;
    struct id_source ids;
    struct filters filters; /* where filters_init() followed */
    /* set by services_start() */
    struct relay_service relays;
    struct targets targets;
    struct copy_limits copies;
    struct storage storage;
    struct store *store;
    /* set by queue_start() */
    struct route_set *(*find_routes)(void *owner, struct bytes listener);
    void *routes_owner;
    struct queue *queue;
    struct runner *runner; /* NULL: it is another process's */
};

/* 0, or an error, after which the process has to end. What an operator can mend is told on stderr.
 */
int services_start(struct services *s);
/* No session and no delivery is left: everything that keeps the loop running ends. */
void services_close(struct services *s);
void services_done(struct services *s); /* after the loop has ended */
/* Only loop, log, DNS and ids; filters_init() may follow. As above, with dns_free() in place of
 * services_close(). */
int services_begin(struct services *s);
void services_end(struct services *s);

struct id services_next_id(struct services *s);
/* The routes of that listener; NULL: there is none of that name. */
struct route_set *services_find_routes(const struct services *s, struct bytes listener);

#endif
