/* SPDX-License-Identifier: BSD-2-Clause */
/* Asynchronous DNS: names to addresses, addresses to names, MX. */
#ifndef POSTERN_DNS_H
#define POSTERN_DNS_H

#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/io/loop.h"

struct dns;
struct dns_query; /* a question under way */

/* `servers`: "ADDR" or "ADDR:PORT" ("[V6]:PORT") each; none: resolv.conf. That and the hosts file
 * are read here, and never again. Queries time out by themselves after about 5 s; callers set
 * shorter deadlines and cancel. NULL and *error_out. */
struct dns *dns_new(struct loop *l, const struct bytes *servers, int count, int *error_out);
/* Pending questions are cancelled (their callbacks are not called). */
void dns_free(struct dns **d);

#define DNS_ADDRESSES_MAX 32
#define DNS_NAMES_MAX     16
#define DNS_NAME_MAX      256

enum dns_status {
    DNS_FOUND,
    DNS_NOT_FOUND, /* NXDOMAIN or no such record: an answer */
    DNS_TEMPORARY  /* SERVFAIL, time-out, refused, garbage: no answer */
};

struct dns_name {
    char text[DNS_NAME_MAX]; /* as it came, NUL-terminated; NOT checked to be a host name, but it
                                holds no NUL and is shorter than this */
    uint16_t preference;     /* MX */
};

struct dns_answer {
    enum dns_status status;
    uint32_t ttl_s;
    int address_count;
    int name_count;
    struct netaddr addresses[DNS_ADDRESSES_MAX]; /* port 0 */
    struct dns_name names[DNS_NAMES_MAX];        /* PTR; MX by preference */
};

typedef void dns_callback(void *owner, const struct dns_answer *answer); /* borrowed */

/* What name servers may be asked at the same time: beyond that the answer is DNS_TEMPORARY. Targets
 * are asked for first, and what clients have us ask for (their names) leaves half of it to them;
 * one net of clients, netaddr_client_net(), may have a quarter of what other nets leave of that. */
#define DNS_QUESTIONS_MAX  1024
#define DNS_OF_CLIENTS_MAX 512

/* A and AAAA together (hosts file first), for a target (`client` NULL) or to confirm a client's
 * name. The callback never comes within the call, and never after dns_cancel(). NULL: no memory; no
 * callback then. */
struct dns_query *dns_ask_addresses(struct dns *d, struct bytes name, const struct netaddr *client,
                                    dns_callback *fn, void *owner);
/* Of a client. */
struct dns_query *dns_ask_names(struct dns *d, const struct netaddr *address, dns_callback *fn,
                                void *owner);
struct dns_query *dns_ask_mx(struct dns *d, struct bytes name, dns_callback *fn, void *owner);
void dns_cancel(struct dns_query *q);

#endif
