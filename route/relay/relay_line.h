/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits for a connection to a target, by client net, and how many connections each net holds.
 * Pure.
 *
 * A net's share is a quarter of the connections, and less where there are more than four nets. Nets
 * that hold less come first; nets take turns, and within a net who came first is first. */
#ifndef POSTERN_RELAY_LINE_H
#define POSTERN_RELAY_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/base/netaddr.h"

/* Exists while it holds a connection, or somebody of it waits. */
struct relay_net {
    struct hash_entry entry;
    struct list in_turns; /* while somebody waits */
    struct list waiting;  /* struct relay_waiter.in_net */
    unsigned held;
    uint64_t key;
};

/* Embedded in who waits. */
struct relay_waiter {
    struct list in_net;
    struct relay_net *net; /* while it waits */
};

struct relay_line {
    struct hash_table nets;
    struct relay_net nameless; /* all those for which there was no memory, as one net */
    struct list turns;         /* struct relay_net.in_turns */
    unsigned waiting_count;
    unsigned held_count; /* by all nets together */
};

void relay_line_init(struct relay_line *line, struct hash_key secret);
void relay_line_done(struct relay_line *line); /* nobody waits, and no net holds a connection */

#define RELAY_LINE_QUEUE 0 /* the key of all that the spool delivers */
/* That of an IPv4 /24 or IPv6 /48; all other clients are one net. */
uint64_t relay_line_key(const struct netaddr *client);

/* One more connection of this net. */
struct relay_net *relay_line_hold(struct relay_line *line, uint64_t key);
void relay_line_let_go(struct relay_line *line, struct relay_net *net);
/* How many connections this net holds. */
unsigned relay_line_held(const struct relay_line *line, uint64_t key);

void relay_line_enter(struct relay_line *line, struct relay_waiter *waiter, uint64_t key);
void relay_line_leave(struct relay_line *line, struct relay_waiter *waiter);

unsigned relay_line_share(const struct relay_line *line, unsigned connections);
/* Whose turn comes after that one's; `after` NULL: whose comes first. NULL: nobody's. */
struct relay_waiter *relay_line_next(const struct relay_line *line, unsigned share,
                                     const struct relay_waiter *after);

#endif
