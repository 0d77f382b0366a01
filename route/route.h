/* SPDX-License-Identifier: BSD-2-Clause */
/* Which targets are responsible for a recipient: the routes of one listener. */
#ifndef POSTERN_ROUTE_H
#define POSTERN_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/cf.h"
#include "proxy/base/hash.h"
#include "proxy/smtp/transaction.h"
#include "route/route_source.h"
#include "route/target.h"

struct route_set; /* the compiled tables of one listener, in the order in which they are searched */

/* Finds what a route's right-hand side can name. */
struct route_directory {
    void *owner;
    /* The target whose section has this name, or NULL. */
    struct target *(*find)(void *owner, struct bytes name);
    /* The implicit relay of a host that no section names. NULL: no memory. */
    struct target *(*find_implicit)(void *owner, struct bytes host);
    /* For errors: what a name may be ("the name of a [relay] ..., or a local name"). Empty where
     * nobody reads them. */
    struct bytes expected;
    /* Offers the names of all sections, for "did you mean". NULL: no hints. */
    void (*offer)(void *owner, struct cf_nearest *nearest);
};

/* Compiles the tables: `sources` in order, the global one last (the first line that matches wins).
 * Loops and bad lines are reported to `problems`. `arena` is the configuration's; the sources
 * outlive the set. 0, ERR_SYNTAX (reported) or ERR_MEMORY. */
int route_set_new(struct route_source *const *sources, size_t count,
                  const struct route_directory *directory, struct hash_key key, struct arena *arena,
                  struct cf_problems *problems, struct route_set **set_out);

/* What the answer depends on beside the address. */
struct route_client {
    bool may_relay;      /* the client's address is in relay-from */
    bool rejects_routed; /* routed-recipients = reject */
};

/* Takes a time that does not depend on the size of the tables. The answer, its addresses and
 * replies live in `mail`. There is always an answer: without memory it is a 451. */
void route_resolve(const struct route_set *set, const struct address *to,
                   const struct route_client *client, struct arena *mail,
                   struct routed *routed_out);

/* --explain: writes every line that was tried, as text. */
void route_explain(const struct route_set *set, const struct address *to,
                   const struct route_client *client, struct arena *scratch, struct buf *out);

/* What leads to one leg of an answer. */
struct route_lead {
    const struct route_source *table; /* NULL: a postmaster that no line matches */
    struct cf_place line;
};

/* The same as route_resolve() for a client that may relay, and what leads to each leg. */
void route_locate(const struct route_set *set, const struct address *to, struct arena *mail,
                  struct routed *routed_out, const struct route_lead **leads_out);

/* Does some line lead mail for this domain to a target? A line for a single recipient of the domain
 * is enough. */
bool route_set_knows_domain(const struct route_set *set, struct bytes domain);

/* Every target that this listener's tables can lead to, each once. */
size_t route_set_targets(const struct route_set *set, struct target *const **targets_out);

#endif
