/* SPDX-License-Identifier: BSD-2-Clause */
/* All targets of a configuration by name: what routes can lead to. */
#ifndef POSTERN_TARGETS_H
#define POSTERN_TARGETS_H

#include "proxy/base/hash.h"
#include "proxy/config/config.h"
#include "route/route.h"
#include "route/target_kind.h"

struct targets {
    const struct config *config;
    struct target_services services;
    struct arena arena; /* implicit targets' settings */
    struct pool pool;
    struct hash_table by_name; /* sections, the members of groups, and implicit targets */
    struct target **all;       /* one kind after another, as in target_kinds[]; no members */
    size_t count, capacity;
};

/* 0, or ERR_MEMORY. `services->road` is made here. */
int targets_init(struct targets *t, const struct config *config,
                 const struct target_services *services);
void targets_close(struct targets *t); /* connections end with their branches */
void targets_abort(struct targets *t); /* after targets_close(): at once */
void targets_done(struct targets *t);  /* after the loop has ended */
/* A section's, a member of it, or an implicit one that some route has named; NULL: there is none.
 * Once all routes are made nothing changes any more, so that jobs may ask too. */
struct target *targets_find(const struct targets *t, struct bytes name);
struct route_directory targets_directory(struct targets *t);

#endif
