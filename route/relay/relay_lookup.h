/* SPDX-License-Identifier: BSD-2-Clause */
/* One look-up of a relay's addresses, source by source: its configured addresses, or its name, or
 * the MX hosts of that. Our own listeners are left out. */
#ifndef POSTERN_RELAY_LOOKUP_H
#define POSTERN_RELAY_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/dns.h"
#include "proxy/io/stream.h"

struct relay_conf;
struct relay_lookup;
struct relay_service;

#define RELAY_ENDPOINTS_MAX 64

/* What a look-up has found, in the order of preference. */
struct relay_found {
    struct stream_target at[RELAY_ENDPOINTS_MAX];
    uint32_t weights[RELAY_ENDPOINTS_MAX];
    unsigned count;
    uint64_t ttl_ms;    /* of the answer that ages first; one hour at most */
    bool has_names;     /* else the answer never ages */
    bool has_own;       /* a listener of ours was left out */
    bool has_no_answer; /* some question was not answered */
    bool is_null_mx;    /* the domain says that it takes no mail (RFC 7505) */
};

/* `paths`: for each configured address its unix socket as a C string. All that is given outlives
 * it. NULL: no memory. */
struct relay_lookup *relay_lookup_new(const struct relay_service *service,
                                      const struct relay_conf *conf, char *const *paths,
                                      void (*over)(void *owner), void *owner);
/* To be called once. True: it is over already. False: `over` is called when it is. */
bool relay_lookup_start(struct relay_lookup *u);
/* What was found, once the look-up is over. */
const struct relay_found *relay_lookup_found(const struct relay_lookup *u);
/* Legal anywhere; ends a look-up that is under way. Sets *u to NULL. */
void relay_lookup_free(struct relay_lookup **u);

/* Hosts in the order of preference: those of equal preference change positions by chance. */
void relay_lookup_shuffle(struct loop *l, struct dns_name *hosts, int count);

#endif
