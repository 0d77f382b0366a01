/* SPDX-License-Identifier: BSD-2-Clause */
/* What `posternctl probe` shows of a relay: each address, stage by stage, what it announces and
 * whether that holds, which identity it takes, and whether mail would go. */
#ifndef POSTERN_RELAY_PROBE_H
#define POSTERN_RELAY_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/smtp/address.h"

struct relay_probe;
struct relay_service;

struct relay_probe_asked {
    struct address to; /* whom RCPT names; borrowed */
    bool smuggles;     /* finds out whether the target can be smuggled to: leaves mail at `to` */
};

#define RELAY_PROBE_NO_TIME UINT64_MAX

struct relay_probe_line {
    const char *address;
    const char *stage;  /* "connect", "EHLO", "PIPELINING", "mail" */
    const char *result; /* "ok", "failed", "honest", "would go" */
    uint64_t us;        /* how long it took; NO_TIME: that says nothing */
    struct bytes words; /* the target's, or why it failed */
};

struct relay_probe_events {
    void (*line)(void *owner, const struct relay_probe_line *line);
    /* The last. Mail would go: to an address, or to each where none stands in for another. */
    void (*over)(void *owner, bool goes);
};

/* `conf`: of a target of relay_kind. All that is given outlives it. NULL: no memory. */
struct relay_probe *relay_probe_new(const struct relay_service *service, const void *conf,
                                    const struct relay_probe_asked *asked,
                                    const struct relay_probe_events *events, void *owner);
void relay_probe_begin(struct relay_probe *p);    /* lines may come within the call */
void relay_probe_free(struct relay_probe **held); /* when it is over, and the loop has ended */

#endif
