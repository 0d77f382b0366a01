/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of a milter, one after the other, in the order in which they are written. */
#ifndef POSTERN_MILTER_DIAL_H
#define POSTERN_MILTER_DIAL_H

#include "proxy/base/endpoint.h"
#include "proxy/io/dns.h"
#include "proxy/io/stream.h"

struct milter_dial {
    struct dns *dns;
    const struct endpoints *addresses;
    char *const *paths; /* of each one that is a unix socket, as a C string */
    size_t next;        /* of `addresses` */
    struct dns_query *query;
    uint16_t port; /* for `found` */
    struct dns_answer found;
    int found_next;
    void (*ready)(void *owner);
    void *owner;
};

enum milter_dial_step {
    MILTER_DIAL_ADDRESS, /* *to_out */
    MILTER_DIAL_WAITS,   /* for DNS: `ready` is called, and then it can be asked again */
    MILTER_DIAL_OVER     /* there is no other */
};

/* All that is given outlives it. */
void milter_dial_init(struct milter_dial *dial, struct dns *dns, const struct endpoints *addresses,
                      char *const *paths, void (*ready)(void *owner), void *owner);
enum milter_dial_step milter_dial_next(struct milter_dial *dial, struct stream_target *to_out);
void milter_dial_stop(struct milter_dial *dial);

#endif
