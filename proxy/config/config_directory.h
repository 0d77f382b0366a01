/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of a configuration as routes see them while no server runs. */
#ifndef POSTERN_CONFIG_DIRECTORY_H
#define POSTERN_CONFIG_DIRECTORY_H

#include "proxy/base/hash.h"
#include "proxy/config/config.h"
#include "route/route.h"

struct config_directory {
    const struct config *config;
    struct arena *arena;
    struct cf_problems *problems; /* only has_no_memory is set here */
    struct hash_table by_name;    /* the targets that routes have asked for so far */
    struct bytes expected;        /* see struct route_directory */
};

struct config_known {
    struct target *target;
    struct hash_entry by_name;
    bool is_implicit; /* a host without a section */
    bool is_checked;  /* for the caller */
};

/* The kind of hosts without a section. */
const struct target_kind *config_directory_host_kind(void);

void config_directory_init(struct config_directory *directory, const struct config *config,
                           struct hash_key secret, struct arena *arena,
                           struct cf_problems *problems);
void config_directory_done(struct config_directory *directory);
struct route_directory config_directory_routes(struct config_directory *directory);
/* The target that a route's word named; NULL: none. */
struct config_known *config_directory_known(const struct config_directory *directory,
                                            struct bytes word);

#endif
