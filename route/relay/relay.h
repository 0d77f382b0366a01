/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays: targets that speak SMTP. */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include "proxy/io/dns.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "route/relay/relay_conf.h"
#include "route/target_kind.h"

/* What is counted of each target over all processes of the host, by whoever made them. */
enum relay_host_count {
    RELAY_HOST_CONNECTIONS,
    RELAY_HOST_IDLE,
    RELAY_HOST_LIVE_WAITS,  /* processes where a client's mail waits for a connection */
    RELAY_HOST_QUEUE_WAITS, /* ... where the spool's does */
    RELAY_HOST_COUNTS
};
struct relay_host {
    void *(*join)(void *owner, struct bytes target); /* NULL: no memory, this one counts alone */
    void (*leave)(void *counts);
    void (*add)(void *counts, enum relay_host_count what, int32_t change);
    uint32_t (*sum)(const void *counts, enum relay_host_count what);
    void *owner;
    bool is_queue; /* this process delivers what was spooled, and nothing else */
};

extern const struct target_kind relay_kind;

/* What all relays of a loop share: target_services.relays. */
struct relay_service {
    struct loop *loop;
    struct dns *dns;
    struct log *log;
    uint32_t log_sinks;
    const struct netaddr *own_listeners; /* never connected to; 0.0.0.0 and :: stand for loopback,
                                            and for what a connection shows to be this host */
    int own_listener_count;
    struct relay_memory *memory;   /* what was learnt of targets, kept in the spool directory */
    const struct relay_host *host; /* NULL: no other process */
    uint32_t caps_generation;      /* grows whenever what some relay last announced has changed */
    /* A probe or a connection has found it to be there again. NULL: nobody wants to know. */
    void (*came_up)(void *owner, struct target *target);
    void *owner;
};

#endif
