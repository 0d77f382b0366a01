/* SPDX-License-Identifier: BSD-2-Clause */
/* max-connections and idle-connections hold for all processes of a host together. Whoever waits at
 * that limit says so, and looks again every 50 ms; whoever sees it closes what lies idle, takes
 * back what does not move (relay_yield.h), and after a transaction closes what is more than his
 * share. Of too many idle connections each process closes its part, when it looks next. Without
 * other processes none of this happens. */
#ifndef POSTERN_RELAY_SHARE_H
#define POSTERN_RELAY_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/deadline.h"

struct relay;

/* What the relay is told. */
struct relay_share_ops {
    /* So many processes wait for connections: what lies idle here is on its way out, and who does
     * not move shall give up his. */
    void (*others_wait)(struct relay *r, unsigned count);
    /* After relay_share_look_later(). */
    void (*starving)(struct relay *r);
};

struct relay_share {
    const struct relay_share_ops *ops;
    void *counts;             /* NULL: there are no others */
    struct deadline looking;  /* runs while there are connections */
    struct deadline starving; /* who waits at the limit looks again, and who does not move */
    bool is_starving;         /* it is set */
    uint32_t others;          /* that waited when we looked last: messages touch nothing shared */
    unsigned told_connections, told_idle;
    bool told_waiting;
    uint64_t told_ms; /* when that was told */
    bool has_turn;    /* those who wait look now, all of them: shares do not count */
};

void relay_share_join(struct relay *r, const struct relay_share_ops *ops);
void relay_share_stop(struct relay *r); /* looks no more */
void relay_share_leave(struct relay *r);

/* Tells the others how many connections there are now; after each change. */
void relay_share_tell(struct relay *r);
/* Tells the others whether somebody waits here because of the limit. */
void relay_share_wait(struct relay *r, bool waits);

/* Somebody waits at the limit: `starving` is told soon. */
void relay_share_look_later(struct relay *r);

/* One connection more, if there is room in all processes: it is counted then, and
 * relay_share_tell() after it was made, or was not, sets that right. */
bool relay_share_reserve(struct relay *r);
/* So many more connections the limit allows all processes together. */
unsigned relay_share_vacant(const struct relay *r);
/* At the limit: no connection can be made now, here or anywhere. */
bool relay_share_is_full(const struct relay *r);
/* Others wait, and with so many connections more we have more than our share. */
bool relay_share_is_over(const struct relay *r, unsigned more);

/* We have only just told the others that we wait: what they have to spare may still come. */
bool relay_share_others_may_answer(const struct relay *r);
/* Connections of the other processes: the idle ones, which make way soon for whoever waits, and
 * all others. */
unsigned relay_share_idle_elsewhere(const struct relay *r);
unsigned relay_share_used_elsewhere(const struct relay *r);
/* Of all processes of the host. */
unsigned relay_share_connections(const struct relay *r);

#endif
