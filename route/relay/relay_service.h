/* SPDX-License-Identifier: BSD-2-Clause */
/* What all relays of a loop share. */
#ifndef POSTERN_RELAY_SERVICE_H
#define POSTERN_RELAY_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"

struct dns;
struct log;
struct loop;
struct relay_memory;
struct target;

/* What is counted and known of each target over all processes of the host, by whoever made them. */
enum relay_share_count {
    RELAY_SHARE_CONNECTIONS,
    RELAY_SHARE_IDLE,
    RELAY_SHARE_LIVE_WAITS,  /* processes where a client's mail waits for a connection */
    RELAY_SHARE_QUEUE_WAITS, /* ... where the spool's does */
    RELAY_SHARE_COUNTS
};
struct relay_sharing {
    void *(*join)(void *owner, struct bytes target); /* NULL: no memory, this one counts alone */
    void (*leave)(void *counts);
    void (*add)(void *counts, enum relay_share_count what, int32_t change);
    uint32_t (*sum)(const void *counts, enum relay_share_count what);
    /* A word for each key, that any process may change from what it was; 0 at first. */
    uint64_t (*key)(void *owner, const char *kind, struct bytes target, struct bytes address);
    uint32_t (*word)(const void *owner, uint64_t key);
    bool (*change)(void *owner, uint64_t key, uint32_t old, uint32_t value);
    void *owner;
    bool is_queue; /* this process delivers what was spooled, and nothing else */
};

/* target_services.relays */
struct relay_service {
    struct loop *loop;
    struct dns *dns;
    struct log *log;
    uint32_t log_sinks;
    const struct netaddr *own_listeners; /* never connected to; 0.0.0.0 and :: stand for loopback,
                                            and for what a connection shows to be this host */
    int own_listener_count;
    struct relay_memory *memory; /* what was learnt of targets, kept in the spool directory */
    const struct relay_sharing *sharing; /* NULL: no other process */
    uint32_t caps_generation; /* grows whenever what some relay last announced has changed */
    /* A probe or a connection has found it to be there again. NULL: nobody wants to know. */
    void (*came_up)(void *owner, struct target *target);
    void *owner;
};

#endif
