/* SPDX-License-Identifier: BSD-2-Clause */
/* Asynchronous DNS: names to addresses, addresses to names, MX, and records as they are. */
#ifndef POSTERN_DNS_H
#define POSTERN_DNS_H

#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"
#include "proxy/io/loop.h"

struct dns;
struct dns_query; /* a pending question */

/* `servers`: each "ADDR", "ADDR:PORT" or "[V6]:PORT"; none: those of resolv.conf, and when it has
 * changed, the new ones. The hosts file is read here, and never again. Queries time out after about
 * 5 s; callers set shorter deadlines and cancel. NULL: see *error_out. */
struct dns *dns_new(struct loop *loop, const struct bytes *servers, int count, int *error_out);
/* Cancels pending questions; their callbacks are not called. */
void dns_free(struct dns **held);

#define DNS_ADDRESSES_MAX 32
#define DNS_NAMES_MAX     16
#define DNS_NAME_MAX      256
/* Of all records of one answer: as long as a response. Only names can be more than that when they
 * are no longer compressed; such an answer is DNS_TEMPORARY. */
#define DNS_RECORDS_BYTES_MAX 65536

/* RFC 1035 3.2.2, RFC 3596 2.1 */
enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28
};

enum dns_status {
    DNS_FOUND,
    DNS_NOT_FOUND, /* NXDOMAIN or no such record: an answer */
    DNS_TEMPORARY  /* SERVFAIL, time-out, refused, garbage: no answer */
};

struct dns_name {
    char text[DNS_NAME_MAX]; /* as received, NUL-terminated, without other NULs; NOT checked to be a
                                host name */
    uint16_t preference;     /* MX */
};

struct dns_answer {
    enum dns_status status;
    uint32_t ttl_s;
    int address_count;
    int name_count;
    unsigned record_count;
    struct bytes records; /* dns_ask_records(): each is preceded by its length in two octets */
    struct netaddr addresses[DNS_ADDRESSES_MAX]; /* port 0 */
    struct dns_name names[DNS_NAMES_MAX];        /* PTR; MX by preference */
};

typedef void dns_callback(void *owner, const struct dns_answer *answer); /* borrowed */

/* How many questions name servers may be asked at the same time; further ones are answered with
 * DNS_TEMPORARY. Questions for clients (their names, policies of their senders) leave half of the
 * room to those for targets, and one net of clients, netaddr_client_net(), may use a quarter of
 * what other nets leave of the other half. */
#define DNS_QUESTIONS_MAX  1024
#define DNS_OF_CLIENTS_MAX 512

/* Asks for A and AAAA together (hosts file first), for a target (`client` NULL) or to confirm a
 * client's name. The callback never comes within the call, and never after dns_cancel(). NULL: no
 * memory, and no callback. */
struct dns_query *dns_ask_addresses(struct dns *dns, struct bytes name,
                                    const struct netaddr *client, dns_callback *fn, void *owner);
/* Asks for the names of a client's address. */
struct dns_query *dns_ask_names(struct dns *dns, const struct netaddr *address, dns_callback *fn,
                                void *owner);
struct dns_query *dns_ask_mx(struct dns *dns, struct bytes name, dns_callback *fn, void *owner);
/* Asks for all records of one type: A and AAAA are addresses, PTR and MX names as in struct
 * dns_name, TXT the strings of each record, joined, whatever octets they are. Only name servers are
 * asked, and always for a client. */
struct dns_query *dns_ask_records(struct dns *dns, enum dns_type type, struct bytes name,
                                  const struct netaddr *client, dns_callback *fn, void *owner);
void dns_cancel(struct dns_query *query);

#endif
