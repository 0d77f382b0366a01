/* SPDX-License-Identifier: BSD-2-Clause */
/* Opens listening sockets before privileges are dropped. Blocking, start-up only. */
#ifndef POSTERN_LISTEN_H
#define POSTERN_LISTEN_H

#include "proxy/base/netaddr.h"

/* Bound, listening, close-on-exec, non-blocking, TCP_NODELAY (inherited by accepted sockets),
 * SO_REUSEADDR; IPv6 sockets take IPv6 alone. Returns the descriptor or -errno. */
int listen_open(const struct netaddr *address, int backlog);

#endif
