/* SPDX-License-Identifier: BSD-2-Clause */
/* One address of a target, with its port: where a connection goes. */
#ifndef POSTERN_RELAY_ENDPOINT_H
#define POSTERN_RELAY_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/io/stream.h"
#include "route/target.h"

#define RELAY_ENDPOINT_TEXT_MAX TARGET_ADDRESS_TEXT_MAX

struct relay_endpoint {
    struct stream_target to;
    uint32_t weight;
    uint64_t down_since_ms; /* meaningful while is_down */
    bool is_down;           /* the circuit is open: only probes go there */
    bool is_met;            /* a connection came about */
};

bool relay_endpoint_equal(const struct stream_target *a, const struct stream_target *b);
/* "192.0.2.1:25", "unix:/run/lmtp"; returns text_out. */
const char *relay_endpoint_text(const struct stream_target *to,
                                char text_out[RELAY_ENDPOINT_TEXT_MAX]);
void relay_endpoint_describe(const struct relay_endpoint *endpoint, uint64_t now_ms,
                             struct target_address *address_out);

#endif
