/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay, and those who wait for one, in order. */
#ifndef POSTERN_RELAY_POOL_H
#define POSTERN_RELAY_POOL_H

#include <stdbool.h>

struct relay;
struct relay_asker;
struct relay_link;

void relay_pool_init(struct relay *r);
/* Closes idle connections with QUIT; who waits is told that the target is down. */
void relay_pool_close(struct relay *r);

/* A connection: asker.ops->start() is called, now or later. Or fail(). Every wait is the asker's to
 * end, by relay_pool_leave(). */
void relay_pool_ask(struct relay_asker *a);
void relay_pool_leave(struct relay_asker *a);
/* It waits because of a limit: the target is there. */
bool relay_pool_is_busy_for(const struct relay_asker *a);
/* Those who wait get what is idle, or are dialled for, soon: legal anywhere. */
void relay_pool_serve_later(struct relay *r);
/* Now, and whatever other processes have: all of them look at this time. */
void relay_pool_serve_starving(struct relay *r);

/* A client has connected that may need a connection soon: have one ready. */
void relay_pool_warm(struct relay *r);

/* How many connections one client net may hold while others wait. */
unsigned relay_pool_share(const struct relay *r);

/* A connection is idle again after a transaction, or was lent and not used. */
void relay_pool_give(struct relay_link *link);

#endif
