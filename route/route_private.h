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

#define ROUTE_DEPTH_MAX 32   /* rewritings in a row */
#define ROUTE_STEPS_MAX 1024 /* addresses that one recipient can lead to */

struct route_set {
    struct route_table **tables; /* in the order in which they are searched */
    size_t table_count;
    struct target **targets; /* in the order in which lines name them */
    size_t target_count, target_capacity;
    struct target *
        *slots; /* the same targets as a hash table: a power of two of slots; NULL: empty */
    size_t slot_count;
    struct hash_key key; /* a secret key for the hash tables */
};

/* ---- one address on its way ---- */

/* An address, and the line that matched it. */
struct route_step {
    struct hash_entry seen;        /* walk.seen */
    struct route_step *next;       /* in the order in which they were reached */
    struct route_step *parent;     /* NULL: the client's own address */
    const struct route_action *by; /* the parent's action that led here */
    struct address address;
    bool is_name;       /* a local name; `address` still has the domain of the parent */
    bool is_vouched;    /* this line or one before was for exactly the address */
    bool has_own_local; /* the local part is the one that the client named */
    unsigned depth;
    const struct route_table *table; /* NULL: nothing matched */
    struct route_match match;
    struct target *stand_in; /* the target of a postmaster that no line matches */
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
    ROUTE_TROUBLE_LOOP,   /* action `by` leads from `step` back to `again` */
    ROUTE_TROUBLE_LONG,   /* more than ROUTE_DEPTH_MAX rewritings, at `step` */
    ROUTE_TROUBLE_WIDE,   /* more than ROUTE_STEPS_MAX addresses, at `step` */
    ROUTE_TROUBLE_NOWHERE /* no line matches `step` */
};

struct route_walk {
    const struct route_set *set;
    struct arena *arena;
    struct hash_table seen; /* during the walk: the steps and legs so far */
    struct route_step *first, *last;
    unsigned step_count;
    struct route_walk_leg *first_leg, *last_leg;
    int leg_count;
    int firm_count;                       /* legs whose target is firm */
    const struct route_walk_leg *firm[2]; /* the first two of them */
    bool has_tempfail;                    /* one of the firm legs has on-failure = tempfail */
    bool has_relay;                       /* the target of some leg passes mail on */
    bool is_discarded;
    struct reply refusal; /* code 0: none */
    enum route_trouble trouble;
    const struct route_step *step, *again;
    const struct route_action *by;
};

enum route_walk_start { ROUTE_WALK_ADDRESS, ROUTE_WALK_NAME };

/* Follows an address or a local name to all targets that it leads to. The parts of `address` live
 * as long as the walk. 0 or ERR_MEMORY. */
int route_walk(const struct route_set *set, const struct address *address,
               enum route_walk_start start, struct arena *arena, struct route_walk *walk_out);
/* The reply that the recipient gets instead of its targets' replies, see struct routed. */
enum reply_id route_walk_guard(const struct route_walk *walk, const struct route_client *client);
/* Does the pattern that matched the client's own address name a domain? */
bool route_walk_names_domain(const struct route_walk *walk);
/* A list has two firm targets, and one of them has on-failure = tempfail, so that its failure could
 * not be made up for. */
bool route_walk_is_unsafe(const struct route_walk *walk);
/* The reply of postern itself, for any client; code 0: none. */
struct reply route_walk_refusal(const struct route_walk *walk);

/* Finds the first line for a local name in all tables. */
bool route_set_find_name(const struct route_set *set, struct bytes name,
                         const struct route_table **table_out, struct route_match *match_out);

/* ---- at load ---- */

/* Reports loops, lists of two relays that need on-failure = spool, and names that no line matches.
 * 0, ERR_SYNTAX (reported) or ERR_MEMORY. */
int route_check(const struct route_set *set, const struct route_directory *directory,
                struct cf_problems *problems);

#endif
