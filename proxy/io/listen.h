/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens listening sockets before privileges are dropped. Blocks; for the start only. */
#ifndef POSTERN_LISTEN_H
#define POSTERN_LISTEN_H

#include "proxy/base/netaddr.h"

/* Bound, listening, close-on-exec, non-blocking, TCP_NODELAY (inherited by accepted sockets),
 * SO_REUSEADDR; IPv6 sockets take IPv6 alone. Returns the descriptor or -errno. */
int listen_open(const struct netaddr *address, int backlog);
/* The same, but other processes of this account may open their own sockets at this address: the
 * kernel spreads connections over them (SO_REUSEPORT). */
int listen_open_shared(const struct netaddr *address, int backlog);
/* 0 when nobody listens there, or -errno. */
int listen_probe(const struct netaddr *address);
/* A unix stream socket at `path`, mode 0600, which replaces an older one without a moment in
 * between. The name stays when the socket is closed; connecting is refused then. The descriptor, or
 * -errno. */
int listen_open_unix(const char *path, int backlog);

#endif
