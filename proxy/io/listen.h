/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens listening sockets before privileges are dropped. Blocking, start-up only. */
#ifndef POSTERN_LISTEN_H
#define POSTERN_LISTEN_H

#include "proxy/base/netaddr.h"

/* Bound, listening, close-on-exec, non-blocking, TCP_NODELAY (inherited by accepted sockets),
 * SO_REUSEADDR; IPv6 sockets take IPv6 alone. Returns the descriptor or -errno. */
int listen_open(const struct netaddr *address, int backlog);
/* The same, and others of this account may have their own socket at this address: the kernel
 * spreads connections over them (SO_REUSEPORT). */
int listen_open_shared(const struct netaddr *address, int backlog);
/* Whether nobody listens there: 0 or -errno. */
int listen_probe(const struct netaddr *address);
/* A unix stream socket at `path`, mode 0600, in the place of one that is there: whoever connects
 * meanwhile finds the one or the other. The name stays when it is closed: connecting is refused
 * then. The descriptor, or -errno. */
int listen_open_unix(const char *path, int backlog);

#endif
