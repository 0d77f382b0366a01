/* SPDX-License-Identifier: BSD-2-Clause */
/* What the route*.c files share: the set, and the walk of one address through its tables. */
#ifndef POSTERN_ROUTE_PRIVATE_H
#define POSTERN_ROUTE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/arena.h"
#include "route/route.h"
#include "route/route_table.h"
#include "route/target_kind.h"

#define ROUTE_DEPTH_MAX 32   /* rewritings one after another */
#define ROUTE_STEPS_MAX 1024 /* addresses that one recipient can come to */

struct route_set {
    struct route_table **tables; /* in the order in which they are asked */
    size_t table_count;
    struct target **targets; /* in the order in which lines name them */
    size_t target_count, target_capacity;
    struct target **slots; /* the same, by address; a power of two of them, NULL: empty */
    size_t slot_count;
    struct hash_key key; /* a secret of those who look things up here */
};

/* ---- one address on its way ---- */

/* An address, and the line that matched it. */
struct route_step {
    struct hash_entry seen;        /* walk.seen */
    struct route_step *next;       /* in the order in which they were come to */
    struct route_step *parent;     /* NULL: the client's own address */
    const struct route_action *by; /* the parent's action that led here */
    struct address address;
    bool is_name;       /* a local name; the domain is the one that it had before */
    bool is_vouched;    /* a line, here or before, was for that very address */
    bool has_own_local; /* the local part is still the client's */
    unsigned depth;
    const struct route_table *table; /* NULL: nothing matched */
    struct route_match match;
    struct target *stand_in; /* postmaster's, where no line matches */
};

struct route_walk_leg {
    struct hash_entry seen; /* walk.seen */
    struct route_walk_leg *next;
    struct routed_leg leg;
    const struct route_step *step;
    const struct route_action *by; /* NULL: the step's stand-in */
};

enum route_trouble {
    ROUTE_TROUBLE_NONE,
    ROUTE_TROUBLE_LOOP,   /* `step` comes back to `again` by `by` */
    ROUTE_TROUBLE_LONG,   /* more than ROUTE_DEPTH_MAX rewritings, at `step` */
    ROUTE_TROUBLE_WIDE,   /* more than ROUTE_STEPS_MAX addresses, at `step` */
    ROUTE_TROUBLE_NOWHERE /* no line matches `step` */
};

struct route_walk {
    const struct route_set *set;
    struct arena *arena;
    struct hash_table seen; /* while it walks: where it has been, and whom it has found */
    struct route_step *first, *last;
    unsigned step_count;
    struct route_walk_leg *first_leg, *last_leg;
    int leg_count;
    int firm_count;                       /* legs whose target is firm */
    const struct route_walk_leg *firm[2]; /* the first two of them */
    bool has_tempfail;                    /* one of them has on-failure = tempfail */
    bool has_relay;                       /* some leg's target passes mail on */
    bool is_discarded;
    struct reply refusal; /* code 0: none */
    enum route_trouble trouble;
    const struct route_step *step, *again;
    const struct route_action *by;
};

/* Follows an address, as a client named it or as a local name, to all targets that it leads to. The
 * parts of `address` live as long as the walk. 0 or ERR_MEMORY. */
int route_walk(const struct route_set *set, const struct address *address, bool is_name,
               struct arena *arena, struct route_walk *walk_out);
/* The reply that the recipient gets in its targets' stead, see struct routed. */
enum reply_id route_walk_guard(const struct route_walk *walk, const struct route_client *client);
/* The pattern that matched the client's own address names a domain. */
bool route_walk_names_domain(const struct route_walk *walk);
/* Two firm targets in a list, and what breaks at one of them could not be made up for. */
bool route_walk_is_unsafe(const struct route_walk *walk);
/* The reply of postern's own, whatever the client: code 0: none. */
struct reply route_walk_refusal(const struct route_walk *walk);

/* The first line for a local name over all tables. */
bool route_set_find_name(const struct route_set *set, struct bytes name,
                         const struct route_table **table_out, struct route_match *match_out);

/* ---- at load ---- */

/* Loops, lists that need what on-failure = spool brings, names that nothing matches. 0, ERR_SYNTAX
 * (reported) or ERR_MEMORY. */
int route_check(const struct route_set *set, const struct route_directory *directory,
                struct cf_problems *problems);

#endif
