/* SPDX-License-Identifier: BSD-2-Clause */
/* Which addresses are our own listeners: mail that goes there comes back. */
#ifndef POSTERN_RELAY_OWN_H
#define POSTERN_RELAY_OWN_H

#include <stdbool.h>

#include "proxy/base/netaddr.h"

struct relay_service;

/* 0.0.0.0 or ::, as a listener has it. */
bool relay_own_is_any(const struct netaddr *a);
/* Before a connection: one of our listeners has this address. */
bool relay_own_is_listener(const struct relay_service *service, const struct netaddr *a);
/* Once there is a connection: it leads from this host to itself, and to a listener of ours that
 * takes any address. */
bool relay_own_is_connection(const struct relay_service *service, const struct netaddr *peer,
                             const struct netaddr *local);

#endif
