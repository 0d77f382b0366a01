/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv4 and IPv6 addresses and nets as values: reading, writing, comparing. No sockets. */
#ifndef POSTERN_NETADDR_H
#define POSTERN_NETADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

enum netaddr_family { NETADDR_NONE, NETADDR_IPV4, NETADDR_IPV6 };

/* A v4-mapped IPv6 address (::ffff:a.b.c.d) is always held as IPv4. */
struct netaddr {
    enum netaddr_family family;
    uint16_t port;      /* 0: none */
    uint8_t octets[16]; /* network order; IPv4 uses the first four, the others are 0 */
};

struct netmask { /* ADDR or ADDR/BITS */
    struct netaddr net;
    uint8_t bits;
};

#define NETADDR_TEXT_MAX 64 /* room for any of the texts below, NUL included */

/* From octets in network order: 4 of IPv4, 16 of IPv6. */
struct netaddr netaddr_of_octets(const uint8_t *octets, size_t count, uint16_t port);
/* "192.0.2.1" or "2001:db8::1" without brackets, port 0. 0 or ERR_SYNTAX. */
int netaddr_parse(struct bytes text, struct netaddr *address_out);
/* "192.0.2.1:25", "[2001:db8::1]:25". Without a port, which is `default_port` then, IPv6 needs no
 * brackets. Port 0 is ERR_SYNTAX. */
int netaddr_parse_with_port(struct bytes text, uint16_t default_port, struct netaddr *address_out);
/* "192.0.2.0/24", "2001:db8::/32", or a bare address. Bits behind the prefix must be 0. */
int netaddr_parse_mask(struct bytes text, struct netmask *mask_out);

/* RFC 5952 text, NUL-terminated; NETADDR_NONE writes "unknown". Returns `text_out`. */
const char *netaddr_text(const struct netaddr *address, char text_out[NETADDR_TEXT_MAX]);
/* With the port: "192.0.2.1:25", "[2001:db8::1]:25". */
const char *netaddr_text_with_port(const struct netaddr *address, char text_out[NETADDR_TEXT_MAX]);

bool netaddr_equal(const struct netaddr *a, const struct netaddr *b); /* ports too */
bool netaddr_same_host(const struct netaddr *a, const struct netaddr *b);
bool netaddr_in(const struct netaddr *address, const struct netmask *mask);
/* The net of the address: its first `bits` bits. All others are 0, and so is the port. */
struct netaddr netaddr_prefix(const struct netaddr *address, unsigned bits);
/* The net in which one client may have any number of addresses: an IPv4 /24 or an IPv6 /48. Limits
 * that divide something among clients give each such net a share. */
struct netaddr netaddr_client_net(const struct netaddr *address);
bool netaddr_is_loopback(const struct netaddr *address); /* 127.0.0.0/8, ::1 */
/* The in-addr.arpa or ip6.arpa name, NUL-terminated. */
#define NETADDR_REVERSE_MAX 80
const char *netaddr_reverse_name(const struct netaddr *address, char text_out[NETADDR_REVERSE_MAX]);

#endif
