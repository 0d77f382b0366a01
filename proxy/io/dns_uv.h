/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions on c-ares and libuv, shared by dns.c, dns_socket.c and dns_parse.c. */
#ifndef POSTERN_DNS_UV_H
#define POSTERN_DNS_UV_H

#include <ares.h>

#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_AAAA = 28
};

struct dns {
    struct loop *loop;
    ares_channel channel;
    struct deadline tick; /* armed while c-ares has something to do */
    struct list asked;    /* queries that c-ares has, the oldest first */
    struct list given_up; /* c-ares has them still, but nobody waits for them */
    struct list answered; /* their posts will tell */
    struct list sockets;
    bool is_ticking, is_ending;
};

/* dns_socket.c */
void dns_socket_changed(void *dns, ares_socket_t fd, int wants_read, int wants_write);

/* Adds the records of one response that fit the question: A and AAAA, or PTR, or MX. False: it
 * is garbage, and what was added before stays. `octets` are hostile. */
bool dns_parse_response(struct bytes octets, enum dns_type wanted, struct dns_answer *answer);

#endif
