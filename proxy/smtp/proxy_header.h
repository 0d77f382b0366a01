/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the header with which a proxy begins a connection: the PROXY protocol, v1 or v2. Pure. */
#ifndef POSTERN_PROXY_HEADER_H
#define POSTERN_PROXY_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/base/mem.h"
#include "proxy/base/netaddr.h"

#define PROXY_HEADER_V1_MAX 107  /* octets, CRLF included */
#define PROXY_HEADER_MAX    1024 /* of v2; proxies send less than 536, which is Postfix's bound */

struct proxy_header {
    unsigned version;             /* 1 or 2 */
    bool is_own;                  /* LOCAL, UNKNOWN: the connection is the proxy's, nobody else's */
    struct netaddr client, local; /* unless is_own: the two ends at the proxy */
    /* v2, empty where they are not given; any octets */
    struct bytes unique_id;
    struct bytes authority;   /* the host that the client asked for (SNI) */
    bool is_secured;          /* the client's connection to the proxy is encrypted */
    struct bytes tls_version; /* of the client's connection to the proxy */
    struct bytes common_name; /* of the client's certificate */
};

/* Collects the header. */
struct proxy_reader {
    uint16_t count;
    uint8_t octets[PROXY_HEADER_MAX];
};

/* Takes octets of the header, and none behind it. Returns how many. *error_out: 0: *header_out is
 * whole, its texts lie in `reader`; ERR_NOT_FOUND: more must come; ERR_SYNTAX, ERR_TOO_LONG: there
 * is no header, or a bad one. Not to be called again after 0 or one of those. */
size_t proxy_reader_take(struct proxy_reader *reader, struct bytes in,
                         struct proxy_header *header_out, int *error_out);

#endif
