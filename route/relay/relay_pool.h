/* SPDX-License-Identifier: BSD-2-Clause */
/* The connections of one relay, and the branches that wait for one, in order. */
#ifndef POSTERN_RELAY_POOL_H
#define POSTERN_RELAY_POOL_H

#include <stdbool.h>

#include "proxy/smtp/reply.h"

struct relay;
struct relay_branch;
struct relay_link;

void relay_pool_init(struct relay *r);
/* Closes idle connections with QUIT; who waits is told that the target is down. */
void relay_pool_close(struct relay *r);

/* A connection for this branch: relay_branch_start() is called, now or later. Or
 * relay_branch_fail(). Every wait is the branch's to end, by relay_pool_leave(). */
void relay_pool_ask(struct relay_branch *w);
void relay_pool_leave(struct relay_branch *w);
/* Ever, as far as this process knows, or another has told it. */
bool relay_pool_has_announced_xclient(struct relay *r);
/* Those who wait get what is idle, or are dialled for, soon: legal anywhere. */
void relay_pool_serve_later(struct relay *r);

/* A client has connected that may need a connection soon: have one ready. */
void relay_pool_warm(struct relay *r);

/* How many connections one client net may hold while others wait. */
unsigned relay_pool_share(const struct relay *r);

/* Others want what lies idle here. */
void relay_pool_make_way(struct relay *r);
/* So many that lie idle go, the oldest first. */
void relay_pool_thin_out(struct relay *r, unsigned count);

/* A fresh connection, greeted and EHLOed; `user`: for whom alone it was made (PROXY), or NULL. */
void relay_pool_add(struct relay_link *link, struct relay_branch *user);
/* A connection is idle again after a transaction, or was not used after all. */
void relay_pool_give(struct relay_link *link);
/* An attempt came to nothing. `user` NULL: whoever waits first, or all where nobody can be helped.
 * `is_words`: see relay_branch_fail(). */
void relay_pool_miss(struct relay *r, struct relay_branch *user, const struct reply *reply,
                     bool is_words);

#endif
