/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay that are greeted: which lie idle, for whom, and how long. */
#ifndef POSTERN_RELAY_STOCK_H
#define POSTERN_RELAY_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"

struct carrier;
struct relay;
struct relay_link;
struct relay_net;

/* struct relay_link.pooled.in_lot */
struct relay_stock {
    struct list idle;  /* newest first */
    struct list bound; /* between two transactions of one client; oldest first */
    struct list busy;
    unsigned idle_count;
    struct deadline idle_deadline, bound_deadline; /* of the oldest one there */
};

/* What a transaction has learnt on earlier connections, and its next one must respect. */
struct relay_again {
    bool is_replay;      /* a reused connection broke: this is the one further try */
    bool needs_fresh;    /* no connection that may have died unnoticed */
    bool avoids_xclient; /* it was refused, and identity-failure is pass */
};

void relay_stock_init(struct relay *r);
void relay_stock_close(struct relay *r); /* what lies idle quits; nothing is put there any more */

/* A connection that will do for this client, or NULL. It stays idle until it is lent. Those that
 * can serve nobody any more are closed on the way. */
struct relay_link *relay_stock_find_idle(struct relay *r, const struct carrier *client,
                                         const struct relay_again *again);
struct relay_link *relay_stock_find_bound(struct relay *r, const struct carrier *client,
                                          const struct relay_again *again);
/* How many transactions it may serve: max-transactions, or what the target announces. */
uint32_t relay_stock_transactions_max(const struct relay_link *link);
/* May this connection serve one more transaction? */
bool relay_stock_may_serve_again(const struct relay_link *link);

/* The connection lies idle from now on. `is_for_all`: for any client, else for the one that it is
 * bound to. */
void relay_stock_lay(struct relay_link *link, bool is_for_all);
/* The connection is busy from now on. `net` counts it as its own until it is idle or gone; NULL: no
 * net does. */
void relay_stock_lend(struct relay_link *link, struct relay_net *net);
/* The connection, busy so far, is one client's from now on: neither time nor others end it. */
void relay_stock_set_apart(struct relay_link *link);
/* The connection is closed, or says QUIT. */
void relay_stock_forget(struct relay_link *link);

/* Those that are more than idle-connections quit, and the others when they have been idle for too
 * long. */
void relay_stock_keep(struct relay *r);
/* So many that lie idle quit, the oldest first. */
void relay_stock_thin_out(struct relay *r, unsigned count);
/* Others want what lies idle here: all of it quits. */
void relay_stock_make_way(struct relay *r);
/* One that lies idle quits, to make room for another connection. False: none lies idle. */
bool relay_stock_make_room(struct relay *r);

#endif
