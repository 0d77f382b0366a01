/* SPDX-License-Identifier: BSD-2-Clause */
/* Who asks the pool for a connection on behalf of one client: a branch of a transaction, or a
 * client's login. */
#ifndef POSTERN_RELAY_ASKER_H
#define POSTERN_RELAY_ASKER_H

#include <stdbool.h>

#include "proxy/base/list.h"
#include "proxy/smtp/reply.h"
#include "route/carrier.h"
#include "route/relay/relay_connect.h"
#include "route/relay/relay_line.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_stock.h"

struct relay_asker;
struct relay_dial;
struct relay_link;

/* What it is told. Neither of them reports to the carrier within the call. */
struct relay_asker_ops {
    /* A connection came, which the pool has as busy. */
    void (*start)(struct relay_asker *asker, struct relay_link *link);
    /* There is none. The reply is copied where it is kept. */
    void (*fail)(struct relay_asker *asker, const struct reply *reply, enum relay_failure how);
};

/* Embedded in who asks. */
struct relay_asker {
    const struct relay_asker_ops *ops;
    struct relay *relay;
    struct carrier *carrier;
    struct relay_dial *dial;    /* while it waits for a PROXY connection of its own */
    struct relay_waiter waiter; /* in relay.line, or for its client's own connection */
    struct relay_again again;
    bool is_waiting; /* for a connection */
};

static inline void relay_asker_init(struct relay_asker *a, const struct relay_asker_ops *ops,
                                    struct relay *r, struct carrier *c)
{
    *a = (struct relay_asker){.ops = ops, .relay = r, .carrier = c};
    list_init(&a->waiter.in_net);
}

/* Its client has logged in at this relay: no connection but that one will do. */
static inline bool relay_asker_has_login(const struct relay_asker *a)
{
    return a->carrier->login.is_done && a->carrier->login.at == &a->relay->target;
}

#endif
