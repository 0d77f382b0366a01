/* SPDX-License-Identifier: BSD-2-Clause */
/* All targets of a configuration by name: what routes can lead to. */
#ifndef POSTERN_TARGETS_H
#define POSTERN_TARGETS_H

#include "proxy/base/hash.h"
#include "proxy/config/config.h"
#include "route/maildir.h"
#include "route/relay/relay.h"
#include "route/route.h"

struct targets {
    const struct config *config;
    struct loop *loop;
    struct relay_service *service;
    struct arena arena; /* implicit relays' settings */
    struct pool pool;
    struct hash_table by_name; /* sections and implicit relays */
    struct relay **relays;
    size_t relay_count, relay_capacity;
    struct maildir_service maildir_service;
    struct maildir **maildirs;
    size_t maildir_count;
};

/* 0, or ERR_MEMORY. `service` as relay_new() takes it. */
int targets_init(struct targets *t, const struct config *config, struct loop *loop,
                 struct relay_service *service);
void targets_close(struct targets *t); /* relays close their connections */
void targets_abort(struct targets *t); /* behind that: now, without QUIT */
void targets_done(struct targets *t);  /* after the loop has ended */
struct route_directory targets_directory(struct targets *t);
/* NULL: it is no relay. */
struct relay *targets_relay(const struct targets *t, const struct target *target);

#endif
