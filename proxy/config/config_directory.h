/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of a configuration as routes know them, where no server runs. */
#ifndef POSTERN_CONFIG_DIRECTORY_H
#define POSTERN_CONFIG_DIRECTORY_H

#include "proxy/base/hash.h"
#include "proxy/config/config.h"
#include "route/route.h"

struct config_directory {
    const struct config *config;
    struct arena *arena;
    struct cf_problems *problems; /* has_no_memory */
    struct hash_table by_name;    /* of what was asked for so far */
    struct bytes expected;        /* see struct route_directory */
};

struct config_known {
    struct target target;
    struct hash_entry by_name;
    bool is_implicit; /* a host that no section bears */
    bool is_checked;  /* the caller's own */
};

/* The kind of the hosts that no section bears. */
const struct target_kind *config_directory_host_kind(void);

void config_directory_init(struct config_directory *d, const struct config *config,
                           struct hash_key secret, struct arena *arena,
                           struct cf_problems *problems);
void config_directory_done(struct config_directory *d);
struct route_directory config_directory_routes(struct config_directory *d);
/* What a route's word was found to name; NULL: no target. */
struct config_known *config_directory_known(const struct config_directory *d, struct bytes word);

#endif
