/* SPDX-License-Identifier: BSD-2-Clause */
/* What a service manager is told (sd_notify(3)): a datagram for each change of state, to the socket
 * that it named in our environment. */
#ifndef POSTERN_NOTIFY_H
#define POSTERN_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: nobody wants to know */
    uint64_t watchdog_ms;  /* it wants to hear from us that often; 0: it does not */
};

/* What the environment of this process says. */
void notify_open(struct notify *n);
/* Whoever does not read his socket is waited for half a second, and then misses this. */
void notify_say(const struct notify *n, const char *state);
/* The configuration is read anew, until READY=1 is said again. */
void notify_say_reloading(const struct notify *n);

#endif
