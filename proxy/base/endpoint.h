/* SPDX-License-Identifier: BSD-2-Clause */
/* Where to connect to, as settings write it. Pure. */
#ifndef POSTERN_ENDPOINT_H
#define POSTERN_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/netaddr.h"

enum endpoint_kind { ENDPOINT_IP, ENDPOINT_HOST, ENDPOINT_UNIX };

struct endpoint {
    enum endpoint_kind kind;
    struct netaddr ip; /* IP; port 0: none was named */
    struct bytes host; /* HOST */
    uint16_t port;     /* HOST; never 0 */
    struct bytes path; /* UNIX; short enough for a sockaddr_un */
};

struct endpoints {
    struct endpoint *at;
    size_t count;
};

/* "192.0.2.1", "192.0.2.1:25", "[2001:db8::1]:25", "host.example:25", "unix:/path"; borrows from
 * `text`. 0 or ERR_SYNTAX. */
int endpoint_parse(struct bytes text, struct endpoint *endpoint_out);
/* Host and port apart. 0 or ERR_SYNTAX. */
int endpoint_parse_host(struct bytes host, struct bytes port, struct endpoint *endpoint_out);
/* As a word of the configuration. */
void endpoint_put(const void *endpoint, struct buf *out);

#endif
