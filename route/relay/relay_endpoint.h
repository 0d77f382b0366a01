/* SPDX-License-Identifier: BSD-2-Clause */
/* One address of a target, with its port: where a connection goes. */
#ifndef POSTERN_RELAY_ENDPOINT_H
#define POSTERN_RELAY_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/stream.h"
#include "route/relay/relay_health.h"
#include "route/target.h"

#define RELAY_ENDPOINT_TEXT_MAX TARGET_ADDRESS_TEXT_MAX

struct relay_endpoint {
    struct stream_target to;
    uint32_t weight;
    struct relay_health health; /* while it is down only probes go there */
    bool is_met;                /* a connection came about */
};

struct relay_sharing;

/* `sharing` as in relay_health.h. */
void relay_endpoint_init(struct relay_endpoint *endpoint, const struct stream_target *to,
                         const struct relay_sharing *sharing, struct bytes target);
bool relay_endpoint_equal(const struct stream_target *a, const struct stream_target *b);
/* "192.0.2.1:25", "unix:/run/lmtp"; returns text_out. */
const char *relay_endpoint_text(const struct stream_target *to,
                                char text_out[RELAY_ENDPOINT_TEXT_MAX]);
void relay_endpoint_describe(const struct relay_endpoint *endpoint, uint64_t now_ms,
                             struct target_address *address_out);

#endif
