/* SPDX-License-Identifier: BSD-2-Clause */
/* Which addresses are our own listeners: mail that goes there comes back. */
#include "route/relay/relay_own.h"

#include "route/relay/relay_service.h"

bool relay_own_is_any(const struct netaddr *a)
{
    static const uint8_t zero[sizeof(a->octets)];
    return memcmp(a->octets, zero, sizeof(zero)) == 0;
}

bool relay_own_is_listener(const struct relay_service *service, const struct netaddr *a)
{
    for (int i = 0; i < service->own_listener_count; i++) {
        const struct netaddr *own = &service->own_listeners[i];
        if (own->port != a->port || own->family != a->family)
            continue;
        if (netaddr_same_host(own, a) || (relay_own_is_any(own) && netaddr_is_loopback(a)))
            return true;
    }
    return false;
}

bool relay_own_is_connection(const struct relay_service *service, const struct netaddr *peer,
                             const struct netaddr *local)
{
    if (peer->family == NETADDR_NONE || !netaddr_same_host(peer, local))
        return false;
    for (int i = 0; i < service->own_listener_count; i++) {
        const struct netaddr *own = &service->own_listeners[i];
        if (own->port == peer->port && own->family == peer->family && relay_own_is_any(own))
            return true;
    }
    return false;
}
